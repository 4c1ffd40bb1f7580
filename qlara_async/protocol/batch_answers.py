"""What the gateway answered to a batch of SMS, message by message.

The success body of SMS Legacy is undocumented ("a summary of processed messages"). Everything read here beyond JSend's
error body is a guess, and tolerant: entries are found wherever they are, by a message's id or by its recipient. Without
entries a 2xx is acceptance of all; where an answer speaks of some messages and not of others, or refuses a number of
messages without naming them, what became of those is open, and they are to be looked up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from functools import cached_property
from typing import Any

import msgspec

from ..errors import UndecodableAnswerError
from ..models.answers import ChannelResult
from ..models.legacy_codes import LEGACY_CODES
from .responses import Response

__all__ = ["Judgement", "Verdict", "verdicts_of"]

_ID_NAMES = ("id", "messageId", "customerMessageId", "smsId")
_RECIPIENT_NAMES = ("destination", "phoneNumber", "recipient", "to")
_REFUSING_NAMES = frozenset({"rejected", "refused", "failed", "errors", "invalid", "discarded", "notAccepted"})
_REASON_NAMES = ("message", "reason", "error", "description", "detail")
_ACCEPTING = frozenset({"ok", "success", "accepted", "sent", "queued", "processed", "scheduled", "true"})
_REFUSING = frozenset({"error", "fail", "failed", "rejected", "refused", "invalid", "discarded", "false", "ko"})
_SERVER_ERRORS = frozenset({8, 9})


class Judgement(Enum):
    """What an answer says of one message."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    OPEN = "open"


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What an answer says of one message; `result` holds parts and reasons, if its entry has any."""

    judgement: Judgement
    result: ChannelResult | None = None


class _Batch:
    """The messages an answer may speak of."""

    def __init__(self, recipients: Mapping[str, str]) -> None:
        self.recipients = recipients

    @cached_property  # few answers name recipients
    def ids_by_recipient(self) -> dict[str, str]:
        """Ids by the recipient in either spelling, of those with one message only."""
        ids: dict[str, str] = {}
        twice: set[str] = set()
        for message_id, recipient in self.recipients.items():
            for spelled in (recipient, recipient.removeprefix("+")):
                if ids.setdefault(spelled, message_id) != message_id:
                    twice.add(spelled)
        return {recipient: message_id for recipient, message_id in ids.items() if recipient not in twice}


_ACCEPTED = Verdict(Judgement.ACCEPTED)
_OPEN = Verdict(Judgement.OPEN)


def verdicts_of(response: Response, recipients: Mapping[str, str]) -> dict[str, Verdict]:
    """Judge each message of a batch by a 2xx answer.

    Args:
        response: the answer.
        recipients: message id -> destination, of the whole batch.

    Raises:
        UndecodableAnswerError: it is no JSON, or reports a failure of the server: it proves nothing.
    """
    answer = _decoded(response)
    named = dict(_entries(answer, _Batch(recipients)))
    if named:
        others = _OPEN if any(item.judgement is not Judgement.REFUSED for item in named.values()) else _ACCEPTED
    else:
        others = _as_a_whole(answer, response)
    return {message_id: named.get(message_id, others) for message_id in recipients}


def _decoded(response: Response) -> Any:
    if not response.body.strip():
        return None
    try:
        return msgspec.json.decode(response.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        text = "the answer to a batch is not JSON"
    raise UndecodableAnswerError(text, status=response.status, body=response.body)


def _as_a_whole(answer: Any, response: Response) -> Verdict:
    if not isinstance(answer, dict):
        return _ACCEPTED
    if _code(answer) in _SERVER_ERRORS:
        raise UndecodableAnswerError("the gateway reports a failure", status=response.status, body=response.body)
    if str(answer.get("status")).lower() in {"error", "fail"} or answer.get("accepted") is False:
        return Verdict(Judgement.REFUSED, ChannelResult(accepted=False, reasons=_reasons(answer)))
    counts = [answer.get(name) for name in _REFUSING_NAMES]
    return _OPEN if any(type(count) is int and count > 0 for count in counts) else _ACCEPTED


def _entries(answer: Any, batch: _Batch) -> Iterator[tuple[str, Verdict]]:
    """Find what speaks of single messages, however deep."""
    pending = [answer]
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            pending.extend(item)
        elif isinstance(item, dict):
            message_id = _subject(item, batch)
            if message_id is not None:
                yield message_id, _verdict(item)
                continue
            for name, value in item.items():
                if name in batch.recipients:  # keyed by id
                    yield name, _verdict(value if isinstance(value, dict) else {"status": value})
                elif name in _REFUSING_NAMES and isinstance(value, list):
                    yield from _refused(value, batch)
                else:
                    pending.append(value)


def _refused(items: list[Any], batch: _Batch) -> Iterator[tuple[str, Verdict]]:
    for item in items:
        if isinstance(item, dict):
            message_id = _subject(item, batch)
            reasons = _reasons(item)
        else:
            name = str(item)
            message_id = name if name in batch.recipients else batch.ids_by_recipient.get(name)
            reasons = ()
        if message_id is not None:
            yield message_id, Verdict(Judgement.REFUSED, ChannelResult(accepted=False, reasons=reasons))


def _subject(entry: dict[str, Any], batch: _Batch) -> str | None:
    for name in _ID_NAMES:
        value = entry.get(name)
        if isinstance(value, str) and value in batch.recipients:
            return value
    for name in _RECIPIENT_NAMES:
        value = entry.get(name)
        if isinstance(value, str) and value in batch.ids_by_recipient:
            return batch.ids_by_recipient[value]
    return None


def _verdict(entry: dict[str, Any]) -> Verdict:
    told = {str(entry[name]).lower() for name in ("accepted", "success", "status") if name in entry}
    code = _code(entry)
    if code in _SERVER_ERRORS:
        return _OPEN
    if told & _REFUSING or (code is not None and code in LEGACY_CODES):
        return Verdict(Judgement.REFUSED, ChannelResult(accepted=False, reasons=_reasons(entry)))
    if told and not told & _ACCEPTING:
        return _OPEN
    parts, unicode = entry.get("parts"), entry.get("unicode")
    return Verdict(
        Judgement.ACCEPTED,
        ChannelResult(
            accepted=True,
            parts=parts if type(parts) is int else None,
            unicode=unicode if type(unicode) is bool else None,
        ),
    )


def _code(entry: Mapping[str, Any]) -> int | None:
    code = entry.get("code", entry.get("errorCode"))
    return code if type(code) is int else None


def _reasons(entry: Mapping[str, Any]) -> tuple[str, ...]:
    code = _code(entry)
    known = LEGACY_CODES.get(code) if code is not None else None
    given = entry.get("reasons")
    reasons = [item for item in given if isinstance(item, str)] if isinstance(given, list) else []
    reasons += [value for name in _REASON_NAMES if isinstance(value := entry.get(name), str) and value]
    return tuple(([f"code {code}: {known.meaning}"] if known is not None else []) + reasons)
