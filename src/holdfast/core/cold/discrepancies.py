"""Discrepancies: what replicas say of accounts whose engines do not agree (specs/quorum.md, "Two engines").

The record is state, so that replay tells the same story; the parts of both margins stay in the log. What may not live
here: votes (`roles`), and the comparison itself, which is the replicas'.
"""

import itertools
import math

from msgspec.structs import replace

from holdfast.core import quorum
from holdfast.core.agreement import differ, tolerance, word_on_account
from holdfast.core.machine import Machine
from holdfast.core.registry import DISCREPANCIES_MAXIMUM, Alarm, Discrepancy, Registry, with_alarm
from holdfast.core.state import SYSTEM_ACCOUNTS, Account, Counter, Role, Status
from holdfast.core.verdict import Sender, Verdict, refused
from holdfast.domain.commands import AccountDifference, ReportDiscrepancy
from holdfast.domain.reasons import Reason
from holdfast.domain.votes import Verdict as Word

ENGINES = ("witness", "exact")
ACCOUNTS_MAXIMUM = 512
"""Accounts of one report: it fits in a frame with the parts of a few."""
_ACTED_ON = (Status.BREACH_PENDING, Status.LIQUIDATING)
_FREE = (Status.HEALTHY, Status.RESTRICTED)


def report_discrepancy(machine: Machine, command: ReportDiscrepancy, sender: Sender) -> Verdict:
    """Record what differs; `made` is how many accounts froze by it, `limit` how many rows were ignored.

    An account that waits for its quorum or is being liquidated freezes on one replica's word that another engine finds
    it above its maintenance margin. A free one freezes when a majority says that its numbers differ.
    """
    if not 0 <= command.replica < len(machine.registry.replicas) or command.replica != sender.subject:
        return refused(Reason.REPLICA_UNKNOWN, command.replica)
    if not any((m.position, m.price_id) == (command.position, command.price_id) for m in machine.registry.marks):
        return refused(Reason.VOTE_MISMATCH, command.position)
    problem = _problem(command)
    if problem:
        return refused(Reason.VALUE_INVALID, detail=problem)
    machine.registry = _without_old(machine.registry)
    worst, frozen, ignored = None, 0, 0
    for row in command.accounts:
        if not _is_right(machine, row):
            ignored += 1
            continue
        worst = row if worst is None or _gap(row) > _gap(worst) else worst
        frozen += _take(machine, command, row)
    if worst is not None:
        text = (
            f"replica {command.replica}: the {command.engine} engine differs on {command.total} accounts at price id "
            f"{command.price_id}; account {worst.account} the most: equity {worst.first[0]:.6f} against "
            f"{worst.second[0]:.6f}, maintenance margin {worst.first[2]:.6f} against {worst.second[2]:.6f}"
        )
        machine.registry = with_alarm(machine.registry, Alarm(sender.command, "discrepancy", text))
    return Verdict(made=frozen, limit=ignored)


def _problem(command: ReportDiscrepancy) -> str:
    numbers = [row.account for row in command.accounts]
    if command.engine not in ENGINES:
        return f"engine is one of {', '.join(ENGINES)}"
    if not 1 <= len(numbers) <= ACCOUNTS_MAXIMUM or command.total < len(numbers):
        return f"accounts are 1 to {ACCOUNTS_MAXIMUM}, and total at least as many"
    if any(a >= b for a, b in itertools.pairwise(numbers)):
        return "accounts are in ascending order"
    if not all(math.isfinite(number) for row in command.accounts for number in (*row.first, *row.second)):
        return "numbers are finite"
    return ""


def _is_right(machine: Machine, row: AccountDifference) -> bool:
    """Whether a row speaks of a client's account as it is, and its numbers differ."""
    accounts = machine.state.accounts
    if not SYSTEM_ACCOUNTS <= row.account < int(machine.state.counters[Counter.ACCOUNTS]):
        return False
    if row.version != int(accounts[row.account, Account.VERSION]):
        return False
    return differ(row.first, row.second, tolerance(machine.registry.rules, row.first[2]))


def _gap(row: AccountDifference) -> float:
    return max(abs(a - b) for a, b in zip(row.first, row.second, strict=True))


def _take(machine: Machine, command: ReportDiscrepancy, row: AccountDifference) -> bool:
    """Record one account's difference; whether the account froze by it."""
    registry, status = machine.registry, Status(int(machine.state.accounts[row.account, Account.STATUS]))
    found = Discrepancy(row.version, command.position, command.price_id, command.engine, row.first, row.second)
    said = registry.discrepancies.get(row.account, {}) | {command.replica: found}
    kept = registry.discrepancies | {row.account: said}
    if len(kept) > DISCREPANCIES_MAXIMUM:
        del kept[min(kept, key=lambda account: (max(one.position for one in kept[account].values()), account))]
    machine.registry = replace(registry, discrepancies=kept)
    if not (_opposes(machine, row) if status in _ACTED_ON else status in _FREE and _is_of_most(machine, said, found)):
        return False
    machine.state.accounts[row.account, Account.STATUS] = Status.FROZEN
    machine.state.accounts[row.account, Account.DIRTY] = 1
    ballots = {account: by for account, by in machine.registry.ballots.items() if account != row.account}
    machine.registry = replace(machine.registry, ballots=ballots)
    return True


def _opposes(machine: Machine, row: AccountDifference) -> bool:
    """Whether the other engine finds an account above that is about to be, or is being, liquidated."""
    allowed = tolerance(machine.registry.rules, row.first[2])
    first, second = (row.first[0], row.first[2]), (row.second[0], row.second[2])
    return word_on_account(first, second, allowed) is Word.ABOVE


def _is_of_most(machine: Machine, said: dict[int, Discrepancy], found: Discrepancy) -> bool:
    """Whether a majority says that an account's numbers differ, of the same mark and version."""
    place = found.position, found.price_id, found.version, found.engine
    same = [one for one in said.values() if (one.position, one.price_id, one.version, one.engine) == place]
    return quorum.majority(len(same), machine.registry.replicas)


def _without_old(registry: Registry) -> Registry:
    """The registry without what was said of marks that are no longer remembered."""
    oldest = registry.marks[0].position
    kept = {
        account: fresh
        for account, said in registry.discrepancies.items()
        if (fresh := {replica: one for replica, one in said.items() if one.position >= oldest})
    }
    return replace(registry, discrepancies=kept)


ROLES = {ReportDiscrepancy: (Role.REPLICA,)}
HANDLERS = {ReportDiscrepancy: report_discrepancy}
