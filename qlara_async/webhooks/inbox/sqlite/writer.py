"""The writer thread: what arrives while a commit runs forms the next one."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import Enum
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

from ....errors import InboxError, QlaraError
from ....loggers import webhooks_logger
from ....sqlite_reasons import reason_of
from .entries import End, Incoming, Leased, Outcome, Snapshot
from .store import Store

__all__ = ["Writer"]

Answers: TypeAlias = list[tuple[asyncio.Future[Any], object]]
Deliver: TypeAlias = Callable[[Answers, Sequence[Leased], Snapshot], None]


class _Put:
    __slots__ = ("future", "rows")

    def __init__(self, rows: Sequence[Incoming], future: asyncio.Future[Any]) -> None:
        self.rows = rows
        self.future = future


class _Call:
    __slots__ = ("future", "work")

    def __init__(self, work: Callable[[Store], object] | None, future: asyncio.Future[Any] | None) -> None:
        self.work = work
        self.future = future


class _Wake(Enum):
    """Look for work at once; or write what has ended, soon."""

    NOW = 0
    SOON = 1


_Job: TypeAlias = _Put | _Call | _Wake

_PATIENCE = 0.01
_MANY = 24


class Writer:
    """Runs a store on a thread for one event loop, which never waits for the disk.

    Room for work is counted by two numbers, each written by one side only: ``granted`` by the loop, ``used`` by the
    thread.

    Args:
        store: used by the thread only.
        loop: the one that is told.
        deliver: told, on the loop, after each group: answers, work leased, and the state of the store.

    Attributes:
        patience: seconds for which the end of a run may wait for a group to go with, when no work waits for it. The
            thread keeps this time: a handler that keeps the loop busy, or dies of it, must not hold up what ended
            before it.
    """

    def __init__(self, store: Store, loop: asyncio.AbstractEventLoop, deliver: Deliver) -> None:
        self._store = store
        self._loop = loop
        self._deliver = deliver
        self._queue: SimpleQueue[_Job] = SimpleQueue()
        self._arriving: deque[End] = deque()
        self._ends: list[End] = []
        self._ended = 0
        self._awaited = False
        self._running = True
        self._closing = False
        self._trouble: str | None = None
        self._failed = False
        self.patience = _PATIENCE
        self.granted = 0
        self.used = 0
        self.hungry = False

    def start(self) -> asyncio.Future[Any]:
        """Start the thread and open the store. If that fails, the thread ends."""
        opened: asyncio.Future[Any] = self._loop.create_future()
        # A daemon: a program that ends without closing must not hang. What was answered is on the disk.
        threading.Thread(target=self._run, args=(opened,), name="qlara-inbox", daemon=True).start()
        return opened

    def put(self, rows: Sequence[Incoming]) -> asyncio.Future[Any]:
        """Write a batch with the next group.

        Raises:
            InboxError: it is closed, as `call` does.
        """
        future = self._future()
        self._queue.put(_Put(rows, future))
        return future

    def end(self, end: End) -> None:
        """Write the end of a run with the next group; if that fails, with the one after.

        Nobody waits for it, unless work waits that may be leased then: a transaction of its own would only hold up the
        callbacks that come next.
        """
        self._arriving.append(end)
        if self._awaited:
            self.wake()
        elif len(self._arriving) == 1:  # else the thread knows: it takes them all at once
            self._queue.put(_Wake.SOON)

    def call(self, work: Callable[[Store], object]) -> asyncio.Future[Any]:
        """Do something else after the next group."""
        future = self._future()
        self._queue.put(_Call(work, future))
        return future

    def wake(self, work: Callable[[Store], object] | None = None) -> None:
        """Do something without an answer, or only look for work."""
        self._queue.put(_Wake.NOW if work is None else _Call(work, None))

    def close(self, *, abandon: bool = False) -> asyncio.Future[Any]:
        """Close the store after everything before it, and end the thread."""
        closed = self.call(self._abandon if abandon else self._close)
        self._closing = True
        return closed

    def _future(self) -> asyncio.Future[Any]:
        if self._closing:
            raise InboxError("the inbox is closed")
        return self._loop.create_future()

    def _run(self, opened: asyncio.Future[Any]) -> None:
        try:
            self._store.open()
        except Exception as error:
            self._tell([(opened, self._public(error))], [], Snapshot(trouble="unavailable"))
            return
        self._tell([(opened, None)], [], self._store.snapshot())
        while self._running:
            self._turn(self._next_group())

    def _next_group(self) -> list[_Job]:
        group: list[_Job] = []
        if not self._has_more():
            group.append(self._queue.get())
            with suppress(Empty):  # the time is over
                self._wait_for_company(group)
        group += [self._queue.get_nowait() for _ in range(self._share_of_those_waiting())]
        return group

    def _share_of_those_waiting(self) -> int:
        """Take half of many, so that the loop can go on with their answers while the others are written.

        With all of them loop and thread would take turns, each waiting for the other. But a group that is not plain
        needs the interpreter so often that they would be in each other's way.
        """
        waiting = self._queue.qsize()
        return waiting // 2 if self._store.plain and waiting >= _MANY else waiting

    def _wait_for_company(self, group: list[_Job]) -> None:
        until = time.monotonic() + self.patience
        while group[-1] is _Wake.SOON and (left := until - time.monotonic()) > 0:
            group.append(self._queue.get(timeout=left))

    def _has_more(self) -> bool:
        if self._trouble is not None:
            return False  # until something, if only the clock, asks to try again
        return self._store.cleaning or (self._wants_work() and self.granted > self.used)

    def _wants_work(self) -> bool:
        self.hungry = self._store.leasing and self._store.runs.backlog
        return self.hungry

    def _turn(self, group: list[_Job]) -> None:
        self._failed = False
        puts: list[_Put] = []
        calls: list[_Call] = []
        for job in group:
            if isinstance(job, _Put):
                puts.append(job)
            elif isinstance(job, _Call):
                calls.append(job)
        while self._arriving:
            self._ends.append(self._arriving.popleft())
        answers: Answers = []
        work: list[Leased] = []
        if puts or self._ends or self._store.cleaning or (self._wants_work() and self.granted > self.used):
            try:
                outcome = self._commit(puts)
                answers = [(put.future, verdicts) for put, verdicts in zip(puts, outcome.batches, strict=True)]
                work = outcome.work
            except Exception as error:  # whatever it is, those who wait must not wait for ever
                self._fail(error)
                answers = [(put.future, self._public(error)) for put in puts]
        for call in calls:
            answer = self._called(call)
            if call.future is not None:
                answers.append((call.future, answer))
        if self._trouble is not None and self._running and not self._failed:
            self._probe()  # of what has just failed it would tell nothing: less may fit where more does not
        self._tell(answers, work, self._snapshot() if self._running else Snapshot(trouble="closed"))

    def _commit(self, puts: list[_Put]) -> Outcome:
        outcome = self._store.commit([put.rows for put in puts], self._ends, self.granted - self.used)
        self._ended += len(self._ends)
        self._ends = []
        self._trouble = None
        self.used += len(outcome.work)
        self._awaited = self._store.pending > self.used - self._ended
        return outcome

    def _called(self, call: _Call) -> object:
        try:
            result = call.work(self._store) if call.work else None
        except Exception as error:
            self._fail(error)
            return self._public(error)
        return result

    def _close(self, store: Store) -> None:
        self._running = False
        store.close(self._ends)

    def _abandon(self, store: Store) -> None:
        self._running = False
        store.abandon()

    def _probe(self) -> None:
        """See whether the store can be written again."""
        try:
            self._store.probe()
            self._trouble = None
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if self._trouble is None:
            webhooks_logger.error("the inbox cannot be written: %s", reason_of(error))
        self._trouble = "inbox unavailable"
        self._failed = True

    def _snapshot(self) -> Snapshot:
        try:
            return self._store.snapshot(self._trouble)
        except sqlite3.Error as error:
            self._fail(error)
            return Snapshot(trouble=self._trouble)

    def _tell(self, answers: Answers, work: Sequence[Leased], snapshot: Snapshot) -> None:
        try:
            self._loop.call_soon_threadsafe(self._deliver, answers, work, snapshot)
        except RuntimeError:  # the loop is closed: nobody waits any more
            if self._running:
                self._running = False
                self._store.abandon()

    def _public(self, error: Exception) -> QlaraError:
        if isinstance(error, QlaraError):
            return error
        public = InboxError(f"the inbox {self._store.path} cannot be used: {reason_of(error)}")
        public.__cause__ = error
        return public
