"""What the gateway knows: messages it accepted, their lives and their statuses."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from random import Random
from typing import Any
from uuid import uuid4

import msgspec

from ..clock import Clock
from ..errors import ConfigurationError
from ..models.channel import Channel, DeliveryStatus
from ..protocol.operations.messages import SmsBody
from .callbacks import Courier
from .requests import SendRequest, segments_of
from .timeline import Timeline

__all__ = ["Accepted", "Gateway", "Life"]

_DESCRIPTIONS = {
    DeliveryStatus.SENT: "Handed to the carrier",
    DeliveryStatus.RECEIVED: "Received by the downstream system",
    DeliveryStatus.DELIVERED: "Confirmed on the device",
    DeliveryStatus.ERROR: "Carrier rejection",
    DeliveryStatus.EXPIRED: "Time-to-live passed",
}
_OUTCOMES = frozenset(DeliveryStatus) - {DeliveryStatus.UNKNOWN}


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """How a message lives after it was accepted as SENT. All times are in seconds; scheduled dates are not waited for.

    Attributes:
        received: until RECEIVED, counted from acceptance; ``None`` leaves that state out.
        final: until DELIVERED, ERROR or EXPIRED, counted from acceptance.
        read: until READ, counted from delivery (RCS and WhatsApp).
        errors: share of messages that end as ERROR.
        expiries: share of messages that end as EXPIRED.
        reads: share of delivered RCS and WhatsApp messages that are read.
    """

    received: float | None = None
    final: float = 0.05
    read: float = 0.05
    errors: float = 0.0
    expiries: float = 0.0
    reads: float = 1.0

    def __post_init__(self) -> None:
        if min(self.received or 0.0, self.final, self.read) < 0:
            raise ConfigurationError("Life times are in seconds and must not be negative")
        if self.received is not None and self.received > self.final:
            raise ConfigurationError("Life.received must not come after Life.final")
        if min(self.errors, self.expiries, self.reads) < 0 or self.errors + self.expiries > 1 or self.reads > 1:
            raise ConfigurationError("Life shares are from 0 to 1, and errors and expiries sum to at most 1")


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """A message the sandbox accepted.

    Attributes:
        message_id: as given, or as generated.
        channel: the channel it was sent on.
        destination: the recipient.
        parts: SMS parts; 1 on other channels.
        at: when, on the sandbox's monotonic clock.
        raw: the request's body.
    """

    message_id: str
    channel: Channel
    destination: str
    parts: int
    at: float
    raw: bytes

    def json(self) -> Any:
        """Decode the request's body: the fields as they were sent."""
        return msgspec.json.decode(self.raw)

    def __repr__(self) -> str:
        return f"Accepted(message_id={self.message_id!r}, channel={self.channel.value!r}, parts={self.parts})"

    def __rich_repr__(self) -> Any:
        yield "message_id", self.message_id
        yield "channel", self.channel.value


class _Living:
    """What a message still needs to live; gone with its last step."""

    __slots__ = ("message", "notify", "outcome")

    def __init__(self, message: Accepted, notify: bool, outcome: DeliveryStatus) -> None:
        self.message = message
        self.notify = notify
        self.outcome = outcome


class Gateway:
    """The state of the sandbox.

    Attributes:
        life: may be replaced at any time; it applies to messages accepted from then on.
        accepted: message id -> times accepted.
        messages: what was accepted, in order; the last ``keep`` if that was limited.
        refusals: destination -> reasons of ``accepted: false``.
        outcomes: destination -> how its messages end.
        credit: of the account, in euros. Messages do not use it up.
    """

    def __init__(
        self, life: Life, *, clock: Clock, timeline: Timeline, courier: Courier, random: Random, keep: int | None
    ) -> None:
        self.life = life
        self.accepted: Counter[str] = Counter()
        self.messages: deque[Accepted] = deque(maxlen=keep)
        self.refusals: dict[str, tuple[str, ...]] = {}
        self.outcomes: dict[str, DeliveryStatus] = {}
        self.credit = 10.324
        self._clock = clock
        self._timeline = timeline
        self._courier = courier
        self._random = random
        self._keep = keep
        self._statuses: dict[Channel, dict[str, DeliveryStatus]] = {channel: {} for channel in Channel}
        self._recent: deque[tuple[Channel, str]] = deque()
        self._hidden: dict[tuple[Channel, str], float] = {}

    def take(self, channel: Channel, request: SendRequest, raw: bytes, *, hidden: float = 0.0) -> dict[str, Any]:
        """Process a valid send; accept it, unless it is a simulation or its destination is refused.

        Args:
            channel: the channel of the endpoint.
            request: the checked request.
            raw: its body.
            hidden: seconds for which the status API shall not know the message.

        Returns:
            The answer's body (sending guide, "Common send response").
        """
        message_id = request.message_id or str(uuid4())
        reasons = self.refusals.get(request.destination, ())
        result: dict[str, Any] = {"accepted": not reasons, "reasons": list(reasons)}
        parts = 1
        if isinstance(request, SmsBody):
            counted = segments_of(request)
            parts = counted.parts
            result |= {"unicode": counted.encoding == "UCS-2", "parts": parts}
        if not reasons and not request.simulation:
            now = self._clock.monotonic()
            message = Accepted(
                message_id=message_id, channel=channel, destination=request.destination, parts=parts, at=now, raw=raw
            )
            if hidden > 0.0:
                self._hidden[channel, message_id] = now + hidden
            self._accept(message, request.enable_notification)
        return {"messageId": message_id, "simulation": request.simulation, "results": {channel.value.lower(): result}}

    def look_up(self, channel: Channel, message_ids: Iterable[str]) -> list[dict[str, str]]:
        """Return what the status API says of those ids that it knows on that channel, in no order."""
        found = [
            {
                "customerMessageId": message_id,
                "deliveryStatus": status.value,
                "deliveryStatusDescription": _DESCRIPTIONS[status],
            }
            for message_id in dict.fromkeys(message_ids)
            if (status := self._status(channel, message_id)) is not None
        ]
        self._random.shuffle(found)
        return found

    def set_outcome(self, destination: str, outcome: DeliveryStatus) -> None:
        """Fix how the messages to a destination end; SENT and RECEIVED leave them there."""
        if outcome not in _OUTCOMES:
            raise ConfigurationError("an outcome is SENT, RECEIVED, DELIVERED, READ, ERROR or EXPIRED")
        self.outcomes[destination] = outcome

    def _accept(self, message: Accepted, notify: bool) -> None:
        self.accepted[message.message_id] += 1
        self.messages.append(message)
        self._know(message.channel, message.message_id)
        outcome = self.outcomes.get(message.destination) or self._draw_outcome(message.channel)
        living = _Living(message, notify, outcome)
        if outcome is DeliveryStatus.RECEIVED or (
            self.life.received is not None and outcome is not DeliveryStatus.SENT
        ):
            self._timeline.after(self.life.received or 0.0, self._receive, living)
        if outcome not in {DeliveryStatus.SENT, DeliveryStatus.RECEIVED}:
            self._timeline.after(self.life.final, self._end, living)

    def _know(self, channel: Channel, message_id: str) -> None:
        self._statuses[channel][message_id] = DeliveryStatus.SENT
        if self._keep is None:
            return
        self._recent.append((channel, message_id))
        if len(self._recent) > self._keep:
            oldest_channel, oldest = self._recent.popleft()
            self._statuses[oldest_channel].pop(oldest, None)
            self._hidden.pop((oldest_channel, oldest), None)

    def _advance(self, message: Accepted, status: DeliveryStatus) -> None:
        statuses = self._statuses[message.channel]
        if message.message_id in statuses:
            statuses[message.message_id] = status

    def _receive(self, living: _Living) -> None:
        self._advance(living.message, DeliveryStatus.RECEIVED)

    def _end(self, living: _Living) -> None:
        message = living.message
        read = living.outcome is DeliveryStatus.READ
        status = DeliveryStatus.DELIVERED if read else living.outcome
        self._advance(message, status)
        if not living.notify:
            return
        if read and message.channel is not Channel.SMS:
            self._timeline.after(self.life.read, self._read, message)
        for part in range(1, message.parts + 1):
            self._tell(message, status, part)

    def _read(self, message: Accepted) -> None:
        # The status API has no READ (API page "Message delivery status"): only the callback tells.
        self._tell(message, DeliveryStatus.READ, 1)

    def _tell(self, message: Accepted, status: DeliveryStatus, part: int) -> None:
        self._courier.tell(
            message.message_id,
            channel=message.channel,
            destination=message.destination,
            status=status,
            part=part,
            parts=message.parts,
        )

    def _status(self, channel: Channel, message_id: str) -> DeliveryStatus | None:
        visible_from = self._hidden.get((channel, message_id))
        if visible_from is None:
            return self._statuses[channel].get(message_id)
        if self._clock.monotonic() < visible_from:
            return None
        del self._hidden[channel, message_id]
        return self._statuses[channel].get(message_id)

    def _draw_outcome(self, channel: Channel) -> DeliveryStatus:
        life, drawn = self.life, self._random.random()
        if drawn < life.errors:
            return DeliveryStatus.ERROR
        if drawn < life.errors + life.expiries:
            return DeliveryStatus.EXPIRED
        if channel is not Channel.SMS and self._random.random() < life.reads:
            return DeliveryStatus.READ
        return DeliveryStatus.DELIVERED
