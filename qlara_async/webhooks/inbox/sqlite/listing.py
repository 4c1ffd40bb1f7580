"""All events, dead letters and quarantined events: pages of them, and back to work."""

from __future__ import annotations

from typing import Any

from .entries import DeadLetter
from .store import Store

__all__ = ["dead", "events", "quarantined", "replay"]

_PAGE = 200


def events(store: Store, after: int) -> list[tuple[int, str, bytes, int]]:
    """Read a page of all events: number, kind, fields, and whether it contradicts one before."""
    return store.db.execute(
        "SELECT id, kind, payload, conflict FROM events WHERE id > ? ORDER BY id LIMIT ?", (after, _PAGE)
    ).fetchall()


def dead(store: Store, after: tuple[int, int]) -> list[tuple[tuple[int, int], DeadLetter]]:
    """Read a page of dead letters, each with its place."""
    rows = store.db.execute(
        "SELECT d.event, d.handler, h.name, d.attempts, d.error, d.died, e.kind, e.payload, e.conflict "
        "FROM dead AS d JOIN handlers AS h ON h.id = d.handler JOIN events AS e ON e.id = d.event "
        "WHERE (d.event, d.handler) > (?, ?) ORDER BY d.event, d.handler LIMIT ?",
        (*after, _PAGE),
    )
    return [
        (
            (event, handler),
            DeadLetter(
                event_id=event,
                handler=name,
                attempts=attempts,
                error=error,
                died_at=died,
                kind=kind,
                payload=payload,
                conflict=bool(conflict),
            ),
        )
        for event, handler, name, attempts, error, died, kind, payload, conflict in rows
    ]


def quarantined(store: Store, after: int) -> list[tuple[int, float, str, bytes]]:
    """Read a page of quarantined events: number, time, kind and fields."""
    rows: list[Any] = store.db.execute(
        "SELECT id, received, kind, payload FROM events WHERE quarantined = 1 AND id > ? ORDER BY id LIMIT ?",
        (after, _PAGE),
    ).fetchall()
    return rows


def replay(store: Store, letter: DeadLetter | None, handler: str, now: float) -> int:
    """Turn dead letters into runs again, each in its place among those of its lane that wait.

    A part of the writer's transaction.
    """
    sql = "SELECT d.event, d.handler, d.lane FROM dead AS d JOIN handlers AS h ON h.id = d.handler WHERE h.name = ?"
    if letter is None:
        rows = store.db.execute(f"{sql} ORDER BY d.event", (handler,)).fetchall()
    else:
        rows = store.db.execute(f"{sql} AND d.event = ?", (letter.handler, letter.event_id)).fetchall()
    store.runs.add(rows, owner=None, free=0, now=now, room={}, leases=1)
    store.db.executemany("DELETE FROM dead WHERE event = ? AND handler = ?", [row[:2] for row in rows])
    return len(rows)
