"""``client.contact_lists``: contact lists and who is on them (``/partner-gateway/v1/contacts/list``)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..errors import ConfigurationError
from ..models.channel import Channel
from ..models.contacts import Associations, Contact, ContactList, Deletion
from ..models.record import Id
from ..protocol.operations.contacts import (
    ADD_TO_LISTS,
    CREATE_LIST,
    DELETE_ASSOCIATION,
    DELETE_LISTS,
    LIST_CONTACTS_OF_LIST,
    LIST_LISTS,
    REMOVE_FROM_LISTS,
    ListBody,
    ListContactsQuery,
    ListDeletion,
    ListQuery,
    Membership,
    SortOrder,
)
from ..protocol.parameters import chosen, several
from ..protocol.records import json_of
from .api import Api
from .listing import Listing

__all__ = ["ContactLists"]


class ContactLists:
    """Contact lists: list, create, delete, their contacts, membership. No page renames a list or reads a single one."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def list(
        self,
        *,
        search: str | None = None,
        ids: Iterable[Id] | None = None,
        contact_ids: Iterable[Id] | None = None,
        is_test: bool | None = None,
        include_deleted: bool | None = None,
        sort_by: str | None = None,
        sort_order: SortOrder | None = None,
        limit: int | None = None,
        page_size: int = 100,
    ) -> Listing[ContactList]:
        """List contact lists: ``GET /partner-gateway/v1/contacts/list`` (documented; its envelope is not).

        Args:
            search: part of the name.
            ids: only these (``id``).
            contact_ids: only lists one of these contacts is on.
            is_test: whether it is a test list.
            include_deleted: deleted lists too; they are left out unless told.
            sort_by: ``name`` unless told; other names are undocumented.
            sort_order: ``asc`` or ``desc``.
            limit: at most so many in all.
            page_size: asked for per request, at most 1,000.

        Raises:
            ConfigurationError: an argument does not fit. Iterating raises as a `Listing` does.
        """
        query = ListQuery(
            search=search,
            id=several(ids),
            contact_ids=several(contact_ids),
            is_test=is_test,
            include_deleted=include_deleted,
            sort_by=sort_by,
            sort_order=sort_order,
        )
        return self._api.pages(LIST_LISTS, ContactList, query, limit=limit, page_size=page_size)

    async def create(self, name: str, *, description: str | None = None, is_test: bool | None = None) -> ContactList:
        """Create a list: ``POST /partner-gateway/v1/contacts/list``. It is not repeated after an ambiguous end.

        Args:
            name: its name.
            description: from the guide; the API page does not name it.
            is_test: whether it is a test list.

        Raises:
            ConfigurationError: an argument does not fit; nothing was sent. BadRequestError: a field is wrong.
        """
        body = ListBody(name=name, description=description, is_test=is_test)
        return await self._api.get(CREATE_LIST, ContactList, body=body)

    async def delete(self, ids: Iterable[Id]) -> Deletion:
        """Delete lists: ``DELETE /partner-gateway/v1/contacts/list?ids=a,b``. Their contacts stay.

        No id, no request. What the answer says is undocumented.

        Raises:
            ConfigurationError: what is given is no list of ids; nothing was deleted.
            ApiError: a request failed; those before it are done.
        """
        return Deletion(answers=await self._api.delete(DELETE_LISTS, ids, lambda batch: ListDeletion(ids=batch)))

    def contacts(
        self,
        list_id: Id,
        *,
        search: str | None = None,
        phone_number: str | None = None,
        email: str | None = None,
        gender: str | None = None,
        is_valid: bool | None = None,
        is_test: bool | None = None,
        communication_supported: Channel | str | None = None,
        last_contact_type: str | None = None,
        last_campaign_type: str | None = None,
        sort_by: str | None = None,
        sort_order: SortOrder | None = None,
        limit: int | None = None,
        page_size: int = 100,
    ) -> Listing[Contact]:
        """List the contacts of a list: ``GET /partner-gateway/v1/contacts/list/{listId}/contacts``.

        The filters are those of ``contacts.list``, and `last_contact_type` and `last_campaign_type`, whose words are
        undocumented.

        Raises:
            ConfigurationError: an argument does not fit. Iterating raises as a `Listing` does, and ``NotFoundError``
                if there is no such list.
        """
        query = ListContactsQuery(
            search=search,
            phone_number=phone_number,
            email=email,
            gender=gender,
            is_valid=is_valid,
            is_test=is_test,
            communication_supported=chosen(Channel, communication_supported, "communication_supported"),
            last_contact_type=last_contact_type,
            last_campaign_type=last_campaign_type,
            sort_by=sort_by,
            sort_order=sort_order,
        )
        path = {"listId": list_id}
        return self._api.pages(LIST_CONTACTS_OF_LIST, Contact, query, path=path, limit=limit, page_size=page_size)

    async def add(
        self,
        list_ids: Iterable[Id],
        contact_ids: Iterable[Id] | None = None,
        *,
        all_contacts: bool = False,
        exclude_ids: Iterable[Id] | None = None,
    ) -> Associations:
        """Add contacts to lists: ``POST /partner-gateway/v1/contacts/list/contacts``.

        Who is on a list already stays on it once, so it is repeated after an ambiguous end. How the answer has the
        associations' ids is undocumented: numbers, texts and objects with an ``id`` are read.

        Args:
            list_ids: at least one.
            contact_ids: who; not together with `all_contacts`.
            all_contacts: every contact of the account.
            exclude_ids: all but these; with `all_contacts` only.

        Raises:
            ConfigurationError: an argument does not fit; nothing was sent. BadRequestError: an id is wrong.
        """
        body = _membership(list_ids, contact_ids, all_contacts, exclude_ids)
        answer = json_of(await self._api.call(ADD_TO_LISTS, body=body))
        return Associations(ids=_ids_in(answer), raw=answer)

    async def remove(
        self,
        list_ids: Iterable[Id],
        contact_ids: Iterable[Id] | None = None,
        *,
        all_contacts: bool = False,
        exclude_ids: Iterable[Id] | None = None,
    ) -> Deletion:
        """Remove contacts from lists: ``DELETE /partner-gateway/v1/contacts/list/contacts``, with a JSON body.

        The contacts stay. The arguments are those of `add`; what the answer says is undocumented.

        Raises:
            ConfigurationError: an argument does not fit; nothing was sent. BadRequestError: an id is wrong.
        """
        body = _membership(list_ids, contact_ids, all_contacts, exclude_ids)
        return Deletion(answers=(json_of(await self._api.call(REMOVE_FROM_LISTS, body=body)),))

    async def remove_association(self, association_id: Id) -> Deletion:
        """Remove one contact from one list: ``DELETE /partner-gateway/v1/contacts/list/contacts/{id}``.

        Args:
            association_id: from `Associations.ids`.

        Raises:
            NotFoundError: there is no such association.
        """
        response = await self._api.call(DELETE_ASSOCIATION, path={"id": association_id})
        return Deletion(answers=(json_of(response),))


def _membership(
    list_ids: Iterable[Id], contact_ids: Iterable[Id] | None, all_contacts: bool, exclude_ids: Iterable[Id] | None
) -> Membership:
    contacts, spared = several(contact_ids), several(exclude_ids)
    if all_contacts == bool(contacts) or (spared is not None and not all_contacts):
        raise ConfigurationError("give contact_ids, or all_contacts=True with or without exclude_ids")
    return Membership(
        list_ids=several(list_ids) or (),
        contact_ids=contacts,
        all_contacts=all_contacts,
        exclude_ids_all_contacts=spared,
    )


def _ids_in(answer: Any) -> tuple[Id, ...]:
    """Find the ids in an answer: an array of them, or of objects that have one, be it a member of an object."""
    if isinstance(answer, dict):
        lists = [value for value in answer.values() if isinstance(value, list)]
        answer = lists[0] if len(lists) == 1 else []
    items = answer if isinstance(answer, list) else []
    found = [item.get("id") if isinstance(item, dict) else item for item in items]
    return tuple(item for item in found if isinstance(item, int | str) and not isinstance(item, bool))
