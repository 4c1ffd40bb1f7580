"""What makes two events the same, and what makes two events with one identity contradict each other.

Callbacks carry no event id and may come again at any time: the *key* is derived from what an event is about, the
*digest* from what it says. Same key and same digest: a redelivery. Same key, other digest: a conflict, which must not
be dropped (callbacks are unsigned, and a forged one must not silence the genuine). The keys are our design, not the
vendor's.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Literal, TypeAlias

import msgspec

from ..models.channel import DeliveryStatus
from ..models.events import Delivery, Event, Inbound, Read

__all__ = ["Field", "Identity", "TtlClass", "fingerprint", "identity"]

Field: TypeAlias = str | bytes | int | float | None

TtlClass: TypeAlias = Literal["full", "short"]
"""How long a key is to be remembered: ``"short"`` where only content and time tell an event from its twin (1 h)."""

_PUNCTUATION = str.maketrans("", "", " +-().")
_encode = msgspec.msgpack.Encoder().encode


class Identity(msgspec.Struct, frozen=True, gc=False):
    """Who an event is.

    Attributes:
        key: 16 bytes, equal for equal events.
        digest: 16 bytes over the meaning; empty for an event that never conflicts (polled, or without any id).
        ttl: how long the key is worth remembering.
    """

    key: bytes
    digest: bytes = b""
    ttl: TtlClass = "full"


def fingerprint(*fields: Field) -> bytes:
    """Hash fields to 16 bytes; different fields give different input to the hash.

    MessagePack puts type and length before every field, so ``("a", "bc")`` and ``("ab", "c")`` differ.
    """
    return blake2b(_encode(fields), digest_size=16).digest()


def identity(event: Event) -> Identity:
    """Derive the identity of an event. ``messageId`` counts, and ``customerMessageId`` where that is absent."""
    if isinstance(event, Delivery):
        found = _delivery(event)
    elif isinstance(event, Read):
        found = _read(event)
    elif isinstance(event, Inbound):
        found = _inbound(event)
    else:
        return Identity(fingerprint("UNKNOWN", event.raw))
    return found if event.source_kind == "callback" else Identity(found.key, b"", found.ttl)


def _delivery(event: Delivery) -> Identity:
    # The status API's EXPIRED is no ERROR: a callback with code 6 may mean either, but one that names its status means
    # what it says, and dropping it after a poll that said the other would lose what it says.
    status = event.status
    code = event.status_code if status is DeliveryStatus.UNKNOWN else None
    destination = _number(event.destination) if event.destination else None
    message_id = event.message_id or event.customer_message_id
    part, total_parts = _parts(event)
    if message_id is None:
        key = fingerprint("DELIVERY?", event.channel, status, code, part, destination, _time(event))
        return Identity(key, ttl="short")
    return Identity(
        fingerprint("DELIVERY", event.channel, message_id, status, code, part),
        fingerprint(destination, event.customer_message_id, total_parts, event.price),
    )


def _parts(event: Delivery) -> tuple[int | None, int | None]:
    """Return part and total: the only part of a message is the message, whether it is numbered or not.

    Some callback shapes number it (``numPart`` 1 of ``totalParts`` 1) and others do not, nor does the status API.
    """
    if event.total_parts == 1 and event.part in {None, 1}:
        return None, None
    return event.part, event.total_parts


def _read(event: Read) -> Identity:
    destination = _number(event.destination)
    message_id = event.message_id or event.customer_message_id
    if message_id is None:
        return Identity(fingerprint("READ?", event.channel, destination, _time(event)), ttl="short")
    return Identity(fingerprint("READ", event.channel, message_id), fingerprint(destination, event.customer_message_id))


def _inbound(event: Inbound) -> Identity:
    media = event.media.key if event.media else None
    meaning = (_number(event.source), _number(event.destination), event.text, event.message_type, media)
    if event.message_id is None:
        return Identity(fingerprint("INBOUND?", event.channel, *meaning, _time(event)), ttl="short")
    return Identity(fingerprint("INBOUND", event.channel, event.message_id), fingerprint(*meaning))


def _number(number: str | None) -> str | None:
    """Strip what only formats a phone number: ``+39 340 123`` and ``0039340123`` are one."""
    return None if number is None else number.translate(_PUNCTUATION).removeprefix("00")


def _time(event: Event) -> float | bytes:
    """Return the time an event names or, if it names none that can be read, its bytes: a time may be among them."""
    return event.raw if event.occurred_at is None else event.occurred_at.timestamp()
