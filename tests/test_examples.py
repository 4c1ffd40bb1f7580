from __future__ import annotations

import asyncio
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import pytest
from rich.console import Console

from examples.make_messages import CSV, INVALID, ROWS, UNQUOTED, messages_csv
from examples.progress import lines, pace, progress_on
from examples.rows import UnreadableFileError, read_rows
from qlara_async import RateLimit
from qlara_async.sandbox import Fault, Sandbox

ROOT = Path(__file__).resolve().parent.parent
PYTHON = (sys.executable, "-W", "error", "-m")


def environment(**extra: str) -> dict[str, str]:
    """Ours, without an account and development mode, and with a terminal of 80 columns: as a user has it."""
    not_a_users = ("QLARA_", "PYTHONDEVMODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(not_a_users)}
    return kept | {"COLUMNS": "80", "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"} | extra


def run(module: str, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    return run_command([*PYTHON, f"examples.{module}", *arguments], extra=extra)


def run_command(
    command: Sequence[str], *, cwd: Path = ROOT, extra: Mapping[str, str] = MappingProxyType({})
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment(**extra),
        capture_output=True,
        encoding="utf-8",
        timeout=240,
        check=False,
    )


def output_of(module: str, *arguments: str, **extra: str) -> str:
    done = run(module, *arguments, **extra)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def number(report: str, what: str) -> int:
    found = re.search(rf"\b{re.escape(what)} +([0-9,]+)\s*$", report, re.MULTILINE)
    assert found is not None, f"no line {what!r} in:\n{report}"
    return int(found[1].replace(",", ""))


@pytest.fixture(scope="module")
def flight() -> str:
    return output_of("flight")


def test_messages_csv_is_what_its_generator_makes() -> None:
    assert CSV.read_bytes() == messages_csv().encode()


def test_messages_csv_has_2000_rows_of_all_channels_and_no_number_that_exists() -> None:
    rows = list(read_rows(CSV))
    assert len(rows) == ROWS == 2_000
    assert {row["channel"] for row in rows} == {"SMS", "RCS", "WHATSAPP", "PICCIONE"}
    assert all(re.fullmatch(r"\+39000\d{7}|0000000087", str(row["destination"])) for row in rows)


def test_rows_know_the_line_they_begin_on(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text('\ufeffa,b\n1,"x\ny"\n\n2,z,more\n"3\n\n",\n4', encoding="utf-8")
    rows = list(read_rows(file))
    assert [row.line for row in rows] == [2, 5, 6, 9]
    assert rows[0] == {"a": "1", "b": "x\ny"}
    assert rows[1] == {"a": "2", "b": "z", None: "more"}
    assert rows[3] == {"a": "4", "b": None}


def test_flight_accounts_for_every_row(flight: str) -> None:
    outcomes = {state: number(flight, state) for state in ("accepted", "rejected", "invalid")}
    assert outcomes == {"accepted": 1_983, "rejected": 3, "invalid": len(INVALID) + 1}
    assert sum(outcomes.values()) == ROWS


def test_flight_names_the_true_lines_of_the_invalid_rows(flight: str) -> None:
    destinations = [INVALID[index].get("destination", f"+39000{index:07}") for index in INVALID]
    destinations.append(f"+39000{UNQUOTED[0]:07}")
    lines = CSV.read_text(encoding="utf-8").splitlines()
    expected = {line for line, text in enumerate(lines, 1) if any(f",{to}," in text for to in destinations)}
    table = flight.partition("Flight report")[0]
    assert {int(line) for line in re.findall(r"^ {1,6}(\d+) ", table, re.MULTILINE)} == expected
    assert len(expected) == len(INVALID) + 1


def test_flight_gets_every_callback_of_every_accepted_message_once(flight: str) -> None:
    assert "accepted, and every delivery callback came      1,983 of 1,983" in flight
    assert number(flight, "answer lost, and found by looking it up") == 2
    assert number(flight, "DELIVERED delivered") > 1_900
    for what in ("ERROR not delivered", "ERROR expired", "READ", "duplicates dropped"):
        assert number(flight, what) > 0
    assert number(flight, "conflicts") == 0
    assert number(flight, "taken twice by the gateway") == 0


def test_flight_keeps_to_the_limit_and_says_so(flight: str) -> None:
    assert re.search(r"allowed +500/s, 30,000/min", flight)
    assert re.search(r"achieved +[0-9.,]+/s", flight)
    assert 1 <= number(flight, "most in any second, at the gateway") <= 500
    assert number(flight, "answers 429") == 0
    assert re.search(r"sending +[0-9.]+ s", flight)


def test_flight_is_readable_without_a_terminal_and_shows_no_value(flight: str) -> None:
    assert "\x1b" not in flight
    assert max(map(len, flight.splitlines())) <= 80
    assert flight.startswith("Sending 2,000 rows ...\n")
    for value in ("+39000", "0000000087", "acme-bot", "forse", "PICCIONE", "01/12/2026"):
        assert value not in flight


def test_flight_says_what_it_planted(flight: str) -> None:
    assert " ".join(flight.split()).endswith(
        "Planted by this example, to show what becomes of them: 3 refusals, 2 lost answers, "
        "messages that fail or expire, and callbacks that come twice or late."
    )


def test_the_pace_says_when_it_is_the_limit_of_the_minute_that_is_waited_for() -> None:
    limit = RateLimit(per_second=10, per_minute=100)
    full = [100.0 + index / 10 for index in range(95)]  # bulk leaves 5 % to others
    assert pace([], 100.0, limit, left=95) == "  0/s"
    assert pace(full, 109.45, limit, left=5) == " 10/s"
    assert pace(full, 120.0, limit, left=5) == "waiting for the minute's limit (40 s)"
    assert pace(full, 120.0, limit, left=0) == "  0/s"
    assert pace(full[:80], 120.0, limit, left=5) == "  0/s"


@pytest.mark.anyio
async def test_progress_without_a_terminal_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(width=80)
    async with lines(console, total=3, pace=lambda left: f" {left}/s", callbacks=lambda: 7, every=0) as advance:
        advance()
        printed = ""
        while "1 of 3 rows, 2/s, 7 callbacks\n" not in printed:
            await asyncio.sleep(0)
            printed += capsys.readouterr().out
    assert printed.startswith("Sending 3 rows ...\n")


@pytest.mark.anyio
@pytest.mark.parametrize(("term", "escapes"), [("xterm", True), ("dumb", False)])
async def test_progress_on_a_terminal_is_a_bar_unless_the_terminal_is_dumb(term: str, escapes: bool) -> None:
    console = Console(width=80, force_terminal=True, file=io.StringIO(), _environ={"TERM": term})
    progress = progress_on(console, total=2, pace=lambda left: f"{left:-<36}", callbacks=lambda: 2_000)
    async with progress as advance:
        advance()
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert ("\x1b" in shown) is escapes
    assert (f"{1:-<36}" in shown) is escapes  # as wide as it gets, and not wrapped


def test_flight_takes_other_files_and_the_true_limits(tmp_path: Path) -> None:
    file = tmp_path / "few.csv"
    file.write_text("channel,destination,sender,body\n" + "SMS,+390000000001,ACME,Ciao\n" * 7, encoding="utf-8")
    report = output_of("flight", "--production-limits", "--csv", str(file))
    assert "Invalid rows" not in report
    assert number(report, "accepted") + number(report, "rejected") == 7
    assert re.search(r"allowed +50/s, 1,000/min", report)


@pytest.fixture(params=["missing", "directory", "latin-1", "semicolons"])
def unreadable(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    file = tmp_path / "rows.csv"
    match request.param:
        case "missing":
            return file, "No such file or directory"
        case "directory":
            return tmp_path, "Is a directory"
        case "latin-1":
            file.write_bytes("channel,body\nSMS,è\n".encode("latin-1"))
            return file, "is not in UTF-8: save it in that encoding"
        case _:
            file.write_text("channel;destination\nSMS;+390000000001\n", encoding="utf-8")
            return file, "has one column with ';' in its name: separate columns with commas"


@pytest.mark.parametrize("command", [("flight", "--csv"), ("bulk_progress",)])
def test_a_file_that_cannot_be_read_is_one_line(command: tuple[str, ...], unreadable: tuple[Path, str]) -> None:
    file, reason = unreadable
    done = run(*command, str(file))
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{file}: {reason}\n")


def test_a_file_that_becomes_unreadable_on_the_way_says_so(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(b"channel\n" + b"SMS\n" * 10_000 + b"\xe8\n")
    with pytest.raises(UnreadableFileError, match="UTF-8"):
        list(read_rows(file))


def test_flight_prints_its_report_in_ascii_too(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("channel,destination\nSMS,+390000000001\n", encoding="utf-8")
    report = output_of("flight", "--csv", str(file), PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert report.isascii()
    assert re.search(r"\binvalid +\| +1 \|", report)


@pytest.mark.anyio
async def test_bulk_progress_prints_what_the_gateway_said_in_ascii_too() -> None:
    async with Sandbox() as sandbox:
        sandbox.fault(None, Fault.ERROR_BEFORE, status=422)
        account = {"QLARA_API_KEY": sandbox.api_key, "QLARA_BASE_URL": sandbox.url}
        ascii_only = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
        output = await asyncio.to_thread(output_of, "bulk_progress", str(CSV), "1", **account, **ascii_only)
    assert output.startswith("row 1: rejected: the gateway answered 422: Failed before processing ? ")


def test_one_message_shows_receipt_and_status() -> None:
    output = output_of("one_message")
    assert "1 part(s), as UCS-2" in output
    assert re.search(r"Accepted as [0-9a-f-]{32,36}, in 1 attempt", output)
    assert "Its status is SENT." in output


def test_one_message_says_what_is_wrong_with_a_destination() -> None:
    done = run("one_message", "340123")
    assert done.returncode == 1
    assert done.stderr.startswith("Not sent: destination: must be +")
    assert "340123" not in done.stderr


def test_bulk_progress_shows_progress_and_the_summary() -> None:
    output = output_of("bulk_progress").splitlines()
    progress = re.compile(r"\d+ outcomes \(.*\), \d+ a second, \d+\.\d s")
    assert [line for line in output if not progress.fullmatch(line)] == [
        "line 127: destination: must be + and 7 to 15 digits, country code first (E.164)",
        "Done.",
    ]
    assert output[-1].startswith("100 outcomes (99 accepted, 1 invalid), ")
    assert len(output) == 7


def test_bulk_progress_says_so_if_the_key_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    command = [*PYTHON, "qlara_async.sandbox", "--port", str(port), "--quiet"]
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, encoding="utf-8") as sandbox:
        try:
            assert sandbox.stdout is not None
            read_until(sandbox.stdout, "Ctrl-C stops it.")
            wrong = {"QLARA_API_KEY": "wrong", "QLARA_BASE_URL": f"http://127.0.0.1:{port}/api"}
            done = run("bulk_progress", str(CSV), "1", **wrong)
        finally:
            sandbox.send_signal(signal.SIGINT)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("the gateway answered 401")


@pytest.mark.parametrize("rows", ["x", "1.5"])
def test_bulk_progress_explains_its_arguments(rows: str) -> None:
    done = run("bulk_progress", str(CSV), rows)
    assert done.returncode == 2
    assert "argument rows" in done.stderr


def test_service_sends_a_password_hears_its_delivery_and_minds_a_stop() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    token, url = "a-token-of-the-tests", f"http://127.0.0.1:{port}"
    command = [*PYTHON, "examples.service", str(port)]
    env = environment(QLARA_CALLBACK_TOKEN=token)
    with subprocess.Popen(
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    ) as service:
        try:
            assert service.stdout is not None
            read_until(service.stdout, "Running on")
            accepted = post(f"{url}/otp", {"destination": "+390000000001"})
            assert (accepted[0], accepted[1]["state"]) == (202, "accepted")
            read_until(service.stdout, f"{accepted[1]['message_id']} is DELIVERED")
            assert post(f"{url}/otp", {"destination": "0001"})[0] == 422
            for body in (b"", b"{}", b"[]", b"not JSON", b"\xff", b'{"destination": ["+390000000001"]}', b'"\xff"'):
                status, answer = post(f"{url}/otp", body)
                assert (status, list(answer)) == (400, ["error"])
            inbound = {"eventType": "INBOUND", "channel": "SMS", "messageId": "m1", "source": "+390000000001"}
            assert post(f"{url}/qlara/{token}", inbound | {"text": " Stop"})[0] == 200
            read_until(service.stdout, "A customer opted out.")
            assert post(f"{url}/otp", {"destination": "+390000000001"})[0] == 409
        finally:
            service.send_signal(signal.SIGINT)
            _, stderr = service.communicate(timeout=30)
    assert service.returncode == 0
    assert token not in stderr
    assert "+39" not in stderr
    assert "Traceback" not in stderr


def test_service_does_not_give_a_real_account_the_loopback_as_callback() -> None:
    done = run("service", QLARA_API_KEY="a-key")
    assert done.returncode == 1
    assert "Set QLARA_PUBLIC_URL" in done.stderr


def read_until(stream: IO[str], text: str) -> None:
    for line in stream:
        if text in line:
            return
    pytest.fail(f"the output ended before {text!r}")


def post(url: str, body: dict[str, Any] | bytes) -> tuple[int, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


# --- tasks.py ---

TASKS = (sys.executable, "tasks.py")
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of which nothing is installed, and nothing can be: there is no network."""
    for name in ("tasks.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_the_task_runner_says_what_it_can_do(arguments: list[str]) -> None:
    done = run_command([*TASKS, *arguments])
    assert (done.returncode, done.stderr) == (0, "")
    assert all(f"python3 tasks.py {task}" in done.stdout for task in ("flight", "test", "bench"))


def test_the_task_runner_names_its_tasks_and_benchmarks(checkout: Path) -> None:
    done = run_command([*TASKS, "fligth"], cwd=checkout)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "unknown task 'fligth'; tasks are flight, test, bench\n"
    done = run_command([*TASKS, "bench", "nope"], cwd=checkout)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("unknown benchmark 'nope'; benchmarks are limiter, send, ")


def test_a_set_up_that_was_interrupted_leaves_no_traceback_and_is_redone(checkout: Path) -> None:
    with (
        socket.create_server(
            ("127.0.0.1", 0)
        ) as silent,  # a set-up that waits for it has not failed before it is ended
        subprocess.Popen(
            [*TASKS, "flight"],
            cwd=checkout,
            env=environment(
                PIP_INDEX_URL=f"http://127.0.0.1:{silent.getsockname()[1]}", PIP_CONFIG_FILE=os.devnull, NO_PROXY="*"
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=True,
        ) as tasks,
    ):
        assert tasks.stdout is not None
        read_until(tasks.stdout, "Setting up")
        os.killpg(tasks.pid, signal.SIGINT)  # as a terminal does
        assert tasks.communicate(timeout=30) == ("", "")
    assert tasks.returncode == 130
    venv = f".venv-{sys.version_info.major}.{sys.version_info.minor}"
    half_made = run_command([sys.executable, "-m", "venv", "--clear", "--without-pip", venv], cwd=checkout)
    assert half_made.returncode == 0
    done = run_command([*TASKS, "flight"], cwd=checkout, extra=OFFLINE)
    assert done.stdout == f"Setting up {venv}: this needs the network, once ...\n"
    assert done.stderr.startswith("Setting up failed: it needs the network, once (it said: ERROR: No matching ")
    assert done.stderr.count("\n") == done.returncode == 1


def test_tasks_flight_reads_paths_from_where_it_is_called(
    checkout: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    venv = checkout / f".venv-{sys.version_info.major}.{sys.version_info.minor}"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    (venv / "bin" / "python").chmod(0o755)
    shutil.copy(checkout / "pyproject.toml", venv / "installed-cli")
    (checkout / "examples").symlink_to(ROOT / "examples")
    (checkout / "qlara_async").symlink_to(ROOT / "qlara_async")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "examples").mkdir()
    (elsewhere / "examples" / "__init__.py").write_text("raise SystemExit('imported from here')", encoding="utf-8")
    (elsewhere / "few.csv").write_text("channel,destination\nSMS,+390000000001\n", encoding="utf-8")
    done = run_command([sys.executable, str(checkout / "tasks.py"), "flight", "--csv", "few.csv"], cwd=elsewhere)
    assert (done.returncode, done.stderr) == (0, "")
    assert number(done.stdout, "invalid") == 1
