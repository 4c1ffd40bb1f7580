"""SMS Legacy: ``POST /services/sms/send``, many messages to many recipients in a request.

Fields and codes are those of the pages "SMS Legacy" and "SMS credit check". Guesses: that refusals are 400 with JSend's
``fail``, that one bad message refuses the whole request, and everything in the answer to a good one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import msgspec

from ..models.channel import Channel
from ..models.legacy_codes import LEGACY_CODES
from ..models.text import MAX_SMS_PARTS, segments
from ..protocol.operations.legacy import LegacyBody, LegacyMessage
from ..protocol.operations.messages import SmsBody
from .answers import Reply, reply
from .gateway import Gateway

__all__ = ["read_legacy", "take_legacy"]

_DESTINATION = re.compile(r"\+?[1-9][0-9]{6,14}")
_SENDER = re.compile(r"\+?[0-9]{1,16}|[^\n]{1,11}")
_SCHEDULING = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}[+-]\d{4}")
_UDH = re.compile(r"(?:[0-9a-fA-F]{2}){1,131}")


_DECODER = msgspec.json.Decoder(LegacyBody)


def read_legacy(body: bytes) -> LegacyBody | Reply:
    """Read and check the body of a send; what is wrong with it is a JSend answer with the documented code."""
    try:
        request = _DECODER.decode(body)
    except msgspec.DecodeError:
        return _fail(14)
    code = _fault(request)
    return request if code is None else _fail(code)


def _fail(code: int) -> Reply:
    return reply(400, {"status": "fail", "message": LEGACY_CODES[code].meaning, "code": code})


def _fault(request: LegacyBody) -> int | None:
    if not request.messages:
        return 14
    if request.global_id == "":
        return 20
    if request.max_id_len < 1:
        return 21
    for message in request.messages:
        code = _fault_of(message, request)
        if code is not None:
            return code
    return None


def _fault_of(message: LegacyMessage, request: LegacyBody) -> int | None:
    checks = {
        13: not message.destinations or "" in message.destinations,
        4: not all(map(_DESTINATION.fullmatch, message.destinations)),
        15: message.ids is not None and len(message.ids) != len(message.destinations),
        21: any(not 0 < len(item) <= request.max_id_len for item in message.ids or ()),
        10: not message.sender,
        18: _SENDER.fullmatch(message.sender) is None,
        6: not message.body,
        22: message.udh_data is not None and _UDH.fullmatch(message.udh_data) is None,
        23: message.scheduling is not None and _SCHEDULING.fullmatch(message.scheduling) is None,
    }
    for code, wrong in checks.items():
        if wrong:
            return code
    text = _sent_text(message, request)
    if text is None:
        return 24
    return 7 if segments(text, udh_octets=len(message.udh_data or "") // 2).parts > MAX_SMS_PARTS else None


def _sent_text(message: LegacyMessage, request: LegacyBody) -> str | None:
    """The text as it goes out; ``None`` if it cannot be read."""
    text = message.body
    if message.hex_body:
        try:
            text = bytes.fromhex(text).decode()
        except ValueError:
            return None
    if not request.enable_unicode:
        text = "".join(character if segments(character).encoding == "GSM-7" else "?" for character in text)
    counted = segments(text)
    if not request.enable_concatenated and counted.parts > 1:
        text = text[: 160 if counted.encoding == "GSM-7" else 70]
        while segments(text).parts > 1:
            text = text[:-1]
    return text


def take_legacy(gateway: Gateway, request: LegacyBody, raw: bytes, hidden: float) -> Reply:
    """Process a good send, recipient by recipient."""
    entries = [
        _entry(gateway.take(Channel.SMS, single, raw, hidden=hidden), single.destination)
        for single in _singles(request)
    ]
    accepted = sum(entry["accepted"] for entry in entries)
    answer = {
        "globalId": request.global_id or str(uuid4()),
        "simulation": request.simulation,
        "accepted": accepted,
        "rejected": len(entries) - accepted,
        "messages": entries,
    }
    return reply(200, answer)


def _singles(request: LegacyBody) -> Iterator[SmsBody]:
    for message in request.messages:
        text = _sent_text(message, request) or ""
        ids = message.ids or [str(uuid4()) for _ in message.destinations]
        for destination, message_id in zip(message.destinations, ids, strict=True):
            yield SmsBody(
                destination=destination,
                sender=message.sender,
                body=text,
                message_id=message_id,
                simulation=request.simulation,
                enable_notification=request.enable_delivery,
                udh_data=message.udh_data,
            )


def _entry(answer: dict[str, Any], destination: str) -> dict[str, Any]:
    result: dict[str, Any] = answer["results"]["sms"]
    return {"id": answer["messageId"], "destination": destination} | result
