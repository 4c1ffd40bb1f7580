"""The payloads of callbacks, in every shape the documents show.

- ``channel``: the per-channel pages (``api-sms-universal``, ``api-rcs-send``). WhatsApp's page is not readable: it gets
  the shape of RCS, and media as in UC-026 (a guess). SMS inbound likewise.
- ``unified``: ``guides/webhooks`` of the platform; its inbound has no message id.
- ``legacy``: the older ``guides/webhooks``, with lower-case channels. It shows no READ and no INBOUND: those go out
  unified.
- for inbound only, ``nested`` (UC-026: ``from``, ``to``, ``content``) and ``form`` (``guides/inbound-sms``).

Code 3 is delivered and 6 not delivered; that an expired message is told as 6 is a guess.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import urlencode

import msgspec

from ..models.channel import Channel, DeliveryStatus

__all__ = ["Told", "inbound_content", "inbound_payload", "receipt_payload"]

Shape = Literal["channel", "unified", "legacy"]
InboundShape = Literal["channel", "unified", "nested", "form"]

_WORDS = {
    DeliveryStatus.DELIVERED: "Delivered",
    DeliveryStatus.READ: "Read",
    DeliveryStatus.ERROR: "Not Delivered",
    DeliveryStatus.EXPIRED: "Expired",
}


class Told(msgspec.Struct, kw_only=True):
    """One thing to tell about a message: a delivery outcome of a part, or that it was read."""

    message_id: str
    channel: Channel
    destination: str
    status: DeliveryStatus
    occurred: float
    shape: Shape
    part: int = 1
    parts: int = 1
    price: float = 0.0
    gateway_id: str | None = None
    attempt: int = 1

    @property
    def event_type(self) -> str:
        """``READ`` or ``DELIVERY``."""
        return "READ" if self.status is DeliveryStatus.READ else "DELIVERY"

    def __repr__(self) -> str:
        return f"Told({self.event_type}, message_id={self.message_id!r}, part={self.part}/{self.parts})"

    def __rich_repr__(self) -> Any:
        yield "event_type", self.event_type
        yield "message_id", self.message_id


def receipt_payload(told: Told) -> bytes:
    """Render a DELIVERY or READ as JSON in its shape."""
    if told.shape == "channel":
        payload = _sms_receipt(told) if told.channel is Channel.SMS else _rcs_receipt(told)
    elif told.shape == "legacy" and told.status is not DeliveryStatus.READ:
        payload = _legacy_receipt(told)
    else:
        payload = _unified_receipt(told)
    return msgspec.json.encode(payload)


def inbound_payload(
    *,
    shape: InboundShape,
    channel: Channel,
    source: str,
    destination: str,
    text: str | None,
    media_key: str | None,
    media_type: str,
    message_id: str,
    occurred: float,
) -> tuple[bytes, str]:
    """Render an INBOUND; returns the body and its content type."""
    if shape == "form":
        stamp = datetime.fromtimestamp(occurred, UTC).strftime("%Y%m%d%H%M%S")
        fields = {"originator": source, "destination": destination, "date_time": stamp, "text": text or ""}
        return urlencode(fields).encode(), "application/x-www-form-urlencoded"
    kind = "TEXT" if media_key is None else media_type
    payload: dict[str, Any] = {"channel": channel.value, "eventType": "INBOUND"}
    if shape == "nested":
        payload |= {"messageId": message_id, "from": source, "to": destination, "timestamp": _iso(occurred)}
        payload["content"] = inbound_content(text, media_key, media_type)
    else:
        when = "timestamp" if shape == "unified" else "receivedDate"
        payload |= {"source": source, "destination": destination, when: _iso(occurred), "messageType": kind}
        payload |= {} if shape == "unified" else {"messageId": message_id}
        payload |= {} if text is None else {"text": text}
        payload |= {} if media_key is None else {"mediaKey": media_key}
    return msgspec.json.encode(payload), "application/json"


def inbound_content(text: str | None, media_key: str | None, media_type: str) -> dict[str, Any]:
    """Render what a customer wrote as the ``content`` of UC-026."""
    kind = "TEXT" if media_key is None else media_type
    content = {"type": kind, "text" if media_key is None else "caption": text, "mediaKey": media_key}
    return {name: value for name, value in content.items() if value is not None}


def _sms_receipt(told: Told) -> dict[str, Any]:
    return {
        "channel": "SMS",
        "eventType": told.event_type,
        "messageId": told.message_id,
        "statusCode": _code(told),
        "statusDescription": _WORDS[told.status],
        "price": told.price,
        "numPart": told.part,
        "totalParts": told.parts,
        "timestamp": _iso(told.occurred),
    }


def _rcs_receipt(told: Told) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "channel": told.channel.value,
        "eventType": told.event_type,
        "messageId": told.message_id,
        "destination": told.destination,
        "eventDate": _iso(told.occurred),
    }
    if told.status is not DeliveryStatus.READ:
        payload |= {"statusCode": _code(told), "description": _WORDS[told.status].lower()}
    return payload


def _unified_receipt(told: Told) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "eventType": told.event_type,
        "messageId": told.gateway_id or told.message_id,
        "destination": told.destination,
        "channel": told.channel.value,
        "timestamp": _iso(told.occurred),
    }
    if told.gateway_id is not None or told.status is not DeliveryStatus.READ:
        payload["customerMessageId"] = told.message_id
    if told.status is not DeliveryStatus.READ:
        payload |= {"statusCode": _code(told), "description": f"Message {_WORDS[told.status].lower()}"}
    return payload


def _legacy_receipt(told: Told) -> dict[str, Any]:
    return {
        "messageId": told.gateway_id or told.message_id,
        "customerMessageId": told.message_id,
        "phoneNumber": told.destination,
        "status": told.status.value,
        "timestamp": _iso(told.occurred),
        "channel": told.channel.value.lower(),
        "error": _WORDS[told.status] if told.status is DeliveryStatus.ERROR else None,
    }


def _code(told: Told) -> int:
    return 3 if told.status is DeliveryStatus.DELIVERED else 6


def _iso(occurred: float) -> str:
    return datetime.fromtimestamp(occurred, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
