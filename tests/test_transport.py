"""Attempts on the wire: time-outs, cancellation, and what may be known and shown of their ends."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator

import aiohttp
import pytest

from qlara_async import Limiter, QlaraClient, RateLimit, RetryPolicy, Sms, Timeouts
from qlara_async.errors import (
    ClientClosedError,
    ConnectionFailed,
    DeliveryUnknownError,
    NotSentError,
    QlaraError,
    RequestTimeout,
)
from qlara_async.read_deadlines import ReadDeadlines
from qlara_async.sending.calls import Pursuit
from qlara_async.testing.clock import VirtualClock

from .wire import ACCEPT, Action, WireGateway, accept, answer, drop, hang

pytestmark = pytest.mark.anyio

ONCE = RetryPolicy(max_attempts=1, settle=0)


def sms() -> Sms:
    return Sms(destination="+393401234567", sender="ACME", body="Ciao Anna")


def raw(data: bytes) -> Action:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(data)
        await writer.drain()
        return False

    return act


def chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        one = pending.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            yield one
            pending += [one.__cause__, one.__context__]


async def failure_of(coroutine: object) -> QlaraError:
    with pytest.raises(QlaraError) as caught:
        await coroutine  # type: ignore[misc]
    return caught.value


class TestCancellation:
    @pytest.mark.parametrize("ours_first", [False, True])
    async def test_g12_a_cancellation_that_meets_a_timeout_is_still_a_cancellation(self, ours_first: bool) -> None:
        deadlines = ReadDeadlines()
        verdicts: list[bool] = []

        async def request() -> None:
            task = asyncio.current_task()
            assert task is not None
            deadlines.watch(task, aiohttp.UploadTracker(), 60.0)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                verdicts.append(deadlines.caused_cancellation(task))
            finally:
                deadlines.forget(task)

        task = asyncio.create_task(request())
        await asyncio.sleep(0)
        steps: list[Callable[[], object]] = [lambda: deadlines._expire([task]), task.cancel]
        for step in steps if ours_first else reversed(steps):
            step()
        await task
        assert verdicts == [False]

    async def test_g12_a_timeout_leaves_no_cancellation_behind(self, gateway: WireGateway) -> None:
        gateway.default = hang
        async with QlaraClient("k", base_url=gateway.url, timeouts=Timeouts(read=0.05), retry=ONCE) as qlara:
            for _ in range(3):
                assert isinstance(await failure_of(qlara.send(sms())), DeliveryUnknownError)
                task = asyncio.current_task()
                assert task is not None
                assert task.cancelling() == 0

    async def test_a_send_in_the_cleanup_of_a_cancelled_task_fails_as_any_other(
        self, qlara: QlaraClient, gateway: WireGateway
    ) -> None:
        gateway.default = drop
        ends: list[BaseException] = []

        async def work() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                try:
                    await qlara.with_options(retry=ONCE).send(sms())
                except BaseException as error:
                    ends.append(error)

        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [type(end) for end in ends] == [DeliveryUnknownError]

    async def test_closing_the_client_ends_sends_in_every_phase_with_its_own_errors(self, gateway: WireGateway) -> None:
        gateway.default = hang
        qlara = QlaraClient("k", base_url=gateway.url, rate_limit=None, retry=ONCE)
        sends = [asyncio.create_task(qlara.send(sms())) for _ in range(104)]  # four more than the pool holds
        while len(gateway.seen) < 100:
            await asyncio.sleep(0)
        await qlara.aclose()
        ends = await asyncio.gather(*sends, return_exceptions=True)
        assert {type(end) for end in ends} <= {DeliveryUnknownError, ConnectionFailed, ClientClosedError}

    async def test_an_answer_that_came_during_a_stall_of_the_loop_counts(self, gateway: WireGateway) -> None:
        async with QlaraClient("k", base_url=gateway.url, timeouts=Timeouts(read=1.0), retry=ONCE) as qlara:
            release = asyncio.Event()

            async def later(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
                await release.wait()
                return await accept(reader, writer)

            gateway.script = [later]
            sending = asyncio.create_task(qlara.send(sms()))
            deadlines = qlara._transport._deadlines
            while not (gateway.seen and any(watched.written for watched in deadlines._open.values())):
                await asyncio.sleep(0)
            release.set()
            await asyncio.sleep(0)
            stalled_until = time.perf_counter() + 1.2
            while time.perf_counter() < stalled_until:
                continue
            assert (await sending).attempts == 1


class TestTimeouts:
    async def test_a_trickled_answer_to_a_get_is_given_up_too(self, gateway: WireGateway) -> None:
        async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while True:
                writer.write(b" ")
                await writer.drain()
                try:
                    if await asyncio.wait_for(reader.read(1), 0.01) == b"":
                        return False
                except TimeoutError:
                    continue

        gateway.default = trickle
        async with QlaraClient("k", base_url=gateway.url, timeouts=Timeouts(read=0.15), retry=ONCE) as qlara:
            error = await failure_of(qlara.messages.status("x", channel="SMS"))
        assert isinstance(error, RequestTimeout)

    async def test_a_silent_answer_to_a_get_times_out(self, gateway: WireGateway) -> None:
        gateway.default = hang
        async with QlaraClient("k", base_url=gateway.url, timeouts=Timeouts(read=0.05), retry=ONCE) as qlara:
            error = await failure_of(qlara.messages.status("x", channel="SMS"))
        assert isinstance(error, RequestTimeout)
        assert error.phase == "read"

    async def test_a_connection_that_does_not_open_times_out_and_sends_nothing(self) -> None:
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(full.getsockname())
            url = f"http://127.0.0.1:{full.getsockname()[1]}/api"
            async with QlaraClient("k", base_url=url, timeouts=Timeouts(connect=0.1), retry=ONCE) as qlara:
                error = await failure_of(qlara.send(sms()))
            for filler in fillers:
                filler.close()
        assert isinstance(error, RequestTimeout)
        assert (error.phase, error.sent) == ("connect", "no")

    async def test_a_proxy_that_takes_the_connection_and_says_nothing_times_out(self, gateway: WireGateway) -> None:
        proxy = gateway.url.removesuffix("/api")
        gateway.default = hang
        timeouts = Timeouts(connect=0.1, read=0.1)
        async with (
            asyncio.timeout(10),
            QlaraClient("k", base_url="https://gateway.test/api", proxy=proxy, timeouts=timeouts, retry=ONCE) as qlara,
        ):
            error = await failure_of(qlara.send(sms()))
        assert isinstance(error, RequestTimeout)
        assert (error.phase, error.sent) == ("connect", "no")
        assert "within 0.2 s" in str(error)
        assert [seen.method for seen in gateway.seen] == ["CONNECT"]

    async def test_a_large_upload_that_makes_progress_does_not_time_out(self, gateway: WireGateway) -> None:
        body = b"x" * 900_000
        async with QlaraClient("k", base_url=gateway.url, timeouts=Timeouts(read=0.3), retry=ONCE) as qlara:
            reply = await qlara.request("POST", "/x", body=body)
        assert reply.status == 200
        assert len(gateway.seen[0].body) == len(body)


class TestWhatIsKnown:
    async def test_g1_a_large_body_torn_down_is_never_called_unsent(self) -> None:
        connections = 0

        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            await reader.read(1000)
            writer.transport.abort()

        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api"
        async with server, QlaraClient("k", base_url=url, retry=RetryPolicy(max_attempts=3)) as qlara:
            error = await failure_of(qlara.request("POST", "/x", body=b"x" * 900_000))
        assert isinstance(error, ConnectionFailed)
        assert error.sent == "maybe"
        assert connections == 1

    async def test_grants_reach_the_gateway_however_many_requests_hang(self, gateway: WireGateway) -> None:
        gateway.default = hang
        limit = RateLimit(per_second=200, per_minute=200)
        async with QlaraClient("k", base_url=gateway.url, rate_limit=limit) as qlara:
            sends = [asyncio.create_task(qlara.send(sms())) for _ in range(150)]
            while len(gateway.seen) < 150:
                await asyncio.sleep(0)
            for send in sends:
                send.cancel()
            await asyncio.gather(*sends, return_exceptions=True)

    async def test_an_attempt_is_not_begun_after_the_total_time(
        self, gateway: WireGateway, clock: VirtualClock
    ) -> None:
        gateway.script = [answer(429)]
        async with QlaraClient("k", base_url=gateway.url, clock=clock, random=lambda: 0.0) as qlara:
            short = qlara.with_options(retry=RetryPolicy(max_elapsed=10))
            async with short.bulk([sms()]) as job:
                while not gateway.seen:
                    await asyncio.sleep(0)
                qlara.limiter.pause_until(clock.monotonic() + 3600)
                assert [outcome.state async for outcome in job] == ["failed"]
            assert qlara.limiter._windows.free(clock.monotonic()) == (50, 1000)  # nor does it cost a token
        assert len(gateway.seen) == 1

    @pytest.mark.parametrize("ask", ["send", "status"])
    async def test_g1_an_answer_that_was_there_before_the_request_is_not_its_answer(
        self, ask: str, gateway: WireGateway
    ) -> None:
        more = asyncio.Event()
        stray = answer(200, ACCEPT if ask == "send" else b'[{"customerMessageId":"x","deliveryStatus":"SENT"}]')

        async def accept_and_more(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
            await accept(reader, writer)
            await more.wait()
            return await stray(reader, writer)

        gateway.script = [accept_and_more]
        gateway.default = drop
        async with QlaraClient("k", base_url=gateway.url, retry=ONCE) as qlara:
            await qlara.send(sms())
            more.set()
            for _ in range(50):
                await asyncio.sleep(0)
            asked = qlara.send(sms()) if ask == "send" else qlara.messages.statuses(["x"], channel="SMS")
            assert isinstance(await failure_of(asked), ConnectionFailed | DeliveryUnknownError)

    async def test_g12_a_send_that_waits_while_the_client_is_closed_costs_no_token(self, gateway: WireGateway) -> None:
        still = VirtualClock(jump=False)
        shared = Limiter(RateLimit.TRIAL, clock=still)
        qlara = QlaraClient("k", base_url=gateway.url, clock=still, limiter=shared)
        shared.pause_until(still.monotonic() + 30)
        sending = asyncio.create_task(qlara.send(sms()))
        while not shared.waiting:
            await asyncio.sleep(0)
        await qlara.aclose()
        await still.advance(31)
        assert isinstance(await failure_of(sending), ClientClosedError)
        assert shared._windows.free(still.monotonic()) == (10, 100)

    async def test_a_send_that_is_not_wanted_any_more_costs_no_request_and_no_token(
        self, qlara: QlaraClient, gateway: WireGateway, clock: VirtualClock
    ) -> None:
        assert isinstance(await failure_of(qlara._send(sms(), Pursuit(wanted=lambda: False))), NotSentError)
        assert gateway.seen == []
        assert qlara.limiter._windows.free(clock.monotonic()) == (50, 1000)

    async def test_a_reset_in_a_unit_we_do_not_know_pauses_nothing(
        self, qlara: QlaraClient, gateway: WireGateway, clock: VirtualClock
    ) -> None:
        gateway.script = [answer(200, ACCEPT, X_RateLimit_Remaining="0", X_RateLimit_Reset="45000")]
        await qlara.send(sms())
        assert qlara.limiter.paused_until < clock.monotonic()


class TestDiscretion:
    async def test_g11_nothing_in_the_chain_of_an_error_shows_headers_urls_or_answers(
        self, gateway: WireGateway
    ) -> None:
        gateway.default = raw(b"HTTP/1.1 200 OK\r\n+393401234567 Ciao\r\n\r\n")
        async with QlaraClient("secret-key", base_url=gateway.url, retry=ONCE) as qlara:
            for call in (
                qlara.send(sms()),
                qlara.request("GET", "/partner-gateway/v1/contacts", params={"phone": "+393401234567"}),
            ):
                error = await failure_of(call)
                shown = "".join(traceback.format_exception(error))
                shown += "".join(repr(one) + str(one) for one in chain(error))
                for canary in ("secret-key", "3401234567", "Ciao Anna"):
                    assert canary not in shown

    @pytest.mark.parametrize("body", [b'{"message":"bad key short-key"}', b'{"code":"+393401234567 Ciao"}'])
    async def test_g11_an_answer_that_quotes_key_or_number_is_scrubbed(self, body: bytes, gateway: WireGateway) -> None:
        gateway.default = answer(403, body)
        async with QlaraClient("short-key", base_url=gateway.url) as qlara:
            error = await failure_of(qlara.send(sms()))
        assert "short-key" not in str(error)
        assert "3401234567" not in str(error)
        assert "Ciao" not in str(error)

    async def test_g11_a_path_with_a_number_is_not_logged(
        self, gateway: WireGateway, clock: VirtualClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        gateway.script = [answer(500), answer(429)]
        paths: list[str] = []
        async with QlaraClient(
            "k", base_url=gateway.url, clock=clock, on_event=lambda event: paths.append(repr(event))
        ) as qlara:
            await qlara.request("GET", "/partner-gateway/v1/contacts/+393401234567")
        assert "answered 500" in caplog.text
        assert "3401234567" not in caplog.text + "".join(paths)

    async def test_errors_name_the_host_and_the_kind_of_failure(self) -> None:
        async with QlaraClient("k", base_url="https://gateway.invalid/api", retry=ONCE) as qlara:
            error = await failure_of(qlara.send(sms()))
        assert str(error).startswith("no connection to gateway.invalid:443: its name does not resolve")


def test_ids_differ_after_a_fork() -> None:
    code = (
        "import os\n"
        "from qlara_async.sending.sends import new_message_id\n"
        "new_message_id()\n"
        "child = os.fork()\n"
        "os.write(1, new_message_id().encode() + b'\\n')\n"
        "os._exit(0) if child == 0 else os.wait()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    one, other = done.stdout.split()
    assert one != other
