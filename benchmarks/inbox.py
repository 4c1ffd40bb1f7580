"""The durable inbox: against a bare aiohttp handler, its acknowledgement latency, and its recovery.

Run ``python -m benchmarks.inbox``. A server process serves a handler that reads the body and answers 200, and the
receiver as a sub-application with ``SqliteInbox`` (``synchronous=FULL``, in a temporary directory, or ``--directory``)
and a no-op handler; short rounds alternate. Some processes are half as fast again as others for all their life, so
there are several, one after the other on one file; figures are medians over the rounds of all. Recovery is the time
from the start of a receiver on a file with 100,000 pending events until the last of them is handled and marked.
Absolute figures depend on the machine and, above all, on what its disk takes for an ``fsync``.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from qlara_async.models.channel import Channel, DeliveryStatus
from qlara_async.protocol.identity import identity
from qlara_async.webhooks import Delivery, SqliteInbox, UrlToken, WebhookReceiver
from qlara_async.webhooks.inbox import Row

from .receiver import TOKEN, Load, p99_ms, requests

RATIO_BUDGET = 0.40
P99_BUDGET_MS = 10.0
BACKLOG = 100_000
HANDLER = "delivered"
_REST = 0.05  # seconds in which the last handlers' ends are written, so that it does not happen in the other's round


def receiver_on(path: Path, done: asyncio.Event | None = None, expected: int = 0) -> WebhookReceiver:
    receiver = WebhookReceiver(auth=UrlToken(TOKEN), inbox=SqliteInbox(path))
    handled = 0

    @receiver.on_delivery(name=HANDLER)
    async def delivered(event: Delivery) -> None:
        nonlocal handled
        handled += 1
        if done is not None and handled == expected:
            done.set()

    return receiver


async def serve(path: Path) -> None:
    async def bare(request: web.Request) -> web.Response:
        await request.read()
        return web.Response()

    app = web.Application()
    app.router.add_post("/bare", bare)
    app.add_subapp("/qlara", receiver_on(path).app())
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


class Rounds:
    """What was measured with one number of connections, over all server processes."""

    def __init__(self) -> None:
        self.ratios: list[float] = []
        self.rates: list[float] = []
        self.saturated: list[float] = []
        self.tails: list[float] = []


async def measure(directory: Path, servers: int, pairs: int, seconds: float) -> bool:
    numbers = (64, 256)
    measured = {connections: Rounds() for connections in numbers}
    bare, ours = requests("/bare", 0), requests(f"/qlara/{TOKEN}", 0)
    for _ in range(servers):
        server = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "benchmarks.inbox",
            "--serve",
            str(directory / "inbox.db"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert server.stdin is not None
        assert server.stdout is not None
        port = int(await server.stdout.readline())
        for connections, rounds in measured.items():
            load = Load()
            await load.connect(port, connections)
            await compare(load, bare, ours, rounds, pairs, seconds)
            if connections == numbers[0]:
                rounds.tails += [p99_ms(await load.open_loop(1000, 1.0)) for _ in range(3)]
        server.stdin.close()
        await server.wait()
    passed = report(measured)
    await recover(directory / "backlog.db")
    return passed


async def compare(
    load: Load, bare: Iterator[bytes], ours: Iterator[bytes], rounds: Rounds, pairs: int, seconds: float
) -> None:
    for number in range(pairs + 1):
        reached: dict[Iterator[bytes], float] = {}
        for source in (bare, ours) if number % 2 else (ours, bare):
            load.source, load.latencies = source, []
            reached[source] = await load.saturate(seconds)
            if source is ours and number:  # the first pair warms up
                rounds.saturated.append(p99_ms(sorted(load.latencies)))
            await asyncio.sleep(_REST)
        if number:
            rounds.ratios.append(reached[ours] / reached[bare])
            rounds.rates.append(reached[ours])
    load.source = ours


def report(measured: dict[int, Rounds]) -> bool:
    """Print a table; tell whether the budgets are met."""
    print(f"{'':52} {'measured':>10}  budget")
    passed = True
    for connections, rounds in measured.items():
        show(f"events/s, {connections} connections", statistics.median(rounds.rates))
        show(f"p99 ms at saturation, {connections} connections", statistics.median(rounds.saturated))
        ratio = statistics.median(rounds.ratios)
        budget = f">= {RATIO_BUDGET}" if rounds.tails else ""
        show(f"ratio to bare aiohttp, {connections} connections", ratio, budget)
        if rounds.tails:
            tail = statistics.median(rounds.tails)
            show("acknowledgement at 1,000/s, p99 ms", tail, f"<= {P99_BUDGET_MS}")
            passed &= ratio >= RATIO_BUDGET and tail <= P99_BUDGET_MS
    return passed


def show(name: str, value: float, budget: str = "") -> None:
    print(f"{name:52} {value:>10,.2f}  {budget}", flush=True)


async def recover(path: Path) -> None:
    inbox = SqliteInbox(path, max_pending=2 * BACKLOG)
    await inbox.start(lambda _: (HANDLER,), names=lambda: (HANDLER,))
    now = datetime.now(UTC)
    began = time.perf_counter()
    for first in range(0, BACKLOG, 1000):
        await inbox.put([row(number, now) for number in range(first, first + 1000)])
    filled = time.perf_counter() - began
    await inbox.close()
    done = asyncio.Event()
    receiver = receiver_on(path, done, BACKLOG)
    began = time.perf_counter()
    await receiver.start()
    started = time.perf_counter() - began
    await done.wait()
    await receiver.idle()
    took = time.perf_counter() - began
    await receiver.aclose()
    show(f"storing {BACKLOG:,} events in batches of 1,000, s", filled)
    show(f"start with {BACKLOG:,} pending events, s", started)
    show(f"until all {BACKLOG:,} are handled and marked, s", took)


def row(number: int, now: datetime) -> Row:
    event = Delivery(
        channel=Channel.SMS, message_id=f"{number:032x}", received_at=now, status=DeliveryStatus.DELIVERED, part=1
    )
    return Row(identity(event), event)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help="where to put the files; a temporary directory if not given")
    parser.add_argument("--servers", type=int, default=7)
    parser.add_argument("--pairs", type=int, default=9, help="pairs of rounds for each server")
    parser.add_argument("--seconds", type=float, default=0.25, help="length of each round")
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(serve(arguments.serve))
        return
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        passed = asyncio.run(measure(Path(directory), arguments.servers, arguments.pairs, arguments.seconds))
    if not passed:
        sys.exit("over budget")


if __name__ == "__main__":
    main()
