"""The kinds of proofs, each put together from a log's history for somebody's keys.

What may not live here: choosing signatures (`evidence`), checking (`proof.verifier`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from holdfast.core.margins import totals_on
from holdfast.core.state import Account
from holdfast.domain.errors import InputError
from holdfast.log.protocol import Log
from holdfast.proof import verifier
from holdfast.proof.checkpoint import base64_of, tlog_proof
from holdfast.proof.verifier import Trust
from holdfast.validate.proofs import evidence
from holdfast.validate.proofs.evidence import Certified, Head, NotProvableError, not_provable
from holdfast.validate.proofs.history import Episode, History, Said, fold_to, row_of
from holdfast.validate.proofs.rotations import rotations_from
from holdfast.validate.proofs.states import LeafPlace, ProvableState

Rotations = Sequence[Mapping[str, Any]]
Made = Callable[[Trust, Rotations], bytes]


class Prover:
    """Makes proofs from one log for one set of keys. A proof that its verifier refuses is never given out."""

    def __init__(self, log: Log, history: History, trust: Trust | None = None) -> None:
        """A prover.

        Args:
            log: The log.
            history: What `read_history` found in it.
            trust: The keys that the proofs are for; by default those that the log ends with.
        """
        if not history.log:
            raise InputError("missing-field", "log", None, "prove from a log with replicas", "defines no replica")
        self.log, self.history = log, history
        self.trust = trust or evidence.trust_of(history.log, history.fold.machine.registry.replicas)
        if self.trust.log != history.log:
            advice = "use the keys of this log"
            raise InputError(
                "malformed", "keys", self.trust.log.hex(), advice, f"are of another log than {history.log.hex()}"
            )

    def margin(self, account: int, position: int | None = None) -> bytes:
        """An account's margin at the newest certified position, or the newest up to one."""

        def made(trust: Trust, rotations: Rotations) -> bytes:
            head = evidence.newest_head(self.history, trust)
            votes = self._certified(trust, head, position)
            state = ProvableState(fold_to(self.log, votes.position))
            leaves = state.margin_leaves(account)
            machine = state.fold.machine
            figures = totals_on(machine.state, machine.marked.arrays, account)
            names = ("equity", "initial_margin", "maintenance_margin")
            claim = {"account": account, **dict(zip(names, map(float, figures), strict=True))}
            content = {"claim": claim, "state": evidence.state_of(state, votes, leaves)}
            return self.written("margin", head, trust, rotations, votes.votes, (), content)

        return self.proved(made)

    def liquidation(self, account: int) -> bytes:
        """The last liquidation of an account."""
        episodes = self.history.episodes(account)
        if not episodes:
            advice = "name an account that was liquidated"
            raise InputError("missing-field", "account", account, advice, "was never put under liquidation in this log")
        episode = episodes[-1]

        def made(trust: Trust, rotations: Rotations) -> bytes:
            head = evidence.newest_head(self.history, trust)
            ballots = _ballots(episode, trust)
            votes = self._nearest(trust, head, ballots[0].vote.position)
            state = ProvableState(fold_to(self.log, votes.position))
            leaves = [LeafPlace("accounts", account), LeafPlace("market", 0), LeafPlace("parameters", 0)]
            if _is_state_of(state, account, ballots):
                leaves += state.margin_leaves(account)
            content = {
                "claim": {"account": account},
                "ballots": [evidence.place_of(said.place) for said in ballots],
                "stages": [evidence.place_of(place) for place in episode.stages if place.position < head.size],
                "state": evidence.state_of(state, votes, leaves),
            }
            others = [place.position for place in episode.stages if place.position < head.size]
            return self.written("liquidation", head, trust, rotations, (*votes.votes, *ballots), others, content)

        return self.proved(made)

    def consistency(self, first: int) -> bytes:
        """That the log grew from the cosigned checkpoint of `first` frames to the newest one."""

        def made(trust: Trust, rotations: Rotations) -> bytes:
            head = evidence.newest_head(self.history, trust)
            old = next((one for one in evidence.heads(self.history, trust) if one.size == first), None)
            if old is None:
                sizes = ", ".join(str(one.size) for one in list(evidence.heads(self.history, trust))[:8])
                raise not_provable("checkpoint", f"none of {first} frames is cosigned; the newest are of {sizes}")
            path = self.history.hashes.consistency(first, head.size)
            content = {"old": evidence.note_of(old, trust), "path": [base64_of(one) for one in path]}
            return evidence.written("consistency", head, trust, rotations, **content)

        return self.proved(made)

    def frame(self, position: int) -> bytes:
        """A tlog-proof of one frame, under the newest checkpoint."""
        head = evidence.newest_head(self.history, self.trust)
        if not 0 <= position < head.size:
            advice = f"give a position from 0 to {head.size - 1}"
            raise InputError("out-of-range", "position", position, advice, "is not in the newest checkpoint")
        ((_, data),) = self.log.read(position, 1)
        path = self.history.hashes.inclusion(position, head.size)
        proof = tlog_proof(position, path, evidence.note_of(head, self.trust), data).encode()
        verifier.verify(proof, self.trust)
        return proof

    def checkpoint(self) -> bytes:
        """The newest cosigned checkpoint, as text to keep."""
        return evidence.note_of(evidence.newest_head(self.history, self.trust), self.trust).encode()

    def certified_by(self, trust: Trust, head: Head) -> Iterator[Certified]:
        """Positions whose state roots are certified within a checkpoint, the newest first."""
        return evidence.certified(self.history, trust, head.size)

    def _certified(self, trust: Trust, head: Head, most: int | None) -> Certified:
        for votes in self.certified_by(trust, head):
            if most is None or votes.position <= most:
                return votes
        up_to = "" if most is None else f" up to {most}"
        raise not_provable(
            "state root", f"no state root{up_to} has enough votes within the {head.size} cosigned frames"
        )

    def _nearest(self, trust: Trust, head: Head, position: int) -> Certified:
        """The certified state at a position, else the one nearest to it, the earlier of two."""
        found = sorted(self.certified_by(trust, head), key=lambda one: (abs(one.position - position), one.position))
        if not found:
            raise not_provable("state root", f"no state root has enough votes within the {head.size} cosigned frames")
        return found[0]

    def written(
        self,
        kind: str,
        head: Head,
        trust: Trust,
        rotations: Rotations,
        said: Sequence[Said],
        others: Sequence[int],
        content: Mapping[str, Any],
    ) -> bytes:
        """A proof whose frames are those of votes and of others; raises NotProvableError where one is too new."""
        positions = [*(one.place.position for one in said), *others]
        if max(positions, default=0) >= head.size:
            problem = f"frame {max(positions)} is not within the {head.size} frames that were cosigned last"
            raise not_provable("checkpoint", problem)
        frames = evidence.frames_of(self.log, self.history, positions, head)
        return evidence.written(kind, head, trust, rotations, frames=frames, **content)

    def proved(self, made: Made) -> bytes:
        """Make a proof for the newest keys that the given ones lead to, and check it as its reader will.

        What was signed before a key changed can be proved with the keys of that time only, so those are tried too.
        """
        problem: NotProvableError | None = None
        for trust, rotations in reversed(list(rotations_from(self.log, self.history, self.trust))):
            try:
                proof = made(trust, rotations)
            except NotProvableError as error:
                problem = error
                continue
            verifier.verify(proof, self.trust)
            return proof
        raise problem or not_provable("keys", "no checkpoint is cosigned with them")


def _ballots(episode: Episode, trust: Trust) -> list[Said]:
    """The ballots of enough replicas, those with the second engine's agreement first."""
    latest = {said.vote.replica: said for said in episode.ballots if evidence.is_signed(said.vote, trust)}
    chosen = evidence.enough(trust, latest)
    if chosen is None:
        raise not_provable("ballots", "the votes are not signed with enough of the trusted keys")
    return sorted((latest[n] for n in chosen), key=lambda said: said.place)


def _is_state_of(state: ProvableState, account: int, ballots: Sequence[Said]) -> bool:
    """Whether a state has the account's version, the prices, and the numbers that votes spoke of."""
    machine = state.fold.machine
    equity, _, maintenance = totals_on(machine.state, machine.marked.arrays, account)
    version = int(machine.state.accounts[account, Account.VERSION])
    figures = version, state.fold.price_id, float(equity), float(maintenance)
    for said in ballots:
        row = row_of(said.vote, account)
        spoken = int(row["account_version"]), said.vote.price_id, float(row["a_equity"]), float(row["a_maintenance"])
        if spoken != figures:
            return False
    return True
