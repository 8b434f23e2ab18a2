"""Both engines over one log: what is sent goes to the first, and what it answered to the second."""

import numpy as np

from holdfast.core.fold import Fold
from holdfast.core.margins import margin_of, totals_on
from holdfast.core.state import Account
from holdfast.domain import commands as c
from holdfast.domain.frames import encode_frame
from holdfast.domain.signatures import public_key_of
from holdfast.replica.decisions import votes_for
from holdfast.replica.views import rows_of
from holdfast.witness import Witness

SECOND = 10**9
DAY = 86_400 * SECOND
START = 1_600_000_000 * SECOND
WORLD, FEES, INSURANCE, WITHDRAWALS = range(4)
RELATIVE = 1e-9
HEALTHY, RESTRICTED, BREACH_PENDING, LIQUIDATING = range(4)


class Pair:
    """Two engines; after every frame nothing may differ that an exact comparison can see.

    A hot command is a function of (session, number); `hot(c.trade, …)` makes one.
    """

    def __init__(self, replicas=1, sources=1):
        self.fold, self.witness = Fold(), Witness.new()
        self.steps, self.numbers, self.differences = [], {}, []
        self.frame_number, self.sequence = 0, 0
        self.operator, self.client = self.open("operator"), self.open("client")
        for number in range(sources):
            self.ok(c.DefineSource(f"source-{number}"))
        for number in range(replicas):
            self.ok(c.DefineReplica(f"replica-{number}", KEYS[number].public, REGIONS[number] if replicas > 1 else ""))
        self.sources = [self.open("source", number) for number in range(sources)]
        self.replicas = [self.open("replica", number) for number in range(replicas)]
        self.items = {}

    def open(self, role, subject=0):
        return int(self.send((0, c.OpenSession(role, subject)))[0]["made"])

    def ok(self, *commands):
        """Send as the operator; all must be accepted. The numbers of what was made."""
        outcomes = self.send(*((self.operator, command) for command in commands))
        assert not outcomes["reason"].any(), outcomes["reason"]
        return [int(made) for made in outcomes["made"]]

    def send(self, *sent):
        """One frame of (session, command) pairs."""
        records, blob = [], b""
        for session, command in sent:
            number = 0
            if not isinstance(command, c.OpenSession):
                number = self.numbers[session] = self.numbers.get(session, 0) + 1
            if callable(command):
                records.append(command(session, number))
            else:
                data = command if isinstance(command, bytes) else c.encode_cold(command)
                records.append(c.cold_record(session, number, len(blob), len(data)))
                blob += data
        self.frame_number += 1
        return self.apply(encode_frame(0, self.frame_number, np.concatenate(records), blob))

    def apply(self, frame):
        outcomes = self.fold.apply(frame).outcomes
        self.steps.append((frame, outcomes["reason"].copy()))
        self.differences += self.witness.apply(frame, outcomes["reason"])
        return outcomes

    def asset(self, name, decimals):
        self.items[name] = self.ok(c.DefineAsset(name, decimals))[0]
        return self.items[name]

    def contract(self, name, lot, price_decimals, fee_ppm=0, liquidation_fee_ppm=0):
        self.items[name] = self.ok(c.DefineInstrument(name, lot, price_decimals, fee_ppm, liquidation_fee_ppm))[0]
        return self.items[name]

    def account(self, model=0, **balances):
        """A client's account with deposits in units."""
        number = self.ok(c.OpenAccount(model))[0]
        for name, amount in balances.items():
            if amount:
                self.ok(c.Deposit(number, self.items[name], amount))
        return number

    def tick(self, time, replica=None):
        which = range(len(self.replicas)) if replica is None else [replica]
        return [self.send((self.replicas[one], c.Tick(one, time)))[0] for one in which]

    def quote(self, item, price, source=0, time=None):
        return self.send((self.sources[source], self.quoted(item, price, time)))[0]

    def quoted(self, item, price, time=None):
        self.sequence += 1
        return hot(c.quote, self.number(item), price, self.fold.time if time is None else time, self.sequence)

    def mark(self, item):
        return self.send((self.operator, c.Mark(self.number(item))))[0]

    def number(self, item):
        return self.items[item] if isinstance(item, str) else item

    def trade(self, buyer, seller, item, lots, price):
        return self.send((self.client, hot(c.trade, buyer, seller, self.number(item), lots, price)))[0]

    def order(self, account, item, lots, price):
        return self.send((self.client, hot(c.order, account, self.number(item), lots, price)))[0]

    def status(self, account):
        return int(self.fold.machine.state.accounts[account, Account.STATUS])

    def version(self, account):
        return int(self.fold.machine.state.accounts[account, Account.VERSION])

    def rows(self, account):
        return {item: (amount, cost) for item, amount, cost in rows_of(self.fold, account)}

    def _accounts(self):
        return self.witness._state.accounts

    def vote(self, replicas=None):
        """What replicas have to say about the last mark."""
        for replica in range(len(self.replicas)) if replicas is None else replicas:
            for command in votes_for(self.fold, replica, KEYS[replica].private):
                self.send((self.replicas[replica], command))

    def liquidate(self, account, *reductions):
        """A stage; without reductions, of all contracts held."""
        return self.send((self.replicas[0], c.Liquidate(account, self.version(account), tuple(reductions))))[0]

    def problems(self, witness=None):
        """What differs between the engines, in words; nothing if all is well."""
        witness = witness or self.witness
        found = [str(difference) for difference in self.differences]
        for name in ("time", "price_id"):
            if getattr(witness, name) != getattr(self.fold, name):
                found.append(f"{name}: {getattr(self.fold, name)} and {getattr(witness, name)}")
        for account in range(self._accounts()):
            if self.rows(account) != witness.rows(account):
                found.append(f"rows of {account}: {self.rows(account)} and {witness.rows(account)}")
            if self.version(account) != witness.version(account):
                found.append(f"version of {account}: {self.version(account)} and {witness.version(account)}")
            mine, theirs = max(self.status(account), RESTRICTED), max(witness._state.status(account), RESTRICTED)
            if account > WITHDRAWALS and mine != theirs:
                found.append(f"status of {account}: {mine} and {theirs}")
        return found + self.margin_problems(witness)

    def margin_problems(self, witness):
        arrays = self.fold.machine.marked.arrays
        margins = witness.margins()
        found = []
        if list(margins.accounts) != list(range(WITHDRAWALS + 1, self._accounts())):
            found.append(f"accounts with margins: {list(margins.accounts)}")
        for place, account in enumerate(margins.accounts.tolist()):
            equity, initial = margin_of(self.fold.machine.state, arrays, account)
            _, _, maintenance = totals_on(self.fold.machine.state, arrays, account)
            mine = margins.equity[place], margins.initial[place], margins.maintenance[place]
            if not np.allclose(
                (equity, initial, maintenance), mine, rtol=0, atol=RELATIVE * max(margins.gross[place], 1e-6)
            ):
                parts = witness.components(account)
                found.append(f"margin of {account}: {(equity, initial, maintenance)} and {mine}: {parts}")
        return found

    def check(self):
        assert self.problems() == []


def hot(make, *arguments, **named):
    """A hot command whose session and number come later."""
    return lambda session, number: make(session, number, *arguments, **named)


class Key:
    """A key pair from a seed."""

    def __init__(self, number):
        self.private = bytes([number + 1]) * 32
        self.public = public_key_of(self.private)


KEYS = [Key(number) for number in range(5)]
REGIONS = ["north", "south", "east", "north", "south"]
