"""What clients send and ask: no two commands of a run say the same, so that the log shows which call each one was.

A transfer carries a number of its own in its amount, a trade and an order in their price; a cancellation names an
order, which is cancelled once. Everything moves between accounts of the run, so that nothing comes or goes.
What lives here: the choice. What may not: sending.
"""

import random
from collections import deque
from decimal import Decimal
from typing import Any, Final, NamedTuple

import msgspec

from holdfast.chaos.journal import Said
from holdfast.domain import commands as c
from holdfast.domain.frames import RecordKind, Records

PRICE: Final = 10_000
"""Of a coin, dollars."""
PRICE_UNIT: Final = 100_000
"""Of the contract's price steps in a dollar."""
SERIAL_BITS: Final = 21
"""Of a number: the rest says which client it is of."""
CLIENTS_MAXIMUM: Final = 15
BEYOND: Final = 1 << 55
"""More money than any account has."""
DOLLAR_DECIMALS: Final = 6
OPEN_ORDERS: Final = 20


class World(msgspec.Struct, frozen=True):
    """What all clients know.

    Attributes:
        accounts: Their numbers.
        names: Their names, in the same order.
        dollar: Item number of the asset.
        contract: Item number of the contract.
    """

    accounts: tuple[int, ...]
    names: tuple[str, ...]
    dollar: int
    contract: int


class Question(NamedTuple):
    """What is asked, and how fresh the answer must be.

    Attributes:
        what: See `domain.messages.Read`.
        arguments: Of the question.
        own: Whether the answer must reflect the client's own writes.
        staleness_s: How old the answer may be; None for any.
    """

    what: str
    arguments: dict[str, Any]
    own: bool
    staleness_s: float | None


_STALENESS_S: Final = (0.5, 1.0, 2.0)


class Workload:
    """The choices of one client."""

    def __init__(self, world: World, client: int, seed: int) -> None:
        """A client's choices.

        Args:
            world: What there is.
            client: Its number, from 0.
            seed: Of the choices.
        """
        self._world, self._base = world, (client + 1) << SERIAL_BITS
        self._random = random.Random(f"{seed} {client}")  # noqa: S311 (a workload)
        self._serial = 0
        self._orders: deque[tuple[int, int]] = deque()

    def burst(self) -> list[Records]:
        """A few commands to be sent together."""
        return [self._command() for _ in range(self._random.choice((1, 1, 2, 3, 8)))]

    def named(self) -> tuple[dict[str, Any], Records]:
        """A transfer in names and main units, and the record that it becomes."""
        record = self._transfer()
        names = dict(zip(self._world.accounts, self._world.names, strict=True))
        fields = {
            "account": names[int(record["account"][0])],
            "other": names[int(record["other"][0])],
            "asset": "USD",
            "amount": str(Decimal(int(record["quantity"][0])).scaleb(-DOLLAR_DECIMALS)),
        }
        return fields, record

    def is_named(self) -> bool:
        """Whether the next commands are given by names."""
        return self._random.random() < 0.1

    def ordered(self, said: Said, made: int) -> None:
        """An order was accepted under a number; it may be cancelled from now on."""
        if said[0] == RecordKind.ORDER:
            self._orders.append((said[1], made))

    def question(self, *, is_bounded: bool) -> Question:
        """What to ask next, with a bound on how old the answer may be or without."""
        what = self._random.choice(("account", "account", "margin", "conservation", "root"))
        account = self._random.choice(self._world.names)
        arguments = {"account": account} if what in ("account", "margin") else {}
        staleness_s = self._random.choice(_STALENESS_S) if is_bounded else None
        return Question(what, arguments, self._random.random() < 0.5, staleness_s)

    def pause_s(self, mean_s: float) -> float:
        """How long to wait before the next."""
        return min(self._random.expovariate(1 / mean_s), 5 * mean_s)

    def _command(self) -> Records:
        if len(self._orders) > OPEN_ORDERS:
            return c.cancel(0, 0, *self._orders.popleft())
        draw = self._random.random()
        if draw < 0.5:
            return self._transfer(BEYOND if draw < 0.03 else 0)
        account, other = self._pair()
        price = PRICE * PRICE_UNIT + self._next()
        if draw < 0.8:
            lots = self._random.choice((-3, -1, 1, 3))
            return c.trade(0, 0, account, other, self._world.contract, lots, price)
        return c.order(0, 0, account, self._world.contract, 1, price)

    def _transfer(self, more: int = 0) -> Records:
        return c.transfer(0, 0, *self._pair(), self._world.dollar, self._next() + more)

    def _pair(self) -> tuple[int, int]:
        one, other = self._random.sample(self._world.accounts, 2)
        return one, other

    def _next(self) -> int:
        self._serial += 1
        return self._base + self._serial


_FIELDS = ("kind", "account", "other", "instrument", "quantity", "price", "time")


def said_of(record: Any) -> Said:
    """What a hot record says."""
    kind, account, other, item, quantity, price, time = (int(record[name]) for name in _FIELDS)
    return kind, account, other, item, quantity, price, time
