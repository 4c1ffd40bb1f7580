"""The durable inbox, as the receiver sees it."""

from __future__ import annotations

import asyncio
import contextlib
import random as randomness
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from ....clock import Clock, SystemClock, Timer
from ....errors import ConfigurationError, InboxError, QlaraError
from ....loggers import webhooks_logger
from ....models.erasure import Erased
from ....models.events import Event, UnknownEvent
from ....protocol.numbers import checked_number
from ....sqlite_file import scrub
from .. import InboxStats, Lane, Limits, Matcher, Row, Verdict, Work
from ..ready import ReadyWork
from . import listing
from .codec import unpack
from .entries import DeadLetter, End, Leased, Policy, Quarantined, Snapshot
from .erasure import Erasure
from .matching import Matching
from .quarantine import readmit
from .shelf import SqliteShelf
from .store import Store
from .writer import Answers, Writer

__all__ = ["SqliteInbox"]

_RETRY_HORIZON = 2.0 * 3 * 15 * 60.0  # twice the retries of guides/inbound-sms: three, 15 minutes apart
_SHORT_TTL = 3600.0
_DAY = 86400.0
_POLLS_PER_LEASE = 15
_BEATS_PER_LEASE = 3


class SqliteInbox:
    """Keeps events in a file: what was acknowledged survives the process, however it ends.

    An event is committed before it is acknowledged, and each of its handlers is a piece of work of its own: begun at
    least once, and not again once its end is committed. Failed work is tried again after a wait that doubles, and is a
    dead letter after ``max_attempts``. Several processes of one machine may share a file on a local disk; what one of
    them leaves when it dies is taken up by another within ``lease`` seconds, or when it is started again.

    Args:
        path: of the file, made if there is none; SQLite and the inbox keep others next to it (``<path>-…``).
        dedup_ttl: seconds for which a redelivery is recognised, and after which finished events are deleted (8 days);
            1 h for events without an id.
        keep_failed: seconds for which dead letters and quarantined events are kept (30 days).
        max_pending: pieces of work (event × handler) not finished; a batch that would exceed it is refused whole, and
            the gateway asked to come again. One that is larger by itself is taken as soon as not so many are pending.
        max_attempts: how often a handler is tried with an event. Beginning counts: a handler that kills the process
            runs out of attempts, too.
        retry_wait: seconds before the second attempt; they double, and up to half is taken off at random.
        max_retry_wait: the longest of these waits, in seconds.
        max_lane_block: seconds for which failing work may hold up what comes after it in its lane (``order_by`` of the
            receiver); then it is tried by itself and the others go by.
        lease: seconds after which the work of a process that is frozen is taken from it; that of one that died is
            taken up in a third of that. A handler that keeps the event loop busy for as long may be run twice.
        busy_timeout: seconds to wait for another process that writes, before the gateway is asked to come again.
        clock: for tests.
        random: for tests; numbers from 0 to 1.

    Raises:
        ConfigurationError: a bound that cannot work, or a ``dedup_ttl`` below the gateway's retries.
    """

    durable = True

    def __init__(
        self,
        path: str | Path,
        *,
        dedup_ttl: float = 8 * _DAY,
        keep_failed: float = 30 * _DAY,
        max_pending: int = 100_000,
        max_attempts: int = 8,
        retry_wait: float = 5.0,
        max_retry_wait: float = 3600.0,
        max_lane_block: float = 300.0,
        lease: float = 15.0,
        busy_timeout: float = 2.5,
        clock: Clock | None = None,
        random: Callable[[], float] = randomness.random,
    ) -> None:
        if dedup_ttl < _RETRY_HORIZON:
            raise ConfigurationError(
                f"dedup_ttl of SqliteInbox is at least {_RETRY_HORIZON:.0f} seconds: the gateway retries for "
                "45 minutes (guides/inbound-sms), and a retry that is not recognised is handled twice"
            )
        if max_pending < 1 or max_attempts < 1:
            raise ConfigurationError("max_pending and max_attempts of SqliteInbox are at least 1")
        if min(keep_failed, retry_wait, max_retry_wait, max_lane_block, busy_timeout) < 0 or lease <= 0:
            raise ConfigurationError("times of SqliteInbox are in seconds and not negative, and lease is above 0")
        self.dedup_ttl = dedup_ttl
        self._policy = Policy(
            dedup_ttl=dedup_ttl,
            short_ttl=min(_SHORT_TTL, dedup_ttl),
            keep_failed=keep_failed,
            max_pending=max_pending,
            max_attempts=max_attempts,
            retry_wait=retry_wait,
            max_retry_wait=max_retry_wait,
            max_lane_block=max_lane_block,
            lease=lease,
        )
        self._clock = clock or SystemClock()
        self._store = Store(Path(path).absolute(), self._policy, self._clock, random, busy_timeout)
        self._writer: Writer | None = None
        self._beginning: tuple[Writer, asyncio.Future[Any]] | None = None
        self.shelf = SqliteShelf(self._opened)
        self._opening = asyncio.Lock()
        self._matching: Matching | None = None
        self._names: Callable[[], Collection[str]] = tuple
        self._limits: Limits = dict
        self._ready = ReadyWork()
        self._snapshot = Snapshot()
        self._running = 0
        self._quiet: list[asyncio.Future[None]] = []
        self._stopped = self._closed = False
        self._timers: dict[str, Timer] = {}
        self._ticks = self._delivered = 0

    @property
    def pending(self) -> int:
        """Pieces of work that are not finished, of all processes, as of the last commit of this one."""
        return self._snapshot.pending

    @property
    def trouble(self) -> str | None:
        """Why nothing can be stored now, in a word; ``None`` if nothing is wrong."""
        if self._snapshot.pending >= self._policy.max_pending:
            return "inbox full"
        return self._snapshot.trouble

    async def start(
        self,
        match: Matcher,
        *,
        lane: Lane | None = None,
        names: Callable[[], Collection[str]] = tuple,
        limits: Limits = dict,
    ) -> None:
        """Open the file for one receiver, and take up what is left in it.

        Raises:
            ConfigurationError: this inbox belongs to a receiver already.
            InboxError: the file cannot be used.
        """
        if self._matching is not None:
            raise ConfigurationError("this inbox already belongs to a receiver")
        writer = await self._opened()
        known, limited = tuple(names()), dict(limits())
        await writer.call(lambda store: store.serve(known, limited))
        self._matching, self._names, self._limits = Matching(match, lane), names, limits
        self._schedule()

    async def put(self, rows: Sequence[Row]) -> Sequence[Verdict]:
        """Store a batch: all of its new rows or, if they do not fit, none. Returns after the commit.

        Raises:
            InboxError: nothing of it was stored.
        """
        matching, writer = self._matching, self._writer
        if matching is None or writer is None:
            raise ConfigurationError("an inbox is started before events are put into it")
        if self._closed:
            raise InboxError("the inbox is closed")
        incoming = matching.incoming(rows)
        while True:
            answer = await writer.put(incoming)
            if not answer or isinstance(answer[0], Verdict):
                return cast("list[Verdict]", answer)
            matching.conflicts(incoming, answer)

    async def take(self) -> Work:
        """Wait for work, and take it with its lease."""
        if not self._ready:
            # One more than those who wait already: this one is about to.
            self._grant(1)
        try:
            work = await self._ready.take()
            self._running += 1
            return work
        finally:
            self._grant()

    async def finish(self, work: Work, error: BaseException | None) -> None:
        """Have the end of a run written with the next commit, and do not wait for it."""
        self._running -= 1
        if self._closed or self._writer is None:
            return
        self._writer.end(End(cast("Leased", work), None if error is None else type(error).__name__))
        if self._stopped:
            self._notify()

    async def idle(self) -> None:
        """Wait until no work is pending that a registered handler could do."""
        while not self._closed and (self._running or self._ready or self._snapshot.pending > self._snapshot.orphaned):
            await self._change()

    async def drain(self) -> None:
        """Hand out no more work, and wait until what runs has ended. The rest stays for the next start, or a peer."""
        if self._writer is None or self._closed:
            return
        self._stopped = True
        left = cast("list[Leased]", self._ready.clear())
        try:
            await self._writer.call(lambda store: store.stop(left))
        except InboxError as error:
            webhooks_logger.warning("work that was not begun is kept until the inbox closes: %s", error)
        while self._running and not self._closed:
            await self._change()
        if not self._closed:
            await self._writer.call(lambda store: None)

    async def close(self) -> None:
        """Give the leases of what did not end back, and close the file.

        If that cannot be written, it is logged: others take the leases up all the same, as those of a dead process.
        """
        if self._closed:
            return
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._ready.clear()
        self._notify()
        async with self._opening:
            if self._beginning is not None:
                with contextlib.suppress(QlaraError):  # it was told to nobody: who began was cancelled
                    self._writer = await self._begun()
        if self._writer is not None:
            try:
                await asyncio.shield(self._writer.close())
            except InboxError as error:
                webhooks_logger.error("the inbox was not closed in order: %s", error)

    def stats(self) -> InboxStats:
        """Return what there is to know without reading the file: it is as of the last commit."""
        shot = self._snapshot
        age = 0.0 if shot.oldest is None else max(0.0, self._clock.time() - shot.oldest)
        return InboxStats(
            pending=shot.pending,
            oldest_age=age,
            dead=shot.dead,
            quarantined=shot.quarantined,
            orphaned=shot.orphaned,
            lost_leases=shot.lost_leases,
        )

    async def events(self) -> AsyncIterator[Event]:
        """Iterate all events that are kept, oldest first: the log of what came in.

        They are kept for ``dedup_ttl``, those without an id for 1 h. Each is there once, however often it was
        delivered, whatever its handlers made of it. Also before the receiver is started.
        """
        writer = await self._opened()
        after = 0
        while page := await writer.call(partial(listing.events, after=after)):
            after = page[-1][0]
            for _, kind, payload, conflict in page:
                yield unpack(kind, payload, conflict=bool(conflict))

    async def dead(self) -> AsyncIterator[DeadLetter]:
        """Iterate the work that was given up, oldest event first. Also before the receiver is started."""
        writer = await self._opened()
        place = (0, 0)
        while page := await writer.call(partial(listing.dead, after=place)):
            place = page[-1][0]
            for _, letter in page:
                yield letter

    async def quarantined(self) -> AsyncIterator[Quarantined]:
        """Iterate the events that could not be decoded, oldest first."""
        writer = await self._opened()
        after = 0
        while page := await writer.call(partial(listing.quarantined, after=after)):
            after = page[-1][0]
            for number, received, kind, payload in page:
                event = unpack(kind, payload)
                if isinstance(event, UnknownEvent):
                    yield Quarantined(event_id=number, received_at=received, event=event)

    async def replay(self, entry: DeadLetter | Quarantined | None = None, *, handler: str | None = None) -> int:
        """Let dead letters be tried again, with all their attempts, one or all of a handler; or decode an event again.

        An event in quarantine that this version of the package can decode is handled like one that comes in, unless it
        has come in meanwhile, and leaves quarantine; any other stays there.

        Returns:
            How many were let go.

        Raises:
            ConfigurationError: neither or both were given; or an event is replayed before the receiver is started.
            InboxError: the inbox is full, and the event still in quarantine.
        """
        if (entry is None) == (handler is None):
            raise ConfigurationError("replay one dead letter or quarantined event, or all of a handler by handler=")
        if isinstance(entry, Quarantined):
            if self._matching is None:
                raise ConfigurationError(
                    "start the receiver first: its handlers are named when an event is decoded again"
                )
            return await readmit(entry, self._matching, await self._opened())
        letter, writer, now = entry, await self._opened(), self._clock.time()
        count = await writer.call(
            lambda store: store.write(lambda store: listing.replay(store, letter, handler or "", now))
        )
        return cast("int", count)

    async def erase(self, number: str) -> Erased:
        """Remove every event that came from a number or is about it: finished, dead, quarantined or pending.

        Handlers that have begun are not stopped. The file is rewritten, which takes as long as copying it; callbacks
        wait meanwhile. A callback that the gateway repeats afterwards is a new event.

        Args:
            number: with its country code, as ``+39…`` or ``0039…``.

        Raises:
            InvalidMessageError: it is no such number. InboxError: the file cannot be used.
        """
        erasure = Erasure(checked_number(number))
        writer = await self._opened()
        # First what waits: if it gets in meanwhile, it is among the events.
        await writer.call(lambda store: store.write(erasure.held))
        while await writer.call(lambda store: store.write(erasure.page)):
            pass
        scrubbed = bool(await writer.call(lambda store: scrub(store.db)))
        return Erased(place="inbox", removed=erasure.removed, scrubbed=scrubbed)

    async def _opened(self) -> Writer:
        async with self._opening:
            if self._closed:
                raise InboxError("the inbox is closed")
            if self._writer is None:
                self._writer = await self._begun()
            return self._writer

    async def _begun(self) -> Writer:
        """Begin to write; if whoever did so was cancelled meanwhile, go on with that: the store has but one writer."""
        if self._beginning is None:
            writer = Writer(self._store, asyncio.get_running_loop(), self._deliver)
            self._beginning = writer, writer.start()
        writer, opened = self._beginning
        await asyncio.wait([opened])
        self._beginning = None
        opened.result()
        return writer

    def _deliver(self, answers: Answers, work: Sequence[Leased], snapshot: Snapshot) -> None:
        """Take what the writer thread has done."""
        self._snapshot = snapshot
        self._delivered += len(work)
        for future, answer in answers:
            if future.done():  # cancelled meanwhile: what was committed stays committed
                continue
            if isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer)
        for leased in work:  # after the answers: the gateway waits for these
            self._ready.put(leased)
        if self._closed:
            return
        if self._stopped and work and self._writer is not None:
            left = cast("list[Leased]", self._ready.clear())
            self._writer.wake(lambda store: store.stop(left))
        if snapshot.next_due is not None:
            self._wake_at(snapshot.next_due)
        self._notify()

    def _grant(self, coming: int = 0) -> None:
        """Let the thread lease as much as is waited for and not here, and no more."""
        writer = self._writer
        if writer is None or self._stopped:
            return
        asked = max(0, writer.granted - self._delivered)
        wanted = max(0, self._ready.waiting + coming - len(self._ready))
        writer.granted += wanted - asked
        if wanted > asked and writer.hungry:
            writer.wake()

    def _wake_at(self, due: float) -> None:
        when = self._clock.monotonic() + max(0.0, due - self._clock.time())
        self._set_timer("due", when, lambda: self._ask(lambda store: store.look()))

    def _schedule(self) -> None:
        when = self._clock.monotonic() + self._policy.lease / _POLLS_PER_LEASE
        self._set_timer("poll", when, self._tick)

    def _tick(self) -> None:
        if self._closed:
            return
        self._ticks += 1
        names, limits = tuple(self._names()), dict(self._limits())
        self._ask(lambda store: store.poll(names, limits))
        if self._ticks % (_POLLS_PER_LEASE // _BEATS_PER_LEASE) == 0:
            self._ask(lambda store: store.beat())
        self._schedule()

    def _ask(self, work: Callable[[Store], Any]) -> None:
        if self._writer is not None and not self._closed:
            self._writer.wake(work)

    def _set_timer(self, name: str, when: float, callback: Callable[[], object]) -> None:
        if name in self._timers:
            self._timers[name].cancel()
        self._timers[name] = self._clock.call_at(when, callback)

    async def _change(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._quiet.append(waiter)
        await waiter

    def _notify(self) -> None:
        waiters, self._quiet = self._quiet, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
