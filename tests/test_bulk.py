from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from qlara_async import BulkJob, Outcome, OutcomeState, QlaraClient, Sms, Timeouts
from qlara_async.errors import (
    AuthenticationError,
    ClientClosedError,
    ClientStateError,
    ConfigurationError,
    DeliveryUnknownError,
    InvalidMessageError,
    QlaraError,
)
from qlara_async.testing.clock import VirtualClock

from .wire import ACCEPT, Action, WireGateway, accept, answer, drop, hang

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_task_left")]


def sms(text: str = "Ciao") -> Sms:
    return Sms(destination="+393401234567", sender="ACME", body=text)


def many(count: int) -> Iterator[Sms]:
    return (sms(str(index)) for index in range(count))


async def outcomes_of(job: BulkJob) -> list[Outcome]:
    async with job:
        return [outcome async for outcome in job]


async def test_every_message_of_an_iterable_has_one_outcome(qlara: QlaraClient, gateway: WireGateway) -> None:
    outcomes = await outcomes_of(qlara.bulk(many(200), concurrency=8))
    assert sorted(outcome.index for outcome in outcomes) == list(range(200))
    assert {outcome.state for outcome in outcomes} == {OutcomeState.ACCEPTED}
    assert set(gateway.message_ids.values()) == {1}
    assert len(gateway.message_ids) == 200
    assert gateway.connections <= 8


async def test_an_async_iterable_is_drawn_by_one_worker_at_a_time(qlara: QlaraClient) -> None:
    async def rows() -> AsyncIterator[dict[str, str]]:
        for index in range(50):
            await asyncio.sleep(0)
            yield {"channel": "sms", "destination": "+393401234567", "sender": "ACME", "body": str(index)}

    outcomes = await outcomes_of(qlara.bulk(rows()))
    assert len(outcomes) == 50
    bodies = {outcome.index: outcome.message.body for outcome in outcomes if isinstance(outcome.message, Sms)}
    assert bodies == {index: str(index) for index in range(50)}


async def test_ordered_outcomes_come_in_the_order_of_the_source(qlara: QlaraClient, gateway: WireGateway) -> None:
    gateway.script = [answer(429, Retry_After="3"), answer(429), accept, answer(400)]
    outcomes = await outcomes_of(qlara.bulk(many(100), concurrency=7, ordered=True))
    assert [outcome.index for outcome in outcomes] == list(range(100))


async def test_a_bad_row_is_an_outcome_and_costs_no_request(qlara: QlaraClient, gateway: WireGateway) -> None:
    rows = [{"channel": "SMS", "destination": "340", "sender": "ACME", "body": "x"}, 7, {}, sms()]
    outcomes = await outcomes_of(qlara.bulk(rows, ordered=True))
    assert [outcome.state for outcome in outcomes] == ["invalid", "invalid", "invalid", "accepted"]
    assert isinstance(outcomes[0].error, InvalidMessageError)
    assert outcomes[0].error.field == "destination"
    assert outcomes[1].item == 7
    assert outcomes[1].message is None
    assert len(gateway.seen) == 1


STATES: dict[str, tuple[Action, str]] = {
    "accepted": (accept, "accepted"),
    "refused inside a 200": (answer(200, b'{"results":{"sms":{"accepted":false}}}'), "rejected"),
    "400": (answer(400), "rejected"),
    "404": (answer(404), "rejected"),
    "422": (answer(422), "rejected"),
    "403": (answer(403), "failed"),
    "429 for too long": (answer(429, Retry_After="900"), "failed"),
    "500": (answer(500), "unknown"),
    "503": (answer(503), "unknown"),
    "dropped": (drop, "unknown"),
    "hangs": (hang, "unknown"),
    "no JSON": (answer(200, b"?"), "unknown"),
}


@pytest.mark.parametrize("ending", STATES)
async def test_the_state_says_what_is_known(ending: str, qlara: QlaraClient, gateway: WireGateway) -> None:
    action, state = STATES[ending]
    gateway.script = [action]
    impatient = qlara.with_options(timeouts=Timeouts(read=0.1))
    (outcome,) = await outcomes_of(impatient.bulk([sms()]))
    assert outcome.state == state
    assert (outcome.receipt is not None) is (state == "accepted")
    assert (outcome.error is None) is (state == "accepted")
    assert isinstance(outcome.error, DeliveryUnknownError) is (state == "unknown")
    assert list(gateway.message_ids.values()) == [1]


async def test_the_summary_counts_by_state(qlara: QlaraClient, gateway: WireGateway, clock: VirtualClock) -> None:
    gateway.script = [answer(400), answer(500), answer(429, Retry_After="10")]
    job = qlara.bulk([*many(7), {"channel": "FAX"}], concurrency=1)
    await outcomes_of(job)
    summary = job.summary
    assert {state.value: count for state, count in summary.states.items() if count} == {
        "accepted": 5,
        "rejected": 1,
        "unknown": 1,
        "invalid": 1,
    }
    assert (summary.drawn, summary.done, summary.in_flight, summary.resumed) == (8, 8, 0, 0)
    assert summary.elapsed >= 10
    assert summary.per_second == pytest.approx(7 / summary.elapsed)
    shown = "accepted=5, rejected=1, invalid=1, unknown=1, drawn=8, elapsed="
    assert repr(summary).startswith(f"BulkSummary({shown}")


async def test_progress_is_live(qlara: QlaraClient) -> None:
    async with qlara.bulk(many(10), concurrency=2) as job:
        seen = []
        async for _ in job:
            seen.append(job.progress.done)
    assert seen == sorted(seen)
    assert seen[-1] == 10
    assert job.progress.in_flight == 0


async def test_g4_backpressure_reaches_the_source(qlara: QlaraClient) -> None:
    drawn = 0

    def source() -> Iterator[Sms]:
        nonlocal drawn
        for message in many(10_000):
            drawn += 1
            yield message

    async with qlara.bulk(source(), concurrency=4) as job:
        taken = 0
        async for _ in job:
            taken += 1
            for _ in range(20):
                await asyncio.sleep(0)
            assert drawn <= taken + 4 * 4
            if taken == 40:
                break


@pytest.mark.parametrize("ordered", [False, True])
async def test_g4_memory_stays_flat(ordered: bool, gateway: WireGateway) -> None:
    rows = ({"channel": "SMS", "destination": "340", "sender": "ACME", "body": "x" * 1000} for _ in range(20_000))
    async with QlaraClient("k", base_url=gateway.url, rate_limit=None) as qlara:
        tracemalloc.start()
        try:
            async with qlara.bulk(rows, ordered=ordered) as job:
                async for outcome in job:
                    if outcome.index == 1_000:
                        gc.collect()
                        early, _ = tracemalloc.get_traced_memory()
                gc.collect()
                late, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert late - early < 200_000


async def test_g12_breaking_out_stops_workers_source_and_requests(qlara: QlaraClient, gateway: WireGateway) -> None:
    closed = False

    async def source() -> AsyncIterator[Sms]:
        nonlocal closed
        try:
            for message in many(1_000):
                yield message
        finally:
            closed = True

    async with qlara.bulk(source(), concurrency=8) as job:
        async for outcome in job:
            if outcome.index >= 20:
                break
    assert closed
    assert job.summary.drawn < 1_000
    sent = len(gateway.seen)
    assert (await qlara.send(sms())).attempts == 1  # connections and limiter are as good as before
    assert len(gateway.seen) == sent + 1


async def test_g12_an_exception_in_the_loop_stops_everything(qlara: QlaraClient) -> None:
    with pytest.raises(ZeroDivisionError):
        async with qlara.bulk(many(1_000)) as job:
            async for _ in job:
                raise ZeroDivisionError


async def test_g12_cancelling_the_consumer_stops_everything(qlara: QlaraClient, gateway: WireGateway) -> None:
    gateway.default = hang
    running = asyncio.Event()

    async def consume() -> None:
        async with qlara.bulk(many(1_000), concurrency=8) as job:
            running.set()
            async for _ in job:
                pass

    task = asyncio.create_task(consume())
    await running.wait()
    while len(gateway.seen) < 8:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    while gateway.open_connections:  # every connection was given up
        await asyncio.sleep(0)


async def test_g12_cancelling_while_all_wait_for_the_limiter_costs_no_token(
    gateway: WireGateway, clock: VirtualClock
) -> None:
    still = VirtualClock(jump=False)
    async with QlaraClient("k", base_url=gateway.url, clock=still) as qlara:
        still_waiting = asyncio.create_task(outcomes_of(qlara.bulk(many(1_000), concurrency=100)))
        while qlara.limiter.waiting < 53 or len(gateway.seen) < 47:
            await asyncio.sleep(0)
        still_waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await still_waiting
        assert qlara.limiter.waiting == 0
        assert still.timers == 0
        for _ in range(3):  # the reserve of the interactive lane is untouched
            await qlara.send(sms())


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_what_the_source_raises_comes_after_the_outcomes_before_it(kind: str, qlara: QlaraClient) -> None:
    def broken() -> Iterator[Sms]:
        yield from many(30)
        raise LookupError("the database went away")

    async def broken_async() -> AsyncIterator[Sms]:
        for message in broken():
            yield message

    outcomes = []
    with pytest.raises(LookupError):
        async with qlara.bulk(broken() if kind == "sync" else broken_async(), concurrency=4) as job:
            async for outcome in job:
                outcomes.append(outcome)
    assert len(outcomes) == 30
    assert job.summary.states[OutcomeState.ACCEPTED] == 30


async def test_a_refused_key_stops_the_job(qlara: QlaraClient, gateway: WireGateway) -> None:
    gateway.script = [accept]
    gateway.default = answer(401)
    states = []
    with pytest.raises(AuthenticationError):
        async with qlara.bulk(many(10_000), concurrency=4) as job:
            async for outcome in job:
                states.append(outcome.state)
    assert states[0] == "accepted"
    assert set(states[1:]) == {"failed"}
    assert len(gateway.seen) <= 6


async def test_a_refused_key_does_not_wait_for_a_slow_source(qlara: QlaraClient, gateway: WireGateway) -> None:
    gateway.default = answer(401)

    async def slow() -> AsyncIterator[Sms]:
        yield sms()
        await asyncio.Event().wait()

    with pytest.raises(AuthenticationError):
        async with qlara.bulk(slow(), concurrency=4) as job:
            async for outcome in job:
                assert outcome.state == "failed"


async def test_a_source_that_is_cancelled_from_within_is_an_error(qlara: QlaraClient) -> None:
    async def source() -> AsyncIterator[Sms]:
        yield sms()
        inner = asyncio.create_task(asyncio.Event().wait())
        inner.cancel()
        await inner

    with pytest.raises(QlaraError, match="cancelled from within"):
        await outcomes_of(qlara.bulk(source()))


async def test_a_source_that_raised_is_not_drawn_from_again(qlara: QlaraClient) -> None:
    class Source:
        drawn = 0

        def __aiter__(self) -> Source:
            return self

        async def __anext__(self) -> Sms:
            self.drawn += 1
            await asyncio.sleep(0)
            if self.drawn == 3:
                raise LookupError
            return sms()

    source = Source()
    with pytest.raises(LookupError):
        await outcomes_of(qlara.bulk(source, concurrency=8))
    assert source.drawn == 3


async def test_a_mapping_that_cannot_be_read_is_an_invalid_row(qlara: QlaraClient) -> None:
    class Broken(dict[str, str]):
        def items(self) -> Any:
            raise ZeroDivisionError

    outcomes = await outcomes_of(qlara.bulk([Broken(channel="SMS"), sms()], ordered=True))
    assert [outcome.state for outcome in outcomes] == ["invalid", "accepted"]


async def test_two_tasks_cannot_take_the_outcomes_of_one_job(qlara: QlaraClient, gateway: WireGateway) -> None:
    gateway.default = hang
    async with qlara.bulk([sms()]) as job:
        first = asyncio.create_task(anext(job))
        await asyncio.sleep(0)
        with pytest.raises(ClientStateError, match="one task"):
            await anext(job)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


async def test_an_ordered_job_cut_short_gives_what_it_has_in_order(qlara: QlaraClient, gateway: WireGateway) -> None:
    gateway.script = [accept, answer(401)]
    seen = []
    with pytest.raises(AuthenticationError):
        async with qlara.bulk(many(100), concurrency=3, ordered=True) as job:
            async for outcome in job:
                seen.append(outcome.index)
    assert seen == sorted(seen)
    assert len(seen) == job.summary.done


async def test_a_closed_client_ends_the_job_with_its_error(qlara: QlaraClient) -> None:
    with pytest.raises(ClientClosedError):
        async with qlara.bulk(many(1_000)) as job:
            async for _ in job:
                await qlara.aclose()


async def test_a_job_needs_its_block_and_runs_once(qlara: QlaraClient) -> None:
    job = qlara.bulk([sms()])
    with pytest.raises(ClientStateError, match="async with"):
        async for _ in job:
            pass
    await outcomes_of(job)
    with pytest.raises(ClientStateError, match="once"):
        async with job:
            pass


@pytest.mark.parametrize("source", ["messages.csv", 7, None, {"channel": "SMS"}])
async def test_what_is_no_source_is_refused(source: object, qlara: QlaraClient) -> None:
    with pytest.raises(ConfigurationError):
        qlara.bulk(source)  # type: ignore[arg-type]


async def test_an_otp_is_never_behind_a_campaign(gateway: WireGateway, clock: VirtualClock) -> None:
    async with QlaraClient("k", base_url=gateway.url, clock=clock) as qlara:
        async with qlara.bulk(many(400), concurrency=64) as job:
            async for _ in job:
                if qlara.limiter.waiting and job.progress.done > 60:
                    break
            began = clock.monotonic()
            assert qlara.limiter.try_acquire() is not None
            assert clock.monotonic() == began


async def test_an_empty_source_ends_at_once(qlara: QlaraClient) -> None:
    job = qlara.bulk([])
    assert await outcomes_of(job) == []
    assert job.summary.done == 0


async def test_no_number_or_text_is_shown_by_outcomes(qlara: QlaraClient) -> None:
    (outcome,) = await outcomes_of(qlara.bulk([sms("segreto")]))
    shown = repr(outcome) + repr(outcome.receipt)
    assert "segreto" not in shown
    assert "393401234567" not in shown
    assert ACCEPT  # the answer holds neither
