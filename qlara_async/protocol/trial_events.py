"""The event that `Webhooks.test` posts, in the shapes of the channel pages (`callbacks.md` has them all)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from ..errors import ConfigurationError
from ..models.channel import Channel

__all__ = ["TrialEvent", "trial_event"]

TrialEvent = Literal["DELIVERY", "READ", "INBOUND"]

# A number that nobody has: no operator's prefix begins with +39 000.
_NOBODY = "+390000000000"
_DELIVERED = 3


def trial_event(event: TrialEvent, channel: Channel, message_id: str, occurred: float) -> bytes:
    """Write an event as the gateway would post it.

    DELIVERY of SMS is that of ``api-sms-universal``, the others are those of ``api-rcs-send``. WhatsApp's page could
    not be read: that its events look like those of RCS is a guess, and so is INBOUND of SMS.

    Args:
        event: what happened.
        channel: where.
        message_id: the message it happened to.
        occurred: seconds since the epoch.

    Raises:
        ConfigurationError: there is no such event.
    """
    if event not in {"DELIVERY", "READ", "INBOUND"} or (event == "READ" and channel is Channel.SMS):
        raise ConfigurationError("event is DELIVERY, INBOUND, or for RCS and WhatsApp READ")
    when = datetime.fromtimestamp(occurred, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    told: dict[str, Any] = {"channel": channel.value, "eventType": event, "messageId": message_id}
    if event == "INBOUND":
        who = {"source": _NOBODY, "destination": _NOBODY, "receivedDate": when}
        told |= {**who, "messageType": "TEXT", "text": "Qlara webhook test"}
    elif channel is Channel.SMS:
        parts = {"price": 0.0, "numPart": 1, "totalParts": 1, "timestamp": when}
        told |= {"statusCode": _DELIVERED, "statusDescription": "Delivered", **parts}
    else:
        told |= {"destination": _NOBODY, "eventDate": when}
        told |= {} if event == "READ" else {"statusCode": _DELIVERED, "description": "delivered"}
    return msgspec.json.encode(told)
