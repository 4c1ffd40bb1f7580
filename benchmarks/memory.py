"""Peak memory of a bulk of 1,000,000 messages from a generator, above that of a bulk of 1,000 (guarantee G4).

``python -m benchmarks.memory [messages]``: each bulk runs in a process of its own; takes minutes.
"""

from __future__ import annotations

import asyncio
import resource
import subprocess
import sys

from benchmarks.canned import canned_gateway
from qlara_async import QlaraClient, RateLimit, Sms

_BUDGET_MIB = 5.0


async def _bulk(url: str, count: int) -> None:
    messages = (Sms(destination="+393401234567", sender="ACME", body=f"Ciao {index}") for index in range(count))
    limit = RateLimit(per_second=1_000_000, per_minute=60_000_000)
    async with QlaraClient("k", base_url=url, rate_limit=limit) as qlara, qlara.bulk(messages) as job:
        async for _ in job:
            pass
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _peak(url: str, count: int) -> float:
    command = [sys.executable, "-m", "benchmarks.memory", "--child", url, str(count)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _main(count: int) -> None:
    with canned_gateway() as url:
        small, large = _peak(url, 1_000), _peak(url, count)
    verdict = "met" if large - small < _BUDGET_MIB else "MISSED"
    print(f"\nPeak memory of a bulk\n  1,000 messages: {small:.1f} MiB\n  {count:,} messages: {large:.1f} MiB")
    print(f"  above: {large - small:.1f} MiB   budget < {_BUDGET_MIB:g} MiB {verdict}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        asyncio.run(_bulk(sys.argv[2], int(sys.argv[3])))
    else:
        _main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
