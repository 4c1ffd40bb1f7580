"""What every resource does: build an operation's request, call it, read the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from secrets import token_hex
from typing import Any, TypeVar

import msgspec

from ..clock import Clock
from ..errors import NotSentError, TransferError
from ..models.record import Id, Record
from ..protocol.forms import form_of
from ..protocol.operations.operation import Operation
from ..protocol.paging import OneAnswer, PageWalk, Walk
from ..protocol.parameters import batches_of
from ..protocol.records import json_of, record_of, told_of
from ..protocol.requests import Request
from ..protocol.responses import Response
from ..sending.calls import Caller, CallOptions
from ..sending.sends import Sender
from ..sending.test_mode import AllowedDestinations
from ..transfers.download import SavedFile, Sink
from ..transfers.upload import Upload, UploadSource
from .listing import Listing, checked_limit

__all__ = ["Api"]

R = TypeVar("R", bound=Record)


class Api:
    """The platform API under one set of options.

    Args:
        caller: carries requests to their answers.
        options: of every call.
        sender: sends messages.
    """

    def __init__(self, caller: Caller, options: CallOptions, sender: Sender) -> None:
        self.caller = caller
        self.options = options
        self.sender = sender

    def refuse_in_test_mode(self, what: str) -> None:
        """Keep what reaches people, and can be no dry run, from a client that must not write to them.

        Raises:
            NotSentError: the client has ``simulation`` or ``only_destinations``.
        """
        if self.options.simulation or any(isinstance(gate, AllowedDestinations) for gate in self.options.gates):
            raise NotSentError(f"not sent: the client is in test mode, and {what} would be real", reason="test_mode")

    @property
    def clock(self) -> Clock:
        """The client's clock."""
        return self.caller.clock

    async def call(
        self,
        operation: Operation,
        *,
        path: Mapping[str, Id] | None = None,
        query: msgspec.Struct | None = None,
        body: msgspec.Struct | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> Response:
        """Call an operation; the arguments are those of `Operation.request`.

        Raises:
            ConfigurationError: a value does not fit; nothing was sent.
            ApiError, TransportError: as for any call.
        """
        request = operation.request(path=path, query=query, body=body, more=more)
        return await self.caller.call(request, self.options)

    async def get(
        self,
        operation: Operation,
        kind: type[R],
        *,
        path: Mapping[str, Id] | None = None,
        query: msgspec.Struct | None = None,
        body: msgspec.Struct | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> R:
        """Call an operation whose answer is one object. Raises as `call`, and ``UndecodableAnswerError``."""
        return record_of(await self.call(operation, path=path, query=query, body=body, more=more), kind)

    async def change(
        self,
        operation: Operation,
        kind: type[R],
        *,
        path: Mapping[str, Id] | None = None,
        query: msgspec.Struct | None = None,
        body: msgspec.Struct | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> R:
        """Call an operation that changes something and return what its answer tells, as `told_of`. Raises as `call`."""
        return told_of(await self.call(operation, path=path, query=query, body=body, more=more), kind)

    def list(
        self,
        operation: Operation,
        kind: type[R],
        *,
        path: Mapping[str, Id] | None = None,
        query: msgspec.Struct | None = None,
        limit: int | None = None,
        walk: Callable[[], Walk] = OneAnswer,
        see: Callable[[R], object] | None = None,
    ) -> Listing[R]:
        """Return the list an operation answers with, by the way `walk` makes; see also `pages`.

        `see` is told of each item.

        Raises:
            ConfigurationError: a value does not fit.
        """
        operation.request(path=path, query=query)  # what is wrong with it is said here, not at the first iteration

        async def ask(fields: dict[str, int]) -> Response:
            asked = query if query is None or not fields else msgspec.structs.replace(query, **fields)
            return await self.call(operation, path=path, query=asked)

        return Listing(ask, kind, walk, checked_limit(limit), see)

    def pages(
        self,
        operation: Operation,
        kind: type[R],
        query: msgspec.Struct,
        *,
        path: Mapping[str, Id] | None = None,
        limit: int | None,
        page_size: int,
        see: Callable[[R], object] | None = None,
    ) -> Listing[R]:
        """Return a list that comes by ``page`` and ``limit``, fields that `query` must have.

        No page is larger than `limit`. Raises ``ConfigurationError`` where a value does not fit.
        """
        size = page_size if not limit else min(page_size, limit)
        first = msgspec.structs.replace(query, page=0, limit=size)
        return self.list(operation, kind, path=path, query=first, limit=limit, walk=partial(PageWalk, size), see=see)

    async def delete(
        self, operation: Operation, ids: Iterable[Id], query: Callable[[tuple[Id, ...]], msgspec.Struct]
    ) -> tuple[Any, ...]:
        """Call a deletion of several ids, in as many requests as their number takes; none for none.

        Returns:
            The answers, decoded. A request that fails leaves those before it done.
        """
        batches = list(batches_of(ids))  # a bad id is found before anything is deleted
        return tuple([json_of(await self.call(operation, query=query(batch))) for batch in batches])

    async def upload(
        self,
        operation: Operation,
        kind: type[R],
        source: UploadSource,
        *,
        fields: msgspec.Struct,
        file_name: str,
        content_type: str = "application/octet-stream",
    ) -> R:
        """Upload a file as the part ``file`` of the operation's form, streamed; return what is told of it (`told_of`).

        Raises:
            ConfigurationError: a field does not fit. TransferError: the source cannot be read.
            ApiError, TransportError: as for any call; a source that can be read once is not sent twice.
        """
        form = form_of(fields, file_name=file_name, content_type=content_type, boundary=token_hex(16))
        exchange = partial(self.caller.transport.exchange, upload=Upload(source, form))
        response = await self.caller.call(operation.request(), self.options, exchange=exchange)
        return told_of(response, kind)

    async def save(self, request: Request, sink: Sink) -> SavedFile:
        """Download what the gateway answers to `request`. Raises ``TransferError`` too, as `Sink` does."""
        exchange = partial(self.caller.transport.exchange, sink=sink)
        await self.caller.call(request, self.options, exchange=exchange)
        return _saved(sink)

    async def save_link(self, link: str, sink: Sink) -> SavedFile:
        """Download a link the gateway gave, from wherever it is: see `Transport.follow`. It is not repeated."""
        await self.caller.transport.follow(link, sink, self.options.timeouts)
        return _saved(sink)


def _saved(sink: Sink) -> SavedFile:
    if sink.saved is None:
        raise TransferError("the gateway answered without a file")
    return sink.saved
