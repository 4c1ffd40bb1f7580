"""Whether a request may be repeated, and when: the rule of guarantees G1 and G3, as a pure function.

A send is repeated only when the last attempt provably did not reach the gateway, or the gateway's rate limit refused
it (what its key check refused is repeated with another key, by `sending.keys`, if there is one). Any other ending may
have been an acceptance. Requests that are safe to repeat by HTTP's own rules (RFC 9110 §9.2.2) are also repeated after
a broken connection, a time-out or a 5xx.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import backoff
import msgspec

from ..errors import ApiError, QlaraError, RateLimitError, ServerError, TransportError
from ..models.options import RetryPolicy

__all__ = ["Repeat", "backoff_waits", "reason_to_repeat", "wait_before_repeat"]

_MAX_JITTER = 1.0


class Repeat(msgspec.Struct, frozen=True):
    """Do it again.

    Attributes:
        floor: seconds nobody with this key should send for; 0 unless the gateway's rate limit said so.
        delay: seconds to wait, jitter included; never below `floor`.
        reason: ``"not sent"``, ``"rate limited"`` or ``"idempotent"``.
    """

    floor: float
    delay: float
    reason: str


def backoff_waits(policy: RetryPolicy) -> Generator[float, Any, None]:
    """Yield the waits between attempts: 1, 2, 4 … seconds, none above ``policy.max_wait``."""
    waits = backoff.expo(base=2, factor=1, max_value=policy.max_wait)
    next(waits)  # the generator's first value is not a wait
    return waits


def reason_to_repeat(error: QlaraError, *, repeatable: bool) -> str | None:
    """Say why a request that ended with `error` may be repeated, or ``None``."""
    if isinstance(error, TransportError) and error.sent == "no":
        return "not sent"
    if isinstance(error, RateLimitError):
        return "rate limited"
    if repeatable and isinstance(error, TransportError | ServerError):
        return "idempotent"
    return None


def wait_before_repeat(
    error: QlaraError,
    policy: RetryPolicy,
    *,
    repeatable: bool,
    attempt: int,
    elapsed: float,
    wait: float,
    random: float,
) -> Repeat | None:
    """Decide about the next attempt; ``None`` means that `error` is the end.

    Args:
        error: how the last attempt ended.
        policy: the bounds.
        repeatable: whether the request is safe to repeat after an ambiguous end.
        attempt: attempts made, from 1.
        elapsed: seconds since the first grant.
        wait: the back-off due now, in seconds.
        random: from [0, 1): the jitter, added above the floor (never below a ``Retry-After``).
    """
    reason = reason_to_repeat(error, repeatable=repeatable)
    if reason is None or attempt >= policy.max_attempts:
        return None
    asked = (error.retry_after or 0.0) if isinstance(error, ApiError) else 0.0
    floor = max(asked, wait)
    delay = floor + random * min(_MAX_JITTER, wait)
    if asked > policy.max_wait or elapsed + delay > policy.max_elapsed:
        return None
    return Repeat(floor=floor if reason == "rate limited" else 0.0, delay=delay, reason=reason)
