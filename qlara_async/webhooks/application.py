"""The receiver as an aiohttp application."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from aiohttp import HttpVersion11, StreamReader, web

from ..loggers import webhooks_logger
from .access_log import NOWHERE, Redaction
from .dispatch import Dispatcher
from .exchange import BAD_REQUEST, REQUEST_TIMEOUT, TOO_LARGE, UNAVAILABLE, Answer, Head
from .intake import Intake, Phase

__all__ = ["MAX_BODIES", "Mount"]

MAX_BODIES = 128
"""Bodies waited for at once, so that slow senders cannot take more than 128 times ``max_body`` bytes of memory."""


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
        self._reading = 0
        self.application = web.Application()
        self.application.router.add_route("GET", "/readyz", self._readiness, expect_handler=self._invite)
        below = self.application.router.add_resource("/{below:.*}")
        below.add_route("*", self._serve, expect_handler=self._invite)
        # A sub-application's own root without the slash: "/qlara" is the receiver's as much as "/qlara/".
        self.application.router.add_route("*", "", self._serve, expect_handler=self._invite)
        self.application.on_startup.append(self._on_startup)
        self.application.on_shutdown.append(self._on_shutdown)
        self.application.on_cleanup.append(self._on_cleanup)
        self._redaction = Redaction(_mount_of(weakref.ref(below)))
        self._access_log: logging.Logger | None = None
        # As long as the application lives: a closed receiver is still called, with the token in the URL.
        weakref.finalize(self, self._redaction.release)

    async def _serve(self, request: web.Request) -> web.Response:
        protocol = request.protocol
        if protocol.access_log is not self._access_log:
            self._access_log = protocol.access_log
            self._redaction.cover(protocol.access_log, protocol.logger)
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
        if status == UNAVAILABLE.status:
            response.force_close()
        return await _without_the_rest(request, response)

    async def _invite(self, request: web.Request) -> None:
        """Ask a sender that waits for ``100 Continue`` for its body, unless the answer is known without it."""
        expected = request.headers["Expect"].strip().lower() == "100-continue" and request.version >= HttpVersion11
        if expected and self._intake.admit(_head_of(request)) is None:
            with suppress(ConnectionError):  # a sender that has hung up already is found out when its body is read
                await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def _readiness(self, request: web.Request) -> web.Response:
        """Tell a load balancer whether callbacks would be taken, and a stranger nothing else."""
        reason = self._intake.trouble
        response = web.Response(status=200 if reason is None else 503, text=reason or "ready")
        return await _without_the_rest(request, response)

    async def _answer(self, request: web.Request) -> Answer:
        intake = self._intake
        head = _head_of(request)
        refusal = intake.admit(head)
        if refusal is not None:
            return refusal
        if intake.phase is Phase.NEW:
            await self._owner.start()
        if self._dispatcher.application is None:
            self._dispatcher.application = request.match_info.apps[0]
        await asyncio.sleep(0)  # let the requests that came together catch up: see the class
        body = await self._read(request)
        if isinstance(body, Answer):
            return body
        if len(body) != request.content.total_bytes:
            return self._report_consumed()
        answer = await intake.accept(head, body)
        await asyncio.sleep(0)
        return answer

    async def _read(self, request: web.Request) -> bytes | Answer:
        """Read the body under the receiver's own cap and deadline, or say what is wrong with it."""
        content = request.content
        try:
            if content.is_eof():
                # All of it is here, so there is no deadline to set, and its length is checked later; or there is
                # none, or a middleware of the parent has read it, and the request has kept it.
                return content.read_nowait() or await request.read()
            if (request.content_length or 0) > self._intake.max_body:
                return TOO_LARGE
            if self._reading >= MAX_BODIES:
                return UNAVAILABLE
            return await self._read_as_it_comes(content)
        except TimeoutError:
            return REQUEST_TIMEOUT
        except (web.RequestPayloadError, OSError):
            return BAD_REQUEST  # broken framing, or the sender hung up

    async def _read_as_it_comes(self, content: StreamReader) -> bytes | Answer:
        body = bytearray()
        self._reading += 1
        try:
            async with asyncio.timeout(self._read_timeout):
                while chunk := await content.readany():
                    body += chunk
                    if len(body) > self._intake.max_body:
                        return TOO_LARGE
        finally:
            self._reading -= 1
        return bytes(body)

    def _report_consumed(self) -> Answer:
        """Refuse what cannot be read as it was sent, rather than acknowledge an event that nobody has seen whole."""
        webhooks_logger.error(
            "a middleware has read a callback's body from request.content, where it is gone: use request.read()"
        )
        return UNAVAILABLE

    async def _on_startup(self, _: web.Application) -> None:
        await self._owner.start()

    async def _on_shutdown(self, _: web.Application) -> None:
        await self._owner.drain()

    async def _on_cleanup(self, _: web.Application) -> None:
        await self._owner.aclose()


def _head_of(request: web.Request) -> Head:
    below = request.match_info.get("below")
    return Head(request.method, "" if below is None else "/" + below, request.headers, request.remote)


async def _without_the_rest(request: web.Request, response: web.Response) -> web.Response:
    """Return the answer; send it now and close, if there is more of the body to come.

    By itself aiohttp would first read the rest of the body for up to ten seconds, and inflate it if it is compressed.
    """
    if request.content.is_eof():
        return response
    response.force_close()
    try:
        await response.prepare(request)
        await response.write_eof()
    except ConnectionError:
        return response  # the sender has hung up already
    finally:
        request.protocol.force_close()
    return response


def _mount_of(below: weakref.ref[web.Resource]) -> Callable[[], str]:
    def prefix() -> str:
        resource = below()
        return NOWHERE if resource is None else resource.canonical.removesuffix("/{below}")

    return prefix
