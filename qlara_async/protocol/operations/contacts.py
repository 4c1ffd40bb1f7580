"""Contacts, contact lists and membership (API tags "Contact" and "Contact List")."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from ...models.channel import Channel
from ...models.contacts import Contact, ContactList, ImportPreview
from ..parameters import Comma, Fields
from .operation import Operation

__all__ = [
    "ADD_TO_LISTS",
    "CONFIRM_FILE",
    "CONFIRM_VCARD",
    "CREATE_CONTACT",
    "CREATE_LIST",
    "DELETE_ASSOCIATION",
    "DELETE_CONTACTS",
    "DELETE_LISTS",
    "GET_CONTACT",
    "LIST_CONTACTS",
    "LIST_CONTACTS_OF_LIST",
    "LIST_LISTS",
    "OPERATIONS",
    "REMOVE_FROM_LISTS",
    "UPDATE_CONTACT",
    "UPLOAD_FILE",
    "UPLOAD_VCARD",
    "ContactBody",
    "ContactChanges",
    "ContactDeletion",
    "ContactQuery",
    "FileForm",
    "ListBody",
    "ListContactsQuery",
    "ListDeletion",
    "ListQuery",
    "Membership",
    "VcardForm",
]

PageSize = Annotated[int, Meta(ge=1, le=1000)]
PageNumber = Annotated[int, Meta(ge=0)]
SortOrder = Literal["asc", "desc"]
NonEmpty = Annotated[str, Meta(min_length=1)]
_CONTACTS = "/partner-gateway/v1/contacts"
_LISTS = f"{_CONTACTS}/list"


class ContactQuery(Fields, kw_only=True):
    """``GET /contacts`` (``api/find-contact``); ``page`` from 0, ``limit`` 10 unless told."""

    list_ids: Comma | None = None
    not_list_ids: Comma | None = None
    search: str | None = None
    gender: str | None = None
    is_valid: bool | None = None
    communication_supported: Channel | None = None
    is_test: bool | None = None
    phone_number: str | None = None
    email: str | None = None
    sort_by: str | None = None
    sort_order: SortOrder | None = None
    sort_priority_list_id: str | int | None = None
    page: PageNumber | None = None
    limit: PageSize | None = None


class ListContactsQuery(ContactQuery, kw_only=True):
    """``GET /contacts/list/{listId}/contacts`` (``api/find-contacts-in-list``)."""

    last_contact_type: str | None = None
    last_campaign_type: str | None = None


class ContactBody(Fields, kw_only=True):
    """``POST /contacts`` (``api/add-contact``): a phone number or an e-mail address is required.

    The names are those of the import's automatic mapping and of the filters.
    """

    phone_number: NonEmpty | None = None
    email: NonEmpty | None = None
    first_name: str | None = None
    last_name: str | None = None
    gender: str | None = None
    is_test: bool | None = None


class ContactChanges(Fields, kw_only=True):
    """``PUT /contacts/{id}`` (``api/update-contact``): what is left out stays as it is."""

    phone_number: NonEmpty | UnsetType | None = UNSET
    email: NonEmpty | UnsetType | None = UNSET
    first_name: str | UnsetType | None = UNSET
    last_name: str | UnsetType | None = UNSET
    gender: str | UnsetType | None = UNSET
    is_test: bool | UnsetType = UNSET


class ContactDeletion(Fields, kw_only=True):
    """``DELETE /contacts`` (``api/delete-contacts``): with ``ids``, ``notIds`` is ignored."""

    ids: Comma | None = None
    not_ids: Comma | None = None


class FileForm(Fields, kw_only=True):
    """The fields beside the file of ``POST /contacts/upload`` (``api/upload-contact-list-file``)."""

    file_name: NonEmpty
    remove_head: bool | None = None
    limit: Annotated[int, Meta(ge=1)] | None = None
    list_id: int | str | None = None


class VcardForm(Fields, kw_only=True):
    """The fields beside the file of ``POST /contacts/upload/vcard`` (``api/upload-contact-list-v-card-file``)."""

    file_name: Annotated[str, Meta(pattern=r"\.[vV][cC][fF]$")]
    limit: Annotated[int, Meta(ge=1)] | None = None
    list_id: int | str | None = None


class ListQuery(Fields, kw_only=True):
    """``GET /contacts/list`` (tag page ``api/contact-list``)."""

    search: str | None = None
    id: Comma | None = None
    contact_ids: Comma | None = None
    is_test: bool | None = None
    include_deleted: bool | None = None
    sort_by: str | None = None
    sort_order: SortOrder | None = None
    page: PageNumber | None = None
    limit: PageSize | None = None


class ListBody(Fields, kw_only=True):
    """``POST /contacts/list`` (``api/add-contact-list``); ``description`` is from the guide."""

    name: NonEmpty
    description: str | None = None
    is_test: bool | None = None


class ListDeletion(Fields, kw_only=True):
    """``DELETE /contacts/list`` (``api/delete-contact-list-by-ids``)."""

    ids: Comma


class Membership(Fields, kw_only=True):
    """The body of adding to lists and of removing from them (``api/add-contacts-to-contact-lists`` …)."""

    list_ids: Annotated[tuple[int | str, ...], Meta(min_length=1)]
    contact_ids: tuple[int | str, ...] | None = None
    all_contacts: bool | None = None
    exclude_ids_all_contacts: tuple[int | str, ...] | None = None


_ENVELOPE = "the envelope of the page is not shown"

LIST_CONTACTS = Operation(
    id="contacts.list",
    method="GET",
    path=_CONTACTS,
    summary="List contacts",
    source="qlara/it/api/find-contact",
    query=ContactQuery,
    answer=list[Contact],
    errors=(500,),
    guess=_ENVELOPE,
)
GET_CONTACT = Operation(
    id="contacts.get",
    method="GET",
    path=f"{_CONTACTS}/{{id}}",
    summary="Read a contact",
    source="qlara/it/api/update-contact",
    answer=Contact,
    errors=(404, 500),
    guess="the page of updating only refers to it",
)
CREATE_CONTACT = Operation(
    id="contacts.create",
    method="POST",
    path=_CONTACTS,
    summary="Create a contact",
    source="qlara/api/add-contact",
    body=ContactBody,
    answer=Contact,
    success=201,
    errors=(400, 500),
)
UPDATE_CONTACT = Operation(
    id="contacts.update",
    method="PUT",
    path=f"{_CONTACTS}/{{id}}",
    summary="Change fields of a contact; those left out stay",
    source="qlara/it/api/update-contact",
    body=ContactChanges,
    answer=Contact,
    errors=(400, 404, 500),
)
DELETE_CONTACTS = Operation(
    id="contacts.delete",
    method="DELETE",
    path=_CONTACTS,
    summary="Delete contacts by id, or all but some",
    source="qlara/api/delete-contacts",
    query=ContactDeletion,
    answer=dict[str, Any],
    errors=(500,),
    guess="the fields of the deletion result are not shown; 400 where neither ids nor notIds are given",
)
UPLOAD_FILE = Operation(
    id="contacts.upload",
    method="POST",
    path=f"{_CONTACTS}/upload",
    summary="Upload contacts as csv, xls or xlsx",
    source="qlara/api/upload-contact-list-file",
    form=FileForm,
    answer=ImportPreview,
    errors=(400, 500),
    guess="whether the options are form fields or query parameters, and the fields of the preview, are not shown",
)
UPLOAD_VCARD = Operation(
    id="contacts.upload_vcard",
    method="POST",
    path=f"{_CONTACTS}/upload/vcard",
    summary="Upload contacts as vCards",
    source="qlara/api/upload-contact-list-v-card-file",
    form=VcardForm,
    answer=ImportPreview,
    errors=(400, 500),
    guess="whether the options are form fields or query parameters, and the fields of the preview, are not shown",
)
CONFIRM_FILE = Operation(
    id="contacts.confirm_file",
    method="POST",
    path=f"{_CONTACTS}/mapped/file",
    summary="Confirm the import of an uploaded file after reviewing its mapping",
    source="qlara/guides/contacts-and-lists",
    body=dict[str, Any],
    answer=ImportPreview,
    errors=(400,),
    guess="only the guide names it: body, answer and statuses are not shown",
)
CONFIRM_VCARD = Operation(
    id="contacts.confirm_vcard",
    method="POST",
    path=f"{_CONTACTS}/mapped/vcard",
    summary="Confirm the import of uploaded vCards after reviewing their mapping",
    source="qlara/guides/contacts-and-lists",
    body=dict[str, Any],
    answer=ImportPreview,
    errors=(400,),
    guess="only the guide names it: body, answer and statuses are not shown",
)
LIST_LISTS = Operation(
    id="contact_lists.list",
    method="GET",
    path=_LISTS,
    summary="List contact lists",
    source="qlara/it/api/contact-list",
    query=ListQuery,
    answer=list[ContactList],
    errors=(500,),
    guess=_ENVELOPE,
)
CREATE_LIST = Operation(
    id="contact_lists.create",
    method="POST",
    path=_LISTS,
    summary="Create a contact list",
    source="qlara/api/add-contact-list",
    body=ListBody,
    answer=ContactList,
    success=201,
    errors=(400, 500),
)
DELETE_LISTS = Operation(
    id="contact_lists.delete",
    method="DELETE",
    path=_LISTS,
    summary="Delete contact lists; their contacts stay",
    source="qlara/api/delete-contact-list-by-ids",
    query=ListDeletion,
    answer=dict[str, Any],
    errors=(500,),
    guess="the fields of the deletion result are not shown",
)
LIST_CONTACTS_OF_LIST = Operation(
    id="contact_lists.contacts",
    method="GET",
    path=f"{_LISTS}/{{listId}}/contacts",
    summary="List the contacts of a list",
    source="qlara/it/api/find-contacts-in-list",
    query=ListContactsQuery,
    answer=list[Contact],
    errors=(404, 500),
    guess=_ENVELOPE,
)
ADD_TO_LISTS = Operation(
    id="contact_lists.add",
    method="POST",
    path=f"{_LISTS}/contacts",
    summary="Add contacts to lists; who is on a list already stays once",
    source="qlara/it/api/add-contacts-to-contact-lists",
    body=Membership,
    answer=list[int | str],
    success=201,
    errors=(400, 500),
    guess="how the ids of the new associations are laid out is not shown",
    idempotent=True,
)
REMOVE_FROM_LISTS = Operation(
    id="contact_lists.remove",
    method="DELETE",
    path=f"{_LISTS}/contacts",
    summary="Remove contacts from lists",
    source="qlara/it/api/delete-contacts-from-contact-lists",
    body=Membership,
    answer=dict[str, Any],
    errors=(400, 500),
    guess="the fields of the result are not shown",
)
DELETE_ASSOCIATION = Operation(
    id="contact_lists.remove_association",
    method="DELETE",
    path=f"{_LISTS}/contacts/{{id}}",
    summary="Remove one contact from one list, by the association's id",
    source="qlara/api/delete-by-id",
    answer=dict[str, Any],
    errors=(404, 500),
    guess="the fields of the result are not shown",
)

OPERATIONS = (
    LIST_CONTACTS,
    GET_CONTACT,
    CREATE_CONTACT,
    UPDATE_CONTACT,
    DELETE_CONTACTS,
    UPLOAD_FILE,
    UPLOAD_VCARD,
    CONFIRM_FILE,
    CONFIRM_VCARD,
    LIST_LISTS,
    CREATE_LIST,
    DELETE_LISTS,
    LIST_CONTACTS_OF_LIST,
    ADD_TO_LISTS,
    REMOVE_FROM_LISTS,
    DELETE_ASSOCIATION,
)
