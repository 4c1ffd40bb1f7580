"""``client.webhooks``: the account's callback URL (``/partner-gateway/v1/webhooks/delivery-status``)."""

from __future__ import annotations

from ..errors import ConflictError, NotFoundError
from ..models.answers import CallbackRegistration
from ..protocol.requests import callback_request
from ..protocol.responses import registration_of
from .api import Api

__all__ = ["Webhooks"]


class Webhooks:
    """One HTTPS URL per account, for all channels and all event types. Plain HTTP is taken on loopback only."""

    def __init__(self, api: Api) -> None:
        self._caller = api.caller
        self._options = api.options

    async def get(self) -> CallbackRegistration | None:
        """Return the registered callback, or ``None`` if there is none (GET answers 404)."""
        try:
            response = await self._caller.call(callback_request("GET"), self._options)
        except NotFoundError:
            return None
        return registration_of(response)

    async def register(self, callback_url: str) -> CallbackRegistration:
        """Make `callback_url` the account's callback, whether or not there is one: POST, and on 409 PUT.

        Raises:
            ConfigurationError: the URL is not HTTPS; nothing was sent.
        """
        try:
            response = await self._caller.call(callback_request("POST", callback_url), self._options)
        except ConflictError:
            return await self.update(callback_url)
        return registration_of(response, callback_url)

    async def update(self, callback_url: str) -> CallbackRegistration:
        """Replace the registered callback at once (PUT). Requests in flight may still reach the old URL.

        Raises:
            ConfigurationError: the URL is not HTTPS; nothing was sent.
            NotFoundError: none is registered; PUT never creates.
        """
        response = await self._caller.call(callback_request("PUT", callback_url), self._options)
        return registration_of(response, callback_url)

    async def revoke(self) -> None:
        """Remove the registered callback (DELETE). Raises ``NotFoundError`` if there is none."""
        await self._caller.call(callback_request("DELETE"), self._options)
