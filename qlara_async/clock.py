"""The clock, as the rest of the package sees it: injected, so that tests run on virtual time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol

__all__ = ["Clock", "SystemClock", "Timer", "wait_for_tasks"]


class Timer(Protocol):
    """A scheduled call that can be withdrawn."""

    def cancel(self) -> None:
        """Withdraw the call; without effect if it has run."""


class Clock(Protocol):
    """Monotonic and wall time in seconds, sleeping, and timers."""

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""

    def time(self) -> float:
        """Seconds since the epoch."""

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        """Call back when `monotonic()` has reached `when`."""


class SystemClock:
    """The clock of the machine and of the running event loop."""

    __slots__ = ()

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        return time.monotonic()

    def time(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        """Call back when `monotonic()` has reached `when`."""
        return asyncio.get_running_loop().call_later(max(0.0, when - time.monotonic()), callback)


async def wait_for_tasks(tasks: Iterable[asyncio.Task[Any]], seconds: float, clock: Clock) -> set[asyncio.Task[Any]]:
    """Wait until these are done, and return those that are not after so many seconds."""
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    timer = clock.call_at(clock.monotonic() + seconds, partial(_set, over))
    pending = set(tasks)
    try:
        while pending and not over.done():
            done, _ = await asyncio.wait({*pending, over}, return_when=asyncio.FIRST_COMPLETED)
            pending -= done
    finally:
        timer.cancel()
    return pending


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
