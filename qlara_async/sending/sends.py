"""One message's whole story, from its id to its receipt."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

from ..clock import Clock
from ..errors import (
    DeliveryUnknownError,
    InvalidMessageError,
    QlaraError,
    ServerError,
    TransportError,
    UndecodableAnswerError,
)
from ..loggers import client_logger
from ..models.answers import MessageStatus, Receipt
from ..models.message import Message, Rcs, Sms, WhatsApp, fix_message_id
from ..models.telemetry import RetryScheduled
from ..protocol.absence import Presence
from ..protocol.requests import Request, send_request
from ..protocol.responses import receipt_of
from .calls import Caller, CallOptions, Pursuit
from .gates import admit
from .lookups import Lookups

__all__ = ["ReceiptListener", "Sender", "new_message_id"]

ReceiptListener = Callable[[Message, Receipt], object]
"""Called with each message the gateway has accepted, before the send returns."""

# A generator of its own, seeded by the system: an application that seeds `random` must not repeat ids, nor may two
# processes after a fork.
_RANDOM = random.Random()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_RANDOM.seed)


def new_message_id() -> str:
    """Mint an id: 128 random bits as 32 hexadecimal digits."""
    return _RANDOM.getrandbits(128).to_bytes(16, "big").hex()


class Sender:
    """Sends messages, none of them twice (guarantee G1).

    A send that ended in doubt is looked up. If the gateway has the message, that is its receipt; if it provably does
    not, the send is repeated within the policy; else the doubt is told.
    """

    def __init__(self, caller: Caller, lookups: Lookups, clock: Clock) -> None:
        self._caller = caller
        self._lookups = lookups
        self._clock = clock
        self._listeners: list[ReceiptListener] = []

    def listen(self, listener: ReceiptListener) -> Callable[[], None]:
        """Tell `listener` of every accepted message, until the returned function is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    async def send(self, options: CallOptions, message: Message, pursuit: Pursuit | None = None) -> Receipt:
        """Send `message` if the gates let it pass; its id is minted and fixed before they are asked.

        `pursuit` tells how far the send came.

        Raises:
            NotSentError: a gate refused it.
            DeliveryUnknownError: it may have been accepted; ``message_id`` says what to look up.
            MessageRejectedError: the gateway answered 2xx and did not accept it.
            ApiError: the gateway refused it (4xx), or failed (5xx) and provably does not have it.
            TransportError: it provably did not reach the gateway (``sent == "no"``) within the policy.
        """
        if not isinstance(message, (Sms, Rcs, WhatsApp)):
            raise InvalidMessageError(f"send takes Sms, Rcs or WhatsApp, not {type(message).__name__}; rows go to bulk")
        fix_message_id(message, new_message_id)
        if options.gates or options.simulation:
            message = await admit(options.gates, message, simulation=options.simulation)
        return await self.pursue(options, message, pursuit)

    async def send_again(self, options: CallOptions, message: Message) -> Receipt:
        """Send a message whose id is fixed and which may have been sent before: it is looked up first.

        Raises like `send`.
        """
        patience = options.retry.max_elapsed
        message_id, channel = message.message_id or "", message.channel
        finding = await self._lookups.find(message_id, channel, options, patience=patience)
        if finding.status is not None:
            return self.accepted(message, self._found(message, finding.status, attempts=0))
        if finding.presence is Presence.OPEN:
            raise _in_doubt(message_id, attempts=0)
        return await self.send(options, message)

    async def pursue(self, options: CallOptions, message: Message, pursuit: Pursuit | None = None) -> Receipt:
        """Send a message that the gates have let pass and whose id is fixed. `pursuit` tells how far the send came.

        Raises like `send`, but for what gates raise.
        """
        try:
            return await self._pursue(options, message, Pursuit() if pursuit is None else pursuit)
        except QlaraError as error:
            self._caller.usage.end(error)
            raise

    async def _pursue(self, options: CallOptions, message: Message, pursuit: Pursuit) -> Receipt:
        request = send_request(message)
        while True:
            try:
                response = await self._caller.call(request, options, pursuit)
                receipt = receipt_of(response, request, message.channel, attempts=pursuit.attempts)
            except (TransportError, ServerError, UndecodableAnswerError) as error:
                if isinstance(error, TransportError) and error.sent == "no":
                    raise
                found = await self._clear_up(error, request, message, options, pursuit)
                if found is not None:
                    return self.accepted(message, found)
            else:
                self._lookups.remember(message.channel, receipt.message_id)
                return self.accepted(message, receipt)

    def accepted(self, message: Message, receipt: Receipt) -> Receipt:
        """Count it, tell the listeners, and return the receipt."""
        self._caller.usage.accept(message, receipt)
        for listener in self._listeners:
            try:
                listener(message, receipt)
            except Exception as error:  # the message is accepted, whatever a listener thinks of it
                client_logger.error("a listener for receipts raised %s", type(error).__name__)
        return receipt

    async def _clear_up(
        self, doubt: QlaraError, request: Request, message: Message, options: CallOptions, pursuit: Pursuit
    ) -> Receipt | None:
        """Return the receipt if the gateway has the message, ``None`` if it is to be sent again; else raise."""
        message_id, channel = request.message_id or "", message.channel
        patience = options.retry.max_elapsed - pursuit.elapsed(self._clock.monotonic())
        finding = await self._lookups.find(message_id, channel, options, patience=patience)
        if finding.status is not None:
            return self._found(message, finding.status, attempts=pursuit.attempts)
        if finding.presence is Presence.OPEN:
            raise _in_doubt(message_id, attempts=pursuit.attempts) from doubt
        exhausted = pursuit.attempts >= options.retry.max_attempts
        if exhausted or pursuit.elapsed(self._clock.monotonic()) > options.retry.max_elapsed:
            if isinstance(doubt, TransportError):
                doubt.sent = "no"  # by the rule of absence
            raise doubt
        self._caller.tell(
            RetryScheduled(
                attempt=pursuit.attempts,
                delay=0.0,
                reason="absent",
                error=type(doubt).__name__,
                message_id=message_id,
            )
        )
        return None

    def _found(self, message: Message, status: MessageStatus, *, attempts: int) -> Receipt:
        self._lookups.remember(message.channel, status.message_id)
        return Receipt(
            message_id=status.message_id,
            channel=message.channel,
            simulation=message.simulation,
            attempts=attempts,
            looked_up=True,
            raw=status.raw,
        )


def _in_doubt(message_id: str, *, attempts: int) -> DeliveryUnknownError:
    text = "the message may have been accepted: look its id up before sending it again"
    return DeliveryUnknownError(text, attempts=attempts, message_id=message_id)
