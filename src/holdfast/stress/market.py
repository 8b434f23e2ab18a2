"""The market of a window, step by step: index, prices of perpetuals and futures, volatilities and prices of options.

What lives here: the walk, the volatility rule and the basis rule put together for the contracts of a venue. What may
not: how sources misquote it (`sources`). specs/replay-prices.md.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from holdfast.domain.errors import invariant
from holdfast.pricing.black76 import values
from holdfast.stress.history import Floats, PriceHistory
from holdfast.stress.venue import ASSETS, Venue
from holdfast.stress.volatility import BasisRule, VolatilityRule, recent_returns, variance_path
from holdfast.stress.walk import Walk, walk


class Step(NamedTuple):
    """The market at one step. Numbers of contracts that have expired are NaN.

    Attributes:
        number: The step, from 0.
        time_ns: Nanoseconds UTC.
        bar: The bar it belongs to.
        index_price: US dollars per coin.
        variance: Annual variance now.
        quoted: [instruments] what sources quote: US dollars for perpetuals and futures, annual volatility as a
            fraction for options.
        price: [instruments] what trades are made at: US dollars for perpetuals and futures, the settlement asset for
            options (coins per coin for inverse ones).
        forward: [instruments] US dollars: the future's price of an option's expiry, else the own price.
    """

    number: int
    time_ns: int
    bar: int
    index_price: float
    variance: float
    quoted: Floats
    price: Floats
    forward: Floats

    @property
    def feeds(self) -> Floats:
        """[assets + instruments] what sources quote of `Venue.items`: the index, a dollar for USDC, and `quoted`."""
        return np.concatenate([[self.index_price, 1.0], self.quoted])

    @property
    def volatility(self) -> float:
        """Annual volatility now, as a fraction: √variance."""
        return float(np.sqrt(self.variance))


@dataclass(frozen=True, eq=False)
class MarketPath:
    """All steps of a window; `market_path` makes it.

    Attributes:
        history: The bars.
        venue: The contracts.
        walk: Times and index prices.
        variance: [steps] annual variance.
        recent: [steps] logarithmic return over the basis rule's look-back.
        volatility_rule: How volatilities follow.
        basis_rule: How bases follow.
    """

    history: PriceHistory
    venue: Venue
    walk: Walk
    variance: Floats
    recent: Floats
    volatility_rule: VolatilityRule
    basis_rule: BasisRule

    @property
    def steps(self) -> int:
        """How many steps there are."""
        return self.walk.time_ns.size

    def at(self, number: int) -> Step:
        """The market at a step, from 0."""
        invariant(0 <= number < self.steps, f"step {number} of {self.steps}")
        time_ns, index = int(self.walk.time_ns[number]), float(self.walk.price[number])
        variance, venue = float(self.variance[number]), self.venue
        alive, years = venue.is_alive(time_ns), venue.years(time_ns)
        own = self._futures(index, float(self.recent[number]), years)
        forward = np.where(alive, own[venue.future], np.nan)
        quoted, price = forward.copy(), forward.copy()
        options = np.flatnonzero(venue.is_option & alive)
        strike, term = venue.strike[options], years[options]
        quoted[options] = self.volatility_rule.implied(variance, term, strike, forward[options])
        dollars = values(forward[options], strike, term, quoted[options], 1.0, venue.is_call[options])
        price[options] = np.where(venue.inverse[options], dollars / index, dollars)
        bar = int(self.walk.bar[number])
        return Step(number, time_ns, bar, index, variance, quoted, price, forward)

    def _futures(self, index: float, recent: float, years: Floats) -> Floats:
        """[instruments] prices of perpetuals and futures; those of options are not used."""
        perpetual = self.basis_rule.perpetual(index, recent)
        dated = {left: self.basis_rule.future(index, recent, left) for left in set(years.tolist())}
        is_perpetual = self.venue.expiry_ns == np.iinfo(np.int64).max
        return np.where(is_perpetual, perpetual, np.array([dated[left] for left in years.tolist()]))


def market_path(
    history: PriceHistory,
    venue: Venue,
    volatility_rule: VolatilityRule | None = None,
    basis_rule: BasisRule | None = None,
) -> MarketPath:
    """The market of a history and a venue, by the stated rules or others."""
    volatility_rule, basis_rule = volatility_rule or VolatilityRule(), basis_rule or BasisRule()
    steps = walk(history)
    variance = variance_path(history, steps, volatility_rule)
    recent = recent_returns(history, steps, basis_rule.lookback_hours)
    invariant(len(ASSETS) == 2, "feeds of assets are the index and a dollar")
    return MarketPath(history, venue, steps, variance, recent, volatility_rule, basis_rule)
