"""Margin of accounts in the state: the margin kernel on their rows.

Nothing is cached that a decision depends on: an account's margin is always that of its rows as they are, on the table
of its model as it is. What may not live here: formulas (`margin`).
"""

from typing import NamedTuple

import numpy as np

from holdfast.compilation import compiled, inlined_only
from holdfast.core.ledger import cost_of, fee_of, units_of
from holdfast.core.state import (
    NONE,
    ORDERS_PER_ACCOUNT_MAXIMUM,
    Account,
    Counter,
    Counts,
    Floats,
    Item,
    Open,
    State,
)
from holdfast.margin.kernel import Workspace, account_totals, workspace
from holdfast.margin.order_box import OrderRoom, order_room
from holdfast.margin.orders import orders_bound
from holdfast.margin.table import Arrays, LineField

START, COUNT, MODEL = int(Account.START), int(Account.COUNT), int(Account.MODEL)
ORDERS, ORDER_COUNT = int(Account.ORDERS), int(Account.ORDER_COUNT)
STATUS, DIRTY, EXPOSURE = int(Account.STATUS), int(Account.DIRTY), int(Account.EXPOSURE)
MASK, SETTLEMENT, ACCOUNTS = int(Item.MASK), int(Item.SETTLEMENT), int(Counter.ACCOUNTS)
ITEM, REMAINING, PRICE, NEXT = int(Open.ITEM), int(Open.REMAINING), int(Open.PRICE), int(Open.NEXT)
IN_ASSET = int(LineField.IN_ASSET)


class Tables(NamedTuple):
    """What the margin of any account is worked out from.

    Attributes:
        models: One risk table for each of MODELS_MAXIMUM models; unused places repeat the first.
        room: Room for the margin of one account.
        order_room: Room for the bound of its orders.
    """

    models: tuple[Arrays, ...]
    room: Workspace
    order_room: OrderRoom


def tables_of(models: tuple[Arrays, ...], items: int) -> Tables:
    """Tables with room for accounts with a row for every one of so many items."""
    assets = max(len(arrays.assets) for arrays in models)
    scenarios = max(arrays.values.shape[1] for arrays in models)
    rows = items + 1
    return Tables(
        models,
        workspace(rows, assets, scenarios),
        order_room(rows, ORDERS_PER_ACCOUNT_MAXIMUM + 1, assets, scenarios),
    )


@inlined_only
def _totals(state: State, tables: Tables, account: int) -> tuple[float, float, float]:
    """`totals_on`, for the two functions on the way of every trade and every sweep: a call of it would cost a tenth."""
    begin = state.accounts[account, START]
    end = begin + state.accounts[account, COUNT]
    arrays = tables.models[state.accounts[account, MODEL]]
    return account_totals(arrays, state.row_line, state.row_units, begin, end, tables.room)


@compiled
def totals_on(state: State, tables: Tables, account: int) -> tuple[float, float, float]:
    """Equity, initial and maintenance margin of an account without its orders."""
    return _totals(state, tables, account)


@compiled
def orders_on(state: State, tables: Tables, account: int, initial: float) -> float:
    """What an account's open orders add to its initial margin (specs/open-orders.md), fees of their fills included."""
    count, model = state.accounts[account, ORDER_COUNT], state.accounts[account, MODEL]
    arrays = tables.models[model]
    line, asset_line = np.empty(count, np.int32), np.empty(count, np.int32)
    quantity, moved, gain = np.empty(count), np.empty(count), np.empty(count)
    slot = state.accounts[account, ORDERS]
    for n in range(count):
        item, lots = state.orders[slot, ITEM], state.orders[slot, REMAINING]
        settlement = state.items[item, SETTLEMENT]
        # What cannot be reckoned was refused when the order was placed, so the reasons need no look here.
        _, cost = cost_of(state, item, lots, state.orders[slot, PRICE])
        _, fee = fee_of(state, item, cost)
        line[n], asset_line[n] = state.lines[model, item], state.lines[model, settlement]
        quantity[n] = units_of(state, item, lots, 0)
        moved[n] = -units_of(state, settlement, cost + fee, 0)
        gain[n] = quantity[n] * arrays.lines[line[n], IN_ASSET] + moved[n]
        slot = state.orders[slot, NEXT]
    begin = state.accounts[account, START]
    end = begin + state.accounts[account, COUNT]
    room = tables.order_room
    rows, units = state.row_line, state.row_units
    bound = orders_bound(arrays, rows, units, begin, end, line, asset_line, quantity, moved, gain, room)
    return max(0.0, bound - initial)


@compiled
def margin_of(state: State, tables: Tables, account: int) -> tuple[float, float]:
    """Equity and initial margin of an account, its open orders included."""
    equity, initial, _ = _totals(state, tables, account)
    if state.accounts[account, ORDER_COUNT] > 0:
        initial += orders_on(state, tables, account, initial)
    return equity, initial


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
def figures_of(state: State, tables: Tables, accounts: Counts) -> Floats:
    """[accounts, 3] equity, initial margin with open orders, and maintenance margin of some accounts."""
    out = np.empty((len(accounts), 3))
    for n in range(len(accounts)):
        account = accounts[n]
        equity, initial, maintenance = _totals(state, tables, account)
        if state.accounts[account, ORDER_COUNT] > 0:
            initial += orders_on(state, tables, account, initial)
        out[n, 0], out[n, 1], out[n, 2] = equity, initial, maintenance
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
        equity, initial, maintenance = _totals(state, tables, account)
        if state.accounts[account, ORDER_COUNT] > 0:
            initial += orders_on(state, tables, account, initial)
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
