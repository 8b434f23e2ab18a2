"""Accounts and their money: opening, models, deposits, withdrawals, release (specs/ledger.md, specs/commands.md)."""

from msgspec.structs import replace

from holdfast.core import ledger
from holdfast.core.machine import Machine
from holdfast.core.margins import margin_of, relabel
from holdfast.core.posting import missing, move, post_move, touch
from holdfast.core.registry import Payment, Withdrawal
from holdfast.core.state import (
    INSURANCE,
    NONE,
    SYSTEM_ACCOUNTS,
    WITHDRAWALS,
    WORLD,
    Account,
    Counter,
    Form,
    Item,
    Role,
    Status,
    grown,
)
from holdfast.core.verdict import ACCEPTED, Sender, Verdict, refused
from holdfast.domain.commands import (
    CancelWithdrawal,
    ChooseModel,
    Deposit,
    OpenAccount,
    ReleaseAccount,
    RequestWithdrawal,
)
from holdfast.domain.reasons import Reason
from holdfast.domain.units import LEDGER_MAXIMUM

ACCOUNTS_MAXIMUM = (1 << 32) - 1


def open_account(machine: Machine, command: OpenAccount, _sender: Sender) -> Verdict:
    """Open an account."""
    if not 0 <= command.model < len(machine.registry.models):
        return refused(Reason.MODEL_UNKNOWN, len(machine.registry.models) - 1)
    number = int(machine.state.counters[Counter.ACCOUNTS])
    if number == ACCOUNTS_MAXIMUM:
        return refused(Reason.LEDGER_LIMIT, ACCOUNTS_MAXIMUM)
    new_account(machine, command.model)
    return Verdict(made=number)


def new_account(machine: Machine, model: int) -> None:
    """Add an account's row."""
    number = int(machine.state.counters[Counter.ACCOUNTS])
    if number == len(machine.state.accounts):
        machine.state = grown(machine.state, "accounts", number + 1)
    row = machine.state.accounts[number]
    row[:] = 0
    row[[Account.MODEL, Account.ORDERS, Account.DIRTY]] = model, NONE, 1
    machine.state.counters[Counter.ACCOUNTS] = number + 1


def choose_model(machine: Machine, command: ChooseModel, _sender: Sender) -> Verdict:
    """Change an account's model if its margin allows, or only say what it would be."""
    reason = _client_account(machine, command.account)
    if reason is not Reason.ACCEPTED:
        return refused(reason)
    if not 0 <= command.model < len(machine.registry.models):
        return refused(Reason.MODEL_UNKNOWN, len(machine.registry.models) - 1)
    status = Status(int(machine.state.accounts[command.account, Account.STATUS]))
    if status not in (Status.HEALTHY, Status.RESTRICTED) and not command.dry_run:
        return refused(Reason.ACCOUNT_FROZEN, int(status))
    before = int(machine.state.accounts[command.account, Account.MODEL])
    _put_under(machine, command.account, command.model)
    equity, initial = margin_of(machine.state, machine.marked.arrays, command.account)
    enough = bool(equity >= initial)
    if command.dry_run or not enough:
        _put_under(machine, command.account, before)
    if not enough:
        verdict = refused(Reason.INITIAL_MARGIN, missing(equity, initial))
        return verdict._replace(equity=equity, initial=initial)
    if not command.dry_run:
        touch(machine, command.account)
        machine.state.accounts[command.account, Account.STATUS] = Status.HEALTHY
    return Verdict(equity=equity, initial=initial)


def _put_under(machine: Machine, account: int, model: int) -> None:
    machine.state.accounts[account, Account.MODEL] = model
    relabel(machine.state, account)


def _client_account(machine: Machine, account: int) -> Reason:
    if not 0 <= account < int(machine.state.counters[Counter.ACCOUNTS]):
        return Reason.ACCOUNT_UNKNOWN
    return Reason.ACCOUNT_SYSTEM if account < SYSTEM_ACCOUNTS else Reason.ACCEPTED


def _asset(machine: Machine, item: int) -> Reason:
    if not 0 <= item < len(machine.registry.items):
        return Reason.ITEM_UNKNOWN
    return Reason.ACCEPTED if machine.state.items[item, Item.FORM] == Form.ASSET else Reason.NOT_AN_ASSET


def deposit(machine: Machine, command: Deposit, _sender: Sender) -> Verdict:
    """Credit an account from the outside world; the insurance fund may be credited too."""
    reason = _client_account(machine, command.account)
    if command.account == INSURANCE:
        reason = Reason.ACCEPTED
    if reason is Reason.ACCEPTED:
        reason = _asset(machine, command.item)
    if reason is not Reason.ACCEPTED:
        return refused(reason)
    if not 0 < command.amount <= LEDGER_MAXIMUM:
        return refused(Reason.QUANTITY_INVALID, LEDGER_MAXIMUM)
    reason = move(machine, command.item, command.amount, WORLD, command.account)
    return refused(reason) if reason is not Reason.ACCEPTED else _margin_after(machine, command.account)


def _margin_after(machine: Machine, account: int, made: int = 0) -> Verdict:
    equity, initial = margin_of(machine.state, machine.marked.arrays, account)
    row = machine.state.accounts[account]
    if row[Account.STATUS] in (Status.HEALTHY, Status.RESTRICTED):
        row[Account.STATUS] = Status.HEALTHY if equity >= initial else Status.RESTRICTED
    return Verdict(made=made, equity=equity, initial=initial)


def request_withdrawal(machine: Machine, command: RequestWithdrawal, sender: Sender) -> Verdict:
    """First phase of a withdrawal: out of the account, into reserve, if initial margin stays covered."""
    reason = _client_account(machine, command.account)
    if reason is Reason.ACCEPTED:
        reason = _asset(machine, command.item)
    if reason is not Reason.ACCEPTED:
        return refused(reason)
    if not 0 < command.amount <= LEDGER_MAXIMUM:
        return refused(Reason.QUANTITY_INVALID, LEDGER_MAXIMUM)
    status = int(machine.state.accounts[command.account, Account.STATUS])
    if status not in (Status.HEALTHY, Status.RESTRICTED):
        return refused(Reason.ACCOUNT_FROZEN, status)
    cash, _ = ledger.amounts_of(machine.state, command.account, command.item)
    if cash < command.amount:
        return refused(Reason.BALANCE, command.amount - cash, max(int(cash), 0))
    reason = post_move(machine, command.item, command.amount, command.account, WITHDRAWALS)
    if reason is not Reason.ACCEPTED:
        return refused(reason)
    equity, initial = margin_of(machine.state, machine.marked.arrays, command.account)
    if not equity >= initial:
        ledger.undo(machine.state)
        verdict = refused(Reason.INITIAL_MARGIN, missing(equity, initial))
        return verdict._replace(equity=equity, initial=initial)
    ledger.commit_entries(machine.state)
    number = machine.registry.withdrawals_made + 1
    entry = Withdrawal(command.account, command.item, command.amount, command.destination, sender.command)
    machine.registry = replace(
        machine.registry, withdrawals=machine.registry.withdrawals | {number: entry}, withdrawals_made=number
    )
    return _margin_after(machine, command.account, number)


def cancel_withdrawal(machine: Machine, command: CancelWithdrawal, _sender: Sender) -> Verdict:
    """Give a reserved withdrawal back."""
    entry = machine.registry.withdrawals.get(command.withdrawal)
    if entry is None:
        return refused(Reason.WITHDRAWAL_UNKNOWN)
    reason = move(machine, entry.item, entry.amount, WITHDRAWALS, entry.account)
    if reason is not Reason.ACCEPTED:
        return refused(reason)
    without_withdrawal(machine, command.withdrawal)
    return _margin_after(machine, entry.account)


def release_withdrawal(machine: Machine, number: int, command: int) -> Reason:
    """Second phase: a reserved amount leaves to the outside world. For the quorum, not for clients.

    Args:
        machine: Where.
        number: Of the withdrawal.
        command: That released it; with the number it is the id of the payment.
    """
    entry = machine.registry.withdrawals.get(number)
    if entry is None:
        return Reason.WITHDRAWAL_UNKNOWN
    reason = move(machine, entry.item, entry.amount, WITHDRAWALS, WORLD)
    if reason is Reason.ACCEPTED:
        without_withdrawal(machine, number)
        payment = Payment(entry.account, entry.item, entry.amount, entry.destination, command)
        machine.registry = replace(machine.registry, payments=machine.registry.payments | {number: payment})
    return reason


def is_releasable(machine: Machine, entry: Withdrawal) -> bool:
    """Whether a reserved withdrawal may leave now: its account stands well without it, open orders included."""
    if machine.state.accounts[entry.account, Account.STATUS] not in (Status.HEALTHY, Status.RESTRICTED):
        return False
    equity, initial = margin_of(machine.state, machine.marked.arrays, entry.account)
    return bool(equity >= initial)


def without_withdrawal(machine: Machine, number: int) -> None:
    """Forget a withdrawal that is done, and what was said of it."""
    registry = machine.registry
    rest = {n: w for n, w in registry.withdrawals.items() if n != number}
    releases = {n: said for n, said in registry.releases.items() if n != number}
    machine.registry = replace(registry, withdrawals=rest, releases=releases)


def release_account(machine: Machine, command: ReleaseAccount, _sender: Sender) -> Verdict:
    """Let an account that was set aside or frozen take part again; the next mark says where it stands."""
    reason = _client_account(machine, command.account)
    if reason is not Reason.ACCEPTED:
        return refused(reason)
    status = Status(int(machine.state.accounts[command.account, Account.STATUS]))
    if status not in (Status.ASIDE, Status.FROZEN):
        return refused(Reason.VALUE_INVALID, int(status), detail="it is neither set aside nor frozen")
    machine.state.accounts[command.account, Account.STATUS] = Status.RESTRICTED
    found = machine.registry.discrepancies
    rest = {account: said for account, said in found.items() if account != command.account}
    machine.registry = replace(machine.registry, discrepancies=rest)
    touch(machine, command.account)
    return ACCEPTED


_CLIENTS = (Role.CLIENT, Role.OPERATOR)
ROLES = {
    OpenAccount: _CLIENTS,
    ChooseModel: _CLIENTS,
    Deposit: (Role.OPERATOR,),
    RequestWithdrawal: _CLIENTS,
    CancelWithdrawal: _CLIENTS,
    ReleaseAccount: (Role.OPERATOR,),
}
HANDLERS = {
    OpenAccount: open_account,
    ChooseModel: choose_model,
    Deposit: deposit,
    RequestWithdrawal: request_withdrawal,
    CancelWithdrawal: cancel_withdrawal,
    ReleaseAccount: release_account,
}
