"""The media library and inbound media, client and sandbox together over real HTTP."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from qlara_async import QlaraClient, SavedFile
from qlara_async.errors import (
    BadGatewayError,
    BadRequestError,
    ConfigurationError,
    NotFoundError,
    TransferError,
    UnprocessableError,
)
from qlara_async.sandbox import Fault, Sandbox
from qlara_async.sandbox.multipart import read_form
from qlara_async.testing.clock import VirtualClock
from qlara_async.webhooks import Inbound, MemoryInbox, UrlToken, WebhookReceiver

from .wire import WireGateway, answer

pytestmark = pytest.mark.anyio

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 300_000


@pytest.fixture
async def sandbox(clock: VirtualClock) -> AsyncIterator[Sandbox]:
    async with Sandbox(rate_limit=None, clock=clock) as sandbox:
        yield sandbox


@pytest.fixture
async def account(sandbox: Sandbox, clock: VirtualClock) -> AsyncIterator[QlaraClient]:
    async with QlaraClient(sandbox.api_key, base_url=sandbox.url, rate_limit=None, clock=clock) as qlara:
        yield qlara


async def names(listing: Any) -> list[str]:
    return [item.name async for item in listing]


def left_in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


async def stream() -> AsyncIterator[bytes]:
    for start in range(0, len(PNG), 10_000):
        yield PNG[start : start + 10_000]


class TestLibrary:
    async def test_a_file_is_uploaded_listed_read_and_deleted(self, account: QlaraClient, sandbox: Sandbox) -> None:
        made = await account.media.upload(PNG, file_name="promo.png", name="Promo", description="autumn", folder_id=3)
        assert (made.name, made.description, made.mime_type, made.size) == ("Promo", "autumn", "image/png", len(PNG))
        assert made.raw["folderId"] == "3"
        assert made.url is not None
        assert sandbox.platform.media.uploads[int(made.id)].content == PNG
        assert (await account.media.get(made.id)).raw == made.raw
        assert await names(account.media.list()) == ["Promo"]
        await account.media.delete(made.id)
        assert await names(account.media.list()) == []
        for gone in (account.media.get(made.id), account.media.delete(made.id)):
            with pytest.raises(NotFoundError):
                await gone

    @pytest.mark.parametrize("kind", ["bytes", "path", "file", "stream"])
    async def test_every_source_arrives_whole(
        self, kind: str, account: QlaraClient, sandbox: Sandbox, tmp_path: Path
    ) -> None:
        path = tmp_path / "promo.PNG"
        path.write_bytes(PNG)
        sources: dict[str, Any] = {"bytes": PNG, "path": path, "file": io.BytesIO(PNG), "stream": stream()}
        made = await account.media.upload(sources[kind], file_name=None if kind == "path" else "promo.PNG")
        assert (made.name, made.mime_type) == ("promo.PNG", "image/png")
        assert sandbox.platform.media.uploads[int(made.id)].content == PNG

    async def test_the_form_is_the_documented_one(self, qlara: QlaraClient, gateway: WireGateway) -> None:
        gateway.default = answer(201, b'{"mediaId": "med_7f", "url": "https://media.qlara.com/v1/x", "width": "1440"}')
        made = await qlara.media.upload(b"%PDF", file_name="list.pdf", content_type="application/pdf")
        assert (made.id, made.width) == ("med_7f", 1440)
        assert (gateway.seen[0].method, gateway.seen[0].target) == ("POST", "/api/partner-gateway/v1/media")
        form = read_form(gateway.seen[0].body, gateway.seen[0].headers["content-type"])
        assert form is not None
        assert [(part.name, part.file_name, part.content_type) for part in form] == [
            ("file", "list.pdf", "application/pdf")
        ]

    async def test_the_list_is_sorted_and_paged(self, account: QlaraClient) -> None:
        for number in (2, 0, 1):
            await account.media.upload(PNG, file_name=f"{number}.png")
        assert await names(account.media.list(page_size=2)) == ["2.png", "0.png", "1.png"]
        assert await names(account.media.list(sort_by="name", limit=2)) == ["0.png", "1.png"]
        assert await names(account.media.list(sort_by="name", sort_order="desc")) == ["2.png", "1.png", "0.png"]

    async def test_bad_input_costs_no_request(self, account: QlaraClient, sandbox: Sandbox) -> None:
        for bad in (
            account.media.upload(PNG),
            account.media.upload(PNG, file_name="notes.txt"),
            account.media.upload(PNG, file_name="x.png", content_type="image"),
            account.media.upload(PNG, file_name="x.png", folder_id=1.5),  # type: ignore[arg-type]
            account.media.get(".."),
        ):
            with pytest.raises(ConfigurationError):
                await bad
        with pytest.raises(ConfigurationError):
            account.media.list(page_size=1001)
        with pytest.raises(TransferError):
            await account.media.upload("/nowhere/x.png")
        assert list(sandbox.arrivals) == []

    async def test_what_the_library_does_not_take_is_refused(self, account: QlaraClient) -> None:
        with pytest.raises(BadRequestError):
            await account.media.upload(PNG, file_name="x.pdf", content_type="application/pdf")
        with pytest.raises(UnprocessableError):
            await account.media.upload(PNG + b"\0" * (5 << 20), file_name="x.png")
        assert await names(account.media.list()) == []

    async def test_an_upload_is_not_repeated_in_doubt(self, account: QlaraClient, sandbox: Sandbox) -> None:
        sandbox.fault(None, Fault.ERROR_AFTER, route="platform", status=502)
        with pytest.raises(BadGatewayError):
            await account.media.upload(PNG, file_name="x.png")
        assert len(sandbox.platform.media.files) == 1

    async def test_g11_a_file_shows_neither_name_nor_address(self, account: QlaraClient) -> None:
        made = await account.media.upload(b"x", file_name="Anna Rossi.gif")
        assert repr(made) == "MediaFile(id=1, mime_type='image/gif', size=1)"


class TestDownload:
    async def test_media_of_an_inbound_message_are_saved(
        self, account: QlaraClient, sandbox: Sandbox, tmp_path: Path
    ) -> None:
        key = sandbox.platform.media.receive(PNG, "image/png")
        saved = await account.media.download(key, tmp_path / "photo")
        assert saved == SavedFile(path=tmp_path / "photo", size=len(PNG), content_type="image/png")
        assert saved.path.read_bytes() == PNG

    async def test_they_are_gone_after_180_minutes(
        self, account: QlaraClient, sandbox: Sandbox, clock: VirtualClock, tmp_path: Path
    ) -> None:
        key = sandbox.platform.media.receive(PNG)
        await clock.advance(180 * 60 - 1)
        await account.media.download(key, tmp_path / "photo")
        await clock.advance(1)
        with pytest.raises(NotFoundError):
            await account.media.download(key, tmp_path / "late")
        assert not (tmp_path / "late").exists()

    @pytest.mark.parametrize("key", ["", "..", "a/b", "a%2Fb", "a?b", "é", "x" * 129, None, 5])
    async def test_a_key_that_could_change_the_path_costs_no_request(
        self, key: Any, account: QlaraClient, sandbox: Sandbox, tmp_path: Path
    ) -> None:
        with pytest.raises(ConfigurationError):
            await account.media.download(key, tmp_path / "photo")
        assert list(sandbox.arrivals) == []

    async def test_a_download_is_bounded_and_repeated(
        self, account: QlaraClient, sandbox: Sandbox, tmp_path: Path
    ) -> None:
        key = sandbox.platform.media.receive(PNG)
        with pytest.raises(TransferError, match="larger than max_bytes"):
            await account.media.download(key, tmp_path / "photo", max_bytes=1000)
        sandbox.fault(None, Fault.TRUNCATED, route="platform")
        saved = await account.media.download(key, tmp_path / "photo")
        assert saved.path.read_bytes() == PNG
        assert left_in(tmp_path) == ["photo"]

    async def test_a_handler_saves_what_came(self, account: QlaraClient, sandbox: Sandbox, tmp_path: Path) -> None:
        saved: list[SavedFile] = []
        receiver = WebhookReceiver(auth=UrlToken("right-token-0123456789"), inbox=MemoryInbox(allow_loss=True))

        @receiver.on_inbound()
        async def keep(event: Inbound) -> None:
            assert event.media is not None
            saved.append(await account.media.download(event.media.key, tmp_path / "photo"))

        inbound = {
            "channel": "WHATSAPP",
            "eventType": "INBOUND",
            "messageId": "m1",
            "messageType": "IMAGE",
            "mediaKey": sandbox.platform.media.receive(PNG),
        }
        headers = {"Content-Type": "application/json"}
        await receiver.ingest("POST", "/right-token-0123456789", headers, json.dumps(inbound).encode())
        await receiver.idle()
        await receiver.aclose()
        assert [file.path.read_bytes() for file in saved] == [PNG]
