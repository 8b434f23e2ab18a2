"""One side of a line's book, and the sheet that a plan is worked out on: arrays that compiled code reads.

What lives here: what can be given wrongly is refused here, and turned into numbers per unit: what a level costs against
today's value, how much of it a position can use, whole lots. What may not: the choice of reductions.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from holdfast.compilation import compiled
from holdfast.domain.errors import InputError, invariant
from holdfast.domain.instruments import lot
from holdfast.margin.account import Account
from holdfast.margin.table import Floats, Integers, LineTag, RiskTable

Counts = NDArray[np.int64]
Lots: TypeAlias = Mapping[int, Decimal | Fraction]
"""Smallest quantity of a line that trades, in the line's unit, where it differs from `instruments.lot`."""
Fees: TypeAlias = float | Mapping[int, float]
"""Fee per numeraire unit of value traded: one rate, or one for each line that has a book."""

SIZE_PENALTY = 1e-6
"""Burden per numeraire unit of value traded: of two plans that cost the same, the smaller one (LQP-4)."""
GRID_TOLERANCE = 1e-9
"""A quantity within this part of a lot of a whole number of lots is that number."""
LOTS_MAX = 2.0**53
"""Up to here floats count lots one by one."""


@dataclass(frozen=True)
class Depth:
    """One side of one line's book, best level first: bids where a position is sold, asks where it is bought back.

    Attributes:
        quantity: [levels] > 0, in the line's unit.
        price: [levels] value of one unit in the numeraire that a sale receives or a purchase pays. Below 0 for inverse
            contracts, whose unit values are (TAB-1).
    """

    quantity: Floats
    price: Floats

    def __post_init__(self) -> None:
        for name in ("quantity", "price"):
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name), np.float64))
        if self.quantity.ndim != 1 or self.quantity.shape != self.price.shape:
            shapes = (self.quantity.shape, self.price.shape)
            raise InputError("malformed", "depth", shapes, "give one quantity and one price per level")
        if not (np.isfinite(self.quantity).all() and np.isfinite(self.price).all()):
            raise InputError("not-a-number", "depth", None, "give finite quantities and prices")
        if self.quantity.min(initial=math.inf) <= 0.0:
            advice = "leave out levels with nothing in them"
            raise InputError("out-of-range", "depth.quantity", float(self.quantity.min()), advice)


class Sheet(NamedTuple):
    """What compiled code reads: n positions with settlement assets, m reducible lines, K levels of their books.

    Attributes:
        line: [n] int32, ascending.
        quantity: [n] today.
        position: [m] index into `line` of each reducible line.
        cash: [m] index into `line` of the asset it settles in.
        sign: [m] of the position.
        size: [m] |quantity|.
        today: [m] value of one unit today, numeraire.
        coin: [m] value of one unit of the settlement asset, numeraire, > 0.
        lot: [m, 2] numerator and denominator of one lot.
        lots: [m] int64, most lots that may be taken; the last one may reach beyond the position and is then cut.
        first: [m + 1] first level of each line.
        depth: [K] quantity of each level that can be used.
        loss: [K] today's value less what the level gives, per unit, fee included, numeraire.
        burden: [K] what the plan minimises, per unit (LQP-4).
    """

    line: Integers
    quantity: Floats
    position: Counts
    cash: Counts
    sign: Floats
    size: Floats
    today: Floats
    coin: Floats
    lot: Floats
    lots: Counts
    first: Counts
    depth: Floats
    loss: Floats
    burden: Floats


class _Row(NamedTuple):
    """One reducible line, before its book is read; attributes as in `Sheet`."""

    position: int
    cash: int
    sign: float
    size: float
    today: float
    coin: float
    lot: tuple[float, float]
    fee: float
    book: Depth


def sheet_of(table: RiskTable, account: Account, books: Mapping[int, Depth], fee_rate: Fees, lots: Lots) -> Sheet:
    """The sheet of an account; lines without a book, without a position, or with less than a lot to take are left out.

    Args:
        table: The risk table.
        account: Positions, ascending by line.
        books: The side that reduces the position, by line; books of lines that are not held are not read.
        fee_rate: Fee per numeraire unit of value traded, 0 ≤ rate < 1: one, or by line.
        lots: Lots that differ from `instruments.lot`, by line.

    Raises:
        InputError: The fee rate is out of range, a book's levels are not best first, or a lot is not above 0.
    """
    settled = _with_settlement_assets(table, account, books)
    place = {line: n for n, line in enumerate(settled.line.tolist())}
    invariant(len(place) == len(settled.line), "an account has a line twice")
    today = table.arrays.today.tolist()
    held = zip(account.line.tolist(), account.quantity.tolist(), strict=True)
    rows = [
        _row(table, place, today, line, quantity, books[line], _fee_of(line, fee_rate), lots)
        for line, quantity in held
        if quantity != 0.0 and line in books and table.instruments[line] is not None and len(books[line].quantity)
    ]
    return _sheet(table, settled, [row for row in rows if row.coin > 0.0])


def settlement_line(table: RiskTable, line: int) -> int:
    """The line of the asset that a contract's line settles in."""
    return table.line_of_asset[table.assets[int(table.arrays.tags[line, LineTag.ASSET])]]


def _with_settlement_assets(table: RiskTable, account: Account, books: Mapping[int, Depth]) -> Account:
    """The account with a place for every asset that reductions are paid in."""
    held = set(account.line.tolist())
    paid_in = {settlement_line(table, line) for line in books if line in held}
    return account.with_change(dict.fromkeys(paid_in - held, 0.0)) if paid_in - held else account


def _row(
    table: RiskTable,
    place: Mapping[int, int],
    today: list[float],
    line: int,
    quantity: float,
    book: Depth,
    fee: float,
    lots: Lots,
) -> _Row:
    cash = settlement_line(table, line)
    sign, lot_size = math.copysign(1.0, quantity), _lot_of(table, line, lots)
    return _Row(place[line], place[cash], sign, abs(quantity), today[line], today[cash], lot_size, fee, book)


def _fee_of(line: int, rates: Fees) -> float:
    rate = rates if isinstance(rates, float | int) else rates[line]
    if not 0.0 <= rate < 1.0:
        raise InputError("out-of-range", "fee_rate", rate, "give a fraction of the value traded, from 0 to below 1")
    return float(rate)


def _lot_of(table: RiskTable, line: int, lots: Lots) -> tuple[float, float]:
    instrument = table.instruments[line]
    invariant(instrument is not None, f"line {line} is an asset and has no lot")
    size = lots[line] if line in lots else lot(instrument)  # type: ignore[arg-type]
    if not size > 0:
        raise InputError("out-of-range", f"lots[{table.line_names[line]}]", size, "give a lot above 0")
    numerator, denominator = size.as_integer_ratio()
    return float(numerator), float(denominator)


def _sheet(table: RiskTable, account: Account, rows: list[_Row]) -> Sheet:
    """The arrays of the rows of which at least a lot can be taken."""
    position, cash, sign, size, today, coin, lot_sizes, fees, given = zip(*rows, strict=True) if rows else ((),) * 9
    count = len(rows)
    sheet = Sheet(
        line=account.line,
        quantity=account.quantity,
        position=np.array(position, np.int64),
        cash=np.array(cash, np.int64),
        sign=np.array(sign, np.float64),
        size=np.array(size, np.float64),
        today=np.array(today, np.float64),
        coin=np.array(coin, np.float64),
        lot=np.array(lot_sizes, np.float64).reshape(count, 2),
        lots=np.zeros(count, np.int64),
        first=np.cumsum([0, *(len(book.quantity) for book in given)]).astype(np.int64),
        depth=np.concatenate([book.quantity for book in given] or [np.zeros(0)]),
        loss=np.concatenate([book.price for book in given] or [np.zeros(0)]),
        burden=np.zeros(sum(len(book.quantity) for book in given)),
    )
    disordered = read_books(sheet, np.array(fees, np.float64), GRID_TOLERANCE, SIZE_PENALTY)
    if disordered >= 0:
        worst = next(n for n in range(count) if sheet.first[n] <= disordered < sheet.first[n + 1])
        name = table.line_names[int(account.line[sheet.position[worst]])]
        advice = f"give the levels best first, prices {'falling (bids)' if sign[worst] > 0.0 else 'rising (asks)'}"
        worse = float(given[worst].price[disordered - sheet.first[worst]])
        raise InputError("out-of-range", f"books[{name}].price", worse, advice, "is better than the level before it")
    invariant(bool((sheet.lots <= LOTS_MAX).all()), "a position has more lots than floats can count")
    return _without_unused(sheet)


@compiled
def read_books(sheet: Sheet, fee_rate: Floats, tolerance: float, penalty: float) -> int:
    """Turn the sheet's quantities and prices per level into depth, loss and burden, and count the lots to be taken.

    Args:
        sheet: With `depth` the quantities and `loss` the prices of the books; overwritten, as are `lots` and `burden`.
        fee_rate: [m] fee per numeraire unit of value traded.
        tolerance: `GRID_TOLERANCE`.
        penalty: `SIZE_PENALTY`.

    Returns:
        The first level that is better than the one before it, −1 if there is none.
    """
    for i in range(len(sheet.size)):
        begin, end, sign, size = sheet.first[i], sheet.first[i + 1], sheet.sign[i], sheet.size[i]
        reach = 0.0
        for k in range(begin, end):
            reach += sheet.depth[k]
        numerator, denominator = sheet.lot[i, 0], sheet.lot[i, 1]
        count = np.ceil(size * denominator / numerator - tolerance)
        if reach < size * (1.0 - tolerance):
            count = min(count, np.floor(reach * denominator / numerator + tolerance))
        sheet.lots[i] = int(count)
        left, before = min(size, count * numerator / denominator), sheet.loss[begin]
        for k in range(begin, end):
            price = sheet.loss[k]
            if sign * (price - before) > 0.0:
                return k
            before = price
            sheet.loss[k] = sign * (sheet.today[i] - price) + fee_rate[i] * abs(price)
            sheet.burden[k] = max(0.0, sheet.loss[k]) + penalty * abs(sheet.today[i])
            sheet.depth[k] = min(left, sheet.depth[k])
            left -= sheet.depth[k]
    return -1


def _without_unused(sheet: Sheet) -> Sheet:
    """The sheet without lines of which no lot can be taken and without levels that no reduction reaches."""
    lines, levels = sheet.lots > 0, sheet.depth > 0.0
    if lines.all() and levels.all():
        return sheet
    used = np.add.reduceat(levels.astype(np.int64), sheet.first[:-1])[lines]
    by_line = {name: getattr(sheet, name)[lines] for name in Sheet._fields[2:10]}
    by_level = {name: getattr(sheet, name)[levels] for name in ("depth", "loss", "burden")}
    first = np.concatenate(([0], np.cumsum(used)))
    return sheet._replace(first=first, **by_line, **by_level)
