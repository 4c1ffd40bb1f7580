"""Lists of the platform API: the envelopes their pages come in, and how to walk from page to page.

The envelopes are undocumented but for the bare array; those of the use cases are read as well. A walk is pure: `ask`
says what to ask for next, `take` what was new in the answer.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

__all__ = ["Envelope", "IdWalk", "OneAnswer", "PageWalk", "Walk", "envelope_of"]

# In the order of trust: Spring's page, then what the use cases show, then a guess.
_LISTS = ("content", "data", "items", "results", "messages", "profiles", "phoneNumbers", "templates", "conversations")
_TOTALS = ("totalElements", "total", "totalCount")


class Envelope(msgspec.Struct, frozen=True):
    """One page as it came.

    Attributes:
        items: its objects.
        total: how many there are on all pages, if it says so.
        last: whether it is the last one, if it says so (Spring).
        size: the page size in force, if it says so (Spring): the gateway may have lowered ours.
    """

    items: list[dict[str, Any]]
    total: int | None = None
    last: bool | None = None
    size: int | None = None

    def __repr__(self) -> str:
        return f"Envelope(<{len(self.items)} items>, total={self.total})"


def envelope_of(body: Any) -> Envelope | None:
    """Find the list in an answer: a bare array, a known member, or the only member that is an array.

    Returns ``None`` if there is none. An empty body (204) is an empty list.
    """
    if body is None:
        return Envelope([])
    if isinstance(body, list):
        return Envelope(_objects(body))
    if not isinstance(body, dict):
        return None
    found = _list_in(body)
    if found is None:
        inner = [value for value in body.values() if isinstance(value, dict)]
        return envelope_of(inner[0]) if len(inner) == 1 else None
    total = next((_count(body[name]) for name in _TOTALS if name in body), None)
    last = body.get("last")
    return Envelope(_objects(found), total, last if isinstance(last, bool) else None, _count(body.get("size")))


def _list_in(body: dict[str, Any]) -> list[Any] | None:
    lists = {name: value for name, value in body.items() if isinstance(value, list)}
    for name in _LISTS:
        if name in lists:
            return lists[name]
    return next(iter(lists.values())) if len(lists) == 1 else None


def _objects(items: list[Any]) -> list[dict[str, Any]]:
    return [item for item in items if isinstance(item, dict)]


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


class Walk(Protocol):
    """A way through a list."""

    def ask(self) -> dict[str, int] | None:
        """Return what to set in the query of the next request; ``None`` at the end."""

    def take(self, envelope: Envelope) -> list[dict[str, Any]]:
        """Return what is new in the answer, and step on."""


class PageWalk:
    """By ``page``, from 0, and ``limit`` (API pages).

    The end is an empty page, one shorter than asked for, the total reached, or the gateway's own word. A page that is
    the one before again comes from a server that ignores ``page``: it is the end too.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._page: int | None = 0
        self._seen = 0
        self._before: list[dict[str, Any]] = []

    def ask(self) -> dict[str, int] | None:
        """See `Walk`."""
        return None if self._page is None else {"page": self._page, "limit": self._size}

    def take(self, envelope: Envelope) -> list[dict[str, Any]]:
        """See `Walk`."""
        items = envelope.items
        if self._page is None or not items or items == self._before:
            self._page = None
            return []
        self._seen += len(items)
        self._before = items
        self._page = None if self._is_last(envelope) else self._page + 1
        return items

    def _is_last(self, envelope: Envelope) -> bool:
        if envelope.last is not None:
            return envelope.last
        if envelope.total is not None:
            return self._seen >= envelope.total
        return len(envelope.items) < min(self._size, envelope.size or self._size)


class IdWalk:
    """By ``idFrom`` and ``idTo``, both inclusive (inbox messages): the next request begins after the highest id seen.

    It ends where an answer holds no higher id, or ids that are not numbers.
    """

    def __init__(self, id_from: int | None = None, id_to: int | None = None) -> None:
        self._next = id_from
        self._to = id_to
        self._over = False

    def ask(self) -> dict[str, int] | None:
        """See `Walk`."""
        if self._over:
            return None
        bounds = {"id_from": self._next, "id_to": self._to}
        return {name: value for name, value in bounds.items() if value is not None}

    def take(self, envelope: Envelope) -> list[dict[str, Any]]:
        """See `Walk`."""
        start = self._next
        new = [item for item in envelope.items if start is None or not _is_below(item, start)]
        highest = max((item["id"] for item in new if type(item.get("id")) is int), default=None)
        self._over = highest is None or (self._to is not None and highest >= self._to)
        if highest is not None:
            self._next = highest + 1
        return new


def _is_below(item: dict[str, Any], start: int) -> bool:
    return type(item.get("id")) is int and item["id"] < start


class OneAnswer:
    """A list that comes whole."""

    def __init__(self) -> None:
        self._over = False

    def ask(self) -> dict[str, int] | None:
        """See `Walk`."""
        return None if self._over else {}

    def take(self, envelope: Envelope) -> list[dict[str, Any]]:
        """See `Walk`."""
        self._over = True
        return envelope.items
