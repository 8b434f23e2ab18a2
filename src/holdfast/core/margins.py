"""Margin of accounts in the state: the margin kernel on their rows.

Nothing is cached that a decision depends on: an account's margin is always that of its rows as they are, on the table
of its model as it is. What may not live here: formulas (`margin`).
"""

import numpy as np

from holdfast.compilation import compiled, inlined
from holdfast.core.ledger import units_of
from holdfast.core.state import NONE, Account, Counter, Counts, Floats, Item, State
from holdfast.margin import kernel
from holdfast.margin.table import COMPONENTS, MARGIN_FIELDS, Arrays

START, COUNT, MODEL = int(Account.START), int(Account.COUNT), int(Account.MODEL)
ORDERS, ORDER_COUNT = int(Account.ORDERS), int(Account.ORDER_COUNT)
STATUS, DIRTY, EXPOSURE = int(Account.STATUS), int(Account.DIRTY), int(Account.EXPOSURE)
MASK, ACCOUNTS = int(Item.MASK), int(Counter.ACCOUNTS)
Tables = tuple[Arrays, ...]
"""One risk table for each of MODELS_MAXIMUM models; unused places repeat the first."""


@compiled
def figures_on(state: State, arrays: Arrays, account: int, out: Floats) -> None:
    """Write equity and all components of an account on one table to `out`, [MARGIN_FIELDS]."""
    begin = state.accounts[account, START]
    end = begin + state.accounts[account, COUNT]
    kernel.account(arrays, state.row_line, state.row_units, begin, end, out)


@compiled
def totals_on(state: State, arrays: Arrays, account: int) -> tuple[float, float, float]:
    """Equity, initial and maintenance margin of an account without its orders."""
    out = np.empty(MARGIN_FIELDS)
    figures_on(state, arrays, account, out)
    return out[0], kernel.total(out, 1), kernel.total(out, 1 + COMPONENTS)


@inlined
def margin_of(state: State, tables: Tables, account: int) -> tuple[float, float]:
    """Equity and initial margin of an account, its open orders included."""
    equity, initial, _ = totals_on(state, tables[state.accounts[account, MODEL]], account)
    if state.accounts[account, ORDER_COUNT] > 0:
        initial += orders_on(state, tables[state.accounts[account, MODEL]], account, initial)
    return equity, initial


@compiled
def orders_on(state: State, arrays: Arrays, account: int, initial: float) -> float:
    """What an account's open orders add to its initial margin (specs/open-orders.md), fees of their fills included."""
    return 0.0


@compiled
def margin_with_orders(state: State, tables: Tables, account: int) -> tuple[float, float]:
    """`margin_of` as a call of its own, for what is not on the hot path."""
    return margin_of(state, tables, account)


@compiled
def margins_of_all(state: State, tables: Tables) -> Floats:
    """[accounts, 2] equity and initial margin of every account, open orders included."""
    count = state.counters[ACCOUNTS]
    out = np.empty((count, 2))
    for account in range(count):
        equity, initial = margin_of(state, tables, account)
        out[account, 0], out[account, 1] = equity, initial
    return out


@compiled
def relabel(state: State, account: int) -> None:
    """Give an account's rows the lines of its model's table, in ascending order, and see what it is exposed to."""
    begin, model = state.accounts[account, START], state.accounts[account, MODEL]
    exposure = 0
    for k in range(begin, begin + state.accounts[account, COUNT]):
        item, amount, cost = state.row_item[k], state.ledger[k, 0], state.ledger[k, 1]
        line = state.lines[model, item]
        exposure |= state.items[item, MASK]
        to = k
        while to > begin and state.row_line[to - 1] > line:
            state.row_line[to], state.row_item[to] = state.row_line[to - 1], state.row_item[to - 1]
            state.ledger[to, 0], state.ledger[to, 1] = state.ledger[to - 1, 0], state.ledger[to - 1, 1]
            state.row_units[to] = state.row_units[to - 1]
            to -= 1
        state.row_line[to], state.row_item[to] = line, item
        state.ledger[to, 0], state.ledger[to, 1] = amount, cost
        state.row_units[to] = units_of(state, item, amount, cost)
    state.accounts[account, EXPOSURE] = exposure


@compiled
def relabel_all(state: State) -> None:
    """`relabel` every account: a linear pass, as new lines do not change the order of old ones."""
    for account in range(state.counters[ACCOUNTS]):
        relabel(state, account)


@compiled
def sweep(state: State, tables: Tables, mask: int, first: int, moves: Counts, zones: Counts) -> int:
    """Look at every account exposed to a price: its figures, and where it stands.

    Args:
        state: `figures` and statuses are changed.
        tables: The new tables.
        mask: Bits of the prices that moved.
        first: The first account whose status may change; those before have figures only.
        moves: [status, zone] the next status (`core.liquidation.lifecycle.MOVES`).
        zones: [accounts] room for the zone found, NONE where it was not looked at.

    Returns:
        How many accounts were looked at.
    """
    looked = 0
    for account in range(state.counters[ACCOUNTS]):
        zones[account] = NONE
        # Open orders may be on anything, and few accounts have any: those are always looked at.
        if state.accounts[account, EXPOSURE] & mask == 0 and state.accounts[account, ORDER_COUNT] == 0:
            continue
        looked += 1
        arrays = tables[state.accounts[account, MODEL]]
        equity, initial, maintenance = totals_on(state, arrays, account)
        if state.accounts[account, ORDER_COUNT] > 0:
            initial += orders_on(state, arrays, account, initial)
        state.figures[account, 0], state.figures[account, 1] = equity, initial
        state.figures[account, 2] = maintenance
        zone = 3
        if np.isfinite(equity) and np.isfinite(initial) and np.isfinite(maintenance):
            zone = 0 if equity >= initial else 1 if equity >= maintenance else 2
        zones[account] = zone
        if account >= first:
            before = state.accounts[account, STATUS]
            after = moves[before, zone]
            if after != before:
                state.accounts[account, STATUS] = after
                state.accounts[account, DIRTY] = 1
    return looked
