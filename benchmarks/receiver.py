"""Receiver against a bare aiohttp handler, and the latency of its acknowledgements.

Run ``python -m benchmarks.receiver``. One server process serves both: a handler that reads the body and answers 200,
and the receiver as a sub-application with ``MemoryInbox`` and a no-op handler. They get alternating rounds of unique
callbacks over kept-alive connections, and the ratio is the median over the pairs. Absolute figures depend on the
machine; the budget is on the ratio and on the 99th percentile, which needs a processor for each of the two processes.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections import deque
from collections.abc import Iterator

from aiohttp import web

from qlara_async.webhooks import Delivery, MemoryInbox, UrlToken, WebhookReceiver

TOKEN = "benchmark-token-of-the-receiver"
RATIO_BUDGET = 0.62
P99_BUDGET_MS = 1.5

_BODY = (
    '{"channel":"SMS","eventType":"DELIVERY","messageId":"%032x","statusCode":3,"statusDescription":"Delivered",'
    '"price":0.035,"numPart":1,"totalParts":1,"timestamp":"2024-01-15T10:30:00Z"}'
)


async def serve() -> None:
    async def bare(request: web.Request) -> web.Response:
        await request.read()
        return web.Response()

    receiver = WebhookReceiver(auth=UrlToken(TOKEN), inbox=MemoryInbox(allow_loss=True))

    @receiver.on_delivery()
    async def delivered(event: Delivery) -> None:
        pass

    app = web.Application()
    app.router.add_post("/bare", bare)
    app.add_subapp("/qlara", receiver.app())
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


def requests(path: str, first: int) -> Iterator[bytes]:
    number = first
    while True:
        body = _BODY % number
        yield (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()
        number += 1


class Connection(asyncio.Protocol):
    """One kept-alive connection with one request in flight; it tells ``answered`` of each 200."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def send(self, due: float) -> None:
        self.due = due
        self.transport.write(next(self.load.source))

    def data_received(self, data: bytes) -> None:
        assert data.startswith(b"HTTP/1.1 200"), data[:200]
        self.load.answered(self)


class Load:
    """Connections to one server, driven closed loop or at a fixed rate."""

    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self.free: deque[Connection] = deque()
        self.source: Iterator[bytes] = iter(())
        self.latencies: list[float] = []
        self.count = 0
        self.closed_until: float | None = None
        self.settled = asyncio.Event()

    async def connect(self, port: int, connections: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            _, connection = await loop.create_connection(lambda: Connection(self), "127.0.0.1", port)
            self.connections.append(connection)
        self.free.extend(self.connections)

    def answered(self, connection: Connection) -> None:
        now = time.perf_counter()
        self.count += 1
        self.latencies.append(now - connection.due)
        if self.closed_until is not None and now < self.closed_until:
            connection.send(now)
            return
        self.free.append(connection)
        if len(self.free) == len(self.connections):
            self.settled.set()

    async def saturate(self, seconds: float) -> float:
        """Return requests per second with every connection busy."""
        self.count, start = 0, time.perf_counter()
        self.closed_until = start + seconds
        while self.free:
            self.free.popleft().send(start)
        await self.settle()
        return self.count / (time.perf_counter() - start)

    async def open_loop(self, rate: int, seconds: float) -> list[float]:
        """Return sorted latencies in seconds, from the moment each request was due."""
        self.closed_until, self.latencies = None, []
        start = time.perf_counter()
        for number in range(int(rate * seconds)):
            due = start + number / rate
            while time.perf_counter() < due or not self.free:
                await asyncio.sleep(0)  # spinning: a timer's 1 ms would be most of what is measured
            self.free.popleft().send(due)
        await self.settle()
        return sorted(self.latencies)

    async def settle(self) -> None:
        while len(self.free) < len(self.connections):
            self.settled.clear()
            await self.settled.wait()


async def measure(pairs: int, seconds: float, connections: int) -> bool:
    server = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.receiver",
        "--serve",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert server.stdout is not None
    load = Load()
    await load.connect(int(await server.stdout.readline()), connections)
    bare, ours = requests("/bare", 0), requests(f"/qlara/{TOKEN}", 0)
    rates: list[tuple[float, float]] = []
    for _ in range(pairs + 1):
        load.source = bare
        plain = await load.saturate(seconds)
        load.source = ours
        rates.append((plain, await load.saturate(seconds)))
    latencies: list[tuple[float, float]] = []
    for _ in range(7):
        load.source = bare
        plain_p99 = p99_ms(await load.open_loop(1000, 1.0))
        load.source = ours
        latencies.append((plain_p99, p99_ms(await load.open_loop(1000, 1.0))))
    assert server.stdin is not None
    server.stdin.close()
    await server.wait()
    return report(rates[1:], latencies)  # the first pair warms up


def p99_ms(latencies: list[float]) -> float:
    return latencies[int(len(latencies) * 0.99)] * 1000


def report(rates: list[tuple[float, float]], latencies: list[tuple[float, float]]) -> bool:
    ratio = statistics.median(ours / plain for plain, ours in rates)
    plain_p99, p99 = (statistics.median(column) for column in zip(*latencies, strict=True))
    rows = [
        ("bare aiohttp handler, requests/s", f"{statistics.median(plain for plain, _ in rates):.0f}", ""),
        ("receiver with MemoryInbox, requests/s", f"{statistics.median(ours for _, ours in rates):.0f}", ""),
        ("ratio (median of pairs)", f"{ratio:.2f}", f">= {RATIO_BUDGET}"),
        ("bare answer at 1,000/s, p99 ms", f"{plain_p99:.2f}", ""),
        ("acknowledgement at 1,000/s, p99 ms", f"{p99:.2f}", f"<= {P99_BUDGET_MS}"),
    ]
    print(f"{'':40} {'measured':>10}  budget")
    for name, measured, budget in rows:
        print(f"{name:40} {measured:>10}  {budget}")
    return ratio >= RATIO_BUDGET and p99 <= P99_BUDGET_MS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.7, help="length of each round")
    parser.add_argument("--connections", type=int, default=64)
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(serve())
    elif not asyncio.run(measure(arguments.pairs, arguments.seconds, arguments.connections)):
        sys.exit("over budget")


if __name__ == "__main__":
    main()
