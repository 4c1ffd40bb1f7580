"""How a tracker ends while its handlers run: also when one of them closes it, fails late, or will not end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from qlara_async.errors import ClientStateError
from qlara_async.tracking import DeliveryTracker, StatusChange

from .tracking_world import World, until

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_task_left")]


class Closer:
    """A handler that closes its tracker, by one way or another, and says whether it came to its end."""

    def __init__(self, world: World, close: Callable[[DeliveryTracker], Awaitable[object]]) -> None:
        self.tracker = world.tracker
        self.close = close
        self.runs = self.ended = 0
        world.tracker.on_status(name="closer")(self.told)

    async def told(self, change: StatusChange) -> None:
        self.runs += 1
        await self.close(self.tracker)
        await asyncio.sleep(0)
        self.ended += 1


async def directly(tracker: DeliveryTracker) -> None:
    await tracker.aclose()


async def through_another_task(tracker: DeliveryTracker) -> None:
    await asyncio.gather(tracker.aclose())


async def delivered(world: World) -> None:
    await world.send()
    await world.advance(1)


async def test_a_handler_may_close_its_tracker(tmp_path: Path) -> None:
    async with World(receiver=True, store=tmp_path / "tracking.db") as world:
        closer = Closer(world, directly)
        await delivered(world)
        await until(lambda: closer.ended)
        await world.tracker.aclose()  # returns when it is closed, whoever began it
        assert world.tracker._store._connection is None  # type: ignore[attr-defined]
        with pytest.raises(ClientStateError):
            await world.tracker.status("m")
        told: list[StatusChange] = []

        async def again(change: StatusChange) -> None:
            told.append(change)

        successor = DeliveryTracker(world.qlara, tmp_path / "tracking.db", clock=world.clock)
        successor.on_status(name="closer")(again)
        async with successor:
            await successor.idle()
        assert (closer.runs, told) == (1, [])


async def test_g12_a_handler_that_waits_for_its_own_end_is_cancelled_after_the_drain_timeout() -> None:
    async with World(receiver=True, drain_timeout=5.0) as world:
        closer = Closer(world, through_another_task)
        await delivered(world)
        await until(lambda: closer.runs)
        await world.advance(10)
        await until(lambda: not world.tracker._notifier._tasks)
        assert closer.ended == 0


async def test_g12_a_handler_that_will_not_end_does_not_hold_the_tracker_up(caplog: pytest.LogCaptureFixture) -> None:
    async with World(receiver=True, drain_timeout=5.0) as world:
        release, cancelled = asyncio.Event(), 0

        @world.tracker.on_status(name="stubborn")
        async def stubborn(change: StatusChange) -> None:
            nonlocal cancelled
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    cancelled += 1

        await delivered(world)
        await until(lambda: world.told)
        closing = asyncio.create_task(world.tracker.aclose())
        try:
            await world.advance(10)
            await until(closing.done)
        finally:
            release.set()
        await closing
        assert cancelled == 1
        assert "1 on_status handlers did not end" in caplog.text


async def test_g12_who_is_cancelled_while_closing_cancels_the_handlers_and_ends() -> None:
    async with World(receiver=True, drain_timeout=1e6) as world:
        hanging, ended = asyncio.Event(), asyncio.Event()

        @world.tracker.on_status(name="hangs")
        async def hangs(change: StatusChange) -> None:
            hanging.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        await delivered(world)
        await hanging.wait()
        closing = asyncio.create_task(world.tracker.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert ended.is_set()


async def test_g12_a_handler_that_fails_while_the_tracker_closes_leaves_no_timer() -> None:
    async with World(receiver=True) as world:
        hanging, fail = asyncio.Event(), asyncio.Event()

        @world.tracker.on_status(name="fails")
        async def fails(change: StatusChange) -> None:
            hanging.set()
            await fail.wait()
            raise ValueError

        await delivered(world)
        await hanging.wait()
        closing = asyncio.create_task(world.tracker.aclose())
        await asyncio.sleep(0)
        fail.set()
        await closing
        before = world.clock.timers
        await world.advance(5)
        assert world.clock.timers == before
        assert world.tracker._notifier._tasks == set()
