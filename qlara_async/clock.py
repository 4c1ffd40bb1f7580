"""The clock, as the rest of the package sees it: injected, so that tests run on virtual time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

__all__ = ["Clock", "SystemClock", "Timer"]


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
