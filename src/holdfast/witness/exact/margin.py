"""The margin of an account, exact (TAB-9, RES-1, ORD-9), and the comparison of a claimed one with it.

What lives here: components, their sums, and what disagrees. What may not: how a component comes about.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isfinite

from holdfast.witness.exact import charges as charging
from holdfast.witness.exact import standard
from holdfast.witness.exact.book import Book, Holdings, book
from holdfast.witness.exact.charges import Stage
from holdfast.witness.exact.collateral import balances, collateral
from holdfast.witness.exact.inputs import Contract, Order
from holdfast.witness.exact.intervals import NOTHING, ZERO, Interval, greatest, total
from holdfast.witness.exact.parameters import StandardModel
from holdfast.witness.exact.scan import scan
from holdfast.witness.exact.table import Table

COMPONENTS = ("scan", "options", "charges", "netted", "offset", "confidence", "depeg", "collateral", "orders")


@dataclass(frozen=True)
class Exact:
    """An account's figures in the numeraire; the true number lies within each interval.

    Attributes:
        equity: Σ q·V0 over all lines.
        initial: Initial margin, open orders included.
        maintenance: Maintenance margin.
        components: By name of TAB-9 (initial, maintenance).
        gross: Σ |q·V0|, what a rounding of floats is relative to.
    """

    equity: Interval
    initial: Interval
    maintenance: Interval
    components: Mapping[str, tuple[Interval, Interval]]
    gross: Fraction


def margin(table: Table, holdings: Holdings, orders: Sequence[Order] = ()) -> Exact:
    """Equity and margin of an account.

    Args:
        table: The risk table of its model.
        holdings: By item (amount, cost) as in the ledger; what is missing is 0.
        orders: Its open orders.

    Raises:
        InputError: An item without a line, or an order that cannot be.
    """
    plain = book(table, holdings)
    worth = {name: table.lines[name].v0.times(quantity) for name, quantity in plain.held.items()}
    held, scanned = balances(table, worth), scan(table, plain)
    initial = requirement(table, plain, held, scanned, "initial")
    maintenance = requirement(table, plain, held, scanned, "maintenance")
    initial["orders"] = _orders(table, holdings, orders, held, total(initial.values())) if orders else NOTHING
    values = worth.values()
    return Exact(
        total(values),
        total(initial.values()),
        total(maintenance.values()),
        {name: (initial[name], maintenance.get(name, NOTHING)) for name in COMPONENTS},
        sum((max(abs(each.low), abs(each.high)) for each in values), ZERO),
    )


def _orders(
    table: Table, holdings: Holdings, orders: Sequence[Order], held: Mapping[str, Interval], without: Interval
) -> Interval:
    """The component `orders` (ORD-9)."""
    bounding = book(table, holdings, orders)
    required = requirement(table, bounding, held, scan(table, bounding), "initial")
    return greatest(NOTHING, total(required.values()) + bounding.loss_to_mark - without)


def requirement(
    table: Table, account: Book, held: Mapping[str, Interval], scanned: Interval, stage: Stage
) -> dict[str, Interval]:
    """Components of an account by name, `orders` left out.

    Args:
        table: The risk table.
        account: The account.
        held: Its balances (COL-1).
        scanned: Its scan before factors.
        stage: Which of both margins.
    """
    point = Interval.point

    def own(contract: Contract, size: Fraction) -> Fraction:
        return standard.future(table, contract, size, stage)

    required, doubted = collateral(table, account, held, stage)
    charged = charging.positions(table, account, stage, own)
    return {
        "scan": scanned.times(scan_factor(table, stage)),
        "options": standard.options(table, account, stage),
        "charges": point(charged.charges),
        "netted": point(charging.netted(table, account, stage)),
        "offset": point(charging.offset(table, account, stage)),
        "confidence": doubted.plus(charged.confidence),
        "depeg": point(charged.depeg),
        "collateral": required,
    }


def scan_factor(table: Table, stage: Stage) -> Fraction:
    """Factor of the scan; the initial one grows while a peg is lost (PM-9, CHG-11)."""
    if isinstance(table.model, StandardModel):
        return ZERO
    if stage == "maintenance":
        return table.model.maintenance_factor
    return table.model.initial_factor + charging.missing_peg(table)


def check(exact: Exact, equity: float, initial: float, maintenance: float, tolerance: float) -> list[str]:
    """What disagrees with claimed figures, in words; empty if nothing does.

    Args:
        exact: The figures to compare with.
        equity: Claimed equity, numeraire.
        initial: Claimed initial margin.
        maintenance: Claimed maintenance margin.
        tolerance: Largest distance from the interval that counts as agreement, numeraire.
    """
    claims = [
        ("equity", exact.equity, equity),
        ("initial margin", exact.initial, initial),
        ("maintenance margin", exact.maintenance, maintenance),
    ]
    found = (_disagreement(name, interval, claimed, tolerance) for name, interval, claimed in claims)
    return [each for each in found if each]


def _disagreement(name: str, interval: Interval, claimed: float, tolerance: float) -> str:
    if not isfinite(claimed):
        return f"{name} claimed as {claimed}, which is not a finite number"
    distance = interval.distance(Fraction(claimed))
    if distance <= Fraction(tolerance):
        return ""
    return f"{name} claimed as {claimed!r} is {float(distance)} from the exact {float(interval.middle)!r}"
