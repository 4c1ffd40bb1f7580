"""The document the sandbox publishes."""

from __future__ import annotations

import aiohttp
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from qlara_async.protocol.operations.registry import OPERATIONS
from qlara_async.sandbox import Sandbox
from qlara_async.sandbox.openapi import document


def test_it_is_valid_openapi() -> None:
    OpenAPIV31SpecValidator(document()).validate()


def test_it_says_what_is_guessed_and_where_the_rest_is_from() -> None:
    shown = {
        operation["operationId"]: (operation["x-source"], operation.get("x-guess", ""))
        for path in document()["paths"].values()
        for operation in path.values()
    }
    assert shown == {operation.id: (operation.source, operation.guess) for operation in OPERATIONS}


def test_parameters_and_bodies_are_those_of_the_structs() -> None:
    paths = document()["paths"]
    listed = {item["name"]: item for item in paths["/partner-gateway/v1/contacts"]["get"]["parameters"]}
    assert listed["limit"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 1000}
    assert listed["listIds"]["explode"] is False
    changed = paths["/partner-gateway/v1/contacts/{id}"]["put"]
    assert changed["parameters"][0] == {
        "name": "id",
        "in": "path",
        "required": True,
        "schema": {"type": ["integer", "string"]},
    }
    assert {"200", "400", "401", "403", "404", "429", "500"} == set(changed["responses"])
    uploaded = paths["/partner-gateway/v1/contacts/upload"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert uploaded["schema"]["required"] == ["file", "fileName"]
    assert "raw" not in document()["components"]["schemas"]["Contact"]["properties"]


@pytest.mark.anyio
async def test_it_is_published_without_a_key_and_outside_the_limit() -> None:
    async with Sandbox() as sandbox, aiohttp.ClientSession() as session:
        for url in (sandbox.url.removesuffix("/api") + "/openapi.json", sandbox.url + "/openapi.json"):
            async with session.get(url) as got:
                assert (got.status, await got.json()) == (200, document())
        async with session.post(sandbox.url + "/openapi.json") as got:
            assert got.status == 405
