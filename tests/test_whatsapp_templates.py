"""WhatsApp templates, their review, and phone numbers: client and sandbox together over real HTTP."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlara_async import (
    QlaraClient,
    RetryPolicy,
    TemplateButton,
    TemplateCategory,
    TemplateStatus,
    WhatsAppTemplateDraft,
    WhatsAppTemplateInfo,
    tracked_links,
)
from qlara_async.errors import (
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    InternalServerError,
    InvalidMessageError,
    NotFoundError,
    TemplateRejectedError,
    TemplateTimeout,
)
from qlara_async.models.variables import Variables, variables_in
from qlara_async.sandbox import Fault, Sandbox
from qlara_async.testing.clock import VirtualClock

from .wire import WireGateway, answer, drop

pytestmark = pytest.mark.anyio

TEMPLATES = "/message-server/whatsapp/templates"


@pytest.fixture
async def sandbox(clock: VirtualClock) -> AsyncIterator[Sandbox]:
    async with Sandbox(rate_limit=None, clock=clock) as sandbox:
        yield sandbox


@pytest.fixture
async def account(sandbox: Sandbox, clock: VirtualClock) -> AsyncIterator[QlaraClient]:
    options: dict[str, Any] = {"rate_limit": None, "clock": clock, "random": lambda: 0.0}
    async with QlaraClient(sandbox.api_key, base_url=sandbox.url, **options) as qlara:
        yield qlara


def draft(**changes: Any) -> WhatsAppTemplateDraft:
    fields: dict[str, Any] = {
        "name": "ordine_spedito",
        "lang": "it",
        "category": TemplateCategory.UTILITY,
        "body": "Ciao {nome}, il tuo ordine {codice} è partito.",
    }
    return WhatsAppTemplateDraft(**fields | changes)


class TestDraft:
    async def test_it_is_sent_by_the_names_of_the_guide(self, qlara: QlaraClient, gateway: WireGateway) -> None:
        gateway.default = answer(201)
        links = tracked_links("https://acme.example/ordini")
        full = draft(
            body="Ciao {nome}: {shortLinkT1}",
            header_format="IMAGE",
            header_media_url="https://acme.example/a.png",
            footer="ACME",
            buttons=[
                TemplateButton.link("Traccia", "https://acme.example/{codice}"),
                TemplateButton.reply("Grazie"),
                TemplateButton.call("Chiama", "+39021234567"),
            ],
            placeholder_fields=links,
            track_button_links=True,
        )
        await qlara.whatsapp.templates.create(full, phone_number_id=5, more={"exampleValues": {"nome": "Anna"}})
        seen = gateway.seen[0]
        assert (seen.method, seen.target) == ("POST", f"/api{TEMPLATES}?phoneNumberId=5")
        assert json.loads(seen.body) == {
            "name": "ordine_spedito",
            "lang": "it",
            "category": "UTILITY",
            "body": "Ciao {nome}: {shortLinkT1}",
            "headerFormat": "IMAGE",
            "headerMediaUrl": "https://acme.example/a.png",
            "footer": "ACME",
            "buttons": [
                {"type": "URL", "text": "Traccia", "url": "https://acme.example/{codice}"},
                {"type": "QUICK_REPLY", "text": "Grazie"},
                {"type": "PHONE_NUMBER", "text": "Chiama", "phoneNumber": "+39021234567"},
            ],
            "placeholderFields": {"shortLinkT1": "https://acme.example/ordini"},
            "trackButtonLinks": True,
            "exampleValues": {"nome": "Anna"},
        }
        assert full.variables == Variables(frozenset({"nome", "shortLinkT1", "codice"}))

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            (
                {"header_text": "Novità", "header_format": "IMAGE", "header_media_url": "https://a.b/c"},
                "header_text, or",
            ),
            ({"header_text": "Novità", "header_media_url": "https://a.b/c"}, "header_text, or"),
            ({"header_format": "VIDEO"}, "go together"),
            ({"header_media_url": "https://a.b/c"}, "go together"),
            ({"body": "Ecco: {shortLinkT1}"}, "does not define it"),
            ({"placeholder_fields": tracked_links("https://a.b/c")}, "does not use it"),
        ],
    )
    def test_what_does_not_fit_together_is_refused_at_once(self, changes: dict[str, Any], said: str) -> None:
        with pytest.raises(ConfigurationError, match=said):
            draft(**changes)

    @pytest.mark.parametrize(
        "changes",
        [
            {"name": "Ordine Spedito"},
            {"name": ""},
            {"lang": "italiano!"},
            {"category": "PROMO"},
            {"body": ""},
            {"body": None},
            {"footer": 5},
            {"header_format": "AUDIO", "header_media_url": "https://a.b/c"},
            {"header_format": "IMAGE", "header_media_url": "ftp://a.b/c"},
            {"buttons": [TemplateButton.link("Vai", "a.b/c")]},
            {"buttons": [TemplateButton.call("Chiama", "subito")]},
            {"buttons": ["Vai"]},
        ],
    )
    async def test_a_field_that_is_wrong_costs_no_request(
        self, changes: dict[str, Any], account: QlaraClient, sandbox: Sandbox
    ) -> None:
        with pytest.raises(ConfigurationError):
            await account.whatsapp.templates.create(draft(**changes), phone_number_id=5)
        assert list(sandbox.arrivals) == []

    @given(st.lists(st.sampled_from(["{nome}", "{{1}}", "{{ 2 }}", "{{citta}}", "{1}", "{", "}}", "{a b}", "x"])))
    def test_variables_are_found_by_name_and_by_number(self, pieces: list[str]) -> None:
        wanted = {"{nome}": "nome", "{{citta}}": "citta"}
        names = frozenset(wanted[piece] for piece in pieces if piece in wanted)
        numbers = {piece for piece in pieces if piece in ("{{1}}", "{{ 2 }}")}
        assert variables_in([{"text": " ".join(pieces)}]) == Variables(names, len(numbers))

    def test_each_component_counts_for_itself(self) -> None:
        assert variables_in(["{{1}} {{2}} {{1}}", {"url": "https://a.b/{{1}}"}, None]) == Variables(numbered=2)

    def test_tracked_links_are_named_in_order(self) -> None:
        assert tracked_links("https://a.b", "http://c.d/e") == {
            "shortLinkT1": "https://a.b",
            "shortLinkT2": "http://c.d/e",
        }
        for bad in ("a.b", "https://", "https://a b", None):
            with pytest.raises(InvalidMessageError, match="tracked_links"):
                tracked_links(bad)  # type: ignore[arg-type]

    def test_g11_neither_draft_nor_button_shows_its_text(self) -> None:
        shown = repr(draft(buttons=(TemplateButton.call("Chiama", "+39021234567"),)))
        assert shown == "WhatsAppTemplateDraft(name='ordine_spedito', lang='it')"
        assert repr(TemplateButton.call("Chiama", "+39021234567")) == "TemplateButton(type='PHONE_NUMBER')"


class TestTemplates:
    async def test_a_template_is_created_listed_changed_and_deleted(self, account: QlaraClient) -> None:
        templates = account.whatsapp.templates
        buttons = (TemplateButton.link("Traccia", "https://acme.example/{codice}"),)
        made = await templates.create(draft(header_text="ACME", buttons=buttons), phone_number_id=5)
        assert (made.status, made.is_approved) == (TemplateStatus.PENDING, False)
        [listed] = [template async for template in templates.list()]
        assert (listed.id, listed.name, listed.language) == (made.id, "ordine_spedito", "it")
        assert listed.variables == Variables(numbered=2)
        changed = await templates.update(made.id, body="Ciao {nome}", header_text=None, buttons=[])
        assert (changed.body, changed.header_text, changed.buttons) == ("Ciao {nome}", None, ())
        assert (await templates.get(made.id)).variables == Variables(frozenset({"nome"}))
        await templates.delete(made.id)
        for gone in (templates.get(made.id), templates.update(made.id, body="x"), templates.delete(made.id)):
            with pytest.raises(NotFoundError):
                await gone

    async def test_the_list_is_filtered_and_paged(self, account: QlaraClient, sandbox: Sandbox) -> None:
        templates = account.whatsapp.templates
        made = [
            await templates.create(draft(name=f"t{number}"), phone_number_id=7 if number == 3 else 5)
            for number in range(25)
        ]
        sandbox.platform.whatsapp.review(made[4].id, "REJECTED")
        assert len([template async for template in templates.list()]) == 25
        assert [template.name async for template in templates.list(phone_number_id=7)] == ["t3"]
        assert [template.id async for template in templates.list(status="rejected")] == [made[4].id]
        assert [template.name async for template in templates.list(limit=2)] == ["t0", "t1"]
        with pytest.raises(ConfigurationError):
            templates.list(status="GONE")

    async def test_a_creation_answered_by_little_is_completed_by_its_draft(
        self, qlara: QlaraClient, gateway: WireGateway
    ) -> None:
        for said, template_id in ((b"42", 42), (b'{"data": {"templateId": "t7"}}', "t7"), (b"", ""), (b"OK", "")):
            gateway.script = [answer(201, said)]
            made = await qlara.whatsapp.templates.create(draft(), phone_number_id=5)
            assert (made.id, made.name, made.language, made.status) == (template_id, "ordine_spedito", "it", None)
            assert made.variables == Variables(frozenset({"nome", "codice"}))

    async def test_the_documented_item_of_the_list_is_read(self, qlara: QlaraClient, gateway: WireGateway) -> None:
        item = {
            "id": 42,
            "name": "order_shipped",
            "language": "it",
            "category": "UTILITY",
            "status": "APPROVED",
            "components": [
                {"type": "HEADER", "format": "IMAGE"},
                {"type": "BODY", "text": "Ciao {{1}}, {{2}}", "example": {"body_text": [["{{9}}"]]}},
                {"type": "BUTTONS", "buttons": [{"type": "URL", "text": "Vai", "url": "https://a.b/{{1}}"}, None]},
            ],
        }
        gateway.default = answer(200, json.dumps({"data": [item, {"components": "?"}]}).encode())
        first, second = [template async for template in qlara.whatsapp.templates.list()]
        assert (first.is_approved, first.category, first.raw) == (True, "UTILITY", item)
        assert (first.variables, second.variables) == (Variables(numbered=2), None)
        assert repr(first) == "WhatsAppTemplateInfo(id=42, name='order_shipped', language='it', status='APPROVED')"

    async def test_a_change_sends_what_was_given_and_nothing_else(
        self, qlara: QlaraClient, gateway: WireGateway
    ) -> None:
        gateway.default = answer(200)
        await qlara.whatsapp.templates.update(5, footer=None, category="marketing", more={"x": 1})
        assert (gateway.seen[0].method, gateway.seen[0].target) == ("PATCH", f"/api{TEMPLATES}/5")
        assert json.loads(gateway.seen[0].body) == {"footer": None, "category": "MARKETING", "x": 1}

    async def test_a_creation_is_not_repeated_in_doubt(self, account: QlaraClient, sandbox: Sandbox) -> None:
        sandbox.fault(None, Fault.ERROR_AFTER, route="platform")
        with pytest.raises(InternalServerError):
            await account.whatsapp.templates.create(draft(), phone_number_id=5)
        assert len(sandbox.platform.whatsapp.templates) == 1

    async def test_what_the_gateway_refuses_is_told(self, account: QlaraClient) -> None:
        made = await account.whatsapp.templates.create(draft(), phone_number_id=5)
        with pytest.raises(BadRequestError):
            await account.whatsapp.templates.create(draft(), phone_number_id=5)
        with pytest.raises(NotFoundError):
            await account.whatsapp.templates.create(draft(), phone_number_id=6)
        with pytest.raises(BadRequestError, match="go together"):
            await account.whatsapp.templates.update(made.id, header_format="IMAGE")

    @pytest.mark.parametrize("body", [b"{}", b'{"name": "A"}', b"[]"])
    async def test_the_sandbox_answers_400_to_what_is_no_template(self, body: bytes, sandbox: Sandbox) -> None:
        url = f"{sandbox.url}{TEMPLATES}"
        async with aiohttp.ClientSession(headers={"X-Api-Key": sandbox.api_key}) as session:
            for query in ("", "?phoneNumberId=5"):
                async with session.post(url + query, data=body) as got:
                    assert got.status == 400


class TestReview:
    async def test_faq_template_approval_is_waited_for(
        self, account: QlaraClient, sandbox: Sandbox, clock: VirtualClock
    ) -> None:
        sandbox.platform.whatsapp.review_seconds = 2 * 3600
        made = await account.whatsapp.templates.create(draft(), phone_number_id=5)
        began, asked = clock.monotonic(), len(sandbox.arrivals)
        assert (await account.whatsapp.templates.wait_until_approved(made.id)).is_approved
        assert 7200 <= clock.monotonic() - began <= 7500
        assert clock.slept[:9] == [2, 4, 8, 16, 32, 64, 128, 256, 300]
        assert len(sandbox.arrivals) - asked < 40

    async def test_what_is_approved_already_costs_one_request(self, account: QlaraClient, sandbox: Sandbox) -> None:
        made = await account.whatsapp.templates.create(draft(), phone_number_id=5)
        sandbox.platform.whatsapp.review(made.id, "APPROVED")
        await account.whatsapp.templates.wait_until_approved(made.id, timeout=0)
        assert len(sandbox.arrivals) == 2

    async def test_faq_a_changed_template_is_reviewed_again(self, account: QlaraClient, sandbox: Sandbox) -> None:
        made = await account.whatsapp.templates.create(draft(), phone_number_id=5)
        await account.whatsapp.templates.wait_until_approved(made.id)
        await account.whatsapp.templates.update(made.id, footer="ACME")
        assert not (await account.whatsapp.templates.get(made.id)).is_approved
        await account.whatsapp.templates.wait_until_approved(made.id)

    async def test_a_rejection_ends_the_wait(self, account: QlaraClient, sandbox: Sandbox) -> None:
        made = await account.whatsapp.templates.create(draft(), phone_number_id=5)
        sandbox.platform.whatsapp.review(made.id, "REJECTED")
        with pytest.raises(TemplateRejectedError) as caught:
            await account.whatsapp.templates.wait_until_approved(made.id)
        assert (caught.value.template_id, caught.value.status) == (made.id, "REJECTED")

    async def test_it_may_take_longer_than_one_waits(
        self, account: QlaraClient, sandbox: Sandbox, clock: VirtualClock
    ) -> None:
        sandbox.platform.whatsapp.review_seconds = 3600
        made = await account.whatsapp.templates.create(draft(), phone_number_id=5)
        began = clock.monotonic()
        with pytest.raises(TemplateTimeout) as caught:
            await account.whatsapp.templates.wait_until_approved(made.id, timeout=10)
        assert clock.monotonic() - began == 10
        assert isinstance(caught.value, TimeoutError)
        assert caught.value.status == "PENDING"
        copied = pickle.loads(pickle.dumps(caught.value))
        assert (copied.template_id, str(copied)) == (made.id, str(caught.value))

    async def test_a_gateway_that_fails_is_waited_out(
        self, qlara: QlaraClient, gateway: WireGateway, clock: VirtualClock
    ) -> None:
        impatient = qlara.with_options(retry=RetryPolicy(max_attempts=1))
        gateway.script = [
            answer(503),
            drop,
            answer(429),
            answer(200, b'{"id": 42, "status": "IN_REVIEW"}'),
            answer(200, b'{"id": 42, "status": "approved"}'),
        ]
        assert (await impatient.whatsapp.templates.wait_until_approved(42)).id == 42
        gateway.default = answer(503)
        with pytest.raises(TemplateTimeout) as caught:
            await impatient.whatsapp.templates.wait_until_approved(42, timeout=5)
        assert (caught.value.status, type(caught.value.__cause__).__name__) == (None, "ServerError")

    async def test_a_refusal_is_not_waited_out(self, qlara: QlaraClient, gateway: WireGateway) -> None:
        for status, error in ((404, NotFoundError), (401, AuthenticationError)):
            gateway.script = [answer(status)]
            with pytest.raises(error):
                await qlara.whatsapp.templates.wait_until_approved(42)

    @pytest.mark.parametrize("timeout", [-1, float("inf"), float("nan")])
    async def test_a_time_that_is_none_is_refused(self, timeout: float, qlara: QlaraClient) -> None:
        with pytest.raises(ConfigurationError):
            await qlara.whatsapp.templates.wait_until_approved(42, timeout=timeout)

    @pytest.mark.usefixtures("no_task_left")
    async def test_g12_a_cancelled_wait_leaves_nothing(self, qlara: QlaraClient, gateway: WireGateway) -> None:
        gateway.default = answer(200, b'{"id": 42, "status": "PENDING"}')
        waiting = asyncio.create_task(qlara.whatsapp.templates.wait_until_approved(42))
        while not gateway.seen:
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert qlara.limiter.waiting == 0


class TestPhoneNumbers:
    async def test_numbers_are_listed_and_read(self, account: QlaraClient) -> None:
        numbers = [number async for number in account.whatsapp.phone_numbers.list(page_size=1)]
        assert [number.id for number in numbers] == [5, 7]
        first = await account.whatsapp.phone_numbers.get(5)
        assert (first.phone_number, first.status) == ("+390200000005", "ACTIVE")
        assert repr(first) == "WhatsAppPhoneNumber(id=5, status='ACTIVE')"
        with pytest.raises(NotFoundError):
            await account.whatsapp.phone_numbers.get(6)

    async def test_the_use_cases_ids_are_read_too(self, qlara: QlaraClient, gateway: WireGateway) -> None:
        gateway.default = answer(200, b'{"phoneNumbers": [{"phoneNumberId": "waba-num-001"}]}')
        assert [number.id async for number in qlara.whatsapp.phone_numbers.list()] == ["waba-num-001"]


async def test_templates_and_numbers_are_made_once_for_each_view(qlara: QlaraClient) -> None:
    assert qlara.whatsapp.templates is qlara.whatsapp.templates
    assert qlara.whatsapp.phone_numbers is qlara.whatsapp.phone_numbers
    view = qlara.with_options(retry=RetryPolicy(max_attempts=1))
    assert view.whatsapp.templates is not qlara.whatsapp.templates


def test_a_status_in_any_case_is_read() -> None:
    assert WhatsAppTemplateInfo(status="Approved").is_approved
    assert not WhatsAppTemplateInfo().is_approved
