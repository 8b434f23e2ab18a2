"""What an account holds and what its open orders can make of that (LED-2, ORD-1, ORD-2, ORD-7).

What lives here: quantities per line as ranges, and the gains and losses to the mark that fills bring. What may not:
requirements.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from holdfast.domain.errors import InputError
from holdfast.witness.exact.inputs import Contract, Order
from holdfast.witness.exact.intervals import NOTHING, ONE, ZERO, Interval, greatest
from holdfast.witness.exact.table import Table

Holdings = Mapping[str, tuple[int, int]]
"""By item (amount, cost) as the ledger's rows have them (LED-1)."""


@dataclass(frozen=True)
class Book:
    """An account in the units of the table.

    Attributes:
        held: Quantity by line; lines of quantity 0 are left out.
        range: By line, from the least to the most that fills can make of it; a point where no order moves it.
        gain: By asset, in the numeraire: what fills at better than the mark can add to its balance.
        loss: By asset, in the numeraire: what fills at worse than the mark can take from it.
        loss_to_mark: The charge of ORD-7.
    """

    held: Mapping[str, Fraction]
    range: Mapping[str, Interval]
    gain: Mapping[str, Interval]
    loss: Mapping[str, Interval]
    loss_to_mark: Interval

    def at(self, line: str) -> Interval:
        """Range of a line."""
        return self.range.get(line, NOTHING)

    def most(self, line: str) -> Fraction:
        """Largest size that the line can have."""
        return max(abs(self.at(line).low), abs(self.at(line).high))

    def short(self, line: str) -> Fraction:
        """Largest short size."""
        return max(ZERO, -self.at(line).low)

    def long(self, line: str) -> Fraction:
        """Largest long size."""
        return max(ZERO, self.at(line).high)


def book(table: Table, holdings: Holdings, orders: Sequence[Order] = ()) -> Book:
    """The account as the margin reads it.

    Args:
        table: The lines.
        holdings: Rows of the account.
        orders: Its open orders.

    Raises:
        InputError: `missing-price`, an item without a line; `out-of-range`, an order's amount or limit.
    """
    quantities = {name: table.market.quantity(name, *row) for name, row in holdings.items()}
    held = {name: quantity for name, quantity in quantities.items() if quantity}
    ranges = {name: Interval.point(quantity) for name, quantity in held.items()}
    gains: dict[str, Interval] = {}
    losses: dict[str, Interval] = {}
    charge = NOTHING
    for order in orders:
        contract = _contract(table, order)
        size = order.amount * contract.lot
        unit = table.market.value_at(contract, order.price * contract.price_step)
        _stretch(ranges, contract.name, size)
        _stretch(ranges, contract.settlement, -size * unit)
        change = _change(table, contract, size, unit)
        loss, gain = greatest(NOTHING, -change), greatest(NOTHING, change)
        gains[contract.settlement] = gains.get(contract.settlement, NOTHING) + gain
        losses[contract.settlement] = losses.get(contract.settlement, NOTHING) + loss
        rule = table.model.rule(contract.settlement)
        charge += loss.times(ONE + (rule.liability if rule else ZERO))
    return Book(held, ranges, gains, losses, charge)


def _contract(table: Table, order: Order) -> Contract:
    if order.item not in table.market.contracts:
        raise InputError("missing-price", "orders", order.item, "order contracts that have a line (MKS-10)")
    contract = table.market.contracts[order.item]
    if not order.amount or order.price < (0 if contract.is_option else 1):
        raise InputError(
            "out-of-range", f"orders[{order.item}]", order, "give an amount other than 0 and a price above 0"
        )
    return contract


def _stretch(ranges: dict[str, Interval], line: str, move: Fraction) -> None:
    """Let `move` happen or not."""
    at = ranges.get(line, NOTHING)
    ranges[line] = Interval(at.low + min(ZERO, move), at.high + max(ZERO, move))


def _change(table: Table, contract: Contract, size: Fraction, unit: Fraction) -> Interval:
    """What the fill adds to equity at the mark, numeraire."""
    paid = unit * table.market.value(contract.settlement)
    return table.lines[contract.name].v0.interval.plus(-paid).times(size)
