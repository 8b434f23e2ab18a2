"""Open orders: no sequence of fills at their limits leaves an account below initial margin (specs/open-orders.md)."""

import msgspec
import pytest
import worlds
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.domain.market import Expiry, Market, Price, Underlying
from holdfast.domain.parameters import (
    BasisContingency,
    Charge,
    Collateral,
    FutureRates,
    HaircutTier,
    Measure,
    OptionRates,
    PortfolioParameters,
    Scenario,
    StandardParameters,
    TailParameters,
    VolatilityRange,
    VolatilityShock,
)
from holdfast.domain.portfolio import Order, Portfolio, Position, Trade
from holdfast.margin.calculation import calculate

UNIT = st.sampled_from([0.0, 0.0, 0.125, 0.5, 0.875, 1.0, 1.0, 1.0])
"""How much of an order fills."""


def with_orders(portfolio, orders, parameters):
    kept = tuple(p for p in portfolio.positions if worlds.tradable(p.instrument, parameters))
    of = tuple(o for o in orders if worlds.tradable(o.instrument, parameters))
    return msgspec.structs.replace(portfolio, positions=kept, orders=of)


def partly_filled(portfolio, filled):
    """The account after fills at the limits, and what remains of its orders."""
    trades = [
        Trade(o.instrument, o.quantity * part, o.limit_price)
        for o, part in zip(portfolio.orders, filled, strict=True)
        if o.quantity * part != 0.0
    ]
    after = msgspec.structs.replace(portfolio.with_trades(trades), orders=())
    rest = tuple(
        Order(o.instrument, o.quantity * (1.0 - part), o.limit_price)
        for o, part in zip(portfolio.orders, filled, strict=True)
    )
    return after, msgspec.structs.replace(after, orders=rest)


@pytest.mark.criterion("ORD-1", "ORD-2", "ORD-3", "ORD-4", "ORD-5", "ORD-6", "ORD-7", "ORD-8", "ORD-9", "ORD-10")
@pytest.mark.parametrize("model", sorted(worlds.models()))
@settings(max_examples=150)
@given(st.data(), worlds.portfolios(most=4), worlds.orders(), worlds.market_names)
def test_no_fills_of_accepted_orders_leave_an_account_below_initial_margin(model, data, portfolio, orders, market):
    parameters, market = worlds.models()[model], worlds.MARKETS[market]
    before = with_orders(portfolio, orders, parameters)
    filled = [data.draw(UNIT) for _ in before.orders]
    after, with_rest = partly_filled(before, filled)
    accepted, bare = calculate(before, market, parameters), calculate(after, market, parameters)
    slack = 1e-9 * (worlds.gross_value(before, market) + worlds.gross_value(after, market))
    assert bare.available >= accepted.available - slack
    assert calculate(with_rest, market, parameters).available >= accepted.available - slack


@pytest.mark.criterion("ORD-9")
@settings(max_examples=80)
@given(worlds.portfolios(most=4), worlds.orders(), worlds.model_names, worlds.market_names)
def test_orders_only_add_to_initial_margin(portfolio, orders, model, market):
    parameters, market = worlds.models()[model], worlds.MARKETS[market]
    before = with_orders(portfolio, orders, parameters)
    having, without = (calculate(p, market, parameters) for p in (before, msgspec.structs.replace(before, orders=())))
    assert having.figures.initial["orders"] >= 0.0
    assert having.figures.maintenance == without.figures.maintenance
    assert having.equity == without.equity
    if parameters.confidence is None or not parameters.confidence.options_with_perpetual:
        assert having.figures.initial | {"orders": 0.0} == without.figures.initial


@pytest.mark.criterion("ORD-3", "ORD-9")
@settings(max_examples=80)
@given(worlds.portfolios(most=4), worlds.model_names, st.sampled_from(worlds.INSTRUMENTS))
def test_an_order_for_nothing_adds_nothing(portfolio, model, of):
    parameters = worlds.models()[model]
    limit = 1.0
    before = with_orders(portfolio, (Order(of, 0.0, limit),), parameters)
    without = calculate(msgspec.structs.replace(before, orders=()), worlds.CALM, parameters)
    slack = 1e-12 * worlds.gross_value(before, worlds.CALM)
    assert calculate(before, worlds.CALM, parameters).initial_margin == pytest.approx(without.initial_margin, abs=slack)


# Worked numbers, in a market where index, marks and forwards are 100.

LINEAR, INVERSE, FUTURE = "BTC_USDC-PERPETUAL", "BTC-PERPETUAL", "BTC_USDC-26JUN26"
CALL, PUT, UPPER_CALL = "BTC_USDC-26JUN26-100-C", "BTC_USDC-26JUN26-100-P", "BTC_USDC-26JUN26-120-C"
OTHER_CALL = "BTC_USDC-9JAN26-100-C"


def hundred(volatility=0.0):
    expiries = {worlds.instrument(n).expiry: Expiry(100.0) for n in (CALL, OTHER_CALL)}
    bitcoin = Underlying(
        Price(100.0),
        marks={n: Price(100.0) for n in (LINEAR, INVERSE, FUTURE)},
        expiries=expiries,
        volatilities=dict.fromkeys((CALL, PUT, UPPER_CALL, OTHER_CALL), volatility),
    )
    return Market(worlds.NOW, {"BTC": bitcoin}, {"USDC": Price(1.0)})


def scan(*prices, charges=(), collateral=None, **others):
    return PortfolioParameters(
        name="scan",
        scenarios=tuple(Scenario(p) for p in prices),
        volatility=VolatilityRange(0.0, 0.0, 0.0, 0.0),
        charges=charges,
        collateral=collateral or {"*": Collateral()},
        **others,
    )


TEN_PERCENT = scan(0.9, 1.0, 1.1)


def added(parameters, *orders, held=(), balances=None, market=None):
    """The component `orders` of an account, orders and positions as (name, quantity, price)."""
    at = market or hundred()
    portfolio = Portfolio(
        balances or {},
        tuple(Position(worlds.instrument(n), q, q * c) for n, q, c in held),
        tuple(Order(worlds.instrument(n), q, price) for n, q, price in orders),
    )
    return calculate(portfolio, at, parameters).figures.initial["orders"]


@pytest.mark.criterion("ORD-11")
def test_worked_orders_on_one_perpetual():
    buy, sell = (LINEAR, 1.0, 101.0), (LINEAR, -1.0, 99.0)
    assert added(TEN_PERCENT, buy) == pytest.approx(11.0, abs=1e-12)
    assert added(TEN_PERCENT, buy, sell) == pytest.approx(12.0, abs=1e-12)
    assert added(TEN_PERCENT, sell, buy) == pytest.approx(12.0, abs=1e-12)


@pytest.mark.criterion("ORD-1")
def test_orders_of_one_side_add_up_and_orders_that_reduce_add_nothing():
    assert added(TEN_PERCENT, (LINEAR, 1.0, 100.0), (LINEAR, 2.0, 100.0)) == pytest.approx(30.0, abs=1e-12)
    held = ((LINEAR, 5.0, 100.0),)
    assert added(TEN_PERCENT, (LINEAR, -3.0, 100.0), held=held) == 0.0
    assert added(TEN_PERCENT, (LINEAR, -8.0, 100.0), held=held) == 0.0
    assert added(TEN_PERCENT, (LINEAR, -12.0, 100.0), held=held) == pytest.approx(20.0, abs=1e-12)
    assert added(TEN_PERCENT, (LINEAR, 1.0, 100.0), held=held) == pytest.approx(10.0, abs=1e-12)


@pytest.mark.criterion("ORD-2")
def test_a_fill_of_an_inverse_contract_moves_the_coin_that_moves_with_it():
    """Buying 100 dollars at 100 takes cost −1 from the coin line, which then holds +1: the scan sees the price move.

    Interval of the coin line [0, 1], of the contract's line [0, 100]; its value −1 a unit... of −100 in every scenario,
    so only the coin moves: −10 at 0.9. At the limit of 110 the coin line gets 100/110 and the loss to mark is the rest.
    """
    coin = {"BTC": Collateral(underlying="BTC", scanned=True)}
    parameters = scan(0.9, 1.1, collateral=coin)
    assert added(parameters, (INVERSE, 100.0, 100.0)) == pytest.approx(10.0, abs=1e-12)
    assert added(parameters, (INVERSE, -100.0, 100.0)) == pytest.approx(10.0, abs=1e-12)
    got = added(parameters, (INVERSE, 100.0, 110.0))
    assert got == pytest.approx(10.0 / 1.1 + (100.0 - 100.0 / 1.1), abs=1e-12)


@pytest.mark.criterion("ORD-3")
def test_groups_that_no_order_touches_are_exact():
    """A long call spread of another expiry keeps its netting while an order waits on the perpetual."""
    held = ((OTHER_CALL, 3.0, 0.0), (FUTURE, -1.0, 100.0))
    assert added(TEN_PERCENT, (LINEAR, 1e-9, 100.0), held=held) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.criterion("ORD-3")
def test_a_skew_scenario_takes_the_worse_end_and_zero_between():
    """Gains count as losses in a skew scenario of options: a result in [−a, b] is bounded by −max(a, b)."""
    twist = PortfolioParameters(
        name="skew",
        scenarios=(Scenario(1.0, VolatilityShock.SKEW_LINEAR),),
        volatility=VolatilityRange(0.0, 0.0, 0.0, 0.0),
        skew=worlds.SKEW,
        collateral={"*": Collateral()},
    )
    at = hundred(0.6)
    for name in (UPPER_CALL, PUT):
        of = worlds.instrument(name)
        value = calculate(Portfolio({}, (Position(of, 1.0, 0.0),)), at, twist).equity
        alone = [
            calculate(Portfolio({}, (Position(of, q, 0.0),)), at, twist).figures.initial["scan"] for q in (3.0, -5.0)
        ]
        both = added(twist, (name, 3.0, value), (name, -5.0, value), market=at)
        assert both == pytest.approx(max(alone), abs=1e-9)


@pytest.mark.criterion("ORD-4")
def test_the_basis_contingency_is_bounded_group_by_group():
    """Prices ×1.2 and ×0.7, factor 1/2: an order to buy one future bounds the group by −30, to sell by −20."""
    basis = BasisContingency(price_up=1.2, price_down=0.7, add=0.5, per_year=0.0, futures=True)
    parameters = scan(1.0, basis=basis)
    assert added(parameters, (FUTURE, 1.0, 100.0)) == pytest.approx(15.0, abs=1e-12)
    assert added(parameters, (FUTURE, -1.0, 100.0)) == pytest.approx(10.0, abs=1e-12)
    assert added(parameters, (LINEAR, 1.0, 100.0)) == 0.0


@pytest.mark.criterion("ORD-5")
def test_charges_take_the_worse_end():
    gross = scan(1.0, charges=(Charge("perpetual", Measure.GROSS, 0.02, 0.0, 0.01),))
    # |−4|: 400 × (0.02 + 0.04) = 24 against |6|: 600 × (0.02 + 0.06) = 48; held 1: 100 × 0.03 = 3.
    held = ((LINEAR, 1.0, 100.0),)
    assert added(gross, (LINEAR, 5.0, 100.0), (LINEAR, -5.0, 100.0), held=held) == pytest.approx(45.0, abs=1e-12)
    per_strike = scan(1.0, charges=(Charge("option", Measure.NET_SHORT_PER_STRIKE, 0.1, 0.0),))
    orders = ((CALL, -3.0, 0.0), (PUT, 2.0, 0.0), (UPPER_CALL, -1.0, 0.0))
    assert added(per_strike, *orders) == pytest.approx((3.0 + 1.0) * 10.0, abs=1e-12)
    per_expiry = scan(1.0, charges=(Charge("option", Measure.NET_SHORT_PER_EXPIRY, 0.1, 0.0),))
    assert added(per_expiry, *orders, held=((PUT, 1.0, 0.0),)) == pytest.approx((4.0 - 1.0) * 10.0, abs=1e-12)
    offset = scan(
        1.0, charges=(Charge("perpetual", Measure.OFFSET, 0.01, 0.0), Charge("future", Measure.OFFSET, 0.01, 0.0))
    )
    assert added(offset, (LINEAR, 7.0, 100.0), (FUTURE, -4.0, 100.0)) == pytest.approx(4.0, abs=1e-12)
    # One line counts on both sides while its orders may fill either way.
    assert added(offset, (LINEAR, 7.0, 100.0), (LINEAR, -3.0, 100.0)) == pytest.approx(3.0, abs=1e-12)


@pytest.mark.criterion("ORD-6")
def test_maximum_loss_of_what_orders_can_make():
    """Zero volatility, F = S = 100: values of the options are their intrinsic values, 0 here.

    Short one call at 100: isolated 15, payoff floor −20 at 120 counts only while a strike of 120 is on the table.
    Selling the call and buying the call at 120: the spread loses at most 20; not both fill: 1.2·F unpaired.
    """
    rules = OptionRates(0.15, 0.1, 0.075, 0.075, 0.075, maximum_loss=True, unpaired_initial=0.05)
    parameters = StandardParameters(name="loss", futures={}, options={"*": rules}, collateral={"*": Collateral()})
    assert added(parameters, (CALL, -1.0, 0.0)) == pytest.approx(5.0, abs=1e-12)  # 0 − 0 + 0.05·100 < 15
    assert added(parameters, (CALL, -1.0, 0.0), (UPPER_CALL, 1.0, 0.0)) == pytest.approx(15.0, abs=1e-12)
    held = ((UPPER_CALL, 1.0, 0.0),)
    assert added(parameters, (CALL, -1.0, 0.0), held=held) == pytest.approx(15.0, abs=1e-12)  # min(15, 20)
    tight = msgspec.structs.replace(parameters, options={"*": msgspec.structs.replace(rules, initial_maximum=0.4)})
    assert added(tight, (CALL, -1.0, 0.0), held=held) == pytest.approx(20.0, abs=1e-12)  # min(40, 20)


@pytest.mark.criterion("ORD-7")
def test_the_loss_to_mark_of_an_order():
    flat = scan(1.0, collateral={"USDC": Collateral(liability=0.5)})
    assert added(flat, (LINEAR, 2.0, 101.0), balances={"USDC": 1_000.0}) == pytest.approx(2.0 * 1.5, abs=1e-12)
    assert added(flat, (LINEAR, -2.0, 97.0), balances={"USDC": 1_000.0}) == pytest.approx(6.0 * 1.5, abs=1e-12)
    assert added(flat, (LINEAR, 2.0, 99.0), (LINEAR, -2.0, 103.0), balances={"USDC": 1_000.0}) == 0.0
    assert added(flat, (CALL, 3.0, 0.25), balances={"USDC": 1_000.0}) == pytest.approx(0.75 * 1.5, abs=1e-12)
    off_peg = msgspec.structs.replace(hundred(), assets={"USDC": Price(0.5)})
    got = added(flat, (LINEAR, 2.0, 101.0), balances={"USDC": 1_000.0}, market=off_peg)
    assert got == pytest.approx(1.5, abs=1e-12)


@pytest.mark.criterion("ORD-8")
def test_a_gain_that_a_haircut_takes_away_is_counted():
    """Balance 1,000 without loss below 1,000 and all lost twice over above: a gain of 20 brings a loss of 40."""
    tiers = (HaircutTier(0.0, 0.0, 0.0), HaircutTier(1_000.0, 2.0, 1.0))
    flat = scan(1.0, collateral={"USDC": Collateral(tiers)})
    assert added(flat, (LINEAR, 2.0, 90.0), balances={"USDC": 1_000.0}) == pytest.approx(20.0, abs=1e-9)


@pytest.mark.criterion("ORD-8")
def test_a_gain_cannot_jump_over_the_tier_that_costs_most():
    """Between 1,000 and 1,010 twice the value is lost, above nothing more: a part of the fill is the worst outcome."""
    tiers = (HaircutTier(0.0, 0.0, 0.0), HaircutTier(1_000.0, 2.0, 1.0), HaircutTier(1_010.0, 0.0, 0.0))
    flat = scan(1.0, collateral={"USDC": Collateral(tiers)})
    assert added(flat, (LINEAR, 2.0, 90.0), balances={"USDC": 1_000.0}) == pytest.approx(10.0, abs=1e-9)


@pytest.mark.criterion("ORD-10")
def test_tail_orders_bound_the_shortfall_scenario_by_scenario():
    """Ten moves of which −30 % and −10 % are the worst two and +20 % the best; two scenarios averaged.

    Buying one bounds the results by the move itself where negative, so ES = (30 + 10)/2 = 20; with a sale of one as
    well, the worst two of −|move| are −30 and −20: 25.
    """
    moves = (-0.3, -0.1, 0.0, 0.2, 0.05, 0.01, 0.0, 0.0, 0.0, 0.0)
    tail = TailParameters(name="ten", confidence_level=0.8, moves={"BTC": moves}, collateral={"*": Collateral()})
    assert added(tail, (LINEAR, 1.0, 100.0)) == pytest.approx(20.0, abs=1e-9)
    assert added(tail, (LINEAR, 1.0, 100.0), (LINEAR, -1.0, 100.0)) == pytest.approx(25.0, abs=1e-9)


@pytest.mark.criterion("ORD-5")
def test_standard_orders_charge_the_larger_side():
    rates = StandardParameters(
        name="futures",
        futures={"*": FutureRates(0.1, 0.05, 0.001)},
        options={},
        collateral={"*": Collateral()},
    )
    # Held −2; orders +5 and −1: ends −3 and 3: 300 × 0.103 = 30.9 less 200 × 0.102 = 20.4.
    held = ((LINEAR, -2.0, 100.0),)
    assert added(rates, (LINEAR, 5.0, 100.0), (LINEAR, -1.0, 100.0), held=held) == pytest.approx(10.5, abs=1e-12)
