"""In which order events are handled: the lanes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from ..errors import ConfigurationError
from ..models.events import Event, Inbound
from ..protocol.identity import fingerprint
from .inbox import Lane

__all__ = ["OrderBy", "lane_of"]

OrderBy: TypeAlias = Literal["sender", "message"] | Callable[[Event], str | None] | None
"""What puts events into one lane, in which a handler gets them one after the other, in the order of their arrival.

``"sender"``: the customer who wrote, and the message for events that name none. ``"message"``: the message. A function
of the event: what it returns; ``None`` is no lane. ``None``: no order.
"""

_PUNCTUATION = str.maketrans("", "", " +-().")

OrderFailed: TypeAlias = Callable[[Exception, Event, str], object]


def lane_of(order_by: OrderBy, failed: OrderFailed) -> Lane | None:
    """Return the function that names an event's lane; ``failed`` is told of one of yours that raises.

    Raises:
        ConfigurationError: ``order_by`` is none of these.
    """
    if order_by is None:
        return None
    if order_by == "sender":
        return _sender
    if order_by == "message":
        return _message
    if not callable(order_by):
        raise ConfigurationError('order_by is "sender", "message", None, or a function of the event')
    key_of = order_by

    def lane(event: Event) -> bytes | None:
        try:
            key = key_of(event)
            return None if key is None else fingerprint("key", key)
        except Exception as error:
            failed(error, event, "order_by")
            return _message(event)

    return lane


def _sender(event: Event) -> bytes | None:
    if not isinstance(event, Inbound) or not event.source:
        return _message(event)
    return fingerprint("sender", event.source.translate(_PUNCTUATION).removeprefix("00"))


def _message(event: Event) -> bytes | None:
    message_id = event.message_id or event.customer_message_id
    return None if message_id is None else fingerprint("message", event.channel, message_id)
