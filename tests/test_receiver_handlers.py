"""Handlers, their failures, and the end of a receiver."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from qlara_async import QlaraClient
from qlara_async.errors import ConfigurationError
from qlara_async.models.events import Delivery, Event, Inbound
from qlara_async.webhooks import Context, MemoryInbox, UrlToken, WebhookReceiver

pytestmark = pytest.mark.anyio

TOKEN = "right-token-0123456789"
CANARY = "canary-text-+393401234567"


def make(**options: Any) -> WebhookReceiver:
    inbox = MemoryInbox(allow_loss=True, max_pending=options.pop("max_pending", 10_000))
    return WebhookReceiver(auth=UrlToken(TOKEN), inbox=inbox, **options)


@pytest.fixture
async def receiver(no_task_left: None) -> AsyncIterator[WebhookReceiver]:
    receiver = make()
    yield receiver
    await receiver.aclose()


async def post(receiver: WebhookReceiver, number: int = 1, event_type: str = "DELIVERY") -> int:
    body = {"channel": "RCS", "eventType": event_type, "messageId": f"m{number}", "statusCode": 3, "text": CANARY}
    return (await receiver.ingest("POST", f"/{TOKEN}", {}, msgspec.json.encode(body))).status


class Gate:
    """A handler that waits until it is opened."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.entered = 0
        self.left = 0

    async def __call__(self, event: Event) -> None:
        self.entered += 1
        await self.open.wait()
        self.left += 1


def fail(event: Event) -> bool:
    raise ZeroDivisionError(CANARY)


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_all_handlers_of_a_receipt_run_and_the_first_of_an_inbound_message(receiver: WebhookReceiver) -> None:
    ran: list[str] = []

    def add(name: str) -> None:
        async def handler(event: Event) -> None:
            ran.append(name)

        receiver.on_delivery(name=f"delivery {name}")(handler)
        receiver.on_inbound(name=f"inbound {name}")(handler)

    add("a")
    add("b")
    await post(receiver)
    await receiver.idle()
    assert ran == ["a", "b"]
    await post(receiver, event_type="INBOUND")
    await receiver.idle()
    assert ran == ["a", "b", "a"]


async def test_a_failing_handler_touches_neither_the_others_nor_the_answer(receiver: WebhookReceiver) -> None:
    ran: list[str | None] = []
    told: list[tuple[BaseException, Event, str]] = []

    @receiver.on_delivery(name="broken")
    async def broken(event: Delivery) -> None:
        raise ValueError(CANARY)

    @receiver.on_delivery(name="cancelled")
    async def cancelled(event: Delivery) -> None:
        raise asyncio.CancelledError

    @receiver.on_delivery(name="sound")
    async def sound(event: Delivery) -> None:
        ran.append(event.message_id)

    receiver.on_error(lambda error, event, handler: told.append((error, event, handler)))
    assert [await post(receiver, number) for number in (1, 2)] == [200, 200]
    await receiver.idle()
    assert ran == ["m1", "m2"]
    assert [(type(error), event.message_id, name) for error, event, name in told] == [
        (ValueError, "m1", "broken"),
        (asyncio.CancelledError, "m1", "cancelled"),
        (ValueError, "m2", "broken"),
        (asyncio.CancelledError, "m2", "cancelled"),
    ]
    assert (receiver.stats().handled, receiver.stats().failed) == (2, 4)


async def test_g11_without_a_hook_a_failure_is_logged_without_words(
    receiver: WebhookReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    @receiver.on_inbound(name="broken")
    async def broken(event: Inbound) -> None:
        raise ValueError(event.text)

    receiver.on_delivery(fail, name="picky")(Gate())

    with caplog.at_level(logging.DEBUG):
        await post(receiver, event_type="INBOUND")
        await post(receiver)
        await receiver.idle()
    failure, predicate = (record.getMessage() for record in caplog.records if record.name == "qlara_async.webhooks")
    assert "broken" in failure
    assert "ValueError" in failure
    assert "m1" in failure
    assert "picky" in predicate
    assert "ZeroDivisionError" in predicate
    assert CANARY not in caplog.text


async def test_an_async_hook_is_awaited_and_its_own_failure_harms_nobody(
    receiver: WebhookReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []

    @receiver.on_error
    async def failed(error: BaseException, event: Event, handler: str) -> None:
        await turns(100)
        told.append(handler)
        raise RuntimeError(CANARY)

    @receiver.on_delivery(name="broken")
    async def broken(event: Delivery) -> None:
        raise ValueError

    receiver.on_delivery(fail, name="picky")(Gate())

    assert [await post(receiver, number) for number in (1, 2)] == [200, 200]
    await receiver.idle()
    assert sorted(told) == ["broken", "broken", "picky", "picky"]
    assert "RuntimeError" in caplog.text
    assert CANARY not in caplog.text


async def test_idle_waits_for_the_hook_of_a_predicate(receiver: WebhookReceiver) -> None:
    told: list[str] = []

    @receiver.on_error
    async def failed(error: BaseException, event: Event, handler: str) -> None:
        await turns()
        told.append(handler)

    receiver.on_delivery(fail, name="picky")(Gate())
    await post(receiver)
    await receiver.idle()
    assert told == ["picky"]


async def test_a_handler_of_two_arguments_gets_a_context(receiver: WebhookReceiver) -> None:
    contexts: list[Context] = []

    @receiver.on_delivery(name="mine")
    async def mine(event: Delivery, ctx: Context) -> None:
        contexts.append(ctx)

    await post(receiver)
    await receiver.idle()
    (context,) = contexts
    assert (context.handler, context.attempt) == ("mine", 1)
    assert context.event.message_id == "m1"
    assert CANARY not in repr(context)
    with pytest.raises(ConfigurationError):
        _ = context.app
    with pytest.raises(ConfigurationError, match="client="):
        _ = context.client


async def test_the_client_of_the_receiver_is_the_handlers_client(qlara: QlaraClient) -> None:
    receiver, clients = make(client=qlara), []

    @receiver.on_delivery()
    async def handler(event: Delivery, ctx: Context) -> None:
        clients.append(ctx.client)

    await post(receiver)
    await receiver.aclose()
    assert clients == [qlara]


async def test_concurrency_is_bounded_and_used(no_task_left: None) -> None:
    receiver, gate = make(concurrency=3), Gate()
    receiver.on_delivery(name="gate")(gate)
    for number in range(10):
        await post(receiver, number)
    await turns()
    assert (gate.entered, receiver.stats().pending) == (3, 10)
    gate.open.set()
    await receiver.idle()
    assert gate.left == 10
    await receiver.aclose()


async def test_handlers_that_never_wait_do_not_hold_the_loop(no_task_left: None) -> None:
    receiver = make(concurrency=1)
    ran: list[Event] = []

    @receiver.on_delivery()
    async def quick(event: Delivery) -> None:
        ran.append(event)

    for number in range(1000):
        await post(receiver, number)
    await asyncio.sleep(0)
    assert 0 < len(ran) < 100
    await receiver.idle()
    assert len(ran) == 1000
    await receiver.aclose()


async def test_g8_a_full_inbox_is_a_503_and_stores_nothing(no_task_left: None) -> None:
    receiver, gate = make(max_pending=2), Gate()
    receiver.on_delivery(name="gate")(gate)
    assert [await post(receiver, number) for number in (1, 2, 3, 1)] == [200, 200, 503, 200]
    gate.open.set()
    await receiver.idle()
    assert await post(receiver, 3) == 200
    await receiver.idle()
    assert gate.left == 3
    await receiver.aclose()


async def test_draining_refuses_new_callbacks_and_finishes_the_old(no_task_left: None) -> None:
    receiver, gate = make(), Gate()
    receiver.on_delivery(name="gate")(gate)
    await post(receiver)
    draining = asyncio.create_task(receiver.drain())
    await turns()
    assert await post(receiver, 2) == 503
    assert not draining.done()
    gate.open.set()
    await draining
    assert (gate.left, receiver.stats().pending) == (1, 0)
    await receiver.aclose()


async def test_g12_after_the_drain_timeout_handlers_are_cancelled_and_counted(
    no_task_left: None, caplog: pytest.LogCaptureFixture
) -> None:
    receiver, gate = make(drain_timeout=0, concurrency=1), Gate()
    receiver.on_delivery(name="gate")(gate)
    for number in range(3):
        await post(receiver, number)
    await turns()
    await receiver.drain()
    assert (gate.entered, gate.left, receiver.stats().pending) == (1, 0, 3)
    assert "3 events" in caplog.text
    await receiver.aclose()
    await receiver.idle()


async def test_g12_a_handler_that_swallows_its_cancellation_does_not_keep_the_worker(no_task_left: None) -> None:
    receiver = make(drain_timeout=0, concurrency=1)

    @receiver.on_delivery()
    async def stubborn(event: Delivery) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)

    await post(receiver)
    await turns()
    await receiver.aclose()


async def test_g12_a_cancelled_drain_leaves_no_worker(no_task_left: None) -> None:
    receiver, gate = make(), Gate()
    receiver.on_delivery(name="gate")(gate)
    await post(receiver)
    draining = asyncio.create_task(receiver.drain())
    await turns()
    draining.cancel()
    with pytest.raises(asyncio.CancelledError):
        await draining
    assert await post(receiver, 2) == 503
    assert gate.left == 0


async def test_closing_twice_or_before_starting_is_harmless(no_task_left: None) -> None:
    receiver = make()
    await receiver.aclose()
    await receiver.aclose()
    await receiver.start()
    assert await post(receiver) == 503


class Unusual(BaseException):
    pass


@pytest.mark.parametrize("kind", [Unusual, GeneratorExit, asyncio.CancelledError, ZeroDivisionError])
async def test_whatever_a_handler_raises_its_worker_lives_on(
    kind: type[BaseException], receiver: WebhookReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    handled = 0

    @receiver.on_delivery()
    async def handler(event: Delivery) -> None:
        nonlocal handled
        handled += 1
        if handled <= 200:
            raise kind(CANARY)

    for number in range(300):
        assert await post(receiver, number) == 200
    await receiver.idle()
    assert handled == 300
    assert (receiver.stats().failed, receiver.stats().handled) == (200, 100)
    assert CANARY not in caplog.text


async def test_a_handler_that_cancels_itself_does_not_stop_its_worker(receiver: WebhookReceiver) -> None:
    handled = 0

    @receiver.on_delivery()
    async def handler(event: Delivery) -> None:
        nonlocal handled
        handled += 1
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        if handled % 2:
            await asyncio.sleep(0)

    for number in range(200):
        assert await post(receiver, number) == 200
    await receiver.idle()
    assert handled == 200


async def test_a_predicate_that_raises_anything_loses_no_event_of_its_batch(receiver: WebhookReceiver) -> None:
    seen: list[str | None] = []
    raised: list[type[BaseException]] = []
    receiver.on_error(lambda error, event, handler: raised.append(type(error)))

    def picky(event: Delivery) -> bool:
        if event.message_id == "m2" and not raised:
            raise asyncio.CancelledError
        return True

    @receiver.on_delivery(picky)
    async def handler(event: Delivery) -> None:
        seen.append(event.message_id)

    @receiver.on_delivery()
    async def other(event: Delivery) -> None:
        seen.append(event.message_id)

    batch = [{"channel": "SMS", "eventType": "DELIVERY", "messageId": f"m{n}", "statusCode": 3} for n in (1, 2, 3)]
    answer = await receiver.ingest("POST", f"/{TOKEN}", {}, msgspec.json.encode(batch))
    await receiver.idle()
    assert answer.status == 200
    assert sorted(map(str, seen)) == ["m1", "m1", "m2", "m3", "m3"]


async def test_a_token_is_no_auth() -> None:
    wrong: Any = TOKEN
    with pytest.raises(ConfigurationError, match="UrlToken"):
        WebhookReceiver(auth=wrong, inbox=MemoryInbox(allow_loss=True))


async def test_a_handler_that_cancels_itself_leaves_nothing_to_the_next(no_task_left: None) -> None:
    receiver = make(concurrency=1)
    left: list[int] = []

    @receiver.on_delivery()
    async def cancel_itself(event: Delivery) -> None:
        task = asyncio.current_task()
        assert task is not None
        left.append(task.cancelling())
        task.cancel()
        await asyncio.sleep(0)

    await post(receiver, 1)
    await post(receiver, 2)
    await receiver.idle()
    assert left == [0, 0]
    assert receiver.stats().failed == 2
    await receiver.aclose()
