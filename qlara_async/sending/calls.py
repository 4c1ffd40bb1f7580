"""One request's whole story: grant → attempt → classify → wait → attempt … → answer or error."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import msgspec

from ..clock import Clock
from ..errors import QlaraError, RateLimitError, TransportError
from ..limiter import Limiter
from ..loggers import client_logger
from ..models.options import Priority, RetryPolicy, Timeouts
from ..models.telemetry import (
    ClientEvent,
    LimiterPaused,
    LimiterWaited,
    RequestFinished,
    RetryScheduled,
)
from ..protocol.requests import Request
from ..protocol.responses import Response, error_of, rate_limit_headers
from ..protocol.retry import Repeat, backoff_waits, wait_before_repeat
from ..transport import Transport

__all__ = ["CallOptions", "Caller", "EventHook"]

EventHook = Callable[[ClientEvent], object]


class CallOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What may differ from call to call."""

    timeouts: Timeouts = Timeouts()
    retry: RetryPolicy = RetryPolicy()
    priority: Priority = Priority.INTERACTIVE


class Caller:
    """Carries requests to their answers, under the limiter and the retry policy.

    Args:
        transport: the wire.
        limiter: asked for a grant before every attempt.
        clock: time and sleep.
        random: from [0, 1), for jitter.
        on_event: told of attempts, retries, waits and pauses; what it raises is logged and goes no further.
        secrets: credentials to mask in what the gateway answers.
    """

    def __init__(
        self,
        transport: Transport,
        limiter: Limiter,
        *,
        clock: Clock,
        random: Callable[[], float],
        on_event: EventHook | None = None,
        secrets: tuple[str, ...] = (),
    ) -> None:
        self._transport = transport
        self._limiter = limiter
        self._clock = clock
        self._random = random
        self._on_event = on_event
        self._secrets = secrets

    async def call(self, request: Request, options: CallOptions) -> tuple[Response, int]:
        """Return the 2xx answer to `request` and the number of attempts it took.

        Raises:
            ApiError: the gateway answered outside 2xx, and repeating was not allowed or did not help.
            TransportError: no complete answer, likewise; ``sent`` is that of the last attempt.
        """
        first_grant: float | None = None
        waits: Generator[float, Any, None] | None = None
        attempt = 0
        while True:
            granted = self._limiter.try_acquire(options.priority)
            if granted is None:
                granted = await self._wait_for_grant(request, options, attempt)
            first_grant = granted if first_grant is None else first_grant
            attempt += 1
            try:
                response = await self._transport.exchange(request, options.timeouts)
            except TransportError as error:
                error.attempts = attempt
                failure: QlaraError = error
                self._finished(request, attempt, granted, None, error)
            else:
                if 200 <= response.status < 300:
                    self._finished(request, attempt, granted, response, None)
                    self._heed(response)
                    return response, attempt
                failure = error_of(response, request, attempts=attempt, now=self._clock.time(), secrets=self._secrets)
                self._finished(request, attempt, granted, response, failure)
            waits = backoff_waits(options.retry) if waits is None else waits
            await self._pause_or_raise(failure, request, options, attempt, first_grant, next(waits))

    async def _wait_for_grant(self, request: Request, options: CallOptions, attempts: int) -> float:
        began = self._clock.monotonic()
        # A campaign sits a long pause out; somebody who waits for one message is told when to come back.
        patience = options.retry.max_wait if options.priority is Priority.INTERACTIVE else None
        try:
            granted = await self._limiter.acquire(options.priority, patience=patience)
        except RateLimitError as error:
            error.attempts, error.message_id = attempts, request.message_id
            raise
        self._tell(LimiterWaited(seconds=granted - began, priority=options.priority))
        return granted

    async def _pause_or_raise(
        self,
        failure: QlaraError,
        request: Request,
        options: CallOptions,
        attempt: int,
        first_grant: float,
        wait: float,
    ) -> None:
        repeat = wait_before_repeat(
            failure,
            options.retry,
            repeatable=request.repeatable,
            attempt=attempt,
            elapsed=self._clock.monotonic() - first_grant,
            wait=wait,
            random=self._random(),
        )
        if isinstance(failure, RateLimitError):
            self._pause(max(failure.retry_after or 0.0, wait), "429")
        if repeat is None:
            raise failure
        self._retrying(failure, request, attempt, repeat)
        await self._clock.sleep(repeat.delay)

    def _heed(self, response: Response) -> None:
        """Pause on headers only where they leave no doubt: nothing remains, and a reset is named."""
        if response.headers.get("X-RateLimit-Remaining") != "0":
            return
        limits = rate_limit_headers(response.headers, now=self._clock.time())
        if limits is not None and limits.reset_after:
            self._pause(limits.reset_after, "headers")

    def _pause(self, seconds: float, reason: str) -> None:
        until = self._clock.monotonic() + seconds
        if until <= self._limiter.paused_until:
            return
        self._limiter.pause_until(until)
        client_logger.info("all sends of this key pause for %.1f s (%s)", seconds, reason)
        self._tell(LimiterPaused(seconds=seconds, reason=reason))

    def _retrying(self, failure: QlaraError, request: Request, attempt: int, repeat: Repeat) -> None:
        kind = type(failure).__name__
        client_logger.info(
            "%s after attempt %d of %s %s (message %s): next in %.1f s (%s)",
            kind,
            attempt,
            request.method,
            request.path,
            request.message_id,
            repeat.delay,
            repeat.reason,
        )
        self._tell(
            RetryScheduled(
                attempt=attempt, delay=repeat.delay, reason=repeat.reason, error=kind, message_id=request.message_id
            )
        )

    def _finished(
        self,
        request: Request,
        attempt: int,
        granted: float,
        response: Response | None,
        failure: QlaraError | None,
    ) -> None:
        if self._on_event is None:
            return
        self._tell(
            RequestFinished(
                method=request.method,
                path=request.path,
                attempt=attempt,
                status=None if response is None else response.status,
                error=None if failure is None else type(failure).__name__,
                elapsed=self._clock.monotonic() - granted,
                message_id=request.message_id,
                rate_limit=None if response is None else rate_limit_headers(response.headers, now=self._clock.time()),
            )
        )

    def _tell(self, event: ClientEvent) -> None:
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception as error:
            client_logger.error("the on_event hook raised %s", type(error).__name__)
