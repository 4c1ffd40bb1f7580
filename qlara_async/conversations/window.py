"""WhatsApp's window: free-form messages only within 24 hours of the customer's last message (FAQ)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from ..clock import Clock
from ..errors import ConfigurationError, OutsideWindowError
from ..models.events import Inbound
from ..models.message import Message, WhatsApp, WhatsAppTemplate, build
from .conversations import Conversations

__all__ = ["WINDOW", "OutsideWindow", "Template", "WindowGate"]

WINDOW = 24 * 3600.0
"""Seconds from the customer's last message in which free-form messages may be sent; at its end it is over."""

Template: TypeAlias = WhatsAppTemplate | Mapping[str, Any] | int
"""A template as `WhatsApp` takes it."""

OutsideWindow: TypeAlias = Literal["refuse", "send"] | Template | Callable[[WhatsApp], Template | WhatsApp | None]
"""What becomes of a free-form message outside the window.

``"refuse"``: an `OutsideWindowError`. ``"send"``: it is sent all the same. A template: it is sent instead of the body,
with the message's placeholders. A function of the message: what it returns, a template or a whole message to the same
recipient; ``None`` refuses.
"""


class WindowGate:
    """A gate for free-form WhatsApp messages; it lets everything else pass.

    Args:
        conversations: who wrote when. Who is not known there has not written.
        outside: what becomes of a message outside the window.
        clock: tells the time.

    Raises:
        ConfigurationError, InvalidMessageError: `outside` is none of these, or no proper template.
    """

    def __init__(self, conversations: Conversations, outside: OutsideWindow, clock: Clock) -> None:
        if not isinstance(conversations, Conversations):
            raise ConfigurationError("conversations= takes Conversations(...), not a path")
        self._conversations = conversations
        self._clock = clock
        self._outside: Literal["refuse", "send"] | WhatsAppTemplate | Callable[[WhatsApp], object]
        if callable(outside) or outside in ("refuse", "send"):
            self._outside = outside
        else:
            self._outside = _template(outside)

    def with_outside(self, outside: OutsideWindow) -> WindowGate:
        """Return a gate that knows the same conversations, with another answer."""
        return WindowGate(self._conversations, outside, self._clock)

    async def hear(self, event: Inbound) -> None:
        """Note that the customer wrote. Raises ``StoreError``."""
        await self._conversations.note(event)

    async def check(self, message: Message) -> Message:
        """Let a message pass, or replace it by its template.

        Raises:
            OutsideWindowError: it is free-form, the window is closed, and nothing takes its place.
            StoreError: the conversations cannot be read.
        """
        if not isinstance(message, WhatsApp) or message.body is None or self._outside == "send":
            return message
        now = self._clock.time()
        due = now if message.scheduled_date is None else max(now, message.scheduled_date.timestamp())
        last = await self._conversations.last_inbound(message.destination, phone_number_id=message.phone_number_id)
        if last is not None and due - last.timestamp() < WINDOW:
            return message
        instead = self._outside(message) if callable(self._outside) else self._outside
        if instead is None or instead == "refuse":
            raise OutsideWindowError(message_id=message.message_id)
        if isinstance(instead, WhatsApp):
            return instead
        return msgspec.structs.replace(message, body=None, template=_template(instead))


def _template(given: object) -> WhatsAppTemplate:
    if isinstance(given, WhatsAppTemplate):
        return given
    if type(given) is int:
        return WhatsAppTemplate(id=given)
    if isinstance(given, Mapping):
        return build(WhatsAppTemplate, given)
    raise ConfigurationError('outside_window is "refuse", "send", a template, or a function of the message')
