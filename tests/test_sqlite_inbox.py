"""The durable inbox by itself: events, leases, retries, lanes, limits."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from qlara_async.errors import ConfigurationError, InboxError
from qlara_async.models.channel import Channel, DeliveryStatus
from qlara_async.models.events import Delivery, Event, Inbound, Media, Read, UnknownEvent
from qlara_async.protocol.identity import identity
from qlara_async.testing.clock import VirtualClock
from qlara_async.webhooks import SqliteInbox
from qlara_async.webhooks.inbox import Row, Verdict, Work
from qlara_async.webhooks.inbox.sqlite.codec import pack, unpack

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 4, 9, 12, 0, 0, 123456, tzinfo=UTC)
DAY = 86400.0
CANARY = "canary-text-+393401234567"
ACCEPTED, DUPLICATE, CONFLICT, FULL = Verdict.ACCEPTED, Verdict.DUPLICATE, Verdict.CONFLICT, Verdict.FULL


def delivery(message_id: str = "m1", **fields: Any) -> Row:
    event = Delivery(
        channel=Channel.SMS, message_id=message_id, received_at=NOW, status=DeliveryStatus.DELIVERED, **fields
    )
    return Row(identity(event), event)


def inbound(message_id: str | None = None, text: str = "ok", source: str | None = None) -> Row:
    event = Inbound(channel=Channel.SMS, message_id=message_id, received_at=NOW, text=text, source=source)
    return Row(identity(event), event)


def unknown(raw: bytes = b"{") -> Row:
    event = UnknownEvent(channel="", message_id=None, received_at=NOW, raw=raw, reason="not JSON")
    return Row(identity(event), event)


def by_source(event: Event) -> bytes | None:
    return event.source.encode() if isinstance(event, Inbound) and event.source else None


class Inboxes:
    """Inboxes on one file and one clock: each is a process, as far as the file can tell."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = VirtualClock(jump=False)
        self.all: list[SqliteInbox] = []

    async def open(self, *handlers: str, lane: Callable[[Event], bytes | None] | None = None, **options: Any) -> Any:
        names = handlers or ("handler",)
        inbox = SqliteInbox(self.path, clock=self.clock, random=lambda: 1.0, **options)
        self.all.append(inbox)
        await inbox.start(lambda event: names, lane=lane, names=lambda: names)
        return inbox

    async def close(self) -> None:
        for inbox in self.all:
            await inbox.close()

    def rows(self, sql: str) -> list[Any]:
        db = sqlite3.connect(self.path)
        try:
            return db.execute(sql).fetchall()
        finally:
            db.close()


@pytest.fixture
async def inboxes(tmp_path: Path) -> AsyncIterator[Inboxes]:
    inboxes = Inboxes(tmp_path / "inbox.db")
    yield inboxes
    await inboxes.close()


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0)


async def die(inbox: SqliteInbox) -> None:
    """End as a process that is killed: nothing is given back, and the kernel lets its lock go."""
    inbox._closed = True
    for timer in inbox._timers.values():
        timer.cancel()
    assert inbox._writer is not None
    await inbox._writer.close(abandon=True)


def freeze(inbox: SqliteInbox) -> None:
    """Stop the heart."""
    inbox._timers.pop("poll").cancel()


async def committed(inbox: SqliteInbox) -> None:
    assert inbox._writer is not None
    await inbox._writer.call(lambda store: None)


async def put(inbox: SqliteInbox, *rows: Row) -> list[Verdict]:
    return list(await inbox.put(rows))


async def no_work(inbox: SqliteInbox) -> bool:
    """Tell whether nothing is handed out."""
    taker = asyncio.create_task(inbox.take())
    for _ in range(3):
        await asyncio.sleep(0)
        await committed(inbox)
    done = taker.done()
    taker.cancel()
    await asyncio.gather(taker, return_exceptions=True)
    return not done


async def finish_all(inbox: SqliteInbox) -> list[Work]:
    works: list[Work] = []

    async def work_off() -> None:
        while True:
            work = await inbox.take()
            works.append(work)
            await inbox.finish(work, None)

    workers = [asyncio.create_task(work_off()) for _ in range(64)]
    await inbox.idle()
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    return works


@pytest.mark.parametrize(
    "event",
    [
        delivery(price=0.035, part=1, total_parts=2, raw=b'{"a":"\xc3\xa8"}', occurred_at=NOW).event,
        delivery(status_code="3", source_kind="poll").event,
        inbound("i1", CANARY, "+39").event,
        Inbound(channel="TELEGRAM", message_id="x", received_at=NOW, media=Media(key="k", mime_type="image/png")),
        Read(channel=Channel.RCS, message_id="r", received_at=NOW, destination="+39"),
        unknown(b"\xff\x00").event,
    ],
)
def test_events_come_back_as_they_were(event: Event) -> None:
    kind, payload = pack(event)
    assert unpack(kind, payload) == event
    assert unpack(kind, payload, conflict=True).conflict


@pytest.mark.parametrize(
    "options",
    [{"max_pending": 0}, {"max_attempts": 0}, {"lease": 0}, {"retry_wait": -1}, {"dedup_ttl": 5399}],
)
def test_bounds_that_cannot_work_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        SqliteInbox(tmp_path / "x", **options)


async def test_it_serves_one_receiver(inboxes: Inboxes) -> None:
    inbox = await inboxes.open()
    with pytest.raises(ConfigurationError):
        await inbox.start(lambda event: ())


async def test_g7_a_redelivery_is_a_duplicate_also_within_a_batch_and_after_a_restart(inboxes: Inboxes) -> None:
    inbox = await inboxes.open()
    assert await put(inbox, delivery(), delivery()) == [ACCEPTED, DUPLICATE]
    assert await put(inbox, delivery()) == [DUPLICATE]
    assert len(await finish_all(inbox)) == 1
    await inbox.close()
    again = await inboxes.open()
    assert await put(again, delivery()) == [DUPLICATE]
    assert again.pending == 0


async def test_g7_concurrent_duplicates_are_one_event(inboxes: Inboxes) -> None:
    one, two = await inboxes.open(), await inboxes.open()
    verdicts = await asyncio.gather(*(inbox.put([delivery()]) for inbox in (one, two) * 25))
    assert sorted(verdict.value for (verdict,) in verdicts) == ["accepted"] + ["duplicate"] * 49
    assert inboxes.rows("SELECT count(*) FROM events") == [(1,)]


async def test_another_meaning_under_the_same_identity_is_a_conflict_and_is_handled(inboxes: Inboxes) -> None:
    inbox = await inboxes.open()
    one, two, three = delivery(price=0.1), delivery(price=0.2), delivery(price=0.3)
    assert await put(inbox, one, two, two) == [ACCEPTED, CONFLICT, DUPLICATE]
    assert await put(inbox, three, two, one, three) == [CONFLICT, DUPLICATE, DUPLICATE, DUPLICATE]
    assert [work.event.conflict for work in await finish_all(inbox)] == [False, True, True]


async def test_handlers_are_matched_when_the_conflict_is_known(inboxes: Inboxes) -> None:
    inbox = SqliteInbox(inboxes.path, clock=inboxes.clock)
    inboxes.all.append(inbox)
    await inbox.start(lambda event: ("conflicts",) if event.conflict else (), names=lambda: ("conflicts",))
    assert await put(inbox, delivery(price=0.1), delivery(price=0.2)) == [ACCEPTED, CONFLICT]
    work = await inbox.take()
    assert (work.handler, work.event.conflict) == ("conflicts", True)


async def test_a_polled_event_never_conflicts_whichever_comes_first(inboxes: Inboxes) -> None:
    def polled(message_id: str) -> Row:
        return delivery(message_id, source_kind="poll")

    inbox = await inboxes.open()
    assert await put(inbox, delivery("a", price=0.1), polled("a")) == [ACCEPTED, DUPLICATE]
    assert await put(inbox, polled("b"), delivery("b", price=0.1), polled("b")) == [ACCEPTED, DUPLICATE, DUPLICATE]
    assert await put(inbox, delivery("b", price=0.1)) == [DUPLICATE]
    assert await put(inbox, delivery("b", price=0.2)) == [CONFLICT]
    assert await put(inbox, polled("c")) == [ACCEPTED]
    assert await put(inbox, delivery("c", price=0.1)) == [DUPLICATE]
    assert await put(inbox, delivery("c", price=0.2)) == [CONFLICT]


async def test_a_batch_that_does_not_fit_is_refused_whole(inboxes: Inboxes) -> None:
    inbox = await inboxes.open(max_pending=2)
    assert await put(inbox, delivery("a")) == [ACCEPTED]
    assert await put(inbox, delivery("b"), delivery("c")) == [FULL, FULL]
    assert inbox.trouble is None
    assert await put(inbox, delivery("b"), delivery("a")) == [ACCEPTED, DUPLICATE]
    assert inbox.trouble == "inbox full"
    assert await put(inbox, delivery("c")) == [FULL]
    assert await put(inbox, delivery("a"), delivery("b")) == [DUPLICATE, DUPLICATE]
    await finish_all(inbox)
    assert inbox.trouble is None
    assert await put(inbox, delivery("b"), delivery("c")) == [DUPLICATE, ACCEPTED]


async def test_an_event_that_nobody_wants_is_remembered_and_not_pending(inboxes: Inboxes) -> None:
    inbox = SqliteInbox(inboxes.path, clock=inboxes.clock, max_pending=1)
    inboxes.all.append(inbox)
    await inbox.start(lambda event: ())
    assert await put(inbox, delivery("a"), delivery("b")) == [ACCEPTED, ACCEPTED]
    assert await put(inbox, delivery("a")) == [DUPLICATE]
    assert inbox.pending == 0


async def test_g6_what_was_put_is_there_after_a_crash_and_is_handed_out_without_traffic(inboxes: Inboxes) -> None:
    dead = await inboxes.open()
    await put(dead, *(delivery(str(number)) for number in range(2000)))
    taken = await dead.take()
    await die(dead)
    inbox = await inboxes.open()
    works = await finish_all(inbox)
    assert sorted(int(str(work.event.message_id)) for work in works) == list(range(2000))
    again = next(work for work in works if work.event == taken.event)
    assert (taken.attempt, again.attempt) == (1, 2)


async def test_g6_a_peer_takes_up_the_work_of_a_process_that_died_within_a_lease(inboxes: Inboxes) -> None:
    dead, peer = await inboxes.open(), await inboxes.open()
    await put(dead, delivery())
    taken = await dead.take()
    taker = asyncio.create_task(peer.take())
    for _ in range(15):  # step by step: a jump of the clock is a silence that neither could break
        await inboxes.clock.advance(1)
        await committed(dead)
        await committed(peer)
    assert not taker.done()
    await die(dead)
    await inboxes.clock.advance(15)
    work = await taker
    assert (work.event, work.attempt) == (taken.event, 2)
    assert list(inboxes.path.parent.glob("*-owner-*")) != []
    await peer.close()
    assert list(inboxes.path.parent.glob("*-owner-*")) == []


async def test_g6_a_frozen_process_loses_its_lease_and_its_late_finish_is_refused(inboxes: Inboxes) -> None:
    frozen, peer = await inboxes.open(), await inboxes.open()
    await put(frozen, delivery())
    late = await frozen.take()
    freeze(frozen)
    taker = asyncio.create_task(peer.take())
    for _ in range(15):
        await inboxes.clock.advance(1)
        await committed(peer)
    work = await taker
    await frozen.finish(late, None)
    await committed(frozen)
    assert frozen.stats().lost_leases == 1
    assert inboxes.rows("SELECT count(*) FROM runs") == [(1,)]
    frozen._schedule()
    await inboxes.clock.advance(10)
    await committed(frozen)
    assert inboxes.rows("SELECT count(*) FROM owners") == [(2,)]
    await peer.finish(work, None)
    await committed(peer)
    assert (peer.pending, peer.stats().lost_leases) == (0, 0)


async def test_g7_a_handler_that_takes_ten_leases_runs_once(inboxes: Inboxes) -> None:
    slow, peer = await inboxes.open(), await inboxes.open()
    await put(slow, delivery())
    work = await slow.take()
    for _ in range(150):
        await inboxes.clock.advance(1)
        await committed(slow)
        await committed(peer)
    assert await no_work(peer)
    await slow.finish(work, None)
    await committed(slow)
    assert (slow.pending, slow.stats().lost_leases) == (0, 0)


async def test_g9_only_the_handler_that_failed_is_tried_again_and_ends_as_a_dead_letter(inboxes: Inboxes) -> None:
    inbox = await inboxes.open("broken", "sound", max_attempts=4, retry_wait=10.0, max_retry_wait=25.0)
    await put(inbox, delivery())
    first, second = await inbox.take(), await inbox.take()
    first, second = sorted((first, second), key=lambda work: work.handler)
    assert [first.handler, second.handler] == ["broken", "sound"]
    await inbox.finish(second, None)
    await inbox.finish(first, ValueError(CANARY))
    waits = []
    while True:
        await committed(inbox)
        if not inbox.pending:
            break
        taker = asyncio.create_task(inbox.take())
        began = inboxes.clock.monotonic()
        while not taker.done():
            await inboxes.clock.advance(0.5)
            await committed(inbox)
            await asyncio.sleep(0)
        waits.append(inboxes.clock.monotonic() - began)
        work = await taker
        assert (work.handler, work.attempt) == ("broken", len(waits) + 1)
        await inbox.finish(work, ValueError(CANARY))
    assert waits == [pytest.approx(wait, abs=1.0) for wait in (10, 20, 25)]
    (letter,) = [letter async for letter in inbox.dead()]
    assert (letter.handler, letter.attempts, letter.error, letter.event) == ("broken", 4, "ValueError", first.event)
    assert inbox.stats().dead == 1
    assert CANARY not in repr(letter)
    assert await inbox.replay(letter) == 1
    assert inbox.stats().dead == 0
    replayed = await inbox.take()
    assert (replayed.handler, replayed.attempt) == ("broken", 1)
    await inbox.finish(replayed, None)
    await committed(inbox)
    assert [letter async for letter in inbox.dead()] == []
    assert inbox.pending == 0


async def test_g9_all_dead_letters_of_a_handler_are_replayed(inboxes: Inboxes) -> None:
    inbox = await inboxes.open("a", "b", max_attempts=1)
    await put(inbox, *(delivery(str(number)) for number in range(300)))
    for _ in range(600):
        await inbox.finish(await inbox.take(), OSError())
    await committed(inbox)
    letters = [letter async for letter in inbox.dead()]
    assert sorted((letter.event_id, letter.handler) for letter in letters) == [
        (number, handler) for number in range(1, 301) for handler in "ab"
    ]
    with pytest.raises(ConfigurationError):
        await inbox.replay()
    assert await inbox.replay(handler="a") == 300
    assert {(work.handler, work.attempt, work.redelivered) for work in await finish_all(inbox)} == {("a", 1, True)}
    assert inbox.stats().dead == 300


async def test_g9_work_that_kills_its_process_runs_out_of_attempts(inboxes: Inboxes) -> None:
    starts = 0
    while True:
        inbox = await inboxes.open(max_attempts=3, retry_wait=1.0)
        if not starts:
            await put(inbox, delivery())
        if not inbox.pending:
            break
        taker = asyncio.create_task(inbox.take())
        while not taker.done():
            await inboxes.clock.advance(0.5)
            await committed(inbox)
        starts += 1
        await die(inbox)
    assert starts == 3
    (letter,) = [letter async for letter in inbox.dead()]
    assert (letter.attempts, letter.error) == (3, "ProcessDied")


async def test_undecodable_events_are_kept_and_listed(inboxes: Inboxes) -> None:
    inbox = SqliteInbox(inboxes.path, clock=inboxes.clock)
    inboxes.all.append(inbox)
    await inbox.start(lambda event: ())
    await put(inbox, unknown(b"{1"), delivery(), unknown(b"{2"))
    entries = [entry async for entry in inbox.quarantined()]
    assert [(entry.event.raw, entry.event.reason) for entry in entries] == [(b"{1", "not JSON"), (b"{2", "not JSON")]
    assert inbox.stats().quarantined == 2


async def test_work_of_a_handler_that_is_gone_is_reported_and_runs_when_it_is_back(
    inboxes: Inboxes, caplog: pytest.LogCaptureFixture
) -> None:
    inbox = await inboxes.open("old", "new")
    await put(inbox, delivery())
    await inbox.close()
    inbox = await inboxes.open("new")
    await finish_one(inbox, "new")
    assert "old" in caplog.text
    assert (inbox.pending, inbox.stats().orphaned) == (1, 1)
    await inbox.idle()
    assert await no_work(inbox)
    await inbox.close()
    inbox = await inboxes.open("old", "new")
    assert inbox.stats().orphaned == 0
    await finish_one(inbox, "old")
    assert inbox.pending == 0


async def finish_one(inbox: SqliteInbox, handler: str) -> Work:
    work = await inbox.take()
    assert work.handler == handler
    await inbox.finish(work, None)
    await committed(inbox)
    return work


async def test_a_lane_runs_one_at_a_time_in_the_order_of_its_commits_and_others_beside_it(inboxes: Inboxes) -> None:
    one = await inboxes.open(lane=by_source)
    two = await inboxes.open(lane=by_source)
    await put(one, *(inbound(f"a{number}", source="a") for number in range(3)), inbound("b0", source="b"))
    await put(two, inbound("a3", source="a"))
    works = [await one.take(), await one.take()]
    assert [work.event.message_id for work in works] == ["a0", "b0"]
    assert await no_work(one)
    assert await no_work(two)
    order = []
    holder, work = one, works[0]
    for taker in (two, one, two):
        await holder.finish(work, None)
        await committed(holder)
        taking = asyncio.create_task(taker.take())
        await inboxes.clock.advance(1)
        holder, work = taker, await taking
        order.append(work.event.message_id)
    assert order == ["a1", "a2", "a3"]


async def test_a_failing_head_blocks_only_its_lane_and_that_for_a_bounded_time(inboxes: Inboxes) -> None:
    inbox = await inboxes.open(lane=by_source, retry_wait=40.0, max_lane_block=100.0)
    await put(inbox, inbound("a0", source="a"), inbound("a1", source="a"), inbound("b0", source="b"))
    head = await inbox.take()
    assert head.event.message_id == "a0"
    await inbox.finish(head, ValueError())
    assert (await inbox.take()).event.message_id == "b0"
    assert await no_work(inbox)
    await inboxes.clock.advance(40)
    head = await inbox.take()
    assert (head.event.message_id, head.attempt) == ("a0", 2)
    await inbox.finish(head, ValueError())  # 80 s more would make it 120
    assert (await inbox.take()).event.message_id == "a1"
    taker = asyncio.create_task(inbox.take())
    await inboxes.clock.advance(80)
    head = await taker
    assert (head.event.message_id, head.attempt) == ("a0", 3)


async def test_finished_events_are_deleted_after_their_time_and_others_are_not(inboxes: Inboxes) -> None:
    inbox = await inboxes.open(max_attempts=1)
    await put(inbox, *(delivery(f"m{number}") for number in range(1200)), inbound(text="a"))
    await finish_all(inbox)
    await put(inbox, delivery("dead"))
    await inbox.finish(await inbox.take(), ValueError())
    await put(inbox, delivery("pending"))
    skip(inboxes, 3599)
    assert await put(inbox, inbound(text="a"), delivery("m1")) == [DUPLICATE, DUPLICATE]
    skip(inboxes, 1)
    assert await put(inbox, inbound(text="a"), delivery("m1")) == [ACCEPTED, DUPLICATE]
    skip(inboxes, 8 * DAY - 3601)
    assert await put(inbox, delivery("m1")) == [DUPLICATE]
    skip(inboxes, 1)
    await cleaned(inboxes, inbox, 3)
    assert await put(inbox, delivery("m1"), delivery("dead"), delivery("pending")) == [ACCEPTED, DUPLICATE, DUPLICATE]
    skip(inboxes, 22 * DAY)
    await inboxes.clock.advance(10)
    await until(lambda: inbox.stats().dead == 0)
    assert await put(inbox, delivery("dead")) == [ACCEPTED]


def skip(inboxes: Inboxes, seconds: float) -> None:
    """Let time pass in one step, and not second by second."""
    inboxes.clock._now += seconds


async def cleaned(inboxes: Inboxes, inbox: SqliteInbox, left: int) -> None:
    """Let heartbeats pass until so many events are left."""
    while inboxes.rows("SELECT count(*) FROM events") != [(left,)]:
        await inboxes.clock.advance(5)
        await committed(inbox)


async def test_the_file_does_not_grow_with_what_expired(inboxes: Inboxes) -> None:
    inbox = await inboxes.open(dedup_ttl=5400)
    sizes = []
    for day in range(6):
        await put(inbox, *(delivery(f"{day}-{number}", raw=b"x" * 200) for number in range(2000)))
        await finish_all(inbox)
        skip(inboxes, 5405)
        await inboxes.clock.advance(5)  # one heartbeat begins, batch after batch follows
        await until(lambda: inboxes.rows("SELECT count(*) FROM events") == [(0,)])
        sizes.append(inboxes.rows("PRAGMA page_count")[0][0])
    assert sizes[-1] <= sizes[1] * 1.2


async def test_the_write_ahead_log_is_copied_into_the_file_in_small_steps(inboxes: Inboxes) -> None:
    inbox = await inboxes.open()
    for first in range(0, 4000, 20):
        await put(inbox, *(delivery(str(number)) for number in range(first, first + 20)))
    log = inboxes.path.with_name(inboxes.path.name + "-wal")
    assert log.stat().st_size < 350 * 4096  # 250 pages, and those of the commit that reaches them


async def test_draining_finishes_what_runs_and_leaves_the_rest_to_a_peer_at_once(inboxes: Inboxes) -> None:
    inbox, peer = await inboxes.open(), await inboxes.open()
    await put(inbox, *(delivery(str(number)) for number in range(3)))
    running, hung = await inbox.take(), await inbox.take()
    draining = asyncio.create_task(inbox.drain())
    await until(lambda: inbox._stopped)
    await committed(inbox)
    assert await no_work(inbox)
    await inboxes.clock.advance(1)
    assert (await peer.take()).event.message_id == "2"
    await inbox.finish(running, None)
    await committed(inbox)
    assert not draining.done()
    draining.cancel()
    await inbox.close()
    await inboxes.clock.advance(1)
    work = await peer.take()
    assert (work.event, work.attempt) == (hung.event, 1)


async def test_g6_a_full_disk_is_an_error_for_those_who_wait_and_nobody_is_told_otherwise(inboxes: Inboxes) -> None:
    inbox = await inboxes.open()
    await put(inbox, delivery("before"))
    work = await inbox.take()
    await limit_pages(inbox, 1)
    with pytest.raises(InboxError, match="disk is full"):
        await put(inbox, *(delivery(str(number), raw=b"x" * 1000) for number in range(100)))
    await limit_pages(inbox, 1 << 30)
    await inboxes.clock.advance(1)
    await committed(inbox)
    assert inbox.trouble is None
    assert await put(inbox, delivery("before"), delivery("1")) == [DUPLICATE, ACCEPTED]
    await inbox.finish(work, None)
    assert len(await finish_all(inbox)) == 1


async def limit_pages(inbox: SqliteInbox, pages: int) -> None:
    assert inbox._writer is not None
    await inbox._writer.call(lambda store: store.db.execute(f"PRAGMA max_page_count = {pages}").fetchall())


async def test_g6_the_end_of_a_run_that_cannot_be_written_is_written_later(inboxes: Inboxes) -> None:
    inbox = await inboxes.open(busy_timeout=0.0)
    await put(inbox, delivery())
    work = await inbox.take()
    other = sqlite3.connect(inboxes.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(InboxError, match="in use"):
        await put(inbox, delivery("m2"))
    await inbox.finish(work, None)
    await committed(inbox)
    assert (inbox.pending, inbox.trouble) == (1, "inbox unavailable")
    other.execute("ROLLBACK")
    other.close()
    await inboxes.clock.advance(1)
    await committed(inbox)
    assert (inbox.pending, inbox.trouble) == (0, None)
    assert await put(inbox, delivery("m2")) == [ACCEPTED]


@pytest.mark.parametrize("how", ["removed", "replaced"])
async def test_g6_a_file_that_is_gone_is_noticed(inboxes: Inboxes, how: str, caplog: pytest.LogCaptureFixture) -> None:
    inbox = await inboxes.open()
    inboxes.path.unlink()
    if how == "replaced":
        inboxes.path.touch()
    with pytest.raises(InboxError, match="gone" if how == "removed" else "replaced"):
        await put(inbox, delivery())
    await inbox.close()
    assert "not closed in order" in caplog.text


@pytest.mark.parametrize("what", ["no database", "another application", "another version", "no directory"])
async def test_a_file_that_is_no_inbox_is_refused(tmp_path: Path, what: str) -> None:
    path = tmp_path / "x.db"
    if what == "no database":
        path.write_bytes(b"nonsense" * 200)
    elif what == "no directory":
        path = tmp_path / "no" / "x.db"
    else:
        application = 0x516C6149 if what == "another version" else 7
        db = sqlite3.connect(path)
        db.executescript(f"PRAGMA application_id={application}; PRAGMA user_version=9; CREATE TABLE t (x)")
        db.close()
    inbox = SqliteInbox(path)
    with pytest.raises(ConfigurationError if what.startswith("another") else InboxError):
        await inbox.start(lambda event: ())
    await inbox.close()


async def test_g12_a_caller_that_is_cancelled_undoes_and_doubles_nothing(inboxes: Inboxes) -> None:
    inbox = await inboxes.open()
    hasty = asyncio.create_task(inbox.put([delivery()]))
    await asyncio.sleep(0)
    hasty.cancel()
    await asyncio.gather(hasty, return_exceptions=True)
    assert await put(inbox, delivery()) == [DUPLICATE]
    assert len(await finish_all(inbox)) == 1


async def test_idle_waits_for_the_last_commit(inboxes: Inboxes) -> None:
    inbox = await inboxes.open()
    await inbox.idle()
    await put(inbox, delivery())
    waiting = asyncio.create_task(inbox.idle())
    await finish_all(inbox)
    await waiting
    assert inboxes.rows("SELECT count(*) FROM runs") == [(0,)]


async def test_the_age_of_the_oldest_event_is_told(inboxes: Inboxes) -> None:
    inbox = await inboxes.open()
    await put(inbox, delivery())
    await inboxes.clock.advance(30)
    await committed(inbox)
    assert inbox.stats().oldest_age == pytest.approx(30)
    await finish_all(inbox)
    assert inbox.stats().oldest_age == 0


async def test_commits_are_durable_and_grouped(inboxes: Inboxes) -> None:
    inbox = await inboxes.open()
    assert inbox._writer is not None
    pragmas = await inbox._writer.call(
        lambda store: [store.db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    )
    assert pragmas == ["wal", 2]
    commits = await count_commits(inbox, [[delivery(str(number))] for number in range(200)])
    assert commits < 150  # of 200 puts: how many share one is up to disk and scheduler


async def count_commits(inbox: SqliteInbox, batches: Sequence[Sequence[Row]]) -> int:
    statements: list[str] = []
    assert inbox._writer is not None
    await inbox._writer.call(lambda store: store.db.set_trace_callback(statements.append))
    await asyncio.gather(*(inbox.put(batch) for batch in batches))
    return transactions(statements)


def transactions(statements: Sequence[str]) -> int:
    """How many commits there were: SQLite tells of the statement that is one by itself once for each of its parts."""
    plain = [statement for statement, _ in groupby(statements) if statement.startswith("INSERT INTO plain_groups")]
    return statements.count("COMMIT") + len(plain)


async def test_g11_nothing_of_an_event_is_logged(inboxes: Inboxes, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        inbox = await inboxes.open(max_attempts=1)
        await put(inbox, inbound("i", CANARY, CANARY))
        await inbox.finish(await inbox.take(), ValueError(CANARY))
        await limit_pages(inbox, 1)
        with pytest.raises(InboxError) as raised:
            await put(inbox, *(inbound(str(number), CANARY * 100) for number in range(20)))
    assert CANARY not in caplog.text
    assert CANARY not in str(raised.value)


async def test_a_conflict_is_remembered_as_long_as_its_key_and_the_key_as_its_conflict(inboxes: Inboxes) -> None:
    inbox = await inboxes.open()
    one, two = delivery(price=0.1), delivery(price=0.2)
    assert await put(inbox, one) == [ACCEPTED]
    skip(inboxes, 7 * DAY)
    assert await put(inbox, two) == [CONFLICT]
    await finish_all(inbox)
    skip(inboxes, 2 * DAY)
    await inboxes.clock.advance(5)
    await committed(inbox)
    assert await put(inbox, two, one) == [DUPLICATE, DUPLICATE]
    skip(inboxes, 6 * DAY)
    await cleaned(inboxes, inbox, 0)
    assert await put(inbox, two) == [ACCEPTED]


async def test_a_batch_larger_than_the_inbox_is_taken_when_the_inbox_is_not_full(inboxes: Inboxes) -> None:
    inbox = await inboxes.open(max_pending=2)
    batch = [delivery(str(number)) for number in range(5)]
    assert await put(inbox, delivery("a"), delivery("b")) == [ACCEPTED] * 2
    assert await put(inbox, *batch) == [FULL] * 5
    await inbox.finish(await inbox.take(), None)
    assert await put(inbox, *batch) == [ACCEPTED] * 5
    assert inbox.trouble == "inbox full"
    assert await put(inbox, delivery("c"), *batch) == [FULL] * 6
    assert len(await finish_all(inbox)) == 6
    assert await put(inbox, *batch) == [DUPLICATE] * 5


async def test_the_end_of_a_run_that_no_work_waits_for_goes_with_the_next_group(inboxes: Inboxes) -> None:
    inbox = await inboxes.open()
    inbox._writer.patience = DAY
    await put(inbox, delivery("m0"))
    statements: list[str] = []
    await inbox._writer.call(lambda store: store.db.set_trace_callback(statements.append))
    work = await inbox.take()
    await committed(inbox)
    statements.clear()
    await inbox.finish(work, None)
    await until(inbox._writer._queue.empty)
    await put(inbox, delivery("m1"))
    assert transactions(statements) == 1
    assert [event for (event,) in inboxes.rows("SELECT event FROM runs")] == [2]


async def test_the_end_of_a_run_that_work_waits_for_is_written_at_once(inboxes: Inboxes) -> None:
    inbox = await inboxes.open(lane=by_source)
    inbox._writer.patience = DAY
    await put(inbox, inbound("a0", source="a"), inbound("a1", source="a"))
    head = await inbox.take()
    next_one = asyncio.create_task(inbox.take())
    await asyncio.sleep(0)
    await committed(inbox)
    await inbox.finish(head, None)
    async with asyncio.timeout(5):
        assert (await next_one).event.message_id == "a1"


async def test_g7_the_end_of_a_run_is_written_soon_though_nothing_comes_and_the_loop_is_busy(inboxes: Inboxes) -> None:
    inbox = await inboxes.open()
    await put(inbox, delivery("m0"))
    await inbox.finish(await inbox.take(), None)
    while inboxes.rows("SELECT event FROM runs"):
        continue  # as a handler that never waits: the loop does not turn
