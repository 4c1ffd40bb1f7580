"""A bulk job with a journal, run as a process of its own so that it can be killed.

``python -m tests.bulk_program URL JOURNAL COUNT [--legacy] [POINT NTH]``: sends COUNT messages of a regenerated source,
with ``--legacy`` 20 in a request; with a kill point, the process kills itself with SIGKILL when it comes to that point
for the NTH time. Prints the summary as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from qlara_async import QlaraClient, RateLimit, RetryPolicy, Timeouts
from qlara_async.bulk.journal import JournalWriter
from qlara_async.transport import Transport

POINTS = {
    "before the journal": (JournalWriter, "begin", "before"),
    "after the journal": (JournalWriter, "begin", "after"),
    "before the first byte": (Transport, "exchange", "before"),
    "after the response": (Transport, "exchange", "after"),
    "before the commit": (JournalWriter, "finish", "before"),
    "after the commit": (JournalWriter, "finish", "after"),
}


def rows(count: int) -> Iterator[dict[str, str]]:
    for index in range(count):
        yield {"channel": "SMS", "destination": f"+39000{index:07}", "sender": "ACME", "body": f"Messaggio {index}"}


def die_at(point: str, nth: int) -> None:
    owner, name, moment = POINTS[point]
    original: Callable[..., Awaitable[Any]] = getattr(owner, name)
    calls = 0

    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        mine = calls
        if moment == "before" and mine == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        result = await original(*args, **kwargs)
        if moment == "after" and mine == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, wrapped)


async def main(url: str, journal: str, count: int, *, legacy: bool) -> None:
    retry = RetryPolicy(settle=0.4, max_attempts=6)
    limit = RateLimit(per_second=2_000, per_minute=100_000)
    async with QlaraClient(
        "sandbox-key", base_url=url, rate_limit=limit, retry=retry, timeouts=Timeouts(read=0.5)
    ) as qlara:
        outcomes: dict[int, list[Any]] = {}
        route: dict[str, Any] = (
            {"sms_route": "legacy", "batch": 20, "concurrency": 40} if legacy else {"concurrency": 8}
        )
        async with qlara.bulk(rows(count), journal=journal, **route) as job:
            async for outcome in job:
                assert outcome.index not in outcomes
                outcomes[outcome.index] = [outcome.state, outcome.message_id, outcome.resumed]
    print(json.dumps({"outcomes": outcomes, "resumed": job.summary.resumed, "missing": job.summary.missing}))


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--legacy"]
    if len(arguments) > 3:
        die_at(arguments[3], int(arguments[4]))
    asyncio.run(main(arguments[0], arguments[1], int(arguments[2]), legacy="--legacy" in sys.argv))
