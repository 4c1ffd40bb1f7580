"""What is known of one message: a join over callbacks and polls (guarantees G10 and G13)."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from qlara_async import Sms, WhatsApp
from qlara_async.models.answers import ChannelResult, MessageStatus, Receipt
from qlara_async.models.channel import Channel, DeliveryStatus
from qlara_async.models.events import Delivery, Read
from qlara_async.protocol.identity import identity
from qlara_async.tracking.book import Book
from qlara_async.tracking.polling import Schedule
from qlara_async.tracking.record import Record, Report, StatusChange, poll_report, record_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FAILED = {DeliveryStatus.ERROR, DeliveryStatus.EXPIRED}
SENT, RECEIVED, DELIVERED, READ, ERROR = (
    DeliveryStatus.SENT,
    DeliveryStatus.RECEIVED,
    DeliveryStatus.DELIVERED,
    DeliveryStatus.READ,
    DeliveryStatus.ERROR,
)


def delivery(status: DeliveryStatus, channel: str = "SMS", part: int | None = None, total: int | None = None) -> Report:
    return Delivery(channel=channel, message_id="m", status=status, part=part, total_parts=total, received_at=NOW)


def polled(status: DeliveryStatus, channel: Channel) -> Report:
    return poll_report(MessageStatus(message_id="m", channel=channel, status=status), NOW)


def record(channel: Channel = Channel.SMS, *fallbacks: Channel, parts: int | None = None) -> Record:
    totals = {Channel.SMS.value: parts} if parts else {}
    return Record(message_id="m", channel=channel, sent_at=0.0, fallbacks=fallbacks, totals=totals)


def hear(one: Record, reports: list[Report]) -> list[StatusChange]:
    return [change for report in reports if (change := one.hear(report)[1]) is not None]


channels = st.sampled_from(list(Channel))
callbacks = st.one_of(
    st.builds(delivery, st.sampled_from([DELIVERED, ERROR, DeliveryStatus.UNKNOWN]), channels),
    st.builds(delivery, st.sampled_from([DELIVERED, ERROR]), st.just("SMS"), st.integers(1, 3), st.integers(2, 3)),
    st.builds(lambda channel: Read(channel=channel, message_id="m", received_at=NOW), channels),
)
polls = st.builds(
    polled,
    st.sampled_from([SENT, RECEIVED, DELIVERED, ERROR, DeliveryStatus.EXPIRED]),
    channels,
)
chains = st.sampled_from([(Channel.SMS,), (Channel.RCS, Channel.SMS), (Channel.WHATSAPP, Channel.RCS, Channel.SMS)])


@settings(max_examples=400)
@given(chains, st.lists(callbacks | polls, min_size=1, max_size=10), st.data())
def test_g10_g13_neither_order_nor_number_nor_source_matters(
    chain: tuple[Channel, ...], reports: list[Report], data: st.DataObject
) -> None:
    doubled = data.draw(st.permutations(reports + data.draw(st.lists(st.sampled_from(reports), max_size=10))))
    one, other = record(*chain), record(*chain)
    hear(one, reports)
    changes = hear(other, doubled)
    assert (one.status, one.final) == (other.status, other.final)
    told = Counter("FAILED" if change.status in FAILED else change.status for change in changes)
    assert set(told.values()) <= {1}
    ranks = [change.status for change in changes]
    assert [change.previous for change in changes] == [DeliveryStatus.UNKNOWN, *ranks[:-1]][: len(ranks)]
    if other.final:
        assert changes[-1].status is other.status or {changes[-1].status, other.status} <= FAILED
        assert changes[-1].final
    assert not (not other.final and any(change.status in FAILED for change in changes))


@given(chains, st.lists(callbacks | polls, max_size=10))
def test_a_record_survives_its_file(chain: tuple[Channel, ...], reports: list[Report]) -> None:
    one = record(*chain)
    hear(one, reports)
    twin = msgspec.msgpack.decode(msgspec.msgpack.encode(one), type=Record)
    assert msgspec.structs.astuple(twin) == msgspec.structs.astuple(one)
    assert (twin.status, twin.final) == (one.status, one.final)


def test_all_parts_must_arrive() -> None:
    one = record(parts=2)
    assert [change.status for change in hear(one, [delivery(DELIVERED, part=2)])] == [SENT]
    assert not one.reached("delivered")
    assert [change.status for change in hear(one, [delivery(DELIVERED, part=1)])] == [DELIVERED]
    assert one.reached("delivered")


def test_a_failure_waits_for_the_last_fallback() -> None:
    one = record(Channel.WHATSAPP, Channel.RCS, Channel.SMS)
    assert one.to_ask() == [Channel.WHATSAPP]
    assert hear(one, [delivery(ERROR, "WHATSAPP")]) == []
    assert one.to_ask() == [Channel.RCS, Channel.SMS]
    assert hear(one, [delivery(ERROR, "RCS")]) == []
    assert not one.unreachable("delivered")
    assert one.to_ask() == [Channel.SMS]
    [change] = hear(one, [delivery(ERROR, "SMS")])
    assert change.final
    assert one.unreachable("delivered")


def test_giving_up_makes_a_failure_final() -> None:
    one = record(Channel.WHATSAPP, Channel.SMS)
    hear(one, [delivery(ERROR, "WHATSAPP")])
    change = one.close()
    assert change is not None
    assert (change.status, change.final, change.channel) == (ERROR, True, Channel.WHATSAPP)
    assert one.over
    quiet = record()
    assert quiet.close() is None
    assert quiet.over
    assert not quiet.final


def test_g13_a_failure_is_told_once_whatever_it_is_called() -> None:
    for first, then in ((DeliveryStatus.EXPIRED, ERROR), (ERROR, DeliveryStatus.EXPIRED)):
        one = record()
        assert [change.status for change in hear(one, [delivery(first), delivery(then)])] == [first]
        assert one.status is ERROR


def test_a_late_delivery_overrules_a_failure() -> None:
    one = record()
    assert [change.status for change in hear(one, [delivery(ERROR), delivery(DELIVERED)])] == [ERROR, DELIVERED]


def test_a_delivery_by_sms_fallback_will_not_be_read() -> None:
    one = record(Channel.RCS, Channel.SMS)
    hear(one, [delivery(ERROR, "RCS"), delivery(DELIVERED, "SMS")])
    assert one.unreachable("read")
    assert one.snapshot().channel is Channel.SMS
    direct = record(Channel.RCS, Channel.SMS)
    hear(direct, [delivery(DELIVERED, "RCS")])
    assert not direct.unreachable("read")


def test_a_report_without_a_channel_is_of_the_messages_own() -> None:
    one = record(Channel.RCS)
    hear(one, [delivery(DELIVERED, "")])
    assert one.final
    assert one.snapshot().channel is Channel.RCS


def test_g13_the_poll_of_a_one_part_sms_has_the_identity_of_its_callback() -> None:
    callback = delivery(DELIVERED, part=1, total=1)
    assert identity(polled(DELIVERED, Channel.SMS)).key == identity(callback).key


def test_what_a_record_takes_from_receipt_and_message() -> None:
    receipt = Receipt(message_id="m", channel=Channel.SMS, results={"SMS": ChannelResult(accepted=True, parts=3)})
    later = datetime(2030, 1, 1, tzinfo=UTC)
    sms = Sms(destination="+393401234567", sender="ACME", body="x", scheduled_date=later, enable_notification=False)
    one = record_of(receipt, sms, now=5.0)
    assert (one.totals, one.sent_at, one.notified, one.fallbacks) == ({"SMS": 3}, later.timestamp(), False, ())
    whatsapp = WhatsApp(
        destination="+393401234567",
        phone_number_id=1,
        body="x",
        fallback_rcs=True,
        fallback_sms={"sender": "ACME", "text": "x"},
    )
    two = record_of(Receipt(message_id="m", channel=Channel.WHATSAPP), whatsapp, now=5.0)
    assert two.fallbacks == (Channel.RCS, Channel.SMS)
    assert record_of(receipt, None, now=5.0).sent_at == 5.0


def test_reports_that_came_early_are_kept_for_a_while() -> None:
    book = Book(keep=1.0, limit=10)
    early = Delivery(channel="SMS", message_id="own", customer_message_id="m", status=DELIVERED, received_at=NOW)
    book.hold(early, 0.0)
    book.hold(delivery(SENT), 1.0)
    assert book.add(record()) == [early, delivery(SENT)]
    assert book.learn(record(), early) == []
    assert book._early == {}
    assert book._early_by_id == {}
    stale = Book(keep=1.0, limit=10)
    stale.hold(early, 0.0)
    stale.hold(Delivery(channel="SMS", message_id="other", status=DELIVERED, received_at=NOW), 601.0)
    assert stale.add(record()) == []


def test_early_reports_are_bounded() -> None:
    book = Book(keep=1.0, limit=10)
    for number in range(10_050):
        book.hold(Delivery(channel="SMS", message_id=str(number), status=DELIVERED, received_at=NOW), 0.0)
    assert len(book._early) == len(book._early_by_id) == 10_000


@given(st.floats(0, 1e6))
def test_intervals_grow_with_age_and_have_a_limit(age: float) -> None:
    schedule = Schedule(60.0, 900.0, 1e9)
    if age < 60:
        assert abs(age + schedule.interval(age) - 60) < 1e-6
    else:
        assert schedule.interval(age) == min(900.0, age)
