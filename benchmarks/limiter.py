"""The limiter on the real clock: achieved rate, CPU, and the fullest second. Run ``python -m benchmarks.limiter``.

Two loads. "burst" starts idle, so that the limiter grants a whole window at once, and again when it comes back. "even"
first spends one window evenly, so that tokens come back one by one and nearly every grant is a waiter that the timer
wakes: the dearest case. The rate is compared to what the windows and the guard allow.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import NamedTuple

from qlara_async.limiter import Limiter
from qlara_async.models.options import Priority, RateLimit

RATES = (50, 1_000, 10_000)
WAITERS = 300
BUDGET_CPU = 25.0
BUDGET_ERROR = 0.5


class Result(NamedTuple):
    """One row of the table."""

    load: str
    asked: int
    allowed: float
    achieved: float
    cpu: float
    fullest: int

    @property
    def error(self) -> float:
        """The deviation of the rate, in percent."""
        return 100 * (self.achieved / self.allowed - 1)

    @property
    def kept(self) -> bool:
        """Whether the budgets are kept."""
        return abs(self.error) <= BUDGET_ERROR and self.cpu <= BUDGET_CPU and self.fullest <= self.asked


async def spend_evenly(limiter: Limiter, tokens: int, seconds: float) -> None:
    began, spent = time.monotonic(), 0
    while spent < tokens:
        due = min(tokens, int((time.monotonic() - began) / seconds * tokens) + 1)
        for _ in range(due - spent):
            await limiter.acquire()
        spent = due
        await asyncio.sleep(seconds / tokens)


async def measure(per_second: int, *, load: str, seconds: float, guard: float, waiters: int) -> Result:
    limiter = Limiter(RateLimit(per_second, 60 * per_second), guard=guard)
    grants: list[float] = []

    async def worker() -> None:
        while True:
            grants.append(await limiter.acquire(Priority.INTERACTIVE))

    window = 1 + guard
    if load == "even":
        await spend_evenly(limiter, per_second, window)
    cpu, began = time.process_time(), time.monotonic()
    workers = [asyncio.create_task(worker()) for _ in range(waiters)]
    await asyncio.sleep(seconds)
    cpu, elapsed = time.process_time() - cpu, time.monotonic() - began
    for task in workers:
        task.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    return Result(
        load,
        per_second,
        per_second / window,
        rate_of(grants, per_second),
        100 * cpu / elapsed,
        fullest_second(grants),
    )


def rate_of(grants: list[float], per_second: int) -> float:
    """Count from the first grant to its counterpart some whole windows later, so that bursts do not blur the rate."""
    whole = (len(grants) - 1) // per_second * per_second
    return whole / (grants[whole] - grants[0])


def fullest_second(grants: list[float]) -> int:
    first = most = 0
    for last, granted in enumerate(grants):
        while granted - grants[first] >= 1:
            first += 1
        most = max(most, last - first + 1)
    return most


def main() -> None:
    options = argparse.ArgumentParser(description="Measure the limiter on the real clock.")
    options.add_argument("--seconds", type=float, default=6.0, help="for each row")
    options.add_argument("--guard", type=float, default=0.05, help="seconds added to each window")
    options.add_argument("--waiters", type=int, default=WAITERS)
    chosen = options.parse_args()
    columns = ("load", "asked/s", "allowed/s", "achieved/s", "error %", "CPU %", "fullest 1 s", "budget")
    print(("{:>11} " * len(columns)).format(*columns))
    for load in ("burst", "even"):
        for rate in RATES:
            row = asyncio.run(
                measure(rate, load=load, seconds=chosen.seconds, guard=chosen.guard, waiters=chosen.waiters)
            )
            print(
                f"{row.load:>11} {row.asked:>11} {row.allowed:>11.1f} {row.achieved:>11.1f} {row.error:>11.2f} "
                f"{row.cpu:>11.1f} {row.fullest:>11} {'kept' if row.kept else 'MISSED':>11} "
            )
    print(f"budget: error within {BUDGET_ERROR} %, CPU at most {BUDGET_CPU:.0f} % of a core, no second above the rate")


if __name__ == "__main__":
    main()
