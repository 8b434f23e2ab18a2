"""An account as the kernel sees it: two arrays, the line and the quantity of each position, sorted by line.

What lives here: turning a portfolio into those arrays and back into numbers with names. The kernel computes.
"""

from dataclasses import dataclass

import numpy as np

from holdfast.domain.instruments import Instrument
from holdfast.domain.portfolio import Portfolio
from holdfast.margin import kernel
from holdfast.margin.table import COMPONENTS, MARGIN_FIELDS, Component, Floats, Integers, RiskTable


@dataclass(frozen=True)
class Account:
    """Positions of one account, ascending by line.

    Attributes:
        line: [n] int32.
        quantity: [n]; on asset lines cash − cost (TAB-2).
    """

    line: Integers
    quantity: Floats

    def with_change(self, changes: dict[int, float]) -> "Account":
        """The account after adding quantities to lines."""
        total = dict(zip(self.line.tolist(), self.quantity.tolist(), strict=True))
        for line, change in changes.items():
            total[line] = total.get(line, 0.0) + change
        return account_of_lines(total)


def account_of_lines(quantities: dict[int, float]) -> Account:
    """An account from quantities by line; zeros are kept, so that a line stays visible."""
    lines = sorted(quantities)
    return Account(np.array(lines, np.int32), np.array([quantities[n] for n in lines], np.float64))


def account_of(table: RiskTable, portfolio: Portfolio) -> Account:
    """The cross part of a portfolio on a table that has all its lines."""
    quantities: dict[int, float] = {}
    costs: dict[str, float] = {}
    for position in sorted(portfolio.lines(), key=lambda p: p.instrument):
        quantities[table.line_of_instrument[position.instrument]] = position.quantity
        settlement = position.instrument.settlement
        costs[settlement] = costs.get(settlement, 0.0) + position.cost
    for asset in sorted(assets_of(portfolio) | set(costs)):
        quantities[table.line_of_asset[asset]] = portfolio.balances.get(asset, 0.0) - costs.get(asset, 0.0)
    return account_of_lines(quantities)


def instruments_of(portfolio: Portfolio) -> set[Instrument]:
    """Every contract that the cross part of a portfolio holds or has orders for."""
    return {p.instrument for p in portfolio.lines()} | {o.instrument for o in portfolio.orders if o.quantity != 0.0}


def assets_of(portfolio: Portfolio) -> set[str]:
    """Every asset that the cross part of a portfolio has a balance of; what is 0 needs no price."""
    return {asset for asset, balance in portfolio.balances.items() if balance != 0.0}


@dataclass(frozen=True)
class Figures:
    """What the kernel says about one account, in the numeraire.

    Attributes:
        equity: Σ quantity × value today.
        initial: Initial requirement by component.
        maintenance: Maintenance requirement by component.
    """

    equity: float
    initial: dict[str, float]
    maintenance: dict[str, float]

    @property
    def initial_margin(self) -> float:
        """The sum of the initial components from left to right."""
        return _sum_in_order(self.initial)

    @property
    def maintenance_margin(self) -> float:
        """The sum of the maintenance components from left to right."""
        return _sum_in_order(self.maintenance)

    @property
    def available(self) -> float:
        """Equity less initial margin."""
        return self.equity - self.initial_margin


def _sum_in_order(components: dict[str, float]) -> float:
    total = 0.0
    for value in components.values():
        total += value
    return total


def figures_of(table: RiskTable, account: Account) -> Figures:
    """Equity and components of one account, by the kernel."""
    out = np.empty(MARGIN_FIELDS)
    kernel.account(table.arrays, account.line, account.quantity, 0, len(account.line), out)
    return named_figures(out)


def named_figures(out: Floats) -> Figures:
    """The kernel's output row with names."""
    initial = out[kernel.INITIAL : kernel.INITIAL + COMPONENTS].tolist()
    maintenance = out[kernel.MAINTENANCE : kernel.MAINTENANCE + COMPONENTS].tolist()
    labels = [c.label for c in Component]
    return Figures(float(out[0]), dict(zip(labels, initial, strict=True)), dict(zip(labels, maintenance, strict=True)))
