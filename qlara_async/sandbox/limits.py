"""The gateway's rate limit as it shows: a verdict for each request, and the headers of every answer.

``X-RateLimit-Limit`` and ``-Remaining`` are documented, of the window of a minute (the larger one; a guess).
``X-RateLimit-Reset`` is a guess: whole seconds until a request leaves that window.
"""

from __future__ import annotations

from collections import deque
from math import ceil

from ..models.options import Priority, RateLimit
from ..protocol.windows import GrantWindows

__all__ = ["Meter"]

_MINUTE = 60.0


class Meter:
    """Counts the requests of one API key against a `RateLimit`, or against none."""

    def __init__(self, rate: RateLimit | None) -> None:
        self._rate = rate
        self._windows = None if rate is None else GrantWindows(rate, guard=0.0, reserve=0.0)
        self._minute: deque[float] = deque()

    def admit(self, now: float) -> float | None:
        """Count a request at ``now``; if it is one too many, return the seconds to wait instead of counting it."""
        if self._windows is None:
            return None
        ready_at = self._windows.ready_at(Priority.INTERACTIVE)
        if ready_at > now:
            return ready_at - now
        self._windows.grant(now)
        self._minute.append(now)
        return None

    def headers(self, now: float) -> dict[str, str]:
        """Return the rate-limit headers of an answer given at ``now``; none without a limit."""
        if self._rate is None:
            return {}
        minute = self._minute
        while minute and minute[0] <= now - _MINUTE:
            minute.popleft()
        reset = ceil(minute[0] + _MINUTE - now) if minute else 0
        return {
            "X-RateLimit-Limit": str(self._rate.per_minute),
            "X-RateLimit-Remaining": str(self._rate.per_minute - len(minute)),
            "X-RateLimit-Reset": str(reset),
        }
