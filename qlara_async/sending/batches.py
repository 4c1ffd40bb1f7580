"""SMS that are sent at the same time share requests: the route of SMS Legacy."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Coroutine, Hashable, Sequence
from typing import TypeAlias

from ..clock import Timer
from ..errors import (
    DeliveryUnknownError,
    MessageRejectedError,
    QlaraError,
    ServerError,
    TransportError,
    UndecodableAnswerError,
)
from ..models.answers import ChannelResult, Receipt
from ..models.channel import Channel
from ..models.message import Message, Sms, fix_message_id
from ..models.telemetry import RetryScheduled
from ..protocol.absence import Presence
from ..protocol.batch_answers import Judgement, Verdict, verdicts_of
from ..protocol.batches import Gathering, Terms, batch_request, check_batchable, terms_of
from ..protocol.redaction import scrub
from .calls import CallOptions, Pursuit
from .gates import admit
from .lookups import Finding
from .sends import Sender, new_message_id

__all__ = ["BatchSender", "BatchingSender", "Ending"]

_ACCEPTED = Judgement.ACCEPTED  # Python 3.11 is slow to find an enum's member, and this one is for each message

Ending: TypeAlias = Receipt | QlaraError
"""How one message of a batch ended."""

_Waiting: TypeAlias = "tuple[Sms, Pursuit | None, _Parcel, int]"


class BatchSender(Sender):
    """A `Sender` that also sends many SMS in one request, which costs one grant of the limiter.

    Each message keeps its own id and its own end: where the answer, or its absence, leaves doubt about some of them,
    those are looked up, all in one query, and only what is provably absent is sent again (guarantee G1).

    Args:
        sender: whose connections, look-ups and listeners it uses.
    """

    def __init__(self, sender: Sender) -> None:
        super().__init__(sender._caller, sender._lookups, sender._clock)
        self._listeners = sender._listeners

    async def send_batch(
        self, options: CallOptions, messages: Sequence[Sms], terms: Terms, pursuit: Pursuit
    ) -> list[Ending]:
        """Send messages in one request, again only those provably absent; return how each ended, in their order."""
        endings: list[Ending | None] = [None] * len(messages)
        left = list(range(len(messages)))
        while left:
            batch = [messages[place] for place in left]
            doubt, found = await self._attempt(options, batch, terms, pursuit)
            for place, ending in zip(left, found, strict=True):
                endings[place] = ending
            left = [place for place in left if endings[place] is None]
            if left and doubt is not None:
                found = await self._look_up(doubt, [messages[place] for place in left], options, pursuit)
                for place, ending in zip(left, found, strict=True):
                    endings[place] = ending
                left = [place for place in left if endings[place] is None]
        return [self._told(message, ending) for message, ending in zip(messages, endings, strict=True) if ending]

    def _told(self, message: Sms, ending: Ending) -> Ending:
        if isinstance(ending, QlaraError):
            self._caller.usage.end(ending)
            return ending
        return self.accepted(message, ending)

    async def _attempt(
        self, options: CallOptions, batch: Sequence[Sms], terms: Terms, pursuit: Pursuit
    ) -> tuple[QlaraError | None, list[Ending | None]]:
        """Make a request; return what doubt it leaves, and the endings of those messages that have one."""
        recipients = {message.message_id or "": message.destination for message in batch}
        try:
            response = await self._caller.call(batch_request(batch, terms), options, pursuit)
            verdicts = verdicts_of(response, recipients)
        except (TransportError, ServerError, UndecodableAnswerError) as error:
            if not (isinstance(error, TransportError) and error.sent == "no"):
                return error, [None] * len(batch)
            return None, [_of(error, message) for message in batch]
        except QlaraError as error:
            return None, [_of(error, message) for message in batch]
        body, attempts = response.body, pursuit.attempts
        endings = [_ending(message, verdicts[message.message_id or ""], body, attempts) for message in batch]
        accepted = [ending.message_id for ending in endings if isinstance(ending, Receipt)]
        for message_id in (*accepted[:1], *accepted[-1:]):
            self._lookups.remember(Channel.SMS, message_id)
        doubt = UndecodableAnswerError(
            "the answer does not say what became of the message", status=response.status, body=body
        )
        return doubt, endings

    async def _look_up(
        self, doubt: QlaraError, messages: Sequence[Sms], options: CallOptions, pursuit: Pursuit
    ) -> list[Ending | None]:
        """Return what became of messages in doubt; ``None`` for those to be sent again."""
        now = self._clock.monotonic()
        patience = options.retry.max_elapsed - pursuit.elapsed(now)
        findings = await asyncio.gather(
            *(
                self._lookups.find(_id_of(message), Channel.SMS, options, patience=patience, ended=now)
                for message in messages
            )
        )
        exhausted = pursuit.attempts >= options.retry.max_attempts
        exhausted = exhausted or pursuit.elapsed(self._clock.monotonic()) > options.retry.max_elapsed
        endings = [
            self._cleared_up(message, finding, doubt, pursuit, exhausted=exhausted)
            for message, finding in zip(messages, findings, strict=True)
        ]
        if None in endings:
            kind = type(doubt).__name__
            self._caller.tell(RetryScheduled(attempt=pursuit.attempts, delay=0.0, reason="absent", error=kind))
        return endings

    def _cleared_up(
        self, message: Sms, finding: Finding, doubt: QlaraError, pursuit: Pursuit, *, exhausted: bool
    ) -> Ending | None:
        message_id, attempts = _id_of(message), pursuit.attempts
        if finding.status is not None:
            self._lookups.remember(Channel.SMS, message_id)
            return Receipt(
                message_id=message_id,
                channel=Channel.SMS,
                simulation=message.simulation,
                attempts=attempts,
                looked_up=True,
                raw=finding.status.raw,
            )
        if finding.presence is Presence.OPEN:
            text = "the message may have been accepted: look its id up before sending it again"
            unknown = DeliveryUnknownError(text, attempts=attempts, message_id=message_id)
            unknown.__cause__ = doubt
            return unknown
        if not exhausted:
            return None
        ending = _of(doubt, message)
        if isinstance(ending, TransportError):
            ending.sent = "no"  # by the rule of absence
        return ending


class BatchingSender(BatchSender):
    """A `BatchSender` whose SMS wait for each other for a moment and leave many in a request; others go as ever.

    A batch is sent when it is full, or when its first message has waited `flush_after` seconds.

    Args:
        sender: whose connections, look-ups and listeners it uses.
        options: of all its requests.
        batch: messages in a request at most.
        flush_after: seconds the first message of a batch waits for others.
    """

    def __init__(self, sender: Sender, options: CallOptions, *, batch: int, flush_after: float) -> None:
        super().__init__(sender)
        self.batch = batch
        self._options = options
        self._flush_after = flush_after
        self._gathering: Gathering[_Waiting] = Gathering(batch)
        self._timers: dict[Hashable, Timer] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def pursue(self, options: CallOptions, message: Message, pursuit: Pursuit | None = None) -> Receipt:
        """Send a message as part of a batch; see `Sender.pursue`.

        Raises:
            InvalidMessageError: an SMS that this route cannot carry.
        """
        if not isinstance(message, Sms):
            return await super().pursue(options, message, pursuit)
        check_batchable(message)
        endings: list[Ending] = []
        parcel = _Parcel(1, lambda place, ending: endings.append(ending))
        self._gather(message, pursuit, parcel, 0)
        await parcel.ended
        (ending,) = endings
        if isinstance(ending, QlaraError):
            raise ending
        return ending

    async def send_all(self, messages: Sequence[Message], tell: Callable[[int, Ending], object]) -> None:
        """Send messages, at least one, that were checked to be batchable; raises what `tell` raised.

        `tell` is called with the place of each message and how it ended, as soon as that is known. An SMS that no gate
        is asked about costs neither a task nor a future of its own.
        """
        options = self._options
        waits = bool(options.gates) or options.simulation
        parcel = _Parcel(len(messages), tell)
        try:
            for place, message in enumerate(messages):
                fix_message_id(message, new_message_id)
                if waits or not isinstance(message, Sms):
                    self._start(self._send_one(message, parcel, place))
                else:
                    self._gather(message, None, parcel, place)
            await parcel.ended
        finally:
            parcel.ended.cancel()

    async def close(self) -> None:
        """Give up what has not been answered."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    async def _send_one(self, message: Message, parcel: _Parcel, place: int) -> None:
        """Send a message that gates are asked about, or that goes by itself."""
        options = self._options
        try:
            admitted = await admit(options.gates, message, simulation=options.simulation)
            if isinstance(admitted, Sms):
                check_batchable(admitted)
                self._gather(admitted, None, parcel, place)
            else:
                parcel.end(place, await super().pursue(options, admitted))
        except QlaraError as error:
            parcel.end(place, error)
        except asyncio.CancelledError:
            parcel.ended.cancel()
            raise
        except Exception as error:
            parcel.fail(error)

    def _gather(self, message: Sms, pursuit: Pursuit | None, parcel: _Parcel, place: int) -> None:
        terms = terms_of(message)
        batch = self._gathering.add(terms, (message, pursuit, parcel, place))
        if batch is not None:
            timer = self._timers.pop(terms, None)
            if timer is not None:
                timer.cancel()
            self._start(self._carry(terms, batch))
        elif terms not in self._timers:
            due = self._clock.monotonic() + self._flush_after
            self._timers[terms] = self._clock.call_at(due, lambda: self._flush(terms))

    def _flush(self, terms: Terms) -> None:
        del self._timers[terms]
        self._start(self._carry(terms, self._gathering.take(terms)))

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, terms: Terms, batch: list[_Waiting]) -> None:
        """Send a batch and tell all who wait for it."""
        wanted = [waiting for waiting in batch if not waiting[2].ended.done()]  # a cancelled send is not sent
        pursuit = Pursuit()
        try:
            endings = await self.send_batch(self._options, [waiting[0] for waiting in wanted], terms, pursuit)
        except asyncio.CancelledError:
            for _, _, parcel, _ in wanted:
                parcel.ended.cancel()
            raise
        except Exception as error:
            for _, _, parcel, _ in wanted:
                parcel.fail(error)
            return
        _share(pursuit, wanted)
        for (_, _, parcel, place), ending in zip(wanted, endings, strict=True):
            parcel.end(place, ending)


class _Parcel:
    """Messages whose ends somebody waits for: told one by one, and `ended` once all are."""

    __slots__ = ("_left", "_tell", "ended")

    def __init__(self, size: int, tell: Callable[[int, Ending], object]) -> None:
        self._left = size
        self._tell = tell
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(self, place: int, ending: Ending) -> None:
        """Tell how a message ended, if anybody still waits."""
        if self.ended.done():
            return
        try:
            self._tell(place, ending)
        except Exception as error:
            self.fail(error)
            return
        self._left -= 1
        if self._left == 0:
            self.ended.set_result(None)

    def fail(self, error: Exception) -> None:
        """Tell of a mistake: who waits must not wait for ever."""
        if not self.ended.done():
            self.ended.set_exception(error)


def _ending(message: Sms, verdict: Verdict, body: bytes, attempts: int) -> Ending | None:
    if verdict.judgement is _ACCEPTED:
        results: dict[str, ChannelResult] = {} if verdict.result is None else {Channel.SMS.value: verdict.result}
        return Receipt(
            message_id=message.message_id or "",
            channel=message.channel,
            results=results,
            simulation=message.simulation,
            attempts=attempts,
            raw=body,
        )
    if verdict.judgement is Judgement.OPEN:
        return None
    private = (message.destination, message.sender, message.body, *(message.placeholders or {}).values())
    reasons = () if verdict.result is None else verdict.result.reasons
    return MessageRejectedError(
        reasons=[scrub(reason, private) for reason in reasons],
        message_id=message.message_id,
        attempts=attempts,
        body=body,
    )


def _of(error: QlaraError, message: Sms) -> QlaraError:
    """The error of a whole request, as that of one of its messages."""
    own = copy.copy(error)
    if hasattr(own, "message_id"):
        own.message_id = message.message_id
    return own


def _share(pursuit: Pursuit, batch: Sequence[_Waiting]) -> None:
    """Tell each message's pursuit of the attempts, and the first one's of the grants too: they are counted once."""
    for place, (_, own, _, _) in enumerate(batch):
        if own is None:
            continue
        own.attempts = pursuit.attempts
        if place == 0:
            own.first_grant, own.last_grant = pursuit.first_grant, pursuit.last_grant


def _id_of(message: Sms) -> str:
    return message.message_id or ""
