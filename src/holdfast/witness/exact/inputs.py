"""What the exact engine is given: items, parameters, frozen prices and the time, all exact.

What lives here: plain values, and the reading of a contract's canonical name. What may not: a rule that turns them into
other prices; that is `market`.
"""

import re
from calendar import timegm
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

from holdfast.domain.errors import InputError
from holdfast.witness.exact.intervals import ONE, ZERO
from holdfast.witness.exact.parameters import Kind, exact

_NAME = re.compile(
    r"(?P<heads>[A-Z0-9]+(?:_[A-Z0-9]+){0,2})-"
    r"(?:PERPETUAL|(?P<day>\d{1,2}[A-Z]{3}\d{2})(?:T(?P<clock>\d{6})(?:\.(?P<nanoseconds>\d{9}))?)?"
    r"(?:-(?P<strike>\d+(?:d\d+)?)-(?P<call>[CP]))?)"
)
_LOT = re.compile(r"(?P<whole>\d*)(?:\.(?P<part>\d+))?")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_ADVICE = "give the canonical name, such as BTC-27DEC26-100000-C"


@dataclass(frozen=True)
class Asset:
    """An asset; its ledger unit is 10 ** -decimals."""

    name: str
    decimals: int


@dataclass(frozen=True)
class Contract:
    """A contract that is not settled yet.

    Attributes:
        number: Number of the item (DEF-1); of several futures of one expiry the highest gives the forward (MKS-8).
        name: Canonical name.
        kind: Perpetual, future or option.
        underlying: Coin.
        quote: Currency of its prices; options are priced in the settlement asset.
        settlement: Asset that pays.
        expiry: Nanoseconds since 1970, 0 for a perpetual.
        strike: In the quote currency; 0 where there is none.
        is_call: Of an option.
        multiplier: Units of quantity in `divisor` lots (DEF-5).
        divisor: See `multiplier`.
        price_decimals: A price step is 10 ** -price_decimals (DEF-4).
    """

    number: int
    name: str
    kind: Kind
    underlying: str
    quote: str
    settlement: str
    expiry: int
    strike: Fraction
    is_call: bool
    multiplier: int
    divisor: int
    price_decimals: int

    @property
    def is_option(self) -> bool:
        """Whether it is an option."""
        return self.kind == "option"

    @property
    def is_inverse(self) -> bool:
        """Whether it settles in its own coin (INS-2)."""
        return self.settlement == self.underlying

    @property
    def lot(self) -> Fraction:
        """Units of quantity in a lot."""
        return Fraction(self.multiplier, self.divisor)

    @property
    def price_step(self) -> Fraction:
        """A price step, in the quote currency; of an option, in the settlement asset."""
        return Fraction(1, 10**self.price_decimals)


@dataclass(frozen=True)
class Expiry:
    """What is known of an underlying's expiry beside frozen prices; the defaults are those of MKS-8."""

    forward: Fraction | None = None
    rate: Fraction = ZERO
    settled_fraction: Fraction = ZERO
    forward_confidence: Fraction = ONE
    rate_confidence: Fraction = ONE
    volatility_confidence: Fraction = ONE


@dataclass(frozen=True)
class Order:
    """An open limit order: lots, positive to buy; the limit in the contract's price steps."""

    item: str
    amount: int
    price: int


@dataclass(frozen=True)
class Inputs:
    """What is known at one mark.

    Attributes:
        assets: The assets.
        contracts: The contracts that are not settled yet.
        models: By name, the mapping of a parameter file.
        frozen: By item, the frozen price in the units of MKS-1: of an asset 1e-8 dollars, of a perpetual or future its
            price steps, of an option the volatility in millionths.
        time: Logical time, nanoseconds since 1970.
        numeraire: Asset that risk is counted in.
        expiries: By (underlying, expiry), where more is known than frozen prices.
        confidences: By item, confidence of an asset's index or of a contract's mark where it is not 1.
        open_interest: By contract, in its unit of quantity.
    """

    assets: Sequence[Asset]
    contracts: Sequence[Contract]
    models: Mapping[str, Mapping[str, Any]]
    frozen: Mapping[str, int]
    time: int
    numeraire: str = "USD"
    expiries: Mapping[tuple[str, int], Expiry] = field(default_factory=dict)
    confidences: Mapping[str, Fraction] = field(default_factory=dict)
    open_interest: Mapping[str, Fraction] = field(default_factory=dict)


def contract(number: int, name: str, lot: str, price_decimals: int) -> Contract:
    """The contract that a canonical name (INS-8), a lot (DEF-3) and price decimals describe.

    Args:
        number: Number of the item.
        name: Canonical name.
        lot: Decimal text.
        price_decimals: 0 to 18.

    Raises:
        InputError: `unknown-instrument` or `out-of-range`.
    """
    parts = _NAME.fullmatch(name)
    if parts is None:
        raise InputError("unknown-instrument", "contract", name, _ADVICE)
    underlying, quote, settlement = _heads(parts["heads"])
    multiplier, divisor = _lot(lot)
    strike = parts["strike"]
    return Contract(
        number,
        name,
        "option" if strike else "future" if parts["day"] else "perpetual",
        underlying,
        quote,
        settlement,
        _instant(name, parts["day"], parts["clock"] or "080000", parts["nanoseconds"] or "0") if parts["day"] else 0,
        exact(strike.replace("d", "."), "strike") if strike else ZERO,
        parts["call"] == "C",
        multiplier,
        divisor,
        price_decimals,
    )


def _heads(heads: str) -> tuple[str, str, str]:
    """Underlying, quote and settlement: BTC, BTC_USDC, or BTC_USD_USDC."""
    underlying, *rest = heads.split("_")
    if not rest:
        return underlying, "USD", underlying
    return underlying, rest[0], rest[-1]


def _instant(name: str, day: str, clock: str, nanoseconds: str) -> int:
    try:
        month, times = _MONTHS.index(day[-5:-2]) + 1, (int(clock[0:2]), int(clock[2:4]), int(clock[4:6]))
        instant = datetime(2000 + int(day[-2:]), month, int(day[:-5]), *times, tzinfo=UTC)
    except ValueError:
        raise InputError("unknown-instrument", "contract", name, _ADVICE) from None
    return timegm(instant.timetuple()) * 10**9 + int(nanoseconds)


def _lot(text: str) -> tuple[int, int]:
    """Multiplier and divisor of a lot m × 10^e, m without trailing zeros (DEF-3, DEF-5)."""
    parts = _LOT.fullmatch(text)
    if parts is None or not (digits := ((parts["whole"] or "") + (parts["part"] or "")).lstrip("0")):
        raise InputError("out-of-range", "lot", text, "give a decimal above 0, such as 0.1")
    mantissa = digits.rstrip("0")
    exponent = len(digits) - len(mantissa) - len(parts["part"] or "")
    return int(mantissa) * 10 ** max(exponent, 0), 10 ** max(-exponent, 0)
