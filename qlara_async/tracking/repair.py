"""What polls found, on its way in: through the receiver's inbox if there is one (guarantee G13)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol, runtime_checkable

from ..clock import Clock
from ..errors import ClientStateError
from ..models.answers import MessageStatus
from ..models.channel import DeliveryStatus
from ..models.events import Delivery, Event
from ..webhooks.router import Router
from .book import Book
from .record import OUTCOMES, Record, Report, poll_report
from .store import Store

__all__ = ["Receiver", "Repair"]


@runtime_checkable
class Receiver(Protocol):
    """What takes polled events in like callbacks."""

    async def feed(self, events: Sequence[Event]) -> bool:
        """Take them; ``False`` if they must come again later. Raises ``ClientStateError`` if it is closed."""


class Repair:
    """Takes the statuses that polls found.

    Outcomes go through the inbox of the receiver that the tracker's router is included in, so that its handlers hear of
    them as they would of callbacks. SENT and RECEIVED have no callbacks, and go to the tracker alone.
    """

    def __init__(
        self, router: Router, book: Book, apply: Callable[[Record, Report], object], store: Store, clock: Clock
    ) -> None:
        self._router = router
        self._book = book
        self._apply = apply
        self._store = store
        self._clock = clock

    @property
    def receiver(self) -> Receiver | None:
        """The receiver whose callbacks come to the tracker."""
        root = self._router.root
        return root if isinstance(root, Receiver) else None

    async def hear(self, statuses: Sequence[MessageStatus]) -> None:
        """Take statuses in. What the inbox does not take changes nothing: it is found again by the next poll."""
        now = datetime.fromtimestamp(self._clock.time(), UTC)
        reports = [
            poll_report(status, now)
            for status in statuses
            if status.status is not DeliveryStatus.UNKNOWN and self._book.get(status.message_id) is not None
        ]
        outcomes = [report for report in reports if report.status in OUTCOMES]
        if outcomes and not await self._feed(outcomes):
            reports = [report for report in reports if report.status not in OUTCOMES]
        for report in reports:
            # Also what the inbox took: it may know the event already, and the tracker not, as after a restart.
            record = self._book.find(report)
            if record is not None:
                self._apply(record, report)
        await self._store.flush()

    async def _feed(self, outcomes: list[Delivery]) -> bool:
        receiver = self.receiver
        if receiver is None:
            return True
        try:
            return await receiver.feed(outcomes)
        except ClientStateError:
            return True  # it is closed for good: the tracker goes on alone
