"""Tells ``on_status`` handlers: each outcome once, in order for one handler and message."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias, TypeVar

import msgspec

from ..clock import Clock, Timer, wait_for_tasks
from ..errors import ConfigurationError
from ..loggers import client_logger
from ..models.channel import DeliveryStatus
from ..webhooks.time_limit import GRACE
from .record import Notice, Record, StatusChange

__all__ = ["Handler", "Notifier", "StatusHandler", "Subscription"]

StatusHandler: TypeAlias = Callable[[StatusChange], Awaitable[object]]
"""An async function told of changes."""

Handler = TypeVar("Handler", bound=StatusHandler)

_CONCURRENCY = 32
_MAX_ATTEMPTS = 8
_FIRST_WAIT = 1.0
_MAX_WAIT = 300.0

_Lane: TypeAlias = tuple[str, str]  # message id and handler


class Subscription(msgspec.Struct, frozen=True):
    """A handler and the statuses it wants; all, if none are named."""

    handler: StatusHandler
    statuses: frozenset[DeliveryStatus]


class Notifier:
    """Runs the notices of records with a bounded number of tasks, none of them idle.

    One that fails is retried alone, after 1, 2, 4 … 300 s, eight runs in all; then it is given up and logged.

    Args:
        clock: for the waits.
        changed: called when a record's notices have changed.
    """

    def __init__(self, *, clock: Clock, changed: Callable[[Record], object]) -> None:
        self._handlers: dict[str, Subscription] = {}
        self._clock = clock
        self._changed = changed
        self._records: dict[_Lane, Record] = {}
        self._ready: deque[_Lane] = deque()
        self._resting: dict[_Lane, Timer] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle: list[asyncio.Future[None]] = []
        self._stopped = False

    def subscriber(self, statuses: frozenset[DeliveryStatus], name: str | None) -> Callable[[Handler], Handler]:
        """Return a decorator that registers a handler of those statuses; of all if there are none."""

        def register(handler: Handler) -> Handler:
            is_async: bool = inspect.iscoroutinefunction(handler)
            if not is_async:
                raise ConfigurationError("a handler is an async function: `async def handler(change)`")
            handler_name = name or f"{handler.__module__}.{handler.__qualname__}"
            if handler_name in self._handlers:
                raise ConfigurationError(f"two handlers are named {handler_name}: give one a name=")
            self._handlers[handler_name] = Subscription(handler, statuses)
            return handler

        return register

    def unknown(self, records: Iterable[Record]) -> list[str]:
        """Return the names of handlers that have still to be told of something, and are not registered."""
        return sorted({notice.handler for record in records for notice in record.notices} - self._handlers.keys())

    def resume(self, record: Record) -> None:
        """Count the runs that may have been under way when the process died: they may have killed it."""
        for notice in record.notices[:]:
            notice.attempts += 1
            if notice.attempts > _MAX_ATTEMPTS:
                record.notices.remove(notice)
                client_logger.error(
                    "on_status handler %s has not survived message %s", notice.handler, notice.change.message_id
                )

    def wanted(self, change: StatusChange) -> list[Notice]:
        """Return the notices that a change gives rise to."""
        return [
            Notice(name, change)
            for name, subscription in self._handlers.items()
            if not subscription.statuses or change.status in subscription.statuses
        ]

    def owes(self, record: Record) -> bool:
        """Whether a handler that is there has still to be told of something."""
        return any(notice.handler in self._handlers for notice in record.notices)

    def offer(self, record: Record) -> None:
        """Run the notices of a record, which are safely stored by now."""
        if self._stopped:
            return
        for handler in dict.fromkeys(notice.handler for notice in record.notices):
            lane = (record.message_id, handler)
            if handler in self._handlers and lane not in self._records:
                self._records[lane] = record
                self._make_ready(lane)

    async def idle(self) -> None:
        """Wait until every notice has been told or given up."""
        while self._records:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idle.append(waiter)
            await waiter

    @property
    def runs_here(self) -> bool:
        """Whether the current task is that of a handler: one that must not wait for its own end."""
        return asyncio.current_task() in self._tasks

    async def stop(self, timeout: float) -> None:
        """Let handlers that run finish within `timeout` seconds, then cancel them. The rest stays in the records.

        One that has not ended ``GRACE`` seconds later is left to itself.
        """
        self._stopped = True
        self._ready.clear()
        for timer in self._resting.values():
            timer.cancel()
        running = set(self._tasks)
        try:
            running = await wait_for_tasks(running, timeout, self._clock)
        finally:
            for task in running:
                task.cancel()
            stuck = await wait_for_tasks(running, GRACE, self._clock)
            if stuck:
                client_logger.error("%d on_status handlers did not end though they were cancelled", len(stuck))
            self._records.clear()
            self._wake_idle()

    def _make_ready(self, lane: _Lane) -> None:
        self._resting.pop(lane, None)
        self._ready.append(lane)
        if len(self._tasks) < _CONCURRENCY:
            task = asyncio.get_running_loop().create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self) -> None:
        while self._ready:
            lane = self._ready.popleft()
            await self._serve(lane, self._records[lane])

    async def _serve(self, lane: _Lane, record: Record) -> None:
        """Tell one handler all it has to be told of one message, until it fails."""
        while (notice := _next_for(lane[1], record)) is not None and not self._stopped:
            if not await self._told(notice):
                notice.attempts += 1
                self._changed(record)
                self._rest(lane, min(_MAX_WAIT, _FIRST_WAIT * 2.0 ** (notice.attempts - 2)))
                return
            record.notices.remove(notice)
            self._changed(record)
        self._records.pop(lane, None)
        if not self._records:
            self._wake_idle()

    def _rest(self, lane: _Lane, seconds: float) -> None:
        if not self._stopped:
            when = self._clock.monotonic() + seconds
            self._resting[lane] = self._clock.call_at(when, lambda: self._make_ready(lane))

    async def _told(self, notice: Notice) -> bool:
        """Run the handler; ``True`` if it need not run again."""
        try:
            await self._handlers[notice.handler].handler(notice.change)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            failure: BaseException = error  # something inside the handler was cancelled, not we
        except Exception as error:
            failure = error
        else:
            return True
        over = notice.attempts >= _MAX_ATTEMPTS
        client_logger.error(
            "on_status handler %s failed on message %s (run %d%s): %s",
            notice.handler,
            notice.change.message_id,
            notice.attempts,
            ", the last" if over else "",
            type(failure).__name__,
        )
        return over

    def _wake_idle(self) -> None:
        for waiter in self._idle:
            if not waiter.done():
                waiter.set_result(None)
        self._idle.clear()


def _next_for(handler: str, record: Record) -> Notice | None:
    return next((notice for notice in record.notices if notice.handler == handler), None)
