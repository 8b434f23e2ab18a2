"""What an accepted vote does: liquidations begin, withdrawals leave, words on state roots (specs/quorum.md).

What lives here: the effect of rows on accounts and withdrawals. What may not: counting (`quorum`).
"""

from typing import Any

from holdfast.witness import accounts, liquidation
from holdfast.witness.ledger import WITHDRAWALS, WORLD
from holdfast.witness.quorum import ABOVE, BAND, Ballot, Discrepancy, Row, Vote, verdict_of
from holdfast.witness.state import (
    BREACH_PENDING,
    FROZEN,
    HEALTHY,
    LIQUIDATING,
    RESTRICTED,
    SYSTEM_ACCOUNTS,
    State,
)


def cast(state: State, vote: Vote) -> None:
    """Take an accepted vote."""
    if not vote.rows:
        state.quorum.word(vote.replica, vote.position, vote.root)
        return
    for row in vote.rows:
        if row.is_withdrawal:
            _about_withdrawal(state, vote, row)
        else:
            _about_account(state, vote, row)


def _ballot(state: State, vote: Vote, row: Row) -> Ballot:
    return Ballot(vote.position, vote.price_id, state.clock.now, row.version, row.has_second)


def _shortfall_factor(state: State) -> float:
    return (10**6 - state.rules.witness_shortfall_ppm) / 10**6


def _about_account(state: State, vote: Vote, row: Row) -> None:
    """QRM-2, QRM-3."""
    account = row.subject
    if not liquidation.is_pending(state, account) or state.version(account) != row.version or _contradicts(state, row):
        return
    if row.verdict == BAND:
        state.quorum.ballots.get(account, {}).pop(vote.replica, None)
        return
    if row.verdict == ABOVE:
        _freeze(state, account)
        return
    alone = state.quorum.is_alone()
    if row.has_second or alone or row.equity < row.maintenance * _shortfall_factor(state):
        state.quorum.ballots.setdefault(account, {})[vote.replica] = _ballot(state, vote, row)
    _maybe_begin(state, account, alone=alone)


def _contradicts(state: State, row: Row) -> bool:
    """Whether both engines' numbers give another verdict than the row's (QRM-19)."""
    first, second = row.equity - row.maintenance, row.second_equity - row.second_maintenance
    return row.has_second and row.verdict != verdict_of(first, second, state.rules.tolerance(row.maintenance))


def _freeze(state: State, account: int) -> None:
    state.statuses[account] = FROZEN
    state.quorum.ballots.pop(account, None)


def report(state: State, command: dict[str, Any]) -> None:
    """An accepted report that two engines of a replica differ (QRM-21, QRM-22)."""
    state.quorum.forget_marks()
    for row in command["accounts"]:
        account, version = row["account"], row["version"]
        first, second = row["first"], row["second"]
        tolerance = state.rules.tolerance(first[2])
        differs = any(abs(one - other) > tolerance for one, other in zip(first, second, strict=True))
        if not SYSTEM_ACCOUNTS <= account < state.accounts or version != state.version(account) or not differs:
            continue
        said = Discrepancy(command["position"], command["price_id"], version, command["engine"])
        many = state.quorum.differs(account, command["replica"], said)
        is_above = verdict_of(first[0] - first[2], second[0] - second[2], tolerance) == ABOVE
        status = state.status(account)
        if (status in (BREACH_PENDING, LIQUIDATING) and is_above) or (status in (HEALTHY, RESTRICTED) and many):
            _freeze(state, account)
    state.quorum.bound_discrepancies()


def _maybe_begin(state: State, account: int, *, alone: bool) -> None:
    """QRM-4 to QRM-6, QRM-10."""
    said, version = state.quorum.ballots.get(account, {}), state.version(account)
    with_second = alone or state.quorum.enough(said, version, second_only=True)
    if not state.quorum.enough(said, version, second_only=False) or state.quorum.holds_decisions():
        return
    margin = accounts.one(state, account, with_orders=False)
    needed = margin.maintenance if with_second else margin.maintenance * _shortfall_factor(state)
    if margin.equity < needed:
        liquidation.begin(state, account)


def _about_withdrawal(state: State, vote: Vote, row: Row) -> None:
    """QRM-7, QRM-11."""
    withdrawal = state.withdrawals.get(row.subject)
    if withdrawal is None or vote.position <= withdrawal.position:
        return
    if row.verdict != ABOVE:
        state.quorum.releases.pop(row.subject, None)
        return
    if not row.has_second and not state.quorum.is_alone():
        return
    if row.has_second and not _may_leave(state, row):
        return
    said = state.quorum.releases.setdefault(row.subject, {})
    said[vote.replica] = _ballot(state, vote, row)
    if state.quorum.enough(said, row.version, second_only=False) and not state.quorum.holds_decisions():
        _release(state, row.subject)


def _may_leave(state: State, row: Row) -> bool:
    """QRM-20."""
    first, second = row.equity - row.maintenance, row.second_equity - row.second_maintenance
    return first >= 0 and second >= -state.rules.tolerance(row.maintenance)


def _release(state: State, number: int) -> None:
    withdrawal = state.withdrawals[number]
    state.quorum.releases.pop(number, None)
    if state.status(withdrawal.account) not in (HEALTHY, RESTRICTED):
        return
    margin = accounts.one(state, withdrawal.account)
    if margin.equity >= margin.initial:
        state.ledger.post(WITHDRAWALS, withdrawal.item, -withdrawal.amount)
        state.ledger.post(WORLD, withdrawal.item, withdrawal.amount)
        del state.withdrawals[number]
