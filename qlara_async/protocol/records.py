"""Reading what the platform API answers. Its schemas are hardly documented: what fits is taken, nothing is refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from ..errors import UndecodableAnswerError
from ..models.record import Record
from .responses import Response

__all__ = ["json_of", "read_record", "record_of", "told_of"]

R = TypeVar("R", bound=Record)

_Reader = Callable[[Any], Any]


def json_of(response: Response) -> Any:
    """Decode the body of an answer; ``None`` if it is empty.

    Raises:
        UndecodableAnswerError: the body is not JSON.
    """
    if not response.body.strip():
        return None
    try:
        return msgspec.json.decode(response.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        text = "the answer is not JSON"
    raise UndecodableAnswerError(text, status=response.status, body=response.body)


def record_of(response: Response, kind: type[R]) -> R:
    """Read an answer that is one object, be it wrapped in another (``{"data": {…}}``).

    Raises:
        UndecodableAnswerError: the body is no JSON object.
    """
    value = json_of(response)
    if not isinstance(value, dict):
        raise UndecodableAnswerError("the answer is not a JSON object", status=response.status, body=response.body)
    return read_record(kind, _unwrapped(kind, value))


def told_of(response: Response, kind: type[R]) -> R:
    """Read what the answer to a change tells of the thing changed: an object, a bare id, or nothing.

    What changes are answered with is undocumented for the most part. They are done, so nothing here is an error.
    """
    try:
        value = msgspec.json.decode(response.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        value = None
    if isinstance(value, dict):
        return read_record(kind, _unwrapped(kind, value))
    return read_record(kind, {"id": value} if type(value) in {int, str} else {})


def _unwrapped(kind: type[Record], value: dict[str, Any]) -> dict[str, Any]:
    inner = [member for member in value.values() if isinstance(member, dict)]
    if len(inner) != 1 or any(name in value for names, _, _ in _plan(kind).values() for name in names):
        return value
    return inner[0]


def read_record(kind: type[R], value: dict[str, Any]) -> R:
    """Read an object. A field that is missing or does not fit is its default; ``raw`` has the object."""
    fields: dict[str, Any] = {"raw": value}
    for attribute, (names, read, default) in _plan(kind).items():
        for name in names:
            if value.get(name) is not None:
                found = read(value[name])
                fields[attribute] = default if found is None else found
                break
    return kind(**fields)


@cache
def _plan(kind: type[Record]) -> dict[str, tuple[tuple[str, ...], _Reader, Any]]:
    hints = get_type_hints(kind, include_extras=True)
    plan = {}
    for field in msgspec.structs.fields(kind):
        if field.name == "raw":
            continue
        names = (field.encode_name, *kind.aliases.get(field.name, ()))
        default = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
        plan[field.name] = (names, _reader(hints[field.name]), default)
    return plan


def _reader(hint: Any) -> _Reader:
    for part in (hint, *get_args(hint)):
        if isinstance(part, type) and issubclass(part, Record):
            return _record_reader(part)
        if get_origin(part) is tuple and isinstance(get_args(part)[0], type) and issubclass(get_args(part)[0], Record):
            return _records_reader(get_args(part)[0])
    return _plain_reader(hint)


def _record_reader(kind: type[R]) -> _Reader:
    return lambda value: read_record(kind, value) if isinstance(value, dict) else None


def _records_reader(kind: type[R]) -> _Reader:
    def read(value: Any) -> tuple[R, ...] | None:
        if not isinstance(value, list):
            return None
        return tuple(read_record(kind, item) for item in value if isinstance(item, dict))

    return read


def _plain_reader(hint: Any) -> _Reader:
    def read(value: Any) -> Any:
        # A number where text is meant (a phone number, an id) is that text.
        for attempt in (value, str(value) if type(value) in {int, float} else None):
            try:
                return msgspec.convert(attempt, hint, strict=False)
            except (msgspec.ValidationError, RecursionError):
                continue
        return None

    return read
