"""What an event needs on its way in: its bytes, its handlers, its lane."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from .. import Lane, Matcher, Row
from .codec import pack
from .entries import Incoming

__all__ = ["Matching"]


class Matching:
    """Names handlers and lanes; on the loop's side, since it calls the receiver's predicates.

    Args:
        match: names an event's handlers.
        lane: names its lane, if there are any.
    """

    def __init__(self, match: Matcher, lane: Lane | None) -> None:
        self._match = match
        self._lane = lane

    def incoming(self, rows: Sequence[Row]) -> list[Incoming]:
        """Make rows ready to be written."""
        match, lane = self._match, self._lane
        incoming = []
        for row in rows:
            event = row.event
            kind, payload = pack(event)
            handlers = tuple(match(event))
            incoming.append(
                Incoming(row.identity, event, kind, payload, handlers, lane(event) if lane and handlers else None)
            )
        return incoming

    def conflicts(self, incoming: Sequence[Incoming], places: Sequence[int]) -> None:
        """Name the handlers of those that turned out to be conflicts. Then all of it is to be judged again."""
        for place in places:
            marked = msgspec.structs.replace(incoming[place].event, conflict=True)
            incoming[place].if_conflict = tuple(self._match(marked))
            if self._lane:
                incoming[place].lane = self._lane(marked)
