"""Everything the package raises, one tree.

::

    QlaraError
    ├── ConfigurationError (ValueError)      a client, receiver or limiter was set up wrongly
    ├── InvalidMessageError (ValueError)     the input is wrong; no request was spent
    ├── ClientStateError (RuntimeError)
    │   ├── ClientClosedError                used after aclose()
    │   └── WrongEventLoopError              used from another event loop than the one it started on
    ├── TransportError                       no complete answer; `.sent` is "no" or "maybe"
    │   ├── ConnectionFailed                 refused, DNS, TLS, dropped
    │   ├── RequestTimeout (TimeoutError)    `.phase` is "connect" or "read"
    │   └── DeliveryUnknownError             a send that may have been accepted, and was not repeated
    │       └── BatchUnknownError            of several messages in one request; `.message_ids`
    ├── HandlerTimeout (TimeoutError)        a handler took longer than it may; `.handler`, `.timeout`
    ├── ChainStoreError                      the store of fallback chains cannot be used
    ├── InboxError                           a durable inbox cannot be used
    ├── JournalError                         a bulk job's journal cannot be used
    │   ├── JournalDamagedError              the file is damaged, or no journal
    │   ├── JournalLockedError               another process has it; `.pid`, `.host`, `.since`
    │   ├── JournalMismatchError             the source is not the one journalled; `.index`
    │   ├── JournalVersionError              the file has another version of the format
    │   └── JournalWriteError                disk full, read-only, I/O, no such directory
    ├── TrackingError                        delivery tracking
    │   ├── StatusTimeout (TimeoutError)     a wait ended before its status came; `.status` is the last known
    │   ├── StatusUnreachableError           the message ended otherwise than waited for; `.status` says how
    │   └── TrackingStoreError               the tracker's store cannot be used
    ├── NotSentError                         deliberately not sent, before a request was spent; `.reason`
    │   ├── DestinationNotAllowedError       the client has `only_destinations`, and the recipient is none of them
    │   ├── OutsideWindowError               free-form WhatsApp, and the customer has not written for 24 hours
    │   ├── SuppressedError                  the recipient is on the suppression list
    │   └── TemplateNotApprovedError         Meta has not approved the template, when last seen
    ├── TemplateError                        a template's review; `.template_id`, `.status`
    │   ├── TemplateRejectedError            Meta rejected it
    │   └── TemplateTimeout (TimeoutError)   it is not approved yet
    ├── ExportError                          an export failed, or its link has expired; `.status`
    │   └── ExportTimeout (TimeoutError)     it is not available yet
    ├── StoreError                           a suppression list or the conversations cannot be read or written
    ├── TransferError                        a file could not be uploaded or downloaded
    ├── MessageRejectedError                 a 2xx answer with `accepted: false`; `.reasons`
    ├── UndecodableAnswerError               a 2xx answer that is not what the API documents
    └── ApiError                             an HTTP error; `.status`, `.code`, `.detail`, `.retry_after`
        ├── BadRequestError                  400
        ├── AuthenticationError              401
        ├── PermissionDeniedError            403
        ├── NotFoundError                    404
        ├── ConflictError                    409
        ├── UriTooLongError                  414
        ├── UnprocessableError               422
        ├── RateLimitError                   429, or a pause longer than the policy allows; `.retry_at`
        └── ServerError                      5xx
            ├── InternalServerError          500
            └── BadGatewayError              502

Texts of errors name the message by its id and never hold keys, tokens, phone numbers or message texts; all errors can
be pickled and copied. Status codes are those of the API pages; what to do about them is the vendor's FAQ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from .models.legacy_codes import LEGACY_CODES, LegacyCode

if TYPE_CHECKING:
    from .models.answers import MessageStatus

__all__ = [
    "ApiError",
    "AuthenticationError",
    "BadGatewayError",
    "BadRequestError",
    "BatchUnknownError",
    "ChainStoreError",
    "ClientClosedError",
    "ClientStateError",
    "ConfigurationError",
    "ConflictError",
    "ConnectionFailed",
    "DeliveryUnknownError",
    "DestinationNotAllowedError",
    "ExportError",
    "ExportTimeout",
    "HandlerTimeout",
    "InboxError",
    "InternalServerError",
    "InvalidMessageError",
    "JournalDamagedError",
    "JournalError",
    "JournalLockedError",
    "JournalMismatchError",
    "JournalVersionError",
    "JournalWriteError",
    "MessageRejectedError",
    "NotFoundError",
    "NotSentError",
    "OutsideWindowError",
    "PermissionDeniedError",
    "QlaraError",
    "RateLimitError",
    "RequestTimeout",
    "Sent",
    "ServerError",
    "StatusTimeout",
    "StatusUnreachableError",
    "StoreError",
    "SuppressedError",
    "TemplateError",
    "TemplateNotApprovedError",
    "TemplateRejectedError",
    "TemplateTimeout",
    "TrackingError",
    "TrackingStoreError",
    "TransferError",
    "TransportError",
    "UndecodableAnswerError",
    "UnprocessableError",
    "UriTooLongError",
    "WrongEventLoopError",
]

Sent = Literal["no", "maybe"]
"""Whether any of a request may have reached the gateway: ``"no"`` is a proof, ``"maybe"`` is everything else."""


def _rebuild(cls: type[QlaraError], args: tuple[Any, ...], state: dict[str, Any]) -> QlaraError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class QlaraError(Exception):
    """The root of the tree."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by attributes, so that errors with keyword arguments survive queues and process pools."""
        return _rebuild, (type(self), self.args, self.__dict__.copy())


class ConfigurationError(QlaraError, ValueError):
    """A client, receiver or limiter was set up in a way that cannot work."""


class InvalidMessageError(QlaraError, ValueError):
    """The input is wrong; it was found before a request was spent.

    Attributes:
        field: the field at fault, in snake_case, or ``None`` where no single one is.
        reason: what is wrong with it, without its value.
    """

    field: str | None
    reason: str

    def __init__(self, reason: str, *, field: str | None = None) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field = field
        self.reason = reason


class ClientStateError(QlaraError, RuntimeError):
    """The client cannot be used now."""


class ClientClosedError(ClientStateError):
    """The client was used after it was closed."""


class WrongEventLoopError(ClientStateError):
    """The client was used from another event loop than the one it started on."""


class TransportError(QlaraError):
    """The gateway gave no complete answer.

    Attributes:
        sent: ``"no"`` if provably nothing of the request's body left this machine, else ``"maybe"``.
        attempts: requests put on the wire so far.
        message_id: the message concerned, if it was a send.
    """

    sent: Sent

    def __init__(self, text: str, *, sent: Sent = "maybe", attempts: int = 1, message_id: str | None = None) -> None:
        super().__init__(text)
        self.sent = sent
        self.attempts = attempts
        self.message_id = message_id

    def __str__(self) -> str:
        return super().__str__() + _circumstances(self.message_id, self.attempts)


class ConnectionFailed(TransportError):
    """The connection could not be opened, or broke before the answer was complete."""


class RequestTimeout(TransportError, TimeoutError):
    """A time-out of one attempt.

    Attributes:
        phase: ``"connect"`` (nothing was sent) or ``"read"``.
    """

    phase: Literal["connect", "read"]

    def __init__(
        self,
        text: str,
        *,
        phase: Literal["connect", "read"],
        sent: Sent = "maybe",
        attempts: int = 1,
        message_id: str | None = None,
    ) -> None:
        super().__init__(text, sent=sent, attempts=attempts, message_id=message_id)
        self.phase = phase


class DeliveryUnknownError(TransportError):
    """A send may or may not have been accepted, and was not repeated (guarantee G1).

    Look ``message_id`` up with ``client.messages.status`` before you send it again. The cause is in ``__cause__``.
    """


class HandlerTimeout(QlaraError, TimeoutError):
    """A handler was cancelled because it took longer than its ``timeout``; the attempt has failed.

    Attributes:
        handler: its durable name.
        timeout: seconds it may take.
    """

    def __init__(self, handler: str = "", timeout: float = 0.0) -> None:
        super().__init__(f"handler {handler} took longer than {timeout:g} seconds, and was cancelled")
        self.handler = handler
        self.timeout = timeout


class BatchUnknownError(DeliveryUnknownError):
    """Some messages of one request may or may not have been accepted, and were not repeated.

    Attributes:
        message_ids: those messages. What became of the others of the request is in `accepted` and `refused`.
        accepted: ids of those that the gateway took.
        refused: ids of those that it did not.
    """

    message_ids: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, message_ids: Sequence[str], accepted: Sequence[str], refused: Sequence[str], *, attempts: int = 1
    ) -> BatchUnknownError:
        """Make the error of a request."""
        shown = ", ".join(message_ids[:3]) + (" …" if len(message_ids) > 3 else "")
        error = cls(f"{len(message_ids)} messages may have been accepted: look up {shown}", attempts=attempts)
        error.message_ids, error.accepted, error.refused = tuple(message_ids), tuple(accepted), tuple(refused)
        return error


class ChainStoreError(QlaraError):
    """The store of fallback chains is in use by another process, is no such file, or cannot be read or written."""


class InboxError(QlaraError):
    """A durable inbox cannot be used: its file is gone, locked, damaged or cannot grow, or it is closed."""


class JournalError(QlaraError):
    """The journal of a bulk job cannot be used. The text says which, why, and what to do."""


class JournalDamagedError(JournalError):
    """The file is damaged, or is no journal at all. It was left as it is."""


class JournalLockedError(JournalError):
    """Another job has the journal open: two on one journal would send twice.

    Attributes:
        pid: the process that has it, if it said.
        host: the machine that process runs on.
        since: when it opened the journal, in seconds since the epoch.
    """

    def __init__(
        self, text: str, *, pid: int | None = None, host: str | None = None, since: float | None = None
    ) -> None:
        super().__init__(text)
        self.pid = pid
        self.host = host
        self.since = since


class JournalMismatchError(JournalError):
    """A row of the source is not the one that the journal has at its place.

    Neither that row nor any later one was sent.

    Attributes:
        index: the row's place in the source, from 0.
    """

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index

    def __str__(self) -> str:
        return (
            f"row {self.index} of the source differs from the journal; neither it nor any later row was sent: "
            "give the source that the journal was begun with, or a new journal"
        )


class JournalVersionError(JournalError):
    """The journal was written by a version of the package with another format. It was left as it is."""


class JournalWriteError(JournalError):
    """The journal cannot be written: disk full, read-only, I/O error, locked by another program, or gone.

    Nothing is sent that is not journalled: put the cause right and run the job again with the same journal and source.
    """


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
        return super().__str__() + _circumstances(self.message_id, 0)


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


class StoreError(QlaraError):
    """A suppression list or the conversations cannot be used: the file is locked, damaged, full, or something else.

    A send that cannot be checked is not made.
    """


class TransferError(QlaraError):
    """A file could not be uploaded or downloaded; of a download nothing is left.

    The text says why: what was to be sent cannot be read, or what comes is too large, too slow, from where it must not
    come, or cannot be written.
    """


class MessageRejectedError(QlaraError):
    """The gateway answered 2xx, but did not accept the message.

    Attributes:
        reasons: the gateway's ``reasons`` as they came, scrubbed of the message's own words (its vocabulary is
            undocumented).
        message_id: the message concerned.
        attempts: requests put on the wire.
        body: the raw answer.
    """

    def __init__(
        self, *, reasons: Sequence[str] = (), message_id: str | None = None, attempts: int = 1, body: bytes = b""
    ) -> None:
        said = ", ".join(reasons) or "it gave no reason"
        super().__init__(f"the gateway did not accept the message: {said}")
        self.reasons = tuple(reasons)
        self.message_id = message_id
        self.attempts = attempts
        self.body = body

    def __str__(self) -> str:
        return super().__str__() + _circumstances(self.message_id, self.attempts)


class UndecodableAnswerError(QlaraError):
    """A 2xx answer is not what the API documents; ``body`` has it raw."""

    def __init__(self, text: str, *, status: int, body: bytes = b"") -> None:
        super().__init__(text)
        self.status = status
        self.body = body


class ApiError(QlaraError):
    """The gateway answered with an HTTP error.

    Attributes:
        status: the HTTP status code.
        code: the gateway's own error code, if the body has one (SMS Legacy table), else ``None``.
        field: the field at fault in snake_case, if the body of a 400 or 422 names one (how is undocumented).
        detail: the gateway's words, scrubbed of the request's own values and of long digit runs; may be empty.
        retry_after: seconds the gateway asked to wait, if it did.
        attempts: requests put on the wire so far.
        message_id: the message concerned, if it was a send.
        body: the raw answer. It may hold personal data: mind where you log it.
    """

    advice: ClassVar[str] = "see detail and body"

    def __init__(
        self,
        status: int,
        *,
        code: int | str | None = None,
        field: str | None = None,
        detail: str = "",
        retry_after: float | None = None,
        attempts: int = 1,
        message_id: str | None = None,
        body: bytes = b"",
    ) -> None:
        super().__init__(status)
        self.status = status
        self.code = code
        self.field = field
        self.detail = detail
        self.retry_after = retry_after
        self.attempts = attempts
        self.message_id = message_id
        self.body = body

    @property
    def meaning(self) -> str | None:
        """What `code` means by the table of SMS Legacy; ``None`` without one of its codes."""
        known = self._known_code
        return None if known is None else known.meaning

    @property
    def _known_code(self) -> LegacyCode | None:
        return LEGACY_CODES.get(self.code) if isinstance(self.code, int) else None

    def __str__(self) -> str:
        known = self._known_code
        code = "" if self.code is None else f", code {self.code}"
        meaning = "" if known is None else f" ({known.meaning})"
        field = "" if self.field is None else f", field {self.field}"
        detail = f": {self.detail}" if self.detail else ""
        advice = self.advice if known is None else known.advice
        circumstances = _circumstances(self.message_id, self.attempts)
        return f"the gateway answered {self.status}{code}{meaning}{field}{detail} — {advice}{circumstances}"


class BadRequestError(ApiError):
    """400: the request is malformed."""

    advice = "a field is missing, empty or of the wrong type"


class AuthenticationError(ApiError):
    """401: the API key or the credentials are missing, invalid or expired."""

    advice = "check the API key; it may have been revoked"


class PermissionDeniedError(ApiError):
    """403: the source IP is not on the account's allow-list, or the resource or channel is not yours."""

    advice = "check the account's IP allow-list, its plan and the resource's owner"


class NotFoundError(ApiError):
    """404: the resource does not exist; for a status query also: not on that channel."""

    advice = "check the id and its channel, and that base_url ends in /api"


class ConflictError(ApiError):
    """409: it exists already."""

    advice = "update the existing one instead"


class UriTooLongError(ApiError):
    """414: the request's URL is too long."""

    advice = "ask for fewer ids at a time"


class UnprocessableError(ApiError):
    """422: well-formed but semantically wrong (phone format, template variables, media, a number not on the list)."""

    advice = "check the phone format, the template variables and the media"


class RateLimitError(ApiError):
    """429: the gateway's rate limit, still in force when the policy's patience ended.

    Attributes:
        retry_at: seconds since the epoch from which the gateway takes requests again, or ``None`` if it did not say.
    """

    advice = "wait, or lower the client's rate limit if others use the same key"
    retry_at: float | None

    def __init__(
        self,
        status: int = 429,
        *,
        code: int | str | None = None,
        field: str | None = None,
        detail: str = "",
        retry_after: float | None = None,
        attempts: int = 1,
        message_id: str | None = None,
        body: bytes = b"",
        retry_at: float | None = None,
    ) -> None:
        super().__init__(
            status,
            code=code,
            field=field,
            detail=detail,
            retry_after=retry_after,
            attempts=attempts,
            message_id=message_id,
            body=body,
        )
        self.retry_at = retry_at

    def __str__(self) -> str:
        if self.attempts == 0:
            return f"not sent: {self.detail}{_circumstances(self.message_id, 0)}"
        return super().__str__()


class ServerError(ApiError):
    """5xx: the gateway failed. It proves nothing about whether a message was accepted."""

    advice = "the gateway failed; try later"


class InternalServerError(ServerError):
    """500."""


class BadGatewayError(ServerError):
    """502: an upstream of the gateway is down."""


def _circumstances(message_id: str | None, attempts: int) -> str:
    parts = [f"message {message_id}"] if message_id else []
    if attempts > 1:
        parts.append(f"{attempts} attempts")
    return f" ({', '.join(parts)})" if parts else ""
