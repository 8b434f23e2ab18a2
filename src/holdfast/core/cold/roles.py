"""Decisions of replicas: votes, leases, quarantine (specs/quorum.md)."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from holdfast.core import quorum
from holdfast.core.book import cancel_all_of
from holdfast.core.cold.accounts import release_withdrawal, touch
from holdfast.core.machine import Machine
from holdfast.core.margins import totals_on
from holdfast.core.registry import Alarm, Ballot, Lease, with_alarm
from holdfast.core.state import SYSTEM_ACCOUNTS, Account, Counter, Role, Status
from holdfast.core.verdict import ACCEPTED, Sender, Verdict, refused
from holdfast.domain.commands import CastVote, QuarantineCommand, TakeLease
from holdfast.domain.errors import InputError
from holdfast.domain.quarantines import QuarantineError, verify_quarantine
from holdfast.domain.reasons import Reason
from holdfast.domain.votes import (
    FLAG_WITHDRAWAL,
    FLAG_WITHOUT_B,
    Vote,
    VoteError,
    decode_vote,
    verify_vote,
)
from holdfast.domain.votes import (
    Verdict as Word,
)

LEASE_MAXIMUM = 600 * 10**9
"""ns: a dead holder's role is free again after that."""


def cast_vote(machine: Machine, command: CastVote, sender: Sender) -> Verdict:
    """Count a replica's signed batch; `made` is how many accounts and withdrawals it decided, `limit` rows ignored."""
    replicas = machine.registry.replicas
    try:
        replica = decode_vote(command.vote).replica
        if replica >= len(replicas) or replica != sender.subject:
            return refused(Reason.REPLICA_UNKNOWN, replica)
        vote = verify_vote(command.vote, replicas[replica].public_key)
    except (VoteError, InputError) as error:
        return refused(Reason.VOTE_INVALID, detail=str(error))
    if vote.logic_version != machine.registry.logic:
        return refused(Reason.VERSION_UNKNOWN, vote.logic_version, machine.registry.logic)
    if not _is_known_mark(machine, vote):
        return refused(Reason.VOTE_MISMATCH, vote.position)
    decided, ignored = 0, 0
    for row in vote.rows:
        count = _withdrawal_row if int(row["flags"]) & FLAG_WITHDRAWAL else _account_row
        result = count(machine, vote, row)
        decided += result is True
        ignored += result is None
    return Verdict(made=decided, limit=ignored)


def _is_known_mark(machine: Machine, vote: Vote) -> bool:
    """Whether the vote speaks of a mark of this very log: same position, same prices, same H."""
    return any(
        (m.position, m.price_id, m.chain) == (vote.position, vote.price_id, vote.chain_hash)
        for m in machine.registry.marks
    )


def _ballot(machine: Machine, vote: Vote, row: Any) -> Ballot:
    now = int(machine.state.counters[Counter.TIME])
    with_b = not int(row["flags"]) & FLAG_WITHOUT_B
    return Ballot(int(row["account_version"]), vote.position, vote.price_id, now, with_b)


def _with_ballot(
    ballots: Mapping[int, dict[int, Ballot]], subject: int, replica: int, ballot: Ballot
) -> dict[int, dict[int, Ballot]]:
    return dict(ballots) | {subject: ballots.get(subject, {}) | {replica: ballot}}


def _without(ballots: Mapping[int, dict[int, Ballot]], subject: int) -> dict[int, dict[int, Ballot]]:
    return {key: value for key, value in ballots.items() if key != subject}


def _account_row(machine: Machine, vote: Vote, row: Any) -> bool | None:
    """Count a row about an account: True where it began a liquidation, None where it was ignored."""
    account, word = int(row["account"]), Word(int(row["verdict"]))
    state, registry = machine.state, machine.registry
    if not SYSTEM_ACCOUNTS <= account < int(state.counters[Counter.ACCOUNTS]):
        return None
    pending = int(state.accounts[account, Account.STATUS]) == Status.BREACH_PENDING
    if not pending or int(row["account_version"]) != int(state.accounts[account, Account.VERSION]):
        return None
    if word is Word.ABOVE:
        _freeze(machine, account, vote)
        return False
    if word is Word.BAND:
        return False
    ballots = _with_ballot(registry.ballots, account, vote.replica, _ballot(machine, vote, row))
    machine.registry = replace(registry, ballots=ballots)
    version, now = int(state.accounts[account, Account.VERSION]), int(state.counters[Counter.TIME])
    if not quorum.reached(ballots[account], registry.replicas, version, now):
        return False
    machine.registry = replace(machine.registry, ballots=_without(ballots, account))
    return begin_liquidation(machine, account)


def _freeze(machine: Machine, account: int, vote: Vote) -> None:
    """Engines disagree: reduce-only until an operator looked."""
    machine.state.accounts[account, Account.STATUS] = Status.FROZEN
    machine.state.accounts[account, Account.DIRTY] = 1
    text = f"replica {vote.replica} finds account {account} above maintenance at price id {vote.price_id}"
    machine.registry = replace(machine.registry, ballots=_without(machine.registry.ballots, account))
    machine.registry = with_alarm(machine.registry, Alarm(0, "disagreement", text))


def begin_liquidation(machine: Machine, account: int) -> bool:
    """Look again, at the state as it is now; only an account that is still below is liquidated."""
    state = machine.state
    equity, _, maintenance = totals_on(state, machine.marked.arrays, account)
    if not equity < maintenance:
        return False
    cancel_all_of(state, account)
    state.accounts[account, Account.STATUS] = Status.LIQUIDATING
    touch(machine, account)
    return True


def _withdrawal_row(machine: Machine, vote: Vote, row: Any) -> bool | None:
    """Count a row about a withdrawal: ABOVE says that it may leave; True where that released it."""
    number, registry = int(row["account"]), machine.registry
    if number not in registry.withdrawals:
        return None
    if Word(int(row["verdict"])) is not Word.ABOVE:
        machine.registry = replace(registry, releases=_without(registry.releases, number))
        return False
    releases = _with_ballot(registry.releases, number, vote.replica, _ballot(machine, vote, row))
    machine.registry = replace(registry, releases=releases)
    now = int(machine.state.counters[Counter.TIME])
    # A reserved amount has left the account already, so no version of it can make the ballot old.
    if not quorum.reached(releases[number], registry.replicas, int(row["account_version"]), now):
        return False
    machine.registry = replace(machine.registry, releases=_without(releases, number))
    return release_withdrawal(machine, number) is Reason.ACCEPTED


def take_lease(machine: Machine, command: TakeLease, sender: Sender) -> Verdict:
    """Grant a role for a time, or prolong it for its holder; `made` is the lease's id."""
    registry, now = machine.registry, int(machine.state.counters[Counter.TIME])
    if not 0 <= command.replica < len(registry.replicas) or command.replica != sender.subject:
        return refused(Reason.REPLICA_UNKNOWN, command.replica)
    if not 0 < command.duration <= LEASE_MAXIMUM or not 0 < len(command.role.encode()) <= 64:
        return refused(Reason.VALUE_INVALID, LEASE_MAXIMUM)
    held = registry.leases.get(command.role)
    if held is not None and held.until > now and held.replica != command.replica:
        return refused(Reason.LEASE_HELD, held.replica, held.until)
    prolonged = held is not None and held.until > now and held.replica == command.replica
    lease = Lease(command.replica, now + command.duration, held.command if prolonged and held else sender.command)
    machine.registry = replace(registry, leases=registry.leases | {command.role: lease})
    return Verdict(made=lease.command)


def quarantine(machine: Machine, command: QuarantineCommand, _sender: Sender) -> Verdict:
    """Record a quarantine. It took effect before, when the fold met its subject (`core.fold`)."""
    keys = {number: replica.public_key for number, replica in enumerate(machine.registry.replicas)}
    try:
        statement = verify_quarantine(command.quarantine, keys)
    except (QuarantineError, InputError) as error:
        return refused(Reason.VOTE_INVALID, detail=str(error))
    if not quorum.majority(len(statement.signatures), machine.registry.replicas):
        return refused(Reason.VOTE_MISMATCH, len(statement.signatures), len(keys) // 2 + 1)
    machine.registry = replace(machine.registry, quarantined=machine.registry.quarantined | {statement.position})
    return ACCEPTED


ROLES = {CastVote: (Role.REPLICA,), TakeLease: (Role.REPLICA,), QuarantineCommand: (Role.REPLICA, Role.OPERATOR)}
HANDLERS = {CastVote: cast_vote, TakeLease: take_lease, QuarantineCommand: quarantine}
