"""When the status API proves that a message is not there: the rule of absence of guarantee G1, as a pure function.

A message that a status answer omits may still be on its way into the index. It counts as absent only if the answer
was asked for late enough (`settle` seconds after the attempt ended) and the same answer shows that ids can be looked
up at all: it contains a *control*, a message known to be accepted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum

from ..models.answers import MessageStatus

__all__ = ["Presence", "presence_of"]


class Presence(Enum):
    """What a status answer says of a message."""

    FOUND = "found"
    ABSENT = "absent"
    OPEN = "open"


def presence_of(
    message_id: str,
    answer: Mapping[str, MessageStatus | None],
    *,
    accepted: Collection[str],
    waited: float,
    settle: float,
) -> Presence:
    """Judge one answer.

    Args:
        message_id: the message in question.
        answer: what the batch query said, with ``None`` for ids it omitted.
        accepted: messages known to be accepted before the answer was asked for.
        waited: seconds from the end of the attempt to the asking.
        settle: seconds after which an accepted message is trusted to be visible.
    """
    if answer.get(message_id) is not None:
        return Presence.FOUND
    if waited < settle or message_id not in answer:
        return Presence.OPEN
    has_control = any(answer.get(control) is not None for control in accepted)
    return Presence.ABSENT if has_control else Presence.OPEN
