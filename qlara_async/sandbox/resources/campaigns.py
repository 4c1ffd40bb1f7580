"""Campaigns of the sandbox. They reach nobody: a confirmed one is completed, or scheduled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any

import msgspec

from ...clock import Clock
from ...models.campaigns import CampaignStatus
from ...protocol.operations import campaigns as operations
from ..answers import Reply, reply
from .paging import spring_page
from .request import Handlers, Refused, ResourceRequest, numeric
from .times import iso

__all__ = ["CampaignOffice"]

_PRICE = 0.05
_EDITABLE = frozenset({CampaignStatus.DRAFT, CampaignStatus.READY})
_NEEDED = {
    "SMS": ("smsSender", "smsBody"),
    "RCS": ("rcsAgentId", "rcsTemplateId"),
    "WHATSAPP": ("whatsappPhoneNumberId", "whatsappTemplateId"),
}


class CampaignOffice:
    """The account's campaigns. That a change asks for the goal to be calculated anew is a guess, as is the price.

    Attributes:
        campaigns: by id, as they are answered.
        confirmed: ids in the order they were confirmed.

    Args:
        credit: tells the credit.
        on_lists: counts who is on any of some lists.
    """

    def __init__(self, clock: Clock, credit: Callable[[], float], on_lists: Callable[[Iterable[Any]], int]) -> None:
        self._clock = clock
        self._credit = credit
        self._on_lists = on_lists
        self._ids = count(1)
        self._goals: dict[int, int] = {}
        self.campaigns: dict[int, dict[str, Any]] = {}
        self.confirmed: list[int] = []

    def handlers(self) -> Handlers:
        """What this area serves."""
        return {
            operations.LIST_CAMPAIGNS: self._list,
            operations.GET_STATS: self._stats,
            operations.GET_CAMPAIGN: lambda request: reply(200, self._known(request)),
            operations.CREATE_CAMPAIGN: self._create,
            operations.UPDATE_CAMPAIGN: self._update,
            operations.DELETE_CAMPAIGN: self._delete,
            operations.CALCULATE_GOAL: self._calculate_goal,
            operations.GET_PRICE: self._price,
            operations.CONFIRM_CAMPAIGN: self._confirm,
        }

    def _known(self, request: ResourceRequest) -> dict[str, Any]:
        found = self.campaigns.get(numeric(request))
        if found is None:
            raise Refused(404, "No such campaign")
        return found

    def _create(self, request: ResourceRequest) -> Reply:
        campaign_id = next(self._ids)
        self.campaigns[campaign_id] = {
            "id": campaign_id,
            "readyToSend": False,
            "createdAt": iso(self._clock.time()),
            "totalDestinations": 0,
            "totalSuccess": 0,
            "totalFailed": 0,
            **msgspec.to_builtins(request.body),
        }
        return reply(201, _with_status(self.campaigns[campaign_id]))

    def _update(self, request: ResourceRequest) -> Reply:
        campaign = self._known(request)
        if campaign["status"] not in _EDITABLE:
            raise Refused(400, "The campaign can no longer be changed")
        campaign |= msgspec.to_builtins(request.body)
        self._goals.pop(campaign["id"], None)
        return reply(200, _with_status(campaign))

    def _delete(self, request: ResourceRequest) -> Reply:
        campaign = self._known(request)
        if campaign["status"] not in _EDITABLE:
            raise Refused(404, "No such campaign that could be deleted")
        del self.campaigns[campaign["id"]]
        return Reply(status=204)

    def _calculate_goal(self, request: ResourceRequest) -> Reply:
        campaign = self._known(request)
        recipients = self._recipients(campaign)
        self._goals[campaign["id"]] = recipients
        cost = {"estimatedCost": round(recipients * _PRICE, 4), "costPerMessage": _PRICE, "currency": "EUR"}
        return reply(200, {"totalContacts": recipients, **cost})

    def _recipients(self, campaign: dict[str, Any]) -> int:
        if campaign.get("destinationType") == 1:
            return self._on_lists(campaign.get("contactListIds", ()))
        return len(set(campaign.get("destinations") or ()))

    def _price(self, request: ResourceRequest) -> Reply:
        goal = self._goals.get(self._known(request)["id"])
        if goal is None:
            raise Refused(400, "The goal of the campaign was not calculated")
        return reply(200, {"price": round(goal * _PRICE, 4), "currency": "EUR"})

    def _confirm(self, request: ResourceRequest) -> Reply:
        campaign = self._known(request)
        goal = self._goals.get(campaign["id"])
        self._check_confirmable(campaign, goal)
        self.confirmed.append(campaign["id"])
        campaign["confirmedAt"] = iso(self._clock.time())
        scheduled = campaign.get("scheduledDate")
        if scheduled is None or _moment(scheduled).timestamp() <= self._clock.time():
            campaign |= {"status": CampaignStatus.COMPLETED, "totalDestinations": goal, "totalSuccess": goal}
        return Reply(status=202)

    def _check_confirmable(self, campaign: dict[str, Any], goal: int | None) -> None:
        if campaign["status"] not in _EDITABLE or "confirmedAt" in campaign:
            raise Refused(400, "The campaign was confirmed before")
        if not campaign["readyToSend"]:
            raise Refused(400, "Field `readyToSend` is not true")
        mode = campaign.get("sendingMode")
        if mode is None:
            raise Refused(400, "Field `sendingMode` is required")
        for name in (name for channel in mode.split("_") for name in _NEEDED[channel]):
            if campaign.get(name) is None:
                raise Refused(400, f"Field `{name}` is required")
        if not self._recipients(campaign):
            raise Refused(400, "The campaign has no recipients")
        if goal is None:
            raise Refused(400, "The goal of the campaign was not calculated")
        if goal * _PRICE > self._credit():
            raise Refused(400, "The credit does not suffice")

    def _list(self, request: ResourceRequest) -> Reply:
        query: operations.CampaignQuery = request.query
        found = [campaign for campaign in self.campaigns.values() if _fits(campaign, query)]
        return spring_page(found[::-1] if query.direction == "DESC" else found, query.page, query.limit)

    def _stats(self, request: ResourceRequest) -> Reply:
        query: operations.StatsQuery = request.query
        if query.start_date > query.end_date:
            raise Refused(400, "Parameter `startDate` is after `endDate`")
        counts: Counter[str] = Counter()
        for campaign in self.campaigns.values():
            when = campaign.get("confirmedAt", campaign["createdAt"])
            if _counts(campaign, when, query):
                counts[_bucket(when, query.aggregate_on)] += campaign["totalSuccess"]
        buckets = sorted(counts.items(), reverse=query.direction == "DESC")
        found = [{"date": when, "sent": sent, "delivered": sent, "failed": 0} for when, sent in buckets]
        return spring_page(found, query.page, query.limit)


def _with_status(campaign: dict[str, Any]) -> dict[str, Any]:
    campaign["status"] = CampaignStatus.READY if campaign["readyToSend"] else CampaignStatus.DRAFT
    return campaign


def _fits(campaign: dict[str, Any], query: operations.CampaignQuery) -> bool:
    texts = f"{campaign['name']} {campaign.get('description') or ''}".casefold()
    if query.search is not None and query.search.casefold() not in texts:
        return False
    if query.sending_mode is not None and campaign.get("sendingMode") not in query.sending_mode:
        return False
    days = (query.start_date or date.min).isoformat(), (query.end_date or date.max).isoformat()
    if not days[0] <= campaign["createdAt"][:10] <= days[1]:
        return False
    asked = (
        (query.is_draft, campaign["status"] == CampaignStatus.DRAFT),
        (query.is_programmed, "confirmedAt" in campaign and campaign["status"] == CampaignStatus.READY),
        (query.ready_to_send, campaign["readyToSend"]),
    )
    return all(wanted in {None, is_so} for wanted, is_so in asked)


def _counts(campaign: dict[str, Any], when: str, query: operations.StatsQuery) -> bool:
    return (
        query.start_date.isoformat() <= when[:10] <= query.end_date.isoformat()
        and query.sending_mode in {None, campaign.get("sendingMode")}
        and query.is_draft in {None, campaign["status"] == CampaignStatus.DRAFT}
    )


def _moment(scheduled: str) -> datetime:
    return datetime.strptime(scheduled, "%Y-%m-%d %H:%M:%S.%f%z")


def _bucket(written: str, aggregate_on: str | None) -> str:
    day = datetime.fromisoformat(written).astimezone(UTC)
    if aggregate_on == "hour":
        return f"{day:%Y-%m-%dT%H:00:00Z}"
    if aggregate_on == "month":
        return f"{day:%Y-%m-01}"
    return f"{day - timedelta(days=day.weekday()) if aggregate_on == 'week' else day:%Y-%m-%d}"
