"""Channels and delivery statuses, spelled as the API spells them."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Channel", "DeliveryStatus", "parse_channel"]


class Channel(StrEnum):
    """A channel the gateway sends on (``channel`` in status queries and callbacks)."""

    SMS = "SMS"
    RCS = "RCS"
    WHATSAPP = "WHATSAPP"


class DeliveryStatus(StrEnum):
    """What is known of a message's delivery (``deliveryStatus`` of the status API, plus ``READ`` from callbacks)."""

    UNKNOWN = "UNKNOWN"
    SENT = "SENT"
    RECEIVED = "RECEIVED"
    EXPIRED = "EXPIRED"
    ERROR = "ERROR"
    DELIVERED = "DELIVERED"
    READ = "READ"


_CHANNELS = {channel.value: channel for channel in Channel}


def parse_channel(value: str) -> Channel | str:
    """Read a channel in any case; one we do not know stays the string it was, in upper case."""
    upper = value.strip().upper()
    return _CHANNELS.get(upper, upper)
