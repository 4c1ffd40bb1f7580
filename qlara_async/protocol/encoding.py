"""Messages as the JSON that the send endpoints take."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from ..models.message import Message

__all__ = ["encode_message", "timestamp"]

# Sorted object members: equal messages give equal bytes, in whatever order their placeholders were put in.
_ENCODER = msgspec.json.Encoder(order="deterministic")
_MINUTE = timedelta(minutes=1)


def encode_message(message: Message) -> bytes:
    """Encode a message: camelCase names, fields without a value or at their default left out.

    Equal messages give equal bytes, so every attempt can send what the first one sent.
    """
    if message.scheduled_date is None:
        return _ENCODER.encode(message)
    fields = msgspec.to_builtins(message, builtin_types=(datetime,))
    fields["scheduledDate"] = timestamp(message.scheduled_date)
    return _ENCODER.encode(fields)


def timestamp(date: datetime) -> str:
    """Write the API's pattern ``yyyy-MM-dd HH:mm:ss.SSSZ``, as in ``2026-04-10 08:00:00.000+0200``."""
    offset = date.utcoffset()
    # The pattern has whole minutes only; some zones had seconds before they were standardised.
    written = date.astimezone(UTC) if offset is None or offset % _MINUTE else date
    text = written.isoformat(sep=" ", timespec="milliseconds")
    return text[:-3] + text[-2:]
