"""``client.sms``, ``client.rcs``, ``client.whatsapp``: a send written as one call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, ParamSpec

from ..models.answers import Receipt
from ..models.message import Message

__all__ = ["ChannelSender"]

_Fields = ParamSpec("_Fields")


class ChannelSender(Generic[_Fields]):
    """Sends messages of one channel, given by their fields."""

    def __init__(self, message: Callable[_Fields, Message], send: Callable[[Message], Awaitable[Receipt]]) -> None:
        self._message = message
        self._send = send

    async def send(self, *args: _Fields.args, **fields: _Fields.kwargs) -> Receipt:
        """Build the message from `fields` and send it: the same as ``client.send(Sms(…))``, errors included."""
        return await self._send(self._message(*args, **fields))
