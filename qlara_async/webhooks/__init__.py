"""The receiving half: a sub-application that verifies, deduplicates and dispatches callbacks to async handlers."""

from __future__ import annotations

from ..models.events import Delivery, Event, Inbound, Media, Read, UnknownEvent
from .auth import Auth, UrlToken
from .context import Context
from .exchange import Answer, Head
from .inbox import Inbox
from .inbox.memory import MemoryInbox
from .inbox.sqlite import DeadLetter, Quarantined, SqliteInbox
from .order import OrderBy
from .receiver import Stats, WebhookReceiver
from .router import Router

__all__ = [
    "Answer",
    "Auth",
    "Context",
    "DeadLetter",
    "Delivery",
    "Event",
    "Head",
    "Inbound",
    "Inbox",
    "Media",
    "MemoryInbox",
    "OrderBy",
    "Quarantined",
    "Read",
    "Router",
    "SqliteInbox",
    "Stats",
    "UnknownEvent",
    "UrlToken",
    "WebhookReceiver",
]
