"""Asking the gateway whether a receipt is true."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ..errors import ConfigurationError
from ..models.answers import MessageStatus
from ..models.channel import Channel, DeliveryStatus
from ..models.events import Delivery, Event, Read
from ..models.trust import Trust
from ..protocol.status import bears_out

if TYPE_CHECKING:
    from ..resources.messages import Messages

__all__ = ["Confirmation", "confirm"]


class Confirmation(msgspec.Struct, frozen=True, kw_only=True):
    """What the status endpoint says about a receipt.

    Attributes:
        agrees: it bears the receipt out. If not, the receipt may be forged, or ahead of the status endpoint: raise
            an error to be run again later.
        event: the event, with ``trust`` ``CONFIRMED`` if it agrees.
        status: the gateway's answer; ``None`` if it does not know the message on that channel.
    """

    agrees: bool
    event: Event
    status: MessageStatus | None


async def confirm(event: Event, messages: Messages) -> Confirmation:
    """Compare a receipt with the answer of the status endpoint; it costs a request, unless the channel is unknown.

    Raises:
        ConfigurationError: the event is no receipt: the status endpoint knows sent messages only.
        QlaraError: the gateway could not be asked.
    """
    if not isinstance(event, Delivery | Read):
        raise ConfigurationError(
            "only a receipt can be confirmed: the status endpoint knows sent messages, not inbound ones"
        )
    message_ids = [one for one in (event.customer_message_id, event.message_id) if one]
    if not message_ids or not isinstance(event.channel, Channel):
        return Confirmation(agrees=False, event=event, status=None)
    found = await messages.statuses(message_ids, channel=event.channel)
    status = next((found[one] for one in message_ids if found[one] is not None), None)
    said = DeliveryStatus.READ if isinstance(event, Read) else event.status
    if status is None or not bears_out(status.status, said):
        return Confirmation(agrees=False, event=event, status=status)
    return Confirmation(agrees=True, event=msgspec.structs.replace(event, trust=Trust.CONFIRMED), status=status)
