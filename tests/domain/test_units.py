"""Units, rounding and instants against exact fractions."""

import decimal
import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.domain.errors import HoldfastError, InputError, InvariantError, invariant, maybe
from holdfast.domain.units import (
    INT64_MAXIMUM,
    INT64_MINIMUM,
    LEDGER_MAXIMUM,
    LEDGER_TERMS_MAXIMUM,
    Asset,
    Rounding,
    asset,
    credit_units,
    divide,
    format_time,
    from_units,
    multiply_divide,
    parse_time,
    requirement_units,
    to_units,
)

int64 = st.integers(INT64_MINIMUM, INT64_MAXIMUM)
amounts = st.floats(-7e7, 7e7)
BTC, USD = asset("BTC"), asset("USD")


def rounded(exact: Fraction, rounding: Rounding) -> int:
    """The definition, by means of the library's own rounding of fractions."""
    return {
        Rounding.CEILING: math.ceil,
        Rounding.FLOOR: math.floor,
        Rounding.TOWARDS_ZERO: math.trunc,
        Rounding.AWAY_FROM_ZERO: lambda x: math.ceil(x) if x > 0 else math.floor(x),
        Rounding.HALF_EVEN: round,
    }[rounding](exact)


@pytest.mark.criterion("UNIT-1")
@pytest.mark.parametrize(
    ("name", "decimals"), [("BTC", 8), ("ETH", 9), ("SOL", 9), ("USD", 6), ("USDC", 6), ("DAI", 6), ("PEPE", 8)]
)
def test_unit_of_asset(name, decimals):
    assert asset(name).decimals == decimals
    assert asset(name).unit == Decimal(10) ** -decimals


@pytest.mark.criterion("UNIT-2")
def test_limits_keep_sums_in_int64():
    assert LEDGER_MAXIMUM == 7 * 10**16
    assert LEDGER_TERMS_MAXIMUM == 128
    assert LEDGER_MAXIMUM * LEDGER_TERMS_MAXIMUM <= INT64_MAXIMUM
    assert to_units(Decimal(700_000_000), BTC, Rounding.FLOOR) == LEDGER_MAXIMUM
    for amount in (Decimal("700000000.00000001"), 1e300, -7.1e8, 10**400, Decimal("1e999999999999")):
        with pytest.raises(InputError) as caught:
            to_units(amount, BTC, Rounding.FLOOR, "balances[BTC]")
        assert caught.value.code == "ledger-overflow"
        assert "±700000000 BTC" in str(caught.value)


@pytest.mark.criterion("UNIT-3")
@pytest.mark.parametrize(
    ("numerator", "denominator", "expected"),
    [
        (7, 2, (4, 3, 3, 4, 4)),
        (5, 2, (3, 2, 2, 3, 2)),
        (-5, 2, (-2, -3, -2, -3, -2)),
        (-7, 3, (-2, -3, -2, -3, -2)),
        (-8, 3, (-2, -3, -2, -3, -3)),
        (6, 3, (2, 2, 2, 2, 2)),
    ],
)
def test_rounding_table(numerator, denominator, expected):
    assert tuple(divide(numerator, denominator, r) for r in Rounding) == expected
    assert tuple(divide(-numerator, -denominator, r) for r in Rounding) == expected


@pytest.mark.criterion("UNIT-4")
def test_multiply_divide_worked():
    assert multiply_divide(6 * 10**18, 9 * 10**18, 8 * 10**18, Rounding.HALF_EVEN) == 6_750_000_000_000_000_000
    assert multiply_divide(9 * 10**18 + 1, 3, -7, Rounding.FLOOR) == -3_857_142_857_142_857_144
    assert multiply_divide(9 * 10**18 + 1, 3, -7, Rounding.CEILING) == -3_857_142_857_142_857_143
    assert multiply_divide(1234567890123456789, 987654321987654321, 10**18, Rounding.FLOOR) == 1_219_326_312_467_611_632
    for operands, code in (((4 * 10**18, 4, 1), "ledger-overflow"), ((2**63, 1, 2), "ledger-overflow")):
        with pytest.raises(InputError) as caught:
            multiply_divide(*operands, Rounding.FLOOR)
        assert caught.value.code == code
    with pytest.raises(InputError, match="other than 0"):
        multiply_divide(1, 1, 0, Rounding.FLOOR)
    with pytest.raises(TypeError):
        multiply_divide(1.0, 1, 1, Rounding.FLOOR)


@pytest.mark.criterion("UNIT-3", "UNIT-4")
@settings(deadline=None)
@given(int64, int64, int64.filter(bool), st.sampled_from(Rounding))
def test_multiply_divide_is_the_rounded_fraction(a, b, c, rounding):
    expected = rounded(Fraction(a * b, c), rounding)
    if INT64_MINIMUM <= expected <= INT64_MAXIMUM:
        assert multiply_divide(a, b, c, rounding) == expected
    else:
        with pytest.raises(InputError):
            multiply_divide(a, b, c, rounding)


@pytest.mark.criterion("UNIT-5")
def test_number_into_units_worked():
    assert to_units(0.1, BTC, Rounding.CEILING) == 10_000_001
    assert to_units(0.1, BTC, Rounding.FLOOR) == 10_000_000
    assert {to_units(Decimal("0.1"), BTC, r) for r in Rounding} == {10_000_000}
    assert to_units(np.float64(0.1), BTC, Rounding.CEILING) == 10_000_001
    assert to_units(3, BTC, Rounding.FLOOR) == 300_000_000
    for bad in (math.nan, math.inf, -math.inf, Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity")):
        with pytest.raises(InputError) as caught:
            to_units(bad, BTC, Rounding.FLOOR)
        assert caught.value.code == "not-a-number"


@pytest.mark.criterion("UNIT-5")
@settings(deadline=None)
@given(amounts | st.decimals(-(10**7), 10**7, allow_nan=False), st.sampled_from(Rounding))
def test_number_into_units_is_the_rounded_fraction(amount, rounding):
    assert to_units(amount, BTC, rounding) == rounded(Fraction(amount) * 10**8, rounding)


@pytest.mark.criterion("UNIT-5")
@pytest.mark.parametrize("text", ["1e-99999999", "-1e-99999999", "0e-99999999", "1e-100"])
def test_tiny_decimals_round_like_what_they_are_and_cost_nothing(text):
    sign = Decimal(text).compare(Decimal(0))
    assert to_units(Decimal(text), BTC, Rounding.CEILING) == max(0, sign)
    assert to_units(Decimal(text), BTC, Rounding.FLOOR) == min(0, sign)


@pytest.mark.criterion("UNIT-6")
def test_requirements_up_credits_down():
    assert requirement_units(Decimal("100.0000001"), USD) == 100_000_001
    assert credit_units(Decimal("100.0000009"), USD) == 100_000_000
    assert credit_units(Decimal("-0.0000001"), USD) == -1
    assert requirement_units(-0.0, USD) == 0


@pytest.mark.criterion("UNIT-7")
@settings(deadline=None)
@given(amounts, amounts)
def test_splitting_never_lowers(a, b):
    with decimal.localcontext(prec=2_000):
        whole = Decimal(a) + Decimal(b)
    assert Fraction(whole) == Fraction(a) + Fraction(b)
    assert requirement_units(a, USD) + requirement_units(b, USD) >= requirement_units(whole, USD)
    assert credit_units(a, USD) + credit_units(b, USD) <= credit_units(whole, USD)


@pytest.mark.criterion("UNIT-8")
@settings(deadline=None)
@given(st.integers(-LEDGER_MAXIMUM, LEDGER_MAXIMUM), st.sampled_from(Rounding), st.integers(1, 5))
def test_units_round_trip_whatever_the_decimal_context(units, rounding, precision):
    with decimal.localcontext(prec=precision):
        assert to_units(from_units(units, BTC), BTC, rounding) == units
    assert from_units(10_000_001, BTC) == Decimal("0.10000001")


@pytest.mark.criterion("UNIT-9")
def test_instants_worked():
    assert parse_time("2021-10-21T00:00:00Z") == 1634774400 * 10**9
    assert parse_time(" 2021-10-21 02:00+02:00 ") == 1634774400 * 10**9
    assert parse_time("2026-12-27T08:00:00Z") == 1798358400 * 10**9
    assert parse_time("1970-01-01T00:00:00.000000001z") == 1
    assert format_time(1634774400 * 10**9) == "2021-10-21T00:00:00Z"
    assert format_time(1634774400 * 10**9 + 120_000_000) == "2021-10-21T00:00:00.12Z"


@pytest.mark.criterion("UNIT-9")
@pytest.mark.parametrize(
    "text",
    [
        *("", "2021-10-21", "2021-10-21T00:00:00", "2021-02-30T00:00Z", "1969-12-31T23:59Z", "2300-01-01T00:00Z"),
        *("2021-10-21T24:01Z", "2021-10-21T00:00Z2", "21-10-21T00:00Z", 5, None),
    ],
)
def test_what_is_no_instant_is_refused(text):
    with pytest.raises(InputError):
        parse_time(text)


@pytest.mark.criterion("UNIT-9")
@settings(deadline=None)
@given(st.integers(0, INT64_MAXIMUM))
def test_instants_round_trip(nanoseconds):
    assert parse_time(format_time(nanoseconds)) == nanoseconds


@pytest.mark.criterion("UNIT-10")
def test_error_is_one_line_with_everything():
    error = InputError("not-a-number", "quantity", math.nan, "give a\nfinite number").within("positions[3]")
    assert str(error) == "positions[3].quantity: is not a finite number: nan; give a finite number"
    assert (error.code, error.field, error.advice) == ("not-a-number", "positions[3].quantity", "give a\nfinite number")
    assert isinstance(error, ValueError)
    assert isinstance(error, HoldfastError)
    assert len(str(InputError("malformed", "x", "a" * 10_000, "shorten it"))) < 200


@pytest.mark.criterion("UNIT-10")
def test_invariants_stay_on():
    invariant(1 + 1 == 2, "fine")
    maybe(True)
    maybe(np.bool_(False))
    with pytest.raises(InvariantError, match="two is three"):
        invariant(2 == 3, "two is three")  # noqa: PLR0133
    with pytest.raises(InvariantError):
        maybe(None)
    assert not issubclass(InvariantError, InputError)
    with pytest.raises(InputError):
        Asset("X", 19)
