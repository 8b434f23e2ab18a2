"""What a replica does by itself after folding: vote, plan the next stage of liquidations, settle what has expired.

Each decision is a function of the state, of the replica's number and of its key, so that it can be repeated after a
restart: what was decided and not done is found again, and what the state has of this replica already is not said
twice. What may not live here: sending, clocks, and how plans and books are read (`stages`).
"""

import math
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple, Protocol, TypeAlias

import numpy as np

from holdfast.core import quorum
from holdfast.core.agreement import tolerance, word_on_account, word_on_withdrawal
from holdfast.core.cold.accounts import is_releasable
from holdfast.core.cold.checkpoints import is_held
from holdfast.core.fold import Fold
from holdfast.core.margins import margin_of, totals_on
from holdfast.core.marks import is_stale
from holdfast.core.registry import Ballot
from holdfast.core.roots import Checkpoint
from holdfast.core.state import SYSTEM_ACCOUNTS, Account, Counter, Item, Price, Status
from holdfast.domain.commands import CastVote, ColdCommand, Cosign, Liquidate, Settle
from holdfast.domain.frames import HASH_LENGTH
from holdfast.domain.outcomes import place_of
from holdfast.domain.signatures import sign
from holdfast.domain.votes import FLAG_WITHDRAWAL, FLAG_WITHOUT_B, ROW, ROWS_MAXIMUM, Verdict, Vote, sign_vote
from holdfast.proof.checkpoint import cosigned_message, origin_of
from holdfast.proof.frame_tree import FrameTree
from holdfast.replica.stages import next_stages

Row: TypeAlias = tuple[float, ...]
"""The fields of a row of a vote, in order."""
_NOTHING: Final = (0.0, 0.0, 0.0)


class Finding(NamedTuple):
    """What both engines found of an account: equity, initial margin with open orders, maintenance margin.

    Attributes:
        version: Of the account.
        price_id: Of the mark.
        first: By the first engine, numeraire.
        second: By the second.
    """

    version: int
    price_id: int
    first: tuple[float, float, float]
    second: tuple[float, float, float]


class SecondEngine(Protocol):
    """What a vote needs of the second engine."""

    def finding(self, fold: Fold, account: int) -> Finding | None:
        """What both engines found of an account as it is now."""

    def is_awaited(self, now: float) -> bool:
        """Whether a finding that is missing may still come in time."""


def decisions(
    fold: Fold, replica: int, key: bytes, second: SecondEngine | None = None, now: float = 0.0
) -> list[ColdCommand]:
    """The commands that a replica should send now, in order; none when there is nothing to do.

    Votes come alone, as what they decide is what the next round plans for. Votes on state roots are apart
    (`root_votes`), as they hang on the roots that this process took.

    Args:
        fold: The state.
        replica: Number of the replica, or the one that it will be defined under.
        key: Its Ed25519 key, 32 bytes.
        second: The second engine beside it; None where there is none.
        now: The time by which `second` judges.
    """
    if is_suspended(fold, replica):
        return []
    votes: list[ColdCommand] = list(votes_for(fold, replica, key, second, now))
    if votes:
        return votes
    waiting = [] if is_held(fold.machine.registry) else accounts_with(fold, Status.LIQUIDATING)
    stages: list[Liquidate] = next_stages(fold, waiting)
    return [*stages, *settlements(fold)]


def is_suspended(fold: Fold, replica: int) -> bool:
    """Whether the log suspended a replica, so that nothing that it sends is accepted."""
    replicas = fold.machine.registry.replicas
    return replica < len(replicas) and replicas[replica].suspended


def accounts_with(fold: Fold, status: Status) -> list[int]:
    """Clients' accounts with a status, ascending."""
    statuses = fold.machine.state.accounts[: int(fold.machine.state.counters[Counter.ACCOUNTS]), Account.STATUS]
    found: list[int] = (np.flatnonzero(statuses[SYSTEM_ACCOUNTS:] == status) + SYSTEM_ACCOUNTS).tolist()
    return found


def votes_for(
    fold: Fold, replica: int, key: bytes, second: SecondEngine | None = None, now: float = 0.0
) -> list[CastVote]:
    """A signed vote on what waits for one at the last mark and has none of this replica yet.

    That is every account that is below maintenance margin now, then every withdrawal asked for before that mark. What
    the second engine is still expected to say waits for it.
    """
    if not fold.machine.registry.marks:
        return []
    rows: list[Row] = []
    for row in _rows(fold, replica, second, now):
        rows.append(row)
        if len(rows) == ROWS_MAXIMUM:
            break
    if not rows:
        return []
    mark = fold.machine.registry.marks[-1]
    vote = Vote(
        replica=replica,
        logic_version=fold.machine.registry.logic,
        position=mark.position,
        chain_hash=mark.chain,
        state_root=bytes(HASH_LENGTH),
        price_id=mark.price_id,
        time=fold.time,
        rows=np.array(rows, ROW),
    )
    return [CastVote(sign_vote(vote, key))]


def _rows(fold: Fold, replica: int, second: SecondEngine | None, now: float) -> Iterator[Row]:
    yield from _rows_of_accounts(fold, replica, second, now)
    # Without the second engine a release counts in a quorum of one only, so elsewhere it is not said.
    if second is not None or len(fold.machine.registry.replicas) <= 1:
        yield from _rows_of_withdrawals(fold, replica, second)


def _rows_of_accounts(fold: Fold, replica: int, second: SecondEngine | None, now: float) -> Iterator[Row]:
    machine = fold.machine
    for account in accounts_with(fold, Status.BREACH_PENDING):
        version = int(machine.state.accounts[account, Account.VERSION])
        ballots = machine.registry.ballots.get(account, {})
        found = None if second is None else second.finding(fold, account)
        if found is not None:
            word = _word(fold, found)
            is_said = _is_said(fold, ballots, replica, version) and ballots[replica].with_b
            is_news = replica in ballots if word is Verdict.BAND else not is_said
            if is_news:
                yield _row(account, word, 0, version, found)
            continue
        if _is_said(fold, ballots, replica, version) or (second is not None and second.is_awaited(now)):
            continue
        equity, initial, maintenance = totals_on(machine.state, machine.marked.arrays, account)
        if quorum.is_short(equity, maintenance) and math.isfinite(equity) and math.isfinite(maintenance):
            alone = Finding(version, fold.price_id, (equity, initial, maintenance), _NOTHING)
            yield _row(account, Verdict.BELOW, FLAG_WITHOUT_B, version, alone)


def _word(fold: Fold, found: Finding) -> Verdict:
    first, second = (found.first[0], found.first[2]), (found.second[0], found.second[2])
    return word_on_account(first, second, tolerance(fold.machine.registry.rules, found.first[2]))


def _rows_of_withdrawals(fold: Fold, replica: int, second: SecondEngine | None) -> Iterator[Row]:
    machine = fold.machine
    mark = machine.registry.marks[-1]
    for number, entry in sorted(machine.registry.withdrawals.items()):
        said = machine.registry.releases.get(number, {})
        if mark.position <= place_of(entry.command)[0]:
            continue
        found = None if second is None else second.finding(fold, entry.account)
        if second is not None and found is None:
            continue
        may_leave = is_releasable(machine, entry)
        if found is None:
            equity, initial = margin_of(machine.state, machine.marked.arrays, entry.account)
            found, flags = Finding(0, fold.price_id, (equity, initial, initial), _NOTHING), FLAG_WITHOUT_B
        else:
            flags = 0
            allowed = tolerance(machine.registry.rules, found.first[1])
            may_leave &= word_on_withdrawal(found.first[:2], found.second[:2], allowed) is Verdict.ABOVE
        word = Verdict.ABOVE if may_leave else Verdict.BAND
        # A word against it only takes back what was said for it.
        due = not _is_said(fold, said, replica, 0) if may_leave else bool(said)
        if due and math.isfinite(found.first[0]) and math.isfinite(found.first[1]):
            yield _row(number, word, flags | FLAG_WITHDRAWAL, 0, found, margin=1)


def _row(subject: int, word: Verdict, flags: int, version: int, found: Finding, *, margin: int = 2) -> Row:
    """A row with equity and the margin at a place of the findings, of both engines."""
    numbers = (found.first[0], found.first[margin], found.second[0], found.second[margin])
    # A vote has no −0.
    return (subject, int(word), flags, 0, version, *(number + 0.0 for number in numbers), 0, 0)


def _is_said(fold: Fold, said: Mapping[int, Ballot], replica: int, version: int) -> bool:
    """Whether the state has a replica's word about the last mark, and it is still valid."""
    ballot, mark = said.get(replica), fold.machine.registry.marks[-1]
    if ballot is None:
        return False
    is_of_mark = (ballot.position, ballot.price_id, ballot.version) == (mark.position, mark.price_id, version)
    return is_of_mark and fold.time - ballot.time <= quorum.BALLOT_LIFE


def root_vote(fold: Fold, replica: int, key: bytes, checkpoint: Checkpoint) -> CastVote:
    """A replica's signed word on the state root that it took at a checkpoint."""
    vote = Vote(
        replica=replica,
        logic_version=fold.machine.registry.logic,
        position=checkpoint.position,
        chain_hash=checkpoint.chain,
        state_root=checkpoint.root,
        price_id=fold.price_id,
        time=fold.time,
        rows=np.empty(0, ROW),
    )
    return CastVote(sign_vote(vote, key))


def root_votes(fold: Fold, replica: int, key: bytes) -> list[CastVote]:
    """A vote on each root that this process took at a checkpoint which the log remembers, and has not said yet."""
    registry = fold.machine.registry
    if is_suspended(fold, replica):
        return []
    remembered = {(one.position, one.chain) for one in registry.checkpoints}
    return [
        root_vote(fold, replica, key, taken)
        for taken in fold.checkpoints
        if (taken.position, taken.chain) in remembered and replica not in registry.roots.get(taken.position, {})
    ]


def cosignatures(fold: Fold, replica: int, key: bytes, tree: FrameTree) -> list[Cosign]:
    """A cosignature of the newest checkpoint that this process has a tree of and whose root the log has its word on.

    Older ones need none, as the newest covers their frames. The caller calls `tree.forget` with the size of what was
    sent, so that it is not said again.

    Args:
        fold: The state.
        replica: Number of the replica.
        key: Its Ed25519 key, 32 bytes.
        tree: Of the frames that were folded (`frame_trees.follow_frame`).
    """
    if is_suspended(fold, replica):
        return []
    said = {
        taken.position + 1
        for taken in fold.checkpoints
        if fold.machine.registry.roots.get(taken.position, {}).get(replica) == taken.root
    }
    size = max(said & tree.heads.keys(), default=0)
    if not size:
        return []
    root, time = tree.heads[size]
    message = cosigned_message(origin_of(tree.log), size, root, time)
    return [Cosign(replica, tree.log, size, root, time, sign(key, message))]


def settlements(fold: Fold) -> list[Settle]:
    """A Settle for every open contract that has expired and has an average to settle at."""
    state, registry = fold.machine.state, fold.machine.registry
    averaged = state.prices[:, Price.SETTLEMENT_COUNT] > 0
    return [
        Settle(item)
        for item in expired(fold)
        if averaged[item] and not is_stale(state, registry, int(state.items[item, Item.UNDERLYING]))
    ]


def expired(fold: Fold) -> list[int]:
    """Items that are open although their expiry is at or before logical time, ascending."""
    state = fold.machine.state
    items = state.items[: int(state.counters[Counter.ITEMS])]
    expiry = items[:, Item.EXPIRY]
    found: list[int] = np.flatnonzero((items[:, Item.OPEN] > 0) & (expiry > 0) & (expiry <= fold.time)).tolist()
    return found
