"""Reading numbers, JSON text and tables strictly, with the path of whatever is wrong.

What lives here: what the formats of portfolios and markets share. Nothing is guessed or coerced: a number is a number
or its plain decimal text; a key that means nothing is refused, and so is a key given twice. What may not live here:
what the fields mean.
"""

import contextlib
import importlib
import json
import math
import numbers
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar

from holdfast.domain.errors import InputError, MissingLibraryError

ROWS_MAXIMUM = 1_000_000
"""Rows of one table: a thousand times the book of a large desk, and still a second's reading."""

_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)

Row = Mapping[str, Any]
T = TypeVar("T")


@contextlib.contextmanager
def located(path: str) -> Iterator[None]:
    """Put `path` before the field of an InputError raised inside."""
    try:
        yield
    except InputError as error:
        raise error.within(path) from None


def read_at(path: str, read: Callable[[Any], T], value: Any) -> T:
    """Do read(value), its errors put under `path`."""
    with located(path):
        return read(value)


def check_finite(value: object, field: str) -> None:
    """Refuse anything but a finite real number (a truth value is none); code "not-a-number"."""
    if type(value) is float and math.isfinite(value):
        return  # The common case, before the slower question of what else counts as a real number.
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise InputError("not-a-number", field, value, "give a finite number")


def number(value: Any, field: str) -> float:
    """A finite float of a number or of its decimal text ("1000.5", "1e-3").

    Args:
        value: Any real number but a truth value, a Decimal, or text without separators of thousands.
        field: What to call it in an error.

    Returns:
        The nearest float.

    Raises:
        InputError: "missing-field" for None or empty text, "not-a-number" for everything else that is not finite.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        raise InputError("missing-field", field, None, "give a number")
    if isinstance(value, str):
        if not _DECIMAL.fullmatch(value.strip()):
            raise InputError("not-a-number", field, value, 'write it like 1000.5, without "," or "_"')
    elif isinstance(value, bool) or not isinstance(value, numbers.Real | Decimal):
        raise InputError("not-a-number", field, value, "give a number or its decimal text")
    try:
        result = float(value)
    except (OverflowError, ValueError):
        result = math.inf
    if not math.isfinite(result):
        raise InputError("not-a-number", field, value, "give a finite number")
    return result


def text(value: Any, field: str) -> str:
    """A text that is not blank, without surrounding blanks."""
    if not isinstance(value, str) or not value.strip():
        raise InputError("missing-field" if value in (None, "") else "malformed", field, value, "give a text")
    return value.strip()


def is_absent(value: Any) -> bool:
    """Whether a cell of a table is empty: None, blank text, or the NaN that tables put for nothing."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and math.isnan(value))


def record(value: Any, field: str, known: Collection[str]) -> Mapping[str, Any]:
    """A mapping whose keys are all known; anything else is refused, so that a misspelt key is never ignored."""
    if not isinstance(value, Mapping):
        raise InputError("malformed", field, value, f"give an object with {', '.join(known)}")
    for key in value:
        if key not in known:
            raise InputError(
                "malformed", f"{field}.{key}".lstrip("."), None, f"use only {', '.join(known)}", "means nothing"
            )
    return value


def mapping(value: Any, field: str) -> Mapping[str, Any]:
    """A mapping from texts to anything; None counts as empty."""
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise InputError("malformed", field, value, 'give an object, as in {"BTC": 1.5}')
    return value


def sequence(value: Any, field: str) -> Sequence[Any]:
    """A list of anything; None counts as empty."""
    if value is None:
        return ()
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise InputError("malformed", field, value, "give a list")
    return value


def decoded(source: bytes | str, what: str) -> str:
    """The text of UTF-8 bytes or of a text, without a byte-order mark."""
    if isinstance(source, str):
        return source.removeprefix("\ufeff")
    try:
        return bytes(source).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("malformed", what, None, f"write it in UTF-8; byte {error.start} is not") from None


def json_value(source: bytes | str, what: str) -> Any:
    """The value of a JSON text; repeated keys, NaN, infinities and hostile depth are refused.

    Args:
        source: JSON, as text or UTF-8 bytes.
        what: What to call it in an error.

    Returns:
        Mappings, lists, texts, numbers, truth values and None.

    Raises:
        InputError: "malformed" with line and column, or "duplicate-line" for a repeated key.
    """
    try:
        return json.loads(
            decoded(source, what), object_pairs_hook=_object_without_repeats, parse_constant=_refuse_constant
        )
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InputError("malformed", what, None, f"mend the JSON at {place}: {error.msg}") from None
    except InputError:
        raise
    except RecursionError:
        raise InputError("malformed", what, None, "nest it less deeply") from None
    except ValueError:
        raise InputError("not-a-number", what, None, "write numbers with fewer digits") from None


def rows_of(source: Any, what: str) -> list[Row]:
    """The rows of a table, whatever holds it.

    Args:
        source: A list of mappings, a mapping of columns of one length, or an object with `__arrow_c_stream__` (a
            pyarrow, polars, pandas or duckdb table).
        what: What to call it in an error.

    Returns:
        One mapping per row, from column name to cell.

    Raises:
        InputError: it is none of these, or too long.
        MissingLibraryError: an Arrow table was given and pyarrow is not installed.
    """
    if hasattr(source, "__arrow_c_stream__"):
        rows = list(_arrow_rows(source))
    elif isinstance(source, Mapping):
        rows = _rows_of_columns(source, what)
    elif isinstance(source, Sequence) and not isinstance(source, str | bytes):
        rows = list(source)
    else:
        raise InputError("malformed", what, type(source).__name__, "give a list of rows, columns, or an Arrow table")
    if len(rows) > ROWS_MAXIMUM:
        raise InputError("out-of-range", what, len(rows), f"give at most {ROWS_MAXIMUM} rows")
    for place, row in enumerate(rows):
        if not isinstance(row, Mapping) or not all(isinstance(key, str) for key in row):
            raise InputError("malformed", f"{what}[{place}]", row, "give rows as mappings from column to cell")
    return rows


def _rows_of_columns(columns: Mapping[str, Any], what: str) -> list[Row]:
    lists = {}
    for name, column in columns.items():
        if isinstance(column, str | bytes | Mapping) or not hasattr(column, "__iter__"):
            raise InputError("malformed", f"{what}.{name}", column, "give a list of cells for each column")
        lists[name] = list(column)
    if len({len(column) for column in lists.values()}) > 1:
        lengths = {name: len(column) for name, column in lists.items()}
        raise InputError("malformed", what, lengths, "give columns of one length")
    return [dict(zip(lists, cells, strict=True)) for cells in zip(*lists.values(), strict=True)]


def _arrow_rows(source: Any) -> list[Row]:
    try:
        arrow = importlib.import_module("pyarrow")
    except ImportError:
        raise MissingLibraryError("reading an Arrow table needs pyarrow: pip install 'holdfast[data]'") from None
    rows: list[Row] = arrow.RecordBatchReader.from_stream(source).read_all().to_pylist()
    return rows


def _object_without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise InputError("duplicate-line", key, None, "give each key once")
        result[key] = value
    return result


def _refuse_constant(constant: str) -> float:
    raise InputError("not-a-number", "JSON", constant, "give finite numbers")
