"""The margin of a portfolio: the one call that users, the command line and the conformance runner make.

`calculate` builds the table for the lines that a portfolio holds, hands it to the kernel, and returns a `Margin`, which
is data: figures with names, and the table and account they came from, so that explanations (`explain`) and solutions
(`solve`) can be worked out from the same numbers.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from holdfast.domain.errors import InputError
from holdfast.domain.instruments import Instrument, Kind
from holdfast.domain.market import Market
from holdfast.domain.parameters import AnyParameters
from holdfast.domain.portfolio import Portfolio, Trade
from holdfast.domain.units import asset, credit_units, from_units, requirement_units
from holdfast.margin.account import Account, Figures, account_of, assets_of, figures_of, instruments_of
from holdfast.margin.build import build_table
from holdfast.margin.orders import orders_requirement
from holdfast.margin.table import AssetField, Component, Floats, GroupField, LineField, LineTag, RiskTable
from holdfast.margin.twin import OptionGroup, Workings, haircut, workings_of


class BindingScenario(NamedTuple):
    """What decides the scan of one underlying.

    Attributes:
        label: The scenario, or the basis contingency, or the tail.
        result: Profit or loss in it, numeraire, before factors.
    """

    label: str
    result: float


class OptionMargin(NamedTuple):
    """One expiry's margin in the standard model, in venue's form: signed, mark included; (initial, maintenance)."""

    margin: tuple[float, float]
    isolated: tuple[float, float]
    unclamped_bound: tuple[float, float]


@dataclass(frozen=True)
class Margin:
    """The margin of a portfolio, in the numeraire.

    Attributes:
        portfolio: What was margined.
        market: The prices it was margined at.
        table: The risk table used.
        account: The cross part's positions on it.
        figures: Equity and components.
        isolated: The margin of each isolated part, by name.
    """

    portfolio: Portfolio
    market: Market
    table: RiskTable
    account: Account
    figures: Figures
    isolated: dict[str, "Margin"]

    @property
    def parameters(self) -> AnyParameters:
        """The model."""
        return self.table.parameters

    @property
    def equity(self) -> float:
        """Value of everything held, today."""
        return self.figures.equity

    @property
    def initial_margin(self) -> float:
        """What must be covered to open positions, orders included."""
        return self.figures.initial_margin

    @property
    def maintenance_margin(self) -> float:
        """What must be covered to keep positions."""
        return self.figures.maintenance_margin

    @property
    def available(self) -> float:
        """Equity less initial margin."""
        return self.figures.available

    @property
    def is_liquidatable(self) -> bool:
        """Whether equity is below maintenance margin; equality is safe (TAB-10)."""
        return self.equity < self.maintenance_margin

    @cached_property
    def workings(self) -> Workings:
        """Everything behind the figures, by the twin."""
        return workings_of(self.table.arrays, self.account)

    @property
    def option_value(self) -> float:
        """Σ quantity × value today over options."""
        return math.fsum(self._value_of(Kind.OPTION))

    def unrealised_profit(self, kind: Kind) -> float:
        """Value today less cost over the positions of one kind, numeraire."""
        costs = (
            p.cost * self.market.value_of(p.instrument.settlement)
            for p in self.portfolio.lines()
            if p.instrument.kind is kind
        )
        return math.fsum(self._value_of(kind)) - math.fsum(costs)

    def _value_of(self, kind: Kind) -> Iterable[float]:
        for line, quantity in zip(self.account.line.tolist(), self.account.quantity.tolist(), strict=True):
            instrument = self.table.instruments[line]
            if instrument is not None and instrument.kind is kind:
                yield quantity * float(self.table.arrays.lines[line, LineField.TODAY])

    def scenario_results(self, underlying: str) -> list[float]:
        """R[s] of one underlying for each scenario, before factors; zeros where nothing of it is held."""
        for scan in self.workings.scans:
            if self.table.underlyings[scan.underlying] == underlying:
                return [float(r) for r in scan.results[: len(self.table.scenarios)]]
        return [0.0] * len(self.table.scenarios)

    def basis_result(self, underlying: str) -> float:
        """The second reduction of one underlying, ≤ 0, before factors."""
        found = (s.basis for s in self.workings.scans if self.table.underlyings[s.underlying] == underlying)
        return next(found, 0.0)

    @property
    def binding_scenarios(self) -> dict[str, BindingScenario]:
        """What decides the scan of each underlying held; empty in the standard model."""
        return {
            self.table.underlyings[s.underlying]: self._binding(s.results, s.basis)
            for s in self.workings.scans
            if len(self.table.scenarios)
        }

    def _binding(self, results: Floats, basis: float) -> BindingScenario:
        real = results[: len(self.table.scenarios)]
        worst = int(real.argmin())
        if basis < min(0.0, float(real[worst])):
            return BindingScenario("basis " + " / ".join(self.table.basis_scenarios), basis)
        return BindingScenario(self.table.scenarios[worst], float(real[worst]))

    def collateral_credit(self, name: str) -> tuple[float, float]:
        """Value of an asset's balance less its haircut, for (initial, maintenance)."""
        index = self.table.assets.index(name)
        row = self.table.arrays.assets[index]
        tags, lines = self.table.arrays.tags, self.table.arrays.lines
        held = zip(self.account.line, self.account.quantity, strict=True)
        balance = sum(q * lines[n, LineField.IN_ASSET] for n, q in held if tags[n, LineTag.ASSET] == index)
        value = float(balance * row[AssetField.PRICE])
        return value - haircut(row, value, 0), value - haircut(row, value, 1)

    def option_margins(self, underlying: str) -> list[OptionMargin]:
        """The standard model's margin of each expiry of an underlying's options, in venue's form (STD-4 to STD-8)."""
        groups = (g for g in self.workings.option_groups if self.table.groups[g.group].underlying == underlying)
        return [self._option_margin(group) for group in groups]

    def _option_margin(self, group: OptionGroup) -> OptionMargin:
        unpaired = self.table.arrays.groups[group.group, GroupField.UNPAIRED_INITIAL :][:2] * group.unpaired
        bound = [float(group.least_payoff[1] - charge) for charge in unpaired]
        margin, isolated = ([float(group.value - r) for r in pair] for pair in (group.requirement, group.isolated))
        return OptionMargin((margin[0], margin[1]), (isolated[0], isolated[1]), (bound[0], bound[1]))

    @property
    def ledger(self) -> dict[str, str]:
        """The figures as amounts: requirements rounded up and credits down to the numeraire's ledger unit (CON-6)."""
        numeraire = asset(self.market.numeraire)
        return {
            "equity": str(from_units(credit_units(self.equity, numeraire), numeraire)),
            "initial_margin": str(from_units(requirement_units(self.initial_margin, numeraire), numeraire)),
            "maintenance_margin": str(from_units(requirement_units(self.maintenance_margin, numeraire), numeraire)),
            "available": str(from_units(credit_units(self.available, numeraire), numeraire)),
        }

    def what_if(self, trades: Iterable[Trade]) -> "Margin":
        """The margin after trades, all else unchanged (RES-5)."""
        return calculate(self.portfolio.with_trades(trades), self.market, self.parameters)

    def __str__(self) -> str:
        from holdfast.margin import report  # noqa: PLC0415 (the report knows margins, not the other way round)

        return report.text(self)

    def __repr__(self) -> str:
        return f"<Margin {self.parameters.name}: equity {self.equity:.2f}, initial {self.initial_margin:.2f}>"

    def _repr_html_(self) -> str:
        from holdfast.margin import report  # noqa: PLC0415

        return report.html(self)


def calculate(
    portfolio: Portfolio, market: Market, parameters: AnyParameters, *, lines: Iterable[Instrument] = ()
) -> Margin:
    """The margin of a portfolio.

    Args:
        portfolio: Balances, positions, open orders and isolated parts.
        market: Prices, volatilities and confidences at one instant.
        parameters: The model (see `holdfast.margin.presets`).
        lines: Further contracts to have on the table, for trades to be tried.

    Returns:
        Figures of the cross part, with those of each isolated part beside them (TAB-11).

    Raises:
        InputError: The market lacks something that the portfolio needs, or an option has expired.
    """
    portfolio.validate_against(market)
    instruments = instruments_of(portfolio) | set(lines)
    table = build_table(parameters, market, instruments, assets_of(portfolio))
    account = account_of(table, portfolio)
    figures = figures_of(table, account)
    if portfolio.orders:
        added = orders_requirement(table, account, portfolio.orders, figures.initial_margin)
        figures = replace(figures, initial=figures.initial | {Component.ORDERS.label: added})
    _check_finite(figures)
    isolated = {name: calculate(part, market, parameters) for name, part in portfolio.isolated.items()}
    return Margin(portfolio, market, table, account, figures, isolated)


def _check_finite(figures: Figures) -> None:
    """Refuse figures that are no numbers, which no comparison would ever call unsafe."""
    for name in ("equity", "initial_margin", "maintenance_margin"):
        value = getattr(figures, name)
        if not math.isfinite(value):
            advice = "look for quantities, prices or factors out of all proportion"
            raise InputError("out-of-range", name, value, advice)
