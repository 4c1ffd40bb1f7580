"""Those who wait for a message, any number for each."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import ClientStateError
from .record import StatusChange

__all__ = ["Waiter", "Waiters"]


class Waiter:
    """One who waits: it looks at the state of things, then awaits `woken`, and looks again.

    Nothing else runs between a look and the wait, so no wake-up can be lost; outcomes queue up until they are taken.

    Attributes:
        changes: outcomes since it began to wait, not yet taken.
        since: monotonic seconds when it began.
        expired: it has waited long enough.
    """

    __slots__ = ("_future", "changes", "expired", "since")

    def __init__(self, since: float) -> None:
        self.changes: deque[StatusChange] = deque()
        self.since = since
        self.expired = False
        self._future: asyncio.Future[None] | None = None

    def wake(self, change: StatusChange | None = None) -> None:
        """Tell of an outcome, or only that it is time to look again."""
        if change is not None:
            self.changes.append(change)
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    def expire(self) -> None:
        """Tell that it has waited long enough."""
        self.expired = True
        self.wake()

    async def woken(self) -> None:
        """Return when woken. Raises ``ClientStateError`` if another task is at it already."""
        if self._future is not None:
            raise ClientStateError("one task at a time can take the statuses of a watch")
        self._future = asyncio.get_running_loop().create_future()
        try:
            await self._future
        finally:
            self._future = None


class Waiters:
    """All waiters, by message id; a message that nobody waits for has no entry."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Waiter]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def __contains__(self, message_id: str) -> bool:
        return message_id in self._waiting

    def since(self, message_id: str) -> float | None:
        """When the one that waits longest began, or ``None`` if nobody waits."""
        waiting = self._waiting.get(message_id)
        return waiting[0].since if waiting else None

    def wake(self, message_id: str, change: StatusChange | None) -> None:
        """Wake all who wait for a message."""
        for waiter in self._waiting.get(message_id, ()):
            waiter.wake(change)

    def wake_all(self) -> None:
        """Wake everyone to look again."""
        for message_id in list(self._waiting):
            self.wake(message_id, None)

    @contextmanager
    def waiting(self, message_id: str, now: float) -> Iterator[Waiter]:
        """Be a waiter of that message inside the block."""
        waiter = Waiter(now)
        self._waiting.setdefault(message_id, []).append(waiter)
        try:
            yield waiter
        finally:
            others = self._waiting[message_id]
            others.remove(waiter)
            if not others:
                del self._waiting[message_id]
