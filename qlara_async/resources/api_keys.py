"""``client.api_keys``: the account's API keys (``/partner-gateway/v1/authentication``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import ConfigurationError
from ..models.api_keys import ApiKey
from ..models.record import Id
from ..protocol.operations.api_keys import (
    CREATE_API_KEY,
    DELETE_API_KEY,
    FIND_API_KEY,
    LIST_API_KEYS,
    ApiKeyBody,
    ApiKeyQuery,
)
from .api import Api
from .listing import Listing

__all__ = ["ApiKeys"]


class ApiKeys:
    """API keys. The API cannot change one: make another, `QlaraClient.rotate_key` to it, and delete the first."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def list(self, *, user_id: Id | None = None, limit: int | None = None) -> Listing[ApiKey]:
        """List the keys: ``GET /partner-gateway/v1/authentication`` (documented; names and envelope are not).

        Keys come without their value.

        Args:
            user_id: only those of this user.
            limit: at most so many.

        Raises:
            ConfigurationError: an argument does not fit. Iterating raises as a `Listing` does.
        """
        return self._api.list(LIST_API_KEYS, ApiKey, query=ApiKeyQuery(user_id=user_id), limit=limit)

    async def create(
        self,
        operations: Iterable[str],
        *,
        name: str | None = None,
        description: str | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> ApiKey:
        """Create a key: ``POST /partner-gateway/v1/authentication``.

        Documented are `operations`, and that further fields are required, but not which: give them as `more`. The
        answer is the only one that ever has the whole key, as ``value``. It is not repeated after an ambiguous end: a
        key that nobody has seen may be there then, to be deleted.

        Args:
            operations: what the key may be used for: ``SMS``, ``RCS``, ``WHATSAPP``, at least one.
            name: from a use case.
            description: from a use case.
            more: further fields of the body, under the API's names.

        Raises:
            ConfigurationError: an argument does not fit; nothing was sent.
            BadRequestError: a field is wrong or missing.
        """
        if isinstance(operations, str):
            raise ConfigurationError("give operations as a list")
        body = ApiKeyBody(operations=tuple(operations), name=name, description=description)
        return await self._api.get(CREATE_API_KEY, ApiKey, body=body, more=more)

    async def find(self, value: str) -> ApiKey:
        """Look a key up by its value: ``GET /partner-gateway/v1/authentication/{value}`` (documented; names are not).

        **This puts a live key into a URL**, as the API has it: whatever lies between (a proxy, its access log, the
        gateway's own) may keep it. Our own logs, events and errors do not show it. Where `list` will do, use that.

        Args:
            value: the whole key.

        Raises:
            NotFoundError: there is no such key.
        """
        return await self._api.get(FIND_API_KEY, ApiKey, path={"value": value})

    async def delete(self, key_id: Id) -> None:
        """Revoke a key: ``DELETE /partner-gateway/v1/authentication/{id}`` (documented).

        It takes effect at once and cannot be undone: requests with the key are answered 401 from then on, those of
        this client too if it is its own.

        Args:
            key_id: its id, not the key.

        Raises:
            NotFoundError: there is no such key.
        """
        await self._api.call(DELETE_API_KEY, path={"id": key_id})
