"""The OpenAPI 3.1 document of what we model, made from the operations and their structs."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import msgspec

from .._version import __version__
from ..protocol.operations.operation import Operation
from ..protocol.operations.registry import OPERATIONS
from .answers import phrase

__all__ = ["document"]

_REFERENCE = "#/components/schemas/{name}"
_NAMES = re.compile(r"\{(\w+)\}")
# Any operation may answer these (guide on authentication, FAQ).
_ALWAYS = (401, 403, 429)


class Error(msgspec.Struct, rename="camel"):
    """An error. Only the body of 429 is documented; the others are taken to have its form."""

    status: int
    error: str
    message: str
    retry_after: int | None = None


@cache
def document() -> dict[str, Any]:
    """Make the document of all operations. Servers end in ``/api``, as base URLs do."""
    kinds = _kinds()
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_REFERENCE)
    known = dict(zip(map(repr, kinds), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, known, components)
    for name in _inlined():
        del components[name]
    for schema in components.values():
        schema.get("properties", {}).pop("raw", None)  # our own addition to every record
    found = {
        "openapi": "3.1.0",
        "info": {
            "title": "Qlara, as qlara_async models it",
            "version": __version__,
            "description": "Made from the public documentation; not the vendor's document. `x-guess` says what no "
            "page shows, `x-source` which page shows the rest.",
        },
        "servers": [{"url": "/api"}],
        "security": [{"key": []}, {"basic": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
                "basic": {"type": "http", "scheme": "basic"},
            },
        },
    }
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(found))
    return plain


def _kinds() -> list[Any]:
    found: dict[str, Any] = {repr(Error): Error}
    for operation in OPERATIONS:
        for kind in (operation.query, operation.body, operation.form, operation.answer):
            if kind is not None and kind is not bytes:
                found[repr(kind)] = kind
    return list(found.values())


def _inlined() -> set[str]:
    """Name the structs that are shown field by field, as parameters."""
    return {kind.__name__ for operation in OPERATIONS for kind in (operation.query, operation.form) if kind is not None}


def _operation(operation: Operation, known: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [operation.id.partition(".")[0]],
        "x-source": operation.source,
        "parameters": _parameters(operation, components),
        "responses": {
            str(operation.success): _answer(operation, known),
            **{str(status): _error(status) for status in sorted({*operation.errors, *_ALWAYS})},
        },
    }
    if operation.guess:
        described["x-guess"] = operation.guess
    if operation.body is not None:
        described["requestBody"] = _content("application/json", known[repr(operation.body)])
    if operation.form is not None:
        described["requestBody"] = _content("multipart/form-data", _form(operation.form, components))
    return described


def _parameters(operation: Operation, components: dict[str, Any]) -> list[dict[str, Any]]:
    names = _NAMES.findall(operation.path)
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": ["integer", "string"]}} for name in names
    ]
    if operation.query is None:
        return found
    schema = components[operation.query.__name__]
    for name, property_schema in schema["properties"].items():
        required = name in schema["required"]
        found.append(
            {
                "name": name,
                "in": "query",
                "required": required,
                "style": "form",
                "explode": False,
                "schema": property_schema if required else _given(property_schema),
            }
        )
    return found


def _given(schema: dict[str, Any]) -> dict[str, Any]:
    """Show a parameter as it is when it is there: absent is not null."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if not kinds:
        return {name: value for name, value in schema.items() if name != "default"}
    return kinds[0] if len(kinds) == 1 else {"anyOf": kinds}


def _form(kind: type[msgspec.Struct], components: dict[str, Any]) -> dict[str, Any]:
    fields = components[kind.__name__]
    file = {"type": "string", "contentMediaType": "application/octet-stream"}
    properties = {name: _given(schema) for name, schema in fields["properties"].items()}
    return {"type": "object", "properties": {"file": file, **properties}, "required": ["file", *fields["required"]]}


def _content(content_type: str, schema: Any) -> dict[str, Any]:
    return {"required": True, "content": {content_type: {"schema": schema}}}


def _answer(operation: Operation, known: dict[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {"description": phrase(operation.success)}
    if operation.answer is bytes:
        described["content"] = {"application/octet-stream": {}}
    elif operation.answer is not None:
        described["content"] = {"application/json": {"schema": known[repr(operation.answer)]}}
    return described


def _error(status: int) -> dict[str, Any]:
    schema = {"$ref": _REFERENCE.format(name="Error")}
    return {"description": phrase(status), "content": {"application/json": {"schema": schema}}}
