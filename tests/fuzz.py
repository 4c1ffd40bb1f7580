"""Attacks a receiver over raw sockets with requests no client would send, from a seed; see ``tests.soak fuzz``.

A request is put together from parts that are right, odd or hostile; half of them are then cut, or have bytes changed.
Every fiftieth is a genuine event on a line of its own, and its acknowledgement is timed.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from .fuzz_service import TOKEN

GENUINE_EVERY = 50
PATIENCE = 2.0  # seconds for an answer; the read deadline of the service is below it
LINES = 8
BOMB = gzip.compress(bytes(20 << 20))

METHODS = ["POST"] * 40 + ["GET", "HEAD", "PUT", "OPTIONS", "TRACE", "CONNECT", "PRI", "BREW", "post", "\xff", ""]
ENCODED = "".join(f"%{ord(character):02x}" for character in TOKEN)
TARGETS = [
    *[f"/qlara/{TOKEN}"] * 20,
    f"/qlara/{TOKEN}/",
    f"//qlara/{TOKEN}",
    f"/qlara//{TOKEN}",
    f"/x/../qlara/{TOKEN}",
    f"/qlara/{ENCODED}",
    f"/%71lara/{TOKEN}",
    f"http://here/qlara/{TOKEN}",
    f"/qlara/{TOKEN}?{TOKEN}",
    f"/qlara/{TOKEN}\xe9",
    f"/qlara/{TOKEN}%ff%00",
    "/qlara/wrong",
    "/qlara",
    "/elsewhere",
    "*",
    "here:80",
    "/qlara/" + "x" * 9000,
]
VERSIONS = ["HTTP/1.1"] * 60 + ["HTTP/1.0", "HTTP/2.0", "HTTP/0.9", "HTTP/1.1 ", "", "\xff"]
FIELDS = [
    "Content-Type: application/json",
    "Content-Type: application/json; charset=utf-8",
    "Content-Type: application/x-www-form-urlencoded",
    "Content-Type: text/plain",
    "Content-Type: \xe9\xff",
    "Content-Encoding: gzip",
    "Content-Encoding: deflate",
    "Content-Encoding: identity",
    "Expect: 100-continue",
    "Expect: miracles",
    "Connection: close",
    "Connection: Upgrade",
    "Upgrade: websocket",
    f"Referer: here/qlara/{TOKEN}",
    f"Referer: https://here/qlara/{ENCODED}",
    "User-Agent: caf\xe9",
    "Authorization: Basic \xff\xfe",
    "X-Forwarded-For: ::1, \xff, 999.9.9.9:99999",
    "Transfer-Encoding: gzip, chunked",
]
BROKEN = [
    "Content-Length: 5",
    "Content-Length: -5",
    "Content-Encoding: br",
    "Host: elsewhere",
    "Broken",
    " folded",
    "X: " + "y" * 9000,
    ": empty",
    "X\x00: y",
]
BODIES = [
    b"",
    b"{}",
    b"[]",
    b"null",
    b"\xff\xfe\x00",
    b'{"eventType":"DELIVERY","messageId":"\\ud800"}',
    b'{"eventType":"DELIVERY","price":NaN,"statusCode":1e999}',
    b'{"eventType":"READ","messageId":' + b"7" * 5000 + b"}",
    b'{"eventType":"INBOUND","source":"1","text":"\xf0\x9f"}',
    b'[{"eventType":"READ"},{"eventType":"\\udfff"},7]',
    b"[" * 60_000,
    b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    b"[" + b"[]," * 20_000 + b"[]]",
    b" " * 70_000,
    b"originator=1&destination=2&text=%FF&date_time=20260408143052",
    b"a&" * 200,
    BOMB,
    BOMB[:500],
]
ASTRAY = re.compile(rb"(?<!/qlara/)(?<!/%71lara/)(?<!/qlara//)" + TOKEN.encode())
"""A token that does not stand below the mount any more: it is redacted by its position."""

AIOHTTPS_OWN = re.compile(rb"(?i)expect:[^\r\n]*[\x80-\xff]")
"""aiohttp answers an expectation that is no UTF-8 with a 500; on the receiver's paths it does not get to."""


@dataclass
class Tally:
    """What came of an attack."""

    sent: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    offences: list[str] = field(default_factory=list)
    acknowledged: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)


def request(chance: random.Random) -> list[bytes]:
    """Make a request, in the pieces it is sent in."""
    body = chance.choice(BODIES)
    line = f"{chance.choice(METHODS)} {chance.choice(TARGETS)} {chance.choice(VERSIONS)}"
    fields = chance.sample(FIELDS, chance.choice([0, 0, 1, 1, 2, 3]))
    if chance.random() < 0.1:
        fields.append(chance.choice(BROKEN))
    framing = chance.random()
    if framing < 0.6:
        fields.append(f"Content-Length: {len(body)}")
    elif framing < 0.8:
        fields.append("Transfer-Encoding: chunked")
        size = chance.choice([*[f"{len(body):x}"] * 5, f"{len(body):x};a=b", "zz", "-1", "ffffffffffffffffff", "1"])
        body = size.encode() + b"\r\n" + body + b"\r\n0\r\n\r\n"
    if chance.random() < 0.95:
        fields.insert(0, "Host: localhost")
    chance.shuffle(fields)
    raw = "\r\n".join([line, *fields, "", ""]).encode("latin-1") + body
    if chance.random() < 0.25:
        raw = spoil(chance, raw)
    if chance.random() < 0.1:
        raw *= chance.randrange(2, 5)  # pipelined
    cuts = sorted(chance.randrange(len(raw) + 1) for _ in range(chance.choice([0, 0, 1, 2])))
    return [raw[start:end] for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True) if start < end]


def spoil(chance: random.Random, raw: bytes) -> bytes:
    """Cut a request off, or change some of its bytes."""
    if chance.random() < 0.3:
        return raw[: chance.randrange(1, len(raw))]
    spoiled = bytearray(raw)
    for _ in range(chance.randrange(1, 6)):
        place = chance.randrange(min(len(spoiled), 600))
        spoiled[place : place + chance.randrange(2)] = bytes([chance.randrange(256)])
    return ASTRAY.sub(b"astray", bytes(spoiled))


class Attack:
    """Runs against a service of its own. Use as ``async with``."""

    def __init__(self, seed: int) -> None:
        self.tally = Tally()
        self._chance = random.Random(seed)

    async def __aenter__(self) -> Attack:
        pipe = asyncio.subprocess.PIPE
        self._service = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.fuzz_service", stdin=pipe, stdout=pipe, stderr=pipe
        )
        assert self._service.stdout is not None
        self._port = int(await self._service.stdout.readline())
        return self

    async def __aexit__(self, *exc: object) -> None:
        _, printed = await self._service.communicate(b"")
        if printed:
            self.tally.offences.append(f"printed: {printed.decode(errors='replace')[-2000:]}")

    async def send(self, count: int) -> None:
        """Send so many requests over a few lines at a time, and look at the service afterwards."""
        numbers = iter(range(self.tally.sent, self.tally.sent + count))
        await asyncio.gather(*(self._work(numbers) for _ in range(LINES)))
        told = await self.look()
        self.tally.memory.append(told["memory"])
        self.tally.offences += told["tracebacks"] + told["leaks"]

    async def bomb(self, count: int, size: int) -> None:
        """Send so many bombs at once, by senders that know the token and strangers, and genuine events meanwhile."""
        packed = gzip.compress(bytes(size))
        targets = [(TOKEN, "wrong")[number % 2] for number in range(count)]
        fields = f"Host: x\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}"
        heads = [f"POST /qlara/{target} HTTP/1.1\r\n{fields}\r\n\r\n".encode() for target in targets]
        bombs = asyncio.gather(*(self._attack([head, packed], hangs_up=False) for head in heads))
        self.tally.sent += count
        while not bombs.done() or len(self.tally.acknowledged) < 200:
            await self._deliver(len(self.tally.acknowledged))
        await bombs

    async def look(self) -> dict[str, Any]:
        """Ask the service how it is."""
        assert self._service.stdin is not None
        assert self._service.stdout is not None
        self._service.stdin.write(b"\n")
        told: dict[str, Any] = json.loads(await self._service.stdout.readline())
        return told

    async def _work(self, numbers: Any) -> None:
        for number in numbers:
            self.tally.sent += 1
            if number % GENUINE_EVERY:
                await self._attack(request(self._chance), hangs_up=self._chance.random() < 0.1)
            else:
                await self._deliver(number)

    async def _attack(self, pieces: list[bytes], *, hangs_up: bool) -> None:
        status = "hung up"
        raw = b"".join(pieces)
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            if not hangs_up:
                line = await asyncio.wait_for(reader.readline(), PATIENCE if b"\r\n\r\n" in raw else 0)
                status = line[9:12].decode("latin-1") or "closed"
        except TimeoutError:
            status = "no answer" if b"\r\n\r\n" in raw else "no whole head"
        except ConnectionError:
            status = "closed"
        finally:
            writer.transport.abort()
        self.tally.statuses[status] += 1
        if status.startswith("5") and status != "503" and not AIOHTTPS_OWN.search(raw):
            self.tally.offences.append(f"{status} to {raw[:1000]!r}")

    async def _deliver(self, number: int) -> None:
        event = b'{"channel":"SMS","eventType":"DELIVERY","messageId":"genuine-%d","statusCode":3}' % number
        began = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(b"POST /qlara/%b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (TOKEN.encode(), len(event)))
        writer.write(event)
        line = await reader.readline()
        self.tally.acknowledged.append(time.perf_counter() - began)
        writer.transport.abort()
        if not line.startswith(b"HTTP/1.1 200"):
            self.tally.offences.append(f"a genuine event was answered {line!r}")
