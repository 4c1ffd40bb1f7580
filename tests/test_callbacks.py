from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlara_async.models.channel import Channel, DeliveryStatus
from qlara_async.models.events import Delivery, Event, Inbound, Read, UnknownEvent
from qlara_async.protocol.callbacks import MAX_EVENTS, body_kind, decode_callbacks

NOW = datetime(2026, 4, 9, 12, 0, tzinfo=UTC)
FORM = "application/x-www-form-urlencoded"


def decode(body: bytes | dict[str, Any] | list[Any], content_type: str = "application/json") -> Event:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    (event,) = decode_callbacks(raw, content_type, received_at=NOW)
    assert event.received_at == NOW
    return event


def delivery(**fields: Any) -> Delivery:
    event = decode({"eventType": "DELIVERY", "channel": "SMS", "messageId": "m1", **fields})
    assert isinstance(event, Delivery)
    return event


def inbound(**fields: Any) -> Inbound:
    event = decode({"eventType": "INBOUND", "channel": "RCS", "messageId": "m1", **fields})
    assert isinstance(event, Inbound)
    return event


def test_sms_delivery() -> None:
    raw = (
        b'{"channel":"SMS","eventType":"DELIVERY","messageId":"uuid","statusCode":3,"statusDescription":"Delivered",'
        b'"price":0.035,"numPart":1,"totalParts":2,"timestamp":"2024-01-15T10:30:00Z"}'
    )
    assert decode(raw) == Delivery(
        channel=Channel.SMS,
        message_id="uuid",
        occurred_at=datetime(2024, 1, 15, 10, 30, tzinfo=UTC),
        received_at=NOW,
        raw=raw,
        status=DeliveryStatus.DELIVERED,
        status_code=3,
        description="Delivered",
        part=1,
        total_parts=2,
        price=0.035,
    )


def test_rcs_delivery_and_read() -> None:
    fields = {
        "channel": "RCS",
        "messageId": "uuid",
        "destination": "+393401234567",
        "eventDate": "2025-10-16T10:42:18Z",
    }
    failed = decode({**fields, "eventType": "DELIVERY", "statusCode": 6, "description": "undeliverable"})
    assert isinstance(failed, Delivery)
    assert (failed.channel, failed.status, failed.description) == (Channel.RCS, DeliveryStatus.ERROR, "undeliverable")
    read = decode({**fields, "eventType": "READ"})
    assert isinstance(read, Read)
    assert read.destination == "+393401234567"
    assert read.occurred_at == datetime(2025, 10, 16, 10, 42, 18, tzinfo=UTC)


def test_rcs_inbound_text_and_media() -> None:
    event = inbound(
        source="+393471488489",
        destination="+393209998877",
        receivedDate="2025-10-31T10:59:05.099Z",
        messageType="TEXT",
        text="User reply message",
    )
    assert (event.source, event.destination, event.text) == ("+393471488489", "+393209998877", "User reply message")
    assert event.occurred_at == datetime(2025, 10, 31, 10, 59, 5, 99000, tzinfo=UTC)
    media = inbound(source="+39347", messageType="image", mediaKey="mk_1")
    assert (media.message_type, media.media and media.media.key, media.text) == ("IMAGE", "mk_1", "")


def test_unified_shapes() -> None:
    told = delivery(
        customerMessageId="order-12345", destination="+39340", statusCode=3, description="Message delivered"
    )
    assert (told.customer_message_id, told.destination, told.part) == ("order-12345", "+39340", None)
    event = decode(
        {"eventType": "INBOUND", "source": "+39340", "destination": "+39341", "text": "Yes", "channel": "SMS"}
    )
    assert isinstance(event, Inbound)
    assert (event.message_id, event.text, event.message_type) == (None, "Yes", "TEXT")


def test_nested_inbound_media() -> None:
    event = inbound(
        **{"from": "+393471234567", "to": "+393801234567", "timestamp": "2026-04-09T14:22:10Z"},
        content={"type": "IMAGE", "caption": "Foto danno", "mimeType": "image/jpeg", "mediaKey": "mk_a1"},
    )
    assert (event.source, event.destination, event.message_type) == ("+393471234567", "+393801234567", "IMAGE")
    assert event.media is not None
    assert (event.media.key, event.media.mime_type, event.media.caption) == ("mk_a1", "image/jpeg", "Foto danno")
    assert event.text == "Foto danno"


def test_nested_inbound_text() -> None:
    assert inbound(content={"type": "TEXT", "text": "ciao"}).text == "ciao"


@pytest.mark.parametrize("status", ["SENT", "DELIVERED", "ERROR", "EXPIRED"])
def test_old_lower_case_shape(status: str) -> None:
    event = decode(
        {
            "messageId": "msg_1",
            "customerMessageId": "ref",
            "phoneNumber": "+39390",
            "status": status,
            "timestamp": "2025-04-08T14:30:00Z",
            "channel": "sms",
            "error": "no route" if status == "ERROR" else None,
        }
    )
    assert isinstance(event, Delivery)
    assert (event.channel, event.status, event.destination) == (Channel.SMS, DeliveryStatus(status), "+39390")
    assert event.description == ("no route" if status == "ERROR" else None)


def test_old_shape_that_says_read_is_a_read_event() -> None:
    assert isinstance(decode({"messageId": "m", "status": "read", "channel": "whatsapp"}), Read)


def test_dedicated_number_inbound() -> None:
    raw = b"originator=%2B39340&destination=39341&date_time=20260408143052&text=S%C3%AC+grazie"
    assert decode(raw, f"{FORM}; charset=UTF-8") == Inbound(
        channel=Channel.SMS,
        message_id=None,
        occurred_at=datetime(2026, 4, 8, 14, 30, 52, tzinfo=UTC),
        received_at=NOW,
        raw=raw,
        source="+39340",
        destination="39341",
        text="Sì grazie",
    )


def test_dedicated_number_inbound_without_words() -> None:
    event = decode(b"originator=39340&destination=39341&date_time=20260408143052&text=", FORM)
    assert isinstance(event, Inbound)
    assert event.text == ""


def test_an_array_is_many_events_each_with_its_own_bytes() -> None:
    body = b' [ {"eventType":"READ","messageId":"a"} , 5, {"eventType":"\xff"},{"eventType":"TYPING"} ]'
    events = decode_callbacks(body, "application/json", received_at=NOW)
    assert [type(event) for event in events] == [Read, UnknownEvent, UnknownEvent, UnknownEvent]
    assert [event.raw for event in events] == [
        b'{"eventType":"READ","messageId":"a"}',
        b"5",
        b'{"eventType":"\xff"}',
        b'{"eventType":"TYPING"}',
    ]


def test_an_item_that_nests_too_deeply_does_not_take_its_neighbours_along() -> None:
    deep = b'{"eventType":"READ","a":' + b"[" * 64 + b"]" * 64 + b"}"
    events = decode_callbacks(b'[{"eventType":"READ"},%b]' % deep, "application/json", received_at=NOW)
    assert [type(event) for event in events] == [Read, UnknownEvent]
    assert events[1].raw == deep


@pytest.mark.parametrize("text", [b'{"eventType":"READ","messageId":"m"}', b'[{"eventType":"READ","messageId":"m"}]'])
def test_a_byte_order_mark_is_ignored(text: bytes) -> None:
    event = decode(b"\xef\xbb\xbf" + text)
    assert (type(event), event.message_id) == (Read, "m")


def test_of_a_repeated_key_the_last_counts() -> None:
    assert decode(b'{"eventType":"READ","messageId":"a","messageId":"b"}').message_id == "b"


@given(st.lists(st.dictionaries(st.text(), st.text() | st.lists(st.text(), max_size=3), max_size=3), max_size=6))
def test_the_items_of_an_array_keep_their_bytes(items: list[dict[str, Any]]) -> None:
    written = [json.dumps(item).encode() for item in items]
    events = decode_callbacks(b"[ " + b" ,\n".join(written) + b"]", "application/json", received_at=NOW)
    assert [event.raw for event in events] == written


def test_half_an_emoji_does_not_take_the_other_items_along() -> None:
    items = [b'{"eventType":"READ","messageId":"\\\\u\\ud83d"}', b'{"eventType":"READ","messageId":"\\u00e9"}']
    events = decode_callbacks(b"[%b,%b]" % tuple(items), "application/json", received_at=NOW)
    assert [(type(event), event.message_id, event.raw) for event in events] == [
        (UnknownEvent, None, items[0]),
        (Read, "é", items[1]),
    ]


def test_an_empty_array_holds_no_event() -> None:
    assert decode_callbacks(b"[]", "application/json", received_at=NOW) == []


def test_an_endless_array_stays_whole() -> None:
    body = msgspec.json.encode([{}] * (MAX_EVENTS + 1))
    event = decode(body)
    assert isinstance(event, UnknownEvent)
    assert event.raw == body


@pytest.mark.parametrize(
    ("body", "content_type", "reason"),
    [
        (b"", "application/json", "not JSON"),
        (b'{"a":', "application/json", "not JSON"),
        (b'{"text":"\\ud800"}', "application/json", "not JSON"),
        (b'{"text":"\xff"}', "application/json", "not UTF-8"),
        (b'"text"', "application/json", "not a JSON object"),
        (b"null", "application/json", "not a JSON object"),
        (b'{"a":' * 100_000, "application/json", "nested too deeply"),
        (b"[" * 100_000, "application/json", "nested too deeply"),
        (b'{"eventType":"READ","a":' + b"[" * 64 + b"]" * 64 + b"}", "application/json", "nested too deeply"),
        ('{"eventType":"READ"}'.encode("utf-16"), "application/json", "not UTF-8"),
        ('{"eventType":"READ"}'.encode("utf-16-le"), "application/json", "not JSON"),
        (b'{"eventType":"READ","price":NaN}', "application/json", "not JSON"),
        (b'{"eventType":"READ","messageId":' + b"1" * 5000 + b"}", "application/json", "not JSON"),
        (b"text=%FF&originator=1", FORM, "not UTF-8"),
        (b"text=\xff&originator=1", FORM, "not UTF-8"),
        (b"&".join([b"a=1"] * 1000), FORM, "a form of more than 100 fields"),
        (b"a=1", FORM, "no event type"),
        (b"{}", "application/json", "no event type"),
    ],
)
def test_what_cannot_be_decoded_is_kept(body: bytes, content_type: str, reason: str) -> None:
    event = decode(body, content_type)
    assert isinstance(event, UnknownEvent)
    assert (event.reason, event.raw) == (reason, body)


def test_an_unknown_type_keeps_what_could_be_read() -> None:
    event = decode({"eventType": "clicked", "channel": "rcs", "messageId": "m", "timestamp": 1744122600, "new": [1]})
    assert isinstance(event, UnknownEvent)
    assert (event.event_type, event.channel, event.message_id) == ("CLICKED", Channel.RCS, "m")
    assert event.occurred_at == datetime(2025, 4, 8, 14, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("code", "status", "kept"),
    [
        (3, DeliveryStatus.DELIVERED, 3),
        ("3", DeliveryStatus.DELIVERED, 3),
        (" 6 ", DeliveryStatus.ERROR, 6),
        (3.0, DeliveryStatus.DELIVERED, 3),
        (0, DeliveryStatus.UNKNOWN, 0),
        (-1, DeliveryStatus.UNKNOWN, -1),
        ("E17", DeliveryStatus.UNKNOWN, "E17"),
        ("", DeliveryStatus.UNKNOWN, None),
        (True, DeliveryStatus.UNKNOWN, None),
        ([3], DeliveryStatus.UNKNOWN, None),
        (10**40, DeliveryStatus.UNKNOWN, None),
    ],
)
def test_status_codes(code: object, status: DeliveryStatus, kept: object) -> None:
    event = delivery(statusCode=code)
    assert (event.status, event.status_code) == (status, kept)


def test_an_unknown_code_yields_to_a_known_status() -> None:
    event = delivery(statusCode=17, status="expired")
    assert (event.status, event.status_code) == (DeliveryStatus.EXPIRED, 17)


def test_an_unknown_status_word_is_kept_as_the_code() -> None:
    event = delivery(status="buffered")
    assert (event.status, event.status_code) == (DeliveryStatus.UNKNOWN, "BUFFERED")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2025-04-08T14:30:00Z", 0),
        ("2025-04-08T16:30:00+02:00", 0),
        ("2025-04-08T16:30:00.000+0200", 0),
        (" 2025-04-08 14:30:00 ", 0),
        ("20250408143000", 0),
        (20250408143000, 0),
        (1744122600, 0),
        ("1744122600", 0),
        (1744122600.5, 0.5),
        ("1744122600.5", 0.5),
        (1744122600500, 0.5),
        ("1744122600500", 0.5),
    ],
)
def test_times(value: object, expected: float) -> None:
    moment = delivery(timestamp=value).occurred_at
    assert moment is not None
    assert moment.utcoffset() is not None
    assert moment - datetime(2025, 4, 8, 14, 30, tzinfo=UTC) == timedelta(seconds=expected)


BEYOND = ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"]
"""What is in UTC of no year from 1 to 9999."""


@pytest.mark.parametrize("value", ["", "soon", "20251399143000", -5, 10**18, True, None, {}, "9" * 400, 1e300, *BEYOND])
def test_unreadable_times_are_none(value: object) -> None:
    assert delivery(timestamp=value).occurred_at is None


def test_the_first_readable_time_counts() -> None:
    assert delivery(timestamp="soon", eventDate="2025-04-08T14:30:00Z").occurred_at is not None


@pytest.mark.parametrize(
    ("given", "kept"), [("sms", Channel.SMS), (" WhatsApp ", Channel.WHATSAPP), ("viber", "VIBER")]
)
def test_channels_in_any_case(given: str, kept: object) -> None:
    assert delivery(channel=given).channel == kept


def test_values_of_the_wrong_type_are_absent_and_the_rest_is_read() -> None:
    event = delivery(channel=7, messageId=12345, statusCode=3, price="0.5", numPart="2", totalParts=0, description=[])
    assert (event.channel, event.message_id, event.status) == ("", "12345", DeliveryStatus.DELIVERED)
    assert (event.price, event.part, event.total_parts, event.description) == (0.5, 2, None, None)


@pytest.mark.parametrize(
    "key", ["../webhooks/delivery-status", "a/b", "a%2Fb", "", ".", "a" * 129, "mk_1\n", "mk 1", 7]
)
def test_a_media_key_that_could_leave_its_path_is_dropped(key: object) -> None:
    event = inbound(messageType="IMAGE", mediaKey=key)
    assert event.media is None
    assert msgspec.json.decode(event.raw)["mediaKey"] == key


def test_parts_count_from_one() -> None:
    event = delivery(numPart=0, totalParts=2)
    assert (event.part, event.total_parts) == (None, 2)


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        (None, "json"),
        ("", "json"),
        ("application/json", "json"),
        ("Application/JSON; charset=utf-8", "json"),
        ("application/cloudevents+json", "json"),
        (FORM, "form"),
        ("text/plain", None),
        ("multipart/form-data", None),
    ],
)
def test_content_types(content_type: str | None, kind: str | None) -> None:
    assert body_kind(content_type) == kind


@given(st.binary(max_size=300), st.sampled_from(["application/json", FORM, "text/plain", ""]))
def test_no_bytes_raise(body: bytes, content_type: str) -> None:
    for event in decode_callbacks(body, content_type, received_at=NOW):
        assert event.received_at == NOW
        assert event.raw in body


FIELDS = [
    "eventType",
    "channel",
    "messageId",
    "customerMessageId",
    "status",
    "statusCode",
    "description",
    "statusDescription",
    "error",
    "destination",
    "phoneNumber",
    "numPart",
    "totalParts",
    "price",
    "timestamp",
    "eventDate",
    "receivedDate",
    "date_time",
    "source",
    "originator",
    "from",
    "to",
    "text",
    "messageType",
    "mediaKey",
    "mimeType",
    "caption",
    "content",
]
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["DELIVERY", "READ", "INBOUND", "3", "2025-04-08T14:30:00Z", "sms"])
)
values = (
    scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.sampled_from(["type", "text", "mediaKey"]), scalars)
)
callbacks = st.dictionaries(st.sampled_from(FIELDS), values)


@given(callbacks)
def test_no_object_raises_and_all_fields_are_sound(fields: dict[str, Any]) -> None:
    event = decode(fields)
    assert event.message_id != ""
    assert event.occurred_at is None or event.occurred_at.utcoffset() is not None
    if isinstance(event, Inbound):
        assert isinstance(event.text, str)
    if isinstance(event, Delivery):
        assert event.part is None or event.part >= 1


@given(callbacks)
def test_the_quick_and_the_patient_way_agree(fields: dict[str, Any]) -> None:
    quick = decode({"eventType": "DELIVERY", **fields})
    # A value of a wrong type in a field that no event shows sends the same object the patient way.
    patient = decode({"eventType": "DELIVERY", **fields, "error": 0, "mimeType": 0, "caption": 0, "originator": 0.5})
    if not {"error", "mimeType", "caption", "originator"} & fields.keys():
        assert msgspec.structs.replace(patient, raw=b"") == msgspec.structs.replace(quick, raw=b"")
