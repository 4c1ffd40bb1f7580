"""From a file of messages to dispatched callbacks, over real HTTP: ``python -m examples.flight``.

Streams a CSV file through ``client.bulk`` to a sandbox, under the rate limit, while an aiohttp service with the mounted
receiver takes the callbacks; ends with a table of what happened.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from aiohttp import web
from rich.console import Console

from examples.logbook import Flight, Logbook, report
from examples.progress import pace, progress_on
from examples.rows import CSV, UnreadableFileError, read_rows
from examples.serving import serve
from examples.terminal import print_in_any_encoding
from qlara_async import QlaraClient, RateLimit
from qlara_async.sandbox import CallbackPolicy, Fault, Life, Sandbox
from qlara_async.webhooks import Delivery, MemoryInbox, Read, UrlToken, WebhookReceiver

RAISED = RateLimit(per_second=500, per_minute=30_000)

REFUSALS = 3
LOST_ANSWERS = 2
PLANTED = (
    f"Planted by this example, to show what becomes of them: {REFUSALS} refusals, {LOST_ANSWERS} lost answers, "
    "messages that fail or expire, and callbacks that come twice or late."
)

console = Console(highlight=False, markup=False)


def main(
    csv: Annotated[
        Path, typer.Option(help="The file to send: CSV in UTF-8.", show_default="examples/messages.csv")
    ] = CSV,
    production_limits: Annotated[
        bool,
        typer.Option("--production-limits", help="Keep to 50 messages a second and 1,000 a minute: takes 2 minutes."),
    ] = False,
) -> None:
    """Send a CSV file to the sandbox, and take the callbacks."""
    print_in_any_encoding()
    try:
        asyncio.run(fly(csv, RateLimit.PRODUCTION if production_limits else RAISED))
    except UnreadableFileError as error:
        sys.exit(str(error))


async def fly(path: Path, limit: RateLimit) -> None:
    """Bring up a gateway, a service and a client; send the file; wait for the last callback; report."""
    total = sum(1 for _ in read_rows(path))
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
        async with progress_on(
            console,
            total=total,
            pace=lambda left: pace(sandbox.arrivals, time.monotonic(), limit, left=left),
            callbacks=book.callbacks.total,
        ) as advance:
            async with qlara.bulk(read_rows(path)) as job:
                async for outcome in job:
                    book.note(outcome)
                    advance()
            await sandbox.idle()
            await receiver.idle()
        elapsed = time.monotonic() - began
        report(console, Flight(book, job.summary, receiver.stats(), sandbox, limit, elapsed))
        console.print(PLANTED)


def make_gateway(limit: RateLimit) -> Sandbox:
    """Make a sandbox with some of what real life holds: refusals, answers that get lost, repeated callbacks."""
    sandbox = Sandbox(
        rate_limit=limit,
        life=Life(final=0.3, read=0.3, errors=0.03, expiries=0.01, reads=0.6),
        callbacks=CallbackPolicy(duplicate=0.05, reorder=0.1),
    )
    sandbox.fault(None, Fault.ERROR_BEFORE, status=422, times=REFUSALS)
    sandbox.fault(None, Fault.DROP_AFTER, times=LOST_ANSWERS)
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


if __name__ == "__main__":
    typer.run(main)
