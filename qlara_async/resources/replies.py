"""``client.replies``: answers to customers who wrote, by the send endpoint of their channel (``/message-server``)."""

from __future__ import annotations

import msgspec

from ..models.answers import Receipt
from ..models.channel import Channel
from ..models.events import Inbound
from ..protocol.numbers import normal_number
from ..protocol.replies import ReplyAs, answer_to
from ..sending.gates import Listening
from .api import Api
from .phone_numbers import PhoneNumbers

__all__ = ["Replies"]


class Replies:
    """Answers to inbound messages. In a handler, ``ctx.reply`` gives them ids by which none is sent twice."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._whatsapp: dict[str, int] = {}

    async def send(
        self, event: Inbound, text: str, *, reply_as: ReplyAs = ReplyAs(), message_id: str | None = None
    ) -> Receipt:
        """Answer on the event's channel: ``POST /message-server/{sms,rcs,whatsapp}/send``.

        The endpoints are documented. That an SMS may have the number the customer wrote to as its sender is a guess; so
        is the field of the list of WhatsApp numbers by which the id of that number is found.
        What the customer wrote counts before the answer is checked: it opens their WhatsApp window, and after a STOP
        they get no answer.

        Args:
            event: the message to answer.
            text: free-form text.
            reply_as: as whom; needed for RCS.
            message_id: your own id of the answer.

        Raises:
            InvalidMessageError: the event names no number to answer, or the text does not fit.
            ConfigurationError: `reply_as` does not tell as whom, or the channel has no send endpoint.
            QlaraError: as for ``client.send``.
        """
        message = answer_to(event, text, await self._known(event, reply_as), message_id)
        await self._hear(event)
        return await self._api.sender.send(self._api.options, message)

    async def send_again(self, event: Inbound, text: str, *, message_id: str, reply_as: ReplyAs = ReplyAs()) -> Receipt:
        """Answer as `send` does where the answer of this id may have been sent before: it is looked up first.

        That takes up to ``RetryPolicy.settle`` seconds. Found, it is not sent again.

        Raises:
            DeliveryUnknownError: looking it up did not tell (guarantee G1). Otherwise as `send`.
        """
        message = answer_to(event, text, await self._known(event, reply_as), message_id)
        await self._hear(event)
        return await self._api.sender.send_again(self._api.options, message)

    async def _known(self, event: Inbound, reply_as: ReplyAs) -> ReplyAs:
        """Find the id of the WhatsApp number that the customer wrote to, if nobody has told it."""
        ours = normal_number(event.destination, bare=True)
        if event.channel != Channel.WHATSAPP or reply_as.whatsapp is not None or ours is None:
            return reply_as
        if ours not in self._whatsapp:
            numbers = [one async for one in PhoneNumbers(self._api).list()]
            known = {normal_number(one.phone_number, bare=True): one.id for one in numbers}
            self._whatsapp |= {number: one for number, one in known.items() if number and type(one) is int}
        return msgspec.structs.replace(reply_as, whatsapp=self._whatsapp.get(ours))

    async def _hear(self, event: Inbound) -> None:
        """Let gates know of the event, whose observers may not have run yet."""
        for gate in self._api.options.gates:
            if isinstance(gate, Listening):
                await gate.hear(event)
