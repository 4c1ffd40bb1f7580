"""What was waited for did not come: a delivery, a review, an export."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .root import QlaraError

if TYPE_CHECKING:
    from ..models.answers import MessageStatus

__all__ = [
    "ExportError",
    "ExportTimeout",
    "StatusTimeout",
    "StatusUnreachableError",
    "TemplateError",
    "TemplateRejectedError",
    "TemplateTimeout",
    "TrackingError",
    "TrackingStoreError",
]


class TrackingError(QlaraError):
    """A message's delivery could not be followed.

    Attributes:
        message_id: the message concerned, if it is one.
        status: what was last known of it.
    """

    def __init__(self, text: str, *, message_id: str | None = None, status: MessageStatus | None = None) -> None:
        super().__init__(text)
        self.message_id = message_id
        self.status = status


class StatusTimeout(TrackingError, TimeoutError):
    """The status waited for did not come in time. The message may still reach it."""


class StatusUnreachableError(TrackingError):
    """The message has ended, and the status waited for cannot come any more."""


class TrackingStoreError(TrackingError):
    """The tracker's store is in use by another process, is no such file, or cannot be read or written."""


class TemplateError(QlaraError):
    """A WhatsApp template is not approved, and waiting for it has ended.

    Attributes:
        template_id: the template.
        status: the last word of the gateway on it; ``None`` if it said none.
    """

    def __init__(self, text: str, *, template_id: int | str = "", status: str | None = None) -> None:
        super().__init__(text)
        self.template_id = template_id
        self.status = status


class TemplateRejectedError(TemplateError):
    """Meta rejected the template: change it, and it is reviewed again."""


class TemplateTimeout(TemplateError, TimeoutError):
    """The template was not approved in time. The review goes on: it takes up to 48 hours (FAQ)."""


class ExportError(QlaraError):
    """An export is not available, and waiting for it has ended.

    Attributes:
        status: the last word of the gateway on it; ``None`` if it said none.
    """

    def __init__(self, text: str, *, status: str | None = None) -> None:
        super().__init__(text)
        self.status = status


class ExportTimeout(ExportError, TimeoutError):
    """The export was not available in time. It may still be made."""
