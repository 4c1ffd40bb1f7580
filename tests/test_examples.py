from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Any

import pytest

from examples.make_messages import CSV, INVALID, ROWS, UNQUOTED, messages_csv
from examples.rows import read_rows

ROOT = Path(__file__).resolve().parent.parent
PYTHON = (sys.executable, "-W", "error", "-m")


def environment(**extra: str) -> dict[str, str]:
    """Ours, without an account, and with a terminal of 80 columns."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("QLARA_")}
    return kept | {"COLUMNS": "80", "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"} | extra


def run(module: str, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PYTHON, f"examples.{module}", *arguments],
        cwd=ROOT,
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
    outcomes = {state: number(flight, state) for state in ("accepted", "rejected", "invalid", "unknown")}
    assert outcomes == {"accepted": 1_981, "rejected": 3, "invalid": len(INVALID) + 1, "unknown": 2}
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
    assert "accepted, and every delivery callback came      1,981 of 1,981" in flight
    assert re.search(r"unknown, and a callback told +2 of 2", flight)
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
    assert flight.startswith("Sending 2,000 rows …\n")
    for value in ("+39000", "0000000087", "acme-bot", "forse", "PICCIONE", "01/12/2026"):
        assert value not in flight


def test_flight_takes_other_files_and_the_true_limits(tmp_path: Path) -> None:
    file = tmp_path / "few.csv"
    file.write_text("channel,destination,sender,body\n" + "SMS,+390000000001,ACME,Ciao\n" * 7, encoding="utf-8")
    report = output_of("flight", "--production-limits", "--csv", str(file))
    assert "Invalid rows" not in report
    assert number(report, "accepted") + number(report, "rejected") + number(report, "unknown") == 7
    assert re.search(r"allowed +50/s, 1,000/min", report)


def test_flight_refuses_a_file_that_is_not_there() -> None:
    done = run("flight", "--csv", "nowhere.csv")
    assert done.returncode == 2
    assert "nowhere.csv" in done.stderr


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
    output = output_of("bulk_progress")
    assert "line 127: destination: must be +" in output
    assert output.splitlines()[-1].startswith("100 outcomes (99 accepted, 1 invalid), ")
    assert output.count(" outcomes (") == 5


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


def post(url: str, body: dict[str, Any]) -> tuple[int, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, None
