"""The contracts of a made-up venue: two perpetuals, three futures, and options on the futures' expiries.

What lives here: which contracts a window gets, by a rule in its start, end and first price, and their terms as arrays.
What may not: prices. The rule, with a worked venue: specs/replay-population.md.
"""

import datetime
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
from numpy.typing import NDArray

from holdfast.domain.errors import InputError
from holdfast.domain.instruments import Instrument, Kind, date_of, expiry_on, lot
from holdfast.domain.names import parse_instrument
from holdfast.domain.units import NANOSECONDS_PER_DAY, NANOSECONDS_PER_YEAR
from holdfast.stress.history import Floats, Instants

ASSETS = ("BTC", "USDC")
"""What accounts deposit and contracts settle in, in the order of every array over assets."""
BTC, USDC = range(len(ASSETS))
FRIDAY = 4
WEEKLY_STRIKES = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.15, 1.2, 1.25)
MONTHLY_STRIKES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.35, 1.5, 1.75)
QUARTERLY_STRIKES = (0.4, 0.55, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 1.75, 2.0, 2.5)
LINEAR_STRIKES = (0.7, 0.85, 1.0, 1.2)
"""Strikes as multiples of the first price; linear options have the monthly expiry."""
_STRIKE_STEPS_MIN = 40
"""The grid of strikes divides the first price into at least so many steps."""


@dataclass(frozen=True, eq=False)
class Venue:
    """Contracts and their terms.

    Attributes:
        instruments: [instruments] canonical names, as `parse_instrument` reads them.
        expiries: Weekly, monthly and quarterly expiry, nanoseconds UTC.
        settlement: [instruments] index into `ASSETS`.
        is_option: [instruments], as are all below.
        is_call: False for what is no option.
        inverse: Whether it settles in the coin.
        expiry_ns: Nanoseconds UTC; the greatest int64 for perpetuals.
        strike: US dollars; 0 for what is no option.
        lot: Units of one lot: coins, or dollars for inverse perpetuals and futures.
        future: The instrument whose price is the forward: the future of the expiry, or itself.
    """

    instruments: tuple[str, ...]
    expiries: tuple[int, int, int]
    settlement: NDArray[np.int64] = field(init=False)
    is_option: NDArray[np.bool_] = field(init=False)
    is_call: NDArray[np.bool_] = field(init=False)
    inverse: NDArray[np.bool_] = field(init=False)
    expiry_ns: Instants = field(init=False)
    strike: Floats = field(init=False)
    lot: Floats = field(init=False)
    future: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        terms = [parse_instrument(name) for name in self.instruments]
        futures = {t.expiry: place for place, t in enumerate(terms) if t.kind is Kind.FUTURE}
        forward = [futures[t.expiry] if t.kind is Kind.OPTION else place for place, t in enumerate(terms)]
        put = object.__setattr__
        put(self, "settlement", np.array([ASSETS.index(t.settlement) for t in terms]))
        put(self, "is_option", np.array([t.kind is Kind.OPTION for t in terms]))
        put(self, "is_call", np.array([bool(t.is_call) for t in terms]))
        put(self, "inverse", np.array([t.inverse for t in terms]))
        put(self, "expiry_ns", np.array([_end_of(t) for t in terms], np.int64))
        put(self, "strike", np.array([t.strike or 0.0 for t in terms]))
        put(self, "lot", np.array([float(lot(t)) for t in terms]))
        put(self, "future", np.array(forward))

    @property
    def items(self) -> tuple[str, ...]:
        """What price sources quote: the assets, then the instruments."""
        return (*ASSETS, *self.instruments)

    def index_of(self, name: str) -> int:
        """The place of an instrument."""
        return self.instruments.index(name)

    def is_alive(self, time_ns: int) -> NDArray[np.bool_]:
        """[instruments] whether an instrument has not expired at an instant; at its expiry it has."""
        alive: NDArray[np.bool_] = self.expiry_ns > time_ns
        return alive

    def years(self, time_ns: int) -> Floats:
        """[instruments] years of 365 days to expiry, at least 0; 0 for perpetuals."""
        left = np.maximum(self.expiry_ns - time_ns, 0) / NANOSECONDS_PER_YEAR
        return np.where(self.expiry_ns == np.iinfo(np.int64).max, 0.0, left)


def venue_for(start_ns: int, end_ns: int, price: float) -> Venue:
    """The venue of a window.

    Args:
        start_ns: Start of the window, nanoseconds UTC.
        end_ns: Its end.
        price: First price, US dollars per coin.

    Returns:
        BTC-PERPETUAL, BTC_USDC-PERPETUAL, an inverse future per expiry, 12 strikes of inverse calls and puts per
        expiry, and 4 strikes of linear ones for the monthly expiry: 85 contracts.

    Raises:
        InputError: The window has no length, or the price is so low or high that strikes have no names.
    """
    if end_ns <= start_ns:
        raise InputError("out-of-range", "end_ns", end_ns, "give an end after the start")
    expiries = expiries_for(start_ns, end_ns)
    ladders = zip(expiries, (WEEKLY_STRIKES, MONTHLY_STRIKES, QUARTERLY_STRIKES), strict=True)
    options = [_option("BTC", expiry, k, call) for expiry, ks in ladders for k in strikes(price, ks) for call in (1, 0)]
    options += [_option("USDC", expiries[1], k, call) for k in strikes(price, LINEAR_STRIKES) for call in (1, 0)]
    futures = [Instrument(Kind.FUTURE, "BTC", "USD", "BTC", expiry) for expiry in expiries]
    names = ["BTC-PERPETUAL", "BTC_USDC-PERPETUAL", *(contract.name for contract in (*futures, *options))]
    return Venue(tuple(names), expiries)


def expiries_for(start_ns: int, end_ns: int) -> tuple[int, int, int]:
    """The expiries of a window, at 08:00 UTC of Fridays: only the first can lie inside it.

    Weekly: the first Friday at least 3 days after the start. Monthly: the first last Friday of a month at least 3 days
    after the end and the weekly expiry. Quarterly: the first last Friday of March, June, September or December at
    least 20 days after the monthly one.
    """
    weekly = _friday(start_ns + 3 * NANOSECONDS_PER_DAY, range(1, 13), is_last=False)
    monthly = _friday(max(end_ns, weekly) + 3 * NANOSECONDS_PER_DAY, range(1, 13), is_last=True)
    quarterly = _friday(monthly + 20 * NANOSECONDS_PER_DAY, (3, 6, 9, 12), is_last=True)
    return weekly, monthly, quarterly


def strikes(price: float, multiples: tuple[float, ...]) -> tuple[float, ...]:
    """The multiples of a price, rounded to a grid of 1, 2 or 5 times a power of ten of at most a fortieth of it."""
    grid = _grid(Decimal(repr(price)) / _STRIKE_STEPS_MIN)
    exact = (Decimal(repr(price)) * Decimal(repr(multiple)) for multiple in multiples)
    return tuple(float((k / grid).quantize(Decimal(1), ROUND_HALF_EVEN) * grid) for k in exact)


def _grid(limit: Decimal) -> Decimal:
    tens = Decimal(1).scaleb(limit.adjusted())
    return max(digit * tens for digit in (Decimal(1), Decimal(2), Decimal(5)) if digit * tens <= limit)


def _friday(from_ns: int, months: tuple[int, ...] | range, *, is_last: bool) -> int:
    """The first 08:00 UTC of a Friday in one of the months, or of the last one of such a month."""
    date = date_of(from_ns)
    while True:
        fits = date.weekday() == FRIDAY and date.month in months
        is_late = (date + datetime.timedelta(days=7)).month != date.month
        if fits and (is_late or not is_last) and expiry_on(date) >= from_ns:
            return expiry_on(date)
        date += datetime.timedelta(days=1)


def _option(settlement: str, expiry: int, strike: float, is_call: int) -> Instrument:
    quote = "USD" if settlement == "BTC" else settlement
    return Instrument(Kind.OPTION, "BTC", quote, settlement, expiry, strike, bool(is_call))


def _end_of(contract: Instrument) -> int:
    return np.iinfo(np.int64).max if contract.expiry is None else contract.expiry
