"""Typed answers of the gateway: receipts, statuses, the registered callback."""

from __future__ import annotations

from typing import Any

import msgspec

from .channel import Channel, DeliveryStatus

__all__ = ["Answer", "CallbackRegistration", "CallbackTest", "ChannelResult", "MessageStatus", "Receipt"]

_DEADLINE = 5.0

_SMS = Channel.SMS  # an enum's member costs a call to look up, and this one is for each message


class ChannelResult(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One channel's entry in ``results`` of a send's answer.

    Attributes:
        accepted: taken for sending; not yet delivered.
        parts: SMS parts, where given.
        unicode: whether the text needs UCS-2, where given.
        reasons: why it was not accepted (vocabulary undocumented), as the gateway said it: it may quote the request, so
            mind where you log it. It is not in ``repr``.
    """

    accepted: bool
    parts: int | None = None
    unicode: bool | None = None
    reasons: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"ChannelResult(accepted={self.accepted}, parts={self.parts}, unicode={self.unicode})"

    def __rich_repr__(self) -> Any:
        yield "accepted", self.accepted
        yield "parts", self.parts
        yield "unicode", self.unicode


class Receipt(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The gateway accepted the message. Accepted is not delivered: that comes by callback.

    Attributes:
        message_id: the id the message was sent with; status queries and callbacks know it by this.
        channel: the channel the message was sent on.
        results: one entry for each channel the gateway tried; empty if its answer named none.
        simulation: whether it was a dry run.
        attempts: requests it took.
        looked_up: the answer to the send was lost; the status API has the message. ``raw`` is its answer then, and
            ``results`` is empty.
        raw: the answer's body.
    """

    message_id: str
    channel: Channel
    results: dict[str, ChannelResult] = {}
    simulation: bool = False
    attempts: int = 1
    looked_up: bool = False
    raw: bytes = b""

    @property
    def parts(self) -> int | None:
        """SMS parts the gateway counted, if it said."""
        sms = self.results.get(_SMS)
        return None if sms is None else sms.parts

    def __repr__(self) -> str:
        return f"Receipt(message_id={self.message_id!r}, channel={self.channel.value!r}, attempts={self.attempts})"

    def __rich_repr__(self) -> Any:
        yield "message_id", self.message_id
        yield "channel", self.channel.value
        yield "attempts", self.attempts


class MessageStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What the status API knows of a message (``DeliveryStatusResponse``).

    Attributes:
        message_id: the id it was asked by (``customerMessageId``).
        channel: the channel it was asked for.
        status: the delivery status; a value we do not know is ``UNKNOWN``.
        status_text: the gateway's own ``deliveryStatus``.
        description: ``deliveryStatusDescription``.
        raw: the JSON object, bytes.
    """

    message_id: str
    channel: Channel
    status: DeliveryStatus
    status_text: str = ""
    description: str | None = None
    raw: bytes = b""

    def __repr__(self) -> str:
        return (
            f"MessageStatus(message_id={self.message_id!r}, channel={self.channel.value!r}, "
            f"status={self.status.value!r})"
        )


class CallbackRegistration(msgspec.Struct, frozen=True, kw_only=True):
    """The account's one callback URL (``/webhooks/delivery-status``).

    Attributes:
        callback_url: the URL. Its path holds a secret when ``UrlToken`` is used: it is not in ``repr``.
        id: the gateway's id of the registration, if given.
        status: ``ACTIVE`` is the only value seen.
        created_at: as given.
    """

    callback_url: str
    id: str | None = None
    status: str | None = None
    created_at: str | None = None

    def __repr__(self) -> str:
        return f"CallbackRegistration(id={self.id!r}, status={self.status!r})"


class CallbackTest(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a test event.

    Attributes:
        message_id: the one the event was about, by which your handler knows it.
        status: the HTTP status your receiver answered.
        elapsed: seconds until it did.
    """

    message_id: str
    status: int
    elapsed: float

    @property
    def acknowledged(self) -> bool:
        """Whether the gateway would take it for delivered: any 2xx, within 5 seconds (the strictest of the pages)."""
        return 200 <= self.status < 300 and self.elapsed <= _DEADLINE


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A raw answer of ``client.request``.

    Attributes:
        status: the HTTP status, always 2xx.
        headers: header names in lower case; of repeated headers the last.
        body: the bytes.
    """

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Decode the body as JSON. Raises ``msgspec.DecodeError`` if it is none."""
        return msgspec.json.decode(self.body)

    def __repr__(self) -> str:
        return f"Answer(status={self.status}, body=<{len(self.body)} bytes>)"
