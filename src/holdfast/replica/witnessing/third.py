"""The process of a node's exact engine, which the node starts: `python -m holdfast.replica.witnessing.third`.

It is given everything that it needs with each question (prices, contracts, parameters, the holdings of some accounts,
the values of a risk table), works it out in fractions, and answers when it is done, after milliseconds or some seconds.
It keeps the exact tables of the last mark. What may not live here: a log, a state, what follows from an answer.
"""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import inf, nan, nextafter
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np

from holdfast.domain.errors import HoldfastError
from holdfast.replica.witnessing.messages import (
    LENGTH_SIZE,
    Examine,
    Examined,
    Holdings,
    array_of,
    encoded,
    to_third,
    values_of,
)
from holdfast.witness import exact

NICE: Final = 15
ACCOUNTS_SECONDS_MAXIMUM: Final = 15.0
"""After which a question's remaining accounts are left: the node chose as many as were to take a third of it."""
PROBLEMS_MAXIMUM: Final = 20
_FAILURES = (HoldfastError, ValueError, ArithmeticError, LookupError)
_UNKNOWN: Final = ((nan, nan),) * 3

Bounds = tuple[tuple[float, float], ...]


class Holding(NamedTuple):
    """An account: model, amount and cost by item, open orders."""

    account: int
    model: str
    rows: dict[str, tuple[int, int]]
    orders: list[exact.Order]


def main(source: BinaryIO, target: BinaryIO) -> None:
    """Answer questions until the input ends."""
    os.nice(NICE)
    tables = Tables()
    while len(head := source.read(LENGTH_SIZE)) == LENGTH_SIZE:
        length = int.from_bytes(head, "little")
        content = source.read(length)
        if not length or len(content) < length:
            return
        target.write(encoded(examined(to_third.decode(content), tables)))
        target.flush()


class Tables:
    """The exact tables of one set of prices."""

    def __init__(self) -> None:
        self._of: tuple[object, ...] = ()
        self._tables: dict[str, exact.Table] = {}

    def table(self, question: Examine, model: str) -> exact.Table:
        """The exact table of a model."""
        of = question.time, question.frozen, question.models_digest, question.contracts, question.assets
        if of != self._of:
            self._of, self._tables = of, {}
        if model not in self._tables:
            self._tables[model] = exact.table(_inputs(question), model)
        return self._tables[model]


def examined(question: Examine, tables: Tables | None = None) -> Examined:
    """The answer to a question."""
    began, tables = time.monotonic(), tables or Tables()
    problems: list[str] = []
    bounds, accounts_seconds = _examined_accounts(question, tables, problems)
    compared, ulps = 0, 0.0
    if question.certified:
        try:
            compared, ulps, wrong = _certified(question, tables.table(question, question.certified))
            problems += wrong
        except _FAILURES as error:
            problems.append(f"the table of {question.certified} cannot be worked out: {type(error).__name__}: {error}")
    found = array_of(np.array(bounds, np.float64).reshape(-1, 3, 2))
    words = tuple(problems[:PROBLEMS_MAXIMUM])
    return Examined(question.ticket, found, compared, ulps, words, time.monotonic() - began, accounts_seconds)


def _examined_accounts(question: Examine, tables: Tables, problems: list[str]) -> tuple[list[Bounds], float]:
    """Bounds of as many accounts as time allows, and the seconds they took without tables."""
    bounds: list[Bounds] = []
    seconds = 0.0
    for one in holdings_of(question):
        try:
            table = tables.table(question, one.model)
            began = time.monotonic()
            found = exact.margin(table, one.rows, one.orders)
            bounds.append(tuple(map(_doubles, (found.equity, found.initial, found.maintenance))))
            seconds += time.monotonic() - began
        except _FAILURES as error:
            problems.append(f"account {one.account} cannot be worked out: {type(error).__name__}: {error}")
            bounds.append(_UNKNOWN)
        if seconds > ACCOUNTS_SECONDS_MAXIMUM:
            break
    return bounds, seconds


def _doubles(interval: exact.Interval) -> tuple[float, float]:
    """The nearest doubles around an interval."""
    low, high = float(interval.low), float(interval.high)
    return (
        low if Fraction(low) <= interval.low else nextafter(low, -inf),
        high if Fraction(high) >= interval.high else nextafter(high, inf),
    )


def holdings_of(question: Examine) -> Iterator[Holding]:
    """The accounts of a question, in its order."""
    held: Holdings = question.holdings
    items, models = question.items, list(question.models)
    rows, orders = values_of(held.rows).tolist(), values_of(held.orders).tolist()
    row = order = 0
    accounts, places = values_of(held.accounts).tolist(), values_of(held.models).tolist()
    for account, model, (count, placed) in zip(accounts, places, values_of(held.counts).tolist(), strict=True):
        own = {items[item]: (amount, cost) for item, amount, cost in rows[row : row + count]}
        yield Holding(account, models[model], own, _orders(items, orders[order : order + placed]))
        row, order = row + count, order + placed


def _orders(items: Sequence[str], orders: Sequence[tuple[int, int, int]]) -> list[exact.Order]:
    return [exact.Order(items[item], lots, price) for item, lots, price in orders]


def _certified(question: Examine, table: exact.Table) -> tuple[int, float, list[str]]:
    claims: dict[str, Any] = {}
    for name, array in question.values.items():
        today, *rest = values_of(array).tolist()
        claims[name] = (today, rest)
    found = exact.certify(table, claims)
    return found.values, found.ulps, [f"table of {question.certified}: {problem}" for problem in found.problems]


def _inputs(question: Examine) -> exact.Inputs:
    return exact.Inputs(
        [exact.Asset(name, decimals) for name, decimals in question.assets],
        [exact.contract(*one) for one in question.contracts],
        question.models,
        question.frozen,
        question.time,
    )


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
