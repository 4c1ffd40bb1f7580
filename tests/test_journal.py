"""The journal of a bulk job, on real SQLite files."""

# ruff: noqa: ASYNC221, ASYNC240 — nothing else runs on these loops: blocking them does no harm

from __future__ import annotations

import asyncio
import csv
import hashlib
import json
import os
import pickle
import resource
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from qlara_async import Channel, Receipt, Sms
from qlara_async.bulk.journal import Entry, Journal, JournalWriter, RowState
from qlara_async.bulk.journal.lock import JournalLock
from qlara_async.bulk.rows import message_from_row
from qlara_async.errors import (
    ClientStateError,
    ConfigurationError,
    DeliveryUnknownError,
    InvalidMessageError,
    JournalDamagedError,
    JournalError,
    JournalLockedError,
    JournalMismatchError,
    JournalVersionError,
    JournalWriteError,
    MessageRejectedError,
    QlaraError,
    UnprocessableError,
)
from qlara_async.models.answers import ChannelResult
from qlara_async.protocol.outcomes import OutcomeState
from qlara_async.testing.clock import VirtualClock

pytestmark = pytest.mark.anyio

SMS = Channel.SMS
DIGEST = b"d" * 16
NUMBER = "+393401234567"
FIELDS = {"channel": "SMS", "destination": NUMBER, "sender": "ACME", "body": "Ciao"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "campaign.db"


@pytest.fixture
async def journal(path: Path, clock: VirtualClock) -> AsyncIterator[JournalWriter]:
    async with JournalWriter(path, clock=clock, busy_timeout=0.05) as journal:
        yield journal


async def begin(journal: JournalWriter, *indexes: int) -> None:
    await asyncio.gather(*(journal.begin(index, journal.mint(index), SMS, DIGEST) for index in indexes))


async def accept(journal: JournalWriter, *indexes: int, granted_at: float | None = None) -> None:
    await begin(journal, *indexes)
    ends = (journal.finish(i, OutcomeState.ACCEPTED, attempts=1, granted_at=granted_at) for i in indexes)
    await asyncio.gather(*ends)


def states(path: Path) -> dict[int, RowState]:
    with Journal.open(path) as journal:
        return {entry.index: entry.state for entry in journal.outcomes()}


def beside(path: Path) -> dict[str, str]:
    """Every file of the directory, by its digest."""
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in path.parent.iterdir()}


# --- writing and resuming


async def test_g5_what_was_journalled_is_expected_when_the_job_is_run_again(path: Path, clock: VirtualClock) -> None:
    receipt = Receipt(
        message_id="a-0",
        channel=SMS,
        results={"SMS": ChannelResult(accepted=True, parts=2, unicode=False, reasons=("x",))},
        simulation=True,
        attempts=3,
        raw=b"{}",
    )
    refusal = UnprocessableError(422, code=9, detail="destination is wrong", attempts=2, message_id="a-1", body=b"{1}")
    doubt = DeliveryUnknownError("look it up", attempts=1, message_id="a-2")
    async with JournalWriter(path, clock=clock) as journal:
        for index in range(4):
            await journal.begin(index, f"a-{index}", SMS, DIGEST)
        await journal.finish(0, OutcomeState.ACCEPTED, attempts=3, receipt=receipt, granted_at=clock.time())
        await journal.finish(1, OutcomeState.REJECTED, attempts=2, error=refusal)
        await journal.finish(2, OutcomeState.UNKNOWN, attempts=1, error=doubt)
        await journal.record(4, OutcomeState.INVALID, b"e" * 16, error=InvalidMessageError("is missing", field="body"))
        assert journal.in_flight == 1
    async with JournalWriter(path) as journal:
        assert (journal.rows, journal.in_flight) == (5, 1)
        found = [await journal.expected(index) for index in range(6)]
    accepted, rejected, unknown, started, invalid, beyond = found
    assert beyond is None
    assert accepted is not None
    assert rejected is not None
    assert unknown is not None
    assert started is not None
    assert invalid is not None
    kept = accepted.receipt
    assert kept is not None
    assert (kept.message_id, kept.channel, kept.results) == ("a-0", SMS, receipt.results)
    assert (kept.simulation, kept.attempts, kept.raw) == (True, 3, b"")
    assert accepted.finished_at == clock.time()
    assert accepted.error is None
    error = rejected.error
    assert type(error) is UnprocessableError
    assert str(error) == str(refusal)
    assert (error.status, error.code, error.attempts, error.body) == (422, 9, 2, b"")
    assert pickle.loads(pickle.dumps(error)).args == error.args
    assert (str(unknown.error), type(unknown.error)) == (str(doubt), DeliveryUnknownError)
    assert (started.state, started.message_id, started.finished_at) == (RowState.STARTED, "a-3", None)
    assert (invalid.state, invalid.message_id, invalid.channel, invalid.digest) == ("invalid", None, None, b"e" * 16)
    assert isinstance(invalid.error, InvalidMessageError)
    assert invalid.error.field == "body"


@pytest.mark.parametrize(
    "error",
    [
        MessageRejectedError(reasons=["BLOCKED", "SPAM"], message_id="m", body=b"{}"),
        JournalMismatchError(3),
        QlaraError("plain"),
        QlaraError("no Unicode: \udc80"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_any_error_comes_back_as_it_was_but_for_its_raw_answer(path: Path, error: QlaraError) -> None:
    async with JournalWriter(path) as journal:
        await begin(journal, 0)
        await journal.finish(0, OutcomeState.FAILED, error=error)
    with Journal.open(path) as reader:
        (entry,) = reader.outcomes()
        twin = entry.error
    assert type(twin) is type(error)
    assert str(twin) == str(error)
    assert vars(twin) == vars(error) | ({"body": b""} if hasattr(error, "body") else {})


async def test_what_is_kept_of_an_error_is_damaged_or_of_a_newer_version() -> None:
    def entry(kept: str) -> Entry:
        return Entry(index=7, message_id="m", channel=SMS, state=RowState.FAILED, digest=DIGEST, error_json=kept)

    newer = entry('{"class": "NewError", "args": ["said so"], "fields": {}}').error
    assert type(newer) is QlaraError
    assert str(newer) == "NewError: said so"
    for damage in ("{", "[]", '{"class": "QlaraError"}', '{"class": "QlaraError", "args": 5, "fields": {}}'):
        with pytest.raises(JournalDamagedError, match="row 7"):
            _ = entry(damage).error


async def test_rows_are_read_ahead_in_chunks_and_gaps_are_none(path: Path) -> None:
    async with JournalWriter(path) as journal:
        await accept(journal, *range(0, 1203, 3))
    async with JournalWriter(path) as journal:
        entries = await asyncio.gather(*(journal.expected(index) for index in range(1300)))
    assert [entry.index for entry in entries if entry] == list(range(0, 1203, 3))
    assert all(entry is None or entry.index == index for index, entry in enumerate(entries))


async def test_rows_read_ahead_cost_no_turn_of_the_loop(path: Path) -> None:
    async with JournalWriter(path) as journal:
        await accept(journal, *range(600))
    async with JournalWriter(path) as journal:
        assert await journal.expected(0) is not None
        for index in (*range(1, 500), 600, 10**9):
            with pytest.raises(StopIteration):
                journal.expected(index).send(None)


async def test_rows_the_source_no_longer_gives_are_counted(journal: JournalWriter, path: Path) -> None:
    await accept(journal, *range(10))
    assert await journal.rows_missing(0) == 0
    await journal.close()
    async with JournalWriter(path) as again:
        assert [await again.rows_missing(drawn) for drawn in (0, 4, 10, 11)] == [10, 6, 0, 0]


async def test_g5_a_final_row_cannot_begin_again_nor_with_another_id_or_content(journal: JournalWriter) -> None:
    await accept(journal, 0)
    await begin(journal, 1)
    await journal.finish(1, OutcomeState.FAILED)
    with pytest.raises(JournalError, match=r"row 0 .* is final"):
        await begin(journal, 0)
    with pytest.raises(JournalError, match="row 1"):
        await journal.begin(1, "another", SMS, DIGEST)
    with pytest.raises(JournalError, match="row 1"):
        await journal.begin(1, journal.mint(1), SMS, b"x" * 16)
    assert journal.in_flight == 0
    await begin(journal, 1)
    assert journal.in_flight == 1


async def test_a_row_finishes_only_after_it_began(journal: JournalWriter) -> None:
    with pytest.raises(JournalError, match=r"row 5 .* begin it first"):
        await journal.finish(5, OutcomeState.ACCEPTED)
    await accept(journal, 5)
    with pytest.raises(JournalError, match="row 5"):
        await journal.finish(5, OutcomeState.FAILED)


async def test_an_unknown_row_is_settled_by_a_look_up(journal: JournalWriter, path: Path) -> None:
    await begin(journal, 0)
    await journal.finish(0, OutcomeState.UNKNOWN, attempts=1)
    await journal.finish(0, OutcomeState.ACCEPTED, attempts=1)
    assert states(path) == {0: RowState.ACCEPTED}


async def test_a_skipped_row_is_skipped_again_or_begins(journal: JournalWriter, path: Path) -> None:
    await journal.record(0, OutcomeState.SKIPPED, DIGEST, channel=SMS)
    await journal.record(0, OutcomeState.SKIPPED, DIGEST, channel=SMS)
    await begin(journal, 0)
    with pytest.raises(JournalError):
        await journal.record(0, OutcomeState.SKIPPED, DIGEST)
    assert states(path) == {0: RowState.STARTED}


# --- group commit


async def in_one_commit(journal: JournalWriter, *calls: Coroutine[Any, Any, None]) -> list[BaseException | None]:
    """Make calls while the writer is busy, and let it go on; return what they raised."""
    busy, go_on = threading.Event(), threading.Event()

    def block(_: object) -> bool:
        busy.set()
        return go_on.wait()

    blocked = asyncio.ensure_future(journal._ask(block))
    while not busy.is_set():
        await asyncio.sleep(0)
    before = journal.commits
    waiting = [asyncio.ensure_future(call) for call in calls]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    go_on.set()
    await blocked
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert journal.commits == before + 1
    return results


async def test_what_arrives_while_the_disk_is_busy_forms_one_commit(journal: JournalWriter, path: Path) -> None:
    await in_one_commit(journal, *(journal.begin(i, journal.mint(i), SMS, DIGEST) for i in range(64)))
    assert set(states(path)) == set(range(64))


async def test_a_duplicate_id_disturbs_nothing_else_of_its_group(journal: JournalWriter, path: Path) -> None:
    await journal.begin(0, "order-1", SMS, DIGEST)
    await begin(journal, 1)
    first, second, third, fourth, *others = await in_one_commit(
        journal,
        journal.begin(2, "order-2", SMS, DIGEST),
        journal.begin(3, "order-1", SMS, DIGEST),
        journal.finish(1, OutcomeState.ACCEPTED),
        journal.begin(4, "order-2", SMS, DIGEST),
        journal.record(5, OutcomeState.INVALID, DIGEST),
        journal.begin(6, "order-6", SMS, DIGEST),
    )
    assert [first, third, *others] == [None] * 4
    assert isinstance(second, InvalidMessageError)
    assert isinstance(fourth, InvalidMessageError)
    assert str(second) == "message_id: is the id of another row"
    assert states(path) == {0: "started", 1: "accepted", 2: "started", 5: "invalid", 6: "started"}
    assert journal.in_flight == 3


async def test_a_call_out_of_place_disturbs_nothing_else_of_its_group(journal: JournalWriter, path: Path) -> None:
    await begin(journal, 0)
    *others, misplaced = await in_one_commit(
        journal,
        journal.begin(1, "order-1", SMS, DIGEST),
        journal.record(2, OutcomeState.INVALID, DIGEST),
        journal.finish(0, OutcomeState.ACCEPTED),
        journal.finish(9, OutcomeState.ACCEPTED),
    )
    assert others == [None] * 3
    assert isinstance(misplaced, JournalError)
    assert states(path) == {0: "accepted", 1: "started", 2: "invalid"}


async def test_an_id_minted_for_another_row_is_a_duplicate(journal: JournalWriter) -> None:
    """As when a source gives one message object twice: the first row fixes its id."""
    await begin(journal, 0)
    with pytest.raises(InvalidMessageError):
        await journal.begin(1, journal.mint(0), SMS, DIGEST)
    with pytest.raises(InvalidMessageError):
        await journal.begin(1, journal.mint(2), SMS, DIGEST)
    assert journal.in_flight == 1


async def test_commits_reach_the_disk(journal: JournalWriter) -> None:
    """A crash of the machine cannot be tested here, the setting that survives it can: 2 is FULL."""
    assert await journal._ask(lambda store: store._db.execute("PRAGMA synchronous").fetchall()) == [(2,)]
    assert await journal._ask(lambda store: store._db.execute("PRAGMA journal_mode").fetchall()) == [("wal",)]


async def test_many_rows_at_once_all_arrive(journal: JournalWriter, path: Path) -> None:
    await accept(journal, *range(1000))
    with Journal.open(path) as reader:
        assert [entry.index for entry in reader.outcomes()] == list(range(1000))
    assert journal.commits < 1000  # of 2,000 calls: how many share a commit is the disk's affair


async def test_cancelling_a_call_takes_nothing_back_and_holds_nothing_up(journal: JournalWriter, path: Path) -> None:
    tasks = [asyncio.ensure_future(journal.begin(i, journal.mint(i), SMS, DIGEST)) for i in range(10)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await begin(journal, 10)
    assert set(states(path)) == set(range(11))


# --- for the limiter and for look-ups


async def test_g5_recent_grants_prime_the_limiter(path: Path, clock: VirtualClock) -> None:
    async with JournalWriter(path, clock=clock) as journal:
        now = clock.time()
        await accept(journal, 0, granted_at=now - 61)
        await accept(journal, 1, granted_at=now - 59)
        await begin(journal, 2)
        await journal.finish(2, OutcomeState.FAILED, attempts=3, granted_at=now - 10)
        await accept(journal, 3, granted_at=now + 5)
        await clock.sleep(20)
        await begin(journal, 4)
        last_write = clock.time()
    await clock.sleep(20)
    async with JournalWriter(path, clock=clock) as journal:
        await journal.finish(4, OutcomeState.ACCEPTED)  # found by a look-up: the grant of the dead process still counts
        assert await journal.recent_grants(now) == [now - 59, now - 10, now - 10, now - 10, now, now]
        assert await journal.recent_grants(last_write + 59) == [last_write]
        assert await journal.recent_grants(last_write + 60) == []


async def test_controls_are_old_and_recent_accepted_ids_of_a_channel(journal: JournalWriter) -> None:
    await accept(journal, *range(20))
    await begin(journal, 20)
    await journal.finish(20, OutcomeState.REJECTED)
    await journal.begin(21, "rcs", Channel.RCS, DIGEST)
    await journal.finish(21, OutcomeState.ACCEPTED)
    mint = journal.mint
    assert await journal.controls(SMS, 4) == [mint(0), mint(1), mint(19), mint(18)]
    assert await journal.controls(SMS, 1) == [mint(19)]
    assert await journal.controls(Channel.RCS, 4) == ["rcs"]
    assert await journal.controls(Channel.WHATSAPP, 4) == []


# --- content


async def test_verify_tells_another_row_from_the_one_journalled(path: Path) -> None:
    message = Sms(destination=NUMBER, sender="ACME", body="Ciao")
    row = {"channel": "SMS", "destination": "wrong"}
    async with JournalWriter(path) as journal:
        await journal.begin(0, journal.mint(0), SMS, journal.digest(message))
        await journal.record(1, OutcomeState.INVALID, journal.digest(row))
    async with JournalWriter(path) as journal:
        first, second = await journal.expected(0), await journal.expected(1)
        assert first is not None
        assert second is not None
        journal.verify(first, row, message)
        journal.verify(first, message, Sms(destination=NUMBER, sender="ACME", body="Ciao", message_id=journal.mint(0)))
        journal.verify(second, dict(reversed(row.items())), None)
        journal.verify(second, row, message)  # valid to a newer version of the package
        for other in (message.body + "!", "Ciaò"):
            with pytest.raises(JournalMismatchError, match="row 0 ") as caught:
                journal.verify(first, row, Sms(destination=NUMBER, sender="ACME", body=other))
            assert caught.value.index == 0
        for changed in ({"message_id": "my-own"}, {"sender": "OTHER"}):
            with pytest.raises(JournalMismatchError):
                journal.verify(first, row, message_from_row(FIELDS | changed))
        with pytest.raises(JournalMismatchError):
            journal.verify(first, row, None)
        with pytest.raises(JournalMismatchError):
            journal.verify(second, row | {"body": "x"}, None)


async def test_g11_a_journal_holds_no_number_and_no_text(path: Path) -> None:
    message = Sms(destination=NUMBER, sender="ACME", body="Ciao Anna")
    async with JournalWriter(path) as journal:
        await journal.begin(0, journal.mint(0), SMS, journal.digest(message))
        await journal.record(1, OutcomeState.INVALID, journal.digest({"destination": NUMBER}))
        content = b"".join(file.read_bytes() for file in path.parent.iterdir())
    content += path.read_bytes()
    for secret in (NUMBER[1:], "Ciao Anna", "ACME"):
        assert secret.encode() not in content


# --- refusals


async def test_one_process_cannot_open_a_journal_twice(journal: JournalWriter, path: Path, clock: VirtualClock) -> None:
    link = path.with_name("link.db")
    link.symlink_to(path)
    for name in (path, link):
        with pytest.raises(JournalLockedError, match=f"process {os.getpid()} on .* since 2025-06-15 15:06:40"):
            await JournalWriter(name, clock=clock).open()
    await begin(journal, 0)


async def test_a_lock_file_left_behind_is_no_lock(path: Path) -> None:
    lock = path.with_name("campaign.db.lock")
    lock.write_bytes(b'{"pid": 1, "host": "elsewhere", "since": 5}')
    async with JournalWriter(path):
        assert json.loads(lock.read_bytes())["pid"] == os.getpid()
    assert list(beside(path)) == ["campaign.db"]


def test_a_lock_is_held_by_one_at_a_time_although_its_file_comes_and_goes(path: Path) -> None:
    holders: list[int] = []
    crowds: set[int] = set()

    def compete() -> None:
        for _ in range(400):
            lock = JournalLock(path)
            try:
                lock.acquire(0.0)
            except JournalLockedError:
                continue
            holders.append(1)
            for _ in range(20):
                path.exists()  # lets other threads run
                crowds.add(len(holders))
            holders.pop()
            lock.release()

    threads = [threading.Thread(target=compete) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert crowds == {1}


def make_garbage(path: Path) -> None:
    path.write_bytes(b"index,message_id\n" * 1000)


def make_foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE messages (text)")


def make_foreign_with_an_id(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA application_id = 7")


def make_newer(path: Path) -> None:
    fill(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")


def make_damaged(path: Path) -> None:
    fill(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    path.write_bytes(content)


def make_truncated(path: Path) -> None:
    fill(path)
    path.write_bytes(path.read_bytes()[:5000])


def fill(path: Path) -> None:
    async def rows() -> None:
        async with JournalWriter(path) as journal:
            await accept(journal, *range(500))

    thread = threading.Thread(target=asyncio.run, args=(rows(),))  # the test itself runs on a loop
    thread.start()
    thread.join()


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (make_garbage, JournalDamagedError, "is no journal, or is damaged"),
        (make_foreign, JournalDamagedError, "another application"),
        (make_foreign_with_an_id, JournalDamagedError, "another application"),
        (make_newer, JournalVersionError, "version 99"),
        (make_damaged, JournalDamagedError, "damaged"),
        (make_truncated, JournalDamagedError, "damaged"),
        (Path.mkdir, JournalWriteError, "is not a file"),
    ],
)
async def test_a_file_that_is_no_sound_journal_is_refused_and_left_as_it_is(
    path: Path, make: object, error: type[JournalError], text: str
) -> None:
    assert callable(make)
    make(path)
    before = beside(path) if path.is_file() else None
    for _ in range(2):
        with pytest.raises(error, match=text):
            await JournalWriter(path).open()
    assert before is None or beside(path) == before


@pytest.mark.parametrize("make", [make_garbage, make_foreign, make_newer, make_truncated])
async def test_looking_into_no_journal_is_refused_likewise(path: Path, make: object) -> None:
    assert callable(make)
    make(path)
    before = beside(path)
    with pytest.raises((JournalDamagedError, JournalVersionError)), Journal.open(path) as journal:
        list(journal.outcomes())
    assert beside(path) == before


async def test_an_empty_file_becomes_a_journal(path: Path) -> None:
    path.touch()
    with pytest.raises(JournalError, match="nothing in it"):
        Journal.open(path)
    async with JournalWriter(path) as journal:
        await begin(journal, 0)
    assert states(path) == {0: RowState.STARTED}


async def test_a_directory_that_does_not_exist(path: Path) -> None:
    with pytest.raises(JournalWriteError, match="No such file or directory"):
        await JournalWriter(path / "deeper" / "x.db").open()
    with pytest.raises(JournalError, match="there is no journal"):
        Journal.open(path)


OPEN_WITHOUT_PERMISSION = """
import asyncio, os, sys
from qlara_async.bulk.journal import JournalWriter
from qlara_async.errors import JournalError
if os.geteuid() == 0:
    os.setuid(65534)
async def main():
    for path in sys.argv[1:]:
        try:
            async with JournalWriter(path):
                print("opened")
        except JournalError as error:
            print(type(error).__name__, error)
asyncio.run(main())
"""


async def test_a_read_only_file_and_a_read_only_directory() -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o777)
        path = directory / "campaign.db"
        fill(path)
        path.chmod(0o444)
        closed = directory / "closed"
        closed.mkdir(0o555)
        before = path.read_bytes()
        command = [sys.executable, "-c", OPEN_WITHOUT_PERMISSION, str(path), str(closed / "x.db")]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        read_only, no_directory = done.stdout.splitlines()
        assert path.read_bytes() == before
    assert read_only.startswith("JournalWriteError ")
    assert "it is read-only" in read_only
    assert no_directory.startswith("JournalWriteError ")
    assert "Permission denied" in no_directory


# --- failures while a job runs


async def assert_broken(journal: JournalWriter, path: Path, text: str) -> None:
    """Everybody who waits gets the error, so does everybody later, and what was reported before is there."""
    calls = [begin(journal, index) for index in range(100, 200)]
    errors = await asyncio.gather(*calls, return_exceptions=True)
    failed = [error for error in errors if isinstance(error, JournalWriteError)]
    assert failed
    assert all(text in str(error) for error in failed)
    reported = {100 + place for place, error in enumerate(errors) if error is None}
    before = journal.commits
    with pytest.raises(JournalWriteError, match=text):
        await journal.finish(0, OutcomeState.ACCEPTED)
    with pytest.raises(JournalWriteError):
        await journal.record(300, OutcomeState.SKIPPED, DIGEST)
    with pytest.raises(JournalWriteError):
        await journal.controls(SMS, 2)
    assert journal.commits == before
    await journal.close()
    if path.exists():
        assert reported | {0} <= set(states(path))
        assert states(path)[0] == RowState.STARTED


async def test_g5_disk_full_by_pages(journal: JournalWriter, path: Path) -> None:
    await begin(journal, 0)
    await journal._ask(lambda store: store._db.execute("PRAGMA max_page_count = 1").fetchall())
    await assert_broken(journal, path, "the disk is full")


async def test_g5_a_file_that_must_not_grow(journal: JournalWriter, path: Path) -> None:
    await begin(journal, 0)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.with_name("campaign.db-wal").stat().st_size, limits[1]))
    try:
        await assert_broken(journal, path, "cannot be written")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


async def test_g5_a_file_that_became_read_only(journal: JournalWriter, path: Path) -> None:
    await begin(journal, 0)
    await journal._ask(lambda store: store._db.execute("PRAGMA query_only = ON").fetchall())
    await assert_broken(journal, path, "it is read-only")


async def test_g5_another_program_has_the_file_locked(journal: JournalWriter, path: Path) -> None:
    await begin(journal, 0)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        errors = await asyncio.gather(*(begin(journal, index) for index in range(1, 5)), return_exceptions=True)
        assert {type(error) for error in errors} == {JournalWriteError}
        assert "it is in use by another process" in str(errors[0])
        other.execute("ROLLBACK")
    with pytest.raises(JournalWriteError):
        await begin(journal, 7)
    await journal.close()
    assert states(path) == {0: RowState.STARTED}


@pytest.mark.parametrize("ending", ["", "-wal"])
async def test_g5_a_file_that_was_deleted(journal: JournalWriter, path: Path, ending: str) -> None:
    await begin(journal, 0)
    path.with_name(path.name + ending).unlink()
    with pytest.raises(JournalWriteError, match="No such file"):
        await begin(journal, 1)
    with pytest.raises(JournalWriteError, match="No such file"):
        await begin(journal, 2)


async def test_g5_a_file_that_was_replaced(journal: JournalWriter, path: Path) -> None:
    await begin(journal, 0)
    path.rename(path.with_name("moved.db"))
    path.write_bytes(path.with_name("moved.db").read_bytes())
    with pytest.raises(JournalWriteError, match="replaced"):
        await begin(journal, 1)


# --- lifetime


async def test_a_closed_journal_is_one_file_and_takes_no_more(path: Path) -> None:
    journal = JournalWriter(path)
    with pytest.raises(ClientStateError):
        await begin(journal, 0)
    await journal.close()
    await journal.open()
    assert {file.name for file in path.parent.iterdir()} >= {"campaign.db", "campaign.db-wal", "campaign.db.lock"}
    pending = asyncio.ensure_future(journal.begin(0, journal.mint(0), SMS, DIGEST))
    await asyncio.sleep(0)
    await asyncio.gather(journal.close(), journal.close())
    await pending
    assert list(beside(path)) == ["campaign.db"]
    assert path.read_bytes()[18:20] == b"\1\1"  # not in WAL mode: readers need no other file
    with pytest.raises(ClientStateError):
        await begin(journal, 1)
    with pytest.raises(ClientStateError):
        await journal.open()
    assert states(path) == {0: RowState.STARTED}


async def test_g12_cancelled_while_opening_or_closing_it_lets_go_of_the_lock(path: Path) -> None:
    opening = JournalWriter(path)
    task = asyncio.ensure_future(opening.open())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await opening.close()
    closing_one = JournalWriter(path)
    await closing_one.open()
    task = asyncio.ensure_future(closing_one.close())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await closing_one.close()
    async with JournalWriter(path):
        pass


async def test_g12_cancelled_while_an_opening_is_refused(path: Path) -> None:
    make_garbage(path)
    journal = JournalWriter(path)
    task = asyncio.ensure_future(journal.open())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises((asyncio.CancelledError, JournalDamagedError)):  # the refusal may come first
        await task
    await journal.close()
    assert list(beside(path)) == ["campaign.db"]


async def test_a_refused_opening_leaves_no_thread_and_closes(path: Path) -> None:
    make_garbage(path)
    journal = JournalWriter(path)
    with pytest.raises(JournalDamagedError):
        await journal.open()
    await journal.close()
    with pytest.raises(ClientStateError):
        await begin(journal, 0)
    assert not [thread for thread in threading.enumerate() if thread.name == "qlara-journal" and thread.is_alive()]


# --- looking into it


async def test_a_journal_can_be_looked_into_while_a_job_writes_it(journal: JournalWriter, path: Path) -> None:
    await accept(journal, 0, 1)
    names = set(beside(path))
    with Journal.open(path) as reader:
        assert reader.counts()[RowState.ACCEPTED] == 2
        rows = reader.outcomes()
        assert next(rows).index == 0
        await begin(journal, *range(2, 1500))
        assert reader.in_flight == 1498
        assert reader.counts() == dict.fromkeys(RowState, 0) | {RowState.STARTED: 1498, RowState.ACCEPTED: 2}
        assert [entry.index for entry in reader.outcomes("accepted")] == [0, 1]
        assert [entry.index for entry in reader.outcomes(RowState.STARTED)] == list(range(2, 1500))
    assert set(beside(path)) == names
    await journal.close()
    with pytest.raises(ClientStateError):
        reader.counts()


async def test_looking_into_it_changes_no_file(path: Path) -> None:
    fill(path)
    before = beside(path)
    with Journal.open(path) as journal:
        assert len(list(journal.outcomes())) == 500
    assert beside(path) == before
    with closing(sqlite3.connect(path)) as other:  # another program may leave it in WAL mode
        other.execute("PRAGMA journal_mode = WAL")
    before = beside(path)
    with Journal.open(path) as journal:
        assert len(list(journal.outcomes())) == 500
    assert beside(path) == before


async def test_a_reader_that_stays_does_not_hold_up_the_end_of_a_job(path: Path) -> None:
    journal = JournalWriter(path, busy_timeout=60.0)
    await journal.open()
    await begin(journal, 0)
    with Journal.open(path) as reader:
        await journal.close()
        assert reader.in_flight == 1
    async with JournalWriter(path) as journal:
        assert journal.in_flight == 1
    assert list(beside(path)) == ["campaign.db"]


async def test_export(path: Path, clock: VirtualClock) -> None:
    async with JournalWriter(path, clock=clock) as journal:
        await journal.begin(0, "order-1", SMS, DIGEST)
        await journal.finish(0, OutcomeState.ACCEPTED, attempts=1)
        await journal.begin(1, "order-2", SMS, DIGEST)
        await journal.finish(1, OutcomeState.REJECTED, attempts=2, error=UnprocessableError(422, detail='"a", b'))
        await journal.begin(2, "order-3", Channel.RCS, DIGEST)
        await journal.record(3, OutcomeState.INVALID, DIGEST, error=InvalidMessageError("is missing"))
    table, lines = path.with_name("campaign.db.csv"), path.with_name("rows.ndjson")
    with Journal.open(path) as reader:
        assert (reader.export(table), reader.export(lines, format="ndjson")) == (4, 4)
        for own in (path, path.with_name("campaign.db-wal"), path.with_name("campaign.db.lock")):
            with pytest.raises(ConfigurationError):
                reader.export(own)
        with pytest.raises(ConfigurationError):
            reader.export(table, format="xlsx")  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError):
            reader.outcomes("lost")
        with pytest.raises(JournalError, match="cannot be written"):
            reader.export(path.parent)
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    text = str(UnprocessableError(422, detail='"a", b'))
    when = "2025-06-15T15:06:40+00:00"
    assert [list(row.values()) for row in rows] == [
        ["0", "order-1", "SMS", "accepted", "1", when, "", "", ""],
        ["1", "order-2", "SMS", "rejected", "2", when, "UnprocessableError", "422", text],
        ["2", "order-3", "RCS", "started", "0", "", "", "", ""],
        ["3", "", "", "invalid", "0", when, "InvalidMessageError", "", "is missing"],
    ]
    objects = [json.loads(line) for line in lines.read_text().splitlines()]
    assert objects[1] == {
        "index": 1,
        "message_id": "order-2",
        "channel": "SMS",
        "state": "rejected",
        "attempts": 2,
        "finished_at": when,
        "error": "UnprocessableError",
        "status": 422,
        "text": text,
    }
    assert objects[2]["finished_at"] is None


async def test_rows_with_values_no_journal_has_are_damage(path: Path) -> None:
    fill(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("UPDATE bulk_rows SET state = 'lost' WHERE idx = 3")
    with Journal.open(path) as reader:
        with pytest.raises(JournalDamagedError, match="row 3"):
            list(reader.outcomes())
        with pytest.raises(JournalDamagedError):
            reader.counts()
    async with JournalWriter(path) as journal:
        with pytest.raises(JournalDamagedError, match="row 3"):
            await journal.expected(0)
