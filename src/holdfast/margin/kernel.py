"""The margin kernel: the requirement of accounts from a risk table, fused, in vector registers.

Theory of operation. Positions are stored as structure of arrays, sorted by line, and lines are sorted by underlying,
group and strike (specs/risk-table.md, TAB-3), so every netting set is a run of consecutive positions. The runs of an
account are found first, without branching on the positions. Then a block of scenarios of one underlying lives in vector
registers while its positions stream past; no intermediate matrix is written. The groups of an underlying without other
multipliers than 1 are one run, because nothing happens between their sums. Scenario counts are padded to whole
registers by repeating the last scenario, which changes neither a minimum nor, since the tail reduction counts only real
scenarios, a shortfall.

Bits. Every product and sum is a separate IEEE operation in the order written here; `twin` repeats that order in NumPy
and must give the same bits. Change one, change both. Nothing here allocates per position or raises: indices were
validated when the table and the account were built, so arrays are read as plain memory (`memory`), and parts are
compiled into the whole (`inlined`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from holdfast.compilation import compiled, inlined
from holdfast.margin.memory import borrowed, element, entry, keep_alive, keep_rolled, put
from holdfast.margin.table import (
    COMPONENTS,
    MARGIN_FIELDS,
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
Runs = NDArray[np.int64]
"""Where runs of positions end; see `find_runs`."""

# Numba treats enumeration members of IntEnum as constants only through plain integers.
TODAY, IN_ASSET = int(LineField.TODAY), int(LineField.IN_ASSET)
CHARGE, SLOPE = int(LineField.CHARGE_LONG_INITIAL), int(LineField.SLOPE_INITIAL)
OPTION = int(LineField.OPTION_LONG_INITIAL)
CONFIDENCE_RATE, DEPEG = int(LineField.CONFIDENCE_LONG), int(LineField.DEPEG_LONG)
CONFIDENCE, THRESHOLD = int(LineField.CONFIDENCE), int(LineField.CONFIDENCE_THRESHOLD)
LENDS, TAKES = int(LineField.LENDS_CONFIDENCE), int(LineField.TAKES_CONFIDENCE)
OFFSET_NOTIONAL, STRIKE, OPTION_SIGN = int(LineField.OFFSET_NOTIONAL), int(LineField.STRIKE), int(LineField.OPTION_SIGN)
PAR = int(LineField.PAR)
GROUP, UNDERLYING, ASSET, RUN = int(LineTag.GROUP), int(LineTag.UNDERLYING), int(LineTag.ASSET), int(LineTag.RUN)
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


@inlined
def find_runs(arrays: Arrays, line: Integers, begin: int, end: int, runs: Runs) -> int:
    """Find the runs of positions begin..end that a scan sums, and the underlyings that these runs belong to.

    The loop branches on nothing that depends on the positions: a processor would guess wrong at every other run.

    Args:
        arrays: The table.
        line: Line of each position, ascending; positions of cash come last and are left out.
        begin: First position.
        end: Index after the last position.
        runs: [2, positions + 1], overwritten: index after the last position of each run; index after the last run of
            each underlying.

    Returns:
        The number of underlyings.
    """
    if begin == end:
        return 0
    found, held, half = 0, 0, runs.shape[1]
    run = entry(arrays.tags, int(element(line, begin)), RUN)
    for k in range(begin + 1, end):
        following = entry(arrays.tags, int(element(line, k)), RUN)
        put(runs, found, k)
        found += following != run
        run = following
    put(runs, found, end)
    underlying = entry(arrays.tags, int(element(line, begin)), UNDERLYING)
    for n in range(found):
        following = entry(arrays.tags, int(element(line, element(runs, n))), UNDERLYING)
        put(runs, half + held, n + 1)
        held += following != underlying
        underlying = following
    put(runs, half + held, found + 1)
    return held + (underlying >= 0)


class Held(NamedTuple):
    """One underlying's positions in an account: those of the runs `first` … `last` − 1, from position `begin` on."""

    line: Integers
    quantity: Floats
    runs: Runs
    begin: int
    first: int
    last: int


def _block_of(lanes: int) -> Callable[..., Any]:
    """The block function for a number of lanes; lanes must be a constant for the compiler."""

    @inlined
    def block(arrays: Arrays, stride: int, offset: int, held: Held) -> Any:
        """R[s] (TAB-4) of one underlying for `lanes` of the `stride` scenarios, from `offset` on."""
        total = splat(0.0, lanes)
        k = held.begin
        for run in range(held.first, held.last):
            group = int(entry(arrays.tags, int(element(held.line, k)), RUN))
            value = splat(0.0, lanes)
            today = 0.0
            end = element(held.runs, run)
            while k < end:
                keep_rolled()
                row = int(element(held.line, k))
                q = element(held.quantity, k)
                value = value + q * load(arrays.values, row * stride + offset, lanes)
                today += q * element(arrays.today, row)
                k += 1
            if group < 0:
                total = total + (value - today)
            else:
                at = group * MULTIPLIERS * stride + offset
                positive, negative = load(arrays.multipliers, at, lanes), load(arrays.multipliers, at + stride, lanes)
                result = select(value > 0.0, positive, negative) * value - today
                at += 2 * stride
                positive, negative = load(arrays.multipliers, at, lanes), load(arrays.multipliers, at + stride, lanes)
                total = total + select(result > 0.0, positive, negative) * result
        return total

    return block


_block_wide, _block_narrow = _block_of(LANES_WIDE), _block_of(LANES_NARROW)


@inlined
def scan_worst(arrays: Arrays, held: Held) -> float:
    """min(0, min over s of R[s]) of one underlying's positions (TAB-5, without basis)."""
    stride = arrays.values.shape[1]
    if stride == LANES_WIDE:  # A constant stride is worth 5% where it is the commonest.
        return min(0.0, lowest(_block_wide(arrays, LANES_WIDE, 0, held)))
    worst = 0.0
    offset = 0
    while offset + LANES_WIDE <= stride:
        worst = min(worst, lowest(_block_wide(arrays, stride, offset, held)))
        offset += LANES_WIDE
    while offset < stride:
        worst = min(worst, lowest(_block_narrow(arrays, stride, offset, held)))
        offset += LANES_NARROW
    return worst


@inlined
def scan_results(arrays: Arrays, held: Held, results: Floats) -> None:
    """Write R[s] of one underlying's positions to `results`, [S] with padding."""
    stride = len(results)
    offset = 0
    while offset + LANES_WIDE <= stride:
        store(results, offset, _block_wide(arrays, stride, offset, held))
        offset += LANES_WIDE
    while offset < stride:
        store(results, offset, _block_narrow(arrays, stride, offset, held))
        offset += LANES_NARROW


@inlined
def basis_worst(arrays: Arrays, line: Integers, quantity: Floats, begin: int, end: int) -> float:
    """The second reduction of one underlying (TAB-5): sum over groups of factor × min(0, worst named scenario)."""
    width = arrays.basis.shape[1]
    total = 0.0
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
            value = value + q * load(arrays.basis, row * width, LANES_NARROW)
            today += q * arrays.lines[row, TODAY]
            k += 1
        total += factor * min(0.0, lowest(value - today))
    return total


@inlined
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


@inlined
def capped_joint(standalone: float, joint: float, cap: float) -> float:
    """Sum of standalone shortfalls less the granted share of the offset benefit (TAIL-4)."""
    return standalone - cap * max(0.0, standalone - joint)


@inlined
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


@inlined
def scan_by_worst(arrays: Arrays, line: Integers, quantity: Floats, begin: int, end: int, runs: Runs) -> float:
    """The scan requirement of an account before factors under the worst reduction (TAB-5, TAB-7)."""
    requirement = 0.0
    k, first, half = begin, 0, runs.shape[1]
    for underlying in range(find_runs(arrays, line, begin, end, runs)):
        last = element(runs, half + underlying)
        worst = scan_worst(arrays, Held(line, quantity, runs, k, first, last))
        if arrays.basis.shape[1] > 0:
            worst = min(worst, basis_worst(arrays, line, quantity, k, element(runs, last - 1)))
        requirement -= worst
        k, first = element(runs, last - 1), last
    return requirement


@inlined
def scan_by_shortfall(arrays: Arrays, line: Integers, quantity: Floats, begin: int, end: int, runs: Runs) -> float:
    """The scan requirement of an account before factors under the tail reduction (TAIL-4)."""
    tail_mass, count = arrays.model[TAIL_MASS], int(arrays.model[SCENARIOS])
    results, joint = np.zeros(arrays.values.shape[1]), np.zeros(arrays.values.shape[1])
    standalone = 0.0
    k, first, half = begin, 0, runs.shape[1]
    for underlying in range(find_runs(arrays, line, begin, end, runs)):
        last = element(runs, half + underlying)
        scan_results(arrays, Held(line, quantity, runs, k, first, last), results)
        for s in range(len(joint)):
            joint[s] += results[s]
        standalone += expected_shortfall(results, tail_mass, count)
        k, first = element(runs, last - 1), last
    return capped_joint(standalone, expected_shortfall(joint, tail_mass, count), arrays.model[OFFSET_CAP])


@inlined
def scan(arrays: Arrays, line: Integers, quantity: Floats, begin: int, end: int, runs: Runs) -> float:
    """The scan requirement of an account before factors, by the reduction of its model."""
    if arrays.model[TAIL_MASS] > 0.0:
        return scan_by_shortfall(arrays, line, quantity, begin, end, runs)
    return scan_by_worst(arrays, line, quantity, begin, end, runs)


@inlined
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


@inlined
def option_group(
    arrays: Arrays, group: int, line: Integers, quantity: Floats, begin: int, end: int, out: Floats
) -> None:
    """Add the isolated-or-maximum-loss requirement (STD-8) and the netted charges of one option group to `out`."""
    isolated_initial, isolated_maintenance, today, calls, par, net = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
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
            if q != 0.0:
                par = max(par, arrays.lines[row, PAR])
        if arrays.lines[row, STRIKE] != strike:
            strike_short += max(0.0, -strike_net)
            strike, strike_net = arrays.lines[row, STRIKE], 0.0
        strike_net += q
    strike_short += max(0.0, -strike_net)
    if arrays.groups[group, MAXIMUM_LOSS] > 0.0:
        bound = today - payoff_floor(arrays, line, quantity, begin, end)
        unpaired = max(0.0, -calls) * par
        isolated_initial = min(isolated_initial, bound + arrays.groups[group, UNPAIRED] * unpaired)
        isolated_maintenance = min(isolated_maintenance, bound + arrays.groups[group, UNPAIRED + 1] * unpaired)
    short = max(0.0, -net)
    out[INITIAL + OPTIONS] += isolated_initial
    out[MAINTENANCE + OPTIONS] += isolated_maintenance
    out[INITIAL + NETTED] += arrays.groups[group, STRIKE_NET] * strike_short + arrays.groups[group, EXPIRY_NET] * short
    out[MAINTENANCE + NETTED] += (
        arrays.groups[group, STRIKE_NET + 1] * strike_short + arrays.groups[group, EXPIRY_NET + 1] * short
    )


@inlined
def missing_confidence(arrays: Arrays, row: int, lent: float) -> float:
    """1 − the confidence of a line if that is below its threshold, else 0 (CHG-8); `lent` by the perpetuals held."""
    sure = arrays.lines[row, CONFIDENCE]
    if arrays.lines[row, TAKES] > 0.0:
        sure = min(sure, lent)
    return 1.0 - sure if sure < arrays.lines[row, THRESHOLD] else 0.0


@inlined
def underlying_charges(arrays: Arrays, line: Integers, quantity: Floats, begin: int, end: int, out: Floats) -> None:
    """Add to `out` every charge of one underlying's positions begin..end that is not the scan."""
    lent = 1.0
    for k in range(begin, end):
        if quantity[k] != 0.0:
            lent = min(lent, arrays.lines[line[k], LENDS])
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
            missing = missing_confidence(arrays, row, lent)
            out[INITIAL + CONFIDENCES] += size * (missing * arrays.lines[row, CONFIDENCE_RATE + side])
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


@inlined
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


@inlined
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


@inlined
def _account(arrays: Arrays, line: Integers, quantity: Floats, begin: int, end: int, runs: Runs, out: Floats) -> None:
    """`account`, with the room for runs that a sweep makes once for all accounts."""
    out[:] = 0.0
    for k in range(begin, end):
        out[0] += quantity[k] * arrays.lines[line[k], TODAY]
    requirement = scan(arrays, line, quantity, begin, end, runs)
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
    runs = np.empty((2, end - begin + 1), np.int64)
    _account(borrowed(arrays), borrowed(line), borrowed(quantity), begin, end, borrowed(runs), borrowed(out))
    keep_alive(runs)


@inlined
def total(fields: Floats, first: int) -> float:
    """The sum of a run of components from left to right (TAB-9)."""
    requirement = 0.0
    for component in range(COMPONENTS):
        requirement += fields[first + component]
    return requirement


@inlined
def longest(pointer: Positions) -> int:
    """The most positions that an account has."""
    most = 0
    for a in range(len(pointer) - 1):
        most = max(most, pointer[a + 1] - pointer[a])
    return most


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
    runs, fields = np.empty((2, longest(pointer) + 1), np.int64), np.empty(MARGIN_FIELDS)
    arrays, line, quantity = borrowed(arrays), borrowed(line), borrowed(quantity)
    for a in range(len(pointer) - 1):
        _account(arrays, line, quantity, pointer[a], pointer[a + 1], borrowed(runs), borrowed(fields))
        out[a, 0] = fields[0]
        out[a, 1] = total(fields, INITIAL)
        out[a, 2] = total(fields, MAINTENANCE)
    keep_alive(runs)
    keep_alive(fields)


@compiled
def sweep_scan(arrays: Arrays, pointer: Positions, line: Integers, quantity: Floats, out: Floats) -> None:
    """The scan requirement of every account before factors, [accounts]: the part of a sweep that moves with prices."""
    runs = np.empty((2, longest(pointer) + 1), np.int64)
    arrays, line, quantity = borrowed(arrays), borrowed(line), borrowed(quantity)
    for a in range(len(pointer) - 1):
        out[a] = scan(arrays, line, quantity, pointer[a], pointer[a + 1], borrowed(runs))
    keep_alive(runs)
