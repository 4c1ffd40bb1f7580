"""One suite for every inbox: a state machine against a small model."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from qlara_async.errors import InboxError
from qlara_async.models.events import Inbound, UnknownEvent
from qlara_async.protocol.identity import identity
from qlara_async.testing.clock import VirtualClock
from qlara_async.webhooks import MemoryInbox, SqliteInbox
from qlara_async.webhooks.inbox import Row, Verdict, Work

from .inbox_model import (
    HANDLERS,
    MAX_ATTEMPTS,
    MAX_LANE_BLOCK,
    MAX_RETRY_WAIT,
    RETRY_WAIT,
    Model,
    Piece,
    Told,
)
from .test_sqlite_inbox import NOW, by_source, die, inbound

_T = TypeVar("_T")

# The rules are what is on trial here, not the disk: on one, this would take ten times as long.
RAM_DISK = Path("/dev/shm")

messages = st.builds(
    lambda sender, number, text: Told(f"{sender}-{number}", text, sender),
    st.sampled_from(["+391", "+392", ""]),
    st.integers(0, 5),
    st.sampled_from(["ciao", "addio"]),
)
batches = st.lists(messages, min_size=1, max_size=5)
mostly_news = st.lists(
    messages
    | st.builds(
        lambda sender, number: Told(f"{sender}-{number}", "ciao", sender),
        st.sampled_from(["+391", "+392", "", "", ""]),
        st.integers(6, 100_000),
    ),
    min_size=1,
    max_size=4,
)
undecodable = messages.map(lambda told: Told(as_json(told).decode(), undecodable=True)) | st.builds(
    Told, st.sampled_from(["{", "[1"]), undecodable=st.just(True)
)


def as_json(told: Told) -> bytes:
    fields = {"channel": "SMS", "eventType": "INBOUND", "messageId": told.key, "text": told.text}
    return msgspec.json.encode(fields | ({"source": told.sender} if told.sender else {}))


def row_of(told: Told) -> Row:
    if not told.undecodable:
        return inbound(told.key, told.text, told.sender or None)
    # As an earlier version of the package, which could not decode it, would have put it.
    event = UnknownEvent(channel="", message_id=None, received_at=NOW, raw=told.key.encode(), reason="not known")
    return Row(identity(event), event)


def meant_by(told: Told) -> list[Told]:
    """What this version of the package decodes it to; nothing if it cannot."""
    try:
        fields = msgspec.json.decode(told.key)
    except msgspec.DecodeError:
        return []
    return [Told(fields["messageId"], fields["text"], fields.get("source", ""))]


def name_of(work: Work) -> tuple[str, str, str]:
    event = work.event
    if isinstance(event, Inbound):
        return (event.message_id or "", event.text, work.handler)
    return (event.raw.decode(), "", work.handler)


class InboxMachine(RuleBasedStateMachine):
    durable: bool

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(debug=False)  # in development mode it would take five times as long
        self.directory = Path(tempfile.mkdtemp(dir=RAM_DISK if RAM_DISK.is_dir() else None))
        self.clock = VirtualClock(jump=False)
        self.model = Model(durable=self.durable)
        self.works: dict[tuple[str, str, str], Work] = {}
        self.open()

    def run(self, awaitable: Awaitable[_T]) -> _T:
        async def main() -> _T:
            return await awaitable

        return self.runner.run(main())

    def open(self) -> None:
        self.works.clear()
        self.model.now = self.clock.time()

        async def start() -> Any:
            inbox: Any = MemoryInbox(allow_loss=True, clock=self.clock, max_pending=self.model.max_pending)
            if self.durable:
                inbox = SqliteInbox(
                    self.directory / "inbox.db",
                    clock=self.clock,
                    random=lambda: 1.0,
                    max_pending=self.model.max_pending,
                    max_attempts=MAX_ATTEMPTS,
                    retry_wait=RETRY_WAIT,
                    max_retry_wait=MAX_RETRY_WAIT,
                    max_lane_block=MAX_LANE_BLOCK,
                )
            await inbox.start(lambda event: HANDLERS, lane=by_source, names=lambda: HANDLERS)
            return inbox

        self.inbox = self.run(start())

    async def settle(self) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
            if self.durable:
                await self.inbox._writer.call(lambda store: None)

    async def put(self, *concurrent: list[Told]) -> list[list[Verdict]]:
        puts = [self.inbox.put([row_of(told) for told in batch]) for batch in concurrent]
        return [list(verdicts) for verdicts in await asyncio.gather(*puts)]

    # --- what comes in ---

    @rule(batch=batches, times=st.integers(1, 4))
    def deliver(self, batch: list[Told], times: int) -> None:
        """Once, again, or several times at once."""
        assert self.run(self.put(*[batch] * times)) == [self.model.deliver(batch) for _ in range(times)]

    @rule(concurrent=st.lists(batches, min_size=2, max_size=6))
    def race(self, concurrent: list[list[Told]]) -> None:
        """Batches at once that have events in common; what would be a conflict says what was said first."""
        said = {key: texts[0] for key, texts in self.model.seen.items()}
        for number, batch in enumerate(concurrent):
            for told in batch:
                said.setdefault(told.key, told.text)
            concurrent[number] = [msgspec.structs.replace(told, text=said[told.key]) for told in batch]
        assert self.run(self.put(*concurrent)) == [self.model.deliver(batch) for batch in concurrent]

    @rule(told=undecodable, times=st.integers(1, 2))
    def deliver_what_cannot_be_decoded(self, told: Told, times: int) -> None:
        assert self.run(self.put(*[[told]] * times)) == [self.model.deliver([told]) for _ in range(times)]

    @rule(batch=mostly_news, times=st.sampled_from([1, 1, 2]), takers=st.sampled_from([3, 60, 60]))
    def deliver_to_those_who_wait(self, batch: list[Told], times: int, takers: int) -> None:
        """What comes in is handed out at once: of new events this is what a receiver mostly does."""
        verdicts, works = self.run(self.hand_out(takers, *[batch] * times))
        assert verdicts == [self.model.deliver(batch) for _ in range(times)]
        assert len(works) == min(takers, len(self.model.available))
        for work in works:
            self.begin(work)

    async def hand_out(self, takers: int, *concurrent: list[Told]) -> tuple[list[list[Verdict]], list[Work]]:
        waiting = [asyncio.create_task(self.inbox.take()) for _ in range(takers)]
        await self.settle()
        verdicts = await self.put(*concurrent)
        await self.settle()
        for _ in waiting:  # each wakes the next
            await asyncio.sleep(0)
        for taker in waiting:
            taker.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return verdicts, [taker.result() for taker in waiting if not taker.cancelled()]

    # --- what is handled ---

    def take_one(self) -> Piece:
        return self.begin(self.run(asyncio.wait_for(self.inbox.take(), 5)))

    def begin(self, work: Work) -> Piece:
        piece = self.model.begin(name_of(work))
        self.works[piece.name] = work
        assert (work.attempt, work.event.conflict) == (piece.attempts, piece.conflict)
        assert work.last == (piece.attempts == MAX_ATTEMPTS or not self.durable)
        assert work.redelivered == piece.begun
        piece.begun = True
        return piece

    def finish_one(self, piece: Piece, *, ok: bool) -> None:
        self.run(self.inbox.finish(self.works.pop(piece.name), None if ok else ValueError()))
        self.model.end(piece, ok=ok)

    @precondition(lambda self: self.model.available)
    @rule(most=st.integers(1, 6))
    def take(self, most: int) -> None:
        for _ in range(min(most, len(self.model.available))):
            self.take_one()

    @precondition(lambda self: not self.model.available)
    @rule()
    def take_nothing(self) -> None:
        """What is behind another, or failed and has its wait before it, is not handed out."""

        assert not self.run(self.is_handed_out())

    async def is_handed_out(self) -> bool:
        taker = asyncio.create_task(self.inbox.take())
        await self.settle()
        taker.cancel()
        await asyncio.gather(taker, return_exceptions=True)
        return not taker.cancelled()

    @precondition(lambda self: self.works)
    @rule(data=st.data(), ok=st.booleans())
    def finish(self, data: st.DataObject, ok: bool) -> None:
        self.finish_one(data.draw(st.sampled_from(self.model.running)), ok=ok)

    @precondition(lambda self: self.works)
    @rule(ok=st.booleans())
    def finish_all(self, ok: bool) -> None:
        for piece in self.model.running:
            self.finish_one(piece, ok=ok)

    @precondition(lambda self: self.model.available)
    @rule(ok=st.booleans())
    def work_off(self, ok: bool) -> None:
        while self.model.available:
            self.finish_one(self.take_one(), ok=ok)
            self.run(self.settle())

    @precondition(lambda self: self.model.available)
    @rule(dies=st.booleans())
    def work_in_vain(self, dies: bool) -> None:
        """Whatever is due fails until it is given up, each time as soon as it may be tried again, and no sooner.

        Or the process dies of it.
        """
        for _ in range(MAX_ATTEMPTS):
            while self.model.available:
                piece = self.take_one()
                if not dies:
                    self.finish_one(piece, ok=False)
            self.run(self.settle())
            if dies:
                self.end_and_begin_again("crash", in_time=False)
            wait = self.model.next_due
            for seconds in (wait - 1, 1) if wait else ():
                self.pass_time(seconds)
                self.run(self.settle())
                if not self.model.available:
                    self.take_nothing()

    @rule(seconds=st.sampled_from([1, 4, 6, 10, 40]))
    def pass_time(self, seconds: float) -> None:
        """Whatever hangs meanwhile keeps its lease."""
        self.run(self.clock.advance(seconds))
        self.model.now = self.clock.time()

    # --- what had failed ---

    @precondition(lambda self: self.model.dead)
    @rule(data=st.data(), whole_handler=st.booleans())
    def replay_the_dead(self, data: st.DataObject, whole_handler: bool) -> None:
        async def dead() -> list[Any]:
            return [letter async for letter in self.inbox.dead()]

        letters = self.run(dead())
        self.model.dead.sort(key=lambda piece: (piece.number, piece.handler))
        assert [(letter.handler, letter.attempts, letter.error) for letter in letters] == [
            (piece.handler, piece.attempts, piece.error) for piece in self.model.dead
        ]
        place = data.draw(st.integers(0, len(letters) - 1))
        handler = letters[place].handler
        if whole_handler:
            pieces = [piece for piece in self.model.dead if piece.handler == handler]
            assert self.run(self.inbox.replay(handler=handler)) == len(pieces)
        else:
            pieces = [self.model.dead[place]]
            assert [self.run(self.inbox.replay(letters[place])) for _ in range(2)] == [1, 0]
        for piece in pieces:
            self.model.replay(piece)

    @precondition(lambda self: self.model.quarantined)
    @rule(data=st.data())
    def replay_what_could_not_be_decoded(self, data: st.DataObject) -> None:
        async def quarantined() -> list[Any]:
            return [entry async for entry in self.inbox.quarantined()]

        entries = self.run(quarantined())
        assert [entry.event.raw.decode() for entry in entries] == [told.key for told in self.model.quarantined]
        place = data.draw(st.integers(0, len(entries) - 1))
        told = self.model.quarantined[place]
        meant = meant_by(told)
        if meant and not self.model.readmit(told, meant):
            with pytest.raises(InboxError, match="full"):
                self.run(self.inbox.replay(entries[place]))
            return
        assert [self.run(self.inbox.replay(entries[place])) for _ in range(2)] == [len(meant), 0]

    # --- how a process ends ---

    @rule(how=st.sampled_from(["crash", "restart", "drain"]), in_time=st.booleans())
    def end_and_begin_again(self, how: str, in_time: bool) -> None:
        self.run(self.settle())
        if how == "drain":
            self.run(self.drain(in_time))
        self.run(die(self.inbox) if self.durable and how == "crash" else self.inbox.close())
        if not self.durable:
            self.model = Model(durable=False)
        elif how == "crash":
            self.model.crash()
        else:
            self.model.release()
        self.open()

    async def drain(self, in_time: bool) -> None:
        """What runs ends in time, or is given back; in memory what does not run has to end, too."""
        draining = asyncio.create_task(self.inbox.drain())
        await self.settle()
        assert draining.done() == (not (self.works if self.durable else self.model.pieces))
        if self.durable:  # what does not run is for the next process
            assert not await self.is_handed_out()
        for piece in self.model.running if in_time else ():
            await self.inbox.finish(self.works[piece.name], None)
            self.model.end(piece, ok=True)
        await self.settle()
        assert draining.done() == (not (self.model.running if self.durable else self.model.pieces))
        draining.cancel()
        await asyncio.gather(draining, return_exceptions=True)

    @invariant()
    def what_there_is_is_known(self) -> None:
        self.run(self.settle())
        stats = self.inbox.stats()
        assert stats.pending == self.model.pending
        assert stats.dead == len(self.model.dead)
        assert stats.quarantined == len(self.model.quarantined)
        assert stats.lost_leases == 0

    def teardown(self) -> None:
        self.run(self.inbox.close())
        self.runner.close()
        shutil.rmtree(self.directory)


class MemoryInboxMachine(InboxMachine):
    durable = False


class SqliteInboxMachine(InboxMachine):
    durable = True


MACHINE_SETTINGS = settings(max_examples=30, stateful_step_count=40)
TestG6G7G9MemoryInbox = MemoryInboxMachine.TestCase
TestG6G7G9MemoryInbox.settings = MACHINE_SETTINGS
TestG6G7G9SqliteInbox = SqliteInboxMachine.TestCase
TestG6G7G9SqliteInbox.settings = MACHINE_SETTINGS
