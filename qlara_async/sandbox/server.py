"""The sandbox itself: a real HTTP server on a free loopback port, its lifecycle and its record."""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Sequence
from random import Random
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import msgspec
from aiohttp import web

from ..clock import Clock, SystemClock
from ..errors import ConfigurationError
from ..models.channel import Channel, DeliveryStatus
from ..models.options import RateLimit
from .callbacks import CallbackCounts, CallbackKey, CallbackPolicy, Courier
from .endpoints import Endpoints
from .faults import Fault, FaultPlan, Faults, Route
from .gateway import Accepted, Gateway, Life
from .keys import KeyCabinet
from .resources.platform import Platform
from .shapes import InboundShape, inbound_content, inbound_payload
from .timeline import Timeline
from .wire import Wire

__all__ = ["Sandbox"]


class Sandbox:
    """The Qlara gateway on your machine, faults included.

    Use it as ``async with Sandbox() as sandbox`` or with `start` and `aclose`. All numbers it makes up (times, retries,
    shares) are its own: the gateway's are not documented.

    Args:
        api_key: the key it takes, in ``X-Api-Key`` or as the password of user ``sandbox`` (Basic); see `api_keys` for
            several.
        port: 0 for a free one.
        rate_limit: the limit of each key; ``None`` for none, and no headers.
        life: what becomes of messages.
        callbacks: how callbacks are posted.
        faults: what goes wrong by chance; see `fault` for what goes wrong on purpose.
        seed: of all chance, so that the same requests in the same order meet the same fate.
        clock: tells the time; lives, latencies and retries follow it.
        keep: how many `messages`, statuses and `arrivals` to remember, the latest; ``None`` for all. `accepted` always
            remembers all ids.
    """

    def __init__(
        self,
        *,
        api_key: str = "sandbox-key",
        port: int = 0,
        rate_limit: RateLimit | None = RateLimit.PRODUCTION,
        life: Life | None = None,
        callbacks: CallbackPolicy | None = None,
        faults: Faults | None = None,
        seed: int = 0,
        clock: Clock | None = None,
        keep: int | None = None,
    ) -> None:
        if keep is not None and keep < 1:
            raise ConfigurationError("keep is at least 1, or None")
        self._port = port
        self._clock = clock or SystemClock()
        self._timeline = Timeline(self._clock, self._wake_if_idle)
        self._courier = Courier(
            callbacks or CallbackPolicy(),
            clock=self._clock,
            timeline=self._timeline,
            random=Random(f"{seed} callbacks"),
            on_idle=self._wake_if_idle,
        )
        self._gateway = Gateway(
            life or Life(),
            clock=self._clock,
            timeline=self._timeline,
            courier=self._courier,
            random=Random(f"{seed} lives"),
            keep=keep,
        )
        self._plan = FaultPlan(faults or Faults(), Random(f"{seed} faults"))
        self._keys = KeyCabinet([api_key], rate_limit=rate_limit, clock=self._clock)
        self._endpoints = Endpoints(self._gateway, self._courier, self._clock, self._keys)
        self._wire = Wire(self._keys, endpoints=self._endpoints, plan=self._plan, clock=self._clock, keep=keep)
        self._runner: web.ServerRunner | None = None
        self._bound_port = 0
        self._waiters: list[asyncio.Future[None]] = []

    # --- lifecycle ---

    async def start(self) -> Self:
        """Listen. Raises ``ConfigurationError`` if it does already."""
        if self._runner is not None:
            raise ConfigurationError("this sandbox runs already")
        self._runner = web.ServerRunner(self._wire.server(), shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        except OSError:
            await self.aclose()
            raise
        self._bound_port = self._runner.addresses[0][1]
        self.platform.exports.host = f"http://127.0.0.1:{self._bound_port}"
        return self

    async def aclose(self) -> None:
        """Stop: drop requests that hang, forget lives and callbacks to come. The record stays readable."""
        runner, self._runner = self._runner, None
        self._timeline.close()
        self._wire.close()
        if runner is not None:
            await runner.cleanup()
        self._timeline.close()
        await self._courier.aclose()
        self._wake_if_idle()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    @property
    def url(self) -> str:
        """The base URL, up to and with ``/api``. Raises ``ConfigurationError`` before `start`."""
        if not self._bound_port:
            raise ConfigurationError("the sandbox has no URL before it is started")
        return f"http://127.0.0.1:{self._bound_port}/api"

    def __repr__(self) -> str:
        return f"Sandbox(port={self._bound_port}, accepted={self.accepted.total()})"

    # --- the record ---

    @property
    def requests(self) -> Counter[tuple[str, int]]:
        """Answers by route (a `Route`, or ``"unknown"``) and HTTP status.

        Status 0 is a request that got no answer, or only half of one.
        """
        return self._wire.requests

    @property
    def arrivals(self) -> deque[float] | array[float]:
        """Times of requests on the sandbox's monotonic clock, in order."""
        return self._wire.arrivals

    @property
    def accepted(self) -> Counter[str]:
        """Message id -> times accepted: a repeated id counts as a second message."""
        return self._gateway.accepted

    @property
    def messages(self) -> deque[Accepted]:
        """What was accepted, in order."""
        return self._gateway.messages

    @property
    def callbacks(self) -> CallbackCounts:
        """What became of callbacks."""
        return self._courier.counts

    @property
    def platform(self) -> Platform:
        """The resources beside sending, and their state."""
        return self._endpoints.platform

    @property
    def acked(self) -> Counter[CallbackKey]:
        """Callbacks by the number of 2xx they got, if ``CallbackPolicy.record`` is set."""
        return self._courier.acked

    def busiest(self, seconds: float) -> int:
        """Return the most requests that ever arrived within ``seconds``, wherever that window starts."""
        times = list(self.arrivals)
        return max((bisect_right(times, start + seconds) - i for i, start in enumerate(times)), default=0)

    # --- steering ---

    @property
    def api_key(self) -> str:
        """The (first) key it takes; may be replaced, which revokes all others. Empty if all were deleted."""
        return next(iter(self._keys.values), "")

    @api_key.setter
    def api_key(self, api_key: str) -> None:
        self.api_keys = (api_key,)

    @property
    def api_keys(self) -> tuple[str, ...]:
        """The keys it takes, each with a limit of its own; may be replaced, which revokes those left out."""
        return self._keys.values

    @api_keys.setter
    def api_keys(self, api_keys: Sequence[str]) -> None:
        if isinstance(api_keys, str) or not api_keys:
            raise ConfigurationError("api_keys is a sequence of at least one key")
        self._keys.replace(api_keys)

    @property
    def credit(self) -> float:
        """The account's credit in euros; may be replaced. Messages do not use it up."""
        return self._gateway.credit

    @credit.setter
    def credit(self, credit: float) -> None:
        self._gateway.credit = credit

    @property
    def life(self) -> Life:
        """What becomes of messages; may be replaced."""
        return self._gateway.life

    @life.setter
    def life(self, life: Life) -> None:
        self._gateway.life = life

    @property
    def callback_policy(self) -> CallbackPolicy:
        """How callbacks are posted; may be replaced."""
        return self._courier.policy

    @callback_policy.setter
    def callback_policy(self, policy: CallbackPolicy) -> None:
        self._courier.policy = policy

    @property
    def faults(self) -> Faults:
        """What goes wrong by chance; may be replaced."""
        return self._plan.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._plan.faults = faults

    def fault(
        self,
        destination: str | None,
        fault: Fault,
        *,
        times: int = 1,
        route: Route = "send",
        status: int = 500,
        seconds: float = 1.0,
        retry_after: float = 1.0,
    ) -> None:
        """Let ``fault`` strike the next ``times`` good requests on ``route``.

        Args:
            destination: strike sends to this number only; ``None`` for any.
            fault: what happens.
            times: how often.
            route: ``"send"``, ``"status"``, ``"webhooks"`` or ``"platform"`` (every other resource).
            status: of the error faults; any from 400 to 599.
            seconds: of latencies and of `Fault.STATUS_LATE`.
            retry_after: told by `Fault.STORM`.

        Raises:
            ConfigurationError: a number is out of range, or a destination is given where none can be told.
        """
        self._plan.script(
            destination, fault, times=times, route=route, status=status, seconds=seconds, retry_after=retry_after
        )

    def outcome(self, destination: str, outcome: DeliveryStatus | str) -> None:
        """Fix how messages to ``destination`` end; with SENT and RECEIVED they never do."""
        self._gateway.set_outcome(destination, DeliveryStatus(outcome))

    def refuse(self, destination: str, *reasons: str) -> None:
        """Answer sends to ``destination`` with 200 and ``accepted: false``. The words of reasons are undocumented."""
        self._gateway.refusals[destination] = reasons or ("REFUSED",)

    def register(self, url: str | None) -> None:
        """Set the callback URL without a request, or take it away with ``None``."""
        self._endpoints.register(url)

    async def inbound(
        self,
        *,
        channel: Channel | str = Channel.SMS,
        source: str,
        destination: str,
        text: str | None = None,
        media_key: str | None = None,
        media_type: str = "IMAGE",
        shape: InboundShape = "channel",
        message_id: str | None = None,
        lost: bool = False,
    ) -> int:
        """Play the customer who writes to you: post one INBOUND, once, and return the receiver's status.

        It is in the inbox conversations, too.

        Args:
            channel: where they write.
            source: their number.
            destination: yours.
            text: what they write, or the media's caption.
            media_key: key of media that come with it.
            media_type: ``IMAGE``, ``AUDIO``, ``VIDEO`` …, told if there is a ``media_key``.
            shape: ``"channel"``, ``"unified"`` (no id), ``"nested"`` (UC-026) or ``"form"`` (dedicated number; no id).
            message_id: generated unless given; repeat one to play a redelivery.
            lost: the callback is lost, and 0 returned: only the inbox conversations tell.

        Raises:
            ConfigurationError: no callback URL is registered.
            ConnectionFailed: the receiver did not answer.
        """
        message_id = message_id or str(uuid4())
        occurred = self._clock.time()
        content = inbound_content(text, media_key, media_type)
        self.platform.inbox.receive(Channel(channel), source, destination, content, message_id, occurred)
        if lost:
            return 0
        body, content_type = inbound_payload(
            shape=shape,
            channel=Channel(channel),
            source=source,
            destination=destination,
            text=text,
            media_key=media_key,
            media_type=media_type,
            message_id=message_id,
            occurred=occurred,
        )
        return await self._courier.post(body, content_type)

    async def post(self, payload: Any) -> int:
        """Post any JSON to the callback URL, once, and return the receiver's status. Raises like `inbound`."""
        return await self._courier.post(msgspec.json.encode(payload), "application/json")

    # --- idleness ---

    @property
    def is_idle(self) -> bool:
        """Whether no step of a life and no callback is outstanding."""
        return not self._timeline and self._courier.idle

    async def idle(self) -> None:
        """Return when no step of a life and no callback is outstanding; at once after `aclose`."""
        while not self.is_idle:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)

    def _wake_if_idle(self) -> None:
        if not self._waiters or not self.is_idle:
            return
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
