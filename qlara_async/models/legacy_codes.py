"""Error codes of SMS Legacy (``/services/sms/*``): what each means, what to do, and which field it is about.

The table of the page "SMS credit check" is complete; the advice is ours. Fields have the names that our messages have.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["LEGACY_CODES", "LegacyCode"]


class LegacyCode(NamedTuple):
    """A documented code."""

    meaning: str
    advice: str
    field: str | None = None


LEGACY_CODES: dict[int, LegacyCode] = {
    1: LegacyCode("wrong credentials", "check the API key; it may have been revoked"),
    2: LegacyCode("insufficient credit", "top the account up, then send again"),
    4: LegacyCode("wrong destination number format", "give E.164: + and country code first", "destination"),
    6: LegacyCode("a message body is missing", "give every message a text", "body"),
    7: LegacyCode("body too long or unsupported characters", "shorten the text, or allow Unicode and parts", "body"),
    8: LegacyCode("server error", "the gateway failed; try later"),
    9: LegacyCode("server error (timeout)", "the gateway failed; try later"),
    10: LegacyCode("a sender is missing", "give every message a sender", "sender"),
    11: LegacyCode("user not found", "check the API key and the account"),
    13: LegacyCode("a destination number is missing", "give every message a destination", "destination"),
    14: LegacyCode("message items missing", "give at least one message"),
    15: LegacyCode("destinations and ids differ in length", "give one id for each destination", "message_id"),
    18: LegacyCode("wrong or not allowed sender", "register the sender on the portal", "sender"),
    20: LegacyCode("globalId value not allowed", "give another global_id, or none", "global_id"),
    21: LegacyCode("maxIdLen value not allowed", "leave maxIdLen out", "max_id_len"),
    22: LegacyCode("udhData not correct", "give a user data header in hex", "udh_data"),
    23: LegacyCode("scheduling not correct", "give a date and time with an offset, in the future", "scheduled_date"),
    24: LegacyCode("body value not allowed", "change the text", "body"),
    100: LegacyCode("source IP not allowed", "add the address to the account's IP allow-list"),
}
