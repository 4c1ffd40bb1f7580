"""The media library (API tag "Media"), and media that customers sent (API page of RCS, "Webhook")."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from ...models.media import MediaFile
from ..links import MEDIA_PATH
from ..parameters import Fields
from .operation import Operation

__all__ = [
    "DELETE_MEDIA",
    "DOWNLOAD_MEDIA",
    "GET_MEDIA",
    "LIST_MEDIA",
    "OPERATIONS",
    "UPLOAD_MEDIA",
    "MediaForm",
    "MediaQuery",
]

_MEDIA = "/partner-gateway/v1/media"


class MediaQuery(Fields, kw_only=True):
    """``GET /media`` (tag page ``api/media``)."""

    sort_by: str | None = None
    sort_order: Literal["asc", "desc"] | None = None
    page: Annotated[int, Meta(ge=0)] | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] | None = None


class MediaForm(Fields, kw_only=True):
    """The fields beside the file of ``POST /media`` (``api/upload-media``)."""

    name: str | None = None
    description: str | None = None
    folder_id: int | str | None = None


UPLOAD_MEDIA = Operation(
    id="media.upload",
    method="POST",
    path=_MEDIA,
    summary="Upload a file to the media library",
    source="qlara/it/api/upload-media",
    form=MediaForm,
    answer=MediaFile,
    success=201,
    errors=(400, 422, 502),
    guess="the status of success and the fields of the answer are not shown; 422, for a file that is too large, is the "
    "FAQ's",
)
LIST_MEDIA = Operation(
    id="media.list",
    method="GET",
    path=_MEDIA,
    summary="List the media library",
    source="qlara/it/api/media",
    query=MediaQuery,
    answer=list[MediaFile],
    guess="the envelope of the page is not shown",
)
GET_MEDIA = Operation(
    id="media.get",
    method="GET",
    path=f"{_MEDIA}/{{id}}",
    summary="Read what is known of a file of the media library",
    source="qlara/it/api/media",
    answer=MediaFile,
    errors=(404,),
    guess="the statuses of failure are not shown",
)
DELETE_MEDIA = Operation(
    id="media.delete",
    method="DELETE",
    path=f"{_MEDIA}/{{id}}",
    summary="Delete a file of the media library",
    source="qlara/api/delete-media",
    success=204,
    errors=(404,),
)
DOWNLOAD_MEDIA = Operation(
    id="media.download",
    method="GET",
    path=MEDIA_PATH,
    summary="Download media of an inbound message",
    source="qlara/api-rcs-send/agiletelecom-rcs-api",
    answer=bytes,
    errors=(404,),
    guess="the statuses of failure are not shown, that of media that have expired (FAQ) among them",
)

OPERATIONS = (UPLOAD_MEDIA, LIST_MEDIA, GET_MEDIA, DELETE_MEDIA, DOWNLOAD_MEDIA)
