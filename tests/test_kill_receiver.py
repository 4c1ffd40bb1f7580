"""A receiver that is killed: SIGKILL at every point of an event's way, with a gateway that delivers again.

``python -m tests.soak receiver --kills 1000`` kills as often as you like.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import sys
import time
from collections import Counter
from pathlib import Path

import aiohttp
import msgspec
import pytest

from qlara_async import QlaraClient, Rcs
from qlara_async.errors import ConnectionFailed
from qlara_async.sandbox import CallbackPolicy, Life, Sandbox

from .inbox_service import TOKEN

pytestmark = pytest.mark.anyio

POINTS = [
    "P1 body read",
    "P2 verified",
    "P3 before commit",
    "P4 committed",
    "P5 leased",
    "P6 in the handler",
    "P7 handled",
    "P8 marked",
]
REPEATING = {"P6 in the handler", "P7 handled"}
SENDERS = ("+391", "+392", "+393")
EVENTS = 12


class Service:
    """The service as a process; started again, it is another process on the same file."""

    def __init__(self, directory: Path) -> None:
        self.inbox = directory / "inbox.db"
        self.log = directory / "log"
        self.process: asyncio.subprocess.Process | None = None
        self.port = 0

    async def start(self, kill_at: str = "", after: int = 0, max_attempts: int = 100) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.inbox_service",
            str(self.inbox),
            str(self.log),
            env={**os.environ, "KILL_AT": kill_at, "KILL_AFTER": str(after), "MAX_ATTEMPTS": str(max_attempts)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        self.port = int(line or b"0")

    def kill(self) -> None:
        assert self.process is not None
        if self.process.returncode is None:
            # Not process.kill(): it reaps a process that has just died, and how it died is lost to who waits for it.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)

    async def dead(self) -> int:
        assert self.process is not None
        return await self.process.wait()

    async def stop(self) -> None:
        """End in an orderly way."""
        if self.process is None or self.process.returncode is not None:
            return
        assert self.process.stdin is not None
        self.process.stdin.close()
        await self.process.wait()

    async def deliver(self, session: aiohttp.ClientSession, number: int) -> bool:
        """Deliver an event once. Tell whether it was acknowledged."""
        source = SENDERS[number % len(SENDERS)]
        body = {"channel": "RCS", "eventType": "INBOUND", "messageId": str(number), "source": source, "text": "ciao"}
        try:
            async with session.post(
                f"http://127.0.0.1:{self.port}/qlara/{TOKEN}",
                data=msgspec.json.encode(body),
                headers={"Content-Type": "application/json"},
            ) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, OSError):
            return False

    def rows(self, sql: str) -> list[tuple[int, ...]]:
        db = sqlite3.connect(self.inbox)
        try:
            return db.execute(sql).fetchall()
        finally:
            db.close()

    async def settle(self) -> None:
        """Wait, without sending anything, until no work is left, or the process is dead."""
        assert self.process is not None
        while self.process.returncode is None and self.rows("SELECT count(*) FROM runs") != [(0,)]:
            await asyncio.sleep(0)

    def lines(self, mark: str) -> list[tuple[str, str]]:
        lines = [line.split() for line in self.log.read_text().splitlines()] if self.log.exists() else []
        return [(source, message_id) for sign, _, source, message_id in lines if sign == mark]


@pytest.fixture
async def service(tmp_path: Path) -> object:
    return Service(tmp_path)


def assert_kept(service: Service, acknowledged: set[int], *, deaths: int, repeating: bool) -> None:
    """Check what is guaranteed, G6, G7 and the order of each lane, after all work was done."""
    began, ended = Counter(service.lines(">")), Counter(service.lines("<"))
    handled = {int(message_id) for _, message_id in ended}
    assert acknowledged <= handled
    assert service.rows("SELECT count(*), count(DISTINCT key) FROM events") == [(len(handled), len(handled))]
    assert service.rows("SELECT count(*) FROM dead") == [(0,)]
    repeats = sum(count - 1 for count in began.values())
    assert repeats <= (deaths * len(SENDERS) if repeating else 0)
    for sender in SENDERS:
        order = [int(message_id) for source, message_id in service.lines(">") if source == sender]
        assert order == sorted(order)


@pytest.mark.parametrize("point", POINTS)
async def test_g6_g7_killed_at_a_point_an_event_is_neither_lost_nor_handled_twice(service: Service, point: str) -> None:
    acknowledged: set[int] = set()
    await service.start(point, after=EVENTS // 2)
    async with aiohttp.ClientSession() as session:
        for number in range(EVENTS):
            if await service.deliver(session, number):
                acknowledged.add(number)
                await service.settle()  # so that only what the point is about is under way
            else:
                break
        assert await service.dead() == -9
        await service.start()
        if acknowledged:
            await service.settle()  # before anything is delivered again
            assert acknowledged <= {int(message_id) for _, message_id in service.lines("<")}
        for number in range(EVENTS):
            assert await service.deliver(session, number)
            assert await service.deliver(session, number)
    await service.settle()
    await service.stop()
    assert_kept(service, set(range(EVENTS)), deaths=1, repeating=point in REPEATING)
    assert len(set(service.lines("<"))) == EVENTS


async def test_g9_a_handler_that_kills_each_process_runs_out_of_attempts(service: Service) -> None:
    async with aiohttp.ClientSession() as session:
        await service.start("P6 in the handler", max_attempts=2)
        await service.deliver(session, 0)
        assert await service.dead() == -9
        await service.start("P6 in the handler", max_attempts=2)
        assert await service.dead() == -9
        await service.start(max_attempts=2)
        assert await service.deliver(session, len(SENDERS))  # the next of its lane
        await service.settle()
    await service.stop()
    assert service.rows("SELECT attempts, error = 'ProcessDied' FROM dead") == [(2, 1)]
    assert [message_id for _, message_id in service.lines(">")] == ["0", "0", "3"]


async def test_g6_a_peer_on_the_same_file_takes_up_what_a_killed_one_leaves(tmp_path: Path) -> None:
    one, two = Service(tmp_path), Service(tmp_path)
    await one.start("P6 in the handler", after=4)
    await two.start()
    async with aiohttp.ClientSession() as session:
        acknowledged = set()
        for number in range(EVENTS):
            if await (one if number % 2 else two).deliver(session, number):
                acknowledged.add(number)
        assert await one.dead() == -9
        await two.settle()
        for number in range(EVENTS):
            assert await two.deliver(session, number)
    await two.settle()
    await two.stop()
    assert_kept(two, acknowledged, deaths=1, repeating=True)
    assert len(set(two.lines("<"))) == EVENTS


class Campaign:
    """A sandbox whose callbacks go to a service that is killed again and again, and delivered again until taken.

    The gateway doubles a fifth of its receipts and lets a third of them overtake each other; customers write between.
    """

    def __init__(self, directory: Path, seed: int) -> None:
        directory.mkdir(exist_ok=True)
        self.service = Service(directory)
        self.sandbox = Sandbox(
            rate_limit=None,
            life=Life(final=0.01, read=0.01),
            callbacks=CallbackPolicy(attempts=8, backoff=0.05, duplicate=0.2, reorder=0.3, record=True),
            seed=seed,
        )
        self.written: list[int] = []
        self.deaths = 0

    async def kill(self, qlara: QlaraClient, point: str, after: int, patience: float) -> None:
        """Start the service, send and write to it until it dies at the point, or kill it after a while."""
        service = self.service
        await self._open(point, after)
        assert service.process is not None
        async with qlara.bulk(rcs() for _ in range(8)) as job:
            assert [outcome.state async for outcome in job] == ["accepted"] * 8
        deadline = time.monotonic() + patience
        while service.process.returncode is None and time.monotonic() < deadline:
            await self._write()
        service.kill()
        assert await service.dead() == -9
        self.deaths += 1

    async def finish(self) -> int:
        """Let the service live, deliver what is outstanding, and check; returns the receipts acknowledged."""
        await self._open("", 0)
        while not await self._write():
            continue
        await self.sandbox.idle()
        await self.service.settle()
        await self.service.stop()
        return self._check()

    async def _open(self, point: str, after: int) -> None:
        await self.service.start(point, after)
        self.sandbox.register(f"http://127.0.0.1:{self.service.port}/qlara/{TOKEN}")

    async def _write(self) -> bool:
        """Deliver the next message of a customer; one that was not taken comes again."""
        number = len(self.written)
        source = SENDERS[number % len(SENDERS)]
        try:
            status = await self.sandbox.inbound(
                channel="RCS", source=source, destination="+39", text="ciao", message_id=str(number)
            )
        except ConnectionFailed:
            return False
        if status == 200:
            self.written.append(number)
        return status == 200

    def _check(self) -> int:
        """Check G6, G7 and the order of each lane."""
        service = self.service
        began = [(*source.split("/"), message_id) for source, message_id in service.lines(">") if "/" in source]
        ended = {(source.split("/")[0], message_id) for source, message_id in service.lines("<") if "/" in source}
        acked = {(kind, message_id) for message_id, kind, _ in self.sandbox.acked}
        assert acked <= ended, "an acknowledged receipt was not handled"
        assert len(began) == len(set(began)), "a receipt was handled twice within one life of the process"
        inbound = {message_id for source, message_id in service.lines("<") if "/" not in source}
        assert set(map(str, self.written)) <= inbound, "an acknowledged message was not handled"
        for sender in SENDERS:
            order = [int(message_id) for source, message_id in service.lines(">") if source == sender]
            assert order == sorted(order), "a lane was reordered"
            assert len(order) - len(set(order)) <= self.deaths, "a message was handled twice without a death"
        assert service.rows("SELECT count(*) FROM dead") == [(0,)]
        return len(acked) + len(self.written)


def rcs() -> Rcs:
    return Rcs(destination="+393401234567", agent_id=1, body="Ciao")


async def test_g6_g7_the_sandbox_delivers_again_to_a_receiver_killed_at_each_point(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, seed=1)
    async with campaign.sandbox as sandbox, QlaraClient("k", base_url=sandbox.url, rate_limit=None) as qlara:
        sandbox.api_key = "k"
        for number, point in enumerate(POINTS):
            await campaign.kill(qlara, point, after=3 + number, patience=2.0)
        assert await campaign.finish() > 0
    assert campaign.deaths == len(POINTS)
