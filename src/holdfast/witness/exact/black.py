"""Black's value of a European option, enclosed.

What lives here: the formula of PRC-4 and its limits of PRC-7, undiscounted. What may not: what shocks the arguments.
"""

from dataclasses import dataclass
from fractions import Fraction

from holdfast.witness.exact.elementary import (
    SCALE,
    UNIT,
    Units,
    logarithm_units,
    normal_units,
    square_root,
)
from holdfast.witness.exact.intervals import ONE, ZERO, Interval


@dataclass(frozen=True, slots=True)
class Spread:
    """σ√T of an option, and what the formula takes of it.

    Attributes:
        half_and_inverse: σ√T / 2 and 1 / σ√T; None where σ√T is 0, so that the option is worth what it pays.
        is_certain: False where σ may be 0: the value then lies between what it pays and that at σ's upper end, which
            the numbers are of.
    """

    half_and_inverse: tuple[Units, Units] | None
    is_certain: bool = True


def spread(years: Fraction, volatility: Interval) -> Spread:
    """σ√T.

    Args:
        years: Years to expiry.
        volatility: Annual fraction.
    """
    if years <= 0 or volatility.high <= 0:
        return Spread(None)
    is_certain = volatility.low > 0
    deviation = square_root(years) * (volatility if is_certain else Interval.point(volatility.high))
    inverse = Interval(ONE / deviation.high, ONE / deviation.low)
    return Spread((Units.of(deviation.times(Fraction(1, 2))), Units.of(inverse)), is_certain)


def intrinsic(forward: Fraction, strike: Fraction, *, is_call: bool) -> Fraction:
    """What the option pays at `forward`."""
    return max(ZERO, forward - strike if is_call else strike - forward)


def black(forward: Fraction, strike: Fraction, years: Fraction, volatility: Interval, *, is_call: bool) -> Interval:
    """Value of one coin's option with discount factor 1, in the money of forward and strike (PRC-4, PRC-7).

    Args:
        forward: Forward price, quote currency.
        strike: Strike, quote currency.
        years: Years to expiry.
        volatility: Annual fraction.
        is_call: Whether it is a call.
    """
    floor = intrinsic(forward, strike, is_call=is_call)
    found = black_units(forward, strike, spread(years, volatility), is_call=is_call)
    if found is None:
        return Interval.point(floor)
    low, high = found
    return Interval(max(floor, Fraction(low, UNIT)), max(floor, Fraction(high, UNIT)))


def black_units(forward: Fraction, strike: Fraction, at: Spread, *, is_call: bool) -> tuple[int, int] | None:
    """The ends of `black`'s interval in units of 2 ** -SCALE; None where the value is the intrinsic one exactly.

    A value never lies below its intrinsic value (PRC-8), which cuts the interval. A volatility that cannot be told from
    0 gives what lies between the value at 0 and that at the upper end, since the value rises with it.
    """
    if at.half_and_inverse is None or forward <= 0 or strike <= 0:
        return None
    floor = intrinsic(forward, strike, is_call=is_call)
    least, rest = divmod(floor.numerator << SCALE, floor.denominator)
    low, high = _formula(forward, strike, *at.half_and_inverse, is_call=is_call)
    return max(least, low) if at.is_certain else least, max(least + bool(rest), high)


def _formula(forward: Fraction, strike: Fraction, half: Units, inverse: Units, *, is_call: bool) -> tuple[int, int]:
    """F·Φ(d₁) − K·Φ(d₂), d₁ and d₂ = ln(F/K) / σ√T ± σ√T / 2; of a put K·Φ(−d₂) − F·Φ(−d₁).

    Put and call differ by forward − strike exactly: so both come from the call's Φ, of a put less 1.
    """
    distance = log_ratio(forward, strike).times(inverse)
    error = distance.error + half.error
    above = normal_units(Units(distance.value + half.value, error))
    below = normal_units(Units(distance.value - half.value, error))
    of_forward, of_strike = forward.numerator * strike.denominator, strike.numerator * forward.denominator
    parts, less = forward.denominator * strike.denominator, 0 if is_call else UNIT
    value = of_forward * (above.value - less) - of_strike * (below.value - less)
    loss = of_forward * above.error + of_strike * below.error
    return (value - loss) // parts, -((-value - loss) // parts)


def log_ratio(one: Fraction, other: Fraction) -> Units:
    """ln(one / other): the logarithms' difference, as each is of many options; 0 for equal numbers."""
    if one == other:
        return Units(0)
    first, second = logarithm_units(one), logarithm_units(other)
    return Units(first.value - second.value, first.error + second.error)
