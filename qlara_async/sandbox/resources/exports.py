"""Exports of the sandbox: made after a delay, there for a while, and made again when asked."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from itertools import count
from secrets import token_urlsafe
from typing import Any

import msgspec

from ...clock import Clock
from ...protocol.operations import exports as operations
from ..answers import Reply, problem, reply
from .contacts import ContactBook
from .history import MessageLog
from .paging import spring_page
from .request import Handlers, Refused, ResourceRequest, numeric
from .times import iso

__all__ = ["ExportOffice"]

_CONTACT_COLUMNS = ("id", "fullName", "phoneNumber", "email")
_MESSAGE_COLUMNS = ("customerMessageId", "channel", "destination", "deliveryStatus", "sendDate")

Rows = Callable[[], Iterable[dict[str, Any]]]


class _Job(msgspec.Struct, kw_only=True):
    id: int
    type: str
    columns: tuple[str, ...]
    rows: Rows
    created: float
    begun: float
    failed: bool
    token: str

    def __repr__(self) -> str:
        return f"_Job({self.id})"


class ExportOffice:
    """The account's exports. Names of fields and columns that no page shows are guesses.

    Attributes:
        delay: seconds until an export is there; at once unless told.
        link_lasts: seconds until its link expires.
        failing: whether those queued from now on fail.
        host: where the sandbox listens: links lead there.
    """

    def __init__(self, clock: Clock, contacts: ContactBook, log: MessageLog) -> None:
        self.delay = 0.0
        self.link_lasts = 3600.0
        self.failing = False
        self.host = ""
        self._clock = clock
        self._contacts = contacts
        self._log = log
        self._ids = count(1)
        self._jobs: dict[int, _Job] = {}

    def handlers(self) -> Handlers:
        """What this area serves."""
        return {
            operations.EXPORT_HISTORY: self._history,
            operations.EXPORT_CONTACTS: self._export_contacts,
            operations.EXPORT_REPORTS: self._reports,
            operations.LIST_EXPORTS: self._list,
            operations.GET_EXPORT_LINK: self._link,
            operations.REGENERATE_EXPORT: self._regenerate,
        }

    def file(self, token: str) -> Reply:
        """Answer a download by its link, which needs no key."""
        for job in self._jobs.values():
            if job.token == token and self._status(job) == "COMPLETED":
                return Reply(status=200, body=_csv(job), content_type="text/csv")
        return problem(403, "The link has expired")

    def _queue(self, kind: str, columns: tuple[str, ...], rows: Rows) -> Reply:
        job = _Job(
            id=next(self._ids),
            type=kind,
            columns=columns,
            rows=rows,
            created=self._clock.time(),
            begun=self._clock.monotonic(),
            failed=self.failing,
            token=token_urlsafe(),
        )
        self._jobs[job.id] = job
        return reply(202, self._told(job))

    def _status(self, job: _Job) -> str:
        age = self._clock.monotonic() - job.begun
        if age < self.delay:
            return "PENDING"
        if job.failed:
            return "FAILED"
        return "COMPLETED" if age < self.delay + self.link_lasts else "EXPIRED"

    def _told(self, job: _Job) -> dict[str, Any]:
        status = self._status(job)
        available = status == "COMPLETED"
        told = {"id": job.id, "type": job.type, "status": status, "isAvailableForDownload": available}
        return told | {"createdAt": iso(job.created)}

    def _history(self, request: ResourceRequest) -> Reply:
        body: operations.HistoryExport = request.body

        def rows() -> Iterable[dict[str, Any]]:
            entries = self._log.entries(body.start_date_time, body.end_date_time)
            return [entry for entry in entries if body.recipient in {None, entry["destination"]}]

        return self._queue("HISTORY", _MESSAGE_COLUMNS, rows)

    def _export_contacts(self, request: ResourceRequest) -> Reply:
        body: operations.ContactExport = request.body
        if body.list_ids is not None and body.contact_ids is not None:
            raise Refused(400, "Give one of `listIds` and `contactIds`")
        return self._queue("CONTACTS", _CONTACT_COLUMNS, lambda: self._chosen(body))

    def _chosen(self, body: operations.ContactExport) -> list[dict[str, Any]]:
        everybody = self._contacts.contacts
        if body.contact_ids is not None:
            wanted = set(map(str, body.contact_ids))
        elif body.list_ids is not None:
            lists = set(map(str, body.list_ids))
            wanted = {str(who) for on, who in self._contacts.associations.values() if str(on) in lists}
        else:
            wanted = set(map(str, everybody))
        return [contact for contact_id, contact in everybody.items() if str(contact_id) in wanted]

    def _reports(self, request: ResourceRequest) -> Reply:
        body: operations.ReportExport = request.body
        start, end, campaign_id = body.start_date_time, body.end_date_time, body.campaign_id
        if campaign_id is not None:
            return self._queue("DELIVERY_REPORTS", _MESSAGE_COLUMNS, lambda: self._log.campaign(campaign_id))
        if start is None or end is None:
            raise Refused(400, "Give `campaignId`, or `startDateTime` and `endDateTime`")
        return self._queue("DELIVERY_REPORTS", _MESSAGE_COLUMNS, lambda: self._log.entries(start, end))

    def _list(self, request: ResourceRequest) -> Reply:
        newest_first = [self._told(job) for job in reversed(self._jobs.values())]
        return spring_page(newest_first, request.query.page, request.query.limit)

    def _link(self, request: ResourceRequest) -> Reply:
        job = self._known(request)
        status = self._status(job)
        if status == "EXPIRED":
            raise Refused(400, "The export has expired")
        if status != "COMPLETED":
            raise Refused(404, "The export is not available")
        return reply(200, {"url": f"{self.host}/exports/{job.token}"})

    def _regenerate(self, request: ResourceRequest) -> Reply:
        job = self._known(request)
        job.begun, job.failed, job.token = self._clock.monotonic(), self.failing, token_urlsafe()
        return reply(202, self._told(job))

    def _known(self, request: ResourceRequest) -> _Job:
        job = self._jobs.get(numeric(request, "exportId"))
        if job is None:
            raise Refused(404, "No such export")
        return job


def _csv(job: _Job) -> bytes:
    file = io.StringIO()
    writer = csv.DictWriter(file, job.columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(job.rows())
    return file.getvalue().encode()
