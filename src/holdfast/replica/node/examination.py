"""What a node has its exact engine examine, and what follows from the answers. No clock of its own, no I/O.

Theory of operation. One question is under way at a time. After a frame with a mark, if none is, the exact engine is
given the accounts that wait for a quorum or are being liquidated, one more in turn as a sample, and the values of one
model's risk table, in turn, to certify. The first engine's numbers are kept meanwhile. What lies outside the exact
bounds by more than the tolerance is reported, and stops what was to happen to the account (specs/quorum.md, QRM-22).

What may not live here: the pipe, exact arithmetic. Normative: specs/cluster-node.md.
"""

import hashlib
from collections import deque
from typing import Any, Final

import msgspec
import numpy as np

from holdfast.core.agreement import tolerance
from holdfast.core.fold import Applied, Fold
from holdfast.core.leaves import open_orders
from holdfast.core.margins import figures_of
from holdfast.core.state import SYSTEM_ACCOUNTS, Account, Counter, Item, Price, Status
from holdfast.domain.commands import AccountDifference, ReportDiscrepancy, SetRules
from holdfast.margin.table import RiskTable
from holdfast.replica.witnessing.messages import Array, Bounds, Examine, Examined, Holding, array_of

ACCOUNTS_MAXIMUM: Final = 16
"""Accounts of one question: the answer is to come within a minute."""
_ACTED_ON = (Status.LIQUIDATING, Status.BREACH_PENDING)


class Examination:
    """One node's view of its exact engine.

    Attributes:
        absent: Why there is none at the moment; empty while there is one.
        accounts: Accounts examined so far.
        values: Values of risk tables certified so far.
        ulps: The largest distance of one of them from the exact value, in spacings of doubles.
        seconds: That the last answer took.
        problems: The latest that did not fit.
    """

    def __init__(self) -> None:
        self.absent = "it has not started"
        self.accounts = self.values = 0
        self.ulps = self.seconds = 0.0
        self.problems: deque[str] = deque(maxlen=8)
        self._out: list[Examine] = []
        self._asked: tuple[Examine, int, int, dict[int, AccountDifference]] | None = None
        self._reports: deque[ReportDiscrepancy] = deque(maxlen=4)
        self._rules = SetRules()
        self._ticket = 0

    def started(self) -> None:
        """There is an exact engine now."""
        self.absent, self._asked = "", None
        self._out.clear()

    def ended(self, why: str) -> None:
        """There is none any more, for now."""
        self.absent, self._asked = why, None
        self._out.clear()

    def folded(self, fold: Fold, applied: Applied) -> None:
        """A frame was folded."""
        if self.absent or self._asked is not None or not applied.marks or not fold.machine.marked.tables:
            return
        accounts = self._chosen(fold)
        self._ticket += 1
        question = _question(fold, self._ticket, accounts)
        mark = fold.machine.registry.marks[-1]
        self._rules = fold.machine.registry.rules
        figures = figures_of(fold.machine.state, fold.machine.marked.arrays, np.array(accounts, np.int64))
        kept = {}
        for account, numbers in zip(accounts, figures.tolist(), strict=True):
            version = int(fold.machine.state.accounts[account, Account.VERSION])
            first, second, third = numbers
            kept[account] = AccountDifference(account, version, (first, second, third), (0.0, 0.0, 0.0))
        self._asked = question, mark.position, mark.price_id, kept
        self._out.append(question)

    def answered(self, answer: Examined) -> None:
        """The exact engine answered."""
        if self._asked is None or answer.ticket != self._asked[0].ticket:
            return
        _, position, price_id, kept = self._asked
        self._asked = None
        self.accounts, self.values = self.accounts + len(answer.accounts), self.values + answer.values
        self.ulps, self.seconds = max(self.ulps, answer.ulps), answer.seconds
        self.problems.extend(answer.problems)
        rows = [row for bounds in answer.accounts if (row := self._outside(kept[bounds.account], bounds)) is not None]
        if rows:
            ordered = tuple(sorted(rows, key=lambda row: row.account))
            self._reports.append(ReportDiscrepancy(-1, position, price_id, "exact", len(rows), ordered))

    def messages(self) -> list[Examine]:
        """What is to be sent to the exact engine."""
        out, self._out = self._out, []
        return out

    def report(self, fold: Fold, replica: int) -> ReportDiscrepancy | None:
        """The next report of accounts outside the exact bounds; None where there is none."""
        while self._reports:
            report = self._reports.popleft()
            if any(mark.position == report.position for mark in fold.machine.registry.marks):
                return msgspec.structs.replace(report, replica=replica)
        return None

    def _chosen(self, fold: Fold) -> list[int]:
        """Accounts to examine: those that are acted on, and one in turn."""
        state = fold.machine.state
        count = int(state.counters[Counter.ACCOUNTS])
        status = state.accounts[:count, Account.STATUS]
        found = [n for one in _ACTED_ON for n in np.flatnonzero(status == int(one)).tolist()][: ACCOUNTS_MAXIMUM - 1]
        if count > SYSTEM_ACCOUNTS:
            found.append(SYSTEM_ACCOUNTS + self._ticket % (count - SYSTEM_ACCOUNTS))
        return sorted(set(found))

    def _outside(self, row: AccountDifference, bounds: Bounds) -> AccountDifference | None:
        """The row with the nearest numbers within the bounds, if the first engine's lie outside by too much."""
        allowed = tolerance(self._rules, row.first[2])
        ranges = (bounds.equity, bounds.initial, bounds.maintenance)
        equity, initial, maintenance = (
            min(max(a, low), high) for a, (low, high) in zip(row.first, ranges, strict=True)
        )
        nearest = (equity, initial, maintenance)
        if all(abs(a - b) <= allowed for a, b in zip(row.first, nearest, strict=True)):
            return None
        return msgspec.structs.replace(row, second=nearest)


def _question(fold: Fold, ticket: int, accounts: list[int]) -> Examine:
    machine = fold.machine
    state, registry, marked = machine.state, machine.registry, machine.marked
    models = {model.name: msgspec.to_builtins(model.parameters) for model in registry.models}
    certified = ticket % len(registry.models)
    names = [definition.name for definition in registry.items]
    prices = state.prices[: len(names), Price.MARKED].tolist()
    contracts = [
        (number, one.name, one.lot, one.decimals)
        for number, one in enumerate(registry.items)
        if one.instrument is not None and state.items[number, Item.OPEN]
    ]
    orders = open_orders(state) if accounts else np.zeros((0, 6), np.int64)
    return Examine(
        ticket=ticket,
        time=marked.market.time,
        assets=[(one.name, one.decimals) for one in registry.items if one.instrument is None],
        contracts=contracts,
        models=models,
        models_digest=hashlib.sha256(msgspec.msgpack.encode(models, order="sorted")).digest(),
        frozen={name: price for name, price in zip(names, prices, strict=True) if price},
        accounts=[_holding(fold, account, names, orders) for account in accounts],
        certified=registry.models[certified].name,
        values=_values(marked.tables[certified]),
    )


def _holding(fold: Fold, account: int, names: list[str], orders: Any) -> Holding:
    state = fold.machine.state
    row = state.accounts[account]
    begin, end = int(row[Account.START]), int(row[Account.START]) + int(row[Account.COUNT])
    holdings = {
        names[int(state.row_item[k])]: (int(state.ledger[k, 0]), int(state.ledger[k, 1])) for k in range(begin, end)
    }
    own = orders[orders[:, 1] == account]
    placed = [(names[item], lots, price) for item, lots, price in own[:, 3:6].tolist()]
    return Holding(account, fold.machine.registry.models[int(row[Account.MODEL])].name, holdings, placed)


def _values(table: RiskTable) -> dict[str, Array]:
    """By line, its value today, in the scenarios, and the two of its basis contingency."""
    arrays, scenarios, basis = table.arrays, len(table.scenarios), len(table.basis_scenarios)
    return {
        name: array_of(
            np.concatenate(([arrays.today[line]], arrays.values[line, :scenarios], arrays.basis[line, :basis]))
        )
        for line, name in enumerate(table.line_names)
    }
