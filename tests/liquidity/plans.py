"""Accounts, books and a slow evaluation for the tests of liquidation plans; nothing here uses the room under test."""

import numpy as np

from holdfast.domain.market import Expiry, Market, Price, Underlying
from holdfast.domain.parameters import Collateral, PortfolioParameters, Scenario, VolatilityRange, VolatilityShock
from holdfast.margin.account import account_of_lines, figures_of
from holdfast.margin.build import build_table
from holdfast.margin.table import LineField, LineTag
from margin import worlds

A, B = "BTC_USDC-PERPETUAL", "BTC_USDC-9JAN26"
LINES = {A: (100.0, (80.0, 110.0)), B: (50.0, (55.0, 35.0))}
"""The two lines of LQP-7: value today and in two scenarios."""


def two_lines():
    """A table whose scan is two scenarios of two linear contracts, without charges, haircuts or factors."""
    expiry = worlds.instrument(B).expiry
    bitcoin = Underlying(Price(100.0), marks={A: Price(100.0)}, expiries={expiry: Expiry(100.0)})
    market = Market(worlds.NOW, {"BTC": bitcoin}, {"USDC": Price(1.0)})
    parameters = PortfolioParameters(
        name="two",
        scenarios=(Scenario(0.9, VolatilityShock.NONE), Scenario(1.1, VolatilityShock.NONE)),
        volatility=VolatilityRange(0.0, 0.0, 0.0, 0.0),
        initial_factor=1.0,
        maintenance_factor=1.0,
        collateral={"*": Collateral()},
    )
    table = build_table(parameters, market, [worlds.instrument(n) for n in LINES], ["USDC"])
    for name, (today, values) in LINES.items():
        line = line_of(table, name)
        table.arrays.values[line] = (*values, *[values[-1]] * (table.arrays.values.shape[1] - 2))
        table.arrays.lines[line, [LineField.TODAY, LineField.IN_ASSET]] = today
        table.arrays.today[line] = today
    return table


def line_of(table, name):
    return table.line_of_instrument[worlds.instrument(name)]


def holding(table, quantities, equity):
    """An account of contracts by name, with the dollars that give it this equity."""
    lines = {line_of(table, name): quantity for name, quantity in quantities.items()}
    value = sum(quantity * table.arrays.today[line] for line, quantity in lines.items())
    return account_of_lines(lines | {table.line_of_asset["USDC"]: equity - value})


def initial_after(table, account):
    figures = figures_of(table, account)
    return figures.equity, figures.initial_margin


def filled(table, account, books, reductions, fee_rate):
    """The account after reductions, level by level, and what they cost: LQP-3 written once more."""
    quantity = dict(zip(account.line.tolist(), account.quantity.tolist(), strict=True))
    cost = 0.0
    for line, change in reductions:
        sign = -np.sign(change)
        asset = table.line_of_asset[table.assets[table.arrays.tags[line, LineTag.ASSET]]]
        left, received = abs(change), 0.0
        for size, price in zip(books[line].quantity.tolist(), books[line].price.tolist(), strict=True):
            part = min(left, size)
            received += sign * part * price - fee_rate * abs(price) * part
            left -= part
        assert left <= 1e-9 * abs(change), "a reduction larger than its book"
        cost += sign * abs(change) * table.arrays.today[line] - received
        quantity[line] += change
        quantity[asset] = quantity.get(asset, 0.0) + received / table.arrays.today[asset]
    return account_of_lines(quantity), cost


def with_equity(table, account, ratio):
    """The account with the dollars that bring equity near `ratio` × initial margin."""
    dollars = table.line_of_asset["USDC"]
    for _ in range(4):
        equity, initial = initial_after(table, account)
        account = account.with_change({dollars: (ratio * initial - equity) / table.arrays.today[dollars]})
    return account
