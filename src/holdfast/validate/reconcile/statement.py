"""Statements: what accounts hold as somebody outside has it, read from CSV, JSON, and answers of Deribit and ccxt.

What lives here: reading. Numbers are taken exactly, and a name that is none of ours is kept as it is written, so that
it can be listed. What may not: files, comparing. The formats: specs/reconcile.md REC-4 to REC-7.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from holdfast.domain.errors import InputError
from holdfast.domain.names import asset_name, is_asset_name, parse_instrument
from holdfast.domain.portfolio_formats import from_ccxt
from holdfast.domain.reading import (
    Row,
    decoded,
    is_absent,
    json_value,
    located,
    mapping,
    number,
    record,
    rows_of,
    sequence,
    text,
)
from holdfast.domain.units import parse_time
from holdfast.validate.reconcile import deribit
from holdfast.validate.reconcile.lines import BALANCE, POSITION, Stated, Statement

_ALIASES: Final = {
    "account": ("account", "subaccount", "client", "account_name"),
    "item": ("item", "instrument", "instrument_name", "asset", "currency", "symbol"),
    "amount": ("quantity", "amount", "size", "balance"),
    "side": ("direction", "side"),
    "cost": ("cost",),
    "time": ("time",),
    "position": ("position",),
}
"""Names that the columns of a table may have."""
_DELIMITERS: Final = ",;\t"
_SIDES: Final = {"buy": 1, "long": 1, "sell": -1, "short": -1}
_JSON_FIELDS: Final = ("account", "name", "position", "time", "complete", "accounts", "balances", "positions", "orders")
_POSITION_FIELDS: Final = ("instrument", "quantity", "cost", "entry_price")


def read_statements(sources: Iterable[tuple[str, bytes]], account: str | None = None) -> list[Statement]:
    """The statements of some files; those of Deribit are put together to one.

    Args:
        sources: What to call each file, and its bytes.
        account: Whose a statement is that names no account; of those that name several, the one to compare.

    Raises:
        InputError: One cannot be read, or says not whose it is.
    """
    found, answers = list[Statement](), list[tuple[str, Any]]()
    for label, source in sources:
        with located(label):
            written = decoded(source, "statement")
            if written.lstrip()[:1] not in ("{", "["):
                found.append(_from_csv(label, written, account))
                continue
            value = json_value(written, "statement")
            if deribit.is_answer(value):
                answers.append((label, value))
            else:
                found.append(_from_json(label, value, account))
    if answers:
        with located(" + ".join(label for label, _ in answers)):
            named = _named("", account)
        found.append(deribit.statement_of(answers, named))
    return [_of_account(one, account) for one in found]


def exact(value: Any, field: str) -> Decimal:
    """A number or its text as the decimal that it is written as; errors as `domain.reading.number`."""
    rounded = number(value, field)
    if isinstance(value, str):
        return Decimal(value.strip())
    return Decimal(value) if isinstance(value, int | Decimal) else Decimal(repr(rounded))


def item_name(written: Any, field: str) -> tuple[str, bool]:
    """The name of an item as this library writes it, and whether it is an asset; one that is none stays as written."""
    name = text(written, field)
    if is_asset_name(name):
        return asset_name(name), True
    try:
        return parse_instrument(name).name, False
    except InputError:
        return name, False


def _named(stated: str, account: str | None) -> str:
    if not stated and not account:
        raise InputError("missing-field", "account", None, "say with --account whose statement it is")
    return stated or str(account)


def _of_account(statement: Statement, account: str | None) -> Statement:
    if account is None or list(statement.accounts) == [account]:
        return statement
    if account not in statement.accounts:
        stated = ", ".join(list(statement.accounts)[:5])
        raise InputError(
            "malformed", statement.label, account, f"give one of its accounts: {stated}", "says nothing of"
        )
    return statement._replace(accounts={account: statement.accounts[account]}, complete=False)


class _Lines:
    """Lines by account, as they are read."""

    def __init__(self) -> None:
        self.accounts: dict[str, dict[tuple[str, str], Stated]] = {}

    def add(self, account: str, what: str, item: str, line: Stated) -> None:
        """Take a line; the same account and item twice is refused."""
        lines = self.accounts.setdefault(account, {})
        if (what, item) in lines:
            raise InputError("duplicate-line", item, account, "state each account and item once")
        lines[what, item] = line

    def covers(self) -> frozenset[str]:
        """What is stated of any account."""
        return frozenset(what for lines in self.accounts.values() for what, _ in lines)


def _from_csv(label: str, source: str, account: str | None) -> Statement:
    rows, header = _csv_rows(source)
    if not rows:
        raise InputError("missing-field", "rows", None, "state at least one line")
    columns = {meaning: _column(header, names) for meaning, names in _ALIASES.items()}
    for meaning in ("item", "amount"):
        if columns[meaning] is None:
            advice = f"name a column one of {', '.join(_ALIASES[meaning])}"
            raise InputError("missing-field", "columns", ", ".join(header), advice)
    lines, moments = _Lines(), {"time": set[str](), "position": set[str]()}
    for place, row in enumerate(rows):
        with located(f"rows[{place}]"):
            cells = {meaning: row[column].strip() for meaning, column in columns.items() if column is not None}
            item, is_asset = item_name(cells["item"], "item")
            amount = _signed(exact(cells["amount"], "quantity"), cells.get("side", ""))
            cost = exact(cells["cost"], "cost") if cells.get("cost") else None
            line = Stated(amount, None if is_asset else cost)
            lines.add(_named(cells.get("account", ""), account), BALANCE if is_asset else POSITION, item, line)
            for meaning, stated in moments.items():
                stated.update([cells[meaning]] if cells.get(meaning) else [])
    unread = [column for column in header if column not in columns.values()]
    notes = (f"columns that are not compared: {', '.join(unread)}",) if unread else ()
    time, position = (_one(stated, meaning) for meaning, stated in moments.items())
    return Statement(
        label,
        lines.accounts,
        lines.covers(),
        position=_position_number(position) if position else None,
        time=parse_time(time) if time else None,
        notes=notes,
    )


def _csv_rows(source: str) -> tuple[list[dict[str, str]], list[str]]:
    lines = [line for line in source.splitlines() if line.strip()]
    if not lines:
        raise InputError("malformed", "CSV", "", "begin with the header line account,item,quantity")
    try:
        header, *body = csv.reader(lines, delimiter=max(_DELIMITERS, key=lines[0].count), strict=True)
    except csv.Error as error:
        raise InputError("malformed", "CSV", None, f"mend the quoting: {error}") from None
    names = [cell.strip().lower().replace(" ", "_") for cell in header]
    if len(set(names)) < len(names):
        raise InputError("duplicate-line", "CSV header", ",".join(header), "name each column once")
    for place, cells in enumerate(body):
        if len(cells) != len(names):
            advice = f"give {len(names)} cells, as the header has"
            raise InputError("malformed", f"rows[{place}]", ",".join(cells), advice)
    rows = [dict(zip(names, cells, strict=True)) for cells in body if any(cell.strip() for cell in cells)]
    return rows, names


def _column(header: Sequence[str], names: Sequence[str]) -> str | None:
    found = [name for name in header if name in names]
    if len(found) > 1:
        raise InputError("duplicate-line", "CSV header", ", ".join(found), "keep one of these columns")
    return found[0] if found else None


def _signed(amount: Decimal, side: str) -> Decimal:
    if not side or not amount:
        return amount
    sign = _SIDES.get(side.lower())
    if sign is None:
        raise InputError("malformed", "side", side, f"use one of {', '.join(_SIDES)}")
    if sign > 0 > amount:
        raise InputError(
            "malformed", "side", side, f"mend one of them: the quantity is {amount:f}", "contradicts the size"
        )
    return sign * abs(amount)


def _one(stated: set[str], meaning: str) -> str | None:
    if len(stated) > 1:
        raise InputError("malformed", meaning, sorted(stated), f"state one {meaning} in one file")
    return next(iter(stated), None)


def _position_number(value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InputError("malformed", "position", value, "give the position of a frame, a whole number from 0 on")
    return value


def _from_json(label: str, value: Any, account: str | None) -> Statement:
    if not isinstance(value, Mapping):
        return _from_list(label, value, account)
    if value.get("isolated"):
        raise InputError("malformed", "isolated", None, "state each isolated portfolio as the account that it is here")
    given = record({key: one for key, one in value.items() if key != "isolated"}, "", _JSON_FIELDS)
    lines, notes, covers = _Lines(), list[str](), set[str]()
    parts = list(_parts(given, account))
    for name, part, path in parts:
        with located(path):
            _add_part(lines, name, part)
        covers |= {what for what, field in ((BALANCE, "balances"), (POSITION, "positions")) if field in part}
        notes += ["open orders are not compared"] if part.get("orders") else []
    return Statement(
        label,
        lines.accounts | {name: {} for name, _, _ in parts if name not in lines.accounts},
        frozenset(covers),
        position=_position_number(given["position"]) if given.get("position") is not None else None,
        time=parse_time(text(given["time"], "time")) if given.get("time") is not None else None,
        complete=given.get("complete") is True,
        notes=tuple(dict.fromkeys(notes)),
    )


def _parts(given: Mapping[str, Any], account: str | None) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    """Name, content and path of each account of a statement."""
    if given.get("complete") not in (None, True, False):
        raise InputError("malformed", "complete", given["complete"], "use true or false")
    if "accounts" not in given:
        stated = given.get("account") or given.get("name") or ""
        yield _named(text(stated, "account") if stated else "", account), given, ""
        return
    beside = [field for field in ("account", "name", "balances", "positions", "orders") if field in given]
    if beside:
        raise InputError(
            "malformed", beside[0], None, "put it under the account that it is of", "stands beside accounts"
        )
    for name, part in mapping(given["accounts"], "accounts").items():
        path = f"accounts[{name}]"
        yield name, record(part, path, ("balances", "positions", "orders")), path


def _add_part(lines: _Lines, account: str, part: Mapping[str, Any]) -> None:
    for written, amount in mapping(part.get("balances"), "balances").items():
        item, is_asset = item_name(written, "balances")
        if not is_asset:
            raise InputError("malformed", f"balances[{written}]", written, "move it to the positions", "is a contract")
        lines.add(account, BALANCE, item, Stated(exact(amount, f"balances[{written}]")))
    for place, position in enumerate(sequence(part.get("positions"), "positions")):
        with located(f"positions[{place}]"):
            given = record(position, "", _POSITION_FIELDS)
            item, is_asset = item_name(given.get("instrument"), "instrument")
            if is_asset:
                raise InputError("malformed", "instrument", item, "move it to the balances", "is an asset")
            cost = None if is_absent(given.get("cost")) else exact(given["cost"], "cost")
            lines.add(account, POSITION, item, Stated(exact(given.get("quantity"), "quantity"), cost))


def _from_list(label: str, value: Any, account: str | None) -> Statement:
    """A list of positions as ccxt gives it."""
    rows: list[Row] = rows_of(value, "positions")
    if any("symbol" not in row for row in rows):
        advice = "give our JSON, CSV, Deribit's answers, or ccxt's positions"
        raise InputError("malformed", "statement", None, advice, "is a list of something else")
    lines = {(POSITION, one.instrument.name): Stated(Decimal(repr(one.quantity))) for one in from_ccxt(rows).positions}
    return Statement(label, {_named("", account): lines}, frozenset({POSITION}))
