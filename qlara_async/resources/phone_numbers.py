"""``client.whatsapp.phone_numbers``: the account's WhatsApp numbers (``/message-server/whatsapp/phone-numbers``)."""

from __future__ import annotations

from ..models.record import Id
from ..models.whatsapp import WhatsAppPhoneNumber
from ..protocol.operations.whatsapp import GET_PHONE_NUMBER, LIST_PHONE_NUMBERS, PhoneNumberQuery
from .api import Api
from .listing import Listing

__all__ = ["PhoneNumbers"]


class PhoneNumbers:
    """WhatsApp numbers; the `id` of one is the ``phone_number_id`` of messages and templates."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def list(self, *, limit: int | None = None, page_size: int = 10) -> Listing[WhatsAppPhoneNumber]:
        """List the numbers: ``GET /message-server/whatsapp/phone-numbers`` (documented; of the answer only ``id`` is).

        Args:
            limit: at most so many in all.
            page_size: asked for per request; how many the gateway allows is undocumented.

        Raises:
            ConfigurationError: an argument does not fit. Iterating raises as a `Listing` does.
        """
        return self._api.pages(
            LIST_PHONE_NUMBERS, WhatsAppPhoneNumber, PhoneNumberQuery(), limit=limit, page_size=page_size
        )

    async def get(self, phone_number_id: Id) -> WhatsAppPhoneNumber:
        """Return a number: ``GET /message-server/whatsapp/phone-numbers/{id}``, which only a use case names.

        Raises:
            NotFoundError: there is no such number, or no such path.
        """
        return await self._api.get(GET_PHONE_NUMBER, WhatsAppPhoneNumber, path={"id": phone_number_id})
