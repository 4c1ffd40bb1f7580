"""Which inbound messages have been told: a record of digests, on disk or in memory."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Sequence
from functools import partial
from os import PathLike

import msgspec

from ..models.events import Inbound
from ..models.record import Id
from ..protocol.identity import fingerprint
from ..protocol.numbers import normal_number
from ..sqlite_file import Format, SqliteFile

__all__ = ["Candidate", "InboundLedger", "Sorted"]

_APART = (2.0, 60.0, 3600.0, 14 * 3600.0)
"""Seconds by which a callback and its inbox message may differ in time, the nearest first: a time without a zone is
read as UTC."""

_FORM = Format(
    what="record of inbound messages",
    application_id=0x516C614D,  # "QlaM"
    tables="""
CREATE TABLE state (secret BLOB NOT NULL, since REAL NOT NULL, checked REAL NOT NULL);
CREATE TABLE told (
    id INTEGER PRIMARY KEY,
    name BLOB,
    content BLOB NOT NULL,
    at REAL NOT NULL,
    taken INTEGER NOT NULL
);
CREATE INDEX names ON told (name);
CREATE INDEX contents ON told (content, at);
CREATE TABLE settled (message BLOB PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID;
""",
)
_BY_NAME = "SELECT id FROM told WHERE name = ? AND taken = 0"
_BY_CONTENT = (
    "SELECT id FROM told WHERE content = ? AND at BETWEEN ? AND ? AND taken = 0 ORDER BY abs(at - ?), id LIMIT 1"
)


class Candidate(msgspec.Struct, frozen=True):
    """An inbound message that a poll found.

    Attributes:
        event: it, as an event.
        at: when it was written, in seconds since the epoch.
        message: its digest in the inbox.
        name: the digest of its callback's id, if it has that.
        content: the digest of who wrote what on which channel.
    """

    event: Inbound
    at: float
    message: bytes
    name: bytes | None
    content: bytes


class Sorted(msgspec.Struct, frozen=True):
    """What is known of candidates.

    Attributes:
        told: how many callbacks told of.
        missing: nobody told of these.
        waiting: nobody did yet, but their callbacks may still come.
    """

    told: int
    missing: list[Candidate]
    waiting: list[Candidate]


class InboundLedger:
    """Notes which messages callbacks told of, and which messages of the inbox are settled.

    It holds no numbers, ids and texts, but digests keyed with a secret of its own.

    Args:
        path: an SQLite file; ``None`` is memory.
    """

    def __init__(self, path: str | PathLike[str] | None) -> None:
        self._file = SqliteFile(path, _FORM)
        self._secret = b""

    @property
    def is_open(self) -> bool:
        """Whether it was opened."""
        return bool(self._secret)

    async def open(self, since: float) -> tuple[float, float]:
        """Return the time before which nothing is repaired, and up to which all was checked; both `since` at first.

        Raises:
            StoreError: the file cannot be used.
        """
        self._secret, floor, checked = await self._file.write(partial(_state, since=since))
        return floor, checked

    async def close(self) -> None:
        """Close the file."""
        await self._file.aclose()

    async def note(self, event: Inbound) -> None:
        """Note what a callback told, once for each time it is told. Raises ``StoreError``."""
        written = event.received_at if event.occurred_at is None else event.occurred_at
        row = (self._name(event), self._content(event), written.timestamp())
        await self._file.write(lambda db: db.execute("INSERT INTO told VALUES (NULL, ?, ?, ?, 0)", row).rowcount)

    def candidate(self, event: Inbound, chat_id: Id, message_id: Id) -> Candidate:
        """Make the candidate of a message of the inbox, whose ids there are these."""
        at = 0.0 if event.occurred_at is None else event.occurred_at.timestamp()
        content = self._content(event)
        own: tuple[str | bytes | float, ...] = (str(chat_id), str(message_id)) if message_id != "" else (content, at)
        return Candidate(event, at, fingerprint(self._secret, *own), self._name(event), content)

    async def unsettled(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Leave out those that are settled. Raises ``StoreError``."""
        return await self._file.read(lambda db: [one for one in candidates if not _is_settled(db, one)])

    async def sort(self, candidates: Sequence[Candidate], ripe: float) -> Sorted:
        """Say which were told, and settle those. Only those written by the time `ripe` can be missing.

        A callback stands for one message: that of its id, else the nearest in time among those of the same content.

        Args:
            candidates: all there are that are not settled: one left out could lose its callback to another.
            ripe: in seconds since the epoch.

        Raises:
            StoreError: the file cannot be used.
        """
        return await self._file.write(partial(_sort, candidates=candidates, ripe=ripe))

    async def settle(self, candidates: Sequence[Candidate]) -> None:
        """Note that these were fed. Raises ``StoreError``."""
        await self._file.write(partial(_settle, candidates=candidates))

    async def checked(self, at: float, *, forget: float) -> None:
        """Note up to when all is settled, and forget what is older than `forget`. Raises ``StoreError``."""
        await self._file.write(partial(_checked, at=at, forget=forget))

    def _name(self, event: Inbound) -> bytes | None:
        if event.message_id is None:
            return None
        return fingerprint(self._secret, str(event.channel), event.message_id)

    def _content(self, event: Inbound) -> bytes:
        # Not the media, their type or our number: whether the inbox names them is not known.
        customer = normal_number(event.source, bare=True) or event.source
        return fingerprint(self._secret, str(event.channel), customer, event.text.strip())


def _state(db: sqlite3.Connection, since: float) -> tuple[bytes, float, float]:
    found = db.execute("SELECT secret, since, checked FROM state").fetchone()
    if found is None:
        found = (secrets.token_bytes(16), since, since)
        db.execute("INSERT INTO state VALUES (?, ?, ?)", found)
    return bytes(found[0]), found[1], found[2]


def _sort(db: sqlite3.Connection, candidates: Sequence[Candidate], ripe: float) -> Sorted:
    # All ids first: what has none must not take the callback of what has one.
    unnamed = [one for one in candidates if not _take(db, one, _BY_NAME, (one.name,))]
    waiting = [one for one in unnamed if one.at > ripe]
    missing = [one for one in unnamed if one.at <= ripe]
    for apart in _APART:
        missing = [one for one in missing if not _take(db, one, _BY_CONTENT, _around(one, apart))]
    return Sorted(told=len(candidates) - len(missing) - len(waiting), missing=missing, waiting=waiting)


def _is_settled(db: sqlite3.Connection, one: Candidate) -> bool:
    return db.execute("SELECT 1 FROM settled WHERE message = ?", (one.message,)).fetchone() is not None


def _take(db: sqlite3.Connection, one: Candidate, sql: str, values: tuple[object, ...]) -> bool:
    found = db.execute(sql, values).fetchone()
    if found is None:
        return False
    db.execute("UPDATE told SET taken = 1 WHERE id = ?", found)
    _settle(db, [one])
    return True


def _around(one: Candidate, apart: float) -> tuple[bytes, float, float, float]:
    return one.content, one.at - apart, one.at + apart, one.at


def _settle(db: sqlite3.Connection, candidates: Sequence[Candidate]) -> None:
    db.executemany("INSERT OR IGNORE INTO settled VALUES (?, ?)", [(one.message, one.at) for one in candidates])


def _checked(db: sqlite3.Connection, at: float, forget: float) -> None:
    db.execute("UPDATE state SET checked = ?", (at,))
    db.execute("DELETE FROM settled WHERE at < ?", (forget,))
    db.execute("DELETE FROM told WHERE at < ?", (forget,))
