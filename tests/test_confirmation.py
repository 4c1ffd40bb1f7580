"""`ctx.confirm()`: what the status endpoint says about a receipt."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from qlara_async import QlaraClient
from qlara_async.errors import ConfigurationError
from qlara_async.models.channel import Channel, DeliveryStatus
from qlara_async.models.events import Delivery, Event, Inbound, Read, UnknownEvent
from qlara_async.protocol.status import bears_out
from qlara_async.sandbox import Life, Sandbox
from qlara_async.webhooks import Context, Trust

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 4, 9, 12, 0, tzinfo=UTC)
TO = "+393401234567"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(rate_limit=None, life=Life(final=0.0, read=0.0)) as sandbox:
        yield sandbox


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[QlaraClient]:
    async with QlaraClient(sandbox.api_key, base_url=sandbox.url, rate_limit=None) as client:
        yield client


def delivery(message_id: str | None, status: DeliveryStatus = DeliveryStatus.DELIVERED, **fields: Any) -> Delivery:
    fields = {"channel": Channel.SMS, "trust": Trust.URL_TOKEN} | fields
    return Delivery(message_id=message_id, received_at=NOW, status=status, **fields)


def context(client: QlaraClient | None, event: Event) -> Context:
    return Context(event=event, handler="handler", qlara=client)


async def test_a_true_receipt_is_confirmed_and_a_forged_one_is_not(sandbox: Sandbox, client: QlaraClient) -> None:
    receipt = await client.sms.send(destination=TO, sender="ACME", body="Ciao")
    await sandbox.idle()
    true = await context(client, delivery(receipt.message_id)).confirm()
    assert (true.agrees, true.event.trust) == (True, Trust.CONFIRMED)
    assert true.status is not None
    assert true.status.status is DeliveryStatus.DELIVERED
    forged = await context(client, delivery(receipt.message_id, DeliveryStatus.ERROR)).confirm()
    assert (forged.agrees, forged.event.trust, forged.status) == (False, Trust.URL_TOKEN, true.status)


async def test_a_receipt_for_a_message_nobody_sent_is_not_confirmed(sandbox: Sandbox, client: QlaraClient) -> None:
    answer = await context(client, delivery("nobody-sent-this")).confirm()
    assert (answer.agrees, answer.status) == (False, None)


async def test_our_own_id_is_asked_for_where_the_callback_names_both(sandbox: Sandbox, client: QlaraClient) -> None:
    receipt = await client.sms.send(destination=TO, sender="ACME", body="Ciao")
    await sandbox.idle()
    event = delivery("the-gateways-own", customer_message_id=receipt.message_id)
    assert (await context(client, event).confirm()).agrees


@pytest.mark.parametrize("event", [delivery(None), delivery("m1", channel="TELEX")])
async def test_what_cannot_be_asked_costs_no_request(event: Event, sandbox: Sandbox, client: QlaraClient) -> None:
    answer = await context(client, event).confirm()
    assert (answer.agrees, answer.status) == (False, None)
    assert sandbox.requests.total() == 0


@pytest.mark.parametrize(
    "event",
    [
        Inbound(channel=Channel.RCS, message_id="m1", received_at=NOW, text="stop"),
        UnknownEvent(channel="", message_id=None, received_at=NOW),
    ],
)
async def test_the_status_endpoint_cannot_confirm_what_was_not_sent(event: Event, client: QlaraClient) -> None:
    with pytest.raises(ConfigurationError, match="inbound"):
        await context(client, event).confirm()


async def test_it_needs_a_client() -> None:
    event = Read(channel=Channel.RCS, message_id="m1", received_at=NOW)
    with pytest.raises(ConfigurationError, match="client="):
        await context(None, event).confirm()


def test_what_bears_out_what() -> None:
    unknown, sent, received, expired, error, delivered, read = (
        *(DeliveryStatus.UNKNOWN, DeliveryStatus.SENT, DeliveryStatus.RECEIVED, DeliveryStatus.EXPIRED),
        *(DeliveryStatus.ERROR, DeliveryStatus.DELIVERED, DeliveryStatus.READ),
    )
    table = {
        (said, answer) for said in DeliveryStatus for answer in DeliveryStatus if bears_out(answer=answer, said=said)
    }
    assert table == {
        *((delivered, delivered), (delivered, read), (read, read)),
        *((failed, answer) for failed in (expired, error) for answer in (expired, error)),
    }
    assert not {unknown, sent, received} & {said for said, _ in table}
