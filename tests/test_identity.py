from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st

from qlara_async.models.channel import Channel, DeliveryStatus
from qlara_async.models.events import Delivery, Inbound, Media, Read, UnknownEvent
from qlara_async.protocol.identity import Identity, fingerprint, identity

NOW = datetime(2026, 4, 9, 12, 0, tzinfo=UTC)


def delivery(**fields: Any) -> Identity:
    defaults: dict[str, Any] = {"channel": Channel.SMS, "message_id": "m1", "status": DeliveryStatus.DELIVERED}
    return identity(Delivery(**{**defaults, "received_at": NOW, **fields}))


def inbound(**fields: Any) -> Identity:
    defaults: dict[str, Any] = {"channel": Channel.SMS, "message_id": "m1", "source": "+39340", "text": "ok"}
    return identity(Inbound(**{**defaults, "received_at": NOW, **fields}))


def read(**fields: Any) -> Identity:
    return identity(Read(**{"channel": Channel.RCS, "message_id": "m1", "received_at": NOW, **fields}))


def test_when_and_how_a_delivery_was_told_does_not_matter() -> None:
    later = NOW + timedelta(hours=1)
    assert delivery() == delivery(occurred_at=NOW, received_at=later, raw=b"{}", description="Delivered", status_code=3)


def test_a_delivery_is_known_by_channel_id_outcome_and_part() -> None:
    others = [
        delivery(),
        delivery(channel=Channel.RCS),
        delivery(message_id="m2"),
        delivery(status=DeliveryStatus.ERROR),
        delivery(part=1),
        delivery(part=2),
        read(channel=Channel.SMS),
        inbound(),
    ]
    assert len({other.key for other in others}) == len(others)


def test_unknown_outcomes_are_told_apart_by_their_code() -> None:
    unknown = DeliveryStatus.UNKNOWN
    assert delivery(status=unknown, status_code=1).key != delivery(status=unknown, status_code=2).key
    assert delivery(status=unknown, status_code=1).key == delivery(status=unknown, status_code=1).key
    assert delivery(status_code=3).key == delivery(status_code=None).key


def test_a_delivery_that_means_something_else_has_another_digest() -> None:
    meanings: list[dict[str, Any]] = [
        {},
        {"destination": "+39340"},
        {"customer_message_id": "c"},
        {"total_parts": 2},
        {"price": 0.035},
    ]
    digests = {delivery(**fields).digest for fields in meanings}
    assert len(digests) == len(meanings)


def test_the_form_of_a_phone_number_means_nothing() -> None:
    assert delivery(destination="+39 340-123") == delivery(destination="0039340123") == delivery(destination="39340123")


def test_the_customers_id_stands_in_for_a_missing_id() -> None:
    assert delivery(message_id=None, customer_message_id="m1").key == delivery().key


def test_events_without_any_id_are_known_by_content_and_time_for_a_short_while() -> None:
    for make in (delivery, read, inbound):
        first = make(message_id=None, occurred_at=NOW)
        assert (first.ttl, first.digest) == ("short", b"")
        assert first == make(message_id=None, occurred_at=NOW, received_at=NOW + timedelta(minutes=15))
        assert first.key != make(message_id=None, occurred_at=NOW + timedelta(seconds=1)).key
        assert first.key != make(message_id=None, occurred_at=NOW, channel="VIBER").key
        assert make().ttl == "full"


def test_g6_events_without_id_and_readable_time_are_known_by_their_bytes() -> None:
    for make in (delivery, read, inbound):
        first = make(message_id=None, raw=b'{"timestamp":"8 Apr 2026 14:30:52"}')
        assert first == make(message_id=None, raw=b'{"timestamp":"8 Apr 2026 14:30:52"}', received_at=NOW)
        assert first.key != make(message_id=None, raw=b'{"timestamp":"8 Apr 2026 14:31:07"}').key


def test_an_inbound_message_is_known_by_its_id_and_means_its_content() -> None:
    meanings: list[dict[str, Any]] = [
        {},
        {"text": "no"},
        {"source": "+39341"},
        {"destination": "+39342"},
        {"message_type": "IMAGE"},
        {"media": Media(key="mk")},
    ]
    assert {inbound(**fields).key for fields in meanings} == {inbound().key}
    assert len({inbound(**fields).digest for fields in meanings}) == len(meanings)
    assert inbound() == inbound(occurred_at=NOW)


def test_a_read_receipt_is_known_by_channel_and_id() -> None:
    assert read().key == read(destination="+39340").key
    assert read().digest != read(destination="+39340").digest


def test_an_unknown_event_is_its_bytes() -> None:
    def unknown(raw: bytes) -> Identity:
        return identity(UnknownEvent(channel="", message_id=None, received_at=NOW, raw=raw))

    assert unknown(b"x") == unknown(b"x")
    assert unknown(b"x").key != unknown(b"y").key


def test_a_polled_event_has_the_callbacks_key_and_never_conflicts() -> None:
    polled = delivery(source_kind="poll", description="other words")
    assert (polled.key, polled.digest) == (delivery(price=0.1).key, b"")


statuses = st.sampled_from(DeliveryStatus)
parts = st.none() | st.integers(1, 3)
told = st.fixed_dictionaries(
    {
        "channel": st.sampled_from([Channel.SMS, Channel.RCS, "VIBER"]),
        "message_id": st.none() | st.sampled_from(["m1", "m2"]),
        "customer_message_id": st.none() | st.sampled_from(["m1", "c"]),
        "status": statuses,
        "status_code": st.sampled_from([None, 3, 6, 7]),
        "destination": st.none() | st.sampled_from(["+39340", "+39341"]),
        "price": st.none() | st.just(0.035),
        "occurred_at": st.none() | st.just(NOW),
        "source_kind": st.sampled_from(["callback", "poll"]),
    }
)


@given(told)
def test_the_only_part_of_a_message_is_the_message(fields: dict[str, Any]) -> None:
    whole = delivery(**fields)
    assert delivery(**fields, part=1, total_parts=1) == whole
    assert delivery(**fields, total_parts=1) == whole


@given(told, parts, parts, parts, parts)
def test_parts_are_told_apart_unless_there_is_but_one(
    fields: dict[str, Any], part: int | None, total: int | None, other: int | None, total_of_other: int | None
) -> None:
    one, two = (
        delivery(**fields, part=part, total_parts=total),
        delivery(**fields, part=other, total_parts=total_of_other),
    )

    def number(part: int | None, total: int | None) -> int | None:
        return None if (part, total) == (1, 1) else part

    assert (one.key == two.key) is (number(part, total) == number(other, total_of_other))


@given(told, told, parts)
def test_deliveries_of_one_key_have_one_channel_id_and_status(
    one: dict[str, Any], two: dict[str, Any], part: int | None
) -> None:
    if delivery(**one, part=part).key != delivery(**two, part=part).key:
        return
    assert [one[name] for name in ("channel", "status")] == [two[name] for name in ("channel", "status")]
    assert (one["message_id"] or one["customer_message_id"]) == (two["message_id"] or two["customer_message_id"])
    assert one["status"] is not DeliveryStatus.UNKNOWN or one["status_code"] == two["status_code"]


fields = st.lists(st.none() | st.text(max_size=4) | st.integers(-300, 300) | st.floats(allow_nan=False), max_size=4)


@given(fields, fields)
def test_different_fields_have_different_fingerprints(left: list[Any], right: list[Any]) -> None:
    assume([(type(field), field) for field in left] != [(type(field), field) for field in right])
    assert fingerprint(*left) != fingerprint(*right)


def test_fields_do_not_run_into_each_other() -> None:
    assert fingerprint("a", "bc") != fingerprint("ab", "c")
    assert fingerprint("a", None) != fingerprint("a", "") != fingerprint("a")


@given(
    st.builds(dict, message_id=st.text(min_size=1), part=st.none() | st.integers(1, 9), price=st.none() | st.floats())
)
def test_identities_have_fixed_size(fields: dict[str, Any]) -> None:
    found = delivery(**fields)
    assert (len(found.key), len(found.digest)) == (16, 16)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Identity) == found
