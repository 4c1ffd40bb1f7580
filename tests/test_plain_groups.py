"""A group that one statement writes is written as the general transaction would have; and only a plain one is."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qlara_async.errors import InboxError
from qlara_async.models.events import Event, Inbound
from qlara_async.testing.clock import VirtualClock
from qlara_async.webhooks import SqliteInbox
from qlara_async.webhooks.inbox import Row, Work
from qlara_async.webhooks.inbox.sqlite.entries import End, Incoming, Leased, Policy
from qlara_async.webhooks.inbox.sqlite.matching import Matching
from qlara_async.webhooks.inbox.sqlite.plain import prepare
from qlara_async.webhooks.inbox.sqlite.store import Store

from .test_sqlite_inbox import (
    ACCEPTED,
    CONFLICT,
    DAY,
    DUPLICATE,
    FULL,
    Inboxes,
    by_source,
    committed,
    delivery,
    inbound,
    inboxes,
    put,
    transactions,
    unknown,
    until,
)
from .test_sqlite_inbox_model import RAM_DISK

__all__ = ["inboxes"]

anyio = pytest.mark.anyio

POLICY = Policy(
    dedup_ttl=8 * DAY,
    short_ttl=3600.0,
    keep_failed=30 * DAY,
    max_pending=9,
    max_attempts=2,
    retry_wait=4.0,
    max_retry_wait=60.0,
    max_lane_block=10.0,
    lease=15.0,
)
PLENTY = 1_000_000
NEVER = 1e12


def named(event: Event) -> tuple[str, ...]:
    """Name none, one or two handlers, by the event's text."""
    return ("one", "two")[: len(event.text) % 3] if isinstance(event, Inbound) else ("one",)


class GeneralStore(Store):
    """Takes no group for plain."""

    def _may_be_plain(self, rows: Sequence[Incoming], ends: Sequence[End]) -> bool:
        return False


class Twin:
    """A store without a thread."""

    def __init__(self, kind: type[Store], path: Path, clock: VirtualClock) -> None:
        self.store = kind(path, POLICY, clock, lambda: 1.0, 0.0)
        self.store.open()
        self.store.serve(["one", "two"], {})
        self.store.commit([], [], PLENTY)  # looks for older work, of which there is none
        self.matching = Matching(named, by_source)
        self.leased: dict[tuple[int, str], Leased] = {}

    def commit(self, batches: Sequence[Sequence[Row]], ended: dict[tuple[int, str], bool], free: int) -> object:
        """Write a group; what has ended is told by event and handler. Return all that can be seen of it."""
        ends = [End(self.leased.pop(run), None if ok else "ValueError") for run, ok in ended.items()]
        outcome = self.store.commit([self.matching.incoming(batch) for batch in batches], ends, free)
        self.leased |= {(work.ticket, work.handler): work for work in outcome.work}
        works = sorted(outcome.work, key=lambda work: (work.ticket, work.handler_id))
        return outcome.batches, works, self.store.snapshot()

    def tables(self) -> list[Any]:
        names = ("events", "runs", "dead", "handlers", "counters")
        return [self.store.db.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall() for name in names]


callbacks = st.builds(
    inbound,
    st.none() | st.integers(0, 9_999).map(str),
    st.sampled_from(["", "a", "bc"]),
    st.none() | st.sampled_from(["+391", "+392", "+393", "+394"]),
)
receipts = st.builds(
    lambda number, price: delivery(str(number), price=price), st.integers(0, 30), st.sampled_from([None, 1.0])
)
rows = st.one_of(*[callbacks] * 5, *[receipts] * 4, st.just(unknown()))
batches = st.lists(st.lists(rows, min_size=1, max_size=3), max_size=3)


@given(
    groups=st.lists(
        st.tuples(batches, st.lists(st.sampled_from([*[True] * 9, False]), max_size=9), st.integers(0, 3)),
        min_size=1,
        max_size=12,
    ),
    seconds=st.sampled_from([0.0, 1.0, 5.0]),
)
@settings(max_examples=300, deadline=None)
def test_g6_g7_g9_a_plain_group_is_written_as_the_general_transaction_writes_it(
    groups: list[tuple[list[list[Row]], list[bool], int]], seconds: float
) -> None:
    clock = VirtualClock(jump=False)
    with tempfile.TemporaryDirectory(dir=RAM_DISK if RAM_DISK.is_dir() else None) as directory:
        plain, general = (Twin(kind, Path(directory) / kind.__name__, clock) for kind in (Store, GeneralStore))
        for arriving, endings, scarce in groups:
            ended = dict(zip(sorted(plain.leased), endings, strict=False))
            free = PLENTY if scarce else 1
            assert plain.commit(arriving, ended, free) == general.commit(arriving, ended, free)
            assert not general.store.plain
            assert plain.tables() == general.tables()
            asyncio.run(clock.advance(seconds))
        plain.store.close()
        general.store.close()


def test_a_group_with_which_expired_events_are_to_be_deleted_is_not_plain(tmp_path: Path) -> None:
    twin = Twin(Store, tmp_path / "inbox.db", VirtualClock(jump=False))
    twin.store.beat()
    assert twin.store.cleaning
    twin.commit([], {}, PLENTY)
    assert not twin.store.cleaning
    twin.store.close()


def test_an_sqlite_without_json_functions_writes_no_plain_groups(tmp_path: Path) -> None:
    class WithoutJson(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            return super().execute(sql.replace("json_each", "nothing_of_that_name"), *parameters)

    twin = Twin(Store, tmp_path / "inbox.db", VirtualClock(jump=False))
    for kind, expected in ((sqlite3.Connection, True), (WithoutJson, False)):
        db = sqlite3.connect(tmp_path / "inbox.db", factory=kind)
        twin.store._knows_plain = prepare(db)
        db.close()
        twin.commit([[delivery(kind.__name__)]], {}, PLENTY)
        assert twin.store.plain is expected
    twin.store.close()


# --- as a receiver does it: somebody waits for the work before it comes ---


@asynccontextmanager
async def taking(inbox: Any) -> AsyncIterator[asyncio.Queue[Work]]:
    """Take work as it comes, so that what comes is leased at once."""
    taken: asyncio.Queue[Work] = asyncio.Queue()

    async def take() -> None:
        while True:
            taken.put_nowait(await inbox.take())

    takers = [asyncio.create_task(take()) for _ in range(64)]
    for _ in range(3):
        await asyncio.sleep(0)
        await committed(inbox)
    yield taken
    for taker in takers:
        taker.cancel()
    await asyncio.gather(*takers, return_exceptions=True)


async def ids(taken: asyncio.Queue[Work], count: int) -> list[str | None]:
    async with asyncio.timeout(5):  # work that is forgotten is to be a failure
        return [(await taken.get()).event.message_id for _ in range(count)]


@asynccontextmanager
async def held_up(inbox: Any) -> AsyncIterator[None]:
    """Let the thread wait, so that what is asked of it meanwhile is one group."""
    waits, held = threading.Event(), threading.Event()

    def wait(store: object) -> None:
        waits.set()
        held.wait()

    inbox._writer.wake(wait)
    await until(waits.is_set)
    yield
    held.set()


async def written_plainly(inbox: Any) -> bool:
    return bool(await inbox._writer.call(lambda store: store.plain))


@anyio
async def test_a_plain_group_is_one_statement(inboxes: Inboxes) -> None:
    inbox = await inboxes.open(lane=by_source)
    statements: list[str] = []
    async with taking(inbox) as taken:
        await inbox._writer.call(lambda store: store.db.set_trace_callback(statements.append))
        assert await put(inbox, delivery("m1"), inbound("m2", source="+391")) == [ACCEPTED] * 2
        for _ in range(2):
            await inbox.finish(await taken.get(), None)
        assert await put(inbox, inbound("m3", source="+391")) == [ACCEPTED]
        assert await ids(taken, 1) == ["m3"]
        await inbox._writer.call(lambda store: store.db.set_trace_callback(None))
    assert transactions(statements) == 2
    assert {statement.partition(" VALUES")[0] for statement in statements} == {"INSERT INTO plain_groups"}
    assert inboxes.rows("SELECT event, state, attempts, token, lane FROM runs") == [(3, 1, 1, 1, b"+391")]


async def put_a_redelivery(inbox: Any) -> None:
    assert await put(inbox, delivery("m0"), delivery("new")) == [DUPLICATE, ACCEPTED]


async def put_a_conflict(inbox: Any) -> None:
    assert await put(inbox, delivery("m0", price=0.2), delivery("new")) == [CONFLICT, ACCEPTED]


async def put_one_twice(inbox: Any) -> None:
    assert await put(inbox, delivery("new"), delivery("new")) == [ACCEPTED, DUPLICATE]


async def put_what_cannot_be_read(inbox: Any) -> None:
    assert await put(inbox, unknown(), delivery("new")) == [ACCEPTED] * 2
    assert inbox.stats().quarantined == 1


async def put_more_than_fits(inbox: Any) -> None:
    assert await put(inbox, *(delivery(str(number)) for number in range(9))) == [FULL] * 9
    assert await put(inbox, delivery("m0"), delivery("new")) == [DUPLICATE, ACCEPTED]


async def put_batches_that_together_do_not_fit(inbox: Any) -> None:
    async with held_up(inbox):
        batches = [[delivery(f"{batch}{number}") for number in range(5)] for batch in "ab"]
        puts = [asyncio.create_task(put(inbox, *batch)) for batch in [*batches, [delivery("new")]]]
        await asyncio.sleep(0)
    assert await asyncio.gather(*puts) == [[ACCEPTED] * 5, [FULL] * 5, [ACCEPTED]]


@anyio
@pytest.mark.parametrize(
    "not_plain",
    [
        put_a_redelivery,
        put_a_conflict,
        put_one_twice,
        put_what_cannot_be_read,
        put_more_than_fits,
        put_batches_that_together_do_not_fit,
    ],
)
async def test_g6_g7_what_is_not_plain_is_judged_and_handed_out_like_any(
    inboxes: Inboxes, not_plain: Callable[[Any], Awaitable[None]]
) -> None:
    inbox = await inboxes.open(max_pending=9)
    async with taking(inbox) as taken:
        assert await put(inbox, delivery("m0", price=0.1 if not_plain is put_a_conflict else None)) == [ACCEPTED]
        assert await written_plainly(inbox)
        await not_plain(inbox)
        assert not await written_plainly(inbox)
        leased = [number for (number,) in inboxes.rows("SELECT event FROM runs WHERE state = 1 ORDER BY event")]
        async with asyncio.timeout(5):
            works = [await taken.get() for _ in leased]
    assert sorted(work.ticket for work in works) == leased
    assert {"m0", "new"} <= {work.event.message_id for work in works}
    assert inboxes.rows("SELECT pending FROM counters") == inboxes.rows("SELECT count(*) FROM runs")


@anyio
async def test_g12_what_comes_while_the_inbox_drains_is_not_begun(inboxes: Inboxes) -> None:
    inbox = await inboxes.open()
    async with taking(inbox):
        await put(inbox, delivery("m0"))
        draining = asyncio.create_task(inbox.drain())
        await until(lambda: inbox._stopped)
        await committed(inbox)
        assert await put(inbox, delivery("m1")) == [ACCEPTED]
        await committed(inbox)
        assert inboxes.rows("SELECT event, state, token FROM runs") == [(1, 1, 1), (2, 0, 0)]
        draining.cancel()


@anyio
async def test_g9_the_end_of_a_head_lets_the_next_of_its_lane_go_though_all_else_is_plain(inboxes: Inboxes) -> None:
    inbox = await inboxes.open(lane=by_source)
    inbox._writer.patience = DAY
    async with taking(inbox) as taken:
        await put(inbox, inbound("a0", source="a"))
        head = await taken.get()
        assert await put(inbox, inbound("a1", source="a")) == [ACCEPTED]
        assert not await written_plainly(inbox)
        async with held_up(inbox):
            await inbox.finish(head, None)
            putting = asyncio.create_task(put(inbox, delivery("m1")))
            await asyncio.sleep(0)
        assert await putting == [ACCEPTED]
        assert sorted(map(str, await ids(taken, 2))) == ["a1", "m1"]


@anyio
async def test_g7_the_end_of_a_run_that_was_given_back_is_refused_though_all_else_is_plain(inboxes: Inboxes) -> None:
    inbox = await inboxes.open()
    inbox._writer.patience = DAY
    async with taking(inbox) as taken:
        await put(inbox, delivery("m0"))
        work = await taken.get()
        await inbox._writer.call(lambda store: store.transact(lambda: store.runs.release([work], NEVER)))
        await inbox.finish(work, None)
        await put(inbox, delivery("m1"))
        assert inboxes.rows("SELECT event, state FROM runs") == [(1, 0), (2, 1)]
        assert inbox.stats().lost_leases == 1


@anyio
async def test_handlers_with_a_limit_get_no_more_than_that(inboxes: Inboxes) -> None:
    inbox: Any = SqliteInbox(inboxes.path, clock=inboxes.clock)
    inboxes.all.append(inbox)
    await inbox.start(lambda event: ("one",), names=lambda: ("one",), limits=lambda: {"one": 2})
    async with taking(inbox) as taken:
        for number in range(4):
            await put(inbox, delivery(str(number)))
        assert await ids(taken, 2) == ["0", "1"]
        await committed(inbox)
        assert taken.empty()


@anyio
async def test_g6_nothing_is_written_to_a_file_that_nobody_will_find_again(inboxes: Inboxes) -> None:
    inbox = await inboxes.open()
    async with taking(inbox):
        await put(inbox, delivery("m0"))
        assert await written_plainly(inbox)
        inboxes.path.rename(inboxes.path.with_suffix(".moved"))
        with pytest.raises(InboxError, match="gone"):
            await put(inbox, delivery("m1"))
        inboxes.path.with_suffix(".moved").rename(inboxes.path)


@anyio
async def test_all_that_wait_are_refused_at_once_when_the_file_is_locked(inboxes: Inboxes) -> None:
    inbox = await inboxes.open(busy_timeout=0.0)
    async with taking(inbox):
        await put(inbox, delivery("m0"))
        assert await written_plainly(inbox)
        other = sqlite3.connect(inboxes.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        statements: list[str] = []
        await inbox._writer.call(lambda store: store.db.set_trace_callback(statements.append))
        async with held_up(inbox):
            puts = [asyncio.create_task(put(inbox, delivery(str(number)))) for number in range(99)]
            await asyncio.sleep(0)
        assert {type(refusal) for refusal in await asyncio.gather(*puts, return_exceptions=True)} == {InboxError}
        await inbox._writer.call(lambda store: store.db.set_trace_callback(None))
        other.execute("ROLLBACK")
        other.close()
    assert transactions(statements) == 2  # the half that was taken, and then all others


@anyio
async def test_g7_two_processes_that_write_in_turn_take_nothing_for_plain_that_the_other_has_stored(
    inboxes: Inboxes,
) -> None:
    one, two = await inboxes.open(), await inboxes.open()
    async with taking(one) as taken, taking(two) as nothing:
        verdicts = [await put(inbox, delivery(str(number // 3))) for number in range(9) for inbox in (one, two)]
        assert await ids(taken, 3) == ["0", "1", "2"]
        assert nothing.empty()
    assert verdicts == [[ACCEPTED], *[[DUPLICATE]] * 5] * 3
    assert inboxes.rows("SELECT next_event, pending FROM counters") == [(4, 3)]


@anyio
@pytest.mark.parametrize(("counter", "value"), [("next_event", 10), ("pending", 5)])
async def test_g7_what_another_process_has_counted_meanwhile_counts(inboxes: Inboxes, counter: str, value: int) -> None:
    inbox = await inboxes.open()
    async with taking(inbox) as taken:
        await put(inbox, delivery("m0"))
        other = sqlite3.connect(inboxes.path)
        other.execute(f"UPDATE counters SET {counter} = ?", (value,))
        other.commit()
        other.close()
        await put(inbox, delivery("m1"))
        expected = {"next_event": 2, "pending": 1} | {counter: value}
        assert [(await taken.get()).ticket for _ in range(2)] == [1, expected["next_event"]]
        assert inbox.pending == expected["pending"] + 1


@anyio
async def test_g7_who_was_taken_for_dead_leases_nothing_under_the_number_that_he_has_lost(inboxes: Inboxes) -> None:
    frozen = await inboxes.open()
    async with taking(frozen) as taken:
        await put(frozen, delivery("m0"))
        work = await taken.get()
        peer = sqlite3.connect(inboxes.path)  # what a peer does that has heard no heartbeat; the work is its own then
        peer.execute("DELETE FROM owners")
        other = peer.execute("INSERT INTO owners (name, beats) VALUES ('peer', 0)").lastrowid
        peer.execute("UPDATE runs SET token = token + 1, owner = ?", (other,))
        peer.commit()
        peer.close()
        await put(frozen, delivery("m1"))
        assert inboxes.rows("SELECT count(*) FROM runs WHERE owner NOT IN (SELECT id FROM owners)") == [(0,)]
        await frozen.finish(work, None)
        await put(frozen, delivery("m2"))
        assert inboxes.rows("SELECT event FROM runs ORDER BY event") == [(1,), (2,), (3,)]
        assert frozen.stats().lost_leases == 1
        assert inboxes.rows("SELECT pending FROM counters") == [(3,)]


@anyio
@pytest.mark.parametrize("plain", [True, False])
async def test_half_of_many_that_wait_are_written_while_the_others_wait_if_they_may_be_plain(
    inboxes: Inboxes, plain: bool
) -> None:
    inbox = await inboxes.open()
    statements: list[str] = []
    async with taking(inbox):
        for _ in range(1 if plain else 2):
            await put(inbox, delivery("first"))
        assert await written_plainly(inbox) == plain
        await inbox._writer.call(lambda store: store.db.set_trace_callback(statements.append))
        async with held_up(inbox):
            puts = [asyncio.create_task(put(inbox, delivery(str(number)))) for number in range(40)]
            await asyncio.sleep(0)
        assert await asyncio.gather(*puts) == [[ACCEPTED]] * 40
        await inbox._writer.call(lambda store: store.db.set_trace_callback(None))
    assert transactions(statements) == (2 if plain else 1)
