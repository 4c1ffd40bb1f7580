"""One job at a time on one journal: a lock file that the kernel lets go when its process dies, however it dies."""

from __future__ import annotations

import os
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from ...errors import ConfigurationError, JournalLockedError, JournalWriteError

if sys.platform != "win32":
    import fcntl

__all__ = ["JournalLock"]


class _Holder(msgspec.Struct):
    pid: int
    host: str
    since: float


class JournalLock:
    """An exclusive ``flock`` on ``<journal>.lock``, which names its holder.

    Args:
        path: of the journal.
    """

    def __init__(self, path: Path) -> None:
        self._journal = path
        self._path = path.with_name(path.name + ".lock")
        self._file: int | None = None

    def acquire(self, now: float) -> None:
        """Take the lock, without waiting; `now` is in seconds since the epoch.

        Raises:
            JournalLockedError: somebody has it.
            JournalWriteError: the lock file cannot be made or locked.
            ConfigurationError: on a platform without POSIX file locks.
        """
        if sys.platform == "win32":
            raise ConfigurationError("a journal needs POSIX file locks, which this platform does not have")
        try:
            while self._file is None:
                self._file = self._locked()
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, msgspec.json.encode(_Holder(os.getpid(), socket.gethostname(), now)), 0)
        except OSError as error:
            self._let_go()
            raise JournalWriteError(
                f"the lock file {self._path} cannot be written ({error.strerror}): "
                "give a path in a directory on a local disk that exists and may be written to"
            ) from error

    def release(self) -> None:
        """Let go of the lock and remove its file. Without effect if it is not held."""
        if self._file is not None:
            # Removed while it is held: who opens it now finds, once it has the lock, that it is not the file any more.
            self._path.unlink(missing_ok=True)
            self._let_go()

    def _let_go(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _locked(self) -> int | None:
        """Return the locked file; ``None`` if its holder removed it meanwhile."""
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file), self._path.stat()):
                return file
        except BlockingIOError as error:
            refusal = self._refusal(os.pread(file, 4096, 0))
            os.close(file)
            raise refusal from error
        except FileNotFoundError:
            os.close(file)
            return None
        except OSError:
            os.close(file)
            raise
        os.close(file)
        return None

    def _refusal(self, text: bytes) -> JournalLockedError:
        advice = "wait until it ends, or give this job a journal of its own"
        try:
            holder = msgspec.json.decode(text, type=_Holder)
        except msgspec.MsgspecError:  # it has the lock, but has not written its name yet
            return JournalLockedError(f"the journal {self._journal} is in use by another process: {advice}")
        since = datetime.fromtimestamp(holder.since, UTC).isoformat(sep=" ", timespec="seconds")
        return JournalLockedError(
            f"the journal {self._journal} is in use by process {holder.pid} on {holder.host} since {since}: {advice}",
            pid=holder.pid,
            host=holder.host,
            since=holder.since,
        )
