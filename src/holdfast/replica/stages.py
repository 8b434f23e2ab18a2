"""Planning the next stage of liquidations: books read from the open orders, least-cost reductions from `liquidity`.

Accounts are planned one after the other, the one furthest below first, each on what the ones before it leave of the
books. What may not live here: sending; and the rules of a stage, which the fold checks again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from holdfast.core.fold import Fold
from holdfast.core.liquidation.stages import TAKEOVER_SHARE
from holdfast.core.margins import totals_on
from holdfast.core.state import Account, Counter, Form, Item, Open, State
from holdfast.domain.commands import Liquidate
from holdfast.domain.instruments import unit_value
from holdfast.liquidity.books import Depth
from holdfast.liquidity.plan import cheapest_plan
from holdfast.margin import account as margin_account

STAGES_MAXIMUM = 512
"""Stages planned in one round; the rest wait for the next."""
PPM = 1_000_000


@dataclass
class Side:
    """One side of one item's book, best first: lots and price steps of each order."""

    lots: list[int]
    prices: list[int]

    def take(self, lots: int) -> None:
        """Remove what a reduction of `lots` > 0 would fill."""
        while lots and self.lots:
            part = min(lots, self.lots[0])
            lots, self.lots[0] = lots - part, self.lots[0] - part
            if not self.lots[0]:
                del self.lots[0], self.prices[0]


class Books:
    """The open orders by item and side, as the fold would fill them."""

    def __init__(self, state: State) -> None:
        orders = state.orders[: int(state.counters[Counter.ORDER_SLOTS])]
        orders = orders[orders[:, Open.REMAINING] != 0]
        best = np.where(orders[:, Open.REMAINING] > 0, -orders[:, Open.PRICE], orders[:, Open.PRICE])
        order = np.lexsort((orders[:, Open.COMMAND], best))
        self._sides: dict[tuple[int, bool], Side] = {}
        for row in orders[order].tolist():
            remaining = row[Open.REMAINING]
            side = self._sides.setdefault((row[Open.ITEM], remaining > 0), Side([], []))
            side.lots.append(abs(remaining))
            side.prices.append(row[Open.PRICE])

    def against(self, item: int, held: int) -> Side | None:
        """The side that a position is closed on: bids for a long one, asks for a short one; None where it is empty."""
        side = self._sides.get((item, held > 0))
        return side if side is not None and side.lots else None


def next_stages(fold: Fold, accounts: Sequence[int]) -> list[Liquidate]:
    """A stage for each account under liquidation that has one, the furthest below maintenance margin first.

    An account for which the books have nothing waits, unless so little is left of it that it is to be taken over.
    """
    if not accounts:
        return []
    books = Books(fold.machine.state)
    stages = []
    for share, account in _by_need(fold, accounts)[:STAGES_MAXIMUM]:
        if share <= TAKEOVER_SHARE:
            stages.append(Liquidate(account, int(fold.machine.state.accounts[account, Account.VERSION])))
            continue
        stage = _stage(fold, account, books)
        if stage.reductions:
            stages.append(stage)
    return stages


def _by_need(fold: Fold, accounts: Sequence[int]) -> list[tuple[float, int]]:
    """Equity over maintenance margin and account, the lowest first."""
    state, arrays = fold.machine.state, fold.machine.marked.arrays

    def share(account: int) -> float:
        equity, _, maintenance = totals_on(state, arrays, account)
        return float(equity / maintenance) if maintenance > 0.0 else -1.0

    return sorted((share(account), account) for account in accounts)


def _stage(fold: Fold, account: int, books: Books) -> Liquidate:
    """The cheapest reductions of one account on what is left of the books."""
    state = fold.machine.state
    row = state.accounts[account]
    start, end = int(row[Account.START]), int(row[Account.START] + row[Account.COUNT])
    table = fold.machine.marked.tables[int(row[Account.MODEL])]
    sides: dict[int, tuple[int, Side]] = {}
    depths, fees, lots = {}, {}, {}
    for k in range(start, end):
        item, line = int(state.row_item[k]), int(state.row_line[k])
        side = books.against(item, int(state.ledger[k, 0])) if state.items[item, Item.FORM] != Form.ASSET else None
        if side is not None:
            sides[line] = item, side
            depths[line] = _depth(fold, item, side)
            fees[line] = int(state.items[item, Item.LIQUIDATION_FEE_PPM]) / PPM
            lots[line] = Decimal(fold.machine.registry.items[item].lot)
    held = margin_account.Account(state.row_line[start:end].copy(), state.row_units[start:end].copy())
    plan = cheapest_plan(table, held, depths, fee_rate=fees, lots=lots)
    reductions = []
    for reduction in plan.reductions:
        item, side = sides[reduction.line]
        wanted = round(
            reduction.quantity * int(state.items[item, Item.DIVISOR]) / int(state.items[item, Item.MULTIPLIER])
        )
        if wanted:
            reductions.append((item, wanted))
            side.take(abs(wanted))
    return Liquidate(account, int(row[Account.VERSION]), tuple(reductions))


def _depth(fold: Fold, item: int, side: Side) -> Depth:
    """A side as `liquidity` reads it: units, and value of a unit in the numeraire."""
    row, definition = fold.machine.state.items[item], fold.machine.registry.items[item]
    instrument = definition.instrument
    units = np.array(side.lots, np.float64) * int(row[Item.MULTIPLIER]) / int(row[Item.DIVISOR])
    if instrument is None:
        return Depth(units, units)
    asset = fold.machine.marked.market.value_of(instrument.settlement)
    scale = 10**definition.decimals
    return Depth(units, np.array([unit_value(instrument, price / scale) * asset for price in side.prices]))
