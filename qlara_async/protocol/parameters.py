"""How paths and queries of the platform API are written and read.

A query is a struct, so that names, types and bounds are said once: the client writes it, the sandbox reads it, and the
OpenAPI document shows it. Absent is ``None``, several values are joined by commas (API pages: ``ids``, ``listIds`` …),
times carry their offset and dates are ``yyyy-MM-dd``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import Any, TypeVar, get_args, get_origin
from urllib.parse import quote

import msgspec

from ..errors import ConfigurationError
from ..models.record import Id

__all__ = ["Comma", "Fields", "batches_of", "checked", "chosen", "expand", "read_query", "several", "write_query"]

S = TypeVar("S", bound=msgspec.Struct)
E = TypeVar("E", bound=StrEnum)


class Fields(msgspec.Struct, kw_only=True, rename="camel", omit_defaults=True):
    """The fields of a query, a form or a body, by the API's names in snake_case. Its ``repr`` shows none of them."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


Comma = tuple[Id, ...]
"""Several values of one parameter."""

# As for status queries: proxies answer 414 from about 8,000 characters.
_MAX_IDS = 200
_MAX_CHARACTERS = 6_000
_TEMPLATE = re.compile(r"\{(\w+)\}")
_QUOTED = re.compile(r"(?<!regex )'[^']*'")
_PLACE = re.compile(r"(?P<what>.*) - at `\$\.(?P<name>\w+)(?P<within>.*)`")


def expand(template: str, values: Mapping[str, Id]) -> str:
    """Fill in the ``{names}`` of a path; a value is always one segment of it, whatever it holds.

    Raises:
        ConfigurationError: a value is empty, ``.`` or ``..`` (RFC 3986 §5.2.4 would remove it), or neither text nor
            a whole number.
    """
    return _TEMPLATE.sub(lambda match: _segment(match.group(1), values[match.group(1)]), template)


def _segment(name: str, value: Id) -> str:
    if type(value) is int:
        return str(value)
    if not isinstance(value, str) or value in {"", ".", ".."}:
        raise ConfigurationError(f"{name} must be a number, or text that is not empty, '.' or '..'")
    return quote(value, safe="")


def checked(given: S) -> S:
    """Return `given` with every field converted to its type, or say which does not fit, without its value.

    Raises:
        ConfigurationError: a field has the wrong type or is out of its bounds; nothing was sent.
    """
    try:
        plain = msgspec.to_builtins(given, builtin_types=(datetime, date))
        return msgspec.convert(plain, type(given))
    except (msgspec.ValidationError, TypeError, ValueError, RecursionError) as error:
        problem = _problem(str(error), type(given)) if isinstance(error, msgspec.ValidationError) else "it is no JSON"
    # Raised out here: what the library says of a bad value quotes it.
    raise ConfigurationError(f"the request is not what the API takes: {problem}")


def several(ids: Iterable[Id] | None) -> tuple[Id, ...] | None:
    """Read the ids somebody gave for one parameter. Raises ``ConfigurationError`` if they are one id."""
    if isinstance(ids, str) or not isinstance(ids, Iterable | None):
        raise ConfigurationError("give several ids, as a list")
    return None if ids is None else tuple(ids)


def chosen(kind: type[E], value: str | None, name: str) -> E | None:
    """Read a word of an enumeration in any case. Raises ``ConfigurationError`` if it is none."""
    if value is None:
        return None
    found = kind.__members__.get(value.upper()) if isinstance(value, str) else None
    if found is None:
        raise ConfigurationError(f"{name} must be one of {', '.join(kind)}")
    return found


def _problem(said: str, kind: type[msgspec.Struct]) -> str:
    """Say what does not fit, by the name that the field has in Python, and without the value that msgspec may quote."""
    found = _PLACE.fullmatch(said)
    if found is None:
        return _QUOTED.sub("…", said)
    field = next((field for field in msgspec.structs.fields(kind) if field.encode_name == found["name"]), None)
    what = _QUOTED.sub("…", found["what"])
    words = () if field is None or found["within"] else _words_of(field.type)
    if words and what.startswith("Invalid enum value"):
        what = f"must be one of {', '.join(words)}"
    return f"{found['name'] if field is None else field.name}{found['within']}: {what}"


def _words_of(kind: Any) -> tuple[str, ...]:
    """The words of an enumeration, alone or in a union."""
    kinds = [one for one in (kind, *get_args(kind)) if isinstance(one, type) and issubclass(one, StrEnum)]
    return tuple(str(word) for word in kinds[0]) if kinds else tuple(w for w in get_args(kind) if isinstance(w, str))


def write_query(query: msgspec.Struct | None) -> str:
    """Write a query, percent-encoded and without the question mark.

    Raises:
        ConfigurationError: a time without an offset, a value out of bounds, or a comma in one of several values.
    """
    if query is None:
        return ""
    query = checked(query)
    pairs = [(field.encode_name, getattr(query, field.name)) for field in msgspec.structs.fields(query)]
    return "&".join(f"{quote(name, safe='')}={_written(name, value)}" for name, value in pairs if value is not None)


def _written(name: str, value: Any) -> str:
    if not isinstance(value, tuple):
        return quote(_text(value), safe="")
    texts = [_text(item) for item in value]
    if not texts or any(not text or "," in text for text in texts):
        # An empty list must not go out as no filter at all: a deletion would then mean everything.
        raise ConfigurationError(f"{name} takes at least one value, each not empty and without a comma")
    return ",".join(quote(text, safe="") for text in texts)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, date) else str(value)


def read_query(kind: type[S], query: Mapping[str, str]) -> S:
    """Read what `write_query` wrote; parameters it does not know are left alone.

    Raises:
        msgspec.ValidationError: a parameter is missing or has a value its type does not take.
    """
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        text = query.get(field.encode_name)
        if text is not None:
            values[field.encode_name] = text.split(",") if _is_several(field.type) else text
    return msgspec.convert(values, kind, strict=False)


def _is_several(kind: Any) -> bool:
    return get_origin(kind) is tuple or any(get_origin(part) is tuple for part in get_args(kind))


def batches_of(ids: Iterable[Id]) -> Iterator[tuple[Id, ...]]:
    """Split ids, each taken once, so that no URL grows too long.

    Raises:
        ConfigurationError: an id is empty, holds a comma, or is neither text nor a whole number.
    """
    batch: list[Id] = []
    size = 0
    for item in dict.fromkeys(several(ids) or ()):
        added = len(quote(_one_of_several(item), safe="")) + 1
        if batch and (len(batch) >= _MAX_IDS or size + added > _MAX_CHARACTERS):
            yield tuple(batch)
            batch, size = [], 0
        batch.append(item)
        size += added
    if batch:
        yield tuple(batch)


def _one_of_several(item: Id) -> str:
    if type(item) is not int and not (isinstance(item, str) and item and "," not in item):
        raise ConfigurationError("an id is a number, or text that is not empty and holds no comma")
    return str(item)
