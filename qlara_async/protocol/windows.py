"""The gateway's two rate windows, exact, as arithmetic on times that are passed in.

A token comes back one window after it was spent. So the next grant is due when the n-th last one has left the window:
one look at a log of recent grants for each window, whatever the rate. Windows are half-open: grants exactly one window
apart never share one. The rates are those of the gateway's documentation, "Rate limits" (per API key, per second and
per minute); that its windows slide is our guess, and the reading under which any other kind of window is kept too.
"""

from __future__ import annotations

import math
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable

from ..errors import ConfigurationError
from ..models.options import Priority, RateLimit

__all__ = ["GrantWindows"]

_BULK = Priority.BULK
_NEVER = -math.inf
_ENDLESS = sys.maxsize
_SWEEP_FROM = 1024


class GrantWindows:
    """When grants are due under a `RateLimit`, in any window of one second and in any window of sixty.

    The interactive lane may use all tokens of a window; the bulk lane leaves a reserve free. All times are seconds on
    one monotonic clock, and must not go back from one `grant` to the next. Every operation is O(1), amortised, but for
    `give_back` and `free`, which search the log of the last minute.

    Args:
        rate: grants permitted in each window; `None` for any number.
        guard: seconds added to each window, so that network jitter cannot push two grants closer together than the
            gateway allows. 0 for the gateway's own limit.
        reserve: the share of each window, rounded up to whole tokens, that bulk leaves free; at least one token is
            always left to bulk.

    Raises:
        ConfigurationError: if `guard` is negative or `reserve` is not within 0 and 1.
    """

    __slots__ = (
        "_bulk",
        "_grants",
        "_guard",
        "_interactive",
        "_minute",
        "_paused_until",
        "_rate",
        "_reserve",
        "_second",
        "_sweep",
    )

    def __init__(self, rate: RateLimit | None, *, guard: float = 0.05, reserve: float = 0.05) -> None:
        if not 0 <= guard < math.inf:
            raise ConfigurationError("the guard is in seconds and must not be negative")
        if not 0 <= reserve <= 1:
            raise ConfigurationError("the reserve is a share of each window, from 0 to 1")
        self._guard = guard
        self._second = 1.0 + guard
        self._minute = 60.0 + guard
        self._reserve = reserve
        self._paused_until = _NEVER
        self._grants = array("d")
        self._sweep = _SWEEP_FROM
        self.set_rate(rate)

    @property
    def rate(self) -> RateLimit | None:
        """The rate in force, or `None`."""
        return self._rate

    @property
    def paused_until(self) -> float:
        """The time before which nothing is granted; long ago (`-inf`) if there never was a pause."""
        return self._paused_until

    def unused(self) -> GrantWindows:
        """Return windows of the same rate, guard and reserve in which nothing was granted."""
        return GrantWindows(self._rate, guard=self._guard, reserve=self._reserve)

    def set_rate(self, rate: RateLimit | None) -> None:
        """Change the rate from now on. Past grants keep counting, so no window ever holds more than its rate.

        Only grants made without any rate (`None`) are not counted afterwards.
        """
        if rate is not None and not isinstance(rate, RateLimit):
            raise ConfigurationError("a rate is a RateLimit, or None for any number")
        self._rate = rate
        if rate is None:
            self._interactive = self._bulk = (_ENDLESS, _ENDLESS)
            return
        self._interactive = (rate.per_second, rate.per_minute)
        self._bulk = (_bulk_tokens(rate.per_second, self._reserve), _bulk_tokens(rate.per_minute, self._reserve))

    def ready_at(self, priority: Priority) -> float:
        """The earliest time of the lane's next grant, the pause included; in the past if it is due."""
        per_second, per_minute = self._bulk if priority == _BULK else self._interactive
        grants = self._grants
        held = len(grants)
        ready = self._paused_until
        if held >= per_second:
            ready = max(ready, _comes_back(grants[-per_second], self._second))
        if held >= per_minute:
            ready = max(ready, _comes_back(grants[-per_minute], self._minute))
        return ready

    def grant(self, now: float) -> None:
        """Spend a token at `now`. That one is due, by `ready_at`, is for the caller to check."""
        if self._rate is None:
            return
        self._grants.append(now)
        if len(self._grants) > self._sweep:
            self._forget_before(now - self._minute)

    def count_earlier(self, grants: Iterable[float]) -> None:
        """Count grants made elsewhere at those times, in any order, as spent."""
        if self._rate is not None:
            self._grants = array("d", sorted([*self._grants, *grants]))

    def give_back(self, granted: float) -> None:
        """Return the token spent at `granted`, unspent. Without effect for a grant that has left the windows."""
        last = bisect_right(self._grants, granted) - 1
        if last >= 0 and self._grants[last] == granted:
            del self._grants[last]

    def pause_until(self, when: float) -> None:
        """Grant nothing before `when`. Pauses combine by `max()`: none is ever shortened by a later one (G3)."""
        self._paused_until = max(self._paused_until, when)

    def free(self, now: float) -> tuple[int, int]:
        """Tokens free at `now` in the second and in the minute, the reserve included, pauses aside."""
        per_second, per_minute = self._interactive
        return (
            max(0, per_second - self._held(now, self._second)),
            max(0, per_minute - self._held(now, self._minute)),
        )

    def _held(self, now: float, window: float) -> int:
        grants = self._grants
        return len(grants) - bisect_right(grants, now, key=lambda granted: _comes_back(granted, window))

    def _forget_before(self, horizon: float) -> None:
        # By age, not by count: after the rate has shrunk and grown again, more than the last n grants matter.
        del self._grants[: bisect_left(self._grants, horizon)]
        self._sweep = _SWEEP_FROM + len(self._grants) * 5 // 4


def _comes_back(spent: float, window: float) -> float:
    back = spent + window
    # A sum rounded down would end the window a hair early. One of the two differences is exact and shows it.
    if back - spent < window or back - window < spent:
        back = math.nextafter(back, math.inf)
    return back


def _bulk_tokens(tokens: int, reserve: float) -> int:
    # The tolerance: 0.07 * 100 is a little more than 7 in floats, and must not round up to 8.
    kept = math.ceil(reserve * tokens - 1e-9)
    return tokens - min(kept, tokens - 1)
