"""Erasing a number: every event that came from it or is about it, whatever has become of it."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from ....models.events import Event, UnknownEvent
from ....protocol.numbers import normal_number
from .codec import unpack
from .store import Store

__all__ = ["Erasure"]

_PAGE = 500


class Erasure:
    """Walks through the events, a page in a transaction, so that callbacks can be put in between.

    An event is the number's if that is its source or destination, or stands anywhere in what could not be decoded.

    Args:
        number: in E.164.

    Attributes:
        removed: events, pieces of pending work, and dead letters removed so far.
    """

    def __init__(self, number: str) -> None:
        self._number = number
        self._written = re.compile(rb"(?<![0-9])(?:00)?" + number[1:].encode() + rb"(?![0-9])")
        self._place = 0
        self.removed = {"events": 0, "pending": 0, "dead": 0, "quarantined": 0}

    def page(self, store: Store) -> int:
        """Erase from the next page; return its size, 0 at the end. A part of the writer's transaction."""
        rows: list[tuple[int, str, bytes, int]] = store.db.execute(
            "SELECT id, kind, payload, quarantined FROM events WHERE id > ? ORDER BY id LIMIT ?", (self._place, _PAGE)
        ).fetchall()
        for number, kind, payload, quarantined in rows:
            if self._concerns(kind, payload):
                self.removed["events"] += 1
                self.removed["quarantined"] += quarantined
                self.removed["pending"] += store.runs.drop(number)
                self.removed["dead"] += store.db.execute("DELETE FROM dead WHERE event = ?", (number,)).rowcount
                store.db.execute("DELETE FROM events WHERE id = ?", (number,))
        self._place = rows[-1][0] if rows else self._place
        return len(rows)

    def held(self, store: Store) -> int:
        """Erase from the receipts that wait for their ids to be known; return how many were the number's."""
        rows: list[tuple[int, str, bytes]] = store.db.execute("SELECT id, kind, payload FROM held").fetchall()
        concerned = [(number,) for number, kind, payload in rows if self._concerns(kind, payload)]
        store.db.executemany("DELETE FROM held WHERE id = ?", concerned)
        self.removed["events"] += len(concerned)
        return len(concerned)

    def _concerns(self, kind: str, payload: bytes) -> bool:
        try:
            event = unpack(kind, payload)
        except (msgspec.MsgspecError, KeyError, TypeError, ValueError):
            return self._number[1:].encode() in payload
        if isinstance(event, UnknownEvent):
            return self._written.search(event.raw) is not None
        return self._number in _numbers(event)


def _numbers(event: Event) -> set[str | None]:
    named: list[Any] = [getattr(event, name, None) for name in ("source", "destination")]
    return {normal_number(one, bare=True) for one in named}
