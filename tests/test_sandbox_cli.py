"""``python -m qlara_async.sandbox`` as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from qlara_async.sandbox.__main__ import main


@pytest.fixture
def sandbox(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "qlara_async.sandbox", *request.param]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def banner_of(sandbox: subprocess.Popen[str]) -> str:
    assert sandbox.stdout is not None
    lines = []
    for line in sandbox.stdout:
        lines.append(line)
        if line == "Ctrl-C stops it.\n":
            return "".join(lines)
    pytest.fail("the sandbox ended before it was up")


def post(url: str, key: str) -> tuple[int, str | None]:
    body = json.dumps({"destination": "+393201234567", "sender": "MyBrand", "body": "canary", "messageId": "m-1"})
    request = urllib.request.Request(f"{url}/message-server/sms/send", data=body.encode(), headers={"X-Api-Key": key})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.headers["X-RateLimit-Limit"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["X-RateLimit-Limit"]


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "sandbox",
    [["--api-key", "k-1", "--rate", "2", "--fault", "error-after=1", "--callback-shape", "mix"]],
    indirect=True,
)
def test_it_says_where_it_is_serves_and_stops_cleanly(sandbox: subprocess.Popen[str], stop: signal.Signals) -> None:
    banner = banner_of(sandbox)
    url = banner.split()[3]
    assert banner.startswith(f"Qlara sandbox on {url} with key k-1\n")
    assert f'QlaraClient(api_key="k-1", base_url="{url}")' in banner
    assert "curl -H 'X-Api-Key: k-1'" in banner
    assert "No callback URL is registered" in banner
    status, limit = post(url, "k-1")
    assert status in {500, 502, 503}
    assert limit == "120"
    assert post(url, "other")[0] == 401
    sandbox.send_signal(stop)
    out, errors = sandbox.communicate(timeout=10)
    assert sandbox.returncode == 0
    assert out.endswith("stopped; 1 messages accepted\n")
    logged = [line.split(" ", 2)[2] for line in errors.splitlines()]
    assert logged == [f"POST send 'm-1' {status}", "POST send '-' 401"]


@pytest.mark.parametrize(
    "sandbox",
    [["--callback-url", "http://127.0.0.1:9/secret", "--callback", "attempts=1", "--life", "final=0"]],
    indirect=True,
)
def test_it_says_that_callbacks_were_given_up_and_keeps_the_url_to_itself(sandbox: subprocess.Popen[str]) -> None:
    assert sandbox.stderr is not None
    banner = banner_of(sandbox)
    assert "Callbacks are posted to the URL given." in banner
    assert post(banner.split()[3], "sandbox-key")[0] == 200
    logged = [next(line for line in sandbox.stderr if "given up" in line)]
    assert logged[0].endswith(" callback m-1 given up after 1 attempts\n")
    sandbox.send_signal(signal.SIGINT)
    out, errors = sandbox.communicate(timeout=10)
    assert out == "stopped; 1 messages accepted, 1 callbacks given up\n"
    assert "secret" not in "".join([banner, out, errors, *logged])


@pytest.mark.parametrize("sandbox", [["--life", "final=0", "--quiet"]], indirect=True)
def test_it_says_that_callbacks_had_no_url(sandbox: subprocess.Popen[str]) -> None:
    banner = banner_of(sandbox)
    url = banner.split()[3]
    assert post(url, "sandbox-key")[0] == 200
    assert post(url, "wrong")[0] == 401  # a turn later: the message's life is over
    sandbox.send_signal(signal.SIGINT)
    assert sandbox.communicate(timeout=10) == ("stopped; 1 messages accepted, 1 callbacks without a URL\n", "")


@pytest.mark.parametrize("sandbox", [["--life", "final=0"]], indirect=True)
def test_it_logs_the_paths_it_does_not_know_masked_and_once_that_no_url_is_registered(
    sandbox: subprocess.Popen[str],
) -> None:
    url = banner_of(sandbox).split()[3]
    assert post(f"{url}/390000000001/sandbox-key", "sandbox-key")[0] == 404
    for _ in range(2):
        assert post(url, "sandbox-key")[0] == 200
    assert post(url, "wrong")[0] == 401
    sandbox.send_signal(signal.SIGINT)
    _, errors = sandbox.communicate(timeout=10)
    logged = [line.split(" ", 2)[2] for line in errors.splitlines()]
    assert logged[0] == "POST /api/…/…-…/message-server/sms/send 404"
    assert logged.count("no callback URL is registered: callbacks are dropped") == 1


def test_its_help_can_be_shown_in_ascii() -> None:
    command = [sys.executable, "-m", "qlara_async.sandbox", "--help"]
    done = subprocess.run(command, env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    "wrong",
    [
        ["--fault", "dorp=1"],
        ["--fault", "storm=x"],
        ["--fault", "storm=2"],
        ["--rate", "fast"],
        ["--rate", "0"],
        ["--port", "80000"],
        ["--port", "-1"],
        ["--port", "x"],
        ["--callback-url", "nonsense"],
        ["--callback-url", "http://"],
        ["--callback-url", "http://[::1/x"],
        ["--callback-url", "http://localhost:99999/x"],
        ["--api-key", ""],
        ["--api-key", "two words"],
        ["--api-key", "è"],
    ],
)
def test_wrong_options_are_explained(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(wrong)
    assert stopped.value.code == 2
    assert f"error: argument {wrong[0]}: give" in capsys.readouterr().err or wrong[0] in {"--fault"}
