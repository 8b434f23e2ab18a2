"""A made-up venue whose accounts lie closely above their maintenance margin, as the frames that its log begins with.

One market maker holds the other side of everything. Each client is long Bitcoin by a perpetual, holds some Ether and
one option, and keeps the cash that its initial margin takes and a random part of its position more. Then Bitcoin falls
in small steps until the first client is nearly at its maintenance margin: from there on each further fall reaches some.

What may not live here: the cluster, and what happens after the beginning.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from holdfast.core.fold import Fold
from holdfast.core.margins import figures_of
from holdfast.core.state import SYSTEM_ACCOUNTS
from holdfast.domain import commands as c
from holdfast.domain.errors import invariant
from holdfast.domain.frames import RECORD, RecordKind, Records, encode_frame
from holdfast.margin.presets import preset

BATCH: Final = 4_096
"""Records of a frame."""
COLD_BATCH: Final = 2_000
MAKER: Final = SYSTEM_ACCOUNTS
FIRST_CLIENT: Final = MAKER + 1
USD, BITCOIN, ETHER = 0, 1, 2
"""Numbers of the assets."""
PERPETUAL, ETHER_PERPETUAL = 3, 4
"""Numbers of the perpetuals; options follow."""
BITCOIN_PRICE, ETHER_PRICE = 50_000, 2_500
PRICE_UNIT: Final = 10**8
"""Quotes of assets are dollars in 1e-8."""
PRICE_STEPS: Final = 100
"""Price steps of a contract in a dollar."""
DOLLAR: Final = 10**6
LOTS: Final = 1_000
"""Lots of a contract in a coin."""
VOLATILITY: Final = 600_000
"""Of every option, millionths."""
EXPIRIES_DAYS, STRIKES = (30, 60), (45_000, 50_000, 55_000)
MAKER_MONEY, CLIENT_MONEY = 2 * 10**10, 10**6
"""Deposits, dollars."""
SPARE: Final = 0.3
"""A client keeps up to this share of its Bitcoin position's value beyond its initial margin."""
FALL_STEP: Final = 0.0025
NEAREST: Final = 1.01
"""The beginning ends when the nearest client's equity is below so many times its maintenance margin."""
RULES: Final = c.SetRules(
    age_maximum=12 * 3_600 * 10**9,
    mark_interval=7 * 10**16,
    mark_threshold_ppm=1_000,
    checkpoint_frames=64,
    breach_checkpoints=1,
)
"""Marks come with prices alone; the state at a breach can be proved."""

Numbers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Venue(NamedTuple):
    """The beginning of a log.

    Attributes:
        frames: From position 0 on.
        clients: How many; their numbers begin at FIRST_CLIENT.
        price: Of Bitcoin at the end, dollars.
        sequence: Of the source's last quote.
    """

    frames: list[bytes]
    clients: int
    price: float
    sequence: int


class _Desk:
    """Frames through a fold: one gateway, numbered sessions, everything accepted."""

    def __init__(self) -> None:
        self.fold, self.frames = Fold(), list[bytes]()
        self._numbers: dict[int, int] = {}

    def cold(self, session: int, commands: Sequence[c.ColdCommand]) -> int:
        """Send commands; what the first made."""
        return self._sent(*c.cold_records(commands, session, self._number(session, len(commands))))

    def hot(self, session: int, records: Records) -> None:
        """Send records of a session, some at a time."""
        for some in range(0, len(records), BATCH):
            batch = records[some : some + BATCH].copy()
            first = self._number(session, len(batch))
            batch["session"], batch["number"] = session, np.arange(first, first + len(batch))
            self._sent(batch, b"")

    def _sent(self, records: Records, blob: bytes) -> int:
        frame = encode_frame(0, len(self.frames) + 1, records, blob)
        self.frames.append(frame)
        outcomes = self.fold.apply(frame).outcomes
        refused = np.flatnonzero(outcomes["reason"])
        invariant(not len(refused), f"the beginning was refused: {outcomes[refused[:1]]}")
        return int(outcomes["made"][0])

    def _number(self, session: int, count: int) -> int:
        first = self._numbers.get(session, 0) + 1
        self._numbers[session] = first + count - 1
        return first if session else 0


def make_venue(
    accounts: int, seed: int, replicas: Sequence[c.DefineReplica], now: int, *, spare: float = SPARE
) -> Venue:
    """Make a venue.

    Args:
        accounts: Of clients.
        seed: Of what they hold.
        replicas: Of the cluster, in the order of their numbers.
        now: Logical time at its beginning, ns.
        spare: Up to which share of its Bitcoin position's value a client keeps beyond its initial margin.
    """
    desk, random = _Desk(), np.random.default_rng(seed)
    operator = desk.cold(0, [c.OpenSession("operator")])
    names = _define(desk, operator, replicas, now)
    source, replica = desk.cold(0, [c.OpenSession("source")]), desk.cold(0, [c.OpenSession("replica")])
    desk.cold(replica, [c.Tick(0, now)])
    quotes = _Quotes(desk, source, now)
    quotes.say({BITCOIN: BITCOIN_PRICE * PRICE_UNIT, ETHER: ETHER_PRICE * PRICE_UNIT})
    quotes.say({ETHER_PERPETUAL + 1 + n: VOLATILITY for n in range(len(names))})
    desk.cold(operator, [c.Mark(BITCOIN), c.Mark(ETHER)])
    for some in range(0, accounts + 1, COLD_BATCH):
        numbers = range(MAKER + some, MAKER + min(some + COLD_BATCH, accounts + 1))
        desk.cold(operator, [c.OpenAccount(0) for _ in numbers])
        money = [(MAKER_MONEY if number == MAKER else CLIENT_MONEY) * DOLLAR for number in numbers]
        desk.cold(operator, [c.Deposit(number, USD, amount) for number, amount in zip(numbers, money, strict=True)])
    client = desk.cold(0, [c.OpenSession("client", kept=64)])
    clients = np.arange(FIRST_CLIENT, FIRST_CLIENT + accounts)
    lots = random.integers(100, 1_000, accounts)
    for records in _positions(desk.fold, clients, lots, len(names), random):
        desk.hot(client, records)
    desk.hot(client, _spare_cash(desk.fold, clients, lots, spare * random.uniform(size=accounts)))
    return Venue(desk.frames, accounts, _fall(desk.fold, clients, quotes), quotes.sequence)


class _Quotes:
    """The one source of prices."""

    def __init__(self, desk: _Desk, session: int, now: int) -> None:
        self._desk, self._session, self._now, self.sequence = desk, session, now, 0

    def say(self, prices: dict[int, int]) -> None:
        """Quote items, each with its price."""
        records = []
        for item, price in prices.items():
            self.sequence += 1
            records.append(c.quote(0, 0, item, price, self._now, self.sequence))
        self._desk.hot(self._session, np.concatenate(records))


def _define(desk: _Desk, operator: int, replicas: Sequence[c.DefineReplica], now: int) -> list[str]:
    """Definitions; the names of the options."""
    start = datetime.fromtimestamp(now / 1e9, tz=UTC)
    days = [start + timedelta(days=ahead) for ahead in EXPIRIES_DAYS]
    names = [f"BTC_USD-{day.day}{day:%b%y}-{strike}-C".upper() for day in days for strike in STRIKES]
    contracts = ["BTC_USD-PERPETUAL", "ETH_USD-PERPETUAL", *names]
    desk.cold(operator, [c.DefineAsset("USD", 6), c.DefineAsset("BTC", 8), c.DefineAsset("ETH", 9)])
    desk.cold(operator, [c.DefineModel("portfolio", preset("portfolio")), RULES, c.DefineSource("prices"), *replicas])
    desk.cold(operator, [c.DefineInstrument(name, "0.001", 2) for name in contracts])
    return names


def _positions(
    fold: Fold, clients: Numbers, lots: Numbers, options: int, random: np.random.Generator
) -> Iterator[Records]:
    """First trades of all clients with the maker, at the mark: `lots` of Bitcoin's perpetual, and some of others."""
    count = len(clients)
    yield _trades(clients, np.full(count, PERPETUAL), lots, BITCOIN_PRICE * PRICE_STEPS)
    ether = random.integers(1, 400, count) * random.choice([-1, 1], count)
    yield _trades(clients, np.full(count, ETHER_PERPETUAL), ether, ETHER_PRICE * PRICE_STEPS)
    chosen = random.integers(0, options, count) + ETHER_PERPETUAL + 1
    few = random.integers(1, 20, count) * random.choice([-1, 1], count)
    yield _trades(clients, chosen, few, _marks(fold)[chosen])


def _marks(fold: Fold) -> Numbers:
    """Each item's value at the mark in price steps, at least 1."""
    table, registry = fold.machine.marked.tables[0], fold.machine.registry
    values = np.zeros(len(registry.items))
    for instrument, line in table.line_of_instrument.items():
        values[registry.numbers[instrument.name]] = table.arrays.today[line]
    return np.maximum(1, np.round(values * PRICE_STEPS)).astype(np.int64)


def _trades(clients: Numbers, items: Numbers, lots: Numbers, prices: Numbers | int) -> Records:
    records: Records = np.zeros(len(clients), RECORD)
    records["kind"], records["account"], records["other"] = RecordKind.TRADE, clients, MAKER
    records["instrument"], records["quantity"], records["price"] = items, lots, prices
    return records


def _spare_cash(fold: Fold, clients: Numbers, lots: Numbers, spare: Floats) -> Records:
    """Transfers to the maker of what each client does not keep; `spare` is a share of its Bitcoin position's value."""
    state = fold.machine.state
    equity, initial, _ = figures_of(state, fold.machine.marked.arrays, clients).T
    value = lots / LOTS * BITCOIN_PRICE
    kept = initial * 1.002 + spare * value
    records: Records = np.zeros(len(clients), RECORD)
    records["kind"], records["account"], records["other"] = RecordKind.TRANSFER, clients, MAKER
    records["instrument"], records["quantity"] = USD, np.floor((equity - kept) * DOLLAR).astype(np.int64)
    return records


def _fall(fold: Fold, clients: Numbers, quotes: _Quotes) -> float:
    """Let Bitcoin fall until the nearest client is near; its price then, dollars."""
    price = float(BITCOIN_PRICE)
    while True:
        equity, _, maintenance = figures_of(fold.machine.state, fold.machine.marked.arrays, clients).T
        nearest = float((equity / maintenance).min())
        invariant(nearest >= 1.0, f"the beginning left a client at {nearest:.3f} of its maintenance margin")
        if nearest < NEAREST:
            return price
        price -= BITCOIN_PRICE * FALL_STEP * min(1.0, max(0.1, (nearest - 1.0) * 10.0))
        quotes.say({BITCOIN: round(price * PRICE_UNIT)})
