"""API keys (API tag "API Key")."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from ...models.api_keys import ApiKey
from ..parameters import Fields
from .operation import Operation

__all__ = [
    "CREATE_API_KEY",
    "DELETE_API_KEY",
    "FIND_API_KEY",
    "LIST_API_KEYS",
    "OPERATIONS",
    "ApiKeyBody",
    "ApiKeyQuery",
]

_KEYS = "/partner-gateway/v1/authentication"


class ApiKeyQuery(Fields, kw_only=True):
    """``GET /authentication`` (``api/find-api-keys``)."""

    user_id: int | str | None = None


class ApiKeyBody(Fields, kw_only=True):
    """``POST /authentication`` (``api/create-api-key``); ``name`` and ``description`` are from a use case."""

    operations: Annotated[tuple[Annotated[str, Meta(min_length=1)], ...], Meta(min_length=1)]
    name: str | None = None
    description: str | None = None


LIST_API_KEYS = Operation(
    id="api_keys.list",
    method="GET",
    path=_KEYS,
    summary="List the account's API keys",
    source="qlara/api/find-api-keys",
    query=ApiKeyQuery,
    answer=list[ApiKey],
    errors=(500,),
    guess="the envelope, and the names of the fields, are not shown",
)
CREATE_API_KEY = Operation(
    id="api_keys.create",
    method="POST",
    path=_KEYS,
    summary="Create an API key; only this answer has it whole",
    source="qlara/api/create-api-key",
    body=ApiKeyBody,
    answer=ApiKey,
    success=201,
    errors=(400, 500),
    guess="the status of success, further required fields and the names in the answer are not shown",
)
FIND_API_KEY = Operation(
    id="api_keys.find",
    method="GET",
    path=f"{_KEYS}/{{value}}",
    summary="Look an API key up by its whole value",
    source="qlara/api/find-api-key-by-value",
    answer=ApiKey,
    errors=(404, 500),
    guess="the names of the fields are not shown",
    secret=True,
)
DELETE_API_KEY = Operation(
    id="api_keys.delete",
    method="DELETE",
    path=f"{_KEYS}/{{id}}",
    summary="Revoke an API key, at once and for good",
    source="qlara/api/delete-api-key",
    success=204,
    errors=(404, 500),
    secret=True,  # somebody may take the key for its id
)

OPERATIONS = (LIST_API_KEYS, CREATE_API_KEY, FIND_API_KEY, DELETE_API_KEY)
