"""The worked numbers of the pages: table, charges, collateral, standard, portfolio and tail model, results."""

import itertools
import math
from fractions import Fraction

import mpmath
import msgspec
import numpy as np
import pytest
import reference
import worlds

from holdfast.domain.errors import InputError
from holdfast.domain.market import Expiry, Market, Price, Underlying
from holdfast.domain.parameters import (
    BasisContingency,
    Charge,
    Collateral,
    ConfidenceRule,
    DepegRule,
    FutureRates,
    HaircutTier,
    Measure,
    OpenInterestScale,
    OptionRates,
    PortfolioParameters,
    Scenario,
    SkewRange,
    StandardParameters,
    StaticDiscounts,
    TailParameters,
    VolatilityRange,
    VolatilityShock,
)
from holdfast.domain.portfolio import Portfolio, Position
from holdfast.margin import kernel
from holdfast.margin.account import Account
from holdfast.margin.build import build_table
from holdfast.margin.calculation import calculate
from holdfast.margin.history import filtered_deviation, joint_moves
from holdfast.margin.option_values import skew_multiplier
from holdfast.margin.scan import expected_shortfall as compiled_shortfall
from holdfast.margin.scenarios import option_value_multipliers, skew_caps, volatility_multiplier
from holdfast.margin.table import COMPONENTS, MARGIN_FIELDS, Component, GroupField, LineField, LineTag
from holdfast.margin.twin import expected_shortfall, workings_of

FREE = {"*": Collateral(), "BTC": Collateral(underlying="BTC", scanned=True)}
NO_RANGE = VolatilityRange(0.0, 0.0, 0.0, 0.0)
LINEAR, INVERSE, FUTURE = "BTC_USDC-PERPETUAL", "BTC-PERPETUAL", "BTC_USDC-26JUN26"


def market(index=2_000.0, *, peg=1.0, numeraire="USD", marks=None, forward=None, confidence=1.0, **underlying):
    prices = {LINEAR: index, INVERSE: index} | (marks or {})
    expiry = Expiry(forward or index)
    bitcoin = Underlying(
        Price(index, confidence),
        marks={n: p if isinstance(p, Price) else Price(p) for n, p in prices.items()},
        expiries={worlds.instrument(f"BTC-{d}-1-C").expiry: expiry for d in ("26JUN26", "9JAN26")},
        **underlying,
    )
    return Market(worlds.NOW, {"BTC": bitcoin}, {"USDC": Price(peg)}, numeraire)


def scan(*scenarios, **fields):
    given = tuple(s if isinstance(s, Scenario) else Scenario(s) for s in scenarios)
    return PortfolioParameters(
        **({"name": "scan", "volatility": NO_RANGE, "collateral": FREE} | fields), scenarios=given
    )


def standard(**fields):
    return StandardParameters(**({"name": "standard", "futures": {}, "options": {}, "collateral": FREE} | fields))


def margin_of(quantities, at, parameters, **balances):
    """Positions by name as a quantity at mark, or as (quantity, cost)."""
    positions = []
    for name, given in quantities.items():
        of = worlds.instrument(name)
        quantity, cost = given if isinstance(given, tuple) else (given, 0.0)
        positions.append(Position(of, quantity, cost))
    return calculate(Portfolio(balances, tuple(positions)), at, parameters)


# The risk table.


@pytest.mark.criterion("TAB-2", "TAB-1")
def test_a_coin_margined_position_and_its_coin_move_together():
    at = market(50_000.0)
    parameters = scan(0.8, 1.0, 1.2, collateral={"BTC": Collateral(underlying="BTC", scanned=True)})
    margin = margin_of({INVERSE: (50_000.0, 50_000.0 * (-1.0 / 40_000.0))}, at, parameters, BTC=1.0)
    coin = margin.table.line_of_asset["BTC"]
    assert margin.account.quantity[margin.account.line.tolist().index(coin)] == 2.25
    assert margin.equity == 62_500.0
    assert margin.scenario_results("BTC") == pytest.approx([40_000.0 - 62_500.0, 0.0, 85_000.0 - 62_500.0], abs=1e-9)
    assert margin.figures.initial["scan"] == pytest.approx(22_500.0, abs=1e-9)
    assert margin.unrealised_profit(worlds.instrument(INVERSE).kind) == pytest.approx(12_500.0, abs=1e-9)


@pytest.mark.criterion("TAB-3")
def test_lines_come_in_the_order_of_underlying_group_strike_and_right():
    names = ["ETH_USDC-PERPETUAL", "BTC-26JUN26-65000-P", "BTC-26JUN26-65000-C", "BTC-26JUN26-50000-P", "BTC-26JUN26"]
    names += ["BTC-9JAN26-50000-C", "BTC_USDC-9JAN26", "BTC-PERPETUAL"]
    parameters = worlds.busy_portfolio()
    table = build_table(parameters, worlds.CALM, map(worlds.instrument, names), ("USD", "BTC", "ETH"))
    expected = ["BTC", "BTC-PERPETUAL", "BTC_USDC-9JAN26", "BTC-9JAN26-50000-C", "BTC-26JUN26", "BTC-26JUN26-50000-P"]
    expected += ["BTC-26JUN26-65000-C", "BTC-26JUN26-65000-P", "ETH", "ETH_USDC-PERPETUAL", "USD", "USDC"]
    assert list(table.line_names) == expected
    assert [(g.underlying, g.options) for g in table.groups] == [
        ("BTC", False),
        ("BTC", False),
        ("BTC", True),
        ("BTC", False),
        ("BTC", True),
        ("ETH", False),
    ]


def one_group(m, p, values, today, basis=None, factor=0.0):
    """The arrays of one perpetual, with values, M₊ M₋ and P₊ P₋ put in by hand and padded with the last."""
    table = build_table(scan(0.8, 1.3), market(), [worlds.instrument(LINEAR)])
    arrays = table.arrays
    arrays.values[0] = values + values[-1:] * (8 - len(values))
    arrays.multipliers[0] = np.array([*m, *p])[:, None]
    arrays.lines[0, [LineField.TODAY, LineField.IN_ASSET]] = today
    arrays.today[0] = today
    arrays.groups[0, GroupField.BASIS_FACTOR] = factor
    arrays.tags[0, LineTag.RUN] = arrays.tags[0, LineTag.GROUP]
    arrays.model[:2] = 1.0, 0.5
    return arrays if basis is None else arrays._replace(basis=np.array([basis + basis[-1:] * 6] * 2))


def scanned(arrays, quantity):
    """The initial and maintenance scan of the kernel, and the results of the twin."""
    account, row = Account(np.zeros(1, np.int32), np.array([quantity])), np.empty(MARGIN_FIELDS)
    kernel.account(arrays, account.line, account.quantity, 0, 1, row)
    return row[kernel.INITIAL], row[kernel.MAINTENANCE], workings_of(arrays, account).scans[0].results[:2]


@pytest.mark.criterion("TAB-4", "TAB-5", "TAB-8")
@pytest.mark.parametrize(
    ("p", "quantity", "results", "worst"),
    [
        ((1.0, 1.0), 2.0, (-5.6, 3.4), -5.6),
        ((1.0, 1.0), -2.0, (2.4, -8.6), -8.6),
        ((-1.0, 1.0), 2.0, (-5.6, -3.4), -5.6),
        ((-1.0, 1.0), -2.0, (-2.4, -8.6), -8.6),
    ],
)
def test_one_group_worked(p, quantity, results, worst):
    initial, maintenance, found = scanned(one_group((0.9, 1.1), p, [8.0, 13.0], 10.0), quantity)
    assert found == pytest.approx(results, abs=1e-14)
    assert (initial, maintenance) == pytest.approx((-worst, -worst / 2.0), abs=1e-14)


@pytest.mark.criterion("TAB-5")
def test_the_second_reduction_competes_and_ignores_multipliers():
    """Basis values (6, 12) of a unit worth 10: q = 2 loses 8, times 3/2 is 12, more than the scan's 5.6."""
    arrays = one_group((0.9, 1.1), (1.0, 1.0), [8.0, 13.0], 10.0, [6.0, 12.0], 1.5)
    assert scanned(arrays, 2.0)[0] == pytest.approx(12.0, abs=1e-13)
    assert scanned(arrays, -2.0)[0] == pytest.approx(8.6, abs=1e-13)  # short, the basis is 2 · 2 · 1.5 = 6


@pytest.mark.criterion("TAB-18")
def test_a_scan_that_would_miss_the_risk_of_an_inverse_contract_is_refused():
    for rule in (Collateral(), Collateral(underlying="BTC"), Collateral(underlying="ETH", scanned=True)):
        parameters = scan(0.9, 1.1, collateral={"*": rule})
        with pytest.raises(InputError, match=r"collateral\[BTC\]"):
            margin_of({INVERSE: (100.0, -0.05)}, worlds.CALM, parameters)
    assert margin_of({INVERSE: (100.0, -0.05)}, market(), standard(futures={"*": FutureRates(0.1, 0.1)})).initial_margin


@pytest.mark.criterion("TAB-9", "RES-1")
def test_components_sum_from_left_to_right_to_the_totals():
    labels = ["scan", "options", "charges", "netted", "offset", "confidence", "depeg", "collateral", "orders"]
    assert [c.label for c in Component] == labels
    assert len(labels) == COMPONENTS
    at = worlds.MARKETS["off its peg"]
    for parameters in worlds.models().values():
        margin = margin_of({LINEAR: -3.0, "BTC-9JAN26-50000-C": -1.0, FUTURE.replace("26JUN26", "9JAN26"): 2.0}, at,
                           parameters, USDC=7.25e5, BTC=0.3)  # fmt: skip
        for parts, total in (
            (margin.figures.initial, margin.initial_margin),
            (margin.figures.maintenance, margin.maintenance_margin),
        ):
            assert list(parts) == labels
            added = 0.0
            for value in parts.values():
                assert value >= 0.0
                added += value
            assert added == total
        for name in ("confidence", "depeg", "orders"):
            assert margin.figures.maintenance[name] == 0.0
        assert margin.available == margin.equity - margin.initial_margin


@pytest.mark.criterion("TAB-10")
def test_negative_equity_is_reported_as_it_is():
    margin = margin_of({LINEAR: (1.0, 3_000.0)}, market(), scan(0.9, 1.1), USDC=100.0)
    assert margin.equity == -900.0
    assert margin.available == pytest.approx(-1_100.0)
    assert margin.is_liquidatable


@pytest.mark.criterion("TAB-11")
def test_isolated_parts_are_margined_alone():
    parts = {"long": Portfolio({"USDC": 500.0}, (Position(worlds.instrument(LINEAR), 1.0, 2_000.0),))}
    cross = Portfolio({"USDC": 50.0}, (Position(worlds.instrument(LINEAR), -1.0, -2_000.0),), isolated=parts)
    parameters = scan(0.9, 1.1)
    margin = calculate(cross, market(), parameters)
    assert (margin.equity, margin.initial_margin) == pytest.approx((50.0, 200.0))
    assert (margin.isolated["long"].equity, margin.isolated["long"].initial_margin) == pytest.approx((500.0, 200.0))
    assert margin.isolated["long"].figures == calculate(parts["long"], market(), parameters).figures


# Charges.


def charged(measure, kind="option", rate=0.005, **slopes):
    return scan(1.0, charges=(Charge(kind, measure, rate, rate / 2.0, **slopes),))


SPREAD = {"BTC_USDC-26JUN26-2000-C": -3.0, "BTC_USDC-26JUN26-2000-P": 1.0, "BTC_USDC-26JUN26-3000-C": 5.0}


def with_volatility(at, names=SPREAD, volatility=0.5):
    bitcoin = msgspec.structs.replace(at.underlyings["BTC"], volatilities=dict.fromkeys(names, volatility))
    return msgspec.structs.replace(at, underlyings={"BTC": bitcoin})


@pytest.mark.criterion("CHG-4", "CHG-5")
def test_net_short_options_per_strike_and_per_expiry():
    at = with_volatility(market())
    per_strike = margin_of(SPREAD, at, charged(Measure.NET_SHORT_PER_STRIKE)).figures
    assert per_strike.initial["netted"] == pytest.approx(20.0, rel=1e-14)
    assert per_strike.maintenance["netted"] == pytest.approx(10.0, rel=1e-14)
    assert margin_of(SPREAD, at, charged(Measure.NET_SHORT_PER_EXPIRY)).figures.initial["netted"] == 0.0
    short = SPREAD | {"BTC_USDC-26JUN26-3000-C": 0.5}
    per_expiry = margin_of(short, at, charged(Measure.NET_SHORT_PER_EXPIRY)).figures
    assert per_expiry.initial["netted"] == pytest.approx(15.0, rel=1e-14)
    # Another expiry does not net.
    apart = {"BTC_USDC-26JUN26-2000-C": -3.0, "BTC_USDC-9JAN26-2000-C": 5.0}
    other = margin_of(apart, with_volatility(market(), apart), charged(Measure.NET_SHORT_PER_EXPIRY)).figures
    assert other.initial["netted"] == pytest.approx(30.0, rel=1e-14)


@pytest.mark.criterion("CHG-1", "CHG-2", "CHG-3")
def test_gross_and_short_charges_of_linear_and_inverse_contracts():
    at = market()
    gross = charged(Measure.GROSS, "perpetual", 0.01, initial_slope=0.001)
    assert margin_of({LINEAR: -3.0}, at, gross).figures.initial["charges"] == pytest.approx(6_000.0 * 0.013)
    # 8,000 dollars are 4 coins: the slope counts coins.
    assert margin_of({INVERSE: 8_000.0}, at, gross).figures.initial["charges"] == pytest.approx(8_000.0 * 0.014)
    short = charged(Measure.SHORT, "perpetual", 0.01)
    assert margin_of({LINEAR: -3.0, INVERSE: 8_000.0}, at, short).figures.initial["charges"] == pytest.approx(60.0)


@pytest.mark.criterion("CHG-6", "CHG-7")
def test_offsetting_futures_are_charged_on_the_smaller_side():
    at = market(marks={FUTURE: 2_000.0, "BTC_USDC-9JAN26": 2_000.0})
    parameters = scan(1.0, charges=(Charge("future", Measure.OFFSET, 0.01, 0.005),))
    quantities = {FUTURE: 100.0, "BTC_USDC-9JAN26": -100.0, LINEAR: -50.0}
    figures = margin_of(quantities, at, parameters).figures
    assert figures.initial["offset"] == pytest.approx(2_000.0)  # 1 BTC
    assert figures.maintenance["offset"] == pytest.approx(1_000.0)
    twice = msgspec.structs.replace(parameters, charges=parameters.charges * 2)
    assert margin_of(quantities, at, twice).figures.initial["offset"] == pytest.approx(4_000.0)
    one_sided = margin_of({FUTURE: 100.0, "BTC_USDC-9JAN26": 1.0}, at, parameters).figures
    assert one_sided.initial["offset"] == 0.0


@pytest.mark.criterion("CHG-8", "CHG-9", "CHG-10")
def test_an_unsure_oracle_costs_below_its_threshold_and_not_at_it():
    rule = ConfidenceRule(0.55, 0.55, 0.55, 1.0)
    for confidence, expected in ((0.5, 1_000.0), (0.55, 0.0), (math.nextafter(0.55, 0.0), 900.0)):
        for quantity in (1.0, -1.0):
            got = margin_of({LINEAR: quantity}, market(confidence=confidence), scan(1.0, confidence=rule)).figures
            assert got.initial["confidence"] == pytest.approx(expected)
            assert got.maintenance["confidence"] == 0.0
    mark = market(marks={LINEAR: Price(2_000.0, 0.25)})
    assert margin_of({LINEAR: 1.0}, mark, scan(1.0, confidence=rule)).figures.initial["confidence"] == 1_500.0


@pytest.mark.criterion("CHG-8", "CHG-9")
def test_options_of_an_account_that_holds_an_unsure_perpetual():
    """Options are sure; the perpetual, 0.25, counts for them while it is held, and only one that is held."""
    call = {"BTC_USDC-26JUN26-2000-C": -2.0}
    at = with_volatility(market(marks={LINEAR: Price(2_000.0, 0.25)}), call)
    rule = ConfidenceRule(0.0, 0.55, 0.0, 1.0)
    found = {
        quantity: margin_of(call | {LINEAR: (quantity, quantity + 1.0)}, at, scan(1.0, confidence=rule))
        for quantity in (0.0, 0.5, -0.5)
    }
    assert {q: m.figures.initial["confidence"] for q, m in found.items()} == {0.0: 0.0, 0.5: 3_000.0, -0.5: 3_000.0}
    without = msgspec.structs.replace(rule, options_with_perpetual=False)
    assert margin_of(call | {LINEAR: 1.0}, at, scan(1.0, confidence=without)).figures.initial["confidence"] == 0.0
    gross = margin_of({n: -q for n, q in call.items()} | {LINEAR: 1.0}, at, scan(1.0, confidence=rule)).figures
    assert gross.initial["confidence"] == 3_000.0
    short_only = msgspec.structs.replace(rule, options_short_only=True)
    quiet = margin_of({n: -q for n, q in call.items()} | {LINEAR: 1.0}, at, scan(1.0, confidence=short_only)).figures
    assert quiet.initial["confidence"] == 0.0


@pytest.mark.criterion("CHG-8")
def test_only_perpetuals_that_are_held_count_for_options():
    """Two perpetuals on the table, the sure one held: what else is on the table, or is to be tried, must not count."""
    call = {"BTC_USDC-26JUN26-2000-C": -2.0}
    at = with_volatility(market(marks={LINEAR: Price(2_000.0, 0.25)}), call)
    parameters = scan(1.0, confidence=ConfidenceRule(0.0, 0.55, 0.0, 1.0))
    held = Portfolio({}, tuple(Position(worlds.instrument(n), q, 0.0) for n, q in (call | {INVERSE: 100.0}).items()))
    for others in ((), (worlds.instrument(LINEAR),)):
        margin = calculate(held, at, parameters, lines=others)
        assert margin.figures.initial["confidence"] == 0.0


@pytest.mark.criterion("CHG-11")
def test_a_stable_asset_below_its_peg():
    call = {"BTC_USDC-26JUN26-2000-C": -1.0}
    rule = DepegRule("USDC", 0.98, 1.2)
    parameters = standard(
        options={"*": OptionRates(0.0, 0.0, 0.0, 0.0, 0.0)}, futures={"*": FutureRates(0.0, 0.0)}, depeg=rule
    )
    for peg, expected in ((0.1, 2_112.0), (0.98, 0.0), (1.2, 0.0)):
        at = with_volatility(market(peg=peg), call)
        assert margin_of(call, at, parameters).figures.initial["depeg"] == pytest.approx(expected, rel=1e-14)
        assert margin_of(dict.fromkeys(call, 1.0), at, parameters).figures.initial["depeg"] == 0.0
        for quantity in (1.0, -1.0):
            got = margin_of({LINEAR: quantity}, at, parameters).figures
            assert got.initial["depeg"] == pytest.approx(expected, rel=1e-14)
            assert got.maintenance["depeg"] == 0.0
    grown = scan(0.9, 1.1, depeg=rule, initial_factor=1.5, maintenance_factor=0.7)
    figures = margin_of({INVERSE: (100.0, -0.05)}, market(peg=0.88), msgspec.structs.replace(
        grown, collateral={"BTC": Collateral(underlying="BTC", scanned=True)})).figures  # fmt: skip
    assert figures.initial["scan"] == pytest.approx(10.0 * (1.5 + 0.1 * 1.2))
    assert figures.maintenance["scan"] == pytest.approx(10.0 * 0.7)


# Collateral.

TIERS = (HaircutTier(0.0, 0.05, 0.03), HaircutTier(1_000_000.0, 0.20, 0.15))


@pytest.mark.criterion("COL-2", "COL-3", "COL-4")
@pytest.mark.parametrize(
    ("value", "initial", "maintenance"),
    [(1.5e6, 150_000.0, 105_000.0), (1e6, 50_000.0, 30_000.0), (0.0, 0.0, 0.0), (-1_000.0, 40.0, 40.0)],
)
def test_haircut_tiers(value, initial, maintenance):
    parameters = standard(collateral={"USD": Collateral(TIERS, liability=0.04)})
    figures = margin_of({}, market(), parameters, USD=value).figures
    assert figures.equity == value
    assert figures.initial["collateral"] == pytest.approx(initial, rel=1e-14)
    assert figures.maintenance["collateral"] == pytest.approx(maintenance, rel=1e-14)


@pytest.mark.criterion("COL-1")
def test_unrealised_profit_is_part_of_a_balance():
    parameters = standard(futures={"*": FutureRates(0.0, 0.0)}, collateral={"USDC": Collateral(TIERS)})
    figures = margin_of({LINEAR: (100.0, 100_000.0)}, market(), parameters, USDC=-60_000.0).figures
    assert figures.initial["collateral"] == pytest.approx(40_000.0 * 0.05)


@pytest.mark.criterion("COL-5", "COL-6")
def test_credit_in_dollars_and_assets_that_nobody_named():
    rule = Collateral((HaircutTier(0.0, 0.2, 0.2),), credit_in_dollars=True)
    at = market(peg=0.98, numeraire="USDC")
    parameters = standard(collateral={"BTC": rule})
    w = 3.0 * 2_000.0 / 0.98
    assert margin_of({}, at, parameters, BTC=3.0).figures.initial["collateral"] == pytest.approx(0.216 * w, rel=1e-14)
    at_par = margin_of({}, market(numeraire="USDC"), parameters, BTC=3.0).figures
    assert at_par.initial["collateral"] == pytest.approx(0.2 * 6_000.0, rel=1e-14)
    unknown = margin_of({}, market(), parameters, USD=70.0)
    assert (unknown.equity, unknown.available) == (70.0, 0.0)
    owed = margin_of({}, market(), parameters, USD=-70.0)
    assert (owed.equity, owed.available) == (-70.0, -70.0)


@pytest.mark.criterion("COL-7", "CHG-9")
def test_unsure_collateral_is_charged_on_its_positive_value():
    rule = ConfidenceRule(0.0, 0.0, 0.6, 0.5)
    parameters = standard(confidence=rule, collateral={"BTC": Collateral(underlying="BTC"), "USDC": Collateral()})
    at = msgspec.structs.replace(market(confidence=0.4), assets={"USDC": Price(1.0, 0.3)})
    figures = margin_of({}, at, parameters, BTC=2.0, USDC=1_000.0).figures
    assert figures.initial["confidence"] == pytest.approx(4_000.0 * 0.6 * 0.5 + 1_000.0 * 0.7 * 0.5)
    assert figures.initial["collateral"] == 0.0
    at_threshold = msgspec.structs.replace(market(confidence=0.6), assets={"USDC": Price(1.0, 0.6)})
    assert margin_of({}, at_threshold, parameters, BTC=2.0, USDC=1_000.0).figures.initial["confidence"] == 0.0
    own = msgspec.structs.replace(parameters, confidence=msgspec.structs.replace(rule, collateral_own=False))
    assert margin_of({}, at, own, USDC=1_000.0, BTC=-1.0).figures.initial["confidence"] == 0.0


# The standard model.


@pytest.mark.criterion("STD-1", "STD-3")
def test_rates_that_grow_with_size():
    rates = FutureRates(0.04, 0.02, 0.000005, 0.000005, notional="index")
    figures = margin_of({LINEAR: -25.0}, market(200.0, marks={LINEAR: 201.0}), standard(futures={"*": rates})).figures
    assert figures.initial["charges"] == pytest.approx(200.625, rel=1e-14)
    assert figures.maintenance["charges"] == pytest.approx(100.625, rel=1e-14)
    at_mark = standard(futures={"*": msgspec.structs.replace(rates, notional="mark")})
    got = margin_of({LINEAR: -25.0}, market(200.0, marks={LINEAR: 201.0}), at_mark).figures.initial["charges"]
    assert got == pytest.approx(5_025.0 * (0.04 + 0.000125), rel=1e-14)
    inverse = standard(futures={"BTC": FutureRates(0.02, 0.01, 0.00005, 0.00005)})
    got = margin_of({INVERSE: 350.0 * 2_000.0}, market(), inverse).figures.initial["charges"]
    assert got / 2_000.0 == pytest.approx(13.125, rel=1e-14)  # 2 % + 350 × 0.005 % is 3.75 % of 350


@pytest.mark.criterion("STD-1")
def test_notional_at_the_index_is_in_what_the_contract_settles_in():
    rates = standard(futures={"*": FutureRates(0.1, 0.05, notional="index")})
    at = market(peg=0.9)
    assert margin_of({LINEAR: 1.0}, at, rates).figures.initial["charges"] == pytest.approx(0.1 * 2_000.0 * 0.9)
    assert margin_of({INVERSE: 100.0}, at, rates).figures.initial["charges"] == pytest.approx(10.0)


@pytest.mark.criterion("STD-2")
@pytest.mark.parametrize(
    ("interest", "rate"), [(0.0, 0.1), (10.0, 0.1), (15.0, 0.55), (17.5, 0.775), (20.0, 1.0), (99.0, 1.0)]
)
def test_open_interest_scales_the_initial_rate(interest, rate):
    """Lower 20,000 and upper 40,000 dollars at a price of 2,000: 10 and 20 coins."""
    futures = {"*": FutureRates(0.1, 0.05, open_interest=OpenInterestScale(20_000.0, 40_000.0))}
    at = market(open_interest={LINEAR: interest, INVERSE: interest * 2_000.0})
    for quantity in ({LINEAR: 1.0}, {INVERSE: -2_000.0}):
        figures = margin_of(quantity, at, standard(futures=futures)).figures
        assert figures.initial["charges"] == pytest.approx(2_000.0 * rate, rel=1e-14)
        assert figures.maintenance["charges"] == pytest.approx(100.0, rel=1e-14)


def coin_option(name, mark, index=50_000.0):
    """A market where an inverse option has a mark in coin, and its forward is the index."""
    return market(index, marks={name: Price(mark)})


@pytest.mark.criterion("STD-4", "STD-5", "STD-6", "STD-7", "PM-11")
def test_short_options_in_coin_terms():
    rates = standard(options={"*": OptionRates(0.15, 0.1, 0.075, 0.075, 0.075)})
    call = "BTC-26JUN26-52000-C"
    margin = margin_of({call: -1.0}, coin_option(call, 0.03), rates, BTC=1.0)
    value = 0.03 * 50_000.0
    assert -margin.option_value == pytest.approx(value, rel=1e-9)
    initial, maintenance = margin.figures.initial["options"], margin.figures.maintenance["options"]
    assert (initial + value) / 50_000.0 == pytest.approx(0.14, rel=1e-9)
    assert (maintenance + value) / 50_000.0 == pytest.approx(0.105, rel=1e-9)
    put = "BTC-26JUN26-50000-P"
    margin = margin_of({put: -1.0}, coin_option(put, 0.05), rates, BTC=1.0)
    assert margin.figures.initial["options"] / 50_000.0 == pytest.approx(0.15, rel=1e-9)
    assert margin.figures.maintenance["options"] / 50_000.0 == pytest.approx(0.075, rel=1e-9)
    long = margin_of({put: 1.0}, coin_option(put, 0.05), rates, BTC=1.0)
    assert long.available == pytest.approx(50_000.0, rel=1e-12)


@pytest.mark.criterion("STD-5")
def test_a_short_put_takes_the_larger_of_its_two_forms():
    """S = 2,000, K = 1,500, deep in volatility: mark M. Initial max(max(0.15 − 0.25, 0.1)·S + M, 1.05·maintenance)."""
    put = "BTC_USDC-26JUN26-1500-P"
    at = market(marks={put: Price(900.0)})
    rates = OptionRates(0.15, 0.1, 0.075, 0.08, 0.3, 1.05)
    margin = margin_of({put: -1.0}, at, standard(options={"*": rates}))
    maintenance = max(160.0, 270.0) + 900.0
    assert margin.figures.maintenance["options"] == pytest.approx(maintenance - 900.0, rel=1e-9)
    assert margin.figures.initial["options"] == pytest.approx(max(1_100.0, 1.05 * maintenance) - 900.0, rel=1e-9)


@pytest.mark.criterion("STD-8", "STD-9")
def test_a_box_needs_its_payoff_whatever_its_legs_need():
    box = {"BTC_USDC-26JUN26-1000-C": -1.0, "BTC_USDC-26JUN26-1000-P": 1.0}
    box |= {"BTC_USDC-26JUN26-2000-C": 1.0, "BTC_USDC-26JUN26-2000-P": -1.0}
    at = with_volatility(market(1_500.0), box)
    rates = OptionRates(0.15, 0.1, 0.075, 0.075, 0.075, maximum_loss=True)
    margin = margin_of(box, at, standard(options={"*": rates}))
    venue = margin.option_value - margin.figures.initial["options"]
    assert venue == pytest.approx(-1_000.0, rel=1e-12)
    assert margin.option_value == pytest.approx(-1_000.0, rel=1e-12)
    without = msgspec.structs.replace(rates, maximum_loss=False)
    assert margin_of(box, at, standard(options={"*": without})).figures.initial["options"] > 300.0


@pytest.mark.criterion("STD-8", "STD-10")
def test_an_unpaired_short_call():
    forward, name = 2_002.83305, "BTC_USDC-26JUN26-2000-C"
    at = with_volatility(market(forward=forward), (name,))
    rates = OptionRates(9.0, 9.0, 9.0, 9.0, 9.0, maximum_loss=True, unpaired_initial=1.2, unpaired_maintenance=1.1)
    margin = margin_of({name: -1.0}, at, standard(options={"*": rates}))
    value = -margin.option_value
    assert margin.figures.initial["options"] == pytest.approx(-value + 2_403.39966, rel=1e-12)
    assert margin.figures.maintenance["options"] == pytest.approx(-value + 1.1 * forward, rel=1e-12)


# The portfolio model.


@pytest.mark.criterion("PM-3")
@pytest.mark.parametrize(
    ("days", "up", "down"),
    [
        (1.0, 2.3870955573360906, 0.23709744346515016),
        (15.0, 1.615572206672458, 0.661435286330148),
        (30.0, 1.5, 0.725),
        (31.0, 1.4978731976725586, 0.7261697412800927),
        (0.25, 2.3870955573360906, 0.23709744346515016),
    ],
)
def test_volatility_shocks_by_days(days, up, down):
    r = VolatilityRange(0.5, 0.275, 0.3, 0.13, 1.0)
    with mpmath.workdps(40):
        m = (mpmath.mpf(30) / max(1, mpmath.mpf(days))) ** (mpmath.mpf("0.3") if days <= 30 else mpmath.mpf("0.13"))
        assert float(1 + mpmath.mpf("0.5") * m) == pytest.approx(up, rel=1e-15)
    assert volatility_multiplier(r, VolatilityShock.UP, days) == pytest.approx(up, rel=4e-16)
    assert volatility_multiplier(r, VolatilityShock.DOWN, days) == pytest.approx(down, rel=2e-15)
    assert volatility_multiplier(r, VolatilityShock.NONE, days) == 1.0


@pytest.mark.criterion("PM-3")
def test_without_a_floor_nothing_is_shocked_at_expiry_and_a_fall_stops_at_zero():
    r = VolatilityRange(0.5, 0.275, 0.3, 0.13)
    assert volatility_multiplier(r, VolatilityShock.UP, 0.0) == 1.0
    assert volatility_multiplier(r, VolatilityShock.DOWN, 0.0) == 1.0
    assert volatility_multiplier(VolatilityRange(0.5, 2.0, 0.3, 0.1), VolatilityShock.DOWN, 1.0) == 0.0


@pytest.mark.criterion("PM-4", "PM-5")
def test_the_twist_of_the_surface():
    skew = SkewRange(0.15, -0.05, 0.15, -0.05, 0.01, 4.0, 0.6, -0.1)
    linear, absolute, width = skew_caps(skew, 0.25)
    assert (linear, absolute, width) == pytest.approx((0.125, 0.125, 1.1), rel=1e-15)
    k = math.log(1.2)
    assert k == pytest.approx(0.1823215567939546, rel=1e-15)
    assert skew_multiplier(k, linear, width) == pytest.approx(1.0207183587265857, rel=1e-15)
    assert skew_multiplier(-k, linear, width) == pytest.approx(2.0 - 1.0207183587265857, rel=1e-15)
    for years in (0.0, 1e-4, 0.25, 20.0):
        caps = skew_caps(skew, years)
        for at in (-3.0, -0.1, 0.0, 1e-9, 0.1, 5.0):
            for name, cap in (("linear", caps[0]), ("absolute", caps[1])):
                at_ = at if name == "linear" else abs(at)
                expected = max(0.0, reference.twist(skew, years, at_, linear=name == "linear"))
                assert skew_multiplier(at_, cap, caps[2]) == pytest.approx(expected, rel=1e-14)


@pytest.mark.criterion("PM-4")
@pytest.mark.parametrize(
    ("k", "cap", "width", "multiplier"),
    [
        (0.2, -0.1, 0.5, 0.9),  # r = −0.04; min(r, cap) = −0.1: a negative cap is no cap
        (-0.2, -0.1, 0.5, 1.1),  # r = 0.04; max(r, 0.1)
        (0.2, 0.1, 0.0, 1.1),
        (-0.2, 0.1, 0.0, 0.9),
        (0.0, 0.1, 0.0, 1.0),
        (0.2, 0.0, 0.0, 1.0),
        (0.2, -0.1, 0.0, 0.0),
        (9.0, 0.1, 0.5, 1.1),
        (-9.0, 0.1, 0.5, 0.9),
        (9.0, -3.0, 0.5, 0.0),
    ],
)
def test_edges_of_the_twist(k, cap, width, multiplier):
    assert skew_multiplier(k, cap, width) == pytest.approx(multiplier, rel=1e-15)


@pytest.mark.criterion("PM-4")
def test_skew_scenarios_move_no_price_of_options():
    scenario = Scenario(0.7, VolatilityShock.SKEW_LINEAR)
    skew = SkewRange(0.0, 0.0, 0.0, 0.0, 0.1, 1.0, 1.0, 0.0)
    for name in ("BTC_USDC-26JUN26-2000-C", "BTC-26JUN26-2000-C"):
        at = with_volatility(market(), (name,))
        table = build_table(scan(scenario, skew=skew), at, [worlds.instrument(name)])
        line = table.line_of_instrument[worlds.instrument(name)]
        today = table.arrays.lines[line, LineField.TODAY]
        assert table.arrays.values[line] == pytest.approx([today] * 8, rel=1e-14)


@pytest.mark.criterion("PM-6", "PM-7")
def test_discounts_by_the_sign_of_an_expirys_value():
    d = StaticDiscounts(0.95, 1.04, 1.0, 0.08, 0.5, 0.08)
    t, rate = 0.5, 0.04
    long = 0.95 * math.exp(-t * (0.04 + 0.08))
    short = 1.04 / math.exp(-t * (0.02 + 0.08))
    d_factor = math.exp(-0.02)
    assert option_value_multipliers(d, rate, t, d_factor) == pytest.approx(
        (long, min(1.0 / d_factor, short)), rel=1e-14
    )
    assert option_value_multipliers(d, rate, t, 0.5) == pytest.approx((long, short), rel=1e-14)
    assert option_value_multipliers(None, rate, t, 0.5) == (1.0, 1.0)
    name = "BTC_USDC-26JUN26-1000-C"
    at = with_volatility(market(), (name,), 0.0)
    for r, factor in ((0.1, None), (-0.1, 1.0)):
        expiries = {k: msgspec.structs.replace(e, rate=r) for k, e in at.underlyings["BTC"].expiries.items()}
        bitcoin = msgspec.structs.replace(at.underlyings["BTC"], expiries=expiries)
        rated = msgspec.structs.replace(at, underlyings={"BTC": bitcoin})
        years = rated.years_to_expiry(worlds.instrument(name))
        value = margin_of({name: 1.0}, rated, scan(1.0, discounting=True)).equity
        assert value == pytest.approx(1_000.0 * (factor or math.exp(-r * years)), rel=1e-14)
        assert margin_of({name: 1.0}, rated, scan(1.0)).equity == 1_000.0


@pytest.mark.criterion("PM-1", "PM-9")
def test_weights_and_factors():
    parameters = scan(
        Scenario(0.9), Scenario(0.5, VolatilityShock.UP, 0.15), initial_factor=1.3, maintenance_factor=0.6
    )
    figures = margin_of({LINEAR: 1.0}, market(), parameters).figures
    assert figures.initial["scan"] == pytest.approx(1.3 * 200.0)  # 10 % in full against 15 % of 50 %
    assert figures.maintenance["scan"] == pytest.approx(0.6 * 200.0)


@pytest.mark.criterion("PM-1", "PM-4")
def test_a_skew_scenario_counts_gains_of_options_as_losses():
    """A twist of 4/5 at every upper strike: what a long call loses, a short one loses too, each at half its weight."""
    name = "BTC_USDC-26JUN26-3000-C"
    at = with_volatility(market(), (name,), 0.5)
    twist = scan(
        Scenario(1.0, VolatilityShock.SKEW_LINEAR, 0.5),
        skew=SkewRange(-0.2, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0),  # a cap of −0.2: min(r, cap) is −0.2 for k ≥ 0
    )
    years = at.years_to_expiry(worlds.instrument(name))
    before, after = (float(reference.black(2_000.0, 3_000.0, years, v, 1.0, is_call=True)) for v in (0.5, 0.4))
    assert before > after + 10.0
    for quantity in (1.0, -1.0):
        figures = margin_of({name: quantity, LINEAR: 7.0}, at, twist).figures
        assert figures.initial["scan"] == pytest.approx(0.5 * (before - after), rel=1e-9)


@pytest.mark.criterion("PM-2")
def test_a_forward_that_is_partly_fixed_moves_partly():
    name = "BTC_USDC-1JAN26T001000-1000-C"
    of = worlds.instrument(name)
    for given, window, settled in ((0.0, 0.0, 0.0), (0.0, 1_800.0, 2.0 / 3.0), (0.9, 1_800.0, 0.9), (0.3, 300.0, 0.3)):
        bitcoin = Underlying(
            Price(2_000.0), expiries={of.expiry: Expiry(2_000.0, settled_fraction=given)}, volatilities={name: 0.0}
        )
        at = Market(worlds.NOW, {"BTC": bitcoin}, {"USDC": Price(1.0)})
        parameters = scan(0.8, 1.0, settlement_window_seconds=window)
        expected = 2_000.0 * 0.2 * (1.0 - settled)
        assert margin_of({name: 1.0}, at, parameters).figures.initial["scan"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.criterion("PM-10", "PM-2", "CON-2")
def test_at_the_expiry_instant_an_option_is_worth_its_intrinsic_value():
    name = "BTC_USDC-1JAN26T000000-2500-C"
    of = worlds.instrument(name)
    bitcoin = Underlying(Price(2_691.6), expiries={of.expiry: Expiry(2_691.6029850999994)}, volatilities={name: 0.8})
    at = Market(worlds.NOW, {"BTC": bitcoin}, {"USDC": Price(1.0)})
    assert at.time == of.expiry
    assert at.years_to_expiry(of) == 0.0
    up = (Scenario(1.2, VolatilityShock.UP), Scenario(0.9, VolatilityShock.DOWN))
    margin = margin_of({name: -1.0}, at, scan(*up, settlement_window_seconds=1_800.0))
    assert margin.figures.initial["scan"] == 0.0
    assert -margin.equity == pytest.approx(191.6029850999994, rel=1e-13)
    moving = margin_of({name: -1.0}, at, scan(*up))
    assert moving.figures.initial["scan"] == pytest.approx(0.2 * 2_691.6029850999994, rel=1e-13)
    with pytest.raises(InputError, match="expired"):
        margin_of({name: -1.0}, msgspec.structs.replace(at, time=at.time + 1), scan(*up))


@pytest.mark.criterion("PM-8")
def test_the_basis_contingency_of_options_and_of_futures():
    """One year out: factor 0.5 + 1 × T; ±5 % of a future of 2,000 is 100."""
    basis = BasisContingency(1.05, 0.95, 0.5, 1.0, futures=True)
    at = market(marks={FUTURE: 2_000.0})
    years = at.years_to_expiry(worlds.instrument(FUTURE))
    with_futures = margin_of({FUTURE: 1.0}, at, scan(1.0, basis=basis)).figures
    assert with_futures.initial["scan"] == pytest.approx(100.0 * (0.5 + years), rel=1e-12)
    without = scan(1.0, basis=msgspec.structs.replace(basis, futures=False))
    assert margin_of({FUTURE: 1.0}, at, without).figures.initial["scan"] == 0.0
    assert margin_of({LINEAR: 1.0}, at, scan(1.0, basis=basis)).figures.initial["scan"] == 0.0
    call = "BTC_USDC-26JUN26-1000-C"
    options = margin_of({call: 1.0}, with_volatility(market(), (call,), 0.0), without).figures
    assert options.initial["scan"] == pytest.approx(100.0 * (0.5 + years), rel=1e-12)


@pytest.mark.criterion("PM-11")
def test_a_quoted_volatility_goes_before_a_smile_and_a_smile_before_a_mark():
    name = "BTC_USDC-26JUN26-50000-C"
    of = worlds.instrument(name)
    bitcoin = worlds.CALM.underlyings["BTC"]
    bare = {k: msgspec.structs.replace(e, svi=None) for k, e in bitcoin.expiries.items()}
    marks = bitcoin.marks | {name: Price(7_000.0)}
    all_three = msgspec.structs.replace(bitcoin, volatilities=bitcoin.volatilities | {name: 0.4}, marks=marks)
    smile_and_mark = msgspec.structs.replace(bitcoin, marks=marks)
    mark_only = msgspec.structs.replace(smile_and_mark, expiries=bare)

    def value(one):
        at = msgspec.structs.replace(worlds.CALM, underlyings={"BTC": one})
        return calculate(Portfolio({}, (Position(of, 1.0, 0.0),)), at, scan(1.0)).equity

    years = worlds.CALM.years_to_expiry(of)
    expected = reference.black(52_000.0, 50_000.0, years, 0.4, 1.0, is_call=True)
    assert value(all_three) == pytest.approx(float(expected), rel=1e-10)
    smile = reference.smile(bitcoin.expiries[of.expiry].svi, 50_000.0, 52_000.0)
    expected = reference.black(52_000.0, 50_000.0, years, smile, 1.0, is_call=True)
    assert value(smile_and_mark) == pytest.approx(float(expected), rel=1e-10)
    assert value(mark_only) == pytest.approx(7_000.0, rel=1e-10)
    with pytest.raises(InputError, match="volatility"):
        value(msgspec.structs.replace(bitcoin, expiries=bare))


# The tail model.


@pytest.mark.criterion("TAIL-2", "TAIL-3")
def test_expected_shortfall_worked():
    results = np.array([-10.0, -4.0, -7.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    room = np.empty(len(results) + 6)
    for engine in (lambda *of: compiled_shortfall(*of, room), expected_shortfall):
        assert engine(results, 2.5, 10) == pytest.approx(7.6, rel=1e-15)
        assert engine(results[::-1].copy(), 2.5, 10) == engine(results, 2.5, 10)
        assert engine(results, 10.0, 10) == 0.0  # the mean is a gain
        assert engine(-np.abs(results), 10.0, 10) == pytest.approx(4.9, rel=1e-15)
        assert engine(np.append(results, [-99.0] * 6), 2.5, 10) == pytest.approx(7.6, rel=1e-15)


@pytest.mark.criterion("TAIL-4")
def test_offsets_between_underlyings_are_granted_in_part():
    """Bitcoin falls 10 % where ether rises 10 %: hedged jointly, so the requirement is what the cap does not grant."""
    moves = {"BTC": (-0.1, 0.0, 0.0, 0.0), "ETH": (0.1, 0.0, 0.0, 0.0)}
    at = worlds.CALM
    held = {LINEAR: 1.0, "ETH_USDC-PERPETUAL": -10.0}
    losses = (4_990.0, 2_003.0)
    tail = TailParameters(
        name="pair", confidence_level=0.75, moves=moves, offset_cap=0.8, collateral=FREE, initial_factor=2.0
    )
    assert margin_of(held, at, tail).figures.initial["scan"] == pytest.approx(2.0 * sum(losses), rel=1e-12)
    long = {LINEAR: 1.0, "ETH_USDC-PERPETUAL": 10.0}  # joint −4,990 + 2,003
    expected = 4_990.0 - 0.8 * (4_990.0 - 2_987.0)
    assert margin_of(long, at, tail).figures.initial["scan"] == pytest.approx(2.0 * expected, rel=1e-12)


@pytest.mark.criterion("TAIL-1")
def test_a_historical_scenario_moves_prices_and_raises_volatility():
    name = "BTC_USDC-26JUN26-2000-C"
    at = with_volatility(market(), (name,))
    tail = TailParameters(
        name="one", confidence_level=0.0, moves={"BTC": (-0.25,)}, volatility_response=2.0, collateral=FREE
    )
    years = at.years_to_expiry(worlds.instrument(name))
    before, after = (
        float(reference.black(f, 2_000.0, years, v, 1.0, is_call=True)) for f, v in ((2_000.0, 0.5), (1_500.0, 0.75))
    )
    assert margin_of({name: 1.0}, at, tail).figures.initial["scan"] == pytest.approx(before - after, rel=1e-9)
    with pytest.raises(InputError, match="moves"):
        margin_of({"ETH_USDC-PERPETUAL": 1.0}, worlds.CALM, tail)


@pytest.mark.criterion("TAIL-5", "TAIL-7")
def test_moves_from_prices_skip_gaps():
    times, prices = [0, 10, 20, 40, 50, 60], [100.0, 110.0, 99.0, 120.0, 60.0, 90.0]
    moves = joint_moves(times, {"BTC": prices}, horizon=2, step=10)
    assert moves == {"BTC": pytest.approx((-0.01, -0.25), rel=1e-13)}
    one = joint_moves(times, {"BTC": prices, "ETH": prices[::-1]}, horizon=1, step=10)
    assert one["BTC"] == pytest.approx((0.1, -0.1, -0.5, 0.5), rel=1e-13)
    assert len(one["ETH"]) == 4
    # A long step and short ones can add up to the horizon: the window still spans a gap.
    with pytest.raises(InputError):
        joint_moves([0, 15, 20], {"BTC": [1.0, 2.0, 3.0]}, horizon=2, step=10)


@pytest.mark.criterion("TAIL-6", "TAIL-7")
def test_volatility_filtered_moves():
    prices = [100.0, 102.0, 99.0, 103.0, 97.0]
    returns = [Fraction(int(b), int(a)) - 1 for a, b in itertools.pairwise(prices)]
    variance = [sum(r * r for r in returns) / 4]
    for r in returns:
        variance.append(Fraction(9, 10) * variance[-1] + Fraction(1, 10) * r * r)
    assert filtered_deviation(np.array([float(r) for r in returns]), 0.9) ** 2 == pytest.approx(
        [float(v) for v in variance], rel=1e-13
    )
    moves = joint_moves(range(5), {"BTC": prices}, horizon=1, step=1, decay=0.9)["BTC"]
    expected = [float(r) * math.sqrt(variance[-1] / v) for r, v in zip(returns, variance, strict=False)]
    assert moves == pytest.approx(expected, rel=1e-12)
    crash = [100.0] * 200 + [100.0 * 0.05, 1.0, 4.0, 0.2]
    assert min(joint_moves(range(204), {"BTC": crash}, horizon=1, step=1, decay=0.5)["BTC"]) >= -1.0 + 1e-6


# Conventions and results.


@pytest.mark.criterion("CON-6", "RES-1", "RES-7")
def test_requirements_round_up_and_credits_down():
    parameters = standard(collateral={"USD": Collateral((HaircutTier(0.0, 1.0 / 3.0, 1.0 / 7.0),))})
    margin = margin_of({}, market(), parameters, USD=1.0)
    assert margin.ledger == {
        "equity": "1.000000",
        "initial_margin": "0.333334",
        "maintenance_margin": "0.142858",
        "available": "0.666666",
    }
    below = margin_of({LINEAR: (1.0, 2_000.0000004)}, market(), standard(futures={"*": FutureRates(0.0, 0.0)}))
    assert -1e-6 < below.equity < 0.0
    assert below.ledger["equity"] == "-0.000001"


@pytest.mark.criterion("CON-1")
def test_the_numeraire_divides_every_value():
    parameters = scan(0.9, 1.1, collateral=FREE)
    dollars = margin_of({LINEAR: (1.0, 1_500.0)}, market(peg=0.8), parameters, USD=100.0, BTC=1.0)
    tokens = margin_of({LINEAR: (1.0, 1_500.0)}, market(peg=0.8, numeraire="USDC"), parameters, USD=100.0, BTC=1.0)
    assert dollars.equity == pytest.approx(500.0 * 0.8 + 100.0 + 2_000.0)
    assert tokens.equity == pytest.approx(500.0 + 125.0 + 2_500.0)
    assert tokens.initial_margin == pytest.approx(dollars.initial_margin / 0.8)


@pytest.mark.criterion("CON-2", "CON-3")
def test_a_year_has_365_days():
    of = worlds.instrument("BTC-9JAN26-1-C")
    assert market().years_to_expiry(of) == float(Fraction((of.expiry - worlds.NOW), worlds.YEAR))


@pytest.mark.criterion("RES-1")
def test_binding_scenarios_parameters_and_time():
    margin = margin_of({LINEAR: 1.0, "ETH_USDC-PERPETUAL": -1.0}, worlds.CALM, scan(0.9, 1.0, 1.2))
    assert {u: b.label for u, b in margin.binding_scenarios.items()} == {
        "BTC": Scenario(0.9).label,
        "ETH": Scenario(1.2).label,
    }
    assert margin.binding_scenarios["BTC"].result == pytest.approx(-4_990.0)
    assert margin.parameters.digest == scan(0.9, 1.0, 1.2).digest
    assert margin.table.time == worlds.NOW
    assert margin.option_value == 0.0
