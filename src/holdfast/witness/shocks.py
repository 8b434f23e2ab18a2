"""Scenarios: what each model does to prices and volatilities.

What lives here: price multipliers, shocked volatilities, multipliers of groups (specs/portfolio-model.md,
specs/tail-model.md). What may not: values and accounts.
"""

import math

import numpy as np

from holdfast.witness.black import Floats
from holdfast.witness.lines import ImpossibleTableError, Line
from holdfast.witness.rules import Parameters, Portfolio, SkewRange, StaticDiscounts, Tail

DAYS = 365
SECONDS = 365 * 86_400


class Plan:
    """No scenario at all, as the standard model has it."""

    count = 0

    def prices(self, underlying: str) -> Floats:  # noqa: ARG002
        """Price multipliers of an underlying, its coin and what follows it; [count]."""
        return np.zeros(0)

    def option_prices(self, underlying: str) -> Floats:
        """Price multipliers that its options see."""
        return self.prices(underlying)

    def volatilities(self, underlying: str, line: Line) -> Floats:  # noqa: ARG002
        """Shocked volatilities of an option."""
        return np.zeros(0)

    def fixed(self, line: Line) -> float:  # noqa: ARG002
        """The part of the forward that nothing moves any more."""
        return 0.0


class ScanPlan(Plan):
    """The scan of the portfolio model."""

    def __init__(self, parameters: Portfolio) -> None:
        self.parameters = parameters
        self.count = len(parameters.scenarios)

    def prices(self, underlying: str) -> Floats:  # noqa: ARG002
        """PM-1."""
        return np.array([scenario.price for scenario in self.parameters.scenarios])

    def option_prices(self, underlying: str) -> Floats:  # noqa: ARG002
        """PM-4: twists move no price of an option."""
        return np.array([1.0 if scenario.is_skew else scenario.price for scenario in self.parameters.scenarios])

    def volatilities(self, underlying: str, line: Line) -> Floats:  # noqa: ARG002
        """PM-3 and PM-4."""
        return np.array(
            [_volatility(self.parameters, scenario.volatility, line) for scenario in self.parameters.scenarios]
        )

    def fixed(self, line: Line) -> float:
        """PM-2."""
        return fixed_part(self.parameters, line.years)


class TailPlan(Plan):
    """The joint moves of the tail model."""

    def __init__(self, parameters: Tail) -> None:
        self.parameters = parameters
        self.count = max((len(moves) for moves in parameters.moves.values()), default=0)

    def prices(self, underlying: str) -> Floats:
        """TAIL-1, not below 0 (TAIL-7)."""
        return 1.0 + self._moves(underlying)

    def volatilities(self, underlying: str, line: Line) -> Floats:
        """TAIL-1."""
        return line.volatility * (1.0 + self.parameters.volatility_response * np.abs(self._moves(underlying)))

    def _moves(self, underlying: str) -> Floats:
        if underlying not in self.parameters.moves:
            raise ImpossibleTableError(f"the model has no moves of {underlying}")
        found: Floats = np.maximum(np.array(self.parameters.moves[underlying]), -1.0)
        return found


def plan(parameters: Parameters) -> Plan:
    """The scenarios of a model."""
    if isinstance(parameters, Portfolio):
        return ScanPlan(parameters)
    return TailPlan(parameters) if isinstance(parameters, Tail) else Plan()


def fixed_part(parameters: Portfolio, years: float) -> float:
    """φ of PM-2: the part of the forward that the settlement average has fixed; 0 without a window."""
    window = parameters.settlement_window_seconds
    return max(0.0, 1.0 - years * SECONDS / window) if window > 0 else 0.0


def multipliers(parameters: Parameters, years: float, *, is_option: bool, count: int) -> tuple[Floats, Floats]:
    """(M₊, P₊) and (M₋, P₋) of a group, each [2, scenarios] (PM-1, PM-7)."""
    above, below = np.ones((2, count)), np.ones((2, count))
    if not isinstance(parameters, Portfolio):
        return above, below
    weights = np.array([scenario.weight for scenario in parameters.scenarios])
    is_skew = np.array([scenario.is_skew for scenario in parameters.scenarios])
    above[1], below[1] = weights, weights
    if is_option:
        above[1] = np.where(is_skew, -weights, weights)
        if parameters.discounts:
            above[0], below[0] = _static(parameters.discounts, years)
    return above, below


def _static(discounts: StaticDiscounts, years: float) -> tuple[float, float]:
    """PM-7 at the rate 0 of the frozen market, so that D = 1."""
    long = discounts.long * math.exp(-years * discounts.long_rate_add)
    short = discounts.short / math.exp(-years * discounts.short_rate_add)
    return long, min(1.0, short)


def _volatility(parameters: Portfolio, shock: str, line: Line) -> float:
    if shock in ("up", "down"):
        return _ranged(parameters, shock, line)
    if shock == "none" or parameters.skew is None:
        return line.volatility
    return line.volatility * max(0.0, twist(parameters.skew, shock, line.years, line.strike / line.price))


def _ranged(parameters: Portfolio, shock: str, line: Line) -> float:
    """PM-3."""
    span = parameters.volatility
    days = line.years * DAYS
    floored = max(days, span.days_floor)
    power = span.short_power if days <= 30 else span.long_power
    size = (30.0 / floored) ** power if floored > 0 else 0.0
    if shock == "up":
        return max(span.minimum_up, line.volatility * (1.0 + span.up * size))
    return line.volatility * max(0.0, 1.0 - span.down * size)


def twist(skew: SkewRange, shock: str, years: float, moneyness: float) -> float:
    """The multiplier of PM-4; `moneyness` is K ÷ F."""
    root = math.sqrt(years)
    log = math.log(moneyness)
    if shock == "skew-linear":
        cap, place = skew.linear_cap + skew.linear_cap_per_root_year * root, log
    else:
        cap, place = skew.absolute_cap + skew.absolute_cap_per_root_year * root, abs(log)
    width = max(skew.minimum_width, root * skew.width_scale * (skew.width_static + skew.width_per_root_year * root))
    ratio = place * cap / width if width else math.copysign(math.inf, place * cap) if place * cap else 0.0
    return 1.0 + (min(ratio, cap) if place >= 0 else max(ratio, -cap))
