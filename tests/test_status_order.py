from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from qlara_async.models.channel import Channel, DeliveryStatus
from qlara_async.protocol.status import advance, is_final, leg_status, message_status

S = DeliveryStatus
ORDER = [S.UNKNOWN, S.SENT, S.RECEIVED, S.EXPIRED, S.ERROR, S.DELIVERED, S.READ]

statuses = st.sampled_from(ORDER)
told = st.tuples(st.sampled_from([Channel.SMS, Channel.RCS, "VIBER"]), st.none() | st.integers(1, 4), statuses)
Told = tuple[Channel | str, int | None, DeliveryStatus]


def status_after(events: Iterable[Told], total_parts: int | None = 3) -> DeliveryStatus:
    legs: dict[Channel | str, dict[int | None, DeliveryStatus]] = {}
    for channel, part, status in events:
        leg = legs.setdefault(channel, {})
        leg[part] = advance(leg.get(part), status)
    return message_status(legs, {} if total_parts is None else dict.fromkeys(legs, total_parts))


def test_g10_the_order() -> None:
    for lower, higher in pairwise(ORDER):
        assert advance(lower, higher) is higher
        assert advance(higher, lower) is higher
    assert advance(None, S.UNKNOWN) is S.UNKNOWN


@given(st.lists(told), told)
def test_g10_a_message_never_moves_backwards(events: list[Told], last: Told) -> None:
    before, after = status_after(events), status_after([*events, last])
    assert ORDER.index(after) >= ORDER.index(before)


@given(st.lists(told).flatmap(lambda events: st.tuples(st.just(events), st.permutations(events))))
def test_g10_the_order_of_arrival_does_not_matter(events: tuple[list[Told], list[Told]]) -> None:
    assert status_after(events[0]) is status_after(events[1])


@given(st.lists(told), st.data())
def test_g10_telling_it_again_changes_nothing(events: list[Told], data: st.DataObject) -> None:
    again = data.draw(st.lists(st.sampled_from(events))) if events else []
    assert status_after([*events, *again]) is status_after(events)


@given(st.lists(told), st.integers(1, 5), st.integers(1, 5))
def test_g10_learning_the_number_of_parts_never_moves_it_backwards(events: list[Told], one: int, two: int) -> None:
    unknown, first, lowest = (status_after(events, total) for total in (None, max(one, two), min(one, two)))
    assert ORDER.index(unknown) <= ORDER.index(first) <= ORDER.index(lowest)


def test_all_parts_are_needed_for_delivered() -> None:
    assert leg_status({1: S.DELIVERED, 2: S.DELIVERED}, 3) is S.SENT
    assert leg_status({1: S.DELIVERED, 2: S.DELIVERED, 3: S.READ}, 3) is S.DELIVERED
    assert leg_status({1: S.DELIVERED}, None) is S.SENT


def test_a_failed_part_fails_the_message_when_every_part_has_ended() -> None:
    assert leg_status({1: S.ERROR}, 2) is S.SENT
    assert leg_status({1: S.ERROR, 2: S.DELIVERED}, 2) is S.ERROR
    assert leg_status({1: S.EXPIRED, 2: S.ERROR}, 2) is S.EXPIRED


def test_what_is_told_of_the_whole_message_counts_without_its_parts() -> None:
    assert leg_status({None: S.DELIVERED, 1: S.DELIVERED}, 3) is S.DELIVERED
    assert leg_status({None: S.READ}, None) is S.READ
    assert leg_status({}, None) is S.UNKNOWN


def test_a_huge_number_of_parts_costs_nothing() -> None:
    assert leg_status({1: S.DELIVERED}, 2**52) is S.SENT


def test_the_best_channel_speaks_for_the_message() -> None:
    assert (
        message_status({Channel.RCS: {None: S.ERROR}, Channel.SMS: {1: S.DELIVERED}}, {Channel.SMS: 1}) is S.DELIVERED
    )
    assert message_status({}) is S.UNKNOWN


def test_a_failure_is_not_final_while_a_fallback_may_come() -> None:
    assert [status for status in ORDER if is_final(status)] == [S.EXPIRED, S.ERROR, S.DELIVERED, S.READ]
    assert [status for status in ORDER if is_final(status, fallback_pending=True)] == [S.DELIVERED, S.READ]
