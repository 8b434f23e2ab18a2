"""What would change a margin: liquidation prices, restoring trades and what-ifs (RES-4 to RES-6)."""

import msgspec
import pytest
import worlds
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from holdfast.domain.market import Expiry, Market, Price, Underlying
from holdfast.domain.parameters import Collateral, FutureRates, StandardParameters
from holdfast.domain.portfolio import Order, Portfolio, Position, Trade
from holdfast.margin import presets
from holdfast.margin.calculation import calculate
from holdfast.margin.solve import liquidation_price, liquidation_prices, restoring_trade, with_prices_scaled

FLAT = StandardParameters(
    name="flat", futures={"*": FutureRates(0.1, 0.05)}, options={}, collateral={"*": Collateral()}
)
LINEAR, INVERSE, CALL = "BTC_USDC-PERPETUAL", "BTC-PERPETUAL", "BTC_USDC-26JUN26-100-C"


def hundred(**changes):
    bitcoin = Underlying(
        Price(100.0),
        marks={LINEAR: Price(100.0), INVERSE: Price(100.0)},
        expiries={worlds.instrument(CALL).expiry: Expiry(100.0)},
        **changes,
    )
    return Market(worlds.NOW, {"BTC": bitcoin}, {"USDC": Price(1.0)})


def held(name, quantity, cost, **balances):
    return Portfolio(balances, (Position(worlds.instrument(name), quantity, cost),))


@pytest.mark.criterion("RES-4")
def test_worked_liquidation_prices():
    """Long 1 at 100 with 20 of cash: 20 + p − 100 = 0.05·p at p = 80/0.95; short: 20 + 100 − p = 0.05·p at 120/1.05."""
    long = calculate(held(LINEAR, 1.0, 100.0, USDC=20.0), hundred(), FLAT)
    assert liquidation_price(long, "BTC").below == pytest.approx(80.0 / 0.95, rel=2e-9)
    assert liquidation_price(long, "BTC").above is None
    short = calculate(held(LINEAR, -1.0, -100.0, USDC=20.0), hundred(), FLAT)
    assert liquidation_price(short, "BTC").above == pytest.approx(120.0 / 1.05, rel=2e-9)
    assert liquidation_price(short, "BTC").below is None


@pytest.mark.criterion("RES-4")
def test_worked_liquidation_price_of_an_inverse_position_on_its_own_coin():
    """Long 400 dollars at 100 with 1 BTC: (1 + 4 − 400/p)·p = 5p − 400 equals 0.05·400 at p = 84."""
    margin = calculate(held(INVERSE, 400.0, -4.0, BTC=1.0), hundred(), FLAT)
    found = liquidation_price(margin, "BTC")
    assert found.below == pytest.approx(84.0, rel=2e-9)
    assert found.index == 100.0
    assert found.above is None


@pytest.mark.criterion("RES-4")
def test_there_is_no_liquidation_price_without_leverage_or_when_hedged():
    assert liquidation_price(calculate(held(LINEAR, 1.0, 100.0, USDC=110.0), hundred(), FLAT), "BTC").below is None
    hedged = Portfolio({"BTC": 1.0}, (Position(worlds.instrument(INVERSE), -100.0, 1.0),))
    found = liquidation_price(calculate(hedged, hundred(), FLAT), "BTC")
    assert (found.below, found.above) == (None, None)
    only_coin = liquidation_prices(calculate(Portfolio({"BTC": 1.0}), worlds.CALM, worlds.busy_portfolio()))
    assert [(p.underlying, p.below, p.above) for p in only_coin] == [("BTC", None, None)]


@pytest.mark.criterion("RES-4", "TAB-10")
def test_an_account_below_maintenance_is_at_its_liquidation_price():
    margin = calculate(held(LINEAR, 1.0, 100.0, USDC=4.0), hundred(), FLAT)
    assert margin.is_liquidatable
    assert liquidation_price(margin, "BTC").below == 100.0
    equal = calculate(held(LINEAR, 1.0, 100.0, USDC=5.0), hundred(), FLAT)
    assert equal.equity == equal.maintenance_margin == 5.0
    assert not equal.is_liquidatable


@pytest.mark.criterion("RES-4")
@pytest.mark.parametrize("model", sorted(worlds.models()))
@settings(max_examples=6, phases=[Phase.generate])
@given(worlds.portfolios(most=3), worlds.market_names)
def test_at_a_liquidation_price_equity_meets_maintenance(model, portfolio, market):
    parameters, market = worlds.models()[model], worlds.MARKETS[market]
    kept = tuple(p for p in portfolio.positions if worlds.tradable(p.instrument, parameters))
    margin = calculate(Portfolio(portfolio.balances, kept), market, parameters)
    assume(not margin.is_liquidatable)
    gross = worlds.gross_value(margin.portfolio, market)
    # Where the price stands in for a smile, volatilities are pinned to the strikes they have today.
    pinned = pin_volatilities(margin)
    for found in liquidation_prices(margin):
        for price, away in ((found.below, -1.0), (found.above, 1.0)):
            if price is None:
                continue
            at, beyond = (
                calculate(margin.portfolio, with_prices_scaled(pinned, found.underlying, f), parameters)
                for f in (price / found.index, price / found.index * (1.0 + away * 1e-7))
            )
            # A jump (a charge that begins, a tier) can make equity fall past maintenance: then safe here, not beyond.
            assert at.equity - at.maintenance_margin >= -1e-6 * gross
            assert beyond.equity - beyond.maintenance_margin <= 1e-6 * gross * (1.0 + price / found.index)
            assert (price - found.index) * away >= 0.0


def pin_volatilities(margin):
    from holdfast.margin.values import option_volatility  # noqa: PLC0415 (only this test asks for it)

    underlyings = dict(margin.market.underlyings)
    for position in margin.portfolio.lines():
        of = position.instrument
        if of.strike is not None:
            sigma = option_volatility(margin.parameters, margin.market, of)
            one = underlyings[of.underlying]
            underlyings[of.underlying] = msgspec.structs.replace(one, volatilities=one.volatilities | {of.name: sigma})
    return msgspec.structs.replace(margin.market, underlyings=underlyings)


@pytest.mark.criterion("RES-4", "PM-11")
def test_the_search_moves_prices_and_not_the_volatility_implied_from_a_mark():
    """A call quoted by its mark alone is margined as the same call quoted by the volatility of that mark."""
    by_mark = hundred()
    bitcoin = by_mark.underlyings["BTC"]
    bitcoin = msgspec.structs.replace(bitcoin, marks=bitcoin.marks | {CALL: Price(12.0)})
    by_mark = msgspec.structs.replace(by_mark, underlyings={"BTC": bitcoin})
    short_call = held(CALL, -1.0, -12.0, USDC=60.0)
    margin = calculate(short_call, by_mark, worlds.models()["portfolio"])
    by_volatility = pin_volatilities(margin)
    expected = liquidation_price(calculate(short_call, by_volatility, margin.parameters), "BTC")
    assert expected.above is not None
    assert liquidation_price(margin, "BTC") == expected


# What-if and restoring trades.


@pytest.mark.criterion("RES-5")
@settings(max_examples=40)
@given(worlds.portfolios(most=4), worlds.orders(least=1), worlds.model_names)
def test_what_if_is_the_margin_of_the_traded_portfolio(portfolio, orders, model):
    parameters = worlds.models()[model]
    kept = tuple(p for p in portfolio.positions if worlds.tradable(p.instrument, parameters))
    trades = [
        Trade(o.instrument, o.quantity, o.limit_price) for o in orders if worlds.tradable(o.instrument, parameters)
    ]
    trades = [t for t in trades if t.quantity]
    margin = calculate(Portfolio(portfolio.balances, kept), worlds.CALM, parameters)
    after = margin.what_if(trades)
    again = calculate(margin.portfolio.with_trades(trades), worlds.CALM, parameters)
    assert after.figures == again.figures
    assert margin.portfolio == Portfolio(portfolio.balances, kept)


@pytest.mark.criterion("RES-6")
def test_a_worked_restoring_trade():
    """Long 2 at 100 with 15: initial 20. Selling q leaves (2 − q)·10 = 15 at q = 0.5."""
    margin = calculate(held(LINEAR, 2.0, 200.0, USDC=15.0), hundred(), FLAT)
    trade = restoring_trade(margin)
    assert trade.instrument.name == LINEAR
    assert trade.quantity == pytest.approx(-0.5, rel=1e-9)
    assert trade.notional == pytest.approx(50.0, rel=1e-9)
    assert trade.price == 100.0
    assert trade.available == pytest.approx(0.0, abs=1e-9)
    assert trade.available >= 0.0


@pytest.mark.criterion("RES-6")
def test_no_trade_where_none_is_needed_or_none_helps():
    assert restoring_trade(calculate(held(LINEAR, 2.0, 200.0, USDC=20.0), hundred(), FLAT)) is None
    assert restoring_trade(calculate(held(LINEAR, 2.0, 200.0, USDC=-1.0), hundred(), FLAT)) is None


@pytest.mark.criterion("RES-6")
def test_open_orders_are_counted_as_they_are():
    order = Order(worlds.instrument(LINEAR), 1.0, 100.0)
    portfolio = msgspec.structs.replace(held(LINEAR, 2.0, 200.0, USDC=25.0), orders=(order,))
    margin = calculate(portfolio, hundred(), FLAT)
    assert margin.available == -5.0
    assert restoring_trade(margin).quantity == pytest.approx(-0.5, rel=1e-9)


@pytest.mark.criterion("RES-6")
@pytest.mark.parametrize("model", ["portfolio", "deribit-portfolio", "derive-portfolio", "tail", "derive-standard"])
# Most random books need no trade, or no single one restores them: what is filtered out is not rare, it is no example.
@settings(max_examples=12, phases=[Phase.generate], suppress_health_check=[HealthCheck.filter_too_much])
@given(worlds.portfolios(most=3, with_balances=st.just({"USDC": 2_000.0, "BTC": 0.25})))
def test_a_restoring_trade_restores_and_a_smaller_one_does_not(model, portfolio):
    parameters = worlds.models()[model]
    margin = calculate(portfolio, worlds.CALM, parameters)
    trade = restoring_trade(margin)
    if margin.available >= 0.0:
        assert trade is None
    assume(trade is not None)
    after, smaller = (margin.what_if([Trade(trade.instrument, k * trade.quantity, trade.price)]) for k in (1.0, 0.99))
    rounding = 1e-9 * worlds.gross_value(portfolio, worlds.CALM)
    assert after.available >= -1e-6 - rounding
    assert after.available == pytest.approx(trade.available, abs=1e-6 + rounding)
    assert smaller.available < 0.0


def test_presets_of_the_examples_above_exist():
    assert set(worlds.models()) - {"tail", "busy-portfolio", "busy-standard", "busy-tail"} <= set(presets.PRESETS)
