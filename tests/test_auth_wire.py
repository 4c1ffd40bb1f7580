"""Auth over a real socket: what no HTTP client would send."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from qlara_async.webhooks import BasicAuth, HmacSignature, IpAllowList, MemoryInbox, WebhookReceiver

pytestmark = pytest.mark.anyio

BODY = b'{"channel":"SMS","eventType":"DELIVERY","messageId":"m1","statusCode":3}'
SIGNATURE = HmacSignature("X-Sig", secrets="signing-secret", timestamp_header="X-Time")
BASIC = b"Authorization: Basic " + base64.b64encode(b"qlara:password")


@pytest.fixture
async def receiver(no_task_left: None) -> WebhookReceiver:
    allowed = IpAllowList("192.0.2.0/24", trusted_proxies="127.0.0.1")
    return WebhookReceiver(
        auth=BasicAuth("qlara", "password") & SIGNATURE & allowed, inbox=MemoryInbox(allow_loss=True)
    )


@pytest.fixture
async def port(receiver: WebhookReceiver) -> AsyncIterator[int]:
    app = web.Application()
    app.add_subapp("/qlara", receiver.app())
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def status(port: int, *headers: bytes) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    fixed = (b"Host: x", b"Content-Type: application/json", b"Content-Length: %d" % len(BODY), b"Connection: close")
    writer.write(b"POST /qlara HTTP/1.1\r\n" + b"\r\n".join([*fixed, *headers]) + b"\r\n\r\n" + BODY)
    line = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return int(line.split()[1])


async def test_a_genuine_request_passes_and_no_variant_of_it(
    port: int, receiver: WebhookReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    signed = SIGNATURE.sign(BODY, timestamp=int(time.time()))
    proof = [f"{name}: {value}".encode() for name, value in signed.items()]
    good = [BASIC, *proof, b"X-Forwarded-For: 203.0.113.1", b"X-Forwarded-For: 192.0.2.9"]
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
