"""Events in quarantine are decoded again: by a version of the package that can."""

from __future__ import annotations

import asyncio

import pytest

from qlara_async.errors import ConfigurationError, InboxError
from qlara_async.models.channel import Channel
from qlara_async.models.events import Delivery, Inbound, UnknownEvent
from qlara_async.protocol.callbacks import decode_again, decode_callbacks
from qlara_async.protocol.identity import identity
from qlara_async.webhooks import SqliteInbox
from qlara_async.webhooks.inbox import Row, Verdict
from qlara_async.webhooks.inbox.sqlite import Quarantined

from .test_sqlite_inbox import DAY, NOW, Inboxes, cleaned, committed, die, finish_all, inboxes, no_work, put, skip

__all__ = ["inboxes"]

pytestmark = pytest.mark.anyio

DELIVERED = b'{"channel":"RCS","eventType":"DELIVERY","messageId":"m1","statusCode":3,"destination":"+39340"}'
ELSEWHERE = DELIVERED.replace(b"+39340", b"+39341")


def undecoded(raw: bytes) -> Row:
    """As an earlier version, which knew less, would have put it."""
    event = UnknownEvent(channel="", message_id=None, received_at=NOW, raw=raw, reason="unknown event type")
    return Row(identity(event), event)


def decoded(raw: bytes) -> Row:
    (event,) = decode_callbacks(raw, None, received_at=NOW)
    return Row(identity(event), event)


async def held(inbox: SqliteInbox, *raws: bytes) -> list[Quarantined]:
    await put(inbox, *(undecoded(raw) for raw in raws))
    await finish_all(inbox)
    return [entry async for entry in inbox.quarantined()]


async def test_an_event_that_can_be_decoded_now_is_handled_like_one_that_comes_in(inboxes: Inboxes) -> None:
    inbox = await inboxes.open()
    (entry,) = await held(inbox, DELIVERED)
    assert await inbox.replay(entry) == 1
    assert inbox.stats().quarantined == 0
    assert [event async for event in inbox.quarantined()] == []
    (work,) = await finish_all(inbox)
    assert work.event == decoded(DELIVERED).event
    assert await put(inbox, decoded(DELIVERED)) == [Verdict.DUPLICATE]
    assert await inbox.replay(entry) == 0
    assert await no_work(inbox)


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"[1]", b'{"eventType":"CLICK"}', b'{"eventType":"&text=a"}'])
async def test_one_that_cannot_stays(inboxes: Inboxes, raw: bytes) -> None:
    inbox = await inboxes.open()
    (entry,) = await held(inbox, raw)
    assert await inbox.replay(entry) == 0
    assert [event async for event in inbox.quarantined()] == [entry]
    assert (inbox.stats().quarantined, inbox.pending) == (1, 0)


async def test_g7_one_that_has_come_in_meanwhile_leaves_and_runs_nothing(inboxes: Inboxes) -> None:
    inbox = await inboxes.open()
    (entry,) = await held(inbox, DELIVERED)
    await put(inbox, decoded(DELIVERED))
    await finish_all(inbox)
    assert await inbox.replay(entry) == 1
    assert (inbox.stats().quarantined, inbox.pending) == (0, 0)


async def test_one_that_contradicts_what_came_in_is_handled_as_a_conflict(inboxes: Inboxes) -> None:
    inbox = await inboxes.open()
    (entry,) = await held(inbox, DELIVERED)
    await put(inbox, decoded(ELSEWHERE))
    await finish_all(inbox)
    assert await inbox.replay(entry) == 1
    (work,) = await finish_all(inbox)
    assert work.event.conflict
    assert isinstance(work.event, Delivery)
    assert work.event.destination == "+39340"


async def test_g7_two_processes_replay_one_and_it_runs_once(inboxes: Inboxes) -> None:
    one, two = await inboxes.open(), await inboxes.open()
    (entry,) = await held(one, DELIVERED)
    assert sorted(await asyncio.gather(*(inbox.replay(entry) for inbox in (one, two, one, two)))) == [0, 0, 0, 1]
    assert inboxes.rows("SELECT count(*) FROM runs") == [(1,)]


async def test_g6_a_full_inbox_leaves_it_where_it_is(inboxes: Inboxes) -> None:
    inbox = await inboxes.open(max_pending=1)
    (entry,) = await held(inbox, DELIVERED)
    await put(inbox, decoded(ELSEWHERE.replace(b"m1", b"m2")))
    with pytest.raises(InboxError, match="full"):
        await inbox.replay(entry)
    assert inbox.stats().quarantined == 1
    await finish_all(inbox)
    assert await inbox.replay(entry) == 1


async def test_g6_what_left_quarantine_is_handled_after_a_crash(inboxes: Inboxes) -> None:
    dead = await inboxes.open()
    (entry,) = await held(dead, DELIVERED)
    assert await dead.replay(entry) == 1
    await die(dead)
    inbox = await inboxes.open()
    assert [work.event for work in await finish_all(inbox)] == [decoded(DELIVERED).event]


async def test_an_array_leaves_as_its_events_and_only_what_still_cannot_be_decoded_stays(inboxes: Inboxes) -> None:
    inbox = await inboxes.open()
    (entry,) = await held(inbox, b"[" + DELIVERED + b",17," + ELSEWHERE.replace(b"m1", b"m2") + b"]")
    assert await inbox.replay(entry) == 1
    await committed(inbox)
    assert [left.event.raw async for left in inbox.quarantined()] == [b"17"]
    assert [type(work.event) for work in await finish_all(inbox)] == [Delivery, UnknownEvent, Delivery]


async def test_it_waits_for_the_handlers_to_be_known(inboxes: Inboxes) -> None:
    inbox = await inboxes.open()
    (entry,) = await held(inbox, DELIVERED)
    await inbox.close()
    unstarted = SqliteInbox(inboxes.path, clock=inboxes.clock)
    inboxes.all.append(unstarted)
    with pytest.raises(ConfigurationError, match="start"):
        await unstarted.replay(entry)


def test_a_form_is_decoded_again_as_a_form() -> None:
    row = undecoded(b"originator=%2B39340&destination=%2B39341&date_time=20260409120000&text=Ciao")
    assert isinstance(row.event, UnknownEvent)
    (event,) = decode_again(row.event)
    assert isinstance(event, Inbound)
    assert (event.channel, event.source, event.text, event.received_at) == (Channel.SMS, "+39340", "Ciao", NOW)


async def test_g8_what_could_not_be_decoded_is_kept_longer_than_it_is_recognised(inboxes: Inboxes) -> None:
    inbox = await inboxes.open(dedup_ttl=8 * DAY, keep_failed=30 * DAY)
    await held(inbox, b"{")
    await put(inbox, decoded(DELIVERED))
    await finish_all(inbox)
    skip(inboxes, 29 * DAY)
    await cleaned(inboxes, inbox, 1)
    assert [entry.event.raw async for entry in inbox.quarantined()] == [b"{"]
    skip(inboxes, DAY)
    await cleaned(inboxes, inbox, 0)
