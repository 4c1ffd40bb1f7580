"""What is written to a journal, in SQL: row by row, or a group at once.

A group is one statement, which is a transaction of its own and runs without the interpreter's lock. Row by row the
thread would have to wait for that lock after each of them, until the event loop lets it have it.

The conditions guard G1 against mistakes of the caller: what is final stays, and a row keeps its id and its content.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

__all__ = ["BEGIN", "FINISH", "RECORD", "Write", "prepare_groups", "write_group"]

_BEGUN = "INSERT INTO bulk_rows (idx, message_id, own_id, channel, digest, state, written_at)"
_BEGUN_AGAIN = """ON CONFLICT (idx) DO UPDATE
SET message_id = excluded.message_id, own_id = excluded.own_id, channel = excluded.channel, state = 'started',
    receipt = NULL, error = NULL, written_at = excluded.written_at
WHERE state IN ('started', 'failed', 'unknown', 'skipped') AND digest = excluded.digest
    AND (message_id IS NULL OR message_id = excluded.message_id)"""
_MAY_FINISH = "bulk_rows.state IN ('started', 'unknown')"

BEGIN = f"{_BEGUN} VALUES (?, ?, ?, ?, ?, 'started', ?) {_BEGUN_AGAIN}"
RECORD = """
INSERT INTO bulk_rows (idx, message_id, own_id, channel, digest, state, error, written_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (idx) DO UPDATE
SET state = excluded.state, error = excluded.error, written_at = excluded.written_at
WHERE state IN ('failed', 'skipped') AND digest = excluded.digest
"""
FINISH = f"""
UPDATE bulk_rows
SET state = ?, attempts = ?, receipt = ?, error = ?, granted_at = coalesce(?, granted_at), written_at = ?
WHERE idx = ? AND {_MAY_FINISH}
"""  # noqa: S608 — constant

# Of this connection, not of the file. `begun` and `finished` are lists in JSON of the values of BEGIN and FINISH; but a
# digest is told by where it is in `digests`, from 1 as substr() counts, and how long it is.
_VIEW = "CREATE TEMP VIEW row_groups (begun, digests, finished) AS SELECT NULL, NULL, NULL"
_TRIGGER = f"""CREATE TEMP TRIGGER write_row_group INSTEAD OF INSERT ON row_groups BEGIN
{_BEGUN}
SELECT
    json_extract(item.value, '$[0]'),
    json_extract(item.value, '$[1]'),
    json_extract(item.value, '$[2]'),
    json_extract(item.value, '$[3]'),
    substr(NEW.digests, json_extract(item.value, '$[4]'), json_extract(item.value, '$[5]')),
    'started',
    json_extract(item.value, '$[6]')
FROM json_each(NEW.begun) AS item WHERE true
{_BEGUN_AGAIN};
SELECT RAISE(ABORT, 'not all of them may begin') WHERE changes() <> json_array_length(NEW.begun);

UPDATE bulk_rows
SET state = json_extract(item.value, '$[0]'),
    attempts = json_extract(item.value, '$[1]'),
    receipt = json_extract(item.value, '$[2]'),
    error = json_extract(item.value, '$[3]'),
    granted_at = coalesce(json_extract(item.value, '$[4]'), granted_at),
    written_at = json_extract(item.value, '$[5]')
FROM json_each(NEW.finished) AS item
WHERE idx = json_extract(item.value, '$[6]') AND {_MAY_FINISH};
SELECT RAISE(ABORT, 'not all of them may finish') WHERE changes() <> json_array_length(NEW.finished);
END"""  # noqa: S608 — constant
_GROUP = "INSERT INTO row_groups VALUES (?, ?, ?)"

_encode = msgspec.json.Encoder().encode


class Write(NamedTuple):
    """One row to write: the statement, the row's index, the statement's values."""

    statement: str
    row: int
    values: tuple[Any, ...]


def prepare_groups(db: sqlite3.Connection) -> bool:
    """Make what groups are written by; ``False`` if this SQLite cannot: before 3.33, or without JSON functions."""
    try:
        db.execute(_VIEW)
        db.execute(_TRIGGER)
        # A trigger's names are looked up by its first use only. To the end: nothing commits while a statement is open.
        db.execute(f"EXPLAIN {_GROUP}", (None, None, None)).fetchall()
    except sqlite3.OperationalError:
        return False
    return True


def write_group(db: sqlite3.Connection, writes: Sequence[Write]) -> bool:
    """Begin and finish rows, all of them or, if one may not be written like that, none; tell which.

    Args:
        db: prepared, and in no transaction.
        writes: of ``BEGIN`` and ``FINISH``, and not two of one row. No NUL is in their texts, as in no message's id;
            their times may end up a billionth of their size off.

    Raises:
        sqlite3.Error: it cannot be written.
    """
    if db.in_transaction:
        raise sqlite3.ProgrammingError("a group is a transaction of its own: it would not be on the disk")
    begun: list[tuple[Any, ...]] = []
    digests = bytearray()
    for write in writes:
        if write.statement is BEGIN:
            *ids, digest, now = write.values
            begun.append((*ids, len(digests) + 1, len(digest), now))
            digests += digest
    finished = [write.values for write in writes if write.statement is FINISH]
    try:
        db.execute(_GROUP, (_encode(begun).decode(), digests, _encode(finished).decode()))
    except sqlite3.IntegrityError:
        return False
    return True
