"""Runs fallback chains: sends a leg, waits for what the tracker says, sends the next."""

from __future__ import annotations

import asyncio
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ..clock import Clock, SystemClock
from ..errors import (
    AuthenticationError,
    ClientStateError,
    ConfigurationError,
    DeliveryUnknownError,
    NotSentError,
    QlaraError,
    StatusUnreachableError,
    TrackingError,
)
from ..loggers import client_logger
from ..models.answers import Receipt
from ..models.channel import DeliveryStatus
from ..models.erasure import Erased
from ..protocol.numbers import checked_number
from ..sending.calls import Pursuit
from .chain import ChainResult, FallbackChain, Leg, LegState, Progress
from .store import ChainStore

if TYPE_CHECKING:
    from ..client import QlaraClient
    from ..tracking import DeliveryTracker

__all__ = ["FallbackChains"]


class FallbackChains:
    """Sends chains, and takes up those a dead process left.

    ::

        async with FallbackChains(qlara, tracker, store="chains.db") as chains:
            chain = FallbackChain([WhatsApp(…), Rcs(…), Sms(…)], within=120)
            result = await chains.send(chain)
            print(result.winner)

    Exactly one leg is recorded as the winner: the one whose delivery was told first. The customer may still get two:
    when a leg was silent past its deadline and is delivered after the next was sent. An ambiguous leg (it may have been
    accepted) is not repeated, and not followed by the next one before its deadline has passed (guarantee G1). So is
    one that was on its way when the process died.

    Args:
        client: sends the legs.
        tracker: of the same client: tells what became of them.
        store: an SQLite file, for one process at a time, that lets a restart go on, by the original deadlines; in
            memory without one. A few hundred bytes of each chain that ended stay, so that none is sent again.
        clock: for tests.
    """

    def __init__(
        self,
        client: QlaraClient,
        tracker: DeliveryTracker,
        *,
        store: str | PathLike[str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._client = client
        self._tracker = tracker
        self._clock = clock or SystemClock()
        self._store = ChainStore(store)
        self._runs: dict[str, _Run] = {}
        self._open = False

    async def __aenter__(self) -> Self:
        """Open the store and go on with the chains in it. Raises ``ChainStoreError``."""
        kept = await self._store.open()
        self._open = True
        for progress in kept:
            self._start(progress)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop. With a store, chains under way go on when it is opened again."""
        self._open = False
        await _stopped(list(self._runs.values()))
        await self._store.close()

    @property
    def unfinished(self) -> tuple[str, ...]:
        """Ids of chains under way, those taken up from the store included."""
        return tuple(self._runs)

    async def send(self, chain: FallbackChain) -> ChainResult:
        """Send a chain and wait for its end. Cancelling the wait does not stop the chain.

        A chain whose id is known already is not sent again: its result is waited for.

        Raises:
            AuthenticationError: the gateway refuses the key. Sent again, or after a restart with a store, the chain
                goes on where it stopped.
            ClientStateError: client, tracker or chains are closed.
            ChainStoreError: the store cannot be used.
            ConfigurationError: it is no chain.
        """
        if not isinstance(chain, FallbackChain):
            raise ConfigurationError(f"chains send a FallbackChain, not {type(chain).__name__}")
        return await self._end_of(chain.chain_id, chain)

    async def result(self, chain_id: str) -> ChainResult:
        """Wait for the end of a chain, also of one taken up from the store, or stopped by an error. Raises like `send`.

        Raises:
            ConfigurationError: no such chain is known.
        """
        return await self._end_of(chain_id, None)

    async def erase(self, number: str) -> Erased:
        """End the chains that go to a number where they stand, and leave no byte of it in the store.

        What was sent was sent; no further leg is. Who waits for such a chain gets its result as it stands. The ids and
        states of a chain stay, so that it is not sent again, unless the number is part of an id. Erasing needs no
        block: before it is entered, chains in the store are ended without going on.

        Args:
            number: with its country code, as ``+39…`` or ``0039…``.

        Raises:
            InvalidMessageError: it is no such number.
            ChainStoreError: the store cannot be used.
        """
        plain = checked_number(number)
        theirs = [run for run in self._runs.values() if run.progress.goes_to(plain)]
        for run in theirs:
            run.progress.end()
        await _stopped(theirs)
        try:
            return await self._store.erase(plain)
        finally:
            if not self._open:
                await self._store.close()

    async def _end_of(self, chain_id: str, chain: FallbackChain | None) -> ChainResult:
        self._check_open()
        if chain_id not in self._runs:
            known = await self._store.find(chain_id)
            self._check_open()
            if known is not None and known.done:
                return known.result()
            if known is None and chain is not None:
                known = chain.begin()
            if chain_id not in self._runs:
                if known is None:
                    raise ConfigurationError("no such chain is known")
                self._start(known)
        run = self._runs[chain_id]
        await asyncio.wait([run.task])
        if not run.task.cancelled():
            return run.task.result()
        if run.progress.done:
            return run.progress.result()  # erased
        raise ClientStateError("the chains were closed: with a store, this one goes on when they are entered again")

    def _check_open(self) -> None:
        if not self._open:
            raise ClientStateError("enter the chains first: async with FallbackChains(…) as chains")

    def _start(self, progress: Progress) -> None:
        run = _Run(self._client, self._tracker, self._clock, self._store, progress)
        self._runs[progress.chain_id] = run
        run.task.add_done_callback(lambda task: self._ended(progress.chain_id, task))

    def _ended(self, chain_id: str, task: asyncio.Task[ChainResult]) -> None:
        del self._runs[chain_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            client_logger.error("the fallback chain %s stopped: %s", chain_id, type(error).__name__)


class _Run:
    """One chain's run, in one task; each leg under way has a task that waits for its delivery."""

    def __init__(
        self, client: QlaraClient, tracker: DeliveryTracker, clock: Clock, store: ChainStore, progress: Progress
    ) -> None:
        self._client = client
        self._tracker = tracker
        self._clock = clock
        self._store = store
        self.progress = progress
        self._watches: list[asyncio.Task[None]] = []
        self._news: asyncio.Future[None] | None = None
        self._blind: ClientStateError | None = None
        self.task = asyncio.get_running_loop().create_task(self._go(progress))

    async def _go(self, progress: Progress) -> ChainResult:
        try:
            for place, leg in enumerate(progress.legs):
                if leg.state is LegState.SENDING:
                    leg.state = LegState.UNKNOWN  # the process died meanwhile
                if leg.state is LegState.WAITING:
                    await self._send(progress, leg)
                if leg.open:
                    self._watches.append(asyncio.create_task(self._watch(progress, leg)))
                if leg.state is not LegState.SILENT and not await self._moves_on(progress, place):
                    break
                await self._store.save(progress)
        finally:
            for watch in self._watches:
                watch.cancel()
            await asyncio.gather(*self._watches, return_exceptions=True)
        progress.end()
        await self._store.save(progress)
        return progress.result()

    async def _send(self, progress: Progress, leg: Leg) -> None:
        message = leg.message()
        begins = self._clock.time() if message.scheduled_date is None else message.scheduled_date.timestamp()
        leg.state, leg.due = LegState.SENDING, max(begins, self._clock.time()) + leg.within
        await self._store.save(progress)
        try:
            # Another leg may be delivered while that was written, or while this one waits for the limiter or a retry.
            await self._client._send(message, Pursuit(wanted=lambda: progress.winner is None))
        except (AuthenticationError, ClientStateError):
            leg.state = LegState.WAITING  # provably not accepted, and no other leg would be
            await self._store.save(progress)
            raise
        except DeliveryUnknownError as error:
            leg.state, leg.error = LegState.UNKNOWN, type(error).__name__
        except QlaraError as error:
            unwanted = isinstance(error, NotSentError) and progress.winner is not None
            leg.state, leg.error = (LegState.WAITING, None) if unwanted else (LegState.REFUSED, type(error).__name__)
        else:
            leg.state, leg.error = LegState.ACCEPTED, None
        leg.due = max(begins, self._clock.time()) + leg.within
        await self._store.save(progress)

    async def _watch(self, progress: Progress, leg: Leg) -> None:
        """Wait for the leg's end, also when its deadline has passed."""
        try:
            await self._tracker.track(Receipt(message_id=leg.message_id, channel=leg.channel), leg.message())
            await self._tracker.wait_until(leg.message_id, "delivered", channel=leg.channel)
        except StatusUnreachableError:
            leg.state = LegState.FAILED
        except ClientStateError as error:
            self._blind = error  # the tracker is closed: sending on without it would send too much
        except TrackingError as error:
            leg.error = type(error).__name__  # given up: it stays silent
        else:
            progress.delivered(leg)
        self._wake()

    async def _moves_on(self, progress: Progress, place: int) -> bool:
        """Wait until the chain is decided (``False``), or the next leg is due."""
        leg, is_last = progress.legs[place], place == len(progress.legs) - 1
        looked = False
        while progress.winner is None:
            if self._blind is not None:
                raise self._blind
            now = self._clock.time()
            if leg.dead and not (is_last and any(one.open for one in progress.legs)):
                return not is_last
            if now >= leg.due and not looked and not leg.dead:
                looked = True
                self._watches.append(asyncio.create_task(self._look(progress, leg)))
            elif now >= leg.due + progress.grace:
                leg.state = leg.state if leg.dead else LegState.SILENT
                return not is_last
            else:
                await self._until(leg.due if now < leg.due else leg.due + progress.grace)
        return False

    async def _look(self, progress: Progress, leg: Leg) -> None:
        """Ask once more before the next leg is sent: a callback may have been lost."""
        try:
            found = await self._client.messages.statuses([leg.message_id], channel=leg.channel)
        except ClientStateError as error:
            self._blind = error
        except QlaraError as error:
            client_logger.info("a last look at message %s failed: %s", leg.message_id, type(error).__name__)
        else:
            status = found[leg.message_id]
            if status is not None and status.status in {DeliveryStatus.DELIVERED, DeliveryStatus.READ}:
                progress.delivered(leg)
        self._wake()

    async def _until(self, when: float) -> None:
        """Return at that time (seconds since the epoch), or when there is news of a leg."""
        self._news = asyncio.get_running_loop().create_future()
        timer = self._clock.call_at(self._clock.monotonic() + when - self._clock.time(), self._wake)
        try:
            await self._news
        finally:
            self._news = None
            timer.cancel()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)


async def _stopped(runs: list[_Run]) -> None:
    for run in runs:
        run.task.cancel()
    await asyncio.gather(*(run.task for run in runs), return_exceptions=True)
