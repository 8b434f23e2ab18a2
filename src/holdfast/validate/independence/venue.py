"""A venue for the bank of inputs: a real fold that is given definitions, prices and marks by frames.

Definitions, quotes, ticks and marks are commands of a log. Rows and open orders are written beside it, through the
ledger's own door, because a log would refuse most of what the bank wants: accounts far below their margin, equity equal
to maintenance margin to the unit. What an account gets the outside world gives, so every sum stays zero.

What lives here: the venue and its contracts. What may not: which accounts and markets are worth trying (`accounts`,
`bank`).
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from holdfast.core import ledger, posting
from holdfast.core.cold.accounts import new_account
from holdfast.core.fold import Fold
from holdfast.core.snapshot import content_of
from holdfast.core.state import WORLD, Account, Counter, Item, Open
from holdfast.domain import commands as c
from holdfast.domain.errors import invariant
from holdfast.domain.frames import Records, encode_frame
from holdfast.domain.outcomes import Outcomes
from holdfast.domain.parameters import AnyParameters
from holdfast.domain.signatures import public_key_of
from holdfast.domain.snapshots import PartContent
from holdfast.domain.units import Rounding, multiply_divide

SECOND = 10**9
DAY = 86_400 * SECOND
NEAR = 1_601_020_800 * SECOND
"""2020-09-25T08:00Z, the first expiry."""
START = NEAR - 60 * DAY
DECIMALS = {"USD": 6, "USDC": 6, "BTC": 8, "ETH": 9}
FEE_PPM = 500


class Contract(NamedTuple):
    """How a contract is defined: its lot as a decimal text, and price decimals."""

    lot: str
    decimals: int

    @property
    def steps(self) -> int:
        """Price steps in one unit of the quote currency."""
        return int(10**self.decimals)


CONTRACTS = {
    "BTC-PERPETUAL": Contract("10", 2), "BTC_USDC-PERPETUAL": Contract("0.001", 2), "BTC-25SEP20": Contract("10", 2),
    "BTC_USDC-30OCT20": Contract("0.002", 2), "BTC-25SEP20-10000-C": Contract("0.1", 4),
    "BTC-25SEP20-10000-P": Contract("0.1", 4), "BTC-25SEP20-9000-P": Contract("0.1", 4),
    "BTC_USDC-25SEP20-10000-C": Contract("0.1", 2), "BTC_USDC-25SEP20-11000-P": Contract("0.1", 2),
    "BTC-30OCT20-11000-C": Contract("0.1", 4), "BTC-30OCT20-11000-P": Contract("0.25", 4),
    "ETH-PERPETUAL": Contract("5", 2), "ETH_USDC-PERPETUAL": Contract("0.01", 2),
    "ETH_USDC-30OCT20": Contract("0.01", 2), "ETH_USDC-25SEP20-400-P": Contract("1", 2),
    "ETH_USDC-30OCT20-380-C": Contract("1", 2), "ETH-25SEP20-400-C": Contract("1", 4),
    "ETH-25SEP20-420-C": Contract("1", 4),
}  # fmt: skip


def is_option(name: str) -> bool:
    """Whether a contract of CONTRACTS is an option."""
    return name.endswith(("-C", "-P"))


def is_inverse(name: str) -> bool:
    """Whether a contract of CONTRACTS is settled in its coin."""
    return "_" not in name


class Venue:
    """A fold with the items of the bank and three models.

    Attributes:
        fold: The first engine's state.
        items: Item numbers by name.
        parameters: Of the three models.
    """

    def __init__(self, parameters: tuple[AnyParameters, ...]) -> None:
        self.fold = Fold()
        self.items: dict[str, int] = {}
        self.parameters = parameters
        self._numbers: dict[int, int] = {}
        self._frame = self._sequence = 0
        self._operator = self._open("operator")
        self._ok(c.DefineSource("source"), c.DefineReplica("replica", public_key_of(bytes(32))))
        self._source, self._replica = self._open("source"), self._open("replica")
        self._ok(c.SetRules(step_maximum=400 * DAY, checkpoint_frames=0))
        self.tick(START)
        self._define()

    def _define(self) -> None:
        for name, decimals in DECIMALS.items():
            self.items[name] = self._ok(c.DefineAsset(name, decimals))[0]
        for name, contract in CONTRACTS.items():
            definition = c.DefineInstrument(name, contract.lot, contract.decimals, FEE_PPM, FEE_PPM)
            self.items[name] = self._ok(definition)[0]
        for number, one in enumerate(self.parameters):
            self._ok(c.DefineModel(f"model-{number}", one))

    def tick(self, time: int) -> None:
        """Let logical time reach `time`, ns."""
        self._sent(self._replica, c.Tick(0, time))

    def price(self, prices: Mapping[str, int]) -> None:
        """Quote items, in their quotes' units, and mark all underlyings."""
        for name, price in prices.items():
            self._sequence += 1
            self._hot(c.quote, self.items[name], price, self.fold.time, self._sequence)
        self._ok(*(c.Mark(self.items[name]) for name in ("BTC", "ETH", "USDC")))

    def account(self, model: int) -> int:
        """A new account under a model."""
        number = int(self.fold.machine.state.counters[Counter.ACCOUNTS])
        new_account(self.fold.machine, model)
        return number

    def give(self, account: int, asset: str, units: int) -> None:
        """Give an account so many units of an asset, below 0 to take."""
        self._post(account, ((self.items[asset], units, 0),))

    def hold(self, account: int, name: str, lots: int, price: int) -> None:
        """Give an account a position entered at a price in steps (LED-5), without a fee."""
        item = self.items[name]
        cost = self.cost(name, lots, price)
        self._post(account, ((item, lots, cost), (self._settlement(item), 0, cost)))

    def cost(self, name: str, lots: int, price: int) -> int:
        """The cost of LED-5, settlement units."""
        row = self.fold.machine.state.items[self.items[name]]
        numerator, denominator = int(row[Item.COST_NUMERATOR]), int(row[Item.COST_DENOMINATOR])
        if is_inverse(name) and not is_option(name):
            return multiply_divide(-lots, numerator, price, Rounding.HALF_EVEN)
        return multiply_divide(lots * numerator, price, denominator, Rounding.HALF_EVEN)

    def order(self, account: int, name: str, lots: int, price: int) -> None:
        """Give an account an open order, its newest."""
        self.fold.machine.make_room()
        state = self.fold.machine.state
        row, slot = state.accounts[account], int(state.counters[Counter.ORDER_SLOTS])
        row[Account.ORDER_LAST] += 1
        row[Account.ORDER_COUNT] += 1
        columns = [Open.ACCOUNT, Open.ITEM, Open.REMAINING, Open.PRICE, Open.NUMBER, Open.COMMAND, Open.NEXT]
        number, command = row[Account.ORDER_LAST], slot + 1
        state.orders[slot, columns] = account, self.items[name], lots, price, number, command, row[Account.ORDERS]
        row[Account.ORDERS] = slot
        state.counters[Counter.ORDER_SLOTS] = slot + 1

    def parts(self) -> tuple[int, dict[str, PartContent]]:
        """The position and the parts of a snapshot of the state as it is: what the second engine starts from."""
        header, parts = content_of(self.fold)
        return header.position, parts

    def _settlement(self, item: int) -> int:
        return int(self.fold.machine.state.items[item, Item.SETTLEMENT])

    def _post(self, account: int, entries: tuple[tuple[int, int, int], ...]) -> None:
        machine = self.fold.machine
        machine.make_room((account, WORLD))
        for item, amount, cost in entries:
            posting.enter(machine, account, item, amount, cost)
            posting.enter(machine, WORLD, item, -amount, -cost)
        reason = posting.post_all(machine)
        invariant(not reason, f"the bank's entry {entries} of account {account} was refused: {reason.name}")
        ledger.commit_entries(machine.state)

    def _open(self, role: str) -> int:
        return int(self._sent(0, c.OpenSession(role, 0))["made"][0])

    def _ok(self, *commands: c.ColdCommand) -> list[int]:
        return [int(self._sent(self._operator, command)["made"][0]) for command in commands]

    def _number(self, session: int) -> int:
        self._numbers[session] = self._numbers.get(session, 0) + 1
        return self._numbers[session]

    def _sent(self, session: int, command: c.ColdCommand) -> Outcomes:
        number = 0 if isinstance(command, c.OpenSession) else self._number(session)
        data = c.encode_cold(command)
        return self._apply(c.cold_record(session, number, 0, len(data)), data)

    def _hot(self, make: Callable[..., Records], *fields: int) -> None:
        self._apply(make(self._source, self._number(self._source), *fields), b"")

    def _apply(self, records: Records, data: bytes) -> Outcomes:
        self._frame += 1
        outcomes = self.fold.apply(encode_frame(0, self._frame, records, data)).outcomes
        invariant(not outcomes["reason"].any(), f"the bank's frame {self._frame} was refused: {outcomes['reason']}")
        return outcomes
