"""What the answers about exports mean: their states, and where the file is."""

from __future__ import annotations

from ..errors import UndecodableAnswerError
from ..models.exports import DownloadLink
from .records import json_of, record_of
from .responses import Response

__all__ = ["has_expired", "has_failed", "link_of"]

# The guide has PENDING, COMPLETED and EXPIRED; of failed exports only prose speaks.
_FAILED = frozenset({"FAILED", "FAILURE", "ERROR", "CANCELED", "CANCELLED"})


def has_failed(status: str | None) -> bool:
    """Whether an export will never be there. Words we do not know are none of these."""
    return (status or "").upper() in _FAILED


def has_expired(status: str | None) -> bool:
    """Whether the link of an export has expired, so that it must be made again."""
    return (status or "").upper() == "EXPIRED"


def link_of(response: Response) -> DownloadLink:
    """Read the link to an export: a bare URL, one as a JSON string, or an object that has it.

    Raises:
        UndecodableAnswerError: it is none of these.
    """
    text = response.body.decode("utf-8", "replace").strip()
    if text.startswith(("https://", "http://")):
        return DownloadLink.of(text)
    value = json_of(response)
    link = DownloadLink.of(value) if isinstance(value, str) else record_of(response, DownloadLink)
    if not link.url:
        raise UndecodableAnswerError("the answer holds no link", status=response.status, body=response.body)
    return link
