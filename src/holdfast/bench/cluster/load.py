"""Clients that trade, place orders and ask, and write down when they were answered."""

import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from holdfast.bench.cluster.stage import Stage
from holdfast.bench.venue import BATCH
from holdfast.client.asynchronous import AsyncClient
from holdfast.client.errors import ClientError
from holdfast.client.outcome import Receipt
from holdfast.client.pending import Pending
from holdfast.domain import commands
from holdfast.domain.frames import Records, decode_frame

BATCHES_UNDER_WAY = 6
"""Batches of one client that are not answered yet."""


class Acknowledged(NamedTuple):
    """What a client was told of: its session, and [n] numbers, command ids (0 where not told), reasons."""

    session: int
    numbers: npt.NDArray[np.int64]
    commands: npt.NDArray[np.int64]
    reasons: npt.NDArray[np.int64]


class Trader:
    """One client, near one region.

    Attributes:
        region: Its region.
        client: Its connection.
        acknowledged: What it was told of.
        answered_at: When commands were acknowledged, monotonic seconds.
        read_at: When questions were answered.
        unknown: Commands whose fate it does not know.
    """

    def __init__(self, stage: Stage, region: str, name: str) -> None:
        self.region = region
        self.client = AsyncClient(stage.configuration("client", region), name=name)
        self.acknowledged: list[Acknowledged] = []
        self.answered_at: list[float] = []
        self.read_at: list[float] = []
        self.unknown = 0

    async def pending(self, waited: Pending[Receipt]) -> Receipt | None:
        """Await an answer and write it down; None if it did not come."""
        try:
            receipt = await waited
        except ClientError:
            self.unknown += 1
            return None
        self.answered_at.append(time.monotonic())
        outcomes, at = receipt.outcomes, 0
        for session, first, count in receipt.numbers:
            part = outcomes[at : at + count]
            numbers = np.arange(first, first + count)
            self.acknowledged.append(Acknowledged(session, numbers, part["command"], part["reason"]))
            at += count
        return receipt


async def trade(trader: Trader, batches: Sequence[Records]) -> None:
    """Send batches of trades, a few under way at a time, until all are acknowledged."""
    places = asyncio.Semaphore(BATCHES_UNDER_WAY)

    async def one(records: Records) -> None:
        async with places:
            await trader.pending(trader.client.post_records(records, every=False))

    await asyncio.gather(*(one(records) for records in batches))


def batches(stage: Stage, count: int, seed: int) -> list[Records]:
    """Batches of random trades at the mark between accounts that hold the contract."""
    return [decode_frame(frame).records.copy() for frame in stage.venue.random_trades(count, seed)]


def orders(stage: Stage, count: int, seed: int) -> list[Records]:
    """Single limit orders in what their accounts hold, of one lot at the mark."""
    random = np.random.default_rng(seed)
    accounts = random.permutation(stage.venue.accounts)[np.arange(count) % stage.venue.accounts]
    items = stage.venue.held[accounts, random.integers(0, stage.venue.held.shape[1], count)]
    return [
        commands.order(0, 0, int(account) + 4, int(item), 1, int(stage.venue.prices[item]))
        for account, item in zip(accounts, items, strict=True)
    ]


async def steady(trader: Trader, wanted: Sequence[Records], rate: float, taken: list[float]) -> None:
    """Send commands one by one at a rate, whatever becomes of those before; `taken` gets the seconds of each."""
    began, waiting = time.monotonic(), []

    async def one(records: Records) -> None:
        sent = time.monotonic()
        if await trader.pending(trader.client.post_records(records)) is not None:
            taken.append(time.monotonic() - sent)

    for number, records in enumerate(wanted):
        while time.monotonic() - began < number / rate:
            await asyncio.sleep(max(0.0, number / rate - (time.monotonic() - began)))
        waiting.append(asyncio.create_task(one(records)))
    await asyncio.gather(*waiting)


async def ask(trader: Trader, interval_s: float, stop: asyncio.Event) -> None:
    """Ask for accounts' margins, one question after the other."""
    account = 4
    while not stop.is_set():
        try:
            await trader.client.margin(account, at_least=-1)
            trader.read_at.append(time.monotonic())
        except ClientError:
            pass
        account = 4 + (account - 3) % BATCH
        await asyncio.sleep(interval_s)
