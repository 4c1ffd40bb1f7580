"""What goes between the loop and the writer thread, and what an inbox shows of its contents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from ....models.events import Event, UnknownEvent
from ....protocol.identity import Identity
from .. import Verdict, Work
from .codec import unpack

__all__ = [
    "Answer",
    "DeadLetter",
    "End",
    "Incoming",
    "Leased",
    "Outcome",
    "Policy",
    "Quarantined",
    "Snapshot",
    "was_stored",
]


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of an inbox, times in seconds; see ``SqliteInbox``."""

    dedup_ttl: float
    short_ttl: float
    keep_failed: float
    max_pending: int
    max_attempts: int
    retry_wait: float
    max_retry_wait: float
    max_lane_block: float
    lease: float


class Incoming(msgspec.Struct):
    """An event on its way in, ready to be written.

    ``if_conflict`` names its handlers if it turns out to be a conflict: that is asked only then.
    """

    identity: Identity
    event: Event
    kind: str
    payload: bytes
    handlers: tuple[str, ...]
    lane: bytes | None
    if_conflict: tuple[str, ...] | None = None


class Leased(Work, frozen=True, kw_only=True):
    """Work with its lease: the token tells this lease from any other, earlier or later."""

    handler_id: int
    token: int


class End(msgspec.Struct, frozen=True):
    """The end of a run; ``error`` is the type of what its handler raised."""

    work: Leased
    error: str | None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the store after a group.

    ``oldest`` is the time the oldest pending event was stored, in seconds since the epoch; ``next_due`` when work in
    waiting falls due; ``trouble`` why nothing can be stored.
    """

    pending: int = 0
    oldest: float | None = None
    dead: int = 0
    quarantined: int = 0
    orphaned: int = 0
    lost_leases: int = 0
    next_due: float | None = None
    trouble: str | None = None


Answer: TypeAlias = Sequence[Verdict] | Sequence[int]
"""The verdicts on a batch; or the places of rows that are conflicts, whose handlers must be named first."""


def was_stored(answer: Answer) -> bool:
    """Tell whether the batch was written."""
    return all(isinstance(verdict, Verdict) and verdict is not Verdict.FULL for verdict in answer)


class Outcome(msgspec.Struct):
    """What a group came to: the answer to each batch, and what was leased."""

    batches: list[Answer]
    work: list[Leased]


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """Work that was given up.

    Attributes:
        event_id: the inbox's number of the event.
        handler: the handler's durable name.
        attempts: how often it was begun.
        error: the type of the last error; ``"ProcessDied"`` if the process ended, or froze, while the handler ran.
        died_at: when, in seconds since the epoch.
    """

    event_id: int
    handler: str
    attempts: int
    error: str
    died_at: float
    kind: str
    payload: bytes
    conflict: bool

    @property
    def event(self) -> Event:
        """The event."""
        return unpack(self.kind, self.payload, conflict=self.conflict)

    def __repr__(self) -> str:
        shown = f"event_id={self.event_id}, handler={self.handler!r}, attempts={self.attempts}, error={self.error!r}"
        return f"DeadLetter({shown})"


class Quarantined(msgspec.Struct, frozen=True, kw_only=True):
    """An event that could not be decoded, or named; ``inbox.replay`` decodes it again.

    Attributes:
        event_id: the inbox's number of the event.
        received_at: when it was stored, in seconds since the epoch.
        event: it, with ``reason`` and ``raw``.
    """

    event_id: int
    received_at: float
    event: UnknownEvent

    def __repr__(self) -> str:
        return f"Quarantined(event_id={self.event_id}, reason={self.event.reason!r})"
