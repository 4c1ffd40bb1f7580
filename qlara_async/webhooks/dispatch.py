"""Runs handlers: a fixed number of workers that take from the inbox."""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from ..loggers import webhooks_logger
from ..models.events import Event
from .context import Context
from .inbox import Inbox, Matcher, Work
from .router import Router

if TYPE_CHECKING:
    from aiohttp import web

    from ..client import QlaraClient

__all__ = ["Dispatcher", "ErrorHook"]

ErrorHook: TypeAlias = Callable[[BaseException, Event, str], Awaitable[object] | None]
"""Told of an exception, the event, and the handler's name. Plain or ``async``."""

_BURST = 8

_H = TypeVar("_H", bound=Callable[[BaseException, Event, str], object])


class Dispatcher:
    """Takes work and runs it, ``concurrency`` at a time; whatever a handler raises stays its own affair.

    Args:
        router: knows the handlers.
        inbox: where their work comes from.
        concurrency: runs at once.
        client: what handlers see as ``ctx.client``.

    Attributes:
        handled: runs that ended well.
        failed: runs that raised.
        application: what handlers see as ``ctx.app``.
    """

    def __init__(self, router: Router, inbox: Inbox, *, concurrency: int, client: QlaraClient | None = None) -> None:
        self._router = router
        self._client = client
        self._inbox = inbox
        self._concurrency = concurrency
        self._hook: Callable[[BaseException, Event, str], object] | None = None
        self._workers: list[asyncio.Task[None]] = []
        self._reports: set[asyncio.Task[None]] = set()
        self._stopping = False
        self.handled = 0
        self.failed = 0
        self.application: web.Application | None = None

    def set_hook(self, hook: _H) -> _H:
        """Let failures be told to ``hook`` instead of logged."""
        self._hook = hook
        return hook

    def start(self) -> None:
        """Start the workers on the running loop."""
        self._workers = [asyncio.create_task(self._work()) for _ in range(self._concurrency)]

    async def stop(self) -> None:
        """Cancel what runs, and wait until it is gone."""
        self._stopping = True
        tasks = [*self._workers, *self._reports]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._workers.clear()

    async def idle(self) -> None:
        """Wait until no error hook runs outside of a worker."""
        while self._reports:
            await asyncio.wait(self._reports)

    @property
    def match(self) -> Matcher:
        """Names the handlers of an event; predicates that raise are reported."""
        return partial(self._router.match, failed=self.report_soon)

    def report_soon(self, error: BaseException, event: Event, handler: str) -> None:
        """Report the failure of something that is not a handler."""
        # Predicates run while the gateway waits for its answer: the hook must not.
        task = asyncio.create_task(self._report(error, event, handler))
        self._reports.add(task)
        task.add_done_callback(self._reports.discard)

    async def _work(self) -> None:
        inbox = self._inbox
        runs = 0
        while not self._stopping:
            work = await inbox.take()
            error = await self._run(work)
            if error is None:
                self.handled += 1
            else:
                self.failed += 1
                await self._report(error, work.event, work.handler)
            await inbox.finish(work, error)
            runs += 1
            if runs % _BURST == 0:
                # A backlog of handlers that never wait would otherwise keep the loop from answering the gateway.
                await asyncio.sleep(0)

    async def _run(self, work: Work) -> BaseException | None:
        try:
            registration = self._router.registration(work.handler)
            if registration.takes_context:
                await registration.handler(work.event, self._context(work))
            else:
                await registration.handler(work.event)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            # Whatever else a handler raises is its own affair, a cancellation that is not the worker's included.
            if self._stopping and isinstance(error, asyncio.CancelledError):
                raise
            return error
        finally:
            if not self._stopping:
                _forget_cancellations()
        return None

    def _context(self, work: Work) -> Context:
        return Context(
            event=work.event,
            handler=work.handler,
            attempt=work.attempt,
            application=self.application,
            qlara=self._client,
        )

    async def _report(self, error: BaseException, event: Event, handler: str) -> None:
        if self._hook is None:
            # The exception's own words may quote the event: only its type is safe to log.
            webhooks_logger.error("handler %s failed on %r: %s%s", handler, event, type(error).__name__, _where(error))
            return
        try:
            result = self._hook(error, event, handler)
            if inspect.isawaitable(result):
                await result
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as broken:
            if self._stopping and isinstance(broken, asyncio.CancelledError):
                raise
            webhooks_logger.error("the error hook failed: %s", type(broken).__name__)


def _where(error: BaseException) -> str:
    """Say where it was raised: file and line, no values."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" at {PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


def _forget_cancellations() -> None:
    """Undo what a handler did that cancelled its own task: the worker lives on."""
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()
