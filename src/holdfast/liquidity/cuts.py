"""The requirement as planes: what a programme knows of an account's initial margin around one set of quantities.

Theory of operation. A scan's requirement is the worst of many planes, one per scenario. At given quantities the signs
of groups choose their multipliers, so every scenario's result is Σ slope · quantity, without a constant; a *cut* is
such a row of slopes with the underlying it belongs to. Of the tail model's shortfall, the mean of the worst results,
the cut is the mean of their rows. Where gains count no more than losses, as in every preset, a requirement
lies nowhere below its cuts, so cuts stay true when quantities change. Everything else (charges, options of the standard
model, haircuts) is measured on the kernel: its change when a little of a line is taken at today's value.

This file calls the kernel and nothing else that is compiled, so a change here or there never serves a stale cache.
"""

from typing import NamedTuple

import numpy as np

from holdfast.compilation import compiled
from holdfast.liquidity.books import Sheet
from holdfast.margin import kernel
from holdfast.margin.columns import (
    BASIS_FACTOR,
    GROUP,
    INITIAL_FACTOR,
    OFFSET_CAP,
    SCENARIOS,
    TAIL_MASS,
    TODAY,
    UNDERLYING,
)
from holdfast.margin.memory import keep_alive
from holdfast.margin.table import Arrays, Floats, Integers, LineTag

CUTS_PER_UNDERLYING = 3
"""Worst scenarios of an underlying that a round adds: neighbours are likely to be worst next."""
BESIDE = 1e-5
"""Part of a position, up to twice, by which slopes are taken beside a point."""
STEP = 1e-7
"""Part of a position, or of an account's scale, that is moved to measure a slope: well below `BESIDE`."""
GOLDEN = 0.6180339887498949
"""Its multiples, modulo 1, lie apart."""


class Cuts(NamedTuple):
    """Rows that hold around some quantities.

    Attributes:
        slopes: [cuts, n] result per unit of each position, numeraire.
        owner: [cuts] the scan requirement that a row bounds: underlyings in order, then the joint shortfall.
        other: Requirement beside the scan at these quantities.
        plane: What the next two make of it there; less where it bends upwards.
        by_line: [m] its change per unit of a reducible line taken at today's value.
        by_cash: [m] its change per unit by which the settlement asset falls.
    """

    slopes: Floats
    owner: Integers
    other: float
    plane: float
    by_line: Floats
    by_cash: Floats


def owners_of(arrays: Arrays, sheet: Sheet) -> Floats:
    """The initial factor of each scan requirement that cuts bound, in the order of their owners."""
    tags = arrays.tags[sheet.line, LineTag.UNDERLYING]
    held, factor = len(set(tags[tags >= 0].tolist())), arrays.model[INITIAL_FACTOR]
    if arrays.values.shape[1] == 0:
        return np.zeros(0)
    if arrays.model[TAIL_MASS] == 0.0:
        return np.full(held, factor)
    cap = arrays.model[OFFSET_CAP]  # TAIL-4, the joint shortfall being never above the sum.
    return np.append(np.full(held, factor * (1.0 - cap)), factor * cap)


def cuts_at(arrays: Arrays, sheet: Sheet, quantity: Floats, scale: float) -> Cuts:
    """What is known of the requirement at `quantity` [n]; `scale` is the size of the account's figures, numeraire."""
    slopes, owner = np.zeros((0, len(quantity))), np.zeros(0, np.int32)
    if arrays.values.shape[1] > 0:
        slopes, owner = scan_cuts(arrays, sheet.line, quantity)
    by_line, by_cash = np.zeros(len(sheet.size)), np.zeros(len(sheet.size))
    other, plane = other_slopes(arrays, sheet, quantity, scale, by_line, by_cash)
    return Cuts(slopes, owner, other, plane, by_line, by_cash)


@compiled
def _weighted(arrays: Arrays, line: Integers, quantity: Floats, begin: int, end: int, s: int, row: Floats) -> float:
    """Write the slopes of positions of one group in scenario `s` to `row`; returns the group's weighted result."""
    value, today = 0.0, 0.0
    for k in range(begin, end):
        value += quantity[k] * arrays.values[line[k], s]
        today += quantity[k] * arrays.lines[line[k], TODAY]
    group = arrays.tags[line[begin], GROUP]
    by_value = arrays.multipliers[group, 0 if value > 0.0 else 1, s]
    result = by_value * value - today
    by_result = arrays.multipliers[group, 2 if result > 0.0 else 3, s]
    for k in range(begin, end):
        row[k] = by_result * (by_value * arrays.values[line[k], s] - arrays.lines[line[k], TODAY])
    return float(by_result * result)


@compiled
def _end_of_tag(arrays: Arrays, line: Integers, begin: int, end: int, tag: int) -> int:
    """Index after the last of the consecutive positions from `begin` on whose tag is the same."""
    k = begin + 1
    while k < end and arrays.tags[line[k], tag] == arrays.tags[line[begin], tag]:
        k += 1
    return k


@compiled
def _basis_cut(arrays: Arrays, line: Integers, quantity: Floats, begin: int, end: int, row: Floats) -> float:
    """Write the slopes of the second reduction (TAB-5) of one underlying to `row`; returns its result, ≤ 0."""
    total, k = 0.0, begin
    while k < end:
        last = _end_of_tag(arrays, line, k, end, GROUP)
        factor, worst, column = arrays.groups[arrays.tags[line[k], GROUP], BASIS_FACTOR], 0.0, -1
        for b in range(arrays.basis.shape[1]):
            result = 0.0
            for p in range(k, last):
                result += quantity[p] * (arrays.basis[line[p], b] - arrays.lines[line[p], TODAY])
            if result < worst:
                worst, column = result, b
        if column >= 0:
            for p in range(k, last):
                row[p] = factor * (arrays.basis[line[p], column] - arrays.lines[line[p], TODAY])
        total += factor * worst
        k = last
    return total


@compiled
def _tail_cut(arrays: Arrays, results: Floats, slopes: Floats, begin: int, end: int, row: Floats) -> None:
    """Write the mean slopes over the worst results (TAIL-2) of positions begin..end to `row`."""
    mass = arrays.model[TAIL_MASS]
    whole = int(mass)
    order = np.argsort(results, kind="mergesort")
    for n in range(min(whole + 1, len(order))):
        weight = (1.0 if n < whole else mass - whole) / mass
        for k in range(begin, end):
            row[k] += weight * slopes[order[n], k]


@compiled
def scan_cuts(arrays: Arrays, line: Integers, quantity: Floats) -> tuple[Floats, Integers]:
    """Slopes [cuts, n] and owners [cuts] of the scan at some quantities, the worst of each underlying first."""
    n, count, tail = len(line), int(arrays.model[SCENARIOS]), arrays.model[TAIL_MASS] > 0.0
    rows, owner = (
        np.zeros(((CUTS_PER_UNDERLYING + 1) * n + 1, n)),
        np.zeros((CUTS_PER_UNDERLYING + 1) * n + 1, np.int32),
    )
    slopes, joint, results = np.zeros((count, n)), np.zeros(count), np.zeros(count)
    found, held, begin = 0, 0, 0
    while begin < n and arrays.tags[line[begin], UNDERLYING] >= 0:
        end = _end_of_tag(arrays, line, begin, n, UNDERLYING)
        results[:] = 0.0
        k = begin
        while k < end:
            last = _end_of_tag(arrays, line, k, end, GROUP)
            for s in range(count):
                results[s] += _weighted(arrays, line, quantity, k, last, s, slopes[s])
            k = last
        joint += results
        owner[found : found + CUTS_PER_UNDERLYING + 1] = held
        if tail:
            _tail_cut(arrays, results, slopes, begin, end, rows[found])
            found += 1
        else:
            for _ in range(min(CUTS_PER_UNDERLYING, count)):
                worst = int(np.argmin(results))
                if results[worst] >= 0.0:
                    break
                rows[found, begin:end] = slopes[worst, begin:end]
                results[worst] = np.inf
                found += 1
            if _basis_cut(arrays, line, quantity, begin, end, rows[found]) < 0.0:
                found += 1
        held += 1
        begin = end
    if tail and held > 0:
        _tail_cut(arrays, joint, slopes, 0, begin, rows[found])
        owner[found] = held
        found += 1
    return rows[:found], owner[:found]


@compiled
def beside_scan(arrays: Arrays, line: Integers, quantity: Floats, room: kernel.Workspace) -> float:
    """Initial margin beside the scan; the scan, the dear one, is left out."""
    return kernel.beside_scan(arrays, line, quantity, 0, len(line), room)


@compiled
def other_slopes(
    arrays: Arrays, sheet: Sheet, quantity: Floats, scale: float, by_line: Floats, by_cash: Floats
) -> tuple[float, float]:
    """Write how the requirement beside the scan changes (see `Cuts`); returns it and its plane there.

    Slopes are taken a little beside `quantity`, by another part of each line: there the requirement has no kink, and a
    slope of a convex function that is taken where it has one bounds it everywhere. A line is moved further towards 0
    where something is left of it, else back; its proceeds at today's value go to its settlement asset, so that what
    only moves between the two (haircuts) is not seen.
    """
    m, beside = len(by_line), quantity.copy()
    room = kernel.workspace(len(quantity), arrays.assets.shape[0], 0)
    ahead = np.empty(m)
    for i in range(m):
        p, cash = sheet.position[i], sheet.cash[i]
        ahead[i] = BESIDE * (1.0 + (i * GOLDEN) % 1.0) * sheet.size[i]
        if abs(quantity[p]) < 2.0 * ahead[i]:
            ahead[i] = -ahead[i]
        _take(sheet, i, ahead[i], beside)
    moved = beside.copy()
    here = beside_scan(arrays, sheet.line, beside, room)
    plane = here
    for i in range(m):
        p, cash, step = sheet.position[i], sheet.cash[i], STEP * sheet.size[i]
        _take(sheet, i, step, moved)
        by_line[i] = (beside_scan(arrays, sheet.line, moved, room) - here) / step
        plane -= by_line[i] * ahead[i]
        moved[p], moved[cash] = beside[p], beside[cash]
        if i > 0 and cash == sheet.cash[i - 1]:
            by_cash[i] = by_cash[i - 1]
            continue
        step = STEP * scale / sheet.coin[i]
        moved[cash] -= step
        by_cash[i] = (beside_scan(arrays, sheet.line, moved, room) - here) / step
        moved[cash] = beside[cash]
    other = beside_scan(arrays, sheet.line, quantity, room)
    keep_alive(room)
    return other, plane


@compiled
def _take(sheet: Sheet, i: int, step: float, quantity: Floats) -> None:
    """Take `step` out of line `i` at today's value."""
    quantity[sheet.position[i]] -= sheet.sign[i] * step
    quantity[sheet.cash[i]] += sheet.sign[i] * step * sheet.today[i] / sheet.coin[i]
