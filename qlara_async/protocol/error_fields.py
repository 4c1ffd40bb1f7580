"""Which field an error answer is about, as far as its body says.

Error bodies of 400 and 422 are undocumented. The shapes read here are guesses from what such servers commonly answer:
Spring's ``errors[].field``, ``{"field": …}``, Bean Validation's ``violations[].propertyPath``, JSON pointers (RFC 6901,
RFC 9457), and texts such as ``destination: must not be blank`` or ``Field `destination` …``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from ..models.message import FallbackRcs, FallbackSms, Rcs, Sms, WhatsApp, WhatsAppTemplate
from ..models.text import field_name

__all__ = ["field_of"]

_NAMES = ("field", "propertyPath", "pointer", "path", "parameter", "name", "loc")
_LISTS = ("errors", "violations", "fieldErrors", "invalidParams", "invalid-params", "details")
_TEXTS = ("message", "detail", "defaultMessage", "reason", "error")
_MARKED = re.compile(r"""\b[Ff]ields? [`'"]([\w.\[\]/-]{1,100})[`'"]""")
_LEADING = re.compile(r"([\w.\[\]-]{1,100}): ")
_SEPARATORS = re.compile(r"[./\[\]#]+")
_HUMP = re.compile("(?<=[a-z0-9])(?=[A-Z])")
_INDEX = re.compile("[0-9]+")

# What SMS Legacy calls differently within its `messages`.
_LEGACY_NAMES = {"destinations": "destination", "ids": "message_id", "scheduling": "scheduled_date"}
_KNOWN = frozenset(
    field.name
    for cls in (Sms, Rcs, WhatsApp, WhatsAppTemplate, FallbackRcs, FallbackSms)
    for field in msgspec.structs.fields(cls)
) | {"destinations", "ids", "scheduling", "messages", "global_id", "max_id_len", "callback_url"}


def field_of(body: Any, private: Iterable[str] = ()) -> str | None:
    """Return the field at fault in snake_case, as ours are named, or ``None`` if the body names none.

    Args:
        body: the decoded answer.
        private: values of the request. A name that occurs among them is a value that strayed, and is not returned.
    """
    if not isinstance(body, dict):
        return None
    values = {word.casefold() for value in private for word in re.findall(r"\w+", value)}
    for name in _candidates(body):
        field = _ours(name)
        if field is not None and not values.intersection(field.casefold().split(".")):
            return field
    return None


def _candidates(body: Mapping[str, Any]) -> Iterator[str]:
    """Yield what may be names, the most explicit first."""
    yield from _named(body)
    for key in _LISTS:
        entries = body.get(key)
        if isinstance(entries, dict):  # one member a field, as in ASP.NET's problem details
            yield from (name for name in entries if isinstance(name, str))
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict):
                yield from _named(entry)
                yield from _told(entry)
            elif isinstance(entry, str):
                yield from _in_text(entry)
    yield from _told(body)


def _named(entry: Mapping[str, Any]) -> Iterator[str]:
    for key in _NAMES:
        value = entry.get(key)
        if key == "path" and "timestamp" in entry:  # Spring's default body: the path of the request
            continue
        if isinstance(value, str) and value:
            yield value
        elif isinstance(value, list):
            yield ".".join(map(str, value))
    if isinstance(entry.get("source"), dict):
        yield from _named(entry["source"])


def _told(entry: Mapping[str, Any]) -> Iterator[str]:
    for key in _TEXTS:
        if isinstance(entry.get(key), str):
            yield from _in_text(entry[key])


def _in_text(text: str) -> Iterator[str]:
    marked = _MARKED.search(text)
    if marked:
        yield marked[1]
    leading = _LEADING.match(text)
    # Many texts begin with a word and a colon: it must be a field that there is.
    if leading and _snake(_SEPARATORS.split(leading[1])[-1] or leading[1]) in _KNOWN:
        yield leading[1]


def _ours(name: str) -> str | None:
    if "/api/" in name:
        return None
    parts = [_snake(part) for part in _SEPARATORS.split(name) if part and not _INDEX.fullmatch(part)]
    if parts[:1] == ["messages"] and len(parts) > 1:
        parts = [_LEGACY_NAMES.get(part, part) for part in parts[1:]]
    return field_name(".".join(parts))


def _snake(name: str) -> str:
    return _HUMP.sub("_", name).lower().replace("-", "_")
