"""Many SMS in one request of SMS Legacy: which go together, and what the request looks like.

``POST /services/sms/send`` (API page "SMS Legacy") has some fields once for the whole request and others once for a
group of recipients. Messages share a request if they agree in the former, and an entry of ``messages[]`` if they agree
in sender, text, user data header and schedule too.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

import msgspec

from ..errors import InvalidMessageError
from ..models.message import Message, Sms
from ..models.text import render
from .encoding import timestamp
from .requests import Request

__all__ = ["LEGACY_SEND_PATH", "MAX_ID_LENGTH", "Gathering", "Terms", "batch_request", "check_batchable", "terms_of"]

MAX_ID_LENGTH = 64
"""Characters of an id: ``maxIdLen`` of the API page, at its default."""

LEGACY_SEND_PATH = "/services/sms/send"
_ENCODER = msgspec.json.Encoder(order="deterministic")
_T = TypeVar("_T")


class Terms(msgspec.Struct, frozen=True, gc=False):
    """What all messages of a request have in common."""

    simulation: bool = False
    enable_notification: bool = True
    skip_rcs_override: bool = False
    enable_concatenated: bool = True
    enable_unicode: bool = True


class _Entry(msgspec.Struct, rename="camel", omit_defaults=True, gc=False):
    destinations: list[str]
    ids: list[str]
    sender: str
    body: str
    udh_data: str | None = None
    scheduling: str | None = None


class _Send(msgspec.Struct, rename="camel", omit_defaults=True, gc=False):
    messages: list[_Entry]
    simulation: bool = False
    enable_delivery: bool = True
    skip_rcs_override: bool = False
    enable_concatenated: bool = True
    enable_unicode: bool = True


def check_batchable(message: Message) -> None:
    """Require that SMS Legacy can carry all that an SMS says; messages of other channels do not go by it.

    Raises:
        InvalidMessageError: it has a campaign id, or its own id is too long.
    """
    if not isinstance(message, Sms):
        return
    if message.campaign_id is not None:
        raise InvalidMessageError("cannot be sent by the legacy route: leave it out, or sms_route", field="campaign_id")
    if message.message_id is not None and len(message.message_id) > MAX_ID_LENGTH:
        raise InvalidMessageError(f"has at most {MAX_ID_LENGTH} characters by the legacy route", field="message_id")


def terms_of(message: Sms) -> Terms:
    """What the message asks of its whole request."""
    return Terms(message.simulation, message.enable_notification, message.skip_rcs_override)


def batch_request(messages: Sequence[Sms], terms: Terms) -> Request:
    """Build the request that sends `messages`, which have their ids and agree in `terms`; placeholders are rendered.

    Recipients stay in the order of `messages` within an entry, entries in the order of their first recipient.
    """
    entries: dict[Hashable, _Entry] = {}
    for message in messages:
        text = message.body if message.placeholders is None else render(message.body, message.placeholders)
        key = (message.sender, text, message.udh_data, message.scheduled_date)
        entry = entries.get(key)
        if entry is None:
            date = message.scheduled_date
            scheduling = None if date is None else timestamp(date)
            entry = entries[key] = _Entry([], [], message.sender, text, message.udh_data, scheduling)
        entry.destinations.append(message.destination)
        entry.ids.append(message.message_id or "")
    return Request(
        method="POST",
        path=LEGACY_SEND_PATH,
        body=_ENCODER.encode(_Send(list(entries.values()), *msgspec.structs.astuple(terms))),
    )


class Gathering(Generic[_T]):
    """Things that arrive one by one, gathered into batches of one kind each.

    Args:
        size: how many make a full batch.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._open: dict[Hashable, list[_T]] = {}

    def add(self, kind: Hashable, item: _T) -> list[_T] | None:
        """Add an item to the open batch of its kind; returns that batch, closed, once it is full."""
        batch = self._open.get(kind)
        if batch is None:
            batch = self._open[kind] = []
        batch.append(item)
        return self.take(kind) if len(batch) >= self._size else None

    def take(self, kind: Hashable) -> list[_T]:
        """Close the open batch of a kind, full or not, and return it; the next item begins another."""
        return self._open.pop(kind, [])
