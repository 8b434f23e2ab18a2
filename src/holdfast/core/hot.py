"""The hot loop: applies the fixed-width commands of a frame, one after the other, without a Python object.

Theory of operation. Each command goes through ordered checks, each with its one reason; then its entries are posted to
the ledger, and what depends on the result (margin on both sides of a trade) is checked on the accounts as they now are.
A command that does not pass is undone from the journal. Nothing raises: indices are checked before they are used, and
arithmetic says when it does not fit. The loop stops and returns to Python at a cold command, when an array must grow,
and when a price moved far enough to mark.

What may not live here: cold commands, marks, liquidations, anything that allocates per command in the ordinary case.
Precedence of refusals: specs/commands.md.
"""

from typing import Any

import numpy as np

from holdfast.compilation import compiled, inlined_only
from holdfast.core import sessions
from holdfast.core.arithmetic import whole
from holdfast.core.ledger import commit, cost_of, enter_side, entry, fee_of, held_amount, post, undo
from holdfast.core.margins import Tables, margin_of
from holdfast.core.orders import cancel_order, fill_order, find_order, place_order, reduce_order
from holdfast.core.quotes import take_quote
from holdfast.core.state import (
    FEES,
    NONE,
    SYSTEM_ACCOUNTS,
    Account,
    Counter,
    Flags,
    Floats,
    Form,
    Item,
    Open,
    Session,
    State,
    Status,
)
from holdfast.domain.frames import RecordKind, Records
from holdfast.domain.outcomes import Outcomes
from holdfast.domain.reasons import Reason
from holdfast.domain.units import LEDGER_MAXIMUM
from holdfast.margin.memory import borrowed, keep_alive

COLD, TRADE, ORDER, CANCEL, FILL, TRANSFER, QUOTE = (int(kind) for kind in RecordKind)
ACCOUNTS, ITEMS, NOW, MARK_DUE = int(Counter.ACCOUNTS), int(Counter.ITEMS), int(Counter.TIME), int(Counter.MARK_DUE)
POOL_TOP, BLOCK_LARGEST = int(Counter.POOL_TOP), int(Counter.BLOCK_LARGEST)
ORDER_FREE, ORDER_SLOTS = int(Counter.ORDER_FREE), int(Counter.ORDER_SLOTS)
STATUS, MODEL = int(Account.STATUS), int(Account.MODEL)
VERSION, DIRTY, ORDER_LAST = int(Account.VERSION), int(Account.DIRTY), int(Account.ORDER_LAST)
FORM, FORM_ASSET, OPEN, EXPIRY = int(Item.FORM), int(Form.ASSET), int(Item.OPEN), int(Item.EXPIRY)
SETTLEMENT, FEE_PPM = int(Item.SETTLEMENT), int(Item.FEE_PPM)
REMAINING, LIMIT_PRICE, ORDER_ITEM = int(Open.REMAINING), int(Open.PRICE), int(Open.ITEM)
NUMBER = int(Open.NUMBER)
SUBJECT = int(Session.SUBJECT)
HEALTHY, RESTRICTED, PENDING = int(Status.HEALTHY), int(Status.RESTRICTED), int(Status.BREACH_PENDING)
LIQUIDATING, BANKRUPT = int(Status.LIQUIDATING), int(Status.BANKRUPT)
FROZEN, ASIDE = int(Status.FROZEN), int(Status.ASIDE)
ACCOUNT_UNKNOWN, ACCOUNT_SYSTEM, ACCOUNT_SAME = (
    int(Reason.ACCOUNT_UNKNOWN),
    int(Reason.ACCOUNT_SYSTEM),
    int(Reason.ACCOUNT_SAME),
)
ITEM_UNKNOWN, NOT_AN_INSTRUMENT, NOT_AN_ASSET, INSTRUMENT_CLOSED = (
    int(Reason.ITEM_UNKNOWN),
    int(Reason.NOT_AN_INSTRUMENT),
    int(Reason.NOT_AN_ASSET),
    int(Reason.INSTRUMENT_CLOSED),
)
ORDER_UNKNOWN, QUANTITY_INVALID = int(Reason.ORDER_UNKNOWN), int(Reason.QUANTITY_INVALID)
FILL_BEYOND_ORDER, FILL_BEYOND_LIMIT = int(Reason.FILL_BEYOND_ORDER), int(Reason.FILL_BEYOND_LIMIT)
INITIAL_MARGIN, INITIAL_MARGIN_OTHER = int(Reason.INITIAL_MARGIN), int(Reason.INITIAL_MARGIN_OTHER)
ACCOUNT_FROZEN, ACCOUNT_FROZEN_OTHER = int(Reason.ACCOUNT_FROZEN), int(Reason.ACCOUNT_FROZEN_OTHER)
BALANCE, INTERNAL, NO_PRICE = int(Reason.BALANCE), int(Reason.INTERNAL), int(Reason.NO_PRICE)

DONE, AT_COLD, MUST_GROW, MUST_MARK = 0, 1, 2, 3
"""Why the loop stopped."""
HALVINGS = 40
"""Steps of the search for what would have passed."""


@inlined_only
def check_account(state: State, account: int) -> int:
    """0, or why an account cannot be named by a client."""
    if account >= state.counters[ACCOUNTS]:
        return ACCOUNT_UNKNOWN
    return ACCOUNT_SYSTEM if account < SYSTEM_ACCOUNTS else 0


@inlined_only
def check_contract(state: State, item: int) -> int:
    """0, or why an item cannot be traded."""
    if item >= state.counters[ITEMS]:
        return ITEM_UNKNOWN
    if state.items[item, FORM] == FORM_ASSET:
        return NOT_AN_INSTRUMENT
    expiry = state.items[item, EXPIRY]
    if state.items[item, OPEN] == 0 or (expiry > 0 and state.counters[NOW] >= expiry):
        return INSTRUMENT_CLOSED
    return 0


@inlined_only
def is_frozen(state: State, account: int) -> bool:
    """Whether nothing but the engine may touch an account."""
    status = state.accounts[account, STATUS]
    return status == LIQUIDATING or status == BANKRUPT or status == ASIDE


@inlined_only
def is_free(state: State, account: int) -> bool:
    """Whether an account may place orders and give assets away."""
    status = state.accounts[account, STATUS]
    return status == HEALTHY or status == RESTRICTED


@inlined_only
def is_quantity(lots: int) -> bool:
    """Whether a number of lots can be traded. Compared on both sides: the least int64 has no size in int64."""
    return lots != 0 and lots >= -LEDGER_MAXIMUM and lots <= LEDGER_MAXIMUM


@inlined_only
def reduces(before: int, lots: int) -> bool:
    """Whether a change makes a position smaller without turning its sign."""
    return before != 0 and (before > 0) != (lots > 0) and abs(lots) <= abs(before)


@inlined_only
def settle_status(state: State, account: int, equity: float, initial: float) -> None:
    """Between healthy and restricted after an account's own command."""
    status = state.accounts[account, STATUS]
    if status == HEALTHY or status == RESTRICTED:
        state.accounts[account, STATUS] = HEALTHY if equity >= initial else RESTRICTED


@compiled
def enter_trade(state: State, buyer: int, seller: int, item: int, lots: int, price: int) -> int:
    """Journal and post a trade with both fees: 0, or the reason, nothing then being changed."""
    reason, cost = cost_of(state, item, lots, price)
    if reason != 0:
        return reason
    fee = 0
    if state.items[item, FEE_PPM] > 0:
        reason, fee = fee_of(state, item, cost)
        if reason != 0:
            return reason
    enter_side(state, buyer, item, lots, cost, fee)
    enter_side(state, seller, item, -lots, -cost, fee)
    entry(state, FEES, state.items[item, SETTLEMENT], 2 * fee, 0)
    return post(state)


@compiled
def side_before(
    state: State, tables: Tables, buyer: int, seller: int, item: int, lots: int, price: int, account: int
) -> float:
    """Equity less initial margin of one side as it was before a posted trade, which is posted again after."""
    undo(state)
    equity, initial = margin_of(state, tables, account)
    enter_trade(state, buyer, seller, item, lots, price)
    return equity - initial


@compiled
def check_sides(
    state: State,
    tables: Tables,
    buyer: int,
    seller: int,
    item: int,
    lots: int,
    price: int,
    exempt_buyer: bool,  # noqa: FBT001
    exempt_seller: bool,  # noqa: FBT001
    figures: Floats,
) -> int:
    """Whether both sides of a posted trade may have it, writing equity and initial margin of both to `figures`.

    A side passes with equity ≥ initial margin; below it, if the trade makes its position smaller and does not lower
    equity less initial margin. A side whose order reserved the margin is exempt.
    """
    for side in range(2):
        account = buyer if side == 0 else seller
        change = lots if side == 0 else -lots
        equity, initial = margin_of(state, tables, account)
        figures[2 * side], figures[2 * side + 1] = equity, initial
        if (side == 0 and exempt_buyer) or (side == 1 and exempt_seller):
            continue
        if not (np.isfinite(equity) and np.isfinite(initial)):
            return INTERNAL
        status = state.accounts[account, STATUS]
        enough = equity >= initial
        if enough and (status == HEALTHY or status == RESTRICTED):
            continue
        after, _ = held_amount(state, account, item)
        smaller = reduces(after - change, change)
        if not smaller:
            if status == PENDING or status == FROZEN:
                return ACCOUNT_FROZEN + side
            return INITIAL_MARGIN + side
        if not enough and equity - initial < side_before(state, tables, buyer, seller, item, lots, price, account):
            return INITIAL_MARGIN + side
    return 0


@compiled
def largest_passing(
    state: State, tables: Tables, buyer: int, seller: int, item: int, lots: int, price: int, figures: Floats
) -> int:
    """A signed number of lots, at most `lots`, that would have passed, by halving; the state is as before."""
    low, high = 0, abs(lots)
    sign = 1 if lots > 0 else -1
    for _ in range(HALVINGS):
        if high - low <= 1:
            break
        middle = low + (high - low) // 2
        passes = enter_trade(state, buyer, seller, item, sign * middle, price) == 0
        if passes:
            reason = check_sides(state, tables, buyer, seller, item, sign * middle, price, False, False, figures)
            passes = reason == 0
            undo(state)
        low, high = (middle, high) if passes else (low, middle)
    return sign * low


@inlined_only
def missing_units(equity: float, initial: float) -> int:
    """How much equity is missing to the initial margin, in millionths of the numeraire, rounded up."""
    missing = np.ceil((initial - equity) * 1e6)
    # What is no number has no integer that every processor agrees on.
    return whole(min(missing, 7e16)) if missing > 0.0 else 0


@inlined_only
def apply_trade(state: State, tables: Tables, record: Any, outcome: Any, figures: Floats, kind: int) -> int:
    """A bilateral trade (kind TRADE) or a fill of orders (kind FILL); 0 or the reason."""
    buyer, seller, item = whole(record.account), whole(record.other), whole(record.instrument)
    lots, price, is_fill = record.quantity, record.price, kind == FILL
    for side in range(2):
        reason = check_account(state, buyer if side == 0 else seller)
        if reason != 0:
            return reason
    if buyer == seller:
        return ACCOUNT_SAME
    reason = check_contract(state, item)
    if reason != 0:
        return reason
    if not is_quantity(lots) or (is_fill and lots < 0):
        return QUANTITY_INVALID
    buy_slot, sell_slot = NONE, NONE
    if is_fill:
        reason, buy_slot = filled_order(state, buyer, record.time & 0xFFFFFFFF, item, lots, price)
        if reason != 0:
            return reason
        reason, sell_slot = filled_order(state, seller, (record.time >> 32) & 0xFFFFFFFF, item, -lots, price)
        if reason != 0:
            return reason
    if is_frozen(state, buyer):
        return ACCOUNT_FROZEN
    if is_frozen(state, seller):
        return ACCOUNT_FROZEN_OTHER
    reason = enter_trade(state, buyer, seller, item, lots, price)
    if reason != 0:
        return reason
    # What is filled is off its order before margin is asked for, and back on it where the fill does not pass.
    fill_order(state, buy_slot, lots)
    fill_order(state, sell_slot, -lots)
    reason = check_sides(state, tables, buyer, seller, item, lots, price, buy_slot != NONE, sell_slot != NONE, figures)
    outcome.equity, outcome.initial = figures[0], figures[1]
    if reason != 0:
        fill_order(state, buy_slot, -lots)
        fill_order(state, sell_slot, lots)
        undo(state)
        if reason == INITIAL_MARGIN:
            outcome.limit = missing_units(figures[0], figures[1])
        if reason == INITIAL_MARGIN_OTHER:
            outcome.limit = missing_units(figures[2], figures[3])
        if not is_fill and (reason == INITIAL_MARGIN or reason == INITIAL_MARGIN_OTHER):
            outcome.passes = largest_passing(state, tables, buyer, seller, item, lots, price, figures)
        return reason
    if buy_slot != NONE:
        reduce_order(state, buyer, buy_slot, 0)
    if sell_slot != NONE:
        reduce_order(state, seller, sell_slot, 0)
    settle_status(state, buyer, figures[0], figures[1])
    settle_status(state, seller, figures[2], figures[3])
    commit(state)
    return 0


@inlined_only
def filled_order(state: State, account: int, number: int, item: int, lots: int, price: int) -> tuple[int, int]:
    """Reason or 0, and the slot of the order that a fill of `lots` names; NONE where it names none."""
    if number == 0:
        return 0, NONE
    slot = find_order(state, account, number)
    if slot == NONE or state.orders[slot, ORDER_ITEM] != item:
        return ORDER_UNKNOWN, NONE
    remaining, limit = state.orders[slot, REMAINING], state.orders[slot, LIMIT_PRICE]
    if (remaining > 0) != (lots > 0) or abs(lots) > abs(remaining):
        return FILL_BEYOND_ORDER, NONE
    if (lots > 0 and price > limit) or (lots < 0 and price < limit):
        return FILL_BEYOND_LIMIT, NONE
    return 0, slot


@inlined_only
def apply_order(state: State, tables: Tables, record: Any, outcome: Any, command: int) -> int:
    """Place a limit order if the account could bear every outcome of its fills; 0 or the reason."""
    account, item = whole(record.account), whole(record.instrument)
    reason = check_account(state, account)
    if reason != 0:
        return reason
    reason = check_contract(state, item)
    if reason != 0:
        return reason
    if not is_quantity(record.quantity):
        return QUANTITY_INVALID
    reason, _ = cost_of(state, item, record.quantity, record.price)
    if reason != 0:
        return reason
    if not is_free(state, account):
        return ACCOUNT_FROZEN
    if state.lines[state.accounts[account, MODEL], item] < 0:
        return NO_PRICE
    reason, slot = place_order(state, account, item, record.quantity, record.price, command)
    if reason != 0:
        return reason
    equity, initial = margin_of(state, tables, account)
    outcome.equity, outcome.initial = equity, initial
    if not (equity >= initial):
        cancel_order(state, account, slot)
        state.accounts[account, ORDER_LAST] -= 1
        outcome.limit = missing_units(equity, initial)
        return INITIAL_MARGIN if np.isfinite(equity) and np.isfinite(initial) else INTERNAL
    outcome.made = state.orders[slot, NUMBER]
    state.accounts[account, VERSION] += 1
    state.accounts[account, DIRTY] = 1
    return 0


@inlined_only
def apply_cancel(state: State, record: Any, outcome: Any) -> int:
    """Cancel an open order; 0 or the reason."""
    account = whole(record.account)
    reason = check_account(state, account)
    if reason != 0:
        return reason
    slot = find_order(state, account, record.time)
    if slot == NONE:
        return ORDER_UNKNOWN
    outcome.passes = state.orders[slot, REMAINING]
    cancel_order(state, account, slot)
    state.accounts[account, VERSION] += 1
    state.accounts[account, DIRTY] = 1
    return 0


@inlined_only
def apply_transfer(state: State, tables: Tables, record: Any, outcome: Any) -> int:
    """Move an asset between accounts if the giver keeps its initial margin; 0 or the reason."""
    account, other, item = whole(record.account), whole(record.other), whole(record.instrument)
    amount = record.quantity
    for side in range(2):
        reason = check_account(state, account if side == 0 else other)
        if reason != 0:
            return reason
    if account == other:
        return ACCOUNT_SAME
    if item >= state.counters[ITEMS]:
        return ITEM_UNKNOWN
    if state.items[item, FORM] != FORM_ASSET:
        return NOT_AN_ASSET
    if amount <= 0 or amount > LEDGER_MAXIMUM:
        return QUANTITY_INVALID
    if not is_free(state, account):
        return ACCOUNT_FROZEN
    if is_frozen(state, other):
        return ACCOUNT_FROZEN_OTHER
    cash, _ = held_amount(state, account, item)
    if cash < amount:
        outcome.limit, outcome.passes = amount - cash, max(cash, 0)
        return BALANCE
    entry(state, account, item, -amount, 0)
    entry(state, other, item, amount, 0)
    reason = post(state)
    if reason != 0:
        return reason
    equity, initial = margin_of(state, tables, account)
    outcome.equity, outcome.initial = equity, initial
    if not (equity >= initial):
        undo(state)
        outcome.limit = missing_units(equity, initial)
        return INITIAL_MARGIN if np.isfinite(equity) and np.isfinite(initial) else INTERNAL
    commit(state)
    return 0


@compiled
def apply_hot(
    state: State,
    tables: Tables,
    may: Flags,
    records: Records,
    begin: int,
    first_command: int,
    outcomes: Outcomes,
) -> tuple[int, int]:
    """Apply records from `begin` on until there is a reason to stop.

    Args:
        state: Changed in place.
        tables: The models' risk tables.
        may: `sessions.MAY`.
        records: Of one frame.
        begin: The first to apply.
        first_command: Command id of record 0.
        outcomes: [records] of zeros, written.

    Returns:
        Why it stopped (DONE, AT_COLD, MUST_GROW, MUST_MARK), and the index of the first record not applied.
    """
    room = np.zeros(4)
    state, tables, records, outcomes = borrowed(state), borrowed(tables), borrowed(records), borrowed(outcomes)
    figures = borrowed(room)
    for i in range(begin, len(records)):
        record, outcome = records[i], outcomes[i]
        if record.kind == COLD:
            return AT_COLD, i
        if state.counters[POOL_TOP] + 8 * state.counters[BLOCK_LARGEST] + 64 > len(state.row_item):
            return MUST_GROW, i
        if state.counters[ORDER_FREE] == NONE and state.counters[ORDER_SLOTS] == len(state.orders):
            return MUST_GROW, i
        command = first_command + i
        outcome.command = command
        slot = sessions.slot_of(state, whole(record.session))
        number = whole(record.number)
        reason = sessions.check_turn(state, slot, record.kind, number, may)
        if reason == sessions.ALREADY_APPLIED:
            sessions.repeat(state, slot, number, outcome)
            continue
        if reason != 0:
            outcome.reason = reason
            if reason == sessions.SESSION_GAP:
                outcome.limit = state.sessions[slot, sessions.NEXT]
            continue
        if record.kind == TRADE or record.kind == FILL:
            reason = apply_trade(state, tables, record, outcome, figures, whole(record.kind))
        elif record.kind == ORDER:
            reason = apply_order(state, tables, record, outcome, command)
        elif record.kind == CANCEL:
            reason = apply_cancel(state, record, outcome)
        elif record.kind == TRANSFER:
            reason = apply_transfer(state, tables, record, outcome)
        else:
            source = state.sessions[slot, SUBJECT]
            reason = take_quote(state, whole(record.instrument), source, record.price, record.time, record.quantity)
        outcome.reason = reason
        sessions.consume(state, slot, number, command, outcome)
        if state.counters[MARK_DUE] != NONE:
            return MUST_MARK, i + 1
    keep_alive(room)
    return DONE, len(records)
