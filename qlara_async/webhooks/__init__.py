"""The receiving half: a sub-application that verifies, deduplicates and dispatches callbacks to async handlers."""

from __future__ import annotations

from ..models.events import Delivery, Event, Inbound, Media, Read, UnknownEvent
from ..models.trust import Trust
from ..protocol.credentials import Reason
from ..protocol.replies import ReplyAs
from .auth import AllOf, Auth, BasicAuth, HmacSignature, IpAllowList, UrlToken
from .confirmation import Confirmation
from .context import Context
from .exchange import Answer, Head
from .inbox import Inbox
from .inbox.memory import MemoryInbox
from .inbox.sqlite import DeadLetter, Quarantined, SqliteInbox
from .middleware import CallNext, Middleware
from .order import OrderBy
from .receiver import Stats, WebhookReceiver
from .router import Router

__all__ = [
    "AllOf",
    "Answer",
    "Auth",
    "BasicAuth",
    "CallNext",
    "Confirmation",
    "Context",
    "DeadLetter",
    "Delivery",
    "Event",
    "Head",
    "HmacSignature",
    "Inbound",
    "Inbox",
    "IpAllowList",
    "Media",
    "MemoryInbox",
    "Middleware",
    "OrderBy",
    "Quarantined",
    "Read",
    "Reason",
    "ReplyAs",
    "Router",
    "SqliteInbox",
    "Stats",
    "Trust",
    "UnknownEvent",
    "UrlToken",
    "WebhookReceiver",
]
