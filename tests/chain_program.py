"""A process for tests to kill: it sends one fallback chain, or goes on with the one in the store.

Usage: ``python -m tests.chain_program URL STORE``; prints the chain's winner and the states of its legs when it ends.
"""

from __future__ import annotations

import asyncio
import sys

from qlara_async import DeliveryTracker, FallbackChain, FallbackChains, Message, QlaraClient, Rcs, RetryPolicy, Sms


async def main(url: str, store: str) -> None:
    legs: list[Message] = [
        Rcs(destination="+393400000001", agent_id=1, body="Ciao", message_id="leg-0"),
        Sms(destination="+393400000002", sender="ACME", body="Ciao", message_id="leg-1"),
    ]
    chain = FallbackChain(legs, within=1.0, grace=0.1, chain_id="chain")
    async with (
        QlaraClient("sandbox-key", base_url=url, rate_limit=None, retry=RetryPolicy(settle=0.2)) as qlara,
        DeliveryTracker(qlara, store + ".tracking", poll_after=0.2, max_interval=0.5) as tracker,
        FallbackChains(qlara, tracker, store=store) as chains,
    ):
        result = await chains.send(chain)
    print(result.winner, *[leg.state for leg in result.legs])


asyncio.run(main(*sys.argv[1:]))
