"""What a stored template leaves open: ``{name}`` where it is created, Meta's ``{{1}}`` where it is listed."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from ..errors import InvalidMessageError
from .text import strings

__all__ = ["TRACKED_LINK", "URL", "Variables", "tracked_links", "variables_in"]

TRACKED_LINK = re.compile(r"shortLinkT[1-9][0-9]*")
"""The placeholder of a tracked link; pages show ``shortLinkT1`` only, further numbers are a guess."""

URL = r"^https?://[^\s/?#]+[^\s]*$"
"""A URL that the gateway, or a handset, can fetch."""

# Meta's own braces are double, around a number or, in newer templates, a name.
_VARIABLE = re.compile(r"\{\{\s*([0-9]+|[A-Za-z_][A-Za-z0-9_]*)\s*\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Variables(msgspec.Struct, frozen=True):
    """The variables of a template.

    Attributes:
        names: of those that have one.
        numbered: how many have a number only: the most in any one of its components, as each counts from 1.
    """

    names: frozenset[str] = frozenset()
    numbered: int = 0


def variables_in(components: Iterable[object]) -> Variables:
    """Find the variables in the texts of each component, a text or any JSON value."""
    names: set[str] = set()
    most = 0
    for component in components:
        found = {numbered or named for text in strings(component) for numbered, named in _VARIABLE.findall(text)}
        numbers = {name for name in found if name.isdigit()}
        names |= found - numbers
        most = max(most, len(numbers))
    return Variables(frozenset(names), most)


def tracked_links(*urls: str) -> dict[str, str]:
    """Name URLs as tracked links: ``{"shortLinkT1": the first, "shortLinkT2": the second …}``.

    At a send they are `placeholders`: the gateway puts a short URL that counts clicks in the place of each (API page
    "Send WhatsApp message"; numbers above 1 are a guess). For the definition of a template they are its
    ``placeholder_fields``, whose shape no page shows: a guess, too.

    Raises:
        InvalidMessageError: one is no URL.
    """
    if not all(isinstance(url, str) and re.fullmatch(URL, url) for url in urls):
        raise InvalidMessageError("must be URLs that begin with https:// or http://", field="tracked_links")
    return {f"shortLinkT{number}": url for number, url in enumerate(urls, 1)}
