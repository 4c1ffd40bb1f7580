"""The sandbox against the documents: endpoints, statuses, bodies, limits, lives. Every request is real HTTP."""

from __future__ import annotations

import asyncio
import base64
import io
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest

from qlara_async.errors import ConfigurationError
from qlara_async.models.options import RateLimit
from qlara_async.sandbox import Life, Sandbox
from qlara_async.testing import VirtualClock

pytestmark = pytest.mark.anyio

SMS: dict[str, Any] = {"destination": "+393201234567", "sender": "MyBrand", "body": "Ciao"}
RCS: dict[str, Any] = {
    "destination": "+393201234567",
    "agentId": 10,
    "body": {"type": "TEXT", "body": {"text": "Ciao"}},
}
WHATSAPP: dict[str, Any] = {
    "destination": "+393201234567",
    "phoneNumberId": 5,
    "template": {"name": "greeting", "language": "it"},
}
SEND = "/message-server/{}/send"
STATUS = "/partner-gateway/v1/messages/status"
WEBHOOK = "/partner-gateway/v1/webhooks/delivery-status"
AT_ONCE = Life(final=0.0, read=0.0)


class Caller:
    """A bare HTTP client with the key."""

    def __init__(self, sandbox: Sandbox, session: aiohttp.ClientSession) -> None:
        self.sandbox = sandbox
        self.session = session
        self.headers: dict[str, str] = {}

    async def call(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        headers = {"X-Api-Key": self.sandbox.api_key} | options.pop("headers", {})
        async with self.session.request(method, self.sandbox.url + path, headers=headers, **options) as answer:
            self.headers = dict(answer.headers)
            body = await answer.read()
            return answer.status, (await answer.json() if body else None)

    async def send(self, channel: str, payload: Any, **changes: Any) -> tuple[int, Any]:
        return await self.call("POST", SEND.format(channel), json=payload | changes)

    async def status(self, message_id: str, channel: str = "SMS") -> str | None:
        status, found = await self.call("GET", f"{STATUS}/{message_id}", params={"channel": channel})
        return found["deliveryStatus"] if status == 200 else None


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0)


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
async def sandbox(anyio_backend: str) -> AsyncIterator[Sandbox]:
    async with Sandbox(rate_limit=None, life=AT_ONCE) as sandbox:
        yield sandbox


@pytest.fixture
async def caller(sandbox: Sandbox) -> AsyncIterator[Caller]:
    async with aiohttp.ClientSession() as session:
        yield Caller(sandbox, session)


class TestSend:
    async def test_an_sms_is_answered_as_the_guide_shows(self, caller: Caller) -> None:
        status, answer = await caller.send("sms", SMS, messageId="m-1")
        assert status == 200
        assert answer == {
            "messageId": "m-1",
            "simulation": False,
            "results": {"sms": {"accepted": True, "unicode": False, "parts": 1, "reasons": []}},
        }

    async def test_parts_and_encoding_are_those_of_the_text_with_its_placeholders(self, caller: Caller) -> None:
        _, answer = await caller.send("sms", SMS, body="{a}", placeholders={"a": "🎉" * 36})
        assert answer["results"]["sms"] == {"accepted": True, "unicode": True, "parts": 2, "reasons": []}
        assert caller.sandbox.messages[0].parts == 2

    @pytest.mark.parametrize(
        ("channel", "payload"),
        [
            ("rcs", RCS),
            ("rcs", {"destination": "+393201234567", "agentId": 10, "templateId": 3}),
            ("whatsapp", WHATSAPP),
            ("whatsapp", WHATSAPP | {"template": {"id": 42}}),
            ("whatsapp", {"destination": "+393201234567", "phoneNumberId": 5, "body": "Ciao", "fallbackRcs": True}),
            ("whatsapp", {"destination": "+393201234567", "phoneNumberId": 5, "body": {"type": "TEXT"}}),
        ],
    )
    async def test_rcs_and_whatsapp_are_accepted(self, caller: Caller, channel: str, payload: dict[str, Any]) -> None:
        status, answer = await caller.send(channel, payload)
        assert status == 200
        assert answer["results"] == {channel: {"accepted": True, "reasons": []}}
        assert list(caller.sandbox.accepted) == [answer["messageId"]]

    async def test_what_was_accepted_is_on_record_as_it_was_sent(self, caller: Caller) -> None:
        await caller.send("sms", SMS, messageId="m-1", campaignId="c")
        await caller.send("rcs", RCS, messageId="m-2")
        first, second = caller.sandbox.messages
        assert (first.message_id, first.channel, first.destination) == ("m-1", "SMS", "+393201234567")
        assert first.json() == SMS | {"messageId": "m-1", "campaignId": "c"}
        assert (second.message_id, second.channel) == ("m-2", "RCS")

    async def test_a_repeated_id_counts_as_a_second_message(self, caller: Caller) -> None:
        await caller.send("sms", SMS, messageId="m-1")
        await caller.send("sms", SMS, messageId="m-1")
        assert caller.sandbox.accepted == {"m-1": 2}
        assert len(caller.sandbox.messages) == 2

    async def test_a_simulation_is_checked_and_answered_but_not_accepted(self, caller: Caller) -> None:
        status, answer = await caller.send("sms", SMS, messageId="m-1", simulation=True)
        assert (status, answer["simulation"]) == (200, True)
        assert answer["results"]["sms"]["accepted"] is True
        assert not caller.sandbox.accepted
        assert caller.sandbox.is_idle
        assert await caller.status("m-1") is None
        assert (await caller.send("sms", SMS, sender="", simulation=True))[0] == 400

    async def test_a_refused_destination_is_200_with_reasons(self, caller: Caller) -> None:
        caller.sandbox.refuse("+393201234567", "BLACKLISTED")
        status, answer = await caller.send("sms", SMS)
        assert status == 200
        assert answer["results"]["sms"]["accepted"] is False
        assert answer["results"]["sms"]["reasons"] == ["BLACKLISTED"]
        assert not caller.sandbox.accepted

    @pytest.mark.parametrize(
        ("channel", "change", "status", "field"),
        [
            ("sms", {"destination": None}, 400, "destination"),
            ("sms", {"destination": ""}, 400, "destination"),
            ("sms", {"destination": 39}, 400, "destination"),
            ("sms", {"sender": None}, 400, "sender"),
            ("sms", {"sender": ""}, 400, "sender"),
            ("sms", {"body": ""}, 400, "body"),
            ("sms", {"body": ["x"]}, 400, "body"),
            ("sms", {"messageId": ""}, 400, "messageId"),
            ("sms", {"simulation": "yes"}, 400, "simulation"),
            ("sms", {"scheduledDate": "2026-04-10T08:00:00Z"}, 400, "scheduledDate"),
            ("sms", {"placeholders": {"a": 1}}, 400, "placeholders"),
            ("sms", {"destination": "3201234567"}, 422, "destination"),
            ("sms", {"destination": "+39 320 1234567"}, 422, "destination"),
            ("sms", {"campaignId": "c" * 256}, 422, "campaignId"),
            ("sms", {"sender": "TwelveLetter"}, 422, "sender"),
            ("sms", {"sender": "1" * 17}, 422, "sender"),
            ("sms", {"udhData": "0"}, 422, "udhData"),
            ("sms", {"body": "a" * (255 * 153 + 1)}, 422, "body"),
            ("rcs", {"agentId": "10"}, 400, "agentId"),
            ("rcs", {"agentId": None}, 400, "agentId"),
            ("rcs", {"templateId": 3}, 400, "templateId"),
            ("rcs", {"body": None}, 400, "body"),
            ("rcs", {"body": {"type": "SONG", "body": {"text": "x"}}}, 400, "body.type"),
            ("rcs", {"body": {"type": "CARD"}}, 400, "body.body"),
            ("rcs", {"body": {"type": "TEXT", "body": {"text": ""}}}, 400, "body.body.text"),
            ("rcs", {"body": {"type": "TEXT", "body": {"text": "x" * 1025}}}, 422, "body.body.text"),
            ("whatsapp", {"phoneNumberId": None}, 400, "phoneNumberId"),
            ("whatsapp", {"body": "x"}, 400, "template"),
            ("whatsapp", {"template": None}, 400, "template"),
            ("whatsapp", {"template": {}}, 400, "template"),
            ("whatsapp", {"template": None, "body": "x" * 4097}, 422, "body"),
            ("whatsapp", {"template": None, "body": {}}, 400, "body"),
            ("whatsapp", {"fallbackRcs": {"agentId": 1}}, 400, "fallbackSms"),
        ],
    )
    async def test_what_is_wrong_is_400_or_422_and_names_the_field(
        self, caller: Caller, channel: str, change: dict[str, Any], status: int, field: str
    ) -> None:
        good = {"sms": SMS, "rcs": RCS, "whatsapp": WHATSAPP}[channel]
        payload = {name: value for name, value in (good | change).items() if value is not None}
        got, answer = await caller.call("POST", SEND.format(channel), json=payload)
        assert got == status
        assert answer["status"] == status
        assert answer["error"] == {400: "Bad Request", 422: "Unprocessable Entity"}[status]
        assert field in answer["message"]
        assert not caller.sandbox.accepted

    async def test_a_body_that_is_no_json_is_400(self, caller: Caller) -> None:
        status, answer = await caller.call("POST", SEND.format("sms"), data=b"{")
        assert (status, answer["error"]) == (400, "Bad Request")


class TestAccess:
    async def test_without_a_key_or_with_another_it_is_401(self, caller: Caller) -> None:
        for headers in ({"X-Api-Key": ""}, {"X-Api-Key": "other"}, {"X-Api-Key": "\udcff"}):
            status, answer = await caller.call("POST", SEND.format("sms"), json=SMS, headers=headers)
            assert (status, answer["status"], answer["error"]) == (401, 401, "Unauthorized")
        async with caller.session.post(caller.sandbox.url + SEND.format("sms"), json=SMS) as answer:
            assert answer.status == 401
        assert not caller.sandbox.accepted

    async def test_basic_auth_will_do(self, caller: Caller) -> None:
        url = caller.sandbox.url + SEND.format("sms")
        for password, status in (("sandbox-key", 200), ("other", 401)):
            credentials = base64.b64encode(f"sandbox:{password}".encode()).decode()
            headers = {"Authorization": f"Basic {credentials}"}
            async with caller.session.post(url, json=SMS, headers=headers) as answer:
                assert answer.status == status

    async def test_a_replaced_key_is_revoked(self, caller: Caller) -> None:
        old = {"X-Api-Key": caller.sandbox.api_key}
        caller.sandbox.api_key = "new"
        assert (await caller.send("sms", SMS))[0] == 200
        assert (await caller.call("POST", SEND.format("sms"), json=SMS, headers=old))[0] == 401

    async def test_unknown_paths_are_404_and_other_methods_405_in_json(self, caller: Caller) -> None:
        for path in ("/nothing", "/message-server/fax/send", f"{STATUS}/"):
            status, answer = await caller.call("GET", path)
            assert (status, answer["status"]) == (404, 404)
        status, answer = await caller.call("GET", SEND.format("sms"))
        assert (status, answer["status"]) == (405, 405)

    async def test_a_url_too_long_is_414(self, caller: Caller) -> None:
        ids = ",".join(["x" * 40] * 250)
        status, answer = await caller.call("GET", STATUS, params={"ids": ids, "channel": "SMS"})
        assert (status, answer["status"]) == (414, 414)

    async def test_a_body_too_large_is_413(self, caller: Caller) -> None:
        status, answer = await caller.call("POST", SEND.format("sms"), data=io.BytesIO(b"x" * (1 << 21)))
        assert (status, answer["status"]) == (413, 413)


class TestStatus:
    async def test_one_message(self, caller: Caller) -> None:
        caller.sandbox.outcome("+393201234567", "SENT")
        await caller.send("sms", SMS, messageId="a/b c")
        status, answer = await caller.call("GET", f"{STATUS}/a%2Fb%20c", params={"channel": "SMS"})
        assert status == 200
        assert answer.keys() == {"customerMessageId", "deliveryStatus", "deliveryStatusDescription"}
        assert (answer["customerMessageId"], answer["deliveryStatus"]) == ("a/b c", "SENT")

    async def test_unknown_ids_and_other_channels_are_404(self, caller: Caller) -> None:
        await caller.send("sms", SMS, messageId="m-1")
        for path, channel in ((f"{STATUS}/m-2", "SMS"), (f"{STATUS}/m-1", "RCS")):
            status, answer = await caller.call("GET", path, params={"channel": channel})
            assert (status, answer["error"]) == (404, "Not Found")

    async def test_no_channel_or_no_such_channel_is_400(self, caller: Caller) -> None:
        for path in (f"{STATUS}/m-1", f"{STATUS}?ids=m-1", f"{STATUS}/m-1?channel=FAX", f"{STATUS}/m-1?channel=sms"):
            status, answer = await caller.call("GET", path)
            assert status == 400
            assert "channel" in answer["message"]
        assert (await caller.call("GET", f"{STATUS}?channel=SMS"))[0] == 400

    async def test_a_batch_leaves_out_what_it_does_not_know(self, caller: Caller) -> None:
        for message_id in "abcdef":
            await caller.send("sms", SMS, messageId=message_id)
        await caller.send("rcs", RCS, messageId="r")
        await caller.sandbox.idle()
        status, answer = await caller.call("GET", STATUS, params={"ids": "a,b,c,d,e,f,r,x", "channel": "SMS"})
        assert status == 200
        assert {item["customerMessageId"]: item["deliveryStatus"] for item in answer} == dict.fromkeys(
            "abcdef", "DELIVERED"
        )
        assert [item["customerMessageId"] for item in answer] != list("abcdef")
        assert await caller.call("GET", STATUS, params={"ids": "x,y", "channel": "SMS"}) == (200, [])


class TestWebhookRegistration:
    URL = "https://api.example.it/callbacks"

    async def test_the_life_of_a_registration(self, caller: Caller) -> None:
        assert (await caller.call("GET", WEBHOOK))[0] == 404
        assert (await caller.call("PUT", WEBHOOK, json={"callbackUrl": self.URL}))[0] == 404
        assert (await caller.call("DELETE", WEBHOOK))[0] == 404
        status, created = await caller.call("POST", WEBHOOK, json={"callbackUrl": self.URL})
        assert status == 201
        assert created.keys() == {"id", "callbackUrl", "status", "createdAt"}
        assert (created["callbackUrl"], created["status"]) == (self.URL, "ACTIVE")
        assert (await caller.call("POST", WEBHOOK, json={"callbackUrl": self.URL}))[0] == 409
        assert await caller.call("GET", WEBHOOK) == (200, created)
        status, updated = await caller.call("PUT", WEBHOOK, json={"callbackUrl": f"{self.URL}/2"})
        assert (status, updated["callbackUrl"]) == (200, f"{self.URL}/2")
        assert await caller.call("DELETE", WEBHOOK) == (204, None)
        assert (await caller.call("GET", WEBHOOK))[0] == 404

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"callbackUrl": None},
            {"callbackUrl": 5},
            {"callbackUrl": ""},
            {"callbackUrl": "nowhere"},
            {"callbackUrl": "https://"},
            {"callbackUrl": "https://["},
            {"callbackUrl": "http://api.example.it/"},
            {"callbackUrl": "ftp://127.0.0.1/"},
        ],
    )
    async def test_a_missing_or_malformed_or_plain_url_is_400(self, caller: Caller, body: dict[str, Any]) -> None:
        status, answer = await caller.call("POST", WEBHOOK, json=body)
        assert status == 400
        assert "callbackUrl" in answer["message"]

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1:80", "[::1]:80"])
    async def test_plain_http_will_do_on_loopback(self, caller: Caller, host: str) -> None:
        assert (await caller.call("POST", WEBHOOK, json={"callbackUrl": f"http://{host}/x"}))[0] == 201

    async def test_no_key_is_401(self, caller: Caller) -> None:
        for method in ("GET", "POST", "PUT", "DELETE"):
            assert (await caller.call(method, WEBHOOK, headers={"X-Api-Key": "other"}))[0] == 401


class TestRateLimit:
    async def test_both_windows_are_kept_and_told(self, anyio_backend: str) -> None:
        clock = VirtualClock(jump=False)
        limit = RateLimit(per_second=2, per_minute=3)
        async with Sandbox(rate_limit=limit, clock=clock) as sandbox, aiohttp.ClientSession() as session:
            caller = Caller(sandbox, session)
            for remaining in ("2", "1"):
                assert (await caller.send("sms", SMS))[0] == 200
                assert caller.headers["X-RateLimit-Limit"] == "3"
                assert caller.headers["X-RateLimit-Remaining"] == remaining
                assert caller.headers["X-RateLimit-Reset"] == "60"
            await clock.advance(0.5)
            assert await caller.send("sms", SMS) == (
                429,
                {
                    "status": 429,
                    "error": "Too Many Requests",
                    "message": "Rate limit exceeded. Please retry after 1 seconds.",
                    "retryAfter": 1,
                },
            )
            assert caller.headers["Retry-After"] == "1"
            await clock.advance(0.5)
            assert (await caller.send("sms", SMS))[0] == 200
            await clock.advance(2)
            status, answer = await caller.send("sms", SMS)
            assert (status, answer["retryAfter"]) == (429, 57)
            assert caller.headers["X-RateLimit-Remaining"] == "0"
            assert caller.headers["X-RateLimit-Reset"] == "57"
            await clock.advance(57)
            assert (await caller.call("GET", "/nothing"))[0] == 404
            assert len(sandbox.accepted) == 3
            assert sandbox.requests["send", 429] == 2
            assert len(sandbox.arrivals) == 6
            assert sandbox.busiest(1.0) == 4
            assert sandbox.busiest(0.1) == 2

    async def test_the_production_limit_is_the_default(self, anyio_backend: str) -> None:
        async with Sandbox(clock=VirtualClock(jump=False)) as sandbox, aiohttp.ClientSession() as session:
            caller = Caller(sandbox, session)
            statuses = [(await caller.send("sms", SMS, simulation=True))[0] for _ in range(51)]
            assert statuses == [200] * 50 + [429]
            assert caller.headers["X-RateLimit-Limit"] == "1000"

    async def test_without_a_limit_there_are_no_headers(self, caller: Caller) -> None:
        await caller.send("sms", SMS)
        assert not [name for name in caller.headers if name.startswith("X-RateLimit")]

    async def test_a_wrong_key_spends_nothing(self, anyio_backend: str) -> None:
        clock = VirtualClock(jump=False)
        async with Sandbox(rate_limit=RateLimit(1, 1), clock=clock) as sandbox, aiohttp.ClientSession() as session:
            caller = Caller(sandbox, session)
            assert (await caller.call("GET", STATUS, headers={"X-Api-Key": "other"}))[0] == 401
            assert caller.headers["X-RateLimit-Remaining"] == "1"
            assert (await caller.send("sms", SMS))[0] == 200


class TestLife:
    async def test_sent_received_delivered_in_their_time(self, anyio_backend: str) -> None:
        clock = VirtualClock(jump=False)
        life = Life(received=2.0, final=5.0)
        async with (
            Sandbox(rate_limit=None, life=life, clock=clock) as sandbox,
            aiohttp.ClientSession() as session,
        ):
            caller = Caller(sandbox, session)
            await caller.send("sms", SMS, messageId="m-1", scheduledDate="2031-04-10 08:00:00.000+0200")
            seen = [await caller.status("m-1")]
            for seconds in (1.9, 0.2, 2.8, 0.2):
                await clock.advance(seconds)
                seen.append(await caller.status("m-1"))
            assert seen == ["SENT", "SENT", "RECEIVED", "RECEIVED", "DELIVERED"]
            assert sandbox.is_idle

    async def test_a_shorter_life_begun_later_ends_earlier(self, anyio_backend: str) -> None:
        clock = VirtualClock(jump=False)
        async with (
            Sandbox(rate_limit=None, life=Life(final=10.0), clock=clock) as sandbox,
            aiohttp.ClientSession() as session,
        ):
            caller = Caller(sandbox, session)
            await caller.send("sms", SMS, messageId="m-1")
            sandbox.life = Life(final=1.0)
            await caller.send("sms", SMS, messageId="m-2")
            await clock.advance(1)
            assert [await caller.status("m-1"), await caller.status("m-2")] == ["SENT", "DELIVERED"]

    @pytest.mark.parametrize("outcome", ["SENT", "RECEIVED", "ERROR", "EXPIRED", "DELIVERED"])
    async def test_an_outcome_by_destination(self, caller: Caller, outcome: str) -> None:
        caller.sandbox.outcome("+393201234567", outcome)
        await caller.send("rcs", RCS, messageId="m-1")
        await caller.send("rcs", RCS, messageId="m-2", destination="+393201234568")
        await caller.sandbox.idle()
        assert await caller.status("m-1", "RCS") == outcome
        assert await caller.status("m-2", "RCS") == "DELIVERED"

    async def test_outcomes_by_share_repeat_with_the_seed(self, anyio_backend: str) -> None:
        async def outcomes(seed: int) -> list[str | None]:
            life = Life(final=0.0, errors=0.3, expiries=0.3)
            async with (
                Sandbox(rate_limit=None, life=life, seed=seed) as sandbox,
                aiohttp.ClientSession() as session,
            ):
                caller = Caller(sandbox, session)
                for number in range(30):
                    await caller.send("sms", SMS, messageId=str(number))
                await sandbox.idle()
                return [await caller.status(str(number)) for number in range(30)]

        first = await outcomes(1)
        assert set(first) == {"DELIVERED", "ERROR", "EXPIRED"}
        assert await outcomes(1) == first
        assert await outcomes(2) != first

    async def test_impossible_lives_are_refused(self) -> None:
        for wrong in ({"final": -1}, {"errors": 0.6, "expiries": 0.6}, {"reads": 2.0}, {"received": 2.0, "final": 1.0}):
            with pytest.raises(ConfigurationError):
                Life(**wrong)

    async def test_keep_bounds_what_is_remembered_but_not_the_count(self, anyio_backend: str) -> None:
        async with (
            Sandbox(rate_limit=None, life=AT_ONCE, keep=2) as sandbox,
            aiohttp.ClientSession() as session,
        ):
            caller = Caller(sandbox, session)
            for message_id in "abc":
                await caller.send("sms", SMS, messageId=message_id)
            await sandbox.idle()
            assert sandbox.accepted == {"a": 1, "b": 1, "c": 1}
            assert [message.message_id for message in sandbox.messages] == ["b", "c"]
            assert len(sandbox.arrivals) == 2
            assert [await caller.status(message_id) for message_id in "abc"] == [None, "DELIVERED", "DELIVERED"]


class TestLifecycle:
    async def test_g12_closing_leaves_no_task_even_with_lives_and_hanging_clients(self, anyio_backend: str) -> None:
        before = asyncio.all_tasks()
        async with Sandbox(rate_limit=None, life=Life(final=3600.0)) as sandbox, aiohttp.ClientSession() as session:
            await Caller(sandbox, session).send("sms", SMS)
            assert not sandbox.is_idle
            idle = asyncio.create_task(sandbox.idle())
            await asyncio.sleep(0)
        await idle
        assert asyncio.all_tasks() == before

    async def test_a_sandbox_starts_once_and_again_after_closing(self, anyio_backend: str) -> None:
        sandbox = Sandbox()
        with pytest.raises(ConfigurationError, match="started"):
            _ = sandbox.url
        await sandbox.start()
        with pytest.raises(ConfigurationError, match="already"):
            await sandbox.start()
        await sandbox.aclose()
        await sandbox.aclose()
        async with sandbox, aiohttp.ClientSession() as session:
            assert (await Caller(sandbox, session).send("sms", SMS))[0] == 200

    async def test_a_taken_port_is_an_error_that_leaks_nothing(self, sandbox: Sandbox) -> None:
        port = int(sandbox.url.split(":")[2].removesuffix("/api"))
        second = Sandbox(port=port)
        with pytest.raises(OSError, match="address"):
            await second.start()

    async def test_g11_no_number_text_or_key_in_logs_and_reprs(
        self, caller: Caller, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        sandbox = caller.sandbox
        sandbox.api_key = "canary-key"
        sandbox.register("http://127.0.0.1:9/canary-token")
        sandbox.outcome("+393201234567", "READ")
        for channel, payload in (("sms", SMS | {"body": "canary-text"}), ("rcs", RCS), ("whatsapp", WHATSAPP)):
            await caller.send(channel, payload, messageId=f"id-{channel}")
        await caller.call("GET", "/nothing/+393201234567")
        await caller.call("GET", STATUS, params={"ids": "a,b", "channel": "SMS"})
        sandbox.register(None)
        await sandbox.idle()
        shown = caplog.text + repr(sandbox) + repr(sandbox.messages) + repr(sandbox.callbacks) + repr(sandbox.faults)
        assert "id-sms" in caplog.text
        for canary in ("393201234567", "canary", "Ciao"):
            assert canary not in shown
