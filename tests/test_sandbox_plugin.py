"""The pytest plugin as an application's tests use it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from qlara_async import QlaraClient
from qlara_async.sandbox import CallbackPolicy, Life, Sandbox
from qlara_async.testing import VirtualClock, plugin
from qlara_async.webhooks import Delivery, Inbound, Read, WebhookReceiver

pytestmark = pytest.mark.anyio

# The conftest of these tests has a `qlara` of its own, so the plugin's fixtures are named here instead of enabled;
# that they can be enabled is the last test.
qlara = plugin.qlara
receiver = plugin.receiver
sandbox = plugin.sandbox
sandbox_options = plugin.sandbox_options
settle = plugin.settle
virtual_clock = plugin.virtual_clock

Settle = Callable[[], Awaitable[None]]


async def test_a_message_is_sent_delivered_and_read(
    qlara: QlaraClient, sandbox: Sandbox, receiver: WebhookReceiver, settle: Settle
) -> None:
    events: list[tuple[str, str | None]] = []

    @receiver.on_delivery()
    async def delivered(event: Delivery) -> None:
        events.append((event.status, event.message_id))

    @receiver.on_read()
    async def read(event: Read) -> None:
        events.append(("READ", event.message_id))

    sandbox.callback_policy = CallbackPolicy(concurrency=1)
    receipt = await qlara.rcs.send(destination="+393401234567", agent_id=10, template_id=3)
    await settle()
    assert events == [("DELIVERED", receipt.message_id), ("READ", receipt.message_id)]
    assert (await qlara.messages.status(receipt.message_id, channel="RCS")).status == "DELIVERED"


async def test_settle_waits_for_what_handlers_send(
    qlara: QlaraClient, sandbox: Sandbox, receiver: WebhookReceiver, settle: Settle
) -> None:
    delivered: list[str | None] = []

    @receiver.on_inbound()
    async def answer(event: Inbound) -> None:
        await qlara.sms.send(destination=event.source or "", sender="ACME", body="Grazie", message_id="reply")

    @receiver.on_delivery()
    async def note(event: Delivery) -> None:
        delivered.append(event.message_id)

    assert await sandbox.inbound(source="+393401234567", destination="+393209998877", text="Ciao") == 200
    await settle()
    assert delivered == ["reply"]


@pytest.mark.parametrize("shape", ["channel", "unified", "nested", "form"])
async def test_every_inbound_shape_is_understood(
    sandbox: Sandbox, receiver: WebhookReceiver, settle: Settle, shape: Any
) -> None:
    heard: list[tuple[str | None, str]] = []

    @receiver.on_inbound()
    async def hear(event: Inbound) -> None:
        heard.append((event.source, event.text))

    status = await sandbox.inbound(source="+393401234567", destination="+393209998877", text="Sì", shape=shape)
    await settle()
    assert (status, heard) == (200, [("+393401234567", "Sì")])


@pytest.mark.parametrize("shape", ["channel", "unified", "legacy", "mix"])
async def test_every_receipt_shape_is_understood_and_told_once(
    qlara: QlaraClient, sandbox: Sandbox, receiver: WebhookReceiver, settle: Settle, shape: Any
) -> None:
    told: list[str | None] = []

    @receiver.on_delivery()
    async def note(event: Delivery) -> None:
        told.append(event.message_id)

    sandbox.callback_policy = CallbackPolicy(shape=shape, duplicate=1.0)
    for number in range(10):
        await qlara.sms.send(destination="+393401234567", sender="ACME", body="Ciao", message_id=str(number))
    await settle()
    assert sorted(told, key=str) == [str(number) for number in range(10)]
    assert sandbox.callbacks.acked == 20


class TestOptions:
    @pytest.fixture
    def sandbox_options(self, virtual_clock: VirtualClock) -> dict[str, Any]:
        return {"rate_limit": None, "life": Life(final=3600.0), "clock": virtual_clock}

    async def test_they_can_be_overridden_and_virtual_time_makes_an_hour_pass(
        self, qlara: QlaraClient, sandbox: Sandbox, virtual_clock: VirtualClock, settle: Settle
    ) -> None:
        before = virtual_clock.monotonic()
        await qlara.sms.send(destination="+393401234567", sender="ACME", body="Ciao")
        await settle()
        assert virtual_clock.monotonic() - before >= 3600
        assert sandbox.callbacks.acked == 1


def test_virtual_time_and_the_sandbox_need_no_pytest() -> None:
    code = "import sys; sys.modules['pytest'] = None; import qlara_async.testing, qlara_async.sandbox"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_example_of_the_plugins_docstring_runs(tmp_path: Path) -> None:
    conftest, test = re.findall(r"::\n\n((?:    .*\n|\n)+)", plugin.__doc__ or "")
    (tmp_path / "conftest.py").write_text("import pytest\n" + dedent(conftest))
    (tmp_path / "test_example.py").write_text("import pytest\n" + dedent(test))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout
    assert "1 passed" in run.stdout
