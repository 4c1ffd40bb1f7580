"""One suite for every inbox: a state machine against a small model."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from qlara_async.testing.clock import VirtualClock
from qlara_async.webhooks import MemoryInbox, SqliteInbox
from qlara_async.webhooks.inbox import Verdict, Work

from .test_sqlite_inbox import by_source, die, inbound

_T = TypeVar("_T")

HANDLERS = ("a", "b")
MAX_ATTEMPTS = 3
SENDERS = st.sampled_from(["+391", "+392", ""])
TEXTS = st.sampled_from(["ciao", "addio"])


class Piece(msgspec.Struct):
    """A piece of work in the model: one event for one handler."""

    name: tuple[str, str, str]  # message id, text, handler
    sender: str
    attempts: int = 0
    running: bool = False


class InboxMachine(RuleBasedStateMachine):
    durable: bool

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = Path(tempfile.mkdtemp())
        self.clock = VirtualClock(jump=False)
        self.pieces: list[Piece] = []
        self.seen: dict[str, set[str]] = {}
        self.dead: set[tuple[str, str, str]] = set()
        self.works: dict[tuple[str, str, str], Work] = {}
        self.open()

    def run(self, awaitable: Awaitable[_T]) -> _T:
        async def main() -> _T:
            return await awaitable

        return self.runner.run(main())

    def open(self) -> None:
        async def start() -> Any:
            inbox: Any = MemoryInbox(allow_loss=True, clock=self.clock)
            if self.durable:
                path = self.directory / "inbox.db"
                inbox = SqliteInbox(
                    path, clock=self.clock, max_attempts=MAX_ATTEMPTS, retry_wait=0.0, max_lane_block=1e9
                )
            await inbox.start(lambda event: HANDLERS, lane=by_source, names=lambda: HANDLERS)
            return inbox

        self.inbox = self.run(start())

    def settle(self) -> None:
        async def turn() -> None:
            for _ in range(3):
                await asyncio.sleep(0)
                if self.durable:
                    await self.inbox._writer.call(lambda store: None)

        self.run(turn())

    def available(self) -> list[Piece]:
        """What may be taken: each lane's first, and all that is in no lane."""
        lanes: set[tuple[str, str]] = set()
        found = []
        for piece in self.pieces:
            lane = (piece.name[2], piece.sender)
            if piece.sender and lane in lanes:
                continue
            lanes.add(lane)
            if not piece.running:
                found.append(piece)
        return found

    @rule(number=st.integers(0, 9), sender=SENDERS, text=TEXTS, times=st.integers(1, 4))
    def deliver(self, number: int, sender: str, text: str, times: int) -> None:
        """Once, again, or several times at once."""
        message_id = f"{sender}-{number}"
        row = inbound(message_id, text, sender)

        async def puts() -> list[Any]:
            return await asyncio.gather(*(self.inbox.put([row]) for _ in range(times)))

        verdicts = [verdict for (verdict,) in self.run(puts())]
        texts = self.seen.setdefault(message_id, set())
        first = Verdict.DUPLICATE
        if text not in texts:
            first = Verdict.CONFLICT if texts else Verdict.ACCEPTED
            self.pieces += [Piece((message_id, text, handler), sender) for handler in HANDLERS]
            texts.add(text)
        assert verdicts == [first] + [Verdict.DUPLICATE] * (times - 1)

    @precondition(lambda self: self.available())
    @rule()
    def take(self) -> None:
        self.settle()
        work = self.run(asyncio.wait_for(self.inbox.take(), 5))
        event: Any = work.event
        name = (event.message_id, event.text, work.handler)
        (piece,) = [piece for piece in self.available() if piece.name == name]
        piece.running = True
        piece.attempts += 1
        assert work.attempt == piece.attempts
        self.works[name] = work

    @precondition(lambda self: not self.available())
    @rule()
    def take_nothing(self) -> None:
        self.settle()

        async def attempt() -> bool:
            taker = asyncio.create_task(self.inbox.take())
            for _ in range(3):
                await asyncio.sleep(0)
                if self.durable:
                    await self.inbox._writer.call(lambda store: None)
            taker.cancel()
            await asyncio.gather(taker, return_exceptions=True)
            return not taker.cancelled()

        assert not self.run(attempt())

    @precondition(lambda self: self.works)
    @rule(data=st.data(), ok=st.booleans())
    def finish(self, data: st.DataObject, ok: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.works)))
        self.run(self.inbox.finish(self.works.pop(name), None if ok else ValueError()))
        (piece,) = [piece for piece in self.pieces if piece.name == name]
        piece.running = False
        if ok or not self.durable or piece.attempts == MAX_ATTEMPTS:
            self.pieces.remove(piece)
            if self.durable and not ok:
                self.dead.add(name)

    @rule(seconds=st.integers(1, 40))
    def pass_time(self, seconds: int) -> None:
        """Whatever hangs meanwhile keeps its lease."""
        self.run(self.clock.advance(seconds))

    @rule()
    def crash(self) -> None:
        self.works.clear()
        if self.durable:
            self.settle()
            self.run(die(self.inbox))
            for piece in [piece for piece in self.pieces if piece.running]:
                piece.running = False
                if piece.attempts == MAX_ATTEMPTS:
                    self.pieces.remove(piece)
                    self.dead.add(piece.name)
        else:
            self.pieces.clear()
            self.seen.clear()
        self.open()

    @precondition(lambda self: self.durable)
    @rule(in_time=st.booleans())
    def drain(self, in_time: bool) -> None:
        async def leave() -> None:
            draining = asyncio.create_task(self.inbox.drain())
            for work in self.works.values():
                if in_time:
                    await self.inbox.finish(work, None)
            if in_time:
                await draining
            draining.cancel()
            await asyncio.gather(draining, return_exceptions=True)
            await self.inbox.close()

        self.run(leave())
        for piece in [piece for piece in self.pieces if piece.running]:
            piece.running = False
            piece.attempts -= 1  # it was given back, not failed
            if in_time:
                self.pieces.remove(piece)
        self.works.clear()
        self.open()

    @invariant()
    def what_is_pending_is_known(self) -> None:
        self.settle()
        pending = len(self.pieces) if self.durable else len({piece.name[:2] for piece in self.pieces})
        assert self.inbox.stats().pending == pending
        assert self.inbox.stats().dead == len(self.dead)
        assert self.inbox.stats().lost_leases == 0

    def teardown(self) -> None:
        self.run(self.inbox.close())
        self.runner.close()
        shutil.rmtree(self.directory)


class MemoryInboxMachine(InboxMachine):
    durable = False


class SqliteInboxMachine(InboxMachine):
    durable = True


MACHINE_SETTINGS = settings(max_examples=30, stateful_step_count=40, deadline=None)
TestG6G7G9MemoryInbox = MemoryInboxMachine.TestCase
TestG6G7G9MemoryInbox.settings = MACHINE_SETTINGS
TestG6G7G9SqliteInbox = SqliteInboxMachine.TestCase
TestG6G7G9SqliteInbox.settings = MACHINE_SETTINGS
