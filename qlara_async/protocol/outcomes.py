"""How a message can end, and which error stands for which end."""

from __future__ import annotations

from enum import StrEnum

from ..errors import (
    ApiError,
    AuthenticationError,
    DeliveryUnknownError,
    InvalidMessageError,
    MessageRejectedError,
    NotSentError,
    PermissionDeniedError,
    QlaraError,
    RateLimitError,
)

__all__ = ["OutcomeState", "state_of"]


class OutcomeState(StrEnum):
    """How one message ended."""

    ACCEPTED = "accepted"
    """The gateway took it for sending."""
    REJECTED = "rejected"
    """The gateway said no to this message (``accepted: false``, 400, 404, 422 …)."""
    INVALID = "invalid"
    """Never sent: the input is wrong."""
    SKIPPED = "skipped"
    """Never sent, on purpose: a check before the send refused it (`Outcome.reason`)."""
    FAILED = "failed"
    """Provably not accepted, for a reason that is not the message's: no connection, key, rate limit, permissions."""
    UNKNOWN = "unknown"
    """It may have been accepted, and was not repeated."""


_NOT_THE_MESSAGES_FAULT = (AuthenticationError, PermissionDeniedError, RateLimitError)


def state_of(error: QlaraError) -> OutcomeState:
    """Say in which state a message is whose send ended with `error`."""
    if isinstance(error, InvalidMessageError):
        return OutcomeState.INVALID
    if isinstance(error, NotSentError):
        return OutcomeState.SKIPPED
    if isinstance(error, DeliveryUnknownError):
        return OutcomeState.UNKNOWN
    if isinstance(error, MessageRejectedError):
        return OutcomeState.REJECTED
    if isinstance(error, ApiError) and 400 <= error.status < 500 and not isinstance(error, _NOT_THE_MESSAGES_FAULT):
        return OutcomeState.REJECTED
    return OutcomeState.FAILED
