"""API keys, as the platform API answers them (API tag "API Key")."""

from __future__ import annotations

from typing import ClassVar

from .record import Id, Record

__all__ = ["ApiKey"]


class ApiKey(Record, frozen=True, kw_only=True):
    """An API key. Its ``repr`` shows no part of the key; `raw` does.

    The API page describes the fields in prose: their names are guesses, and those that a use case shows are read as
    well.

    Attributes:
        id: for `ApiKeys.delete`; ``""`` if the answer named none.
        value: the key itself, whole only in the answer to its creation: keep it where passwords are kept.
        operations: what it may be used for, such as ``SMS``.
        username: whose it is.
        company: whose that is; only where it was looked up.
        traffic_type: its words are undocumented.
        created_at: as given.
        name: from a use case.
        description: from a use case.
        status: ``ACTIVE`` is the only value seen (a use case).
    """

    aliases: ClassVar[dict[str, tuple[str, ...]]] = {
        "id": ("keyId",),
        "value": ("apiKey", "key"),
        "username": ("userName", "user"),
        "created_at": ("creationDate",),
    }
    shown: ClassVar[tuple[str, ...]] = ("id", "operations", "status")

    id: Id = ""
    value: str | None = None
    operations: tuple[str, ...] = ()
    username: str | None = None
    company: str | None = None
    traffic_type: str | None = None
    created_at: str | None = None
    name: str | None = None
    description: str | None = None
    status: str | None = None
