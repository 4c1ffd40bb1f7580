"""Rows of a bulk source: mappings, such as those of `csv.DictReader`, turned into messages."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec

from ..errors import InvalidMessageError
from ..models.channel import Channel, parse_channel
from ..models.message import Message, Rcs, Sms, WhatsApp, build
from ..models.text import field_name

__all__ = ["Row", "message_from_row", "read_row"]

_MESSAGES = (Sms, Rcs, WhatsApp)
_CLASSES: dict[str, type[Message]] = {Channel.SMS: Sms, Channel.RCS: Rcs, Channel.WHATSAPP: WhatsApp}
_BOOLS = {"true": True, "1": True, "false": False, "0": False}
_INT = re.compile("[0-9]{1,18}")
_HUMP = re.compile("(?<=[a-z0-9])(?=[A-Z])")


class _Group(dict[str, Any]):
    """Fields collected from dotted columns, as opposed to a mapping that the caller gave and keeps."""


class Row(msgspec.Struct, frozen=True, gc=False):
    """An item of a source, read: its message, or the error where it could not be made into one."""

    index: int
    item: object
    message: Message | None
    error: InvalidMessageError | None = None

    def __repr__(self) -> str:
        return f"Row(index={self.index}, error={self.error!r})"

    def __rich_repr__(self) -> Any:
        yield "index", self.index
        yield "error", self.error


def read_row(index: int, item: object, check: Callable[[Message], None] | None = None) -> Row:
    """Read an item; whatever is wrong with it, or what `check` finds, becomes the row's error."""
    try:
        message = message_from_row(item)
        if check is not None:
            check(message)
        return Row(index, item, message)
    except InvalidMessageError as error:
        return Row(index, item, None, error)
    except Exception as error:  # a mapping of the caller's own making
        return Row(index, item, None, InvalidMessageError(f"the row cannot be read ({type(error).__name__})"))


def message_from_row(row: object) -> Message:
    """Make a message of a row.

    A message passes through. A mapping names its ``channel`` (in any case) and the fields of that channel's message, in
    snake_case or in the API's camelCase; empty strings and ``None`` count as absent. Texts become what the field needs:
    ``true``, ``false``, ``1``, ``0`` (any case), digits, ISO 8601 dates with an offset. Dotted columns nest, as
    ``placeholders.nome``, ``template.name``, ``fallback_sms.text``.

    Raises:
        InvalidMessageError: the row is neither message nor mapping, or a column is unknown, missing or wrong. The error
            names the column, never its value.
    """
    if isinstance(row, _MESSAGES):
        return row
    if not isinstance(row, Mapping):
        raise InvalidMessageError(f"a row must be a message or a mapping, not {type(row).__name__}")
    fields = _nested(row)
    return build(_message_class(fields.pop("channel", None)), fields)


def _message_class(channel: object) -> type[Message]:
    if channel is None:
        raise InvalidMessageError("is missing", field="channel")
    cls = _CLASSES.get(parse_channel(channel)) if isinstance(channel, str) else None
    if cls is None:
        raise InvalidMessageError(f"must be one of {', '.join(_CLASSES)}", field="channel")
    return cls


def _nested(row: Mapping[Any, object]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for column, value in row.items():
        if column is None:
            raise InvalidMessageError("the row has more cells than there are columns")
        if not isinstance(column, str):
            raise InvalidMessageError("names of columns must be str")
        if value is None or value == "":
            continue
        path = _path(column)
        _put(fields, path, _converted(path, value))
    return fields


def _put(fields: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    inner = fields
    for name in path[:-1]:
        inner = inner.setdefault(name, _Group())
        if not isinstance(inner, _Group):
            raise InvalidMessageError("is given both whole and by parts", field=field_name(".".join(path)))
    if path[-1] in inner:
        raise InvalidMessageError("is given twice", field=field_name(".".join(path)))
    inner[path[-1]] = value


@lru_cache(maxsize=1024)
def _path(column: str) -> tuple[str, ...]:
    """Split a column's name; names below ``placeholders`` and ``body`` are the caller's own and stay as they are."""
    # A byte order mark ends up in the first column's name if a file is read as plain UTF-8.
    first, *rest = column.strip("\ufeff \t").split(".")
    top = _snake(first)
    if top in {"placeholders", "body"}:
        return (top, *rest)
    return (top, *map(_snake, rest))


def _snake(name: str) -> str:
    return _HUMP.sub("_", name).lower()


def _converted(path: tuple[str, ...], value: object) -> object:
    if not isinstance(value, str):
        return value
    field = ".".join(path)
    convert = _CONVERTERS.get(field)
    return value if convert is None else convert(value.strip(), field)


def _bool(text: str, field: str) -> bool:
    value = _BOOLS.get(text.lower())
    if value is None:
        raise InvalidMessageError("must be true, false, 1 or 0", field=field)
    return value


def _int(text: str, field: str) -> int:
    if not _INT.fullmatch(text):
        raise InvalidMessageError("must be digits", field=field)
    return int(text)


def _date(text: str, field: str) -> datetime:
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        date = None
    # Raised outside of the except block: what was caught holds the value.
    if date is None:
        raise InvalidMessageError("must be a date and time with an offset, in ISO 8601", field=field)
    return date


_CONVERTERS: dict[str, Callable[[str, str], object]] = {
    "simulation": _bool,
    "enable_notification": _bool,
    "skip_rcs_override": _bool,
    "scheduled_date": _date,
    "agent_id": _int,
    "template_id": _int,
    "phone_number_id": _int,
    "max_sms_parts": _int,
    "template": _int,
    "template.id": _int,
    "fallback_rcs": _bool,
    "fallback_rcs.agent_id": _int,
    "fallback_rcs.template_id": _int,
}
