"""Quotes: how several sources' prices of one item become one price (specs/marks.md).

A source's sequence and time only grow, so a quote that was delayed is old news and not a fresh price. The price of an
item is the median of its fresh quotes, after those far from the median of all were left out. What may not live here:
marks and margin.
"""

import numpy as np

from holdfast.compilation import compiled, inlined_only
from holdfast.core.state import SOURCES_MAXIMUM, Counter, Counts, Form, Item, Price, Quote, State
from holdfast.domain.reasons import Reason
from holdfast.domain.units import LEDGER_MAXIMUM

PRICE, TIME, SEQUENCE = int(Quote.PRICE), int(Quote.TIME), int(Quote.SEQUENCE)
CURRENT, MARKED, FRESH = int(Price.CURRENT), int(Price.MARKED), int(Price.FRESH)
NOW, ITEMS, MARK_DUE = int(Counter.TIME), int(Counter.ITEMS), int(Counter.MARK_DUE)
AGE_MAXIMUM, AHEAD_MAXIMUM = int(Counter.AGE_MAXIMUM), int(Counter.AHEAD_MAXIMUM)
SOURCES_MINIMUM, OUTLIER_PPM = int(Counter.SOURCES_MINIMUM), int(Counter.OUTLIER_PPM)
THRESHOLD_PPM = int(Counter.THRESHOLD_PPM)
FORM, FORM_ASSET, UNDERLYING = int(Item.FORM), int(Form.ASSET), int(Item.UNDERLYING)
ITEM_UNKNOWN, PRICE_INVALID = int(Reason.ITEM_UNKNOWN), int(Reason.PRICE_INVALID)
QUOTE_OLD, QUOTE_FUTURE = int(Reason.QUOTE_OLD), int(Reason.QUOTE_FUTURE)
MILLION = 1e6
"""Parts per million are compared in float64, where no product of a price can overflow."""
QUOTE_MAXIMUM = LEDGER_MAXIMUM


@inlined_only
def median(values: Counts, count: int) -> int:
    """The middle of the first `count` ≥ 1 sorted values; of an even number the lower of the two in the middle."""
    return values[(count - 1) // 2]


@inlined_only
def fresh_prices(state: State, item: int, found: Counts) -> int:
    """Write an item's fresh quotes to `found` in ascending order; how many."""
    count = 0
    oldest = state.counters[NOW] - state.counters[AGE_MAXIMUM]
    for source in range(SOURCES_MAXIMUM):
        price = state.quotes[item, source, PRICE]
        if price == 0 or state.quotes[item, source, TIME] < oldest:
            continue
        k = count
        while k > 0 and found[k - 1] > price:
            found[k] = found[k - 1]
            k -= 1
        found[k] = price
        count += 1
    return count


@inlined_only
def without_outliers(state: State, found: Counts, count: int) -> int:
    """Leave out, in place, what is further from the median of all than the rules allow; how many remain."""
    middle = median(found, count)
    kept = 0
    for k in range(count):
        if np.float64(abs(found[k] - middle)) * MILLION <= np.float64(middle) * state.counters[OUTLIER_PPM]:
            found[kept] = found[k]
            kept += 1
    return kept


@inlined_only
def renew_price(state: State, item: int) -> None:
    """Work out an item's price from its quotes; without enough fresh ones the last price stands, marked as stale."""
    found = np.empty(SOURCES_MAXIMUM, np.int64)
    count = fresh_prices(state, item, found)
    if count > 0:
        count = without_outliers(state, found, count)
    state.prices[item, FRESH] = count
    if count > 0 and count >= state.counters[SOURCES_MINIMUM]:
        state.prices[item, CURRENT] = median(found, count)


@inlined_only
def take_quote(state: State, item: int, source: int, price: int, time: int, sequence: int) -> int:
    """Take a source's quote: 0, or the reason why not. May ask for a mark by setting the counter MARK_DUE."""
    if item < 0 or item >= state.counters[ITEMS]:
        return ITEM_UNKNOWN
    if price <= 0 or price > QUOTE_MAXIMUM:
        return PRICE_INVALID
    if time > state.counters[NOW] + state.counters[AHEAD_MAXIMUM]:
        return QUOTE_FUTURE
    if time < state.quotes[item, source, TIME] or sequence <= state.quotes[item, source, SEQUENCE]:
        return QUOTE_OLD
    state.quotes[item, source, PRICE] = price
    state.quotes[item, source, TIME] = time
    state.quotes[item, source, SEQUENCE] = sequence
    renew_price(state, item)
    marked = state.prices[item, MARKED]
    if marked > 0 and state.items[item, FORM] == FORM_ASSET:
        moved = abs(state.prices[item, CURRENT] - marked)
        if np.float64(moved) * MILLION > np.float64(marked) * state.counters[THRESHOLD_PPM]:
            state.counters[MARK_DUE] = item
    return 0


@compiled
def renew_prices(state: State) -> None:
    """Work out every item's price again: time went on, so quotes may have aged."""
    for item in range(state.counters[ITEMS]):
        renew_price(state, item)
