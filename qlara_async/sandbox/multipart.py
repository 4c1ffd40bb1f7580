"""Reading ``multipart/form-data`` (RFC 7578), independently of what writes it."""

from __future__ import annotations

from email.message import Message
from urllib.parse import unquote

import msgspec

__all__ = ["Part", "read_form"]


class Part(msgspec.Struct, frozen=True):
    """A field of a form; a file if it has a name."""

    name: str
    file_name: str
    content_type: str
    content: bytes

    def __repr__(self) -> str:
        return f"Part(<{len(self.content)} bytes>)"


def read_form(body: bytes, content_type: str) -> list[Part] | None:
    """Read the parts; ``None`` if it is no form, or not a whole one."""
    header = Message()
    header["Content-Type"] = content_type
    boundary = header.get_boundary()
    if header.get_content_type() != "multipart/form-data" or not boundary:
        return None
    delimiter = b"\r\n--" + boundary.encode("utf-8", "replace")
    _, *pieces = (b"\r\n" + body).split(delimiter)
    if not pieces or not pieces[-1].startswith(b"--"):
        return None
    parts = [_part(piece) for piece in pieces[:-1]]
    return [part for part in parts if part is not None]


def _part(piece: bytes) -> Part | None:
    head, separator, content = piece.partition(b"\r\n\r\n")
    if not separator:
        return None
    headers = Message()
    for line in head.decode("utf-8", "replace").split("\r\n"):
        key, _, value = line.partition(":")
        if key.strip():
            headers[key.strip()] = value.strip()
    name = headers.get_param("name", header="Content-Disposition")
    file_name = headers.get_param("filename", header="Content-Disposition")
    if not isinstance(name, str):
        return None
    return Part(
        name=unquote(name),
        file_name=unquote(file_name) if isinstance(file_name, str) else "",
        content_type=headers.get_content_type(),
        content=content,
    )
