from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.pretty import pprint

from qlara_async.errors import InvalidMessageError
from qlara_async.models.channel import Channel
from qlara_async.models.message import (
    FallbackRcs,
    FallbackSms,
    Message,
    Rcs,
    RcsContent,
    Sms,
    WhatsApp,
    WhatsAppTemplate,
    build,
    fix_message_id,
)
from qlara_async.models.text import Segments

NUMBER = "+393401234567"
CANARIES = ("3409876543", "CanarySendr", "Sonderbarer Text", "Geheimer Wert")


def sms(**fields: Any) -> Sms:
    return Sms(**{"destination": NUMBER, "sender": "ACME", "body": "Ciao", **fields})


def rcs(**fields: Any) -> Rcs:
    return Rcs(**{"destination": NUMBER, "agent_id": 10, **fields})


def whatsapp(**fields: Any) -> WhatsApp:
    return WhatsApp(**{"destination": NUMBER, "phone_number_id": 5, **fields})


def refused(make: Callable[[], object]) -> InvalidMessageError:
    with pytest.raises(InvalidMessageError) as caught:
        make()
    return caught.value


@pytest.mark.parametrize(
    "fields",
    [
        {"destination": "+1234567"},
        {"destination": "+123456789012345"},
        {"sender": "A"},
        {"sender": "ABCDEFGHIJK"},
        {"sender": "3M"},
        {"sender": "A & B_c-d.1"},
        {"sender": "1234567890123456"},
        {"sender": "+1234567890123456"},
        {"campaign_id": "c" * 255},
        {"message_id": "m" * 255},
        {"message_id": "è-1"},
        {"udh_data": "070645670000"},
        {"udh_data": "ab" * 136},
        {"placeholders": {}},
        {"body": "{x}", "placeholders": {"x": "{x}"}},
        {"scheduled_date": datetime(2026, 4, 10, 8, tzinfo=UTC)},
        {"body": "a" * 153 * 255},
        {"body": "я" * 67 * 255},
        {"body": "{x}" * 100, "placeholders": {"x": "a" * 390}},
    ],
)
def test_an_sms_within_the_limits_is_taken(fields: dict[str, Any]) -> None:
    assert isinstance(sms(**fields), Sms)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"destination": "393401234567"}, "destination"),
        ({"destination": "+123456"}, "destination"),
        ({"destination": "+1234567890123456"}, "destination"),
        ({"destination": "+0393401234"}, "destination"),
        ({"destination": "+39 3401234567"}, "destination"),
        ({"destination": NUMBER + "\n"}, "destination"),
        ({"destination": "+٣٩٣٤٠١٢٣٤٥٦٧"}, "destination"),
        ({"destination": 393401234567}, "destination"),
        ({"destination": None}, "destination"),
        ({"sender": ""}, "sender"),
        ({"sender": "ABCDEFGHIJKL"}, "sender"),
        ({"sender": "12345678901234567"}, "sender"),
        ({"sender": "340 123"}, "sender"),
        ({"sender": "Caffè"}, "sender"),
        ({"sender": "ACME!"}, "sender"),
        ({"sender": 340}, "sender"),
        ({"body": ""}, "body"),
        ({"body": None}, "body"),
        ({"body": b"Ciao"}, "body"),
        ({"body": "half \ud83d"}, "body"),
        ({"body": "a" * (153 * 255 + 1)}, "body"),
        ({"body": "я" * (67 * 255 + 1)}, "body"),
        ({"body": "{x}", "placeholders": {"x": ""}}, "body"),
        ({"body": "{x}" * 100, "placeholders": {"x": "a" * 391}}, "body"),
        ({"body": "a" * 3000, "udh_data": "ab" * 130}, "body"),
        ({"body": "a" * 3000, "udh_data": "ab" * 134}, "udh_data"),
        ({"campaign_id": "c" * 256}, "campaign_id"),
        ({"campaign_id": 7}, "campaign_id"),
        ({"message_id": ""}, "message_id"),
        ({"message_id": "m" * 256}, "message_id"),
        ({"message_id": "a,b"}, "message_id"),
        ({"message_id": "a b"}, "message_id"),
        ({"message_id": "a\x00"}, "message_id"),
        ({"message_id": "a\ud800"}, "message_id"),
        ({"message_id": 1}, "message_id"),
        ({"udh_data": ""}, "udh_data"),
        ({"udh_data": "abc"}, "udh_data"),
        ({"udh_data": "zz"}, "udh_data"),
        ({"udh_data": "ab" * 141}, "udh_data"),
        ({"udh_data": 12}, "udh_data"),
        ({"simulation": 1}, "simulation"),
        ({"simulation": None}, "simulation"),
        ({"enable_notification": "true"}, "enable_notification"),
        ({"skip_rcs_override": 0}, "skip_rcs_override"),
        ({"placeholders": ["x"]}, "placeholders"),
        ({"placeholders": {1: "x"}}, "placeholders"),
        ({"placeholders": {"no-name": "x"}}, "placeholders"),
        ({"body": "{x}", "placeholders": {"x": 1}}, "placeholders.x"),
        ({"body": "{x}", "placeholders": {"x": "\ud800"}}, "placeholders.x"),
        ({"body": "{x}"}, "placeholders.x"),
        ({"body": "{x}{y}", "placeholders": {"x": "1"}}, "placeholders.y"),
        ({"body": "{x}", "placeholders": {"x": "1", "z": "2"}}, "placeholders.z"),
        ({"scheduled_date": datetime(2026, 4, 10, 8)}, "scheduled_date"),
        ({"scheduled_date": "2026-04-10 08:00:00.000+0200"}, "scheduled_date"),
    ],
)
def test_a_wrong_sms_field_is_named_before_a_request_is_spent(fields: dict[str, Any], field: str) -> None:
    assert refused(lambda: sms(**fields)).field == field


def test_a_missing_placeholder_tells_how_to_send_braces() -> None:
    assert 'give it the value "{x}"' in str(refused(lambda: sms(body="{x}")))


def test_segments_are_those_of_the_rendered_text_and_know_the_header() -> None:
    message = sms(body="{x}", placeholders={"x": "a" * 161})
    assert message.segments == Segments("GSM-7", 2, 161, 153)
    assert sms(body="a" * 152, udh_data="06050415810000").segments == Segments("GSM-7", 1, 152, 152)
    assert sms(body="a" * 153, udh_data="06050415810000").segments == Segments("GSM-7", 2, 153, 146)


TEXT = {"type": "TEXT", "body": {"text": "Ciao"}}
CARD = {"type": "CARD", "body": {"title": "Ciao {nome}", "suggestions": [{"type": "reply", "text": "{azione}"}]}}


@pytest.mark.parametrize("body", ["Ciao", TEXT, MappingProxyType(TEXT), RcsContent(type="TEXT", body={"text": "Ciao"})])
def test_an_rcs_body_may_be_text_mapping_or_content(body: Any) -> None:
    assert rcs(body=body).body == RcsContent(type="TEXT", body={"text": "Ciao"})


@pytest.mark.parametrize(
    "fields",
    [
        {"template_id": 3},
        {"template_id": 3, "placeholders": {"anything": "x"}},
        {"body": CARD, "placeholders": {"nome": "Mario", "azione": "Vai"}},
        {"body": {"type": "FORM", "body": {"fields": []}}},
        {"body": "a" * 1024},
        {"body": "{x}" * 1000, "placeholders": {"x": "a"}},
        {
            "body": "a",
            "max_sms_parts": 2,
            "fallback_sms": {"sender": "ACME", "text": "{x}"},
            "placeholders": {"x": "1"},
        },
        {"body": "a", "fallback_sms": FallbackSms(sender="ACME", text="b")},
    ],
)
def test_an_rcs_message_within_the_rules_is_taken(fields: dict[str, Any]) -> None:
    assert isinstance(rcs(**fields), Rcs)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "body"),
        ({"body": "a", "template_id": 3}, "body"),
        ({"agent_id": "10", "body": "a"}, "agent_id"),
        ({"agent_id": True, "body": "a"}, "agent_id"),
        ({"agent_id": 0, "body": "a"}, "agent_id"),
        ({"agent_id": 2**63, "body": "a"}, "agent_id"),
        ({"template_id": "3"}, "template_id"),
        ({"body": ""}, "body"),
        ({"body": 7}, "body"),
        ({"body": "a" * 1025}, "body"),
        ({"body": "{x}", "placeholders": {"x": "a" * 1025}}, "body"),
        ({"body": {"type": "TEXT"}}, "body.body"),
        ({"body": {"type": "TEXT", "body": {}}}, "body.body"),
        ({"body": {"type": "TEXT", "body": {"text": ""}}}, "body.body.text"),
        ({"body": {"type": "text", "body": {"text": "a"}}}, "body.type"),
        ({"body": {"type": "TEXT", "body": {"text": "a"}, "extra": 1}}, "body.extra"),
        ({"body": {"type": "CARD", "body": {"media": object()}}}, "body.body"),
        ({"body": {"type": "CARD", "body": {"title": "\ud800"}}}, "body.body"),
        ({"body": CARD, "placeholders": {"nome": "Mario"}}, "placeholders.azione"),
        ({"body": CARD, "placeholders": {"nome": "M", "azione": "A", "altro": "x"}}, "placeholders.altro"),
        ({"body": "a", "max_sms_parts": 0}, "max_sms_parts"),
        ({"body": "a", "fallback_sms": {"sender": "ACME"}}, "fallback_sms.text"),
        ({"body": "a", "fallback_sms": {"text": "b"}}, "fallback_sms.sender"),
        ({"body": "a", "fallback_sms": {"sender": "ACME", "text": ""}}, "fallback_sms.text"),
        ({"body": "a", "fallback_sms": {"sender": "ACME", "text": "я" * 20_000}}, "fallback_sms.text"),
        ({"body": "a", "fallback_sms": True}, "fallback_sms"),
        ({"body": "a", "fallback_sms": {"sender": "ACME", "text": "{x}"}}, "placeholders.x"),
        ({"template_id": 3, "fallback_sms": {"sender": "ACME", "text": "{x}"}}, "placeholders.x"),
    ],
)
def test_a_wrong_rcs_field_is_named(fields: dict[str, Any], field: str) -> None:
    assert refused(lambda: rcs(**fields)).field == field


def test_content_nested_beyond_reason_is_an_invalid_message() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert refused(lambda: rcs(body={"type": "CARD", "body": {"x": deep}})).field == "body.body"


SMS_FALLBACK = {"sender": "ACME", "text": "b"}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (42, WhatsAppTemplate(id=42)),
        ({"id": 42}, WhatsAppTemplate(id=42)),
        ({"name": "greeting", "language": "it"}, WhatsAppTemplate(name="greeting", language="it")),
        (
            {"name": "greeting", "language": "it", "parameters": ("a",)},
            WhatsAppTemplate(name="greeting", language="it", parameters=["a"]),
        ),
    ],
)
def test_a_whatsapp_template_may_be_an_id_or_as_the_faq_shows_it(template: Any, expected: WhatsAppTemplate) -> None:
    assert whatsapp(template=template, placeholders={"anything": "x"}).template == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"body": "a" * 4096},
        {"body": {"type": "IMAGE", "body": {"url": "https://example.com/a.jpg"}}},
        {"body": "Ciao {nome}", "placeholders": {"nome": "Mario"}},
        {"body": "a", "fallback_rcs": True},
        {"body": "a", "fallback_sms": SMS_FALLBACK},
        {
            "body": "a",
            "fallback_rcs": {"agentId": 1, "body": "{x}"},
            "fallback_sms": SMS_FALLBACK,
            "placeholders": {"x": "1"},
        },
        {"body": "a", "fallback_rcs": {"agent_id": 1, "template_id": 2}, "fallback_sms": SMS_FALLBACK},
        {"body": "a", "fallback_rcs": FallbackRcs(agent_id=1, template_id=2), "fallback_sms": SMS_FALLBACK},
    ],
)
def test_a_whatsapp_message_within_the_rules_is_taken(fields: dict[str, Any]) -> None:
    assert isinstance(whatsapp(**fields), WhatsApp)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "body"),
        ({"body": "a", "template": 42}, "body"),
        ({"phone_number_id": "5", "body": "a"}, "phone_number_id"),
        ({"body": ""}, "body"),
        ({"body": {}}, "body"),
        ({"body": 7}, "body"),
        ({"body": "a" * 4097}, "body"),
        ({"body": {"type": "TEXT", "body": {"text": "{x}"}}}, "placeholders.x"),
        ({"body": "a", "placeholders": {"x": "1"}}, "placeholders.x"),
        ({"body": "a", "fallback_rcs": True, "placeholders": {"x": "1"}}, "placeholders.x"),
        ({"template": True}, "template"),
        ({"template": 0}, "template"),
        ({"template": "greeting"}, "template"),
        ({"template": {}}, "template.id"),
        ({"template": {"id": 1, "name": "a", "language": "it"}}, "template.id"),
        ({"template": {"id": 1, "language": "it"}}, "template.language"),
        ({"template": {"name": "greeting"}}, "template.language"),
        ({"template": {"name": "greeting", "language": "it", "parameters": "x"}}, "template.parameters"),
        ({"template": {"name": "greeting", "lang": "it"}}, "template.lang"),
        ({"template": {"id": "42"}}, "template.id"),
        ({"body": "a", "fallback_rcs": {"agent_id": 1, "body": "b"}}, "fallback_sms"),
        ({"body": "a", "fallback_rcs": {"agent_id": 1}, "fallback_sms": SMS_FALLBACK}, "fallback_rcs.body"),
        ({"body": "a", "fallback_rcs": {"body": "b"}, "fallback_sms": SMS_FALLBACK}, "fallback_rcs.agent_id"),
        ({"body": "a", "fallback_rcs": 1}, "fallback_rcs"),
        ({"body": "a", "fallback_rcs": "yes"}, "fallback_rcs"),
        (
            {"body": "a", "fallback_rcs": {"agent_id": 1, "agentId": 1, "body": "b"}, "fallback_sms": SMS_FALLBACK},
            "fallback_rcs.agent_id",
        ),
        (
            {"body": "a", "fallback_rcs": {"agent_id": 1, "body": "b" * 1025}, "fallback_sms": SMS_FALLBACK},
            "fallback_rcs.body",
        ),
        (
            {"body": "a", "fallback_rcs": {"agent_id": 1, "body": "{y}"}, "fallback_sms": SMS_FALLBACK},
            "placeholders.y",
        ),
    ],
)
def test_a_wrong_whatsapp_field_is_named(fields: dict[str, Any], field: str) -> None:
    assert refused(lambda: whatsapp(**fields)).field == field


def test_false_as_rcs_fallback_is_no_fallback() -> None:
    assert whatsapp(body="a", fallback_rcs=False) == whatsapp(body="a")


def test_a_message_keeps_no_hold_of_what_the_caller_may_change() -> None:
    placeholders = {"x": "1"}
    content: dict[str, Any] = {"type": "CARD", "body": {"cards": ["{x}"]}}
    message = rcs(body=content, placeholders=placeholders)
    before = pickle.dumps(message)
    placeholders["x"] = "2"
    content["body"]["cards"].append("more")
    assert pickle.dumps(message) == before


def test_an_id_is_minted_once_and_stays() -> None:
    message = sms()
    assert message.message_id is None
    assert fix_message_id(message, lambda: "one") == "one"
    assert fix_message_id(message, lambda: "two") == "one"
    assert message.message_id == "one"
    assert fix_message_id(sms(message_id="mine"), lambda: "two") == "mine"


def test_messages_are_frozen() -> None:
    with pytest.raises(AttributeError):
        sms().body = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    "message",
    [
        sms(message_id="id-1", scheduled_date=datetime(2026, 4, 10, tzinfo=UTC)),
        rcs(body=CARD, placeholders={"nome": "M", "azione": "A"}),
        whatsapp(template=42, fallback_rcs={"agent_id": 1, "body": "b"}, fallback_sms=SMS_FALLBACK),
    ],
)
def test_messages_pickle_copy_and_replace(message: Message) -> None:
    assert pickle.loads(pickle.dumps(message)) == message
    assert copy.copy(message) == message
    assert copy.deepcopy(message) == message
    assert msgspec.structs.replace(message, campaign_id="c").campaign_id == "c"
    assert refused(lambda: msgspec.structs.replace(message, destination="x")).field == "destination"


def test_each_class_knows_its_channel() -> None:
    assert (Sms.channel, Rcs.channel, WhatsApp.channel) == (Channel.SMS, Channel.RCS, Channel.WHATSAPP)


def canary_messages() -> list[object]:
    number, sender, text, value = "+" + CANARIES[0], *CANARIES[1:]
    fallback = FallbackSms(sender=sender, text=text)
    content = RcsContent(type="TEXT", body={"text": text})
    common: dict[str, Any] = {"destination": number, "placeholders": {"x": value}, "campaign_id": text}
    return [
        fallback,
        content,
        FallbackRcs(agent_id=1, body=content),
        WhatsAppTemplate(name=text, language="it", parameters=[value]),
        Sms(**common, sender=sender, body=text + "{x}", message_id="id-1"),
        Rcs(**common, agent_id=1, body=text + "{x}", fallback_sms=fallback),
        WhatsApp(**common, phone_number_id=1, body=text + "{x}", fallback_rcs=True),
        WhatsApp(**common, phone_number_id=1, template={"name": text, "language": "it"}),
    ]


@pytest.mark.parametrize("message", canary_messages(), ids=lambda message: type(message).__name__)
def test_g11_no_number_sender_text_or_value_in_any_repr(message: object) -> None:
    console = Console(file=io.StringIO(), width=200)
    pprint(message, console=console)
    assert isinstance(console.file, io.StringIO)
    shown = f"{message!r} {message} {console.file.getvalue()}"
    assert type(message).__name__ in shown
    assert not [canary for canary in CANARIES if canary in shown]


def test_repr_shows_class_channel_and_id() -> None:
    assert repr(sms(message_id="id-1")) == "Sms(channel='SMS', message_id='id-1')"
    assert repr(FallbackSms(sender="ACME", text="b")) == "FallbackSms()"


def chain(error: BaseException | None) -> list[BaseException]:
    return [] if error is None else [error, *chain(error.__cause__ or error.__context__)]


def outcome(make: Callable[[], object]) -> tuple[str, str | None]:
    try:
        make()
    except InvalidMessageError as error:
        return " ".join(f"{link} {link!r}" for link in chain(error)), error.field
    return "", None


CANARY = "canary-K7-3409876543"
canary_values = st.recursive(
    st.sampled_from([CANARY, "+" + CANARY, CANARY + "\ud800", CANARY * 400, 12345, -1, 1.5, None, True, b"", object()]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(st.sampled_from(["type", "body", "text", "sender", "agentId", "id", "name", CANARY]), inner),
    ),
    max_leaves=6,
)
VALID: list[tuple[type[Message], dict[str, Any]]] = [
    (Sms, {"destination": NUMBER, "sender": "ACME", "body": "Ciao"}),
    (Rcs, {"destination": NUMBER, "agent_id": 10, "body": "Ciao"}),
    (WhatsApp, {"destination": NUMBER, "phone_number_id": 5, "body": "Ciao"}),
]


@given(st.data())
def test_g11_whatever_a_field_holds_it_is_taken_or_an_invalid_message_that_does_not_quote_it(
    data: st.DataObject,
) -> None:
    cls, valid = data.draw(st.sampled_from(VALID))
    fields: Mapping[str, Any] = valid | data.draw(
        st.dictionaries(st.sampled_from(cls.__struct_fields__), canary_values, min_size=1, max_size=3)
    )
    told, field = outcome(lambda: build(cls, fields))
    assert field is None or field.split(".")[0] in cls.__struct_fields__
    assert "canary" not in told
    assert "3409876543" not in told
