"""The receiver as an aiohttp application."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from typing import Protocol

from aiohttp import web

from .access_log import NOWHERE, redact_below
from .dispatch import Dispatcher
from .exchange import BAD_REQUEST, REQUEST_TIMEOUT, TOO_LARGE, UNAVAILABLE, Answer, Head
from .intake import Intake, Phase

__all__ = ["Mount"]

_UNREADABLE = frozenset({BAD_REQUEST.status, REQUEST_TIMEOUT.status})
_CLOSING = frozenset({*_UNREADABLE, TOO_LARGE.status, UNAVAILABLE.status})


class _Lifecycle(Protocol):
    async def start(self) -> None: ...
    async def drain(self) -> None: ...
    async def aclose(self) -> None: ...


class Mount:
    """The glue between aiohttp and an intake.

    It starts with the application, or with the first request where start-up hooks do not run. It drains in
    ``on_shutdown``: there the parent's clean-up contexts, and so the handlers' resources, are still open.

    A request yields to the loop before its body is stored and again before its answer is sent, so that a burst goes
    through routing, storing and answering stage by stage. That keeps each stage's code in the processor's caches and
    saves a quarter of the time a callback takes (``benchmarks.receiver``).
    """

    def __init__(self, intake: Intake, dispatcher: Dispatcher, owner: _Lifecycle, *, read_timeout: float) -> None:
        self._intake = intake
        self._dispatcher = dispatcher
        self._owner = owner
        self._read_timeout = read_timeout
        self.application = web.Application()
        self.application.router.add_route("GET", "/readyz", self._readiness)
        below = self.application.router.add_resource("/{below:.*}")
        below.add_route("*", self._serve)
        # A sub-application's own root without the slash: "/qlara" is the receiver's as much as "/qlara/".
        self.application.router.add_route("*", "", self._serve)
        self.application.on_startup.append(self._on_startup)
        self.application.on_shutdown.append(self._on_shutdown)
        self.application.on_cleanup.append(self._on_cleanup)
        # As long as the application lives: a closed receiver is still called, with the token in the URL.
        weakref.finalize(self, redact_below(_mount_of(weakref.ref(below))))

    async def _serve(self, request: web.Request) -> web.Response:
        intake = self._intake
        intake.in_flight += 1
        status = 503
        try:
            answer = await self._answer(request)
            status = answer.status
        finally:
            intake.leave(status)
        if status == 200 and not answer.body:
            return web.Response()
        response = web.Response(status=status, headers=answer.headers, body=answer.body)
        if status in _CLOSING:
            response.force_close()
        if status in _UNREADABLE:
            await _answer_and_hang_up(request, response)
        return response

    async def _readiness(self, _: web.Request) -> web.Response:
        """Tell a load balancer whether callbacks would be taken, and a stranger nothing else."""
        reason = self._intake.trouble
        return web.Response(status=200 if reason is None else 503, text=reason or "ready")

    async def _answer(self, request: web.Request) -> Answer:
        intake = self._intake
        below = request.match_info.get("below")
        path = "" if below is None else "/" + below
        head = Head(request.method, path, request.headers, request.remote)
        refusal = intake.admit(head)
        if refusal is not None:
            return refusal
        if intake.phase is Phase.NEW:
            await self._owner.start()
        if self._dispatcher.application is None:
            self._dispatcher.application = request.match_info.apps[0]
        await asyncio.sleep(0)  # let the requests that came together catch up: see the class
        try:
            body = await self._read(request)
        except TimeoutError:
            return REQUEST_TIMEOUT
        except web.HTTPRequestEntityTooLarge:
            return TOO_LARGE
        except (web.RequestPayloadError, ConnectionError):
            return BAD_REQUEST  # broken framing or compression, or the sender hung up
        answer = await intake.accept(head, body)
        await asyncio.sleep(0)
        return answer

    async def _read(self, request: web.Request) -> bytes:
        """Read the body under the receiver's own cap and deadline."""
        content = request.content
        if content.is_eof():
            # All of it is here, so there is no deadline to set, and its length is checked later; or there is none,
            # or a middleware of the parent has read it, and the request has kept it.
            return content.read_nowait() or await request.read()
        max_body = self._intake.max_body
        if (request.content_length or 0) > max_body:
            raise web.HTTPRequestEntityTooLarge(max_body)
        async with asyncio.timeout(self._read_timeout):
            return await request.clone(client_max_size=max_body).read()

    async def _on_startup(self, _: web.Application) -> None:
        await self._owner.start()

    async def _on_shutdown(self, _: web.Application) -> None:
        await self._owner.drain()

    async def _on_cleanup(self, _: web.Application) -> None:
        await self._owner.aclose()


async def _answer_and_hang_up(request: web.Request, response: web.Response) -> None:
    """Send the answer now and close: aiohttp would go on reading a body that is broken or does not come."""
    try:
        await response.prepare(request)
        await response.write_eof()
    except ConnectionError:
        return  # the sender has hung up already
    finally:
        request.protocol.force_close()


def _mount_of(below: weakref.ref[web.Resource]) -> Callable[[], str]:
    def prefix() -> str:
        resource = below()
        return NOWHERE if resource is None else resource.canonical.removesuffix("/{below}")

    return prefix
