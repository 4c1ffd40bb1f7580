"""The right to erasure (GDPR, article 17): one number, taken out of everything this package keeps."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ..errors import ConfigurationError, StoreError
from ..models.erasure import Erased
from ..protocol.numbers import checked_number

if TYPE_CHECKING:
    from ..chains import FallbackChains
    from ..conversations import Conversations
    from ..tracking import DeliveryTracker
    from ..webhooks import SqliteInbox
    from .suppression import SuppressionList

__all__ = ["ErasureReport", "erase_number"]

_CHUNK = 1 << 20


class ErasureReport(msgspec.Struct, frozen=True):
    """What was erased.

    Attributes:
        places: what each place held, those included that held nothing.
    """

    places: tuple[Erased, ...]

    @property
    def total(self) -> int:
        """How much was removed, all in all."""
        return sum(place.total for place in self.places)

    @property
    def complete(self) -> bool:
        """Whether no byte of the number is left in any of the files."""
        return all(place.scrubbed for place in self.places)


async def erase_number(
    number: str,
    *,
    inbox: SqliteInbox | None = None,
    conversations: Conversations | None = None,
    suppression: SuppressionList | None = None,
    journals: Iterable[str | PathLike[str]] = (),
    tracker: DeliveryTracker | None = None,
    chains: FallbackChains | None = None,
    keep_suppressed: bool = True,
) -> ErasureReport:
    """Take a number out of what is given, and say what was removed.

    The inbox loses every event of the number, pending work included: handlers that have begun are not stopped. A number
    that is suppressed stays so by a keyed digest, unless `keep_suppressed` is false: to be forgotten is no wish to be
    written to again. Fallback chains to it end where they stand. Journals and the tracker hold no numbers, but a number
    may be part of a ``message_id`` that you gave: such messages are taken out of the tracker, and the journals' bytes
    are searched. The file of an `InboundRepair` holds keyed digests only.

    Args:
        number: with its country code, as ``+39…`` or ``0039…``.
        inbox: of the receiver.
        conversations: see `Conversations`.
        suppression: see `SuppressionList`.
        journals: files of bulk jobs, none of them running.
        tracker: of deliveries.
        chains: of messages, entered or not.
        keep_suppressed: go on suppressing a number that is suppressed.

    Raises:
        InvalidMessageError: it is no such number.
        ConfigurationError: a path is given where its object is wanted, or one path as `journals`.
        InboxError, StoreError, ChainStoreError, TrackingStoreError: a place cannot be used; those before it are erased.
    """
    plain = checked_number(number)
    if isinstance(journals, str | PathLike):
        raise ConfigurationError("journals= takes a list of paths")
    for name, place in (("inbox", inbox), ("conversations", conversations), ("suppression", suppression)):
        if isinstance(place, str | PathLike):
            raise ConfigurationError(f"{name}= takes the object, not its path")
    places: list[Erased] = []
    if inbox is not None:
        places.append(await inbox.erase(plain))
    if conversations is not None:
        places.append(await conversations.erase(plain))
    if suppression is not None:
        places.append(await suppression.erase(plain, keep_suppressed=keep_suppressed))
    for journal in journals:
        places.append(await asyncio.to_thread(_searched, Path(journal), plain[1:].encode()))
    if chains is not None:
        places.append(await chains.erase(plain))
    if tracker is not None:
        places.append(await tracker.erase(plain))
    return ErasureReport(tuple(places))


def _searched(path: Path, digits: bytes) -> Erased:
    """Search a journal's files. Its rows are ids and keyed digests: those of a number cannot be told from others."""
    place = f"journal {path.name}"
    if not path.is_file():
        raise StoreError(f"there is no {place}: check the path")
    if any(_holds(file, digits) for file in (path, path.with_name(f"{path.name}-wal")) if file.exists()):
        note = "the number is part of an id that you gave: delete the journal once its job is done"
        return Erased(place=place, removed={}, scrubbed=False, note=note)
    return Erased(place=place, removed={}, note="it holds ids and keyed digests only; the number is not in the file")


def _holds(path: Path, digits: bytes) -> bool:
    with path.open("rb") as file:
        tail = b""
        while chunk := file.read(_CHUNK):
            if digits in tail + chunk:
                return True
            tail = chunk[-len(digits) :]
    return False
