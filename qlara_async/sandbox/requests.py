"""What the send endpoints take, and what they answer to what they do not take.

The fields are those of the API pages "Send SMS", "Send RCS message" and "Send WhatsApp message". 400 is a request that
is malformed (a field missing, empty, of the wrong type, or two that exclude one another), 422 one well-formed but
wrong (FAQ). Which of the two a rule beyond those examples belongs to is a guess; so is that unknown fields are ignored.
"""

from __future__ import annotations

import re
from typing import Any, TypeAlias

import msgspec

from ..models.channel import Channel
from ..models.text import MAX_SMS_PARTS, Segments, render, segments
from ..protocol.operations.messages import RcsBody, SmsBody, WhatsAppBody

__all__ = ["Problem", "SendRequest", "read_send", "segments_of"]


class Problem(msgspec.Struct, frozen=True):
    """An error answer: HTTP status and message. The message names fields, never values."""

    status: int
    message: str


SendRequest: TypeAlias = SmsBody | RcsBody | WhatsAppBody

_DECODERS: dict[Channel, msgspec.json.Decoder[Any]] = {
    Channel.SMS: msgspec.json.Decoder(SmsBody),
    Channel.RCS: msgspec.json.Decoder(RcsBody),
    Channel.WHATSAPP: msgspec.json.Decoder(WhatsAppBody),
}
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_NUMERIC = re.compile(r"\+?[0-9]+")
# The concatenation element and one UCS-2 pair must still fit into the 140 octets of a part (TS 23.040).
_UDH = re.compile(r"(?:[0-9a-fA-F]{2}){1,131}")
# yyyy-MM-dd HH:mm:ss.SSSZ (sending guide)
_SCHEDULED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}[+-]\d{4}")
_RCS_TYPES = frozenset({"TEXT", "CARD", "CAROUSEL", "FORM"})


def segments_of(request: SmsBody) -> Segments:
    """Count the parts of the text with its placeholders filled in."""
    return segments(render(request.body, request.placeholders or {}), udh_octets=len(request.udh_data or "") // 2)


def read_send(channel: Channel, body: bytes) -> SendRequest | Problem:
    """Read and check the body of a send."""
    try:
        request: SendRequest = _DECODERS[channel].decode(body)
    except msgspec.ValidationError as error:
        return Problem(400, str(error))
    except msgspec.DecodeError:
        return Problem(400, "The body is not valid JSON")
    return _check_common(request) or _check_channel(request) or request


def _check_common(request: SendRequest) -> Problem | None:
    if not request.destination:
        return Problem(400, "Field `destination` must not be empty")
    if request.message_id == "":
        return Problem(400, "Field `messageId` must not be empty")
    if request.scheduled_date is not None and not _SCHEDULED.fullmatch(request.scheduled_date):
        return Problem(400, "Field `scheduledDate` must have the form yyyy-MM-dd HH:mm:ss.SSSZ")
    if not _E164.fullmatch(request.destination):
        return Problem(422, "Field `destination` is not a phone number in international format")
    if request.campaign_id is not None and len(request.campaign_id) > 255:
        return Problem(422, "Field `campaignId` is longer than 255 characters")
    return None


def _check_channel(request: SendRequest) -> Problem | None:
    if isinstance(request, SmsBody):
        return _check_sms(request)
    if isinstance(request, RcsBody):
        return _check_rcs(request)
    return _check_whatsapp(request)


def _check_sms(request: SmsBody) -> Problem | None:
    if not request.sender:
        return Problem(400, "Field `sender` must not be empty")
    if not request.body:
        return Problem(400, "Field `body` must not be empty")
    digits = request.sender.removeprefix("+")
    longest = 16 if _NUMERIC.fullmatch(request.sender) else 11
    if len(digits) > longest:
        return Problem(422, "Field `sender` is longer than 11 characters, or 16 digits")
    if request.udh_data is not None and not _UDH.fullmatch(request.udh_data):
        return Problem(422, "Field `udhData` is not a header in hexadecimal that leaves room for text")
    if segments_of(request).parts > MAX_SMS_PARTS:
        return Problem(422, f"Field `body` is longer than {MAX_SMS_PARTS} parts")
    return None


def _check_rcs(request: RcsBody) -> Problem | None:
    if (request.body is None) == (request.template_id is None):
        return Problem(400, "Exactly one of `body` and `templateId` is required")
    if request.body is None:
        return None
    kind, content = request.body.get("type"), request.body.get("body")
    if kind not in _RCS_TYPES:
        return Problem(400, "Field `body.type` must be TEXT, CARD or CAROUSEL")
    if not isinstance(content, dict) or not content:
        return Problem(400, "Field `body.body` must be an object that is not empty")
    return _check_text(content.get("text"), "body.body.text", 1024) if kind == "TEXT" else None


def _check_whatsapp(request: WhatsAppBody) -> Problem | None:
    if (request.body is None) == (request.template is None):
        return Problem(400, "Exactly one of `body` and `template` is required")
    if isinstance(request.fallback_rcs, dict) and not request.fallback_sms:
        return Problem(400, "Field `fallbackSms` is required with `fallbackRcs`")
    if request.template is not None:
        return _check_template(request.template)
    if isinstance(request.body, str):
        return _check_text(request.body, "body", 4096)
    return None if request.body else Problem(400, "Field `body` must not be empty")


def _check_template(template: dict[str, Any]) -> Problem | None:
    if isinstance(template.get("id"), int) or (isinstance(template.get("name"), str) and template["name"]):
        return None
    return Problem(400, "Field `template` must have an `id` or a `name`")


def _check_text(text: object, field: str, longest: int) -> Problem | None:
    if not isinstance(text, str) or not text:
        return Problem(400, f"Field `{field}` must be a string that is not empty")
    if len(text) > longest:
        return Problem(422, f"Field `{field}` is longer than {longest} characters")
    return None
