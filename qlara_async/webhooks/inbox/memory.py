"""The inbox in memory: fast, bounded, and gone with the process."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Sequence

import msgspec

from ...clock import Clock, SystemClock
from ...errors import ConfigurationError
from ...models.events import Event
from . import InboxStats, Lane, Limits, Matcher, Row, Verdict, Work, fits
from .ready import ReadyWork
from .seen import Seen

__all__ = ["MemoryInbox"]

_DUPLICATE, _CONFLICT = Verdict.DUPLICATE, Verdict.CONFLICT  # Python 3.11 is slow to find an enum's member
_SHORT_TTL = 3600.0  # three retries 15 minutes apart (guides/inbound-sms), with room


class MemoryInbox:
    """Holds events in this process only: what has been acknowledged and not handled is lost when the process ends.

    Args:
        allow_loss: must be ``True``: say that you know.
        max_pending: events with unfinished handlers; a batch that would exceed it is refused whole, and the gateway
            asked to come again. One that is larger by itself is taken as soon as not so many are pending.
        dedup_ttl: seconds for which a redelivery is recognised (8 days); 1 h at most for events without an id.
        max_remembered: identities kept for that, about 300 bytes each; beyond it the oldest is forgotten first.
        clock: for tests.

    Raises:
        ConfigurationError: ``allow_loss`` is not ``True``, or a bound is below 1.
    """

    durable = False
    shelf = None

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
        self.dedup_ttl = dedup_ttl
        self._seen = Seen({"full": dedup_ttl, "short": min(_SHORT_TTL, dedup_ttl)}, max_remembered)
        self._match: Matcher | None = None
        self._lane: Lane | None = None
        self._limits: Limits = dict
        self._ready = ReadyWork()
        self._out: dict[str, int] = {}
        self._beyond: dict[str, deque[Work]] = {}
        self._lanes: dict[tuple[str, bytes], deque[Work]] = {}
        self._unfinished: dict[int, int] = {}
        self._since: dict[int, float] = {}
        self._tickets = 0
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def pending(self) -> int:
        """Events with work that is not finished."""
        return len(self._unfinished)

    @property
    def trouble(self) -> str | None:
        """``"inbox full"``, or ``None``."""
        return "inbox full" if len(self._unfinished) >= self._max_pending else None

    async def start(
        self,
        match: Matcher,
        *,
        lane: Lane | None = None,
        names: Callable[[], Collection[str]] = tuple,
        limits: Limits = dict,
    ) -> None:
        """Serve one receiver, and no other: two would take each other's work."""
        if self._match is not None:
            raise ConfigurationError("this inbox already belongs to a receiver")
        self._match, self._lane, self._limits = match, lane, limits

    async def put(self, rows: Sequence[Row]) -> Sequence[Verdict]:
        """Store a batch: all of its new rows or, if they do not fit, none."""
        now = self._clock.monotonic()
        verdicts, news = self._seen.judge(rows, now)
        if len(self._unfinished) + len(rows) > self._max_pending and not self._fits(verdicts):
            return [Verdict.FULL] * len(rows)
        if news:
            self._seen.remember(news)
        for row, verdict in zip(rows, verdicts, strict=True):
            if verdict is not _DUPLICATE:
                self._store(row.event, verdict, now)
        return verdicts

    async def take(self) -> Work:
        """Wait for work and take it."""
        return await self._ready.take()

    async def finish(self, work: Work, error: BaseException | None) -> None:
        """Forget the work, failed or not, and let the next of its handler and of its lane come."""
        if work.handler in self._out:
            self._next_of_handler(work.handler)
        if work.lane is not None:
            self._next_of_lane(work.handler, work.lane)
        left = self._unfinished[work.ticket] - 1
        if left:
            self._unfinished[work.ticket] = left
            return
        del self._unfinished[work.ticket], self._since[work.ticket]
        if not self._unfinished:
            self._wake()

    async def idle(self) -> None:
        """Wait until nothing is pending."""
        while self._unfinished:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    async def drain(self) -> None:
        """Wait until nothing is pending: what is left when the process ends is lost."""
        await self.idle()

    def stats(self) -> InboxStats:
        """Return what is pending, and how old the oldest of it is."""
        now = self._clock.monotonic()
        return InboxStats(pending=len(self._unfinished), oldest_age=now - next(iter(self._since.values()), now))

    async def close(self) -> None:
        """Drop what is pending."""
        self._unfinished.clear()
        self._since.clear()
        self._lanes.clear()
        self._out.clear()
        self._beyond.clear()
        self._ready.clear()
        self._wake()

    def _fits(self, verdicts: list[Verdict]) -> bool:
        new = len(verdicts) - verdicts.count(Verdict.DUPLICATE)
        return not new or fits(new, len(self._unfinished), self._max_pending)

    def _store(self, event: Event, verdict: Verdict, now: float) -> None:
        if verdict is _CONFLICT:
            event = msgspec.structs.replace(event, conflict=True)
        if self._match is None:
            raise ConfigurationError("an inbox is started before events are put into it")
        handlers = self._match(event)
        if not handlers:
            return
        self._tickets += 1
        self._unfinished[self._tickets] = len(handlers)
        self._since[self._tickets] = now
        lane = None if self._lane is None else self._lane(event)
        for handler in handlers:
            work = Work(event, handler, self._tickets, 1, lane, True)
            if lane is None:
                self._offer(work)
            else:
                self._queue_up(work, (handler, lane))

    def _queue_up(self, work: Work, lane: tuple[str, bytes]) -> None:
        behind = self._lanes.get(lane)
        if behind is not None:
            behind.append(work)
            return
        self._lanes[lane] = deque()
        self._offer(work)

    def _next_of_lane(self, handler: str, lane: bytes) -> None:
        behind = self._lanes.get((handler, lane))
        if behind:
            self._offer(behind.popleft())
        else:
            self._lanes.pop((handler, lane), None)

    def _offer(self, work: Work) -> None:
        limit = self._limits().get(work.handler)
        if limit is not None:
            out = self._out.get(work.handler, 0)
            if out >= limit:
                self._beyond.setdefault(work.handler, deque()).append(work)
                return
            self._out[work.handler] = out + 1
        self._ready.put(work)

    def _next_of_handler(self, handler: str) -> None:
        beyond = self._beyond.get(handler)
        if beyond:
            self._ready.put(beyond.popleft())
            return
        self._beyond.pop(handler, None)
        self._out[handler] -= 1
        if not self._out[handler]:
            del self._out[handler]

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()
