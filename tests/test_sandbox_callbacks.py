"""The sandbox's callbacks: shapes as documented, retries, faults, and the customer who writes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs

import aiohttp
import pytest
from aiohttp import web

from qlara_async.errors import ConfigurationError, ConnectionFailed
from qlara_async.sandbox import CallbackPolicy, Life, Sandbox
from qlara_async.testing import VirtualClock

from .test_sandbox import RCS, SMS, WEBHOOK, WHATSAPP, Caller, turns, until

pytestmark = pytest.mark.anyio

AT_ONCE = Life(final=0.0, read=0.0)
TO = SMS["destination"]


class Listener:
    """A receiver of callbacks that answers what it is told to, and keeps what it got."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.content_types: list[str] = []
        self.answers: list[int] = []
        self.gate: asyncio.Event | None = None
        self.inside = 0
        self.most_inside = 0
        self.url = ""

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body in self.bodies]

    async def _take(self, request: web.BaseRequest) -> web.Response:
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        try:
            self.bodies.append(await request.read())
            self.content_types.append(request.content_type)
            if self.gate is not None:
                await self.gate.wait()
            return web.Response(status=self.answers.pop(0) if self.answers else 200, headers={"Location": "/hook"})
        finally:
            self.inside -= 1

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(web.Server(self._take, access_log=None), shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/hook"
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.gate is not None:
            self.gate.set()
        await self._runner.cleanup()


@pytest.fixture
async def listener(anyio_backend: str) -> AsyncIterator[Listener]:
    async with Listener() as listener:
        yield listener


@pytest.fixture
async def caller(anyio_backend: str, listener: Listener) -> AsyncIterator[Caller]:
    async with Sandbox(rate_limit=None, life=AT_ONCE) as sandbox, aiohttp.ClientSession() as session:
        sandbox.register(listener.url)
        sandbox.callback_policy = CallbackPolicy(backoff=0.0, record=True)
        yield Caller(sandbox, session)


class TestShapes:
    async def send_all(self, caller: Caller, **policy: Any) -> None:
        caller.sandbox.callback_policy = CallbackPolicy(concurrency=1, **policy)
        await caller.send("sms", SMS, messageId="s")
        await caller.sandbox.idle()
        await caller.send("whatsapp", WHATSAPP, messageId="w")
        await caller.sandbox.idle()

    async def test_by_channel(self, caller: Caller, listener: Listener) -> None:
        await self.send_all(caller)
        sms, delivered, read = listener.events
        assert sms.pop("timestamp").endswith("Z")
        assert sms == {
            "channel": "SMS", "eventType": "DELIVERY", "messageId": "s", "statusCode": 3,
            "statusDescription": "Delivered", "price": 0.035, "numPart": 1, "totalParts": 1,
        }  # fmt: skip
        assert delivered.pop("eventDate").endswith("Z")
        assert delivered == {
            "channel": "WHATSAPP", "eventType": "DELIVERY", "messageId": "w", "destination": TO,
            "statusCode": 3, "description": "delivered",
        }  # fmt: skip
        assert read.pop("eventDate").endswith("Z")
        assert read == {"channel": "WHATSAPP", "eventType": "READ", "messageId": "w", "destination": TO}
        assert set(listener.content_types) == {"application/json"}

    async def test_unified(self, caller: Caller, listener: Listener) -> None:
        await self.send_all(caller, shape="unified")
        sms, _, read = listener.events
        assert sms.pop("timestamp").endswith("Z")
        assert sms == {
            "eventType": "DELIVERY", "messageId": "s", "customerMessageId": "s", "destination": TO,
            "statusCode": 3, "description": "Message delivered", "channel": "SMS",
        }  # fmt: skip
        assert read.keys() == {"eventType", "messageId", "destination", "channel", "timestamp"}
        assert read["eventType"] == "READ"

    async def test_legacy_and_its_read_which_is_unified(self, caller: Caller, listener: Listener) -> None:
        await self.send_all(caller, shape="legacy")
        sms, whatsapp, read = listener.events
        assert sms.pop("timestamp").endswith("Z")
        assert sms == {
            "messageId": "s", "customerMessageId": "s", "phoneNumber": TO, "status": "DELIVERED",
            "channel": "sms", "error": None,
        }  # fmt: skip
        assert whatsapp["channel"] == "whatsapp"
        assert read["eventType"] == "READ"

    @pytest.mark.parametrize("shape", ["unified", "legacy"])
    async def test_own_ids_leave_yours_as_customer_message_id(
        self, caller: Caller, listener: Listener, shape: str
    ) -> None:
        await self.send_all(caller, shape=shape, own_ids=True)
        assert [event["customerMessageId"] for event in listener.events] == ["s", "w", "w"]
        assert len({event["messageId"] for event in listener.events} - {"s", "w"}) == 2

    async def test_a_mix_has_them_all(self, caller: Caller, listener: Listener) -> None:
        caller.sandbox.callback_policy = CallbackPolicy(shape="mix")
        for _ in range(30):
            await caller.send("sms", SMS)
        await caller.sandbox.idle()
        kinds = {("numPart" in event, "phoneNumber" in event) for event in listener.events}
        assert kinds == {(True, False), (False, True), (False, False)}

    @pytest.mark.parametrize(("outcome", "code", "word"), [("ERROR", 6, "Not Delivered"), ("EXPIRED", 6, "Expired")])
    async def test_failures(self, caller: Caller, listener: Listener, outcome: str, code: int, word: str) -> None:
        caller.sandbox.outcome(TO, outcome)
        await caller.send("sms", SMS)
        await caller.send("rcs", RCS)
        await caller.sandbox.idle()
        by_channel = {event["channel"]: event for event in listener.events}
        assert len(listener.events) == 2
        assert (by_channel["SMS"]["statusCode"], by_channel["SMS"]["statusDescription"]) == (code, word)
        assert (by_channel["RCS"]["statusCode"], by_channel["RCS"]["description"]) == (code, word.lower())

    async def test_every_part_of_an_sms_has_its_own(self, caller: Caller, listener: Listener) -> None:
        await caller.send("sms", SMS, body="a" * 400, messageId="m-1")
        await caller.sandbox.idle()
        assert sorted((event["numPart"], event["totalParts"]) for event in listener.events) == [(1, 3), (2, 3), (3, 3)]
        assert caller.sandbox.acked == {("m-1", "DELIVERY", part): 1 for part in (1, 2, 3)}

    async def test_a_delivered_message_may_stay_unread(self, caller: Caller, listener: Listener) -> None:
        caller.sandbox.life = Life(final=0.0, reads=0.0)
        await caller.send("rcs", RCS)
        await caller.sandbox.idle()
        assert [event["eventType"] for event in listener.events] == ["DELIVERY"]


class TestDelivery:
    async def test_they_go_to_the_url_registered_over_http(self, caller: Caller, listener: Listener) -> None:
        caller.sandbox.register(None)
        await caller.send("sms", SMS)
        await caller.sandbox.idle()
        assert caller.sandbox.callbacks.unregistered == 1
        await caller.call("POST", WEBHOOK, json={"callbackUrl": listener.url})
        await caller.send("sms", SMS)
        await caller.sandbox.idle()
        assert len(listener.bodies) == 1

    async def test_without_notification_there_are_none(self, caller: Caller, listener: Listener) -> None:
        for channel, payload in (("sms", SMS), ("rcs", RCS)):
            await caller.send(channel, payload, enableNotification=False, messageId=channel)
        await caller.sandbox.idle()
        assert not listener.bodies
        assert caller.sandbox.callbacks.due == 0
        assert await caller.status("rcs", "RCS") == "DELIVERED"

    async def test_refused_callbacks_are_retried_until_acknowledged(self, caller: Caller, listener: Listener) -> None:
        listener.answers = [503, 302, 204]
        await caller.send("sms", SMS, messageId="m-1")
        await caller.sandbox.idle()
        assert len(listener.bodies) == 3
        assert len(set(listener.bodies)) == 1
        counts = caller.sandbox.callbacks
        assert (counts.due, counts.sent, counts.acked, counts.failed, counts.abandoned) == (1, 3, 1, 2, 0)
        assert caller.sandbox.acked == {("m-1", "DELIVERY", 1): 1}

    async def test_they_are_given_up_after_so_many_attempts(self, caller: Caller, listener: Listener) -> None:
        caller.sandbox.callback_policy = CallbackPolicy(attempts=3, backoff=0.0)
        listener.answers = [500] * 10
        await caller.send("sms", SMS)
        await caller.sandbox.idle()
        counts = caller.sandbox.callbacks
        assert (len(listener.bodies), counts.failed, counts.abandoned, counts.acked) == (3, 3, 1, 0)

    @staticmethod
    def has_failed(sandbox: Sandbox, posts: int) -> bool:
        return sandbox.callbacks.failed >= posts

    async def test_the_back_off_doubles(self, anyio_backend: str, listener: Listener) -> None:
        clock = VirtualClock(jump=False)
        async with (
            Sandbox(rate_limit=None, life=AT_ONCE, clock=clock) as sandbox,
            aiohttp.ClientSession() as session,
        ):
            sandbox.register(listener.url)
            sandbox.callback_policy = CallbackPolicy(backoff=10.0, attempts=3)
            listener.answers = [500, 500, 500]
            await Caller(sandbox, session).send("sms", SMS)
            await clock.advance(0)
            for posts, seconds in ((1, 10.0), (2, 20.0)):
                await until(partial(self.has_failed, sandbox, posts))
                await clock.advance(seconds - 0.1)
                assert sandbox.callbacks.sent == posts
                await clock.advance(0.1)
                assert sandbox.callbacks.sent == posts + 1
            await sandbox.idle()

    async def test_a_receiver_that_is_away_or_silent_is_retried_too(self, caller: Caller, listener: Listener) -> None:
        url = listener.url
        caller.sandbox.callback_policy = CallbackPolicy(attempts=2, backoff=0.0, timeout=0.05)
        caller.sandbox.register("http://127.0.0.1:9/hook")
        await caller.send("sms", SMS)
        await caller.sandbox.idle()
        assert caller.sandbox.callbacks.failed == 2
        listener.gate = asyncio.Event()
        caller.sandbox.register(url)
        await caller.send("sms", SMS)
        await caller.sandbox.idle()
        counts = caller.sandbox.callbacks
        assert (counts.failed, counts.abandoned, counts.acked) == (4, 2, 0)

    async def test_no_more_than_so_many_are_in_flight(self, caller: Caller, listener: Listener) -> None:
        caller.sandbox.callback_policy = CallbackPolicy(concurrency=3)
        listener.gate = asyncio.Event()
        for _ in range(10):
            await caller.send("sms", SMS)
        await until(lambda: listener.inside >= 3)
        assert not caller.sandbox.is_idle
        listener.gate.set()
        await caller.sandbox.idle()
        assert (listener.most_inside, len(listener.bodies)) == (3, 10)

    async def test_g12_closing_with_callbacks_in_flight_leaves_no_task(self, listener: Listener) -> None:
        listener.gate = asyncio.Event()
        before = asyncio.all_tasks()
        async with Sandbox(rate_limit=None, life=AT_ONCE) as sandbox, aiohttp.ClientSession() as session:
            sandbox.register(listener.url)
            await Caller(sandbox, session).send("sms", SMS)
            await until(lambda: listener.inside)
            await sandbox.aclose()
            assert not [task for task in asyncio.all_tasks() if task.get_name() == "qlara-sandbox-courier"]
        assert sandbox.is_idle
        listener.gate.set()
        await until(lambda: not listener.inside)
        await turns()
        assert asyncio.all_tasks() == before


class TestFaults:
    async def ids(self, caller: Caller, listener: Listener, policy: CallbackPolicy) -> list[str]:
        caller.sandbox.callback_policy = policy
        for number in range(40):
            await caller.send("sms", SMS, messageId=f"{number:02}")
        await caller.sandbox.idle()
        return [event["messageId"] for event in listener.events]

    async def test_lost(self, caller: Caller, listener: Listener) -> None:
        ids = await self.ids(caller, listener, CallbackPolicy(lost=0.5))
        counts = caller.sandbox.callbacks
        assert 0 < counts.lost < 40
        assert len(ids) == len(set(ids)) == 40 - counts.lost
        assert counts.due == 40

    async def test_duplicated(self, caller: Caller, listener: Listener) -> None:
        ids = await self.ids(caller, listener, CallbackPolicy(duplicate=0.5))
        counts = caller.sandbox.callbacks
        assert 0 < counts.duplicated < 40
        assert (len(set(ids)), len(ids), counts.acked) == (40, 40 + counts.duplicated, 40 + counts.duplicated)

    async def test_reordered(self, caller: Caller, listener: Listener) -> None:
        ids = await self.ids(caller, listener, CallbackPolicy(reorder=0.5, reorder_within=0.2, concurrency=1))
        assert sorted(ids) == [f"{number:02}" for number in range(40)]
        assert ids != sorted(ids)
        assert 0 < caller.sandbox.callbacks.reordered < 40

    async def test_without_faults_order_is_kept(self, caller: Caller, listener: Listener) -> None:
        ids = await self.ids(caller, listener, CallbackPolicy(concurrency=1))
        assert ids == sorted(ids)

    async def test_impossible_policies_are_refused(self) -> None:
        for wrong in ({"lost": 1.5}, {"attempts": 0}, {"timeout": 0.0}, {"shape": "round"}, {"concurrency": 0}):
            with pytest.raises(ConfigurationError):
                CallbackPolicy(**wrong)


class TestInbound:
    US = "+393209998877"

    async def play(self, caller: Caller, listener: Listener, **options: Any) -> Any:
        assert await caller.sandbox.inbound(source=TO, destination=self.US, message_id="i-1", **options) == 200
        return listener.events[-1]

    async def test_text_by_channel(self, caller: Caller, listener: Listener) -> None:
        event = await self.play(caller, listener, channel="RCS", text="Sì")
        assert event.pop("receivedDate").endswith("Z")
        assert event == {
            "channel": "RCS", "eventType": "INBOUND", "messageId": "i-1", "source": TO, "destination": self.US,
            "messageType": "TEXT", "text": "Sì",
        }  # fmt: skip

    async def test_media_by_channel(self, caller: Caller, listener: Listener) -> None:
        event = await self.play(caller, listener, channel="RCS", media_key="mk_1", media_type="AUDIO")
        assert (event["messageType"], event["mediaKey"]) == ("AUDIO", "mk_1")
        assert "text" not in event

    async def test_unified_has_no_id(self, caller: Caller, listener: Listener) -> None:
        event = await self.play(caller, listener, shape="unified", text="Sì")
        assert event.pop("timestamp").endswith("Z")
        assert event == {
            "eventType": "INBOUND", "source": TO, "destination": self.US, "text": "Sì", "channel": "SMS",
            "messageType": "TEXT",
        }  # fmt: skip

    async def test_nested_media(self, caller: Caller, listener: Listener) -> None:
        event = await self.play(caller, listener, channel="WHATSAPP", shape="nested", text="Foto", media_key="mk_1")
        assert event.pop("timestamp").endswith("Z")
        assert event == {
            "channel": "WHATSAPP", "eventType": "INBOUND", "messageId": "i-1", "from": TO, "to": self.US,
            "content": {"type": "IMAGE", "caption": "Foto", "mediaKey": "mk_1"},
        }  # fmt: skip

    async def test_the_dedicated_number_posts_a_form(self, caller: Caller, listener: Listener) -> None:
        status = await caller.sandbox.inbound(source=TO, destination=self.US, text="Sì & no", shape="form")
        fields = parse_qs(listener.bodies[0].decode(), strict_parsing=True)
        assert (status, listener.content_types) == (200, ["application/x-www-form-urlencoded"])
        stamp = fields.pop("date_time")[0]
        assert stamp.isdigit()
        assert len(stamp) == 14
        assert fields == {"originator": [TO], "destination": [self.US], "text": ["Sì & no"]}

    async def test_it_returns_the_receivers_status_or_says_why_there_is_none(
        self, caller: Caller, listener: Listener
    ) -> None:
        listener.answers = [503]
        assert await caller.sandbox.inbound(source=TO, destination=self.US, text="x") == 503
        caller.sandbox.register("http://127.0.0.1:9/")
        with pytest.raises(ConnectionFailed):
            await caller.sandbox.inbound(source=TO, destination=self.US, text="x")
        caller.sandbox.register(None)
        with pytest.raises(ConfigurationError, match="registered"):
            await caller.sandbox.inbound(source=TO, destination=self.US, text="x")

    async def test_anything_can_be_posted(self, caller: Caller, listener: Listener) -> None:
        assert await caller.sandbox.post([{"eventType": "CLICK"}]) == 200
        assert json.loads(listener.bodies[0]) == [{"eventType": "CLICK"}]
