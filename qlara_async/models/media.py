"""Files of the media library, as the platform API answers them."""

from __future__ import annotations

from typing import ClassVar

from .record import Id, Record

__all__ = ["MAX_BYTES", "MAX_SECONDS", "MediaFile"]

MAX_BYTES = 100 * 1024 * 1024
"""The largest file that is accepted from a customer, unless told otherwise."""

MAX_SECONDS = 300.0
"""The longest that receiving it may take, likewise."""


class MediaFile(Record, frozen=True, kw_only=True):
    """A file of the media library.

    The API's pages (tag "Media") name what it has in prose only; the names of the fields are those of a use case.

    Attributes:
        id: numeric on the API pages (``mediaId``, prefixed text, in the use case); ``""`` if the answer named none.
        name: its name.
        description: as given at the upload.
        mime_type: ``mimeType``, such as ``image/jpeg``.
        size: in bytes.
        url: where it can be fetched, by the gateway and by handsets: what a template's ``header_media_url`` or a card's
            ``file_url`` takes.
        width: of an image, in pixels (use case).
        height: of an image, in pixels (use case).
        created_at: as given.
    """

    aliases: ClassVar[dict[str, tuple[str, ...]]] = {"id": ("mediaId",)}
    shown: ClassVar[tuple[str, ...]] = ("id", "mime_type", "size")

    id: Id = ""
    name: str | None = None
    description: str | None = None
    mime_type: str | None = None
    size: int | None = None
    url: str | None = None
    width: int | None = None
    height: int | None = None
    created_at: str | None = None
