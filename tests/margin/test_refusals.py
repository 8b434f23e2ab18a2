"""What a margin refuses to answer, and what must not change it: findings of a review, kept as tests."""

import msgspec
import numpy as np
import pytest
import worlds

from holdfast.domain.errors import InputError
from holdfast.domain.instruments import entry_cost
from holdfast.domain.market import Price
from holdfast.domain.names import parse_instrument
from holdfast.domain.parameters import GuardRails
from holdfast.domain.portfolio import Order, Portfolio, Position, Trade
from holdfast.margin import presets
from holdfast.margin.calculation import calculate
from holdfast.margin.history import filtered_deviation, joint_moves
from holdfast.margin.report import mark_price, printable
from holdfast.margin.scenarios import option_value_multipliers
from holdfast.margin.solve import restoring_trade

CALLS = ("BTC_USDC-26JUN26-50000-C", "BTC_USDC-26JUN26-65000-C")


def held(balances, **quantities):
    positions = tuple(Position(parse_instrument(n), q, 0.0) for n, q in quantities.items())
    return Portfolio(balances, positions)


@pytest.mark.criterion("STD-8", "ORD-9")
def test_other_lines_of_the_table_do_not_change_a_margin():
    portfolio = held({"USDC": 300_000.0}, **{CALLS[0]: -10.0, CALLS[1]: 9.0})
    market = worlds.market(peg=0.97)
    other = parse_instrument("BTC-26JUN26-50000-C")
    for parameters in (presets.standard(), presets.derive_standard()):
        alone = calculate(portfolio, market, parameters)
        assert calculate(portfolio, market, parameters, lines=(other,)).figures == alone.figures
        with_order = msgspec.structs.replace(portfolio, orders=(Order(other, 1e-9, 0.1),))
        assert calculate(with_order, market, parameters).maintenance_margin == alone.maintenance_margin


@pytest.mark.criterion("RES-6")
@pytest.mark.parametrize("name", ["portfolio", "deribit-portfolio", "standard"])
def test_a_restoring_trade_counts_open_orders_as_they_are_after_it(name):
    perpetual = parse_instrument("BTC-PERPETUAL")
    positions = (
        Position(perpetual, -50_000.0, entry_cost(perpetual, -50_000.0, 50_000.0)),
        Position(parse_instrument("BTC-26JUN26-65000-C"), -3.0, 0.0),
    )
    order = Order(perpetual, 300_000.0, 51_000.0)
    market, parameters = worlds.market(), presets.preset(name)
    rich = calculate(Portfolio({"USDC": 1e6}, positions, (order,)), market, parameters)
    tiers = parameters.collateral_of("USDC").tiers
    credit = 1.0 - (tiers[0].initial if tiers else 0.0)
    balance = 1e6 - (rich.available + 2_000.0) / credit  # leaves about two thousand dollars too little
    margin = calculate(Portfolio({"USDC": balance}, positions, (order,)), market, parameters)
    assert margin.available < 0.0
    trade = restoring_trade(margin)
    assert trade is not None
    after = margin.what_if([Trade(trade.instrument, trade.quantity, mark_price(margin, trade.instrument))])
    assert after.available == pytest.approx(trade.available, abs=1e-6)
    assert after.available >= -1e-6


@pytest.mark.parametrize(
    "change",
    [
        lambda m: msgspec.structs.replace(m.underlyings["BTC"], index=Price(1e308)),
        lambda m: msgspec.structs.replace(
            m.underlyings["BTC"],
            expiries={t: msgspec.structs.replace(e, forward=1e-300) for t, e in m.underlyings["BTC"].expiries.items()},
        ),
    ],
)
def test_numbers_that_are_none_are_refused_and_not_called_safe(change):
    market = worlds.market()
    wild = msgspec.structs.replace(market, underlyings=market.underlyings | {"BTC": change(market)})
    portfolio = held({"BTC": 1e3}, **{"BTC-26JUN26-40000-P": -1e5})
    with pytest.raises(InputError) as refused:
        calculate(portfolio, wild, presets.portfolio())
    assert refused.value.code == "out-of-range"


def test_wild_factors_are_refused_with_the_figure_they_spoil():
    wild = msgspec.structs.replace(presets.derive_portfolio(), initial_factor=1e308)
    with pytest.raises(InputError, match="initial_margin"):
        calculate(held({"USDC": 1.0}, **{CALLS[0]: -1e6}), worlds.market(), wild)


@pytest.mark.parametrize(("initial", "maintenance"), [(0.0, 2.0), (1.0, 0.5), (-3.0, 1.0), (float("nan"), 1.0)])
def test_factors_of_a_scan_stay_on_their_rails(initial, maintenance):
    rails = GuardRails("test", minimum_factor=0.8)
    for parameters in (presets.portfolio(), presets.tail({"BTC": tuple([0.01] * 250)})):
        with pytest.raises(InputError, match="factor"):
            msgspec.structs.replace(
                parameters, rails=rails, initial_factor=initial, maintenance_factor=maintenance
            ).__post_init__()


def test_a_parameter_file_below_its_rails_says_which_number():
    raw = msgspec.to_builtins(presets.standard())
    raw["futures"]["BTC"]["maintenance"] = 0.01
    with pytest.raises(InputError) as refused:
        presets.load_parameters(msgspec.json.encode(raw))
    assert refused.value.field == "futures[BTC].maintenance"
    assert "EMIR" in str(refused.value)


@pytest.mark.criterion("PM-7")
def test_a_negative_rate_makes_no_premium_of_a_discount():
    discounts = presets.derive_portfolio().discounts
    assert option_value_multipliers(discounts, -0.3, 1.0, 1.0) == option_value_multipliers(discounts, 0.0, 1.0, 1.0)


@pytest.mark.criterion("STD-2")
def test_open_interest_that_a_rate_needs_is_not_guessed():
    market = worlds.market()
    bare = msgspec.structs.replace(market.underlyings["ETH"], open_interest={})
    market = msgspec.structs.replace(market, underlyings=market.underlyings | {"ETH": bare})
    rates = presets.dydx().futures
    parameters = msgspec.structs.replace(presets.dydx(), futures={"*": rates["*"]})
    with pytest.raises(InputError, match=r"open_interest\[ETH_USDC-PERPETUAL\]"):
        calculate(held({"USDC": 1e4}, **{"ETH_USDC-PERPETUAL": 1.0}), market, parameters)


@pytest.mark.criterion("TAIL-6")
def test_a_return_across_a_gap_tells_the_filter_nothing():
    prices = [100.0 * 1.001**n for n in range(10)]
    prices[5:] = [p * 2.0 for p in prices[5:]]
    times = [n + 100 * (n >= 5) for n in range(10)]
    moves = joint_moves(times, {"BTC": prices}, horizon=1, step=1, decay=0.9)["BTC"]
    assert np.allclose(moves, 0.001, rtol=1e-9)
    assert filtered_deviation(np.array([0.1, np.nan, 0.1]), 0.5).tolist() == pytest.approx([0.1] * 4)


def test_names_cannot_steer_a_terminal():
    assert printable("a\x1b[2Jb\ud800") == "a\\x1b[2Jb\\ud800"
