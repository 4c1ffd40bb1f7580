"""Messages of the inbox conversations as the events their callbacks would have been.

What an inbox message holds is described in prose only (``api/get-messages``): its fields are read by the names that
callbacks have for them, and what it lacks is taken from its conversation. All of it is a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from ..models.events import Inbound
from ..models.inbox import Conversation, InboxMessage
from ..models.trust import Trust
from .callbacks import inbound_of

__all__ = ["polled_inbound"]

_SENDERS = ("source", "from", "originator")


def polled_inbound(message: InboxMessage, conversation: Conversation, received_at: datetime) -> Inbound | None:
    """Put an inbound message into the event that its callback would have been.

    Returns:
        The event, or ``None`` where channel, customer or time cannot be told: it could not be told from an event that a
        callback brought.
    """
    raw = message.raw
    fields = {
        **raw,
        "channel": _channel(raw) or _channel(conversation.raw),
        "messageId": message.message_id,
        "timestamp": message.timestamp,
    }
    if isinstance(message.content, str):
        fields["text"] = message.content
    if not any(raw.get(name) for name in _SENDERS):
        fields["source"] = conversation.customer
    event = inbound_of(fields, msgspec.json.encode(raw), received_at)
    if not event.channel or not event.source or event.occurred_at is None:
        return None
    return msgspec.structs.replace(event, source_kind="poll", trust=Trust.CONFIRMED)


def _channel(fields: Mapping[str, Any]) -> str | None:
    """Read the channel, which may be a word or an object ("channel info")."""
    for name in ("channel", "channelType"):
        given = fields.get(name)
        words = [given.get(key) for key in ("type", "channel", "name")] if isinstance(given, Mapping) else [given]
        for word in words:
            if isinstance(word, str) and word:
                return word
    return None
