"""The durable inbox: events in a file of SQLite, one writer thread, group commit.

``inbox`` is the loop's side, ``writer`` the thread; ``store`` writes a group in one transaction by means of
``identities`` (redelivery or news), ``runs`` (leases and ends), ``owners`` (who lives) and ``retention``.
"""

from __future__ import annotations

from .entries import DeadLetter, Quarantined
from .inbox import SqliteInbox

__all__ = ["DeadLetter", "Quarantined", "SqliteInbox"]
