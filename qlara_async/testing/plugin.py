"""Fixtures for pytest: a sandbox, a client on it, a mounted receiver, virtual time, and `settle`.

Enable them in the top ``conftest.py``. The fixtures are asynchronous and run under anyio's pytest plugin, which is
there already (anyio is a dependency); aiohttp needs asyncio::

    pytest_plugins = ["qlara_async.testing.plugin"]

    @pytest.fixture
    def anyio_backend():
        return "asyncio"

A test then needs no account, no clock and no sleep::

    @pytest.mark.anyio
    async def test_a_delivery_is_noted(qlara, receiver, settle):
        delivered = []

        @receiver.on_delivery()
        async def note(event):
            delivered.append(event.message_id)

        receipt = await qlara.sms.send(destination="+393401234567", sender="ACME", body="Ciao")
        await settle()
        assert delivered == [receipt.message_id]

Override `sandbox_options` to have another sandbox, for example with faults or a rate limit.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from ..client import QlaraClient
from ..sandbox import Life, Sandbox
from ..webhooks import MemoryInbox, UrlToken, WebhookReceiver
from .clock import VirtualClock

__all__ = ["qlara", "receiver", "sandbox", "sandbox_options", "settle", "virtual_clock"]


@pytest.fixture
def sandbox_options() -> dict[str, Any]:
    """Arguments of the `sandbox` fixture: no rate limit, and lives that end at once. Override it to change them."""
    return {"rate_limit": None, "life": Life(final=0.0, read=0.0)}


@pytest.fixture
async def sandbox(anyio_backend: Any, sandbox_options: dict[str, Any]) -> AsyncIterator[Sandbox]:
    """A running `Sandbox`."""
    async with Sandbox(**sandbox_options) as sandbox:
        yield sandbox


@pytest.fixture
async def qlara(anyio_backend: Any, sandbox: Sandbox) -> AsyncIterator[QlaraClient]:
    """A client on the sandbox, without a limiter."""
    async with QlaraClient(api_key=sandbox.api_key, base_url=sandbox.url, rate_limit=None) as qlara:
        yield qlara


@pytest.fixture
async def receiver(anyio_backend: Any, sandbox: Sandbox) -> AsyncIterator[WebhookReceiver]:
    """A receiver mounted in a real server, its URL registered with the sandbox. Add handlers in the test."""
    token = UrlToken.generate()
    receiver = WebhookReceiver(auth=UrlToken(token), inbox=MemoryInbox(allow_loss=True))
    app = web.Application()
    app.add_subapp("/qlara", receiver.app())
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        sandbox.register(f"http://127.0.0.1:{runner.addresses[0][1]}/qlara/{token}")
        yield receiver
        sandbox.register(None)
    finally:
        await runner.cleanup()


@pytest.fixture
def virtual_clock() -> VirtualClock:
    """A `VirtualClock` for whatever takes a ``clock``."""
    return VirtualClock()


@pytest.fixture
def settle(sandbox: Sandbox, receiver: WebhookReceiver) -> Callable[[], Awaitable[None]]:
    """A coroutine function that returns when sandbox and receiver are both idle, handlers that send included."""

    async def settle() -> None:
        while True:
            await sandbox.idle()
            await receiver.idle()
            if sandbox.is_idle:
                return

    return settle
