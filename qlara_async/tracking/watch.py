"""``tracker.watch``: a message's statuses as they come."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from types import TracebackType

from ..errors import ClientStateError
from ..models.answers import MessageStatus
from ..models.channel import DeliveryStatus
from .record import Record, Target
from .waiting import Waiter

__all__ = ["Watch"]


class Watch:
    """``async with tracker.watch(receipt) as statuses: async for status in statuses: …``.

    Yields the status known when it is entered, if any, then each outcome as it is told, and ends when nothing more can
    come. It has no task of its own; leaving the block by whatever way leaves nothing behind.
    """

    def __init__(
        self,
        find: Callable[[], Awaitable[Record]],
        wait: Callable[[Record], AbstractContextManager[Waiter]],
        check_open: Callable[[], None],
        until: Target,
    ) -> None:
        self._find = find
        self._wait = wait
        self._check_open = check_open
        self._until: Target = until
        self._record: Record | None = None
        self._waiter: Waiter | None = None
        self._waiting: AbstractContextManager[Waiter] | None = None
        self._first: MessageStatus | None = None

    async def __aenter__(self) -> Watch:
        if self._waiting is not None:
            raise ClientStateError("a watch is entered once: call tracker.watch(…) again")
        record = await self._find()
        self._record, self._waiting = record, self._wait(record)
        self._waiter = self._waiting.__enter__()
        if record.told is not DeliveryStatus.UNKNOWN:
            self._first = record.snapshot(record.told)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._waiter = None
        if self._waiting is not None:
            self._waiting.__exit__(None, None, None)

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> MessageStatus:
        record, waiter = self._record, self._waiter
        if record is None or waiter is None:
            raise ClientStateError("enter the watch first: async with tracker.watch(…) as statuses")
        if self._first is not None:
            first, self._first = self._first, None
            return first
        while not waiter.changes:
            if record.closed or record.reached(self._until) or record.unreachable(self._until):
                raise StopAsyncIteration
            self._check_open()
            await waiter.woken()
        return record.snapshot(waiter.changes.popleft().status)
