"""Margin of the ledger's accounts: rows and orders into matrices, model by model.

What lives here: gathering, and which accounts no number can be given for. What may not: formulas.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from holdfast.domain.errors import invariant
from holdfast.witness import bounds, population
from holdfast.witness.black import Floats
from holdfast.witness.book import Order
from holdfast.witness.ledger import ITEM_BITS
from holdfast.witness.population import Places
from holdfast.witness.state import SYSTEM_ACCOUNTS, State
from holdfast.witness.table import Table


class Margins(NamedTuple):
    """Margin at the prices and tables of the last mark, numeraire; all arrays are [accounts].

    Attributes:
        accounts: Numbers.
        versions: Of the accounts.
        equity: Σ q·V0.
        initial: Open orders included.
        maintenance: Of positions.
        gross: Σ |q·V0|, the scale of tolerances.
    """

    accounts: Places
    versions: Places
    equity: Floats
    initial: Floats
    maintenance: Floats
    gross: Floats


class Entries(NamedTuple):
    """Rows of some accounts: place of the account, item, and quantity as margin reads it (LED-2)."""

    place: Places
    item: Places
    quantity: Floats


def all_clients(state: State) -> Places:
    """Numbers of all clients' accounts."""
    return np.arange(SYSTEM_ACCOUNTS, state.accounts)


def margins(state: State, accounts: Places, *, with_orders: bool = True) -> Margins:
    """Margin of accounts, in ascending order; those that no table can price are left out."""
    accounts = np.unique(accounts)
    entries = _entries(state, accounts)
    found = np.full((4, len(accounts)), np.nan)
    models = state.account_models[accounts]
    for number, model in enumerate(state.models):
        members = np.flatnonzero(models == number)
        if model.table is not None and len(members):
            found[:, members] = _of_model(state, model.table, accounts, members, entries, with_orders=with_orders)
    known = np.isfinite(found).all(axis=0)
    versions = state.ledger.versions[accounts]
    return Margins(accounts[known], versions[known], *found[:, known])


def _entries(state: State, accounts: Places) -> Entries:
    state.ledger.merge()
    keys = state.ledger.keys
    starts = keys.searchsorted(accounts << ITEM_BITS)
    stops = keys.searchsorted((accounts + 1) << ITEM_BITS)
    lengths = stops - starts
    place = np.repeat(np.arange(len(accounts)), lengths)
    total = int(lengths.sum())
    taken = np.arange(total) - np.repeat(np.cumsum(lengths) - lengths, lengths) + np.repeat(starts, lengths)
    item = keys[taken] & ((1 << ITEM_BITS) - 1)
    amount, cost = state.ledger.amounts[taken], state.ledger.costs[taken]
    columns = state.columns
    whole = np.where(columns.is_asset[item], amount - cost, amount * columns.multiplier_whole[item])
    keep = (amount != 0) | (cost != 0)
    return Entries(place[keep], item[keep], (whole.astype(float) / columns.divisor[item])[keep])


def _of_model(
    state: State, table: Table, accounts: Places, members: Places, entries: Entries, *, with_orders: bool
) -> Floats:
    """[4, members]: equity, initial, maintenance, gross; not a number where a row has no line."""
    out = np.zeros((4, len(members)))
    length = population.chunk_length(table)
    line_of = np.full(len(state.items), -1, np.int64)
    line_of[: len(table.line_of)] = table.line_of
    for first in range(0, len(members), length):
        chunk = members[first : first + length]
        quantities, unknown = _dense(table, line_of, chunk, entries)
        figures = population.figures(table, quantities)
        initial, maintenance = figures.totals
        if with_orders:
            initial = _with_orders(state, table, accounts[chunk], quantities, initial)
        found = np.stack([figures.equity, initial, maintenance, figures.gross])
        found[:, unknown] = np.nan
        out[:, first : first + length] = found
    return out


def _dense(table: Table, line_of: Places, chunk: Places, entries: Entries) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Quantities [accounts of the chunk, lines], and which accounts hold what has no line."""
    start, stop = entries.place.searchsorted([chunk[0], chunk[-1] + 1])
    span = slice(int(start), int(stop))
    place, line = entries.place[span], line_of[entries.item[span]]
    row = chunk.searchsorted(place)
    own = chunk[np.minimum(row, len(chunk) - 1)] == place
    unknown = np.zeros(len(chunk), bool)
    unknown[row[own & (line < 0)]] = True
    own &= line >= 0
    quantities = np.zeros((len(chunk), len(table.lines)))
    quantities[row[own], line[own]] = entries.quantity[span][own]
    return quantities, unknown


def _with_orders(state: State, table: Table, accounts: Places, quantities: Floats, initial: Floats) -> Floats:
    """Initial margin, raised to the bound where there are open orders (ORD-9)."""
    if not state.book.by_account:
        return initial
    with_some = np.array([at for at, account in enumerate(accounts.tolist()) if account in state.book.by_account], int)
    if not len(with_some):
        return initial
    orders = [(row, order) for row, at in enumerate(with_some) for order in state.book.of_account(int(accounts[at]))]
    raised = initial.copy()
    bound = bounds.initial(table, quantities[with_some], gather_orders(state, table, orders))
    raised[with_some] = np.maximum(initial[with_some], bound)
    return raised


def gather_orders(state: State, table: Table, orders: Sequence[tuple[int, Order]]) -> bounds.Orders:
    """Orders as arrays, with the place of their account."""
    rows = np.array([row for row, _ in orders], np.int64)
    lines = np.array([table.line_of[order.item] for _, order in orders], np.int64)
    items = [state.items[order.item] for _, order in orders]
    units = np.array([item.units(order.remaining) for item, (_, order) in zip(items, orders, strict=True)])
    costs = [item.cost(order.remaining, order.price) for item, (_, order) in zip(items, orders, strict=True)]
    fees = [item.fee(cost, item.fee_ppm) for item, cost in zip(items, costs, strict=True)]
    whole_unit = np.array([10.0 ** state.items[item.settlement].decimals for item in items])
    return bounds.Orders(rows, lines, units, np.array(costs, float) / whole_unit, np.array(fees, float) / whole_unit)


class One(NamedTuple):
    """The margin of one account; `values` is the value at the mark of each contract, numeraire."""

    equity: float
    initial: float
    maintenance: float
    values: dict[int, float]


def one(state: State, account: int, *, with_orders: bool = True) -> One:
    """The margin of one account, sums in the order of lines.

    Raises:
        InvariantError: its model has no table, or a row has no line.
    """
    table = table_of(state, account)
    quantities = dense_row(state, table, account)
    found = population.figures(table, quantities)
    initial, maintenance = found.totals
    if with_orders:
        initial = _with_orders(state, table, np.array([account]), quantities, initial)
    worth = quantities[0] * table.today
    held = [item for item in state.ledger.rows(account) if not state.items[item].is_asset]
    values = {item: float(worth[table.line_of[item]]) for item in held}
    equity = 0.0
    for value in worth.tolist():
        equity += value
    return One(equity, float(initial[0]), float(maintenance[0]), values)


def dense_row(state: State, table: Table, account: int) -> Floats:
    """Quantities of one account, [1, lines].

    Raises:
        InvariantError: a row has no line.
    """
    quantities = np.zeros((1, len(table.lines)))
    for item, (amount, cost) in state.ledger.rows(account).items():
        line = int(table.line_of[item]) if item < len(table.line_of) else -1
        invariant(line >= 0, f"account {account} holds item {item}, which has no line")
        quantities[0, line] = state.items[item].units(amount - cost if state.items[item].is_asset else amount)
    return quantities


def table_of(state: State, account: int) -> Table:
    """The table of an account's model.

    Raises:
        InvariantError: nothing was ever marked.
    """
    table = state.models[int(state.account_models[account])].table
    if table is None:
        invariant(False, "there is no table before the first definition of a model")  # noqa: FBT003
        raise AssertionError
    return table


def components(state: State, account: int) -> dict[str, tuple[float, float]]:
    """Components of TAB-9: (initial, maintenance)."""
    table = table_of(state, account)
    margin = one(state, account)
    found = population.figures(table, dense_row(state, table, account))
    parts = {name: found.parts.get(name, np.zeros((2, 1))) for name in population.COMPONENTS}
    named = {name: (float(part[0, 0]), float(part[1, 0])) for name, part in parts.items()}
    return named | {"orders": (margin.initial - float(found.totals[0, 0]), 0.0)}
