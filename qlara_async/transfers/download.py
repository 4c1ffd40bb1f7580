"""What is downloaded, streamed to disk: a file is there whole or not at all."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

import anyio
import msgspec

from ..errors import ConfigurationError, TransferError
from .opening import created

__all__ = ["SavedFile", "Sink"]


class SavedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was downloaded.

    Attributes:
        path: where it is.
        size: in bytes.
        content_type: as the server named it.
    """

    path: Path
    size: int
    content_type: str | None = None

    def __repr__(self) -> str:
        return f"SavedFile(<{self.size} bytes>)"


class Sink:
    """Where a download goes, and its bounds.

    It is written beside its place under another name, and moved there when it is whole; what was there is replaced.

    Args:
        path: the file to be.
        max_bytes: the largest it may be.
        max_seconds: the longest that receiving it may take.

    Raises:
        ConfigurationError: a bound is not above 0.
    """

    def __init__(self, path: str | os.PathLike[str], *, max_bytes: int, max_seconds: float) -> None:
        if type(max_bytes) is not int or max_bytes < 1 or not max_seconds > 0:
            raise ConfigurationError("max_bytes is a whole number from 1, max_seconds is above 0")
        self._path = Path(path)
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self.saved: SavedFile | None = None

    async def take(self, headers: Mapping[str, str], chunks: AsyncIterator[bytes]) -> None:
        """Write it all.

        Raises:
            TransferError: it is too large or takes too long, or the disk does not take it. Nothing is left of it.
        """
        told = headers.get("Content-Length", "")
        if told.isascii() and told.isdigit() and int(told) > self._max_bytes:
            raise TransferError(f"the file is larger than max_bytes ({self._max_bytes})")
        part = self._path.with_name(f".{self._path.name}.{token_hex(8)}.part")
        try:
            file = await created(part)
        except FileNotFoundError:
            text = "the download cannot be written: its directory does not exist"
        except OSError as error:
            text = _unwritable(error)
        else:
            size = await self._fill(file, part, chunks)
            self.saved = SavedFile(path=self._path, size=size, content_type=headers.get("Content-Type"))
            return
        raise TransferError(text)

    async def _fill(self, file: BinaryIO, part: Path, chunks: AsyncIterator[bytes]) -> int:
        size: int | None = None
        try:
            async with asyncio.timeout(self._max_seconds) as cap:
                written = await self._write(file, chunks)
            await asyncio.to_thread(_move, file, part, self._path)
            size = written
        except TimeoutError:
            if not cap.expired():
                raise
            text = f"the download took longer than max_seconds ({self._max_seconds:g})"
        except _DiskError as error:
            text = str(error)
        finally:
            if size is None:
                with anyio.CancelScope(shield=True):
                    await asyncio.to_thread(_discard, file, part)
        if size is None:
            raise TransferError(text)
        return size

    async def _write(self, file: BinaryIO, chunks: AsyncIterator[bytes]) -> int:
        size = 0
        async for chunk in chunks:
            size += len(chunk)
            if size > self._max_bytes:
                raise TransferError(f"the file is larger than max_bytes ({self._max_bytes})")
            await asyncio.to_thread(_append, file, chunk)
        return size


class _DiskError(Exception):
    """The disk failed: told apart from what the connection raises, which are OSErrors too."""


def _append(file: BinaryIO, chunk: bytes) -> None:
    try:
        file.write(chunk)
    except OSError as error:
        raise _DiskError(_unwritable(error)) from None


def _move(file: BinaryIO, part: Path, path: Path) -> None:
    try:
        file.close()
        part.replace(path)
    except OSError as error:
        raise _DiskError(_unwritable(error)) from None


def _discard(file: BinaryIO, part: Path) -> None:
    try:
        file.close()
    finally:
        part.unlink(missing_ok=True)


def _unwritable(error: OSError) -> str:
    return f"the download cannot be written: {error.strerror or type(error).__name__}"
