"""Rows of a CSV file, streamed, that know where they stand in the file."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

CSV = Path(__file__).with_name("messages.csv")


class UnreadableFileError(Exception):
    """The file cannot be read as CSV in UTF-8. The text is one line."""


class Row(dict[str | None, str | None]):
    """A row as `csv.DictReader` gives it; ``line`` is the line of the file it begins on, from 1."""

    line: int


def read_rows(path: Path) -> Iterator[Row]:
    """Read the file row by row. A quoted cell may hold line breaks, so lines are not rows.

    Raises:
        UnreadableFileError: the file is missing, not in UTF-8, or its columns are separated by semicolons.
    """
    try:
        yield from _rows(path)
    except OSError as error:
        raise UnreadableFileError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UnreadableFileError(f"{path}: is not in UTF-8: save it in that encoding") from error
    except csv.Error as error:
        raise UnreadableFileError(f"{path}: {error}") from error


def _rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        if len(header) == 1 and ";" in header[0]:
            raise UnreadableFileError(f"{path}: has one column with ';' in its name: separate columns with commas")
        line = reader.line_num + 1
        for cells in reader:
            if cells:
                row = Row(zip_longest(header, cells))
                row.line = line
                yield row
            line = reader.line_num + 1
