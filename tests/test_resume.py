"""A bulk job run again with its journal: what it takes from it, what it asks, what it sends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path

import pytest

from qlara_async import Channel, Limiter, Outcome, OutcomeState, QlaraClient, RateLimit, SuppressionList
from qlara_async.bulk.journal import Journal, JournalWriter, RowState
from qlara_async.bulk.rows import message_from_row
from qlara_async.errors import (
    BadRequestError,
    ConfigurationError,
    DeliveryUnknownError,
    InvalidMessageError,
    JournalLockedError,
    JournalMismatchError,
    JournalWriteError,
)
from qlara_async.testing.clock import VirtualClock

from .test_lookups import routed
from .wire import WireGateway, accept, answer, drop

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_task_left")]


def row(index: int, **fields: str) -> dict[str, str]:
    return {
        "channel": "SMS",
        "destination": f"+39000{index:07}",
        "sender": "ACME",
        "body": f"Messaggio {index}",
    } | fields


def rows(count: int) -> Iterator[dict[str, str]]:
    return (row(index) for index in range(count))


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "campaign.db"


async def run(
    qlara: QlaraClient, source: Iterable[object], journal: Path, *, on_unknown: str = "keep"
) -> list[Outcome]:
    async with qlara.bulk(source, journal=journal, ordered=True, on_unknown=on_unknown) as job:  # type: ignore[arg-type]
        return [outcome async for outcome in job]


async def test_no_more_are_sent_at_a_time_than_concurrency_says(
    qlara: QlaraClient, gateway: WireGateway, journal: Path
) -> None:
    active: list[int] = [0]
    three = asyncio.Event()

    async def watched(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        active.append(active[-1] + 1)
        if active[-1] == 3:
            three.set()
        await three.wait()
        for _ in range(20):  # who would send a fourth has the time to
            await asyncio.sleep(0)
        active.append(active[-1] - 1)
        return await accept(reader, writer)

    gateway.default = watched
    async with qlara.bulk(rows(30), journal=journal, concurrency=3) as job:
        assert [outcome.state async for outcome in job] == ["accepted"] * 30
    assert max(active) == 3


async def test_a_row_that_waits_for_its_turn_is_checked_when_that_comes(
    gateway: WireGateway, clock: VirtualClock, journal: Path
) -> None:
    suppressed = SuppressionList()

    async def stop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        for _ in range(50):  # the next row is drawn by now
            await asyncio.sleep(0)
        await suppressed.add("+390000000001")
        return await accept(reader, writer)

    gateway.script = [stop]
    async with (
        QlaraClient("k", base_url=gateway.url, clock=clock, suppression=suppressed) as qlara,
        qlara.bulk(rows(2), journal=journal, concurrency=1, ordered=True) as job,
    ):
        assert [outcome.state async for outcome in job] == ["accepted", "skipped"]
    assert len(gateway.seen) == 1


async def test_g5_what_is_final_comes_back_and_costs_no_request(
    qlara: QlaraClient, gateway: WireGateway, journal: Path
) -> None:
    gateway.script = [accept, answer(400, b'{"message":"no"}'), answer(200, b'{"results":{"sms":{"accepted":false}}}')]
    source = [*rows(3), {"channel": "FAX"}]
    async with qlara.bulk(source, journal=journal, ordered=True, concurrency=1) as job:
        first = [outcome async for outcome in job]
    seen = len(gateway.seen)
    again = await run(qlara, source, journal)
    assert [outcome.state for outcome in again] == ["accepted", "rejected", "rejected", "invalid"]
    assert [outcome.state for outcome in first] == [outcome.state for outcome in again]
    assert not any(outcome.resumed for outcome in first)
    assert all(outcome.resumed for outcome in again)
    assert [outcome.message_id for outcome in again] == [outcome.message_id for outcome in first]
    assert again[0].receipt is not None
    assert again[0].receipt.parts == 1
    assert isinstance(again[1].error, BadRequestError)
    assert str(again[1].error) == str(first[1].error)
    assert len(gateway.seen) == seen


async def test_g5_failed_rows_and_rows_never_started_are_sent(
    qlara: QlaraClient, gateway: WireGateway, journal: Path
) -> None:
    gateway.script = [accept, answer(403)]
    async with qlara.bulk(rows(4), journal=journal, ordered=True, concurrency=1) as job:
        async for outcome in job:
            if outcome.index == 1:
                assert outcome.state == "failed"
                break
    sent = gateway.message_ids.copy()
    routed(gateway, visible=lambda item: gateway.message_ids[item] > 0)
    again = await run(qlara, rows(4), journal)
    assert [outcome.state for outcome in again] == ["accepted"] * 4
    assert [outcome.resumed for outcome in again][:2] == [True, False]
    assert gateway.message_ids[str(again[1].message_id)] == sent[str(again[1].message_id)] + 1


async def test_g5_an_unknown_row_is_looked_up_again_and_never_sent_by_itself(
    qlara: QlaraClient, gateway: WireGateway, journal: Path
) -> None:
    visible: set[str] = set()
    routed(gateway, sends=[accept, drop, drop], visible=lambda item: item in visible)
    first = await run(qlara, rows(3), journal)
    unknown = [outcome for outcome in first if outcome.state == "unknown"]
    assert len(unknown) == 2
    visible.update({str(unknown[0].message_id)})
    again = {outcome.message_id: outcome for outcome in await run(qlara, rows(3), journal)}
    found, open_still = (again[outcome.message_id] for outcome in unknown)
    assert (found.state, found.resumed) == ("accepted", False)
    assert found.receipt is not None
    assert found.receipt.looked_up
    assert (open_still.state, open_still.resumed) == ("unknown", True)
    assert isinstance(open_still.error, DeliveryUnknownError)
    assert set(gateway.message_ids.values()) == {1}
    resent = {outcome.message_id: outcome for outcome in await run(qlara, rows(3), journal, on_unknown="resend")}
    assert resent[open_still.message_id].state == "accepted"
    assert gateway.message_ids[str(open_still.message_id)] == 2


async def test_g5_a_row_that_changed_is_an_error_before_it_or_any_later_one_is_sent(
    qlara: QlaraClient, gateway: WireGateway, journal: Path
) -> None:
    await run(qlara, rows(3), journal)
    sent = len(gateway.seen)
    changed = [row(0), row(1, body="Altro"), row(2), row(3)]
    outcomes = []
    with pytest.raises(JournalMismatchError) as caught:
        async with qlara.bulk(changed, journal=journal, concurrency=8) as job:
            async for outcome in job:
                outcomes.append(outcome.index)
    assert caught.value.index == 1
    assert outcomes == [0]
    assert len(gateway.seen) == sent


async def test_g5_rows_missing_at_the_end_are_reported(qlara: QlaraClient, journal: Path) -> None:
    await run(qlara, rows(5), journal)
    async with qlara.bulk(rows(3), journal=journal) as job:
        assert len([outcome async for outcome in job]) == 3
    assert job.summary.missing == 2
    assert job.summary.resumed == 3


async def test_g5_a_source_may_go_on_where_the_journal_ends(qlara: QlaraClient, journal: Path) -> None:
    await run(qlara, rows(3), journal)
    again = await run(qlara, rows(5), journal)
    assert [outcome.resumed for outcome in again] == [True, True, True, False, False]


async def test_ids_of_the_callers_own_are_kept_and_a_repeated_one_is_invalid(
    qlara: QlaraClient, gateway: WireGateway, journal: Path
) -> None:
    source = [row(0, message_id="mine"), row(1, message_id="mine"), row(2)]
    outcomes = await run(qlara, source, journal)
    assert sorted(outcome.state for outcome in outcomes) == ["accepted", "accepted", "invalid"]
    (invalid,) = (outcome for outcome in outcomes if outcome.state == "invalid")
    assert isinstance(invalid.error, InvalidMessageError)
    assert gateway.message_ids["mine"] == 1
    again = await run(qlara, source, journal)
    assert all(outcome.resumed for outcome in again)


async def test_g5_a_restart_does_not_burst_above_the_limit(
    gateway: WireGateway, clock: VirtualClock, journal: Path
) -> None:
    limit = RateLimit(per_second=10, per_minute=20)
    async with QlaraClient("k", base_url=gateway.url, rate_limit=limit, clock=clock) as qlara:
        await run(qlara, rows(9), journal)
    began = clock.monotonic()
    async with QlaraClient("k", base_url=gateway.url, rate_limit=limit, clock=clock) as qlara:
        await run(qlara, rows(21), journal)
    assert clock.monotonic() - began > 55


async def test_a_second_job_on_the_same_journal_is_refused(qlara: QlaraClient, journal: Path) -> None:
    async with qlara.bulk(rows(5), journal=journal) as job:
        with pytest.raises(JournalLockedError):
            async with qlara.bulk(rows(5), journal=journal):
                pass
        assert len([outcome async for outcome in job]) == 5


async def test_nothing_is_sent_that_cannot_be_journalled(
    qlara: QlaraClient, gateway: WireGateway, tmp_path: Path
) -> None:
    with pytest.raises(JournalWriteError):
        async with qlara.bulk(rows(5), journal=tmp_path / "nowhere" / "campaign.db"):
            pass
    assert gateway.seen == []


async def test_on_unknown_is_checked(qlara: QlaraClient, journal: Path) -> None:
    with pytest.raises(ConfigurationError):
        qlara.bulk([], journal=journal, on_unknown="maybe")  # type: ignore[arg-type]


async def test_breaking_out_leaves_a_journal_that_can_be_resumed(
    qlara: QlaraClient, gateway: WireGateway, journal: Path
) -> None:
    async with qlara.bulk(rows(50), journal=journal, concurrency=4) as job:
        async for outcome in job:
            if outcome.index > 10:
                break
    routed(gateway, visible=lambda item: gateway.message_ids[item] > 0)
    outcomes = await run(qlara, rows(50), journal)
    assert {outcome.state for outcome in outcomes} == {"accepted"}
    assert set(gateway.message_ids.values()) == {1}


@pytest.mark.parametrize("control", ["of the journal", "found meanwhile"])
async def test_g5_what_the_journal_knows_or_a_look_finds_proves_others_absent(
    control: str, qlara: QlaraClient, gateway: WireGateway, journal: Path
) -> None:
    async with JournalWriter(journal) as writer:  # a process that died with two messages under way
        for index in (0, 1):
            digest = writer.digest(message_from_row(row(index)))
            await writer.begin(index, writer.mint(index), Channel.SMS, digest)
        if control == "of the journal":
            await writer.finish(0, OutcomeState.ACCEPTED)
        known = writer.mint(0)
    routed(gateway, visible=lambda item: item == known)
    outcomes = await run(qlara, rows(2), journal)
    assert [outcome.state for outcome in outcomes] == ["accepted"] * 2
    assert [outcome.resumed for outcome in outcomes] == [control == "of the journal", False]
    assert dict(gateway.message_ids) == {outcomes[1].message_id: 1}


async def test_a_source_that_fails_while_it_is_closed_leaves_no_journal_open(qlara: QlaraClient, journal: Path) -> None:
    def source() -> Iterator[dict[str, str]]:
        try:
            yield from rows(100)
        finally:
            raise OSError("the query could not be closed")

    with pytest.raises(OSError, match="could not be closed"):
        async with qlara.bulk(source(), journal=journal) as job:
            await anext(job)
    assert len(await run(qlara, rows(3), journal)) == 3


async def test_g12_an_end_cancelled_while_the_source_is_closed_leaves_no_journal_open(
    qlara: QlaraClient, journal: Path
) -> None:
    closing = asyncio.Event()

    async def source() -> AsyncIterator[dict[str, str]]:
        try:
            for one in rows(100):
                yield one
        finally:
            closing.set()
            await asyncio.Event().wait()

    async def begin() -> None:
        async with qlara.bulk(source(), journal=journal) as job:
            await anext(job)

    running = asyncio.create_task(begin())
    await closing.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert len(await run(qlara, rows(3), journal)) == 3


async def test_the_journal_can_be_looked_into(qlara: QlaraClient, gateway: WireGateway, journal: Path) -> None:
    gateway.script = [answer(400)]
    await run(qlara, rows(4), journal)
    with Journal.open(journal) as read:
        assert read.counts()[RowState.ACCEPTED] == 3
        assert [entry.state for entry in read.outcomes("rejected")] == ["rejected"]


async def test_g11_a_journal_holds_no_number_and_no_text(
    qlara: QlaraClient, journal: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await run(qlara, [row(1, body="Segreto"), row(2, destination="340")], journal)
    content = await asyncio.to_thread(journal.read_bytes)
    assert b"Segreto" not in content
    assert b"390000000001" not in content
    assert "Segreto" not in caplog.text


async def test_g2_what_an_earlier_run_sent_counts_for_every_key(
    gateway: WireGateway, clock: VirtualClock, journal: Path
) -> None:
    """The first key may have been refused in that run, and another have taken over."""
    rate = RateLimit(per_second=50, per_minute=100)
    async with QlaraClient(["one", "two"], base_url=gateway.url, clock=clock, rate_limit=rate) as qlara:
        gateway.script = [answer(401)]
        async with qlara.bulk(rows(20), journal=journal, concurrency=1) as job:
            assert {outcome.state async for outcome in job} == {"accepted"}
    shared = Limiter(rate, clock=clock)
    limiters = [Limiter(rate, clock=clock), shared, shared]
    async with QlaraClient(["one", "two", "three"], base_url=gateway.url, clock=clock, limiter=limiters) as qlara:
        await run(qlara, rows(20), journal)
    assert [limiter._windows.free(clock.monotonic())[1] for limiter in limiters] == [79, 79, 79]
