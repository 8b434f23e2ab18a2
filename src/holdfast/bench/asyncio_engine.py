"""The obvious engine, as the fold's baseline: asyncio, dictionaries, and NumPy for each account's margin.

It does what a first version does: commands through a queue to one task, accounts as dictionaries of positions, both
sides' scenario loss by a matrix product over the lines they hold, and no log, sessions, hashes or roots.
"""

import asyncio
from collections import defaultdict

import numpy as np

from holdfast.bench.venue import Venue
from holdfast.domain.frames import Records
from holdfast.margin.table import Arrays


class DictEngine:
    """Accounts as dictionaries."""

    def __init__(self, venue: Venue) -> None:
        fold = venue.desk.fold
        self._arrays: Arrays = fold.machine.marked.arrays.models[0]
        self._lines = fold.machine.state.lines[0]
        self._factor = float(self._arrays.model[0])
        self.positions: dict[int, dict[int, float]] = defaultdict(dict)
        self.cash: dict[int, float] = defaultdict(lambda: 1e7)

    async def run(self, records: Records) -> int:
        """Put trades through a queue to one task; how many were accepted."""
        queue: asyncio.Queue[tuple[int, int, int, float, float] | None] = asyncio.Queue(1_024)
        task = asyncio.create_task(self._work(queue))
        for row in records:
            line = int(self._lines[int(row["instrument"])])
            await queue.put(
                (int(row["account"]), int(row["other"]), line, float(row["quantity"]) / 100, float(row["price"]) / 1e4)
            )
        await queue.put(None)
        return await task

    async def _work(self, queue: "asyncio.Queue[tuple[int, int, int, float, float] | None]") -> int:
        accepted = 0
        while (trade := await queue.get()) is not None:
            accepted += self._trade(*trade)
        return accepted

    def _trade(self, buyer: int, seller: int, line: int, quantity: float, price: float) -> bool:
        for account, change in ((buyer, quantity), (seller, -quantity)):
            held = self.positions[account]
            held[line] = held.get(line, 0.0) + change
            self.cash[account] -= change * price
        if self._passes(buyer) and self._passes(seller):
            return True
        for account, change in ((buyer, quantity), (seller, -quantity)):
            self.positions[account][line] -= change
            self.cash[account] += change * price
        return False

    def _passes(self, account: int) -> bool:
        held = self.positions[account]
        lines = np.fromiter(held.keys(), np.int64, len(held))
        quantities = np.fromiter(held.values(), np.float64, len(held))
        today = quantities @ self._arrays.today[lines]
        worst = (quantities @ self._arrays.values[lines]).min() - today
        equity = self.cash[account] + today
        return bool(equity >= -min(worst, 0.0) * self._factor)
