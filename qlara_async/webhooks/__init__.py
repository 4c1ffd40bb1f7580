"""The receiving half: a sub-application that verifies, deduplicates and dispatches callbacks to async handlers."""

from __future__ import annotations

from ..models.events import Delivery, Event, Inbound, Media, Read, UnknownEvent
from .auth import Auth, UrlToken
from .context import Context
from .exchange import Answer, Head
from .inbox import Inbox
from .inbox.memory import MemoryInbox
from .receiver import Stats, WebhookReceiver
from .router import Router

__all__ = [
    "Answer",
    "Auth",
    "Context",
    "Delivery",
    "Event",
    "Head",
    "Inbound",
    "Inbox",
    "Media",
    "MemoryInbox",
    "Read",
    "Router",
    "Stats",
    "UnknownEvent",
    "UrlToken",
    "WebhookReceiver",
]
