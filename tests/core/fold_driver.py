"""A small driver around the fold: opens sessions, numbers commands, sends frames; and a venue ready for trade."""

import copy
import functools
from typing import NamedTuple

import numpy as np

from holdfast.core import sessions
from holdfast.core.fold import Fold
from holdfast.core.state import Account, Counter, Item, Open, Session
from holdfast.domain import commands as c
from holdfast.domain.frames import RECORD, encode_frame
from holdfast.domain.reasons import Reason
from holdfast.domain.signatures import public_key_of
from holdfast.margin.presets import preset

KEYS = [bytes([n + 1]) * 32 for n in range(3)]
"""Private keys of the venue's replicas."""
SECOND = 10**9
START = 1_600_000_000 * SECOND
"""2020-09-13T12:26:40Z, the first tick of the venue."""
EXPIRY = 1_601_020_800 * SECOND
"""2020-09-25T08:00Z, when the venue's future and options expire."""
INDEX = 10_000 * 10**8
"""The bitcoin index of the venue, 1e-8 dollars."""

USD, BTC, USDC, INVERSE, LINEAR, FUTURE, CALL, PUT, LINEAR_CALL, ETH = range(10)
"""Items of the venue. ETH has no price."""
FEES, INSURANCE, WITHDRAWALS = 1, 2, 3
ALICE, BOB, CAROL, POOR = 4, 5, 6, 7
"""Accounts of the venue; the last has nothing."""
RICH = 200_000 * 10**6
"""What each account but the last has of USD, units."""


class Sent(NamedTuple):
    """What became of one command."""

    reason: Reason
    repeated: int
    limit: int
    passes: int
    made: int
    equity: float
    initial: float
    command: int
    detail: object


def hot(make, *arguments, **named):
    """A hot command that the driver gives its session and number."""
    return lambda session, number: make(session, number, *arguments, **named)


class Driver:
    """A fold with one gateway, and sessions that number their commands."""

    def __init__(self):
        self.fold = Fold()

    @property
    def state(self):
        return self.fold.machine.state

    def session_row(self, session):
        return self.state.sessions[sessions.find_session(self.state, session)]

    def next_number(self, session):
        return int(self.session_row(session)[Session.NEXT]) if session else 0

    def next_frame(self, gateway=0):
        return int(self.session_row(gateway)[Session.NEXT])

    def send(self, *sent, gateway=0):
        """Send pairs (session, command) as one frame, numbered as each session's next; their outcomes."""
        ahead, numbered = {}, []
        for session, command in sent:
            number = ahead.get(session) or self.next_number(session)
            numbered.append((session, number, command))
            ahead[session] = number + 1
        return self.send_numbered(*numbered, gateway=gateway)

    def send_numbered(self, *sent, gateway=0, frame_number=None):
        """Send triples (session, number, command) as one frame."""
        records, blob = [], b""
        for session, number, command in sent:
            if callable(command):
                records.append(command(session, number))
                continue
            data = command if isinstance(command, bytes) else c.encode_cold(command)
            records.append(c.cold_record(session, number, len(blob), len(data)))
            blob += data
        records = np.concatenate(records) if records else np.empty(0, RECORD)
        if frame_number is None:
            frame_number = self.next_frame(gateway)
        applied = self.fold.apply(encode_frame(gateway, frame_number, records, blob))
        return [read(outcome, applied.details.get(i)) for i, outcome in enumerate(applied.outcomes)]

    def one(self, session, command):
        """Send one command; its outcome."""
        return self.send((session, command))[0]

    def all_accepted(self, *sent):
        """Send commands that must be accepted; their outcomes."""
        outcomes = self.send(*sent)
        assert [o.reason for o in outcomes] == [Reason.ACCEPTED] * len(sent), outcomes
        return outcomes

    def open(self, role, subject=0, kept=64):
        """Open a session; its id."""
        return self.all_accepted((0, c.OpenSession(role, subject, kept)))[0].made

    def clone(self):
        """Another driver in the same state."""
        other = copy.copy(self)
        other.fold = copy.copy(self.fold)
        other.fold.machine = copy.copy(self.fold.machine)
        other.fold.machine.state = type(self.state)(*(array.copy() for array in self.state))
        other.fold.machine.events = []
        return other

    def rows(self, account):
        """{item: (amount, cost)} of an account."""
        start, count = (int(v) for v in self.state.accounts[account, [Account.START, Account.COUNT]])
        amounts = self.state.ledger[start : start + count].tolist()
        items = self.state.row_item[start : start + count].tolist()
        return {item: tuple(amount) for item, amount in zip(items, amounts, strict=True)}

    def held(self, account, item):
        """Amount and cost of an item in an account."""
        return self.rows(account).get(item, (0, 0))

    def orders(self):
        """{(account, number): (item, remaining, price)} of all open orders."""
        used = self.state.orders[: int(self.state.counters[Counter.ORDER_SLOTS])]
        return {
            (int(row[Open.ACCOUNT]), int(row[Open.NUMBER])): tuple(int(row[k]) for k in (1, 2, 3))
            for row in used
            if row[Open.REMAINING]
        }

    def sums(self):
        """By item: Σ amount of a contract, Σ (cash − cost) of an asset, over all accounts."""
        totals = [0] * int(self.state.counters[Counter.ITEMS])
        for account in range(int(self.state.counters[Counter.ACCOUNTS])):
            for item, (amount, cost) in self.rows(account).items():
                is_asset = self.state.items[item, Item.FORM] == 0
                totals[item] += amount - cost if is_asset else amount
        return totals

    def check_conservation(self):
        """Assert that nothing was made or lost, and that an asset's cost is the sum of its positions' costs."""
        assert not any(self.sums())
        for account in range(int(self.state.counters[Counter.ACCOUNTS])):
            costs = {}
            rows = self.rows(account)
            for item, (amount, cost) in rows.items():
                assert (amount, cost) != (0, 0)
                if self.state.items[item, Item.FORM] != 0:
                    assert amount != 0
                    settlement = int(self.state.items[item, Item.SETTLEMENT])
                    costs[settlement] = costs.get(settlement, 0) + cost
            for item, (_, cost) in rows.items():
                if self.state.items[item, Item.FORM] == 0:
                    assert cost == costs.pop(item, 0)
            assert not any(costs.values())

    def canonical(self, *, with_sessions=False, with_ids=True):
        """Everything that is state and not placement (specs/state.md), as comparable values."""
        state, registry = self.state, self.fold.machine.registry
        items, accounts = (int(state.counters[k]) for k in (Counter.ITEMS, Counter.ACCOUNTS))
        columns = [Account.MODEL, Account.STATUS, Account.VERSION, Account.ORDER_COUNT, Account.ORDER_LAST]
        kept = [Counter.TIME, Counter.ACCOUNTS, Counter.ITEMS, Counter.PRICE_ID, Counter.MARK_DUE, Counter.SESSIONS]
        slots = state.orders[: int(state.counters[Counter.ORDER_SLOTS])]
        columns_of_orders = [k for k in Open if k is not Open.NEXT and (with_ids or k is not Open.COMMAND)]
        view = {
            "counters": state.counters[[*kept, *range(Counter.AGE_MAXIMUM, Counter.FIRST_FREE)]].tolist(),
            "items": state.items[:items].tolist(),
            "lines": state.lines[:, :items].tolist(),
            "accounts": state.accounts[:accounts, columns].tolist(),
            "rows": [sorted(self.rows(a).items()) for a in range(accounts)],
            "orders": sorted(slots[slots[:, Open.REMAINING] != 0][:, columns_of_orders].tolist()),
            "quotes": state.quotes[:items].tolist(),
            "prices": state.prices[:items].tolist(),
            "registry": registry if with_ids else (registry.items, registry.models, registry.replicas),
        }
        if with_sessions:
            count = int(state.counters[Counter.SESSIONS])
            view["sessions"] = state.sessions[:count].tolist()
            view["kept"] = state.kept[: int(state.counters[Counter.KEPT_TOP])].tobytes()
        return view


def read(outcome, detail):
    """An outcome as a value."""
    numbers = {name: int(outcome[name]) for name in ("repeated", "limit", "passes", "made", "command")}
    figures = {name: float(outcome[name]) for name in ("equity", "initial")}
    return Sent(reason=Reason(int(outcome["reason"])), **numbers, **figures, detail=detail)


class Venue(Driver):
    """The driver with the items and accounts above, ticked at START, marked at INDEX.

    Sessions: `operator`, `client`, `sources` (3), `replicas` (3).
    """

    def __init__(self):
        super().__init__()
        self.operator, self.client = self.open("operator"), self.open("client")
        names = ("BTC-PERPETUAL", "10"), ("BTC_USD-PERPETUAL", "0.001"), ("BTC-25SEP20", "10")
        options = ("BTC-25SEP20-10000-C", 4), ("BTC-25SEP20-9000-P", 4), ("BTC_USD-25SEP20-10000-C", 2)
        self.definitions = (
            c.DefineAsset("USD", 6),
            c.DefineAsset("BTC", 8),
            c.DefineAsset("USDC", 6),
            *(c.DefineInstrument(name, lot, 2, fee_ppm=500 if lot == "10" else 0) for name, lot in names),
            *(c.DefineInstrument(name, "0.1", decimals) for name, decimals in options),
            c.DefineAsset("ETH", 9),
            c.DefineModel("portfolio", preset("portfolio")),
            c.DefineModel("standard", preset("standard")),
            *(c.DefineSource(name) for name in "abc"),
            *(c.DefineReplica(name, public_key_of(key)) for name, key in zip("xyz", KEYS, strict=True)),
        )
        self.operate(*self.definitions)
        self.sources = [self.open("source", n) for n in range(3)]
        self.replicas = [self.open("replica", n) for n in range(3)]
        self.sequence = 0
        self.tick(START)
        self.quote(BTC, INDEX)
        self.quote(USDC, 10**8)
        for option in (CALL, PUT, LINEAR_CALL):
            self.quote(option, 800_000)
        self.operate(c.Mark(BTC), c.Mark(USDC))
        self.operate(*(c.OpenAccount(0) for _ in (ALICE, BOB, CAROL, POOR)))
        self.operate(*(c.Deposit(account, USD, RICH) for account in (ALICE, BOB, CAROL)))
        self.operate(*(c.Deposit(account, BTC, 10 * 10**8) for account in (ALICE, BOB)))

    def operate(self, *commands):
        """Send an operator's commands, which must be accepted."""
        return self.all_accepted(*((self.operator, command) for command in commands))

    def tick(self, clock, replica=0):
        """A replica's tick; its outcome."""
        return self.one(self.replicas[replica], c.Tick(replica, clock))

    def quote(self, item, price, *, source=0, time=None, sequence=None):
        """A source's quote at logical time, with a growing sequence; its outcome."""
        self.sequence += 1
        time = self.fold.time if time is None else time
        sequence = self.sequence if sequence is None else sequence
        return self.one(self.sources[source], hot(c.quote, item, price, time, sequence))

    def trade(self, buyer, seller, item, lots, price):
        """A bilateral trade; its outcome."""
        return self.one(self.client, hot(c.trade, buyer, seller, item, lots, price))

    def order(self, account, item, lots, price):
        """A limit order; its outcome."""
        return self.one(self.client, hot(c.order, account, item, lots, price))

    def set_status(self, account, status):
        """Put an account into a status, as a liquidation would."""
        self.state.accounts[account, Account.STATUS] = int(status)


@functools.cache
def _venue():
    return Venue()


def venue():
    """A venue of one's own."""
    return _venue().clone()
