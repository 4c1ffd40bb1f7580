"""The sandbox's account: its plan, quota and credit, and its social profiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...protocol.operations import account as operations
from ..answers import Reply, reply
from .request import Handlers, Refused, ResourceRequest

__all__ = ["Account"]

_PLAN = {
    "planCode": "PRO_MONTHLY",
    "status": "ACTIVE",
    "billingPeriodStart": "2026-11-01T00:00:00Z",
    "billingPeriodEnd": "2026-12-01T00:00:00Z",
    "nextRenew": "2026-12-01T00:00:00Z",
    "canceled": False,
    "nextPlanCode": "PRO_MONTHLY",
}


class Account:
    """The account. Names of fields that no page shows are guesses.

    Attributes:
        subscription: as it is answered; ``None`` for none.
        plan_limit: contacts the plan allows.
        extra_limit: contacts allowed in addition.
        frozen_credit: the part of ``Sandbox.credit`` that is not available.
        socials: profiles by platform, as they are answered.

    Args:
        credit: tells the credit.
        contacts: tells how many contacts there are.
    """

    def __init__(self, credit: Callable[[], float], contacts: Callable[[], int]) -> None:
        self._credit = credit
        self._contacts = contacts
        self.subscription: dict[str, Any] | None = dict(_PLAN)
        self.plan_limit = 5000
        self.extra_limit = 0
        self.frozen_credit = 0.0
        self.socials: dict[str, dict[str, Any]] = {}

    def handlers(self) -> Handlers:
        """What this area serves."""
        return {
            operations.GET_SUBSCRIPTION: self._get,
            operations.GET_CONTACT_QUOTA: self._quota,
            operations.GET_CREDIT: self._get_credit,
            operations.LIST_SOCIALS: self._list_socials,
            operations.GET_SOCIAL: self._get_social,
        }

    def connect(self, platform: str, *pages: dict[str, Any], **fields: Any) -> None:
        """Connect a social profile, as the dashboard does, with its linked pages."""
        self.socials[platform] = {
            "platform": platform,
            "username": f"acme_{platform}",
            "profileName": "ACME",
            "profilePictureUrl": f"https://media.qlara.invalid/{platform}.png",
            "connectionDate": "2026-04-09T09:00:00Z",
            "disconnected": False,
            "linkedPagesCount": len(pages),
            "linkedPages": list(pages),
            **fields,
        }

    def _get(self, request: ResourceRequest) -> Reply:
        if self.subscription is None:
            raise Refused(404, "No active subscription")
        return reply(200, self.subscription)

    def _quota(self, request: ResourceRequest) -> Reply:
        total, used = self.plan_limit + self.extra_limit, self._contacts()
        quota = {"planLimit": self.plan_limit, "extraLimit": self.extra_limit, "totalLimit": total}
        return reply(200, quota | {"used": used, "remaining": max(0, total - used)})

    def _get_credit(self, request: ResourceRequest) -> Reply:
        credit, frozen = self._credit(), self.frozen_credit
        return reply(200, {"credit": credit, "frozenCredit": frozen, "availableCredit": credit - frozen})

    def _list_socials(self, request: ResourceRequest) -> Reply:
        brief = [
            {name: value for name, value in profile.items() if name != "linkedPages"}
            for profile in self.socials.values()
        ]
        return reply(200, brief)

    def _get_social(self, request: ResourceRequest) -> Reply:
        profile = self.socials.get(request.path["platform"])
        if profile is None:
            raise Refused(404, "No such social profile")
        return reply(200, profile)
