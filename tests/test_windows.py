from __future__ import annotations

import math
from fractions import Fraction
from typing import TypeAlias

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qlara_async.errors import ConfigurationError
from qlara_async.models.options import Priority, RateLimit
from qlara_async.protocol.windows import GrantWindows

INTERACTIVE, BULK = Priority.INTERACTIVE, Priority.BULK

Step: TypeAlias = tuple[str, float]

small_rates = st.builds(RateLimit, st.integers(1, 6), st.integers(1, 12))
lanes = st.sampled_from(list(Priority))
steps = st.one_of(
    st.tuples(st.just("grant"), st.just(0.0)),
    st.tuples(st.just("bulk"), st.just(0.0)),
    st.tuples(st.just("wait"), st.floats(0, 3)),
    st.tuples(st.just("wait"), st.sampled_from([0.1, 0.25, 1.0, 1.05, 20.0, 60.0])),
    st.tuples(st.just("pause"), st.floats(0, 5)),
    st.tuples(st.just("rate"), st.integers(1, 6).map(float)),
    st.tuples(st.just("give back"), st.just(0.0)),
)


def grants_back_to_back(windows: GrantWindows, lane: Priority, many: int, start: float = 0.0) -> list[float]:
    now, grants = start, []
    for _ in range(many):
        now = max(now, windows.ready_at(lane))
        windows.grant(now)
        grants.append(now)
    return grants


def fullest_window(grants: list[float], seconds: float) -> int:
    """The most grants that any half-open window holds, in exact arithmetic."""
    exact = [Fraction(grant) for grant in grants]
    length, first, most = Fraction(seconds), 0, 0
    for last, grant in enumerate(exact):
        while grant - exact[first] >= length:
            first += 1
        most = max(most, last - first + 1)
    return most


@given(script=st.lists(steps, max_size=120), guard=st.sampled_from([0.0, 0.05, 0.3]), start=st.floats(0, 1e6))
def test_g2_no_window_holds_more_grants_than_the_rate_at_its_last(
    script: list[Step], guard: float, start: float
) -> None:
    rate = RateLimit(3, 7)
    windows = GrantWindows(rate, guard=guard, reserve=0.3)
    now, paused = start, start
    held: list[float] = []
    for what, value in script:
        if what == "wait":
            now += value
        elif what == "pause":
            paused = max(paused, now + value)
            windows.pause_until(now + value)
        elif what == "rate":
            rate = RateLimit(int(value), 2 * int(value) + 1)
            windows.set_rate(rate)
        elif what == "give back" and held:
            windows.give_back(held.pop())
        elif what in {"grant", "bulk"}:
            now = max(now, windows.ready_at(INTERACTIVE if what == "grant" else BULK))
            windows.grant(now)
            held.append(now)
            assert now >= paused
            for length, most in ((1.0, rate.per_second), (60.0, rate.per_minute)):
                in_window = [g for g in held if Fraction(now) - Fraction(g) < Fraction(length + guard)]
                assert len(in_window) <= most


@given(spent=st.floats(0, 1e9), rate=small_rates)
@example(spent=1e-17, rate=RateLimit(1, 2))
@example(spent=0.1 + 0.2, rate=RateLimit(1, 1))
def test_g2_rounding_never_shortens_a_window(spent: float, rate: RateLimit) -> None:
    windows = GrantWindows(rate, guard=0, reserve=0)
    grants = grants_back_to_back(windows, INTERACTIVE, 30, start=spent)
    assert fullest_window(grants, 1) <= rate.per_second
    assert fullest_window(grants, 60) <= rate.per_minute


@given(rate=small_rates, lane=lanes, guard=st.sampled_from([0.0, 0.05]))
def test_g2_grants_are_as_early_as_the_windows_allow(rate: RateLimit, lane: Priority, guard: float) -> None:
    windows = GrantWindows(rate, guard=guard, reserve=0.2)
    second, minute = (
        n if lane is INTERACTIVE else max(1, n - math.ceil(n / 5)) for n in (rate.per_second, rate.per_minute)
    )
    due: list[float] = []
    for k in range(40):
        by_second = due[k - second] + 1 + guard if k >= second else 0.0
        by_minute = due[k - minute] + 60 + guard if k >= minute else 0.0
        due.append(max(by_second, by_minute))
    assert grants_back_to_back(windows, lane, 40) == pytest.approx(due)


def test_a_grant_is_due_exactly_one_window_after_the_one_it_replaces() -> None:
    windows = GrantWindows(RateLimit(2, 100), guard=0, reserve=0)
    assert grants_back_to_back(windows, INTERACTIVE, 5, start=10.0) == [10.0, 10.0, 11.0, 11.0, 12.0]


@pytest.mark.parametrize(
    ("per_second", "reserve", "bulk"),
    [(50, 0.05, 47), (500, 0.05, 475), (100, 0.07, 93), (10, 0.05, 9), (1, 0.05, 1), (4, 0.99, 1), (50, 0.0, 50)],
)
def test_bulk_leaves_the_reserve_rounded_up_and_keeps_one_token(per_second: int, reserve: float, bulk: int) -> None:
    windows = GrantWindows(RateLimit(per_second, 1_000), guard=0, reserve=reserve)
    assert grants_back_to_back(windows, BULK, bulk) == [0.0] * bulk
    assert windows.ready_at(BULK) == 1.0
    rest = per_second - bulk
    assert grants_back_to_back(windows, INTERACTIVE, rest) == [0.0] * rest
    assert windows.ready_at(INTERACTIVE) == 1.0


def test_bulk_leaves_a_reserve_in_the_minute_too() -> None:
    windows = GrantWindows(RateLimit(100, 20), guard=0, reserve=0.1)
    grants_back_to_back(windows, BULK, 18)
    assert windows.ready_at(BULK) == 60.0
    assert windows.ready_at(INTERACTIVE) == -math.inf


def test_tokens_the_interactive_lane_spent_count_against_bulk() -> None:
    windows = GrantWindows(RateLimit(10, 1000), guard=0, reserve=0.2)
    grants_back_to_back(windows, INTERACTIVE, 8)
    assert windows.ready_at(BULK) == 1.0


def test_shrinking_and_growing_the_rate_forgets_no_grant() -> None:
    windows = GrantWindows(RateLimit(100, 1000), guard=0, reserve=0)
    grants_back_to_back(windows, INTERACTIVE, 100)
    windows.set_rate(RateLimit(1, 1))
    assert windows.ready_at(INTERACTIVE) == 60.0
    windows.set_rate(RateLimit(100, 1000))
    assert windows.ready_at(INTERACTIVE) == 1.0
    assert windows.rate == RateLimit(100, 1000)


def test_without_a_rate_only_pauses_hold_anybody_up() -> None:
    windows = GrantWindows(None)
    grants_back_to_back(windows, BULK, 10_000)
    windows.pause_until(3.0)
    assert windows.rate is None
    assert windows.ready_at(BULK) == windows.ready_at(INTERACTIVE) == 3.0
    windows.set_rate(RateLimit(1, 1))
    windows.grant(3.0)
    assert windows.ready_at(INTERACTIVE) == 63.05


def test_a_token_given_back_is_free_at_once_and_only_once() -> None:
    windows = GrantWindows(RateLimit(2, 100), guard=0, reserve=0)
    windows.grant(1.0)
    windows.grant(1.5)
    windows.give_back(1.0)
    assert windows.ready_at(INTERACTIVE) == -math.inf
    windows.give_back(1.0)
    windows.grant(1.6)
    windows.give_back(1.55)  # never granted
    assert windows.ready_at(INTERACTIVE) == 2.5


def test_g3_pauses_combine_by_their_maximum() -> None:
    windows = GrantWindows(RateLimit.PRODUCTION)
    windows.pause_until(30.0)
    windows.pause_until(20.0)
    assert windows.paused_until == windows.ready_at(INTERACTIVE) == windows.ready_at(BULK) == 30.0


def test_free_tokens_come_back_when_a_grant_is_due() -> None:
    windows = GrantWindows(RateLimit(3, 5), guard=0, reserve=0.5)
    grants_back_to_back(windows, INTERACTIVE, 3, start=0.1)
    assert windows.free(0.1) == (0, 2)
    assert windows.free(math.nextafter(windows.ready_at(INTERACTIVE), 0)) == (0, 2)
    assert windows.free(windows.ready_at(INTERACTIVE)) == (3, 2)
    windows.set_rate(RateLimit(1, 1))
    assert windows.free(0.5) == (0, 0)


def test_the_log_of_grants_stays_within_a_multiple_of_the_last_minute() -> None:
    windows = GrantWindows(RateLimit(50, 1000))
    grants = grants_back_to_back(windows, INTERACTIVE, 20_000)
    assert fullest_window(grants, 60.05) == 1000
    assert len(windows._grants) <= 3_000


@pytest.mark.parametrize(("guard", "reserve"), [(-0.1, 0), (math.nan, 0), (math.inf, 0), (0, -0.1), (0, 1.1)])
def test_a_guard_or_reserve_that_cannot_work_is_refused(guard: float, reserve: float) -> None:
    with pytest.raises(ConfigurationError):
        GrantWindows(RateLimit.TRIAL, guard=guard, reserve=reserve)


@given(st.lists(st.floats(-70, 0), max_size=60), st.integers(0, 50))
def test_g2_grants_made_elsewhere_count_by_their_times(earlier: list[float], own: int) -> None:
    windows = GrantWindows(RateLimit(50, 80), guard=0.05, reserve=0.0)
    for _ in range(own):
        windows.grant(0.0)
    windows.count_earlier(earlier)
    every = sorted([*earlier, *[0.0] * own])
    free = (50 - sum(one > -1.05 for one in every), 80 - sum(one > -60.05 for one in every))
    assert windows.free(0.0) == (max(0, free[0]), max(0, free[1]))
    assert (windows.ready_at(INTERACTIVE) <= 0.0) == (min(free) > 0)
