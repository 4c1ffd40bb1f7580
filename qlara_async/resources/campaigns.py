"""``client.campaigns``: campaigns of the platform (``/partner-gateway/v1/campaigns``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any, Literal

from msgspec import UNSET, UnsetType

from ..errors import ConfigurationError
from ..models.campaigns import Campaign, CampaignGoal, CampaignPrice, CampaignStats, SendingMode
from ..models.record import Id
from ..protocol.encoding import timestamp
from ..protocol.operations.campaigns import (
    CALCULATE_GOAL,
    CONFIRM_CAMPAIGN,
    CREATE_CAMPAIGN,
    DELETE_CAMPAIGN,
    GET_CAMPAIGN,
    GET_PRICE,
    GET_STATS,
    LIST_CAMPAIGNS,
    UPDATE_CAMPAIGN,
    Aggregation,
    CampaignBody,
    CampaignChanges,
    CampaignQuery,
    Direction,
    StatsQuery,
)
from ..protocol.parameters import chosen, several
from .api import Api
from .listing import Listing

__all__ = ["Campaigns"]

# What confirming wants of each channel (api/confirm-campaign), and a campaign that is created ready.
_NEEDED = {
    "SMS": ("sms_sender", "sms_body"),
    "RCS": ("rcs_agent_id", "rcs_template_id"),
    "WHATSAPP": ("whatsapp_phone_number_id", "whatsapp_template_id"),
}


class Campaigns:
    """Campaigns: list, get, create, update, delete, goal, price, confirm, statistics.

    A campaign is sent by the gateway itself: neither the suppression list nor other checks of the client are asked.
    Its way is create, calculate the goal, confirm.
    """

    def __init__(self, api: Api) -> None:
        self._api = api

    def list(
        self,
        *,
        is_draft: bool | None = None,
        is_programmed: bool | None = None,
        ready_to_send: bool | None = None,
        sending_modes: Iterable[SendingMode | str] | None = None,
        search: str | None = None,
        start_date: date | None = None,
        end_date: date | None = None,
        direction: Direction | None = None,
        limit: int | None = None,
        page_size: int = 10,
    ) -> Listing[Campaign]:
        """List campaigns: ``GET /partner-gateway/v1/campaigns`` (documented; its envelope is not).

        Args:
            is_draft: whether they are drafts.
            is_programmed: whether they are confirmed and scheduled.
            ready_to_send: whether they are ready.
            sending_modes: only these (``sendingMode``).
            search: in name and description.
            start_date: together with `end_date`, the days; of what is not told.
            end_date: see `start_date`.
            direction: ``ASC`` or ``DESC``; by what is not told.
            limit: at most so many in all.
            page_size: asked for per request; how many the gateway allows is undocumented.

        Raises:
            ConfigurationError: an argument does not fit. Iterating raises as a `Listing` does.
        """
        query = CampaignQuery(
            is_draft=is_draft,
            is_programmed=is_programmed,
            ready_to_send=ready_to_send,
            sending_mode=_modes(sending_modes),
            search=search,
            start_date=start_date,
            end_date=end_date,
            direction=direction,
        )
        return self._api.pages(LIST_CAMPAIGNS, Campaign, query, limit=limit, page_size=page_size)

    async def get(self, campaign_id: Id) -> Campaign:
        """Return one campaign: ``GET /partner-gateway/v1/campaigns/{id}`` (documented; its fields in part).

        Raises:
            NotFoundError: there is no such campaign, or it is not yours.
            UndecodableAnswerError: the answer is no object.
        """
        return await self._api.get(GET_CAMPAIGN, Campaign, path={"id": campaign_id})

    async def create(
        self,
        name: str,
        *,
        sending_mode: SendingMode | str | None = None,
        sms_sender: str | None = None,
        sms_body: str | None = None,
        rcs_agent_id: Id | None = None,
        rcs_template_id: Id | None = None,
        whatsapp_phone_number_id: Id | None = None,
        whatsapp_template_id: Id | None = None,
        contact_list_ids: Iterable[Id] | None = None,
        destinations: Iterable[str] | None = None,
        scheduled_date: datetime | None = None,
        ready_to_send: bool | None = None,
        description: str | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> Campaign:
        """Create a campaign: ``POST /partner-gateway/v1/campaigns``. Nothing is sent before it is confirmed.

        The fields are documented, which of them a draft needs and what is answered are not. It is not repeated after an
        ambiguous end.

        Args:
            name: its name.
            sending_mode: the channels.
            sms_sender: for a mode with SMS, as `sms_body`.
            sms_body: the text, with ``{{placeholders}}`` for fields of contacts.
            rcs_agent_id: for a mode with RCS, as `rcs_template_id`.
            rcs_template_id: the RCS template.
            whatsapp_phone_number_id: for a mode with WhatsApp, as `whatsapp_template_id`.
            whatsapp_template_id: the WhatsApp template.
            contact_list_ids: the recipients: who is on these lists; or
            destinations: these numbers, in E.164. ``destinationType`` follows from which of the two is given.
            scheduled_date: when to send, aware; at once when it is confirmed, if not given.
            ready_to_send: ``True`` if it can be confirmed as it is; ``False`` is a draft.
            description: what it is for.
            more: further fields of the body (undocumented).

        Raises:
            ConfigurationError: an argument does not fit, both lists and numbers are given, or it is said to be ready
                and lacks what its mode needs; nothing was sent.
            BadRequestError: a field is wrong.
        """
        lists, numbers = several(contact_list_ids), _numbers(destinations)
        body = CampaignBody(
            name=name,
            description=description,
            sending_mode=chosen(SendingMode, sending_mode, "sending_mode"),
            sms_sender=sms_sender,
            sms_body=sms_body,
            rcs_agent_id=rcs_agent_id,
            rcs_template_id=rcs_template_id,
            whatsapp_phone_number_id=whatsapp_phone_number_id,
            whatsapp_template_id=whatsapp_template_id,
            destination_type=_destination_type(lists, numbers),
            contact_list_ids=lists,
            destinations=numbers,
            scheduled_date=None if scheduled_date is None else _written(scheduled_date),
            ready_to_send=ready_to_send,
        )
        if ready_to_send:
            _check_ready(body)
        return await self._api.change(CREATE_CAMPAIGN, Campaign, body=body, more=more)

    async def update(
        self,
        campaign_id: Id,
        *,
        name: str | UnsetType = UNSET,
        sending_mode: SendingMode | str | UnsetType = UNSET,
        sms_sender: str | UnsetType = UNSET,
        sms_body: str | UnsetType = UNSET,
        rcs_agent_id: Id | UnsetType = UNSET,
        rcs_template_id: Id | UnsetType = UNSET,
        whatsapp_phone_number_id: Id | UnsetType = UNSET,
        whatsapp_template_id: Id | UnsetType = UNSET,
        contact_list_ids: Iterable[Id] | UnsetType = UNSET,
        destinations: Iterable[str] | UnsetType = UNSET,
        scheduled_date: datetime | UnsetType | None = UNSET,
        ready_to_send: bool | UnsetType = UNSET,
        description: str | UnsetType | None = UNSET,
        more: Mapping[str, Any] | None = None,
    ) -> Campaign:
        """Change a campaign that is a draft or ready: ``PUT /partner-gateway/v1/campaigns/{id}``.

        "Any of" the fields may be given (documented); that those left out stay as they are, and that ``None`` takes the
        date away, are guesses. Fields are as in `create`.

        Raises:
            ConfigurationError: an argument does not fit; nothing was sent.
            NotFoundError: there is no such campaign. BadRequestError: a field is wrong, or it is sent already.
        """
        lists = contact_list_ids if contact_list_ids is UNSET else several(contact_list_ids)
        numbers = destinations if destinations is UNSET else _numbers(destinations)
        mode = sending_mode if sending_mode is UNSET else _mode(sending_mode)
        kind = _destination_type(lists, numbers)
        when = _written(scheduled_date) if isinstance(scheduled_date, datetime) else scheduled_date
        changes = CampaignChanges(
            name=name,
            description=description,
            sending_mode=mode,
            sms_sender=sms_sender,
            sms_body=sms_body,
            rcs_agent_id=rcs_agent_id,
            rcs_template_id=rcs_template_id,
            whatsapp_phone_number_id=whatsapp_phone_number_id,
            whatsapp_template_id=whatsapp_template_id,
            destination_type=UNSET if kind is None else kind,
            contact_list_ids=UNSET if lists is None else lists,
            destinations=UNSET if numbers is None else numbers,
            scheduled_date=when,
            ready_to_send=ready_to_send,
        )
        return await self._api.change(UPDATE_CAMPAIGN, Campaign, path={"id": campaign_id}, body=changes, more=more)

    async def delete(self, campaign_id: Id) -> None:
        """Delete a campaign that is a draft or ready: ``DELETE /partner-gateway/v1/campaigns/{id}``.

        Documented. That is also how one that is scheduled is cancelled.

        Raises:
            NotFoundError: there is no such campaign, or it cannot be deleted any more.
        """
        await self._api.call(DELETE_CAMPAIGN, path={"id": campaign_id})

    async def calculate_goal(self, campaign_id: Id, *, more: Mapping[str, Any] | None = None) -> CampaignGoal:
        """Have recipients and cost computed, as confirming requires: ``POST …/campaigns/{id}/calculateGoal``.

        Only its path is documented.

        Args:
            campaign_id: of the campaign.
            more: a body; none is sent without it. An older page shows ``goalContactCount``.

        Raises:
            NotFoundError: there is no such campaign. BadRequestError: it lacks what the cost depends on.
        """
        return await self._api.change(CALCULATE_GOAL, CampaignGoal, path={"id": campaign_id}, more=more)

    async def price(self, campaign_id: Id) -> CampaignPrice:
        """Return what a campaign costs: ``GET …/campaigns/{id}/price``, of which only the path is documented.

        Raises:
            NotFoundError: there is no such campaign. UndecodableAnswerError: the answer is no object.
        """
        return await self._api.get(GET_PRICE, CampaignPrice, path={"id": campaign_id})

    async def confirm(self, campaign_id: Id) -> None:
        """Send a campaign, or schedule it: ``PUT /partner-gateway/v1/campaigns/{id}/confirm``. It cannot be undone.

        Documented: it must have its mode's fields, recipients, a calculated goal, enough credit and ``readyToSend``. It
        is never repeated after an ambiguous end: ask ``get(campaign_id).status`` before you confirm it again.

        Raises:
            NotSentError: the client is in test mode, which campaigns do not know.
            BadRequestError: something of the above is missing. NotFoundError: there is no such campaign.
            TransportError: with ``sent == "maybe"`` it may have been confirmed; so it may after a ``ServerError``.
        """
        self._api.refuse_in_test_mode("a campaign")
        await self._api.call(CONFIRM_CAMPAIGN, path={"id": campaign_id})

    def stats(
        self,
        start_date: date,
        end_date: date,
        *,
        aggregate_on: Aggregation | None = None,
        sending_mode: SendingMode | str | None = None,
        is_draft: bool | None = None,
        direction: Direction | None = None,
        limit: int | None = None,
        page_size: int = 10,
    ) -> Listing[CampaignStats]:
        """Count what campaigns did: ``GET /partner-gateway/v1/campaigns/stats``, in buckets of time.

        Documented but for the names of the counts and the envelope; see `CampaignStats`.

        Args:
            start_date: the first day.
            end_date: the last day.
            aggregate_on: ``hour``, ``day``, ``week`` or ``month``.
            sending_mode: only campaigns of this mode.
            is_draft: whether they are drafts.
            direction: ``ASC`` or ``DESC``.
            limit: at most so many buckets in all.
            page_size: asked for per request; how many the gateway allows is undocumented.

        Raises:
            ConfigurationError: an argument does not fit. Iterating raises as a `Listing` does.
        """
        query = StatsQuery(
            start_date=start_date,
            end_date=end_date,
            aggregate_on=aggregate_on,
            sending_mode=chosen(SendingMode, sending_mode, "sending_mode"),
            is_draft=is_draft,
            direction=direction,
        )
        return self._api.pages(GET_STATS, CampaignStats, query, limit=limit, page_size=page_size)


def _mode(given: SendingMode | str) -> SendingMode:
    mode = chosen(SendingMode, given, "sending_mode")
    if mode is None:
        raise ConfigurationError("sending_mode is missing")
    return mode


def _modes(given: Iterable[SendingMode | str] | None) -> tuple[SendingMode, ...] | None:
    if isinstance(given, str):
        raise ConfigurationError("give several sending_modes, as a list")
    return None if given is None else tuple(map(_mode, given))


def _numbers(given: Iterable[str] | None) -> tuple[str, ...] | None:
    if isinstance(given, str):
        raise ConfigurationError("give several destinations, as a list")
    return None if given is None else tuple(given)


def _destination_type(lists: object, numbers: object) -> Literal[1, 2] | None:
    """Say which of the two are the recipients: 1 the lists, 2 the numbers."""
    by_list, by_number = isinstance(lists, tuple), isinstance(numbers, tuple)
    if by_list and by_number:
        raise ConfigurationError("give contact_list_ids or destinations: a campaign has one kind of recipients")
    if by_list:
        return 1
    return 2 if by_number else None


def _written(when: datetime) -> str:
    if when.tzinfo is None:
        raise ConfigurationError("scheduled_date needs a time zone")
    return timestamp(when)


def _check_ready(body: CampaignBody) -> None:
    if body.sending_mode is None or body.destination_type is None:
        raise ConfigurationError("a campaign that is ready has a sending_mode and recipients")
    for channel in body.sending_mode.split("_"):
        for name in _NEEDED[channel]:
            if getattr(body, name) is None:
                raise ConfigurationError(f"{name} is missing: a campaign by {channel} needs it to be ready")
