"""Posting from outside the hot loop: entries of any number, moves of cash, and an account's next version.

What cold commands and liquidations do to the ledger goes through here: entries are written to the journal, posted
together, and then committed or undone. What may not live here: what a command moves and why (`cold`, `liquidation`),
and the arithmetic of rows (`ledger`).
"""

import numpy as np

from holdfast.core import ledger
from holdfast.core.machine import Machine
from holdfast.core.state import Account, Counter
from holdfast.domain.reasons import Reason
from holdfast.domain.units import LEDGER_MAXIMUM

BEYOND = 4 * LEDGER_MAXIMUM
"""An entry of this size is refused on every row: none holds more than LEDGER_MAXIMUM."""


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
    return post_all(machine)


def post_all(machine: Machine) -> Reason:
    """Post all entries of the journal, to be committed or undone by the caller; or none, with the reason."""
    return Reason(int(ledger.post(machine.state)))


def touch(machine: Machine, account: int) -> None:
    """Give an account its next version."""
    machine.state.accounts[account, Account.VERSION] += 1
    machine.state.accounts[account, Account.DIRTY] = 1


def missing(equity: float, initial: float) -> int:
    """Missing equity in millionths of the numeraire, rounded up, as the hot loop gives it."""
    units = np.ceil((initial - equity) * 1e6)
    return int(min(units, LEDGER_MAXIMUM)) if units > 0.0 else 0
