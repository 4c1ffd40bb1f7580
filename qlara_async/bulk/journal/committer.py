"""The writer thread: what arrives while a commit runs forms the next one."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

from ...errors import JournalError, JournalWriteError, QlaraError
from .schema import write_error
from .statements import Write
from .store import Contents, Store

__all__ = ["Committer"]

_Job: TypeAlias = Write | Callable[[Store], object] | None
"""A row to write, something to ask, or the end."""

_Answers: TypeAlias = list[tuple[asyncio.Future[Any], object]]


class Committer:
    """Runs a store on a thread, for one event loop, which never waits for the disk.

    The first failure to commit is the last: it ends every call that waits and all later ones, so that nothing goes on
    that is not journalled.

    Args:
        store: used by the thread only.
        loop: on which the futures live.
    """

    def __init__(self, store: Store, loop: asyncio.AbstractEventLoop) -> None:
        self._store = store
        self._loop = loop
        self._queue: SimpleQueue[tuple[_Job, asyncio.Future[Any]]] = SimpleQueue()
        self._failure: JournalError | None = None
        self._running = True
        self._thread: threading.Thread | None = None
        self.commits = 0

    def start(self, now: float) -> asyncio.Future[Contents]:
        """Start the thread and open the store. The thread waits for its end also if that fails."""
        opened: asyncio.Future[Contents] = self._loop.create_future()
        # A daemon: a program that ends without closing its journal must not hang. What was committed is on the disk.
        self._thread = threading.Thread(target=self._run, args=(now, opened), name="qlara-journal", daemon=True)
        self._thread.start()
        return opened

    def join(self) -> None:
        """Wait for the thread, which has given its last answer, to be gone."""
        if self._thread is not None:
            self._thread.join()

    def submit(self, job: _Job) -> asyncio.Future[Any]:
        """Hand a job to the thread; ``None`` closes the store after everything before it, and ends the thread."""
        future = self._loop.create_future()
        self._queue.put((job, future))
        return future

    def _run(self, now: float, opened: asyncio.Future[Contents]) -> None:
        try:
            self._answer([(opened, self._store.open(now))])
        except Exception as error:
            self._answer([(opened, error)])
        ends: list[asyncio.Future[Any]] = []
        try:
            while self._running:
                ends = self._serve(self._next_group())
        finally:
            self._store.close()
            self._answer([(end, None) for end in ends])

    def _next_group(self) -> list[tuple[_Job, asyncio.Future[Any]]]:
        group = [self._queue.get()]
        try:
            while True:
                group.append(self._queue.get_nowait())
        except Empty:
            return group

    def _serve(self, group: list[tuple[_Job, asyncio.Future[Any]]]) -> list[asyncio.Future[Any]]:
        """Do a group: first what is to be written, then what is asked. Return who waits for the end."""
        writes: list[Write] = []
        writers: list[asyncio.Future[Any]] = []
        asked: list[tuple[Callable[[Store], object], asyncio.Future[Any]]] = []
        ends: list[asyncio.Future[Any]] = []
        for job, future in group:
            if isinstance(job, Write):
                writes.append(job)
                writers.append(future)
            elif job is None:
                ends.append(future)
            else:
                asked.append((job, future))
        answers = self._committed(writes, writers) if writes else []
        answers += [(future, self._asked(job)) for job, future in asked]
        if ends:
            self._running = False
        self._answer(answers)
        return ends

    def _committed(self, writes: list[Write], writers: list[asyncio.Future[Any]]) -> _Answers:
        refused: dict[int, QlaraError] = {}
        if self._failure is None:
            try:
                refused = self._store.commit(writes)
                self.commits += 1
            except JournalError as error:
                self._failure = error
            except Exception as error:  # whatever it is, those who wait must not wait for ever
                self._failure = JournalWriteError("the journal failed: this is a mistake in the package, report it")
                self._failure.__cause__ = error
        if self._failure is None:
            return [(writer, refused.get(place)) for place, writer in enumerate(writers)]
        return [(writer, _again(self._failure)) for writer in writers]

    def _asked(self, job: Callable[[Store], object]) -> object:
        if self._failure is not None:
            return _again(self._failure)
        try:
            return job(self._store)
        except sqlite3.Error as error:
            return write_error(error, self._store.path)
        except Exception as error:  # damage, or a mistake: the one who asked must know
            return error

    def _answer(self, answers: _Answers) -> None:
        """Settle futures on the loop, all by one call."""
        try:
            self._loop.call_soon_threadsafe(_settle, answers)
        except RuntimeError:  # the loop is closed: nobody waits any more
            self._running = False


def _settle(answers: _Answers) -> None:
    for future, answer in answers:
        if future.done():  # cancelled meanwhile
            continue
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)


def _again(failure: JournalError) -> JournalError:
    """Make an error for each who waits: one exception raised in many tasks would mix their tracebacks."""
    error = type(failure)(*failure.args)
    error.__cause__ = failure.__cause__
    return error
