"""``client.contacts``: the account's contacts (``/partner-gateway/v1/contacts``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import UNSET, UnsetType

from ..errors import ConfigurationError
from ..models.channel import Channel
from ..models.contacts import Contact, Deletion, ImportPreview
from ..models.record import Id
from ..protocol.operations.contacts import (
    CONFIRM_FILE,
    CONFIRM_VCARD,
    CREATE_CONTACT,
    DELETE_CONTACTS,
    GET_CONTACT,
    LIST_CONTACTS,
    UPDATE_CONTACT,
    UPLOAD_FILE,
    UPLOAD_VCARD,
    ContactBody,
    ContactChanges,
    ContactDeletion,
    ContactQuery,
    FileForm,
    SortOrder,
    VcardForm,
)
from ..protocol.parameters import batches_of, chosen, several
from ..protocol.records import json_of
from ..transfers.upload import UploadSource, source_name
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

    async def create(
        self,
        *,
        phone_number: str | None = None,
        email: str | None = None,
        first_name: str | None = None,
        last_name: str | None = None,
        gender: str | None = None,
        is_test: bool | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> Contact:
        """Create a contact: ``POST /partner-gateway/v1/contacts``.

        The page names phone, e-mail, first and last name, gender and custom fields, without their spelling: that of the
        filters and of the import is used. It is not repeated after an ambiguous end.

        Args:
            phone_number: in E.164; this or `email` is required.
            email: the e-mail address.
            first_name: the first name.
            last_name: the last name.
            gender: its words are undocumented.
            is_test: whether it is a test contact (a guess: the page does not name it here).
            more: further fields, custom ones for instance, by the names your account has for them (undocumented).

        Raises:
            ConfigurationError: neither phone number nor e-mail is given; nothing was sent.
            BadRequestError: a field is wrong.
        """
        if phone_number is None and email is None:
            raise ConfigurationError("a contact needs a phone number or an e-mail address")
        body = ContactBody(
            phone_number=phone_number,
            email=email,
            first_name=first_name,
            last_name=last_name,
            gender=gender,
            is_test=is_test,
        )
        return await self._api.get(CREATE_CONTACT, Contact, body=body, more=more)

    async def update(
        self,
        contact_id: Id,
        *,
        phone_number: str | UnsetType | None = UNSET,
        email: str | UnsetType | None = UNSET,
        first_name: str | UnsetType | None = UNSET,
        last_name: str | UnsetType | None = UNSET,
        gender: str | UnsetType | None = UNSET,
        is_test: bool | UnsetType = UNSET,
        more: Mapping[str, Any] | None = None,
    ) -> Contact:
        """Change fields of a contact: ``PUT /partner-gateway/v1/contacts/{id}``. What you leave out stays as it is.

        The lists it is on stay too. That ``None`` empties a field is a guess; fields are as in `create`.

        Raises:
            ConfigurationError: an argument does not fit; nothing was sent.
            NotFoundError: there is no such contact. BadRequestError: a field is wrong.
        """
        changes = ContactChanges(
            phone_number=phone_number,
            email=email,
            first_name=first_name,
            last_name=last_name,
            gender=gender,
            is_test=is_test,
        )
        return await self._api.get(UPDATE_CONTACT, Contact, path={"id": contact_id}, body=changes, more=more)

    async def delete(self, ids: Iterable[Id]) -> Deletion:
        """Delete contacts: ``DELETE /partner-gateway/v1/contacts?ids=a,b``, in as many requests as the ids need.

        No id, no request. What the answer says is undocumented.

        Raises:
            ConfigurationError: what is given is no list of ids; nothing was deleted.
            ApiError: a request failed; those before it are done.
        """
        return Deletion(answers=await self._api.delete(DELETE_CONTACTS, ids, lambda batch: ContactDeletion(ids=batch)))

    async def delete_all_except(self, ids: Iterable[Id]) -> Deletion:
        """Delete every contact but these: ``DELETE /partner-gateway/v1/contacts?notIds=a,b``.

        Documented; how several ids are spelled is a guess.

        Raises:
            ConfigurationError: no id is given, or more than one request can hold; nothing was deleted.
        """
        batches = list(batches_of(ids))
        if len(batches) != 1:
            # Two requests would each delete what the other spares.
            raise ConfigurationError("give at least one contact to keep, and no more than fit into one request (200)")
        response = await self._api.call(DELETE_CONTACTS, query=ContactDeletion(not_ids=batches[0]))
        return Deletion(answers=(json_of(response),))

    async def import_file(
        self,
        source: UploadSource,
        *,
        file_name: str | None = None,
        list_id: Id | None = None,
        remove_head: bool | None = None,
        preview: int | None = None,
    ) -> ImportPreview:
        """Upload contacts: ``POST /partner-gateway/v1/contacts/upload``, as ``multipart/form-data``.

        The API page says that this imports at once, matched by phone number; the guide, that it only parses and wants
        `confirm_file_import`. Look at the answer. That the options are form fields is a guess, as are the fields of the
        answer. It is not repeated after an ambiguous end.

        Args:
            source: a path, bytes, a binary file or an async iterable of bytes; streamed.
            file_name: with .csv, .xls, .xlsx or another delimited format's ending, which decides how it is read; the
                path's own if not given. Columns ``firstName``, ``lastName``, ``phoneNumber``, ``email`` are known.
            list_id: the list to put them on.
            remove_head: leave the first row out.
            preview: how many rows to answer; 10 unless told.

        Raises:
            ConfigurationError: an argument does not fit. TransferError: the source cannot be read.
            BadRequestError: the file cannot be parsed.
        """
        name = _file_name(source, file_name)
        fields = FileForm(file_name=name, remove_head=remove_head, limit=preview, list_id=list_id)
        return await self._api.upload(UPLOAD_FILE, ImportPreview, source, fields=fields, file_name=name)

    async def import_vcard(
        self,
        source: UploadSource,
        *,
        file_name: str | None = None,
        list_id: Id | None = None,
        preview: int | None = None,
    ) -> ImportPreview:
        """Upload vCards: ``POST /partner-gateway/v1/contacts/upload/vcard``.

        All else, guesses included, is as in `import_file`.

        Args:
            source: a path, bytes, a binary file or an async iterable of bytes; streamed.
            file_name: must end in .vcf; the path's own if not given.
            list_id: the list to put them on.
            preview: how many to answer; 10 unless told.

        Raises:
            ConfigurationError: an argument does not fit. TransferError: the source cannot be read.
            BadRequestError: the file cannot be parsed.
        """
        name = _file_name(source, file_name)
        fields = VcardForm(file_name=name, limit=preview, list_id=list_id)
        return await self._api.upload(
            UPLOAD_VCARD, ImportPreview, source, fields=fields, file_name=name, content_type="text/vcard"
        )

    async def confirm_file_import(self, mapping: Mapping[str, Any]) -> ImportPreview:
        """Confirm an upload after reviewing its mapping: ``POST /partner-gateway/v1/contacts/mapped/file``.

        Only the guide names it: what `mapping` must hold is undocumented, and sent as you give it.

        Raises:
            NotFoundError, BadRequestError: the gateway has no such operation, or wants another mapping.
        """
        return await self._api.get(CONFIRM_FILE, ImportPreview, more=mapping)

    async def confirm_vcard_import(self, mapping: Mapping[str, Any]) -> ImportPreview:
        """Confirm uploaded vCards: ``POST /partner-gateway/v1/contacts/mapped/vcard``.

        All else, errors included, is as in `confirm_file_import`: undocumented but for its path.
        """
        return await self._api.get(CONFIRM_VCARD, ImportPreview, more=mapping)


def _file_name(source: UploadSource, given: str | None) -> str:
    name = source_name(source) if given is None else given
    if not name:
        raise ConfigurationError("give file_name: its ending decides how the file is read")
    return name
