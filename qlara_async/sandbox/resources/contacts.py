"""Contacts, contact lists and membership of the sandbox."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable
from itertools import count
from typing import Any

import msgspec
from msgspec import UNSET

from ...clock import Clock
from ...protocol.operations import contacts as operations
from ..answers import Reply, reply
from .paging import in_order, spring_page
from .request import Handlers, Refused, ResourceRequest, Upload, numeric
from .times import iso
from .workbook import workbook_rows

__all__ = ["ContactBook"]

_HEADERS = ("firstName", "lastName", "phoneNumber", "email")


class ContactBook:
    """The account's contacts. Names of fields are those of the filters; what no page shows is a guess.

    Attributes:
        contacts: by id, as they are answered.
        lists: by id, as they are answered.
        associations: id -> (list id, contact id).
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ids = count(1)
        self.contacts: dict[int, dict[str, Any]] = {}
        self.lists: dict[int, dict[str, Any]] = {}
        self.associations: dict[int, tuple[int, int]] = {}

    def handlers(self) -> Handlers:
        """What this area serves."""
        return {
            operations.LIST_CONTACTS: self._list,
            operations.GET_CONTACT: self._get,
            operations.CREATE_CONTACT: self._create,
            operations.UPDATE_CONTACT: self._update,
            operations.DELETE_CONTACTS: self._delete,
            operations.UPLOAD_FILE: self._upload,
            operations.UPLOAD_VCARD: self._upload_vcard,
            operations.CONFIRM_FILE: self._confirm,
            operations.CONFIRM_VCARD: self._confirm,
            operations.LIST_LISTS: self._list_lists,
            operations.CREATE_LIST: self._create_list,
            operations.DELETE_LISTS: self._delete_lists,
            operations.LIST_CONTACTS_OF_LIST: self._contacts_of_list,
            operations.ADD_TO_LISTS: self._add,
            operations.REMOVE_FROM_LISTS: self._remove,
            operations.DELETE_ASSOCIATION: self._delete_association,
        }

    # --- contacts ---

    def add(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Take a contact in, whatever it has."""
        contact_id = next(self._ids)
        contact = {"id": contact_id, "isValid": True, "isTest": False, **fields}
        self.contacts[contact_id] = _named(contact)
        return self.contacts[contact_id]

    def _list(self, request: ResourceRequest) -> Reply:
        return self._page(self.contacts, request.query)

    def _page(self, ids: Iterable[int], query: operations.ContactQuery) -> Reply:
        found = [self.contacts[item] for item in ids if self._fits(self.contacts[item], query)]
        return spring_page(in_order(found, query.sort_by or "fullName", query.sort_order), query.page, query.limit)

    def _fits(self, contact: dict[str, Any], query: operations.ContactQuery) -> bool:
        exact = {
            "gender": query.gender,
            "isValid": query.is_valid,
            "isTest": query.is_test,
            "phoneNumber": query.phone_number,
            "email": query.email,
        }
        if any(value is not None and contact.get(name) != value for name, value in exact.items()):
            return False
        on = {str(list_id) for list_id, contact_id in self.associations.values() if contact_id == contact["id"]}
        if query.list_ids is not None and on.isdisjoint(map(str, query.list_ids)):
            return False
        if query.not_list_ids is not None and not on.isdisjoint(map(str, query.not_list_ids)):
            return False
        texts = " ".join(str(value) for value in contact.values()).casefold()
        return query.search is None or query.search.casefold() in texts

    def _get(self, request: ResourceRequest) -> Reply:
        return reply(200, self._known(numeric(request)))

    def _known(self, contact_id: int) -> dict[str, Any]:
        if contact_id not in self.contacts:
            raise Refused(404, "No such contact")
        return self.contacts[contact_id]

    def _create(self, request: ResourceRequest) -> Reply:
        body: operations.ContactBody = request.body
        if body.phone_number is None and body.email is None:
            raise Refused(400, "One of `phoneNumber` and `email` is required")
        _check_number(body.phone_number)
        return reply(201, self.add(msgspec.to_builtins(body)))

    def _update(self, request: ResourceRequest) -> Reply:
        contact = self._known(numeric(request))
        changes: operations.ContactChanges = request.body
        _check_number(None if changes.phone_number is UNSET else changes.phone_number)
        contact |= msgspec.to_builtins(changes)
        return reply(200, _named(contact))

    def _delete(self, request: ResourceRequest) -> Reply:
        query: operations.ContactDeletion = request.query
        if query.ids is not None:
            chosen = set(map(str, query.ids))
            gone = [item for item in self.contacts if str(item) in chosen]
        elif query.not_ids is not None:
            kept = set(map(str, query.not_ids))
            gone = [item for item in self.contacts if str(item) not in kept]
        else:
            raise Refused(400, "One of `ids` and `notIds` is required")
        for contact_id in gone:
            del self.contacts[contact_id]
        self._forget(contacts=set(gone))
        return reply(200, {"deleted": len(gone)})

    def count_on(self, lists: Iterable[int | str]) -> int:
        """Count who is on any of these lists."""
        wanted = {str(item) for item in lists}
        return len({contact for list_id, contact in self.associations.values() if str(list_id) in wanted})

    # --- import ---

    def _upload(self, request: ResourceRequest) -> Reply:
        form: operations.FileForm = request.form
        rows = _rows_of(request.file, form.file_name, remove_head=form.remove_head is True)
        return self._import(rows, form.limit, form.list_id)

    def _upload_vcard(self, request: ResourceRequest) -> Reply:
        return self._import(_cards_of(request.file), request.form.limit, request.form.list_id)

    def _import(self, rows: list[dict[str, str]], limit: int | None, list_id: int | str | None) -> Reply:
        """Import at once, by phone number (``CREATE_UPDATE``): so the API page, where the guide says to confirm."""
        if list_id is not None:
            self._known_list(str(list_id))
        by_number = {contact.get("phoneNumber"): contact for contact in self.contacts.values()}
        for row in rows:
            contact = by_number.get(row.get("phoneNumber", ""))
            if contact is None:
                contact = self.add(row)
                by_number[row.get("phoneNumber")] = contact
            else:
                contact |= row
                _named(contact)
            if list_id is not None:
                self._associate(int(list_id), contact["id"])
        return reply(200, {"rows": rows[: 10 if limit is None else limit], "summary": {"total": len(rows)}})

    def _confirm(self, request: ResourceRequest) -> Reply:
        if not request.body:
            raise Refused(400, "The mapping must not be empty")
        return reply(200, {"status": "COMPLETED"})

    # --- lists ---

    def _list_lists(self, request: ResourceRequest) -> Reply:
        query: operations.ListQuery = request.query
        found = [self._counted(item) for item in self.lists.values() if self._list_fits(item, query)]
        return spring_page(in_order(found, query.sort_by or "name", query.sort_order), query.page, query.limit)

    def _list_fits(self, item: dict[str, Any], query: operations.ListQuery) -> bool:
        if item["deleted"] and not query.include_deleted:
            return False
        if query.search is not None and query.search.casefold() not in item["name"].casefold():
            return False
        if query.id is not None and str(item["id"]) not in map(str, query.id):
            return False
        members = {str(contact) for list_id, contact in self.associations.values() if list_id == item["id"]}
        if query.contact_ids is not None and members.isdisjoint(map(str, query.contact_ids)):
            return False
        return query.is_test is None or item["isTest"] == query.is_test

    def _counted(self, item: dict[str, Any]) -> dict[str, Any]:
        members = sum(list_id == item["id"] for list_id, _ in self.associations.values())
        return {**item, "contactCount": members}

    def _create_list(self, request: ResourceRequest) -> Reply:
        list_id = next(self._ids)
        fields = {"isTest": False, "description": None, **msgspec.to_builtins(request.body)}
        self.lists[list_id] = {"id": list_id, "createdAt": iso(self._clock.time()), "deleted": False, **fields}
        return reply(201, self._counted(self.lists[list_id]))

    def _delete_lists(self, request: ResourceRequest) -> Reply:
        gone = [item for item in request.query.ids if str(item).isdigit() and int(item) in self.lists]
        for list_id in gone:
            self.lists[int(list_id)]["deleted"] = True
        self._forget(lists={int(item) for item in gone})
        return reply(200, {"deleted": len(gone)})

    def _known_list(self, list_id: str) -> int:
        if not list_id.isdigit() or self.lists.get(int(list_id), {"deleted": True})["deleted"]:
            raise Refused(404, "No such contact list")
        return int(list_id)

    # --- membership ---

    def _contacts_of_list(self, request: ResourceRequest) -> Reply:
        known = self._known_list(str(numeric(request, "listId")))
        members = [contact for list_id, contact in self.associations.values() if list_id == known]
        return self._page(members, request.query)

    def _add(self, request: ResourceRequest) -> Reply:
        lists, contacts = self._meant(request.body)
        made = [self._associate(list_id, contact) for list_id in lists for contact in contacts]
        return reply(201, [item for item in made if item is not None])

    def _remove(self, request: ResourceRequest) -> Reply:
        lists, contacts = self._meant(request.body)
        gone = [key for key, (on, who) in self.associations.items() if on in lists and who in contacts]
        for key in gone:
            del self.associations[key]
        return reply(200, {"removed": len(gone)})

    def _meant(self, body: operations.Membership) -> tuple[list[int], list[int]]:
        if not body.all_contacts and not body.contact_ids:
            raise Refused(400, "Field `contactIds` is required unless `allContacts` is true")
        try:
            lists = [self._known_list(str(item)) for item in body.list_ids]
        except Refused:
            raise Refused(400, "Field `listIds` names a list that does not exist") from None
        if body.all_contacts:
            spared = set(map(str, body.exclude_ids_all_contacts or ()))
            return lists, [item for item in self.contacts if str(item) not in spared]
        wanted = set(map(str, body.contact_ids or ()))
        return lists, [item for item in self.contacts if str(item) in wanted]

    def _associate(self, list_id: int, contact_id: int) -> int | None:
        if (list_id, contact_id) in self.associations.values():
            return None
        key = next(self._ids)
        self.associations[key] = (list_id, contact_id)
        return key

    def _delete_association(self, request: ResourceRequest) -> Reply:
        if self.associations.pop(numeric(request), None) is None:
            raise Refused(404, "No such association")
        return reply(200, {"removed": 1})

    def _forget(self, *, contacts: Collection[int] = (), lists: Collection[int] = ()) -> None:
        self.associations = {
            key: (on, who) for key, (on, who) in self.associations.items() if on not in lists and who not in contacts
        }


def _named(contact: dict[str, Any]) -> dict[str, Any]:
    names = [str(contact[name]) for name in ("firstName", "lastName") if contact.get(name)]
    contact["fullName"] = " ".join(names) or None
    return contact


def _check_number(number: str | None) -> None:
    if number is not None and not (number.startswith("+") and number[1:].isdigit() and 8 <= len(number) <= 16):
        raise Refused(400, "Field `phoneNumber` is not a phone number in international format")


def _rows_of(upload: Upload, file_name: str, *, remove_head: bool) -> list[dict[str, str]]:
    rows = [row for row in _table_of(upload.content, file_name.rpartition(".")[2].lower()) if any(row)]
    head = [cell.strip() for cell in rows[0]] if rows else []
    named = any(cell in _HEADERS for cell in head)
    names = head if named else list(_HEADERS)
    body = rows[1:] if named or remove_head else rows
    return [dict(zip(names, row, strict=False)) for row in body]


def _table_of(content: bytes, kind: str) -> list[list[str]]:
    if kind == "xls":
        raise Refused(400, "The sandbox reads no xls: give csv or xlsx")
    if kind == "xlsx":
        try:
            return workbook_rows(content)
        except ValueError:
            raise Refused(400, "The file is no xlsx workbook") from None
    text = content.decode("utf-8-sig", "replace")
    delimiter = ";" if ";" in text.partition("\n")[0] else ","
    return list(csv.reader(io.StringIO(text), delimiter=delimiter))


def _cards_of(upload: Upload) -> list[dict[str, str]]:
    cards = []
    for block in upload.content.decode("utf-8", "replace").split("BEGIN:VCARD")[1:]:
        lines = [line.strip().partition(":") for line in block.splitlines()]
        fields = {name.partition(";")[0].upper(): value for name, _, value in lines}
        last, _, first = fields.get("N", "").partition(";")
        card = {
            "firstName": first.partition(";")[0],
            "lastName": last,
            "phoneNumber": fields.get("TEL", ""),
            "email": fields.get("EMAIL", ""),
        }
        cards.append({name: value for name, value in card.items() if value})
    if not cards:
        raise Refused(400, "The file holds no vCard")
    return cards
