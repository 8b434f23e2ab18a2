"""The margin kernel: the requirement of accounts from a risk table.

Theory of operation. Positions are stored as structure of arrays, sorted by line, and lines are sorted by underlying,
group and strike (specs/risk-table.md, TAB-3), so every netting set is a run of consecutive positions. An account is
three passes over its positions: the scan (`scan`), values and gross charges, and net short options; then one over the
assets. Families of charges that a table does not have are exact zeros and are passed over (`ModelField.HAS_…`).

Bits. Every product and sum is a separate IEEE operation in the order written here; `twin` repeats that order in NumPy
and must give the same bits. Change one, change both. Nothing here allocates per account or raises: indices were
validated when the table and the account were built, so arrays are read as plain memory (`memory`), and parts are
compiled into the whole (`inlined`). A processor guesses wrong at every other branch that depends on an account, which
costs as much as twenty operations: where a part ends is a factor of 0 or 1 instead.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from holdfast.compilation import compiled, inlined
from holdfast.margin.columns import (
    ABOVE,
    ASSET,
    ASSET_CONFIDENCE,
    CHARGE,
    EXPIRY_NET,
    FIRST_TIER,
    GROUP,
    HAS_CONFIDENCE,
    HAS_DEPEG,
    HAS_NET_EXPIRY,
    HAS_NET_STRIKE,
    HAS_OFFSET,
    HAS_OPTIONS,
    IN_ASSET,
    INITIAL,
    INITIAL_FACTOR,
    LIABILITY,
    LINE_FIELDS,
    MAINTENANCE,
    MAINTENANCE_FACTOR,
    PRICE,
    SLOPE,
    STRIKE_NET,
    STRIKE_TAG,
    TIER_FIELDS,
    TIER_INITIAL,
    TODAY,
    UNDERLYING,
)
from holdfast.margin.held_charges import (
    Pair,
    confidence_charges,
    depeg_charges,
    net_short_charges,
    offset_charges,
    option_charges,
)
from holdfast.margin.memory import borrowed, element, entry, keep_alive, keep_rolled
from holdfast.margin.scan import Runs, Tail, find_runs, scan
from holdfast.margin.table import COMPONENTS, Arrays, Floats, Integers
from holdfast.pricing.vectors import LANES_NARROW, load, splat, store

__all__ = ["INITIAL", "MAINTENANCE", "account", "account_totals", "beside_scan", "sweep", "sweep_scan", "workspace"]

Positions = NDArray[np.int64]


class Workspace(NamedTuple):
    """Room that the margin of one account needs, made once and used for account after account.

    Attributes:
        runs: [2, positions + 1], see `find_runs`.
        balances: [assets, padded to whole registers] what each asset counts for.
        units: The unit matrix of that many rows.
        tail: Room of the tail reduction.
    """

    runs: Runs
    balances: Floats
    units: Floats
    tail: Tail


@compiled
def workspace(positions_maximum: int, assets: int, scenarios: int) -> Workspace:
    """Room for the margin of accounts.

    Args:
        positions_maximum: The most positions that an account has, assets included.
        assets: `len(arrays.assets)` of the largest table.
        scenarios: `arrays.values.shape[1]` of the widest table.
    """
    runs = np.zeros((2, positions_maximum + 1), np.int64)
    tail = Tail(np.zeros(scenarios), np.zeros(scenarios), np.zeros(scenarios))
    padded = max(1, -(-assets // LANES_NARROW)) * LANES_NARROW
    return Workspace(runs, np.zeros(padded), np.eye(padded), tail)


def fits(room: Workspace, arrays: Arrays) -> bool:
    """Whether a workspace is large enough for a table; to be asked when a table is built or changed."""
    return len(arrays.assets) <= len(room.balances) and arrays.values.shape[1] <= len(room.tail.results)


class Parts(NamedTuple):
    """The components of one requirement, without orders, in the order in which they are summed."""

    scan: float
    options: float
    charges: float
    netted: float
    offset: float
    confidence: float
    depeg: float
    collateral: float


@inlined
def sum_of(parts: Parts) -> float:
    """The sum of the components from left to right (TAB-9)."""
    total = 0.0 + parts.scan + parts.options + parts.charges + parts.netted
    return total + parts.offset + parts.confidence + parts.depeg + parts.collateral


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
def value_and_charges(
    arrays: Arrays, line: Integers, quantity: Floats, begin: int, end: int, room: Workspace
) -> tuple[float, float, float]:
    """Equity, and the charges by size (CHG-2, CHG-3, STD-1) for initial and maintenance; fills `balances` (COL-1).

    What this pass reads of a line is one cache line, the first eight columns of `lines`. Balances are lanes of a
    register, to which each position adds its amount times a row of the unit matrix: sums in memory would each wait for
    the one before to be stored.
    """
    equity, initial, maintenance = 0.0, 0.0, 0.0
    balances = splat(0.0, LANES_NARROW)
    assets = room.units.shape[1]
    for k in range(begin, end):
        keep_rolled()
        row, q = int(element(line, k)), element(quantity, k)
        asset, at = int(entry(arrays.tags, row, ASSET)), row * LINE_FIELDS
        rate, slope, size = at + CHARGE + (q <= 0.0), at + SLOPE, abs(q)
        equity += q * element(arrays.lines, at + TODAY)
        initial += size * (element(arrays.lines, rate) + size * element(arrays.lines, slope))
        maintenance += size * (element(arrays.lines, rate + 2) + size * element(arrays.lines, slope + 1))
        amount = q * element(arrays.lines, at + IN_ASSET)
        balances = balances + amount * load(room.units, asset * assets, LANES_NARROW)
    store(room.balances, 0, balances)
    for first in range(LANES_NARROW, arrays.assets.shape[0], LANES_NARROW):
        more_balances(arrays, line, quantity, begin, end, room, first)
    return equity, initial, maintenance


@inlined
def more_balances(
    arrays: Arrays, line: Integers, quantity: Floats, begin: int, end: int, room: Workspace, first: int
) -> None:
    """Fill the balances of a register of assets from `first` on, as `value_and_charges` does those of the first."""
    balances = splat(0.0, LANES_NARROW)
    for k in range(begin, end):
        row = int(element(line, k))
        amount = element(quantity, k) * element(arrays.lines, row * LINE_FIELDS + IN_ASSET)
        unit = int(entry(arrays.tags, row, ASSET)) * room.units.shape[1] + first
        balances = balances + amount * load(room.units, unit, LANES_NARROW)
    store(room.balances, first, balances)


@inlined
def haircut(arrays: Arrays, asset: int, value: float) -> Pair:
    """Loss of credit on a value of one asset (COL-2, COL-4), for initial and maintenance.

    The loss on what is owed is 0 for a value above 0, the loss in a tier is 0 below where it starts: their sum needs no
    case for the sign.
    """
    fields = arrays.assets.shape[1]
    first, last = asset * fields, (asset + 1) * fields
    owed = max(0.0, -value) * element(arrays.assets, first + LIABILITY)
    initial, maintenance = owed, owed
    tier = first + FIRST_TIER
    while tier < last:
        above = element(arrays.assets, tier + ABOVE)
        part = value - above
        if tier + TIER_FIELDS < last:
            part = min(part, element(arrays.assets, tier + TIER_FIELDS + ABOVE) - above)
        part = max(0.0, part)
        initial += part * element(arrays.assets, tier + TIER_INITIAL)
        maintenance += part * element(arrays.assets, tier + TIER_INITIAL + 1)
        tier += TIER_FIELDS
    return initial, maintenance


@inlined
def credit_lost(arrays: Arrays, balances: Floats, unsure: float) -> tuple[float, float, float]:
    """Haircuts and liabilities for initial and maintenance (specs/collateral.md); and `unsure` with collateral's part.

    Args:
        arrays: The table.
        balances: [A] what each asset counts for.
        unsure: The confidence charges so far, to which those of collateral are added (CHG-8).
    """
    initial, maintenance, fields = 0.0, 0.0, arrays.assets.shape[1]
    for asset in range(arrays.assets.shape[0]):
        value = element(balances, asset) * element(arrays.assets, asset * fields + PRICE)
        lost, lost_maintenance = haircut(arrays, asset, value)
        initial += lost
        maintenance += lost_maintenance
        unsure += max(0.0, value) * element(arrays.assets, asset * fields + ASSET_CONFIDENCE)
    return initial, maintenance, unsure


class Families(NamedTuple):
    """The charges that a table may have or not have, for lines of some underlyings; pairs as `Pair`."""

    options: Pair
    netted: Pair
    offset: Pair
    confidence: float
    depeg: float


@inlined
def families(
    arrays: Arrays, line: Integers, quantity: Floats, begin: int, end: int, underlyings: int, runs: Runs
) -> Families:
    """Charge positions begin..end, of lines that belong to groups, by every family of charges that the table has."""
    options, netted, offset, unsure, depeg = (0.0, 0.0), (0.0, 0.0), (0.0, 0.0), 0.0, 0.0
    if begin < end:
        if element(arrays.model, HAS_OPTIONS) > 0.0:
            options = option_charges(arrays, line, quantity, begin, end)
        if element(arrays.model, HAS_NET_STRIKE) > 0.0:
            netted = net_short_charges(arrays, line, quantity, begin, end, STRIKE_TAG, STRIKE_NET)
        if element(arrays.model, HAS_NET_EXPIRY) > 0.0:
            by_expiry = net_short_charges(arrays, line, quantity, begin, end, GROUP, EXPIRY_NET)
            netted = netted[0] + by_expiry[0], netted[1] + by_expiry[1]
        if element(arrays.model, HAS_OFFSET) > 0.0:
            offset = offset_charges(arrays, line, quantity, begin, underlyings, runs)
        if element(arrays.model, HAS_CONFIDENCE) > 0.0:
            unsure = confidence_charges(arrays, line, quantity, begin, underlyings, runs)
        if element(arrays.model, HAS_DEPEG) > 0.0:
            depeg = depeg_charges(arrays, line, quantity, begin, end)
    return Families(options, netted, offset, unsure, depeg)


@inlined
def end_of_scanned(begin: int, underlyings: int, runs: Runs) -> int:
    """Index after the last position of the underlyings that `find_runs` found: where cash begins."""
    return element(runs, element(runs, runs.shape[1] + underlyings - 1) - 1) if underlyings > 0 else begin


@inlined
def parts_of(
    arrays: Arrays,
    line: Integers,
    quantity: Floats,
    begin: int,
    end: int,
    room: Workspace,
    underlyings: int,
    requirement: float,
) -> tuple[float, Parts, Parts]:
    """`margin` of an account whose runs are found and whose scan requirement before factors is known."""
    equity, charges, charges_maintenance = value_and_charges(arrays, line, quantity, begin, end, room)
    scanned = end_of_scanned(begin, underlyings, room.runs)
    found = families(arrays, line, quantity, begin, scanned, underlyings, room.runs)
    lost, lost_maintenance, unsure = credit_lost(arrays, room.balances, found.confidence)
    at_initial, at_maintenance = element(arrays.model, INITIAL_FACTOR), element(arrays.model, MAINTENANCE_FACTOR)
    options, netted, offset = found.options, found.netted, found.offset
    initial = requirement * at_initial, options[0], charges, netted[0], offset[0], unsure, found.depeg, lost
    maintenance = requirement * at_maintenance, options[1], charges_maintenance, netted[1], offset[1]
    return equity, Parts(*initial), Parts(*maintenance, 0.0, 0.0, lost_maintenance)


@inlined
def margin(
    arrays: Arrays, line: Integers, quantity: Floats, begin: int, end: int, room: Workspace
) -> tuple[float, Parts, Parts]:
    """Equity and the components of initial and maintenance margin of one account, zeros of either sign."""
    underlyings = find_runs(arrays, line, begin, end, room.runs)
    requirement = scan(arrays, line, quantity, begin, underlyings, room.runs, room.tail)
    return parts_of(arrays, line, quantity, begin, end, room, underlyings, requirement)


@inlined
def account_totals(
    arrays: Arrays, line: Integers, quantity: Floats, begin: int, end: int, room: Workspace
) -> tuple[float, float, float]:
    """Equity, initial and maintenance margin of one account, for compiled callers; allocates nothing.

    Args:
        arrays: The table; the caller keeps it, and the arrays below, alive.
        line: Line of each position, int32, ascending within the account, assets included.
        quantity: Quantity of each position; cash − cost on asset lines.
        begin: First position of the account.
        end: Index after its last position.
        room: A `workspace` with room for end − begin positions and for this table.
    """
    equity, initial, maintenance = margin(
        borrowed(arrays), borrowed(line), borrowed(quantity), begin, end, borrowed(room)
    )
    return equity + 0.0, sum_of(initial), sum_of(maintenance)  # −0 becomes 0


@inlined
def beside_scan(arrays: Arrays, line: Integers, quantity: Floats, begin: int, end: int, room: Workspace) -> float:
    """The initial margin of one account without its scan, which is most of the work; otherwise as `account_totals`."""
    arrays, line, quantity, room = borrowed(arrays), borrowed(line), borrowed(quantity), borrowed(room)
    underlyings = find_runs(arrays, line, begin, end, room.runs)
    _, initial, _ = parts_of(arrays, line, quantity, begin, end, room, underlyings, 0.0)
    return sum_of(initial)


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
    room = workspace(end - begin, arrays.assets.shape[0], arrays.values.shape[1])
    equity, initial, maintenance = margin(
        borrowed(arrays), borrowed(line), borrowed(quantity), begin, end, borrowed(room)
    )
    keep_alive(room)
    out[:] = 0.0
    out[0] = equity + 0.0
    for component in range(len(initial)):
        out[INITIAL + component] = initial[component] + 0.0
        out[MAINTENANCE + component] = maintenance[component] + 0.0


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
    room = workspace(longest(pointer), arrays.assets.shape[0], arrays.values.shape[1])
    for a in range(len(pointer) - 1):
        out[a, 0], out[a, 1], out[a, 2] = account_totals(arrays, line, quantity, pointer[a], pointer[a + 1], room)


@compiled
def sweep_scan(arrays: Arrays, pointer: Positions, line: Integers, quantity: Floats, out: Floats) -> None:
    """The scan requirement of every account before factors, [accounts]: the part of a sweep that moves with prices."""
    room = workspace(longest(pointer), 0, arrays.values.shape[1])
    arrays, line, quantity, runs, tail = (
        borrowed(arrays),
        borrowed(line),
        borrowed(quantity),
        borrowed(room.runs),
        borrowed(room.tail),
    )
    for a in range(len(pointer) - 1):
        begin = pointer[a]
        underlyings = find_runs(arrays, line, begin, pointer[a + 1], runs)
        out[a] = scan(arrays, line, quantity, begin, underlyings, runs, tail)
    keep_alive(room)
