"""Prices, as callers give them: no page has a price list."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TypeAlias

from ..errors import ConfigurationError
from ..models.channel import Channel

__all__ = ["Price", "cost_of", "prices_of"]

Price: TypeAlias = Decimal | int | float | str | Mapping[str, Decimal | int | float | str]
"""Of one SMS part, or of one message on another channel; or one for each channel, by its name."""


def prices_of(given: Price) -> dict[Channel, Decimal]:
    """Read prices. Raises ``ConfigurationError`` if one is no number, negative, or of no channel."""
    try:
        if isinstance(given, Mapping):
            prices = {Channel(channel.upper()): _decimal(price) for channel, price in given.items()}
        else:
            prices = dict.fromkeys(Channel, _decimal(given))
    except (ValueError, ArithmeticError, AttributeError, TypeError):
        raise ConfigurationError("a price is a number that is not negative, or one for each channel") from None
    return prices


def cost_of(units: Mapping[Channel, int], prices: Mapping[Channel, Decimal]) -> Decimal:
    """Sum units at their prices. Raises ``ConfigurationError`` where a channel has units and no price."""
    cost = Decimal(0)
    for channel, count in units.items():
        if count and channel not in prices:
            raise ConfigurationError(f"there are {channel.value} messages and no price of them")
        cost += count * prices.get(channel, Decimal(0))
    return cost


def _decimal(price: Decimal | float | str) -> Decimal:
    # By its shortest spelling: 0.07 is meant as 0.07, not as the nearest binary fraction.
    exact = Decimal(str(price))
    if not exact.is_finite() or exact < 0:
        raise ValueError
    return exact
