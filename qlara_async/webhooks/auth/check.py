"""One check of a callback request, and several that must all agree."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime

from ...errors import ConfigurationError
from ...models.trust import Trust
from ...protocol.credentials import Reason
from ..exchange import UNAUTHORIZED, Answer, Head

__all__ = ["AllOf", "Auth"]


class Auth(ABC):
    """A check of requests: by their head, before anything of the body is read, and by their body.

    ``&`` narrows: ``UrlToken(…) & IpAllowList(…)`` lets pass what both let pass. There is no ``|``: two ways in are two
    receivers. To write one of your own, define `judge_head`. A check that raises refuses.

    Attributes:
        trust: what it vouches for when it lets pass.
        answer: what a request that it refuses is answered, whatever the reason.
        owns_path: it judges the path below the mount. Where no check does, only the mount itself is the receiver's.
        report_only: what it would refuse is counted and logged, and let pass; then it vouches for nothing.
        replay_window: seconds for which a request that was read off the wire would pass once more, where that is
            bounded; the inbox must recognise redeliveries for longer.
    """

    trust: Trust = Trust.UNVERIFIED
    answer: Answer = UNAUTHORIZED
    owns_path: bool = False
    report_only: bool = False
    replay_window: float = 0.0

    @abstractmethod
    def judge_head(self, head: Head, now: float) -> Reason | None:
        """Return why the request is refused by its head, ``None`` if it is not; ``now`` is seconds since the epoch."""

    def judge_body(self, head: Head, body: bytes, now: float) -> Reason | None:
        """Return why the request is refused, now that its body is here; ``body`` is the bytes as they came."""
        return None

    @property
    def last_seen(self) -> dict[str, datetime | None]:
        """When each of its secrets was last used, by name; ``None``: not since the check was made."""
        return {}

    @property
    def clock_skew(self) -> float | None:
        """Seconds that our clock was ahead of the signer's, transit included, at the last signed time."""
        return None

    @property
    def checks(self) -> tuple[Auth, ...]:
        """The checks it is made of: itself."""
        return (self,)

    def __and__(self, other: Auth | AllOf) -> AllOf:
        return AllOf(self, other) if isinstance(other, Auth | AllOf) else NotImplemented


class AllOf:
    """Several checks that must all let a request pass: what ``&`` makes.

    Raises:
        ConfigurationError: two of them judge the path.
    """

    def __init__(self, *parts: Auth | AllOf) -> None:
        self.checks: tuple[Auth, ...] = tuple(check for part in parts for check in part.checks)
        if sum(check.owns_path for check in self.checks) > 1:
            raise ConfigurationError("no path is right for two UrlTokens: give both tokens to one, UrlToken(new, old)")

    def __and__(self, other: Auth | AllOf) -> AllOf:
        return AllOf(self, other) if isinstance(other, Auth | AllOf) else NotImplemented

    def __repr__(self) -> str:
        return " & ".join(map(repr, self.checks))
