"""Paired rounds: every variant next to the reference, in alternating order, medians of the ratios."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping

__all__ = ["Prepare", "Slice", "measure", "print_table"]

Slice = Callable[[], Awaitable[int]]
"""Does a slice of work and returns how many operations it was."""


Prepare = Callable[[], Slice]
"""Makes what a slice works on, outside of the time measured."""


async def measure(
    reference: Slice, variants: Mapping[str, Prepare], *, rounds: int
) -> tuple[float, dict[str, list[float]]]:
    """Return the reference's median operations a second, and for each variant its ratios, one a round."""
    for prepare in (lambda: reference, *variants.values()):
        await prepare()()
    rates: list[float] = []
    ratios: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds):
        for name, prepare in variants.items():
            variant = prepare()
            if number % 2:
                ours, bare = await _rate(variant), await _rate(reference)
            else:
                bare, ours = await _rate(reference), await _rate(variant)
            rates.append(bare)
            ratios[name].append(ours / bare)
    return statistics.median(rates), ratios


async def _rate(work: Slice) -> float:
    gc.collect()
    began = time.perf_counter()
    done = await work()
    return done / (time.perf_counter() - began)


def print_table(
    title: str, reference: str, rate: float, ratios: Mapping[str, list[float]], budgets: Mapping[str, float]
) -> None:
    """Print medians with quartiles beside their budgets."""
    print(f"\n{title}")
    print(f"  {reference}: {rate:,.0f}/s = 1.00")
    print(f"  {'':<34}{'ratio':>7}  {'p25':>5} {'p75':>5}   budget")
    for name, values in ratios.items():
        quarters = statistics.quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3
        budget = budgets.get(name)
        verdict = (
            "" if budget is None else f"≥ {budget:.2f} {'met' if statistics.median(values) >= budget else 'MISSED'}"
        )
        print(f"  {name:<34}{statistics.median(values):>7.2f}  {quarters[0]:>5.2f} {quarters[2]:>5.2f}   {verdict}")
