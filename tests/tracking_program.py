"""A process for tests to kill: it tracks messages at a sandbox, and notes each outcome it is told in a file.

Usage: ``python -m tests.tracking_program URL KEY STORE LOG COUNT [HANG]``; it sends COUNT messages, and tells by
``sent`` and ``done`` on its standard output how far it is. With HANG its handler never returns.
"""

from __future__ import annotations

import asyncio
import os
import sys

from qlara_async import QlaraClient, Sms
from qlara_async.tracking import DeliveryTracker, StatusChange


async def main(url: str, key: str, store: str, log: str, count: str, hang: str = "") -> None:
    notes = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    async with (
        QlaraClient(key, base_url=url, rate_limit=None) as qlara,
        DeliveryTracker(qlara, store, poll_after=0.2, max_interval=0.5) as tracker,
    ):

        @tracker.on_status("delivered", name="note")
        async def note(change: StatusChange) -> None:
            os.write(notes, f"{change.message_id}\n".encode())
            if hang:
                await asyncio.Event().wait()

        for _ in range(int(count)):
            await qlara.send(Sms(destination="+393401234567", sender="ACME", body="Ciao"))
        await tracker.idle()
        print("sent", flush=True)
        while tracker.unfinished:
            await asyncio.sleep(0.05)
        await tracker.idle()
        print("done", flush=True)
        await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
