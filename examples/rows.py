"""Rows of a CSV file, streamed, that know where they stand in the file."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

CSV = Path(__file__).with_name("messages.csv")


class Row(dict[str | None, str | None]):
    """A row as `csv.DictReader` gives it; ``line`` is the line of the file it begins on, from 1."""

    line: int


def read_rows(path: Path) -> Iterator[Row]:
    """Read the file row by row. A quoted cell may hold line breaks, so lines are not rows."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        line = reader.line_num + 1
        for cells in reader:
            if cells:
                row = Row(zip_longest(header, cells))
                row.line = line
                yield row
            line = reader.line_num + 1
