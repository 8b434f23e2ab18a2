"""What the benchmarks work on: made-up venues, the same on every machine."""

import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from holdfast.bench.options import DAYS, TODAY
from holdfast.domain.instruments import Instrument, Kind, expiry_on
from holdfast.domain.market import Expiry, Market, Price, Underlying
from holdfast.margin import presets
from holdfast.margin.build import build_table, runs_of, strikes_of
from holdfast.margin.fields import mark_shortcuts
from holdfast.margin.table import (
    Arrays,
    AssetField,
    Floats,
    GroupField,
    Integers,
    LineField,
    LineTag,
    ModelField,
    Multiplier,
    RiskTable,
    TierField,
    UnderlyingField,
    cache_aligned,
)

INSTRUMENTS, UNDERLYINGS, GROUPS_PER_UNDERLYING, SCENARIOS = 1_200, 4, 8, 32
MEAN_POSITIONS = 20
INITIAL_FACTOR = 1.3
SEED = 1
COINS = {"BTC": (50_000.0, ("BTC", "USDC")), "ETH": (2_000.0, ("USDC",)), "SOL": (150.0, ("USDC",))}
"""Index prices and settlement assets of the contracts of the preset's venue."""
CASH, CASH_DEVIATION = ("BTC", "USD", "USDC"), 1_000.0
STRIKES_EACH_SIDE, STRIKE_STEP = 9, 0.04


class Population(NamedTuple):
    """Accounts as the kernel sweeps them.

    Attributes:
        pointer: [accounts + 1] first position of each.
        line: [positions] ascending within each account.
        quantity: [positions].
    """

    pointer: NDArray[np.int64]
    line: Integers
    quantity: Floats

    @property
    def accounts(self) -> int:
        """How many there are."""
        return len(self.pointer) - 1


def population(accounts: int) -> Population:
    """Accounts with a Poisson number of positions, mean 20 and at least 1, of independent normal quantities."""
    random = np.random.default_rng(SEED)
    counts = random.poisson(MEAN_POSITIONS, accounts).clip(1)
    # Sorting one integer per position, in place, keeps the peak of memory low.
    key = np.repeat(np.arange(accounts), counts)
    key *= INSTRUMENTS
    key += random.integers(0, INSTRUMENTS, key.size)
    key.sort()
    key %= INSTRUMENTS
    line = key.astype(np.int32)
    del key
    return Population(np.concatenate([[0], counts.cumsum()]), line, random.standard_normal(line.size))


def arrays_of_venue(*, with_multipliers: bool) -> Arrays:
    """A risk table of random numbers: 1,200 lines in 4 × 8 groups, 32 scenarios, worst reduction, one asset."""
    random = np.random.default_rng(SEED)
    groups = UNDERLYINGS * GROUPS_PER_UNDERLYING
    group = (np.arange(INSTRUMENTS) * groups // INSTRUMENTS).astype(np.int32)
    underlying = (group // GROUPS_PER_UNDERLYING).astype(np.int32)
    today = 100.0 * random.standard_normal(INSTRUMENTS)
    values = today[:, None] + random.standard_normal((INSTRUMENTS, SCENARIOS))
    multipliers = np.ones((groups, len(Multiplier), SCENARIOS))
    if with_multipliers:
        multipliers = random.uniform(0.9, 1.1, multipliers.shape)
    lines = np.zeros((INSTRUMENTS, len(LineField)))
    lines[:, LineField.TODAY] = lines[:, LineField.IN_ASSET] = today
    tags = np.zeros((INSTRUMENTS, len(LineTag)), np.int32, order="F")
    tags[:, LineTag.GROUP], tags[:, LineTag.UNDERLYING] = group, underlying
    tags[:, LineTag.RUN] = runs_of(group, underlying, multipliers)
    tags[:, LineTag.STRIKE] = strikes_of(group, lines[:, LineField.STRIKE])
    model = np.zeros(len(ModelField))
    model[ModelField.INITIAL_FACTOR], model[ModelField.MAINTENANCE_FACTOR] = INITIAL_FACTOR, 1.0
    model[ModelField.SCENARIOS] = SCENARIOS
    assets = np.zeros((1, AssetField.FIRST_TIER + len(TierField)))
    assets[0, AssetField.PRICE] = 1.0
    groups_fields, underlyings = np.zeros((groups, len(GroupField))), np.zeros((UNDERLYINGS, len(UnderlyingField)))
    mark_shortcuts(model, multipliers, lines, groups_fields, underlyings)
    return Arrays(
        values=cache_aligned(values),
        basis=np.zeros((INSTRUMENTS, 0)),
        multipliers=cache_aligned(multipliers),
        lines=cache_aligned(lines),
        tags=tags,
        group_ends=_ends(group, groups),
        underlying_ends=_ends(underlying, UNDERLYINGS),
        groups=groups_fields,
        underlyings=underlyings,
        assets=assets,
        model=model,
        today=today,
    )


def preset_table() -> RiskTable:
    """The risk table of the packaged model `portfolio` on the options, futures and perpetuals of three coins."""
    held, underlyings = [], {}
    expiries = [expiry_on(TODAY + datetime.timedelta(days=days)) for days in DAYS]
    for coin, (index, settlements) in COINS.items():
        contracts = [i for asset in settlements for i in _contracts(coin, index, asset, expiries)]
        held += contracts
        underlyings[coin] = Underlying(
            index=Price(index),
            marks={i.name: Price(index) for i in contracts if i.kind is not Kind.OPTION},
            expiries={at: Expiry(forward=index) for at in expiries},
            volatilities={i.name: 0.6 for i in contracts if i.kind is Kind.OPTION},
        )
    market = Market(time=expiry_on(TODAY), underlyings=underlyings, assets={"USDC": Price(1.0)}, numeraire="USD")
    return build_table(presets.portfolio(), market, held, CASH)


def _contracts(coin: str, index: float, asset: str, expiries: list[int]) -> list[Instrument]:
    """A perpetual, and for each expiry a future and calls and puts at strikes around the index."""
    quote = "USD" if asset == coin else asset
    found = [Instrument(Kind.PERPETUAL, coin, quote, asset)]
    for at in expiries:
        found.append(Instrument(Kind.FUTURE, coin, quote, asset, at))
        for step in range(-STRIKES_EACH_SIDE, STRIKES_EACH_SIDE + 1):
            strike = index * (1.0 + STRIKE_STEP * step)
            found += [Instrument(Kind.OPTION, coin, quote, asset, at, strike, is_call) for is_call in (True, False)]
    return found


def preset_population(table: RiskTable, accounts: int) -> Population:
    """Accounts with cash in every asset of the table and contracts besides, `MEAN_POSITIONS` lines in the mean."""
    random, lines = np.random.default_rng(SEED), len(table.line_names)
    cash = np.array(sorted(table.line_of_asset.values()))
    traded = np.array(sorted(table.line_of_instrument.values()))
    counts = random.poisson(MEAN_POSITIONS - len(cash), accounts).clip(1)
    key = np.repeat(np.arange(accounts), counts) * lines
    key += traded[random.integers(0, len(traded), key.size)]
    key = np.unique(np.concatenate([key, (np.arange(accounts)[:, None] * lines + cash).ravel()]))
    owner, line = np.divmod(key, lines)
    quantity = random.standard_normal(line.size)
    quantity[np.isin(line, cash)] *= CASH_DEVIATION
    pointer = np.searchsorted(owner, np.arange(accounts + 1))
    return Population(pointer.astype(np.int64), line.astype(np.int32), quantity)


def _ends(tag: Integers, count: int) -> Integers:
    return np.searchsorted(tag, np.arange(count), side="right").astype(np.int32)
