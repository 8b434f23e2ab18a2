"""How a node comes to its state: its copy of the log, and the newest snapshot that the log certifies.

Theory of operation. A snapshot proves nothing by itself; the log after it does. It holds the replicas' signed votes on
the root at the snapshot's position, and whoever has the replicas' keys can count them without folding anything. So a
snapshot may come from anywhere: this node's disk, or the object store. The frames before it are in the copy, whose H at
the snapshot's position must be the snapshot's. Without a certified snapshot the log is folded from its beginning.

What may not live here: connections, folding beyond the start. Normative: specs/cluster-node.md.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from holdfast.core.fold import Fold
from holdfast.core.snapshot import fold_from
from holdfast.domain.commands import CastVote, QuarantineCommand, decode_cold
from holdfast.domain.errors import HoldfastError
from holdfast.domain.votes import Vote, decode_vote, verify_vote
from holdfast.log.protocol import Log
from holdfast.replica.folder import NAMES_SUFFIX, SnapshotFiles
from holdfast.replica.names import AccountNames
from holdfast.replica.node.commands_of import QUARANTINE_TAG, VOTE_TAG, cold_commands

CERTIFYING_FRAMES = 4_096
"""Frames after a snapshot in which its votes are looked for."""


class Candidate(NamedTuple):
    """A snapshot that might be started from.

    Attributes:
        source: Where it came from, for people.
        snapshot: Its bytes.
        names: Those kept beside it.
    """

    source: str
    snapshot: bytes
    names: bytes


class Begun(NamedTuple):
    """A state to go on from.

    Attributes:
        fold: With the frames up to the snapshot.
        names: Of its accounts.
        source: Where the snapshot came from; empty where there was none.
        passed_over: Snapshots that could not be used, a line for each.
    """

    fold: Fold
    names: AccountNames
    source: str
    passed_over: tuple[str, ...]


def begin(copy: Log, candidates: Iterator[Candidate], keys: Sequence[bytes]) -> Begun:
    """The state of the first candidate that the log certifies; else that of an empty log.

    Args:
        copy: The frames of the log, as far as this node has them.
        candidates: Snapshots, the best first; they are asked for one by one.
        keys: Public keys of all replicas, by number.
    """
    passed_over: list[str] = []
    for candidate in candidates:
        try:
            fold = fold_from(candidate.snapshot)
            last = fold.position - 1
            problem = problem_of(copy, last, fold.chain, fold.root(), keys)
            if not problem:
                names = AccountNames.decode(candidate.names, last, fold.chain)
                return Begun(fold, names, candidate.source, tuple(passed_over))
        except (HoldfastError, LookupError, ValueError) as error:
            problem = str(error)
        passed_over.append(f"{candidate.source}: {problem}")
    return Begun(Fold(), AccountNames(), "", tuple(passed_over))


def problem_of(copy: Log, position: int, chain: bytes, root: bytes, keys: Sequence[bytes]) -> str:
    """Why a snapshot cannot be trusted; empty where the log certifies it."""
    if position >= copy.end:
        return f"is of position {position}, which the log of {copy.end} frames does not reach"
    if copy.hash_at(position) != chain:
        return f"is of another log: H at position {position} differs"
    agreeing = set()
    for vote in votes(copy, position + 1, keys):
        if (vote.position, vote.chain_hash, vote.state_root) == (position, chain, root):
            agreeing.add(vote.replica)
            if 2 * len(agreeing) > len(keys):
                return ""
    return f"only {len(agreeing)} of {len(keys)} replicas voted for its root"


def votes(copy: Log, start: int, keys: Sequence[bytes]) -> Iterator[Vote]:
    """The votes with a right signature in the frames from a position on, as far as certifying looks."""
    for _, data in copy.read(start, CERTIFYING_FRAMES):
        for content in cold_commands(data, VOTE_TAG):
            with contextlib.suppress(HoldfastError, LookupError):
                command = decode_cold(content)
                if isinstance(command, CastVote):
                    yield verify_vote(command.vote, keys[decode_vote(command.vote).replica])


def quarantines(frame: bytes) -> Iterator[bytes]:
    """The quarantines that a frame carries, whether or not the fold would take it."""
    for content in cold_commands(frame, QUARANTINE_TAG):
        with contextlib.suppress(HoldfastError):
            command = decode_cold(content)
            if isinstance(command, QuarantineCommand):
                yield command.quarantine


def local_snapshots(folder: Path) -> Iterator[Candidate]:
    """The snapshots of a folder, the newest first."""
    for path in SnapshotFiles(folder).newest_first():
        with contextlib.suppress(OSError):
            yield Candidate(str(path), path.read_bytes(), path.with_suffix(NAMES_SUFFIX).read_bytes())
