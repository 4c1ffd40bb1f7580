"""Handlers that take too long, will not end, or close the receiver they run in."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import pickle
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from qlara_async.errors import ConfigurationError, HandlerTimeout
from qlara_async.models.events import Delivery, Event
from qlara_async.testing import VirtualClock
from qlara_async.webhooks import Context, MemoryInbox, Router, SqliteInbox, UrlToken, WebhookReceiver
from qlara_async.webhooks.dispatch import HOOK_SECONDS
from qlara_async.webhooks.exchange import Head
from qlara_async.webhooks.middleware import CallNext

pytestmark = pytest.mark.anyio

TOKEN = "right-token-0123456789"


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(jump=False)


@pytest.fixture(params=["memory", "sqlite"])
async def receiver(
    request: pytest.FixtureRequest, tmp_path: Path, clock: VirtualClock, no_task_left: None
) -> AsyncIterator[WebhookReceiver]:
    inbox: Any = (
        MemoryInbox(allow_loss=True, clock=clock)
        if request.param == "memory"
        else SqliteInbox(tmp_path / "inbox.db", retry_wait=0.0, max_attempts=3, clock=clock)
    )
    receiver = WebhookReceiver(auth=UrlToken(TOKEN), inbox=inbox, concurrency=1, handler_timeout=30.0, clock=clock)
    yield receiver
    await receiver.aclose()


def make(**options: Any) -> WebhookReceiver:
    return WebhookReceiver(auth=UrlToken(TOKEN), inbox=MemoryInbox(allow_loss=True), **options)


async def post(receiver: WebhookReceiver, number: int = 1) -> None:
    body = {"channel": "RCS", "eventType": "DELIVERY", "messageId": f"m{number}", "statusCode": 3}
    assert (await receiver.ingest("POST", f"/{TOKEN}", {}, msgspec.json.encode(body))).status == 200


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0)


async def turns(count: int = 30) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def cut_hooks_short(receiver: WebhookReceiver, clock: VirtualClock, hook: Hanging) -> None:
    """Let time pass while the hook runs, and only then, until nothing is pending."""
    while receiver.stats().pending:
        if hook.begun > hook.cancelled:
            await clock.advance(HOOK_SECONDS)
        await asyncio.sleep(0)


class Told:
    """An error hook that keeps what it is told."""

    def __init__(self, receiver: WebhookReceiver) -> None:
        self.errors: list[BaseException] = []
        receiver.on_error(lambda error, event, handler: self.errors.append(error))


class Hanging:
    """An error hook that does not end by itself, and then as it is told to."""

    def __init__(self, end: BaseException | None = None) -> None:
        self.begun = self.cancelled = 0
        self._end = end

    async def __call__(self, error: BaseException, event: Event, handler: str) -> None:
        self.begun += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as cancellation:
            self.cancelled += 1
            raise self._end or cancellation from None


class Stubborn:
    """Goes on at first, however often it is cancelled, until it is let go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.begun = self.cancelled = 0

    async def __call__(self, event: Event) -> None:
        self.begun += 1
        while self.begun == 1 and not self.go.is_set():
            try:
                await self.go.wait()
            except asyncio.CancelledError:
                self.cancelled += 1


async def test_a_handler_over_its_time_is_cancelled_and_has_failed(
    receiver: WebhookReceiver, clock: VirtualClock
) -> None:
    told, attempts = Told(receiver), list[int]()

    @receiver.on_delivery(name="slow", timeout=5.0)
    async def slow(event: Delivery, ctx: Context) -> None:
        attempts.append(ctx.attempt)
        if ctx.attempt == 1:
            await asyncio.Event().wait()

    await post(receiver)
    await until(lambda: attempts)
    await clock.advance(4.9)
    assert receiver.stats().failed == 0
    await clock.advance(0.2)
    await until(lambda: receiver.stats().failed)
    await receiver.idle()
    (error,) = told.errors
    assert isinstance(error, HandlerTimeout)
    assert isinstance(error, TimeoutError)
    assert (error.handler, error.timeout) == ("slow", 5.0)
    assert attempts in ([1], [1, 2])  # in memory there is one attempt


async def test_the_receivers_timeout_is_for_those_that_have_none(
    receiver: WebhookReceiver, clock: VirtualClock
) -> None:
    told, gate = Told(receiver), asyncio.Event()

    @receiver.on_delivery(lambda event: event.message_id == "m1", name="patient", timeout=math.inf)
    async def patient(event: Delivery) -> None:
        await gate.wait()

    @receiver.on_delivery(lambda event: event.message_id == "m2", name="usual")
    async def usual(event: Delivery, ctx: Context) -> None:
        if ctx.attempt == 1:
            await gate.wait()

    await post(receiver, 1)
    await turns()
    await clock.advance(1000.0)
    assert told.errors == []
    gate.set()
    await receiver.idle()
    gate.clear()
    await post(receiver, 2)
    await until(lambda: receiver.stats().pending)
    for _ in range(60):
        await clock.advance(1.0)
        await turns(3)
    await until(lambda: told.errors)
    assert [type(error) for error in told.errors] == [HandlerTimeout]
    await receiver.idle()


@pytest.mark.parametrize("ending", ["returns", "raises"])
async def test_one_that_was_late_has_failed_however_it_ends(
    ending: str, receiver: WebhookReceiver, clock: VirtualClock
) -> None:
    told, begun = Told(receiver), 0

    @receiver.on_delivery(timeout=5.0)
    async def late(event: Delivery) -> None:
        nonlocal begun
        begun += 1
        if begun > 1:
            return
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if ending == "raises":
                raise ValueError from None

    await post(receiver)
    await until(lambda: begun)
    await clock.advance(5.0)
    await receiver.idle()
    assert [type(error) for error in told.errors] == [HandlerTimeout]


async def test_one_that_swallows_its_cancellation_blocks_no_worker(
    receiver: WebhookReceiver, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    told, stubborn, ran = Told(receiver), Stubborn(), list[str | None]()
    receiver.on_delivery(lambda event: event.message_id == "m0", name="stubborn", timeout=5.0)(stubborn)

    @receiver.on_delivery(lambda event: event.message_id != "m0", name="other")
    async def other(event: Delivery) -> None:
        ran.append(event.message_id)

    await post(receiver, 0)
    await until(lambda: stubborn.begun)
    await post(receiver, 1)  # the one worker is taken
    await clock.advance(5.0)
    await until(lambda: stubborn.cancelled)
    await turns()
    assert ran == []
    await clock.advance(1.0)
    await until(lambda: ran == ["m1"])
    assert isinstance(told.errors[0], HandlerTimeout)
    assert "left to itself" in caplog.text
    await receiver.idle()
    assert stubborn.begun in {1, 2}  # on the disk it was tried again, meanwhile
    assert receiver.stats().handled == stubborn.begun
    stubborn.go.set()
    await turns()
    assert (receiver.stats().handled, receiver.stats().failed) == (stubborn.begun, 1)  # its late end counts for nothing


async def test_a_handlers_own_timeouts_and_groups_work_after_one_that_was_late(
    receiver: WebhookReceiver, clock: VirtualClock
) -> None:
    Told(receiver)
    begun, ran = 0, list[str | None]()

    @receiver.on_delivery(timeout=5.0)
    async def handler(event: Delivery) -> None:
        nonlocal begun
        begun += 1
        if begun == 1:
            await asyncio.Event().wait()
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))
        ran.append(event.message_id)

    await post(receiver, 1)
    await until(lambda: begun)
    await clock.advance(5.0)
    await post(receiver, 2)
    await receiver.idle()
    assert "m2" in ran


async def test_g12_one_that_swallows_every_cancellation_does_not_outlast_a_shutdown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = VirtualClock(jump=False)
    receiver, stubborn = make(drain_timeout=0, clock=clock), Stubborn()
    receiver.on_delivery(name="stubborn")(stubborn)
    await post(receiver)
    await until(lambda: stubborn.begun)
    closing = asyncio.create_task(receiver.aclose())
    await until(lambda: stubborn.cancelled)
    await turns()
    assert not closing.done()
    await clock.advance(1.0)
    await closing
    assert "1 handlers did not end" in caplog.text
    stubborn.go.set()
    await turns()


@pytest.mark.parametrize("call", ["drain", "aclose"])
async def test_a_handler_may_close_its_receiver(call: str, receiver: WebhookReceiver) -> None:
    returned = False

    @receiver.on_delivery()
    async def last(event: Delivery) -> None:
        nonlocal returned
        await getattr(receiver, call)()
        returned = True

    await post(receiver)
    await until(lambda: returned)
    await receiver.aclose()
    assert receiver.stats().handled == 1


async def test_a_hook_may_close_the_receiver(receiver: WebhookReceiver) -> None:
    told = 0

    @receiver.on_error
    async def failed(error: BaseException, event: Event, handler: str) -> None:
        nonlocal told
        await receiver.aclose()
        told += 1

    @receiver.on_delivery()
    async def broken(event: Delivery) -> None:
        raise ValueError

    await post(receiver)
    await until(lambda: told)
    await receiver.aclose()


async def test_the_last_failure_of_all_is_told_as_dead(receiver: WebhookReceiver) -> None:
    seen: list[tuple[str, str]] = []
    receiver.on_error(lambda error, event, handler: seen.append(("error", handler)))
    receiver.on_dead(lambda error, event, handler: seen.append((type(error).__name__, handler)))

    @receiver.on_delivery(name="broken")
    async def broken(event: Delivery) -> None:
        raise ValueError

    await post(receiver)
    await receiver.idle()
    failures = receiver.stats().failed
    assert failures in {1, 3}
    assert seen == [("error", "broken")] * failures + [("ValueError", "broken")]


async def test_a_run_that_may_have_begun_before_says_so(tmp_path: Path, no_task_left: None) -> None:
    seen: list[tuple[int, bool]] = []
    hang = asyncio.Event()

    def receiver() -> WebhookReceiver:
        inbox = SqliteInbox(tmp_path / "inbox.db", retry_wait=0.0)
        receiver = WebhookReceiver(auth=UrlToken(TOKEN), inbox=inbox, drain_timeout=0, concurrency=1)

        @receiver.on_delivery(name="handler")
        async def handler(event: Delivery, ctx: Context) -> None:
            seen.append((ctx.attempt, ctx.redelivered))
            if len(seen) == 2:
                raise ValueError
            if len(seen) in {1, 3}:
                await hang.wait()

        receiver.on_error(lambda *told: None)
        return receiver

    first = receiver()
    await post(first)
    await until(lambda: len(seen) == 1)
    await first.aclose()
    second = receiver()
    await second.start()
    await until(lambda: len(seen) == 3)
    await second.aclose()
    third = receiver()
    await third.start()
    await third.idle()
    await post(third, 2)
    await third.idle()
    await third.aclose()
    # A run that an orderly shutdown cancels is no attempt, but it had begun.
    assert seen == [(1, False), (1, True), (2, True), (2, True), (1, False)]


@pytest.mark.parametrize("timeout", [0, -1.0, math.nan])
def test_a_timeout_is_above_zero(timeout: float) -> None:
    with pytest.raises(ConfigurationError, match="timeout"):
        Router().on_delivery(timeout=timeout)
    with pytest.raises(ConfigurationError):
        make(handler_timeout=timeout)


def test_the_error_can_be_pickled() -> None:
    error = pickle.loads(pickle.dumps(HandlerTimeout("handler", 5.0)))
    assert (error.handler, error.timeout, str(error)) == ("handler", 5.0, str(HandlerTimeout("handler", 5.0)))


@pytest.mark.parametrize("dead", [False, True])
async def test_g9_an_error_hook_that_does_not_end_blocks_no_worker(
    receiver: WebhookReceiver, clock: VirtualClock, dead: bool, caplog: pytest.LogCaptureFixture
) -> None:
    hook = Hanging()
    (receiver.on_dead if dead else receiver.on_error)(hook)
    handled: list[str | None] = []

    @receiver.on_delivery()
    async def handle(event: Delivery) -> None:
        if event.message_id == "m1":
            raise ValueError
        handled.append(event.message_id)

    await post(receiver, 1)
    await until(lambda: hook.begun)
    await post(receiver, 2)
    await cut_hooks_short(receiver, clock, hook)
    assert handled == ["m2"]
    assert hook.cancelled == hook.begun
    assert "an error hook failed: TimeoutError" in caplog.text


async def test_g11_an_error_hook_that_fails_late_is_not_quoted(
    receiver: WebhookReceiver, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    hook = Hanging(ValueError("+393401234567"))
    receiver.on_error(hook)

    @receiver.on_delivery()
    async def handle(event: Delivery) -> None:
        raise ValueError

    await post(receiver)
    await cut_hooks_short(receiver, clock, hook)
    await turns()
    gc.collect()
    assert "an error hook failed: TimeoutError" in caplog.text
    assert "+39" not in caplog.text


async def test_a_middleware_that_goes_on_after_a_handlers_time_is_over_is_not_cancelled(
    receiver: WebhookReceiver, clock: VirtualClock
) -> None:
    left: list[int] = []

    @receiver.outer_middleware
    async def go_on(event: Event, ctx: Context, call_next: CallNext) -> None:
        with contextlib.suppress(HandlerTimeout):
            await call_next(event, ctx)
        task = asyncio.current_task()
        assert task is not None
        left.append(task.cancelling())

    begun = asyncio.Event()

    @receiver.on_delivery(timeout=5.0)
    async def slow(event: Delivery) -> None:
        begun.set()
        await asyncio.Event().wait()

    await post(receiver)
    await begun.wait()
    await clock.advance(5.0)
    await receiver.idle()
    assert left == [0]


async def test_g6_a_body_that_ends_while_handlers_are_cancelled_is_not_acknowledged(
    clock: VirtualClock, no_task_left: None
) -> None:
    receiver, stubborn = make(drain_timeout=0, clock=clock), Stubborn()
    receiver.on_delivery(name="stubborn")(stubborn)
    await post(receiver)
    await until(lambda: stubborn.begun)
    closing = asyncio.create_task(receiver.aclose())
    await until(lambda: stubborn.cancelled)
    head = Head("POST", f"/{TOKEN}", {})
    assert (await receiver._intake.accept(head, b'{"eventType":"DELIVERY","messageId":"late"}')).status == 503
    stubborn.go.set()
    await closing
