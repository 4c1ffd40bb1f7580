"""Runs handlers: a fixed number of workers that take from the inbox."""

from __future__ import annotations

import asyncio
import inspect
import math
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from ..clock import Clock, wait_for_tasks
from ..errors import HandlerTimeout
from ..loggers import webhooks_logger
from ..models.events import Event
from ..protocol.replies import ReplyAs
from .context import Context
from .inbox import Inbox, Matcher, Work
from .middleware import Middleware, chain
from .router import Registration, Router
from .time_limit import GRACE, TimeLimit

if TYPE_CHECKING:
    from aiohttp import web

    from ..client import QlaraClient

__all__ = ["Dispatcher", "ErrorHook"]

ErrorHook: TypeAlias = Callable[[BaseException, Event, str], Awaitable[object] | None]
"""Told of an exception, the event, and the handler's name. Plain or ``async``."""

HOOK_SECONDS = 30.0
"""The longest that is waited for an error hook: the worker that tells it, and the end of what failed, wait with it."""

_BURST = 8

_H = TypeVar("_H", bound=Callable[[BaseException, Event, str], object])


class Dispatcher:
    """Takes work and runs it, ``concurrency`` at a time; whatever a handler raises stays its own affair.

    A worker is expendable: when its handler does not end though it was cancelled, both are left to themselves, and
    another takes its place.

    Args:
        router: knows the handlers.
        inbox: where their work comes from.
        concurrency: runs at once.
        clock: measures the time handlers take.
        timeout: seconds a handler may take that has no limit of its own.
        client: what handlers see as ``ctx.client``.
        reply_as: as whom ``ctx.reply`` answers.

    Attributes:
        handled: runs that ended well.
        failed: runs that raised.
        application: what handlers see as ``ctx.app``.
        outer: what wraps whole runs.
    """

    def __init__(
        self,
        router: Router,
        inbox: Inbox,
        *,
        concurrency: int,
        clock: Clock,
        timeout: float = math.inf,
        client: QlaraClient | None = None,
        reply_as: ReplyAs = ReplyAs(),
    ) -> None:
        self._router = router
        self._inbox = inbox
        self._concurrency = concurrency
        self._clock = clock
        self._timeout = timeout
        self._client = client
        self._reply_as = reply_as
        self._hook: Callable[[BaseException, Event, str], object] | None = None
        self._dead_hook: Callable[[BaseException, Event, str], object] | None = None
        self._workers: set[asyncio.Task[None]] = set()
        self._left: set[asyncio.Task[Any]] = set()
        self._reports: set[asyncio.Task[Any]] = set()
        self._stopping = False
        self.handled = 0
        self.failed = 0
        self.application: web.Application | None = None
        self.outer: list[Middleware] = []

    def set_hook(self, hook: _H) -> _H:
        """Let failures be told to ``hook`` instead of logged."""
        self._hook = hook
        return hook

    def set_dead_hook(self, hook: _H) -> _H:
        """Let ``hook`` be told of failures that no further attempt follows."""
        self._dead_hook = hook
        return hook

    def start(self) -> None:
        """Start the workers on the running loop."""
        for _ in range(self._concurrency):
            self._add_worker()

    async def stop(self) -> None:
        """Cancel what runs, and wait until it is gone, ``GRACE`` seconds at most."""
        self._stopping = True
        tasks = {*self._workers, *self._reports}
        for task in tasks:
            task.cancel()
        stuck = await wait_for_tasks(tasks, GRACE, self._clock)
        if stuck:
            webhooks_logger.error("%d handlers did not end though they were cancelled: left to themselves", len(stuck))
        for task in stuck:
            self._leave(task)
        self._workers.clear()

    @property
    def runs_here(self) -> bool:
        """Whether the current task is that of a handler or hook: one that must not wait for its own end."""
        task = asyncio.current_task()
        return task in self._workers or task in self._reports

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
        self._in_background(self._report(error, event, handler))

    def _in_background(self, run: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
        task = asyncio.create_task(run)
        self._reports.add(task)
        task.add_done_callback(self._reports.discard)
        task.add_done_callback(_looked_at)
        return task

    def _add_worker(self, ended: tuple[Work, BaseException] | None = None) -> None:
        self._workers.add(asyncio.create_task(self._work(ended)))

    async def _work(self, ended: tuple[Work, BaseException] | None) -> None:
        worker = asyncio.current_task()
        inbox = self._inbox
        runs = 0
        if ended is not None:
            await self._end(*ended)
        while not self._stopping:
            work = await inbox.take()
            error = await self._run(work, worker)
            if worker in self._left:
                return  # it was reported as failed long ago
            await self._end(work, error)
            runs += 1
            if runs % _BURST == 0:
                # A backlog of handlers that never wait would otherwise keep the loop from answering the gateway.
                await asyncio.sleep(0)

    async def _run(self, work: Work, worker: asyncio.Task[Any] | None) -> BaseException | None:
        try:
            await self._call(self._router.registration(work.handler), work, worker)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            # Whatever else a handler raises is its own affair, a cancellation that is not the worker's included.
            if self._stopping and isinstance(error, asyncio.CancelledError):
                raise
            return error
        finally:
            if not self._stopping:
                _forget_cancellations(worker)
        return None

    def _call(self, registration: Registration, work: Work, worker: asyncio.Task[Any] | None) -> Awaitable[object]:
        if self.outer:
            last = partial(self._begin, registration, work, worker)
            return chain(self.outer, last)(work.event, self._context(work))
        return self._begin(
            registration, work, worker, work.event, self._context(work) if registration.takes_context else None
        )

    def _begin(
        self,
        registration: Registration,
        work: Work,
        worker: asyncio.Task[Any] | None,
        event: Event,
        context: Context | None,
    ) -> Awaitable[object]:
        run = registration.handler(event, context) if registration.takes_context else registration.handler(event)
        seconds = self._timeout if registration.timeout is None else registration.timeout
        return run if seconds == math.inf else self._within(seconds, run, work, worker)

    async def _within(
        self, seconds: float, run: Awaitable[object], work: Work, worker: asyncio.Task[Any] | None
    ) -> None:
        task = asyncio.current_task()
        if task is None or worker is None:
            raise RuntimeError("handlers run in tasks")
        late = HandlerTimeout(work.handler, seconds)
        limit = TimeLimit(seconds, self._clock, task, partial(self._give_up, worker, work, late))
        try:
            await run
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            if limit.over:
                raise late from error
            raise
        finally:
            limit.stop()
        if limit.over:
            raise late

    def _give_up(self, worker: asyncio.Task[Any], work: Work, late: HandlerTimeout) -> None:
        if self._stopping or worker not in self._workers:
            return
        webhooks_logger.error("handler %s did not end though it was cancelled: left to itself", work.handler)
        self._workers.discard(worker)
        self._leave(worker)
        self._add_worker((work, late))

    def _leave(self, task: asyncio.Task[Any]) -> None:
        self._left.add(task)
        task.add_done_callback(self._left.discard)

    async def _end(self, work: Work, error: BaseException | None) -> None:
        if error is None:
            self.handled += 1
        else:
            self.failed += 1
            await self._report(error, work.event, work.handler)
            if work.last and self._dead_hook is not None:
                await self._tell(self._dead_hook, error, work.event, work.handler)
        await self._inbox.finish(work, error)

    def _context(self, work: Work) -> Context:
        return Context(
            event=work.event,
            handler=work.handler,
            attempt=work.attempt,
            redelivered=work.redelivered,
            application=self.application,
            qlara=self._client,
            reply_as=self._reply_as,
        )

    async def _report(self, error: BaseException, event: Event, handler: str) -> None:
        if self._hook is None:
            # The exception's own words may quote the event: only its type is safe to log.
            webhooks_logger.error("handler %s failed on %r: %s%s", handler, event, type(error).__name__, _where(error))
            return
        await self._tell(self._hook, error, event, handler)

    async def _tell(
        self, hook: Callable[[BaseException, Event, str], object], error: BaseException, event: Event, handler: str
    ) -> None:
        try:
            result = hook(error, event, handler)
            if inspect.isawaitable(result):
                await self._told(self._in_background(_awaited(result)))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as broken:
            if self._stopping and isinstance(broken, asyncio.CancelledError):
                raise
            webhooks_logger.error("an error hook failed: %s", type(broken).__name__)

    async def _told(self, hook: asyncio.Task[object]) -> None:
        if await wait_for_tasks({hook}, HOOK_SECONDS, self._clock):
            hook.cancel()
            raise TimeoutError
        hook.result()


async def _awaited(result: Awaitable[object]) -> object:
    return await result


def _looked_at(task: asyncio.Task[object]) -> None:
    """Take note of how a task ended, or asyncio would log it with what its exception says."""
    if not task.cancelled():
        task.exception()


def _where(error: BaseException) -> str:
    """Say where it was raised: file and line, no values."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" at {PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


def _forget_cancellations(task: asyncio.Task[Any] | None) -> None:
    """Undo what a handler did that cancelled its own task: the worker lives on."""
    while task is not None and task.cancelling():
        task.uncancel()
