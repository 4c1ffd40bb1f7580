"""The keys of a client: one in use, the others standing by, each with its own limiter.

The gateway counts requests per key, and a key can be revoked without affecting others (FAQ). A 401 is the answer of its
key check: what was refused by it was not processed, so another key may repeat it (guarantee G1).

Guess: that all keys of an account see the same messages. A message sent with one key is looked up with the next, and a
control of its own time may have been sent with either: keys of different accounts do not belong into one client.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from ..clock import Clock
from ..errors import ConfigurationError
from ..limiter import Limiter
from ..models.options import Priority, RateLimit
from ..transport import Credentials

__all__ = ["Key", "KeyRing", "all_credentials", "limiters_for"]


class Key:
    """Credentials, and the limiter that requests with them are granted by.

    Attributes:
        position: its number, from 0, in the order in which the client got its keys: the key itself is never shown.
    """

    __slots__ = ("_waits", "credentials", "limiter", "position")

    def __init__(self, credentials: Credentials, limiter: Limiter, position: int) -> None:
        self.credentials = credentials
        self.limiter = limiter
        self.position = position
        self._waits: set[asyncio.Timeout] = set()

    async def grant(self, priority: Priority, patience: float | None) -> float | None:
        """Wait for a grant of the limiter (raises like `Limiter.acquire`); ``None`` once the key is left."""
        wait = asyncio.timeout(None)
        try:
            async with wait:
                self._waits.add(wait)
                return await self.limiter.acquire(priority, patience=patience)
        except TimeoutError:
            return None
        finally:
            self._waits.discard(wait)

    def leave(self) -> None:
        """End all waits: another key is used from now on."""
        now = asyncio.get_running_loop().time() if self._waits else 0.0
        while self._waits:
            self._waits.pop().reschedule(now)


class KeyRing:
    """The key in use, and those that take over in turn when the gateway refuses it.

    A refused key is not used again, unless it is rotated to. The last one is kept: what it is refused for is the
    caller's to know.

    Attributes:
        current: the key in use.
    """

    def __init__(self, credentials: Iterable[Credentials], limiters: Iterable[Limiter]) -> None:
        keys = [Key(one, limiter, n) for n, (one, limiter) in enumerate(zip(credentials, limiters, strict=True))]
        self.current = keys[0]
        self.secrets = tuple(secret for key in keys for secret in key.credentials.secrets)
        """Of all keys there ever were: an answer may quote any of them."""
        self._standing_by = deque(keys[1:])
        self._all = keys

    @property
    def limiters(self) -> list[Limiter]:
        """Those of all keys there ever were, each once."""
        return list(dict.fromkeys(key.limiter for key in self._all))

    async def grant(self, priority: Priority, patience: float | None) -> tuple[Key, float]:
        """Wait for a grant of the key in use, whichever that is by then. Raises like `Limiter.acquire`."""
        while True:
            key = self.current
            granted = await key.grant(priority, patience)
            if granted is None:
                continue
            if key is self.current:
                return key, granted
            key.limiter.give_back(granted)

    def drop(self, key: Key) -> bool:
        """Use a key no more that the gateway has refused; ``False`` if there is no other.

        Many requests may be refused with the same key at once: only the first of them changes the key in use.
        """
        if key is self.current:
            if not self._standing_by:
                return False
            self._use(self._standing_by.popleft())
        elif key in self._standing_by:
            self._standing_by.remove(key)
        return True

    def put_first(self, credentials: Credentials, new_limiter: Callable[[], Limiter]) -> bool:
        """Use another key from now on; ``False`` if it is in use. The one in use until now stands by, first in turn.

        A key that there was before keeps its limiter: the gateway counts what was sent with it then, too.
        """
        if credentials.header[0] != self.current.credentials.header[0]:
            raise ConfigurationError("a client with a user name and password has no keys to rotate")
        if credentials.header == self.current.credentials.header:
            return False
        key = next((key for key in self._all if key.credentials.header == credentials.header), None)
        if key is None:
            key = Key(credentials, new_limiter(), len(self._all))
            self.secrets += credentials.secrets
            self._all.append(key)
        elif key in self._standing_by:
            self._standing_by.remove(key)
        self._standing_by.appendleft(self.current)
        self._use(key)
        return True

    def _use(self, key: Key) -> None:
        left, self.current = self.current, key
        left.leave()


def all_credentials(api_key: str | Sequence[str] | None, basic_auth: tuple[str, str] | None) -> list[Credentials]:
    """Read a client's credentials: one key or several, or a user name and password.

    Raises:
        ConfigurationError: neither or both are given, a key is no key, or one is given twice.
    """
    if (api_key is None) == (basic_auth is None):
        raise ConfigurationError(
            "give either api_key or basic_auth=(username, password); "
            "QlaraClient.from_env() reads the key from QLARA_API_KEY"
        )
    if basic_auth is not None:
        return [Credentials.of_user(*basic_auth)]
    if not isinstance(api_key, Iterable) or isinstance(api_key, bytes):
        raise ConfigurationError(f"api_key is a str, or several, not {type(api_key).__name__}")
    keys = [api_key] if isinstance(api_key, str) else list(api_key)
    if not keys or not all(isinstance(key, str) for key in keys):
        raise ConfigurationError("api_key is a key, or a sequence of at least one")
    credentials = [Credentials.of_key(key) for key in keys]
    if len(set(keys)) < len(keys):
        raise ConfigurationError("the same key is given twice")
    return credentials


def limiters_for(
    count: int, given: Limiter | Sequence[Limiter] | None, rate_limit: RateLimit | None, clock: Clock
) -> list[Limiter]:
    """Give each of `count` keys its limiter: those given, and for the others new ones of the same rate.

    Raises:
        ConfigurationError: a sequence of limiters does not have one for each key.
    """
    if given is None:
        return [Limiter(rate_limit, clock=clock) for _ in range(count)]
    if isinstance(given, Limiter):
        return [given, *(Limiter(given.rate, clock=clock) for _ in range(count - 1))]
    limiters = list(given)
    if len(limiters) != count or not all(isinstance(limiter, Limiter) for limiter in limiters):
        raise ConfigurationError("limiter is that of the first key, or a sequence of one for each key")
    return limiters
