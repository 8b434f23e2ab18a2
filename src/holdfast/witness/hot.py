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
from holdfast.witness.state import ASIDE, BANKRUPT, LIQUIDATING, SYSTEM_ACCOUNTS, State
from holdfast.witness.whole import Integers

Report: TypeAlias = Callable[[int, int, str], None]
"""Takes the index of a record, an account, and what is impossible."""

ACTIONS_PER_POSITION = 16_384
_TRADE_FIELDS = ("account", "other", "item", "quantity", "price")
_WAITING_MAXIMUM = 1 << 18


def command_id(position: int, index: int) -> int:
    """SES-1."""
    return 1 + position * ACTIONS_PER_POSITION + index


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
        self._take_rows(taken, places, report)
        for at in np.flatnonzero(
            (kinds == reading.ORDER) | (kinds == reading.CANCEL) | (kinds == reading.FILL)
        ).tolist():
            index = int(places[at])
            self._take_order(taken[at], command_id(position, index), index, report)
        if self._waiting > _WAITING_MAXIMUM:
            self.flush()

    def _take_rows(self, taken: npt.NDArray[np.void], places: Integers, report: Report) -> None:
        kinds = taken["kind"]
        is_trade = (kinds == reading.TRADE) | (kinds == reading.FILL)
        is_transfer = kinds == reading.TRANSFER
        wrong = self._wrong(taken, is_trade, is_transfer)
        for at in np.flatnonzero(wrong).tolist():
            report(int(places[at]), int(taken["account"][at]), "accepted, and impossible by this ledger")
        if (is_trade & ~wrong).any():
            self._trades.append(taken[is_trade & ~wrong])
        if (is_transfer & ~wrong).any():
            self._transfers.append(taken[is_transfer & ~wrong])
        self._waiting += len(taken)

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

    def _take_order(self, record: np.void, command: int, index: int, report: Report) -> None:
        state, account = self._state, int(record["account"])
        if not SYSTEM_ACCOUNTS <= account < state.accounts:
            report(index, account, "an order of an account that does not exist was accepted")
        elif record["kind"] == reading.ORDER:
            self._place(record, account, command, index, report)
        elif record["kind"] == reading.CANCEL:
            self._cancel(account, int(record["time"]), index, report)
        else:
            numbers = int(record["time"])
            lots = int(record["quantity"])
            self._fill(account, numbers & 0xFFFFFFFF, record, lots, index, report)
            self._fill(int(record["other"]), numbers >> 32, record, -lots, index, report)

    def _place(self, record: np.void, account: int, command: int, index: int, report: Report) -> None:
        item = int(record["item"])
        if item >= len(self._state.items) or self._state.items[item].is_asset:
            report(index, account, f"an order on item {item}, which is no contract, was accepted")
            return
        self._state.book.place(account, item, int(record["quantity"]), int(record["price"]), command)
        self._state.ledger.versions[account] += 1

    def _cancel(self, account: int, number: int, index: int, report: Report) -> None:
        order = self._state.book.find(account, number)
        if order is None:
            report(index, account, f"cancelled order {number}, which is not open")
            return
        self._state.book.remove(order)
        self._state.ledger.versions[account] += 1

    def _fill(self, account: int, number: int, record: np.void, lots: int, index: int, report: Report) -> None:
        if number == 0:
            return
        order = self._state.book.find(account, number)
        if order is None or order.item != int(record["item"]):
            report(index, account, f"filled order {number}, which is not open on this contract")
        elif order.remaining * lots <= 0 or abs(order.remaining) < abs(lots):
            report(index, account, f"filled {lots} lots of order {number}, which has {order.remaining} left")
        else:
            self._state.book.reduce(order, lots)

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
