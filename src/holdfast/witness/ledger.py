"""The ledger: one sorted column of rows for all accounts, and trades netted many at a time.

A row is keyed by account × 2²⁰ + item; `amounts` and `costs` stand beside the sorted keys, and rows that are new wait
in a dictionary until they are merged. So the rows of an account, and of all accounts in order, are slices. A batch of
trades is netted without looking at them one by one: per position the lots are summed up in their order, the last time
that the sum was 0 is found, what was paid before it is realised (LED-7), and what came after is the position's cost.

What lives here: rows and versions (specs/ledger.md). What may not: margin, orders, statuses, and what refuses a
command.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from holdfast.witness import whole
from holdfast.witness.contracts import Item
from holdfast.witness.whole import Integers

WORLD, FEES, INSURANCE, WITHDRAWALS = range(4)
ITEM_BITS = 20
_ITEM_MASK = (1 << ITEM_BITS) - 1
_INITIAL_ROOM = 64


class Columns:
    """What trades need of the items, as arrays by item number."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.settlement = np.array([item.settlement for item in items], np.int64)
        self.numerator = np.array([item.numerator for item in items], np.int64)
        self.denominator = np.array([item.denominator for item in items], np.int64)
        self.is_inverse = np.array([item.has_inverse_cost for item in items], bool)
        self.is_asset = np.array([item.is_asset for item in items], bool)
        self.is_open = np.array([item.is_open for item in items], bool)
        self.expiry = np.array([item.expiry for item in items], np.int64)
        self.fee_ppm = np.array([item.fee_ppm for item in items], np.int64)
        self.multiplier = np.array([float(item.multiplier) for item in items])
        self.divisor = np.array([float(item.divisor) for item in items])
        self.multiplier_whole = np.array([item.multiplier for item in items], np.int64)
        self.mask = np.array([item.mask for item in items], np.int64)

    def is_beyond(self, item: Integers, lots: Integers, price: Integers) -> npt.NDArray[np.bool_]:
        """Which trades LED-5 refuses whatever the account: their price, or a cost certainly beyond the limit."""
        inverse = self.is_inverse[item]
        bottom = np.where(inverse, np.maximum(price, 1), self.denominator[item]).astype(float)
        top = np.abs(lots.astype(float)) * self.numerator[item] * np.where(inverse, 1.0, price.astype(float))
        found: npt.NDArray[np.bool_] = (price < 0) | (inverse & (price == 0)) | (top > 1.01 * whole.LIMIT * bottom)
        return found

    def costs(self, item: Integers, lots: Integers, price: Integers) -> Integers:
        """LED-5, exact whatever the size of the products."""
        numerator, inverse = self.numerator[item], self.is_inverse[item]
        bottom = np.where(inverse, np.maximum(price, 1), self.denominator[item])
        estimate = np.abs(lots).astype(float) * numerator * np.where(inverse, 1.0, price.astype(float))
        fits = (estimate < whole.EXACT_PRODUCT) & (bottom < whole.EXACT_PRODUCT)
        with np.errstate(over="ignore"):
            top = np.where(inverse, -lots * numerator, lots * numerator * price)
        found = whole.half_even_array(np.where(fits, top, 0), bottom)
        for place in np.flatnonzero(~fits):
            product = int(lots[place]) * int(numerator[place])
            exact = -product if inverse[place] else product * int(price[place])
            found[place] = whole.half_even(exact, int(bottom[place]))
        return found

    def fees(self, item: Integers, costs: Integers) -> Integers:
        """LED-6."""
        return -(-(np.abs(costs) * self.fee_ppm[item]) // 10**6)


class Ledger:
    """Rows of all accounts and their versions."""

    def __init__(self) -> None:
        self.keys: Integers = np.zeros(0, np.int64)
        self.amounts: Integers = np.zeros(0, np.int64)
        self.costs: Integers = np.zeros(0, np.int64)
        self.fresh: dict[int, tuple[int, int]] = {}
        self.versions: Integers = np.zeros(_INITIAL_ROOM, np.int64)

    def reserve(self, accounts: int) -> None:
        """Make room for the versions of so many accounts."""
        if accounts > len(self.versions):
            self.versions = np.concatenate([self.versions, np.zeros(accounts, np.int64)])

    def get(self, account: int, item: int) -> tuple[int, int]:
        """Amount and cost of a row, zeros where there is none."""
        key = account << ITEM_BITS | item
        if key in self.fresh:
            return self.fresh[key]
        place = int(self.keys.searchsorted(key))
        if place < len(self.keys) and self.keys[place] == key:
            return int(self.amounts[place]), int(self.costs[place])
        return 0, 0

    def post(self, account: int, item: int, amount: int, cost: int = 0) -> None:
        """One entry (LED-3): nothing where both are 0, else the row and one version more."""
        if amount == 0 and cost == 0:
            return
        key = account << ITEM_BITS | item
        place = int(self.keys.searchsorted(key))
        if key not in self.fresh and place < len(self.keys) and self.keys[place] == key:
            self.amounts[place] += amount
            self.costs[place] += cost
        else:
            old_amount, old_cost = self.fresh.get(key, (0, 0))
            self.fresh[key] = old_amount + amount, old_cost + cost
        self.versions[account] += 1

    def post_side(self, account: int, item: Item, lots: int, cost: int, fee: int) -> None:
        """One side of a trade: its position, and its settlement asset (LED-7)."""
        held, paid = self.get(account, item.number)
        if held + lots == 0:
            self.post(account, item.number, lots, -paid)
            self.post(account, item.settlement, -(paid + cost) - fee, -paid)
        else:
            self.post(account, item.number, lots, cost)
            self.post(account, item.settlement, -fee, cost)

    def rows(self, account: int) -> dict[int, tuple[int, int]]:
        """Item → (amount, cost) of an account, in order of items."""
        low, high = account << ITEM_BITS, (account + 1) << ITEM_BITS
        start, stop = self.keys.searchsorted([low, high])
        found = {
            int(key) & _ITEM_MASK: (int(amount), int(cost))
            for key, amount, cost in zip(
                self.keys[start:stop], self.amounts[start:stop], self.costs[start:stop], strict=True
            )
        }
        found |= {key & _ITEM_MASK: row for key, row in self.fresh.items() if low <= key < high} if self.fresh else {}
        return {item: found[item] for item in sorted(found) if found[item] != (0, 0)}

    def holders(self, item: int) -> Iterator[tuple[int, int, int]]:
        """(account, amount, cost) of every row of an item, in order of accounts."""
        self.merge()
        for place in np.flatnonzero((self.keys & _ITEM_MASK) == item):
            if self.amounts[place] or self.costs[place]:
                yield int(self.keys[place]) >> ITEM_BITS, int(self.amounts[place]), int(self.costs[place])

    def merge(self) -> None:
        """Put new rows among the others, and drop those that have become 0."""
        if not self.fresh:
            return
        keys = np.fromiter(self.fresh, np.int64, len(self.fresh))
        values = np.array(list(self.fresh.values()), np.int64)
        self.fresh = {}
        alive = (self.amounts != 0) | (self.costs != 0)
        if not alive.all():
            self.keys, self.amounts, self.costs = self.keys[alive], self.amounts[alive], self.costs[alive]
        self._insert(keys, values[:, 0], values[:, 1])

    def _insert(self, keys: Integers, amounts: Integers, costs: Integers) -> None:
        order = keys.argsort()
        keys, amounts, costs = keys[order], amounts[order], costs[order]
        places = self.keys.searchsorted(keys)
        self.keys = np.insert(self.keys, places, keys)
        self.amounts = np.insert(self.amounts, places, amounts)
        self.costs = np.insert(self.costs, places, costs)

    def accounts_and_items(self) -> tuple[Integers, Integers]:
        """Account and item of every row, in order."""
        self.merge()
        return self.keys >> ITEM_BITS, self.keys & _ITEM_MASK

    def add(self, keys: Integers, amounts: Integers, costs: Integers) -> None:
        """Add to rows of distinct keys, without versions."""
        places = self._places(keys)
        self.amounts[places] += amounts
        self.costs[places] += costs

    def _places(self, keys: Integers) -> Integers:
        """Where the rows of distinct keys stand; missing ones are made."""
        self.merge()
        places = self.keys.searchsorted(keys)
        missing = np.ones(len(keys), bool)
        inside = places < len(self.keys)
        missing[inside] = self.keys[places[inside]] != keys[inside]
        if missing.any():
            new = keys[missing]
            self._insert(new, np.zeros_like(new), np.zeros_like(new))
            places = self.keys.searchsorted(keys)
        return places

    def post_transfers(self, giver: Integers, receiver: Integers, item: Integers, amount: Integers) -> None:
        """Transfers of assets, in any order."""
        keys = np.concatenate([giver, receiver]) << ITEM_BITS | np.concatenate([item, item])
        self._add_all(keys, np.concatenate([-amount, amount]), np.zeros(2 * len(amount), np.int64))
        np.add.at(self.versions, np.concatenate([giver, receiver]), 1)

    def _add_all(self, keys: Integers, amounts: Integers, costs: Integers) -> None:
        distinct, place = np.unique(keys, return_inverse=True)
        sums = np.zeros((2, len(distinct)), np.int64)
        np.add.at(sums[0], place, amounts)
        np.add.at(sums[1], place, costs)
        self.add(distinct, sums[0], sums[1])

    def post_trades(
        self, columns: Columns, buyer: Integers, seller: Integers, item: Integers, lots: Integers, price: Integers
    ) -> None:
        """Trades in their order: each posts as LED-7 says."""
        costs = columns.costs(item, lots, price)
        fees = columns.fees(item, costs)
        account = np.stack([buyer, seller], axis=1).ravel()
        both = np.repeat(item, 2)
        signs = np.tile(np.array([1, -1], np.int64), len(item))
        self._net(columns, account, both, np.repeat(lots, 2) * signs, np.repeat(costs, 2) * signs, np.repeat(fees, 2))
        charged = fees > 0
        if charged.any():
            asset = columns.settlement[item[charged]]
            self._add_all(FEES << ITEM_BITS | asset, 2 * fees[charged], np.zeros(int(charged.sum()), np.int64))
            self.versions[FEES] += int(charged.sum())

    def _net(
        self, columns: Columns, account: Integers, item: Integers, lots: Integers, costs: Integers, fees: Integers
    ) -> None:
        """Net the sides of trades, given in their order, per position."""
        key = account << ITEM_BITS | item
        order = key.argsort(kind="stable")
        key, lots, costs, fees = key[order], lots[order], costs[order], fees[order]
        first = np.concatenate([[True], key[1:] != key[:-1]])
        segment = np.cumsum(first) - 1
        distinct = key[first]
        places = self._places(distinct)
        before_amount, before_cost = self.amounts[places], self.costs[places]
        held = _running(lots, first, segment) + before_amount[segment]
        flat = held == 0
        paid_before = _since_flat(costs, first, flat) + before_cost[segment] * _untouched(first, segment, flat)
        last = np.concatenate([key[1:] != key[:-1], [True]])
        after = np.where(flat, 0, paid_before + costs)
        realised = np.where(flat, paid_before + costs, 0)
        cash = -realised - fees
        moved = np.where(flat, -paid_before, costs)
        self.amounts[places], self.costs[places] = held[last], after[last]
        owner = key >> ITEM_BITS
        self._add_all(owner << ITEM_BITS | columns.settlement[item[order]], cash, moved)
        np.add.at(self.versions, owner, 1 + ((cash != 0) | (moved != 0)))


def _running(values: Integers, first: npt.NDArray[np.bool_], segment: Integers) -> Integers:
    """Running sums that begin anew at each `first`; int64 wraps round, so differences stay exact."""
    sums = np.cumsum(values)
    base = (sums - values)[first]
    return sums - base[segment]


def _since_flat(costs: Integers, first: npt.NDArray[np.bool_], flat: npt.NDArray[np.bool_]) -> Integers:
    """What each side's position had cost in this batch since it was last flat, before the side itself."""
    starts = first | np.concatenate([[False], flat[:-1]])
    return _running(costs, starts, np.cumsum(starts) - 1) - costs


def _untouched(first: npt.NDArray[np.bool_], segment: Integers, flat: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Whether the position was not flat earlier in this batch."""
    flats = _running(flat.astype(np.int64), first, segment) - flat
    found: npt.NDArray[np.bool_] = flats == 0
    return found
