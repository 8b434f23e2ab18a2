"""The scan: scenario results, the worst of them, and expected shortfall (TAB-4, TAB-5, TAIL-2 … TAIL-4, ORD-3, ORD-4).

What lives here: reductions of scenario results. What may not: the values they are made of, and charges beside them.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import floor

from holdfast.domain.errors import InputError
from holdfast.witness.exact.book import Book
from holdfast.witness.exact.intervals import NOTHING, ZERO, Interval, bent, greatest, least, total
from holdfast.witness.exact.parameters import StandardModel, TailModel
from holdfast.witness.exact.table import Group, Line, Table

_NEAR_WHOLE = Fraction(1, 10**9)


def scan(table: Table, book: Book) -> Interval:
    """The scan requirement of an account before its factors; 0 in the standard model."""
    if isinstance(table.model, StandardModel):
        return NOTHING
    per_underlying = [results(table, book, each) for each in table.underlyings]
    if isinstance(table.model, TailModel):
        return tail_requirement(table.model, per_underlying)
    return total(
        -least(NOTHING, *found, basis(table, book, underlying))
        for underlying, found in zip(table.underlyings, per_underlying, strict=True)
    )


def results(table: Table, book: Book, underlying: str) -> list[Interval]:
    """R[s] of an underlying; with orders, the least that it can become."""
    groups = [each for each in table.groups if each.key[0] == underlying]
    return [total(group_result(table, book, each, s) for each in groups) for s in range(table.scenarios)]


def group_result(table: Table, book: Book, group: Group, scenario: int) -> Interval:
    """P·g of a group in a scenario; with orders in it, the smaller of both ends (ORD-3).

    For P₋ ≥ 0 a result below 0 stays so, and so 0 between ends of different sign can never be the smallest.
    """
    lines = [(table.lines[each], book.at(each)) for each in group.lines if each in book.range]
    gain, loss = Interval.point(group.gain[scenario]), Interval.point(group.loss[scenario])
    if all(quantity.is_point for _, quantity in lines):
        value = total(line.v[scenario].times(quantity.low) for line, quantity in lines)
        today = total(line.v0.times(quantity.low) for line, quantity in lines)
        return bent(bent(value, group.positive, group.negative) - today, gain, loss)
    ends = [_ends(lines, factor, scenario) for factor in (group.positive, group.negative)]
    lower, upper = least(*(each[0] for each in ends)), greatest(*(each[1] for each in ends))
    return least(bent(lower, gain, loss), bent(upper, gain, loss))


def _ends(lines: Sequence[tuple[Line, Interval]], factor: Interval, scenario: int) -> tuple[Interval, Interval]:
    """lower_m and upper_m of ORD-3."""
    moved = [(quantity, line.v[scenario].interval * factor - line.v0.interval) for line, quantity in lines]
    return total(lowest(*each) for each in moved), total(highest(*each) for each in moved)


def lowest(quantity: Interval, unit: Interval) -> Interval:
    """min(lo·d, hi·d) for the range lo … hi of a quantity and a number d within `unit`."""
    return -highest(quantity, -unit)


def highest(quantity: Interval, unit: Interval) -> Interval:
    """max(lo·d, hi·d); lo·d for d below 0 and hi·d above, so convex in d with its least at 0 if lo ≤ 0 ≤ hi."""
    ends = [quantity.high * d if d > 0 else quantity.low * d for d in (unit.low, unit.high)]
    inner = [ZERO] if unit.low < 0 < unit.high else []
    return Interval(min(ends + inner), max(ends + inner))


def basis(table: Table, book: Book, underlying: str) -> Interval:
    """B of TAB-5; with orders, of the lower ends (ORD-4)."""
    groups = [each for each in table.groups if each.key[0] == underlying and each.basis is not None]
    return total(_basis(table, book, each).times(each.basis or ZERO) for each in groups)


def _basis(table: Table, book: Book, group: Group) -> Interval:
    lines = [(table.lines[each], book.at(each)) for each in group.lines if each in book.range]
    named = [
        total(lowest(quantity, line.basis[each].interval - line.v0.interval) for line, quantity in lines)
        for each in (0, 1)
    ]
    return least(NOTHING, *named)


def shortfall(at: Sequence[Interval], level: Fraction) -> Interval:
    """Expected shortfall of results (TAIL-2): falling in each of them, so that their ends give its ends."""
    return Interval(
        expected_shortfall([each.high for each in at], level),
        expected_shortfall([each.low for each in at], level),
    )


def expected_shortfall(numbers: Sequence[Fraction], level: Fraction) -> Fraction:
    """max(0, −(r₁ + … + r_k + (n − k)·r_{k+1}) / n) of the sorted results, n = (1 − level)·N.

    Raises:
        InputError: `out-of-range`, fewer scenarios than the level needs.
    """
    mass = (1 - level) * len(numbers)
    if abs(mass - round(mass)) <= _NEAR_WHOLE:
        mass = Fraction(round(mass))
    if mass < 1:
        raise InputError("out-of-range", "parameters.moves", len(numbers), "give at least 1 / (1 − level) scenarios")
    ordered, whole = sorted(numbers), floor(mass)
    beyond = (mass - whole) * ordered[whole] if mass > whole else ZERO
    return max(ZERO, -(sum(ordered[:whole], ZERO) + beyond) / mass)


def tail_requirement(model: TailModel, per_underlying: Sequence[Sequence[Interval]]) -> Interval:
    """TAIL-4, before the factor; rising in each shortfall, so that the ends give the ends."""
    if not per_underlying:
        return NOTHING
    alone = total(shortfall(each, model.confidence_level) for each in per_underlying)
    joint = shortfall([total(each) for each in zip(*per_underlying, strict=True)], model.confidence_level)

    def requirement(apart: Fraction, together: Fraction) -> Fraction:
        return max(together, apart - model.offset_cap * max(ZERO, apart - together))

    return Interval(requirement(alone.low, joint.low), requirement(alone.high, joint.high))
