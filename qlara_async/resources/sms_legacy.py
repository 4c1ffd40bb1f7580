"""``client.sms_legacy``: many messages to many recipients in one request (``/services/sms``)."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ..errors import (
    ApiError,
    BatchUnknownError,
    DeliveryUnknownError,
    InvalidMessageError,
    QlaraError,
    TransportError,
    UndecodableAnswerError,
)
from ..models.answers import Receipt
from ..models.legacy import LegacyReceipt, LegacySms
from ..models.message import Sms, fix_message_id
from ..protocol.batches import Terms, check_batchable
from ..protocol.operations.legacy import GET_LEGACY_CREDIT, LegacyCredit
from ..sending.batches import BatchSender, Ending
from ..sending.calls import Pursuit
from ..sending.gates import admit
from ..sending.sends import new_message_id
from .api import Api

__all__ = ["SmsLegacy"]


class SmsLegacy:
    """SMS Legacy: texts to many recipients at once, and the account's credit."""

    def __init__(self, api: Api) -> None:
        self._sender = BatchSender(api.sender)
        self._api = api
        self._options = api.options

    async def send(
        self,
        messages: Iterable[LegacySms],
        *,
        enable_concatenated: bool = True,
        enable_unicode: bool = True,
        enable_notification: bool = True,
        simulation: bool = False,
        skip_rcs_override: bool = False,
    ) -> LegacyReceipt:
        """Send texts to all their recipients in one request: ``POST /services/sms/send``.

        The request is documented; its success body is not: entries for single messages are read if there are any, else
        a 2xx counts as acceptance of all. How many messages a request may have is not documented either.

        Args:
            messages: the texts, each with its recipients.
            enable_concatenated: ``False`` has the gateway cut each text to one part.
            enable_unicode: ``False`` has the gateway remove or replace what is not in GSM-7.
            enable_notification: whether delivery callbacks are wanted (``enableDelivery``).
            simulation: a dry run.
            skip_rcs_override: send as SMS although the account turns SMS into RCS.

        Raises:
            InvalidMessageError: a field is wrong; nothing was sent.
            NotSentError: a gate refused one of the messages; nothing was sent.
            ApiError: the gateway refused the whole request; `ApiError.meaning` says what its code means.
            BatchUnknownError: some may have been accepted; ``message_ids`` says which to look up.
            TransportError: provably none reached the gateway (``sent == "no"``).
        """
        texts = list(messages)
        if not all(isinstance(text, LegacySms) for text in texts):
            raise InvalidMessageError("give a list of LegacySms; Sms are for send and bulk", field="messages")
        simulation = simulation or self._options.simulation
        terms = Terms(simulation, enable_notification, skip_rcs_override, enable_concatenated, enable_unicode)
        wanted = [
            message
            for text in texts
            for message in text.messages(
                simulation=simulation, enable_notification=enable_notification, skip_rcs_override=skip_rcs_override
            )
        ]
        if not wanted:
            raise InvalidMessageError("give at least one message", field="messages")
        admitted = [await self._admitted(message) for message in wanted]
        pursuit = Pursuit()
        endings = await self._sender.send_batch(self._options, admitted, terms, pursuit)
        return _receipt(admitted, endings, pursuit.attempts)

    async def credit(self) -> float:
        """Return the credit in euros: ``GET /services/sms/credit`` (documented).

        That of the SMS Legacy product; the platform's own is `qlara.subscription.credit`.

        Raises:
            UndecodableAnswerError: the answer has no ``credit``.
            ApiError, TransportError: as for any call; `ApiError.meaning` says what its code means.
        """
        response = await self._api.call(GET_LEGACY_CREDIT)
        try:
            return msgspec.json.decode(response.body, type=LegacyCredit, strict=False).credit
        except (msgspec.MsgspecError, UnicodeDecodeError):
            text = "the answer has no credit"
        raise UndecodableAnswerError(text, status=response.status, body=response.body)

    async def _admitted(self, message: Sms) -> Sms:
        fix_message_id(message, new_message_id)
        check_batchable(message)
        if not self._options.gates:
            return message
        admitted = await admit(self._options.gates, message)
        check_batchable(admitted)
        return admitted if isinstance(admitted, Sms) else message


def _receipt(messages: list[Sms], endings: list[Ending], attempts: int) -> LegacyReceipt:
    ids = [message.message_id or "" for message in messages]
    accepted = {item: ending for item, ending in zip(ids, endings, strict=True) if isinstance(ending, Receipt)}
    refused = {item: ending for item, ending in zip(ids, endings, strict=True) if isinstance(ending, QlaraError)}
    unknown = [item for item, ending in refused.items() if isinstance(ending, DeliveryUnknownError)]
    if unknown:
        known = [item for item in refused if item not in unknown]
        raise BatchUnknownError.of(unknown, list(accepted), known, attempts=attempts) from refused[unknown[0]].__cause__
    first = next(iter(refused.values()), None)
    if not accepted and isinstance(first, ApiError | TransportError):
        first.message_id = None  # it is that of the whole request
        raise first
    return LegacyReceipt(accepted=accepted, refused=refused)
