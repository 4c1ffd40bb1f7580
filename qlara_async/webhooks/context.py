"""What a handler may know besides its event."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from ..errors import ConfigurationError
from ..models.answers import Receipt
from ..models.events import Event, Inbound
from ..protocol.replies import ReplyAs, reply_id
from .confirmation import Confirmation, confirm
from .inbound_media import InboundMedia, media_of

if TYPE_CHECKING:
    from ..client import QlaraClient

__all__ = ["Context"]


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """The second argument of a handler that takes two.

    Attributes:
        event: the event, as the handler got it.
        handler: the handler's durable name.
        attempt: which run of this handler on this event it is, from 1.
        redelivered: this handler may have begun with this event before: it failed, it was cancelled, or its process
            ended. ``False`` is certain with an inbox on disk; one in memory knows nothing of an earlier process. What
            the gateway sends again never comes here: it is dropped as a duplicate.
        application: see ``app``.
        qlara: see ``client``.
        reply_as: as whom ``reply`` answers, unless told.
        replies: numbers the answers of this run.
    """

    event: Event
    handler: str
    attempt: int = 1
    redelivered: bool = False
    application: web.Application | None = None
    qlara: QlaraClient | None = None
    reply_as: ReplyAs = ReplyAs()
    replies: Iterator[int] = msgspec.field(default_factory=count)

    @property
    def app(self) -> web.Application:
        """The outermost aiohttp application that the receiver is mounted in: yours, with your resources.

        Raises ``ConfigurationError`` if there is none, because events come through ``receiver.ingest``, or it is not
        known yet: see ``receiver.app``.
        """
        if self.application is None:
            raise ConfigurationError(
                "ctx.app: no request has come through an aiohttp application yet: name yours, receiver.app(app)"
            )
        return self.application

    @property
    def client(self) -> QlaraClient:
        """The client given as ``WebhookReceiver(client=…)``.

        Raises ``ConfigurationError`` if none was.
        """
        if self.qlara is None:
            raise ConfigurationError("ctx.client: the receiver has none; pass it as WebhookReceiver(client=…)")
        return self.qlara

    async def reply(self, text: str, *, reply_as: ReplyAs | None = None) -> Receipt:
        """Answer an inbound message on its channel, with the receiver's client: see ``client.replies.send``.

        The answer's id comes from the event, the handler and its place among the handler's answers. So a run that may
        not be the first looks up whether an earlier one has sent it, which takes up to ``RetryPolicy.settle`` seconds,
        and does not send it twice.

        Args:
            text: free-form text.
            reply_as: as whom, instead of the receiver's own.

        Raises:
            ConfigurationError: the event is not an inbound message, the receiver has no client, or it is not known as
                whom to answer.
            NotSentError: a check of the client refuses it: who wrote STOP, for instance, gets no answer.
            DeliveryUnknownError: the answer may have been sent, by this run or an earlier one, and looking it up did
                not tell.
            QlaraError: as for ``client.send``.
        """
        if not isinstance(self.event, Inbound):
            raise ConfigurationError("only an inbound message can be answered")
        replies = self.client.replies
        send = replies.send_again if self.redelivered else replies.send
        message_id = reply_id(self.event, self.handler, next(self.replies))
        return await send(self.event, text, reply_as=reply_as or self.reply_as, message_id=message_id)

    @property
    def media(self) -> InboundMedia:
        """The media of the event: ``await ctx.media.save(path)`` fetches them with the receiver's client.

        Raises ``ConfigurationError`` if the event has none, or the receiver no client.
        """
        return media_of(self.event, self.client)

    async def confirm(self) -> Confirmation:
        """Ask the status endpoint whether the event, a delivery or read receipt, is true; it costs one request.

        An inbound message cannot be confirmed: the status endpoint knows sent messages only.

        Raises:
            ConfigurationError: the event is no receipt, or the receiver has no client.
            QlaraError: the gateway could not be asked.
        """
        return await confirm(self.event, self.client.messages)

    def __repr__(self) -> str:
        return f"Context({self.event!r}, handler={self.handler!r}, attempt={self.attempt})"
