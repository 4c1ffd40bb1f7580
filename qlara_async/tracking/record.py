"""What is known of one message: a join over everything that was told, and what of it is an outcome to tell on.

Pure: the result depends on what was told, never on its order or number (guarantee G10).
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypeAlias, get_args

import msgspec

from ..errors import ConfigurationError
from ..models.answers import MessageStatus, Receipt
from ..models.channel import Channel, DeliveryStatus
from ..models.events import Delivery, Read, SourceKind
from ..models.message import Message
from ..models.trust import Trust
from ..protocol.status import advance, is_final, leg_status, message_status

__all__ = [
    "OUTCOMES",
    "TARGETS",
    "Notice",
    "Record",
    "Report",
    "StatusChange",
    "Target",
    "check_target",
    "poll_report",
    "record_of",
]

Report: TypeAlias = Delivery | Read
"""An event that says something about a message we sent."""

Target = Literal["delivered", "read", "final"]
"""What can be waited for."""

TARGETS: tuple[str, ...] = get_args(Target)

_FAILED = frozenset({DeliveryStatus.EXPIRED, DeliveryStatus.ERROR})
OUTCOMES = _FAILED | frozenset({DeliveryStatus.DELIVERED, DeliveryStatus.READ})
"""Statuses that answer "did it arrive?"."""


class StatusChange(msgspec.Struct, frozen=True, kw_only=True):
    """A message has reached a status, all its parts and channels considered.

    Attributes:
        message_id: the id the message was sent with.
        channel: the channel the status was reached on: another than the message's own if a fallback was used.
        status: the status.
        previous: the status told before; ``UNKNOWN`` if none was.
        final: only a read receipt (or the late delivery of a message that was told as failed) can still follow.
        source_kind: whether a callback or a poll told it first.
        occurred_at: the time the gateway names, aware; ``None`` if it names none.
    """

    message_id: str
    channel: Channel
    status: DeliveryStatus
    previous: DeliveryStatus
    final: bool
    source_kind: SourceKind
    occurred_at: datetime | None = None


class Notice(msgspec.Struct, eq=False):
    """A change that a handler has still to be told of; ``attempts`` counts the run to come."""

    handler: str
    change: StatusChange
    attempts: int = 1


class Record(msgspec.Struct, kw_only=True, eq=False):
    """A tracked message.

    Attributes:
        message_id: the id it was sent with.
        channel: the channel it was sent on.
        fallbacks: channels the gateway tries next if that fails, in order.
        notified: the gateway was asked for callbacks.
        sent_at: seconds since the epoch; the scheduled time, if it has one.
        legs: what was told, by channel and part.
        totals: number of parts by channel, the lowest told.
        told: the last outcome told on.
        closed: given up: what is known now is the end.
        ended_at: seconds since the epoch when it became final, or was given up.
        description: the gateway's words with the last change.
        gateway_ids: ids of the gateway's own that callbacks used for it.
        notices: changes that handlers have still to be told of.
    """

    message_id: str
    channel: Channel
    sent_at: float
    fallbacks: tuple[Channel, ...] = ()
    notified: bool = True
    legs: dict[str, dict[int | None, DeliveryStatus]] = {}
    totals: dict[str, int] = {}
    told: DeliveryStatus = DeliveryStatus.UNKNOWN
    closed: bool = False
    ended_at: float | None = None
    description: str | None = None
    gateway_ids: list[str] = []
    notices: list[Notice] = []

    @property
    def words(self) -> tuple[str, ...]:
        """Its ids and the gateway's words: where a phone number could stand."""
        return self.message_id, *self.gateway_ids, self.description or ""

    @property
    def status(self) -> DeliveryStatus:
        """The message's status, by all its parts on its best channel."""
        return message_status(self.legs, self.totals)

    @property
    def final(self) -> bool:
        """Whether only a read receipt can still change the answer to "did it arrive?"."""
        return is_final(self.status, fallback_pending=self._fallback_pending)

    @property
    def over(self) -> bool:
        """Whether nothing more is to be asked about it: final, or given up."""
        return self.closed or self.final

    def snapshot(self, status: DeliveryStatus | None = None) -> MessageStatus:
        """The message's status, or another that it had, as the status API would give it."""
        status = status or self.status
        return MessageStatus(
            message_id=self.message_id,
            channel=self._channel_of(status),
            status=status,
            status_text=status.value,
            description=self.description,
        )

    def hear(self, report: Report) -> tuple[bool, StatusChange | None]:
        """Take a report in. Return whether it told anything new, and the outcome it led to, if any."""
        channel = str(report.channel or self.channel)
        part, total, status = None, None, DeliveryStatus.READ
        if isinstance(report, Delivery):
            part, total, status = report.part, report.total_parts, report.status
        leg = self.legs.get(channel, {})
        joined = advance(leg.get(part), status)
        fewest = min(filter(None, (self.totals.get(channel), total)), default=None)
        if joined is leg.get(part) and fewest == self.totals.get(channel):
            return False, None
        self.legs[channel] = {**leg, part: joined}
        if fewest is not None:
            self.totals[channel] = fewest
        if isinstance(report, Delivery) and report.description:
            self.description = report.description
        return True, self._change(report.source_kind, report.occurred_at)

    def close(self) -> StatusChange | None:
        """Give the message up. A failure that a fallback might have mended is final now."""
        self.closed = True
        return self._change("poll", None)

    def reached(self, target: Target) -> bool:
        """Whether a wait for `target` is over."""
        if target == "final":
            return self.final
        status = self.status
        return status is DeliveryStatus.READ or (target == "delivered" and status is DeliveryStatus.DELIVERED)

    def unreachable(self, target: Target) -> bool:
        """Whether the message has ended in a way that `target` cannot follow on."""
        status = self.status
        if self.reached(target) or not self.final or target == "final":
            return False
        # An SMS has no read receipt.
        return status in _FAILED or (target == "read" and self._legs_at(DeliveryStatus.DELIVERED) == [Channel.SMS])

    def to_ask(self) -> list[Channel]:
        """The channels whose status is worth asking for: the fallbacks only once the message's own has failed."""
        if self._leg(self.channel) not in OUTCOMES:
            return [self.channel]
        return [channel for channel in self.fallbacks if self._leg(channel) not in OUTCOMES]

    @property
    def _fallback_pending(self) -> bool:
        """Whether another channel may still be tried: until the last of them has ended too.

        An account may turn SMS into RCS first: then a failure told on RCS is not the end either.
        """
        last = (self.channel, *self.fallbacks)[-1]
        return not self.closed and self._leg(last) not in OUTCOMES

    def _change(self, source_kind: SourceKind, occurred_at: datetime | None) -> StatusChange | None:
        status, final, previous = self.status, self.final, self.told
        if status in _FAILED and (not final or previous in _FAILED):
            return None  # no outcome yet; or the same one, since the status API's EXPIRED is the callback's "failed"
        if advance(previous, status) is previous:
            return None
        self.told = status
        return StatusChange(
            message_id=self.message_id,
            channel=self._channel_of(status),
            status=status,
            previous=previous,
            final=final,
            source_kind=source_kind,
            occurred_at=occurred_at,
        )

    def _leg(self, channel: str) -> DeliveryStatus:
        return leg_status(self.legs.get(channel, {}), self.totals.get(channel))

    def _legs_at(self, status: DeliveryStatus) -> list[str]:
        return [channel for channel in self.legs if self._leg(channel) is status]

    def _channel_of(self, status: DeliveryStatus) -> Channel:
        reached = self._legs_at(status)
        return next((channel for channel in (self.channel, *Channel) if channel in reached), self.channel)


def check_target(target: str) -> None:
    """Raise ``ConfigurationError`` if `target` is not a `Target`."""
    if target not in TARGETS:
        raise ConfigurationError(f"what can be waited for is {', '.join(TARGETS)}")


def record_of(receipt: Receipt, message: Message | None, *, now: float) -> Record:
    """Begin the record of an accepted message; without `message` it has no fallbacks that we know of."""
    sent_at, fallbacks = now, []
    if message is not None:
        if message.scheduled_date is not None:
            sent_at = max(now, message.scheduled_date.timestamp())
        if getattr(message, "fallback_rcs", None) is not None:
            fallbacks.append(Channel.RCS)
        if getattr(message, "fallback_sms", None) is not None:
            fallbacks.append(Channel.SMS)
    return Record(
        message_id=receipt.message_id,
        channel=receipt.channel,
        sent_at=sent_at,
        fallbacks=tuple(fallbacks),
        notified=message is None or message.enable_notification,
        totals={Channel.SMS.value: receipt.parts} if receipt.parts and receipt.channel is Channel.SMS else {},
    )


def poll_report(status: MessageStatus, received_at: datetime) -> Delivery:
    """Put what the status API said into the event that a callback would have been."""
    return Delivery(
        channel=status.channel,
        message_id=status.message_id,
        status=status.status,
        description=status.description,
        received_at=received_at,
        source_kind="poll",
        trust=Trust.CONFIRMED,
        raw=status.raw,
    )
