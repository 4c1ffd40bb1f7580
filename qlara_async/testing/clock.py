"""Virtual time: tests of waits that take none."""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import Callable
from itertools import count

from ..clock import Timer

__all__ = ["VirtualClock"]

_TURNS = 12
"""Turns of the event loop that tasks get to run, and I/O to arrive, before time moves."""


class VirtualTimer:
    """A call scheduled on a `VirtualClock`."""

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callable[[], object]) -> None:
        self.when = when
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        """Withdraw the call; without effect if it has run."""
        self.callback = None

    def fire(self) -> None:
        """Make the call, once."""
        callback, self.callback = self.callback, None
        if callback is not None:
            callback()


class VirtualClock:
    """A clock whose time passes in no time; it implements the package's `Clock`.

    By default time *jumps*: while anybody waits, the clock moves to the earliest timer as soon as the event loop has
    turned a few times, so that whatever can run now does so first. Real I/O goes on meanwhile, but time does not wait
    for it::

        async def test_a_campaign_takes_its_time():
            clock = VirtualClock()
            limiter = Limiter(RateLimit.PRODUCTION, clock=clock)
            start = clock.monotonic()
            for _ in range(1001):
                await limiter.acquire()
            assert clock.monotonic() - start >= 60

    With `jump=False` it moves only when told to::

        clock = VirtualClock(jump=False)
        waiting = asyncio.create_task(clock.sleep(10))
        await clock.advance(9.9)
        assert not waiting.done()
        await clock.advance(0.1)
        assert waiting.done()

    Args:
        start: what `monotonic` reads at first, in seconds.
        epoch: what `time` reads at first, in seconds since 1970.
        jump: whether time moves by itself.

    Attributes:
        slept: the seconds of every `sleep` asked for, in order: what a back-off waited.
    """

    __slots__ = ("_heap", "_jump", "_loop", "_now", "_numbers", "_offset", "_turns_left", "slept")

    def __init__(self, start: float = 1_000.0, *, epoch: float = 1_750_000_000.0, jump: bool = True) -> None:
        self.slept: list[float] = []
        self._now = start
        self._offset = epoch - start
        self._jump = jump
        self._heap: list[tuple[float, int, VirtualTimer]] = []
        self._numbers = count()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turns_left = 0

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        return self._now

    def time(self) -> float:
        """Seconds since the epoch, virtual too."""
        return self._now + self._offset

    async def sleep(self, seconds: float) -> None:
        """Let virtual time pass; at least one turn of the event loop."""
        self.slept.append(seconds)
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        over = asyncio.Event()
        timer = self.call_at(self._now + seconds, over.set)
        try:
            await over.wait()
        finally:
            timer.cancel()

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        """Call back when `monotonic()` has reached `when`; never, if that is infinite."""
        timer = VirtualTimer(when, callback)
        heapq.heappush(self._heap, (when, next(self._numbers), timer))
        if self._jump:
            self._watch()
        return timer

    async def advance(self, seconds: float) -> None:
        """Move on by `seconds`, firing what falls due in order, and letting tasks run before and after each time."""
        end = self._now + seconds
        await _turns()
        while (when := self._next_due()) <= end:
            self._fire(when)
            await _turns()
        self._now = max(self._now, end)

    @property
    def timers(self) -> int:
        """How many timers are pending."""
        return sum(timer.callback is not None for _, _, timer in self._heap)

    def _next_due(self) -> float:
        while self._heap and self._heap[0][2].callback is None:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else math.inf

    def _fire(self, when: float) -> None:
        self._now = max(self._now, when)
        while self._next_due() <= self._now:
            heapq.heappop(self._heap)[2].fire()

    def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        self._turns_left = _TURNS
        if loop is not self._loop:
            self._loop = loop
            loop.call_soon(self._turn, loop)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop is not self._loop:
            return
        when = self._next_due()
        if when == math.inf:
            self._loop = None
            return
        self._turns_left -= 1
        if self._turns_left <= 0:
            self._turns_left = _TURNS
            self._fire(when)
        loop.call_soon(self._turn, loop)


async def _turns() -> None:
    for _ in range(_TURNS):
        await asyncio.sleep(0)
