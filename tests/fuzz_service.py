"""A server with a receiver to be attacked, run by ``tests.fuzz`` as a program: ``python -m tests.fuzz_service``.

It prints its port, and then a line of JSON for each line it reads: what it has logged that it should not, its memory,
and what it has stored. It ends when its input ends.
"""

from __future__ import annotations

import asyncio
import json
import logging
import resource
import sys
from pathlib import Path

from aiohttp import web

from qlara_async.webhooks import Context, Delivery, MemoryInbox, UrlToken, WebhookReceiver

TOKEN = "fuzz-token-0123456789"
READ_TIMEOUT = 0.3


class Watch(logging.Handler):
    """Counts tracebacks, and records that hold the token."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.tracebacks: list[str] = []
        self.leaks: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info or record.exc_text or record.stack_info:
            text = self.format(record)
            # aiohttp's own, on paths that are not the receiver's: a sender that expects 100 Continue has hung up. And
            # asyncio's in development mode, which tells of each connection that was reset.
            if "_default_expect_handler" not in text and (record.name, record.levelno) != ("asyncio", logging.DEBUG):
                self.tracebacks.append(text[-2000:])
        shown = f"{record.getMessage()} {vars(record)}"
        if TOKEN in shown:
            self.leaks.append(shown[:2000])


def resident() -> int:
    """Return KiB of memory held: now where /proc tells, else at most so far."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize() // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


async def main() -> None:
    watch = Watch()
    logging.basicConfig(level=logging.DEBUG, handlers=[watch])
    receiver = WebhookReceiver(
        auth=UrlToken(TOKEN), inbox=MemoryInbox(allow_loss=True), read_timeout=READ_TIMEOUT, max_body=65536
    )

    @receiver.on_delivery()
    async def delivered(event: Delivery, ctx: Context) -> None: ...

    app = web.Application()
    app.add_subapp("/qlara", receiver.app())
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    print(runner.addresses[0][1], flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        stats = receiver.stats()
        told = {"memory": resident(), "accepted": stats.accepted, "refused": stats.refused}
        print(json.dumps({**told, "tracebacks": watch.tracebacks[:3], "leaks": watch.leaks[:3]}), flush=True)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
