"""The margin kernel: the requirement of accounts from a risk table, fused, in vector registers.

Theory of operation. Positions are stored as structure of arrays, sorted by line, and lines are sorted by underlying,
group and strike (specs/risk-table.md, TAB-3), so every netting set is a run of consecutive positions and every boundary
is a comparison with the end of a run. A block of scenarios of one underlying lives in vector registers while its positions
stream past; no intermediate matrix is written. Scenario counts are padded to whole registers by repeating the last
scenario, which changes neither a minimum nor, since the tail reduction counts only real scenarios, a shortfall.

Bits. Every product and sum is a separate IEEE operation in the order written here; `twin` repeats that order in NumPy and
must give the same bits. Change one, change both. Nothing here allocates per position or raises: indices were validated
when the table and the account were built.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.compilation import compiled
from holdfast.margin.table import (
    COMPONENTS,
    Arrays,
    AssetField,
    Component,
    Floats,
    GroupField,
    Integers,
    LineField,
    LineTag,
    ModelField,
    Multiplier,
    TierField,
    UnderlyingField,
)
from holdfast.pricing.vectors import LANES_NARROW, LANES_WIDE, load, lowest, select, splat, store

Positions = NDArray[np.int64]

# Numba treats enumeration members of IntEnum as constants only through plain integers.
TODAY, IN_ASSET = int(LineField.TODAY), int(LineField.IN_ASSET)
CHARGE, SLOPE = int(LineField.CHARGE_LONG_INITIAL), int(LineField.SLOPE_INITIAL)
OPTION = int(LineField.OPTION_LONG_INITIAL)
CONFIDENCE, DEPEG = int(LineField.CONFIDENCE_LONG), int(LineField.DEPEG_LONG)
OFFSET_NOTIONAL, STRIKE, OPTION_SIGN = int(LineField.OFFSET_NOTIONAL), int(LineField.STRIKE), int(LineField.OPTION_SIGN)
PERPETUAL, PAR = int(LineField.PERPETUAL), int(LineField.PAR)
GROUP, UNDERLYING, ASSET = int(LineTag.GROUP), int(LineTag.UNDERLYING), int(LineTag.ASSET)
BASIS_FACTOR, MAXIMUM_LOSS, UNPAIRED = (
    int(GroupField.BASIS_FACTOR),
    int(GroupField.MAXIMUM_LOSS),
    int(GroupField.UNPAIRED_INITIAL),
)
STRIKE_NET, EXPIRY_NET = int(GroupField.STRIKE_NET_INITIAL), int(GroupField.EXPIRY_NET_INITIAL)
OFFSET_RATE = int(UnderlyingField.OFFSET_INITIAL)
PRICE, LIABILITY, ASSET_CONFIDENCE, FIRST_TIER = (
    int(AssetField.PRICE),
    int(AssetField.LIABILITY),
    int(AssetField.CONFIDENCE),
    int(AssetField.FIRST_TIER),
)
ABOVE, TIER_INITIAL, TIER_FIELDS = int(TierField.ABOVE), int(TierField.INITIAL), len(TierField)
INITIAL_FACTOR, MAINTENANCE_FACTOR = int(ModelField.INITIAL_FACTOR), int(ModelField.MAINTENANCE_FACTOR)
TAIL_MASS, OFFSET_CAP, SCENARIOS = int(ModelField.TAIL_MASS), int(ModelField.OFFSET_CAP), int(ModelField.SCENARIOS)
MULTIPLIERS = len(Multiplier)
INITIAL, MAINTENANCE = 1, 1 + COMPONENTS
"""Where the two runs of components start in an account's output row; element 0 is equity."""
SCAN, OPTIONS, CHARGES, NETTED, OFFSET = (
    int(Component.SCAN),
    int(Component.OPTIONS),
    int(Component.CHARGES),
    int(Component.NETTED),
    int(Component.OFFSET),
)
CONFIDENCES, DEPEGS, COLLATERAL = int(Component.CONFIDENCE), int(Component.DEPEG), int(Component.COLLATERAL)


def _block_of(lanes: int) -> Callable[..., Any]:
    """The block function for a number of lanes; lanes must be a constant for the compiler."""

    @compiled
    def block(arrays: Arrays, offset: int, line: Integers, quantity: Floats, begin: int, end: int) -> Any:
        """R[s] (TAB-4) of one underlying, positions begin..end, for `lanes` scenarios from `offset` on."""
        stride = arrays.values.shape[1]
        values, multipliers = arrays.values.reshape(-1), arrays.multipliers.reshape(-1)
        total = splat(0.0, lanes)
        k = begin
        while k < end:
            group = np.int64(arrays.tags[line[k], GROUP])
            group_end = arrays.group_ends[group]
            value = splat(0.0, lanes)
            today = 0.0
            while k < end and line[k] < group_end:
                row = np.int64(line[k])
                q = quantity[k]
                value = value + q * load(values, row * stride + offset, lanes)
                today += q * arrays.lines[row, TODAY]
                k += 1
            at = group * MULTIPLIERS * stride + offset
            by_value = select(value > 0.0, load(multipliers, at, lanes), load(multipliers, at + stride, lanes))
            result = by_value * value - today
            at += 2 * stride
            by_result = select(result > 0.0, load(multipliers, at, lanes), load(multipliers, at + stride, lanes))
            total = total + by_result * result
        return total

    return block


_block_wide, _block_narrow = _block_of(LANES_WIDE), _block_of(LANES_NARROW)


@compiled
def scan_worst(arrays: Arrays, line: Integers, quantity: Floats, begin: int, end: int) -> float:
    """min(0, min over s of R[s]) of one underlying's positions begin..end (TAB-5, without basis)."""
    stride = arrays.values.shape[1]
    worst = 0.0
    offset = 0
    while offset + LANES_WIDE <= stride:
        worst = min(worst, lowest(_block_wide(arrays, offset, line, quantity, begin, end)))
        offset += LANES_WIDE
    while offset < stride:
        worst = min(worst, lowest(_block_narrow(arrays, offset, line, quantity, begin, end)))
        offset += LANES_NARROW
    return worst


@compiled
def scan_results(arrays: Arrays, line: Integers, quantity: Floats, begin: int, end: int, results: Floats) -> None:
    """Write R[s] of one underlying's positions begin..end to `results`, [S] with padding."""
    offset = 0
    while offset + LANES_WIDE <= len(results):
        store(results, offset, _block_wide(arrays, offset, line, quantity, begin, end))
        offset += LANES_WIDE
    while offset < len(results):
        store(results, offset, _block_narrow(arrays, offset, line, quantity, begin, end))
        offset += LANES_NARROW


@compiled
def basis_worst(arrays: Arrays, line: Integers, quantity: Floats, begin: int, end: int) -> float:
    """The second reduction of one underlying (TAB-5): sum over groups of factor × min(0, worst named scenario)."""
    width = arrays.basis.shape[1]
    basis = arrays.basis.reshape(-1)
    total = 0.0
    if width == 0:
        return total
    k = begin
    while k < end:
        group = arrays.tags[line[k], GROUP]
        group_end = arrays.group_ends[group]
        factor = arrays.groups[group, BASIS_FACTOR]
        value = splat(0.0, LANES_NARROW)
        today = 0.0
        while k < end and line[k] < group_end:
            row = np.int64(line[k])
            q = quantity[k]
            value = value + q * load(basis, row * width, LANES_NARROW)
            today += q * arrays.lines[row, TODAY]
            k += 1
        total += factor * min(0.0, lowest(value - today))
    return total


@compiled
def expected_shortfall(results: Floats, tail_mass: float, count: int) -> float:
    """max(0, −mean of the `tail_mass` worst of the first `count` results), TAIL-2; depends on their multiset only."""
    ordered = np.sort(results[:count])
    whole = int(tail_mass)
    total = 0.0
    for i in range(whole):
        total += ordered[i]
    if whole < count:
        total += (tail_mass - whole) * ordered[whole]
    return max(0.0, -total / tail_mass)


@compiled
def capped_joint(standalone: float, joint: float, cap: float) -> float:
    """Sum of standalone shortfalls less the granted share of the offset benefit (TAIL-4)."""
    return standalone - cap * max(0.0, standalone - joint)


@compiled
def end_of_underlying(arrays: Arrays, line: Integers, begin: int, end: int) -> int:
    """Index after the last position of the underlying that position `begin` belongs to; `begin` for cash lines."""
    underlying = arrays.tags[line[begin], UNDERLYING]
    if underlying < 0:
        return begin
    last = arrays.underlying_ends[underlying]
    k = begin + 1
    while k < end and line[k] < last:
        k += 1
    return k


@compiled
def scan_by_worst(arrays: Arrays, line: Integers, quantity: Floats, begin: int, end: int) -> float:
    """The scan requirement of an account before factors under the worst reduction (TAB-5, TAB-7)."""
    requirement = 0.0
    k = begin
    while k < end:
        last = end_of_underlying(arrays, line, k, end)
        if last == k:
            break
        worst = scan_worst(arrays, line, quantity, k, last)
        requirement -= min(worst, basis_worst(arrays, line, quantity, k, last))
        k = last
    return requirement


@compiled
def scan_by_shortfall(arrays: Arrays, line: Integers, quantity: Floats, begin: int, end: int) -> float:
    """The scan requirement of an account before factors under the tail reduction (TAIL-4)."""
    tail_mass, count = arrays.model[TAIL_MASS], int(arrays.model[SCENARIOS])
    results, joint = np.zeros(arrays.values.shape[1]), np.zeros(arrays.values.shape[1])
    standalone = 0.0
    k = begin
    while k < end:
        last = end_of_underlying(arrays, line, k, end)
        if last == k:
            break
        scan_results(arrays, line, quantity, k, last, results)
        for s in range(len(joint)):
            joint[s] += results[s]
        standalone += expected_shortfall(results, tail_mass, count)
        k = last
    return capped_joint(standalone, expected_shortfall(joint, tail_mass, count), arrays.model[OFFSET_CAP])


@compiled
def scan(arrays: Arrays, line: Integers, quantity: Floats, begin: int, end: int) -> float:
    """The scan requirement of an account before factors, by the reduction of its model."""
    if arrays.model[TAIL_MASS] > 0.0:
        return scan_by_shortfall(arrays, line, quantity, begin, end)
    return scan_by_worst(arrays, line, quantity, begin, end)


@compiled
def payoff_floor(arrays: Arrays, line: Integers, quantity: Floats, begin: int, end: int) -> float:
    """The least, over settlement prices {0, strikes}, of the payoff of options begin..end; at most 0 (STD-8)."""
    floor = 0.0
    for at in range(begin - 1, end):
        price = 0.0 if at < begin else arrays.lines[line[at], STRIKE]
        payoff = 0.0
        for k in range(begin, end):
            row = line[k]
            sign = arrays.lines[row, OPTION_SIGN]
            intrinsic = max(0.0, sign * (price - arrays.lines[row, STRIKE]))
            payoff += quantity[k] * (arrays.lines[row, PAR] * intrinsic)
        floor = min(floor, payoff)
    return floor


@compiled
def option_group(
    arrays: Arrays, group: int, line: Integers, quantity: Floats, begin: int, end: int, out: Floats
) -> None:
    """Add the isolated-or-maximum-loss requirement (STD-8) and the netted charges of one option group to `out`."""
    isolated_initial, isolated_maintenance, today, calls, net = 0.0, 0.0, 0.0, 0.0, 0.0
    strike_short, strike_net, strike = 0.0, 0.0, -1.0
    for k in range(begin, end):
        row, q = line[k], quantity[k]
        side = OPTION if q > 0.0 else OPTION + 1
        size = abs(q)
        isolated_initial += size * arrays.lines[row, side]
        isolated_maintenance += size * arrays.lines[row, side + 2]
        today += q * arrays.lines[row, TODAY]
        net += q
        if arrays.lines[row, OPTION_SIGN] > 0.0:
            calls += q
        if arrays.lines[row, STRIKE] != strike:
            strike_short += max(0.0, -strike_net)
            strike, strike_net = arrays.lines[row, STRIKE], 0.0
        strike_net += q
    strike_short += max(0.0, -strike_net)
    if arrays.groups[group, MAXIMUM_LOSS] > 0.0:
        bound = today - payoff_floor(arrays, line, quantity, begin, end)
        unpaired = max(0.0, -calls)
        isolated_initial = min(isolated_initial, bound + arrays.groups[group, UNPAIRED] * unpaired)
        isolated_maintenance = min(isolated_maintenance, bound + arrays.groups[group, UNPAIRED + 1] * unpaired)
    short = max(0.0, -net)
    out[INITIAL + OPTIONS] += isolated_initial
    out[MAINTENANCE + OPTIONS] += isolated_maintenance
    out[INITIAL + NETTED] += arrays.groups[group, STRIKE_NET] * strike_short + arrays.groups[group, EXPIRY_NET] * short
    out[MAINTENANCE + NETTED] += (
        arrays.groups[group, STRIKE_NET + 1] * strike_short + arrays.groups[group, EXPIRY_NET + 1] * short
    )


@compiled
def underlying_charges(arrays: Arrays, line: Integers, quantity: Floats, begin: int, end: int, out: Floats) -> None:
    """Add to `out` every charge of one underlying's positions begin..end that is not the scan."""
    confidence = CONFIDENCE
    for k in range(begin, end):
        if arrays.lines[line[k], PERPETUAL] > 0.0 and quantity[k] != 0.0:
            confidence = CONFIDENCE + 2
    longs, shorts = 0.0, 0.0
    k = begin
    while k < end:
        group = arrays.tags[line[k], GROUP]
        group_end = arrays.group_ends[group]
        first = k
        while k < end and line[k] < group_end:
            row, q = line[k], quantity[k]
            side = 0 if q > 0.0 else 1
            size = abs(q)
            out[INITIAL + CHARGES] += size * (arrays.lines[row, CHARGE + side] + size * arrays.lines[row, SLOPE])
            out[MAINTENANCE + CHARGES] += size * (
                arrays.lines[row, CHARGE + 2 + side] + size * arrays.lines[row, SLOPE + 1]
            )
            out[INITIAL + CONFIDENCES] += size * arrays.lines[row, confidence + side]
            out[INITIAL + DEPEGS] += size * arrays.lines[row, DEPEG + side]
            notional = size * arrays.lines[row, OFFSET_NOTIONAL]
            if side == 0:
                longs += notional
            else:
                shorts += notional
            k += 1
        if arrays.lines[line[first], OPTION_SIGN] != 0.0:
            option_group(arrays, group, line, quantity, first, k, out)
    underlying = arrays.tags[line[begin], UNDERLYING]
    out[INITIAL + OFFSET] += arrays.underlyings[underlying, OFFSET_RATE] * min(longs, shorts)
    out[MAINTENANCE + OFFSET] += arrays.underlyings[underlying, OFFSET_RATE + 1] * min(longs, shorts)


@compiled
def haircut(arrays: Arrays, asset: int, value: float, column: int) -> float:
    """Loss of credit on a value of one asset (COL-2, COL-4); `column` 0 initial, 1 maintenance."""
    if value < 0.0:
        return -value * arrays.assets[asset, LIABILITY]
    loss = 0.0
    fields = arrays.assets.shape[1]
    tier = FIRST_TIER
    while tier < fields:
        part = value - arrays.assets[asset, tier + ABOVE]
        if tier + TIER_FIELDS < fields:
            part = min(part, arrays.assets[asset, tier + TIER_FIELDS + ABOVE] - arrays.assets[asset, tier + ABOVE])
        loss += max(0.0, part) * arrays.assets[asset, tier + TIER_INITIAL + column]
        tier += TIER_FIELDS
    return loss


@compiled
def collateral(arrays: Arrays, line: Integers, quantity: Floats, begin: int, end: int, out: Floats) -> None:
    """Add haircuts, liabilities and collateral confidence of an account to `out` (specs/collateral.md)."""
    balances = np.zeros(arrays.assets.shape[0])
    for k in range(begin, end):
        balances[arrays.tags[line[k], ASSET]] += quantity[k] * arrays.lines[line[k], IN_ASSET]
    for asset in range(len(balances)):
        value = balances[asset] * arrays.assets[asset, PRICE]
        out[INITIAL + COLLATERAL] += haircut(arrays, asset, value, 0)
        out[MAINTENANCE + COLLATERAL] += haircut(arrays, asset, value, 1)
        out[INITIAL + CONFIDENCES] += max(0.0, value) * arrays.assets[asset, ASSET_CONFIDENCE]


@compiled
def account(arrays: Arrays, line: Integers, quantity: Floats, begin: int, end: int, out: Floats) -> None:
    """Write one account's equity and components to `out`.

    Args:
        arrays: The table.
        line: Line of each position, int32, ascending within the account, assets included.
        quantity: Quantity of each position; cash − cost on asset lines.
        begin: First position of the account.
        end: Index after its last position.
        out: [MARGIN_FIELDS], overwritten: equity, initial components, maintenance components.
    """
    out[:] = 0.0
    for k in range(begin, end):
        out[0] += quantity[k] * arrays.lines[line[k], TODAY]
    requirement = scan(arrays, line, quantity, begin, end)
    out[INITIAL + SCAN] = requirement * arrays.model[INITIAL_FACTOR]
    out[MAINTENANCE + SCAN] = requirement * arrays.model[MAINTENANCE_FACTOR]
    k = begin
    while k < end:
        last = end_of_underlying(arrays, line, k, end)
        if last == k:
            break
        underlying_charges(arrays, line, quantity, k, last, out)
        k = last
    collateral(arrays, line, quantity, begin, end, out)
    for field in range(len(out)):
        out[field] += 0.0  # −0 becomes 0


@compiled
def total(fields: Floats, first: int) -> float:
    """The sum of a run of components from left to right (TAB-9)."""
    requirement = 0.0
    for component in range(COMPONENTS):
        requirement += fields[first + component]
    return requirement


@compiled
def sweep(arrays: Arrays, pointer: Positions, line: Integers, quantity: Floats, out: Floats) -> None:
    """Equity, initial and maintenance margin of every account.

    Args:
        arrays: The table.
        pointer: [accounts + 1] first position of each account.
        line: [positions] int32, ascending within each account.
        quantity: [positions].
        out: [accounts, 3], overwritten.
    """
    fields = np.empty(1 + 2 * COMPONENTS)
    for a in range(len(pointer) - 1):
        account(arrays, line, quantity, pointer[a], pointer[a + 1], fields)
        out[a, 0] = fields[0]
        out[a, 1] = total(fields, INITIAL)
        out[a, 2] = total(fields, MAINTENANCE)


@compiled
def sweep_scan(arrays: Arrays, pointer: Positions, line: Integers, quantity: Floats, out: Floats) -> None:
    """The scan requirement of every account before factors, [accounts]: the part of a sweep that moves with prices."""
    for a in range(len(pointer) - 1):
        out[a] = scan(arrays, line, quantity, pointer[a], pointer[a + 1])
