"""G11 from end to end: whole conversations at DEBUG, searched for what must not be in any record."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from rich.console import Console
from rich.pretty import pprint

from qlara_async import FallbackChain, QlaraClient, RateLimit, Rcs, RetryPolicy, Sms, Timeouts, WhatsApp
from qlara_async.bulk.rows import read_row
from qlara_async.errors import QlaraError
from qlara_async.models.answers import ChannelResult
from qlara_async.sandbox import Fault, Sandbox
from qlara_async.webhooks import Delivery, Inbound, MemoryInbox, UrlToken, WebhookReceiver

pytestmark = pytest.mark.anyio

KEY = "kanarienvogel-api-key-5512"
TOKEN = "kanarienvogel-url-token-8841"
NUMBER = "390007654321"
CUSTOMER = "390001234567"
TEXT = "Kanarientext"
REPLY = "Kanarienantwort"
CANARIES = (KEY, TOKEN, NUMBER, CUSTOMER, TEXT, REPLY, "%6banarien")


class Everything(logging.Handler):
    """Keeps all that a handler could write of each record, formatted and not."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(self.format(record))
        self.seen.append(repr(record.__dict__))


@pytest.fixture
async def log() -> AsyncIterator[Everything]:
    handler = Everything()
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


async def converse(errors: list[BaseException], shown: list[str]) -> None:
    receiver = WebhookReceiver(auth=UrlToken(TOKEN), inbox=MemoryInbox(allow_loss=True))

    @receiver.on_delivery()
    async def delivered(event: Delivery) -> None:
        shown.append(repr(event))

    @receiver.on_inbound()
    async def wrote(event: Inbound) -> None:
        shown.append(repr(event))
        raise ValueError(event.text)

    app = web.Application()
    app.add_subapp("/qlara", receiver.app())
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    base = site.name
    quick = RetryPolicy(max_attempts=2, max_wait=0.05, settle=0)
    async with Sandbox(api_key=KEY, rate_limit=RateLimit(per_second=50, per_minute=500)) as sandbox:
        async with QlaraClient(KEY, base_url=sandbox.url, retry=quick, timeouts=Timeouts(read=0.3)) as qlara:
            shown.append(repr(await qlara.webhooks.register(f"{base}/qlara/{TOKEN}")))
            destination = f"+{NUMBER}"
            messages: list[Sms | Rcs | WhatsApp] = [
                Sms(destination=destination, sender="ACME", body=f"{TEXT} {{nome}}", placeholders={"nome": TEXT}),
                Rcs(destination=destination, agent_id=1, body=TEXT),
                WhatsApp(destination=destination, phone_number_id=1, body=TEXT),
            ]
            for message in messages:
                shown += [repr(message), repr(await qlara.send(message))]
            for fault in (Fault.ERROR_BEFORE, Fault.DROP_AFTER, Fault.TRUNCATED, Fault.STORM, Fault.HANG_BEFORE):
                sandbox.fault(destination, fault)
                try:
                    await qlara.sms.send(destination=destination, sender="ACME", body=TEXT)
                except QlaraError as error:
                    errors.append(error)
            sandbox.refuse(destination, f"{destination} has no right to read {TEXT}")
            for wrong in ({"destination": NUMBER}, {"destination": destination, "sender": TEXT * 3}):
                async with qlara.bulk([{"channel": "SMS", "sender": "ACME", "body": TEXT} | wrong, messages[0]]) as job:
                    async for outcome in job:
                        shown.append(repr(outcome))
                        errors += [outcome.error] if outcome.error is not None else []
            await sandbox.inbound(channel="SMS", source=f"+{CUSTOMER}", destination=destination, text=REPLY)
            await sandbox.idle()
            await receiver.idle()
            async with aiohttp.ClientSession() as stranger:
                for path in (TOKEN + "x", "%6b" + TOKEN[1:], TOKEN, f"{TOKEN}/?q={TEXT}", f"{TEXT}/{TOKEN}"):
                    async with stranger.get(f"{base}/qlara/{path}") as refused:
                        await refused.read()
                    async with stranger.post(f"{base}/qlara/{path}", data=TEXT) as refused:
                        await refused.read()
    await runner.cleanup()


async def test_g11_nothing_private_in_any_record_repr_or_error(log: Everything) -> None:
    errors: list[BaseException] = []
    shown: list[str] = []
    await converse(errors, shown)
    await asyncio.sleep(0)
    assert any("aiohttp.access" in entry for entry in log.seen)
    assert any("qlara_async.client" in entry for entry in log.seen)
    assert any("qlara_async.webhooks" in entry for entry in log.seen)
    assert errors
    everything = [*log.seen, *shown, *(repr(error) + str(error) for error in errors)]
    for canary in CANARIES:
        assert [entry for entry in everything if canary in entry] == []


def test_g11_what_a_job_or_a_chain_holds_of_a_message_is_in_no_repr() -> None:
    row = {"channel": "SMS", "destination": f"+{NUMBER}", "sender": "ACME", "body": TEXT}
    legs = [Sms(destination=f"+{NUMBER}", sender="ACME", body=TEXT) for _ in range(2)]
    result = ChannelResult(accepted=False, reasons=(f"+{NUMBER} must not read {TEXT}",))
    held = [read_row(0, row), read_row(1, row | {"sender": TEXT}), FallbackChain(legs, within=60).begin(), result]
    console = Console(file=io.StringIO(), width=200)
    pprint(held, console=console)
    assert isinstance(console.file, io.StringIO)
    shown = repr(held) + console.file.getvalue()
    assert "Progress(" in shown
    assert [canary for canary in CANARIES if canary in shown] == []
