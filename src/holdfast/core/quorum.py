"""The quorum: when votes are enough for an act that cannot be taken back (specs/quorum.md).

A rule, not a mechanism: it reads the ballots of one account or withdrawal and answers. What may not live here: counting
votes into the state, and the act.
"""

from collections.abc import Mapping, Sequence

from holdfast.core.registry import Ballot, Replica

BALLOT_LIFE = 60 * 10**9
"""ns of logical time that a ballot stays valid while the account's version is unchanged."""
MILLION = 1_000_000


def is_of_one(replicas: Sequence[Replica]) -> bool:
    """Whether the quorum is one engine's word: the embedded mode, marked as such in every answer."""
    return len(replicas) == 1


def reached(ballots: Mapping[int, Ballot], replicas: Sequence[Replica], version: int, now: int) -> bool:
    """Whether ballots are enough: a majority of all replicas, in two regions where there are two, on the same mark.

    Only ballots about the account as it is now and not older than BALLOT_LIFE count, and only with the second engine's
    agreement or beyond the wider shortfall, except in a quorum of one.
    """
    valid = {
        replica: ballot
        for replica, ballot in ballots.items()
        if ballot.version == version
        and now - ballot.time <= BALLOT_LIFE
        and (ballot.with_b or ballot.beyond or is_of_one(replicas))
    }
    marks = {(b.position, b.price_id) for b in valid.values()}
    return any(_enough([r for r, b in valid.items() if (b.position, b.price_id) == m], replicas) for m in marks)


def needs_wider(ballots: Mapping[int, Ballot], replicas: Sequence[Replica], version: int, now: int) -> bool:
    """Whether ballots that are enough are so only by those without the second engine."""
    with_b = {replica: ballot for replica, ballot in ballots.items() if ballot.with_b}
    return not is_of_one(replicas) and not reached(with_b, replicas, version, now)


def is_short(equity: float, maintenance: float, shortfall_ppm: int = 0) -> bool:
    """Whether equity is below maintenance margin, and by more than so many millionths of it."""
    return bool(equity < maintenance * ((MILLION - shortfall_ppm) / MILLION))


def _enough(voters: Sequence[int], replicas: Sequence[Replica]) -> bool:
    regions = {r.region for r in replicas}
    voting = {replicas[r].region for r in voters}
    return 2 * len(voters) > len(replicas) and len(voting) >= min(2, len(regions))


def keys_of(replicas: Sequence[Replica]) -> dict[int, bytes]:
    """The public keys of the replicas whose signatures count, by number."""
    return {number: replica.public_key for number, replica in enumerate(replicas) if not replica.suspended}


def majority(count: int, replicas: Sequence[Replica]) -> bool:
    """Whether so many replicas are more than half of all."""
    return 2 * count > len(replicas)
