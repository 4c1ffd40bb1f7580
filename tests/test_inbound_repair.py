"""Guarantee G13 for inbound messages: what no callback told is found in the inbox conversations, and handled once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from qlara_async import InboundRepair, QlaraClient, SuppressionList
from qlara_async.errors import ClientStateError, ConfigurationError, PermissionDeniedError, StoreError
from qlara_async.models.inbox import Conversation, InboxMessage
from qlara_async.protocol.polled_inbound import polled_inbound
from qlara_async.protocol.records import read_record
from qlara_async.sandbox import Fault, Sandbox
from qlara_async.testing.clock import VirtualClock
from qlara_async.tracking import InboundReport
from qlara_async.webhooks import Inbound, MemoryInbox, SqliteInbox, Trust, UrlToken, WebhookReceiver

from .wire import WireGateway, answer

pytestmark = pytest.mark.anyio

TOKEN = "right-token-0123456789"
ANNA, BRUNO, OURS = "+393401234567", "+393401234568", "+390212345678"
PATIENCE = 600.0
SHAPES: list[dict[str, Any]] = [
    {"shape": "channel", "channel": "RCS"},
    {"shape": "unified", "channel": "WHATSAPP"},
    {"shape": "nested", "channel": "WHATSAPP"},
    {"shape": "form", "channel": "SMS"},
]


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(jump=False)


@pytest.fixture
async def sandbox(clock: VirtualClock) -> AsyncIterator[Sandbox]:
    async with Sandbox(rate_limit=None, clock=clock) as sandbox:
        yield sandbox


@pytest.fixture
async def account(sandbox: Sandbox, clock: VirtualClock) -> AsyncIterator[QlaraClient]:
    async with QlaraClient(sandbox.api_key, base_url=sandbox.url, rate_limit=None, clock=clock) as qlara:
        yield qlara


class Shop:
    """A receiver of the sandbox's callbacks, with a repairer that looks when told to."""

    def __init__(self, sandbox: Sandbox, qlara: QlaraClient, clock: VirtualClock, inbox: Any, **options: Any) -> None:
        self.sandbox = sandbox
        self.clock = clock
        self.receiver = WebhookReceiver(auth=UrlToken(TOKEN), inbox=inbox, clock=clock)
        self.events: list[Inbound] = []
        self.receiver.on_inbound(name="mine")(self._mine)
        self.repair = InboundRepair(qlara, clock=clock, **{"patience": PATIENCE, **options})
        self.receiver.include(self.repair.router)

    async def _mine(self, event: Inbound) -> None:
        self.events.append(event)

    @property
    def texts(self) -> list[str]:
        return [event.text for event in self.events]

    async def gets(self, text: str, *, source: str = ANNA, channel: str = "SMS", **more: Any) -> None:
        await self.sandbox.inbound(source=source, destination=OURS, text=text, channel=channel, **more)
        await self.receiver.idle()

    async def look(self, seconds: float = PATIENCE) -> InboundReport:
        await self.clock.advance(seconds)
        report = await self.repair.look()
        await self.receiver.idle()
        return report


@asynccontextmanager
async def shop(
    sandbox: Sandbox, qlara: QlaraClient, clock: VirtualClock, inbox: Any = None, **options: Any
) -> AsyncIterator[Shop]:
    it = Shop(sandbox, qlara, clock, inbox or MemoryInbox(allow_loss=True, clock=clock), **options)
    runner = web.AppRunner(it.receiver.app())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sandbox.register(f"http://127.0.0.1:{runner.addresses[0][1]}/{TOKEN}")
    await it.repair._open()
    try:
        yield it
    finally:
        await runner.cleanup()
        await it.repair.__aexit__(None, None, None)


@pytest.mark.parametrize("tells_ids", [True, False], ids=["ids", "no-ids"])
@pytest.mark.parametrize("callback", SHAPES, ids=[str(shape["shape"]) for shape in SHAPES])
async def test_g13_lost_inbound_messages_are_handled_once_and_the_others_not_again(
    callback: dict[str, Any], tells_ids: bool, sandbox: Sandbox, account: QlaraClient, clock: VirtualClock
) -> None:
    sandbox.platform.inbox.tells_message_ids = tells_ids
    async with shop(sandbox, account, clock) as it:
        for number in range(12):
            await clock.advance(7.3)
            await it.gets("Sì", source=BRUNO if number % 2 else ANNA, lost=number % 3 == 1, **callback)
        assert len(it.texts) == 8
        reports = [await it.look() for _ in range(3)]
    assert [(report.told, report.fed, report.waiting) for report in reports] == [(8, 4, 0), (0, 0, 0), (0, 0, 0)]
    assert len(it.texts) == 12
    assert [event.source_kind for event in it.events] == ["callback"] * 8 + ["poll"] * 4


async def test_g13_a_repaired_message_is_the_event_its_callback_would_have_been(
    sandbox: Sandbox, account: QlaraClient, clock: VirtualClock
) -> None:
    async with shop(sandbox, account, clock) as it:
        photo = {"media_key": "mk_1", "channel": "WHATSAPP", "message_id": "wamid.1"}
        await it.gets("la foto", lost=True, **photo)
        await it.look()
        await it.gets("la foto", **photo)  # the callback comes after all
        (event,) = it.events
        assert it.receiver.stats().duplicates == 1
    assert (event.channel, event.message_id, event.source, event.destination) == ("WHATSAPP", "wamid.1", ANNA, OURS)
    assert (event.text, event.message_type, event.trust, event.conflict) == ("la foto", "IMAGE", Trust.CONFIRMED, False)
    assert event.media is not None
    assert (event.media.key, event.media.expires_at) == ("mk_1", event.occurred_at + timedelta(minutes=180))  # type: ignore[operator]
    assert json.loads(event.raw)["messageId"] == "wamid.1"


@pytest.mark.parametrize("durable", [False, True])
async def test_g13_one_that_has_forgotten_everything_makes_no_handler_run_again(
    sandbox: Sandbox, account: QlaraClient, clock: VirtualClock, tmp_path: Path, durable: bool
) -> None:
    inbox = SqliteInbox(tmp_path / "inbox.db", clock=clock) if durable else None
    started = datetime.fromtimestamp(clock.time(), UTC)
    async with shop(sandbox, account, clock, inbox, patience=5.0) as it:
        for number in range(4):
            await it.gets(f"{number}", lost=number % 2 == 0, channel="RCS")
        assert (await it.look(6.0)).fed == 2
        forgetful = InboundRepair(account, clock=clock, patience=5.0, since=started)
        it.receiver.include(forgetful.router)
        assert (await forgetful.look()).fed == 4  # as if a process had died before it noted anything
        await it.receiver.idle()
        assert it.receiver.stats().duplicates == 4
    assert sorted(it.texts) == ["0", "1", "2", "3"]


async def test_nothing_is_missing_before_its_callback_has_had_its_time(
    sandbox: Sandbox, account: QlaraClient, clock: VirtualClock
) -> None:
    sandbox.platform.inbox.tells_message_ids = False
    async with shop(sandbox, account, clock) as it:
        await it.gets("lento", lost=True, message_id="m-1")
        early = await it.look(PATIENCE - 10)
        await it.gets("lento", message_id="m-1")
        late = await it.look(60)
    assert (early.waiting, early.fed, late.told, late.fed) == (1, 0, 1, 0)
    assert it.texts == ["lento"]


async def test_an_id_goes_before_content_whichever_was_lost(
    sandbox: Sandbox, account: QlaraClient, clock: VirtualClock
) -> None:
    async with shop(sandbox, account, clock) as it:
        for number, lost in enumerate([True, False, True, False]):
            await it.gets("Sì", lost=lost, message_id=f"m-{number}")
        assert (await it.look()).fed == 2
    assert sorted(str(event.message_id) for event in it.events) == ["m-0", "m-1", "m-2", "m-3"]


async def test_times_without_a_zone_do_not_make_messages_missing(
    sandbox: Sandbox, account: QlaraClient, clock: VirtualClock
) -> None:
    sandbox.platform.inbox.tells_message_ids = False
    async with shop(sandbox, account, clock) as it:
        await it.gets("Ciao")
        for messages in sandbox.platform.inbox.messages.values():
            for message in messages:  # Rome's summer time, without its zone
                there = datetime.fromisoformat(message["timestamp"]) + timedelta(hours=2)
                message["timestamp"] = there.replace(tzinfo=None).isoformat()
        assert (await it.look(3 * 3600)).fed == 0
    assert it.texts == ["Ciao"]


async def test_a_lost_stop_is_heeded(sandbox: Sandbox, account: QlaraClient, clock: VirtualClock) -> None:
    async with shop(sandbox, account, clock) as it:
        suppression = SuppressionList()
        it.receiver.include(suppression.router)
        await it.gets("STOP", lost=True)
        await it.look()
        assert await suppression.contains(ANNA)


async def test_g13_what_was_lost_while_the_process_was_down_is_repaired_by_the_next(
    sandbox: Sandbox, account: QlaraClient, clock: VirtualClock, tmp_path: Path
) -> None:
    texts: list[str] = []
    for run in range(3):
        inbox = SqliteInbox(tmp_path / "inbox.db", clock=clock)
        async with shop(sandbox, account, clock, inbox, store=tmp_path / "inbound.db", patience=5.0) as it:
            await it.look(6.0)
            await it.gets(f"told {run}")
            await it.look(6.0)
        texts += it.texts
        await clock.advance(2 * 86_400.0)
        await it.sandbox.inbound(source=BRUNO, destination=OURS, text=f"down {run}", lost=True)
    assert texts == ["told 0", "down 0", "told 1", "down 1", "told 2"]


async def test_what_was_written_before_the_first_start_is_left_alone_unless_asked_for(
    sandbox: Sandbox, account: QlaraClient, clock: VirtualClock
) -> None:
    await sandbox.inbound(source=ANNA, destination=OURS, text="prima", lost=True)
    await clock.advance(60)
    async with shop(sandbox, account, clock) as it:
        assert (await it.look()).fed == 0
    long_ago = datetime.fromtimestamp(clock.time() - 86_400, UTC)
    async with shop(sandbox, account, clock, since=long_ago) as it:
        assert (await it.look()).fed == 1
    assert it.texts == ["prima"]


async def test_what_the_receiver_cannot_take_comes_again(
    sandbox: Sandbox, account: QlaraClient, clock: VirtualClock
) -> None:
    inbox = MemoryInbox(allow_loss=True, max_pending=1, clock=clock)
    async with shop(sandbox, account, clock, inbox) as it:
        for number in range(150):
            await it.gets(f"{number}", lost=True)
        first = await it.look()
        second = await it.look(1.0)
    assert (first.fed, first.waiting, second.fed, second.waiting) == (100, 50, 50, 0)
    assert sorted(it.texts, key=int) == [str(number) for number in range(150)]


async def test_what_waits_for_days_is_not_forgotten(
    sandbox: Sandbox, account: QlaraClient, clock: VirtualClock
) -> None:
    inbox = MemoryInbox(allow_loss=True, max_pending=1, clock=clock)
    async with shop(sandbox, account, clock, inbox) as it:
        go_on = asyncio.Event()

        @it.receiver.observe_inbound(lambda event: event.text == "lungo", name="slow")
        async def slow(event: Inbound) -> None:
            await go_on.wait()

        await sandbox.inbound(source=ANNA, destination=OURS, text="lungo")
        await sandbox.inbound(source=BRUNO, destination=OURS, text="perso", lost=True)
        waiting = []
        for _ in range(3):
            await clock.advance(2 * 86_400.0)
            waiting.append((await it.repair.look()).waiting)
        go_on.set()
        await it.receiver.idle()
        assert (waiting, (await it.look()).fed) == ([1, 1, 1], 1)
    assert it.texts == ["lungo", "perso"]


async def test_only_conversations_that_changed_are_read_again(
    sandbox: Sandbox, account: QlaraClient, clock: VirtualClock
) -> None:
    async with shop(sandbox, account, clock) as it:
        for number in range(5):
            await it.gets("Ciao", source=f"+3934000000{number:02}")
        await it.look()
        await it.look()
        before = len(sandbox.arrivals)
        await it.look()
        assert len(sandbox.arrivals) - before == 1  # the list of conversations
        await it.gets("perso", source="+393400000001", lost=True)
        assert (await it.look()).fed == 1
        assert len(sandbox.arrivals) - before == 4  # the list again, and one conversation until nothing higher comes


async def test_a_look_that_fails_loses_nothing(sandbox: Sandbox, account: QlaraClient, clock: VirtualClock) -> None:
    async with shop(sandbox, account, clock) as it:
        await it.gets("uno", lost=True)
        sandbox.fault(None, Fault.ERROR_BEFORE, route="platform", status=403)
        with pytest.raises(PermissionDeniedError):
            await it.look()
        assert (await it.look()).fed == 1
    assert it.texts == ["uno"]


async def test_it_looks_by_itself_and_goes_on_after_a_failure(
    sandbox: Sandbox, account: QlaraClient, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    arrived = asyncio.Event()
    async with shop(sandbox, account, clock) as it:
        it.receiver.observe_inbound(name="arrived")(_setting(arrived))
        await it.gets("uno", lost=True)
        arrived.clear()
        sandbox.fault(None, Fault.ERROR_BEFORE, route="platform", status=403)
        async with it.repair:
            while not arrived.is_set():
                await clock.advance(300.0)
        await it.receiver.idle()
        assert it.texts == ["uno"]
    said = [record.getMessage() for record in caplog.records if record.name == "qlara_async.client"]
    assert said[0] == "a look for lost inbound messages failed: PermissionDeniedError"
    assert not [text for text in said if ANNA[1:] in text or "uno" in text]


def _setting(event: asyncio.Event) -> Callable[[Inbound], Awaitable[None]]:
    async def observe(inbound: Inbound) -> None:
        event.set()

    return observe


async def test_it_needs_a_receiver_and_ends_with_it(
    sandbox: Sandbox, account: QlaraClient, clock: VirtualClock, no_task_left: None
) -> None:
    alone = InboundRepair(account, clock=clock)
    with pytest.raises(ConfigurationError, match="include"):
        await alone.look()
    async with shop(sandbox, account, clock) as it:
        await it.gets("uno", lost=True)
        await it.receiver.aclose()
        with pytest.raises(ClientStateError):
            await it.look()
    assert repr(alone) == "InboundRepair(stopped)"


async def test_what_cannot_be_told_is_counted_and_left_alone(
    qlara: QlaraClient, gateway: WireGateway, clock: VirtualClock
) -> None:
    when = datetime.fromtimestamp(clock.time() + 1, UTC).isoformat()
    chats = [{"chatId": 1, "channel": {"type": "sms"}, "phoneNumber": ANNA}, {"chatId": 2}, {"channel": "SMS"}]
    messages = [
        {"id": 1, "direction": "OUTBOUND", "timestamp": when, "content": "Ciao"},
        {"id": 2, "direction": "INBOUND", "content": "senza tempo"},
        {"id": 3, "direction": "IN", "timestamp": when, "content": "letto"},
    ]
    nobodys = [{"id": 4, "direction": "INBOUND", "timestamp": when, "source": BRUNO, "content": "senza canale"}]
    gateway.script = [answer(200, json.dumps(body).encode()) for body in (chats, messages, [], nobodys, [])]
    receiver = WebhookReceiver(auth=UrlToken(TOKEN), inbox=MemoryInbox(allow_loss=True))
    repair = InboundRepair(qlara, clock=clock, patience=0.0)
    receiver.include(repair.router)
    await repair._open()
    await clock.advance(2)
    assert await repair.look() == InboundReport(fed=1, unreadable=3)
    await receiver.aclose()


@pytest.mark.parametrize(
    ("message", "chat", "seen"),
    [
        ({"content": "Ciao"}, {"channel": "WHATSAPP", "phoneNumber": "39 340 1234567"}, ("WHATSAPP", "Ciao", None)),
        ({"text": "Ciao", "channel": "rcs"}, {"source": ANNA}, ("RCS", "Ciao", None)),
        ({"content": {"text": "Ciao"}, "from": ANNA, "messageId": 7}, {"channelType": "SMS"}, ("SMS", "Ciao", "7")),
        ({"mediaKey": "mk_1", "messageType": "image"}, {"channel": {"name": "SMS"}, "source": ANNA}, ("SMS", "", None)),
    ],
)
def test_a_message_of_the_inbox_is_read_in_every_shape_we_can_think_of(
    message: dict[str, Any], chat: dict[str, Any], seen: tuple[str, str, str | None]
) -> None:
    now = datetime(2026, 4, 9, 12, 0, tzinfo=UTC)
    said = read_record(InboxMessage, {"direction": "INBOUND", "date": "2026-04-09T10:00:00Z", **message})
    event = polled_inbound(said, read_record(Conversation, chat), now)
    assert event is not None
    assert (event.channel, event.text, event.message_id) == seen
    assert (event.source_kind, event.occurred_at) == ("poll", now - timedelta(hours=2))


async def test_g11_the_store_and_the_object_show_nobody(
    sandbox: Sandbox, account: QlaraClient, clock: VirtualClock, tmp_path: Path
) -> None:
    async with shop(sandbox, account, clock, store=tmp_path / "inbound.db") as it:
        await it.gets("segreto")
        await it.gets("perso", lost=True)
        await it.look()
        assert "340" not in repr(it.repair)
    held = b"".join(file.read_bytes() for file in tmp_path.iterdir())  # noqa: ASYNC240 — nothing else runs here
    assert held
    assert not [private for private in (ANNA[1:], "segreto", "perso", OURS[1:]) if private.encode() in held]


async def test_bad_options_and_files_are_told(account: QlaraClient, tmp_path: Path) -> None:
    for bad in ({"every": 0.0}, {"patience": -1.0}, {"since": datetime(2026, 1, 1)}):
        with pytest.raises(ConfigurationError):
            InboundRepair(account, **bad)
    path = tmp_path / "other.db"
    path.write_bytes(b"damage" * 2000)
    with pytest.raises(StoreError, match=r"other\.db"):
        async with InboundRepair(account, path):
            pass
