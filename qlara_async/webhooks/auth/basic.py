"""User name and password, as a reverse proxy or the URL's ``user:password@`` gives them."""

from __future__ import annotations

from datetime import datetime

from ...errors import ConfigurationError
from ...models.trust import Trust
from ...protocol.credentials import Reason, basic_credentials, matching, read_basic
from ..exchange import UNAUTHORIZED_BASIC, Head
from .check import Auth
from .keys import Keys, checked, named

__all__ = ["BasicAuth"]


class BasicAuth(Auth):
    """Requests carry ``Authorization: Basic …`` (RFC 7617, in UTF-8).

    Whether the gateway sends it for a URL with ``user:password@`` is not documented: try it with ``report_only=True``,
    or let a proxy add it.

    Args:
        username: without a colon.
        password: not blank.
        more: further pairs of user name and password that are live, to change them without a gap. In `last_seen` the
            pairs are called ``#1``, ``#2`` …
        report_only: count and log what would be refused, and let it pass.

    Raises:
        ConfigurationError: a pair that protects nothing, or cannot be sent.
    """

    trust = Trust.BASIC
    answer = UNAUTHORIZED_BASIC

    def __init__(self, username: str, password: str, *more: tuple[str, str], report_only: bool = False) -> None:
        self._keys = Keys("BasicAuth", named(_credentials(*pair) for pair in [(username, password), *more]))
        self.report_only = report_only

    def judge_head(self, head: Head, now: float) -> Reason | None:
        """Compare what the request carries with every pair."""
        value = head.joined("authorization")
        if value is None:
            return Reason.UNAUTHENTICATED
        given = read_basic(value)
        if given is None:
            return Reason.MALFORMED
        place = matching(given, self._keys.values)
        if place is None:
            return Reason.UNAUTHENTICATED
        self._keys.note(place, now)
        return None

    @property
    def last_seen(self) -> dict[str, datetime | None]:
        """When a request last had each pair, by name."""
        return self._keys.last_seen

    def __repr__(self) -> str:
        return f"BasicAuth(<{len(self._keys)} redacted>)"


def _credentials(username: str, password: str) -> bytes:
    checked("BasicAuth", password)
    if not isinstance(username, str) or ":" in username or not (username + password).isprintable():
        raise ConfigurationError(
            "user name and password of BasicAuth are of printable characters, and there is no colon in the name"
        )
    return basic_credentials(username, password)
