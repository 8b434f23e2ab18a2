"""The machine that commands work on: the arrays, the registry, and the tables that both make.

Handlers of cold commands get it and change it; the fold owns it. What may not live here: commands, frames, sessions.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from holdfast.core import marks
from holdfast.core.liquidation.lifecycle import MOVES
from holdfast.core.marks import Marked
from holdfast.core.registry import Registry
from holdfast.core.state import (
    BLOCK_LEAST,
    Account,
    Counter,
    Counts,
    Item,
    Price,
    Status,
    empty_state,
    grown,
    pool_reserve,
)
from holdfast.domain.errors import InputError
from holdfast.domain.market import DOLLAR, Market


class MarkEvent(NamedTuple):
    """What a mark did: its price id, the items marked, how many accounts were looked at and how many fell below."""

    price_id: int
    items: tuple[int, ...]
    looked: int
    breaches: int


_COUNTED = [
    Counter.TIME,
    Counter.ACCOUNTS,
    Counter.ITEMS,
    Counter.PRICE_ID,
    Counter.MARK_DUE,
    Counter.AGE_MAXIMUM,
    Counter.AHEAD_MAXIMUM,
    Counter.SOURCES_MINIMUM,
    Counter.OUTLIER_PPM,
    Counter.THRESHOLD_PPM,
]
"""Counters that commands mean something by. The others say where things lie, and undoing does not move them back."""


class Kept(NamedTuple):
    """The registry, the tables and copies of the small arrays, as they were before a command."""

    registry: Registry
    marked: Marked
    counters: Counts
    items: Counts
    prices: Counts


class Machine:
    """State, registry and tables.

    Attributes:
        state: The arrays.
        registry: The cold part.
        marked: The market and tables of the last mark.
        events: What happened during the frame at hand.
        watch: Called with the name of a moment ("mark", "sweep", "swept"), so that others may look at their clocks.
    """

    def __init__(self, watch: Callable[[str], None] | None = None) -> None:
        self.state = empty_state()
        self.registry = Registry()
        self.marked = Marked(Market(0, {}), (), marks.NO_TABLES)
        self.events: list[MarkEvent] = []
        self.watch = watch or (lambda _moment: None)

    def kept(self) -> Kept:
        """What a cold command may change without a journal, to go back to if it raises."""
        state, count = self.state, len(self.registry.items) + 1
        items, prices = state.items[:count].copy(), state.prices[:count].copy()
        return Kept(self.registry, self.marked, state.counters.copy(), items, prices)

    def go_back(self, kept: Kept) -> None:
        """Undo a command that raised; the ledger's journal was undone before. Arrays that grew stay longer."""
        self.registry = kept.registry
        self.state.counters[_COUNTED] = kept.counters[_COUNTED]
        for array, before in ((self.state.items, kept.items), (self.state.prices, kept.prices)):
            array[: len(before)] = before
            array[len(before) :] = 0
        self._set(kept.marked)

    def refresh(self) -> None:
        """Build the tables again from the frozen prices: after a definition, without a new price id."""
        self._set(marks.build(self.state, self.registry))

    def mark(self, items: tuple[int, ...]) -> None:
        """Freeze the prices of underlyings together and look at every account exposed to one of them.

        A mark whose table cannot be built leaves prices and tables as they were, and raises InputError.
        """
        self.watch("mark")
        before = self.state.prices[:, Price.MARKED].copy()
        marks.freeze(self.state, items)
        try:
            marked = marks.build(self.state, self.registry)
        except InputError:
            self.state.prices[:, Price.MARKED] = before
            self.state.counters[Counter.PRICE_ID] -= 1
            raise
        self._set(marked)
        self.watch("sweep")
        pending = self.pending()
        zones = marks.look_at_accounts(self.state, marked.arrays, items, MOVES)
        self.watch("swept")
        looked = int((zones >= 0).sum())
        price_id = int(self.state.counters[Counter.PRICE_ID])
        self.events.append(MarkEvent(price_id, items, looked, self.pending() - pending))

    def pending(self) -> int:
        """How many accounts wait for the quorum on their liquidation."""
        statuses = self.state.accounts[: int(self.state.counters[Counter.ACCOUNTS]), Account.STATUS]
        return int(np.count_nonzero(statuses == Status.BREACH_PENDING))

    def _set(self, marked: Marked) -> None:
        self.marked = marked
        marks.set_lines(self.state, self.registry, marked.tables)

    def underlyings(self) -> list[int]:
        """Numbers of the assets that prices are quoted for."""
        count = len(self.registry.items)
        return [
            number
            for number in range(count)
            if self.state.items[number, Item.FORM] == 0 and self.registry.items[number].name != DOLLAR
        ]

    def make_room(self, accounts: Iterable[int] = ()) -> None:
        """Grow what a command may need more of than there is; `accounts`: more that may each get another row."""
        state = self.state
        moved = sum(max(BLOCK_LEAST, 2 * int(state.accounts[account, Account.CAPACITY])) for account in accounts)
        least = int(state.counters[Counter.POOL_TOP]) + pool_reserve(state) + moved
        if least > len(state.row_item):
            state = grown(state, "rows", least)
        if int(state.counters[Counter.ORDER_SLOTS]) == len(state.orders):
            state = grown(state, "orders", 0)
        self.state = state
