"""The order of delivery statuses (guarantee G10): a status never moves backwards.

``UNKNOWN < SENT < RECEIVED < EXPIRED < ERROR < DELIVERED < READ``. Callbacks come in any order, more than once, one for
each part of a long SMS, and on another channel when a fallback was used. Everything here is a join over that order, so
the result depends on what was told, never on when or how often. The meanings are those of the status API
(``deliveryStatus``); the order is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from ..models.channel import Channel, DeliveryStatus

__all__ = ["Leg", "advance", "bears_out", "is_final", "leg_status", "message_status"]

Leg: TypeAlias = Mapping[int | None, DeliveryStatus]
"""What is known of one channel: the status of each part (from 1), and under ``None`` what was told of the whole."""

_RANK = {
    status: rank
    for rank, status in enumerate(
        (
            DeliveryStatus.UNKNOWN,
            DeliveryStatus.SENT,
            DeliveryStatus.RECEIVED,
            DeliveryStatus.EXPIRED,
            DeliveryStatus.ERROR,
            DeliveryStatus.DELIVERED,
            DeliveryStatus.READ,
        )
    )
}
_ARRIVED = frozenset({DeliveryStatus.DELIVERED, DeliveryStatus.READ})
_FAILED = frozenset({DeliveryStatus.EXPIRED, DeliveryStatus.ERROR})


def advance(current: DeliveryStatus | None, new: DeliveryStatus) -> DeliveryStatus:
    """Return the higher of two statuses of one (id, channel, part); ``None`` is nothing known yet."""
    if current is None or _RANK[new] > _RANK[current]:
        return new
    return current


def leg_status(leg: Leg, total_parts: int | None) -> DeliveryStatus:
    """Status of a message on one channel: that of its weakest part, or what was told of the whole if that is higher.

    A part not heard of holds the message at ``SENT`` as soon as another part proves that it left: so a message is
    ``DELIVERED`` only when all its parts are, and has failed only when every part has ended and at least one failed
    (until then a failed part may still be overruled by its own late delivery).

    Args:
        leg: the statuses known.
        total_parts: ``totalParts``. While it is unknown, numbered parts prove no more than ``SENT``. If reports
            disagree, pass the lowest: then the result still never moves backwards.
    """
    whole = leg.get(None, DeliveryStatus.UNKNOWN)
    parts = {part: status for part, status in leg.items() if part is not None}
    if not parts:
        return whole
    strongest = max(parts.values(), key=_RANK.__getitem__)
    proven = min(strongest, DeliveryStatus.SENT, key=_RANK.__getitem__)
    required = [status for part, status in parts.items() if total_parts is not None and 1 <= part <= total_parts]
    if len(required) == total_parts:
        proven = advance(proven, min(required, key=_RANK.__getitem__))
    return advance(proven, whole)


def message_status(
    legs: Mapping[Channel | str, Leg], total_parts: Mapping[Channel | str, int] | None = None
) -> DeliveryStatus:
    """Status of a message: that of its best channel. ``UNKNOWN`` if nothing is known of any."""
    totals = total_parts or {}
    best = DeliveryStatus.UNKNOWN
    for channel, leg in legs.items():
        best = advance(best, leg_status(leg, totals.get(channel)))
    return best


def is_final(status: DeliveryStatus, *, fallback_pending: bool = False) -> bool:
    """Whether nothing but a read receipt can still change the answer to "did it arrive?".

    Args:
        status: the message's status.
        fallback_pending: another channel may still be tried, so that a failure is not the end.
    """
    return status in _ARRIVED or (status in _FAILED and not fallback_pending)


def bears_out(answer: DeliveryStatus, said: DeliveryStatus) -> bool:
    """Whether the status API's answer bears out what a receipt said of the message.

    ``READ`` implies ``DELIVERED``. Callbacks know one failure (code 6), the status API two (a guess: that an expired
    message has code 6). The answer is about the whole message: it cannot bear out one part's delivery before all are.
    """
    if said is DeliveryStatus.READ:
        return answer is DeliveryStatus.READ
    if said is DeliveryStatus.DELIVERED:
        return answer in _ARRIVED
    return said in _FAILED and answer in _FAILED
