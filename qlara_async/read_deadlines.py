"""Read time-outs for many requests at once."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

__all__ = ["ReadDeadlines"]

_TICK = 0.05


class ReadDeadlines:
    """Gives each request its read time-out, from when its body has left, without a timer for each.

    aiohttp's own read time-out sets two timers a request, a twelfth of the cost of a send. Here one tick serves all. So
    time-outs are up to 0.1 s late, and never run while a request waits for a pooled connection.
    """

    __slots__ = ("_expired", "_open", "_started", "_tick")

    def __init__(self) -> None:
        self._open: dict[asyncio.Task[Any], tuple[aiohttp.UploadTracker, float]] = {}
        self._started: dict[asyncio.Task[Any], float] = {}
        self._expired: dict[asyncio.Task[Any], int] = {}
        self._tick: asyncio.TimerHandle | None = None

    def watch(self, task: asyncio.Task[Any], tracker: aiohttp.UploadTracker, seconds: float) -> None:
        """Cancel `task` `seconds` after `tracker` has seen the body leave, unless it is forgotten before."""
        self._open[task] = (tracker, seconds)
        if self._tick is None:
            self._tick = asyncio.get_running_loop().call_later(_TICK, self._sweep)

    def forget(self, task: asyncio.Task[Any]) -> None:
        """The request has ended."""
        self._open.pop(task, None)
        if self._started:
            self._started.pop(task, None)

    def caused_cancellation(self, task: asyncio.Task[Any]) -> bool:
        """Whether a cancellation that `task` has caught is its time-out, and nobody else's as well. Ask once."""
        cancellations = self._expired.pop(task, None)
        return cancellations is not None and task.uncancel() <= cancellations

    def close(self) -> None:
        """Stop ticking."""
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None

    def _sweep(self) -> None:
        self._tick = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        for task, (tracker, seconds) in list(self._open.items()):
            if tracker.bytes_written and now >= self._started.setdefault(task, now) + seconds:
                self._expired[task] = task.cancelling()
                self.forget(task)
                task.cancel()
        if self._open:
            self._tick = loop.call_later(_TICK, self._sweep)
