"""Contacts, contact lists and imports, as the platform API answers them.

The API pages describe them in prose only: which fields there are is a guess but for those that are filters
(``api/find-contact``), and each may be missing. ``raw`` always has the whole object.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from .record import Id, Record

__all__ = ["Associations", "Contact", "ContactList", "Deletion", "ImportPreview"]


class Contact(Record, frozen=True, kw_only=True):
    """A contact. Its ``repr`` shows the id only.

    Attributes:
        id: numeric on the API pages; ``""`` if the answer named none.
        full_name: ``fullName``.
        first_name: ``firstName``.
        last_name: ``lastName``.
        phone_number: ``phoneNumber`` (``phone`` in a use case), in E.164.
        email: the e-mail address.
        gender: its words are undocumented.
        is_valid: whether the number is valid.
        is_test: whether it is a test contact.
        communication_supported: the channels that reach it, as given.
        last_contact_type: ``lastContactType``, as given.
        last_campaign_type: ``lastCampaignType``, as given.
        lists: the lists it is on, where the answer has them (a use case).
    """

    aliases: ClassVar[dict[str, tuple[str, ...]]] = {
        "id": ("contactId",),
        "phone_number": ("phone",),
        "lists": ("contactLists",),
    }

    id: Id = ""
    full_name: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    phone_number: str | None = None
    email: str | None = None
    gender: str | None = None
    is_valid: bool | None = None
    is_test: bool | None = None
    communication_supported: str | tuple[str, ...] | None = None
    last_contact_type: str | None = None
    last_campaign_type: str | None = None
    lists: tuple[ContactList, ...] = ()


class ContactList(Record, frozen=True, kw_only=True):
    """A contact list.

    Attributes:
        id: numeric on the API pages; ``""`` if the answer named none.
        name: its name.
        description: from a use case.
        contact_count: how many are on it (a use case).
        is_test: whether it is a test list.
        created_at: as given (a use case).
    """

    aliases: ClassVar[dict[str, tuple[str, ...]]] = {"id": ("listId",)}

    id: Id = ""
    name: str | None = None
    description: str | None = None
    contact_count: int | None = None
    is_test: bool | None = None
    created_at: str | None = None


class ImportPreview(Record, frozen=True, kw_only=True):
    """What became of an uploaded file: its first rows as they were read, or the result of an import.

    Attributes:
        id: of the import (``importId``: a use case); ``""`` if the answer named none.
        status: such as ``COMPLETED`` (a use case).
        rows: the parsed rows, where the answer has them: under which name is undocumented.
        summary: counts such as ``total``, ``imported``, ``duplicates`` (a use case).
    """

    aliases: ClassVar[dict[str, tuple[str, ...]]] = {
        "id": ("importId",),
        "rows": ("preview", "contacts", "data"),
    }
    shown: ClassVar[tuple[str, ...]] = ("id", "status")

    id: Id = ""
    status: str | None = None
    rows: tuple[Any, ...] = ()
    summary: dict[str, int] = msgspec.field(default_factory=dict)


class Associations(msgspec.Struct, frozen=True, kw_only=True):
    """Contacts were added to lists.

    Attributes:
        ids: those of the new associations, for ``remove_association``; empty if the answer named none.
        raw: the answer, decoded.
    """

    ids: tuple[Id, ...] = ()
    raw: Any = None

    def __repr__(self) -> str:
        return f"Associations(<{len(self.ids)} ids>)"


class Deletion(msgspec.Struct, frozen=True, kw_only=True):
    """Things were deleted or removed. What the API says of it is undocumented.

    Attributes:
        answers: the answers decoded, one for each request it took: long lists of ids are split.
    """

    answers: tuple[Any, ...] = ()

    def __repr__(self) -> str:
        return f"Deletion(<{len(self.answers)} answers>)"
