"""Lines of the vendor's FAQ, each shown once from end to end; what another file shows stands there under the same name.

The README has the table of all lines, and `LINES` the tests that show each.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from qlara_async import (
    Channel,
    DeliveryTracker,
    FallbackSms,
    LegacySms,
    QlaraClient,
    RateLimit,
    Rcs,
    RcsCard,
    RcsCardContent,
    RcsCarouselContent,
    RcsFormContent,
    RcsMedia,
    RcsTextContent,
    RetryPolicy,
    Sms,
    WhatsApp,
)
from qlara_async.errors import (
    ApiError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    InternalServerError,
    InvalidMessageError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    UnprocessableError,
)
from qlara_async.models.rcs import RcsTemplateContent
from qlara_async.sandbox import CallbackPolicy, Fault, Life, Sandbox
from qlara_async.testing.clock import VirtualClock
from qlara_async.webhooks import (
    Delivery,
    Inbound,
    MemoryInbox,
    Read,
    SqliteInbox,
    UnknownEvent,
    UrlToken,
    WebhookReceiver,
)

from .wire import WireGateway, answer

pytestmark = pytest.mark.anyio

ANNA = "+393401234567"
SECRET = "sk-canary-4711"


LINES = {
    "API key in": ["the_api_key_goes", "the_api_key_is_treated", "keys_are_made", "several_keys"],
    "accepted is": ["accepted_is_not_delivered"],
    "WhatsApp: free form": ["free_form_only", "after_24_hours"],
    "RCS fallback": ["how_does_rcs_fallback_work", "fallback_chains"],
    "tracked links": ["tracked_links"],
    "Universal and Legacy": ["universal_and_legacy"],
    "template approval": ["template_approval", "a_changed_template", "a_template_that_is_not_approved"],
    "RCS templates": ["rcs_template_types"],
    "callback URL": ["the_callback_url_is_https", "the_callback_url_can_be_tested"],
    "INBOUND": ["customers_who_write", "who_wrote_may_be_answered"],
    "media URLs": ["media_expire", "a_handler_fetches_media_in_time"],
    "missed webhooks": ["a_missed_webhook", "a_webhook_that_comes_again"],
    "400, 401": ["what_the_status_codes_mean", "400_missing"],
    "`Retry-After`": ["rate_limiting"],
    "422": ["422_a_wrong_phone_number", "422_template_variables", "422_a_format", "test_mode_only_named_numbers"],
    "4,096": ["the_maximum_message_length"],
    "languages": ["templates_name_their_language"],
    "opt-in": ["opt_in_opt_out"],
    "test mode": ["test_mode_makes", "test_mode_only_named_numbers"],
    "monitor usage": ["usage_is_counted", "low_credit"],
}
"""Lines of the README's table by their first words, and how the names of their tests begin after ``test_faq_``."""

HERE = Path(__file__).parent


def test_every_line_of_the_readmes_table_has_its_tests() -> None:
    table = (
        (HERE.parent / "README.md").read_text(encoding="utf-8").partition("| the FAQ says |")[2].partition("\n\n")[0]
    )
    lines = [line.removeprefix("| ") for line in table.splitlines()[2:]]
    assert [begin for line in lines for begin in LINES if line.startswith(begin)] == list(LINES)
    assert len(lines) == len(LINES)
    sources = "".join(path.read_text(encoding="utf-8") for path in HERE.glob("test_*.py"))
    missing = [name for names in LINES.values() for name in names if f"def test_faq_{name}" not in sources]
    assert missing == []


def sms(body: str = "Ciao", **fields: object) -> Sms:
    return Sms(destination=ANNA, sender="ACME", body=body, **fields)  # type: ignore[arg-type]


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(api_key=SECRET, rate_limit=None, life=Life(final=0.0, read=0.0)) as sandbox:
        yield sandbox


@pytest.fixture
async def account(sandbox: Sandbox) -> AsyncIterator[QlaraClient]:
    async with QlaraClient(sandbox.api_key, base_url=sandbox.url, rate_limit=None) as account:
        yield account


async def test_faq_the_api_key_goes_in_a_header(gateway: WireGateway) -> None:
    async with QlaraClient(SECRET, base_url=gateway.url) as account:
        await account.send(sms())
    assert gateway.seen[0].headers["x-api-key"] == SECRET


async def test_faq_the_api_key_is_treated_like_a_password(
    sandbox: Sandbox, account: QlaraClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    sandbox.api_key = "another"
    with pytest.raises(AuthenticationError) as caught:
        await account.send(sms())
    said = [str(caught.value), repr(caught.value), repr(account), *(str(vars(record)) for record in caplog.records)]
    assert SECRET not in "".join(said)


async def test_faq_keys_are_made_for_each_application_and_revoked(sandbox: Sandbox, account: QlaraClient) -> None:
    made = await account.api_keys.create(["SMS"])
    async with QlaraClient(made.value or "", base_url=sandbox.url) as other:
        await other.send(sms())
        await account.api_keys.delete(made.id)
        with pytest.raises(AuthenticationError):
            await other.send(sms())
    await account.send(sms())


async def test_faq_accepted_is_not_delivered(account: QlaraClient) -> None:
    async with DeliveryTracker(account) as tracker:
        receipt = await account.send(sms())
        assert receipt.results["SMS"].accepted
        status = await tracker.wait_until(receipt, "delivered", timeout=30)
    assert status.status == "DELIVERED"


async def test_faq_tracked_links_are_a_placeholder(sandbox: Sandbox, account: QlaraClient) -> None:
    with pytest.raises(InvalidMessageError) as caught:
        sms("Clicca {shortLinkT1}")
    assert caught.value.field == "placeholders.shortLinkT1"
    await account.send(sms("Clicca {shortLinkT1}", placeholders={"shortLinkT1": "https://acme.example"}))
    assert sandbox.messages[-1].json()["placeholders"] == {"shortLinkT1": "https://acme.example"}


async def test_faq_universal_and_legacy_sms(account: QlaraClient) -> None:
    assert (await account.send(sms("Caffè ☕"))).results["SMS"].unicode
    receipt = await account.sms_legacy.send(
        [LegacySms(destinations=[ANNA], sender="ACME", body="Caffè ☕")], enable_unicode=False
    )
    assert len(receipt.accepted) == 1


async def test_faq_rcs_template_types(account: QlaraClient) -> None:
    media = RcsMedia(file_url="https://acme.example/a.jpg", height="TALL")
    card = RcsCard(title="Ciao", media=media)
    contents: list[RcsTemplateContent] = [
        RcsTextContent(text="Ciao", fallback_sms=FallbackSms(sender="ACME", text="Ciao")),
        RcsCardContent(card=card, card_orientation="VERTICAL"),
        RcsCarouselContent(cards=[card, card], card_width="MEDIUM"),
        RcsFormContent(content={"fields": []}),
    ]
    made = [await account.rcs.templates.create("promo", content, description="Autumn") for content in contents]
    assert [template.type for template in made] == ["TEXT", "CARD", "CAROUSEL", "FORM"]


async def test_faq_the_callback_url_is_https(sandbox: Sandbox, account: QlaraClient) -> None:
    with pytest.raises(ConfigurationError, match="https"):
        await account.webhooks.register("http://acme.example/qlara")
    assert sandbox.requests["webhooks", 201] == 0


async def test_faq_customers_who_write_are_heard(sandbox: Sandbox) -> None:
    token = UrlToken.generate()
    receiver = WebhookReceiver(auth=UrlToken(token), inbox=MemoryInbox(allow_loss=True))
    heard: list[str] = []

    @receiver.on_inbound()
    async def hear(event: Inbound) -> None:
        heard.append(event.text)

    for shape in (b'"text":"Si"', b'"from":"+39","content":{"type":"TEXT","text":"No"}'):
        body = b'{"channel":"WHATSAPP","eventType":"INBOUND","source":"+393401234567",' + shape + b"}"
        await receiver.ingest("POST", f"/{token}", {"Content-Type": "application/json"}, body)
    await receiver.idle()
    await receiver.aclose()
    assert heard == ["Si", "No"]


async def test_faq_a_missed_webhook_is_made_up_for_by_polling(sandbox: Sandbox, account: QlaraClient) -> None:
    sandbox.callback_policy = CallbackPolicy(lost=1.0)
    sandbox.register("http://127.0.0.1:9/nobody")
    async with DeliveryTracker(account) as tracker:
        receipt = await account.send(sms())
        assert (await tracker.wait_until(receipt, "final", timeout=30)).status == "DELIVERED"


async def test_faq_a_webhook_that_comes_again_is_handled_once_and_all_are_logged(tmp_path: Path) -> None:
    token, inbox = UrlToken.generate(), SqliteInbox(tmp_path / "inbox.db")
    receiver = WebhookReceiver(auth=UrlToken(token), inbox=inbox)
    told: list[str | None] = []

    @receiver.on_delivery(name="tell")
    async def tell(event: Delivery) -> None:
        told.append(event.message_id)

    bodies = [
        b'{"channel":"SMS","eventType":"DELIVERY","messageId":"a","statusCode":3}',
        b'{"channel":"RCS","eventType":"READ","messageId":"b"}',
        b"no JSON",
    ]
    for body in bodies * 2:
        answer = await receiver.ingest("POST", f"/{token}", {"Content-Type": "application/json"}, body)
        assert answer.status == 200
    await receiver.idle()
    assert told == ["a"]
    log = [event async for event in inbox.events()]
    assert [(type(event), event.message_id, event.raw) for event in log] == [
        (Delivery, "a", bodies[0]),
        (Read, "b", bodies[1]),
        (UnknownEvent, None, bodies[2]),
    ]
    await receiver.aclose()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequestError),
        (401, AuthenticationError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (422, UnprocessableError),
        (429, RateLimitError),
        (500, InternalServerError),
    ],
)
async def test_faq_what_the_status_codes_mean(status: int, kind: type[ApiError], gateway: WireGateway) -> None:
    gateway.default = answer(status, b'{"message":"no"}')
    once = RetryPolicy(max_attempts=1)
    async with QlaraClient("k", base_url=gateway.url, retry=once, clock=VirtualClock()) as account:
        with pytest.raises(kind) as caught:
            await account.request("GET", "/partner-gateway/v1/contacts")
    assert caught.value.advice in str(caught.value)


async def test_faq_rate_limiting_is_waited_out_1_2_4_seconds(gateway: WireGateway) -> None:
    clock = VirtualClock()
    gateway.script = [answer(429)] * 3
    async with QlaraClient("k", base_url=gateway.url, clock=clock, random=lambda: 0.0) as account:
        await account.send(sms())
    assert clock.slept == [1, 2, 4]
    assert RetryPolicy().max_elapsed == 300  # "set a maximum wait time (e.g. 5 minutes)"


@pytest.mark.parametrize("destination", ["3401234567", "+39", "+39340123456789012", "+39 (340) x"])
async def test_faq_422_a_wrong_phone_number_costs_no_request(destination: str) -> None:
    with pytest.raises(InvalidMessageError) as caught:
        Sms(destination=destination, sender="ACME", body="Ciao")
    assert caught.value.field == "destination"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"body": "Ciao"}, "phone_number_id"),
        ({"phone_number_id": "seven", "body": "Ciao"}, "phone_number_id"),
        ({"phone_number_id": 7, "body": ""}, "body"),
        ({"phone_number_id": 7}, "body"),
    ],
)
async def test_faq_400_missing_wrong_and_empty_fields_cost_no_request(
    fields: dict[str, object], named: str, sandbox: Sandbox, account: QlaraClient
) -> None:
    async with account.bulk([{"channel": "WHATSAPP", "destination": ANNA, **fields}]) as job:
        (error,) = [outcome.error async for outcome in job]
    assert isinstance(error, InvalidMessageError)
    assert error.field == named
    assert sandbox.requests.total() == 0


async def test_faq_422_a_format_that_the_library_does_not_take_costs_no_request(
    sandbox: Sandbox, account: QlaraClient
) -> None:
    with pytest.raises(ConfigurationError):
        await account.media.upload(b"MZ", file_name="logo.exe")
    assert sandbox.requests.total() == 0


async def test_faq_the_maximum_message_length() -> None:
    assert (sms("a" * 160).segments.parts, sms("a" * 161).segments.parts) == (1, 2)
    assert (sms("☕" * 70).segments.parts, sms("☕" * 71).segments.parts) == (1, 2)
    for make, limit in ((_whatsapp, 4096), (_rcs, 1024)):
        make("a" * limit)
        with pytest.raises(InvalidMessageError):
            make("a" * (limit + 1))


async def test_faq_templates_name_their_language(sandbox: Sandbox, account: QlaraClient) -> None:
    template = {"name": "greeting", "language": "it"}
    await account.send(WhatsApp(destination=ANNA, phone_number_id=7, template=template))
    assert sandbox.messages[-1].json()["template"] == template


async def test_faq_usage_is_counted_and_credit_told(account: QlaraClient) -> None:
    await account.send(sms())
    assert account.usage.accepted[Channel.SMS] == 1
    assert (await account.subscription.credit()).available is not None


async def test_faq_production_and_trial_limits() -> None:
    assert (RateLimit.PRODUCTION.per_second, RateLimit.PRODUCTION.per_minute) == (50, 1000)
    assert (RateLimit.TRIAL.per_second, RateLimit.TRIAL.per_minute) == (10, 100)


async def test_faq_other_channels_go_through_request(sandbox: Sandbox, account: QlaraClient) -> None:
    sandbox.fault(None, Fault.ERROR_BEFORE, status=404)
    with pytest.raises(NotFoundError):
        await account.request("POST", "/message-server/email/send", json={"to": "anna@acme.example"})


def _whatsapp(body: str) -> WhatsApp:
    return WhatsApp(destination=ANNA, phone_number_id=7, body=body)


def _rcs(body: str) -> Rcs:
    return Rcs(destination=ANNA, agent_id=41, body=body)
