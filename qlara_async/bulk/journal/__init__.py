"""The journal of a bulk job: one SQLite file that survives ``kill -9`` and lets the job be run again (guarantee G5).

`JournalWriter` is the running job's face, `Journal` is for looking into a file, also while a job runs. A file that no
job has open is a single file; a running job has ``-wal``, ``-shm`` and ``.lock`` files beside it.

Writing needs POSIX file locks: on Windows the package imports and `Journal` reads, but `JournalWriter` refuses to open.
The file must be on a local disk: neither the locks nor SQLite's WAL work over network file systems.
"""

from __future__ import annotations

from .entry import Entry, RowState
from .reader import Journal
from .writer import JournalWriter

__all__ = ["Entry", "Journal", "JournalWriter", "RowState"]
