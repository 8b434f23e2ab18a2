"""The simple book: the open orders of all accounts on one item, as a liquidation meets them.

Price first, then time. What may not live here: who may trade, and matching for anybody but a liquidation (venues match
their own books and send fills).
"""

import numpy as np

from holdfast.compilation import compiled
from holdfast.core.orders import cancel_order
from holdfast.core.state import Account, Counter, Counts, Open, State

ACCOUNT, ITEM, REMAINING, PRICE = int(Open.ACCOUNT), int(Open.ITEM), int(Open.REMAINING), int(Open.PRICE)
COMMAND, ORDER_SLOTS = int(Open.COMMAND), int(Counter.ORDER_SLOTS)
VERSION, DIRTY, ORDERS = int(Account.VERSION), int(Account.DIRTY), int(Account.ORDERS)
ORDER_COUNT = int(Account.ORDER_COUNT)


@compiled
def slots_against(state: State, item: int, lots: int, account: int) -> Counts:
    """Slots of the orders that a change of `lots` on an item would meet, the best first, an account's own left out."""
    count = 0
    found = np.empty(state.counters[ORDER_SLOTS], np.int64)
    for slot in range(state.counters[ORDER_SLOTS]):
        remaining = state.orders[slot, REMAINING]
        if remaining == 0 or state.orders[slot, ITEM] != item or (remaining > 0) == (lots > 0):
            continue
        if state.orders[slot, ACCOUNT] == account:
            continue
        k = count
        while k > 0 and goes_before(state, slot, found[k - 1], lots):
            found[k] = found[k - 1]
            k -= 1
        found[k] = slot
        count += 1
    return found[:count]


@compiled
def goes_before(state: State, slot: int, other: int, lots: int) -> bool:
    """Whether an order has a better price for a taker of `lots`, or the same and came earlier."""
    price, others = state.orders[slot, PRICE], state.orders[other, PRICE]
    if price != others:
        return price < others if lots > 0 else price > others
    return state.orders[slot, COMMAND] < state.orders[other, COMMAND]


@compiled
def cancel_all_of(state: State, account: int) -> int:
    """Cancel every open order of an account; how many there were."""
    count = 0
    while state.accounts[account, ORDER_COUNT] > 0:
        cancel_order(state, account, state.accounts[account, ORDERS])
        count += 1
    return count


@compiled
def cancel_on_item(state: State, item: int) -> int:
    """Cancel every open order on an item, whoever placed it; how many there were."""
    count = 0
    for slot in range(state.counters[ORDER_SLOTS]):
        if state.orders[slot, REMAINING] != 0 and state.orders[slot, ITEM] == item:
            account = state.orders[slot, ACCOUNT]
            cancel_order(state, account, slot)
            state.accounts[account, VERSION] += 1
            state.accounts[account, DIRTY] = 1
            count += 1
    return count
