"""One stage of a liquidation, takeover, deleveraging and sharing (specs/liquidation.md).

What lives here: what an accepted stage does to rows and statuses. What may not: when a liquidation begins. Whether a
fill would leave equity below 0, whether an account is restored, and who is deleveraged first are decided here by the
second engine's own numbers; an engine that decided otherwise has other rows afterwards.
"""

import math
from typing import NamedTuple

from holdfast.witness import accounts, whole
from holdfast.witness.accounts import One
from holdfast.witness.contracts import Item
from holdfast.witness.ledger import INSURANCE
from holdfast.witness.state import (
    BREACH_PENDING,
    HEALTHY,
    LIQUIDATING,
    RESTRICTED,
    SYSTEM_ACCOUNTS,
    State,
)

TAKEOVER_DIVISOR = 4.0
LEVERAGE_MINIMUM = 1e-9
"""Below this, leverage ranks nobody any lower, so that a position worth nothing has a rank too."""
NOISE = 1e-4
"""Of a ledger unit, taken off before rounding up (LIQ-10)."""
SHARES = 10**12
"""The fraction of LIQ-12 is a whole number of these parts, rounded up."""


class Candidate(NamedTuple):
    """Whom a position can be closed against; the highest rank first."""

    rank: float
    account: int
    lots: int


def stage(state: State, account: int, reductions: list[tuple[int, int]]) -> None:
    """Fill the reductions, then restore, wait or take over (LIQ-5 to LIQ-7)."""
    for number, lots in reductions:
        _reduce(state, account, state.items[number], lots)
    state.ledger.versions[account] += 1
    margin = accounts.one(state, account, with_orders=False)
    if margin.equity >= margin.initial:
        state.statuses[account] = HEALTHY
    elif not (margin.equity > margin.maintenance / TAKEOVER_DIVISOR and margin.values):
        _take_over(state, account, margin)


def _reduce(state: State, account: int, item: Item, lots: int) -> None:
    """One reduction against resting orders, until it is filled or a fill would leave less than nothing."""
    left = lots
    for order in state.book.meeting(account, item.number, lots):
        part = min(abs(left), abs(order.remaining)) * (1 if lots > 0 else -1)
        cost = item.cost(part, order.price)
        fee = item.fee(cost, item.liquidation_fee_ppm)
        if _equity_after(state, account, item, part, cost + fee) < 0:
            return
        state.ledger.post_side(account, item, part, cost, fee)
        state.ledger.post_side(order.account, item, -part, -cost, 0)
        state.ledger.post(INSURANCE, item.settlement, fee)
        state.book.reduce(order, -part)
        left -= part
        if left == 0:
            return


def _equity_after(state: State, account: int, item: Item, lots: int, paid: int) -> float:
    """Equity after `lots` more of a contract and `paid` units less of its settlement asset's balance less costs."""
    table = accounts.table_of(state, account)
    rows = state.ledger.rows(account)
    wholes = {
        number: amount - cost if state.items[number].is_asset else amount for number, (amount, cost) in rows.items()
    }
    wholes[item.number] = wholes.get(item.number, 0) + lots
    wholes[item.settlement] = wholes.get(item.settlement, 0) - paid
    lines = sorted((int(table.line_of[number]), number) for number in wholes)
    equity = 0.0
    for line, number in lines:
        equity += state.items[number].units(wholes[number]) * float(table.today[line])
    return equity


def _take_over(state: State, account: int, margin: One) -> None:
    """LIQ-8 to LIQ-12."""
    state.statuses[account] = HEALTHY
    if _fund_can_bear(state, account):
        _move_all(state, account)
        return
    missing = max(0.0, -margin.equity)
    total = sum(abs(value) for value in margin.values.values())
    for number in sorted(margin.values):
        share = missing * (abs(margin.values[number]) / total) if total else 0.0
        _deleverage(state, account, state.items[number], margin.values[number], share)
    _move_all(state, account)
    _share(state)


def _fund_can_bear(state: State, account: int) -> bool:
    """LIQ-9: whether the fund with everything moved has its own maintenance margin."""
    saved = {number: state.ledger.rows(number) for number in (account, INSURANCE)}
    versions = {number: state.version(number) for number in saved}
    _move_all(state, account)
    fund = accounts.one(state, INSURANCE, with_orders=False)
    for number, rows in saved.items():
        _put_back(state, number, rows)
        state.ledger.versions[number] = versions[number]
    return fund.equity >= fund.maintenance


def _put_back(state: State, account: int, rows: dict[int, tuple[int, int]]) -> None:
    now = state.ledger.rows(account)
    for item in rows.keys() | now.keys():
        (amount, cost), (amount_now, cost_now) = rows.get(item, (0, 0)), now.get(item, (0, 0))
        state.ledger.post(account, item, amount - amount_now, cost - cost_now)


def _move_all(state: State, account: int) -> None:
    """Every row to the insurance fund: positions at their costs, then cash (LIQ-8)."""
    rows = state.ledger.rows(account)
    for number, (amount, cost) in rows.items():
        item = state.items[number]
        if not item.is_asset:
            state.ledger.post_side(account, item, -amount, -cost, 0)
            state.ledger.post_side(INSURANCE, item, amount, cost, 0)
    for number in rows:
        if state.items[number].is_asset:
            amount = state.ledger.get(account, number)[0]
            state.ledger.post(account, number, -amount)
            state.ledger.post(INSURANCE, number, amount)


def _deleverage(state: State, account: int, item: Item, value: float, share: float) -> None:
    """Close a position against the other side for its value and its share of what is missing (LIQ-10, LIQ-11).

    Ranks are taken when the position's turn has come.
    """
    table = accounts.table_of(state, account)
    worth = float(table.worth[table.asset_of[table.line_of[item.number]]])
    unit = 10 ** state.items[item.settlement].decimals
    lots = state.ledger.get(account, item.number)[0]
    price = math.ceil(value / worth * unit + share / worth * unit - NOISE)
    for candidate in _candidates(state, item, lots):
        part = min(abs(lots), abs(candidate.lots)) * (1 if lots > 0 else -1)
        received = whole.half_even(price * abs(part), abs(lots))
        if _close_against(state, account, candidate.account, item, part, received):
            lots, price = lots - part, price - received
        if lots == 0:
            return


def _close_against(state: State, account: int, other: int, item: Item, part: int, received: int) -> bool:
    """Close `part` lots for `received` units, unless the other would fall below its maintenance margin."""
    saved = {number: (state.ledger.rows(number), state.version(number)) for number in (account, other)}
    state.ledger.post_side(account, item, -part, -received, 0)
    state.ledger.post_side(other, item, part, received, 0)
    margin = accounts.one(state, other, with_orders=False)
    if margin.equity >= margin.maintenance:
        return True
    for number, (rows, version) in saved.items():
        _put_back(state, number, rows)
        state.ledger.versions[number] = version
    return False


def _candidates(state: State, item: Item, lots: int) -> list[Candidate]:
    found = []
    for account, held, cost in list(state.ledger.holders(item.number)):
        if account < SYSTEM_ACCOUNTS or held * lots >= 0 or state.status(account) not in (HEALTHY, RESTRICTED):
            continue
        found.append(Candidate(_rank(state, account, item, held, cost), account, held))
    return sorted(found, key=lambda candidate: (-candidate.rank, candidate.account))


def _rank(state: State, account: int, item: Item, lots: int, cost: int) -> float:
    """r·L where r > 0 and r/L elsewhere (LIQ-11)."""
    table = accounts.table_of(state, account)
    line = int(table.line_of[item.number])
    worth = float(table.worth[table.asset_of[line]])
    value = item.units(lots) * float(table.today[line])
    paid = float(cost) / 10 ** state.items[item.settlement].decimals * worth
    equity = accounts.one(state, account, with_orders=False).equity
    profit = (value - paid) / abs(paid) if paid else math.copysign(math.inf, value - paid)
    leverage = max(abs(value) / equity, LEVERAGE_MINIMUM) if equity > 0 else math.inf
    return profit * leverage if profit > 0 else profit / leverage


def _share(state: State) -> None:
    """LIQ-12: what the fund is short of comes out of every client's positive cash, by one fraction."""
    fund = accounts.one(state, INSURANCE, with_orders=False)
    if fund.equity >= 0:
        return
    table = accounts.table_of(state, INSURANCE)
    cash = [
        (holder, number, amount, float(table.today[table.line_of[number]]))
        for number in sorted(item.number for item in state.items if item.is_asset)
        for holder, amount, _ in list(state.ledger.holders(number))
        if holder >= SYSTEM_ACCOUNTS and amount > 0
    ]
    total = sum(state.items[number].units(amount) * worth for _, number, amount, worth in cash)
    parts = min(SHARES, math.ceil(-fund.equity / total * SHARES)) if total > 0 else 0
    for holder, number, amount, _ in cash:
        taken = whole.ceiling(amount * parts, SHARES)
        state.ledger.post(holder, number, -taken)
        state.ledger.post(INSURANCE, number, taken)


def begin(state: State, account: int) -> None:
    """A quorum moves an account to LIQUIDATING and its open orders are cancelled (LIQ-2)."""
    state.statuses[account] = LIQUIDATING
    state.quorum.ballots.pop(account, None)
    for order in state.book.of_account(account):
        state.book.remove(order)
    state.ledger.versions[account] += 1


def is_pending(state: State, account: int) -> bool:
    """Whether ballots about an account can count (QRM-2)."""
    return SYSTEM_ACCOUNTS <= account < state.accounts and state.status(account) == BREACH_PENDING
