"""Hot commands of a frame: trades, fills, transfers, orders, cancellations.

What trades and transfers do to rows does not depend on anything between them but marks, so they wait, over many frames
if nothing asks, and are netted together. Orders are kept at once. Only accepted commands come here; one that is
impossible by this ledger is reported and left out.

What lives here: taking and flushing. What may not: cold commands and quotes.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from holdfast.witness import reading
from holdfast.witness.book import Order
from holdfast.witness.state import ASIDE, BANKRUPT, LIQUIDATING, SYSTEM_ACCOUNTS, State
from holdfast.witness.whole import Integers

Report: TypeAlias = Callable[[int, int, str], None]
"""Takes the index of a record, an account, and what is impossible."""

COMMANDS_PER_FRAME = 16_384
_TRADE_FIELDS = ("account", "other", "item", "quantity", "price")
_WAITING_MAXIMUM = 1 << 18


def command_id(position: int, index: int) -> int:
    """SES-1."""
    return 1 + position * COMMANDS_PER_FRAME + index


class Hot:
    """Accepted hot commands that wait for their rows to be needed."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._trades: list[npt.NDArray[np.void]] = []
        self._transfers: list[npt.NDArray[np.void]] = []
        self._waiting = 0

    def take(self, records: npt.NDArray[np.void], places: Integers, position: int, report: Report) -> None:
        """Take the records at `places`, accepted and none of them a repeat, cold or a quote."""
        if not len(places):
            return
        taken = records[places]
        kinds = taken["kind"]
        is_trade = (kinds == reading.TRADE) | (kinds == reading.FILL)
        is_transfer = kinds == reading.TRANSFER
        wrong = self._wrong(taken, is_trade, is_transfer)
        for at in np.flatnonzero(wrong).tolist():
            report(int(places[at]), int(taken["account"][at]), "accepted, and impossible by this ledger")
        with_orders = ~wrong & ((kinds == reading.ORDER) | (kinds == reading.CANCEL) | (kinds == reading.FILL))
        for at in np.flatnonzero(with_orders).tolist():
            problem = self._take_order(taken[at], command_id(position, int(places[at])))
            if problem:
                report(int(places[at]), int(taken["account"][at]), problem)
                wrong[at] = True
        for kept, into in ((is_trade & ~wrong, self._trades), (is_transfer & ~wrong, self._transfers)):
            if kept.any():
                into.append(taken[kept])
        self._waiting += len(taken)
        if self._waiting > _WAITING_MAXIMUM:
            self.flush()

    def _wrong(
        self, taken: npt.NDArray[np.void], is_trade: npt.NDArray[np.bool_], is_transfer: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.bool_]:
        """Accounts and items that an accepted trade or transfer cannot name."""
        state = self._state
        count = len(state.items)
        account, other = taken["account"].astype(np.int64), taken["other"].astype(np.int64)
        item = taken["item"].astype(np.int64)
        known = np.minimum(item, max(count - 1, 0))
        if not count:
            return is_trade | is_transfer
        low, high = np.minimum(account, other), np.maximum(account, other)
        wrong = (low < SYSTEM_ACCOUNTS) | (high >= state.accounts) | (account == other) | (item >= count)
        safe_account, safe_other = np.minimum(account, state.accounts - 1), np.minimum(other, state.accounts - 1)
        held = np.isin(state.statuses, (LIQUIDATING, BANKRUPT, ASIDE))
        wrong |= held[safe_account] | (held[safe_other] & is_trade)
        closed = ~state.columns.is_open[known] | (
            (state.columns.expiry[known] > 0) & (state.columns.expiry[known] <= state.clock.now)
        )
        wrong |= is_trade & (state.columns.is_asset[known] | closed | (taken["quantity"] == 0))
        wrong |= is_trade & state.columns.is_beyond(known, taken["quantity"], taken["price"])
        wrong |= is_transfer & (~state.columns.is_asset[known] | (taken["quantity"] <= 0))
        found: npt.NDArray[np.bool_] = wrong & (is_trade | is_transfer)
        return found

    def _take_order(self, record: np.void, command: int) -> str:
        """What a record does to orders; why it is impossible, empty as a rule, and then it does nothing."""
        account = int(record["account"])
        if not SYSTEM_ACCOUNTS <= account < self._state.accounts:
            return "an order of an account that does not exist was accepted"
        if record["kind"] == reading.ORDER:
            return self._place(record, account, command)
        if record["kind"] == reading.CANCEL:
            return self._cancel(account, int(record["time"]))
        return self._fill(record, account)

    def _place(self, record: np.void, account: int, command: int) -> str:
        item = int(record["item"])
        if item >= len(self._state.items) or self._state.items[item].is_asset:
            return f"an order on item {item}, which is no contract, was accepted"
        self._state.book.place(account, item, int(record["quantity"]), int(record["price"]), command)
        self._state.ledger.versions[account] += 1
        return ""

    def _cancel(self, account: int, number: int) -> str:
        order = self._state.book.find(account, number)
        if order is None:
            return f"cancelled order {number}, which is not open"
        self._state.book.remove(order)
        self._state.ledger.versions[account] += 1
        return ""

    def _fill(self, record: np.void, buyer: int) -> str:
        """Take the lots off the orders of both sides, or off none."""
        numbers, lots = int(record["time"]), int(record["quantity"])
        sides = ((buyer, numbers & 0xFFFFFFFF, lots), (int(record["other"]), numbers >> 32, -lots))
        filled: list[tuple[Order, int]] = []
        for account, number, part in sides:
            order = self._state.book.find(account, number)
            if number == 0:
                continue
            if order is None or order.item != int(record["item"]):
                return f"filled order {number} of account {account}, which is not open on this contract"
            if order.remaining * part <= 0 or abs(order.remaining) < abs(part):
                return f"filled {part} lots of order {number} of account {account}, which has {order.remaining} left"
            filled.append((order, part))
        for order, part in filled:
            self._state.book.reduce(order, part)
        return ""

    def flush(self) -> None:
        """Post what waits."""
        self._waiting = 0
        if self._trades:
            trades = np.concatenate(self._trades)
            self._trades = []
            columns = [trades[name].astype(np.int64) for name in _TRADE_FIELDS]
            self._state.ledger.post_trades(self._state.columns, *columns)
        if self._transfers:
            transfers = np.concatenate(self._transfers)
            self._transfers = []
            columns = [transfers[name].astype(np.int64) for name in ("account", "other", "item", "quantity")]
            self._state.ledger.post_transfers(*columns)
