"""Black-76 against mpmath, its limits, its laws, and its forms."""

import mpmath as mp
import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.domain.errors import InputError
from holdfast.pricing import black76
from holdfast.pricing.vectors import load, store

CALL, PUT = 1.0, -1.0
MONTH = 30.0 / 365.0
HOUR, SECOND = 1.0 / 8760.0, 1.0 / (365.0 * 86_400.0)


def exact(forward, strike, years, volatility, discount, sign):
    """The textbook formula for the doubles given, with 60 digits."""
    mp.mp.dps = 60
    f, k, t, v, d = (mp.mpf(float(x)) for x in (forward, strike, years, volatility, discount))
    deviation = v * mp.sqrt(t)
    d1 = mp.log(f / k) / deviation + deviation / 2
    d2 = d1 - deviation
    w = int(sign)
    price = d * w * (f * mp.ncdf(w * d1) - k * mp.ncdf(w * d2))
    rate, density = -mp.log(d) / t, mp.npdf(d1)
    return black76.Greeks(
        delta=d * w * mp.ncdf(w * d1),
        gamma=d * density / (f * deviation),
        vega=d * f * density * mp.sqrt(t),
        theta=rate * price - d * f * density * v / (2 * mp.sqrt(t)),
        rho=-t * price,
    ), price


def random_options(count, seed):
    """Options around the money of all maturities: forward, strike, years, volatility, discount, sign."""
    generator = np.random.default_rng(seed)
    forward = 10.0 ** generator.uniform(0, 5, count)
    years = 10.0 ** generator.uniform(-8, 0.7, count)
    volatility = 10.0 ** generator.uniform(-1, 0.6, count)
    depth = generator.uniform(-5.5, 5.5, count)
    depth[::10] = 0.0
    strike = forward * np.exp(depth * volatility * np.sqrt(years))
    return forward, strike, years, volatility, generator.uniform(0.7, 1.05, count), generator.choice([CALL, PUT], count)


WORKED = [
    (60_000.0, 65_000.0, MONTH, 0.6, 1.0, CALL, 2237.8681554046650424),
    (60_000.0, 65_000.0, MONTH, 0.6, 1.0, PUT, 7237.8681554046650424),
    (60_000.0, 65_000.0, MONTH, 0.6, 0.99, CALL, 2215.4894738506183919),
    (60_000.0, 65_000.0, MONTH, 0.6, 0.99, PUT, 7165.4894738506183919),
    (60_000.0, 60_000.0, HOUR, 0.6, 1.0, CALL, 153.4474832680099218),
    (60_000.0, 61_000.0, HOUR, 0.6, 1.0, CALL, 0.60797392280303053932),
    (60_000.0, 60_000.0, SECOND, 0.6, 1.0, PUT, 2.557462432460130241),
    (60_000.0, 200_000.0, MONTH, 0.6, 1.0, CALL, 3.3233994838205235274e-9),
    (60_000.0, 200_000.0, MONTH, 0.6, 1.0, PUT, 140_000.0000000033234),
    (60_000.0, 10_000.0, MONTH, 0.6, 1.0, PUT, 4.1351553370480332775e-23),
    (60_000.0, 10_000.0, MONTH, 0.6, 1.0, CALL, 50_000.0),
    (60_000.0, 65_000.0, 4.0, 6.0, 1.0, CALL, 59_999.999876777849247),
    (60_000.0, 65_000.0, 4.0, 6.0, 1.0, PUT, 64_999.999876777849247),
]


@pytest.mark.criterion("PRC-4", "PRC-6")
@pytest.mark.parametrize("case", WORKED)
def test_worked_values(case):
    *option, worth = case
    assert float(black76.value(*option)) == pytest.approx(worth, rel=1e-13, abs=0.0)


@pytest.mark.criterion("PRC-5")
def test_values_that_matter_keep_thirteen_digits():
    columns = random_options(4_000, seed=1)
    found, checked = 0.0, 0
    for *option, result in zip(*columns, np.asarray(black76.value(*columns)), strict=True):
        _, worth = exact(*option)
        if worth >= 1e-6 * option[0]:
            checked += 1
            found = max(found, float(abs(mp.mpf(float(result)) / worth - 1)))
    assert checked > 3_000
    assert found <= 1e-13, found


@pytest.mark.criterion("PRC-5")
@pytest.mark.parametrize("deviation", [np.nextafter(0.125, 0), 0.125, np.nextafter(0.125, 1)])
@pytest.mark.parametrize("depth", [0.0, -1.0, -4.0])
def test_the_series_and_the_closed_form_meet(deviation, depth):
    forward, strike = 60_000.0, 60_000.0 * float(np.exp(-depth * deviation))
    _, worth = exact(forward, strike, 1.0, deviation, 1.0, CALL)
    assert float(abs(mp.mpf(float(black76.value(forward, strike, 1.0, deviation, 1.0, CALL))) / worth - 1)) < 4e-14


@pytest.mark.criterion("PRC-7")
@pytest.mark.parametrize(
    ("forward", "strike", "years", "volatility"),
    [
        (60_000.0, 50_000.0, 0.0, 0.6),
        (60_000.0, 70_000.0, -1.0, 0.6),
        (60_000.0, 50_000.0, 1.0, 0.0),
        (60_000.0, 60_000.0, 1.0, -0.5),
        (60_000.0, 60_000.0, 0.0, 0.6),
        (0.0, 60_000.0, 1.0, 0.6),
        (-5.0, 60_000.0, 1.0, 0.6),
        (60_000.0, 0.0, 1.0, 0.6),
    ],
)
@pytest.mark.parametrize("sign", [CALL, PUT])
def test_intrinsic_value_where_nothing_can_move(forward, strike, years, volatility, sign):
    result = float(black76.value(forward, strike, years, volatility, 0.9, sign))
    assert result == 0.9 * max(sign * (forward - strike), 0.0)
    assert not np.signbit(result)


@pytest.mark.criterion("PRC-8")
@settings(deadline=None, max_examples=300)
@given(
    st.floats(1e-2, 1e6),
    st.floats(1e-2, 1e6),
    st.floats(0.0, 5.0),
    st.floats(0.0, 12.0),
    st.floats(0.5, 1.2),
)
def test_parity_bounds_and_sign(forward, strike, years, volatility, discount):
    call = float(black76.value(forward, strike, years, volatility, discount, CALL))
    put = float(black76.value(forward, strike, years, volatility, discount, PUT))
    size = discount * (forward + strike)
    assert call - put == pytest.approx(discount * (forward - strike), abs=4e-16 * size)
    assert discount * max(forward - strike, 0.0) * (1 - 1e-15) <= call <= discount * forward * (1 + 1e-15)
    assert discount * max(strike - forward, 0.0) * (1 - 1e-15) <= put <= discount * strike * (1 + 1e-15)
    assert not np.signbit(call)
    assert not np.signbit(put)


@pytest.mark.criterion("PRC-8")
@settings(deadline=None, max_examples=200)
@given(st.floats(1e3, 1e5), st.floats(1e3, 1e5), st.floats(0.01, 3.0), st.floats(0.05, 3.0), st.floats(1.001, 2.0))
def test_value_grows_with_volatility_and_time(forward, strike, years, volatility, more):
    base = float(black76.value(forward, strike, years, volatility, 1.0, CALL))
    slack = 1e-13 * base
    assert float(black76.value(forward, strike, years, volatility * more, 1.0, CALL)) >= base - slack
    assert float(black76.value(forward, strike, years * more, volatility, 1.0, CALL)) >= base - slack


@pytest.mark.criterion("PRC-9")
@pytest.mark.parametrize(
    ("sign", "expected"),
    [
        (CALL, (0.34870375242042710074, 3.5611069597081304859e-5, 6322.1844106599138489, -22805.065070521518599,
                -182.09502524799603221)),
        (PUT, (-0.64129624757957289926, 3.5611069597081304859e-5, 6322.1844106599138489, -22199.783593744394304,
               -588.9443403164891829)),
    ],
)  # fmt: skip
def test_worked_greeks(sign, expected):
    result = black76.greeks(60_000.0, 65_000.0, MONTH, 0.6, 0.99, sign)
    assert [float(g) for g in result] == pytest.approx(expected, rel=1e-13)


@pytest.mark.criterion("PRC-9")
def test_greeks_agree_with_fifty_digits():
    columns = random_options(600, seed=2)
    results = black76.greeks(*columns)
    for i, option in enumerate(zip(*columns, strict=True)):
        truth, worth = exact(*option)
        if worth < 1e-6 * option[0]:
            continue
        for name in ("delta", "gamma", "vega", "rho"):
            assert float(getattr(results, name)[i]) == pytest.approx(float(getattr(truth, name)), rel=1e-12), (
                name,
                option,
            )
        scale = float(truth.vega) * option[3] / (2 * option[2]) + abs(float(worth * mp.log(option[4]) / option[2]))
        assert float(results.theta[i]) == pytest.approx(float(truth.theta), abs=1e-12 * scale), option


@pytest.mark.criterion("PRC-10")
@pytest.mark.parametrize(
    ("forward", "strike", "years", "volatility", "sign", "delta"),
    [
        (60_000.0, 50_000.0, 0.0, 0.6, CALL, 0.9),
        (60_000.0, 50_000.0, 0.0, 0.6, PUT, 0.0),
        (60_000.0, 70_000.0, 0.0, 0.6, CALL, 0.0),
        (60_000.0, 70_000.0, 0.0, 0.6, PUT, -0.9),
        (60_000.0, 60_000.0, 0.0, 0.6, CALL, 0.45),
        (60_000.0, 60_000.0, 0.0, 0.6, PUT, -0.45),
        (60_000.0, 50_000.0, 1.0, 0.0, CALL, 0.9),
        (60_000.0, 60_000.0, 1.0, 0.0, PUT, -0.45),
        (0.0, 60_000.0, 1.0, 0.6, CALL, 0.0),
        (0.0, 60_000.0, 1.0, 0.6, PUT, -0.9),
    ],
)
def test_limits_of_the_greeks(forward, strike, years, volatility, sign, delta):
    result = black76.greeks(forward, strike, years, volatility, 0.9, sign)
    worth = 0.9 * max(sign * (forward - strike), 0.0)
    rate = -float(np.log(0.9)) / years if years > 0.0 else 0.0
    at_the_money = forward == strike and volatility == 0.0
    vega = 0.9 * forward * np.sqrt(years) * 0.3989422804014327 if at_the_money else 0.0
    assert [float(g) for g in result] == pytest.approx((delta, 0.0, vega, rate * worth, -years * worth), rel=1e-14)
    assert not any(np.isnan(float(g)) or (g == 0.0 and np.signbit(g)) for g in result)


@numba.njit(error_model="numpy")
def _values_by_lanes(forward, strike, years, volatility, discount, sign, out):
    for i in range(0, out.size, 8):
        f, v = load(forward, i, 8), load(volatility, i, 8)
        store(out, i, black76.value(f, strike, years, v, discount, sign))


@numba.njit(error_model="numpy")
def _values_by_wide_lanes(forward, strike, years, volatility, discount, sign, out):
    for i in range(0, out.size, 32):
        store(out, i, black76.value(load(forward, i, 32), strike, years, volatility[0], discount, sign))


@numba.njit(error_model="numpy")
def _greeks_by_lanes(forward, strike, years, volatility, discount, sign, out):
    count = forward.size
    for i in range(0, count, 8):
        g = black76.greeks(load(forward, i, 8), strike, years, load(volatility, i, 8), discount, sign)
        store(out, i, g.delta)
        store(out, count + i, g.gamma)
        store(out, 2 * count + i, g.vega)
        store(out, 3 * count + i, g.theta)
        store(out, 4 * count + i, g.rho)


def _lanes_of_scenarios():
    forward = np.r_[np.linspace(0.0, 180_000.0, 60), 65_000.0, 1e-3, 64_999.999, -1.0]
    volatility = np.r_[np.linspace(0.0, 3.0, 62), 1e-3, 0.6]
    return forward, volatility


@pytest.mark.criterion("PRC-3")
@pytest.mark.parametrize("sign", [CALL, PUT])
@pytest.mark.parametrize("years", [0.0, SECOND, HOUR, MONTH, 1.0])
def test_lanes_with_scalar_strike_give_the_bits_of_the_plain_twin(sign, years):
    forward, volatility = _lanes_of_scenarios()
    out = np.empty(forward.size)
    _values_by_lanes(forward, 65_000.0, years, volatility, 0.99, sign, out)
    assert out.tobytes() == black76.value(forward, 65_000.0, years, volatility, 0.99, sign).tobytes()
    calls = np.full(forward.size, sign > 0)
    assert out.tobytes() == black76.values(forward, 65_000.0, years, volatility, 0.99, calls).tobytes()
    _values_by_wide_lanes(forward, 65_000.0, years, volatility[5:], 0.99, sign, out)
    assert out.tobytes() == black76.value(forward, 65_000.0, years, volatility[5], 0.99, sign).tobytes()


@pytest.mark.criterion("PRC-3")
@pytest.mark.parametrize("sign", [CALL, PUT])
@pytest.mark.parametrize("years", [0.0, HOUR, MONTH])
def test_greeks_have_the_same_bits_in_all_forms(sign, years):
    forward, volatility = _lanes_of_scenarios()
    out = np.empty(5 * forward.size)
    _greeks_by_lanes(forward, 65_000.0, years, volatility, 0.99, sign, out)
    arrays = black76.greeks_of(forward, 65_000.0, years, volatility, 0.99, sign > 0)
    twin = black76.greeks(forward, 65_000.0, years, volatility, 0.99, sign)
    assert out.tobytes() == np.concatenate(arrays).tobytes()
    assert out.tobytes() == np.concatenate([np.broadcast_to(g, forward.size) for g in twin]).tobytes()


def test_values_broadcast_and_leave_their_arguments_alone():
    strike = np.array([50_000.0, 65_000.0, 80_000.0])
    result = black76.values(60_000.0, strike, MONTH, 0.6, 1.0, [True, True, False])
    assert result.shape == (3,)
    assert result[1] == black76.values(60_000.0, 65_000.0, MONTH, 0.6, 1.0, True)[0]
    assert strike.tolist() == [50_000.0, 65_000.0, 80_000.0]
    assert black76.values([], [], [], [], [], []).shape == (0,)


def test_values_refuse_what_they_cannot_price():
    with pytest.raises(InputError, match=r"volatility\[1\].*nan"):
        black76.values(60_000.0, 65_000.0, MONTH, [0.6, float("nan")], 1.0, True)
    with pytest.raises(InputError, match="one length"):
        black76.values([1.0, 2.0], [1.0, 2.0, 3.0], MONTH, 0.6, 1.0, True)
    with pytest.raises(InputError, match="one-dimensional"):
        black76.values([[1.0, 2.0]], 1.0, MONTH, 0.6, 1.0, True)


@pytest.mark.criterion("PRC-11")
def test_discount_factor():
    assert float(black76.discount_factor(0.05, MONTH)) == pytest.approx(0.99589884376420436719, rel=3e-16)
    assert float(black76.discount_factor(0.05, 0.0)) == 1.0
