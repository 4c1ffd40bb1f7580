"""The tracker: from receipts, callbacks and polls to statuses, waits and handlers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from enum import IntEnum
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ..clock import Clock, SystemClock
from ..errors import (
    ClientStateError,
    ConfigurationError,
    QlaraError,
    StatusTimeout,
    StatusUnreachableError,
)
from ..loggers import client_logger
from ..models.answers import MessageStatus, Receipt
from ..models.channel import Channel, DeliveryStatus
from ..models.erasure import Erased
from ..models.message import Message
from ..models.options import Priority, RetryPolicy
from ..protocol.numbers import checked_number
from ..webhooks.router import Router
from .book import Book
from .erasure import erase_from
from .notices import Handler, Notifier
from .polling import Poller, Schedule
from .record import Record, Report, StatusChange, Target, check_target, record_of
from .repair import Repair
from .store import FileStore, MemoryStore, Store
from .waiting import Waiter, Waiters
from .watch import Watch

if TYPE_CHECKING:
    from ..client import QlaraClient

__all__ = ["DeliveryTracker"]

# A poll that does not get through is left to the next one.
_POLL_RETRY = RetryPolicy(max_attempts=3, max_wait=30.0, max_elapsed=60.0)


class _Phase(IntEnum):
    NEW = 0
    OPEN = 1
    CLOSED = 2


class DeliveryTracker:
    """Knows what became of the messages its client sends.

    ::

        async with QlaraClient(…) as qlara, DeliveryTracker(qlara, store="tracking.db") as tracker:
            receiver.include(tracker.router)             # callbacks reach it; without a receiver it polls
            receipt = await qlara.send(message)
            status = await tracker.wait_until(receipt, "delivered", timeout=60)

    It starts with its block, or by itself with the first send, callback or wait; `aclose` it then before the client.

    Callbacks and polls are joined by the order of statuses (guarantee G10), so it does not matter which comes first,
    how often, or in what order. Messages without a final status are asked about in batches, `poll_after` seconds after
    the send and then at growing intervals (guarantee G13); what is found enters through the receiver's inbox, if there
    is one. READ is told by callbacks only: a lost one cannot be repaired.

    Args:
        client: whose sends are tracked, those of its views and bulk jobs included. Polls wait in its bulk lane.
        store: an SQLite file, for one process at a time, that lets a restart go on where this process stopped;
            ``None`` keeps everything in memory.
        poll_after: seconds after the send when a message without a final status is first asked about. One that
            somebody waits for is asked about sooner.
        max_interval: the longest time between two polls, in seconds.
        give_up_after: seconds after the send when a message without a final status is given up.
        keep: seconds for which a message is remembered after its final status: until then a late READ is told.
        max_tracked: messages remembered; beyond it those that ended first are forgotten first, but none before its
            outcome was told.
        drain_timeout: seconds that `aclose` waits for handlers that run.
        name: of the tracker among those of one receiver: a durable inbox keeps events for it under this name.
        clock: for tests.

    Raises:
        ConfigurationError: times or numbers that cannot work.
    """

    def __init__(
        self,
        client: QlaraClient,
        store: str | PathLike[str] | None = None,
        *,
        poll_after: float = 60.0,
        max_interval: float = 900.0,
        give_up_after: float = 72 * 3600.0,
        keep: float = 86_400.0,
        max_tracked: int = 100_000,
        drain_timeout: float = 10.0,
        name: str = "qlara_async.tracking",
        clock: Clock | None = None,
    ) -> None:
        if max_tracked < 1 or keep < 0 or drain_timeout < 0:
            raise ConfigurationError("max_tracked is at least 1, and times of a tracker are not negative")
        self._clock = clock or SystemClock()
        self._messages = client.with_options(retry=_POLL_RETRY, priority=Priority.BULK).messages
        self._store: Store = MemoryStore() if store is None else FileStore(Path(store), self._clock)
        self._book = Book(keep=keep, limit=max_tracked)
        self._waiters = Waiters()
        self._notifier = Notifier(clock=self._clock, changed=self._store.save)
        self.router = Router()
        """Takes callbacks to the tracker: ``receiver.include(tracker.router)``."""
        self._repair = Repair(self.router, self._book, self._apply, self._store, self._clock)
        self._poller = Poller(
            self._book,
            self._waiters,
            ask=lambda message_ids, channel: self._messages.statuses(message_ids, channel=channel),
            heard=self._repair.hear,
            gave_up=self._give_up,
            schedule=Schedule(poll_after, max_interval, give_up_after),
            attended=lambda record: record.notified and self._repair.receiver is not None,
            clock=self._clock,
        )
        self._phase = _Phase.NEW
        self._drain_timeout = drain_timeout
        self._starting = asyncio.Lock()
        self._starter: asyncio.Task[None] | None = None
        self._closing = asyncio.Lock()
        self._closer: asyncio.Task[None] | None = None
        self._backlog: deque[Record] = deque(maxlen=max_tracked)
        self._stop_listening = client.on_receipt(self._accepted)
        self.router.on_delivery(name=f"{name}.delivery")(self._called_back)
        self.router.on_read(name=f"{name}.read")(self._called_back)

    async def start(self) -> None:
        """Open the store, take up what it holds, and begin to poll.

        Raises:
            TrackingStoreError: the file is in use by another process, or cannot be used.
            ClientStateError: the tracker is closed.
        """
        if self._phase is _Phase.OPEN:
            return
        async with self._starting:
            self._check_open()
            if self._phase is _Phase.NEW:
                self._resume(await self._store.open(self._notifier.offer))

    async def aclose(self) -> None:
        """Stop polling, let handlers finish, close the store. Who still waits gets a ``ClientStateError``.

        Called by an ``on_status`` handler it only begins to, and returns; the handler has ``drain_timeout`` seconds to
        end.
        """
        if self._notifier.runs_here:
            self._closer = asyncio.get_running_loop().create_task(self._close_unasked())
            return
        self._stop_listening()
        async with self._closing:
            async with self._starting:
                if self._phase is _Phase.CLOSED:
                    return
                was_open, self._phase = self._phase is _Phase.OPEN, _Phase.CLOSED
            self._waiters.wake_all()
            async with AsyncExitStack() as ending:
                if was_open:
                    ending.push_async_callback(self._store.close)
                ending.push_async_callback(self._poller.ended)
                ending.push_async_callback(self._notifier.stop, self._drain_timeout)
                self._poller.stop()

    async def _close_unasked(self) -> None:
        try:
            await self.aclose()
        except QlaraError as error:
            client_logger.error("delivery tracking was not closed in order: %s", error)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"DeliveryTracker({self._phase.name.lower()}, unfinished={self.unfinished})"

    @property
    def unfinished(self) -> int:
        """Tracked messages without a final status."""
        return self._book.unfinished

    async def idle(self) -> None:
        """Wait until every outcome so far has been told to its handlers, or given up, and is stored."""
        await self._store.flush()
        await self._notifier.idle()
        await self._store.flush()

    # --- what is told ---

    def on_status(self, *statuses: DeliveryStatus | str, name: str | None = None) -> Callable[[Handler], Handler]:
        """Register an ``async`` handler of a `StatusChange`: it runs once for each outcome of a message.

        It does not matter whether callbacks told it, polls, or both, nor how often. A failure is told when no fallback
        can follow any more; ``EXPIRED`` and ``ERROR`` are one outcome, a failure, since callbacks do not tell them
        apart. A handler that raises is retried alone, with backoff, eight runs in all. With a store all this holds
        across restarts; only a handler that was running when the process died runs again.

        Args:
            statuses: those wanted; all if none are given.
            name: the durable name, if ``module.qualname`` will not do.

        Raises:
            ConfigurationError: it is not ``async``, or its name is taken.
        """
        if any(not isinstance(status, str) for status in statuses):
            raise ConfigurationError("to register a handler, write @tracker.on_status() with ()")
        return self._notifier.subscriber(frozenset(map(_known_status, statuses)), name)

    async def erase(self, number: str) -> Erased:
        """Forget the messages that have a number in an id, or in the gateway's words, and leave no byte of it.

        Nothing else of a message is known here. One under way, or with an outcome that a handler is still to be told
        of, is kept, and the report says so: erase again later.

        Args:
            number: with its country code, as ``+39…`` or ``0039…``.

        Raises:
            InvalidMessageError: it is no such number.
            TrackingStoreError: the store cannot be used.
            ClientStateError: the tracker is closed.
        """
        plain = checked_number(number)
        await self.start()
        return await erase_from(self._book, self._store, plain, untold=self._notifier.owes)

    # --- waits ---

    async def track(self, receipt: Receipt, message: Message | None = None) -> None:
        """Track a message that another client sent. The tracker's own client need not be told of.

        Args:
            receipt: of the message.
            message: for its fallbacks; without it, it is taken to have none.
        """
        await self.start()
        self._add(record_of(receipt, message, now=self._clock.time()))

    async def status(self, message: Receipt | str) -> MessageStatus | None:
        """Return what is known of a message now, without asking; ``None`` if it is not tracked."""
        await self.start()
        record = self._book.get(message if isinstance(message, str) else message.message_id)
        return None if record is None else record.snapshot()

    async def knows(self, channel: Channel | str, message_id: str) -> bool:
        """Whether a message of this id, the sender's or the gateway's, is tracked on whatever channel.

        For ``WebhookReceiver(known_ids_only=tracker)``; a fallback has another channel than its message.
        """
        await self.start()
        return self._book.get(message_id) is not None

    async def wait_until(
        self,
        message: Receipt | str,
        target: Target,
        *,
        timeout: float | None = None,
        channel: Channel | str | None = None,
    ) -> MessageStatus:
        """Wait until a message is ``"delivered"`` (or read), ``"read"``, or has its ``"final"`` status.

        Callbacks tell, if a receiver includes `router`, and polls otherwise, whichever is first.

        Args:
            message: its receipt or id.
            target: what to wait for.
            timeout: seconds; ``None`` waits until the tracker gives the message up.
            channel: the channel it was sent on, for an id that is not tracked yet.

        Raises:
            StatusTimeout: not within `timeout`; ``status`` is the last one known.
            StatusUnreachableError: the message has ended otherwise; ``status`` says how.
            ClientStateError: the tracker was closed.
            ConfigurationError: no such target, or an unknown id without a channel.
        """
        check_target(target)
        record = await self._find(message, channel)
        with self._wait(record) as waiter:
            timer = None
            if timeout is not None:
                timer = self._clock.call_at(self._clock.monotonic() + timeout, waiter.expire)
            try:
                while not record.reached(target):
                    self._check_waiting(record, target, waiter)
                    await waiter.woken()
            finally:
                if timer is not None:
                    timer.cancel()
        return record.snapshot()

    def watch(self, message: Receipt | str, *, until: Target = "final", channel: Channel | str | None = None) -> Watch:
        """Follow a message: ``async with tracker.watch(receipt) as statuses: async for status in statuses: …``.

        Yields the outcomes that `on_status` handlers are told, that known already first. It ends when `until` is
        reached or cannot be any more, or the message is given up. Raises like `wait_until`, without the waits' own.
        """
        check_target(until)
        return Watch(lambda: self._find(message, channel), self._wait, self._check_open, until)

    @contextmanager
    def _wait(self, record: Record) -> Iterator[Waiter]:
        with self._waiters.waiting(record.message_id, self._clock.monotonic()) as waiter:
            if not record.over:
                self._poller.hurry(record)
            yield waiter

    async def _find(self, message: Receipt | str, channel: Channel | str | None) -> Record:
        await self.start()
        if isinstance(message, Receipt):
            return self._add(record_of(message, None, now=self._clock.time()))
        record = self._book.get(message)
        if record is not None:
            return record
        if channel is None:
            raise ConfigurationError("this message is not tracked: give its receipt, or the channel it was sent on")
        return self._add(Record(message_id=message, channel=_known_channel(channel), sent_at=self._clock.time()))

    def _check_waiting(self, record: Record, target: Target, waiter: Waiter) -> None:
        self._check_open()
        message_id = record.message_id
        if record.unreachable(target):
            raise StatusUnreachableError(
                f"message {message_id} ended as {record.status}: it will not be {target}",
                message_id=message_id,
                status=record.snapshot(),
            )
        if record.closed or waiter.expired:
            late = "was given up before it was" if record.closed else "was not in time"
            raise StatusTimeout(
                f"message {message_id} {late} {target}: it is {record.status}",
                message_id=message_id,
                status=record.snapshot(),
            )

    def _check_open(self) -> None:
        if self._phase is _Phase.CLOSED:
            raise ClientStateError("the tracker is closed")

    # --- what comes in ---

    def _accepted(self, message: Message, receipt: Receipt) -> None:
        if receipt.simulation:
            return
        record = record_of(receipt, message, now=self._clock.time())
        if self._phase is _Phase.OPEN:
            self._add(record)
            return
        self._backlog.append(record)
        if self._starter is None or self._starter.done():
            self._starter = asyncio.get_running_loop().create_task(self._start_unasked())

    async def _start_unasked(self) -> None:
        try:
            await self.start()
        except QlaraError as error:
            client_logger.error("delivery tracking cannot start: %s", error)

    def _resume(self, records: list[Record]) -> None:
        unknown = self._notifier.unknown(records)
        if unknown:
            client_logger.warning("changes are kept for on_status handlers that are gone: %s", ", ".join(unknown))
        for record in sorted(records, key=lambda record: record.ended_at or record.sent_at):
            self._book.add(record)
            if not record.over:
                self._poller.resume(record)
            if record.notices:
                self._notifier.resume(record)
                self._store.save(record)
        self._phase = _Phase.OPEN
        while self._backlog:
            self._add(self._backlog.popleft())
        self._poller.start()

    def _add(self, record: Record) -> Record:
        known = self._book.get(record.message_id)
        if known is not None:
            return known
        overtakers = self._book.add(record)
        self._store.save(record)
        self._poller.expect(record)
        for report in overtakers:
            self._apply(record, report)
        for forgotten in self._book.forget(
            self._clock.time(), watched=lambda one: one.message_id in self._waiters, untold=self._notifier.owes
        ):
            self._store.forget(forgotten)
        return record

    async def _called_back(self, report: Report) -> None:
        await self.start()
        record = self._book.find(report)
        if record is None:
            self._book.hold(report, self._clock.monotonic())
            return
        self._apply(record, report)
        await self._store.flush()

    def _apply(self, record: Record, report: Report) -> None:
        overtakers = self._book.learn(record, report)
        told, change = record.hear(report)
        if told:
            self._changed(record, change)
        for overtaker in overtakers:
            self._apply(record, overtaker)

    def _give_up(self, record: Record) -> None:
        self._changed(record, record.close())

    def _changed(self, record: Record, change: StatusChange | None) -> None:
        if change is not None:
            record.notices.extend(self._notifier.wanted(change))
        if record.over and record.ended_at is None:
            record.ended_at = self._clock.time()
            self._book.end(record)
        self._store.save(record)
        self._waiters.wake(record.message_id, change)


def _known_channel(channel: str) -> Channel:
    try:
        return Channel(channel.upper())
    except ValueError:
        raise ConfigurationError("channel must be SMS, RCS or WHATSAPP") from None


def _known_status(status: str) -> DeliveryStatus:
    try:
        return DeliveryStatus(status.upper())
    except ValueError:
        raise ConfigurationError(f"a delivery status is {', '.join(DeliveryStatus)}") from None
