"""Where chains are kept: in memory, or in an SQLite file that a restart goes on from."""

from __future__ import annotations

import sqlite3
from functools import partial
from os import PathLike

import msgspec

from ..errors import ChainStoreError
from ..models.erasure import Erased
from ..sqlite_file import Format, SqliteFile
from .chain import Progress

__all__ = ["ChainStore"]

_FORM = Format(
    what="store of chains",
    application_id=0x514C4643,  # "QLFC"
    tables="""
CREATE TABLE chains (chain_id TEXT PRIMARY KEY, done INTEGER NOT NULL, progress BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX unfinished ON chains (chain_id) WHERE NOT done;
""",
    exclusive=True,  # two processes on one file would both send the next leg
    error=ChainStoreError,
)


class ChainStore:
    """Keeps chains, for one process at a time.

    It holds the messages of chains under way, numbers and texts included; of those that ended only ids and states, a
    few hundred bytes each, so that none is sent again.
    """

    def __init__(self, path: str | PathLike[str] | None) -> None:
        self._file = SqliteFile(path, _FORM)

    async def open(self) -> list[Progress]:
        """Open the file, and return the chains that have not ended. Raises ``ChainStoreError``."""
        try:
            return await self._file.read(_unfinished)
        except BaseException:
            await self._file.aclose()
            raise

    async def find(self, chain_id: str) -> Progress | None:
        """Return a chain that is kept. Raises ``ChainStoreError``."""

        def found(db: sqlite3.Connection) -> Progress | None:
            row = db.execute("SELECT progress FROM chains WHERE chain_id = ?", (chain_id,)).fetchone()
            return None if row is None else _decoded(row[0])

        return await self._file.read(found)

    async def save(self, progress: Progress) -> None:
        """Return when a chain's progress is safe. Raises ``ChainStoreError``."""
        row = (progress.chain_id, progress.done, msgspec.msgpack.encode(progress))
        await self._file.write(lambda db: db.execute("INSERT OR REPLACE INTO chains VALUES (?, ?, ?)", row).rowcount)

    async def erase(self, number: str) -> Erased:
        """End the chains that go to a number, and remove those that have it in an id. Raises ``ChainStoreError``."""
        erased = await self._file.erase(partial(_erase, number=number))
        if not await self._file.read(partial(_still_holds, digits=number[1:].encode())):
            return erased
        note = "a chain to somebody else holds the number in a text: erase again when it has ended"
        return msgspec.structs.replace(erased, scrubbed=False, note=note)

    async def close(self) -> None:
        """Close the file, after all that was saved."""
        await self._file.aclose()


def _unfinished(db: sqlite3.Connection) -> list[Progress]:
    return [_decoded(kept) for (kept,) in db.execute("SELECT progress FROM chains WHERE NOT done")]


def _erase(db: sqlite3.Connection, number: str) -> int:
    erased = 0
    for chain_id, kept in db.execute("SELECT chain_id, progress FROM chains").fetchall():
        progress = _decoded(kept)
        ids = (chain_id, *(leg.message_id for leg in progress.legs))
        if any(number[1:] in one for one in ids):
            db.execute("DELETE FROM chains WHERE chain_id = ?", (chain_id,))
        elif progress.goes_to(number):
            progress.end()
            row = (msgspec.msgpack.encode(progress), chain_id)
            db.execute("UPDATE chains SET done = 1, progress = ? WHERE chain_id = ?", row)
        else:
            continue
        erased += 1
    return erased


def _still_holds(db: sqlite3.Connection, digits: bytes) -> bool:
    return db.execute("SELECT 1 FROM chains WHERE instr(progress, ?) LIMIT 1", (digits,)).fetchone() is not None


def _decoded(kept: bytes) -> Progress:
    try:
        return msgspec.msgpack.decode(kept, type=Progress)
    except msgspec.MsgspecError:
        problem = "a chain in the store cannot be read: the file is damaged, or of another version"
    raise ChainStoreError(problem)
