"""Implied volatility: the volatility at which Black-76 gives a stated price.

Theory of operation. For one forward and strike, the price less intrinsic value over min(F, K) is a function b of the
total volatility s = σ√T (`black76.time_value`), which grows from 0 to 1: convex up to s = √(2|ln(F/K)|), concave after.
Newton's method starts at that point. Above it, it works on b; below it, on ln b, which is concave where b is minute.
Each evaluation also tightens a bracket; a Newton step that leaves the bracket, and from the 33rd on every second step,
is replaced by a bisection, so that `ITERATIONS_MAX` steps always suffice. Usually six do.

What lives here: the compiled core, which answers with a status instead of raising, and its Python wrapper. What may not
live here: smoothing, quotes, any choice between bid and ask. Source: specs/pricing.md.
"""

import math

from holdfast.compilation import compiled
from holdfast.domain.errors import InputError, invariant
from holdfast.pricing.black76 import time_value
from holdfast.pricing.elementary import log_ratio, normal_density

SOLVED = 0
"""Status: the volatility was found."""
NOT_AN_OPTION = 1
"""Status: a forward, strike, time or discount factor is not positive, or the sign is neither +1 nor −1."""
BELOW_INTRINSIC = 2
"""Status: no volatility gives so low a price."""
ABOVE_BOUND = 3
"""Status: no volatility gives so high a price; a call stays below D·F, a put below D·K."""

ITERATIONS_MAX = 160
"""Thirty-two Newton steps, then sixty-four bisections between as many: the bracket ends 2**64 times as narrow."""
DEVIATION_MAX = 64.0
"""At this total volatility the time value equals its bound in float64."""
_DEPTH_MAX = 40.0
_NEWTON_ONLY = 32
_STEP_MIN = 1e-14
_INTRINSIC_TOLERANCE = 2e-15
"""Share of the price by which it may lie below intrinsic value, as a price that was rounded once may."""


@compiled
def _next_deviation(s: float, step: float, low: float, high: float, iteration: int) -> float:
    """Where to evaluate next: the Newton point if it is in the open bracket and its turn has come, else the middle."""
    newton = s - step
    if low < newton < high and (iteration < _NEWTON_ONLY or iteration % 2 == 0):
        return newton
    return 0.5 * (low + high)


@compiled
def _deviation(forward: float, strike: float, target: float) -> float:
    """The total volatility s with time_value(F, K, s) = target·min(F, K), for 0 < target < 1."""
    scale = min(forward, strike)
    x = abs(log_ratio(forward, strike))
    low, high = x / _DEPTH_MAX, DEVIATION_MAX
    inflection = math.sqrt(2.0 * x)
    in_logarithm = target < time_value(forward, strike, inflection) / scale
    s = min(max(inflection, 2.5 * target), 0.5 * DEVIATION_MAX)
    for iteration in range(ITERATIONS_MAX):
        b = time_value(forward, strike, s) / scale
        if b < target:
            low = s
        else:
            high = s
        slope = normal_density(0.5 * s - x / s)
        error = b * log_ratio(b, target) if in_logarithm and b > 1e-300 else b - target
        step = error / slope if slope > 0.0 else high
        if abs(step) <= _STEP_MIN * s:
            return s - step
        s = _next_deviation(s, step, low, high, iteration)
    return s


@compiled
def solve(price: float, forward: float, strike: float, years: float, discount: float, sign: float) -> tuple[float, int]:
    """The implied volatility and a status; never NaN for finite arguments, and nothing is raised.

    Args:
        price: Value of the option, in the money of forward and strike.
        forward: Forward price, > 0.
        strike: Strike, > 0.
        years: Time to expiry in years, > 0.
        discount: Discount factor, > 0.
        sign: +1.0 for a call, −1.0 for a put.

    Returns:
        (volatility, `SOLVED`), or (0.0, another status). The price of zero volatility gives volatility 0.
    """
    positive = forward > 0.0 and strike > 0.0 and years > 0.0 and discount > 0.0
    if not positive or sign * sign != 1.0:
        return 0.0, NOT_AN_OPTION
    undiscounted = price / discount
    target = (undiscounted - max(sign * (forward - strike), 0.0)) / min(forward, strike)
    tolerance = _INTRINSIC_TOLERANCE * abs(undiscounted) / min(forward, strike)
    if target < 0.0 and (target < -tolerance or price < 0.0):
        return 0.0, BELOW_INTRINSIC
    if target >= 1.0:
        return 0.0, ABOVE_BOUND
    if target < 1e-300:
        return 0.0, SOLVED
    return _deviation(forward, strike, target) / math.sqrt(years), SOLVED


def implied_volatility(
    price: float, forward: float, strike: float, years: float, discount: float, sign: float
) -> float:
    """The annual volatility, as a fraction, at which `black76.value` equals `price`; arguments as in `solve`.

    Accurate to 1e-10 relative where the price has as many digits of time value; zero for the intrinsic price.

    Raises:
        InputError: An argument is not finite or not positive, or no volatility gives the price.
    """
    given = {"price": price, "forward": forward, "strike": strike, "years": years, "discount": discount, "sign": sign}
    for name, number in given.items():
        if not math.isfinite(number):
            raise InputError("not-a-number", name, number, "Give a finite number.")
    volatility, status = solve(*(float(number) for number in given.values()))
    if status != SOLVED:
        raise _refusal(status, given)
    invariant(0.0 <= volatility < math.inf, f"implied volatility {volatility} of {given} is not a number ≥ 0")
    return float(volatility)


def _refusal(status: int, given: dict[str, float]) -> InputError:
    """The exception that says a status in words, with the values that led to it."""
    forward, strike, discount, sign = (given[name] for name in ("forward", "strike", "discount", "sign"))
    if status == NOT_AN_OPTION:
        wrong = [name for name in ("forward", "strike", "years", "discount") if not given[name] > 0.0]
        if not wrong:
            return InputError("out-of-range", "sign", sign, "Give 1 for a call or -1 for a put.")
        return InputError("out-of-range", wrong[0], given[wrong[0]], "Give a number > 0.")
    option = f"forward {forward}, strike {strike}, discount factor {discount}"
    if status == BELOW_INTRINSIC:
        floor = discount * max(sign * (forward - strike), 0.0)
        return InputError(
            "out-of-range",
            "price",
            given["price"],
            f"give at least the intrinsic value {floor} ({option}).",
            "is below intrinsic value",
        )
    bound = discount * (forward if sign > 0 else strike)
    return InputError(
        "out-of-range",
        "price",
        given["price"],
        f"give less than {bound}, which is what the {'call' if sign > 0 else 'put'} tends to ({option}).",
        "is not below the bound of any volatility",
    )
