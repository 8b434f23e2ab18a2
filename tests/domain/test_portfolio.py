"""Portfolios: netting, merging, checking against a market, and every format."""

import itertools
import json
import math
import sys

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.domain.errors import InputError, MissingLibraryError
from holdfast.domain.instruments import unit_value
from holdfast.domain.market import SVI, Expiry, Market, Price, Underlying
from holdfast.domain.names import parse_instrument
from holdfast.domain.portfolio import Order, Portfolio, Position, Trade
from holdfast.domain.portfolio_formats import (
    from_arrow,
    from_ccxt,
    from_csv,
    from_deribit,
    from_json,
    from_rows,
    load_portfolio,
    to_json,
)
from holdfast.domain.units import parse_time

PERPETUAL = parse_instrument("BTC-PERPETUAL")
LINEAR = parse_instrument("BTC_USDC-PERPETUAL")
FUTURE = parse_instrument("BTC-29OCT21")
CALL = parse_instrument("BTC-29OCT21-60000-C")
ALL = (PERPETUAL, LINEAR, FUTURE, CALL)
quantities = st.floats(-1e3, 1e3)
prices = st.floats(1e-3, 5e4)
trades = st.lists(st.builds(Trade, st.sampled_from(ALL), quantities, prices), max_size=8)


def refusal(make):
    with pytest.raises(InputError) as caught:
        make()
    return caught.value.code, caught.value.field


@pytest.mark.criterion("PFM-1")
@pytest.mark.parametrize(
    ("make", "code", "field"),
    [
        (lambda: Position(PERPETUAL, math.nan, 0.0), "not-a-number", "quantity"),
        (lambda: Position(PERPETUAL, 1.0, math.inf), "not-a-number", "cost"),
        (lambda: Position(PERPETUAL, 1.0, 7.1e8), "ledger-overflow", "cost"),
        (lambda: Position(PERPETUAL, 1e20, 0.0), "ledger-overflow", "quantity"),
        (lambda: Position(PERPETUAL, "1", 0.0), "not-a-number", "quantity"),
        (lambda: Order(PERPETUAL, 1.0, 0.0), "out-of-range", "limit_price"),
        (lambda: Order(CALL, 1.0, -0.1), "negative-price", "limit_price"),
        (lambda: Trade(PERPETUAL, 1.0, math.nan), "not-a-number", "price"),
        (lambda: Portfolio({"BTC": math.nan}), "not-a-number", "balances[BTC]"),
        (lambda: Portfolio({"BTC": 1e10}), "ledger-overflow", "balances[BTC]"),
        (lambda: Portfolio({"BTC-PERPETUAL": 1.0}), "malformed", "balances[BTC-PERPETUAL]"),
        (
            lambda: Portfolio({}, (Position(CALL, 1.0, 0.0), Position(CALL, 0.0, 0.0))),
            "duplicate-line",
            "positions[1].instrument",
        ),
        (lambda: Portfolio({}, isolated={"a": Portfolio({}, isolated={"b": Portfolio({})})}), "out-of-range", None),
    ],
)
def test_impossible_portfolios_are_refused(make, code, field):
    refused = refusal(make)
    assert refused[0] == code
    assert field in (None, refused[1])


@pytest.mark.criterion("PFM-1", "PFM-2")
def test_lines():
    order = Order(CALL, -1.0, 0.0)
    portfolio = Portfolio(
        {},
        (
            Position(CALL, 1.0, 0.0),
            Position(FUTURE, 0.0, 0.0),
            Position(LINEAR, 0.0, 5.0),
            Position(PERPETUAL, 10.0, -0.1),
        ),
        (order, order),
    )
    assert [p.instrument for p in portfolio.lines()] == [PERPETUAL, LINEAR, CALL]


@pytest.mark.criterion("PFM-3")
def test_trades_worked():
    bought = Portfolio({"BTC": 1.0}).with_trades([Trade(PERPETUAL, 10_000.0, 50_000.0)])
    assert bought == Portfolio({"BTC": 1.0}, (Position(PERPETUAL, 10_000.0, -0.2),))
    closed = bought.with_trades([Trade(PERPETUAL, -10_000.0, 40_000.0)])
    assert closed.positions == ()
    assert closed.balances == {"BTC": pytest.approx(0.95, rel=1e-15)}
    assert bought.balances == {"BTC": 1.0}
    residue = Portfolio({}, (Position(CALL, 0.3, 0.0),)).with_trades([Trade(CALL, -0.1, 0.1), Trade(CALL, -0.2, 0.1)])
    assert residue.positions == ()
    assert residue.balances == {"BTC": pytest.approx(0.03)}
    assert refusal(lambda: bought.with_trades([Trade(LINEAR, 1e9, 1e9)])) == ("ledger-overflow", "trades[0].cost")


def equity(portfolio, marks):
    """By settlement asset: cash plus unrealised profit."""
    total = dict(portfolio.balances)
    for p in portfolio.positions:
        profit = p.quantity * unit_value(p.instrument, marks[p.instrument]) - p.cost
        total[p.instrument.settlement] = total.get(p.instrument.settlement, 0.0) + profit
    return total


@pytest.mark.criterion("PFM-3")
@settings(deadline=None)
@given(trades, st.fixed_dictionaries(dict.fromkeys(ALL, prices)))
def test_trades_change_equity_by_their_profit_alone(done, marks):
    start = Portfolio({"BTC": 1.0, "USDC": 5.0}, (Position(PERPETUAL, 100.0, -0.2), Position(LINEAR, -2.0, -90.0)))
    after = equity(start.with_trades(done), marks)
    expected = equity(start, marks)
    scale = 1.0 + sum(
        abs(held.quantity * unit_value(held.instrument, marks[held.instrument])) for held in start.positions
    )
    for trade in done:
        values = unit_value(trade.instrument, marks[trade.instrument]), unit_value(trade.instrument, trade.price)
        expected[trade.instrument.settlement] += trade.quantity * (values[0] - values[1])
        scale += abs(trade.quantity) * (abs(values[0]) + abs(values[1]))
    assert after == {held: pytest.approx(total, abs=1e-11 * scale) for held, total in expected.items()}


@pytest.mark.criterion("PFM-4")
def test_merge():
    left = Portfolio(
        {"BTC": 1.0}, (Position(CALL, 1.0, 0.1),), (Order(CALL, 1.0, 0.1),), {"a": Portfolio({"BTC": 1.0})}
    )
    right = Portfolio(
        {"BTC": 2.0, "USD": 3.0},
        (Position(PERPETUAL, 10.0, 0.0), Position(CALL, -1.0, -0.25)),
        (Order(CALL, 2.0, 0.1),),
        {"a": Portfolio({"BTC": 5.0}), "b": Portfolio({})},
        "desk",
    )
    merged = left.merge(right)
    assert merged.balances == {"BTC": 3.15, "USD": 3.0}
    assert merged.positions == (Position(PERPETUAL, 10.0, 0.0),)
    assert [o.quantity for o in merged.orders] == [1.0, 2.0]
    assert merged.isolated == {"a": Portfolio({"BTC": 6.0}), "b": Portfolio({})}
    assert merged.name == "desk"


EXPIRY = parse_time("2021-10-29T08:00Z")


def market(time="2021-10-21T00:00Z", expiry=None, **changes):
    expiry = expiry or Expiry(60_000.0)
    book = {"index": Price(60_000.0), "marks": {"BTC-PERPETUAL": Price(60_000.0)}, "expiries": {EXPIRY: expiry}}
    return Market(parse_time(time), {"BTC": Underlying(**(book | changes))}, {"USDT": Price(1.0)})


@pytest.mark.criterion("PFM-5")
def test_what_a_market_must_say():
    held = Portfolio({"BTC": 1.0, "XYZ": 0.0}, (Position(PERPETUAL, 1.0, 0.0), Position(FUTURE, 1.0, 0.0)))
    held.validate_against(market())
    call = Portfolio({}, (Position(FUTURE, 0.0, 0.0), Position(CALL, 1.0, 0.0)))
    assert refusal(lambda: call.validate_against(market())) == ("missing-volatility", "positions[1].instrument")
    call.validate_against(market(volatilities={CALL.name: 0.8}))
    call.validate_against(market(expiry=Expiry(6e4, svi=SVI(0.1, 0.1, 0.0, 0.0, 0.1, 1.0))))
    call.validate_against(market("2021-10-29T08:00:00Z"))
    late = market("2021-10-29T08:00:00.000000001Z", volatilities={CALL.name: 0.8})
    assert refusal(lambda: call.validate_against(late)) == ("expired-option", "positions[1].instrument")
    assert refusal(lambda: held.validate_against(late)) == ("expired-future", "positions[1].instrument")


@pytest.mark.criterion("PFM-5")
@pytest.mark.parametrize(
    ("portfolio", "code", "field"),
    [
        (Portfolio({"XYZ": 1.0}, (Position(LINEAR, 1.0, 0.0),)), "missing-price", "balances[XYZ]"),
        (Portfolio({}, (Position(LINEAR, 1.0, 0.0),)), "missing-price", "positions[0].instrument"),
        (
            Portfolio({}, orders=(Order(parse_instrument("BTC/USDT:USDT"), 1.0, 1.0),)),
            "missing-price",
            "orders[0].instrument",
        ),
        (
            Portfolio({}, (Position(parse_instrument("ETH/USD:ETH"), 1.0, 0.0),)),
            "unknown-underlying",
            "positions[0].instrument",
        ),
        (
            Portfolio({}, (Position(parse_instrument("BTC-5NOV21-1-C"), 1.0, 0.0),)),
            "missing-price",
            "positions[0].instrument",
        ),
        (Portfolio({}, isolated={"a": Portfolio({"XYZ": 1.0})}), "missing-price", "isolated[a].balances[XYZ]"),
    ],
)
def test_first_problem_is_reported_at_its_line(portfolio, code, field):
    assert refusal(lambda: portfolio.validate_against(market())) == (code, field)


WORKED = Portfolio({"BTC": 1.5, "USDC": 100.0}, (Position(PERPETUAL, 10_000.0, -0.2), Position(CALL, -1.0, 0.0)))


@pytest.mark.criterion("PFM-6", "PFM-7")
def test_own_json():
    source = """{"balances": {"BTC": "1.5", "usdc": 100},
        "positions": [{"instrument": "BTC/USD:BTC", "quantity": 10000, "entry_price": 50000},
                      {"instrument": "BTC-29OCT21-60000-C", "quantity": "-1"}]}"""
    assert from_json(source) == WORKED
    for given_as in (
        source,
        source.encode(),
        "\ufeff" + source,
        json.loads(source),
        WORKED,
        bytearray(source.encode()),
    ):
        assert load_portfolio(given_as) == WORKED


def position_json(**fields):
    return json.dumps({"positions": [fields]})


@pytest.mark.criterion("PFM-6", "PFM-7")
@pytest.mark.parametrize(
    ("source", "code", "field"),
    [
        (position_json(instrument="BTC-PERPETUAL", quantity=1), "missing-field", "positions[0].entry_price"),
        (
            position_json(instrument="BTC-PERPETUAL", quantity=1, cost=1, entry_price=1),
            "malformed",
            "positions[0].cost",
        ),
        (
            position_json(instrument="BTC-PERPETUAL", quantity=1, entry_price=0),
            "out-of-range",
            "positions[0].entry_price",
        ),
        (position_json(instrument="BTC-PERPETUAL", quantity=1, price=1), "malformed", "positions[0].price"),
        (position_json(instrument="BTC-PERPETUAL"), "missing-field", "positions[0].quantity"),
        (position_json(instrument=CALL.name, quantity=True), "not-a-number", "positions[0].quantity"),
        (position_json(instrument=CALL.name, quantity="nan"), "not-a-number", "positions[0].quantity"),
        (position_json(instrument=CALL.name, quantity="1_0"), "not-a-number", "positions[0].quantity"),
        (position_json(instrument=CALL.name, quantity=1e300), "ledger-overflow", "positions[0].quantity"),
        (position_json(instrument="BTC", quantity=1), "unknown-instrument", "positions[0].instrument"),
        (position_json(quantity=1), "missing-field", "positions[0].instrument"),
        (position_json(instrument=5, quantity=1), "malformed", "positions[0].instrument"),
        ('{"positions": {"a": 1}}', "malformed", "positions"),
        ('{"orders": [{"instrument": "BTC-PERPETUAL", "quantity": 1}]}', "missing-field", "orders[0].limit_price"),
        ('{"balances": {"BTC": NaN}}', "not-a-number", "JSON"),
        ('{"balances": {"BTC": 1e999}}', "not-a-number", "balances[BTC]"),
        ('{"balances": {"BTC": 1, "BTC": 2}}', "duplicate-line", "BTC"),
        ('{"balances": {"BTC": 1, "btc": 2}}', "duplicate-line", "balances[btc]"),
        ('{"isolated": {"a": {"balances": {"BTC": "x"}}}}', "not-a-number", "isolated[a].balances[BTC]"),
        ('{"balance": {}}', "malformed", "balance"),
        ('{"a', "malformed", "portfolio"),
        ("[" * 100_000, "malformed", "portfolio"),
        ('{"balances": {"BTC": ' + "1" * 5_000 + "}}", "not-a-number", None),
        (b"{\xff}", "malformed", "portfolio"),
        ("[1]", "malformed", "rows[0]"),
        ("", "malformed", "CSV"),
        ("null", "missing-field", "columns"),
        (None, "malformed", "rows"),
        (5, "malformed", "rows"),
    ],
)
def test_reading_is_strict(source, code, field):
    refused = refusal(lambda: load_portfolio(source))
    assert refused[0] == code
    assert field in (None, refused[1])


names = st.text("ABCDEFGHIJ", min_size=1, max_size=5)
balances = st.dictionaries(names, st.floats(-7e7, 7e7), max_size=4)
portfolios = st.builds(
    Portfolio,
    balances,
    st.lists(st.builds(Position, st.sampled_from(ALL), quantities, quantities), unique_by=lambda p: p.instrument).map(
        tuple
    ),
    st.lists(st.builds(Order, st.sampled_from(ALL), quantities, prices), max_size=3).map(tuple),
    st.dictionaries(names, st.builds(Portfolio, balances), max_size=2),
    names | st.just(""),
)


@pytest.mark.criterion("PFM-7")
@settings(deadline=None)
@given(portfolios)
def test_json_round_trips(portfolio):
    assert from_json(to_json(portfolio)) == portfolio
    assert load_portfolio(to_json(portfolio)) == portfolio


@pytest.mark.criterion("PFM-8")
def test_csv():
    source = "Instrument,Quantity,Entry Price\nBTC,1.5,\nusdc,100,\n\n"
    source += "BTC-PERPETUAL,10000,50000\n,,\nBTC-29OCT21-60000-C,-1,\n"
    assert from_csv(source) == WORKED
    assert load_portfolio(source.replace(",", ";").encode()) == WORKED
    assert load_portfolio(source.replace(",", "\t").replace("\n", "\r\n")) == WORKED
    assert from_csv('instrument,quantity,cost\n"BTC-PERPETUAL",1,-0.5').positions == (Position(PERPETUAL, 1.0, -0.5),)
    assert from_csv("instrument,quantity\n") == Portfolio({})


@pytest.mark.criterion("PFM-8")
@pytest.mark.parametrize(
    ("source", "code", "field"),
    [
        ("instrument,quantity\nBTC-29OCT21-1-C", "malformed", "rows[0]"),
        ('instrument,quantity\nBTC-29OCT21-1-C,"1,000"', "not-a-number", "rows[0].quantity"),
        ("instrument,qty\nBTC-29OCT21-1-C,1", "malformed", "rows[0].qty"),
        ("instrument,quantity,Quantity\nBTC-29OCT21-1-C,1,2", "duplicate-line", "CSV header"),
        ("instrument,quantity,cost\nBTC,1,2", "malformed", "rows[0].cost"),
        ("instrument,quantity\nBTC,1\nbtc,2", "duplicate-line", "rows[1]"),
        ("instrument,quantity\n,2", "missing-field", "rows[0].instrument"),
        (
            "instrument,quantity\nBTC-29OCT21-1-C,1\nBTC/USD:BTC-211029-1-C,1",
            "duplicate-line",
            "positions[1].instrument",
        ),
        ('instrument,quantity\n"BTC,1', "malformed", "CSV"),
        ("a,b\n1,2", "missing-field", "columns"),
    ],
)
def test_csv_is_strict(source, code, field):
    refused = refusal(lambda: load_portfolio(source))
    assert refused[0] == code
    assert field == refused[1]


TABLE = {
    "instrument": ["BTC", "USDC", "BTC-PERPETUAL", CALL.name],
    "quantity": [1.5, 100.0, 10_000.0, -1.0],
    "cost": [None, None, -0.2, None],
}


@pytest.mark.criterion("PFM-8", "PFM-12")
def test_rows_columns_and_arrow():
    assert load_portfolio(TABLE) == WORKED
    assert load_portfolio(TABLE | {"quantity": np.array(TABLE["quantity"])}) == WORKED
    assert from_rows([dict(zip(TABLE, row, strict=True)) for row in zip(*TABLE.values(), strict=True)]) == WORKED
    arrow = pytest.importorskip("pyarrow", reason="reading Arrow tables needs pyarrow").table(TABLE)
    assert load_portfolio(arrow) == WORKED
    assert from_arrow(arrow) == WORKED


@pytest.mark.criterion("PFM-8")
def test_arrow_without_pyarrow_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    table = type("Table", (), {"__arrow_c_stream__": lambda self, schema=None: None})()
    with pytest.raises(MissingLibraryError, match="pip install"):
        load_portfolio(table)


DERIBIT = {
    "instrument_name": "BTC-29OCT21",
    "kind": "future",
    "direction": "sell",
    "size": -2800.0,
    "average_price": 74_847.72,
    "settlement_price": 81_291.98,
    "mark_price": 88_783.05,
    "floating_profit_loss": -0.002906191,
    "leverage": 25,
}


@pytest.mark.criterion("PFM-9", "PFM-10")
def test_deribit_positions():
    option = {"instrument_name": CALL.name, "kind": "option", "direction": "sell", "size": 1.5, "average_price": 0.05}
    flat = {"instrument_name": "BTC-PERPETUAL", "direction": "zero", "size": 0.0, "average_price": 0.0}
    portfolio = load_portfolio([DERIBIT, option, flat])
    assert portfolio.balances == {}
    future, short_call = portfolio.positions
    assert (future.instrument, future.quantity) == (FUTURE, -2800.0)
    assert future.cost == pytest.approx(0.0374092892, abs=5e-11)
    assert short_call == Position(CALL, -1.5, 0.0)
    assert load_portfolio(json.dumps({"jsonrpc": "2.0", "result": [DERIBIT, option]})) == portfolio
    settled = from_deribit([DERIBIT], profit_since="settlement").positions[0]
    assert settled.cost == pytest.approx(0.034443742, abs=5e-10)
    assert -2800.0 * unit_value(FUTURE, 88_783.05) - settled.cost == pytest.approx(-0.002906191, abs=1e-15)


@pytest.mark.criterion("PFM-9")
@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"direction": "buy"}, "malformed", "positions[0].direction"),
        ({"direction": "zero"}, "malformed", "positions[0].direction"),
        ({"direction": "long"}, "malformed", "positions[0].direction"),
        ({"size": None}, "missing-field", "positions[0].size"),
        ({"average_price": None}, "missing-field", "positions[0].average_price"),
        ({"instrument_name": "BTC_USDC"}, "unknown-instrument", "positions[0].instrument"),
    ],
)
def test_deribit_contradictions_are_refused(change, code, field):
    assert refusal(lambda: from_deribit([DERIBIT | change])) == (code, field)


@pytest.mark.criterion("PFM-11")
def test_ccxt_positions():
    row = {"symbol": "BTC/USDC:USDC", "contracts": 3, "contractSize": 0.5, "side": "short", "entryPrice": 60_000}
    inverse = {"symbol": "BTC/USD:BTC", "contracts": 100.0, "contractSize": 100, "side": "long", "entryPrice": 50_000}
    option = {"symbol": "BTC/USD:BTC-211029-60000-C", "contracts": 2, "contractSize": None, "side": "long"}
    expected = (Position(LINEAR, -1.5, -90_000.0), Position(PERPETUAL, 10_000.0, -0.2), Position(CALL, 2.0, 0.0))
    assert from_ccxt([row, inverse, option]).positions == expected
    assert load_portfolio([row, inverse, option]).positions == expected
    deribit = {"symbol": "BTC/USD:BTC-211029", "contracts": -2800.0, "contractSize": 10.0, "info": DERIBIT}
    assert from_ccxt([deribit]) == from_deribit([DERIBIT])
    assert refusal(lambda: from_ccxt([row | {"contracts": None}])) == ("missing-field", "positions[0].contracts")
    assert refusal(lambda: from_ccxt([row | {"contracts": -3, "side": "long"}]))[0] == "malformed"


@pytest.mark.criterion("PFM-12")
def test_other_tables_are_recognised_by_their_columns():
    csv = "instrument_name,size,direction,average_price\nBTC-29OCT21,2800,sell,74847.72\n"
    assert load_portfolio(csv) == from_deribit([DERIBIT])
    assert load_portfolio("symbol,contracts,contractSize,side,entryPrice\nBTC/USDC:USDC,3,0.5,short,60000").positions
    assert load_portfolio([]) == load_portfolio({}) == load_portfolio("{}") == Portfolio({})


@pytest.mark.criterion("INS-7")
def test_lots_are_checked_on_request_only():
    source = '{"isolated": {"a": {"positions": [{"instrument": "BTC-29OCT21-60000-C", "quantity": 0.35}]}}}'
    assert load_portfolio(source).isolated["a"].positions[0].quantity == 0.35
    assert refusal(lambda: load_portfolio(source, check_lots=True)) == (
        "off-lot-grid",
        "isolated[a].positions[0].quantity",
    )


@pytest.mark.criterion("PFM-7", "PFM-8")
@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["balances", "positions", "orders", "isolated", "instrument", "quantity", "cost", "BTC"]
                )
                | st.text(max_size=3),
                inner,
                max_size=3,
            )
        ),
        max_leaves=12,
    )
)
def test_anything_is_a_portfolio_or_an_input_error(value):
    for source in (value, json.dumps(value), msgspec.json.encode(value)):
        try:
            portfolio = load_portfolio(source)
        except InputError:
            continue
        assert from_json(to_json(portfolio)) == portfolio


def test_orders_of_netting_agree():
    """Quantities net to the same line whichever way round; a guard against a sign slip in `merge`."""
    parts = [Portfolio({}, (Position(CALL, q, q / 8),)) for q in (1.0, -3.0, 4.0)]
    results = {tuple(a.merge(b).merge(c).positions) for a, b, c in itertools.permutations(parts)}
    assert results == {(Position(CALL, 2.0, 0.25),)}
