"""Read time-outs for many requests at once."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

__all__ = ["ReadDeadlines"]

_TICK = 0.05


class _Watched:
    __slots__ = ("cancellations", "progress_at", "seconds", "tracker", "written")

    def __init__(self, task: asyncio.Task[Any], tracker: aiohttp.UploadTracker, seconds: float) -> None:
        self.cancellations = task.cancelling()
        self.tracker = tracker
        self.seconds = seconds
        self.written = 0
        self.progress_at = 0.0

    def is_over(self, now: float) -> bool:
        written = self.tracker.bytes_written
        if written != self.written:
            self.written = written
            self.progress_at = now
        return written > 0 and now >= self.progress_at + self.seconds


class ReadDeadlines:
    """Gives each request its read time-out: from when its body has left, or the peer has stopped taking it.

    aiohttp's own read time-out sets two timers a request, a twelfth of the cost of a send. Here one tick serves all. So
    time-outs are up to 0.1 s late, and never run while a request waits for a pooled connection.
    """

    __slots__ = ("_expired", "_open", "_tick")

    def __init__(self) -> None:
        self._open: dict[asyncio.Task[Any], _Watched] = {}
        self._expired: dict[asyncio.Task[Any], _Watched] = {}
        self._tick: asyncio.TimerHandle | None = None

    def watch(self, task: asyncio.Task[Any], tracker: aiohttp.UploadTracker, seconds: float) -> None:
        """Cancel `task` when `tracker` has begun and then seen no progress for `seconds`, unless forgotten before."""
        self._open[task] = _Watched(task, tracker, seconds)
        if self._tick is None:
            self._tick = asyncio.get_running_loop().call_later(_TICK, self._sweep)

    def forget(self, task: asyncio.Task[Any]) -> None:
        """The request has ended."""
        self._open.pop(task, None)

    def caused_cancellation(self, task: asyncio.Task[Any]) -> bool:
        """Whether a cancellation that `task` has caught is its time-out, and nobody else's as well. Ask once."""
        watched = self._expired.pop(task, None)
        return watched is not None and task.uncancel() <= watched.cancellations

    def _sweep(self) -> None:
        self._tick = None
        loop = asyncio.get_running_loop()
        over = [task for task, watched in self._open.items() if watched.is_over(loop.time())]
        if over:
            # After a stall of the loop the answer may be here, its task not yet: that one goes first.
            loop.call_soon(loop.call_soon, self._expire, over)
        if self._open:
            self._tick = loop.call_later(_TICK, self._sweep)

    def _expire(self, tasks: list[asyncio.Task[Any]]) -> None:
        for task in tasks:
            watched = self._open.pop(task, None)
            if watched is not None:
                self._expired[task] = watched
                task.cancel()
