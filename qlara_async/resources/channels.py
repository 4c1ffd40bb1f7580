"""``client.whatsapp``: sending, and beside it what belongs to the channel, made at first use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import TYPE_CHECKING, ParamSpec

from ..models.answers import Receipt
from ..models.message import Message
from ..sending.channels import ChannelSender

if TYPE_CHECKING:
    from .api import Api
    from .phone_numbers import PhoneNumbers
    from .whatsapp_templates import WhatsAppTemplates

__all__ = ["WhatsAppChannel"]

_Fields = ParamSpec("_Fields")


class WhatsAppChannel(ChannelSender[_Fields]):
    """Sends WhatsApp messages, and has the account's templates and numbers."""

    def __init__(
        self,
        message: Callable[_Fields, Message],
        send: Callable[[Message], Awaitable[Receipt]],
        api: Callable[[], Api],
    ) -> None:
        super().__init__(message, send)
        self._api = api

    @cached_property
    def templates(self) -> WhatsAppTemplates:
        """Templates and their review."""
        from .whatsapp_templates import WhatsAppTemplates  # noqa: PLC0415 — for those who use it

        return WhatsAppTemplates(self._api())

    @cached_property
    def phone_numbers(self) -> PhoneNumbers:
        """The account's WhatsApp numbers."""
        from .phone_numbers import PhoneNumbers  # noqa: PLC0415

        return PhoneNumbers(self._api())
