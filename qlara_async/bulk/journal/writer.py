"""The journal of a running job, as the job sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from ...clock import Clock, SystemClock
from ...errors import ClientStateError, InvalidMessageError, JournalMismatchError, QlaraError
from ...models.answers import Receipt
from ...models.channel import Channel
from ...models.message import Message
from ...protocol.outcomes import OutcomeState
from .committer import Committer
from .digest import Digests
from .entry import Entry, RowState, encode_error, encode_receipt
from .statements import BEGIN, FINISH, RECORD, Write
from .store import Contents, Store

__all__ = ["JournalWriter"]

_AHEAD = 500
"""Rows read at once: few enough to be held, enough to make the hop to the thread cheap."""

_WINDOW = 60.0
"""Seconds of the limiter's longest window."""

_T = TypeVar("_T")


class JournalWriter:
    """A journal open for one job: ``async with JournalWriter("campaign.db") as journal: …``.

    A row *begins* before its first byte may leave and *finishes* before its outcome is told; both return when they are
    on the disk. Everything that arrives while a commit runs forms the next one, on a thread of the journal's own. For
    one row, await each call before you make the next.

    Cancelling a call does not take back what it asked to be written.

    Args:
        path: of the file; made if there is none, in a directory that exists.
        clock: wall time for what is written.
        busy_timeout: seconds to wait for other programs that have the file locked.
    """

    def __init__(self, path: str | PathLike[str], *, clock: Clock | None = None, busy_timeout: float = 5.0) -> None:
        self._path = Path(path)
        self._clock = SystemClock() if clock is None else clock
        self._busy_timeout = busy_timeout
        self._committer: Committer | None = None
        self._closed: asyncio.Future[None] | None = None
        self._found = Contents(b"", 0, -1, frozenset())
        self._digests = Digests(b"")
        self._in_flight: set[int] = set()
        self._ahead: dict[int, Entry] = {}
        self._read_to = 0
        self._reading = asyncio.Lock()

    async def open(self) -> None:
        """Lock, check and open the file. A writer is opened once.

        Raises:
            JournalLockedError: another job has it.
            JournalVersionError: it has another version of the format.
            JournalDamagedError: it is damaged, or no journal.
            JournalWriteError: it cannot be made or written.
            ConfigurationError: on a platform without POSIX file locks.
        """
        if self._committer is not None:
            raise ClientStateError("a JournalWriter is opened once: make another")
        store = Store(self._path.resolve(), timeout=self._busy_timeout)
        self._committer = Committer(store, asyncio.get_running_loop())
        opened = self._committer.start(self._clock.time())
        try:
            await asyncio.wait([opened])
            self._found = opened.result()
        except asyncio.CancelledError:
            opened.add_done_callback(_seen)  # a refusal has nobody to hear it now
            self._closed = self._committer.submit(None)
            raise
        except Exception:
            await self.close()
            raise
        self._digests = Digests(self._found.salt)
        self._in_flight = set(self._found.in_flight)

    async def close(self) -> None:
        """Finish what was handed in, close the file and let go of the lock; cancelling it does not stop that."""
        if self._committer is None:
            return
        if self._closed is None:
            self._closed = self._committer.submit(None)
        await asyncio.shield(self._closed)
        self._committer.join()

    async def __aenter__(self) -> JournalWriter:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def rows(self) -> int:
        """Rows that the journal held when it was opened."""
        return self._found.rows

    @property
    def in_flight(self) -> int:
        """Rows that have begun and not finished, those of a process that died included."""
        return len(self._in_flight)

    @property
    def commits(self) -> int:
        """Transactions written so far."""
        return 0 if self._committer is None else self._committer.commits

    def mint(self, index: int) -> str:
        """Mint the message id of row `index`: always the same in one journal (`Digests.mint`)."""
        return self._digests.mint(index)

    def digest(self, item: object) -> bytes:
        """Digest the content of a message or of an item that is none (`Digests.digest`)."""
        return self._digests.digest(item)

    def verify(self, entry: Entry, item: object, message: Message | None) -> None:
        """Check that a row of the source is the one that was journalled.

        An ``invalid`` row is compared as the source gave it, any other as the message it is: what is invalid to one
        version of the package may be valid to the next.

        Args:
            entry: from `expected`.
            item: as the source gave it.
            message: what it was made into; ``None`` if it could not be.

        Raises:
            JournalMismatchError: it is not.
        """
        as_given = message is None or entry.state is RowState.INVALID
        if self._digests.digest(item if as_given else message) != entry.digest:
            raise JournalMismatchError(entry.index)

    async def expected(self, index: int) -> Entry | None:
        """Return the row that the journal held at `index` when it was opened, or ``None``.

        For sources drawn in order: rows are read ahead, each can be asked for once, and not after a later one of
        another chunk has been read over it. Beyond the last row it returns without waiting.

        Raises:
            JournalError: the file cannot be read.
        """
        if index > self._found.last:
            return None
        if index >= self._read_to:
            async with self._reading:
                while index >= self._read_to:
                    await self._read_ahead(index)
        return self._ahead.pop(index, None)

    async def _read_ahead(self, index: int) -> None:
        start = max(self._read_to, index // _AHEAD * _AHEAD)
        entries = await self._ask(lambda store: store.entries(start, _AHEAD))
        self._ahead.update((entry.index, entry) for entry in entries)
        self._read_to = start + _AHEAD

    async def begin(self, index: int, message_id: str, channel: Channel, digest: bytes) -> None:
        """Journal that a row is about to be sent; once this returns, its first byte may leave.

        A row that failed, is unknown, was skipped or was in flight may begin again, with the same id and content.

        Raises:
            InvalidMessageError: another row of this journal has the id. Nothing was written.
            JournalWriteError: it is not journalled. Do not send it.
            JournalError: the row is final, or begun with another id or content.
        """
        minted_for = self._digests.minted_for(message_id)
        if minted_for is not None and minted_for != index:
            raise InvalidMessageError("is the id of another row", field="message_id")
        own_id = int(minted_for is None)
        known = index in self._in_flight
        self._in_flight.add(index)
        try:
            await self._write(BEGIN, index, (index, message_id, own_id, channel.value, digest, self._clock.time()))
        except QlaraError:
            if not known:
                self._in_flight.discard(index)
            raise

    async def finish(
        self,
        index: int,
        state: OutcomeState,
        *,
        attempts: int = 0,
        receipt: Receipt | None = None,
        error: QlaraError | None = None,
        granted_at: float | None = None,
    ) -> None:
        """Journal how a row ended that began, or that was unknown; once this returns, its outcome may be told.

        Args:
            index: the row.
            state: how it ended.
            attempts: requests it took.
            receipt: of an accepted row.
            error: of any other. Its text and attributes are kept, its raw answer is not.
            granted_at: when the limiter granted its last request, in seconds since the epoch; ``None`` if it sent none.

        Raises:
            JournalWriteError: it is not journalled.
            JournalError: the row is not in flight.
        """
        kept_receipt = None if receipt is None else encode_receipt(receipt)
        kept_error = None if error is None else encode_error(error)
        values = (state.value, attempts, kept_receipt, kept_error, granted_at, self._clock.time(), index)
        await self._write(FINISH, index, values)
        self._in_flight.discard(index)

    async def record(
        self,
        index: int,
        state: OutcomeState,
        digest: bytes,
        *,
        message_id: str | None = None,
        channel: Channel | None = None,
        error: QlaraError | None = None,
    ) -> None:
        """Journal a row that is not sent (``invalid``, ``skipped``), in one write.

        For an invalid row `digest` is that of the item as the source gave it; leave out a `message_id` that is another
        row's.

        Raises:
            InvalidMessageError: another row of this journal has the id. Nothing was written.
            JournalWriteError: it is not journalled.
            JournalError: the row is final, in flight or unknown, or has another content.
        """
        own_id = int(message_id is not None and self._digests.minted_for(message_id) is None)
        name = None if channel is None else channel.value
        kept_error = None if error is None else encode_error(error)
        values = (index, message_id, own_id, name, digest, state.value, kept_error, self._clock.time())
        await self._write(RECORD, index, values)

    async def recent_grants(self, now: float) -> list[float]:
        """Return when the limiter granted requests in the 60 s before `now`, in seconds since the epoch, in order.

        For priming it after a restart. Each row counts with all its attempts at the time of its last, and one in flight
        when the process died as granted at the journal's last write: never too early, as far as the file tells.
        """
        grants = await self._ask(lambda store: store.grants(now - _WINDOW))
        return [min(granted, now) for granted in grants]

    async def controls(self, channel: Channel, count: int) -> list[str]:
        """Return ids of up to `count` accepted messages, old and recent, that a look-up on `channel` must find."""
        return await self._ask(lambda store: store.accepted_ids(channel, count))

    async def rows_missing(self, drawn: int) -> int:
        """Count the journalled rows that a source of `drawn` items did not give again."""
        return await self._ask(lambda store: store.rows_from(drawn)) if drawn <= self._found.last else 0

    async def _write(self, statement: str, index: int, values: tuple[object, ...]) -> None:
        await self._open_committer().submit(Write(statement, index, values))

    async def _ask(self, question: Callable[[Store], _T]) -> _T:
        answer: _T = await self._open_committer().submit(question)
        return answer

    def _open_committer(self) -> Committer:
        if self._committer is None or self._closed is not None:
            raise ClientStateError("the journal is not open")
        return self._committer


def _seen(ended: asyncio.Future[Contents]) -> None:
    if not ended.cancelled():
        ended.exception()
