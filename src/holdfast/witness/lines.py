"""Lines and the frozen market: what an item is worth today, before any model looks at it.

What lives here: which items have a line, and their prices at the last mark (MKS-8 to MKS-10). What may not: scenarios,
parameters and accounts.
"""

from collections.abc import Sequence
from typing import NamedTuple

from holdfast.domain.errors import HoldfastError
from holdfast.witness.contracts import FUTURE, OPTION, Item

YEAR = 365 * 86_400 * 10**9
DOLLAR = "USD"


class ImpossibleTableError(HoldfastError):
    """No risk table can be built from these prices and parameters."""


class Line(NamedTuple):
    """What one line is at the frozen prices.

    Attributes:
        item: Its item.
        asset: Place of the asset that it is settled in, or is, among `Table.assets`.
        index_price: Of its underlying, of an asset its own price.
        price: Mark of a perpetual or future, forward of an option, price of an asset.
        worth: Numeraire value of the settlement asset.
        volatility: Of an option.
        years: To expiry.
        coins: Per unit (CHG-1).
    """

    item: Item
    asset: int
    index_price: float
    price: float
    worth: float
    volatility: float
    years: float
    coins: float

    @property
    def is_inverse(self) -> bool:
        """Whether its contract is settled in its underlying."""
        return self.item.contract is not None and self.item.contract.is_inverse

    @property
    def strike(self) -> float:
        """Strike of an option, else 0."""
        return float(self.item.contract.strike) if self.item.contract else 0.0

    @property
    def is_call(self) -> bool:
        """Whether it is a call."""
        return self.item.contract is not None and self.item.contract.is_call


class FrozenMarket:
    """The frozen prices as the tables read them (MKS-8 to MKS-10)."""

    def __init__(self, items: Sequence[Item], marked: Sequence[int], time: int) -> None:
        self.items = items
        self.marked = marked
        self.time = time
        self.dollar = {item.name: self._dollar(item) for item in items if item.is_asset}
        self.lines = [item for item in items if self._has_line(item)]
        self._forwards = {(item.underlying, item.expiry): self.mark(item) for item in self.lines if item.kind == FUTURE}

    def _dollar(self, item: Item) -> float:
        return 1.0 if item.name == DOLLAR else self.marked[item.number] / 10**8

    def _has_line(self, item: Item) -> bool:
        if item.is_asset:
            return self._dollar(item) > 0
        underlying, settlement = self.items[item.underlying], self.items[item.settlement]
        priced = self._dollar(settlement) > 0 and self._dollar(underlying) > 0 and underlying.name != DOLLAR
        return item.is_open and priced and (item.kind != OPTION or self.marked[item.number] > 0)

    def index(self, item: Item) -> float:
        """Dollar price of the item's underlying."""
        return self.dollar[self.items[item.underlying].name]

    def mark(self, item: Item) -> float:
        """Mark of a perpetual or future: its frozen price, otherwise the frozen index."""
        own = self.marked[item.number]
        return own / 10**item.decimals if own > 0 else self.index(item)

    def price(self, item: Item) -> float:
        """Mark, or an option's forward, or an asset's dollar price."""
        if item.is_asset:
            return self.dollar[item.name]
        if item.kind != OPTION:
            return self.mark(item)
        return self._forwards.get((item.underlying, item.expiry), self.index(item))

    def years(self, expiry: int) -> float:
        """Years to an expiry (CON-2)."""
        return max(0, expiry - self.time) / YEAR
