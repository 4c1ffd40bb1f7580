"""Processes that lease: how they show that they live, and who takes up what they leave."""

from __future__ import annotations

import secrets
import sqlite3
from pathlib import Path

from ....loggers import webhooks_logger
from .entries import Policy
from .presence import Presence
from .runs import Runs

__all__ = ["Owners"]


class Owners:
    """The table of owners.

    An owner is dead when the kernel has let go of its lock, and counts as dead when others have seen no heartbeat for
    two thirds of a lease, by their own monotonic clocks: no clock of the wall is trusted, and no silence that was heard
    by one who could not write himself. Its row is then removed, so that it learns of it, should it only have been
    frozen, before it leases anything else.

    Attributes:
        last: the number of this process when it was last looked up.
    """

    def __init__(self, db: sqlite3.Connection, path: Path, policy: Policy, runs: Runs) -> None:
        self._db = db
        self._path = path
        self._patience = policy.lease * 2.0 / 3.0
        self._longest_gap = policy.lease / 2.0
        self._runs = runs
        self._seen: dict[int, tuple[int, float]] = {}
        self._swept = 0.0
        self._presence: Presence | None = None
        self._name = secrets.token_hex(8)
        self._joined = False
        self.last: int | None = None

    def join(self) -> None:
        """Become an owner. The lock comes first: an owner without one would look dead."""
        if self._presence is None:
            self._presence = Presence(self._path, self._name)
        self.number()
        self._joined = True

    def number(self) -> int:
        """Return the number under which this process leases: another one if it was taken for dead meanwhile.

        Nobody looks after leases under a number that is not in the table. A part of the transaction that leases.
        """
        row = self._db.execute("SELECT id FROM owners WHERE name = ?", (self._name,)).fetchone()
        if row is not None:
            self.last = int(row[0])
            return self.last
        if self._joined:
            webhooks_logger.warning("this process was taken for dead: its leases were lost")
        self.last = self._db.execute("INSERT INTO owners (name, beats) VALUES (?, 0)", (self._name,)).lastrowid or 0
        return self.last

    def beat(self, monotonic: float, now: float) -> None:
        """Renew all leases of this process, and look after the others."""
        if self._joined:
            self._db.execute("UPDATE owners SET beats = beats + 1 WHERE id = ?", (self.number(),))
            self.sweep(monotonic, now)

    def sweep(self, monotonic: float, now: float) -> None:
        """Take the leases of dead owners away."""
        if monotonic - self._swept > self._longest_gap:
            self._seen.clear()  # this process was kept from it: so may have been the others from their heartbeats
        self._swept = monotonic
        others = self._db.execute("SELECT id, name, beats FROM owners WHERE name <> ?", (self._name,)).fetchall()
        self._seen = {number: self._seen[number] for number, _, _ in others if number in self._seen}
        for number, name, beats in others:
            if not self._is_dead(number, name, beats, monotonic):
                continue
            self._runs.reclaim(number, now)
            self._db.execute("DELETE FROM owners WHERE id = ?", (number,))
            self._seen.pop(number, None)

    def leave(self, now: float) -> None:
        """Give all leases back."""
        row = self._db.execute("SELECT id FROM owners WHERE name = ?", (self._name,)).fetchone()
        if row is not None:
            self._runs.release_all(row[0], now)
            self._db.execute("DELETE FROM owners WHERE id = ?", row)

    def disappear(self, *, orderly: bool) -> None:
        """Let go of the lock."""
        if self._presence is not None:
            self._presence.end(orderly=orderly)
            self._presence = None

    def _is_dead(self, number: int, name: str, beats: int, monotonic: float) -> bool:
        if Presence.is_dead(self._path, name):
            Presence.forget(self._path, name)
            return True
        last, since = self._seen.setdefault(number, (beats, monotonic))
        if last != beats:
            self._seen[number] = (beats, monotonic)
            return False
        return monotonic - since >= self._patience
