"""A receiver that is killed: SIGKILL at every point of an event's way, with a gateway that delivers again.

``KILL_ROUNDS=1000 python -m pytest tests/test_kill_receiver.py -k soak --timeout 36000`` kills at random as often as
you like.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
import sys
from collections import Counter
from pathlib import Path

import aiohttp
import msgspec
import pytest

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

    async def start(self, kill_at: str = "", after: int = 0) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.inbox_service",
            str(self.inbox),
            str(self.log),
            env={**os.environ, "KILL_AT": kill_at, "KILL_AFTER": str(after)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        self.port = int(line or b"0")

    def kill(self) -> None:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()

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


async def test_g6_g7_killed_at_random_again_and_again_soak(service: Service) -> None:
    rounds = int(os.environ.get("KILL_ROUNDS", "5"))
    chance = random.Random(int(os.environ.get("KILL_SEED", "7")))
    acknowledged: set[int] = set()
    number = 0
    async with aiohttp.ClientSession() as session:
        for _ in range(rounds):
            await service.start(chance.choice(POINTS), after=chance.randrange(30))
            assert service.process is not None
            for _ in range(chance.randrange(1, 40)):
                if await service.deliver(session, number):
                    acknowledged.add(number)
                elif service.process.stdout is not None and service.process.stdout.at_eof():
                    break  # dead; the gateway delivers this one again
                else:
                    continue
                number += 1
            service.kill()
            await service.dead()
        await service.start()
        while not await service.deliver(session, number):
            continue
    await service.settle()
    await service.stop()
    assert_kept(service, acknowledged | {number}, deaths=rounds + 1, repeating=True)
