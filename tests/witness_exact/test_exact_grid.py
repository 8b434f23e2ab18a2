"""Whole units: each step encloses what the same step on fractions gives, and not by more than it says."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slow_scan import bent as slow_bent
from slow_scan import lowest as slow_lowest

from holdfast.witness.exact.grid import (
    GRID_BITS,
    ONCE,
    Ends,
    bent,
    ends_of,
    factor_of,
    highest_sum,
    lowest_sum,
    product_sum,
)
from holdfast.witness.exact.intervals import Interval, Number, highest, total

pytestmark = pytest.mark.criterion("EXA-6")
UNIT = Fraction(1, 1 << GRID_BITS)
whole = st.integers(-(10**6), 10**6)
rationals = st.fractions(min_value=-3, max_value=3, max_denominator=97)


def ordered(values):
    return st.tuples(values, values).map(sorted)


def assert_around(units: tuple[int, int], exactly: Interval, places: int = 1) -> None:
    low, high = units
    assert exactly.low - places < low <= exactly.low
    assert exactly.high <= high < exactly.high + places


@given(ordered(whole), ordered(rationals), ordered(rationals))
def test_bent_rounds_outwards_and_by_less_than_a_unit(at, positive, negative):
    factors = Interval(*positive), Interval(*negative)
    exactly = slow_bent(Interval(*map(Fraction, at)), *factors)
    assert_around(bent(*at, *map(factor_of, factors)), exactly)


def test_a_factor_of_one_is_known():
    assert factor_of(Interval.point(Fraction(1))) is ONCE
    assert factor_of(Interval.point(Fraction(2, 2))) is ONCE
    assert factor_of(Interval(Fraction(1), Fraction(2))) is not ONCE


@given(st.fractions(min_value=-(10**6), max_value=10**6), st.fractions(min_value=0, max_value=10))
def test_units_of_a_number_hold_it(value, error):
    (low,), (high,) = ends_of([Number(value, error)])
    assert value - error - UNIT < low * UNIT <= value - error
    assert value + error <= high * UNIT < value + error + UNIT


@given(ordered(whole), st.integers(1, 10**4))
def test_quotients_round_outwards(at, divisor):
    low, high = at
    (below,), (above,) = Ends([low], [high]).over(divisor)
    assert_around((below, above), Interval(Fraction(low, divisor), Fraction(high, divisor)))


@given(st.lists(st.tuples(ordered(whole), ordered(whole)), max_size=4))
def test_sums_over_lines_are_exact(rows):
    held = [(Interval(*map(Fraction, reach)), Interval(*map(Fraction, value))) for reach, value in rows]
    units = [(*reach, Ends([value[0]], [value[1]])) for reach, value in rows]
    for found, exactly in (
        (lowest_sum(1, units), total(slow_lowest(*each) for each in held)),
        (highest_sum(1, units), total(highest(*each) for each in held)),
        (
            product_sum(1, [(low, ends) for low, _, ends in units]),
            total(value.times(reach.low) for reach, value in held),
        ),
    ):
        assert (found.low[0], found.high[0]) == (exactly.low, exactly.high)
