"""Reading portfolios from what people already have, and writing our own format.

`load_portfolio` looks at what it is given and calls one of the explicit readers. What may not live here: files (the
caller reads them), prices from anywhere but the rows themselves. The formats, with examples, are in
specs/portfolio-formats.md.
"""

import csv
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from holdfast.domain.errors import InputError, invariant
from holdfast.domain.instruments import Instrument, Kind, check_lot, check_price, entry_cost, unit_value
from holdfast.domain.names import asset_name, is_asset_name, parse_instrument
from holdfast.domain.portfolio import Order, Portfolio, Position
from holdfast.domain.reading import (
    Row,
    decoded,
    is_absent,
    json_value,
    located,
    mapping,
    number,
    read_at,
    record,
    rows_of,
    sequence,
    text,
)

_PORTFOLIO_FIELDS = ("name", "balances", "positions", "orders", "isolated")
_POSITION_FIELDS = ("instrument", "quantity", "entry_price", "cost")
_ORDER_FIELDS = ("instrument", "quantity", "limit_price")
_DERIBIT_FIELDS = ("instrument_name", "size", "direction", "average_price", "floating_profit_loss", "mark_price")
_CCXT_FIELDS = ("symbol", "contracts", "contractSize", "side", "entryPrice")
_DELIMITERS = ",;\t"
_COLUMNS = {name.lower(): name for name in (*_POSITION_FIELDS, *_DERIBIT_FIELDS, *_CCXT_FIELDS)}
"""Columns of tables by their name in small letters."""


def load_portfolio(source: Any, *, check_lots: bool = False) -> Portfolio:
    """A portfolio from whatever holds it.

    Args:
        source: Our own JSON (text, bytes or the decoded object); CSV text; a list of positions as Deribit's or ccxt's
            interface returns them, decoded or as JSON; rows or columns named instrument, quantity and entry_price or
            cost; an object with `__arrow_c_stream__`; or a Portfolio.
        check_lots: Refuse quantities that are not whole numbers of the instrument's default lot.

    Returns:
        The portfolio. Lists of positions say nothing of balances: add those with `merge`.

    Raises:
        InputError: with the path of what is wrong.
        MissingLibraryError: an Arrow table was given and pyarrow is not installed.
    """
    portfolio = _load(source)
    if check_lots:
        check_all_lots(portfolio)
    return portfolio


def check_all_lots(portfolio: Portfolio) -> None:
    """Refuse a portfolio with a quantity off its instrument's default grid (InputError "off-lot-grid")."""
    for field in ("positions", "orders"):
        for place, item in enumerate(getattr(portfolio, field)):
            check_lot(item.instrument, item.quantity, f"{field}[{place}].quantity")
    for name, part in portfolio.isolated.items():
        with located(f"isolated[{name}]"):
            check_all_lots(part)


def from_json(source: bytes | str) -> Portfolio:
    """A portfolio from our own JSON format, strictly: unknown and repeated keys are refused.

    Numbers are JSON numbers or decimal texts. A position gives `entry_price` or `cost`; an option that gives neither is
    paid for (cost 0: its premium has left the balance).
    """
    return from_object(json_value(source, "portfolio"))


def from_object(value: Any) -> Portfolio:
    """A portfolio from the decoded object of our own JSON format."""
    given = record(value, "", _PORTFOLIO_FIELDS)
    balances: dict[str, float] = {}
    for held, amount in mapping(given.get("balances"), "balances").items():
        with located(f"balances[{held}]"):
            _add_balance(balances, held, {"quantity": amount}, "")
    positions = [read_at(f"positions[{i}]", _position, p) for i, p in _numbered(given, "positions")]
    orders = [read_at(f"orders[{i}]", _order, o) for i, o in _numbered(given, "orders")]
    isolated = {
        name: read_at(f"isolated[{name}]", from_object, part)
        for name, part in mapping(given.get("isolated"), "isolated").items()
    }
    name = text(given["name"], "name") if _is_given(given.get("name")) else ""
    return Portfolio(balances, tuple(positions), tuple(orders), isolated, name)


def from_csv(source: bytes | str) -> Portfolio:
    """A portfolio from CSV text with a header line.

    The columns are those of any table that `load_portfolio` reads; the separator is a comma, semicolon or tab. Rows
    that name an asset in the column `instrument` are balances. Blank lines are skipped.
    """
    lines = [line for line in decoded(source, "CSV").splitlines() if line.strip()]
    if not lines:
        raise InputError("malformed", "CSV", "", "begin with the header line instrument,quantity,entry_price")
    delimiter = max(_DELIMITERS, key=lines[0].count)
    try:
        header, *body = csv.reader(lines, delimiter=delimiter, strict=True)
    except csv.Error as error:
        raise InputError("malformed", "CSV", None, f"mend the quoting: {error}") from None
    columns = [_column_name(cell) for cell in header]
    if len(set(columns)) < len(columns):
        raise InputError("duplicate-line", "CSV header", ",".join(header), "name each column once")
    rows: list[Row] = []
    for place, cells in enumerate(body):
        if len(cells) != len(columns):
            raise InputError(
                "malformed", f"rows[{place}]", ",".join(cells), f"give {len(columns)} cells, as the header has"
            )
        if any(cell.strip() for cell in cells):
            rows.append(dict(zip(columns, cells, strict=True)))
    return _from_table(rows, columns)


def from_rows(source: Any) -> Portfolio:
    """A portfolio from a table (rows or columns) named instrument, quantity and entry_price or cost.

    A row that names an asset instead of an instrument is a balance, and gives nothing but its quantity.
    """
    balances: dict[str, float] = {}
    positions = []
    for place, row in enumerate(rows_of(source, "rows")):
        with located(f"rows[{place}]"):
            name = text(row.get("instrument"), "instrument")
            if is_asset_name(name):
                _add_balance(balances, name, record(row, "", _POSITION_FIELDS), "quantity")
            else:
                positions.append(_position(row))
    return _unique(balances, positions)


def from_deribit(source: Any, *, profit_since: Literal["entry", "settlement"] = "entry") -> Portfolio:
    """A portfolio from positions as Deribit's private/get_positions lists them.

    `size` counts coins, or dollars for inverse perpetuals and futures; `direction` gives its sign where `size` has
    none. Options have cost 0, since Deribit's balance is net of premiums.

    Args:
        source: The list, or an object that holds it under `result`.
        profit_since: Deribit moves the profit of perpetuals and futures into the balance at every daily settlement.
            "entry" takes the cost from `average_price`: right when the balance is what was paid in. "settlement" takes
            it from `mark_price` and `floating_profit_loss`: right beside the `balance` that Deribit reports.

    Returns:
        The positions, with no balances. Flat entries (direction "zero") are left out.
    """
    positions = []
    for place, row in enumerate(_listed(source)):
        with located(f"positions[{place}]"):
            position = _deribit_position(row, profit_since)
            if position.quantity != 0.0:
                positions.append(position)
    return _unique({}, positions)


def from_ccxt(source: Any) -> Portfolio:
    """A portfolio from positions as ccxt's fetch_positions lists them.

    The quantity is `contracts` × `contractSize` (1 where it is absent) with the sign of `side`; options have cost 0.
    A row whose `info` is Deribit's own answer is read from that: ccxt puts a quantity in dollars or coins under
    `contracts` there, which the contract size must not multiply.

    Args:
        source: The list.

    Returns:
        The positions, with no balances.
    """
    positions = []
    for place, row in enumerate(_listed(source)):
        with located(f"positions[{place}]"):
            info = row.get("info")
            if isinstance(info, Mapping) and {"instrument_name", "size"} <= info.keys():
                position = _deribit_position(info, "entry")
            else:
                position = _ccxt_position(row)
            if position.quantity != 0.0:
                positions.append(position)
    return _unique({}, positions)


def from_arrow(source: Any) -> Portfolio:
    """A portfolio from an object with `__arrow_c_stream__`: a pyarrow, polars, pandas or duckdb table."""
    rows = rows_of(source, "rows")
    return _from_table(rows, list(rows[0]) if rows else [])


def to_json(portfolio: Portfolio) -> bytes:
    """The portfolio in our own JSON format; `from_json` gives back an equal one."""
    return msgspec.json.format(msgspec.json.encode(_to_object(portfolio)), indent=2)


def _load(source: Any) -> Portfolio:
    if isinstance(source, Portfolio):
        return source
    if isinstance(source, bytes | bytearray | memoryview | str):
        return _load_text(decoded(source if isinstance(source, str) else bytes(source), "portfolio"))
    return _load_object(source)


def _load_text(source: str) -> Portfolio:
    if source.lstrip()[:1] in ("{", "["):
        return _load_object(json_value(source, "portfolio"))
    return from_csv(source)


def _load_object(source: Any) -> Portfolio:
    if isinstance(source, Mapping) and "result" in source:
        return _load_object(source["result"])
    if isinstance(source, Mapping) and not _columns_known(source):
        return from_object(source)
    rows = rows_of(source, "rows")
    return _from_table(rows, list(rows[0]) if rows else [])


def _columns_known(names: Iterable[str]) -> bool:
    return not {"instrument", "instrument_name", "symbol"}.isdisjoint(names)


def _from_table(rows: list[Row], columns: list[str]) -> Portfolio:
    """Read rows by what their first one looks like."""
    if "instrument_name" in columns:
        return from_deribit(rows)
    if "symbol" in columns:
        return from_ccxt(rows)
    if columns and "instrument" not in columns:
        advice = "name a column instrument (or instrument_name as Deribit does, or symbol as ccxt does)"
        raise InputError("missing-field", "columns", columns, advice)
    return from_rows(rows)


def _numbered(given: Mapping[str, Any], field: str) -> Iterable[tuple[int, Any]]:
    return enumerate(sequence(given.get(field), field))


def _position(item: Any) -> Position:
    given = {key: cell for key, cell in record(item, "", _POSITION_FIELDS).items() if _is_given(cell)}
    instrument = _instrument(given)
    quantity = number(given.get("quantity"), "quantity")
    if "entry_price" in given and "cost" in given:
        raise InputError("malformed", "cost", given["cost"], "give entry_price or cost, not both", "says it twice")
    if "cost" in given:
        return Position(instrument, quantity, number(given["cost"], "cost"))
    if "entry_price" in given:
        return Position(instrument, quantity, _cost(instrument, quantity, given["entry_price"], "entry_price"))
    if instrument.kind is Kind.OPTION:
        return Position(instrument, quantity, 0.0)
    advice = f"give entry_price, or cost in {instrument.settlement}: only options may be taken as paid for"
    raise InputError("missing-field", "entry_price", None, advice)


def _order(item: Any) -> Order:
    given = record(item, "", _ORDER_FIELDS)
    instrument = _instrument(given)
    quantity = number(given.get("quantity"), "quantity")
    return Order(instrument, quantity, number(given.get("limit_price"), "limit_price"))


def _cost(instrument: Instrument, quantity: float, price: Any, field: str) -> float:
    if quantity == 0.0:
        return 0.0
    value = number(price, field)
    check_price(instrument, value, field)
    return entry_cost(instrument, quantity, value)


def _deribit_position(row: Row, profit_since: str) -> Position:
    instrument = _instrument({"instrument": row.get("instrument_name")})
    quantity = _signed(number(row.get("size"), "size"), row.get("direction"), "direction", ("buy", "sell", "zero"))
    if instrument.kind is Kind.OPTION or quantity == 0.0:
        return Position(instrument, quantity, 0.0)
    if profit_since == "entry":
        return Position(instrument, quantity, _cost(instrument, quantity, row.get("average_price"), "average_price"))
    profit = number(row.get("floating_profit_loss"), "floating_profit_loss")
    value = unit_value(instrument, number(row.get("mark_price"), "mark_price"))
    return Position(instrument, quantity, quantity * value - profit)


def _ccxt_position(row: Row) -> Position:
    instrument = _instrument({"instrument": row.get("symbol")}, "symbol")
    size = row.get("contractSize")
    units = number(row.get("contracts"), "contracts") * (number(size, "contractSize") if _is_given(size) else 1.0)
    quantity = _signed(units, row.get("side"), "side", ("long", "short", "none"))
    if instrument.kind is Kind.OPTION:
        return Position(instrument, quantity, 0.0)
    return Position(instrument, quantity, _cost(instrument, quantity, row.get("entryPrice"), "entryPrice"))


def _signed(size: float, side: Any, field: str, words: tuple[str, str, str]) -> float:
    """The size with the sign of its side: words for long, short and none. A size that contradicts it is refused."""
    long, short, none = words
    if is_absent(side):
        return size
    if side not in words:
        raise InputError("malformed", field, side, f'use "{long}" or "{short}"')
    if (side == long and size < 0.0) or (side == none and size != 0.0):
        raise InputError("malformed", field, side, f"mend one of them: the size is {size:g}", "contradicts the size")
    return -abs(size) if side == short else size


def _instrument(given: Mapping[str, Any], field: str = "instrument") -> Instrument:
    name = text(given.get("instrument"), field)
    if is_asset_name(name):
        raise InputError("unknown-instrument", field, name, f"move {name} to the balances", "is an asset")
    return parse_instrument(name)


def _add_balance(balances: dict[str, float], given_name: str, given: Mapping[str, Any], field: str) -> None:
    """Read the balance that a row or an entry states; `field` is where its amount stands."""
    name = asset_name(given_name)
    for key in ("entry_price", "cost"):
        if _is_given(given.get(key)):
            advice = f"leave it empty: {name} is a balance, which has no {key}"
            raise InputError("malformed", key, given[key], advice, "has no meaning")
    if name in balances:
        raise InputError("duplicate-line", "", name, "add the two balances up")
    balances[name] = number(given.get("quantity"), field)


def _unique(balances: dict[str, float], positions: list[Position]) -> Portfolio:
    """The portfolio of some rows; Portfolio itself refuses two lines of one contract."""
    portfolio = Portfolio(balances, tuple(positions))
    invariant(len(portfolio.positions) == len(positions), "reading rows lost a position")
    return portfolio


def _listed(source: Any) -> list[Row]:
    if isinstance(source, Mapping) and "result" in source:
        source = source["result"]
    return rows_of(source, "positions")


def _is_given(cell: Any) -> bool:
    return cell is not None and not (isinstance(cell, str) and not cell.strip())


def _column_name(cell: str) -> str:
    """The column a header cell means, whatever its capitals, with blanks as underscores."""
    return _COLUMNS.get(cell.strip().lower().replace(" ", "_"), cell.strip())


def _to_object(portfolio: Portfolio) -> dict[str, Any]:
    result: dict[str, Any] = {"name": portfolio.name} if portfolio.name else {}
    result["balances"] = dict(portfolio.balances)
    result["positions"] = [
        {"instrument": p.instrument.name, "quantity": p.quantity, "cost": p.cost} for p in portfolio.positions
    ]
    if portfolio.orders:
        result["orders"] = [
            {"instrument": o.instrument.name, "quantity": o.quantity, "limit_price": o.limit_price}
            for o in portfolio.orders
        ]
    if portfolio.isolated:
        result["isolated"] = {name: _to_object(part) for name, part in portfolio.isolated.items()}
    return result
