from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from fractions import Fraction
from random import Random
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qlara_async.clock import Timer
from qlara_async.errors import ConfigurationError, RateLimitError, WrongEventLoopError
from qlara_async.limiter import Limiter
from qlara_async.models.options import Priority, RateLimit
from qlara_async.testing.clock import VirtualClock

pytestmark = pytest.mark.anyio

INTERACTIVE, BULK = Priority.INTERACTIVE, Priority.BULK
GUARD = 0.05

Step: TypeAlias = tuple[str, float, int]


class LateClock(VirtualClock):
    """Virtual time on a busy machine: every timer is up to 5 ms late."""

    def __init__(self) -> None:
        super().__init__()
        self._random = Random(7)

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        return super().call_at(max(when, self.monotonic()) + self._random.uniform(0, 0.005), callback)


class Crowd:
    """Tasks that each want one grant, and what became of them."""

    def __init__(self, limiter: Limiter) -> None:
        self.limiter = limiter
        self.tasks: list[asyncio.Task[None]] = []
        self.grants: list[tuple[float, Priority, int]] = []

    def join(self, priority: Priority = INTERACTIVE, many: int = 1) -> list[asyncio.Task[None]]:
        first = len(self.tasks)
        joined = [asyncio.create_task(self._want(priority, first + k)) for k in range(many)]
        self.tasks += joined
        return joined

    async def _want(self, priority: Priority, number: int) -> None:
        granted = await self.limiter.acquire(priority)
        self.grants.append((granted, priority, number))

    def times(self) -> list[float]:
        return sorted(granted for granted, _, _ in self.grants)


def fullest_window(grants: list[float], seconds: float) -> int:
    exact = [Fraction(grant) for grant in grants]
    length, first, most = Fraction(seconds), 0, 0
    for last, grant in enumerate(exact):
        while grant - exact[first] >= length:
            first += 1
        most = max(most, last - first + 1)
    return most


def fastest_schedule(many: int, per_second: int, per_minute: int) -> list[float]:
    due: list[float] = []
    for k in range(many):
        by_second = due[k - per_second] + 1 + GUARD if k >= per_second else 0.0
        by_minute = due[k - per_minute] + 60 + GUARD if k >= per_minute else 0.0
        due.append(max(by_second, by_minute))
    return due


def tasks_left_by(crowd: Crowd) -> int:
    return len(asyncio.all_tasks() & set(crowd.tasks))


steps = st.one_of(
    st.tuples(st.sampled_from(["interactive", "bulk"]), st.just(0.0), st.integers(1, 15)),
    st.tuples(st.just("try"), st.just(0.0), st.integers(0, 1)),
    st.tuples(st.just("wait"), st.one_of(st.floats(0, 3), st.sampled_from([0.0, 1.05, 60.05])), st.just(0)),
    st.tuples(st.sampled_from(["cancel", "cancel later"]), st.sampled_from([0.0, 1.05, 2.1]), st.integers(0, 200)),
    st.tuples(st.just("pause"), st.floats(0, 4), st.just(0)),
    st.tuples(st.just("rate"), st.just(0.0), st.integers(1, 8)),
)


async def play(script: list[Step], *, guard: float) -> None:
    clock = VirtualClock(start=0.0, jump=False)
    rate = RateLimit(5, 12)
    limiter = Limiter(rate, guard=guard, reserve=0.2, clock=clock)
    crowd = Crowd(limiter)
    rates = [(-math.inf, rate)]
    pauses: list[tuple[float, float]] = []
    for what, seconds, number in script:
        now = clock.monotonic()
        match what:
            case "interactive" | "bulk":
                crowd.join(Priority(what), number)
            case "try":
                priority = (INTERACTIVE, BULK)[number]
                if (granted := limiter.try_acquire(priority)) is not None:
                    crowd.grants.append((granted, priority, -1))
            case "wait":
                await clock.advance(seconds)
            case "cancel" if crowd.tasks:
                crowd.tasks[number % len(crowd.tasks)].cancel()
            case "cancel later" if crowd.tasks:
                clock.call_at(now + seconds, crowd.tasks[number % len(crowd.tasks)].cancel)
            case "pause":
                limiter.pause_until(now + seconds)
                pauses.append((now, now + seconds))
            case "rate":
                rates.append((now, RateLimit(number, 2 * number)))
                limiter.set_rate(rates[-1][1])
    await clock.advance(60.05 * (len(crowd.tasks) + 2))
    assert_exact(crowd, rates, pauses, guard)
    assert all(task.done() for task in crowd.tasks)
    assert (limiter.waiting, clock.timers) == (0, 0)
    # Nothing is held by those who were cancelled: a whole window is free again.
    whole = [limiter.try_acquire() for _ in range(rates[-1][1].per_second + 1)]
    assert [granted is not None for granted in whole] == [True] * rates[-1][1].per_second + [False]
    assert asyncio.all_tasks() == {asyncio.current_task()}


def assert_exact(
    crowd: Crowd, rates: list[tuple[float, RateLimit]], pauses: list[tuple[float, float]], guard: float
) -> None:
    times = crowd.times()
    ends = [since for since, _ in rates[1:]] + [math.inf]
    terms = [(since, until, rate) for (since, rate), until in zip(rates, ends, strict=True)]
    for length in (1.0, 60.0):
        for last in times:
            held = [t for t in times if t <= last and Fraction(last) - Fraction(t) < Fraction(length + guard)]
            in_force = [rate for since, until, rate in terms if since <= last and until >= held[0]]
            assert len(held) <= max(rate.per_second if length == 1.0 else rate.per_minute for rate in in_force)
    for begin, end in pauses:
        assert not [t for t in times if begin < t < end]
    for lane in Priority:
        numbers = [number for _, priority, number in crowd.grants if priority is lane and number >= 0]
        assert numbers == sorted(numbers)


@given(script=st.lists(steps, max_size=40), guard=st.sampled_from([0.0, GUARD]))
def test_g2_g3_g12_windows_pauses_and_order_hold_under_any_traffic(script: list[Step], guard: float) -> None:
    asyncio.run(play(script, guard=guard))


@pytest.mark.parametrize("clock_type", [VirtualClock, LateClock])
@pytest.mark.parametrize("rate", [RateLimit.PRODUCTION, RateLimit.TRIAL])
@pytest.mark.parametrize("lane", Priority)
async def test_g2_a_job_ends_within_2_percent_of_the_fastest_schedule(
    clock_type: type[VirtualClock], rate: RateLimit, lane: Priority
) -> None:
    clock = clock_type()
    start = clock.monotonic()
    crowd = Crowd(Limiter(rate, guard=GUARD, clock=clock))
    await asyncio.gather(*crowd.join(lane, 2500))
    second, minute = ((n if lane is INTERACTIVE else n - math.ceil(n / 20)) for n in (rate.per_second, rate.per_minute))
    fastest = fastest_schedule(2500, second, minute)
    times = [granted - start for granted in crowd.times()]
    assert fullest_window(times, 1 + GUARD) <= second
    assert fullest_window(times, 60 + GUARD) <= minute
    assert all(fast - 1e-6 <= took <= fast * 1.02 + 0.005 for took, fast in zip(times, fastest, strict=True))
    assert times[-1] <= fastest[-1] * 1.02


@given(
    gaps=st.lists(st.floats(0, 0.2), min_size=120, max_size=120),
    rate=st.builds(RateLimit, st.integers(1, 40), st.just(400)),
)
@settings(max_examples=25)
def test_g2_scattered_grants_keep_the_2_percent_too(gaps: list[float], rate: RateLimit) -> None:
    async def job() -> None:
        clock = VirtualClock(start=0.0, jump=False)
        crowd = Crowd(Limiter(rate, guard=GUARD, clock=clock))
        arrivals: list[float] = []
        for gap in gaps:
            await clock.advance(gap)
            arrivals.append(clock.monotonic())
            crowd.join()
        await clock.advance(300)
        due: list[float] = []
        for k, arrived in enumerate(arrivals):
            n = rate.per_second
            due.append(max(arrived, due[k - n] + 1 + GUARD if k >= n else 0.0))
        assert len(crowd.grants) == len(due)
        assert crowd.times()[-1] - arrivals[0] <= (due[-1] - arrivals[0]) * 1.02 + 1e-6

    asyncio.run(job())


async def test_g2_an_idle_limiter_grants_a_whole_window_at_once() -> None:
    clock = VirtualClock(start=0.0, jump=False)
    limiter = Limiter(clock=clock)
    granted = [limiter.try_acquire() for _ in range(51)]
    assert granted == [clock.monotonic()] * 50 + [None]
    await clock.advance(1.05)
    assert [limiter.try_acquire() for _ in range(51)] == [clock.monotonic()] * 50 + [None]


async def test_waiters_of_a_lane_are_served_in_their_order_and_nobody_barges() -> None:
    clock = VirtualClock(start=0.0, jump=False)
    limiter = Limiter(RateLimit(2, 1000), clock=clock)
    crowd = Crowd(limiter)
    # At 1.05 two tokens are free, and this newcomer comes before the limiter's timer: but five were here before it.
    newcomer: list[float | None] = []
    clock.call_at(1.05, lambda: newcomer.append(limiter.try_acquire()))
    crowd.join(many=7)
    await clock.advance(1)
    assert (limiter.waiting, limiter.waiting_in(INTERACTIVE), limiter.waiting_in(BULK)) == (5, 5, 0)
    await clock.advance(10)
    assert newcomer == [None]
    assert [number for _, _, number in crowd.grants] == list(range(7))


async def test_an_interactive_waiter_takes_from_the_reserve_at_once() -> None:
    clock = VirtualClock(start=0.0, jump=False)
    limiter = Limiter(clock=clock)
    crowd = Crowd(limiter)
    crowd.join(BULK, 500)
    for _ in range(8):
        await clock.advance(1.06)
        now = clock.monotonic()
        assert limiter.waiting_in(BULK) > 0
        assert limiter.try_acquire(BULK) is None
        assert [limiter.try_acquire() for _ in range(3)] == [now] * 3
        assert limiter.try_acquire() is None


async def test_an_interactive_waiter_is_served_before_bulk_that_came_first() -> None:
    clock = VirtualClock(jump=False)
    limiter = Limiter(RateLimit(1, 1000), guard=0, clock=clock)
    crowd = Crowd(limiter)
    crowd.join(BULK, 3)
    await clock.advance(0.5)
    crowd.join(INTERACTIVE, 2)
    await clock.advance(10)
    assert [lane for _, lane, _ in crowd.grants] == [BULK, INTERACTIVE, INTERACTIVE, BULK, BULK]


async def test_an_interactive_newcomer_brings_the_timer_forward() -> None:
    clock = VirtualClock(start=0.0, jump=False)
    limiter = Limiter(RateLimit(4, 1000), guard=0, reserve=0.5, clock=clock)
    for at in (0.0, 0.2, 0.4, 0.6):
        await clock.advance(at - clock.monotonic())
        await limiter.acquire()
    crowd = Crowd(limiter)
    crowd.join(BULK)
    await clock.advance(0)
    crowd.join(INTERACTIVE)
    await clock.advance(0)
    assert clock.timers == 1
    await clock.advance(10)
    assert [lane for _, lane, _ in crowd.grants] == [INTERACTIVE, BULK]
    assert crowd.times() == pytest.approx([1.0, 1.6])


async def test_g3_a_pause_is_a_floor_for_everybody_and_never_moves_back() -> None:
    clock = VirtualClock(start=0.0)
    limiter = Limiter(clock=clock)
    limiter.pause_until(30.0)
    limiter.pause_until(10.0)
    limiter.pause_until(-5.0)
    assert limiter.paused_until == 30.0
    assert limiter.try_acquire() is None
    first, second = await asyncio.gather(limiter.acquire(), limiter.acquire(BULK))
    assert (first, second) == (30.0, 30.0)


async def test_g3_a_pause_holds_those_who_wait_already() -> None:
    clock = VirtualClock(start=0.0, jump=False)
    limiter = Limiter(RateLimit(1, 10), clock=clock)
    crowd = Crowd(limiter)
    crowd.join(many=2)
    await clock.advance(0.5)
    limiter.pause_until(5.0)
    limiter.pause_until(7.0)
    await clock.advance(20)
    assert crowd.times() == [0.0, 7.0]


async def test_a_pause_needs_a_finite_end() -> None:
    with pytest.raises(ConfigurationError):
        Limiter(clock=VirtualClock()).pause_until(math.inf)


async def test_a_pause_that_outlasts_the_patience_is_an_error_at_once() -> None:
    clock = VirtualClock(start=0.1, epoch=1_000.1, jump=False)
    limiter = Limiter(RateLimit(1, 10), clock=clock)
    limiter.pause_until(10.1)
    with pytest.raises(RateLimitError) as caught:
        await limiter.acquire(patience=9.9)
    assert caught.value.retry_after == pytest.approx(10.0)
    assert caught.value.retry_at == pytest.approx(1_010.1)
    enduring = asyncio.create_task(limiter.acquire(patience=10.0))
    await clock.advance(10)
    assert enduring.result() == 10.1


@given(now=st.floats(0, 1e6), seconds=st.floats(0.001, 300))
def test_a_pause_as_long_as_the_patience_is_sat_out(now: float, seconds: float) -> None:
    clock = VirtualClock(start=now)
    limiter = Limiter(clock=clock)
    limiter.pause_until(now + seconds)
    assert asyncio.run(limiter.acquire(patience=seconds)) == now + seconds


async def test_a_pause_set_meanwhile_ends_the_wait_of_the_impatient_only() -> None:
    clock = VirtualClock(start=0.0, jump=False)
    limiter = Limiter(RateLimit(1, 10), clock=clock)
    await limiter.acquire()
    impatient = asyncio.create_task(limiter.acquire(patience=5))
    patient = asyncio.create_task(limiter.acquire(patience=8))
    stoic = asyncio.create_task(limiter.acquire(BULK))
    await clock.advance(0)
    limiter.pause_until(3.0)
    await clock.advance(2.0)
    assert limiter.waiting == 3
    limiter.pause_until(8.0)
    assert limiter.waiting == 2
    await clock.advance(0)
    with pytest.raises(RateLimitError) as caught:
        impatient.result()
    assert caught.value.retry_after == pytest.approx(6.0)
    await clock.advance(20)
    assert [patient.result(), stoic.result()] == pytest.approx([8.0, 9.05])


async def test_pauses_in_between_add_up_against_the_patience() -> None:
    clock = VirtualClock(start=0.0, jump=False)
    limiter = Limiter(RateLimit(1, 1), clock=clock)
    await limiter.acquire()
    waiting = asyncio.create_task(limiter.acquire(patience=5))
    await clock.advance(1)
    limiter.pause_until(4.0)
    await clock.advance(10)
    limiter.pause_until(clock.monotonic() + 2)
    await clock.advance(10)
    assert not waiting.done()
    limiter.pause_until(clock.monotonic() + 1)
    await clock.advance(0)
    with pytest.raises(RateLimitError):
        waiting.result()


async def test_waiting_for_tokens_takes_no_patience() -> None:
    clock = VirtualClock(start=0.0)
    limiter = Limiter(RateLimit(1, 1), clock=clock)
    assert [await limiter.acquire(patience=0) for _ in range(3)] == pytest.approx([0.0, 60.05, 120.1])


async def test_a_waiter_cancelled_as_its_patience_ends_is_cancelled() -> None:
    clock = VirtualClock(start=0.0, jump=False)
    limiter = Limiter(RateLimit(1, 10), clock=clock)
    await limiter.acquire()
    waiting = asyncio.create_task(limiter.acquire(patience=1))
    await clock.advance(0)
    limiter.pause_until(5.0)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert (waiting.cancelled(), limiter.waiting, clock.timers) == (True, 0, 0)


async def test_without_a_rate_only_pauses_hold_anybody_up() -> None:
    clock = VirtualClock(start=0.0)
    limiter = Limiter(None, clock=clock)
    assert limiter.rate is None
    assert [limiter.try_acquire(BULK) for _ in range(5_000)] == [0.0] * 5_000
    limiter.pause_until(2.0)
    assert limiter.try_acquire() is None
    assert await limiter.acquire() == 2.0


async def test_a_higher_rate_serves_those_who_wait_at_once() -> None:
    clock = VirtualClock(start=0.0, jump=False)
    limiter = Limiter(RateLimit(1, 1), clock=clock)
    crowd = Crowd(limiter)
    crowd.join(many=5)
    await clock.advance(0.1)
    limiter.set_rate(RateLimit(4, 100))
    assert (limiter.rate, limiter.waiting) == (RateLimit(4, 100), 1)
    await clock.advance(5)
    assert crowd.times() == pytest.approx([0.0, 0.1, 0.1, 0.1, 1.05])


async def test_g12_a_token_given_back_goes_to_the_next() -> None:
    clock = VirtualClock(start=0.0, jump=False)
    limiter = Limiter(RateLimit(1, 10), clock=clock)
    unused = await limiter.acquire()
    crowd = Crowd(limiter)
    crowd.join()
    await clock.advance(0.5)
    limiter.give_back(unused)
    await clock.advance(0)
    assert crowd.times() == [0.5]


async def test_g12_cancelled_before_the_grant_costs_no_token_and_stops_the_timer() -> None:
    clock = VirtualClock(start=0.0, jump=False)
    limiter = Limiter(RateLimit(1, 10), clock=clock)
    crowd = Crowd(limiter)
    crowd.join(many=3)
    await clock.advance(0)
    crowd.tasks[1].cancel()
    await clock.advance(1.05)
    assert crowd.times() == [0.0, 1.05]
    waiting = crowd.join()[0]
    await clock.advance(0)
    assert clock.timers == 1
    waiting.cancel()
    await clock.advance(0)
    assert (clock.timers, limiter.waiting, tasks_left_by(crowd)) == (0, 0, 0)


async def test_g12_cancelled_between_grant_and_resumption_gives_the_token_to_the_next() -> None:
    clock = VirtualClock(start=0.0, jump=False)
    limiter = Limiter(RateLimit(1, 10), clock=clock)
    crowd = Crowd(limiter)
    crowd.join(many=3)
    await clock.advance(0)
    clock.call_at(1.05, crowd.tasks[1].cancel)  # fires in one go with the limiter's own timer, after it
    await clock.advance(1.05)
    assert crowd.tasks[1].cancelled()
    assert [(granted, number) for granted, _, number in crowd.grants] == [(0.0, 0), (1.05, 2)]


@pytest.mark.parametrize("moment", [0.0, 1.05])
async def test_g12_a_storm_of_cancellations_loses_no_token_and_strands_nobody(moment: float) -> None:
    clock = VirtualClock(start=0.0, jump=False)
    limiter = Limiter(RateLimit(50, 100_000), clock=clock)
    crowd = Crowd(limiter)
    crowd.join(many=50)
    await clock.advance(0)
    storm = crowd.join(BULK, 5_000) + crowd.join(INTERACTIVE, 5_000)
    survivors = crowd.join(BULK, 10) + crowd.join(INTERACTIVE, 10)
    await clock.advance(0)
    clock.call_at(moment, lambda: [task.cancel() for task in storm])
    await clock.advance(moment)
    assert all(task.cancelled() for task in storm)
    await clock.advance(1.05)
    assert all(task.done() for task in survivors)
    assert crowd.times() == [0.0] * 50 + [1.05] * 20
    assert (limiter.waiting, clock.timers, tasks_left_by(crowd)) == (0, 0, 0)
    await clock.advance(1.05)
    assert None not in [limiter.try_acquire() for _ in range(50)]


async def test_all_waiters_share_one_timer() -> None:
    clock = VirtualClock(jump=False)
    limiter = Limiter(clock=clock)
    crowd = Crowd(limiter)
    crowd.join(BULK, 300)
    crowd.join(INTERACTIVE, 300)
    await clock.advance(0)
    assert (limiter.waiting, clock.timers) == (550, 1)
    for task in crowd.tasks:
        task.cancel()


def test_a_limiter_made_outside_a_loop_serves_one_loop_after_another() -> None:
    clock = VirtualClock()
    limiter = Limiter(RateLimit(1, 100), clock=clock)

    async def twice() -> list[float]:
        return [await limiter.acquire(), await limiter.acquire()]

    times = asyncio.run(twice()) + asyncio.run(twice())
    assert fullest_window(times, 1 + GUARD) == 1


def test_waiters_on_two_event_loops_are_refused_until_the_first_is_closed() -> None:
    clock = VirtualClock(start=0.0, jump=False)
    limiter = Limiter(RateLimit(1, 100), clock=clock)
    assert limiter.try_acquire() is not None
    first = asyncio.new_event_loop()
    first.set_exception_handler(lambda loop, context: None)  # the task is abandoned on purpose
    abandoned = first.create_task(limiter.acquire())
    first.run_until_complete(clock.advance(0))
    with pytest.raises(WrongEventLoopError):
        asyncio.run(limiter.acquire())
    first.close()
    assert (abandoned.done(), limiter.waiting) == (False, 1)

    async def on_the_second() -> float:
        waiting = asyncio.create_task(limiter.acquire())
        await clock.advance(1.05)
        assert waiting.done()
        return waiting.result()

    assert asyncio.run(on_the_second()) == 1.05


async def test_the_system_clock_is_the_default() -> None:
    limiter = Limiter()
    limiter.pause_until(time.monotonic() + 0.002)
    assert limiter.paused_until <= await limiter.acquire() <= time.monotonic()


async def test_repr_shows_rate_waiters_and_pause() -> None:
    clock = VirtualClock(start=0.0, jump=False)
    limiter = Limiter(RateLimit.TRIAL, clock=clock)
    limiter.pause_until(2.5)
    task = asyncio.create_task(limiter.acquire())
    await clock.advance(0)
    assert repr(limiter) == "Limiter(rate=RateLimit(per_second=10, per_minute=100), waiting=1, paused=2.5)"
    task.cancel()


@pytest.mark.parametrize("lane", [INTERACTIVE, BULK])
async def test_nobody_overtakes_one_who_has_a_grant_and_has_not_run_since(clock: VirtualClock, lane: Priority) -> None:
    limiter = Limiter(RateLimit(3, 100), reserve=0.0, clock=clock)
    spent = [limiter.try_acquire() for _ in range(3)]
    crowd = Crowd(limiter)
    crowd.join(lane)
    while not limiter.waiting:
        await asyncio.sleep(0)
    for granted in spent:
        assert granted is not None
        limiter.give_back(granted)
    assert limiter.try_acquire(lane) is None
    await asyncio.gather(*crowd.tasks)
    assert limiter.try_acquire(lane) is not None
