"""Where the tracker keeps its records: nowhere, or in an SQLite file."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import anyio
import msgspec

from ..clock import Clock, Timer
from ..errors import TrackingStoreError
from ..loggers import client_logger
from ..sqlite_file import scrub
from ..sqlite_reasons import reason_of
from .record import Record

__all__ = ["FileStore", "MemoryStore", "Store"]

_APPLICATION_ID = 0x514C5452  # "QLTR"
_VERSION = 1
_FIRST_WAIT = 1.0
_MAX_WAIT = 60.0
_SCHEMA = f"""
CREATE TABLE tracked (message_id TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_VERSION};
"""


class Store(Protocol):
    """Keeps records; `saved` is called with each that is safe now."""

    async def open(self, saved: Callable[[Record], object]) -> list[Record]:
        """Open, and return what was kept."""

    def save(self, record: Record) -> None:
        """Keep a record as it is now, soon."""

    def forget(self, record: Record) -> None:
        """Keep it no longer."""

    async def flush(self) -> None:
        """Return when all that was saved before is safe. Raises ``TrackingStoreError``."""

    async def scrub(self) -> bool:
        """Flush, leave no byte of what was forgotten, and return whether that could be done. Raises like `flush`."""

    async def close(self) -> None:
        """Flush and close."""


class MemoryStore:
    """Keeps nothing."""

    def __init__(self) -> None:
        self._saved: Callable[[Record], object] = lambda record: None

    async def open(self, saved: Callable[[Record], object]) -> list[Record]:
        """Begin with nothing."""
        self._saved = saved
        return []

    def save(self, record: Record) -> None:
        """Call it safe: there is nothing safer."""
        self._saved(record)

    def forget(self, record: Record) -> None:
        """Do nothing."""

    async def flush(self) -> None:
        """Do nothing."""

    async def scrub(self) -> bool:
        """Do nothing."""
        return True

    async def close(self) -> None:
        """Do nothing."""


class FileStore:
    """Keeps records in an SQLite file (WAL, ``synchronous=FULL``), for one process at a time.

    Everything saved while a commit runs forms the next one; commits run in a thread, so the loop never waits for the
    disk. A commit that fails is tried again with the next save, or by itself after 1, 2, 4 … 60 s.

    Args:
        path: of the file; made if there is none.
        clock: for the waits.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._saved: Callable[[Record], object] = lambda record: None
        self._connection: sqlite3.Connection | None = None
        self._dirty: dict[str, Record | None] = {}
        self._committing: asyncio.Task[None] | None = None
        self._wait = _FIRST_WAIT
        self._retry: Timer | None = None
        self._encode = msgspec.msgpack.Encoder().encode

    async def open(self, saved: Callable[[Record], object]) -> list[Record]:
        """Open the file and read it.

        Raises:
            TrackingStoreError: another process has it, it is no such file, or it cannot be read or written.
        """
        self._saved = saved
        opening = asyncio.ensure_future(anyio.to_thread.run_sync(_open, self._path))
        try:
            self._connection, records = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_opened)
            raise
        return records

    def save(self, record: Record) -> None:
        """Keep a record as it is now, soon."""
        self._dirty[record.message_id] = record
        self._commit_soon()

    def forget(self, record: Record) -> None:
        """Keep it no longer."""
        self._dirty[record.message_id] = None
        self._commit_soon()

    async def flush(self) -> None:
        """Return when all that was saved before is safe.

        Raises:
            TrackingStoreError: it could not be written.
        """
        self._commit_soon()
        if self._committing is not None:
            await asyncio.shield(self._committing)

    async def scrub(self) -> bool:
        """Flush, and rewrite the file without what was forgotten; return whether that could be done."""
        await self.flush()
        return self._connection is not None and await anyio.to_thread.run_sync(scrub, self._connection)

    async def close(self) -> None:
        """Flush and close."""
        try:
            await self.flush()
        finally:
            connection, self._connection = self._connection, None
            self._stop_waiting()
            if connection is not None:
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(connection.close)

    def _commit_soon(self) -> None:
        if self._committing is None and self._dirty and self._connection is not None:
            self._committing = asyncio.get_running_loop().create_task(self._commit_all(self._connection))
            self._committing.add_done_callback(_log_failure)

    async def _commit_all(self, connection: sqlite3.Connection) -> None:
        self._stop_waiting()
        try:
            while self._dirty:
                await self._commit(connection)
            self._wait = _FIRST_WAIT
        except TrackingStoreError:
            self._retry = self._clock.call_at(self._clock.monotonic() + self._wait, self._commit_soon)
            self._wait = min(_MAX_WAIT, self._wait * 2.0)
            raise
        finally:
            self._committing = None  # here, so that nothing is saved between the last look and this

    def _stop_waiting(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    async def _commit(self, connection: sqlite3.Connection) -> None:
        batch, self._dirty = self._dirty, {}
        rows = [(message_id, self._encode(record)) for message_id, record in batch.items() if record is not None]
        gone = [(message_id,) for message_id, record in batch.items() if record is None]
        writing = asyncio.ensure_future(anyio.to_thread.run_sync(_write, connection, rows, gone))
        try:
            await asyncio.shield(writing)
        except sqlite3.Error as error:
            self._dirty = batch | self._dirty
            raise TrackingStoreError(f"{self._path} cannot be written: {reason_of(error)}") from error
        for message_id, record in batch.items():
            if record is not None and message_id not in self._dirty:
                self._saved(record)


def _log_failure(committing: asyncio.Task[None]) -> None:
    if not committing.cancelled() and (error := committing.exception()) is not None:
        client_logger.error("delivery tracking could not be stored: %s", error)


def _open(path: Path) -> tuple[sqlite3.Connection, list[Record]]:
    try:
        connection = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise TrackingStoreError(f"{path} cannot be used: {reason_of(error)}") from error
    try:
        _prepare(connection, path)
        decode = msgspec.msgpack.Decoder(Record).decode
        return connection, [decode(row) for (row,) in connection.execute("SELECT record FROM tracked")]
    except msgspec.MsgspecError as error:
        connection.close()
        raise TrackingStoreError(f"{path} is damaged") from error
    except sqlite3.Error as error:
        connection.close()
        busy = error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
        why = "is in use by another process" if busy else f"cannot be used: {reason_of(error)}"
        raise TrackingStoreError(f"{path} {why}") from error
    except BaseException:
        connection.close()
        raise


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    # Exclusive: two trackers on one file would both tell the handlers. The system lets go of it when the process ends.
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("BEGIN EXCLUSIVE")
    found = (_number(connection, "PRAGMA application_id"), _number(connection, "PRAGMA user_version"))
    empty = _number(connection, "SELECT count(*) FROM sqlite_schema") == 0
    connection.execute("COMMIT")
    if empty:
        connection.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
    elif found != (_APPLICATION_ID, _VERSION):
        raise TrackingStoreError(f"{path} is no tracking store of this version; it was left as it is")


def _number(connection: sqlite3.Connection, query: str) -> int:
    return int(connection.execute(query).fetchone()[0])


def _write(connection: sqlite3.Connection, rows: list[tuple[str, bytes]], gone: list[tuple[str]]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.executemany("INSERT OR REPLACE INTO tracked VALUES (?, ?)", rows)
        connection.executemany("DELETE FROM tracked WHERE message_id = ?", gone)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _close_opened(opening: asyncio.Future[tuple[sqlite3.Connection, list[Record]]]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result()[0].close()
