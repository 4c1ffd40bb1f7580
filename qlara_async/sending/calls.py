"""One request's whole story: grant → attempt → classify → wait → attempt … → answer or error."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import msgspec

from ..clock import Clock
from ..errors import (
    AuthenticationError,
    ConfigurationError,
    NotSentError,
    QlaraError,
    RateLimitError,
    TransportError,
)
from ..limiter import Limiter
from ..loggers import client_logger
from ..models.options import Priority, RetryPolicy, Timeouts
from ..models.telemetry import (
    ClientEvent,
    KeyRotated,
    LimiterPaused,
    LimiterWaited,
    RequestFinished,
    RetryScheduled,
)
from ..protocol.requests import Request
from ..protocol.responses import Response, error_of, rate_limit_headers
from ..protocol.retry import Repeat, backoff_waits, wait_before_repeat
from ..transport import Credentials, Transport
from .gates import Gate
from .keys import Key, KeyRing
from .usage import Usage

__all__ = ["CallOptions", "Caller", "EventHook", "Exchange", "Pursuit"]

# The limit's longer window, and a second of rounding. A reset further away is in a unit we do not know.
_LONGEST_WINDOW = 61.0

EventHook = Callable[[ClientEvent], object]
Exchange = Callable[[Request, Timeouts], Awaitable[Response]]


class CallOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What may differ from call to call; `gates` and `simulation` are of sends only."""

    timeouts: Timeouts = Timeouts()
    retry: RetryPolicy = RetryPolicy()
    priority: Priority = Priority.INTERACTIVE
    gates: tuple[Gate, ...] = ()
    simulation: bool = False

    def __post_init__(self) -> None:
        for name, kind in (
            ("timeouts", Timeouts),
            ("retry", RetryPolicy),
            ("priority", Priority),
            ("simulation", bool),
        ):
            if not isinstance(getattr(self, name), kind):
                raise ConfigurationError(f"{name} must be a {kind.__name__}")


class Pursuit:
    """How far one send has come: attempts made, and the limiter's first and last grant (monotonic seconds).

    Args:
        wanted: asked before each attempt; once it says no, none is begun.
    """

    __slots__ = ("attempts", "first_grant", "last_grant", "wanted")

    def __init__(self, wanted: Callable[[], bool] | None = None) -> None:
        self.wanted = wanted
        self.attempts = 0
        self.first_grant = 0.0
        self.last_grant = 0.0

    def begin_attempt(self, granted: float) -> None:
        """An attempt begins on the grant of that time."""
        if self.attempts == 0:
            self.first_grant = granted
        self.attempts += 1
        self.last_grant = granted

    def elapsed(self, now: float) -> float:
        """Seconds since the first grant."""
        return now - self.first_grant if self.attempts else 0.0


class Caller:
    """Carries requests to their answers, under the limiter and the retry policy.

    Args:
        transport: the wire.
        keys: the limiter of the one in use is asked for a grant before every attempt.
        clock: time and sleep.
        random: from [0, 1), for jitter.
        on_event: told of attempts, retries, waits, pauses and keys; what it raises is logged and goes no further.

    Attributes:
        usage: counts them.
    """

    def __init__(
        self,
        transport: Transport,
        keys: KeyRing,
        *,
        clock: Clock,
        random: Callable[[], float],
        on_event: EventHook | None = None,
    ) -> None:
        self.transport = transport
        self.clock = clock
        self.usage = Usage()
        self._keys = keys
        self._random = random
        self._on_event = on_event

    @property
    def limiter(self) -> Limiter:
        """The limiter of the key in use."""
        return self._keys.current.limiter

    @property
    def limiters(self) -> list[Limiter]:
        """The limiters of all keys, those included that are not in use any more."""
        return self._keys.limiters

    def rotate_key(self, credentials: Credentials, limiter: Limiter | None) -> None:
        """Use another key from now on; the present one stands by. See `KeyRing.put_first`."""
        previous = self._keys.current
        if self._keys.put_first(credentials, lambda: limiter or Limiter(previous.limiter.rate, clock=self.clock)):
            self._rotated(previous, "asked")

    async def call(
        self,
        request: Request,
        options: CallOptions,
        pursuit: Pursuit | None = None,
        exchange: Exchange | None = None,
    ) -> Response:
        """Return the 2xx answer to `request`; `pursuit`, if given, goes on from where it stands.

        `exchange` makes an attempt, if not the transport's own does: that of an upload or a download.

        Raises:
            ApiError: the gateway answered outside 2xx, and repeating was not allowed or did not help.
            TransportError: no complete answer, likewise; ``sent`` is that of the last attempt.
            NotSentError: the pursuit is not wanted any more.
        """
        pursuit = Pursuit() if pursuit is None else pursuit
        exchange = self.transport.exchange if exchange is None else exchange
        waits: Generator[float, Any, None] | None = None
        failure: QlaraError | None = None
        while True:
            key = self._keys.current
            granted = key.limiter.try_acquire(options.priority)
            if granted is None:
                key, granted = await self._wait_for_grant(request, options, pursuit)
                self._check_in_time(pursuit, options, key, granted, failure)
            if pursuit.wanted is not None and not pursuit.wanted():
                key.limiter.give_back(granted)
                text = "not sent: it is not wanted any more"
                raise NotSentError(text, reason="not_wanted", message_id=request.message_id)
            pursuit.begin_attempt(granted)
            self.usage.requests += 1
            try:
                response = await exchange(request, options.timeouts)
            except TransportError as error:
                error.attempts = pursuit.attempts
                failure = error
                self._finished(request, pursuit, None, error)
            else:
                if 200 <= response.status < 300:
                    self._finished(request, pursuit, response, None)
                    self._heed(response, key)
                    return response
                failure = error_of(
                    response, request, attempts=pursuit.attempts, now=self.clock.time(), secrets=self._keys.secrets
                )
                self._finished(request, pursuit, response, failure)
                if isinstance(failure, AuthenticationError) and self._another_takes_over(key, request, pursuit):
                    failure = None
                    continue
            waits = backoff_waits(options.retry) if waits is None else waits
            await self._pause_or_raise(failure, request, options, pursuit, key, next(waits))

    def _another_takes_over(self, refused: Key, request: Request, pursuit: Pursuit) -> bool:
        """After a 401: whether another key can repeat the request, at once and whatever the policy's bounds."""
        current = self._keys.current
        if not self._keys.drop(refused):
            return False
        if self._keys.current is not current:
            self._rotated(current, "refused")
        self.tell(
            RetryScheduled(
                attempt=pursuit.attempts,
                delay=0.0,
                reason="key refused",
                error=AuthenticationError.__name__,
                message_id=request.message_id,
            )
        )
        return True

    def _rotated(self, previous: Key, reason: str) -> None:
        current = self._keys.current
        self.transport.authenticate(current.credentials)
        client_logger.log(
            logging.WARNING if reason == "refused" else logging.INFO,
            "key %d takes over from key %d (%s)",
            current.position,
            previous.position,
            reason,
        )
        self.tell(KeyRotated(position=current.position, previous=previous.position, reason=reason))

    def _check_in_time(
        self, pursuit: Pursuit, options: CallOptions, key: Key, granted: float, failure: QlaraError | None
    ) -> None:
        """Give the grant back if it came too late: the client was closed, or the send's time is over."""
        if self.transport.closed:
            key.limiter.give_back(granted)
            self.transport.open()
        if failure is not None and pursuit.elapsed(granted) > options.retry.max_elapsed:
            key.limiter.give_back(granted)
            raise failure

    async def _wait_for_grant(self, request: Request, options: CallOptions, pursuit: Pursuit) -> tuple[Key, float]:
        began = self.clock.monotonic()
        # A campaign sits a long pause out; somebody who waits for one message is told when to come back.
        patience = options.retry.max_wait if options.priority is Priority.INTERACTIVE else None
        try:
            key, granted = await self._keys.grant(options.priority, patience)
        except RateLimitError as error:
            error.attempts, error.message_id = pursuit.attempts, request.message_id
            raise
        self.tell(LimiterWaited(seconds=granted - began, priority=options.priority))
        return key, granted

    async def _pause_or_raise(
        self, failure: QlaraError, request: Request, options: CallOptions, pursuit: Pursuit, key: Key, wait: float
    ) -> None:
        repeat = wait_before_repeat(
            failure,
            options.retry,
            repeatable=request.repeatable,
            attempt=pursuit.attempts,
            elapsed=pursuit.elapsed(self.clock.monotonic()),
            wait=wait,
            random=self._random(),
        )
        # The first is news; those after it repeat what somebody has been told.
        news = pursuit.attempts == 1
        if isinstance(failure, RateLimitError):
            self.usage.rate_limited += 1
            news = news and key.limiter.paused_until <= self.clock.monotonic()
            self._pause(key, max(failure.retry_after or 0.0, wait), "429")
        if repeat is None:
            raise failure
        self._retrying(failure, request, pursuit.attempts, repeat, logging.WARNING if news else logging.INFO)
        await self.clock.sleep(repeat.delay)

    def _heed(self, response: Response, key: Key) -> None:
        """Pause on headers only where they leave no doubt: nothing remains, and a reset is named."""
        if response.headers.get("X-RateLimit-Remaining") != "0":
            return
        limits = rate_limit_headers(response.headers, now=self.clock.time())
        if limits is not None and limits.reset_after and limits.reset_after <= _LONGEST_WINDOW:
            self._pause(key, limits.reset_after, "headers")

    def _pause(self, key: Key, seconds: float, reason: str) -> None:
        until = self.clock.monotonic() + seconds
        if until <= key.limiter.paused_until:
            return
        key.limiter.pause_until(until)
        client_logger.info("all sends of this key pause for %.1f s (%s)", seconds, reason)
        self.tell(LimiterPaused(seconds=seconds, reason=reason))

    def _retrying(self, failure: QlaraError, request: Request, attempt: int, repeat: Repeat, level: int) -> None:
        kind = type(failure).__name__
        client_logger.log(
            level,
            "%s %s: %s; attempt %d in %.1f s (%s)",
            request.method,
            request.shown_path,
            failure,
            attempt + 1,
            repeat.delay,
            repeat.reason,
        )
        self.tell(
            RetryScheduled(
                attempt=attempt, delay=repeat.delay, reason=repeat.reason, error=kind, message_id=request.message_id
            )
        )

    def _finished(
        self,
        request: Request,
        pursuit: Pursuit,
        response: Response | None,
        failure: QlaraError | None,
    ) -> None:
        if self._on_event is None:
            return
        self.tell(
            RequestFinished(
                method=request.method,
                path=request.shown_path,
                attempt=pursuit.attempts,
                status=None if response is None else response.status,
                error=None if failure is None else type(failure).__name__,
                elapsed=self.clock.monotonic() - pursuit.last_grant,
                message_id=request.message_id,
                rate_limit=None if response is None else rate_limit_headers(response.headers, now=self.clock.time()),
            )
        )

    def tell(self, event: ClientEvent) -> None:
        """Count it, and tell the hook, if there is one."""
        self.usage.note(event)
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception as error:
            client_logger.error("the on_event hook raised %s", type(error).__name__)
