"""The time a handler may take."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..clock import Clock

__all__ = ["GRACE", "TimeLimit"]

GRACE = 1.0
"""Seconds that a handler has to clean up after it was cancelled."""


class TimeLimit:
    """Cancels a task when its time is over, and gives it up if it then goes on for longer than ``GRACE``.

    Args:
        seconds: from now.
        clock: whose seconds these are.
        task: what is cancelled.
        give_up: called if it goes on.

    Attributes:
        over: the time was over before ``stop``.
    """

    __slots__ = ("_clock", "_give_up", "_task", "_timer", "over")

    def __init__(self, seconds: float, clock: Clock, task: asyncio.Task[object], give_up: Callable[[], object]) -> None:
        self.over = False
        self._clock = clock
        self._task = task
        self._give_up = give_up
        self._timer = clock.call_at(clock.monotonic() + seconds, self._cancel)

    def stop(self) -> None:
        """Say that what was limited has ended."""
        self._timer.cancel()
        if self.over:
            self._task.uncancel()

    def _cancel(self) -> None:
        self.over = True
        self._task.cancel()
        self._timer = self._clock.call_at(self._clock.monotonic() + GRACE, self._give_up)
