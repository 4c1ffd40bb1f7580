"""``client.contacts``: the account's contacts (``/partner-gateway/v1/contacts``)."""

from __future__ import annotations

from collections.abc import Iterable

from ..models.channel import Channel
from ..models.contacts import Contact
from ..models.record import Id
from ..protocol.operations.contacts import (
    GET_CONTACT,
    LIST_CONTACTS,
    ContactQuery,
    SortOrder,
)
from ..protocol.parameters import chosen, several
from .api import Api
from .listing import Listing

__all__ = ["Contacts"]


class Contacts:
    """Contacts: list, get, create, update, delete, import. Their schema is described in prose only: see `Contact`."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def list(
        self,
        *,
        search: str | None = None,
        list_ids: Iterable[Id] | None = None,
        not_list_ids: Iterable[Id] | None = None,
        phone_number: str | None = None,
        email: str | None = None,
        gender: str | None = None,
        is_valid: bool | None = None,
        is_test: bool | None = None,
        communication_supported: Channel | str | None = None,
        sort_by: str | None = None,
        sort_order: SortOrder | None = None,
        sort_priority_list_id: Id | None = None,
        limit: int | None = None,
        page_size: int = 100,
    ) -> Listing[Contact]:
        """List contacts: ``GET /partner-gateway/v1/contacts`` (documented; its envelope is not).

        Args:
            search: in names and other text, whatever the case.
            list_ids: only those on one of these lists.
            not_list_ids: only those on none of these lists.
            phone_number: exactly this one.
            email: exactly this one.
            gender: its words are undocumented.
            is_valid: whether the number is valid.
            is_test: whether it is a test contact.
            communication_supported: a channel that reaches them.
            sort_by: ``fullName`` unless told; other names are undocumented.
            sort_order: ``asc`` or ``desc``.
            sort_priority_list_id: those on this list come first.
            limit: at most so many in all.
            page_size: asked for per request, at most 1,000.

        Raises:
            ConfigurationError: an argument does not fit. Iterating raises as a `Listing` does.
        """
        query = ContactQuery(
            search=search,
            list_ids=several(list_ids),
            not_list_ids=several(not_list_ids),
            phone_number=phone_number,
            email=email,
            gender=gender,
            is_valid=is_valid,
            is_test=is_test,
            communication_supported=chosen(Channel, communication_supported, "communication_supported"),
            sort_by=sort_by,
            sort_order=sort_order,
            sort_priority_list_id=sort_priority_list_id,
        )
        return self._api.pages(LIST_CONTACTS, Contact, query, limit=limit, page_size=page_size)

    async def get(self, contact_id: Id) -> Contact:
        """Return one contact: ``GET /partner-gateway/v1/contacts/{id}``.

        The page of updating refers to it; it has none of its own.

        Raises:
            NotFoundError: there is no such contact, or it is not yours.
            UndecodableAnswerError: the answer is no object.
        """
        return await self._api.get(GET_CONTACT, Contact, path={"id": contact_id})
