"""A small SQLite database of ours: in memory, or in a file whose disk the event loop never waits for."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TypeVar

import msgspec

from .errors import QlaraError, StoreError
from .models.erasure import Erased
from .sqlite_reasons import reason_of

__all__ = ["Format", "SqliteFile", "scrub"]

_T = TypeVar("_T")

_BUSY_TIMEOUT = 5.0
_EXCLUSIVE_TIMEOUT = 1.0  # who has such a file keeps it: waiting is for one that is just ending
_CACHE_KIB = 65_536  # an upper bound: it is taken as pages are read


class Format(msgspec.Struct, frozen=True):
    """What a kind of file is.

    Attributes:
        what: its name in errors, as ``"suppression list"``.
        application_id: its mark in the file's header.
        tables: the statements that make its tables.
        version: of the tables.
        exclusive: whether it is for one process at a time, until that closes it or ends.
        error: what its users get to see.
    """

    what: str
    application_id: int
    tables: str
    version: int = 1
    exclusive: bool = False
    error: type[QlaraError] = StoreError


class SqliteFile:
    """One connection, opened at first use, on a thread of its own; in memory, on the caller's.

    Several processes may have the file open (WAL, ``synchronous=FULL``), unless its form is exclusive. It belongs to no
    event loop. Errors are ``StoreError``, or the form's own.

    Args:
        path: of the file, made if there is none; ``None`` is memory.
        form: the kind of file.
    """

    def __init__(self, path: str | PathLike[str] | None, form: Format) -> None:
        self._path = None if path is None else Path(path).absolute()
        self._format = form
        self._db: sqlite3.Connection | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._in_use = threading.Lock()  # a file that is used while it is being closed has two threads for a moment

    def __del__(self) -> None:
        self._close()

    @property
    def path(self) -> Path | None:
        """The file, if it is one."""
        return self._path

    @property
    def name(self) -> str:
        """What to call it in a report."""
        return f"{self._format.what} {'in memory' if self._path is None else self._path.name}"

    async def read(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Ask `work` of the connection: in memory at once, else on the thread.

        Raises:
            StoreError: the file is none of ours, or cannot be read.
        """
        return await self._on_thread(partial(self._guarded, work))

    async def write(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Do `work` in a transaction, which is on the disk when this returns.

        Cancelling the call does not take back what `work` does.

        Raises:
            StoreError: nothing was written.
        """
        return await self._on_thread(partial(self._guarded, partial(_transaction, work=work)))

    async def erase(self, work: Callable[[sqlite3.Connection], int]) -> Erased:
        """Do `work`, which deletes and counts entries, and leave no byte of what it deleted in the file.

        Raises:
            StoreError: the file cannot be written.
        """
        entries = await self.write(work)
        scrubbed = self._path is None or await self._on_thread(partial(self._guarded, scrub))
        return Erased(place=self.name, removed={"entries": entries}, scrubbed=scrubbed)

    async def aclose(self) -> None:
        """Close the file, after all that was asked. What is in memory is kept; using the file again reopens it."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        closing = asyncio.get_running_loop().run_in_executor(thread, self._close)
        thread.shutdown(wait=False)
        await asyncio.wait([closing])  # which a cancellation ends, and not the closing
        closing.result()

    async def _on_thread(self, work: Callable[[], _T]) -> _T:
        if self._path is None:
            return work()
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="qlara-store")
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _guarded(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        try:
            with self._in_use:
                if self._db is None:
                    self._db = self._opened()
                return work(self._db)
        except sqlite3.Error as error:
            place = "in memory" if self._path is None else self._path
            raise self._format.error(f"the {self._format.what} {place} cannot be used: {reason_of(error)}") from error

    def _opened(self) -> sqlite3.Connection:
        name = ":memory:" if self._path is None else self._path
        timeout = _EXCLUSIVE_TIMEOUT if self._format.exclusive else _BUSY_TIMEOUT
        db = sqlite3.connect(name, timeout=timeout, isolation_level=None, check_same_thread=False)
        try:
            if self._format.exclusive:
                db.execute("PRAGMA locking_mode = EXCLUSIVE")  # the system lets go of it with the process
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA secure_delete = ON")
            db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            _transaction(db, self._check_or_create)
        except BaseException:
            db.close()
            raise
        return db

    def _check_or_create(self, db: sqlite3.Connection) -> None:
        form = self._format
        ((application,),) = db.execute("PRAGMA application_id")
        ((version,),) = db.execute("PRAGMA user_version")
        ((tables,),) = db.execute("SELECT count(*) FROM sqlite_schema")
        if application == 0 and tables == 0:
            for statement in form.tables.split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {form.application_id}")
            db.execute(f"PRAGMA user_version = {form.version}")
        elif (application, version) != (form.application_id, form.version):
            raise form.error(f"{self._path} is no {form.what} of this version: it was left as it is; give another path")

    def _close(self) -> None:
        with self._in_use:
            db, self._db = self._db, None
            if db is not None:
                db.close()


def _transaction(db: sqlite3.Connection, work: Callable[[sqlite3.Connection], _T]) -> _T:
    db.execute("BEGIN IMMEDIATE")
    try:
        result = work(db)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return result


def scrub(db: sqlite3.Connection) -> bool:
    """Rewrite the file without its free pages, and empty the write-ahead log; return whether that could be done."""
    try:
        db.execute("VACUUM")
        ((busy, _, _),) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.OperationalError:  # another process writes, or the disk has no room for a copy
        return False
    return not busy
