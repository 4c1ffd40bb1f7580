"""Test mode: only those on a list can receive."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import ConfigurationError, DestinationNotAllowedError
from ..models.message import Message
from ..protocol.numbers import normal_number

__all__ = ["AllowedDestinations", "described"]


class AllowedDestinations:
    """A gate that refuses every recipient but those named.

    Args:
        allowed: numbers with country code, as ``+393401234567``; with ``*`` at the end, all that begin so.

    Raises:
        ConfigurationError: one is no number.
    """

    def __init__(self, allowed: Iterable[str]) -> None:
        if isinstance(allowed, str):
            raise ConfigurationError("only_destinations is a list of numbers")
        given = list(allowed)
        if not all(isinstance(one, str) for one in given):
            raise ConfigurationError("only_destinations is a list of numbers")
        self._prefixes = tuple(_prefix(one[:-1]) for one in given if one.endswith("*"))
        self._numbers = frozenset(_number(one) for one in given if not one.endswith("*"))

    async def check(self, message: Message) -> Message:
        """Let the message pass if its recipient is allowed.

        Raises:
            DestinationNotAllowedError: it is not.
        """
        to = message.destination
        if to in self._numbers or (self._prefixes and to.startswith(self._prefixes)):
            return message
        raise DestinationNotAllowedError(message_id=message.message_id)


def _number(text: str) -> str:
    number = normal_number(text)
    if number is None:
        raise ConfigurationError("only_destinations has something that is no number: + and country code first (E.164)")
    return number


def _prefix(text: str) -> str:
    if not text.startswith("+") or not text[1:].isascii() or not text[1:].isdigit():
        raise ConfigurationError("a prefix in only_destinations is + and digits before the *")
    return text


def described(simulation: bool, only_some: bool) -> str:
    """Say what a client in test mode does, for its log."""
    dry = "every message is a dry run (simulation)" if simulation else ""
    few = "only those in only_destinations are sent to" if only_some else ""
    return " and ".join(filter(None, (dry, few)))
