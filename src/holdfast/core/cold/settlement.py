"""What contracts pay by themselves: funding of perpetuals, and the settlement of what has expired (specs/ledger.md)."""

from holdfast.core import ledger
from holdfast.core.book import cancel_on_item
from holdfast.core.machine import Machine
from holdfast.core.marks import PRICE_DECIMALS_OF_INDEX, is_stale
from holdfast.core.posting import enter, post_all
from holdfast.core.state import FEES, Counter, Form, Item, Price, Role
from holdfast.core.verdict import ACCEPTED, Sender, Verdict, refused
from holdfast.domain.commands import Funding, Settle
from holdfast.domain.instruments import Kind
from holdfast.domain.reasons import Reason
from holdfast.domain.units import Rounding, divide

BILLION = 10**9


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
    reason = post_all(machine)
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
    reason = post_all(machine)
    if reason is not Reason.ACCEPTED:
        return refused(reason)
    # The tables may fail to be built, so they come before what cannot be undone.
    machine.state.items[item, Item.OPEN] = 0
    machine.refresh()
    ledger.commit_entries(machine.state)
    cancel_on_item(machine.state, item)
    return Verdict(made=index)


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


ROLES = {Funding: (Role.OPERATOR,), Settle: (Role.OPERATOR, Role.REPLICA)}
HANDLERS = {Funding: funding, Settle: settle}
