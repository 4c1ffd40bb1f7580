"""Gates: what is asked before a message is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from qlara_async import Gate, Message, Outcome, QlaraClient, Rcs, Receipt, Sms
from qlara_async.bulk.journal import Journal, JournalWriter
from qlara_async.bulk.rows import message_from_row
from qlara_async.errors import (
    ConfigurationError,
    InvalidMessageError,
    NotSentError,
    QlaraError,
)
from qlara_async.testing.clock import VirtualClock

from .test_lookups import routed
from .test_resume import rows
from .wire import WireGateway, accept, answer, drop

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_task_left")]


class Refuse:
    """Refuses the numbers it is given, and keeps what it was asked about."""

    def __init__(self, *numbers: str) -> None:
        self.numbers = set(numbers)
        self.asked: list[Message] = []

    async def check(self, message: Message) -> Message:
        self.asked.append(message)
        if message.destination in self.numbers:
            raise NotSentError(reason="busy", message_id=message.message_id)
        return message


class Rewrite:
    def __init__(self, **changes: Any) -> None:
        self.changes = changes

    async def check(self, message: Message) -> Message:
        return msgspec.structs.replace(message, **self.changes)


class Fail:
    def __init__(self, error: QlaraError) -> None:
        self.error = error

    async def check(self, message: Message) -> Message:
        raise self.error


@asynccontextmanager
async def client(gateway: WireGateway, clock: VirtualClock, *gates: Gate) -> AsyncIterator[QlaraClient]:
    options: dict[str, Any] = {"base_url": gateway.url, "clock": clock, "random": lambda: 0.0, "gates": gates}
    async with QlaraClient("key-for-tests", **options) as qlara:
        yield qlara


async def run(qlara: QlaraClient, source: Any, **options: Any) -> list[Outcome]:
    async with qlara.bulk(source, ordered=True, **options) as job:
        return [outcome async for outcome in job]


async def test_a_refused_message_costs_neither_request_nor_grant(
    gateway: WireGateway, clock: VirtualClock, sms: Sms
) -> None:
    async with client(gateway, clock, Refuse(sms.destination)) as qlara:
        with pytest.raises(NotSentError) as caught:
            await qlara.send(sms)
        assert caught.value.reason == "busy"
        assert caught.value.message_id == sms.message_id is not None
        assert gateway.seen == []
        granted = [qlara.limiter.try_acquire() for _ in range(51)]
        assert granted.count(None) == 1


async def test_gates_are_asked_in_order_and_each_gets_what_the_one_before_made(
    gateway: WireGateway, clock: VirtualClock, sms: Sms
) -> None:
    last = Refuse()
    told: list[tuple[Message, Receipt]] = []
    async with client(gateway, clock, Rewrite(body="Uno"), Rewrite(campaign_id="due"), last) as qlara:
        qlara.on_receipt(lambda message, receipt: told.append((message, receipt)))
        receipt = await qlara.send(sms)
    assert b'"body":"Uno"' in gateway.seen[0].body
    assert b'"campaignId":"due"' in gateway.seen[0].body
    assert receipt.message_id == sms.message_id
    assert [message.message_id for message, _ in told] == [sms.message_id]
    assert told[0][0] is last.asked[0]
    assert sms.body == "Ciao Anna"


async def test_a_replacement_without_an_id_gets_the_messages(
    gateway: WireGateway, clock: VirtualClock, sms: Sms
) -> None:
    async with client(gateway, clock, Rewrite(message_id=None)) as qlara:
        assert (await qlara.send(sms)).message_id == sms.message_id
    assert dict(gateway.message_ids) == {sms.message_id: 1}


async def test_a_replacement_is_asked_about_by_the_gates_before_it(
    gateway: WireGateway, clock: VirtualClock, sms: Sms
) -> None:
    before = Refuse()
    async with client(
        gateway, clock, before, Rewrite(campaign_id="c"), Rewrite(body="Altro", message_id=None)
    ) as qlara:
        await qlara.send(sms)
    assert [(one.campaign_id, cast("Sms", one).body) for one in before.asked] == [
        (None, "Ciao Anna"),
        ("c", "Ciao Anna"),
        ("c", "Altro"),
        ("c", "Altro"),
    ]
    assert {one.message_id for one in before.asked} == {sms.message_id}


@pytest.mark.parametrize("journalled", [False, True])
@pytest.mark.parametrize("whole_client", [False, True])
async def test_a_dry_run_stays_one_whatever_a_gate_makes_of_it(
    gateway: WireGateway, clock: VirtualClock, tmp_path: Path, journalled: bool, whole_client: bool
) -> None:
    source = [Sms(destination="+390000000001", sender="ACME", body="Ciao", simulation=not whole_client)]
    options: dict[str, Any] = {"simulation": whole_client, "gates": [Rewrite(body="Altro", simulation=False)]}
    async with QlaraClient("key-for-tests", base_url=gateway.url, clock=clock, **options) as qlara:
        (outcome,) = await run(qlara, source, journal=tmp_path / "journal.db" if journalled else None)
    assert outcome.state == "accepted"
    assert b'"simulation":true' in gateway.seen[0].body


class Swap:
    def __init__(self, other: Message) -> None:
        self.other = other

    async def check(self, message: Message) -> Message:
        return self.other


@pytest.mark.parametrize(
    "other",
    [
        Sms(destination="+390000000001", sender="ACME", body="Ciao"),
        Sms(destination="+393401234567", sender="ACME", body="Ciao", message_id="mine"),
        Rcs(destination="+393401234567", agent_id=1, body="Ciao"),
    ],
    ids=["recipient", "id", "channel"],
)
async def test_a_replacement_must_be_the_same_message_to_look_ups_and_callbacks(
    gateway: WireGateway, clock: VirtualClock, sms: Sms, other: Message
) -> None:
    async with client(gateway, clock, Swap(other)) as qlara:
        with pytest.raises(ConfigurationError, match="id, recipient or channel"):
            await qlara.send(sms)
    assert gateway.seen == []


async def test_a_repeated_send_is_not_asked_about_again(gateway: WireGateway, clock: VirtualClock, sms: Sms) -> None:
    gateway.script = [answer(429), accept]
    gate = Refuse()
    async with client(gateway, clock, gate) as qlara:
        assert (await qlara.send(sms)).attempts == 2
    assert len(gate.asked) == 1


async def test_a_gate_that_need_not_wait_costs_no_switch_of_tasks(
    gateway: WireGateway, clock: VirtualClock, sms: Sms
) -> None:
    async with client(gateway, clock, Refuse(sms.destination)) as qlara:
        turns: list[int] = []
        asyncio.get_running_loop().call_soon(turns.append, 1)
        with pytest.raises(NotSentError):
            await qlara.send(sms)
        assert turns == []


async def test_bulk_skips_what_a_gate_refuses(gateway: WireGateway, clock: VirtualClock) -> None:
    async with client(gateway, clock, Refuse("+390000000001")) as qlara:
        outcomes = await run(qlara, rows(3))
    assert [outcome.state for outcome in outcomes] == ["accepted", "skipped", "accepted"]
    assert [outcome.reason for outcome in outcomes] == [None, "busy", None]
    assert isinstance(outcomes[1].error, NotSentError)
    assert len(gateway.seen) == 2


@pytest.mark.parametrize(
    ("error", "state"), [(InvalidMessageError("no"), "invalid"), (QlaraError("the list is gone"), "failed")]
)
@pytest.mark.parametrize("journalled", [False, True])
async def test_bulk_never_sends_where_a_gate_fails(
    gateway: WireGateway, clock: VirtualClock, tmp_path: Path, error: QlaraError, state: str, journalled: bool
) -> None:
    async with client(gateway, clock, Fail(error)) as qlara:
        outcomes = await run(qlara, rows(2), journal=tmp_path / "journal.db" if journalled else None)
    assert [outcome.state for outcome in outcomes] == [state, state]
    assert gateway.seen == []


async def test_a_skipped_row_of_a_journal_is_not_final(
    gateway: WireGateway, clock: VirtualClock, tmp_path: Path
) -> None:
    gate = Refuse("+390000000001")
    path = tmp_path / "journal.db"
    async with client(gateway, clock, gate) as qlara:
        first = await run(qlara, rows(3), journal=path)
        with Journal.open(path) as journal:
            assert {state.value: count for state, count in journal.counts().items() if count} == {
                "accepted": 2,
                "skipped": 1,
            }
        still = await run(qlara, rows(3), journal=path)
        gate.numbers.clear()
        last = await run(qlara, rows(3), journal=path)
    assert [outcome.state for outcome in first] == ["accepted", "skipped", "accepted"]
    assert [(outcome.state, outcome.reason, outcome.resumed) for outcome in still] == [
        ("accepted", None, True),
        ("skipped", "busy", False),
        ("accepted", None, True),
    ]
    assert [outcome.state for outcome in last] == ["accepted"] * 3
    assert len(gate.asked) == 3 + 1 + 1
    assert len(gateway.seen) == 3


async def test_a_journal_knows_a_replaced_row_by_what_the_source_gave(
    gateway: WireGateway, clock: VirtualClock, tmp_path: Path
) -> None:
    path = tmp_path / "journal.db"
    async with client(gateway, clock, Rewrite(body="Altro")) as qlara:
        await run(qlara, rows(2), journal=path)
    async with client(gateway, clock) as qlara:
        again = await run(qlara, rows(2), journal=path)
    assert [(outcome.state, outcome.resumed) for outcome in again] == [("accepted", True)] * 2
    assert all(b"Altro" in seen.body for seen in gateway.seen)


async def leave_in_flight(gateway: WireGateway, clock: VirtualClock, path: Path) -> None:
    """Leave a journal of two rows: one accepted, one that was in flight when its process died."""
    async with client(gateway, clock) as qlara:
        await run(qlara, rows(1), journal=path)
    message = message_from_row(list(rows(2))[1])
    async with JournalWriter(path, clock=clock) as journal:
        await journal.begin(1, journal.mint(1), message.channel, journal.digest(message))


async def test_g5_a_row_that_was_sent_before_a_crash_is_not_asked_about(
    gateway: WireGateway, clock: VirtualClock, tmp_path: Path
) -> None:
    await leave_in_flight(gateway, clock, tmp_path / "journal.db")
    routed(gateway, visible=lambda _: True)
    gate = Refuse("+390000000001")
    async with client(gateway, clock, gate) as qlara:
        outcomes = await run(qlara, rows(2), journal=tmp_path / "journal.db")
    assert [outcome.state for outcome in outcomes] == ["accepted", "accepted"]
    assert gate.asked == []


async def test_g5_a_row_that_was_lost_in_a_crash_is_asked_about_and_skipped(
    gateway: WireGateway, clock: VirtualClock, tmp_path: Path
) -> None:
    path = tmp_path / "journal.db"
    await leave_in_flight(gateway, clock, path)
    routed(gateway, visible=lambda item: gateway.message_ids[item] > 0)
    async with client(gateway, clock, Refuse("+390000000001")) as qlara:
        outcomes = await run(qlara, rows(2), journal=path)
    assert [outcome.state for outcome in outcomes] == ["accepted", "skipped"]
    assert sum(gateway.message_ids.values()) == 1
    with Journal.open(path) as journal:
        assert [entry.state for entry in journal.outcomes()] == ["accepted", "skipped"]


async def test_g5_an_unknown_row_stays_unknown_when_a_gate_refuses_to_send_it_again(
    gateway: WireGateway, clock: VirtualClock, tmp_path: Path
) -> None:
    path = tmp_path / "journal.db"
    routed(gateway, sends=[drop], visible=lambda _: False)
    async with client(gateway, clock) as qlara:
        assert [outcome.state for outcome in await run(qlara, rows(1), journal=path)] == ["unknown"]
    async with client(gateway, clock, Refuse("+390000000000")) as qlara:
        outcomes = await run(qlara, rows(1), journal=path, on_unknown="resend")
    assert [outcome.state for outcome in outcomes] == ["unknown"]
    assert sum(gateway.message_ids.values()) == 1


async def test_a_gate_is_recognised() -> None:
    with pytest.raises(ConfigurationError, match="check"):
        QlaraClient("key", gates=[lambda message: message])  # type: ignore[list-item]
