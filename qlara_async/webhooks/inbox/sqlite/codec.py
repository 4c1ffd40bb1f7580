"""Events as bytes: MessagePack maps, so that rows of an older version of the package can still be read."""

from __future__ import annotations

from typing import Any

import msgspec

from ....models.channel import DeliveryStatus, parse_channel
from ....models.events import Delivery, Event, Inbound, Media, Read, UnknownEvent
from ....models.trust import Trust

__all__ = ["pack", "unpack"]

_KINDS: dict[str, type[Event]] = {"D": Delivery, "R": Read, "I": Inbound, "U": UnknownEvent}
_LETTERS: dict[type[Event], str] = {kind: letter for letter, kind in _KINDS.items()}
_FIELDS = {letter: frozenset(kind.__struct_fields__) for letter, kind in _KINDS.items()}

_TRUSTS: dict[object, Trust] = {trust.value: trust for trust in Trust}

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, Any]).decode


def pack(event: Event) -> tuple[str, bytes]:
    """Return the kind of an event, one letter, and its fields."""
    return _LETTERS.get(type(event), "U"), _encode(event)


def unpack(kind: str, payload: bytes, *, conflict: bool = False) -> Event:
    """Build the event again; fields that this version does not know are left out.

    Raises:
        KeyError, TypeError, ValueError: the bytes are no event.
    """
    known = _FIELDS[kind]
    fields = {name: value for name, value in _decode(payload).items() if name in known}
    fields["channel"] = parse_channel(fields["channel"])
    if "trust" in fields:
        # A word of a newer version vouches for nothing here.
        fields["trust"] = _TRUSTS.get(fields["trust"], Trust.UNVERIFIED)
    if "status" in fields:
        fields["status"] = DeliveryStatus(fields["status"])
    if fields.get("media") is not None:
        fields["media"] = msgspec.convert(fields["media"], Media)
    if conflict:
        fields["conflict"] = True
    return _KINDS[kind](**fields)
