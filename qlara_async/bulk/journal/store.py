"""The journal's rows: what is written and asked, in SQL, by the one thread that owns the connection."""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

import msgspec

from ...errors import InvalidMessageError, JournalError, JournalWriteError, QlaraError
from ...models.channel import Channel
from . import schema
from .digest import SALT_SIZE
from .entry import COLUMNS, Entry, entry_of
from .lock import JournalLock
from .statements import FINISH, RECORD, Write, prepare_groups, write_group

__all__ = ["Contents", "Store"]


class Contents(msgspec.Struct, frozen=True):
    """What was in the journal when it was opened.

    Attributes:
        salt: the key of its digests.
        rows: how many rows it held.
        last: the highest index, or -1.
        in_flight: the indexes of rows that had started and not ended.
    """

    salt: bytes
    rows: int
    last: int
    in_flight: frozenset[int]


class Store:
    """The open file. Its methods block: they belong on a thread of their own.

    Args:
        path: of the journal; made if there is none.
        timeout: seconds to wait for other programs that have the file locked.

    Attributes:
        path: the same.
    """

    def __init__(self, path: Path, *, timeout: float) -> None:
        self.path = path
        self._timeout = timeout
        self._lock = JournalLock(path)
        self._connection: sqlite3.Connection | None = None
        self._files: list[tuple[Path, os.stat_result]] = []
        self._knows_groups = False

    @property
    def _db(self) -> sqlite3.Connection:
        if self._connection is None:
            raise JournalError(f"the journal {self.path} is not open")
        return self._connection

    def open(self, now: float) -> Contents:
        """Lock the journal, check it, and make it if there is none; nothing stays open or locked if that fails.

        Raises:
            JournalError: of the class that says why. What was in the file is untouched.
        """
        self._lock.acquire(now)
        try:
            contents = self._opened(now)
        except (sqlite3.Error, OSError) as error:
            self._let_go()
            raise schema.write_error(error, self.path) from error
        except BaseException:
            self._let_go()
            raise
        return contents

    def _opened(self, now: float) -> Contents:
        is_journal = self._is_journal()
        db = self._connection = schema.connect(self.path, timeout=self._timeout)
        ((mode,),) = db.execute("PRAGMA journal_mode = WAL")
        if mode != "wal":
            raise JournalWriteError(
                f"the journal {self.path} cannot be in WAL mode: put it on a local disk, in a directory that may be "
                "written to"
            )
        db.execute("PRAGMA synchronous = FULL")
        if not is_journal:
            schema.create(db, secrets.token_bytes(SALT_SIZE), now)
        self._knows_groups = prepare_groups(db)
        # What was in flight may have been granted until the process died; the last write is what is left of that time.
        db.execute("UPDATE bulk_rows SET granted_at = (SELECT max(written_at) FROM bulk_rows) WHERE state = 'started'")
        self._files = [(path, path.stat()) for path in (self.path, schema.log_of(self.path))]
        ((salt,),) = db.execute("SELECT salt FROM journal")
        ((rows, last),) = db.execute("SELECT count(*), coalesce(max(idx), -1) FROM bulk_rows")
        in_flight = db.execute("SELECT idx FROM bulk_rows WHERE state = 'started'")
        return Contents(salt, rows, last, frozenset(index for (index,) in in_flight))

    def _is_journal(self) -> bool:
        """Check an existing file before anything is written to it; say whether it is a journal already."""
        if not self.path.exists():
            return False
        if not self.path.is_file():
            raise JournalWriteError(f"{self.path} is not a file: give the journal another path")
        try:
            with closing(schema.connect_readonly(self.path)) as db:
                return self._checked(db)
        except sqlite3.OperationalError as error:
            # The process died while SQLite changed the file's mode: it must be rolled back before it can be read.
            if not getattr(error, "sqlite_errorname", "").startswith("SQLITE_READONLY"):
                raise
        with closing(schema.connect(self.path, timeout=self._timeout)) as db:
            return self._checked(db)

    def _checked(self, db: sqlite3.Connection) -> bool:
        if not schema.check(db, self.path):
            return False
        schema.check_pages(db, self.path)
        return True

    def close(self) -> None:
        """Close the file, leave nothing beside it if possible, and let go of the lock."""
        if self._connection is not None:
            with suppress(sqlite3.Error):  # somebody is looking into it: then the log stays, which is as good
                self._connection.execute("PRAGMA journal_mode = DELETE")
        self._let_go()

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._lock.release()

    def commit(self, writes: Sequence[Write]) -> dict[int, QlaraError]:
        """Write all in one transaction; return, by their place in `writes`, the ones refused, which leave no trace.

        When it returns, everything else is on the disk. A group has at most one write of each row: its order is free.

        Raises:
            JournalError: nothing of the group counts as written.
        """
        try:
            refused = {} if self._written_together(writes) else self._written_singly(writes)
            self._check_files()
        except (sqlite3.Error, OSError) as error:
            self._roll_back()
            raise schema.write_error(error, self.path) from error
        except BaseException:
            self._roll_back()  # what comes next must not be taken for a part of it
            raise
        return refused

    def _written_together(self, writes: Sequence[Write]) -> bool:
        """Write them by one statement; ``False``: one of them is not like the others, and nothing was written."""
        if not self._knows_groups or any(write.statement is RECORD for write in writes):
            return False
        return write_group(self._db, writes)

    def _written_singly(self, writes: Sequence[Write]) -> dict[int, QlaraError]:
        db = self._db
        refused: dict[int, QlaraError] = {}
        db.execute("BEGIN IMMEDIATE")
        for place, write in enumerate(writes):
            try:
                if db.execute(write.statement, write.values).rowcount != 1:
                    refused[place] = JournalError(_misuse(write))
            except sqlite3.IntegrityError:
                refused[place] = InvalidMessageError("is the id of another row", field="message_id")
        db.execute("COMMIT")
        return refused

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):  # what failed may have rolled back already
            self._db.execute("ROLLBACK")

    def _check_files(self) -> None:
        """SQLite goes on writing to files that were deleted or replaced: nobody would find what it wrote."""
        for path, opened in self._files:
            found = path.stat()
            if found.st_ino != opened.st_ino or found.st_dev != opened.st_dev:
                raise FileNotFoundError(0, "the file was replaced", str(path))

    def entries(self, start: int, count: int) -> list[Entry]:
        """Return the rows with an index from `start` on and below ``start + count``."""
        rows = self._db.execute(
            f"SELECT {COLUMNS} FROM bulk_rows WHERE idx >= ? AND idx < ? ORDER BY idx",  # noqa: S608 — constant
            (start, start + count),
        )
        return [entry_of(row) for row in rows]

    def grants(self, since: float) -> list[float]:
        """Return when grants were given after `since`, as often as there were attempts, all at the time of the last."""
        found = self._db.execute(
            "SELECT granted_at, max(attempts, 1) FROM bulk_rows WHERE granted_at > ? ORDER BY granted_at", (since,)
        )
        return [granted for granted, attempts in found for _ in range(attempts)]

    def accepted_ids(self, channel: Channel, count: int) -> list[str]:
        """Return ids of up to `count` accepted rows, half of them the first and half the last ones."""
        wanted = "SELECT message_id FROM bulk_rows WHERE state = 'accepted' AND channel = ? ORDER BY idx"
        first = self._db.execute(f"{wanted} LIMIT ?", (channel.value, count // 2))
        last = self._db.execute(f"{wanted} DESC LIMIT ?", (channel.value, count - count // 2))
        return list(dict.fromkeys(message_id for (message_id,) in [*first, *last]))

    def rows_from(self, index: int) -> int:
        """Count the rows from `index` on."""
        ((rows,),) = self._db.execute("SELECT count(*) FROM bulk_rows WHERE idx >= ?", (index,))
        return int(rows)


def _misuse(write: Write) -> str:
    if write.statement is FINISH:
        return f"row {write.row} of the journal is not in flight: begin it first"
    return f"row {write.row} of the journal is final, or has another id or content: it cannot begin again"
