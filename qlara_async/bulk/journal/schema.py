"""The file: its tables, how it is opened and checked, and what SQLite's errors mean."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from ...errors import JournalDamagedError, JournalError, JournalVersionError, JournalWriteError
from ...sqlite_reasons import reason_of

__all__ = [
    "APPLICATION_ID",
    "SCHEMA_VERSION",
    "check",
    "check_pages",
    "connect",
    "connect_readonly",
    "create",
    "log_of",
    "read_error",
    "write_error",
]

APPLICATION_ID = 0x516C614A  # "QlaJ"
SCHEMA_VERSION = 1

# Rows stay in the order of their index, which is nearly the order they are written in: a group touches few pages.
# Without the rowid it measured the same. Minted ids are not in an index: see `Digests.mint`.
_TABLES = """
CREATE TABLE journal (salt BLOB NOT NULL, created_at REAL NOT NULL);
CREATE TABLE bulk_rows (
    idx INTEGER PRIMARY KEY,
    message_id TEXT,
    own_id INTEGER NOT NULL,
    channel TEXT,
    digest BLOB NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    receipt TEXT,
    error TEXT,
    granted_at REAL,
    written_at REAL NOT NULL
);
CREATE UNIQUE INDEX own_ids ON bulk_rows (message_id) WHERE own_id = 1;
"""


def connect(path: Path, *, timeout: float) -> sqlite3.Connection:
    """Open for reading and writing, making the file if there is none; `timeout` in seconds is that of SQLite's locks.

    Any thread may use the connection, one at a time.
    """
    return sqlite3.connect(
        f"{path.as_uri()}?mode=rwc", uri=True, timeout=timeout, isolation_level=None, check_same_thread=False
    )


def connect_readonly(path: Path) -> sqlite3.Connection:
    """Open an existing file without making, changing or removing any."""
    # A file in WAL mode that has no log is a copy, or was tidied up by another program. SQLite would make the log
    # again and leave it there, unless it is told that nobody writes.
    quiet = "&immutable=1" if _is_wal(path) and not log_of(path).exists() else ""
    return sqlite3.connect(f"{path.as_uri()}?mode=ro{quiet}", uri=True, isolation_level=None, check_same_thread=False)


def log_of(path: Path) -> Path:
    """Return the path of the write-ahead log."""
    return path.with_name(path.name + "-wal")


def _is_wal(path: Path) -> bool:
    """Read the file format versions of the header (SQLite file format §1.3.3): 2 is WAL."""
    if log_of(path).exists():  # it may be open in this process: closing another handle would drop SQLite's locks
        return True
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.pread(file, 2, 18) == b"\x02\x02"
    except OSError:
        return False
    finally:
        os.close(file)


def check(db: sqlite3.Connection, path: Path) -> bool:
    """Say whether the database is a journal (true) or has nothing in it yet.

    Raises:
        JournalDamagedError: it is neither.
        JournalVersionError: it is a journal of another version.
        sqlite3.Error: it cannot be read.
    """
    ((application,),) = db.execute("PRAGMA application_id")
    ((version,),) = db.execute("PRAGMA user_version")
    ((tables,),) = db.execute("SELECT count(*) FROM sqlite_master")
    if application == 0 and tables == 0:
        return False
    if application != APPLICATION_ID:
        raise JournalDamagedError(f"{path} is the database of another application: give the journal another path")
    if version != SCHEMA_VERSION:
        raise JournalVersionError(
            f"the journal {path} has version {version} of the format and this package writes {SCHEMA_VERSION}: "
            "finish the job with the version of the package that began it"
        )
    return True


def check_pages(db: sqlite3.Connection, path: Path) -> None:
    """Check every page of the file.

    Raises:
        JournalDamagedError: something is wrong.
        sqlite3.Error: it cannot be read.
    """
    ((verdict,),) = db.execute("PRAGMA quick_check(1)")
    if verdict != "ok":
        raise _damaged(path)


def create(db: sqlite3.Connection, salt: bytes, now: float) -> None:
    """Make the tables, all or nothing."""
    db.execute("BEGIN IMMEDIATE")
    try:
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        for statement in filter(str.strip, _TABLES.split(";")):
            db.execute(statement)
        db.execute("INSERT INTO journal VALUES (?, ?)", (salt, now))
        db.execute("COMMIT")
    except sqlite3.Error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def write_error(error: BaseException, path: Path) -> JournalError:
    """Say what it means that opening or writing failed."""
    if _is_damage(error):
        return _damaged(path)
    return JournalWriteError(
        f"the journal {path} cannot be written ({reason_of(error)}): put that right and run the job again with the "
        "same journal and source; nothing was sent that it does not know"
    )


def read_error(error: BaseException, path: Path) -> JournalError:
    """Say what it means that reading failed."""
    if _is_damage(error):
        return _damaged(path)
    return JournalError(f"the journal {path} cannot be read ({reason_of(error)}): check the path and its permissions")


def _is_damage(error: BaseException) -> bool:
    return getattr(error, "sqlite_errorname", "").startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT"))


def _damaged(path: Path) -> JournalDamagedError:
    return JournalDamagedError(f"{path} is no journal, or is damaged: restore it from a copy, or give another path")
