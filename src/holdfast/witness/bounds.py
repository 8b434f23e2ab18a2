"""Initial margin with open orders: the requirement of every outcome of their fills (specs/open-orders.md).

Each quantity becomes an interval from `low` to `high`. The least of q·d over an interval is low·d where d ≥ 0 and
high·d elsewhere, so a lower end of a sum over lines is low @ max(d, 0) + high @ min(d, 0): products again.

What lives here: the bound. What may not: what is exact (`population`).
"""

from typing import NamedTuple

import numpy as np

from holdfast.witness import population
from holdfast.witness.black import Floats
from holdfast.witness.population import Places
from holdfast.witness.rules import Collateral, Tail
from holdfast.witness.table import Expiry, Group, Table, Underlying


class Orders(NamedTuple):
    """Open orders of some accounts.

    Attributes:
        row: [orders], place of the account.
        line: [orders].
        units: [orders], quantity left, signed.
        cost: [orders], what all that is left costs at the limit, in the settlement asset (LED-5).
        fee: [orders], the fee of that (LED-6).
    """

    row: Places
    line: Places
    units: Floats
    cost: Floats
    fee: Floats


def initial(table: Table, quantities: Floats, orders: Orders) -> Floats:
    """The bound's initial requirement, loss to mark included, [accounts]."""
    low, high = _intervals(table, quantities, orders)
    lost, gained = _against_mark(table, len(quantities), orders)
    charges = np.maximum(_charges(table, low), _charges(table, high)).sum(axis=1)
    total = _scan(table, quantities, low, high)[0]
    total += _options(table, low, high)
    total += charges + population.netted(table, low)[0] + population.offset(table, low, high)[0]
    worth = population.balances(table, quantities)
    moved = (low != high)[:, table.assets]
    for place, rule in enumerate(table.collateral):
        total += _collateral(rule, worth[:, place], lost[:, place], gained[:, place], moved[:, place])
        total += lost[:, place] * (1.0 + (rule.liability if rule else 0.0))
    found: Floats = total
    return found


def _charges(table: Table, quantities: Floats) -> Floats:
    """[accounts, lines]: what is charged on each line by itself, initial; ORD-5 takes its worse end as a whole."""
    by_size = np.abs(quantities) * table.gross[0] + np.square(quantities) * table.square[0]
    found: Floats = by_size + np.maximum(-quantities, 0.0) * table.short[0]
    return found


def _intervals(table: Table, quantities: Floats, orders: Orders) -> tuple[Floats, Floats]:
    """Lower and upper ends of ORD-1 and ORD-2, [accounts, lines]."""
    down, up = np.zeros_like(quantities), np.zeros_like(quantities)
    place = orders.row, orders.line
    np.add.at(down, place, np.minimum(orders.units, 0.0))
    np.add.at(up, place, np.maximum(orders.units, 0.0))
    asset = orders.row, table.assets[table.asset_of[orders.line]]
    moves = -orders.cost - orders.fee
    np.add.at(down, asset, np.minimum(moves, 0.0))
    np.add.at(up, asset, np.maximum(moves, 0.0))
    return quantities + down, quantities + up


def _against_mark(table: Table, count: int, orders: Orders) -> tuple[Floats, Floats]:
    """What fills at the limits lose and gain against the marks, numeraire, [accounts, assets]."""
    asset = table.asset_of[orders.line]
    loss = (orders.cost + orders.fee) * table.worth[asset] - orders.units * table.today[orders.line]
    lost, gained = np.zeros((count, len(table.assets))), np.zeros((count, len(table.assets)))
    np.add.at(lost, (orders.row, asset), np.maximum(loss, 0.0))
    np.add.at(gained, (orders.row, asset), np.maximum(-loss, 0.0))
    return lost, gained


def least(low: Floats, high: Floats, slopes: Floats) -> Floats:
    """The least of Σ q·d over the intervals: `slopes` is [lines, …]."""
    return low @ np.maximum(slopes, 0.0) + high @ np.minimum(slopes, 0.0)


def most(low: Floats, high: Floats, slopes: Floats) -> Floats:
    """The most of it."""
    return high @ np.maximum(slopes, 0.0) + low @ np.minimum(slopes, 0.0)


def _scan(table: Table, quantities: Floats, low: Floats, high: Floats) -> Floats:
    """[2, accounts] of ORD-3, ORD-4 and ORD-10."""
    if not table.underlyings:
        return np.zeros((2, len(quantities)))
    results = [_lower_result(table, underlying, quantities, low, high) for underlying in table.underlyings]
    if isinstance(table.parameters, Tail):
        return population.tail_requirement(table, table.parameters, results)
    worst = np.zeros(len(quantities))
    for underlying, outcome in zip(table.underlyings, results, strict=True):
        down = np.minimum(outcome.min(axis=1, initial=0.0), 0.0)
        worst -= np.minimum(down, _lower_basis(table, underlying, low, high))
    return np.array(table.factors)[:, None] * worst


def _lower_result(table: Table, underlying: Underlying, quantities: Floats, low: Floats, high: Floats) -> Floats:
    total = np.zeros((len(quantities), table.values.shape[1]))
    for group in underlying.groups:
        span = slice(group.start, group.stop)
        moved = (low[:, span] != high[:, span]).any(axis=1)
        still = ~moved
        total[still] += population.group_result(table, group, quantities[still, span])
        total[moved] += _lower_group(table, group, low[moved, span], high[moved, span])
    return total


def _lower_group(table: Table, group: Group, low: Floats, high: Floats) -> Floats:
    values, today = table.values[group.start : group.stop], table.today[group.start : group.stop, None]
    slopes = [group.above[0] * values - today, group.below[0] * values - today]
    lower = np.minimum(least(low, high, slopes[0]), least(low, high, slopes[1]))
    upper = np.maximum(most(low, high, slopes[0]), most(low, high, slopes[1]))
    ends = [np.where(end > 0, group.above[1], group.below[1]) * end for end in (lower, upper)]
    worst = np.minimum(ends[0], ends[1])
    found: Floats = np.where((lower < 0) & (upper > 0), np.minimum(worst, 0.0), worst)
    return found


def _lower_basis(table: Table, underlying: Underlying, low: Floats, high: Floats) -> Floats:
    total = np.zeros(len(low))
    for group in underlying.groups:
        if group.basis_factor:
            span = slice(group.start, group.stop)
            moved = least(low[:, span], high[:, span], group.basis - table.today[span, None])
            total += group.basis_factor * np.minimum(moved.min(axis=1), 0.0)
    return total


def _options(table: Table, low: Floats, high: Floats) -> Floats:
    """The component `options` of the standard model under ORD-6, initial."""
    total = np.zeros(len(low))
    for expiry in table.expiries:
        if expiry.rates is None:
            continue
        span = slice(expiry.start, expiry.stop)
        ends = [population.isolated(table, span, side[:, span])[0] for side in (low, high)]
        needed = np.maximum(ends[0], ends[1]).sum(axis=1)
        if expiry.rates.maximum_loss:
            needed = np.minimum(needed, _maximum_loss(table, expiry, low[:, span], high[:, span]))
        total += needed
    return total


def _maximum_loss(table: Table, expiry: Expiry, low: Floats, high: Floats) -> Floats:
    today = table.today[expiry.start : expiry.stop, None]
    is_held = (low != 0) | (high != 0)
    losses = most(low, high, today - expiry.payoffs)
    losses[:, 1:][~population.strikes_held(expiry, is_held)] = -np.inf
    bound = np.maximum(losses.max(axis=1), most(low, high, today)[:, 0])
    found: Floats = bound + population.unpaired(expiry, low @ expiry.calls, is_held)[0]
    return found


def _collateral(rule: Collateral | None, worth: Floats, lost: Floats, gained: Floats, moved: Floats) -> Floats:
    """The largest haircut of ORD-8 where the asset's line moves, and the haircut as it is elsewhere."""
    as_it_is = population.collateral_loss(rule, worth)[0]
    down, up = worth - lost, worth + gained
    starts = [tier.above for tier in rule.tiers] if rule else [0.0]
    largest = as_it_is
    for point in (down, up, *(np.clip(start, down, up) for start in starts)):
        haircut = population.collateral_loss(rule, point)[0] - np.maximum(point - worth, 0.0)
        largest = np.maximum(largest, haircut)
    found: Floats = np.where(moved, largest, as_it_is)
    return found
