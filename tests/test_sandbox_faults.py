"""Every fault of the sandbox: exactly its effect on the wire, and exactly its trace in the record."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import aiohttp
import pytest

from qlara_async.errors import ConfigurationError
from qlara_async.sandbox import Fault, Faults, Life, Sandbox
from qlara_async.testing import VirtualClock

from .test_sandbox import SMS, STATUS, WEBHOOK, Caller, turns, until

pytestmark = pytest.mark.anyio

TO = SMS["destination"]
OTHER = "+393401234567"


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(jump=False)


@pytest.fixture
async def caller(anyio_backend: str, clock: VirtualClock) -> AsyncIterator[Caller]:
    async with (
        Sandbox(rate_limit=None, life=Life(final=0.0), clock=clock) as sandbox,
        aiohttp.ClientSession() as session,
    ):
        yield Caller(sandbox, session)


async def until_arrived(sandbox: Sandbox, count: int) -> None:
    await until(lambda: len(sandbox.arrivals) >= count)
    await turns()


class TestErrors:
    @pytest.mark.parametrize("status", [500, 502, 503, 403])
    async def test_an_error_before_acceptance_leaves_no_trace(self, caller: Caller, status: int) -> None:
        caller.sandbox.fault(TO, Fault.ERROR_BEFORE, status=status)
        got, answer = await caller.send("sms", SMS, messageId="m-1")
        assert (got, answer["status"]) == (status, status)
        assert not caller.sandbox.accepted
        assert await caller.status("m-1") is None

    @pytest.mark.parametrize("status", [500, 502, 503])
    async def test_an_error_after_acceptance_leaves_a_living_message(
        self, caller: Caller, clock: VirtualClock, status: int
    ) -> None:
        caller.sandbox.fault(TO, Fault.ERROR_AFTER, status=status)
        got, answer = await caller.send("sms", SMS, messageId="m-1")
        assert (got, answer["status"]) == (status, status)
        assert caller.sandbox.accepted == {"m-1": 1}
        await clock.advance(0)
        assert await caller.status("m-1") == "DELIVERED"

    async def test_a_storm_is_429_so_many_times(self, caller: Caller) -> None:
        caller.sandbox.fault(None, Fault.STORM, times=2, retry_after=7)
        for _ in range(2):
            status, answer = await caller.send("sms", SMS)
            assert (status, answer["retryAfter"], caller.headers["Retry-After"]) == (429, 7, "7")
            assert answer["message"] == "Rate limit exceeded. Please retry after 7 seconds."
        assert not caller.sandbox.accepted
        assert (await caller.send("sms", SMS))[0] == 200
        assert caller.sandbox.requests == {("send", 429): 2, ("send", 200): 1}


class TestConnections:
    @pytest.mark.parametrize(
        ("fault", "accepted"), [(Fault.DROP_UNREAD, 0), (Fault.DROP_BEFORE, 0), (Fault.DROP_AFTER, 1)]
    )
    async def test_a_dropped_connection_gives_no_answer(self, caller: Caller, fault: Fault, accepted: int) -> None:
        caller.sandbox.fault(None, fault)
        with pytest.raises(aiohttp.ClientConnectionError):
            await caller.send("sms", SMS, messageId="m-1")
        assert caller.sandbox.accepted == Counter({"m-1": 1} if accepted else {})
        assert caller.sandbox.requests == {("send", 0): 1}
        assert (await caller.send("sms", SMS))[0] == 200

    async def test_unread_means_that_not_even_the_key_is_looked_at(self, caller: Caller) -> None:
        caller.sandbox.fault(None, Fault.DROP_UNREAD)
        with pytest.raises(aiohttp.ClientConnectionError):
            await caller.call("POST", "/message-server/sms/send", data=b"{", headers={"X-Api-Key": "other"})

    async def test_a_truncated_answer_is_a_200_that_ends_half_way(self, caller: Caller) -> None:
        caller.sandbox.fault(TO, Fault.TRUNCATED)
        url = f"{caller.sandbox.url}/message-server/sms/send"
        headers = {"X-Api-Key": caller.sandbox.api_key}
        async with caller.session.post(url, json=SMS | {"messageId": "m-1"}, headers=headers) as answer:
            assert answer.status == 200
            length = answer.content_length or 0
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.read()
            assert 0 < answer.content.total_bytes < length
        assert caller.sandbox.accepted == {"m-1": 1}
        assert caller.sandbox.requests == {("send", 0): 1}

    @pytest.mark.parametrize(("fault", "accepted"), [(Fault.HANG_BEFORE, 0), (Fault.HANG_AFTER, 1)])
    async def test_g12_a_hang_lasts_until_the_sandbox_closes_and_leaves_no_task(
        self, anyio_backend: str, fault: Fault, accepted: int
    ) -> None:
        before = asyncio.all_tasks()
        async with Sandbox(rate_limit=None) as sandbox, aiohttp.ClientSession() as session:
            sandbox.fault(TO, fault)
            hanging = asyncio.create_task(Caller(sandbox, session).send("sms", SMS))
            await until_arrived(sandbox, 1)
            assert not hanging.done()
            assert sandbox.accepted.total() == accepted
            await sandbox.aclose()
            with pytest.raises(aiohttp.ClientConnectionError):
                await hanging
        assert sandbox.requests == {("send", 0): 1}
        assert asyncio.all_tasks() == before


class TestTime:
    @pytest.mark.parametrize(("fault", "accepted"), [(Fault.LATENCY_BEFORE, 0), (Fault.LATENCY_AFTER, 1)])
    async def test_latency_falls_before_or_after_acceptance(
        self, caller: Caller, clock: VirtualClock, fault: Fault, accepted: int
    ) -> None:
        caller.sandbox.fault(TO, fault, seconds=3.0)
        sending = asyncio.create_task(caller.send("sms", SMS))
        await until_arrived(caller.sandbox, 1)
        await clock.advance(2.9)
        assert not sending.done()
        assert caller.sandbox.accepted.total() == accepted
        await clock.advance(0.2)
        assert (await sending)[0] == 200
        assert caller.sandbox.accepted.total() == 1

    async def test_a_request_whose_client_hangs_up_is_processed_all_the_same(
        self, caller: Caller, clock: VirtualClock
    ) -> None:
        caller.sandbox.fault(TO, Fault.LATENCY_BEFORE, seconds=3.0)
        sending = asyncio.create_task(caller.send("sms", SMS, messageId="m-1"))
        await until_arrived(caller.sandbox, 1)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await turns()
        await clock.advance(3)
        assert caller.sandbox.accepted == {"m-1": 1}

    async def test_g12_closing_ends_latency(self, caller: Caller) -> None:
        caller.sandbox.fault(TO, Fault.LATENCY_BEFORE, seconds=3600)
        sending = asyncio.create_task(caller.send("sms", SMS))
        await until_arrived(caller.sandbox, 1)
        await caller.sandbox.aclose()
        with pytest.raises(aiohttp.ClientConnectionError):
            await sending
        assert not caller.sandbox.accepted

    async def test_a_late_status_is_invisible_for_its_seconds_to_both_queries(
        self, caller: Caller, clock: VirtualClock
    ) -> None:
        caller.sandbox.fault(TO, Fault.STATUS_LATE, seconds=4.0)
        assert (await caller.send("sms", SMS, messageId="m-1"))[0] == 200
        await caller.send("sms", SMS, messageId="m-2")
        assert caller.sandbox.accepted == {"m-1": 1, "m-2": 1}
        await clock.advance(3.9)
        assert await caller.status("m-1") is None
        _, found = await caller.call("GET", STATUS, params={"ids": "m-1,m-2", "channel": "SMS"})
        assert [item["customerMessageId"] for item in found] == ["m-2"]
        await clock.advance(0.1)
        assert await caller.status("m-1") == "DELIVERED"

    async def test_a_late_status_combines_with_a_drop(self, caller: Caller, clock: VirtualClock) -> None:
        caller.sandbox.fault(TO, Fault.STATUS_LATE, seconds=4.0)
        caller.sandbox.fault(TO, Fault.DROP_AFTER)
        with pytest.raises(aiohttp.ClientConnectionError):
            await caller.send("sms", SMS, messageId="m-1")
        assert caller.sandbox.accepted == {"m-1": 1}
        assert await caller.status("m-1") is None
        await clock.advance(4)
        assert await caller.status("m-1") == "DELIVERED"


class TestAim:
    async def test_a_destination_is_struck_alone_and_so_many_times(self, caller: Caller) -> None:
        caller.sandbox.fault(TO, Fault.ERROR_BEFORE, times=2)
        statuses = [(await caller.send("sms", SMS, destination=number))[0] for number in (OTHER, TO, OTHER, TO, TO)]
        assert statuses == [200, 500, 200, 500, 200]

    async def test_scripted_faults_strike_in_their_order(self, caller: Caller) -> None:
        caller.sandbox.fault(TO, Fault.ERROR_BEFORE, status=502)
        caller.sandbox.fault(None, Fault.STORM)
        assert [(await caller.send("sms", SMS))[0] for _ in range(3)] == [502, 429, 200]

    async def test_bad_requests_are_answered_as_ever_and_use_no_fault_up(self, caller: Caller) -> None:
        caller.sandbox.fault(TO, Fault.ERROR_AFTER)
        assert (await caller.send("sms", SMS, sender=""))[0] == 400
        assert (await caller.call("POST", "/message-server/sms/send", json=SMS, headers={"X-Api-Key": "?"}))[0] == 401
        assert (await caller.send("sms", SMS))[0] == 500

    async def test_status_and_webhook_routes_can_be_struck_too(self, caller: Caller) -> None:
        caller.sandbox.fault(None, Fault.ERROR_BEFORE, route="status", status=500)
        caller.sandbox.fault(None, Fault.ERROR_AFTER, route="webhooks", status=502)
        await caller.send("sms", SMS, messageId="m-1")
        params = {"ids": "m-1", "channel": "SMS"}
        assert [(await caller.call("GET", STATUS, params=params))[0] for _ in range(2)] == [500, 200]
        body = {"callbackUrl": "https://api.example.it/"}
        assert [(await caller.call("POST", WEBHOOK, json=body))[0] for _ in range(2)] == [502, 409]

    async def test_what_cannot_be_aimed_is_refused(self, caller: Caller) -> None:
        with pytest.raises(ConfigurationError):
            caller.sandbox.fault(TO, Fault.DROP_UNREAD)
        with pytest.raises(ConfigurationError):
            caller.sandbox.fault(TO, Fault.ERROR_BEFORE, route="status")
        with pytest.raises(ConfigurationError):
            caller.sandbox.fault(TO, Fault.ERROR_BEFORE, status=200)
        with pytest.raises(ConfigurationError):
            caller.sandbox.fault(TO, Fault.ERROR_BEFORE, times=0)
        with pytest.raises(ConfigurationError):
            caller.sandbox.fault(TO, "drop_after")  # type: ignore[arg-type]
        assert TO not in repr(caller.sandbox._plan._script)


class TestChance:
    async def outcomes(self, faults: Faults, seed: int = 0) -> list[int]:
        async with Sandbox(rate_limit=None, faults=faults, seed=seed) as sandbox, aiohttp.ClientSession() as session:
            caller = Caller(sandbox, session)
            seen: list[int] = []
            for number in range(60):
                try:
                    seen.append((await caller.send("sms", SMS, messageId=str(number)))[0])
                except aiohttp.ClientError:
                    seen.append(0)
            if faults.error_before == 0 and faults.drop_before == 0:
                assert sandbox.accepted.total() == 60
            else:
                assert sandbox.accepted.total() < 60
            return seen

    async def test_shares_strike_and_repeat_with_the_seed(self, anyio_backend: str) -> None:
        faults = Faults(error_before=0.2, drop_before=0.2, drop_after=0.2, statuses=(500, 503))
        first = await self.outcomes(faults)
        assert set(first) == {0, 200, 500, 503}
        assert await self.outcomes(faults) == first
        assert await self.outcomes(faults, seed=1) != first

    async def test_faults_after_acceptance_lose_no_message(self, anyio_backend: str) -> None:
        faults = Faults(error_after=0.3, drop_after=0.3, truncated=0.3)
        assert {0, 200} < set(await self.outcomes(faults))

    @pytest.mark.parametrize("fault", list(Fault))
    async def test_a_share_of_one_is_certainty_and_stays_on_its_route(self, caller: Caller, fault: Fault) -> None:
        caller.sandbox.faults = Faults(**{fault.value: 1.0}, delay=0.0)  # type: ignore[arg-type]
        assert (await caller.call("GET", STATUS, params={"ids": "a", "channel": "SMS"}))[0] == 200
        sending = asyncio.create_task(caller.send("sms", SMS, messageId="m-1"))
        await until_arrived(caller.sandbox, 2)
        accepted = fault not in {
            Fault.ERROR_BEFORE, Fault.DROP_UNREAD, Fault.DROP_BEFORE, Fault.STORM, Fault.HANG_BEFORE,
        }  # fmt: skip
        await caller.sandbox.aclose()
        await asyncio.gather(sending, return_exceptions=True)
        assert caller.sandbox.accepted.total() == accepted

    async def test_impossible_shares_are_refused(self) -> None:
        for wrong in ({"storm": 1.1}, {"drop_after": -0.1}, {"error_after": 0.6, "truncated": 0.6}, {"statuses": ()}):
            with pytest.raises(ConfigurationError):
                Faults(**wrong)
