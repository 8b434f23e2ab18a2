"""Time and marks: ticks, logical time, settlement averages, marks at intervals (specs/time.md, specs/marks.md)."""

from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace

from holdfast.core.cold.definitions import activate_pending
from holdfast.core.machine import Machine
from holdfast.core.marks import is_stale
from holdfast.core.quotes import renew_prices
from holdfast.core.registry import Alarm, Registry, Replica, with_alarm
from holdfast.core.state import Counter, Form, Item, Price, Role
from holdfast.core.verdict import ACCEPTED, Sender, Verdict, refused
from holdfast.domain.commands import Mark, Tick
from holdfast.domain.errors import InputError
from holdfast.domain.reasons import Reason

SETTLEMENT_WINDOW = 1_800 * 10**9
"""ns before expiry over which the index is averaged for settlement."""
CLOCK_MAXIMUM = 1 << 62
"""ns, in the year 2116: sums of instants and spans of the rules stay within int64."""


def tick(machine: Machine, command: Tick, sender: Sender) -> Verdict:
    """Take a replica's clock; logical time may advance, quotes age, averages grow, and marks fall due."""
    replicas = list(machine.registry.replicas)
    if not 0 <= command.replica < len(replicas):
        return refused(Reason.REPLICA_UNKNOWN, len(replicas) - 1)
    if command.replica != sender.subject:
        return refused(Reason.SESSION_ROLE, sender.subject)
    if command.clock > CLOCK_MAXIMUM:
        return refused(Reason.VALUE_INVALID, CLOCK_MAXIMUM)
    known = replicas[command.replica]
    if command.clock <= known.clock:
        return refused(Reason.CLOCK_BACKWARDS, known.clock, known.clock + 1)
    ticks = machine.registry.ticks + 1
    replicas[command.replica] = replace(known, clock=command.clock, ticked=ticks)
    machine.registry = replace(machine.registry, replicas=tuple(replicas), ticks=ticks)
    advance(machine)
    return Verdict(made=int(machine.state.counters[Counter.TIME]))


def advance(machine: Machine) -> None:
    """Move logical time to the lower median of the live replicas' clocks, at most one step, and do what is due."""
    registry, counters = machine.registry, machine.state.counters
    live = sorted(r.clock for r in registry.replicas if is_live(registry, r))
    now = int(counters[Counter.TIME])
    target = live[(len(live) - 1) // 2]
    then = target if now == 0 else max(now, min(target, now + registry.rules.step_maximum))
    counters[Counter.TIME] = then
    activate_pending(machine)
    renew_prices(machine.state)
    if then > now:
        # Once per advance, so that no replica gives an index more weight by ticking more often.
        _average(machine)
    _mark_what_is_due(machine, now, then)


def is_live(registry: Registry, replica: Replica) -> bool:
    """Whether a replica ticked within the latest ticks and is not suspended."""
    recent = registry.ticks - replica.ticked < registry.rules.live_ticks
    return bool(replica.ticked) and recent and not replica.suspended


def _average(machine: Machine) -> None:
    """Add the index to the settlement average of every contract within its window."""
    state = machine.state
    count, now = len(machine.registry.items), int(state.counters[Counter.TIME])
    expiry = state.items[:count, Item.EXPIRY]
    within = (state.items[:count, Item.OPEN] > 0) & (expiry > 0) & (now > expiry - SETTLEMENT_WINDOW)
    # After the expiry one more index counts where none came before it: there must be a price to settle at.
    within &= (now <= expiry) | (state.prices[:count, Price.SETTLEMENT_COUNT] == 0)
    for item in np.flatnonzero(within):
        underlying = int(state.items[item, Item.UNDERLYING])
        index = int(state.prices[underlying, Price.CURRENT])
        if index and not is_stale(state, machine.registry, underlying):
            state.prices[item, Price.SETTLEMENT_SUM] += index
            state.prices[item, Price.SETTLEMENT_COUNT] += 1


def _mark_what_is_due(machine: Machine, before: int, now: int) -> None:
    interval = machine.registry.rules.mark_interval
    if before // interval == now // interval:
        return
    mark_fresh(machine, machine.underlyings())


def mark_fresh(machine: Machine, items: Sequence[int]) -> bool:
    """Mark, together, those underlyings whose price is not stale; whether any was marked.

    A table that cannot be built is an alarm. Where several were to be marked together, each is then tried alone, so
    that one underlying's trouble does not hold up the others.
    """
    prices = machine.state.prices
    fresh = tuple(i for i in items if prices[i, Price.CURRENT] and not is_stale(machine.state, machine.registry, i))
    if not fresh:
        return False
    try:
        machine.mark(fresh)
    except InputError as error:
        if len(fresh) > 1:
            alone = [mark_fresh(machine, (item,)) for item in fresh]
            return any(alone)
        alarm = Alarm(int(machine.state.counters[Counter.PRICE_ID]), f"mark of item {fresh[0]}", str(error))
        machine.registry = with_alarm(machine.registry, alarm)
        return False
    return True


def mark(machine: Machine, command: Mark, _sender: Sender) -> Verdict:
    """Mark an underlying now."""
    if not 0 <= command.item < len(machine.registry.items):
        return refused(Reason.ITEM_UNKNOWN)
    if machine.state.items[command.item, Item.FORM] != Form.ASSET:
        return refused(Reason.NOT_AN_ASSET)
    if not int(machine.state.prices[command.item, Price.CURRENT]):
        return refused(Reason.NO_PRICE)
    if is_stale(machine.state, machine.registry, command.item):
        fresh = int(machine.state.prices[command.item, Price.FRESH])
        return refused(Reason.PRICES_STALE, fresh, machine.registry.rules.sources_minimum)
    if not mark_fresh(machine, (command.item,)):
        return refused(Reason.TABLE_IMPOSSIBLE, detail=machine.registry.alarms[-1].text)
    return ACCEPTED._replace(made=int(machine.state.counters[Counter.PRICE_ID]))


ROLES = {Tick: (Role.REPLICA,), Mark: (Role.OPERATOR, Role.REPLICA)}
HANDLERS = {Tick: tick, Mark: mark}
