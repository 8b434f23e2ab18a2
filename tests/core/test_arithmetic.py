"""Compiled arithmetic against its definition in `domain.units`, and costs against exact fractions."""

from fractions import Fraction

import numba
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdfast.core import arithmetic, ledger
from holdfast.core.state import Form, Item, empty_state
from holdfast.domain import units
from holdfast.domain.reasons import Reason
from holdfast.domain.units import LEDGER_MAXIMUM, Rounding

SIZES = st.one_of(st.integers(0, 10), st.integers(0, 10**9), st.integers(0, LEDGER_MAXIMUM), st.integers(0, 2**62))
SIGNED = st.builds(lambda size, sign: size * sign, SIZES, st.sampled_from((1, -1)))
DIVISORS = SIZES.filter(bool)
PRODUCT_MAXIMUM = 9 * 10**18


def door(part):
    """A way into a part of a kernel, which Python itself must not call (`holdfast.compilation.inlined`)."""

    def call(*arguments):
        return part(*arguments)

    return numba.njit(call, error_model="numpy")


multiply_divide, multiply_divide_up = door(arithmetic.multiply_divide), door(arithmetic.multiply_divide_up)
cost_of, fee_of = door(ledger.cost_of), door(ledger.fee_of)


def exact(a, b, c, rounding=Rounding.HALF_EVEN):
    return units.divide(a * b, c, rounding)


@pytest.mark.criterion("UNIT-3", "UNIT-4", "LED-5")
@given(SIGNED, SIGNED, DIVISORS)
@example(6 * 10**16, 9 * 10**17, 8 * 10**17)
@example(-(3 * 10**9), 3 * 10**9, 2)
@example(2**62, 2**62, 2**62)
@example(2**62, 2**62, 1)
@example(2**61, LEDGER_MAXIMUM, 2**61)
@example(2**61, LEDGER_MAXIMUM + 1, 2**61)
@example(2**61 + 1, 2 * LEDGER_MAXIMUM, 2**62)
def test_multiply_divide_is_that_of_units(a, b, c):
    fits, result = multiply_divide(a, b, c)
    expected = exact(a, b, c)
    assert fits == (abs(expected) <= LEDGER_MAXIMUM)
    if fits:
        assert result == expected == units.multiply_divide(a, b, c, Rounding.HALF_EVEN)


@pytest.mark.criterion("UNIT-3", "LED-5")
@given(st.integers(0, 2**55), st.integers(1, 63), st.integers(1, 2**55), st.sampled_from((-1, 0, 1)), st.booleans())
def test_halves_of_wide_products_go_to_even(quotient, small, large, off, negative):
    """The product is (quotient + 1/2) × divisor, or beside it."""
    a, b, c = (2 * quotient + 1) * small, large + off, 2 * small * large
    a = -a if negative else a
    fits, result = multiply_divide(a, b, c)
    expected = exact(a, b, c)
    assert fits == (abs(expected) <= LEDGER_MAXIMUM)
    assert not fits or result == expected
    assert off or expected % 2 == 0


@pytest.mark.criterion("UNIT-3", "LED-6")
@given(st.integers(0, LEDGER_MAXIMUM), st.integers(0, 10**6))
@example(LEDGER_MAXIMUM, 128)
@example(LEDGER_MAXIMUM, 129)
@example(9 * 10**12, 10**6)
@example(9 * 10**12 + 1, 10**6)
def test_rounding_up(a, b):
    fits, result = multiply_divide_up(a, b, 10**6)
    assert fits == (a * b <= PRODUCT_MAXIMUM)
    assert not fits or result == exact(a, b, 10**6, Rounding.CEILING)


def contract(form, numerator, denominator, fee_ppm=0):
    state = empty_state(accounts=8, rows=64, items=2)
    columns = [Item.FORM, Item.COST_NUMERATOR, Item.COST_DENOMINATOR, Item.MULTIPLIER, Item.DIVISOR, Item.FEE_PPM]
    state.items[1, columns] = form, numerator, denominator, 1, 1, fee_ppm
    return state


def cost_by_fractions(form, numerator, denominator, lots, price):
    """LED-5, written apart: the reason, and the cost."""
    inverse = form is Form.INVERSE
    if not 0 <= price <= LEDGER_MAXIMUM or (inverse and price == 0):
        return Reason.PRICE_INVALID, None
    if abs(lots) > LEDGER_MAXIMUM or (not inverse and abs(lots) * numerator > LEDGER_MAXIMUM):
        return Reason.LEDGER_LIMIT, None
    cost = Fraction(-lots * numerator, price) if inverse else Fraction(lots * numerator * price, denominator)
    whole, rest = divmod(cost, 1)
    whole += rest > Fraction(1, 2) or (rest == Fraction(1, 2) and whole % 2 == 1)
    return (Reason.ACCEPTED, whole) if abs(whole) <= LEDGER_MAXIMUM else (Reason.LEDGER_LIMIT, None)


POWERS = st.integers(0, 17).map(lambda k: 10**k)
FORMS = st.sampled_from((Form.LINEAR, Form.INVERSE))
PRICES = st.one_of(st.integers(-1, 10), st.integers(1, 10**9), st.integers(0, LEDGER_MAXIMUM + 1))
LOTS = st.one_of(st.integers(-100, 100), st.integers(-(10**9), 10**9), st.integers(-(10**17), 10**17))


@pytest.mark.criterion("LED-5")
@given(FORMS, POWERS, POWERS, LOTS, PRICES)
@example(Form.LINEAR, 7, 1, 10**16, 1)
@example(Form.LINEAR, 7, 1, 10**16 + 1, 1)
def test_cost_is_that_of_fractions(form, numerator, denominator, lots, price):
    state = contract(form, numerator, 1 if form is Form.INVERSE else denominator)
    reason, cost = cost_of(state, 1, lots, price)
    denominator = int(state.items[1, Item.COST_DENOMINATOR])
    expected, exactly = cost_by_fractions(form, numerator, denominator, lots, price)
    assert reason == expected
    assert reason or cost == exactly


@pytest.mark.criterion("LED-5")
@given(FORMS, POWERS, LOTS, PRICES)
def test_both_sides_cost_the_same(form, numerator, lots, price):
    state = contract(form, numerator, 1)
    reason, cost = cost_of(state, 1, lots, price)
    assert cost_of(state, 1, -lots, price) == (reason, -cost)


@pytest.mark.criterion("LED-5", "DEF-5")
@pytest.mark.parametrize(
    ("form", "numerator", "denominator", "lots", "price", "cost"),
    [
        (Form.INVERSE, 10**11, 1, 1_000, 10_000_00, -100_000_000),
        (Form.INVERSE, 10**11, 1, 1_000, 9_000_00, -111_111_111),
        (Form.INVERSE, 10**11, 1, 7, 9_123_45, -767_254),
        (Form.LINEAR, 10, 1, 1_000, 10_000_00, 10_000_000_000),
        (Form.LINEAR, 1, 100, 5, 10, 0),
        (Form.LINEAR, 1, 100, 15, 10, 2),
        (Form.LINEAR, 1, 100, -25, 10, -2),
        (Form.LINEAR, 1_000, 1, 10, 500, 5_000_000),
        (Form.LINEAR, 1_000, 1, 10, 500_00, 500_000_000),
    ],
)
def test_worked_costs(form, numerator, denominator, lots, price, cost):
    assert cost_of(contract(form, numerator, denominator), 1, lots, price) == (0, cost)


@pytest.mark.criterion("LED-6")
@pytest.mark.parametrize(
    ("cost", "fee"), [(100_000_000, 50_000), (-100_000_000, 50_000), (111_111_111, 55_556), (1, 1), (0, 0)]
)
def test_worked_fees(cost, fee):
    assert fee_of(contract(Form.INVERSE, 1, 1, 500), 1, cost) == (0, fee)


@pytest.mark.criterion("LED-6")
def test_fee_of_too_large_a_product_is_refused():
    state = contract(Form.INVERSE, 1, 1, 500)
    assert fee_of(state, 1, 18 * 10**15) == (0, 9 * 10**12)
    assert fee_of(state, 1, 18 * 10**15 + 1)[0] == Reason.LEDGER_LIMIT


def test_results_are_integers():
    """A sum of a signed and an unsigned integer is a float in compiled code, which would round."""
    for a, b, c in ((3, 5, 2), (2**61, 2**50, 2**60)):
        _, result = multiply_divide(a, b, c)
        assert isinstance(result, int | np.integer)
