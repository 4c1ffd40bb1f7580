"""Runs: the unfinished work, from its lease to its end. Every method is a part of the writer's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import msgspec

from . import bulk
from .codec import unpack
from .entries import End, Leased, Policy
from .places import Room
from .schema import LEASED, READY, WAITING

__all__ = ["NewRun", "Runs"]

PROCESS_DIED = "ProcessDied"

NewRun: TypeAlias = tuple[int, int, bytes | None]
"""Event, handler, lane."""

_ADD = """INSERT INTO runs (event, handler, lane, state, attempts, token, due, owner)
SELECT * FROM (VALUES {rows}) WHERE column1 > 0"""
_HEADS = """WITH asked (handler, lane) AS (VALUES {rows})
SELECT r.handler, r.lane FROM asked CROSS JOIN runs AS r ON r.handler = asked.handler AND r.lane = asked.lane
WHERE r.lane IS NOT NULL AND r.state < 2"""
# The tables of values stand inside: of a statement that begins with WITH, sqlite3 does not count the rows.
_FINISH = """DELETE FROM runs WHERE (event, handler) IN (WITH lease (event, handler, token) AS (VALUES {rows})
SELECT r.event, r.handler FROM lease CROSS JOIN runs AS r
ON r.event = lease.event AND r.handler = lease.handler AND r.token = lease.token AND r.state = 1)"""
_PROMOTE = """UPDATE runs SET state = 0, due = 0 WHERE (event, handler) IN (
WITH left (handler, lane) AS (VALUES {rows})
SELECT (SELECT r.event FROM runs AS r WHERE r.handler = left.handler AND r.lane = left.lane AND r.state = 2
ORDER BY r.event LIMIT 1), left.handler FROM left WHERE NOT EXISTS (SELECT 1 FROM runs AS r
WHERE r.handler = left.handler AND r.lane = left.lane AND r.lane IS NOT NULL AND r.state < 2))"""
_DUE = """SELECT r.event, r.attempts, r.token, r.lane, e.kind, e.payload, e.conflict
FROM runs AS r JOIN events AS e ON e.id = r.event
WHERE r.handler = ? AND r.state = 0 AND r.due <= ? ORDER BY r.due, r.event LIMIT ?"""
_LEASE = """UPDATE runs SET state = 1, attempts = attempts + 1, token = token + 1, owner = ?
WHERE (event, handler) IN (WITH due (event, handler) AS (VALUES {rows})
SELECT r.event, r.handler FROM due CROSS JOIN runs AS r ON r.event = due.event AND r.handler = due.handler)"""
_RELEASE = f"""UPDATE runs SET state = {READY}, attempts = attempts - 1, due = ?, owner = NULL
WHERE event = ? AND handler = ? AND token = ? AND state = {LEASED}"""  # noqa: S608
_BURY = """INSERT OR REPLACE INTO dead (event, handler, lane, attempts, error, died)
SELECT event, handler, ?, attempts, ?, ? FROM runs WHERE event = ? AND handler = ?"""


class Runs:
    """The table of runs.

    Attributes:
        change: by how much the number of runs has changed in this transaction.
        lost: ends refused in this transaction, because the lease was lost.
        buried: whether this transaction gave work up.
        backlog: there may be work that is due and not leased. False only when that was looked up.
    """

    def __init__(self, db: sqlite3.Connection, policy: Policy, random: Callable[[], float]) -> None:
        self._db = db
        self._policy = policy
        self._random = random
        self.change = self.lost = 0
        self.buried = False
        self.backlog = True
        self._turn = 0

    def begin(self) -> None:
        """Begin a transaction's counts."""
        self.change = self.lost = 0
        self.buried = False

    def add(
        self, new: Sequence[NewRun], *, owner: int | None, free: int, now: float, room: Room, leases: int = 0
    ) -> set[tuple[int, int]]:
        """Add runs, and lease up to ``free`` of them at once if nothing older waits. Return which.

        ``leases`` tells how often they were leased before: not at all, unless they are replayed.
        """
        if self.backlog or owner is None:
            free = 0
        heads = self._heads((handler, lane) for _, handler, lane in new if lane is not None)
        leased: set[tuple[int, int]] = set()
        rows: list[tuple[int, int, bytearray | None, int, int, int, float, int | None]] = []
        for event, handler, name in new:
            lane = None if name is None else bytearray(name)
            if name is not None:
                if (handler, name) in heads:
                    rows.append((event, handler, lane, WAITING, 0, leases, now, None))
                    continue
                heads.add((handler, name))
            has_room = room.get(handler, 1) > 0
            if len(leased) < free and has_room:
                leased.add((event, handler))
                _use(room, handler, 1)
                rows.append((event, handler, lane, LEASED, 1, leases + 1, now, owner))
            else:
                self.backlog |= has_room  # else the end of another of its runs makes it due
                rows.append((event, handler, lane, READY, 0, leases, now, None))
        bulk.run(self._db, _ADD, rows)
        self.change += len(rows)
        return leased

    def finish(self, works: Sequence[Leased]) -> None:
        """Delete runs that ended well; those whose lease was lost are somebody else's, and are only counted."""
        done = bulk.run(self._db, _FINISH, [(work.ticket, work.handler_id, work.token) for work in works])
        self.change -= done
        self.lost += len(works) - done
        self._promote([(work.handler_id, work.lane) for work in works])

    def fail(self, end: End, now: float) -> None:
        """Put a failed run off, or give it up after its last attempt."""
        work = end.work
        row = self._db.execute(
            "SELECT attempts, failed_at, lane FROM runs WHERE event = ? AND handler = ? AND token = ? AND state = 1",
            (work.ticket, work.handler_id, work.token),
        ).fetchone()
        if row is None:
            self.lost += 1
            return
        attempts, failed_at, lane = row
        if attempts >= self._policy.max_attempts:
            self._bury(work.ticket, work.handler_id, lane, end.error or "", now)
            return
        self._put_off(work.ticket, work.handler_id, lane, failed_at or now, now, now + self._wait(attempts))

    def drop(self, event: int) -> int:
        """Delete what is left of an event, and let those behind it in its lanes go on; return how many runs it had."""
        left = self._db.execute("SELECT handler, lane FROM runs WHERE event = ?", (event,)).fetchall()
        self._db.execute("DELETE FROM runs WHERE event = ?", (event,))
        self.change -= len(left)
        self._promote(left)
        return len(left)

    def lease(
        self, handlers: Sequence[tuple[int, str]], *, owner: int, free: int, now: float, room: Room
    ) -> list[Leased]:
        """Lease what is due, at most ``free`` runs, the handlers taking turns at being first."""
        taken: list[Leased] = []
        self._turn += 1
        start = self._turn % len(handlers) if handlers else 0
        for number, name in (*handlers[start:], *handlers[:start]):
            if len(taken) >= free:
                break
            limit = min(free - len(taken), room.get(number, free))
            if limit > 0:
                leased = self._lease(number, name, owner, limit, now)
                _use(room, number, len(leased))
                taken += leased
        self.backlog = len(taken) >= free
        return taken

    def next_due(self, handlers: Sequence[tuple[int, str]], room: Room) -> float | None:
        """Tell when the next run falls due that could be leased then."""
        dues = [
            self._db.execute("SELECT min(due) FROM runs WHERE handler = ? AND state = 0", (number,)).fetchone()[0]
            for number, _ in handlers
            if room.get(number, 1) > 0
        ]
        return min((due for due in dues if due is not None), default=None)

    def release(self, works: Iterable[Leased], now: float) -> None:
        """Give leases back unused: the attempt does not count."""
        self._db.executemany(_RELEASE, [(now, work.ticket, work.handler_id, work.token) for work in works])

    def release_all(self, owner: int, now: float) -> None:
        """Give back all leases of an owner that leaves in an orderly way."""
        self._db.execute(
            "UPDATE runs SET state = 0, attempts = attempts - 1, due = ?, owner = NULL WHERE owner = ? AND state = 1",
            (now, owner),
        )

    def unstick(self, handlers: Sequence[tuple[int, str]], now: float) -> None:
        """Let nothing wait longer than its wait, as it would after the clock was set back."""
        for number, _ in handlers:
            self.backlog |= bool(
                self._db.execute(
                    "UPDATE runs SET due = ? WHERE handler = ? AND state = 0 AND due > ? AND (attempts = 0 OR due > ?)",
                    (now, number, now, now + self._policy.max_retry_wait),
                ).rowcount
            )

    def reclaim(self, owner: int, now: float) -> None:
        """Take the leases of a dead owner away.

        Its first death does a run no harm. One that was running at an earlier death, too, may be what kills: it waits
        as if it had failed, so that those next to it get by, and it is given up in the end.
        """
        for event, handler, lane, attempts, failed_at in self._db.execute(
            "SELECT event, handler, lane, attempts, failed_at FROM runs WHERE owner = ? AND state = 1", (owner,)
        ).fetchall():
            if attempts >= self._policy.max_attempts:
                self._bury(event, handler, lane, PROCESS_DIED, now)
                continue
            due = now if attempts == 1 else now + self._wait(attempts - 1)
            self._put_off(event, handler, lane, failed_at or now, now, due)

    def _lease(self, handler: int, name: str, owner: int, limit: int, now: float) -> list[Leased]:
        rows = self._db.execute(_DUE, (handler, now, limit)).fetchall()
        bulk.run(self._db, _LEASE, [(row[0], handler) for row in rows], owner)
        leased = []
        for event, attempts, token, lane, kind, payload, conflict in rows:
            try:
                decoded = unpack(kind, payload, conflict=bool(conflict))
            except (msgspec.MsgspecError, KeyError, TypeError, ValueError) as error:
                self._bury(event, handler, lane, type(error).__name__, now)
                continue
            leased.append(
                Leased(
                    decoded,
                    name,
                    event,
                    attempts + 1,
                    lane,
                    last=attempts + 1 >= self._policy.max_attempts,
                    redelivered=token > 0,
                    handler_id=handler,
                    token=token + 1,
                )
            )
        return leased

    def _put_off(self, event: int, handler: int, lane: bytes | None, failed_at: float, now: float, due: float) -> None:
        leaves = lane is not None and due - failed_at > self._policy.max_lane_block
        self._db.execute(
            "UPDATE runs SET state = 0, due = ?, owner = NULL, failed_at = ?, lane = ? WHERE event = ? AND handler = ?",
            (due, failed_at, None if leaves else lane, event, handler),
        )
        self.backlog = True
        if leaves:
            self._promote([(handler, lane)])

    def _bury(self, event: int, handler: int, lane: bytes | None, error: str, now: float) -> None:
        self._db.execute(_BURY, (lane, error, now, event, handler))
        self._db.execute("DELETE FROM runs WHERE event = ? AND handler = ?", (event, handler))
        self.change -= 1
        self.buried = True
        self._promote([(handler, lane)])

    def _heads(self, lanes: Iterable[tuple[int, bytes]]) -> set[tuple[int, bytes]]:
        """Tell which of these lanes have a run at their head."""
        asked = [(handler, bytearray(lane)) for handler, lane in set(lanes)]
        statements = bulk.padded(_HEADS, asked)
        return {head for statement, values in statements for head in self._db.execute(statement, values)}

    def _promote(self, lanes: Iterable[tuple[int, bytes | None]]) -> None:
        """Let the next of each lane that has lost its head become it, due before what is new: it has waited."""
        left = [(handler, bytearray(lane)) for handler, lane in lanes if lane is not None]
        if bulk.run(self._db, _PROMOTE, left):
            self.backlog = True

    def _wait(self, attempts: int) -> float:
        """Double with each attempt, and take between half and all of that."""
        longest = min(self._policy.max_retry_wait, self._policy.retry_wait * 2.0 ** (attempts - 1))
        return longest * (1.0 + self._random()) / 2.0


def _use(room: Room, handler: int, count: int) -> None:
    if handler in room:
        room[handler] -= count
