"""`client.bulk` with a journal against `client.bulk` without one.

``python -m benchmarks.journalled [rounds]``
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from itertools import count
from pathlib import Path

from benchmarks.canned import canned_gateway
from benchmarks.rounds import Slice, measure, print_table
from qlara_async import QlaraClient, RateLimit, Sms

_SLICE = 3_000
_CONCURRENCY = 64


def _messages() -> list[Sms]:
    return [Sms(destination="+393401234567", sender="ACME", body="Ciao Anna, è arrivato!") for _ in range(_SLICE)]


async def _main(url: str, rounds: int) -> None:
    limit = RateLimit(per_second=1_000_000, per_minute=60_000_000)
    with tempfile.TemporaryDirectory() as directory:
        numbers = count()
        async with QlaraClient("k", base_url=url, rate_limit=limit) as qlara:

            async def run(messages: list[Sms], journal: Path | None) -> int:
                async with qlara.bulk(messages, concurrency=_CONCURRENCY, journal=journal) as job:
                    return sum([1 async for _ in job])

            def journalled() -> Slice:
                messages = _messages()
                return lambda: run(messages, Path(directory) / f"{next(numbers)}.db")

            rate, ratios = await measure(lambda: run(_messages(), None), {"journal": journalled}, rounds=rounds)
    print_table(
        f"Bulk, {_CONCURRENCY} in flight, synchronous=FULL", "client.bulk without", rate, ratios, {"journal": 0.70}
    )


if __name__ == "__main__":
    with canned_gateway() as base_url:
        asyncio.run(_main(base_url, int(sys.argv[1]) if len(sys.argv) > 1 else 11))
