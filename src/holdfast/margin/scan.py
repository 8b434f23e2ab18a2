"""The scan of an account: what its underlyings lose in the worst scenario, or in the tail, in vector registers.

Theory of operation. The positions of an account are sorted by line, so every netting set is a run of consecutive
positions. The runs are found first, without branching on the positions. Then a block of scenarios of one underlying
lives in vector registers while its positions stream past; no intermediate matrix is written. The groups of an
underlying without other multipliers than 1 are one run, because nothing happens between their sums. Scenario counts are
padded to whole registers by repeating the last scenario, which changes neither a minimum nor, since the tail reduction
counts only real scenarios, a shortfall.

What lives here: runs of positions, both reductions, and the basis contingency. What may not: charges (`kernel`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from holdfast.compilation import inlined
from holdfast.margin.columns import (
    BASIS_FACTOR,
    GROUP,
    GROUP_FIELDS,
    MULTIPLIERS,
    OFFSET_CAP,
    RUN,
    SCENARIOS,
    TAIL_MASS,
    UNDERLYING,
    VALUES_ALIKE,
)
from holdfast.margin.memory import element, entry, keep_rolled, put
from holdfast.margin.table import Arrays, Floats, Integers
from holdfast.pricing.vectors import LANES_NARROW, LANES_WIDE, load, lowest, select, splat, store

Runs = NDArray[np.int64]
"""Where runs of positions end; see `find_runs`."""
NAMED = 2
"""Scenarios of the basis contingency (TAB-5); the other columns of `Arrays.basis` repeat the second."""


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
    first = int(element(line, begin))
    run, underlying = entry(arrays.tags, first, RUN), entry(arrays.tags, first, UNDERLYING)
    for k in range(begin + 1, end):
        keep_rolled()
        row = int(element(line, k))
        next_run, next_underlying = entry(arrays.tags, row, RUN), entry(arrays.tags, row, UNDERLYING)
        put(runs, found, k)
        found += next_run != run
        put(runs, half + held, found)
        held += next_underlying != underlying
        run, underlying = next_run, next_underlying
    put(runs, found, end)
    put(runs, half + held, found + 1)
    return held + int(underlying >= 0)


class Held(NamedTuple):
    """One underlying's positions in an account: those of the runs `first` … `last` − 1, from position `begin` on."""

    line: Integers
    quantity: Floats
    runs: Runs
    begin: int
    first: int
    last: int


def _block_of(lanes: int, *, alike: bool = False, with_basis: bool = False) -> Callable[..., Any]:
    """A block function: what differs between them must be constant for the compiler.

    Args:
        lanes: Scenarios that one call sums.
        alike: Read the multipliers of value once per group, not once per scenario (`ModelField.VALUES_ALIKE`): a
            quarter of what a group costs.
        with_basis: Sum the basis contingency of TAB-5 beside the scan, from the same quantities and values today, and
            return it too. It needs runs that are groups.
    """

    @inlined
    def block(arrays: Arrays, stride: int, offset: int, held: Held) -> Any:
        """R[s] (TAB-4) of one underlying for `lanes` of the `stride` scenarios, from `offset` on."""
        total, basis = splat(0.0, lanes), 0.0
        width = arrays.basis.shape[1]
        k = held.begin
        for run in range(held.first, held.last):
            group = int(entry(arrays.tags, int(element(held.line, k)), RUN))
            value, named = splat(0.0, lanes), splat(0.0, NAMED)
            today = 0.0
            end = element(held.runs, run)
            while k < end:
                keep_rolled()
                row = int(element(held.line, k))
                q = element(held.quantity, k)
                value = value + q * load(arrays.values, row * stride + offset, lanes)
                if with_basis:
                    named = named + q * load(arrays.basis, row * width, NAMED)
                today += q * element(arrays.today, row)
                k += 1
            if group < 0:
                total = total + (value - today)
            else:
                at = group * MULTIPLIERS * stride + offset
                if alike:
                    positive = splat(element(arrays.multipliers, at), lanes)
                    negative = splat(element(arrays.multipliers, at + stride), lanes)
                else:
                    positive = load(arrays.multipliers, at, lanes)
                    negative = load(arrays.multipliers, at + stride, lanes)
                result = select(value > 0.0, positive, negative) * value - today
                at += 2 * stride
                positive, negative = load(arrays.multipliers, at, lanes), load(arrays.multipliers, at + stride, lanes)
                total = total + select(result > 0.0, positive, negative) * result
                if with_basis:
                    factor = element(arrays.groups, group * GROUP_FIELDS + BASIS_FACTOR)
                    basis += factor * min(0.0, lowest(named - today))
        return (total, basis) if with_basis else total

    return block


_block_wide, _block_narrow = _block_of(LANES_WIDE), _block_of(LANES_NARROW)
_block_alike = _block_of(LANES_WIDE, alike=True)
_block_with_basis = _block_of(LANES_WIDE, with_basis=True)
_block_alike_with_basis = _block_of(LANES_WIDE, alike=True, with_basis=True)


@inlined
def scan_worst(arrays: Arrays, held: Held) -> float:
    """min(0, min over s of R[s], B) of one underlying's positions (TAB-5)."""
    stride, width = arrays.values.shape[1], arrays.basis.shape[1]
    alike = element(arrays.model, VALUES_ALIKE) > 0.0
    runs_are_groups = entry(arrays.tags, int(element(held.line, held.begin)), RUN) >= 0
    sums_basis = width > 0 and stride == LANES_WIDE and runs_are_groups
    worst = 0.0
    if stride != LANES_WIDE:  # 32 is the commonest number of scenarios: it has shortcuts, and a constant stride.
        worst = _worst_of_blocks(arrays, held)
    elif sums_basis:
        if alike:
            results, basis = _block_alike_with_basis(arrays, LANES_WIDE, 0, held)
        else:
            results, basis = _block_with_basis(arrays, LANES_WIDE, 0, held)
        worst = min(0.0, lowest(results), basis)
    elif alike:
        worst = min(0.0, lowest(_block_alike(arrays, LANES_WIDE, 0, held)))
    else:
        worst = min(0.0, lowest(_block_wide(arrays, LANES_WIDE, 0, held)))
    if width > 0 and not sums_basis:
        worst = min(worst, basis_worst(arrays, held))
    return worst


@inlined
def _worst_of_blocks(arrays: Arrays, held: Held) -> float:
    """min(0, min over s of R[s]) for any number of scenarios."""
    stride = arrays.values.shape[1]
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
def basis_worst(arrays: Arrays, held: Held) -> float:
    """B of one underlying (TAB-5): the sum over groups of factor × min(0, worst named scenario)."""
    width = arrays.basis.shape[1]
    total = 0.0
    k, end = held.begin, element(held.runs, held.last - 1)
    while k < end:
        group = int(entry(arrays.tags, int(element(held.line, k)), GROUP))
        group_end = element(arrays.group_ends, group)
        value, today = splat(0.0, NAMED), 0.0
        while k < end and element(held.line, k) < group_end:
            row, q = int(element(held.line, k)), element(held.quantity, k)
            value = value + q * load(arrays.basis, row * width, NAMED)
            today += q * element(arrays.today, row)
            k += 1
        total += element(arrays.groups, group * GROUP_FIELDS + BASIS_FACTOR) * min(0.0, lowest(value - today))
    return total


@inlined
def scan_by_worst(arrays: Arrays, line: Integers, quantity: Floats, begin: int, underlyings: int, runs: Runs) -> float:
    """The scan requirement of an account before factors under the worst reduction (TAB-5, TAB-7)."""
    requirement = 0.0
    k, first, half = begin, 0, runs.shape[1]
    for underlying in range(underlyings):
        last = element(runs, half + underlying)
        requirement -= scan_worst(arrays, Held(line, quantity, runs, k, first, last))
        k, first = element(runs, last - 1), last
    return requirement


class Tail(NamedTuple):
    """Room for the tail reduction, [S] each: one underlying's results, their sums over underlyings, the worst ones."""

    results: Floats
    joint: Floats
    worst: Floats


@inlined
def scan_results(arrays: Arrays, held: Held, results: Floats) -> None:
    """Write R[s] of one underlying's positions to `results`, [S] with padding."""
    stride = arrays.values.shape[1]
    offset = 0
    while offset + LANES_WIDE <= stride:
        store(results, offset, _block_wide(arrays, stride, offset, held))
        offset += LANES_WIDE
    while offset < stride:
        store(results, offset, _block_narrow(arrays, stride, offset, held))
        offset += LANES_NARROW


@inlined
def expected_shortfall(results: Floats, tail_mass: float, count: int, worst: Floats) -> float:
    """max(0, −mean of the `tail_mass` worst of the first `count` results), TAIL-2; depends on their multiset only.

    Args:
        results: [S].
        tail_mass: How many of them the mean is over, not always whole.
        count: How many of them there are before padding.
        worst: [S] room, overwritten: the worst results in ascending order, as many as count.
    """
    whole = int(tail_mass)
    kept = min(count, whole + 1)
    for s in range(count):
        result, at = element(results, s), min(s, kept)
        if at == kept and not result < element(worst, kept - 1):
            continue
        at = min(at, kept - 1)
        while at > 0 and result < element(worst, at - 1):
            put(worst, at, element(worst, at - 1))
            at -= 1
        put(worst, at, result)
    total = 0.0
    for i in range(min(whole, count)):
        total += element(worst, i)
    if whole < count:
        total += (tail_mass - whole) * element(worst, whole)
    return max(0.0, -total / tail_mass)


@inlined
def capped_joint(standalone: float, joint: float, cap: float) -> float:
    """Sum of standalone shortfalls less the granted share of the offset benefit (TAIL-4)."""
    return standalone - cap * max(0.0, standalone - joint)


@inlined
def scan_by_shortfall(
    arrays: Arrays, line: Integers, quantity: Floats, begin: int, underlyings: int, runs: Runs, tail: Tail
) -> float:
    """The scan requirement of an account before factors under the tail reduction (TAIL-4)."""
    tail_mass, count = element(arrays.model, TAIL_MASS), int(element(arrays.model, SCENARIOS))
    scenarios = arrays.values.shape[1]
    for s in range(scenarios):
        put(tail.joint, s, 0.0)
    standalone = 0.0
    k, first, half = begin, 0, runs.shape[1]
    for underlying in range(underlyings):
        last = element(runs, half + underlying)
        scan_results(arrays, Held(line, quantity, runs, k, first, last), tail.results)
        for s in range(scenarios):
            put(tail.joint, s, element(tail.joint, s) + element(tail.results, s))
        standalone += expected_shortfall(tail.results, tail_mass, count, tail.worst)
        k, first = element(runs, last - 1), last
    joint = expected_shortfall(tail.joint, tail_mass, count, tail.worst)
    return capped_joint(standalone, joint, element(arrays.model, OFFSET_CAP))


@inlined
def scan(
    arrays: Arrays, line: Integers, quantity: Floats, begin: int, underlyings: int, runs: Runs, tail: Tail
) -> float:
    """The scan requirement of an account before factors, by the reduction of its model."""
    if element(arrays.model, TAIL_MASS) > 0.0:
        return scan_by_shortfall(arrays, line, quantity, begin, underlyings, runs, tail)
    return scan_by_worst(arrays, line, quantity, begin, underlyings, runs)
