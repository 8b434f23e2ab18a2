"""Looking at all accounts at once, for deleveraging and the sharing of losses: who is ranked where, who holds cash.

Compiled, because a crash asks often and of everybody. What may not live here: what is then done to them.
"""

import numpy as np

from holdfast.compilation import compiled
from holdfast.core.ledger import held_amount
from holdfast.core.margins import Tables, totals_on
from holdfast.core.state import SYSTEM_ACCOUNTS, Account, Counter, Counts, Floats, Form, Item, State, Status
from holdfast.margin.table import LineField

ACCOUNTS, START, COUNT = int(Counter.ACCOUNTS), int(Account.START), int(Account.COUNT)
MODEL, STATUS = int(Account.MODEL), int(Account.STATUS)
HEALTHY, RESTRICTED = int(Status.HEALTHY), int(Status.RESTRICTED)
FORM, FORM_ASSET, SETTLEMENT = int(Item.FORM), int(Form.ASSET), int(Item.SETTLEMENT)
MULTIPLIER, DIVISOR = int(Item.MULTIPLIER), int(Item.DIVISOR)
TODAY, IN_ASSET = int(LineField.TODAY), int(LineField.IN_ASSET)
LEAST_EQUITY, LEAST_COST, LEAST_LEVERAGE = 1e-9, 1e-12, 1e-9
"""Below them ratios would be infinite; any account that thin is looked at again before it takes part."""


@compiled
def score(profit: float, cost: float, size: float, equity: float) -> float:
    """r·L of a profit and r/L of a loss (LIQ-11): r profit over entry value, L size over equity."""
    leverage = max(size / max(equity, LEAST_EQUITY), LEAST_LEVERAGE)
    ratio = profit / max(abs(cost), LEAST_COST)
    return ratio * leverage if ratio > 0.0 else ratio / leverage


@compiled
def candidates(state: State, tables: Tables, item: int, lots: int) -> tuple[Counts, Floats]:
    """Accounts that may be deleveraged against `lots` of a contract, ascending, and the score of each."""
    count = 0
    accounts = np.empty(state.counters[ACCOUNTS], np.int64)
    scores = np.empty(state.counters[ACCOUNTS])
    settlement = state.items[item, SETTLEMENT]
    for account in range(SYSTEM_ACCOUNTS, state.counters[ACCOUNTS]):
        status = state.accounts[account, STATUS]
        if status != HEALTHY and status != RESTRICTED:
            continue
        held, cost = held_amount(state, account, item)
        if held == 0 or (held > 0) == (lots > 0):
            continue
        arrays = tables.models[state.accounts[account, MODEL]]
        line = state.lines[state.accounts[account, MODEL], item]
        units = np.float64(held * state.items[item, MULTIPLIER]) / np.float64(state.items[item, DIVISOR])
        entry = np.float64(cost) / np.float64(state.items[settlement, DIVISOR])
        equity, _, _ = totals_on(state, tables, account)
        profit, size = units * arrays.lines[line, IN_ASSET] - entry, abs(units * arrays.lines[line, TODAY])
        accounts[count], scores[count] = account, score(profit, entry, size, equity)
        count += 1
    return accounts[:count], scores[:count]


@compiled
def positive_cash(state: State) -> Counts:
    """[balances, 3] account, item and cash of every client's balance above 0, in order of accounts."""
    count = 0
    found = np.empty((1_024, 3), np.int64)
    for account in range(SYSTEM_ACCOUNTS, state.counters[ACCOUNTS]):
        start = state.accounts[account, START]
        for row in range(start, start + state.accounts[account, COUNT]):
            item = state.row_item[row]
            if state.items[item, FORM] != FORM_ASSET or state.ledger[row, 0] <= 0:
                continue
            if count == len(found):
                longer = np.empty((2 * count, 3), np.int64)
                longer[:count] = found
                found = longer
            found[count, 0], found[count, 1], found[count, 2] = account, item, state.ledger[row, 0]
            count += 1
    return found[:count]
