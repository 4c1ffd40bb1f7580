"""A callback request and its answer, free of any web framework, and the answers there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import msgspec
from multidict import MultiMapping

__all__ = [
    "ACCEPTED",
    "ACCEPTED_FORM",
    "BAD_REQUEST",
    "FORBIDDEN",
    "METHOD_NOT_ALLOWED",
    "NOT_FOUND",
    "REQUEST_TIMEOUT",
    "TOO_LARGE",
    "UNAUTHORIZED",
    "UNAUTHORIZED_BASIC",
    "UNAVAILABLE",
    "UNSUPPORTED",
    "Answer",
    "Head",
    "Headers",
]

Headers: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]

RETRY_AFTER_SECONDS = 5


class Head(msgspec.Struct, frozen=True):
    """A request before its body.

    Attributes:
        method: the HTTP method.
        path: the decoded path below the mount, e.g. ``"/<token>"``; ``""`` or ``"/"`` is the mount itself.
        headers: to be asked by lower-case name.
        peer: the address of the other end of the connection, if known.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    peer: str | None = None

    def joined(self, name: str) -> str | None:
        """Return a header's value, ``None`` if it is absent.

        Repeated ones are joined by commas (RFC 9110 §5.3), so that none hides behind another.
        """
        if name not in self.headers:
            return None
        return ", ".join(self.headers.getall(name)) if isinstance(self.headers, MultiMapping) else self.headers[name]

    def __repr__(self) -> str:
        return f"Head(method={self.method!r})"


class Answer(msgspec.Struct, frozen=True):
    """What to answer a callback request.

    Attributes:
        status: the HTTP status.
        headers: the headers that matter; length and date are the server's business.
        body: the bytes, constant for each status.
    """

    status: int
    headers: dict[str, str] = {}
    body: bytes = b""


def _plain(status: int, reason: str, **headers: str) -> Answer:
    # Worded and typed like aiohttp's own errors: a stranger cannot tell the receiver from a path that is not there.
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, {"Content-Type": "text/plain; charset=utf-8", **named}, f"{status}: {reason}".encode())


ACCEPTED = Answer(200)
"""The event is stored, or was before."""

ACCEPTED_FORM = Answer(200, {"Content-Type": "text/plain; charset=utf-8"}, b"+OK")
"""The same to a dedicated number's callback, which wants exactly ``+OK`` (``guides/inbound-sms``)."""

BAD_REQUEST = _plain(400, "Bad Request")
# A challenge is mandatory with 401 (RFC 9110 §11.6.1), also where there is no scheme to name.
UNAUTHORIZED = _plain(401, "Unauthorized", WWW_Authenticate="Signature")
UNAUTHORIZED_BASIC = _plain(401, "Unauthorized", WWW_Authenticate='Basic realm="callbacks", charset="UTF-8"')
FORBIDDEN = _plain(403, "Forbidden")
NOT_FOUND = _plain(404, "Not Found")
METHOD_NOT_ALLOWED = _plain(405, "Method Not Allowed", Allow="POST")
REQUEST_TIMEOUT = _plain(408, "Request Timeout")
TOO_LARGE = _plain(413, "Request Entity Too Large")
UNSUPPORTED = _plain(415, "Unsupported Media Type")
UNAVAILABLE = _plain(503, "Service Unavailable", Retry_After=str(RETRY_AFTER_SECONDS))
