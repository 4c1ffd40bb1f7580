"""G5: a bulk job with a journal, killed with SIGKILL and run again until it is done, at a gateway with faults."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from qlara_async.sandbox import Fault, Faults, Sandbox

from .bulk_program import POINTS

pytestmark = pytest.mark.anyio

COUNT = 60
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
async def gateway() -> AsyncIterator[Sandbox]:
    async with Sandbox(rate_limit=None) as sandbox:
        yield sandbox


async def start(sandbox: Sandbox, journal: Path, *kill: str, count: int = COUNT) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.bulk_program",
        sandbox.url,
        str(journal),
        str(count),
        *kill,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )


async def result(process: asyncio.subprocess.Process) -> dict[str, Any] | None:
    """The summary a run printed, or ``None`` if it was killed."""
    output, _ = await process.communicate()
    if process.returncode == -signal.SIGKILL:
        return None
    assert process.returncode == 0
    summary: dict[str, Any] = json.loads(output)
    return summary


def check_exactly_once(sandbox: Sandbox, summary: dict[str, Any], count: int = COUNT) -> None:
    outcomes = summary["outcomes"]
    assert len(outcomes) == count
    assert {state for state, _, _ in outcomes.values()} == {"accepted"}
    assert dict(sandbox.accepted) == {message_id: 1 for _, message_id, _ in outcomes.values()}


def check_known_or_in_doubt(sandbox: Sandbox, summary: dict[str, Any], count: int = COUNT) -> None:
    """What look-ups that failed, or had no control, left in doubt stays unknown; all that was accepted is known."""
    outcomes = summary["outcomes"]
    assert len(outcomes) == count
    assert {state for state, _, _ in outcomes.values()} <= {"accepted", "unknown"}
    accepted = [message_id for state, message_id, _ in outcomes.values() if state == "accepted"]
    assert dict(sandbox.accepted) == dict.fromkeys(accepted, 1)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("nth", [1, 25])
async def test_g5_killed_at_a_named_point_and_resumed(point: str, nth: int, gateway: Sandbox, tmp_path: Path) -> None:
    journal = tmp_path / "campaign.db"
    if nth == 1:  # something must be known as accepted, or nothing could be proved absent
        assert await result(await start(gateway, tmp_path / "earlier.db", count=1)) is not None
        gateway.accepted.clear()
    assert await result(await start(gateway, journal, point, str(nth))) is None
    summary = await result(await start(gateway, journal))
    assert summary is not None
    states = [state for state, _, _ in summary["outcomes"].values()]
    if nth == 1:  # the rerun has no control of its own before its first acceptance: what is not found may stay unknown
        assert set(states) <= {"accepted", "unknown"}
        assert set(gateway.accepted.values()) <= {1}
        return
    check_exactly_once(gateway, summary)
    assert summary["resumed"] > 0


async def test_g5_killed_after_the_bytes_left(gateway: Sandbox, tmp_path: Path) -> None:
    journal = tmp_path / "campaign.db"
    gateway.fault("+390000000040", Fault.HANG_AFTER)
    process = await start(gateway, journal)
    while not any(message.destination == "+390000000040" for message in gateway.messages):
        await asyncio.sleep(0)
    process.send_signal(signal.SIGKILL)
    assert await result(process) is None
    summary = await result(await start(gateway, journal))
    assert summary is not None
    check_exactly_once(gateway, summary)


async def test_g5_killed_at_random_instants_among_faults_until_done(gateway: Sandbox, tmp_path: Path) -> None:
    journal = tmp_path / "campaign.db"
    gateway.faults = Faults(
        latency_before=0.2,
        drop_before=0.05,
        drop_after=0.05,
        error_before=0.05,
        error_after=0.05,
        status_late=0.2,
        delay=0.02,
        late=0.2,
    )
    randomness = random.Random(7)
    for _ in range(5):
        process = await start(gateway, journal)
        target = len(gateway.accepted) + randomness.randrange(1, 12)
        while process.returncode is None and len(gateway.accepted) < target:
            await asyncio.sleep(0)
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        if await result(process) is not None:
            break
    gateway.faults = Faults()
    summary = await result(await start(gateway, journal))
    assert summary is not None
    check_known_or_in_doubt(gateway, summary)


@pytest.mark.parametrize("point", POINTS)
async def test_g5_killed_at_a_named_point_of_the_legacy_route_and_resumed(
    point: str, gateway: Sandbox, tmp_path: Path
) -> None:
    journal = tmp_path / "campaign.db"
    nth = "3" if "byte" in point or "response" in point else "45"  # requests are fewer than rows
    assert await result(await start(gateway, journal, "--legacy", point, nth, count=150)) is None
    summary = await result(await start(gateway, journal, "--legacy", count=150))
    assert summary is not None
    check_exactly_once(gateway, summary, count=150)


async def test_g5_the_legacy_route_killed_at_random_instants_among_faults_until_done(
    gateway: Sandbox, tmp_path: Path
) -> None:
    journal = tmp_path / "campaign.db"
    assert await result(await start(gateway, tmp_path / "earlier.db", count=1)) is not None
    gateway.accepted.clear()
    gateway.faults = Faults(latency_after=0.3, drop_before=0.1, drop_after=0.1, error_after=0.1, delay=0.02)
    randomness = random.Random(11)
    for _ in range(4):
        process = await start(gateway, journal, "--legacy", count=300)
        target = len(gateway.accepted) + randomness.randrange(1, 60)
        while process.returncode is None and len(gateway.accepted) < target:
            await asyncio.sleep(0)
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        if await result(process) is not None:
            break
    gateway.faults = Faults()
    summary = await result(await start(gateway, journal, "--legacy", count=300))
    assert summary is not None
    check_known_or_in_doubt(gateway, summary, count=300)
