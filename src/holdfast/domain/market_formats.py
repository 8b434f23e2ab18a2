"""Reading markets: our own JSON, and option chains as tables.

What may not live here: files (the caller reads them), and any price that the source does not state or that is not
derived from it as the docstring says. The formats, with examples and worked numbers, are in specs/market.md.
"""

import math
import statistics
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from holdfast.domain.errors import InputError, invariant
from holdfast.domain.instruments import EXPIRY_TIME_OF_DAY, Instrument, Kind
from holdfast.domain.market import DOLLAR, SVI, Expiry, Market, Price, Underlying
from holdfast.domain.names import asset_name, parse_instrument
from holdfast.domain.reading import Row, is_absent, json_value, located, mapping, number, read_at, record, rows_of, text
from holdfast.domain.units import (
    NANOSECONDS_PER_DAY,
    NANOSECONDS_PER_SECOND,
    NANOSECONDS_PER_YEAR,
    Rounding,
    divide,
    format_time,
    parse_time,
)

_MARKET_FIELDS = ("time", "numeraire", "underlyings", "assets")
_UNDERLYING_FIELDS = ("index", "marks", "expiries", "volatilities", "open_interest")
_EXPIRY_FIELDS = tuple(Expiry.__struct_fields__)
_PRICE_FIELDS = tuple(Price.__struct_fields__)
_SVI_FIELDS = tuple(SVI.__struct_fields__)
_DAYS_PER_YEAR = (365.0, 360.0)

T = TypeVar("T")


def load_market(source: bytes | str) -> Market:
    """A market from our own JSON format, strictly: unknown and repeated keys are refused.

    Args:
        source: JSON, as text or UTF-8 bytes. Instants are ISO 8601 with a zone, instruments are named in either
            spelling, a price is a number or {"price", "confidence"}, numbers may be decimal texts.

    Returns:
        The market.

    Raises:
        InputError: with the path of what is wrong.
    """
    given = record(json_value(source, "market"), "", _MARKET_FIELDS)
    underlyings = _each(given, "underlyings", asset_name, _underlying)
    return Market(
        time=parse_time(text(given.get("time"), "time")),
        underlyings=underlyings,
        assets=_each(given, "assets", asset_name, _price),
        numeraire=asset_name(text(given.get("numeraire", DOLLAR), "numeraire")),
    )


def market_to_json(market: Market) -> bytes:
    """The market in our own JSON format; `load_market` gives back an equal one."""
    result: dict[str, Any] = {"time": format_time(market.time), "numeraire": market.numeraire}
    result["underlyings"] = {coin: _underlying_object(u) for coin, u in market.underlyings.items()}
    if market.assets:
        result["assets"] = {name: _price_object(price) for name, price in market.assets.items()}
    return msgspec.json.format(msgspec.json.encode(result), indent=2)


def market_from_chain(rows: Any, time: int | None = None, *, rate_from_forwards: bool = False) -> Market:
    """A market from an option chain as a table, in either of two shapes.

    **Deribit's**, with the columns instrument_name, S0 (forward in dollars), mark_iv (percent), and where there
    is no `time` T_years; market_price_btc (mark in coin) and open_interest are read where present. Quotes of one
    expiry taken over some seconds state several forwards: the median counts. The snapshot is at the median, over
    expiries, of expiry − T_years × 365 days, to the second.

    **Quotes of volatility**, with the columns date, underlying, ttm_years, forward_usd, strike, type (C or P), bid_iv
    and ask_iv (fractions). The volatility is the middle of bid and ask. ttm_years counts years of 365 or 360 days:
    whichever puts the expiries more nearly whole days apart, 365 when both do. An expiry is at the 08:00 UTC nearest to
    midnight of the date plus ttm; the snapshot is at the nearest expiry − ttm, to the second. The options are the
    coin-settled ones.

    In both the index is the forward of the nearest expiry, since chains state none: close over days, not a quote.

    Args:
        rows: A list of mappings, a mapping of columns, or an Arrow table.
        time: The instant of the snapshot, nanoseconds UTC, where it is known better than from the table.
        rate_from_forwards: Make each expiry's rate ln(forward ÷ index) ÷ years instead of 0, so that a coin-settled
            option is worth Black(F) ÷ F coins, as Deribit marks it, rather than Black(F) ÷ index.

    Returns:
        The market, its numeraire USD, with every option that has a volatility.

    Raises:
        InputError: the table is empty or lacks a column, or a cell cannot be read.
    """
    table = rows_of(rows, "rows")
    if not table:
        raise InputError("missing-field", "rows", None, "give at least one row")
    if "instrument_name" in table[0]:
        options = [read_at(f"rows[{i}]", _deribit_option, row) for i, row in enumerate(table)]
    elif "ttm_years" in table[0]:
        options = _quoted_options(table)
    else:
        advice = "name the columns as Deribit does (instrument_name, S0, mark_iv) or ttm_years, forward_usd, strike"
        raise InputError("missing-field", "columns", sorted(table[0]), advice)
    taken = _snapshot_time(options) if time is None else time
    coins = sorted({option.instrument.underlying for option in options})
    return Market(taken, {coin: _chain_underlying(coin, options, taken, rate_from_forwards) for coin in coins})


class _Option(msgspec.Struct, frozen=True):
    """One row of a chain, whatever its shape."""

    instrument: Instrument
    expiry: int
    forward: float
    time_to_expiry: int | None
    volatility: float | None
    mark: float | None = None
    open_interest: float | None = None


def _deribit_option(row: Row) -> _Option:
    instrument = parse_instrument(text(row.get("instrument_name"), "instrument_name"))
    if instrument.kind is not Kind.OPTION or instrument.expiry is None:
        raise InputError("malformed", "instrument_name", instrument.name, "list options only", "is not an option")
    years = _optional(row, "T_years")
    percent = _optional(row, "mark_iv")
    return _Option(
        instrument,
        instrument.expiry,
        forward=number(row.get("S0"), "S0"),
        time_to_expiry=None if years is None else round(years * NANOSECONDS_PER_YEAR),
        volatility=percent / 100.0 if percent else None,
        mark=_optional(row, "market_price_btc"),
        open_interest=_optional(row, "open_interest"),
    )


def _quoted_options(table: list[Row]) -> list[_Option]:
    years = [number(row.get("ttm_years"), f"rows[{i}].ttm_years") for i, row in enumerate(table)]
    days_per_year = _days_per_year(sorted(set(years)))
    options = []
    for place, (row, time_to_expiry) in enumerate(zip(table, years, strict=True)):
        with located(f"rows[{place}]"):
            options.append(_quoted_option(row, time_to_expiry * days_per_year))
    return options


def _quoted_option(row: Row, days: float) -> _Option:
    midnight = parse_time(f"{text(str(row.get('date') or ''), 'date')[:10]}T00:00Z", "date")
    time_to_expiry = round(days * NANOSECONDS_PER_DAY)
    day = divide(midnight + time_to_expiry - EXPIRY_TIME_OF_DAY, NANOSECONDS_PER_DAY, Rounding.HALF_EVEN)
    expiry = day * NANOSECONDS_PER_DAY + EXPIRY_TIME_OF_DAY
    coin = text(row.get("underlying"), "underlying").upper()
    letter = text(row.get("type"), "type").upper()[:1]
    if letter not in ("C", "P"):
        raise InputError("malformed", "type", row.get("type"), "use C for a call or P for a put")
    strike = number(row.get("strike"), "strike")
    return _Option(
        Instrument(Kind.OPTION, coin, DOLLAR, coin, expiry, strike, letter == "C"),
        expiry,
        forward=number(row.get("forward_usd"), "forward_usd"),
        time_to_expiry=time_to_expiry,
        volatility=(number(row.get("bid_iv"), "bid_iv") + number(row.get("ask_iv"), "ask_iv")) / 2.0,
    )


def _days_per_year(years: list[float]) -> float:
    """Which day count puts the expiries most nearly whole days apart; the first of equals."""

    def unevenness(days_per_year: float) -> float:
        gaps = [(later - years[0]) * days_per_year for later in years[1:]]
        return round(sum(abs(gap - round(gap)) for gap in gaps), 3)

    return min(_DAYS_PER_YEAR, key=unevenness)


def _snapshot_time(options: list[_Option]) -> int:
    """The median of the instants that rows imply (expiry − time to expiry), to the nearest second."""
    snapshots = {(o.expiry, o.expiry - o.time_to_expiry) for o in options if o.time_to_expiry is not None}
    if not snapshots:
        raise InputError("missing-field", "T_years", None, "give that column, or the time of the snapshot")
    instant = statistics.median_low(instant for _, instant in snapshots)
    return divide(instant, NANOSECONDS_PER_SECOND, Rounding.HALF_EVEN) * NANOSECONDS_PER_SECOND


def _chain_underlying(coin: str, options: list[_Option], time: int, rate_from_forwards: bool) -> Underlying:  # noqa: FBT001
    own = [option for option in options if option.instrument.underlying == coin]
    names = [option.instrument.name for option in own]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError("duplicate-line", "rows", twice, "give each option once")
    forwards = {
        expiry: statistics.median(option.forward for option in own if option.expiry == expiry)
        for expiry in sorted({option.expiry for option in own})
    }
    index = forwards[min(forwards)]
    invariant(index in forwards.values(), f"the index of {coin} is not one of its forwards")
    return Underlying(
        index=Price(index),
        marks={n: Price(o.mark) for n, o in zip(names, own, strict=True) if o.mark is not None},
        expiries={
            expiry: Expiry(forward, _carry(forward, index, expiry - time) if rate_from_forwards else 0.0)
            for expiry, forward in forwards.items()
        },
        volatilities={n: o.volatility for n, o in zip(names, own, strict=True) if o.volatility is not None},
        open_interest={n: o.open_interest for n, o in zip(names, own, strict=True) if o.open_interest is not None},
    )


def _carry(forward: float, index: float, nanoseconds: int) -> float:
    """The rate at which the index grows to the forward; 0 at expiry."""
    if nanoseconds <= 0:
        return 0.0
    return math.log(forward / index) * NANOSECONDS_PER_YEAR / nanoseconds


def _underlying(value: Any) -> Underlying:
    given = record(value, "", _UNDERLYING_FIELDS)
    return Underlying(
        index=read_at("index", _price, given.get("index")),
        marks=_each(given, "marks", str, _price),
        expiries=_each(given, "expiries", lambda when: parse_time(when, ""), _expiry),
        volatilities=_each(given, "volatilities", str, _number),
        open_interest=_each(given, "open_interest", str, _number),
    )


def _expiry(value: Any) -> Expiry:
    given = record(value, "", _EXPIRY_FIELDS)
    numbers = {key: number(v, key) for key, v in given.items() if key != "svi"}
    if "forward" not in numbers:
        raise InputError("missing-field", "forward", None, "give the forward price")
    svi = None if given.get("svi") is None else read_at("svi", _svi, given["svi"])
    return Expiry(**numbers, svi=svi)


def _svi(value: Any) -> SVI:
    given = record(value, "", _SVI_FIELDS)
    return SVI(**{key: number(given.get(key), key) for key in _SVI_FIELDS})


def _price(value: Any) -> Price:
    if not isinstance(value, Mapping):
        return Price(_number(value))
    given = record(value, "", _PRICE_FIELDS)
    return Price(number(given.get("price"), "price"), number(given.get("confidence", 1.0), "confidence"))


def _number(value: Any) -> float:
    return number(value, "")


def _each(given: Mapping[str, Any], field: str, key: Callable[[str], Any], read: Callable[[Any], T]) -> dict[Any, T]:
    """The entries of a mapping, keys and values read, errors put under `field[key]`; equal keys are refused."""
    result: dict[Any, T] = {}
    for written, value in mapping(given.get(field), field).items():
        with located(f"{field}[{written}]"):
            entry = key(written)
            if entry in result:
                raise InputError("duplicate-line", "", written, "give each entry once")
            result[entry] = read(value)
    return result


def _optional(row: Row, field: str) -> float | None:
    return None if is_absent(row.get(field)) else number(row[field], field)


def _underlying_object(underlying: Underlying) -> dict[str, Any]:
    result: dict[str, Any] = {"index": _price_object(underlying.index)}
    if underlying.marks:
        result["marks"] = {name: _price_object(price) for name, price in underlying.marks.items()}
    if underlying.expiries:
        result["expiries"] = {format_time(when): _expiry_object(e) for when, e in underlying.expiries.items()}
    for field in ("volatilities", "open_interest"):
        if getattr(underlying, field):
            result[field] = dict(getattr(underlying, field))
    return result


def _expiry_object(expiry: Expiry) -> dict[str, Any]:
    """The fields that differ from their default, the forward always."""
    neutral = Expiry(expiry.forward)
    fields = {field: getattr(expiry, field) for field in _EXPIRY_FIELDS}
    changed = {f: v for f, v in fields.items() if f == "forward" or v != getattr(neutral, f)}
    return {f: msgspec.to_builtins(v) for f, v in changed.items()}


def _price_object(price: Price) -> Any:
    return price.price if price.confidence == 1.0 else {"price": price.price, "confidence": price.confidence}
