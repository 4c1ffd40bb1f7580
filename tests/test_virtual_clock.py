from __future__ import annotations

import asyncio
import math

import pytest

from qlara_async.clock import Clock
from qlara_async.testing.clock import VirtualClock

pytestmark = pytest.mark.anyio


async def test_time_jumps_to_the_sleeps_in_their_order() -> None:
    clock = VirtualClock(start=100.0)
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.monotonic()))

    await asyncio.gather(sleeper("a day", 86_400), sleeper("a second", 1), sleeper("a minute", 60))
    assert woken == [("a second", 101.0), ("a minute", 160.0), ("a day", 86_500.0)]
    assert clock.slept == [86_400, 1, 60]


async def test_wall_time_passes_with_monotonic_time() -> None:
    clock: Clock = VirtualClock(start=5.0, epoch=1_000.0)
    await clock.sleep(2.5)
    assert (clock.monotonic(), clock.time()) == (7.5, 1_002.5)


async def test_tasks_ready_to_run_do_so_before_time_jumps() -> None:
    clock = VirtualClock()
    start = clock.monotonic()
    sleeping = asyncio.create_task(clock.sleep(10))
    for _ in range(8):
        await asyncio.sleep(0)
        assert clock.monotonic() == start
    await sleeping
    assert clock.monotonic() == start + 10


async def test_real_io_goes_on_while_time_jumps() -> None:
    clock = VirtualClock()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(4))
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        waiting = asyncio.create_task(clock.sleep(3600))
        writer.write(b"ping")
        assert await reader.readexactly(4) == b"ping"
        await waiting
        writer.close()
        await writer.wait_closed()


async def test_without_jumping_time_moves_only_when_told() -> None:
    clock = VirtualClock(start=0.0, jump=False)
    fired: list[float] = []

    async def periodic() -> None:
        for _ in range(3):
            await clock.sleep(1)
            fired.append(clock.monotonic())

    task = asyncio.create_task(periodic())
    for _ in range(50):
        await asyncio.sleep(0)
    assert clock.monotonic() == 0.0
    await clock.advance(0.5)
    assert (clock.monotonic(), fired) == (0.5, [])
    await clock.advance(2)
    assert (clock.monotonic(), fired) == (2.5, [1.0, 2.0])
    await clock.advance(10)
    assert (clock.monotonic(), fired, task.done()) == (12.5, [1.0, 2.0, 3.0], True)


async def test_timers_of_one_instant_fire_in_order_and_cancelled_ones_never() -> None:
    clock = VirtualClock(start=0.0, jump=False)
    fired: list[str] = []
    clock.call_at(2.0, lambda: fired.append("first"))
    withdrawn = clock.call_at(2.0, lambda: fired.append("withdrawn"))
    clock.call_at(2.0, lambda: fired.append("second"))
    late = clock.call_at(-1.0, lambda: fired.append(f"overdue, at {clock.monotonic()}"))
    withdrawn.cancel()
    assert clock.timers == 3
    await clock.advance(2)
    late.cancel()
    assert fired == ["overdue, at 0.0", "first", "second"]
    assert clock.timers == 0


async def test_a_cancelled_sleep_leaves_no_timer_and_time_stays() -> None:
    clock = VirtualClock(start=0.0)
    task = asyncio.create_task(clock.sleep(60))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    for _ in range(50):
        await asyncio.sleep(0)
    assert (task.cancelled(), clock.timers, clock.monotonic()) == (True, 0, 0.0)


async def test_a_timer_that_never_comes_does_not_move_time() -> None:
    clock = VirtualClock(start=0.0)
    task = asyncio.create_task(clock.sleep(math.inf))
    await clock.advance(5)
    assert (clock.monotonic(), task.done()) == (5.0, False)
    task.cancel()


async def test_sleeping_no_time_still_lets_others_run() -> None:
    clock = VirtualClock(start=0.0)
    ran = asyncio.Event()
    asyncio.get_running_loop().call_soon(ran.set)
    await clock.sleep(0)
    assert ran.is_set()
    assert (clock.monotonic(), clock.slept) == (0.0, [0])


def test_one_clock_serves_one_event_loop_after_another() -> None:
    clock = VirtualClock(start=0.0)

    async def leave_a_timer_behind() -> None:
        clock.call_at(5.0, lambda: None)

    async def sleep() -> None:
        await clock.sleep(7)

    asyncio.run(leave_a_timer_behind())
    asyncio.run(sleep())
    assert clock.monotonic() == 7.0
