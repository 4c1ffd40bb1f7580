"""Was it sent? Messages whose send ended in doubt are looked up, many in one request."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Iterable, Mapping

import msgspec

from ..clock import Clock
from ..errors import QlaraError
from ..loggers import client_logger
from ..models.answers import MessageStatus
from ..models.channel import Channel
from ..models.options import Priority
from ..protocol.absence import Presence, presence_of
from ..protocol.requests import statuses_requests
from ..protocol.responses import statuses_of
from .calls import Caller, CallOptions

__all__ = ["Finding", "Lookups"]

# Doubts that arise within this time of each other are asked about together.
_SLOT = 0.25
# A first look, soon: most messages that were accepted are visible within a second.
_FIRST_LOOK = 1.0


class Finding(msgspec.Struct, frozen=True):
    """What is known of a message in doubt; `status` only if it was found."""

    presence: Presence
    status: MessageStatus | None = None


_OPEN = Finding(Presence.OPEN)


class _Doubt(msgspec.Struct, eq=False):
    message_id: str
    ended: float
    settle: float
    answered: asyncio.Future[Finding]


class Lookups:
    """Asks the status API about messages in doubt, by the rule of absence (`protocol.absence`).

    Doubts of one channel that fall into the same quarter of a second share a request. Controls are messages this client
    saw accepted, or was told are (`remember`).
    """

    def __init__(self, caller: Caller, clock: Clock) -> None:
        self._caller = caller
        self._clock = clock
        self._slots: dict[tuple[Channel, Priority, int], list[_Doubt]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._first: dict[Channel, str] = {}
        self._latest: dict[Channel, str] = {}
        self._closed = False

    def remember(self, channel: Channel, message_id: str) -> None:
        """Note an accepted message: it may serve as a control."""
        self._first.setdefault(channel, message_id)
        self._latest[channel] = message_id

    async def find(
        self,
        message_id: str,
        channel: Channel,
        options: CallOptions,
        *,
        patience: float,
        ended: float | None = None,
    ) -> Finding:
        """Look for a message whose attempt ended: after a second, and `settle` seconds after the end.

        Args:
            message_id: the message.
            channel: the channel it was sent on.
            options: of the send; the look-up waits in its lane.
            patience: seconds the send may still take; if they are fewer than `settle`, only the first look is taken.
            ended: when the attempt ended, in monotonic seconds; now, if not given.
        """
        settle = options.retry.settle
        now = self._clock.monotonic()
        ended = now if ended is None else ended
        finding = _OPEN
        for wait in dict.fromkeys((min(_FIRST_LOOK, settle), settle)):
            if wait > patience or self._closed:
                break
            finding = await self._ask_at(max(now, ended + wait), message_id, channel, options, ended=ended)
            if finding.presence is not Presence.OPEN:
                break
        return finding

    async def look_now(self, message_id: str, channel: Channel, options: CallOptions) -> Finding:
        """Look once, now: it can be found, but not be proved absent."""
        now = self._clock.monotonic()
        return await self._ask_at(now, message_id, channel, options, ended=math.inf)

    async def close(self) -> None:
        """Give up: what is still in doubt stays open."""
        self._closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask_at(
        self, due: float, message_id: str, channel: Channel, options: CallOptions, *, ended: float
    ) -> Finding:
        if self._closed:
            return _OPEN
        doubt = _Doubt(message_id, ended, options.retry.settle, asyncio.get_running_loop().create_future())
        slot = (channel, options.priority, math.ceil(due / _SLOT))
        doubts = self._slots.get(slot)
        if doubts is not None:
            doubts.append(doubt)
        else:
            self._slots[slot] = [doubt]
            task = asyncio.create_task(self._serve(slot, options))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await doubt.answered

    async def _serve(self, slot: tuple[Channel, Priority, int], options: CallOptions) -> None:
        doubts = self._slots[slot]
        try:
            await self._clock.sleep(slot[2] * _SLOT - self._clock.monotonic())
            del self._slots[slot]
            await self._ask(doubts, slot[0], options)
        finally:
            self._slots.pop(slot, None)
            _leave_open(doubts)

    async def _ask(self, doubts: list[_Doubt], channel: Channel, options: CallOptions) -> None:
        waiting = {doubt.message_id: doubt for doubt in doubts if not doubt.answered.done()}
        # What is in doubt is asked for, and no control, though it may have been accepted before.
        known = {self._first.get(channel, ""), self._latest.get(channel, "")} - {"", *waiting}
        try:
            for batch, request in statuses_requests(waiting, channel, also=known):
                asked = self._clock.monotonic()
                response = await self._caller.call(request, options)
                answer = statuses_of(response, batch, channel)
                for message_id in waiting.keys() & set(batch):
                    _settle(waiting[message_id], answer, known, asked)
        except QlaraError as error:
            client_logger.info("a look-up of %d messages failed: %s", len(waiting), type(error).__name__)
        finally:
            _leave_open(doubts)


def _settle(doubt: _Doubt, answer: Mapping[str, MessageStatus | None], known: Collection[str], asked: float) -> None:
    if doubt.answered.done():
        return
    # Each by its own patience: who shares the request may come from another view of the client.
    waited, settle = asked - doubt.ended, doubt.settle
    presence = presence_of(doubt.message_id, answer, accepted=known, waited=waited, settle=settle)
    doubt.answered.set_result(Finding(presence, answer.get(doubt.message_id)))


def _leave_open(doubts: Iterable[_Doubt]) -> None:
    for doubt in doubts:
        if not doubt.answered.done():
            doubt.answered.set_result(_OPEN)
