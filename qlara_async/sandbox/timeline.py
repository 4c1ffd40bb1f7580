"""Everything timed in the sandbox: one heap and one timer, however many messages live."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, TypeVar

from ..clock import Clock, Timer

__all__ = ["Timeline"]

T = TypeVar("T")

# Steps run in one go before the event loop gets its turn again: a backlog must not stall the server.
_BATCH = 512


class Timeline:
    """Steps to come, each a function and its subject.

    Args:
        clock: tells the time and wakes the timeline.
        on_drained: called each time the last step has run.
    """

    def __init__(self, clock: Clock, on_drained: Callable[[], object]) -> None:
        self._clock = clock
        self._on_drained = on_drained
        self._heap: list[tuple[float, int, Callable[[Any], object], Any]] = []
        self._added = 0
        self._timer: Timer | None = None
        self._armed_for = 0.0

    def __len__(self) -> int:
        return len(self._heap)

    def after(self, seconds: float, step: Callable[[T], object], subject: T) -> None:
        """Run ``step(subject)`` in ``seconds``; steps due at the same time run in the order they were added."""
        self._added += 1
        heappush(self._heap, (self._clock.monotonic() + seconds, self._added, step, subject))
        self._arm()

    def close(self) -> None:
        """Forget every step."""
        self._heap.clear()
        self._disarm()

    def _run(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        for _ in range(_BATCH):
            if not self._heap or self._heap[0][0] > now:
                break
            _, _, step, subject = heappop(self._heap)
            step(subject)
        self._arm()
        if not self._heap:
            self._on_drained()

    def _arm(self) -> None:
        if not self._heap:
            return
        due = self._heap[0][0]
        if self._timer is not None and self._armed_for <= due:
            return
        self._disarm()
        self._armed_for = due
        self._timer = self._clock.call_at(due, self._run)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
