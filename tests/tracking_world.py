"""A gateway, a client, a tracker, and if wanted a receiver, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

from aiohttp import web

from qlara_async import QlaraClient, Sms
from qlara_async.models.answers import Receipt
from qlara_async.models.channel import DeliveryStatus
from qlara_async.models.events import Delivery
from qlara_async.sandbox import Sandbox
from qlara_async.testing import VirtualClock
from qlara_async.tracking import DeliveryTracker, StatusChange
from qlara_async.webhooks import MemoryInbox, SqliteInbox, UrlToken, WebhookReceiver

TO = "+393401234567"
TOKEN = "right-token-0123456789"


class World:
    """Time moves only when told to; HTTP is real.

    Attributes:
        changes: what the tracker's ``on_status`` handler was told.
        deliveries: what the receiver's ``on_delivery`` handler was told.
    """

    def __init__(
        self,
        *,
        receiver: bool = False,
        inbox: Path | None = None,
        sandbox: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.clock = VirtualClock(jump=False)
        self.sandbox = Sandbox(rate_limit=None, clock=self.clock, **(sandbox or {}))
        self.receiver = WebhookReceiver(
            auth=UrlToken(TOKEN),
            inbox=MemoryInbox(allow_loss=True, clock=self.clock) if inbox is None else SqliteInbox(inbox),
            clock=self.clock,
        )
        self.attached = receiver
        self.options = options
        self.changes: list[StatusChange] = []
        self.deliveries: list[Delivery] = []
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        enter = self._stack.enter_async_context
        await enter(self.sandbox)
        self.qlara = await enter(
            QlaraClient(
                self.sandbox.api_key, base_url=self.sandbox.url, rate_limit=None, clock=self.clock, random=lambda: 0.0
            )
        )
        self.tracker = DeliveryTracker(self.qlara, clock=self.clock, **self.options)
        self.tracker.on_status(name="seen")(self._seen)
        if self.attached:
            await self._mount()
        await enter(self.tracker)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def _mount(self) -> None:
        self.receiver.on_delivery(name="deliveries")(self._delivered)
        self.receiver.include(self.tracker.router)
        runner = web.AppRunner(self.receiver.app())
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.sandbox.register(f"http://127.0.0.1:{runner.addresses[0][1]}/{TOKEN}")

    async def _seen(self, change: StatusChange) -> None:
        self.changes.append(change)

    async def _delivered(self, event: Delivery) -> None:
        self.deliveries.append(event)

    async def send(self, message: Any = None) -> Receipt:
        return await self.qlara.send(message or Sms(destination=TO, sender="ACME", body="Ciao"))

    async def advance(self, seconds: float, step: float = 5.0) -> None:
        """Let time pass, and whatever falls due happen, HTTP included."""
        while seconds > 0:
            await self.clock.advance(min(step, seconds))
            seconds -= step
            for _ in range(40):
                await asyncio.sleep(0)

    @property
    def polls(self) -> int:
        """Status requests answered 200."""
        return self.sandbox.requests["status", 200]

    @property
    def told(self) -> list[DeliveryStatus]:
        """The statuses the handler was told, in order."""
        return [change.status for change in self.changes]


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0)
