"""Every operation we know, one line an area."""

from __future__ import annotations

from . import account, api_keys, campaigns, contacts, exports, inbox, legacy, media, messages, rcs, whatsapp
from .operation import Operation

__all__ = ["OPERATIONS"]

OPERATIONS: tuple[Operation, ...] = (
    *messages.OPERATIONS,
    *legacy.OPERATIONS,
    *account.OPERATIONS,
    *api_keys.OPERATIONS,
    *campaigns.OPERATIONS,
    *contacts.OPERATIONS,
    *exports.OPERATIONS,
    *inbox.OPERATIONS,
    *media.OPERATIONS,
    *rcs.OPERATIONS,
    *whatsapp.OPERATIONS,
)
