"""The quorum: when votes are enough for an act that cannot be taken back (specs/quorum.md).

A rule, not a mechanism: it reads the ballots of one account or withdrawal and answers. What may not live here: counting
votes into the state, and the act.
"""

from collections.abc import Mapping, Sequence

from holdfast.core.registry import Ballot, Replica

BALLOT_LIFE = 60 * 10**9
"""ns of logical time that a ballot stays valid while the account's version is unchanged."""


def is_of_one(replicas: Sequence[Replica]) -> bool:
    """Whether the quorum is one engine's word: the embedded mode, marked as such in every answer."""
    return len(replicas) == 1


def reached(ballots: Mapping[int, Ballot], replicas: Sequence[Replica], version: int, now: int) -> bool:
    """Whether ballots are enough: a majority of all replicas, in two regions where there are two, on the same mark.

    Only ballots about the account as it is now and not older than BALLOT_LIFE count, and only with the second engine's
    agreement, except in a quorum of one.
    """
    valid = {
        replica: ballot
        for replica, ballot in ballots.items()
        if ballot.version == version and now - ballot.time <= BALLOT_LIFE and (ballot.with_b or is_of_one(replicas))
    }
    marks = {(b.position, b.price_id) for b in valid.values()}
    return any(_enough([r for r, b in valid.items() if (b.position, b.price_id) == m], replicas) for m in marks)


def _enough(voters: Sequence[int], replicas: Sequence[Replica]) -> bool:
    regions = {r.region for r in replicas}
    voting = {replicas[r].region for r in voters}
    return 2 * len(voters) > len(replicas) and len(voting) >= min(2, len(regions))


def majority(count: int, replicas: Sequence[Replica]) -> bool:
    """Whether so many replicas are more than half of all."""
    return 2 * count > len(replicas)
