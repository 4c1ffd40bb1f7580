"""Where events wait between their acknowledgement and their handlers.

An inbox takes events in batches, tells redeliveries from new events, and hands out *work*: one event for one handler.
Its methods are the receiver's only way to it; how a batch becomes durable, and what happens to failed work, is the
store's own business.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from enum import Enum
from typing import Protocol, TypeAlias

import msgspec

from ...models.events import Event
from ...protocol.identity import Identity

__all__ = ["Inbox", "InboxStats", "Lane", "Limits", "Matcher", "Row", "Shelf", "Verdict", "Work", "fits"]

Matcher: TypeAlias = Callable[[Event], Sequence[str]]
"""Names the handlers of an event. Called when it is known whether the event is a conflict; never raises."""


Lane: TypeAlias = Callable[[Event], bytes | None]
"""Names the lane of an event: a handler gets the events of a lane one after the other. ``None`` is no lane."""

Limits: TypeAlias = Callable[[], Mapping[str, int]]
"""Tells of how many runs each handler may have at once in this process, of those that have a limit."""


class Row(msgspec.Struct, frozen=True, gc=False):
    """An event and its identity, as put into an inbox."""

    identity: Identity
    event: Event


class Verdict(Enum):
    """What became of a row.

    ``ACCEPTED``: new, and stored. ``DUPLICATE``: it was stored before. ``CONFLICT``: its key was stored before with
    another meaning; stored again, marked ``conflict``. ``FULL``: nothing of the batch was stored.
    """

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    FULL = "full"


def fits(new: int, pending: int, max_pending: int) -> bool:
    """Tell whether a batch may be stored: if there is room for its new work, or if it is larger than any room.

    Such a batch is taken as soon as the store is not full: refused, it would come again in vain.
    """
    room = max_pending - pending
    return new <= room or (new > max_pending and room > 0)


class Work(msgspec.Struct, frozen=True, gc=False):
    """One event for one handler.

    Attributes:
        event: the event.
        handler: the handler's durable name.
        ticket: the inbox's own mark of this piece of work.
        attempt: from 1.
        lane: the lane it is in.
        last: no other attempt follows if this one fails.
        redelivered: it may have been begun before.
    """

    event: Event
    handler: str
    ticket: int
    attempt: int = 1
    lane: bytes | None = None
    last: bool = False
    redelivered: bool = False


class InboxStats(msgspec.Struct, frozen=True, kw_only=True):
    """The state of an inbox; see ``Stats`` of the receiver."""

    pending: int
    oldest_age: float = 0.0
    dead: int = 0
    quarantined: int = 0
    orphaned: int = 0
    lost_leases: int = 0


class Shelf(Protocol):
    """Where a durable inbox keeps receipts that are acknowledged but wait until their ids are known."""

    async def keep(self, events: Sequence[Event]) -> list[int]:
        """Store receipts, and return their numbers. Raises what storing raises: then none is stored."""

    def release(self, number: int) -> None:
        """Delete a receipt soon."""

    async def holds(self, number: int) -> bool:
        """Tell whether a receipt is still there: it may have been erased."""

    async def take_up(self, most: int) -> list[tuple[int, Event]]:
        """Take over receipts of processes that have gone, with their numbers, and not more than so many."""


class Inbox(Protocol):
    """What the receiver needs of a store of events.

    Attributes:
        shelf: where receipts for unknown ids wait; ``None``: they wait in memory only.
        dedup_ttl: seconds for which a redelivery is recognised.
        durable: it outlives the process. The names of handlers must be their own then.
    """

    dedup_ttl: float
    durable: bool

    @property
    def shelf(self) -> Shelf | None:
        """See above."""

    @property
    def pending(self) -> int:
        """What is not finished: events, or pieces of work if the store counts these."""

    @property
    def trouble(self) -> str | None:
        """Why nothing can be stored now, in a word that tells a stranger nothing; ``None`` if nothing is wrong."""

    async def start(
        self,
        match: Matcher,
        *,
        lane: Lane | None = None,
        names: Callable[[], Collection[str]] = tuple,
        limits: Limits = dict,
    ) -> None:
        """Open the store for one receiver, whose handlers have these names and limits.

        Work beyond the limit of its handler is not handed out, so that it keeps nobody from other work.

        Raises:
            ConfigurationError: another receiver has it.
        """

    async def put(self, rows: Sequence[Row]) -> Sequence[Verdict]:
        """Store a batch: all of its new rows or, if they do not fit, none. The verdicts are in the rows' order."""

    async def take(self) -> Work:
        """Wait for work and take it. Cancelling loses none."""

    async def finish(self, work: Work, error: BaseException | None) -> None:
        """Report the end of work that was taken, with its error if it failed."""

    async def idle(self) -> None:
        """Wait until nothing is pending."""

    async def drain(self) -> None:
        """Wait until the process may end: nothing is pending or, in a durable store, nothing runs.

        A durable store hands out no more work from now on.
        """

    def stats(self) -> InboxStats:
        """Return the state."""

    async def close(self) -> None:
        """Let go of the store. What is pending in it is no longer handed out."""
