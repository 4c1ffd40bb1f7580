"""What a bulk job would do, said before it does: nothing is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from qlara_async import Channel, QlaraClient, RateLimit, Sms
from qlara_async.errors import ConfigurationError, NotSentError
from qlara_async.models.message import Message
from qlara_async.testing import VirtualClock

from .wire import WireGateway

pytestmark = pytest.mark.anyio

TO = "+393401234567"


def row(body: str = "Ciao", channel: str = "SMS") -> dict[str, str]:
    own = {"SMS": {"sender": "ACME"}, "RCS": {"agent_id": "1"}, "WHATSAPP": {"phone_number_id": "1"}}[channel]
    return {"channel": channel, "destination": TO, "body": body} | own


async def test_messages_parts_encodings_and_invalid_rows_are_counted(qlara: QlaraClient, gateway: WireGateway) -> None:
    source = [
        row(),
        row("é" * 161),
        row("ж" * 71),
        row("x" * 161, "RCS"),
        row(channel="WHATSAPP"),
        row(""),
        {"channel": "FAX"},
        7,
    ]
    plan = await qlara.estimate(source)
    assert (plan.messages, plan.parts, plan.requests, plan.invalid) == (5, 7, 5, 3)
    assert plan.by_channel == {Channel.SMS: 3, Channel.RCS: 1, Channel.WHATSAPP: 1}
    assert plan.by_encoding == {"GSM-7": 2, "UCS-2": 1}
    assert [(one.index, one.error.field) for one in plan.invalid_rows] == [(5, "body"), (6, "channel"), (7, None)]
    assert plan.price is None
    assert gateway.seen == []


async def test_prices_are_exact_by_part_and_by_message(qlara: QlaraClient) -> None:
    source = [row("x" * 161), row("x" * 2000, "WHATSAPP")]
    assert (await qlara.estimate(source, price=0.1)).price == Decimal("0.3")
    assert (await qlara.estimate(source, price={"sms": "0.05", "WhatsApp": 1})).price == Decimal("1.10")


@pytest.mark.parametrize("price", ["x", -1, float("nan"), {"FAX": 1}, {"SMS": None}, {"RCS": 1}])
async def test_a_price_that_is_none_is_refused(price: object, qlara: QlaraClient) -> None:
    with pytest.raises(ConfigurationError):
        await qlara.estimate([row()], price=price)  # type: ignore[arg-type]


@pytest.mark.parametrize("rate", [RateLimit(5, 12), RateLimit(3, 1000), RateLimit(50, 20), None])
async def test_the_time_is_what_a_job_takes(rate: RateLimit | None, gateway: WireGateway, clock: VirtualClock) -> None:
    async with QlaraClient("k", base_url=gateway.url, rate_limit=rate, clock=clock) as qlara:
        plan = await qlara.estimate([row()] * 40)
        began = clock.monotonic()
        async with qlara.bulk([row()] * 40) as job:
            assert len([outcome async for outcome in job]) == 40
    # The limiter's timer has a tick of a millisecond; virtual time passes a little while requests are on the wire.
    assert plan.seconds == pytest.approx(clock.monotonic() - began, abs=0.2)


async def test_batches_of_the_legacy_route_take_fewer_requests(qlara: QlaraClient) -> None:
    plan = await qlara.estimate([row()] * 250 + [row(channel="RCS")], batch=100)
    assert (plan.messages, plan.requests) == (251, 4)
    with pytest.raises(ConfigurationError):
        await qlara.estimate([], batch=0)


async def test_what_the_legacy_route_cannot_carry_is_invalid_in_batches(qlara: QlaraClient) -> None:
    source = [row(), row() | {"campaign_id": "c"}]
    plan = await qlara.estimate(source, batch=100)
    assert (plan.messages, plan.invalid, plan.invalid_rows[0].error.field) == (1, 1, "campaign_id")
    assert (await qlara.estimate(source)).messages == 2


async def test_what_a_check_refuses_is_counted_by_its_reason(gateway: WireGateway) -> None:
    class Refusing:
        async def check(self, message: Message) -> Message:
            if message.destination != TO:
                raise NotSentError(reason="suppressed")
            return message

    async with QlaraClient("k", base_url=gateway.url, gates=[Refusing()]) as qlara:
        message = Sms(destination="+393400000001", sender="ACME", body="Ciao")
        plan = await qlara.estimate([row(), message])
    assert (plan.messages, plan.skipped) == (1, {"suppressed": 1})
    assert message.message_id is None


async def test_g4_memory_is_flat_and_a_source_may_be_async(qlara: QlaraClient) -> None:
    async def source() -> AsyncIterator[object]:
        for number in range(3_000):
            yield row("" if number % 2 else "Ciao")

    plan = await qlara.estimate(source())
    assert (plan.messages, plan.invalid, len(plan.invalid_rows)) == (1_500, 1_500, 100)
