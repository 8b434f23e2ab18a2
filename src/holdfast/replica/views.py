"""What the state says about accounts, in names and main units: for reading, never for deciding.

What lives here: an account's holdings, the portfolio that they are, and the sums that must be 0. What may not: a
formula of margin.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from holdfast.core.fold import Fold
from holdfast.core.margins import margin_of, totals_on
from holdfast.core.state import NONE, Account, Counter, Form, Item, Open, Status
from holdfast.domain.portfolio import Order, Portfolio, Position
from holdfast.replica.amounts import amount_of, plain, step_of
from holdfast.replica.directory import Directory


class Holding(NamedTuple):
    """A position.

    Attributes:
        instrument: Name of the contract.
        quantity: Signed, in `unit`.
        unit: What quantities are counted in.
        cost: What quantity × value is measured against, in the settlement asset.
        settlement: That asset.
    """

    instrument: str
    quantity: Decimal
    unit: str
    cost: Decimal
    settlement: str


class OpenOrder(NamedTuple):
    """An open order: its number among the account's, contract, signed quantity left, limit price."""

    number: int
    instrument: str
    quantity: Decimal
    price: Decimal


@dataclass(frozen=True)
class AccountView:
    """An account as the state has it.

    Attributes:
        name: Of the account.
        number: Of the account.
        model: Name of its margin model.
        status: "healthy", "restricted", "breach pending", "liquidating", "bankrupt", "frozen" or "aside".
        version: Accepted changes so far.
        balances: Cash by asset.
        positions: In order of their instruments' numbers.
        orders: Open ones, the newest first.
        equity: On the tables of the last mark, numeraire.
        initial_margin: The same, open orders included.
        maintenance_margin: The same.
    """

    name: str
    number: int
    model: str
    status: str
    version: int
    balances: dict[str, Decimal]
    positions: tuple[Holding, ...]
    orders: tuple[OpenOrder, ...]
    equity: float
    initial_margin: float
    maintenance_margin: float

    def __str__(self) -> str:
        lines = [
            f"{self.name} (account {self.number}, {self.model}): {self.status}",
            f"  equity {self.equity:,.2f}, initial margin {self.initial_margin:,.2f}, "
            f"maintenance margin {self.maintenance_margin:,.2f}",
        ]
        lines += [f"  {plain(amount)} {asset}" for asset, amount in self.balances.items()]
        lines += [f"  {plain(p.quantity)} {p.unit} of {p.instrument}" for p in self.positions]
        lines += [f"  order {o.number}: {plain(o.quantity)} of {o.instrument} at {plain(o.price)}" for o in self.orders]
        return "\n".join(lines)


def rows_of(fold: Fold, account: int) -> list[tuple[int, int, int]]:
    """(item, amount, cost) of an account's rows, in order of items."""
    state = fold.machine.state
    start, count = (int(n) for n in state.accounts[account, [Account.START, Account.COUNT]])
    block = slice(start, start + count)
    amounts = state.ledger[block].tolist()
    return sorted((item, *pair) for item, pair in zip(state.row_item[block].tolist(), amounts, strict=True))


def _open_orders(fold: Fold, account: int) -> Iterator[tuple[int, int, int, int]]:
    """(number, item, signed lots left, price in steps) of an account's open orders, the newest first."""
    state = fold.machine.state
    slot = int(state.accounts[account, Account.ORDERS]) if state.accounts[account, Account.ORDER_COUNT] else NONE
    while slot != NONE:
        row = state.orders[slot]
        yield tuple(int(n) for n in row[[Open.NUMBER, Open.ITEM, Open.REMAINING, Open.PRICE]])  # type: ignore[misc]
        slot = int(row[Open.NEXT])


def account_view(fold: Fold, book: Directory, account: int) -> AccountView:
    """An account's view; equity and margins are 0 while there is no model."""
    state, marked = fold.machine.state, fold.machine.marked
    row = state.accounts[account]
    model = int(row[Account.MODEL])
    equity = initial = maintenance = 0.0
    if marked.tables:
        _, _, maintenance = totals_on(state, marked.arrays, account)
        equity, initial = margin_of(state, marked.arrays, account)
    balances, positions = {}, []
    for item, amount, cost in rows_of(fold, account):
        if state.items[item, Item.FORM] == Form.ASSET:
            balances[book.items[item].name] = amount_of(amount, book.step(item))
        else:
            positions.append(_holding(book, item, amount, cost))
    return AccountView(
        name=book.account_name(account),
        number=account,
        model=book.model_name(model) if marked.tables else "",
        status=Status(int(row[Account.STATUS])).name.lower().replace("_", " "),
        version=int(row[Account.VERSION]),
        balances=balances,
        positions=tuple(positions),
        orders=tuple(_order(book, *found) for found in _open_orders(fold, account)),
        equity=float(equity),
        initial_margin=float(initial),
        maintenance_margin=float(maintenance),
    )


def _holding(book: Directory, item: int, lots: int, cost: int) -> Holding:
    settlement = book.settlement(item)
    quantity, paid = amount_of(lots, book.step(item)), amount_of(cost, book.step(settlement))
    return Holding(book.items[item].name, quantity, book.unit(item), paid, book.items[settlement].name)


def _order(book: Directory, number: int, item: int, lots: int, price: int) -> OpenOrder:
    left, limit = amount_of(lots, book.step(item)), amount_of(price, book.price_step(item))
    return OpenOrder(number, book.items[item].name, left, limit)


def portfolio_of(fold: Fold, book: Directory, account: int) -> Portfolio:
    """An account as a portfolio: every number is the float nearest to what the ledger has."""
    state = fold.machine.state
    balances: dict[str, float] = {}
    positions = []
    for item, amount, cost in rows_of(fold, account):
        step = book.step(item)
        if state.items[item, Item.FORM] == Form.ASSET:
            balances[book.items[item].name] = float(amount * step)
        else:
            paid = float(cost * step_of(book.items[book.settlement(item)].decimals))
            positions.append(Position(book.instrument(item), float(amount * step), paid))
    orders = tuple(
        Order(book.instrument(item), float(lots * book.step(item)), float(price * book.price_step(item)))
        for _, item, lots, price in _open_orders(fold, account)
    )
    return Portfolio(balances, tuple(positions), orders, name=book.account_name(account))


def sums(fold: Fold, book: Directory) -> dict[str, Decimal]:
    """By item, what all accounts together have of it: Σ quantity of a contract, Σ (cash − cost) of an asset.

    All are 0, always. The sums are exact, however many rows there are.
    """
    state = fold.machine.state
    count = int(state.counters[Counter.ACCOUNTS])
    starts, counts = state.accounts[:count, Account.START], state.accounts[:count, Account.COUNT]
    # Row k of block b is start of b + (k − rows of all blocks before b).
    before = np.cumsum(counts) - counts
    rows = np.repeat(starts - before, counts) + np.arange(int(counts.sum()))
    items = state.row_item[rows]
    is_asset = state.items[items, Item.FORM] == Form.ASSET
    totals = [0] * len(book.items)
    for sign, column, used in ((1, 0, np.ones(len(rows), bool)), (-1, 1, is_asset)):
        values, of = state.ledger[rows[used], column], items[used]
        # Each half sums within int64 for 2**31 rows; together they are exact.
        for shift, part in ((0, values & 0xFFFFFFFF), (32, values >> 32)):
            added = np.zeros(len(totals), np.int64)
            np.add.at(added, of, part)
            totals = [total + sign * (int(n) << shift) for total, n in zip(totals, added, strict=True)]
    return {definition.name: amount_of(totals[n], book.step(n)) for n, definition in enumerate(book.items)}
