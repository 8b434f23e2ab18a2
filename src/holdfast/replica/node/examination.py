"""What a node has its exact engine examine, and what follows from the answers. No clock of its own, no I/O.

Theory of operation. One question is under way at a time. At a frame with a mark, if none is, the exact engine is given
the accounts that wait for a quorum or are being liquidated and were not yet examined as they are, some more in turn as
a sample, and the values of one model's risk table, in turn, to certify. A question holds as many accounts as are worked
out in some seconds, so that what the first answers tell stops what the last accounts wait for. While accounts or tables
are left, the next question follows the answer at the next frame, if what the mark froze still holds. The first engine's
numbers are kept meanwhile. What lies outside the exact bounds by more than the tolerance is reported, and stops what
was to happen to the account (specs/quorum.md, QRM-22).

What may not live here: the pipe, exact arithmetic. Normative: specs/cluster-node.md.
"""

import hashlib
from collections import deque
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from holdfast.core.agreement import tolerance
from holdfast.core.fold import Applied, Fold
from holdfast.core.margins import figures_of
from holdfast.core.state import NONE, SYSTEM_ACCOUNTS, Account, Counter, Item, Open, Price, State, Status
from holdfast.domain.commands import AccountDifference, ReportDiscrepancy, SetRules
from holdfast.margin.table import RiskTable
from holdfast.replica.witnessing.messages import Array, Examine, Examined, Holdings, array_of, values_of

ACCOUNTS_FIRST: Final = 64
"""Accounts acted on in the first question; later ones hold as many as take QUESTION_S."""
ACCOUNTS_MAXIMUM: Final = 4_096
"""The node's loop makes such a question in under 50 ms."""
QUESTION_S: Final = 5.0
SAMPLE: Final = 1
"""Accounts examined in turn beside those that are acted on."""
SAMPLE_IDLE: Final = 16
"""The same where none is acted on."""
REPORT_MAXIMUM: Final = 512
"""Accounts of one report (QRM-21)."""
REPORTS_MAXIMUM: Final = 2 * -(-ACCOUNTS_MAXIMUM // REPORT_MAXIMUM)
_ACTED_ON: Final = (Status.LIQUIDATING, Status.BREACH_PENDING)

Numbers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class _Asked(NamedTuple):
    """A question under way.

    Attributes:
        ticket: Of it.
        position: Of the mark.
        price_id: Of the mark.
        rules: By which differences count.
        accounts: [n] numbers.
        versions: [n] of the accounts.
        figures: [n, 3] the first engine's numbers.
        acted_on: How many of the first accounts are acted on; the others are a sample.
    """

    ticket: int
    position: int
    price_id: int
    rules: SetRules
    accounts: Numbers
    versions: Numbers
    figures: Floats
    acted_on: int


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
        self._asked: _Asked | None = None
        self._reports: deque[ReportDiscrepancy] = deque(maxlen=REPORTS_MAXIMUM)
        self._size = ACCOUNTS_FIRST
        self._ticket = self._sampled = self._turn = 0
        self._seen = np.zeros(0, np.int64)
        self._mark: tuple[object, ...] = ()
        self._template: Examine | None = None
        self._uncertified = 0
        self._goes_on = False

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
        if self.absent or not fold.machine.marked.tables:
            return
        if applied.marks:
            self._mark, self._template, self._goes_on = _frozen(fold), None, True
            self._uncertified = len(fold.machine.registry.models)
        if self._goes_on and self._asked is None and _frozen(fold) == self._mark:
            self._ask(fold)

    def answered(self, answer: Examined) -> None:
        """The exact engine answered."""
        asked = self._asked
        if asked is None or answer.ticket != asked.ticket:
            return
        self._asked = None
        bounds = values_of(answer.bounds)
        examined = min(len(bounds), asked.acted_on)
        self._seen[asked.accounts[:examined]] = asked.versions[:examined]
        self.accounts, self.values = self.accounts + len(bounds), self.values + answer.values
        self.ulps, self.seconds = max(self.ulps, answer.ulps), answer.seconds
        self.problems.extend(answer.problems)
        if len(bounds):
            fitting = QUESTION_S * len(bounds) / max(answer.accounts_seconds, 1e-9)
            self._size = int(min(max(fitting, 1), ACCOUNTS_MAXIMUM))
        self._report(asked, bounds)

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

    def _ask(self, fold: Fold) -> None:
        """Ask what is left, if anything is."""
        waiting = self._waiting(fold.machine.state)
        models = len(fold.machine.registry.models)
        # One model at each mark, whatever waits; the others when nothing does.
        certifies = self._uncertified == models or (self._uncertified > 0 and not len(waiting))
        if not certifies and not len(waiting):
            self._goes_on = False
            return
        acted_on = waiting[: self._size]
        chosen = self._with_sample(fold.machine.state, acted_on)
        certified = NONE
        if certifies:
            certified, self._turn, self._uncertified = self._turn % models, self._turn + 1, self._uncertified - 1
        self._ticket += 1
        self._out.append(self._question(fold, chosen, certified))
        mark = fold.machine.registry.marks[-1]
        state, rules = fold.machine.state, fold.machine.registry.rules
        figures = figures_of(state, fold.machine.marked.arrays, chosen)
        versions = state.accounts[chosen, Account.VERSION]
        self._asked = _Asked(
            self._ticket, mark.position, mark.price_id, rules, chosen, versions, figures, len(acted_on)
        )

    def _waiting(self, state: State) -> Numbers:
        """Accounts that are acted on and not examined as they are, in the order in which they are to be.

        Those being liquidated come first; among equals those that never were examined, so that accounts that change all
        the time do not keep others waiting; then the lowest number. An account that is let go is forgotten.
        """
        count = int(state.counters[Counter.ACCOUNTS])
        status = state.accounts[:count, Account.STATUS]
        liquidating, pending = (np.flatnonzero(status == int(one)) for one in _ACTED_ON)
        seen = np.full(count, NONE, np.int64)
        found = np.concatenate((liquidating, pending))
        known = found[found < len(self._seen)]
        seen[known] = self._seen[known]
        self._seen = seen
        due = found[seen[found] != state.accounts[found, Account.VERSION]]
        order = np.lexsort((due, seen[due] != NONE, status[due] != int(Status.LIQUIDATING)))
        ordered: Numbers = due[order]
        return ordered

    def _with_sample(self, state: State, accounts: Numbers) -> Numbers:
        """The accounts, and some more in turn that are not among them."""
        clients = int(state.counters[Counter.ACCOUNTS]) - SYSTEM_ACCOUNTS
        size = min(SAMPLE if len(accounts) else SAMPLE_IDLE, clients)
        sample = SYSTEM_ACCOUNTS + (self._sampled + np.arange(size)) % max(clients, 1)
        self._sampled += size
        return np.concatenate((accounts, sample[~np.isin(sample, accounts)]))

    def _question(self, fold: Fold, accounts: Numbers, certified: int) -> Examine:
        registry, marked = fold.machine.registry, fold.machine.marked
        if self._template is None:
            self._template = _template(fold)
        return msgspec.structs.replace(
            self._template,
            ticket=self._ticket,
            holdings=_holdings(fold.machine.state, accounts),
            certified="" if certified == NONE else registry.models[certified].name,
            values={} if certified == NONE else _values(marked.tables[certified]),
        )

    def _report(self, asked: _Asked, bounds: Floats) -> None:
        """Put accounts outside their bounds into reports, those that were asked for first in the first."""
        first = asked.figures[: len(bounds)]
        is_number = np.isfinite(first).all(axis=1)
        for account in asked.accounts[: len(bounds)][~is_number].tolist():
            self.problems.append(f"account {account} has no finite numbers by the first engine")
        nearest = np.clip(first, bounds[:, :, 0], bounds[:, :, 1])
        off = np.abs(first - nearest)
        rows = []
        for place in np.flatnonzero(is_number & (off > tolerance(asked.rules, 0.0)).any(axis=1)).tolist():
            figures = first[place].tolist()
            if off[place].max() > tolerance(asked.rules, figures[2]):
                account, version = int(asked.accounts[place]), int(asked.versions[place])
                rows.append(AccountDifference(account, version, _three(figures), _three(nearest[place].tolist())))
        for begin in range(0, len(rows), REPORT_MAXIMUM):
            some = tuple(sorted(rows[begin : begin + REPORT_MAXIMUM], key=lambda row: row.account))
            self._reports.append(ReportDiscrepancy(-1, asked.position, asked.price_id, "exact", len(rows), some))


def _three(figures: list[float]) -> tuple[float, float, float]:
    equity, initial, maintenance = figures
    return equity, initial, maintenance


def _frozen(fold: Fold) -> tuple[object, ...]:
    """What a mark froze, and what else a table hangs on: as long as it is the same, a question may be asked."""
    machine = fold.machine
    state, registry = machine.state, machine.registry
    items = len(registry.items)
    return (
        registry.marks[-1].position,
        machine.marked.market.time,
        tuple(registry.models),
        state.items[:items, Item.OPEN].tobytes(),
        state.prices[:items, Price.MARKED].tobytes(),
    )


def _template(fold: Fold) -> Examine:
    """What questions at one mark have in common."""
    state, registry = fold.machine.state, fold.machine.registry
    models = {model.name: msgspec.to_builtins(model.parameters) for model in registry.models}
    names = [definition.name for definition in registry.items]
    prices = state.prices[: len(names), Price.MARKED].tolist()
    is_open = state.items[: len(names), Item.OPEN].tolist()
    return Examine(
        ticket=0,
        time=fold.machine.marked.market.time,
        items=names,
        assets=[(one.name, one.decimals) for one in registry.items if one.instrument is None],
        contracts=[
            (number, one.name, one.lot, one.decimals)
            for number, one in enumerate(registry.items)
            if one.instrument is not None and is_open[number]
        ],
        models=models,
        models_digest=hashlib.sha256(msgspec.msgpack.encode(models, order="sorted")).digest(),
        frozen={name: price for name, price in zip(names, prices, strict=True) if price},
        holdings=_holdings(state, np.zeros(0, np.int64)),
        certified="",
        values={},
    )


def _holdings(state: State, accounts: Numbers) -> Holdings:
    """Rows and open orders of accounts."""
    known = state.accounts[accounts]
    counts = known[:, Account.COUNT]
    offsets = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    rows = np.repeat(known[:, Account.START], counts) + offsets
    slots = _order_slots(state, known)
    return Holdings(
        array_of(accounts),
        array_of(known[:, Account.MODEL]),
        array_of(known[:, [Account.COUNT, Account.ORDER_COUNT]]),
        array_of(np.column_stack((state.row_item[rows].astype(np.int64), state.ledger[rows]))),
        array_of(state.orders[slots][:, [Open.ITEM, Open.REMAINING, Open.PRICE]]),
    )


def _order_slots(state: State, known: Any) -> Numbers:
    """Slots of accounts' open orders, account by account: all chains are followed together, a step at a time."""
    owners = np.flatnonzero(known[:, Account.ORDER_COUNT])
    slots = known[owners, Account.ORDERS]
    found_owners, found = [owners], [slots]
    while len(slots):
        slots = state.orders[slots, Open.NEXT]
        goes_on = slots != NONE
        owners, slots = owners[goes_on], slots[goes_on]
        found_owners.append(owners)
        found.append(slots)
    every: Numbers = np.concatenate(found)
    return every[np.argsort(np.concatenate(found_owners), kind="stable")]


def _values(table: RiskTable) -> dict[str, Array]:
    """By line, its value today, in the scenarios, and the two of its basis contingency."""
    arrays, scenarios, basis = table.arrays, len(table.scenarios), len(table.basis_scenarios)
    lines = len(table.line_names)
    values = np.hstack((arrays.today[:lines, None], arrays.values[:lines, :scenarios], arrays.basis[:lines, :basis]))
    return {name: array_of(row) for name, row in zip(table.line_names, values, strict=True)}
