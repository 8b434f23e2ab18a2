"""Black-76: values and sensitivities of European options on a forward.

Theory of operation. The textbook formula D·ω·(F·Φ(ωd1) − K·Φ(ωd2)) subtracts two numbers that nearly agree when the
option is short-dated or far from the money: one day before expiry it loses four digits, an hour before it five. Here
an option is its intrinsic value plus its time value, and the time value, which call and put share, is computed as the
out-of-the-money option of the pair:

    x = |ln(F/K)|,  s = σ√T,  h = −x/s,  t = s/2,
    time value = min(F, K) · φ(h + t) · [Y(h + t) − Y(h − t)],   Y(z) = Φ(z)/φ(z),

because F·φ(d1) = K·φ(d2). For s ≥ 1/8 the bracket is taken as it stands; below, where it cancels, as the Taylor series
2t·[Y′(h) + t²/6·Y‴(h) + …], whose derivatives follow from Y′ = 1 + hY by Y⁽ⁿ⁺¹⁾ = h·Y⁽ⁿ⁾ + n·Y⁽ⁿ⁻¹⁾. ln(F/K) comes from
the exact difference of F and K. So the time value keeps its digits to the last second, parity holds to rounding, and
no value is negative.

What lives here: functions over `Real` (floats, arrays, vectors inside a kernel: the same bits), and array wrappers that
check their arguments. Units: forward, strike and values in the same money; years of 365 days (CON-2); volatility and
rates annual fractions; sign +1 for a call, −1 for a put. Source: F. Black, "The pricing of commodity contracts",
Journal of Financial Economics 3 (1976); specs/pricing.md.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from holdfast.compilation import compiled
from holdfast.domain.errors import InputError
from holdfast.pricing.elementary import exp, log, log_ratio, mills_ratio, normal_cdf, normal_density
from holdfast.pricing.vectors import (
    LANES_NARROW,
    Real,
    load,
    maximum,
    minimum,
    real_function,
    select,
    square_root,
    store,
)

Floats = npt.NDArray[np.float64]

_SERIES_BELOW = 0.125
"""Total volatility σ√T under which the Taylor series is used; its remainder there is below 1e-16 of the sum."""
_DEVIATION_MIN = 1e-150
"""Stands in for a total volatility of 0 as a divisor; the result is not used then."""
_POSITIVE_MIN = 1e-300
"""Stands in for a price, a time or a discount factor of 0 as a divisor or under a logarithm; not used then."""
_DEPTH_MAX = 40.0
"""Standard deviations out of the money beyond which the density is 0 in float64."""


class Greeks(NamedTuple):
    """Sensitivities of one option, of each option of an array, or lane by lane.

    All are derivatives of `value` with the discount factor read as exp(−rate·years), and the *forward* held fixed.

    Attributes:
        delta: Per unit of the forward (multiply by the quantity of options; between −1 and 1).
        gamma: Change of delta per unit of the forward.
        vega: Per 1.00 of volatility (divide by 100 for one percentage point).
        theta: Per year that passes (divide by 365 for a day): −∂value/∂years.
        rho: Per 1.00 of the rate: −years·value. Venues hold the *spot* fixed instead: rho + years·forward·delta.
    """

    delta: Any
    gamma: Any
    vega: Any
    theta: Any
    rho: Any


@real_function
def total_volatility(years: Real, volatility: Real) -> Real:
    """σ√T, the standard deviation of the logarithm of the price at expiry; 0 where either is not positive."""
    return maximum(volatility, 0.0) * square_root(maximum(years, 0.0))


@real_function
def _log_moneyness(forward: Real, strike: Real) -> Real:
    """ln(F/K), with a tiny positive number in place of what is not positive."""
    return log_ratio(maximum(forward, _POSITIVE_MIN), maximum(strike, _POSITIVE_MIN))


@real_function
def _series_bracket(depth: Real, half: Real, ratio: Real) -> Real:
    """Y(h + t) − Y(h − t), h = −depth, t = half ≤ 1/16, Y(h) = ratio, by the odd derivatives of Y up to the ninth."""
    h = 0.0 - depth
    first = 1.0 + h * ratio
    second = h * first + ratio
    third = h * second + 2.0 * first
    fourth = h * third + 3.0 * second
    fifth = h * fourth + 4.0 * third
    sixth = h * fifth + 5.0 * fourth
    seventh = h * sixth + 6.0 * fifth
    eighth = h * seventh + 7.0 * sixth
    ninth = h * eighth + 8.0 * seventh
    w = half * half
    c_2, c_4, c_6, c_8 = 1.0 / 6.0, 1.0 / 120.0, 1.0 / 5040.0, 1.0 / 362880.0
    return 2.0 * half * (first + w * (c_2 * third + w * (c_4 * fifth + w * (c_6 * seventh + w * (c_8 * ninth)))))


@real_function
def time_value(forward: Real, strike: Real, deviation: Real) -> Real:
    """The undiscounted value of the out-of-the-money option of a pair; `deviation` is `total_volatility`.

    Zero where the forward, the strike or the deviation is not positive. Never negative, never −0.
    """
    s = maximum(deviation, _DEVIATION_MIN)
    x = _log_moneyness(forward, strike)
    depth = maximum(x, 0.0 - x) / s
    half = 0.5 * s
    inner, outer = half - depth, half + depth
    density = normal_density(inner)
    in_series = s < _SERIES_BELOW
    depth_held = minimum(depth, _DEPTH_MAX)
    ratio = mills_ratio(select(in_series, depth_held, maximum(inner, 0.0 - inner)))
    tail = density * ratio
    direct = select(inner > 0.0, 1.0 - tail, tail) - density * mills_ratio(outer)
    probability = select(in_series, density * _series_bracket(depth_held, half, ratio), direct)
    alive = select(deviation > 0.0, 1.0, 0.0)
    return (maximum(minimum(forward, strike), 0.0) * maximum(probability, 0.0)) * alive + 0.0


@real_function
def value(forward: Real, strike: Real, years: Real, volatility: Real, discount: Real, sign: Real) -> Real:
    """The value of a European option on a forward: D·(max(ω(F − K), 0) + time value).

    Args:
        forward: Forward price for the expiry, any number; intrinsic value where ≤ 0.
        strike: Strike, any number; intrinsic value where ≤ 0.
        years: Time to expiry in years; intrinsic value where ≤ 0.
        volatility: Annual volatility as a fraction; intrinsic value where ≤ 0.
        discount: Discount factor D.
        sign: ω, +1.0 for a call, −1.0 for a put.

    Returns:
        The value in the money of forward and strike; ≥ 0 for D ≥ 0, never −0. Relative error below 1e-13 wherever the
        value is at least 1e-6 of the forward.
    """
    intrinsic = maximum(sign * (forward - strike), 0.0)
    return discount * (intrinsic + time_value(forward, strike, total_volatility(years, volatility)))


@real_function
def greeks(forward: Real, strike: Real, years: Real, volatility: Real, discount: Real, sign: Real) -> Greeks:
    """The sensitivities of `value`; arguments as there.

    At expiry, at zero volatility and at a forward or strike ≤ 0 they are limits: delta is Dω in the money, 0 out of it
    and Dω/2 at it; gamma is 0; vega is D·F·φ(0)·√T at the money with zero volatility, else 0; theta is rate·value, 0 at
    expiry, where the rate is unknown; rho is −years·value.
    """
    deviation = total_volatility(years, volatility)
    alive = select(minimum(deviation, minimum(forward, strike)) > 0.0, 1.0, 0.0)
    s = maximum(deviation * alive, _DEVIATION_MIN)
    d1 = _log_moneyness(forward, strike) / s + 0.5 * s
    term, price = maximum(years, 0.0), maximum(forward, 0.0)
    weight = discount * normal_density(d1)
    worth = value(forward, strike, years, volatility, discount, sign)
    running = select(years > 0.0, 1.0, 0.0) / maximum(years, _POSITIVE_MIN)
    rate = (0.0 - log(maximum(discount, _POSITIVE_MIN))) * running
    return Greeks(
        delta=discount * sign * normal_cdf(sign * d1) + 0.0,
        gamma=weight * alive / maximum(forward, _POSITIVE_MIN) / s,
        vega=weight * price * square_root(term),
        theta=rate * worth - weight * price * (0.5 * deviation) * running + 0.0,
        rho=0.0 - term * worth,
    )


@real_function
def discount_factor(rate: Real, years: Real) -> Real:
    """exp(−rate·years) for an annual, continuously compounded rate."""
    return exp(0.0 - rate * years)


@compiled
def _value_row(
    forward: Floats, strike: Floats, years: Floats, volatility: Floats, discount: Floats, sign: Floats, out: Floats
) -> None:
    """Fill `out` with values; arrays of one length, contiguous. Whole registers, then one by one: the same bits."""
    count = out.size
    whole = count - count % LANES_NARROW
    for i in range(0, whole, LANES_NARROW):
        f, k, t = load(forward, i, LANES_NARROW), load(strike, i, LANES_NARROW), load(years, i, LANES_NARROW)
        v, d, w = load(volatility, i, LANES_NARROW), load(discount, i, LANES_NARROW), load(sign, i, LANES_NARROW)
        store(out, i, value(f, k, t, v, d, w))
    for i in range(whole, count):
        out[i] = value(forward[i], strike[i], years[i], volatility[i], discount[i], sign[i])


@compiled
def _greeks_row(
    forward: Floats, strike: Floats, years: Floats, volatility: Floats, discount: Floats, sign: Floats, out: Floats
) -> None:
    """Fill the five rows of `out` with greeks; arrays of one length, contiguous."""
    for i in range(sign.size):
        row = greeks(forward[i], strike[i], years[i], volatility[i], discount[i], sign[i])
        out[0, i], out[1, i], out[2, i], out[3, i], out[4, i] = row


def values(
    forward: npt.ArrayLike,
    strike: npt.ArrayLike,
    years: npt.ArrayLike,
    volatility: npt.ArrayLike,
    discount: npt.ArrayLike,
    is_call: npt.ArrayLike,
) -> Floats:
    """Values of many options; arguments and units as in `value`, with `is_call` in place of the sign.

    Args:
        forward: Scalar or one-dimensional, as all arguments; they are broadcast against each other.
        strike: As in `value`.
        years: As in `value`.
        volatility: As in `value`.
        discount: As in `value`.
        is_call: True for calls, False for puts.

    Returns:
        A new array of values.

    Raises:
        InputError: A number is NaN or infinite, or the shapes do not fit together.
    """
    f, k, t, v, d, sign = _columns(forward, strike, years, volatility, discount, is_call)
    out = np.empty(f.size)
    _value_row(f, k, t, v, d, sign, out)
    return out


def greeks_of(
    forward: npt.ArrayLike,
    strike: npt.ArrayLike,
    years: npt.ArrayLike,
    volatility: npt.ArrayLike,
    discount: npt.ArrayLike,
    is_call: npt.ArrayLike,
) -> Greeks:
    """Greeks of many options: `greeks` with the arguments, shapes and errors of `values`. Each field is a new array."""
    f, k, t, v, d, sign = _columns(forward, strike, years, volatility, discount, is_call)
    out = np.empty((len(Greeks._fields), f.size))
    _greeks_row(f, k, t, v, d, sign, out)
    return Greeks(*out)


def _columns(
    forward: npt.ArrayLike,
    strike: npt.ArrayLike,
    years: npt.ArrayLike,
    volatility: npt.ArrayLike,
    discount: npt.ArrayLike,
    is_call: npt.ArrayLike,
) -> list[Floats]:
    """The arguments as contiguous float64 arrays of one length, checked; `is_call` becomes the sign."""
    given = {
        "forward": forward,
        "strike": strike,
        "years": years,
        "volatility": volatility,
        "discount": discount,
        "sign": np.where(np.asarray(is_call, dtype=bool), 1.0, -1.0),
    }
    columns = {name: np.atleast_1d(np.asarray(column, dtype=np.float64)) for name, column in given.items()}
    lengths = {column.size for column in columns.values()} - {1}
    if len(lengths) > 1 or any(column.ndim > 1 for column in columns.values()):
        shapes = {name: column.shape for name, column in columns.items()}
        raise InputError("malformed", "options", shapes, "Give scalars or one-dimensional arrays of one length.")
    for name, column in columns.items():
        wrong = np.flatnonzero(~np.isfinite(column))
        if wrong.size:
            at = int(wrong[0])
            raise InputError("not-a-number", f"{name}[{at}]", float(column[at]), "Give a finite number.")
    length = lengths.pop() if lengths else 1
    return [np.ascontiguousarray(np.broadcast_to(column, length)) for column in columns.values()]
