"""Receipts that wait until their ids are known, in the inbox's file and apart from its events."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from ....errors import InboxError
from ....loggers import webhooks_logger
from ....models.events import Event
from .codec import pack, unpack
from .store import Store
from .writer import Writer

__all__ = ["SqliteShelf"]

_T = TypeVar("_T")
_Rows = list[tuple[int, str, bytes]]

_LEFT = "SELECT id, kind, payload FROM held WHERE owner NOT IN (SELECT id FROM owners) ORDER BY id LIMIT ?"
_ADD = "INSERT INTO held (owner, kind, payload) VALUES (?, ?, ?)"


class _Batch:
    """Receipts to store, and their numbers once they are committed."""

    __slots__ = ("numbers", "rows")

    def __init__(self, rows: Sequence[tuple[str, bytes]]) -> None:
        self.rows = rows
        self.numbers: list[int] = []


class SqliteShelf:
    """See ``Shelf``. What comes while a commit runs is written by one transaction, as events are.

    Each receipt belongs to the process that holds it, and is taken up by another when that has gone.

    Args:
        opened: opens the file, if it is not open yet.
    """

    def __init__(self, opened: Callable[[], Awaitable[Writer]]) -> None:
        self._opened = opened
        self._writer: Writer | None = None
        self._batches: deque[_Batch] = deque()
        self._released: deque[int] = deque()

    async def keep(self, events: Sequence[Event]) -> list[int]:
        """Store receipts, and return their numbers after the commit.

        Raises:
            InboxError: none is stored.
        """
        writer = self._writer = await self._opened()
        batch = _Batch([pack(event) for event in events])
        self._batches.append(batch)
        try:
            await writer.call(self._write)
        except asyncio.CancelledError:
            writer.wake(lambda store: self._undo(store, batch))
            raise
        if len(batch.numbers) < len(events):  # the group failed that another call has written it with
            raise InboxError("the inbox cannot be used: a receipt could not be kept")
        return batch.numbers

    def release(self, number: int) -> None:
        """Delete a receipt with the next group."""
        self._released.append(number)
        if self._writer is not None:
            self._writer.wake(self._write)

    async def holds(self, number: int) -> bool:
        """Tell whether a receipt is still there."""
        writer = await self._opened()
        return bool(await writer.call(lambda store: _is_there(store, number)))

    async def take_up(self, most: int) -> list[tuple[int, Event]]:
        """Take over receipts of processes that have gone, with their numbers; what cannot be read stays where it is."""
        writer = self._writer = await self._opened()
        rows: _Rows = await writer.call(lambda store: _take_up(store, most))
        found = []
        for number, kind, payload in rows:
            try:
                found.append((number, unpack(kind, payload)))
            except (KeyError, TypeError, ValueError):
                webhooks_logger.error("receipt %d that waits for its id to be known cannot be read", number)
        return found

    def _write(self, store: Store) -> None:
        batches, released = _drained(self._batches), _drained(self._released)
        if not batches and not released:
            return
        try:
            numbers = store.transact(lambda: _apply(store, batches, released))
        except BaseException:
            self._released.extend(released)
            raise
        # Only after the commit: a number says that the receipt is on the disk.
        for batch, given in zip(batches, numbers, strict=True):
            batch.numbers = given

    def _undo(self, store: Store, batch: _Batch) -> None:
        self._released.extend(batch.numbers)
        self._write(store)


def _drained(queue: deque[_T]) -> list[_T]:
    return [queue.popleft() for _ in range(len(queue))]


def _apply(store: Store, batches: Sequence[_Batch], released: Sequence[int]) -> list[list[int]]:
    store.db.executemany("DELETE FROM held WHERE id = ?", [(number,) for number in released])
    owner = store.owner()
    return [[store.db.execute(_ADD, (owner, *row)).lastrowid or 0 for row in batch.rows] for batch in batches]


def _is_there(store: Store, number: int) -> bool:
    return store.db.execute("SELECT 1 FROM held WHERE id = ?", (number,)).fetchone() is not None


def _look(store: Store, most: int) -> _Rows:
    return store.db.execute(_LEFT, (most,)).fetchall()


def _take_up(store: Store, most: int) -> _Rows:
    # Mostly there is nothing: that is seen without a transaction, which others would wait for.
    return store.transact(lambda: _own(store, most)) if _look(store, 1) else []


def _own(store: Store, most: int) -> _Rows:
    rows, owner = _look(store, most), store.owner()
    store.db.executemany("UPDATE held SET owner = ? WHERE id = ?", [(owner, row[0]) for row in rows])
    return rows
