"""Edges: nothing held, no time, no volatility, prices of zero, and mixtures of settlement assets."""

import math

import msgspec
import numpy as np
import pytest
import worlds
from reference import NAMES, Reference
from test_reference import check_against_reference

from holdfast.domain.errors import InputError
from holdfast.domain.market import Price
from holdfast.domain.parameters import Scenario, VolatilityShock
from holdfast.domain.portfolio import Order, Portfolio, Position
from holdfast.margin.calculation import calculate
from holdfast.margin.explain import attribution


def portfolio_of(quantities, **balances):
    return Portfolio(balances, tuple(Position(worlds.instrument(n), q, c) for n, (q, c) in quantities.items()))


@pytest.mark.criterion("TAB-7")
@pytest.mark.parametrize("model", sorted(worlds.models()))
def test_an_account_without_positions_needs_nothing(model):
    parameters = worlds.models()[model]
    for portfolio in (Portfolio({}), Portfolio({"USD": 0.0}), portfolio_of({"BTC_USDC-PERPETUAL": (0.0, 0.0)})):
        margin = calculate(portfolio, worlds.CALM, parameters)
        assert (margin.equity, margin.initial_margin, margin.maintenance_margin, margin.available) == (0, 0, 0, 0)
        assert not margin.is_liquidatable
        assert [s.euler for s in attribution(margin) if s.euler] == []


@pytest.mark.criterion("TAB-7")
def test_what_holds_nothing_needs_no_price():
    """The market knows no NOSUCH and no contract on it; a zero of it is not a reason to refuse the account."""
    of = worlds.instrument("NOSUCH_USDC-PERPETUAL")
    empty = Portfolio({"NOSUCH": 0.0, "USDC": 5.0}, (Position(of, 0.0, 0.0),), (Order(of, 0.0, 1.0),))
    margin = calculate(empty, worlds.CALM, worlds.models()["portfolio"])
    assert margin.equity == 5.0
    assert margin.figures.initial["orders"] == 0.0
    with pytest.raises(InputError, match="NOSUCH"):
        calculate(Portfolio({"NOSUCH": 1e-9}), worlds.CALM, worlds.models()["portfolio"])


@pytest.mark.criterion("TAB-2", "COL-1")
def test_a_closed_line_with_a_cost_left_is_profit_not_yet_in_the_balance():
    """Quantity 0, cost −100: a profit of 100 that the balance lacks."""
    margin = calculate(
        portfolio_of({"BTC_USDC-PERPETUAL": (0.0, -100.0)}, USDC=50.0), worlds.CALM, worlds.busy_portfolio()
    )
    assert margin.equity == 150.0
    assert margin.figures.initial["scan"] == 0.0
    assert margin.figures.initial["collateral"] == pytest.approx(1.5)


@pytest.mark.criterion("PM-10", "PM-2")
@pytest.mark.parametrize("model", sorted(worlds.models()))
@pytest.mark.parametrize("quantity", [2.0, -2.0])
def test_at_expiry_and_in_the_settlement_window(model, quantity):
    parameters = worlds.models()[model]
    names = [n for n in worlds.NAMES if worlds.EXPIRING in n or worlds.SETTLING in n]
    if worlds.tradable(worlds.instrument(names[0]), parameters):
        held = portfolio_of(dict.fromkeys(names, (quantity, 0.0)), BTC=1.0, USDC=-100.0)
        for market in worlds.MARKETS.values():
            check_against_reference(held, market, parameters)


@pytest.mark.criterion("PM-10")
@pytest.mark.parametrize("model", sorted(worlds.models()))
def test_options_without_volatility_are_worth_their_intrinsic_value(model):
    parameters = worlds.models()[model]
    names = [n for n in worlds.NAMES if n.startswith("BTC") and n[-2:] in ("-C", "-P")]
    bitcoin = worlds.CALM.underlyings["BTC"]
    still = msgspec.structs.replace(bitcoin, volatilities=dict.fromkeys(names, 0.0))
    market = msgspec.structs.replace(worlds.CALM, underlyings=worlds.CALM.underlyings | {"BTC": still})
    quantities = {n: (1.0 if i % 3 else -2.0, 0.0) for i, n in enumerate(names)}
    held = portfolio_of(quantities)
    if worlds.tradable(worlds.instrument(names[0]), parameters):
        check_against_reference(held, market, parameters)


@pytest.mark.criterion("TAIL-7", "TAB-1")
@pytest.mark.parametrize("settled", [0.0, 0.5])
def test_a_price_of_zero_makes_no_number_that_is_not_one(settled):
    """The price falls to 0: calls are worth nothing, puts their strike, an inverse put K/F coins of value 0·… = K."""
    names = ["BTC_USDC-9JAN26-50000-C", "BTC_USDC-9JAN26-50000-P", "BTC-9JAN26-50000-C", "BTC-9JAN26-50000-P"]
    bitcoin = worlds.CALM.underlyings["BTC"]
    expiries = {
        k: msgspec.structs.replace(e, settled_fraction=max(settled, e.settled_fraction))
        for k, e in bitcoin.expiries.items()
    }
    bitcoin = msgspec.structs.replace(bitcoin, expiries=expiries)
    market = msgspec.structs.replace(worlds.CALM, underlyings={"BTC": bitcoin})
    parameters = msgspec.structs.replace(
        worlds.busy_portfolio(),
        scenarios=(Scenario(0.0), Scenario(0.0, VolatilityShock.UP), Scenario(1e-12), Scenario(1.0)),
    )
    for name in [*names, "BTC-PERPETUAL", "BTC_USDC-PERPETUAL"]:
        for quantity in (1.0, -1.0):
            margin = calculate(portfolio_of({name: (quantity, 0.0)}, BTC=1.0), market, parameters)
            assert math.isfinite(margin.initial_margin), name
            assert np.isfinite(margin.table.arrays.values).all(), name
            line = margin.table.line_of_instrument[worlds.instrument(name)]
            at_zero, near_zero = margin.table.arrays.values[line, [0, 2]]
            assert at_zero == pytest.approx(near_zero, rel=1e-6, abs=1e-3), name


@pytest.mark.criterion("TAB-1", "TAB-2", "CON-1")
@pytest.mark.parametrize("model", sorted(worlds.models()))
@pytest.mark.parametrize("market", sorted(worlds.MARKETS))
def test_two_perpetuals_and_two_settlement_assets_of_one_underlying(model, market):
    """Inverse and linear perpetuals and options of one coin, with its coin and a token off its peg as collateral."""
    quantities = {
        "BTC-PERPETUAL": (-150_000.0, 2.9),
        "BTC_USDC-PERPETUAL": (2.5, 130_000.0),
        "BTC-9JAN26-50000-C": (-4.0, -0.1),
        "BTC_USDC-9JAN26-50000-P": (3.0, 6_000.0),
        "BTC_USDC-9JAN26-65000-C": (-2.0, -10.0),
    }
    parameters = worlds.models()[model]
    kept = {n: q for n, q in quantities.items() if worlds.tradable(worlds.instrument(n), parameters)}
    for balances in ({"BTC": 2.0, "USDC": 50_000.0}, {"BTC": -1.0, "USDC": 200_000.0}, {"BTC": 6.0, "USDC": -90_000.0}):
        check_against_reference(portfolio_of(kept, **balances), worlds.MARKETS[market], parameters)


@pytest.mark.criterion("TAB-2", "STD-8")
def test_an_inverse_option_in_coin_is_hedged_by_the_coin():
    """A coin-settled call fully in the money and fixed is part of a coin: covered by the coin it settles in."""
    name = f"BTC-{worlds.EXPIRING}-40000-C"
    parameters = worlds.models()["deribit-portfolio"]
    intrinsic = (50_010.0 - 40_000.0) / 50_010.0
    margin = calculate(portfolio_of({name: (-1.0, 0.0)}, BTC=intrinsic), worlds.CALM, parameters)
    assert margin.equity == pytest.approx(0.0, abs=1e-9)
    assert margin.figures.initial["scan"] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.criterion("CHG-11", "CHG-8", "COL-2")
def test_thresholds_are_exact():
    """At a threshold nothing is due; one unit in the last place below it, something is."""
    held = portfolio_of({"BTC_USDC-PERPETUAL": (-1.0, -49_900.0)}, USD=1_000.0)
    parameters = worlds.busy_standard()
    for peg, due in ((0.98, False), (math.nextafter(0.98, 0.0), True)):
        market = worlds.market(peg=peg)
        assert (calculate(held, market, parameters).figures.initial["depeg"] > 0.0) is due
    for confidence, due in ((0.92, False), (math.nextafter(0.92, 0.0), True)):
        market = worlds.market(confidence=confidence)
        assert (calculate(held, market, parameters).figures.initial["confidence"] > 0.0) is due
    above = math.nextafter(100_000.0, math.inf)
    for usd, loss in ((100_000.0, 1_000.0), (above, 1_000.0), (200_000.0, 4_000.0)):
        figures = calculate(Portfolio({"USD": usd}), worlds.CALM, worlds.busy_portfolio()).figures
        assert figures.initial["collateral"] == pytest.approx(loss, rel=1e-12)


@pytest.mark.criterion("CON-4")
def test_components_of_the_second_engine_are_those_of_the_first():
    figures = calculate(Portfolio({"USD": 1.0}), worlds.CALM, worlds.busy_portfolio()).figures
    assert list(figures.initial) == [*NAMES, "orders"]
    equity, initial, maintenance = Reference(worlds.busy_portfolio(), worlds.CALM).requirement(Portfolio({"USD": 1.0}))
    assert equity == 1.0
    assert initial["collateral"] == pytest.approx(0.01)
    assert maintenance["collateral"] == pytest.approx(0.005)


def test_missing_prices_are_named():
    market = msgspec.structs.replace(worlds.CALM, assets={"USDC": Price(1.0)})
    for portfolio, text in (
        (Portfolio({"XRP": 1.0}), r"balances\[XRP\]"),
        (portfolio_of({"BTC-26JUN26-70000-C": (1.0, 0.0), "BTC-27MAR26-70000-C": (1.0, 0.0)}), r"positions\[1\]"),
        (portfolio_of({"SOL_USDC-PERPETUAL": (1.0, 0.0)}), "SOL"),
    ):
        with pytest.raises(InputError, match=text):
            calculate(portfolio, market, worlds.models()["portfolio"])
    with pytest.raises(InputError, match=r"futures\[BTC\]"):
        calculate(
            portfolio_of({"BTC_USDC-PERPETUAL": (1.0, 0.0)}),
            market,
            msgspec.structs.replace(worlds.busy_standard(), futures={}),
        )
