"""Whether another process is alive: it holds a lock that the kernel lets go when it dies, however it dies.

A lock tells of death at once, and never wrongly; a clock could do neither. What it cannot tell is a process that is
frozen: that is what the heartbeats are for.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

if sys.platform != "win32":
    import fcntl

__all__ = ["Presence"]


class Presence:
    """A lock file of one owner, next to the inbox.

    Where there is no ``flock`` (Windows), nobody is ever known to be dead, and heartbeats alone decide.

    Args:
        inbox: the path of the inbox.
        name: of the owner.
    """

    def __init__(self, inbox: Path, name: str) -> None:
        self._path = _lock_file(inbox, name)
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if sys.platform != "win32":
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def end(self, *, orderly: bool) -> None:
        """Let go of the lock; its file stays, as the sign of a death, unless the end was orderly."""
        if orderly:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
        os.close(self._file)

    @staticmethod
    def is_dead(inbox: Path, name: str) -> bool:
        """Tell whether the owner has certainly died. A file that is gone proves nothing."""
        if sys.platform == "win32":
            return False
        try:
            file = os.open(_lock_file(inbox, name), os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        finally:
            os.close(file)
        return True

    @staticmethod
    def forget(inbox: Path, name: str) -> None:
        """Remove what a dead owner left."""
        with contextlib.suppress(OSError):
            _lock_file(inbox, name).unlink(missing_ok=True)


def _lock_file(inbox: Path, name: str) -> Path:
    return inbox.with_name(f"{inbox.name}-owner-{name}")
