"""What the gateway answered: a `Response` deciphered into typed answers, or into the error it is.

Tolerant by rule: unknown fields and values, both shapes of ``results`` and every kind of error body decode. Only the
429 body is documented; the others are read as Spring's ``{status,error,message}``, JSend's ``{status,message,code}``,
other JSON, or text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qsl, unquote, unquote_plus

import msgspec

from ..errors import (
    ApiError,
    AuthenticationError,
    BadGatewayError,
    BadRequestError,
    ConflictError,
    InternalServerError,
    MessageRejectedError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    UndecodableAnswerError,
    UnprocessableError,
    UriTooLongError,
)
from ..models.answers import CallbackRegistration, ChannelResult, MessageStatus, Receipt
from ..models.channel import Channel, DeliveryStatus
from ..models.legacy_codes import LEGACY_CODES
from ..models.telemetry import RateLimitHeaders
from .error_fields import field_of
from .redaction import scrub, strings_in
from .requests import Request

__all__ = [
    "Response",
    "error_of",
    "rate_limit_headers",
    "receipt_of",
    "registration_of",
    "status_of",
    "statuses_of",
]

_ERRORS: dict[int, type[ApiError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    414: UriTooLongError,
    422: UnprocessableError,
    429: RateLimitError,
    500: InternalServerError,
    502: BadGatewayError,
}
_STATUSES = {status.value: status for status in DeliveryStatus}
# Seconds since the epoch are above this since 2001; a wait of 31 years is not one.
_EPOCH_FROM = 1_000_000_000
_MASKED_REASON_LIMIT = 10


class Response(msgspec.Struct, frozen=True, gc=False):
    """A complete HTTP answer.

    Attributes:
        status: the status code.
        headers: a mapping whose look-up ignores case.
        body: the bytes.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"Response({self.status}, <{len(self.body)} bytes>)"


def receipt_of(response: Response, request: Request, channel: Channel, *, attempts: int) -> Receipt:
    """Read the answer to a send.

    ``results`` may be an object keyed by channel or an array of entries with ``channel``. A fallback channel that
    took the message is enough. A 2xx that names no results is a success, by the rule that any 2xx is, unless it
    speaks of an error.

    Raises:
        MessageRejectedError: 2xx with ``accepted: false``.
        UndecodableAnswerError: nothing says whether the message was accepted.
    """
    results, simulation = _read_send_answer(response)
    if results and not any(result.accepted for result in results.values()):
        raise MessageRejectedError(
            reasons=_shown_reasons(results, request),
            message_id=request.message_id,
            attempts=attempts,
            body=response.body,
        )
    return Receipt(
        message_id=request.message_id or "",
        channel=channel,
        results=results,
        simulation=simulation,
        attempts=attempts,
        raw=response.body,
    )


class _SendAnswer(msgspec.Struct, gc=False):
    """The documented shape, which nearly every answer has: decoded in one step."""

    results: dict[str, ChannelResult] = {}
    simulation: bool = False


_SEND_ANSWER = msgspec.json.Decoder(_SendAnswer)


def _read_send_answer(response: Response) -> tuple[dict[str, ChannelResult], bool]:
    try:
        documented = _SEND_ANSWER.decode(response.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        answer = _decode(response.body)
    else:
        if documented.results:
            return {key.upper(): result for key, result in documented.results.items()}, documented.simulation
        answer = _decode(response.body)
    if not isinstance(answer, dict):
        raise _undecodable("the answer to a send is not a JSON object", response)
    results = _results(answer, response)
    if not results and _speaks_of_an_error(answer):
        raise _undecodable("the answer to a send speaks of an error and not of acceptance", response)
    return results, answer.get("simulation") is True


def _speaks_of_an_error(answer: dict[str, Any]) -> bool:
    status = str(answer.get("status")).lower()
    return bool(answer.get("error")) or answer.get("success") is False or status in {"error", "fail"}


def _undecodable(text: str, response: Response) -> UndecodableAnswerError:
    return UndecodableAnswerError(text, status=response.status, body=response.body)


def _results(answer: dict[str, Any], response: Response) -> dict[str, ChannelResult]:
    results = answer.get("results")
    entries: list[tuple[Any, Any]] = []
    if isinstance(results, dict):
        entries = list(results.items())
    elif isinstance(results, list):
        entries = [(item.get("channel"), item) for item in results if isinstance(item, dict)]
    if not entries and "accepted" in answer:
        entries = [("", answer)]
    told_of = [(str(key).upper(), _accepted(entry), entry) for key, entry in entries if isinstance(entry, dict)]
    # Of several entries for one channel, one that was accepted is enough: it stays last.
    told_of.sort(key=lambda one: one[1] is True)
    verdicts = {key: (accepted, entry) for key, accepted, entry in told_of}
    told = [accepted for accepted, _ in verdicts.values()]
    if None in told and True not in told:
        raise _undecodable("an entry of results does not say whether it was accepted", response)
    return {key: _result(accepted is True, entry) for key, (accepted, entry) in verdicts.items()}


def _accepted(entry: dict[str, Any]) -> bool | None:
    return {"true": True, "false": False}.get(str(entry.get("accepted")).lower())


def _result(accepted: bool, entry: dict[str, Any]) -> ChannelResult:
    parts, unicode, reasons = entry.get("parts"), entry.get("unicode"), entry.get("reasons")
    return ChannelResult(
        accepted=accepted,
        parts=parts if type(parts) is int else None,
        unicode=unicode if type(unicode) is bool else None,
        reasons=tuple(map(_as_text, reasons)) if isinstance(reasons, list) else (),
    )


def _as_text(reason: Any) -> str:
    return reason if isinstance(reason, str) else msgspec.json.encode(reason).decode()


def _shown_reasons(results: dict[str, ChannelResult], request: Request) -> list[str]:
    private = list(_private_values(request))
    reasons = [reason for result in results.values() for reason in result.reasons]
    return [scrub(reason, private) for reason in reasons[:_MASKED_REASON_LIMIT]]


def status_of(response: Response, message_id: str, channel: Channel) -> MessageStatus:
    """Read one ``DeliveryStatusResponse``. Raises ``UndecodableAnswerError`` if it is none."""
    answer = _decode(response.body)
    if not isinstance(answer, dict):
        raise UndecodableAnswerError("a status is not a JSON object", status=response.status, body=response.body)
    return _message_status(answer, message_id, channel)


def statuses_of(response: Response, message_ids: Iterable[str], channel: Channel) -> dict[str, MessageStatus | None]:
    """Read the unordered array of a batch query: every id asked for, with ``None`` where the gateway omitted it.

    Raises:
        UndecodableAnswerError: the body is not a JSON array, so that an omission would prove nothing.
    """
    answer = _decode(response.body)
    if not isinstance(answer, list):
        raise UndecodableAnswerError("a status list is not a JSON array", status=response.status, body=response.body)
    found: dict[str, MessageStatus | None] = dict.fromkeys(message_ids)
    for item in answer:
        if not isinstance(item, dict):
            continue
        for key in (item.get("customerMessageId"), item.get("messageId")):
            if isinstance(key, str) and key in found:
                found[key] = _message_status(item, key, channel)
                break
    return found


def _message_status(item: dict[str, Any], message_id: str, channel: Channel) -> MessageStatus:
    text = item.get("deliveryStatus")
    text = text if isinstance(text, str) else ""
    description = item.get("deliveryStatusDescription")
    return MessageStatus(
        message_id=message_id,
        channel=channel,
        status=_STATUSES.get(text.upper(), DeliveryStatus.UNKNOWN),
        status_text=text,
        description=description if isinstance(description, str) else None,
        raw=msgspec.json.encode(item),
    )


def registration_of(response: Response, callback_url: str | None = None) -> CallbackRegistration:
    """Read the registered callback; fields the answer lacks (its schema is only partly documented) are ``None``."""
    answer = _decode(response.body)
    fields = answer if isinstance(answer, dict) else {}
    url = fields.get("callbackUrl")
    if not isinstance(url, str):
        url = callback_url
    if url is None:
        raise UndecodableAnswerError("the answer names no callbackUrl", status=response.status, body=response.body)
    return CallbackRegistration(
        callback_url=url,
        id=_text_or_none(fields.get("id")),
        status=_text_or_none(fields.get("status")),
        created_at=_text_or_none(fields.get("createdAt")),
    )


def _text_or_none(value: Any) -> str | None:
    return None if value is None else str(value)


def error_of(
    response: Response, request: Request, *, attempts: int, now: float, secrets: Iterable[str] = ()
) -> ApiError:
    """Make the error an answer outside 2xx stands for.

    Args:
        response: the answer.
        request: what was asked; its values are masked in ``detail``.
        attempts: requests put on the wire so far.
        now: seconds since the epoch, to read dates.
        secrets: credentials to mask as well.
    """
    body = _decode(response.body)
    fields = body if isinstance(body, dict) else {}
    private = [*_private_values(request), *secrets]
    kind = _ERRORS.get(response.status) or (ServerError if response.status >= 500 else ApiError)
    code = _code(fields, private)
    error = kind(
        response.status,
        code=code,
        field=_field(response.status, fields, code, private),
        detail=scrub(_detail(body, response), private),
        retry_after=_retry_after(response.headers, fields, now),
        attempts=attempts,
        message_id=request.message_id,
        body=response.body,
    )
    if isinstance(error, RateLimitError) and error.retry_after is not None:
        error.retry_at = now + error.retry_after
    return error


def _code(fields: dict[str, Any], private: Iterable[str]) -> int | str | None:
    code = fields.get("code")
    if isinstance(code, str) and not (code.isascii() and code.isdigit() and len(code) < 4):
        return scrub(code, private)
    return int(code) if isinstance(code, int | str) and not isinstance(code, bool) else None


def _field(status: int, fields: dict[str, Any], code: int | str | None, private: Iterable[str]) -> str | None:
    if status not in {400, 422}:
        return None
    known = LEGACY_CODES.get(code) if isinstance(code, int) else None
    return field_of(fields, private) or (None if known is None else known.field)


def _detail(body: Any, response: Response) -> str:
    if isinstance(body, dict):
        for key in ("message", "detail", "error", "title"):
            if isinstance(body.get(key), str) and body[key]:
                return str(body[key])
        return ""
    content_type = response.headers.get("Content-Type", "")
    return response.body[:1000].decode("utf-8", "replace") if content_type.startswith("text/plain") else ""


def _private_values(request: Request) -> Iterable[str]:
    yield from (value or name for name, value in parse_qsl(request.query, keep_blank_values=True))
    if request.message_id is None:
        yield from unquote(request.path).split("/")[4:]  # below /partner-gateway/v1/{resource}
    if request.body is None:
        return
    values = _decode(request.body)
    if values is None:
        yield unquote_plus(request.body.decode("utf-8", "replace"))
    yield from strings_in(values)


def _retry_after(headers: Mapping[str, str], fields: dict[str, Any], now: float) -> float | None:
    """The larger of the header (seconds or HTTP date, RFC 9110 §10.2.3) and the body's ``retryAfter`` (seconds)."""
    waits = [_header_wait(headers.get("Retry-After"), now), _seconds(fields.get("retryAfter"))]
    return max((wait for wait in waits if wait is not None), default=None)


def _header_wait(value: str | None, now: float) -> float | None:
    if value is None:
        return None
    seconds = _seconds(value)
    if seconds is not None:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _seconds(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return max(0.0, seconds) if seconds < _EPOCH_FROM else None


def rate_limit_headers(headers: Mapping[str, str], *, now: float) -> RateLimitHeaders | None:
    """Read ``X-RateLimit-Limit``, ``-Remaining`` and ``-Reset``; ``None`` if the answer has none of them.

    The unit of ``Reset`` is undocumented: a value above 10⁹ can only be an epoch, in seconds or milliseconds.
    """
    limit, remaining = headers.get("X-RateLimit-Limit"), headers.get("X-RateLimit-Remaining")
    reset = headers.get("X-RateLimit-Reset")
    if limit is None and remaining is None and reset is None:
        return None
    return RateLimitHeaders(limit=_count(limit), remaining=_count(remaining), reset_after=_reset_after(reset, now))


def _count(value: str | None) -> int | None:
    return int(value) if value is not None and value.isascii() and value.isdigit() and len(value) < 16 else None


def _reset_after(value: str | None, now: float) -> float | None:
    if value is None:
        return None
    try:
        reset = float(value)
    except ValueError:
        return None
    if not 0 <= reset < _EPOCH_FROM * 10_000:
        return None
    if reset >= _EPOCH_FROM * 100:
        reset /= 1000
    return max(0.0, reset - now) if reset >= _EPOCH_FROM else reset


def _decode(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
