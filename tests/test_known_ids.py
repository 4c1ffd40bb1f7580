"""`known_ids_only`: made-up receipts stay out of the inbox, and genuine ones that are early get in."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from qlara_async.errors import ConfigurationError
from qlara_async.models.events import Delivery, Inbound
from qlara_async.testing import VirtualClock
from qlara_async.webhooks import MemoryInbox, UrlToken, WebhookReceiver

from .tracking_world import World

pytestmark = pytest.mark.anyio

TOKEN = "right-token-0123456789"


class Ids:
    """Knows ids, and what it was asked."""

    def __init__(self, *ids: str) -> None:
        self.ids = {*ids}
        self.asked: list[str] = []

    def knows(self, channel: str, message_id: str) -> bool:
        self.asked.append(message_id)
        return message_id in self.ids


class Made:
    """A receiver on virtual time that notes the receipts it handles."""

    def __init__(self, known: Any, **options: Any) -> None:
        self.clock = VirtualClock(jump=False)
        inbox = MemoryInbox(allow_loss=True, clock=self.clock, **options)
        self.receiver = WebhookReceiver(auth=UrlToken(TOKEN), inbox=inbox, known_ids_only=known, clock=self.clock)
        self.handled: list[str | None] = []

        @self.receiver.on_delivery()
        async def delivered(event: Delivery) -> None:
            self.handled.append(event.message_id)

        @self.receiver.on_inbound()
        async def inbound(event: Inbound) -> None:
            self.handled.append("inbound")

    async def post(self, message_id: str | None, event_type: str = "DELIVERY", **fields: Any) -> int:
        body = {"channel": "SMS", "eventType": event_type, "messageId": message_id, "statusCode": 3} | fields
        return (await self.receiver.ingest("POST", f"/{TOKEN}", {}, msgspec.json.encode(body))).status

    async def advance(self, seconds: int) -> None:
        for _ in range(seconds):
            await self.clock.advance(1.0)
            await self.asked()

    async def asked(self) -> None:
        """Wait until all ids that are due have been asked about."""
        room = self.receiver._intake.waiting_room
        while room is not None and room._asking is not None:
            await asyncio.sleep(0)
        await turns()


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_known_receipts_and_all_inbound_messages_pass(no_task_left: None) -> None:
    made = Made(Ids("m1", "ours"))
    assert await made.post("m1") == 200
    assert await made.post("theirs", customerMessageId="ours") == 200
    assert await made.post("x", "INBOUND", source="+391", text="Ciao") == 200
    await made.receiver.aclose()
    assert made.handled == ["m1", "theirs", "inbound"]


async def test_g6_a_receipt_that_overtakes_the_answer_to_its_send_gets_in(no_task_left: None) -> None:
    known = Ids()
    made = Made(known)
    assert await made.post("early") == 200
    assert await made.post("early") == 200
    await made.advance(10)
    assert (made.handled, made.receiver.stats().held) == ([], 2)
    known.ids.add("early")
    await made.advance(60)
    await made.receiver.idle()
    assert made.handled == ["early"]
    assert (made.receiver.stats().held, made.receiver.stats().duplicates) == (0, 1)
    await made.receiver.aclose()


async def test_10_000_made_up_receipts_neither_fill_the_inbox_nor_hide_the_genuine_one(no_task_left: None) -> None:
    known = Ids()
    made = Made(known, max_pending=10, max_remembered=10)
    assert await made.post("genuine", price=1.0) == 200  # made up, before the genuine one
    await made.advance(5)
    for number in range(10_000):
        assert await made.post(f"made-up-{number}") == 200
    stats = made.receiver.stats()
    assert (stats.held, stats.pending, stats.accepted, stats.unknown_ids) == (10_000, 0, 0, 1)
    known.ids.add("genuine")
    assert await made.post("genuine") == 200
    await made.receiver.idle()
    assert made.handled == ["genuine"]
    for _ in range(20):
        await made.clock.advance(60.0)
        await made.asked()
    stats = made.receiver.stats()
    assert (stats.held, stats.unknown_ids) == (0, 10_001)
    assert len(known.asked) <= 6 * 10_003
    await made.receiver.aclose()
    assert made.handled == ["genuine"]


async def test_g6_no_flood_drives_a_receipt_out_in_its_first_five_seconds(no_task_left: None) -> None:
    known = Ids()
    made = Made(known)
    assert await made.post("early") == 200
    for number in range(9_999):
        assert await made.post(f"made-up-{number}") == 200
    await made.advance(4)
    assert [await made.post("one-too-many"), await made.post("x", "INBOUND", source="+391")] == [503, 200]
    assert (made.receiver.stats().held, made.receiver.stats().unknown_ids) == (10_000, 0)
    known.ids.add("early")
    await made.advance(1)
    await made.receiver.idle()
    assert made.handled == ["inbound", "early"]
    assert await made.post("there-is-room-again") == 200
    await made.receiver.aclose()


async def test_large_ones_count_by_their_size(no_task_left: None) -> None:
    made = Made(Ids())
    room = (16 << 20) // 900_200
    statuses = [await made.post(f"m{number}", description="x" * 900_000) for number in range(room + 2)]
    assert (statuses, made.receiver.stats().held) == ([200] * room + [503] * 2, room)
    await made.advance(5)
    assert [await made.post(f"n{number}", description="x" * 900_000) for number in range(room + 1)][-2:] == [200, 503]
    assert (made.receiver.stats().held, made.receiver.stats().unknown_ids) == (room, room)
    await made.receiver.aclose()


@pytest.mark.parametrize("message_id", [None, "", "x" * 257, "new\nline", "nul\0"])
async def test_what_no_id_looks_like_is_never_asked_about(message_id: str | None, no_task_left: None) -> None:
    known = Ids()
    made = Made(known)
    assert await made.post(message_id) == 200
    await made.receiver.aclose()
    assert (known.asked, made.handled) == ([], [])


async def test_an_async_function_will_do_and_its_failure_asks_the_gateway_to_come_again(
    no_task_left: None, caplog: pytest.LogCaptureFixture
) -> None:
    broken = True

    async def knows(channel: str, message_id: str) -> bool:
        await asyncio.sleep(0)
        if broken:
            raise ConnectionError(message_id)
        return message_id == "m1"

    made = Made(knows)
    assert await made.post("m1") == 503
    broken = False
    assert await made.post("m1") == 200
    await made.receiver.aclose()
    assert made.handled == ["m1"]
    assert "ConnectionError" in caplog.text


async def test_a_shutdown_asks_once_more(no_task_left: None) -> None:
    known = Ids()
    made = Made(known)
    assert [await made.post("early"), await made.post("made-up")] == [200, 200]
    known.ids.add("early")
    await made.receiver.aclose()
    assert (made.handled, made.receiver.stats().unknown_ids) == (["early"], 1)


async def test_two_shutdowns_at_once_ask_once(no_task_left: None) -> None:
    asked: list[str] = []

    async def knows(channel: str, message_id: str) -> bool:
        asked.append(message_id)
        await asyncio.sleep(0)
        return len(asked) > 3 and message_id != "b"

    made = Made(knows)
    assert [await made.post(name) for name in "abc"] == [200] * 3
    await asyncio.gather(made.receiver.aclose(), made.receiver.aclose())
    assert (asked, made.handled, made.receiver.stats().unknown_ids) == ([*"abc", *"abc"], ["a", "c"], 1)


async def test_after_a_shutdown_no_timer_is_left(no_task_left: None) -> None:
    asking = asyncio.Event()

    async def knows(channel: str, message_id: str) -> bool:
        if made.clock.monotonic() >= 1001.0 and not asking.is_set():
            asking.set()
            await asyncio.Event().wait()
        return False

    made = Made(knows)
    await made.post("first")
    await made.clock.advance(0.5)
    await made.post("second")
    await made.clock.advance(0.5)
    await asking.wait()
    await made.receiver.aclose()
    await turns()
    assert made.clock.timers == 0


def test_what_knows_no_ids_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="known_ids_only"):
        Made({"m1"})


async def test_a_tracker_knows_what_its_client_sent() -> None:
    async with World() as world:
        receipt = await world.send()
        assert await world.tracker.knows("SMS", receipt.message_id)
        assert not await world.tracker.knows("SMS", "made-up")
        made = Made(world.tracker)
        assert [await made.post(receipt.message_id), await made.post("made-up")] == [200, 200]
        await made.receiver.aclose()
        assert made.handled == [receipt.message_id]
