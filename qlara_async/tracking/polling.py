"""Asks the status API: for those who wait, and to repair lost callbacks (guarantee G13)."""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import Awaitable, Callable, Iterator

import msgspec

from ..clock import Clock
from ..errors import ClientStateError, ConfigurationError, QlaraError
from ..loggers import client_logger
from ..models.answers import MessageStatus
from ..models.channel import Channel
from .book import Book
from .record import Record
from .waiting import Waiters

__all__ = ["Ask", "Poller", "Schedule"]

Ask = Callable[[list[str], Channel], Awaitable[dict[str, MessageStatus | None]]]

# As many minted ids as one URL holds (`protocol.requests`); longer ids of the caller's own are split there.
_IDS_PER_REQUEST = 180
# Whatever falls due within the same slot is asked about together. For those who wait a slot is short.
_SLOT = 5.0
_WAITED_SLOT = 0.5
# "Wait a few seconds after a send before you ask"; with a receiver its callbacks get a little longer to come first.
_FIRST_LOOK = 2.0
_FIRST_LOOK_BESIDE_CALLBACKS = 10.0
_MAX_WAITED_INTERVAL = 60.0


class Schedule(msgspec.Struct, frozen=True):
    """When a message without a final status is asked about; all in seconds.

    Attributes:
        poll_after: after the send, for the first time. The interval doubles from there, as the message grows old.
        max_interval: the longest interval.
        give_up_after: after the send, no more.
    """

    poll_after: float
    max_interval: float
    give_up_after: float

    def __post_init__(self) -> None:
        if not 0 < self.poll_after <= self.max_interval or self.give_up_after <= 0:
            raise ConfigurationError("poll_after, max_interval and give_up_after are above 0 seconds, in that order")

    def interval(self, age: float) -> float:
        """Seconds until the next look at a message of that age: it takes no counter, so a restart changes nothing."""
        if age < self.poll_after:
            return self.poll_after - age
        return min(self.max_interval, age)


class Poller:
    """One task that asks about what is due, in batches, and sleeps in between.

    Args:
        book: the messages.
        waiters: messages that somebody waits for are asked about sooner.
        ask: the status API.
        heard: takes the statuses found.
        gave_up: takes a message whose time is over.
        schedule: see there.
        attended: tells whether callbacks of a message come to us.
        clock: for the waits.
    """

    def __init__(
        self,
        book: Book,
        waiters: Waiters,
        *,
        ask: Ask,
        heard: Callable[[list[MessageStatus]], Awaitable[object]],
        gave_up: Callable[[Record], object],
        schedule: Schedule,
        attended: Callable[[Record], bool],
        clock: Clock,
    ) -> None:
        self._book = book
        self._waiters = waiters
        self._ask = ask
        self._heard = heard
        self._gave_up = gave_up
        self._schedule = schedule
        self._attended = attended
        self._clock = clock
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._news: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the task."""
        self._task = asyncio.create_task(self._run())

    def stop(self) -> None:
        """Stop the task."""
        if self._task is not None:
            self._task.cancel()

    async def ended(self) -> None:
        """Wait until the task is gone."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    def expect(self, record: Record) -> None:
        """See to it that the message is asked about when its time comes."""
        age = self._clock.time() - record.sent_at
        self._put(record, self._schedule.interval(max(0.0, age)) - min(0.0, age))

    def resume(self, record: Record) -> None:
        """Like `expect`, after a restart: what is overdue is asked about now."""
        age = self._clock.time() - record.sent_at
        self._put(record, max(0.0, self._schedule.poll_after - age))

    def hurry(self, record: Record) -> None:
        """Somebody begins to wait for the message."""
        not_yet = max(0.0, record.sent_at - self._clock.time())
        first = _FIRST_LOOK_BESIDE_CALLBACKS if self._attended(record) else _FIRST_LOOK
        self._put(record, not_yet + first, _WAITED_SLOT)

    def _put(self, record: Record, delay: float, slot: float = _SLOT) -> None:
        slot = min(slot, max(_WAITED_SLOT, delay / 4))
        due = math.ceil((self._clock.monotonic() + delay) / slot) * slot
        if due >= self._due.get(record.message_id, math.inf):
            return
        self._due[record.message_id] = due
        heapq.heappush(self._heap, (due, record.message_id))
        if self._heap[0][0] == due and self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def _run(self) -> None:
        while True:
            await self._until_due()
            asked: dict[Channel, list[str]] = {}
            for record in self._take_due():
                for channel in record.to_ask():
                    asked.setdefault(channel, []).append(record.message_id)
            for channel, message_ids in asked.items():
                for start in range(0, len(message_ids), _IDS_PER_REQUEST):
                    if not await self._poll(message_ids[start : start + _IDS_PER_REQUEST], channel):
                        return

    async def _until_due(self) -> None:
        while not self._heap or self._heap[0][0] > self._clock.monotonic():
            self._news = asyncio.get_running_loop().create_future()
            timer = None
            if self._heap:
                timer = self._clock.call_at(self._heap[0][0], self._wake)
            try:
                await self._news
            finally:
                self._news = None
                if timer is not None:
                    timer.cancel()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def _take_due(self) -> Iterator[Record]:
        now = self._clock.monotonic()
        while self._heap and self._heap[0][0] <= now:
            due, message_id = heapq.heappop(self._heap)
            if self._due.get(message_id) != due:
                continue
            del self._due[message_id]
            record = self._book.get(message_id)
            if record is None or record.over:
                continue
            age = self._clock.time() - record.sent_at
            if age >= self._schedule.give_up_after:
                self._gave_up(record)
                continue
            self._put_next(record, age)
            yield record

    def _put_next(self, record: Record, age: float) -> None:
        # Before the poll, whose failure so changes nothing.
        since = self._waiters.since(record.message_id)
        if since is not None:
            waited = self._clock.monotonic() - since
            self._put(record, min(_MAX_WAITED_INTERVAL, max(_FIRST_LOOK, waited)), _WAITED_SLOT)
        until_the_end = max(0.0, self._schedule.give_up_after - age)
        self._put(record, min(self._schedule.interval(max(0.0, age)), until_the_end))

    async def _poll(self, message_ids: list[str], channel: Channel) -> bool:
        """Ask, and pass on what was found. ``False`` if there is nobody to ask any more."""
        try:
            found = await self._ask(message_ids, channel)
            await self._heard([status for status in found.values() if status is not None])
        except ClientStateError:
            client_logger.warning("the client is closed: delivery statuses are no longer asked for")
            return False
        except QlaraError as error:
            client_logger.info("asking for %d statuses failed: %s", len(message_ids), type(error).__name__)
        except Exception as error:  # a mistake of ours must not end the repairs
            client_logger.error("taking %d statuses failed: %s", len(message_ids), type(error).__name__)
        return True
