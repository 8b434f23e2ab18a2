"""The audit of a replay: a fresh process that folds the whole log from position 0, without snapshots, and counts.

    python -m holdfast.stress.replay.audit FOLDER START_NS HOURS POSITION…

It writes `audit.json` (counts, hourly series, roots) and `executed.npy` (every command's first execution) to FOLDER.
It reads the log only. What may not live here: the engine, its memory, its snapshots, the client.
"""

import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from holdfast.core.fold import Applied, Fold
from holdfast.core.state import INSURANCE, SYSTEM_ACCOUNTS, Account, Counter, Item, Status
from holdfast.domain.frames import Frame, RecordKind, decode_frame
from holdfast.domain.reasons import Reason
from holdfast.log.sqlite import SqliteLog
from holdfast.margin.table import LineField
from holdfast.stress.replay.engine_process import LOG_NAME
from holdfast.stress.replay.journal import EXECUTED, digest_of, digests_of

HOUR_NS = 3600 * 10**9
NOT_EXECUTED = (
    Reason.SESSION_UNKNOWN,
    Reason.SESSION_GAP,
    Reason.FRAME_REPEATED,
    Reason.FRAME_GAP,
    Reason.GATEWAY_UNKNOWN,
)
"""Answers that use up no number."""


class Audit(msgspec.Struct):
    """What the log says.

    Attributes:
        commands: Commands in it, hourly; those before the window count to its first hour.
        refused: Commands refused with a reason.
        trades: Trades and fills accepted, and fills of liquidations.
        margin_calls: Accounts that fell below initial margin, hourly, each time it happened.
        margin_called: Accounts to which that ever happened.
        liquidations: Accounts whose liquidation began, hourly, each time.
        liquidated: Accounts to which that ever happened.
        bankruptcies: Takeovers, hourly.
        deleveraged: Notional closed by deleveraging, dollars, hourly.
        shared: Losses shared, dollars, hourly.
        shortfall: Missing equity of accounts that the fund could not take over, dollars.
        roots: State roots at the positions asked for, hexadecimal, by position.
        root: At the end.
        chain: H at the end, hexadecimal.
        conserved: Whether everything summed to zero at each look.
        fund_start: The insurance fund's equity at the start of the window, dollars.
        fund: At the end.
    """

    commands: list[int]
    margin_calls: list[int]
    liquidations: list[int]
    bankruptcies: list[int]
    deleveraged: list[float]
    shared: list[float]
    refused: int = 0
    trades: int = 0
    margin_called: int = 0
    liquidated: int = 0
    shortfall: float = 0.0
    roots: dict[int, str] = {}
    root: str = ""
    chain: str = ""
    conserved: bool = True
    fund_start: float = 0.0
    fund: float = 0.0


class Auditor:
    """Folds frames and counts what they did."""

    def __init__(self, start_ns: int, hours: int, positions: set[int]) -> None:
        self.fold = Fold()
        self.found = Audit(*_zeros(hours, 4, 0), *_zeros(hours, 2, 0.0))
        self.executed: list[np.ndarray] = []
        self._start, self._hours, self._positions = start_ns, hours, positions
        self._statuses = np.zeros(0, np.int64)
        self._called: set[int] = set()
        self._liquidated: set[int] = set()
        self._looked_at = -1

    @property
    def hour(self) -> int:
        """The hour of the window that logical time is in."""
        return min(max((self.fold.time - self._start) // HOUR_NS, 0), self._hours - 1)

    def take(self, position: int, data: bytes) -> None:
        """Fold the frame at a position."""
        applied, frame = self.fold.apply(data), decode_frame(data)
        self._count(frame, applied)
        self._executions(frame, applied)
        if position in self._positions:
            self.found.roots[position] = self.fold.root().hex()
        if not self.found.fund_start:
            self.found.fund_start = float(self.fold.machine.state.figures[INSURANCE, 0])
        if self.hour != self._looked_at:
            self._looked_at = self.hour
            self.found.conserved &= is_conserved(self.fold)

    def finish(self) -> None:
        """Look a last time."""
        found = self.found
        found.root, found.chain = self.fold.root().hex(), self.fold.chain.hex()
        found.conserved &= is_conserved(self.fold)
        found.fund = float(self.fold.machine.state.figures[INSURANCE, 0])
        found.margin_called, found.liquidated = len(self._called), len(self._liquidated)

    def _count(self, frame: Frame, applied: Applied) -> None:
        found, reasons = self.found, applied.outcomes["reason"]
        found.commands[self.hour] += len(reasons)
        found.refused += int(np.count_nonzero(reasons))
        kinds = frame.records["kind"]
        traded = (kinds == RecordKind.TRADE) | (kinds == RecordKind.FILL)
        found.trades += int(np.count_nonzero(traded & (reasons == 0)))
        for detail in applied.details.values():
            if isinstance(detail, dict) and "fills" in detail:
                found.trades += len(detail["fills"])
                if "takeover" in detail:
                    self._take_over(detail["takeover"])
        self._watch_statuses()

    def _take_over(self, taken: dict[str, Any]) -> None:
        found = self.found
        found.bankruptcies[self.hour] += 1
        if not taken["by_fund"]:
            found.shortfall += max(0, -taken["equity"]) / 1e6
        found.deleveraged[self.hour] += sum(self._notional(*one) for one in taken["deleveraged"])
        found.shared[self.hour] += taken["shared"] / 1e6

    def _notional(self, account: int, item: int, lots: int) -> float:
        machine = self.fold.machine
        row = machine.state.items[item]
        model = int(machine.state.accounts[account, Account.MODEL])
        today = machine.marked.arrays.models[model].lines[int(machine.state.lines[model, item]), LineField.TODAY]
        return abs(lots * int(row[Item.MULTIPLIER]) / int(row[Item.DIVISOR]) * float(today))

    def _watch_statuses(self) -> None:
        state = self.fold.machine.state
        now = state.accounts[: int(state.counters[Counter.ACCOUNTS]), Account.STATUS]
        before = np.zeros(len(now), np.int64)
        before[: len(self._statuses)] = self._statuses
        changed = np.flatnonzero(now != before)
        for account in changed[changed >= SYSTEM_ACCOUNTS].tolist():
            if before[account] == Status.HEALTHY:
                self.found.margin_calls[self.hour] += 1
                self._called.add(account)
            if now[account] == Status.LIQUIDATING:
                self.found.liquidations[self.hour] += 1
                self._liquidated.add(account)
        self._statuses = now.copy()

    def _executions(self, frame: Frame, applied: Applied) -> None:
        records, outcomes = frame.records, applied.outcomes
        first = (outcomes["repeated"] == 0) & ~np.isin(outcomes["reason"], NOT_EXECUTED) & (records["number"] > 0)
        rows = np.zeros(int(np.count_nonzero(first)), EXECUTED)
        rows["session"], rows["number"] = records["session"][first], records["number"][first]
        rows["reason"], rows["command"] = outcomes["reason"][first], outcomes["command"][first]
        rows["digest"] = self._digests(frame)[first]
        self.executed.append(rows)

    @staticmethod
    def _digests(frame: Frame) -> np.ndarray:
        digests = digests_of(frame.records)
        for index in np.flatnonzero(frame.records["kind"] == RecordKind.COLD).tolist():
            digests[index] = digest_of(frame.cold(index))
        return digests


def _zeros(hours: int, count: int, zero: Any) -> list[Any]:
    """So many series of zeros."""
    return [[zero] * hours for _ in range(count)]


def is_conserved(fold: Fold) -> bool:
    """Whether each contract's lots, and each asset's cash less cost, sum to zero over all accounts."""
    state = fold.machine.state
    count = int(state.counters[Counter.ACCOUNTS])
    starts, lengths = state.accounts[:count, Account.START], state.accounts[:count, Account.COUNT]
    rows = np.repeat(starts - np.concatenate(([0], np.cumsum(lengths)[:-1])), lengths) + np.arange(lengths.sum())
    items = state.row_item[rows]
    amounts = np.where(
        state.items[items, Item.FORM] == 0, state.ledger[rows, 0] - state.ledger[rows, 1], state.ledger[rows, 0]
    )
    sums = np.zeros(len(fold.machine.registry.items), np.int64)
    np.add.at(sums, items, amounts)
    return not sums.any()


def audit(folder: Path, start_ns: int, hours: int, positions: set[int]) -> Audit:
    """Fold a replay's log from its beginning and write what was found."""
    auditor = Auditor(start_ns, hours, positions)
    with SqliteLog(folder / LOG_NAME) as log:
        for position, data in log.read(0):
            auditor.take(position, data)
    auditor.finish()
    np.save(folder / "executed.npy", np.concatenate(auditor.executed))
    (folder / "audit.json").write_bytes(msgspec.json.encode(auditor.found))
    return auditor.found


if __name__ == "__main__":
    audit(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), {int(p) for p in sys.argv[4:]})
