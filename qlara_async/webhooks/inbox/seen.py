"""The identities an inbox has seen."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import TypeAlias

from ...protocol.identity import Identity, TtlClass
from . import Row, Verdict

__all__ = ["News", "Seen"]

_ACCEPTED = Verdict.ACCEPTED  # Python 3.11 is slow to find an enum's member
_Entry: TypeAlias = tuple[float, tuple[bytes, ...]]  # when it expires, and the digests, the first one first
News: TypeAlias = dict[bytes, tuple[TtlClass, _Entry]]
"""What there is to remember of a batch, by key."""


class Seen:
    """Identities seen, bounded by age and number, oldest first in each class of life time.

    A key has the digests of all its events, which count each against the bound and expire together, or a conflict
    would be news again. An empty digest claims no meaning: it matches any, and yields to the first that does.

    Args:
        ttl: seconds for which an identity of each class is remembered.
        max_remembered: identities remembered; the oldest of the larger class is forgotten first.
    """

    __slots__ = ("_classes", "_held", "_max", "_next_expiry", "_ttl")

    def __init__(self, ttl: dict[TtlClass, float], max_remembered: int) -> None:
        self._ttl = ttl
        self._max = max_remembered
        self._next_expiry = math.inf
        self._held = 0
        self._classes: dict[TtlClass, OrderedDict[bytes, _Entry]] = {"full": OrderedDict(), "short": OrderedDict()}

    def judge(self, rows: Sequence[Row], now: float) -> tuple[list[Verdict], News]:
        """Judge a batch, also against itself, and return what there is to remember if it is taken."""
        if now >= self._next_expiry:
            self._expire(now)
        news: News = {}
        verdicts = []
        for row in rows:
            verdicts.append(self._judge(row.identity, now, news))
        return verdicts, news

    def remember(self, news: News) -> None:
        """Keep the news of a batch."""
        for key, (ttl, entry) in news.items():
            seen = self._classes[ttl]
            before = seen.get(key)
            seen[key] = entry
            self._held += len(entry[1])
            if before is not None:
                self._held -= len(before[1])
                if before[0] != entry[0]:
                    seen.move_to_end(key)
            self._next_expiry = min(self._next_expiry, entry[0])
        while self._held > self._max:
            self._forget_oldest(max(self._classes.values(), key=len))

    def _judge(self, identity: Identity, now: float, news: News) -> Verdict:
        key, digest, ttl = identity.key, identity.digest, identity.ttl
        seen = self._classes[ttl]
        known = news[key][1] if key in news else seen.get(key)
        if known is None:
            news[key] = (ttl, (now + self._ttl[ttl], (digest,)))
            return _ACCEPTED
        expires, digests = known
        if digest == b"" or digest in digests:
            return Verdict.DUPLICATE
        if digests[0] == b"":
            news[key] = (ttl, (expires, (digest, *digests[1:])))
            return Verdict.DUPLICATE
        news[key] = (ttl, (now + self._ttl[ttl], (*digests, digest)))
        return Verdict.CONFLICT

    def _expire(self, now: float) -> None:
        self._next_expiry = math.inf
        for seen in self._classes.values():
            while seen and next(iter(seen.values()))[0] <= now:
                self._forget_oldest(seen)
            if seen:
                self._next_expiry = min(self._next_expiry, next(iter(seen.values()))[0])

    def _forget_oldest(self, seen: OrderedDict[bytes, _Entry]) -> None:
        _, (_, digests) = seen.popitem(last=False)
        self._held -= len(digests)
