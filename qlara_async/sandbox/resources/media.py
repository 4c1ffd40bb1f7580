"""The media library of the sandbox, and media that customers sent."""

from __future__ import annotations

from itertools import count
from typing import Any
from uuid import uuid4

import msgspec

from ...clock import Clock
from ...protocol.operations import media as operations
from ..answers import Reply, reply
from .paging import in_order, spring_page
from .request import Handlers, Refused, ResourceRequest, Upload, numeric
from .times import iso

__all__ = ["MediaLibrary"]

_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "video/mp4"})
_MAX_IMAGE = 5 * 1024 * 1024
_KEPT = 180 * 60.0


class _Received(msgspec.Struct, frozen=True):
    expires: float
    content: bytes
    content_type: str

    def __repr__(self) -> str:
        return f"_Received(<{len(self.content)} bytes>)"


class MediaLibrary:
    """The account's files, and inbound media for 180 minutes (FAQ).

    Types are the API page's (400 for others), the 5 MB of an image a use case's (422, by the FAQ).

    Attributes:
        files: by id, as they are answered.
        uploads: by id, as they came.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ids = count(1)
        self._inbound: dict[str, _Received] = {}
        self.files: dict[int, dict[str, Any]] = {}
        self.uploads: dict[int, Upload] = {}

    def handlers(self) -> Handlers:
        """What this area serves."""
        return {
            operations.UPLOAD_MEDIA: self._upload,
            operations.LIST_MEDIA: self._list,
            operations.GET_MEDIA: self._get,
            operations.DELETE_MEDIA: self._delete,
            operations.DOWNLOAD_MEDIA: self._download,
        }

    def receive(self, content: bytes, content_type: str = "image/jpeg", *, media_key: str | None = None) -> str:
        """Take in what a customer sent; return its key, for `Sandbox.inbound` and downloads."""
        key = uuid4().hex if media_key is None else media_key
        self._inbound[key] = _Received(self._clock.monotonic() + _KEPT, content, content_type)
        return key

    def _upload(self, request: ResourceRequest) -> Reply:
        upload = request.file
        if upload.content_type not in _TYPES:
            raise Refused(400, "Part `file` must be a JPEG, PNG or GIF image or an MP4 video")
        if upload.content_type.startswith("image/") and len(upload.content) > _MAX_IMAGE:
            raise Refused(422, "Part `file` is larger than 5 MB")
        media_id = next(self._ids)
        self.uploads[media_id] = upload
        self.files[media_id] = {
            "id": media_id,
            "name": upload.file_name,
            "mimeType": upload.content_type,
            "size": len(upload.content),
            "url": f"https://media.qlara.invalid/v1/{media_id}",
            "createdAt": iso(self._clock.time()),
            **msgspec.to_builtins(request.form),
        }
        return reply(201, self.files[media_id])

    def _list(self, request: ResourceRequest) -> Reply:
        query: operations.MediaQuery = request.query
        found = in_order(self.files.values(), query.sort_by or "id", query.sort_order)
        return spring_page(found, query.page, query.limit)

    def _get(self, request: ResourceRequest) -> Reply:
        return reply(200, self.files[self._known(request)])

    def _delete(self, request: ResourceRequest) -> Reply:
        media_id = self._known(request)
        del self.files[media_id], self.uploads[media_id]
        return Reply(status=204)

    def _known(self, request: ResourceRequest) -> int:
        media_id = numeric(request)
        if media_id not in self.files:
            raise Refused(404, "No such media")
        return media_id

    def _download(self, request: ResourceRequest) -> Reply:
        found = self._inbound.get(request.path["mediaKey"])
        if found is None or self._clock.monotonic() >= found.expires:
            raise Refused(404, "No such media, or no longer")
        return Reply(status=200, body=found.content, content_type=found.content_type)
