"""Signatures of callback requests: HMAC over the raw body.

What is signed is the body as it came or, with a timestamp, its header's value, a full stop and the body. Nothing is
read and written again before it is verified, so that only the bytes that were signed pass. The gateway documents no
signature: this is for a proxy of yours, or for the day it does.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec

from .credentials import Compare, Reason, matching

__all__ = ["Algorithm", "Encoding", "Scheme", "SignatureVerdict", "judge_signature", "make_signature", "read_signature"]

Algorithm: TypeAlias = Literal["sha256", "sha384", "sha512"]
Encoding: TypeAlias = Literal["hex", "base64"]

_SECONDS = re.compile(r"[0-9]{1,12}")  # canonical: int() would also read " +1_000"
_HEX = re.compile(r"[0-9A-Fa-f]+")
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")


class Scheme(msgspec.Struct, frozen=True, kw_only=True):
    """How requests are signed. A request has no say in it.

    Attributes:
        algorithm: the hash.
        encoding: how the digest is written; hex in either case.
        prefix: what stands before it, e.g. ``"sha256="``.
        timed: a timestamp is signed with the body.
        max_age: seconds that a timestamp may lie in the past; ``None``: any number.
        max_future: seconds that it may lie ahead.
    """

    algorithm: Algorithm = "sha256"
    encoding: Encoding = "hex"
    prefix: str = ""
    timed: bool = False
    max_age: float | None = 300.0
    max_future: float = 60.0


class SignatureVerdict(msgspec.Struct, frozen=True):
    """The verdict on a signature.

    Attributes:
        refusal: why it is refused; ``None`` if it is not.
        key: the place of the secret that made it; ``None`` if none did.
        skew: our time less the time signed, in seconds, if one was rightly signed.
    """

    refusal: Reason | None
    key: int | None = None
    skew: float | None = None


def read_signature(scheme: Scheme, value: str | None, timestamp: str | None) -> bytes | Reason:
    """Read a request's signature as far as its head tells: absent, of the wrong form, or worth verifying.

    Args:
        scheme: how requests are signed.
        value: the signature's header, if there is one.
        timestamp: the timestamp's header; not looked at if the scheme has none.

    Returns:
        The encoded digest, in lower case if hex; or why there is none.
    """
    if value is None or (scheme.timed and timestamp is None):
        return Reason.UNAUTHENTICATED
    if scheme.timed and not _SECONDS.fullmatch(timestamp or ""):
        return Reason.MALFORMED
    if not value.startswith(scheme.prefix):
        return Reason.MALFORMED
    given = value[len(scheme.prefix) :]
    form = _HEX if scheme.encoding == "hex" else _BASE64
    if not form.fullmatch(given) or len(given) != _length(scheme):
        return Reason.MALFORMED
    return given.lower().encode() if scheme.encoding == "hex" else given.encode()


def judge_signature(
    scheme: Scheme,
    secrets: Sequence[bytes],
    value: str | None,
    timestamp: str | None,
    body: bytes,
    *,
    now: float,
    compare: Compare = hmac.compare_digest,
) -> SignatureVerdict:
    """Verify a request's signature with every secret, and then its time. Never raises.

    The time is judged last: so a request is called stale only if who has the secret sent it.

    Args:
        scheme: how requests are signed.
        secrets: those that are live.
        value: the signature's header, if there is one.
        timestamp: the timestamp's header, if there is one.
        body: the bytes as they came.
        now: seconds since the epoch.
        compare: for tests.
    """
    given = read_signature(scheme, value, timestamp)
    if isinstance(given, Reason):
        return SignatureVerdict(given)
    signed = timestamp if scheme.timed else None
    expected = [_encoded_digest(scheme, secret, signed, body) for secret in secrets]
    key = matching(given, expected, compare=compare)
    if key is None:
        return SignatureVerdict(Reason.UNAUTHENTICATED)
    if signed is None:
        return SignatureVerdict(None, key)
    skew = now - int(signed)
    return SignatureVerdict(_judge_time(scheme, skew), key, skew)


def make_signature(scheme: Scheme, secret: bytes, timestamp: str | None, body: bytes) -> str:
    """Sign a body as ``judge_signature`` wants it."""
    return scheme.prefix + _encoded_digest(scheme, secret, timestamp, body).decode()


def _judge_time(scheme: Scheme, skew: float) -> Reason | None:
    if scheme.max_age is not None and skew > scheme.max_age:
        return Reason.STALE_TIMESTAMP
    return Reason.FUTURE_TIMESTAMP if -skew > scheme.max_future else None


def _encoded_digest(scheme: Scheme, secret: bytes, timestamp: str | None, body: bytes) -> bytes:
    message = body if timestamp is None else b"%b.%b" % (timestamp.encode(), body)
    digest = hmac.digest(secret, message, scheme.algorithm)
    return digest.hex().encode() if scheme.encoding == "hex" else base64.b64encode(digest)


def _length(scheme: Scheme) -> int:
    size = hashlib.new(scheme.algorithm).digest_size
    return 2 * size if scheme.encoding == "hex" else len(base64.b64encode(bytes(size)))
