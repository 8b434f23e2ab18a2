"""One stage of a liquidation: the plan is checked, filled on the book, and what cannot be filled is taken over.

    LIQUIDATING ── filled, equity ≥ initial margin ────▶ HEALTHY
        ├───────── still short ────────────────────────▶ LIQUIDATING (another stage, when the book has filled up)
        └───────── equity ≤ a quarter of maintenance ──▶ taken over by the insurance fund ──▶ HEALTHY, empty
                                  the fund cannot bear it ─▶ deleveraged, losses shared ──▶ HEALTHY, empty

What may not live here: how plans are made (`liquidity`), the fills (`execution`), the takeover (`takeover`).
Specification: specs/liquidation.md.
"""

import numpy as np

from holdfast.core.cold.checkpoints import is_held
from holdfast.core.ledger import amounts_of
from holdfast.core.liquidation.execution import fill_on_book
from holdfast.core.liquidation.takeover import Takeover, take_over
from holdfast.core.machine import Machine
from holdfast.core.margins import totals_on
from holdfast.core.marks import is_stale
from holdfast.core.posting import touch
from holdfast.core.state import SYSTEM_ACCOUNTS, Account, Counter, Item, Role, Status
from holdfast.core.verdict import Sender, Verdict, refused
from holdfast.domain.commands import Liquidate
from holdfast.domain.reasons import Reason
from holdfast.domain.units import LEDGER_MAXIMUM

TAKEOVER_SHARE = 0.25
"""An account with at most this share of its maintenance margin left is taken over: what is left pays for moving it."""
FILLS_MAXIMUM = 4_096
"""Fills of one reduction; what is left waits for the next stage."""


def liquidate(machine: Machine, command: Liquidate, _sender: Sender) -> Verdict:
    """Carry out one stage. `made` counts the fills, `limit` is 1 where the account was taken over."""
    reason, limit = _check(machine, command)
    if reason is not Reason.ACCEPTED:
        return refused(reason, limit)
    account = command.account
    fills: list[list[int]] = []
    for item, lots in command.reductions:
        machine.make_room()
        room = np.empty((FILLS_MAXIMUM, 4), np.int64)
        count = fill_on_book(machine.state, machine.marked.arrays, account, item, lots, room)
        fills += room[:count].tolist()
    equity, initial, maintenance = _totals(machine, account)
    if equity >= initial:
        _set_status(machine, account, Status.HEALTHY)
        return Verdict(made=len(fills), equity=equity, initial=initial, detail={"fills": fills})
    if equity > TAKEOVER_SHARE * maintenance and _rows_of_contracts(machine, account):
        if not fills:
            return refused(Reason.NOTHING_FILLED)
        touch(machine, account)
        return Verdict(made=len(fills), equity=equity, initial=initial, detail={"fills": fills})
    taken: Takeover = take_over(machine, account)
    _set_status(machine, account, Status.HEALTHY)
    detail = {"fills": fills, "takeover": taken._asdict(), "maintenance": maintenance}
    return Verdict(made=len(fills), limit=1, equity=equity, initial=initial, detail=detail)


def _check(machine: Machine, command: Liquidate) -> tuple[Reason, int]:
    """The first reason why a stage cannot be carried out, with its limit."""
    state, account = machine.state, command.account
    if not SYSTEM_ACCOUNTS <= account < int(state.counters[Counter.ACCOUNTS]):
        return Reason.ACCOUNT_UNKNOWN, 0
    row = state.accounts[account]
    if int(row[Account.STATUS]) != Status.LIQUIDATING:
        return Reason.NOT_LIQUIDATING, int(row[Account.STATUS])
    if int(row[Account.VERSION]) != command.version:
        return Reason.PLAN_OUTDATED, int(row[Account.VERSION])
    if is_held(machine.registry):
        return Reason.DECISIONS_FROZEN, 0
    for item in _rows_of_contracts(machine, account):
        if is_stale(state, machine.registry, int(state.items[item, Item.UNDERLYING])):
            return Reason.PRICES_STALE, item
    seen: set[int] = set()
    for item, lots in command.reductions:
        if not 0 <= item < len(machine.registry.items) or abs(lots) > LEDGER_MAXIMUM:
            return Reason.ITEM_UNKNOWN, item
        held, _ = amounts_of(state, account, item)
        if item in seen or lots == 0 or (held > 0) == (lots > 0) or abs(lots) > abs(held):
            return Reason.PLAN_INCREASES, int(held)
        seen.add(item)
    equity, _, maintenance = _totals(machine, account)
    if not command.reductions and equity > TAKEOVER_SHARE * maintenance:
        return Reason.TOO_EARLY, 0
    return Reason.ACCEPTED, 0


def _rows_of_contracts(machine: Machine, account: int) -> list[int]:
    """Items of the contracts that an account holds."""
    state = machine.state
    start, count = (int(v) for v in state.accounts[account, [Account.START, Account.COUNT]])
    return [int(i) for i in state.row_item[start : start + count] if state.items[i, Item.FORM] != 0]


def _totals(machine: Machine, account: int) -> tuple[float, float, float]:
    equity, initial, maintenance = totals_on(machine.state, machine.marked.arrays, account)
    return float(equity), float(initial), float(maintenance)


def _set_status(machine: Machine, account: int, status: Status) -> None:
    machine.state.accounts[account, Account.STATUS] = status
    touch(machine, account)


ROLES = {Liquidate: (Role.REPLICA, Role.OPERATOR)}
HANDLERS = {Liquidate: liquidate}
