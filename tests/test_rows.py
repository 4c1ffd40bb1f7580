from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlara_async.bulk.rows import message_from_row
from qlara_async.errors import InvalidMessageError
from qlara_async.models.message import FallbackSms, Rcs, Sms, WhatsApp

NUMBER = "+393401234567"
SMS = {"channel": "SMS", "destination": NUMBER, "sender": "ACME", "body": "Ciao"}
RCS = {"channel": "RCS", "destination": NUMBER, "agent_id": "10"}
WHATSAPP = {"channel": "WHATSAPP", "destination": NUMBER, "phone_number_id": "5"}


def refused(row: object) -> InvalidMessageError:
    with pytest.raises(InvalidMessageError) as caught:
        message_from_row(row)
    return caught.value


def test_a_message_passes_through() -> None:
    message = Sms(destination=NUMBER, sender="ACME", body="Ciao")
    assert message_from_row(message) is message


@pytest.mark.parametrize("channel", ["SMS", "sms", " Sms "])
def test_a_row_names_its_channel_in_any_case(channel: str) -> None:
    assert message_from_row(SMS | {"channel": channel}) == Sms(destination=NUMBER, sender="ACME", body="Ciao")


def test_a_csv_file_of_all_channels() -> None:
    text = (
        "\ufeffchannel,destination,sender,body,placeholders.nome,agentId,phone_number_id,template.name,"
        "template.language,fallbackSms.sender,fallback_sms.text,simulation,scheduled_date\n"
        f'SMS,{NUMBER},ACME,"Ciao, {{nome}} 😀",Mario,,,,,,,TRUE,2026-04-10T08:00:00+02:00\n'
        f"RCS,{NUMBER},,Ciao,,10,,,,ACME,Ciao,0,\n"
        f"WHATSAPP,{NUMBER},,,Mario,,5,greeting,it,,,,\n"
    )
    sms, rcs, whatsapp = map(message_from_row, csv.DictReader(io.StringIO(text)))
    assert sms == Sms(
        destination=NUMBER,
        sender="ACME",
        body="Ciao, {nome} 😀",
        placeholders={"nome": "Mario"},
        simulation=True,
        scheduled_date=datetime(2026, 4, 10, 6, tzinfo=UTC),
    )
    assert rcs == Rcs(
        destination=NUMBER, agent_id=10, body="Ciao", fallback_sms=FallbackSms(sender="ACME", text="Ciao")
    )
    assert whatsapp == WhatsApp(
        destination=NUMBER,
        phone_number_id=5,
        template={"name": "greeting", "language": "it"},
        placeholders={"nome": "Mario"},
    )


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (SMS | {"campaignId": "c"}, {"campaign_id": "c"}),
        (SMS | {"campaign_id": "", "message_id": None}, {"campaign_id": None, "message_id": None}),
        (SMS | {"enableNotification": "False"}, {"enable_notification": False}),
        (SMS | {"skip_rcs_override": "1", "simulation": False}, {"skip_rcs_override": True, "simulation": False}),
        (
            SMS | {"scheduledDate": "2026-04-10 08:00:00.000+0200"},
            {"scheduled_date": datetime(2026, 4, 10, 6, tzinfo=UTC)},
        ),
        (SMS | {"scheduled_date": "2026-04-10T08:00Z"}, {"scheduled_date": datetime(2026, 4, 10, 8, tzinfo=UTC)}),
        (SMS | {"body": "{nomeCliente}", "placeholders.nomeCliente": "1"}, {"placeholders": {"nomeCliente": "1"}}),
        (SMS | {"body": "{x}", "placeholders": {"x": "1"}}, {"placeholders": {"x": "1"}}),
    ],
)
def test_cells_become_what_the_field_needs(row: dict[str, Any], expected: dict[str, Any]) -> None:
    message = message_from_row(row)
    assert {name: getattr(message, name) for name in expected} == expected


def test_nested_columns_and_numbers_of_the_other_channels() -> None:
    assert message_from_row(RCS | {"templateId": "3", "max_sms_parts": " 2 "}) == Rcs(
        destination=NUMBER, agent_id=10, template_id=3, max_sms_parts=2
    )
    card = {"body.type": "CARD", "body.body.title": "Ciao", "body.body.media.fileUrl": "https://example.com/a.jpg"}
    body = {"type": "CARD", "body": {"title": "Ciao", "media": {"fileUrl": "https://example.com/a.jpg"}}}
    assert message_from_row(RCS | card) == Rcs(destination=NUMBER, agent_id=10, body=body)
    assert message_from_row(WHATSAPP | {"template": "42"}) == message_from_row(WHATSAPP | {"template.id": "42"})
    assert message_from_row(WHATSAPP | {"body": "a", "fallback_rcs": "true"}) == WhatsApp(
        destination=NUMBER, phone_number_id=5, body="a", fallback_rcs=True
    )
    fallbacks = {
        "fallbackRcs.agentId": "7",
        "fallbackRcs.templateId": "8",
        "fallbackSms": {"sender": "ACME", "text": "b"},
    }
    assert message_from_row(WHATSAPP | {"template": 42} | fallbacks) == WhatsApp(
        destination=NUMBER,
        phone_number_id=5,
        template=42,
        fallback_rcs={"agent_id": 7, "template_id": 8},
        fallback_sms={"sender": "ACME", "text": "b"},
    )


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({}, "channel"),
        ({"destination": NUMBER}, "channel"),
        (SMS | {"channel": ""}, "channel"),
        (SMS | {"channel": "FAX"}, "channel"),
        (SMS | {"channel": 3}, "channel"),
        (SMS | {"sender": ""}, "sender"),
        (SMS | {"colour": "red"}, "colour"),
        (SMS | {"colour.of": "red"}, "colour"),
        (SMS | {"agent_id": "10"}, "agent_id"),
        (SMS | {"campaign_id": "a", "campaignId": "b"}, "campaign_id"),
        (SMS | {"simulation": "yes"}, "simulation"),
        (SMS | {"simulation": 1}, "simulation"),
        (SMS | {"scheduled_date": "tomorrow"}, "scheduled_date"),
        (SMS | {"scheduled_date": "2026-04-10T08:00:00"}, "scheduled_date"),
        (SMS | {"body": "{nome}", "placeholders.nome": ""}, "placeholders.nome"),
        (SMS | {"placeholders": {"a": "1"}, "placeholders.b": "2"}, "placeholders.b"),
        (SMS | {"placeholders.b": "2", "placeholders": {"a": "1"}}, "placeholders"),
        (SMS | {"destination": 393401234567}, "destination"),
        (RCS | {"agent_id": "ten"}, "agent_id"),
        (RCS | {"agent_id": "1_0"}, "agent_id"),
        (RCS | {"agent_id": "٣"}, "agent_id"),
        (RCS | {"template_id": "9" * 19}, "template_id"),
        (RCS | {"body": "a", "fallback_sms.text": "b"}, "fallback_sms.sender"),
        (RCS | {"body": "a", "fallback_sms.colour": "b"}, "fallback_sms.colour"),
        (WHATSAPP | {"template": "greeting"}, "template"),
        (WHATSAPP | {"template": "42", "template.name": "greeting"}, "template.name"),
        (WHATSAPP | {"body": "a", "fallback_rcs": "maybe"}, "fallback_rcs"),
        (WHATSAPP | {"template.name": "greeting"}, "template.language"),
    ],
)
def test_a_bad_row_names_its_column(row: dict[str, Any], field: str) -> None:
    assert refused(row).field == field


def test_surplus_cells_are_an_error() -> None:
    (row,) = csv.DictReader(io.StringIO(f"channel,destination,sender,body\nSMS,{NUMBER},ACME,Ciao,surplus\n"))
    error = refused(row)
    assert error.field is None
    assert "surplus" not in str(error)


@pytest.mark.parametrize("row", [None, 7, "SMS", b"", ["SMS"], object()])
def test_what_is_neither_message_nor_mapping_is_refused(row: object) -> None:
    assert type(row).__name__ in str(refused(row))


def test_a_column_that_is_no_text_is_refused() -> None:
    assert refused({1: "x"}).field is None


def test_a_row_is_left_as_it_was() -> None:
    placeholders = {"x": "1"}
    row = {**SMS, "body": "{x}", "placeholders": placeholders}
    message_from_row(row)
    refused(row | {"placeholders.y": "2"})
    assert placeholders == {"x": "1"}
    assert row["channel"] == "SMS"


def test_g11_a_file_without_header_shows_none_of_its_first_row() -> None:
    (row,) = csv.DictReader(io.StringIO(f"{NUMBER},Ciao caro\n{NUMBER},Ciao ancora\n"))
    error = refused({**row, "channel": "SMS"})
    assert "340123" not in str(error)
    assert "caro" not in str(error)


CANARY = "canary-K7-3409876543"
columns = st.sampled_from(
    [
        *("channel", "destination", "sender", "body", "campaign_id", "messageId", "udh_data", "simulation"),
        *("scheduledDate", "placeholders", "placeholders.x", "agent_id", "template_id", "phoneNumberId", "template"),
        *("template.id", "template.name", "fallback_rcs", "fallback_rcs.agent_id", "fallback_sms.text"),
        *("fallbackSms.sender", "body.type", "body.body.text", "unknown", "a.b.c", CANARY),
    ]
)
cells: st.SearchStrategy[Any] = st.sampled_from(
    ["SMS", "RCS", "WHATSAPP", CANARY, "+" + CANARY, CANARY + "\ud800", "1", "true", "", None, 1, 1.5, object(), b""]
) | st.dictionaries(st.sampled_from(["x", "text", "agentId"]), st.just(CANARY))


def chain(error: BaseException | None) -> list[BaseException]:
    return [] if error is None else [error, *chain(error.__cause__ or error.__context__)]


def told_by(row: object) -> str:
    try:
        message_from_row(row)
    except InvalidMessageError as error:
        return " ".join(f"{link} {link!r}" for link in chain(error))
    return ""


@given(st.sampled_from([SMS, RCS, WHATSAPP]), st.dictionaries(columns, cells))
def test_g11_any_row_is_a_message_or_an_invalid_message_that_quotes_no_value(
    valid: Mapping[str, Any], changes: Mapping[str, Any]
) -> None:
    told = told_by({**valid, **changes})
    assert "canary" not in told
    assert "3409876543" not in told
