"""exp, log, powers and the normal distribution, made of operations that IEEE 754 fixes exactly.

Theory of operation. The exp, log and erf of a C library, of NumPy or of a vector library differ in their last bits from
one processor to the next, and one differing bit is a differing state root. The functions here are sequences of
+ − × ÷, comparison, selection and moves of the exponent, in the order written, so their bits are the same everywhere;
they are accurate too, to the few units in the last place that `docs/explanation/elementary-functions.md` lists and
`tools/elementary_functions.py` measures.

What lives here: functions of one or two `Real` arguments without branches on values. Called plainly they run on floats
and NumPy arrays; inside a Numba kernel they compile for float64 and for a `Vector`; the three forms give the same bits.
What may not live here: fused multiply-add, anything from `math`, a NumPy function that is not one IEEE operation, table
look-ups.

Polynomials are split into their even and odd halves, which halves the chain of dependent operations; the order is part
of the definition. Arguments that are NaN or outside the stated domain are the caller's mistake: nothing is raised.
"""

from holdfast.pricing import vectors
from holdfast.pricing.vectors import Real, maximum, minimum, nearest_integer, real_function, select, two_to_the

EXP_ARGUMENT_MIN = -708.0
"""Below this `exp` is exactly 0: results stay normal numbers, so that no processor's treatment of denormals matters."""
EXP_ARGUMENT_MAX = 709.0
"""Above this `exp` stays at exp(709) = 8.2e307: results stay finite."""

_LN_2_HIGH = float.fromhex("0x1.62e42feep-1")
_LN_2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
"""ln 2 in two parts. The first has 32 significant bits, so that its product with any exponent is exact."""
_LOG2_E = 1.4426950408889634
_SQRT_2 = 1.4142135623730951
_DENSITY_AT_0 = 0.3989422804014327

_EVEN_FACTORIALS = (1 / 2, 1 / 24, 1 / 720, 1 / 40320, 1 / 3628800, 1 / 479001600)
_ODD_FACTORIALS = (1 / 6, 1 / 120, 1 / 5040, 1 / 362880, 1 / 39916800, 1 / 6227020800)
_ATANH_EVEN = (2 / 3, 2 / 7, 2 / 11, 2 / 15, 2 / 19)
_ATANH_ODD = (2 / 5, 2 / 9, 2 / 13, 2 / 17, 2 / 21)

_GRID = 1024.0
"""Squares of multiples of 1/1024 up to 40 are exact doubles."""
_DENSITY_ARGUMENT_CAP = 40.0
_MILLS_ARGUMENT_MAX = 1e20
"""Keeps the eleventh power finite; up to here the quotient of the polynomials behaves as 1/x to 1e-12."""
_MILLS_NUMERATOR = (
    1.2533141373155003,
    2.0734393001352385,
    1.700476071964686,
    0.8932710928603746,
    0.3297320043555773,
    0.08895873456715353,
    0.017740287074486945,
    0.0025852338729517093,
    0.0002644570123723719,
    1.726666941422052e-05,
    5.529976934508721e-07,
)
_MILLS_DENOMINATOR = (
    1.0,
    2.4522497661426708,
    2.8133958314729957,
    1.9973289481605838,
    0.9772321662020906,
    0.34694890025332376,
    0.0915094353867671,
    0.018003638082759107,
    0.002602500542560113,
    0.0002650100100628648,
    1.7266669414247877e-05,
    5.529976934507568e-07,
)


@real_function
def _exp_of_sum(high: Real, low: Real) -> Real:
    """e**(high + low) for −708 ≤ high + low ≤ 709, |low| < 0.1, where `high` − k·ln2_high is exact or `low` is 0."""
    k = nearest_integer((high + low) * _LOG2_E)
    r = ((high - k * _LN_2_HIGH) + low) - k * _LN_2_LOW
    z = r * r
    c, d = _EVEN_FACTORIALS, _ODD_FACTORIALS
    even = c[0] + z * (c[1] + z * (c[2] + z * (c[3] + z * (c[4] + z * c[5]))))
    odd = d[0] + z * (d[1] + z * (d[2] + z * (d[3] + z * (d[4] + z * d[5]))))
    return (1.0 + (r + z * (even + r * odd))) * two_to_the(k)


@real_function
def exp(x: Real) -> Real:
    """e**x.

    Reduction x = k·ln 2 + r with |r| ≤ ln(2)/2 and ln 2 in two parts, then the Taylor polynomial of degree 13, whose
    remainder is below 0.04 ulp.

    Args:
        x: Any number.

    Returns:
        e**x within 1 ulp for −708 ≤ x ≤ 709; exactly 0 below; exp(709) above.
    """
    clamped = minimum(maximum(x, EXP_ARGUMENT_MIN), EXP_ARGUMENT_MAX)
    return select(x < EXP_ARGUMENT_MIN, 0.0, _exp_of_sum(clamped, 0.0))


@real_function
def _atanh_remainder(z: Real) -> Real:
    """2·atanh(s)/s − 2 for z = s² ≤ 0.0295: the series 2z/3 + 2z²/5 + … + 2z¹⁰/21, remainder below 1e-18."""
    w = z * z
    c, d = _ATANH_EVEN, _ATANH_ODD
    first = c[0] + w * (c[1] + w * (c[2] + w * (c[3] + w * c[4])))
    second = d[0] + w * (d[1] + w * (d[2] + w * (d[3] + w * d[4])))
    return z * (first + z * second)


@real_function
def log(x: Real) -> Real:
    """The natural logarithm.

    x = 2**k · (1 + f) with √½ ≤ 1 + f ≤ √2. With s = f/(2 + f), log(1 + f) = 2·atanh(s) = f − f²/2 + s·(f²/2 + R),
    R = 2s²/3 + 2s⁴/5 + …; the subtraction from the exact f keeps the error of s small.

    Args:
        x: A positive normal number.

    Returns:
        ln x within 1 ulp; 0 at 1.
    """
    fraction = vectors.significand(x)
    above = fraction > _SQRT_2
    k = vectors.exponent(x) + select(above, 1.0, 0.0)
    f = fraction * select(above, 0.5, 1.0) - 1.0
    s = f / (2.0 + f)
    half_square = 0.5 * (f * f)
    remainder = _atanh_remainder(s * s)
    return k * _LN_2_HIGH - ((half_square - (s * (half_square + remainder) + k * _LN_2_LOW)) - f)


@real_function
def log_ratio(numerator: Real, denominator: Real) -> Real:
    """ln(numerator / denominator), accurate in relative terms also where the two nearly agree.

    The quotient itself would round away the digits that matter near 1. Instead both are brought within a factor √2 of
    each other by a power of two, where their difference is exact, and ln = 2·atanh((a − b)/(a + b)).

    Args:
        numerator: A positive normal number.
        denominator: A positive normal number, of any size.

    Returns:
        The logarithm with a relative error below 4.5e-16; exactly 0 when both are equal.
    """
    a, b = vectors.significand(numerator), vectors.significand(denominator)
    high, low = a > b * _SQRT_2, b > a * _SQRT_2
    k = vectors.exponent(numerator) - vectors.exponent(denominator)
    k = k + select(high, 1.0, 0.0) - select(low, 1.0, 0.0)
    a = a * select(low, 2.0, 1.0)
    b = b * select(high, 2.0, 1.0)
    s = (a - b) / (a + b)
    return k * _LN_2_HIGH + (2.0 * s + (s * _atanh_remainder(s * s) + k * _LN_2_LOW))


@real_function
def power(base: Real, exponent: Real) -> Real:
    """base**exponent = exp(exponent · log(base)).

    The rounding of the product is magnified by its size: the relative error is below (1 + |exponent · ln base|) ·
    3.4e-16, three units in the last place where the result is within a factor e of 1.

    Args:
        base: A positive normal number.
        exponent: Any number; results outside the range of `exp` are flushed to 0 or held as there.
    """
    return exp(exponent * log(base))


@real_function
def mills_ratio(x: Real) -> Real:
    """(1 − Φ(x)) / φ(x) for x ≥ 0: the upper tail of the normal distribution over its density.

    One quotient of two polynomials, fitted by `tools/elementary_functions.py --coefficients` to relative error 1.8e-18
    on [0, 40]. All coefficients are positive, so nothing cancels. Beyond 40 the quotient tends to 1/x by itself and
    stays within 1e-12; there the density is 0 in float64.

    Args:
        x: A number ≥ 0; above 1e20 the value at 1e20 is returned.

    Returns:
        The ratio within 6 ulp on [0, 40]; √(π/2) at 0.
    """
    y = minimum(x, _MILLS_ARGUMENT_MAX)
    z = y * y
    c, d = _MILLS_NUMERATOR, _MILLS_DENOMINATOR
    c_even = c[0] + z * (c[2] + z * (c[4] + z * (c[6] + z * (c[8] + z * c[10]))))
    c_odd = c[1] + z * (c[3] + z * (c[5] + z * (c[7] + z * c[9])))
    d_even = d[0] + z * (d[2] + z * (d[4] + z * (d[6] + z * (d[8] + z * d[10]))))
    d_odd = d[1] + z * (d[3] + z * (d[5] + z * (d[7] + z * (d[9] + z * d[11]))))
    return (c_even + y * c_odd) / (d_even + y * d_odd)


@real_function
def normal_density(x: Real) -> Real:
    """φ(x) = exp(−x²/2) / √(2π).

    x² is not rounded before it meets exp: x = g + r with g the nearest multiple of 1/1024, so that g²/2 is exact and
    x²/2 = g²/2 + r·(x + g)/2, and exp takes the two parts (the device of W. J. Cody's error function, 1969).

    Args:
        x: Any number.

    Returns:
        The density within 2.5 ulp for |x| ≤ 37.6; exactly 0 from 37.63 on.
    """
    y = minimum(maximum(x, 0.0 - x), _DENSITY_ARGUMENT_CAP)
    g = nearest_integer(y * _GRID) * (1.0 / _GRID)
    high = -0.5 * (g * g)
    low = -0.5 * ((y - g) * (y + g))
    inside = high >= EXP_ARGUMENT_MIN
    return select(inside, _DENSITY_AT_0 * _exp_of_sum(maximum(high, EXP_ARGUMENT_MIN), low), 0.0)


@real_function
def normal_cdf(x: Real) -> Real:
    """Φ(x), the probability that a standard normal variable is at most x, accurate in relative terms in both tails.

    Φ(−|x|) = φ(x) · mills_ratio(|x|), and Φ(|x|) = 1 − Φ(−|x|): one smooth formula without regions.

    Args:
        x: Any number.

    Returns:
        The probability within 7 ulp for x ≥ −37; exactly 0 from −37.63 down, exactly 1 from 8.3 up.
    """
    tail = normal_density(x) * mills_ratio(maximum(x, 0.0 - x))
    return select(x > 0.0, 1.0 - tail, tail)
