"""Phone numbers in one form, so that they can be compared."""

from __future__ import annotations

import re

from ..errors import InvalidMessageError

__all__ = ["checked_number", "normal_number"]

_PUNCTUATION = re.compile(r"[\s().\-/\u00a0\u2010-\u2015]+")
_E164 = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)


def normal_number(text: object, *, bare: bool = False) -> str | None:
    """Bring an international number into E.164, as ``+393401234567``; ``None`` if it is none.

    Blanks and punctuation are dropped, and ``00`` in front is ``+``.

    Args:
        text: the number.
        bare: whether digits without ``+`` or ``00`` count as international, for what callbacks name. Guess: the API's
            pages show both spellings there. What people type is not read so: it may lack its country.
    """
    if not isinstance(text, str):
        return None
    if _E164.fullmatch(text):
        return text
    number = _PUNCTUATION.sub("", text)
    if number.startswith("00"):
        number = f"+{number[2:]}"
    elif bare and not number.startswith("+"):
        number = f"+{number}"
    return number if _E164.fullmatch(number) else None


def checked_number(text: object) -> str:
    """Bring a number that somebody gave into E.164.

    Raises:
        InvalidMessageError: it is none with a country code.
    """
    number = normal_number(text)
    if number is None:
        raise InvalidMessageError("must be a number with its country code, as +39… or 0039…", field="number")
    return number
