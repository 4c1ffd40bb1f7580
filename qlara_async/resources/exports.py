"""``client.exports``: files made in the background (``/partner-gateway/v1/exports``)."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from datetime import datetime

import msgspec

from ..errors import ConfigurationError, ExportError, ExportTimeout, RateLimitError, ServerError, TransportError
from ..models.exports import DownloadLink, Export
from ..models.record import Id
from ..protocol.exports import has_expired, has_failed, link_of
from ..protocol.operations.exports import (
    EXPORT_CONTACTS,
    EXPORT_REPORTS,
    GET_EXPORT_LINK,
    LIST_EXPORTS,
    REGENERATE_EXPORT,
    ContactExport,
    ExportQuery,
    ReportExport,
)
from ..protocol.parameters import several
from ..transfers.download import SavedFile, Sink
from .api import Api
from .listing import Listing

__all__ = ["Exports"]

_MAX_BYTES = 1024 * 1024 * 1024
_MAX_SECONDS = 600.0


class Exports:
    """CSV files: queue one, wait until it is available, download it. That of the history is queued by `messages`."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def list(self, *, limit: int | None = None, page_size: int = 10) -> Listing[Export]:
        """List exports: ``GET /partner-gateway/v1/exports`` (documented; its envelope is not).

        Args:
            limit: at most so many in all.
            page_size: asked for per request; 10 is documented as the default, a maximum is not.

        Raises:
            ConfigurationError: an argument does not fit. Iterating raises as a `Listing` does.
        """
        return self._api.pages(LIST_EXPORTS, Export, ExportQuery(), limit=limit, page_size=page_size)

    async def contacts(
        self, *, list_ids: Iterable[Id] | None = None, contact_ids: Iterable[Id] | None = None
    ) -> Export:
        """Queue an export of contacts: ``POST /partner-gateway/v1/exports/contacts`` (documented; its answer is not).

        Args:
            list_ids: those on these lists.
            contact_ids: or these; with neither, all contacts.

        Returns:
            The export, as far as the answer tells: its ``id`` may be ``""``, and is found by `list` then.

        Raises:
            ConfigurationError: both are given, or one that is empty; nothing was sent. BadRequestError: refused.
        """
        if list_ids is not None and contact_ids is not None:
            raise ConfigurationError("give list_ids or contact_ids, not both; neither exports all contacts")
        body = ContactExport(list_ids=several(list_ids), contact_ids=several(contact_ids))
        return await self._api.change(EXPORT_CONTACTS, Export, body=body)

    async def delivery_reports(
        self,
        *,
        campaign_id: Id | None = None,
        start_date_time: datetime | None = None,
        end_date_time: datetime | None = None,
    ) -> Export:
        """Queue an export of delivery reports: ``POST /partner-gateway/v1/exports/delivery-reports``.

        The request is documented, its answer is not: see `contacts`.

        Args:
            campaign_id: those of this campaign; or
            start_date_time: those from this time on, which must have a time zone,
            end_date_time: up to this one.

        Raises:
            ConfigurationError: neither a campaign nor both times are given, or both; nothing was sent.
            BadRequestError: refused.
        """
        times = (start_date_time, end_date_time)
        if (campaign_id is None) == (None in times) or (campaign_id is not None and times != (None, None)):
            raise ConfigurationError("give campaign_id, or start_date_time and end_date_time")
        body = ReportExport(campaign_id=campaign_id, start_date_time=start_date_time, end_date_time=end_date_time)
        return await self._api.change(EXPORT_REPORTS, Export, body=body)

    async def get_link(self, export: Export | Id) -> DownloadLink:
        """Return where an export is: ``GET /partner-gateway/v1/exports/{exportId}``.

        Documented is that it is a pre-signed URL for a limited time; in which form it comes is not.

        Raises:
            BadRequestError: it has expired: `regenerate` it. NotFoundError: there is no such export.
            UndecodableAnswerError: the answer has no link.
        """
        return link_of(await self._api.call(GET_EXPORT_LINK, path={"exportId": _id_of(export)}))

    async def regenerate(self, export: Export | Id) -> Export:
        """Make an export again whose link has expired: ``POST /partner-gateway/v1/exports/{exportId}``.

        The pages only refer to it: what it answers is a guess. Wait until it is available again.

        Raises:
            NotFoundError: there is no such export.
        """
        known = _id_of(export)
        told = await self._api.change(REGENERATE_EXPORT, Export, path={"exportId": known})
        return told if told.id != "" else msgspec.structs.replace(told, id=known)

    async def wait_until_available(self, export: Export | Id, *, timeout: float = 600.0, every: float = 5.0) -> Export:
        """Return when there is a link: ask `list` for the export, at once and every few seconds.

        While the gateway fails or cannot be reached the wait goes on, and so it does while the export is not in the
        list, or has a status that no page names.

        Args:
            export: as `contacts` returns it, or its id.
            timeout: seconds. Then it is asked for once more; a request under way is not cut off.
            every: seconds between requests; the pages advise 5 to 10.

        Raises:
            ConfigurationError: a time is not above 0, or the export has no id (take it from `list` then).
            ExportError: it failed, or its link has expired: `regenerate` it. ExportTimeout: it is not there yet.
            ApiError: the gateway refuses to say.
        """
        if not (0 < timeout < math.inf and 0 < every < math.inf):
            raise ConfigurationError("timeout and every are in seconds and above 0")
        wanted, clock = str(_id_of(export)), self._api.clock
        deadline = clock.monotonic() + timeout
        status: str | None = None
        while True:
            found, failure = await self._seen(wanted)
            if found is not None:
                if found.is_available_for_download:
                    return found
                _check_it_may_come(found, before=status)
                status = found.status
            left = deadline - clock.monotonic()
            if left <= 0:
                raise ExportTimeout("the export is not available yet", status=status) from failure
            await clock.sleep(min(every, left))

    async def _seen(self, wanted: str) -> tuple[Export | None, Exception | None]:
        """Find an export in the list; or what kept us from looking."""
        try:
            async for item in self.list():
                if str(item.id) == wanted:
                    return item, None
        except (TransportError, ServerError, RateLimitError) as error:
            return None, error
        return None, None

    async def download(
        self,
        export: Export | Id,
        path: str | os.PathLike[str],
        *,
        max_bytes: int = _MAX_BYTES,
        max_seconds: float = _MAX_SECONDS,
    ) -> SavedFile:
        """Save an export: asks for its link (`get_link`) and downloads that, streamed to disk.

        The link is on a host that no page names: it must be HTTPS on a public address; the client's key does not go
        along, redirects are not followed, and it is not repeated. The file is there whole or not at all; what was at
        `path` before is replaced.

        Args:
            export: as `contacts` returns it, or its id.
            path: where to save it.
            max_bytes: the most to accept; 1 GiB unless told.
            max_seconds: the longest that receiving it may take; 600 unless told.

        Raises:
            BadRequestError: it has expired: `regenerate` it. NotFoundError: there is no such export, or not yet.
            TransferError: the link may not be followed or is refused, the file is too large or too slow, or the disk
                does not take it. ConnectionFailed, RequestTimeout: its host does not answer.
        """
        sink = Sink(path, max_bytes=max_bytes, max_seconds=max_seconds)
        link = await self.get_link(export)
        return await self._api.save_link(link.url, sink)


def _check_it_may_come(export: Export, *, before: str | None) -> None:
    if has_failed(export.status):
        raise ExportError("the export failed", status=export.status)
    # Twice: one that is being made again may be shown as expired for a moment.
    if has_expired(export.status) and has_expired(before):
        raise ExportError("the link of the export has expired: regenerate it", status=export.status)


def _id_of(export: Export | Id) -> Id:
    found = export.id if isinstance(export, Export) else export
    if found == "":
        raise ConfigurationError("the gateway told no id for this export: take it from exports.list()")
    return found
