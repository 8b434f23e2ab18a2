"""The plain twin of the kernel: the same requirement, in NumPy and Python that a reader can check line by line.

It repeats the kernel's operations in the kernel's order, so it gives the same bits (TAB-17). It also keeps what the
kernel throws away, every scenario's result and the binding choices: what explanations are made of. Slow, and meant so.
"""

import itertools
from dataclasses import dataclass, field

import numpy as np

from holdfast.margin.account import Account, Figures, named_figures
from holdfast.margin.kernel import INITIAL, MAINTENANCE
from holdfast.margin.table import (
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

Run = tuple[int, int]
"""First position and index after the last one of consecutive positions."""


@dataclass
class GroupScan:
    """What the scan did with one group.

    Attributes:
        group: Index of the group.
        run: Its positions.
        by_value: [S] M chosen per scenario.
        by_result: [S] P chosen per scenario.
        weighted: [S] P·(M·v − v0).
        basis_column: The worse of the named scenarios of the second reduction.
        basis: factor × min(0, its result).
    """

    group: int
    run: Run
    by_value: Floats
    by_result: Floats
    weighted: Floats
    basis_column: int = 0
    basis: float = 0.0


@dataclass
class UnderlyingScan:
    """What the scan did with one underlying: its groups, its results R[s] and its requirement before factors."""

    underlying: int
    run: Run
    groups: list[GroupScan]
    results: Floats
    requirement: float = 0.0
    basis: float = 0.0


@dataclass
class OptionGroup:
    """What the standard model did with one option group; pairs are (initial, maintenance).

    Attributes:
        group: Index of the group.
        run: Its positions.
        value: Value today.
        isolated: Sum of the requirements of the positions alone.
        least_payoff: The settlement price of the least payoff, and that payoff, before the clamp at 0.
        unpaired: Net short calls times the par of the currency of their strikes.
        requirement: What is required: the smaller of isolated and bound.
    """

    group: int
    run: Run
    value: float
    isolated: tuple[float, float]
    least_payoff: tuple[float, float]
    unpaired: float
    requirement: tuple[float, float] = (0.0, 0.0)


@dataclass
class Workings:
    """Everything behind one account's figures.

    Attributes:
        figures: Equity and components, the kernel's bits.
        scans: One per underlying held.
        option_groups: One per option group held.
        joint: [S] results summed over underlyings.
    """

    figures: Figures
    scans: list[UnderlyingScan] = field(default_factory=list)
    option_groups: list[OptionGroup] = field(default_factory=list)
    joint: Floats | None = None


def workings_of(arrays: Arrays, account: Account) -> Workings:
    """The figures of one account, with all workings."""
    out = np.zeros(MARGIN_FIELDS)
    for line, quantity in zip(account.line, account.quantity, strict=True):
        out[0] += quantity * arrays.lines[line, LineField.TODAY]
    workings = Workings(named_figures(out))
    _scan(arrays, account, workings, out)
    for run in runs(account, arrays.tags[:, LineTag.UNDERLYING]):
        _charges(arrays, account, run, workings, out)
    _netted(arrays, account, out)
    _collateral(arrays, account, out)
    workings.figures = named_figures(out + 0.0)
    return workings


def runs(account: Account, tag_of_line: Integers) -> list[Run]:
    """Runs of consecutive positions with one tag ≥ 0."""
    tags = tag_of_line[account.line]
    edges = [0, *(np.flatnonzero(np.diff(tags)) + 1).tolist(), len(tags)]
    return [(a, b) for a, b in itertools.pairwise(edges) if a < b and tags[a] >= 0]


def _runs_of_tag(arrays: Arrays, account: Account, run: Run, tag: LineTag) -> list[Run]:
    """The runs of one tag within a run of an underlying."""
    tags = arrays.tags[account.line[run[0] : run[1]], tag]
    edges = [run[0], *(run[0] + 1 + np.flatnonzero(np.diff(tags))).tolist(), run[1]]
    return list(itertools.pairwise(edges))


def _scan(arrays: Arrays, account: Account, workings: Workings, out: Floats) -> None:
    """TAB-4 to TAB-7 and specs/tail-model.md."""
    tail_mass, count = float(arrays.model[ModelField.TAIL_MASS]), int(arrays.model[ModelField.SCENARIOS])
    joint = np.zeros(arrays.values.shape[1])
    total = 0.0
    for run in runs(account, arrays.tags[:, LineTag.UNDERLYING]):
        scan = _scan_underlying(arrays, account, run)
        joint = joint + scan.results
        if tail_mass > 0.0:
            scan.requirement = expected_shortfall(scan.results, tail_mass, count)
        else:
            worst = min(0.0, float(scan.results.min())) if scan.results.size else 0.0
            scan.requirement = -min(worst, scan.basis)
        total += scan.requirement
        workings.scans.append(scan)
    if tail_mass > 0.0:
        shortfall = expected_shortfall(joint, tail_mass, count)
        total = total - float(arrays.model[ModelField.OFFSET_CAP]) * max(0.0, total - shortfall)
    workings.joint = joint
    out[INITIAL + Component.SCAN] = total * arrays.model[ModelField.INITIAL_FACTOR]
    out[MAINTENANCE + Component.SCAN] = total * arrays.model[ModelField.MAINTENANCE_FACTOR]


def _scan_underlying(arrays: Arrays, account: Account, run: Run) -> UnderlyingScan:
    scan = UnderlyingScan(int(arrays.tags[account.line[run[0]], LineTag.UNDERLYING]), run, [], np.zeros(0))
    total = np.zeros(arrays.values.shape[1])
    for group_run in _runs_of_tag(arrays, account, run, LineTag.GROUP):
        group = _scan_group(arrays, account, group_run)
        scan.basis += group.basis
        scan.groups.append(group)
    for summed_run in _runs_of_tag(arrays, account, run, LineTag.RUN):
        total = total + _scan_group(arrays, account, summed_run).weighted
    scan.results = total
    return scan


def _scan_group(arrays: Arrays, account: Account, run: Run) -> GroupScan:
    group = int(arrays.tags[account.line[run[0]], LineTag.GROUP])
    value, basis, today = np.zeros(arrays.values.shape[1]), np.zeros(arrays.basis.shape[1]), 0.0
    for k in range(*run):
        line, quantity = account.line[k], account.quantity[k]
        value = value + quantity * arrays.values[line]
        basis = basis + quantity * arrays.basis[line]
        today += quantity * arrays.lines[line, LineField.TODAY]
    multipliers = arrays.multipliers[group]
    by_value = np.where(value > 0.0, multipliers[Multiplier.VALUE_POSITIVE], multipliers[Multiplier.VALUE_NEGATIVE])
    result = by_value * value - today
    by_result = np.where(result > 0.0, multipliers[Multiplier.RESULT_POSITIVE], multipliers[Multiplier.RESULT_NEGATIVE])
    scan = GroupScan(group, run, by_value, by_result, by_result * result)
    if basis.size:
        scan.basis_column = int((basis - today).argmin())
        scan.basis = float(arrays.groups[group, GroupField.BASIS_FACTOR]) * min(0.0, float((basis - today).min()))
    return scan


def expected_shortfall(results: Floats, tail_mass: float, count: int) -> float:
    """TAIL-2."""
    ordered = np.sort(results[:count])
    whole = int(tail_mass)
    total = 0.0
    for value in ordered[:whole]:
        total += value
    if whole < count:
        total += (tail_mass - whole) * ordered[whole]
    return float(max(0.0, -total / tail_mass))


def _charges(arrays: Arrays, account: Account, run: Run, workings: Workings, out: Floats) -> None:
    """specs/charges.md and, for option groups, specs/standard-model.md."""
    lines = arrays.lines
    lent = lent_confidence(arrays, account, run)
    notional = [0.0, 0.0]
    for group_run in _runs_of_tag(arrays, account, run, LineTag.GROUP):
        for k in range(*group_run):
            row, quantity = lines[account.line[k]], float(account.quantity[k])
            side, size = (0 if quantity > 0.0 else 1), abs(quantity)
            for start, first in ((INITIAL, 0), (MAINTENANCE, 1)):
                rate = row[LineField.CHARGE_LONG_INITIAL + 2 * first + side]
                out[start + Component.CHARGES] += size * (rate + size * row[LineField.SLOPE_INITIAL + first])
            missing = missing_confidence(row, lent)
            out[INITIAL + Component.CONFIDENCE] += size * (missing * row[LineField.CONFIDENCE_LONG + side])
            out[INITIAL + Component.DEPEG] += size * row[LineField.DEPEG_LONG + side]
            notional[side] += size * row[LineField.OFFSET_NOTIONAL]
        if lines[account.line[group_run[0]], LineField.OPTION_SIGN] != 0.0:
            _option_group(arrays, account, group_run, workings, out)
    rates = arrays.underlyings[arrays.tags[account.line[run[0]], LineTag.UNDERLYING]]
    out[INITIAL + Component.OFFSET] += rates[UnderlyingField.OFFSET_INITIAL] * min(notional)
    out[MAINTENANCE + Component.OFFSET] += rates[UnderlyingField.OFFSET_MAINTENANCE] * min(notional)


def lent_confidence(arrays: Arrays, account: Account, run: Run) -> float:
    """The least confidence of the perpetuals that the account holds of one underlying, 1 if none (CHG-8)."""
    held = (account.line[k] for k in range(*run) if account.quantity[k] != 0.0)
    return min((float(arrays.lines[line, LineField.LENDS_CONFIDENCE]) for line in held), default=1.0)


def missing_confidence(row: Floats, lent: float) -> float:
    """1 − the confidence of a line if that is below its threshold, else 0 (CHG-8)."""
    sure = float(row[LineField.CONFIDENCE])
    if row[LineField.TAKES_CONFIDENCE] > 0.0:
        sure = min(sure, lent)
    return 1.0 - sure if sure < row[LineField.CONFIDENCE_THRESHOLD] else 0.0


def _option_group(arrays: Arrays, account: Account, run: Run, workings: Workings, out: Floats) -> None:
    rows = [arrays.lines[account.line[k]] for k in range(*run)]
    quantities = [float(account.quantity[k]) for k in range(*run)]
    group = int(arrays.tags[account.line[run[0]], LineTag.GROUP])
    fields = arrays.groups[group]
    isolated, today, calls, par = [0.0, 0.0], 0.0, 0.0, 0.0
    for row, quantity in zip(rows, quantities, strict=True):
        side = LineField.OPTION_LONG_INITIAL + (0 if quantity > 0.0 else 1)
        isolated[0] += abs(quantity) * row[side]
        isolated[1] += abs(quantity) * row[side + 2]
        today += quantity * row[LineField.TODAY]
        if row[LineField.OPTION_SIGN] > 0.0:
            calls += quantity
            par = max(par, row[LineField.PAR]) if quantity != 0.0 else par
    least = min(payoffs(rows, quantities), key=lambda at: at[1])
    worked = OptionGroup(group, run, today, (isolated[0], isolated[1]), least, max(0.0, -calls) * par)
    if fields[GroupField.MAXIMUM_LOSS] > 0.0:
        bound = today - min(0.0, least[1])
        for i in range(2):
            isolated[i] = min(isolated[i], bound + fields[GroupField.UNPAIRED_INITIAL + i] * worked.unpaired)
    worked.requirement = (isolated[0], isolated[1])
    for i, start in enumerate((INITIAL, MAINTENANCE)):
        out[start + Component.OPTIONS] += isolated[i]
    workings.option_groups.append(worked)


def payoffs(rows: list[Floats], quantities: list[float]) -> list[tuple[float, float]]:
    """Settlement price and payoff for each of {0, strikes} (STD-8)."""
    result = []
    for price in [0.0, *(float(row[LineField.STRIKE]) for row in rows)]:
        payoff = 0.0
        for row, quantity in zip(rows, quantities, strict=True):
            intrinsic = max(0.0, row[LineField.OPTION_SIGN] * (price - row[LineField.STRIKE]))
            payoff += quantity * (row[LineField.PAR] * intrinsic)
        result.append((price, float(payoff)))
    return result


def _netted(arrays: Arrays, account: Account, out: Floats) -> None:
    """CHG-4 strike by strike, then CHG-5 expiry by expiry."""
    groups = runs(account, arrays.tags[:, LineTag.GROUP])
    strikes = [run for group_run in groups for run in _runs_of_strike(arrays, account, group_run)]
    for first, sets in ((GroupField.STRIKE_NET_INITIAL, strikes), (GroupField.EXPIRY_NET_INITIAL, groups)):
        totals = [0.0, 0.0]
        for run in sets:
            net = 0.0
            for k in range(*run):
                net += float(account.quantity[k])
            rates = arrays.groups[arrays.tags[account.line[run[0]], LineTag.GROUP], first : first + 2]
            for i, rate in enumerate(rates):
                totals[i] += rate * max(0.0, -net)
        for total, start in zip(totals, (INITIAL, MAINTENANCE), strict=True):
            out[start + Component.NETTED] += total


def _runs_of_strike(arrays: Arrays, account: Account, run: Run) -> list[Run]:
    """The runs of one strike within a run of a group."""
    strikes = arrays.lines[account.line[run[0] : run[1]], LineField.STRIKE]
    edges = [run[0], *(run[0] + 1 + np.flatnonzero(np.diff(strikes))).tolist(), run[1]]
    return list(itertools.pairwise(edges))


def _collateral(arrays: Arrays, account: Account, out: Floats) -> None:
    """specs/collateral.md."""
    balances = np.zeros(len(arrays.assets))
    for line, quantity in zip(account.line, account.quantity, strict=True):
        balances[arrays.tags[line, LineTag.ASSET]] += quantity * arrays.lines[line, LineField.IN_ASSET]
    for asset, balance in zip(arrays.assets, balances, strict=True):
        value = float(balance * asset[AssetField.PRICE])
        for column, start in enumerate((INITIAL, MAINTENANCE)):
            out[start + Component.COLLATERAL] += haircut(asset, value, column)
        out[INITIAL + Component.CONFIDENCE] += max(0.0, value) * asset[AssetField.CONFIDENCE]


def haircut(asset: Floats, value: float, column: int) -> float:
    """Loss of credit on a value (COL-2, COL-4)."""
    if value < 0.0:
        return float(-value * asset[AssetField.LIABILITY])
    loss = 0.0
    tiers = asset[AssetField.FIRST_TIER :].reshape(-1, len(TierField))
    for n, tier in enumerate(tiers):
        part = value - tier[TierField.ABOVE]
        if n + 1 < len(tiers):
            part = min(part, tiers[n + 1][TierField.ABOVE] - tier[TierField.ABOVE])
        loss += max(0.0, part) * tier[TierField.INITIAL + column]
    return float(loss)
