"""`client.send` and `client.bulk` against a bare aiohttp session that posts prepared bytes and reads the answer.

The bare peer's bytes are prepared, so are the messages; rows "building included" also make and check each message.

``python -m benchmarks.send [rounds]``
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable

import aiohttp

from benchmarks.canned import canned_gateway
from benchmarks.rounds import Prepare, Slice, measure, print_table
from qlara_async import QlaraClient, RateLimit, Sms
from qlara_async.protocol.encoding import encode_message

_SLICE = 3_000
_CONCURRENCY = 64
_UNLIMITED = RateLimit(per_second=1_000_000, per_minute=60_000_000)


def _message() -> Sms:
    return Sms(destination="+393401234567", sender="ACME", body="Ciao Anna, il tuo ordine è stato spedito!")


async def _workers(send_one: Callable[[], Awaitable[object]]) -> int:
    left = iter(range(_SLICE))

    async def work() -> None:
        for _ in left:
            await send_one()

    await asyncio.gather(*(work() for _ in range(_CONCURRENCY)))
    return _SLICE


async def _main(url: str, rounds: int) -> None:
    body = encode_message(_message())
    target = url + "/message-server/sms/send"
    headers = {"X-Api-Key": "k", "Content-Type": "application/json"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        QlaraClient("k", base_url=url, rate_limit=_UNLIMITED) as qlara,
    ):

        async def bare() -> None:
            async with session.post(target, data=body) as answer:
                await answer.read()

        async def build_and_send() -> None:
            await qlara.send(_message())

        async def bulk(messages: Iterable[Sms]) -> int:
            async with qlara.bulk(messages, concurrency=_CONCURRENCY) as job:
                return sum([1 async for _ in job])

        def sends() -> Slice:
            messages = iter([_message() for _ in range(_SLICE)])
            return lambda: _workers(lambda: qlara.send(next(messages)))

        def bulks() -> Slice:
            messages = [_message() for _ in range(_SLICE)]
            return lambda: bulk(messages)

        variants: dict[str, Prepare] = {
            "client.send": sends,
            "client.bulk": bulks,
            "client.send, building included": lambda: lambda: _workers(build_and_send),
            "client.bulk, building included": lambda: lambda: bulk(_message() for _ in range(_SLICE)),
        }
        rate, ratios = await measure(lambda: _workers(bare), variants, rounds=rounds)
    print_table(
        f"Sends, {_CONCURRENCY} in flight, one message a request",
        "bare aiohttp session.post of prepared bytes",
        rate,
        ratios,
        {"client.send": 0.90, "client.bulk": 0.90},
    )


if __name__ == "__main__":
    with canned_gateway() as base_url:
        asyncio.run(_main(base_url, int(sys.argv[1]) if len(sys.argv) > 1 else 15))
