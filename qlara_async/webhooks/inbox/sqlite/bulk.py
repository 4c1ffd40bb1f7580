"""Many rows by few statements.

``executemany`` gives the interpreter lock away and asks for it back once a row; with an event loop on the other side
that costs more than the row. So rows go in statements of 256, 128, … 1, each of which SQLite's cache keeps prepared.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

__all__ = ["chunks", "run"]

_SIZES = (256, 128, 64, 32, 16, 8, 4, 2, 1)


def chunks(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Cut into pieces of few different lengths."""
    place = 0
    for size in _SIZES:
        while len(rows) - place >= size:
            yield rows[place : place + size]
            place += size


def run(db: sqlite3.Connection, sql: str, rows: Sequence[Sequence[Any]], *before: Any) -> int:
    """Run a statement in which ``{rows}`` stands for ``(?, …), (?, …), …``. Return how many rows it changed.

    ``before`` are the values of marks that come before the rows.
    """
    changed = 0
    for chunk in chunks(rows):
        marks = "(" + ",".join("?" * len(chunk[0])) + ")"
        values = [*before, *(value for row in chunk for value in row)]
        changed += db.execute(sql.format(rows=",".join([marks] * len(chunk))), values).rowcount
    return changed
