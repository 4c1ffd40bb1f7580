"""``qlara.credit_watch``: low credit is told once, on the client's clock."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

import pytest

from qlara_async import ClientEvent, CreditLow, QlaraClient, RetryPolicy
from qlara_async.errors import ConfigurationError
from qlara_async.models.telemetry import RequestFinished
from qlara_async.sandbox import Fault, Sandbox
from qlara_async.testing import VirtualClock

from .wire import WireGateway, answer, hang

pytestmark = pytest.mark.anyio


class Account:
    """A client that watches, and what it told."""

    def __init__(self, sandbox: Sandbox, clock: VirtualClock) -> None:
        self.clock = clock
        self.told: list[CreditLow] = []
        self.looks = 0
        self.qlara = QlaraClient(
            sandbox.api_key,
            base_url=sandbox.url,
            rate_limit=None,
            clock=clock,
            retry=RetryPolicy(max_attempts=1),
            on_event=self.note,
        )

    def note(self, event: ClientEvent) -> None:
        if isinstance(event, CreditLow):
            self.told.append(event)
        elif isinstance(event, RequestFinished):
            self.looks += 1

    async def looked(self, times: int) -> None:
        await until(lambda: self.looks == times)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0)


@pytest.fixture
async def sandbox(anyio_backend: str) -> AsyncIterator[Sandbox]:
    async with Sandbox(rate_limit=None) as sandbox:
        yield sandbox


@pytest.fixture
async def account(sandbox: Sandbox) -> AsyncIterator[Account]:
    account = Account(sandbox, VirtualClock(jump=False))
    async with account.qlara:
        yield account


async def test_faq_low_credit_is_told_once_and_again_after_it_was_topped_up(account: Account, sandbox: Sandbox) -> None:
    sandbox.credit = 60.0
    async with account.qlara.credit_watch(threshold=50, every=300) as watch:
        for look, (credit, told) in enumerate([(60, 0), (49.5, 1), (20, 1), (50, 1), (12, 2)], 1):
            await account.looked(look)
            assert watch.credit is not None
            assert (watch.credit.credit, watch.low, len(account.told)) == (credit, credit < 50, told)
            sandbox.credit = {1: 49.5, 2: 20.0, 3: 50.0, 4: 12.0, 5: 12.0}[look]
            await account.clock.advance(300)
    assert account.told == [CreditLow(available=49.5, threshold=50), CreditLow(available=12.0, threshold=50)]


async def test_what_is_frozen_cannot_be_spent(account: Account, sandbox: Sandbox) -> None:
    sandbox.credit, sandbox.platform.account.frozen_credit = 60.0, 30.0
    async with account.qlara.credit_watch(threshold=50):
        await account.looked(1)
    assert account.told == [CreditLow(available=30.0, threshold=50)]


async def test_a_question_that_fails_is_asked_again(
    account: Account, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "qlara_async.client")
    sandbox.credit = 1.0
    sandbox.fault(None, Fault.ERROR_BEFORE, route="platform", status=502, times=2)
    async with account.qlara.credit_watch(threshold=50, every=60) as watch:
        for look in (1, 2, 3):
            await account.looked(look)
            assert (watch.credit is not None, len(account.told)) == (look == 3, look == 3)
            await account.clock.advance(60)
    levels = [record.levelname for record in caplog.records if "could not be asked" in record.getMessage()]
    assert levels == ["WARNING", "INFO"]


async def test_an_answer_without_an_amount_is_no_low_credit(gateway: WireGateway, clock: VirtualClock) -> None:
    told: list[ClientEvent] = []
    gateway.script = [answer(200, b'{"credit": "lots"}'), answer(200, b"[]"), answer(200, b'{"credit": 3}')]
    async with QlaraClient("key", base_url=gateway.url, rate_limit=None, clock=clock, on_event=told.append) as qlara:
        async with qlara.credit_watch(threshold=5) as watch:
            await until(lambda: watch.low)
    assert [event for event in told if isinstance(event, CreditLow)] == [CreditLow(available=3.0, threshold=5)]


async def test_g12_leaving_ends_the_task_also_during_a_question(gateway: WireGateway) -> None:
    gateway.default = hang
    async with QlaraClient("key", base_url=gateway.url) as qlara:
        async with qlara.credit_watch(threshold=5):
            await until(lambda: len(gateway.seen) == 1)
            assert "qlara-credit-watch" in {task.get_name() for task in asyncio.all_tasks()}
        assert "qlara-credit-watch" not in {task.get_name() for task in asyncio.all_tasks()}
        await until(lambda: gateway.open_connections == 0)


async def test_it_ends_when_the_client_is_closed(account: Account) -> None:
    async with account.qlara.credit_watch(threshold=5) as watch:
        await account.looked(1)
        await account.qlara.aclose()
        await account.clock.advance(300)
        task = watch._task
        assert task is not None
        await until(task.done)


async def test_a_watch_is_used_once_and_its_numbers_are_checked(account: Account) -> None:
    for wrong in ({"threshold": -1}, {"threshold": float("nan")}, {"threshold": 1, "every": 0}):
        with pytest.raises(ConfigurationError):
            account.qlara.credit_watch(**wrong)
    watch = account.qlara.credit_watch(threshold=1)
    async with watch:
        with pytest.raises(ConfigurationError):
            await watch.__aenter__()
    assert repr(watch) == "CreditWatch(None, low=False)"
