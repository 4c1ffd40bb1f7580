"""``client.sms``, ``client.rcs`` and ``client.whatsapp``: sending, statuses, and what else belongs to the channel."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, ParamSpec

from ..models.answers import MessageStatus, Receipt
from ..models.channel import Channel
from ..models.message import Message
from ..sending.channels import ChannelSender
from ..sending.known_templates import KnownTemplates

if TYPE_CHECKING:
    from .api import Api
    from .messages import Messages
    from .phone_numbers import PhoneNumbers
    from .rcs_templates import RcsTemplates
    from .whatsapp_templates import WhatsAppTemplates

__all__ = ["RcsChannel", "SmsChannel", "WhatsAppChannel"]

_Fields = ParamSpec("_Fields")


class _Channel(ChannelSender[_Fields]):
    channel: ClassVar[Channel]

    def __init__(
        self,
        message: Callable[_Fields, Message],
        send: Callable[[Message], Awaitable[Receipt]],
        api: Callable[[], Api],
    ) -> None:
        super().__init__(message, send)
        self._api = api

    async def status(self, message_id: str) -> MessageStatus:
        """Return the status of a message of this channel: `Messages.status`, errors included.

        For RCS and WhatsApp the API has operations of their own, at paths that no page shows: this asks the one for
        all channels, which tells everything but READ.
        """
        return await self._messages.status(message_id, channel=self.channel)

    async def statuses(self, message_ids: Iterable[str]) -> dict[str, MessageStatus | None]:
        """Return the statuses of messages of this channel: `Messages.statuses`, errors included."""
        return await self._messages.statuses(message_ids, channel=self.channel)

    @cached_property
    def _messages(self) -> Messages:
        from .messages import Messages  # noqa: PLC0415 — for those who use it

        return Messages(self._api())


class SmsChannel(_Channel[_Fields]):
    """Sends SMS one by one; many in a request are for `client.sms_legacy`."""

    channel = Channel.SMS


class _TemplateChannel(_Channel[_Fields]):
    def __init__(
        self,
        message: Callable[_Fields, Message],
        send: Callable[[Message], Awaitable[Receipt]],
        api: Callable[[], Api],
        known: KnownTemplates,
    ) -> None:
        super().__init__(message, send, api)
        self._known = known


class RcsChannel(_TemplateChannel[_Fields]):
    """Sends RCS messages, and has the account's templates."""

    channel = Channel.RCS

    @cached_property
    def templates(self) -> RcsTemplates:
        """Stored RCS messages."""
        from .rcs_templates import RcsTemplates  # noqa: PLC0415

        return RcsTemplates(self._api(), self._known)


class WhatsAppChannel(_TemplateChannel[_Fields]):
    """Sends WhatsApp messages, and has the account's templates and numbers."""

    channel = Channel.WHATSAPP

    @cached_property
    def templates(self) -> WhatsAppTemplates:
        """Templates and their review."""
        from .whatsapp_templates import WhatsAppTemplates  # noqa: PLC0415

        return WhatsAppTemplates(self._api(), self._known)

    @cached_property
    def phone_numbers(self) -> PhoneNumbers:
        """The account's WhatsApp numbers."""
        from .phone_numbers import PhoneNumbers  # noqa: PLC0415

        return PhoneNumbers(self._api())
