"""Why SQLite or the system would not do something with a file, in words for people."""

from __future__ import annotations

__all__ = ["reason_of"]

# By the beginning of SQLite's name of the error: https://www.sqlite.org/rescode.html
_REASONS = {
    "SQLITE_FULL": "the disk is full",
    "SQLITE_READONLY": "it is read-only",
    "SQLITE_PERM": "there is no permission",
    "SQLITE_CANTOPEN": "it cannot be opened: check that its directory is there and may be written to",
    "SQLITE_BUSY": "it is in use by another process",
    "SQLITE_LOCKED": "it is in use by another process",
    "SQLITE_IOERR": "an I/O error",
    "SQLITE_NOTADB": "it is not a database, or damaged",
    "SQLITE_CORRUPT": "it is damaged",
}


def reason_of(error: BaseException) -> str:
    """Return what a ``sqlite3.Error`` or ``OSError`` means; of others the name of the class. Never its text."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    name: str = getattr(error, "sqlite_errorname", "")
    return next((reason for start, reason in _REASONS.items() if name.startswith(start)), name or type(error).__name__)
