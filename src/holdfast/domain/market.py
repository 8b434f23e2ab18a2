"""The market at one instant: index prices, marks, forwards, rates, volatilities, and how sure each of them is.

A market is a value. It answers what things are worth, and refuses, naming what is missing, rather than guess. What may
not live here: option formulas and the evaluation of volatility surfaces (`pricing`), shocks (`margin`), reading
(`market_formats`). Conventions and worked numbers: specs/market.md.
"""

import math
from collections.abc import Mapping
from typing import TypeVar

import msgspec
from msgspec.structs import force_setattr

from holdfast.domain.errors import InputError, invariant
from holdfast.domain.instruments import Instrument, Kind, check_price
from holdfast.domain.names import is_asset_name, parse_instrument
from holdfast.domain.reading import check_finite, located
from holdfast.domain.units import NANOSECONDS_PER_YEAR, check_time, format_time

DOLLAR = "USD"
RATE_MAXIMUM = 10.0
"""Largest size of a rate: a thousand per cent a year keeps every discount factor a normal number."""

T = TypeVar("T")


class SVI(msgspec.Struct, frozen=True):
    """A volatility smile: total variance a + b(ρ(k − m) + √((k − m)² + σ²)) over log-moneyness k = ln(K/F).

    The arithmetic, and what is clamped, belong to `pricing`.

    Attributes:
        a: Level of total variance.
        b: Slope of the wings, at least 0.
        rho: Tilt, strictly between −1 and 1.
        m: Log-moneyness of the lowest point when the tilt is 0.
        sigma: Width of the bend, above 0.
        tau: Years that total variance is divided by to give a volatility, above 0.
    """

    a: float
    b: float
    rho: float
    m: float
    sigma: float
    tau: float

    def __post_init__(self) -> None:
        for field in ("a", "b", "rho", "m", "sigma", "tau"):
            check_finite(getattr(self, field), field)
        _check_range("b", self.b, self.b >= 0.0, "make the slope of the wings at least 0")
        _check_range("rho", self.rho, abs(self.rho) < 1.0, "put it strictly between −1 and 1")
        _check_range("sigma", self.sigma, self.sigma > 0.0, "make the width of the bend exceed 0")
        _check_range("tau", self.tau, self.tau > 0.0, "give years above 0")
        least = self.a + self.b * self.sigma * math.sqrt(1.0 - self.rho * self.rho)
        _check_range("a", self.a, least >= 0.0, "raise it until the least total variance is not negative")


class Expiry(msgspec.Struct, frozen=True):
    """What the market says about one expiry of an underlying.

    Attributes:
        forward: Forward price, in the quote currency; above 0.
        rate: Discount rate: annual fraction, continuously compounded.
        forward_confidence: How sure the forward is, 0 to 1.
        rate_confidence: The same for the rate.
        volatility_confidence: The same for the volatilities.
        svi: The smile, used for strikes without a volatility of their own.
        settled_fraction: Part of the forward that the settlement average has fixed already, 0 to 1.
    """

    forward: float
    rate: float = 0.0
    forward_confidence: float = 1.0
    rate_confidence: float = 1.0
    volatility_confidence: float = 1.0
    svi: SVI | None = None
    settled_fraction: float = 0.0

    def __post_init__(self) -> None:
        _check_positive("forward", self.forward)
        check_finite(self.rate, "rate")
        _check_range(
            "rate", self.rate, abs(self.rate) <= RATE_MAXIMUM, f"give an annual fraction within ±{RATE_MAXIMUM:g}"
        )
        for field in ("forward_confidence", "rate_confidence", "volatility_confidence", "settled_fraction"):
            _check_fraction(field, getattr(self, field))


class Price(msgspec.Struct, frozen=True):
    """A price and how sure it is.

    Attributes:
        price: At least 0 (an option can be worth nothing; whatever cannot is refused where it is used).
        confidence: 0 to 1.
    """

    price: float
    confidence: float = 1.0

    def __post_init__(self) -> None:
        check_finite(self.price, "price")
        if self.price < 0.0:
            raise InputError("negative-price", "price", self.price, "give a price that is not negative")
        _check_fraction("confidence", self.confidence)


class Underlying(msgspec.Struct, frozen=True):
    """What the market says about one coin and the contracts on it.

    Mappings by instrument name accept every spelling and keep the canonical one.

    Attributes:
        index: Dollar price of the coin; above 0.
        marks: Mark prices by instrument: in the quote currency for perpetuals and futures (above 0), in the settlement
            asset for options.
        expiries: By expiry, nanoseconds UTC.
        volatilities: Annual fractions by option, at least 0; they go before an expiry's smile.
        open_interest: By instrument, in its unit of quantity, at least 0.
    """

    index: Price
    marks: dict[str, Price] = {}
    expiries: dict[int, Expiry] = {}
    volatilities: dict[str, float] = {}
    open_interest: dict[str, float] = {}

    def __post_init__(self) -> None:
        if not isinstance(self.index, Price):
            raise InputError("malformed", "index", self.index, "give it as Price(...)")
        with located("index"):
            _check_positive("price", self.index.price)
        for expiry in self.expiries:
            check_time(expiry, "expiries")
        for field in ("marks", "volatilities", "open_interest"):
            force_setattr(self, field, _canonical(getattr(self, field), field))
        for name, mark in self.marks.items():
            check_price(parse_instrument(name), mark.price, f"marks[{name}].price")
        for name, volatility in self.volatilities.items():
            field = f"volatilities[{name}]"
            if parse_instrument(name).kind is not Kind.OPTION:
                raise InputError("malformed", field, volatility, "give volatilities of options only")
            check_finite(volatility, field)
            _check_range(field, volatility, volatility >= 0.0, "give an annual fraction that is not negative")
        for name, interest in self.open_interest.items():
            check_finite(interest, f"open_interest[{name}]")
            _check_range(f"open_interest[{name}]", interest, interest >= 0.0, "give a quantity that is not negative")


class Market(msgspec.Struct, frozen=True):
    """Everything that has a price, at one instant.

    Attributes:
        time: The instant, nanoseconds UTC.
        underlyings: By coin.
        assets: Dollar prices of further assets, above 0. An underlying's own coin needs none: its index counts. USD
            is 1.
        numeraire: The asset that risk numbers are counted in.
    """

    time: int
    underlyings: dict[str, Underlying]
    assets: dict[str, Price] = {}
    numeraire: str = DOLLAR

    def __post_init__(self) -> None:
        check_time(self.time, "time")
        for coin, underlying in self.underlyings.items():
            _check_belongs(coin, underlying)
        for name, price in self.assets.items():
            if not is_asset_name(name):
                raise InputError("malformed", f"assets[{name}]", name, 'use the name of an asset, as in "USDC"')
            _check_positive(f"assets[{name}].price", price.price)
            if name == DOLLAR:
                _check_range("assets[USD].price", price.price, price.price == 1.0, "leave it out: a dollar is 1 dollar")
        with located("numeraire"):
            self.asset_price(self.numeraire)

    def underlying(self, name: str) -> Underlying:
        """What the market says about a coin; InputError "unknown-underlying" if nothing."""
        if name not in self.underlyings:
            known = ", ".join(sorted(self.underlyings)) or "none"
            advice = f"add it to the market's underlyings (now: {known})"
            raise InputError("unknown-underlying", f"underlyings[{name}]", name, advice)
        return self.underlyings[name]

    def asset_price(self, name: str) -> Price:
        """The dollar price of an asset: its own entry, else the index of an underlying of that name, else USD's 1.

        Raises:
            InputError: code "missing-price".
        """
        if name in self.assets:
            return self.assets[name]
        if name in self.underlyings:
            return self.underlyings[name].index
        if name == DOLLAR:
            return _ONE_DOLLAR
        advice = f'add its dollar price to the market\'s assets, as in {{"{name}": 1.0}}'
        raise InputError("missing-price", f"assets[{name}]", name, advice)

    def numeraire_price(self) -> float:
        """The dollar price of the numeraire asset; 1 where that is USD itself."""
        return self.asset_price(self.numeraire).price

    def value_of(self, asset: str) -> float:
        """The value of one unit of an asset in the numeraire: dollar price ÷ dollar price of the numeraire."""
        return self.asset_price(asset).price / self.numeraire_price()

    def mark(self, instrument: Instrument) -> Price:
        """The mark price of an instrument, as its underlying's `marks` hold it.

        A dated future without a mark takes the forward of its expiry, with that confidence. A perpetual does not fall
        back on the index: the difference is what a basis charge is for.

        Raises:
            InputError: there is no mark ("missing-price") or no such underlying ("unknown-underlying").
        """
        underlying = self.underlying(instrument.underlying)
        if instrument.name in underlying.marks:
            return underlying.marks[instrument.name]
        if instrument.kind is Kind.FUTURE and instrument.expiry in underlying.expiries:
            expiry = underlying.expiries[instrument.expiry]
            return Price(expiry.forward, expiry.forward_confidence)
        advice = f"add {instrument.name} to the marks of {instrument.underlying}"
        raise InputError("missing-price", f"marks[{instrument.name}]", instrument.name, advice)

    def expiry_of(self, instrument: Instrument) -> Expiry:
        """What the market says about the expiry of an option or future.

        Raises:
            InputError: the market lacks that expiry ("missing-price") or the underlying ("unknown-underlying").
        """
        time = _expiry_time(instrument)
        underlying = self.underlying(instrument.underlying)
        if time not in underlying.expiries:
            advice = f"add the forward of {format_time(time)} to the expiries of {instrument.underlying}"
            raise InputError("missing-price", f"expiries[{format_time(time)}]", instrument.name, advice)
        return underlying.expiries[time]

    def years_to_expiry(self, instrument: Instrument) -> float:
        """max(0, expiry − time) in years of 365 days: the quotient of the two integers, correctly rounded."""
        return max(0, _expiry_time(instrument) - self.time) / NANOSECONDS_PER_YEAR


def _expiry_time(instrument: Instrument) -> int:
    if instrument.expiry is None:
        raise InputError("malformed", "instrument", instrument.name, "ask for the expiry of dated contracts only")
    return instrument.expiry


def _canonical(by_name: Mapping[str, T], field: str) -> dict[str, T]:
    """The mapping with canonical names; two spellings of one instrument are refused."""
    result: dict[str, T] = {}
    for given, value in by_name.items():
        with located(f"{field}[{given}]"):
            name = parse_instrument(given).name
        if name in result:
            raise InputError("duplicate-line", f"{field}[{given}]", name, "give each instrument once")
        result[name] = value
    invariant(len(result) == len(by_name), "canonical names lost an entry")
    return result


def _check_belongs(coin: str, underlying: Underlying) -> None:
    for field in ("marks", "volatilities", "open_interest"):
        for name in getattr(underlying, field):
            if parse_instrument(name).underlying != coin:
                advice = f"put it under {parse_instrument(name).underlying}"
                raise InputError("malformed", f"underlyings[{coin}].{field}[{name}]", name, advice, f"is not on {coin}")


def _check_range(field: str, value: float, holds: bool, advice: str) -> None:  # noqa: FBT001
    if not holds:
        raise InputError("out-of-range", field, value, advice)


def _check_positive(field: str, price: float) -> None:
    check_finite(price, field)
    if price < 0.0:
        raise InputError("negative-price", field, price, "give a price above 0")
    _check_range(field, price, price > 0.0, "give a price above 0")


def _check_fraction(field: str, value: float) -> None:
    check_finite(value, field)
    _check_range(field, value, 0.0 <= value <= 1.0, "give a fraction from 0 to 1")


_ONE_DOLLAR = Price(1.0)
