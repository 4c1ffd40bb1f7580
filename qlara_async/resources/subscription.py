"""``client.subscription``: the account's plan, quota and credit (``/v1/partner-gateway/subscription``)."""

from __future__ import annotations

from ..models.account import ContactQuota, Credit, Subscription
from ..protocol.operations.account import GET_CONTACT_QUOTA, GET_CREDIT, GET_SUBSCRIPTION
from .api import Api

__all__ = ["Subscriptions"]


class Subscriptions:
    """The account: what it may do and what it has left. Read-only; 502 says that the billing system is down."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def get(self) -> Subscription:
        """Return the active subscription: ``GET /v1/partner-gateway/subscription`` (documented; its names are not).

        Raises:
            NotFoundError: there is none. BadGatewayError: the system behind is down.
        """
        return await self._api.get(GET_SUBSCRIPTION, Subscription)

    async def contacts(self) -> ContactQuota:
        """Return the quota of contacts: ``GET /v1/partner-gateway/subscription/contacts``.

        The fields are documented; the path is a use case's.

        Raises:
            BadGatewayError: the system behind is down (a guess: the page ends before it).
        """
        return await self._api.get(GET_CONTACT_QUOTA, ContactQuota)

    async def credit(self) -> Credit:
        """Return the credit: ``GET /v1/partner-gateway/subscription/credit`` (documented).

        Raises:
            BadGatewayError: the system behind is down.
        """
        return await self._api.get(GET_CREDIT, Credit)
