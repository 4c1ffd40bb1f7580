"""`known_ids_only` with a durable inbox: what was acknowledged and waits outlives the process (G6)."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from qlara_async.models.events import Delivery
from qlara_async.testing import VirtualClock
from qlara_async.webhooks import SqliteInbox, UrlToken, WebhookReceiver

from .test_sqlite_inbox import die, until

pytestmark = pytest.mark.anyio

TOKEN = "right-token-0123456789"


class Process:
    """A receiver on a file, with all it knows and has handled."""

    def __init__(self, path: Path, clock: VirtualClock, **options: Any) -> None:
        self.known: set[str] = set()
        self.handled: list[str | None] = []
        self.clock = clock
        self.inbox = SqliteInbox(path, clock=clock, **options)
        self.receiver = WebhookReceiver(
            auth=UrlToken(TOKEN),
            inbox=self.inbox,
            clock=clock,
            known_ids_only=lambda _, message_id: message_id in self.known,
        )

        @self.receiver.on_delivery(name="delivered")
        async def delivered(event: Delivery) -> None:
            self.handled.append(event.message_id)

    async def post(self, *message_ids: str, **fields: Any) -> int:
        events = [
            {"channel": "SMS", "eventType": "DELIVERY", "messageId": message_id, "statusCode": 3} | fields
            for message_id in message_ids
        ]
        return (await self.receiver.ingest("POST", f"/{TOKEN}", {}, msgspec.json.encode(events))).status

    async def until(self, condition: Callable[[], object], seconds: int = 200) -> None:
        """Let time go on until a condition holds; what the inbox's thread has to do takes no time."""
        for _ in range(seconds):
            await self.clock.advance(1.0)
            await self.settle()
            if condition():
                return
        raise AssertionError("it never came to be")

    async def settle(self) -> None:
        for _ in range(3):
            room = self.receiver._intake.waiting_room
            assert room is not None
            while room._asking is not None:
                await asyncio.sleep(0)
            assert self.inbox._writer is not None
            await self.inbox._writer.call(lambda store: None)


class Processes:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = VirtualClock(jump=False)
        self.all: list[Process] = []

    async def start(self, *known: str, **options: Any) -> Process:
        process = Process(self.path, self.clock, **options)
        process.known = {*known}
        self.all.append(process)
        await process.receiver.start()
        return process

    def held(self) -> int:
        with closing(sqlite3.connect(self.path)) as db:
            return int(db.execute("SELECT count(*) FROM held").fetchone()[0])


@pytest.fixture
async def processes(tmp_path: Path, no_task_left: None) -> AsyncIterator[Processes]:
    processes = Processes(tmp_path / "inbox.db")
    yield processes
    for process in processes.all:
        await process.receiver.aclose()


async def test_g6_g7_a_receipt_that_waits_survives_a_crash_and_is_handled_once(processes: Processes) -> None:
    killed = await processes.start()
    assert [await killed.post("early"), await killed.post("early", "made-up")] == [200, 200]
    assert (killed.receiver.stats().held, processes.held()) == (3, 3)
    await die(killed.inbox)
    next_one = await processes.start("early")
    await next_one.until(lambda: next_one.receiver.stats().unknown_ids)
    assert (next_one.handled, killed.handled) == (["early"], [])
    assert (next_one.receiver.stats().duplicates, next_one.receiver.stats().held, processes.held()) == (1, 0, 0)


KILLED = """
import asyncio, os, signal, sys
from qlara_async.webhooks import SqliteInbox, UrlToken, WebhookReceiver

async def main(path: str, token: str, body: str) -> None:
    inbox = SqliteInbox(path)
    receiver = WebhookReceiver(auth=UrlToken(token), inbox=inbox, known_ids_only=lambda channel, message_id: False)
    print((await receiver.ingest("POST", f"/{token}", {}, body.encode())).status, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_g6_a_receipt_that_waits_survives_sigkill(processes: Processes) -> None:
    body = '{"channel":"SMS","eventType":"DELIVERY","messageId":"early","statusCode":3}'
    program = sys.executable, "-c", KILLED, str(processes.path), TOKEN, body
    killed = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
    assert (await killed.communicate())[0] == b"200\n"
    assert (killed.returncode, processes.held()) == (-signal.SIGKILL, 1)
    next_one = await processes.start("early")
    await next_one.until(lambda: next_one.handled)
    assert (next_one.handled, processes.held()) == (["early"], 0)


async def test_g6_a_receipt_that_waits_survives_a_shutdown(processes: Processes) -> None:
    closed = await processes.start()
    assert await closed.post("early") == 200
    await closed.receiver.aclose()
    assert (closed.receiver.stats().held, closed.receiver.stats().unknown_ids) == (1, 0)
    next_one = await processes.start("early")
    await next_one.until(lambda: next_one.handled, seconds=5)
    assert next_one.handled == ["early"]


async def test_g6_what_a_dead_process_held_is_taken_up_by_a_peer_within_15_seconds(processes: Processes) -> None:
    killed, peer = await processes.start(), await processes.start("early")
    assert await killed.post("early") == 200
    await peer.until(lambda: True)
    assert peer.handled == []  # it has an owner
    await die(killed.inbox)
    await peer.until(lambda: peer.handled, seconds=15)
    assert peer.handled == ["early"]


async def test_g6_what_cannot_be_kept_is_not_acknowledged(processes: Processes) -> None:
    process = await processes.start()
    processes.path.unlink()
    assert await process.post("early") == 503
    assert process.receiver.stats().held == 0


async def test_g6_a_known_receipt_is_not_dropped_because_the_inbox_is_full(processes: Processes) -> None:
    process = await processes.start(max_pending=1)
    ended = asyncio.Event()

    @process.receiver.on_delivery(name="slow")
    async def slow(event: Delivery) -> None:
        await ended.wait()

    process.known = {"first"}
    assert [await process.post("first"), await process.post("early")] == [200, 200]
    process.known.add("early")
    for _ in range(200):
        await process.clock.advance(1.0)
        await process.settle()
    assert (process.handled, process.receiver.stats().held) == (["first"], 1)
    ended.set()
    await process.until(lambda: process.handled == ["first", "early"])


async def test_g6_a_process_takes_up_no_more_than_it_has_room_for(processes: Processes) -> None:
    for life in range(3):
        killed = await processes.start()
        for page in range(4):
            assert await killed.post(*(f"made-up-{life}-{page}-{place}" for place in range(1000))) == 200
        await die(killed.inbox)
    process = await processes.start()
    await process.until(lambda: process.receiver.stats().held == 10_000, seconds=60)
    for _ in range(10):
        await process.clock.advance(1.0)
        await process.settle()
    assert process.receiver.stats().held == 10_000
    process.known = {"made-up-2-3-999"}  # the last one: it is still on the shelf
    assert processes.held() == 12_000
    await process.until(lambda: process.receiver.stats().unknown_ids == 11_999, seconds=300)
    assert (process.handled, processes.held()) == (["made-up-2-3-999"], 0)


async def test_a_file_of_an_earlier_version_gets_the_shelf(processes: Processes) -> None:
    await (await processes.start()).receiver.aclose()
    with closing(sqlite3.connect(processes.path)) as db:
        db.execute("DROP TABLE held")
    process = await processes.start()
    assert (await process.post("early"), processes.held()) == (200, 1)


async def test_what_could_not_be_deleted_is_deleted_later(processes: Processes) -> None:
    process = await processes.start(busy_timeout=0.0)
    assert await process.post("made-up") == 200
    with closing(sqlite3.connect(processes.path)) as db:
        db.execute("BEGIN IMMEDIATE")
        await process.until(lambda: process.receiver.stats().unknown_ids)
        db.execute("ROLLBACK")
    assert processes.held() == 1
    assert (await process.post("another"), processes.held()) == (200, 1)


async def test_g8_made_up_receipts_leave_nothing_behind(processes: Processes) -> None:
    process = await processes.start()
    for number in range(50):
        assert await process.post(*(f"made-up-{number}-{place}" for place in range(20))) == 200
    assert (processes.held(), process.receiver.stats().accepted) == (1000, 0)
    await process.until(lambda: process.receiver.stats().unknown_ids == 1000)
    assert (processes.held(), process.receiver.stats().accepted, process.handled) == (0, 0, [])


async def test_gdpr_an_erased_number_leaves_the_receipts_that_wait(processes: Processes) -> None:
    process = await processes.start()
    assert await process.post("erased", destination="+393401234567") == 200
    assert await process.post("kept", destination="+393401234568") == 200
    erased = await process.inbox.erase("+393401234567")
    assert (erased.removed["events"], processes.held()) == (1, 1)
    assert b"393401234567" not in processes.path.read_bytes()
    process.known = {"erased", "kept"}
    await process.until(lambda: process.receiver.stats().held == 0)
    await until(lambda: process.handled)
    assert process.handled == ["kept"]


async def test_a_sender_that_hangs_up_leaves_one_receipt(processes: Processes) -> None:
    process = await processes.start()
    sending = asyncio.create_task(process.post("early"))
    await asyncio.sleep(0)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await process.receiver._intake.quiet()
    await process.settle()
    assert (process.receiver.stats().held, processes.held()) == (1, 1)
