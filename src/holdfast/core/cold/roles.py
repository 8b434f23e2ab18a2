"""Decisions of replicas: votes, leases, quarantine (specs/quorum.md)."""

import hashlib
from typing import Any

from msgspec.structs import replace

from holdfast.core import quorum
from holdfast.core.agreement import tolerance, word_on_account, word_on_withdrawal
from holdfast.core.book import cancel_all_of
from holdfast.core.cold import checkpoints
from holdfast.core.cold.accounts import is_releasable, release_withdrawal
from holdfast.core.machine import Machine
from holdfast.core.margins import totals_on
from holdfast.core.posting import touch
from holdfast.core.registry import QUARANTINES_OPEN_MAXIMUM, Alarm, Ballot, Lease, OpenQuarantine, with_alarm
from holdfast.core.state import SYSTEM_ACCOUNTS, Account, Counter, Role, Status
from holdfast.core.verdict import Sender, Verdict, refused
from holdfast.domain.commands import CastVote, ConfirmPayment, QuarantineCommand, TakeLease
from holdfast.domain.errors import InputError
from holdfast.domain.outcomes import place_of
from holdfast.domain.quarantines import Quarantine, QuarantineError, quarantine_statement, verify_quarantine
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

PAYER = "payer"
"""The role whose holder makes payments outside."""
LEASE_MAXIMUM = 600 * 10**9
"""ns: a dead holder's role is free again after that."""


def cast_vote(machine: Machine, command: CastVote, sender: Sender) -> Verdict:
    """Count a replica's signed batch; `made` is how many accounts and withdrawals it decided, `limit` rows ignored.

    One without rows about a checkpoint is its word on the state root there (`checkpoints.count_root`).
    """
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
    if not len(vote.rows) and checkpoints.is_remembered(machine.registry, vote):
        return checkpoints.count_root(machine, vote, sender.command)
    if not _is_known_mark(machine, vote):
        return refused(Reason.VOTE_MISMATCH, vote.position)
    decided, ignored = 0, 0
    registry, held = machine.registry, checkpoints.is_held(machine.registry)
    # Maps of this command's own, so that its rows may change them: a copy for each row would cost their square.
    machine.registry = replace(registry, ballots=dict(registry.ballots), releases=dict(registry.releases))
    for row in vote.rows:
        if int(row["flags"]) & FLAG_WITHDRAWAL:
            result = _withdrawal_row(machine, vote, row, command=sender.command, held=held)
        else:
            result = _account_row(machine, vote, row, held=held)
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
    return Ballot(int(row["account_version"]), vote.position, vote.price_id, now, with_b, _is_beyond(machine, row))


def _is_beyond(machine: Machine, row: Any) -> bool:
    """Whether a row without the second engine speaks of an account that is beyond the wider shortfall."""
    if int(row["flags"]) != FLAG_WITHOUT_B:
        return False
    shortfall = machine.registry.rules.witness_shortfall_ppm
    return quorum.is_short(float(row["a_equity"]), float(row["a_maintenance"]), shortfall)


def _enter(ballots: dict[int, dict[int, Ballot]], subject: int, replica: int, ballot: Ballot) -> dict[int, Ballot]:
    """Put a ballot in the place of the replica's former one; all those about its subject."""
    ballots[subject] = ballots.get(subject, {}) | {replica: ballot}
    return ballots[subject]


def _account_row(machine: Machine, vote: Vote, row: Any, *, held: bool) -> bool | None:
    """Count a row about an account: True where it began a liquidation, None where it was ignored."""
    account, word = int(row["account"]), Word(int(row["verdict"]))
    state, registry = machine.state, machine.registry
    if not SYSTEM_ACCOUNTS <= account < int(state.counters[Counter.ACCOUNTS]):
        return None
    pending = int(state.accounts[account, Account.STATUS]) == Status.BREACH_PENDING
    if not pending or int(row["account_version"]) != int(state.accounts[account, Account.VERSION]):
        return None
    if not _follows(machine, row, word):
        return None
    if word is Word.ABOVE:
        _freeze(machine, account, vote)
        return False
    if word is Word.BAND:
        rest = {n: one for n, one in registry.ballots.get(account, {}).items() if n != vote.replica}
        registry.ballots[account] = rest
        if not rest:
            del registry.ballots[account]
        return False
    said = _enter(registry.ballots, account, vote.replica, _ballot(machine, vote, row))
    version, now = int(state.accounts[account, Account.VERSION]), int(state.counters[Counter.TIME])
    if held or not quorum.reached(said, registry.replicas, version, now):
        return False
    del registry.ballots[account]
    wider = quorum.needs_wider(said, registry.replicas, version, now)
    return begin_liquidation(machine, account, registry.rules.witness_shortfall_ppm if wider else 0)


def _follows(machine: Machine, row: Any, word: Word) -> bool:
    """Whether a verdict is what the row's numbers say; without the second engine there is nothing to compare."""
    if int(row["flags"]) & FLAG_WITHOUT_B:
        return True
    first, second = (
        (float(row["a_equity"]), float(row["a_maintenance"])),
        (float(row["b_equity"]), float(row["b_maintenance"])),
    )
    allowed = tolerance(machine.registry.rules, first[1])
    if int(row["flags"]) & FLAG_WITHDRAWAL:
        return word is not Word.ABOVE or word_on_withdrawal(first, second, allowed) is Word.ABOVE
    return word is word_on_account(first, second, allowed)


def _freeze(machine: Machine, account: int, vote: Vote) -> None:
    """Engines disagree: reduce-only until an operator looked."""
    machine.state.accounts[account, Account.STATUS] = Status.FROZEN
    machine.state.accounts[account, Account.DIRTY] = 1
    text = f"replica {vote.replica} finds account {account} above maintenance at price id {vote.price_id}"
    machine.registry.ballots.pop(account, None)
    machine.registry = with_alarm(machine.registry, Alarm(0, "disagreement", text))


def begin_liquidation(machine: Machine, account: int, shortfall_ppm: int) -> bool:
    """Look again, at the state as it is now; only an account that is still below, by so much, is liquidated."""
    state = machine.state
    equity, _, maintenance = totals_on(state, machine.marked.arrays, account)
    if not quorum.is_short(equity, maintenance, shortfall_ppm):
        return False
    cancel_all_of(state, account)
    state.accounts[account, Account.STATUS] = Status.LIQUIDATING
    touch(machine, account)
    return True


def _withdrawal_row(machine: Machine, vote: Vote, row: Any, *, command: int, held: bool) -> bool | None:
    """Count a row about a withdrawal: ABOVE says that it may leave; True where that released it."""
    number, registry = int(row["account"]), machine.registry
    entry = registry.withdrawals.get(number)
    if entry is None or vote.position <= place_of(entry.command)[0]:
        return None
    if not _follows(machine, row, Word(int(row["verdict"]))):
        return None
    if Word(int(row["verdict"])) is not Word.ABOVE:
        registry.releases.pop(number, None)
        return False
    said = _enter(registry.releases, number, vote.replica, _ballot(machine, vote, row))
    now = int(machine.state.counters[Counter.TIME])
    # A reserved amount has left the account already, so no version of it can make the ballot old.
    if held or not quorum.reached(said, registry.replicas, int(row["account_version"]), now):
        return False
    if not is_releasable(machine, entry):
        del registry.releases[number]
        return False
    return release_withdrawal(machine, number, command) is Reason.ACCEPTED


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


def confirm_payment(machine: Machine, command: ConfirmPayment, sender: Sender) -> Verdict:
    """A payment is on its way: only the holder of the role may say so, so that one that lost it is not believed."""
    registry, now = machine.registry, int(machine.state.counters[Counter.TIME])
    lease = registry.leases.get(PAYER)
    if lease is None or lease.until <= now or lease.replica != sender.subject:
        holder, until = (-1, 0) if lease is None else (lease.replica, lease.until)
        return refused(Reason.LEASE_HELD, holder, until)
    if command.withdrawal not in registry.payments:
        return refused(Reason.WITHDRAWAL_UNKNOWN)
    left = {number: payment for number, payment in registry.payments.items() if number != command.withdrawal}
    machine.registry = replace(registry, payments=left)
    return Verdict(made=command.withdrawal)


def quarantine(machine: Machine, command: QuarantineCommand, _sender: Sender) -> Verdict:
    """Collect signatures under a quarantine, and record it when they are a majority's; then `made` is 1.

    It takes effect apart from this: the fold skips its subject by the signatures that it knows when it meets it
    (`core.fold`). `limit` is how many have signed, `passes` how many are needed.
    """
    registry = machine.registry
    try:
        statement = verify_quarantine(command.quarantine, quorum.keys_of(registry.replicas))
    except (QuarantineError, InputError) as error:
        return refused(Reason.VOTE_INVALID, detail=str(error))
    needed = len(registry.replicas) // 2 + 1
    if statement.position in registry.quarantined:
        return Verdict(limit=needed, passes=needed)
    signed = _with_signatures(machine, statement)
    others = tuple(one for one in registry.quarantines if one.digest != signed.digest)
    if not quorum.majority(len(signed.replicas), registry.replicas):
        machine.registry = replace(registry, quarantines=(*others, signed)[-QUARANTINES_OPEN_MAXIMUM:])
        return Verdict(limit=len(signed.replicas), passes=needed)
    quarantined = registry.quarantined | {statement.position}
    machine.registry = replace(registry, quarantines=others, quarantined=quarantined)
    return Verdict(made=1, limit=len(signed.replicas), passes=needed)


def _with_signatures(machine: Machine, statement: Quarantine) -> OpenQuarantine:
    """Who has signed a statement in this log so far and still may, with those who sign it now."""
    digest = hashlib.sha256(quarantine_statement(statement)).digest()
    before = {n for one in machine.registry.quarantines if one.digest == digest for n in one.replicas}
    signed = before | {replica for replica, _ in statement.signatures}
    return OpenQuarantine(digest, tuple(sorted(signed & quorum.keys_of(machine.registry.replicas).keys())))


ROLES = {
    CastVote: (Role.REPLICA,),
    TakeLease: (Role.REPLICA,),
    ConfirmPayment: (Role.REPLICA,),
    QuarantineCommand: (Role.REPLICA, Role.OPERATOR),
}
HANDLERS = {CastVote: cast_vote, TakeLease: take_lease, ConfirmPayment: confirm_payment, QuarantineCommand: quarantine}
