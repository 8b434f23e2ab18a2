"""The process of a node's exact engine, which the node starts: `python -m holdfast.replica.witnessing.third`.

It is given everything that it needs with each question (prices, contracts, parameters, the holdings of a few accounts,
the values of a risk table), works it out in fractions, and answers when it is done, after milliseconds or half a
minute. It keeps the exact tables of the last mark. What may not live here: a log, a state, what follows from an answer.
"""

import os
import sys
import time
from typing import Any, BinaryIO, Final

from holdfast.domain.errors import HoldfastError
from holdfast.replica.witnessing.messages import LENGTH_SIZE, Bounds, Examine, Examined, encoded, to_third, values_of
from holdfast.witness import exact

NICE: Final = 15


def main(source: BinaryIO, target: BinaryIO) -> None:
    """Answer questions until the input ends."""
    os.nice(NICE)
    tables = _Tables()
    while len(head := source.read(LENGTH_SIZE)) == LENGTH_SIZE:
        length = int.from_bytes(head, "little")
        content = source.read(length)
        if not length or len(content) < length:
            return
        target.write(encoded(examined(to_third.decode(content), tables)))
        target.flush()


class _Tables:
    """The exact tables of one set of prices."""

    def __init__(self) -> None:
        self._of: tuple[object, ...] = ()
        self._tables: dict[str, exact.Table] = {}

    def table(self, question: Examine, model: str) -> exact.Table:
        """The exact table of a model."""
        of = question.time, sorted(question.frozen.items()), question.models_digest
        if of != self._of:
            self._of, self._tables = of, {}
        if model not in self._tables:
            self._tables[model] = exact.table(_inputs(question), model)
        return self._tables[model]


def examined(question: Examine, tables: _Tables | None = None) -> Examined:
    """The answer to a question."""
    began, tables = time.monotonic(), tables or _Tables()
    problems: list[str] = []
    bounds: list[Bounds] = []
    for one in question.accounts:
        try:
            orders = [exact.Order(item, amount, price) for item, amount, price in one.orders]
            found = exact.margin(tables.table(question, one.model), one.holdings, orders)
        except (HoldfastError, ValueError, ArithmeticError, LookupError) as error:
            problems.append(f"account {one.account} cannot be worked out: {type(error).__name__}: {error}")
            continue
        figures = (found.equity, found.initial, found.maintenance)
        bounds.append(Bounds(one.account, *((float(each.low), float(each.high)) for each in figures)))
    compared, ulps = 0, 0.0
    if question.certified:
        try:
            compared, ulps, wrong = _certified(question, tables.table(question, question.certified))
            problems += wrong
        except (HoldfastError, ValueError, ArithmeticError, LookupError) as error:
            problems.append(f"the table of {question.certified} cannot be worked out: {type(error).__name__}: {error}")
    return Examined(question.ticket, tuple(bounds), compared, ulps, tuple(problems), time.monotonic() - began)


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
