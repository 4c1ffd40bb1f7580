"""SMS Legacy (``/services/sms``): many messages to many recipients in a request, and the credit."""

from __future__ import annotations

from typing import Any

import msgspec

from ..batches import LEGACY_SEND_PATH
from .operation import Operation

__all__ = ["GET_LEGACY_CREDIT", "OPERATIONS", "SEND_LEGACY", "LegacyBody", "LegacyCredit", "LegacyMessage"]


class LegacyMessage(msgspec.Struct, rename="camel"):
    """One text to several recipients."""

    destinations: list[str] = []
    ids: list[str] | None = None
    sender: str = ""
    body: str = ""
    hex_body: bool = False
    udh_data: str | None = None
    scheduling: str | None = None

    def __repr__(self) -> str:
        return f"LegacyMessage({len(self.destinations)} destinations)"


class LegacyBody(msgspec.Struct, rename="camel"):
    """The body of a send."""

    messages: list[LegacyMessage] = []
    global_id: str | None = None
    max_id_len: int = 64
    enable_concatenated: bool = True
    enable_unicode: bool = True
    enable_delivery: bool = True
    simulation: bool = False
    skip_rcs_override: bool = False

    def __repr__(self) -> str:
        return f"LegacyBody({len(self.messages)} messages)"

    @property
    def destinations(self) -> tuple[str, ...]:
        """All recipients."""
        return tuple(destination for message in self.messages for destination in message.destinations)


class LegacyCredit(msgspec.Struct, rename="camel"):
    """The credit in euros."""

    credit: float


SEND_LEGACY = Operation(
    id="sms_legacy.send",
    method="POST",
    path=LEGACY_SEND_PATH,
    summary="Send many SMS in one request",
    source="qlara/guides/sms-legacy",
    body=LegacyBody,
    answer=dict[str, Any],
    errors=(400, 500),
    guess="what a good request is answered with, and that a bad one is a 400, is not shown",
)
GET_LEGACY_CREDIT = Operation(
    id="sms_legacy.credit",
    method="GET",
    path="/services/sms/credit",
    summary="Read the credit",
    source="qlara/guides/sms-legacy",
    answer=LegacyCredit,
    errors=(500,),
)

OPERATIONS = (SEND_LEGACY, GET_LEGACY_CREDIT)
