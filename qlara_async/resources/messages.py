"""``client.messages``: what became of a message (``/partner-gateway/v1/messages/status``)."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import ConfigurationError
from ..models.answers import MessageStatus
from ..models.channel import Channel
from ..protocol.requests import status_request, statuses_requests
from ..protocol.responses import status_of, statuses_of
from .api import Api

__all__ = ["Messages"]


class Messages:
    """Status queries. Wait a few seconds after a send before you ask; callbacks tell sooner."""

    def __init__(self, api: Api) -> None:
        self._caller = api.caller
        self._options = api.options

    async def status(self, message_id: str, *, channel: Channel | str) -> MessageStatus:
        """Return the status of one message.

        ``GET /messages/status/{customerMessageId}?channel=…``: the channel must be the one it was sent on.

        Raises:
            NotFoundError: the gateway does not know the id on that channel.
            UndecodableAnswerError: the answer is no status.
        """
        known = _known_channel(channel)
        response = await self._caller.call(status_request(message_id, known), self._options)
        return status_of(response, message_id, known)

    async def statuses(self, message_ids: Iterable[str], *, channel: Channel | str) -> dict[str, MessageStatus | None]:
        """Return the statuses of any number of messages of one channel; ``None`` for ids the gateway does not know.

        ``GET /messages/status?ids=a,b&channel=…``, split so that no URL grows too long. Ids given twice are asked once.

        Raises:
            UndecodableAnswerError: an answer is no list of statuses.
        """
        known = _known_channel(channel)
        found: dict[str, MessageStatus | None] = {}
        for batch, request in statuses_requests(message_ids, known):
            response = await self._caller.call(request, self._options)
            found |= statuses_of(response, batch, known)
        return found


def _known_channel(channel: Channel | str) -> Channel:
    try:
        return Channel(channel.upper())
    except ValueError:
        raise ConfigurationError("channel must be SMS, RCS or WHATSAPP") from None
