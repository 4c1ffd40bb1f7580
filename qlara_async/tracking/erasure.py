"""Erasing a number from what is tracked: messages are known by ids, and a number may be part of one."""

from __future__ import annotations

from collections.abc import Callable

from ..models.erasure import Erased
from .book import Book
from .record import Record
from .store import Store

__all__ = ["erase_from"]


async def erase_from(book: Book, store: Store, number: str, *, untold: Callable[[Record], bool]) -> Erased:
    """Forget the messages that name a number (in E.164), and leave no byte of it.

    Messages that have not ended, or whose outcome is `untold`, are kept: the report says so.
    """
    gone, kept = book.erase(number[1:], untold=untold)
    for record in gone:
        store.forget(record)
    scrubbed = await store.scrub()
    note = "it knows messages by their ids only"
    if kept:
        note = f"it is in an id of {kept} under way: erase again when they have ended"
    return Erased(place="delivery tracker", removed={"entries": len(gone)}, scrubbed=scrubbed and not kept, note=note)
