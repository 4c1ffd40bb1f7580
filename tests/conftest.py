from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import settings

from qlara_async import QlaraClient, Sms
from qlara_async.testing.clock import VirtualClock

from .wire import WireGateway

# How long an example takes says more of the machine than of the code. Chosen in pyproject.toml.
settings.register_profile("suite", deadline=None)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
async def gateway() -> AsyncIterator[WireGateway]:
    async with WireGateway() as gateway:
        yield gateway


@pytest.fixture
async def qlara(gateway: WireGateway, clock: VirtualClock) -> AsyncIterator[QlaraClient]:
    """A client on virtual time, without jitter, at the bare TCP gateway."""
    async with QlaraClient("key-for-tests", base_url=gateway.url, clock=clock, random=lambda: 0.0) as client:
        yield client


@pytest.fixture
def sms() -> Sms:
    return Sms(destination="+393401234567", sender="ACME", body="Ciao Anna")


@pytest.fixture
async def no_task_left() -> AsyncIterator[None]:
    """Fails the test if the package leaves a task running."""
    yield
    for _ in range(5):  # what was cancelled last may need a turn to end
        await asyncio.sleep(0)
    assert [task for task in asyncio.all_tasks() if is_ours(task)] == []


def is_ours(task: asyncio.Task[object]) -> bool:
    code = getattr(task.get_coro(), "cr_code", None)
    return code is not None and "qlara_async" in Path(code.co_filename).parts
