"""The HTTP side: one request from its headers to the last byte of its answer, or to the end of its connection."""

from __future__ import annotations

import asyncio
from array import array
from base64 import b64encode
from collections import Counter, deque
from hmac import compare_digest

import msgspec
from aiohttp import web

from ..clock import Clock
from ..loggers import sandbox_logger
from ..protocol.redaction import scrub
from .answers import DROPPED, Reply, problem, too_many
from .endpoints import Call, Endpoint, Endpoints, Prepared
from .faults import Fault, FaultPlan, Strike
from .keys import IssuedKey, KeyCabinet

__all__ = ["Wire"]

# Longer request lines must reach us for us to answer 414; aiohttp itself would answer 400.
_LINE_LIMIT = 1 << 20
_MAX_URL = 8192
# What one upload may hold; aiohttp's own limit, 1 MiB, is that of all other requests. A guess: media end at 5 MB.
_MAX_UPLOAD = 16 << 20


class Wire:
    """Reads requests, checks key and limit, lets endpoints answer and faults strike, and keeps count.

    Attributes:
        keys: the keys in force, each with the count of its requests.
        requests: answers by route and HTTP status; status 0 is a request that got no (whole) answer.
        arrivals: times of requests on the monotonic clock; the last ``keep``, if that was limited.
    """

    def __init__(
        self, keys: KeyCabinet, *, endpoints: Endpoints, plan: FaultPlan, clock: Clock, keep: int | None
    ) -> None:
        self.keys = keys
        self.requests: Counter[tuple[str, int]] = Counter()
        self.arrivals: deque[float] | array[float] = array("d") if keep is None else deque(maxlen=keep)
        self._endpoints = endpoints
        self._plan = plan
        self._clock = clock
        self._pauses: set[asyncio.Future[bool]] = set()

    def server(self) -> web.Server:
        """Make the server; requests live on when their client hangs up, as they do at the gateway."""
        return web.Server(self._serve, access_log=None, max_line_size=_LINE_LIMIT)

    def close(self) -> None:
        """Let requests that hang or wait end now, without an answer."""
        for pause in self._pauses:
            if not pause.done():
                pause.set_result(False)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        self.arrivals.append(self._clock.monotonic())
        endpoint = self._endpoints.find(request.method, request.raw_path.partition("?")[0])
        route = "unknown" if endpoint is None else endpoint.route
        if endpoint is not None and self._plan.unread(endpoint.route):
            return await self._respond(request, route, DROPPED)
        try:
            body = await (_read_upload(request) if _takes_file(endpoint) else request.read())
        except (ConnectionError, web.RequestPayloadError):
            return await self._respond(request, route, DROPPED)
        except web.HTTPRequestEntityTooLarge:
            return await self._respond(request, route, problem(413, "The body is too large"))
        refusal = self._refuse(request, endpoint)
        if endpoint is None or refusal is not None:
            return await self._respond(request, route, refusal or problem(404, "No such resource"))
        call = Call(
            endpoint=endpoint,
            method=request.method,
            query=request.query,
            body=body,
            content_type=request.headers.get("Content-Type", ""),
        )
        reply = await self._reply(call)
        return await self._respond(request, route, reply, call.subject)

    def _refuse(self, request: web.BaseRequest, endpoint: Endpoint | None) -> Reply | None:
        if len(request.raw_path) > _MAX_URL:
            return problem(414, "The URL is too long")
        if endpoint is not None and endpoint.public:
            return _wrong_method(request, endpoint)
        key = self._key_of(request)
        if key is None:
            return problem(401, "Invalid or missing credentials")
        wait = key.meter.admit(self._clock.monotonic())
        if wait is not None:
            return too_many(wait)
        return None if endpoint is None else _wrong_method(request, endpoint) or _not_permitted(key, endpoint)

    def _key_of(self, request: web.BaseRequest) -> IssuedKey | None:
        """The request's key, or ``None`` if none in force came with it."""
        given = request.headers.get("X-Api-Key")
        basic = request.headers.get("Authorization", "") if given is None else ""
        for key in self.keys.all():
            if _same(given, key.value) if given is not None else _same(basic, _basic(key.value)):
                return key
        return None

    async def _reply(self, call: Call) -> Reply:
        checked = self._endpoints.check(call)
        if isinstance(checked, Reply):
            return checked
        strike = self._plan.strike(call.endpoint.route, checked.destinations)
        if strike is None:
            return checked.process(0.0)
        return await self._strike(checked, strike)

    async def _strike(self, prepared: Prepared, strike: Strike) -> Reply:
        instead = await self._before(strike)
        return await self._after(strike, prepared.process(strike.hidden)) if instead is None else instead

    async def _before(self, strike: Strike) -> Reply | None:
        if not await self._pause(strike.before):
            return DROPPED
        match strike.ending:
            case Fault.STORM:
                return too_many(strike.retry_after)
            case Fault.ERROR_BEFORE:
                return problem(strike.status, "Failed before processing")
            case Fault.DROP_BEFORE:
                return DROPPED
            case Fault.HANG_BEFORE:
                await self._pause(None)
                return DROPPED
        return None

    async def _after(self, strike: Strike, reply: Reply) -> Reply:
        if not await self._pause(strike.after):
            return DROPPED
        match strike.ending:
            case Fault.ERROR_AFTER:
                return problem(strike.status, "Failed after processing")
            case Fault.DROP_AFTER:
                return DROPPED
            case Fault.HANG_AFTER:
                await self._pause(None)
                return DROPPED
            case Fault.TRUNCATED:
                return msgspec.structs.replace(reply, truncated=True)
        return reply

    async def _pause(self, seconds: float | None) -> bool:
        """Let time pass (``None``: without end); false if the sandbox closed meanwhile."""
        if seconds == 0.0:
            return True
        pause: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def elapse() -> None:
            if not pause.done():
                pause.set_result(True)

        timer = None if seconds is None else self._clock.call_at(self._clock.monotonic() + seconds, elapse)
        self._pauses.add(pause)
        try:
            return await pause
        finally:
            self._pauses.discard(pause)
            if timer is not None:
                timer.cancel()

    async def _respond(
        self, request: web.BaseRequest, route: str, reply: Reply, subject: str = "-"
    ) -> web.StreamResponse:
        status = 0 if reply.truncated else reply.status
        self.requests[route, status] += 1
        # A path that is not ours may hold anything: ids and numbers are masked.
        path = request.raw_path.partition("?")[0]
        shown = scrub(path, self.keys.values) if route == "unknown" else f"{route} {subject!r}"
        sandbox_logger.info("%s %s %s", request.method, shown, status or "no answer")
        if reply.status == 0:
            return _drop(request)
        # To a stranger too (a guess): those of the first key, of which nothing was spent.
        key = self._key_of(request) or next(iter(self.keys.all()), None)
        headers = ({} if key is None else key.meter.headers(self._clock.monotonic())) | reply.headers
        if reply.truncated:
            return await _truncate(request, reply, headers)
        content_type = reply.content_type if reply.body else None
        return web.Response(status=reply.status, body=reply.body, headers=headers, content_type=content_type)


def _wrong_method(request: web.BaseRequest, endpoint: Endpoint) -> Reply | None:
    return None if request.method in endpoint.methods else problem(405, "Method not allowed")


def _not_permitted(key: IssuedKey, endpoint: Endpoint) -> Reply | None:
    if endpoint.channel is None or key.may_send(endpoint.channel):
        return None
    return problem(403, "This key may not send on this channel")


def _basic(key: str) -> str:
    return f"Basic {b64encode(f'sandbox:{key}'.encode()).decode()}"


def _takes_file(endpoint: Endpoint | None) -> bool:
    match = None if endpoint is None else endpoint.resource
    return match is not None and match.operation.form is not None


async def _read_upload(request: web.BaseRequest) -> bytes:
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > _MAX_UPLOAD:
            raise web.HTTPRequestEntityTooLarge(_MAX_UPLOAD, len(body))
    return bytes(body)


def _same(given: str, expected: str) -> bool:
    return compare_digest(given.encode("utf-8", "surrogateescape"), expected.encode())


def _drop(request: web.BaseRequest) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    # Never written: the connection is gone.
    return web.Response(status=500)


async def _truncate(request: web.BaseRequest, reply: Reply, headers: dict[str, str]) -> web.StreamResponse:
    response = web.StreamResponse(status=reply.status, headers=headers)
    response.content_type = reply.content_type
    response.content_length = len(reply.body)
    await response.prepare(request)
    await response.write(reply.body[: len(reply.body) // 2])
    # Not abort: what was written must arrive.
    if request.transport is not None:
        request.transport.close()
    return response
