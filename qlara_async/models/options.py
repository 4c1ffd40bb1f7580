"""What a client can be told: rate limit, time-outs, retry policy."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import ClassVar

import msgspec

from ..errors import ConfigurationError

__all__ = ["Priority", "RateLimit", "RetryPolicy", "Timeouts"]


class Priority(StrEnum):
    """The lane of the limiter a request waits in. ``BULK`` always leaves a reserve to ``INTERACTIVE``."""

    INTERACTIVE = "interactive"
    BULK = "bulk"


class RateLimit(msgspec.Struct, frozen=True):
    """Requests permitted per API key, in any window of one second and in any window of sixty.

    ``RateLimit.PRODUCTION`` (50 a second, 1,000 a minute) and ``RateLimit.TRIAL`` (10 and 100) are the plans of the
    gateway's documentation. Raises ``ConfigurationError`` unless both are at least 1.
    """

    PRODUCTION: ClassVar[RateLimit]
    TRIAL: ClassVar[RateLimit]

    per_second: int
    per_minute: int

    def __post_init__(self) -> None:
        for count in (self.per_second, self.per_minute):
            if type(count) is not int or count < 1:
                raise ConfigurationError("a RateLimit is in whole requests, at least 1 per second and per minute")


RateLimit.PRODUCTION = RateLimit(per_second=50, per_minute=1000)
RateLimit.TRIAL = RateLimit(per_second=10, per_minute=100)


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Time-outs of one attempt, in seconds; waiting for the limiter or for a pooled connection never counts.

    Attributes:
        connect: for opening the TCP and TLS connection. Through a proxy, opening one, its answer and the wait for a
            pooled connection included, may take as long as both together.
        read: for any silence of the gateway once connected, and for reading the whole body of an answer.
    """

    connect: float = 10.0
    read: float = 30.0

    def __post_init__(self) -> None:
        for seconds in (self.connect, self.read):
            if not _is_seconds(seconds) or seconds == 0:
                raise ConfigurationError("time-outs are in seconds and must be above 0")


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How long a send is pursued. Whether it may be repeated at all is not configurable: see guarantee G1.

    Waits double from one second (1, 2, 4 …) and get jitter on top; a ``Retry-After`` of the gateway is a floor.

    Attributes:
        max_attempts: requests put on the wire for one message, the first included.
        max_wait: the longest single wait, in seconds; the gateway asking for more ends the send with the error and its
            ``retry_at``.
        max_elapsed: seconds from the first grant of the limiter after which no further attempt is begun.
        settle: seconds to let pass after an ambiguous attempt before the status API may be believed that a message is
            absent.
    """

    max_attempts: int = 10
    max_wait: float = 120.0
    max_elapsed: float = 300.0
    settle: float = 10.0

    def __post_init__(self) -> None:
        if type(self.max_attempts) is not int or self.max_attempts < 1:
            raise ConfigurationError("RetryPolicy.max_attempts counts the first attempt: it is a whole number from 1")
        if not all(map(_is_seconds, (self.max_wait, self.max_elapsed, self.settle))):
            raise ConfigurationError("RetryPolicy times are in seconds and must not be negative")


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value < math.inf
