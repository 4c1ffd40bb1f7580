"""Out of quarantine: what could not be decoded, by a version of the package that can."""

from __future__ import annotations

from ....errors import InboxError
from ....models.events import UnknownEvent
from ....protocol.callbacks import decode_again
from ....protocol.identity import identity
from .. import Row, Verdict
from .entries import Quarantined, was_stored
from .matching import Matching
from .writer import Writer

__all__ = ["readmit"]


async def readmit(entry: Quarantined, matching: Matching, writer: Writer) -> int:
    """Decode an event again, and if that succeeds take it in like any other; return 1 if it left, 0 if it stays.

    Raises:
        InboxError: the inbox is full, or cannot be written: it stays.
    """
    events = decode_again(entry.event)
    if len(events) == 1 and isinstance(events[0], UnknownEvent):
        return 0
    incoming = matching.incoming([Row(identity(event), event) for event in events])
    while True:
        answer = await writer.call(lambda store: store.readmit(entry.event_id, incoming))
        if answer is None:
            return 0
        if was_stored(answer):
            return 1
        if Verdict.FULL in answer:
            raise InboxError("the inbox is full: the event stays in quarantine")
        matching.conflicts(incoming, answer)
