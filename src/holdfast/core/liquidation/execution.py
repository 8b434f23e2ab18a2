"""Filling a liquidation's reductions on the book, order by order (specs/liquidation.md).

A fill is a trade with a resting order at that order's price. Its owner's margin was reserved when the order was placed;
the liquidated account pays the liquidation fee to the insurance fund. A fill that would leave the account with less
than nothing is not made: beyond its bankruptcy price an account has nothing left to pay with.
"""

from holdfast.compilation import compiled
from holdfast.core.arithmetic import multiply_divide_up
from holdfast.core.book import slots_against
from holdfast.core.ledger import commit, cost_of, enter_side, entry, post, undo
from holdfast.core.margins import Tables, totals_on
from holdfast.core.orders import reduce_order
from holdfast.core.state import INSURANCE, Counts, Item, Open, State

REMAINING, PRICE, OWNER = int(Open.REMAINING), int(Open.PRICE), int(Open.ACCOUNT)
SETTLEMENT, FEE_PPM = int(Item.SETTLEMENT), int(Item.LIQUIDATION_FEE_PPM)
MILLION = 1_000_000


@compiled
def fill_resting(state: State, tables: Tables, account: int, slot: int, item: int, lots: int) -> bool:
    """Fill `lots` of a resting order for an account under liquidation; whether it was done."""
    owner = state.orders[slot, OWNER]
    reason, cost = cost_of(state, item, lots, state.orders[slot, PRICE])
    if reason != 0:
        return False
    fits, fee = multiply_divide_up(abs(cost), state.items[item, FEE_PPM], MILLION)
    if not fits:
        return False
    enter_side(state, account, item, lots, cost, fee)
    enter_side(state, owner, item, -lots, -cost, 0)
    entry(state, INSURANCE, state.items[item, SETTLEMENT], fee, 0)
    if post(state) != 0:
        return False
    equity, _, _ = totals_on(state, tables, account)
    if not equity >= 0.0:
        undo(state)
        return False
    reduce_order(state, owner, slot, -lots)
    commit(state)
    return True


@compiled
def fill_on_book(state: State, tables: Tables, account: int, item: int, lots: int, fills: Counts) -> int:
    """Fill a reduction on the book as far as its depth and the account's equity go.

    Args:
        state: Changed.
        tables: The models' tables.
        account: Under liquidation.
        item: What it reduces.
        lots: Signed change of its position.
        fills: [n, 4] room for item, lots, price and the other account of each fill; no more than n are made.

    Returns:
        How many fills were made.
    """
    made = 0
    for slot in slots_against(state, item, lots, account):
        if lots == 0 or made == len(fills):
            break
        remaining = -state.orders[slot, REMAINING]
        part = min(lots, remaining) if lots > 0 else max(lots, remaining)
        price, owner = state.orders[slot, PRICE], state.orders[slot, OWNER]
        if not fill_resting(state, tables, account, slot, item, part):
            break
        fills[made, 0], fills[made, 1], fills[made, 2], fills[made, 3] = item, part, price, owner
        made += 1
        lots -= part
    return made
