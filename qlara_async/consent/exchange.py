"""A suppression list as a CSV file, a chunk at a time. Everything here blocks: it belongs on a thread."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import TypeAlias

import msgspec

from ..models.channel import Channel, parse_channel
from ..protocol.numbers import normal_number

__all__ = ["BadRow", "Entry", "ImportReport", "Reader", "Row", "Writer"]

Row: TypeAlias = tuple[str, str, float, str, str]
"""Number, channel (``""`` is all), seconds since the epoch, reason, source."""

COLUMNS = ("number", "channel", "added_at", "reason", "source")
_NUMBER_NAMES = frozenset({"number", "destination", "phone", "phone_number", "msisdn", "numero", "telefono"})
_CHUNK = 100_000
_SHOWN = 1000
_SEPARATOR = re.compile("[,;\t]")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of a suppression list.

    Attributes:
        number: in E.164.
        channel: the only channel it holds for; ``None`` is all.
        added_at: since when, aware.
        reason: a note.
        source: where it comes from, as ``"inbound"``, ``"manual"``, ``"import"``.
    """

    number: str
    channel: Channel | str | None
    added_at: datetime
    reason: str
    source: str

    def __repr__(self) -> str:
        return f"Entry(channel={self.channel and str(self.channel)!r}, source={self.source!r})"


class BadRow(msgspec.Struct, frozen=True):
    """A row that was passed over.

    Attributes:
        line: its line in the file, from 1.
        reason: what is wrong with it, without its content.
    """

    line: int
    reason: str


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an import came to.

    Attributes:
        rows: rows read, without the header and empty lines.
        added: entries that were not on the list before.
        bad: rows passed over.
        bad_rows: the first thousand of them.
    """

    rows: int
    added: int
    bad: int
    bad_rows: tuple[BadRow, ...]


class Reader:
    """Reads a file; open until it is closed.

    Attributes:
        rows, bad, shown: see `ImportReport`.
    """

    def __init__(self, path: Path, *, now: float, source: str) -> None:
        self._path = path
        self._now = now
        self._source = source
        self._lines: Iterator[Row] | None = None
        self.rows = self.bad = 0
        self.shown: list[BadRow] = []

    def chunk(self) -> list[Row]:
        """Read on; an empty list is the end."""
        if self._lines is None:
            self._file = self._path.open(encoding="utf-8-sig", newline="")
            self._lines = self._read()
        return sorted(islice(self._lines, _CHUNK))  # in the order of the table, which touches each page once

    def close(self) -> None:
        """Close the file."""
        if self._lines is not None:
            self._file.close()

    def _read(self) -> Iterator[Row]:
        first = self._file.readline()
        separator = _SEPARATOR.search(first)
        reader = csv.reader(chain([first], self._file), delimiter=separator[0] if separator else ",")
        names: Sequence[str] = COLUMNS
        try:
            for cells in reader:
                if not cells or not any(map(str.strip, cells)):
                    continue
                if self.rows == 0 and (header := _header(cells)):
                    names = header
                    continue
                self.rows += 1
                row = self._row(dict(zip(names, cells, strict=False)))
                if isinstance(row, str):
                    self._pass_over(reader.line_num, row)
                else:
                    yield row
        except csv.Error:
            self._pass_over(reader.line_num, "the file is no CSV from here on")

    def _row(self, cells: Mapping[str, str]) -> Row | str:
        """Return the row, or what is wrong with it."""
        number = normal_number(cells.get("number"))
        if number is None:
            return "no number with country code, as +39…"
        channel = parse_channel(cells.get("channel", ""))
        if channel and not isinstance(channel, Channel):
            return f"channel is {', '.join(Channel)}, or empty for all"
        added = cells.get("added_at", "").strip()
        try:
            since = _seconds(added) if added else self._now
        except ValueError:
            return "added_at is no ISO 8601 date"
        source = cells.get("source", "").strip() or self._source
        return number, str(channel), since, cells.get("reason", "").strip(), source

    def _pass_over(self, line: int, reason: str) -> None:
        self.bad += 1
        if len(self.shown) < _SHOWN:
            self.shown.append(BadRow(line, reason))


class Writer:
    """Writes a file; open until it is closed.

    Attributes:
        rows: entries written.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._csv = csv.writer(self._file)
        self._csv.writerow(COLUMNS)
        self.rows = 0

    def write(self, entries: Sequence[Entry]) -> None:
        """Write a page."""
        for entry in entries:
            channel = "" if entry.channel is None else str(entry.channel)
            self._csv.writerow((entry.number, channel, entry.added_at.isoformat(), entry.reason, entry.source))
        self.rows += len(entries)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _header(cells: Sequence[str]) -> list[str] | None:
    names = ["number" if name in _NUMBER_NAMES else name for name in (cell.strip().lower() for cell in cells)]
    return names if "number" in names else None


def _seconds(text: str) -> float:
    date = datetime.fromisoformat(text)
    return (date if date.tzinfo is not None else date.replace(tzinfo=UTC)).timestamp()
