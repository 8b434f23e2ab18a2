"""Closed intervals of rational numbers.

What lives here: the arithmetic that carries what is not known exactly through what is. Every operation encloses: the
result holds each number that the operation gives for numbers of the operands. What may not: anything that rounds
inwards, a float, or a name of the margin's world.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple, Self

from holdfast.domain.errors import invariant

ZERO = Fraction(0)
ONE = Fraction(1)


@dataclass(frozen=True, slots=True)
class Interval:
    """All numbers from `low` to `high`, both included."""

    low: Fraction
    high: Fraction

    @classmethod
    def point(cls, value: Fraction) -> Self:
        """The one number `value`."""
        return cls(value, value)

    @property
    def middle(self) -> Fraction:
        """The number halfway."""
        return self.low if self.is_point else (self.low + self.high) / 2

    @property
    def radius(self) -> Fraction:
        """Distance from the middle to each end."""
        return ZERO if self.is_point else (self.high - self.low) / 2

    @property
    def is_point(self) -> bool:
        """Whether it holds one number only."""
        return self.low is self.high or self.low == self.high

    def holds(self, value: Fraction) -> bool:
        """Whether `value` lies in it."""
        return self.low <= value <= self.high

    def distance(self, value: Fraction) -> Fraction:
        """How far `value` lies outside; 0 inside."""
        return max(ZERO, self.low - value, value - self.high)

    def __add__(self, other: "Interval") -> "Interval":
        low = self.low + other.low
        return Interval(low, low if self.is_point and other.is_point else self.high + other.high)

    def __neg__(self) -> "Interval":
        low = -self.high
        return Interval(low, low if self.is_point else -self.low)

    def __sub__(self, other: "Interval") -> "Interval":
        return self + -other

    def __mul__(self, other: "Interval") -> "Interval":
        if other.is_point:
            return self.times(other.low)
        if self.is_point:
            return other.times(self.low)
        ends = [a * b for a in (self.low, self.high) for b in (other.low, other.high)]
        return Interval(min(ends), max(ends))

    def __truediv__(self, other: "Interval") -> "Interval":
        invariant(other.low > 0 or other.high < 0, f"division by an interval that holds 0: {other}")
        return self * Interval(1 / other.high, 1 / other.low)

    def times(self, factor: Fraction) -> "Interval":
        """Each number times `factor`."""
        if self.is_point:
            return Interval.point(self.low * factor)
        ends = (self.low * factor, self.high * factor)
        return Interval(*ends) if factor >= 0 else Interval(ends[1], ends[0])

    def plus(self, term: Fraction) -> "Interval":
        """Each number plus `term`."""
        return self + Interval.point(term)

    def widened(self, radius: Fraction) -> "Interval":
        """The interval with `radius` more on both sides."""
        return Interval(self.low - radius, self.high + radius)

    def outward(self, bits: int) -> "Interval":
        """The smallest interval around it whose ends are multiples of 2 ** -bits, so that denominators stay small."""
        scale = 1 << bits
        low, high = self.low, self.high
        return Interval(
            Fraction(low.numerator * scale // low.denominator, scale),
            Fraction(-(-high.numerator * scale // high.denominator), scale),
        )


class Number(NamedTuple):
    """A number known up to a bound: the true one lies within `error` of `value`."""

    value: Fraction
    error: Fraction = ZERO

    @classmethod
    def of(cls, interval: Interval) -> "Number":
        """The middle of an interval and the distance to its ends."""
        return cls(interval.middle, interval.radius)

    @property
    def interval(self) -> Interval:
        """All that the number can be."""
        return Interval(self.value - self.error, self.value + self.error) if self.error else Interval.point(self.value)

    def times(self, quantity: Fraction) -> Interval:
        """What `quantity` units of it can be."""
        if not self.error:
            return Interval.point(self.value * quantity)
        return Number(self.value * quantity, self.error * abs(quantity)).interval


NOTHING = Interval.point(ZERO)


def total(terms: Iterable[Interval]) -> Interval:
    """The sum."""
    low = high = ZERO
    for term in terms:
        low += term.low
        high += term.high
    return Interval(low, high)


def least(*candidates: Interval) -> Interval:
    """What the smallest of numbers can be, one of each interval."""
    return Interval(min(each.low for each in candidates), min(each.high for each in candidates))


def greatest(*candidates: Interval) -> Interval:
    """What the largest of numbers can be, one of each interval."""
    return Interval(max(each.low for each in candidates), max(each.high for each in candidates))


def highest(quantity: Interval, unit: Interval) -> Interval:
    """max(lo·d, hi·d) for the range lo … hi of a quantity and a number d within `unit`.

    lo·d for d below 0 and hi·d above, so convex in d with its least at 0 if lo ≤ 0 ≤ hi.
    """
    ends = [quantity.high * d if d > 0 else quantity.low * d for d in (unit.low, unit.high)]
    inner = [ZERO] if unit.low < 0 < unit.high else []
    return Interval(min(ends + inner), max(ends + inner))
