"""``client.webhooks``: the account's callback URL (``/partner-gateway/v1/webhooks/delivery-status``)."""

from __future__ import annotations

from uuid import uuid4

from ..errors import ConfigurationError, ConflictError, NotFoundError
from ..models.answers import CallbackRegistration, CallbackTest
from ..models.channel import Channel
from ..protocol.parameters import chosen
from ..protocol.requests import callback_request
from ..protocol.responses import registration_of
from ..protocol.trial_events import TrialEvent, trial_event
from .api import Api

__all__ = ["Webhooks"]


class Webhooks:
    """One HTTPS URL per account, for all channels and all event types. Plain HTTP is taken on loopback only.

    Path and body are documented; that an answer without a body means that all went well is a guess.
    """

    def __init__(self, api: Api) -> None:
        self._caller = api.caller
        self._options = api.options

    async def get(self) -> CallbackRegistration | None:
        """Return the registered callback: ``GET /partner-gateway/v1/webhooks/delivery-status``.

        ``None`` if there is none, which is answered 404 (documented). Raises ``UndecodableAnswerError`` if the answer
        names no URL.
        """
        try:
            response = await self._caller.call(callback_request("GET"), self._options)
        except NotFoundError:
            return None
        return registration_of(response)

    async def register(self, callback_url: str) -> CallbackRegistration:
        """Make `callback_url` the account's callback: ``POST /partner-gateway/v1/webhooks/delivery-status``.

        Where there is one, the API page documents a 409; this goes on with `update` then. A guide says that POST
        replaces it silently, which does as well.

        Raises:
            ConfigurationError: the URL is not HTTPS; nothing was sent. BadRequestError: the gateway refuses it.
        """
        try:
            response = await self._caller.call(callback_request("POST", callback_url), self._options)
        except ConflictError:
            return await self.update(callback_url)
        return registration_of(response, callback_url)

    async def update(self, callback_url: str) -> CallbackRegistration:
        """Replace the registered callback at once: ``PUT /partner-gateway/v1/webhooks/delivery-status`` (documented).

        Requests in flight may still reach the old URL.

        Raises:
            ConfigurationError: the URL is not HTTPS; nothing was sent. BadRequestError: the gateway refuses it.
            NotFoundError: none is registered; PUT never creates.
        """
        response = await self._caller.call(callback_request("PUT", callback_url), self._options)
        return registration_of(response, callback_url)

    async def revoke(self) -> None:
        """Remove the registered callback: ``DELETE /partner-gateway/v1/webhooks/delivery-status`` (documented).

        Raises:
            NotFoundError: none is registered.
        """
        await self._caller.call(callback_request("DELETE"), self._options)

    async def test(
        self,
        callback_url: str | None = None,
        *,
        event: TrialEvent = "DELIVERY",
        channel: Channel | str = Channel.SMS,
    ) -> CallbackTest:
        """Post a test event to the registered callback URL, from here: the API has no operation for it.

        It shows that the URL leads to a receiver that takes what the gateway posts, as seen from this machine; whether
        the gateway reaches it is another matter. The event is in a documented shape, about a message that does not
        exist (``test-…``), a new one each time; it runs your handlers like any other. Neither the client's key nor
        anything else of ours goes along, and redirects are not followed: a receiver that wants a signature, or knows
        its callers by address, refuses it.

        Args:
            callback_url: another URL than the registered one, for instance before you register it.
            event: ``DELIVERY`` (delivered), ``READ`` (RCS and WhatsApp), or ``INBOUND``, from and to a number that
                nobody has: mind what your handlers answer.
            channel: of the event.

        Returns:
            What your receiver answered, whatever that is.

        Raises:
            ConfigurationError: no callback is registered, the URL is not HTTPS, or there is no such event.
            ConnectionFailed, RequestTimeout: the receiver did not answer.
        """
        message_id, clock = f"test-{uuid4()}", self._caller.clock
        body = trial_event(event, chosen(Channel, channel, "channel") or Channel.SMS, message_id, clock.time())
        url = await self._registered() if callback_url is None else callback_url
        began = clock.monotonic()
        status = await self._caller.transport.deliver(url, body, self._options.timeouts)
        return CallbackTest(message_id=message_id, status=status, elapsed=clock.monotonic() - began)

    async def _registered(self) -> str:
        registered = await self.get()
        if registered is None:
            raise ConfigurationError("no callback URL is registered: register one, or give one to test")
        return registered.callback_url
