"""The messages being tracked, and reports that came before their message was known."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator

from ..loggers import client_logger
from .record import Record, Report

__all__ = ["Book"]

_EARLY_TTL = 600.0
_EARLY_LIMIT = 10_000


class Book:
    """Records by message id, bounded: those that ended longest ago are forgotten first.

    A report whose message is not known is kept for 10 minutes (at most 10,000 of them): a callback may overtake the
    answer to its own send. Times are monotonic, in seconds, except those of records.

    Args:
        keep: seconds for which a message that ended is remembered.
        limit: messages remembered.
    """

    def __init__(self, *, keep: float, limit: int) -> None:
        self._keep = keep
        self._limit = limit
        self._open: OrderedDict[str, Record] = OrderedDict()
        self._ended: OrderedDict[str, Record] = OrderedDict()
        self._owners: dict[str, str] = {}
        self._early: OrderedDict[int, tuple[float, Report]] = OrderedDict()
        self._early_by_id: dict[str, list[int]] = {}
        self._numbers = 0
        self._warned = False

    def __len__(self) -> int:
        return len(self._open) + len(self._ended)

    def __iter__(self) -> Iterator[Record]:
        yield from self._ended.values()
        yield from self._open.values()

    @property
    def unfinished(self) -> int:
        """Messages that have not ended."""
        return len(self._open)

    def get(self, message_id: str) -> Record | None:
        """Return the record of that id, the sender's or the gateway's."""
        message_id = self._owners.get(message_id, message_id)
        return self._open.get(message_id) or self._ended.get(message_id)

    def add(self, record: Record) -> list[Report]:
        """Begin to track a message; return the reports that came before."""
        (self._open if record.ended_at is None else self._ended)[record.message_id] = record
        for gateway_id in record.gateway_ids:
            self._owners[gateway_id] = record.message_id
        return self._overtakers(record.message_id)

    def find(self, report: Report) -> Record | None:
        """Return the record a report is about, by either of its ids."""
        for message_id in (report.customer_message_id, report.message_id):
            if message_id and (record := self.get(message_id)) is not None:
                return record
        return None

    def learn(self, record: Record, report: Report) -> list[Report]:
        """Note an id of the gateway's own, if `report` has one; return reports that came before under that alone."""
        gateway_id = report.message_id
        if not gateway_id or gateway_id == record.message_id or gateway_id in self._owners:
            return []
        self._owners[gateway_id] = record.message_id
        record.gateway_ids = [*record.gateway_ids, gateway_id]
        return self._overtakers(gateway_id)

    def hold(self, report: Report, now: float) -> None:
        """Keep a report whose message is not known, for a while."""
        while self._early and (len(self._early) >= _EARLY_LIMIT or next(iter(self._early.values()))[0] <= now):
            self._drop(next(iter(self._early)))
        self._numbers += 1
        self._early[self._numbers] = (now + _EARLY_TTL, report)
        for message_id in _ids(report):
            self._early_by_id.setdefault(message_id, []).append(self._numbers)

    def end(self, record: Record) -> None:
        """Note that a message has ended."""
        if self._open.pop(record.message_id, None) is not None:
            self._ended[record.message_id] = record

    def forget(
        self, now: float, *, watched: Callable[[Record], bool], untold: Callable[[Record], bool]
    ) -> list[Record]:
        """Forget what is too old or too much, and return it.

        Args:
            now: seconds since the epoch.
            watched: tells which messages somebody waits for: these are kept, and others forgotten in their place.
            untold: tells which have outcomes still to be told: these are kept besides, or others would lose theirs.
        """
        gone = list(self._to_forget(now, watched, untold))
        self._remove(gone)
        lost = sum(record.ended_at is None for record in gone)
        if lost and not self._warned:
            self._warned = True
            client_logger.warning("%d messages are no longer tracked: there are more than %d", lost, self._limit)
        return gone

    def erase(self, digits: str, *, untold: Callable[[Record], bool]) -> tuple[list[Record], int]:
        """Forget messages whose `Record.words` hold these digits, but for those that are still needed.

        Returns:
            What is forgotten; how many are not, because they have not ended or are `untold`.
        """
        named = [record for record in self if any(digits in word for word in record.words)]
        gone = [record for record in named if record.ended_at is not None and not untold(record)]
        self._remove(gone)
        return gone, len(named) - len(gone)

    def _remove(self, records: list[Record]) -> None:
        for record in records:
            self._open.pop(record.message_id, None)
            self._ended.pop(record.message_id, None)
            for gateway_id in record.gateway_ids:
                self._owners.pop(gateway_id, None)

    def _to_forget(
        self, now: float, watched: Callable[[Record], bool], untold: Callable[[Record], bool]
    ) -> Iterator[Record]:
        excess = len(self) - self._limit
        for record in self:  # those that ended come first
            ended_at = math.inf if record.ended_at is None else record.ended_at
            if excess <= 0 and ended_at + self._keep > now:
                return
            if untold(record):
                excess -= 1
            elif not watched(record):
                excess -= 1
                yield record

    def _overtakers(self, message_id: str) -> list[Report]:
        reports = []
        for number in self._early_by_id.get(message_id, [])[:]:
            reports.append(self._early[number][1])
            self._drop(number)
        return reports

    def _drop(self, number: int) -> None:
        _, report = self._early.pop(number)
        for message_id in _ids(report):
            numbers = self._early_by_id[message_id]
            numbers.remove(number)
            if not numbers:
                del self._early_by_id[message_id]


def _ids(report: Report) -> set[str]:
    return {message_id for message_id in (report.message_id, report.customer_message_id) if message_id}
