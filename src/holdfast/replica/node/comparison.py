"""What a node asks its second engine, and what follows from the answers. No clock, no I/O.

Theory of operation. Every frame that was folded goes to the second engine, with the first one's reasons. After a frame
with a mark, at exactly that position, it is asked for the accounts that matter then: those near their maintenance
margin, those waiting for a quorum, being liquidated or withdrawing; and from time to time, by logical time so that all
replicas do so at the same mark, for all. The first engine's numbers are taken at the same moment and kept with the
question's ticket. An answer makes findings, which votes are made of, and differences, which are reported with the parts
of both margins for those that differ most.

While the second engine is away or late nothing waits for it: votes then say so, and count by the wider shortfall.

What may not live here: the pipe, the second engine, votes. Normative: specs/cluster-node.md.
"""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from holdfast.core.agreement import tolerance
from holdfast.core.cold.discrepancies import ACCOUNTS_MAXIMUM
from holdfast.core.fold import Applied, Fold
from holdfast.core.margins import figures_of
from holdfast.core.state import SYSTEM_ACCOUNTS, Account, Counter, Status
from holdfast.domain.commands import AccountDifference, ReportDiscrepancy, SetRules
from holdfast.replica.decisions import Finding
from holdfast.replica.witnessing.messages import Answer, Ask, Follow

NEAR: Final = 1.25
"""Equity below so many times maintenance margin is near it."""
ALL_INTERVAL: Final = 10 * 10**9
"""ns of logical time between two looks at all accounts."""
PATIENCE_S: Final = 3.0
"""How long an answer may take before the second engine counts as late."""
QUESTIONS_MAXIMUM: Final = 2
"""Questions under way; one more at a mark is left out, as the next mark has its own."""
PARTS_MAXIMUM: Final = 8
"""Accounts of a report whose margins are given part by part."""
_ACTED_ON = (Status.BREACH_PENDING, Status.LIQUIDATING)

Numbers = npt.NDArray[np.int64]
Parts = Mapping[str, tuple[float, float]]


class _Asked(NamedTuple):
    """A question, and what the first engine had at that moment."""

    at: float
    rules: SetRules
    withdrawing: frozenset[int]
    position: int
    mark_position: int
    price_id: int
    accounts: Numbers
    versions: Numbers
    figures: npt.NDArray[np.float64]


class _Difference(NamedTuple):
    """Accounts that differ, those that differ most first; parts are asked for under a ticket of their own."""

    asked: _Asked
    total: int
    rows: tuple[AccountDifference, ...]


class Comparison:
    """One node's view of its two engines.

    Attributes:
        absent: Why there is no second engine at the moment; empty while there is one.
        compared: Accounts compared so far.
        differing: Of them, those that differed.
        contradicted: The latest things that the second engine found impossible.
    """

    def __init__(self) -> None:
        self.absent = "it has not started"
        self.compared = self.differing = 0
        self.contradicted: deque[str] = deque(maxlen=8)
        self._out: list[Follow | Ask] = []
        self._asked: dict[int, _Asked] = {}
        self._findings: dict[int, Finding] = {}
        self._found: dict[int, _Difference] = {}
        self._reports: deque[tuple[_Difference, Mapping[int, Parts]]] = deque(maxlen=4)
        self._ticket = 0
        self._all_at = -1
        self._position = -1

    # What happens.

    def started(self) -> None:
        """The second engine follows from the position reached now."""
        self.absent = ""
        self._asked.clear()
        self._out.clear()

    def ended(self, why: str) -> None:
        """There is no second engine any more, for now."""
        self.absent = why
        self._asked.clear()
        self._found.clear()
        self._findings.clear()
        self._out.clear()

    def folded(self, fold: Fold, frame: bytes, applied: Applied, names: Mapping[int, str], now: float) -> None:
        """A frame was folded."""
        if self.absent:
            return
        self._position = applied.position
        reasons = applied.outcomes["reason"].astype("<i4").tobytes()
        self._out.append(Follow(applied.position, frame, reasons, dict(names)))
        if applied.marks:
            due = fold.time // ALL_INTERVAL
            is_all, self._all_at = due != self._all_at, due
            if len(self._asked) < QUESTIONS_MAXIMUM or is_all:
                self._ask(fold, now, None if is_all else self._near(fold))

    def look(self, fold: Fold, now: float) -> None:
        """Ask for what is waited for and was not asked."""
        if self.absent or self._asked or fold.position - 1 != self._position:
            return
        missing = [account for account in _waiting(fold) if self.finding(fold, account) is None]
        if missing:
            self._ask(fold, now, np.array(missing, np.int64))

    def answered(self, answer: Answer) -> None:
        """The second engine answered a question."""
        self.contradicted.extend(answer.differences)
        parts = self._found.pop(answer.ticket, None)
        if parts is not None:
            self._reports.append((parts, answer.parts))
            return
        asked = self._asked.pop(answer.ticket, None)
        if asked is not None and (answer.position, answer.price_id) == (asked.position, asked.price_id):
            self._compare(asked, answer)

    # What is wanted.

    def messages(self) -> list[Follow | Ask]:
        """What is to be sent to the second engine."""
        out, self._out = self._out, []
        return out

    def finding(self, fold: Fold, account: int) -> Finding | None:
        """What both engines found of an account as it is now, at the prices of the last mark; None for nothing."""
        found = self._findings.get(account)
        version = int(fold.machine.state.accounts[account, Account.VERSION])
        if found is None or (found.version, found.price_id) != (version, fold.price_id):
            return None
        # Tables may be built anew from the same prices: then the first engine has other numbers now.
        now = figures_of(fold.machine.state, fold.machine.marked.arrays, np.array([account], np.int64))[0]
        return found if tuple(now.tolist()) == found.first else None

    def is_awaited(self, now: float) -> bool:
        """Whether what is missing may still come in time."""
        return not self.absent and not self.is_late(now)

    def is_late(self, now: float) -> bool:
        """Whether a question is unanswered for too long."""
        return any(now - asked.at > PATIENCE_S for asked in self._asked.values())

    def report(self, fold: Fold, replica: int, parts_of: Callable[[int], Parts]) -> ReportDiscrepancy | None:
        """The next report of accounts that differ; None where there is none.

        Args:
            fold: The state.
            replica: Number of this one.
            parts_of: The first engine's components of an account.
        """
        while self._reports:
            found, second = self._reports.popleft()
            known = any(m.position == found.asked.mark_position for m in fold.machine.registry.marks)
            if not known:
                continue
            rows = tuple(_with_parts(fold, row, parts_of, second) for row in found.rows)
            asked = found.asked
            return ReportDiscrepancy(replica, asked.mark_position, asked.price_id, "witness", found.total, rows)
        return None

    # Inside.

    def _ask(self, fold: Fold, now: float, accounts: Numbers | None) -> None:
        state = fold.machine.state
        if accounts is None:
            numbers = np.arange(SYSTEM_ACCOUNTS, int(state.counters[Counter.ACCOUNTS]), dtype=np.int64)
        else:
            numbers = accounts
        marks = fold.machine.registry.marks
        if not len(numbers) or not marks:
            return
        self._ticket += 1
        versions = state.accounts[numbers, Account.VERSION].astype(np.int64)
        figures = figures_of(state, fold.machine.marked.arrays, numbers)
        self._asked[self._ticket] = _Asked(
            at=now,
            rules=fold.machine.registry.rules,
            withdrawing=frozenset(entry.account for entry in fold.machine.registry.withdrawals.values()),
            position=fold.position - 1,
            mark_position=marks[-1].position,
            price_id=fold.price_id,
            accounts=numbers,
            versions=versions,
            figures=figures,
        )
        self._out.append(Ask(self._ticket, None if accounts is None else numbers.tobytes()))

    def _near(self, fold: Fold) -> Numbers:
        """Clients' accounts that matter at a mark, ascending."""
        state, count = fold.machine.state, int(fold.machine.state.counters[Counter.ACCOUNTS])
        figures, status = state.figures[:count], state.accounts[:count, Account.STATUS]
        near = (figures[:, 0] < NEAR * figures[:, 2]) | np.isin(status, [int(one) for one in _ACTED_ON])
        near[[entry.account for entry in fold.machine.registry.withdrawals.values()]] = True
        near[:SYSTEM_ACCOUNTS] = False
        return np.flatnonzero(near).astype(np.int64)

    def _compare(self, asked: _Asked, answer: Answer) -> None:
        accounts = np.frombuffer(answer.accounts, np.int64)
        second = np.stack(
            [np.frombuffer(one, np.float64) for one in (answer.equity, answer.initial, answer.maintenance)]
        )
        place = np.searchsorted(asked.accounts, accounts)
        same = np.frombuffer(answer.versions, np.int64) == asked.versions[place]
        usable = same & np.isfinite(second).all(axis=0) & np.isfinite(asked.figures[place]).all(axis=1)
        if not same.all():
            stranger = int(accounts[~same][0])
            self.contradicted.append(f"account {stranger} has another version by the second engine")
        accounts, place, numbers = accounts[usable], place[usable], second.T[usable]
        self.compared += len(accounts)
        self._keep(asked, accounts, place, numbers)
        self._tell(asked, accounts, place, numbers)

    def _keep(self, asked: _Asked, accounts: Numbers, place: Numbers, numbers: npt.NDArray[np.float64]) -> None:
        """Findings, of this mark only, of the accounts that a vote may be about."""
        if len(self._findings) and next(iter(self._findings.values())).price_id != asked.price_id:
            self._findings.clear()
        figures = asked.figures[place]
        wanted = figures[:, 0] < NEAR * figures[:, 2]
        wanted |= np.isin(accounts, list(asked.withdrawing))
        for n in np.flatnonzero(wanted).tolist():
            self._findings[int(accounts[n])] = Finding(
                int(asked.versions[place[n]]), asked.price_id, _triple(figures[n]), _triple(numbers[n])
            )

    def _tell(self, asked: _Asked, accounts: Numbers, place: Numbers, numbers: npt.NDArray[np.float64]) -> None:
        """Ask for the parts of the margins that differ."""
        figures = asked.figures[place]
        gaps = np.abs(figures - numbers).max(axis=1) if len(accounts) else np.zeros(0)
        allowed = np.array([tolerance(asked.rules, margin) for margin in figures[:, 2].tolist()])
        differ = np.flatnonzero(gaps > allowed)
        self.differing += len(differ)
        if not len(differ):
            return
        worst = differ[np.argsort(-gaps[differ], kind="stable")][:ACCOUNTS_MAXIMUM]
        rows = [
            AccountDifference(int(accounts[n]), int(asked.versions[place[n]]), _triple(figures[n]), _triple(numbers[n]))
            for n in worst.tolist()
        ]
        self._ticket += 1
        top = tuple(row.account for row in rows[:PARTS_MAXIMUM])
        ordered = tuple(sorted(rows, key=lambda row: row.account))
        self._found[self._ticket] = _Difference(asked, len(differ), ordered)
        self._out.append(Ask(self._ticket, np.array(sorted(top), np.int64).tobytes(), top))


def _waiting(fold: Fold) -> list[int]:
    """Accounts that a vote may be about now, ascending."""
    state, registry = fold.machine.state, fold.machine.registry
    statuses = state.accounts[: int(state.counters[Counter.ACCOUNTS]), Account.STATUS]
    breached = np.flatnonzero(statuses == int(Status.BREACH_PENDING)).tolist()
    return sorted({*breached, *(entry.account for entry in registry.withdrawals.values())})


def _with_parts(
    fold: Fold, row: AccountDifference, parts_of: Callable[[int], Parts], second: Mapping[int, Parts]
) -> AccountDifference:
    """A row with the parts of both margins, if they were asked for and the account is still the same."""
    same = int(fold.machine.state.accounts[row.account, Account.VERSION]) == row.version
    if row.account not in second or not same:
        return row
    return msgspec.structs.replace(row, first_parts=dict(parts_of(row.account)), second_parts=dict(second[row.account]))


def _triple(values: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    first, second, third = values.tolist()
    return first, second, third
