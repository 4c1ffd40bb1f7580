"""Delivery by a journal: what an earlier run of the job has done is not done again (guarantee G5)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from ..clock import Clock
from ..errors import ClientStateError, DeliveryUnknownError, InvalidMessageError, QlaraError
from ..limiter import Limiter
from ..models.answers import Receipt
from ..models.channel import Channel
from ..models.message import Message, fix_message_id
from ..protocol.absence import Presence
from ..protocol.outcomes import OutcomeState, state_of
from ..sending.calls import CallOptions, Pursuit
from ..sending.gates import admit, simulated
from ..sending.lookups import Finding, Lookups
from ..sending.sends import Sender
from .journal import Entry, JournalWriter, RowState
from .outcome import OnUnknown, Outcome
from .rows import Row

__all__ = ["JournalledDelivery"]

_FINAL = frozenset({RowState.ACCEPTED, RowState.REJECTED, RowState.INVALID})
_CONTROLS = 4


class JournalledDelivery:
    """Delivers each row by what the journal says of it.

    Accepted, rejected and invalid rows are final. Rows that were in flight when the process died are looked up and
    sent only if absent. Unknown rows are looked up again and never sent again by themselves. Everything else is sent
    if the gates let it pass: a skipped row is no exception, for what refused it may have changed. A row's id and
    digest are journalled before its first byte can leave, its outcome before it is told.
    """

    def __init__(
        self,
        journal: JournalWriter,
        sender: Sender,
        lookups: Lookups,
        limiters: Sequence[Limiter],
        *,
        options: CallOptions,
        clock: Clock,
        on_unknown: OnUnknown,
    ) -> None:
        self._journal = journal
        self._sender = sender
        self._lookups = lookups
        self._limiters = limiters
        self._options = options
        self._clock = clock
        self._on_unknown = on_unknown
        self._sending = asyncio.Semaphore()
        self._entries: dict[int, Entry] = {}
        self._opened = 0.0

    async def open(self, concurrency: int) -> None:
        """Open the journal, count the grants of an earlier run against the limit, and learn controls for look-ups.

        The journal does not know with which key it was that they were made: they count for all of them.

        Args:
            concurrency: rows that are sent at a time, at most; those that are being written once they have ended do not
                count.
        """
        self._sending = asyncio.Semaphore(concurrency)
        await self._journal.open()
        try:
            self._opened = self._clock.monotonic()
            now = self._clock.time()
            grants = await self._journal.recent_grants(now)
            for limiter in self._limiters:
                limiter.count_earlier([self._opened - (now - granted) for granted in grants])
            for channel in Channel:
                for message_id in await self._journal.controls(channel, _CONTROLS):
                    self._lookups.remember(channel, message_id)
        except BaseException:
            await self._journal.close()
            raise

    async def close(self) -> None:
        """Close the journal."""
        await self._journal.close()

    async def missing(self, drawn: int) -> int:
        """Count the journalled rows that a source of `drawn` items did not give again."""
        return await self._journal.rows_missing(drawn)

    async def receive(self, row: Row) -> Row:
        """Compare a row with the journal's, before it or any later one can be sent.

        Raises:
            JournalMismatchError: its content differs.
        """
        if self._options.simulation and row.message is not None:
            # Here already, so that the journal of a dry run is not taken for that of the real job.
            row = msgspec.structs.replace(row, message=simulated(row.message))
        entry = await self._journal.expected(row.index)
        if entry is not None:
            self._journal.verify(entry, row.item, row.message)
            self._entries[row.index] = entry
        return row

    async def deliver(self, row: Row) -> Outcome:
        """Send the row, look it up, or take its outcome from the journal."""
        entry = self._entries.pop(row.index, None)
        if entry is not None and entry.state in _FINAL:
            return self._resumed(row, entry)
        if row.message is None:
            return await self._record_invalid(row, row.error)
        fixed = entry.message_id if entry is not None and entry.message_id else self._journal.mint(row.index)
        fix_message_id(row.message, lambda: fixed)
        if entry is not None and entry.state is RowState.UNKNOWN:
            return await self._ask_again(row, row.message, entry)
        if entry is not None and entry.state is RowState.STARTED:
            return await self._clear_up(row, row.message, entry)
        return await self._send(row, row.message, None)

    def _resumed(self, row: Row, entry: Entry) -> Outcome:
        message_id = entry.message_id
        if row.message is not None and message_id is not None:
            fix_message_id(row.message, lambda: message_id)
        state = OutcomeState(entry.state.value)
        return Outcome.of(row, state, receipt=entry.receipt, error=entry.error, resumed=True)

    async def _record_invalid(self, row: Row, error: InvalidMessageError | None) -> Outcome:
        await self._journal.record(row.index, OutcomeState.INVALID, self._journal.digest(row.item), error=error)
        return Outcome.of(row, OutcomeState.INVALID, error=error)

    async def _ask_again(self, row: Row, message: Message, entry: Entry) -> Outcome:
        finding = await self._lookups.look_now(_id_of(message), message.channel, self._options)
        if finding.status is not None:
            return await self._found(row, message, finding)
        if self._on_unknown == "resend":
            return await self._send(row, message, entry)
        return self._resumed(row, entry)

    async def _clear_up(self, row: Row, message: Message, entry: Entry) -> Outcome:
        # When the process died is not known: at the latest when this one opened the journal.
        finding = await self._lookups.find(
            _id_of(message),
            message.channel,
            self._options,
            patience=self._options.retry.max_elapsed,
            ended=self._opened,
        )
        if finding.status is not None:
            return await self._found(row, message, finding)
        if finding.presence is Presence.ABSENT:
            return await self._send(row, message, entry)
        error = DeliveryUnknownError(
            "an earlier run ended while the message was under way, and looking it up did not tell what became of it",
            message_id=message.message_id,
        )
        await self._journal.finish(row.index, OutcomeState.UNKNOWN, error=error)
        return Outcome.of(row, OutcomeState.UNKNOWN, error=error)

    async def _found(self, row: Row, message: Message, finding: Finding) -> Outcome:
        receipt = Receipt(
            message_id=_id_of(message),
            channel=message.channel,
            looked_up=True,
            simulation=message.simulation,
            raw=b"" if finding.status is None else finding.status.raw,
        )
        self._lookups.remember(message.channel, receipt.message_id)
        await self._journal.finish(row.index, OutcomeState.ACCEPTED, receipt=receipt)
        self._sender.accepted(message, receipt)
        return Outcome.of(row, OutcomeState.ACCEPTED, receipt=receipt)

    async def _send(self, row: Row, message: Message, doubtful: Entry | None) -> Outcome:
        """Send a message; `doubtful` is its row if it may have been sent before."""
        pursuit = Pursuit()
        async with self._sending:  # the gates are asked when it is the row's turn: a STOP that came meanwhile counts
            admitted = message
            if self._options.gates:
                try:
                    admitted = await admit(self._options.gates, message, simulation=self._options.simulation)
                except QlaraError as error:
                    return await self._not_admitted(row, message, error, doubtful)
            try:
                await self._journal.begin(row.index, _id_of(message), message.channel, self._journal.digest(message))
            except InvalidMessageError as error:
                return await self._record_invalid(row, error)
            outcome = await self._pursued(row, admitted, pursuit)
        await self._journal.finish(
            row.index,
            outcome.state,
            attempts=pursuit.attempts,
            receipt=outcome.receipt,
            error=outcome.error,
            granted_at=self._wall_time(pursuit.last_grant) if pursuit.last_grant else None,
        )
        return outcome

    async def _pursued(self, row: Row, message: Message, pursuit: Pursuit) -> Outcome:
        try:
            receipt = await self._sender.pursue(self._options, message, pursuit)
        except ClientStateError:
            raise
        except QlaraError as error:
            return Outcome.of(row, state_of(error), error=error)
        return Outcome.of(row, OutcomeState.ACCEPTED, receipt=receipt)

    async def _not_admitted(self, row: Row, message: Message, error: QlaraError, doubtful: Entry | None) -> Outcome:
        if isinstance(error, ClientStateError):
            raise error
        if doubtful is not None and doubtful.state is RowState.UNKNOWN:
            return self._resumed(row, doubtful)  # what is not sent again may have been sent before
        state = state_of(error)
        if doubtful is not None:
            await self._journal.finish(row.index, state, error=error)
        elif isinstance(error, InvalidMessageError):
            return await self._record_invalid(row, error)
        else:
            digest = self._journal.digest(message)
            await self._journal.record(row.index, state, digest, channel=message.channel, error=error)
        return Outcome.of(row, state, error=error)

    def _wall_time(self, monotonic: float) -> float:
        return self._clock.time() - (self._clock.monotonic() - monotonic)


def _id_of(message: Message) -> str:
    if message.message_id is None:
        raise ClientStateError("the message's id is fixed before it is looked up or sent")
    return message.message_id
