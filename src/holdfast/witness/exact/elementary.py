"""Square root, exponential, logarithm and normal distribution of rational numbers, enclosed.

What lives here: functions of an exact argument that give an interval which holds the exact result. They are made of
integers: numbers are counted in units of 2 ** -`_SCALE`, each division rounds down, and the bound on what was lost is
derived beside the loop or counted in it. What may not: a result without a bound. A float serves only as a first guess
whose error the result does not inherit.
"""

from fractions import Fraction
from functools import lru_cache
from math import isqrt, log

from holdfast.domain.errors import invariant
from holdfast.witness.exact.intervals import NOTHING, ONE, ZERO, Interval

BITS = 192
"""Results are good to about 2 ** -BITS (1.6e-58): of themselves, except `normal`, where it is absolute."""
_SCALE = BITS + 64
_UNIT = 1 << _SCALE
_HALVINGS = 8
_EXP_LOSS = 1 << 17
_EXPONENT_MAX = 2_000
_TAIL = 17
_TAIL_BOUND = Fraction(1, 1 << 213)
_GUESS_GRID = 1 << 30
_LN_TERMS = 9


def _fixed(value: Fraction) -> int:
    """The number in units of 2 ** -_SCALE, rounded down."""
    return (value.numerator << _SCALE) // value.denominator


@lru_cache(maxsize=1)
def _ln_2() -> int:
    """Units of ln 2, at most 2 too low: 2 · Σ 1 / ((2j + 1) · 3^(2j + 1)), rounded down, with 16 bits to spare.

    There are fewer than 200 terms, each less than 2 of the small units too low, and the rest is below 1.
    """
    power, result, step = (2 << (_SCALE + 16)) // 3, 0, 1
    while power:
        result += power // step
        power //= 9
        step += 2
    return result >> 16


@lru_cache(maxsize=4096)
def square_root(value: Fraction) -> Interval:
    """√value, to 2 ** -BITS of itself; exact where the root is rational.

    Args:
        value: At least 0.
    """
    invariant(value >= 0, f"square root of {value}")
    numerator, denominator = value.numerator, value.denominator
    if isqrt(numerator) ** 2 == numerator and isqrt(denominator) ** 2 == denominator:
        return Interval.point(Fraction(isqrt(numerator), isqrt(denominator)))
    shift = BITS + max(0, denominator.bit_length() - numerator.bit_length()) // 2 + 1
    root = isqrt((numerator << (2 * shift)) // denominator)
    return Interval(Fraction(root, 1 << shift), Fraction(root + 1, 1 << shift))


def exponential(value: Fraction) -> Interval:
    """e^value, to 2 ** -BITS of itself.

    With k the whole number nearest to value / ln 2 and r the rest, e^value = 2^k · (e^(r / 256))^256. Losses, in units:
    r has at most 2|k| + 1 ≤ 4,001 from ln 2, so z = r / 256 at most 17; the terms z^i / i! at most 20 for the first and
    3 for each of fewer than 40 others, since |z| < 2^-8; what follows the last one, below 1. Together under 256. A
    squaring of y turns a loss e into 2ye + e² + 1; the eight factors 2y multiply to less than 2^8 · e^|r| < 2^9, so the
    end has at most 256 · 2^8 · 1.5 and the eight units, below 2^17.

    Args:
        value: From −1,000 to 1,000.
    """
    if not value:
        return Interval.point(ONE)
    shift = round(float(value) / 0.6931471805599453)
    invariant(abs(shift) < _EXPONENT_MAX, f"exponential of {float(value)}")
    rest = (_fixed(value) - shift * _ln_2()) >> _HALVINGS
    term = result = _UNIT
    step = 1
    while abs(term) > 1:
        term = ((term * rest) >> _SCALE) // step
        result += term
        step += 1
    for _ in range(_HALVINGS):
        result = (result * result) >> _SCALE
    factor = Fraction(2) ** shift
    return Interval(Fraction(result - _EXP_LOSS, _UNIT) * factor, Fraction(result + _EXP_LOSS, _UNIT) * factor)


@lru_cache(maxsize=4096)
def logarithm(value: Fraction) -> Interval:
    """ln(value), to 2 ** -BITS; 0 for 1.

    A guess g on a coarse grid, corrected: ln v = g + ln(1 + δ), 1 + δ = v · e^−g. The series of ln(1 + δ), cut after n
    terms, is off by at most 2 · |δ|^(n + 1) for |δ| ≤ 1/2.

    Args:
        value: Above 0.
    """
    invariant(value > 0, f"logarithm of {value}")
    if value == 1:
        return NOTHING
    guess = Fraction(round(log(float(value)) * _GUESS_GRID), _GUESS_GRID)
    near = exponential(-guess).times(value).plus(-ONE)
    return Interval(_ln_near(near.low).low, _ln_near(near.high).high).plus(guess).outward(_SCALE)


def _ln_near(excess: Fraction) -> Interval:
    invariant(abs(excess) < Fraction(1, 1 << 20), f"the guess of a logarithm is off by {float(excess)}")
    excess_interval = Interval.point(excess).outward(_SCALE)
    return Interval(_ln_series(excess_interval.low), _ln_series(excess_interval.high)).widened(
        2 * abs(excess) ** (_LN_TERMS + 1) + Fraction(1, 1 << (_SCALE - 4))
    )


def _ln_series(excess: Fraction) -> Fraction:
    """Σ −(−excess)^i / i up to _LN_TERMS; each term rounded down, together less than 16 units too low."""
    unit = _fixed(excess)
    power, result = unit, 0
    for step in range(1, _LN_TERMS + 1):
        result += power // step if step % 2 else -(power // step)
        power = (power * unit) >> _SCALE
    return Fraction(result, _UNIT)


@lru_cache(maxsize=1)
def _density_at_0() -> Interval:
    """1 / √(2π); π by Machin's formula, 16 · atan(1/5) − 4 · atan(1/239), less than 4,096 units off."""
    units = 16 * _arctangent(5) - 4 * _arctangent(239)
    pi = Interval(Fraction(units - 4096, _UNIT), Fraction(units + 4096, _UNIT))
    return Interval(
        square_root(1 / (2 * pi.high)).low,
        square_root(1 / (2 * pi.low)).high,
    )


def _arctangent(inverse: int) -> int:
    """Units of atan(1 / inverse); each of fewer than 60 terms is less than 2 units off."""
    power, result, step = _UNIT // inverse, 0, 1
    while power:
        result += power // step if step % 4 == 1 else -(power // step)
        power //= inverse * inverse
        step += 2
    return result


def _odd_series(argument: int) -> tuple[int, int]:
    """Σ a^(2k + 1) / (1 · 3 · … · (2k + 1)) in units, and what it may be off by.

    Each term comes from the one before: t · a² / (2k + 1), with a² rounded down by less than a unit and two more
    roundings. So a loss e becomes (e · a² + t) / (2k + 1) + 2. It ends where the terms are 0 and each is less than half
    of the one before, so that the rest is at most the loss of the last.
    """
    square = (argument * argument) >> _SCALE
    term, loss, step = argument, 0, 1
    result, lost = term, 0
    while term or square >= step << (_SCALE - 1):
        step += 2
        loss = (((loss * (square + 1) + term) >> _SCALE) + 1) // step + 3
        term = ((term * square) >> _SCALE) // step
        result += term
        lost += loss
    return result, lost + 2 * (loss + 1)


def normal(at: Interval) -> Interval:
    """The standard normal distribution Φ of a number in `at`, to 2 ** -BITS beside what the width of `at` costs.

    Φ(a) = 1/2 + φ(a) · Σ a^(2k + 1) / (1 · 3 · … · (2k + 1)) for a ≥ 0; from a = 17 on at most 4.1e-65 is
    missing to 1, below 2 ** -213. The argument is taken at the middle, cut to a unit; the slope of Φ is at most 2/5.
    """
    argument = _fixed(abs(at.middle))
    slack = at.radius * Fraction(2, 5) + Fraction(1, _UNIT)
    if argument >= _TAIL * _UNIT:
        half = Interval(1 - _TAIL_BOUND, ONE)
    else:
        series, loss = _odd_series(argument)
        density = _density_at_0() * exponential(-(Fraction(argument, _UNIT) ** 2) / 2)
        half = density * Interval(Fraction(series - loss, _UNIT), Fraction(series + loss, _UNIT))
        half = half.plus(Fraction(1, 2))
    result = (half if at.middle >= 0 else (-half).plus(ONE)).widened(slack).outward(_SCALE)
    return Interval(max(ZERO, result.low), min(ONE, result.high))


def power(base: Fraction, exponent: Fraction) -> Interval:
    """base^exponent for base > 0, to about 2 ** -BITS of itself."""
    if not exponent or base == 1:
        return Interval.point(ONE)
    return exponential_of(logarithm(base).times(exponent))


def exponential_of(at: Interval) -> Interval:
    """e^x of a number in `at`; rising, so that the ends suffice."""
    if at.is_point:
        return exponential(at.low)
    rounded = at.outward(_SCALE)
    return Interval(exponential(rounded.low).low, exponential(rounded.high).high)
