"""Several keys: the next takes over on 401 without failing a send, each has its own limiter, and none is ever shown."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from qlara_async import (
    ClientEvent,
    KeyRotated,
    Limiter,
    OutcomeState,
    Priority,
    QlaraClient,
    RateLimit,
    RetryPolicy,
    RetryScheduled,
    Sms,
    WhatsApp,
)
from qlara_async.errors import AuthenticationError, ConfigurationError, RateLimitError
from qlara_async.sandbox import Fault, Sandbox
from qlara_async.sending.keys import KeyRing
from qlara_async.testing import VirtualClock
from qlara_async.transport import Credentials

from .wire import ACCEPT, WireGateway, accept, answer, drop

pytestmark = pytest.mark.anyio

FIRST, SECOND, THIRD = "key-one-0123456789", "key-two-0123456789", "key-three-0123456789"


def sms(text: str = "Ciao") -> Sms:
    return Sms(destination="+393401234567", sender="ACME", body=text)


def keys_seen(gateway: WireGateway) -> list[str]:
    return [seen.headers["x-api-key"] for seen in gateway.seen]


@pytest.fixture
def events() -> list[ClientEvent]:
    return []


@pytest.fixture
async def qlara(gateway: WireGateway, clock: VirtualClock, events: list[ClientEvent]) -> AsyncIterator[QlaraClient]:
    async with QlaraClient(
        [FIRST, SECOND], base_url=gateway.url, clock=clock, random=lambda: 0.0, on_event=events.append
    ) as client:
        yield client


def rotations(events: list[ClientEvent]) -> list[KeyRotated]:
    return [event for event in events if isinstance(event, KeyRotated)]


class TestOn401:
    async def test_the_next_key_takes_over_without_failing_the_send(
        self, qlara: QlaraClient, gateway: WireGateway, events: list[ClientEvent], clock: VirtualClock
    ) -> None:
        gateway.script = [answer(401)]
        receipt = await qlara.send(sms())
        assert keys_seen(gateway) == [FIRST, SECOND]
        assert receipt.attempts == 2
        assert rotations(events) == [KeyRotated(position=1, previous=0, reason="refused")]
        assert [event.reason for event in events if isinstance(event, RetryScheduled)] == ["key refused"]
        assert clock.slept == []  # no back-off
        await qlara.send(sms())
        assert keys_seen(gateway)[2:] == [SECOND]

    async def test_it_does_so_whatever_the_policy_allows(self, qlara: QlaraClient, gateway: WireGateway) -> None:
        gateway.script = [answer(401)]
        await qlara.with_options(retry=RetryPolicy(max_attempts=1, max_elapsed=0)).send(sms())
        assert keys_seen(gateway) == [FIRST, SECOND]

    async def test_back_off_after_it_begins_at_the_first_wait(
        self, qlara: QlaraClient, gateway: WireGateway, clock: VirtualClock
    ) -> None:
        gateway.script = [answer(401), answer(429)]
        await qlara.send(sms())
        assert clock.slept == [1]

    async def test_the_last_key_refused_is_an_error_as_with_one(
        self, qlara: QlaraClient, gateway: WireGateway, events: list[ClientEvent]
    ) -> None:
        gateway.default = answer(401)
        with pytest.raises(AuthenticationError):
            await qlara.send(sms())
        assert keys_seen(gateway) == [FIRST, SECOND]
        with pytest.raises(AuthenticationError):
            await qlara.send(sms())
        assert keys_seen(gateway) == [FIRST, SECOND, SECOND]
        assert len(rotations(events)) == 1
        gateway.default = accept  # it was the gateway's mistake
        await qlara.send(sms())

    async def test_many_in_flight_move_on_together_and_burn_no_key(
        self, gateway: WireGateway, events: list[ClientEvent]
    ) -> None:
        everybody_is_there = asyncio.Event()

        async def refuse_when_all_are_there(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
            if len(gateway.seen) == 20:
                everybody_is_there.set()
            await everybody_is_there.wait()
            return await answer(401)(reader, writer)

        gateway.script = [refuse_when_all_are_there] * 20
        async with QlaraClient(
            [FIRST, SECOND, THIRD], base_url=gateway.url, rate_limit=None, on_event=events.append
        ) as qlara:
            await asyncio.gather(*(qlara.send(sms()) for _ in range(20)))
        assert Counter(keys_seen(gateway)) == {FIRST: 20, SECOND: 20}
        assert rotations(events) == [KeyRotated(position=1, previous=0, reason="refused")]
        assert set(gateway.message_ids.values()) == {2}

    async def test_who_waits_for_the_refused_keys_limiter_moves_on_at_once(
        self, gateway: WireGateway, clock: VirtualClock
    ) -> None:
        refuse = asyncio.Event()

        async def refused_in_time(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
            await refuse.wait()
            return await answer(401)(reader, writer)

        gateway.script = [refused_in_time]
        async with QlaraClient(
            [FIRST, SECOND], base_url=gateway.url, clock=clock, rate_limit=RateLimit(per_second=50, per_minute=1000)
        ) as qlara:
            first = qlara.limiter
            sending = [asyncio.create_task(qlara.send(sms()))]
            while not gateway.seen:
                await asyncio.sleep(0)
            first.pause_until(clock.monotonic() + 100)
            sending += [asyncio.create_task(qlara.send(sms())) for _ in range(5)]
            while first.waiting < 5:
                await asyncio.sleep(0)
            began = clock.monotonic()
            refuse.set()
            await asyncio.gather(*sending)
            assert clock.monotonic() - began < 1
            assert first.waiting == 0
        assert Counter(keys_seen(gateway)) == {FIRST: 1, SECOND: 6}

    async def test_a_wait_cancelled_while_keys_change_is_cancelled(
        self, qlara: QlaraClient, gateway: WireGateway, clock: VirtualClock
    ) -> None:
        first = qlara.limiter
        first.pause_until(clock.monotonic() + 50)
        waiting = asyncio.create_task(qlara.send(sms()))
        while not first.waiting:
            await asyncio.sleep(0)
        qlara.rotate_key(THIRD)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (first.waiting, qlara.limiter.waiting, gateway.seen) == (0, 0, [])

    async def test_a_bulk_job_goes_on_with_the_next_key(self) -> None:
        async with Sandbox(rate_limit=None) as sandbox:
            sandbox.api_keys = (FIRST, SECOND)
            async with (
                QlaraClient([FIRST, SECOND], base_url=sandbox.url, rate_limit=None) as qlara,
                qlara.bulk((sms(str(n)) for n in range(200)), concurrency=8) as job,
            ):
                done = 0
                async for outcome in job:
                    assert outcome.state == "accepted"
                    done += 1
                    if done == 50:
                        sandbox.api_keys = (SECOND,)
            assert job.summary.states[OutcomeState.ACCEPTED] == 200
            assert set(sandbox.accepted.values()) == {1}
            assert sandbox.requests["send", 401] <= 8

    async def test_a_bulk_job_ends_as_today_when_the_last_key_is_refused(
        self, qlara: QlaraClient, gateway: WireGateway
    ) -> None:
        gateway.default = answer(401)
        with pytest.raises(AuthenticationError):
            async with qlara.bulk(sms() for _ in range(1000)) as job:
                async for outcome in job:
                    assert outcome.state == "failed"

    async def test_g1_only_the_attempt_that_was_refused_is_repeated(
        self, qlara: QlaraClient, gateway: WireGateway
    ) -> None:
        gateway.script = [answer(401), drop]
        message = sms()
        with pytest.raises(Exception, match="may have been accepted"):
            await qlara.send(message)
        assert gateway.message_ids[str(message.message_id)] == 2  # refused once, in doubt once

    async def test_other_calls_take_over_too(self, qlara: QlaraClient, gateway: WireGateway) -> None:
        gateway.script = [answer(401), answer(200, b"[]")]
        assert await qlara.messages.statuses(["a"], channel="SMS") == {"a": None}
        assert keys_seen(gateway) == [FIRST, SECOND]


class TestLimiters:
    async def test_each_key_has_its_own(self, clock: VirtualClock) -> None:
        trial = RateLimit.TRIAL
        async with Sandbox(rate_limit=trial, clock=clock) as sandbox:
            sandbox.api_keys = (FIRST, SECOND)
            async with QlaraClient([FIRST, SECOND], base_url=sandbox.url, clock=clock, rate_limit=trial) as qlara:
                first = qlara.limiter
                for _ in range(10):
                    await qlara.send(sms())
                assert first.try_acquire() is None
                sandbox.api_keys = (SECOND,)
                first.give_back(clock.monotonic())  # let one more go, to be refused
                await qlara.send(sms())
                assert qlara.limiter is not first
                assert qlara.limiter.rate == trial
                for _ in range(9):
                    await qlara.send(sms())
                assert qlara.limiter.try_acquire() is None
            assert sandbox.requests == {("send", 200): 20, ("send", 401): 1}

    async def test_a_pause_belongs_to_its_key(
        self, qlara: QlaraClient, gateway: WireGateway, clock: VirtualClock
    ) -> None:
        first = qlara.limiter
        gateway.script = [answer(429, Retry_After="60"), answer(401)]
        sending = asyncio.create_task(qlara.send(sms()))
        while first.paused_until < clock.monotonic():
            await asyncio.sleep(0)
        qlara.rotate_key(THIRD)
        began = clock.monotonic()
        await qlara.send(sms())  # refused with the third: back to the first, which pauses
        assert clock.monotonic() - began >= 59
        await sending
        assert Counter(keys_seen(gateway)) == {FIRST: 3, THIRD: 1}

    async def test_a_pause_asked_for_with_a_key_that_was_left_is_not_that_of_the_next(
        self, qlara: QlaraClient, gateway: WireGateway, clock: VirtualClock
    ) -> None:
        first = qlara.limiter
        rotated = asyncio.Event()

        async def answer_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
            await rotated.wait()
            headers = {"Retry_After": "60", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "60"}
            return await answer(429 if len(gateway.seen) == 2 else 200, ACCEPT, **headers)(reader, writer)

        gateway.script = [answer_late, answer_late]
        sending = [asyncio.create_task(qlara.send(sms())) for _ in range(2)]
        while len(gateway.seen) < 2:
            await asyncio.sleep(0)
        qlara.rotate_key(THIRD)
        rotated.set()
        await asyncio.gather(*sending)
        assert first.paused_until > 0
        assert qlara.limiter.paused_until < 0

    async def test_nor_is_one_that_the_headers_of_its_last_answer_ask_for(
        self, qlara: QlaraClient, gateway: WireGateway
    ) -> None:
        first = qlara.limiter
        rotated = asyncio.Event()

        async def answer_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
            await rotated.wait()
            return await answer(200, ACCEPT, X_RateLimit_Remaining="0", X_RateLimit_Reset="60")(reader, writer)

        gateway.script = [answer_late]
        sending = asyncio.create_task(qlara.send(sms()))
        while not gateway.seen:
            await asyncio.sleep(0)
        qlara.rotate_key(THIRD)
        rotated.set()
        await sending
        assert first.paused_until > 0
        assert qlara.limiter.paused_until < 0

    async def test_g12_a_grant_that_comes_as_its_key_is_left_costs_no_token(self, clock: VirtualClock) -> None:
        limiters = [Limiter(RateLimit(1, 1), clock=clock), Limiter(RateLimit(1, 1), clock=clock)]
        keys = KeyRing([Credentials.of_key(FIRST)], limiters[:1])
        spent = limiters[0].try_acquire()
        assert spent is not None
        waiting = asyncio.create_task(keys.grant(Priority.INTERACTIVE, None))
        while not limiters[0].waiting:
            await asyncio.sleep(0)
        limiters[0].give_back(spent)  # the wait has its grant, and has not run since
        assert keys.put_first(Credentials.of_key(SECOND), lambda: limiters[1])
        key, _ = await waiting
        assert key.limiter is limiters[1]
        assert limiters[0].try_acquire() is not None

    async def test_the_wait_for_the_next_keys_limiter_is_not_cut_short_by_the_policy(
        self, gateway: WireGateway, clock: VirtualClock
    ) -> None:
        limiters = [Limiter(None, clock=clock), Limiter(None, clock=clock)]
        limiters[1].pause_until(clock.monotonic() + 90)
        gateway.script = [answer(401)]
        async with QlaraClient([FIRST, SECOND], base_url=gateway.url, limiter=limiters, clock=clock) as qlara:
            await qlara.with_options(retry=RetryPolicy(max_elapsed=30)).send(sms())
        assert keys_seen(gateway) == [FIRST, SECOND]

    async def test_a_pause_longer_than_the_policy_says_so(
        self, qlara: QlaraClient, gateway: WireGateway, clock: VirtualClock
    ) -> None:
        qlara.limiter.pause_until(clock.monotonic() + 1_000)
        with pytest.raises(RateLimitError) as caught:
            await qlara.send(sms())
        assert caught.value.attempts == 0
        qlara.rotate_key(THIRD)
        await qlara.send(sms())
        assert keys_seen(gateway) == [THIRD]

    async def test_one_given_is_that_of_the_first_key(self, gateway: WireGateway) -> None:
        shared = Limiter(RateLimit.TRIAL)
        async with QlaraClient([FIRST, SECOND], base_url=gateway.url, limiter=shared) as qlara:
            assert qlara.limiter is shared
            gateway.script = [answer(401)]
            await qlara.send(sms())
            assert qlara.limiter is not shared
            assert qlara.limiter.rate == RateLimit.TRIAL

    async def test_several_given_are_one_for_each(self, gateway: WireGateway) -> None:
        limiters = [Limiter(RateLimit.TRIAL), Limiter(None)]
        async with QlaraClient([FIRST, SECOND], base_url=gateway.url, limiter=limiters) as qlara:
            assert qlara.limiter is limiters[0]
            gateway.script = [answer(401)]
            await qlara.send(sms())
            assert qlara.limiter is limiters[1]
            assert qlara.with_options(priority=Priority.BULK).limiter is limiters[1]


class TestRotation:
    async def test_faq_several_keys_rotate_without_downtime(self) -> None:
        async with (
            Sandbox(api_key=FIRST, rate_limit=None) as sandbox,
            QlaraClient(FIRST, base_url=sandbox.url) as qlara,
        ):
            sandbox.fault(None, Fault.LATENCY_AFTER, seconds=0.01)
            in_flight = asyncio.create_task(qlara.send(sms()))
            while not sandbox.arrivals:
                await asyncio.sleep(0)
            sandbox.api_keys = (FIRST, SECOND)  # a second key is made,
            qlara.rotate_key(SECOND)  # the service uses it,
            await qlara.send(sms())
            sandbox.api_keys = (SECOND,)  # and the first is revoked
            await qlara.send(sms())
            await in_flight
            assert sandbox.requests == {("send", 200): 3}

    async def test_the_old_key_stands_by_should_the_new_one_be_refused(
        self, qlara: QlaraClient, gateway: WireGateway, events: list[ClientEvent]
    ) -> None:
        qlara.rotate_key(THIRD)
        gateway.script = [answer(401)]
        await qlara.send(sms())
        assert keys_seen(gateway) == [THIRD, FIRST]
        assert rotations(events) == [
            KeyRotated(position=2, previous=0, reason="asked"),
            KeyRotated(position=0, previous=2, reason="refused"),
        ]

    async def test_a_key_refused_while_it_stands_by_is_not_used_again(
        self, qlara: QlaraClient, gateway: WireGateway
    ) -> None:
        refuse = asyncio.Event()

        async def refused_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
            await refuse.wait()
            return await answer(401)(reader, writer)

        gateway.script = [refused_late, answer(401)]
        early = asyncio.create_task(qlara.send(sms()))
        while not gateway.seen:
            await asyncio.sleep(0)
        qlara.rotate_key(THIRD)
        refuse.set()
        await early  # refused with the first key, and with the third: the second is left
        assert keys_seen(gateway) == [FIRST, THIRD, SECOND]

    async def test_a_session_of_the_callers_own_gets_the_new_key(self, gateway: WireGateway) -> None:
        import aiohttp  # noqa: PLC0415

        async with aiohttp.ClientSession() as session:
            async with QlaraClient([FIRST, SECOND], base_url=gateway.url, session=session) as qlara:
                gateway.script = [answer(401)]
                await qlara.send(sms())
            assert "X-Api-Key" not in session.headers
        assert keys_seen(gateway) == [FIRST, SECOND]

    async def test_before_the_first_use(self, gateway: WireGateway) -> None:
        qlara = QlaraClient(FIRST, base_url=gateway.url)
        qlara.rotate_key(SECOND)
        async with qlara:
            await qlara.send(sms())
        assert keys_seen(gateway) == [SECOND]

    async def test_g2_a_key_the_client_has_keeps_its_limiter(
        self, qlara: QlaraClient, gateway: WireGateway, events: list[ClientEvent]
    ) -> None:
        """Who reads the key from a vault every minute must not get a new window with it every time."""
        first = qlara.limiter
        qlara.rotate_key(FIRST)
        assert qlara.limiter is first
        assert rotations(events) == []
        qlara.rotate_key(THIRD)
        qlara.rotate_key(FIRST)
        assert qlara.limiter is first
        gateway.script = [answer(401), answer(401)]
        await qlara.send(sms())
        assert keys_seen(gateway) == [FIRST, THIRD, SECOND]  # and stands nowhere twice

    async def test_g2_a_key_that_was_refused_keeps_its_limiter_when_it_is_rotated_to_again(
        self, qlara: QlaraClient, gateway: WireGateway, events: list[ClientEvent]
    ) -> None:
        """Taken for revoked for a moment, say while its IP list was changed: what it sent before still counts."""
        first = qlara.limiter
        gateway.script = [answer(401)]
        await qlara.send(sms())
        qlara.rotate_key(FIRST)
        assert qlara.limiter is first
        assert rotations(events)[-1] == KeyRotated(position=0, previous=1, reason="asked")
        gateway.script = [answer(401)]
        await qlara.send(sms())
        assert keys_seen(gateway) == [FIRST, SECOND, FIRST, SECOND]

    def test_a_client_with_a_user_name_has_no_keys(self) -> None:
        qlara = QlaraClient(basic_auth=("user", "password"))
        with pytest.raises(ConfigurationError, match="no keys"):
            qlara.rotate_key(SECOND)


@pytest.mark.parametrize(
    "options",
    [
        {"api_key": []},
        {"api_key": [FIRST, ""]},
        {"api_key": [FIRST, None]},
        {"api_key": [FIRST, FIRST]},
        {"api_key": FIRST.encode()},
        {"api_key": [FIRST], "basic_auth": ("u", "p")},
        {"api_key": [FIRST, SECOND], "limiter": [Limiter()]},
        {"api_key": [FIRST, SECOND], "limiter": [Limiter(), None]},
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        QlaraClient(**options)  # type: ignore[arg-type]
    assert FIRST not in str(caught.value)


async def test_g11_no_key_is_shown_wherever_an_answer_quotes_one(
    qlara: QlaraClient, gateway: WireGateway, events: list[ClientEvent], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    canaries = ("Secretone", "Secrettwo", "Secretthree")  # words that only being known as secrets masks
    quoting = f'{{"message":"not {" nor ".join(canaries)}"}}'.encode()
    async with QlaraClient(canaries[:2], base_url=gateway.url, on_event=events.append) as client:
        client.rotate_key(canaries[2])
        gateway.script = [answer(401, quoting)]
        await client.send(sms())
        gateway.script = [answer(400, quoting)]
        with pytest.raises(Exception, match="400") as caught:
            await client.whatsapp.send(destination="+393401234567", phone_number_id=1, body="Ciao")
        shown = [repr(client), str(caught.value), repr(caught.value), *map(repr, events), *caplog.messages]
    assert caplog.messages
    for canary in canaries:
        assert [line for line in shown if canary in line] == []


async def test_the_sandbox_counts_each_key_by_itself() -> None:
    async with Sandbox(api_key=FIRST, rate_limit=RateLimit(per_second=1, per_minute=9)) as sandbox:
        sandbox.api_keys = [FIRST, SECOND]
        assert (sandbox.api_key, sandbox.api_keys) == (FIRST, (FIRST, SECOND))
        once = RetryPolicy(max_attempts=1)
        for key in (FIRST, SECOND):
            async with QlaraClient(key, base_url=sandbox.url, rate_limit=None, retry=once) as qlara:
                await qlara.send(WhatsApp(destination="+393401234567", phone_number_id=1, body="Ciao"))
                with pytest.raises(RateLimitError):
                    await qlara.send(sms())
        for wrong in ("key", ()):
            with pytest.raises(ConfigurationError):
                sandbox.api_keys = wrong
