"""Lost inbound messages: found in the inbox conversations, fed through the receiver's inbox (guarantee G13)."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Self

import msgspec

from ..clock import Clock, SystemClock
from ..errors import ClientStateError, ConfigurationError, NotFoundError, QlaraError
from ..loggers import client_logger
from ..models.events import Inbound
from ..models.inbox import Conversation
from ..models.options import Priority, RetryPolicy
from ..models.record import Id
from ..protocol.polled_inbound import polled_inbound
from ..webhooks.router import Router
from .inbound_ledger import Candidate, InboundLedger
from .repair import Receiver

if TYPE_CHECKING:
    from ..client import QlaraClient

__all__ = ["InboundRepair", "InboundReport"]

# A look that does not get through is left to the next one.
_RETRY = RetryPolicy(max_attempts=3, max_wait=30.0, max_elapsed=60.0)
_OVERLAP = 86_400.0
"""Seconds before the last look that are looked at again: messages may be visible late, and times lack their zone."""
_BATCH = 100


class InboundReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one look at the inbox conversations found.

    Attributes:
        told: messages that a callback told of.
        fed: messages that none had told of; the receiver has them now.
        waiting: messages that none has told of yet, or that the receiver could not take now: see the next look.
        unreadable: messages whose channel, customer or time could not be read, and which were passed over.
    """

    told: int = 0
    fed: int = 0
    waiting: int = 0
    unreadable: int = 0


class _Look(msgspec.Struct):
    """What was seen of a conversation at the last look: what it said of itself, and where its news begin."""

    shown: bytes
    id_from: int | None = None
    quiet: bool = False


class InboundRepair:
    """Finds inbound messages whose callbacks were lost, and feeds them through the receiver's inbox, once.

    ::

        async with InboundRepair(qlara, "inbound.db") as repair:
            receiver.include(repair.router)          # tells it of the callbacks that did come

    It reads the inbox conversations every few minutes, and the messages of those that have changed. Handlers get what
    is missing as ordinary `Inbound` events with ``source_kind`` ``"poll"``.

    A message was told if a callback had its ``messageId``. That the inbox names that id is a guess: where it does not,
    a callback with the same channel, customer and text stands for one message, the nearest in time. Nothing is missing
    before `patience` seconds have passed. A callback that comes even later is dropped as a duplicate if both have the
    id; if not, it is handled as another event.

    Args:
        client: asks; its requests wait in the bulk lane.
        store: an SQLite file, so that a restart goes on where this process stopped, with all that was lost meanwhile.
            It holds digests only. ``None`` is memory: then a restart begins anew, at `since`.
        every: seconds between looks.
        patience: seconds a callback may take.
        since: repair nothing that was written before; the first start, if not given. A store keeps the first.
        clock: for tests.

    Raises:
        ConfigurationError: times that cannot work, or a `since` without a zone.
    """

    def __init__(
        self,
        client: QlaraClient,
        store: str | PathLike[str] | None = None,
        *,
        every: float = 300.0,
        patience: float = 600.0,
        since: datetime | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not 0 < every < math.inf or not 0 <= patience < math.inf:
            raise ConfigurationError("every and patience of InboundRepair are in seconds, above 0 and not negative")
        if since is not None and since.tzinfo is None:
            raise ConfigurationError("since of InboundRepair needs a time zone")
        self._inbox = client.with_options(retry=_RETRY, priority=Priority.BULK).inbox
        self._ledger = InboundLedger(store)
        self._every = every
        self._patience = patience
        self._since = since
        self._clock = clock or SystemClock()
        self._looks: dict[Id, _Look] = {}
        self._looking = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self.router = Router()
        """Learns of callbacks: ``receiver.include(repair.router)``; your own handlers get their messages too."""
        self.router.observe_inbound(_is_callback, name="qlara_async.tracking.inbound_repair")(self._note)

    async def __aenter__(self) -> Self:
        """Open the store and begin to look. Raises ``StoreError``."""
        await self._open()
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop looking, and close the store. Close the receiver before: what its callbacks tell is noted here."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self._ledger.close()

    def __repr__(self) -> str:
        return f"InboundRepair({'stopped' if self._task is None else 'running'})"

    async def look(self) -> InboundReport:
        """Look now, and return what was found. Happens by itself every few minutes.

        Raises:
            ConfigurationError: no receiver includes ``router``.
            ClientStateError: the receiver or the client is closed.
            StoreError: the store cannot be used. ApiError, TransportError: the gateway could not be asked.
        """
        receiver = self.router.root
        if not isinstance(receiver, Receiver):
            raise ConfigurationError("no receiver includes the router: receiver.include(repair.router)")
        async with self._looking:
            floor, checked = await self._open()
            started = self._clock.time()
            unreadable, candidates = await self._unsettled(max(floor, checked - _OVERLAP))
            candidates.sort(key=lambda one: one.at)
            found = await self._ledger.sort(candidates, started - self._patience)
            fed = await self._feed(receiver, found.missing)
            left = [*found.missing[fed:], *found.waiting]
            settled = min([started, *(one.at for one in left)])
            await self._ledger.checked(settled, forget=settled - 2 * _OVERLAP)
            return InboundReport(told=found.told, fed=fed, waiting=len(left), unreadable=unreadable)

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(self._every)
            try:
                report = await self.look()
            except ClientStateError:
                client_logger.warning("the client or its receiver is closed: lost inbound messages are not looked for")
                return
            except QlaraError as error:
                client_logger.warning("a look for lost inbound messages failed: %s", type(error).__name__)
                continue
            if report.unreadable:
                client_logger.warning("%d inbound messages cannot be read, nor repaired", report.unreadable)
            if report.fed:
                client_logger.info("%d inbound messages had been lost, and are repaired", report.fed)

    async def _open(self) -> tuple[float, float]:
        # Messages may tell their times without fractions.
        since = math.floor(self._clock.time()) if self._since is None else self._since.timestamp()
        return await self._ledger.open(since)

    async def _note(self, event: Inbound) -> None:
        if not self._ledger.is_open:
            await self._open()
        await self._ledger.note(event)

    async def _unsettled(self, horizon: float) -> tuple[int, list[Candidate]]:
        """Read what was written since `horizon` and is not settled; count what could not be read."""
        # In whose zone the days are is not told.
        day = (datetime.fromtimestamp(horizon, UTC) - timedelta(days=1)).date()
        looks: dict[Id, _Look] = {}
        unreadable, candidates = 0, list[Candidate]()
        async for chat in self._inbox.conversations(date_from=day, order_by="-lastMessageDate"):
            if chat.id == "":
                unreadable += 1
                continue
            look = looks[chat.id] = self._looks.get(chat.id) or _Look(b"")
            shown = blake2b(msgspec.json.encode(chat.raw), digest_size=16).digest()
            if look.shown == shown and look.quiet:
                continue
            try:
                bad, fresh = await self._read(chat, look, horizon)
            except NotFoundError:
                continue  # deleted meanwhile
            # Once more if it has changed: what came within the same second may have been too late for this look.
            look.quiet = look.shown == shown and not fresh
            look.shown = shown
            unreadable += bad
            candidates += fresh
        self._looks = looks
        return unreadable, candidates

    async def _read(self, chat: Conversation, look: _Look, horizon: float) -> tuple[int, list[Candidate]]:
        now = datetime.fromtimestamp(self._clock.time(), UTC)
        bad, ids, found = 0, list[int](), dict[bytes, tuple[Id, Candidate]]()
        async for message in self._inbox.messages(chat.id, id_from=look.id_from):
            if type(message.id) is int:
                ids.append(message.id)
            if not message.is_inbound:
                continue
            event = polled_inbound(message, chat, now)
            if event is None:
                bad += 1
                continue
            candidate = self._ledger.candidate(event, chat.id, message.id)
            if candidate.at >= horizon:
                found[candidate.message] = (message.id, candidate)
        fresh = await self._ledger.unsettled([candidate for _, candidate in found.values()])
        open_ids = [found[one.message][0] for one in fresh]
        if not open_ids:
            look.id_from = max(ids) + 1 if ids else look.id_from
        elif all(type(one) is int for one in open_ids):
            look.id_from = min(one for one in open_ids if type(one) is int)
        return bad, fresh

    async def _feed(self, receiver: Receiver, missing: list[Candidate]) -> int:
        """Feed what is missing, and return how many the receiver took."""
        fed = 0
        for start in range(0, len(missing), _BATCH):
            batch = missing[start : start + _BATCH]
            if not await receiver.feed([one.event for one in batch]):
                break
            # Afterwards: should the process die in between, they are fed again, and are duplicates.
            await self._ledger.settle(batch)
            fed += len(batch)
        return fed


def _is_callback(event: Inbound) -> bool:
    return event.source_kind == "callback"
