"""Middleware: around each run of a handler, in order, and part of the run in all that goes wrong."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from qlara_async.errors import ConfigurationError, HandlerTimeout
from qlara_async.models.events import Delivery, Event
from qlara_async.testing import VirtualClock
from qlara_async.webhooks import (
    CallNext,
    Context,
    MemoryInbox,
    Middleware,
    Router,
    SqliteInbox,
    UrlToken,
    WebhookReceiver,
)

pytestmark = pytest.mark.anyio

TOKEN = "right-token-0123456789"


def make(inbox: Any = None, **options: Any) -> WebhookReceiver:
    return WebhookReceiver(auth=UrlToken(TOKEN), inbox=inbox or MemoryInbox(allow_loss=True), **options)


async def post(receiver: WebhookReceiver) -> None:
    body = {"channel": "RCS", "eventType": "DELIVERY", "messageId": "m1", "statusCode": 3}
    assert (await receiver.ingest("POST", f"/{TOKEN}", {}, msgspec.json.encode(body))).status == 200


def noting(seen: list[str], name: str) -> Middleware:
    async def middleware(event: Event, ctx: Context, call_next: CallNext) -> None:
        seen.append(f"{name}>")
        await call_next(event, ctx)
        seen.append(f"<{name}")

    return middleware


async def test_they_run_in_order_around_the_handlers_they_are_of() -> None:
    receiver, inner, beside = make(), Router(), Router()
    seen: list[str] = []

    for name, router in (("own", receiver), ("inner", inner), ("beside", beside)):

        @router.on_delivery(name=name)
        async def handler(event: Delivery, ctx: Context) -> None:
            seen.append(ctx.handler)

    receiver.include(inner)
    receiver.include(beside)
    receiver.middleware(noting(seen, "a"))
    receiver.outer_middleware(noting(seen, "o"))
    inner.middleware(noting(seen, "i"))
    receiver.middleware(noting(seen, "b"))
    await post(receiver)
    await receiver.aclose()
    assert seen == [
        *("o>", "a>", "b>", "own", "<b", "<a", "<o"),
        *("o>", "a>", "b>", "i>", "inner", "<i", "<b", "<a", "<o"),
        *("o>", "a>", "b>", "beside", "<b", "<a", "<o"),
    ]


async def test_what_it_raises_is_the_handlers_failure_and_is_tried_again(tmp_path: Any) -> None:
    receiver = make(SqliteInbox(tmp_path / "inbox.db", retry_wait=0.0))
    told: list[tuple[type[BaseException], str]] = []
    runs: list[int] = []
    receiver.on_error(lambda error, event, handler: told.append((type(error), handler)))

    @receiver.middleware
    async def failing_first(event: Event, ctx: Context, call_next: CallNext) -> None:
        if ctx.attempt == 1:
            raise ZeroDivisionError
        await call_next(event, ctx)

    @receiver.on_delivery(name="handler")
    async def handler(event: Delivery, ctx: Context) -> None:
        runs.append(ctx.attempt)

    await post(receiver)
    await receiver.idle()
    await receiver.aclose()
    assert (told, runs) == ([(ZeroDivisionError, "handler")], [2])


async def test_it_may_skip_the_handler_or_give_it_another_event() -> None:
    receiver, seen = make(), list[str]()

    @receiver.middleware
    async def changing(event: Event, ctx: Context, call_next: CallNext) -> None:
        if ctx.handler == "kept":
            await call_next(msgspec.structs.replace(event, raw=b"changed"), ctx)

    @receiver.on_delivery(name="skipped")
    async def skipped(event: Delivery) -> None:
        seen.append("skipped")

    @receiver.on_delivery(name="kept")
    async def kept(event: Delivery) -> None:
        seen.append(event.raw.decode())

    await post(receiver)
    await receiver.aclose()
    assert seen == ["changed"]
    assert receiver.stats().handled == 2


async def test_the_outer_one_sees_the_timeout_that_the_inner_one_is_within() -> None:
    clock = VirtualClock(jump=False)
    receiver, seen = make(clock=clock, handler_timeout=5.0), list[type[BaseException]]()
    receiver.on_error(lambda *told: None)
    entered, pending = asyncio.Event(), list[int]()

    async def seeing(event: Event, ctx: Context, call_next: CallNext) -> None:
        try:
            await call_next(event, ctx)
        except BaseException as error:
            seen.append(type(error))
            task = asyncio.current_task()
            assert task is not None
            pending.append(task.cancelling())
            raise

    receiver.outer_middleware(seeing)
    receiver.middleware(seeing)

    @receiver.on_delivery()
    async def hang(event: Delivery) -> None:
        entered.set()
        await asyncio.Event().wait()

    await post(receiver)
    await entered.wait()
    await clock.advance(5.0)
    await receiver.idle()
    await receiver.aclose()
    assert seen == [asyncio.CancelledError, HandlerTimeout]
    assert pending == [1, 0]  # out of the limit the task is no longer being cancelled: groups and timeouts work


def test_a_middleware_is_async() -> None:
    wrong: Any = lambda event, ctx, call_next: None  # noqa: E731
    with pytest.raises(ConfigurationError, match="async"):
        Router().middleware(wrong)
    with pytest.raises(ConfigurationError, match="async"):
        make().outer_middleware(wrong)
