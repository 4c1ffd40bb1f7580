"""Drawing from a bulk job's source, one item at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Generator, Iterable, Iterator

from ..errors import ConfigurationError

__all__ = ["Source"]


class Source:
    """Any iterable or async iterable; items are numbered from 0 in the order they are drawn.

    An ordinary iterable is advanced on the event loop: one that blocks (a slow query, a socket) blocks everything.
    Give an async iterable then.
    """

    def __init__(self, items: Iterable[object] | AsyncIterable[object]) -> None:
        self._async_items: AsyncIterator[object] | None = None
        self._items: Iterator[object] | None = None
        if isinstance(items, AsyncIterable):
            self._async_items = aiter(items)
        elif isinstance(items, Iterable) and not isinstance(items, str | bytes | dict):
            self._items = iter(items)
        else:
            raise ConfigurationError(
                f"a bulk source is an iterable or async iterable of messages or mappings, not a {type(items).__name__}"
            )
        self.waits = self._async_items is not None
        self._lock = asyncio.Lock()
        self._stopped = False
        self.drawn = 0

    async def draw(self) -> object:
        """Return the next item; `drawn` counts it. Raises ``StopAsyncIteration`` at the end, and once stopped."""
        if self._items is not None:
            for item in self._items:
                self.drawn += 1
                return item
        if self._async_items is not None:
            async with self._lock:  # an async generator cannot be advanced by two tasks at once
                if not self._stopped:
                    item = await anext(self._async_items)
                    self.drawn += 1
                    return item
        raise StopAsyncIteration

    def stop(self) -> None:
        """Draw nothing more."""
        self._stopped = True

    async def close(self) -> None:
        """Close a generator, so that what it holds is freed now and not at some later collection."""
        if isinstance(self._items, Generator):
            self._items.close()
        if isinstance(self._async_items, AsyncGenerator):
            await self._async_items.aclose()
