"""Rules of text: GSM 03.38 and UCS-2 segments, the gateway's ``{name}`` placeholders, and what a field may hold.

Sources: 3GPP TS 23.038 §6.2.1 (the GSM 7-bit alphabet and its extension table) and TS 23.040 §9.2.3.24 (user data
header, concatenation) for the segments; the send pages of the API for placeholders and fields. The checks raise
``InvalidMessageError`` with the field and never with its value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

import msgspec

from ..errors import InvalidMessageError

__all__ = [
    "MAX_SMS_PARTS",
    "Segments",
    "check_aware",
    "check_bool",
    "check_destination",
    "check_int",
    "check_message_id",
    "check_placeholders",
    "check_sender",
    "check_sms_text",
    "check_text",
    "check_udh",
    "field_name",
    "json_copy",
    "object_copy",
    "placeholder_names",
    "placeholder_values",
    "render",
    "segments",
    "strings",
]

MAX_SMS_PARTS = 255
"""Parts of one SMS: the concatenation header counts them in one octet (TS 23.040 §9.2.3.24.1)."""

_MAX_INT = 2**63 - 1
_PART_OCTETS = 140
_CONCATENATION_OCTETS = 5
_SEPTET_BITS = 7
_UTF16_BITS = 16

# ESC (0x1B) is left out: it introduces the extension table and is no character of its own.
_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = "\f^{}\\[~]|€"

_GSM_TEXT = re.compile(f"[{re.escape(_BASIC + _EXTENSION)}]*")
_EXTENDED = re.compile(f"[{re.escape(_EXTENSION)}]")
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_PLACEHOLDER_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}(?:\.[A-Za-z_][A-Za-z0-9_]{0,63})*")
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_SENDER = re.compile(r"(?=[^A-Za-z]*[A-Za-z])[A-Za-z0-9 .&_-]{1,11}|\+?[0-9]{1,16}")
_MESSAGE_ID = re.compile(r"[^\s,]{1,255}")
_UDH = re.compile("(?:[0-9A-Fa-f]{2}){1,140}")
_SURROGATE = re.compile("[\ud800-\udfff]")

# Even if every character takes two units, this many fit into the parts an SMS without a header of its own may have.
_SURELY_FITS = MAX_SMS_PARTS * 33

# A character of two units is written as this pair before parts are counted. A lone surrogate is in no valid text, so
# the first half marks exactly the places after which a part must not end.
_FIRST = "\ud800"
_PAIR = f"{_FIRST}."


class Segments(msgspec.Struct, frozen=True):
    """How a text is put into SMS.

    Attributes:
        encoding: ``"GSM-7"`` if every character is in the GSM 03.38 tables, else ``"UCS-2"``.
        parts: SMS it takes; 1 for the empty text.
        units: its length in septets (GSM-7) or in UTF-16 code units (UCS-2).
        per_part: units that one of these parts holds: 160 or 70 alone, 153 or 67 in a concatenated message, less what a
            user data header takes.
    """

    encoding: Literal["GSM-7", "UCS-2"]
    parts: int
    units: int
    per_part: int


@lru_cache(maxsize=16)  # campaigns ask about few texts, many times
def segments(text: str, *, udh_octets: int = 0) -> Segments:
    r"""Tell the encoding of an SMS text and count its parts.

    Parts are filled greedily; neither an extension character's escape nor a surrogate pair is split over a part's edge.
    Characters of the extension table (``^{}\[~]|€`` and form feed) take two septets.

    Args:
        text: the text as it will be sent, placeholders rendered.
        udh_octets: octets of a user data header of your own, its length octet included. If the text needs several
            parts, the concatenation element joins that header with 5 octets; without one it takes 6.

    Raises:
        InvalidMessageError: the header leaves no room for the text.
    """
    if not 0 <= udh_octets <= _PART_OCTETS:
        raise InvalidMessageError(f"a part holds {_PART_OCTETS} octets", field="udh_data")
    if _GSM_TEXT.fullmatch(text):
        return _count("GSM-7", _EXTENDED.sub(_PAIR, text), _SEPTET_BITS, udh_octets)
    return _count("UCS-2", _ASTRAL.sub(_PAIR, text), _UTF16_BITS, udh_octets)


def _count(encoding: Literal["GSM-7", "UCS-2"], units: str, bits: int, udh_octets: int) -> Segments:
    alone = _capacity(udh_octets, bits)
    if len(units) <= alone:
        return Segments(encoding, 1, len(units), alone)
    per_part = _capacity((udh_octets or 1) + _CONCATENATION_OCTETS, bits)
    if per_part < len(_PAIR):
        raise InvalidMessageError("the header leaves no room for the text", field="udh_data")
    parts, end = 1, per_part
    while end < len(units):
        end += per_part - (units[end - 1] == _FIRST)
        parts += 1
    return Segments(encoding, parts, len(units), per_part)


def _capacity(header_octets: int, bits: int) -> int:
    return (_PART_OCTETS - header_octets) * 8 // bits


def placeholder_names(text: str) -> frozenset[str]:
    """Names of the ``{name}`` placeholders in a text: a letter or ``_``, then letters, digits and ``_``.

    Meta's numbered ``{{1}}`` is none of them.
    """
    if "{" not in text:
        return frozenset()
    return frozenset(_PLACEHOLDER.findall(text))


def render(text: str, placeholders: Mapping[str, str] | None) -> str:
    """Put the values in, once: they are not searched for placeholders. Unknown names stay, as at the gateway."""
    if not placeholders or "{" not in text:
        return text
    return _PLACEHOLDER.sub(lambda found: placeholders.get(found[1], found[0]), text)


def strings(value: object) -> Iterator[str]:
    """Yield all texts in a JSON value, however deep; names of object members are none."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)


def field_name(name: object) -> str | None:
    """Give a caller's field name if an error may show it: data that strayed into names is rarely a short identifier."""
    return name if isinstance(name, str) and _FIELD_NAME.fullmatch(name) else None


def check_text(value: object, field: str, longest: int | None = None) -> None:
    """Require a plain, non-empty str that UTF-8 can encode, of at most `longest` characters."""
    if type(value) is not str or not value:
        raise InvalidMessageError("must be a str that is not empty", field=field)
    if longest is not None and len(value) > longest:
        raise InvalidMessageError(f"is longer than {longest:,} characters", field=field)
    if not value.isascii() and _SURROGATE.search(value):
        raise InvalidMessageError("holds half of a surrogate pair, which UTF-8 cannot encode", field=field)


def check_sms_text(text: str, field: str, udh_octets: int = 0) -> None:
    """Require a rendered SMS text that is not empty and takes at most 255 parts."""
    check_text(text, field)
    if len(text) <= _SURELY_FITS and not udh_octets:
        return
    if segments(text, udh_octets=udh_octets).parts > MAX_SMS_PARTS:
        raise InvalidMessageError(f"is longer than {MAX_SMS_PARTS} SMS parts", field=field)


def check_destination(value: object) -> None:
    """Require an international number (ITU-T E.164): ``+`` and 7 to 15 digits; country codes do not begin with 0."""
    if type(value) is not str or not _E164.fullmatch(value):
        raise InvalidMessageError("must be + and 7 to 15 digits, country code first (E.164)", field="destination")


def check_sender(value: object) -> None:
    """Require a sender: 11 letters, digits, spaces and ``. & - _`` with a letter among them, or 16 digits."""
    if type(value) is not str or not _SENDER.fullmatch(value):
        raise InvalidMessageError(
            "must be up to 11 letters and digits (also space . & - _) with a letter among them, or up to 16 digits",
            field="sender",
        )


def check_message_id(value: object) -> None:
    """Require an id that status queries can carry: they separate ids by commas, without spaces."""
    if type(value) is not str or not _MESSAGE_ID.fullmatch(value) or not value.isprintable():
        raise InvalidMessageError("must be 1 to 255 printable characters, no spaces, no commas", field="message_id")


def check_udh(value: object) -> None:
    """Require a user data header in hex that a part can hold (TS 23.040: 140 octets)."""
    if type(value) is not str or not _UDH.fullmatch(value):
        raise InvalidMessageError("must be 1 to 140 octets in hex", field="udh_data")


def check_bool(value: object, field: str) -> None:
    """Require True or False."""
    if type(value) is not bool:
        raise InvalidMessageError("must be True or False", field=field)


def check_int(value: object, field: str) -> None:
    """Require a positive int that fits 64 bits: the API's ids and counts."""
    if type(value) is not int or not 1 <= value <= _MAX_INT:
        raise InvalidMessageError("must be a positive int", field=field)


def check_aware(value: object, field: str) -> None:
    """Require a datetime that knows its offset from UTC."""
    if not isinstance(value, datetime) or value.utcoffset() is None or not 1 < value.year < 9999:
        raise InvalidMessageError("must be a datetime with a time zone", field=field)


def object_copy(value: object, field: str) -> dict[str, Any]:
    """Copy a mapping that is to be sent as a JSON object; it must not be empty."""
    if not isinstance(value, Mapping) or not value:
        raise InvalidMessageError("must be a mapping that is not empty", field=field)
    copied: dict[str, Any] = json_copy(dict(value), field)
    return copied


def json_copy(value: object, field: str) -> Any:
    """Copy a JSON object or array, so that later changes of the caller's do not reach the message."""
    if not isinstance(value, Mapping | Sequence) or isinstance(value, str | bytes):
        raise InvalidMessageError("must be a JSON object or array", field=field)
    try:
        encoded = msgspec.json.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
        encoded = b""
    # Raised outside of the except block: what was caught may hold the value.
    if not encoded:
        raise InvalidMessageError("cannot be written as JSON", field=field)
    return msgspec.json.decode(encoded)


def placeholder_values(given: object) -> dict[str, str]:
    """Copy a message's placeholders; require names that a text can use, and texts as values."""
    if not isinstance(given, Mapping):
        raise InvalidMessageError("must be a mapping of names to texts", field="placeholders")
    values = dict(given)
    for name, value in values.items():
        if type(name) is not str or not _PLACEHOLDER_NAME.fullmatch(name):
            raise InvalidMessageError(
                "has a name that is not a letter or _, then letters, digits, _", field="placeholders"
            )
        if type(value) is not str or _SURROGATE.search(value):
            raise InvalidMessageError("must be a str that UTF-8 can encode", field=f"placeholders.{name}")
    return values


def check_placeholders(texts: Iterable[str], given: Mapping[str, str] | None, *, stored: bool = False) -> None:
    """Require a value for each placeholder that the texts use, and a use for each value.

    Args:
        texts: all texts of the message.
        given: its placeholders.
        stored: whether some of its text is in a stored template, so that uses may be there.
    """
    values = given or {}
    used: set[str] = set().union(*map(placeholder_names, texts))
    for name in sorted(used - values.keys()):
        raise InvalidMessageError(
            f'is used in the text but has no value; to send a literal {{{name}}}, give it the value "{{{name}}}"',
            field=f"placeholders.{name}",
        )
    if stored:
        return
    for name in sorted(values.keys() - used):
        raise InvalidMessageError("has a value but is used in no text", field=f"placeholders.{name}")
