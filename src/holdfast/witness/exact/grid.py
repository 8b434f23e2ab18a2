"""Whole numbers in units of 2 ** -192 of the numeraire, rounded outwards.

What lives here: what the scan of an account is made of, so that it is products and sums of integers. Each step encloses
as `intervals` does: a low end is rounded down and a high end up, to a unit. What may not: a name of the margin's world.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import lcm
from typing import NamedTuple

from holdfast.witness.exact.intervals import Interval, Number

GRID_BITS = 192
"""A unit is 1.6e-58 of the numeraire."""
_UNIT = 1 << GRID_BITS


class Ends(NamedTuple):
    """Between which units numbers lie, one of each place (scenario)."""

    low: Sequence[int]
    high: Sequence[int]

    def minus(self, today: "Ends") -> "Ends":
        """The numbers less the one number of `today`."""
        (least,), (most,) = today
        return Ends([each - most for each in self.low], [each - least for each in self.high])

    def over(self, divisor: int) -> "Ends":
        """The numbers divided by a whole number above 0."""
        if divisor == 1:
            return self
        return Ends([each // divisor for each in self.low], [-(-each // divisor) for each in self.high])

    def intervals(self) -> list[Interval]:
        """As fractions of the numeraire."""
        return [Interval(Fraction(a, _UNIT), Fraction(b, _UNIT)) for a, b in zip(self.low, self.high, strict=True)]


def ends_of(numbers: Iterable[Number]) -> Ends:
    """The units around numbers."""
    around = [each.interval for each in numbers]
    return Ends([_down(each.low) for each in around], [-_down(-each.high) for each in around])


def _down(value: Fraction) -> int:
    return (value.numerator << GRID_BITS) // value.denominator


class Factor(NamedTuple):
    """A multiplier from `low` to `high`, each over `divisor`; nothing is rounded."""

    low: int
    high: int
    divisor: int


ONCE = Factor(1, 1, 1)
"""Changes nothing; known by its identity, so that it costs nothing."""


def factor_of(interval: Interval) -> Factor:
    """The factors of an interval."""
    divisor = lcm(interval.low.denominator, interval.high.denominator)
    found = Factor(int(interval.low * divisor), int(interval.high * divisor), divisor)
    return ONCE if found == ONCE else found


def bent(low: int, high: int, positive: Factor, negative: Factor) -> tuple[int, int]:
    """Ends of x × (`positive` if x > 0, else `negative`) for x from `low` to `high`."""
    if low >= 0:
        return _times(low, high, positive)
    if high <= 0:
        return _times(low, high, negative)
    below, above = _times(low, 0, negative), _times(0, high, positive)
    return min(below[0], above[0]), max(below[1], above[1])


def _times(low: int, high: int, factor: Factor) -> tuple[int, int]:
    """Ends of the product for x from `low` to `high`, none on the other side of 0; x·f is (−x)·(−f)."""
    if factor is ONCE:
        return low, high
    least, most, divisor = factor
    if low < 0:
        low, high, least, most = -high, -low, -most, -least
    return (low if least >= 0 else high) * least // divisor, -((high if most >= 0 else low) * -most // divisor)


def bent_each(ends: Ends, positive: Sequence[Factor], negative: Sequence[Factor]) -> Ends:
    """`bent` of every place, with its own factors."""
    if all(each is ONCE for each in positive) and all(each is ONCE for each in negative):
        return ends
    found = [bent(*each) for each in zip(ends.low, ends.high, positive, negative, strict=True)]
    return Ends([low for low, _ in found], [high for _, high in found])


def times_each(ends: Ends, factor: Factor) -> Ends:
    """Every place times a factor."""
    return bent_each(ends, (factor,) * len(ends.low), (factor,) * len(ends.low))


def product_sum(places: int, rows: Iterable[tuple[int, Ends]]) -> Ends:
    """Σ quantity × number of each place, for whole quantities: exact, so the ends are those of the sum."""
    low, high = [0] * places, [0] * places
    for quantity, ends in rows:
        least, most = (ends.low, ends.high) if quantity >= 0 else (ends.high, ends.low)
        low = [before + quantity * each for before, each in zip(low, least, strict=True)]
        high = [before + quantity * each for before, each in zip(high, most, strict=True)]
    return Ends(low, high)


def lowest_sum(places: int, rows: Iterable[tuple[int, int, Ends]]) -> Ends:
    """Σ min(least · d, most · d) of each place for whole numbers `least` ≤ `most` and d within the ends.

    The product with the one end or the other by the sign of d is linear on either side of 0, as in `bent`.
    """
    return _extreme_sum(places, ((least, most, ends) for least, most, ends in rows))


def highest_sum(places: int, rows: Iterable[tuple[int, int, Ends]]) -> Ends:
    """Σ max(least · d, most · d) of each place."""
    return _extreme_sum(places, ((most, least, ends) for least, most, ends in rows))


def _extreme_sum(places: int, rows: Iterable[tuple[int, int, Ends]]) -> Ends:
    """Σ (`above` · d if d > 0 else `below` · d) of each place."""
    low, high = [0] * places, [0] * places
    for above, below, ends in rows:
        for place, (a, b) in enumerate(zip(ends.low, ends.high, strict=True)):
            one, other = a * (above if a > 0 else below), b * (above if b > 0 else below)
            between = (0,) if a < 0 < b else ()
            low[place] += min(one, other, *between)
            high[place] += max(one, other, *between)
    return Ends(low, high)
