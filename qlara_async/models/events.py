"""Events of the receiver: what a callback (or a status poll) said, normalised.

Field names are the API's own in snake_case; ``raw`` keeps the JSON (or form) the event was read from. ``repr`` shows
ids and statuses only: phone numbers and texts stay out of logs.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from .channel import Channel, DeliveryStatus
from .trust import Trust

__all__ = ["Delivery", "Event", "Inbound", "Media", "Read", "SourceKind", "UnknownEvent"]

SourceKind = Literal["callback", "poll"]


# gc=False, here and for what carries events: an event cannot be part of a cycle, and a receiver makes so many that
# looking for cycles among them would be some percent of what a callback costs.
class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What every event has.

    Attributes:
        channel: the channel; one we do not know is an upper-case string, and ``""`` if none was given.
        message_id: the gateway's ``messageId`` (for sends: the id you gave), or ``None``.
        customer_message_id: ``customerMessageId`` where the callback has one.
        occurred_at: the time the event names, aware; ``None`` if it names none that can be read.
        received_at: when it reached us, aware.
        source_kind: ``"callback"`` or ``"poll"``.
        trust: what vouches for it.
        conflict: another event with the same identity but another meaning was received before.
        raw: the event as received, bytes.
    """

    channel: Channel | str
    message_id: str | None
    received_at: datetime
    customer_message_id: str | None = None
    occurred_at: datetime | None = None
    source_kind: SourceKind = "callback"
    trust: Trust = Trust.UNVERIFIED
    conflict: bool = False
    raw: bytes = b""

    def __repr__(self) -> str:
        shown = f"channel={str(self.channel)!r}, message_id={self.message_id!r}"
        return f"{type(self).__name__}({shown}{self._repr_extra()}{', conflict=True' if self.conflict else ''})"

    def _repr_extra(self) -> str:
        return ""

    def __rich_repr__(self) -> Any:
        yield "channel", str(self.channel)
        yield "message_id", self.message_id


class Delivery(Event, frozen=True, kw_only=True):
    """A delivery receipt; a long SMS has one for each part.

    Attributes:
        destination: the recipient, where the callback names it.
        status: what it says, normalised: code 3 is ``DELIVERED``, 6 is ``ERROR``, any other ``UNKNOWN``.
        status_code: the callback's ``statusCode``, kept whatever it is.
        description: the gateway's words.
        part: ``numPart``, from 1; ``None`` if the callback names no part.
        total_parts: ``totalParts``.
        price: in the account's currency.
    """

    status: DeliveryStatus
    destination: str | None = None
    status_code: int | str | None = None
    description: str | None = None
    part: int | None = None
    total_parts: int | None = None
    price: float | None = None

    def _repr_extra(self) -> str:
        part = "" if self.part is None else f", part={self.part}/{self.total_parts}"
        return f", status={self.status.value!r}{part}"


class Read(Event, frozen=True, kw_only=True):
    """The recipient read the message (RCS and WhatsApp).

    Attributes:
        destination: the recipient, where the callback names it.
    """

    destination: str | None = None


class Media(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Media of an inbound message.

    Attributes:
        key: ``mediaKey``, for ``GET /files/{mediaKey}``.
        mime_type: ``mimeType``, if given.
        caption: text given with the media; also the event's ``text``.
        expires_at: until when they can be fetched, aware, by the receiver's ``expire_minutes``; ``None`` if no receiver
            has seen them.
    """

    key: str
    mime_type: str | None = None
    caption: str | None = None
    expires_at: datetime | None = None

    def __repr__(self) -> str:
        return f"Media(mime_type={self.mime_type!r})"


class Inbound(Event, frozen=True, kw_only=True):
    """A customer wrote.

    Attributes:
        source: the customer's number.
        destination: our number.
        text: what they wrote; empty if there is none.
        message_type: ``TEXT``, ``IMAGE``, ``AUDIO``, ``VIDEO`` … as given, in upper case.
        media: the media, if any.
    """

    source: str | None = None
    destination: str | None = None
    text: str = ""
    message_type: str = "TEXT"
    media: Media | None = None

    def _repr_extra(self) -> str:
        return f", message_type={self.message_type!r}"


class UnknownEvent(Event, frozen=True, kw_only=True):
    """An event we cannot name: a new ``eventType``, or a body we cannot decode. ``raw`` has all of it.

    Attributes:
        event_type: the ``eventType`` given, in upper case; ``""`` if there is none.
        reason: why it is unknown, in our words.
    """

    event_type: str = ""
    reason: str = ""

    def _repr_extra(self) -> str:
        return f", event_type={self.event_type!r}"
