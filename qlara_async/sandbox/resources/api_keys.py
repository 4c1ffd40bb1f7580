"""The sandbox's API keys as a resource: what is created is in force at once, what is deleted no longer."""

from __future__ import annotations

import msgspec

from ...protocol.operations import api_keys as operations
from ..answers import Reply, reply
from ..keys import KeyCabinet
from .request import Handlers, Refused, ResourceRequest, numeric

__all__ = ["ApiKeyDesk"]


class ApiKeyDesk:
    """Serves API keys. The names of the answers' fields are guesses."""

    def __init__(self, keys: KeyCabinet) -> None:
        self._keys = keys

    def handlers(self) -> Handlers:
        """What this area serves."""
        return {
            operations.LIST_API_KEYS: self._list,
            operations.CREATE_API_KEY: self._create,
            operations.FIND_API_KEY: self._find,
            operations.DELETE_API_KEY: self._delete,
        }

    def _list(self, request: ResourceRequest) -> Reply:
        # The sandbox has one user, of no id.
        found = self._keys.all() if request.query.user_id is None else []
        return reply(200, [key.told() for key in found])

    def _create(self, request: ResourceRequest) -> Reply:
        body: operations.ApiKeyBody = request.body
        fields = msgspec.to_builtins(body)
        key = self._keys.issue(tuple(fields.pop("operations")), fields)
        return reply(201, {**key.told(), "value": key.value})

    def _find(self, request: ResourceRequest) -> Reply:
        key = self._keys.find(request.path["value"])
        if key is None:
            raise Refused(404, "No such API key")
        return reply(200, {**key.told(), "company": "Sandbox"})

    def _delete(self, request: ResourceRequest) -> Reply:
        if not self._keys.revoke(numeric(request)):
            raise Refused(404, "No such API key")
        return Reply(status=204)
