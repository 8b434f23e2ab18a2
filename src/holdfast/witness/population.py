"""The margin of many accounts at once, by matrix products.

The accounts of one model are a matrix of quantities [accounts, lines], cut into chunks that fit the caches. What is
linear in quantities is a product with the table; what is not (signs, worst cases, tiers) is done to whole columns of
results. Open orders make of each quantity an interval; `bounds` has that part.

What lives here: equity and the components of TAB-9. What may not: the ledger, and how tables are built.
"""

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from holdfast.witness.black import Floats
from holdfast.witness.rules import Collateral, Tail
from holdfast.witness.table import Expiry, Group, Table, Underlying

Places: TypeAlias = npt.NDArray[np.int64]

COMPONENTS = ("scan", "options", "charges", "netted", "offset", "confidence", "depeg", "collateral", "orders")
"""Of TAB-9. What a model charges on quantities by themselves is all in `charges`, and a depeg in what it raises."""

_ELEMENTS_MAXIMUM = 1 << 20


class Figures(NamedTuple):
    """Of some accounts.

    Attributes:
        equity: [accounts], numeraire.
        gross: [accounts], Σ|q·V0|.
        parts: By component, [2, accounts]: initial and maintenance.
    """

    equity: Floats
    gross: Floats
    parts: dict[str, Floats]

    @property
    def totals(self) -> Floats:
        """[2, accounts], initial and maintenance margin without orders."""
        return sum((self.parts[name] for name in COMPONENTS if name in self.parts), np.zeros((2, len(self.equity))))


def chunk_length(table: Table) -> int:
    """How many accounts are looked at together."""
    width = max(len(table.lines), table.values.shape[1], 1)
    found: int = max(16, min(8_192, _ELEMENTS_MAXIMUM // width))
    return found


def figures(table: Table, quantities: Floats) -> Figures:
    """Equity and components of accounts without orders.

    Args:
        table: Of their model.
        quantities: [accounts, lines].
    """
    magnitude = np.abs(quantities)
    shorts = np.maximum(-quantities, 0.0)
    charges = table.gross @ magnitude.T + table.square @ np.square(quantities).T + table.short @ shorts.T
    parts = {
        "scan": _scan(table, quantities),
        "options": _options(table, quantities),
        "charges": charges,
        "netted": netted(table, quantities),
        "offset": offset(table, quantities, quantities),
        "collateral": _collateral(table, balances(table, quantities)),
    }
    return Figures(quantities @ table.today, magnitude @ np.abs(table.today), parts)


def _scan(table: Table, quantities: Floats) -> Floats:
    if not table.underlyings:
        return np.zeros((2, len(quantities)))
    results = [result(table, underlying, quantities) for underlying in table.underlyings]
    if isinstance(table.parameters, Tail):
        return tail_requirement(table, table.parameters, results)
    worst = np.zeros(len(quantities))
    for underlying, outcome in zip(table.underlyings, results, strict=True):
        least = np.minimum(outcome.min(axis=1, initial=0.0), 0.0)
        worst -= np.minimum(least, basis_result(table, underlying, quantities))
    return np.array(table.factors)[:, None] * worst


def result(table: Table, underlying: Underlying, quantities: Floats) -> Floats:
    """R of TAB-4: [accounts, scenarios]."""
    if all(group.plain for group in underlying.groups):
        span = slice(underlying.start, underlying.stop)
        return quantities[:, span] @ (table.values[span] - table.today[span, None])
    total = np.zeros((len(quantities), table.values.shape[1]))
    for group in underlying.groups:
        held = quantities[:, group.start : group.stop]
        holders = np.flatnonzero(held.any(axis=1))
        total[holders] += group_result(table, group, held[holders])
    return total


def group_result(table: Table, group: Group, held: Floats) -> Floats:
    """The weighted result of one group, [accounts, scenarios]."""
    value = held @ table.values[group.start : group.stop]
    today = held @ table.today[group.start : group.stop]
    profit = np.where(value > 0, group.above[0], group.below[0]) * value - today[:, None]
    found: Floats = np.where(profit > 0, group.above[1], group.below[1]) * profit
    return found


def basis_result(table: Table, underlying: Underlying, quantities: Floats) -> Floats:
    """B of TAB-5, ≤ 0."""
    total = np.zeros(len(quantities))
    for group in underlying.groups:
        if group.basis_factor:
            span = slice(group.start, group.stop)
            moved = quantities[:, span] @ (group.basis - table.today[span, None])
            total += group.basis_factor * np.minimum(moved.min(axis=1), 0.0)
    return total


def expected_shortfall(results: Floats, confidence_level: float) -> Floats:
    """TAIL-2 of each row."""
    count = results.shape[1]
    mass = (1.0 - confidence_level) * count
    if abs(mass - round(mass)) < 1e-9:
        mass = float(round(mass))
    whole = int(mass)
    rest = mass - whole
    needed = min(whole + (rest > 0), count)
    worst = results if needed == count else np.partition(results, needed - 1, axis=1)[:, :needed]
    worst = np.sort(worst, axis=1)
    total = worst[:, :whole].sum(axis=1)
    if rest > 0:
        total = total + rest * worst[:, whole]
    found: Floats = np.maximum(0.0, -total / mass)
    return found


def tail_requirement(table: Table, parameters: Tail, results: list[Floats]) -> Floats:
    """TAIL-4, of results per underlying."""
    level = parameters.confidence_level
    alone = sum((expected_shortfall(one, level) for one in results), np.zeros(len(results[0])))
    joint = expected_shortfall(sum(results, np.zeros_like(results[0])), level)
    benefit = np.maximum(alone - joint, 0.0)
    needed = np.maximum(alone - parameters.offset_cap * benefit, joint)
    return np.array(table.factors)[:, None] * needed


def isolated(table: Table, span: slice, quantities: Floats) -> Floats:
    """[2, accounts, lines of the span]: requirement of options one by one (STD-6)."""
    short = table.isolated[:, None, span] * np.maximum(-quantities, 0.0)
    return short + np.maximum(quantities, 0.0) * table.today[span]


def _options(table: Table, quantities: Floats) -> Floats:
    """The component `options` of the standard model (STD-6, STD-8)."""
    total = np.zeros((2, len(quantities)))
    for expiry in table.expiries:
        if expiry.rates is None:
            continue
        span = slice(expiry.start, expiry.stop)
        held = quantities[:, span]
        needed = isolated(table, span, held).sum(axis=2)
        if expiry.rates.maximum_loss:
            needed = np.minimum(needed, _maximum_loss(table, expiry, held))
        total += needed
    return total


def _maximum_loss(table: Table, expiry: Expiry, held: Floats) -> Floats:
    """The bound of STD-8, [2, accounts]."""
    payoff = held @ expiry.payoffs
    payoff[:, 1:][~strikes_held(expiry, held != 0)] = 0.0
    floor = np.minimum(payoff.min(axis=1), 0.0)
    today = held @ table.today[expiry.start : expiry.stop]
    found: Floats = today - floor + unpaired(expiry, held @ expiry.calls, held != 0)
    return found


def strikes_held(expiry: Expiry, is_held: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """[accounts, strikes]: whether anything is held at the strike."""
    return (is_held @ expiry.at_strike) > 0


def unpaired(expiry: Expiry, net_calls: Floats, is_held: npt.NDArray[np.bool_]) -> Floats:
    """The charge on net short calls of STD-8, [2, accounts]."""
    rates = expiry.rates
    assert rates is not None
    par = (is_held * (expiry.calls * expiry.par)).max(axis=1)
    per_unit = np.array([[rates.unpaired_initial], [rates.unpaired_maintenance]])
    found: Floats = per_unit * (expiry.forward * par * np.maximum(-net_calls, 0.0))
    return found


def netted(table: Table, quantities: Floats) -> Floats:
    """Charges on net short options (CHG-4, CHG-5), [2, accounts]."""
    total = np.zeros((2, len(quantities)))
    for expiry in table.expiries:
        held = quantities[:, expiry.start : expiry.stop]
        if any(expiry.per_strike):
            naked = np.maximum(-(held @ expiry.at_strike), 0.0).sum(axis=1)
            total += np.array(expiry.per_strike)[:, None] * naked
        if any(expiry.per_expiry):
            total += np.array(expiry.per_expiry)[:, None] * np.maximum(-held.sum(axis=1), 0.0)
    return total


def offset(table: Table, low: Floats, high: Floats) -> Floats:
    """CHG-6, longs at the upper ends and shorts at the lower ones, [2, accounts]."""
    total = np.zeros((2, len(low)))
    for rates, notional in table.offsets:
        long, short = np.maximum(high, 0.0) @ notional, np.maximum(-low, 0.0) @ notional
        total += rates[:, None] * np.minimum(long, short)
    return total


def balances(table: Table, quantities: Floats) -> Floats:
    """[accounts, assets]: balance with unrealised profit in the numeraire (COL-1)."""
    settled = np.zeros((len(table.lines), len(table.assets)))
    settled[np.arange(len(table.lines)), table.asset_of] = table.today
    return quantities @ settled


def _collateral(table: Table, worth: Floats) -> Floats:
    total = np.zeros((2, len(worth)))
    for place, rule in enumerate(table.collateral):
        total += collateral_loss(rule, worth[:, place])
    return total


def collateral_loss(rule: Collateral | None, worth: Floats) -> Floats:
    """What a balance does not count, [2, …] for initial and maintenance (COL-2 to COL-6).

    The frozen market's numeraire is the dollar, so that credit in dollars (COL-5) is the same.
    """
    positive, negative = np.maximum(worth, 0.0), np.maximum(-worth, 0.0)
    if rule is None:
        return np.stack([positive, positive])
    loss = np.stack([rule.liability * negative] * 2)
    ends = [tier.above for tier in rule.tiers[1:]] + [np.inf]
    for tier, end in zip(rule.tiers, ends, strict=False):
        part = np.maximum(np.minimum(positive, end) - tier.above, 0.0)
        loss = loss + np.stack([tier.initial * part, tier.maintenance * part])
    return loss
