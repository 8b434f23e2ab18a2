"""Numbers as people write them, exactly as counts of what the log counts, and back.

A float counts as the shortest decimal that reads back as it: 0.1 is a tenth. What is not a whole number of steps is
refused and never rounded, except quotes, which are measurements. What may not live here: names.
"""

import functools
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import TypeAlias

import numpy as np

from holdfast.domain.errors import InputError
from holdfast.domain.units import LEDGER_MAXIMUM, Rounding, divide

Amount: TypeAlias = int | float | str | Decimal
"""A number in main units: coins, dollars, fractions."""

_EXPONENT_FAR_MAX = 60
"""Beyond 10**±60 a number certainly does not fit, and its exact fraction could fill the memory."""


def exact(value: Amount, field: str) -> Decimal:
    """A number as the decimal that it is written as.

    Raises:
        InputError: It is no finite number, or out of all proportion.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise InputError("not-a-number", field, value, 'give a number or its decimal text, as in "0.1"')
    try:
        number = Decimal(repr(value) if isinstance(value, float) else value)
    except InvalidOperation:
        raise InputError("not-a-number", field, value, 'write it like "1000.5"') from None
    if not number.is_finite():
        raise InputError("not-a-number", field, value, "give a finite number")
    if number and abs(number.adjusted()) > _EXPONENT_FAR_MAX:
        raise InputError("out-of-range", field, value, "keep it in proportion")
    return number


def count_of(value: Amount, step: Fraction, field: str, what: str, *, code: str = "off-grid") -> int:
    """How many steps a number is.

    Args:
        value: In main units.
        step: One step in main units, above 0.
        field: What to call the number in an error.
        what: What a step is called there: "the lot of BTC-PERPETUAL".
        code: Of the error if it is not a whole number of steps.

    Returns:
        The count, at most LEDGER_MAXIMUM in magnitude.

    Raises:
        InputError: It is no number, lies between two steps, or is too large.
    """
    numerator, denominator = _ratio(value, step, field)
    count, rest = divmod(numerator, denominator)
    if rest:
        advice = f"give a multiple of {plain(step)}, {what}"
        raise InputError(code, field, value, advice, "is not a whole number of steps")
    return _within(count, value, step, field)


def nearest_count(value: Amount, step: Fraction, field: str) -> int:
    """How many steps a measured number is, to the nearest, half to even; errors as `count_of`."""
    return _within(divide(*_ratio(value, step, field), Rounding.HALF_EVEN), value, step, field)


def _ratio(value: Amount, step: Fraction, field: str) -> tuple[int, int]:
    """A number ÷ a step as two integers, the second above 0."""
    numerator, denominator = exact(value, field).as_integer_ratio()
    return numerator * step.denominator, denominator * step.numerator


def _within(count: int, value: Amount, step: Fraction, field: str) -> int:
    if abs(count) > LEDGER_MAXIMUM:
        raise InputError("ledger-overflow", field, value, f"keep it within ±{plain(LEDGER_MAXIMUM * step)}")
    return count


def amount_of(count: int, step: Fraction) -> Decimal:
    """A count of steps in main units, exactly; steps are decimals."""
    mantissa, places = _scientific(step)
    return Decimal(f"{count * mantissa}E-{places}")


@functools.lru_cache(maxsize=4_096)
def _scientific(step: Fraction) -> tuple[int, int]:
    """A decimal step as mantissa × 10**−places, with as few places as there can be."""
    places = 0
    while 10**places % step.denominator:
        places += 1
    return step.numerator * (10**places // step.denominator), places


def plain(value: Fraction | Decimal | float) -> str:
    """A number for people: thousands separated, no exponent, no zeros at the end."""
    number = amount_of(1, value) if isinstance(value, Fraction) else Decimal(str(value))
    text = f"{number:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def step_of(decimals: int) -> Fraction:
    """10**−decimals."""
    return Fraction(1, 10**decimals)
