"""Whole numbers: quotients with one named rounding, of Python integers and of int64 arrays.

What lives here: division that says how it rounds (specs/units.md). What may not: floats. Python integers have no limit,
so a product is exact whatever its size; arrays are used only where the caller has shown that the product fits.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Integers: TypeAlias = npt.NDArray[np.int64]

LIMIT = 7 * 10**16
"""The largest amount, cost or quantity of the ledger, in units (UNIT-2)."""
EXACT_PRODUCT = 2.0**62
"""Below this a product estimated in doubles certainly fits in int64."""


def floor(numerator: int, denominator: int) -> int:
    """The quotient rounded towards −∞; the denominator is above 0."""
    return numerator // denominator


def ceiling(numerator: int, denominator: int) -> int:
    """The quotient rounded towards +∞; the denominator is above 0."""
    return -(-numerator // denominator)


def half_even(numerator: int, denominator: int) -> int:
    """The nearest integer, of two equally near the even one; the denominator is above 0."""
    quotient, rest = divmod(numerator, denominator)
    twice = 2 * rest
    return quotient + (twice > denominator or (twice == denominator and quotient % 2 == 1))


def half_even_array(numerator: Integers, denominator: Integers) -> Integers:
    """`half_even` of arrays; every denominator is above 0 and at most 2**62."""
    quotient = numerator // denominator
    rest = numerator - quotient * denominator
    gap = denominator - rest
    above = (rest > gap) | ((rest == gap) & (quotient % 2 == 1))
    found: Integers = quotient + above
    return found
