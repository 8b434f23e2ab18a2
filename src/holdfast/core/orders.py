"""Open orders as rows: placing, finding, reducing, cancelling. What may not live here: whether an order is allowed.

An account's orders are a list through `orders[:, NEXT]`, the newest first. A number is given once per account and never
again, so that a fill or a cancel cannot meet another order than the one it means.
"""

from holdfast.compilation import inlined_only
from holdfast.core.arithmetic import whole
from holdfast.core.state import (
    NONE,
    ORDER_NUMBER_MAXIMUM,
    ORDERS_PER_ACCOUNT_MAXIMUM,
    Account,
    Counter,
    Open,
    State,
)
from holdfast.domain.reasons import Reason

ACCOUNT, ITEM, REMAINING, PRICE = int(Open.ACCOUNT), int(Open.ITEM), int(Open.REMAINING), int(Open.PRICE)
NUMBER, COMMAND, NEXT = int(Open.NUMBER), int(Open.COMMAND), int(Open.NEXT)
ORDERS, ORDER_COUNT, ORDER_LAST = int(Account.ORDERS), int(Account.ORDER_COUNT), int(Account.ORDER_LAST)
ORDER_SLOTS, ORDER_FREE = int(Counter.ORDER_SLOTS), int(Counter.ORDER_FREE)
ORDERS_LIMIT = int(Reason.ORDERS_LIMIT)


@inlined_only
def place_order(state: State, account: int, item: int, lots: int, price: int, command: int) -> tuple[int, int]:
    """Add an order to an account: reason or 0, and its slot. The caller made sure that a slot is free."""
    number = state.accounts[account, ORDER_LAST] + 1
    if state.accounts[account, ORDER_COUNT] >= ORDERS_PER_ACCOUNT_MAXIMUM or number > ORDER_NUMBER_MAXIMUM:
        return ORDERS_LIMIT, NONE
    slot = state.counters[ORDER_FREE]
    if slot != NONE:
        state.counters[ORDER_FREE] = state.orders[slot, NEXT]
    else:
        slot = state.counters[ORDER_SLOTS]
        state.counters[ORDER_SLOTS] = slot + 1
    state.orders[slot, ACCOUNT], state.orders[slot, ITEM] = account, item
    state.orders[slot, REMAINING], state.orders[slot, PRICE] = lots, price
    state.orders[slot, NUMBER], state.orders[slot, COMMAND] = number, command
    state.orders[slot, NEXT] = state.accounts[account, ORDERS]
    state.accounts[account, ORDERS] = slot
    state.accounts[account, ORDER_COUNT] += 1
    state.accounts[account, ORDER_LAST] = number
    return 0, slot


@inlined_only
def find_order(state: State, account: int, number: int) -> int:
    """The slot of an account's open order, NONE for none."""
    slot = state.accounts[account, ORDERS] if state.accounts[account, ORDER_COUNT] > 0 else whole(NONE)
    while slot != NONE and state.orders[slot, NUMBER] != number:
        slot = state.orders[slot, NEXT]
    return slot


@inlined_only
def cancel_order(state: State, account: int, slot: int) -> None:
    """Take an order out of its account's list and free its slot."""
    following = state.orders[slot, NEXT]
    if state.accounts[account, ORDERS] == slot:
        state.accounts[account, ORDERS] = following
    else:
        before = state.accounts[account, ORDERS]
        while state.orders[before, NEXT] != slot:
            before = state.orders[before, NEXT]
        state.orders[before, NEXT] = following
    for field in range(state.orders.shape[1]):
        state.orders[slot, field] = 0
    state.orders[slot, NEXT] = state.counters[ORDER_FREE]
    state.counters[ORDER_FREE] = slot
    state.accounts[account, ORDER_COUNT] -= 1


@inlined_only
def fill_order(state: State, slot: int, lots: int) -> None:
    """Take lots off an order without letting go of a filled one; nothing where there is no order."""
    if slot != NONE:
        state.orders[slot, REMAINING] -= lots


@inlined_only
def reduce_order(state: State, account: int, slot: int, lots: int) -> None:
    """Take filled lots off an order; a filled one is gone."""
    state.orders[slot, REMAINING] -= lots
    if state.orders[slot, REMAINING] == 0:
        cancel_order(state, account, slot)
