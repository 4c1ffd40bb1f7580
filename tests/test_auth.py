"""The receiver's auth: who may deliver, what vouches for an event, and what is told to whom."""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from qlara_async.errors import ConfigurationError
from qlara_async.models.channel import DeliveryStatus
from qlara_async.models.events import Delivery, Event
from qlara_async.testing.clock import VirtualClock
from qlara_async.webhooks import (
    AllOf,
    Auth,
    BasicAuth,
    Head,
    HmacSignature,
    IpAllowList,
    MemoryInbox,
    Reason,
    Trust,
    UrlToken,
    WebhookReceiver,
)
from qlara_async.webhooks.auth.doorkeeper import Doorkeeper
from qlara_async.webhooks.inbox.sqlite.codec import pack, unpack

pytestmark = pytest.mark.anyio

TOKEN, OLD_TOKEN = "new-token-0123456789", "old-token-0123456789"
SECRET, OLD_SECRET = "signing-secret-new", "signing-secret-old"
PASSWORD = "pass:wörd"
BODY = b'{"channel":"SMS","eventType":"DELIVERY","messageId":"m1","statusCode":3}'
TYPE = {"Content-Type": "application/json"}
PEER = "192.0.2.7"
TIMED = HmacSignature("X-Sig", secrets=SECRET, timestamp_header="X-Time")


def basic(username: str = "qlara", password: str = PASSWORD) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()}


def make(auth: Auth | AllOf, clock: VirtualClock | None = None, **options: Any) -> WebhookReceiver:
    return WebhookReceiver(auth=auth, inbox=MemoryInbox(allow_loss=True, clock=clock), clock=clock, **options)


async def post(
    receiver: WebhookReceiver,
    path: str = "",
    headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    *,
    body: bytes = BODY,
    peer: str | None = PEER,
) -> int:
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return (await receiver.ingest("POST", path, [*TYPE.items(), *pairs], body, peer)).status


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the package logged; asyncio's debug mode logs slow turns of the loop, too."""
    return [record.getMessage() for record in caplog.records if record.name == "qlara_async.webhooks"]


@pytest.fixture
async def still() -> VirtualClock:
    return VirtualClock(jump=False)


# Construction

WRONG: list[tuple[Any, str]] = [
    (UrlToken, "UrlToken needs at least one"),
    (lambda: UrlToken({}), "at least one"),
    (lambda: UrlToken({"a": "short"}), "16 characters"),
    (lambda: UrlToken("x" * 15), "16 characters"),
    (lambda: UrlToken("with/a-slash-in-it-0123"), "no slash"),
    (lambda: UrlToken(TOKEN, TOKEN), "twice"),
    (lambda: UrlToken({"a": TOKEN}, {"a": OLD_TOKEN}), "two secrets are named 'a'"),
    (lambda: HmacSignature("X-Sig", secrets=""), "of HmacSignature is empty or blank"),
    (lambda: HmacSignature("X-Sig", secrets=b" \n"), "empty or blank"),
    (lambda: HmacSignature("X-Sig", secrets=[]), "at least one"),
    (lambda: HmacSignature("X-Sig", secrets=[SECRET, " "]), "empty or blank"),
    (lambda: HmacSignature("X-Sig", secrets=[SECRET, SECRET.encode()]), "twice"),
    (lambda: HmacSignature("X-Sig", secrets=SECRET + "\n"), "white space"),
    (lambda: HmacSignature("X-Sig", secrets=[None]), "not NoneType"),  # type: ignore[list-item]
    (lambda: HmacSignature("X-Sig", secrets=SECRET, algorithm="sha1"), "one of sha256"),  # type: ignore[arg-type]
    (lambda: HmacSignature("X-Sig", secrets=SECRET, encoding="url"), "one of hex"),  # type: ignore[arg-type]
    (lambda: HmacSignature("X-Sig", secrets=SECRET, prefix="a,"), "comma"),
    (lambda: HmacSignature("X-Sig", secrets=SECRET, prefix="é"), "visible ASCII"),
    (lambda: HmacSignature("X Sig", secrets=SECRET), "names of HTTP headers"),
    (lambda: HmacSignature("", secrets=SECRET), "names of HTTP headers"),
    (lambda: HmacSignature("X-Sig", secrets=SECRET, timestamp_header="X:Time"), "names of HTTP headers"),
    (lambda: HmacSignature("X-Sig", secrets=SECRET, timestamp_header="x-sig"), "two headers"),
    (lambda: HmacSignature("X-Sig", secrets=SECRET, max_age=10), "timestamp_header="),
    (lambda: HmacSignature("X-Sig", secrets=SECRET, max_age=None), "timestamp_header="),
    (lambda: HmacSignature("X-Sig", secrets=SECRET, max_future=10), "timestamp_header="),
    (lambda: HmacSignature("X-Sig", secrets=SECRET, timestamp_header="X-Time", max_age=0), "above 0"),
    (lambda: HmacSignature("X-Sig", secrets=SECRET, timestamp_header="X-Time", max_age=float("inf")), "no bound"),
    (lambda: HmacSignature("X-Sig", secrets=SECRET, timestamp_header="X-Time", max_age=float("nan")), "no bound"),
    (lambda: HmacSignature("X-Sig", secrets=SECRET, timestamp_header="X-Time", max_future=-1), "0 or more"),
    (lambda: HmacSignature("X-Sig", secrets=SECRET, timestamp_header="X-Time", max_future=float("inf")), "0 or more"),
    (lambda: BasicAuth("qlara", ""), "of BasicAuth is empty or blank"),
    (lambda: BasicAuth("qlara", " \t"), "empty or blank"),
    (lambda: BasicAuth("qlara", PASSWORD, ("qlara", " ")), "empty or blank"),
    (lambda: BasicAuth("ql:ara", PASSWORD), "colon"),
    (lambda: BasicAuth("qlara", "pass\x00word"), "printable"),
    (lambda: BasicAuth("ql\nara", PASSWORD), "printable"),
    (lambda: BasicAuth(None, PASSWORD), "printable"),  # type: ignore[arg-type]
    (lambda: BasicAuth("qlara", PASSWORD, ("qlara", PASSWORD)), "of BasicAuth is there twice"),
    (lambda: IpAllowList([]), "at least one network"),
    (lambda: IpAllowList(["nonsense"]), "no network"),
    (lambda: IpAllowList(["192.0.2.1/24"]), "host bits"),
    (lambda: IpAllowList(["::ffff:192.0.2.0/120"]), "write it as IPv4"),
    (lambda: IpAllowList(["192.0.2.0/24"], trusted_proxies=["0.0.0.0/0"]), "everyone"),
    (lambda: IpAllowList(["192.0.2.0/24"], trusted_proxies=["10.0.0.0/8", "::/0"]), "everyone"),
    (lambda: UrlToken(TOKEN) & UrlToken(OLD_TOKEN), "two UrlTokens"),
    (lambda: UrlToken(TOKEN) & (IpAllowList("192.0.2.0/24") & UrlToken(OLD_TOKEN)), "two UrlTokens"),
]


@pytest.mark.parametrize(("build", "words"), WRONG)
def test_what_protects_nothing_is_refused(build: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as failure:
        build()
    assert not any(secret in str(failure.value) for secret in (TOKEN, OLD_TOKEN, SECRET, OLD_SECRET, PASSWORD))


def test_what_can_be_right_is_taken() -> None:
    HmacSignature("X-Sig", secrets=[b"\x00\xff", SECRET], timestamp_header="X-Time", max_age=None, max_future=0)
    HmacSignature("X-Sig", secrets={"a": SECRET}, algorithm="sha512", encoding="base64", prefix="v1=~!")
    IpAllowList(["::/0", "0.0.0.0/0"], trusted_proxies="10.0.0.1")
    BasicAuth("", "p", ("", "q"))
    HmacSignature("X-Sig", secrets="\ud800 secret")
    HmacSignature("X-Sig", secrets=SECRET, timestamp_header="X-Time", max_age=0.5)
    UrlToken("x" * 16)
    assert len(UrlToken.generate()) == 32


def test_there_is_no_or() -> None:
    with pytest.raises(TypeError):
        UrlToken(TOKEN) | IpAllowList("192.0.2.0/24")  # type: ignore[operator]
    for wrong in ("token", None):
        with pytest.raises(TypeError):
            UrlToken(TOKEN) & wrong  # type: ignore[operator]
        with pytest.raises(TypeError):
            (UrlToken(TOKEN) & TIMED) & wrong  # type: ignore[operator]


def test_g11_no_secret_is_in_a_repr() -> None:
    every = UrlToken(TOKEN) & BasicAuth("qlara", PASSWORD) & TIMED & IpAllowList(PEER, trusted_proxies="10.0.0.1")
    assert repr(every) == (
        "UrlToken(<1 redacted>) & BasicAuth(<1 redacted>) & HmacSignature('x-sig', secrets=<1 redacted>) & "
        "IpAllowList(1 networks, trusted_proxies=1)"
    )


# Each way of proving oneself


async def test_tokens_have_names_and_a_time_last_seen(still: VirtualClock) -> None:
    auth = UrlToken({"2026-11": TOKEN, "2026-05": OLD_TOKEN})
    receiver = make(auth, still)
    assert auth.last_seen == {"2026-11": None, "2026-05": None}
    await still.advance(5)
    assert await post(receiver, f"/{OLD_TOKEN}") == 200
    seen = datetime.fromtimestamp(still.time(), UTC)
    await still.advance(5)
    assert await post(receiver, "/wrong-token-0123456789") == 404
    assert auth.last_seen == {"2026-11": None, "2026-05": seen}
    assert receiver.stats().last_seen == {"url-token 2026-11": None, "url-token 2026-05": seen}
    assert list(UrlToken(TOKEN, {"old": OLD_TOKEN}).last_seen) == ["#1", "old"]
    for path, status in [(f"/{TOKEN}/", 200), (f"/{TOKEN}//", 404), (TOKEN, 404), (f"x{TOKEN}", 404)]:
        assert await post(receiver, path) == status
    await receiver.aclose()


async def test_any_live_secret_signs(still: VirtualClock) -> None:
    auth = HmacSignature("X-Sig", secrets={"new": SECRET, "old": OLD_SECRET}, prefix="sha256=")
    receiver = make(auth, still)
    for place, secret in enumerate((SECRET, OLD_SECRET)):
        headers = HmacSignature("X-Sig", secrets=[secret], prefix="sha256=").sign(BODY)
        assert headers.keys() == {"x-sig"}
        assert await post(receiver, "/"[place:], headers) == 200
    assert None not in auth.last_seen.values()
    stranger = HmacSignature("X-Sig", secrets=["another-secret"], prefix="sha256=").sign(BODY)
    assert await post(receiver, "", stranger) == 401
    assert await post(receiver, "", HmacSignature("X-Sig", secrets=SECRET).sign(BODY)) == 401
    assert receiver.stats().refusals == {"unauthenticated": 1, "malformed": 1}
    assert receiver.stats().clock_skew is None
    await receiver.aclose()


async def test_a_signed_time_is_judged_and_its_skew_kept(still: VirtualClock) -> None:
    auth = HmacSignature("X-Sig", secrets=SECRET, timestamp_header="X-Time", max_age=300, max_future=60)
    receiver = make(auth, still)
    now = int(still.time()) + 1000
    await still.advance(now - still.time())
    for skew, status in [(0, 200), (300, 200), (301, 401), (-60, 200), (-61, 401)]:
        headers = auth.sign(BODY, timestamp=now - skew)
        assert headers.keys() == {"x-sig", "x-time"}
        assert await post(receiver, "", headers) == status
        assert receiver.stats().clock_skew == skew
        assert auth.last_seen["#1"] == datetime.fromtimestamp(now, UTC)
    forged = TIMED.sign(BODY, timestamp=now) | {"X-Time": str(now - 1)}
    assert await post(receiver, "", {**forged, "x-time": str(now - 1)}) == 401
    assert receiver.stats().clock_skew == -61
    assert receiver.stats().refusals == {"stale_timestamp": 1, "future_timestamp": 1, "malformed": 1}
    await receiver.aclose()


def test_signing_wants_a_time_where_one_is_signed() -> None:
    with pytest.raises(ValueError, match="timestamp_header"):
        TIMED.sign(BODY)
    with pytest.raises(ValueError, match="timestamp_header"):
        HmacSignature("X-Sig", secrets=SECRET).sign(BODY, timestamp=1)
    rotated = HmacSignature("X-Sig", secrets=[SECRET, OLD_SECRET])
    assert rotated.sign(BODY) == HmacSignature("X-Sig", secrets=SECRET).sign(BODY)


def test_what_cannot_be_a_signature_is_refused_before_its_body_is_read() -> None:
    digest = "0" * 64
    for headers, reason in [
        ({}, Reason.UNAUTHENTICATED),
        ({"x-sig": digest}, Reason.UNAUTHENTICATED),
        ({"x-sig": "junk", "x-time": "1"}, Reason.MALFORMED),
        ({"x-sig": digest, "x-time": "1"}, None),
    ]:
        assert TIMED.judge_head(Head("POST", "", headers), 0.0) is reason


async def test_the_raw_bytes_are_signed(still: VirtualClock) -> None:
    receiver = make(TIMED, still)
    now = int(still.time())
    headers = TIMED.sign(BODY, timestamp=now)
    respelled = msgspec.json.encode(msgspec.json.decode(BODY) | {})
    for body in (BODY + b"\n", BODY + b" ", b"\xef\xbb\xbf" + BODY, BODY.replace(b":", b": "), b""):
        assert await post(receiver, "", headers, body=body) == 401
    assert respelled == BODY
    assert await post(receiver, "", headers, body=respelled) == 200
    assert receiver.stats().refusals == {"unauthenticated": 5}
    await receiver.aclose()


async def test_any_live_pair_opens(still: VirtualClock) -> None:
    auth = BasicAuth("qlara", PASSWORD, ("qlara", "other"), ("second", "other"))
    receiver = make(auth, still)
    assert await post(receiver, "", basic()) == 200
    assert await post(receiver, "", basic("second", "other")) == 200
    assert [seen is None for seen in auth.last_seen.values()] == [False, True, False]
    assert list(auth.last_seen) == ["#1", "#2", "#3"]
    for wrong in (basic("second", PASSWORD), basic("", ""), basic("qlara", PASSWORD + "x"), {}):
        assert await post(receiver, "", wrong) == 401
    assert await post(receiver, "", {"Authorization": "Bearer x"}) == 401
    assert receiver.stats().refusals == {"unauthenticated": 4, "malformed": 1}
    await receiver.aclose()


async def test_only_listed_addresses_may_call() -> None:
    receiver = make(IpAllowList(["192.0.2.0/24", "2001:db8::1"]))
    for peer in ("192.0.2.7", "::ffff:192.0.2.7", "192.0.2.7:4711", "2001:db8::1", "[2001:db8::1]:4711"):
        assert await post(receiver, peer=peer) == 200
    for stranger in ("198.51.100.1", "2001:db8::2", "", None, "unix:"):
        assert await post(receiver, peer=stranger) == 403
        assert await post(receiver, headers={"X-Forwarded-For": PEER}, peer=stranger) == 403
    assert receiver.stats().refusals == {"foreign_address": 4, "malformed": 6}
    await receiver.aclose()


async def test_only_trusted_proxies_speak_for_others() -> None:
    receiver = make(IpAllowList("192.0.2.0/24", trusted_proxies=["10.0.0.0/8"]))
    xff = "X-Forwarded-For"
    for status, peer, headers in [
        (200, "10.0.0.1", [(xff, PEER)]),
        (200, "10.0.0.1", [(xff, "198.51.100.1"), (xff, PEER)]),
        (200, "10.0.0.1", [(xff.lower(), f"198.51.100.1, {PEER}, 10.9.9.9")]),
        (403, "10.0.0.1", [(xff, PEER), (xff, "198.51.100.1")]),
        (403, "10.0.0.1", [(xff, f"{PEER}, 198.51.100.1")]),
        (403, "10.0.0.1", [(xff, f"{PEER}, garbage")]),
        (403, "10.0.0.1", []),
        (403, "198.51.100.1", [(xff, PEER)]),
        (200, PEER, [(xff, "198.51.100.1")]),
    ]:
        assert await post(receiver, headers=headers, peer=peer) == status
    await receiver.aclose()


# Together


async def test_and_narrows(still: VirtualClock) -> None:
    every = UrlToken(TOKEN) & (IpAllowList(PEER) & BasicAuth("qlara", PASSWORD)) & TIMED
    receiver = make(every, still)
    headers = basic() | TIMED.sign(BODY, timestamp=int(still.time()))
    assert await post(receiver, f"/{TOKEN}", headers) == 200
    for missing in headers:
        assert await post(receiver, f"/{TOKEN}", {name: headers[name] for name in headers if name != missing}) == 404
    assert await post(receiver, f"/{TOKEN}", headers, peer="198.51.100.1") == 404
    assert await post(receiver, f"/{OLD_TOKEN}", headers) == 404
    assert await post(receiver, f"/{TOKEN}", headers, body=BODY + b" ") == 404
    stats = receiver.stats()
    assert stats.refusals == {"unauthenticated": 5, "foreign_address": 1}
    assert list(stats.last_seen) == ["url-token #1", "basic #1", "hmac #1"]
    assert (stats.received, stats.refused) == (1, 6)
    assert stats.clock_skew == pytest.approx(still.time() % 1)
    await receiver.aclose()


ANSWERS: list[tuple[Auth | AllOf, int, str | None]] = [
    (UrlToken(TOKEN), 404, None),
    (TIMED & UrlToken(TOKEN), 404, None),
    (BasicAuth("qlara", PASSWORD), 401, 'Basic realm="callbacks", charset="UTF-8"'),
    (IpAllowList("10.0.0.1") & BasicAuth("qlara", PASSWORD) & TIMED, 401, 'Basic realm="callbacks", charset="UTF-8"'),
    (IpAllowList("10.0.0.1") & TIMED, 401, "Signature"),
    (IpAllowList("10.0.0.1"), 403, None),
]


@pytest.mark.parametrize(("auth", "status", "challenge"), ANSWERS)
async def test_g8_a_stranger_gets_one_answer_whatever_the_reason(
    auth: Auth | AllOf, status: int, challenge: str | None
) -> None:
    receiver = make(auth)
    answers = [
        await receiver.ingest(method, "", [*headers, ("Content-Type", kind)], body, peer)
        for method in ("POST", "GET", "BREW")
        for kind in ("application/json", "text/plain")
        for body in (b"", b"x" * 100)
        for peer in (None, "garbage")
        for headers in ([], [("x-sig", "é"), ("x-time", "1")], [("authorization", "Basic \udce9")])
    ]
    assert {answer.status for answer in answers} == {status}
    assert len({answer.body for answer in answers}) == 1
    assert answers[0].headers.get("WWW-Authenticate") == challenge
    assert (await receiver.ingest("POST", "/elsewhere", TYPE, BODY, PEER)).status == 404
    assert receiver.stats().received == 0
    await receiver.aclose()


async def test_without_a_token_only_the_mount_itself_is_the_receivers() -> None:
    receiver = make(IpAllowList(PEER))
    for path, status in [("", 200), ("/", 200), ("//", 404), ("/x", 404), ("x", 404)]:
        assert await post(receiver, path) == status
    assert receiver.stats().refusals == {"unknown_path": 3}
    await receiver.aclose()


async def test_a_secret_of_one_receiver_opens_no_other() -> None:
    one, other = make(UrlToken(TOKEN)), make(UrlToken(OLD_TOKEN))
    assert await post(one, f"/{TOKEN}") == 200
    assert await post(other, f"/{TOKEN}") == 404
    await one.aclose()
    await other.aclose()


async def test_g8_forged_events_leave_nothing_that_could_silence_the_genuine(still: VirtualClock) -> None:
    receiver = make(TIMED, still)
    events: list[Event] = []

    @receiver.on_delivery()
    async def delivered(event: Delivery) -> None:
        events.append(event)

    now = int(still.time())
    forged = HmacSignature("X-Sig", secrets="another", timestamp_header="X-Time").sign(BODY, timestamp=now)
    for _ in range(50):
        assert await post(receiver, "", forged) == 401
    stats = receiver.stats()
    assert (stats.received, stats.pending, stats.duplicates) == (0, 0, 0)
    assert await post(receiver, "", TIMED.sign(BODY, timestamp=now)) == 200
    await receiver.idle()
    assert [event.conflict for event in events] == [False]
    await receiver.aclose()


class Custom(Auth):
    trust = Trust.BASIC

    def __init__(self, verdict: Reason | Exception | None) -> None:
        self.verdict = verdict

    def judge_head(self, head: Head, now: float) -> Reason | None:
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return self.verdict


async def test_a_check_that_raises_refuses(caplog: pytest.LogCaptureFixture) -> None:
    receiver = make(Custom(RuntimeError(TOKEN)) & IpAllowList(PEER))
    for _ in range(3):
        assert await post(receiver) == 401
    assert receiver.stats().refusals == {"failed": 3}
    assert told(caplog) == [
        "auth Custom raised RuntimeError; more within a minute are not logged",
        "refused a request, failed; more within a minute are not logged",
    ]
    accepting = make(Custom(None))
    assert await post(accepting) == 200
    for each in (receiver, accepting):
        await each.aclose()


# Roll-out


@pytest.mark.parametrize(
    "auth",
    [
        HmacSignature("X-Sig", secrets=SECRET, report_only=True),
        BasicAuth("qlara", PASSWORD, report_only=True),
        IpAllowList("10.0.0.1", report_only=True),
        BasicAuth("qlara", PASSWORD, report_only=True) & IpAllowList("10.0.0.1", report_only=True),
    ],
)
async def test_reporting_alone_is_no_auth(auth: Auth | AllOf) -> None:
    with pytest.raises(ConfigurationError, match="insecure=True"):
        make(auth)
    receiver = make(auth, insecure=True)
    assert await post(receiver, "/anywhere") == 200
    assert sum(receiver.stats().reported.values()) == len(auth.checks)
    await receiver.aclose()


async def test_report_only_counts_and_lets_pass(still: VirtualClock, caplog: pytest.LogCaptureFixture) -> None:
    signature = HmacSignature("X-Sig", secrets=SECRET, report_only=True)
    receiver = make(UrlToken(TOKEN) & signature, still)
    events: list[Event] = []

    @receiver.on_delivery()
    async def delivered(event: Delivery) -> None:
        events.append(event)

    for _ in range(2):
        assert await post(receiver, f"/{TOKEN}") == 200
    assert await post(receiver, f"/{TOKEN}", {"x-sig": "0" * 64}) == 200
    assert await post(receiver, f"/{TOKEN}", signature.sign(BODY)) == 200
    assert await post(receiver, f"/{OLD_TOKEN}", signature.sign(BODY)) == 404
    await receiver.idle()
    stats = receiver.stats()
    assert stats.reported == {"unauthenticated": 3}
    assert stats.refusals == {"unauthenticated": 1}
    assert stats.last_seen["hmac #1"] is not None
    assert [event.trust for event in events] == [Trust.URL_TOKEN]  # what only reports vouches for nothing
    assert told(caplog) == [
        "report only: a request would be refused, unauthenticated; more within a minute are not logged",
        "refused a request, unauthenticated; more within a minute are not logged",
    ]
    await receiver.aclose()


async def test_each_reason_is_logged_once_a_minute(still: VirtualClock, caplog: pytest.LogCaptureFixture) -> None:
    receiver = make(TIMED, still)
    for seconds, logged in [(0, 2), (59.5, 2), (0.5, 4), (0, 4)]:
        await still.advance(seconds)
        await post(receiver)
        await post(receiver, "", {"X-Sig": "é", "X-Time": "1"})
        assert len(told(caplog)) == logged
    await receiver.aclose()


# Trust


TRUSTED: list[tuple[Auth | AllOf, Trust]] = [
    (UrlToken(TOKEN), Trust.URL_TOKEN),
    (BasicAuth("qlara", PASSWORD), Trust.BASIC),
    (IpAllowList(PEER), Trust.IP),
    (TIMED, Trust.HMAC),
    (TIMED & UrlToken(TOKEN), Trust.HMAC),
    (IpAllowList(PEER) & UrlToken(TOKEN), Trust.URL_TOKEN),
    (IpAllowList(PEER) & HmacSignature("X-Other", secrets=SECRET, report_only=True), Trust.IP),
]


@pytest.mark.parametrize(("auth", "trust"), TRUSTED)
async def test_an_event_says_what_vouches_for_it(auth: Auth | AllOf, trust: Trust, still: VirtualClock) -> None:
    receiver = make(auth, still)
    events: list[Event] = []

    @receiver.on_delivery()
    async def delivered(event: Delivery) -> None:
        events.append(event)

    headers = basic() | TIMED.sign(BODY, timestamp=int(still.time()))
    path = f"/{TOKEN}" if any(check.owns_path for check in auth.checks) else ""
    assert await post(receiver, path, headers) == 200
    await receiver.idle()
    assert [event.trust for event in events] == [trust]
    await receiver.aclose()


async def test_an_insecure_receiver_vouches_for_nothing() -> None:
    receiver = WebhookReceiver(inbox=MemoryInbox(allow_loss=True), insecure=True)
    events: list[Event] = []

    @receiver.on_delivery()
    async def delivered(event: Delivery) -> None:
        events.append(event)

    assert await post(receiver, "/any/path") == 200
    await receiver.idle()
    assert [event.trust for event in events] == [Trust.UNVERIFIED]
    await receiver.aclose()


def test_trust_is_stored_and_rows_without_it_are_read() -> None:
    now, status = datetime.now(UTC), DeliveryStatus.DELIVERED
    event = Delivery(channel="SMS", message_id="m", received_at=now, status=status, trust=Trust.HMAC)
    kind, payload = pack(event)
    read = unpack(kind, payload)
    assert read.trust is Trust.HMAC
    fields = msgspec.msgpack.decode(payload)
    for stored, trust in [("from-the-future", Trust.UNVERIFIED), (7, Trust.UNVERIFIED), ("confirmed", Trust.CONFIRMED)]:
        assert unpack(kind, msgspec.msgpack.encode(fields | {"trust": stored})).trust is trust
    del fields["trust"]
    assert unpack(kind, msgspec.msgpack.encode(fields)).trust is Trust.UNVERIFIED


# Replays


def test_an_inbox_that_forgets_before_a_replay_is_stale_is_refused() -> None:
    inbox = MemoryInbox(allow_loss=True, dedup_ttl=359)
    with pytest.raises(ConfigurationError, match=r"360 seconds.*for 359 only"):
        WebhookReceiver(auth=UrlToken(TOKEN) & TIMED, inbox=inbox)
    WebhookReceiver(auth=TIMED, inbox=MemoryInbox(allow_loss=True, dedup_ttl=360))
    WebhookReceiver(auth=HmacSignature("X-Sig", secrets=SECRET), inbox=inbox)
    fleeting = MemoryInbox(allow_loss=True, dedup_ttl=0.5)
    WebhookReceiver(auth=UrlToken(TOKEN), inbox=fleeting)
    WebhookReceiver(insecure=True, inbox=fleeting)


async def test_a_late_retry_passes_without_a_bound_and_is_known_again(still: VirtualClock) -> None:
    auth = HmacSignature("X-Sig", secrets=SECRET, timestamp_header="X-Time", max_age=None)
    receiver = make(auth, still)
    headers = auth.sign(BODY, timestamp=int(still.time()))
    assert await post(receiver, "", headers) == 200
    await still.advance(6 * 3600)
    assert await post(receiver, "", headers) == 200
    assert (receiver.stats().accepted, receiver.stats().duplicates) == (1, 1)
    await receiver.aclose()


# Whatever comes

HEADER = st.binary(max_size=80).map(lambda raw: raw.decode("utf-8", "surrogateescape")) | st.text(
    alphabet=st.characters(), max_size=40
)


@given(
    path=HEADER,
    headers=st.lists(
        st.tuples(st.sampled_from(["authorization", "x-sig", "x-time", "x-forwarded-for"]), HEADER), max_size=6
    ),
    peer=HEADER | st.just("10.0.0.1") | st.none(),
    body=st.binary(max_size=100),
)
def test_g8_auth_refuses_whatever_comes_and_never_raises(
    path: str, headers: list[tuple[str, str]], peer: str | None, body: bytes
) -> None:
    head = Head("POST", path, CIMultiDict(headers), peer)
    plain = Head("POST", path, dict(headers), peer)
    for check in every_check():
        for each in (head, plain):
            reasons = (check.judge_head(each, 0.0), check.judge_body(each, body, 0.0))
            assert any(isinstance(reason, Reason) for reason in reasons)


def every_check() -> Iterator[Auth]:
    yield UrlToken(TOKEN, OLD_TOKEN)
    yield BasicAuth("qlara", PASSWORD)
    yield HmacSignature("X-Sig", secrets=[SECRET, OLD_SECRET], encoding="base64", prefix="v1=")
    yield TIMED
    yield IpAllowList("192.0.2.77", trusted_proxies="10.0.0.0/8")


def test_repeated_headers_are_joined() -> None:
    head = Head("POST", "", CIMultiDict([("X-Sig", "a"), ("x-sig", "b")]))
    assert (head.joined("x-sig"), head.joined("x-time")) == ("a, b", None)
    assert Head("POST", "", {"x-sig": "a"}).joined("x-sig") == "a"
    assert Head("POST", "", {"x-sig": "a"}).joined("x-time") is None


async def test_a_second_value_of_a_header_is_no_way_in(still: VirtualClock) -> None:
    receiver = make(BasicAuth("qlara", PASSWORD) & TIMED, still)
    good = [*basic().items(), *TIMED.sign(BODY, timestamp=int(still.time())).items()]
    assert await post(receiver, "", good) == 200
    for name, value in good:
        for twice in ([*good, (name, value)], [(name, ""), *good], [*good, (name, "")]):
            assert await post(receiver, "", twice) == 401
    await receiver.aclose()


def test_a_doorkeeper_without_anything_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        Doorkeeper(None, insecure=False, clock=VirtualClock())


async def test_g11_logs_hold_no_credential(still: VirtualClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    receiver = make(UrlToken(TOKEN) & BasicAuth("qlara", PASSWORD) & TIMED, still)
    headers = basic() | TIMED.sign(BODY, timestamp=int(still.time()))
    for body in (BODY, BODY + b" "):
        for path in (f"/{TOKEN}", "/guessed-token-0123456789"):
            await post(receiver, path, headers, body=body)
            await post(receiver, path, {name: value[:-2] + "\udce9" for name, value in headers.items()}, body=body)
    text = "".join(str(vars(record)) + record.getMessage() for record in caplog.records)
    canaries = [TOKEN, "guessed", SECRET, PASSWORD, "qlara:", *(value[6:20] for value in headers.values())]
    assert text
    assert [canary for canary in canaries if canary and canary in text] == []
    await receiver.aclose()
