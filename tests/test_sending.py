"""One message's story at a gateway of bare TCP, where every byte that arrives is counted."""

from __future__ import annotations

import asyncio
import logging
import socket

import aiohttp
import pytest

from qlara_async import (
    ClientEvent,
    LimiterPaused,
    LimiterWaited,
    Priority,
    QlaraClient,
    RateLimit,
    RequestFinished,
    RetryPolicy,
    RetryScheduled,
    Sms,
    Timeouts,
)
from qlara_async.errors import (
    AuthenticationError,
    BadRequestError,
    ConnectionFailed,
    DeliveryUnknownError,
    InternalServerError,
    RateLimitError,
    RequestTimeout,
    ServerError,
)
from qlara_async.testing.clock import VirtualClock

from .wire import ACCEPT, Action, WireGateway, accept, answer, answer_and_close, drop, hang, truncate

pytestmark = pytest.mark.anyio


async def test_a_send_mints_its_id_once_and_the_gateway_sees_it(
    qlara: QlaraClient, gateway: WireGateway, sms: Sms
) -> None:
    assert sms.message_id is None
    receipt = await qlara.send(sms)
    assert sms.message_id == receipt.message_id
    assert dict(gateway.message_ids) == {receipt.message_id: 1}


async def test_an_id_of_the_callers_own_is_kept(qlara: QlaraClient, gateway: WireGateway) -> None:
    receipt = await qlara.sms.send(destination="+393401234567", sender="ACME", body="Ciao", message_id="reminder-1")
    assert receipt.message_id == "reminder-1"
    assert dict(gateway.message_ids) == {"reminder-1": 1}


AMBIGUOUS: dict[str, Action] = {
    "drop after reading": drop,
    "500": answer(500),
    "502": answer(502),
    "503": answer(503),
    "503 with Retry-After": answer(503, Retry_After="1"),
    "truncated 200": truncate(1000, ACCEPT),
    "200 without JSON": answer(200, b"<html>"),
    "200 without a body": answer(200, b""),
    "hang": hang,
}


@pytest.mark.parametrize("ending", AMBIGUOUS)
async def test_g1_a_send_that_may_have_arrived_is_never_repeated(
    ending: str, qlara: QlaraClient, gateway: WireGateway, sms: Sms
) -> None:
    gateway.script = [AMBIGUOUS[ending]]
    impatient = qlara.with_options(timeouts=Timeouts(read=0.05))
    with pytest.raises(DeliveryUnknownError) as caught:
        await impatient.send(sms)
    assert caught.value.message_id == sms.message_id
    assert caught.value.sent == "maybe"
    assert list(gateway.message_ids.values()) == [1]


async def test_g1_a_stale_connection_is_ambiguous_too(qlara: QlaraClient, gateway: WireGateway) -> None:
    gateway.script = [answer_and_close()]
    first, second = (Sms(destination="+393401234567", sender="ACME", body=text) for text in ("1", "2"))
    await qlara.send(first)
    try:
        await qlara.send(second)
    except DeliveryUnknownError:
        assert gateway.message_ids[str(second.message_id)] == 0
    assert gateway.message_ids[str(second.message_id)] <= 1


async def test_g1_a_refused_connection_is_tried_again(clock: VirtualClock, sms: Sms) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/api"
        async with QlaraClient("k", base_url=url, clock=clock, random=lambda: 0.0) as qlara:
            with pytest.raises(ConnectionFailed) as caught:
                await qlara.with_options(retry=RetryPolicy(max_attempts=4)).send(sms)
    assert caught.value.sent == "no"
    assert caught.value.attempts == 4
    assert clock.slept == [1, 2, 4]


async def test_g1_a_host_that_does_not_resolve_proves_nothing_was_sent(clock: VirtualClock, sms: Sms) -> None:
    async with QlaraClient("k", base_url="https://gateway.invalid/api", clock=clock) as qlara:
        with pytest.raises(ConnectionFailed) as caught:
            await qlara.with_options(retry=RetryPolicy(max_attempts=2)).send(sms)
    assert caught.value.sent == "no"


async def test_g1_every_attempt_sends_the_same_bytes(qlara: QlaraClient, gateway: WireGateway, sms: Sms) -> None:
    gateway.script = [answer(429), answer(429), accept]
    await qlara.send(sms)
    assert len({request.body for request in gateway.seen}) == 1
    assert len(gateway.seen) == 3


async def test_g1_after_a_429_an_ambiguous_end_is_still_the_end(
    qlara: QlaraClient, gateway: WireGateway, sms: Sms
) -> None:
    gateway.script = [answer(429), drop]
    with pytest.raises(DeliveryUnknownError) as caught:
        await qlara.send(sms)
    assert caught.value.attempts == 2


async def test_a_refusal_is_final_and_costs_one_request(qlara: QlaraClient, gateway: WireGateway, sms: Sms) -> None:
    gateway.script = [answer(400, b'{"message":"sender is missing"}')]
    with pytest.raises(BadRequestError, match="sender is missing") as caught:
        await qlara.send(sms)
    assert caught.value.message_id == sms.message_id
    gateway.script = [answer(401)]
    with pytest.raises(AuthenticationError):
        await qlara.send(sms)
    assert len(gateway.seen) == 2


async def test_a_redirect_is_not_followed(qlara: QlaraClient, gateway: WireGateway, sms: Sms) -> None:
    gateway.script = [answer(307, Location=gateway.url + "/elsewhere")]
    with pytest.raises(Exception, match="307"):
        await qlara.send(sms)
    assert len(gateway.seen) == 1


async def test_idempotent_requests_are_repeated(qlara: QlaraClient, gateway: WireGateway, clock: VirtualClock) -> None:
    gateway.script = [answer(500), answer(503), answer(200, b"[]")]
    assert await qlara.messages.statuses(["a"], channel="SMS") == {"a": None}
    assert clock.slept == [1, 2]


async def test_g3_retry_after_is_waited_out_and_not_a_second_less(
    qlara: QlaraClient, gateway: WireGateway, clock: VirtualClock, sms: Sms
) -> None:
    gateway.script = [answer(429, b'{"retryAfter":12}', Retry_After="7"), answer(429), accept]
    began = clock.monotonic()
    receipt = await qlara.send(sms)
    assert receipt.attempts == 3
    assert clock.slept == [12, 2]
    assert clock.monotonic() - began >= 14


async def test_g3_retry_after_holds_for_all_senders_of_the_key(gateway: WireGateway, clock: VirtualClock) -> None:
    gateway.script = [answer(429, Retry_After="60")]
    granted: list[float] = []

    def note(event: ClientEvent) -> None:
        if isinstance(event, RequestFinished):
            granted.append(clock.monotonic() - event.elapsed)

    async with QlaraClient("k", base_url=gateway.url, clock=clock, on_event=note, random=lambda: 0.0) as qlara:
        began = clock.monotonic()
        await asyncio.gather(qlara.send(message()), *(send_later(qlara, gateway) for _ in range(20)))
    assert granted[0] == began
    assert len(granted) == 22
    assert min(granted[1:]) >= began + 60


def message() -> Sms:
    return Sms(destination="+393401234567", sender="ACME", body="Ciao")


async def send_later(qlara: QlaraClient, gateway: WireGateway) -> None:
    while qlara.limiter.paused_until < 0:
        await asyncio.sleep(0)
    await qlara.send(message())


async def test_g3_a_wait_beyond_the_cap_ends_with_the_error_and_when_to_come_back(
    qlara: QlaraClient, gateway: WireGateway, clock: VirtualClock, sms: Sms
) -> None:
    gateway.script = [answer(429, Retry_After="600")]
    with pytest.raises(RateLimitError) as caught:
        await qlara.send(sms)
    assert caught.value.retry_at == pytest.approx(clock.time() + 600, abs=1)
    assert clock.slept == []
    with pytest.raises(RateLimitError) as caught:  # the pause holds for the next sender too, who is told at once
        await qlara.send(message())
    assert caught.value.retry_at == pytest.approx(clock.time() + 600, abs=1)
    assert len(gateway.seen) == 1


async def test_g3_holds_without_a_rate_limit(gateway: WireGateway, clock: VirtualClock, sms: Sms) -> None:
    gateway.script = [answer(429, Retry_After="5")]
    async with QlaraClient("k", base_url=gateway.url, rate_limit=None, clock=clock, random=lambda: 0.0) as qlara:
        began = clock.monotonic()
        await qlara.send(sms)
        assert clock.monotonic() - began >= 5


async def test_of_many_429s_the_one_that_begins_the_pause_is_a_warning(
    gateway: WireGateway, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    gateway.script = [answer(429, Retry_After="5")] * 20
    async with QlaraClient("k", base_url=gateway.url, rate_limit=None, clock=clock) as qlara:
        texts = [Sms(destination="+393401234567", sender="ACME", body=str(number)) for number in range(20)]
        await asyncio.gather(*map(qlara.send, texts))
    repeats = [record.levelno for record in caplog.records if "rate limited" in record.message]
    assert (repeats.count(logging.WARNING), len(repeats)) == (1, 20)


async def test_a_bulk_sits_a_long_pause_out(gateway: WireGateway, clock: VirtualClock) -> None:
    async with QlaraClient("k", base_url=gateway.url, clock=clock) as qlara:
        qlara.limiter.pause_until(clock.monotonic() + 3600)
        async with qlara.bulk([message()]) as job:
            states = [outcome.state async for outcome in job]
    assert states == ["accepted"]


async def test_total_time_is_bounded_from_the_first_grant(gateway: WireGateway, clock: VirtualClock, sms: Sms) -> None:
    gateway.default = answer(429)
    async with QlaraClient("k", base_url=gateway.url, clock=clock, random=lambda: 0.0) as qlara:
        qlara.limiter.pause_until(clock.monotonic() + 100)
        with pytest.raises(RateLimitError):
            await qlara.with_options(retry=RetryPolicy(max_elapsed=10)).send(sms)
    assert clock.slept == [1, 2, 4]


async def test_headers_pause_only_where_nothing_remains_and_a_reset_is_named(
    qlara: QlaraClient, gateway: WireGateway, clock: VirtualClock
) -> None:
    gateway.script = [
        answer(200, ACCEPT, X_RateLimit_Remaining="0"),
        answer(200, ACCEPT, X_RateLimit_Remaining="3", X_RateLimit_Reset="30"),
        answer(200, ACCEPT, X_RateLimit_Remaining="0", X_RateLimit_Reset="30"),
    ]
    for paused in (False, False, True):
        await qlara.send(message())
        assert (qlara.limiter.paused_until > clock.monotonic()) is paused


async def test_the_hook_is_told_of_requests_retries_waits_and_pauses(gateway: WireGateway, clock: VirtualClock) -> None:
    events: list[ClientEvent] = []
    gateway.script = [answer(429, Retry_After="3", X_RateLimit_Limit="1000", X_RateLimit_Remaining="0"), accept]
    async with QlaraClient("k", base_url=gateway.url, clock=clock, on_event=events.append, random=lambda: 0.5) as qlara:
        receipt = await qlara.send(message())
    kinds = [type(event) for event in events]
    assert kinds == [RequestFinished, LimiterPaused, RetryScheduled, RequestFinished]
    finished, paused, retry, _ = events
    assert isinstance(finished, RequestFinished)
    assert (finished.status, finished.error, finished.message_id) == (429, "RateLimitError", receipt.message_id)
    assert finished.rate_limit is not None
    assert (finished.rate_limit.limit, finished.rate_limit.remaining) == (1000, 0)
    assert paused == LimiterPaused(seconds=3.0, reason="429")
    assert isinstance(retry, RetryScheduled)
    assert (retry.delay, retry.reason, retry.attempt) == (3.5, "rate limited", 1)


async def test_a_wait_for_the_limiter_is_told(gateway: WireGateway, clock: VirtualClock) -> None:
    events: list[ClientEvent] = []
    limit = RateLimit(per_second=1, per_minute=100)
    async with QlaraClient("k", base_url=gateway.url, rate_limit=limit, clock=clock, on_event=events.append) as qlara:
        await qlara.send(message())
        await qlara.send(message())
    waited = [event for event in events if isinstance(event, LimiterWaited)]
    assert [event.priority for event in waited] == [Priority.INTERACTIVE]
    assert waited[0].seconds == pytest.approx(1.05)


async def test_a_hook_that_raises_breaks_nothing(
    gateway: WireGateway, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(event: ClientEvent) -> None:
        raise RuntimeError("secret words")

    async with QlaraClient("k", base_url=gateway.url, clock=clock, on_event=broken) as qlara:
        await qlara.send(message())
    assert "RuntimeError" in caplog.text
    assert "secret words" not in caplog.text


async def test_waiting_for_a_pool_slot_is_no_read_timeout(gateway: WireGateway) -> None:
    answered = asyncio.Event()

    async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await answered.wait()
        return await accept(reader, writer)

    gateway.script = [slowly]
    connector = aiohttp.TCPConnector(limit=1)
    async with connector, QlaraClient("k", base_url=gateway.url, connector=connector, rate_limit=None) as qlara:
        patient = qlara.with_options(timeouts=Timeouts(read=60))
        impatient = qlara.with_options(timeouts=Timeouts(read=0.02))
        first = asyncio.create_task(patient.send(message()))
        while not gateway.seen:
            await asyncio.sleep(0)
        second = asyncio.create_task(impatient.send(message()))
        waited, _ = await asyncio.wait([second], timeout=0.1)  # five times its read time-out, in the queue of the pool
        assert not waited
        answered.set()
        await asyncio.gather(first, second)


async def test_waiting_for_the_limiter_is_no_read_timeout(gateway: WireGateway, clock: VirtualClock) -> None:
    limit = RateLimit(per_second=1, per_minute=1)
    async with QlaraClient(
        "k", base_url=gateway.url, rate_limit=limit, clock=clock, timeouts=Timeouts(read=1.0)
    ) as qlara:
        await qlara.send(message())
        await qlara.send(message())
    assert clock.monotonic() >= 1060


async def test_a_read_timeout_names_its_phase(qlara: QlaraClient, gateway: WireGateway, sms: Sms) -> None:
    gateway.script = [hang]
    with pytest.raises(DeliveryUnknownError) as caught:
        await qlara.with_options(timeouts=Timeouts(read=0.05)).send(sms)
    cause = caught.value.__cause__
    assert isinstance(cause, RequestTimeout)
    assert (cause.phase, cause.sent) == ("read", "maybe")


async def test_a_body_that_trickles_for_ever_is_given_up(qlara: QlaraClient, gateway: WireGateway, sms: Sms) -> None:
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

    gateway.script = [trickle]
    with pytest.raises(DeliveryUnknownError):
        await qlara.with_options(timeouts=Timeouts(read=0.1)).send(sms)


async def test_a_server_error_on_a_raw_post_is_not_repeated(qlara: QlaraClient, gateway: WireGateway) -> None:
    gateway.script = [answer(500)]
    with pytest.raises(InternalServerError):
        await qlara.request("POST", "/partner-gateway/v1/campaigns", json={"name": "x"})
    assert len(gateway.seen) == 1
    gateway.default = answer(503)
    with pytest.raises(ServerError) as caught:
        await qlara.with_options(retry=RetryPolicy(max_attempts=3)).request("GET", "/partner-gateway/v1/campaigns")
    assert caught.value.attempts == 3
