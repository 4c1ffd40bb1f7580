"""G8 over a raw socket: what strangers and broken senders can put on the wire, most of which no HTTP client sends."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest
from aiohttp import web

from qlara_async.models.events import Event, Inbound, UnknownEvent
from qlara_async.webhooks import MemoryInbox, UrlToken, WebhookReceiver
from qlara_async.webhooks.application import MAX_BODIES

from .test_receiver import TOKEN, Service, delivery, head, make, mounted, note
from .test_receiver_cancellation import complaints

pytestmark = pytest.mark.anyio

RIGHT = f"/qlara/{TOKEN}"
WRONG = "/qlara/wrong-token-0123456789"
READYZ = "/qlara/readyz"
BOMB_SIZE = 50 << 20


@pytest.fixture
def receiver(no_task_left: None) -> WebhookReceiver:
    return make(read_timeout=3600)


@pytest.fixture
async def service(receiver: WebhookReceiver, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Service]:
    async with mounted(receiver) as service:
        yield service
    assert not [record for record in caplog.records if record.exc_info or record.exc_text]


class Line:
    """A connection of bare TCP."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def to(cls, service: Service, *pieces: bytes) -> Line:
        line = cls(*await asyncio.open_connection("127.0.0.1", service.port))
        for piece in pieces:
            await line.send(piece)
        return line

    async def send(self, piece: bytes) -> None:
        self.writer.write(piece)
        await self.writer.drain()

    async def answer(self) -> tuple[int, bytes]:
        """Read one answer: its status, and all of it but the date."""
        lines = (await self.reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        length = next((int(line[16:]) for line in lines if line.lower().startswith(b"content-length: ")), 0)
        body = await self.reader.readexactly(length)
        return int(lines[0][9:12]), b"\r\n".join(line for line in lines if not line.startswith(b"Date: ")) + body

    async def status(self) -> int:
        return (await self.answer())[0]

    async def is_closed(self) -> bool:
        """Wait for the end, which only the other side can make."""
        try:
            return await self.reader.read() == b""
        except ConnectionResetError:
            return True
        finally:
            self.writer.close()

    def hang_up(self) -> None:
        self.writer.transport.abort()


class Noted:
    """A handler that keeps what it gets."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    async def __call__(self, event: Event) -> None:
        self.events.append(event)


def whole(body: bytes, *fields: str, target: str = RIGHT, method: str = "POST") -> bytes:
    return head(target, f"Content-Length: {len(body)}", *fields, method=method) + body


async def ask(service: Service, *pieces: bytes) -> int:
    """Send a request on a line of its own, and return the status; a HEAD has no body to wait for."""
    line = await Line.to(service, *pieces)
    first = await line.reader.readline()
    line.hang_up()
    return int(first[9:12])


async def test_g8_strangers_are_refused_by_their_head_and_hung_up_on(
    receiver: WebhookReceiver, service: Service
) -> None:
    half = head(WRONG, "Content-Length: 100000"), b"{"
    lines = await asyncio.gather(*(Line.to(service, *half) for _ in range(200)))
    assert {await line.status() for line in lines} == {404}
    assert all([await line.is_closed() for line in lines])  # none waits for the deadline of an hour
    assert await ask(service, whole(delivery())) == 200
    assert (receiver.stats().accepted, receiver.stats().refused) == (1, 200)


async def test_g8_half_sent_bodies_do_not_delay_a_genuine_event(receiver: WebhookReceiver, service: Service) -> None:
    slow = [await Line.to(service, head(RIGHT, "Content-Length: 100000"), b"{") for _ in range(MAX_BODIES)]
    one_more = await Line.to(service, head(RIGHT, "Content-Length: 2"), b"{")
    assert await one_more.status() == 503
    assert await one_more.is_closed()
    assert await ask(service, whole(delivery())) == 200
    for line in slow:
        line.hang_up()
    while receiver._intake.in_flight:
        await asyncio.sleep(0)
    assert await ask(service, head(RIGHT, "Content-Length: 2"), b"{", b"}") == 200


async def test_g8_the_deadline_is_for_the_whole_body(no_task_left: None) -> None:
    async with mounted(make(read_timeout=0.05)) as service:
        line = await Line.to(service, head(RIGHT, "Transfer-Encoding: chunked"))
        answered = asyncio.create_task(line.status())
        while not answered.done():  # a byte at each turn of the loop, for ever
            line.writer.write(b"1\r\n \r\n")
            await asyncio.sleep(0)
        assert answered.result() == 408
        line.hang_up()


@pytest.mark.parametrize("limit", [0, 10, 1 << 30])
async def test_g8_a_body_that_does_not_end_is_a_413_under_any_parent(limit: int, no_task_left: None) -> None:
    receiver = make(max_body=1000, read_timeout=3600)
    async with mounted(receiver, client_max_size=limit) as service:
        line = await Line.to(service, head(RIGHT, "Transfer-Encoding: chunked"), b"800\r\n" + b" " * 0x800)
        assert await line.status() == 413
        assert await line.is_closed()
        line = await Line.to(service, head(RIGHT, "Content-Length: 1001"))
        assert await line.status() == 413
        assert await line.is_closed()
        assert await ask(service, whole(delivery().ljust(1000))) == 200


def bomb(wbits: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    zeros = bytes(1 << 20)
    return b"".join([packer.compress(zeros) for _ in range(BOMB_SIZE >> 20)]) + packer.flush()


@pytest.mark.parametrize(
    ("method", "target", "status"), [("POST", RIGHT, 415), ("POST", WRONG, 404), ("GET", READYZ, 200)]
)
@pytest.mark.parametrize(("encoding", "wbits"), [("gzip", 31), ("deflate", 15), ("deflate", -15), ("GZip", 31)])
async def test_g8_a_bomb_is_not_inflated(
    method: str, target: str, status: int, encoding: str, wbits: int, no_task_left: None
) -> None:
    inflated: list[int] = []

    @web.middleware
    async def watch(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> Any:
        try:
            return await handler(request)
        finally:
            asyncio.get_running_loop().call_later(0, lambda: inflated.append(request.content.total_bytes))

    async with mounted(make(), middlewares=[watch]) as service:
        packed = bomb(wbits)
        line = await Line.to(service, whole(packed, f"Content-Encoding: {encoding}", target=target, method=method))
        assert await line.status() == status
        assert await line.is_closed()
    # What aiohttp inflates before any handler is asked: its buffer of 512 KiB, and what a pass adds.
    assert len(inflated) == 1
    assert inflated[0] < 1 << 20


@pytest.mark.parametrize(
    "fields",
    [
        ("Content-Encoding: gzip",),
        ("Content-Encoding: deflate",),
        ("Content-Encoding: x-gzip",),
        ("Content-Encoding: gzip, gzip",),
        ("Content-Encoding: identity", "Content-Encoding: gzip"),
        ("Content-Encoding: gzip", "Content-Encoding: identity"),
        ("Content-Encoding: \udce9",),
        ("Content-Encoding: ",),
    ],
)
@pytest.mark.parametrize("body", [zlib.compress(b"{}")[:-3], b"\x1f\x8b", b"{}", b""])
async def test_g8_no_compressed_body_is_read(service: Service, fields: tuple[str, ...], body: bytes) -> None:
    request = whole(body, *fields)
    assert await ask(service, request) in (415, 400)  # 400 is aiohttp's, if it could inflate none of it
    assert await ask(service, request[: len(request) - len(body)], *([body] if body else [])) in (415, 400)


@pytest.mark.parametrize("encoding", ["br", "zstd"])
async def test_g8_encodings_that_need_a_library_are_refused_with_and_without(service: Service, encoding: str) -> None:
    assert await ask(service, whole(b"{}", f"Content-Encoding: {encoding}")) in (400, 415)


async def test_identity_is_no_compression(service: Service) -> None:
    assert await ask(service, whole(delivery(), "Content-Encoding: Identity")) == 200


async def test_g8_only_a_sender_that_passes_is_asked_to_go_on(service: Service) -> None:
    expect = "Content-Length: 2", "Expect: 100-continue"
    stranger = await Line.to(service, head(WRONG, *expect))
    assert await stranger.status() == 404
    assert await stranger.is_closed()
    for refused in ("Content-Type: text/plain", "Content-Encoding: gzip"):
        assert await ask(service, head(RIGHT, *expect, refused)) == 415
    genuine = await Line.to(service, head(RIGHT, *expect))
    assert await genuine.status() == 100
    await genuine.send(b"{}")
    assert await genuine.status() == 200
    genuine.hang_up()


async def test_what_else_is_expected_is_ignored(service: Service) -> None:
    assert await ask(service, whole(b"{}", "Expect: miracles")) == 200
    for expectation in ("Expect: \udce9", "Expect: 100-continu\udce9"):  # a 500 by aiohttp's default
        assert await ask(service, whole(b"{}", expectation)) == 200
        assert await ask(service, whole(b"", expectation, target=WRONG)) == 404
        assert await ask(service, whole(b"", expectation, target="/qlara")) == 404
        assert await ask(service, whole(b"", expectation, target="/qlara/readyz", method="GET")) == 200
    assert await ask(service, whole(b"{}", "Expect: 100-continue").replace(b"HTTP/1.1", b"HTTP/1.0")) == 200


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (whole(b"{}").replace(b"HTTP/1.1", b"HTTP/1.0"), 200),
        (whole(b"{}").replace(b"HTTP/1.1\r\nHost: localhost", b"HTTP/1.0"), 200),
        (whole(b"{}").replace(b"Host: localhost\r\n", b""), 400),
        (whole(b"{}", "Host: elsewhere"), 400),
        (whole(b"{}", "Content-Length: 2"), 400),
        (whole(b"{}", "Content-Length: 3"), 400),
        (whole(b"{}", "Transfer-Encoding: chunked"), 400),
        (whole(b"{}", "Content-Type: application/json", "Content-Type: text/plain"), 400),
        (whole(b"{}", "X-Secret: a", "X-Secret: b"), 200),
        (whole(b"{}", "X-Name: caf\udce9 \udcff"), 200),
        (whole(b"{}", "Content-Type: application/json; charset=utf-8"), 200),
        (whole(b"{}", 'Content-Type: application/JSON;charset="x"'), 200),
        (whole(b"{}", "Content-Type: application/json; charset=utf-16"), 200),
        (whole(b"a=1", "Content-Type: application/x-www-form-urlencoded; charset=UTF-8"), 200),
        (whole(b"{}", "Content-Type: \udce9"), 415),
        (whole(b"{}", "Content-Type: text/html"), 415),
        (whole(b"{}", "Content-Type: multipart/form-data; boundary=x"), 415),
        (whole(b"{}", target=f"http://localhost/qlara/{TOKEN}"), 200),
        (whole(b"{}", target=f"http://evil.example/qlara/{TOKEN}"), 200),
        (whole(b"{}", target=f"{RIGHT}/"), 200),
        (whole(b"{}", target=f"{RIGHT}?a=b"), 200),
        (whole(b"{}", target=f"{RIGHT}#x"), 200),
        (whole(b"{}", target=f"/{RIGHT}"), 404),
        (whole(b"{}", target=f"/qlara//{TOKEN}"), 404),
        (whole(b"{}", target=f"{RIGHT}//"), 404),
        (whole(b"{}", target=f"/qlara/./{TOKEN}"), 404),
        (whole(b"{}", target=f"/x/..{RIGHT}"), 404),
        (whole(b"{}", target=f"{RIGHT}%2f"), 200),
        (whole(b"{}", target=f"{RIGHT}%00"), 404),
        (whole(b"{}", target=f"{RIGHT}%ff"), 404),
        (whole(b"{}", target=f"{RIGHT}%"), 404),
        (whole(b"{}", target="*"), 400),
        (whole(b"", method="HEAD"), 405),
        (whole(b"", method="OPTIONS"), 405),
        (whole(b"", method="TRACE"), 405),
        (whole(b"", method="PRI"), 400),
        (whole(b"", method="CONNECT"), 404),
        (whole(b"", method="CONNECT", target="localhost:80"), 404),
        (whole(b"{}", "Upgrade: websocket", "Connection: Upgrade"), 200),
        (whole(b"{}", "Upgrade: h2c", "Connection: Upgrade"), 200),
        (whole(b"{}", "X: " + "y" * 9000), 400),
        (whole(b"{}", *(f"X-{n}: y" for n in range(200))), 400),
        (whole(b"{}", target="/qlara/" + "x" * 9000), 400),
        (whole(b"{}", "X: a\x00b"), 400),
        (whole(b"{}", "X : y"), 400),
        (whole(b"{}", " folded"), 400),
        (whole(b"{}").replace(b"\r\n", b"\n"), 400),
        (b"\r\n" + whole(b"{}"), 200),
        (head(RIGHT, "Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\n\r\n", 200),
        (head(RIGHT, "Transfer-Encoding: chunked") + b"2;x=y\r\n{}\r\n0\r\nTrailer: x\r\n\r\n", 200),
        (head(RIGHT, "Transfer-Encoding: chunked") + b"zz\r\n{}\r\n0\r\n\r\n", 400),
        (head(RIGHT, "Transfer-Encoding: chunked") + b"-2\r\n{}\r\n0\r\n\r\n", 400),
        (head(RIGHT, "Transfer-Encoding: chunked") + b"ffffffffffffffffffff\r\n{}", 400),
        (head(RIGHT, "Transfer-Encoding: gzip, chunked") + b"2\r\n{}\r\n0\r\n\r\n", 200),
        (head(RIGHT, "Transfer-Encoding: chunked, gzip") + b"2\r\n{}\r\n0\r\n\r\n", 400),
        (head(RIGHT, "Content-Length: -1"), 400),
        (head(RIGHT, "Content-Length: +2") + b"{}", 400),
        (head(RIGHT, "Content-Length: 2, 2") + b"{}", 400),
        (head(RIGHT, "Content-Length: 99999999999999999999"), 400),
        (head(RIGHT, "Content-Length: 9223372036854775807"), 413),
        (head(RIGHT), 200),  # no body at all: kept as one that cannot be decoded
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
    ],
)
async def test_g8_what_no_client_sends(service: Service, request_bytes: bytes, status: int) -> None:
    assert await ask(service, request_bytes) == status
    assert await ask(service, whole(delivery())) == 200


async def test_pipelined_requests_are_answered_one_by_one(receiver: WebhookReceiver, service: Service) -> None:
    line = await Line.to(service, b"".join(whole(delivery(f"m{n}")) for n in range(100)))
    assert [await line.status() for _ in range(100)] == [200] * 100
    line.hang_up()
    assert receiver.stats().accepted == 100


async def test_what_is_pipelined_behind_a_body_that_is_not_read_is_not_taken_for_a_request(
    receiver: WebhookReceiver, service: Service
) -> None:
    smuggled = whole(delivery("smuggled"))
    line = await Line.to(service, head(WRONG, "Content-Length: 100000") + smuggled)
    assert await line.status() == 404
    assert await line.is_closed()
    assert receiver.stats().accepted == 0


@pytest.mark.parametrize("method", ["POST", "GET", "OPTIONS", "TRACE", "DELETE"])
@pytest.mark.parametrize("target", ["/qlara", "/qlara/", WRONG, f"{RIGHT}x", f"/qlara/{'%ff' * 9}"])
@pytest.mark.parametrize("fields", [(), ("Content-Type: text/html",), ("Content-Encoding: x",), ("Expect: miracles",)])
async def test_g8_a_stranger_sees_what_is_seen_of_a_path_that_is_not_there(
    service: Service, method: str, target: str, fields: tuple[str, ...]
) -> None:
    elsewhere = await Line.to(service, whole(b"", target="/elsewhere"))
    stranger = await Line.to(service, whole(b"{}", *fields, method=method, target=target))
    assert await stranger.answer() == await elsewhere.answer()
    stranger.hang_up()
    elsewhere.hang_up()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        '{"eventType":"READ"}'.encode("utf-16"),
        '{"eventType":"READ"}'.encode("utf-32"),
        b'{"eventType":"INBOUND","text":"\xf0\x9f\x98"}',
        b'{"eventType":"INBOUND","text":"\\ud83d"}',
        b'{"eventType":"DELIVERY","price":NaN}',
        b'{"eventType":"DELIVERY","price":1e999999}',
        b'{"eventType":"DELIVERY","messageId":' + b"9" * 100_000 + b"}",
        b'{"eventType":"DELIVERY"}{"eventType":"DELIVERY"}',
        b"[" * 1_000_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"eventType":"DELIVERY","a":' + b"[" * 100 + b"]" * 100 + b"}",
        b"[" + b"[]," * 300_000 + b"[]]",
        b"null",
        b"\x00" * 1000,
    ],
)
async def test_g8_a_genuine_event_that_cannot_be_decoded_is_kept_and_acknowledged(
    receiver: WebhookReceiver, service: Service, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    events = note(receiver)
    for request in (
        whole(body),
        head(RIGHT, "Transfer-Encoding: chunked") + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body),
    ):
        if body or b"Content-Length" in request:
            assert await ask(service, request) == 200
    await receiver.idle()
    (event,) = events  # the second time it is a duplicate
    assert isinstance(event, UnknownEvent)
    assert event.raw == body
    assert not complaints(caplog)


async def test_the_items_of_a_batch_stand_for_themselves(receiver: WebhookReceiver, service: Service) -> None:
    events = note(receiver)
    items = [delivery("a"), b'{"eventType":"DELIVERY","messageId":"\\ud800"}', b"7", delivery("b")]
    assert await ask(service, whole(b"[" + b",".join(items) + b"]")) == 200
    await receiver.idle()
    assert sorted(type(event).__name__ for event in events) == ["Delivery", "Delivery", "UnknownEvent", "UnknownEvent"]


async def test_g7_duplicates_are_one_event_and_another_kind_or_meaning_under_its_id_is_not(
    receiver: WebhookReceiver, service: Service
) -> None:
    events = note(receiver)
    receiver.on_read(name="read")(receiver.on_delivery(name="again")(noted := Noted()))
    lines = await asyncio.gather(*(Line.to(service, whole(delivery())) for _ in range(50)))
    assert {await line.status() for line in lines} == {200}
    for line in lines:
        line.hang_up()
    assert await ask(service, whole(delivery(price=2))) == 200
    assert await ask(service, whole(delivery(eventType="READ"))) == 200
    await receiver.idle()
    assert [event.conflict for event in events] == [False, True]
    assert sorted(type(event).__name__ for event in noted.events) == ["Delivery", "Delivery", "Read"]
    assert (receiver.stats().accepted, receiver.stats().duplicates, receiver.stats().conflicts) == (2, 49, 1)


async def test_a_media_key_of_a_stranger_names_no_other_path(receiver: WebhookReceiver, service: Service) -> None:
    receiver.on_inbound(name="inbound")(noted := Noted())
    for key in ("../webhooks/delivery-status", "a%2Fb", "https://elsewhere", "mk_1"):
        body = {"channel": "RCS", "eventType": "INBOUND", "source": key, "messageType": "IMAGE", "mediaKey": key}
        assert await ask(service, whole(msgspec.json.encode(body))) == 200
    await receiver.idle()
    keys = [event.media and event.media.key for event in noted.events if isinstance(event, Inbound)]
    assert keys == [None, None, None, "mk_1"]


async def test_what_many_senders_have_sent_leaves_no_more_behind_than_is_remembered(no_task_left: None) -> None:
    inbox = MemoryInbox(allow_loss=True, max_remembered=10)
    receiver = WebhookReceiver(auth=UrlToken(TOKEN), inbox=inbox, order_by="sender")
    receiver.on_inbound(name="inbound", concurrency=2)(noted := Noted())
    async with mounted(receiver) as service:
        line = await Line.to(service)
        for number in range(200):
            body = {"channel": "SMS", "eventType": "INBOUND", "messageId": f"m{number}", "source": f"+39{number}"}
            await line.send(whole(msgspec.json.encode(body)))
        assert [await line.status() for _ in range(200)] == [200] * 200
        line.hang_up()
        await receiver.idle()
        assert len(noted.events) == 200
        assert sum(map(len, inbox._seen._classes.values())) == 10
        assert (inbox._lanes, inbox._unfinished, inbox._since) == ({}, {}, {})


async def test_a_body_that_a_middleware_has_taken_away_is_not_acknowledged(
    no_task_left: None, caplog: pytest.LogCaptureFixture
) -> None:
    @web.middleware
    async def greedy(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> Any:
        await request.content.read(5)
        return await handler(request)

    receiver = make()
    async with mounted(receiver, middlewares=[greedy]) as service:
        assert await ask(service, whole(delivery())) == 503
    assert receiver.stats().received == 0
    assert "use request.read()" in caplog.text


async def test_a_form_that_a_middleware_has_parsed_is_read_all_the_same(no_task_left: None) -> None:
    @web.middleware
    async def parse(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> Any:
        await request.post()
        return await handler(request)

    async with mounted(make(), middlewares=[parse]) as service:
        form = "Content-Type: application/x-www-form-urlencoded"
        assert await ask(service, whole(b"originator=1&destination=2&text=a", form)) == 200
