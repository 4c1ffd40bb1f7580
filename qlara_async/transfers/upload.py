"""What is uploaded, from wherever it comes, as chunks of bytes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path
from typing import BinaryIO, Protocol, TypeAlias

from ..errors import ConfigurationError, TransferError
from ..protocol.forms import Form
from .opening import opened

__all__ = ["Upload", "UploadSource", "source_name"]

UploadSource: TypeAlias = bytes | bytearray | memoryview | str | os.PathLike[str] | BinaryIO | AsyncIterable[bytes]
"""A path, the bytes themselves, an open binary file, or an async iterable of bytes."""

_CHUNK = 128 * 1024


class _Source(Protocol):
    """Bytes that can be counted and read."""

    async def size(self) -> int | None: ...
    def chunks(self) -> AsyncIterator[bytes]: ...


class Upload:
    """A form with its file. It can be sent again where its source can be read again: not an async iterable.

    Raises:
        ConfigurationError: the source is none of those named.
    """

    def __init__(self, source: UploadSource, form: Form) -> None:
        self._source = _source_of(source)
        self._form = form
        self._expected: int | None = None
        self.failure: TransferError | None = None

    @property
    def content_type(self) -> str:
        """Of the whole form."""
        return self._form.content_type

    async def size(self) -> int | None:
        """Count the bytes of the whole; ``None`` if only the end will tell.

        Raises:
            TransferError: the source cannot be read. Nothing was sent.
        """
        try:
            self._expected = inner = await self._source.size()
        except FileNotFoundError:
            text = "there is no such file to upload: a str is a path, the contents themselves are bytes"
        except (OSError, ValueError) as error:
            text = _unreadable(error)
        else:
            return None if inner is None else len(self._form.head) + inner + len(self._form.tail)
        raise TransferError(text)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the whole. What the source raises is kept in `failure`: the connection only sees that it broke."""
        yield self._form.head
        sent = 0
        try:
            async for chunk in self._source.chunks():
                sent += len(chunk)
                yield chunk
            if self._expected not in {None, sent}:
                raise TransferError("what was to be uploaded changed meanwhile")  # noqa: TRY301
        except TransferError as error:
            self.failure = error
            raise
        except Exception as error:
            self.failure = TransferError(_unreadable(error))
            raise
        yield self._form.tail

    def __repr__(self) -> str:
        return "Upload()"


def source_name(source: UploadSource) -> str | None:
    """Return the file name a source suggests, if it is a path."""
    return Path(source).name if isinstance(source, str | os.PathLike) else None


def _source_of(source: UploadSource) -> _Source:
    if isinstance(source, bytes | bytearray | memoryview):
        return _Bytes(bytes(source))
    if isinstance(source, str | os.PathLike):
        return _File(Path(source))
    if isinstance(source, AsyncIterable):
        return _Stream(source)
    if hasattr(source, "read") and hasattr(source, "seek"):
        return _OpenFile(source)
    raise ConfigurationError("upload a path, bytes, a binary file, or an async iterable of bytes")


def _unreadable(error: Exception) -> str:
    why = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
    return f"what was to be uploaded cannot be read: {why}"


class _Bytes:
    def __init__(self, content: bytes) -> None:
        self._content = content

    async def size(self) -> int:
        return len(self._content)

    async def chunks(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._content), _CHUNK):
            yield self._content[start : start + _CHUNK]


class _File:
    def __init__(self, path: Path) -> None:
        self._path = path

    async def size(self) -> int:
        file = await opened(self._path)
        try:
            return await asyncio.to_thread(file.seek, 0, os.SEEK_END)
        finally:
            file.close()

    async def chunks(self) -> AsyncIterator[bytes]:
        file = await opened(self._path)
        try:
            while chunk := await asyncio.to_thread(file.read, _CHUNK):
                yield chunk
        finally:
            file.close()


class _OpenFile:
    """A file of the caller's: read from where it stands, and left open."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._start: int | None = None

    async def size(self) -> int:
        if self._start is None:
            self._start = await asyncio.to_thread(self._file.tell)
        return await asyncio.to_thread(self._file.seek, 0, os.SEEK_END) - self._start

    async def chunks(self) -> AsyncIterator[bytes]:
        await asyncio.to_thread(self._file.seek, self._start or 0)
        while chunk := await asyncio.to_thread(self._file.read, _CHUNK):
            yield chunk


class _Stream:
    """An iterable that can be read once."""

    def __init__(self, stream: AsyncIterable[bytes]) -> None:
        self._stream = stream
        self._read = False

    async def size(self) -> None:
        if self._read:
            raise TransferError("the stream was sent already and cannot be read again: upload a path or bytes")

    async def chunks(self) -> AsyncIterator[bytes]:
        self._read = True
        async for chunk in self._stream:
            yield chunk
