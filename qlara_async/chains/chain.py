"""What a fallback chain is, and how far one has come. Pure: it reads no clock and sends nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import uuid4

import msgspec

from ..errors import ConfigurationError
from ..models.channel import Channel
from ..models.message import Message, Rcs, Sms, WhatsApp, build, fix_message_id
from ..protocol.numbers import normal_number

__all__ = ["ChainResult", "FallbackChain", "Leg", "LegResult", "LegState", "Progress"]

_CLASSES: dict[Channel, type[Message]] = {Channel.SMS: Sms, Channel.RCS: Rcs, Channel.WHATSAPP: WhatsApp}


class LegState(StrEnum):
    """How far one leg of a chain has come."""

    WAITING = "waiting"
    """Not sent: the legs before it are tried first, or one of them succeeded."""
    SENDING = "sending"
    """Under way to the gateway."""
    ACCEPTED = "accepted"
    """Accepted; nothing is known of its delivery."""
    UNKNOWN = "unknown"
    """It may have been accepted."""
    REFUSED = "refused"
    """Provably not accepted."""
    FAILED = "failed"
    """Ended as ERROR or EXPIRED."""
    SILENT = "silent"
    """Its deadline passed. It may still be delivered."""
    DELIVERED = "delivered"
    """Delivered, or read."""


class Leg(msgspec.Struct, kw_only=True):
    """One leg's progress; times are in seconds since the epoch."""

    message_id: str
    channel: Channel
    within: float
    state: LegState = LegState.WAITING
    due: float = 0.0
    error: str | None = None
    fields: dict[str, Any] = {}
    """Of the message, until the chain ends."""

    def message(self) -> Message:
        """Make the message again."""
        fields = dict(self.fields)
        if isinstance(fields.get("scheduledDate"), str):
            fields["scheduledDate"] = datetime.fromisoformat(fields["scheduledDate"])
        return build(_CLASSES[self.channel], fields)

    def __repr__(self) -> str:
        return f"Leg(message_id={self.message_id!r}, channel={self.channel.value!r}, state={self.state.value!r})"

    def __rich_repr__(self) -> Any:
        yield "message_id", self.message_id
        yield "channel", self.channel.value
        yield "state", self.state.value

    @property
    def dead(self) -> bool:
        """Whether it can succeed no more."""
        return self.state in {LegState.REFUSED, LegState.FAILED}

    @property
    def open(self) -> bool:
        """Whether the gateway may have it, and it may still be delivered."""
        return self.state in {LegState.ACCEPTED, LegState.UNKNOWN, LegState.SILENT}


class LegResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a leg: ``error`` is the class name of what its send raised, if it did."""

    message_id: str
    channel: Channel
    state: LegState
    error: str | None = None

    def __repr__(self) -> str:
        error = f", error={self.error!r}" if self.error else ""
        return f"LegResult({self.channel.value}, {self.state.value}, message_id={self.message_id!r}{error})"


class ChainResult(msgspec.Struct, frozen=True, kw_only=True):
    """How a chain ended.

    Attributes:
        chain_id: of the chain.
        winner: the place of the leg that was delivered first, from 0; ``None`` if none was.
        legs: what was known of each leg when the chain ended.
    """

    chain_id: str
    winner: int | None
    legs: tuple[LegResult, ...]

    @property
    def delivered(self) -> bool:
        """Whether some leg was delivered."""
        return self.winner is not None


class Progress(msgspec.Struct, kw_only=True):
    """A chain under way."""

    chain_id: str
    grace: float
    legs: list[Leg]
    winner: int | None = None
    done: bool = False

    def delivered(self, leg: Leg) -> None:
        """Note a delivery. The first one told wins; no later one changes that."""
        leg.state = LegState.DELIVERED
        if self.winner is None:
            self.winner = self.legs.index(leg)

    def goes_to(self, number: str) -> bool:
        """Whether a leg goes to that number, in E.164, of a chain that has not ended."""
        return any(normal_number(leg.fields.get("destination")) == number for leg in self.legs)

    def end(self) -> None:
        """End it here, so that only ids and states are left of it."""
        self.done = True
        for leg in self.legs:
            leg.fields = {}
            if leg.state is LegState.SENDING:
                leg.state = LegState.UNKNOWN

    def result(self) -> ChainResult:
        """How it ended, or stands."""
        legs = [
            LegResult(message_id=leg.message_id, channel=leg.channel, state=leg.state, error=leg.error)
            for leg in self.legs
        ]
        return ChainResult(chain_id=self.chain_id, winner=self.winner, legs=tuple(legs))


class FallbackChain:
    """Messages to be tried in turn until one is delivered.

    The next leg is sent when the one before ended as ERROR or EXPIRED, was provably not accepted, or was silent past
    its deadline. SENT and RECEIVED are silence; READ implies a delivery.

    Args:
        messages: the legs, two or more, none of them sent before.
        within: seconds after its acceptance (or its scheduled time) that a leg has to be delivered; one number, or
            one for each leg.
        grace: seconds beyond the deadline, in which the status is asked for once more and a success still counts.
        chain_id: to find it again after a restart; minted unless given.

    Raises:
        ConfigurationError: fewer than two legs, a message twice or with ``simulation``, or times that cannot work.
    """

    def __init__(
        self,
        messages: Sequence[Message],
        *,
        within: float | Sequence[float],
        grace: float = 5.0,
        chain_id: str | None = None,
    ) -> None:
        self.messages = tuple(messages)
        if len(self.messages) < 2 or not all(isinstance(message, (Sms, Rcs, WhatsApp)) for message in self.messages):
            raise ConfigurationError("a chain has two or more legs: Sms, Rcs or WhatsApp")
        if any(message.simulation for message in self.messages):
            raise ConfigurationError("a simulation is never delivered: it cannot be a leg of a chain")
        if len({id(message) for message in self.messages}) < len(self.messages):
            raise ConfigurationError("each leg is a message of its own")
        count = len(self.messages)
        self.within = tuple(within) if isinstance(within, Sequence) else (within,) * count
        if len(self.within) != count or not all(0 < seconds < math.inf for seconds in self.within):
            raise ConfigurationError("within is in seconds, above 0: one number, or one for each leg")
        if not 0 <= grace < math.inf:
            raise ConfigurationError("grace is in seconds, and not negative")
        self.grace = grace
        self.chain_id = chain_id or uuid4().hex

    def __repr__(self) -> str:
        channels = " → ".join(message.channel.value for message in self.messages)
        return f"FallbackChain({channels}, chain_id={self.chain_id!r})"

    def begin(self) -> Progress:
        """Fix the ids of all legs, and begin."""
        legs = []
        for message, within in zip(self.messages, self.within, strict=True):
            message_id = fix_message_id(message, lambda: uuid4().hex)
            fields = msgspec.json.decode(msgspec.json.encode(message))
            legs.append(Leg(message_id=message_id, channel=message.channel, within=within, fields=fields))
        if len({leg.message_id for leg in legs}) < len(legs):
            raise ConfigurationError("each leg has an id of its own")
        return Progress(chain_id=self.chain_id, grace=self.grace, legs=legs)
