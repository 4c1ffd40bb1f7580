"""The inbox in memory: fast, bounded, and gone with the process."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

import msgspec

from ...clock import Clock, SystemClock
from ...errors import ConfigurationError
from ...models.events import Event
from . import Matcher, Row, Verdict, Work
from .seen import Seen

__all__ = ["MemoryInbox"]

_SHORT_TTL = 3600.0  # three retries 15 minutes apart (guides/inbound-sms), with room


class MemoryInbox:
    """Holds events in this process only: what has been acknowledged and not handled is lost when the process ends.

    Args:
        allow_loss: must be ``True``: say that you know.
        max_pending: events with unfinished handlers; a batch that would exceed it is refused whole, and the gateway
            asked to come again.
        dedup_ttl: seconds for which a redelivery is recognised (8 days); 1 h at most for events without an id.
        max_remembered: identities kept for that, about 300 bytes each; beyond it the oldest is forgotten first.
        clock: for tests.

    Raises:
        ConfigurationError: ``allow_loss`` is not ``True``, or a bound is below 1.
    """

    def __init__(
        self,
        *,
        allow_loss: bool = False,
        max_pending: int = 10_000,
        dedup_ttl: float = 8 * 86400.0,
        max_remembered: int = 200_000,
        clock: Clock | None = None,
    ) -> None:
        if allow_loss is not True:
            raise ConfigurationError(
                "MemoryInbox loses every event that was acknowledged but not yet handled when the process ends, and "
                "then forgets which events it has seen; the gateway does not send them again. "
                "If that is acceptable, write MemoryInbox(allow_loss=True)"
            )
        if max_pending < 1 or max_remembered < 1 or dedup_ttl <= 0:
            raise ConfigurationError("max_pending and max_remembered are at least 1, and dedup_ttl is above 0 seconds")
        self._max_pending = max_pending
        self._clock = clock or SystemClock()
        self._seen = Seen({"full": dedup_ttl, "short": min(_SHORT_TTL, dedup_ttl)}, max_remembered)
        self._match: Matcher | None = None
        self._ready = _ReadyWork()
        self._unfinished: dict[int, int] = {}
        self._tickets = 0
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def pending(self) -> int:
        """Events with work that is not finished."""
        return len(self._unfinished)

    async def start(self, match: Matcher) -> None:
        """Serve one receiver, and no other: two would take each other's work."""
        if self._match is not None:
            raise ConfigurationError("this inbox already belongs to a receiver")
        self._match = match

    async def put(self, rows: Sequence[Row]) -> Sequence[Verdict]:
        """Store a batch: all of its new rows or, if they do not fit, none."""
        now = self._clock.monotonic()
        verdicts, news = self._seen.judge(rows, now)
        if len(self._unfinished) + len(rows) > self._max_pending and not self._fits(verdicts):
            return [Verdict.FULL] * len(rows)
        if news:
            self._seen.remember(news)
        for row, verdict in zip(rows, verdicts, strict=True):
            if verdict is not Verdict.DUPLICATE:
                self._store(row.event, verdict)
        return verdicts

    async def take(self) -> Work:
        """Wait for work and take it."""
        return await self._ready.take()

    async def finish(self, work: Work, error: BaseException | None) -> None:
        """Forget the work, failed or not."""
        left = self._unfinished[work.ticket] - 1
        if left:
            self._unfinished[work.ticket] = left
            return
        del self._unfinished[work.ticket]
        if not self._unfinished:
            self._wake()

    async def idle(self) -> None:
        """Wait until nothing is pending."""
        while self._unfinished:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    async def close(self) -> None:
        """Drop what is pending."""
        self._unfinished.clear()
        self._ready.clear()
        self._wake()

    def _fits(self, verdicts: list[Verdict]) -> bool:
        new = len(verdicts) - verdicts.count(Verdict.DUPLICATE)
        return not new or len(self._unfinished) + new <= self._max_pending

    def _store(self, event: Event, verdict: Verdict) -> None:
        if verdict is Verdict.CONFLICT:
            event = msgspec.structs.replace(event, conflict=True)
        if self._match is None:
            raise ConfigurationError("an inbox is started before events are put into it")
        handlers = self._match(event)
        if not handlers:
            return
        self._tickets += 1
        self._unfinished[self._tickets] = len(handlers)
        for handler in handlers:
            self._ready.put(Work(event, handler, self._tickets))

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()


class _ReadyWork:
    """Work to be taken, and those who wait for it.

    One taker is woken at a time, the one that came last, and wakes the next: a burst that one worker can serve without
    waiting costs one switch of tasks, not one for each event.
    """

    __slots__ = ("_takers", "_woken", "_work")

    def __init__(self) -> None:
        self._work: deque[Work] = deque()
        self._takers: list[asyncio.Future[None]] = []
        self._woken: asyncio.Future[None] | None = None

    def put(self, work: Work) -> None:
        self._work.append(work)
        self._wake_one()

    async def take(self) -> Work:
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

    def clear(self) -> None:
        self._work.clear()

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
