"""Receipts for messages that nobody has recorded: kept out of the inbox until their ids are known."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

from ..clock import Clock, Timer
from ..errors import ConfigurationError, QlaraError
from ..loggers import webhooks_logger
from ..models.channel import Channel
from ..models.events import Delivery, Event, Read
from .inbox import Shelf

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
_KEPT_ROUNDS = 2  # five seconds, in which most answers to sends arrive
_TAKE_UP_EVERY = 5.0
_PAGE = 500


class _Held(NamedTuple):
    event: Event
    number: int | None
    """On the shelf, if there is one."""


class WaitingRoom:
    """Holds receipts whose message is not known, for two minutes: a callback may overtake the answer to its own send.

    In that time their ids are asked about five more times; who becomes known is admitted, who does not is dropped. At
    most 10,000 are held, and 16 MiB of them; beyond that those give way that have waited longest, but none in its first
    five seconds: then new ones are refused, so that the gateway sends them again. Nothing is remembered of them
    meanwhile: a forged receipt cannot make the genuine one look like a duplicate.

    With a shelf they survive the process (G6): what one leaves is taken up at the next start, or by another process
    that shares the inbox, five seconds after it is known to be dead. There the two minutes begin again.

    Args:
        known: knows the ids.
        admit: takes events into the inbox; says whether it did.
        shelf: keeps what is held on the disk.
        clock: for the times.

    Attributes:
        dropped: receipts dropped.

    Raises:
        ConfigurationError: ``known`` knows no ids.
    """

    def __init__(
        self,
        known: KnownIds,
        admit: Callable[[Sequence[Event]], Awaitable[bool]],
        clock: Clock,
        shelf: Shelf | None = None,
    ) -> None:
        if not isinstance(known, KnowsIds) and not callable(known):
            raise ConfigurationError("known_ids_only= takes a DeliveryTracker, or a function of channel and id")
        self._knows: _Knows = known.knows if isinstance(known, KnowsIds) else known
        self._admit = admit
        self._clock = clock
        self._shelf = shelf
        self._next_take_up = math.inf
        self._rounds: list[deque[tuple[float, _Held]]] = [deque() for _ in _ASKED_AFTER]
        self._due: deque[tuple[int, _Held]] = deque()
        self._coming = self._bytes = 0
        self._timer: Timer | None = None
        self._asking: asyncio.Task[None] | None = None
        self._next_warning = 0.0
        self._closed = False
        self._closing = asyncio.Lock()
        self.dropped = 0

    def __len__(self) -> int:
        return self._coming + len(self._due) + sum(map(len, self._rounds))

    async def sift(self, events: Sequence[Event]) -> tuple[list[Event], list[Event]]:
        """Tell events to take now from receipts for unknown ids. Raises what asking raises."""
        taken: list[Event] = []
        unknown: list[Event] = []
        for event in events:
            (taken if await self._is_welcome(event) else unknown).append(event)
        return taken, unknown

    def open(self) -> None:
        """Begin to take up what other processes have left on the shelf."""
        if self._shelf is not None:
            self._next_take_up = self._clock.monotonic()
            self._schedule()

    async def hold(self, events: Sequence[Event]) -> bool:
        """Hold receipts for unknown ids; ``False``: there is no room, and none is held.

        Raises what keeping them raises: then none is held, either.
        """
        size = sum(len(event.raw) for event in events)
        if not self._make_room(len(events), size):
            return False
        self._coming += len(events)
        self._bytes += size
        try:
            numbers = await self._shelf.keep(events) if self._shelf is not None else [None] * len(events)
        finally:
            self._coming -= len(events)
            self._bytes -= size
        for event, number in zip(events, numbers, strict=True):
            self._hold(_Held(event, number), 0)
        self._schedule()
        return True

    async def close(self) -> None:
        """Leave on the shelf what is held; without one ask about it once more, and drop what is still unknown."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])
        if self._shelf is not None:
            return
        async with self._closing:
            self._due.extend((len(_ASKED_AFTER), held) for waiting in self._rounds for _, held in waiting)
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

    def _make_room(self, count: int, size: int) -> bool:
        while len(self) + count > _MAX_HELD or self._bytes + size > _MAX_BYTES:
            longest = next((waiting for waiting in reversed(self._rounds[_KEPT_ROUNDS:]) if waiting), None)
            if longest is None:
                return False
            _, held = longest.popleft()
            self._bytes -= len(held.event.raw)
            self._drop(held)
        return True

    def _hold(self, held: _Held, number: int) -> None:
        self._bytes += len(held.event.raw)
        self._rounds[number].append((self._clock.monotonic() + _ASKED_AFTER[number], held))

    def _drop(self, held: _Held) -> None:
        self.dropped += 1
        self._release(held)
        now = self._clock.monotonic()
        if now >= self._next_warning:
            self._next_warning = now + _WARN_EVERY
            webhooks_logger.warning("dropped %r: nobody knows its id; more within a minute are not logged", held.event)

    def _release(self, held: _Held) -> None:
        if self._shelf is not None and held.number is not None:
            self._shelf.release(held.number)

    def _schedule(self) -> None:
        due = min([self._next_take_up, *(waiting[0][0] for waiting in self._rounds if waiting)])
        if due < math.inf and not self._closed and self._timer is None and self._asking is None:
            self._timer = self._clock.call_at(due, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        for number, waiting in enumerate(self._rounds):
            while waiting and waiting[0][0] <= now:
                self._due.append((number + 1, waiting.popleft()[1]))
        self._asking = asyncio.get_running_loop().create_task(self._work(now))
        self._asking.add_done_callback(self._asked)

    def _asked(self, _: asyncio.Task[None]) -> None:
        self._asking = None
        self._schedule()

    async def _work(self, now: float) -> None:
        if now >= self._next_take_up:
            await self._take_up(now)
        await self._ask()

    async def _take_up(self, now: float) -> None:
        self._next_take_up = now + _TAKE_UP_EVERY
        most = min(_PAGE, _MAX_HELD - len(self)) if self._bytes < _MAX_BYTES else 0
        if self._shelf is None or most <= 0:
            return
        try:
            left = await self._shelf.take_up(most)
        except QlaraError as error:
            webhooks_logger.error("what waits for known ids cannot be taken up: %s", type(error).__name__)
            return
        for number, event in left:
            self._hold(_Held(event, number), 0)
        if len(left) == most:
            self._next_take_up = now

    async def _ask(self) -> None:
        asked = 0
        while self._due:
            number, held = self._due[0]
            admitted = await self._admitted(held)
            self._due.popleft()
            self._bytes -= len(held.event.raw)
            if admitted:
                self._release(held)
            elif not self._closed and (admitted is None or number < len(_ASKED_AFTER)):
                self._hold(held, min(number, len(_ASKED_AFTER) - 1))
            else:
                self._drop(held)
            asked += 1
            if asked % _BURST == 0:
                await asyncio.sleep(0)

    async def _admitted(self, held: _Held) -> bool | None:
        """Admit a receipt whose id is known by now; ``None`` if nobody could tell, or the inbox did not take it."""
        try:
            if not await self._is_welcome(held.event):
                return False
            return await self._is_erased(held) or await self._admit([held.event]) or None
        except Exception as error:
            webhooks_logger.error("known_ids_only failed: %s", type(error).__name__)
            return None

    async def _is_erased(self, held: _Held) -> bool:
        if self._shelf is None or held.number is None:
            return False
        return not await self._shelf.holds(held.number)
