"""``multipart/form-data`` (RFC 7578) with one file, as the bytes before the file's own and after them.

Made so that an upload can be streamed with a length that is known, and is the same on every attempt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from ..errors import ConfigurationError
from .parameters import checked

__all__ = ["Form", "form_of"]

_CONTENT_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+")
# HTML's encoding of names, which RFC 7578 §2 refers to.
_ESCAPES = {ord('"'): "%22", ord("\r"): "%0D", ord("\n"): "%0A"}


class Form(msgspec.Struct, frozen=True):
    """A form around one file.

    Attributes:
        content_type: of the whole, with its boundary.
        head: the bytes before those of the file.
        tail: the bytes after them.
    """

    content_type: str
    head: bytes
    tail: bytes

    def __repr__(self) -> str:
        return "Form()"


def form_of(fields: msgspec.Struct, *, file_name: str, content_type: str, boundary: str) -> Form:
    """Make the form of an upload; fields that are ``None`` or at their default are left out.

    Args:
        fields: the fields beside the part ``file``.
        file_name: of the file.
        content_type: of the file, ``type/subtype``.
        boundary: what separates the parts: letters and digits that occur in no part, so make it random.

    Raises:
        ConfigurationError: a field does not fit, or `content_type` is none.
    """
    if not isinstance(content_type, str) or not _CONTENT_TYPE.fullmatch(content_type):
        raise ConfigurationError("a content type has the form type/subtype")
    if not isinstance(file_name, str) or not file_name:
        raise ConfigurationError("an upload needs a file name")
    plain: Mapping[str, Any] = msgspec.to_builtins(checked(fields))
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{_escaped(name)}"\r\n\r\n{_text(value)}\r\n'
        for name, value in plain.items()
        if value is not None
    ]
    parts.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{_escaped(file_name)}"\r\n'
        f"Content-Type: {content_type}\r\n\r\n"
    )
    return Form(
        content_type=f"multipart/form-data; boundary={boundary}",
        head="".join(parts).encode("utf-8", "replace"),
        tail=f"\r\n--{boundary}--\r\n".encode(),
    )


def _escaped(name: str) -> str:
    return name.translate(_ESCAPES)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
