"""The message history and exports, client and sandbox together over real HTTP."""

from __future__ import annotations

import csv
import json
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from qlara_async import DeliveryStatus, DownloadLink, Export, HistoryEntry, QlaraClient, RetryPolicy
from qlara_async.errors import (
    BadRequestError,
    ConfigurationError,
    ExportError,
    ExportTimeout,
    InternalServerError,
    NotFoundError,
    TransferError,
    UndecodableAnswerError,
)
from qlara_async.sandbox import Fault, Life, Sandbox
from qlara_async.testing import VirtualClock

from .wire import WireGateway, answer, drop

pytestmark = pytest.mark.anyio

EXPORTS = "/api/partner-gateway/v1/exports"
HISTORY = "/api/partner-gateway/v1/messages/history"
SINCE = datetime(2026, 1, 1, tzinfo=UTC)
LATER = datetime(2099, 1, 1, tzinfo=UTC)
ANNA, BRUNO = "+390000000001", "+390000000002"


@pytest.fixture
async def sandbox(anyio_backend: str) -> AsyncIterator[Sandbox]:
    async with Sandbox(rate_limit=None, life=Life(final=0.0)) as sandbox:
        yield sandbox


@pytest.fixture
async def account(sandbox: Sandbox) -> AsyncIterator[QlaraClient]:
    async with QlaraClient(sandbox.api_key, base_url=sandbox.url, rate_limit=None) as qlara:
        yield qlara


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


class TestHistory:
    async def test_the_messages_of_a_channel_come_page_by_page(self, account: QlaraClient, sandbox: Sandbox) -> None:
        sandbox.outcome(BRUNO, "ERROR")
        sent = [
            (await account.sms.send(destination=destination, sender="ACME", body="Ciao")).message_id
            for destination in [ANNA] * 44 + [BRUNO]
        ]
        await account.rcs.send(destination=ANNA, agent_id=1, body="Ciao")
        await sandbox.idle()
        listing = account.messages.history(channel="sms", from_=SINCE, to=LATER)
        assert [entry.message_id async for entry in listing] == sent
        assert [len(page.items) async for page in listing.pages()] == [20, 20, 5]
        (failed,) = [
            entry async for entry in account.messages.history(channel="SMS", from_=SINCE, to=LATER, status="error")
        ]
        assert (failed.message_id, failed.status, failed.destination) == (sent[-1], DeliveryStatus.ERROR, BRUNO)
        assert failed.description == "Carrier rejection"
        assert [entry.channel async for entry in account.messages.history(channel="RCS", from_=SINCE, to=LATER)] == [
            "RCS"
        ]
        assert [entry async for entry in account.messages.history(channel="SMS", from_=LATER, to=SINCE)] == []

    async def test_times_go_with_their_offset(self, qlara: QlaraClient, gateway: WireGateway) -> None:
        gateway.default = answer(200, b"[]")
        rome = timezone(timedelta(hours=1))
        listing = qlara.messages.history(
            channel="WHATSAPP",
            from_=datetime(2025, 1, 1, tzinfo=rome),
            to=datetime(2025, 1, 31, 23, 59, 59, tzinfo=UTC),
            status=DeliveryStatus.SENT,
            limit=5,
        )
        assert [entry async for entry in listing] == []
        assert gateway.seen[0].target == (
            f"{HISTORY}?channel=WHATSAPP&from=2025-01-01T00%3A00%3A00%2B01%3A00"
            "&to=2025-01-31T23%3A59%3A59%2B00%3A00&status=SENT&page=0&limit=5"
        )

    @pytest.mark.parametrize(
        "given",
        [
            {"channel": "FAX"},
            {"from_": datetime(2025, 1, 1)},
            {"to": date(2025, 1, 1)},
            {"to": "2025-01-01"},
            {"status": "READ"},
            {"status": 3},
            {"limit": -1},
            {"page_size": 0},
        ],
    )
    async def test_bad_input_is_found_at_once(self, given: dict[str, Any], qlara: QlaraClient) -> None:
        good: dict[str, Any] = {"channel": "SMS", "from_": SINCE, "to": LATER}
        with pytest.raises(ConfigurationError):
            qlara.messages.history(**good | given)

    async def test_entries_as_the_use_case_shows_them(self, qlara: QlaraClient, gateway: WireGateway) -> None:
        gateway.default = answer(
            200,
            b'{"messages": [{"messageId": "m", "channel": "SMS", "direction": "OUTBOUND", "destination": "+39340", '
            b'"body": "Ciao", "status": "DELIVERED", "sendDate": "2026-04-01", "cost": 0.035, "parts": 2}]}',
        )
        (entry,) = [item async for item in qlara.messages.history(channel="SMS", from_=SINCE, to=LATER)]
        assert (entry.message_id, entry.status, entry.cost, entry.parts) == ("m", "DELIVERED", 0.035, 2)
        assert repr(entry) == "HistoryEntry(message_id='m', channel='SMS', status='DELIVERED')"

    async def test_the_sandbox_refuses_what_the_page_calls_invalid(self, sandbox: Sandbox) -> None:
        url = sandbox.url.removesuffix("/api") + HISTORY
        async with aiohttp.ClientSession(headers={"X-Api-Key": sandbox.api_key}) as session:
            for query in (
                "channel=SMS",
                "channel=SMS&from=2026-01-01&to=2026-01-02",
                "channel=SMS&from=2026-01-01T00:00:00&to=2026-01-02T00:00:00",
                "from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z",
                "channel=SMS&from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z&status=LOST",
            ):
                async with session.get(f"{url}?{query}") as got:
                    assert got.status == 400, query


class TestExports:
    async def test_the_history_becomes_a_file(self, account: QlaraClient, sandbox: Sandbox, tmp_path: Path) -> None:
        for destination in (ANNA, BRUNO):
            await account.sms.send(destination=destination, sender="ACME", body="Ciao")
        await account.rcs.send(destination=ANNA, agent_id=1, body="Ciao")
        queued = await account.messages.export_history(
            start_date_time=SINCE, end_date_time=LATER, sender="ACME", recipient=ANNA
        )
        export = await account.exports.wait_until_available(queued)
        saved = await account.exports.download(export, tmp_path / "history.csv")
        assert (saved.content_type, saved.size) == ("text/csv", (tmp_path / "history.csv").stat().st_size)
        assert [row["channel"] for row in rows_of(saved.path)] == ["SMS", "RCS"]

    async def test_contacts_of_a_list_become_a_file(self, account: QlaraClient, tmp_path: Path) -> None:
        anna, bruno = [await account.contacts.create(phone_number=number) for number in (ANNA, BRUNO)]
        vip = await account.contact_lists.create("VIP")
        await account.contact_lists.add([vip.id], [anna.id])
        for queued, numbers in (
            (await account.exports.contacts(list_ids=[vip.id]), [ANNA]),
            (await account.exports.contacts(contact_ids=[bruno.id]), [BRUNO]),
            (await account.exports.contacts(), [ANNA, BRUNO]),
        ):
            saved = await account.exports.download(queued, tmp_path / "contacts.csv")
            assert [row["phoneNumber"] for row in rows_of(saved.path)] == numbers

    async def test_delivery_reports_of_a_campaign_or_a_period(self, account: QlaraClient, tmp_path: Path) -> None:
        await account.sms.send(destination=ANNA, sender="ACME", body="Ciao", campaign_id="spring")
        await account.sms.send(destination=BRUNO, sender="ACME", body="Ciao")
        by_campaign = await account.exports.delivery_reports(campaign_id="spring")
        by_time = await account.exports.delivery_reports(start_date_time=SINCE, end_date_time=LATER)
        for export, numbers in ((by_campaign, [ANNA]), (by_time.id, [ANNA, BRUNO])):
            saved = await account.exports.download(export, tmp_path / "reports.csv")
            assert [row["destination"] for row in rows_of(saved.path)] == numbers
        assert [export.id async for export in account.exports.list()] == [by_time.id, by_campaign.id]

    async def test_bad_input_costs_no_request(self, account: QlaraClient, sandbox: Sandbox, tmp_path: Path) -> None:
        naive = datetime(2026, 1, 1)
        for bad in (
            account.exports.contacts(list_ids=[1], contact_ids=[2]),
            account.exports.contacts(list_ids=[]),
            account.exports.contacts(contact_ids="12"),
            account.exports.delivery_reports(),
            account.exports.delivery_reports(start_date_time=SINCE),
            account.exports.delivery_reports(campaign_id=1, start_date_time=SINCE, end_date_time=LATER),
            account.exports.delivery_reports(campaign_id=1, end_date_time=LATER),
            account.exports.delivery_reports(start_date_time=naive, end_date_time=LATER),
            account.messages.export_history(start_date_time=naive, end_date_time=LATER),
            account.exports.get_link(Export()),
            account.exports.wait_until_available(""),
            account.exports.wait_until_available(1, timeout=0),
            account.exports.wait_until_available(1, every=0),
            account.exports.download(1, tmp_path / "x", max_bytes=0),
            account.exports.regenerate(".."),
        ):
            with pytest.raises(ConfigurationError):
                await bad
        assert list(sandbox.arrivals) == []

    async def test_a_queued_export_is_not_queued_twice_in_doubt(self, account: QlaraClient, sandbox: Sandbox) -> None:
        sandbox.fault(None, Fault.ERROR_AFTER, route="platform")
        with pytest.raises(InternalServerError):
            await account.exports.contacts()
        assert len([export async for export in account.exports.list()]) == 1

    @pytest.mark.parametrize(
        ("said", "export_id"), [(b"", ""), (b'"e-5"', "e-5"), (b"7", 7), (b'{"exportId": 7}', 7), (b'{"ok": 1}', "")]
    )
    async def test_the_answer_to_a_queued_export_may_tell_its_id(
        self, said: bytes, export_id: object, qlara: QlaraClient, gateway: WireGateway
    ) -> None:
        gateway.default = answer(202, said)
        queued = await qlara.messages.export_history(start_date_time=SINCE, end_date_time=LATER)
        assert queued.id == export_id
        assert json.loads(gateway.seen[0].body) == {
            "startDateTime": "2026-01-01T00:00:00Z",
            "endDateTime": "2099-01-01T00:00:00Z",
        }
        assert (await qlara.exports.regenerate(9)).id == (export_id or 9)
        assert (gateway.seen[1].method, gateway.seen[1].target) == ("POST", f"{EXPORTS}/9")


def listed(**export: Any) -> Any:
    return answer(200, json.dumps({"content": [{"id": 1}, {"id": 7, **export}]}).encode())


class TestWaiting:
    async def test_it_asks_every_few_seconds_until_there_is_a_link(
        self, qlara: QlaraClient, gateway: WireGateway, clock: VirtualClock
    ) -> None:
        pending = listed(status="PENDING")
        gateway.script = [answer(200, b"[]"), pending, pending, listed(isAvailableForDownload=True)]
        began = clock.monotonic()
        export = await qlara.exports.wait_until_available("7", every=6)
        assert (export.id, export.is_available_for_download) == (7, True)
        assert clock.monotonic() - began == pytest.approx(18)
        assert len(gateway.seen) == 4

    async def test_it_waits_while_the_gateway_fails(
        self, qlara: QlaraClient, gateway: WireGateway, clock: VirtualClock
    ) -> None:
        hurried = qlara.with_options(retry=RetryPolicy(max_attempts=1))
        gateway.script = [answer(500), drop, answer(429, b"{}"), listed(isAvailableForDownload=True)]
        assert (await hurried.exports.wait_until_available(7)).id == 7

    @pytest.mark.parametrize(("status", "polls"), [("FAILED", 1), ("error", 1), ("EXPIRED", 2)])
    async def test_it_ends_where_waiting_does_not_help(
        self, status: str, polls: int, qlara: QlaraClient, gateway: WireGateway
    ) -> None:
        gateway.default = listed(status=status)
        with pytest.raises(ExportError) as caught:
            await qlara.exports.wait_until_available(7)
        assert not isinstance(caught.value, ExportTimeout)
        assert caught.value.status == status
        assert len(gateway.seen) == polls

    @pytest.mark.parametrize("said", [listed(status="BREWING"), answer(200, b"[]"), answer(500)])
    async def test_it_ends_in_time(
        self, said: Any, qlara: QlaraClient, gateway: WireGateway, clock: VirtualClock
    ) -> None:
        gateway.default = said
        hurried = qlara.with_options(retry=RetryPolicy(max_attempts=1))
        began = clock.monotonic()
        with pytest.raises(TimeoutError) as caught:
            await hurried.exports.wait_until_available(7, timeout=12, every=5)
        assert isinstance(caught.value, ExportTimeout)
        assert clock.monotonic() - began == pytest.approx(12)
        assert len(gateway.seen) == 4

    async def test_an_expired_link_is_made_again(self, tmp_path: Path) -> None:
        clock = VirtualClock(jump=False)
        async with (
            Sandbox(rate_limit=None, clock=clock) as sandbox,
            QlaraClient(sandbox.api_key, base_url=sandbox.url, rate_limit=None, clock=clock) as account,
        ):
            office = sandbox.platform.exports
            office.delay, office.link_lasts = 60.0, 600.0
            export = await account.exports.contacts()
            assert export.status == "PENDING"
            with pytest.raises(NotFoundError):
                await account.exports.download(export, tmp_path / "x")
            await clock.advance(60)
            link = await account.exports.get_link(export)
            await clock.advance(600)
            with pytest.raises(BadRequestError):
                await account.exports.download(export, tmp_path / "x")
            async with aiohttp.ClientSession() as session, session.get(link.url) as got:
                assert got.status == 403
            assert (await account.exports.regenerate(export)).status == "PENDING"
            await clock.advance(60)
            await account.exports.download(export, tmp_path / "x")
            office.failing = True
            failed = await account.exports.contacts()
            await clock.advance(60)
            with pytest.raises(ExportError, match="failed"):
                await account.exports.wait_until_available(failed)


class TestLinks:
    @pytest.mark.parametrize(
        "said",
        [
            b"%s",
            b'"%s"\n',
            b'{"url": "%s"}',
            b'{"downloadUrl": "%s", "expiresAt": "2026-01-01"}',
            b'{"data": {"link": "%s"}}',
        ],
    )
    async def test_a_link_is_found_however_it_comes_and_followed_without_the_key(
        self, said: bytes, qlara: QlaraClient, gateway: WireGateway, tmp_path: Path
    ) -> None:
        async with WireGateway(default=answer(200, b"a;b")) as host:
            gateway.default = answer(200, said % f"{host.url}/x.csv?sig=a%2Fb".encode())
            await qlara.exports.download(7, tmp_path / "x.csv")
            assert host.seen[0].target == "/api/x.csv?sig=a%2Fb"
            assert "x-api-key" not in host.seen[0].headers
        assert (gateway.seen[0].target, (tmp_path / "x.csv").read_bytes()) == (f"{EXPORTS}/7", b"a;b")

    @pytest.mark.parametrize("said", [b"", b"{}", b"[]", b'""', b"not there"])
    async def test_an_answer_without_a_link_is_undecodable(
        self, said: bytes, qlara: QlaraClient, gateway: WireGateway
    ) -> None:
        gateway.default = answer(200, said)
        with pytest.raises(UndecodableAnswerError):
            await qlara.exports.get_link(7)

    async def test_a_link_to_a_private_address_is_not_followed(
        self, qlara: QlaraClient, gateway: WireGateway, tmp_path: Path
    ) -> None:
        gateway.default = answer(200, b"https://169.254.169.254/latest?secret")
        with pytest.raises(TransferError) as caught:
            await qlara.exports.download(7, tmp_path / "x")
        assert "secret" not in str(caught.value)

    def test_g11_a_repr_shows_neither_link_nor_number(self) -> None:
        assert repr(DownloadLink(url="https://x/secret", raw={"url": "secret"})) == "DownloadLink(expires_at=None)"
        assert "+39340" not in repr(HistoryEntry(destination="+39340", body="Ciao"))
