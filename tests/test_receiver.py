"""The receiver as a sub-application of a real server, spoken to over real sockets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from qlara_async.models.events import Delivery, Event
from qlara_async.webhooks import Context, MemoryInbox, UrlToken, WebhookReceiver

pytestmark = pytest.mark.anyio

TOKEN = "right-token-0123456789"
CANARY = "canary-4711"
Middleware = Callable[
    [web.Request, Callable[[web.Request], Awaitable[web.StreamResponse]]], Awaitable[web.StreamResponse]
]


def make(**options: Any) -> WebhookReceiver:
    return WebhookReceiver(auth=UrlToken(TOKEN), inbox=MemoryInbox(allow_loss=True), **options)


def note(receiver: WebhookReceiver) -> list[Event]:
    events: list[Event] = []

    async def seen(event: Event) -> None:
        events.append(event)

    receiver.on_delivery()(seen)
    receiver.on_unknown(name="unknown")(seen)
    return events


def delivery(message_id: str = "m1", **fields: Any) -> bytes:
    return msgspec.json.encode(
        {"channel": "SMS", "eventType": "DELIVERY", "messageId": message_id, "statusCode": 3, **fields}
    )


def head(target: str, *fields: str, method: str = "POST") -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: localhost", *fields, "", ""]).encode(
        "utf-8", "surrogateescape"
    )


class Service:
    """A parent application on a free port, with the receiver mounted."""

    def __init__(self, app: web.Application) -> None:
        self.runner = web.AppRunner(app)
        self.port = 0

    async def __aenter__(self) -> Service:
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.port = self.runner.addresses[0][1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.runner.cleanup()

    async def post(
        self, path: str, body: bytes = b"{}", content_type: str | None = "application/json"
    ) -> tuple[int, str]:
        headers = {} if content_type is None else {"Content-Type": content_type}
        async with (
            aiohttp.ClientSession(skip_auto_headers=["Content-Type"]) as session,
            session.post(f"http://127.0.0.1:{self.port}{path}", data=body, headers=headers) as answer,
        ):
            return answer.status, await answer.text()

    async def raw(self, *pieces: bytes, end: bool = False) -> bytes:
        """Send bytes as they are, and return the first line of the answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        if end:
            writer.write_eof()
        line = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return line


def mounted(receiver: WebhookReceiver, prefix: str = "/qlara", **options: Any) -> Service:
    app = web.Application(**options)
    app.add_subapp(prefix, receiver.app())
    return Service(app)


@pytest.fixture
def receiver(no_task_left: None) -> WebhookReceiver:
    return make()


@pytest.fixture
async def service(receiver: WebhookReceiver) -> AsyncIterator[Service]:
    async with mounted(receiver) as service:
        yield service


async def test_callbacks_reach_the_handlers(receiver: WebhookReceiver, service: Service) -> None:
    events = note(receiver)
    assert await service.post(f"/qlara/{TOKEN}", delivery()) == (200, "")
    assert await service.post(f"/qlara/{TOKEN}/", delivery("m2"), None) == (200, "")
    await receiver.idle()
    assert [event.message_id for event in events] == ["m1", "m2"]


@pytest.mark.parametrize("prefix", ["/a", "/deep/er", "/dot.ted-and_dashed"])
async def test_any_prefix(receiver: WebhookReceiver, prefix: str) -> None:
    async with mounted(receiver, prefix) as service:
        assert (await service.post(f"{prefix}/{TOKEN}", delivery()))[0] == 200
        assert (await service.post(f"{prefix}/{TOKEN}/"))[0] == 200


async def test_a_sub_application_of_a_sub_application(receiver: WebhookReceiver) -> None:
    inner = web.Application()
    inner.add_subapp("/inner", receiver.app())
    app = web.Application()
    app.add_subapp("/outer", inner)
    async with Service(app) as service:
        assert (await service.post(f"/outer/inner/{TOKEN}"))[0] == 200


async def test_by_itself(receiver: WebhookReceiver) -> None:
    async with Service(receiver.app()) as service:
        assert (await service.post(f"/{TOKEN}"))[0] == 200
        assert (await service.post("/"))[0] == 404


async def test_app_is_one(receiver: WebhookReceiver) -> None:
    assert receiver.app() is receiver.app()
    await receiver.aclose()


async def test_insecure_answers_at_the_mount_itself(no_task_left: None) -> None:
    receiver = WebhookReceiver(inbox=MemoryInbox(allow_loss=True), insecure=True)
    async with mounted(receiver) as service:
        assert [(await service.post(path))[0] for path in ("/qlara", "/qlara/")] == [200, 200]


async def test_g8_strangers_see_what_is_seen_of_a_path_that_is_not_there(
    receiver: WebhookReceiver, service: Service
) -> None:
    unknown = await service.post("/elsewhere")
    assert unknown[0] == 404
    for path in ("/qlara", "/qlara/", "/qlara/wrong-token-0123456789", f"/qlara/{TOKEN}/more"):
        assert await service.post(path) == unknown
    assert receiver.stats().received == 0


async def test_a_percent_encoded_token_is_the_token(receiver: WebhookReceiver, service: Service) -> None:
    encoded = "".join(f"%{ord(character):02x}" for character in TOKEN)
    answer = await service.raw(head(f"/qlara/{encoded}", "Content-Length: 2"), b"{}")
    assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(("method", "status"), [("GET", 405), ("PUT", 405), ("HEAD", 405), ("OPTIONS", 405)])
async def test_other_methods(service: Service, method: str, status: int) -> None:
    assert (await service.raw(head(f"/qlara/{TOKEN}", method=method))).startswith(f"HTTP/1.1 {status}".encode())
    assert (await service.raw(head("/qlara/wrong", method=method))).startswith(b"HTTP/1.1 404")


async def test_other_content_types(service: Service) -> None:
    assert (await service.post(f"/qlara/{TOKEN}", b"x", "text/plain"))[0] == 415
    assert await service.post(f"/qlara/{TOKEN}", b"text=a&originator=1", "application/x-www-form-urlencoded") == (
        200,
        "+OK",
    )


async def test_g8_the_body_cap_is_the_receivers_own(no_task_left: None) -> None:
    receiver = make(max_body=1000)
    events = note(receiver)
    async with mounted(receiver, client_max_size=1 << 30) as service:
        target = f"/qlara/{TOKEN}"
        chunks = b"".join(b"64\r\n" + b" " * 100 + b"\r\n" for _ in range(11)) + b"0\r\n\r\n"
        assert (await service.raw(head(target, "Content-Length: 1001"), b" " * 1001)).startswith(b"HTTP/1.1 413")
        assert (await service.raw(head(target, "Content-Length: 9999999"))).startswith(b"HTTP/1.1 413")
        assert (await service.raw(head(target, "Transfer-Encoding: chunked") + chunks)).startswith(b"HTTP/1.1 413")
        assert (await service.raw(head(target, "Transfer-Encoding: chunked"), chunks)).startswith(b"HTTP/1.1 413")
        assert (await service.post(target, delivery().ljust(1000)))[0] == 200
        await receiver.idle()
    assert len(events) == 1


async def test_a_large_body_is_taken_under_a_parent_that_allows_none(receiver: WebhookReceiver) -> None:
    events = note(receiver)
    async with mounted(receiver, client_max_size=10) as service:
        body = delivery(description="x" * 900_000)
        assert (await service.post(f"/qlara/{TOKEN}", body))[0] == 200
        await receiver.idle()
    assert events[0].raw == body


async def test_a_body_that_a_middleware_has_read(no_task_left: None) -> None:
    @web.middleware
    async def nosy(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> Any:
        await request.read()
        return await handler(request)

    receiver = make(max_body=1000)
    events = note(receiver)
    async with mounted(receiver, middlewares=[nosy]) as service:
        assert (await service.post(f"/qlara/{TOKEN}", delivery()))[0] == 200
        assert (await service.post(f"/qlara/{TOKEN}", b" " * 1001))[0] == 413
        await receiver.idle()
    assert [event.message_id for event in events] == ["m1"]


async def test_g8_a_body_that_does_not_arrive_is_a_408(no_task_left: None) -> None:
    receiver = make(read_timeout=0.01)
    async with mounted(receiver) as service:
        assert (await service.raw(head(f"/qlara/{TOKEN}", "Content-Length: 10"), b"{")).startswith(b"HTTP/1.1 408")
    assert receiver.stats().refused == 1


@pytest.mark.parametrize(
    "pieces",
    [
        (head(f"/qlara/{TOKEN}", "Transfer-Encoding: chunked"), b"2\r\n{}\r\n", b"zz\r\n\r\n"),
        (head(f"/qlara/{TOKEN}", "Content-Encoding: br", "Content-Length: 2"), b"{}"),
        (head(f"/qlara/{TOKEN}", "Content-Length: x"), b"{}"),
        (head("/qlara/\udcff\udcfe", "Content-Length: 2"), b"{}"),
        (head(f"/qlara/{TOKEN}", "Content-Type: \udce9", "Content-Length: 2"), b"{}"),
    ],
)
async def test_g8_broken_framing_is_a_4xx_without_a_traceback_of_ours(
    service: Service, pieces: tuple[bytes, ...], caplog: pytest.LogCaptureFixture
) -> None:
    assert (await service.raw(*pieces))[:10] in (b"HTTP/1.1 4", b"HTTP/1.0 4")
    assert not any("qlara_async" in str(record.exc_text) for record in caplog.records)


async def test_a_sender_that_hangs_up_leaves_no_traceback(
    receiver: WebhookReceiver, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    await service.raw(head(f"/qlara/{TOKEN}", "Content-Length: 10"), b"{", end=True)
    await receiver.idle()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_g7_the_same_event_delivered_many_times_at_once_is_handled_once(
    receiver: WebhookReceiver, service: Service
) -> None:
    events = note(receiver)
    answers = await asyncio.gather(*(service.post(f"/qlara/{TOKEN}", delivery()) for _ in range(50)))
    assert {status for status, _ in answers} == {200}
    await receiver.idle()
    assert len(events) == 1
    assert (receiver.stats().accepted, receiver.stats().duplicates) == (1, 49)


async def test_a_full_inbox_asks_to_come_again(no_task_left: None) -> None:
    receiver = WebhookReceiver(auth=UrlToken(TOKEN), inbox=MemoryInbox(allow_loss=True, max_pending=1))
    release = asyncio.Event()

    @receiver.on_delivery()
    async def slow(event: Delivery) -> None:
        await release.wait()

    async with mounted(receiver) as service, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{service.port}/qlara/{TOKEN}"
        assert (await service.post(f"/qlara/{TOKEN}", delivery("a")))[0] == 200
        async with session.post(url, json={"eventType": "DELIVERY", "messageId": "b"}) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
            assert answer.headers["Connection"] == "close"
        release.set()
        await receiver.idle()
        assert (await service.post(f"/qlara/{TOKEN}", delivery("b")))[0] == 200


async def test_the_application_is_the_parents(no_task_left: None) -> None:
    key = web.AppKey("key", str)
    seen: list[str] = []
    receiver = make()

    @receiver.on_delivery()
    async def look(event: Delivery, ctx: Context) -> None:
        seen.append(ctx.app[key])

    app = web.Application()
    app[key] = "mine"
    app.add_subapp("/qlara", receiver.app())
    async with Service(app) as service:
        await service.post(f"/qlara/{TOKEN}", delivery())
        await receiver.idle()
    assert seen == ["mine"]


async def test_what_was_acknowledged_is_handled_on_shutdown_while_the_parents_resources_are_open(
    no_task_left: None,
) -> None:
    receiver = make(concurrency=4)
    database: list[str] = []
    handled: list[tuple[str | None, bool]] = []

    @asynccontextmanager
    async def opened() -> AsyncIterator[None]:
        database.append("open")
        yield
        database.clear()

    async def resource(_: web.Application) -> AsyncIterator[None]:
        async with opened():
            yield

    @receiver.on_delivery()
    async def write(event: Delivery) -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        handled.append((event.message_id, bool(database)))

    app = web.Application()
    app.cleanup_ctx.append(resource)
    app.add_subapp("/qlara", receiver.app())
    async with Service(app) as service:
        await asyncio.gather(*(service.post(f"/qlara/{TOKEN}", delivery(f"m{n}")) for n in range(60)))
        assert receiver.stats().pending > 0
    assert len(handled) == 60
    assert all(open_then for _, open_then in handled)


async def test_callbacks_that_arrive_during_the_shutdown_get_a_503(no_task_left: None) -> None:
    receiver = make()
    release = asyncio.Event()

    @receiver.on_delivery()
    async def slow(event: Delivery) -> None:
        await release.wait()

    async with mounted(receiver) as service:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        request = head(f"/qlara/{TOKEN}", "Content-Length: 10")
        writer.write(request)  # under way when the shutdown begins, and so kept open
        await service.post(f"/qlara/{TOKEN}", delivery())
        draining = asyncio.create_task(receiver.drain())
        await asyncio.sleep(0)
        assert (await service.post(f"/qlara/{TOKEN}", delivery("late")))[0] == 503
        writer.write(b'{"a":"bc"}')
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        assert not draining.done()
        release.set()
        await draining
        writer.close()
        await writer.wait_closed()
    assert (receiver.stats().handled, receiver.stats().accepted) == (1, 2)


async def test_a_body_that_ends_after_the_drain_timeout_is_not_acknowledged(no_task_left: None) -> None:
    receiver = make(drain_timeout=0)
    async with mounted(receiver) as service:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(head(f"/qlara/{TOKEN}", "Content-Length: 10"))
        await service.post(f"/qlara/{TOKEN}", delivery())
        await receiver.drain()
        writer.write(b'{"a":"bc"}')
        assert (await reader.readline()).startswith(b"HTTP/1.1 503")
        writer.close()
        await writer.wait_closed()
    assert receiver.stats().accepted == 1


async def test_it_starts_with_the_first_request_where_startup_hooks_do_not_run(no_task_left: None) -> None:
    receiver = make()
    events = note(receiver)
    app = receiver.app()
    app.freeze()
    server = web.Server(app._handle, request_factory=app._make_request)  # type: ignore[arg-type]
    runner = web.ServerRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    service = Service(web.Application())
    service.port = runner.addresses[0][1]
    answers = await asyncio.gather(*(service.post(f"/{TOKEN}", delivery(f"m{n}")) for n in range(5)))
    assert {status for status, _ in answers} == {200}
    await receiver.idle()
    assert len(events) == 5
    await runner.cleanup()
    await receiver.aclose()


async def test_g11_no_content_and_no_token_in_any_log(
    receiver: WebhookReceiver, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    @receiver.on_delivery()
    async def broken(event: Delivery) -> None:
        raise ValueError(event.destination)

    caplog.set_level(logging.DEBUG)
    numbers = {"destination": CANARY, "description": CANARY}
    for body in (
        delivery(**numbers),
        delivery(**numbers, price=1),
        CANARY.encode(),
        b'{"eventType":"X","text":"canary-4711"}',
    ):
        await service.post(f"/qlara/{TOKEN}", body)
    await service.post(f"/qlara/{CANARY}-{CANARY}", b"{}")
    await receiver.idle()
    shown = "".join(f"{record.getMessage()}{record.__dict__}" for record in caplog.records)
    assert "ValueError" in shown
    assert CANARY not in shown
    assert TOKEN not in shown
