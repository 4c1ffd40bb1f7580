"""G11: nothing that stands below the mount is in a record of aiohttp's access log."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from hypothesis import given
from hypothesis import strategies as st

from qlara_async.webhooks import MemoryInbox, UrlToken, WebhookReceiver
from qlara_async.webhooks.access_log import REDACTED, Redaction

pytestmark = pytest.mark.anyio

TOKEN = "right-token-0123456789"
ENCODED = "".join(f"%{ord(character):02X}" for character in TOKEN)
FORMAT = '%a %t "%r" %s %b "%{Referer}i" "%{User-Agent}i" %{Host}i'
access = logging.getLogger("aiohttp.access")


class Dump(logging.Handler):
    """Like a JSON handler: shows all that a record holds."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.shown.append(f"{record.getMessage()} {record.__dict__}")


@pytest.fixture(autouse=True)
def no_other_receivers() -> Iterator[None]:
    """A filter lives as long as its application: those of other tests must not answer for ours."""
    others = access.filters[:]
    access.filters.clear()
    yield
    access.filters[:] = others


@pytest.fixture
def dump() -> Iterator[Dump]:
    handler = Dump()
    access.addHandler(handler)
    level = access.level
    access.setLevel(logging.DEBUG)
    yield handler
    access.removeHandler(handler)
    access.setLevel(level)


async def serve(app: web.Application, *requests: bytes, **options: Any) -> None:
    runner = web.AppRunner(app, access_log_format=FORMAT, **options)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    for request in requests:
        reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
        writer.write(request)
        assert (await reader.readline()).startswith(b"HTTP/1.")
        writer.close()
        await writer.wait_closed()
    await runner.cleanup()


def request(target: str, *headers: str, method: str = "POST") -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: here", "Connection: close", *headers, "", ""]).encode(
        "utf-8", "surrogateescape"
    )


def make() -> WebhookReceiver:
    return WebhookReceiver(auth=UrlToken(TOKEN), inbox=MemoryInbox(allow_loss=True))


def mounted(prefix: str = "/qlara") -> web.Application:
    app = web.Application()
    app.add_subapp(prefix, make().app())
    return app


TARGETS = [
    f"/qlara/{TOKEN}",
    f"/qlara/{TOKEN}/",
    f"/qlara/{TOKEN}?query={TOKEN}",
    f"/qlara/{ENCODED}",
    f"/%71lara/{TOKEN}",
    f"/%71%6c%61%72%61/{ENCODED}",
    f"/qlara%2F{TOKEN}",
    f"http://here/qlara/{TOKEN}",
    f"http://here:80/%71lara/{ENCODED}",
    f"/qlara/wrong{TOKEN}",
    f"/qlara/deeper/{TOKEN}/still",
    f'/qlara/"{TOKEN}"',
    f"/qlara?{TOKEN}",
    f"//qlara/{TOKEN}",
    f"/qlara//{TOKEN}",
    f"//qlara//{ENCODED}",
    f"/./qlara/./{TOKEN}",
    f"/elsewhere/../qlara/{TOKEN}",
    f"/qlara/{TOKEN}/../../elsewhere",
    f"/elsewhere?next=https://here/qlara/{TOKEN}",
    f"/elsewhere?next=https%3A%2F%2Fhere%2Fqlara%2F{ENCODED}",
    f"/%2571lara/{TOKEN}",
    f"/QLARA/{TOKEN}",
    f"/qlara;x/{TOKEN}",
    f"/qlara#{TOKEN}",
    f"//here/qlara/{TOKEN}",
    f"/qlara\\{TOKEN}",
]


@pytest.mark.parametrize("target", TARGETS)
async def test_g11_neither_right_nor_wrong_tokens_are_logged(dump: Dump, target: str) -> None:
    await serve(mounted(), request(target), request(target, method="GET"))
    shown = "".join(dump.shown)
    assert len(dump.shown) == 2
    assert f"/qlara/{REDACTED}" in shown
    assert TOKEN not in shown
    assert ENCODED not in shown
    assert "POST" in dump.shown[0]
    assert "HTTP/1.1" in dump.shown[0]


async def test_g11_a_nested_mount(dump: Dump) -> None:
    outer = web.Application()
    outer.add_subapp("/outer", mounted())
    await serve(outer, request(f"/outer/qlara/{TOKEN}"))
    assert f'"POST /outer/qlara/{REDACTED} HTTP/1.1" 200' in dump.shown[0]
    assert TOKEN not in dump.shown[0]


async def test_g11_a_receiver_that_is_the_whole_application(dump: Dump) -> None:
    await serve(make().app(), request(f"/{TOKEN}"), request("/"))
    assert f'"POST /{REDACTED} HTTP/1.1" 200' in dump.shown[0]
    assert TOKEN not in dump.shown[0]
    assert '"POST / HTTP/1.1" 404' in dump.shown[1]


@pytest.mark.parametrize("host", ["https://here", "//here", "here", "here:8080", "", "https://user:secret@here"])
@pytest.mark.parametrize("root", [True, False])
async def test_g11_a_token_in_the_referer(dump: Dump, host: str, root: bool) -> None:
    app, mount = (make().app(), "") if root else (mounted(), "/qlara")
    await serve(app, request("/", f'Referer: {host}{mount}/{TOKEN}?x "{TOKEN}"'))
    assert f"{mount}/{REDACTED}" in dump.shown[0]
    assert TOKEN not in dump.shown[0]


async def test_g11_the_referer_of_a_receiver_that_is_the_whole_application_may_be_a_host(dump: Dump) -> None:
    await serve(make().app(), request("/", "Referer: here/", "User-Agent: curl/8.1 text/html"))
    assert '"here/" "curl/8.1 text/html"' in dump.shown[0]


@pytest.mark.parametrize("mount", ["/deep/er", "/d"])
async def test_g11_dots_within_the_mount(dump: Dump, mount: str) -> None:
    first, *rest = mount[1:].split("/")
    target = "/".join(["", first, "x", "..", *rest, TOKEN])
    await serve(mounted(mount), request(target))
    assert TOKEN not in dump.shown[0]


class Terse(AbstractAccessLogger):
    """An access logger of one's own, that shows the same in its own way."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        self.logger.info("%s %s %d", request.method, request.path, response.status)
        self.logger.info("%s", request.url, extra={"url": request.url, "request": request, "paths": [request.path_qs]})
        self.logger.info(json.dumps({"path": request.path, "status": response.status}))
        self.logger.info('{"path":"%s","status":%d}', request.raw_path, response.status)


@pytest.mark.parametrize("target", TARGETS)
async def test_g11_access_loggers_of_ones_own(dump: Dump, target: str) -> None:
    await serve(mounted(), request(target), access_log_class=Terse)
    assert TOKEN not in "".join(dump.shown)
    assert ENCODED not in "".join(dump.shown)
    assert len(dump.shown) == 4


async def test_redacted_json_stays_json(dump: Dump) -> None:
    await serve(mounted(), request(f"/qlara/{TOKEN}"), request("/qlara/"), access_log_class=Terse)
    compact = [line for line in dump.shown if line.startswith('{"path":"')]
    assert f'{{"path":"/qlara/{REDACTED}","status":200}}' in compact[0]
    assert '{"path":"/qlara/","status":404}' in compact[1]
    assert f'{{"path": "/qlara/{REDACTED}", "status": 200}}' in dump.shown[2]


async def test_g11_the_servers_own_loggers_are_covered_from_the_first_callback_on(dump: Dump) -> None:
    own = logging.getLogger("tests.access")
    own.addHandler(dump)
    own.setLevel(logging.DEBUG)
    lines = [
        request(f"/qlara/{TOKEN}"),
        request(f"//qlara/{TOKEN}"),
        b"POST /qlara/%b nonsense\r\n\r\n" % TOKEN.encode(),
    ]
    try:
        await serve(mounted(), *lines, access_log=own, logger=own)
    finally:
        own.removeHandler(dump)
    assert len(dump.shown) == 4  # of the last there is an error too
    assert TOKEN not in "".join(dump.shown)
    assert len(own.filters) <= 2


@pytest.mark.parametrize(
    "broken",
    [
        f"POST /qlara/{TOKEN} HTTP/9.9\r\n\r\n",
        f"POST /qlara/{TOKEN} nonsense\r\n\r\n",
        f"POST /qlara/{TOKEN}\x00 HTTP/1.1\r\nHost: here\r\n\r\n",
        f"BREW /qlara/{TOKEN} HTTP/1.1\r\n\r\n",
        f"POST qlara/{TOKEN} HTTP/1.1\r\nHost: here\r\n\r\n",
        f"POST /qlara/{TOKEN} HTTP/1.1\r\nBroken {TOKEN}\r\n\r\n",
        f"CONNECT /qlara/{TOKEN}@ HTTP/1.1\r\nHost: here\r\n\r\n",
        f"POST /qlara/{TOKEN * 400} HTTP/1.1\r\nHost: here\r\n\r\n",
        f"POST /qlara/{TOKEN} HTTP/1.1\r\nHost: here\r\nHost: there\r\n\r\n",
    ],
)
async def test_g11_lines_that_aiohttp_cannot_parse_are_not_quoted(
    broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await serve(mounted(), broken.encode())
    (record,) = (record for record in caplog.records if record.name == "aiohttp.server")
    assert record.getMessage().startswith("Error handling request from 127.0.0.1: ")
    assert TOKEN not in caplog.text
    assert "Traceback" not in caplog.text


async def test_bodies_that_aiohttp_cannot_inflate_leave_no_traceback_on_other_paths_either(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fields = "Content-Encoding: gzip", "Content-Length: 5"
    await serve(mounted(), request("/elsewhere", *fields) + b"\x1f\x8b...")
    assert "Error" in caplog.text
    assert "Traceback" not in caplog.text


async def test_g11_other_errors_keep_their_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(_: web.Request) -> web.Response:
        raise ValueError("mine")

    app = mounted()
    app.router.add_get("/mine", broken)
    await serve(app, request("/mine", method="GET"))
    assert "ValueError: mine" in caplog.text


async def test_bytes_that_are_no_utf8_do_not_break_a_strict_log(dump: Dump) -> None:
    written = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="strict")
    strict = logging.StreamHandler(written)
    failures: list[logging.LogRecord] = []
    strict.handleError = failures.append  # type: ignore[method-assign, assignment]
    access.addHandler(strict)
    try:
        await serve(mounted(), request("/x", "User-Agent: caf\udce9", f"Referer: \udcff/qlara/{TOKEN}"))
    finally:
        access.removeHandler(strict)
    assert failures == []
    assert "caf\\udce9" in dump.shown[0]
    assert TOKEN not in dump.shown[0]


async def test_g11_what_is_not_below_the_mount_is_left_alone(dump: Dump) -> None:
    agent = "User-Agent: curl/8 (x; +https://example.org/bot)"
    await serve(mounted(), request("/qlarabells/yes?a=/b", agent), request("/qlara/"), request("/qlara"))
    assert '"POST /qlarabells/yes?a=/b HTTP/1.1" 404' in dump.shown[0]
    assert "curl/8 (x; +https://example.org/bot)" in dump.shown[0]
    assert '"POST /qlara/ HTTP/1.1" 404' in dump.shown[1]
    assert '"POST /qlara HTTP/1.1" 404' in dump.shown[2]


async def test_g11_two_receivers_redact_their_own(dump: Dump) -> None:
    app = mounted("/one")
    app.add_subapp("/two", make().app())
    await serve(app, request(f"/one/{TOKEN}"), request(f"/two/{TOKEN}"))
    assert TOKEN not in "".join(dump.shown)


async def test_the_filter_is_installed_once_and_goes_with_its_application() -> None:
    gc.collect()
    before = len(access.filters)
    receiver = make()
    app = web.Application()
    app.add_subapp("/qlara", receiver.app())
    receiver.app()
    assert len(access.filters) == before + 1
    del receiver, app
    gc.collect()
    assert len(access.filters) == before


async def test_g11_a_receiver_that_is_closed_still_redacts(dump: Dump) -> None:
    receiver = make()
    app = web.Application()
    app.add_subapp("/qlara", receiver.app())
    await receiver.aclose()
    await serve(app, request(f"/qlara/{TOKEN}"))
    assert dump.shown
    assert TOKEN not in "".join(dump.shown)


def test_records_made_by_others_are_redacted_too(dump: Dump) -> None:
    redaction = Redaction(lambda: "/qlara")
    access.info(
        "served %s in %d ms to %r",
        f"/qlara/{TOKEN}",
        5,
        f"/qlara/{TOKEN}",
        extra={"nested": {"path": f"/qlara/{TOKEN}"}},
    )
    access.info("no target: 100%")
    access.info("", extra={"first_request_line": f"POST http://here/qlara/{TOKEN} HTTP/1.1"})
    access.info("%d", f"/qlara/{TOKEN}")
    redaction.release()
    assert f"POST http://here/qlara/{REDACTED} HTTP/1.1" in dump.shown[2]
    assert TOKEN not in dump.shown[0]
    assert dump.shown[0].startswith(f"served /qlara/{REDACTED} in 5 ms to '/qlara/{REDACTED}")
    assert dump.shown[1].startswith("no target: 100%")
    assert TOKEN not in dump.shown[3]


@pytest.mark.parametrize("prefix", ["", "/qlara", "/deep/er"])
@pytest.mark.parametrize("slashes", ["/", "/.", "//.", "\\/", "/d", "%2F", "/..", "/deep/"])
def test_g8_a_line_of_slashes_does_not_hold_the_loop_up(prefix: str, slashes: str) -> None:
    """It took seconds, for one request of anyone: each slash was tried as a beginning, up to the line's end."""
    target = slashes * (8000 // len(slashes))
    record = logging.makeLogRecord(
        {"msg": f'"POST {target} HTTP/1.1" 404 "{target}"', "request_header": {"Referer": target}}
    )
    redaction = Redaction(lambda: prefix)
    try:
        begun = time.thread_time()
        assert access.filter(record)
        assert time.thread_time() - begun < 0.3
    finally:
        redaction.release()


@given(st.text(), st.text(), st.sampled_from(["", "/qlara", "/ü"]))
def test_g11_redaction_never_raises(line: str, message: str, prefix: str) -> None:
    record: Any = logging.makeLogRecord(
        {"msg": message, "first_request_line": line, "request_header": {"Referer": line}}
    )
    redaction = Redaction(lambda: prefix)
    try:
        assert access.filter(record)
    finally:
        redaction.release()
