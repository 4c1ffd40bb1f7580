"""The receiver: verifies, deduplicates and dispatches the gateway's callbacks."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from os import PathLike
from typing import TYPE_CHECKING, TypeVar

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from ..clock import Clock, SystemClock
from ..errors import ClientStateError, ConfigurationError
from ..loggers import webhooks_logger
from ..models.events import Event
from ..protocol.replies import ReplyAs
from .application import Mount
from .auth import AllOf, Auth
from .auth.doorkeeper import Doorkeeper
from .dispatch import Dispatcher
from .exchange import Answer, Head, Headers
from .inbound_media import EXPIRE_MINUTES
from .inbox import Inbox
from .intake import Intake, Phase
from .known_ids import KnownIds
from .middleware import Middleware
from .order import OrderBy, lane_of
from .router import Router, check_middleware

if TYPE_CHECKING:
    from ..client import QlaraClient

__all__ = ["Stats", "WebhookReceiver"]

_Middleware = TypeVar("_Middleware", bound=Middleware)
_H = TypeVar("_H", bound=Callable[[BaseException, Event, str], object])


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """Counts since the receiver was made.

    Attributes:
        received: events in requests answered 200, and events fed; the sum of the next three.
        accepted: new events.
        duplicates: redeliveries, dropped.
        conflicts: events with a known identity and a new meaning, handled with ``event.conflict``.
        refused: requests answered other than 200.
        handled: runs of handlers that ended well.
        failed: runs of handlers that raised.
        held: receipts for ids that are not known yet: see ``known_ids_only``.
        unknown_ids: receipts dropped, because nobody knew their ids.
        pending: events with handlers still to run or running; a durable inbox counts each handler.
        oldest_age: seconds since the oldest pending event was stored.
        dead: pieces of work that were given up, and wait for ``replay``.
        quarantined: events kept because they could not be decoded.
        orphaned: pieces of pending work whose handlers are not registered.
        lost_leases: ends of handlers refused, because the work had been taken from this process meanwhile.
        refusals: requests that auth refused, by reason: see ``Reason``.
        reported: requests that a ``report_only`` auth would have refused, by reason.
        last_seen: when each secret of auth was last used, by kind and name, e.g. ``"url-token #1"``.
        clock_skew: our time less the time signed, in seconds, of the last rightly signed request with a timestamp.
    """

    received: int
    accepted: int
    duplicates: int
    conflicts: int
    refused: int
    handled: int
    failed: int
    held: int = 0
    unknown_ids: int = 0
    pending: int
    oldest_age: float = 0.0
    dead: int = 0
    quarantined: int = 0
    orphaned: int = 0
    lost_leases: int = 0
    refusals: dict[str, int] = {}
    reported: dict[str, int] = {}
    last_seen: dict[str, datetime | None] = {}
    clock_skew: float | None = None


class WebhookReceiver(Router):
    """Receives callbacks as a sub-application, and is the root of its handlers' routers.

    ::

        receiver = WebhookReceiver(auth=UrlToken(token), inbox=MemoryInbox(allow_loss=True))

        @receiver.on_delivery()
        async def delivered(event: Delivery) -> None: ...

        app.add_subapp("/qlara", receiver.app(app))     # callback URL: https://host/qlara/<token>

    Args:
        auth: who may deliver. Required, unless ``insecure=True``.
        inbox: where events wait for their handlers.
        client: what handlers see as ``ctx.client``, and answer with. Opening and closing it is yours.
        reply_as: as whom ``ctx.reply`` answers; needed for RCS.
        insecure: without auth, or with one that only reports, accept anything from anyone, on any path below the mount.
        max_body: bytes of a request's body, whatever the parent application allows.
        read_timeout: seconds a body may take to arrive.
        drain_timeout: seconds that a shutdown waits for handlers before it cancels them. They have one more to clean
            up; who goes on all the same is left behind.
        concurrency: handlers running at once.
        handler_timeout: seconds a handler may take that was not registered with a ``timeout`` of its own. Any, unless
            given: then one that hangs keeps one of the ``concurrency`` runs, and its lane, for ever.
        known_ids_only: a ``DeliveryTracker`` or a function of channel and id: receipts for ids it does not know are
            answered 200 and wait apart from the events until it does; after two minutes they are dropped. So who has
            the token cannot flood the inbox with made-up receipts, and a receipt that overtakes the answer to its send
            is not lost, with a durable inbox not by a restart either. Inbound messages are not concerned.
        expire_minutes: the account's setting of that name: minutes for which media of inbound messages can be fetched,
            told as ``event.media.expires_at``.
        order_by: what puts events into one lane, in which each handler gets them one at a time and in order: see
            ``OrderBy``.
        clock: for tests.

    Raises:
        ConfigurationError: no ``auth`` that refuses, an inbox that forgets redeliveries too soon for it, or a bound
            that cannot work.
    """

    def __init__(
        self,
        *,
        auth: Auth | AllOf | None = None,
        inbox: Inbox,
        client: QlaraClient | None = None,
        reply_as: ReplyAs = ReplyAs(),
        insecure: bool = False,
        max_body: int = 1 << 20,
        read_timeout: float = 5.0,
        drain_timeout: float = 25.0,
        concurrency: int = 64,
        handler_timeout: float = math.inf,
        known_ids_only: KnownIds | None = None,
        expire_minutes: float = EXPIRE_MINUTES,
        order_by: OrderBy = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__()
        if auth is None and insecure is not True:
            raise ConfigurationError(
                "a receiver without auth= takes anyone's word for a delivery: pass auth=UrlToken(...), "
                "or insecure=True if that is what you want"
            )
        if auth is not None and not isinstance(auth, Auth | AllOf):
            raise ConfigurationError("auth= takes an Auth such as UrlToken(...), not a token itself")
        if isinstance(inbox, str | PathLike):
            raise ConfigurationError("inbox= takes an inbox, not its path: SqliteInbox(...)")
        if not 0 < expire_minutes < math.inf:
            raise ConfigurationError("expire_minutes of a receiver is above 0")
        if max_body < 1 or concurrency < 1 or read_timeout <= 0 or drain_timeout < 0 or not handler_timeout > 0:
            raise ConfigurationError("max_body, concurrency and time-outs of a receiver are above 0")
        self._inbox = inbox
        self._drain_timeout = drain_timeout
        clock = clock or SystemClock()
        self._doorkeeper = Doorkeeper(auth, insecure=insecure, clock=clock)
        window = self._doorkeeper.replay_window
        if window > inbox.dedup_ttl:
            raise ConfigurationError(
                f"a signed request passes for {window:.0f} seconds (max_age + max_future), but the inbox recognises it "
                f"for {inbox.dedup_ttl:.0f} only: raise its dedup_ttl, or lower max_age"
            )
        self._intake = Intake(
            self._doorkeeper,
            inbox,
            max_body=max_body,
            clock=clock,
            known_ids=known_ids_only,
            expire_minutes=expire_minutes,
        )
        self._dispatcher = Dispatcher(
            self,
            inbox,
            concurrency=concurrency,
            clock=clock,
            timeout=handler_timeout,
            client=client,
            reply_as=reply_as,
        )
        self._lane = lane_of(order_by, self._dispatcher.report_soon)
        self._starting = asyncio.Lock()
        self._closings: set[asyncio.Task[None]] = set()
        self._read_timeout = read_timeout
        self._mount: Mount | None = None

    def on_error(self, hook: _H) -> _H:
        """Call ``hook(exception, event, handler_name)`` for each failure of a handler or predicate.

        The hook may be plain or ``async``, and this may be used as a decorator. Without one, failures are logged. The
        handler's next attempt, and its lane, wait for the hook, for 30 seconds at most: then it is cancelled.
        """
        return self._dispatcher.set_hook(hook)

    def app(self, within: web.Application | None = None) -> web.Application:
        """Return the receiver as an aiohttp application: mount it with ``add_subapp``, or run it by itself.

        It is the same one each time. From the first call on, the token is redacted in ``aiohttp.access``.

        Args:
            within: your outermost application, which handlers see as ``ctx.app``. aiohttp tells it to a mounted one
                with the first request; what an earlier process left, and what is polled, is handled before.
        """
        if within is not None:
            self._dispatcher.application = within
        if self._mount is None:
            self._mount = Mount(self._intake, self._dispatcher, self, read_timeout=self._read_timeout)
        return self._mount.application

    async def start(self) -> None:
        """Open the inbox and start the workers. Happens by itself at start-up or at the first request.

        Raises:
            ConfigurationError: the inbox belongs to another receiver, or is durable and two handlers have one name.
        """
        async with self._starting:
            if self._intake.phase is not Phase.NEW:
                return
            if self._inbox.durable:
                self.check_names()
            await self._inbox.start(self._dispatcher.match, lane=self._lane, names=self.names, limits=self.limits)
            self._dispatcher.start()
            if self._intake.waiting_room is not None:
                self._intake.waiting_room.open()
            self._intake.phase = Phase.OPEN

    async def ingest(self, method: str, path: str, headers: Headers, body: bytes, peer: str | None = None) -> Answer:
        """Take one callback request, however it was received.

        Args:
            method: the HTTP method.
            path: the decoded path below the mount, e.g. ``"/<token>"``.
            headers: a mapping, or pairs.
            body: the whole body.
            peer: the sender's address.

        Raises:
            ConfigurationError, InboxError: at the first event only, as `start` does.
        """
        self._intake.in_flight += 1
        status = 503
        try:
            head = Head(method, path, CIMultiDict(headers), peer)
            answer = self._intake.admit(head)
            if answer is None:
                if self._intake.phase is Phase.NEW:
                    await self.start()
                answer = await self._intake.accept(head, body)
            status = answer.status
            return answer
        finally:
            self._intake.leave(status)

    async def feed(self, events: Sequence[Event]) -> bool:
        """Take events that were polled: through the same inbox and dedup as callbacks, to the same handlers.

        Returns:
            Whether they were taken: ``False`` if the inbox is full or fails, or the receiver drains; come again later.

        Raises:
            ClientStateError: the receiver is closed.
        """
        if self._intake.phase is Phase.CLOSED:
            raise ClientStateError("the receiver is closed")
        if self._intake.phase is Phase.DRAINING:
            return False
        self._intake.in_flight += 1
        try:
            await self.start()
            return await self._intake.put(events)
        finally:
            self._intake.leave(200)

    async def idle(self) -> None:
        """Wait until no request is under way and no event is pending."""
        await self._intake.quiet()
        await self._inbox.idle()
        await self._dispatcher.idle()

    def outer_middleware(self, function: _Middleware) -> _Middleware:
        """Wrap the whole run of every handler, its time limit included: ``@receiver.outer_middleware``.

        It sees how the run ends, ``HandlerTimeout`` included, and its own time is not limited: keep it short. The first
        registered is the outermost. See ``Middleware``, and ``middleware`` for what is to be within the limit.

        Raises:
            ConfigurationError: it is not ``async``.
        """
        check_middleware(function)
        self._dispatcher.outer.append(function)
        return function

    def on_dead(self, hook: _H) -> _H:
        """Call ``hook(exception, event, handler_name)`` when the last attempt of a handler has failed.

        It is told after ``on_error`` and like it; a durable inbox keeps the work as a dead letter then. Work whose last
        attempt ended with its process is not told of: it is in the inbox's list, ``inbox.dead()``, only.
        """
        return self._dispatcher.set_dead_hook(hook)

    async def drain(self) -> None:
        """Refuse new requests, finish what was acknowledged, and stop the workers.

        With a durable inbox what does not run yet stays there. After ``drain_timeout`` seconds handlers that still run
        are cancelled, and the number of events left is logged. Called by a handler or hook it does not wait, since it
        would wait for that very handler: see `aclose`.
        """
        if self._dispatcher.runs_here:
            self._close_later(self.drain())
            return
        if self._intake.phase is Phase.CLOSED:
            return
        self._intake.phase = Phase.DRAINING
        try:
            async with asyncio.timeout(self._drain_timeout):
                await self._intake.quiet()
                if self._intake.waiting_room is not None:
                    await self._intake.waiting_room.close()
                await self._inbox.drain()
                await self._dispatcher.idle()
        except TimeoutError:
            webhooks_logger.warning("%d events were not handled within the drain timeout", self._inbox.pending)
        finally:
            self._intake.phase = Phase.CLOSED
            await self._dispatcher.stop()

    async def aclose(self) -> None:
        """Drain, and let go of the inbox. A closed receiver answers 503 and cannot be reopened.

        Called by a handler or hook it only begins to, and returns; the handler has ``drain_timeout`` seconds to end.
        """
        if self._dispatcher.runs_here:
            self._close_later(self.aclose())
            return
        try:
            await self.drain()
        finally:
            await self._inbox.close()

    def _close_later(self, closing: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(closing)
        self._closings.add(task)
        task.add_done_callback(self._closings.discard)

    def stats(self) -> Stats:
        """Return the counts."""
        intake, dispatcher, inbox = self._intake, self._dispatcher, self._inbox.stats()
        return Stats(
            received=intake.accepted + intake.duplicates + intake.conflicts,
            accepted=intake.accepted,
            duplicates=intake.duplicates,
            conflicts=intake.conflicts,
            refused=intake.refused,
            handled=dispatcher.handled,
            failed=dispatcher.failed,
            held=0 if intake.waiting_room is None else len(intake.waiting_room),
            unknown_ids=0 if intake.waiting_room is None else intake.waiting_room.dropped,
            pending=inbox.pending,
            oldest_age=inbox.oldest_age,
            dead=inbox.dead,
            quarantined=inbox.quarantined,
            orphaned=inbox.orphaned,
            lost_leases=inbox.lost_leases,
            refusals=dict(self._doorkeeper.refusals),
            reported=dict(self._doorkeeper.reported),
            last_seen=self._doorkeeper.last_seen,
            clock_skew=self._doorkeeper.clock_skew,
        )
