"""The keys of the sandbox's account: which are in force, what each may do, and how much of its limit it has used."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from secrets import token_hex
from typing import Any

import msgspec

from ..clock import Clock
from ..models.channel import Channel
from ..models.options import RateLimit
from .limits import Meter
from .resources.times import iso

__all__ = ["IssuedKey", "KeyCabinet"]

_ALL = tuple(channel.value for channel in Channel)


class IssuedKey(msgspec.Struct, kw_only=True):
    """A key in force.

    Attributes:
        id: its id.
        value: the key.
        meter: counts its requests.
        operations: the channels it may send on.
        created_at: ISO 8601.
        fields: what else was said at its creation.
    """

    id: int
    value: str
    meter: Meter
    operations: tuple[str, ...]
    created_at: str
    fields: dict[str, Any]

    def may_send(self, channel: Channel) -> bool:
        """Whether it may send on a channel."""
        return channel.value in self.operations

    def told(self) -> dict[str, Any]:
        """What is told of it: the names are guesses. The value is not."""
        return {
            **self.fields,
            "id": self.id,
            "username": "sandbox",
            "operations": self.operations,
            "trafficType": "TRANSACTIONAL",
            "creationDate": self.created_at,
        }

    def __repr__(self) -> str:
        return f"IssuedKey(id={self.id})"


class KeyCabinet:
    """The keys in force.

    Args:
        values: the first ones.
        rate_limit: of each.
        clock: tells when they are made.
    """

    def __init__(self, values: Iterable[str], *, rate_limit: RateLimit | None, clock: Clock) -> None:
        self._rate_limit = rate_limit
        self._clock = clock
        self._ids = count(1)
        self._keys: dict[str, IssuedKey] = {}
        self.replace(values)

    @property
    def values(self) -> tuple[str, ...]:
        """The keys themselves."""
        return tuple(self._keys)

    def all(self) -> list[IssuedKey]:
        """Every key in force."""
        return list(self._keys.values())

    def find(self, value: str) -> IssuedKey | None:
        """Find a key by its value."""
        return self._keys.get(value)

    def replace(self, values: Iterable[str]) -> None:
        """Have these in force and no other; those that were stay the same."""
        self._keys = {value: self._keys.get(value) or self._made(value, _ALL, {}) for value in values}

    def issue(self, operations: tuple[str, ...], fields: dict[str, Any]) -> IssuedKey:
        """Make a key."""
        key = self._made(f"pg_sandbox_{token_hex(16)}", operations, fields)
        self._keys[key.value] = key
        return key

    def revoke(self, key_id: int) -> bool:
        """Take a key out of force; ``False`` if there is none of that id."""
        left = {value: key for value, key in self._keys.items() if key.id != key_id}
        gone = len(left) < len(self._keys)
        self._keys = left
        return gone

    def _made(self, value: str, operations: tuple[str, ...], fields: dict[str, Any]) -> IssuedKey:
        return IssuedKey(
            id=next(self._ids),
            value=value,
            meter=Meter(self._rate_limit),
            operations=operations,
            created_at=iso(self._clock.time()),
            fields=fields,
        )
