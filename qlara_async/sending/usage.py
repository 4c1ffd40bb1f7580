"""What a client has done: counters that cost next to nothing."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType

from ..errors import QlaraError
from ..models.answers import Receipt
from ..models.channel import Channel
from ..models.message import Message, Sms
from ..models.telemetry import ClientEvent, LimiterWaited, RetryScheduled
from ..protocol.outcomes import OutcomeState, state_of
from ..protocol.prices import Price, cost_of, prices_of

__all__ = ["Usage"]


class Usage:
    """What a client and its views have done since it was made. It is live: the counts only grow.

    Attributes:
        requests: put on the wire, retries included.
        parts: of the accepted SMS, as the gateway counted them, or as we do where it did not say.
        simulated: accepted messages that were dry runs, which count nowhere else.
        rejected: messages the gateway said no to (``accepted: false``, 400, 404, 422 …).
        failed: messages that were provably not accepted, for a reason that is not theirs.
        unknown: messages that may have been accepted (``DeliveryUnknownError``).
        retries: further attempts that were scheduled.
        rate_limited: answers with 429.
        waits: times a request waited for the limiter.
        waited: seconds of that, of all requests together.
    """

    __slots__ = (
        "_accepted",
        "failed",
        "parts",
        "rate_limited",
        "rejected",
        "requests",
        "retries",
        "simulated",
        "unknown",
        "waited",
        "waits",
    )

    def __init__(self) -> None:
        self.requests = self.parts = self.simulated = self.rejected = self.failed = self.unknown = 0
        self.retries = self.rate_limited = self.waits = 0
        self.waited = 0.0
        self._accepted = dict.fromkeys(Channel, 0)

    @property
    def accepted(self) -> Mapping[Channel, int]:
        """Accepted messages by the channel they were sent on; a fallback of the gateway's own does not change it."""
        return MappingProxyType(self._accepted)

    def cost(self, price: Price) -> Decimal:
        """Return what the accepted messages cost at a price of your own: the gateway does not tell its prices.

        Args:
            price: of one SMS part, or of one message on another channel; or one for each channel, by its name. Of a
                channel without a price there must be no accepted message.

        Raises:
            ConfigurationError: a price is none, or is missing.
        """
        return cost_of({**self._accepted, Channel.SMS: self.parts}, prices_of(price))

    def accept(self, message: Message, receipt: Receipt) -> None:
        """Count an accepted message."""
        if receipt.simulation:
            self.simulated += 1
            return
        self._accepted[message.channel] += 1
        if isinstance(message, Sms):
            self.parts += receipt.parts or message.segments.parts

    def end(self, error: QlaraError) -> None:
        """Count a message that was not accepted, or may have been."""
        state = state_of(error)
        if state is OutcomeState.REJECTED:
            self.rejected += 1
        elif state is OutcomeState.FAILED:
            self.failed += 1
        elif state is OutcomeState.UNKNOWN:
            self.unknown += 1

    def note(self, event: ClientEvent) -> None:
        """Count what the client tells."""
        if isinstance(event, LimiterWaited):
            self.waits += 1
            self.waited += event.seconds
        elif isinstance(event, RetryScheduled):
            self.retries += 1

    def __repr__(self) -> str:
        counts = ", ".join(f"{name}={getattr(self, name)}" for name in ("requests", "rejected", "failed", "unknown"))
        return f"Usage(accepted={sum(self._accepted.values())}, {counts})"
