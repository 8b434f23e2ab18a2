"""From the keys that somebody trusts to those that a log has later, by what the former certified.

What may not live here: making the proofs for which keys are followed (`bundles`).
"""

from collections.abc import Iterator
from typing import Any

from holdfast.log.protocol import Log
from holdfast.proof.verifier import Trust
from holdfast.validate.proofs import evidence
from holdfast.validate.proofs.evidence import Certified, Head
from holdfast.validate.proofs.history import History, Place, fold_to
from holdfast.validate.proofs.states import ProvableState


def rotations_from(log: Log, history: History, trust: Trust) -> Iterator[tuple[Trust, list[dict[str, Any]]]]:
    """The keys as they are trusted, then as later states have them, each with the rotations that lead there."""
    steps: list[dict[str, Any]] = []
    yield trust, []
    while (found := _next(history, trust)) is not None:
        head, votes = found
        steps.append(_step(log, history, trust, head, votes))
        later = evidence.trust_of(trust.log, history.replicas_at(votes.position))
        trust = Trust(trust.log, max(trust.needed, later.needed), later.replicas)
        yield trust, list(steps)


def _next(history: History, trust: Trust) -> tuple[Head, Certified] | None:
    """The newest state with other replicas whose root the trusted ones certified, within a checkpoint of theirs."""
    for head in evidence.heads(history, trust):
        for votes in evidence.certified(history, trust, head.size):
            replicas = evidence.trust_of(trust.log, history.replicas_at(votes.position)).replicas
            if replicas != trust.replicas:
                return head, votes
            return None
    return None


def _step(log: Log, history: History, trust: Trust, head: Head, votes: Certified) -> dict[str, Any]:
    state = ProvableState(fold_to(log, votes.position))
    places = sorted(_definitions(history, trust, votes.position))
    positions = [*(said.place.position for said in votes.votes), *(place.position for place in places)]
    return {
        "checkpoint": evidence.note_of(head, trust),
        "frames": evidence.frames_of(log, history, positions, head),
        "definitions": [evidence.place_of(place) for place in places],
        "state": evidence.state_of(state, votes, [state.replicas_leaf()]),
    }


def _definitions(history: History, trust: Trust, position: int) -> Iterator[Place]:
    """Where the log defines the replicas that a state has otherwise than they are trusted."""
    for number, now in evidence.trust_of(trust.log, history.replicas_at(position)).replicas.items():
        before = trust.replicas.get(number)
        if before is None or before[:3] != now[:3]:
            defined = [
                place
                for place, one in history.definitions
                if place.position <= position and (one.name, one.region, one.public_key) == now[:3]
            ]
            yield defined[-1]
