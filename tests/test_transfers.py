"""Uploads from every source, and downloads that are whole or not there, from where they may come from only."""

from __future__ import annotations

import asyncio
import io
import socket
import tracemalloc
from collections.abc import AsyncIterator
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st

from qlara_async import QlaraClient, Timeouts
from qlara_async.errors import (
    BadRequestError,
    ConfigurationError,
    ConnectionFailed,
    InternalServerError,
    NotFoundError,
    TransferError,
)
from qlara_async.protocol.forms import form_of
from qlara_async.protocol.links import check_link, is_public, media_request
from qlara_async.resources.api import Api
from qlara_async.sandbox import Fault, Sandbox
from qlara_async.sandbox.multipart import read_form
from qlara_async.transfers.download import Sink
from qlara_async.transfers.resolver import PublicResolver
from qlara_async.transport import Credentials, Transport

from .wire import Action, WireGateway, answer, hang, truncate

pytestmark = pytest.mark.anyio

GATEWAY = "https://lora-api.agiletelecom.com/api"
ROWS = b"phoneNumber\r\n" + b"".join(b"+39340%07d\r\n" % number for number in range(30_000))


class Fields(msgspec.Struct, omit_defaults=True):
    name: str
    flag: bool | None = None
    number: int | None = None


class Broken(io.BytesIO):
    """A source that breaks when it is read."""

    def read(self, size: int | None = -1, /) -> bytes:
        raise OSError(5, "Input/output error")


class Shrinking(io.BytesIO):
    """A source that has less to read than it had when it was measured."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size)[:-1]


def api(qlara: QlaraClient) -> Api:
    return qlara.contacts._api


def sink(path: Path, max_bytes: int = 1 << 20, max_seconds: float = 30.0) -> Sink:
    return Sink(path, max_bytes=max_bytes, max_seconds=max_seconds)


def peak_of(traced: int) -> float:
    """The most memory since tracing began, in MiB, beyond what was there then."""
    return (tracemalloc.get_traced_memory()[1] - traced) / (1 << 20)


async def devour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Read a chunked body to its end, keeping nothing, and answer."""
    end = b""
    while not end.endswith(b"\r\n0\r\n\r\n"):
        end = (end + await reader.read(1 << 16))[-8:]
    return await answer(200)(reader, writer)


async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Answer 32 MiB."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (32 << 20))
    for _ in range(512):
        writer.write(bytes(1 << 16))
        await writer.drain()
    return True


def left_in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


async def stream(content: bytes = ROWS) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 1000):
        yield content[start : start + 1000]


class TestForm:
    @given(st.text(st.sampled_from('aé🎉 "\r\n;=\\%'), min_size=1, max_size=20), st.binary(max_size=200))
    def test_a_form_is_read_back_by_two_independent_readers(self, name: str, content: bytes) -> None:
        form = form_of(Fields(name=name, flag=True), file_name=name, content_type="text/csv", boundary="b0undary")
        whole = form.head + content + form.tail
        read = read_form(whole, form.content_type)
        assert read is not None
        assert [part.name for part in read] == ["name", "flag", "file"]
        assert (read[0].content.decode(), read[1].content, read[2].content) == (name, b"true", content)
        parsed = message_from_bytes(
            b"Content-Type: " + form.content_type.encode() + b"\r\n\r\n" + whole, policy=policy.HTTP
        )
        assert len(list(parsed.iter_parts())) == 3

    @pytest.mark.parametrize(("file_name", "content_type"), [("", "a/b"), ("x", "text"), ("x", "a/b\r\nX: y")])
    def test_a_name_or_type_that_breaks_the_form_is_refused(self, file_name: str, content_type: str) -> None:
        with pytest.raises(ConfigurationError):
            form_of(Fields(name="x"), file_name=file_name, content_type=content_type, boundary="b")


class TestUpload:
    @pytest.mark.parametrize("kind", ["bytes", "path", "text path", "file", "stream"])
    async def test_every_source_arrives_whole(self, kind: str, tmp_path: Path) -> None:
        path = tmp_path / "people.csv"
        path.write_bytes(ROWS)
        with path.open("rb") as file:
            sources = {"bytes": ROWS, "path": path, "text path": str(path), "file": file, "stream": stream()}
            source: Any = sources[kind]
            async with (
                Sandbox(rate_limit=None) as sandbox,
                QlaraClient(sandbox.api_key, base_url=sandbox.url, rate_limit=None) as qlara,
            ):
                preview = await qlara.contacts.import_file(source, file_name="people.csv")
                assert preview.summary == {"total": 30_000}
            assert not file.closed

    async def test_text_that_is_no_path_says_how_contents_are_given(
        self, qlara: QlaraClient, gateway: WireGateway
    ) -> None:
        with pytest.raises(TransferError, match="the contents themselves are bytes") as caught:
            await qlara.contacts.import_file("firstName,Anna", file_name="people.csv")
        assert "Anna" not in str(caught.value)
        assert gateway.seen == []

    async def test_a_source_with_a_size_goes_with_its_length(self, qlara: QlaraClient, gateway: WireGateway) -> None:
        gateway.default = answer(200)
        file = io.BytesIO(b"skipped,kept")
        file.seek(8)
        await qlara.contacts.import_file(file, file_name="people.csv", list_id=7)
        seen = gateway.seen[0]
        form = read_form(seen.body, seen.headers["content-type"])
        assert form is not None
        assert {part.name: part.content for part in form} == {
            "fileName": b"people.csv",
            "listId": b"7",
            "file": b"kept",
        }
        assert "transfer-encoding" not in seen.headers

    async def test_the_same_bytes_go_again_after_a_429(self, qlara: QlaraClient, gateway: WireGateway) -> None:
        gateway.script = [answer(429), answer(200)]
        await qlara.contacts.import_file(io.BytesIO(ROWS), file_name="people.csv")
        first, second = gateway.seen
        assert first.body == second.body
        assert ROWS in first.body

    async def test_an_upload_is_not_repeated_in_doubt(self, qlara: QlaraClient, gateway: WireGateway) -> None:
        gateway.script = [answer(500)]
        with pytest.raises(InternalServerError):
            await qlara.contacts.import_file(b"x", file_name="people.csv")
        assert len(gateway.seen) == 1

    async def test_a_stream_is_not_sent_twice(self) -> None:
        async with Sandbox(rate_limit=None) as sandbox:
            sandbox.fault(None, Fault.STORM, route="platform", retry_after=0)
            async with QlaraClient(sandbox.api_key, base_url=sandbox.url, rate_limit=None, random=lambda: 0.0) as qlara:
                with pytest.raises(TransferError, match="cannot be read again"):
                    await qlara.contacts.import_file(stream(b"x"), file_name="people.csv")

    async def test_a_source_that_breaks_says_so(self, qlara: QlaraClient, gateway: WireGateway) -> None:
        with pytest.raises(TransferError, match="Input/output error"):
            await qlara.contacts.import_file(Broken(b"x" * 500), file_name="people.csv")

    async def test_a_source_that_changes_meanwhile_is_not_passed_off_as_whole(self, qlara: QlaraClient) -> None:
        with pytest.raises(TransferError, match="changed meanwhile"):
            await qlara.contacts.import_file(Shrinking(b"x" * 500), file_name="people.csv")

    async def test_a_refusal_before_the_end_is_the_refusal(self, gateway: WireGateway, qlara: QlaraClient) -> None:
        gateway.default = answer(400)
        with pytest.raises(BadRequestError):
            await qlara.contacts.import_file(b"x", file_name="people.csv")


class TestMemory:
    async def test_what_is_large_is_streamed_both_ways(
        self, qlara: QlaraClient, gateway: WireGateway, tmp_path: Path
    ) -> None:
        async def large() -> AsyncIterator[bytes]:
            for _ in range(512):
                yield bytes(1 << 16)

        gateway.script = [answer(200), devour, pour]
        await qlara.contacts.import_file(b"x", file_name="people.csv")  # what is made once is made
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            await qlara.contacts.import_file(large(), file_name="people.csv")
            saved = await api(qlara).save(media_request("a"), sink(tmp_path / "x", max_bytes=64 << 20))
            assert peak_of(before) < 4
        finally:
            tracemalloc.stop()
        assert (saved.size, len(gateway.seen)) == (32 << 20, 3)


class TestDownload:
    async def test_it_is_there_whole_and_nothing_else(
        self, qlara: QlaraClient, gateway: WireGateway, tmp_path: Path
    ) -> None:
        gateway.default = answer(200, ROWS)
        (tmp_path / "media.bin").write_bytes(b"before")
        saved = await api(qlara).save(media_request("abc_-1"), sink(tmp_path / "media.bin"))
        assert (saved.size, saved.path.read_bytes()) == (len(ROWS), ROWS)
        assert left_in(tmp_path) == ["media.bin"]
        assert gateway.seen[0].target == "/api/files/abc_-1"
        assert gateway.seen[0].headers["x-api-key"] == "key-for-tests"

    @pytest.mark.parametrize("told", [True, False])
    async def test_one_too_large_leaves_nothing(
        self, told: bool, qlara: QlaraClient, gateway: WireGateway, tmp_path: Path
    ) -> None:
        gateway.default = answer(200, ROWS) if told else chunked(ROWS)
        with pytest.raises(TransferError, match="larger than max_bytes"):
            await api(qlara).save(media_request("a"), sink(tmp_path / "x", max_bytes=1000))
        assert left_in(tmp_path) == []

    async def test_one_that_takes_too_long_leaves_nothing(
        self, qlara: QlaraClient, gateway: WireGateway, tmp_path: Path
    ) -> None:
        gateway.default = begin(1000)
        with pytest.raises(TransferError, match="longer than max_seconds"):
            await api(qlara).save(media_request("a"), sink(tmp_path / "x", max_seconds=0.05))
        assert left_in(tmp_path) == []

    async def test_one_that_breaks_off_is_asked_for_again(
        self, qlara: QlaraClient, gateway: WireGateway, tmp_path: Path
    ) -> None:
        gateway.script = [truncate(1000, b"half"), answer(503), answer(200, b"whole")]
        saved = await api(qlara).save(media_request("a"), sink(tmp_path / "x"))
        assert (saved.path.read_bytes(), len(gateway.seen)) == (b"whole", 3)
        assert left_in(tmp_path) == ["x"]

    async def test_what_was_there_stays_when_a_download_fails(
        self, qlara: QlaraClient, gateway: WireGateway, tmp_path: Path
    ) -> None:
        gateway.default = answer(404)
        (tmp_path / "x").write_bytes(b"before")
        with pytest.raises(NotFoundError):
            await api(qlara).save(media_request("a"), sink(tmp_path / "x"))
        with pytest.raises(TransferError, match="cannot be written"):
            gateway.default = answer(200, b"new")
            await api(qlara).save(media_request("a"), sink(tmp_path / "missing" / "x"))
        assert (tmp_path / "x").read_bytes() == b"before"

    async def test_g12_a_cancelled_download_leaves_nothing(
        self, qlara: QlaraClient, gateway: WireGateway, tmp_path: Path
    ) -> None:
        gateway.default = begin(1000)
        saving = asyncio.create_task(api(qlara).save(media_request("a"), sink(tmp_path / "x")))
        while not left_in(tmp_path):
            await asyncio.sleep(0)
        saving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await saving
        assert left_in(tmp_path) == []

    @pytest.mark.parametrize("bounds", [{"max_bytes": 0}, {"max_seconds": 0}, {"max_bytes": 1.5}])
    def test_bounds_are_checked(self, bounds: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError):
            sink(Path("x"), **bounds)


class TestMediaKeys:
    @pytest.mark.parametrize(
        "key",
        [
            "",
            ".",
            "..",
            "../partner-gateway/v1/webhooks/delivery-status",
            "a/b",
            "a%2fb",
            "a?b",
            "a#b",
            "é",
            "a" * 129,
            "a\n",
            5,
        ],
    )
    def test_a_key_that_could_change_the_path_is_refused(self, key: Any) -> None:
        with pytest.raises(ConfigurationError):
            media_request(key)


class TestLinks:
    @pytest.mark.parametrize(
        "link",
        [
            "http://files.example.org/x",
            "ftp://files.example.org/x",
            "https://user:secret@files.example.org/x",
            "https://localhost/x",
            "https://127.0.0.1/x",
            "https://10.0.0.1/x",
            "https://169.254.169.254/latest",
            "https://100.64.0.1/x",
            "https://[::1]/x",
            "https://[::ffff:127.0.0.1]/x",
            "https://[64:ff9b::7f00:1]/x",
            "https://[2002:7f00:1::]/x",
            "https://[fe80::1%25eth0]/x",
            "https://0.0.0.0/x",
            "https:///x",
            "https://files.example.org:99999/x",
            "https://files.example.org\\@127.0.0.1/x",
            "https://exämple.org/x",
            "//files.example.org/x",
            "",
            None,
        ],
    )
    def test_a_link_that_may_not_be_followed_is_refused_and_not_shown(self, link: Any) -> None:
        with pytest.raises(TransferError) as caught:
            check_link(link, GATEWAY)
        assert not link or link not in str(caught.value)

    def test_a_public_link_is_followed_and_one_on_loopback_only_from_loopback(self) -> None:
        link = "https://bucket.example.org/export.csv?X-Amz-Signature=abc%2F"
        assert check_link(link, GATEWAY) == link
        local = "http://127.0.0.1:8080/export.csv"
        assert check_link(local, "http://127.0.0.1:9/api") == local
        with pytest.raises(TransferError):
            check_link("http://10.0.0.1/x", "http://127.0.0.1:9/api")

    def test_addresses(self) -> None:
        assert is_public("8.8.8.8")
        assert is_public("2001:4860:4860::8888")
        for address in ("0177.0.0.1", "x", "224.0.0.1", "192.168.1.1", "::", "fc00::1"):
            assert not is_public(address)

    async def test_no_credentials_go_with_a_link(
        self, qlara: QlaraClient, gateway: WireGateway, tmp_path: Path
    ) -> None:
        async with WireGateway(default=answer(200, b"a;b")) as host:
            link = host.url + "/export.csv?sig=a%2Fb"
            saved = await api(qlara).save_link(link, sink(tmp_path / "export.csv"))
            assert saved.path.read_bytes() == b"a;b"
            assert host.seen[0].target == "/api/export.csv?sig=a%2Fb"
            assert not {"x-api-key", "authorization", "cookie"} & host.seen[0].headers.keys()
        assert gateway.seen == []

    @pytest.mark.parametrize("status", [302, 403, 404, 500])
    async def test_redirects_and_refusals_end_it(self, status: int, qlara: QlaraClient, tmp_path: Path) -> None:
        async with WireGateway(default=answer(status, Location="http://127.0.0.1:1/x")) as host:
            with pytest.raises(TransferError, match=str(status)):
                await api(qlara).save_link(host.url + "/x", sink(tmp_path / "x"))
            assert len(host.seen) == 1
        assert left_in(tmp_path) == []

    async def test_a_host_that_does_not_answer_is_a_failed_connection(self, qlara: QlaraClient, tmp_path: Path) -> None:
        async with WireGateway() as host:
            url = host.url
        with pytest.raises(ConnectionFailed) as caught:
            await api(qlara).save_link(url + "/secret", sink(tmp_path / "x"))
        assert "secret" not in str(caught.value)
        assert caught.value.__context__ is None


class Names(AbstractResolver):
    """The DNS, saying what a test says."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in self.addresses
        ]

    async def close(self) -> None:
        return


class TestResolution:
    async def test_a_name_with_one_private_address_is_refused(self) -> None:
        for addresses in (["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["::ffff:169.254.169.254"]):
            with pytest.raises(TransferError, match="private address"):
                await PublicResolver(Names(*addresses)).resolve("evil.example", 443)
        assert len(await PublicResolver(Names("8.8.8.8")).resolve("good.example", 443)) == 1

    async def test_loopback_is_public_enough_for_the_sandbox_and_nothing_else_is(self) -> None:
        assert await PublicResolver(Names("127.0.0.1"), loopback=True).resolve("sandbox", 80)
        with pytest.raises(TransferError):
            await PublicResolver(Names("10.0.0.1"), loopback=True).resolve("sandbox", 80)

    @pytest.mark.parametrize("addresses", [["127.0.0.1"], ["8.8.8.8", "169.254.169.254"]])
    async def test_a_link_whose_name_is_private_is_refused_before_it_is_connected_to(
        self, addresses: list[str], tmp_path: Path
    ) -> None:
        transport = Transport(GATEWAY, Credentials.of_key("k"), user_agent="t", resolver=Names(*addresses))
        try:
            with pytest.raises(TransferError, match="private address"):
                await transport.follow("https://rebound.example/x", sink(tmp_path / "x"), Timeouts())
        finally:
            await transport.aclose()


def chunked(body: bytes) -> Action:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        await writer.drain()
        return True

    return act


def begin(declared: int) -> Action:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\nbegun" % declared)
        await writer.drain()
        return await hang(reader, writer)

    return act
