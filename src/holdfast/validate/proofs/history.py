"""One pass over a log: the commands that proofs are made of, the tree of frames, and who the replicas were.

What may not live here: choosing among them (`evidence`).
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from holdfast.core.fold import Applied, Fold
from holdfast.core.registry import Replica
from holdfast.core.state import Account, Status
from holdfast.domain.commands import (
    CastVote,
    ColdCommand,
    Cosign,
    DefineReplica,
    Liquidate,
    OpenAccount,
    PublishLiabilities,
    QuarantineCommand,
    decode_cold,
)
from holdfast.domain.errors import HoldfastError, InputError
from holdfast.domain.frames import Frame, RecordKind, decode_frame
from holdfast.domain.reasons import Reason
from holdfast.domain.votes import FLAG_WITHDRAWAL, Verdict, Vote, decode_vote
from holdfast.log.protocol import Log
from holdfast.proof.frame_tree import FrameHashes

TAGS = (b"vote", b"cosign", b"define-replica", b"liquidate", b"publish-liabilities", b"open-account")
"""One of these is in the bytes of every command that is collected; other frames need no closer look."""
QUARANTINE_TAG = b"quarantine"


class Place(NamedTuple):
    """Where a command stands: position of its frame, index of its record."""

    position: int
    record: int


class Said(NamedTuple):
    """A vote that was accepted, and where it stands."""

    place: Place
    vote: Vote


class Episode(NamedTuple):
    """One liquidation of an account.

    Attributes:
        ballots: The votes BELOW on the version and mark whose quorum began it, in order of the log.
        row: What the last of them says of the account.
        stages: Where its accepted stages stand.
    """

    ballots: tuple[Said, ...]
    row: Any
    stages: tuple[Place, ...]


class History:
    """What one pass over a log collected.

    Attributes:
        log: H at the frame that defined the first replica, which names the log; empty before there is one.
        hashes: The tree of frames.
        names: Numbers of accounts by the name they were opened with; of two the first.
        roots: Accepted votes on state roots.
        cosignatures: Accepted cosignatures.
        definitions: Accepted definitions of replicas, with their places.
        publications: Accepted published sums, with their places.
        replicas: (position, replicas after it) wherever they changed.
        fold: After the last frame.
    """

    def __init__(self) -> None:
        self.log = b""
        self.hashes = FrameHashes()
        self.names: dict[str, int] = {}
        self.roots: list[Said] = []
        self.cosignatures: list[Cosign] = []
        self.definitions: list[tuple[Place, DefineReplica]] = []
        self.publications: list[tuple[Place, PublishLiabilities]] = []
        self.replicas: list[tuple[int, tuple[Replica, ...]]] = []
        self.fold = Fold()
        self._ballots: list[Said] = []
        self._begun: list[tuple[int, int]] = []
        self._stages: list[tuple[Place, int]] = []

    def take(self, data: bytes) -> Applied:
        """Fold the next frame and collect what it holds."""
        applied = self.fold.apply(data)
        self.hashes.append(data)
        replicas = self.fold.machine.registry.replicas
        self.log = self.log or (self.fold.chain if replicas else b"")
        if not self.replicas or _identities(self.replicas[-1][1]) != _identities(replicas):
            self.replicas.append((applied.position, replicas))
        if any(tag in data for tag in TAGS):
            for place, command in accepted(decode_frame(data), applied):
                self._collect(place, command, applied.outcomes[place.record])
        return applied

    def replicas_at(self, position: int) -> tuple[Replica, ...]:
        """Who the replicas were after a frame."""
        return next((known for at, known in reversed(self.replicas) if at <= position), ())

    def episodes(self, account: int) -> list[Episode]:
        """The liquidations of an account, in order of the log."""
        begun = [self._ballots[at] for one, at in self._begun if one == account]
        starts = [said.place for said in begun] + [Place(self.fold.position, 0)]
        found = []
        for said, start, end in zip(begun, starts, starts[1:], strict=False):
            ballots = tuple(
                one for one in self._ballots if one.place <= start and _is_with(one.vote, said.vote, account)
            )
            stages = tuple(place for place, whose in self._stages if whose == account and start < place < end)
            found.append(Episode(ballots, row_of(said.vote, account), stages))
        return found

    def _collect(self, place: Place, command: ColdCommand, outcome: Any) -> None:
        if isinstance(command, CastVote):
            self._collect_vote(Said(place, decode_vote(command.vote)), outcome)
        elif isinstance(command, Cosign):
            self.cosignatures.append(command)
        elif isinstance(command, DefineReplica):
            self.definitions.append((place, command))
        elif isinstance(command, PublishLiabilities):
            self.publications.append((place, command))
        elif isinstance(command, Liquidate):
            self._stages.append((place, command.account))
        elif isinstance(command, OpenAccount) and command.name:
            self.names.setdefault(command.name, int(outcome["made"]))

    def _collect_vote(self, said: Said, outcome: Any) -> None:
        rows = said.vote.rows
        if not len(rows):
            self.roots.append(said)
            return
        self._ballots.append(said)
        if outcome["made"]:
            below = rows["account"][(rows["verdict"] == Verdict.BELOW) & ((rows["flags"] & FLAG_WITHDRAWAL) == 0)]
            statuses = self.fold.machine.state.accounts[below, Account.STATUS]
            ended = below[statuses != Status.BREACH_PENDING].tolist()
            self._begun += [(account, len(self._ballots) - 1) for account in ended]


def row_of(vote: Vote, account: int) -> Any:
    """What a vote says BELOW of an account; None where it says nothing such."""
    rows = vote.rows
    wanted = (rows["account"] == account) & ((rows["flags"] & FLAG_WITHDRAWAL) == 0)
    found = rows[wanted & (rows["verdict"] == Verdict.BELOW)]
    return found[0] if len(found) else None


def _is_with(one: Vote, other: Vote, account: int) -> bool:
    """Whether two votes speak of the same mark and version of an account."""
    these, those = row_of(one, account), row_of(other, account)
    if these is None or those is None:
        return False
    marks = (one.position, one.price_id, one.chain_hash) == (other.position, other.price_id, other.chain_hash)
    return bool(marks and these["account_version"] == those["account_version"])


def _identities(replicas: Sequence[Replica]) -> list[tuple[str, bytes, str, bool]]:
    return [(one.name, one.public_key, one.region, one.suspended) for one in replicas]


def cold_commands(frame: Frame, position: int) -> Iterator[tuple[Place, ColdCommand]]:
    """The cold commands of a frame that can be read."""
    for index in np.flatnonzero(frame.records["kind"] == RecordKind.COLD).tolist():
        with contextlib.suppress(InputError):
            yield Place(position, index), decode_cold(frame.cold(index))


def accepted(frame: Frame, applied: Applied) -> Iterator[tuple[Place, ColdCommand]]:
    """The cold commands of a frame that took effect there for the first time."""
    for place, command in cold_commands(frame, applied.position):
        outcome = applied.outcomes[place.record]
        if outcome["reason"] == Reason.ACCEPTED and not outcome["repeated"]:
            yield place, command


def learn_quarantines(fold: Fold, log: Log) -> None:
    """Read the quarantines of a log before it is folded (QRM-9)."""
    for _, data in log.read(0):
        if QUARANTINE_TAG in data:
            for quarantine in _quarantines(data):
                with contextlib.suppress(HoldfastError):
                    fold.learn_quarantine(quarantine)


def _quarantines(data: bytes) -> Iterator[bytes]:
    with contextlib.suppress(HoldfastError):
        for _, command in cold_commands(decode_frame(data), 0):
            if isinstance(command, QuarantineCommand):
                yield command.quarantine


def read_history(log: Log) -> History:
    """Fold a log from its first frame to its last, and collect what proofs are made of."""
    history = History()
    learn_quarantines(history.fold, log)
    for _, data in log.read(0):
        history.take(data)
    return history


def fold_to(log: Log, position: int) -> Fold:
    """The state after the frame at a position."""
    fold = Fold()
    learn_quarantines(fold, log)
    for _, data in log.read(0, position + 1):
        fold.apply(data)
    return fold
