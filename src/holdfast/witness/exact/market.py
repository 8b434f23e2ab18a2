"""The market of the risk tables, from frozen prices (MKS-8 … MKS-11, MKT-2, MKT-3).

What lives here: which items have a line, and the prices, forwards, volatilities and years that lines are valued with.
What may not: shocks and margin.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from holdfast.domain.errors import InputError
from holdfast.witness.exact.inputs import Asset, Contract, Expiry, Inputs
from holdfast.witness.exact.intervals import ONE

DOLLAR = "USD"
_INDEX_STEP = Fraction(1, 10**8)
_VOLATILITY_STEP = Fraction(1, 10**6)
_YEAR = 365 * 86_400 * 10**9
_DAY = 86_400 * 10**9
_ORDINARY = Expiry()


@dataclass(frozen=True)
class Market:
    """Prices at one mark; built from `inputs` alone.

    Attributes:
        inputs: What was given.
    """

    inputs: Inputs

    @cached_property
    def time(self) -> int:
        """Logical time, but not after the earliest expiry of an open contract (MKS-9)."""
        return min([self.inputs.time, *(each.expiry for each in self.inputs.contracts if each.kind != "perpetual")])

    @cached_property
    def assets(self) -> dict[str, Asset]:
        """Assets with a line: USD and those with a frozen price."""
        frozen = self.inputs.frozen
        return {each.name: each for each in self.inputs.assets if each.name == DOLLAR or each.name in frozen}

    @cached_property
    def contracts(self) -> dict[str, Contract]:
        """Contracts with a line (MKS-10), in the order of TAB-3."""
        return {each.name: each for each in sorted(self.inputs.contracts, key=_rank) if self._has_line(each)}

    @cached_property
    def places(self) -> dict[str, int]:
        """By contract, its place in the order of TAB-3."""
        return {name: place for place, name in enumerate(self.contracts)}

    def _has_line(self, contract: Contract) -> bool:
        frozen = self.inputs.frozen
        return (
            contract.settlement in self.assets
            and contract.underlying != DOLLAR
            and contract.underlying in frozen
            and (not contract.is_option or contract.name in frozen)
        )

    def dollars(self, asset: str) -> Fraction:
        """Dollar price of an asset (MKT-2).

        Raises:
            InputError: `missing-price`.
        """
        if asset == DOLLAR:
            return ONE
        if asset not in self.inputs.frozen:
            raise InputError("missing-price", f"frozen[{asset}]", None, "freeze a price of the asset first")
        return self.inputs.frozen[asset] * _INDEX_STEP

    def value(self, asset: str) -> Fraction:
        """Value of one unit of an asset in the numeraire (MKT-3)."""
        return self.dollars(asset) / self.dollars(self.inputs.numeraire)

    def index(self, underlying: str) -> Fraction:
        """Dollar price of a coin."""
        return self.dollars(underlying)

    def mark(self, contract: Contract) -> Fraction:
        """Mark of a perpetual or future: its frozen price, else a stated forward, else the index (MKS-8)."""
        if contract.name in self.inputs.frozen:
            return self.inputs.frozen[contract.name] * contract.price_step
        stated = self.expiry(contract).forward if contract.kind == "future" else None
        return self.index(contract.underlying) if stated is None else stated

    def forward(self, contract: Contract) -> Fraction:
        """Forward of an option's expiry: the mark of the future with the highest number, else the index (MKS-8)."""
        stated = self.expiry(contract).forward
        futures = self._futures.get((contract.underlying, contract.expiry))
        if stated is not None:
            return stated
        return self.mark(futures) if futures else self.index(contract.underlying)

    @cached_property
    def _futures(self) -> dict[tuple[str, int], Contract]:
        futures = [each for each in self.inputs.contracts if each.kind == "future"]
        return {(each.underlying, each.expiry): each for each in sorted(futures, key=lambda each: each.number)}

    def expiry(self, contract: Contract) -> Expiry:
        """What is known of a contract's expiry beside prices."""
        return self.inputs.expiries.get((contract.underlying, contract.expiry), _ORDINARY)

    def volatility(self, contract: Contract) -> Fraction:
        """Frozen volatility of an option, annual fraction."""
        return self.inputs.frozen[contract.name] * _VOLATILITY_STEP

    def years(self, contract: Contract) -> Fraction:
        """Years to expiry (CON-2)."""
        return Fraction(max(0, contract.expiry - self.time), _YEAR)

    def days(self, contract: Contract) -> Fraction:
        """Days to expiry."""
        return Fraction(max(0, contract.expiry - self.time), _DAY)

    @cached_property
    def is_sure(self) -> bool:
        """Whether nothing says that any price is less than sure."""
        return not self.inputs.confidences and not self.inputs.expiries

    def confidence(self, item: str) -> Fraction:
        """Confidence of an asset's index or a contract's mark."""
        return self.inputs.confidences.get(item, ONE)

    def mark_confidence(self, contract: Contract) -> Fraction:
        """Confidence of the mark of a perpetual or future; of a future without its own price, that of the forward."""
        if contract.kind == "future" and contract.name not in self.inputs.frozen:
            return self.expiry(contract).forward_confidence
        return self.confidence(contract.name)

    def coins(self, contract: Contract) -> Fraction:
        """Coins per unit: 1, or 1 / index where a unit is a dollar (CHG-1)."""
        return ONE if contract.is_option or not contract.is_inverse else 1 / self.index(contract.underlying)

    def notional(self, contract: Contract) -> Fraction:
        """Notional of one unit at the index (CHG-1)."""
        if contract.name not in self._notionals:
            self._notionals[contract.name] = self.coins(contract) * self.index(contract.underlying)
        return self._notionals[contract.name]

    @cached_property
    def _notionals(self) -> dict[str, Fraction]:
        return {}

    def value_at(self, contract: Contract, price: Fraction) -> Fraction:
        """Value of one unit at a price, in the settlement asset (INS-4)."""
        return price if contract.is_option or not contract.is_inverse else -1 / price

    def quantity(self, item: str, amount: int, cost: int) -> Fraction:
        """What the margin reads of a row (LED-2).

        Raises:
            InputError: `missing-price`, the item has no line.
        """
        if item in self.assets:
            return Fraction(amount - cost, 10 ** self.assets[item].decimals)
        if item in self.contracts:
            return amount * self.contracts[item].lot
        raise InputError("missing-price", f"holdings[{item}]", None, "hold items that have a line (MKS-10)")


def _rank(contract: Contract) -> tuple[str, int, bool, Fraction, bool, str, str]:
    """The order of TAB-3."""
    return (
        contract.underlying,
        contract.expiry,
        contract.is_option,
        contract.strike,
        not contract.is_call,
        contract.settlement,
        contract.quote,
    )
