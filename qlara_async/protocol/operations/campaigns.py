"""Campaigns (API tag "Campaigns")."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from ...models.campaigns import Campaign, CampaignGoal, CampaignPrice, CampaignStats, SendingMode
from ..parameters import Fields
from .operation import Operation

__all__ = [
    "CALCULATE_GOAL",
    "CONFIRM_CAMPAIGN",
    "CREATE_CAMPAIGN",
    "DELETE_CAMPAIGN",
    "GET_CAMPAIGN",
    "GET_PRICE",
    "GET_STATS",
    "LIST_CAMPAIGNS",
    "OPERATIONS",
    "UPDATE_CAMPAIGN",
    "Aggregation",
    "CampaignBody",
    "CampaignChanges",
    "CampaignQuery",
    "Direction",
    "StatsQuery",
]

Direction = Literal["ASC", "DESC"]
Aggregation = Literal["hour", "day", "week", "month"]
_NonEmpty = Annotated[str, Meta(min_length=1)]
_Number = Annotated[str, Meta(pattern=r"^\+[1-9][0-9]{6,14}$")]
# yyyy-MM-dd HH:mm:ss.SSSZ, as for sends (UC-010)
_Scheduled = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}[+-]\d{4}$")]
_Lists = Annotated[tuple[int | str, ...], Meta(min_length=1)]
_Numbers = Annotated[tuple[_Number, ...], Meta(min_length=1)]
_PageNumber = Annotated[int, Meta(ge=0)]
_PageSize = Annotated[int, Meta(ge=1)]
_CAMPAIGNS = "/partner-gateway/v1/campaigns"
_ONE = f"{_CAMPAIGNS}/{{id}}"


class CampaignQuery(Fields, kw_only=True):
    """``GET /campaigns`` (``api/campaigns``)."""

    is_draft: bool | None = None
    is_programmed: bool | None = None
    ready_to_send: bool | None = None
    sending_mode: tuple[SendingMode, ...] | None = None
    search: str | None = None
    start_date: date | None = None
    end_date: date | None = None
    page: _PageNumber | None = None
    limit: _PageSize | None = None
    direction: Direction | None = None


class CampaignBody(Fields, kw_only=True):
    """``POST /campaigns`` (``api/create-campaign``)."""

    name: _NonEmpty
    description: str | None = None
    sending_mode: SendingMode | None = None
    sms_sender: _NonEmpty | None = None
    sms_body: _NonEmpty | None = None
    rcs_agent_id: int | str | None = None
    rcs_template_id: int | str | None = None
    whatsapp_phone_number_id: int | str | None = None
    whatsapp_template_id: int | str | None = None
    destination_type: Literal[1, 2] | None = None
    contact_list_ids: _Lists | None = None
    destinations: _Numbers | None = None
    scheduled_date: _Scheduled | None = None
    ready_to_send: bool | None = None


class CampaignChanges(Fields, kw_only=True):
    """``PUT /campaigns/{id}`` (``api/update-campaign``): any of the fields. That what is left out stays is a guess."""

    name: _NonEmpty | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    sending_mode: SendingMode | UnsetType = UNSET
    sms_sender: _NonEmpty | UnsetType = UNSET
    sms_body: _NonEmpty | UnsetType = UNSET
    rcs_agent_id: int | str | UnsetType = UNSET
    rcs_template_id: int | str | UnsetType = UNSET
    whatsapp_phone_number_id: int | str | UnsetType = UNSET
    whatsapp_template_id: int | str | UnsetType = UNSET
    destination_type: Literal[1, 2] | UnsetType = UNSET
    contact_list_ids: _Lists | UnsetType = UNSET
    destinations: _Numbers | UnsetType = UNSET
    scheduled_date: _Scheduled | UnsetType | None = UNSET
    ready_to_send: bool | UnsetType = UNSET


class StatsQuery(Fields, kw_only=True):
    """``GET /campaigns/stats`` (``api/get-stats``)."""

    start_date: date
    end_date: date
    aggregate_on: Aggregation | None = None
    sending_mode: SendingMode | None = None
    is_draft: bool | None = None
    page: _PageNumber | None = None
    limit: _PageSize | None = None
    direction: Direction | None = None


LIST_CAMPAIGNS = Operation(
    id="campaigns.list",
    method="GET",
    path=_CAMPAIGNS,
    summary="List campaigns",
    source="qlara/api/campaigns",
    query=CampaignQuery,
    answer=list[Campaign],
    guess="the envelope of the page is not shown, nor the largest limit",
)
GET_STATS = Operation(
    id="campaigns.stats",
    method="GET",
    path=f"{_CAMPAIGNS}/stats",
    summary="Count what campaigns did, hour by hour, day by day …",
    source="qlara/api/get-stats",
    query=StatsQuery,
    answer=list[CampaignStats],
    errors=(400,),
    guess="the names of the counts and the envelope of the page are not shown",
)
GET_CAMPAIGN = Operation(
    id="campaigns.get",
    method="GET",
    path=_ONE,
    summary="Read a campaign",
    source="qlara/it/api/get-campaign-by-id",
    answer=Campaign,
    errors=(404,),
)
CREATE_CAMPAIGN = Operation(
    id="campaigns.create",
    method="POST",
    path=_CAMPAIGNS,
    summary="Create a campaign; nothing is sent before it is confirmed",
    source="qlara/api/create-campaign",
    body=CampaignBody,
    answer=Campaign,
    success=201,
    errors=(400,),
    guess="the status of success and the answer are not shown",
)
UPDATE_CAMPAIGN = Operation(
    id="campaigns.update",
    method="PUT",
    path=_ONE,
    summary="Change a campaign that is a draft or ready",
    source="qlara/it/api/update-campaign",
    body=CampaignChanges,
    answer=Campaign,
    errors=(400, 404),
    guess="that fields left out stay as they are, and the answer, are not shown",
)
DELETE_CAMPAIGN = Operation(
    id="campaigns.delete",
    method="DELETE",
    path=_ONE,
    summary="Delete a campaign that is a draft or ready; so a scheduled one is cancelled",
    source="qlara/api/delete-campaign",
    success=204,
    errors=(404,),
)
CALCULATE_GOAL = Operation(
    id="campaigns.calculate_goal",
    method="POST",
    path=f"{_ONE}/calculateGoal",
    summary="Compute recipients and cost, as confirming requires",
    source="qlara/guides/campaigns",
    answer=CampaignGoal,
    errors=(400, 404),
    guess="its page was not found: neither body, answer nor statuses are shown",
)
GET_PRICE = Operation(
    id="campaigns.price",
    method="GET",
    path=f"{_ONE}/price",
    summary="Read what a campaign costs",
    source="qlara/guides/campaigns",
    answer=CampaignPrice,
    errors=(400, 404),
    guess="its page was not found: neither answer nor statuses are shown",
)
CONFIRM_CAMPAIGN = Operation(
    id="campaigns.confirm",
    method="PUT",
    path=f"{_ONE}/confirm",
    summary="Send a campaign, or schedule it: this cannot be undone",
    source="qlara/api/confirm-campaign",
    success=202,
    errors=(400, 404),
    idempotent=False,
)

OPERATIONS = (
    LIST_CAMPAIGNS,
    GET_STATS,
    GET_CAMPAIGN,
    CREATE_CAMPAIGN,
    UPDATE_CAMPAIGN,
    DELETE_CAMPAIGN,
    CALCULATE_GOAL,
    GET_PRICE,
    CONFIRM_CAMPAIGN,
)
