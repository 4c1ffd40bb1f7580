"""Redelivery, conflict or news: the judgement of a batch against the store."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from .. import Verdict
from .bulk import padded
from .entries import Incoming

__all__ = ["Adopted", "Known", "judge", "look_up"]

Known: TypeAlias = dict[bytes, list[tuple[int, bytes]]]
"""The events stored under each key: number and digest, the first one first."""

Adopted: TypeAlias = list[tuple[bytes, int]]
"""Digests for events that had none, and those events' numbers."""

_STORED = "SELECT key, id, digest, expires FROM events WHERE key IN (VALUES {rows})"


def look_up(db: sqlite3.Connection, keys: Iterable[bytes], now: float) -> Known:
    """Read what is stored under the keys, and delete what has expired and has no work left.

    Events of one key are remembered for as long as the last of them, or its conflicts would be news again.
    """
    found: Known = {}
    alive: set[bytes] = set()
    for statement, values in padded(_STORED, [(bytearray(key),) for key in dict.fromkeys(keys)]):
        for key, number, digest, expires in db.execute(statement, values):
            found.setdefault(key, []).append((number, digest))
            if expires > now or _has_work(db, number):
                alive.add(key)
    for key in found.keys() - alive:
        db.execute("DELETE FROM events WHERE key = ?", (key,))
        del found[key]
    for stored in found.values():
        stored.sort()
    return found


def judge(rows: Sequence[Incoming], known: Known, next_event: int) -> tuple[list[Verdict], Known, Adopted]:
    """Judge a batch, also against itself.

    An empty digest claims no meaning: it matches any, and yields to the first that does. The new events get the
    numbers from ``next_event`` on.

    Returns:
        The verdicts, what to add to ``known`` if the batch is taken, and the digests to adopt.
    """
    verdicts: list[Verdict] = []
    news: Known = {}
    adopted: Adopted = []
    for row in rows:
        key, digest = row.identity.key, row.identity.digest
        stored = news.get(key) or known.get(key)
        if stored is None:
            news[key] = [(next_event, digest)]
            next_event += 1
            verdicts.append(Verdict.ACCEPTED)
            continue
        first, meaning = stored[0]
        if digest == b"" or any(digest == other for _, other in stored):
            verdicts.append(Verdict.DUPLICATE)
        elif meaning == b"":
            news[key] = [(first, digest), *stored[1:]]
            adopted.append((digest, first))
            verdicts.append(Verdict.DUPLICATE)
        else:
            news[key] = [*stored, (next_event, digest)]
            next_event += 1
            verdicts.append(Verdict.CONFLICT)
    return verdicts, news, adopted


def _has_work(db: sqlite3.Connection, number: int) -> bool:
    ((work,),) = db.execute(
        "SELECT EXISTS (SELECT 1 FROM runs WHERE event = ?) OR EXISTS (SELECT 1 FROM dead WHERE event = ?)",
        (number, number),
    )
    return bool(work)
