"""The scan: scenario results, the worst of them, and expected shortfall (TAB-4, TAB-5, TAIL-2 … TAIL-4, ORD-3, ORD-4).

What lives here: reductions of scenario results, in whole units (`grid`). What may not: the values they are made of, and
charges beside them.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import floor, lcm

from holdfast.domain.errors import InputError
from holdfast.witness.exact.book import Book
from holdfast.witness.exact.grid import Ends, bent_each, factor_of, highest_sum, lowest_sum, product_sum, times_each
from holdfast.witness.exact.intervals import NOTHING, ZERO, Interval, total
from holdfast.witness.exact.parameters import StandardModel, TailModel
from holdfast.witness.exact.table import Group, GroupKey, Line, Table

_NEAR_WHOLE = Fraction(1, 10**9)
Held = Sequence[tuple[Line, Interval]]
"""Lines that the account holds or can come to hold, with the quantities from the least to the most."""


def scan(table: Table, book: Book) -> Interval:
    """The scan requirement of an account before its factors; 0 in the standard model."""
    if isinstance(table.model, StandardModel):
        return NOTHING
    held = _by_group(table, book)
    if isinstance(table.model, TailModel):
        per_underlying = [_results(table, held, each).intervals() for each in table.underlyings]
        return tail_requirement(table.model, per_underlying)
    return total(_worst_loss(table, held, each) for each in table.underlyings)


def results(table: Table, book: Book, underlying: str) -> list[Interval]:
    """R[s] of an underlying; with orders, the least that it can become."""
    return _results(table, _by_group(table, book), underlying).intervals()


def _by_group(table: Table, book: Book) -> dict[GroupKey, Held]:
    held: dict[GroupKey, list[tuple[Line, Interval]]] = {}
    for name, reach in book.range.items():
        line = table.lines[name]
        if line.group is not None:
            held.setdefault(line.group, []).append((line, reach))
    return {**held}


def _results(table: Table, held: dict[GroupKey, Held], underlying: str) -> Ends:
    groups = [table.group_of[key] for key in held if key[0] == underlying]
    found = [(1, group_results(each, held[each.key], table.scenarios)) for each in groups]
    return product_sum(table.scenarios, found)


def _worst_loss(table: Table, held: dict[GroupKey, Held], underlying: str) -> Interval:
    """−min(0, R, B) of TAB-5."""
    found, (basis,) = _results(table, held, underlying), _basis(table, held, underlying).intervals()
    worst = Ends((min((0, *found.low)),), (min((0, *found.high)),)).intervals()[0]
    return Interval(-min(worst.high, basis.high), -min(worst.low, basis.low))


def group_results(group: Group, held: Held, scenarios: int) -> Ends:
    """P·g of a group in every scenario; with orders in it, the smaller of both ends (ORD-3).

    For P₋ ≥ 0 a result below 0 stays so, and so 0 between ends of different sign can never be the smallest.

    Args:
        group: Its multipliers.
        held: What of it the account holds.
        scenarios: How many.
    """
    gain, loss = group.factors
    if all(reach.is_point for _, reach in held):
        return bent_each(_change(group, held, scenarios), gain, loss)
    lower, upper = _ends(group, held, scenarios)
    one, other = bent_each(lower, gain, loss), bent_each(upper, gain, loss)
    return Ends([*map(min, one.low, other.low)], [*map(min, one.high, other.high)])


def _change(group: Group, held: Held, scenarios: int) -> Ends:
    """M·(Σ q·V[s]) − Σ q·V[0], nothing of it moved by orders."""
    divisor = _divisor(held)
    rows = [(_whole(reach, divisor)[0], line) for line, reach in held]
    value = product_sum(scenarios, [(quantity, line.ends) for quantity, line in rows]).over(divisor)
    today = product_sum(1, [(quantity, line.today) for quantity, line in rows]).over(divisor)
    positive, negative = group.multipliers
    return bent_each(value, (positive,) * scenarios, (negative,) * scenarios).minus(today)


def _ends(group: Group, held: Held, scenarios: int) -> tuple[Ends, Ends]:
    """The least of lower_m and the greatest of upper_m over both multipliers (ORD-3)."""
    divisor = _divisor(held)
    lower, upper = [], []
    for factor in dict.fromkeys(group.multipliers):
        rows = [(*_whole(reach, divisor), times_each(line.ends, factor).minus(line.today)) for line, reach in held]
        lower.append(lowest_sum(scenarios, rows).over(divisor))
        upper.append(highest_sum(scenarios, rows).over(divisor))
    if len(lower) == 1:
        return lower[0], upper[0]
    return (
        Ends([*map(min, *(each.low for each in lower))], [*map(min, *(each.high for each in lower))]),
        Ends([*map(max, *(each.low for each in upper))], [*map(max, *(each.high for each in upper))]),
    )


def _divisor(held: Held) -> int:
    """What makes all quantities whole."""
    return lcm(*(end.denominator for _, reach in held for end in (reach.low, reach.high)))


def _whole(reach: Interval, divisor: int) -> tuple[int, int]:
    low, high = (end.numerator * (divisor // end.denominator) for end in (reach.low, reach.high))
    return low, high


def _basis(table: Table, held: dict[GroupKey, Held], underlying: str) -> Ends:
    """B of TAB-5; with orders, of the lower ends (ORD-4)."""
    groups = [table.group_of[key] for key in held if key[0] == underlying]
    found = [
        (1, times_each(_basis_loss(held[each.key]), factor_of(Interval.point(each.basis))))
        for each in groups
        if each.basis is not None
    ]
    return product_sum(1, found)


def _basis_loss(held: Held) -> Ends:
    """The worse of a group's two named results, at most 0."""
    divisor = _divisor(held)
    named = lowest_sum(2, [(*_whole(reach, divisor), line.basis_change) for line, reach in held]).over(divisor)
    return Ends((min(0, *named.low),), (min(0, *named.high),))


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
