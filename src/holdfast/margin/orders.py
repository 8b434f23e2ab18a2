"""Open orders: a bound on the requirement of every outcome of their fills (specs/open-orders.md).

Theory of operation. Each line's quantity after any fills lies in an interval. For every part of the requirement there
is a cheap number that is at least its value anywhere in the box of these intervals: sums of products are bounded end by
end, per scenario and group, and the group's formula is taken at both ends. Bounding lines one by one forgets that a
fill moves its line and its settlement asset together, which can only raise the bound, never lower it.

Loops follow the order of `kernel`. A group that no order touches is taken exactly.
"""

from collections.abc import Iterable

import numpy as np

from holdfast.compilation import compiled
from holdfast.domain.instruments import entry_cost
from holdfast.domain.portfolio import Order
from holdfast.margin import kernel
from holdfast.margin.account import Account
from holdfast.margin.kernel import (
    ABOVE,
    ASSET,
    ASSET_CONFIDENCE,
    BASIS_FACTOR,
    CHARGE,
    CONFIDENCE_RATE,
    DEPEG,
    EXPIRY_NET,
    FIRST_TIER,
    GROUP,
    IN_ASSET,
    INITIAL_FACTOR,
    LENDS,
    MAXIMUM_LOSS,
    OFFSET_CAP,
    OFFSET_NOTIONAL,
    OFFSET_RATE,
    OPTION,
    OPTION_SIGN,
    PAR,
    PRICE,
    SCENARIOS,
    SLOPE,
    STRIKE,
    STRIKE_NET,
    TAIL_MASS,
    TIER_FIELDS,
    TODAY,
    UNDERLYING,
    UNPAIRED,
)
from holdfast.margin.table import Arrays, AssetField, Floats, Integers, LineField, LineTag, RiskTable


@compiled
def worst_end(factor: float, low: float, high: float) -> float:
    """The largest product factor × quantity over an interval."""
    return max(factor * low, factor * high)


@compiled
def best_end(factor: float, low: float, high: float) -> float:
    """The least product factor × quantity over an interval."""
    return min(factor * low, factor * high)


@compiled
def group_result(arrays: Arrays, s: int, line: Integers, low: Floats, high: Floats, begin: int, end: int) -> float:
    """A number at most P·(M·v − v0) of one group in scenario `s`, wherever the quantities lie (ORD-3)."""
    group = arrays.tags[line[begin], GROUP]
    m_positive, m_negative = arrays.multipliers[group, 0, s], arrays.multipliers[group, 1, s]
    p_positive, p_negative = arrays.multipliers[group, 2, s], arrays.multipliers[group, 3, s]
    lower_positive, lower_negative, upper_positive, upper_negative = 0.0, 0.0, 0.0, 0.0
    value, today, moves = 0.0, 0.0, False
    for k in range(begin, end):
        unit, unit_today = arrays.values[line[k], s], arrays.lines[line[k], TODAY]
        if low[k] != high[k]:
            moves = True
        value += low[k] * unit
        today += low[k] * unit_today
        d_positive, d_negative = m_positive * unit - unit_today, m_negative * unit - unit_today
        lower_positive += best_end(d_positive, low[k], high[k])
        lower_negative += best_end(d_negative, low[k], high[k])
        upper_positive += worst_end(d_positive, low[k], high[k])
        upper_negative += worst_end(d_negative, low[k], high[k])
    if not moves:
        exact = (m_positive if value > 0.0 else m_negative) * value - today
        return (p_positive if exact > 0.0 else p_negative) * exact
    lower, upper = min(lower_positive, lower_negative), max(upper_positive, upper_negative)
    at_lower = (p_positive if lower > 0.0 else p_negative) * lower
    at_upper = (p_positive if upper > 0.0 else p_negative) * upper
    result = min(at_lower, at_upper)
    return min(result, 0.0) if lower < 0.0 < upper else result


@compiled
def basis_bound(arrays: Arrays, line: Integers, low: Floats, high: Floats, begin: int, end: int) -> float:
    """Factor × a number at most min(0, worst named scenario) of one group (ORD-4)."""
    factor = arrays.groups[arrays.tags[line[begin], GROUP], BASIS_FACTOR]
    worst = 0.0
    for b in range(arrays.basis.shape[1]):
        result = 0.0
        for k in range(begin, end):
            result += best_end(arrays.basis[line[k], b] - arrays.lines[line[k], TODAY], low[k], high[k])
        worst = min(worst, result)
    return factor * worst


@compiled
def end_of_group(arrays: Arrays, line: Integers, begin: int, end: int) -> int:
    """Index after the last position of the group of position `begin`."""
    last = arrays.group_ends[arrays.tags[line[begin], GROUP]]
    k = begin + 1
    while k < end and line[k] < last:
        k += 1
    return k


@compiled
def scan_bound(arrays: Arrays, line: Integers, low: Floats, high: Floats) -> float:
    """A number at least the scan requirement before factors (ORD-3, ORD-4, ORD-10)."""
    end, count = len(line), arrays.values.shape[1]
    tail_mass, scenarios = arrays.model[TAIL_MASS], int(arrays.model[SCENARIOS])
    results, joint = np.zeros(count), np.zeros(count)
    total = 0.0
    k = 0
    while k < end:
        last = kernel.end_of_underlying(arrays, line, k, end)
        if last == k:
            break
        results[:] = 0.0
        basis = 0.0
        while k < last:
            group_end = end_of_group(arrays, line, k, last)
            for s in range(count):
                results[s] += group_result(arrays, s, line, low, high, k, group_end)
            basis += basis_bound(arrays, line, low, high, k, group_end)
            k = group_end
        if tail_mass > 0.0:
            joint += results
            total += kernel.expected_shortfall(results, tail_mass, scenarios)
        else:
            worst = min(0.0, basis)
            for s in range(count):
                worst = min(worst, results[s])
            total -= worst
    if tail_mass > 0.0:
        shortfall = kernel.expected_shortfall(joint, tail_mass, scenarios)
        return kernel.capped_joint(max(total, shortfall), shortfall, arrays.model[OFFSET_CAP])
    return total


@compiled
def by_sign(arrays: Arrays, line: int, quantity: float, field: int) -> float:
    """|quantity| × the long or the short rate, two neighbouring fields."""
    return abs(quantity) * arrays.lines[line, field if quantity > 0.0 else field + 1]


@compiled
def option_group_bound(arrays: Arrays, line: Integers, low: Floats, high: Floats, begin: int, end: int) -> float:
    """A number at least the initial options and netted components of one option group (ORD-5, ORD-6)."""
    isolated, calls, par, net, today = 0.0, 0.0, 0.0, 0.0, 0.0
    strike_short, strike_net, strike = 0.0, 0.0, -1.0
    for k in range(begin, end):
        row = line[k]
        isolated += max(by_sign(arrays, row, low[k], OPTION), by_sign(arrays, row, high[k], OPTION))
        today += worst_end(arrays.lines[row, TODAY], low[k], high[k])
        net += low[k]
        if arrays.lines[row, OPTION_SIGN] > 0.0:
            calls += low[k]
            if low[k] != 0.0 or high[k] != 0.0:
                par = max(par, arrays.lines[row, PAR])
        if arrays.lines[row, STRIKE] != strike:
            strike_short += max(0.0, -strike_net)
            strike, strike_net = arrays.lines[row, STRIKE], 0.0
        strike_net += low[k]
    strike_short += max(0.0, -strike_net)
    group = arrays.tags[line[begin], GROUP]
    if arrays.groups[group, MAXIMUM_LOSS] > 0.0:
        loss = today
        for at in range(begin - 1, end):
            price = 0.0 if at < begin else arrays.lines[line[at], STRIKE]
            at_price = 0.0
            for k in range(begin, end):
                row = line[k]
                intrinsic = max(0.0, arrays.lines[row, OPTION_SIGN] * (price - arrays.lines[row, STRIKE]))
                lost = arrays.lines[row, TODAY] - arrays.lines[row, PAR] * intrinsic
                at_price += worst_end(lost, low[k], high[k])
            loss = max(loss, at_price)
        isolated = min(isolated, loss + arrays.groups[group, UNPAIRED] * (max(0.0, -calls) * par))
    netted = arrays.groups[group, STRIKE_NET] * strike_short + arrays.groups[group, EXPIRY_NET] * max(0.0, -net)
    return isolated + netted


@compiled
def charges_bound(arrays: Arrays, line: Integers, low: Floats, high: Floats, begin: int, end: int) -> float:
    """A number at least all initial charges of one underlying besides the scan (ORD-5, ORD-6)."""
    lent = 1.0
    for k in range(begin, end):
        if low[k] != 0.0 or high[k] != 0.0:
            lent = min(lent, arrays.lines[line[k], LENDS])
    total, longs, shorts = 0.0, 0.0, 0.0
    for k in range(begin, end):
        row = line[k]
        worst = 0.0
        for q in (low[k], high[k]):
            charge = by_sign(arrays, row, q, CHARGE) + q * q * arrays.lines[row, SLOPE]
            charge += kernel.missing_confidence(arrays, row, lent) * by_sign(arrays, row, q, CONFIDENCE_RATE)
            worst = max(worst, charge + by_sign(arrays, row, q, DEPEG))
        total += worst
        longs += max(0.0, high[k]) * arrays.lines[row, OFFSET_NOTIONAL]
        shorts += max(0.0, -low[k]) * arrays.lines[row, OFFSET_NOTIONAL]
    k = begin
    while k < end:
        group_end = end_of_group(arrays, line, k, end)
        if arrays.lines[line[k], OPTION_SIGN] != 0.0:
            total += option_group_bound(arrays, line, low, high, k, group_end)
        k = group_end
    underlying = arrays.tags[line[begin], UNDERLYING]
    return total + arrays.underlyings[underlying, OFFSET_RATE] * min(longs, shorts)


@compiled
def collateral_bound(arrays: Arrays, line: Integers, quantity: Floats, gains: Floats, losses: Floats) -> float:
    """A number at least the initial haircuts, given gains ≥ 0 and losses ≥ 0 to mark per asset (ORD-8)."""
    balances = np.zeros(arrays.assets.shape[0])
    for k in range(len(line)):
        balances[arrays.tags[line[k], ASSET]] += quantity[k] * arrays.lines[line[k], IN_ASSET]
    tiers = (arrays.assets.shape[1] - FIRST_TIER) // TIER_FIELDS
    total = 0.0
    for asset in range(len(balances)):
        worst = 0.0
        for n in range(3 + tiers):
            # The loss can be largest unchanged, at either end or, as later tiers may lose less, where a tier begins.
            change = 0.0 if n == 0 else gains[asset] if n == 1 else -losses[asset]
            if n > 2:
                above = arrays.assets[asset, FIRST_TIER + TIER_FIELDS * (n - 3) + ABOVE]
                change = min(max(above / arrays.assets[asset, PRICE] - balances[asset], -losses[asset]), gains[asset])
            value = (balances[asset] + change) * arrays.assets[asset, PRICE]
            credit_lost = kernel.haircut(arrays, asset, value, 0)
            credit_lost += max(0.0, value) * arrays.assets[asset, ASSET_CONFIDENCE]
            # A gain raises equity by as much, which the bound leaves out: only what exceeds it counts.
            worst = max(worst, credit_lost - max(0.0, change) * arrays.assets[asset, PRICE])
        total += worst
    return total


@compiled
def initial_bound(
    arrays: Arrays, line: Integers, quantity: Floats, low: Floats, high: Floats, gains: Floats, losses: Floats
) -> float:
    """A number at least the initial margin of every outcome, before losses to mark."""
    total = scan_bound(arrays, line, low, high) * arrays.model[INITIAL_FACTOR]
    k = 0
    while k < len(line):
        last = kernel.end_of_underlying(arrays, line, k, len(line))
        if last == k:
            break
        total += charges_bound(arrays, line, low, high, k, last)
        k = last
    return total + collateral_bound(arrays, line, quantity, gains, losses)


def fill_effects(table: RiskTable, order: Order) -> tuple[int, int, float, float]:
    """What a full fill of an order does: its line, its asset's line, the asset quantity moved, and the gain to mark.

    Returns:
        Line of the contract, line of its settlement asset, change of the asset line's quantity (asset units), and
        gain at the mark (asset units; negative for a loss).
    """
    line = table.line_of_instrument[order.instrument]
    paid = entry_cost(order.instrument, order.quantity, order.limit_price)
    gain = order.quantity * float(table.arrays.lines[line, LineField.IN_ASSET]) - paid
    return line, table.line_of_asset[order.instrument.settlement], -paid, gain


def orders_requirement(table: RiskTable, account: Account, orders: Iterable[Order], initial_margin: float) -> float:
    """The component `orders`: what open orders add to the initial margin (ORD-9).

    Args:
        table: A table that has the orders' lines.
        account: The account without fills.
        orders: Its open orders.
        initial_margin: Its initial margin without orders.

    Returns:
        An amount ≥ 0 in the numeraire.
    """
    bounds = {int(n): [q, q] for n, q in zip(account.line, account.quantity, strict=True)}
    assets = len(table.assets)
    gains, losses = np.zeros(assets), np.zeros(assets)
    lost = 0.0
    effects = sorted((*fill_effects(table, order), order.quantity) for order in orders if order.quantity != 0.0)
    if not effects:
        return 0.0
    for line, asset_line, moved, gain, quantity in effects:
        for n, change in ((line, quantity), (asset_line, moved)):
            interval = bounds.setdefault(n, [0.0, 0.0])
            interval[0 if change < 0.0 else 1] += change
        asset = int(table.arrays.tags[line, LineTag.ASSET])
        gains[asset] += max(0.0, gain)
        losses[asset] += max(0.0, -gain)
    for asset in range(assets):
        row = table.arrays.assets[asset]
        lost += losses[asset] * row[AssetField.PRICE] * (1.0 + row[AssetField.LIABILITY])
    lines = np.array(sorted(bounds), np.int32)
    held = dict(zip(account.line.tolist(), account.quantity.tolist(), strict=True))
    quantities = np.array([held.get(int(n), 0.0) for n in lines])
    low, high = (np.array([bounds[int(n)][end] for n in lines]) for end in (0, 1))
    bound = float(initial_bound(table.arrays, lines, quantities, low, high, gains, losses))
    return max(0.0, bound + float(lost) - initial_margin)
