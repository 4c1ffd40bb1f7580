"""A request to a resource, read by its operation, and the refusals any handler may raise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import msgspec

from ...protocol.operations.operation import Operation
from ..answers import Reply

__all__ = ["Handler", "Handlers", "Refused", "ResourceRequest", "Upload", "numeric"]


class Refused(Exception):
    """What is asked cannot be done: answered as an error. The text names fields, never values."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message


class Upload(msgspec.Struct, frozen=True):
    """An uploaded file."""

    file_name: str
    content: bytes
    content_type: str

    def __repr__(self) -> str:
        return f"Upload(<{len(self.content)} bytes>)"


class ResourceRequest(msgspec.Struct, kw_only=True):
    """A request that is well-formed.

    Attributes:
        operation: what is asked.
        path: the values of the path's names, decoded.
        query: an instance of the operation's query struct.
        body: of its body type.
        form: an instance of its form struct.
        upload: the file of a form.
    """

    operation: Operation
    path: Mapping[str, str]
    query: Any = None
    body: Any = None
    form: Any = None
    upload: Upload | None = None

    def __repr__(self) -> str:
        return f"ResourceRequest({self.operation.id})"

    @property
    def file(self) -> Upload:
        """The uploaded file. Raises `Refused` if there is none."""
        if self.upload is None:
            raise Refused(400, "Part `file` is required")
        return self.upload


Handler: TypeAlias = Callable[[ResourceRequest], Reply]
Handlers: TypeAlias = Mapping[Operation, Handler]


def numeric(request: ResourceRequest, name: str = "id") -> int:
    """Read a numeric id of the path. Raises `Refused` with 400 if it is not one (Spring's answer: a guess)."""
    value = request.path[name]
    if not (value.isascii() and value.isdigit() and len(value) < 19):
        raise Refused(400, f"Path parameter `{name}` must be a number")
    return int(value)
