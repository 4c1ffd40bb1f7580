"""How `examples.flight` shows where it stands: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task
from rich.table import Column
from rich.text import Text

from qlara_async import RateLimit

EVERY = 10.0
"""Seconds between two plain lines."""

Pace = Callable[[int], str]
"""Says how fast it goes, given how many rows are left."""


def pace(arrivals: Sequence[float], now: float, limit: RateLimit, *, left: int) -> str:
    """Count the requests of the last second, or say that the limit of the minute is used up for now."""
    count = len(arrivals) - bisect_right(arrivals, now - 1.0)
    oldest = bisect_right(arrivals, now - 60.0)
    # Bulk leaves a share of each minute to single sends: it waits before the minute is full.
    if count or not left or len(arrivals) - oldest < 0.9 * limit.per_minute:
        return f"{count:3}/s"
    return f"waiting for the minute's limit ({max(0.0, arrivals[oldest] + 60.0 - now):.0f} s)"


def progress_on(
    console: Console, *, total: int, pace: Pace, callbacks: Callable[[], int]
) -> AbstractAsyncContextManager[Callable[[], None]]:
    """Show rows, pace and callbacks; yields what is to be called after each row."""
    if console.is_terminal and not console.is_dumb_terminal:
        return bar(console, total=total, pace=pace, callbacks=callbacks)
    return lines(console, total=total, pace=pace, callbacks=callbacks)


@asynccontextmanager
async def bar(
    console: Console, *, total: int, pace: Pace, callbacks: Callable[[], int]
) -> AsyncIterator[Callable[[], None]]:
    """Show a bar that is drawn anew in place."""
    columns = (
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        LiveColumn(lambda task: pace(int(task.remaining or 0))),
        LiveColumn(lambda task: f"{callbacks():,} callbacks"),
    )
    with Progress(*columns, console=console, expand=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda: progress.advance(task)


@asynccontextmanager
async def lines(
    console: Console, *, total: int, pace: Pace, callbacks: Callable[[], int], every: float = EVERY
) -> AsyncIterator[Callable[[], None]]:
    """Print a line every few seconds, also while nothing moves."""
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1

    async def tell() -> None:
        while True:
            await asyncio.sleep(every)
            console.print(f"{done:,} of {total:,} rows, {pace(total - done).strip()}, {callbacks():,} callbacks")

    console.print(f"Sending {total:,} rows ...")
    telling = asyncio.create_task(tell())
    try:
        yield advance
    finally:
        telling.cancel()


class LiveColumn(ProgressColumn):
    """A text made anew at each refresh."""

    def __init__(self, text: Callable[[Task], str]) -> None:
        super().__init__(table_column=Column(no_wrap=True))
        self._text = text

    def render(self, task: Task) -> Text:
        """Return the text of now."""
        return Text(self._text(task), style="progress.data.speed")
