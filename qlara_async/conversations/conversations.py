"""When each customer last wrote."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from os import PathLike
from types import TracebackType
from typing import Self

from ..errors import ConfigurationError
from ..models.channel import Channel, parse_channel
from ..models.erasure import Erased
from ..models.events import Inbound
from ..protocol.numbers import checked_number, normal_number
from ..sqlite_file import Format, SqliteFile
from ..webhooks.router import Router

__all__ = ["Conversations"]

_FORM = Format(
    what="file of conversations",
    application_id=0x516C6143,  # "QlaC"
    tables="""
CREATE TABLE last_inbound (
    customer TEXT NOT NULL,
    channel TEXT NOT NULL,
    ours TEXT NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (customer, channel, ours)
) WITHOUT ROWID;
""",
)
_NOTE = "INSERT INTO last_inbound VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET at = max(at, excluded.at)"
_LAST = "SELECT max(at) FROM last_inbound WHERE customer = ? AND channel = ?"

# WhatsApp did not exist: a time before this is none.
_EARLIEST = datetime(2009, 1, 1, tzinfo=UTC)


class Conversations:
    """Knows when each customer last wrote, on which channel and to which of our numbers.

    ::

        async with Conversations("conversations.db") as conversations:
            receiver.include(conversations.router)
            async with QlaraClient(…, conversations=conversations) as qlara: …

    Who is not in it has not written: begin it before you rely on it. A file may be shared by processes; it is opened at
    first use, and used on a thread, so that the event loop never waits for the disk.

    Args:
        path: an SQLite file, made if there is none; ``None`` keeps everything in memory.
        phone_numbers: our WhatsApp numbers by their ``phone_number_id``, where the account has several: sends name the
            id and callbacks the number, and each number has windows of its own. Without it, a customer who wrote to any
            of our numbers may be written to from all.
    """

    def __init__(
        self, path: str | PathLike[str] | None = None, *, phone_numbers: Mapping[int, str] | None = None
    ) -> None:
        self._file = SqliteFile(path, _FORM)
        self._ours = {key: normal_number(number, bare=True) for key, number in (phone_numbers or {}).items()}
        if None in self._ours.values():
            raise ConfigurationError("phone_numbers has something that is no number: + and country code first (E.164)")
        self.router = Router()
        """Learns who writes: ``receiver.include(conversations.router)``; your own handlers get their messages too."""
        self.router.observe_inbound(name="qlara_async.conversations.inbound")(self.note)

    async def aclose(self) -> None:
        """Close the file. Using it again reopens it."""
        await self._file.aclose()

    async def __aenter__(self) -> Self:
        await self._file.read(lambda db: None)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"Conversations({'memory' if self._file.path is None else str(self._file.path)!r})"

    async def note(self, event: Inbound) -> None:
        """Note that a customer wrote; an event without their number is passed over.

        The time is the one the event names, unless that is later than its arrival, or absurd: then it is its arrival.

        Raises:
            StoreError: it was not written.
        """
        customer = normal_number(event.source, bare=True)
        if customer is None:
            return
        ours = normal_number(event.destination, bare=True) or ""
        row = (customer, str(event.channel), ours, _written_at(event).timestamp())
        await self._file.write(lambda db: db.execute(_NOTE, row).rowcount)

    async def last_inbound(
        self, customer: str, channel: Channel | str = Channel.WHATSAPP, *, phone_number_id: int | None = None
    ) -> datetime | None:
        """Return when a customer last wrote, aware; ``None`` if they never did.

        Args:
            customer: their number, with its country code.
            channel: where.
            phone_number_id: to which of our numbers; to any, where it is not in `phone_numbers`.

        Raises:
            InvalidMessageError: it is no such number. StoreError: the file cannot be read.
        """
        ours = None if phone_number_id is None else self._ours.get(phone_number_id)
        # What came without our number may have been to any of them.
        sql = _LAST if ours is None else f"{_LAST} AND ours IN ('', ?)"
        values = (checked_number(customer), str(parse_channel(channel)), *([] if ours is None else [ours]))
        last = await self._file.read(lambda db: db.execute(sql, values).fetchone()[0])
        return None if last is None else datetime.fromtimestamp(last, UTC)

    async def erase(self, number: str) -> Erased:
        """Forget a customer, so that no byte of their number is left in the file, and say how many entries they had."""
        return await self._file.erase(partial(_erase, number=checked_number(number)))


def _erase(db: sqlite3.Connection, number: str) -> int:
    return db.execute("DELETE FROM last_inbound WHERE customer = ?", (number,)).rowcount


def _written_at(event: Inbound) -> datetime:
    named = event.occurred_at
    return event.received_at if named is None or not _EARLIEST <= named <= event.received_at else named
