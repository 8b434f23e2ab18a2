"""Instruments: perpetuals, futures and European options, what one unit of each is, and how it is spelled.

An instrument is the contract and nothing else: two spellings of one contract make equal instruments, and neither a
venue nor a price belongs to it. Assets (coins, dollars) are not instruments; they are names in a portfolio's balances.

What may not live here: reading names (`names`), prices (`market`), models. Derivations of the values of one unit, with
worked numbers, are in specs/instruments.md.
"""

import datetime
import enum
import functools
import math
import re
from collections.abc import Mapping
from decimal import Decimal

import msgspec

from holdfast.domain.errors import InputError
from holdfast.domain.units import LEDGER_MAXIMUM, NANOSECONDS_PER_DAY, NANOSECONDS_PER_SECOND, check_time

EXPIRY_TIME_OF_DAY = 8 * 3600 * NANOSECONDS_PER_SECOND
"""Nanoseconds from midnight to 08:00 UTC, when a contract expires whose name gives only the date."""
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
STRIKE_MINIMUM, STRIKE_MAXIMUM = 1e-12, 1e15
"""Strikes that keep a name readable; far beyond any price."""

_ASSET = re.compile(r"[A-Z0-9]+", re.ASCII)
_YEARS = range(2000, 2100)


class Kind(enum.StrEnum):
    """What sort of contract."""

    PERPETUAL = "perpetual"
    FUTURE = "future"
    OPTION = "option"


_KIND_ORDER = {kind: place for place, kind in enumerate(Kind)}


class Instrument(msgspec.Struct, frozen=True, cache_hash=True):
    """A contract. Ordered by `sort_key`.

    Attributes:
        kind: Perpetual, dated future or European option.
        underlying: The coin whose price it follows, for example "BTC".
        quote: The currency its prices and strikes are in, for example "USD".
        settlement: The asset that profits are paid in: the underlying (an inverse contract), or the quote currency or
            a dollar token counted as the quote currency one for one (a linear contract).
        expiry: Nanoseconds UTC; None for perpetuals.
        strike: In the quote currency, above 0; None unless an option.
        is_call: None unless an option.
    """

    kind: Kind
    underlying: str
    quote: str
    settlement: str
    expiry: int | None = None
    strike: float | None = None
    is_call: bool | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.kind, Kind):
            raise InputError("malformed", "kind", self.kind, 'use "perpetual", "future" or "option"')
        _check_assets(self)
        _check_expiry(self)
        _check_strike(self)

    @property
    def inverse(self) -> bool:
        """Whether profits are paid in the underlying coin."""
        return self.settlement == self.underlying

    @property
    def name(self) -> str:
        """The canonical name, as Deribit writes it: BTC-27DEC26-100000-C. Unique for each contract."""
        return _name_of(self)

    @property
    def ccxt_symbol(self) -> str:
        """The unified symbol of ccxt: BTC/USD:BTC-261227-100000-C."""
        parts = [f"{self.underlying}/{self.quote}:{self.settlement}"]
        if self.expiry is not None:
            parts.append(f"{date_of(self.expiry):%y%m%d}{_time_suffix(self.expiry)}")
        if self.strike is not None:
            parts += [_decimal_text(self.strike), "C" if self.is_call else "P"]
        return "-".join(parts)

    @property
    def sort_key(self) -> tuple[str, int, int, float, bool, str, str]:
        """The order of lines: underlying, expiry (0: none), kind, strike, put before call, settlement, quote."""
        return (
            self.underlying,
            self.expiry or 0,
            _KIND_ORDER[self.kind],
            self.strike or 0.0,
            bool(self.is_call),
            self.settlement,
            self.quote,
        )

    @property
    def quantity_unit(self) -> str:
        """What one unit of quantity is: a coin of the underlying, or one of the quote currency in inverse futures."""
        return self.quote if self.inverse and self.kind is not Kind.OPTION else self.underlying

    def __lt__(self, other: "Instrument") -> bool:
        return self.sort_key < other.sort_key

    def __str__(self) -> str:
        return self.name

    @property
    def _head(self) -> str:
        if self.inverse and self.quote == "USD":
            return self.underlying
        if self.settlement == self.quote:
            return f"{self.underlying}_{self.quote}"
        return f"{self.underlying}_{self.quote}_{self.settlement}"


@functools.lru_cache(maxsize=65_536)
def _name_of(instrument: Instrument) -> str:
    """`Instrument.name`; written once, as building a risk table asks for it many times."""
    parts = [instrument._head]
    if instrument.expiry is None:
        parts.append("PERPETUAL")
    else:
        date = date_of(instrument.expiry)
        parts.append(f"{date.day}{MONTHS[date.month - 1]}{date.year % 100:02d}{_time_suffix(instrument.expiry)}")
    if instrument.strike is not None:
        parts += [_decimal_text(instrument.strike).replace(".", "d"), "C" if instrument.is_call else "P"]
    return "-".join(parts)


def date_of(expiry: int) -> datetime.date:
    """The UTC date of an instant in nanoseconds."""
    return datetime.date(1970, 1, 1) + datetime.timedelta(days=expiry // NANOSECONDS_PER_DAY)


def expiry_on(date: datetime.date) -> int:
    """08:00 UTC of a date, in nanoseconds."""
    return (date - datetime.date(1970, 1, 1)).days * NANOSECONDS_PER_DAY + EXPIRY_TIME_OF_DAY


def unit_value(instrument: Instrument, price: float) -> float:
    """The value of one unit of an instrument, in its settlement asset.

    The profit on a position is quantity × unit_value(mark) − cost, with cost = quantity × unit_value(entry).

    - Linear perpetual or future, counted in coins: one coin bought at E and sold at F pays F − E, so the value is F.
    - Inverse perpetual or future, counted in units of the quote currency: one dollar's worth is 1/E coins when bought
      and 1/F when sold; the long is paid the coins it no longer needs, 1/E − 1/F = (−1/F) − (−1/E). The value is −1/F.
    - Option, counted in coins of the underlying: its premium, which is quoted in the settlement asset already.

    Args:
        instrument: The contract.
        price: Perpetual or future: in the quote currency, above 0. Option: in the settlement asset, at least 0.

    Returns:
        The value in the settlement asset; negative for inverse perpetuals and futures.

    Raises:
        InputError: the price is not finite ("not-a-number") or too low ("negative-price", "out-of-range").
    """
    check_price(instrument, price, "price")
    if instrument.kind is Kind.OPTION or not instrument.inverse:
        return float(price)
    return -1.0 / price


def entry_cost(instrument: Instrument, quantity: float, entry_price: float) -> float:
    """What a position cost when it was opened: quantity × unit_value(entry price), in the settlement asset.

    Args:
        instrument: The contract.
        quantity: Signed; in coins, or in units of the quote currency for inverse perpetuals and futures.
        entry_price: As `unit_value` takes it.

    Returns:
        The cost in the settlement asset: what is subtracted from quantity × unit value to give the profit.
    """
    return quantity * unit_value(instrument, entry_price)


def check_price(instrument: Instrument, price: float, field: str) -> None:
    """Refuse a price that the instrument cannot have; arguments and errors as for `unit_value`."""
    if not math.isfinite(price):
        raise InputError("not-a-number", field, price, f"give a finite price of {instrument.name}")
    if price < 0.0:
        raise InputError("negative-price", field, price, f"give a price of {instrument.name} that is not negative")
    if price == 0.0 and instrument.kind is not Kind.OPTION:
        raise InputError("out-of-range", field, price, f"give a price of {instrument.name} above 0")


_TENTH, _ONE = Decimal("0.1"), Decimal(1)
LOTS: Mapping[str, Mapping[str, Decimal]] = {
    "inverse": {"BTC": Decimal(10), "default": _ONE},
    "option": {"BTC": _TENTH, "default": _ONE},
    "linear": {"BTC": Decimal("0.0001"), "ETH": Decimal("0.001"), "default": _TENTH},
}
"""Quantity grids by form of contract and underlying: "inverse" and "linear" perpetuals and futures, and options."""


def lot(instrument: Instrument, overrides: Mapping[str, Decimal] | None = None) -> Decimal:
    """The quantity grid of an instrument.

    Args:
        instrument: The contract.
        overrides: Grids by canonical name, where a venue's differ from the table `LOTS`.

    Returns:
        The smallest quantity above 0, in the instrument's unit of quantity.
    """
    if overrides and instrument.name in overrides:
        return overrides[instrument.name]
    form = "option" if instrument.kind is Kind.OPTION else "inverse" if instrument.inverse else "linear"
    grids = LOTS[form]
    return grids.get(instrument.underlying, grids["default"])


def check_lot(
    instrument: Instrument, quantity: float, field: str, overrides: Mapping[str, Decimal] | None = None
) -> None:
    """Refuse a quantity that is not a whole number of lots.

    A float is judged by the shortest decimal that reads back as it: 0.3 is three lots of 0.1, although neither number
    has an exact binary form.

    Args:
        instrument: The contract.
        quantity: In its unit of quantity; finite.
        field: What to call it in an error.
        overrides: As for `lot`.

    Raises:
        InputError: code "off-lot-grid".
    """
    grid = lot(instrument, overrides)
    if (Decimal(repr(float(quantity))) / grid) % 1 != 0:
        advice = f"give a multiple of {grid} {instrument.quantity_unit}, the lot of {instrument.name}"
        raise InputError("off-lot-grid", field, quantity, advice)


def check_quantity(instrument: Instrument, quantity: float, field: str) -> None:
    """Refuse a quantity that is not finite or whose number of lots does not fit in the ledger."""
    if not math.isfinite(quantity):
        raise InputError("not-a-number", field, quantity, f"give a finite number of {instrument.quantity_unit}")
    limit = LEDGER_MAXIMUM * lot(instrument)
    if abs(quantity) > limit:
        advice = f"keep it within ±{limit.normalize():f} {instrument.quantity_unit}"
        raise InputError("ledger-overflow", field, quantity, advice)


def _check_assets(instrument: Instrument) -> None:
    for field in ("underlying", "quote", "settlement"):
        name = getattr(instrument, field)
        if not isinstance(name, str) or not _ASSET.fullmatch(name):
            raise InputError("malformed", field, name, 'use capital letters and digits, as in "BTC"')
    if instrument.underlying == instrument.quote:
        raise InputError("malformed", "quote", instrument.quote, "quote an underlying in another asset than itself")


def _check_expiry(instrument: Instrument) -> None:
    if instrument.kind is Kind.PERPETUAL:
        if instrument.expiry is not None:
            raise InputError("malformed", "expiry", instrument.expiry, "leave it out: a perpetual has no expiry")
        return
    if instrument.expiry is None:
        raise InputError("missing-field", "expiry", None, f"give the expiry of the {instrument.kind}")
    check_time(instrument.expiry, "expiry")
    if date_of(instrument.expiry).year not in _YEARS:
        raise InputError("out-of-range", "expiry", instrument.expiry, "give an instant from 2000 to 2099")


def _check_strike(instrument: Instrument) -> None:
    if instrument.kind is not Kind.OPTION:
        for field in ("strike", "is_call"):
            if getattr(instrument, field) is not None:
                advice = f"leave it out: a {instrument.kind} has none"
                raise InputError("malformed", field, getattr(instrument, field), advice)
        return
    if not isinstance(instrument.is_call, bool):
        raise InputError(
            "missing-field", "is_call", instrument.is_call, "say whether the option is a call: true, false"
        )
    if instrument.strike is None:
        raise InputError("missing-field", "strike", None, "give the strike of the option")
    if not math.isfinite(instrument.strike):
        raise InputError("not-a-number", "strike", instrument.strike, f"give a finite number of {instrument.quote}")
    if not STRIKE_MINIMUM <= instrument.strike <= STRIKE_MAXIMUM:
        advice = f"give a strike from {STRIKE_MINIMUM:g} to {STRIKE_MAXIMUM:g} {instrument.quote}"
        raise InputError("out-of-range", "strike", instrument.strike, advice)


def _time_suffix(expiry: int) -> str:
    """Nothing at 08:00 UTC; else "T" and the time of day, so that names stay unique."""
    of_day = expiry % NANOSECONDS_PER_DAY
    if of_day == EXPIRY_TIME_OF_DAY:
        return ""
    seconds, fraction = divmod(of_day, NANOSECONDS_PER_SECOND)
    clock = f"T{seconds // 3600:02d}{seconds // 60 % 60:02d}{seconds % 60:02d}"
    return f"{clock}.{fraction:09d}" if fraction else clock


def _decimal_text(value: float) -> str:
    """The shortest decimal that reads back as `value`, without an exponent or a trailing ".0"."""
    text = f"{Decimal(repr(float(value))):f}"
    return text.removesuffix(".0")
