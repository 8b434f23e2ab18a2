"""Quotes, prices, marks and settlement averages (specs/marks.md, TIM-6).

What lives here: what sources say and what becomes of it. What may not: risk tables; a mark that has none is undone from
outside with `restore`.
"""

from collections.abc import Iterable, Sequence

from holdfast.witness import whole
from holdfast.witness.clock import lower_median
from holdfast.witness.contracts import OPTION, Item
from holdfast.witness.rules import Rules

AVERAGE_SPAN = 1_800 * 10**9


class Market:
    """Prices of all items.

    Attributes:
        quotes: Per item, by source (price, time, sequence).
        current: Per item, its price, 0 before the first.
        remaining: Per item, how many quotes remained when its price was last worked out (MKS-2).
        marked: Per item, the frozen price, 0 for none.
        sums: Per item, of its settlement average.
        counts: Per item, of its settlement average.
        price_id: Of the last mark.
    """

    def __init__(self) -> None:
        self.quotes: list[dict[int, tuple[int, int, int]]] = []
        self.current: list[int] = []
        self.remaining: list[int] = []
        self.marked: list[int] = []
        self.sums: list[int] = []
        self.counts: list[int] = []
        self.price_id = 0

    def add_item(self) -> None:
        """Room for one more item."""
        self.quotes.append({})
        for column in (self.current, self.remaining, self.marked, self.sums, self.counts):
            column.append(0)

    def is_stale(self, item: int, rules: Rules) -> bool:
        """MKS-3: what remained when the price was last worked out, against the rules that hold now."""
        return self.remaining[item] < rules.sources_minimum

    def quote(self, item: int, source: int, price: int, time: int, sequence: int) -> None:
        """Take a source's quote; the price follows with `reprice`."""
        self.quotes[item][source] = price, time, sequence

    def reprice(self, item: int, now: int, rules: Rules) -> None:
        """Work out an item's price (MKS-2)."""
        oldest = now - rules.age_maximum
        fresh = [price for price, time, _ in self.quotes[item].values() if time >= oldest]
        if fresh:
            middle = lower_median(fresh)
            span = float(middle) * float(rules.outlier_ppm)
            fresh = [price for price in fresh if abs(price - middle) * 1e6 <= span]
        self.remaining[item] = len(fresh)
        if not self.is_stale(item, rules):
            self.current[item] = lower_median(fresh)

    def has_moved(self, item: int, rules: Rules) -> bool:
        """Whether an asset that was marked moved past the threshold (MKS-6)."""
        marked = self.marked[item]
        move = abs(self.current[item] - marked)
        return marked > 0 and move * 1e6 > float(marked) * float(rules.mark_threshold_ppm)

    def average(self, items: Iterable[Item], now: int, rules: Rules) -> None:
        """Let settlement averages grow after a tick that advanced logical time (TIM-6)."""
        for item in items:
            if not item.expiry or not item.is_open or self.is_stale(item.underlying, rules):
                continue
            inside = item.expiry - AVERAGE_SPAN < now <= item.expiry
            if inside or (now > item.expiry and not self.counts[item.number]):
                self.sums[item.number] += self.current[item.underlying]
                self.counts[item.number] += 1

    def settlement_average(self, item: int) -> int:
        """The mean, 1e-8 dollars."""
        return whole.half_even(self.sums[item], self.counts[item])

    def freeze(self, assets: Sequence[int], items: Sequence[Item], rules: Rules) -> None:
        """A mark of some assets: freeze their prices under the next price id (MKS-4)."""
        self.price_id += 1
        for item in items:
            if item.underlying not in assets:
                continue
            keeps_stale = item.is_asset or item.kind == OPTION
            shown = keeps_stale or not self.is_stale(item.number, rules)
            self.marked[item.number] = self.current[item.number] if shown else 0

    def save(self) -> tuple[int, list[int]]:
        """What a mark changes."""
        return self.price_id, list(self.marked)

    def restore(self, saved: tuple[int, list[int]]) -> None:
        """Undo a mark."""
        self.price_id, self.marked = saved[0], list(saved[1])

    def step_price(self, item: Item, items: Sequence[Item]) -> int:
        """The frozen mark of a perpetual or future in its price steps (MKS-8)."""
        own = self.marked[item.number]
        return own if own > 0 else index_steps(self.marked[items[item.underlying].number], item.decimals)


def index_steps(index: int, price_decimals: int) -> int:
    """An index in 1e-8 dollars as price steps, HALF_EVEN, at least 1."""
    return max(1, whole.half_even(index * 10**price_decimals, 10**8))
