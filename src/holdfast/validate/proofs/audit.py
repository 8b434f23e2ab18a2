"""A whole log checked: folded again from its first frame, with everything that replicas signed in it held against that.

What lives here: the check, and its first contradiction. What may not: making proofs. Normative: specs/proofs.md.
"""

from typing import NamedTuple

from holdfast.core.fold import Applied, Fold
from holdfast.core.registry import Replica
from holdfast.domain.commands import CastVote, ColdCommand, Cosign
from holdfast.domain.errors import HoldfastError, InputError
from holdfast.domain.frames import decode_frame
from holdfast.domain.votes import Vote, VoteError, decode_vote, verify_vote
from holdfast.log.errors import CorruptLogError
from holdfast.log.protocol import Log
from holdfast.proof.checkpoint import base64_of, origin_of
from holdfast.proof.frame_tree import FrameHashes
from holdfast.proof.verifier import Trust
from holdfast.validate.proofs.history import accepted, cold_commands, learn_quarantines

TAGS = (b"vote", b"cosign")


class ContradictionError(HoldfastError):
    """The first thing in a log that contradicts the rest of it, or what somebody kept of it: what, and where."""

    def __init__(self, problem: str, position: int) -> None:
        super().__init__(problem, position)
        self.problem, self.position = problem, position

    def __str__(self) -> str:
        return f"frame {self.position}: {self.problem}"


class Kept(NamedTuple):
    """A checkpoint that somebody kept: its origin, size and root."""

    origin: str
    size: int
    root: bytes


class Audit(NamedTuple):
    """What was checked and agreed.

    Attributes:
        frames: Of the log.
        chain: H after the last.
        tree: Root of the tree of frames.
        state_root: After the last frame.
        roots: Votes on state roots that named the root which the log folds to.
        checkpoints: How many checkpoints they were about.
        cosignatures: Cosignatures of a tree that is this log's.
        newest: Frames of the largest tree that was cosigned.
        strangers: What replicas signed that is not so, each where a majority signed what is.
        replicas: At the end.
    """

    frames: int
    chain: bytes
    tree: bytes
    state_root: bytes
    roots: int
    checkpoints: int
    cosignatures: int
    newest: int
    strangers: int
    replicas: tuple[Replica, ...]


class _Claim:
    """What replicas signed about one thing: who is right, and who is not, with the frame and in words."""

    def __init__(self) -> None:
        self.right: set[int] = set()
        self.wrong: dict[int, tuple[int, str]] = {}


class Auditor:
    """Folds a log frame by frame and checks what is signed in it."""

    def __init__(self, log: Log, kept: Kept | None = None) -> None:
        self._log, self._kept = log, kept
        self.fold, self._hashes = Fold(), FrameHashes()
        self._name = b""
        self._own: dict[int, bytes] = {}
        self._roots: dict[int, _Claim] = {}
        self._trees: dict[int, _Claim] = {}
        self.keys: list[frozenset[bytes]] = []
        """The sets of keys that the replicas had, in order."""

    def take(self, data: bytes) -> None:
        """Fold the next frame, and check what it says of those before."""
        position = self.fold.position
        try:
            applied = self.fold.apply(data)
        except HoldfastError as error:
            raise ContradictionError(f"cannot be folded ({error})", position) from error
        self._hashes.append(data)
        self._name = self._name or (self.fold.chain if self.fold.machine.registry.replicas else b"")
        if self.fold.checkpoints and self.fold.checkpoints[-1].position == position:
            self._own[position] = self.fold.checkpoints[-1].root
        self._check_kept(position)
        self._note_keys()
        if any(tag in data for tag in TAGS):
            self._check(data, applied)

    def result(self) -> Audit:
        """What was checked.

        Raises:
            ContradictionError: Something signed is not so, and no majority says what is; or the log ends before what
                somebody kept.
        """
        end, replicas = self.fold.position, self.fold.machine.registry.replicas
        claims = [*self._roots.values(), *self._trees.values()]
        wrong = [found for one in claims for found in one.wrong.values() if 2 * len(one.right) <= len(replicas)]
        if wrong:
            position, problem = min(wrong)
            raise ContradictionError(problem, position)
        if self._kept is not None and self._kept.origin != origin_of(self._name):
            problem = f"this is the log {origin_of(self._name)}, the checkpoint is of {self._kept.origin}"
            raise ContradictionError(problem, end)
        if self._kept is not None and self._kept.size > end:
            problem = f"the log ends at {end} frames, before the {self._kept.size} of the checkpoint: it was truncated"
            raise ContradictionError(problem, end)
        return Audit(
            frames=end,
            chain=self.fold.chain,
            tree=self._hashes.root(),
            state_root=self.fold.root(),
            roots=sum(len(one.right) for one in self._roots.values()),
            checkpoints=len(self._roots),
            cosignatures=sum(len(one.right) for one in self._trees.values()),
            newest=max((size for size, one in self._trees.items() if one.right), default=0),
            strangers=sum(len(one.wrong) for one in claims),
            replicas=replicas,
        )

    def _check_kept(self, position: int) -> None:
        if self._kept is None or self._kept.size != position + 1:
            return
        root = self._hashes.root()
        if root != self._kept.root:
            problem = f"the first {position + 1} frames have the root {base64_of(root)}, "
            problem += f"not {base64_of(self._kept.root)} as in the checkpoint: the log was forked or rewritten"
            raise ContradictionError(problem, position)

    def _note_keys(self) -> None:
        keys = frozenset(one.public_key for one in self.fold.machine.registry.replicas)
        if not self.keys or self.keys[-1] != keys:
            self.keys.append(keys)

    def _check(self, data: bytes, applied: Applied) -> None:
        frame = decode_frame(data)
        taken = {place.record: command for place, command in accepted(frame, applied)}
        for place, command in cold_commands(frame, applied.position):
            if isinstance(command, CastVote):
                self._check_vote(command, applied)
            elif place.record in taken:
                self._check_cosignature(command, applied.position)

    def _check_vote(self, command: CastVote, applied: Applied) -> None:
        vote = self._signed(command)
        if vote is None or vote.position >= applied.position:
            return
        chain, claim = self._log.hash_at(vote.position), _Claim()
        if vote.chain_hash != chain:
            problem = f"replica {vote.replica} signed H {vote.chain_hash.hex()} at position {vote.position}, "
            problem += f"where this log has {chain.hex()}: it was forked or rewritten"
            claim = self._roots.setdefault(vote.position, claim)
            claim.wrong.setdefault(vote.replica, (applied.position, problem))
        elif not len(vote.rows) and vote.position in self._own:
            claim = self._roots.setdefault(vote.position, claim)
            if vote.state_root == self._own[vote.position]:
                claim.right.add(vote.replica)
                return
            problem = f"replica {vote.replica} voted for the state root {vote.state_root.hex()} at position "
            problem += f"{vote.position}, where the log folds to {self._own[vote.position].hex()}"
            claim.wrong.setdefault(vote.replica, (applied.position, problem))

    def _signed(self, command: CastVote) -> Vote | None:
        """The vote, if the replica that it names signed it with the key that it has now."""
        try:
            number, replicas = decode_vote(command.vote).replica, self.fold.machine.registry.replicas
            return verify_vote(command.vote, replicas[number].public_key) if number < len(replicas) else None
        except (VoteError, InputError):
            return None

    def _check_cosignature(self, command: ColdCommand, position: int) -> None:
        if not isinstance(command, Cosign):
            return
        root, claim = self._hashes.root(command.size), self._trees.setdefault(command.size, _Claim())
        if command.log == self._name and command.root == root:
            claim.right.add(command.replica)
            return
        problem = f"replica {command.replica} cosigned {base64_of(command.root)} for {command.size} frames of "
        problem += f"{command.log.hex()}, where this log {self._name.hex()} has {base64_of(root)}"
        claim.wrong.setdefault(command.replica, (position, problem))


def audit_log(log: Log, trust: Trust | None = None, kept: Kept | None = None) -> Audit:
    """Check a whole log.

    Args:
        log: The log.
        trust: Keys that its replicas must have had at some time, all of them together.
        kept: A checkpoint that the log must go on from.

    Raises:
        ContradictionError: The first contradiction.
    """
    auditor = Auditor(log, kept)
    try:
        learn_quarantines(auditor.fold, log)
        for _, data in log.read(0):
            auditor.take(data)
    except CorruptLogError as error:
        raise ContradictionError(error.problem, auditor.fold.position) from error
    if trust is not None and frozenset(one.key for one in trust.replicas.values()) not in auditor.keys:
        raise ContradictionError("the replicas of this log never had the trusted keys", auditor.fold.position)
    return auditor.result()
