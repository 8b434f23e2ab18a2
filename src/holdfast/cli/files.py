"""Files that a command names, read into values: portfolios, markets, parameter sets, price histories, trades."""

import csv
import datetime
import importlib
import itertools
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.domain.errors import InputError, MissingLibraryError
from holdfast.domain.market import Market
from holdfast.domain.market_formats import load_market, market_from_chain
from holdfast.domain.names import asset_name, parse_instrument
from holdfast.domain.portfolio import Portfolio, Trade
from holdfast.domain.portfolio_formats import load_portfolio
from holdfast.domain.reading import Row, decoded, json_value, located, number, record, rows_of, text
from holdfast.domain.units import NANOSECONDS_PER_DAY, NANOSECONDS_PER_SECOND, format_time, parse_time

if TYPE_CHECKING:
    from holdfast.domain.parameters import AnyParameters
    from holdfast.margin.calculation import Margin

TIME_COLUMNS = ("time", "ts", "timestamp", "date", "datetime")
"""Names that the time column of a history may have."""
HORIZON_DAYS = 2
"""Length of a move of the tail model: the margin period of risk."""
STALE_DAYS = 7
"""A history that ends longer than this before the market is said to."""
_TRADE_FIELDS = ("instrument", "quantity", "price")
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def read_portfolio(path: Path) -> Portfolio:
    """A portfolio from JSON, CSV or Parquet: ours, or positions as Deribit's or ccxt's interface lists them."""
    source = _parquet(path) if path.suffix == ".parquet" else path.read_bytes()
    with located(path.name):
        return load_portfolio(source)


def read_market(path: Path) -> tuple[Market, bool]:
    """A market from our own JSON, or from an option chain as CSV or Parquet.

    Returns:
        The market, and whether it is a bare chain, which has no marks of perpetuals.
    """
    with located(path.name):
        if path.suffix == ".parquet":
            return market_from_chain(_parquet(path)), True
        source = decoded(path.read_bytes(), "market")
        if source.lstrip()[:1] == "{":
            return load_market(source), False
        return market_from_chain(_csv(source)), True


def read_parameters(model: str, history: Path | None, decay: float | None, market: Market) -> "AnyParameters":
    """A shipped model by its name, a parameter set from a JSON file, or the tail model on a price history."""
    from holdfast.margin.presets import load_parameters, preset

    if model == "tail":
        return _tail(history, decay, market)
    for option, value in (("--history", history), ("--decay", decay)):
        if value is not None:
            raise InputError("malformed", option, str(value), "use it with --model tail", "has no meaning here")
    path = Path(model)
    if path.suffix != ".json":
        return preset(model)
    with located(path.name):
        return load_parameters(path.read_bytes())


def read_trades(path: Path, margin: "Margin") -> tuple[Trade, ...]:
    """Trades to try, from a JSON list of {"instrument", "quantity", "price"}; the price is the mark where absent."""
    from holdfast.margin.report import mark_price

    trades = []
    with located(path.name):
        given = json_value(path.read_bytes(), "what-if")
        if not isinstance(given, list):
            raise InputError("malformed", "what-if", given, "give a JSON list of trades")
        for place, item in enumerate(given):
            with located(f"[{place}]"):
                row = record(item, "", _TRADE_FIELDS)
                instrument = parse_instrument(text(row.get("instrument"), "instrument"))
                quantity = number(row.get("quantity"), "quantity")
                with located("instrument"):
                    mark = mark_price(margin, instrument)
                price = mark if row.get("price") is None else number(row["price"], "price")
                trades.append(Trade(instrument, quantity, price))
    return tuple(trades)


def read_history(path: Path) -> tuple[tuple[int, ...], dict[str, tuple[float, ...]]]:
    """Instants (nanoseconds UTC) and prices by underlying, from CSV or Parquet with a time column.

    Times are ISO 8601 with a zone, dates (midnight UTC), or timestamps of a Parquet column.
    """
    with located(path.name):
        is_parquet = path.suffix == ".parquet"
        rows = rows_of(_parquet(path), "rows") if is_parquet else _csv(decoded(path.read_bytes(), "history"))
        if not rows:
            raise InputError("missing-field", "rows", None, "give at least one price")
        column = next((name for name in rows[0] if name.strip().lower() in TIME_COLUMNS), None)
        if column is None:
            raise InputError("missing-field", "columns", sorted(rows[0]), f"name one {', '.join(TIME_COLUMNS)}")
        names = [name for name in rows[0] if name != column]
        times = tuple(_instant(row[column], f"rows[{i}].{column}") for i, row in enumerate(rows))
        prices = {
            asset_name(name): tuple(number(row[name], f"rows[{i}].{name}") for i, row in enumerate(rows))
            for name in names
        }
    return times, prices


def _tail(history: Path | None, decay: float | None, market: Market) -> "AnyParameters":
    """The tail model on two-day moves of prices known at the market's instant."""
    from holdfast.margin.history import joint_moves, whole_windows
    from holdfast.margin.presets import tail

    if history is None:
        from holdfast import examples

        times, closes = examples.btc_daily_closes()
        prices, source = {"BTC": closes}, "shipped daily closes of BTCUSDT"
    else:
        times, prices = read_history(history)
        source = history.name
    known = sum(time <= market.time for time in times)
    times = times[:known]
    step = _step(times, source)
    horizon = max(1, round(HORIZON_DAYS * NANOSECONDS_PER_DAY / step))
    cut = {name: series[:known] for name, series in prices.items()}
    moves = joint_moves(times, cut, horizon=horizon, step=step, decay=decay)
    late = (market.time - times[-1]) // NANOSECONDS_PER_DAY
    ended = f", ending {late} days before the market" if late > STALE_DAYS else ""
    filtered = "plain" if decay is None else f"volatility-filtered with decay {decay:g}"
    provenance = (
        f"{source}, {format_time(times[0])} to {format_time(times[-1])}, {HORIZON_DAYS}-day moves, {filtered}{ended}"
    )
    windows = zip(times, times[horizon:], whole_windows(times, horizon=horizon, step=step).tolist(), strict=False)
    labels = tuple(f"{format_time(a)[:10]} to {format_time(b)[:10]}" for a, b, is_whole in windows if is_whole)
    return tail(moves, provenance=provenance, labels=labels)


def with_balances(portfolio: Portfolio, given: Sequence[str]) -> Portfolio:
    """The portfolio with balances added that are written as ASSET=AMOUNT."""
    balances = dict(portfolio.balances)
    for item in given:
        name, equals, amount = item.partition("=")
        if not equals:
            raise InputError("malformed", "--balance", item, "write it like BTC=1.5")
        asset = asset_name(name)
        balances[asset] = balances.get(asset, 0.0) + number(amount, f"--balance {asset}")
    return msgspec.structs.replace(portfolio, balances=balances)


def _step(times: Sequence[int], source: str) -> int:
    """The usual distance of neighbouring instants, which must ascend."""
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    if not gaps:
        advice = "give more prices at or before the instant of the market: later ones are not used"
        raise InputError("missing-field", source, len(times), advice, "has too few prices")
    if min(gaps) <= 0:
        at = gaps.index(min(gaps)) + 1
        raise InputError("malformed", source, format_time(times[at]), "sort it by time, each once", "is out of order")
    return statistics.median_low(gaps)


def _instant(cell: Any, field: str) -> int:
    if isinstance(cell, datetime.datetime):
        moment = cell if cell.tzinfo else cell.replace(tzinfo=datetime.UTC)
        return (moment - _EPOCH) // datetime.timedelta(microseconds=1) * (NANOSECONDS_PER_SECOND // 1_000_000)
    written = text(str(cell if cell is not None else ""), field)
    return parse_time(f"{written}T00:00Z" if len(written) == len("2024-01-01") else written, field)


def _csv(source: str) -> list[Row]:
    lines = [line for line in source.splitlines() if line.strip()]
    try:
        rows = list(csv.DictReader(lines, strict=True))
    except csv.Error as error:
        raise InputError("malformed", "CSV", None, f"mend the quoting: {error}") from None
    for place, row in enumerate(rows):
        if None in row or None in row.values():
            raise InputError("malformed", f"rows[{place}]", None, "give as many cells as the header has")
    return list(rows)


def _parquet(path: Path) -> Any:
    with path.open("rb"):  # A missing file is said to be missing, whatever Parquet's reader would call it.
        pass
    try:
        arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise MissingLibraryError("reading Parquet needs pyarrow: pip install 'holdfast[data]'") from None
    try:
        return parquet.read_table(path)
    except arrow.ArrowException as error:
        raise InputError("malformed", path.name, None, f"give a Parquet file: {error}") from None
