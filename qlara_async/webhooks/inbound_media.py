"""Media that came with an inbound message: until when they can be fetched, and fetching them."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from ..errors import ConfigurationError
from ..models.events import Event, Inbound, Media
from ..models.media import MAX_BYTES, MAX_SECONDS

if TYPE_CHECKING:
    from ..client import QlaraClient
    from ..transfers.download import SavedFile

__all__ = ["EXPIRE_MINUTES", "InboundMedia", "media_of", "with_expiry"]

EXPIRE_MINUTES = 180.0
"""The account's ``expireMinutes``, unless it was changed (FAQ)."""


def with_expiry(event: Event, minutes: float) -> Event:
    """Say on an event's media until when they can be fetched.

    Guess: the minutes count from the time the message names, or from its arrival if that is earlier or none is named.
    """
    if not isinstance(event, Inbound) or event.media is None:
        return event
    begins = event.received_at if event.occurred_at is None else min(event.occurred_at, event.received_at)
    try:
        expires = begins + timedelta(minutes=minutes)
    except OverflowError:
        return event
    return msgspec.structs.replace(event, media=msgspec.structs.replace(event.media, expires_at=expires))


class InboundMedia:
    """The media of a handler's event, ``ctx.media``.

    Attributes:
        media: key, type, caption and ``expires_at``.
    """

    def __init__(self, media: Media, client: QlaraClient) -> None:
        self.media = media
        self._client = client

    async def save(
        self, path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES, max_seconds: float = MAX_SECONDS
    ) -> SavedFile:
        """Fetch the media, streamed to disk: see ``client.media.download``.

        Handlers run as soon as an event is stored, so that this is in time; one that failed is repeated for as long as
        the inbox has it so, which may be longer than the media are there.

        Args:
            path: where to save them. Do not make it of anything in the event.
            max_bytes: the most to accept; 100 MiB unless told.
            max_seconds: the longest that receiving them may take; 300 unless told.

        Raises:
            NotFoundError: there is nothing, or no longer: compare ``media.expires_at``.
            TransferError: too large, too slow, or the disk does not take it.
            ApiError, TransportError: as for any call.
        """
        return await self._client.media.download(self.media.key, path, max_bytes=max_bytes, max_seconds=max_seconds)

    def __repr__(self) -> str:
        return f"InboundMedia({self.media!r})"


def media_of(event: Event, client: QlaraClient) -> InboundMedia:
    """Return the media of an event. Raises ``ConfigurationError`` if it has none."""
    media = getattr(event, "media", None)
    if media is None:
        raise ConfigurationError("ctx.media: the event has none; ask event.media first")
    return InboundMedia(media, client)
