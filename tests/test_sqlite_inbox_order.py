"""In which order the durable inbox hands out what is due."""

from __future__ import annotations

import asyncio
import threading

import pytest

from .test_sqlite_inbox import Inboxes, by_source, committed, delivery, inbound, inboxes, no_work, put

__all__ = ["inboxes"]

pytestmark = pytest.mark.anyio


async def test_what_waits_comes_before_what_is_put_in_the_same_commit(inboxes: Inboxes) -> None:
    inbox = await inboxes.open()
    await put(inbox, delivery("waits"))
    held = threading.Event()
    inbox._writer.wake(lambda store: held.wait())
    taking = asyncio.create_task(inbox.take())
    putting = asyncio.create_task(put(inbox, delivery("new")))
    await asyncio.sleep(0)
    held.set()
    assert (await taking).event.message_id == "waits"
    await putting


async def test_what_fell_due_first_comes_first(inboxes: Inboxes) -> None:
    inbox = await inboxes.open(retry_wait=5.0)
    await put(inbox, delivery("failed"))
    await inbox.finish(await inbox.take(), ValueError())
    await inboxes.clock.advance(1)
    await put(inbox, delivery("new"))
    await inboxes.clock.advance(9)
    assert (await inbox.take()).event.message_id == "new"
    assert (await inbox.take()).event.message_id == "failed"


async def test_the_next_of_a_lane_is_due_at_once_though_the_clock_was_set_back(inboxes: Inboxes) -> None:
    inbox = await inboxes.open(lane=by_source)
    await put(inbox, inbound("a0", source="a"), inbound("a1", source="a"))
    head = await inbox.take()
    inboxes.clock._offset -= 7200
    await inbox.finish(head, None)
    async with asyncio.timeout(5):
        assert (await inbox.take()).event.message_id == "a1"


async def test_gdpr_erasing_what_waits_in_a_lane_lets_nobody_past_its_head(inboxes: Inboxes) -> None:
    def one_lane(event: object) -> bytes:
        return b"lane"

    inbox = await inboxes.open(lane=one_lane)
    sources = "+393407654321", "+393401234567", "+393407654321"
    await put(inbox, *(inbound(f"a{number}", source=source) for number, source in enumerate(sources)))
    head = await inbox.take()
    erased = await inbox.erase("+393401234567")
    assert erased.removed["pending"] == 1
    assert await no_work(inbox)
    await inbox.finish(head, None)
    await committed(inbox)
    assert (await inbox.take()).event.message_id == "a2"


async def test_handlers_take_turns_at_being_first(inboxes: Inboxes) -> None:
    inbox = await inboxes.open("busy", "other")
    await put(inbox, *(delivery(f"m{number}") for number in range(6)))
    assert {(await inbox.take()).handler for _ in range(4)} == {"busy", "other"}


async def test_heads_of_several_lanes_that_end_in_one_commit_each_let_the_next_one_go(inboxes: Inboxes) -> None:
    inbox = await inboxes.open(lane=by_source)
    await put(inbox, *(inbound(f"{lane}{number}", source=lane) for number in range(2) for lane in "abc"))
    heads = [await inbox.take() for _ in range(3)]
    assert await no_work(inbox)
    held = threading.Event()
    inbox._writer.wake(lambda store: held.wait())
    for head in heads:
        await inbox.finish(head, None)
    held.set()
    assert {(await inbox.take()).event.message_id for _ in range(3)} == {"a1", "b1", "c1"}
    assert await no_work(inbox)
