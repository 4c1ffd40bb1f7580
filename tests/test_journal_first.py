"""G5: a job writes first and acts afterwards: no byte leaves and no outcome is told that is not on the disk."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from qlara_async import BulkJob, OutcomeState, QlaraClient
from qlara_async.bulk.journal import Journal, JournalWriter
from qlara_async.errors import JournalMismatchError, JournalWriteError

from .test_resume import row, rows, run
from .wire import WireGateway, accept, answer, drop, hang

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_task_left")]

LEGACY_ACCEPT = answer(200, b"")
ROUTES: dict[str, dict[str, Any]] = {"universal": {}, "legacy": {"sms_route": "legacy", "batch": 5}}


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "campaign.db"


def writer_of(job: BulkJob) -> JournalWriter:
    assert job._journalled is not None
    return job._journalled._journal


def written(journal: Path) -> dict[int, str]:
    with Journal.open(journal) as read:
        return {entry.index: entry.state.value for entry in read.outcomes()}


class Disk:
    """Holds the journal's thread at the first commit of a job, which draws nothing before."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.held, self.go_on = threading.Event(), threading.Event()

    async def rows(self, count: int) -> AsyncIterator[dict[str, str]]:
        await self.ready.wait()
        for one in rows(count):
            yield one

    async def hold(self, job: BulkJob) -> None:
        await writer_of(job)._ask(lambda store: store._db.set_trace_callback(self._stop))
        self.ready.set()
        while not self.held.is_set():
            await asyncio.sleep(0)

    def _stop(self, statement: str) -> None:
        # Rows that may not be written together are, one by one; what is one transaction by itself has no COMMIT.
        if statement == "COMMIT" or statement.startswith("INSERT INTO row_groups"):
            self.held.set()
            self.go_on.wait()


@pytest.mark.parametrize("route", ROUTES)
async def test_g5_no_byte_leaves_before_its_row_is_on_the_disk_and_the_loop_goes_on_meanwhile(
    route: str, qlara: QlaraClient, gateway: WireGateway, journal: Path
) -> None:
    gateway.default = accept if route == "universal" else LEGACY_ACCEPT
    disk = Disk()
    async with qlara.bulk(disk.rows(5), journal=journal, **ROUTES[route]) as job:
        try:
            await disk.hold(job)
            for _ in range(300):
                await asyncio.sleep(0)
            assert (gateway.connections, gateway.seen) == (0, [])
            assert written(journal) == {}
        finally:
            disk.go_on.set()
        assert [outcome.state async for outcome in job] == ["accepted"] * 5
    assert gateway.seen


@pytest.mark.parametrize("ordered", [False, True])
async def test_g5_an_outcome_is_on_the_disk_before_it_is_told(
    ordered: bool, qlara: QlaraClient, gateway: WireGateway, journal: Path
) -> None:
    gateway.script = [answer(400), answer(403), accept, answer(500), accept, answer(403)]
    source = [*rows(20), {"channel": "FAX"}]
    told = set()
    async with qlara.bulk(source, journal=journal, concurrency=4, ordered=ordered) as job:
        async for outcome in job:
            told.add(outcome.state)
            assert written(journal)[outcome.index] == outcome.state
    assert told == set(OutcomeState) - {OutcomeState.SKIPPED}


@pytest.mark.parametrize("route", ROUTES)
async def test_g5_a_disk_that_fills_up_ends_the_job_and_nothing_was_sent_unjournalled(
    route: str, qlara: QlaraClient, gateway: WireGateway, journal: Path
) -> None:
    gateway.default = accept if route == "universal" else LEGACY_ACCEPT
    told = {}
    with pytest.raises(JournalWriteError, match="the disk is full"):
        async with qlara.bulk(rows(5_000), journal=journal, concurrency=8, **ROUTES[route]) as job:
            async for outcome in job:
                told[outcome.index] = outcome.state.value
                if len(told) == 10:
                    await writer_of(job)._ask(lambda store: store._db.execute("PRAGMA max_page_count = 1").fetchall())
    with Journal.open(journal) as read:
        ids = {entry.message_id for entry in read.outcomes()}
    assert 10 <= len(told) < 5_000
    assert told.items() <= written(journal).items()
    if route == "universal":
        assert set(gateway.message_ids) <= ids
        assert set(gateway.message_ids.values()) == {1}


async def test_g5_a_row_that_was_in_flight_and_changed_is_an_error_before_it_is_sent(
    qlara: QlaraClient, gateway: WireGateway, journal: Path
) -> None:
    gateway.default = hang
    async with qlara.bulk(rows(1), journal=journal):
        while not gateway.seen:
            await asyncio.sleep(0)
    assert written(journal) == {0: "started"}
    gateway.default = drop
    with pytest.raises(JournalMismatchError):
        await run(qlara, [row(0, body="Altro")], journal)
    assert len(gateway.seen) == 1
