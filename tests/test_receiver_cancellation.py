"""With ``handler_cancellation=True`` aiohttp cancels a handler whose sender hangs up: what has arrived is kept."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import pytest
from aiohttp import web

from qlara_async.models.events import Event
from qlara_async.webhooks import MemoryInbox, UrlToken, WebhookReceiver
from qlara_async.webhooks.inbox import Row, Verdict

from .test_receiver import TOKEN, delivery, head, note

pytestmark = pytest.mark.anyio


class SlowInbox(MemoryInbox):
    """Waits for ``commit`` before or after it stores, as a disk does."""

    def __init__(self, *, stores_first: bool) -> None:
        super().__init__(allow_loss=True)
        self.stores_first = stores_first
        self.reached = asyncio.Event()
        self.commit = asyncio.Event()

    async def put(self, rows: Sequence[Row]) -> Sequence[Verdict]:
        stored = await super().put(rows) if self.stores_first else None
        self.reached.set()
        await self.commit.wait()
        return stored or await super().put(rows)


async def serve(receiver: WebhookReceiver) -> tuple[web.AppRunner, int]:
    runner = web.AppRunner(receiver.app(), handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, runner.addresses[0][1]


def with_length(body: bytes) -> bytes:
    return head(f"/{TOKEN}", f"Content-Length: {len(body)}") + body


async def turn_until_gone(runner: web.AppRunner) -> None:
    assert runner.server is not None
    while runner.server.connections:
        await asyncio.sleep(0)


def of_ours(events: list[Event]) -> list[str | None]:
    return [event.message_id for event in events]


def complaints(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What was logged as wrong; asyncio's warning of a slow turn of the loop tells how busy the machine is."""
    records = [record for record in caplog.records if record.levelno >= logging.WARNING]
    return [record for record in records if (record.name, record.levelno) != ("asyncio", logging.WARNING)]


@pytest.mark.parametrize("stores_first", [False, True])
async def test_an_event_whose_sender_hangs_up_during_the_commit_is_stored_and_handled_once(
    stores_first: bool, no_task_left: None, caplog: pytest.LogCaptureFixture
) -> None:
    inbox = SlowInbox(stores_first=stores_first)
    receiver = WebhookReceiver(auth=UrlToken(TOKEN), inbox=inbox)
    events = note(receiver)
    runner, port = await serve(receiver)
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(with_length(delivery()))
    await inbox.reached.wait()
    writer.transport.abort()
    await turn_until_gone(runner)
    draining = asyncio.create_task(receiver.drain())
    await asyncio.sleep(0)
    inbox.commit.set()
    await draining
    assert of_ours(events) == ["m1"]
    assert receiver.stats().received == 1
    await runner.cleanup()
    assert not complaints(caplog)


async def test_a_sender_may_hang_up_at_any_turn_of_the_loop(
    no_task_left: None, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = WebhookReceiver(auth=UrlToken(TOKEN), inbox=MemoryInbox(allow_loss=True))
    events = note(receiver)
    runner, port = await serve(receiver)
    for turns in range(25):
        for pieces in ([with_length(delivery(f"whole-{turns}"))], [head(f"/{TOKEN}", "Content-Length: 9"), b"{"]):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            for piece in pieces:
                writer.write(piece)
            for _ in range(turns):
                await asyncio.sleep(0)
            writer.transport.abort()
    await turn_until_gone(runner)
    await receiver.idle()
    handled = of_ours(events)
    assert handled
    assert len(handled) == len(set(handled)) == receiver.stats().accepted
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(with_length(delivery("at last")))
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()
    await writer.wait_closed()
    await runner.cleanup()
    assert not complaints(caplog)
