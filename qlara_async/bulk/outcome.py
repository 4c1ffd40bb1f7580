"""What became of each message of a bulk job."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from ..errors import NotSentError, QlaraError
from ..models.answers import Receipt
from ..models.message import Message
from ..protocol.outcomes import OutcomeState
from .rows import Row

__all__ = ["BulkSummary", "OnUnknown", "Outcome", "SmsRoute"]

OnUnknown: TypeAlias = Literal["keep", "resend"]
"""What a rerun does with messages that stay unknown after another look-up."""


SmsRoute: TypeAlias = Literal["universal", "legacy"]
"""How a bulk job sends its SMS: one in a request, or many."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one item of the source.

    Attributes:
        index: its place in the source, from 0.
        item: as the source gave it.
        state: how it ended.
        message: the message it is, or was made into; ``None`` where that could not be done.
        receipt: of an accepted message.
        error: of any other.
        resumed: taken from a journal, not sent in this run.
    """

    index: int
    item: object
    state: OutcomeState
    message: Message | None = None
    receipt: Receipt | None = None
    error: QlaraError | None = None
    resumed: bool = False

    @classmethod
    def of(
        cls,
        row: Row,
        state: OutcomeState,
        *,
        receipt: Receipt | None = None,
        error: QlaraError | None = None,
        resumed: bool = False,
    ) -> Outcome:
        """Make the outcome of a row."""
        return cls(
            index=row.index,
            item=row.item,
            message=row.message,
            state=state,
            receipt=receipt,
            error=error,
            resumed=resumed,
        )

    @property
    def message_id(self) -> str | None:
        """The message's id; ``None`` if it was never sent and had none."""
        return None if self.message is None else self.message.message_id

    @property
    def reason(self) -> str | None:
        """Why a skipped message was not sent, in a word, as ``"suppressed"``; ``None`` for any other."""
        return self.error.reason if isinstance(self.error, NotSentError) else None

    def __repr__(self) -> str:
        error = "" if self.error is None else f", error={type(self.error).__name__}"
        return f"Outcome(index={self.index}, state={self.state.value!r}, message_id={self.message_id!r}{error})"


class BulkSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Where a job stands.

    Attributes:
        states: outcomes by state, every state present.
            Outcomes are counted when they are known, which may be before the loop over the job gets them.
        drawn: items taken from the source.
        in_flight: drawn and without an outcome. After a break or a cancellation these are the messages it caught under
            way: each may or may not have been sent.
        resumed: of the outcomes, those taken from a journal.
        missing: rows of the journal that the source did not give again, once it has ended.
        elapsed: seconds from the start of the job to its end, or to now.
    """

    states: dict[OutcomeState, int]
    drawn: int
    in_flight: int
    resumed: int
    missing: int
    elapsed: float

    def __repr__(self) -> str:
        counts = {state.value: count for state, count in self.states.items() if count}
        counts |= {name: count for name in ("in_flight", "resumed", "missing") if (count := getattr(self, name))}
        shown = "".join(f"{name}={count}, " for name, count in counts.items())
        return f"BulkSummary({shown}drawn={self.drawn}, elapsed={self.elapsed:.1f})"

    @property
    def done(self) -> int:
        """Outcomes so far."""
        return sum(self.states.values())

    @property
    def per_second(self) -> float:
        """Achieved rate: messages that went to the gateway in this run, a second."""
        free = self.states[OutcomeState.INVALID] + self.states[OutcomeState.SKIPPED] + self.resumed
        return max(0, self.done - free) / self.elapsed if self.elapsed > 0 else 0.0
