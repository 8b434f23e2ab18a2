"""A pass over the log that finds which liquidations it began, and whether right engines find them right.

Theory of operation. The log is folded as the engines folded it: where all of them had the error, so has this fold, so
that it begins what they began. That it is their fold and no other is seen by the state roots that a majority of them
signed. Beside it stand the numbers without the error: the first engine's, from tables that the right code builds of the
same frozen prices, on the same rows of the same accounts; and those of a second engine that follows the same frames in
this process. Nothing that the cluster says of itself is asked.

What may not live here: what a number of findings means (`tally`), processes, times.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from holdfast.chaos.second_engine.error import planted
from holdfast.core import marks
from holdfast.core.fold import Applied, Fold
from holdfast.core.margins import Tables, figures_of
from holdfast.core.quorum import is_short
from holdfast.core.state import SYSTEM_ACCOUNTS, Account, Counter, Status
from holdfast.domain.commands import CastVote, ReportDiscrepancy
from holdfast.domain.frames import decode_frame
from holdfast.domain.votes import FLAG_WITHDRAWAL, FLAG_WITHOUT_B, Vote, decode_vote
from holdfast.validate.proofs.history import accepted
from holdfast.witness import Witness

TAGS: Final = (b"vote", b"report-discrepancy")
"""One of these is in the bytes of every command that is looked at."""

Figures = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]


class Window(NamedTuple):
    """Positions whose frames all engines folded with the error: `first` to `end` − 1."""

    first: int
    end: int


class Begun(NamedTuple):
    """A liquidation that began.

    Attributes:
        position: Of the frame.
        account: Whose.
        price_id: Of the prices.
        first: Equity and maintenance margin by the right first engine, numeraire.
        second: By the second engine.
        without_second: Whether the vote that completed the quorum had no numbers of a second engine.
        is_beyond: Whether equity is below maintenance margin by more than the wider shortfall, by both.
    """

    position: int
    account: int
    price_id: int
    first: tuple[float, float]
    second: tuple[float, float]
    without_second: bool
    is_beyond: bool

    @property
    def is_right(self) -> bool:
        """Whether both right engines find equity below maintenance margin; equality is not below."""
        return self.first[0] < self.first[1] and self.second[0] < self.second[1]


class Marked(NamedTuple):
    """A frame with a mark.

    Attributes:
        position: Of the frame.
        price_id: After it.
        below: Accounts that both right engines find below maintenance margin.
        by_error: Accounts that the first engine would find below if it had the error, and the right engines do not.
    """

    position: int
    price_id: int
    below: tuple[int, ...]
    by_error: tuple[int, ...]


class Named(NamedTuple):
    """A report of accounts whose engines differ, as far as it counted.

    Attributes:
        position: Of the frame.
        price_id: Of the newest mark then.
        mark: Price id of the mark that it speaks of.
        replica: Who reports.
        engine: Which other engine it was.
        total: How many accounts differ, as it says.
        accounts: That it names.
    """

    position: int
    price_id: int
    mark: int
    replica: int
    engine: str
    total: int
    accounts: tuple[int, ...]


class Stopped(NamedTuple):
    """Something that stops decisions: a replica suspended, or an account frozen; where, and under which mark."""

    position: int
    price_id: int
    subject: int


class Judge:
    """What one pass has found so far.

    Attributes:
        fold: As the engines fold.
        begun: Liquidations.
        marks: Frames with marks.
        reports: Of accounts whose engines differ.
        frozen: Accounts, when they froze.
        suspended: Replicas, when they were suspended.
        certified: Positions whose state root a majority signed, and which this fold has too.
        strange: Positions whose certified root this fold has not.
        contradicted: What the second engine here finds impossible.
    """

    def __init__(self, windows: Iterable[Window] = ()) -> None:
        """A pass from position 0 on.

        Args:
            windows: Where all engines had the error.
        """
        self.windows = list(windows)
        self.fold = Fold()
        self.begun: list[Begun] = []
        self.marks: list[Marked] = []
        self.reports: list[Named] = []
        self.frozen: list[Stopped] = []
        self.suspended: list[Stopped] = []
        self.certified: list[int] = []
        self.strange: list[int] = []
        self.contradicted: list[str] = []
        self._second = Witness.new()
        self._is_wrong = False
        self._right: Tables | None = None
        self._roots: dict[int, bytes] = {}

    @property
    def position(self) -> int:
        """Of the next frame."""
        return self.fold.position

    def follow(self, frames: Iterable[bytes]) -> None:
        """Take the next frames."""
        with self._planted():
            for frame in frames:
                self._take(frame)

    def below(self) -> tuple[int, ...]:
        """Clients' accounts that both right engines find below maintenance margin now, at the last mark's prices."""
        clients = self._clients()
        if not self.fold.machine.marked.tables or not len(clients):
            return ()
        first = self._first(clients)
        near = clients[first[:, 0] < first[:, 2]]
        second = self._second.margins(near.tolist())
        return tuple(np.asarray(second.accounts)[second.equity < second.maintenance].tolist())

    def with_status(self, status: Status) -> tuple[int, ...]:
        """Clients' accounts with a status, ascending."""
        return tuple((np.flatnonzero(self._statuses()[SYSTEM_ACCOUNTS:] == status) + SYSTEM_ACCOUNTS).tolist())

    def _clients(self) -> Numbers:
        return np.arange(SYSTEM_ACCOUNTS, int(self.fold.machine.state.counters[Counter.ACCOUNTS]), dtype=np.int64)

    def _marked(self) -> Marked:
        """What the last mark means for accounts."""
        below, clients = self.below(), self._clients()
        self._is_wrong = True
        spoiled = self._tables()
        self._is_wrong = False
        figures = figures_of(self.fold.machine.state, spoiled, clients)
        by_error = clients[figures[:, 0] < figures[:, 2]]
        wrongly = np.setdiff1d(by_error, np.array(below, np.int64)).tolist()
        return Marked(self.fold.position - 1, self.fold.price_id, below, tuple(wrongly))

    @contextmanager
    def _planted(self) -> Iterator[None]:
        with planted(lambda: self._is_wrong):
            yield

    def _take(self, frame: bytes) -> None:
        position = self.fold.position
        before, replicas = self._statuses(), self.fold.machine.registry.replicas
        self._is_wrong = any(window.first <= position < window.end for window in self.windows)
        applied = self.fold.apply(frame)
        self._is_wrong = False
        differences = self._second.apply(frame, applied.outcomes["reason"])
        self.contradicted += [f"position {one.position}, record {one.index}: {one.what}" for one in differences]
        if applied.marks:
            self._right = None
            self.marks.append(self._marked())
        now = self.fold.machine.registry.replicas
        for number, (old, new) in enumerate(zip(replicas, now, strict=False)):
            if new.suspended and not old.suspended:
                self.suspended.append(Stopped(position, self.fold.price_id, number))
        self._compare_roots()
        if any(tag in frame for tag in TAGS):
            self._look_at_words(frame, applied, before)

    def _look_at_words(self, frame: bytes, applied: Applied, before: Numbers) -> None:
        """Votes and reports of a frame, and what they led to."""
        votes = list[Vote]()
        for place, command in accepted(decode_frame(frame), applied):
            if isinstance(command, CastVote):
                votes.append(decode_vote(command.vote))
            elif isinstance(command, ReportDiscrepancy):
                counted = len(command.accounts) - int(applied.outcomes[place.record]["limit"])
                if counted > 0:
                    self._report(command)
        now = self._statuses()
        before = np.pad(before, (0, len(now) - len(before)))
        for account in np.flatnonzero((now == Status.FROZEN) & (before != Status.FROZEN)).tolist():
            self.frozen.append(Stopped(applied.position, self.fold.price_id, account))
        started = np.flatnonzero((now == Status.LIQUIDATING) & (before != Status.LIQUIDATING)).astype(np.int64)
        if len(started):
            self._begin(started, votes)

    def _report(self, command: ReportDiscrepancy) -> None:
        accounts = tuple(row.account for row in command.accounts)
        here = self.fold.position - 1, self.fold.price_id
        self.reports.append(Named(*here, command.price_id, command.replica, command.engine, command.total, accounts))

    def _begin(self, accounts: Numbers, votes: Iterable[Vote]) -> None:
        """Judge liquidations that began with the last frame."""
        alone = {int(row["account"]) for vote in votes for row in vote.rows if int(row["flags"]) == FLAG_WITHOUT_B}
        with_numbers = {
            int(row["account"])
            for vote in votes
            for row in vote.rows
            if not int(row["flags"]) & (FLAG_WITHOUT_B | FLAG_WITHDRAWAL)
        }
        first, found = self._first(accounts), self._second.margins(accounts.tolist())
        second = {
            account: (equity, maintenance)
            for account, equity, maintenance in zip(
                found.accounts.tolist(), found.equity.tolist(), found.maintenance.tolist(), strict=True
            )
        }
        shortfall = self.fold.machine.registry.rules.witness_shortfall_ppm
        unknown = (float("nan"), float("nan"))
        for account, row in zip(accounts.tolist(), first.tolist(), strict=True):
            numbers = (row[0], row[2]), second.get(account, unknown)
            beyond = all(is_short(equity, maintenance, shortfall) for equity, maintenance in numbers)
            without = account in alone and account not in with_numbers
            self.begun.append(Begun(self.fold.position - 1, account, self.fold.price_id, *numbers, without, beyond))

    def _first(self, accounts: Numbers) -> Figures:
        """[accounts, 3] equity, initial and maintenance margin by the right first engine."""
        if self._right is None:
            self._right = self._tables()
        found: Figures = figures_of(self.fold.machine.state, self._right, accounts)
        return found

    def _tables(self) -> Tables:
        """Tables built anew of the prices of the last mark, right or wrong as is planted."""
        machine = self.fold.machine
        return marks.build(machine.state, machine.registry, time=machine.marked.market.time).arrays

    def _statuses(self) -> Numbers:
        """A copy of all accounts' statuses."""
        state = self.fold.machine.state
        statuses: Numbers = state.accounts[: int(state.counters[Counter.ACCOUNTS]), Account.STATUS].copy()
        return statuses

    def _compare_roots(self) -> None:
        """Hold what a majority certified against the roots taken here."""
        taken = self.fold.checkpoints
        if taken and taken[-1].position == self.fold.position - 1:
            self._roots[taken[-1].position] = taken[-1].root
        for one in self.fold.machine.registry.certified:
            if one.position in self._roots:
                same = self._roots.pop(one.position) == one.root
                (self.certified if same else self.strange).append(one.position)
