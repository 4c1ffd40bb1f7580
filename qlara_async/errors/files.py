"""Files of ours that cannot be used: journals, inboxes, stores."""

from __future__ import annotations

from .root import QlaraError

__all__ = [
    "ChainStoreError",
    "InboxError",
    "JournalDamagedError",
    "JournalError",
    "JournalLockedError",
    "JournalMismatchError",
    "JournalVersionError",
    "JournalWriteError",
    "StoreError",
]


class ChainStoreError(QlaraError):
    """The store of fallback chains is in use by another process, is no such file, or cannot be read or written."""


class InboxError(QlaraError):
    """A durable inbox cannot be used: its file is gone, locked, damaged or cannot grow, or it is closed."""


class JournalError(QlaraError):
    """The journal of a bulk job cannot be used. The text says which, why, and what to do."""


class JournalDamagedError(JournalError):
    """The file is damaged, or is no journal at all. It was left as it is."""


class JournalLockedError(JournalError):
    """Another job has the journal open: two on one journal would send twice.

    Attributes:
        pid: the process that has it, if it said.
        host: the machine that process runs on.
        since: when it opened the journal, in seconds since the epoch.
    """

    def __init__(
        self, text: str, *, pid: int | None = None, host: str | None = None, since: float | None = None
    ) -> None:
        super().__init__(text)
        self.pid = pid
        self.host = host
        self.since = since


class JournalMismatchError(JournalError):
    """A row of the source is not the one that the journal has at its place.

    Neither that row nor any later one was sent.

    Attributes:
        index: the row's place in the source, from 0.
    """

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index

    def __str__(self) -> str:
        return (
            f"row {self.index} of the source differs from the journal; neither it nor any later row was sent: "
            "give the source that the journal was begun with, or a new journal"
        )


class JournalVersionError(JournalError):
    """The journal was written by a version of the package with another format. It was left as it is."""


class JournalWriteError(JournalError):
    """The journal cannot be written: disk full, read-only, I/O error, locked by another program, or gone.

    Nothing is sent that is not journalled: put the cause right and run the job again with the same journal and source.
    """


class StoreError(QlaraError):
    """A suppression list or the conversations cannot be used: the file is locked, damaged, full, or something else.

    A send that cannot be checked is not made.
    """
