"""``qlara.usage``: what was sent, retried and waited for, by every way of sending."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from qlara_async import Channel, LegacySms, QlaraClient, RateLimit, Rcs, RetryPolicy, Sms, Usage, WhatsApp
from qlara_async.errors import ConfigurationError, DeliveryUnknownError, MessageRejectedError, QlaraError
from qlara_async.sandbox import Fault, Sandbox
from qlara_async.testing import VirtualClock

from .wire import ACCEPT, WireGateway, answer

pytestmark = pytest.mark.anyio

ANNA, BRUNO = "+390000000001", "+390000000002"
LONG = "x" * 161


def sms(destination: str = ANNA, body: str = "Ciao") -> Sms:
    return Sms(destination=destination, sender="ACME", body=body)


@pytest.fixture
async def sandbox(anyio_backend: str) -> AsyncIterator[Sandbox]:
    async with Sandbox(rate_limit=None) as sandbox:
        yield sandbox


@pytest.fixture
async def account(sandbox: Sandbox) -> AsyncIterator[QlaraClient]:
    retry = RetryPolicy(settle=0.0, max_wait=0.01)
    async with QlaraClient(sandbox.api_key, base_url=sandbox.url, rate_limit=None, retry=retry) as qlara:
        yield qlara


async def test_accepted_messages_are_counted_by_channel_and_sms_by_part(account: QlaraClient) -> None:
    await account.send(sms())
    await account.send(sms(body=LONG))
    await account.send(Rcs(destination=ANNA, agent_id=1, body="Ciao"))
    await account.with_options(retry=RetryPolicy()).send(WhatsApp(destination=ANNA, phone_number_id=1, body="Ciao"))
    await account.sms.send(destination=ANNA, sender="ACME", body="Ciao", simulation=True)
    usage = account.usage
    assert usage.accepted == {Channel.SMS: 2, Channel.RCS: 1, Channel.WHATSAPP: 1}
    assert (usage.parts, usage.simulated, usage.requests) == (3, 1, 5)
    assert (usage.rejected, usage.failed, usage.unknown, usage.retries) == (0, 0, 0, 0)
    with pytest.raises(TypeError):
        usage.accepted[Channel.SMS] = 0  # type: ignore[index]


async def test_messages_that_were_not_accepted_are_counted_by_how_they_ended(
    account: QlaraClient, sandbox: Sandbox
) -> None:
    sandbox.refuse(BRUNO)
    with pytest.raises(MessageRejectedError):
        await account.send(sms(BRUNO))
    sandbox.fault(None, Fault.ERROR_BEFORE, status=422)
    with pytest.raises(QlaraError):
        await account.send(sms())
    sandbox.fault(None, Fault.DROP_BEFORE)
    with pytest.raises(DeliveryUnknownError):  # no message is known as accepted: nothing proves an absence
        await account.send(sms())
    sandbox.fault(None, Fault.ERROR_BEFORE, status=403)
    with pytest.raises(QlaraError):
        await account.send(sms())
    usage = account.usage
    assert (usage.rejected, usage.unknown, usage.failed) == (2, 1, 1)
    assert usage.accepted == dict.fromkeys(Channel, 0)
    sandbox.fault(None, Fault.ERROR_BEFORE, status=404, route="platform")
    with pytest.raises(QlaraError):
        await account.subscription.credit()
    assert (usage.rejected, usage.unknown, usage.failed) == (2, 1, 1)  # of messages, not of other requests


@pytest.mark.parametrize("route", ["universal", "legacy"])
async def test_bulk_counts_like_single_sends(route: str, account: QlaraClient, sandbox: Sandbox) -> None:
    sandbox.refuse(BRUNO)
    rows = [sms(), sms(body=LONG), sms(BRUNO), {"channel": "SMS"}]
    async with account.bulk(rows, sms_route=route) as job:  # type: ignore[arg-type]
        states = sorted([outcome.state async for outcome in job])
    assert states == ["accepted", "accepted", "invalid", "rejected"]
    usage = account.usage
    assert (usage.accepted[Channel.SMS], usage.parts, usage.rejected, usage.failed) == (2, 3, 1, 0)
    assert usage.requests == (3 if route == "universal" else 1)


async def test_many_texts_in_one_request_count_each(account: QlaraClient, sandbox: Sandbox) -> None:
    sandbox.refuse(BRUNO)
    await account.sms_legacy.send([LegacySms(destinations=[ANNA, BRUNO], sender="ACME", body=LONG)])
    usage = account.usage
    assert (usage.accepted[Channel.SMS], usage.parts, usage.rejected, usage.requests) == (1, 2, 1, 1)


async def test_retries_and_429s_and_waits_are_counted(gateway: WireGateway, clock: VirtualClock) -> None:
    gateway.script = [answer(429, b'{"retryAfter": 2}'), answer(429), answer(200, ACCEPT)]
    rate = RateLimit(per_second=1, per_minute=100)
    async with QlaraClient("key", base_url=gateway.url, rate_limit=rate, clock=clock, random=lambda: 0.0) as qlara:
        await qlara.send(sms())
        usage = qlara.usage
        assert (usage.requests, usage.retries, usage.rate_limited) == (3, 2, 2)
        gateway.default = answer(200, ACCEPT)
        waits, waited = usage.waits, usage.waited
        await qlara.send(sms())
        assert usage.waits == waits + 1
        assert usage.waited - waited == pytest.approx(1.05)
        assert "requests=4" in repr(usage)


async def test_the_cost_at_prices_of_ones_own(account: QlaraClient) -> None:
    await account.send(sms(body=LONG))
    await account.send(Rcs(destination=ANNA, agent_id=1, body="Ciao"))
    assert account.usage.cost(0.07) == Decimal("0.21")
    assert account.usage.cost({"sms": "0.05", "RCS": 0.1}) == Decimal("0.20")
    for wrong in ({"SMS": 1}, -1, "x", {"FAX": 1}):
        with pytest.raises(ConfigurationError):
            account.usage.cost(wrong)
    assert Usage().cost({}) == 0
