"""How often each message is on the wire (guarantee G1): every way a send can end × everything a look-up can say.

The gateway is bare TCP and knows three facts of each case: whether it read the request, whether it accepted the
message, and what its status API shows of it. From these follow what must happen, and how often it may be sent.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from qlara_async import OutcomeState, QlaraClient, RetryPolicy, Sms
from qlara_async.errors import DeliveryUnknownError
from qlara_async.testing.clock import VirtualClock

from .wire import ACCEPT, Action, WireGateway, answer, answer_and_close, drop, truncate

pytestmark = pytest.mark.anyio

LAG = 5.0


async def cut_in_the_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
    await writer.drain()
    return False


class Ending(msgspec.Struct, frozen=True):
    """What the gateway does to the first attempt; `act` is `None` if it never reads it."""

    act: Action | None
    accepted: bool
    told: bool = False


ENDINGS = {
    "dropped before reading": Ending(None, accepted=False),
    "dropped after reading, not accepted": Ending(drop, accepted=False),
    "dropped after reading, accepted": Ending(drop, accepted=True),
    "cut in the head of the answer": Ending(cut_in_the_head, accepted=True),
    "200 truncated": Ending(truncate(1000, ACCEPT), accepted=True),
    "closed after the answer": Ending(answer_and_close(), accepted=True, told=True),
    "500 after accepting": Ending(answer(500), accepted=True),
    "502 after accepting": Ending(answer(502), accepted=True),
    "503 after accepting": Ending(answer(503, Retry_After="1"), accepted=True),
    "500 instead of accepting": Ending(answer(500), accepted=False),
    "503 instead of accepting": Ending(answer(503, Retry_After="1"), accepted=False),
}


class LookUp(msgspec.Struct, frozen=True):
    """What the status API shows: whether it answers, how late it shows what was accepted, and a control or none."""

    works: bool = True
    lag: float = 0.0
    control: bool = True


LOOK_UPS = {
    "tells the truth": LookUp(),
    "lags": LookUp(lag=LAG),
    "fails": LookUp(works=False),
    "has no control": LookUp(control=False),
}


class Gateway(WireGateway):
    """A gateway whose status API shows what it accepted, with `look_up`'s faults."""

    def play(self, ending: Ending, look_up: LookUp, clock: VirtualClock) -> None:
        """The first attempt of the next message ends like this; every other one is accepted."""
        accepted_at: dict[str, float] = {}
        first = [ending] if ending.act else []
        self.hang_ups = 0 if ending.act else 1

        async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
            request = self.seen[-1]
            if request.method == "GET":
                return await self._show(request.target, look_up, accepted_at, clock)(reader, writer)
            message_id = json.loads(request.body)["messageId"]
            now = first.pop() if first else Ending(answer(200, ACCEPT), accepted=True)
            if now.accepted:
                accepted_at.setdefault(message_id, clock.monotonic())
            assert now.act is not None
            return await now.act(reader, writer)

        self.default = act

    def _show(self, target: str, look_up: LookUp, accepted_at: dict[str, float], clock: VirtualClock) -> Action:
        if not look_up.works:
            return answer(500)
        (ids,) = parse_qs(urlsplit(target).query)["ids"]
        visible = {item for item, at in accepted_at.items() if clock.monotonic() >= at + look_up.lag}
        visible |= {"control"} if look_up.control else set()
        found = [{"customerMessageId": item, "deliveryStatus": "SENT"} for item in ids.split(",") if item in visible]
        return answer(200, json.dumps(found).encode())


@pytest.fixture
async def tcp() -> AsyncIterator[Gateway]:
    async with Gateway() as gateway:
        yield gateway


def sms(message_id: str) -> Sms:
    return Sms(destination="+393401234567", sender="ACME", body="Ciao", message_id=message_id)


async def send_one(qlara: QlaraClient) -> OutcomeState:
    try:
        await qlara.send(sms("mine"))
    except DeliveryUnknownError:
        return OutcomeState.UNKNOWN
    return OutcomeState.ACCEPTED


async def send_in_bulk(qlara: QlaraClient) -> OutcomeState:
    async with qlara.bulk([sms("mine")]) as job:
        (outcome,) = [outcome async for outcome in job]
    return outcome.state


def what_must_happen(ending: Ending, look_up: LookUp) -> tuple[OutcomeState, int]:
    """Say how the message must end, and how often the gateway must have read it."""
    read = 0 if ending.act is None else 1
    if ending.told:
        return OutcomeState.ACCEPTED, read
    if not look_up.works:
        return OutcomeState.UNKNOWN, read
    if ending.accepted:
        return OutcomeState.ACCEPTED, read  # found, and not sent again
    if not look_up.control:
        return OutcomeState.UNKNOWN, read
    return OutcomeState.ACCEPTED, read + 1  # provably absent, and sent again


@pytest.mark.parametrize("send", [send_one, send_in_bulk])
@pytest.mark.parametrize("look_up", LOOK_UPS)
@pytest.mark.parametrize("ending", ENDINGS)
async def test_g1_each_message_is_on_the_wire_as_often_as_may_be(
    ending: str, look_up: str, send: Callable[[QlaraClient], Awaitable[OutcomeState]], tcp: Gateway, clock: VirtualClock
) -> None:
    policy = RetryPolicy(max_attempts=3)
    async with QlaraClient("k", base_url=tcp.url, clock=clock, random=lambda: 0.0, retry=policy) as qlara:
        tcp.script = [answer(200, ACCEPT, Connection="close")]
        await qlara.send(sms("control"))
        tcp.play(ENDINGS[ending], LOOK_UPS[look_up], clock)
        state, times = what_must_happen(ENDINGS[ending], LOOK_UPS[look_up])
        assert await send(qlara) == state
    assert (tcp.message_ids["mine"], tcp.message_ids["control"]) == (times, 1)
    assert tcp.hang_ups == 0


@pytest.mark.parametrize("look_up", LOOK_UPS)
async def test_g1_a_connection_kept_by_one_side_only_doubles_nothing(
    look_up: str, tcp: Gateway, clock: VirtualClock
) -> None:
    """Whether the stale connection is noticed before or after the bytes left is for the kernel to say."""
    async with QlaraClient("k", base_url=tcp.url, clock=clock, random=lambda: 0.0) as qlara:
        tcp.script = [answer_and_close()]
        await qlara.send(sms("control"))
        tcp.play(Ending(answer(200, ACCEPT), accepted=True), LOOK_UPS[look_up], clock)
        state = await send_one(qlara)
    assert tcp.message_ids["mine"] == (1 if state is OutcomeState.ACCEPTED else 0)
