"""Choosing evidence: which checkpoint, which votes, whose signatures, so that they are enough for somebody's keys.

What lives here: the choice, and writing it as proofs hold it. What may not: what a kind of proof needs (`bundles`).
"""

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from holdfast.core.cold.cosigning import is_cosignature
from holdfast.core.registry import Replica
from holdfast.domain.errors import InputError
from holdfast.domain.signatures import is_signature
from holdfast.domain.votes import Vote, vote_statement
from holdfast.log.protocol import Log
from holdfast.proof import verifier
from holdfast.proof.checkpoint import Cosignature, base64_of, checkpoint_note, origin_of
from holdfast.proof.verifier import Refused, Trust
from holdfast.validate.proofs.history import History, Place, Said
from holdfast.validate.proofs.states import LeafPlace, ProvableState

WAIT_ADVICE = "let the log go on until a checkpoint is cosigned behind it (rule checkpoint_frames, Engine.checkpoint)"


class Head(NamedTuple):
    """A checkpoint with enough cosignatures."""

    size: int
    root: bytes
    cosignatures: tuple[Cosignature, ...]


class Certified(NamedTuple):
    """A position whose state root has enough votes."""

    position: int
    root: bytes
    votes: tuple[Said, ...]

    @property
    def end(self) -> int:
        """Frames that a tree must have to hold the votes."""
        return max(said.place.position for said in self.votes) + 1


class NotProvableError(InputError):
    """The log does not hold what a proof needs."""


def not_provable(what: str, problem: str) -> NotProvableError:
    """What cannot be proved, and what to do."""
    return NotProvableError("missing-field", what, None, WAIT_ADVICE, problem)


def trust_of(log: bytes, replicas: Sequence[Replica]) -> Trust:
    """The replicas of a log as somebody who believes the log would trust them; more than half are needed."""
    known = {n: verifier.Replica(one.name, one.region, one.public_key, one.suspended) for n, one in enumerate(replicas)}
    return Trust(log, len(known) // 2 + 1, known)


def keys_text(trust: Trust) -> str:
    """The file of keys that the verifier reads (PRF-12)."""
    replicas = [
        {"number": n, "name": one.name, "region": one.region, "key": one.key.hex()} for n, one in trust.replicas.items()
    ]
    content = {"format": verifier.KEYS_FORMAT, "log": trust.log.hex(), "needed": trust.needed, "replicas": replicas}
    return json.dumps(content, indent=1) + "\n"


def enough(trust: Trust, candidates: Iterable[int]) -> tuple[int, ...] | None:
    """The fewest of some replicas that are enough, those of lower numbers first; None where all are not."""
    numbers = sorted(n for n in set(candidates) if n in trust.replicas and not trust.replicas[n].suspended)
    for count in range(trust.needed, len(numbers) + 1):
        for chosen in itertools.combinations(numbers, count):
            try:
                trust.check_enough(chosen, "")
            except Refused:
                continue
            return chosen
    return None


def heads(history: History, trust: Trust) -> Iterator[Head]:
    """The checkpoints of this very log that enough trusted replicas cosigned, the newest first."""
    by_tree: dict[tuple[int, bytes], dict[int, Cosignature]] = {}
    for one in history.cosignatures:
        replica = trust.replicas.get(one.replica)
        if replica is not None and one.log == trust.log and is_cosignature(one, replica.key):
            line = Cosignature(one.replica, replica.key, one.time, one.signature)
            by_tree.setdefault((one.size, one.root), {}).setdefault(one.replica, line)
    for size, root in sorted(by_tree, reverse=True):
        signed = by_tree[size, root]
        chosen = enough(trust, signed)
        if chosen is not None and history.hashes.root(size) == root:
            yield Head(size, root, tuple(signed[n] for n in chosen))


def newest_head(history: History, trust: Trust) -> Head:
    """The newest checkpoint; raises NotProvableError where there is none."""
    for head in heads(history, trust):
        return head
    raise not_provable("checkpoint", "no checkpoint of this log is cosigned by enough of the trusted replicas")


def note_of(head: Head, trust: Trust) -> str:
    """A checkpoint as text."""
    return checkpoint_note(origin_of(trust.log), head.size, head.root, head.cosignatures)


def certified(history: History, trust: Trust, end: int) -> Iterator[Certified]:
    """The positions whose roots have enough votes in the first `end` frames, the newest first."""
    by_root: dict[tuple[int, bytes, bytes], dict[int, Said]] = {}
    for said in history.roots:
        if said.place.position < end and is_signed(said.vote, trust):
            key = said.vote.position, said.vote.state_root, said.vote.chain_hash
            by_root.setdefault(key, {}).setdefault(said.vote.replica, said)
    for position, root, chain in sorted(by_root, reverse=True):
        votes = by_root[position, root, chain]
        chosen = enough(trust, votes)
        if chosen is not None:
            yield Certified(position, root, tuple(votes[n] for n in chosen))


def is_signed(vote: Vote, trust: Trust) -> bool:
    """Whether a vote is signed with the key that is trusted for its replica."""
    replica = trust.replicas.get(vote.replica)
    return replica is not None and is_signature(replica.key, vote_statement(vote), vote.signature)


def frames_of(log: Log, history: History, positions: Iterable[int], head: Head) -> list[dict[str, Any]]:
    """Frames with their ways to the root of a checkpoint, as proofs hold them."""
    found = []
    for position in sorted(set(positions)):
        ((_, data),) = log.read(position, 1)
        path = [base64_of(one) for one in history.hashes.inclusion(position, head.size)]
        found.append({"position": position, "frame": base64_of(data), "path": path})
    return found


def place_of(place: Place) -> dict[str, int]:
    """A place as proofs hold it."""
    return place._asdict()


def state_of(state: ProvableState, votes: Certified, leaves: Iterable[LeafPlace]) -> dict[str, Any]:
    """A state's leaves with the votes on its root, as proofs hold them.

    Raises:
        InputError: The state folded here has another root than the replicas voted for.
    """
    if (state.position, state.root) != (votes.position, votes.root):
        advice = "use the version of Holdfast that wrote the log; if it is that, the log or this program is damaged"
        raise InputError("malformed", "state root", state.root.hex(), advice, f"is not {votes.root.hex()} as was voted")
    return {
        "position": state.position,
        "sections": base64_of(state.sections),
        "votes": [place_of(place) for place in sorted(said.place for said in votes.votes)],
        "leaves": state.proofs(leaves),
    }


def written(kind: str, head: Head, trust: Trust, rotations: Sequence[Mapping[str, Any]], **content: Any) -> bytes:
    """A proof as its one text."""
    common = {"format": verifier.FORMAT, "kind": kind, "rotations": list(rotations), "checkpoint": note_of(head, trust)}
    return verifier.canonical({**common, **content})
