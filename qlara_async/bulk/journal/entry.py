"""A row of the journal, and how receipts and errors are kept in it."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Any, TypeAlias

import msgspec

from ... import errors
from ...errors import ApiError, JournalDamagedError, MessageRejectedError, QlaraError, UndecodableAnswerError
from ...models.answers import ChannelResult, Receipt
from ...models.channel import Channel

__all__ = ["COLUMNS", "Entry", "RowState", "encode_error", "encode_receipt", "entry_of"]


class RowState(StrEnum):
    """Where a row stands: under way, or as `OutcomeState` has it."""

    STARTED = "started"
    """In flight; or it was, when the process died."""
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    INVALID = "invalid"
    SKIPPED = "skipped"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Entry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A row as journalled. Nothing of the message is kept but its id, its channel and a keyed digest.

    Attributes:
        index: the row's place in the source, from 0.
        message_id: the id it is sent with, for good; ``None`` for a row that never started.
        channel: its channel; ``None`` for a row that is no message.
        state: where it stands.
        digest: keyed digest of its content (`Digests`).
        attempts: requests of its last send.
        finished_at: seconds since the epoch; ``None`` while it is in flight.
        receipt_json: what is kept of the receipt.
        error_json: what is kept of the error.
    """

    index: int
    message_id: str | None
    channel: Channel | None
    state: RowState
    digest: bytes
    attempts: int = 0
    finished_at: float | None = None
    receipt_json: str | None = None
    error_json: str | None = None

    @property
    def receipt(self) -> Receipt | None:
        """The receipt of an accepted row, without its raw answer.

        Raises:
            JournalDamagedError: what is kept of it cannot be read.
        """
        if self.state is not RowState.ACCEPTED or self.message_id is None or self.channel is None:
            return None
        try:
            kept = _KEPT_RECEIPT.decode(self.receipt_json or "{}")
        except msgspec.MsgspecError as error:
            raise _damaged(self.index) from error
        return Receipt(
            message_id=self.message_id,
            channel=self.channel,
            results=kept.results,
            simulation=kept.simulation,
            attempts=self.attempts,
        )

    @property
    def error(self) -> QlaraError | None:
        """The error the row ended with, of the same class and with the same text; without cause and raw answer.

        Raises:
            JournalDamagedError: what is kept of it cannot be read.
        """
        if self.error_json is None:
            return None
        try:
            kept = json.loads(self.error_json)
            return _rebuilt(kept["class"], kept["args"], kept["fields"])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise _damaged(self.index) from error

    def __repr__(self) -> str:
        return f"Entry(index={self.index}, state={self.state.value!r}, message_id={self.message_id!r})"


class _KeptReceipt(msgspec.Struct, omit_defaults=True, gc=False):
    results: dict[str, ChannelResult] = {}
    simulation: bool = False


_KEPT_RECEIPT = msgspec.json.Decoder(_KeptReceipt)
_ENCODER = msgspec.json.Encoder()

_WITH_BODY = (ApiError, MessageRejectedError, UndecodableAnswerError)

_Plain: TypeAlias = str | int | float | bool | None


def encode_receipt(receipt: Receipt) -> str:
    """Encode what a journal keeps of a receipt: the results of each channel, and whether it was a dry run."""
    return _ENCODER.encode(_KeptReceipt(receipt.results, receipt.simulation)).decode()


def encode_error(error: QlaraError) -> str:
    """Encode an error's class and plain attributes. Raw answers are left out: they may hold personal data."""
    fields = {name: value for name, value in vars(error).items() if _is_plain(value)}
    args = [value if _is_plain(value) else str(value) for value in error.args]
    # Of the standard library: it takes any str, also one that is not valid Unicode.
    return json.dumps({"class": type(error).__name__, "args": args, "fields": fields})


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple):
        return all(isinstance(item, _Plain) for item in value)
    return isinstance(value, _Plain)


def _rebuilt(name: str, args: list[Any], fields: dict[str, Any]) -> QlaraError:
    cls = getattr(errors, name, None)
    if not (isinstance(cls, type) and issubclass(cls, QlaraError)):  # written by a version that knows more errors
        return QlaraError(": ".join([name, *map(str, args)]))
    error = cls.__new__(cls, *args)
    error.args = tuple(args)
    if issubclass(cls, _WITH_BODY):
        error.__dict__["body"] = b""
    error.__dict__.update({key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()})
    return error


COLUMNS = "idx, message_id, channel, state, digest, attempts, written_at, receipt, error"
"""The columns that `entry_of` takes, in its order."""


def entry_of(row: tuple[Any, ...]) -> Entry:
    """Make an entry of the values of `COLUMNS`.

    Raises:
        JournalDamagedError: a value is none that a journal can hold.
    """
    index, message_id, channel, state, digest, attempts, written_at, receipt, error = row
    try:
        known = RowState(state)
        return Entry(
            index=index,
            message_id=message_id,
            channel=None if channel is None else Channel(channel),
            state=known,
            digest=digest,
            attempts=attempts,
            finished_at=None if known is RowState.STARTED else written_at,
            receipt_json=receipt,
            error_json=error,
        )
    except ValueError as damage:
        raise _damaged(index) from damage


def _damaged(index: int) -> JournalDamagedError:
    return JournalDamagedError(f"row {index} of the journal cannot be read: restore the file from a copy")
