"""SMS Legacy: texts to many recipients, and what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from ..errors import InvalidMessageError, QlaraError
from .answers import Receipt
from .message import Sms
from .text import placeholder_names

__all__ = ["LegacyReceipt", "LegacySms"]


class LegacySms(msgspec.Struct, frozen=True, kw_only=True):
    """One text to any number of recipients: an entry of ``messages[]`` (API page "SMS Legacy").

    Attributes:
        destinations: the recipients, each as in `Sms`.
        sender: as in `Sms`.
        body: the text, sent as it is: this endpoint knows no placeholders.
        ids: your own ids, one for each destination, of at most 64 characters; minted if not given.
        udh_data: as in `Sms`.
        scheduled_date: as in `Sms`.
    """

    destinations: Sequence[str]
    sender: str
    body: str
    ids: Sequence[str] | None = None
    udh_data: str | None = None
    scheduled_date: datetime | None = None

    def messages(self, *, simulation: bool, enable_notification: bool, skip_rcs_override: bool) -> list[Sms]:
        """Make a message for each recipient.

        Raises:
            InvalidMessageError: a field is wrong, or there is not one id for each destination.
        """
        if isinstance(self.destinations, str) or not self.destinations:
            raise InvalidMessageError("must be a list of numbers that is not empty", field="destinations")
        ids = [None] * len(self.destinations) if self.ids is None else list(self.ids)
        if len(ids) != len(self.destinations):
            raise InvalidMessageError("must be one for each destination", field="ids")
        literal = {name: f"{{{name}}}" for name in placeholder_names(self.body)} if isinstance(self.body, str) else {}
        return [
            Sms(
                destination=destination,
                sender=self.sender,
                body=self.body,
                message_id=message_id,
                udh_data=self.udh_data,
                scheduled_date=self.scheduled_date,
                placeholders=literal or None,
                simulation=simulation,
                enable_notification=enable_notification,
                skip_rcs_override=skip_rcs_override,
            )
            for destination, message_id in zip(self.destinations, ids, strict=True)
        ]

    def __repr__(self) -> str:
        return f"LegacySms({len(self.destinations)} destinations)"


class LegacyReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the messages of one request.

    Attributes:
        accepted: message id -> receipt, in the order they were given.
        refused: message id -> why it was not accepted.
    """

    accepted: dict[str, Receipt]
    refused: dict[str, QlaraError]

    def __repr__(self) -> str:
        return f"LegacyReceipt({len(self.accepted)} accepted, {len(self.refused)} refused)"
