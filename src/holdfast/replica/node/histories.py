"""Two histories: what others vote for shows whether they folded the same log.

A broker that lost its newest messages and went on gives new frames positions that old ones had. Positions alone do not
show it; the votes on roots do, as each names H at its checkpoint. What may not live here: what follows from it.
"""

import contextlib

from holdfast.core.fold import Fold
from holdfast.domain.commands import CastVote, decode_cold
from holdfast.domain.errors import HoldfastError
from holdfast.domain.votes import decode_vote, verify_vote
from holdfast.replica.node.commands_of import VOTE_TAG, cold_commands

REMEMBERED = 64
"""Positions whose disagreements are kept."""


class Histories:
    """Who of the replicas voted for another H than this node has, by position."""

    def __init__(self) -> None:
        self._others: dict[int, set[int]] = {}

    def problem(self, frame: bytes, fold: Fold) -> str:
        """What is wrong if, with this frame, a majority of the replicas has another history; else empty."""
        own = {taken.position: taken.chain for taken in fold.checkpoints}
        replicas = fold.machine.registry.replicas
        for content in cold_commands(frame, VOTE_TAG):
            with contextlib.suppress(HoldfastError, LookupError):
                command = decode_cold(content)
                if not isinstance(command, CastVote):
                    continue
                vote = verify_vote(command.vote, replicas[decode_vote(command.vote).replica].public_key)
                if vote.position in own and vote.chain_hash != own[vote.position]:
                    others = self._others.setdefault(vote.position, set())
                    others.add(vote.replica)
                    if 2 * len(others) > len(replicas):
                        return (
                            f"most replicas have other frames up to position {vote.position}: there are two histories"
                        )
        while len(self._others) > REMEMBERED:
            del self._others[next(iter(self._others))]
        return ""
