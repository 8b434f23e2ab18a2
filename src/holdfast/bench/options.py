"""A made-up market of options on one coin, for the benchmarks of tables and single accounts."""

import datetime
from typing import NamedTuple

import numpy as np

from holdfast.domain.instruments import Instrument, Kind, expiry_on
from holdfast.domain.market import Expiry, Market, Price, Underlying
from holdfast.domain.portfolio import Portfolio, Position
from holdfast.domain.units import NANOSECONDS_PER_YEAR
from holdfast.margin.option_values import Expiries, Options, Shocks
from holdfast.margin.table import Floats
from holdfast.pricing.elementary import exp, power

COIN, CASH = "BTC", "USDC"
INDEX = 50_000.0
TODAY = datetime.date(2026, 1, 1)
DAYS = (7, 14, 28, 56, 91, 182, 273, 364)
STRIKE_STEP = 500.0
PERPETUAL = Instrument(Kind.PERPETUAL, COIN, CASH, CASH)


class Contracts(NamedTuple):
    """The options of the market as columns.

    Attributes:
        expiry: [n] index into `DAYS`.
        strike: [n] dollars.
        is_call: [n].
        volatility: [n] annual fraction.
    """

    expiry: np.ndarray
    strike: np.ndarray
    is_call: np.ndarray
    volatility: np.ndarray


def contracts(count: int) -> Contracts:
    """`count` different options over eight expiries, strikes around the index, calls and puts in turn."""
    n = np.arange(count)
    expiry = n % len(DAYS)
    place = n // (2 * len(DAYS))
    is_call = n // len(DAYS) % 2 == 0
    width = place.max(initial=0) + 1
    strike = INDEX + STRIKE_STEP * (place - width // 2)
    strike = np.where(strike > 0.0, strike, INDEX + STRIKE_STEP * (width + place))
    smile = 0.5 + 0.4 * (strike / INDEX - 1.0) ** 2 + 0.05 * expiry / len(DAYS)
    return Contracts(expiry, strike, is_call, smile)


def expiries() -> tuple[int, ...]:
    """The instants of the expiries, nanoseconds UTC."""
    return tuple(expiry_on(TODAY + datetime.timedelta(days=days)) for days in DAYS)


def forwards() -> Floats:
    """The forward of each expiry."""
    return INDEX * (1.0 + 0.04 * np.array(DAYS) / 365.0)


def instruments(held: Contracts) -> list[Instrument]:
    """The contracts as instruments."""
    at = expiries()
    return [
        Instrument(Kind.OPTION, COIN, CASH, CASH, at[e], float(strike), bool(is_call))
        for e, strike, is_call in zip(held.expiry, held.strike, held.is_call, strict=True)
    ]


def market(held: Contracts) -> Market:
    """Index, perpetual, forwards and a volatility for each option."""
    return Market(
        time=expiry_on(TODAY),
        underlyings={
            COIN: Underlying(
                index=Price(INDEX),
                marks={PERPETUAL.name: Price(INDEX)},
                expiries={at: Expiry(forward=float(f)) for at, f in zip(expiries(), forwards(), strict=True)},
                volatilities={i.name: float(v) for i, v in zip(instruments(held), held.volatility, strict=True)},
            )
        },
        assets={CASH: Price(1.0)},
        numeraire=CASH,
    )


def portfolio(held: Contracts) -> Portfolio:
    """Cash, the perpetual, and one option long or short of each contract."""
    options = instruments(held)
    positions = [Position(PERPETUAL, 0.5, 0.5 * INDEX)]
    positions += [Position(option, 1.0 if n % 3 else -1.0, 0.0) for n, option in enumerate(options)]
    return Portfolio({CASH: 100_000.0}, tuple(positions))


def columns(held: Contracts) -> Options:
    """The contracts as a table's inner part takes them."""
    count = len(held.strike)
    return Options(
        line=np.arange(count, dtype=np.int32),
        expiry=held.expiry.astype(np.int32),
        strike=held.strike,
        sign=np.where(held.is_call, 1.0, -1.0),
        volatility=held.volatility,
        par=np.ones(count),
        inverse=np.zeros(count),
    )


def scenarios(count: int) -> tuple[Expiries, Shocks]:
    """`count` scenarios: price moves of ±18 % in nine steps, volatility up, same and down in turn."""
    at = forwards()
    years = np.array([(e - expiry_on(TODAY)) / NANOSECONDS_PER_YEAR for e in expiries()])
    n = np.arange(count)
    prices = np.tile(1.0 + 0.045 * (n % 9 - 4), (len(at), 1))
    change = np.array([0.5, 0.0, -0.3])[n % 3]
    multipliers = 1.0 + change * power(30.0 / np.array(DAYS), 0.3)[:, None]
    zeros = np.zeros(count)
    rows = Expiries(at, years, exp(-0.03 * years), at[:, None] * prices, prices, multipliers, np.zeros((len(at), 3)))
    return rows, Shocks(np.where(change > 0.0, 0.4, 0.0), zeros, zeros)
