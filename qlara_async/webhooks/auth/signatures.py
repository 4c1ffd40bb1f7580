"""Signed callbacks, by a proxy of yours or, one day, by the gateway."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import get_args

from ...errors import ConfigurationError
from ...models.trust import Trust
from ...protocol.credentials import Reason
from ...protocol.signatures import Algorithm, Encoding, Scheme, judge_signature, make_signature, read_signature
from ..exchange import Head
from .check import Auth
from .keys import Keys, Secret, named

__all__ = ["HmacSignature"]

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # a token of RFC 9110 §5.6.2
_PREFIX = re.compile(r"[!-+\--~]*")  # visible ASCII, and no comma: it joins repeated headers
_DEFAULT_AGES = (300.0, 60.0)


class HmacSignature(Auth):
    """Requests carry a signature of their body, made with a secret you share with the sender.

    ::

        HmacSignature("X-Signature", secrets=[new, old], prefix="sha256=")

    The HMAC is over the raw bytes of the body; with ``timestamp_header``, over that header's value, a full stop and the
    body. The timestamp is seconds since the epoch, in digits. Each header must be there exactly once.

    The gateway documents no signature, so the names are your proxy's. Without a timestamp a request that was read off
    the wire can be sent again at any time: the inbox drops it as a duplicate for ``dedup_ttl`` (1 h for events without
    an id). A sender that repeats a request byte for byte is refused once it is older than ``max_age``: choose one that
    covers its retries (45 minutes for ``guides/inbound-sms``), or ``None``.

    Args:
        header: the signature's header.
        secrets: one, several, or a mapping of names to them; `str` is taken as UTF-8. Those without a name are called
            ``#1``, ``#2`` …
        algorithm: ``"sha256"``, ``"sha384"`` or ``"sha512"``; a request has no say in it.
        encoding: ``"hex"`` or ``"base64"``.
        prefix: what stands before the digest, e.g. ``"sha256="``.
        timestamp_header: the header of the time of signing, if there is one.
        max_age: seconds that the time may lie in the past; ``None``: any number.
        max_future: seconds that it may lie ahead.
        report_only: count and log what would be refused, and let it pass.

    Raises:
        ConfigurationError: no secret, or settings that do not go together.
    """

    trust = Trust.HMAC

    def __init__(
        self,
        header: str,
        *,
        secrets: Secret | Sequence[Secret] | Mapping[str, Secret],
        algorithm: Algorithm = "sha256",
        encoding: Encoding = "hex",
        prefix: str = "",
        timestamp_header: str | None = None,
        max_age: float | None = _DEFAULT_AGES[0],
        max_future: float = _DEFAULT_AGES[1],
        report_only: bool = False,
    ) -> None:
        _check_form(algorithm, encoding, prefix)
        _check_headers(header, timestamp_header)
        if timestamp_header is None and (max_age, max_future) != _DEFAULT_AGES:
            raise ConfigurationError("max_age and max_future bound the signed time: name its timestamp_header=, too")
        if not (max_age is None or 0 < max_age < float("inf")) or not 0 <= max_future < float("inf"):
            raise ConfigurationError("max_age is above 0 seconds, or None for no bound; max_future is 0 or more")
        self._header = header.lower()
        self._timestamp_header = None if timestamp_header is None else timestamp_header.lower()
        self._scheme = Scheme(
            algorithm=algorithm,
            encoding=encoding,
            prefix=prefix,
            timed=timestamp_header is not None,
            max_age=max_age,
            max_future=max_future,
        )
        several = [secrets] if isinstance(secrets, str | bytes | Mapping) else secrets
        self._keys = Keys("HmacSignature", named(several))
        self._skew: float | None = None
        self.report_only = report_only
        if self._scheme.timed and max_age is not None:
            self.replay_window = max_age + max_future

    def judge_head(self, head: Head, now: float) -> Reason | None:
        """Refuse what has no signature, or none of this form: its body need not be read."""
        found = read_signature(self._scheme, *self._values(head))
        return found if isinstance(found, Reason) else None

    def judge_body(self, head: Head, body: bytes, now: float) -> Reason | None:
        """Verify the signature with every secret, then the time."""
        value, timestamp = self._values(head)
        verdict = judge_signature(self._scheme, self._keys.values, value, timestamp, body, now=now)
        if verdict.key is not None:
            self._keys.note(verdict.key, now)
            self._skew = verdict.skew
        return verdict.refusal

    def sign(self, body: bytes, *, timestamp: int | None = None) -> dict[str, str]:
        """Make the headers that a request with this body needs, with the first secret: for tests, or for the proxy.

        Args:
            body: the body.
            timestamp: seconds since the epoch; needed if there is a ``timestamp_header``, and only then.

        Raises:
            ValueError: a timestamp is missing, or there is no header for it.
        """
        if (timestamp is None) is self._scheme.timed:
            raise ValueError("a timestamp goes with a timestamp_header, and the other way round")
        signed = None if timestamp is None else str(timestamp)
        headers = {self._header: make_signature(self._scheme, self._keys.values[0], signed, body)}
        if self._timestamp_header is not None and signed is not None:
            headers[self._timestamp_header] = signed
        return headers

    @property
    def last_seen(self) -> dict[str, datetime | None]:
        """When each secret last made a signature, by name; of a request too old or ahead of time, too."""
        return self._keys.last_seen

    @property
    def clock_skew(self) -> float | None:
        """Our time less the time signed, in seconds, of the last request that was rightly signed."""
        return self._skew

    def _values(self, head: Head) -> tuple[str | None, str | None]:
        timestamp = None if self._timestamp_header is None else head.joined(self._timestamp_header)
        return head.joined(self._header), timestamp

    def __repr__(self) -> str:
        return f"HmacSignature({self._header!r}, secrets=<{len(self._keys)} redacted>)"


def _check_form(algorithm: str, encoding: str, prefix: str) -> None:
    if algorithm not in get_args(Algorithm):
        raise ConfigurationError(f"algorithm of HmacSignature is one of {', '.join(get_args(Algorithm))}")
    if encoding not in get_args(Encoding):
        raise ConfigurationError(f"encoding of HmacSignature is one of {', '.join(get_args(Encoding))}")
    if not _PREFIX.fullmatch(prefix):
        raise ConfigurationError("prefix of HmacSignature is of visible ASCII characters without a comma")


def _check_headers(header: str, timestamp_header: str | None) -> None:
    for name in (header, timestamp_header):
        if name is not None and not _NAME.fullmatch(name):
            raise ConfigurationError("header and timestamp_header of HmacSignature are names of HTTP headers")
    if timestamp_header is not None and header.lower() == timestamp_header.lower():
        raise ConfigurationError("header and timestamp_header of HmacSignature are two headers")
