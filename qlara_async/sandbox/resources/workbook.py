"""The first sheet of an xlsx workbook (ECMA-376 part 1, §18), as rows of text: as far as lists of contacts need it."""

from __future__ import annotations

import io
import re
import zlib
from xml.etree import ElementTree
from zipfile import BadZipFile, ZipFile

__all__ = ["workbook_rows"]

_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_SHEET = re.compile(r"xl/worksheets/sheet(\d+)\.xml")
_STRINGS = "xl/sharedStrings.xml"


def workbook_rows(content: bytes) -> list[list[str]]:
    """Read the rows of the first sheet; cells that are left out are ``""``.

    Raises:
        ValueError: it is no workbook.
    """
    try:
        with ZipFile(io.BytesIO(content)) as book:
            numbers = [int(found[1]) for name in book.namelist() if (found := _SHEET.fullmatch(name))]
            sheet = _read(book, f"xl/worksheets/sheet{min(numbers)}.xml")
            strings = [_text(item) for item in _read(book, _STRINGS)] if _STRINGS in book.namelist() else []
        return [_row(row, strings) for row in sheet.iter(f"{_MAIN}row")]
    except (BadZipFile, ElementTree.ParseError, IndexError, OverflowError, RuntimeError, zlib.error) as error:
        raise ValueError("no workbook") from error


def _read(book: ZipFile, name: str) -> ElementTree.Element:
    return ElementTree.fromstring(book.read(name))  # noqa: S314 — a file of the developer's own, on loopback


def _row(row: ElementTree.Element, strings: list[str]) -> list[str]:
    cells: list[str] = []
    for cell in row.iter(f"{_MAIN}c"):
        place = _column(cell.get("r", ""))
        cells += [""] * (place - len(cells))
        cells.append(_value(cell, strings))
    return cells


def _column(reference: str) -> int:
    """The place of a cell in its row, from 0: that of ``C7`` is 2."""
    place = 0
    for letter in reference.rstrip("0123456789"):
        place = place * 26 + ord(letter) - ord("A") + 1
    return place - 1


def _value(cell: ElementTree.Element, strings: list[str]) -> str:
    kind = cell.get("t", "n")
    if kind == "inlineStr":
        return _text(cell)
    value = cell.findtext(f"{_MAIN}v", "")
    if kind == "s":
        return strings[int(value)]
    return str(int(float(value))) if kind == "n" and "E" in value else value  # a telephone number without its +


def _text(item: ElementTree.Element) -> str:
    return "".join(run.text or "" for run in item.iter(f"{_MAIN}t"))
