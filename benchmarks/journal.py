"""What a bulk job's journal costs. Run ``python -m benchmarks.journal``.

Each of the concurrent tasks begins a row and finishes it, as a bulk job's workers do, with nothing in between. CPU is
that of the process, so of both threads. "own ids" gives every message an id of the caller's: these are indexed.
"reopened" is the time to open the journal then written: lock, check of every page, counts. "resumed" is what a row that
is final costs when the job is run again.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from qlara_async import Channel, Receipt
from qlara_async.bulk.journal import JournalWriter
from qlara_async.models.answers import ChannelResult
from qlara_async.protocol.outcomes import OutcomeState

BUDGET_CPU = 25.0


class Result(NamedTuple):
    """One row of the table."""

    ids: str
    concurrency: int
    pairs: int
    elapsed: float
    cpu: float
    commits: int
    size: int
    reopened: float
    resumed: float


async def measure(directory: Path, *, own_ids: bool, concurrency: int, pairs: int) -> Result:
    path = directory / f"{own_ids}-{concurrency}.db"
    rows = iter(range(pairs))
    async with JournalWriter(path) as journal:
        digest = journal.digest({"row": 1})

        async def worker() -> None:
            for row in rows:
                message_id = f"order-{row * 7919 % pairs:09d}" if own_ids else journal.mint(row)
                receipt = Receipt(
                    message_id=message_id, channel=Channel.SMS, results={"SMS": ChannelResult(accepted=True, parts=1)}
                )
                await journal.begin(row, message_id, Channel.SMS, digest)
                await journal.finish(row, OutcomeState.ACCEPTED, attempts=1, receipt=receipt, granted_at=time.time())

        cpu, began = time.process_time(), time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(concurrency)))
        cpu, elapsed = time.process_time() - cpu, time.perf_counter() - began
        commits = journal.commits
    reopened, resumed = await reopen(path, pairs)
    return Result(
        "own" if own_ids else "minted",
        concurrency,
        pairs,
        elapsed,
        cpu,
        commits,
        path.stat().st_size,
        reopened,
        resumed,
    )


async def reopen(path: Path, pairs: int) -> tuple[float, float]:
    journal = JournalWriter(path)
    began = time.perf_counter()
    await journal.open()
    reopened, began = time.perf_counter() - began, time.perf_counter()
    for row in range(pairs):
        entry = await journal.expected(row)
        if entry is None or entry.receipt is None:
            raise SystemExit(f"row {row} is lost")
    resumed = time.perf_counter() - began
    await journal.close()
    return reopened, resumed


def main() -> None:
    options = argparse.ArgumentParser(description="Measure the journal of bulk jobs.")
    options.add_argument("--pairs", type=int, default=100_000)
    options.add_argument("--concurrency", type=int, nargs="+", default=[1, 8, 64, 256])
    options.add_argument("--directory", type=Path, help="where the journal is written; decides what a commit costs")
    chosen = options.parse_args()
    columns = ("ids", "tasks", "pairs/s", "CPU µs/pair", "rows/commit", "commits/s", "bytes/row", "reopened s")
    print(("{:>12} " * len(columns)).format(*columns), f"{'resumed µs/row':>14}")
    with tempfile.TemporaryDirectory(dir=chosen.directory) as directory:
        for own_ids in (False, True):
            for concurrency in chosen.concurrency:
                pairs = min(chosen.pairs, concurrency * 2_000)
                row = asyncio.run(measure(Path(directory), own_ids=own_ids, concurrency=concurrency, pairs=pairs))
                print(
                    f"{row.ids:>12} {row.concurrency:>12} {pairs / row.elapsed:>12,.0f} {1e6 * row.cpu / pairs:>12.1f} "
                    f"{2 * pairs / row.commits:>12.1f} {row.commits / row.elapsed:>12,.0f} {row.size / pairs:>12.0f} "
                    f"{row.reopened:>12.3f} {1e6 * row.resumed / pairs:>14.1f}"
                )
    print(f"budget: at most {BUDGET_CPU:.0f} µs of CPU a pair with 64 tasks and minted ids")


if __name__ == "__main__":
    main()
