"""The courier: posts callbacks to the registered URL, retries them, and mishandles as many as it was told to."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from random import Random
from typing import Literal
from uuid import NAMESPACE_OID, uuid5

import aiohttp
import msgspec

from ..clock import Clock
from ..errors import ConfigurationError, ConnectionFailed
from ..loggers import sandbox_logger
from ..models.channel import Channel, DeliveryStatus
from .shapes import Shape, Told, receipt_payload
from .timeline import Timeline

__all__ = ["CallbackCounts", "CallbackKey", "CallbackPolicy", "Courier"]

CallbackKey = tuple[str, str, int]
"""What tells callbacks apart: message id, ``"DELIVERY"`` or ``"READ"``, part."""

_SHAPES: tuple[Shape, ...] = ("channel", "unified", "legacy")


class CallbackPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How callbacks look, how stubbornly they are posted, and how many are mishandled.

    The documents say "any 2xx" and "a limited number of retries": the numbers are the sandbox's own.

    Attributes:
        shape: ``"channel"``, ``"unified"``, ``"legacy"``, or ``"mix"`` for one at random each time.
        own_ids: unified and legacy callbacks carry an id of the gateway's own as ``messageId``, and yours as
            ``customerMessageId`` only, as in the samples of the platform's guide.
        attempts: posts of one callback at most, the first included.
        backoff: seconds before the second attempt; doubles from attempt to attempt.
        timeout: seconds to wait for the receiver's answer; real ones, whatever the sandbox's clock.
        concurrency: callbacks in flight at most.
        duplicate: share of callbacks that are delivered twice.
        reorder: share of callbacks held back for a random time up to ``reorder_within`` seconds: others overtake.
        lost: share of callbacks that are never posted.
        price: per SMS part.
        record: keep in ``Sandbox.acked`` how often each callback was answered 2xx.
    """

    shape: Shape | Literal["mix"] = "channel"
    own_ids: bool = False
    attempts: int = 5
    backoff: float = 0.1
    timeout: float = 5.0
    concurrency: int = 16
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_within: float = 0.2
    lost: float = 0.0
    price: float = 0.035
    record: bool = False

    def __post_init__(self) -> None:
        if self.shape not in {*_SHAPES, "mix"}:
            raise ConfigurationError("CallbackPolicy.shape is channel, unified, legacy or mix")
        if any(not 0.0 <= share <= 1.0 for share in (self.duplicate, self.reorder, self.lost)):
            raise ConfigurationError("CallbackPolicy shares are from 0 to 1")
        if (
            self.attempts < 1
            or self.concurrency < 1
            or self.backoff < 0
            or self.timeout <= 0
            or self.reorder_within < 0
        ):
            raise ConfigurationError(
                "CallbackPolicy needs at least 1 attempt and 1 in flight, and times that are not negative"
            )


class CallbackCounts(msgspec.Struct, kw_only=True):
    """What became of DELIVERY and READ callbacks so far.

    Attributes:
        due: callbacks that life produced, before faults.
        unregistered: of those, how many had no URL to go to.
        lost: dropped by the ``lost`` fault.
        duplicated: extra copies by the ``duplicate`` fault.
        reordered: held back by the ``reorder`` fault.
        sent: posts, retries included.
        acked: posts answered 2xx.
        failed: posts answered otherwise, or not at all.
        abandoned: callbacks given up after the last attempt.
    """

    due: int = 0
    unregistered: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    sent: int = 0
    acked: int = 0
    failed: int = 0
    abandoned: int = 0


class Courier:
    """Delivers callbacks with a bounded number of tasks, none of them idle.

    Attributes:
        url: the registered URL, or ``None``. A change takes effect at once, also for retries.
        policy: may be replaced at any time.
        counts: what became of callbacks so far.
        acked: callbacks by the number of 2xx they got, if the policy records them.
    """

    def __init__(
        self, policy: CallbackPolicy, *, clock: Clock, timeline: Timeline, random: Random, on_idle: Callable[[], object]
    ) -> None:
        self.url: str | None = None
        self.policy = policy
        self.counts = CallbackCounts()
        self.acked: Counter[CallbackKey] = Counter()
        self._clock = clock
        self._timeline = timeline
        self._random = random
        self._on_idle = on_idle
        self._queue: deque[Told] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None
        self._told_of_no_url = False

    @property
    def idle(self) -> bool:
        """Whether nothing is queued or in flight. Retries to come are on the timeline."""
        return not self._queue and not self._tasks

    def tell(
        self,
        message_id: str,
        *,
        channel: Channel,
        destination: str,
        status: DeliveryStatus,
        part: int = 1,
        parts: int = 1,
    ) -> None:
        """Take one callback in charge: a delivery outcome of a part, or READ."""
        self.counts.due += 1
        if self.url is None:
            self._drop()
            return
        if self._chance(self.policy.lost):
            self.counts.lost += 1
            return
        policy = self.policy
        told = Told(
            message_id=message_id,
            channel=channel,
            destination=destination,
            status=status,
            occurred=self._clock.time(),
            shape=self._random.choice(_SHAPES) if policy.shape == "mix" else policy.shape,
            part=part,
            parts=parts,
            price=policy.price,
            gateway_id=str(uuid5(NAMESPACE_OID, message_id)) if policy.own_ids else None,
        )
        self._hand_over(told)
        if self._chance(policy.duplicate):
            self.counts.duplicated += 1
            self._hand_over(msgspec.structs.replace(told))

    async def post(self, body: bytes, content_type: str) -> int:
        """Post anything to the registered URL, once; return the receiver's status.

        Raises:
            ConfigurationError: no URL is registered.
            ConnectionFailed: no answer came in time.
        """
        if self.url is None:
            raise ConfigurationError("no callback URL is registered")
        status = await self._post(self.url, body, content_type)
        if status is None:
            raise ConnectionFailed("the receiver of callbacks did not answer")
        return status

    async def aclose(self) -> None:
        """Stop delivering. Everything outstanding is forgotten."""
        self._queue.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _hand_over(self, told: Told) -> None:
        if self._chance(self.policy.reorder):
            self.counts.reordered += 1
            self._timeline.after(self._random.uniform(0.0, self.policy.reorder_within), self._enqueue, told)
            return
        self._enqueue(told)

    def _enqueue(self, told: Told) -> None:
        self._queue.append(told)
        if len(self._tasks) < self.policy.concurrency:
            task = asyncio.get_running_loop().create_task(self._work(), name="qlara-sandbox-courier")
            self._tasks.add(task)
            task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._on_idle()

    async def _work(self) -> None:
        while self._queue:
            await self._deliver(self._queue.popleft())

    async def _deliver(self, told: Told) -> None:
        counts = self.counts
        if self.url is None:
            self._drop()
            return
        counts.sent += 1
        status = await self._post(self.url, receipt_payload(told), "application/json")
        sandbox_logger.info("callback %s %s %s %s", told.event_type, told.channel.value, told.message_id, status)
        if status is not None and 200 <= status <= 299:
            counts.acked += 1
            if self.policy.record:
                self.acked[told.message_id, told.event_type, told.part] += 1
            return
        counts.failed += 1
        if told.attempt >= self.policy.attempts:
            counts.abandoned += 1
            sandbox_logger.warning("callback %s given up after %d attempts", told.message_id, told.attempt)
            return
        delay = self.policy.backoff * 2.0 ** (told.attempt - 1)
        told.attempt += 1
        self._timeline.after(delay, self._enqueue, told)

    def _drop(self) -> None:
        self.counts.unregistered += 1
        if not self._told_of_no_url:
            sandbox_logger.info("no callback URL is registered: callbacks are dropped")
        self._told_of_no_url = True

    async def _post(self, url: str, body: bytes, content_type: str) -> int | None:
        headers = {"Content-Type": content_type}
        try:
            async with (
                asyncio.timeout(self.policy.timeout),
                self._open().post(url, data=body, headers=headers, allow_redirects=False) as answer,
            ):
                await answer.read()
                return answer.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                headers={"User-Agent": "qlara-sandbox"},
            )
        return self._session

    def _chance(self, share: float) -> bool:
        return share > 0.0 and self._random.random() < share
