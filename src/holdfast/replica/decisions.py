"""What an engine does by itself after folding: vote, plan the next stage of liquidations, settle what has expired.

Each decision is a function of the state alone, so that it can be repeated after a restart: what was decided and not
done is found again. What may not live here: sending, clocks, and how plans and books are read (`stages`).
"""

from typing import TYPE_CHECKING

import numpy as np

from holdfast.core.fold import Fold
from holdfast.core.margins import totals_on
from holdfast.core.marks import is_stale
from holdfast.core.state import SYSTEM_ACCOUNTS, Account, Counter, Item, Price, Status
from holdfast.domain.commands import CastVote, ColdCommand, Liquidate, Settle
from holdfast.domain.frames import HASH_LENGTH
from holdfast.domain.votes import FLAG_WITHOUT_B, ROW, ROWS_MAXIMUM, Verdict, Vote, sign_vote
from holdfast.replica.stages import next_stages

if TYPE_CHECKING:
    from holdfast.replica.embedded import EmbeddedEngine


def decisions(engine: "EmbeddedEngine") -> list[ColdCommand]:
    """The commands that the engine's replica should send now, in order; none when there is nothing to do.

    Votes come alone, as what they decide is what the next round plans for.
    """
    votes: list[ColdCommand] = list(votes_for(engine))
    if votes:
        return votes
    stages: list[Liquidate] = next_stages(engine.fold, accounts_with(engine.fold, Status.LIQUIDATING))
    return [*stages, *settlements(engine.fold)]


def accounts_with(fold: Fold, status: Status) -> list[int]:
    """Clients' accounts with a status, ascending."""
    statuses = fold.machine.state.accounts[: int(fold.machine.state.counters[Counter.ACCOUNTS]), Account.STATUS]
    found: list[int] = (np.flatnonzero(statuses[SYSTEM_ACCOUNTS:] == status) + SYSTEM_ACCOUNTS).tolist()
    return found


def votes_for(engine: "EmbeddedEngine") -> list[CastVote]:
    """A signed vote on every account that waits for one and is below maintenance margin now."""
    fold = engine.fold
    pending = accounts_with(fold, Status.BREACH_PENDING)[:ROWS_MAXIMUM]
    if not pending or not fold.machine.registry.marks:
        return []
    rows = np.zeros(len(pending), ROW)
    state, arrays = fold.machine.state, fold.machine.marked.arrays
    for row, account in zip(rows, pending, strict=True):
        equity, _, maintenance = totals_on(state, arrays, account)
        row["account"], row["account_version"] = account, state.accounts[account, Account.VERSION]
        row["a_equity"], row["a_maintenance"] = equity, maintenance
        row["verdict"] = Verdict.BELOW if equity < maintenance else Verdict.BAND
    rows["flags"] = FLAG_WITHOUT_B
    below = rows[rows["verdict"] == Verdict.BELOW]
    if not len(below):
        return []
    mark = fold.machine.registry.marks[-1]
    vote = Vote(
        replica=engine.replica(),
        logic_version=fold.machine.registry.logic,
        position=mark.position,
        chain_hash=mark.chain,
        state_root=bytes(HASH_LENGTH),
        price_id=mark.price_id,
        time=fold.time,
        rows=below,
    )
    return [CastVote(sign_vote(vote, engine.private_key))]


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
