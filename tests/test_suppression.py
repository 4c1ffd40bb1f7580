"""The suppression list: who is on it, how they come to it, and that they are not written to."""

# ruff: noqa: ASYNC240 — nothing else runs on these loops: blocking them does no harm

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlara_async import Conversations, LegacySms, OutcomeState, QlaraClient, Rcs, Sms, SuppressionList, WhatsApp
from qlara_async.consent.words import START_WORDS, STOP_WORDS, Words
from qlara_async.errors import InvalidMessageError, StoreError, SuppressedError
from qlara_async.models.channel import Channel
from qlara_async.models.events import Inbound
from qlara_async.models.message import FallbackSms
from qlara_async.protocol.numbers import normal_number
from qlara_async.testing.clock import VirtualClock
from qlara_async.webhooks import MemoryInbox, SqliteInbox, UrlToken, WebhookReceiver

from .test_resume import rows
from .wire import WireGateway

pytestmark = pytest.mark.anyio

NUMBER = "+393401234567"
OTHER = "+393401234568"
TOKEN = "right-token-0123456789"
WORDS = Words()
NOW = datetime(2026, 4, 9, 12, 0, tzinfo=UTC)


@pytest.fixture(params=["memory", "file"])
async def suppression(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SuppressionList]:
    async with SuppressionList(tmp_path / "suppressed.db" if request.param == "file" else None) as suppression:
        yield suppression


def client(gateway: WireGateway, clock: VirtualClock, suppression: SuppressionList) -> QlaraClient:
    return QlaraClient("key", base_url=gateway.url, clock=clock, random=lambda: 0.0, suppression=suppression)


def sms(destination: str = NUMBER) -> Sms:
    return Sms(destination=destination, sender="ACME", body="Ciao")


class Customer:
    """Writes to a receiver that feeds a list."""

    def __init__(self, suppression: SuppressionList, inbox: Any = None) -> None:
        self.receiver = WebhookReceiver(auth=UrlToken(TOKEN), inbox=inbox or MemoryInbox(allow_loss=True))
        self.seen: list[str] = []
        self.receiver.on_inbound(name="mine")(self._mine)
        self.receiver.include(suppression.router)
        self._minutes = 0

    async def _mine(self, event: Inbound) -> None:
        self.seen.append(event.text)

    async def writes(
        self, text: str, *, channel: str = "SMS", source: str = NUMBER, at: datetime | None = None
    ) -> None:
        self._minutes += 1
        said = at or NOW + timedelta(minutes=self._minutes)
        body = {"channel": channel, "eventType": "INBOUND", "source": source, "destination": "+390212345678"}
        body |= {"text": text, "timestamp": said.isoformat(), "messageId": f"m-{self._minutes}"}
        headers = {"Content-Type": "application/json"}
        answer = await self.receiver.ingest("POST", f"/{TOKEN}", headers, json.dumps(body).encode())
        assert answer.status == 200
        await self.receiver.idle()


# --- sending


async def test_faq_opt_in_opt_out(gateway: WireGateway, clock: VirtualClock, suppression: SuppressionList) -> None:
    customer = Customer(suppression)
    async with client(gateway, clock, suppression) as qlara:
        await qlara.send(sms())
        await customer.writes(" Stop! ")
        message = sms()
        with pytest.raises(SuppressedError) as caught:
            await qlara.send(message)
        assert (caught.value.reason, caught.value.message_id) == ("suppressed", message.message_id)
        assert NUMBER not in str(caught.value)
        for other in (
            Rcs(destination=NUMBER, agent_id=1, body="Ciao"),
            WhatsApp(destination=NUMBER, phone_number_id=7, template=1),
        ):
            with pytest.raises(SuppressedError):
                await qlara.send(other)
        assert len(gateway.seen) == 1
        await customer.writes("START")
        await qlara.send(sms())
    await customer.receiver.aclose()
    assert customer.seen == [" Stop! ", "START"]
    assert len(gateway.seen) == 2


async def test_what_is_sent_instead_reaches_no_channel_that_is_suppressed(
    gateway: WireGateway, clock: VirtualClock, suppression: SuppressionList
) -> None:
    """A message outside the window is replaced by one that may fall back to the channel they said no to."""
    await suppression.add(NUMBER, channel="SMS")
    instead = WhatsApp(
        destination=NUMBER, phone_number_id=7, template=1, fallback_sms=FallbackSms(sender="ACME", text="Ciao")
    )
    options: dict[str, Any] = {"conversations": Conversations(), "outside_window": lambda message: instead}
    async with QlaraClient("key", base_url=gateway.url, clock=clock, suppression=suppression, **options) as qlara:
        with pytest.raises(SuppressedError):
            await qlara.send(WhatsApp(destination=NUMBER, phone_number_id=7, body="Ciao"))
    assert gateway.seen == []


async def test_an_rcs_message_whose_stored_template_may_fall_back_to_sms_is_checked_for_both(
    gateway: WireGateway, clock: VirtualClock, suppression: SuppressionList
) -> None:
    """``maxSmsParts`` is what turns the fallback on (API page of RCS); its text may be the template's."""
    await suppression.add(NUMBER, channel="SMS")
    async with client(gateway, clock, suppression) as qlara:
        await qlara.send(Rcs(destination=NUMBER, agent_id=1, template_id=3))
        with pytest.raises(SuppressedError):
            await qlara.send(Rcs(destination=NUMBER, agent_id=1, template_id=3, max_sms_parts=2))
    assert len(gateway.seen) == 1


@pytest.mark.parametrize("journalled", [False, True])
async def test_bulk_skips_who_is_suppressed(
    gateway: WireGateway, clock: VirtualClock, suppression: SuppressionList, tmp_path: Path, journalled: bool
) -> None:
    await suppression.add("+390000000001")
    async with client(gateway, clock, suppression) as qlara:
        journal = tmp_path / "journal.db" if journalled else None
        async with qlara.bulk(rows(3), journal=journal, ordered=True) as job:
            outcomes = [(outcome.state, outcome.reason) async for outcome in job]
    assert outcomes == [("accepted", None), ("skipped", "suppressed"), ("accepted", None)]
    assert job.summary.states[OutcomeState.SKIPPED] == 1
    assert len(gateway.seen) == 2


async def test_texts_to_many_are_not_sent_if_one_of_them_is_suppressed(
    gateway: WireGateway, clock: VirtualClock, suppression: SuppressionList
) -> None:
    await suppression.add(OTHER)
    async with client(gateway, clock, suppression) as qlara:
        with pytest.raises(SuppressedError):
            await qlara.sms_legacy.send([LegacySms(destinations=[NUMBER, OTHER], sender="ACME", body="Ciao")])
    assert gateway.seen == []


async def test_an_entry_may_hold_for_one_channel(
    gateway: WireGateway, clock: VirtualClock, suppression: SuppressionList
) -> None:
    await suppression.add(NUMBER, channel="rcs")
    assert await suppression.contains(NUMBER, "RCS")
    assert not await suppression.contains(NUMBER, Channel.SMS)
    assert not await suppression.contains(NUMBER)
    async with client(gateway, clock, suppression) as qlara:
        await qlara.send(sms())
        with pytest.raises(SuppressedError):
            await qlara.send(Rcs(destination=NUMBER, agent_id=1, body="Ciao"))
        with pytest.raises(SuppressedError):  # it could arrive as RCS
            await qlara.send(WhatsApp(destination=NUMBER, phone_number_id=7, template=1, fallback_rcs=True))
    assert await suppression.remove(NUMBER, channel="RCS")
    assert not await suppression.remove(NUMBER, channel="RCS")


async def test_a_list_that_cannot_be_read_lets_nothing_pass(
    gateway: WireGateway, clock: VirtualClock, tmp_path: Path
) -> None:
    path = tmp_path / "suppressed.db"
    path.write_bytes(b"damage" * 2000)
    async with client(gateway, clock, SuppressionList(path)) as qlara:
        with pytest.raises(StoreError, match=r"suppressed\.db"):
            await qlara.send(sms())
        async with qlara.bulk(rows(2)) as job:
            assert [outcome.state async for outcome in job] == ["failed", "failed"]
    assert gateway.seen == []


# --- words


@pytest.mark.parametrize("language", STOP_WORDS)
def test_every_stop_word_stops_in_any_dress(language: str) -> None:
    words = Words()
    for word in STOP_WORDS[language]:
        for text in (word, word.upper(), f"  {word}.\n", f"«{word.title()}»!!! 🙏"):
            assert words.wish(text) == "stop"


@pytest.mark.parametrize("language", START_WORDS)
def test_every_start_word_starts(language: str) -> None:
    for word in START_WORDS[language]:
        assert Words().wish(f"{word.upper()} !") == "start"


def test_accents_are_no_matter() -> None:
    assert Words().wish("DESABONNER") == Words().wish("désabonner") == Words().wish("de\u0301sabonner") == "stop"


@pytest.mark.parametrize(
    "text",
    ["", "please don't stop", "stop it", "Stoppt der Bus hier?", "yes", "no", "annulla", "🙏", "bus stop", "s t o p"],
)
def test_only_the_whole_message_counts(text: str) -> None:
    assert Words().wish(text) is None


@given(st.text())
def test_any_text_is_read_without_an_error(text: str) -> None:
    assert WORDS.wish(text) in {"stop", "start", None}


async def test_words_may_be_your_own() -> None:
    suppression = SuppressionList(stop_words=["Schluss"], start_words=["Weiter"])
    customer = Customer(suppression)
    await customer.writes("stop")
    assert not await suppression.contains(NUMBER)
    await customer.writes("schluß!")
    assert await suppression.contains(NUMBER)
    await customer.writes("WEITER")
    assert not await suppression.contains(NUMBER)
    await customer.receiver.aclose()


# --- what customers say


async def test_a_start_lifts_what_a_stop_has_done_and_nothing_else(suppression: SuppressionList) -> None:
    customer = Customer(suppression)
    await suppression.add(OTHER, reason="complaint", when=NOW)  # before the START: only its source keeps it
    for number in (NUMBER, OTHER):
        await customer.writes("stop", source=number)
        await customer.writes("start", source=number)
    await customer.receiver.aclose()
    assert not await suppression.contains(NUMBER)
    assert await suppression.contains(OTHER)


async def test_a_start_that_comes_late_does_not_lift_a_later_stop(suppression: SuppressionList) -> None:
    customer = Customer(suppression)
    await customer.writes("stop", at=NOW + timedelta(hours=2))
    await customer.writes("start", at=NOW + timedelta(hours=1))
    await customer.receiver.aclose()
    assert await suppression.contains(NUMBER)


async def test_a_stop_that_comes_late_does_not_make_a_later_one_earlier(suppression: SuppressionList) -> None:
    customer = Customer(suppression)
    for text, minute in (("STOP", 20), ("STOP", 10), ("START", 15)):
        await customer.writes(text, at=NOW + timedelta(minutes=minute))
    assert await suppression.contains(NUMBER)


async def test_a_stop_dated_in_the_future_can_be_lifted(suppression: SuppressionList) -> None:
    """A clock of the gateway's, or a time zone, that is off."""
    customer = Customer(suppression)
    now = datetime.now(UTC)
    await customer.writes("STOP", at=now + timedelta(days=2))
    assert await suppression.contains(NUMBER)
    await customer.writes("START", at=now + timedelta(days=1))
    assert not await suppression.contains(NUMBER)


async def test_a_stop_is_on_the_disk_before_its_event_is_done(tmp_path: Path) -> None:
    path = tmp_path / "suppressed.db"
    async with SuppressionList(path) as suppression:
        customer = Customer(suppression, SqliteInbox(tmp_path / "inbox.db"))
        await customer.writes("stop", source="393401234567", channel="WHATSAPP")
        async with SuppressionList(path) as elsewhere:
            assert await elsewhere.contains(NUMBER)
            (entry,) = [entry async for entry in elsewhere]
        await customer.receiver.aclose()
    assert (entry.number, entry.channel, entry.source) == (NUMBER, None, "inbound")
    assert entry.added_at == NOW + timedelta(minutes=1)


# --- the list


async def test_it_can_be_counted_and_iterated_over(suppression: SuppressionList, tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("".join(f"+3934000{index:05}\n" for index in range(2500)), encoding="utf-8")
    await suppression.import_csv(path)
    assert await suppression.count() == 2500
    numbers = [entry.number async for entry in suppression]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) == 2500


@pytest.mark.parametrize("number", ["3401234567", "ACME", "", "+0123456789", "+39 340 12345 67890 123"])
async def test_what_is_no_number_is_refused(suppression: SuppressionList, number: str) -> None:
    with pytest.raises(InvalidMessageError) as caught:
        await suppression.add(number)
    assert not number or number not in str(caught.value)
    assert await suppression.count() == 0


@given(st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True))
def test_a_number_is_the_same_however_it_is_written(number: str) -> None:
    spaced = " ".join(number)
    assert normal_number(number) == normal_number(spaced) == normal_number(f"00{number[1:]}") == number
    assert normal_number(number[1:], bare=True) == number
    assert normal_number(number[1:]) is None


async def test_the_loop_never_waits_for_the_disk(tmp_path: Path) -> None:
    here = threading.get_ident()
    async with SuppressionList(tmp_path / "suppressed.db") as suppression:
        threads = await suppression._file.read(lambda db: threading.get_ident())
    assert threads != here


async def test_many_tasks_share_a_list(suppression: SuppressionList) -> None:
    await asyncio.gather(*(suppression.add(f"+39340000{index:04}") for index in range(30)))
    found = await asyncio.gather(*(suppression.contains(f"+39340000{index:04}") for index in range(60)))
    assert found == [True] * 30 + [False] * 30


async def test_it_may_be_used_while_it_is_being_closed(tmp_path: Path) -> None:
    suppression = SuppressionList(tmp_path / "suppressed.db")
    for turn in range(20):
        await asyncio.gather(suppression.aclose(), suppression.add(f"+39340000{turn:04}"), suppression.count())
    assert await suppression.count() == 20
    await suppression.aclose()


async def test_a_file_that_cannot_be_opened_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="check that its directory is there"):
        await SuppressionList(tmp_path / "nowhere" / "suppressed.db").count()


async def test_the_file_of_something_else_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "inbox.db"
    inbox = SqliteInbox(path)
    async for _ in inbox.dead():
        pass
    await inbox.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"inbox\.db is no suppression list of this version.* another path"):
        await SuppressionList(path).add(NUMBER)
    assert path.read_bytes() == before


# --- files


async def test_import_is_tolerant_and_says_which_rows_are_bad(suppression: SuppressionList, tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text(
        "\ufeffReason;Phone;Channel;added_at\n"
        "asked;+39 340 1234567;;2026-01-02T03:04:05Z\n"
        "\n"
        ";3401234568;;\n"
        ";0039 340 1234569;sms;\n"
        ";+393401234570;FAX;\n"
        ";+393401234571;;yesterday\n"
        ";+39 340 1234567\n",
        encoding="utf-8",
    )
    report = await suppression.import_csv(path)
    assert (report.rows, report.added, report.bad) == (6, 2, 3)
    assert [row.line for row in report.bad_rows] == [4, 6, 7]
    assert "340" not in repr(report)
    entries = {entry.number: entry async for entry in suppression}
    assert entries["+393401234567"].source == "import"
    assert entries["+393401234569"].channel == "SMS"
    assert set(entries) == {"+393401234567", "+393401234569"}


async def test_a_column_of_numbers_without_a_header_can_be_imported(
    suppression: SuppressionList, tmp_path: Path
) -> None:
    path = tmp_path / "in.csv"
    path.write_text(f"{NUMBER}\n{OTHER}\n{NUMBER}\n", encoding="utf-8")
    report = await suppression.import_csv(path, source="crm")
    assert (report.rows, report.added, report.bad) == (3, 2, 0)
    assert {entry.source async for entry in suppression} == {"crm"}


async def test_what_was_exported_can_be_imported(suppression: SuppressionList, tmp_path: Path) -> None:
    await suppression.add(NUMBER, channel="WHATSAPP", reason='said "no", twice', when=NOW)
    await suppression.add(OTHER, source="inbound", when=NOW)
    path = tmp_path / "out.csv"
    assert await suppression.export_csv(path) == 2
    twin = SuppressionList()
    assert (await twin.import_csv(path)).added == 2
    assert [entry async for entry in twin] == [entry async for entry in suppression]


async def test_a_large_list_is_imported_in_chunks(suppression: SuppressionList, tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("".join(f"+39340{index:07}\n" for index in range(50_000)), encoding="utf-8")
    assert (await suppression.import_csv(path)).added == 50_000
    assert await suppression.contains("+393400049999")
    plan = await suppression._file.read(
        lambda db: db.execute("EXPLAIN QUERY PLAN SELECT 1 FROM suppressed WHERE number IN ('a', 'b')").fetchall()
    )
    assert "SEARCH" in str(plan)


# --- erasure


@pytest.mark.parametrize("keep", [True, False])
async def test_an_erased_number_is_in_no_byte_of_the_file(tmp_path: Path, keep: bool) -> None:
    path = tmp_path / "suppressed.db"
    async with SuppressionList(path) as suppression:
        await suppression.add(NUMBER, reason="asked")
        await suppression.add(NUMBER, channel="SMS")
        await suppression.add(OTHER)
        erased = await suppression.erase(NUMBER, keep_suppressed=keep)
        assert (erased.total, erased.scrubbed) == (2, True)
        files = [file.read_bytes() for file in tmp_path.iterdir()]
        assert not [content for content in files if NUMBER[1:].encode() in content]
        assert any(OTHER[1:].encode() in content for content in files)
        assert await suppression.contains(NUMBER) is keep
        assert [entry.number async for entry in suppression] == [OTHER]
    async with SuppressionList(path) as again:
        assert await again.contains(NUMBER) is keep
        assert await again.remove(NUMBER) is keep


async def test_g11_nothing_private_is_shown(suppression: SuppressionList) -> None:
    await suppression.add(NUMBER)
    assert NUMBER not in repr([entry async for entry in suppression])
    assert NUMBER not in repr(suppression)
