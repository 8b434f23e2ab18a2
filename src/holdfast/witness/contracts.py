"""Assets and contracts: reading their names, and the whole numbers of their ledger.

What lives here: what a contract is (specs/instruments.md), its lot and cost (specs/definitions.md, specs/ledger.md).
What may not: prices and accounts.
"""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from typing import NamedTuple

from holdfast.domain.errors import InputError
from holdfast.witness import whole

ASSET, PERPETUAL, FUTURE, OPTION = "asset", "perpetual", "future", "option"
NANOSECONDS = 10**9

_MONTH_NAMES = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}
_CLOCK = r"(?:T(?P<clock>\d{6})(?:\.(?P<fraction>\d{9}))?)?"
_STRIKE = r"(?:-(?P<strike>\d+(?:[D.]\d+)?)-(?P<side>[CP]))?"
_DERIBIT = re.compile(
    r"(?P<underlying>[A-Z0-9]+)(?:_(?P<quote>[A-Z0-9]+))?(?:_(?P<settlement>[A-Z0-9]+))?"
    rf"-(?:PERPETUAL|(?P<day>\d{{1,2}})(?P<month>[A-Z]{{3}})(?P<year>\d\d){_CLOCK}{_STRIKE})"
)
_CCXT = re.compile(
    r"(?P<underlying>[A-Z0-9]+)/(?P<quote>[A-Z0-9]+):(?P<settlement>[A-Z0-9]+)"
    rf"(?:-(?P<year>\d\d)(?P<month>\d\d)(?P<day>\d\d){_CLOCK}{_STRIKE})?"
)


class Contract(NamedTuple):
    """What a name says (INS-1).

    Attributes:
        kind: "perpetual", "future" or "option".
        underlying: Asset.
        quote: Currency of prices and strikes.
        settlement: Asset that it is paid in.
        expiry: ns since 1970, 0 for a perpetual.
        strike: In the quote currency, 0 where there is none.
        is_call: Of an option.
    """

    kind: str
    underlying: str
    quote: str
    settlement: str
    expiry: int
    strike: Fraction
    is_call: bool

    @property
    def is_inverse(self) -> bool:
        """Whether it is settled in its underlying (INS-2)."""
        return self.settlement == self.underlying


def read_name(name: str) -> Contract:
    """Read Deribit's or ccxt's spelling, in any case.

    Raises:
        InputError: code "unknown-instrument".
    """
    text = name.strip().upper()
    found = _DERIBIT.fullmatch(text) or _CCXT.fullmatch(text)
    if found is None:
        raise InputError("unknown-instrument", "name", name, "write it as BTC-27DEC26-100000-C")
    part = found.groupdict()
    quote = part["quote"] or "USD"
    settlement = part["settlement"] or (part["quote"] or part["underlying"])
    expiry = _expiry(part) if part["day"] else 0
    strike = Fraction((part["strike"] or "0").replace("D", "."))
    kind = PERPETUAL if not expiry else OPTION if part["side"] else FUTURE
    return Contract(kind, part["underlying"], quote, settlement, expiry, strike, part["side"] == "C")


def _expiry(part: dict[str, str]) -> int:
    clock = part["clock"] or "080000"
    month = _MONTHS.get(part["month"], 0) or int(part["month"])
    moment = datetime(
        2000 + int(part["year"]), month, int(part["day"]), int(clock[:2]), int(clock[2:4]), int(clock[4:]), tzinfo=UTC
    )
    return int(moment.timestamp()) * NANOSECONDS + int(part["fraction"] or 0)


@dataclass
class Item:
    """An asset or a contract of the ledger.

    Attributes:
        number: Of the item.
        name: As it was defined.
        kind: "asset" or the contract's kind.
        decimals: Of an asset's ledger unit; of a contract, its price decimals.
        contract: What the name says; of an asset none.
        underlying: Item number; of an asset its own.
        settlement: Item number; of an asset its own.
        multiplier: Lots × multiplier ÷ divisor are units of the contract, units of an asset.
        divisor: See `multiplier`.
        numerator: Of the cost (DEF-5).
        denominator: Of the cost.
        fee_ppm: Of each side of a trade.
        liquidation_fee_ppm: Of a liquidated account.
        is_open: Not settled.
    """

    number: int
    name: str
    kind: str
    decimals: int
    contract: Contract | None = None
    underlying: int = 0
    settlement: int = 0
    multiplier: int = 1
    divisor: int = 1
    numerator: int = 0
    denominator: int = 1
    fee_ppm: int = 0
    liquidation_fee_ppm: int = 0
    is_open: bool = field(default=True)

    @property
    def is_asset(self) -> bool:
        """Whether it is an asset."""
        return self.contract is None

    @property
    def expiry(self) -> int:
        """Ns since 1970, 0 where it does not expire."""
        return self.contract.expiry if self.contract else 0

    @property
    def has_inverse_cost(self) -> bool:
        """Whether its cost divides by the price: inverse perpetuals and futures."""
        return self.contract is not None and self.contract.is_inverse and self.kind != OPTION

    @property
    def mask(self) -> int:
        """The bits of exposure of a row of this item (MKS-7)."""
        return 1 << self.underlying % 62 | 1 << self.settlement % 62

    def exact_cost(self, lots: int, price: int) -> tuple[int, int]:
        """The cost of `lots` at a price in steps as numerator and denominator (LED-5)."""
        if self.has_inverse_cost:
            return -lots * self.numerator, price
        return lots * self.numerator * price, self.denominator

    def cost(self, lots: int, price: int) -> int:
        """The cost of LED-5, settlement units."""
        return whole.half_even(*self.exact_cost(lots, price))

    def fee(self, cost: int, ppm: int) -> int:
        """The fee on a cost, rounded up (LED-6)."""
        return whole.ceiling(abs(cost) * ppm, 10**6)

    def units(self, amount: int) -> float:
        """The quantity that margin reads for an amount (LED-2)."""
        return float(amount * self.multiplier) / float(self.divisor)


def asset(number: int, name: str, decimals: int) -> Item:
    """An asset as it is defined."""
    return Item(number, name, ASSET, decimals, None, number, number, 1, 10**decimals)


def instrument(
    number: int, name: str, lot: str, price_decimals: int, assets: dict[str, Item], fees: tuple[int, int]
) -> Item:
    """A contract as it is defined (DEF-2 to DEF-5).

    Raises:
        InputError: the name is none, or its underlying or settlement is not defined.
    """
    contract = read_name(name)
    for needed in (contract.underlying, contract.settlement):
        if needed not in assets:
            raise InputError("unknown-underlying", "name", needed, "define the asset first")
    mantissa, exponent = _lot(lot)
    settlement = assets[contract.settlement]
    inverse_cost = contract.is_inverse and contract.kind != OPTION
    power = exponent + settlement.decimals + (price_decimals if inverse_cost else -price_decimals)
    return Item(
        number, name, contract.kind, price_decimals, contract, assets[contract.underlying].number, settlement.number,
        mantissa * 10 ** max(exponent, 0), 10 ** max(-exponent, 0),
        mantissa * 10 ** max(power, 0), 10 ** max(-power, 0), *fees,
    )  # fmt: skip


def _lot(text: str) -> tuple[int, int]:
    """Mantissa without trailing zeros and exponent of a decimal text (DEF-3)."""
    value, exponent = Fraction(text), 0
    while value.denominator != 1:
        value, exponent = value * 10, exponent - 1
    mantissa = value.numerator
    while mantissa % 10 == 0 and mantissa:
        mantissa, exponent = mantissa // 10, exponent + 1
    return mantissa, exponent
