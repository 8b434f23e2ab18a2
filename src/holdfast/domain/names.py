"""Reading the names of instruments that people already type: Deribit's and ccxt's.

`parse_instrument(name).name` is the canonical spelling; writing it is `Instrument.name`'s work. An error names the part
of the text that is wrong and shows an example. What may not live here: anything but text.

The grammar, with its worked examples, is in specs/instruments.md.
"""

import datetime
import functools
import re
from typing import NoReturn

from holdfast.domain.errors import InputError
from holdfast.domain.instruments import MONTHS, Instrument, Kind, expiry_on
from holdfast.domain.units import ASSETS, NANOSECONDS_PER_DAY, NANOSECONDS_PER_SECOND

EXAMPLES = ("BTC-PERPETUAL", "BTC_USDC-27DEC26", "BTC-27DEC26-100000-C", "BTC/USDT:USDT", "BTC/USD:BTC-261227-100000-C")
NAME_LENGTH_MAX = 120

_DATE_DERIBIT = re.compile(r"(?P<day>\d{1,2})(?P<month>[A-Z]{3})(?P<year>\d\d)(?:T(?P<time>.*))?", re.ASCII)
_DATE_CCXT = re.compile(r"(?P<year>\d\d)(?P<month>\d\d)(?P<day>\d\d)(?:T(?P<time>.*))?", re.ASCII)
_TIME = re.compile(r"(\d\d)(\d\d)(\d\d)(?:\.(\d{9}))?", re.ASCII)
_STRIKE = re.compile(r"\d+(?:[D.]\d+)?", re.ASCII)
_ASSET = re.compile(r"[A-Z0-9]+", re.ASCII)


def parse_instrument(name: str) -> Instrument:
    """The instrument of a name, in Deribit's spelling or ccxt's; case and surrounding blanks do not matter.

    Args:
        name: For example "BTC-PERPETUAL", "BTC_USDC-27DEC26", "BTC-27DEC26-100000-C", "BTC/USD:BTC-261227-100000-C".

    Returns:
        The contract; expiry at 08:00 UTC unless the name says a time.

    Raises:
        InputError: code "unknown-instrument", with the part that is wrong.
    """
    if not isinstance(name, str) or len(name) > NAME_LENGTH_MAX:
        _refuse(name, "is not the text of an instrument's name")
    return _parse(name)


def canonical_name(name: str) -> str:
    """The canonical spelling of an instrument's name; errors as for `parse_instrument`."""
    return parse_instrument(name).name


@functools.lru_cache(maxsize=65_536)
def _parse(name: str) -> Instrument:
    text = name.strip().upper()
    head, *tail = text.split("-")
    underlying, quote, settlement = _ccxt_head(name, head) if "/" in head else _deribit_head(name, head, tail)
    if "/" not in head and tail == ["PERPETUAL"]:
        tail = []
    if len(tail) not in (0, 1, 3):
        _refuse(name, "has neither an expiry alone nor expiry, strike and C or P after the first part")
    kind = {0: Kind.PERPETUAL, 1: Kind.FUTURE, 3: Kind.OPTION}[len(tail)]
    expiry = _expiry(name, tail[0], ccxt="/" in head) if tail else None
    strike = _strike(name, tail[1]) if kind is Kind.OPTION else None
    is_call = _is_call(name, tail[2]) if kind is Kind.OPTION else None
    try:
        return Instrument(kind, underlying, quote, settlement, expiry, strike, is_call)
    except InputError as error:
        _refuse(name, f"has a wrong {error.field}: {error.problem}")


def is_asset_name(name: str) -> bool:
    """Whether a text names an asset ("BTC", "weETH") rather than an instrument: nothing separates parts in it."""
    return bool(name) and not any(mark in name for mark in "-/:,;\"'") and not any(c.isspace() for c in name)


def asset_name(text: str) -> str:
    """The name of an asset as balances write it: assets of the table in capitals, others ("weETH") as given."""
    name = text.strip()
    return name.upper() if name.upper() in ASSETS else name


def _deribit_head(name: str, head: str, tail: list[str]) -> tuple[str, str, str]:
    """UNDERLYING, UNDERLYING_QUOTE or UNDERLYING_QUOTE_SETTLEMENT."""
    if not tail:
        _refuse(name, "has no expiry and no -PERPETUAL; amounts of an asset belong in the balances")
    parts = head.split("_")
    if len(parts) > 3 or not all(_ASSET.fullmatch(part) for part in parts):
        _refuse(name, f"begins with {head!r} instead of UNDERLYING or UNDERLYING_QUOTE")
    underlying = parts[0]
    if len(parts) == 1:
        return underlying, "USD", underlying
    return underlying, parts[1], parts[-1]


def _ccxt_head(name: str, head: str) -> tuple[str, str, str]:
    """UNDERLYING/QUOTE:SETTLEMENT."""
    pair, colon, settlement = head.partition(":")
    underlying, _, quote = pair.partition("/")
    if not colon:
        _refuse(name, "is a spot pair: it has no settlement asset after a colon; amounts belong in the balances")
    if not all(_ASSET.fullmatch(part) for part in (underlying, quote, settlement)):
        _refuse(name, f"begins with {head!r} instead of UNDERLYING/QUOTE:SETTLEMENT")
    return underlying, quote, settlement


def _expiry(name: str, text: str, *, ccxt: bool) -> int:
    match = (_DATE_CCXT if ccxt else _DATE_DERIBIT).fullmatch(text)
    example = "261227 (year, month, day)" if ccxt else "27DEC26"
    if match is None:
        _refuse(name, f"has the expiry {text!r}, which is not written like {example}")
    month = match["month"]
    try:
        number = int(month) if ccxt else MONTHS.index(month) + 1
        date = datetime.date(2000 + int(match["year"]), number, int(match["day"]))
    except ValueError:
        _refuse(name, f"has the expiry {text!r}, which is not a date of the calendar (written like {example})")
    if match["time"] is None:
        return expiry_on(date)
    return expiry_on(date) // NANOSECONDS_PER_DAY * NANOSECONDS_PER_DAY + _time_of_day(name, match["time"])


def _time_of_day(name: str, text: str) -> int:
    """Nanoseconds from midnight of HHMMSS or HHMMSS.nnnnnnnnn."""
    match = _TIME.fullmatch(text)
    if match is None or int(match[1]) > 23 or int(match[2]) > 59 or int(match[3]) > 59:
        _refuse(name, f"has the time {text!r} after T, which is not written like 153000")
    seconds = int(match[1]) * 3600 + int(match[2]) * 60 + int(match[3])
    return seconds * NANOSECONDS_PER_SECOND + int(match[4] or 0)


def _strike(name: str, text: str) -> float:
    if not _STRIKE.fullmatch(text):
        _refuse(name, f"has the strike {text!r}, which is not a number like 100000 or 0d55 (for 0.55)")
    return float(text.replace("D", "."))


def _is_call(name: str, text: str) -> bool:
    if text not in ("C", "P"):
        _refuse(name, f"ends in {text!r} instead of C for a call or P for a put")
    return text == "C"


def _refuse(name: object, problem: str) -> NoReturn:
    advice = f"write it like {', '.join(EXAMPLES)}"
    raise InputError("unknown-instrument", "instrument", name, advice, problem)
