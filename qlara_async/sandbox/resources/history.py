"""The message history of the sandbox: what it accepted, by channel and period."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from ...clock import Clock
from ...models.channel import Channel
from ...protocol.operations import exports as operations
from ..answers import Reply, reply
from ..gateway import Gateway
from .paging import page_of
from .request import Handlers, ResourceRequest
from .times import iso

__all__ = ["MessageLog"]


class MessageLog:
    """What was accepted, oldest first.

    Beside the fields of a status an entry has the channel, destination and date that the API page speaks of: their
    names are a use case's.
    """

    def __init__(self, clock: Clock, gateway: Gateway) -> None:
        self._clock = clock
        self._gateway = gateway

    def handlers(self) -> Handlers:
        """What this area serves."""
        return {operations.GET_HISTORY: self._list}

    def entries(self, start: datetime, end: datetime) -> Iterator[dict[str, Any]]:
        """Yield what was accepted from `start` to `end`, both included."""
        first, last = start.timestamp(), end.timestamp()
        began = self._clock.time() - self._clock.monotonic()
        for message in self._gateway.messages:
            if not first <= began + message.at <= last:
                continue
            for status in self._gateway.look_up(message.channel, [message.message_id]):
                yield {
                    **status,
                    "channel": message.channel.value,
                    "destination": message.destination,
                    "sendDate": iso(began + message.at),
                }

    def campaign(self, campaign_id: int | str) -> list[dict[str, Any]]:
        """Return what was sent under a campaign."""
        ids = {item.message_id for item in self._gateway.messages if _campaign_of(item.json()) == str(campaign_id)}
        return [entry for entry in self.everything() if entry["customerMessageId"] in ids]

    def everything(self) -> list[dict[str, Any]]:
        """Return all there is."""
        return list(self.entries(datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)))

    def _list(self, request: ResourceRequest) -> Reply:
        query: operations.HistoryQuery = request.query
        found = [entry for entry in self.entries(query.from_, query.to) if _fits(entry, query.channel, query.status)]
        return reply(200, page_of(found, query.page, query.limit, default=20))


def _fits(entry: dict[str, Any], channel: Channel, status: str | None) -> bool:
    return entry["channel"] == channel and (status is None or entry["deliveryStatus"] == status)


def _campaign_of(body: Any) -> str | None:
    return body.get("campaignId") if isinstance(body, dict) else None
