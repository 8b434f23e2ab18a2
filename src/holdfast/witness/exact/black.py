"""Black's value of a European option, enclosed.

What lives here: the formula of PRC-4 and its limits of PRC-7, undiscounted. What may not: what shocks the arguments.
"""

from fractions import Fraction

from holdfast.witness.exact.elementary import BITS, logarithm, normal, square_root
from holdfast.witness.exact.intervals import ONE, ZERO, Interval

_GRID = BITS + 64


def intrinsic(forward: Fraction, strike: Fraction, *, is_call: bool) -> Fraction:
    """What the option pays at `forward`."""
    return max(ZERO, forward - strike if is_call else strike - forward)


def black(forward: Fraction, strike: Fraction, years: Fraction, volatility: Interval, *, is_call: bool) -> Interval:
    """Value of one coin's option with discount factor 1, in the money of forward and strike (PRC-4, PRC-7).

    Put and call differ by forward − strike exactly, so both come from the call. A value never lies below its intrinsic
    value (PRC-8), which cuts the interval. A volatility that cannot be told from 0 gives what lies between the value
    at 0 and that at the upper end, since the value rises with it.

    Args:
        forward: Forward price, quote currency.
        strike: Strike, quote currency.
        years: Years to expiry.
        volatility: Annual fraction.
        is_call: Whether it is a call.
    """
    floor = intrinsic(forward, strike, is_call=is_call)
    if years <= 0 or volatility.high <= 0 or forward <= 0 or strike <= 0:
        return Interval.point(floor)
    if volatility.low <= 0:
        upper = black(forward, strike, years, Interval.point(volatility.high), is_call=is_call)
        return Interval(floor, upper.high)
    call = _call(forward, strike, square_root(years) * volatility)
    value = call if is_call else call.plus(strike - forward)
    return Interval(max(floor, value.low), max(floor, value.high))


def _call(forward: Fraction, strike: Fraction, deviation: Interval) -> Interval:
    """F·Φ(d₁) − K·Φ(d₂), d₁ and d₂ = ln(F/K) / deviation ± deviation / 2; deviation is σ√T."""
    inverse = Interval(ONE / deviation.high, ONE / deviation.low).outward(_GRID + 64)
    distance = (logarithm(forward / strike) * inverse).outward(_GRID)
    half = deviation.times(Fraction(1, 2)).outward(_GRID)
    above, below = normal(distance + half), normal(distance - half)
    return (above.times(forward) - below.times(strike)).outward(_GRID)
