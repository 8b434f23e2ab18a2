"""Units: ledger amounts as integers, instants as integers, and the only doors between them and other numbers.

Amounts of an asset are int64 counts of its ledger unit (BTC 1e-8, USD 1e-6). A number becomes an amount through
`to_units`, which is exact up to one named rounding, and products of amounts go through `multiply_divide`. Requirements
round up and credits round down, so that splitting an account can never lower what it must hold. Instants are int64
nanoseconds since 1970-01-01T00:00Z; here are their text form and the length of a year.

What may not live here: prices, and any rounding without a name. Derivations and worked numbers: specs/units.md.
"""

import datetime
import enum
import math
import operator
import re
from decimal import Decimal

import msgspec

from holdfast.domain.errors import InputError, invariant

INT64_MAXIMUM = 2**63 - 1
INT64_MINIMUM = -(2**63)

LEDGER_MAXIMUM = 7 * 10**16
"""Largest magnitude of one ledger amount, in units: 70 billion USD, 700 million BTC, 70 million ETH. More than anyone
owns of any asset in the table, and small enough that ordinary sums cannot leave int64."""
LEDGER_TERMS_MAXIMUM = 128
"""How many amounts may be added before the sum has to be checked."""
invariant(LEDGER_MAXIMUM * LEDGER_TERMS_MAXIMUM <= INT64_MAXIMUM, "a sum of ledger amounts can leave int64")

DECIMALS_DEFAULT = 8

NANOSECONDS_PER_SECOND = 10**9
NANOSECONDS_PER_DAY = 86_400 * NANOSECONDS_PER_SECOND
NANOSECONDS_PER_YEAR = 365 * NANOSECONDS_PER_DAY

_EXPONENT_FAR_MAX = 60
"""Beyond 10**±60 an amount is certainly too large, or rounds like any other tiny number: nothing more is computed."""
invariant(10**_EXPONENT_FAR_MAX > LEDGER_MAXIMUM * 10**DECIMALS_DEFAULT, "a far amount could be a legal one")

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE
)


class Rounding(enum.StrEnum):
    """What becomes of the part that does not fit.

    CEILING goes towards +∞ and FLOOR towards −∞ (−1.5 becomes −1 and −2); TOWARDS_ZERO and AWAY_FROM_ZERO look at the
    magnitude; HALF_EVEN takes the nearest, and of two equally near the even one.
    """

    CEILING = "ceiling"
    FLOOR = "floor"
    TOWARDS_ZERO = "towards-zero"
    AWAY_FROM_ZERO = "away-from-zero"
    HALF_EVEN = "half-even"


class Asset(msgspec.Struct, frozen=True):
    """An asset and the unit its ledger counts.

    Attributes:
        name: As written in balances, for example "BTC".
        decimals: The ledger unit is 10**−decimals of the asset; 0 to 18.
    """

    name: str
    decimals: int = DECIMALS_DEFAULT

    def __post_init__(self) -> None:
        if not 0 <= self.decimals <= 18:
            raise InputError("out-of-range", f"{self.name}.decimals", self.decimals, "use 0 to 18 decimals")

    @property
    def unit(self) -> Decimal:
        """The ledger unit, in the asset: 10**−decimals."""
        return Decimal((0, (1,), -self.decimals))


ASSETS = {
    a.name: a
    for a in (
        Asset("BTC", 8),
        Asset("ETH", 9),
        Asset("SOL", 9),
        *(Asset(name, 6) for name in ("USD", "USDC", "USDT", "DAI", "EUR", "XRP", "DOGE", "ADA")),
    )
}
"""The assets whose unit is stated. An entry never changes: stored amounts are counts of its unit."""


def asset(name: str) -> Asset:
    """The asset of a name: from the table `ASSETS`, else with 8 decimals."""
    return ASSETS.get(name) or Asset(name)


def multiply_divide(a: int, b: int, c: int, rounding: Rounding) -> int:
    """Compute a × b ÷ c, exact up to one rounding at the end.

    Args:
        a: An int64.
        b: An int64.
        c: An int64 other than 0.
        rounding: What becomes of the remainder.

    Returns:
        The quotient, an int64. The product in between is never rounded: it needs at most 127 bits.

    Raises:
        InputError: an operand or the quotient is outside int64 ("ledger-overflow"), or `c` is 0 ("out-of-range").
    """
    for field, value in (("a", a), ("b", b), ("c", c)):
        _check_int64(field, operator.index(value))
    if c == 0:
        raise InputError("out-of-range", "c", c, "divide by something other than 0")
    return _check_int64("a × b ÷ c", divide(int(a) * int(b), int(c), rounding))


def divide(numerator: int, denominator: int, rounding: Rounding) -> int:
    """Divide integers: numerator ÷ denominator as an integer of any size, rounded as named.

    Args:
        numerator: Any integer.
        denominator: Any integer but 0.
        rounding: What becomes of the remainder.

    Returns:
        The rounded quotient.
    """
    invariant(denominator != 0, "division by zero reached the integer division")
    if denominator < 0:
        numerator, denominator = -numerator, -denominator
    floor, remainder = divmod(numerator, denominator)
    if remainder == 0:
        return floor
    match rounding:
        case Rounding.FLOOR:
            up = False
        case Rounding.CEILING:
            up = True
        case Rounding.TOWARDS_ZERO:
            up = numerator < 0
        case Rounding.AWAY_FROM_ZERO:
            up = numerator > 0
        case Rounding.HALF_EVEN:
            up = 2 * remainder + (floor & 1) > denominator
    return floor + up


def to_units(amount: float | Decimal, of: Asset, rounding: Rounding, field: str = "amount") -> int:
    """An amount of an asset as a count of its ledger units.

    Args:
        amount: In the asset. A float counts as the binary number it is, so 0.1 BTC is a little more than 10,000,000
            units before rounding; a Decimal as the decimal number it is.
        of: The asset.
        rounding: What becomes of a part of a unit.
        field: What to call the amount in an error.

    Returns:
        Units, at most LEDGER_MAXIMUM in magnitude.

    Raises:
        InputError: the amount is NaN or infinite ("not-a-number") or too large ("ledger-overflow").
    """
    numerator, denominator = _ratio(amount, of, field)
    units = divide(numerator * 10**of.decimals, denominator, rounding)
    if abs(units) > LEDGER_MAXIMUM:
        raise _overflow(field, amount, of)
    return units


def requirement_units(value: float | Decimal, of: Asset, field: str = "requirement") -> int:
    """A requirement as ledger units, rounded up (towards +∞): what must be held is never understated."""
    return to_units(value, of, Rounding.CEILING, field)


def credit_units(value: float | Decimal, of: Asset, field: str = "credit") -> int:
    """A credit or an equity as ledger units, rounded down (towards −∞): what is there is never overstated."""
    return to_units(value, of, Rounding.FLOOR, field)


def from_units(units: int, of: Asset) -> Decimal:
    """A count of ledger units as an exact decimal amount of the asset, whatever the decimal context."""
    digits = tuple(int(digit) for digit in str(abs(int(units))))
    return Decimal((int(units < 0), digits, -of.decimals))


def parse_time(text: str, field: str = "time") -> int:
    """An ISO 8601 instant as nanoseconds UTC.

    Args:
        text: Date, "T" or a blank, time of day to the minute or finer (up to 9 decimals of a second), and "Z" or an
            offset: "2021-10-21T00:00:00Z". A zone is required, since a guess could be a day wrong.
        field: What to call it in an error.

    Returns:
        Nanoseconds since 1970-01-01T00:00Z.

    Raises:
        InputError: the text is not such an instant ("malformed") or is outside int64 ("out-of-range").
    """
    match = _TIME.fullmatch(text.strip()) if isinstance(text, str) else None
    advice = 'write date, time and zone, as in "2021-10-21T00:00:00Z"'
    if match is None:
        raise InputError("malformed", field, text, advice)
    date, minute, second, fraction, zone = match.groups()
    try:
        whole = datetime.datetime.fromisoformat(f"{date}T{minute}:{second or '00'}{zone.upper()}")
    except ValueError:
        raise InputError("malformed", field, text, advice, "is not a date of the calendar") from None
    since = whole - _EPOCH
    seconds = since.days * 86_400 + since.seconds
    return check_time(seconds * NANOSECONDS_PER_SECOND + int((fraction or "0").ljust(9, "0")), field)


def format_time(nanoseconds: int) -> str:
    """Nanoseconds UTC as the text that `parse_time` reads: seconds, and their decimals only where there are any."""
    seconds, fraction = divmod(nanoseconds, NANOSECONDS_PER_SECOND)
    whole = (_EPOCH + datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{fraction:09d}".rstrip("0") + "Z" if fraction else f"{whole}Z"


def check_time(nanoseconds: int, field: str) -> int:
    """The instant itself, if it is an integer count of nanoseconds from 1970 on that fits in int64."""
    if isinstance(nanoseconds, bool) or not isinstance(nanoseconds, int):
        raise InputError("malformed", field, nanoseconds, "give whole nanoseconds since 1970-01-01T00:00Z")
    if not 0 <= nanoseconds <= INT64_MAXIMUM:
        raise InputError("out-of-range", field, nanoseconds, "give an instant between 1970 and 2262")
    return nanoseconds


def _ratio(amount: float | Decimal, of: Asset, field: str) -> tuple[int, int]:
    """The amount as an exact fraction, its denominator positive."""
    finite = amount.is_finite() if isinstance(amount, Decimal) else isinstance(amount, int) or math.isfinite(amount)
    if not finite:
        raise InputError("not-a-number", field, amount, f"give a finite number of {of.name}")
    if isinstance(amount, Decimal):
        if amount and amount.adjusted() > _EXPONENT_FAR_MAX:
            raise _overflow(field, amount, of)
        if amount.adjusted() < -_EXPONENT_FAR_MAX:
            # Every non-zero number this small rounds alike; its exact fraction could fill the memory.
            amount = Decimal((amount.is_signed(), (int(bool(amount)),), -_EXPONENT_FAR_MAX))
    return amount.as_integer_ratio()


def _overflow(field: str, amount: float | Decimal, of: Asset) -> InputError:
    limit = from_units(LEDGER_MAXIMUM, of)
    return InputError("ledger-overflow", field, amount, f"keep it within ±{limit.normalize():f} {of.name}")


def _check_int64(field: str, value: int) -> int:
    if not INT64_MINIMUM <= value <= INT64_MAXIMUM:
        raise InputError("ledger-overflow", field, value, "keep amounts within 64 bits")
    return value
