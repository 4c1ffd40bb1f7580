"""A handler's own limit of runs at once, with either inbox: it holds, and holds up nobody else."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qlara_async.errors import ConfigurationError
from qlara_async.models.events import Delivery, Inbound
from qlara_async.webhooks import MemoryInbox, Router, SqliteInbox, UrlToken, WebhookReceiver
from qlara_async.webhooks.inbox import Work

from .test_memory_inbox import delivery, put

pytestmark = pytest.mark.anyio

TOKEN = "right-token-0123456789"


class Busy:
    """A handler that waits until it is let go, and knows how many of it there were at once."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.now = self.most = self.ended = 0

    async def __call__(self, event: Inbound | Delivery) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        await self.go.wait()
        await asyncio.sleep(0)
        self.now -= 1
        self.ended += 1


@pytest.fixture(params=["memory", "sqlite"])
async def receiver(
    request: pytest.FixtureRequest, tmp_path: Path, no_task_left: None
) -> AsyncIterator[WebhookReceiver]:
    inbox: Any = (
        MemoryInbox(allow_loss=True)
        if request.param == "memory"
        else SqliteInbox(tmp_path / "inbox.db", retry_wait=0.0, max_attempts=3)
    )
    receiver = WebhookReceiver(auth=UrlToken(TOKEN), inbox=inbox, concurrency=4, drain_timeout=0)
    yield receiver
    await receiver.aclose()


async def post(receiver: WebhookReceiver, number: int, event_type: str = "DELIVERY") -> None:
    body = {"channel": "RCS", "eventType": event_type, "messageId": f"m{number}", "statusCode": 3, "source": "+391"}
    answer = await receiver.ingest("POST", f"/{TOKEN}", {}, msgspec.json.encode(body))
    assert answer.status == 200


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0)


async def test_a_handler_at_its_limit_keeps_no_other_waiting(receiver: WebhookReceiver) -> None:
    slow, quick = Busy(), Busy()
    quick.go.set()
    receiver.on_delivery(name="slow", concurrency=2)(slow)
    receiver.on_delivery(name="quick")(quick)
    for number in range(40):
        await post(receiver, number)
    await until(lambda: quick.ended == 40)
    await until(lambda: slow.now == 2)
    assert (slow.most, slow.ended) == (2, 0)
    slow.go.set()
    await receiver.idle()
    assert (slow.most, slow.ended) == (2, 40)


async def test_a_limit_holds_for_what_fails_and_is_tried_again(receiver: WebhookReceiver) -> None:
    runs = Counter[str | None]()
    now = most = 0

    @receiver.on_delivery(name="broken", concurrency=1)
    async def broken(event: Delivery) -> None:
        nonlocal now, most
        runs[event.message_id] += 1
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1
        raise ValueError

    receiver.on_error(lambda *told: None)
    for number in range(5):
        await post(receiver, number)
    await receiver.idle()
    assert most == 1
    assert set(runs.values()) == {1 if receiver.stats().dead == 0 else 3}


async def test_a_limit_holds_for_work_that_an_earlier_process_left(tmp_path: Path, no_task_left: None) -> None:
    def receiver(handler: Busy) -> WebhookReceiver:
        inbox = SqliteInbox(tmp_path / "inbox.db")
        receiver = WebhookReceiver(auth=UrlToken(TOKEN), inbox=inbox, drain_timeout=0)
        receiver.on_delivery(name="slow", concurrency=3)(handler)
        return receiver

    before, after = Busy(), Busy()
    first = receiver(before)
    for number in range(10):
        await post(first, number)
    await until(lambda: before.now == 3)
    await first.aclose()
    second = receiver(after)
    await second.start()
    await until(lambda: after.now == 3)
    after.go.set()
    await second.idle()
    await second.aclose()
    assert (before.most, after.most, after.ended) == (3, 3, 10)


@settings(max_examples=60)
@given(st.data())
def test_in_memory_no_order_of_ends_breaks_a_limit_or_a_lane(data: st.DataObject) -> None:
    limits = data.draw(st.dictionaries(st.sampled_from("ab"), st.integers(1, 3)))
    lanes = data.draw(st.lists(st.none() | st.sampled_from([b"x", b"y"]), min_size=1, max_size=25))

    async def run() -> None:
        inbox = MemoryInbox(allow_loss=True)
        numbers = {f"m{number}": lane for number, lane in enumerate(lanes)}
        await inbox.start(
            lambda _: ("a", "b"), lane=lambda event: numbers[event.message_id or ""], limits=lambda: limits
        )
        await put(inbox, *(delivery(name) for name in numbers))
        out: list[Work] = []
        seen: dict[tuple[str, bytes | None], list[int]] = {}
        while inbox.pending:
            while inbox._ready and (not out or data.draw(st.booleans())):
                out.append(await inbox.take())
                seen.setdefault((out[-1].handler, out[-1].lane), []).append(out[-1].ticket)
            counts = Counter(work.handler for work in out)
            assert all(counts[handler] <= limit for handler, limit in limits.items())
            in_lanes = Counter((work.handler, work.lane) for work in out if work.lane is not None)
            assert set(in_lanes.values()) <= {1}
            await inbox.finish(out.pop(data.draw(st.integers(0, len(out) - 1))), None)
        assert sum(map(len, seen.values())) == 2 * len(lanes)
        assert all(tickets == sorted(tickets) for (_, lane), tickets in seen.items() if lane is not None)

    asyncio.run(run())


@pytest.mark.parametrize("concurrency", [0, -1])
def test_a_limit_is_at_least_one(concurrency: int) -> None:
    with pytest.raises(ConfigurationError, match="concurrency"):
        Router().on_read(concurrency=concurrency)
