"""What remains of an account after the book: the insurance fund, deleveraging, and the sharing of losses.

Takeover: every row of the account moves to the insurance fund. The account then holds nothing and owes nothing, so the
price of each transfer is, by construction, its bankruptcy price: an equity above 0 is the fund's gain, one below its
loss. The fund takes over only what it can bear: its equity after must cover its own maintenance margin.

Deleveraging: what the fund cannot bear is closed against accounts on the other side, at the bankruptcy price: the
account's missing equity is spread over its positions by their size at the mark, and each counterparty gives up its part
of that, pro rata. Counterparties are ranked by unrealised profit per entry value times leverage, highest first, and
each is looked at again after: one that would fall below its own maintenance margin is left out.

Sharing: what nobody took moves to the fund after all, and what the fund is then short of is taken from every account
with cash, the same fraction of each balance. Specification: specs/liquidation.md.
"""

from typing import NamedTuple

import numpy as np

from holdfast.core import ledger
from holdfast.core.book import cancel_all_of
from holdfast.core.ledger import amounts_of
from holdfast.core.liquidation.ranking import candidates, positive_cash
from holdfast.core.machine import Machine
from holdfast.core.margins import totals_on
from holdfast.core.posting import enter, post_all
from holdfast.core.registry import Alarm, with_alarm
from holdfast.core.state import INSURANCE, Account, Form, Item
from holdfast.domain.errors import invariant
from holdfast.domain.reasons import Reason
from holdfast.domain.units import Rounding, divide
from holdfast.margin.table import LineField

MICRO = 1_000_000
"""Values in the numeraire are counted in millionths here."""
UNIT_NOISE = 1e-4
"""Of a ledger unit: what doubles may be off by where the exact amount is whole."""


class Takeover(NamedTuple):
    """What a takeover did.

    Attributes:
        equity: Of the account before, in millionths of the numeraire.
        by_fund: Whether the fund took everything at once.
        deleveraged: (account, item, lots) that counterparties closed.
        shared: What was taken from all accounts with cash, in millionths of the numeraire.
    """

    equity: int
    by_fund: bool
    deleveraged: list[tuple[int, int, int]]
    shared: int


def take_over(machine: Machine, account: int) -> Takeover:
    """Empty an account that can no longer be liquidated on the book."""
    cancel_all_of(machine.state, account)
    equity = _micro(_equity(machine, account))
    if _move_everything(machine, account, forced=False):
        return Takeover(equity, by_fund=True, deleveraged=[], shared=0)
    deleveraged = _deleverage(machine, account)
    moved = _move_everything(machine, account, forced=True)
    invariant(moved, f"account {account} could not be taken over")
    return Takeover(equity, by_fund=False, deleveraged=deleveraged, shared=share_losses(machine))


def _micro(value: float) -> int:
    return int(np.floor(value * MICRO))


def _totals(machine: Machine, account: int) -> tuple[float, float, float]:
    return totals_on(machine.state, machine.marked.arrays, account)


def _equity(machine: Machine, account: int) -> float:
    return float(_totals(machine, account)[0])


def _rows(machine: Machine, account: int) -> list[tuple[int, int, int]]:
    """(item, amount, cost) of each row of an account, in ascending order of items."""
    state = machine.state
    start, count = (int(v) for v in state.accounts[account, [Account.START, Account.COUNT]])
    amounts = state.ledger[start : start + count].tolist()
    items = state.row_item[start : start + count].tolist()
    return sorted((item, amount, cost) for item, (amount, cost) in zip(items, amounts, strict=True))


def _enter_side(machine: Machine, account: int, item: int, lots: int, cost: int) -> None:
    """`ledger.enter_side` without a fee, for journals of any length."""
    settlement = int(machine.state.items[item, Item.SETTLEMENT])
    amount, before = amounts_of(machine.state, account, item)
    if amount + lots == 0:
        enter(machine, account, item, lots, -before)
        enter(machine, account, settlement, -(before + cost), -before)
    else:
        enter(machine, account, item, lots, cost)
        enter(machine, account, settlement, 0, cost)


def _move_everything(machine: Machine, account: int, *, forced: bool) -> bool:
    """Move every row of an account to the fund; unless forced, only if the fund can bear it."""
    machine.make_room()
    for item, amount, cost in _rows(machine, account):
        if machine.state.items[item, Item.FORM] == Form.ASSET:
            enter(machine, account, item, -amount, 0)
            enter(machine, INSURANCE, item, amount, 0)
        else:
            _enter_side(machine, account, item, -amount, -cost)
            _enter_side(machine, INSURANCE, item, amount, cost)
    if post_all(machine) is not Reason.ACCEPTED:
        return False
    equity, _, maintenance = _totals(machine, INSURANCE)
    if not forced and not equity >= maintenance:
        ledger.undo(machine.state)
        return False
    ledger.commit_entries(machine.state)
    return True


class _Part(NamedTuple):
    """A position to deleverage: what its closing must bring, in settlement units."""

    item: int
    lots: int
    worth: int


def _parts(machine: Machine, account: int) -> list[_Part]:
    """The positions with what each must be closed at, the missing equity spread by size at the mark."""
    state = machine.state
    held = [(i, q) for i, q, _ in _rows(machine, account) if state.items[i, Item.FORM] != Form.ASSET]
    missing = max(0.0, -_equity(machine, account))
    sizes = [abs(_value(machine, account, i, q, LineField.TODAY)) for i, q in held]
    total = sum(sizes)
    parts = []
    for (item, lots), size in zip(held, sizes, strict=True):
        share = missing * size / total if total > 0.0 else missing / len(held)
        settlement = int(state.items[item, Item.SETTLEMENT])
        price = _value(machine, account, settlement, int(state.items[settlement, Item.DIVISOR]), LineField.TODAY)
        units = int(state.items[settlement, Item.DIVISOR])
        worth = _value(machine, account, item, lots, LineField.IN_ASSET) + share / price
        # What is whole by construction must not become one more by the noise of doubles.
        parts.append(_Part(item, lots, int(np.ceil(worth * units - UNIT_NOISE))))
    return parts


def _value(machine: Machine, account: int, item: int, amount: int, field: LineField) -> float:
    """Value at the mark of an amount of an item, in the numeraire or the settlement asset."""
    state = machine.state
    model = int(state.accounts[account, Account.MODEL])
    line = int(state.lines[model, item])
    row = state.items[item]
    units = float(amount * int(row[Item.MULTIPLIER])) / float(row[Item.DIVISOR])
    return units * float(machine.marked.arrays.models[model].lines[line, field])


def _deleverage(machine: Machine, account: int) -> list[tuple[int, int, int]]:
    """Close positions against ranked accounts on the other side; what was closed."""
    closed = []
    for part in _parts(machine, account):
        left, worth = part.lots, part.worth
        for other in _ranked(machine, part.item, part.lots):
            held, _ = amounts_of(machine.state, other, part.item)
            lots = min(left, -int(held)) if left > 0 else max(left, -int(held))
            price = divide(worth * lots, left, Rounding.HALF_EVEN)
            if lots and _close_against(machine, account, other, part.item, lots, price):
                closed.append((other, part.item, lots))
                left, worth = left - lots, worth - price
            if left == 0:
                break
    return closed


def _ranked(machine: Machine, item: int, lots: int) -> list[int]:
    """Accounts holding the opposite of `lots`, the highest score first, the lower number among equals."""
    accounts, scores = candidates(machine.state, machine.marked.arrays, item, lots)
    ranked: list[int] = accounts[np.argsort(-scores, kind="stable")].tolist()
    return ranked


def _close_against(machine: Machine, account: int, other: int, item: int, lots: int, worth: int) -> bool:
    """Close `lots` of the account's position with another for `worth`, unless that endangers the other."""
    machine.make_room()
    _enter_side(machine, account, item, -lots, -worth)
    _enter_side(machine, other, item, lots, worth)
    if post_all(machine) is not Reason.ACCEPTED:
        return False
    equity, _, maintenance = _totals(machine, other)
    if not equity >= maintenance:
        ledger.undo(machine.state)
        return False
    ledger.commit_entries(machine.state)
    return True


def share_losses(machine: Machine) -> int:
    """Take what the fund is short of from every account's cash, the same fraction of each balance; how much it was.

    Returns:
        Millionths of the numeraire; 0 where the fund is not short.
    """
    short = -_equity(machine, INSURANCE)
    if short <= 0.0:
        return 0
    balances = [(account, item, cash) for account, item, cash in positive_cash(machine.state).tolist()]
    by_item: dict[int, int] = {}
    for _, item, cash in balances:
        by_item[item] = by_item.get(item, 0) + cash
    total = sum(_value(machine, INSURANCE, item, cash, LineField.TODAY) for item, cash in by_item.items())
    fraction = min(MICRO**2, int(np.ceil(short / total * MICRO**2))) if total > 0.0 else 0
    machine.make_room()
    for account, item, cash in balances:
        part = divide(cash * fraction, MICRO**2, Rounding.CEILING)
        enter(machine, account, item, -part, 0)
        enter(machine, INSURANCE, item, part, 0)
    reason = post_all(machine)
    invariant(reason is Reason.ACCEPTED, f"the sharing of a loss was refused: {reason.name}")
    ledger.commit_entries(machine.state)
    text = f"{short:.2f} of losses were shared by {len({a for a, _, _ in balances})} accounts"
    machine.registry = with_alarm(machine.registry, Alarm(0, "loss sharing", text))
    return _micro(short)
