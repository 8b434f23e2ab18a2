"""Open orders: a bound on the requirement of every outcome of their fills (specs/open-orders.md).

Theory of operation. Each line's quantity after any fills lies in an interval. For every part of the requirement there
is a cheap number that is at least its value anywhere in the box of these intervals: sums of products are bounded end by
end, per scenario and group, and the group's formula is taken at both ends. Bounding lines one by one forgets that a
fill moves its line and its settlement asset together, which can only raise the bound, never lower it.

Loops follow the order of `kernel`. A group that no order touches is taken exactly. There is one implementation: the
fold calls `orders_bound` with its own arrays, `orders_requirement` makes such arrays from named orders. How the box is
filled is in `order_box`.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from holdfast.compilation import compiled, inlined
from holdfast.domain.instruments import entry_cost
from holdfast.domain.portfolio import Order
from holdfast.margin.account import Account
from holdfast.margin.columns import (
    ABOVE,
    ASSET,
    ASSET_CONFIDENCE,
    BASIS_FACTOR,
    CHARGE,
    CONFIDENCE_RATE,
    DEPEG,
    EXPIRY_NET,
    FIRST_TIER,
    GROUP,
    GROUP_FIELDS,
    HAS_NET_EXPIRY,
    HAS_NET_STRIKE,
    HAS_OPTIONS,
    IN_ASSET,
    INITIAL_FACTOR,
    LENDS,
    LIABILITY,
    LINE_FIELDS,
    MAXIMUM_LOSS,
    MULTIPLIERS,
    OFFSET_CAP,
    OFFSET_NOTIONAL,
    OFFSET_RATE,
    OPTION,
    OPTION_SIGN,
    PAR,
    PRICE,
    SCENARIOS,
    SLOPE,
    STRIKE,
    STRIKE_NET,
    STRIKE_TAG,
    TAIL_MASS,
    TIER_FIELDS,
    TODAY,
    UNDERLYING,
    UNDERLYING_FIELDS,
    UNPAIRED,
)
from holdfast.margin.held_charges import missing_confidence, net_short_charges
from holdfast.margin.kernel import haircut
from holdfast.margin.memory import borrowed, element, entry, put
from holdfast.margin.order_box import OrderRoom, fill_box, order_room
from holdfast.margin.scan import NAMED, capped_joint, expected_shortfall
from holdfast.margin.table import Arrays, Floats, Integers, LineField, RiskTable
from holdfast.pricing.vectors import LANES_NARROW, load, maximum, minimum, select, splat, store


@inlined
def worst_end(factor: float, low: float, high: float) -> float:
    """The largest product factor × quantity over an interval."""
    return max(factor * low, factor * high)


@inlined
def best_end(factor: float, low: float, high: float) -> float:
    """The least product factor × quantity over an interval."""
    return min(factor * low, factor * high)


@inlined
def end_of_tag(arrays: Arrays, line: Integers, begin: int, end: int, tag: int) -> int:
    """Index after the last line of begin..end in the run of the tag of line `begin`."""
    of = entry(arrays.tags, int(element(line, begin)), tag)
    k = begin + 1
    while k < end and entry(arrays.tags, int(element(line, k)), tag) == of:
        k += 1
    return k


@inlined
def _moves(box: OrderRoom, begin: int, end: int) -> bool:
    """Whether an order can change the quantity of one of some lines."""
    moves = False
    for k in range(begin, end):
        moves |= element(box.low, k) != element(box.high, k)
    return moves


@inlined
def _exact_block(arrays: Arrays, stride: int, offset: int, box: OrderRoom, begin: int, end: int) -> Any:
    """P·(M·v − v0) of one group that no order touches, in a register of scenarios (TAB-4)."""
    value, today = splat(0.0, LANES_NARROW), 0.0
    for k in range(begin, end):
        row, q = int(element(box.line, k)), element(box.low, k)
        value = value + q * load(arrays.values, row * stride + offset, LANES_NARROW)
        today += q * element(arrays.today, row)
    at = int(entry(arrays.tags, int(element(box.line, begin)), GROUP)) * MULTIPLIERS * stride + offset
    above = load(arrays.multipliers, at, LANES_NARROW)
    below = load(arrays.multipliers, at + stride, LANES_NARROW)
    result = select(value > 0.0, above, below) * value - today
    gain = load(arrays.multipliers, at + 2 * stride, LANES_NARROW)
    loss = load(arrays.multipliers, at + 3 * stride, LANES_NARROW)
    return select(result > 0.0, gain, loss) * result


@inlined
def _lowest_block(arrays: Arrays, stride: int, offset: int, box: OrderRoom, begin: int, end: int) -> Any:
    """Numbers at most P·(M·v − v0) of one group wherever the quantities lie, in a register of scenarios (ORD-3)."""
    at = int(entry(arrays.tags, int(element(box.line, begin)), GROUP)) * MULTIPLIERS * stride + offset
    above = load(arrays.multipliers, at, LANES_NARROW)
    below = load(arrays.multipliers, at + stride, LANES_NARROW)
    lower_above, lower_below = splat(0.0, LANES_NARROW), splat(0.0, LANES_NARROW)
    upper_above, upper_below = splat(0.0, LANES_NARROW), splat(0.0, LANES_NARROW)
    for k in range(begin, end):
        row, low, high = int(element(box.line, k)), element(box.low, k), element(box.high, k)
        unit, today = load(arrays.values, row * stride + offset, LANES_NARROW), element(arrays.today, row)
        change_above, change_below = above * unit - today, below * unit - today
        lower_above = lower_above + minimum(change_above * low, change_above * high)
        lower_below = lower_below + minimum(change_below * low, change_below * high)
        upper_above = upper_above + maximum(change_above * low, change_above * high)
        upper_below = upper_below + maximum(change_below * low, change_below * high)
    lower, upper = minimum(lower_above, lower_below), maximum(upper_above, upper_below)
    gain = load(arrays.multipliers, at + 2 * stride, LANES_NARROW)
    loss = load(arrays.multipliers, at + 3 * stride, LANES_NARROW)
    result = minimum(select(lower > 0.0, gain, loss) * lower, select(upper > 0.0, gain, loss) * upper)
    between = select(upper > 0.0, minimum(result, splat(0.0, LANES_NARROW)), result)
    return select(lower < 0.0, between, result)


@inlined
def _add_group(arrays: Arrays, box: OrderRoom, begin: int, end: int, results: Floats) -> None:
    """Add to `results` [S] the lowest result of one group per scenario."""
    stride, moves = arrays.values.shape[1], _moves(box, begin, end)
    for offset in range(0, stride, LANES_NARROW):
        before = load(results, offset, LANES_NARROW)
        if moves:
            store(results, offset, before + _lowest_block(arrays, stride, offset, box, begin, end))
        else:
            store(results, offset, before + _exact_block(arrays, stride, offset, box, begin, end))


@inlined
def basis_bound(arrays: Arrays, box: OrderRoom, begin: int, end: int) -> float:
    """Factor × a number at most min(0, worst named scenario) of one group (ORD-4)."""
    width = arrays.basis.shape[1]
    worst = 0.0
    for named in range(min(width, NAMED)):
        result = 0.0
        for k in range(begin, end):
            row = int(element(box.line, k))
            change = element(arrays.basis, row * width + named) - element(arrays.today, row)
            result += best_end(change, element(box.low, k), element(box.high, k))
        worst = min(worst, result)
    group = int(entry(arrays.tags, int(element(box.line, begin)), GROUP))
    return element(arrays.groups, group * GROUP_FIELDS + BASIS_FACTOR) * worst


@inlined
def scan_bound(arrays: Arrays, box: OrderRoom, end: int) -> float:
    """A number at least the scan requirement before factors of the lines before `end` (ORD-3, ORD-4, ORD-10)."""
    count, results, joint = arrays.values.shape[1], box.tail.results, box.tail.joint
    tail_mass, scenarios = element(arrays.model, TAIL_MASS), int(element(arrays.model, SCENARIOS))
    for s in range(count):
        put(joint, s, 0.0)
    total = 0.0
    k = 0
    while k < end:
        last = end_of_tag(arrays, box.line, k, end, UNDERLYING)
        for s in range(count):
            put(results, s, 0.0)
        basis = 0.0
        while k < last:
            group_end = end_of_tag(arrays, box.line, k, last, GROUP)
            _add_group(arrays, box, k, group_end, results)
            basis += basis_bound(arrays, box, k, group_end)
            k = group_end
        worst = min(0.0, basis)
        for s in range(count):
            put(joint, s, element(joint, s) + element(results, s))
            worst = min(worst, element(results, s))
        if tail_mass > 0.0:
            total += expected_shortfall(results, tail_mass, scenarios, box.tail.worst)
        else:
            total -= worst
    if tail_mass > 0.0:
        shortfall = expected_shortfall(joint, tail_mass, scenarios, box.tail.worst)
        return capped_joint(max(total, shortfall), shortfall, element(arrays.model, OFFSET_CAP))
    return total


@inlined
def by_sign(arrays: Arrays, row: int, quantity: float, field: int) -> float:
    """|quantity| × the long or the short rate, two neighbouring fields."""
    return abs(quantity) * element(arrays.lines, row * LINE_FIELDS + field + (quantity <= 0.0))


@inlined
def largest_loss(arrays: Arrays, box: OrderRoom, begin: int, end: int) -> float:
    """A number at least the value today less the payoff of options begin..end, at any settlement price (ORD-6)."""
    loss = 0.0
    for k in range(begin, end):
        today = element(arrays.today, int(element(box.line, k)))
        loss += worst_end(today, element(box.low, k), element(box.high, k))
    for at in range(begin - 1, end):
        price = 0.0 if at < begin else element(arrays.lines, int(element(box.line, at)) * LINE_FIELDS + STRIKE)
        at_price = 0.0
        for k in range(begin, end):
            row = int(element(box.line, k)) * LINE_FIELDS
            moneyness = element(arrays.lines, row + OPTION_SIGN) * (price - element(arrays.lines, row + STRIKE))
            payoff = element(arrays.lines, row + PAR) * max(0.0, moneyness)
            lost = element(arrays.lines, row + TODAY) - payoff
            at_price += worst_end(lost, element(box.low, k), element(box.high, k))
        loss = max(loss, at_price)
    return loss


@inlined
def option_group_bound(arrays: Arrays, box: OrderRoom, begin: int, end: int) -> float:
    """A number at least the initial requirement of one option group (ORD-5, ORD-6)."""
    isolated, calls, par = 0.0, 0.0, 0.0
    for k in range(begin, end):
        row, low, high = int(element(box.line, k)), element(box.low, k), element(box.high, k)
        isolated += max(by_sign(arrays, row, low, OPTION), by_sign(arrays, row, high, OPTION))
        if element(arrays.lines, row * LINE_FIELDS + OPTION_SIGN) > 0.0:
            calls += low
            if low != 0.0 or high != 0.0:
                par = max(par, element(arrays.lines, row * LINE_FIELDS + PAR))
    fields = int(entry(arrays.tags, int(element(box.line, begin)), GROUP)) * GROUP_FIELDS
    if element(arrays.groups, fields + MAXIMUM_LOSS) > 0.0:
        unpaired = element(arrays.groups, fields + UNPAIRED) * (max(0.0, -calls) * par)
        isolated = min(isolated, largest_loss(arrays, box, begin, end) + unpaired)
    return isolated


@inlined
def options_bound(arrays: Arrays, box: OrderRoom, end: int) -> float:
    """A number at least the initial requirements of all option groups in the lines before `end`."""
    total = 0.0
    k = 0
    while k < end:
        group_end = end_of_tag(arrays, box.line, k, end, GROUP)
        if element(arrays.lines, int(element(box.line, k)) * LINE_FIELDS + OPTION_SIGN) != 0.0:
            total += option_group_bound(arrays, box, k, group_end)
        k = group_end
    return total


@inlined
def charges_bound(arrays: Arrays, box: OrderRoom, begin: int, end: int) -> float:
    """A number at least the initial charges by size, confidence, peg and offset of one underlying (ORD-5)."""
    lent = 1.0
    for k in range(begin, end):
        if element(box.low, k) != 0.0 or element(box.high, k) != 0.0:
            lent = min(lent, element(arrays.lines, int(element(box.line, k)) * LINE_FIELDS + LENDS))
    total, longs, shorts = 0.0, 0.0, 0.0
    for k in range(begin, end):
        row = int(element(box.line, k))
        missing = missing_confidence(arrays, row, lent)
        worst = 0.0
        for q in (element(box.low, k), element(box.high, k)):
            charge = by_sign(arrays, row, q, CHARGE) + q * q * element(arrays.lines, row * LINE_FIELDS + SLOPE)
            charge += missing * by_sign(arrays, row, q, CONFIDENCE_RATE)
            worst = max(worst, charge + by_sign(arrays, row, q, DEPEG))
        total += worst
        notional = element(arrays.lines, row * LINE_FIELDS + OFFSET_NOTIONAL)
        longs += max(0.0, element(box.high, k)) * notional
        shorts += max(0.0, -element(box.low, k)) * notional
    rates = int(entry(arrays.tags, int(element(box.line, begin)), UNDERLYING)) * UNDERLYING_FIELDS
    return total + element(arrays.underlyings, rates + OFFSET_RATE) * min(longs, shorts)


@inlined
def _credit_lost(arrays: Arrays, asset: int, balance: float, change: float) -> float:
    """Initial haircut and confidence charge of an asset after a change of its balance, less the change if a gain.

    A gain raises equity by as much, which the bound leaves out: only what exceeds it counts.
    """
    fields = asset * arrays.assets.shape[1]
    price = element(arrays.assets, fields + PRICE)
    value = (balance + change) * price
    lost = haircut(arrays, asset, value)[0] + max(0.0, value) * element(arrays.assets, fields + ASSET_CONFIDENCE)
    return lost - max(0.0, change) * price


@inlined
def collateral_bound(arrays: Arrays, box: OrderRoom, count: int) -> float:
    """A number at least the initial haircuts, given gains ≥ 0 and losses ≥ 0 to mark per asset (ORD-8)."""
    assets, fields = arrays.assets.shape[0], arrays.assets.shape[1]
    for asset in range(assets):
        put(box.balances, asset, 0.0)
    for k in range(count):
        row = int(element(box.line, k))
        asset = int(entry(arrays.tags, row, ASSET))
        amount = element(box.held, k) * element(arrays.lines, row * LINE_FIELDS + IN_ASSET)
        put(box.balances, asset, element(box.balances, asset) + amount)
    total = 0.0
    for asset in range(assets):
        balance, gain, loss = element(box.balances, asset), element(box.gains, asset), element(box.losses, asset)
        # The loss can be largest unchanged, at either end or, as later tiers may lose less, where a tier begins.
        worst = max(0.0, _credit_lost(arrays, asset, balance, 0.0))
        if gain > 0.0 or loss > 0.0:
            worst = max(worst, _credit_lost(arrays, asset, balance, gain))
            worst = max(worst, _credit_lost(arrays, asset, balance, -loss))
            for tier in range(asset * fields + FIRST_TIER, (asset + 1) * fields, TIER_FIELDS):
                above = element(arrays.assets, tier + ABOVE) / element(arrays.assets, asset * fields + PRICE)
                change = min(max(above - balance, -loss), gain)
                worst = max(worst, _credit_lost(arrays, asset, balance, change))
        total += worst
    return total


@inlined
def loss_to_mark(arrays: Arrays, losses: Floats) -> float:
    """What the fills lose against the mark, numeraire, with what is owed for it (ORD-7)."""
    lost, fields = 0.0, arrays.assets.shape[1]
    for asset in range(arrays.assets.shape[0]):
        price, liability = asset * fields + PRICE, asset * fields + LIABILITY
        loss = element(losses, asset) * element(arrays.assets, price)
        lost += loss * (1.0 + element(arrays.assets, liability))
    return lost


@inlined
def box_bound(arrays: Arrays, box: OrderRoom, count: int) -> float:
    """A number at least the initial margin of every outcome in a filled box of `count` lines, losses to mark apart."""
    scanned = 0
    while scanned < count and entry(arrays.tags, int(element(box.line, scanned)), UNDERLYING) >= 0:
        scanned += 1
    total = scan_bound(arrays, box, scanned) * element(arrays.model, INITIAL_FACTOR)
    k = 0
    while k < scanned:
        last = end_of_tag(arrays, box.line, k, scanned, UNDERLYING)
        total += charges_bound(arrays, box, k, last)
        k = last
    if scanned > 0:
        if element(arrays.model, HAS_OPTIONS) > 0.0:
            total += options_bound(arrays, box, scanned)
        # Net short quantities are shortest where every line is at its lower end.
        if element(arrays.model, HAS_NET_STRIKE) > 0.0:
            total += net_short_charges(arrays, box.line, box.low, 0, scanned, STRIKE_TAG, STRIKE_NET)[0]
        if element(arrays.model, HAS_NET_EXPIRY) > 0.0:
            total += net_short_charges(arrays, box.line, box.low, 0, scanned, GROUP, EXPIRY_NET)[0]
    return total + collateral_bound(arrays, box, count)


@compiled
def orders_bound(
    arrays: Arrays,
    line: Integers,
    quantity: Floats,
    begin: int,
    end: int,
    order_line: Integers,
    order_asset_line: Integers,
    order_quantity: Floats,
    order_moved: Floats,
    order_gain: Floats,
    room: OrderRoom,
) -> float:
    """A number at least the initial margin after any fills of open orders at their limits, losses to mark included.

    The component `orders` (ORD-9) is max(0, this − the initial margin without orders); it is 0 without orders. The
    order in which orders are given changes nothing (CON-7). Allocates nothing.

    Args:
        arrays: The table; it has the lines of the positions, the orders and their settlement assets.
        line: Line of each position, int32, ascending within the account, assets included.
        quantity: Quantity of each position; cash − cost on asset lines.
        begin: First position of the account.
        end: Index after its last position.
        order_line: [k] int32, line of each order's contract.
        order_asset_line: [k] int32, line of its settlement asset.
        order_quantity: [k] signed, what is left to fill, in the contract's unit of quantity.
        order_moved: [k] what a full fill adds to the asset's line: −quantity × unit value at the limit (ORD-2).
        order_gain: [k] what a full fill gains against the mark, settlement asset; negative for a loss (ORD-7).
        room: An `order_room` for as many positions and orders, and for this table.
    """
    arrays, room = borrowed(arrays), borrowed(room)
    count = fill_box(
        arrays,
        borrowed(line),
        borrowed(quantity),
        begin,
        end,
        borrowed(order_line),
        borrowed(order_asset_line),
        borrowed(order_quantity),
        borrowed(order_moved),
        borrowed(order_gain),
        room,
    )
    return box_bound(arrays, room, count) + loss_to_mark(arrays, room.losses)


def fill_effects(table: RiskTable, order: Order) -> tuple[int, int, float, float]:
    """What a full fill of an order does: its line, its asset's line, the asset quantity moved, and the gain to mark.

    Returns:
        Line of the contract, line of its settlement asset, change of the asset line's quantity (asset units), and
        gain at the mark (asset units; negative for a loss).
    """
    line = table.line_of_instrument[order.instrument]
    paid = entry_cost(order.instrument, order.quantity, order.limit_price)
    gain = order.quantity * float(table.arrays.lines[line, LineField.IN_ASSET]) - paid
    return line, table.line_of_asset[order.instrument.settlement], -paid, gain


def orders_requirement(table: RiskTable, account: Account, orders: Iterable[Order], initial_margin: float) -> float:
    """The component `orders`: what open orders add to the initial margin (ORD-9).

    Args:
        table: A table that has the orders' lines.
        account: The account without fills.
        orders: Its open orders.
        initial_margin: Its initial margin without orders.

    Returns:
        An amount ≥ 0 in the numeraire.
    """
    waiting = [order for order in orders if order.quantity != 0.0]
    if not waiting:
        return 0.0
    line, asset_line, moved, gain = zip(*(fill_effects(table, order) for order in waiting), strict=True)
    arrays, positions = table.arrays, len(account.line)
    bound = orders_bound(
        arrays,
        account.line,
        account.quantity,
        0,
        positions,
        np.array(line, np.int32),
        np.array(asset_line, np.int32),
        np.array([order.quantity for order in waiting]),
        np.array(moved),
        np.array(gain),
        order_room(positions, len(waiting), arrays.assets.shape[0], arrays.values.shape[1]),
    )
    return max(0.0, float(bound) - initial_margin)
