"""Elementary functions and Black's value as intervals, against mpmath at 600 bits."""

from fractions import Fraction

import mpmath
import pytest
from hypothesis import given
from hypothesis import strategies as st
from slow_scan import bent, hull

from holdfast.domain.errors import InvariantError
from holdfast.witness.exact.black import black
from holdfast.witness.exact.elementary import exponential, logarithm, normal, power, square_root
from holdfast.witness.exact.intervals import Interval

TIGHT = Fraction(1, 1 << 180)
rationals = st.fractions(min_value=-50, max_value=50, max_denominator=10**12)
positives = st.fractions(min_value=Fraction(1, 10**9), max_value=10**9, max_denominator=10**9)


def high_precision(value: Fraction):
    return mpmath.mpf(value.numerator) / value.denominator


def assert_holds(interval: Interval, expected, scale=1) -> None:
    own_rounding = abs(expected) * mpmath.mpf(2) ** (8 - mpmath.mp.prec)
    assert high_precision(interval.low) - own_rounding <= expected <= high_precision(interval.high) + own_rounding
    assert interval.high - interval.low <= TIGHT * scale


@pytest.mark.criterion("EXA-3")
@given(rationals, positives)
def test_functions_hold_what_mpmath_finds(any_sign, positive):
    with mpmath.workprec(600):
        assert_holds(exponential(any_sign), mpmath.exp(high_precision(any_sign)), exponential(any_sign).high)
        assert_holds(normal(Interval.point(any_sign)), mpmath.ncdf(high_precision(any_sign)))
        assert_holds(logarithm(positive), mpmath.log(high_precision(positive)))
        assert_holds(square_root(positive), mpmath.sqrt(high_precision(positive)), square_root(positive).high)


@pytest.mark.criterion("EXA-3")
@pytest.mark.parametrize("value", [Fraction(-1000), Fraction(1000), Fraction(1, 10**30), Fraction(-708), Fraction(709)])
def test_exponential_at_the_ends_of_its_domain(value):
    with mpmath.workprec(3_000):
        assert_holds(exponential(value), mpmath.exp(high_precision(value)), exponential(value).high)


@pytest.mark.criterion("EXA-3")
@pytest.mark.parametrize("value", ["16.99999999", "17", "17.00000001", "-16.99999999", "-17", "400", "1e-40", "0"])
def test_normal_distribution_around_its_cut(value):
    with mpmath.workprec(1_000):
        assert_holds(normal(Interval.point(Fraction(value))), mpmath.ncdf(high_precision(Fraction(value))))


@pytest.mark.criterion("EXA-3")
def test_what_is_rational_is_exact():
    assert square_root(Fraction(9, 4)) == Interval.point(Fraction(3, 2))
    assert logarithm(Fraction(1)) == Interval.point(Fraction(0))
    assert exponential(Fraction(0)) == Interval.point(Fraction(1))
    assert power(Fraction(7, 3), Fraction(0)) == Interval.point(Fraction(1))
    assert normal(Interval.point(Fraction(0))).holds(Fraction(1, 2))


@pytest.mark.criterion("EXA-3")
def test_outside_their_domain_they_refuse():
    for call in (
        lambda: square_root(Fraction(-1)),
        lambda: logarithm(Fraction(0)),
        lambda: exponential(Fraction(2000)),
    ):
        with pytest.raises(InvariantError):
            call()


@pytest.mark.criterion("EXA-3")
@given(rationals, st.fractions(min_value=0, max_value=1, max_denominator=10**6))
def test_normal_of_an_interval_holds_its_ends(middle, radius):
    wide = normal(Interval(middle - radius, middle + radius))
    for end in (middle - radius, middle + radius):
        at_end = normal(Interval.point(end))
        assert wide.low <= at_end.low
        assert at_end.high <= wide.high


@given(rationals, rationals, rationals, rationals, st.fractions(min_value=0, max_value=1), st.fractions(0, 1))
def test_interval_arithmetic_encloses(a, b, c, d, one, other):
    first, second = Interval(min(a, b), max(a, b)), Interval(min(c, d), max(c, d))
    x, y = first.low + one * (first.high - first.low), second.low + other * (second.high - second.low)
    for interval, value in (
        (first + second, x + y),
        (first - second, x - y),
        (first * second, x * y),
        (first.outward(20), x),
        (hull(first, second), x),
        (bent(first, second, -second), x * y if x > 0 else -x * y),
    ):
        assert interval.holds(value)


YEAR = Fraction(1)
WORKED = [
    (60_000, 60_000, YEAR / 8760, "0.6", True, "153.4474832680099218"),
    (60_000, 61_000, YEAR / 8760, "0.6", True, "0.60797392280303053932"),
    (60_000, 60_000, YEAR / (365 * 86_400), "0.6", False, "2.557462432460130241"),
    (60_000, 200_000, YEAR * 30 / 365, "0.6", True, "3.3233994838205235274e-9"),
    (60_000, 200_000, YEAR * 30 / 365, "0.6", False, "140000.0000000033234"),
    (60_000, 10_000, YEAR * 30 / 365, "0.6", False, "4.1351553370480332775e-23"),
    (60_000, 10_000, YEAR * 30 / 365, "0.6", True, "50000.0"),
    (60_000, 65_000, YEAR * 4, "6", True, "59999.999876777849247"),
    (60_000, 65_000, YEAR * 4, "6", False, "64999.999876777849247"),
    (60_000, 65_000, YEAR * 30 / 365, "0.6", True, "2237.8681554046650424"),
    (60_000, 65_000, YEAR * 30 / 365, "0.6", False, "7237.8681554046650424"),
]


@pytest.mark.criterion("EXA-4", "PRC-4", "PRC-6")
@pytest.mark.parametrize(("forward", "strike", "years", "volatility", "is_call", "expected"), WORKED)
def test_worked_values_to_the_digits_printed(forward, strike, years, volatility, is_call, expected):
    at = Interval.point(Fraction(volatility))
    value = black(Fraction(forward), Fraction(strike), years, at, is_call=is_call)
    mantissa, _, exponent = expected.partition("e")
    digits = len(mantissa.split(".")[1]) - int(exponent or 0)
    assert abs(value.middle - Fraction(expected)) <= Fraction(6, 10 ** (digits + 1))
    assert value.radius <= Fraction(forward, 10**40)


@pytest.mark.criterion("EXA-4")
@given(
    positives,
    positives,
    st.integers(1, 10**18).map(lambda n: Fraction(n, 365 * 86_400 * 10**9)),
    st.integers(1, 10**7).map(lambda n: Fraction(n, 10**6)),
    st.booleans(),
)
def test_black_holds_what_mpmath_finds(forward, strike, years, volatility, is_call):
    value = black(forward, strike, years, Interval.point(volatility), is_call=is_call)
    with mpmath.workprec(2_000):
        f, k, t, s = map(high_precision, (forward, strike, years, volatility))
        deviation = s * mpmath.sqrt(t)
        d = mpmath.log(f / k) / deviation
        call = f * mpmath.ncdf(d + deviation / 2) - k * mpmath.ncdf(d - deviation / 2)
        expected = call if is_call else call - f + k
        own_rounding = (f + k) * mpmath.mpf(2) ** -1_000
        assert high_precision(value.low) - own_rounding <= expected <= high_precision(value.high) + own_rounding
    assert value.radius <= max(forward, strike) / 10**40


@pytest.mark.criterion("EXA-4")
@pytest.mark.parametrize("strike", [59_999, 60_000, 60_001])
def test_black_a_nanosecond_before_expiry(strike):
    years = Fraction(1, 365 * 86_400 * 10**9)
    value = black(Fraction(60_000), Fraction(strike), years, Interval.point(Fraction(1, 10**6)), is_call=True)
    assert value.radius <= Fraction(60_000, 10**40)
    assert value.low >= max(0, 60_000 - strike)


@pytest.mark.criterion("EXA-2", "PRC-7")
@pytest.mark.parametrize(
    ("forward", "strike", "years", "volatility", "is_call", "expected"),
    [
        (60_000, 50_000, 0, 1, True, 10_000),
        (60_000, 50_000, 1, 0, True, 10_000),
        (0, 60_000, 1, 1, False, 60_000),
        (0, 1, 1, 1, True, 0),
    ],
)
def test_limits_are_exact(forward, strike, years, volatility, is_call, expected):
    at = Interval.point(Fraction(volatility))
    value = black(Fraction(forward), Fraction(strike), Fraction(years), at, is_call=is_call)
    assert value == Interval.point(Fraction(expected))


@pytest.mark.criterion("EXA-4")
def test_a_volatility_that_may_be_0_gives_all_that_can_be():
    arguments = (Fraction(60_000), Fraction(61_000), Fraction(1))
    wide = black(*arguments, Interval(Fraction(0), Fraction(1, 2)), is_call=True)
    assert wide.low == 0
    assert wide.high >= black(*arguments, Interval.point(Fraction(1, 2)), is_call=True).high
