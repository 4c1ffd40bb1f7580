"""One message's whole story, from its id to its receipt."""

from __future__ import annotations

import os
import random

from ..errors import DeliveryUnknownError, ServerError, TransportError, UndecodableAnswerError
from ..models.answers import Receipt
from ..models.message import Message, fix_message_id
from ..protocol.requests import send_request
from ..protocol.responses import receipt_of
from .calls import Caller, CallOptions

__all__ = ["new_message_id", "send_message"]

# A generator of its own, seeded by the system: an application that seeds `random` must not repeat ids, nor may two
# processes after a fork.
_RANDOM = random.Random()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_RANDOM.seed)


def new_message_id() -> str:
    """Mint an id: 128 random bits as 32 hexadecimal digits."""
    return f"{_RANDOM.getrandbits(128):032x}"


async def send_message(caller: Caller, options: CallOptions, message: Message) -> Receipt:
    """Send `message` once, and never twice (guarantee G1); its id is minted and fixed before the first attempt.

    Raises:
        DeliveryUnknownError: it may have been accepted; ``message_id`` says what to look up.
        MessageRejectedError: the gateway answered 2xx and did not accept it.
        ApiError: the gateway refused it (4xx).
        TransportError: it provably did not reach the gateway (``sent == "no"``) within the policy.
    """
    fix_message_id(message, new_message_id)
    request = send_request(message)
    try:
        response, attempts = await caller.call(request, options)
    except (TransportError, ServerError) as error:
        if isinstance(error, TransportError) and error.sent == "no":
            raise
        raise _unknown(error.attempts, request.message_id) from error
    try:
        return receipt_of(response, request, message.channel, attempts=attempts)
    except UndecodableAnswerError as error:
        raise _unknown(attempts, request.message_id) from error


def _unknown(attempts: int, message_id: str | None) -> DeliveryUnknownError:
    return DeliveryUnknownError(
        "the message may have been accepted: look its id up before sending it again",
        sent="maybe",
        attempts=attempts,
        message_id=message_id,
    )
