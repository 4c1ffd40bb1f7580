"""What an inbox is to do, in memory and in small: the model that ``test_sqlite_inbox_model`` holds the inboxes against.

It knows no disk, no thread and no batch of commits: one list of pieces of work, one event for one handler each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

import msgspec

from qlara_async.webhooks.inbox import Verdict

HANDLERS = ("a", "b")
MAX_ATTEMPTS = 3
RETRY_WAIT = 4.0
MAX_RETRY_WAIT = 6.0
MAX_LANE_BLOCK = 12.0


class Told(msgspec.Struct, frozen=True):
    """What comes in: an inbound message, or bytes that cannot be decoded, which have no sender and are all key."""

    key: str
    text: str = ""
    sender: str = ""
    undecodable: bool = False


class Piece(msgspec.Struct, eq=False):
    """An event for a handler. ``lane`` is what it queues up in, and ``waiting`` that another is before it there."""

    number: int
    told: Told
    handler: str
    lane: str
    conflict: bool
    attempts: int = 0
    due: float = 0.0
    waiting: bool = False
    running: bool = False
    begun: bool = False
    failed_at: float | None = None
    error: str = ""

    @property
    def name(self) -> tuple[str, str, str]:
        return (self.told.key, self.told.text, self.handler)


class Model:
    """The rules. ``durable`` is whether it retries, remembers across restarts, and counts pieces, not events."""

    def __init__(self, *, durable: bool) -> None:
        self.durable = durable
        self.max_pending = 40 if durable else 15
        self.now = 0.0
        self._numbers = count(1)
        self.pieces: list[Piece] = []
        self.dead: list[Piece] = []
        self.quarantined: list[Told] = []
        self.seen: dict[str, list[str]] = {}

    @property
    def pending(self) -> int:
        return len(self.pieces) if self.durable else len({piece.number for piece in self.pieces})

    @property
    def running(self) -> list[Piece]:
        return [piece for piece in self.pieces if piece.running]

    @property
    def available(self) -> list[Piece]:
        """What may be taken: what is due, and the first of its lane."""
        return [piece for piece in self.pieces if not (piece.running or piece.waiting) and piece.due <= self.now]

    @property
    def next_due(self) -> float:
        """Seconds until something falls due; 0 if nothing is to."""
        return min((piece.due - self.now for piece in self.pieces if piece.due > self.now), default=0.0)

    def deliver(self, batch: Sequence[Told]) -> list[Verdict]:
        """All of a batch is stored, or nothing; what is known by key and text is a duplicate."""
        seen = {key: list(texts) for key, texts in self.seen.items()}
        verdicts = [self._judge(told, seen) for told in batch]
        new = sum(verdict is not Verdict.DUPLICATE for verdict in verdicts) * (len(HANDLERS) if self.durable else 1)
        if self.pending + new > self.max_pending and new:
            return [Verdict.FULL] * len(batch)
        self.seen = seen
        for told, verdict in zip(batch, verdicts, strict=True):
            if verdict is not Verdict.DUPLICATE:
                self._store(told, conflict=verdict is Verdict.CONFLICT)
        return verdicts

    def begin(self, name: tuple[str, str, str]) -> Piece:
        (piece,) = [piece for piece in self.available if piece.name == name]
        piece.running = True
        piece.attempts += 1
        return piece

    def end(self, piece: Piece, *, ok: bool) -> None:
        piece.running = False
        if ok or not self.durable:
            self._remove(piece)
        else:
            self._failed(piece, "ValueError", self.now + self.wait(piece.attempts))

    def release(self) -> None:
        """What runs is given back: that was no attempt."""
        for piece in self.running:
            piece.running = False
            piece.attempts -= 1
            piece.due = self.now

    def crash(self) -> None:
        """What ran is begun again at once if that was the first time; then it may be what kills."""
        for piece in self.running:
            piece.running = False
            self._failed(
                piece, "ProcessDied", self.now if piece.attempts == 1 else self.now + self.wait(piece.attempts - 1)
            )

    def replay(self, piece: Piece) -> None:
        """A dead letter gets all its attempts again, behind whatever is first in its lane by now."""
        self.dead.remove(piece)
        piece.attempts, piece.failed_at, piece.due = 0, None, self.now
        self._add(piece)

    def readmit(self, told: Told, meant: Sequence[Told]) -> bool:
        """What was in quarantine is handled as what it meant, if that fits; tell whether it left."""
        if Verdict.FULL in self.deliver(meant):
            return False
        self.quarantined.remove(told)
        return True

    def wait(self, attempts: int) -> float:
        return float(min(MAX_RETRY_WAIT, RETRY_WAIT * 2.0 ** (attempts - 1)))

    def _judge(self, told: Told, seen: dict[str, list[str]]) -> Verdict:
        texts = seen.setdefault(told.key, [])
        if told.text in texts:
            return Verdict.DUPLICATE
        texts.append(told.text)
        return Verdict.ACCEPTED if len(texts) == 1 else Verdict.CONFLICT

    def _store(self, told: Told, *, conflict: bool) -> None:
        number = next(self._numbers)
        if told.undecodable and self.durable:
            self.quarantined.append(told)
        for handler in HANDLERS:
            self._add(Piece(number, told, handler, told.sender, conflict, due=self.now))

    def _add(self, piece: Piece) -> None:
        piece.waiting = any(not other.waiting for other in self._lane_of(piece))
        self.pieces.append(piece)

    def _remove(self, piece: Piece) -> None:
        self.pieces.remove(piece)
        self._go_on(piece)

    def _go_on(self, piece: Piece) -> None:
        """Let the oldest that waits in the lane of a piece, which has left it, be the first."""
        behind = sorted(self._lane_of(piece), key=lambda other: other.number)
        if behind:
            behind[0].waiting, behind[0].due = False, 0.0

    def _lane_of(self, piece: Piece) -> Iterator[Piece]:
        for other in self.pieces:
            if piece.lane and other is not piece and (other.handler, other.lane) == (piece.handler, piece.lane):
                yield other

    def _failed(self, piece: Piece, error: str, due: float) -> None:
        if piece.attempts == MAX_ATTEMPTS:
            piece.error = error
            self._remove(piece)
            self.dead.append(piece)
            return
        piece.failed_at = self.now if piece.failed_at is None else piece.failed_at
        piece.due = due
        if piece.lane and due - piece.failed_at > MAX_LANE_BLOCK:
            self._go_on(piece)
            piece.lane = ""
