"""Sends a CSV file and shows how far it is: ``python -m examples.bulk_progress [FILE [ROWS]]``.

Sends the first 100 rows of ``messages.csv`` unless told otherwise: to a sandbox, or to the gateway if ``QLARA_API_KEY``
is set.
"""

from __future__ import annotations

import asyncio
import sys
from itertools import islice
from pathlib import Path

from examples.gateway import open_client
from examples.rows import CSV, Row, read_rows
from qlara_async import BulkSummary, OutcomeState


async def main(path: Path, rows: int) -> None:
    async with open_client() as qlara, qlara.bulk(islice(read_rows(path), rows)) as job:
        async for outcome in job:
            if isinstance(outcome.item, Row):  # no message could be made of it
                print(f"line {outcome.item.line}: {outcome.error}")
            elif outcome.state is not OutcomeState.ACCEPTED:
                print(f"row {outcome.index + 1}: {outcome.state}: {outcome.error}")
            if outcome.index % 25 == 24:
                show(job.progress)
    print("Done.")
    show(job.summary)


def show(summary: BulkSummary) -> None:
    states = ", ".join(f"{count} {state}" for state, count in summary.states.items() if count)
    print(f"{summary.done} outcomes ({states}), {summary.per_second:.0f} a second, {summary.elapsed:.1f} s")


if __name__ == "__main__":
    asyncio.run(
        main(
            Path(sys.argv[1]) if len(sys.argv) > 1 else CSV,
            int(sys.argv[2]) if len(sys.argv) > 2 else 100,
        )
    )
