"""What clients send: every command says something that no other one says, so that the log shows which one it was.

Two traders move money, trade, place and cancel orders and ask for withdrawals; an operator deposits and repairs; a
source quotes a price that wanders and, in most runs, falls. What may not live here: sending, numbers.
"""

from collections import deque
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import numpy as np

from holdfast.client.batches import Batch
from holdfast.client.contents import NamedContent, RecordsContent
from holdfast.core.state import NONE
from holdfast.domain import commands as c
from holdfast.domain.frames import RecordKind, Records
from holdfast.domain.messages import Read
from holdfast.domain.reasons import Reason
from holdfast.simulation.genesis import ACCOUNTS, ANN, BTC, MAKER, PERPETUAL, PRICE, START, USD, WEAK
from holdfast.simulation.scheduler import Scheduler
from holdfast.simulation.trader import Offer

BATCH_MAXIMUM: Final = 3
CENT: Final = 10_000
"""In units of the dollar asset."""

Command = c.ColdCommand | Records
Register = Callable[[str, bytes], int]
"""Makes a serial number for a command of a client, from what it says."""


def said(command: Command) -> bytes:
    """What a command says, as `truth.contents` has it of a frame."""
    if isinstance(command, np.ndarray):
        return command.tobytes()
    records, blob = c.cold_records([command])
    return records.tobytes() + blob


def content_of(commands: list[Command]) -> RecordsContent:
    """Commands as a client's batch."""
    records, blobs, length = [], [], 0
    for command in commands:
        if isinstance(command, np.ndarray):
            records.append(command)
        else:
            blobs.append(c.encode_cold(command))
            records.append(c.cold_record(0, 0, length, len(blobs[-1])))
            length += len(blobs[-1])
    return RecordsContent(np.concatenate(records), b"".join(blobs))


class Unique:
    """Numbers that make commands different from each other, shared by all clients."""

    def __init__(self, register: Register) -> None:
        self.register = register
        self._last = 0

    def next(self) -> int:
        """One that was never given."""
        self._last += 1
        return self._last


class _Work:
    """What is common to all clients."""

    def __init__(self, name: str, scheduler: Scheduler, unique: Unique) -> None:
        self._name, self._scheduler, self._unique = name, scheduler, unique
        self._random = scheduler.random

    def _offer(self, commands: list[Command], content: Any = None) -> Offer:
        serials = tuple(self._unique.register(self._name, said(command)) for command in commands)
        return Offer(serials, content or content_of(commands), tuple(commands))

    def done(self, offer: Offer, batch: Batch) -> None:
        """Nothing is learned."""

    def failed(self, offer: Offer) -> None:
        """Nothing is tried again."""

    def question(self) -> Read | None:
        """Nothing is asked."""
        return None


class Trading(_Work):
    """The owner of two accounts."""

    def __init__(self, name: str, scheduler: Scheduler, unique: Unique, accounts: tuple[int, int]) -> None:
        super().__init__(name, scheduler, unique)
        self._accounts = accounts
        self._orders: deque[tuple[int, int]] = deque()
        self._withdrawals: deque[int] = deque()
        self.asked_session: tuple[int, int] | None = None

    def next_offer(self) -> Offer | None:
        """Some commands, by numbers or by names."""
        if self._random.random() < 0.12:
            return self._named()
        return self._offer([self._some() for _ in range(self._random.randint(1, BATCH_MAXIMUM))])

    def done(self, offer: Offer, batch: Batch) -> None:
        """Remember orders and withdrawals, to cancel them later."""
        for command, outcome in zip(offer.about, batch.outcomes, strict=True):
            if outcome["reason"] != Reason.ACCEPTED:
                continue
            if isinstance(command, c.RequestWithdrawal):
                self._withdrawals.append(int(outcome["made"]))
            elif isinstance(command, np.ndarray) and command["kind"][0] == RecordKind.ORDER:
                self._orders.append((int(command["account"][0]), int(outcome["made"])))

    def question(self) -> Read | None:
        """About an account, or what became of a command."""
        draw = self._random.random()
        if draw < 0.35:
            return Read("margin", {"account": self._random.choice((*self._accounts, WEAK))})
        if draw < 0.5 and self.asked_session is not None:
            session, number = self.asked_session
            return Read("lookup", {"session": session, "number": number})
        if draw < 0.6 and self.asked_session is not None:
            return Read("session", {"session": self.asked_session[0]})
        return None

    def _named(self) -> Offer:
        one, other = self._pair()
        number = self._unique.next()
        fields = {
            "command": "transfer",
            "account": ACCOUNTS[one - ANN],
            "other": ACCOUNTS[other - ANN],
            "asset": "USD",
            "amount": str(Decimal(10**6 + number).scaleb(-6)),
        }
        text = str(fields).replace("'", '"').encode()
        return self._offer([c.transfer(0, 0, one, other, USD, 10**6 + number)], NamedContent([text]))

    def _pair(self) -> tuple[int, int]:
        return self._accounts if self._random.random() < 0.5 else (self._accounts[1], self._accounts[0])

    def _some(self) -> Command:
        draw, number = self._random.random(), self._unique.next()
        one, other = self._pair()
        if draw < 0.3:
            return c.transfer(0, 0, one, other, USD, 10**6 + number)
        if draw < 0.55:
            lots = self._random.choice((-20, -10, 10, 30))
            return c.trade(0, 0, one, self._random.choice((other, MAKER)), PERPETUAL, lots, PRICE * 100 + number)
        if draw < 0.75:
            return c.order(0, 0, one, PERPETUAL, self._random.choice((15, 25)), PRICE * 80 + number)
        if draw < 0.85 and self._orders:
            return c.cancel(0, 0, *self._orders.popleft())
        if draw < 0.92 and self._withdrawals:
            return c.CancelWithdrawal(self._withdrawals.popleft())
        return c.RequestWithdrawal(one, USD, CENT, f"to {number}")


class Operating(_Work):
    """The venue's operator."""

    def __init__(self, name: str, scheduler: Scheduler, unique: Unique) -> None:
        super().__init__(name, scheduler, unique)
        self._repairs: deque[int] = deque()
        self._asked: set[int] = set()

    def done(self, offer: Offer, batch: Batch) -> None:  # noqa: ARG002
        """A repair may be needed again."""
        self.failed(offer)

    def failed(self, offer: Offer) -> None:
        """A repair is still needed."""
        for command in offer.about:
            if isinstance(command, c.RestoreReplica):
                self._asked.discard(command.replica)

    def restore(self, replica: int) -> None:
        """Have a suspended replica take part again."""
        if replica not in self._asked:
            self._asked.add(replica)
            self._repairs.append(replica)

    def next_offer(self) -> Offer:
        """A repair, or money, by numbers or by names."""
        if self._repairs:
            return self._offer([c.RestoreReplica(self._repairs.popleft())])
        number, account = self._unique.next(), self._random.choice((ANN, ANN + 1, ANN + 2))
        command = c.Deposit(account, USD, CENT + number)
        if self._random.random() < 0.3:
            amount = Decimal(CENT + number).scaleb(-6)
            text = f'{{"command":"deposit","account":"{ACCOUNTS[account - ANN]}","asset":"USD","amount":"{amount}"}}'
            return self._offer([command], NamedContent([text.encode()]))
        return self._offer([command])


class Quoting(_Work):
    """A source of prices."""

    def __init__(self, name: str, scheduler: Scheduler, unique: Unique, falls_at: float) -> None:
        super().__init__(name, scheduler, unique)
        self._falls_at = falls_at
        self._price = PRICE * 10**8
        self._sequence = 1

    def next_offer(self) -> Offer | None:
        """The price now."""
        now = self._scheduler.now
        self._price = round(self._price * self._scheduler.between(0.997, 1.003))
        if now >= self._falls_at > NONE:
            self._price, self._falls_at = round(self._price * self._scheduler.between(0.76, 0.86)), NONE
        self._sequence += 1
        clock = START + int(now * 1e6) * 1_000
        return self._offer([c.quote(0, 0, BTC, self._price, clock, self._sequence)])
