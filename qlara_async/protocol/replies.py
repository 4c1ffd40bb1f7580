"""Answers to inbound messages: on the same channel, from the number that the customer wrote to.

Which endpoint answers is documented by its channel. That the number a customer wrote to may be the sender of an SMS is
a guess. No page says which RCS agent a number has: that is for `ReplyAs` to tell.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import force_setattr

from ..errors import ConfigurationError, InvalidMessageError
from ..models.channel import Channel
from ..models.events import Inbound
from ..models.message import Message, Rcs, Sms, WhatsApp
from ..models.text import check_int, check_sender
from .identity import fingerprint, identity
from .numbers import normal_number

__all__ = ["ReplyAs", "answer_to", "reply_id"]

_FORMAT = str.maketrans("", "", "+ ().-")


class ReplyAs(msgspec.Struct, frozen=True, kw_only=True):
    """As whom inbound messages are answered, channel by channel.

    An event names the number of ours that the customer wrote to; what a send needs besides is here. With several, each
    by its number: ``ReplyAs(whatsapp={7: "+390212345678", 9: "+390687654321"})``.

    Attributes:
        sms: the sender, as in `Sms`; the number the customer wrote to, if not given.
        rcs: the ``agent_id``.
        whatsapp: the ``phone_number_id``; looked up in the account's list of numbers, if not given.

    Raises:
        ConfigurationError: an id is no whole number from 1, or a number or sender is none.
    """

    sms: str | None = None
    rcs: int | Mapping[int, str] | None = None
    whatsapp: int | Mapping[int, str] | None = None

    def __post_init__(self) -> None:
        try:
            if self.sms is not None:
                check_sender(self.sms)
            force_setattr(self, "rcs", _ids(self.rcs, "rcs"))
            force_setattr(self, "whatsapp", _ids(self.whatsapp, "whatsapp"))
        except InvalidMessageError as error:
            problem = str(error)
        else:
            return
        raise ConfigurationError(f"ReplyAs.{problem}")

    def __repr__(self) -> str:
        return "ReplyAs()"


def answer_to(event: Inbound, text: str, reply_as: ReplyAs, message_id: str | None) -> Message:
    """Make the message that answers `event`.

    Raises:
        InvalidMessageError: the event names no number to answer, or the text does not fit.
        ConfigurationError: its channel has no send endpoint, or it is not known as whom to answer.
    """
    to = normal_number(event.source, bare=True)
    if to is None:
        raise InvalidMessageError("the event names no number that could be answered", field="destination")
    if event.channel == Channel.SMS:
        sender = reply_as.sms or (event.destination or "").translate(_FORMAT)
        if not sender:
            raise ConfigurationError("the event names no number of ours: give reply_as=ReplyAs(sms=…)")
        return Sms(destination=to, sender=sender, body=text, message_id=message_id)
    if event.channel == Channel.RCS:
        agent = _id_of(reply_as.rcs, event)
        if agent is None:
            raise ConfigurationError("no page tells which agent a number has: give reply_as=ReplyAs(rcs=agent_id)")
        return Rcs(destination=to, agent_id=agent, body=text, message_id=message_id)
    if event.channel == Channel.WHATSAPP:
        number = _id_of(reply_as.whatsapp, event)
        if number is None:
            raise ConfigurationError(
                "the number is none of the account's: give reply_as=ReplyAs(whatsapp=phone_number_id)"
            )
        return WhatsApp(destination=to, phone_number_id=number, body=text, message_id=message_id)
    raise ConfigurationError("only messages on SMS, RCS and WhatsApp can be answered")


def reply_id(event: Inbound, handler: str, place: int) -> str:
    """Derive the id of the `place`-th answer of a handler to an event: each run of it comes to the same."""
    known = identity(event)
    return fingerprint("REPLY", known.key, known.digest, handler, place).hex()


def _id_of(given: int | Mapping[int, str] | None, event: Inbound) -> int | None:
    if not isinstance(given, Mapping):
        return given
    ours = normal_number(event.destination, bare=True)
    return next((key for key, number in given.items() if number == ours), None)


def _ids(given: int | Mapping[int, str] | None, name: str) -> int | dict[int, str] | None:
    if not isinstance(given, Mapping):
        if given is not None:
            check_int(given, name)
        return given
    found = {}
    for key, text in given.items():
        check_int(key, name)
        number = normal_number(text, bare=True)
        if number is None:
            raise InvalidMessageError("maps ids to numbers with their country code, as +39…", field=name)
        found[key] = number
    return found
