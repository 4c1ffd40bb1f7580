"""The file: its tables, and how it is opened."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from ....errors import ConfigurationError

__all__ = ["LEASED", "READY", "WAITING", "connect"]

READY, LEASED, WAITING = 0, 1, 2
"""States of a run: to be taken when due; being run; behind the head of its lane."""

_CHECKPOINT = 250
"""Pages of the write-ahead log after which they are copied into the file, for which a commit waits.

Each event changes another page of the index of identities. In a large file the pages of a step are all different, so
that a larger step saves nothing and makes that commit take longer: with a million events, 250 instead of SQLite's 1,000
halved the 99th percentile of acknowledgements. A small file is as fast with either.
"""

_APPLICATION_ID = 0x516C6149  # "QlaI"
_VERSION = 1

# `events` is the dedup mark and the stored event in one row. `runs` has only unfinished work: finishing deletes, so
# that the common case touches one tree. `heads` is what keeps a lane to one run at a time, whatever a process thinks.
_TABLES = """
CREATE TABLE counters (one INTEGER PRIMARY KEY CHECK (one = 1), next_event INTEGER NOT NULL, pending INTEGER NOT NULL);
INSERT INTO counters VALUES (1, 1, 0);
CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    key BLOB NOT NULL,
    digest BLOB NOT NULL,
    short INTEGER NOT NULL,
    expires REAL NOT NULL,
    received REAL NOT NULL,
    conflict INTEGER NOT NULL,
    quarantined INTEGER NOT NULL,
    kind TEXT NOT NULL,
    payload BLOB NOT NULL
);
CREATE UNIQUE INDEX identities ON events (key, digest);
CREATE INDEX short_lived ON events (expires) WHERE short = 1;
CREATE INDEX quarantine ON events (id) WHERE quarantined = 1;
CREATE TABLE handlers (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE runs (
    event INTEGER NOT NULL,
    handler INTEGER NOT NULL,
    lane BLOB,
    state INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    token INTEGER NOT NULL,
    due REAL NOT NULL,
    owner INTEGER,
    failed_at REAL,
    PRIMARY KEY (event, handler)
) WITHOUT ROWID;
CREATE INDEX ready ON runs (handler, due, event) WHERE state = 0;
CREATE UNIQUE INDEX heads ON runs (handler, lane) WHERE lane IS NOT NULL AND state < 2;
CREATE INDEX queues ON runs (handler, lane, event) WHERE state = 2;
CREATE TABLE dead (
    event INTEGER NOT NULL,
    handler INTEGER NOT NULL,
    lane BLOB,
    attempts INTEGER NOT NULL,
    error TEXT NOT NULL,
    died REAL NOT NULL,
    PRIMARY KEY (event, handler)
) WITHOUT ROWID;
CREATE TABLE owners (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, beats INTEGER NOT NULL)
"""
# Not in version 1 from the beginning: older packages leave it alone.
_LATER = """CREATE TABLE IF NOT EXISTS held (
    id INTEGER PRIMARY KEY AUTOINCREMENT, owner INTEGER NOT NULL, kind TEXT NOT NULL, payload BLOB NOT NULL
)"""


def connect(path: Path, *, busy_timeout: float) -> sqlite3.Connection:
    """Open the file, make its tables if it has none, and set it up for durable group commits.

    Raises:
        ConfigurationError: it is the file of something else, or of another version.
        sqlite3.Error: it cannot be opened or written.
    """
    db = sqlite3.connect(path, timeout=busy_timeout, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT}")
        db.execute("BEGIN IMMEDIATE")
        _check_or_create(db, path)
        db.execute(_LATER)
        db.execute("COMMIT")
    except BaseException:
        db.close()
        raise
    return db


def _check_or_create(db: sqlite3.Connection, path: Path) -> None:
    ((application,),) = db.execute("PRAGMA application_id")
    ((version,),) = db.execute("PRAGMA user_version")
    ((tables,),) = db.execute("SELECT count(*) FROM sqlite_master")
    if application == 0 and tables == 0:
        for statement in _TABLES.split(";"):
            db.execute(statement)
        db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {_VERSION}")
        return
    if application != _APPLICATION_ID:
        raise ConfigurationError(f"{path} is not an inbox: give SqliteInbox a path of its own")
    if version != _VERSION:
        raise ConfigurationError(
            f"the inbox {path} has version {version} of the format and this package reads {_VERSION}: "
            "empty it with the version of the package that filled it"
        )
