"""``qlara.webhooks.test()``: a test event at the registered URL, and nothing of ours along with it."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import product

import pytest
from aiohttp import web

from qlara_async import CallbackTest, Channel, QlaraClient, Timeouts
from qlara_async.errors import ConfigurationError, ConnectionFailed, RequestTimeout
from qlara_async.models.events import Delivery, Inbound, Read
from qlara_async.protocol.callbacks import decode_callbacks
from qlara_async.protocol.trial_events import TrialEvent, trial_event
from qlara_async.sandbox import Sandbox
from qlara_async.webhooks import MemoryInbox, UrlToken, WebhookReceiver

from .wire import WireGateway, answer, drop, hang

pytestmark = pytest.mark.anyio

TOKEN = "kanarienvogel-url-token-8841"
DESTINATION = "+390000000001"


@pytest.fixture
async def account(anyio_backend: str) -> AsyncIterator[QlaraClient]:
    async with Sandbox() as sandbox, QlaraClient(sandbox.api_key, base_url=sandbox.url) as qlara:
        yield qlara


@pytest.fixture
async def host() -> AsyncIterator[WireGateway]:
    async with WireGateway(default=answer(200)) as host:
        yield host


async def test_faq_the_callback_url_can_be_tested(account: QlaraClient) -> None:
    receiver = WebhookReceiver(auth=UrlToken(TOKEN), inbox=MemoryInbox(allow_loss=True))
    delivered: list[str | None] = []

    @receiver.on_delivery()
    async def note(event: Delivery) -> None:
        delivered.append(event.message_id)

    app = web.Application()
    app.add_subapp("/qlara", receiver.app())
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        await account.webhooks.register(f"{site.name}/qlara/{TOKEN}")
        results = [await account.webhooks.test() for _ in range(2)]
        assert [result.acknowledged for result in results] == [True, True]
        refused = await account.webhooks.test(f"{site.name}/qlara/another")
        assert (400 <= refused.status < 500, refused.acknowledged) == (True, False)
    finally:
        await runner.cleanup()
    assert delivered == [result.message_id for result in results]


@pytest.mark.parametrize(("event", "channel"), list(product(["DELIVERY", "READ", "INBOUND"], Channel)))
def test_every_event_is_one_that_a_receiver_reads(event: TrialEvent, channel: Channel) -> None:
    if (event, channel) == ("READ", Channel.SMS):
        with pytest.raises(ConfigurationError):
            trial_event(event, channel, "test-1", 1e9)
        return
    now = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
    body = trial_event(event, channel, "test-1", now.timestamp())
    (read,) = decode_callbacks(body, "application/json", received_at=now)
    assert isinstance(read, {"DELIVERY": Delivery, "READ": Read, "INBOUND": Inbound}[event])
    assert (read.channel, read.message_id, read.occurred_at) == (channel, "test-1", now)


async def test_no_credentials_go_along_and_no_redirect_is_followed(account: QlaraClient, host: WireGateway) -> None:
    host.default = answer(302, Location="http://127.0.0.1:1/x")
    result = await account.webhooks.test(host.url, event="READ", channel="rcs")
    assert (result.status, result.acknowledged) == (302, False)
    (seen,) = host.seen
    assert not {"x-api-key", "authorization", "cookie"} & seen.headers.keys()
    assert seen.headers["content-type"] == "application/json"
    assert json.loads(seen.body)["eventType"] == "READ"


async def test_what_cannot_be_tested_is_said_before_anything_is_posted(
    account: QlaraClient, qlara: QlaraClient, gateway: WireGateway
) -> None:
    with pytest.raises(ConfigurationError, match="no callback URL is registered"):
        await account.webhooks.test()
    for given in (
        {"callback_url": "http://example.org/qlara"},
        {"callback_url": "ftp://127.0.0.1/qlara"},
        {"event": "READ"},
        {"event": "CLICK"},
        {"channel": "FAX"},
    ):
        with pytest.raises(ConfigurationError):
            await qlara.webhooks.test(**given)  # type: ignore[arg-type]
    assert gateway.seen == []


async def test_a_receiver_that_does_not_answer_is_an_error_without_its_url(host: WireGateway) -> None:
    quick = Timeouts(connect=0.05, read=0.05)
    host.script = [drop, hang]
    async with QlaraClient("key", timeouts=quick) as qlara:
        with pytest.raises(ConnectionFailed) as dropped:
            await qlara.webhooks.test(f"{host.url}/{TOKEN}")
        with pytest.raises(RequestTimeout) as silent:
            await qlara.webhooks.test(f"{host.url}/{TOKEN}")
    for caught in (dropped.value, silent.value):
        assert TOKEN not in str(caught) + repr(caught)
        assert caught.__context__ is None


async def test_g11_the_url_is_in_no_log(
    account: QlaraClient, host: WireGateway, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await account.webhooks.register(f"{host.url}/{TOKEN}")
    await account.webhooks.test()
    assert host.seen[0].target.endswith(TOKEN)
    assert TOKEN not in caplog.text + repr([record.__dict__ for record in caplog.records])


def test_it_counts_as_acknowledged_only_in_time() -> None:
    assert CallbackTest(message_id="t", status=204, elapsed=5.0).acknowledged
    assert not CallbackTest(message_id="t", status=200, elapsed=5.1).acknowledged
