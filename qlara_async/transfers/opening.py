"""Opening files off the event loop without losing one to a cancellation."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import BinaryIO, Literal

import anyio

__all__ = ["created", "opened"]


async def opened(path: Path) -> BinaryIO:
    """Open a file to read it. Raises ``OSError``."""
    return await _open(path, "rb")


async def created(path: Path) -> BinaryIO:
    """Make a file that is not there yet. Cancelled, it leaves none. Raises ``OSError``."""
    try:
        return await _open(path, "xb")
    except asyncio.CancelledError:
        with anyio.CancelScope(shield=True):
            await asyncio.to_thread(path.unlink, missing_ok=True)
        raise


async def _open(path: Path, mode: Literal["rb", "xb"]) -> BinaryIO:
    opening = asyncio.ensure_future(asyncio.to_thread(path.open, mode))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        # A thread cannot be cancelled: what it opens has nobody else to close it.
        with anyio.CancelScope(shield=True):
            await asyncio.wait([opening])
        if opening.exception() is None:
            opening.result().close()
        raise
