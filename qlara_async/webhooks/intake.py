"""The way in: from a request's head and body to an answer. No web framework here."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import IntEnum

from ..clock import Clock
from ..loggers import webhooks_logger
from ..models.events import Event
from ..protocol.callbacks import body_kind, decode_callbacks
from ..protocol.identity import identity
from .auth.doorkeeper import Doorkeeper
from .exchange import (
    ACCEPTED,
    ACCEPTED_FORM,
    METHOD_NOT_ALLOWED,
    TOO_LARGE,
    UNAVAILABLE,
    UNSUPPORTED,
    Answer,
    Head,
)
from .inbound_media import EXPIRE_MINUTES, with_expiry
from .inbox import Inbox, Row, Verdict
from .known_ids import KnownIds, WaitingRoom

__all__ = ["Intake", "Phase"]

# Python 3.11 is slow to find an enum's member.
_ACCEPTED, _DUPLICATE, _FULL = Verdict.ACCEPTED, Verdict.DUPLICATE, Verdict.FULL


class Phase(IntEnum):
    """The receiver's life."""

    NEW = 0
    OPEN = 1
    DRAINING = 2
    CLOSED = 3


class Intake:
    """Admits requests and puts their events into the inbox.

    Attributes:
        phase: when draining, nothing new is admitted; when closed, nothing is put any more.
        in_flight: requests under way.
        accepted, duplicates, conflicts, refused: see ``Stats``.
        waiting_room: where receipts for unknown ids wait; ``None`` if all ids are welcome.
    """

    def __init__(
        self,
        doorkeeper: Doorkeeper,
        inbox: Inbox,
        *,
        max_body: int,
        clock: Clock,
        known_ids: KnownIds | None = None,
        expire_minutes: float = EXPIRE_MINUTES,
    ) -> None:
        self.phase = Phase.NEW
        self.max_body = max_body
        self.accepted = self.duplicates = self.conflicts = self.refused = 0
        self._doorkeeper = doorkeeper
        self._inbox = inbox
        self._clock = clock
        self._expire_minutes = expire_minutes
        self.in_flight = 0
        self._quiet = asyncio.Event()
        self._alone: set[asyncio.Task[None]] = set()
        self.waiting_room = None if known_ids is None else WaitingRoom(known_ids, self.put, clock, inbox.shelf)

    @property
    def trouble(self) -> str | None:
        """Why a callback would be answered 503 now; ``None`` if it would not."""
        if self.phase is Phase.OPEN:
            return self._inbox.trouble
        return "starting" if self.phase is Phase.NEW else "draining"

    def admit(self, head: Head) -> Answer | None:
        """Refuse a request by its head, or return ``None``: then its body is worth reading.

        A stranger learns nothing: what auth refuses gets one answer, whatever its method and type and our state.
        """
        refusal = self._doorkeeper.judge_head(head)
        if refusal is not None:
            return refusal
        if head.method != "POST":
            return METHOD_NOT_ALLOWED
        if self.phase >= Phase.DRAINING:
            return UNAVAILABLE
        if _is_encoded(head) or body_kind(head.headers.get("content-type")) is None:
            return UNSUPPORTED
        return None

    async def accept(self, head: Head, body: bytes) -> Answer:
        """Verify the body of an admitted request, and decode, identify and store its events."""
        if len(body) > self.max_body:
            return TOO_LARGE
        refusal = self._doorkeeper.judge_body(head, body)
        if refusal is not None:
            return refusal
        if self.phase is Phase.CLOSED:
            return UNAVAILABLE
        content_type = head.headers.get("content-type")
        received_at = datetime.fromtimestamp(self._clock.time(), UTC)
        events = decode_callbacks(body, content_type, received_at=received_at, trust=self._doorkeeper.trust)
        unknown: list[Event] = []
        if self.waiting_room is not None:
            try:
                events, unknown = await self.waiting_room.sift(events)
            except Exception as error:
                webhooks_logger.error("known_ids_only failed: %s", type(error).__name__)
                return UNAVAILABLE
        try:
            kept = await self._keep(events, unknown)
        except asyncio.CancelledError:
            self._keep_alone(events, unknown)
            raise
        if not kept:
            return UNAVAILABLE
        return ACCEPTED_FORM if body_kind(content_type) == "form" else ACCEPTED

    async def put(self, events: Sequence[Event]) -> bool:
        """Identify and store events; ``False`` if the inbox is full or fails: then none is stored."""
        try:
            rows = [Row(identity(event), with_expiry(event, self._expire_minutes)) for event in events]
            verdicts = await self._inbox.put(rows)
        except Exception as error:
            # A traceback would show the events' contents.
            webhooks_logger.error("the inbox failed: %s", type(error).__name__)
            return False
        if _FULL in verdicts:
            return False
        for verdict in verdicts:
            if verdict is _ACCEPTED:
                self.accepted += 1
            elif verdict is _DUPLICATE:
                self.duplicates += 1
            else:
                self.conflicts += 1
        return True

    async def _keep(self, events: Sequence[Event], unknown: Sequence[Event]) -> bool:
        """Store events, and hold those for ids that are not known yet; ``False``: not all of it was done."""
        if events and not await self.put(events):
            return False
        if unknown and self.waiting_room is not None:
            try:
                return await self.waiting_room.hold(unknown)
            except Exception as error:
                webhooks_logger.error("the inbox failed: %s", type(error).__name__)
                return False
        return True

    def _keep_alone(self, events: Sequence[Event], unknown: Sequence[Event]) -> None:
        """Keep the events of a sender that hung up meanwhile: they have arrived, and may not come again.

        The inbox may have stored them, or may be about to: then the second time is a duplicate.
        """
        if self.phase is Phase.CLOSED:
            return
        self.in_flight += 1
        task = asyncio.get_running_loop().create_task(self._keep_and_leave(events, unknown))
        self._alone.add(task)
        task.add_done_callback(self._alone.discard)

    async def _keep_and_leave(self, events: Sequence[Event], unknown: Sequence[Event]) -> None:
        kept = False
        try:
            kept = await self._keep(events, unknown)
        finally:
            self.leave(200 if kept else 503)

    def leave(self, status: int) -> None:
        """Count a request out that was counted ``in_flight``, by the status it was answered with."""
        self.in_flight -= 1
        if status != 200:
            self.refused += 1
        if not self.in_flight:
            self._quiet.set()

    async def quiet(self) -> None:
        """Wait until no request is under way."""
        while self.in_flight:
            self._quiet.clear()
            await self._quiet.wait()


def _is_encoded(head: Head) -> bool:
    """Tell whether the body is compressed: it is refused unread, since a few bytes may inflate to any size."""
    encoding = head.joined("content-encoding")
    return encoding is not None and encoding.strip().lower() != "identity"
