"""The margins of a whole population at a step, by the real kernel, with nobody liquidated."""

import numpy as np

from holdfast.domain.market import Expiry, Market, Price, Underlying
from holdfast.domain.names import parse_instrument
from holdfast.domain.units import asset
from holdfast.margin import kernel, presets
from holdfast.margin.build import build_table
from holdfast.stress.families import MODELS
from holdfast.stress.market import MarketPath, Step
from holdfast.stress.population import Population
from holdfast.stress.venue import ASSETS, Venue


def market_of(venue: Venue, step: Step) -> Market:
    alive = np.flatnonzero(venue.is_alive(step.time_ns)).tolist()
    futures = [i for i in alive if not venue.is_option[i]]
    dated = {
        int(venue.expiry_ns[i]): Expiry(float(step.quoted[i]))
        for i in futures
        if "PERPETUAL" not in venue.instruments[i]
    }
    marks = {venue.instruments[i]: Price(float(step.quoted[i])) for i in futures}
    volatilities = {venue.instruments[i]: float(step.quoted[i]) for i in alive if venue.is_option[i]}
    coin = Underlying(Price(step.index_price), marks, dated, volatilities)
    return Market(step.time_ns, {"BTC": coin}, {"USDC": Price(1.0)})


def unit_values(venue: Venue, price: np.ndarray) -> np.ndarray:
    """Value of one unit in the settlement asset."""
    return np.where(venue.inverse & ~venue.is_option, -1.0 / np.where(price > 0.0, price, np.nan), price)


def settlement_values(path: MarketPath) -> np.ndarray:
    """[instruments] value of one unit at its expiry inside the window, else NaN."""
    venue, result = path.venue, np.full(len(path.venue.instruments), np.nan)
    for i, expiry in enumerate(venue.expiry_ns.tolist()):
        if expiry <= path.walk.time_ns[-1]:
            index = float(path.walk.price[np.searchsorted(path.walk.time_ns, expiry)])
            side = 1.0 if venue.is_call[i] else -1.0
            intrinsic = max(side * (index - venue.strike[i]), 0.0)
            option = intrinsic / index if venue.inverse[i] else intrinsic
            result[i] = option if venue.is_option[i] else (-1.0 / index if venue.inverse[i] else index)
    return result


def margins(path: MarketPath, population: Population, number: int, lots: np.ndarray | None = None) -> np.ndarray:
    """[accounts, 3] equity, initial and maintenance margin at a step, positions as before the window unless given."""
    venue, step, first = path.venue, path.at(number), path.at(0)
    units = (population.positions() if lots is None else lots) * venue.lot
    alive = venue.is_alive(step.time_ns)
    cost = units * unit_values(venue, first.price)
    cash = population.deposits / np.array([10.0 ** asset(name).decimals for name in ASSETS])
    settled = np.where(alive, 0.0, units * settlement_values(path))
    for place in range(len(ASSETS)):
        cash[:, place] += np.where(venue.settlement == place, settled - cost, 0.0).sum(axis=1)
    result = np.empty((population.accounts, 3))
    for model, name in enumerate(MODELS):
        rows = np.flatnonzero(population.model == model)
        result[rows] = _swept(venue, step, name, np.where(alive, units, 0.0)[rows], cash[rows])
    return result


def _swept(venue: Venue, step: Step, model: str, units: np.ndarray, cash: np.ndarray) -> np.ndarray:
    alive = np.flatnonzero(venue.is_alive(step.time_ns))
    contracts = [parse_instrument(venue.instruments[i]) for i in alive]
    table = build_table(presets.preset(model), market_of(venue, step), contracts, ASSETS)
    dense = np.zeros((len(units), len(table.line_names)))
    dense[:, [table.line_of_instrument[c] for c in contracts]] = units[:, alive]
    dense[:, [table.line_of_asset[name] for name in ASSETS]] = cash
    account, line = np.nonzero(dense)
    pointer = np.searchsorted(account, np.arange(len(units) + 1))
    out = np.empty((len(units), 3))
    kernel.sweep(table.arrays, pointer, line.astype(np.int32), dense[account, line], out)
    return out
