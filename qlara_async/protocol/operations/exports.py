"""The message history and exports (API tags "Message History" and "Export")."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ...models.channel import Channel
from ...models.exports import DownloadLink, Export, HistoryEntry
from ..parameters import Fields
from .operation import Operation

__all__ = [
    "EXPORT_CONTACTS",
    "EXPORT_HISTORY",
    "EXPORT_REPORTS",
    "GET_EXPORT_LINK",
    "GET_HISTORY",
    "LIST_EXPORTS",
    "OPERATIONS",
    "REGENERATE_EXPORT",
    "ContactExport",
    "ExportQuery",
    "HistoryExport",
    "HistoryQuery",
    "HistoryStatus",
    "ReportExport",
]

HistoryStatus = Literal["DELIVERED", "SENT", "ERROR", "EXPIRED", "UNKNOWN"]
"""The statuses the history can be filtered by."""

_EXPORTS = "/partner-gateway/v1/exports"
_HISTORY = "/partner-gateway/v1/messages/history"
# ISO 8601 with an offset, an OffsetDateTime: without one it is invalid.
_Time = Annotated[datetime, Meta(tz=True)]
_PageNumber = Annotated[int, Meta(ge=0)]
_PageSize = Annotated[int, Meta(ge=1)]
_Ids = Annotated[tuple[int | str, ...], Meta(min_length=1)]


class HistoryQuery(Fields, kw_only=True):
    """``GET /messages/history`` (``api/get-history``): both times are included."""

    channel: Channel
    from_: _Time = msgspec.field(name="from")
    to: _Time
    status: HistoryStatus | None = None
    page: _PageNumber | None = None
    limit: _PageSize | None = None


class HistoryExport(Fields, kw_only=True):
    """``POST /messages/history/export`` (``api/export-history``); the names of the two filters are guesses."""

    start_date_time: _Time
    end_date_time: _Time
    sender: str | None = None
    recipient: str | None = None


class ExportQuery(Fields, kw_only=True):
    """``GET /exports`` (``api/list-exports``)."""

    page: _PageNumber | None = None
    limit: _PageSize | None = None


class ContactExport(Fields, kw_only=True):
    """``POST /exports/contacts`` (``api/export-contacts``): lists or contacts; neither means all contacts."""

    list_ids: _Ids | None = None
    contact_ids: _Ids | None = None


class ReportExport(Fields, kw_only=True):
    """``POST /exports/delivery-reports`` (``api/export-delivery-reports``): a campaign, or both times."""

    campaign_id: int | str | None = None
    start_date_time: _Time | None = None
    end_date_time: _Time | None = None


_QUEUED = "what the answer holds is not shown"

GET_HISTORY = Operation(
    id="messages.history",
    method="GET",
    path=_HISTORY,
    summary="List the messages of a channel and a period",
    source="qlara/it/api/get-history",
    query=HistoryQuery,
    answer=list[HistoryEntry],
    errors=(400, 500),
    guess="the statuses of failure are not shown",
)
EXPORT_HISTORY = Operation(
    id="messages.export_history",
    method="POST",
    path=f"{_HISTORY}/export",
    summary="Export the messages of a period, of all channels, as CSV",
    source="qlara/it/api/export-history",
    body=HistoryExport,
    answer=Export,
    success=202,
    errors=(400, 500),
    guess=f"{_QUEUED}; the names of the filters `sender` and `recipient`",
)
LIST_EXPORTS = Operation(
    id="exports.list",
    method="GET",
    path=_EXPORTS,
    summary="List exports",
    source="qlara/it/api/list-exports",
    query=ExportQuery,
    answer=list[Export],
    errors=(500,),
    guess="the envelope, and under which name the id comes, are not shown",
)
EXPORT_CONTACTS = Operation(
    id="exports.contacts",
    method="POST",
    path=f"{_EXPORTS}/contacts",
    summary="Export contacts as CSV",
    source="qlara/api/export-contacts",
    body=ContactExport,
    answer=Export,
    success=202,
    errors=(400, 500),
    guess=_QUEUED,
)
EXPORT_REPORTS = Operation(
    id="exports.delivery_reports",
    method="POST",
    path=f"{_EXPORTS}/delivery-reports",
    summary="Export the delivery reports of a campaign or a period as CSV",
    source="qlara/it/api/export-delivery-reports",
    body=ReportExport,
    answer=Export,
    success=202,
    errors=(400, 500),
    guess=_QUEUED,
)
GET_EXPORT_LINK = Operation(
    id="exports.get_link",
    method="GET",
    path=f"{_EXPORTS}/{{exportId}}",
    summary="Get the pre-signed link of an export, which lasts a limited time",
    source="qlara/api/get-export-download-link",
    answer=DownloadLink,
    errors=(400, 404, 500),
    guess="whether the URL comes bare or in an object, and under which name, is not shown; 404 while it is not ready",
)
REGENERATE_EXPORT = Operation(
    id="exports.regenerate",
    method="POST",
    path=f"{_EXPORTS}/{{exportId}}",
    summary="Make an export again whose link has expired",
    source="qlara/guides/exports",
    answer=Export,
    success=202,
    errors=(404,),
    guess=f"it is only referred to: {_QUEUED}, nor are the statuses",
)

OPERATIONS = (
    GET_HISTORY,
    EXPORT_HISTORY,
    LIST_EXPORTS,
    EXPORT_CONTACTS,
    EXPORT_REPORTS,
    GET_EXPORT_LINK,
    REGENERATE_EXPORT,
)
