"""An engine's or replica's folder as the source of a reconciliation: its log is folded beside whoever writes it.

What lives here: reading, folding, noting what accounts had on the way. What may not: judging.
"""

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.cli.reconcile_questions import Question, Wanted, gather
from holdfast.core.fold import Fold
from holdfast.core.snapshot import fold_from
from holdfast.core.state import Account, Counter
from holdfast.domain.errors import HoldfastError, InputError
from holdfast.domain.messages import Read
from holdfast.log.sqlite import SqliteLog
from holdfast.replica import supervision, views
from holdfast.replica.amounts import amount_of
from holdfast.replica.directory import Directory
from holdfast.replica.errors import ReplayError
from holdfast.replica.folder import LOG_NAME, NAMES_SUFFIX, SnapshotFiles
from holdfast.replica.names import AccountNames
from holdfast.replica.node import reads
from holdfast.validate.reconcile.history import History, Moment
from holdfast.validate.reconcile.moves import Moves, moves_of
from holdfast.validate.reconcile.picture import Answered, Seen

Rows = dict[str, tuple[Decimal, Decimal]]
ADVICE = "reconcile with the version of Holdfast that wrote the log; see docs/how-to/repair-a-log.md"


class FolderSource:
    """A folder. Looks go on from each other: only frames that came meanwhile are folded."""

    def __init__(self, path: Path, *, from_snapshot: bool = False) -> None:
        """Name a folder or its log; it is opened at the first look."""
        self._folder = path if path.is_dir() else path.parent
        self._path = path / LOG_NAME if path.is_dir() else path
        self.label = str(path)
        self._from_snapshot = from_snapshot
        self._log: SqliteLog | None = None
        self._fold, self._names = Fold(), AccountNames()
        self._history = History()
        self._begun = -1, 0
        self._versions = np.zeros(0, np.int64)

    def close(self) -> None:
        """Close the log."""
        if self._log is not None:
            self._log.close()

    def look(self, wanted: Wanted, told: Callable[[int, int], None] = lambda _at, _end: None) -> Seen:
        """Fold what the log has by now, and ask.

        Args:
            wanted: What to bring.
            told: Called now and then with the position folded and the log's end.

        Raises:
            LogError: The log cannot be read.
            EngineError: A frame of it cannot be folded.
        """
        log = self._opened(wanted)
        for data in supervision.quarantines(log, self._fold.position):
            self._fold.learn_quarantine(data)
        end = log.end
        self._begin(wanted)
        for position, frame in log.read(self._fold.position):
            self._apply(position, frame, wanted)
            told(position, end)
        return self._seen(log, wanted)

    def _opened(self, wanted: Wanted) -> SqliteLog:
        if self._log is None:
            self._log = SqliteLog(self._path, writable=False)
            if self._from_snapshot:
                self._begin_with_snapshot(self._log, wanted.moments)
            self._versions = self._all_versions()
        return self._log

    def _begin_with_snapshot(self, log: SqliteLog, moments: Iterable[Moment]) -> None:
        """Begin with the newest snapshot that is of this log and not after any moment; else with nothing."""
        for path in SnapshotFiles(self._folder).newest_first():
            try:
                fold = fold_from(path.read_bytes())
                last = fold.position - 1
                if last < log.end and log.hash_at(last) == fold.chain and _reached(fold, moments):
                    names = AccountNames.decode(path.with_suffix(NAMES_SUFFIX).read_bytes(), last, fold.chain)
                    self._fold, self._names, self._begun = fold, names, (last, fold.time)
                    return
            except (HoldfastError, OSError, LookupError, ValueError):
                continue

    def _all_versions(self) -> Any:
        state = self._fold.machine.state
        return state.accounts[: int(state.counters[Counter.ACCOUNTS]), Account.VERSION].copy()

    def _begin(self, wanted: Wanted) -> None:
        """Note what wanted accounts have before what is folded now; those that are opened later begin with nothing."""
        at = self._fold.position - 1, self._fold.time
        for number in range(len(self._versions)):
            name = self._names.name(number)
            if self._is_wanted(name, wanted):
                self._history.begin(name, *at, self._rows(number))

    def _is_wanted(self, name: str, wanted: Wanted) -> bool:
        return wanted.everybody or name in wanted.accounts

    def _apply(self, position: int, frame: bytes, wanted: Wanted) -> None:
        try:
            applied = self._fold.apply(frame)
        except HoldfastError as error:
            raise ReplayError(f"position {position} of the log", f"cannot be folded ({error})", ADVICE) from error
        self._names.learn(frame, applied)
        now, before = self._all_versions(), self._versions
        changed = np.flatnonzero(now[: len(before)] != before).tolist() + list(range(len(before), len(now)))
        self._versions = now
        named = [(number, self._names.name(number)) for number in changed]
        noted = [(number, name) for number, name in named if self._is_wanted(name, wanted)]
        if noted:
            self._note(applied.position, moves_of(frame, applied, self._fold.machine), noted)

    def _note(self, position: int, moves: Moves, noted: list[tuple[int, str]]) -> None:
        book = Directory(self._fold, self._names)
        numbers = self._fold.machine.registry.numbers
        for number, name in noted:
            self._history.begin(name, *self._begun, {})
            rows = self._rows(number)
            items = {numbers[item] for item in (*rows, *self._history.items(name))}
            fees = {
                book.items[asset].name: amount_of(units, book.step(asset))
                for (account, asset), units in moves.fees.items()
                if account == number
            }
            kinds = moves.kinds_of(number, items)
            self._history.note(name, position, self._fold.time, rows, kinds, fees)

    def _rows(self, number: int) -> Rows:
        book = Directory(self._fold, self._names)
        found = views.rows_of(self._fold, number)
        return {
            book.items[item].name: (
                amount_of(amount, book.step(item)),
                amount_of(cost, book.step(book.settlement(item))),
            )
            for item, amount, cost in found
        }

    def _seen(self, log: SqliteLog, wanted: Wanted) -> Seen:
        found = gather(self._together, wanted, self._history)
        return Seen(
            source=self.label,
            log=log.hash_at(0).hex() if log.end else "",
            folded=True,
            ledger=found.ledger,
            holdings=found.holdings,
            quotes=found.quotes,
            parameters=found.parameters,
            root=found.root,
            replicas=(),
            sets=found.sets,
            history=self._history,
        )

    def _together(self, questions: Sequence[Question]) -> list[Answered]:
        book, degraded = Directory(self._fold, self._names), reads.degraded(self._fold)
        at = self._fold.position - 1, self._fold.time, "", degraded
        return [Answered(reads.answer(self._fold, book, Read(*question)), *at) for question in questions]


def _reached(fold: Fold, moments: Iterable[Moment]) -> bool:
    return all(moment.reaches(fold.position - 1, fold.time) for moment in moments)


def folder_source(path: Path, *, from_snapshot: bool) -> FolderSource:
    """The source of a folder with a log, or of a log's file.

    Raises:
        InputError: There is none.
    """
    if not (path / LOG_NAME if path.is_dir() else path).is_file():
        advice = f"name a folder with a {LOG_NAME}, a log, or the client.toml of a cluster"
        raise InputError("malformed", "SOURCE", str(path), advice, "is no source")
    return FolderSource(path, from_snapshot=from_snapshot)
