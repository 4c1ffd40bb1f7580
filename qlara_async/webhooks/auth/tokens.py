"""The secret in the URL: the credential that works with the gateway as it is.

The gateway signs nothing and names no sender addresses (``callbacks.md`` §4 found no page that does).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from datetime import datetime

from ...errors import ConfigurationError
from ...models.trust import Trust
from ...protocol.credentials import Reason, matching
from ..exchange import NOT_FOUND, Head
from .check import Auth
from .keys import Keys, named

__all__ = ["UrlToken"]

_MIN_LENGTH = 16
_TOKEN = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@-]+")  # what RFC 3986 §3.3 lets stand in a path segment unencoded


class UrlToken(Auth):
    """Callbacks come to ``<mount>/<token>``, and only there. Anything else gets the 404 of a path that is not there.

    Several tokens may be live at once: callbacks in flight still use the old URL after the registration has moved.
    `last_seen` tells when the old one can go::

        auth = UrlToken({"2026-11": new, "2026-05": old})
        auth.last_seen["2026-05"]                       # None, or the time of the last request that had it

    Args:
        tokens: at least one, or mappings of names to tokens; each at least 16 characters that can stand in a URL's path
            as they are. Take 128 bits of randomness or more: ``UrlToken.generate()``. Tokens without a name are called
            ``#1``, ``#2`` …

    Raises:
        ConfigurationError: no token, or one that is too short or could not be matched.
    """

    trust = Trust.URL_TOKEN
    answer = NOT_FOUND
    owns_path = True

    def __init__(self, *tokens: str | Mapping[str, str]) -> None:
        given = named(tokens)
        for token in given.values():
            if not isinstance(token, str) or len(token) < _MIN_LENGTH:
                raise ConfigurationError(f"a token of UrlToken is a string of at least {_MIN_LENGTH} characters")
            if not _TOKEN.fullmatch(token):
                raise ConfigurationError(
                    "a token of UrlToken holds only characters that stand in a URL's path as they are: "
                    "no slash, no space, nothing to be percent-encoded"
                )
        self._tokens = Keys("UrlToken", given)

    @staticmethod
    def generate() -> str:
        """Make a token of 192 random bits. Keep it: it is part of the URL you register."""
        return secrets.token_urlsafe(24)

    def judge_head(self, head: Head, now: float) -> Reason | None:
        """Compare the path with every token; a trailing slash is allowed."""
        path = head.path
        # Undecodable bytes of a path arrive as surrogates, which plain UTF-8 refuses to encode.
        given = path[1:].removesuffix("/").encode("utf-8", "surrogatepass")
        place = matching(given, self._tokens.values)
        if place is None or not path.startswith("/"):
            return Reason.UNAUTHENTICATED
        self._tokens.note(place, now)
        return None

    @property
    def last_seen(self) -> dict[str, datetime | None]:
        """When a request last had each token, by name, whatever became of the request then."""
        return self._tokens.last_seen

    def __repr__(self) -> str:
        return f"UrlToken(<{len(self._tokens)} redacted>)"
