"""The commands that bring a window of the market and its population to an engine.

What lives here: turning `stress`'s plain tuples (deposits, trades, quotes, orders) into commands of numbered items,
accounts and price steps. What may not: sending, and what is traded.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from holdfast.core.state import INSURANCE, SYSTEM_ACCOUNTS
from holdfast.domain import commands
from holdfast.domain.commands import ColdCommand
from holdfast.domain.frames import RECORD, RecordKind, Records
from holdfast.domain.instruments import Kind, lot
from holdfast.domain.names import parse_instrument
from holdfast.domain.units import asset
from holdfast.margin.presets import preset
from holdfast.stress.flow import CancelOrder, MakeTrade, PlaceOrder
from holdfast.stress.market import MarketPath, Step
from holdfast.stress.population import Population
from holdfast.stress.sources import SOURCES, Quotes
from holdfast.stress.venue import ASSETS, Venue

DOLLARS = "USD"
FIRST_ASSET = 1
"""Item 0 is the dollar, which nobody quotes."""
INDEX_SCALE, VOLATILITY_SCALE = 10**8, 10**6
FEE_PPM, LIQUIDATION_FEE_PPM = 500, 5_000
"""Half a thousandth of each side of a trade; five thousandths of a liquidation's fills to the insurance fund."""
RULES = commands.SetRules(
    age_maximum=60 * 10**9,
    sources_minimum=3,
    outlier_ppm=100_000,
    mark_interval=10**9,
    mark_threshold_ppm=250_000,
    step_maximum=24 * 3600 * 10**9,
    checkpoint_frames=1_024,
)
"""Three fresh sources of five make a price. Marks come with the ticks after each step's quotes; between them only a
move of a quarter would."""


class Numbers:
    """Item numbers and price steps of a venue's contracts.

    Attributes:
        venue: The contracts.
        items: [assets + instruments] item number of what sources quote.
        decimals: [instruments] of prices.
    """

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.items = np.arange(FIRST_ASSET, FIRST_ASSET + len(venue.items))
        self.first_contract = FIRST_ASSET + len(ASSETS)
        self.decimals = np.array([_decimals(name) for name in venue.instruments])
        contract_scale = np.where(venue.is_option, VOLATILITY_SCALE, 10.0**self.decimals)
        self.quote_scale = np.concatenate(([INDEX_SCALE] * len(ASSETS), contract_scale))
        self.price_scale = 10.0**self.decimals

    def steps(self, instrument: int, price: float) -> int:
        """A price as whole steps, at least one."""
        return max(1, round(price * float(self.price_scale[instrument])))


def _decimals(name: str) -> int:
    """Of prices: dollars in cents; coins, for options that are paid in them, in millionths."""
    instrument = parse_instrument(name)
    return 6 if instrument.kind is Kind.OPTION and instrument.inverse else 2


def definitions(venue: Venue, models: Sequence[str]) -> list[ColdCommand]:
    """Everything to define before there is a price."""
    found: list[ColdCommand] = [commands.DefineAsset(name, asset(name).decimals) for name in (DOLLARS, *ASSETS)]
    for name in venue.instruments:
        lots = str(lot(parse_instrument(name)))
        found.append(commands.DefineInstrument(name, lots, _decimals(name), FEE_PPM, LIQUIDATION_FEE_PPM))
    found += [commands.DefineSource(name) for name in SOURCES]
    found += [commands.DefineModel(name, preset(name)) for name in models]
    return [*found, RULES]


def openings(population: Population, models: Sequence[str], only: str | None) -> list[ColdCommand]:
    """The accounts, under their models or all under one."""
    names = ("standard", "portfolio")
    numbers = [models.index(only or names[model]) for model in population.model.tolist()]
    return [commands.OpenAccount(number) for number in numbers]


def deposits(population: Population) -> list[ColdCommand]:
    """Everybody's money, the insurance fund's first."""
    found: list[ColdCommand] = [
        commands.Deposit(INSURANCE, FIRST_ASSET + n, units)
        for n, units in enumerate(population.insurance.tolist())
        if units
    ]
    for account, row in enumerate(population.deposits.tolist(), SYSTEM_ACCOUNTS):
        found += [commands.Deposit(account, FIRST_ASSET + n, units) for n, units in enumerate(row) if units]
    return found


def first_trades(population: Population, numbers: Numbers, step: Step, session: int) -> Records:
    """The population's positions, bought and sold at the mark."""
    trades = population.trades
    records = np.zeros(len(trades.lots), RECORD)
    records["kind"], records["session"] = RecordKind.TRADE, session
    records["account"], records["other"] = trades.account + SYSTEM_ACCOUNTS, trades.maker + SYSTEM_ACCOUNTS
    records["instrument"] = trades.instrument + numbers.first_contract
    records["quantity"] = trades.lots
    prices = np.nan_to_num(step.price) * numbers.price_scale
    records["price"] = np.maximum(1, np.round(prices)).astype(np.int64)[trades.instrument]
    return records


def quotes(batch: Quotes, numbers: Numbers, sessions: Sequence[int], number: int) -> Records:
    """A step's quotes of all sources; the step's number is their sequence."""
    alive = np.isfinite(batch.price)
    source, item = batch.source[alive], batch.item[alive]
    records = np.zeros(len(item), RECORD)
    records["kind"], records["session"] = RecordKind.QUOTE, np.array(sessions, np.uint64)[source]
    records["instrument"] = numbers.items[item]
    records["price"] = np.maximum(1, np.round(batch.price[alive] * numbers.quote_scale[item])).astype(np.int64)
    records["time"], records["quantity"] = batch.time_ns[alive], number + 1
    return records


_FIELDS = ("kind", "account", "other", "instrument", "quantity", "price", "time")
"""The fields of a record that orders, cancels and trades use."""


class OrderBook:
    """Which order number each reference of the flow got."""

    def __init__(self, numbers: Numbers, session: int) -> None:
        self._numbers, self._session = numbers, session
        self._open: dict[int, tuple[int, int]] = {}

    def records(self, flow: Iterable[PlaceOrder | CancelOrder | MakeTrade]) -> tuple[Records, list[int]]:
        """A step's commands, and the reference of each that places an order (−1 for the others)."""
        rows, references = [], []
        for one in flow:
            row = self._row(one)
            if row is not None:
                rows.append(row)
                references.append(one.reference if isinstance(one, PlaceOrder) else -1)
        records: Records = np.zeros(len(rows), RECORD)
        if rows:
            for name, column in zip(_FIELDS, zip(*rows, strict=True), strict=True):
                records[name] = column
        records["session"] = self._session
        return records, references

    def _row(self, one: PlaceOrder | CancelOrder | MakeTrade) -> tuple[int, ...] | None:
        """Values of _FIELDS; None for a cancel of what was never placed."""
        if isinstance(one, CancelOrder):
            account, number = self._open.pop(one.reference, (0, 0))
            return (RecordKind.CANCEL, account, 0, 0, 0, 0, number) if number else None
        item = one.instrument + self._numbers.first_contract
        price = self._numbers.steps(one.instrument, one.price)
        account = one.account + SYSTEM_ACCOUNTS
        if isinstance(one, PlaceOrder):
            self._open[one.reference] = account, 0
            return RecordKind.ORDER, account, 0, item, one.lots, price, 0
        return RecordKind.TRADE, account, one.maker + SYSTEM_ACCOUNTS, item, one.lots, price, 0

    def learn(self, references: Sequence[int], made: Sequence[int]) -> None:
        """Note the numbers that orders got; 0 where one was refused."""
        for reference, number in zip(references, made, strict=True):
            if reference >= 0 and number:
                self._open[reference] = self._open[reference][0], number
            elif reference >= 0:
                del self._open[reference]


def kill_step(path: MarketPath) -> int:
    """The step of the lowest price: the worst moment to die."""
    prices = [path.at(n).index_price for n in range(path.steps)]
    return int(np.argmin(prices))
