"""The expiries of a table's options, and what the scenarios do to each (PM-2 to PM-7, TAIL-1).

One row per option group, in table order. What lives here: forwards, discounts, volatility multipliers and the
multipliers of value and result per group. Values themselves are in `values`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from holdfast.domain.errors import InputError
from holdfast.domain.market import Expiry
from holdfast.domain.parameters import AnyParameters, PortfolioParameters, Scenario, TailParameters
from holdfast.margin.option_values import Expiries, Shocks
from holdfast.margin.plan import Plan
from holdfast.margin.scenarios import (
    Columns,
    option_value_multipliers,
    portfolio_columns,
    result_multipliers,
    skew_caps,
    tail_columns,
    volatility_multiplier,
)
from holdfast.margin.table import Floats, Group, Multiplier
from holdfast.pricing.elementary import exp

DAYS_PER_YEAR = 365.0
SECONDS_PER_YEAR = 365.0 * 86_400.0
LEAST_PRICE = 1e-12
"""Stands in for a price multiplier of 0, where a put settled in coin would be worth 0/0 coins of value 0."""


@dataclass(frozen=True)
class Term:
    """The expiry of one option group, read from the market once.

    Attributes:
        group: Index of the group.
        underlying: Index of its underlying.
        expiry: What the market says.
        years: Time to it.
        discount: Discount factor of the model (PM-6).
        settled: The part of the forward that no scenario moves any more (PM-2).
    """

    group: int
    underlying: int
    expiry: Expiry
    years: float
    discount: float
    settled: float


def terms_of(plan: Plan) -> tuple[Term, ...]:
    """The expiries of the plan's option groups, in group order."""
    return tuple(_term(plan, n, group) for n, group in enumerate(plan.groups) if group.options)


def _term(plan: Plan, n: int, group: Group) -> Term:
    example = plan.instruments[plan.group_of_line.index(n)]
    if example is None:
        raise InputError("malformed", "groups", group, "an option group holds options only")
    expiry, years = plan.market.expiry_of(example), plan.market.years_to_expiry(example)
    return Term(
        n,
        plan.underlyings.index(group.underlying),
        expiry,
        years,
        discount_of(plan.parameters, expiry.rate, years),
        settled_fraction(plan.parameters, expiry, years),
    )


def discount_of(parameters: AnyParameters, rate: float, years: float) -> float:
    """PM-6."""
    discounting = isinstance(parameters, PortfolioParameters) and parameters.discounting
    return float(exp(-max(rate, 0.0) * years)) if discounting else 1.0


def settled_fraction(parameters: AnyParameters, expiry: Expiry, years: float) -> float:
    """The part of a forward that no scenario moves any more (PM-2)."""
    window = parameters.settlement_window_seconds if isinstance(parameters, PortfolioParameters) else 0.0
    by_time = max(0.0, 1.0 - years * SECONDS_PER_YEAR / window) if window > 0.0 else 0.0
    return max(expiry.settled_fraction, by_time)


def columns_of(parameters: AnyParameters, underlyings: Sequence[str]) -> Columns:
    """The scenarios of a model's scan; none in the standard model."""
    names = tuple(underlyings)
    if isinstance(parameters, PortfolioParameters):
        return portfolio_columns(parameters, parameters.scenarios, names)
    if isinstance(parameters, TailParameters):
        missing = [u for u in names if u not in parameters.moves]
        if missing:
            raise InputError("missing-field", f"moves[{missing[0]}]", None, "add historical moves of this underlying")
        return tail_columns(parameters, names)
    none = np.zeros(0)
    return Columns((), (), np.zeros((len(names), 0)), Shocks(none, none, none))


def basis_columns_of(parameters: AnyParameters, underlyings: Sequence[str]) -> Columns | None:
    """The named scenarios of the second reduction, if the model has one (PM-8)."""
    if not isinstance(parameters, PortfolioParameters) or parameters.basis is None:
        return None
    scenarios = (Scenario(parameters.basis.price_up), Scenario(parameters.basis.price_down))
    return portfolio_columns(parameters, scenarios, tuple(underlyings))


def expiry_rows(plan: Plan, terms: Sequence[Term], columns: Columns) -> Expiries:
    """What the scenarios do to each expiry, one row per term."""
    moves = np.array([columns.moves[t.underlying] for t in terms]).reshape(len(terms), columns.width)
    prices = np.maximum(_option_moves(columns, moves), LEAST_PRICE)
    settled = np.array([t.settled for t in terms])[:, None]
    forward = np.array([t.expiry.forward for t in terms])
    forwards = forward[:, None] * (settled + (1.0 - settled) * prices)
    multipliers = np.zeros_like(prices)
    skew = np.zeros((len(terms), 3))
    for row, term in enumerate(terms):
        days = term.years * DAYS_PER_YEAR
        multipliers[row] = _volatility_multipliers(plan.parameters, columns, prices[row], days)
        if isinstance(plan.parameters, PortfolioParameters):
            skew[row] = skew_caps(plan.parameters.skew, term.years)
    years, discount = np.array([t.years for t in terms]), np.array([t.discount for t in terms])
    return Expiries(forward, years, discount, forwards, prices, multipliers, skew)


def _option_moves(columns: Columns, prices: Floats) -> Floats:
    """Skew scenarios move no price of options: neither the forward nor the coin that they settle in (PM-4)."""
    return np.where(columns.shocks.linear + columns.shocks.absolute > 0.0, 1.0, prices)


def _volatility_multipliers(parameters: AnyParameters, columns: Columns, prices: Floats, days: float) -> Floats:
    if isinstance(parameters, TailParameters):
        return 1.0 + parameters.volatility_response * np.abs(prices - 1.0)
    if not isinstance(parameters, PortfolioParameters):
        return np.ones(columns.width)
    by_shock = {
        shock: volatility_multiplier(parameters.volatility, shock, days)
        for shock in {s.volatility for s in columns.scenarios}
    }
    row = [by_shock[s.volatility] for s in columns.scenarios]
    return np.array(row + row[-1:] * (columns.width - len(row)))


def group_multipliers(plan: Plan, terms: Sequence[Term], columns: Columns) -> Floats:
    """[G, 4, S] M₊, M₋, P₊, P₋ of every group (TAB-4)."""
    result = np.ones((len(plan.groups), len(Multiplier), columns.width))
    if not isinstance(plan.parameters, PortfolioParameters):
        return result
    of_options = {
        options: result_multipliers(columns.scenarios, options=options, width=columns.width)
        for options in (True, False)
    }
    for n, group in enumerate(plan.groups):
        result[n, Multiplier.RESULT_POSITIVE :] = of_options[group.options]
    for term in terms:
        positive, negative = option_value_multipliers(
            plan.parameters.discounts, term.expiry.rate, term.years, term.discount
        )
        result[term.group, Multiplier.VALUE_POSITIVE] = positive
        result[term.group, Multiplier.VALUE_NEGATIVE] = negative
    return result
