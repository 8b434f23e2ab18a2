"""The engine against a second one written from the pages, on random portfolios, models and markets."""

import pytest
import worlds
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import NAMES, Reference

from holdfast.domain.parameters import StandardParameters
from holdfast.domain.portfolio import Portfolio
from holdfast.margin.calculation import calculate


def check_against_reference(portfolio, market, parameters):
    margin = calculate(portfolio, market, parameters)
    reference = Reference(parameters, market)
    equity, initial, maintenance = reference.requirement(portfolio)
    tolerance = 1e-9 * worlds.gross_value(portfolio, market)
    assert margin.equity == pytest.approx(equity, abs=tolerance)
    for name in NAMES:
        assert margin.figures.initial[name] == pytest.approx(initial[name], abs=tolerance), name
        assert margin.figures.maintenance[name] == pytest.approx(maintenance[name], abs=tolerance), name
    if not isinstance(parameters, StandardParameters):
        for underlying, (results, basis) in reference.results(*reference.account(portfolio)).items():
            assert margin.scenario_results(underlying) == pytest.approx(results, abs=tolerance)
            assert margin.basis_result(underlying) == pytest.approx(basis, abs=tolerance)
    return margin


def held_by_model(portfolio, parameters):
    kept = tuple(p for p in portfolio.positions if worlds.tradable(p.instrument, parameters))
    return Portfolio(portfolio.balances, kept)


@pytest.mark.criterion(
    "TAB-1", "TAB-2", "TAB-4", "TAB-5", "TAB-6", "TAB-7", "TAB-9", "CHG-1", "CHG-2", "CHG-3", "CHG-4", "CHG-5", "CHG-6",
    "CHG-7", "CHG-8", "CHG-9", "CHG-11",
    "COL-1", "COL-2", "COL-4", "COL-5", "COL-6", "COL-7", "STD-1", "STD-2", "STD-4",
    "STD-5", "STD-6", "STD-8", "PM-1", "PM-2", "PM-3", "PM-4", "PM-6", "PM-7", "PM-8", "PM-9", "PM-10", "PM-11",
    "TAIL-1", "TAIL-2", "TAIL-4", "CON-1", "CON-2", "CON-3", "CON-4",
)  # fmt: skip
@pytest.mark.parametrize("name", sorted(worlds.models()))
@settings(max_examples=60)
@given(worlds.portfolios(), worlds.market_names)
def test_every_component_agrees_with_the_second_engine(name, portfolio, market):
    parameters = worlds.models()[name]
    margin = check_against_reference(held_by_model(portfolio, parameters), worlds.MARKETS[market], parameters)
    assert all(value >= 0.0 for value in margin.figures.initial.values())
    assert all(value >= 0.0 for value in margin.figures.maintenance.values())


@settings(max_examples=40)
@given(worlds.portfolios(most=4), worlds.market_names, st.sampled_from((1, 7, 8, 9, 31, 32, 33, 40, 65)))
def test_every_number_of_scenarios_agrees_with_the_second_engine(portfolio, market, count):
    check_against_reference(portfolio, worlds.MARKETS[market], worlds.busy_portfolio(count))
