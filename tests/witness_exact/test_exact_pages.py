"""The worked numbers of the pages, met exactly."""

from dataclasses import replace
from fractions import Fraction

import mpmath
import pytest
import slow_scan
from exact_worlds import NOW, preset

from holdfast.domain.errors import InputError
from holdfast.witness.exact import Asset, Contract, Expiry, Inputs, Number, Order, Table, contract, margin, table
from holdfast.witness.exact.book import Book, book
from holdfast.witness.exact.charges import netted, offset
from holdfast.witness.exact.collateral import Required
from holdfast.witness.exact.intervals import NOTHING, Interval
from holdfast.witness.exact.market import Market
from holdfast.witness.exact.parameters import Collateral, SkewRange, Tier, VolatilityRange, exact
from holdfast.witness.exact.scan import expected_shortfall, group_results
from holdfast.witness.exact.shocks import discount, fixed_part, skew_multiplier, static_discounts, term_factor
from holdfast.witness.exact.standard import maximum_loss, par_value, short_form
from holdfast.witness.exact.table import Group, Line

USD, USDC = Asset("USD", 6), Asset("USDC", 6)
ASSETS = (USD, USDC, Asset("BTC", 8), Asset("ETH", 9), Asset("SOL", 9))
FULL_CREDIT = {"USD": {}, "USDC": {}}
SCANNED = {**FULL_CREDIT, **{name: {"scanned": True, "underlying": name} for name in ("BTC", "ETH", "SOL")}}
FLAT = {"up": 0, "down": 0, "short_power": 0, "long_power": 0}
OPTION_RATES = {
    "initial_maximum": "0.15",
    "initial_minimum": "0.1",
    "call_maintenance": "0.075",
    "put_maintenance": "0.075",
    "put_maintenance_of_mark": "0.075",
}


def scanning(scenarios, **more):
    return {
        "type": "portfolio",
        "name": "page",
        "collateral": SCANNED,
        "volatility": FLAT,
        "scenarios": [each if isinstance(each, dict) else {"price": each} for each in scenarios],
        **more,
    }


def standing(**more):
    return {"type": "standard", "name": "page", "collateral": FULL_CREDIT, "futures": {}, "options": {}, **more}


def world(model, contracts=(), *, time=NOW, **prices) -> Table:
    """A table of `model`; dollar prices by asset, and frozen integers by name of a contract with underscores."""
    dollars = {name: int(exact(price, name) * 10**8) for name, price in prices.items()}
    frozen = {each.name: price for each, price in contracts if price is not None}
    return table(Inputs(ASSETS, [each for each, _ in contracts], {"page": model}, frozen | dollars, time), "page")


def middle(interval: Interval) -> float:
    return float(interval.middle)


def group_result(found: Table, account: Book, group: Group, scenario: int) -> Interval:
    """The exact result, which the one in whole units holds, and nothing far from it."""
    held = [(found.lines[name], reach) for name, reach in account.range.items()]
    units = group_results(group, held, len(group.gain)).intervals()[scenario]
    exactly = slow_scan.group_result(found, account, group, scenario)
    assert units.low <= exactly.low <= exactly.high <= units.high
    assert units.high - units.low <= exactly.high - exactly.low + slow_scan.grid_slack(found, account)
    return exactly


INVERSE = contract(0, "BTC-PERPETUAL", "10", 2)
LINEAR = contract(1, "BTC_USDC-PERPETUAL", "0.01", 2)


@pytest.mark.criterion("EXA-6", "TAB-2")
def test_coin_margined_account():
    found = world(scanning(["0.8"]), [(INVERSE, 5_000_000)], BTC=50_000)
    holdings = {"BTC": (10**8, -125_000_000), "BTC-PERPETUAL": (5_000, -125_000_000)}
    result = margin(found, holdings)
    assert result.equity == Interval.point(Fraction(62_500))
    assert result.initial == Interval.point(Fraction(62_500 - 40_000))


@pytest.mark.criterion("TAB-4", "TAB-5", "TAB-8")
@pytest.mark.parametrize(
    ("quantity", "gain", "expected"),
    [(2, 1, ("-5.6", "3.4")), (-2, 1, ("2.4", "-8.6")), (2, -1, ("-5.6", "-3.4")), (-2, -1, ("-2.4", "-8.6"))],
)
def test_multipliers_of_a_group(quantity, gain, expected):
    line = Line("x", ("BTC", 1, "option"), Number(Fraction(10)), (Number(Fraction(8)), Number(Fraction(13))))
    point = Interval.point
    group = Group(
        line.group,
        ("x",),
        point(Fraction("0.9")),
        point(Fraction("1.1")),
        (Fraction(gain),) * 2,
        (Fraction(1),) * 2,
        None,
    )
    lines = replace(world(scanning([1]), BTC=1), lines={"x": line})
    account = Book({"x": Fraction(quantity)}, {"x": point(Fraction(quantity))}, {}, {}, NOTHING)
    for scenario, each in enumerate(expected):
        assert group_result(lines, account, group, scenario) == point(Fraction(each))


@pytest.mark.criterion("TAB-4", "ORD-3")
@pytest.mark.parametrize(
    ("reach", "gain", "expected"),
    [
        ((0, 2), -1, (-4, -6)),
        ((0, 2), 1, (-4, 0)),
        ((-1, 2), -1, (-4, -6)),
        ((-1, 0), 1, (0, -3)),
        ((-1, 0), -1, (-2, -3)),
    ],
)
def test_a_group_with_orders_takes_the_smaller_end(reach, gain, expected):
    line = Line("x", ("BTC", 1, "option"), Number(Fraction(10)), (Number(Fraction(8)), Number(Fraction(13))))
    one = Interval.point(Fraction(1))
    group = Group(line.group, ("x",), one, one, (Fraction(gain),) * 2, (Fraction(1),) * 2, None)
    lines = replace(world(scanning([1]), BTC=1), lines={"x": line})
    account = Book({}, {"x": Interval(*map(Fraction, reach))}, {}, {}, NOTHING)
    assert [group_result(lines, account, group, each).low for each in (0, 1)] == list(expected)


@pytest.mark.criterion("PM-1", "PM-4")
@pytest.mark.parametrize("amount", [10, -10])
def test_a_twist_loses_either_way(amount):
    option = contract(1, "BTC_USDC-24JUN22-120-C", "0.1", 2)
    skew = {"linear_cap": "0.1", "linear_cap_per_root_year": 0, "absolute_cap": 0, "absolute_cap_per_root_year": 0}
    skew |= {"minimum_width": "0.01", "width_scale": 0, "width_static": 0, "width_per_root_year": 0}
    twist = {"price": 1, "volatility": "skew-linear", "weight": "0.5"}
    found = world(scanning([twist], skew=skew), [(option, 10**6)], BTC=100, USDC=1)
    line = found.lines[option.name]
    change = line.v[0].value - line.v0.value
    assert change > 0
    scan = margin(found, {option.name: (amount, 0)}).components["scan"][0]
    assert scan.distance(change / 2) < Fraction(1, 10**40)


@pytest.mark.criterion("TAB-18")
def test_inverse_contracts_need_their_coin_scanned():
    with pytest.raises(InputError, match=r"collateral\[BTC\]"):
        world(scanning([1], collateral=FULL_CREDIT), [(INVERSE, 100)], BTC=1)


@pytest.mark.criterion("TAB-1")
def test_a_coin_cannot_move_with_what_has_no_price():
    follower = {**SCANNED, "USDC": {"scanned": True, "underlying": "SOL"}}
    with pytest.raises(InputError, match="SOL"):
        world(scanning(["0.5"], collateral=follower), BTC=1, USDC=1)
    found = world(scanning(["0.5"], collateral=follower), BTC=1, USDC=1, SOL=1)
    assert margin(found, {"USDC": (10**6, 0)}).components["scan"][0] == Interval.point(Fraction(1, 2))


@pytest.mark.criterion("TAB-1", "PM-4")
@pytest.mark.parametrize(
    ("head", "side", "kind", "price", "expected"),
    [
        ("BTC", "P", "none", 0, 90),
        ("BTC", "P", "none", "0.5", 40),
        ("BTC_USDC", "C", "none", "0.5", 0),
        ("BTC_USDC", "C", "none", 2, 110),
        ("BTC", "C", "skew-linear", 2, 10),
        ("BTC_USDC", "C", "skew-linear", 2, 10),
    ],
)
def test_values_of_options_without_time_value(head, side, kind, price, expected):
    """One nanosecond before expiry; what is settled in the coin is worth as much where price and coin move together."""
    option = contract(1, f"{head}-21OCT21T000000.000000001-90-{side}", "1", 4)
    skew = {f"{shape}_cap{part}": 0 for shape in ("linear", "absolute") for part in ("", "_per_root_year")}
    skew |= {"minimum_width": 1, "width_scale": 0, "width_static": 0, "width_per_root_year": 0}
    found = world(scanning([{"price": price, "volatility": kind}], skew=skew), [(option, 10**6)], BTC=100, USDC=1)
    value = found.lines[option.name].v[0]
    assert abs(value.value - expected) <= value.error + Fraction(1, 10**40)


@pytest.mark.criterion("PM-3")
@pytest.mark.parametrize(
    ("days", "up", "down"),
    [
        (1, 2.3870955573360906, 0.23709744346515016),
        (15, 1.615572206672458, 0.661435286330148),
        (30, 1.5, 0.725),
        (30.5, 1 + 0.5 * (30 / 30.5) ** 0.13, 1 - 0.275 * (30 / 30.5) ** 0.13),
        (31, 1.4978731976725586, 0.7261697412800927),
    ],
)
def test_term_structure_of_volatility_shocks(days, up, down):
    rule = VolatilityRange(exact("0.5", ""), exact("0.275", ""), exact("0.3", ""), exact("0.13", ""), Fraction(1))
    size = term_factor(rule, Fraction(days))
    assert 1 + middle(size) / 2 == pytest.approx(up, rel=1e-15)
    assert 1 - middle(size) * 0.275 == pytest.approx(down, rel=1e-15)


@pytest.mark.criterion("PM-3")
def test_no_days_and_no_floor_shock_nothing():
    assert term_factor(VolatilityRange(*(Fraction(1),) * 4), Fraction(0)) == NOTHING


@pytest.mark.criterion("PM-4", "PM-5")
def test_skew():
    rule = SkewRange(*(exact(each, "") for each in ("0.15", "-0.05", "0.15", "-0.05", "0.01", "4", "0.6", "-0.1")))
    found = skew_multiplier(rule, Fraction(100), Fraction(120), Fraction(1, 4), absolute=False)
    assert middle(found) == pytest.approx(1.0207183587265857, abs=1e-16)
    mirrored = skew_multiplier(rule, Fraction(120), Fraction(100), Fraction(1, 4), absolute=False)
    assert middle(mirrored) == pytest.approx(2 - 1.0207183587265857, abs=1e-15)
    assert skew_multiplier(rule, Fraction(120), Fraction(100), Fraction(1, 4), absolute=True) == found


@pytest.mark.criterion("PM-4")
@pytest.mark.parametrize(
    ("cap", "strike", "expected"),
    [("0.1", 120, "1.1"), ("0.1", 80, "0.9"), ("0.1", 100, "1"), ("-0.1", 120, "0"), ("0", 120, "1")],
)
def test_skew_without_width(cap, strike, expected):
    zero = Fraction(0)
    rule = SkewRange(exact(cap, ""), zero, exact(cap, ""), zero, zero, zero, zero, zero)
    found = skew_multiplier(rule, Fraction(100), Fraction(strike), Fraction(1, 4), absolute=False)
    assert found.middle == Fraction(expected)


@pytest.mark.criterion("PM-4")
def test_a_negative_cap_flips_the_branches():
    zero = Fraction(0)
    rule = SkewRange(Fraction(-1, 10), zero, zero, zero, Fraction(1), zero, zero, zero)
    above = skew_multiplier(rule, Fraction(100), Fraction(101), Fraction(1, 4), absolute=False)
    below = skew_multiplier(rule, Fraction(100), Fraction(99), Fraction(1, 4), absolute=False)
    assert (above.middle, below.middle) == (Fraction(9, 10), Fraction(11, 10))


@pytest.mark.criterion("PM-6", "PM-7")
def test_discounts():
    rule = {"long": "0.95", "short": "1.04", "long_rate_factor": 1, "long_rate_add": "0.08"}
    rule |= {"short_rate_factor": "0.5", "short_rate_add": "0.08"}
    option = contract(1, "BTC_USDC-24JUN22-60000-C", "0.1", 2)
    model = scanning([1], discounts=rule, discounting=True)
    expiry = {("BTC", option.expiry): Expiry(rate=Fraction(1, 20))}
    inputs = Inputs(
        ASSETS, [option], {"page": model}, {"BTC": 10**12, "USDC": 10**8, option.name: 10**6}, NOW, expiries=expiry
    )
    found = table(inputs, "page")
    years = found.market.years(option)
    with mpmath.workprec(200):
        time = mpmath.mpf(years.numerator) / years.denominator
        positive, negative = static_discounts(found.market, found.model, option)
        assert middle(discount(found.market, found.model, option)) == pytest.approx(
            float(mpmath.exp(-time / 20)), rel=1e-15
        )
        assert middle(positive) == pytest.approx(float(0.95 * mpmath.exp(-time * 0.13)), rel=1e-14)
        assert middle(negative) == pytest.approx(
            float(min(mpmath.exp(time / 20), 1.04 * mpmath.exp(time * 0.105))), rel=1e-14
        )


@pytest.mark.criterion("PM-2", "PM-10")
def test_option_that_expires_now():
    option = contract(1, "BTC_USDC-21OCT21T000000-2500-C", "0.1", 2)
    model = scanning(["0.5", "2"], settlement_window_seconds=1800)
    expiries = {("BTC", option.expiry): Expiry(forward=Fraction("2691.6029850999994"))}
    frozen = {"BTC": 2_700 * 10**8, "USDC": 10**8, option.name: 10**6}
    found = table(Inputs(ASSETS, [option], {"page": model}, frozen, NOW, expiries=expiries), "page")
    result = margin(found, {option.name: (-10, 0)})
    assert slow_scan.scan(found, book(found, {option.name: (-10, 0)})) == NOTHING
    for scan in result.components["scan"]:
        assert 0 == scan.low <= scan.high < Fraction(1, 1 << 180)
    assert result.equity == Interval.point(-Fraction("191.6029850999994"))
    assert fixed_part(found.market, found.model, replace(option, expiry=NOW + 900 * 10**9)) == Fraction(1, 2)


@pytest.mark.criterion("TAIL-2", "TAIL-3")
def test_expected_shortfall():
    results = [Fraction(each) for each in (-10, -4, -7, 1, 2, 3, 4, 5, 6, 7)]
    assert expected_shortfall(results, Fraction(3, 4)) == Fraction("7.6")
    assert expected_shortfall([-each for each in results], Fraction("0.9")) == 7
    assert expected_shortfall([Fraction(1)] * 4, Fraction(1, 2)) == 0
    with pytest.raises(InputError):
        expected_shortfall(results, Fraction("0.95"))


@pytest.mark.criterion("TAIL-4")
def test_offset_between_underlyings():
    other = contract(2, "ETH_USDC-PERPETUAL", "1", 2)
    model = {
        "type": "tail",
        "name": "page",
        "collateral": FULL_CREDIT,
        "confidence_level": "0.5",
        "moves": {"BTC": ["-0.1", "0.2"], "ETH": ["0.3", "-0.1"]},
        "initial_factor": 2,
    }
    found = world(model, [(LINEAR, 10_000), (other, 10_000)], BTC=100, ETH=100, USDC=1)
    result = margin(found, {LINEAR.name: (100, 0), other.name: (1, 0)})
    assert result.components["scan"] == (
        Interval.point(2 * (20 - Fraction(4, 5) * 20)),
        Interval.point(Fraction("0.8") * 4),
    )


@pytest.mark.criterion("TAIL-1")
def test_tail_needs_the_moves_of_every_underlying():
    model = {"type": "tail", "name": "page", "confidence_level": "0.5", "moves": {"ETH": [0, 0]}}
    with pytest.raises(InputError, match=r"moves\[BTC\]"):
        world(model, [(LINEAR, 1)], BTC=1, USDC=1)


@pytest.mark.criterion("STD-1")
def test_rates_that_grow_with_size():
    perpetual = contract(1, "SOL_USDC-PERPETUAL", "1", 2)
    rates = {"initial": "0.04", "maintenance": "0.02", "initial_slope": "0.000005", "maintenance_slope": "0.000005"}
    found = world(standing(futures={"SOL": {**rates, "notional": "index"}}), [(perpetual, 19_000)], SOL=200, USDC=1)
    result = margin(found, {perpetual.name: (-25, 0)})
    assert result.components["charges"] == (Interval.point(Fraction("200.625")), Interval.point(Fraction("100.625")))


@pytest.mark.criterion("STD-1", "STD-3")
@pytest.mark.parametrize("notional", ["mark", "index"])
def test_rates_of_inverse_contracts(notional):
    rates = {"initial": "0.02", "maintenance": "0.02", "initial_slope": "0.00005", "notional": notional}
    found = world(standing(futures={"*": rates}), [(INVERSE, 5_000_000)], BTC=50_000)
    result = margin(found, {"BTC-PERPETUAL": (1_750_000, 0)})
    assert result.components["charges"][0] == Interval.point(Fraction("13.125") * 50_000)


def test_contracts_without_a_rule_are_refused():
    with pytest.raises(InputError, match=r"futures\[BTC\]"):
        world(standing(), [(LINEAR, 1)], BTC=1, USDC=1)
    with pytest.raises(InputError, match=r"options\[BTC\]"):
        world(standing(), options_at((1, "C")), BTC=1, USDC=1)


@pytest.mark.criterion("STD-2")
@pytest.mark.parametrize(("units", "rate"), [(100, "0.1"), (150, "0.55"), (200, "1"), (300, "1")])
def test_open_interest_raises_the_initial_rate(units, rate):
    rates = {"initial": "0.1", "maintenance": "0.05", "open_interest": {"lower": 10_000, "upper": 20_000}}
    inputs = Inputs(ASSETS, [LINEAR], {"page": standing(futures={"BTC": rates})}, {"BTC": 10**10, "USDC": 10**8}, NOW)
    with pytest.raises(InputError, match="open_interest"):
        table(inputs, "page")
    found = table(replace(inputs, open_interest={LINEAR.name: Fraction(units)}), "page")
    charged = margin(found, {LINEAR.name: (100, 0)}).components["charges"]
    assert charged == (Interval.point(100 * Fraction(rate)), Interval.point(Fraction(5)))


def option_world(name: str, coin_value: str, **rates) -> tuple[Table, Contract]:
    option = contract(1, name, "0.1", 4)
    found = world(standing(options={"*": {**OPTION_RATES, **rates}}), [(option, 10**6)], BTC=50_000)
    line = replace(found.lines[name], v0=Number(Fraction(coin_value) * 50_000))
    return replace(found, lines={**found.lines, name: line}), option


@pytest.mark.criterion("STD-4", "STD-5", "STD-7")
@pytest.mark.parametrize(
    ("name", "mark", "rates", "initial", "maintenance"),
    [
        ("BTC-24JUN22-52000-C", "0.03", {}, "0.14", "0.105"),
        ("BTC-24JUN22-50000-P", "0.05", {}, "0.2", "0.125"),
        ("BTC-24JUN22-50000-P", "0.05", {"put_initial_over_maintenance": 2}, "0.25", "0.125"),
        ("BTC-24JUN22-50000-P", "0.05", {"put_maintenance_of_mark": 2}, "0.2", "0.15"),
    ],
)
def test_short_options(name, mark, rates, initial, maintenance):
    found, option = option_world(name, mark, **rates)
    rule = found.model.options["*"]
    assert short_form(found, option, rule, "initial") == Interval.point(Fraction(initial) * 50_000)
    assert short_form(found, option, rule, "maintenance") == Interval.point(Fraction(maintenance) * 50_000)


@pytest.mark.criterion("STD-6")
def test_isolated_requirements_leave_the_value_out():
    found, option = option_world("BTC-24JUN22-52000-C", "0.03")
    assert margin(found, {option.name: (-10, 0)}).components["options"][0] == Interval.point(Fraction("0.11") * 50_000)
    assert margin(found, {option.name: (10, 0)}).components["options"][0] == Interval.point(Fraction("0.03") * 50_000)


@pytest.mark.criterion("STD-8", "STD-9")
def test_a_short_box_loses_its_width_everywhere():
    names = ("BTC_USDC-24JUN22-1000-C", "BTC_USDC-24JUN22-1000-P", "BTC_USDC-24JUN22-2000-C", "BTC_USDC-24JUN22-2000-P")
    contracts = [(contract(number, name, "1", 2), 600_000) for number, name in enumerate(names)]
    found = world(standing(options={"*": {**OPTION_RATES, "maximum_loss": True}}), contracts, BTC=1_500, USDC=1)
    amounts = dict(zip(names, (-1, 1, 1, -1), strict=True))
    result = margin(found, {name: (amount, 0) for name, amount in amounts.items()})
    value = result.equity
    needed = result.components["options"][0]
    assert needed.low <= (value.plus(Fraction(1_000))).high
    assert needed.high >= (value.plus(Fraction(1_000))).low
    assert abs(middle(needed) - middle(value) - 1_000) < 1e-30


@pytest.mark.criterion("STD-8", "STD-10")
def test_unpaired_calls():
    option = contract(1, "BTC_USDC-24JUN22-2000-C", "1", 2)
    rates = {**OPTION_RATES, "maximum_loss": True, "unpaired_initial": "1.2"}
    found = world(standing(options={"*": rates}), [(option, 600_000)], BTC="2002.83305", USDC=1)
    account = book(found, {option.name: (-1, 0)})
    bound = maximum_loss(found, account, [option], found.model.options["*"], "initial")
    assert abs(middle(bound) - float(Fraction("2403.39966") - found.lines[option.name].v0.value)) < 1e-9


@pytest.mark.criterion("STD-8")
def test_par_is_the_value_of_the_strikes_currency():
    linear, inverse = contract(1, "BTC_USDC-24JUN22-2000-C", "1", 2), contract(2, "BTC-24JUN22-2000-C", "1", 2)
    found = world(standing(options={"*": OPTION_RATES}), [(linear, 1), (inverse, 1)], BTC=2_000, USDC="0.9")
    assert (par_value(found, linear), par_value(found, inverse)) == (Fraction(9, 10), 1)


@pytest.mark.criterion("STD-8")
def test_unpaired_calls_count_at_the_largest_par():
    names = ("BTC_USDC-24JUN22-2000-C", "BTC-24JUN22-2000-C")
    contracts = [contract(number, name, "1", 2) for number, name in enumerate(names)]
    rates = {**OPTION_RATES, "maximum_loss": True, "unpaired_initial": "0.5"}
    frozen = [(each, 600_000) for each in contracts]
    found = world(standing(options={"*": rates}), frozen, BTC=2_000, USDC="0.9")
    account = book(found, dict.fromkeys(names, (-1, 0)))
    rule = found.model.options["*"]
    bounds = [maximum_loss(found, account, contracts, rule, stage) for stage in ("initial", "maintenance")]
    assert middle(bounds[0] - bounds[1]) == 2_000


def charging(*charges, contracts=(), price=2_000) -> Table:
    return world(scanning([1], charges=list(charges)), contracts, BTC=price, USDC=1)


def options_at(*strikes_and_sides):
    names = [f"BTC_USDC-24JUN22-{strike}-{side}" for strike, side in strikes_and_sides]
    return [(contract(number, name, "1", 2), 600_000) for number, name in enumerate(names)]


@pytest.mark.criterion("CHG-4", "CHG-5")
@pytest.mark.parametrize(("measure", "expected"), [("net-short-per-strike", 20), ("net-short-per-expiry", 0)])
def test_net_short_options(measure, expected):
    contracts = options_at((1_000, "C"), (1_000, "P"), (2_000, "C"))
    charge = {"applies_to": "option", "measure": measure, "initial": "0.005", "maintenance": "0.005"}
    found = charging(charge, contracts=contracts)
    amounts = zip(contracts, (-3, 1, 5), strict=True)
    account = book(found, {each.name: (amount, 0) for (each, _), amount in amounts})
    assert netted(found, account, "initial") == expected


@pytest.mark.criterion("CHG-6", "CHG-7")
def test_offsetting_futures():
    one, other = contract(1, "BTC_USDC-24JUN22", "1", 2), contract(2, "BTC_USDC-31DEC21", "1", 2)
    charges = [
        {"applies_to": kind, "measure": "offset", "initial": rate, "maintenance": rate}
        for kind, rate in (("future", "0.006"), ("future", "0.004"), ("perpetual", "0.009"))
    ]
    found = charging(*charges, contracts=[(one, 200_000), (other, 200_000)])
    account = book(found, {one.name: (100, 0), other.name: (-100, 0)})
    assert offset(found, account, "initial") == 2_000


@pytest.mark.criterion("CHG-1", "CHG-2", "CHG-3")
def test_gross_and_short_charges():
    gross = {"applies_to": "perpetual", "measure": "gross", "initial": "0.01", "maintenance": "0.01"}
    slope = {"initial_slope": "0.001", "maintenance_slope": 0}
    short = {"applies_to": "perpetual", "measure": "short", "initial": "0.02", "maintenance": 0}
    found = charging({**gross, **slope}, short, contracts=[(INVERSE, 200_000), (LINEAR, 200_000)])
    for name, lots in (("BTC-PERPETUAL", 2_000), ("BTC_USDC-PERPETUAL", 1_000)):
        for sign, rate in ((1, "0.02"), (-1, "0.04")):
            result = margin(found, {name: (sign * lots, 0)}).components["charges"]
            assert result == (Interval.point(20_000 * Fraction(rate)), Interval.point(Fraction(200)))


@pytest.mark.criterion("CHG-8", "CHG-9", "CHG-10")
@pytest.mark.parametrize(("confidence", "expected"), [("0.5", 1_000), ("0.55", 0)])
def test_unsure_oracles(confidence, expected):
    rule = {"perpetual_threshold": "0.55", "option_threshold": "0.55", "collateral_threshold": 0, "factor": 1}
    model = scanning([1], confidence=rule)
    frozen = {"BTC": 2_000 * 10**8, "USDC": 10**8}
    inputs = Inputs(ASSETS, [LINEAR], {"page": model}, frozen, NOW, confidences={"BTC": Fraction(confidence)})
    result = margin(table(inputs, "page"), {LINEAR.name: (100, 0)})
    assert result.components["confidence"] == (Interval.point(Fraction(expected)), NOTHING)


@pytest.mark.criterion("CHG-11")
def test_lost_peg():
    peg = {"asset": "USDC", "threshold": "0.98", "factor": "1.2"}
    contracts = options_at((3_000, "C"))
    found = world(standing(options={"*": OPTION_RATES}, depeg=peg), contracts, BTC=2_000, USDC="0.1")
    name = contracts[0][0].name
    assert margin(found, {name: (-1, 0)}).components["depeg"] == (Interval.point(Fraction(2_112)), NOTHING)
    assert margin(found, {name: (1, 0)}).components["depeg"] == (NOTHING, NOTHING)
    scan = world(scanning(["0.5"], depeg=peg), [(LINEAR, 200_000)], BTC=2_000, USDC="0.1")
    loss = Fraction(2_000) / 2 / 10
    assert margin(scan, {LINEAR.name: (100, 0)}).components["scan"][0] == Interval.point(loss * (1 + Fraction("1.056")))
    unpriced = world(scanning(["0.5"], depeg={**peg, "asset": "DAI"}), [(LINEAR, 200_000)], BTC=2_000, USDC="0.1")
    assert margin(unpriced, {LINEAR.name: (100, 0)}).components["scan"][0] == Interval.point(loss)


TIERS = Collateral(
    (Tier(Fraction(0), Fraction(1, 20), Fraction(3, 100)), Tier(Fraction(10**6), Fraction(1, 5), Fraction(3, 20)))
)


@pytest.mark.criterion("COL-2", "COL-3")
@pytest.mark.parametrize(
    ("value", "initial", "maintenance"), [(1_500_000, 150_000, 105_000), (1_000_000, 50_000, 30_000), (0, 0, 0)]
)
def test_haircut_tiers(value, initial, maintenance):
    assert Required(TIERS, Fraction(1), "initial").at(Fraction(value)) == initial
    assert Required(TIERS, Fraction(1), "maintenance").at(Fraction(value)) == maintenance


@pytest.mark.criterion("COL-4", "COL-5", "COL-6")
def test_liability_dollars_and_no_rule():
    owed = Collateral(liability=Fraction(1, 10))
    dollars = Collateral((Tier(Fraction(0), Fraction(1, 5), Fraction(1, 5)),), credit_in_dollars=True)
    assert Required(owed, Fraction(1), "maintenance").at(Fraction(-50)) == 5
    assert Required(dollars, Fraction("0.98"), "initial").at(Fraction(100)) == Fraction("21.6")
    assert Required(None, Fraction(1), "initial").at(Fraction(100)) == 100
    assert Required(None, Fraction(1), "initial").at(Fraction(-100)) == 0


@pytest.mark.criterion("COL-1")
def test_unrealised_profit_belongs_to_the_balance():
    haircut = {"USDC": {"tiers": [{"above": 0, "initial": "0.1", "maintenance": 0}]}}
    found = world(scanning([1], collateral=haircut), [(LINEAR, 5_000_000)], BTC=50_000, USDC=1)
    result = margin(found, {"USDC": (0, -90_000_000_000), LINEAR.name: (-150, -90_000_000_000)})
    assert result.equity == Interval.point(Fraction(15_000))
    assert result.components["collateral"][0] == Interval.point(Fraction(1_500))


@pytest.mark.criterion("ORD-1", "ORD-3", "ORD-7", "ORD-9", "ORD-11")
def test_orders():
    found = world(scanning(["0.9", "1.1"]), [(LINEAR, 10_000)], BTC=100, USDC=1)
    buy, sell = Order(LINEAR.name, 100, 10_100), Order(LINEAR.name, -100, 9_900)
    for orders, expected in (([buy], 11), ([buy, sell], 12), ([Order(LINEAR.name, 100, 9_900)], 10), ([], 0)):
        result = margin(found, {}, orders)
        assert result.components["orders"] == (Interval.point(Fraction(expected)), NOTHING)
        assert result.initial == Interval.point(Fraction(expected))


@pytest.mark.criterion("EXA-7", "ORD-8")
@pytest.mark.parametrize(
    ("cash", "limits", "rule", "expected"),
    [
        (1_000, (9_000, 12_000), {"tiers": [{"above": 0, "initial": "1.5", "maintenance": 0}]}, 25),
        (1_000, (9_000,), {"tiers": [{"above": 0, "initial": "1.5", "maintenance": 0}]}, 5),
        (1_000, (9_000, 11_000), {"tiers": [{"above": 0, "initial": "0.1", "maintenance": 0}]}, 10),
        (0, (11_000,), {"liability": "0.2"}, 14),
        (5, (11_000,), {"liability": "0.2", "tiers": [{"above": 0, "initial": "0.1", "maintenance": 0}]}, 12.5),
    ],
)
def test_balances_that_orders_move(cash, limits, rule, expected):
    names = ("BTC_USDC-PERPETUAL", "ETH_USDC-PERPETUAL")
    contracts = [(contract(number, name, "1", 2), 10_000) for number, name in enumerate(names)]
    found = world(scanning([1], collateral={"USDC": rule}), contracts, BTC=100, ETH=100, USDC=1)
    orders = [Order(name, 1, limit) for name, limit in zip(names, limits, strict=False)]
    result = margin(found, {"USDC": (cash * 10**6, 0)}, orders)
    assert result.components["orders"][0] == Interval.point(Fraction(expected))


@pytest.mark.criterion("EXA-7", "ORD-5")
def test_a_position_pays_at_one_end_of_its_range():
    gross = {"applies_to": "perpetual", "measure": "gross", "initial": "0.01", "maintenance": 0}
    short = {"applies_to": "perpetual", "measure": "short", "initial": "0.02", "maintenance": 0}
    found = charging(gross, short, contracts=[(LINEAR, 200_000)])
    result = margin(found, {LINEAR.name: (-100, 0)}, [Order(LINEAR.name, 350, 200_000)])
    assert result.components["charges"][0] == Interval.point(Fraction(60))
    assert result.components["orders"][0] == NOTHING


@pytest.mark.criterion("ORD-6")
def test_orders_can_take_a_bound_away():
    contracts = options_at((2_000, "C"), (2_100, "C"))
    long, short = contracts[1][0].name, contracts[0][0].name
    rates = {**OPTION_RATES, "maximum_loss": True, "unpaired_initial": 10}
    found = world(standing(options={"*": rates}), contracts, BTC=2_000, USDC=1)
    holdings = {short: (-1, 0), long: (1, 0)}
    spread = margin(found, holdings).components["options"][0]
    assert middle(spread) == pytest.approx(100 + middle(margin(found, holdings).equity))
    sale = margin(found, holdings, [Order(long, -1, 10**7)])
    alone = margin(found, {short: (-1, 0)}).initial
    assert sale.initial.low >= alone.low


@pytest.mark.criterion("EXA-5", "MKS-8")
def test_forwards_come_from_the_future_with_the_highest_number():
    option = contract(3, "BTC-31DEC21-60000-C", "0.1", 4)
    quoted, silent = contract(4, "BTC-31DEC21", "10", 2), contract(5, "BTC_USDC-31DEC21", "0.01", 2)
    contracts = [(option, 800_000), (quoted, 6_100_050), (silent, None)]
    found = world(scanning([1]), contracts, BTC="60000.5", USDC=1)
    assert found.market.forward(option) == Fraction("60000.5")
    assert found.market.mark(quoted) == Fraction("61000.5")
    renumbered = [(option, 800_000), (replace(quoted, number=6), 6_100_050), (silent, None)]
    assert world(scanning([1]), renumbered, BTC="60000.5", USDC=1).market.forward(option) == Fraction("61000.5")
    assert world(scanning([1]), contracts[:1], BTC="60000.5").market.forward(option) == Fraction("60000.5")


@pytest.mark.criterion("EXA-5", "MKS-9")
def test_time_stops_at_the_earliest_expiry():
    option = contract(1, "BTC_USDC-29OCT21-60000-C", "0.1", 2)
    later = option.expiry + 10**9
    assert world(scanning([1]), [(option, 10**6)], time=later, BTC=1, USDC=1).market.time == option.expiry
    assert world(scanning([1]), [(LINEAR, 1)], time=later, BTC=1, USDC=1).market.time == later


@pytest.mark.criterion("EXA-5", "MKS-10")
def test_what_has_a_line():
    option = contract(2, "BTC_USDC-29OCT21-60000-C", "0.1", 2)
    ether = contract(3, "ETH_USDC-PERPETUAL", "1", 2)
    contracts = [(LINEAR, None), (option, None), (ether, 5)]
    found = world(scanning([1]), contracts, BTC=1, USDC=1)
    assert set(found.lines) == {"USD", "USDC", "BTC", LINEAR.name}
    assert found.market.mark(LINEAR) == 1
    assert set(world(scanning([1]), contracts, BTC=1).lines) == {"USD", "BTC"}
    with pytest.raises(InputError, match="ETH_USDC-PERPETUAL"):
        margin(found, {ether.name: (1, 0)})
    with pytest.raises(InputError, match="ETH_USDC-PERPETUAL"):
        margin(found, {}, [Order(ether.name, 1, 1)])


@pytest.mark.criterion("DEF-5", "LED-2", "INS-8")
@pytest.mark.parametrize(
    ("name", "lot", "multiplier", "divisor"),
    [
        ("BTC-PERPETUAL", "10", 10, 1),
        ("BTC_USD-PERPETUAL", "0.001", 1, 1_000),
        ("ETH_USD-PERPETUAL", "0.0001", 1, 10_000),
        ("BTC-25SEP20-10000-C", "0.1", 1, 10),
        ("SOL_USDC-PERPETUAL", "25", 25, 1),
        ("SOL_USDC-PERPETUAL", "0.10", 1, 10),
    ],
)
def test_contracts_from_names(name, lot, multiplier, divisor):
    found = contract(0, name, lot, 2)
    assert (found.multiplier, found.divisor) == (multiplier, divisor)


@pytest.mark.criterion("INS-8")
def test_names_say_what_a_contract_is():
    option = contract(7, "XRP_USDC-27DEC26-0d55-P", "1", 4)
    assert (option.kind, option.underlying, option.quote, option.settlement) == ("option", "XRP", "USDC", "USDC")
    assert (option.expiry, option.strike, option.is_call) == (1_798_358_400 * 10**9, Fraction(55, 100), False)
    timed = contract(8, "BTC-27DEC26T153000-100000-P", "1", 4)
    assert (timed.expiry, timed.is_inverse) == (1_798_385_400 * 10**9, True)
    assert contract(9, "BTC_USD_USDC-PERPETUAL", "1", 2).settlement == "USDC"
    assert contract(9, "BTC-6DEC25", "1", 2).expiry == 1_765_008_000 * 10**9
    for wrong in (
        "BTC",
        "BTC-31FEB26",
        "BTC-27DEC26-100000",
        "BTC-27DEC26-1e5-C",
        "BTC-27DEC26-100000-X",
        "BTC-27XYZ26",
    ):
        with pytest.raises(InputError, match="not an instrument"):
            contract(0, wrong, "1", 2)
    for wrong in ("0", "-1", "ten", ""):
        with pytest.raises(InputError, match="lot"):
            contract(0, "BTC-6DEC25", wrong, 2)


@pytest.mark.criterion("CON-1", "MKT-3")
def test_numeraire():
    inputs = Inputs(ASSETS, [], {}, {"BTC": 60_000 * 10**8, "USDC": 96_000_000}, NOW, numeraire="USDC")
    market = Market(inputs)
    assert [market.value(each) for each in ("BTC", "USDC", "USD")] == [62_500, 1, 1 / Fraction("0.96")]


@pytest.mark.criterion("EXA-1")
def test_numbers_that_are_read():
    assert exact("0.1", "x") == Fraction(1, 10) < exact(0.1, "x")
    for wrong in (float("nan"), float("inf"), "ten", None, True, "1/0"):
        with pytest.raises(InputError, match="not a finite number"):
            exact(wrong, "x")


@pytest.mark.criterion("EXA-1")
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"unknown": 1}, "malformed"),
        ({"scenarios": [{"price": "x"}]}, "not-a-number"),
        ({"type": "other"}, "malformed"),
    ],
)
def test_parameters_that_are_refused(changes, code):
    with pytest.raises(InputError) as caught:
        world(scanning([1]) | changes, BTC=1)
    assert caught.value.code == code
    with pytest.raises(InputError):
        table(Inputs(ASSETS, [], {}, {}, NOW), "page")


@pytest.mark.criterion("EXA-2")
def test_what_is_rational_has_no_error():
    option = contract(2, "BTC_USDC-21OCT21T000000-60000-C", "0.1", 2)
    found = world(
        preset("portfolio"), [(INVERSE, 6_000_001), (LINEAR, 5_999_999), (option, 10**6)], BTC=60_000, USDC="0.97"
    )
    for line in found.lines.values():
        if found.market.contracts.get(line.name) == option:
            continue
        assert all(each.error == 0 for each in (line.v0, *line.v, *line.basis))
    assert found.lines["BTC-PERPETUAL"].v0.value == Fraction(-60_000 * 100, 6_000_001)
    assert found.lines["BTC_USDC-PERPETUAL"].v[0].value == Fraction(5_999_999, 100) * Fraction("0.97") * Fraction(1.2)
