"""Lists of the platform API as async iterators."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Generic, TypeVar

import msgspec

from ..errors import ConfigurationError, UndecodableAnswerError
from ..models.record import Record
from ..protocol.paging import Walk, envelope_of
from ..protocol.records import json_of, read_record
from ..protocol.responses import Response

__all__ = ["Listing", "Page"]

R = TypeVar("R", bound=Record)


class Page(msgspec.Struct, Generic[R], frozen=True, kw_only=True):
    """One page of a `Listing`.

    Attributes:
        number: from 0.
        items: what is on it.
        total: how many there are on all pages, if the gateway says so.
    """

    number: int
    items: tuple[R, ...]
    total: int | None = None

    def __repr__(self) -> str:
        return f"Page(number={self.number}, <{len(self.items)} items>, total={self.total})"


class Listing(Generic[R]):
    """What a ``list`` method returns: nothing is asked for until it is iterated, and no page before it is needed.

    Each iteration begins anew::

        async for contact in qlara.contacts.list(search="Rossi"):
            ...
        async for page in qlara.contacts.list().pages():
            ...

    Iterating raises ``ApiError`` and ``TransportError`` as any call does, and ``UndecodableAnswerError`` where an
    answer holds no list.

    Args:
        ask: makes one request, its query with these fields set.
        kind: what the items are.
        walk: makes the way through the pages.
        limit: at most so many items in all.
        see: told of each item.
    """

    def __init__(
        self,
        ask: Callable[[dict[str, int]], Awaitable[Response]],
        kind: type[R],
        walk: Callable[[], Walk],
        limit: int | None,
        see: Callable[[R], object] | None = None,
    ) -> None:
        self._ask = ask
        self._kind = kind
        self._walk = walk
        self._limit = limit
        self._see = see

    async def __aiter__(self) -> AsyncIterator[R]:
        async for page in self.pages():
            for item in page.items:
                yield item

    async def pages(self) -> AsyncIterator[Page[R]]:
        """Yield page by page; a page without anything new is not one."""
        walk, number, taken = self._walk(), 0, 0
        while (asked := walk.ask()) is not None and taken != self._limit:
            response = await self._ask(asked)
            envelope = envelope_of(json_of(response))
            if envelope is None:
                raise UndecodableAnswerError("the answer holds no list", status=response.status, body=response.body)
            left = None if self._limit is None else self._limit - taken
            items = tuple(read_record(self._kind, item) for item in walk.take(envelope)[:left])
            if self._see is not None:
                for item in items:
                    self._see(item)
            if items:
                yield Page(number=number, items=items, total=envelope.total)
            number, taken = number + 1, taken + len(items)

    def __repr__(self) -> str:
        return f"Listing({self._kind.__name__}, limit={self._limit})"


def checked_limit(limit: int | None) -> int | None:
    """Return `limit`. Raises ``ConfigurationError`` if it is not a whole number from 0."""
    if limit is not None and (type(limit) is not int or limit < 0):
        raise ConfigurationError("limit is how many items to return in all: a whole number from 0, or None")
    return limit
