"""The double-entry ledger: the only code that changes rows.

Every change is an entry (account, item, amount, cost) added to one row, written to the journal first. So a command that
turns out not to pass is undone by adding the opposite in reverse order. A row whose amount and cost are both 0 does
not exist; so the rows are a function of what was posted, whatever the way there. What may not live here: why something
is posted. Specification: specs/ledger.md.
"""

import numpy as np

from holdfast.compilation import compiled, inlined_only
from holdfast.core.arithmetic import multiply_divide, multiply_divide_up
from holdfast.core.state import (
    BLOCK_LEAST,
    NONE,
    ROWS_PER_ACCOUNT_MAXIMUM,
    SYSTEM_ACCOUNTS,
    WORLD,
    Account,
    Counter,
    Counts,
    Form,
    Item,
    State,
)
from holdfast.domain.reasons import Reason
from holdfast.domain.units import LEDGER_MAXIMUM

START, COUNT, CAPACITY, MODEL = int(Account.START), int(Account.COUNT), int(Account.CAPACITY), int(Account.MODEL)
VERSION, EXPOSURE, DIRTY = int(Account.VERSION), int(Account.EXPOSURE), int(Account.DIRTY)
POOL_TOP, BLOCK_LARGEST, FIRST_FREE = int(Counter.POOL_TOP), int(Counter.BLOCK_LARGEST), int(Counter.FIRST_FREE)
JOURNAL, POSTED, ACCOUNTS = int(Counter.JOURNAL), int(Counter.POSTED), int(Counter.ACCOUNTS)
FORM, SETTLEMENT, MULTIPLIER, DIVISOR = int(Item.FORM), int(Item.SETTLEMENT), int(Item.MULTIPLIER), int(Item.DIVISOR)
COST_NUMERATOR, COST_DENOMINATOR, MASK = int(Item.COST_NUMERATOR), int(Item.COST_DENOMINATOR), int(Item.MASK)
FEE_PPM = int(Item.FEE_PPM)
FORM_ASSET, FORM_INVERSE = int(Form.ASSET), int(Form.INVERSE)
LEDGER_LIMIT, ROWS_LIMIT = int(Reason.LEDGER_LIMIT), int(Reason.ROWS_LIMIT)
NO_PRICE, PRICE_INVALID = int(Reason.NO_PRICE), int(Reason.PRICE_INVALID)
MILLION = 1_000_000
WORLD_MAXIMUM = 1 << 61
"""The outside world owes what all accounts hold together; one more ledger amount still fits in int64."""


@inlined_only
def size_class(capacity: int) -> int:
    """Which list of free blocks a capacity belongs to: 0 for BLOCK_LEAST, one more per doubling."""
    found, size = 0, BLOCK_LEAST
    while size < capacity:
        size, found = size * 2, found + 1
    return found


@inlined_only
def take_block(state: State, capacity: int) -> int:
    """First row of a free block; the caller made sure that the pool has room (`state.pool_reserve`)."""
    head = FIRST_FREE + size_class(capacity)
    start = state.counters[head]
    if start != NONE:
        state.counters[head] = state.ledger[start, 0]
        return start
    start = state.counters[POOL_TOP]
    state.counters[POOL_TOP] = start + capacity
    state.counters[BLOCK_LARGEST] = max(state.counters[BLOCK_LARGEST], capacity)
    return start


@inlined_only
def give_block(state: State, start: int, capacity: int) -> None:
    """Put a block on the list of free ones of its size."""
    head = FIRST_FREE + size_class(capacity)
    state.ledger[start, 0] = state.counters[head]
    state.counters[head] = start


@inlined_only
def find_row(state: State, account: int, line: int) -> int:
    """The row of a line in an account's block, or where it would be inserted."""
    low = state.accounts[account, START]
    high = low + state.accounts[account, COUNT]
    while low < high:
        middle = (low + high) >> 1
        if state.row_line[middle] < line:
            low = middle + 1
        else:
            high = middle
    return low


@inlined_only
def has_row(state: State, account: int, row: int, line: int) -> bool:
    """Whether the row found for a line is that line's."""
    end = state.accounts[account, START] + state.accounts[account, COUNT]
    return row < end and state.row_line[row] == line


@inlined_only
def units_of(state: State, item: int, amount: int, cost: int) -> float:
    """What the margin kernel reads: cash − cost of an asset, in the asset; lots of a contract, in its unit."""
    if state.items[item, FORM] == FORM_ASSET:
        return np.float64(amount - cost) / np.float64(state.items[item, DIVISOR])
    return np.float64(amount * state.items[item, MULTIPLIER]) / np.float64(state.items[item, DIVISOR])


@inlined_only
def _copy_row(state: State, to: int, source: int) -> None:
    state.ledger[to, 0], state.ledger[to, 1] = state.ledger[source, 0], state.ledger[source, 1]
    state.row_item[to], state.row_line[to] = state.row_item[source], state.row_line[source]
    state.row_units[to] = state.row_units[source]


@inlined_only
def _insert_row(state: State, account: int, row: int, item: int, line: int) -> int:
    """Make room for a line at `row` of an account's block, moving the block if it is full; the row's place then."""
    count, capacity = state.accounts[account, COUNT], state.accounts[account, CAPACITY]
    start = state.accounts[account, START]
    if count == capacity:
        larger = max(BLOCK_LEAST, capacity * 2)
        moved = take_block(state, larger)
        for k in range(count):
            _copy_row(state, moved + k, start + k)
        if capacity > 0:
            give_block(state, start, capacity)
        row += moved - start
        start = moved
        state.accounts[account, START], state.accounts[account, CAPACITY] = start, larger
    k = start + count
    while k > row:
        _copy_row(state, k, k - 1)
        k -= 1
    state.ledger[row, 0], state.ledger[row, 1] = 0, 0
    state.row_item[row], state.row_line[row] = item, line
    state.accounts[account, COUNT] = count + 1
    state.accounts[account, EXPOSURE] |= state.items[item, MASK]
    return row


@inlined_only
def _remove_row(state: State, account: int, row: int) -> None:
    """Close the gap of an empty row, and see what the account is still exposed to."""
    start, count = state.accounts[account, START], state.accounts[account, COUNT] - 1
    for k in range(row, start + count):
        _copy_row(state, k, k + 1)
    exposure = 0
    for k in range(start, start + count):
        exposure |= state.items[state.row_item[k], MASK]
    state.accounts[account, COUNT], state.accounts[account, EXPOSURE] = count, exposure


@inlined_only
def add(state: State, account: int, item: int, amount: int, cost: int) -> int:
    """Add to one row, making or removing it as needed; 0, or the reason why nothing was changed."""
    line = state.lines[state.accounts[account, MODEL], item]
    if line < 0:
        return NO_PRICE
    row = find_row(state, account, line)
    held = has_row(state, account, row, line)
    if held:
        amount += state.ledger[row, 0]
        cost += state.ledger[row, 1]
    limit = WORLD_MAXIMUM if account == WORLD else LEDGER_MAXIMUM
    if abs(amount) > limit or abs(cost) > limit:
        return LEDGER_LIMIT
    multiplier = state.items[item, MULTIPLIER]
    if multiplier > 1 and abs(amount) > LEDGER_MAXIMUM // multiplier:
        return LEDGER_LIMIT
    if amount == 0 and cost == 0:
        if held:
            _remove_row(state, account, row)
        return 0
    if not held:
        if state.accounts[account, COUNT] >= ROWS_PER_ACCOUNT_MAXIMUM and account >= SYSTEM_ACCOUNTS:
            return ROWS_LIMIT
        row = _insert_row(state, account, row, item, line)
    state.ledger[row, 0], state.ledger[row, 1] = amount, cost
    state.row_units[row] = units_of(state, item, amount, cost)
    return 0


@inlined_only
def entry(state: State, account: int, item: int, amount: int, cost: int) -> None:
    """Write an entry to the journal, to be posted by `post`; one that changes nothing is left out."""
    if amount == 0 and cost == 0:
        return
    n = state.counters[JOURNAL]
    state.journal[n, 0], state.journal[n, 1], state.journal[n, 2], state.journal[n, 3] = account, item, amount, cost
    state.counters[JOURNAL] = n + 1


@compiled
def undo(state: State) -> None:
    """Take back every posted entry of the journal, the last first, and empty it."""
    for n in range(state.counters[POSTED] - 1, -1, -1):
        add(state, state.journal[n, 0], state.journal[n, 1], -state.journal[n, 2], -state.journal[n, 3])
    state.counters[JOURNAL] = state.counters[POSTED] = 0


@compiled
def post(state: State) -> int:
    """Post all entries of the journal, or none of them: 0, or the reason, the journal then being empty."""
    for n in range(state.counters[JOURNAL]):
        reason = add(state, state.journal[n, 0], state.journal[n, 1], state.journal[n, 2], state.journal[n, 3])
        if reason != 0:
            state.counters[POSTED] = n
            undo(state)
            return reason
    state.counters[POSTED] = state.counters[JOURNAL]
    return 0


@inlined_only
def commit(state: State) -> None:
    """Let the posted entries stand: a new version of each account, and an empty journal."""
    for n in range(state.counters[JOURNAL]):
        state.accounts[state.journal[n, 0], VERSION] += 1
        state.accounts[state.journal[n, 0], DIRTY] = 1
    state.counters[JOURNAL] = state.counters[POSTED] = 0


@inlined_only
def cost_of(state: State, item: int, lots: int, price: int) -> tuple[int, int]:
    """What `lots` of a contract cost at a price: the reason why it has none or 0, and settlement units, signed.

    Linear contracts and options lots × price × numerator ÷ denominator; inverse ones −lots × numerator ÷ price, where
    numerator and denominator turn lots and price steps into settlement units. Rounded half to even, for both sides.
    """
    form, numerator = state.items[item, FORM], state.items[item, COST_NUMERATOR]
    if price < 0 or (price == 0 and form == FORM_INVERSE) or price > LEDGER_MAXIMUM:
        return PRICE_INVALID, 0
    if lots > LEDGER_MAXIMUM or lots < -LEDGER_MAXIMUM:
        return LEDGER_LIMIT, 0
    if form == FORM_INVERSE:
        fits, cost = multiply_divide(-lots, numerator, price)
    else:
        if abs(lots) > LEDGER_MAXIMUM // numerator:
            return LEDGER_LIMIT, 0
        fits, cost = multiply_divide(lots * numerator, price, state.items[item, COST_DENOMINATOR])
    return (0, cost) if fits else (LEDGER_LIMIT, 0)


@inlined_only
def fee_of(state: State, item: int, cost: int) -> tuple[int, int]:
    """The fee of one side of a trade that cost `cost`: reason or 0, and settlement units, rounded up."""
    fits, fee = multiply_divide_up(abs(cost), state.items[item, FEE_PPM], MILLION)
    return (0, fee) if fits else (LEDGER_LIMIT, 0)


@inlined_only
def held_amount(state: State, account: int, item: int) -> tuple[int, int]:
    """Amount and cost of an item in an account; zeros where it has no row."""
    line = state.lines[state.accounts[account, MODEL], item]
    if line < 0:
        return 0, 0
    row = find_row(state, account, line)
    if not has_row(state, account, row, line):
        return 0, 0
    return state.ledger[row, 0], state.ledger[row, 1]


@inlined_only
def enter_side(state: State, account: int, item: int, lots: int, cost: int, fee: int) -> None:
    """Write the entries of one side of a trade: the position, its asset's row and the fee that leaves the account.

    A position that becomes flat realises its cost: it moves from `cost` of the asset's row into its cash.
    """
    settlement = state.items[item, SETTLEMENT]
    amount, before = held_amount(state, account, item)
    if amount + lots == 0:
        entry(state, account, item, lots, -before)
        entry(state, account, settlement, -(before + cost) - fee, -before)
    else:
        entry(state, account, item, lots, cost)
        entry(state, account, settlement, -fee, cost)


@compiled
def commit_entries(state: State) -> None:
    """`commit` for callers outside compiled code."""
    commit(state)


@compiled
def holders_of(state: State, item: int) -> Counts:
    """[holders, 3] account, amount and cost of every account with a row of an item, in order of accounts."""
    count = 0
    accounts = state.counters[ACCOUNTS]
    found = np.empty((accounts, 3), np.int64)
    for account in range(accounts):
        amount, cost = held_amount(state, account, item)
        if amount != 0 or cost != 0:
            found[count, 0], found[count, 1], found[count, 2] = account, amount, cost
            count += 1
    return found[:count]


@compiled
def amounts_of(state: State, account: int, item: int) -> tuple[int, int]:
    """`held_amount` for callers outside compiled code."""
    return held_amount(state, account, item)
