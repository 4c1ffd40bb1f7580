"""Where chains under way are kept: nowhere, or in an SQLite file that a restart goes on from."""

from __future__ import annotations

import asyncio
import sqlite3
from os import PathLike
from pathlib import Path

import anyio
import msgspec

from ..errors import ChainStoreError
from .chain import Progress

__all__ = ["ChainStore"]

_APPLICATION_ID = 0x514C4643  # "QLFC"
_SCHEMA = f"""
BEGIN;
CREATE TABLE chains (chain_id TEXT PRIMARY KEY, done INTEGER NOT NULL, progress BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX unfinished ON chains (chain_id) WHERE NOT done;
PRAGMA application_id = {_APPLICATION_ID};
COMMIT;
"""


class ChainStore:
    """Keeps chains in an SQLite file (WAL, ``synchronous=FULL``), for one process at a time; in memory without one.

    The file holds the messages of chains under way, numbers and texts included; of those that ended only ids and
    states.
    """

    def __init__(self, path: str | PathLike[str] | None) -> None:
        self._path = None if path is None else Path(path)
        self._connection: sqlite3.Connection | None = None
        self._writing = asyncio.Lock()

    async def open(self) -> list[Progress]:
        """Open the file, and return the chains that have not ended. Raises ``ChainStoreError``."""
        if self._path is None:
            return []
        self._connection, kept = await anyio.to_thread.run_sync(_open, self._path)
        return kept

    async def find(self, chain_id: str) -> Progress | None:
        """Return a chain that is kept. Raises ``ChainStoreError``."""
        if self._connection is None:
            return None
        async with self._writing:
            return await anyio.to_thread.run_sync(_find, self._connection, chain_id)

    async def save(self, progress: Progress) -> None:
        """Return when a chain's progress is safe. Raises ``ChainStoreError``."""
        if self._connection is None:
            return
        row = (progress.chain_id, progress.done, msgspec.msgpack.encode(progress))
        async with self._writing:
            # Not abandoned when cancelled: the connection must be free for the next.
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(_write, self._connection, row)

    async def close(self) -> None:
        """Close the file."""
        async with self._writing:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()


def _open(path: Path) -> tuple[sqlite3.Connection, list[Progress]]:
    try:
        connection = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise ChainStoreError(f"{path.name} cannot be opened: {error}") from error
    try:
        _prepare(connection, path)
        rows = connection.execute("SELECT progress FROM chains WHERE NOT done").fetchall()
        return connection, [msgspec.msgpack.decode(row, type=Progress) for (row,) in rows]
    except (sqlite3.Error, msgspec.MsgspecError) as error:
        connection.close()
        raise ChainStoreError(f"{path.name} is in use by another process, or is no store of chains") from error
    except ChainStoreError:
        connection.close()
        raise


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    # Exclusive: two processes on one file would both send the next leg. The system lets go of it with the process.
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("BEGIN EXCLUSIVE")
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    connection.execute("COMMIT")
    if not tables:
        connection.executescript(_SCHEMA)
    elif application_id != _APPLICATION_ID:
        raise ChainStoreError(f"{path.name} is no store of chains; it was left as it is")


def _find(connection: sqlite3.Connection, chain_id: str) -> Progress | None:
    try:
        row = connection.execute("SELECT progress FROM chains WHERE chain_id = ?", (chain_id,)).fetchone()
    except sqlite3.Error as error:
        raise ChainStoreError(f"the store of chains cannot be read: {error}") from error
    return None if row is None else msgspec.msgpack.decode(row[0], type=Progress)


def _write(connection: sqlite3.Connection, row: tuple[str, bool, bytes]) -> None:
    try:
        connection.execute("INSERT OR REPLACE INTO chains VALUES (?, ?, ?)", row)
    except sqlite3.Error as error:
        raise ChainStoreError(f"the store of chains cannot be written: {error}") from error
