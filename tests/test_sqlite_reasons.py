"""What is said when a file of ours cannot be used: which file, and why, in words."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from qlara_async import Conversations, DeliveryTracker, FallbackChains, InboundRepair, QlaraClient, SuppressionList
from qlara_async.errors import QlaraError
from qlara_async.sqlite_reasons import reason_of
from qlara_async.webhooks import SqliteInbox

pytestmark = pytest.mark.anyio


async def track(client: QlaraClient, path: Path) -> None:
    async with DeliveryTracker(client, path):
        pass


async def chain(client: QlaraClient, path: Path) -> None:
    async with DeliveryTracker(client) as tracker, FallbackChains(client, tracker, store=path):
        pass


async def repair(client: QlaraClient, path: Path) -> None:
    async with InboundRepair(client, path):
        pass


async def suppress(client: QlaraClient, path: Path) -> None:
    await SuppressionList(path).count()


async def converse(client: QlaraClient, path: Path) -> None:
    await Conversations(path).last_inbound("+390000000001", channel="SMS")


async def receive(client: QlaraClient, path: Path) -> None:
    async for _ in SqliteInbox(path).dead():
        pass


Use = Callable[[QlaraClient, Path], Awaitable[None]]


@pytest.mark.parametrize("use", [track, chain, repair, suppress, converse, receive])
@pytest.mark.parametrize(
    ("name", "why"), [("nowhere/file.db", "check that its directory is there"), ("text.db", "it is not a database")]
)
async def test_which_file_and_why(use: Use, name: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "text.db").write_bytes(b"not one of ours. " * 300)
    async with QlaraClient("key-for-tests") as client:
        with pytest.raises(QlaraError) as raised:
            await use(client, tmp_path / name)
    assert str(tmp_path / name) in str(raised.value)
    assert why in str(raised.value)


def test_what_has_no_words_is_named_without_its_text() -> None:
    assert reason_of(ValueError("+390000000001")) == "ValueError"
    assert reason_of(sqlite3.OperationalError("secret")) == "OperationalError"
    assert reason_of(PermissionError(13, "Permission denied", "/secret")) == "Permission denied"
