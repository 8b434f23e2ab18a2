"""An observer beside the cluster: it folds the log from an engine's copy, by itself, from its beginning.

It so knows every account's status without asking anybody, has a state root of its own to compare the engines' with, and
says at the end whether what clients were told stands in the log, once. It reads whichever copy is longest; a frame has
the same place and bytes in each, which is checked at the end. What may not live here: connections, the picture.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from holdfast.core.fold import Applied, Fold
from holdfast.core.state import INSURANCE, SYSTEM_ACCOUNTS, Account, Counter, Status
from holdfast.domain.commands import Liquidate, decode_cold
from holdfast.domain.frames import Frame, decode_frame
from holdfast.domain.outcomes import Outcomes
from holdfast.domain.reasons import Reason
from holdfast.log.errors import LogError
from holdfast.log.sqlite import SqliteLog
from holdfast.stress.replay.audit import NOT_EXECUTED, is_conserved

_FRAMES_AT_ONCE = 512
BEGUN, RESTORED, TAKEN_OVER, STOPPED = "liquidation begins", "restored", "taken over by the fund", "set aside"
"""What happens to accounts."""
NAMED = 4
"""Accounts that a line names."""


class Told(NamedTuple):
    """What a client was told of commands under numbers that follow each other.

    Attributes:
        session: Whose numbers.
        first: Number of the first.
        outcomes: [commands] of type OUTCOME.
    """

    session: int
    first: int
    outcomes: Outcomes


class Seen(NamedTuple):
    """What the state says.

    Attributes:
        position: Of the last frame that was folded.
        time: Logical time, ns.
        statuses: [Status] number of clients' accounts.
        begun: Liquidations begun so far.
        taken_over: Accounts taken over by the insurance fund so far.
        fund: The insurance fund's equity, dollars.
        happened: What happened to accounts since the last look: account from 0, and which of BEGUN, RESTORED,
            TAKEN_OVER, STOPPED.
    """

    position: int
    time: int
    statuses: tuple[int, ...]
    begun: int
    taken_over: int
    fund: float
    happened: tuple[tuple[int, str], ...]


class Findings(NamedTuple):
    """The verdict on what clients were told.

    Attributes:
        acknowledged: Commands that they were told of.
        lost: Of them, those that the log has not, or with another outcome.
        twice: Commands that took effect under a number more than once.
    """

    acknowledged: int
    lost: int
    twice: int


def words(happened: Sequence[tuple[int, str]], name: Callable[[int], str]) -> Iterator[str]:
    """What happened to accounts, in as few lines as kinds of happenings.

    Args:
        happened: As in `Seen`.
        name: Gives an account's name.
    """
    for kind in (BEGUN, RESTORED, TAKEN_OVER, STOPPED):
        names = [name(account) for account, what in happened if what == kind]
        if names:
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            yield f"{kind}: {', '.join(names[:NAMED])}{more}"


class Executions:
    """Which numbers of sessions were used up, by which command, with which outcome."""

    def __init__(self) -> None:
        self._of: dict[int, dict[int, tuple[int, int]]] = {}
        self.twice = 0

    def take(self, records: NDArray[np.void], outcomes: Outcomes) -> None:
        """The records of a frame and what became of them."""
        used = (outcomes["repeated"] == 0) & (outcomes["reason"] != Reason.ALREADY_APPLIED)
        used &= ~np.isin(outcomes["reason"], NOT_EXECUTED) & (records["number"] > 0)
        columns = (records["session"], records["number"], outcomes["command"], outcomes["reason"])
        for session, number, command, reason in zip(*(one[used].tolist() for one in columns), strict=True):
            known = self._of.setdefault(session, {})
            self.twice += number in known
            known[number] = command, reason

    def judge(self, told: Iterable[Told]) -> Findings:
        """Compare with what clients were told."""
        acknowledged = lost = 0
        for one in told:
            known = self._of.get(one.session, {})
            said = zip(one.outcomes["command"].tolist(), one.outcomes["reason"].tolist(), strict=True)
            for number, (command, reason) in enumerate(said, one.first):
                acknowledged += 1
                # A client whose first outcome is no longer kept is told only that it was applied.
                right = number in known if reason == Reason.ALREADY_APPLIED else known.get(number) == (command, reason)
                lost += not right
        return Findings(acknowledged, lost, self.twice)


class Observer:
    """Folds what is new, as often as it is asked to; not from two threads at once.

    Attributes:
        fold: The state.
        executions: Of all commands so far.
        roots: By position, the root at each checkpoint so far, hexadecimal.
    """

    def __init__(self, copies: Mapping[str, Path]) -> None:
        """An observer that has read nothing.

        Args:
            copies: By engine, the file of its copy of the log.
        """
        self.fold = Fold()
        self.executions = Executions()
        self.roots: dict[int, str] = {}
        self._copies = dict(copies)
        self._logs: dict[str, SqliteLog] = {}
        self._statuses = np.zeros(0, np.int64)
        self._begun = self._taken_over = 0
        self._happened: list[tuple[int, str]] = []

    def look(self) -> Seen:
        """Fold what is new in the longest copy, and say what the state is."""
        ends = {name: end for name in self._copies if (end := self._end(name)) is not None}
        longest = max(ends, key=lambda name: ends[name], default="")
        if longest and ends[longest] > self.fold.position:
            self._fold_from(longest)
        return self._seen()

    def take(self, data: bytes) -> None:
        """Fold the next frame."""
        applied, frame = self.fold.apply(data), decode_frame(data)
        self.executions.take(frame.records, applied.outcomes)
        for checkpoint in self.fold.checkpoints[-1:]:
            self.roots[checkpoint.position] = checkpoint.root.hex()
        self._count(frame, applied)

    def is_conserved(self) -> bool:
        """Whether everything sums to zero over all accounts."""
        return is_conserved(self.fold)

    def are_copies_equal(self) -> bool:
        """Whether all engines' copies are the same log, as far as the shortest one goes; at least one frame."""
        ends = [self._end(name) for name in self._copies]
        shortest = min((end for end in ends if end is not None), default=0)
        if None in ends or not shortest:
            return False
        return len({self._logs[name].hash_at(shortest - 1) for name in self._copies}) == 1

    def close(self) -> None:
        """Let go of the files."""
        for name in list(self._logs):
            self._forget(name)

    def _end(self, name: str) -> int | None:
        """Where an engine's copy ends; None where it cannot be read now."""
        try:
            if name not in self._logs:
                self._logs[name] = SqliteLog(self._copies[name], writable=False)
            return self._logs[name].end
        except LogError:
            self._forget(name)
            return None

    def _fold_from(self, name: str) -> None:
        try:
            for _, data in self._logs[name].read(self.fold.position, _FRAMES_AT_ONCE):
                self.take(data)
        except LogError:
            # Its engine may be starting again; what was read before was checked, and another copy has the rest.
            self._forget(name)

    def _forget(self, name: str) -> None:
        log = self._logs.pop(name, None)
        if log is not None:
            log.close()

    def _count(self, frame: Frame, applied: Applied) -> None:
        taken = set[int]()
        for index, detail in applied.details.items():
            if isinstance(detail, dict) and "takeover" in detail:
                stage = decode_cold(frame.cold(index))
                taken |= {stage.account - SYSTEM_ACCOUNTS} if isinstance(stage, Liquidate) else set()
        self._taken_over += len(taken)
        self._happened += [(account, TAKEN_OVER) for account in sorted(taken)]
        state = self.fold.machine.state
        now = state.accounts[SYSTEM_ACCOUNTS : int(state.counters[Counter.ACCOUNTS]), Account.STATUS]
        before = np.zeros(len(now), np.int64)
        before[: len(self._statuses)] = self._statuses
        for account in np.flatnonzero(now != before).tolist():
            if account not in taken:
                self._changed(account, int(before[account]), int(now[account]))
        self._statuses = now.copy()

    def _changed(self, account: int, before: int, now: int) -> None:
        if now == Status.LIQUIDATING:
            self._begun += 1
            self._happened.append((account, BEGUN))
        elif before == Status.LIQUIDATING:
            self._happened.append((account, RESTORED if now == Status.HEALTHY else STOPPED))

    def _seen(self) -> Seen:
        happened, self._happened = tuple(self._happened), []
        return Seen(
            position=self.fold.position - 1,
            time=self.fold.time,
            statuses=tuple(np.bincount(self._statuses, minlength=len(Status)).tolist()),
            begun=self._begun,
            taken_over=self._taken_over,
            fund=float(self.fold.machine.state.figures[INSURANCE, 0]),
            happened=happened,
        )


def wrong_roots(roots: Mapping[int, str], said: Mapping[str, Mapping[int, str]]) -> list[str]:
    """Roots that engines said they had at checkpoints and that are not the observer's.

    Args:
        roots: The observer's by position.
        said: By engine, what it said by position; of positions that the observer has not folded nothing is known.
    """
    last = max(roots, default=-1)
    return [
        f"{engine} said {root[:16]} at position {position}, the log gives {roots.get(position, 'none')[:16]}"
        for engine, known in said.items()
        for position, root in known.items()
        if position <= last and roots.get(position) != root
    ]
