"""The box of an account's open orders: for every line the interval that its quantity can reach by fills.

What lives here: the room that a bound needs, and filling it (ORD-1, ORD-2, ORD-7). What may not: what the box requires
(`orders`). Sums are taken in one order of the orders, by what they are and not by when they came, so that the order in
which they are given changes no bit (CON-7).
"""

from typing import NamedTuple

import numpy as np

from holdfast.compilation import compiled, inlined
from holdfast.margin.columns import ASSET
from holdfast.margin.memory import element, entry, put
from holdfast.margin.scan import Tail
from holdfast.margin.table import Arrays, Floats, Integers


class OrderRoom(NamedTuple):
    """Room for the bound of one account's orders, made once and used for account after account.

    Attributes:
        line: [lines] lines that are held or that an order moves, ascending.
        held: [lines] quantity without fills.
        low: [lines] least quantity after any fills.
        high: [lines] greatest quantity after any fills.
        gains: [assets] what all fills gain against the mark.
        losses: [assets] what they lose, ≥ 0.
        balances: [assets] what each asset counts for without fills.
        ranked: [2 × orders] indices of orders in the order of their sums, and room to sort them.
        tail: Room for results per scenario.
    """

    line: Integers
    held: Floats
    low: Floats
    high: Floats
    gains: Floats
    losses: Floats
    balances: Floats
    ranked: Integers
    tail: Tail


@compiled
def order_room(positions_maximum: int, orders_maximum: int, assets: int, scenarios: int) -> OrderRoom:
    """Room for the bounds of accounts.

    Args:
        positions_maximum: The most positions that an account has, assets included.
        orders_maximum: The most open orders that an account has.
        assets: `len(arrays.assets)` of the largest table.
        scenarios: `arrays.values.shape[1]` of the widest table.
    """
    lines = positions_maximum + orders_maximum + assets
    return OrderRoom(
        np.zeros(lines, np.int32),
        np.zeros(lines),
        np.zeros(lines),
        np.zeros(lines),
        np.zeros(assets),
        np.zeros(assets),
        np.zeros(assets),
        np.zeros(2 * orders_maximum, np.int32),
        Tail(np.zeros(scenarios), np.zeros(scenarios), np.zeros(scenarios)),
    )


@inlined
def comes_before(a: int, b: int, line: Integers, moved: Floats, gain: Floats, quantity: Floats) -> bool:
    """Whether order `a` is summed before order `b`: by line, then what it moves, gains and trades."""
    if element(line, a) != element(line, b):
        return bool(element(line, a) < element(line, b))
    if element(moved, a) != element(moved, b):
        return bool(element(moved, a) < element(moved, b))
    if element(gain, a) != element(gain, b):
        return bool(element(gain, a) < element(gain, b))
    return bool(element(quantity, a) < element(quantity, b))


@inlined
def rank_orders(line: Integers, moved: Floats, gain: Floats, quantity: Floats, ranked: Integers) -> int:
    """Sort the indices of orders of other quantities than 0 into the front of `ranked`, by merging; returns how many.

    Args:
        line: [k].
        moved: [k].
        gain: [k].
        quantity: [k].
        ranked: [2 × k or more], overwritten.
    """
    count, half = 0, len(ranked) // 2
    in_order = True
    for n in range(len(line)):
        if element(quantity, n) != 0.0:
            put(ranked, count, n)
            if count > 0 and comes_before(n, int(element(ranked, count - 1)), line, moved, gain, quantity):
                in_order = False
            count += 1
    width = count if in_order else 1
    while width < count:
        for first in range(0, count, 2 * width):
            left, middle = first, min(first + width, count)
            right, last = middle, min(first + 2 * width, count)
            for at in range(first, last):
                takes_right = left == middle
                if left < middle and right < last:
                    a, b = int(element(ranked, right)), int(element(ranked, left))
                    takes_right = comes_before(a, b, line, moved, gain, quantity)
                put(ranked, half + at, element(ranked, right if takes_right else left))
                left, right = left + (not takes_right), right + takes_right
        for at in range(count):
            put(ranked, at, element(ranked, half + at))
        width *= 2
    return count


@inlined
def _put_line(box: OrderRoom, at: int, line: int, held: float) -> None:
    put(box.line, at, np.int32(line))
    put(box.held, at, held)
    put(box.low, at, held)
    put(box.high, at, held)


@inlined
def find_line(box: OrderRoom, count: int, line: int) -> int:
    """Index of the first of `count` lines that is not below a line."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if element(box.line, middle) < line:
            low = middle + 1
        else:
            high = middle
    return low


@inlined
def with_line(box: OrderRoom, count: int, line: int) -> int:
    """Give a line a place if it has none, moving those behind it; returns the number of lines."""
    at = find_line(box, count, line)
    if at < count and element(box.line, at) == line:
        return count
    for k in range(count, at, -1):
        _put_line(box, k, int(element(box.line, k - 1)), element(box.held, k - 1))
    _put_line(box, at, line, 0.0)
    return count + 1


@inlined
def place_lines(
    line: Integers,
    quantity: Floats,
    begin: int,
    end: int,
    order_line: Integers,
    order_asset_line: Integers,
    orders: int,
    box: OrderRoom,
) -> int:
    """Fill the box with the lines of positions and of ranked orders, ascending, as held; returns their number."""
    count, k, n = 0, begin, 0
    while k < end or n < orders:
        waiting = int(element(order_line, int(element(box.ranked, n)))) if n < orders else -1
        held = int(element(line, k)) if k < end else -1
        if k < end and (n == orders or held <= waiting):
            _put_line(box, count, held, element(quantity, k))
            k += 1
        else:
            _put_line(box, count, waiting, 0.0)
        while n < orders and element(order_line, int(element(box.ranked, n))) == element(box.line, count):
            n += 1
        count += 1
    asset_line = -1
    for n in range(orders):
        if element(order_asset_line, int(element(box.ranked, n))) != asset_line:
            asset_line = int(element(order_asset_line, int(element(box.ranked, n))))
            count = with_line(box, count, asset_line)
    return count


@inlined
def _widen(box: OrderRoom, at: int, change: float) -> None:
    """Let the quantity of a line change by up to `change`."""
    if change < 0.0:
        put(box.low, at, element(box.low, at) + change)
    else:
        put(box.high, at, element(box.high, at) + change)


@inlined
def fill_box(
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
    box: OrderRoom,
) -> int:
    """Fill the box of an account (ORD-1, ORD-2) and its gains and losses to mark; returns the number of lines.

    Arguments as for `orders.orders_bound`.
    """
    orders = rank_orders(order_line, order_moved, order_gain, order_quantity, box.ranked)
    count = place_lines(line, quantity, begin, end, order_line, order_asset_line, orders, box)
    for asset in range(arrays.assets.shape[0]):
        put(box.gains, asset, 0.0)
        put(box.losses, asset, 0.0)
    for n in range(orders):
        order = int(element(box.ranked, n))
        row, gain = int(element(order_line, order)), element(order_gain, order)
        _widen(box, find_line(box, count, row), element(order_quantity, order))
        asset_line = int(element(order_asset_line, order))
        _widen(box, find_line(box, count, asset_line), element(order_moved, order))
        asset = int(entry(arrays.tags, row, ASSET))
        put(box.gains, asset, element(box.gains, asset) + max(0.0, gain))
        put(box.losses, asset, element(box.losses, asset) + max(0.0, -gain))
    return count
