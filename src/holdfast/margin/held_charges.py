"""Charges on what an account holds: options, net short quantities, offsets, unsure prices and a broken peg.

What lives here: one function per family, for positions begin … end − 1 of lines that belong to a group; cash comes
later. `kernel` calls those that a table has (`fields.mark_shortcuts`). The rates are worked out in `charges`.
"""

from holdfast.compilation import inlined
from holdfast.margin.columns import (
    CONFIDENCE,
    CONFIDENCE_RATE,
    DEPEG,
    GROUP,
    GROUP_FIELDS,
    LENDS,
    LINE_FIELDS,
    MAXIMUM_LOSS,
    OFFSET_NOTIONAL,
    OFFSET_RATE,
    OPTION,
    OPTION_SIGN,
    PAR,
    STRIKE,
    TAKES,
    THRESHOLD,
    TODAY,
    UNDERLYING,
    UNDERLYING_FIELDS,
    UNPAIRED,
)
from holdfast.margin.memory import element, entry, keep_rolled
from holdfast.margin.scan import Runs
from holdfast.margin.table import Arrays, Floats, Integers

Pair = tuple[float, float]
"""Initial and maintenance."""


@inlined
def net_short_charges(
    arrays: Arrays, line: Integers, quantity: Floats, begin: int, end: int, tag: int, field: int
) -> Pair:
    """Charges on the net short quantity of each set of lines with one tag (CHG-4, CHG-5), begin < end.

    Where a set ends, its sum is charged and set to 0, by factors of 1 and 0.

    Args:
        arrays: The table.
        line: Line of each position.
        quantity: Quantity of each position.
        begin: First position.
        end: Index after the last position.
        tag: Column of `tags`: what nets.
        field: Column of `groups`: the initial rate; the maintenance rate follows.
    """
    initial, maintenance, net = 0.0, 0.0, 0.0
    row = int(element(line, begin))
    netted, rates = entry(arrays.tags, row, tag), int(entry(arrays.tags, row, GROUP)) * GROUP_FIELDS + field
    for k in range(begin, end):
        keep_rolled()
        row = int(element(line, k))
        following = entry(arrays.tags, row, tag)
        goes_on = 1.0 if following == netted else 0.0
        short = (1.0 - goes_on) * max(0.0, -net)
        initial += element(arrays.groups, rates) * short
        maintenance += element(arrays.groups, rates + 1) * short
        net = goes_on * net + element(quantity, k)
        netted, rates = following, int(entry(arrays.tags, row, GROUP)) * GROUP_FIELDS + field
    short = max(0.0, -net)
    return initial + element(arrays.groups, rates) * short, maintenance + element(arrays.groups, rates + 1) * short


@inlined
def payoff_floor(arrays: Arrays, line: Integers, quantity: Floats, begin: int, end: int) -> float:
    """The least, over settlement prices {0, strikes}, of the payoff of options begin..end; at most 0 (STD-8)."""
    floor = 0.0
    for at in range(begin - 1, end):
        price = 0.0 if at < begin else element(arrays.lines, int(element(line, at)) * LINE_FIELDS + STRIKE)
        payoff = 0.0
        for k in range(begin, end):
            keep_rolled()
            row = int(element(line, k)) * LINE_FIELDS
            moneyness = element(arrays.lines, row + OPTION_SIGN) * (price - element(arrays.lines, row + STRIKE))
            payoff += element(quantity, k) * (element(arrays.lines, row + PAR) * max(0.0, moneyness))
        floor = min(floor, payoff)
    return floor


@inlined
def option_group(arrays: Arrays, group: int, line: Integers, quantity: Floats, begin: int, end: int) -> Pair:
    """The isolated-or-maximum-loss requirement (STD-8) of one option group."""
    initial, maintenance, today, calls, par = 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(begin, end):
        keep_rolled()
        row, q = int(element(line, k)) * LINE_FIELDS, element(quantity, k)
        rate, size = row + OPTION + (q <= 0.0), abs(q)
        initial += size * element(arrays.lines, rate)
        maintenance += size * element(arrays.lines, rate + 2)
        today += q * element(arrays.lines, row + TODAY)
        if element(arrays.lines, row + OPTION_SIGN) > 0.0:
            calls += q
            if q != 0.0:
                par = max(par, element(arrays.lines, row + PAR))
    fields = group * GROUP_FIELDS
    if element(arrays.groups, fields + MAXIMUM_LOSS) > 0.0:
        bound = today - payoff_floor(arrays, line, quantity, begin, end)
        unpaired = max(0.0, -calls) * par
        initial = min(initial, bound + element(arrays.groups, fields + UNPAIRED) * unpaired)
        maintenance = min(maintenance, bound + element(arrays.groups, fields + UNPAIRED + 1) * unpaired)
    return initial, maintenance


@inlined
def option_charges(arrays: Arrays, line: Integers, quantity: Floats, begin: int, end: int) -> Pair:
    """The isolated-or-maximum-loss requirements of all option groups in positions begin..end."""
    initial, maintenance = 0.0, 0.0
    k = begin
    while k < end:
        row = int(element(line, k))
        group = int(entry(arrays.tags, row, GROUP))
        first, group_end = k, element(arrays.group_ends, group)
        while k < end and element(line, k) < group_end:
            keep_rolled()
            k += 1
        if element(arrays.lines, row * LINE_FIELDS + OPTION_SIGN) != 0.0:
            more_initial, more_maintenance = option_group(arrays, group, line, quantity, first, k)
            initial += more_initial
            maintenance += more_maintenance
    return initial, maintenance


@inlined
def missing_confidence(arrays: Arrays, row: int, lent: float) -> float:
    """1 − the confidence of a line if that is below its threshold, else 0 (CHG-8); `lent` by the perpetuals held."""
    at = row * LINE_FIELDS
    sure = element(arrays.lines, at + CONFIDENCE)
    if element(arrays.lines, at + TAKES) > 0.0:
        sure = min(sure, lent)
    return 1.0 - sure if sure < element(arrays.lines, at + THRESHOLD) else 0.0


@inlined
def confidence_charges(
    arrays: Arrays, line: Integers, quantity: Floats, begin: int, underlyings: int, runs: Runs
) -> float:
    """What lines pay for unsure prices, initial only (CHG-8, CHG-9)."""
    total, half = 0.0, runs.shape[1]
    for underlying in range(underlyings):
        end = element(runs, element(runs, half + underlying) - 1)
        lent = 1.0
        for k in range(begin, end):
            keep_rolled()
            if element(quantity, k) != 0.0:
                lent = min(lent, element(arrays.lines, int(element(line, k)) * LINE_FIELDS + LENDS))
        for k in range(begin, end):
            keep_rolled()
            row, q = int(element(line, k)), element(quantity, k)
            rate = element(arrays.lines, row * LINE_FIELDS + CONFIDENCE_RATE + (q <= 0.0))
            total += abs(q) * (missing_confidence(arrays, row, lent) * rate)
        begin = end
    return total


@inlined
def depeg_charges(arrays: Arrays, line: Integers, quantity: Floats, begin: int, end: int) -> float:
    """What lines pay for a stablecoin below its peg, initial only (CHG-11)."""
    total = 0.0
    for k in range(begin, end):
        q = element(quantity, k)
        total += abs(q) * element(arrays.lines, int(element(line, k)) * LINE_FIELDS + DEPEG + (q <= 0.0))
    return total


@inlined
def offset_charges(arrays: Arrays, line: Integers, quantity: Floats, begin: int, underlyings: int, runs: Runs) -> Pair:
    """Charges on long against short notional of each underlying (CHG-6)."""
    initial, maintenance, half = 0.0, 0.0, runs.shape[1]
    for held in range(underlyings):
        end = element(runs, element(runs, half + held) - 1)
        longs, shorts = 0.0, 0.0
        for k in range(begin, end):
            keep_rolled()
            row, q = int(element(line, k)), element(quantity, k)
            notional = element(arrays.lines, row * LINE_FIELDS + OFFSET_NOTIONAL)
            longs += max(0.0, q) * notional
            shorts += max(0.0, -q) * notional
        rates = int(entry(arrays.tags, int(element(line, begin)), UNDERLYING)) * UNDERLYING_FIELDS
        initial += element(arrays.underlyings, rates + OFFSET_RATE) * min(longs, shorts)
        maintenance += element(arrays.underlyings, rates + OFFSET_RATE + 1) * min(longs, shorts)
        begin = end
    return initial, maintenance
