"""The suppression list: who is not to be written to."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..clock import Clock, SystemClock
from ..errors import SuppressedError
from ..models.channel import Channel, parse_channel
from ..models.erasure import Erased
from ..models.events import Inbound
from ..models.message import Message, WhatsApp
from ..protocol.numbers import checked_number, normal_number
from ..sqlite_file import Format, SqliteFile
from ..webhooks.router import Router
from . import exchange
from .exchange import Entry, ImportReport
from .words import Words

__all__ = ["INBOUND", "SuppressionList"]

INBOUND = "inbound"
"""The source of what customers asked for themselves."""

_EVERY = ""
_PAGE = 1000
_FORM = Format(
    what="suppression list",
    application_id=0x516C6153,  # "QlaS"
    tables="""
CREATE TABLE secret (key BLOB NOT NULL);
CREATE TABLE suppressed (
    number TEXT NOT NULL,
    channel TEXT NOT NULL,
    added_at REAL NOT NULL,
    reason TEXT NOT NULL,
    source TEXT NOT NULL,
    PRIMARY KEY (number, channel)
) WITHOUT ROWID;
""",
)

# What an operator put on the list stays as it is when the customer says STOP too: a START must not lift it.
_ADD = f"""INSERT INTO suppressed VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE
SET added_at = excluded.added_at, reason = excluded.reason, source = excluded.source
WHERE excluded.source <> '{INBOUND}' OR (source = '{INBOUND}' AND excluded.added_at > added_at)"""  # noqa: S608
_LIFT = "DELETE FROM suppressed WHERE number IN (?, ?) AND channel IN ('', ?) AND source = ? AND added_at <= ?"


class SuppressionList:
    """Numbers that are not to be written to: ``QlaraClient(suppression=…)`` checks it before every send.

    ::

        async with SuppressionList("suppressed.db") as suppression:
            receiver.include(suppression.router)       # STOP and START of customers
            async with QlaraClient(…, suppression=suppression) as qlara: …

    An entry holds for one channel or for all. A message is refused if its recipient is suppressed on its channel or on
    that of one of its fallbacks. That an account turns SMS into RCS no message tells: who is not to get RCS from such
    an account is suppressed on both, or sent SMS with ``skip_rcs_override``. A STOP holds for all channels; a START
    lifts what a STOP has done, and nothing that you put on the list. Both count only if they are the whole message.

    A file may be shared by processes: a campaign sees what the receiver's process has learned. It is opened at first
    use, and used on a thread, so that the event loop never waits for the disk.

    Args:
        path: an SQLite file, made if there is none; ``None`` keeps the list in memory.
        stop_words: what stops instead of the words of `qlara_async.consent.words`.
        start_words: what lifts it, likewise.
        clock: for tests.
    """

    def __init__(
        self,
        path: str | PathLike[str] | None = None,
        *,
        stop_words: Iterable[str] | None = None,
        start_words: Iterable[str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._file = SqliteFile(path, _FORM)
        self._words = Words(stop_words, start_words)
        self._clock = clock or SystemClock()
        self._secret = b""
        self.router = Router()
        """Learns from customers: ``receiver.include(suppression.router)``; your own handlers get their messages too."""
        wishes = self.router.observe_inbound(self._is_wish, name="qlara_async.consent.suppression")
        wishes(self._heed)

    async def aclose(self) -> None:
        """Close the file. Using the list again reopens it."""
        await self._file.aclose()

    async def __aenter__(self) -> Self:
        await self.count()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"SuppressionList({'memory' if self._file.path is None else str(self._file.path)!r})"

    async def add(
        self,
        number: str,
        *,
        channel: Channel | str | None = None,
        reason: str = "",
        source: str = "manual",
        when: datetime | None = None,
    ) -> None:
        """Put a number on the list. Once it returns, no send that begins afterwards gets through.

        Args:
            number: with its country code, as ``+39…`` or ``0039…``.
            channel: the only channel it holds for; all if not given.
            reason: a note of yours, without personal data.
            source: where it comes from; ``"inbound"`` is what a START lifts.
            when: since when; now if not given.

        Raises:
            InvalidMessageError: it is no such number.
            StoreError: it was not written.
        """
        added = self._clock.time() if when is None else when.timestamp()
        row = (checked_number(number), _scope(channel), added, reason, source)
        await self._file.write(lambda db: db.execute(_ADD, row).rowcount)

    async def remove(self, number: str, *, channel: Channel | str | None = None) -> bool:
        """Take an entry off the list, wherever it comes from: that of a channel, or the one for all of them.

        Returns:
            Whether there was one.
        """
        keys = await self._keys(checked_number(number))
        sql = "DELETE FROM suppressed WHERE number IN (?, ?) AND channel = ?"
        return await self._file.write(lambda db: db.execute(sql, (*keys, _scope(channel))).rowcount) > 0

    async def contains(self, number: str, channel: Channel | str | None = None) -> bool:
        """Whether a number is not to be written to: on a channel, or on every one if none is given."""
        return await self._suppressed(checked_number(number), {_scope(channel)})

    async def count(self) -> int:
        """Count the entries."""
        return await self._file.read(lambda db: int(db.execute("SELECT count(*) FROM suppressed").fetchone()[0]))

    async def __aiter__(self) -> AsyncIterator[Entry]:
        """Iterate over the entries in the order of their numbers, but for numbers that were erased."""
        place = ("+", "")
        while page := await self._file.read(partial(_page, after=place)):
            place = (page[-1].number, _scope(page[-1].channel))
            for entry in page:
                yield entry

    async def check(self, message: Message) -> Message:
        """Let a message pass whose recipient is not suppressed.

        Raises:
            SuppressedError: they are.
            StoreError: the list cannot be read.
        """
        if await self._suppressed(message.destination, _channels(message)):
            raise SuppressedError(message_id=message.message_id)
        return message

    async def hear(self, event: Inbound) -> None:
        """Heed a STOP or START, if the event is one. Raises ``StoreError``."""
        if self._is_wish(event):
            await self._heed(event)

    async def import_csv(self, path: str | PathLike[str], *, source: str = "import") -> ImportReport:
        """Add the numbers of a CSV file: one column, or columns named as `export_csv` names them, in any order.

        Comma, semicolon or tab separate; the file is UTF-8, with or without a byte order mark. A row that cannot be
        used is passed over and reported, by its line and without its content.

        Args:
            path: of the file.
            source: of entries whose row names none.

        Raises:
            OSError: it cannot be read. UnicodeDecodeError: it is not UTF-8. What was read before is on the list.
        """
        now = self._clock.time()
        before = await self.count()
        with closing(exchange.Reader(Path(path), now=now, source=source)) as reader:
            while rows := await asyncio.to_thread(reader.chunk):
                await self._file.write(partial(_add_all, rows=rows))
                await asyncio.sleep(0)  # a list in memory is filled on the loop
        return ImportReport(
            rows=reader.rows, added=await self.count() - before, bad=reader.bad, bad_rows=tuple(reader.shown)
        )

    async def export_csv(self, path: str | PathLike[str]) -> int:
        """Write the list to a CSV file, replacing it, and return how many entries. Erased numbers cannot be among them.

        Raises:
            OSError: it cannot be written.
        """
        with closing(await asyncio.to_thread(exchange.Writer, Path(path))) as writer:
            place = ("+", "")
            while page := await self._file.read(partial(_page, after=place)):
                place = (page[-1].number, _scope(page[-1].channel))
                await asyncio.to_thread(writer.write, page)
            return writer.rows

    async def erase(self, number: str, *, keep_suppressed: bool = True) -> Erased:
        """Take a number out of the file, so that no byte of it is left, and say how many entries it had.

        Args:
            number: the number.
            keep_suppressed: go on suppressing it, by a digest that is keyed with a secret of the file: who has the file
                could still try all numbers, which makes it pseudonymous and not anonymous.
        """
        plain = checked_number(number)
        keys = await self._keys(plain)
        digest = keys[1] if keep_suppressed else None
        return await self._file.erase(partial(_erase, keys=keys, digest=digest))

    def _is_wish(self, event: Inbound) -> bool:
        return self._words.wish(event.text) is not None and normal_number(event.source, bare=True) is not None

    async def _heed(self, event: Inbound) -> None:
        number = normal_number(event.source, bare=True)
        if number is None:
            return
        said = event.received_at if event.occurred_at is None else min(event.occurred_at, event.received_at)
        if self._words.wish(event.text) == "stop":
            await self.add(number, reason=f"STOP by {event.channel}", source=INBOUND, when=said)
            return
        # Not what was said after it: a handler that was retried may come late.
        lift = (*await self._keys(number), str(event.channel), INBOUND, said.timestamp())
        await self._file.write(lambda db: db.execute(_LIFT, lift).rowcount)

    async def _suppressed(self, number: str, channels: set[str]) -> bool:
        keys = await self._keys(number)
        marks = ",".join("?" * (len(channels) + 1))
        sql = f"SELECT 1 FROM suppressed WHERE number IN (?, ?) AND channel IN ({marks}) LIMIT 1"  # noqa: S608
        return await self._file.read(lambda db: db.execute(sql, (*keys, _EVERY, *channels)).fetchone() is not None)

    async def _keys(self, number: str) -> tuple[str, str]:
        """A number as the file may have it: in clear, or erased."""
        if not self._secret:
            self._secret = await self._file.write(_secret)
        return number, hashlib.blake2b(number.encode(), key=self._secret, digest_size=16).hexdigest()


def _secret(db: sqlite3.Connection) -> bytes:
    found = db.execute("SELECT key FROM secret").fetchone()
    if found is not None:
        return bytes(found[0])
    key = secrets.token_bytes(32)
    db.execute("INSERT INTO secret VALUES (?)", (key,))
    return key


def _page(db: sqlite3.Connection, after: tuple[str, str]) -> list[Entry]:
    # Erased numbers are hexadecimal digits, which come after "+".
    rows = db.execute(
        "SELECT number, channel, added_at, reason, source FROM suppressed "
        "WHERE (number, channel) > (?, ?) AND number < ',' ORDER BY number, channel LIMIT ?",
        (*after, _PAGE),
    )
    return [
        Entry(
            number=number,
            channel=parse_channel(channel) if channel else None,
            added_at=datetime.fromtimestamp(added, UTC),
            reason=reason,
            source=source,
        )
        for number, channel, added, reason, source in rows
    ]


def _add_all(db: sqlite3.Connection, rows: Sequence[exchange.Row]) -> None:
    db.executemany(_ADD, rows)


def _erase(db: sqlite3.Connection, keys: tuple[str, str], digest: str | None) -> int:
    erased = 0
    if digest is not None:
        db.execute(
            "INSERT OR IGNORE INTO suppressed SELECT ?, channel, added_at, '', source FROM suppressed WHERE number = ?",
            (digest, keys[0]),
        )
    for key in keys:
        if key != digest:
            erased += db.execute("DELETE FROM suppressed WHERE number = ?", (key,)).rowcount
    return erased


def _scope(channel: Any) -> str:
    return _EVERY if channel is None else str(parse_channel(channel))


def _channels(message: Message) -> set[str]:
    """The channels a message may arrive on."""
    channels = {message.channel.value}
    if isinstance(message, WhatsApp) and message.fallback_rcs is not None:
        channels.add(Channel.RCS.value)
    # maxSmsParts turns the fallback to SMS on (API page of RCS), the text of which may be the stored template's.
    if getattr(message, "fallback_sms", None) is not None or getattr(message, "max_sms_parts", None) is not None:
        channels.add(Channel.SMS.value)
    return channels
