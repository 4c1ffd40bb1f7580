"""An async SDK for the Qlara gateway of Agile Telecom: SMS, RCS and WhatsApp.

Out: `QlaraClient`, which pipelines sends under a rate limiter. In: `qlara_async.webhooks`, an aiohttp sub-application
that dispatches callbacks to handlers. To try both without an account: `qlara_async.sandbox`.
"""

import importlib
from typing import TYPE_CHECKING

from ._version import __version__
from .client import QlaraClient
from .limiter import Limiter
from .models.answers import Answer, CallbackRegistration, CallbackTest, ChannelResult, MessageStatus, Receipt
from .models.channel import Channel, DeliveryStatus
from .models.message import FallbackRcs, FallbackSms, Message, Rcs, RcsContent, Sms, WhatsApp, WhatsAppTemplate
from .models.options import Priority, RateLimit, RetryPolicy, Timeouts
from .models.telemetry import (
    ClientEvent,
    CreditLow,
    KeyRotated,
    LimiterPaused,
    LimiterWaited,
    RateLimitHeaders,
    RequestFinished,
    RetryScheduled,
)
from .models.text import Segments
from .protocol.outcomes import OutcomeState
from .sending.gates import Gate
from .sending.usage import Usage

if TYPE_CHECKING:
    from .bulk.estimate import Estimate, InvalidRow
    from .bulk.job import BulkJob
    from .bulk.journal import Journal
    from .bulk.outcome import BulkSummary, Outcome
    from .chains import ChainResult, FallbackChain, FallbackChains
    from .consent import SuppressionList, erase_number
    from .conversations import Conversations
    from .models.account import ContactQuota, Credit, Subscription
    from .models.api_keys import ApiKey
    from .models.campaigns import Campaign, CampaignStatus, SendingMode
    from .models.contacts import Contact, ContactList
    from .models.exports import DownloadLink, Export, HistoryEntry
    from .models.inbox import AssignableUser, Conversation, InboxMessage
    from .models.legacy import LegacyReceipt, LegacySms
    from .models.media import MediaFile
    from .models.rcs import (
        RcsCard,
        RcsCardContent,
        RcsCarouselContent,
        RcsFormContent,
        RcsMedia,
        RcsSuggestion,
        RcsTemplateInfo,
        RcsTextContent,
    )
    from .models.record import Record
    from .models.socials import SocialProfile
    from .models.variables import tracked_links
    from .models.whatsapp import (
        TemplateButton,
        TemplateCategory,
        TemplateStatus,
        WhatsAppPhoneNumber,
        WhatsAppTemplateDraft,
        WhatsAppTemplateInfo,
    )
    from .resources.credit_watch import CreditWatch
    from .resources.listing import Listing, Page
    from .sending.known_templates import KnownTemplates
    from .tracking import DeliveryTracker, InboundRepair, StatusChange
    from .transfers.download import SavedFile

__all__ = [
    "Answer",
    "ApiKey",
    "AssignableUser",
    "BulkJob",
    "BulkSummary",
    "CallbackRegistration",
    "CallbackTest",
    "Campaign",
    "CampaignStatus",
    "ChainResult",
    "Channel",
    "ChannelResult",
    "ClientEvent",
    "Contact",
    "ContactList",
    "ContactQuota",
    "Conversation",
    "Conversations",
    "Credit",
    "CreditLow",
    "CreditWatch",
    "DeliveryStatus",
    "DeliveryTracker",
    "DownloadLink",
    "Estimate",
    "Export",
    "FallbackChain",
    "FallbackChains",
    "FallbackRcs",
    "FallbackSms",
    "Gate",
    "HistoryEntry",
    "InboundRepair",
    "InboxMessage",
    "InvalidRow",
    "Journal",
    "KeyRotated",
    "KnownTemplates",
    "LegacyReceipt",
    "LegacySms",
    "Limiter",
    "LimiterPaused",
    "LimiterWaited",
    "Listing",
    "MediaFile",
    "Message",
    "MessageStatus",
    "Outcome",
    "OutcomeState",
    "Page",
    "Priority",
    "QlaraClient",
    "RateLimit",
    "RateLimitHeaders",
    "Rcs",
    "RcsCard",
    "RcsCardContent",
    "RcsCarouselContent",
    "RcsContent",
    "RcsFormContent",
    "RcsMedia",
    "RcsSuggestion",
    "RcsTemplateInfo",
    "RcsTextContent",
    "Receipt",
    "Record",
    "RequestFinished",
    "RetryPolicy",
    "RetryScheduled",
    "SavedFile",
    "Segments",
    "SendingMode",
    "Sms",
    "SocialProfile",
    "StatusChange",
    "Subscription",
    "SuppressionList",
    "TemplateButton",
    "TemplateCategory",
    "TemplateStatus",
    "Timeouts",
    "Usage",
    "WhatsApp",
    "WhatsAppPhoneNumber",
    "WhatsAppTemplate",
    "WhatsAppTemplateDraft",
    "WhatsAppTemplateInfo",
    "__version__",
    "erase_number",
    "tracked_links",
]

_LAZY = {
    "AssignableUser": "qlara_async.models.inbox",
    "ApiKey": "qlara_async.models.api_keys",
    "BulkJob": "qlara_async.bulk.job",
    "BulkSummary": "qlara_async.bulk.outcome",
    "Campaign": "qlara_async.models.campaigns",
    "CampaignStatus": "qlara_async.models.campaigns",
    "ChainResult": "qlara_async.chains",
    "Contact": "qlara_async.models.contacts",
    "ContactList": "qlara_async.models.contacts",
    "ContactQuota": "qlara_async.models.account",
    "Conversation": "qlara_async.models.inbox",
    "Conversations": "qlara_async.conversations",
    "Credit": "qlara_async.models.account",
    "CreditWatch": "qlara_async.resources.credit_watch",
    "DeliveryTracker": "qlara_async.tracking",
    "DownloadLink": "qlara_async.models.exports",
    "Estimate": "qlara_async.bulk.estimate",
    "Export": "qlara_async.models.exports",
    "FallbackChain": "qlara_async.chains",
    "FallbackChains": "qlara_async.chains",
    "HistoryEntry": "qlara_async.models.exports",
    "InboundRepair": "qlara_async.tracking",
    "InboxMessage": "qlara_async.models.inbox",
    "InvalidRow": "qlara_async.bulk.estimate",
    "Journal": "qlara_async.bulk.journal",
    "LegacyReceipt": "qlara_async.models.legacy",
    "LegacySms": "qlara_async.models.legacy",
    "KnownTemplates": "qlara_async.sending.known_templates",
    "Listing": "qlara_async.resources.listing",
    "MediaFile": "qlara_async.models.media",
    "Outcome": "qlara_async.bulk.outcome",
    "Page": "qlara_async.resources.listing",
    "RcsCard": "qlara_async.models.rcs",
    "RcsCardContent": "qlara_async.models.rcs",
    "RcsCarouselContent": "qlara_async.models.rcs",
    "RcsFormContent": "qlara_async.models.rcs",
    "RcsMedia": "qlara_async.models.rcs",
    "RcsSuggestion": "qlara_async.models.rcs",
    "RcsTemplateInfo": "qlara_async.models.rcs",
    "RcsTextContent": "qlara_async.models.rcs",
    "Record": "qlara_async.models.record",
    "SavedFile": "qlara_async.transfers.download",
    "SocialProfile": "qlara_async.models.socials",
    "SendingMode": "qlara_async.models.campaigns",
    "StatusChange": "qlara_async.tracking",
    "Subscription": "qlara_async.models.account",
    "SuppressionList": "qlara_async.consent",
    "TemplateButton": "qlara_async.models.whatsapp",
    "TemplateCategory": "qlara_async.models.whatsapp",
    "TemplateStatus": "qlara_async.models.whatsapp",
    "WhatsAppPhoneNumber": "qlara_async.models.whatsapp",
    "WhatsAppTemplateDraft": "qlara_async.models.whatsapp",
    "WhatsAppTemplateInfo": "qlara_async.models.whatsapp",
    "erase_number": "qlara_async.consent",
    "tracked_links": "qlara_async.models.variables",
}
"""What brings SQLite, or a receiver, or not every program uses, is imported when it is asked for."""


def __getattr__(name: str) -> object:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(module), name)
