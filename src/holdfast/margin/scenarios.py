"""The columns of a risk table: what each scenario does to prices, forwards and volatilities.

Formulas: specs/portfolio-model.md (PM-1 to PM-8) and specs/tail-model.md (TAIL-1). Columns are padded to whole vector
registers by repeating the last scenario.
"""

from dataclasses import dataclass

import numpy as np

from holdfast.domain.parameters import (
    PortfolioParameters,
    Scenario,
    SkewRange,
    StaticDiscounts,
    TailParameters,
    VolatilityRange,
    VolatilityShock,
)
from holdfast.margin.option_values import Shocks
from holdfast.margin.table import Floats
from holdfast.pricing.elementary import exp, power
from holdfast.pricing.vectors import LANES_NARROW

REFERENCE_DAYS = 30.0
"""Days to expiry at which a volatility range is quoted."""
LARGEST_EXPONENT = 700.0
"""Arguments of exp stay below this, so that it cannot overflow."""


@dataclass(frozen=True)
class Columns:
    """The scenarios of one reduction, S of them with padding.

    Attributes:
        labels: One per scenario before padding.
        scenarios: What they are; empty for historical ones.
        moves: [U, S] price multiplier per underlying, in table order of underlyings.
        shocks: What they do alike to every expiry.
    """

    labels: tuple[str, ...]
    scenarios: tuple[Scenario, ...]
    moves: Floats
    shocks: Shocks

    @property
    def width(self) -> int:
        """Columns with padding."""
        return int(self.moves.shape[1])


def padded(values: Floats, width: int) -> Floats:
    """`values` widened along the last axis to `width` by repeating its last element."""
    return np.ascontiguousarray(values[..., np.minimum(np.arange(width), values.shape[-1] - 1)])


def register_multiple(count: int) -> int:
    """`count` rounded up to whole registers."""
    return -(-count // LANES_NARROW) * LANES_NARROW


def portfolio_columns(
    parameters: PortfolioParameters, scenarios: tuple[Scenario, ...], underlyings: tuple[str, ...]
) -> Columns:
    """Columns of a scan: every underlying moves alike."""
    width = register_multiple(len(scenarios))
    prices = padded(np.array([s.price for s in scenarios]), width)
    is_up = np.array([s.volatility is VolatilityShock.UP for s in scenarios])
    shocks = Shocks(
        minimum_volatility=padded(np.where(is_up, parameters.volatility.minimum_up, 0.0), width),
        linear=padded(np.array([float(s.volatility is VolatilityShock.SKEW_LINEAR) for s in scenarios]), width),
        absolute=padded(np.array([float(s.volatility is VolatilityShock.SKEW_ABSOLUTE) for s in scenarios]), width),
    )
    return Columns(tuple(s.label for s in scenarios), scenarios, np.tile(prices, (len(underlyings), 1)), shocks)


def tail_columns(parameters: TailParameters, underlyings: tuple[str, ...]) -> Columns:
    """Columns of joint historical moves, one row of moves per underlying (TAIL-1)."""
    count = parameters.scenario_count
    width = register_multiple(count)
    moves = np.array([parameters.moves[u] for u in underlyings], np.float64).reshape(len(underlyings), count)
    zeros = np.zeros(width)
    return Columns(
        parameters.labels or tuple(f"history {s + 1}" for s in range(count)),
        (),
        1.0 + padded(moves, width),
        Shocks(zeros, zeros, zeros),
    )


def volatility_multiplier(volatility: VolatilityRange, shock: VolatilityShock, days: float) -> float:
    """Multiplier of implied volatility at `days` to expiry (PM-3); 0 for skews, which are added by strike."""
    if shock.is_skew:
        return 0.0
    if shock is VolatilityShock.NONE:
        return 1.0
    horizon = max(days, volatility.days_floor)
    exponent = volatility.short_power if days <= REFERENCE_DAYS else volatility.long_power
    scale = float(power(REFERENCE_DAYS / horizon, exponent)) if horizon > 0.0 else 0.0
    if shock is VolatilityShock.UP:
        return 1.0 + volatility.up * scale
    return max(0.0, 1.0 - volatility.down * scale)


def skew_caps(skew: SkewRange | None, years: float) -> tuple[float, float, float]:
    """Linear cap, absolute cap and width of the twist at a time to expiry (PM-4)."""
    if skew is None:
        return 0.0, 0.0, 0.0
    root = float(np.sqrt(years))
    width = root * skew.width_scale * (skew.width_static + skew.width_per_root_year * root)
    return (
        skew.linear_cap + skew.linear_cap_per_root_year * root,
        skew.absolute_cap + skew.absolute_cap_per_root_year * root,
        max(skew.minimum_width, width),
    )


def option_value_multipliers(
    discounts: StaticDiscounts | None, rate: float, years: float, discount: float
) -> tuple[float, float]:
    """M₊ and M₋ of an expiry's options (PM-7)."""
    if discounts is None:
        return 1.0, 1.0
    floored = max(rate, 0.0)
    long = _bounded(-years * (floored * discounts.long_rate_factor + discounts.long_rate_add))
    short = _bounded(-years * (floored * discounts.short_rate_factor + discounts.short_rate_add))
    return discounts.long * float(exp(long)), min(1.0 / discount, discounts.short / float(exp(short)))


def _bounded(exponent: float) -> float:
    return min(LARGEST_EXPONENT, max(-LARGEST_EXPONENT, exponent))


def result_multipliers(scenarios: tuple[Scenario, ...], *, options: bool, width: int) -> Floats:
    """[2, S] P₊ and P₋ of a group (PM-1); 1 for historical scenarios."""
    if not scenarios:
        return np.ones((2, width))
    weights = np.array([s.weight for s in scenarios])
    gains = np.where([options and s.volatility.is_skew for s in scenarios], -weights, weights)
    return padded(np.stack([gains, weights]), width)
