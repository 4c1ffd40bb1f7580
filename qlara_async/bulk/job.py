"""The bulk pipeline: bounded workers that pull from a source and stream outcomes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING

from ..clock import Clock
from ..errors import AuthenticationError, ClientStateError, ConfigurationError, QlaraError
from ..models.answers import Receipt
from ..models.message import Message
from ..protocol.batches import check_batchable
from ..protocol.outcomes import OutcomeState, state_of
from .outcome import BulkSummary, Outcome
from .rows import Row, read_row
from .source import Source

if TYPE_CHECKING:  # it brings SQLite, which a job without a journal does without
    from ..sending.batches import BatchingSender
    from .journalled import JournalledDelivery

__all__ = ["BulkJob"]

# Items drawn and not yet taken by the consumer, for each worker: enough to keep the workers busy while the consumer is,
# few enough that memory stays flat (guarantee G4).
_WINDOW_PER_WORKER = 4

_ACCEPTED = OutcomeState.ACCEPTED  # an enum's member costs a call to look up, and this one is for each message


class BulkJob:
    """A running job: ``async with client.bulk(source) as job: async for outcome in job: …``.

    At most ``4 × concurrency`` items are drawn and not yet taken, so a slow consumer slows the source. Leaving the
    block, by whatever way, stops the workers, closes the source if it is a generator and leaves no task behind.

    The loop ends with the source. It raises what the source raised, or ``AuthenticationError`` once the gateway
    refuses the key, after the outcomes of everything drawn before; nothing more is drawn then.
    """

    def __init__(
        self,
        source: Iterable[object] | AsyncIterable[object],
        send: Callable[[Message], Awaitable[Receipt]],
        *,
        concurrency: int,
        ordered: bool,
        clock: Clock,
        journalled: JournalledDelivery | None = None,
        batching: BatchingSender | None = None,
    ) -> None:
        if concurrency < 1:
            raise ConfigurationError("concurrency must be at least 1")
        self._source = Source(source)
        self._send = send
        self._concurrency = concurrency
        self._ordered = ordered
        self._clock = clock
        self._journalled = journalled
        self._batching = batching
        self._check = None if batching is None else check_batchable
        # Where nothing is waited for between two rows, a worker carries as many as a request takes.
        carries_many = batching is not None and journalled is None and not self._source.waits
        self._parcel = batching.batch if batching is not None and carries_many else 1
        self._in_order = asyncio.Lock()
        self._missing = 0
        self._room = _WINDOW_PER_WORKER * concurrency
        self._blocked: deque[asyncio.Future[None]] = deque()
        self._outcomes: deque[Outcome] = deque()
        self._consumer: asyncio.Future[None] | None = None
        self._early: dict[int, Outcome] = {}
        self._next_index = 0
        self._workers: list[asyncio.Task[None]] = []
        self._working = 0
        self._drawing: set[asyncio.Task[object] | None] = set()
        self._stopping = False
        self._error: Exception | None = None
        self._states = dict.fromkeys(OutcomeState, 0)
        self._resumed = 0
        self._began: float | None = None
        self._ended: float | None = None

    @property
    def progress(self) -> BulkSummary:
        """Where the job stands now."""
        return self._snapshot()

    @property
    def summary(self) -> BulkSummary:
        """Counts by state, elapsed seconds and achieved rate; final once the block is left."""
        return self._snapshot()

    def _snapshot(self) -> BulkSummary:
        now = self._clock.monotonic() if self._ended is None else self._ended
        done = sum(self._states.values())
        return BulkSummary(
            states=dict(self._states),
            drawn=self._source.drawn,
            in_flight=self._source.drawn - done,
            resumed=self._resumed,
            missing=self._missing,
            elapsed=0.0 if self._began is None else now - self._began,
        )

    async def __aenter__(self) -> BulkJob:
        if self._began is not None:
            raise ClientStateError("a bulk job runs once: call client.bulk(…) again")
        self._began = self._clock.monotonic()
        if self._journalled is not None:
            await self._journalled.open(self._concurrency)
        # With a journal as many again: they wait until the disk has how theirs ended, while others send.
        self._working = self._concurrency // self._parcel if self._journalled is None else 2 * self._concurrency
        self._workers = [asyncio.create_task(self._work()) for _ in range(self._working)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopping = True
        for worker in self._workers:
            worker.cancel()
        async with AsyncExitStack() as ending:  # the last one first, whatever becomes of the others
            if self._journalled is not None:
                ending.push_async_callback(self._journalled.close)
            ending.push_async_callback(self._source.close)
            if self._batching is not None:
                ending.push_async_callback(self._batching.close)
            ending.callback(self._stop_clock)
            await _all_done(self._workers)

    def __aiter__(self) -> BulkJob:
        if self._began is None:
            raise ClientStateError("enter the job first: async with client.bulk(…) as job")
        return self

    async def __anext__(self) -> Outcome:
        while True:
            outcome = self._next_outcome()
            if outcome is not None:
                self._room += 1
                if self._blocked and self._room >= self._parcel:
                    _wake(self._blocked)
                return outcome
            if self._working == 0:
                raise self._ending()
            await self._news()

    def _next_outcome(self) -> Outcome | None:
        if not self._ordered:
            return self._outcomes.popleft() if self._outcomes else None
        while self._outcomes:
            outcome = self._outcomes.popleft()
            self._early[outcome.index] = outcome
        if self._early and self._working == 0:  # cut short: there may be gaps
            self._next_index = min(self._early)
        outcome_due = self._early.pop(self._next_index, None)
        self._next_index += outcome_due is not None
        return outcome_due

    def _ending(self) -> Exception:
        self._stop_clock()
        error, self._error = self._error, None
        return StopAsyncIteration() if error is None else error

    async def _news(self) -> None:
        """Wait until an outcome is there, or the last worker has ended."""
        if self._consumer is not None:
            raise ClientStateError("one task at a time can take a job's outcomes")
        self._consumer = asyncio.get_running_loop().create_future()
        try:
            await self._consumer
        finally:
            self._consumer = None

    def _tell_consumer(self) -> None:
        if self._consumer is not None and not self._consumer.done():
            self._consumer.set_result(None)

    def _stop_clock(self) -> None:
        if self._ended is None:
            self._ended = self._clock.monotonic()

    async def _work(self) -> None:
        try:
            while True:
                if self._room < self._parcel:
                    await self._until_room()
                if self._stopping:
                    return
                self._room -= self._parcel
                if self._batching is not None and self._parcel > 1:
                    await self._carry(await self._draw_parcel(), self._batching)
                else:
                    self._done(await self._deliver(await self._next_row()))
        except (Exception, asyncio.CancelledError) as error:
            self._stop_by(error)
        finally:
            await self._leave()

    async def _leave(self) -> None:
        try:
            if self._working == 1 and self._journalled is not None and self._error is None:
                self._missing = await self._journalled.missing(self._source.drawn)
        except QlaraError as error:
            self._stop(error)
        finally:
            self._working -= 1
            if self._working == 0:
                self._tell_consumer()

    async def _next_row(self) -> Row:
        if self._journalled is None and not self._source.waits:
            return await self._read_row()
        task = asyncio.current_task()
        self._drawing.add(task)
        try:
            if self._journalled is None:
                return await self._read_row()
            async with self._in_order:
                return await self._journalled.receive(await self._read_row())
        finally:
            self._drawing.discard(task)

    async def _read_row(self) -> Row:
        item = await self._source.draw()
        return read_row(self._source.drawn - 1, item, self._check)

    async def _deliver(self, row: Row) -> Outcome:
        if self._journalled is not None:
            outcome = await self._journalled.deliver(row)
        elif row.message is None:
            outcome = Outcome.of(row, OutcomeState.INVALID, error=row.error)
        else:
            return await self._send_once(row, row.message)
        if isinstance(outcome.error, AuthenticationError):  # of this run: a failed row is never resumed
            self._stop(outcome.error)
        return outcome

    async def _send_once(self, row: Row, message: Message) -> Outcome:
        try:
            receipt = await self._send(message)
        except QlaraError as error:
            return self._outcome(row, error)
        return _accepted(row, receipt)

    async def _draw_parcel(self) -> list[Row]:
        """Draw the rows that a worker carries at once; fewer where the source ends or fails, which ends the job."""
        rows: list[Row] = []
        try:
            while len(rows) < self._parcel:
                rows.append(await self._read_row())
        except (Exception, asyncio.CancelledError) as error:
            self._stop_by(error)
        return rows

    async def _carry(self, rows: list[Row], batching: BatchingSender) -> None:
        """Deliver rows at once; the outcome of each is told as soon as it is known."""
        sent: list[Row] = []
        messages: list[Message] = []
        for row in rows:
            if row.message is None:
                self._done(Outcome.of(row, OutcomeState.INVALID, error=row.error))
            else:
                sent.append(row)
                messages.append(row.message)
        if sent:
            await batching.send_all(messages, lambda place, ending: self._done(self._outcome(sent[place], ending)))

    def _outcome(self, row: Row, ending: Receipt | QlaraError) -> Outcome:
        if isinstance(ending, Receipt):
            return _accepted(row, ending)
        if isinstance(ending, ClientStateError):
            raise ending
        if isinstance(ending, AuthenticationError):
            self._stop(ending)
        return Outcome.of(row, state_of(ending), error=ending)

    async def _until_room(self) -> None:
        while self._room < self._parcel and not self._stopping:
            freed = asyncio.get_running_loop().create_future()
            self._blocked.append(freed)
            await freed

    def _done(self, outcome: Outcome) -> None:
        self._states[outcome.state] += 1
        self._resumed += outcome.resumed
        self._outcomes.append(outcome)
        self._tell_consumer()

    def _stop_by(self, error: Exception | asyncio.CancelledError) -> None:
        if isinstance(error, StopAsyncIteration):
            self._stop(None)
        elif isinstance(error, Exception):  # the source's own, a closed client, or a bug: the consumer must see it
            self._stop(error)
        elif not self._stopping:  # not our doing: something that the source or the client awaited was cancelled
            self._stop(QlaraError("the bulk job was cancelled from within its source"))

    def _stop(self, error: Exception | None) -> None:
        self._stopping = True
        self._source.stop()
        if error is not None:
            self._error = self._error or error
            for task in self._drawing - {asyncio.current_task()}:
                if task is not None:
                    task.cancel()  # a source that is slow to yield must not hold the end up
        while self._blocked:
            _wake(self._blocked)


def _accepted(row: Row, receipt: Receipt) -> Outcome:
    return Outcome(index=row.index, item=row.item, message=row.message, state=_ACCEPTED, receipt=receipt)


def _wake(waiters: deque[asyncio.Future[None]]) -> None:
    """Wake the first of `waiters` that still waits."""
    while waiters:
        waiter = waiters.popleft()
        if not waiter.done():
            waiter.set_result(None)
            return


async def _all_done(tasks: list[asyncio.Task[None]]) -> None:
    """Wait for cancelled tasks to end, even if the waiter is cancelled meanwhile; then let that cancellation go on."""
    cancelled: asyncio.CancelledError | None = None
    while not all(task.done() for task in tasks):
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
