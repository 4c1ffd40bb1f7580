"""Sends a CSV file and shows how far it is: ``python -m examples.bulk_progress [FILE [ROWS]]``.

Sends the first 100 rows of ``messages.csv`` unless told otherwise: to a sandbox, or to the gateway if ``QLARA_API_KEY``
is set.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from itertools import islice
from pathlib import Path

from examples.gateway import open_client
from examples.rows import CSV, Row, UnreadableFileError, read_rows
from examples.terminal import print_in_any_encoding
from qlara_async import BulkSummary, OutcomeState
from qlara_async.errors import QlaraError


async def main(path: Path, rows: int) -> None:
    async with open_client() as qlara, qlara.bulk(islice(read_rows(path), rows)) as job:
        async for outcome in job:
            if outcome.state is OutcomeState.INVALID and isinstance(outcome.item, Row):
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
    parser = argparse.ArgumentParser(prog="python -m examples.bulk_progress")
    parser.add_argument("file", type=Path, nargs="?", default=CSV, help="the CSV file to send")
    parser.add_argument("rows", type=int, nargs="?", default=100, help="how many of its rows (default: %(default)s)")
    arguments = parser.parse_args()
    print_in_any_encoding()
    try:
        asyncio.run(main(arguments.file, max(0, arguments.rows)))
    except (UnreadableFileError, QlaraError) as error:  # such as a key that the gateway refuses
        sys.exit(str(error))
