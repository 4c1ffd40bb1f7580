"""The secrets of a check: named, several at once, each with the time it was last used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TypeAlias

from ...errors import ConfigurationError

__all__ = ["Keys", "Secret", "checked", "named"]

Secret: TypeAlias = str | bytes


class Keys:
    """Secrets in use at once.

    Args:
        owner: whose they are, for messages.
        secrets: by name.

    Attributes:
        values: the secrets as bytes, in order.

    Raises:
        ConfigurationError: there is none, or one that protects nothing.
    """

    __slots__ = ("_names", "_times", "values")

    def __init__(self, owner: str, secrets: Mapping[str, Secret]) -> None:
        self._names = tuple(secrets)
        self.values = tuple(checked(owner, secret) for secret in secrets.values())
        self._times: list[float | None] = [None] * len(self.values)
        if not self.values:
            raise ConfigurationError(f"{owner} needs at least one secret")
        if len(set(self.values)) < len(self.values):
            raise ConfigurationError(f"a secret of {owner} is there twice")

    def note(self, place: int, now: float) -> None:
        """Note that a secret was used."""
        self._times[place] = now

    @property
    def last_seen(self) -> dict[str, datetime | None]:
        """When each was last used, by name."""
        moments = [None if time is None else datetime.fromtimestamp(time, UTC) for time in self._times]
        return dict(zip(self._names, moments, strict=True))

    def __len__(self) -> int:
        return len(self.values)


def named(given: Iterable[Secret | Mapping[str, Secret]]) -> dict[str, Secret]:
    """Name secrets: those in mappings have names, of the others the n-th is ``#n``.

    Raises:
        ConfigurationError: two have one name.
    """
    secrets: dict[str, Secret] = {}
    for place, item in enumerate(given, start=1):
        for name, secret in item.items() if isinstance(item, Mapping) else [(f"#{place}", item)]:
            if name in secrets:
                raise ConfigurationError(f"two secrets are named {name!r}")
            secrets[name] = secret
    return secrets


def checked(owner: str, secret: Secret) -> bytes:
    """Return a secret as bytes.

    Raises:
        ConfigurationError: it protects nothing, or is not what was meant.
    """
    if not isinstance(secret, str | bytes):
        raise ConfigurationError(f"a secret of {owner} is a str or bytes, not {type(secret).__name__}")
    if not secret.strip():
        raise ConfigurationError(f"a secret of {owner} is empty or blank: is its setting missing?")
    if isinstance(secret, bytes):
        return secret
    if secret != secret.strip():
        raise ConfigurationError(f"a secret of {owner} begins or ends with white space: strip what comes from a file")
    return secret.encode("utf-8", "surrogatepass")
