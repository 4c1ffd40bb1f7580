"""Media of inbound messages: until when they are there, and how a handler fetches them."""

# ruff: noqa: ASYNC240 — nothing else runs on these loops: blocking them does no harm

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from qlara_async import QlaraClient
from qlara_async.errors import ConfigurationError, NotFoundError, QlaraError, TransferError
from qlara_async.sandbox import Sandbox
from qlara_async.testing.clock import VirtualClock
from qlara_async.webhooks import Context, Inbound, MemoryInbox, SqliteInbox, UrlToken, WebhookReceiver

pytestmark = pytest.mark.anyio

TOKEN = "right-token-0123456789"
PHOTO = b"\xff\xd8 a photo"
HEADERS = {"Content-Type": "application/json"}


@pytest.fixture
async def sandbox(clock: VirtualClock) -> AsyncIterator[Sandbox]:
    async with Sandbox(rate_limit=None, clock=clock) as sandbox:
        yield sandbox


@pytest.fixture
async def account(sandbox: Sandbox) -> AsyncIterator[QlaraClient]:
    async with QlaraClient(sandbox.api_key, base_url=sandbox.url, rate_limit=None) as qlara:
        yield qlara


def inbound(media_key: str | None, said: datetime | None, **more: Any) -> bytes:
    body: dict[str, Any] = {"channel": "WHATSAPP", "eventType": "INBOUND", "messageId": "m", "source": "+393401234567"}
    body |= {"mediaKey": media_key} if media_key else {"text": "Ciao"}
    body |= {"timestamp": said.isoformat()} if said else {}
    return json.dumps(body | more).encode()


async def handled(receiver: WebhookReceiver, body: bytes) -> list[Inbound]:
    seen: list[Inbound] = []

    @receiver.on_inbound(name="mine")
    async def mine(event: Inbound) -> None:
        seen.append(event)

    answer = await receiver.ingest("POST", f"/{TOKEN}", HEADERS, body)
    assert answer.status == 200
    await receiver.idle()
    await receiver.aclose()
    return seen


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize(
    ("said", "minutes", "expires"),
    [(0.0, 180.0, 180.0), (-30.0, 180.0, 150.0), (+30.0, 180.0, 180.0), (None, 180.0, 180.0), (0.0, 10.0, 10.0)],
)
async def test_faq_media_expire_after_expire_minutes(
    clock: VirtualClock, tmp_path: Path, durable: bool, said: float | None, minutes: float, expires: float
) -> None:
    now = datetime.fromtimestamp(clock.time(), UTC)
    inbox = SqliteInbox(tmp_path / "inbox.db") if durable else MemoryInbox(allow_loss=True)
    receiver = WebhookReceiver(auth=UrlToken(TOKEN), inbox=inbox, clock=clock, expire_minutes=minutes)
    written = None if said is None else now + timedelta(minutes=said)
    (event,) = await handled(receiver, inbound("mk_1", written))
    assert event.media is not None
    assert event.media.expires_at == now + timedelta(minutes=expires)


async def test_180_minutes_are_the_default_and_a_text_has_no_media(clock: VirtualClock) -> None:
    receiver = WebhookReceiver(auth=UrlToken(TOKEN), inbox=MemoryInbox(allow_loss=True), clock=clock)
    (event,) = await handled(receiver, inbound("mk_1", None))
    assert event.media is not None
    assert event.media.expires_at == event.received_at + timedelta(hours=3)
    receiver = WebhookReceiver(auth=UrlToken(TOKEN), inbox=MemoryInbox(allow_loss=True), clock=clock)
    (event,) = await handled(receiver, inbound(None, None))
    assert event.media is None


async def test_no_setting_makes_a_callback_fail(clock: VirtualClock) -> None:
    for minutes in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ConfigurationError):
            WebhookReceiver(auth=UrlToken(TOKEN), inbox=MemoryInbox(allow_loss=True), expire_minutes=minutes)
    inbox = MemoryInbox(allow_loss=True)
    receiver = WebhookReceiver(auth=UrlToken(TOKEN), inbox=inbox, clock=clock, expire_minutes=1e15)
    (event,) = await handled(receiver, inbound("mk_1", None))
    assert event.media is not None
    assert event.media.expires_at is None


class Saver:
    """A receiver whose handler saves the media of what comes in; what goes wrong is kept."""

    def __init__(self, path: Path, client: QlaraClient | None, **bounds: Any) -> None:
        self.receiver = WebhookReceiver(auth=UrlToken(TOKEN), inbox=MemoryInbox(allow_loss=True), client=client)
        self.saved: list[int] = []
        self.errors: list[BaseException] = []
        self.receiver.on_error(lambda error, event, handler: self.errors.append(error))

        @self.receiver.on_inbound(name="saving")
        async def saving(event: Inbound, ctx: Context) -> None:
            self.saved.append((await ctx.media.save(path, **bounds)).size)

    async def take(self, body: bytes) -> None:
        answer = await self.receiver.ingest("POST", f"/{TOKEN}", HEADERS, body)
        assert answer.status == 200
        await self.receiver.idle()
        await self.receiver.aclose()


async def test_faq_a_handler_fetches_media_in_time(sandbox: Sandbox, account: QlaraClient, tmp_path: Path) -> None:
    saver = Saver(tmp_path / "photo.jpg", account)
    await saver.take(inbound(sandbox.platform.media.receive(PHOTO), None))
    assert (saver.saved, saver.errors) == ([len(PHOTO)], [])
    assert (tmp_path / "photo.jpg").read_bytes() == PHOTO


async def test_what_is_too_large_or_no_longer_there_is_the_handlers_error(
    sandbox: Sandbox, account: QlaraClient, clock: VirtualClock, tmp_path: Path
) -> None:
    key = sandbox.platform.media.receive(PHOTO)
    failures: list[type[BaseException]] = []
    for bounds, minutes in (({"max_bytes": 3}, 0), ({}, 181)):
        await clock.advance(minutes * 60)
        saver = Saver(tmp_path / "photo.jpg", account, **bounds)
        await saver.take(inbound(key, None))
        failures += map(type, saver.errors)
    assert failures == [TransferError, NotFoundError]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("media_key", ["../../partner-gateway/v1/contacts", "a/b", ""])
async def test_no_key_of_a_stranger_changes_what_is_asked_for(
    media_key: str, sandbox: Sandbox, account: QlaraClient, tmp_path: Path
) -> None:
    saver = Saver(tmp_path / "photo.jpg", account)
    await saver.take(inbound(media_key, None))
    assert [type(error) for error in saver.errors] == [ConfigurationError]
    assert list(sandbox.arrivals) == []


async def test_without_media_or_a_client_the_context_says_so(account: QlaraClient, tmp_path: Path) -> None:
    texts = []
    for client, media_key in ((account, None), (None, "mk_1")):
        saver = Saver(tmp_path / "photo.jpg", client)
        await saver.take(inbound(media_key, None))
        texts += [str(error) for error in saver.errors if isinstance(error, QlaraError)]
    assert [text.partition(":")[0] for text in texts] == ["ctx.media", "ctx.client"]
