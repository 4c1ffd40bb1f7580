from __future__ import annotations

import asyncio
import gc
import pickle
import ssl
import subprocess
import sys
import warnings

import aiohttp
import pytest

import qlara_async
from qlara_async import Channel, Limiter, Priority, QlaraClient, RateLimit, Rcs, RetryPolicy, Sms, Timeouts, WhatsApp
from qlara_async.errors import (
    ClientClosedError,
    ConfigurationError,
    ConnectionFailed,
    InvalidMessageError,
    NotFoundError,
    WrongEventLoopError,
)
from qlara_async.sandbox import Sandbox

from .wire import ACCEPT, WireGateway, accept, answer, hang


def sms() -> Sms:
    return Sms(destination="+393401234567", sender="ACME", body="Ciao")


class TestLifecycle:
    def test_a_client_may_be_made_where_no_loop_runs_and_used_later(self) -> None:
        client = QlaraClient("k", base_url="http://127.0.0.1:9/api")

        async def use() -> str:
            async with WireGateway() as gateway, QlaraClient("k", base_url=gateway.url) as qlara:
                return (await qlara.send(sms())).channel

        assert asyncio.run(use()) == "SMS"
        asyncio.run(client.aclose())

    def test_another_event_loop_is_a_clear_error(self) -> None:
        client = QlaraClient("k", base_url="http://127.0.0.1:9/api")
        asyncio.run(client.start())

        async def again() -> None:
            with pytest.raises(WrongEventLoopError, match="one client per loop"):
                await client.send(sms())
            await client.aclose()

        asyncio.run(again())

    @pytest.mark.anyio
    async def test_a_closed_client_says_so(self, qlara: QlaraClient) -> None:
        await qlara.aclose()
        await qlara.aclose()
        with pytest.raises(ClientClosedError):
            await qlara.send(sms())
        with pytest.raises(ClientClosedError):
            await qlara.start()
        assert "closed" in repr(qlara)

    @pytest.mark.anyio
    async def test_closing_during_a_back_off_ends_it(self, qlara: QlaraClient, gateway: WireGateway) -> None:
        gateway.script = [answer(429)]
        sending = asyncio.create_task(qlara.send(sms()))
        while not gateway.seen:
            await asyncio.sleep(0)
        await qlara.aclose()
        with pytest.raises((ClientClosedError, qlara_async.errors.DeliveryUnknownError)):
            await sending

    def test_a_client_never_closed_warns(self) -> None:
        async def forget() -> None:
            client = QlaraClient("k", base_url="http://127.0.0.1:9/api", connector=aiohttp.TCPConnector())
            await client.start()
            session = client._transport.open()
            del client
            gc.collect()
            await session.connector.close()  # type: ignore[union-attr]

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            asyncio.run(forget())
            gc.collect()
        assert any("never closed" in str(w.message) for w in caught if w.category is ResourceWarning)

    @pytest.mark.anyio
    @pytest.mark.usefixtures("no_task_left")
    async def test_g12_a_cancelled_send_leaks_no_connection_and_no_task(
        self, qlara: QlaraClient, gateway: WireGateway
    ) -> None:
        gateway.default = hang
        tasks = [asyncio.create_task(qlara.send(sms())) for _ in range(10)]
        while len(gateway.seen) < 10:
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
        while gateway.open_connections:
            await asyncio.sleep(0)
        gateway.default = accept
        await qlara.send(sms())


class TestConfiguration:
    def test_the_key_comes_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("QLARA_API_KEY", raising=False)
        with pytest.raises(ConfigurationError, match="QLARA_API_KEY"):
            QlaraClient.from_env()
        monkeypatch.setenv("QLARA_API_KEY", "from-env")
        monkeypatch.setenv("QLARA_BASE_URL", "http://127.0.0.1:1/api")
        assert "from-env" not in repr(QlaraClient.from_env())
        with pytest.raises(ConfigurationError, match="https"):
            QlaraClient.from_env(base_url="http://example.com/api")

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"api_key": ""},
            {"api_key": "two words"},
            {"api_key": "k\r\nX: y"},
            {"api_key": "kéy"},
            {"api_key": "k", "basic_auth": ("u", "p")},
            {"basic_auth": ("u:x", "p")},
            {"api_key": "k", "base_url": "http://lora-api.agiletelecom.com/api"},
            {"api_key": "k", "base_url": "lora-api.agiletelecom.com"},
            {"api_key": "k", "base_url": "https://host:x/api"},
            {"api_key": "k", "base_url": "https://host/api?x=1"},
            {"api_key": "k", "base_url": "https://me:secret@host/api"},
            {"api_key": "k", "retry": 3},
            {"api_key": "k", "timeouts": 5.0},
            {"api_key": "k", "rate_limit": 50},
            {"api_key": "k", "rate_limit": RateLimit.TRIAL, "limiter": Limiter()},
            {"api_key": "k", "on_event": asyncio.sleep},
            {"api_key": "k", "on_event": 5},
            {"api_key": "k", "suppression": "suppressed.db"},
            {"api_key": "k", "conversations": "conversations.db"},
            {"api_key": 5},
            {"api_key": b"k"},
            {"api_key": [5]},
        ],
    )
    def test_what_cannot_work_is_refused(self, options: dict[str, object]) -> None:
        with pytest.raises(ConfigurationError) as caught:
            QlaraClient(**options)  # type: ignore[arg-type]
        assert "two words" not in str(caught.value)

    def test_times_and_counts_are_checked(self) -> None:
        for wrong in (
            lambda: Timeouts(read=0),
            lambda: Timeouts(connect=-1),
            lambda: RetryPolicy(max_attempts=0),
            lambda: RetryPolicy(max_wait=-1),
            lambda: RateLimit(per_second=0, per_minute=1),
            lambda: RateLimit(per_second=2.5, per_minute=100),  # type: ignore[arg-type]
            lambda: Timeouts(read=float("nan")),
            lambda: Timeouts(read=None),  # type: ignore[arg-type]
            lambda: RetryPolicy(max_elapsed=float("inf")),
            lambda: RetryPolicy(max_attempts=1.5),  # type: ignore[arg-type]
        ):
            with pytest.raises(ConfigurationError):
                wrong()

    @pytest.mark.anyio
    async def test_headers_of_a_request(self, gateway: WireGateway) -> None:
        async with QlaraClient("the-key", base_url=gateway.url + "/") as qlara:
            await qlara.send(sms())
        (seen,) = gateway.seen
        assert seen.target == "/api/message-server/sms/send"
        assert seen.headers["x-api-key"] == "the-key"
        assert seen.headers["content-type"] == "application/json"
        assert seen.headers["user-agent"].startswith(f"qlara_async/{qlara_async.__version__} ")
        assert "cookie" not in seen.headers

    @pytest.mark.anyio
    async def test_basic_auth(self, gateway: WireGateway) -> None:
        async with QlaraClient(basic_auth=("user", "pässword"), base_url=gateway.url) as qlara:
            await qlara.send(sms())
        assert gateway.seen[0].headers["authorization"] == "Basic dXNlcjpww6Rzc3dvcmQ="
        assert "x-api-key" not in gateway.seen[0].headers

    @pytest.mark.anyio
    async def test_a_session_of_the_callers_own_stays_open(self, gateway: WireGateway) -> None:
        async with aiohttp.ClientSession(headers={"X-Mine": "1"}, raise_for_status=True) as session:
            async with QlaraClient("k", base_url=gateway.url, session=session) as qlara:
                await qlara.send(sms())
                gateway.script = [answer(404)]
                with pytest.raises(NotFoundError):
                    await qlara.messages.status("x", channel="SMS")
            assert not session.closed
        assert gateway.seen[0].headers["x-mine"] == "1"

    @pytest.mark.anyio
    async def test_a_connector_of_the_callers_own_stays_open(self, gateway: WireGateway) -> None:
        async with aiohttp.TCPConnector(limit=1) as connector:
            async with QlaraClient("k", base_url=gateway.url, connector=connector) as qlara:
                await qlara.send(sms())
            assert not connector.closed

    @pytest.mark.anyio
    async def test_a_proxy_is_used(self, gateway: WireGateway) -> None:
        proxy = gateway.url.removesuffix("/api")
        async with QlaraClient("k", base_url="http://localhost:9/api", proxy=proxy) as qlara:
            await qlara.send(sms())
        assert gateway.seen[0].target == "http://localhost:9/api/message-server/sms/send"

    @pytest.mark.anyio
    async def test_a_tls_context_is_used(self) -> None:
        async def speak_no_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await reader.read()
            writer.close()

        server = await asyncio.start_server(speak_no_tls, "127.0.0.1", 0)
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/api"
        async with server, QlaraClient("k", base_url=url, ssl=ssl.create_default_context()) as qlara:
            with pytest.raises(ConnectionFailed, match="TLS") as caught:
                await qlara.with_options(retry=RetryPolicy(max_attempts=1)).send(sms())
        assert caught.value.sent == "no"

    @pytest.mark.anyio
    async def test_clients_share_a_limiter(self, gateway: WireGateway) -> None:
        limiter = Limiter(RateLimit(per_second=2, per_minute=100))
        async with (
            QlaraClient("k", base_url=gateway.url, limiter=limiter) as one,
            QlaraClient("k", base_url=gateway.url, limiter=limiter) as two,
        ):
            await one.send(sms())
            await two.send(sms())
            assert limiter.try_acquire() is None

    @pytest.mark.anyio
    async def test_with_options_is_a_view_that_shares_the_connections(self, qlara: QlaraClient) -> None:
        view = qlara.with_options(timeouts=Timeouts(read=1), priority=Priority.BULK)
        await view.send(sms())
        await view.sms.send(destination="+393401234567", sender="ACME", body="Ciao")
        assert view.limiter is qlara.limiter
        await qlara.aclose()
        with pytest.raises(ClientClosedError):
            await view.send(sms())


@pytest.mark.anyio
class TestOperations:
    async def test_each_channel_has_its_endpoint(self, qlara: QlaraClient, gateway: WireGateway) -> None:
        await qlara.send(Rcs(destination="+393401234567", agent_id=10, body="Ciao"))
        await qlara.send(WhatsApp(destination="+393401234567", phone_number_id=5, body="Ciao"))
        await qlara.rcs.send(destination="+393401234567", agent_id=10, template_id=7)
        await qlara.whatsapp.send(
            destination="+393401234567", phone_number_id=5, template={"name": "greeting", "language": "it"}
        )
        paths = [request.target.removeprefix("/api/message-server/") for request in gateway.seen]
        assert paths == ["rcs/send", "whatsapp/send", "rcs/send", "whatsapp/send"]

    async def test_wrong_input_costs_no_request(self, qlara: QlaraClient, gateway: WireGateway) -> None:
        with pytest.raises(InvalidMessageError):
            await qlara.sms.send(destination="340", sender="ACME", body="Ciao")
        assert gateway.seen == []

    @pytest.mark.parametrize("thing", [{"channel": "SMS"}, "x", None, [sms()]])
    async def test_what_is_no_message_is_refused(self, thing: object, qlara: QlaraClient) -> None:
        with pytest.raises(InvalidMessageError, match="send takes"):
            await qlara.send(thing)  # type: ignore[arg-type]

    async def test_options_of_the_wrong_type_are_refused(self, qlara: QlaraClient) -> None:
        for options in ({"retry": 3}, {"timeouts": 5}, {"priority": "urgent"}):
            with pytest.raises(ConfigurationError):
                qlara.with_options(**options)

    async def test_the_status_of_one_message(self, qlara: QlaraClient, gateway: WireGateway) -> None:
        gateway.script = [
            answer(200, b'{"customerMessageId":"a/../b","deliveryStatus":"DELIVERED","x":1}'),
            answer(404),
        ]
        status = await qlara.messages.status("a/../b", channel="sms")
        assert (status.status, status.message_id, status.channel) == ("DELIVERED", "a/../b", "SMS")
        assert gateway.seen[0].target == "/api/partner-gateway/v1/messages/status/a%2F..%2Fb?channel=SMS"
        with pytest.raises(NotFoundError):
            await qlara.messages.status("b", channel="SMS")
        with pytest.raises(ConfigurationError):
            await qlara.messages.status("b", channel="PIGEON")
        for nothing in ("", ".", ".."):
            with pytest.raises(ConfigurationError):
                await qlara.messages.status(nothing, channel="SMS")

    async def test_each_channel_tells_the_statuses_of_its_own_messages(self) -> None:
        async with Sandbox() as sandbox, QlaraClient(sandbox.api_key, base_url=sandbox.url) as qlara:
            sms = await qlara.sms.send(destination="+390000000001", sender="ACME", body="Ciao")
            rcs = await qlara.rcs.send(destination="+390000000001", agent_id=1, body="Ciao")
            assert (await qlara.sms.status(sms.message_id)).channel == Channel.SMS
            assert (await qlara.rcs.status(rcs.message_id)).status in {"SENT", "DELIVERED"}
            found = await qlara.rcs.statuses([sms.message_id, rcs.message_id])
            assert [item for item, status in found.items() if status is not None] == [rcs.message_id]
            with pytest.raises(NotFoundError):
                await qlara.whatsapp.status(sms.message_id)

    async def test_any_number_of_statuses_is_split_under_the_url_limit(
        self, qlara: QlaraClient, gateway: WireGateway
    ) -> None:
        gateway.default = answer(200, b"[]")
        ids = [f"{index:036d}" for index in range(1_000)]
        found = await qlara.messages.statuses([*ids, ids[0]], channel="SMS")
        assert list(found) == ids
        assert set(found.values()) == {None}
        asked = [request.target.partition("?ids=")[2].partition("&")[0].split(",") for request in gateway.seen]
        assert [item for batch in asked for item in batch] == ids
        assert max(len(request.target) for request in gateway.seen) < 8_000
        assert len(gateway.seen) <= 8

    async def test_statuses_of_no_ids_cost_no_request(self, qlara: QlaraClient, gateway: WireGateway) -> None:
        assert await qlara.messages.statuses([], channel="SMS") == {}
        for wrong in (["a,b"], "abc", [7]):
            with pytest.raises(ConfigurationError):
                await qlara.messages.statuses(wrong, channel="SMS")  # type: ignore[arg-type]
        assert gateway.seen == []

    async def test_registering_a_callback_posts_and_on_409_puts(self, qlara: QlaraClient, gateway: WireGateway) -> None:
        gateway.script = [answer(409), answer(200, b'{"callbackUrl":"https://me.example/qlara/t","id":"wh-1"}')]
        registration = await qlara.webhooks.register("https://me.example/qlara/t")
        assert registration.id == "wh-1"
        assert [request.method for request in gateway.seen] == ["POST", "PUT"]
        assert gateway.seen[1].body == b'{"callbackUrl":"https://me.example/qlara/t"}'

    async def test_the_other_callback_operations(self, qlara: QlaraClient, gateway: WireGateway) -> None:
        gateway.script = [answer(404), answer(200, b'{"callbackUrl":"https://x/y"}'), answer(204, b""), answer(404)]
        assert await qlara.webhooks.get() is None
        found = await qlara.webhooks.get()
        assert found is not None
        assert found.callback_url == "https://x/y"
        await qlara.webhooks.revoke()
        with pytest.raises(NotFoundError):
            await qlara.webhooks.update("https://x/z")

    @pytest.mark.parametrize("url", ["http://me.example/x", "ftp://me/x", "me.example/x", "", "https://"])
    async def test_a_callback_must_be_https(self, url: str, qlara: QlaraClient, gateway: WireGateway) -> None:
        with pytest.raises(ConfigurationError, match="callback URL"):
            await qlara.webhooks.register(url)
        assert gateway.seen == []

    @pytest.mark.parametrize("url", ["http://localhost:80/x", "http://127.9.9.9/x", "http://[::1]:8/x"])
    async def test_on_loopback_plain_http_will_do(self, url: str, qlara: QlaraClient) -> None:
        await qlara.webhooks.register(url)

    async def test_the_raw_request(self, qlara: QlaraClient, gateway: WireGateway) -> None:
        gateway.script = [answer(200, b'{"content":[]}', X_Page="1")]
        reply = await qlara.request("get", "/partner-gateway/v1/contacts", params={"search": "à b&c", "isTest": True})
        assert reply.json() == {"content": []}
        assert (reply.status, reply.headers["x-page"]) == (200, "1")
        assert gateway.seen[0].target == "/api/partner-gateway/v1/contacts?search=%C3%A0+b%26c&isTest=true"
        await qlara.request("POST", "/x", json={"a": 1})
        await qlara.request("POST", "/x", body=b"a=1", content_type="application/x-www-form-urlencoded")
        assert gateway.seen[1].body == b'{"a":1}'
        assert gateway.seen[2].headers["content-type"] == "application/x-www-form-urlencoded"

    @pytest.mark.parametrize(
        "path", ["x", "//evil.example/x", "/a/../b", "/a/%2e%2E/b", "/a?b=1", "/a#b", "https://evil.example/", "/a\\b"]
    )
    async def test_a_path_stays_below_the_base_url(self, path: str, qlara: QlaraClient, gateway: WireGateway) -> None:
        with pytest.raises(ConfigurationError):
            await qlara.request("GET", path)
        with pytest.raises(ConfigurationError):
            await qlara.request("POST", "/x", json=1, body=b"1")
        assert gateway.seen == []


def test_a_receipt_can_be_pickled() -> None:
    async def get() -> qlara_async.Receipt:
        async with WireGateway(default=answer(200, ACCEPT)) as gateway, QlaraClient("k", base_url=gateway.url) as qlara:
            return await qlara.send(sms())

    receipt = asyncio.run(get())
    assert pickle.loads(pickle.dumps(receipt)) == receipt


def test_exports_are_sorted_and_complete() -> None:
    names = [name for name in qlara_async.__all__ if name != "__version__"]
    assert names == sorted(names)
    assert all(hasattr(qlara_async, name) for name in names)


def test_importing_the_package_pulls_in_neither_receiver_nor_sandbox_nor_extras() -> None:
    code = (
        "import sys, qlara_async; "
        "print([m for m in sys.modules if m.startswith(('qlara_async.webhooks', 'qlara_async.sandbox', "
        "'qlara_async.testing', 'typer', 'rich', 'redis', 'opentelemetry', 'pytest', 'aiohttp.web_app', 'sqlite3'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in {"[]", "['aiohttp.web_app']"}
