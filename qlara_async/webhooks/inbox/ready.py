"""Work to be taken, and those who wait for it."""

from __future__ import annotations

import asyncio
from collections import deque

from . import Work

__all__ = ["ReadyWork"]


class ReadyWork:
    """A queue that wakes one taker at a time, the one that came last, which wakes the next.

    So a burst that one worker can serve without waiting costs one switch of tasks, not one for each event.
    """

    __slots__ = ("_takers", "_woken", "_work")

    def __init__(self) -> None:
        self._work: deque[Work] = deque()
        self._takers: list[asyncio.Future[None]] = []
        self._woken: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._work)

    def __bool__(self) -> bool:
        return bool(self._work)

    @property
    def waiting(self) -> int:
        """How many wait, the one who was woken included."""
        return len(self._takers) + (self._woken is not None)

    def put(self, work: Work) -> None:
        """Add work and wake somebody."""
        self._work.append(work)
        self._wake_one()

    async def take(self) -> Work:
        """Wait for work and take it. Cancelling loses none."""
        while not self._work:
            taker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._takers.append(taker)
            try:
                await taker
            except asyncio.CancelledError:
                self._arrived(taker)
                self._wake_one()
                raise
            self._arrived(taker)
        work = self._work.popleft()
        self._wake_one()
        return work

    def clear(self) -> list[Work]:
        """Take everything back."""
        left = list(self._work)
        self._work.clear()
        return left

    def _arrived(self, taker: asyncio.Future[None]) -> None:
        if taker is self._woken:
            self._woken = None
        elif taker in self._takers:
            self._takers.remove(taker)

    def _wake_one(self) -> None:
        while self._work and self._takers and self._woken is None:
            taker = self._takers.pop()
            if not taker.done():
                taker.set_result(None)
                self._woken = taker
