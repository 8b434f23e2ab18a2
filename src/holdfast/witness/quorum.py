"""What replicas said: ballots about accounts and withdrawals, and words on state roots (specs/quorum.md).

What lives here: reading votes and counting them. What may not: what a complete quorum does, and whether a vote is
accepted, which the log's outcomes say.
"""

from typing import NamedTuple

import numpy as np

from holdfast.domain.errors import InputError
from holdfast.witness.clock import Clock

BELOW, ABOVE, BAND = 1, 2, 3
AGE_MAXIMUM = 60 * 10**9
CHECKPOINTS_MAXIMUM = 64
MARKS_MAXIMUM = 64
DISCREPANCIES_MAXIMUM = 1_024
_HEADER, _ROW_LENGTH, _SIGNATURE = 112, 64, 64

ROW = np.dtype(
    {
        "names": ["account", "verdict", "flags", "version", "equity", "maintenance", "b_equity", "b_maintenance"],
        "formats": ["<u4", "u1", "u1", "<u8", "<f8", "<f8", "<f8", "<f8"],
        "offsets": [0, 4, 5, 8, 16, 24, 32, 40],
        "itemsize": _ROW_LENGTH,
    }
)


class Row(NamedTuple):
    """One row of a vote; `subject` is an account's or a withdrawal's number, the last two are the second engine's."""

    subject: int
    verdict: int
    has_second: bool
    is_withdrawal: bool
    version: int
    equity: float
    maintenance: float
    second_equity: float
    second_maintenance: float


class Vote(NamedTuple):
    """A replica's signed batch."""

    replica: int
    position: int
    root: bytes
    price_id: int
    rows: list[Row]


class Ballot(NamedTuple):
    """What one replica said of one account or withdrawal."""

    position: int
    price_id: int
    time: int
    version: int
    has_second: bool


def read_vote(data: bytes) -> Vote:
    """Read a vote (VOT-3, VOT-4).

    Raises:
        InputError: code "malformed".
    """
    count = int.from_bytes(data[104:108], "little")
    if data[:4] != b"HFVT" or len(data) != _HEADER + _ROW_LENGTH * count + _SIGNATURE:
        raise InputError("malformed", "vote", data[:4], "give the bytes of a vote of format 1")
    replica = int.from_bytes(data[8:12], "little")
    position, price_id = (int.from_bytes(data[place : place + 8], "little") for place in (16, 88))
    rows = [
        Row(account, verdict, not flags & 1, bool(flags & 2), version, *numbers)
        for account, verdict, flags, version, *numbers in np.frombuffer(data, ROW, count, _HEADER).tolist()
    ]
    return Vote(replica, position, bytes(data[56:88]), price_id, rows)


class Discrepancy(NamedTuple):
    """What a replica's two engines differed in, of one account."""

    position: int
    price_id: int
    version: int
    engine: str


def verdict_of(first: float, second: float, tolerance: float) -> int:
    """The verdict on equity less maintenance margin of two engines (QRM-19)."""
    if max(first, second) > tolerance:
        return ABOVE
    return BELOW if max(first, second) < -tolerance else BAND


class Quorum:
    """All that was said and still counts.

    Attributes:
        ballots: By account, by replica.
        releases: By withdrawal, by replica.
        discrepancies: By account, by replica.
        marks: (position, price id) of the last marks that votes and reports can speak of.
        checkpoints: Positions at which a root was due, the latest 64.
        words: By checkpoint, by replica, the root that it named.
        certified: By checkpoint, the root of the majority.
        frozen: Whether decisions are frozen (QRM-15).
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.ballots: dict[int, dict[int, Ballot]] = {}
        self.releases: dict[int, dict[int, Ballot]] = {}
        self.discrepancies: dict[int, dict[int, Discrepancy]] = {}
        self.marks: list[tuple[int, int]] = []
        self.checkpoints: list[int] = []
        self.words: dict[int, dict[int, bytes]] = {}
        self.certified: dict[int, bytes] = {}
        self.frozen = False

    def is_majority(self, count: int) -> bool:
        """Whether more than half of all configured replicas are so many."""
        return 2 * count > len(self._clock.replicas)

    def holds_decisions(self) -> bool:
        """Whether nothing may begin that cannot be taken back (QRM-15)."""
        return self.frozen or any(
            len(set(words.values())) > 1 and place not in self.certified for place, words in self.words.items()
        )

    def enough(self, said: dict[int, Ballot], version: int, *, second_only: bool) -> bool:
        """Whether ballots about one mark are enough (QRM-4)."""
        counted: dict[tuple[int, int], list[int]] = {}
        for replica, ballot in said.items():
            is_fresh = self._clock.now - ballot.time <= AGE_MAXIMUM and ballot.version == version
            if is_fresh and (ballot.has_second or not second_only):
                counted.setdefault((ballot.position, ballot.price_id), []).append(replica)
        return any(self._suffices(replicas) for replicas in counted.values())

    def _suffices(self, voters: list[int]) -> bool:
        replicas = self._clock.replicas
        named = {replica.region for replica in replicas if replica.region}
        regions = {replicas[voter].region for voter in voters if replicas[voter].region}
        return self.is_majority(len(voters)) and (len(named) < 2 or len(regions) >= 2)

    def is_alone(self) -> bool:
        """Whether one replica is configured, whose word is the quorum (QRM-5)."""
        return len(self._clock.replicas) == 1

    def remember_mark(self, position: int, price_id: int) -> None:
        """The frame at `position` had a mark (QRM-1)."""
        self.marks = [*self.marks, (position, price_id)][-MARKS_MAXIMUM:]

    def differs(self, account: int, replica: int, said: Discrepancy) -> bool:
        """Record a discrepancy; whether more than half of the replicas said so of the same numbers (QRM-22)."""
        known = self.discrepancies.setdefault(account, {})
        known[replica] = said
        return self.is_majority(sum(one == said for one in known.values()))

    def bound_discrepancies(self) -> None:
        """At most 1,024 accounts: those of the oldest mark go, of several the lowest number (QRM-21)."""
        while len(self.discrepancies) > DISCREPANCIES_MAXIMUM:
            oldest = min(self.discrepancies, key=lambda a: (min(d.position for d in self.discrepancies[a].values()), a))
            del self.discrepancies[oldest]

    def forget_marks(self) -> None:
        """Forget what was said of marks that are no longer remembered (QRM-21)."""
        remembered = set(self.marks)
        for account, said in list(self.discrepancies.items()):
            kept = {replica: one for replica, one in said.items() if (one.position, one.price_id) in remembered}
            if kept:
                self.discrepancies[account] = kept
            else:
                del self.discrepancies[account]

    def remember_checkpoint(self, position: int) -> None:
        """A root was due after the frame at `position` (QRM-12)."""
        self.checkpoints = [*self.checkpoints, position][-CHECKPOINTS_MAXIMUM:]
        remembered = set(self.checkpoints)
        self.words = {place: words for place, words in self.words.items() if place in remembered}

    def word(self, replica: int, position: int, root: bytes) -> None:
        """A replica's word on the state root at a checkpoint (QRM-12, QRM-13)."""
        if position not in self.checkpoints:
            return
        words = self.words.setdefault(position, {})
        if replica in words:
            return
        words[replica] = root
        self._judge(position)

    def _judge(self, position: int) -> None:
        words = self.words[position]
        for root in set(words.values()):
            if self.is_majority(sum(word == root for word in words.values())):
                self.certified[position] = root
        root_of_all = self.certified.get(position)
        if root_of_all is not None:
            self.certified = dict(sorted(self.certified.items())[-CHECKPOINTS_MAXIMUM:])
            for voter in [voter for voter, word in words.items() if word != root_of_all]:
                self.suspend(voter)
            return
        voters = [number for number, replica in enumerate(self._clock.replicas) if not replica.suspended]
        if all(voter in words for voter in voters):
            self.frozen = True

    def suspend(self, replica: int) -> None:
        """A replica takes no part any more, and what it said is forgotten (QRM-14)."""
        self._clock.replicas[replica].suspended = True
        self.forget_replica(replica)

    def forget_replica(self, replica: int) -> None:
        """Forget what a replica said of accounts, withdrawals and roots."""
        said: list[dict[int, Ballot]] = [*self.ballots.values(), *self.releases.values()]
        for ballots in said:
            ballots.pop(replica, None)
        for words in self.words.values():
            words.pop(replica, None)

    def release(self) -> None:
        """End a freeze and forget the checkpoints that are not certified and that roots were named for (QRM-15)."""
        self.frozen = False
        gone = {place for place, words in self.words.items() if words and place not in self.certified}
        self.checkpoints = [place for place in self.checkpoints if place not in gone]
        self.words = {place: words for place, words in self.words.items() if place not in gone}
