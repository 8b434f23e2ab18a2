"""The load: price sources, market makers, users who trade and ask, near three regions.

The market goes on whatever happens to the cluster: who waits for an answer misses steps.
What lives here: what is sent, and writing down what was told. What may not: who there is (`people`), prices (`market`).
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from holdfast.chaos.demo import market as markets
from holdfast.chaos.demo.market import FIRST_CONTRACT, QUOTES_PER_STEP, STEPS_PER_SECOND, Market, Step
from holdfast.chaos.demo.observer import Told
from holdfast.chaos.demo.people import TERMS, Integers, People
from holdfast.chaos.demo.scene import Scene
from holdfast.client.asynchronous import AsyncClient
from holdfast.client.errors import BusyError, ClientError
from holdfast.client.outcome import Receipt
from holdfast.client.pending import Pending
from holdfast.core.state import SYSTEM_ACCOUNTS
from holdfast.domain import commands as c
from holdfast.domain.errors import invariant
from holdfast.domain.frames import RecordKind, Records
from holdfast.domain.outcomes import Outcomes

RATE: Final = 15.0
"""Commands per second of the users of one region, one by one."""
ASK_S: Final = 0.05
"""Between two questions of a region."""
LEVELS: Final = ((0.0005, 0.02), (0.003, 0.03), (0.01, 0.045))
"""Of a maker's quotes: distance from the price, and depth of all makers of a contract as a share of open interest."""
OPEN_ORDERS, UNDER_WAY = 20, 1_000
"""Orders that a region's users leave open, and commands of theirs that may wait for an answer."""
_LOOK_S: Final = 0.03


class Clock:
    """Which step of the market it is."""

    def __init__(self, market: Market, scene: Scene) -> None:
        self._market, self._scene = market, scene
        self._began: float | None = None

    def start(self) -> None:
        """The market begins to move."""
        self._began = time.monotonic()

    def step(self) -> Step:
        """The market now."""
        elapsed = 0.0 if self._began is None else time.monotonic() - self._began
        step = self._market.at(int(elapsed * STEPS_PER_SECOND * QUOTES_PER_STEP))
        if step.number < self._market.quotes:
            self._scene.show(step)
        return step


class Account:
    """What one client was told.

    Attributes:
        told: All of it.
    """

    def __init__(self, scene: Scene, region: str, client: AsyncClient) -> None:
        self.region, self.client = region, client
        self.told: list[Told] = []
        self._scene = scene

    async def settle(self, pending: Pending[Receipt], *, counts: bool = True) -> Receipt | None:
        """Wait for an answer and write it down; None where it is not known what became of the commands.

        Args:
            pending: What is waited for.
            counts: Whether it counts among the waits of the region.
        """
        try:
            receipt = await pending
        except ClientError as error:
            self._scene.unknown += 1
            for part in error.receipts:
                self._note(part, counts=counts)
            return None
        self._note(receipt, counts=counts)
        return receipt

    def answered(self) -> None:
        """A question was answered."""
        if self._scene.waits is not None:
            self._scene.waits.answered(self.region, time.monotonic())

    def _note(self, receipt: Receipt, *, counts: bool) -> None:
        now = time.monotonic()
        self.told += told_of(receipt)
        if self._scene.meter is not None:
            self._scene.meter.note(len(receipt), now)
        if counts and self._scene.waits is not None:
            self._scene.waits.acknowledged(self.region, now)


def told_of(receipt: Receipt) -> Iterator[Told]:
    """What a receipt says, by session."""
    at = 0
    for part in receipt.numbers:
        yield Told(part.session, part.first, receipt.outcomes[at : at + part.size])
        at += part.size


class Source:
    """A price source: quotes every step that it can, stamped with the present time."""

    def __init__(self, account: Account, clock: Clock, number: int, seed: int) -> None:
        self._account, self._clock, self._number, self._seed = account, clock, number, seed
        self._sequence = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Quote until told to stop."""
        last = 0
        while not stop.is_set():
            step = self._clock.step()
            if step.number > last:
                last = step.number
                await self.quote(step)
            else:
                await asyncio.sleep(_LOOK_S)

    async def quote(self, step: Step) -> Receipt | None:
        """Quote a step."""
        self._sequence += 1
        records = markets.quotes(step, self._number, self._seed, time.time_ns(), self._sequence)
        try:
            pending = self._account.client.post_records(records)
        except BusyError as error:
            await asyncio.sleep(error.retry_after_s)
            return None
        return await self._account.settle(pending, counts=False)


class Region:
    """The makers and users of a region, over one client."""

    def __init__(self, account: Account, clock: Clock, crowd: People, makers: Sequence[int], seed: int) -> None:
        """Makers and users who have sent nothing.

        Args:
            account: Of the region's client.
            clock: Of the market.
            crowd: Everybody.
            makers: Those of this region.
            seed: Of what users do.
        """
        self._account, self._clock, self._crowd = account, clock, crowd
        self._makers = tuple(makers)
        self._random = np.random.default_rng([seed, 2])
        self._interest = crowd.open_interest()
        self._orders: deque[tuple[int, int]] = deque()
        self._open: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Quote, trade and ask until told to stop; then wait for the answers that are missing."""
        try:
            await asyncio.gather(self._make(stop), self._use(stop), self._ask(stop))
            await asyncio.gather(*self._open)
        finally:
            for task in self._open:
                task.cancel()

    async def _make(self, stop: asyncio.Event) -> None:
        """The makers' quotes: at each step the old ones are cancelled and new ones placed."""
        last, resting = 0, list[tuple[int, int]]()
        while not stop.is_set():
            step = self._clock.step()
            if step.number == last:
                await asyncio.sleep(_LOOK_S)
                continue
            last = step.number
            cancels = [c.cancel(0, 0, *order) for order in resting]
            orders = list(maker_orders(step, self._makers, self._interest, self._crowd.makers))
            records = np.concatenate([*cancels, *orders])
            receipt = await self._sent(records)
            if receipt is not None:
                placed = zip(records[len(cancels) :]["account"], receipt.outcomes[len(cancels) :]["made"], strict=True)
                resting = [(int(account), int(made)) for account, made in placed if made]

    async def _use(self, stop: asyncio.Event) -> None:
        """Commands of users, one by one at a rate, whatever becomes of those before."""
        began, number = time.monotonic(), 0
        while not stop.is_set():
            number += 1
            await asyncio.sleep(max(0.0, began + number / RATE - time.monotonic()))
            if len(self._open) < UNDER_WAY:
                task = asyncio.create_task(self._one(self.command(self._clock.step())))
                self._open.add(task)
                task.add_done_callback(self._open.discard)

    async def _one(self, record: Records) -> None:
        receipt = await self._sent(record)
        if receipt is not None:
            self.learn(record, receipt.outcomes)

    async def _sent(self, records: Records) -> Receipt | None:
        try:
            pending = self._account.client.post_records(records)
        except BusyError as error:
            await asyncio.sleep(error.retry_after_s)
            return None
        return await self._account.settle(pending)

    async def _ask(self, stop: asyncio.Event) -> None:
        """Ask for margins, one after the other."""
        while not stop.is_set():
            account = self._crowd.name(int(self._random.integers(self._crowd.makers, self._crowd.accounts)))
            try:
                await self._account.client.margin(account, at_least=-1)
                self._account.answered()
            except ClientError:
                pass  # It counts as a wait until the next answer.
            await asyncio.sleep(ASK_S)

    def command(self, step: Step) -> Records:
        """What a user does next: a small trade with a maker, an order, or the cancellation of one."""
        if len(self._orders) > OPEN_ORDERS:
            return c.cancel(0, 0, *self._orders.popleft())
        user = int(self._random.integers(self._crowd.makers, self._crowd.accounts))
        contract = int(self._crowd.contract[user])
        side = 1 if self._random.random() < 0.5 else -1
        lots = side * max(1, abs(int(self._crowd.lots[user])) // 20)
        item = FIRST_CONTRACT + contract
        if self._random.random() < 0.6:
            maker = int(self._random.integers(0, self._crowd.makers))
            numbers = (user + SYSTEM_ACCOUNTS, maker + SYSTEM_ACCOUNTS, item)
            return c.trade(0, 0, *numbers, lots, step.in_steps(contract))
        return c.order(0, 0, user + SYSTEM_ACCOUNTS, item, lots, step.in_steps(contract, -0.01 * side))

    def learn(self, record: Records, outcomes: Outcomes) -> None:
        """Remember an order that was placed, to cancel it later."""
        if int(record["kind"][0]) == RecordKind.ORDER and int(outcomes["made"][0]):
            self._orders.append((int(record["account"][0]), int(outcomes["made"][0])))


def maker_orders(step: Step, makers: Sequence[int], interest: Integers, count: int) -> Iterator[Records]:
    """The orders of makers at a step: three levels on both sides, thinner and wider under stress.

    Of makers counted from 0, the even ones quote Bitcoin's contracts and the odd ones Ether's.

    Args:
        step: Of the market.
        makers: Whose.
        interest: [contracts] open interest, lots.
        count: How many makers share the depth.
    """
    invariant(count > 0, "somebody makes the market")
    for maker in makers:
        for contract in (n for n, terms in enumerate(TERMS) if terms.coin == maker % 2):
            for distance, depth in LEVELS:
                lots = max(1, int(2 * depth / step.stress / count * int(interest[contract])))
                for side in (1, -1):
                    price = step.in_steps(contract, -side * distance * step.stress)
                    yield c.order(0, 0, maker + SYSTEM_ACCOUNTS, FIRST_CONTRACT + contract, side * lots, price)
