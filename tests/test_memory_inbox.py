from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qlara_async.errors import ConfigurationError
from qlara_async.models.channel import Channel, DeliveryStatus
from qlara_async.models.events import Delivery, Event, Inbound
from qlara_async.protocol.identity import identity
from qlara_async.testing.clock import VirtualClock
from qlara_async.webhooks import MemoryInbox
from qlara_async.webhooks.inbox import Row, Verdict, Work

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 4, 9, 12, 0, tzinfo=UTC)
DAY = 86400.0
ACCEPTED, DUPLICATE, CONFLICT, FULL = Verdict.ACCEPTED, Verdict.DUPLICATE, Verdict.CONFLICT, Verdict.FULL


def delivery(message_id: str = "m1", **fields: Any) -> Row:
    event = Delivery(
        channel=Channel.SMS, message_id=message_id, received_at=NOW, status=DeliveryStatus.DELIVERED, **fields
    )
    return Row(identity(event), event)


def polled(message_id: str = "m1", **fields: Any) -> Row:
    return delivery(message_id, source_kind="poll", **fields)


def nameless(text: str = "ok") -> Row:
    event = Inbound(channel=Channel.SMS, message_id=None, received_at=NOW, text=text)
    return Row(identity(event), event)


async def started(*handlers: str, **options: Any) -> MemoryInbox:
    inbox = MemoryInbox(allow_loss=True, **options)
    await inbox.start(lambda event: handlers or ("handler",))
    return inbox


async def put(inbox: MemoryInbox, *rows: Row) -> list[Verdict]:
    return list(await inbox.put(rows))


async def finish_all(inbox: MemoryInbox) -> list[Event]:
    events = []
    while inbox.pending:
        work = await inbox.take()
        events.append(work.event)
        await inbox.finish(work, None)
    return events


def test_losing_events_must_be_allowed_in_so_many_words() -> None:
    for allow_loss in (False, 1):
        with pytest.raises(ConfigurationError, match=r"allow_loss=True"):
            MemoryInbox(allow_loss=allow_loss)  # type: ignore[arg-type]


@pytest.mark.parametrize("bound", ["max_pending", "max_remembered", "dedup_ttl"])
def test_bounds_are_positive(bound: str) -> None:
    options: dict[str, Any] = {bound: 0}
    with pytest.raises(ConfigurationError):
        MemoryInbox(allow_loss=True, **options)


async def test_it_serves_one_receiver() -> None:
    inbox = await started()
    with pytest.raises(ConfigurationError):
        await inbox.start(lambda event: ())


async def test_g7_a_redelivery_is_a_duplicate_also_within_a_batch() -> None:
    inbox = await started()
    assert await put(inbox, delivery(), delivery()) == [ACCEPTED, DUPLICATE]
    assert await put(inbox, delivery()) == [DUPLICATE]
    assert len(await finish_all(inbox)) == 1
    assert await put(inbox, delivery()) == [DUPLICATE]


async def test_another_meaning_under_the_same_identity_is_a_conflict_and_is_handled() -> None:
    inbox = await started()
    one, two, three = delivery(price=0.1), delivery(price=0.2), delivery(price=0.3)
    assert await put(inbox, one, two, two) == [ACCEPTED, CONFLICT, DUPLICATE]
    assert await put(inbox, three, two, one, three) == [CONFLICT, DUPLICATE, DUPLICATE, DUPLICATE]
    assert [event.conflict for event in await finish_all(inbox)] == [False, True, True]


async def test_handlers_are_matched_when_the_conflict_is_known() -> None:
    inbox = MemoryInbox(allow_loss=True)
    await inbox.start(lambda event: ("conflicts",) if event.conflict else ())
    assert await put(inbox, delivery(price=0.1), delivery(price=0.2)) == [ACCEPTED, CONFLICT]
    assert (await inbox.take()).handler == "conflicts"


async def test_a_polled_event_never_conflicts_whichever_comes_first() -> None:
    inbox = await started()
    assert await put(inbox, delivery("a", price=0.1), polled("a")) == [ACCEPTED, DUPLICATE]
    assert await put(inbox, polled("a", price=0.3)) == [DUPLICATE]
    assert await put(inbox, polled("b"), delivery("b", price=0.1), polled("b")) == [ACCEPTED, DUPLICATE, DUPLICATE]
    assert await put(inbox, delivery("b", price=0.2)) == [CONFLICT]


async def test_a_batch_that_does_not_fit_is_refused_whole() -> None:
    inbox = await started(max_pending=2)
    assert await put(inbox, delivery("a")) == [ACCEPTED]
    assert await put(inbox, delivery("b"), delivery("c")) == [FULL, FULL]
    assert await put(inbox, delivery("b"), delivery("a")) == [ACCEPTED, DUPLICATE]
    assert await put(inbox, delivery("c")) == [FULL]
    assert await put(inbox, delivery("a"), delivery("b")) == [DUPLICATE, DUPLICATE]
    await finish_all(inbox)
    assert await put(inbox, delivery("b"), delivery("c")) == [DUPLICATE, ACCEPTED]


async def test_an_event_that_nobody_wants_is_remembered_and_not_pending() -> None:
    inbox = MemoryInbox(allow_loss=True, max_pending=1)
    await inbox.start(lambda event: ())
    assert await put(inbox, delivery("a")) == [ACCEPTED]
    assert await put(inbox, delivery("b")) == [ACCEPTED]
    assert await put(inbox, delivery("a")) == [DUPLICATE]
    assert inbox.pending == 0


async def test_an_event_is_pending_until_its_last_handler_ended() -> None:
    inbox = await started("one", "two")
    await put(inbox, delivery())
    first, second = await inbox.take(), await inbox.take()
    assert [first.handler, second.handler] == ["one", "two"]
    await inbox.finish(first, RuntimeError())
    assert inbox.pending == 1
    await inbox.finish(second, None)
    assert inbox.pending == 0


async def test_identities_are_forgotten_after_their_time() -> None:
    clock = VirtualClock(jump=False)
    inbox = await started(clock=clock)
    assert await put(inbox, delivery(), nameless()) == [ACCEPTED, ACCEPTED]
    await clock.advance(3599)
    assert await put(inbox, delivery(), nameless()) == [DUPLICATE, DUPLICATE]
    await clock.advance(1)
    assert await put(inbox, delivery(), nameless()) == [DUPLICATE, ACCEPTED]
    await clock.advance(8 * DAY - 3600)
    assert await put(inbox, delivery(), nameless()) == [ACCEPTED, ACCEPTED]


async def test_a_redelivery_does_not_prolong_the_memory() -> None:
    clock = VirtualClock(jump=False)
    inbox = await started(clock=clock, dedup_ttl=100)
    await put(inbox, delivery("a"))
    await clock.advance(60)
    assert await put(inbox, delivery("a"), delivery("b")) == [DUPLICATE, ACCEPTED]
    await clock.advance(40)
    assert await put(inbox, delivery("a"), delivery("b")) == [ACCEPTED, DUPLICATE]
    await clock.advance(60)
    assert await put(inbox, delivery("a"), delivery("b")) == [DUPLICATE, ACCEPTED]


async def test_the_oldest_identity_is_forgotten_first_when_there_are_too_many() -> None:
    inbox = await started(max_remembered=2)
    await put(inbox, delivery("a"), delivery("b"), delivery("c"))
    assert await put(inbox, delivery("c"), delivery("b")) == [DUPLICATE, DUPLICATE]
    assert await put(inbox, delivery("a")) == [ACCEPTED]


async def test_conflicts_count_against_the_memory() -> None:
    inbox = await started(max_remembered=3)
    for price in range(10):
        await put(inbox, delivery("forged", price=float(price)))
    assert await put(inbox, delivery("forged", price=9.0)) == [DUPLICATE]
    assert await put(inbox, delivery("forged", price=0.0)) == [CONFLICT]


async def test_idle_waits_for_the_last_event() -> None:
    inbox = await started()
    await inbox.idle()
    await put(inbox, delivery())
    waiting = asyncio.create_task(inbox.idle())
    await asyncio.sleep(0)
    assert not waiting.done()
    await finish_all(inbox)
    await waiting


async def test_closing_drops_what_is_pending_and_lets_waiters_go() -> None:
    inbox = await started()
    await put(inbox, delivery())
    waiting = asyncio.create_task(inbox.idle())
    await asyncio.sleep(0)
    await inbox.close()
    await waiting
    assert inbox.pending == 0


async def test_work_wakes_as_many_takers_as_it_needs() -> None:
    inbox = await started()
    takers = [asyncio.create_task(inbox.take()) for _ in range(3)]
    await asyncio.sleep(0)
    await put(inbox, delivery("a"), delivery("b"))
    for _ in range(4):
        await asyncio.sleep(0)
    assert [taker.done() for taker in takers].count(True) == 2
    await put(inbox, delivery("c"))
    works = await asyncio.gather(*takers)
    assert sorted(str(work.event.message_id) for work in works) == ["a", "b", "c"]


@pytest.mark.parametrize("when", ["before the work comes", "after it was woken"])
async def test_g12_another_taker_gets_the_work_of_one_that_was_cancelled(when: str) -> None:
    inbox = await started()
    patient = asyncio.create_task(inbox.take())
    hasty = asyncio.create_task(inbox.take())
    await asyncio.sleep(0)
    if when == "after it was woken":
        await put(inbox, delivery())
        hasty.cancel()
    else:
        hasty.cancel()
        await put(inbox, delivery())
    for _ in range(4):
        await asyncio.sleep(0)
    assert (hasty.cancelled(), patient.done()) == (True, True)


@settings(max_examples=300)
@given(st.lists(st.sampled_from(["put", "take", "cancel", "turn"]), min_size=3, max_size=40))
def test_g12_no_work_is_lost_when_takers_are_cancelled(steps: list[str]) -> None:
    async def run() -> None:
        inbox = await started()
        takers: list[asyncio.Task[Work]] = []
        count = 0
        for step in steps:
            if step == "put":
                count += 1
                await put(inbox, delivery(str(count)))
            elif step == "take":
                takers.append(asyncio.create_task(inbox.take()))
            elif step == "cancel" and takers:
                takers[-1].cancel()
            elif step == "turn":
                await asyncio.sleep(0)
        for _ in range(3 * len(takers) + 3):
            await asyncio.sleep(0)
        taken = [taker.result().ticket for taker in takers if taker.done() and not taker.cancelled()]
        waiting = [taker for taker in takers if not taker.done()]
        assert not waiting or len(taken) == count
        while len(taken) < count:
            taken.append((await inbox.take()).ticket)
        assert sorted(taken) == list(range(1, count + 1))
        for taker in takers:
            taker.cancel()
        await asyncio.gather(*takers, return_exceptions=True)

    asyncio.run(run())


async def test_a_conflict_is_remembered_as_long_as_its_key_and_the_key_as_its_conflict() -> None:
    clock = VirtualClock(jump=False)
    inbox = await started(clock=clock)
    one, two = delivery(price=0.1), delivery(price=0.2)
    assert await put(inbox, one) == [ACCEPTED]
    clock._now += 7 * DAY
    assert await put(inbox, two) == [CONFLICT]
    clock._now += 2 * DAY
    assert await put(inbox, two, one) == [DUPLICATE, DUPLICATE]
    clock._now += 6 * DAY
    assert await put(inbox, two) == [ACCEPTED]


async def test_conflicts_count_against_what_is_remembered() -> None:
    inbox = await started(max_remembered=3)
    assert await put(inbox, delivery("a"), delivery("a", price=0.1), delivery("b")) == [ACCEPTED, CONFLICT, ACCEPTED]
    assert await put(inbox, delivery("c")) == [ACCEPTED]
    assert await put(inbox, delivery("b"), delivery("c"), delivery("a")) == [DUPLICATE, DUPLICATE, ACCEPTED]


async def test_a_batch_larger_than_the_inbox_is_taken_when_the_inbox_is_not_full() -> None:
    inbox = await started(max_pending=2)
    batch = [delivery(str(number)) for number in range(5)]
    assert await put(inbox, delivery("a"), delivery("b")) == [ACCEPTED] * 2
    assert await put(inbox, *batch) == [FULL] * 5
    await inbox.finish(await inbox.take(), None)
    assert await put(inbox, *batch) == [ACCEPTED] * 5
    assert await put(inbox, delivery("c"), *batch) == [FULL] * 6
