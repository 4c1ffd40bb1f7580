"""`ctx.reply`: answers on the customer's channel, none of them twice."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from qlara_async import Conversations, QlaraClient, Receipt, SuppressionList
from qlara_async.errors import (
    ConfigurationError,
    DeliveryUnknownError,
    InvalidMessageError,
    NotSentError,
    OutsideWindowError,
    QlaraError,
    SuppressedError,
)
from qlara_async.models.channel import Channel
from qlara_async.protocol.replies import reply_id
from qlara_async.sandbox import Fault, Sandbox
from qlara_async.testing.clock import VirtualClock
from qlara_async.webhooks import (
    Context,
    Delivery,
    Event,
    Inbound,
    MemoryInbox,
    ReplyAs,
    SqliteInbox,
    UrlToken,
    WebhookReceiver,
)

from .wire import WireGateway, answer

pytestmark = pytest.mark.anyio

TOKEN = "right-token-0123456789"
ANNA, OURS, OTHER_OF_OURS = "+393401234567", "+390212345678", "+390687654321"
NOW = datetime(2026, 4, 9, 12, 0, tzinfo=UTC)
ANSWERS = ReplyAs(rcs=41, whatsapp={7: "+39 02 12345678", 9: OTHER_OF_OURS})


@pytest.fixture
async def sandbox(clock: VirtualClock) -> AsyncIterator[Sandbox]:
    async with Sandbox(rate_limit=None, clock=clock) as sandbox:
        yield sandbox


@pytest.fixture
async def account(sandbox: Sandbox, clock: VirtualClock) -> AsyncIterator[QlaraClient]:
    async with client(sandbox, clock) as qlara:
        yield qlara


def client(sandbox: Sandbox, clock: VirtualClock, **options: Any) -> QlaraClient:
    return QlaraClient(
        sandbox.api_key, base_url=sandbox.url, rate_limit=None, clock=clock, random=lambda: 0.0, **options
    )


def inbound(channel: Channel | str = Channel.SMS, **fields: Any) -> Inbound:
    given: dict[str, Any] = {
        "message_id": "m-1",
        "source": ANNA,
        "destination": OURS,
        "text": "Ciao",
        "occurred_at": NOW,
    }
    return Inbound(channel=channel, **({"received_at": NOW} | given | fields))


def context(event: Event, qlara: QlaraClient | None, **fields: Any) -> Context:
    return Context(event=event, handler="answering", qlara=qlara, reply_as=ANSWERS, **fields)


class Desk:
    """A receiver whose one handler answers `answers` times, and fails as often as told."""

    def __init__(self, qlara: QlaraClient, inbox: Any, clock: VirtualClock, *, failures: int = 0) -> None:
        self.receiver = WebhookReceiver(auth=UrlToken(TOKEN), inbox=inbox, client=qlara, reply_as=ANSWERS, clock=clock)
        self.receipts: list[Receipt] = []
        self.errors: list[BaseException] = []
        self.receiver.on_error(lambda error, event, handler: self.errors.append(error))

        @self.receiver.on_inbound(name="answering")
        async def answering(event: Inbound, ctx: Context) -> None:
            self.receipts += [await ctx.reply(f"{event.text}?"), await ctx.reply("Grazie")]
            if ctx.attempt <= failures:
                raise ValueError

    async def take(self, channel: str, text: str = "Ciao", **more: Any) -> None:
        body = {"channel": channel, "eventType": "INBOUND", "source": ANNA, "destination": OURS, "text": text} | more
        headers = {"Content-Type": "application/json"}
        answered = await self.receiver.ingest("POST", f"/{TOKEN}", headers, json.dumps(body).encode())
        assert answered.status == 200
        await self.receiver.idle()


@pytest.mark.parametrize(
    ("channel", "fields"),
    [
        ("SMS", {"sender": "390212345678", "body": "Ciao?"}),
        ("RCS", {"agentId": 41, "body": {"type": "TEXT", "body": {"text": "Ciao?"}}}),
        ("WHATSAPP", {"phoneNumberId": 7, "body": "Ciao?"}),
    ],
)
async def test_a_handler_answers_on_the_channel_of_the_customer(
    channel: str, fields: dict[str, Any], sandbox: Sandbox, account: QlaraClient, clock: VirtualClock
) -> None:
    desk = Desk(account, MemoryInbox(allow_loss=True), clock)
    sandbox.register("http://127.0.0.1:9/")  # its own receiver is not asked for here
    await desk.take(channel)
    await desk.receiver.aclose()
    assert desk.errors == []
    first, second = sandbox.messages
    assert (first.channel, first.destination) == (channel, ANNA)
    assert fields.items() <= first.json().items()
    assert [receipt.message_id for receipt in desk.receipts] == [first.message_id, second.message_id]
    assert first.message_id != second.message_id


async def test_g1_a_handler_that_runs_again_does_not_answer_twice(
    sandbox: Sandbox, account: QlaraClient, clock: VirtualClock, tmp_path: Path
) -> None:
    # On real time: its thread cannot keep step with a clock that jumps.
    inbox = SqliteInbox(tmp_path / "inbox.db", retry_wait=0.0)
    desk = Desk(account, inbox, clock, failures=2)
    await desk.take("SMS")
    await desk.receiver.aclose()
    assert [type(error) for error in desk.errors] == [ValueError, ValueError]
    assert list(sandbox.accepted.values()) == [1, 1]
    assert [receipt.looked_up for receipt in desk.receipts] == [False] * 2 + [True] * 4
    assert [receipt.message_id for receipt in desk.receipts] == list(sandbox.accepted) * 3


async def test_a_run_that_failed_before_it_answered_answers_when_it_runs_again(
    sandbox: Sandbox, account: QlaraClient
) -> None:
    await account.sms.send(destination=ANNA, sender="ACME", body="Ciao")  # it will be the control
    receipt = await context(inbound(), account, redelivered=True).reply("Eccomi")
    assert not receipt.looked_up
    assert sandbox.accepted[receipt.message_id] == 1


async def test_g1_without_proof_nothing_is_sent_again(sandbox: Sandbox, account: QlaraClient) -> None:
    again = context(inbound(), account, redelivered=True)
    with pytest.raises(DeliveryUnknownError) as caught:
        await again.reply("Eccomi")
    assert caught.value.message_id == reply_id(inbound(), "answering", 0)
    assert sandbox.accepted == {}


async def test_an_answer_whose_own_answer_is_lost_is_looked_up(sandbox: Sandbox, account: QlaraClient) -> None:
    sandbox.fault(ANNA, Fault.DROP_AFTER)
    receipt = await context(inbound(), account).reply("Eccomi")
    assert (receipt.looked_up, sandbox.accepted[receipt.message_id]) == (True, 1)


async def test_ids_of_answers_differ_by_event_handler_and_place() -> None:
    ids = {
        reply_id(inbound(), "a", 0),
        reply_id(inbound(), "a", 1),
        reply_id(inbound(), "b", 0),
        reply_id(inbound(message_id="m-2"), "a", 0),
        reply_id(inbound(text="Addio"), "a", 0),  # a conflict is another event
    }
    assert len(ids) == 5
    assert reply_id(inbound(), "a", 0) in ids


async def test_the_number_the_customer_wrote_to_chooses_as_whom(qlara: QlaraClient, gateway: WireGateway) -> None:
    for ours in (OURS, "00390687654321", "390687654321"):
        await context(inbound("WHATSAPP", destination=ours), qlara).reply("Ciao")
    assert [json.loads(seen.body)["phoneNumberId"] for seen in gateway.seen] == [7, 9, 9]


async def test_the_id_of_a_whatsapp_number_is_looked_up_once(sandbox: Sandbox, account: QlaraClient) -> None:
    for event in (inbound("WHATSAPP", destination="390200000007"), inbound("WHATSAPP", destination="+39 02 00000005")):
        receipt = await Context(event=event, handler="answering", qlara=account).reply("Ciao")
        assert receipt.channel == "WHATSAPP"
    assert [message.json()["phoneNumberId"] for message in sandbox.messages] == [7, 5]
    assert sandbox.requests["platform", 200] == 1
    stranger = inbound("WHATSAPP", destination="+390299999999")
    with pytest.raises(ConfigurationError, match="whatsapp"):
        await Context(event=stranger, handler="answering", qlara=account).reply("Ciao")


async def test_as_whom_can_be_said_for_one_answer(qlara: QlaraClient, gateway: WireGateway) -> None:
    await context(inbound(), qlara).reply("Ciao", reply_as=ReplyAs(sms="ACME"))
    await context(inbound("RCS"), qlara).reply("Ciao", reply_as=ReplyAs(rcs={5: OURS}))
    assert [json.loads(seen.body).get("sender") for seen in gateway.seen] == ["ACME", None]
    assert json.loads(gateway.seen[1].body)["agentId"] == 5


async def test_a_short_number_is_a_sender_too(qlara: QlaraClient, gateway: WireGateway) -> None:
    await context(inbound(destination="48 123"), qlara).reply("Ciao")
    assert json.loads(gateway.seen[0].body)["sender"] == "48123"


@pytest.mark.parametrize(
    ("event", "error", "word"),
    [
        (inbound("RCS"), ConfigurationError, "rcs"),
        (inbound("WHATSAPP", destination=None), ConfigurationError, "whatsapp"),
        (inbound(destination=None), ConfigurationError, "sms"),
        (inbound("TELEX"), ConfigurationError, "SMS, RCS and WhatsApp"),
        (inbound(source=None), InvalidMessageError, "destination"),
        (inbound(source="ACME"), InvalidMessageError, "destination"),
        (Delivery(channel="SMS", message_id="m", received_at=NOW, status="SENT"), ConfigurationError, "inbound"),  # type: ignore[arg-type]
    ],
)
async def test_what_cannot_be_answered_says_why_and_costs_no_request(
    event: Event, error: type[QlaraError], word: str, qlara: QlaraClient, gateway: WireGateway
) -> None:
    with pytest.raises(error, match=word) as caught:
        await Context(event=event, handler="answering", qlara=qlara).reply("Ciao")
    assert ANNA not in str(caught.value)
    assert gateway.seen == []


async def test_text_and_client_are_needed(qlara: QlaraClient) -> None:
    with pytest.raises(InvalidMessageError, match="body"):
        await context(inbound(), qlara).reply("")
    with pytest.raises(ConfigurationError, match="client"):
        await context(inbound(), None).reply("Ciao")


@pytest.mark.parametrize(
    "wrong",
    [{"rcs": 0}, {"whatsapp": "7"}, {"whatsapp": {7: "here"}}, {"rcs": {"x": OURS}}, {"sms": "much too long for it"}],
)
def test_as_whom_must_make_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"ReplyAs\.") as caught:
        ReplyAs(**wrong)
    assert OURS not in str(caught.value)


# --- what the client checks


async def test_faq_who_wrote_may_be_answered_at_once_on_whatsapp(sandbox: Sandbox, clock: VirtualClock) -> None:
    async with client(sandbox, clock, conversations=Conversations()) as qlara:
        now = datetime.fromtimestamp(clock.time(), UTC)
        written = {"occurred_at": None, "received_at": now - timedelta(hours=25)}
        with pytest.raises(OutsideWindowError):
            await context(inbound("WHATSAPP", **written), qlara).reply("Ciao")
        receipt = await context(inbound("WHATSAPP", **written | {"received_at": now}), qlara).reply("Ciao")
    assert list(sandbox.accepted) == [receipt.message_id]


async def test_who_said_stop_gets_no_answer_and_who_said_start_does(sandbox: Sandbox, clock: VirtualClock) -> None:
    async with client(sandbox, clock, suppression=SuppressionList()) as qlara:
        with pytest.raises(SuppressedError):
            await context(inbound(text="STOP"), qlara).reply("Ciao")
        later = NOW + timedelta(hours=1)
        with pytest.raises(SuppressedError):
            await context(inbound(text="Ciao", message_id="m-2"), qlara).reply("Ciao")
        start = inbound(text="START", message_id="m-3", received_at=later, occurred_at=later)
        await context(start, qlara).reply("Ciao")
    assert len(sandbox.messages) == 1


async def test_test_mode_holds_for_answers(sandbox: Sandbox, clock: VirtualClock) -> None:
    async with client(sandbox, clock, simulation=True) as qlara:
        assert (await context(inbound(), qlara).reply("Ciao")).simulation
    async with client(sandbox, clock, only_destinations=[OURS]) as qlara:
        with pytest.raises(NotSentError):
            await context(inbound(), qlara).reply("Ciao")
    assert sandbox.accepted == {}


async def test_g11_nothing_private_is_shown(qlara: QlaraClient, gateway: WireGateway) -> None:
    gateway.default = answer(400, b"{}")
    with pytest.raises(QlaraError) as caught:
        await context(inbound(), qlara).reply("segreto")
    shown = f"{caught.value!r} {context(inbound(), qlara)!r} {ANSWERS!r}"
    assert not [private for private in (ANNA, ANNA[1:], "segreto", OURS) if private in shown]
