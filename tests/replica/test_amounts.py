"""Numbers of people and counts of the log."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.domain.errors import InputError
from holdfast.domain.units import LEDGER_MAXIMUM
from holdfast.replica.amounts import amount_of, count_of, exact, nearest_count, plain, step_of


@pytest.mark.criterion("ENG-1")
@pytest.mark.parametrize("given_as", [50_000, 50_000.0, "50000", Decimal("5e4"), np.int64(50_000), np.float64(5e4)])
def test_lots_in_every_form(given_as):
    assert count_of(given_as, Fraction(10), "quantity", "the lot") == 5_000


@pytest.mark.criterion("ENG-1")
def test_worked_numbers():
    assert count_of(7_895, step_of(2), "price", "the step") == 789_500
    assert count_of(0.1, step_of(8), "amount", "the unit") == 10_000_000
    assert count_of(0.3, Fraction(1, 10), "quantity", "the lot") == 3
    assert count_of(-0.3, Fraction(1, 10), "quantity", "the lot") == -3


@pytest.mark.criterion("ENG-1")
@pytest.mark.parametrize(
    ("value", "step"),
    [(55, Fraction(10)), (7_895.005, step_of(2)), ("1e-9", step_of(8)), (1e-300, step_of(8)), (0.1 + 0.2, step_of(8))],
)
def test_what_lies_between_two_steps_is_refused(value, step):
    with pytest.raises(InputError):
        count_of(value, step, "amount", "the step")


@pytest.mark.criterion("ENG-1")
@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), "nan", "", "1,000", "1_0 0", None, True, [1], b"1", "1e999999999", "-1e99"]
)
def test_what_is_no_number_is_refused(value):
    with pytest.raises(InputError):
        exact(value, "amount")


@pytest.mark.criterion("ENG-1")
def test_the_ledger_has_a_limit():
    assert count_of(LEDGER_MAXIMUM, Fraction(1), "amount", "the unit") == LEDGER_MAXIMUM
    for value in (LEDGER_MAXIMUM + 1, -LEDGER_MAXIMUM - 1, "1e40"):
        with pytest.raises(InputError, match="keep it within"):
            count_of(value, Fraction(1), "amount", "the unit")


@pytest.mark.criterion("ENG-2")
@pytest.mark.parametrize(
    ("value", "steps"), [(7_895.005, 789_500), (7_895.015, 789_502), (7_895.0149, 789_501), ("7895.0051", 789_501)]
)
def test_quotes_are_rounded_half_to_even(value, steps):
    assert nearest_count(value, step_of(2), "price") == steps


@given(st.integers(-LEDGER_MAXIMUM, LEDGER_MAXIMUM), st.integers(0, 18), st.sampled_from([1, 5, 10, 100]))
def test_there_and_back(count, decimals, mantissa):
    step = mantissa * step_of(decimals)
    amount = amount_of(count, step)
    assert Fraction(amount) == count * step
    assert count_of(amount, step, "amount", "the step") == count
    assert count_of(str(amount), step, "amount", "the step") == count


def test_plain_numbers():
    assert [plain(Decimal(text)) for text in ("50000", "0.10", "-1234.500", "0")] == ["50,000", "0.1", "-1,234.5", "0"]
    assert plain(Fraction(1, 10**8)) == "0.00000001"
    assert plain(100) == "100"
