"""Answers before they are HTTP: a status and a body, with the error shape of the gateway.

Of the error bodies only that of 429 is documented; the others take its ``{status, error, message}`` (a guess,
and Spring Boot's default).
"""

from __future__ import annotations

from http import HTTPStatus
from math import ceil
from typing import Any

import msgspec

__all__ = ["DROPPED", "Reply", "phrase", "problem", "reply", "too_many"]


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """An answer.

    Attributes:
        status: HTTP status; 0 for no answer at all, the connection dropped.
        body: JSON, empty, or a file.
        content_type: of the body.
        headers: further headers.
        truncated: the connection ends half-way through the body.
    """

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = {}
    truncated: bool = False

    def __repr__(self) -> str:
        return f"Reply({self.status})"


DROPPED = Reply(status=0)


def reply(status: int, payload: Any) -> Reply:
    """Answer with JSON."""
    return Reply(status=status, body=msgspec.json.encode(payload))


def problem(status: int, message: str) -> Reply:
    """Answer with an error."""
    return reply(status, {"status": status, "error": phrase(status), "message": message})


def too_many(retry_after: float) -> Reply:
    """Answer 429, telling whole seconds to wait in the body (documented) and in ``Retry-After`` (FAQ)."""
    seconds = ceil(retry_after)
    payload = {
        "status": 429,
        "error": "Too Many Requests",
        "message": f"Rate limit exceeded. Please retry after {seconds} seconds.",
        "retryAfter": seconds,
    }
    return Reply(status=429, body=msgspec.json.encode(payload), headers={"Retry-After": str(seconds)})


def phrase(status: int) -> str:
    """Say what a status is called."""
    if status == 422:
        # The FAQ's words; what http.HTTPStatus calls it changed with Python 3.13.
        return "Unprocessable Entity"
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
