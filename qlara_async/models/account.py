"""What the account has: its plan, its quota of contacts, its credit (API tag "Subscription").

The API pages name the fields of the quota and of the credit; those of the plan they describe, so that under which name
they come is a guess. ``raw`` always has the whole object.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from .record import Id, Record

__all__ = ["ContactQuota", "Credit", "Subscription"]


class Subscription(Record, frozen=True, kw_only=True):
    """The account's plan.

    Attributes:
        id: ``subscriptionId`` (a use case); ``""`` if the answer named none.
        plan: its code, such as ``PRO_MONTHLY`` (the name of the field is a guess).
        status: ``ACTIVE``, ``CANCELED`` or ``SUSPENDED``.
        period_start: of the period that is billed, as given (a guess, likewise).
        period_end: its end.
        next_renew: when it is renewed, as given.
        canceled: whether it ends with the period.
        next_plan: code of the plan that follows (a guess, likewise).
        auto_renew: from a use case.
        features: what is included, such as ``sms`` and ``maxContacts`` (a use case).
    """

    aliases: ClassVar[dict[str, tuple[str, ...]]] = {
        "id": ("subscriptionId",),
        "plan": ("planCode",),
        "period_start": ("billingPeriodStart", "startDate"),
        "period_end": ("billingPeriodEnd", "endDate"),
        "next_plan": ("nextPlanCode",),
    }
    shown: ClassVar[tuple[str, ...]] = ("plan", "status", "period_end")

    id: Id = ""
    plan: str | None = None
    status: str | None = None
    period_start: str | None = None
    period_end: str | None = None
    next_renew: str | None = None
    canceled: bool | None = None
    next_plan: str | None = None
    auto_renew: bool | None = None
    features: dict[str, Any] = msgspec.field(default_factory=dict)


class ContactQuota(Record, frozen=True, kw_only=True):
    """How many contacts the plan allows. A number the answer lacks is ``None``.

    Attributes:
        plan_limit: of the plan itself.
        extra_limit: bought in addition.
        total_limit: of both.
        used: contacts there are.
        remaining: how many there may yet be.
    """

    shown: ClassVar[tuple[str, ...]] = ("used", "total_limit", "remaining")

    plan_limit: int | None = None
    extra_limit: int | None = None
    total_limit: int | None = None
    used: int | None = None
    remaining: int | None = None


class Credit(Record, frozen=True, kw_only=True):
    """The account's credit. The currency is not documented; that of SMS Legacy is the euro.

    Attributes:
        credit: all there is.
        frozen: set aside for what is not settled yet (``frozenCredit``).
        available: what is left to spend: ``availableCredit``, which is credit − frozen.
    """

    aliases: ClassVar[dict[str, tuple[str, ...]]] = {"frozen": ("frozenCredit",), "available": ("availableCredit",)}
    shown: ClassVar[tuple[str, ...]] = ("credit", "frozen", "available")

    credit: float | None = None
    frozen: float | None = None
    available: float | None = None
