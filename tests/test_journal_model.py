"""A journal against a dictionary, across reopenings."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from qlara_async import Channel
from qlara_async.bulk.journal import Journal, JournalWriter
from qlara_async.errors import InvalidMessageError, JournalError
from qlara_async.protocol.outcomes import OutcomeState

INDEXES = st.integers(0, 12)
ENDS = st.sampled_from([state for state in OutcomeState if state is not OutcomeState.INVALID])
BEGINNINGS = {"started", "failed", "unknown", "skipped"}


class JournalMachine(RuleBasedStateMachine):
    """The model: index → (state, id)."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name) / "j.db"
        self.rows: dict[int, tuple[str, str | None]] = {}
        self.asked: set[int] = set()
        self.found: dict[int, tuple[str, str | None]] = {}

    @initialize()
    def start(self) -> None:
        self.journal = JournalWriter(self.path)
        self.runner.run(self.journal.open())

    @rule(index=INDEXES, own=st.none() | st.sampled_from(["a", "b", "c"]))
    def begin(self, index: int, own: str | None) -> None:
        self.expect(index)
        message_id = self.journal.mint(index) if own is None else own
        state, known = self.rows.get(index, ("started", None))
        error = self.outcome(self.journal.begin(index, message_id, Channel.SMS, b"d"))
        taken = any(other == message_id for row, (_, other) in self.rows.items() if row != index)
        if state not in BEGINNINGS or known not in {None, message_id}:
            assert isinstance(error, JournalError | InvalidMessageError)
        elif taken:
            assert isinstance(error, InvalidMessageError)
        else:
            assert error is None
            self.rows[index] = ("started", message_id)

    @rule(index=INDEXES, state=ENDS)
    def finish(self, index: int, state: OutcomeState) -> None:
        self.expect(index)
        error = self.outcome(self.journal.finish(index, state, attempts=1))
        known, message_id = self.rows.get(index, ("", None))
        if known in {"started", "unknown"}:
            assert error is None
            self.rows[index] = (state.value, message_id)
        else:
            assert isinstance(error, JournalError)

    @rule(index=INDEXES, state=st.sampled_from([OutcomeState.INVALID, OutcomeState.SKIPPED]))
    def record(self, index: int, state: OutcomeState) -> None:
        self.expect(index)
        error = self.outcome(self.journal.record(index, state, b"d"))
        known, message_id = self.rows.get(index, ("skipped", None))
        if known in {"skipped", "failed"}:
            assert error is None
            self.rows[index] = (state.value, message_id)
        else:
            assert isinstance(error, JournalError)

    @rule(indexes=st.lists(INDEXES, min_size=2, max_size=6, unique=True), own=st.booleans())
    def begin_together(self, indexes: list[int], own: bool) -> None:
        async def together() -> list[BaseException | None]:
            ids = ["same" if own else self.journal.mint(index) for index in indexes]
            calls = (self.journal.begin(*row, Channel.SMS, b"d") for row in zip(indexes, ids, strict=True))
            return await asyncio.gather(*calls, return_exceptions=True)

        for index in indexes:
            self.expect(index)
        for index, error in zip(indexes, self.runner.run(together()), strict=True):
            if error is None:
                self.rows[index] = ("started", "same" if own else self.journal.mint(index))
            elif not own:
                assert self.rows[index][0] not in BEGINNINGS or self.rows[index][1] != self.journal.mint(index)
        assert sum(message_id == "same" for _, message_id in self.rows.values()) <= 1

    @rule()
    def reopen(self) -> None:
        self.runner.run(self.journal.close())
        self.start()
        self.found, self.asked = dict(self.rows), set()
        assert self.journal.rows == len(self.rows)

    @rule(index=INDEXES)
    def expect(self, index: int) -> None:
        """A row is asked for once, and before it is written, as a job does."""
        if index in self.asked:
            return
        self.asked.add(index)
        entry = self.runner.run(self.journal.expected(index))
        assert (None if entry is None else (entry.state.value, entry.message_id)) == self.found.get(index)

    @invariant()
    def what_is_in_flight_is_counted_and_what_is_written_is_read(self) -> None:
        if not hasattr(self, "journal"):
            return
        assert self.journal.in_flight == sum(state == "started" for state, _ in self.rows.values())
        with Journal.open(self.path) as reader:
            assert {entry.index: (entry.state.value, entry.message_id) for entry in reader.outcomes()} == self.rows

    def outcome(self, call: object) -> BaseException | None:
        async def caught() -> BaseException | None:
            (result,) = await asyncio.gather(call, return_exceptions=True)  # type: ignore[call-overload]
            return result  # type: ignore[no-any-return]

        return self.runner.run(caught())

    def teardown(self) -> None:
        if hasattr(self, "journal"):
            self.runner.run(self.journal.close())
        self.runner.close()
        self.directory.cleanup()


TestJournalAgainstADictionary = JournalMachine.TestCase
TestJournalAgainstADictionary.settings = settings(max_examples=40, stateful_step_count=25)
