"""A journal and ``kill -9``: a process writes as fast as it can, says what was reported committed, and is killed.

Run as a module it is that process: ``python -m tests.test_journal_kill (traffic | hold) PATH``.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from qlara_async import Channel
from qlara_async.bulk.journal import Journal, JournalWriter, RowState
from qlara_async.errors import JournalLockedError
from qlara_async.protocol.outcomes import OutcomeState

pytestmark = pytest.mark.anyio

TASKS = 32
ENDS = (OutcomeState.ACCEPTED, OutcomeState.REJECTED, OutcomeState.FAILED, OutcomeState.UNKNOWN)
FINAL = {RowState.ACCEPTED, RowState.REJECTED, RowState.INVALID}
AGAIN = {RowState.FAILED, RowState.STARTED}


def start(task: str, path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.test_journal_kill", task, str(path)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def kill(process: subprocess.Popen[str]) -> list[str]:
    """Kill it, and return what it had said and nobody had read; a line that is not complete says nothing."""
    assert process.stdout is not None
    with process:  # not by communicate(), which leaves out what readline() has read ahead
        process.kill()
        rest = process.stdout.read()
    return [line for line in rest.splitlines(keepends=True) if line.endswith("\n")]


def killed_after(lines: int, path: Path) -> list[str]:
    process = start("traffic", path)
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(lines)]
    assert all(said)
    return said + kill(process)


async def test_g5_what_was_reported_committed_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "campaign.db"
    seed = random.randrange(2**32)
    instants = random.Random(seed)
    reported: dict[int, str] = {}
    for round_number in range(8):
        said = killed_after(instants.randrange(1, 1500), path)
        for line in said:
            index, state = line.split()
            reported[int(index)] = state
        with Journal.open(path) as reader:
            found = {entry.index: entry.state.value for entry in reader.outcomes()}
        assert reported.keys() <= found.keys(), (seed, round_number)
        # What follows a state that was reported may be on the disk without having been reported.
        after = {index: (state, found[index]) for index, state in reported.items() if found[index] != state}
        assert all(RowState(state) not in FINAL for state, _ in after.values()), (seed, round_number, after)
        assert len(after) <= TASKS, (seed, round_number, after)
        unreported = found.keys() - reported.keys()
        assert len(unreported) <= TASKS, (seed, round_number)
        async with JournalWriter(path) as journal:
            assert journal.rows == len(found)
            assert journal.in_flight == sum(state == "started" for state in found.values())
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        reported.update(found)
    assert len(reported) > TASKS


async def test_g5_a_second_process_is_refused_naming_the_first_until_that_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "campaign.db"
    process = start("hold", path)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        with pytest.raises(JournalLockedError, match=f"process {process.pid} on ") as caught:
            await JournalWriter(path).open()
        assert (caught.value.pid, caught.value.host) == (process.pid, socket.gethostname())
        with Journal.open(path) as reader:
            assert reader.in_flight == 1
    finally:
        kill(process)
    assert path.with_name("campaign.db.lock").exists()
    async with JournalWriter(path) as journal:
        assert journal.in_flight == 1
    assert [file.name for file in path.parent.iterdir()] == ["campaign.db"]


async def traffic(path: Path) -> None:
    """What a bulk job does to its journal, without the sending: resume, then go on for ever."""
    indexes = count()
    async with JournalWriter(path) as journal:

        async def work(chance: random.Random) -> None:
            while True:
                index = next(indexes)
                entry = await journal.expected(index)
                if entry is not None and entry.state not in AGAIN:
                    continue
                own = f"order-{index}" if index % 2 else journal.mint(index)
                await journal.begin(index, own, Channel.SMS, b"digest")
                say(index, "started")
                state = chance.choice(ENDS)
                await journal.finish(index, state, attempts=1)
                say(index, state.value)

        await asyncio.gather(*(work(random.Random()) for _ in range(TASKS)))


async def hold(path: Path) -> None:
    async with JournalWriter(path) as journal:
        await journal.begin(0, journal.mint(0), Channel.SMS, b"digest")
        os.write(1, b"open\n")
        await asyncio.Event().wait()


def say(index: int, state: str) -> None:
    os.write(1, f"{index} {state}\n".encode())


if __name__ == "__main__":
    asyncio.run({"traffic": traffic, "hold": hold}[sys.argv[1]](Path(sys.argv[2])))
