"""Plain groups: all that comes in is news and begins at once, all that ended has ended well, and nothing waits for it.

One statement writes such a group. It is a transaction of its own, and runs without the interpreter's lock; after each
of the nine statements of the general transaction the writer thread waits until the event loop lets it have that lock.

Only the file can tell whether a group is plain. So it is written in the hope that it is, and undone by the statement's
trigger if it is not; then the general transaction judges it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from .entries import End, Incoming, Policy

__all__ = ["Counters", "PlainGroup", "prepare"]

# `events`, `ends` and `runs` are lists of lists in JSON, in which a stretch of `bytes` is told by its place, from 1 as
# substr() counts, and its length. A lane that has a head already cannot have another (index `heads`): not plain either.
_VIEW = """CREATE TEMP VIEW plain_groups
(first_event, pending, owner, now, full_expiry, short_expiry, ends, events, bytes, runs) AS
SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL"""
_TRIGGER = """CREATE TEMP TRIGGER write_plain_group INSTEAD OF INSERT ON plain_groups BEGIN
SELECT RAISE(ABORT, 'another process has written')
WHERE NOT EXISTS (SELECT 1 FROM counters WHERE next_event = NEW.first_event AND pending = NEW.pending);

SELECT RAISE(ABORT, 'this process was taken for dead') WHERE NOT EXISTS (SELECT 1 FROM owners WHERE id = NEW.owner);

SELECT RAISE(ABORT, 'not all of it is news') FROM json_each(NEW.events) AS item CROSS JOIN events AS known
ON known.key = substr(NEW.bytes, json_extract(item.value, '$[0]'), json_extract(item.value, '$[1]'));

SELECT RAISE(ABORT, 'another run waits for the end of one') FROM json_each(NEW.ends) AS lease CROSS JOIN runs AS ended
ON ended.event = json_extract(lease.value, '$[0]') AND ended.handler = json_extract(lease.value, '$[1]')
CROSS JOIN runs AS next ON next.handler = ended.handler AND next.lane = ended.lane AND next.state = 2;

DELETE FROM runs WHERE (event, handler) IN (
    SELECT r.event, r.handler FROM json_each(NEW.ends) AS lease CROSS JOIN runs AS r
    ON r.event = json_extract(lease.value, '$[0]') AND r.handler = json_extract(lease.value, '$[1]')
    AND r.token = json_extract(lease.value, '$[2]') AND r.state = 1
);
SELECT RAISE(ABORT, 'a lease was lost') WHERE changes() <> json_array_length(NEW.ends);

INSERT INTO events (id, key, digest, short, expires, received, conflict, quarantined, kind, payload)
SELECT
    NEW.first_event + item.key,
    substr(NEW.bytes, json_extract(item.value, '$[0]'), json_extract(item.value, '$[1]')),
    substr(NEW.bytes, json_extract(item.value, '$[2]'), json_extract(item.value, '$[3]')),
    json_extract(item.value, '$[6]'),
    CASE json_extract(item.value, '$[6]') WHEN 1 THEN NEW.short_expiry ELSE NEW.full_expiry END,
    NEW.now,
    0,
    0,
    json_extract(item.value, '$[7]'),
    substr(NEW.bytes, json_extract(item.value, '$[4]'), json_extract(item.value, '$[5]'))
FROM json_each(NEW.events) AS item;

INSERT INTO runs (event, handler, lane, state, attempts, token, due, owner)
SELECT
    NEW.first_event + json_extract(item.value, '$[0]'),
    json_extract(item.value, '$[1]'),
    substr(NEW.bytes, json_extract(item.value, '$[2]'), json_extract(item.value, '$[3]')),
    1,
    1,
    1,
    NEW.now,
    NEW.owner
FROM json_each(NEW.runs) AS item;

UPDATE counters SET
    next_event = next_event + json_array_length(NEW.events),
    pending = pending + json_array_length(NEW.runs) - json_array_length(NEW.ends);
END"""
_INSERT = "INSERT INTO plain_groups VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

_encode = msgspec.json.Encoder().encode


def prepare(db: sqlite3.Connection) -> bool:
    """Make the view that groups are inserted into, and its trigger: of this connection, not of the file.

    Returns:
        Whether that works: an SQLite that was built without its JSON functions writes no plain groups.
    """
    db.execute(_VIEW)
    db.execute(_TRIGGER)
    try:
        # A trigger's names are looked up by its first use only. To the end: nothing commits while a statement is open.
        db.execute(f"EXPLAIN {_INSERT}", (None,) * 10).fetchall()
    except sqlite3.OperationalError:
        return False
    return True


class Counters(NamedTuple):
    """What the file counts: the number that the next event gets, and the runs that are not finished."""

    next_event: int
    pending: int


class PlainGroup:
    """A group on its way into the file.

    Args:
        rows: the events. None is to be quarantined.
        ends: runs that ended well.
        handlers: the numbers of the handlers named in ``rows``.

    Attributes:
        runs: how many runs it adds.
    """

    def __init__(self, rows: Sequence[Incoming], ends: Sequence[End], handlers: Mapping[str, int]) -> None:
        self._bytes = bytearray()
        self._ends = [(end.work.ticket, end.work.handler_id, end.work.token) for end in ends]
        self._events = [
            (
                *self._stretch(row.identity.key),
                *self._stretch(row.identity.digest),
                *self._stretch(row.payload),
                int(row.identity.ttl == "short"),
                row.kind,
            )
            for row in rows
        ]
        self._runs: list[tuple[int, int, int | None, int | None]] = []
        for place, row in enumerate(rows):
            lane = (None, None) if row.lane is None else self._stretch(row.lane)
            self._runs += [(place, handlers[name], *lane) for name in row.handlers]
        self.runs = len(self._runs)

    def insert(self, db: sqlite3.Connection, counters: Counters, owner: int, now: float, policy: Policy) -> bool:
        """Write it, with its runs leased by ``owner``; ``False`` if it is not plain after all: then nothing is written.

        Args:
            db: prepared, and in no transaction.
            counters: as this process has seen them last.
            owner: the number of this process among the owners, likewise.
            now: seconds since the epoch.
            policy: how long identities are kept.

        Raises:
            sqlite3.Error: it cannot be written.
        """
        expiries = now + policy.dedup_ttl, now + policy.short_ttl
        lists = (_json(self._ends), _json(self._events), self._bytes, _json(self._runs))
        try:
            db.execute(_INSERT, (*counters, owner, now, *expiries, *lists))
        except sqlite3.IntegrityError:
            return False
        return True

    def _stretch(self, content: bytes) -> tuple[int, int]:
        """Add to the bytes, and tell where."""
        place = len(self._bytes) + 1
        self._bytes += content
        return place, len(content)


def _json(rows: Sequence[object]) -> str:
    return _encode(rows).decode()
