"""The places that handlers with a limit have: how many of their runs this process may have out at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from .entries import End, Leased

__all__ = ["Places", "Room"]

Room: TypeAlias = dict[int, int]
"""How many more runs may be leased of each handler that has a limit. Leasing uses it up."""


class Places:
    """Counts the runs that are out, by handler; those without a limit are not counted.

    A run is out from its lease until its end is written, whoever has the lease by then: it ran here.
    """

    def __init__(self) -> None:
        self._limits: dict[int, int] = {}
        self._out: dict[int, set[tuple[int, int]]] = {}

    def learn(self, limits: Mapping[int, int]) -> None:
        """Have these limits from now on."""
        self._limits = dict(limits)
        self._out = {handler: self._out.get(handler, set()) for handler in limits}

    @property
    def limited(self) -> bool:
        """Whether any handler has a limit."""
        return bool(self._limits)

    def left_after(self, ends: Sequence[End]) -> Room:
        """Tell how much room there is once these runs have ended."""
        if not self._limits:
            return {}
        room = {handler: limit - len(self._out[handler]) for handler, limit in self._limits.items()}
        for end in ends:
            handler = end.work.handler_id
            if handler in room and _lease(end.work) in self._out[handler]:
                room[handler] += 1
        return room

    def took(self, works: Iterable[Leased]) -> None:
        """Count these runs out."""
        for work in works:
            if work.handler_id in self._out:
                self._out[work.handler_id].add(_lease(work))

    def returned(self, works: Iterable[Leased]) -> None:
        """Count these runs in again."""
        for work in works:
            if work.handler_id in self._out:
                self._out[work.handler_id].discard(_lease(work))


def _lease(work: Leased) -> tuple[int, int]:
    return work.ticket, work.token
