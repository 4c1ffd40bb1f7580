"""What vouches for an event."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Trust"]


class Trust(StrEnum):
    """The strongest of what vouches for an event, weakest first.

    The gateway signs nothing (``callbacks.md`` §4), so a callback is a hint unless something of yours stands in front
    of the receiver: ask for ``CONFIRMED`` before what cannot be undone.
    """

    UNVERIFIED = "unverified"
    """Nothing: the receiver is ``insecure=True``, or the event was stored by a version that did not keep this."""

    IP = "ip"
    """The sender's address."""

    URL_TOKEN = "url-token"  # noqa: S105
    """The secret in the callback URL: whoever saw the URL could have sent it."""

    BASIC = "basic"
    """User name and password in a header: whoever saw the request could have sent it."""

    HMAC = "hmac"
    """A signature over the body: only who has the secret could have sent it."""

    CONFIRMED = "confirmed"
    """The gateway's own answer: the event was polled, or compared with what the status endpoint says."""

    @property
    def strength(self) -> int:
        """Its place in the order, from 0."""
        return _STRENGTH[self]

    def at_least(self, other: Trust | str) -> bool:
        """Tell whether this is as strong as another, or stronger.

        Raises ``ValueError`` if ``other`` is a string that names none.
        """
        return self.strength >= Trust(other).strength


_STRENGTH = {trust: place for place, trust in enumerate(Trust)}
