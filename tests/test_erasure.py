"""Erasing a number: what is removed, what stays, and that no byte of it is left."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from qlara_async import Conversations, DeliveryTracker, FallbackChains, QlaraClient, Sms, SuppressionList, erase_number
from qlara_async.consent import ErasureReport
from qlara_async.errors import ConfigurationError, InvalidMessageError, StoreError
from qlara_async.sandbox import Life
from qlara_async.webhooks import Inbound, SqliteInbox, UrlToken, WebhookReceiver

from .tracking_world import World, until
from .wire import WireGateway

pytestmark = pytest.mark.anyio

NUMBER = "+393401234567"
OTHER = "+393407654321"
LONGER = "+3934012345670"  # begins like it, and is another's
TOKEN = "right-token-0123456789"


def left(folder: Path, number: str) -> list[str]:
    """Files that hold the number, and not only as a part of a longer one."""
    digits = re.compile(number[1:].encode() + b"(?![0-9])")
    return [file.name for file in folder.iterdir() if digits.search(file.read_bytes())]


async def post(receiver: WebhookReceiver, body: bytes) -> None:
    answer = await receiver.ingest("POST", f"/{TOKEN}", {"Content-Type": "application/json"}, body)
    assert answer.status == 200


def inbound(number: str, text: str, message_id: str) -> bytes:
    body = {"channel": "SMS", "eventType": "INBOUND", "source": number, "destination": "+390212345678"}
    return json.dumps(body | {"text": text, "messageId": message_id}).encode()


async def fill(receiver: WebhookReceiver) -> None:
    delivery = {"channel": "SMS", "eventType": "DELIVERY", "messageId": "d", "statusCode": 3}
    await post(receiver, json.dumps(delivery | {"destination": "0039 340 1234567"}).encode())
    for number in (NUMBER, LONGER):
        await post(receiver, b'{"eventType": "INBOUND", "source": ["' + number.encode() + b'"]')
    for number in (NUMBER, OTHER):
        await post(receiver, inbound(number, "fine", f"fine{number}"))
        await post(receiver, inbound(number, "bad", f"bad{number}"))
    await receiver.idle()


async def test_gdpr_every_event_of_a_number_leaves_the_inbox(tmp_path: Path) -> None:
    inbox = SqliteInbox(tmp_path / "inbox.db", max_attempts=1)
    receiver = WebhookReceiver(auth=UrlToken(TOKEN), inbox=inbox)

    @receiver.on_inbound(name="picky")
    async def picky(event: Inbound) -> None:
        if event.text == "bad":
            raise ValueError

    receiver.on_error(lambda *_: None)
    await fill(receiver)
    assert (receiver.stats().dead, receiver.stats().quarantined) == (2, 2)
    erased = await inbox.erase("0039 340 1234567")
    assert erased.removed == {"events": 4, "pending": 0, "dead": 1, "quarantined": 1}
    assert erased.scrubbed
    assert left(tmp_path, NUMBER) == []
    assert (receiver.stats().dead, receiver.stats().quarantined, receiver.stats().pending) == (1, 1, 0)
    assert [letter.event.source async for letter in inbox.dead()] == [OTHER]  # type: ignore[attr-defined]
    assert (await inbox.erase(NUMBER)).total == 0
    await receiver.aclose()


async def test_gdpr_pending_work_is_removed_and_what_waits_behind_it_goes_on(tmp_path: Path) -> None:
    inbox = SqliteInbox(tmp_path / "inbox.db")
    receiver = WebhookReceiver(auth=UrlToken(TOKEN), inbox=inbox, order_by=lambda event: "one lane")
    begun, go_on = asyncio.Event(), asyncio.Event()
    done: list[str | None] = []

    @receiver.on_inbound(name="slow")
    async def slow(event: Inbound) -> None:
        begun.set()
        await go_on.wait()
        done.append(event.message_id)

    for message_id, number in (("first", NUMBER), ("second", NUMBER), ("third", OTHER)):
        await post(receiver, inbound(number, "Ciao", message_id))
    await begun.wait()
    erased = await inbox.erase(NUMBER)
    assert erased.removed == {"events": 2, "pending": 2, "dead": 0, "quarantined": 0}
    go_on.set()
    await receiver.idle()
    assert sorted(map(str, done)) == ["first", "third"]
    assert (receiver.stats().pending, receiver.stats().lost_leases) == (0, 1)
    await receiver.aclose()
    assert left(tmp_path, NUMBER) == []


async def test_gdpr_a_number_is_erased_everywhere_and_the_report_says_what_was_removed(
    gateway: WireGateway, tmp_path: Path
) -> None:
    journal = tmp_path / "journal.db"
    inbox = SqliteInbox(tmp_path / "inbox.db")
    receiver = WebhookReceiver(auth=UrlToken(TOKEN), inbox=inbox)
    async with (
        SuppressionList(tmp_path / "suppressed.db") as suppression,
        Conversations(tmp_path / "conversations.db") as conversations,
        QlaraClient("key", base_url=gateway.url, suppression=suppression) as qlara,
        DeliveryTracker(qlara) as tracker,
        FallbackChains(qlara, tracker, store=tmp_path / "chains.db") as chains,
    ):
        message = Sms(destination=NUMBER, sender="ACME", body="Ciao")
        async with qlara.bulk([message], journal=journal) as job:
            assert [outcome.state async for outcome in job] == ["accepted"]
        receiver.include(suppression.router)
        receiver.include(conversations.router)
        for number in (NUMBER, OTHER):
            await post(receiver, inbound(number, "stop", number))
        await receiver.idle()
        places: dict[str, Any] = {"inbox": inbox, "conversations": conversations, "suppression": suppression}
        report = await erase_number(NUMBER, **places, journals=[journal], tracker=tracker, chains=chains)
        assert {place.place: place.total for place in report.places} == {
            "inbox": 1,
            "file of conversations conversations.db": 1,
            "suppression list suppressed.db": 1,
            "journal journal.db": 0,
            "store of chains chains.db": 0,
            "delivery tracker": 0,
        }
        assert (report.total, report.complete) == (3, True)
        assert "digests" in report.places[3].note
        assert left(tmp_path, NUMBER) == []
        assert set(left(tmp_path, OTHER)) >= {"inbox.db", "conversations.db", "suppressed.db"}
        assert await suppression.contains(NUMBER)
        assert await conversations.last_inbound(NUMBER, "SMS") is None
        await erase_number(NUMBER, **places, keep_suppressed=False)
        assert not await suppression.contains(NUMBER)
    await receiver.aclose()
    assert NUMBER not in repr(report)


def delete_carelessly(path: Path, statement: str) -> None:
    """Delete as a program does that leaves the bytes in the file: SQLite's own default, which builds may change."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA secure_delete = OFF")
        db.execute(statement)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


async def test_gdpr_what_was_deleted_before_leaves_the_bytes_of_the_file_too(tmp_path: Path) -> None:
    suppression = SuppressionList(tmp_path / "suppressed.db")
    conversations = Conversations(tmp_path / "conversations.db")
    inbox = SqliteInbox(tmp_path / "inbox.db")
    receiver = WebhookReceiver(auth=UrlToken(TOKEN), inbox=inbox)
    receiver.include(suppression.router)
    receiver.include(conversations.router)
    await post(receiver, inbound(NUMBER, "stop", "m"))
    await receiver.idle()
    await suppression.aclose()
    await conversations.aclose()
    for name, statement in (
        ("suppressed.db", "DELETE FROM suppressed"),
        ("conversations.db", "DELETE FROM last_inbound"),
        ("inbox.db", "DELETE FROM events"),
    ):
        delete_carelessly(tmp_path / name, statement)
        assert name in left(tmp_path, NUMBER)
    erased = [await suppression.erase(NUMBER), await conversations.erase(NUMBER), await inbox.erase(NUMBER)]
    assert [(one.total, one.scrubbed) for one in erased] == [(0, True)] * 3
    assert left(tmp_path, NUMBER) == []
    await receiver.aclose()
    await suppression.aclose()
    await conversations.aclose()


async def test_a_number_in_an_id_of_your_own_is_told(gateway: WireGateway, tmp_path: Path) -> None:
    journal = tmp_path / "journal.db"
    message = Sms(destination=NUMBER, sender="ACME", body="Ciao", message_id=f"reminder-{NUMBER}")
    async with QlaraClient("key", base_url=gateway.url) as qlara, qlara.bulk([message], journal=journal) as job:
        assert [outcome.state async for outcome in job] == ["accepted"]
    report = await erase_number(NUMBER, journals=[journal])
    assert not report.complete
    assert "delete the journal" in report.places[0].note


@pytest.mark.usefixtures("no_task_left")
async def test_gdpr_a_tracked_message_that_names_the_number_is_forgotten(tmp_path: Path) -> None:
    async with World(store=tmp_path / "tracking.db", receiver=True, sandbox={"life": Life(final=60)}) as world:
        for message_id in (f"reminder-{NUMBER}", f"reminder-{OTHER}"):
            await world.qlara.send(Sms(destination=NUMBER, sender="ACME", body="Ciao", message_id=message_id))
        early = await erase_number(NUMBER, tracker=world.tracker)
        assert (early.total, early.complete) == (0, False)
        assert "1 under way" in early.places[0].note
        await world.advance(60)
        await until(lambda: len(world.told) == 2)
        await world.tracker.idle()
        assert "tracking.db-wal" in left(tmp_path, NUMBER)
        report = await erase_number(NUMBER, tracker=world.tracker)
        assert (report.total, report.complete) == (1, True)
        assert await world.tracker.status(f"reminder-{NUMBER}") is None
        assert await world.tracker.status(f"reminder-{OTHER}") is not None
        assert left(tmp_path, NUMBER) == []
    assert left(tmp_path, OTHER) == ["tracking.db"]


async def test_erasing_needs_a_number_and_files_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidMessageError):
        await erase_number("340")
    for places in ({"inbox": "inbox.db"}, {"suppression": tmp_path / "x.db"}, {"journals": "job.db"}):
        with pytest.raises(ConfigurationError):
            await erase_number(NUMBER, **places)
    with pytest.raises(StoreError, match="nowhere"):
        await erase_number(NUMBER, journals=[tmp_path / "nowhere.db"])
    assert await erase_number(NUMBER) == ErasureReport(())
