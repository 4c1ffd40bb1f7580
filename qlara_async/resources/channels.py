"""``client.rcs`` and ``client.whatsapp``: sending, and beside it what belongs to the channel, made at first use."""

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
    from .rcs_templates import RcsTemplates
    from .whatsapp_templates import WhatsAppTemplates

__all__ = ["RcsChannel", "WhatsAppChannel"]

_Fields = ParamSpec("_Fields")


class _Channel(ChannelSender[_Fields]):
    def __init__(
        self,
        message: Callable[_Fields, Message],
        send: Callable[[Message], Awaitable[Receipt]],
        api: Callable[[], Api],
    ) -> None:
        super().__init__(message, send)
        self._api = api


class RcsChannel(_Channel[_Fields]):
    """Sends RCS messages, and has the account's templates."""

    @cached_property
    def templates(self) -> RcsTemplates:
        """Stored RCS messages."""
        from .rcs_templates import RcsTemplates  # noqa: PLC0415 — for those who use it

        return RcsTemplates(self._api())


class WhatsAppChannel(_Channel[_Fields]):
    """Sends WhatsApp messages, and has the account's templates and numbers."""

    @cached_property
    def templates(self) -> WhatsAppTemplates:
        """Templates and their review."""
        from .whatsapp_templates import WhatsAppTemplates  # noqa: PLC0415

        return WhatsAppTemplates(self._api())

    @cached_property
    def phone_numbers(self) -> PhoneNumbers:
        """The account's WhatsApp numbers."""
        from .phone_numbers import PhoneNumbers  # noqa: PLC0415

        return PhoneNumbers(self._api())
