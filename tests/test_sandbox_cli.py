"""``python -m qlara_async.sandbox`` as a user runs it."""

from __future__ import annotations

import json
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
    assert sandbox.stdout is not None
    banner = "".join(iter(sandbox.stdout.readline, "Ctrl-C stops it.\n"))
    url = banner.split()[3]
    assert banner.startswith(f"Qlara sandbox on {url} with key k-1\n")
    assert f'QlaraClient(api_key="k-1", base_url="{url}")' in banner
    assert "curl -H 'X-Api-Key: k-1'" in banner
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
    "wrong",
    [["--fault", "dorp=1"], ["--fault", "storm=x"], ["--fault", "storm=2"], ["--rate", "fast"], ["--rate", "0"]],
)
def test_wrong_options_are_explained(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(wrong)
    assert stopped.value.code == 2
    assert "error:" in capsys.readouterr().err
