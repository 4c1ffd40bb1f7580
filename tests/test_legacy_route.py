"""``client.bulk(…, sms_route="legacy")``: many SMS in a request, each with its own end."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from qlara_async import ClientEvent, Outcome, QlaraClient, RateLimit, RequestFinished, RetryPolicy, Sms, Timeouts
from qlara_async.bulk.journal import JournalWriter
from qlara_async.errors import (
    AuthenticationError,
    BadRequestError,
    ClientStateError,
    ConfigurationError,
    DeliveryUnknownError,
    MessageRejectedError,
    QlaraError,
    SuppressedError,
)
from qlara_async.models.message import Message
from qlara_async.sandbox import Fault, Sandbox
from qlara_async.sending.batches import BatchingSender
from qlara_async.sending.calls import CallOptions
from qlara_async.testing.clock import VirtualClock

from .test_lookups import routed
from .wire import WireGateway, answer, drop, hang

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_task_left")]

FAST = RetryPolicy(settle=0.3, max_attempts=3)


def row(index: int, **given: Any) -> dict[str, Any]:
    return {"channel": "SMS", "destination": f"+39000{index:07}", "sender": "ACME", "body": "Ciao"} | given


def rows(count: int) -> Iterator[dict[str, Any]]:
    return (row(index) for index in range(count))


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[QlaraClient]:
    async with QlaraClient(
        sandbox.api_key, base_url=sandbox.url, retry=FAST, timeouts=Timeouts(read=0.5), random=lambda: 0.0
    ) as client:
        yield client


async def run(client: QlaraClient, source: Any, **given: Any) -> list[Outcome]:
    async with client.bulk(source, sms_route="legacy", ordered=True, **given) as job:
        return [outcome async for outcome in job]


def sends(sandbox: Sandbox) -> int:
    return sum(count for (route, _), count in sandbox.requests.items() if route == "send")


def states(outcomes: list[Outcome]) -> list[str]:
    return [outcome.state.value for outcome in outcomes]


async def test_full_batches_go_out_and_each_message_is_its_own_outcome(client: QlaraClient, sandbox: Sandbox) -> None:
    outcomes = await run(client, rows(1_000))
    assert sends(sandbox) == 10
    assert states(outcomes) == ["accepted"] * 1_000
    assert dict(sandbox.accepted) == {outcome.message_id: 1 for outcome in outcomes}
    assert {outcome.receipt.parts for outcome in outcomes if outcome.receipt} == {1}
    places = {message.message_id: message.destination for message in sandbox.messages}
    assert [places[str(outcome.message_id)] for outcome in outcomes] == [item["destination"] for item in rows(1_000)]


async def test_a_batch_that_does_not_fill_goes_out_by_age(gateway: WireGateway) -> None:
    gateway.default = answer(200)
    clock = VirtualClock(jump=False)
    more = asyncio.Event()

    async def source() -> AsyncIterator[dict[str, Any]]:
        yield row(1)
        yield row(2)
        await more.wait()

    async with QlaraClient("k", base_url=gateway.url, clock=clock) as qlara:
        async with qlara.bulk(source(), sms_route="legacy", flush_after=0.2) as job:
            first = asyncio.create_task(anext(job))
            await clock.advance(0.19)
            assert gateway.seen == []
            await clock.advance(0.02)
            assert (await first).state == "accepted"
            (request,) = gateway.seen
            assert len(json.loads(request.body)["messages"][0]["ids"]) == 2
            more.set()
            assert len([outcome async for outcome in job]) == 1


async def test_messages_of_other_channels_go_their_usual_way(client: QlaraClient, sandbox: Sandbox) -> None:
    source = [row(1), {"channel": "RCS", "destination": "+390000000002", "agent_id": 1, "body": "Ciao"}, row(3)]
    assert states(await run(client, source)) == ["accepted"] * 3
    assert sends(sandbox) == 2
    assert [message.channel for message in sandbox.messages].count("RCS") == 1  # type: ignore[arg-type]


async def test_what_legacy_cannot_do_is_invalid_or_rendered(client: QlaraClient, sandbox: Sandbox) -> None:
    source = [
        row(0, campaign_id="spring"),
        row(1, message_id="x" * 65),
        row(2, body="Ciao {nome}", **{"placeholders.nome": "Anna"}),
        row(3, body="Ciao {nome}"),
        row(4, simulation="true"),
        row(5, enable_notification="false"),
    ]
    outcomes = await run(client, source)
    assert states(outcomes) == ["invalid", "invalid", "accepted", "invalid", "accepted", "accepted"]
    bodies = [json.loads(message.raw) for message in sandbox.messages]
    assert [body["messages"][0]["body"] for body in bodies] == ["Ciao Anna", "Ciao"]
    assert bodies[1]["enableDelivery"] is False
    assert sends(sandbox) == 3


async def test_partial_refusals_are_outcomes_of_their_messages(client: QlaraClient, sandbox: Sandbox) -> None:
    sandbox.refuse("+390000000007", "BLACKLISTED 390000000007")
    outcomes = await run(client, rows(20))
    assert states(outcomes) == ["rejected" if place == 7 else "accepted" for place in range(20)]
    error = outcomes[7].error
    assert isinstance(error, MessageRejectedError)
    assert error.message_id == outcomes[7].message_id
    assert "BLACKLISTED" in str(error)
    assert "390000000007" not in str(error)
    assert len(sandbox.accepted) == 19


async def test_a_jsend_error_refuses_the_whole_request_with_the_codes_meaning(
    qlara: QlaraClient, gateway: WireGateway
) -> None:
    gateway.default = answer(400, b'{"status":"fail","message":"Sender ACME","code":18}')
    outcomes = await run(qlara, rows(3))
    assert states(outcomes) == ["rejected"] * 3
    for outcome in outcomes:
        assert isinstance(outcome.error, BadRequestError)
        assert outcome.error.meaning == "wrong or not allowed sender"
        assert outcome.error.field == "sender"
        assert outcome.error.message_id == outcome.message_id
        assert "ACME" not in str(outcome.error)
    assert len({id(outcome.error) for outcome in outcomes}) == 3


AFTER = [Fault.DROP_AFTER, Fault.ERROR_AFTER, Fault.TRUNCATED, Fault.HANG_AFTER]
BEFORE = [Fault.DROP_BEFORE, Fault.ERROR_BEFORE, Fault.HANG_BEFORE]


@pytest.mark.parametrize("fault", AFTER)
async def test_g1_an_ambiguous_batch_that_was_accepted_is_looked_up_and_not_sent_again(
    fault: Fault, client: QlaraClient, sandbox: Sandbox
) -> None:
    sandbox.fault("+390000000013", fault)
    outcomes = await run(client, rows(30))
    assert states(outcomes) == ["accepted"] * 30
    assert all(outcome.receipt is not None and outcome.receipt.looked_up for outcome in outcomes)
    assert dict(sandbox.accepted) == {outcome.message_id: 1 for outcome in outcomes}
    assert sandbox.requests["status", 200] == 1  # one query for all


@pytest.mark.parametrize("fault", BEFORE)
async def test_g1_an_ambiguous_batch_that_is_absent_is_sent_again_once(
    fault: Fault, client: QlaraClient, sandbox: Sandbox
) -> None:
    await client.sms.send(destination="+390000000099", sender="ACME", body="control", message_id="control")
    sandbox.fault("+390000000013", fault)
    outcomes = await run(client, rows(30))
    assert states(outcomes) == ["accepted"] * 30
    assert {outcome.receipt.attempts for outcome in outcomes if outcome.receipt} == {2}
    assert dict(sandbox.accepted) == {outcome.message_id: 1 for outcome in outcomes} | {"control": 1}


async def test_g1_an_absent_batch_is_not_sent_again_when_the_time_is_over(gateway: WireGateway) -> None:
    late = VirtualClock(start=1_000.1)  # between two looks: the one after `settle` comes a little later
    retry = RetryPolicy(max_elapsed=10, settle=10)
    async with QlaraClient("k", base_url=gateway.url, clock=late, retry=retry) as qlara:
        await qlara.send(Sms(destination="+390000000009", sender="ACME", body="Ciao", message_id="control"))
        routed(gateway, sends=[drop], visible=lambda item: item == "control")
        assert states(await run(qlara, rows(2), batch=2)) == ["failed"] * 2
    assert [seen.target for seen in gateway.seen if seen.method == "POST"].count("/api/services/sms/send") == 1


async def test_what_provably_did_not_leave_is_not_looked_up(gateway: WireGateway) -> None:
    once, seen = RetryPolicy(max_attempts=1), list[ClientEvent]()
    async with QlaraClient("k", base_url="http://127.0.0.1:9/api", retry=once, on_event=seen.append) as qlara:
        assert states(await run(qlara, rows(2), batch=2)) == ["failed"] * 2
    assert [event.path for event in seen if isinstance(event, RequestFinished)] == ["/services/sms/send"]


@pytest.mark.parametrize("journalled", [False, True])
async def test_a_client_in_test_mode_makes_dry_runs_of_batches_too(
    journalled: bool, gateway: WireGateway, tmp_path: Path
) -> None:
    journal = tmp_path / "campaign.db" if journalled else None
    async with QlaraClient("k", base_url=gateway.url, simulation=True) as qlara:
        assert states(await run(qlara, rows(5), batch=2, concurrency=4, journal=journal)) == ["accepted"] * 5
    assert all(json.loads(seen.body)["simulation"] for seen in gateway.seen)


async def test_g12_a_cancelled_send_that_waits_for_its_batch_is_not_sent(gateway: WireGateway) -> None:
    still = VirtualClock(jump=False)
    async with QlaraClient("k", base_url=gateway.url, clock=still) as qlara:
        batching = BatchingSender(qlara._sender, CallOptions(), batch=10, flush_after=1)
        sending = [
            asyncio.create_task(batching.send(CallOptions(), Sms(destination=f"+39000000000{n}", sender="A", body="x")))
            for n in range(3)
        ]
        await still.advance(0.5)
        sending[1].cancel()
        await still.advance(1)
        await asyncio.gather(sending[0], sending[2])
        assert sending[1].cancelled()
        await batching.close()
    (seen,) = gateway.seen
    assert json.loads(seen.body)["messages"][0]["destinations"] == ["+390000000000", "+390000000002"]


async def test_g1_without_a_control_an_absent_batch_stays_unknown(client: QlaraClient, sandbox: Sandbox) -> None:
    sandbox.fault(None, Fault.DROP_BEFORE)
    outcomes = await run(client, rows(5))
    assert states(outcomes) == ["unknown"] * 5
    for outcome in outcomes:
        assert isinstance(outcome.error, DeliveryUnknownError)
        assert outcome.error.message_id == outcome.message_id
    assert not sandbox.accepted


async def test_g1_of_an_answer_that_names_a_few_the_others_are_looked_up_and_only_the_absent_sent_again(
    qlara: QlaraClient, gateway: WireGateway
) -> None:
    taken: list[str] = []
    posts: list[list[str]] = []

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        request = gateway.seen[-1]
        if request.method == "GET":
            found = [{"customerMessageId": item, "deliveryStatus": "SENT"} for item in taken if item in request.target]
            return await answer(200, json.dumps(found).encode())(reader, writer)
        ids = json.loads(request.body)["messages"][0]["ids"]
        posts.append(ids)
        named = [{"id": item, "accepted": True} for item in ids[:1]]
        taken.extend(ids[:2] if len(posts) == 1 else ids)
        return await answer(200, json.dumps({"messages": named}).encode())(reader, writer)

    gateway.default = act
    outcomes = await run(qlara, [row(index, message_id=f"m-{index}") for index in range(3)])
    assert states(outcomes) == ["accepted"] * 3
    assert posts == [["m-0", "m-1", "m-2"], ["m-2"]]
    assert [outcome.receipt.looked_up for outcome in outcomes if outcome.receipt] == [False, True, False]


async def test_g2_a_batch_costs_one_grant(sandbox: Sandbox) -> None:
    clock = VirtualClock()
    limit = RateLimit(per_second=10, per_minute=10)
    async with QlaraClient(sandbox.api_key, base_url=sandbox.url, rate_limit=limit, clock=clock) as client:
        began = clock.monotonic()
        outcomes = await run(client, rows(900), flush_after=1.0)
    assert states(outcomes) == ["accepted"] * 900
    assert clock.monotonic() - began < 1


async def test_g4_a_slow_consumer_slows_the_source(client: QlaraClient) -> None:
    drawn = 0

    def source() -> Iterator[dict[str, Any]]:
        nonlocal drawn
        for index in range(100_000):
            drawn += 1
            yield row(index)

    async with client.bulk(source(), sms_route="legacy", batch=5, concurrency=10) as job:
        async for _ in job:
            for _ in range(200):
                await asyncio.sleep(0)
            break
        assert drawn <= 50


async def test_g5_a_rerun_takes_what_is_final_from_the_journal(
    client: QlaraClient, sandbox: Sandbox, tmp_path: Path
) -> None:
    journal = tmp_path / "campaign.db"
    source = [row(0, campaign_id="spring"), *rows(250)]
    sandbox.refuse("+390000000007")
    first = await run(client, source, journal=journal)
    requests = sends(sandbox)
    again = await run(client, source, journal=journal)
    assert states(again) == states(first)
    assert states(again).count("accepted") == 249
    assert all(outcome.resumed for outcome in again)
    assert [outcome.message_id for outcome in again] == [outcome.message_id for outcome in first]
    assert sends(sandbox) == requests == 3


async def test_g5_what_was_in_flight_is_looked_up_and_sent_once(
    client: QlaraClient, sandbox: Sandbox, tmp_path: Path
) -> None:
    journal = tmp_path / "campaign.db"
    sandbox.fault("+390000000150", Fault.HANG_AFTER)
    async with client.bulk(rows(300), sms_route="legacy", journal=journal) as job:
        async for _ in job:
            if job.progress.done >= 100 and len(sandbox.accepted) >= 200:
                break
    outcomes = await run(client, rows(300), journal=journal)
    assert states(outcomes) == ["accepted"] * 300
    assert dict(sandbox.accepted) == {outcome.message_id: 1 for outcome in outcomes}


async def test_g5_a_restart_counts_a_batch_as_one_grant(client: QlaraClient, sandbox: Sandbox, tmp_path: Path) -> None:
    journal = tmp_path / "campaign.db"
    await run(client, rows(300), journal=journal)
    async with JournalWriter(journal) as writer:
        assert len(await writer.recent_grants(time.time())) == sends(sandbox) <= 6


async def test_g12_leaving_a_job_leaves_no_task_and_sends_nothing_more(
    qlara: QlaraClient, gateway: WireGateway
) -> None:
    gateway.default = hang
    job = qlara.bulk(rows(250), sms_route="legacy", flush_after=1_000.0)
    async with job:
        while len(gateway.seen) < 2:
            await asyncio.sleep(0)
    assert len(gateway.seen) == 2
    assert job.summary.in_flight == 250
    assert qlara.limiter.waiting == 0


async def test_a_refused_key_ends_the_job(qlara: QlaraClient, gateway: WireGateway) -> None:
    gateway.default = answer(401)
    with pytest.raises(AuthenticationError):
        await run(qlara, rows(50), batch=10, concurrency=10)
    assert len(gateway.seen) < 5


async def test_listeners_hear_of_each_message(client: QlaraClient) -> None:
    heard: list[str] = []
    client.on_receipt(lambda message, receipt: heard.append(receipt.message_id))
    outcomes = await run(client, rows(10))
    assert sorted(heard) == sorted(str(outcome.message_id) for outcome in outcomes)


@pytest.mark.parametrize(
    "given",
    [
        {"sms_route": "fax"},
        {"batch": 0},
        {"batch": 2.5},
        {"flush_after": -1},
        {"flush_after": float("nan")},
        {"batch": 100, "concurrency": 32},
    ],
)
async def test_arguments_that_cannot_work_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        QlaraClient("k").bulk([], **{"sms_route": "legacy"} | given)


async def test_two_messages_of_one_id_both_have_an_end(client: QlaraClient) -> None:
    source = [Sms(destination="+390000000001", sender="ACME", body="Ciao", message_id="same") for _ in range(2)]
    assert states(await run(client, source)) == ["accepted"] * 2


async def test_a_batch_in_flight_is_a_task_or_two_and_not_one_for_each_message(
    qlara: QlaraClient, gateway: WireGateway
) -> None:
    gateway.default = hang
    before = len(asyncio.all_tasks())
    async with qlara.bulk(rows(10_000), sms_route="legacy") as job:
        while len(gateway.seen) < 8:
            await asyncio.sleep(0)
        assert job.progress.in_flight == 800
        ours = len(asyncio.all_tasks()) - before - len(gateway.seen)  # the server has one for each connection
    assert ours <= 16


@pytest.mark.parametrize("end", [ValueError("no more"), asyncio.CancelledError()], ids=["error", "cancelled"])
async def test_what_was_drawn_before_a_source_failed_has_its_outcomes(
    end: BaseException, client: QlaraClient, sandbox: Sandbox
) -> None:
    def source() -> Iterator[dict[str, Any]]:
        yield from rows(150)
        raise end

    outcomes = []
    with pytest.raises(ValueError if isinstance(end, ValueError) else QlaraError):
        async with client.bulk(source(), sms_route="legacy") as job:
            async for outcome in job:
                outcomes.append(outcome)
    assert states(outcomes) == ["accepted"] * 150
    assert len(sandbox.accepted) == 150


class Choosy:
    """A gate that skips one recipient, gives another a campaign, and lets the rest wait for a turn of the loop."""

    async def check(self, message: Message) -> Message:
        await asyncio.sleep(0)
        if message.destination.endswith("3"):
            raise SuppressedError(message_id=message.message_id)
        if message.destination.endswith("5"):
            return msgspec.structs.replace(message, campaign_id="spring")
        return message


async def test_gates_are_asked_before_a_message_takes_a_place_in_a_batch(sandbox: Sandbox) -> None:
    async with QlaraClient(sandbox.api_key, base_url=sandbox.url, gates=[Choosy()]) as client:
        outcomes = await run(client, rows(250), flush_after=1_000.0)
    expected = {3: "skipped", 5: "invalid"}
    assert states(outcomes) == [expected.get(place % 10, "accepted") for place in range(250)]
    assert sends(sandbox) == 2
    assert len(sandbox.accepted) == 200


async def test_a_message_is_told_of_before_others_that_were_drawn_with_it(
    qlara: QlaraClient, gateway: WireGateway
) -> None:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        dry = json.loads(gateway.seen[-1].body).get("simulation", False)
        return await (hang if dry else answer(200))(reader, writer)

    gateway.default = act
    source = [row(index, simulation="true" if index % 2 else "false") for index in range(20)]
    async with qlara.bulk(source, sms_route="legacy", batch=10) as job:
        told = [(await anext(job)).index for _ in range(10)]
    assert sorted(told) == list(range(0, 20, 2))
    assert job.summary.in_flight == 10


async def test_a_client_that_is_closed_meanwhile_ends_the_job(client: QlaraClient) -> None:
    async def run_closed() -> None:
        async with client.bulk(rows(1_000), sms_route="legacy", batch=10, concurrency=10) as job:
            async for _ in job:
                await client.aclose()

    with pytest.raises(ClientStateError):
        await run_closed()
