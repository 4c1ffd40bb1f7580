"""Credentials of a callback request: why one is refused, and how secrets are compared.

Reasons are for counters and logs. An answer never tells them: a stranger gets the same one for all.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TypeAlias

__all__ = ["Compare", "Reason", "basic_credentials", "matching", "read_basic"]

Compare: TypeAlias = Callable[[bytes, bytes], bool]

# RFC 7617 §2 and RFC 9110 §11.4: the scheme in any case, then base64 with its padding.
_BASIC = re.compile(r"[Bb][Aa][Ss][Ii][Cc] +([A-Za-z0-9+/]+={0,2})")


class Reason(StrEnum):
    """Why a request was refused."""

    UNKNOWN_PATH = "unknown_path"
    """Not the mount itself, and no token is expected below it."""

    UNAUTHENTICATED = "unauthenticated"
    """A credential is absent or wrong."""

    MALFORMED = "malformed"
    """A credential is there, but has not the form of one; or an address cannot be read."""

    FOREIGN_ADDRESS = "foreign_address"
    """The sender's address is on no list."""

    STALE_TIMESTAMP = "stale_timestamp"
    """Rightly signed, but too long ago: replayed, retried too late, or clocks differ."""

    FUTURE_TIMESTAMP = "future_timestamp"
    """Rightly signed, but ahead of our time: clocks differ."""

    FAILED = "failed"
    """The check raised; only one that is not ours can."""


def matching(given: bytes, keys: Sequence[bytes], *, compare: Compare = hmac.compare_digest) -> int | None:
    """Find the key that equals what was given.

    Every key is compared, in constant time, also after one matched: how long it takes tells the lengths at most.

    Returns:
        The place of the key among ``keys``, ``None`` if none matches.
    """
    found = None
    for place, key in enumerate(keys):
        if compare(given, key):
            found = place
    return found


def basic_credentials(username: str, password: str) -> bytes:
    """Write a user name and a password as ``Authorization: Basic`` has them (RFC 7617 §2, in UTF-8)."""
    return base64.b64encode(f"{username}:{password}".encode())


def read_basic(value: str) -> bytes | None:
    """Read the credentials of an ``Authorization`` header, still in base64; ``None`` if it has no such form."""
    found = _BASIC.fullmatch(value)
    return None if found is None else found[1].encode()
