"""A service with a durable inbox that can be told where to die: run by ``test_kill_receiver``, as a program.

``python -m tests.inbox_service <inbox> <log>``; it prints its port. The environment variable ``KILL_AT`` names a point,
and ``KILL_AFTER`` how often it is passed before the process kills itself there; ``MAX_ATTEMPTS`` is the inbox's
``max_attempts``. The points are seams of the library
that this program wraps; the library knows nothing of them. A line of the log is written, and on the disk, before a
handler begins (``>``) and after it has ended (``<``).
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from aiohttp import web

from qlara_async.webhooks import Context, Delivery, Inbound, Read, SqliteInbox, UrlToken, WebhookReceiver
from qlara_async.webhooks.exchange import Answer, Head
from qlara_async.webhooks.inbox import Row, Verdict, Work

TOKEN = "kill-token-0123456789"
HANDLERS = ("first", "second")


class KillSwitch:
    def __init__(self, point: str, after: int) -> None:
        self.point = point
        self.left = after

    def pass_by(self, point: str) -> None:
        if point != self.point:
            return
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)


class MortalInbox(SqliteInbox):
    """Dies around its commits, its leases and its marks."""

    switch: KillSwitch

    async def put(self, rows: Sequence[Row]) -> Sequence[Verdict]:
        self.switch.pass_by("P2 verified")
        if self.switch.point == "P3 before commit" and self._writer is not None:
            await self._writer.call(lambda store: store.db.set_trace_callback(self._before_commit))
        verdicts = await super().put(rows)
        self.switch.pass_by("P4 committed")
        return verdicts

    def _before_commit(self, statement: str) -> None:
        # Of the statement that is a transaction by itself SQLite tells at its beginning, and at each of its parts.
        if statement == "COMMIT" or statement.startswith("INSERT INTO plain_groups"):
            self.switch.pass_by("P3 before commit")

    async def take(self) -> Work:
        work = await super().take()
        self.switch.pass_by("P5 leased")
        return work

    async def finish(self, work: Work, error: BaseException | None) -> None:
        self.switch.pass_by("P7 handled")
        await super().finish(work, error)
        if self.switch.point == "P8 marked" and self._writer is not None:
            await self._writer.call(lambda store: None)
            self.switch.pass_by("P8 marked")


def service(inbox_path: Path, log_path: Path, switch: KillSwitch) -> web.Application:
    inbox = MortalInbox(inbox_path, retry_wait=0.05, max_attempts=int(os.environ.get("MAX_ATTEMPTS", "100")))
    inbox.switch = switch
    receiver = WebhookReceiver(auth=UrlToken(TOKEN), inbox=inbox, order_by="sender")
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def register(name: str) -> None:
        @receiver.on_inbound(lambda event: name == "first" or event.text.endswith("!"), name=name)
        async def handler(event: Inbound, ctx: Context) -> None:
            os.write(log, f"> {name} {event.source} {event.message_id}\n".encode())
            await asyncio.sleep(0)
            switch.pass_by("P6 in the handler")
            os.write(log, f"< {name} {event.source} {event.message_id}\n".encode())

    async def receipt(event: Delivery | Read) -> None:
        about = f"{type(event).__name__.upper()}/{os.getpid()} {event.message_id}"
        os.write(log, f"> receipt {about}\n".encode())
        await asyncio.sleep(0)
        switch.pass_by("P6 in the handler")
        os.write(log, f"< receipt {about}\n".encode())

    for name in HANDLERS:
        register(name)
    receiver.on_delivery(name="delivered")(receipt)
    receiver.on_read(name="read")(receipt)
    intake = receiver._intake
    accept = intake.accept

    async def mortal_accept(head: Head, body: bytes) -> Answer:
        switch.pass_by("P1 body read")
        return await accept(head, body)

    intake.accept = mortal_accept  # type: ignore[method-assign]
    app = web.Application()
    app.add_subapp("/qlara", receiver.app())
    return app


async def main(inbox_path: Path, log_path: Path) -> None:
    switch = KillSwitch(os.environ.get("KILL_AT", ""), int(os.environ.get("KILL_AFTER", "0")))
    runner = web.AppRunner(service(inbox_path, log_path, switch))
    # Announced before it starts: work that is left is taken up, and may kill, without any traffic.
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
