"""`client.bulk` with many SMS in a request against one in a request: messages a permitted request, and CPU a message.

CPU is that of the client's process. The messages are made beforehand; the peer answers all with the same bytes, which
name no single message.

``python -m benchmarks.batched [rounds]``
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import sys
import time
from typing import Literal

from benchmarks.canned import canned_gateway
from qlara_async import ClientEvent, QlaraClient, RateLimit, RequestFinished, Sms

_BATCH = 100
_SLICES: dict[Literal["universal", "legacy"], int] = {"universal": 3_000, "legacy": 60_000}
_UNLIMITED = RateLimit(per_second=1_000_000, per_minute=60_000_000)


def _messages(count: int) -> list[Sms]:
    return [
        Sms(destination=f"+39340{index:07}", sender="ACME", body="Ciao, il tuo ordine è stato spedito!")
        for index in range(count)
    ]


async def _requests(url: str) -> float:
    """Messages a request, of a job by the legacy route."""
    finished = 0

    def count(event: ClientEvent) -> None:
        nonlocal finished
        finished += isinstance(event, RequestFinished)

    async with (
        QlaraClient("k", base_url=url, rate_limit=_UNLIMITED, on_event=count) as qlara,
        qlara.bulk(_messages(10_000), sms_route="legacy", batch=_BATCH) as job,
    ):
        accepted = sum([outcome.state == "accepted" async for outcome in job])
    return accepted / finished


async def _cpu(qlara: QlaraClient, route: Literal["universal", "legacy"]) -> float:
    """Microseconds of CPU a message."""
    messages = _messages(_SLICES[route])
    gc.collect()
    began = time.process_time()
    async with qlara.bulk(messages, sms_route=route, batch=_BATCH) as job:
        done = sum([1 async for _ in job])
    return (time.process_time() - began) / done * 1e6


async def _main(url: str, rounds: int) -> None:
    in_a_request = await _requests(url)
    singles: list[float] = []
    batched: list[float] = []
    async with QlaraClient("k", base_url=url, rate_limit=_UNLIMITED) as qlara:
        await _cpu(qlara, "universal")
        await _cpu(qlara, "legacy")
        for _ in range(rounds):
            singles.append(await _cpu(qlara, "universal"))
            batched.append(await _cpu(qlara, "legacy"))
    ratio = statistics.median(single / many for single, many in zip(singles, batched, strict=True))
    print(f"\nBulk by the legacy route, {_BATCH} messages a request")
    print(f"  messages a permitted request        {in_a_request:>8.1f}   ≥ 100 {_verdict(in_a_request >= _BATCH)}")
    print(f"  CPU a message, one a request        {statistics.median(singles):>8.1f} µs")
    print(f"  CPU a message, {_BATCH} a request        {statistics.median(batched):>8.1f} µs")
    print(f"  the second is one in                {ratio:>8.1f}   ≥ 20 {_verdict(ratio >= 20)}")


def _verdict(met: bool) -> str:
    return "met" if met else "MISSED"


if __name__ == "__main__":
    with canned_gateway() as base_url:
        asyncio.run(_main(base_url, int(sys.argv[1]) if len(sys.argv) > 1 else 9))
