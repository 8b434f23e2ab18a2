"""Why a margin is what it is: attribution to positions and balances (RES-2, RES-3).

Euler shares hold the binding choices of the workings (scenario, signs, netting, maximum loss) and take the derivative
along each quantity; leave-one-out asks the kernel again without the position. What may not live here: another formula
of margin. Shares are read off the same table and workings.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from holdfast.domain.errors import invariant
from holdfast.margin.account import figures_of
from holdfast.margin.calculation import Margin
from holdfast.margin.kernel import end_of_underlying
from holdfast.margin.table import (
    AssetField,
    Component,
    Floats,
    GroupField,
    LineField,
    LineTag,
    ModelField,
    UnderlyingField,
)
from holdfast.margin.twin import OptionGroup, UnderlyingScan, haircut, lent_confidence, missing_confidence

ROUNDING = 1e-9
"""Shares may differ from the total by this fraction of their size before the last rounding is given out."""
ORDERS_LINE = "open orders"
"""Name of the share that belongs to no position."""


@dataclass(frozen=True)
class Share:
    """One line's part in the initial margin.

    Attributes:
        name: The instrument or asset, or `open orders`.
        quantity: Quantity held; the balance of an asset.
        value: What it adds to equity, numeraire: value less cost of a position, value of a balance.
        euler: Share by the derivative; shares sum to the initial margin.
        leave_one_out: Initial margin less that of the account with this line closed at its mark; None for balances.
    """

    name: str
    quantity: float
    value: float
    euler: float
    leave_one_out: float | None


def attribution(margin: Margin) -> tuple[Share, ...]:
    """The initial margin of the cross part, by line in table order, then open orders if there are any."""
    table, account = margin.table, margin.account
    own, units = _euler_parts(margin)
    at = {line: k for k, line in enumerate(account.line.tolist())}
    positions = {table.line_of_instrument[p.instrument]: p for p in margin.portfolio.lines()}
    shares = []
    for line, k in at.items():
        today, name = float(table.arrays.lines[line, LineField.TODAY]), table.line_names[line]
        position = positions.get(line)
        if position is None:
            balance = margin.portfolio.balances.get(name, 0.0)
            shares.append(Share(name, balance, balance * today, float(own[k] + balance * units[k]), None))
            continue
        asset_line = table.line_of_asset[position.instrument.settlement]
        cost = position.cost * float(table.arrays.lines[asset_line, LineField.TODAY])
        euler = own[k] + position.quantity * units[k] - position.cost * units[at[asset_line]]
        left_out = _leave_one_out(margin, line, position.quantity)
        shares.append(Share(name, position.quantity, position.quantity * today - cost, float(euler), left_out))
    orders = margin.figures.initial[Component.ORDERS.label]
    if orders:
        shares.append(Share(ORDERS_LINE, 0.0, 0.0, orders, None))
    return _summing_exactly(shares, margin.initial_margin)


def _leave_one_out(margin: Margin, line: int, quantity: float) -> float:
    """RES-3; open orders are left as they are."""
    table = margin.table
    asset_line = table.line_of_asset[table.assets[int(table.arrays.tags[line, LineTag.ASSET])]]
    proceeds = quantity * float(table.arrays.lines[line, LineField.IN_ASSET])
    without = figures_of(table, margin.account.with_change({line: -quantity, asset_line: proceeds}))
    return figures_of(table, margin.account).initial_margin - without.initial_margin


def _summing_exactly(shares: list[Share], total: float) -> tuple[Share, ...]:
    """Give the last rounding to the largest shares, so that the exact sum of all, rounded once, is the total (RES-2).

    A share is a multiple of its own last place; what the largest cannot take goes to the next, which is finer.
    """
    gross = sum(abs(share.euler) for share in shares)
    off = abs(total - math.fsum(share.euler for share in shares))
    invariant(off <= ROUNDING * (1.0 + gross + abs(total)), f"shares of {total} are off by {off}: a term is missing")
    for at in sorted(range(len(shares)), key=lambda n: -abs(shares[n].euler)):
        residue = math.fsum([total, *(-share.euler for share in shares)])
        if residue == 0.0:
            break
        shares[at] = replace(shares[at], euler=shares[at].euler + residue)
    return tuple(shares)


def _euler_parts(margin: Margin) -> tuple[Floats, Floats]:
    """[positions] shares of charges and haircuts, and [positions] scan requirement per unit of quantity.

    The scan is kept per unit because the quantity of an asset's line is balance − costs, and each position answers for
    its own cost: the exposure of an inverse contract lies there (TAB-2).
    """
    shares, units = np.zeros(len(margin.account.line)), np.zeros(len(margin.account.line))
    _scan_units(margin, units)
    for group in margin.workings.option_groups:
        _option_group_shares(margin, group, shares)
    _charge_shares(margin, shares)
    _collateral_shares(margin, shares)
    return shares, units


def _scan_units(margin: Margin, units: Floats) -> None:
    """Scan requirement per unit: per underlying, or of standalone and joint shortfall in the tail model (TAIL-4)."""
    model, workings = margin.table.arrays.model, margin.workings
    factor, tail_mass = float(model[ModelField.INITIAL_FACTOR]), float(model[ModelField.TAIL_MASS])
    if tail_mass <= 0.0:
        for scan in workings.scans:
            if scan.requirement > 0.0:
                _worst_units(margin, scan, factor, units)
        return
    count = int(model[ModelField.SCENARIOS])
    standalone = sum(scan.requirement for scan in workings.scans)
    joint_results = workings.joint if workings.joint is not None else np.zeros(0)
    joint = _tail_weights(joint_results[:count], tail_mass)
    joint_shortfall = max(0.0, -float(joint @ joint_results[:count]))
    cap = float(model[ModelField.OFFSET_CAP]) if standalone > joint_shortfall else 0.0
    for scan in workings.scans:
        own = _tail_weights(scan.results[:count], tail_mass) * float(scan.requirement > 0.0)
        weights = (1.0 - cap) * own + cap * joint * float(joint_shortfall > 0.0)
        _result_units(margin, scan, factor * weights, units)


def _tail_weights(results: Floats, tail_mass: float) -> Floats:
    """[S] weight of each scenario in the expected shortfall of some results (TAIL-2)."""
    order = np.argsort(results, kind="stable")
    weights = np.zeros(len(results))
    whole = int(tail_mass)
    weights[order[:whole]] = 1.0 / tail_mass
    if whole < len(results):
        weights[order[whole]] = (tail_mass - whole) / tail_mass
    return weights


def _worst_units(margin: Margin, scan: UnderlyingScan, factor: float, units: Floats) -> None:
    worst = int(scan.results.argmin())
    if scan.basis < min(0.0, float(scan.results[worst])):
        _basis_units(margin, scan, factor, units)
        return
    weights = np.zeros(len(scan.results))
    weights[worst] = factor
    _result_units(margin, scan, weights, units)


def _result_units(margin: Margin, scan: UnderlyingScan, weights: Floats, units: Floats) -> None:
    """−Σ over scenarios of weight × P·(M·V − V0), per unit of each position."""
    arrays, account = margin.table.arrays, margin.account
    used = np.flatnonzero(weights)
    for group in scan.groups:
        for k in range(*group.run):
            line = account.line[k]
            by_unit = group.by_value[used] * arrays.values[line, used] - arrays.lines[line, LineField.TODAY]
            units[k] -= float((weights[used] * group.by_result[used] * by_unit).sum())


def _basis_units(margin: Margin, scan: UnderlyingScan, factor: float, units: Floats) -> None:
    arrays, account = margin.table.arrays, margin.account
    for group in scan.groups:
        if group.basis == 0.0:
            continue
        scale = factor * float(arrays.groups[group.group, GroupField.BASIS_FACTOR])
        for k in range(*group.run):
            line = account.line[k]
            by_unit = arrays.basis[line, group.basis_column] - arrays.lines[line, LineField.TODAY]
            units[k] -= scale * float(by_unit)


def _option_group_shares(margin: Margin, group: OptionGroup, shares: Floats) -> None:
    """Isolated or maximum-loss requirement, and charges on net short quantities, of one option group."""
    arrays, account = margin.table.arrays, margin.account
    fields = arrays.groups[group.group]
    rows = [arrays.lines[account.line[k]] for k in range(*group.run)]
    quantities = account.quantity[group.run[0] : group.run[1]].tolist()
    net_by_strike: dict[float, float] = {}
    for row, quantity in zip(rows, quantities, strict=True):
        strike = float(row[LineField.STRIKE])
        net_by_strike[strike] = net_by_strike.get(strike, 0.0) + quantity
    net = sum(quantities)
    calls = -sum(q for q, row in zip(quantities, rows, strict=True) if row[LineField.OPTION_SIGN] > 0.0)
    per_call = float(fields[GroupField.UNPAIRED_INITIAL]) * group.unpaired / calls if calls > 0.0 else 0.0
    for n, (row, quantity) in enumerate(zip(rows, quantities, strict=True)):
        k = group.run[0] + n
        if group.requirement[0] < group.isolated[0]:
            shares[k] += _maximum_loss_share(group, row, quantity, per_call)
        else:
            side = LineField.OPTION_LONG_INITIAL + (0 if quantity > 0.0 else 1)
            shares[k] += abs(quantity) * row[side]
        if net_by_strike[float(row[LineField.STRIKE])] < 0.0:
            shares[k] -= quantity * fields[GroupField.STRIKE_NET_INITIAL]
        if net < 0.0:
            shares[k] -= quantity * fields[GroupField.EXPIRY_NET_INITIAL]


def _maximum_loss_share(group: OptionGroup, row: Floats, quantity: float, unpaired: float) -> float:
    """A position's part in the bound; `unpaired` is the whole charge on net short calls, per such call."""
    settlement, least = group.least_payoff
    payoff = 0.0
    if least < 0.0:
        intrinsic = max(0.0, row[LineField.OPTION_SIGN] * (settlement - row[LineField.STRIKE]))
        payoff = float(row[LineField.PAR] * intrinsic)
    share = quantity * (float(row[LineField.TODAY]) - payoff)
    return share - quantity * unpaired if row[LineField.OPTION_SIGN] > 0.0 else share


def _charge_shares(margin: Margin, shares: Floats) -> None:
    """Charges by position: gross, confidence and depeg are its own; offset belongs to the smaller side."""
    arrays, account = margin.table.arrays, margin.account
    begin, end = 0, len(account.line)
    while begin < end:
        last = int(end_of_underlying(arrays, account.line, begin, end))
        if last == begin:
            break
        _underlying_charge_shares(margin, (begin, last), shares)
        begin = last


def _underlying_charge_shares(margin: Margin, run: tuple[int, int], shares: Floats) -> None:
    arrays, account = margin.table.arrays, margin.account
    rows = {k: arrays.lines[account.line[k]] for k in range(*run)}
    lent = lent_confidence(arrays, account, run)
    notional = [0.0, 0.0]
    for k, row in rows.items():
        quantity = float(account.quantity[k])
        side, size = (0 if quantity > 0.0 else 1), abs(quantity)
        rate = row[LineField.CHARGE_LONG_INITIAL + side] + size * row[LineField.SLOPE_INITIAL]
        unsure = missing_confidence(row, lent) * row[LineField.CONFIDENCE_LONG + side]
        shares[k] += size * (rate + unsure + row[LineField.DEPEG_LONG + side])
        notional[side] += size * row[LineField.OFFSET_NOTIONAL]
    smaller = 0 if notional[0] <= notional[1] else 1
    rates = arrays.underlyings[arrays.tags[account.line[run[0]], LineTag.UNDERLYING]]
    for k, row in rows.items():
        if (account.quantity[k] > 0.0) == (smaller == 0):
            charged = abs(float(account.quantity[k])) * row[LineField.OFFSET_NOTIONAL]
            shares[k] += rates[UnderlyingField.OFFSET_INITIAL] * charged


def _collateral_shares(margin: Margin, shares: Floats) -> None:
    """Haircuts, liabilities and collateral confidence, each to its asset's balance."""
    table, account = margin.table, margin.account
    arrays = table.arrays
    balances = np.zeros(len(arrays.assets))
    for line, quantity in zip(account.line, account.quantity, strict=True):
        balances[arrays.tags[line, LineTag.ASSET]] += quantity * arrays.lines[line, LineField.IN_ASSET]
    for n, asset in enumerate(arrays.assets):
        value = float(balances[n] * asset[AssetField.PRICE])
        at = np.flatnonzero(account.line == table.line_of_asset[table.assets[n]])
        if len(at):
            shares[at[0]] += haircut(asset, value, 0) + max(0.0, value) * asset[AssetField.CONFIDENCE]
