"""Keeping the gateway's words without the customer's: what may be shown of an error answer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

__all__ = ["scrub", "strings_in"]

_MASK = "…"
_MAX_SHOWN = 300
_NUMBER = re.compile(r"\+?\d(?:[\s().-]?\d){4,}")
_SECRET_LIKE = re.compile(r"(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[\w-]{16,}")
_WORD = re.compile(r"\w{2,}")


def scrub(text: str, private: Iterable[str] = ()) -> str:
    """Return `text` fit for logs: no digit runs of five or more, nothing like a key, no word that occurs in `private`.

    An error answer may quote the request back. What the request's own values say is therefore masked word by word, so
    that field names and the gateway's explanation stay readable. Cut to 300 characters.
    """
    text = _NUMBER.sub(_MASK, _SECRET_LIKE.sub(_MASK, text[: 4 * _MAX_SHOWN]))
    words = {word.casefold() for value in private for word in _WORD.findall(value)}
    if words:
        text = _WORD.sub(lambda match: _MASK if match.group().casefold() in words else match.group(), text)
    printable = "".join(character if character.isprintable() else " " for character in text)
    return printable if len(printable) <= _MAX_SHOWN else printable[:_MAX_SHOWN] + _MASK


def strings_in(value: Any) -> Iterator[str]:
    """Yield every string value inside decoded JSON, and numbers as strings; not the keys."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings_in(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)
