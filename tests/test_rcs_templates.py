"""RCS templates, client and sandbox together over real HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from qlara_async import (
    FallbackSms,
    QlaraClient,
    RcsCard,
    RcsCardContent,
    RcsCarouselContent,
    RcsFormContent,
    RcsMedia,
    RcsSuggestion,
    RcsTextContent,
)
from qlara_async.errors import BadRequestError, ConfigurationError, InternalServerError, NotFoundError
from qlara_async.models.variables import Variables
from qlara_async.sandbox import Fault, Sandbox

from .wire import WireGateway, answer

pytestmark = pytest.mark.anyio

TEMPLATES = "/message-server/rcs/templates"
TEXT = RcsTextContent(text="Ciao {nome}")
CARD = RcsCard(title="Offerta", media=RcsMedia(file_url="https://example.com/promo.jpg", height="TALL"))


@pytest.fixture
async def sandbox(anyio_backend: str) -> AsyncIterator[Sandbox]:
    async with Sandbox(rate_limit=None) as sandbox:
        yield sandbox


@pytest.fixture
async def account(sandbox: Sandbox) -> AsyncIterator[QlaraClient]:
    async with QlaraClient(sandbox.api_key, base_url=sandbox.url, rate_limit=None) as qlara:
        yield qlara


class TestContent:
    async def test_the_guides_card_is_sent_as_it_shows_it(self, qlara: QlaraClient, gateway: WireGateway) -> None:
        gateway.default = answer(201)
        content = RcsCardContent(
            card_orientation="VERTICAL",
            thumbnail_alignment="LEFT",
            card=RcsCard(
                title="Offerta speciale",
                description="Solo oggi",
                media=RcsMedia(file_url="https://example.com/promo.jpg", height="TALL"),
                suggestions=[RcsSuggestion.link("Scopri", "https://example.com/promo")],
            ),
            fallback_sms=FallbackSms(sender="SHOP", text="Offerta speciale"),
        )
        await qlara.rcs.templates.create("rcs_promo", content, description="Promotion with image")
        assert (gateway.seen[0].method, gateway.seen[0].target) == ("POST", f"/api{TEMPLATES}")
        assert json.loads(gateway.seen[0].body) == {
            "name": "rcs_promo",
            "description": "Promotion with image",
            "type": "CARD",
            "body": {
                "cardOrientation": "VERTICAL",
                "thumbnailAlignment": "LEFT",
                "card": {
                    "title": "Offerta speciale",
                    "description": "Solo oggi",
                    "media": {"height": "TALL", "fileUrl": "https://example.com/promo.jpg"},
                    "suggestions": [{"type": "url", "text": "Scopri", "url": {"url": "https://example.com/promo"}}],
                },
                "fallbackSms": {"sender": "SHOP", "text": "Offerta speciale"},
            },
        }

    @pytest.mark.parametrize(
        ("content", "kind", "body"),
        [
            (
                RcsTextContent(
                    text="Ciao",
                    suggestions=[
                        RcsSuggestion.reply("Grazie!"),
                        RcsSuggestion.call("Chiama", "+39021234567"),
                        RcsSuggestion(type="location", text="Dove siamo", location={"query": "Milano"}),
                    ],
                ),
                "TEXT",
                {
                    "text": "Ciao",
                    "suggestions": [
                        {"type": "reply", "text": "Grazie!"},
                        {"type": "dial", "text": "Chiama", "dial": {"phoneNumber": "+39021234567"}},
                        {"type": "location", "text": "Dove siamo", "location": {"query": "Milano"}},
                    ],
                },
            ),
            (
                RcsCarouselContent(cards=[CARD, RcsCard(description="Due")], card_width="MEDIUM"),
                "CAROUSEL",
                {
                    "cards": [
                        {"title": "Offerta", "media": {"fileUrl": "https://example.com/promo.jpg", "height": "TALL"}},
                        {"description": "Due"},
                    ],
                    "cardWidth": "MEDIUM",
                },
            ),
            (RcsFormContent(content={"fields": [{"id": "cap"}]}), "FORM", {"fields": [{"id": "cap"}]}),
        ],
    )
    async def test_every_type_has_its_body(
        self, content: Any, kind: str, body: dict[str, Any], qlara: QlaraClient, gateway: WireGateway
    ) -> None:
        gateway.default = answer(200)
        await qlara.rcs.templates.update(5, "x", content, description="y", more={"agentId": 10, "name": "loses"})
        assert (gateway.seen[0].method, gateway.seen[0].target) == ("PUT", f"/api{TEMPLATES}/5")
        said = json.loads(gateway.seen[0].body)
        assert said == {"name": "x", "description": "y", "type": kind, "body": body, "agentId": 10}

    @pytest.mark.parametrize(
        "content",
        [
            RcsTextContent(text=""),
            RcsTextContent(text="Ciao", suggestions=[RcsSuggestion.link("Vai", "a.b")]),
            RcsTextContent(text="Ciao", suggestions=[RcsSuggestion.call("Vai", "subito")]),
            RcsTextContent(text="Ciao", suggestions=["Vai"]),  # type: ignore[list-item]
            RcsCarouselContent(cards=[CARD], card_width="MEDIUM"),
            RcsCarouselContent(cards=[CARD] * 11, card_width="MEDIUM"),
            RcsCarouselContent(cards=[CARD] * 2, card_width="WIDE"),  # type: ignore[arg-type]
            RcsCardContent(card=CARD, card_orientation="UP"),  # type: ignore[arg-type]
            RcsCardContent(
                card=RcsCard(media=RcsMedia(file_url="http://a.b/c", height="TALL")), card_orientation="VERTICAL"
            ),
            RcsFormContent(content={}),
            {"text": "Ciao"},
        ],
    )
    async def test_a_field_that_is_wrong_costs_no_request(
        self, content: Any, account: QlaraClient, sandbox: Sandbox
    ) -> None:
        with pytest.raises(ConfigurationError):
            await account.rcs.templates.create("x", content, description="y")
        assert list(sandbox.arrivals) == []

    async def test_a_template_has_a_name_and_a_description(self, account: QlaraClient, sandbox: Sandbox) -> None:
        for name, description in (("", "y"), ("x", "")):
            with pytest.raises(ConfigurationError):
                await account.rcs.templates.create(name, TEXT, description=description)
        assert list(sandbox.arrivals) == []

    @pytest.mark.parametrize(
        "fields",
        [
            {"type": "url"},
            {"type": "reply", "calendar": {"x": 1}},
            {"type": "calendar", "location": {"x": 1}},
            {"type": "calendar", "calendar": {"x": 1}, "location": {"x": 1}},
        ],
    )
    def test_a_suggestion_has_what_its_type_names_and_nothing_else(self, fields: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError):
            RcsSuggestion(text="Vai", **fields)

    def test_g11_no_content_shows_its_text(self) -> None:
        assert repr(RcsTextContent(text="Ciao Anna")) == "RcsTextContent()"
        assert repr(RcsSuggestion.call("Chiama Anna", "+39021234567")) == "RcsSuggestion(type='dial')"
        assert repr(CARD) == "RcsCard()"


class TestTemplates:
    async def test_a_template_is_created_read_replaced_and_deleted(self, account: QlaraClient) -> None:
        templates = account.rcs.templates
        content = RcsTextContent(text="Ciao {nome}", fallback_sms=FallbackSms(sender="ACME", text="{codice}"))
        made = await templates.create("saluto", content, description="hello")
        assert repr(made) == "RcsTemplateInfo(id=1, name='saluto', type='TEXT')"
        assert made.variables == Variables(frozenset({"nome", "codice"}))
        assert (await templates.get(made.id)).raw == made.raw
        replaced = await templates.update(
            made.id, "promo", RcsCardContent(card=CARD, card_orientation="VERTICAL"), description="promo"
        )
        assert (replaced.id, replaced.type, replaced.variables) == (made.id, "CARD", Variables())
        await templates.delete(made.id)
        for gone in (
            templates.get(made.id),
            templates.update(made.id, "x", TEXT, description="y"),
            templates.delete(made.id),
        ):
            with pytest.raises(NotFoundError):
                await gone

    async def test_the_list_holds_every_page(self, account: QlaraClient) -> None:
        for number in range(25):
            await account.rcs.templates.create(f"t{number}", TEXT, description="y")
        listed = [template.name async for template in account.rcs.templates.list()]
        assert listed == [f"t{number}" for number in range(25)]
        assert len([template async for template in account.rcs.templates.list(limit=11)]) == 11

    async def test_a_creation_answered_by_little_is_completed_by_what_was_sent(
        self, qlara: QlaraClient, gateway: WireGateway
    ) -> None:
        for said, template_id in ((b"7", 7), (b'{"templateId": "tmpl_1", "status": "created"}', "tmpl_1"), (b"", "")):
            gateway.script = [answer(201, said)]
            made = await qlara.rcs.templates.create("saluto", TEXT, description="hello")
            assert (made.id, made.name, made.body) == (template_id, "saluto", {"text": "Ciao {nome}"})

    async def test_a_creation_is_not_repeated_in_doubt(self, account: QlaraClient, sandbox: Sandbox) -> None:
        sandbox.fault(None, Fault.ERROR_AFTER, route="platform")
        with pytest.raises(InternalServerError):
            await account.rcs.templates.create("x", TEXT, description="y")
        assert list(sandbox.platform.rcs.templates) == [1]

    async def test_a_replacement_is_repeated(self, qlara: QlaraClient, gateway: WireGateway) -> None:
        gateway.script = [answer(500), answer(200)]
        await qlara.rcs.templates.update(5, "x", TEXT, description="y")
        assert gateway.seen[0].body == gateway.seen[1].body

    @pytest.mark.parametrize(
        ("kind", "body"),
        [
            ("TEXT", {"text": ""}),
            ("TEXT", {"text": "x", "fallbackSms": {"sender": "ACME"}}),
            ("CARD", {"title": "x"}),
            ("CAROUSEL", {"cards": [{}], "cardWidth": "MEDIUM"}),
            ("CAROUSEL", {"cards": [{}, {"suggestions": [{"type": "url", "text": "x"}]}], "cardWidth": "MEDIUM"}),
            ("LIST", {"text": "x"}),
        ],
    )
    async def test_the_sandbox_answers_400_to_what_is_no_template(
        self, kind: str, body: dict[str, Any], account: QlaraClient
    ) -> None:
        payload = {"name": "x", "description": "y", "type": kind, "body": body}
        with pytest.raises(BadRequestError):
            await account.request("POST", TEMPLATES, json=payload)

    async def test_the_sandbox_wants_a_body(self, sandbox: Sandbox) -> None:
        async with aiohttp.ClientSession(headers={"X-Api-Key": sandbox.api_key}) as session:
            async with session.post(f"{sandbox.url}{TEMPLATES}", data=b"{}") as got:
                assert got.status == 400


async def test_templates_are_made_once_for_each_view(qlara: QlaraClient) -> None:
    assert qlara.rcs.templates is qlara.rcs.templates
