"""``client.media``: the media library (``/partner-gateway/v1/media``) and media that customers sent (``/files``)."""

from __future__ import annotations

import os
from pathlib import PurePath
from typing import Literal

from ..errors import ConfigurationError
from ..models.media import MAX_BYTES, MAX_SECONDS, MediaFile
from ..models.record import Id
from ..protocol.links import media_request
from ..protocol.operations.media import DELETE_MEDIA, GET_MEDIA, LIST_MEDIA, UPLOAD_MEDIA, MediaForm, MediaQuery
from ..transfers.download import SavedFile, Sink
from ..transfers.upload import UploadSource, source_name
from .api import Api
from .listing import Listing

__all__ = ["Media"]

# API page "Upload media": JPEG, PNG and GIF images, MP4 video.
_TYPES = {
    ".gif": "image/gif",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".mp4": "video/mp4",
    ".png": "image/png",
}


class Media:
    """Files for templates and cards, and what customers sent."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def upload(
        self,
        source: UploadSource,
        *,
        file_name: str | None = None,
        name: str | None = None,
        description: str | None = None,
        folder_id: Id | None = None,
        content_type: str | None = None,
    ) -> MediaFile:
        """Upload a file: ``POST /partner-gateway/v1/media``, as ``multipart/form-data``.

        Documented are the form and that the answer has the new id; its other fields are a guess. A use case has a
        limit of 5 MB for images, which is left to the gateway. It is not repeated after an ambiguous end.

        Args:
            source: a path, bytes, a binary file or an async iterable of bytes; streamed.
            file_name: of the file; the path's own if not given.
            name: to list it by.
            description: what it is.
            folder_id: the folder to put it in; no page says how folders are made.
            content_type: as ``type/subtype``. If not given it is told by the ending of the file name, which must be one
                of the documented types then: .jpg, .jpeg, .png, .gif, .mp4.

        Raises:
            ConfigurationError: an argument does not fit; nothing was sent. TransferError: the source cannot be read.
            BadRequestError: the type is not taken. UnprocessableError: it is too large (FAQ).
            BadGatewayError: the storage is down, try again.
        """
        shown_name = source_name(source) if file_name is None else file_name
        if not shown_name:
            raise ConfigurationError("give file_name: an upload needs one")
        return await self._api.upload(
            UPLOAD_MEDIA,
            MediaFile,
            source,
            fields=MediaForm(name=name, description=description, folder_id=folder_id),
            file_name=shown_name,
            content_type=_type_of(shown_name) if content_type is None else content_type,
        )

    def list(
        self,
        *,
        sort_by: str | None = None,
        sort_order: Literal["asc", "desc"] | None = None,
        limit: int | None = None,
        page_size: int = 100,
    ) -> Listing[MediaFile]:
        """List the files: ``GET /partner-gateway/v1/media`` (documented; its envelope is not).

        Args:
            sort_by: such as ``id`` or ``name``; other names are undocumented.
            sort_order: ``asc`` or ``desc``.
            limit: at most so many in all.
            page_size: asked for per request, at most 1,000.

        Raises:
            ConfigurationError: an argument does not fit. Iterating raises as a `Listing` does.
        """
        query = MediaQuery(sort_by=sort_by, sort_order=sort_order)
        return self._api.pages(LIST_MEDIA, MediaFile, query, limit=limit, page_size=page_size)

    async def get(self, media_id: Id) -> MediaFile:
        """Return what is known of a file: ``GET /partner-gateway/v1/media/{id}`` (documented).

        Raises:
            NotFoundError: there is no such file, or it is not yours.
        """
        return await self._api.get(GET_MEDIA, MediaFile, path={"id": media_id})

    async def delete(self, media_id: Id) -> None:
        """Delete a file: ``DELETE /partner-gateway/v1/media/{id}`` (documented; a use case has no id in the path).

        Raises:
            NotFoundError: there is no such file, or it is not yours.
        """
        await self._api.call(DELETE_MEDIA, path={"id": media_id})

    async def download(
        self,
        media_key: str,
        path: str | os.PathLike[str],
        *,
        max_bytes: int = MAX_BYTES,
        max_seconds: float = MAX_SECONDS,
    ) -> SavedFile:
        """Save media of an inbound message: ``GET /files/{mediaKey}``, with the client's key, streamed to disk.

        They are there for 180 minutes, unless the account has it otherwise (FAQ): fetch them when the event comes. What
        the gateway answers afterwards is undocumented; 404 is a guess. The file is there whole or not at all; what was
        at `path` before is replaced. An interrupted download begins anew within the retry policy.

        Args:
            media_key: ``event.media.key``. Whoever can forge a callback chooses it: it must be 1 to 128 letters,
                digits, ``_`` and ``-``.
            path: where to save them. Do not make it of anything in the event.
            max_bytes: the most to accept; 100 MiB unless told.
            max_seconds: the longest that receiving them may take; 300 unless told.

        Raises:
            ConfigurationError: the key or a bound does not fit; nothing was sent. NotFoundError: there is nothing.
            TransferError: too large, too slow, or the disk does not take it.
        """
        request = media_request(media_key)
        return await self._api.save(request, Sink(path, max_bytes=max_bytes, max_seconds=max_seconds))


def _type_of(file_name: str) -> str:
    found = _TYPES.get(PurePath(file_name).suffix.lower())
    if found is None:
        raise ConfigurationError(f"the media library takes {', '.join(_TYPES)}; for others give content_type")
    return found
