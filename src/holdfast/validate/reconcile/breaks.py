"""Statements against the ledger: which lines differ, by how much, and how much that is in dollars.

What may not live here: why they differ (`explanations`), since when (`ages`). Specification: specs/reconcile.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from holdfast.validate.reconcile.explanations import Case, explain
from holdfast.validate.reconcile.findings import Break
from holdfast.validate.reconcile.history import History, Point
from holdfast.validate.reconcile.lines import BALANCE, COST, NET_BALANCE, POSITION, Stated, Statement
from holdfast.validate.reconcile.picture import ZERO, Account, Item, Picture


class Compared(NamedTuple):
    """What comparing a statement came to: its breaks, how many lines were compared, and what to know of it."""

    breaks: tuple[Break, ...]
    lines: int
    notes: tuple[str, ...]


class _Line(NamedTuple):
    account: str
    what: str
    item: str
    stated: Stated


def compare(
    statement: Statement,
    picture: Picture,
    history: History,
    tolerances: Mapping[str, Decimal],
    *,
    position: int,
    time: int,
) -> Compared:
    """Compare one statement.

    Args:
        statement: What is stated.
        picture: What we have: all accounts where the statement is complete, else those that it names.
        history: What is known of the past of the picture's accounts.
        tolerances: By asset or contract, main units.
        position: Of the source's end.
        time: Logical time there, ns.
    """
    breaks, count = [], 0
    for line in _lines(statement, picture, history):
        count += 1
        found = _break_of(line, statement, picture, history, tolerances, position, time)
        breaks += [] if found is None else [found]
    return Compared(tuple(breaks), count, (*statement.notes, *_notes(statement, position, time)))


def in_order(breaks: Sequence[Break]) -> tuple[Break, ...]:
    """Breaks sorted: unknown dollars first, then by falling dollars, then by names."""
    return tuple(sorted(breaks, key=lambda b: (b.dollars is not None, -(b.dollars or 0.0), b.account, b.item, b.what)))


def _notes(statement: Statement, position: int, time: int) -> Iterator[str]:
    spoken = statement.covers | {what for lines in statement.accounts.values() for what, _ in lines}
    if POSITION not in spoken:
        yield "it states no positions: none were compared"
    if not spoken & {BALANCE, NET_BALANCE}:
        yield "it states no balances: none were compared"
    if statement.position is not None and statement.position > position:
        yield f"it is of position {statement.position}, which is not reached: compared at {position}"
    elif statement.position is None and statement.time is not None and statement.time > time:
        yield f"it is of a time {(statement.time - time) / 1e9:,.3f} s after the state that it was compared with"


def _lines(statement: Statement, picture: Picture, history: History) -> Iterator[_Line]:
    """Every line that is stated, or that what is stated covers, with the cost of positions behind each."""
    accounts = list(statement.accounts)
    if statement.complete:
        accounts += [name for name in picture.accounts if name not in statement.accounts]
    for account in accounts:
        stated = dict(statement.accounts.get(account, {}))
        for item in history.items(account):
            for what in _covering(statement, picture.items.get(item)):
                stated.setdefault((what, item), Stated(ZERO))
        for (what, item), line in stated.items():
            yield _Line(account, what, item, line)
            if line.cost is not None:
                yield _Line(account, COST, item, Stated(line.cost))


def _covering(statement: Statement, item: Item | None) -> Sequence[str]:
    if item is None:
        return ()
    kinds = (BALANCE, NET_BALANCE) if item.is_asset else (POSITION,)
    return [what for what in kinds if what in statement.covers]


def figure(point: Point, what: str) -> Decimal:
    """The figure of a point that a line is compared with."""
    return {BALANCE: point.amount, POSITION: point.amount, COST: point.cost, NET_BALANCE: point.amount - point.cost}[
        what
    ]


def _break_of(
    line: _Line,
    statement: Statement,
    picture: Picture,
    history: History,
    tolerances: Mapping[str, Decimal],
    end: int,
    time: int,
) -> Break | None:
    account, item = picture.accounts.get(line.account), picture.items.get(line.item)
    if account is None or item is None:
        return _unknown(line, statement, item, account, end, time) if line.stated.amount else None
    priced = item if line.what == POSITION else picture.items[item.settlement]
    point = history.at(line.account, line.item, statement.moment)
    known = point or history.first(line.account, line.item) or Point(account.position, account.time, ZERO, ZERO)
    ours, theirs = figure(known, line.what), line.stated.amount
    allowed = tolerances.get(priced.name, ZERO) + line.stated.resolution
    if abs(ours - theirs) <= allowed:
        return None
    case = Case(line.account, line.what, item, ours, theirs, allowed, statement.moment, time, picture, history)
    found = explain(case, lambda one: figure(one, line.what))
    position = _position(statement, account, known)
    return Break(
        statement=statement.label,
        account=line.account,
        item=line.item,
        what=line.what,
        unit=_unit(line.what, item),
        ours=ours,
        theirs=theirs,
        difference=ours - theirs,
        dollars=None if priced.value is None else abs(float(ours - theirs) * priced.value),
        position=position,
        time=account.time if position == account.position else known.time,
        code=found.code,
        explanation=found.text,
        note="" if point else f"what was there before position {known.position} is not known",
    )


def _position(statement: Statement, account: Account, known: Point) -> int:
    """Of the state that was compared with; of a statement of a time, since when our figure holds."""
    if statement.position is not None:
        return max(known.position, min(statement.position, account.position))
    return known.position if statement.time is not None and statement.time < account.time else account.position


def _unit(what: str, item: Item) -> str:
    return item.settlement if what == COST else item.unit


def _unknown(
    line: _Line, statement: Statement, item: Item | None, account: Account | None, end: int, time: int
) -> Break:
    """A line on an account or item that we do not have."""
    code = "unknown-account" if account is None else "unknown-item"
    text = f"there is no account {line.account} here" if account is None else f"{line.item} is not defined here"
    value = None if item is None or line.what == COST else item.value
    return Break(
        statement=statement.label,
        account=line.account,
        item=line.item,
        what=line.what,
        unit="" if item is None else _unit(line.what, item),
        ours=None,
        theirs=line.stated.amount,
        difference=-line.stated.amount,
        dollars=None if value is None else abs(float(line.stated.amount) * value),
        position=end if account is None else account.position,
        time=time,
        code=code,
        explanation=text,
    )
