"""What the gateway answered: an HTTP error, a refusal, or something else than is documented."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ..models.legacy_codes import LEGACY_CODES, LegacyCode
from .root import QlaraError, circumstances

__all__ = [
    "ApiError",
    "AuthenticationError",
    "BadGatewayError",
    "BadRequestError",
    "ConflictError",
    "InternalServerError",
    "MessageRejectedError",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitError",
    "ServerError",
    "UndecodableAnswerError",
    "UnprocessableError",
    "UriTooLongError",
]


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
        return super().__str__() + circumstances(self.message_id, self.attempts)


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
        where = circumstances(self.message_id, self.attempts)
        return f"the gateway answered {self.status}{code}{meaning}{field}{detail} — {advice}{where}"


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
            return f"not sent: {self.detail}{circumstances(self.message_id, 0)}"
        return super().__str__()


class ServerError(ApiError):
    """5xx: the gateway failed. It proves nothing about whether a message was accepted."""

    advice = "the gateway failed; try later"


class InternalServerError(ServerError):
    """500."""


class BadGatewayError(ServerError):
    """502: an upstream of the gateway is down."""
