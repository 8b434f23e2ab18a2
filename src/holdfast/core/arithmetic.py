"""Checked integer arithmetic for compiled code: a × b ÷ c through 128 bits, and what a trade costs.

The same results as `domain.units.multiply_divide`, which is the definition; a property test compares them. Errors are
returned, not raised: compiled code has no exceptions. What may not live here: state.
"""

from typing import Any

import numpy as np

from holdfast.compilation import compiled, inlined_only
from holdfast.domain.units import LEDGER_MAXIMUM

_EXACT_PRODUCT = 9.0e18
"""Below this a product of two float images proves that the integer product fits in int64 (2**63 ≈ 9.22e18): the
images and their product are off by less than one part in 2**50."""
whole: Any = np.int64
"""An unsigned integer as a signed one: sums of both would be floats in compiled code."""
_PRODUCT_MAXIMUM = 9 * 10**18
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_ONE, _TOP = np.uint64(1), np.uint64(63)


@inlined_only
def _round_half_even(quotient: int, remainder: int, divisor: int) -> int:
    """The quotient, one more where the remainder is above half the divisor, or at half and the quotient odd."""
    rest = divisor - remainder
    if remainder > rest or (remainder == rest and quotient & 1 == 1):
        return quotient + 1
    return quotient


@compiled
def _wide(a: int, b: int, c: int) -> tuple[bool, int]:
    """|a| × |b| ÷ c rounded half to even, by schoolbook multiplication and bitwise division."""
    x, y = np.uint64(abs(a)), np.uint64(abs(b))
    divisor = np.uint64(c)
    x0, x1, y0, y1 = x & _LOW, x >> _HALF, y & _LOW, y >> _HALF
    low, cross, across, high = x0 * y0, x1 * y0, x0 * y1, x1 * y1
    middle = (low >> _HALF) + (cross & _LOW) + (across & _LOW)
    low = (low & _LOW) | (middle << _HALF)
    high = high + (cross >> _HALF) + (across >> _HALF) + (middle >> _HALF)
    if high >= divisor:
        return False, 0
    remainder, quotient = high, np.uint64(0)
    for _ in range(64):
        remainder = (remainder << _ONE) | (low >> _TOP)
        low = low << _ONE
        quotient = quotient << _ONE
        if remainder >= divisor:
            remainder -= divisor
            quotient |= _ONE
    if quotient > np.uint64(LEDGER_MAXIMUM):
        return False, 0
    return True, _round_half_even(whole(quotient), whole(remainder), c)


@inlined_only
def multiply_divide(a: int, b: int, c: int) -> tuple[bool, int]:
    """A × b ÷ c rounded half to even, for c from 1 to 2**62; whether it is within LEDGER_MAXIMUM, and the result."""
    if abs(np.float64(a) * np.float64(b)) < _EXACT_PRODUCT:
        product = a * b
        quotient = product // c
        result = _round_half_even(quotient, product - quotient * c, c)
        return abs(result) <= LEDGER_MAXIMUM, result
    fits, size = _wide(a, b, c)
    return fits and size <= LEDGER_MAXIMUM, size if (a < 0) == (b < 0) else -size


@inlined_only
def multiply_divide_up(a: int, b: int, c: int) -> tuple[bool, int]:
    """The quotient a × b ÷ c for a, b ≥ 0 and c from 1 to 10**17, rounded up; refuses a product above 9 × 10**18."""
    if b > 0 and a > _PRODUCT_MAXIMUM // b:
        return False, 0
    result = (a * b + (c - 1)) // c
    return result <= LEDGER_MAXIMUM, result
