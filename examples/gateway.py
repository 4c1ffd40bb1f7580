"""A gateway for the examples: the one that ``QLARA_API_KEY`` belongs to, or else a sandbox of their own."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from qlara_async import QlaraClient
from qlara_async.sandbox import Sandbox


@asynccontextmanager
async def open_client() -> AsyncIterator[QlaraClient]:
    """Open a client from ``QLARA_API_KEY`` and ``QLARA_BASE_URL`` if set, or of a sandbox that ends with it."""
    if os.environ.get("QLARA_API_KEY"):
        async with QlaraClient.from_env() as qlara:
            yield qlara
        return
    # Without a limit of its own: the client keeps it, and a busy machine must not make it look otherwise.
    async with Sandbox(rate_limit=None) as sandbox, QlaraClient(sandbox.api_key, base_url=sandbox.url) as qlara:
        yield qlara
