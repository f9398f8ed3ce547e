"""Money as the program counts it: whole billionths of a dollar, exactly."""

from decimal import Decimal

# USD per million tokens of the provider `mock` (gateway.settings)
PRICE = {"input": Decimal("1.5"), "cached": Decimal("0.25"), "output": Decimal("7.5")}


def nusd(cost) -> int:
    """A JSON amount in USD as nano-USD; fails when it is no whole number of them."""
    value = Decimal(str(cost)) * 10**9
    assert value == value.to_integral_value(), f"{cost} is finer than a nano-USD"
    return int(value)


def price_of(n_in: int, n_out: int, cached: int = 0) -> int:
    """What a call costs at the mock's price, in nano-USD, rounded up once."""
    usd = (n_in - cached) * PRICE["input"] + cached * PRICE["cached"] + n_out * PRICE["output"]
    return int((usd * 1000).to_integral_value(rounding="ROUND_CEILING"))


def sum_of_calls(usage: dict) -> int:
    """Cost of all members and judges of a fused reply's usage."""
    calls = usage["fusion"]["members"] + usage["fusion"]["judge"]
    return sum(nusd(c["cost"]) for c in calls)
