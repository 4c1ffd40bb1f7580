"""From a file of messages to dispatched callbacks, over real HTTP: ``python -m examples.flight``.

Streams a CSV file through ``client.bulk`` to a sandbox, under the rate limit, while an aiohttp service with the mounted
receiver takes the callbacks; ends with a table of what happened.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from aiohttp import web
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from examples.logbook import Flight, Logbook, report
from examples.rows import CSV, read_rows
from examples.serving import serve
from qlara_async import QlaraClient, RateLimit
from qlara_async.sandbox import CallbackPolicy, Fault, Life, Sandbox
from qlara_async.webhooks import Delivery, MemoryInbox, Read, UrlToken, WebhookReceiver

RAISED = RateLimit(per_second=500, per_minute=30_000)

console = Console(highlight=False, markup=False)


def main(
    csv: Annotated[Path, typer.Option(help="The file to send.", exists=True, dir_okay=False)] = CSV,
    production_limits: Annotated[
        bool,
        typer.Option("--production-limits", help="Keep to 50 messages a second and 1,000 a minute: takes 2 minutes."),
    ] = False,
) -> None:
    """Send a CSV file to the sandbox, and take the callbacks."""
    asyncio.run(fly(csv, RateLimit.PRODUCTION if production_limits else RAISED))


async def fly(path: Path, limit: RateLimit) -> None:
    """Bring up a gateway, a service and a client; send the file; wait for the last callback; report."""
    book = Logbook()
    token = UrlToken.generate()
    receiver = make_receiver(token, book)
    service = web.Application()
    service.add_subapp("/qlara", receiver.app())
    began = time.monotonic()
    async with (
        make_gateway(limit) as sandbox,
        serve(service) as service_url,
        QlaraClient(sandbox.api_key, base_url=sandbox.url, rate_limit=limit) as qlara,
    ):
        await qlara.webhooks.register(f"{service_url}/qlara/{token}")
        with progress_of(book, sandbox, total=sum(1 for _ in read_rows(path))) as advance:
            async with qlara.bulk(read_rows(path)) as job:
                async for outcome in job:
                    book.note(outcome)
                    advance()
            await sandbox.idle()
            await receiver.idle()
        elapsed = time.monotonic() - began
        report(console, Flight(book, job.summary, receiver.stats(), sandbox, limit, elapsed))


def make_gateway(limit: RateLimit) -> Sandbox:
    """Make a sandbox with some of what real life holds: refusals, answers that get lost, repeated callbacks."""
    sandbox = Sandbox(
        rate_limit=limit,
        life=Life(final=0.3, read=0.3, errors=0.03, expiries=0.01, reads=0.6),
        callbacks=CallbackPolicy(duplicate=0.05, reorder=0.1),
    )
    sandbox.fault(None, Fault.ERROR_BEFORE, status=422, times=3)
    sandbox.fault(None, Fault.DROP_AFTER, times=2)
    return sandbox


def make_receiver(token: str, book: Logbook) -> WebhookReceiver:
    """Make a receiver whose handlers write into the logbook."""
    receiver = WebhookReceiver(auth=UrlToken(token), inbox=MemoryInbox(allow_loss=True))

    @receiver.on_delivery()
    async def delivered(event: Delivery) -> None:
        book.deliveries[event.message_id] += 1
        book.callbacks[event.status, (event.description or "").lower()] += 1

    @receiver.on_read()
    async def read(event: Read) -> None:
        book.callbacks["READ", ""] += 1

    return receiver


@contextmanager
def progress_of(book: Logbook, sandbox: Sandbox, *, total: int) -> Iterator[Callable[[], None]]:
    """Show rows, requests in the last second, and callbacks; yield what is to be called after each row."""
    if not console.is_terminal:
        console.print(f"Sending {total:,} rows …")
        yield lambda: None
        return
    columns = (
        TextColumn("Sending"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        LiveColumn(lambda: f"{requests_in_last_second(sandbox):3}/s"),
        LiveColumn(lambda: f"{book.callbacks.total():5,} callbacks"),
    )
    with Progress(*columns, console=console, expand=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda: progress.advance(task)


def requests_in_last_second(sandbox: Sandbox) -> int:
    return len(sandbox.arrivals) - bisect_right(sandbox.arrivals, time.monotonic() - 1.0)


class LiveColumn(ProgressColumn):
    """A text made anew at each refresh."""

    def __init__(self, text: Callable[[], str]) -> None:
        super().__init__()
        self._text = text

    def render(self, task: Task) -> Text:
        """Return the text of now."""
        return Text(self._text(), style="progress.data.speed")


if __name__ == "__main__":
    typer.run(main)
