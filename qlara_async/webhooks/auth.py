"""Who may deliver callbacks.

The gateway signs nothing and names no sender addresses (``callbacks.md`` §4 found no page that does), so the secret is
the URL itself.
"""

from __future__ import annotations

import hmac
import re
import secrets
from typing import Protocol, runtime_checkable

from ..errors import ConfigurationError
from .exchange import Head

__all__ = ["Auth", "UrlToken"]

_MIN_LENGTH = 16
_TOKEN = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@-]+")  # what RFC 3986 §3.3 lets stand in a path segment unencoded


@runtime_checkable
class Auth(Protocol):
    """A check of a request's head. It judges the path, too: a path it does not know is a stranger's."""

    def permits(self, head: Head) -> bool:
        """Tell whether the request may be read. Never raises; anything unreadable is a no."""


class UrlToken:
    """Callbacks come to ``<mount>/<token>``, and only there.

    Several tokens may be live at once: callbacks in flight still use the old URL after the registration has moved.

    Args:
        tokens: at least one; each at least 16 characters that can stand in a URL's path as they are. Take 128 bits of
            randomness or more: ``UrlToken.generate()``.

    Raises:
        ConfigurationError: no token, or one that is too short or could not be matched.
    """

    __slots__ = ("_tokens",)

    def __init__(self, *tokens: str) -> None:
        if not tokens:
            raise ConfigurationError("UrlToken needs at least one token")
        for token in tokens:
            if not isinstance(token, str) or len(token) < _MIN_LENGTH:
                raise ConfigurationError(f"a token of UrlToken is a string of at least {_MIN_LENGTH} characters")
            if not _TOKEN.fullmatch(token):
                raise ConfigurationError(
                    "a token of UrlToken holds only characters that stand in a URL's path as they are: "
                    "no slash, no space, nothing to be percent-encoded"
                )
        self._tokens = tuple(token.encode() for token in tokens)

    @staticmethod
    def generate() -> str:
        """Make a token of 192 random bits. Keep it: it is part of the URL you register."""
        return secrets.token_urlsafe(24)

    def permits(self, head: Head) -> bool:
        """Compare in constant time with every token; a trailing slash is allowed."""
        # Undecodable bytes of a path arrive as surrogates, which plain UTF-8 refuses to encode.
        given = head.path[1:].removesuffix("/").encode("utf-8", "surrogatepass")
        permitted = False
        for token in self._tokens:
            permitted |= hmac.compare_digest(given, token)
        return permitted and head.path.startswith("/")

    def __repr__(self) -> str:
        return f"UrlToken(<{len(self._tokens)} redacted>)"


class AnyoneMay:
    """No check at all: what ``insecure=True`` stands for."""

    __slots__ = ()

    def permits(self, head: Head) -> bool:
        """Say yes."""
        return True
