"""Name resolution that stays on the public Internet."""

from __future__ import annotations

import socket

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from ..errors import TransferError
from ..protocol.links import is_loopback, is_public

__all__ = ["PublicResolver"]


class PublicResolver(AbstractResolver):
    """Refuses names with an address that is not public, after resolution: so no later answer of the DNS can differ.

    Args:
        inner: resolves.
        loopback: whether this machine is public enough (the sandbox).
    """

    def __init__(self, inner: AbstractResolver | None = None, *, loopback: bool = False) -> None:
        self._inner = inner or aiohttp.ThreadedResolver()
        self._loopback = loopback

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Resolve. Raises ``TransferError`` where one of the addresses is not public."""
        found = await self._inner.resolve(host, port, family)
        if all(is_public(item["host"]) or (self._loopback and is_loopback(item["host"])) for item in found):
            return found
        raise TransferError("the download link's host has a private address")

    async def close(self) -> None:
        """Close the inner resolver."""
        await self._inner.close()
