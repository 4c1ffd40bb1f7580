"""WhatsApp's window: who wrote when, and what is sent because of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from qlara_async import Conversations, QlaraClient, Sms, WhatsApp, WhatsAppTemplate
from qlara_async.errors import ConfigurationError, InvalidMessageError, OutsideWindowError, StoreError
from qlara_async.models.channel import Channel
from qlara_async.models.events import Inbound
from qlara_async.testing.clock import VirtualClock
from qlara_async.webhooks import MemoryInbox, UrlToken, WebhookReceiver

from .wire import WireGateway

pytestmark = pytest.mark.anyio

CUSTOMER = "+393401234567"
OURS = "+390212345678"
DAY = 24 * 3600.0
TEMPLATE = WhatsAppTemplate(name="ordine", language="it")


@pytest.fixture(params=["memory", "file"])
async def conversations(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Conversations]:
    path = tmp_path / "conversations.db" if request.param == "file" else None
    async with Conversations(path, phone_numbers={7: OURS}) as conversations:
        yield conversations


@pytest.fixture
def still() -> VirtualClock:
    return VirtualClock(jump=False)


def client(gateway: WireGateway, clock: VirtualClock, **options: Any) -> QlaraClient:
    return QlaraClient("key", base_url=gateway.url, clock=clock, random=lambda: 0.0, **options)


def free(**fields: Any) -> WhatsApp:
    given: dict[str, Any] = {"destination": CUSTOMER, "phone_number_id": 7, "body": "Ciao"}
    return WhatsApp(**given | fields)


def wrote(clock: VirtualClock, ago: float = 0.0, **fields: Any) -> Inbound:
    at = datetime.fromtimestamp(clock.time() - ago, UTC)
    given = {"channel": Channel.WHATSAPP, "message_id": "w", "source": CUSTOMER, "destination": OURS}
    return Inbound(**given | {"received_at": at} | fields)


def sent(gateway: WireGateway) -> list[dict[str, Any]]:
    return [json.loads(seen.body) for seen in gateway.seen]


async def test_faq_free_form_only_within_24_hours(
    gateway: WireGateway, still: VirtualClock, conversations: Conversations
) -> None:
    async with client(gateway, still, conversations=conversations) as qlara:
        with pytest.raises(OutsideWindowError) as caught:
            await qlara.send(free())
        assert caught.value.reason == "outside_window"
        await conversations.note(wrote(still))
        await qlara.send(free())
        await still.advance(DAY - 0.001)
        await qlara.send(free())
        await still.advance(0.001)
        with pytest.raises(OutsideWindowError):
            await qlara.send(free())
        await qlara.send(free(body=None, template=TEMPLATE))
        await qlara.send(Sms(destination=CUSTOMER, sender="ACME", body="Ciao"))
        async with qlara.bulk([free()]) as job:
            assert [(outcome.state, outcome.reason) async for outcome in job] == [("skipped", "outside_window")]
    assert len(gateway.seen) == 4


async def test_faq_after_24_hours_a_template_takes_the_place(
    gateway: WireGateway, still: VirtualClock, conversations: Conversations
) -> None:
    async with client(gateway, still, conversations=conversations, outside_window=TEMPLATE) as qlara:
        message = free(placeholders={"nome": "Anna"}, body="Ciao {nome}", campaign_id="c")
        receipt = await qlara.send(message)
        await conversations.note(wrote(still))
        await qlara.send(free())
    first, second = sent(gateway)
    assert first["template"] == {"name": "ordine", "language": "it"}
    assert "body" not in first
    assert (first["messageId"], first["campaignId"]) == (receipt.message_id, "c")
    assert first["placeholders"] == {"nome": "Anna"}
    assert second["body"] == "Ciao"
    assert message.body == "Ciao {nome}"


@pytest.mark.parametrize(
    ("outside", "template"),
    [
        ({"name": "ordine", "language": "it"}, {"name": "ordine", "language": "it"}),
        (42, {"id": 42}),
        (lambda message: 43 if message.campaign_id else None, {"id": 43}),
        (lambda message: msgspec.structs.replace(message, body=None, template=44), {"id": 44}),
        ("send", None),
    ],
)
async def test_what_takes_the_place_may_be_named_in_many_ways_and_for_one_message(
    gateway: WireGateway, still: VirtualClock, outside: Any, template: Any
) -> None:
    async with client(gateway, still, conversations=Conversations()) as qlara:
        await qlara.send(free(campaign_id="c"), outside_window=outside)
        await qlara.with_options(outside_window=outside).whatsapp.send(
            destination=CUSTOMER, phone_number_id=7, body="Ciao", campaign_id="c"
        )
        with pytest.raises(OutsideWindowError):
            await qlara.send(free(campaign_id="c"))
    assert [message.get("template") for message in sent(gateway)] == [template] * 2


async def test_a_function_may_refuse(gateway: WireGateway, still: VirtualClock) -> None:
    async with client(gateway, still, conversations=Conversations(), outside_window=lambda message: None) as qlara:
        with pytest.raises(OutsideWindowError):
            await qlara.send(free())


async def test_a_scheduled_message_is_judged_by_the_time_it_is_for(
    gateway: WireGateway, still: VirtualClock, conversations: Conversations
) -> None:
    await conversations.note(wrote(still))
    tomorrow = datetime.fromtimestamp(still.time() + DAY, UTC)
    async with client(gateway, still, conversations=conversations) as qlara:
        await qlara.send(free(scheduled_date=tomorrow - timedelta(seconds=1)))
        with pytest.raises(OutsideWindowError):
            await qlara.send(free(scheduled_date=tomorrow))


async def test_the_time_is_the_events_own_unless_it_is_of_the_future_or_absurd(
    conversations: Conversations, still: VirtualClock
) -> None:
    received = datetime.fromtimestamp(still.time(), UTC)
    hour = timedelta(hours=1)
    for number, occurred, noted in (
        ("+390000000001", received - hour, received - hour),
        ("+390000000002", received + hour, received),
        ("+390000000003", datetime(1970, 1, 2, tzinfo=UTC), received),
        ("+390000000004", None, received),
    ):
        await conversations.note(wrote(still, source=number, occurred_at=occurred))
        assert await conversations.last_inbound(number) == noted


async def test_an_older_message_that_comes_later_changes_nothing(
    conversations: Conversations, still: VirtualClock
) -> None:
    await conversations.note(wrote(still))
    await conversations.note(wrote(still, ago=100))
    assert await conversations.last_inbound(CUSTOMER) == datetime.fromtimestamp(still.time(), UTC)


@pytest.mark.parametrize("source", ["+393401234567", "00393401234567", "393401234567", "+39 340 123-4567"])
async def test_a_customer_is_known_however_the_number_is_written(
    conversations: Conversations, still: VirtualClock, source: str
) -> None:
    await conversations.note(wrote(still, source=source))
    assert await conversations.last_inbound("0039 340 1234567") is not None
    assert await conversations.last_inbound("+393401234568") is None


async def test_windows_are_by_channel_and_by_our_number_where_that_is_known(
    conversations: Conversations, still: VirtualClock
) -> None:
    await conversations.note(wrote(still, channel=Channel.RCS))
    assert await conversations.last_inbound(CUSTOMER) is None
    await conversations.note(wrote(still, destination="+390299999999"))
    assert await conversations.last_inbound(CUSTOMER, phone_number_id=7) is None
    assert await conversations.last_inbound(CUSTOMER, phone_number_id=8) is not None
    await conversations.note(wrote(still, destination=None))
    assert await conversations.last_inbound(CUSTOMER, phone_number_id=7) is not None


async def test_an_event_without_a_number_is_passed_over(conversations: Conversations, still: VirtualClock) -> None:
    for source in (None, "", "ACME"):
        await conversations.note(wrote(still, source=source))


async def test_the_receiver_feeds_it_besides_your_own_handlers(conversations: Conversations) -> None:
    receiver = WebhookReceiver(auth=UrlToken("right-token-0123456789"), inbox=MemoryInbox(allow_loss=True))
    mine: list[str] = []

    @receiver.on_inbound()
    async def answer(event: Inbound) -> None:
        mine.append(event.text)

    receiver.include(conversations.router)
    body = {"channel": "WHATSAPP", "eventType": "INBOUND", "source": CUSTOMER, "destination": OURS, "text": "Ciao"}
    await receiver.ingest(
        "POST", "/right-token-0123456789", {"Content-Type": "application/json"}, json.dumps(body).encode()
    )
    await receiver.idle()
    await receiver.aclose()
    assert mine == ["Ciao"]
    assert await conversations.last_inbound(CUSTOMER, phone_number_id=7) is not None


async def test_a_file_outlives_the_process_and_is_shared(tmp_path: Path, still: VirtualClock) -> None:
    path = tmp_path / "conversations.db"
    async with Conversations(path) as one, Conversations(path) as other:
        await one.note(wrote(still))
        assert await other.last_inbound(CUSTOMER) is not None
    async with Conversations(path) as again:
        assert await again.last_inbound(CUSTOMER) is not None


async def test_a_send_that_cannot_be_checked_is_not_made(
    gateway: WireGateway, still: VirtualClock, tmp_path: Path
) -> None:
    path = tmp_path / "other.db"
    path.write_bytes(b"no database" * 1000)
    async with client(gateway, still, conversations=Conversations(path)) as qlara:
        with pytest.raises(StoreError, match=r"other\.db"):
            await qlara.send(free())
    assert gateway.seen == []


async def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="conversations="):
        QlaraClient("key", outside_window=TEMPLATE)
    with pytest.raises(ConfigurationError, match="conversations="):
        QlaraClient("key").with_options(outside_window="send")
    with pytest.raises(ConfigurationError, match="outside_window"):
        QlaraClient("key", conversations=Conversations(), outside_window="wait")  # type: ignore[arg-type]
    with pytest.raises(InvalidMessageError):
        QlaraClient("key", conversations=Conversations(), outside_window={"name": "ordine"})
    with pytest.raises(ConfigurationError, match="phone_numbers"):
        Conversations(phone_numbers={7: "x"})


async def test_g11_nothing_private_is_shown(tmp_path: Path) -> None:
    assert CUSTOMER not in repr(Conversations(tmp_path / "c.db"))
    with pytest.raises(InvalidMessageError) as caught:
        await Conversations().last_inbound("3401234567")
    assert "340" not in str(caught.value)
