"""The durable inbox among locked files, frozen processes and clocks that are set back."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from qlara_async.errors import InboxError
from qlara_async.webhooks import SqliteInbox

from .test_sqlite_inbox import Inboxes, committed, delivery, die, finish_all, freeze, inboxes, no_work, put, until

__all__ = ["inboxes"]

pytestmark = pytest.mark.anyio


@contextmanager
def locked(inboxes: Inboxes) -> Iterator[None]:
    """Let another program hold the file's write lock."""
    other = sqlite3.connect(inboxes.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


async def test_a_file_that_is_locked_at_the_start_can_be_started_later(inboxes: Inboxes) -> None:
    await (await inboxes.open()).close()
    inbox = SqliteInbox(inboxes.path, clock=inboxes.clock, busy_timeout=0.0)
    inboxes.all.append(inbox)
    await inbox.replay(handler="none")  # opens the file
    with locked(inboxes), pytest.raises(InboxError, match="in use"):
        await inbox.start(lambda event: ("handler",), names=lambda: ("handler",))
    await inbox.start(lambda event: ("handler",), names=lambda: ("handler",))
    await put(inbox, delivery())
    assert len(await finish_all(inbox)) == 1


@pytest.mark.parametrize("again", [True, False])
async def test_g12_a_start_that_is_cancelled_leaves_no_thread_and_no_second_writer(
    inboxes: Inboxes, again: bool
) -> None:
    others = set(threading.enumerate())
    await (await inboxes.open()).close()
    inbox = SqliteInbox(inboxes.path, clock=inboxes.clock, busy_timeout=60.0)
    inboxes.all.append(inbox)

    async def start() -> None:
        await inbox.start(lambda event: ("handler",), names=lambda: ("handler",))

    with locked(inboxes):
        starting = asyncio.create_task(start())
        await until(lambda: [thread.name for thread in set(threading.enumerate()) - others] == ["qlara-inbox"])
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        assert starting.cancelled()
    if again:
        await start()
        await put(inbox, delivery())
        assert len(await finish_all(inbox)) == 1
    await inbox.close()
    for thread in set(threading.enumerate()) - others:
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.parametrize("table", ["dead", "events", "handlers", "runs", "owners", "counters"])
async def test_a_file_that_is_damaged_is_an_error_at_the_start_and_no_wait(inboxes: Inboxes, table: str) -> None:
    await (await inboxes.open()).close()
    db = sqlite3.connect(inboxes.path)
    db.execute(f"DROP TABLE {table}")
    db.close()
    inbox = SqliteInbox(inboxes.path, clock=inboxes.clock)
    inboxes.all.append(inbox)
    async with asyncio.timeout(30):
        with pytest.raises(InboxError, match="cannot be used"):
            await inbox.start(lambda event: ("handler",), names=lambda: ("handler",))


async def test_g7_a_lock_that_keeps_all_processes_from_their_heartbeats_makes_none_of_them_dead(
    inboxes: Inboxes,
) -> None:
    one, two = await inboxes.open(busy_timeout=0.0), await inboxes.open(busy_timeout=0.0)
    await put(one, delivery())
    work = await one.take()
    await inboxes.clock.advance(5)
    await committed(two)
    with locked(inboxes):
        for _ in range(14):
            await inboxes.clock.advance(1)
            await committed(one)
            await committed(two)
    # Now the other's heartbeat comes first.
    assert two._writer is not None
    await two._writer.call(lambda store: store.beat())
    for _ in range(10):
        await inboxes.clock.advance(1)
        await committed(one)
        await committed(two)
    assert await no_work(two)
    await one.finish(work, None)
    await committed(one)
    assert (one.pending, one.stats().lost_leases) == (0, 0)


async def test_g6_what_a_process_leased_after_it_was_taken_for_dead_is_taken_up_when_it_dies(inboxes: Inboxes) -> None:
    frozen, peer = await inboxes.open(), await inboxes.open()
    freeze(frozen)
    for _ in range(20):
        await inboxes.clock.advance(1)
        await committed(peer)
    await put(frozen, delivery())
    taken = await frozen.take()
    await die(frozen)
    taker = asyncio.create_task(peer.take())
    for _ in range(15):
        await inboxes.clock.advance(1)
        await committed(peer)
    work = await asyncio.wait_for(taker, 1)
    assert (work.event, work.attempt) == (taken.event, 2)


async def test_g7_an_end_that_could_not_be_written_is_written_when_the_inbox_closes(inboxes: Inboxes) -> None:
    inbox = await inboxes.open(busy_timeout=0.0)
    await put(inbox, delivery())
    work = await inbox.take()
    other = sqlite3.connect(inboxes.path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    begun: list[str] = []

    def unlock(statement: str) -> None:
        begun.extend([statement] if statement == "BEGIN IMMEDIATE" else [])
        if len(begun) == 2:  # the first one, of the end, has failed
            other.rollback()

    assert inbox._writer is not None
    await inbox._writer.call(lambda store: store.db.set_trace_callback(unlock))
    busy, gate = threading.Event(), threading.Event()

    def stall(store: object) -> None:
        busy.set()
        gate.wait()

    inbox._writer.wake(stall)  # so that all that follows is one group
    busy.wait()
    await inbox.finish(work, None)
    closing = asyncio.create_task(inbox.close())
    await asyncio.sleep(0)
    gate.set()
    await closing
    other.close()
    assert len(begun) == 2
    again = await inboxes.open()
    assert again.pending == 0
    assert await no_work(again)


async def test_what_cannot_be_written_while_less_can_is_tried_with_the_clock_and_not_again_and_again(
    inboxes: Inboxes, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk may take a page and not three: the writer thread then ran, and logged, without a pause."""
    inbox = await inboxes.open()
    await put(inbox, delivery())
    work = await inbox.take()
    taker = asyncio.create_task(inbox.take())
    tries = 0

    def tried() -> None:
        nonlocal tries
        tries += 1

    await inbox._writer.call(lambda store: store.db.create_function("tried", 0, tried))
    await execute(
        inbox,
        "CREATE TEMP TRIGGER full BEFORE DELETE ON main.runs BEGIN SELECT tried(); SELECT RAISE(ABORT, 'no room'); END",
    )
    await inbox.finish(work, None)
    for _ in range(20):
        await committed(inbox)
    assert tries <= 21
    assert caplog.text.count("the inbox cannot be written") == 1
    assert inbox.trouble == "inbox unavailable"
    await execute(inbox, "DROP TRIGGER full")
    await inboxes.clock.advance(1)
    await committed(inbox)
    assert (inbox.pending, inbox.trouble) == (0, None)
    taker.cancel()


async def test_draining_a_locked_file_still_waits_for_what_runs(
    inboxes: Inboxes, caplog: pytest.LogCaptureFixture
) -> None:
    inbox = await inboxes.open(busy_timeout=0.0)
    await put(inbox, delivery())
    work = await inbox.take()
    with locked(inboxes):
        draining = asyncio.create_task(inbox.drain())
        await until(lambda: inbox._stopped)
        for _ in range(3):
            await committed(inbox)
        assert not draining.done()
    await inbox.finish(work, None)
    await draining
    await committed(inbox)
    assert inboxes.rows("SELECT count(*) FROM runs") == [(0,)]


async def test_g12_what_is_asked_of_an_inbox_while_it_closes_is_refused_and_waits_for_nothing(inboxes: Inboxes) -> None:
    inbox = await inboxes.open()
    await put(inbox, delivery(price=0.1))
    conflict = asyncio.create_task(put(inbox, delivery(price=0.2)))  # is judged twice
    await asyncio.sleep(0)
    await inbox.close()
    with pytest.raises(InboxError, match="closed"):
        await conflict
    with pytest.raises(InboxError, match="closed"):
        await put(inbox, delivery("m2"))


@pytest.mark.parametrize("restarted", [False, True])
async def test_g6_a_clock_that_is_set_back_does_not_hold_work_up(inboxes: Inboxes, restarted: bool) -> None:
    inbox = await inboxes.open(retry_wait=10.0)
    await put(inbox, *(delivery(str(number)) for number in range(3)))
    await inbox.finish(await inbox.take(), ValueError())
    await committed(inbox)
    inboxes.clock._offset -= 7200
    if restarted:
        await inbox.close()
        inbox = await inboxes.open(retry_wait=10.0)
    works = []
    for _ in range(3):
        taker = asyncio.create_task(inbox.take())
        for _ in range(16):
            await inboxes.clock.advance(1)
            await committed(inbox)
        works.append(await asyncio.wait_for(taker, 1))
    assert sorted((work.event.message_id, work.attempt) for work in works) == [("0", 2), ("1", 1), ("2", 1)]


async def test_g6_a_clock_that_is_set_back_by_less_than_the_longest_wait_holds_up_nothing_new(inboxes: Inboxes) -> None:
    inbox = await inboxes.open(max_retry_wait=3600.0)
    await put(inbox, delivery())
    inboxes.clock._offset -= 1800
    taker = asyncio.create_task(inbox.take())
    for _ in range(6):
        await inboxes.clock.advance(1)
        await committed(inbox)
    assert taker.done()


def refusing(event: str, table: str) -> str:
    return f"CREATE TEMP TRIGGER refusing BEFORE {event} ON main.{table} BEGIN SELECT RAISE(ABORT, 'no'); END"


async def execute(inbox: SqliteInbox, sql: str) -> None:
    assert inbox._writer is not None
    await inbox._writer.call(lambda store: store.db.execute(sql))


async def test_g6_a_handler_whose_first_commit_failed_is_known_by_the_number_that_is_in_the_file(
    inboxes: Inboxes,
) -> None:
    names = ["old"]
    inbox = SqliteInbox(inboxes.path, clock=inboxes.clock)
    inboxes.all.append(inbox)
    await inbox.start(lambda event: tuple(names), names=lambda: names)
    names.append("new")
    await execute(inbox, refusing("INSERT", "events"))
    with pytest.raises(InboxError):
        await put(inbox, delivery())
    await execute(inbox, "DROP TRIGGER refusing")
    await put(inbox, delivery())
    assert inboxes.rows("SELECT h.name FROM runs AS r JOIN handlers AS h ON h.id = r.handler ORDER BY h.name") == [
        ("new",),
        ("old",),
    ]


async def test_g6_what_a_commit_that_failed_would_have_leased_is_leased_by_the_next(inboxes: Inboxes) -> None:
    inbox = await inboxes.open()
    await put(inbox, delivery("m1"), delivery("m2"))
    work = await inbox.take()
    await inboxes.clock.advance(1)  # the first poll looks for work in any case
    await committed(inbox)
    await execute(inbox, refusing("UPDATE", "counters"))
    held = threading.Event()
    inbox._writer.wake(lambda store: held.wait())
    takers = [asyncio.create_task(inbox.take()) for _ in range(2)]
    await asyncio.sleep(0)
    await inbox.finish(work, None)
    held.set()  # the end and the lease are of one commit
    await committed(inbox)
    await execute(inbox, "DROP TRIGGER refusing")
    for _ in range(3):
        await inboxes.clock.advance(1)
        await committed(inbox)
    assert [taker.result().event.message_id for taker in takers if taker.done()] == ["m2"]
    for taker in takers:
        taker.cancel()


async def test_g6_what_was_leased_as_a_drain_began_is_not_begun_and_given_back(inboxes: Inboxes) -> None:
    inbox = await inboxes.open()
    taker = asyncio.create_task(inbox.take())
    await asyncio.sleep(0)
    await committed(inbox)
    held = threading.Event()
    inbox._writer.wake(lambda store: held.wait())
    putting = asyncio.create_task(put(inbox, delivery()))
    await asyncio.sleep(0)
    draining = asyncio.create_task(inbox.drain())
    await asyncio.sleep(0)
    held.set()
    await putting
    await draining
    await committed(inbox)
    assert not taker.done()
    assert inboxes.rows("SELECT state, attempts FROM runs") == [(0, 0)]
    taker.cancel()
