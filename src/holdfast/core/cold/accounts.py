"""Accounts and their money: opening, models, deposits, withdrawals, funding, settlement (specs/ledger.md)."""

import numpy as np
from msgspec.structs import replace

from holdfast.core import ledger
from holdfast.core.book import cancel_on_item
from holdfast.core.machine import Machine
from holdfast.core.margins import margin_of, relabel
from holdfast.core.marks import PRICE_DECIMALS_OF_INDEX, is_stale
from holdfast.core.registry import Withdrawal
from holdfast.core.state import (
    FEES,
    INSURANCE,
    NONE,
    SYSTEM_ACCOUNTS,
    WITHDRAWALS,
    WORLD,
    Account,
    Counter,
    Form,
    Item,
    Price,
    Role,
    Status,
    grown,
)
from holdfast.core.verdict import ACCEPTED, Sender, Verdict, refused
from holdfast.domain.commands import (
    CancelWithdrawal,
    ChooseModel,
    Deposit,
    Funding,
    OpenAccount,
    ReleaseAccount,
    RequestWithdrawal,
    Settle,
)
from holdfast.domain.instruments import Kind
from holdfast.domain.reasons import Reason
from holdfast.domain.units import LEDGER_MAXIMUM, Rounding, divide

BILLION = 10**9
ACCOUNTS_MAXIMUM = (1 << 32) - 1
BEYOND = 4 * LEDGER_MAXIMUM
"""An entry of this size is refused on every row: none holds more than LEDGER_MAXIMUM."""


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


def touch(machine: Machine, account: int) -> None:
    """Give an account its next version."""
    machine.state.accounts[account, Account.VERSION] += 1
    machine.state.accounts[account, Account.DIRTY] = 1


def missing(equity: float, initial: float) -> int:
    """Missing equity in millionths of the numeraire, rounded up, as the hot loop gives it."""
    units = np.ceil((initial - equity) * 1e6)
    return int(min(units, LEDGER_MAXIMUM)) if units > 0.0 else 0


def _client_account(machine: Machine, account: int) -> Reason:
    if not 0 <= account < int(machine.state.counters[Counter.ACCOUNTS]):
        return Reason.ACCOUNT_UNKNOWN
    return Reason.ACCOUNT_SYSTEM if account < SYSTEM_ACCOUNTS else Reason.ACCEPTED


def _asset(machine: Machine, item: int) -> Reason:
    if not 0 <= item < len(machine.registry.items):
        return Reason.ITEM_UNKNOWN
    return Reason.ACCEPTED if machine.state.items[item, Item.FORM] == Form.ASSET else Reason.NOT_AN_ASSET


def move(machine: Machine, item: int, amount: int, giver: int, taker: int) -> Reason:
    """Move cash between two accounts: posted and committed, or not at all."""
    reason = post_move(machine, item, amount, giver, taker)
    if reason is Reason.ACCEPTED:
        ledger.commit_entries(machine.state)
    return reason


def post_move(machine: Machine, item: int, amount: int, giver: int, taker: int) -> Reason:
    """Move cash between two accounts, to be committed or undone by the caller if that was possible."""
    machine.make_room()
    enter(machine, giver, item, -amount, 0)
    enter(machine, taker, item, amount, 0)
    return Reason(int(ledger.post(machine.state)))


def enter(machine: Machine, account: int, item: int, amount: int, cost: int) -> None:
    """Write a journal entry; one that changes nothing is left out. The journal grows as needed."""
    if amount == 0 and cost == 0:
        return
    # Whatever is beyond the limit is refused when it is posted; so it need only fit in the journal.
    amount, cost = (max(-BEYOND, min(value, BEYOND)) for value in (amount, cost))
    state = machine.state
    n = int(state.counters[Counter.JOURNAL])
    if n == len(state.journal):
        longer = np.zeros((2 * n, state.journal.shape[1]), np.int64)
        longer[:n] = state.journal
        machine.state = state = state._replace(journal=longer)
    state.journal[n] = account, item, amount, cost
    state.counters[Counter.JOURNAL] = n + 1


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


def release_withdrawal(machine: Machine, number: int) -> Reason:
    """Second phase: a reserved amount leaves to the outside world. For the quorum, not for clients."""
    entry = machine.registry.withdrawals.get(number)
    if entry is None:
        return Reason.WITHDRAWAL_UNKNOWN
    reason = move(machine, entry.item, entry.amount, WITHDRAWALS, WORLD)
    if reason is Reason.ACCEPTED:
        without_withdrawal(machine, number)
    return reason


def without_withdrawal(machine: Machine, number: int) -> None:
    """Forget a withdrawal that is done."""
    rest = {n: w for n, w in machine.registry.withdrawals.items() if n != number}
    machine.registry = replace(machine.registry, withdrawals=rest)


def holders(machine: Machine, item: int) -> list[list[int]]:
    """(account, amount, cost) of every account with a row of the item, in order of accounts."""
    found: list[list[int]] = ledger.holders_of(machine.state, item).tolist()
    return found


def funding(machine: Machine, command: Funding, _sender: Sender) -> Verdict:
    """Longs pay shorts a fraction of a perpetual's notional; what rounding leaves goes to the fees."""
    if not 0 <= command.item < len(machine.registry.items):
        return refused(Reason.ITEM_UNKNOWN)
    instrument = machine.registry.items[command.item].instrument
    if instrument is None or instrument.kind is not Kind.PERPETUAL:
        return refused(Reason.NOT_AN_INSTRUMENT, detail="funding is for perpetuals")
    if abs(command.rate_ppb) > BILLION // 10:
        return refused(Reason.VALUE_INVALID, BILLION // 10)
    price = price_in_steps(machine, command.item)
    if price is None:
        return refused(Reason.NO_PRICE)
    settlement = int(machine.state.items[command.item, Item.SETTLEMENT])
    paid = 0
    found = holders(machine, command.item)
    machine.make_room(account for account, _, _ in found)
    for account, lots, _ in found:
        # |value| × rate with the sign of the position: a payer pays the rounding, a receiver does not get it.
        notional = abs(cost_in_units(machine, command.item, lots, price))
        owed = notional * command.rate_ppb * (1 if lots > 0 else -1)
        amount = divide(owed, BILLION, Rounding.CEILING)
        enter(machine, account, settlement, -amount, 0)
        paid += amount
    enter(machine, FEES, settlement, paid, 0)
    return _post_all(machine)


def _post_all(machine: Machine) -> Verdict:
    reason = Reason(int(ledger.post(machine.state)))
    if reason is not Reason.ACCEPTED:
        return refused(reason)
    ledger.commit_entries(machine.state)
    return ACCEPTED


def price_in_steps(machine: Machine, item: int) -> int | None:
    """The frozen mark of a perpetual or future in its price steps, None without one."""
    instrument = machine.registry.items[item].instrument
    if instrument is None or instrument.underlying not in machine.marked.market.underlyings:
        return None
    marked = int(machine.state.prices[item, Price.MARKED])
    if marked:
        return marked
    index = int(machine.state.prices[machine.registry.numbers[instrument.underlying], Price.MARKED])
    return steps_of_index(machine, item, index)


def steps_of_index(machine: Machine, item: int, index: int) -> int:
    """An index in 1e-8 dollars as price steps of a contract, to the nearest, half to even."""
    decimals = machine.registry.items[item].decimals
    return max(1, divide(index * 10**decimals, 10**PRICE_DECIMALS_OF_INDEX, Rounding.HALF_EVEN))


def cost_in_units(machine: Machine, item: int, lots: int, price: int, rounding: Rounding = Rounding.HALF_EVEN) -> int:
    """What lots of a contract are worth at a price, as `ledger.cost_of`, in exact integers of any size."""
    row = machine.state.items[item]
    if row[Item.FORM] == Form.INVERSE:
        return divide(-lots * int(row[Item.COST_NUMERATOR]), price, rounding)
    return divide(lots * price * int(row[Item.COST_NUMERATOR]), int(row[Item.COST_DENOMINATOR]), rounding)


def settle(machine: Machine, command: Settle, _sender: Sender) -> Verdict:
    """Cash-settle an expired contract at its settlement average; the rows of everybody are closed."""
    if not 0 <= command.item < len(machine.registry.items):
        return refused(Reason.ITEM_UNKNOWN)
    state, definition = machine.state, machine.registry.items[command.item]
    instrument = definition.instrument
    if instrument is None or instrument.expiry is None:
        return refused(Reason.NOT_AN_INSTRUMENT, detail="only what expires is settled")
    if not state.items[command.item, Item.OPEN]:
        return refused(Reason.INSTRUMENT_CLOSED)
    if instrument.expiry > int(state.counters[Counter.TIME]):
        return refused(Reason.TOO_EARLY, instrument.expiry - int(state.counters[Counter.TIME]))
    underlying = machine.registry.numbers[instrument.underlying]
    count = int(state.prices[command.item, Price.SETTLEMENT_COUNT])
    if count == 0 or is_stale(state, machine.registry, underlying):
        return refused(Reason.PRICES_STALE, count)
    index = divide(int(state.prices[command.item, Price.SETTLEMENT_SUM]), count, Rounding.HALF_EVEN)
    return _settle_at(machine, command.item, index)


def _settle_at(machine: Machine, item: int, index: int) -> Verdict:
    """Close every row of a contract at an index, in 1e-8 dollars; `made` is the index."""
    settlement = int(machine.state.items[item, Item.SETTLEMENT])
    machine.make_room()
    left = 0
    for account, lots, cost in holders(machine, item):
        value = settlement_value(machine, item, lots, index)
        enter(machine, account, item, -lots, -cost)
        enter(machine, account, settlement, value - cost, -cost)
        left -= value
    # The values of all sum to less than a unit per holder from 0; the fees take what rounding leaves.
    enter(machine, FEES, settlement, left, 0)
    verdict = _post_all(machine)
    if verdict.reason is Reason.ACCEPTED:
        cancel_on_item(machine.state, item)
        machine.state.items[item, Item.OPEN] = 0
        machine.refresh()
        return Verdict(made=index)
    return verdict


def settlement_value(machine: Machine, item: int, lots: int, index: int) -> int:
    """What lots of a contract are worth at settlement, settlement units, rounded down.

    A future is worth its cost at the index. An option pays max(0, ±(index − strike)) dollars per coin: linear ones that
    amount, inverse ones that amount ÷ index in coins.
    """
    definition = machine.registry.items[item]
    instrument, row = definition.instrument, machine.state.items[item]
    if instrument is None or instrument.kind is not Kind.OPTION:
        return cost_in_units(machine, item, lots, steps_of_index(machine, item, index), Rounding.FLOOR)
    scale = 10**PRICE_DECIMALS_OF_INDEX
    strike = round(float(instrument.strike or 0.0) * scale)
    payoff = max(0, index - strike if instrument.is_call else strike - index)
    coins = lots * int(row[Item.MULTIPLIER])
    decimals = machine.registry.items[int(row[Item.SETTLEMENT])].decimals
    divisor = int(row[Item.DIVISOR]) * (index if instrument.inverse else scale)
    return divide(coins * payoff * 10**decimals, divisor, Rounding.FLOOR)


def release_account(machine: Machine, command: ReleaseAccount, _sender: Sender) -> Verdict:
    """Let an account that was set aside or frozen take part again; the next mark says where it stands."""
    reason = _client_account(machine, command.account)
    if reason is not Reason.ACCEPTED:
        return refused(reason)
    status = Status(int(machine.state.accounts[command.account, Account.STATUS]))
    if status not in (Status.ASIDE, Status.FROZEN):
        return refused(Reason.VALUE_INVALID, int(status), detail="it is neither set aside nor frozen")
    machine.state.accounts[command.account, Account.STATUS] = Status.RESTRICTED
    touch(machine, command.account)
    return ACCEPTED


_CLIENTS = (Role.CLIENT, Role.OPERATOR)
ROLES = {
    OpenAccount: _CLIENTS,
    ChooseModel: _CLIENTS,
    Deposit: (Role.OPERATOR,),
    RequestWithdrawal: _CLIENTS,
    CancelWithdrawal: _CLIENTS,
    Funding: (Role.OPERATOR,),
    Settle: (Role.OPERATOR, Role.REPLICA),
    ReleaseAccount: (Role.OPERATOR,),
}
HANDLERS = {
    OpenAccount: open_account,
    ChooseModel: choose_model,
    Deposit: deposit,
    RequestWithdrawal: request_withdrawal,
    CancelWithdrawal: cancel_withdrawal,
    Funding: funding,
    Settle: settle,
    ReleaseAccount: release_account,
}
