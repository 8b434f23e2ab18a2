"""Marks: freezing prices, rebuilding the risk tables from them, and looking at every account that they touch.

A mark freezes the prices of one underlying and everything on it under a new price id; tables are a function of the
frozen prices, the parameters and the logical time. Prices of an item: of an asset, its dollar index; of a perpetual or
future, its mark, or its underlying's index while nobody quotes it; of an option, its volatility. An item without a
price has no line. What may not live here: quotes (`quotes`), what happens to an account below (`liquidation`).
Specification: specs/marks.md.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
import numpy as np

from holdfast.core.margins import Tables, relabel_all, sweep, tables_of
from holdfast.core.registry import Registry
from holdfast.core.state import (
    INSURANCE,
    MODELS_MAXIMUM,
    NONE,
    SYSTEM_ACCOUNTS,
    Counter,
    Counts,
    Form,
    Item,
    Price,
    State,
)
from holdfast.domain import market as markets
from holdfast.domain.errors import invariant
from holdfast.domain.instruments import Instrument, Kind
from holdfast.domain.market import DOLLAR, Market, Underlying
from holdfast.domain.parameters import AnyParameters, StandardParameters
from holdfast.margin.build import build_table
from holdfast.margin.table import RiskTable

VOLATILITY_UNIT = 1_000_000
"""Quotes of options are volatilities in millionths."""
PRICE_DECIMALS_OF_INDEX = 8
"""Quotes of assets are dollars in 1e-8."""

invariant(INSURANCE < SYSTEM_ACCOUNTS, "the insurance fund is a system account")


class Marked(NamedTuple):
    """What the frozen prices make.

    Attributes:
        market: The market at the mark.
        tables: One risk table per model.
        arrays: The same for compiled code, filled up to MODELS_MAXIMUM.
    """

    market: Market
    tables: tuple[RiskTable, ...]
    arrays: Tables


def market_of(state: State, registry: Registry, time: int | None = None) -> Market:
    """The market that the frozen prices make at a time, ns; at the logical time where none is given."""
    prices = state.prices[:, Price.MARKED].tolist()
    held: dict[str, list[tuple[int, Instrument]]] = {}
    for number, definition in enumerate(registry.items):
        if definition.instrument is not None and state.items[number, Item.OPEN]:
            held.setdefault(definition.instrument.underlying, []).append((number, definition.instrument))
    # An asset is an underlying even where no contract is on it: as collateral it may move with its own index.
    underlyings = {}
    for number, definition in enumerate(registry.items):
        if definition.instrument is None and prices[number] and definition.name != DOLLAR:
            price = markets.Price(prices[number] / 10**PRICE_DECIMALS_OF_INDEX)
            underlyings[definition.name] = _underlying(registry, prices, price, held.get(definition.name, []))
    return Market(_time_of_tables(state, registry) if time is None else time, underlyings)


def _time_of_tables(state: State, registry: Registry) -> int:
    """Logical time, held back at the expiry of what has expired and is not yet settled."""
    count = len(registry.items)
    expiries = state.items[:count, Item.EXPIRY][state.items[:count, Item.OPEN] > 0]
    expired = expiries[expiries > 0]
    now = int(state.counters[Counter.TIME])
    return min(now, int(expired.min())) if len(expired) else now


def _underlying(
    registry: Registry, prices: list[int], index: markets.Price, held: list[tuple[int, Instrument]]
) -> Underlying:
    marks, expiries, volatilities = {}, {}, {}
    for number, instrument in held:
        if instrument.kind is Kind.OPTION:
            if prices[number]:
                volatilities[instrument.name] = prices[number] / VOLATILITY_UNIT
            continue
        scale = 10 ** registry.items[number].decimals
        price = prices[number] / scale if prices[number] else index.price
        marks[instrument.name] = markets.Price(price)
        if instrument.expiry is not None:
            expiries[instrument.expiry] = markets.Expiry(price)
    for _, instrument in held:
        if instrument.expiry is not None and instrument.expiry not in expiries:
            expiries[instrument.expiry] = markets.Expiry(index.price)
    return Underlying(index, marks, expiries, volatilities)


def lines_of(registry: Registry, state: State, market: Market) -> tuple[list[Instrument], list[str]]:
    """The contracts and assets that have a price, in order of their numbers."""
    assets = [
        d.name
        for d in registry.items
        if d.instrument is None and (d.name == DOLLAR or d.name in market.assets or d.name in market.underlyings)
    ]
    instruments = []
    for number, definition in enumerate(registry.items):
        instrument = definition.instrument
        if instrument is None or not state.items[number, Item.OPEN] or instrument.settlement not in assets:
            continue
        underlying = market.underlyings.get(instrument.underlying)
        if underlying is None or (instrument.kind is Kind.OPTION and instrument.name not in underlying.volatilities):
            continue
        instruments.append(instrument)
    return instruments, assets


def build(
    state: State,
    registry: Registry,
    parameters: Mapping[int, AnyParameters] | None = None,
    *,
    time: int | None = None,
) -> Marked:
    """The market and every model's table.

    Args:
        state: Its frozen prices and logical time count.
        registry: Items and models.
        parameters: By number, what to try in place of the parameters of some models.
        time: The time of the tables, ns, where it is not the logical time: that of tables to be made again.
    """
    market = market_of(state, registry, time)
    instruments, assets = lines_of(registry, state, market)
    tried = parameters or {}
    sets = [applicable(tried.get(n, model.parameters), market) for n, model in enumerate(registry.models)]
    tables = tuple(build_table(one, market, instruments, assets) for one in sets)
    if not tables:
        return Marked(market, tables, NO_TABLES)
    models = tuple(tables[n if n < len(tables) else 0].arrays for n in range(MODELS_MAXIMUM))
    return Marked(market, tables, tables_of(models, len(registry.items)))


def applicable(parameters: AnyParameters, market: Market) -> AnyParameters:
    """The parameters without a depeg rule on an asset that has no price: nobody can hold what has no line."""
    rule = parameters.depeg
    if rule is None or rule.asset == DOLLAR or rule.asset in market.assets or rule.asset in market.underlyings:
        return parameters
    return msgspec.structs.replace(parameters, depeg=None)


def without_models() -> Tables:
    """Tables before there is any model: no item has a line on them, so nothing can be held."""
    empty = build_table(StandardParameters(name="none", futures={}, options={}), Market(0, {}), (), (DOLLAR,))
    return tables_of((empty.arrays,) * MODELS_MAXIMUM, 1)


def set_lines(state: State, registry: Registry, tables: tuple[RiskTable, ...]) -> None:
    """Say which line each item has in each table, and relabel all rows if that changed."""
    lines = np.full_like(state.lines, NONE)
    for model, table in enumerate(tables):
        for instrument, line in table.line_of_instrument.items():
            lines[model, registry.numbers[instrument.name]] = line
        for asset, line in table.line_of_asset.items():
            lines[model, registry.numbers[asset]] = line
    if not np.array_equal(lines, state.lines):
        state.lines[:] = lines
        relabel_all(state)


def freeze(state: State, underlyings: tuple[int, ...]) -> None:
    """Freeze the current prices of underlyings and of everything on them, under a new price id.

    A perpetual or future whose own price is stale has none: its mark is the index. A volatility stands until the next.
    """
    count = int(state.counters[Counter.ITEMS])
    items, prices = state.items[:count], state.prices[:count]
    belongs = np.isin(items[:, Item.UNDERLYING], underlyings)
    follows = (items[:, Item.FORM] != Form.ASSET) & (items[:, Item.IS_OPTION] == 0)
    stale = prices[:, Price.FRESH] < state.counters[Counter.SOURCES_MINIMUM]
    taken = belongs & (prices[:, Price.CURRENT] > 0)
    prices[taken, Price.MARKED] = prices[taken, Price.CURRENT]
    prices[belongs & follows & stale, Price.MARKED] = 0
    state.counters[Counter.PRICE_ID] += 1


def is_stale(state: State, registry: Registry, item: int) -> bool:
    """Whether too few sources quote an underlying for a mark."""
    return int(state.prices[item, Price.FRESH]) < registry.rules.sources_minimum


def look_at_accounts(state: State, arrays: Tables, items: tuple[int, ...], moves: Counts) -> Counts:
    """Sweep the accounts exposed to one of some items; [accounts] the zone of each, NONE where it was not looked at."""
    zones = np.full(len(state.accounts), NONE, np.int64)
    mask = int(np.bitwise_or.reduce(state.items[list(items), Item.MASK]))
    sweep(state, arrays, mask, SYSTEM_ACCOUNTS, moves, zones)
    return zones


NO_TABLES = without_models()
