from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlara_async.models.message import Message, Rcs, Sms, WhatsApp
from qlara_async.protocol.encoding import encode_message

NUMBER = "+393401234567"
ENVELOPE = {
    "destination",
    "campaignId",
    "messageId",
    "simulation",
    "enableNotification",
    "placeholders",
    "scheduledDate",
}
FIELDS = {
    Sms: ENVELOPE | {"sender", "body", "udhData", "skipRcsOverride"},
    Rcs: ENVELOPE | {"agentId", "body", "templateId", "maxSmsParts", "fallbackSms"},
    WhatsApp: ENVELOPE | {"phoneNumberId", "template", "body", "fallbackRcs", "fallbackSms"},
}

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="{}"), min_size=1, max_size=100)
ids = st.integers(1, 2**63 - 1)
offsets = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
dates = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=offsets)
fallback_sms = st.fixed_dictionaries({"sender": st.just("ACME"), "text": texts})
envelope: dict[str, st.SearchStrategy[Any]] = {
    "campaign_id": st.none() | texts,
    "message_id": st.none() | st.uuids().map(str),
    "simulation": st.booleans(),
    "enable_notification": st.booleans(),
    "scheduled_date": st.none() | dates,
}
destinations = st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True)
messages = st.one_of(
    st.builds(
        Sms,
        destination=destinations,
        sender=st.sampled_from(["ACME", "3401234567", "A & B"]),
        body=texts,
        udh_data=st.none() | st.just("06050415810000"),
        skip_rcs_override=st.booleans(),
        **envelope,
    ),
    st.builds(
        Rcs,
        destination=destinations,
        agent_id=ids,
        body=texts,
        max_sms_parts=st.none() | ids,
        fallback_sms=st.none() | fallback_sms,
        **envelope,
    ),
    st.builds(Rcs, destination=destinations, agent_id=ids, template_id=ids, **envelope),
    st.builds(
        WhatsApp,
        destination=destinations,
        phone_number_id=ids,
        template=ids | st.fixed_dictionaries({"name": texts, "language": st.just("it")}),
        fallback_rcs=st.fixed_dictionaries({"agent_id": ids, "body": texts}),
        fallback_sms=fallback_sms,
        **envelope,
    ),
    st.builds(
        WhatsApp,
        destination=destinations,
        phone_number_id=ids,
        body=texts | st.dictionaries(texts, texts, min_size=1, max_size=3),
        fallback_rcs=st.none() | st.booleans(),
        **envelope,
    ),
)


@given(messages)
def test_any_message_decodes_to_the_apis_own_field_names(message: Message) -> None:
    encoded = encode_message(message)
    decoded = json.loads(encoded)
    assert decoded.keys() <= FIELDS[type(message)]
    assert decoded["destination"] == message.destination
    assert decoded.get("messageId") == message.message_id
    assert decoded.get("simulation", False) is message.simulation
    assert decoded.get("enableNotification", True) is message.enable_notification
    assert None not in decoded.values()
    assert encode_message(message) == encoded


@given(messages)
def test_a_scheduled_date_is_the_same_instant_in_the_apis_pattern(message: Message) -> None:
    written = json.loads(encode_message(message)).get("scheduledDate")
    if message.scheduled_date is None:
        assert written is None
        return
    assert len(written) == len("yyyy-MM-dd HH:mm:ss.SSS+0000")
    read = datetime.strptime(written, "%Y-%m-%d %H:%M:%S.%f%z")
    assert timedelta(0) <= message.scheduled_date - read < timedelta(milliseconds=1)
    assert read.utcoffset() == message.scheduled_date.utcoffset()


def decoded(message: Message) -> Any:
    return json.loads(encode_message(message))


def test_defaults_and_absent_fields_are_left_out() -> None:
    message = Sms(destination=NUMBER, sender="MyBrand", body="Ciao, il tuo ordine è stato spedito!", placeholders={})
    assert decoded(message) == {
        "destination": NUMBER,
        "sender": "MyBrand",
        "body": "Ciao, il tuo ordine è stato spedito!",
    }


def test_all_sms_fields_are_sent_under_their_names() -> None:
    message = Sms(
        destination=NUMBER,
        sender="ACME",
        body="{nome}",
        campaign_id="conferma-ordini-2026-04",
        message_id="id-1",
        udh_data="06050415810000",
        simulation=True,
        enable_notification=False,
        placeholders={"nome": "Mario"},
        scheduled_date=datetime(2026, 4, 10, 8, tzinfo=timezone(timedelta(hours=2))),
        skip_rcs_override=True,
    )
    assert decoded(message) == {
        "destination": NUMBER,
        "sender": "ACME",
        "body": "{nome}",
        "campaignId": "conferma-ordini-2026-04",
        "messageId": "id-1",
        "udhData": "06050415810000",
        "simulation": True,
        "enableNotification": False,
        "placeholders": {"nome": "Mario"},
        "scheduledDate": "2026-04-10 08:00:00.000+0200",
        "skipRcsOverride": True,
    }


def test_an_rcs_text_is_sent_as_the_page_shows_it() -> None:
    message = Rcs(destination=NUMBER, agent_id=10, body="Ciao!", fallback_sms={"sender": "ACME", "text": "Ciao"})
    assert decoded(message) == {
        "destination": NUMBER,
        "agentId": 10,
        "body": {"type": "TEXT", "body": {"text": "Ciao!"}},
        "fallbackSms": {"sender": "ACME", "text": "Ciao"},
    }


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({"body": "Ciao", "fallback_rcs": True}, {"body": "Ciao", "fallbackRcs": True}),
        ({"template": {"name": "greeting", "language": "it"}}, {"template": {"name": "greeting", "language": "it"}}),
        ({"template": 42}, {"template": {"id": 42}}),
        ({"body": {"type": "IMAGE", "any_key": {"x": [1]}}}, {"body": {"type": "IMAGE", "any_key": {"x": [1]}}}),
        (
            {
                "template": 42,
                "fallback_rcs": {"agent_id": 1, "template_id": 2},
                "fallback_sms": {"sender": "ACME", "text": "b"},
            },
            {
                "template": {"id": 42},
                "fallbackRcs": {"agentId": 1, "templateId": 2},
                "fallbackSms": {"sender": "ACME", "text": "b"},
            },
        ),
    ],
)
@pytest.mark.parametrize("scheduled", [None, datetime(2026, 4, 10, tzinfo=UTC)])
def test_whatsapp_shapes_of_the_faq_are_sent_as_they_are(
    fields: dict[str, Any], sent: dict[str, Any], scheduled: datetime | None
) -> None:
    message = WhatsApp(destination=NUMBER, phone_number_id=5, scheduled_date=scheduled, **fields)
    date = {} if scheduled is None else {"scheduledDate": "2026-04-10 00:00:00.000+0000"}
    assert decoded(message) == {"destination": NUMBER, "phoneNumberId": 5, **sent, **date}


@pytest.mark.parametrize(
    ("date", "written"),
    [
        (datetime(2026, 4, 10, 8, 0, 0, 2999, UTC), "2026-04-10 08:00:00.002+0000"),
        (datetime(2026, 4, 10, 8, tzinfo=timezone(-timedelta(hours=3, minutes=30))), "2026-04-10 08:00:00.000-0330"),
        (datetime(2026, 4, 10, 8, tzinfo=timezone(timedelta(seconds=2996))), "2026-04-10 07:10:04.000+0000"),
    ],
)
def test_dates_have_milliseconds_and_whole_minutes_of_offset(date: datetime, written: str) -> None:
    assert decoded(Sms(destination=NUMBER, sender="A", body="b", scheduled_date=date))["scheduledDate"] == written


def test_equal_messages_give_equal_bytes_whatever_the_order_of_their_placeholders() -> None:
    first, second = (
        Sms(destination=NUMBER, sender="A", body="{a}{b}", placeholders=placeholders)
        for placeholders in ({"a": "1", "b": "2"}, {"b": "2", "a": "1"})
    )
    assert first == second
    assert encode_message(first) == encode_message(second)
