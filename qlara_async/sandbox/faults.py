"""What can go wrong on the way, at will: by probability, or scripted for a destination.

``BEFORE`` and ``AFTER`` are exact: before, the message is not accepted and leaves no trace; after, it is in the
sandbox's record and lives on. Faults strike requests that are otherwise good (authenticated, within the limit, valid),
except `Fault.DROP_UNREAD`, which looks at nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from random import Random
from typing import Literal

import msgspec

from ..errors import ConfigurationError

__all__ = ["Fault", "FaultPlan", "Faults", "Route", "Strike"]

Route = Literal["send", "status", "webhooks", "credit", "platform"]
"""The routes faults can strike."""


class Fault(StrEnum):
    """One way a request can go wrong."""

    LATENCY_BEFORE = "latency_before"
    """Processed only after ``seconds``."""
    LATENCY_AFTER = "latency_after"
    """Processed at once, answered after ``seconds``."""
    ERROR_BEFORE = "error_before"
    """Answered ``status`` without being processed."""
    ERROR_AFTER = "error_after"
    """Processed, then answered ``status``."""
    DROP_UNREAD = "drop_unread"
    """The connection is dropped once the headers are in, whatever the request is; never tied to a destination."""
    DROP_BEFORE = "drop_before"
    """The request is read, and the connection dropped without processing it."""
    DROP_AFTER = "drop_after"
    """Processed, then the connection is dropped without an answer."""
    TRUNCATED = "truncated"
    """Processed and answered as usual, but the connection ends half-way through the body."""
    STORM = "storm"
    """Answered 429 with ``retry_after``, without being processed."""
    STATUS_LATE = "status_late"
    """Processed, but the status API does not know the message for ``seconds``. Combines with any other fault."""
    HANG_BEFORE = "hang_before"
    """Neither processed nor answered; the connection stays open until the sandbox closes."""
    HANG_AFTER = "hang_after"
    """Processed, never answered; the connection stays open until the sandbox closes."""


# These change a request's course without ending it, so they combine with each other and with one ending.
_MODIFIERS = (Fault.LATENCY_BEFORE, Fault.LATENCY_AFTER, Fault.STATUS_LATE)
_ENDINGS = tuple(fault for fault in Fault if fault not in _MODIFIERS and fault is not Fault.DROP_UNREAD)


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """Probabilities of each `Fault`, from 0 to 1, drawn for every request on ``routes``, and what they do.

    At most one of the errors, drops, hangs, ``truncated`` and ``storm`` strikes a request: they sum to at most 1.
    ``latency_before``, ``latency_after`` and ``status_late`` are drawn independently.

    Attributes:
        statuses: the statuses of ``error_before`` and ``error_after``, one of them at random.
        retry_after: seconds told by ``storm``.
        delay: seconds of ``latency_before`` and ``latency_after``.
        late: seconds of ``status_late``.
        routes: where to strike; sending only, unless told otherwise.

    Raises:
        ConfigurationError: a probability is out of range.
    """

    latency_before: float = 0.0
    latency_after: float = 0.0
    error_before: float = 0.0
    error_after: float = 0.0
    drop_unread: float = 0.0
    drop_before: float = 0.0
    drop_after: float = 0.0
    truncated: float = 0.0
    storm: float = 0.0
    status_late: float = 0.0
    hang_before: float = 0.0
    hang_after: float = 0.0
    statuses: tuple[int, ...] = (500, 502, 503)
    retry_after: float = 1.0
    delay: float = 0.05
    late: float = 1.0
    routes: tuple[Route, ...] = ("send",)

    def __post_init__(self) -> None:
        shares = [self.share(fault) for fault in Fault]
        if any(not 0.0 <= share <= 1.0 for share in shares) or sum(self.share(fault) for fault in _ENDINGS) > 1.0:
            raise ConfigurationError(
                "Faults are probabilities from 0 to 1, and those that end a request sum to at most 1"
            )
        if not self.statuses or any(not 400 <= status <= 599 for status in self.statuses):
            raise ConfigurationError("Faults.statuses are HTTP errors, 400 to 599")

    def share(self, fault: Fault) -> float:
        """Return the probability of ``fault``."""
        share: float = getattr(self, fault.value)
        return share


class Strike(msgspec.Struct, kw_only=True):
    """What befalls one request: delays in seconds, and how it ends, if not well."""

    before: float = 0.0
    after: float = 0.0
    hidden: float = 0.0
    ending: Fault | None = None
    status: int = 500
    retry_after: float = 1.0


class _Scripted(msgspec.Struct):
    fault: Fault
    route: Route
    destination: str | None
    times: int
    strike: Strike

    def __repr__(self) -> str:
        return f"_Scripted({self.fault.value!r}, route={self.route!r}, times={self.times})"


class FaultPlan:
    """Decides what befalls each request: scripted faults first, in the order they were scripted, then chance."""

    def __init__(self, faults: Faults, random: Random) -> None:
        self._random = random
        self._script: list[_Scripted] = []
        self.faults = faults

    @property
    def faults(self) -> Faults:
        """The probabilities; may be replaced at any time."""
        return self._faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._faults = faults
        # Most sandboxes leave nothing to chance: their requests must not pay for it.
        self._struck = frozenset(faults.routes) if any(map(faults.share, Fault)) else frozenset()

    def script(
        self,
        destination: str | None,
        fault: Fault,
        *,
        times: int,
        route: Route,
        status: int,
        seconds: float,
        retry_after: float,
    ) -> None:
        """Let ``fault`` strike the next ``times`` requests on ``route`` to ``destination`` (``None``: to anyone).

        Raises:
            ConfigurationError: the fault cannot be tied to a destination there, or a number is out of range.
        """
        if not isinstance(fault, Fault):
            raise ConfigurationError("fault is a Fault, such as Fault.DROP_AFTER")
        if destination is not None and (fault is Fault.DROP_UNREAD or route != "send"):
            raise ConfigurationError("only sends that are read can be told apart by destination: give None")
        if times < 1 or seconds < 0 or retry_after < 0 or not 400 <= status <= 599:
            raise ConfigurationError("times is at least 1, seconds and retry_after at least 0, status 400 to 599")
        strike = Strike(
            ending=fault, status=status, retry_after=retry_after, before=seconds, after=seconds, hidden=seconds
        )
        self._script.append(_Scripted(fault, route, destination, times, strike))

    def unread(self, route: Route) -> bool:
        """Whether to drop this request before it is read."""
        if self._scripted(route, (), (Fault.DROP_UNREAD,)) is not None:
            return True
        return route in self._struck and self._chance(self.faults.drop_unread)

    def strike(self, route: Route, destinations: Sequence[str]) -> Strike | None:
        """Decide what befalls a good request to those destinations; ``None`` for nothing."""
        if not self._script and route not in self._struck:
            return None
        strike = Strike()
        for fault in _MODIFIERS:
            self._modify(strike, fault, route, destinations)
        self._end(strike, route, destinations)
        return strike

    def _modify(self, strike: Strike, fault: Fault, route: Route, destinations: Sequence[str]) -> None:
        faults = self.faults
        scripted = self._scripted(route, destinations, (fault,))
        struck = scripted is not None or (route in self._struck and self._chance(faults.share(fault)))
        if not struck:
            return
        if fault is Fault.LATENCY_BEFORE:
            strike.before = faults.delay if scripted is None else scripted.before
        elif fault is Fault.LATENCY_AFTER:
            strike.after = faults.delay if scripted is None else scripted.after
        else:
            strike.hidden = faults.late if scripted is None else scripted.hidden

    def _end(self, strike: Strike, route: Route, destinations: Sequence[str]) -> None:
        scripted = self._scripted(route, destinations, _ENDINGS)
        if scripted is not None:
            strike.ending, strike.status, strike.retry_after = scripted.ending, scripted.status, scripted.retry_after
            return
        if route not in self._struck:
            return
        strike.ending = self._draw_ending()
        if strike.ending in {Fault.ERROR_BEFORE, Fault.ERROR_AFTER}:
            strike.status = self._random.choice(self.faults.statuses)
        strike.retry_after = self.faults.retry_after

    def _draw_ending(self) -> Fault | None:
        drawn = self._random.random()
        for fault in _ENDINGS:
            drawn -= self.faults.share(fault)
            if drawn < 0:
                return fault
        return None

    def _scripted(self, route: Route, destinations: Sequence[str], kinds: Sequence[Fault]) -> Strike | None:
        for entry in self._script:
            meant = entry.destination is None or entry.destination in destinations
            if meant and entry.fault in kinds and entry.route == route:
                entry.times -= 1
                if entry.times == 0:
                    self._script.remove(entry)
                return entry.strike
        return None

    def _chance(self, share: float) -> bool:
        return share > 0.0 and self._random.random() < share
