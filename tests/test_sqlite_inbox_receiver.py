"""The receiver with a durable inbox, and what both inboxes owe a receiver."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from qlara_async.errors import ConfigurationError
from qlara_async.models.events import Delivery, Event, Inbound
from qlara_async.testing.clock import VirtualClock
from qlara_async.webhooks import Context, MemoryInbox, OrderBy, SqliteInbox, UrlToken, WebhookReceiver
from qlara_async.webhooks.inbox import Row, Verdict

pytestmark = pytest.mark.anyio

TOKEN = "right-token-0123456789"


@pytest.fixture(params=["memory", "sqlite"])
def inbox(request: pytest.FixtureRequest, tmp_path: Path) -> MemoryInbox | SqliteInbox:
    return MemoryInbox(allow_loss=True) if request.param == "memory" else SqliteInbox(tmp_path / "inbox.db")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "inbox.db"


class Receivers:
    def __init__(self) -> None:
        self.all: list[WebhookReceiver] = []

    def __call__(self, inbox: MemoryInbox | SqliteInbox, **options: Any) -> WebhookReceiver:
        receiver = WebhookReceiver(auth=UrlToken(TOKEN), inbox=inbox, **options)
        self.all.append(receiver)
        return receiver


@pytest.fixture
async def receivers(no_task_left: None) -> AsyncIterator[Receivers]:
    receivers = Receivers()
    yield receivers
    for receiver in receivers.all:
        await receiver.aclose()


def body(number: int, event_type: str = "DELIVERY", source: str = "+391", status_code: int = 3) -> bytes:
    fields = {"channel": "RCS", "eventType": event_type, "messageId": f"m{number}", "statusCode": status_code}
    return msgspec.json.encode(fields | {"source": source})


async def post(receiver: WebhookReceiver, number: int = 1, event_type: str = "DELIVERY", **fields: Any) -> int:
    answer = await receiver.ingest("POST", f"/{TOKEN}", {}, body(number, event_type, **fields))
    return answer.status


def request(number: int) -> bytes:
    content = body(number)
    head = (
        f"POST /qlara/{TOKEN} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(content)}"
    )
    return f"{head}\r\n\r\n".encode() + content


def rows(path: Path, sql: str) -> list[Any]:
    db = sqlite3.connect(path)
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0)


async def test_g6_an_acknowledged_event_is_handled_by_the_next_process(path: Path, receivers: Receivers) -> None:
    first = receivers(SqliteInbox(path), drain_timeout=0)
    hung = asyncio.Event()

    @first.on_delivery(name="handler")
    async def hang(event: Delivery) -> None:
        await hung.wait()

    assert [await post(first, number) for number in range(3)] == [200] * 3
    await until(lambda: first.stats().pending == 3)
    await first.aclose()
    second = receivers(SqliteInbox(path))
    handled: list[tuple[str | None, int]] = []

    @second.on_delivery(name="handler")
    async def handle(event: Delivery, ctx: Context) -> None:
        handled.append((event.message_id, ctx.attempt))

    await second.start()
    await second.idle()
    assert sorted(handled) == [("m0", 1), ("m1", 1), ("m2", 1)]
    assert await post(second, 1) == 200
    assert (second.stats().duplicates, second.stats().pending) == (1, 0)


async def test_g6_what_an_earlier_process_left_is_handled_with_the_application_before_any_request(
    path: Path, receivers: Receivers
) -> None:
    first = receivers(SqliteInbox(path), drain_timeout=0)

    @first.on_delivery(name="handler")
    async def hang(event: Delivery) -> None:
        await asyncio.Event().wait()

    assert await post(first) == 200
    await first.aclose()
    second = receivers(SqliteInbox(path))
    seen: list[web.Application] = []

    @second.on_delivery(name="handler")
    async def handle(event: Delivery, ctx: Context) -> None:
        seen.append(ctx.app)

    app, outer = web.Application(), web.Application()
    app.add_subapp("/qlara", second.app(outer))
    outer.add_subapp("/outer", app)
    runner = web.AppRunner(outer)
    await runner.setup()
    await second.idle()
    await runner.cleanup()
    assert seen == [outer]
    assert second.stats().failed == 0


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
async def test_g8_a_time_that_is_of_no_year_in_utc_is_no_503(
    inbox: MemoryInbox | SqliteInbox, receivers: Receivers, time: str
) -> None:
    receiver = receivers(inbox)
    handled: list[Event] = []

    @receiver.on_delivery()
    async def handle(event: Delivery) -> None:
        handled.append(event)

    content = {"channel": "SMS", "eventType": "DELIVERY", "messageId": "m", "statusCode": 3, "timestamp": time}
    answer = await receiver.ingest("POST", f"/{TOKEN}", {}, msgspec.json.encode(content))
    await receiver.idle()
    assert answer.status == 200
    assert [event.message_id for event in handled] == ["m"]


async def test_g9_a_failing_handler_is_tried_again_alone(path: Path, receivers: Receivers) -> None:
    receiver = receivers(SqliteInbox(path, retry_wait=0.0, max_attempts=3))
    ran: list[tuple[str, int]] = []
    told: list[str] = []
    receiver.on_error(lambda error, event, handler: told.append(handler))

    @receiver.on_delivery(name="broken")
    async def broken(event: Delivery, ctx: Context) -> None:
        ran.append(("broken", ctx.attempt))
        raise ValueError

    @receiver.on_delivery(name="sound")
    async def sound(event: Delivery, ctx: Context) -> None:
        ran.append(("sound", ctx.attempt))

    await post(receiver)
    await receiver.idle()
    assert sorted(ran) == [("broken", 1), ("broken", 2), ("broken", 3), ("sound", 1)]
    assert told == ["broken"] * 3
    assert (receiver.stats().dead, receiver.stats().handled, receiver.stats().failed) == (1, 1, 3)


async def test_two_handlers_of_one_name_are_refused_with_a_durable_inbox(path: Path, receivers: Receivers) -> None:
    receiver = receivers(SqliteInbox(path))

    async def handler(event: Event) -> None:
        pass

    receiver.on_delivery()(handler)
    receiver.on_read()(handler)
    with pytest.raises(ConfigurationError, match="handler"):
        await receiver.start()


@pytest.mark.parametrize(
    ("order_by", "lanes"),
    [
        (None, {"m0", "m1", "m2", "m3"}),
        ("sender", {"m0", "m2"}),
        ("message", {"m0", "m1", "m2", "m3"}),
        (lambda event: "one", {"m0"}),
        (lambda event: None, {"m0", "m1", "m2", "m3"}),
        (lambda event: 1 / 0, {"m0", "m1", "m2", "m3"}),
    ],
)
async def test_a_lane_is_what_order_by_says(
    inbox: MemoryInbox | SqliteInbox, receivers: Receivers, order_by: OrderBy, lanes: set[str]
) -> None:
    receiver = receivers(inbox, order_by=order_by)
    receiver.on_error(lambda error, event, handler: None)
    running: set[str | None] = set()
    ended: list[str | None] = []
    gate = asyncio.Event()

    @receiver.on_inbound()
    async def handler(event: Inbound) -> None:
        running.add(event.message_id)
        await gate.wait()
        ended.append(event.message_id)

    for number, source in enumerate(["+39 1", "00391", "+392", "392"]):
        assert await post(receiver, number, "INBOUND", source=source) == 200
    await until(lambda: running >= lanes)
    for _ in range(50):
        await asyncio.sleep(0)
    assert running == lanes
    gate.set()
    await receiver.idle()
    assert sorted(map(str, ended)) == ["m0", "m1", "m2", "m3"]
    if order_by == "sender":
        assert ended.index("m0") < ended.index("m1")
        assert ended.index("m2") < ended.index("m3")


async def test_what_names_no_sender_is_in_the_lane_of_its_message(
    inbox: MemoryInbox | SqliteInbox, receivers: Receivers
) -> None:
    receiver = receivers(inbox, order_by="sender")
    began: list[tuple[str | None, str]] = []
    gate = asyncio.Event()

    @receiver.on_delivery()
    async def handler(event: Delivery) -> None:
        began.append((event.message_id, event.status))
        await gate.wait()

    @receiver.on_inbound()
    async def anonymous(event: Inbound) -> None:
        began.append((event.message_id, "INBOUND"))
        await gate.wait()

    for number, status_code in ((0, 6), (0, 3), (1, 3)):
        assert await post(receiver, number, status_code=status_code) == 200
    for number in (2, 3):
        assert await post(receiver, number, "INBOUND", source="") == 200
    heads = {("m0", "ERROR"), ("m1", "DELIVERED"), ("m2", "INBOUND"), ("m3", "INBOUND")}
    await until(lambda: heads <= {*began})
    for _ in range(50):
        await asyncio.sleep(0)
    assert {*began} == heads
    gate.set()
    await receiver.idle()
    assert began[-1] == ("m0", "DELIVERED")


async def test_order_by_is_checked(inbox: MemoryInbox | SqliteInbox) -> None:
    wrong: Any = "customer"
    with pytest.raises(ConfigurationError, match="order_by"):
        WebhookReceiver(auth=UrlToken(TOKEN), inbox=inbox, order_by=wrong)


class Service:
    """The receiver on a port."""

    def __init__(self, receiver: WebhookReceiver, *, handler_cancellation: bool = True) -> None:
        app = web.Application()
        app.add_subapp("/qlara", receiver.app())
        self.runner = web.AppRunner(app, handler_cancellation=handler_cancellation)
        self.port = 0

    async def __aenter__(self) -> Service:
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.port = self.runner.addresses[0][1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.runner.cleanup()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    @property
    def connections(self) -> int:
        assert self.runner.server is not None
        return sum(connection.transport is not None for connection in self.runner.server.connections)

    async def get(self, path: str, method: str = "GET") -> tuple[int, str]:
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, f"http://127.0.0.1:{self.port}{path}") as answer,
        ):
            return answer.status, await answer.text()


async def test_readyz_tells_whether_callbacks_would_be_taken(
    inbox: MemoryInbox | SqliteInbox, receivers: Receivers
) -> None:
    receiver = receivers(inbox)
    async with Service(receiver) as service:
        assert await service.get("/qlara/readyz") == (200, "ready")
        assert (await service.get("/qlara/readyz", "POST"))[0] == 404
        await receiver.drain()
        assert await service.get("/qlara/readyz") == (503, "draining")


async def test_readyz_tells_of_a_store_that_is_full_or_locked(path: Path, receivers: Receivers) -> None:
    receiver = receivers(SqliteInbox(path, max_pending=1, busy_timeout=0.0, retry_wait=0.0))
    gate = asyncio.Event()

    @receiver.on_delivery()
    async def handler(event: Delivery) -> None:
        await gate.wait()

    async with Service(receiver) as service:
        assert [await post(receiver, number) for number in (1, 2)] == [200, 503]
        assert await service.get("/qlara/readyz") == (503, "inbox full")
        gate.set()
        await receiver.idle()
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert await post(receiver, 3) == 503
        assert await service.get("/qlara/readyz") == (503, "inbox unavailable")
        other.execute("ROLLBACK")
        other.close()
        assert await post(receiver, 3) == 200
        await receiver.idle()
        assert await service.get("/qlara/readyz") == (200, "ready")


async def fill_up(path: Path, inbox: SqliteInbox) -> Callable[[], Awaitable[object]]:
    """Let the disk be full; what is returned gives room again."""
    assert inbox._writer is not None
    call = inbox._writer.call
    limit = "PRAGMA max_page_count = {}"
    await call(lambda store: store.db.execute(limit.format(1)).fetchall())
    return lambda: call(lambda store: store.db.execute(limit.format(1 << 30)).fetchall())


async def lock(path: Path, inbox: SqliteInbox) -> Callable[[], Awaitable[object]]:
    """Let another program write; what is returned ends its transaction."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    async def unlock() -> None:
        other.execute("ROLLBACK")
        other.close()

    return unlock


@pytest.mark.parametrize("trouble", [fill_up, lock])
async def test_g6_what_cannot_be_stored_is_asked_for_again_and_taken_when_the_disk_is_well(
    path: Path, receivers: Receivers, trouble: Callable[[Path, SqliteInbox], Awaitable[Callable[[], Awaitable[object]]]]
) -> None:
    inbox = SqliteInbox(path, busy_timeout=0.0)
    receiver = receivers(inbox)
    handled: list[str | None] = []

    @receiver.on_delivery()
    async def handler(event: Delivery) -> None:
        handled.append(event.message_id)

    await receiver.start()
    cure = await trouble(path, inbox)
    acknowledged: set[int] = set()
    for number in range(100):  # a page or two may be left
        answer = await receiver.ingest("POST", f"/{TOKEN}", {}, body(number, source="+391" * 500))
        assert answer.status in (200, 503)
        if answer.status == 200:
            acknowledged.add(number)
            continue
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert len(acknowledged) < 10
    await cure()
    for number in range(100):
        assert await post(receiver, number, source="+391" * 500) == 200
    await receiver.idle()
    assert sorted(map(str, handled)) == sorted(f"m{number}" for number in range(100))
    assert receiver.stats().duplicates == len(acknowledged)


async def test_stats_tell_what_waits_and_what_went_wrong(path: Path, receivers: Receivers) -> None:
    clock = VirtualClock(jump=False)
    receiver = receivers(SqliteInbox(path, clock=clock, max_attempts=1), clock=clock)
    receiver.on_error(lambda error, event, handler: None)
    gate = asyncio.Event()

    @receiver.on_delivery()
    async def slow(event: Delivery) -> None:
        await gate.wait()

    @receiver.on_inbound()
    async def broken(event: Inbound) -> None:
        raise ValueError

    assert await post(receiver, 1) == 200
    await clock.advance(30)
    for number, fields in ((1, {"destination": "+39340"}), (2, {"destination": "+39340"})):
        assert await post(receiver, number, "INBOUND") == 200
        content = msgspec.json.decode(body(number)) | fields
        assert (await receiver.ingest("POST", f"/{TOKEN}", {}, msgspec.json.encode(content))).status == 200
    assert (await receiver.ingest("POST", f"/{TOKEN}", {}, b"{")).status == 200
    await until(lambda: receiver.stats().dead == 2)
    stats = receiver.stats()
    assert (stats.received, stats.accepted, stats.conflicts, stats.duplicates) == (6, 5, 1, 0)
    assert (stats.pending, stats.oldest_age, stats.quarantined, stats.lost_leases) == (3, 30.0, 1, 0)
    gate.set()
    await until(lambda: receiver.stats().pending == 0)
    assert receiver.stats().oldest_age == 0.0


async def test_g7_a_client_that_hangs_up_mid_commit_undoes_and_doubles_nothing(
    path: Path, receivers: Receivers
) -> None:
    receiver = receivers(SqliteInbox(path))
    handled: list[str | None] = []

    @receiver.on_delivery()
    async def handler(event: Delivery) -> None:
        handled.append(event.message_id)

    async with Service(receiver) as service:
        for turns in range(40):
            _, writer = await service.connect()
            writer.write(request(turns))
            for _ in range(turns):
                await asyncio.sleep(0)
            writer.transport.abort()
        for number in range(40):
            assert await post(receiver, number) == 200
        await receiver.idle()
    assert sorted(map(str, handled)) == sorted(f"m{number}" for number in range(40))


STATEMENTS = ["BEGIN IMMEDIATE", "COMMIT", "INSERT INTO plain_groups"]


class HeldInbox(SqliteInbox):
    """Its thread stops at a statement until it is let go on: the first of a transaction, the last, or the only one."""

    def __init__(self, path: Path, statement: str) -> None:
        super().__init__(path)
        self.statement = statement
        self.puts = 0
        self.held, self.go_on = threading.Event(), threading.Event()

    async def hold(self) -> None:
        assert self._writer is not None
        await self._writer.call(lambda store: store.db.set_trace_callback(self._stop))

    def _stop(self, statement: str) -> None:
        if statement.startswith(self.statement):
            self.held.set()
            self.go_on.wait()

    async def put(self, rows: Sequence[Row]) -> Sequence[Verdict]:
        self.puts += 1
        return await super().put(rows)


@pytest.mark.parametrize("statement", STATEMENTS)
async def test_g6_nothing_is_acknowledged_before_its_commit_and_the_loop_goes_on_meanwhile(
    path: Path, receivers: Receivers, statement: str
) -> None:
    inbox = HeldInbox(path, statement)
    receiver = receivers(inbox)

    # The work of a handler with a limit is never written by one statement.
    @receiver.on_delivery(concurrency=None if statement.startswith("INSERT") else 10)
    async def handler(event: Delivery) -> None:
        pass

    async with Service(receiver) as service:
        await receiver.start()
        await inbox.hold()
        reader, writer = await service.connect()
        writer.write(request(1))
        answered = asyncio.create_task(reader.readline())
        try:
            await until(inbox.held.is_set)
            for _ in range(300):
                await asyncio.sleep(0)
            assert not answered.done()
            assert rows(path, "SELECT count(*) FROM events") == [(0,)]
            assert (await service.get("/qlara/readyz"))[0] == 200
        finally:
            inbox.go_on.set()
        assert (await answered).startswith(b"HTTP/1.1 200")
        writer.close()
    assert rows(path, "SELECT count(*) FROM events") == [(1,)]


@pytest.mark.parametrize("handler_cancellation", [False, True])
@pytest.mark.parametrize("statement", STATEMENTS)
async def test_g6_g7_what_clients_that_hang_up_mid_commit_have_sent_is_handled_once_without_coming_again(
    path: Path, receivers: Receivers, statement: str, handler_cancellation: bool
) -> None:
    inbox = HeldInbox(path, statement)
    receiver = receivers(inbox)
    handled: list[str | None] = []

    @receiver.on_delivery(concurrency=None if statement.startswith("INSERT") else 10)
    async def handler(event: Delivery) -> None:
        handled.append(event.message_id)

    async with Service(receiver, handler_cancellation=handler_cancellation) as service:
        assert await post(receiver, 0) == 200
        await receiver.idle()
        await inbox.hold()
        lines = [await service.connect() for _ in range(6)]
        try:
            for number, (_, writer) in enumerate(lines, 1):
                writer.write(request(number))
                await until(lambda: inbox.puts > number)  # noqa: B023
            await until(inbox.held.is_set)
            for _, writer in lines[::2]:
                writer.transport.abort()
            await until(lambda: service.connections == 3)
        finally:
            inbox.go_on.set()
        for reader, writer in lines[1::2]:
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            writer.close()
        await receiver.idle()
    assert sorted(map(str, handled)) == [f"m{number}" for number in range(7)]
    assert receiver.stats().received == 7
    assert rows(path, "SELECT count(*), count(DISTINCT key) FROM events") == [(7, 7)]
