"""The store: one transaction for each group. Used by the writer thread only."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from ....clock import Clock
from ....errors import InboxError
from ....loggers import webhooks_logger
from ....models.events import Event, UnknownEvent
from .. import Verdict, fits
from . import bulk
from .entries import Answer, End, Incoming, Leased, Outcome, Policy, Snapshot, was_stored
from .identities import judge, look_up
from .owners import Owners
from .places import Places, Room
from .plain import Counters, PlainGroup, prepare
from .retention import Retention
from .runs import NewRun, Runs
from .schema import connect

__all__ = ["Store"]

_R = TypeVar("_R")

_ADD = "INSERT INTO events SELECT * FROM (VALUES {rows}) WHERE column1 > 0"


class Store:
    """The inbox's file.

    Args:
        path: of the file.
        policy: see there.
        clock: asked for wall and monotonic time.
        random: numbers from 0 to 1, for jitter.
        busy_timeout: seconds to wait for another process's transaction.

    Attributes:
        db: the connection.
        runs: the work.
        leasing: whether work may be leased.
        plain: whether the last group was written by one statement: see `plain`.
    """

    db: sqlite3.Connection
    runs: Runs

    def __init__(
        self, path: Path, policy: Policy, clock: Clock, random: Callable[[], float], busy_timeout: float
    ) -> None:
        self.path = path
        self._policy = policy
        self._clock = clock
        self._random = random
        self._busy_timeout = busy_timeout
        self.leasing = self.plain = False
        self._names: frozenset[str] = frozenset()
        self._handlers: dict[str, int] = {}
        self._handler_names: dict[int, str] = {}
        self._served: list[tuple[int, str]] = []
        self._places = Places()
        self._number = self._pending = 0
        self._oldest: float | None = None
        self._lost = 0
        self._dead = self._quarantined = self._orphaned = 0
        self._recount = True
        self._next_due: float | None = None
        self._version = 0

    def open(self) -> None:
        """Open the file, and make it if there is none."""
        self.db = connect(self.path, busy_timeout=self._busy_timeout)
        try:
            self._file = self.path.stat()
            self._count()
            self._knows_plain = prepare(self.db)
        except BaseException:
            self.db.close()
            raise
        self.runs = Runs(self.db, self._policy, self._random)
        self._owners = Owners(self.db, self.path, self._policy, self.runs)
        self._retention = Retention(self.db, self._policy)

    @property
    def cleaning(self) -> bool:
        """Whether there may be more to delete that has expired."""
        return self._retention.going_on

    @property
    def pending(self) -> int:
        """Runs that are not finished, of all processes, as of the last transaction."""
        return self._pending

    def serve(self, names: Collection[str], limits: Mapping[str, int]) -> None:
        """Take part as an owner of leases, for these handlers, and take up what dead owners left."""
        self._owners.join()
        self.leasing = True
        self._in_transaction(lambda: self._owners.sweep(self._clock.monotonic(), self._clock.time()))
        self.learn(names, limits)
        self._in_transaction(lambda: self.runs.unstick(self._served, self._clock.time()))
        self._report_orphans()

    def learn(self, names: Collection[str], limits: Mapping[str, int]) -> None:
        """Serve these handlers from now on, and lease no more of their runs at once than these limits."""
        if frozenset(names) == self._names:
            return
        self._in_transaction(lambda: [self._handler(name) for name in names])
        self._names = frozenset(names)
        self._served = [(number, name) for name, number in self._handlers.items() if name in self._names]
        self._places.learn({number: limits[name] for number, name in self._served if name in limits})
        self.runs.backlog = self._recount = True

    def commit(self, batches: Sequence[Sequence[Incoming]], ends: Sequence[End], free: int) -> Outcome:
        """Write a group: ends first, then batches, then lease what there is room for.

        Raises:
            sqlite3.Error, InboxError: nothing of it was written.
        """
        if not self.leasing:
            free = 0
        self.plain = False
        outcome = self._write_plainly(batches, ends, free)
        self.plain = outcome is not None
        if outcome is None:
            outcome = self._in_transaction(lambda: self._write(batches, ends, free))
        self._places.returned(end.work for end in ends)
        self._places.took(outcome.work)
        return outcome

    def poll(self, names: Collection[str], limits: Mapping[str, int]) -> None:
        """Notice that another process has written, and handlers registered since."""
        self.learn(names, limits)
        oldest = self.db.execute(
            "SELECT received FROM events WHERE id = (SELECT event FROM runs ORDER BY event LIMIT 1)"
        ).fetchone()
        self._oldest = oldest[0] if oldest else None
        ((version,),) = self.db.execute("PRAGMA data_version")
        if version != self._version:
            self._version = version
            self.look()

    def look(self) -> None:
        """Look for work that is due, with the next group."""
        self.runs.backlog = True

    def stop(self, works: Sequence[Leased]) -> None:
        """Lease no more work, and give these leases back unused."""
        self.leasing = False
        self._in_transaction(lambda: self.runs.release(works, self._clock.time()))
        self._places.returned(works)

    def probe(self) -> None:
        """Write something. Raises what writing raises."""
        self._in_transaction(lambda: self.db.execute("UPDATE counters SET pending = pending + 0"))

    def beat(self) -> None:
        """Show that this process lives, take up what dead ones left, and begin to delete what has expired."""
        self._in_transaction(self._beat)
        self._retention.begin()
        self._recount = True

    def snapshot(self, trouble: str | None = None) -> Snapshot:
        """Describe the state after a group."""
        if self._recount:
            self._count()
        return Snapshot(
            pending=self._pending,
            oldest=self._oldest if self._pending else None,
            dead=self._dead,
            quarantined=self._quarantined,
            orphaned=self._orphaned,
            lost_leases=self._lost,
            next_due=self._next_due,
            trouble=trouble,
        )

    def close(self, ends: Sequence[End] = ()) -> None:
        """Write what has ended, give all other leases back, and close the file."""
        orderly = False
        try:
            self._in_transaction(lambda: self._leave(ends))
            orderly = True
        finally:
            self._owners.disappear(orderly=orderly)
            self.db.close()

    def abandon(self) -> None:
        """Close the file as if the process had died: others will take up what it leaves."""
        self._owners.disappear(orderly=False)
        self.db.close()

    def owner(self) -> int:
        """Return the number of this process among the owners."""
        return self._owners.number()

    def readmit(self, event: int, rows: Sequence[Incoming]) -> Answer | None:
        """Let an event out of quarantine as what it was decoded to, which is judged like any that comes in.

        Returns:
            What a commit answers to a batch, and the event is out if that was stored; ``None`` if it was out before.
        """
        self._recount = True
        return self._in_transaction(lambda: self._readmit(event, rows))

    def write(self, change: Callable[[Store], int]) -> int:
        """Do something else in a transaction."""
        self._recount = self.runs.backlog = True
        return self._in_transaction(lambda: change(self))

    def transact(self, change: Callable[[], _R]) -> _R:
        """Do something in a transaction that concerns neither events nor work."""
        return self._in_transaction(change)

    def _in_transaction(self, work: Callable[[], _R]) -> _R:
        self._check_file()
        runs = self.runs
        runs.begin()
        self.db.execute("BEGIN IMMEDIATE")
        try:
            ((self._number, self._pending),) = self.db.execute("SELECT next_event, pending FROM counters")
            number = self._number
            result = work()
            if runs.change or self._number != number:
                self.db.execute(
                    "UPDATE counters SET next_event = ?, pending = pending + ?", (self._number, runs.change)
                )
            self.db.execute("COMMIT")
        except BaseException:
            # What memory knows of the file may be of the transaction that is undone.
            runs.backlog = True
            self._handlers = {}
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            raise
        self._pending += runs.change
        self._lost += runs.lost
        self._recount |= runs.buried
        return result

    def _write_plainly(self, batches: Sequence[Sequence[Incoming]], ends: Sequence[End], free: int) -> Outcome | None:
        """Write a group by one statement, if it is plain."""
        rows = [row for batch in batches for row in batch]
        owner = self._owners.last
        if owner is None or not self._may_be_plain(rows, ends):
            return None
        group = PlainGroup(rows, ends, self._handlers)
        if group.runs > min(free, self._policy.max_pending - self._pending):
            return None
        self._check_file()
        counters = Counters(self._number, self._pending)
        if not group.insert(self.db, counters, owner, self._clock.time(), self._policy):
            return None
        self._number += len(rows)
        self._pending += group.runs - len(ends)
        work = [
            self._begun(row.event, number, self._handlers[name], row.lane)
            for number, row in enumerate(rows, counters.next_event)
            for name in row.handlers
        ]
        return Outcome([[Verdict.ACCEPTED] * len(batch) for batch in batches], work)

    def _may_be_plain(self, rows: Sequence[Incoming], ends: Sequence[End]) -> bool:
        """Tell whether nothing that is known without the file speaks against it."""
        if not self._knows_plain or self.runs.backlog or self.cleaning or self._places.limited:
            return False
        if any(end.error is not None for end in ends) or any(_is_unreadable(row.event) for row in rows):
            return False
        named = {name for row in rows for name in row.handlers}
        return named <= self._handlers.keys() and len({row.identity.key for row in rows}) == len(rows)

    def _write(self, batches: Sequence[Sequence[Incoming]], ends: Sequence[End], free: int) -> Outcome:
        now = self._clock.time()
        runs = self.runs
        self._end(ends, now)
        owner = self._owners.number() if free else None
        outcome = Outcome([], [])
        room = self._places.left_after(ends)
        runs.backlog |= any(end.work.handler_id in room for end in ends)
        if batches:
            self._put(batches, owner, free, now, outcome, room)
        if owner is not None and runs.backlog and free > len(outcome.work):
            left = free - len(outcome.work)
            outcome.work += runs.lease(self._served, owner=owner, free=left, now=now, room=room)
            self._next_due = None if runs.backlog else runs.next_due(self._served, room)
        if self.cleaning:
            self._recount |= self._retention.clean(now)
        return outcome

    def _end(self, ends: Sequence[End], now: float) -> None:
        if not ends:
            return
        self.runs.finish([end.work for end in ends if end.error is None])
        for end in ends:
            if end.error is not None:
                self.runs.fail(end, now)

    def _leave(self, ends: Sequence[End]) -> None:
        now = self._clock.time()
        self._end(ends, now)
        self._owners.leave(now)

    def _beat(self) -> None:
        now = self._clock.time()
        self._owners.beat(self._clock.monotonic(), now)
        self.runs.unstick(self._served, now)

    def _put(
        self,
        batches: Sequence[Sequence[Incoming]],
        owner: int | None,
        free: int,
        now: float,
        outcome: Outcome,
        room: Room,
    ) -> None:
        """Judge the batches one after the other, and write all that is taken by one statement of each kind."""
        known = look_up(self.db, [row.identity.key for batch in batches for row in batch], now)
        first = number = self._number
        accepted: list[tuple[Incoming, bool]] = []
        new_runs: list[NewRun] = []
        adopted: list[tuple[bytes, int]] = []
        for batch in batches:
            verdicts, news, adopts = judge(batch, known, number)
            unasked = [
                place
                for place, verdict in enumerate(verdicts)
                if verdict is Verdict.CONFLICT and batch[place].if_conflict is None
            ]
            if unasked:
                outcome.batches.append(unasked)
                continue
            taken = [
                (row, verdict is Verdict.CONFLICT)
                for row, verdict in zip(batch, verdicts, strict=True)
                if verdict is not Verdict.DUPLICATE
            ]
            added = [
                (number + place, self._handler(name), row.lane)
                for place, (row, conflict) in enumerate(taken)
                for name in (row.if_conflict or () if conflict else row.handlers)
            ]
            pending = self._pending + self.runs.change + len(new_runs)
            if added and not fits(len(added), pending, self._policy.max_pending):
                outcome.batches.append([Verdict.FULL] * len(batch))
                continue
            outcome.batches.append(verdicts)
            known.update(news)
            adopted += adopts
            accepted += taken
            new_runs += added
            number += len(taken)
        if accepted:
            self._insert(accepted, first, now)
            self._number = number
        if adopted:
            self.db.executemany("UPDATE events SET digest = ? WHERE id = ?", adopted)
        if new_runs:
            leased = self.runs.add(new_runs, owner=owner, free=free, now=now, room=room)
            outcome.work += [
                self._begun(_marked(*accepted[event - first]), event, handler, lane)
                for event, handler, lane in new_runs
                if (event, handler) in leased
            ]

    def _begun(self, event: Event, number: int, handler: int, lane: bytes | None) -> Leased:
        """Return a run with its first lease."""
        return Leased(
            event,
            self._handler_names[handler],
            number,
            lane=lane,
            last=self._policy.max_attempts == 1,
            handler_id=handler,
            token=1,
        )

    def _readmit(self, event: int, rows: Sequence[Incoming]) -> Answer | None:
        held = self.db.execute("SELECT 1 FROM events WHERE id = ? AND quarantined = 1", (event,)).fetchone()
        if held is None:
            return None
        outcome = Outcome([], [])
        self._put([rows], None, 0, self._clock.time(), outcome, {})
        (answer,) = outcome.batches
        if was_stored(answer):
            self.db.execute("UPDATE events SET quarantined = 0 WHERE id = ?", (event,))
        return answer

    def _insert(self, accepted: Sequence[tuple[Incoming, bool]], first: int, now: float) -> None:
        ttl = {"full": self._policy.dedup_ttl, "short": self._policy.short_ttl}
        rows = []
        for number, (row, conflict) in enumerate(accepted, first):
            identity = row.identity
            quarantined = _is_unreadable(row.event)
            self._recount |= quarantined
            rows.append(
                (
                    number,
                    bytearray(identity.key),
                    bytearray(identity.digest),
                    int(identity.ttl == "short"),
                    now + ttl[identity.ttl],
                    now,
                    int(conflict),
                    int(quarantined),
                    row.kind,
                    bytearray(row.payload),
                )
            )
        bulk.run(self.db, _ADD, rows)

    def _handler(self, name: str) -> int:
        number = self._handlers.get(name)
        if number is None:
            self.db.execute("INSERT OR IGNORE INTO handlers (name) VALUES (?)", (name,))
            ((number,),) = self.db.execute("SELECT id FROM handlers WHERE name = ?", (name,))
            self._handlers[name] = number
            self._handler_names[number] = name
        return number

    def _count(self) -> None:
        ((self._dead, self._quarantined, handlers),) = self.db.execute(
            "SELECT (SELECT count(*) FROM dead), (SELECT count(*) FROM events WHERE quarantined = 1), "
            "(SELECT count(*) FROM handlers)"
        )
        self._orphaned = 0
        if handlers > len(self._served):
            ((self._orphaned,),) = self.db.execute(
                "SELECT count(*) FROM runs WHERE handler NOT IN (SELECT value FROM json_each(?))",
                (str([number for number, _ in self._served]),),
            )
        self._recount = False

    def _report_orphans(self) -> None:
        served = {number for number, _ in self._served}
        for number, name, count in self.db.execute(
            "SELECT h.id, h.name, count(*) FROM runs AS r JOIN handlers AS h ON h.id = r.handler GROUP BY h.id"
        ):
            if number not in served:
                webhooks_logger.warning("%d events wait for handler %s, which is not registered", count, name)

    def _check_file(self) -> None:
        """Notice that the file was removed or replaced: SQLite would go on writing to what nobody will find again."""
        try:
            if os.path.samestat(self.path.stat(), self._file):
                return
        except OSError as error:
            raise InboxError(f"the inbox {self.path} is gone") from error
        raise InboxError(f"the inbox {self.path} was replaced by another file")


def _is_unreadable(event: Event) -> bool:
    """Tell whether it is to be quarantined."""
    return isinstance(event, UnknownEvent) and bool(event.reason)


def _marked(row: Incoming, conflict: bool) -> Event:
    return msgspec.structs.replace(row.event, conflict=True) if conflict else row.event
