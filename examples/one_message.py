"""Sends one message and asks for its status: ``python -m examples.one_message [DESTINATION]``.

Runs against a sandbox, or against the account whose key is in ``QLARA_API_KEY``.
"""

from __future__ import annotations

import asyncio
import sys

from examples.gateway import open_client
from qlara_async import Sms
from qlara_async.errors import DeliveryUnknownError, QlaraError


async def main(destination: str) -> None:
    message = Sms(
        destination=destination,
        sender="ACME",
        body="Ciao {nome}, il tuo caffè è pronto ☕",
        placeholders={"nome": "Giulia"},
    )
    print(f"The text takes {message.segments.parts} part(s), as {message.segments.encoding}.")
    async with open_client() as qlara:
        receipt = await qlara.send(message)
        print(f"Accepted as {receipt.message_id}, in {receipt.attempts} attempt(s).")
        # Accepted is not delivered: that comes by callback (see service.py), or by asking again later.
        status = await qlara.messages.status(receipt.message_id, channel=receipt.channel)
        print(f"Its status is {status.status}.")


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "+390000000001"))
    except DeliveryUnknownError as error:
        sys.exit(f"Do not send it again before you know: {error}")
    except QlaraError as error:
        sys.exit(f"Not sent: {error}")
