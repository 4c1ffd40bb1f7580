"""Kills without end: ``python -m tests.soak bulk --kills 1000 [--legacy]``, or ``receiver`` instead of ``bulk``.

``python -m tests.soak fuzz --requests 100000`` kills nothing: it attacks a receiver over raw sockets, as ``tests.fuzz``
tells, and stops at a status of 500 or above but 503, a traceback, a token in a log or an event not acknowledged.
``python -m tests.soak bombs`` sends it ten bodies of 200 MiB, compressed, at once; no event may wait for 100 ms.

Receivers on a durable inbox are killed with SIGKILL at the eight points of an event's way, or in between, while a
sandbox posts receipts that it doubles, reorders and delivers again, and customers write; then every acknowledged event
must have been handled, none twice in one life of the process, and each customer's messages in their order.

Bulk jobs with a journal are killed with SIGKILL, at named points and at random instants, at a sandbox with latency,
drops, 5xx before and after acceptance and late statuses, and resumed until they are done; then the sandbox must have
every message exactly once. Prints one line a campaign and a table at the end; stops at the first violation.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path

from qlara_async import QlaraClient
from qlara_async.sandbox import Faults, Sandbox

from .bulk_program import POINTS
from .fuzz import Attack
from .test_kill_bulk import result, start
from .test_kill_receiver import POINTS as RECEIVER_POINTS
from .test_kill_receiver import Campaign

MESSAGES = 150
FAULTS = Faults(
    latency_before=0.1,
    latency_after=0.1,
    drop_before=0.03,
    drop_after=0.03,
    error_before=0.03,
    error_after=0.03,
    truncated=0.01,
    status_late=0.1,
    delay=0.02,
    late=0.2,
)


async def campaign(
    directory: Path, number: int, randomness: random.Random, kills: Counter[str], *route: str
) -> tuple[int, int]:
    """Run one campaign to its end through a few kills; returns how many messages ended accepted and unknown."""
    journal = directory / f"campaign-{number}.db"
    async with Sandbox(rate_limit=None, faults=FAULTS, seed=number) as sandbox:
        for _ in range(randomness.randrange(3, 9)):
            if randomness.random() < 0.5:
                point, nth = randomness.choice(list(POINTS)), str(randomness.randrange(1, 30))
                process = await start(sandbox, journal, *route, point, nth, count=MESSAGES)
            else:
                point = "at random"
                process = await start(sandbox, journal, *route, count=MESSAGES)
                target = len(sandbox.accepted) + randomness.randrange(0, 40)
                deadline = time.monotonic() + 0.6 + randomness.random()
                while process.returncode is None and len(sandbox.accepted) < target and time.monotonic() < deadline:
                    await asyncio.sleep(0.001)
                if process.returncode is None:
                    process.send_signal(signal.SIGKILL)
            if await result(process) is not None:
                break
            kills[point] += 1
        sandbox.faults = Faults()
        summary = await result(await start(sandbox, journal, *route, count=MESSAGES))
        assert summary is not None
        outcomes = summary["outcomes"].values()
        states = Counter(state for state, _, _ in outcomes)
        accepted = {message_id for state, message_id, _ in outcomes if state == "accepted"}
        assert len(summary["outcomes"]) == MESSAGES, "a message has no outcome"
        assert set(sandbox.accepted.values()) <= {1}, "a message was accepted twice"
        assert accepted <= set(sandbox.accepted), "a message is called accepted that the gateway does not have"
        assert set(states) <= {"accepted", "unknown"}, f"unexpected states: {states}"
        missed = set(sandbox.accepted) - accepted - {mid for state, mid, _ in outcomes if state == "unknown"}
        assert not missed, "the gateway has a message that is not known as accepted or unknown"
        return states["accepted"], states["unknown"]


async def soak(wanted: int, seed: int, *route: str) -> None:
    """Kill `wanted` times, over as many campaigns as that takes."""
    randomness = random.Random(seed)
    kills: Counter[str] = Counter()
    accepted = unknown = number = 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        while kills.total() < wanted:
            number += 1
            more_accepted, more_unknown = await campaign(
                Path(directory), number + seed * 100_000, randomness, kills, *route
            )
            accepted += more_accepted
            unknown += more_unknown
            print(f"campaign {number}: {kills.total()} kills, {accepted} accepted, {unknown} unknown", flush=True)
    print(f"\n{kills.total()} kills in {number} campaigns of {MESSAGES} messages, {time.monotonic() - began:.0f} s")
    for point, count in kills.most_common():
        print(f"  {point:<24}{count:>6}")
    print(f"  accepted exactly once {accepted:,}; left unknown {unknown:,}; sent twice 0")


async def soak_receiver(wanted: int, seed: int) -> None:
    """Kill a receiver `wanted` times, over as many campaigns as that takes."""
    randomness = random.Random(seed)
    kills: Counter[str] = Counter()
    acknowledged = number = 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        while kills.total() < wanted:
            number += 1
            campaign = Campaign(Path(directory) / str(number), seed=number + seed * 100_000)
            async with campaign.sandbox as sandbox, QlaraClient("k", base_url=sandbox.url, rate_limit=None) as qlara:
                sandbox.api_key = "k"
                for _ in range(min(20, wanted - kills.total())):
                    point = randomness.choice(RECEIVER_POINTS)
                    await campaign.kill(qlara, point, randomness.randrange(30), patience=randomness.random() / 2)
                    kills[point] += 1
                acknowledged += await campaign.finish()
            print(f"campaign {number}: {kills.total()} kills, {acknowledged} events acknowledged", flush=True)
    print(f"\n{kills.total()} kills in {number} campaigns, {time.monotonic() - began:.0f} s")
    for point, count in kills.most_common():
        print(f"  aimed at {point:<24}{count:>6}")
    print(f"  acknowledged and handled {acknowledged:,}; lost 0; handled twice in one life 0; out of order 0")


async def soak_fuzz(wanted: int, seed: int) -> None:
    """Attack a receiver with `wanted` requests, ten parts one after the other."""
    began = time.monotonic()
    async with Attack(seed) as attack:
        tally = attack.tally
        for part in range(1, 11):
            await attack.send(wanted // 10)
            assert not tally.offences, "\n".join(tally.offences[:3])
            print(f"{part}/10: {tally.sent:,} requests, {tally.memory[-1] / 1024:.1f} MiB", flush=True)
    assert not tally.offences, "\n".join(tally.offences[:3])
    times = sorted(tally.acknowledged)
    p50, p99, worst = (1000 * times[int(len(times) * share)] for share in (0.5, 0.99, 0.9999))
    print(f"\n{tally.sent:,} requests in {time.monotonic() - began:.0f} s")
    for status, count in tally.statuses.most_common():
        print(f"  {status:<24}{count:>8}")
    print(f"  {len(times):,} genuine events acknowledged: p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {worst:.1f} ms")
    grown = (tally.memory[-1] - tally.memory[0]) / 1024
    print(f"  memory grew by {grown:.1f} MiB after the first tenth")
    assert p99 <= 50, "genuine events waited"
    assert grown < 32, "memory grows"


async def soak_bombs() -> None:
    """Send ten bombs of 200 MiB, and measure how long genuine events wait meanwhile: no less than the loop stood."""
    async with Attack(seed=0) as attack:
        await attack.bomb(10, 200 << 20)
        told = await attack.look()
    tally = attack.tally
    longest = 1000 * max(tally.acknowledged)
    print(f"10 bombs of 200 MiB: {dict(tally.statuses)}, {told['memory'] / 1024:.1f} MiB of memory afterwards")
    print(f"{len(tally.acknowledged)} genuine events meanwhile, acknowledged within {longest:.1f} ms")
    assert not tally.offences, "\n".join(tally.offences[:3])
    assert longest < 100, "the loop stood still"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Kill bulk jobs and receivers, or attack a receiver.")
    parser.add_argument("what", choices=["bulk", "receiver", "fuzz", "bombs"])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--requests", type=int, default=100_000, help="of fuzz")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--legacy", action="store_true", help="many SMS in a request")
    arguments = parser.parse_args()
    logging.getLogger("qlara_async.sandbox").setLevel(logging.ERROR)  # it gives callbacks up: that is the point
    if arguments.what == "fuzz":
        asyncio.run(soak_fuzz(arguments.requests, arguments.seed))
    elif arguments.what == "bombs":
        asyncio.run(soak_bombs())
    elif arguments.what == "receiver":
        asyncio.run(soak_receiver(arguments.kills, arguments.seed))
    else:
        asyncio.run(soak(arguments.kills, arguments.seed, *(["--legacy"] if arguments.legacy else [])))


if __name__ == "__main__":
    main()
