"""Exports and the message history, as the platform API answers them (API tags "Export" and "Message History")."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from .record import Id, Record

__all__ = ["DownloadLink", "Export", "HistoryEntry"]


class HistoryEntry(Record, frozen=True, kw_only=True):
    """A message as the history has it. Its ``repr`` shows the id, the channel and the status.

    The first four fields are those of a status answer, of which the API page names three. The others are a use case's.

    Attributes:
        message_id: ``customerMessageId``: the id status queries and callbacks know the message by.
        channel: as given.
        status: ``deliveryStatus``, such as ``DELIVERED``; compares equal to a `DeliveryStatus`.
        description: ``deliveryStatusDescription``.
        destination: the recipient.
        sender: the sender.
        body: the text.
        direction: ``OUTBOUND`` is the only value seen.
        send_date: as given.
        delivery_date: as given.
        cost: the price.
        parts: SMS parts.
    """

    aliases: ClassVar[dict[str, tuple[str, ...]]] = {"message_id": ("messageId", "id"), "status": ("status",)}
    shown: ClassVar[tuple[str, ...]] = ("message_id", "channel", "status")

    message_id: str = msgspec.field(default="", name="customerMessageId")
    channel: str | None = None
    status: str | None = msgspec.field(default=None, name="deliveryStatus")
    description: str | None = msgspec.field(default=None, name="deliveryStatusDescription")
    destination: str | None = None
    sender: str | None = None
    body: str | None = None
    direction: str | None = None
    send_date: str | None = None
    delivery_date: str | None = None
    cost: float | None = None
    parts: int | None = None


class Export(Record, frozen=True, kw_only=True):
    """A file that is made in the background: CSV, always.

    Attributes:
        id: ``id`` or ``exportId``: which is not documented. ``""`` if the answer named none, as the one that queues an
            export may: find the export in the list then.
        status: ``PENDING``, ``COMPLETED`` or ``EXPIRED`` (guide); prose also speaks of failed ones.
        is_available_for_download: whether there is a link now. It goes back to ``False`` when that expires.
        type: what it is of (a guess).
        created_at: as given (a guess).
    """

    aliases: ClassVar[dict[str, tuple[str, ...]]] = {"id": ("exportId",), "created_at": ("creationDate",)}
    shown: ClassVar[tuple[str, ...]] = ("id", "status", "is_available_for_download")

    id: Id = ""
    status: str | None = None
    is_available_for_download: bool = False
    type: str | None = None
    created_at: str | None = None


class DownloadLink(Record, frozen=True, kw_only=True):
    """Where an export is, for a limited time. Whoever has the URL can download it: ``repr`` does not show it.

    Attributes:
        url: the URL (under which name it comes is a guess).
        expires_at: as given (a guess).
    """

    aliases: ClassVar[dict[str, tuple[str, ...]]] = {
        "url": ("downloadUrl", "downloadLink", "link", "presignedUrl", "href"),
        "expires_at": ("expiration", "expirationDate"),
    }
    shown: ClassVar[tuple[str, ...]] = ("expires_at",)

    url: str = ""
    expires_at: str | None = None

    @classmethod
    def of(cls, url: str) -> DownloadLink:
        """Make one of a bare URL."""
        raw: dict[str, Any] = {"url": url}
        return cls(url=url, raw=raw)
