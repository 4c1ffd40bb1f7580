"""One attempt and no other, for a request that is idempotent by HTTP and not by the API."""

from __future__ import annotations

import aiohttp

__all__ = ["ONCE"]


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Let a broken connection be the end: after it aiohttp repeats GET, PUT and DELETE, whatever the API says."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise  # there was no attempt, and aiohttp makes no other
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientConnectionError from error


ONCE = (_once,)
"""The client middlewares of such a request, instead of those of a session, one of which might repeat it."""
