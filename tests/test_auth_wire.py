"""Auth over a real socket: what no HTTP client would send."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from qlara_async.models.events import Delivery
from qlara_async.testing import VirtualClock
from qlara_async.webhooks import (
    AllOf,
    Auth,
    BasicAuth,
    HmacSignature,
    IpAllowList,
    MemoryInbox,
    Reason,
    UrlToken,
    WebhookReceiver,
)

pytestmark = pytest.mark.anyio

BODY = b'{"channel":"SMS","eventType":"DELIVERY","messageId":"m1","statusCode":3}'
SECRET = "signing-secret"
SIGNATURE = HmacSignature("X-Sig", secrets=SECRET, timestamp_header="X-Time")
BASIC = b"Authorization: Basic " + base64.b64encode(b"qlara:password")
TOKEN, OTHER_TOKEN = "right-token-0123456789", "other-token-0123456789"


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(jump=False)


def make(auth: Auth | AllOf, **options: Any) -> WebhookReceiver:
    inbox = MemoryInbox(allow_loss=True, clock=options.get("clock"))
    return WebhookReceiver(auth=auth, inbox=inbox, **options)


@asynccontextmanager
async def served(**receivers: WebhookReceiver) -> AsyncIterator[int]:
    """Serve receivers under their names, and tell the port."""
    app = web.Application()
    for name, receiver in receivers.items():
        app.add_subapp(f"/{name}", receiver.app())
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


def request(*headers: bytes, target: str = "/qlara", body: bytes = BODY) -> bytes:
    fixed = (b"Host: x", b"Content-Type: application/json", b"Content-Length: %d" % len(body))
    return b"POST %b HTTP/1.1\r\n" % target.encode() + b"\r\n".join([*fixed, *headers]) + b"\r\n\r\n" + body


async def statuses(port: int, *requests: bytes) -> list[int]:
    """Send requests one behind the other, and return the statuses of the answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found = []
    for some in requests:
        writer.write(some)
        await writer.drain()
        lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        found.append(int(lines[0].split()[1]))
        length = next(int(line[16:]) for line in lines if line.lower().startswith(b"content-length: "))
        await reader.readexactly(length)
    writer.close()
    await writer.wait_closed()
    return found


async def status(port: int, *headers: bytes, target: str = "/qlara", body: bytes = BODY) -> int:
    return (await statuses(port, request(*headers, target=target, body=body)))[0]


def sealed(signature: str, timestamp: int | str, body: bytes = BODY) -> bytes:
    return request(f"X-Sig: {signature}".encode(), f"X-Time: {timestamp}".encode(), body=body)


async def signed(port: int, signature: str, timestamp: int | str, body: bytes = BODY) -> int:
    return (await statuses(port, sealed(signature, timestamp, body)))[0]


async def test_a_genuine_request_passes_and_no_variant_of_it(
    no_task_left: None, caplog: pytest.LogCaptureFixture
) -> None:
    allowed = IpAllowList("192.0.2.0/24", trusted_proxies="127.0.0.1")
    receiver = make(BasicAuth("qlara", "password") & SIGNATURE & allowed)
    proof = [f"{name}: {value}".encode() for name, value in SIGNATURE.sign(BODY, timestamp=int(time.time())).items()]
    good = [BASIC, *proof, b"X-Forwarded-For: 203.0.113.1", b"X-Forwarded-For: 192.0.2.9"]
    async with served(qlara=receiver) as port:
        assert await status(port, *good) == 200

        for place, line in enumerate(good[:3]):
            rest = good[:place] + good[place + 1 :]
            name = line.partition(b":")[0]
            variants: list[list[bytes]] = [
                rest,  # absent
                [*rest, line, line],
                [name + b":", *rest, line],
                [*rest, line, name + b": \xe9"],
                [*rest, line + b"\xe9"],
                [*rest, line + b"\xed\xa0\x80"],
                [*rest, name + b": " + b"\xff" * 100],
            ]
            for variant in variants:
                assert await status(port, *variant) == 401
        for claim in (b"203.0.113.1", b"192.0.2.9, \xe9", b"192.0.2.9, 203.0.113.1", b"unknown"):
            assert await status(port, *good[:3], b"X-Forwarded-For: " + claim) == 401
            assert await status(port, *good, b"X-Forwarded-For: " + claim) == 401

    stats = receiver.stats()
    assert (stats.received, stats.refused) == (1, 29)
    assert set(stats.refusals) == {"unauthenticated", "malformed", "foreign_address"}
    assert not any(record.exc_info for record in caplog.records)


async def test_the_bytes_that_came_are_what_was_signed(clock: VirtualClock, no_task_left: None) -> None:
    receiver, now = make(SIGNATURE, clock=clock), int(clock.time())
    signature = SIGNATURE.sign(BODY, timestamp=now)["x-sig"]
    respelled = [BODY + b"\n", b" " + BODY, b"\xef\xbb\xbf" + BODY, BODY.replace(b":", b": "), b""]
    respelled += [BODY.replace(b"SMS", b"\\u0053MS"), BODY.decode().encode("utf-16")]
    async with served(qlara=receiver) as port:
        for body in respelled:
            assert await signed(port, signature, now, body) == 401
        for timestamp in (f"+{now}", f"0{now}", f"{now}.0", f"{now // 1000}_{now % 1000:03}", "1e9", "abc", now + 1):
            assert await signed(port, signature, timestamp) == 401
        assert receiver.stats().received == 0
        assert await signed(port, signature, now) == 200


async def test_time_and_body_cannot_be_cut_elsewhere(clock: VirtualClock, no_task_left: None) -> None:
    now = int(clock.time())
    body = b"1." + BODY
    signature = SIGNATURE.sign(body, timestamp=now)["x-sig"]
    async with served(qlara=make(SIGNATURE, clock=clock)) as port:
        assert await signed(port, signature, f"{now}.1", BODY) == 401  # the same bytes, if joined by a dot
        assert await signed(port, signature, now, body) == 200


async def test_old_and_early_signatures_are_refused_by_reason(clock: VirtualClock, no_task_left: None) -> None:
    receiver, now = make(SIGNATURE, clock=clock), int(clock.time())
    async with served(qlara=receiver) as port:
        for at, expected in [(now - 300, 200), (now - 301, 401), (now + 60, 200), (now + 61, 401), (0, 401)]:
            assert await signed(port, SIGNATURE.sign(BODY, timestamp=at)["x-sig"], at) == expected
        assert await signed(port, "0" * 64, now) == 401
        assert await signed(port, "junk", now) == 401
    refusals = receiver.stats().refusals
    assert refusals == {"stale_timestamp": 2, "future_timestamp": 1, "unauthenticated": 1, "malformed": 1}


async def test_no_sender_chooses_the_algorithm(clock: VirtualClock, no_task_left: None) -> None:
    now = int(clock.time())
    message = b"%d." % now + BODY
    async with served(qlara=make(SIGNATURE, clock=clock)) as port:
        for algorithm in ("md5", "sha1", "sha224", "sha384", "sha512"):
            weak = hmac.new(SECRET.encode(), message, algorithm).hexdigest()
            for spelling in (weak, f"{algorithm}={weak}", weak.ljust(64, "0")[:64]):
                assert await signed(port, spelling, now) == 401
        for spelling in ("", "none", "sha256=", hashlib.sha256(message).hexdigest()):
            assert await signed(port, spelling, now) == 401


async def test_g8_forged_events_do_not_silence_the_genuine_one_over_the_wire(
    clock: VirtualClock, no_task_left: None
) -> None:
    receiver, now = make(SIGNATURE, clock=clock), int(clock.time())
    events: list[Delivery] = []

    @receiver.on_delivery()
    async def delivered(event: Delivery) -> None:
        events.append(event)

    async with served(qlara=receiver) as port:
        forged = [sealed(f"{number:064x}", now) for number in range(200)]
        assert await statuses(port, *forged) == [401] * 200
        assert (receiver.stats().received, receiver.stats().refused) == (0, 200)
        assert await signed(port, SIGNATURE.sign(BODY, timestamp=now)["x-sig"], now) == 200
        await receiver.idle()
    assert [event.conflict for event in events] == [False]


async def test_a_token_opens_its_own_receiver_only(no_task_left: None) -> None:
    one, other = make(UrlToken(TOKEN)), make(UrlToken(OTHER_TOKEN))
    async with served(one=one, other=other) as port:
        assert await status(port, target=f"/one/{TOKEN}") == 200
        assert await status(port, target=f"/other/{TOKEN}") == 404
        assert await status(port, target=f"/one/{OTHER_TOKEN}") == 404
        assert await status(port, target=f"/other/{OTHER_TOKEN}") == 200
    assert (one.stats().received, other.stats().received) == (1, 1)


async def test_strangers_name_no_counter(no_task_left: None) -> None:
    receiver = make(UrlToken(TOKEN) & BasicAuth("qlara", "password"))
    async with served(qlara=receiver) as port:
        for number in range(50):
            odd = b'{"channel":"C%d","eventType":"T%d","statusCode":%d}' % (number, number, number)
            assert await statuses(
                port,
                request(b"Authorization: x%d" % number, target=f"/qlara/{TOKEN}"),
                request(BASIC, b"X-%d: x" % number, target=f"/qlara/token-{number:020}"),
                request(BASIC, target=f"/qlara/{TOKEN}", body=odd),
            ) == [404, 404, 200]
        await receiver.idle()
    stats = receiver.stats()
    assert (stats.received, stats.refused) == (50, 100)
    assert set(stats.refusals) <= {reason.value for reason in Reason}
    assert set(stats.last_seen) == {"url-token #1", "basic #1"}
