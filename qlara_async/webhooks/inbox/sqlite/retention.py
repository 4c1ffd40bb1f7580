"""What is deleted when, a few rows at a time."""

from __future__ import annotations

import sqlite3

from .entries import Policy

__all__ = ["Retention"]

_BATCH = 500


class Retention:
    """Deletes finished events after their time, and dead letters and quarantined events after theirs.

    Events of one key go together, when the time of the last is over.

    Events of the long class expire in the order of their numbers, so they are read from the oldest on and no index is
    needed; those of the short class have one.
    """

    def __init__(self, db: sqlite3.Connection, policy: Policy) -> None:
        self._db = db
        self._policy = policy
        self._place: int | None = None

    @property
    def going_on(self) -> bool:
        """Whether there may be more."""
        return self._place is not None

    def begin(self) -> None:
        """Begin another pass, unless one is going on."""
        if self._place is None:
            self._place = 0

    def clean(self, now: float) -> bool:
        """Delete a batch, as a part of the writer's transaction, and tell whether there was anything."""
        rows = self._db.execute(
            "SELECT id, expires, short FROM events WHERE id > ? ORDER BY id LIMIT ?", (self._place or 0, _BATCH)
        ).fetchall()
        expired = [number for number, expires, _ in rows if expires <= now]
        expired += [
            number
            for (number,) in self._db.execute(
                "SELECT id FROM events WHERE short = 1 AND expires <= ? ORDER BY expires LIMIT ?", (now, _BATCH)
            )
        ]
        failed = now - self._policy.keep_failed
        buried = self._db.execute("DELETE FROM dead WHERE died <= ?", (failed,)).rowcount
        self._db.executemany(
            "DELETE FROM events WHERE id = ? AND (quarantined = 0 OR received <= ?) "
            "AND NOT EXISTS (SELECT 1 FROM runs WHERE event = events.id) "
            "AND NOT EXISTS (SELECT 1 FROM dead WHERE event = events.id) "
            "AND NOT EXISTS (SELECT 1 FROM events AS later WHERE later.key = events.key AND later.expires > ?)",
            [(number, failed, now) for number in expired],
        )
        more = len(rows) == _BATCH and not any(expires > now and not short for _, expires, short in rows)
        self._place = rows[-1][0] if more else None
        return bool(buried or expired)
