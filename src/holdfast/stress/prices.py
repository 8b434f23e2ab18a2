"""Users' own prices: CSV or Parquet, bars or plain prices, read strictly.

What lives here: finding the columns, reading times and numbers, and naming line and column of whatever is wrong. What
may not: mending. Nothing is sorted, filled or dropped. The rules: specs/replay-prices.md.
"""

import csv
import gzip
import importlib
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from holdfast.domain.errors import InputError, MissingLibraryError
from holdfast.domain.reading import ROWS_MAXIMUM, decoded, is_absent, located, number
from holdfast.domain.units import format_time, parse_time
from holdfast.stress.history import PriceHistory, first_fault

TIME_COLUMNS = ("ts", "timestamp", "time", "datetime", "date")
"""Names of the time column; where several are there, the first of this list."""
PRICE_COLUMNS = ("open", "high", "low", "close")
SINGLE_COLUMNS = ("close", "price")
"""Names of the one price of a file without bars."""
EPOCH_UNITS_NS = (10**9, 10**6, 10**3, 1)
"""Seconds, milliseconds, microseconds, nanoseconds since 1970."""
EARLIEST_NS, LATEST_NS = parse_time("2008-01-01T00:00Z"), parse_time("2103-01-01T00:00Z")
"""Instants that a count since 1970 may mean. No count means one in two units."""

_ARROW_UNITS_NS = dict(zip(("s", "ms", "us", "ns"), EPOCH_UNITS_NS, strict=True))
_NUMBER = re.compile(r"\d+(\.\d+)?", re.ASCII)
_NAIVE = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?))?", re.ASCII)


class _Table(NamedTuple):
    """A file's cells, and what its rows are called: the number of row 0 and the word for it."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]
    places: Sequence[int]
    word: str

    def place(self, row: int, column: str) -> str:
        return f"{self.word} {self.places[row]}, column {column}"


def load_prices(path: Path | str, *, assume_utc: bool = False) -> PriceHistory:
    """Prices of Bitcoin from a file.

    Args:
        path: `.csv`, `.csv.gz` or `.parquet`. One column of time (`ts`, `timestamp`, `time`, `datetime` or `date`: ISO
            8601 with a zone, or a count of s, ms, µs or ns since 1970), and open, high, low and close, or only `close`
            or `price`; names in any case, US dollars. A time is when the bar opens. Other columns are ignored.
        assume_utc: Times without a zone, and dates, are UTC. Otherwise they are refused.

    Returns:
        The history. A file of plain prices gives bars whose four prices are that price.

    Raises:
        InputError: Naming line and column: a number that is none ("not-a-number"), is not above 0, a high below the
            low ("out-of-range"), a time that cannot be read ("malformed"), twice the same ("duplicate-line") or out
            of order; naming the column: one that is missing ("missing-field").
        MissingLibraryError: Parquet, and pyarrow is not installed.
    """
    file = Path(path)
    with located(file.name):
        if not file.is_file():
            raise InputError("malformed", "", None, "give the path of a CSV or Parquet file", "is not there")
        table = _parquet(file) if file.suffix.lower() == ".parquet" else _csv(file)
        return _history(table, file.name, assume_utc=assume_utc)


def _csv(file: Path) -> _Table:
    content = file.read_bytes()
    if file.suffix.lower() == ".gz":
        content = gzip.decompress(content)
    reader = csv.reader(decoded(content, "").splitlines())
    lines = ((reader.line_num, row) for row in _csv_rows(reader) if row and not row[0].startswith("#"))
    _, header = next(lines, (0, []))
    rows, places = [], []
    for place, row in lines:
        if len(row) != len(header):
            advice = f"give as many cells as the header has: {len(header)}"
            raise InputError("malformed", f"line {place}", len(row), advice, "has another number of cells")
        rows.append(row)
        places.append(place)
    return _Table(tuple(header), rows, places, "line")


def _csv_rows(reader: Iterator[list[str]]) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise InputError("malformed", "", None, f"mend the CSV: {error}") from None


def _parquet(file: Path) -> _Table:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise MissingLibraryError("reading Parquet needs pyarrow: pip install 'holdfast[data]'") from None
    try:
        table = parquet.read_table(file)
    except (OSError, ValueError) as error:
        raise InputError("malformed", "", None, f"give a Parquet file: {error}") from None
    names = tuple(str(name) for name in table.column_names)
    wanted = set(TIME_COLUMNS + PRICE_COLUMNS + SINGLE_COLUMNS)
    kept = [place for place, name in enumerate(names) if name.strip().lower() in wanted]
    columns = [_cells(table.column(place)) for place in kept]
    rows = list(zip(*columns, strict=True))
    return _Table(tuple(names[place] for place in kept), rows, range(1, len(rows) + 1), "row")


def _cells(column: Any) -> list[Any]:
    """A Parquet column as Python values; instants as text, to the nanosecond."""
    kind = str(column.type)
    if kind.startswith("timestamp"):
        zone = "Z" if "tz=" in kind else ""
        unit = _ARROW_UNITS_NS[kind.removeprefix("timestamp[").split(",")[0].removesuffix("]")]
        counts = column.cast("int64").to_pylist()
        return [None if n is None else f"{format_time(n * unit).removesuffix('Z')}{zone}" for n in counts]
    cells: list[Any] = column.to_pylist()
    return [str(cell) for cell in cells] if kind.startswith("date") else cells


def _history(table: _Table, name: str, *, assume_utc: bool) -> PriceHistory:
    if not 2 <= len(table.rows) <= ROWS_MAXIMUM:
        advice = f"give 2 to {ROWS_MAXIMUM:,} rows under a header"
        raise InputError("out-of-range", "rows", len(table.rows), advice, "is not a number of rows this can read")
    found = _columns(table.columns)
    time_ns = _times(table, found["time"], assume_utc=assume_utc)
    prices = {
        column: np.array([number(row[at], table.place(i, table.columns[at])) for i, row in enumerate(table.rows)])
        for column, at in found.items()
        if column != "time"
    }
    single = prices.get("single")
    opened, high, low, close = (prices[c] if single is None else single for c in PRICE_COLUMNS)
    fault = first_fault(time_ns, opened, high, low, close)
    if fault is not None:
        column = table.columns[found[fault.column if single is None or fault.column == "time" else "single"]]
        raise InputError(fault.code, table.place(fault.row, column), fault.value, fault.advice, fault.problem)
    return PriceHistory(name, f"the file {name}", _usual_distance(time_ns), time_ns, opened, high, low, close)


def _columns(names: Sequence[str]) -> Mapping[str, int]:
    """Where time and prices stand: "time" with open, high, low and close, or with "single"."""
    lower = [name.strip().lower() for name in names]
    for wanted in TIME_COLUMNS + PRICE_COLUMNS + SINGLE_COLUMNS:
        if lower.count(wanted) > 1:
            raise InputError("duplicate-line", f"column {wanted}", None, "give each column once, whatever its case")
    time = next((wanted for wanted in TIME_COLUMNS if wanted in lower), None)
    if time is None:
        raise InputError("missing-field", "column time", list(names), f"name it one of {', '.join(TIME_COLUMNS)}")
    found = {"time": lower.index(time)}
    barred = [wanted for wanted in PRICE_COLUMNS[:3] if wanted in lower]
    single = next((wanted for wanted in SINGLE_COLUMNS if wanted in lower), None)
    if not barred and single is not None:
        return found | {"single": lower.index(single)}
    for wanted in PRICE_COLUMNS:
        if wanted not in lower:
            advice = "give open, high, low and close, or only close or price"
            raise InputError("missing-field", f"column {wanted}", list(names), advice)
    return found | {wanted: lower.index(wanted) for wanted in PRICE_COLUMNS}


def _times(table: _Table, at: int, *, assume_utc: bool) -> np.ndarray:
    """[rows] instants, nanoseconds UTC; counts since 1970 are all in the unit of the first."""
    result = np.empty(len(table.rows), np.int64)
    unit = 0
    for i, row in enumerate(table.rows):
        place, cell = table.place(i, table.columns[at]), row[at]
        if is_absent(cell):
            raise InputError("missing-field", place, None, "give the time of every row")
        count = _count(cell)
        if count is None:
            result[i] = _instant(cell, place, assume_utc=assume_utc)
        else:
            unit = unit or _unit(count, place)
            result[i] = _scaled(count, unit, place)
    return result


def _count(cell: Any) -> Decimal | None:
    """A cell that counts from 1970; None where it is text of another form."""
    if isinstance(cell, str):
        return Decimal(cell.strip()) if _NUMBER.fullmatch(cell.strip()) else None
    if isinstance(cell, bool) or not isinstance(cell, int | float | Decimal):
        return None
    return Decimal(str(cell))


def _unit(count: Decimal, place: str) -> int:
    """Nanoseconds of one, by the size of the first count."""
    for unit in EPOCH_UNITS_NS:
        if EARLIEST_NS <= count * unit < LATEST_NS:
            return unit
    advice = "count seconds, milliseconds, microseconds or nanoseconds since 1970, or write 2020-03-12T10:00:00Z"
    raise InputError("out-of-range", place, str(count), advice, "is no time between 2008 and 2103")


def _scaled(count: Decimal, unit: int, place: str) -> int:
    if not EARLIEST_NS <= count * unit < LATEST_NS:
        advice = "count all rows in one unit since 1970"
        raise InputError(
            "out-of-range", place, str(count), advice, "is no time between 2008 and 2103 in the first's unit"
        )
    return int(count * unit)


def _instant(cell: Any, place: str, *, assume_utc: bool) -> int:
    """The instant of an ISO 8601 text."""
    text = re.sub(r"\s*UTC$", "Z", str(cell).strip())
    naive = _NAIVE.fullmatch(text)
    if naive is None:
        return parse_time(text, place)
    if not assume_utc:
        advice = "write the zone, as in 2020-03-12T10:00:00Z, or say that times without one are UTC (assume_utc)"
        raise InputError("malformed", place, text, advice, "has no time zone")
    day, time = naive[1], naive[2] or "00:00"
    return parse_time(f"{day}T{time}Z", place)


def _usual_distance(time_ns: np.ndarray) -> int:
    """The commonest distance of two rows; of several the smallest."""
    distances, counts = np.unique(np.diff(time_ns), return_counts=True)
    return int(distances[np.argmax(counts)])
