"""Worked numbers of the specification, computed by the second engine alone."""

import math
from fractions import Fraction

import numpy as np
import pytest

from holdfast.witness import black, bounds, contracts, liquidation, population, quorum, rules, shocks, whole
from holdfast.witness.clock import Clock
from holdfast.witness.cold import settlement_value
from holdfast.witness.ledger import Columns, Ledger
from holdfast.witness.lines import FrozenMarket, ImpossibleTableError, Line
from holdfast.witness.market import Market
from holdfast.witness.table import build

SECOND = 10**9
ASSETS = {
    name: contracts.asset(number, name, decimals)
    for number, (name, decimals) in enumerate({"USD": 6, "BTC": 8, "ETH": 9, "SOL": 9, "USDC": 6}.items())
}


def contract(name, lot, price_decimals, fees=(0, 0), number=5):
    return contracts.instrument(number, name, lot, price_decimals, ASSETS, fees)


@pytest.mark.parametrize(
    ("exact", "expected"), [((7, 2), 4), ((5, 2), 2), ((-5, 2), -2), ((-7, 3), -2), ((-8, 3), -3), ((6, 3), 2)]
)
def test_half_even_of_unit_3(exact, expected):
    assert whole.half_even(*exact) == expected
    assert whole.half_even_array(np.array([exact[0]]), np.array([exact[1]])) == [expected]


@pytest.mark.parametrize(
    ("name", "lot", "p", "numbers"),
    [
        ("BTC-PERPETUAL", "10", 2, (10, 1, 10**11, 1)),
        ("BTC_USD-PERPETUAL", "0.001", 2, (1, 1_000, 10, 1)),
        ("ETH_USD-PERPETUAL", "0.0001", 4, (1, 10_000, 1, 100)),
        ("BTC-25SEP20-10000-C", "0.1", 4, (1, 10, 1_000, 1)),
        ("SOL_USDC-PERPETUAL", "25", 0, (25, 1, 25_000_000, 1)),
    ],
)
def test_lots_and_costs_of_def_5(name, lot, p, numbers):
    item = contract(name, lot, p)
    assert (item.multiplier, item.divisor, item.numerator, item.denominator) == numbers


@pytest.mark.parametrize(
    ("name", "lot", "p", "lots", "price", "units"),
    [
        ("BTC-PERPETUAL", "10", 2, 1_000, 1_000_000, -100_000_000),
        ("BTC-PERPETUAL", "10", 2, 1_000, 900_000, -111_111_111),
        ("BTC-PERPETUAL", "10", 2, 7, 912_345, -767_254),
        ("BTC_USD-PERPETUAL", "0.001", 2, 1_000, 1_000_000, 10_000_000_000),
        ("ETH_USD-PERPETUAL", "0.0001", 4, 5, 10, 0),
        ("ETH_USD-PERPETUAL", "0.0001", 4, 15, 10, 2),
        ("ETH_USD-PERPETUAL", "0.0001", 4, -25, 10, -2),
        ("BTC-25SEP20-10000-C", "0.1", 4, 10, 500, 5_000_000),
        ("BTC_USD-25SEP20-10000-C", "0.1", 2, 10, 50_000, 500_000_000),
    ],
)
def test_costs_of_led_5_one_by_one_and_as_arrays(name, lot, p, lots, price, units):
    item = contract(name, lot, p)
    assert item.cost(lots, price) == units
    columns = Columns([*ASSETS.values(), item])
    assert columns.costs(np.array([5]), np.array([lots]), np.array([price])) == [units]


def test_array_costs_are_exact_where_products_are_beyond_int64():
    item = contract("ETH_USD-PERPETUAL", "0.0000000001", 4)
    lots, price = [69_999_999_999_999_999, -7 * 10**16, 3], [90_000_001, 77_777_777, 50_000_000]
    found = Columns([*ASSETS.values(), item]).costs(np.array([5, 5, 5]), np.array(lots), np.array(price))
    assert found.tolist() == [round(Fraction(q * p, 10**8)) for q, p in zip(lots, price, strict=True)]


def test_fees_of_led_6():
    item = contract("BTC-PERPETUAL", "10", 2, (500, 0))
    assert [item.fee(cost, 500) for cost in (100_000_000, -111_111_111)] == [50_000, 55_556]


def trades(ledger, columns, *rows):
    ledger.post_trades(columns, *(np.array(column, np.int64) for column in zip(*rows, strict=True)))


@pytest.mark.parametrize("together", [True, False])
def test_alice_and_bob_of_led_8(together):
    item = contract("BTC-PERPETUAL", "10", 2, (500, 0))
    columns, ledger, alice, bob = Columns([*ASSETS.values(), item]), Ledger(), 4, 5
    for account in (alice, bob):
        ledger.post(account, 1, 1_000_000_000)
    rows = [
        (alice, bob, 5, 1_000, 1_000_000), (bob, alice, 5, 400, 1_250_000), (alice, bob, 5, -600, 800_000),
    ]  # fmt: skip
    for batch in [rows] if together else [[row] for row in rows]:
        trades(ledger, columns, *batch)
    assert ledger.rows(alice) == {1: (992_896_500, 0)}
    assert ledger.rows(bob) == {1: (1_006_896_500, 0)}
    assert ledger.rows(1) == {1: (207_000, 0)}
    assert list(ledger.versions[[alice, bob, 1]]) == [7, 7, 3]


def test_a_position_that_changes_its_sign_of_led_8():
    item = contract("BTC_USD-PERPETUAL", "0.001", 2)
    columns, ledger = Columns([*ASSETS.values(), item]), Ledger()
    trades(ledger, columns, (4, 5, 5, 10, 1_000_000), (4, 5, 5, -15, 1_100_000))
    assert ledger.rows(4) == {0: (0, -65_000_000), 5: (-5, -65_000_000)}
    trades(ledger, columns, (4, 5, 5, 5, 1_050_000))
    assert ledger.rows(4) == {0: (12_500_000, 0)}


@pytest.mark.parametrize(
    ("name", "lot", "p", "average", "lots", "value", "other"),
    [
        ("BTC-25SEP20", "10", 2, 912_345_678_900, 7, -767_253, 767_252),
        ("BTC_USD-25SEP20-10000-C", "0.1", 4, 1_012_345_678_900, 3, 37_037_036, -37_037_037),
        ("BTC-25SEP20-10000-C", "0.1", 4, 1_012_345_678_900, 3, 365_853, -365_854),
        ("BTC-25SEP20-9000-P", "0.1", 4, 1_012_345_678_900, 3, 0, 0),
    ],
)
def test_settlement_values_of_led_14(name, lot, p, average, lots, value, other):
    item = contract(name, lot, p)
    decimals = 8 if item.settlement == 1 else 6
    assert settlement_value(item, decimals, lots, average) == value
    assert settlement_value(item, decimals, -lots, average) == other


@pytest.mark.parametrize(
    ("deribit", "ccxt"),
    [
        ("BTC-PERPETUAL", "BTC/USD:BTC"),
        ("BTC_USDT-PERPETUAL", "btc/usdt:usdt"),
        ("BTC_USD_USDC-PERPETUAL", " BTC/USD:USDC"),
        ("BTC-6DEC25", "BTC/USD:BTC-251206"),
        ("BTC_USDC-27DEC26-100000-C", "BTC/USDC:USDC-261227-100000-C"),
        ("XRP_USDC-27DEC26-0d55-P", "XRP/USDC:USDC-261227-0.55-P"),
        ("BTC-27DEC26T153000-100000-P", "BTC/USD:BTC-261227T153000-100000-P"),
    ],
)
def test_both_spellings_of_ins_10_are_one_contract(deribit, ccxt):
    assert contracts.read_name(deribit) == contracts.read_name(ccxt)


def test_what_names_say():
    future = contracts.read_name("BTC-6DEC25")
    option = contracts.read_name("XRP_USDC-27DEC26-0d55-P")
    assert (future.expiry, future.is_inverse) == (1_765_008_000 * SECOND, True)
    assert (option.strike, option.is_call, option.expiry) == (Fraction(11, 20), False, 1_798_358_400 * SECOND)
    assert contracts.read_name("BTC-27DEC26T153000-100000-P").expiry == 1_798_385_400 * SECOND
    with pytest.raises(ValueError, match="BTC-27DEC26-100000-C"):
        contracts.read_name("BTC/USD")


def test_clocks_of_tim_3():
    clock, limits = Clock(), rules.Rules(step_maximum=10)
    for name in "abc":
        clock.define(name, "")
    ticks = [(0, 100), (1, 104), (2, 130), (0, 150), (0, 151), (1, 105), (2, 131), (0, 9_000)]
    times = []
    for replica, moment in ticks:
        clock.tick(replica, moment, limits)
        times.append(clock.now)
    assert times == [100, 100, 104, 114, 124, 130, 131, 131]


@pytest.mark.parametrize(
    ("prices", "minimum", "price"),
    [((9_990, 10_000, 10_700), 2, 9_990), ((10_000, 10_400), 2, 10_000), ((10_000, 10_500), 2, 10_000),
     ((10_000, 10_501), 2, 0), ((9_990,), 1, 9_990)],
)  # fmt: skip
def test_prices_of_mks_2(prices, minimum, price):
    market, limits = Market(), rules.Rules(sources_minimum=minimum)
    market.add_item()
    for source, said in enumerate(prices):
        market.quote(0, source, said, 0, 1)
    market.reprice(0, 0, limits)
    assert (market.current[0], market.is_stale(0, limits)) == (price, price == 0)


def test_a_move_of_exactly_the_threshold_makes_no_mark():
    market = Market()
    market.add_item()
    market.marked[0] = 10_000 * 10**8
    for price, moved in ((10_050 * 10**8, False), (10_050 * 10**8 + 1, True)):
        market.current[0] = price
        assert market.has_moved(0, rules.Rules()) is moved


def test_settlement_average_of_tim_6():
    market = Market()
    market.add_item()
    market.sums[0], market.counts[0] = (10_000 + 10_100) * 10**8 + 1_010_000_000_001 - 0, 3
    assert market.settlement_average(0) == 1_006_666_666_667


@pytest.mark.parametrize(
    ("forward", "strike", "years", "volatility", "is_call", "value"),
    [
        (60_000, 65_000, 30 / 365, 0.6, True, 2237.8681554046650424),
        (60_000, 65_000, 30 / 365, 0.6, False, 7237.8681554046650424),
        (60_000, 60_000, 1 / 8760, 0.6, True, 153.4474832680099218),
        (60_000, 61_000, 1 / 8760, 0.6, True, 0.60797392280303053932),
        (60_000, 200_000, 30 / 365, 0.6, False, 140000.0000000033234),
        (60_000, 65_000, 4, 6, True, 59999.999876777849247),
        (60_000, 50_000, 0, 0.6, True, 10_000),
        (0, 60_000, 1, 0.6, False, 60_000),
    ],
)
def test_values_of_prc_4_to_7(forward, strike, years, volatility, is_call, value):
    found = black.value(*(np.array([float(x)]) for x in (forward, strike, years, volatility)), np.array([is_call]))
    assert found[0] == pytest.approx(value, rel=1e-12)


def line(years=1.0, volatility=1.0, strike="10000"):
    item = contract(f"BTC-25SEP20-{strike}-C", "0.1", 4)
    return Line(item, 0, 10_000.0, 10_000.0, 10_000.0, volatility, years, 1.0)


@pytest.mark.parametrize(
    ("days", "up", "down"),
    [(1, 2.3870955573360906, 0.23709744346515016), (15, 1.615572206672458, 0.661435286330148), (30, 1.5, 0.725),
     (31, 1.4978731976725586, 0.7261697412800927)],
)  # fmt: skip
def test_volatility_range_of_pm_3(days, up, down):
    span = rules.VolatilityRange(0.5, 0.275, 0.3, 0.13, 1.0)
    scan = rules.Portfolio(scenarios=(rules.Scenario(1.0, "up"), rules.Scenario(1.0, "down")), volatility=span)
    found = shocks.plan(scan).volatilities("BTC", line(days / 365))
    assert list(found) == pytest.approx([up, down], rel=1e-12)


def test_twist_of_pm_5():
    skew = rules.SkewRange(0.15, -0.05, 0.15, -0.05, 0.01, 4.0, 0.6, -0.1)
    assert shocks.twist(skew, "skew-linear", 0.25, 1.2) == pytest.approx(1.0207183587265857, rel=1e-14)


@pytest.mark.parametrize(("strike", "years", "expected"), [(1.2, 0.0, 1.125), (0.8, 0.0, 0.875)])
def test_twist_is_capped(strike, years, expected):
    skew = rules.SkewRange(0.125, 0.0, 0.0, 0.0, 0.0, 4.0, 0.6, -0.1)
    assert shocks.twist(skew, "skew-linear", years, strike) == pytest.approx(expected)


def test_expected_shortfall_of_tail_3():
    results = np.array([[-10, -4, -7, 1, 2, 3, 4, 5, 6, 7]], float)
    assert population.expected_shortfall(results, 0.75)[0] == pytest.approx(7.6)


def test_haircut_tiers_of_col_3():
    rule = rules.Collateral(tiers=(rules.Tier(0.0, 0.05, 0.03), rules.Tier(1_000_000.0, 0.2, 0.15)), liability=0.1)
    found = population.collateral_loss(rule, np.array([1_500_000.0, 1_000_000.0, 0.0, -100.0]))
    assert found[0] == pytest.approx([150_000, 50_000, 0, 10])
    assert found[1] == pytest.approx([105_000, 30_000, 0, 10])
    assert population.collateral_loss(None, np.array([5.0, -5.0]))[0] == pytest.approx([5, 0])


def table_of(parameters, marked, *items, time=0):
    numbered = [*ASSETS.values(), *items]
    prices = [marked.get(item.name, 0) for item in numbered]
    return build(parameters, FrozenMarket(numbered, prices, time))


def scan(*scenarios, **fields):
    span = rules.VolatilityRange(0.5, 0.3, 0.3, 0.13)
    coin = {"BTC": rules.Collateral(underlying="BTC", scanned=True), "USD": rules.Collateral()}
    return rules.Portfolio(scenarios=tuple(scenarios), volatility=span, collateral=coin, **fields)


def row(table, **held):
    quantities = np.zeros((1, len(table.lines)))
    for at, one in enumerate(table.lines):
        quantities[0, at] = held.get(one.item.name.replace("-", "_"), 0.0)
    return quantities


def test_coin_margined_account_of_tab_2():
    perpetual = contract("BTC-PERPETUAL", "10", 2)
    table = table_of(scan(rules.Scenario(0.8)), {"BTC": 50_000 * 10**8, "BTC-PERPETUAL": 5_000_000}, perpetual)
    found = population.figures(table, row(table, BTC=2.25, BTC_PERPETUAL=50_000.0))
    assert found.equity[0] == pytest.approx(62_500)
    assert found.parts["scan"][0, 0] == pytest.approx(62_500 - 40_000)


def test_an_inverse_contract_needs_its_coin_scanned():
    perpetual = contract("BTC-PERPETUAL", "10", 2)
    parameters = rules.Portfolio(scenarios=(rules.Scenario(0.8),), volatility=rules.VolatilityRange(0, 0, 0, 0))
    with pytest.raises(ImpossibleTableError, match="inverse"):
        table_of(parameters, {"BTC": 10**12}, perpetual)


def test_orders_of_ord_11():
    perpetual = contract("BTC_USD-PERPETUAL", "1", 0)
    parameters = scan(rules.Scenario(0.9), rules.Scenario(1.1))
    table = table_of(parameters, {"BTC": 100 * 10**8, "BTC_USD-PERPETUAL": 100}, perpetual)
    place = int(table.line_of[5])

    def bound(*orders):
        units, limits = (np.array(column, float) for column in zip(*orders, strict=True))
        count = len(orders)
        given = bounds.Orders(np.zeros(count, int), np.full(count, place), units, units * limits, np.zeros(count))
        return bounds.initial(table, row(table), given)[0]

    assert bound((1, 101)) == pytest.approx(11)
    assert bound((1, 101), (-1, 99)) == pytest.approx(12)


def test_short_options_of_std_7():
    rates = rules.OptionRates(0.15, 0.1, 0.075, 0.075, 0.075, 1.0)
    parameters = rules.Standard(futures={}, options={"*": rates})
    call, put = (contract(name, "0.1", 4, number=number) for number, name in
                 ((5, "BTC-25SEP20-52000-C"), (6, "BTC-25SEP20-50000-P")))  # fmt: skip
    table = table_of(
        parameters,
        {"BTC": 50_000 * 10**8, call.name: 600_000, put.name: 600_000}, call, put,
        time=call.expiry - 30 * 86_400 * SECOND,
    )  # fmt: skip
    at_call, at_put = int(table.line_of[5]), int(table.line_of[6])
    assert table.isolated[:, at_call] / 50_000 == pytest.approx([0.11, 0.075])
    assert table.isolated[:, at_put] / 50_000 == pytest.approx([0.15, 0.075])


def test_regions_and_majorities_of_qrm_6():
    def enough(regions, voters):
        clock = Clock()
        for number, region in enumerate(regions):
            clock.define(str(number), region)
        said = {voter: quorum.Ballot(1, 1, 0, 7, has_second=True) for voter in voters}
        return quorum.Quorum(clock).enough(said, 7, second_only=False)

    assert enough(["a"], [0])
    assert not enough(["a", "b"], [0])
    assert enough(["a", "b", "c"], [0, 1])
    assert not enough(["a", "a", "b"], [0, 1])
    assert enough(["a", "a", "b"], [0, 2])
    assert enough(["", "", ""], [0, 1])
    assert enough(["a", "a", "b", "b", "c"], [0, 2, 4])
    assert not enough(["a", "a", "b", "b", "c"], [0, 1])


@pytest.mark.parametrize(
    ("replicas", "suspended", "said", "expected"),
    [(1, (), "a", "certified"), (2, (), "aa", "certified"), (2, (), "ab", "frozen"), (3, (), "aa", "certified"),
     (3, (), "ab", "waits"), (3, (), "aba", "certified"), (3, (), "abc", "frozen"), (3, (2,), "ab", "frozen"),
     (4, (), "aabb", "frozen"), (5, (), "abaa", "certified")],
)  # fmt: skip
def test_words_on_roots_of_qrm_15(replicas, suspended, said, expected):
    clock = Clock()
    for number in range(replicas):
        clock.define(str(number), "")
    for number in suspended:
        clock.replicas[number].suspended = True
    votes = quorum.Quorum(clock)
    votes.remember_checkpoint(15)
    for replica, root in enumerate(said):
        votes.word(replica, 15, root.encode())
    state = "frozen" if votes.frozen else "certified" if 15 in votes.certified else "waits"
    assert state == expected
    assert votes.holds_decisions() is (expected in ("frozen", "waits"))
    if said in ("aba", "abaa"):
        assert clock.replicas[1].suspended


@pytest.mark.parametrize(
    ("maintenance", "first", "second", "verdict"),
    [(1_000, -5, -4.99, quorum.BELOW), (1_000, -5, -0.011, quorum.BAND), (1_000, -0.005, -0.02, quorum.BAND),
     (1_000, -5, 0.012, quorum.ABOVE), (0, -0.02, -0.02, quorum.BELOW)],
)  # fmt: skip
def test_verdicts_of_qrm_19(maintenance, first, second, verdict):
    assert quorum.verdict_of(first, second, rules.Rules().tolerance(maintenance)) == verdict


def test_checks_of_numbers_used_here():
    assert liquidation.SHARES == 10**12
    assert math.isclose(rules.Rules().tolerance(1_000.0), 0.011)
