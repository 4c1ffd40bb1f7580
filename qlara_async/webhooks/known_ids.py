"""Receipts for messages that nobody has recorded: kept out of the inbox until their ids are known."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

from ..clock import Clock, Timer
from ..errors import ConfigurationError
from ..loggers import webhooks_logger
from ..models.channel import Channel
from ..models.events import Delivery, Event, Read

__all__ = ["KnownIds", "KnowsIds", "WaitingRoom"]

_Knows: TypeAlias = Callable[[Channel | str, str], bool | Awaitable[bool]]


@runtime_checkable
class KnowsIds(Protocol):
    """What knows the ids of sent messages: a ``DeliveryTracker``, or your database."""

    def knows(self, channel: Channel | str, message_id: str) -> bool | Awaitable[bool]:
        """Whether a message of this id was sent."""


KnownIds: TypeAlias = KnowsIds | _Knows
"""A ``DeliveryTracker``, or a plain or ``async`` function of channel and id: whether such a message was sent."""

_ASKED_AFTER = (1.0, 4.0, 15.0, 40.0, 60.0)  # seconds between the times an id is asked about, two minutes in all
_MAX_HELD = 10_000
_MAX_BYTES = 16 << 20
_MAX_ID = 256
_WARN_EVERY = 60.0
_BURST = 64


class WaitingRoom:
    """Holds receipts whose message is not known, for two minutes: a callback may overtake the answer to its own send.

    In that time their ids are asked about five more times; who becomes known is admitted, who does not is dropped. At
    most 10,000 are held, and 16 MiB of them; beyond that the oldest are dropped first. Nothing is remembered of them
    meanwhile: a forged receipt cannot make the genuine one look like a duplicate.

    Args:
        known: knows the ids.
        admit: takes events into the inbox; says whether it did.
        clock: for the times.

    Attributes:
        dropped: receipts dropped.

    Raises:
        ConfigurationError: ``known`` knows no ids.
    """

    def __init__(self, known: KnownIds, admit: Callable[[Sequence[Event]], Awaitable[bool]], clock: Clock) -> None:
        if not isinstance(known, KnowsIds) and not callable(known):
            raise ConfigurationError("known_ids_only= takes a DeliveryTracker, or a function of channel and id")
        self._knows: _Knows = known.knows if isinstance(known, KnowsIds) else known
        self._admit = admit
        self._clock = clock
        self._rounds: list[deque[tuple[float, Event]]] = [deque() for _ in _ASKED_AFTER]
        self._due: deque[tuple[int, Event]] = deque()
        self._bytes = 0
        self._timer: Timer | None = None
        self._asking: asyncio.Task[None] | None = None
        self._next_warning = 0.0
        self._closed = False
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._due) + sum(map(len, self._rounds))

    async def sift(self, events: Sequence[Event]) -> tuple[list[Event], list[Event]]:
        """Tell events to take now from receipts for unknown ids. Raises what asking raises."""
        taken: list[Event] = []
        unknown: list[Event] = []
        for event in events:
            (taken if await self._is_welcome(event) else unknown).append(event)
        return taken, unknown

    def hold(self, events: Sequence[Event]) -> None:
        """Hold receipts for unknown ids."""
        for event in events:
            self._hold(event, 0)
        self._schedule()

    async def close(self) -> None:
        """Ask about all of them once more, and drop those that are still unknown."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])
        self._due.extend((len(_ASKED_AFTER), event) for waiting in self._rounds for _, event in waiting)
        for waiting in self._rounds:
            waiting.clear()
        await self._ask()

    async def _is_welcome(self, event: Event) -> bool:
        if not isinstance(event, Delivery | Read):
            return True
        for message_id in (event.customer_message_id, event.message_id):
            # What no id looks like is not shown to somebody's database.
            if not message_id or len(message_id) > _MAX_ID or not message_id.isprintable():
                continue
            answer = self._knows(event.channel, message_id)
            if await answer if inspect.isawaitable(answer) else answer:
                return True
        return False

    def _hold(self, event: Event, number: int) -> None:
        self._bytes += len(event.raw)
        self._rounds[number].append((self._clock.monotonic() + _ASKED_AFTER[number], event))
        while len(self) > _MAX_HELD or self._bytes > _MAX_BYTES:
            oldest = next(waiting for waiting in reversed(self._rounds) if waiting)
            self._drop(self._let_go(oldest))

    def _let_go(self, waiting: deque[tuple[float, Event]]) -> Event:
        _, event = waiting.popleft()
        self._bytes -= len(event.raw)
        return event

    def _drop(self, event: Event) -> None:
        self.dropped += 1
        now = self._clock.monotonic()
        if now >= self._next_warning:
            self._next_warning = now + _WARN_EVERY
            webhooks_logger.warning("dropped %r: nobody knows its id; more within a minute are not logged", event)

    def _schedule(self) -> None:
        dues = [waiting[0][0] for waiting in self._rounds if waiting]
        if dues and not self._closed and self._timer is None and self._asking is None:
            self._timer = self._clock.call_at(min(dues), self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        for number, waiting in enumerate(self._rounds):
            while waiting and waiting[0][0] <= now:
                self._due.append((number + 1, self._let_go(waiting)))
        self._asking = asyncio.get_running_loop().create_task(self._ask())
        self._asking.add_done_callback(self._asked)

    def _asked(self, _: asyncio.Task[None]) -> None:
        self._asking = None
        self._schedule()

    async def _ask(self) -> None:
        asked = 0
        while self._due:
            number, event = self._due[0]
            admitted = await self._admitted(event)
            self._due.popleft()
            if not admitted and number < len(_ASKED_AFTER):
                self._hold(event, number)
            elif not admitted:
                self._drop(event)
            asked += 1
            if asked % _BURST == 0:
                await asyncio.sleep(0)

    async def _admitted(self, event: Event) -> bool:
        try:
            return await self._is_welcome(event) and await self._admit([event])
        except Exception as error:
            webhooks_logger.error("known_ids_only failed: %s", type(error).__name__)
            return False
