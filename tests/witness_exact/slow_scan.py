"""The scan in fractions, scenario by scenario, as the pages state it: what the scan in whole units must enclose.

What lives here: the slow reference. What may not: expectations.
"""

from collections.abc import Sequence
from fractions import Fraction

from holdfast.witness.exact.book import Book
from holdfast.witness.exact.intervals import NOTHING, ZERO, Interval, greatest, highest, least, total
from holdfast.witness.exact.parameters import StandardModel, TailModel
from holdfast.witness.exact.scan import tail_requirement
from holdfast.witness.exact.table import Group, Line, Table


def hull(*parts: Interval) -> Interval:
    """The smallest interval that holds all parts."""
    return Interval(min(each.low for each in parts), max(each.high for each in parts))


def bent(at: Interval, positive: Interval, negative: Interval) -> Interval:
    """What x × (`positive` if x > 0, else `negative`) can be for x in `at`.

    The function is linear on either side of 0, so its extremes lie at the ends and, where `at` holds 0, at 0.
    """
    ends = [Interval.point(end) * (positive if end > 0 else negative) for end in {at.low, at.high}]
    return hull(*ends, NOTHING) if at.low < 0 < at.high else hull(*ends)


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
    """P·g of a group in a scenario; with orders in it, the smaller of both ends (ORD-3)."""
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


def grid_slack(table: Table, book: Book) -> Fraction:
    """By how much EXA-6 lets the scan in whole units be wider."""
    return (1 + sum((book.most(name) for name in book.range), Fraction(0))) / 2**170
