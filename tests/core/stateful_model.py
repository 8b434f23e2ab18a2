"""A slow, obvious model of the fold in exact arithmetic, written from specs/, and a pair of both that compares them.

The model reads the same frames. It keeps dicts, integers and fractions, and nothing that is incremental. For margin it
asks the margin library, with tables built from its own frozen prices and accounts built from its own rows. Where a
comparison of margins lies within 1e-9 of its boundary the model does not know, and says so by raising Undecided.
"""

import copy
import hashlib
import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from holdfast.core.roots import Roots, full_root
from holdfast.core.snapshot import fold_from, snapshot_of
from holdfast.core.state import Account, Counter, Price, Quote, Session
from holdfast.domain import commands as c
from holdfast.domain.errors import InputError
from holdfast.domain.frames import decode_frame
from holdfast.domain.instruments import Kind
from holdfast.domain.market import Expiry, Market, Underlying
from holdfast.domain.market import Price as MarketPrice
from holdfast.domain.names import parse_instrument
from holdfast.domain.reasons import Reason
from holdfast.margin.account import account_of_lines, figures_of
from holdfast.margin.build import build_table
from holdfast.margin.order_box import order_room
from holdfast.margin.orders import orders_bound
from holdfast.margin.table import LineField

MOST = 7 * 10**16
WORLD, FEES, INSURANCE, WITHDRAWALS = 0, 1, 2, 3
CLIENT, OPERATOR, SOURCE, REPLICA, GATEWAY = 1, 2, 3, 4, 5
ROLES = {"client": CLIENT, "operator": OPERATOR, "source": SOURCE, "replica": REPLICA, "gateway": GATEWAY}
HEALTHY, RESTRICTED, PENDING, LIQUIDATING, BANKRUPT, FROZEN, ASIDE = range(7)
HELD, LIMITED, FREE = (LIQUIDATING, BANKRUPT, ASIDE), (PENDING, FROZEN), (HEALTHY, RESTRICTED)
NEARLY = 1e-9
COLD, TRADE, ORDER, CANCEL, FILL, TRANSFER, QUOTE = range(7)


class Undecided(Exception):  # noqa: N818 (no error: the model does not know)
    """A comparison of margins is too near to its boundary."""


class Disagreement(AssertionError):  # noqa: N818 (what it is, in the words of a test)
    """The fold and the model say different things."""


class Refused(Exception):  # noqa: N818 (a refusal is a value; here it leaves the checks at the first that applies)
    """A command is refused."""

    def __init__(self, reason, limit=0, passes=0, figures=(0.0, 0.0)):
        super().__init__(reason)
        self.reason, self.limit, self.passes, self.figures = reason, limit, passes, figures


class Out(NamedTuple):
    """What the model says of a command; `passes` None where it does not know."""

    reason: int = 0
    repeated: int = 0
    limit: int = 0
    passes: int | None = 0
    made: int = 0
    equity: float = 0.0
    initial: float = 0.0
    command: int = 0


@dataclass
class Item_:  # noqa: N801 (the engine has an Item)
    """An asset or a contract."""

    name: str
    decimals: int
    instrument: object = None
    settlement: int = 0
    underlying: int = 0
    multiplier: int = 1
    divisor: int = 1
    n: int = 0
    d: int = 1
    fee_ppm: int = 0

    @property
    def is_asset(self):
        return self.instrument is None

    @property
    def is_option(self):
        return not self.is_asset and self.instrument.kind is Kind.OPTION

    @property
    def is_inverse(self):
        return not self.is_asset and self.instrument.inverse and not self.is_option


@dataclass
class Session_:  # noqa: N801
    """A session."""

    role: int
    subject: int
    kept: int
    next: int = 1
    outcomes: dict = field(default_factory=dict)


@dataclass
class Account_:  # noqa: N801
    """An account."""

    model: int
    status: int = HEALTHY
    version: int = 0
    rows: dict = field(default_factory=dict)
    orders: dict = field(default_factory=dict)
    last: int = 0

    def amount(self, item):
        return self.rows.get(item, (0, 0))[0]


def half_even(value):
    """A fraction to the nearest integer, half to even: what `round` does with a Fraction."""
    return round(Fraction(value))


def lower_median(values):
    """Number ⌈k / 2⌉ of k values in ascending order."""
    return sorted(values)[-(-len(values) // 2) - 1]


def at_least(left, right):
    """left ≥ right, if that is clear; exact equality is."""
    if left != right and abs(left - right) <= NEARLY * max(abs(left), abs(right)):
        raise Undecided
    return left >= right


def missing(equity, initial):
    """CMD-2."""
    return min(max(math.ceil((initial - equity) * 1e6), 0), MOST)


def smaller(before, change):
    """CMD-4: the opposite sign and at most the size."""
    return before != 0 and before * change < 0 and abs(change) <= abs(before)


class Money:
    """Items, accounts, margin: specs/ledger.md, and what of specs/marks.md makes the tables."""

    def __init__(self):
        self.items, self.models, self.accounts = [], [], {n: Account_(0) for n in range(4)}
        self.frozen, self.time, self.table_time, self.tables = {}, 0, 0, {}
        self.withdrawals, self.withdrawals_made = {}, 0

    # What things cost

    def exact_value(self, item, lots, price):
        """LED-5, before rounding."""
        i = self.items[item]
        return Fraction(-lots * i.n, price) if i.is_inverse else Fraction(lots * i.n * price, i.d)

    def cost(self, item, lots, price):
        """LED-5."""
        i = self.items[item]
        if not (1 if i.is_inverse else 0) <= price <= MOST:
            raise Refused(Reason.PRICE_INVALID)
        cost = half_even(self.exact_value(item, lots, price))
        if abs(lots) > MOST or (not i.is_inverse and abs(lots) * i.n > MOST) or abs(cost) > MOST:
            raise Refused(Reason.LEDGER_LIMIT)
        return cost

    def fee(self, item, cost):
        """LED-6."""
        product = abs(cost) * self.items[item].fee_ppm
        if product > 9 * 10**18:
            raise Refused(Reason.LEDGER_LIMIT)
        return math.ceil(Fraction(product, 10**6))

    # Posting

    def has_line(self, item):
        """MKS-10."""
        i = self.items[item]
        if i.is_asset:
            return i.name == "USD" or item in self.frozen
        priced = self.has_line(i.settlement) and self.items[i.underlying].name != "USD" and i.underlying in self.frozen
        return priced and (not i.is_option or item in self.frozen)

    def post(self, entries):
        """LED-3: all or none. Returns what was there before."""
        before = {}
        for account, item, amount, cost in entries:
            if (amount, cost) == (0, 0):
                continue
            a, i = self.accounts[account], self.items[item]
            before.setdefault(account, (dict(a.rows), a.version))
            row = tuple(old + new for old, new in zip(a.rows.get(item, (0, 0)), (amount, cost), strict=True))
            most = 2**61 if account == WORLD else MOST
            reason = 0 if self.has_line(item) else Reason.NO_PRICE
            if not reason and (max(map(abs, row)) > most or (not i.is_asset and abs(row[0]) * i.multiplier > MOST)):
                reason = Reason.LEDGER_LIMIT
            if reason:
                self.take_back(before)
                raise Refused(reason)
            a.rows[item] = row
            a.version += 1
            if row == (0, 0):
                del a.rows[item]
        return before

    def take_back(self, before):
        """Everything as `post` found it."""
        for account, (rows, version) in before.items():
            self.accounts[account].rows, self.accounts[account].version = rows, version

    def trade_entries(self, buyer, seller, item, lots, price):
        """LED-7."""
        cost = self.cost(item, lots, price)
        fee = self.fee(item, cost)
        settlement, entries = self.items[item].settlement, []
        for account, q, paid in ((buyer, lots, cost), (seller, -lots, -cost)):
            held, before = self.accounts[account].rows.get(item, (0, 0))
            if held + q == 0:
                entries += [(account, item, q, -before), (account, settlement, -(before + paid) - fee, -before)]
            else:
                entries += [(account, item, q, paid), (account, settlement, -fee, paid)]
        return [*entries, (FEES, settlement, 2 * fee, 0)]

    # Margin

    def market(self):
        """MKS-8."""
        underlyings = {}
        for number, i in enumerate(self.items):
            if not i.is_asset or i.name == "USD" or number not in self.frozen:
                continue
            index = self.frozen[number] / 10**8
            marks, expiries, volatilities, forwards = {}, {}, {}, {}
            for other, contract in enumerate(self.items):
                if contract.is_asset or contract.underlying != number:
                    continue
                expiry = contract.instrument.expiry
                if expiry is not None:
                    forwards.setdefault(expiry, index)
                if contract.is_option:
                    if other in self.frozen:
                        volatilities[contract.name] = self.frozen[other] / 10**6
                    continue
                mark = self.frozen[other] / 10**contract.decimals if other in self.frozen else index
                marks[contract.name] = MarketPrice(mark)
                if expiry is not None:
                    forwards[expiry] = mark
            expiries = {expiry: Expiry(forward) for expiry, forward in forwards.items()}
            underlyings[i.name] = Underlying(MarketPrice(index), marks, expiries, volatilities)
        return Market(self.table_time, underlyings)

    def table(self, model):
        """The risk table of a model at the frozen prices; built when it is first asked for."""
        if model not in self.tables:
            lines = [i for n, i in enumerate(self.items) if self.has_line(n)]
            contracts, assets = [i.instrument for i in lines if not i.is_asset], [i.name for i in lines if i.is_asset]
            parameters = self.models[model]
            rule = parameters.depeg
            if rule is not None and rule.asset not in assets:  # MKS-11
                parameters = replace(parameters, depeg=None)
            self.tables[model] = build_table(parameters, self.market(), contracts, assets)
        return self.tables[model]

    def renew_tables(self):
        """MKS-11, MKS-9; none of the contracts here expires while they are watched."""
        self.table_time, self.tables = self.time, {}

    def quantity(self, item, amount, cost=0):
        """LED-2."""
        i = self.items[item]
        if i.is_asset:
            return float(amount - cost) / float(10**i.decimals)
        return float(amount * i.multiplier) / float(i.divisor)

    def line(self, table, item):
        i = self.items[item]
        return table.line_of_asset[i.name] if i.is_asset else table.line_of_instrument[i.instrument]

    def margins(self, account):
        """Equity, initial margin with orders, and maintenance margin."""
        a = self.accounts[account]
        table = self.table(a.model)
        held = account_of_lines({self.line(table, n): self.quantity(n, *row) for n, row in a.rows.items()})
        figures = figures_of(table, held)
        initial = figures.initial_margin
        if a.orders:
            initial += self.orders_add(table, held, a.orders.values(), initial)
        return figures.equity, initial, figures.maintenance_margin

    def orders_add(self, table, held, orders, initial):
        """The component `orders` (specs/open-orders.md), with the fees of the fills."""
        rows = []
        for item, lots, price in orders:
            settlement, cost = self.items[item].settlement, self.cost(item, lots, price)
            moved = -self.quantity(settlement, cost + self.fee(item, cost))
            line, quantity = self.line(table, item), self.quantity(item, lots)
            gain = quantity * float(table.arrays.lines[line, LineField.IN_ASSET]) + moved
            rows.append((line, self.line(table, settlement), quantity, moved, gain))
        lines, asset_lines, *numbers = (np.array(column) for column in zip(*rows, strict=True))
        scenarios, count = table.arrays.values.shape[1], len(held.line)
        room = order_room(count, len(rows), table.arrays.assets.shape[0], scenarios)
        asked = lines.astype(np.int32), asset_lines.astype(np.int32), *numbers
        bound = orders_bound(table.arrays, held.line, held.quantity, 0, count, *asked, room)
        return max(0.0, float(bound) - initial)

    def require_initial(self, account):
        """Equity ≥ initial margin, or INITIAL_MARGIN; (equity, initial)."""
        equity, initial, _ = self.margins(account)
        if not at_least(equity, initial):
            raise Refused(Reason.INITIAL_MARGIN, missing(equity, initial), figures=(equity, initial))
        return equity, initial

    def settle_status(self, account):
        """STA-5."""
        a = self.accounts[account]
        equity, initial, _ = self.margins(account)
        if a.status in FREE:
            a.status = HEALTHY if at_least(equity, initial) else RESTRICTED
        return equity, initial


class Prices(Money):
    """Quotes, marks and time: specs/marks.md, specs/time.md.

    Attributes:
        orders_are_exposed: Whether a mark looks at every account with an open order (MKS-7).
    """

    orders_are_exposed = True

    def __init__(self):
        super().__init__()
        self.rules, self.quotes, self.price, self.remain, self.price_id = c.SetRules(), {}, {}, {}, 0
        self.sources, self.replicas, self.clocks, self.ticked, self.ticks = [], [], {}, {}, 0

    def renew_price(self, item):
        """MKS-2."""
        of_item = [q for (i, _), q in self.quotes.items() if i == item]
        fresh = [price for price, time, _ in of_item if time >= self.time - self.rules.age_maximum]
        if fresh:
            m = lower_median(fresh)
            fresh = [p for p in fresh if not float(abs(p - m)) * 1e6 > float(m) * self.rules.outlier_ppm]
        self.remain[item] = len(fresh)
        if len(fresh) >= self.rules.sources_minimum:
            self.price[item] = lower_median(fresh)

    def is_stale(self, item):
        """MKS-3."""
        return self.remain.get(item, 0) < self.rules.sources_minimum

    def quote(self, source, item, price, time, sequence):
        """MKS-1."""
        if item >= len(self.items):
            raise Refused(Reason.ITEM_UNKNOWN)
        if not 1 <= price <= MOST:
            raise Refused(Reason.PRICE_INVALID)
        if time > self.time + self.rules.ahead_maximum:
            raise Refused(Reason.QUOTE_FUTURE)
        _, last_time, last_sequence = self.quotes.get((item, source), (0, 0, 0))
        if time < last_time or sequence <= last_sequence:
            raise Refused(Reason.QUOTE_OLD)
        self.quotes[item, source] = price, time, sequence
        self.renew_price(item)

    def mark_if_moved(self, item):
        """MKS-6, second."""
        marked = self.frozen.get(item)
        if marked and self.items[item].is_asset:
            moved = float(abs(self.price[item] - marked)) * 1e6
            if moved > float(marked) * self.rules.mark_threshold_ppm:
                self.mark_all([item])

    def mark_all(self, items):
        """MKS-4, MKS-5: one mark, or one each where that cannot be; whether any was made."""
        items = [n for n in items if n in self.price and not self.is_stale(n)]
        if not items:
            return False
        before = dict(self.frozen), self.table_time
        self.freeze(items)
        self.renew_tables()
        try:
            for model in range(len(self.models)):
                self.table(model)
        except InputError:
            (self.frozen, self.table_time), self.tables = before, {}
            return len(items) > 1 and any([self.mark_all([n]) for n in items])  # noqa: C419 (each is tried)
        self.price_id += 1
        self.look_at_accounts(items)
        return True

    def freeze(self, items):
        for number, i in enumerate(self.items):
            if number in items or (not i.is_asset and i.underlying in items):
                follows = not i.is_asset and not i.is_option
                if follows and self.is_stale(number):
                    self.frozen.pop(number, None)
                elif number in self.price:
                    self.frozen[number] = self.price[number]

    def look_at_accounts(self, items):
        """MKS-7, LIQ-1."""
        for number, a in self.accounts.items():
            if number <= WITHDRAWALS or not self.is_looked_at(a, items):
                continue
            equity, initial, maintenance = self.margins(number)
            safe = at_least(equity, initial)
            thin = safe or at_least(equity, maintenance)
            if a.status in (HEALTHY, RESTRICTED, PENDING):
                a.status = HEALTHY if safe else RESTRICTED if thin else PENDING

    def is_looked_at(self, a, items):
        return (self.orders_are_exposed and a.orders) or any(self.is_exposed(n, items) for n in a.rows)

    def is_exposed(self, item, marked):
        """Here are fewer than 62 items, so that an asset's bit is its own."""
        i = self.items[item]
        return bool({item} & set(marked)) if i.is_asset else bool({i.underlying, i.settlement} & set(marked))

    def tick(self, replica, clock):
        """TIM-1 to TIM-4."""
        self.ticks += 1
        self.clocks[replica], self.ticked[replica] = clock, self.ticks
        live = [self.clocks[r] for r, n in self.ticked.items() if n > self.ticks - self.rules.live_ticks]
        before, target = self.time, lower_median(live)
        self.time = max(before, min(target, before + self.rules.step_maximum)) if before else target
        for item in range(len(self.items)):
            self.renew_price(item)
        if before // self.rules.mark_interval != self.time // self.rules.mark_interval:
            self.mark_all([n for n, i in enumerate(self.items) if i.is_asset and i.name != "USD"])


class Hot(Prices):
    """Trades, fills, orders, transfers: specs/commands.md.

    Attributes:
        orders_first: Whether the margin after a fill is that with its lots taken off the orders (CMD-6, STA-5).
    """

    orders_first = True

    def check_account(self, account):
        """CMD-5."""
        if account not in self.accounts:
            raise Refused(Reason.ACCOUNT_UNKNOWN)
        if account <= WITHDRAWALS:
            raise Refused(Reason.ACCOUNT_SYSTEM)

    def check_contract(self, item):
        """CMD-5; nothing here is settled."""
        if not 0 <= item < len(self.items):
            raise Refused(Reason.ITEM_UNKNOWN)
        if self.items[item].is_asset:
            raise Refused(Reason.NOT_AN_INSTRUMENT)
        expiry = self.items[item].instrument.expiry
        if expiry is not None and self.time >= expiry:
            raise Refused(Reason.INSTRUMENT_CLOSED)

    def check_asset(self, item):
        """CMD-5."""
        if not 0 <= item < len(self.items):
            raise Refused(Reason.ITEM_UNKNOWN)
        if not self.items[item].is_asset:
            raise Refused(Reason.NOT_AN_ASSET)

    def filled_order(self, account, number, item, lots, price):
        """CMD-6, 6 to 9."""
        if number == 0:
            return
        order = self.accounts[account].orders.get(number)
        if order is None or order[0] != item:
            raise Refused(Reason.ORDER_UNKNOWN)
        _, remaining, limit = order
        if remaining * lots < 0 or abs(lots) > abs(remaining):
            raise Refused(Reason.FILL_BEYOND_ORDER)
        if price > limit if lots > 0 else price < limit:
            raise Refused(Reason.FILL_BEYOND_LIMIT)

    def trade(self, r, *, is_fill):
        """CMD-6."""
        buyer, seller, item, lots, price = r["account"], r["other"], r["instrument"], r["quantity"], r["price"]
        self.check_account(buyer)
        self.check_account(seller)
        if buyer == seller:
            raise Refused(Reason.ACCOUNT_SAME)
        self.check_contract(item)
        if lots == 0 or abs(lots) > MOST or (is_fill and lots < 0):
            raise Refused(Reason.QUANTITY_INVALID)
        numbers = (r["time"] % 2**32, (r["time"] >> 32) % 2**32) if is_fill else (0, 0)
        self.filled_order(buyer, numbers[0], item, lots, price)
        self.filled_order(seller, numbers[1], item, -lots, price)
        for account, reason in ((buyer, Reason.ACCOUNT_FROZEN), (seller, Reason.ACCOUNT_FROZEN_OTHER)):
            if self.accounts[account].status in HELD:
                raise Refused(reason)
        sides = (buyer, seller, item, lots, price)
        before = self.enter(sides, numbers if self.orders_first else (0, 0))
        try:
            figures = self.check_sides(sides, numbers, before)
        except Refused as refusal:
            self.leave(sides, before)
            if not is_fill and refusal.reason in (Reason.INITIAL_MARGIN, Reason.INITIAL_MARGIN_OTHER):
                refusal.passes = self.largest_passing(sides)
            raise
        self.settle_status(buyer)
        self.settle_status(seller)
        if not self.orders_first:
            self.take_off(sides, numbers)
        return Out(equity=figures[0], initial=figures[1])

    def enter(self, sides, numbers=(0, 0)):
        """Post a trade and take it off the orders; what is needed to go back, and for CMD-7."""
        buyer, seller = sides[:2]
        worth = [self.margins(a)[:2] for a in (buyer, seller)]
        orders = [dict(self.accounts[a].orders) for a in (buyer, seller)]
        rows = self.post(self.trade_entries(*sides))
        self.take_off(sides, numbers)
        return rows, orders, worth

    def take_off(self, sides, numbers):
        """A fill takes its lots off the orders, and an order with none left is gone."""
        item, lots = sides[2:4]
        for account, number, q in ((sides[0], numbers[0], lots), (sides[1], numbers[1], -lots)):
            if number:
                _, remaining, limit = self.accounts[account].orders.pop(number)
                if remaining != q:
                    self.accounts[account].orders[number] = item, remaining - q, limit

    def leave(self, sides, before):
        self.take_back(before[0])
        for account, orders in zip(sides[:2], before[1], strict=True):
            self.accounts[account].orders = orders

    def check_sides(self, sides, numbers, before):
        """CMD-6, 13 to 16; CMD-7. Equity and initial margin of the buyer."""
        item, lots = sides[2:4]
        of_buyer = self.margins(sides[0])[:2]
        for side, account in enumerate(sides[:2]):
            change, a = (-lots if side else lots), self.accounts[account]
            equity, initial, _ = self.margins(account)
            if numbers[side]:
                continue
            enough = at_least(equity, initial)
            if enough and a.status in FREE:
                continue
            is_smaller = smaller(a.amount(item) - change, change)
            if a.status in LIMITED and not is_smaller:
                raise Refused(Reason.ACCOUNT_FROZEN + side, figures=of_buyer)
            was = before[2][side][0] - before[2][side][1]
            if not is_smaller or (not enough and not self.not_lower(equity, initial, was)):
                raise Refused(Reason.INITIAL_MARGIN + side, missing(equity, initial), figures=of_buyer)
        return of_buyer

    @staticmethod
    def not_lower(equity, initial, was):
        now = equity - initial
        if abs(now - was) <= NEARLY * max(abs(equity), abs(initial), abs(was)):
            raise Undecided
        return now >= was

    def largest_passing(self, sides):
        """CMD-8; None where a comparison on the way is too near to call."""
        buyer, seller, item, lots, price = sides
        low, high = 0, abs(lots)
        for _ in range(40):
            if high - low <= 1:
                break
            middle = low + (high - low) // 2
            tried = buyer, seller, item, middle if lots > 0 else -middle, price
            try:
                before = self.enter(tried)
                try:
                    self.check_sides(tried, (0, 0), before)
                finally:
                    self.leave(tried, before)
                low = middle
            except Refused:
                high = middle
            except Undecided:
                return None
        return low if lots > 0 else -low

    def order(self, r):
        """CMD-10."""
        account, item, lots, price = r["account"], r["instrument"], r["quantity"], r["price"]
        self.check_account(account)
        self.check_contract(item)
        if lots == 0 or abs(lots) > MOST:
            raise Refused(Reason.QUANTITY_INVALID)
        self.cost(item, lots, price)
        a = self.accounts[account]
        if a.status not in FREE:
            raise Refused(Reason.ACCOUNT_FROZEN)
        if not self.has_line(item):
            raise Refused(Reason.NO_PRICE)
        if len(a.orders) == 1024:
            raise Refused(Reason.ORDERS_LIMIT)
        a.orders[a.last + 1] = item, lots, price
        try:
            figures = self.require_initial(account)
        except Refused:
            del a.orders[a.last + 1]
            raise
        a.last += 1
        a.version += 1
        return Out(made=a.last, equity=figures[0], initial=figures[1])

    def cancel(self, r):
        """CMD-11."""
        self.check_account(r["account"])
        a = self.accounts[r["account"]]
        if r["time"] not in a.orders:
            raise Refused(Reason.ORDER_UNKNOWN)
        a.version += 1
        return Out(passes=a.orders.pop(r["time"])[1])

    def transfer(self, r):
        """CMD-12."""
        account, other, item, amount = r["account"], r["other"], r["instrument"], r["quantity"]
        self.check_account(account)
        self.check_account(other)
        if account == other:
            raise Refused(Reason.ACCOUNT_SAME)
        self.check_asset(item)
        if not 1 <= amount <= MOST:
            raise Refused(Reason.QUANTITY_INVALID)
        if self.accounts[account].status not in FREE:
            raise Refused(Reason.ACCOUNT_FROZEN)
        if self.accounts[other].status in HELD:
            raise Refused(Reason.ACCOUNT_FROZEN_OTHER)
        self.check_cash(account, item, amount)
        before = self.post([(account, item, -amount, 0), (other, item, amount, 0)])
        try:
            figures = self.require_initial(account)
        except Refused:
            self.take_back(before)
            raise
        return Out(equity=figures[0], initial=figures[1])

    def check_cash(self, account, item, amount):
        cash = self.accounts[account].amount(item)
        if cash < amount:
            raise Refused(Reason.BALANCE, amount - cash, max(cash, 0))


class Cold(Hot):
    """Cold commands: specs/commands.md, CMD-13 to CMD-16. What is not here the tests do not send."""

    ALLOWED = {  # noqa: RUF012 (never changed)
        c.DefineAsset: (OPERATOR,), c.DefineInstrument: (OPERATOR,), c.DefineModel: (OPERATOR,),
        c.DefineSource: (OPERATOR,), c.DefineReplica: (OPERATOR,), c.SetRules: (OPERATOR,), c.Deposit: (OPERATOR,),
        c.Funding: (OPERATOR,), c.ReleaseAccount: (OPERATOR,), c.Tick: (REPLICA,), c.Mark: (OPERATOR, REPLICA),
        c.OpenAccount: (CLIENT, OPERATOR), c.ChooseModel: (CLIENT, OPERATOR),
        c.RequestWithdrawal: (CLIENT, OPERATOR), c.CancelWithdrawal: (CLIENT, OPERATOR),
    }  # fmt: skip

    def cold(self, command, session):
        """Whether the role may, then the command's own refusals."""
        if session.role not in self.ALLOWED[type(command)]:
            raise Refused(Reason.SESSION_ROLE, session.role)
        return getattr(self, "do_" + type(command).__name__)(command, session)

    def do_DefineAsset(self, d, _):  # noqa: N802 (named as the command)
        number = len(self.items)
        self.items.append(Item_(d.name, d.decimals, None, number, number, 1, 10**d.decimals))
        self.renew_tables()
        return Out(made=number)

    def do_DefineInstrument(self, d, _):  # noqa: N802
        """DEF-2 to DEF-5, for lots that are valid."""
        instrument, lot = parse_instrument(d.name), Fraction(d.lot)
        numbers = {i.name: n for n, i in enumerate(self.items)}
        settlement, underlying = numbers[instrument.settlement], numbers[instrument.underlying]
        inverse = instrument.inverse and instrument.kind is not Kind.OPTION
        power = self.items[settlement].decimals + (d.price_decimals if inverse else -d.price_decimals)
        scaled = lot * Fraction(10) ** power
        self.items.append(
            Item_(d.name, d.price_decimals, instrument, settlement, underlying, lot.numerator, lot.denominator,
                  scaled.numerator, scaled.denominator, d.fee_ppm)
        )  # fmt: skip
        self.renew_tables()
        return Out(made=len(self.items) - 1)

    def do_DefineModel(self, d, _):  # noqa: N802
        self.models.append(d.parameters)
        self.renew_tables()
        return Out(made=len(self.models) - 1)

    def do_DefineSource(self, d, _):  # noqa: N802
        self.sources.append(d.name)
        return Out(made=len(self.sources) - 1)

    def do_DefineReplica(self, d, _):  # noqa: N802
        self.replicas.append(d.name)
        return Out(made=len(self.replicas) - 1)

    def do_SetRules(self, d, _):  # noqa: N802
        """DEF-11."""
        limits = dict.fromkeys(d.__struct_fields__, (1, MOST)) | {"sources_minimum": (1, 16)}
        limits |= {"ahead_maximum": (0, MOST), "checkpoint_frames": (0, MOST), "witness_shortfall_ppm": (1, 10**6)}
        limits |= {"breach_checkpoints": (0, 1), "tolerance_micros": (0, MOST), "tolerance_ppb": (0, MOST)}
        if any(not low <= getattr(d, name) <= high for name, (low, high) in limits.items()):
            raise Refused(Reason.DEFINITION_INVALID)
        self.rules = d
        return Out()

    def do_Tick(self, d, session):  # noqa: N802
        if not 0 <= d.replica < len(self.replicas):
            raise Refused(Reason.REPLICA_UNKNOWN, len(self.replicas) - 1)
        if d.replica != session.subject:
            raise Refused(Reason.SESSION_ROLE, session.subject)
        if d.clock > 2**62:
            raise Refused(Reason.VALUE_INVALID, 2**62)
        last = self.clocks.get(d.replica, 0)
        if d.clock <= last:
            raise Refused(Reason.CLOCK_BACKWARDS, last, last + 1)
        self.tick(d.replica, d.clock)
        return Out(made=self.time)

    def do_Mark(self, d, _):  # noqa: N802
        self.check_asset(d.item)
        if d.item not in self.price:
            raise Refused(Reason.NO_PRICE)
        if not self.mark_all([d.item]):
            raise Refused(Reason.PRICES_STALE, self.remain[d.item], self.rules.sources_minimum)
        return Out(made=self.price_id)

    def do_OpenAccount(self, d, _):  # noqa: N802
        if not 0 <= d.model < len(self.models):
            raise Refused(Reason.MODEL_UNKNOWN, len(self.models) - 1)
        number = len(self.accounts)
        self.accounts[number] = Account_(d.model)
        return Out(made=number)

    def do_ChooseModel(self, d, _):  # noqa: N802
        self.check_account(d.account)
        if not 0 <= d.model < len(self.models):
            raise Refused(Reason.MODEL_UNKNOWN, len(self.models) - 1)
        a = self.accounts[d.account]
        if a.status not in FREE and not d.dry_run:
            raise Refused(Reason.ACCOUNT_FROZEN, a.status)
        before, a.model = a.model, d.model
        try:
            equity, initial = self.require_initial(d.account)
        except Refused:
            a.model = before
            raise
        if d.dry_run:
            a.model = before
        else:
            a.status, a.version = HEALTHY, a.version + 1
        return Out(equity=equity, initial=initial)

    def do_Deposit(self, d, _):  # noqa: N802
        if d.account != INSURANCE:
            self.check_account(d.account)
        self.check_asset(d.item)
        if not 1 <= d.amount <= MOST:
            raise Refused(Reason.QUANTITY_INVALID, MOST)
        self.post([(WORLD, d.item, -d.amount, 0), (d.account, d.item, d.amount, 0)])
        equity, initial = self.settle_status(d.account)
        return Out(equity=equity, initial=initial)

    def do_RequestWithdrawal(self, d, _):  # noqa: N802
        self.check_account(d.account)
        self.check_asset(d.item)
        if not 1 <= d.amount <= MOST:
            raise Refused(Reason.QUANTITY_INVALID, MOST)
        if self.accounts[d.account].status not in FREE:
            raise Refused(Reason.ACCOUNT_FROZEN, self.accounts[d.account].status)
        self.check_cash(d.account, d.item, d.amount)
        before = self.post([(d.account, d.item, -d.amount, 0), (WITHDRAWALS, d.item, d.amount, 0)])
        try:
            equity, initial = self.require_initial(d.account)
        except Refused:
            self.take_back(before)
            raise
        self.settle_status(d.account)
        self.withdrawals_made += 1
        self.withdrawals[self.withdrawals_made] = d.account, d.item, d.amount
        return Out(made=self.withdrawals_made, equity=equity, initial=initial)

    def do_CancelWithdrawal(self, d, _):  # noqa: N802
        if d.withdrawal not in self.withdrawals:
            raise Refused(Reason.WITHDRAWAL_UNKNOWN)
        account, item, amount = self.withdrawals[d.withdrawal]
        self.post([(WITHDRAWALS, item, -amount, 0), (account, item, amount, 0)])
        del self.withdrawals[d.withdrawal]
        equity, initial = self.settle_status(account)
        return Out(equity=equity, initial=initial)

    def do_Funding(self, d, _):  # noqa: N802
        """LED-12."""
        if not 0 <= d.item < len(self.items):
            raise Refused(Reason.ITEM_UNKNOWN)
        i = self.items[d.item]
        if i.is_asset or i.instrument.kind is not Kind.PERPETUAL:
            raise Refused(Reason.NOT_AN_INSTRUMENT)
        if abs(d.rate_ppb) > 10**8:
            raise Refused(Reason.VALUE_INVALID, 10**8)
        if i.underlying not in self.frozen:
            raise Refused(Reason.NO_PRICE)
        index = max(1, half_even(Fraction(self.frozen[i.underlying] * 10**i.decimals, 10**8)))
        price, entries = self.frozen.get(d.item, index), []
        for account in sorted(self.accounts):
            lots = self.accounts[account].amount(d.item)
            if lots:
                value = abs(half_even(self.exact_value(d.item, lots, price)))
                owed = math.ceil(Fraction(value * d.rate_ppb * (1 if lots > 0 else -1), 10**9))
                entries.append((account, i.settlement, -owed, 0))
        self.post([*entries, (FEES, i.settlement, -sum(e[2] for e in entries), 0)])
        return Out()

    def do_ReleaseAccount(self, d, _):  # noqa: N802
        self.check_account(d.account)
        a = self.accounts[d.account]
        if a.status not in (FROZEN, ASIDE):
            raise Refused(Reason.VALUE_INVALID, a.status)
        a.status, a.version = RESTRICTED, a.version + 1
        return Out()


class Model(Cold):
    """Frames in, outcomes out: specs/sessions.md."""

    def __init__(self):
        super().__init__()
        self.sessions, self.position, self.chain = {0: Session_(GATEWAY, 0, 1)}, 0, bytes(32)

    def apply(self, data):
        """What each record's outcome must be; `command` None for a frame that is refused whole."""
        frame, position = decode_frame(data), self.position
        self.position, self.chain = position + 1, hashlib.sha256(self.chain + data).digest()
        gateway = self.sessions.get(frame.gateway)
        if gateway is None or gateway.role != GATEWAY:
            return [Out(Reason.GATEWAY_UNKNOWN)] * len(frame.records)
        if frame.frame_number != gateway.next:
            reason = Reason.FRAME_REPEATED if frame.frame_number < gateway.next else Reason.FRAME_GAP
            return [Out(reason)] * len(frame.records)
        gateway.next += 1
        return [self.one(frame, n, 1 + position * 16_384 + n) for n in range(len(frame.records))]

    def one(self, frame, index, command):
        """SES-4, SES-5."""
        record = {name: int(frame.records[index][name]) for name in frame.records.dtype.names}
        is_cold = record["kind"] == COLD
        content = self.read(frame.cold(index)) if is_cold else None
        if isinstance(content, c.OpenSession):
            return self.open_session(content, command)
        session, number = self.sessions.get(record["session"]), record["number"]
        if session is None:
            return Out(Reason.SESSION_UNKNOWN, command=command)
        hot_roles = (SOURCE,) if record["kind"] == QUOTE else (CLIENT, OPERATOR)
        if session.role == GATEWAY or not (is_cold or session.role in hot_roles):
            return Out(Reason.SESSION_ROLE, command=command)
        if number == 0 or number > session.next:
            return Out(Reason.SESSION_GAP, limit=session.next, command=command)
        if number < session.next:
            first = session.outcomes.get(number) if session.next - number <= session.kept else None
            return first._replace(repeated=1) if first else Out(Reason.ALREADY_APPLIED, 1, command=command)
        session.next += 1
        session.outcomes[number] = self.own(record, content, session)._replace(command=command)
        if record["kind"] == QUOTE and session.outcomes[number].reason == 0:
            self.mark_if_moved(record["instrument"])
        return session.outcomes[number]

    def own(self, record, content, session):
        """The command's own refusals, or what it does."""
        try:
            if record["kind"] != COLD:
                return self.hot(record, session)
            if content is None:
                raise Refused(Reason.MALFORMED)
            return self.cold(content, session)
        except Refused as refusal:
            equity, initial = refusal.figures
            return Out(refusal.reason, 0, refusal.limit, refusal.passes, 0, equity, initial)

    def hot(self, r, session):
        kind = r["kind"]
        if kind == QUOTE:
            return self.quote(session.subject, r["instrument"], r["price"], r["time"], r["quantity"]) or Out()
        if kind in (TRADE, FILL):
            return self.trade(r, is_fill=kind == FILL)
        return {ORDER: self.order, CANCEL: self.cancel, TRANSFER: self.transfer}[kind](r)

    @staticmethod
    def read(data):
        try:
            return c.decode_cold(data)
        except InputError:
            return None

    def open_session(self, content, command):
        """SES-2."""
        role = ROLES.get(content.role)
        known = {SOURCE: len(self.sources), REPLICA: len(self.replicas)}.get(role)
        if role is None or not 1 <= content.kept <= 4096:
            return Out(Reason.VALUE_INVALID, limit=4096, command=command)
        if known is not None and not 0 <= content.subject < known:
            return Out(
                Reason.SOURCE_UNKNOWN if role == SOURCE else Reason.REPLICA_UNKNOWN, limit=known, command=command
            )
        if known is None and content.subject:
            return Out(Reason.VALUE_INVALID, command=command)
        self.sessions[command] = Session_(role, content.subject, content.kept)
        return Out(made=command, command=command)

    def copy(self):
        """Another model in the same state; what never changes is shared."""
        memo = {id(shared): shared for shared in (self.items, self.models, self.tables)}
        other = copy.deepcopy(self, memo)
        other.items, other.models, other.tables = list(self.items), list(self.models), dict(self.tables)
        return other


def is_near(said, meant):
    return math.isclose(said, meant, rel_tol=NEARLY, abs_tol=1e-6)


class Pair:
    """A fold and the model, given the same frames and compared after each.

    `driver` is a fold_driver.Venue of one's own, `model` has folded the venue's frames, `before` are these frames. A
    test that plants a bug gives a class derived from Fold; it takes the place of the driver's own.
    """

    def __init__(self, driver, model, before, planted=None):
        self.driver, self.model, self.frames = driver, model, list(before)
        self.driver.fold._roots = Roots()  # a clone's trees must not be those of what it was cloned from
        if planted is not None:
            self.driver.fold.__class__ = planted
        self.first = {}

    def frame(self, records, data):
        """Give a frame to both; the fold's outcomes. Raises Disagreement or Undecided."""
        meant = self.model.apply(data)
        self.frames.append(data)
        said = self.driver.fold.apply(data).outcomes
        for n, (one, other) in enumerate(zip(said, meant, strict=True)):
            self.compare(one, other)
            self.compare_repeat(records[n], one)
        self.compare_state()
        return said

    @staticmethod
    def compare(said, meant):
        for name in ("reason", "repeated", "made", "command"):
            require(int(said[name]) == getattr(meant, name), f"{name}: fold {said}, model {meant}")
        near = 1 + NEARLY * 1e6 * (abs(meant.equity) + abs(meant.initial))
        on_margin = meant.reason in (Reason.INITIAL_MARGIN, Reason.INITIAL_MARGIN_OTHER)
        require(abs(int(said["limit"]) - meant.limit) <= (near if on_margin else 0), f"limit: {said}, {meant}")
        require(meant.passes is None or int(said["passes"]) == meant.passes, f"passes: fold {said}, model {meant}")
        for name in ("equity", "initial"):
            require(is_near(float(said[name]), getattr(meant, name)), f"{name}: fold {said}, model {meant}")

    def compare_repeat(self, record, said):
        """A repeat is answered with the first outcome, bit for bit."""
        key = int(record["session"]), int(record["number"])
        content = said.tobytes()[:4] + said.tobytes()[8:]
        if not said["repeated"] and said["command"]:
            self.first[key] = content
        elif said["repeated"] and said["reason"] != Reason.ALREADY_APPLIED and key in self.first:
            require(content == self.first[key], f"the repeat of {key} is not its first outcome")

    def compare_state(self):
        """Rows, versions, statuses, orders, prices, sessions, time; conservation; the root."""
        state, model, driver = self.driver.state, self.model, self.driver
        require(int(state.counters[Counter.ACCOUNTS]) == len(model.accounts), "number of accounts")
        for number, account in model.accounts.items():
            require(driver.rows(number) == account.rows, f"rows of {number}: {driver.rows(number)}, {account.rows}")
            said = state.accounts[number, [Account.MODEL, Account.STATUS, Account.VERSION, Account.ORDER_LAST]].tolist()
            meant = [account.model, account.status, account.version, account.last]
            require(said == meant, f"account {number}: fold {said}, model {meant}")
        orders = {(a, n): o for a, account in model.accounts.items() for n, o in account.orders.items()}
        require(driver.orders() == orders, f"orders: {driver.orders()}, {orders}")
        for item in range(len(model.items)):
            said = state.prices[item, [Price.CURRENT, Price.MARKED]].tolist()
            require(said == [model.price.get(item, 0), model.frozen.get(item, 0)], f"prices of item {item}: {said}")
            for source in range(len(model.sources)):
                last = tuple(state.quotes[item, source, [Quote.PRICE, Quote.TIME, Quote.SEQUENCE]].tolist())
                require(last == model.quotes.get((item, source), (0, 0, 0)), f"quote of item {item}")
        for session, meant in model.sessions.items():
            require(int(driver.session_row(session)[Session.NEXT]) == meant.next, f"next number of {session}")
        require(driver.fold.time == model.time, "logical time")
        require(driver.fold.price_id == model.price_id, "price id")
        require(driver.fold.chain == model.chain, "hash chain")
        try:
            driver.check_conservation()
        except AssertionError as error:
            raise Disagreement("conservation") from error
        require(driver.fold.root() == full_root(driver.fold.machine), "root")

    def check_replay(self, fold):
        """An empty fold that gets the same frames, and one from a snapshot, end in the same state."""
        for frame in self.frames:
            fold.apply(frame)
        own = self.driver.fold
        require((fold.root(), fold.chain) == (own.root(), own.chain), "replay")
        require(fold_from(snapshot_of(own)).root() == own.root(), "snapshot")


def require(holds, what):
    if not holds:
        raise Disagreement(what)
