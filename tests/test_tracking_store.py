"""Delivery tracking across restarts, orderly ones and others."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from qlara_async import QlaraClient
from qlara_async.errors import StatusTimeout, TrackingStoreError
from qlara_async.models.channel import Channel, DeliveryStatus
from qlara_async.models.events import Delivery
from qlara_async.sandbox import Life, Sandbox
from qlara_async.testing import VirtualClock
from qlara_async.tracking import DeliveryTracker, StatusChange
from qlara_async.tracking.record import Record
from qlara_async.tracking.store import FileStore

from .tracking_world import World, until

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_task_left")]

DELIVERED = DeliveryStatus.DELIVERED
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ROOT = Path(__file__).parent.parent


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tracking.db"


class Successor:
    """Another tracker on the same store, as after a restart."""

    def __init__(self, world: World, path: Path, name: str | None = "seen", **options: Any) -> None:
        self.changes: list[StatusChange] = []
        self.tracker = DeliveryTracker(world.qlara, path, clock=world.clock, **options)
        if name is not None:
            self.tracker.on_status(name=name)(self._seen)

    async def _seen(self, change: StatusChange) -> None:
        self.changes.append(change)


async def test_a_restart_goes_on_tracking(path: Path) -> None:
    async with World(store=path, sandbox={"life": Life(final=100.0)}) as world:
        receipt = await world.send()
        await world.advance(10)
        await world.tracker.aclose()
        await world.advance(100)
        successor = Successor(world, path)
        async with successor.tracker as tracker:
            assert tracker.unfinished == 1
            await world.advance(10)
            await until(lambda: successor.changes)
            assert [change.status for change in successor.changes] == [DELIVERED]
            assert (await tracker.wait_until(receipt, "delivered")).status is DELIVERED


async def test_g13_an_outcome_is_told_once_across_restarts(path: Path) -> None:
    async with World(store=path, receiver=True) as world:
        receipt = await world.send()
        await world.advance(1)
        await until(lambda: world.told == [DELIVERED])
        await world.tracker.aclose()
        successor = Successor(world, path)
        async with successor.tracker as tracker:
            await tracker._called_back(world.deliveries[0])
            await world.advance(200)
            await tracker.idle()
            assert successor.changes == []
            assert (await tracker.wait_until(receipt.message_id, "final")).status is DELIVERED


async def test_what_a_handler_has_not_been_told_is_told_after_a_restart(path: Path) -> None:
    async with World(store=path, receiver=True, drain_timeout=1.0) as world:

        @world.tracker.on_status(name="hangs")
        async def hangs(change: StatusChange) -> None:
            await asyncio.Event().wait()

        await world.send()
        await world.advance(1)
        await until(lambda: world.told == [DELIVERED])
        closing = asyncio.create_task(world.tracker.aclose())
        await world.advance(3)
        await closing
        successor = Successor(world, path, "hangs")
        async with successor.tracker as tracker:
            await tracker.idle()
            assert [change.status for change in successor.changes] == [DELIVERED]
        again = Successor(world, path, "hangs")
        async with again.tracker as tracker:
            await tracker.idle()
            assert again.changes == []


async def test_a_handler_that_always_dies_with_its_process_runs_out_of_attempts(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    runs = 0

    async def hangs(change: StatusChange) -> None:
        nonlocal runs
        runs += 1
        await asyncio.Event().wait()

    async with World(store=path, receiver=True) as world:
        await world.tracker.aclose()
        tracker = DeliveryTracker(world.qlara, path, clock=world.clock, drain_timeout=0.0)
        for restart in range(12):
            tracker.on_status(name="deadly")(hangs)
            await tracker.start()
            if restart == 0:
                receipt = await world.send()
                event = Delivery(channel="SMS", message_id=receipt.message_id, status=DELIVERED, received_at=NOW)
                await tracker._called_back(event)
            await world.advance(1)
            await tracker._store.flush()
            await world.advance(1)
            assert runs == min(restart + 1, 8)
            closing = asyncio.create_task(tracker.aclose())
            await world.advance(1)
            await closing
            tracker = DeliveryTracker(world.qlara, path, clock=world.clock, drain_timeout=0.0)
        await tracker.aclose()
    assert runs == 8
    assert "deadly has not survived" in caplog.text


async def test_handlers_run_only_on_what_is_stored(path: Path) -> None:
    safe: list[bytes] = []
    store = FileStore(path, VirtualClock())
    await store.open(lambda record: safe.append(msgspec.msgpack.encode(record)))
    record = Record(message_id="m", channel=Channel.SMS, sent_at=0.0)
    store.save(record)
    await asyncio.sleep(0)  # the commit is under way
    record.description = "later"
    store.save(record)
    await store.flush()
    await store.close()
    assert [b"later" in row for row in safe] == [True]


async def test_what_is_saved_just_as_a_commit_ends_is_committed_too(path: Path) -> None:
    safe: list[str] = []
    store = FileStore(path, VirtualClock())
    first, second = (Record(message_id=name, channel=Channel.SMS, sent_at=0.0) for name in ("first", "second"))

    def saved(record: Record) -> None:
        safe.append(record.message_id)
        if record is first:
            asyncio.get_running_loop().call_soon(store.save, second)

    await store.open(saved)
    store.save(first)
    await until(lambda: "first" in safe)
    for _ in range(3):
        await asyncio.sleep(0)
    assert store._committing is not None or "second" in safe
    await store.flush()
    assert safe == ["first", "second"]
    await store.close()


async def test_a_handler_that_is_gone_is_reported(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with World(store=path, receiver=True, drain_timeout=0.0) as world:

        @world.tracker.on_status(name="renamed-since")
        async def hangs(change: StatusChange) -> None:
            await asyncio.Event().wait()

        await world.send()
        await world.advance(1)
        await until(lambda: world.told)
        closing = asyncio.create_task(world.tracker.aclose())
        await world.advance(1)
        await closing
        successor = Successor(world, path)
        async with successor.tracker as tracker:
            await tracker.idle()
        assert "renamed-since" in caplog.text


async def test_what_is_forgotten_leaves_the_file(path: Path) -> None:
    async with World(store=path, receiver=True, keep=10.0) as world:
        await world.send()
        await world.advance(1)
        await until(lambda: world.told)
        await world.advance(20)
        await world.send()
        await world.tracker.aclose()
        assert len(stored(path)) == 1


async def test_what_was_not_told_yet_is_not_forgotten(path: Path) -> None:
    release = asyncio.Event()
    told: list[str] = []

    async def slow(change: StatusChange) -> None:
        await release.wait()
        told.append(change.message_id)

    async with World(store=path, receiver=True, max_tracked=2, drain_timeout=0.0) as world:
        world.tracker.on_status(name="slow")(slow)
        sent = [(await world.send()).message_id for _ in range(2)]
        await world.advance(1)
        await until(lambda: len(world.told) == 2)
        sent += [(await world.send()).message_id for _ in range(2)]
        await world.advance(1)
        await until(lambda: len(world.told) == 4)
        assert {record.message_id for record in world.tracker._book} == set(sent)
        closing = asyncio.create_task(world.tracker.aclose())
        await world.advance(1)
        await closing
        release.set()
        successor = Successor(world, path, "seen", max_tracked=2)
        successor.tracker.on_status(name="slow")(slow)
        async with successor.tracker as tracker:
            await tracker.idle()
            sent.append((await world.send()).message_id)
            kept = {record.message_id for record in tracker._book}
            await tracker.idle()
    assert sorted(told) == sorted(sent[:4])
    assert len(kept) == 2
    assert stored(path) == kept


async def test_what_no_handler_is_there_to_be_told_of_is_forgotten_in_time(path: Path) -> None:
    async def gone(change: StatusChange) -> None:
        raise NotImplementedError

    async with World(store=path, receiver=True) as world:
        world.tracker.on_status(name="gone")(gone)
        await world.send()
        await world.advance(1)
        await until(lambda: world.told)
        await world.tracker.aclose()
        successor = Successor(world, path, "seen", keep=10.0)
        async with successor.tracker as tracker:
            await world.advance(20)
            last = await world.send()
            await tracker.idle()
        assert stored(path) == {last.message_id}


def stored(path: Path) -> set[str]:
    connection = sqlite3.connect(path)
    try:
        return {message_id for (message_id,) in connection.execute("SELECT message_id FROM tracked")}
    finally:
        connection.close()


async def test_two_trackers_on_one_file_are_refused(path: Path) -> None:
    async with World(store=path) as world:
        await world.send()
        await world.tracker.idle()
        successor = Successor(world, path)
        with pytest.raises(TrackingStoreError, match="in use by another"):
            await successor.tracker.start()
        await successor.tracker.aclose()


@pytest.fixture
def text(path: Path) -> bytes:
    path.write_bytes(b"no database at all" * 100)
    return path.read_bytes()


async def test_a_file_that_is_no_database_is_left_alone(path: Path, text: bytes) -> None:
    async with QlaraClient("key-for-tests") as qlara:
        tracker = DeliveryTracker(qlara, path)
        with pytest.raises(TrackingStoreError, match="not a database"):
            await tracker.start()
        await tracker.aclose()
    assert await asyncio.to_thread(path.read_bytes) == text


async def test_the_database_of_another_program_is_left_alone(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.commit()
    connection.close()
    async with QlaraClient("key-for-tests") as qlara:
        tracker = DeliveryTracker(qlara, path)
        with pytest.raises(TrackingStoreError, match="no tracking store"):
            await tracker.start()
        await tracker.aclose()


async def test_a_damaged_record(path: Path) -> None:
    async with QlaraClient("key-for-tests") as qlara:
        async with DeliveryTracker(qlara, path):
            pass
        connection = sqlite3.connect(path)
        connection.execute("INSERT INTO tracked VALUES ('m', x'00')")
        connection.commit()
        connection.close()
        tracker = DeliveryTracker(qlara, path)
        with pytest.raises(TrackingStoreError, match="damaged"):
            await tracker.start()
        await tracker.aclose()


async def test_a_directory_that_does_not_exist(tmp_path: Path) -> None:
    async with QlaraClient("key-for-tests") as qlara:
        tracker = DeliveryTracker(qlara, tmp_path / "nowhere" / "tracking.db")
        with pytest.raises(TrackingStoreError, match="cannot be used: it cannot be opened: check that its directory"):
            await tracker.start()
        await tracker.aclose()


async def test_a_store_that_fails_holds_the_callback_back_and_is_tried_again(path: Path) -> None:
    async with World(store=path, receiver=True, sandbox={"life": Life(final=1e9)}) as world:
        receipt = await world.send()
        await world.tracker.idle()
        store = world.tracker._store
        assert isinstance(store, FileStore)
        writable(store, False)
        event = {"channel": "SMS", "eventType": "DELIVERY", "messageId": receipt.message_id, "statusCode": 3}
        await world.sandbox.post(event)
        await world.receiver.idle()
        assert world.receiver.stats().failed == 1
        assert world.told == []
        writable(store, True)
        await world.tracker.idle()
        assert world.told == [DELIVERED]


async def test_a_commit_that_failed_is_tried_again_by_itself(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock(jump=False)
    safe: list[str] = []
    store = FileStore(path, clock)
    await store.open(lambda record: safe.append(record.message_id))
    writable(store, False)
    store.save(Record(message_id="m", channel=Channel.SMS, sent_at=0.0))
    with pytest.raises(TrackingStoreError):
        await store.flush()
    await told(caplog, times=1)  # once the commit has ended
    for seconds, times in ((1, 2), (2, 3), (4, 4)):
        await clock.advance(seconds - 0.1)
        assert store._committing is None
        await clock.advance(0.1)
        await told(caplog, times=times)
    writable(store, True)
    await clock.advance(8)
    await until(lambda: safe)
    assert safe == ["m"]
    writable(store, False)
    store.save(Record(message_id="n", channel=Channel.SMS, sent_at=0.0))
    await until(lambda: clock.timers)
    await clock.advance(0.9)
    writable(store, True)
    await clock.advance(0.1)
    await until(lambda: "n" in safe)
    await store.close()
    assert clock.timers == 0


async def test_a_store_that_is_closed_while_it_fails_tries_no_more(path: Path) -> None:
    clock = VirtualClock(jump=False)
    store = FileStore(path, clock)
    await store.open(lambda record: None)
    writable(store, False)
    store.save(Record(message_id="m", channel=Channel.SMS, sent_at=0.0))
    with pytest.raises(TrackingStoreError):
        await store.close()
    assert clock.timers == 0


async def told(caplog: pytest.LogCaptureFixture, *, times: int) -> None:
    await until(lambda: sum(record.name == "qlara_async.client" for record in caplog.records) == times)


def writable(store: FileStore, on: bool) -> None:
    assert store._connection is not None
    store._connection.execute(f"PRAGMA query_only = {'OFF' if on else 'ON'}")


async def test_a_restart_keeps_the_age_of_messages(path: Path) -> None:
    async with World(store=path, sandbox={"life": Life(final=1e9)}, give_up_after=600.0) as world:
        receipt = await world.send()
        await world.advance(500)
        await world.tracker.aclose()
        async with Successor(world, path, give_up_after=600.0).tracker as tracker:
            waiting = asyncio.create_task(tracker.wait_until(receipt, "final"))
            await world.advance(120)
            with pytest.raises(StatusTimeout, match="given up"):
                await waiting


class TestKilled:
    """A real process, killed by SIGKILL; the sandbox outlives it."""

    async def begin(self, sandbox: Sandbox, path: Path, count: int, *more: str) -> Process:
        arguments = [sandbox.url, sandbox.api_key, str(path), str(path.with_name("log")), str(count), *more]
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.tracking_program", *arguments, stdout=PIPE, cwd=ROOT
        )

    async def line(self, process: Process) -> bytes:
        assert process.stdout is not None
        return (await process.stdout.readline()).strip()

    async def kill(self, process: Process) -> None:
        process.kill()
        await process.communicate()

    async def test_g13_after_a_kill_every_message_is_told_once(self, path: Path) -> None:
        async with Sandbox(rate_limit=None, life=Life(final=1.0)) as sandbox:
            first = await self.begin(sandbox, path, 20)
            assert await self.line(first) == b"sent"
            await self.kill(first)
            second = await self.begin(sandbox, path, 0)
            assert await self.line(second) == b"sent"
            assert await self.line(second) == b"done"
            await self.kill(second)
            third = await self.begin(sandbox, path, 0)
            assert [await self.line(third), await self.line(third)] == [b"sent", b"done"]
            await self.kill(third)
            assert Counter(path.with_name("log").read_text().split()) == sandbox.accepted
            assert sandbox.accepted.total() == 20

    async def test_only_a_handler_that_was_running_runs_again(self, path: Path) -> None:
        async with Sandbox(rate_limit=None, life=Life(final=0.0)) as sandbox:
            first = await self.begin(sandbox, path, 1, "hang")
            log = path.with_name("log")
            assert await self.line(first) == b"sent"
            while not log.exists() or not log.read_text():
                await asyncio.sleep(0)
            await self.kill(first)
            second = await self.begin(sandbox, path, 0)
            assert [await self.line(second), await self.line(second)] == [b"sent", b"done"]
            await self.kill(second)
            assert Counter(log.read_text().split()) == Counter(dict.fromkeys(sandbox.accepted, 2))
