"""Decoding of callbacks: bytes in, typed events out, never an exception.

The gateway's pages show five shapes of one event (per-channel, unified, nested media, old lower-case, form-encoded) and
mark none as the current one, so fields are read by any of their names, and a value of the wrong type counts as absent.
A body whose types are as documented is decoded in one go; any other is read field by field into the same ``_Callback``.
What cannot be named becomes an ``UnknownEvent`` that keeps the bytes.

Sources: ``api-sms-universal``, ``api-rcs-send`` (per-channel shapes); ``guides/webhooks`` (unified shape);
``use-cases/UC-026`` (nested media); the older ``guides/webhooks`` (lower-case ``channel``, with ``status`` and
``phoneNumber``); ``guides/inbound-sms`` (form). Epoch times, codes as strings, arrays of events and times without a
zone are undocumented: reading them is a guess.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import parse_qsl

import msgspec

from ..models.channel import Channel, DeliveryStatus, parse_channel
from ..models.events import Delivery, Event, Inbound, Media, Read, UnknownEvent
from ..models.trust import Trust
from .nesting import nests_too_deeply

__all__ = ["MAX_EVENTS", "BodyKind", "body_kind", "decode_again", "decode_callbacks", "inbound_of"]

BodyKind: TypeAlias = Literal["json", "form"]

MAX_EVENTS = 1000
"""Events read from one array; a longer one stays whole, as one ``UnknownEvent`` (guess: batches are undocumented)."""

_JSON_TYPE = "application/json"
_FORM_TYPE = "application/x-www-form-urlencoded"
_MAX_FORM_FIELDS = 100
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # a parser may ignore it (RFC 8259 §8.1)
_TOO_DEEP = "nested too deeply"
_TOO_MANY = f"an array of more than {MAX_EVENTS} events"
_MAX_COMMAS = 64 * MAX_EVENTS  # an event has about 30 fields; splitting a megabyte of commas takes a tenth of a second

_MEDIA_KEY = re.compile(r"[A-Za-z0-9_-]{1,128}")
_INTEGER = re.compile(r"[+-]?[0-9]{1,15}")
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}(?:\.[0-9]{1,18})?")
_MAX = 2**53

_EPOCH_MS_FROM = 10**11  # as seconds this is the year 5138: anything larger must be milliseconds
_EPOCH_END = 10**14

_OUTCOMES = {3: DeliveryStatus.DELIVERED, 6: DeliveryStatus.ERROR}
_CHANNELS: dict[str | None, Channel] = {channel.value: channel for channel in Channel}
_STATUSES = {status.value: status for status in DeliveryStatus}

_Code: TypeAlias = Annotated[int, msgspec.Meta(gt=-_MAX, lt=_MAX)]
_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=1, lt=_MAX)]
_Amount: TypeAlias = Annotated[float, msgspec.Meta(gt=-_MAX, lt=_MAX)]


class _Arrival(msgspec.Struct, frozen=True, gc=False):
    """How a request came: the same for all its events."""

    received_at: datetime
    trust: Trust = Trust.UNVERIFIED


class _Content(msgspec.Struct, kw_only=True, gc=False, rename="camel"):
    """``content`` of the nested media shape (UC-026)."""

    type: str | None = None
    text: str | None = None
    caption: str | None = None
    mime_type: str | None = None
    media_key: str | None = None


class _Callback(msgspec.Struct, kw_only=True, gc=False, rename="camel"):
    """The fields of all shapes, typed as documented; all may be absent."""

    event_type: str | None = None
    channel: str | None = None
    message_id: str | None = None
    customer_message_id: str | None = None
    status: str | None = None
    status_code: _Code | str | None = None
    description: str | None = None
    status_description: str | None = None
    error: str | None = None
    destination: str | None = None
    phone_number: str | None = None
    num_part: _Count | None = None
    total_parts: _Count | None = None
    price: _Amount | None = None
    timestamp: str | None = None
    event_date: str | None = None
    received_date: str | None = None
    date_time: str | None = msgspec.field(name="date_time", default=None)
    source: str | None = None
    originator: str | None = None
    from_: str | None = msgspec.field(name="from", default=None)
    to: str | None = None
    text: str | None = None
    message_type: str | None = None
    media_key: str | None = None
    mime_type: str | None = None
    caption: str | None = None
    content: _Content | None = None


_TYPED = msgspec.json.Decoder(_Callback)
_UNTYPED = msgspec.json.Decoder()
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])


def body_kind(content_type: str | None) -> BodyKind | None:
    """Tell what a ``Content-Type`` announces, parameters ignored; none at all is read as JSON, ``None`` is neither."""
    if not content_type or content_type == _JSON_TYPE:
        return "json"
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == _FORM_TYPE:
        return "form"
    if media_type in {_JSON_TYPE, "text/json"}:
        return "json"
    if media_type.startswith("application/") and media_type.endswith("+json"):
        return "json"
    return None


def decode_callbacks(
    body: bytes, content_type: str | None, *, received_at: datetime, trust: Trust = Trust.UNVERIFIED
) -> list[Event]:
    """Decode the body of one callback request into its events.

    Never raises: what cannot be decoded is one ``UnknownEvent`` with ``raw`` and ``reason``. Anything but a form is
    read as JSON. An empty JSON array holds no event.

    Args:
        body: the request's body.
        content_type: its ``Content-Type``.
        received_at: the time of receipt, aware.
        trust: what vouches for the request.
    """
    arrival = _Arrival(received_at, trust)
    if body_kind(content_type) == "form":
        return [_decode_form(body, arrival)]
    if nests_too_deeply(body):
        return _decode_loosely(body, arrival)
    try:
        return [_event(_TYPED.decode(body), body, arrival)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _decode_loosely(body, arrival)


def decode_again(event: UnknownEvent) -> list[Event]:
    """Decode the bytes of an event once more: another version of the package may have failed on them.

    Whether they came as JSON or as a form is not kept: what looks like neither object nor array is read as a form, too.
    """
    events = decode_callbacks(event.raw, None, received_at=event.received_at, trust=event.trust)
    if event.raw.lstrip()[:1] not in {b"{", b"["}:
        form = _decode_form(event.raw, _Arrival(event.received_at, event.trust))
        events = events if isinstance(form, UnknownEvent) else [form]
    return events


def inbound_of(fields: Mapping[str, Any], raw: bytes, received_at: datetime) -> Inbound:
    """Read the fields of an inbound message that no callback brought, by the same names."""
    return _inbound(_read_fields(fields), raw, _Arrival(received_at))


def _decode_loosely(body: bytes, arrival: _Arrival) -> list[Event]:
    text = body.removeprefix(_BYTE_ORDER_MARK)
    if text.lstrip(b" \t\r\n")[:1] != b"[":
        return [_decode_object(body, arrival)]
    if text.count(b",") > _MAX_COMMAS:
        return [_undecodable(body, arrival, _TOO_MANY)]
    # Escapes are masked while the array is split: half an emoji in one item must not take the others along.
    masked = text.replace(b"\\\\", b"__").replace(b"\\u", b"__")
    try:
        items = _ARRAY.decode(masked)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return [_undecodable(body, arrival, _reason(error, body))]
    if len(items) > MAX_EVENTS:
        return [_undecodable(body, arrival, _TOO_MANY)]
    return [_decode_object(item, arrival) for item in _unmasked(items, masked, text)]


def _unmasked(items: list[msgspec.Raw], masked: bytes, text: bytes) -> Iterator[bytes]:
    end = 0
    for item in map(bytes, items):
        start = masked.index(item, end)
        end = start + len(item)
        yield text[start:end]


def _decode_object(raw: bytes, arrival: _Arrival) -> Event:
    if nests_too_deeply(raw):
        return _undecodable(raw, arrival, _TOO_DEEP)
    try:
        fields = _UNTYPED.decode(raw.removeprefix(_BYTE_ORDER_MARK))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _undecodable(raw, arrival, _reason(error, raw))
    if type(fields) is not dict:
        return _undecodable(raw, arrival, "not a JSON object")
    return _event(_read_fields(fields), raw, arrival)


def _decode_form(raw: bytes, arrival: _Arrival) -> Event:
    """Read ``originator, destination, date_time, text``: a dedicated number is always SMS (``guides/inbound-sms``)."""
    try:
        pairs = parse_qsl(raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FORM_FIELDS)
    except UnicodeDecodeError:
        return _undecodable(raw, arrival, "not UTF-8")
    except ValueError:
        return _undecodable(raw, arrival, f"a form of more than {_MAX_FORM_FIELDS} fields")
    return _event(_read_fields({"channel": Channel.SMS.value, **dict(pairs)}), raw, arrival)


def _reason(error: Exception, raw: bytes) -> str:
    if isinstance(error, RecursionError):
        return _TOO_DEEP
    try:
        raw.decode()  # which of the two it is msgspec tells by another exception in each version
    except UnicodeDecodeError:
        return "not UTF-8"
    return "not JSON"


def _undecodable(raw: bytes, arrival: _Arrival, reason: str) -> UnknownEvent:
    return UnknownEvent(
        channel="", message_id=None, received_at=arrival.received_at, trust=arrival.trust, raw=raw, reason=reason
    )


def _read_fields(fields: Mapping[str, Any]) -> _Callback:
    """Read what can be read of fields whose types are not as documented."""
    content = fields.get("content")
    values: dict[str, Any] = {name: read(fields.get(key)) for name, key, read in _FIELD_READERS}
    return _Callback(**values, content=_read_content(content) if type(content) is dict else None)


def _read_content(content: Mapping[str, Any]) -> _Content:
    return _Content(**{name: _words(content.get(key)) for name, key in _CONTENT_KEYS})


def _words(value: object) -> str | None:
    return value if type(value) is str else None


def _digits(value: object) -> str | None:
    """Read an id or a phone number, which may be a number."""
    return str(value) if type(value) is int and abs(value) < _MAX else _words(value)


def _time(value: object) -> str | None:
    return f"{value:f}" if type(value) is float else _digits(value)


def _code(value: object) -> int | str | None:
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is int:
        return value if abs(value) < _MAX else None
    return _words(value)


def _count(value: object) -> int | None:
    code = _code(value)
    number = _numeric(code) if type(code) is str else code
    return number if type(number) is int and number >= 1 else None


def _amount(value: object) -> float | None:
    if type(value) is str and _NUMBER.fullmatch(value):
        value = float(value)
    if type(value) is int or type(value) is float:
        return float(value) if abs(value) < _MAX else None
    return None


_READERS: dict[str, Callable[[object], object]] = {
    "message_id": _digits,
    "customer_message_id": _digits,
    "destination": _digits,
    "phone_number": _digits,
    "source": _digits,
    "originator": _digits,
    "from_": _digits,
    "to": _digits,
    "timestamp": _time,
    "event_date": _time,
    "received_date": _time,
    "date_time": _time,
    "status_code": _code,
    "num_part": _count,
    "total_parts": _count,
    "price": _amount,
}
_FIELD_READERS = [
    (field.name, field.encode_name, _READERS.get(field.name, _words))
    for field in msgspec.structs.fields(_Callback)
    if field.name != "content"
]
_CONTENT_KEYS = [(field.name, field.encode_name) for field in msgspec.structs.fields(_Content)]


def _event(callback: _Callback, raw: bytes, arrival: _Arrival) -> Event:
    build = _BUILDERS.get(callback.event_type or "")
    if build is None:
        event_type = _word(callback.event_type) or _guess_type(callback)
        build = _BUILDERS.get(event_type, _unknown)
    return build(callback, raw, arrival)


def _guess_type(callback: _Callback) -> str:
    """Name an event without ``eventType``: the old shape and the form have none; anything else is a guess."""
    if callback.status_code is not None or callback.status is not None:
        return "READ" if _word(callback.status) == "READ" else "DELIVERY"
    sender = callback.originator or callback.source or callback.from_
    content = (callback.text, callback.content, callback.media_key)
    return "INBOUND" if sender and any(part is not None for part in content) else ""


def _delivery(callback: _Callback, raw: bytes, arrival: _Arrival) -> Event:
    status, code = _outcome(callback)
    return Delivery(
        **_common(callback, raw, arrival),
        status=status,
        status_code=code,
        destination=callback.destination or callback.phone_number or None,
        description=callback.description or callback.status_description or callback.error or None,
        part=callback.num_part,
        total_parts=callback.total_parts,
        price=callback.price,
    )


def _read(callback: _Callback, raw: bytes, arrival: _Arrival) -> Event:
    return Read(
        **_common(callback, raw, arrival),
        destination=callback.destination or callback.phone_number or None,
    )


def _inbound(callback: _Callback, raw: bytes, arrival: _Arrival) -> Inbound:
    content = callback.content or _Content()
    media = _media(callback, content)
    caption = media.caption if media else None
    return Inbound(
        **_common(callback, raw, arrival),
        source=callback.source or callback.from_ or callback.originator or None,
        destination=callback.destination or callback.to or None,
        text=callback.text or content.text or caption or "",
        message_type=_word(callback.message_type) or _word(content.type) or "TEXT",
        media=media,
    )


def _unknown(callback: _Callback, raw: bytes, arrival: _Arrival) -> Event:
    event_type = _word(callback.event_type)
    return UnknownEvent(
        **_common(callback, raw, arrival),
        event_type=event_type,
        reason="unknown event type" if event_type else "no event type",
    )


_BUILDERS: dict[str, Callable[[_Callback, bytes, _Arrival], Event]] = {
    "DELIVERY": _delivery,
    "READ": _read,
    "INBOUND": _inbound,
}


def _common(callback: _Callback, raw: bytes, arrival: _Arrival) -> dict[str, Any]:
    channel = callback.channel
    return {
        "channel": _CHANNELS.get(channel) or parse_channel(channel or ""),
        "message_id": callback.message_id or None,
        "customer_message_id": callback.customer_message_id or None,
        "occurred_at": _occurred_at(callback),
        "received_at": arrival.received_at,
        "trust": arrival.trust,
        "raw": raw,
    }


def _outcome(callback: _Callback) -> tuple[DeliveryStatus, int | str | None]:
    """Codes 3 and 6 decide (the only documented ones), else a ``status`` word we know; the code is kept as it is."""
    code = callback.status_code
    if type(code) is str:
        code = _numeric(code)
    outcome = _OUTCOMES.get(code) if type(code) is int else None
    if outcome is not None:
        return outcome, code
    word = _word(callback.status)
    if word in _STATUSES:
        return _STATUSES[word], code
    return DeliveryStatus.UNKNOWN, word or None if code is None else code


def _media(callback: _Callback, content: _Content) -> Media | None:
    """The key becomes a path segment of an authenticated request: one that could leave its place is no key."""
    key = callback.media_key or content.media_key
    if not key or not _MEDIA_KEY.fullmatch(key):
        return None
    return Media(
        key=key,
        mime_type=callback.mime_type or content.mime_type or None,
        caption=callback.caption or content.caption or None,
    )


def _word(value: str | None) -> str:
    return value.strip().upper() if value else ""


def _numeric(code: str) -> int | str | None:
    text = code.strip()
    return int(text) if _INTEGER.fullmatch(text) else text or None


def _occurred_at(callback: _Callback) -> datetime | None:
    for text in (callback.timestamp, callback.event_date, callback.received_date, callback.date_time):
        if text and (moment := _moment(text)) is not None:
            return moment
    return None


def _moment(text: str) -> datetime | None:
    """Read ISO 8601, ``YYYYMMDDHHMMSS`` or an epoch in s or ms, into UTC. A time without a zone is in UTC: a guess."""
    if text[4:5] != "-":
        text = text.strip()
        if _NUMBER.fullmatch(text):
            return _stamp(text) if len(text) == 14 and text.isdigit() else _epoch(float(text))
    try:
        moment = datetime.fromisoformat(text.strip())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):  # not every hour of the years 1 and 9999 is one of theirs in UTC
        return None


def _stamp(digits: str) -> datetime | None:
    try:
        return datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def _epoch(value: float) -> datetime | None:
    if not 0 <= value < _EPOCH_END:
        return None
    return datetime.fromtimestamp(value / 1000 if value >= _EPOCH_MS_FROM else value, UTC)
