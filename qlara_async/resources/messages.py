"""``client.messages``: what became of messages (``/partner-gateway/v1/messages``)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import get_args

from ..errors import ConfigurationError
from ..models.answers import MessageStatus
from ..models.channel import Channel, DeliveryStatus
from ..models.exports import Export, HistoryEntry
from ..protocol.operations.exports import EXPORT_HISTORY, GET_HISTORY, HistoryExport, HistoryQuery, HistoryStatus
from ..protocol.requests import status_request, statuses_requests
from ..protocol.responses import status_of, statuses_of
from .api import Api
from .listing import Listing

__all__ = ["Messages"]

_STATUSES: dict[str, HistoryStatus] = {word: word for word in get_args(HistoryStatus)}


class Messages:
    """Statuses and the history. Wait a few seconds after a send before you ask; callbacks tell sooner."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._caller = api.caller
        self._options = api.options

    async def status(self, message_id: str, *, channel: Channel | str) -> MessageStatus:
        """Return the status of one message.

        ``GET /partner-gateway/v1/messages/status/{customerMessageId}?channel=…`` (documented): the channel must be the
        one it was sent on. That the id of a send is what this calls ``customerMessageId`` is a guess, by the use cases.

        Raises:
            ConfigurationError: there is no such channel.
            NotFoundError: the gateway does not know the id on that channel.
            UndecodableAnswerError: the answer is no status.
        """
        known = _known_channel(channel)
        response = await self._caller.call(status_request(message_id, known), self._options)
        return status_of(response, message_id, known)

    async def statuses(self, message_ids: Iterable[str], *, channel: Channel | str) -> dict[str, MessageStatus | None]:
        """Return the statuses of any number of messages of one channel; ``None`` for ids the gateway does not know.

        ``GET /partner-gateway/v1/messages/status?ids=a,b&channel=…`` (documented), split so that no URL grows too long.
        Ids given twice are asked once.

        Raises:
            ConfigurationError: there is no such channel.
            UndecodableAnswerError: an answer is no list of statuses.
        """
        known = _known_channel(channel)
        found: dict[str, MessageStatus | None] = {}
        for batch, request in statuses_requests(message_ids, known):
            response = await self._caller.call(request, self._options)
            found |= statuses_of(response, batch, known)
        return found

    def history(
        self,
        *,
        channel: Channel | str,
        from_: datetime,
        to: datetime,
        status: DeliveryStatus | str | None = None,
        limit: int | None = None,
        page_size: int = 20,
    ) -> Listing[HistoryEntry]:
        """List the messages of a channel and a period: ``GET /partner-gateway/v1/messages/history``.

        Documented but for the fields of an entry beyond its id and status. Its end is a page that is not full.

        Args:
            channel: one; ask once for each.
            from_: the first moment, which must have a time zone.
            to: the last moment, likewise. Before `from_`, there is nothing.
            status: ``DELIVERED``, ``SENT``, ``ERROR``, ``EXPIRED`` or ``UNKNOWN`` only.
            limit: at most so many in all.
            page_size: asked for per request; 20 is documented as the default, a maximum is not. With more than the
                gateway gives at once, the first page would be taken for the last.

        Raises:
            ConfigurationError: an argument does not fit. Iterating raises as a `Listing` does.
        """
        query = HistoryQuery(
            channel=_known_channel(channel),
            from_=from_,
            to=to,
            status=_known_status(status),
        )
        return self._api.pages(GET_HISTORY, HistoryEntry, query, limit=limit, page_size=page_size)

    async def export_history(
        self,
        *,
        start_date_time: datetime,
        end_date_time: datetime,
        sender: str | None = None,
        recipient: str | None = None,
    ) -> Export:
        """Queue an export of the history: ``POST /partner-gateway/v1/messages/history/export``.

        All channels in one CSV file, of messages sent by the API only. The times are documented, the names of the two
        filters and what is answered are guesses: the export's ``id`` may be ``""``, and is found by `exports.list`
        then.

        Args:
            start_date_time: the first moment, which must have a time zone.
            end_date_time: the last moment, likewise.
            sender: only from this sender.
            recipient: only to this number.

        Raises:
            ConfigurationError: an argument does not fit; nothing was sent. BadRequestError: refused.
        """
        body = HistoryExport(
            start_date_time=start_date_time, end_date_time=end_date_time, sender=sender, recipient=recipient
        )
        return await self._api.change(EXPORT_HISTORY, Export, body=body)


def _known_status(status: DeliveryStatus | str | None) -> HistoryStatus | None:
    if status is None:
        return None
    found: HistoryStatus | None = _STATUSES.get(status.upper()) if isinstance(status, str) else None
    if found is None:
        raise ConfigurationError(f"the history is filtered by status {', '.join(_STATUSES)}")
    return found


def _known_channel(channel: Channel | str) -> Channel:
    try:
        return Channel(channel.upper())
    except ValueError:
        raise ConfigurationError("channel must be SMS, RCS or WHATSAPP") from None
