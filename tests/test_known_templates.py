"""Messages are checked against the templates that the client has seen, before they cost a request."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlara_async import (
    Channel,
    KnownTemplates,
    Message,
    QlaraClient,
    Rcs,
    RcsTemplateInfo,
    RcsTextContent,
    Sms,
    TemplateButton,
    TemplateCategory,
    WhatsApp,
    WhatsAppTemplateDraft,
    WhatsAppTemplateInfo,
    tracked_links,
)
from qlara_async.errors import InvalidMessageError, NotSentError, TemplateNotApprovedError, UnprocessableError
from qlara_async.models.variables import Variables
from qlara_async.protocol.template_rules import check_values, still_known
from qlara_async.sandbox import Sandbox
from qlara_async.testing.clock import VirtualClock

from .wire import WireGateway, answer

pytestmark = pytest.mark.anyio

NUMBER = "+393401234567"
NAMES = st.sets(st.sampled_from(["nome", "codice", "citta", "shortLinkT1"]))


@pytest.fixture
async def sandbox(clock: VirtualClock) -> AsyncIterator[Sandbox]:
    async with Sandbox(rate_limit=None, clock=clock) as sandbox:
        sandbox.platform.whatsapp.review_seconds = 0.0
        yield sandbox


@pytest.fixture
async def account(sandbox: Sandbox, clock: VirtualClock) -> AsyncIterator[QlaraClient]:
    async with QlaraClient(sandbox.api_key, base_url=sandbox.url, rate_limit=None, clock=clock) as qlara:
        yield qlara


def draft(**changes: Any) -> WhatsAppTemplateDraft:
    fields: dict[str, Any] = {
        "name": "ordine_spedito",
        "lang": "it",
        "category": TemplateCategory.UTILITY,
        "body": "Ciao {nome}, il tuo ordine {codice} è partito.",
    }
    return WhatsAppTemplateDraft(**fields | changes)


def message(template: Any = 42, **fields: Any) -> WhatsApp:
    return WhatsApp(destination=NUMBER, phone_number_id=5, template=template, **fields)


def info(status: str | None = "APPROVED", template_id: int = 42, **fields: Any) -> WhatsAppTemplateInfo:
    known: dict[str, Any] = {"name": "ordine", "language": "it", "body": "Ciao {nome}"}
    return WhatsAppTemplateInfo(id=template_id, status=status, **known | fields)


def knowing(*templates: WhatsAppTemplateInfo | RcsTemplateInfo, **options: Any) -> KnownTemplates:
    known = KnownTemplates(**options)
    for template in templates:
        known.see(template)
    return known


class TestRule:
    @given(NAMES, NAMES, st.none() | NAMES)
    def test_values_fit_if_and_only_if_each_has_its_use_and_each_use_its_value(
        self, names: set[str], given: set[str], elsewhere: set[str] | None
    ) -> None:
        unused = set() if elsewhere is None else given - names - elsewhere - {"shortLinkT1"}
        fits = names <= given and not unused
        variables = Variables(frozenset(names))
        if fits:
            check_values(variables, given, used_elsewhere=elsewhere)
            return
        with pytest.raises(InvalidMessageError) as caught:
            check_values(variables, given, used_elsewhere=elsewhere)
        assert str(caught.value.field).removeprefix("placeholders.") in (names - given) | unused

    @given(NAMES, st.integers(1, 4), NAMES)
    def test_of_variables_with_numbers_only_the_number_counts(
        self, names: set[str], numbered: int, given: set[str]
    ) -> None:
        fits = names <= given and len(given) - len(names) >= numbered
        with nullcontext() if fits else pytest.raises(InvalidMessageError):
            check_values(Variables(frozenset(names), numbered), given, used_elsewhere=())

    def test_names_outlive_the_numbers_of_a_list(self) -> None:
        named, numbered = Variables(frozenset({"a", "b"})), Variables(numbered=2)
        assert still_known(named, numbered) == named
        assert still_known(named, None) == named
        assert still_known(None, numbered) == numbered
        assert still_known(named, Variables(numbered=3)) == Variables(numbered=3)
        assert still_known(numbered, named) == named


class TestGate:
    @pytest.mark.parametrize("template", [42, {"name": "ordine", "language": "IT"}])
    async def test_faq_template_variables_that_do_not_match_are_refused(self, template: Any) -> None:
        known = knowing(info())
        fits = message(template, placeholders={"nome": "Anna"})
        assert await known.check(fits) is fits
        for bad, field in (({}, "nome"), ({"nome": "Anna", "cognome": "Rossi"}, "cognome"), ({"name": "A"}, "nome")):
            with pytest.raises(InvalidMessageError) as caught:
                await known.check(message(template, placeholders=bad))
            assert caught.value.field == f"placeholders.{field}"
            assert "Anna" not in str(caught.value)

    @pytest.mark.parametrize(
        "other",
        [
            Sms(destination=NUMBER, sender="ACME", body="Ciao"),
            WhatsApp(destination=NUMBER, phone_number_id=5, body="Ciao"),
            Rcs(destination=NUMBER, agent_id=1, body="Ciao"),
            Rcs(destination=NUMBER, agent_id=1, template_id=42),
            message(43),
            message({"name": "ordine", "language": "en"}),
            message({"id": 42, "parameters": ["Anna"]}),
        ],
    )
    async def test_what_refers_to_no_template_that_is_known_passes(self, other: Message) -> None:
        assert await knowing(info()).check(other) is other

    @pytest.mark.parametrize(("status", "said"), [("PENDING", "under review"), ("rejected", "was rejected")])
    async def test_faq_a_template_that_is_not_approved_is_refused(self, status: str, said: str) -> None:
        good = message(placeholders={"nome": "Anna"}, message_id="m1")
        with pytest.raises(TemplateNotApprovedError, match=said) as caught:
            await knowing(info(status)).check(good)
        assert (caught.value.reason, caught.value.message_id) == ("template_not_approved", "m1")

    @pytest.mark.parametrize("status", ["APPROVED", "ACTIVE", "", None])
    async def test_a_word_that_does_not_say_no_refuses_nothing(self, status: str | None) -> None:
        await knowing(info(status)).check(message(placeholders={"nome": "Anna"}))

    async def test_a_refusal_is_believed_for_a_while_only(self, clock: VirtualClock) -> None:
        known = knowing(info("PENDING"), clock=clock)
        good = message(placeholders={"nome": "Anna"})
        await clock.advance(299)
        with pytest.raises(TemplateNotApprovedError):
            await known.check(good)
        await clock.advance(1)
        assert await known.check(good) is good
        assert await knowing(info("PENDING"), believe_for=0).check(good) is good

    async def test_values_need_not_be_checked(self) -> None:
        known = knowing(info(), check_values=False)
        await known.check(message())
        known.see(info("PENDING"))
        with pytest.raises(TemplateNotApprovedError):
            await known.check(message())

    async def test_of_templates_with_one_name_one_must_fit(self) -> None:
        known = knowing(info("REJECTED", template_id=1), info(template_id=2))
        named = {"name": "ordine", "language": "it"}
        await known.check(message(named, placeholders={"nome": "Anna"}))
        with pytest.raises(NotSentError):
            await known.check(message(1, placeholders={"nome": "Anna"}))
        known.forget(Channel.WHATSAPP, 2)
        with pytest.raises(NotSentError):
            await known.check(message(named, placeholders={"nome": "Anna"}))

    @pytest.mark.parametrize(
        ("fallbacks", "fits"),
        [
            ({"fallback_sms": {"sender": "ACME", "text": "{codice}"}}, True),
            ({"fallback_sms": {"sender": "ACME", "text": "Ciao"}}, False),
            ({"fallback_rcs": True}, True),
            (
                {
                    "fallback_sms": {"sender": "ACME", "text": "Ciao"},
                    "fallback_rcs": {"agent_id": 1, "body": "{codice}"},
                },
                True,
            ),
            (
                {"fallback_sms": {"sender": "ACME", "text": "Ciao"}, "fallback_rcs": {"agent_id": 1, "template_id": 8}},
                True,
            ),
            (
                {"fallback_sms": {"sender": "ACME", "text": "Ciao"}, "fallback_rcs": {"agent_id": 1, "template_id": 9}},
                False,
            ),
            (
                {"fallback_sms": {"sender": "ACME", "text": "Ciao"}, "fallback_rcs": {"agent_id": 1, "template_id": 7}},
                True,
            ),
        ],
    )
    async def test_a_value_may_be_for_a_fallback(self, fallbacks: dict[str, Any], fits: bool) -> None:
        rcs = [RcsTemplateInfo(id=8, body={"text": "{codice}"}), RcsTemplateInfo(id=9, body={"text": "Ciao"})]
        known = knowing(info(), *rcs)
        asked = message(placeholders={"nome": "Anna", "codice": "A-17"}, **fallbacks)
        if fits:
            assert await known.check(asked) is asked
        else:
            with pytest.raises(InvalidMessageError):
                await known.check(asked)

    async def test_a_rcs_template_is_checked_too(self) -> None:
        known = knowing(RcsTemplateInfo(id=7, body={"text": "Ciao {nome}", "fallbackSms": {"text": "{codice}"}}))
        fields: dict[str, Any] = {"destination": NUMBER, "agent_id": 1, "template_id": 7}
        await known.check(Rcs(**fields, placeholders={"nome": "Anna", "codice": "A-17"}))
        with pytest.raises(InvalidMessageError, match=r"placeholders\.codice"):
            await known.check(Rcs(**fields, placeholders={"nome": "Anna"}))

    async def test_a_template_of_which_little_is_told_refuses_little(self) -> None:
        known = knowing(WhatsAppTemplateInfo(), RcsTemplateInfo(), RcsTemplateInfo(id=7))
        await known.check(Rcs(destination=NUMBER, agent_id=1, template_id=7, placeholders={"x": "y"}))
        known.forget(Channel.RCS, 7)
        known.forget(Channel.RCS, 7)
        assert repr(known) == "KnownTemplates(<0 templates>)"

    async def test_a_template_without_an_id_is_known_by_its_name(self) -> None:
        known = knowing(WhatsAppTemplateInfo(name="ordine", language="it", body="Ciao {nome}"))
        with pytest.raises(InvalidMessageError):
            await known.check(message({"name": "ordine", "language": "it"}))


class TestClient:
    async def test_it_learns_from_what_it_creates_reads_and_lists(
        self, account: QlaraClient, sandbox: Sandbox, clock: VirtualClock
    ) -> None:
        sandbox.platform.whatsapp.review_seconds = 60.0
        made = await account.whatsapp.templates.create(draft(), phone_number_id=5)
        asked = len(sandbox.arrivals)
        values = {"nome": "Anna", "codice": "A-17"}
        with pytest.raises(TemplateNotApprovedError):
            await account.send(message(int(made.id), placeholders=values))
        assert len(sandbox.arrivals) == asked
        await clock.advance(60)
        async for _ in account.whatsapp.templates.list():
            pass
        await account.send(message(int(made.id), placeholders=values))
        asked = len(sandbox.arrivals)
        with pytest.raises(InvalidMessageError, match=r"placeholders\.codice"):
            await account.send(message(int(made.id), placeholders={"nome": "Anna"}))
        assert len(sandbox.arrivals) == asked

    async def test_a_change_and_a_deletion_are_taken_note_of(self, account: QlaraClient) -> None:
        templates = account.whatsapp.templates
        made = await templates.create(draft(), phone_number_id=5)
        await templates.update(made.id, body="Ciao {nome}")
        with pytest.raises(TemplateNotApprovedError):
            await account.send(message(int(made.id), placeholders={"nome": "Anna"}))
        await templates.wait_until_approved(made.id)
        await account.send(message(int(made.id), placeholders={"nome": "Anna"}))
        await templates.delete(made.id)
        await account.send(message(int(made.id), placeholders={"x": "y"}))

    async def test_rcs_templates_are_taken_note_of_likewise(self, account: QlaraClient) -> None:
        templates = account.rcs.templates
        made = await templates.create("saluto", RcsTextContent(text="Ciao {nome}"), description="hello")
        with pytest.raises(InvalidMessageError):
            await account.rcs.send(destination=NUMBER, agent_id=1, template_id=int(made.id))
        await templates.update(made.id, "saluto", RcsTextContent(text="Ciao"), description="hello")
        await account.rcs.send(destination=NUMBER, agent_id=1, template_id=int(made.id))
        with pytest.raises(InvalidMessageError):
            await account.rcs.send(
                destination=NUMBER, agent_id=1, template_id=int(made.id), placeholders={"nome": "Anna"}
            )
        await templates.delete(made.id)
        await account.rcs.send(destination=NUMBER, agent_id=1, template_id=int(made.id), placeholders={"nome": "Anna"})

    async def test_a_change_whose_answer_says_nothing_leaves_nothing_known(
        self, qlara: QlaraClient, gateway: WireGateway
    ) -> None:
        gateway.script = [answer(200, b'{"id": 42, "body": "Ciao {nome}"}'), answer(200, b"")]
        await qlara.whatsapp.templates.get(42)
        with pytest.raises(InvalidMessageError):
            await qlara.send(message())
        await qlara.whatsapp.templates.update(42, body="Ciao")
        await qlara.send(message())

    async def test_a_replacement_whose_answer_says_nothing_is_known_by_what_was_sent(
        self, qlara: QlaraClient, gateway: WireGateway
    ) -> None:
        gateway.script = [answer(200, b"")]
        changed = await qlara.rcs.templates.update(5, "x", RcsTextContent(text="{nome}"), description="y")
        assert changed.id == 5
        with pytest.raises(InvalidMessageError):
            await qlara.rcs.send(destination=NUMBER, agent_id=1, template_id=5)

    async def test_in_bulk_a_row_that_does_not_fit_is_an_outcome(
        self, account: QlaraClient, sandbox: Sandbox, tmp_path: Path
    ) -> None:
        good = await account.whatsapp.templates.create(draft(), phone_number_id=5)
        await account.whatsapp.templates.wait_until_approved(good.id)
        bad = await account.whatsapp.templates.create(draft(name="altro"), phone_number_id=5)
        sandbox.platform.whatsapp.review(bad.id, "REJECTED")
        await account.whatsapp.templates.get(bad.id)
        values = {"nome": "Anna", "codice": "A-17"}
        rows = [
            message(int(good.id), placeholders=values),
            message(int(good.id), placeholders={"nome": "Anna"}),
            message(int(bad.id), placeholders=values),
        ]
        for journal in (None, tmp_path / "campaign.db"):
            async with account.bulk(rows, ordered=True, journal=journal) as job:
                outcomes = [outcome async for outcome in job]
            assert [outcome.state for outcome in outcomes] == ["accepted", "invalid", "skipped"]
            assert outcomes[2].reason == "template_not_approved"
        estimate = await account.estimate(rows)
        assert (estimate.messages, estimate.invalid, estimate.skipped) == (1, 1, {"template_not_approved": 1})

    async def test_clients_may_share_what_they_know(self, sandbox: Sandbox, clock: VirtualClock) -> None:
        known = KnownTemplates(clock=clock)
        options: dict[str, Any] = {"base_url": sandbox.url, "rate_limit": None, "clock": clock, "templates": known}
        async with QlaraClient(sandbox.api_key, **options) as one, QlaraClient(sandbox.api_key, **options) as other:
            made = await one.whatsapp.templates.create(draft(), phone_number_id=5)
            with pytest.raises(TemplateNotApprovedError):
                await other.with_options().send(message(int(made.id), placeholders={"nome": "A", "codice": "B"}))

    async def test_a_client_that_has_seen_none_asks_nothing(self, qlara: QlaraClient, gateway: WireGateway) -> None:
        await qlara.send(message())
        assert len(gateway.seen) == 1
        assert json.loads(gateway.seen[0].body)["template"] == {"id": 42}


class TestSandbox:
    """The sandbox knows its templates, whatever the client has seen of them."""

    @pytest.fixture
    async def blind(self, sandbox: Sandbox, account: QlaraClient, clock: VirtualClock) -> AsyncIterator[QlaraClient]:
        async with QlaraClient(sandbox.api_key, base_url=sandbox.url, rate_limit=None, clock=clock) as qlara:
            yield qlara

    async def test_faq_422_template_variables_do_not_match(self, account: QlaraClient, blind: QlaraClient) -> None:
        links = tracked_links("https://acme.example")
        buttons = [TemplateButton.link("Traccia", "https://acme.example/{codice}")]
        body = draft(body="Ciao {nome}: {shortLinkT1}", buttons=buttons, placeholder_fields=links)
        made = await account.whatsapp.templates.create(body, phone_number_id=5)
        good = {"nome": "Anna", "codice": "A-17", **links}
        for template in (made.id, {"name": "ordine_spedito", "language": "it"}):
            await blind.send(message(template, placeholders=good))
            for bad in (links, {**good, "cognome": "Rossi"}):
                with pytest.raises(UnprocessableError, match="placeholders"):
                    await blind.send(message(template, placeholders=bad))
        sms = {"sender": "ACME", "text": "{cognome}"}
        await blind.send(message(made.id, placeholders={**good, "cognome": "Rossi"}, fallback_sms=sms))
        await blind.send(message({"id": made.id, "parameters": ["Anna"]}))

    async def test_a_template_that_is_not_approved_is_a_422(
        self, account: QlaraClient, blind: QlaraClient, sandbox: Sandbox
    ) -> None:
        made = await account.whatsapp.templates.create(draft(body="Ciao"), phone_number_id=5)
        sandbox.platform.whatsapp.review(made.id, "PENDING")
        with pytest.raises(UnprocessableError, match="not approved"):
            await blind.send(message(made.id))
        sandbox.platform.whatsapp.review(made.id, "APPROVED")
        await blind.send(message(made.id))

    async def test_rcs_values_must_fit_too(self, account: QlaraClient, blind: QlaraClient) -> None:
        made = await account.rcs.templates.create("saluto", RcsTextContent(text="Ciao {nome}"), description="hello")
        fields: dict[str, Any] = {"destination": NUMBER, "agent_id": 1, "template_id": made.id}
        await blind.rcs.send(**fields, placeholders={"nome": "Anna"})
        with pytest.raises(UnprocessableError, match="lacks a variable"):
            await blind.rcs.send(**fields)
