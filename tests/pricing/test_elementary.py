"""The elementary functions: measured errors, stated edges, and one result in all their forms."""

import numpy as np
import pytest
from forms import scalar_form, vector_form
from hypothesis import given, settings
from hypothesis import strategies as st

import elementary_functions as tool
from holdfast.pricing import elementary

BOUNDS_ULP = {"exp": 1.0, "log": 1.0, "mills_ratio": 6.0, "normal_density": 2.5, "normal_cdf": 7.0}
POINTS = 2_000


@pytest.mark.criterion("PRC-1")
@pytest.mark.parametrize("measured", tool.measure(POINTS), ids=lambda m: f"{m.function} {m.domain}")
def test_errors_stay_below_what_is_stated(measured):
    assert measured.error_ulp <= BOUNDS_ULP[measured.function], measured


@pytest.mark.criterion("PRC-1")
def test_log_ratio_and_power_keep_their_relative_errors():
    assert tool.measure_log_ratio(POINTS) <= 4.5e-16
    assert tool.measure_power(POINTS) <= 3.4e-16


def test_constants_of_the_mills_ratio_come_from_the_program_beside_them():
    numerator, denominator, error = tool.mills_coefficients()
    assert tuple(numerator) == elementary._MILLS_NUMERATOR
    assert tuple(denominator) == elementary._MILLS_DENOMINATOR
    assert error < 2e-18


@pytest.mark.criterion("PRC-2")
@pytest.mark.parametrize(
    ("function", "argument", "exact", "tolerance"),
    [
        (elementary.exp, -1.0, 0.3678794411714423216, 2e-16),
        (elementary.exp, 1.0, 2.7182818284590452354, 2e-16),
        (elementary.exp, -708.0, 3.3075530036384079962e-308, 2e-16),
        (elementary.exp, -708.0000001, 0.0, 0.0),
        (elementary.exp, 709.0, 8.2184074615549721892e307, 2e-16),
        (elementary.exp, 1e6, 8.2184074615549721892e307, 2e-16),
        (elementary.exp, 0.0, 1.0, 0.0),
        (elementary.log, 1.0, 0.0, 0.0),
        (elementary.log, 10.0, 2.302585092994045684, 2e-16),
        (elementary.log, 1.0009765625, 9.7608597305545889596e-4, 2e-16),
        (elementary.normal_density, -37.0, 2.1200065515246056269e-298, 5e-16),
        (elementary.normal_density, 40.0, 0.0, 0.0),
        (elementary.normal_cdf, 0.0, 0.5, 2.3e-16),
        (elementary.normal_cdf, -1.0, 0.15865525393145705141, 5e-16),
        (elementary.normal_cdf, 0.5, 0.69146246127401310364, 5e-16),
        (elementary.normal_cdf, -6.0, 9.865876450376981407e-10, 1e-15),
        (elementary.normal_cdf, -37.0, 5.7255712225245768227e-300, 1.5e-15),
        (elementary.normal_cdf, -37.7, 0.0, 0.0),
        (elementary.normal_cdf, -1e300, 0.0, 0.0),
        (elementary.normal_cdf, 1e300, 1.0, 0.0),
        (elementary.mills_ratio, 6.0, 0.16237766089686746182, 1e-15),
    ],
)
def test_worked_numbers(function, argument, exact, tolerance):
    assert float(function(argument)) == pytest.approx(exact, rel=tolerance, abs=0.0)


@pytest.mark.criterion("PRC-2")
def test_worked_numbers_of_two_arguments():
    assert float(elementary.log_ratio(60000.5, 60000.0)) == pytest.approx(8.3332986113040111401e-6, rel=4.5e-16)
    assert float(elementary.log_ratio(60000.0, 60000.0)) == 0.0
    assert float(elementary.power(30.0 / 7.0, 0.3)) == pytest.approx(1.5474155772108131984, rel=7e-16)


def _arguments(low, high):
    generator = np.random.default_rng(7)
    return np.r_[
        generator.uniform(low, high, 6_348), np.linspace(-1, 1, 48) * min(abs(low), high), 0.0, low, -708.0, 709.0
    ]


@pytest.mark.criterion("PRC-3")
@pytest.mark.parametrize("lanes", [8, 32])
@pytest.mark.parametrize(
    ("function", "columns"),
    [
        (elementary.exp, [_arguments(-720.0, 720.0)]),
        (elementary.log, [np.abs(_arguments(-1e6, 1e6)) + 1e-9]),
        (elementary.mills_ratio, [np.abs(_arguments(-45.0, 45.0))]),
        (elementary.normal_density, [_arguments(-45.0, 45.0)]),
        (elementary.normal_cdf, [_arguments(-45.0, 45.0)]),
        (elementary.log_ratio, [np.abs(_arguments(-1e5, 1e5)) + 1.0, np.abs(_arguments(-2e5, 1e5)) + 1.0]),
        (elementary.power, [np.abs(_arguments(-50.0, 50.0)) + 0.01, _arguments(-9.0, 9.0)]),
    ],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_scalar_vector_and_array_forms_give_the_same_bits(function, columns, lanes):
    plain = np.asarray(function(*columns))
    assert plain.size % lanes == 0
    assert scalar_form(function)(*columns).tobytes() == plain.tobytes()
    assert vector_form(function, lanes)(*columns).tobytes() == plain.tobytes()


@settings(deadline=None)
@given(st.floats(-700.0, 700.0))
def test_exp_and_log_undo_each_other(x):
    assert float(elementary.log(elementary.exp(x))) == pytest.approx(x, rel=3e-16, abs=3e-16)


@settings(deadline=None)
@given(st.floats(-40.0, 40.0), st.floats(1e-6, 1.0))
def test_normal_cdf_grows_and_its_two_sides_sum_to_one(x, step):
    assert float(elementary.normal_cdf(x + step)) >= float(elementary.normal_cdf(x))
    assert float(elementary.normal_cdf(x)) + float(elementary.normal_cdf(-x)) == pytest.approx(1.0, abs=2.5e-16)
