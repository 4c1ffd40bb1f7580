"""What a client tells its ``on_event`` hook: attempts, retries, waits for the limiter, pauses, keys, low credit.

No record holds a key, phone number or text; messages are named by id.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from .options import Priority

__all__ = [
    "ClientEvent",
    "CreditLow",
    "KeyRotated",
    "LimiterPaused",
    "LimiterWaited",
    "RateLimitHeaders",
    "RequestFinished",
    "RetryScheduled",
]


class RateLimitHeaders(msgspec.Struct, frozen=True, kw_only=True):
    """The rate-limit headers of an answer, as seen. Any may be missing.

    Attributes:
        limit: ``X-RateLimit-Limit``.
        remaining: ``X-RateLimit-Remaining``.
        reset_after: ``X-RateLimit-Reset`` as seconds from now (the header's unit is undocumented: a value that can only
            be an epoch is read as one).
    """

    limit: int | None = None
    remaining: int | None = None
    reset_after: float | None = None


class RequestFinished(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt ended.

    Attributes:
        method: the HTTP method.
        path: the path below the base URL, without the query.
        attempt: from 1.
        status: the HTTP status, or ``None`` if no complete answer came.
        error: the class name of the error, if any.
        elapsed: seconds, from the limiter's grant to the end of the answer.
        message_id: the message, if it was a send.
        rate_limit: the answer's rate-limit headers, if it had any.
    """

    method: str
    path: str
    attempt: int
    status: int | None
    error: str | None
    elapsed: float
    message_id: str | None = None
    rate_limit: RateLimitHeaders | None = None


class RetryScheduled(msgspec.Struct, frozen=True, kw_only=True):
    """Another attempt will be made.

    Attributes:
        attempt: the attempt that failed, from 1.
        delay: seconds until the next.
        reason: ``"not sent"``, ``"rate limited"``, ``"absent"`` (looked up, and provably not accepted),
            ``"key refused"`` (another key takes over) or, for requests that are safe to repeat, ``"idempotent"``.
        error: the class name of the error that caused it.
        message_id: the message, if it was a send.
    """

    attempt: int
    delay: float
    reason: str
    error: str
    message_id: str | None = None


class LimiterWaited(msgspec.Struct, frozen=True, kw_only=True):
    """A request waited for the limiter: ``seconds``, in the lane ``priority``."""

    seconds: float
    priority: Priority


class LimiterPaused(msgspec.Struct, frozen=True, kw_only=True):
    """All senders of the key wait ``seconds``, because of ``reason`` (``"429"`` or ``"headers"``)."""

    seconds: float
    reason: str


class KeyRotated(msgspec.Struct, frozen=True, kw_only=True):
    """Another key is used from now on. Keys are numbered from 0, in the order in which the client got them.

    Attributes:
        position: the key in use now.
        previous: the key in use before.
        reason: ``"refused"`` (the gateway answered 401) or ``"asked"`` (`QlaraClient.rotate_key`).
    """

    position: int
    previous: int
    reason: str


class CreditLow(msgspec.Struct, frozen=True, kw_only=True):
    """The account's credit fell below the threshold of a `QlaraClient.credit_watch`.

    Attributes:
        available: what is left to spend.
        threshold: of the watch.
    """

    available: float
    threshold: float


ClientEvent: TypeAlias = RequestFinished | RetryScheduled | LimiterWaited | LimiterPaused | KeyRotated | CreditLow
