"""A rough initial margin, to size deposits by: close to the models' own, and used for nothing else.

Two forms, as the shipped models have them: per leg (`standard`) and a scan of an account's whole book (`portfolio`).
Both leave out what hardly moves a deposit: slopes, skew twists, basis contingencies, discounts, offsets by maximum
loss. What may not live here: anything an engine decides by. specs/replay-population.md has worked numbers.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from holdfast.pricing.black76 import values
from holdfast.stress.history import Floats
from holdfast.stress.market import MarketPath, Step
from holdfast.stress.venue import BTC, Venue

FUTURE_RATE = 0.05
SHORT_OPTION_MAXIMUM, SHORT_OPTION_MINIMUM = 0.20, 0.12
SCAN = tuple((1.0 + move, vol, 1.0) for move in (-0.2, -0.1, 0.0, 0.1, 0.2) for vol in (1, 0, -1))
TAILS = ((0.5, 1, 0.35), (1.5, 1, 0.35), (2.0, 1, 0.18))
"""Scenarios: multiple of prices, volatility up, none or down, weight of the result."""
VOLATILITY_UP, VOLATILITY_DOWN, VOLATILITY_POWER = 0.5, 0.3, 0.3
SCAN_FACTOR, FUTURE_CHARGE, OPTION_CHARGE = 1.2, 0.02, 0.006


class Legs(NamedTuple):
    """Positions: one row each.

    Attributes:
        account: [legs].
        instrument: [legs].
        units: [legs] signed; coins, or dollars for inverse perpetuals and futures.
    """

    account: NDArray[np.int64]
    instrument: NDArray[np.int64]
    units: Floats


def notional(venue: Venue, step: Step) -> Floats:
    """[instruments] US dollars at the index of one unit: the price of a coin, or a dollar for inverse futures."""
    return np.where(venue.inverse & ~venue.is_option, 1.0, step.index_price)


def standard_requirement(venue: Venue, step: Step, legs: Legs) -> Floats:
    """[legs] US dollars: 5 % of futures; of long options their value; of short ones 12 to 20 % by moneyness."""
    each, units = notional(venue, step), np.abs(legs.units)
    side = np.where(venue.is_call, 1.0, -1.0)
    out = np.maximum(side * (venue.strike - step.index_price), 0.0) / step.index_price
    short = np.maximum(SHORT_OPTION_MAXIMUM - out, SHORT_OPTION_MINIMUM) * step.index_price
    worth = step.price * np.where(venue.settlement == BTC, step.index_price, 1.0)
    option = np.where(legs.units < 0.0, short[legs.instrument], worth[legs.instrument])
    return units * np.where(venue.is_option[legs.instrument], option, FUTURE_RATE * each[legs.instrument])


def scan_requirement(path: MarketPath, step: Step, legs: Legs, accounts: int) -> Floats:
    """[accounts] US dollars: 1.2 × the worst loss of the scan, and 2 % of futures and 0.6 % of short options."""
    worst = np.zeros(accounts)
    today = scenario_values(path, step, 1.0, 0)
    for multiple, direction, weight in SCAN + TAILS:
        gain = (scenario_values(path, step, multiple, direction) - today)[legs.instrument] * legs.units
        worst = np.maximum(worst, -weight * np.bincount(legs.account, gain, accounts))
    is_option = path.venue.is_option[legs.instrument]
    size = notional(path.venue, step)[legs.instrument]
    rate = np.where(is_option, OPTION_CHARGE * (legs.units < 0.0), FUTURE_CHARGE)
    charge = np.bincount(legs.account, rate * np.abs(legs.units) * size, accounts)
    return SCAN_FACTOR * worst + charge


def scenario_values(path: MarketPath, step: Step, multiple: float, direction: int) -> Floats:
    """[instruments] US dollars that one unit is worth after a move of all prices and volatilities.

    An inverse future of one dollar at F is the dollars that one coin's move makes on it: 1 − 1/multiple coins, which
    are worth multiple − 1 dollars then. Option volatilities rise by 50 % or fall by 30 %, times (30 / days)^0.3.
    """
    venue = path.venue
    linear = np.where(venue.inverse, multiple, multiple * step.forward)
    options = np.flatnonzero(venue.is_option)
    years = venue.years(step.time_ns)[options]
    size = (30.0 / np.maximum(years * 365.0, 1.0)) ** VOLATILITY_POWER
    shock = {1: 1.0 + VOLATILITY_UP * size, 0: np.ones(options.size), -1: np.maximum(1.0 - VOLATILITY_DOWN * size, 0.0)}
    terms = (step.forward[options] * multiple, venue.strike[options], years)
    linear[options] = values(*terms, step.quoted[options] * shock[direction], 1.0, venue.is_call[options])
    return linear
