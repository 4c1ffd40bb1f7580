"""Every operation we know, one line an area."""

from __future__ import annotations

from . import account, contacts, inbox, legacy, media, messages
from .operation import Operation

__all__ = ["OPERATIONS"]

OPERATIONS: tuple[Operation, ...] = (
    *messages.OPERATIONS,
    *legacy.OPERATIONS,
    *account.OPERATIONS,
    *contacts.OPERATIONS,
    *inbox.OPERATIONS,
    *media.OPERATIONS,
)
