"""Square root, exponential, logarithm and normal distribution of rational numbers, enclosed.

What lives here: functions of an exact argument that give an interval which holds the exact result. They are made of
integers: numbers are counted in units of 2 ** -`SCALE`, each division rounds down, and the bound on what was lost is
derived beside the loop or counted in it. What may not: a result without a bound. A float serves only as a first guess
whose error the result does not inherit.
"""

from fractions import Fraction
from functools import lru_cache
from math import factorial, isqrt, log
from typing import NamedTuple

from holdfast.domain.errors import invariant
from holdfast.witness.exact.intervals import NOTHING, ONE, ZERO, Interval

BITS = 192
"""Results are good to about 2 ** -BITS (1.6e-58): of themselves, except `normal`, where it is absolute."""
SCALE = BITS + 64
UNIT = 1 << SCALE
_HALVINGS = 8
_EXP_LOSS = 1 << 17
_EXPONENT_MAX = 2_000
_TAIL = 17
_TAIL_LOSS = 1 << (SCALE - 213)
_NODE_BITS = 6
_TERMS = 24
_GUESS_GRID = 1 << 30
_LN_TERMS = 9


class Units(NamedTuple):
    """A number known up to a bound, both counted in units of 2 ** -SCALE.

    Attributes:
        value: Near the number.
        error: The number lies within it of `value`.
    """

    value: int
    error: int = 0

    @classmethod
    def of(cls, interval: Interval) -> "Units":
        """What holds an interval."""
        low, high = _fixed(interval.low), -_fixed(-interval.high)
        middle = (low + high) >> 1
        return cls(middle, high - middle)

    @property
    def interval(self) -> Interval:
        """All that the number can be."""
        return Interval(Fraction(self.value - self.error, UNIT), Fraction(self.value + self.error, UNIT))

    def times(self, other: "Units") -> "Units":
        """The product: what both errors make of it, and 2 for the two roundings."""
        (a, e), (b, f) = self, other
        return Units((a * b) >> SCALE, ((abs(a) * f + abs(b) * e + e * f) >> SCALE) + 2)


def _fixed(value: Fraction) -> int:
    """The number in units of 2 ** -SCALE, rounded down."""
    return (value.numerator << SCALE) // value.denominator


@lru_cache(maxsize=1)
def _ln_2() -> int:
    """Units of ln 2, at most 2 too low: 2 · Σ 1 / ((2j + 1) · 3^(2j + 1)), rounded down, with 16 bits to spare.

    There are fewer than 200 terms, each less than 2 of the small units too low, and the rest is below 1.
    """
    power, result, step = (2 << (SCALE + 16)) // 3, 0, 1
    while power:
        result += power // step
        power //= 9
        step += 2
    return result >> 16


@lru_cache(maxsize=4096)
def square_root(value: Fraction, bits: int = BITS) -> Interval:
    """√value, to 2 ** -bits of itself; exact where the root is rational.

    Args:
        value: At least 0.
        bits: See above.
    """
    invariant(value >= 0, f"square root of {value}")
    numerator, denominator = value.numerator, value.denominator
    if isqrt(numerator) ** 2 == numerator and isqrt(denominator) ** 2 == denominator:
        return Interval.point(Fraction(isqrt(numerator), isqrt(denominator)))
    shift = bits + max(0, denominator.bit_length() - numerator.bit_length()) // 2 + 1
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
    term = result = UNIT
    step = 1
    while abs(term) > 1:
        term = ((term * rest) >> SCALE) // step
        result += term
        step += 1
    for _ in range(_HALVINGS):
        result = (result * result) >> SCALE
    factor = Fraction(2) ** shift
    return Interval(Fraction(result - _EXP_LOSS, UNIT) * factor, Fraction(result + _EXP_LOSS, UNIT) * factor)


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
    return Interval(_ln_near(near.low).low, _ln_near(near.high).high).plus(guess).outward(SCALE)


def _ln_near(excess: Fraction) -> Interval:
    invariant(abs(excess) < Fraction(1, 1 << 20), f"the guess of a logarithm is off by {float(excess)}")
    excess_interval = Interval.point(excess).outward(SCALE)
    return Interval(_ln_series(excess_interval.low), _ln_series(excess_interval.high)).widened(
        2 * abs(excess) ** (_LN_TERMS + 1) + Fraction(1, 1 << (SCALE - 4))
    )


def _ln_series(excess: Fraction) -> Fraction:
    """Σ −(−excess)^i / i up to _LN_TERMS; each term rounded down, together less than 16 units too low."""
    unit = _fixed(excess)
    power, result = unit, 0
    for step in range(1, _LN_TERMS + 1):
        result += power // step if step % 2 else -(power // step)
        power = (power * unit) >> SCALE
    return Fraction(result, UNIT)


@lru_cache(maxsize=1)
def _density_at_0() -> Interval:
    """1 / √(2π); π by Machin's formula, 16 · atan(1/5) − 4 · atan(1/239), less than 4,096 units off."""
    units = 16 * _arctangent(5) - 4 * _arctangent(239)
    pi = Interval(Fraction(units - 4096, UNIT), Fraction(units + 4096, UNIT))
    return Interval(
        square_root(1 / (2 * pi.high), SCALE).low,
        square_root(1 / (2 * pi.low), SCALE).high,
    )


def _arctangent(inverse: int) -> int:
    """Units of atan(1 / inverse); each of fewer than 60 terms is less than 2 units off."""
    power, result, step = UNIT // inverse, 0, 1
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
    square = (argument * argument) >> SCALE
    term, loss, step = argument, 0, 1
    result, lost = term, 0
    while term or square >= step << (SCALE - 1):
        step += 2
        loss = (((loss * (square + 1) + term) >> SCALE) + 1) // step + 3
        term = ((term * square) >> SCALE) // step
        result += term
        lost += loss
    return result, lost + 2 * (loss + 1)


def _series(node: int) -> tuple[Units, Units]:
    """Φ and its density φ at node / 2 ** _NODE_BITS ≥ 0.

    Φ(a) = 1/2 + φ(a) · Σ a^(2k + 1) / (1 · 3 · … · (2k + 1)) for a ≥ 0.
    """
    at = Fraction(node, 1 << _NODE_BITS)
    density = _density_at_0() * exponential(-at * at / 2)
    half = density * Units(*_odd_series(_fixed(at))).interval
    return Units.of(half.plus(Fraction(1, 2))), Units.of(density)


@lru_cache(maxsize=(_TAIL << _NODE_BITS) + 1)
def _expansion(node: int) -> tuple[tuple[int, ...], int]:
    """Coefficients of Φ(a + t) in t, the highest first, a = node / 2 ** _NODE_BITS; and what the sum may be off by.

    Φ(a + t) = Φ(a) + φ(a) · Σ (−1)^(k − 1) · He_(k − 1)(a) · t^k / k!, |t| ≤ r = 2 ** -(_NODE_BITS + 1), up to n terms.
    G_k = He_k(a) · 2 ** (_NODE_BITS · k) is a whole number: G_k = node · G_(k − 1) − (k − 1) · 4 ** _NODE_BITS ·
    G_(k − 2). By Cramér's inequality |He_n · φ| < √(n!) / 2, so what is cut off is below r^(n + 1) · √(n!) / (2 ·
    (n + 1)!). Each of Horner's steps loses a unit and passes on a part r of what was lost before: together less than
    the error of the lowest coefficient, the largest of the others', and 2.
    """
    start, density = _series(node)
    coefficients, errors = [start.value], [start.error]
    before, polynomial = 0, 1
    for k in range(1, _TERMS + 1):
        divisor = factorial(k) << (_NODE_BITS * (k - 1))
        coefficients.append((density.value * polynomial if k % 2 else -density.value * polynomial) // divisor)
        errors.append(density.error * abs(polynomial) // divisor + 2)
        before, polynomial = polynomial, node * polynomial - ((k - 1) << (2 * _NODE_BITS)) * before
    reach = (_TERMS + 1) * (_NODE_BITS + 1)
    beyond = ((isqrt(factorial(_TERMS)) + 1) << (SCALE - reach)) // (2 * factorial(_TERMS + 1)) + 1
    return tuple(reversed(coefficients)), errors[0] + max(errors[1:]) + 2 + beyond


def normal_units(at: Units) -> Units:
    """The standard normal distribution Φ of a number; the slope of Φ is at most 2/5.

    From 17 on at most 4.1e-65 is missing to 1, below 2 ** -213. Before that the number lies next to a node, about which
    Φ is expanded once for all.
    """
    argument = abs(at.value)
    slack = 2 * at.error // 5 + 1
    if argument >= _TAIL * UNIT:
        result, loss = UNIT, _TAIL_LOSS
    else:
        node = (argument + (UNIT >> (_NODE_BITS + 1))) >> (SCALE - _NODE_BITS)
        rest = argument - (node << (SCALE - _NODE_BITS))
        coefficients, loss = _expansion(node)
        result = 0
        for coefficient in coefficients:
            result = ((result * rest) >> SCALE) + coefficient
    return Units(result if at.value >= 0 else UNIT - result, loss + slack)


def normal(at: Interval) -> Interval:
    """The standard normal distribution Φ of a number in `at`, to 2 ** -BITS beside what the width of `at` costs."""
    result = normal_units(Units.of(at)).interval
    return Interval(max(ZERO, result.low), min(ONE, result.high))


@lru_cache(maxsize=4096)
def logarithm_units(value: Fraction) -> Units:
    """ln(value) in units."""
    return Units.of(logarithm(value))


@lru_cache(maxsize=256)
def power(base: Fraction, exponent: Fraction) -> Interval:
    """base^exponent for base > 0, to about 2 ** -BITS of itself."""
    if not exponent or base == 1:
        return Interval.point(ONE)
    return exponential_of(logarithm(base).times(exponent))


def exponential_of(at: Interval) -> Interval:
    """e^x of a number in `at`; rising, so that the ends suffice."""
    if at.is_point:
        return exponential(at.low)
    rounded = at.outward(SCALE)
    return Interval(exponential(rounded.low).low, exponential(rounded.high).high)
