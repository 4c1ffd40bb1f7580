"""What the gateway answered to a batch of SMS, message by message.

The success body of SMS Legacy is undocumented ("a summary of processed messages"). Everything read here beyond JSend's
error body is a guess, and tolerant: entries are found wherever they are, by a message's id or by its recipient. Without
entries a 2xx is acceptance of all, unless the whole says otherwise; where an answer speaks of some messages and not of
others, or refuses messages without naming them, what became of those is open, and they are to be looked up.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    told = _Told(recipients)
    told.read(answer)
    others = _OPEN if told.of_some else _of_the_others(answer, response, told)
    return {message_id: told.named.get(message_id, others) for message_id in recipients}


def _decoded(response: Response) -> Any:
    if not response.body.strip():
        return None
    try:
        return msgspec.json.decode(response.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        text = "the answer to a batch is not JSON"
    raise UndecodableAnswerError(text, status=response.status, body=response.body)


def _of_the_others(answer: Any, response: Response, told: _Told) -> Verdict:
    """Judge the messages that the answer does not name; all that it names it refuses."""
    whole = _as_a_whole(answer, response)
    if whole is _ACCEPTED:
        return _OPEN if told.refused_unnamed else _ACCEPTED
    return _OPEN if told.named else whole


def _as_a_whole(answer: Any, response: Response) -> Verdict:
    if not isinstance(answer, dict):
        return _ACCEPTED
    code = _code(answer)
    if code in _SERVER_ERRORS:
        raise UndecodableAnswerError("the gateway reports a failure", status=response.status, body=response.body)
    # That of a single send, which "all send calls" answer with by one guide.
    results = answer.get("results")
    entries = list(results.values()) if isinstance(results, dict) else []
    if entries and all(isinstance(entry, dict) and entry.get("accepted") is False for entry in entries):
        reasons = tuple(reason for entry in entries for reason in _reasons(entry))
        return Verdict(Judgement.REFUSED, ChannelResult(accepted=False, reasons=reasons))
    refused = str(answer.get("status")).lower() in {"error", "fail"} or code in LEGACY_CODES
    if refused or answer.get("accepted") is False or answer.get("success") is False:
        return Verdict(Judgement.REFUSED, ChannelResult(accepted=False, reasons=_reasons(answer)))
    if answer.get("error"):
        text = "the answer to a batch speaks of an error and not of acceptance"
        raise UndecodableAnswerError(text, status=response.status, body=response.body)
    return _ACCEPTED


class _Told:
    """What an answer says of single messages, wherever it says it.

    Attributes:
        named: message id -> verdict.
    """

    def __init__(self, recipients: Mapping[str, str]) -> None:
        self.named: dict[str, Verdict] = {}
        self._recipients = recipients
        self._counted = 0
        self._nameless = 0

    @property
    def of_some(self) -> bool:
        """Whether it says of some that they are not refused: then it may have passed over the others."""
        return any(verdict.judgement is not Judgement.REFUSED for verdict in self.named.values())

    @property
    def refused_unnamed(self) -> bool:
        """Whether it refuses messages without naming them."""
        return self._nameless > 0 or self._counted > len(self.named)

    @cached_property  # few answers name recipients
    def _ids_by_recipient(self) -> dict[str, str]:
        """Ids by the recipient in either spelling, of those with one message only."""
        ids: dict[str, str] = {}
        twice: set[str] = set()
        for message_id, recipient in self._recipients.items():
            for spelled in (recipient, recipient.removeprefix("+")):
                if ids.setdefault(spelled, message_id) != message_id:
                    twice.add(spelled)
        return {recipient: message_id for recipient, message_id in ids.items() if recipient not in twice}

    def read(self, answer: Any) -> None:
        """Find what speaks of single messages, however deep."""
        pending = [answer]
        while pending:
            item = pending.pop()
            if isinstance(item, list):
                pending.extend(item)
            elif isinstance(item, dict):
                message_id = self._subject(item)
                if message_id is not None:
                    self.named[message_id] = _verdict(item)
                else:
                    pending.extend(value for name, value in item.items() if not self._takes(name, value))

    def _takes(self, name: str, value: Any) -> bool:
        """Take a member in that is keyed by a message's id, or speaks of refused ones."""
        if name in self._recipients:
            self.named[name] = _verdict(value if isinstance(value, dict) else {"status": value})
        elif name in _REFUSING_NAMES and isinstance(value, list):
            for item in value:
                self._refuse(item)
        elif name in _REFUSING_NAMES and type(value) is int:
            self._counted += value
        else:
            return False
        return True

    def _refuse(self, item: Any) -> None:
        message_id: str | None = None
        reasons: tuple[str, ...] = ()
        if isinstance(item, dict):
            message_id, reasons = self._subject(item), _reasons(item)
        elif isinstance(item, str | int):
            message_id = str(item) if str(item) in self._recipients else self._ids_by_recipient.get(str(item))
        else:
            return
        if message_id is None:
            self._nameless += 1
        else:
            self.named[message_id] = Verdict(Judgement.REFUSED, ChannelResult(accepted=False, reasons=reasons))

    def _subject(self, entry: dict[str, Any]) -> str | None:
        for name in _ID_NAMES:
            value = entry.get(name)
            if isinstance(value, str) and value in self._recipients:
                return value
        for name in _RECIPIENT_NAMES:
            value = entry.get(name)
            if isinstance(value, str) and value in self._ids_by_recipient:
                return self._ids_by_recipient[value]
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
