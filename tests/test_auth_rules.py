"""The verdicts on requests as pure rules: secrets, signatures and addresses, whatever the bytes."""

from __future__ import annotations

import base64
import hashlib
import hmac
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlara_async.models.trust import Trust
from qlara_async.protocol.addresses import caller_address, read_address, within
from qlara_async.protocol.credentials import Reason, basic_credentials, matching, read_basic
from qlara_async.protocol.signatures import (
    Algorithm,
    Encoding,
    Scheme,
    SignatureVerdict,
    judge_signature,
    make_signature,
    read_signature,
)

KEYS = (b"first-key", b"second-key", b"third-key")
BODIES = [b"", b"{}", b'{"a":"\\u001b"}', b"\xef\xbb\xbf{}", b"{}\r\n", b"{}\n", b"\xff\xfe", "👋".encode()]
NOW = 1_800_000_000.5
WIRE = st.binary().map(lambda raw: raw.decode("utf-8", "surrogateescape"))
TEXTS = WIRE | st.text(alphabet=st.characters())


class Spy:
    def __init__(self) -> None:
        self.calls: list[tuple[bytes, bytes]] = []

    def __call__(self, given: bytes, key: bytes) -> bool:
        assert type(given) is bytes
        assert type(key) is bytes
        self.calls.append((given, key))
        return hmac.compare_digest(given, key)


# Secrets


@pytest.mark.parametrize(("given", "place"), [(b"first-key", 0), (b"second-key", 1), (b"third-key", 2), (b"x", None)])
def test_every_key_is_compared_whichever_matches(given: bytes, place: int | None) -> None:
    spy = Spy()
    assert matching(given, KEYS, compare=spy) == place
    assert spy.calls == [(given, key) for key in KEYS]
    assert matching(given, KEYS) == place
    assert matching(given, ()) is None


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters=":")), st.text())
def test_basic_credentials_are_read_as_they_are_written(username: str, password: str) -> None:
    written = basic_credentials(username, password)
    assert base64.b64decode(written).decode() == f"{username}:{password}"
    for scheme in ("Basic ", "basic ", "BASIC   "):
        assert read_basic(scheme + written.decode()) == written


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Basic",
        "Basic ",
        "Basic\tYTpi",
        "BasicYTpi",
        "Bearer YTpi",
        "xBasic YTpi",
        "Basic YTpi, Basic YTpi",
        "Basic YTpi ",
        "Basic Y*pi",
        "Basic YTpi===",
        "Basic =",
        "Basic YTpi\n",
        "Basic YT-_",
        "Basic \udce9",
        "Basic é",
    ],
)
def test_what_is_no_basic_header_is_not_read(value: str) -> None:
    assert read_basic(value) is None


@given(TEXTS)
def test_reading_basic_never_raises(value: str) -> None:
    assert read_basic(value) is None
    read_basic("Basic " + value)


def test_trust_has_an_order() -> None:
    ordered = ["unverified", "ip", "url-token", "basic", "hmac", "confirmed"]
    assert [trust.value for trust in Trust] == ordered
    assert [trust.strength for trust in Trust] == [0, 1, 2, 3, 4, 5]
    for place, trust in enumerate(Trust):
        assert [trust.at_least(other) for other in ordered] == [other <= place for other in range(6)]
    with pytest.raises(ValueError, match="sure"):
        Trust.HMAC.at_least("sure")


# Signatures


def verdict(
    scheme: Scheme, value: str | None, timestamp: str | None, body: bytes, now: float = NOW
) -> SignatureVerdict:
    spy = Spy()
    found = judge_signature(scheme, KEYS, value, timestamp, body, now=now, compare=spy)
    assert len(spy.calls) in (0, len(KEYS))
    assert found == judge_signature(scheme, KEYS, value, timestamp, body, now=now)
    return found


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
@pytest.mark.parametrize("prefix", ["", "sha256="])
@pytest.mark.parametrize("timed", [False, True])
def test_what_is_signed_is_documented(algorithm: Algorithm, encoding: Encoding, prefix: str, timed: bool) -> None:
    scheme = Scheme(algorithm=algorithm, encoding=encoding, prefix=prefix, timed=timed)
    timestamp = "1800000000" if timed else None
    for body in BODIES:
        message = b"1800000000." + body if timed else body
        for place, key in enumerate(KEYS):
            digest = hmac.new(key, message, getattr(hashlib, algorithm)).digest()
            text = prefix + (digest.hex() if encoding == "hex" else base64.b64encode(digest).decode())
            assert make_signature(scheme, key, timestamp, body) == text
            skew = 0.5 if timed else None
            assert verdict(scheme, text, timestamp, body) == SignatureVerdict(None, place, skew)
            if encoding == "hex":
                upper = prefix + text.removeprefix(prefix).upper()
                assert verdict(scheme, upper, timestamp, body).key == place
            elif text.lower() != text:
                swapped = verdict(scheme, prefix + text.removeprefix(prefix).swapcase(), timestamp, body)
                assert swapped == SignatureVerdict(Reason.UNAUTHENTICATED)


def test_published_vectors_pass() -> None:
    # RFC 4231 §4.3, test case 2
    scheme, body = Scheme(), b"what do ya want for nothing?"
    signature = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert judge_signature(scheme, [b"Jefe"], signature, None, body, now=0) == SignatureVerdict(None, 0)


@given(st.binary(max_size=80), st.integers(0, 600), st.integers(1, 255))
def test_any_changed_byte_flips_the_verdict(body: bytes, place: int, change: int) -> None:
    scheme = Scheme(timed=True)
    signed = b"1800000000" + body
    value = make_signature(scheme, KEYS[0], "1800000000", body)
    assert verdict(scheme, value, "1800000000", body).refusal is None
    changed = bytearray(signed)
    changed[place % len(signed)] ^= change
    timestamp, changed_body = changed[:10].decode("latin-1"), bytes(changed[10:])
    assert verdict(scheme, value, timestamp, changed_body).refusal in (Reason.UNAUTHENTICATED, Reason.MALFORMED)
    for other in (body + b"\n", b" " + body, body + body + b"x"):
        assert verdict(scheme, value, "1800000000", other).refusal is Reason.UNAUTHENTICATED


GOOD = make_signature(Scheme(prefix="v1="), KEYS[0], None, b"{}")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, Reason.UNAUTHENTICATED),
        ("v1=" + "0" * 64, Reason.UNAUTHENTICATED),
        ("", Reason.MALFORMED),
        ("v1=", Reason.MALFORMED),
        (GOOD[3:], Reason.MALFORMED),
        ("v2=" + GOOD[3:], Reason.MALFORMED),
        ("V1=" + GOOD[3:], Reason.MALFORMED),
        ("sha1=" + "0" * 40, Reason.MALFORMED),
        (GOOD + "0", Reason.MALFORMED),
        (GOOD[:-1], Reason.MALFORMED),
        (GOOD[:-1] + "g", Reason.MALFORMED),
        (GOOD[:-1] + "\udce9", Reason.MALFORMED),
        (GOOD[:-1] + "\uff11", Reason.MALFORMED),
        (GOOD + "\n", Reason.MALFORMED),
        (" " + GOOD, Reason.MALFORMED),
        (f"{GOOD}, {GOOD}", Reason.MALFORMED),
        (f"v1={base64.b64encode(bytes(32)).decode()}", Reason.MALFORMED),
    ],
)
def test_a_signature_of_another_form_is_malformed(value: str | None, reason: Reason) -> None:
    scheme = Scheme(prefix="v1=")
    assert verdict(scheme, value, None, b"{}") == SignatureVerdict(reason)
    assert verdict(scheme, GOOD, None, b"{}") == SignatureVerdict(None, 0)


@pytest.mark.parametrize("size", [0, 43, 45, 48])
def test_base64_has_one_length_and_one_alphabet(size: int) -> None:
    scheme = Scheme(encoding="base64")
    assert read_signature(scheme, "A" * size, None) is Reason.MALFORMED
    assert read_signature(scheme, "A" * 42 + "-=", None) is Reason.MALFORMED
    assert read_signature(scheme, "=" * 44, None) is Reason.MALFORMED
    assert read_signature(scheme, "A" * 43 + "=", None) == b"A" * 43 + b"="


@pytest.mark.parametrize(
    "timestamp",
    [
        "",
        " 1800000000",
        "1800000000 ",
        "+1800000000",
        "-1",
        "1_800_000_000",
        "1800000000.0",
        "\uff11\uff18",
        "1e9",
        "abc",
        "1800000000\n",
        "\udce9",
        "1" * 13,
        "1800000000, 1800000000",
        "0x1",
    ],
)
def test_a_timestamp_is_canonical_digits(timestamp: str) -> None:
    scheme = Scheme(timed=True)
    value = make_signature(scheme, KEYS[0], "1800000000", b"{}")
    assert verdict(scheme, value, timestamp, b"{}") == SignatureVerdict(Reason.MALFORMED)


def test_schemes_and_verdicts_are_fixed() -> None:
    with pytest.raises(AttributeError):
        Scheme().timed = True  # type: ignore[misc]
    with pytest.raises(AttributeError):
        SignatureVerdict(None).key = 0  # type: ignore[misc]
    with pytest.raises(TypeError):
        Scheme("sha256")  # type: ignore[call-arg]


def test_a_timed_signature_needs_its_timestamp() -> None:
    scheme = Scheme(timed=True)
    untimed = make_signature(scheme, KEYS[0], None, b"{}")
    assert verdict(scheme, untimed, None, b"{}") == SignatureVerdict(Reason.UNAUTHENTICATED)
    # Where no timestamp is wanted, one is not looked at.
    assert verdict(Scheme(), untimed, "nonsense", b"{}") == SignatureVerdict(None, 0)
    assert verdict(scheme, make_signature(scheme, KEYS[0], "9" * 12, b""), "9" * 12, b"").refusal is not None


@pytest.mark.parametrize(
    ("skew", "reason"),
    [
        (0, None),
        (300, None),
        (300.5, Reason.STALE_TIMESTAMP),
        (301, Reason.STALE_TIMESTAMP),
        (1e9, Reason.STALE_TIMESTAMP),
        (-60, None),
        (-60.5, Reason.FUTURE_TIMESTAMP),
        (-61, Reason.FUTURE_TIMESTAMP),
        (-315360000, Reason.FUTURE_TIMESTAMP),
    ],
)
def test_a_signed_time_has_bounds_on_both_sides(skew: float, reason: Reason | None) -> None:
    scheme = Scheme(timed=True)
    value = make_signature(scheme, KEYS[1], "1800000000", b"{}")
    now = 1_800_000_000 + skew
    assert verdict(scheme, value, "1800000000", b"{}", now) == SignatureVerdict(reason, 1, skew)
    # A forged one is not called stale.
    assert verdict(scheme, "0" * 64, "1800000000", b"{}", now) == SignatureVerdict(Reason.UNAUTHENTICATED)
    unbounded = Scheme(timed=True, max_age=None)
    expected = reason if reason is Reason.FUTURE_TIMESTAMP else None
    assert verdict(unbounded, value, "1800000000", b"{}", now).refusal is expected


@given(TEXTS | st.none(), TEXTS | st.none(), st.binary(), st.booleans(), st.sampled_from(["hex", "base64"]))
def test_g8_judging_a_signature_never_raises(
    value: str | None, timestamp: str | None, body: bytes, timed: bool, encoding: Encoding
) -> None:
    scheme = Scheme(timed=timed, encoding=encoding, prefix="v1=")
    for given_value in (value, f"v1={value}"):
        assert verdict(scheme, given_value, timestamp, body).refusal in (Reason.UNAUTHENTICATED, Reason.MALFORMED)


# Addresses


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:443", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:443", "192.0.2.1"),
        ("::ffff:c000:201", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:65535", "2001:db8::1"),
        ("::1", "::1"),
        ("::", "::"),
    ],
)
def test_addresses_are_read_with_ports_and_mapped(text: str, address: str) -> None:
    read = read_address(text)
    assert isinstance(read, IPv4Address | IPv6Address)
    assert str(read) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "unknown",
        "_hidden",
        "192.0.2",
        "192.0.2.256",
        "0300.0.2.1",
        "192.0.2.1:",
        "192.0.2.1:123456",
        "192.0.2.1:x",
        "[192.0.2.1]:80",
        "2001:db8::1::",
        "[2001:db8::1",
        "2001:db8::1]",
        "[]:80",
        "[2001:db8::1]:",
        "[2001:db8::1]x",
        "\uff1192.0.2.1",
        " 192.0.2.1",
        "192.0.2.1\n",
        "192.0.2.1,192.0.2.2",
        "\udce9",
        "3221225985",
        "0x7f.1",
        ":80",
    ],
)
def test_what_is_no_address_is_not_read(text: str) -> None:
    assert read_address(text) is None


PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "caller"),
    [
        ("192.0.2.1", None, "192.0.2.1"),
        ("192.0.2.1", "198.51.100.9", "192.0.2.1"),
        ("192.0.2.1", "", "192.0.2.1"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "198.51.100.9", "198.51.100.9"),
        ("10.0.0.1", "203.0.113.5, 198.51.100.9", "198.51.100.9"),
        ("10.0.0.1", "203.0.113.5,\t198.51.100.9 , 10.2.3.4", "198.51.100.9"),
        ("::ffff:10.0.0.1", "198.51.100.9:5000", "198.51.100.9"),
        ("fd00::1", "[2001:db8::1]:5000, ::ffff:10.0.0.2", "2001:db8::1"),
        ("10.0.0.1", "10.0.0.2, 10.0.0.3", "10.0.0.2"),
        ("10.0.0.1", "garbage, 198.51.100.9", "198.51.100.9"),
        ("10.0.0.1", "198.51.100.9, garbage", None),
        ("10.0.0.1", "198.51.100.9,", None),
        ("10.0.0.1", "198.51.100.9X", None),
        ("10.0.0.1", "198.51.100.9\xa0", None),
        ("10.0.0.1", "", None),
        ("", "198.51.100.9", None),
        (None, "198.51.100.9", None),
        (None, None, None),
        ("/run/app.sock", "198.51.100.9", None),
    ],
)
def test_a_caller_is_found_from_right_to_left(peer: str | None, forwarded: str | None, caller: str | None) -> None:
    found = caller_address(peer, forwarded, PROXIES)
    assert (None if found is None else str(found)) == caller


@given(TEXTS, st.ip_addresses())
def test_what_a_caller_claims_changes_nothing(claim: str, caller: IPv4Address | IPv6Address) -> None:
    honest = caller_address("10.0.0.1", str(caller), PROXIES)
    if honest is not None and not within(honest, PROXIES):
        assert caller_address("10.0.0.1", f"{claim}, {caller}", PROXIES) == honest
        assert caller_address(str(caller), claim, PROXIES) == honest
    caller_address(claim, claim, PROXIES)
    caller_address("10.0.0.1", claim, PROXIES)


def test_networks_are_of_one_version() -> None:
    networks = (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32"))
    for text, inside in [("192.0.2.255", True), ("192.0.3.0", False), ("2001:db8::9", True), ("2001:db9::", False)]:
        address = read_address(text)
        assert address is not None
        assert within(address, networks) is inside
        assert not within(address, ())
