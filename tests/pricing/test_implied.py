"""Implied volatility: round trips, limits, refusals."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from holdfast.domain.errors import InputError
from holdfast.pricing import black76, implied
from holdfast.pricing.implied import implied_volatility

MONTH = 30.0 / 365.0


@pytest.mark.criterion("PRC-13")
def test_worked_numbers():
    assert implied_volatility(2237.8681554046650, 60_000.0, 65_000.0, MONTH, 1.0, 1.0) == pytest.approx(0.6, rel=1e-13)
    assert implied_volatility(7165.4894738506184, 60_000.0, 65_000.0, MONTH, 0.99, -1.0) == pytest.approx(
        0.6, rel=1e-13
    )
    assert implied_volatility(59_999.999876777849, 60_000.0, 65_000.0, 4.0, 1.0, 1.0) == pytest.approx(6.0, rel=1e-7)
    assert implied_volatility(3.3233994838205235e-9, 60_000.0, 200_000.0, MONTH, 1.0, 1.0) == pytest.approx(
        0.6, rel=1e-12
    )


@pytest.mark.criterion("PRC-13")
@settings(deadline=None, max_examples=500)
@given(
    st.floats(-5.0, 5.0),
    st.floats(-6.0, 0.7),
    st.floats(0.02, 8.0),
    st.floats(0.5, 1.1),
    st.sampled_from([1.0, -1.0]),
)
def test_round_trip_where_vega_is_meaningful(depth, log_years, volatility, discount, sign):
    forward, years = 60_000.0, 10.0**log_years
    deviation = volatility * np.sqrt(years)
    assume(deviation < 6.0)
    strike = forward * float(np.exp(depth * deviation))
    assume(1e-3 < strike < 1e9)
    price = float(black76.value(forward, strike, years, volatility, discount, sign))
    vega = float(black76.greeks(forward, strike, years, volatility, discount, sign).vega)
    assume(vega * volatility > 1e-5 * price)
    assert implied_volatility(price, forward, strike, years, discount, sign) == pytest.approx(volatility, rel=1e-10)


@pytest.mark.criterion("PRC-14")
@pytest.mark.parametrize("forward", [60_000.0, 65_000.0, 70_000.0])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_intrinsic_price_is_zero_volatility(forward, sign):
    price = 0.97 * max(sign * (forward - 65_000.0), 0.0)
    assert implied_volatility(price, forward, 65_000.0, MONTH, 0.97, sign) == 0.0
    assert implied_volatility(price * (1 - 2.0**-52), forward, 65_000.0, MONTH, 0.97, sign) == 0.0


@pytest.mark.criterion("PRC-14")
@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"price": 4_899.0}, "below intrinsic value: 4899.0; give at least the intrinsic value 4900.0"),
        ({"price": -1.0, "strike": 70_000.0}, "below intrinsic value: -1.0"),
        ({"price": 58_800.0}, "58800.0; give less than 58800.0, which is what the call"),
        ({"price": 53_900.0, "sign": -1.0}, "53900.0; give less than 53900.0, which is what the put"),
        ({"forward": 0.0}, "forward: is outside what is allowed: 0.0"),
        ({"strike": -1.0}, "strike: is outside"),
        ({"years": 0.0}, "years: is outside"),
        ({"discount": 0.0}, "discount: is outside"),
        ({"sign": 0.5}, "sign: is outside what is allowed: 0.5"),
        ({"price": float("nan")}, "price: is not a finite number: nan"),
    ],
)
def test_refusals_name_the_value_and_the_limit(changed, words):
    given_ = {"price": 5_500.0, "forward": 60_000.0, "strike": 55_000.0, "years": 0.1, "discount": 0.98, "sign": 1.0}
    with pytest.raises(InputError) as refusal:
        implied_volatility(**(given_ | changed))
    assert words in str(refusal.value)


@pytest.mark.criterion("PRC-14")
@settings(deadline=None, max_examples=500)
@given(
    st.floats(-10.0, 1e6),
    st.floats(-1.0, 1e6),
    st.floats(-1.0, 1e6),
    st.floats(-0.1, 10.0),
    st.floats(-0.1, 2.0),
    st.sampled_from([1.0, -1.0, 0.0]),
)
def test_the_core_always_answers(price, forward, strike, years, discount, sign):
    volatility, status = implied.solve(price, forward, strike, years, discount, sign)
    assert np.isfinite(volatility)
    assert volatility >= 0.0
    assert status in (implied.SOLVED, implied.NOT_AN_OPTION, implied.BELOW_INTRINSIC, implied.ABOVE_BOUND)
    if status != implied.SOLVED:
        assert volatility == 0.0


@pytest.mark.criterion("PRC-13")
@settings(deadline=None, max_examples=300)
@given(st.floats(1e-290, 0.999999), st.floats(-30.0, 30.0))
def test_any_time_value_is_met(target, log_moneyness):
    forward = 1.0
    strike = float(np.exp(log_moneyness))
    sign = 1.0 if strike >= forward else -1.0
    price = target * min(forward, strike)
    assume(price > 1e-290)
    volatility, status = implied.solve(price, forward, strike, 1.0, 1.0, sign)
    assert status == implied.SOLVED
    assert float(black76.value(forward, strike, 1.0, volatility, 1.0, sign)) == pytest.approx(price, rel=1e-9)
