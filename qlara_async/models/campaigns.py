"""Campaigns, as the platform API answers them.

Fields that ``api/create-campaign``, ``api/get-campaign-by-id`` and ``api/confirm-campaign`` name are documented; what
the goal, the price and the buckets of the statistics hold is not. ``raw`` always has the whole object.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import ClassVar

from .record import Id, Record

__all__ = ["Campaign", "CampaignGoal", "CampaignPrice", "CampaignStats", "CampaignStatus", "SendingMode"]


class SendingMode(StrEnum):
    """The channels of a campaign; of several, each is the fallback of the one before."""

    SMS = "SMS"
    RCS = "RCS"
    WHATSAPP = "WHATSAPP"
    RCS_SMS = "RCS_SMS"
    WHATSAPP_SMS = "WHATSAPP_SMS"
    WHATSAPP_RCS = "WHATSAPP_RCS"
    WHATSAPP_RCS_SMS = "WHATSAPP_RCS_SMS"


class CampaignStatus(IntEnum):
    """Where a campaign stands. It can be changed and deleted while it is ``DRAFT`` or ``READY``."""

    DRAFT = 0
    READY = 1
    """Ready, or confirmed and scheduled."""
    SENDING = 2
    COMPLETED = 3
    FAILED = 4


class Campaign(Record, frozen=True, kw_only=True):
    """A campaign. Its ``repr`` shows id, mode and status.

    Attributes:
        id: numeric; ``""`` if the answer named none.
        name: its name.
        description: what it is for.
        sending_mode: a `SendingMode`, as given.
        status: a `CampaignStatus`, or whatever was given instead: a use case has words.
        sms_sender: the sender of SMS.
        sms_body: the text of SMS, with ``{{placeholders}}`` for fields of contacts.
        rcs_agent_id: the RCS agent.
        rcs_template_id: the RCS template.
        whatsapp_phone_number_id: the WhatsApp number.
        whatsapp_template_id: the WhatsApp template.
        destination_type: 1 where contact lists are the recipients, 2 where numbers are.
        contact_list_ids: the lists.
        destinations: the numbers.
        scheduled_date: as ``yyyy-MM-dd HH:mm:ss.SSSZ``; ``None``: at once when it is confirmed.
        ready_to_send: ``False`` is a draft.
        total_destinations: recipients.
        total_success: of those, how many it reached.
        total_failed: and how many not.
    """

    aliases: ClassVar[dict[str, tuple[str, ...]]] = {"id": ("campaignId",)}
    shown: ClassVar[tuple[str, ...]] = ("id", "sending_mode", "status")

    id: Id = ""
    name: str | None = None
    description: str | None = None
    sending_mode: str | None = None
    status: int | str | None = None
    sms_sender: str | None = None
    sms_body: str | None = None
    rcs_agent_id: Id | None = None
    rcs_template_id: Id | None = None
    whatsapp_phone_number_id: Id | None = None
    whatsapp_template_id: Id | None = None
    destination_type: int | None = None
    contact_list_ids: tuple[Id, ...] = ()
    destinations: tuple[str, ...] = ()
    scheduled_date: str | None = None
    ready_to_send: bool | None = None
    total_destinations: int | None = None
    total_success: int | None = None
    total_failed: int | None = None


class CampaignGoal(Record, frozen=True, kw_only=True):
    """What ``calculateGoal`` computed. The names are those of an older page, and may be wrong.

    Attributes:
        total_contacts: recipients.
        estimated_cost: of all, in `currency`.
        cost_per_message: of one.
        currency: as ``EUR``.
    """

    aliases: ClassVar[dict[str, tuple[str, ...]]] = {
        "total_contacts": ("totalDestinations", "goalContactCount"),
        "estimated_cost": ("totalCost", "cost", "price"),
    }
    shown: ClassVar[tuple[str, ...]] = ("total_contacts", "estimated_cost", "currency")

    total_contacts: int | None = None
    estimated_cost: float | None = None
    cost_per_message: float | None = None
    currency: str | None = None


class CampaignPrice(Record, frozen=True, kw_only=True):
    """What a campaign costs. The names are guesses: its page was not found.

    Attributes:
        price: of all of it, in `currency`.
        currency: as ``EUR``.
    """

    aliases: ClassVar[dict[str, tuple[str, ...]]] = {"price": ("totalPrice", "estimatedCost", "cost", "total")}
    shown: ClassVar[tuple[str, ...]] = ("price", "currency")

    price: float | None = None
    currency: str | None = None


class CampaignStats(Record, frozen=True, kw_only=True):
    """The counts of one hour, day, week or month. The names are guesses: the page names counts only.

    Attributes:
        date: where the bucket begins, as given.
        sent: messages sent.
        delivered: messages delivered.
        failed: messages that failed.
    """

    aliases: ClassVar[dict[str, tuple[str, ...]]] = {
        "date": ("bucket", "period", "timestamp", "startDate"),
        "sent": ("totalSent", "totalDestinations"),
        "delivered": ("totalDelivered", "totalSuccess"),
        "failed": ("totalFailed",),
    }
    shown: ClassVar[tuple[str, ...]] = ("date", "sent", "delivered", "failed")

    date: str | None = None
    sent: int | None = None
    delivered: int | None = None
    failed: int | None = None
