"""Messages that were not sent, on purpose."""

from __future__ import annotations

from .root import QlaraError, circumstances

__all__ = [
    "DestinationNotAllowedError",
    "NotSentError",
    "OutsideWindowError",
    "SuppressedError",
    "TemplateNotApprovedError",
]


class NotSentError(QlaraError):
    """The message was deliberately not sent, before it cost a request: a check before the send refused it.

    Attributes:
        reason: why, in a word that a program can tell by.
        message_id: the message concerned.
    """

    reason: str

    def __init__(
        self, text: str = "not sent, on purpose", *, reason: str = "refused", message_id: str | None = None
    ) -> None:
        super().__init__(text)
        self.reason = reason
        self.message_id = message_id

    def __str__(self) -> str:
        return super().__str__() + circumstances(self.message_id, 0)


class DestinationNotAllowedError(NotSentError):
    """The client was given ``only_destinations``, and the recipient is none of them."""

    def __init__(
        self,
        text: str = "not sent: the client's only_destinations does not name the recipient",
        *,
        reason: str = "destination_not_allowed",
        message_id: str | None = None,
    ) -> None:
        super().__init__(text, reason=reason, message_id=message_id)


class OutsideWindowError(NotSentError):
    """A free-form WhatsApp message, and the customer has not written within the last 24 hours (FAQ), as far as known.

    Send a template, or name one that takes such a message's place: ``QlaraClient(outside_window=…)``.
    """

    def __init__(
        self,
        text: str = "not sent: the customer has not written for 24 hours; send a template, or give outside_window=",
        *,
        reason: str = "outside_window",
        message_id: str | None = None,
    ) -> None:
        super().__init__(text, reason=reason, message_id=message_id)


class SuppressedError(NotSentError):
    """The recipient is on the client's suppression list."""

    def __init__(
        self,
        text: str = "not sent: the recipient is on the suppression list",
        *,
        reason: str = "suppressed",
        message_id: str | None = None,
    ) -> None:
        super().__init__(text, reason=reason, message_id=message_id)


class TemplateNotApprovedError(NotSentError):
    """The message refers to a WhatsApp template that is under review or was rejected, when the client last saw it.

    Wait with ``client.whatsapp.templates.wait_until_approved``, or look again with ``get``.
    """

    def __init__(
        self,
        text: str = "not sent: the template is not approved, when last seen",
        *,
        reason: str = "template_not_approved",
        message_id: str | None = None,
    ) -> None:
        super().__init__(text, reason=reason, message_id=message_id)
