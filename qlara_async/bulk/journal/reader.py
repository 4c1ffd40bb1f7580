"""Looking into a journal."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal

from ...errors import ApiError, ClientStateError, ConfigurationError, JournalDamagedError, JournalError
from .entry import COLUMNS, Entry, RowState, entry_of
from .schema import check, connect_readonly, read_error

__all__ = ["Journal"]

_CHUNK = 1000
_ENDINGS = ("-wal", "-shm", "-journal", ".lock")
_EXPORTED = ("index", "message_id", "channel", "state", "attempts", "finished_at", "error", "status", "text")


class Journal:
    """A journal open for reading, while a job writes it or afterwards.

    ::

        with Journal.open("campaign.db") as journal:
            print(journal.counts())
            for entry in journal.outcomes("rejected"):
                print(entry.message_id, entry.error)

    Rows are read in chunks: what a running job changes meanwhile shows. No file is made or changed; only ``-shm``, the
    lock table of a running job, is written to, as every reader of SQLite must.
    """

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db: sqlite3.Connection | None = db
        self._path = path

    @classmethod
    def open(cls, path: str | PathLike[str]) -> Journal:
        """Open an existing journal.

        Raises:
            JournalVersionError: it has another version of the format.
            JournalDamagedError: it is damaged, or no journal.
            JournalError: there is none, or it cannot be read.
        """
        resolved = Path(path).resolve()
        if not resolved.is_file():
            raise JournalError(f"there is no journal at {resolved}: check the path")
        try:
            db = connect_readonly(resolved)
        except sqlite3.Error as error:
            raise read_error(error, resolved) from error
        journal = cls(db, resolved)
        try:
            journal._check()
        except BaseException:
            journal.close()
            raise
        return journal

    def _check(self) -> None:
        try:
            is_journal = check(self._open_db(), self._path)
        except sqlite3.Error as error:
            raise read_error(error, self._path) from error
        if not is_journal:
            raise JournalError(f"the journal {self._path} has nothing in it: no job has begun with it")

    def close(self) -> None:
        """Close the file."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def counts(self) -> dict[RowState, int]:
        """Count the rows by state, every state present.

        Raises:
            JournalError: the file cannot be read.
        """
        found = self._rows("SELECT state, count(*) FROM bulk_rows GROUP BY state")
        counts = dict.fromkeys(RowState, 0)
        try:
            counts.update((RowState(state), rows) for state, rows in found)
        except ValueError as error:
            raise JournalDamagedError(f"{self._path} has rows in no known state: restore it from a copy") from error
        return counts

    @property
    def in_flight(self) -> int:
        """Rows that have begun and not finished; with no job running, those that a process left when it died."""
        return self.counts()[RowState.STARTED]

    def outcomes(self, state: RowState | str | None = None) -> Iterator[Entry]:
        """Iterate over the rows in order, those in flight included, or over those in one state.

        Raises:
            ConfigurationError: there is no such state.
            JournalError: the file cannot be read.
        """
        if state is not None and state not in set(RowState):
            raise ConfigurationError(f"state is one of {', '.join(RowState)}")
        return self._entries(None if state is None else str(state))

    def _entries(self, state: str | None) -> Iterator[Entry]:
        wanted = "" if state is None else "AND state = ?"
        select = f"SELECT {COLUMNS} FROM bulk_rows WHERE idx > ? {wanted} ORDER BY idx LIMIT {_CHUNK}"  # noqa: S608 — constants
        after = -1
        while chunk := self._rows(select, after, *([] if state is None else [state])):
            yield from map(entry_of, chunk)
            after = chunk[-1][0]

    def export(self, path: str | PathLike[str], format: Literal["csv", "ndjson"] = "csv") -> int:  # noqa: A002
        """Write all rows to a file, replacing it, in UTF-8; return how many.

        Columns are index, message_id, channel, state, attempts, finished_at (ISO 8601), and of the error its class,
        HTTP status and text. No number and no text of a message is among them: the journal has none.

        Raises:
            ConfigurationError: the format is neither ``csv`` nor ``ndjson``, or `path` is a file of the journal's own.
            JournalError: the journal cannot be read, or the export not be written.
        """
        target = Path(path).resolve()
        if format not in {"csv", "ndjson"}:
            raise ConfigurationError("format is csv or ndjson")
        if target in [self._path, *(self._path.with_name(self._path.name + end) for end in _ENDINGS)]:
            raise ConfigurationError("the export would overwrite the journal: give another path")
        write = _write_csv if format == "csv" else _write_ndjson
        try:
            with target.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
                return write(file, map(_exported, self.outcomes()))
        except OSError as error:
            raise JournalError(f"the export {target} cannot be written ({error.strerror})") from error

    def _rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            with closing(self._open_db().execute(statement, values)) as cursor:
                return cursor.fetchall()
        except sqlite3.Error as error:
            raise read_error(error, self._path) from error

    def _open_db(self) -> sqlite3.Connection:
        if self._db is None:
            raise ClientStateError("the journal is closed")
        return self._db


def _exported(entry: Entry) -> tuple[object, ...]:
    error = entry.error
    finished = None if entry.finished_at is None else datetime.fromtimestamp(entry.finished_at, UTC).isoformat()
    return (
        entry.index,
        entry.message_id,
        entry.channel,
        entry.state.value,
        entry.attempts,
        finished,
        None if error is None else type(error).__name__,
        error.status if isinstance(error, ApiError) else None,
        None if error is None else str(error),
    )


def _write_csv(file: IO[str], rows: Iterator[tuple[object, ...]]) -> int:
    writer = csv.writer(file)
    writer.writerow(_EXPORTED)
    written = 0
    for row in rows:
        writer.writerow(row)
        written += 1
    return written


def _write_ndjson(file: IO[str], rows: Iterator[tuple[object, ...]]) -> int:
    written = 0
    for row in rows:
        file.write(json.dumps(dict(zip(_EXPORTED, row, strict=True)), ensure_ascii=False) + "\n")
        written += 1
    return written
