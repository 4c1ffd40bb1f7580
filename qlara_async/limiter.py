"""The limiter: who may send next, and when.

`protocol.windows` knows when a grant is due; here are the people waiting for one, in two lanes, and the one timer that
serves them all.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Iterable
from typing import TypeAlias

from .clock import Clock, SystemClock, Timer
from .errors import ConfigurationError, RateLimitError, WrongEventLoopError
from .models.options import Priority, RateLimit
from .protocol.windows import GrantWindows

__all__ = ["Limiter"]

_INTERACTIVE = Priority.INTERACTIVE
_BULK = Priority.BULK

_TICK = 0.001
"""Seconds between two turns of the timer, at least: at high rates a turn serves what has become due since the last."""

_ROUNDING = 1e-6
"""Seconds a pause may exceed the patience by: the difference of two clock readings is not exact."""

_Waiter: TypeAlias = "asyncio.Future[float | None]"  # the grant, or None if a pause outlasts the waiter's patience
_Lane: TypeAlias = "OrderedDict[_Waiter, float]"  # in order of arrival; the total of pauses each will sit out


class Limiter:
    """Grants requests under a `RateLimit`, exactly over both its windows (guarantee G2).

    Waiters are served first come, first served within a lane, and the interactive lane before bulk, which always leaves
    it a reserve. An idle limiter grants a whole window at once. It may be created anywhere, and shared by the clients
    of one event loop: the gateway counts per API key, not per client.

    Example::

        limiter = Limiter(RateLimit.TRIAL)
        sms_client = QlaraClient(api_key, limiter=limiter)
        rcs_client = QlaraClient(api_key, limiter=limiter)

    Args:
        rate: requests permitted in any second and in any minute; `None` for any number, then only pauses hold.
        guard: seconds added to each window against network jitter.
        reserve: the share of each window that bulk leaves to the interactive lane, rounded up to whole tokens.
        clock: the time it lives by; the system's unless given.

    Raises:
        ConfigurationError: if `guard` is negative or `reserve` is not within 0 and 1.
    """

    __slots__ = (
        "_bulk",
        "_clock",
        "_due",
        "_handed",
        "_interactive",
        "_loop",
        "_paused",
        "_quiet_until",
        "_timer",
        "_windows",
    )

    def __init__(
        self,
        rate: RateLimit | None = RateLimit.PRODUCTION,
        *,
        guard: float = 0.05,
        reserve: float = 0.05,
        clock: Clock | None = None,
    ) -> None:
        self._windows = GrantWindows(rate, guard=guard, reserve=reserve)
        self._clock = clock or SystemClock()
        self._interactive: _Lane = OrderedDict()
        self._bulk: _Lane = OrderedDict()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: Timer | None = None
        self._due = math.inf
        self._quiet_until = -math.inf
        self._paused = 0.0
        # Grants whose waiters have not run since: nobody who comes now may overtake them.
        self._handed = {_INTERACTIVE: 0, _BULK: 0}

    @property
    def rate(self) -> RateLimit | None:
        """The rate in force, or `None`."""
        return self._windows.rate

    @property
    def paused_until(self) -> float:
        """The monotonic time before which nothing is granted; in the past (`-inf` at first) if there is no pause."""
        return self._windows.paused_until

    @property
    def waiting(self) -> int:
        """How many wait, in both lanes."""
        return len(self._interactive) + len(self._bulk)

    def waiting_in(self, priority: Priority) -> int:
        """How many wait in one lane."""
        return len(self._lane(priority))

    def try_acquire(self, priority: Priority = _INTERACTIVE) -> float | None:
        """Take a token if one is free and nobody of the same or a higher lane waits for it.

        Returns:
            The monotonic time of the grant, or `None`.
        """
        if self._interactive or self._handed[_INTERACTIVE]:
            return None
        if priority == _BULK and (self._bulk or self._handed[_BULK]):
            return None
        now = self._clock.monotonic()
        if self._windows.ready_at(priority) > now:
            return None
        self._windows.grant(now)
        return now

    async def acquire(self, priority: Priority = _INTERACTIVE, *, patience: float | None = None) -> float:
        """Wait for a token, as long as it takes.

        A caller cancelled meanwhile costs no token.

        Args:
            priority: the lane to wait in.
            patience: seconds of pause (see `pause_until`) the caller will sit out; `None` for any. Waiting for the
                tokens themselves does not count.

        Returns:
            The monotonic time of the grant.

        Raises:
            RateLimitError: at once when a pause outlasts `patience`, with `retry_after` and `retry_at`.
            WrongEventLoopError: others wait for this limiter on another event loop.
        """
        granted = self.try_acquire(priority)
        if granted is not None:
            return granted
        endurance = self._endurance(patience)
        if self._paused > endurance:
            raise self._pause_error()
        self._settle_on_loop()
        lane = self._lane(priority)
        waiter: _Waiter = asyncio.get_running_loop().create_future()
        lane[waiter] = endurance
        self._arm()
        try:
            granted = await waiter
        except asyncio.CancelledError:
            self._withdraw(waiter, lane, priority)
            raise
        if granted is None:
            raise self._pause_error()
        self._handed[priority] -= 1
        return granted

    def give_back(self, granted: float) -> None:
        """Return a token that was not used: nothing was sent on the grant of that time. Once per grant."""
        self._windows.give_back(granted)
        self._serve()

    def count_earlier(self, grants: Iterable[float]) -> None:
        """Count grants of those monotonic times as made: an earlier process with the same key sent on them."""
        self._windows.count_earlier(grants)
        self._arm()

    def pause_until(self, when: float) -> None:
        """Grant nothing before the monotonic time `when`.

        It is a floor for all senders of the key (guarantee G3): pauses combine by `max()`, and an earlier one changes
        nothing. Waiters whose patience it outlasts get their `RateLimitError` now; this looks at each of them.

        Raises:
            ConfigurationError: if `when` is not a finite time.
        """
        if not math.isfinite(when):
            raise ConfigurationError("a pause needs a finite end")
        added = when - max(self.paused_until, self._clock.monotonic())
        if added <= 0:
            return
        self._paused += added
        self._windows.pause_until(when)
        for lane in (self._interactive, self._bulk):
            for waiter in [waiter for waiter, endurance in lane.items() if self._paused > endurance]:
                del lane[waiter]
                _resolve(waiter, None)
        self._arm()

    def unused_windows(self) -> GrantWindows:
        """Return the windows of an idle limiter of the same settings, to try a schedule on."""
        return self._windows.unused()

    def set_rate(self, rate: RateLimit | None) -> None:
        """Change the rate from now on. Grants of the last minute keep counting."""
        self._windows.set_rate(rate)
        self._serve()

    def __repr__(self) -> str:
        paused = max(0.0, self.paused_until - self._clock.monotonic())
        return f"Limiter(rate={self.rate!r}, waiting={self.waiting}, paused={paused:.3g})"

    def _lane(self, priority: Priority) -> _Lane:
        return self._bulk if priority == _BULK else self._interactive

    def _settle_on_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if loop is self._loop:
            return
        if self._loop is not None and self._loop.is_closed():
            self._interactive.clear()
            self._bulk.clear()
            self._handed = {_INTERACTIVE: 0, _BULK: 0}
            self._timer = None
        if self.waiting:
            raise WrongEventLoopError("others wait for this limiter on another event loop: give each loop its own")
        self._loop = loop

    def _endurance(self, patience: float | None) -> float:
        if patience is None:
            return math.inf
        ahead = max(0.0, self.paused_until - self._clock.monotonic())
        return self._paused - ahead + patience + _ROUNDING

    def _pause_error(self) -> RateLimitError:
        left = max(0.0, self.paused_until - self._clock.monotonic())
        return RateLimitError(
            detail="it asked all senders of the key to pause for longer than the policy waits",
            retry_after=left,
            retry_at=self._clock.time() + left,
        )

    def _withdraw(self, waiter: _Waiter, lane: _Lane, priority: Priority) -> None:
        if waiter.cancelled() or not waiter.done():
            lane.pop(waiter, None)
            self._arm()
            return
        granted = waiter.result()
        if granted is not None:
            self._handed[priority] -= 1
            self.give_back(granted)

    def _serve(self) -> None:
        now = self._clock.monotonic()
        for priority, lane in ((_INTERACTIVE, self._interactive), (_BULK, self._bulk)):
            while lane and self._windows.ready_at(priority) <= now:
                waiter, _ = lane.popitem(last=False)
                # A waiter cancelled a moment ago is still in its lane until its task runs: it costs no token.
                if _resolve(waiter, now):
                    self._windows.grant(now)
                    self._handed[priority] += 1
        self._arm()

    def _arm(self) -> None:
        """Have the timer go off when the next waiter is due, and only while somebody waits."""
        if not self.waiting:
            self._disarm()
            return
        ready = self._windows.ready_at(_INTERACTIVE if self._interactive else _BULK)
        due = max(ready, self._quiet_until)
        if self._timer is not None and due == self._due:
            return
        self._disarm()
        self._due = due
        self._timer = self._clock.call_at(due, self._on_timer)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self._timer = None
        self._quiet_until = self._clock.monotonic() + _TICK
        self._serve()


def _resolve(waiter: _Waiter, outcome: float | None) -> bool:
    if waiter.done():
        return False
    waiter.set_result(outcome)
    return True
