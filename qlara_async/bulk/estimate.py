"""What a bulk job would send, cost and take; nothing is sent."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterable, Iterable, Sequence
from decimal import Decimal

import msgspec

from ..errors import ConfigurationError, InvalidMessageError, NotSentError
from ..models.channel import Channel
from ..models.message import Message, Sms
from ..models.options import Priority
from ..protocol.batches import check_batchable
from ..protocol.prices import Price, cost_of, prices_of
from ..protocol.windows import GrantWindows
from ..sending.gates import Gate, admit
from .rows import read_row
from .source import Source

__all__ = ["Estimate", "InvalidRow", "estimate"]

_SHOWN = 100
_TURN = 500  # rows between two turns of the event loop


class InvalidRow(msgspec.Struct, frozen=True):
    """A row of which no message can be made: its place in the source, from 0, and why."""

    index: int
    error: InvalidMessageError


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What a bulk job over the same source would do.

    Attributes:
        messages: that would be sent.
        parts: SMS parts of them; a message on another channel counts as one.
        by_channel: messages by channel.
        by_encoding: SMS by encoding, ``GSM-7`` or ``UCS-2``.
        invalid: rows of which no message can be made.
        invalid_rows: the first 100 of them.
        skipped: messages that a check before the send refuses, by its reason (``suppressed`` …).
        requests: that it takes.
        seconds: from the first request to the last, at the client's rate in the bulk lane, from an idle limiter;
            pauses, retries and the time of the last answer aside.
        price: of all, if prices were given.
    """

    messages: int
    parts: int
    by_channel: dict[Channel, int]
    by_encoding: dict[str, int]
    invalid: int
    invalid_rows: tuple[InvalidRow, ...]
    skipped: dict[str, int]
    requests: int
    seconds: float
    price: Decimal | None


class _Tally:
    """Counts messages, in memory that does not grow with them."""

    def __init__(self, prices: dict[Channel, Decimal] | None, windows: GrantWindows, batch: int | None) -> None:
        self.check = None if batch is None else check_batchable
        self._prices = prices
        self._windows = windows
        self._batch = batch or 1
        self._now = 0.0
        self.messages = self.parts = self.requests = self.invalid = 0
        self.by_channel: Counter[Channel] = Counter()
        self.by_encoding: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.invalid_rows: list[InvalidRow] = []
        self._price = Decimal(0)

    def refuse(self, index: int, error: InvalidMessageError) -> None:
        self.invalid += 1
        if len(self.invalid_rows) < _SHOWN:
            self.invalid_rows.append(InvalidRow(index, error))

    def count(self, message: Message) -> None:
        parts = 1
        if isinstance(message, Sms):
            segments = message.segments
            parts = segments.parts
            self.by_encoding[segments.encoding] += 1
        if not isinstance(message, Sms) or self.by_channel[Channel.SMS] % self._batch == 0:
            self._request()
        self.messages += 1
        self.parts += parts
        self.by_channel[message.channel] += 1
        if self._prices is not None:
            self._price += cost_of({message.channel: parts}, self._prices)

    def _request(self) -> None:
        self.requests += 1
        self._now = max(self._now, self._windows.ready_at(Priority.BULK))
        self._windows.grant(self._now)

    def estimate(self) -> Estimate:
        return Estimate(
            messages=self.messages,
            parts=self.parts,
            by_channel=dict(self.by_channel),
            by_encoding=dict(self.by_encoding),
            invalid=self.invalid,
            invalid_rows=tuple(self.invalid_rows),
            skipped=dict(self.skipped),
            requests=self.requests,
            seconds=self._now,
            price=None if self._prices is None else self._price,
        )


async def estimate(
    source: Iterable[object] | AsyncIterable[object],
    *,
    price: Price | None,
    batch: int | None,
    windows: GrantWindows,
    gates: Sequence[Gate],
) -> Estimate:
    """Draw the whole source and count it. `windows`, of an idle limiter, are used up."""
    if batch is not None and (type(batch) is not int or batch < 1):
        raise ConfigurationError("batch counts messages: a whole number from 1")
    tally = _Tally(None if price is None else prices_of(price), windows, batch)
    rows = Source(source)
    try:
        while True:
            await _count_next(rows, tally, gates)
            if rows.drawn % _TURN == 0:
                await asyncio.sleep(0)
    except StopAsyncIteration:
        return tally.estimate()
    finally:
        await rows.close()


async def _count_next(rows: Source, tally: _Tally, gates: Sequence[Gate]) -> None:
    item = await rows.draw()
    row = read_row(rows.drawn - 1, item, tally.check)
    if row.message is None:
        tally.refuse(row.index, row.error or InvalidMessageError("the row cannot be read"))
        return
    try:
        message = await admit(gates, row.message)
    except NotSentError as error:
        tally.skipped[error.reason] += 1
        return
    except InvalidMessageError as error:
        tally.refuse(row.index, error)
        return
    tally.count(message)
