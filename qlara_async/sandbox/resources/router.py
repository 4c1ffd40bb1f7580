"""From a method and a path to the operation and its handler; from raw bytes to what the operation takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import unquote

import msgspec

from ...protocol.operations.operation import Operation
from ...protocol.parameters import read_query
from ..answers import Reply, problem
from ..multipart import read_form
from .request import Handler, Handlers, Refused, ResourceRequest, Upload

__all__ = ["Match", "ResourceRouter"]

_PREFIX = "/api"


class Match(msgspec.Struct, frozen=True):
    """An operation, who handles it, and the values of its path's names."""

    operation: Operation
    handler: Handler
    path: dict[str, str]

    def __repr__(self) -> str:
        return f"Match({self.operation.id})"


class ResourceRouter:
    """Finds what is asked for. A fixed segment goes before a ``{name}``, as in Spring."""

    def __init__(self, areas: Iterable[Handlers]) -> None:
        self._routes: dict[int, list[tuple[tuple[str, ...], Operation, Handler]]] = {}
        for operation, handler in (item for area in areas for item in area.items()):
            segments = tuple(f"{_PREFIX}{operation.path}".split("/"))
            self._routes.setdefault(len(segments), []).append((segments, operation, handler))
        for routes in self._routes.values():
            routes.sort(key=lambda route: [segment.startswith("{") for segment in route[0]])

    @property
    def operations(self) -> list[Operation]:
        """All that is served."""
        return [operation for routes in self._routes.values() for _, operation, _ in routes]

    def find(self, method: str, raw_path: str) -> Match | tuple[str, ...]:
        """Find what handles a request, or the methods its path takes: none if there is no such path."""
        asked = raw_path.split("/")
        methods = []
        for segments, operation, handler in self._routes.get(len(asked), ()):
            path = _values(segments, asked)
            if path is None:
                continue
            if operation.method == method:
                return Match(operation, handler, path)
            methods.append(operation.method)
        return tuple(methods)


def _values(segments: Iterable[str], asked: Iterable[str]) -> dict[str, str] | None:
    values = {}
    for segment, given in zip(segments, asked, strict=True):
        if segment.startswith("{"):
            if not given:
                return None
            values[segment[1:-1]] = unquote(given)
        elif segment != given:
            return None
    return values


def read_request(match: Match, query: Mapping[str, str], body: bytes, content_type: str) -> ResourceRequest | Reply:
    """Read a request as its operation takes it, or say what is wrong with it."""
    operation = match.operation
    try:
        form, upload = _read_form(operation, body, content_type)
        return ResourceRequest(
            operation=operation,
            path=match.path,
            query=None if operation.query is None else read_query(operation.query, query),
            body=None if operation.body is None else msgspec.json.decode(body, type=operation.body),
            form=form,
            upload=upload,
        )
    except Refused as refused:
        return problem(refused.status, refused.message)
    except msgspec.ValidationError as error:
        return problem(400, str(error))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return problem(400, "The body is not valid JSON")


def _read_form(operation: Operation, body: bytes, content_type: str) -> tuple[msgspec.Struct | None, Upload | None]:
    if operation.form is None:
        return None, None
    parts = read_form(body, content_type)
    if parts is None:
        raise Refused(415, "The body must be multipart/form-data")
    files = [part for part in parts if part.name == "file"]
    fields = {part.name: part.content.decode("utf-8", "replace") for part in parts if part.name != "file"}
    upload = Upload(files[0].file_name, files[0].content, files[0].content_type) if files else None
    return read_query(operation.form, fields), upload
