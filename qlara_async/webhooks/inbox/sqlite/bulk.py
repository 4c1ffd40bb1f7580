"""Many rows by one statement.

Each statement gives the interpreter lock away and asks for it back, for which the event loop lets it wait; so what
counts is how few there are. Rows go in statements for 1, 2, 4, … 256, each of which SQLite's cache keeps prepared, and
what is left over is padded with zeros: no event, no handler and no owner has that number, and no key or lane is one.

``sqlite3`` looks for an adapter of whatever is not an int, float, str or bytearray: blobs should be bytearrays.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

__all__ = ["Parameters", "padded", "run"]

_MOST = 256

Parameters: TypeAlias = list[Any]
"""What SQLite takes: int, float, str, bytearray, None."""


def padded(sql: str, rows: Sequence[Sequence[Any]], *before: Any) -> Iterator[tuple[str, Parameters]]:
    """Yield statements for rows, with their parameters.

    In the statement ``{rows}`` stands for ``(?, …), (?, …), …``; rows of zeros mean nothing in it. ``before`` are the
    values of marks that come before the rows.
    """
    for place in range(0, len(rows), _MOST):
        chunk = rows[place : place + _MOST]
        size = 1 << (len(chunk) - 1).bit_length()
        values = [*before, *(value for row in chunk for value in row)]
        values += [0] * (len(chunk[0]) * (size - len(chunk)))
        yield _sized(sql, len(chunk[0]), size), values


def run(db: sqlite3.Connection, sql: str, rows: Sequence[Sequence[Any]], *before: Any) -> int:
    """Run such statements. Return how many rows they changed."""
    return sum(db.execute(statement, values).rowcount for statement, values in padded(sql, rows, *before))


@lru_cache(maxsize=128)
def _sized(sql: str, width: int, size: int) -> str:
    marks = "(" + ",".join("?" * width) + ")"
    return sql.format(rows=",".join([marks] * size))
