"""The receiver without a web framework: who gets which answer, and what becomes of the events."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qlara_async.errors import ConfigurationError
from qlara_async.models.events import Delivery, Event, Inbound, UnknownEvent
from qlara_async.webhooks import Answer, Head, MemoryInbox, UrlToken, WebhookReceiver
from qlara_async.webhooks.inbox import Row, Verdict

pytestmark = pytest.mark.anyio

TOKEN = "right-token-0123456789"
OTHER = "other-token-0123456789"
PATH = f"/{TOKEN}"
JSON = {"Content-Type": "application/json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}


def delivery(message_id: str = "m1", **fields: Any) -> bytes:
    return msgspec.json.encode(
        {"channel": "SMS", "eventType": "DELIVERY", "messageId": message_id, "statusCode": 3, **fields}
    )


def make(**options: Any) -> WebhookReceiver:
    return WebhookReceiver(auth=UrlToken(TOKEN), inbox=MemoryInbox(allow_loss=True), **options)


def note(receiver: WebhookReceiver) -> list[Event]:
    events: list[Event] = []

    async def seen(event: Event) -> None:
        events.append(event)

    for on in (receiver.on_delivery, receiver.on_read, receiver.on_inbound, receiver.on_unknown):
        on(name=on.__name__)(seen)
    return events


@pytest.fixture
async def receiver(no_task_left: None) -> AsyncIterator[WebhookReceiver]:
    receiver = make()
    yield receiver
    await receiver.aclose()


def test_g8_a_receiver_fails_closed() -> None:
    with pytest.raises(ConfigurationError, match="insecure=True"):
        WebhookReceiver(inbox=MemoryInbox(allow_loss=True))


@pytest.mark.parametrize("bound", ["max_body", "read_timeout", "concurrency", "drain_timeout"])
def test_bounds_are_positive(bound: str) -> None:
    with pytest.raises(ConfigurationError):
        make(**{bound: -1})


@pytest.mark.parametrize("inbox", ["inbox.db", Path("inbox.db")])
def test_a_path_is_no_inbox(inbox: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"SqliteInbox\("):
        WebhookReceiver(auth=UrlToken(TOKEN), inbox=inbox)


@pytest.mark.parametrize(
    "tokens",
    [(), ("",), (TOKEN, ""), (" " * 20,), ("short",), ("with/a-slash-in-it",), ("with a space in it",), ("è" * 20,)],
)
def test_tokens_that_cannot_protect_are_refused(tokens: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError) as failure:
        UrlToken(*tokens)
    assert not any(token and token in str(failure.value) for token in tokens)


def test_a_generated_token_is_long_random_and_accepted() -> None:
    assert len({UrlToken.generate() for _ in range(100)}) == 100
    assert len(UrlToken.generate()) == 32
    UrlToken(UrlToken.generate())


def test_g11_tokens_and_paths_are_not_in_repr() -> None:
    assert TOKEN not in repr(UrlToken(TOKEN)) + repr(Head("POST", PATH, {"x": TOKEN}))


@given(st.text(alphabet=st.characters()) | st.binary().map(lambda raw: raw.decode("utf-8", "surrogateescape")))
def test_g8_a_verdict_never_raises(path: str) -> None:
    auth = UrlToken(TOKEN)
    for candidate in (path, f"/{path}", f"/{TOKEN}{path}", "\ud800"):
        permitted = auth.judge_head(Head("POST", candidate, {}), 0.0) is None
        assert permitted is (candidate in (PATH, f"{PATH}/"))


async def test_any_live_token_opens_with_and_without_trailing_slash() -> None:
    receiver = WebhookReceiver(auth=UrlToken(TOKEN, OTHER), inbox=MemoryInbox(allow_loss=True))
    for path in (f"/{TOKEN}", f"/{OTHER}", f"/{TOKEN}/"):
        assert (await receiver.ingest("POST", path, JSON, delivery())).status == 200
    await receiver.aclose()


STRANGE_PATHS = [
    "",
    "/",
    "/wrong-token-0123456789",
    f"/{TOKEN}x",
    f"/x/{TOKEN}",
    f"//{TOKEN}",
    f"/{TOKEN}//",
    TOKEN,
    "x" + TOKEN,
]


@pytest.mark.parametrize("path", STRANGE_PATHS)
@pytest.mark.parametrize("method", ["POST", "GET", "BREW"])
async def test_g8_a_stranger_gets_one_answer_and_leaves_no_trace(
    receiver: WebhookReceiver, path: str, method: str
) -> None:
    events = note(receiver)
    for headers, body in ((JSON, delivery()), ({"Content-Type": "text/plain"}, b"x" * (2 << 20))):
        answer = await receiver.ingest(method, path, headers, body)
        assert answer == Answer(404, {"Content-Type": "text/plain; charset=utf-8"}, b"404: Not Found")
    await receiver.idle()
    assert events == []
    assert (receiver.stats().received, receiver.stats().refused) == (0, 2)


async def test_g8_a_stranger_learns_nothing_of_a_closed_receiver(receiver: WebhookReceiver) -> None:
    await receiver.drain()
    assert (await receiver.ingest("POST", "/", JSON, b"")).status == 404
    assert (await receiver.ingest("POST", PATH, JSON, b"")).status == 503


@pytest.mark.parametrize(
    ("method", "headers", "body", "status"),
    [
        ("POST", JSON, b"x" * ((1 << 20) + 1), 413),
        ("GET", JSON, b"", 405),
        ("post", JSON, b"", 405),
        ("POST", {"Content-Type": "text/plain"}, b"{}", 415),
        ("POST", {"CONTENT-TYPE": "application/json; charset=utf-8"}, delivery(), 200),
        ("POST", {}, delivery(), 200),
        ("POST", [("Content-Type", "application/json"), ("content-type", "text/plain")], delivery(), 200),
        ("POST", {**JSON, "Content-Encoding": "gzip"}, delivery(), 415),
        ("POST", {**JSON, "Content-Encoding": "Identity"}, delivery(), 200),
        ("POST", JSON, b"not json", 200),
    ],
)
async def test_answers(receiver: WebhookReceiver, method: str, headers: Any, body: bytes, status: int) -> None:
    answer = await receiver.ingest(method, PATH, headers, body)
    assert answer.status == status
    assert answer.headers.get("Allow") == ("POST" if status == 405 else None)


async def test_insecure_takes_anything_from_anyone() -> None:
    receiver = WebhookReceiver(inbox=MemoryInbox(allow_loss=True), insecure=True)
    for path in ("", "/", "/anything/at/all"):
        assert (await receiver.ingest("POST", path, {}, delivery())).status == 200
    await receiver.aclose()


async def test_a_dedicated_number_is_answered_ok(receiver: WebhookReceiver) -> None:
    events = note(receiver)
    body = urlencode(
        {"originator": "39340", "destination": "39341", "date_time": "20260408143052", "text": "ok"}
    ).encode()
    for _ in range(2):
        answer = await receiver.ingest("POST", PATH, FORM, body)
        assert (answer.status, answer.body) == (200, b"+OK")
    await receiver.idle()
    (event,) = events
    assert isinstance(event, Inbound)


async def test_duplicates_are_dropped_and_conflicts_marked(receiver: WebhookReceiver) -> None:
    events = note(receiver)
    for price in (0.1, 0.1, 0.2, 0.2):
        assert (await receiver.ingest("POST", PATH, JSON, delivery(price=price))).status == 200
    await receiver.idle()
    assert [(event.price, event.conflict) for event in events if isinstance(event, Delivery)] == [
        (0.1, False),
        (0.2, True),
    ]
    stats = receiver.stats()
    assert (stats.received, stats.accepted, stats.duplicates, stats.conflicts) == (4, 1, 2, 1)
    assert (stats.handled, stats.failed, stats.pending) == (2, 0, 0)


async def test_every_event_of_an_array_is_dispatched(receiver: WebhookReceiver) -> None:
    events = note(receiver)
    body = b"[" + b",".join([delivery("a"), delivery("b"), b'{"eventType":"NEW"}', delivery("a")]) + b"]"
    assert (await receiver.ingest("POST", PATH, JSON, body)).status == 200
    await receiver.idle()
    assert sorted(str(event.message_id) for event in events) == ["None", "a", "b"]


async def test_g8_an_undecodable_event_is_kept_for_on_unknown(receiver: WebhookReceiver) -> None:
    events = note(receiver)
    assert (await receiver.ingest("POST", PATH, JSON, b'{"text":"\\ud83d"}')).status == 200
    await receiver.idle()
    (event,) = events
    assert isinstance(event, UnknownEvent)
    assert event.raw == b'{"text":"\\ud83d"}'


class Broken(MemoryInbox):
    async def put(self, rows: Sequence[Row]) -> Sequence[Verdict]:
        raise OSError(f"disk full near {rows[0].event.raw!r}")


async def test_g8_a_broken_store_is_a_503_and_names_no_content(caplog: pytest.LogCaptureFixture) -> None:
    receiver = WebhookReceiver(auth=UrlToken(TOKEN), inbox=Broken(allow_loss=True))
    with caplog.at_level(logging.DEBUG):
        answer = await receiver.ingest("POST", PATH, JSON, delivery("canary-4711"))
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert "OSError" in caplog.text
    assert "canary" not in caplog.text
    await receiver.aclose()


async def test_one_inbox_does_not_serve_two_receivers(receiver: WebhookReceiver) -> None:
    inbox = MemoryInbox(allow_loss=True)
    first, second = (WebhookReceiver(auth=UrlToken(TOKEN), inbox=inbox) for _ in range(2))
    await first.start()
    with pytest.raises(ConfigurationError):
        await second.start()
    await first.aclose()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(
    method=st.sampled_from(["POST", "GET"]) | st.text(max_size=8),
    path=st.sampled_from([PATH, f"{PATH}/"]) | st.text(max_size=40),
    headers=st.lists(
        st.tuples(st.sampled_from(["Content-Type", "content-length", "X"]) | st.text(), st.text()), max_size=4
    ),
    body=st.binary(max_size=400) | st.sampled_from([b"[" * 100_000, delivery(), b"[" + delivery() + b"]"]),
    peer=st.none() | st.text(),
)
async def test_g8_no_request_raises_or_gets_a_5xx(
    receiver: WebhookReceiver, method: str, path: str, headers: list[tuple[str, str]], body: bytes, peer: str | None
) -> None:
    answer = await receiver.ingest(method, path, headers, body, peer)
    assert answer.status in {200, 404, 405, 415}
    assert (await receiver.ingest("POST", PATH, [("Content-Type", "application/json")], body)).status == 200
