"""The exact margin beside the fast engine's public one, and certificates and checks that find planted errors."""

import math
from dataclasses import replace
from fractions import Fraction

import pytest
import slow_scan
from exact_worlds import NOW, Fast, World, preset, random_models, random_world, tail
from hypothesis import given, settings
from hypothesis import strategies as st

import holdfast
from holdfast.witness.exact import Asset, Exact, Inputs, Number, Order, Table, certify, check, contract, margin, table
from holdfast.witness.exact.book import book
from holdfast.witness.exact.intervals import Interval
from holdfast.witness.exact.margin import COMPONENTS
from holdfast.witness.exact.scan import results, scan

seeds = st.integers(0, 10**9)
ROUNDING = Fraction(1, 10**13)
"""The fast engine's sums of doubles, relative to the gross value and the requirement."""
PRESETS = ("standard", "portfolio", "derive-standard", "derive-portfolio", "deribit-standard", "deribit-portfolio")


def assert_agree(exact: Exact, fast) -> None:
    slack = float(ROUNDING * (exact.gross + abs(exact.initial.high)) + ROUNDING)
    assert check(exact, fast.equity, fast.initial_margin, fast.maintenance_margin, slack) == []
    for name in COMPONENTS:
        initial, maintenance = exact.components[name]
        assert initial.distance(Fraction(fast.figures.initial[name])) <= slack, name
        assert maintenance.distance(Fraction(fast.figures.maintenance[name])) <= slack, name


@pytest.mark.criterion("EXA-6", "EXA-7", "EXA-9")
@settings(max_examples=10)
@given(seeds, st.booleans())
@pytest.mark.parametrize("model", ["standard", "portfolio", "tail"])
def test_agrees_with_the_fast_engine_whatever_the_parameters(model, seed, orders):
    world = random_world(seed, random_models(seed), orders=orders, rates=True, doubts=True)
    exact = margin(table(world.inputs, model), world.holdings, world.orders)
    assert exact.initial.radius <= Fraction(1, 10**40) * (exact.gross + abs(exact.initial.high) + 1)
    assert_agree(exact, Fast(world).margin(model))


@pytest.mark.criterion("EXA-6", "EXA-7")
@settings(max_examples=25)
@given(seeds, st.booleans(), st.integers(-6, 60), st.sampled_from((0, 0, "1e-9", "0.3")))
@pytest.mark.parametrize("model", ["portfolio", "tail"])
def test_the_scan_in_whole_units_encloses_the_one_in_fractions(model, seed, orders, size, doubt):
    world = random_world(seed, random_models(seed), orders=orders, rates=True, doubts=True)
    found = doubted(table(world.inputs, model), Fraction(doubt))
    rows = {name: (round(amount * 2.0**size) or 1, cost) for name, (amount, cost) in world.holdings.items()}
    account = book(found, rows, world.orders)
    slack = slow_scan.grid_slack(found, account)
    assert_encloses(scan(found, account), slow_scan.scan(found, account), slack)
    for name in found.underlyings:
        pairs = zip(results(found, account, name), slow_scan.results(found, account, name), strict=True)
        for units, exactly in pairs:
            assert_encloses(units, exactly, slack)


def doubted(found: Table, doubt: Fraction) -> Table:
    """The table with values that are known up to a part of themselves, so that intervals hold 0."""

    def wide(numbers: tuple[Number, ...]) -> tuple[Number, ...]:
        return tuple(Number(each.value, each.error + doubt * abs(each.value)) for each in numbers)

    lines = {
        name: replace(each, v0=wide((each.v0,))[0], v=wide(each.v), basis=wide(each.basis))
        for name, each in found.lines.items()
    }
    return replace(found, lines=lines)


def assert_encloses(units: Interval, exactly: Interval, slack: Fraction) -> None:
    assert units.low <= exactly.low <= exactly.high <= units.high
    assert units.high - units.low <= exactly.high - exactly.low + slack


@pytest.mark.criterion("EXA-6", "EXA-7")
@settings(max_examples=2)
@given(seeds)
def test_agrees_with_the_fast_engine_on_shipped_models(seed):
    models = {name: preset(name) for name in PRESETS} | {"tail": tail(seed)}
    world = random_world(seed, models, orders=True)
    for name in models:
        assert_agree(margin(table(world.inputs, name), world.holdings, world.orders), Fast(world).margin(name))


@pytest.mark.criterion("EXA-5", "EXA-6")
def test_agrees_with_the_engine_on_frozen_prices():
    names = {"BTC-PERPETUAL": ("10", 2), "BTC-31DEC21": ("10", 2), "BTC_USDC-31DEC21": ("0.01", 2)}
    names |= {"BTC-31DEC21-60000-C": ("0.1", 4), "BTC_USDC-31DEC21-50000-P": ("0.1", 2)}
    prices = {"BTC": 60000.5, "USDC": 0.97, "BTC-PERPETUAL": 60010, "BTC-31DEC21": 61000.5}
    prices |= {"BTC-31DEC21-60000-C": 0.8, "BTC_USDC-31DEC21-50000-P": 0.9}
    engine = holdfast.Engine()
    for asset in ("BTC", "USDC", "USD"):
        assert engine.define_asset(asset)
    for name, (lot, decimals) in names.items():
        assert engine.define_instrument(name, lot=lot, price_decimals=decimals)
    for model in ("portfolio", "standard"):
        assert engine.define_model(model)
    assert engine.tick("2021-10-21T00:00:00Z")
    assert engine.post_prices(prices)
    for account, model in (("alice", "portfolio"), ("bob", "standard")):
        assert engine.open_account(account, model)
        assert engine.deposit(account, "BTC", 5)
        assert engine.deposit(account, "USDC", 50_000)
    assert engine.trade("alice", "bob", "BTC-PERPETUAL", 50_000, 60_000)
    assert engine.trade("alice", "bob", "BTC-31DEC21-60000-C", -3, "0.11")
    assert engine.trade("alice", "bob", "BTC_USDC-31DEC21-50000-P", 1, 4_000)
    assert engine.trade("alice", "bob", "BTC_USDC-31DEC21", "0.5", 60_000)
    assert engine.order("alice", "BTC-31DEC21", -20_000, 62_000)

    contracts = [contract(number, name, *each) for number, (name, each) in enumerate(names.items(), start=3)]
    steps = {each.name: each.price_decimals for each in contracts if not each.is_option}
    frozen = {
        name: round(Fraction(str(price)) * 10 ** steps.get(name, 6 if name in names else 8))
        for name, price in prices.items()
    }
    assets = (Asset("BTC", 8), Asset("USDC", 6), Asset("USD", 6))
    inputs = Inputs(assets, contracts, {"portfolio": preset("portfolio"), "standard": preset("standard")}, frozen, NOW)
    rows = {"BTC-PERPETUAL": (5_000, -83_333_333), "BTC-31DEC21-60000-C": (-30, -33_000_000)}
    rows |= {"BTC_USDC-31DEC21-50000-P": (10, 4_000_000_000), "BTC_USDC-31DEC21": (50, 30_000_000_000)}
    for account, model, sign, orders in (
        ("alice", "portfolio", 1, [Order("BTC-31DEC21", -2_000, 6_200_000)]),
        ("bob", "standard", -1, []),
    ):
        holdings = {name: (sign * amount, sign * cost) for name, (amount, cost) in rows.items()}
        holdings |= {"BTC": (5 * 10**8, -sign * 116_333_333), "USDC": (50_000 * 10**6, sign * 34_000_000_000)}
        assert_agree(margin(table(inputs, model), holdings, orders), engine.margin(account))


@pytest.fixture(scope="module")
def worked() -> tuple[World, Table, Exact]:
    world = random_world(5, random_models(5), orders=True, rates=True)
    found = table(world.inputs, "portfolio")
    return world, found, margin(found, world.holdings, world.orders)


@pytest.mark.criterion("EXA-9")
@pytest.mark.parametrize("figure", ["equity", "initial margin", "maintenance margin"])
@pytest.mark.parametrize("error", [1e-3, -1e-3, math.nan, math.inf])
def test_a_wrong_figure_is_named(worked, figure, error):
    exact = worked[2]
    claimed = {
        "equity": float(exact.equity.middle),
        "initial margin": float(exact.initial.middle),
        "maintenance margin": float(exact.maintenance.middle),
    }
    assert check(exact, *claimed.values(), 1e-6) == []
    claimed[figure] += error
    (found,) = check(exact, *claimed.values(), 1e-6)
    assert found.startswith(figure)
    assert ("0.001" in found or "0.000999" in found) if math.isfinite(error) else "finite" in found


@pytest.mark.criterion("CON-7", "TAB-12")
@given(st.randoms(use_true_random=False))
@settings(max_examples=5)
def test_no_order_matters(worked, draw):
    world, _, exact = worked
    inputs = world.inputs
    shuffled = replace(
        inputs,
        assets=draw.sample(inputs.assets, len(inputs.assets)),
        contracts=draw.sample(inputs.contracts, len(inputs.contracts)),
        frozen=dict(draw.sample(list(inputs.frozen.items()), len(inputs.frozen))),
    )
    holdings = dict(draw.sample(list(world.holdings.items()), len(world.holdings)))
    orders = draw.sample(world.orders, len(world.orders))
    assert margin(table(shuffled, "portfolio"), holdings, orders) == exact


def claims_of(found: Table, *, basis: bool = False) -> dict[str, tuple[float, list[float]]]:
    return {
        name: (float(line.v0.value), [float(each.value) for each in line.v + (line.basis if basis else ())])
        for name, line in found.lines.items()
    }


@pytest.mark.criterion("EXA-8")
@pytest.mark.parametrize("basis", [False, True])
def test_nearest_doubles_are_certified(worked, basis):
    found = worked[1]
    certificate = certify(found, claims_of(found, basis=basis), tolerance=2**-52)
    assert certificate.within
    assert 0 < certificate.ulps <= 0.5
    assert certificate.lines == len(found.lines)
    assert certificate.values == len(found.lines) * (6 + 2 * basis)


@pytest.mark.criterion("EXA-8")
def test_a_third_is_a_third_of_a_spacing_off():
    assets = (Asset("USD", 6), Asset("BTC", 8))
    inputs = Inputs(assets, [], {"x": preset("standard")}, {"BTC": 10**8}, NOW)
    found = table(inputs, "x")
    line = replace(found.lines["BTC"], v0=Number(Fraction(1, 3)))
    certificate = certify(replace(found, lines={"BTC": line}), {"BTC": (1 / 3, [])})
    assert certificate.ulps == pytest.approx(1 / 3)
    assert certificate.ulps_at == ("BTC", -1)
    doubted = replace(line, v0=Number(Fraction(1, 3), Fraction(1, 10**3)))
    assert certify(replace(found, lines={"BTC": doubted}), {"BTC": (0.334, [])}).absolute == 0


@pytest.mark.criterion("EXA-8")
@given(st.data())
@settings(max_examples=20)
def test_a_planted_error_is_found_where_it_is(worked, data):
    found = worked[1]
    claims = claims_of(found, basis=True)
    name = data.draw(st.sampled_from(sorted(claims)))
    scenario = data.draw(st.integers(-1, len(claims[name][1]) - 1))
    unit = found.market.value(found.market.contracts[name].settlement) if name in found.market.contracts else 1
    error = 1e-5 * float(abs(unit)) * float(found.market.index("BTC"))
    today, values = claims[name]
    if scenario < 0:
        today += error
    else:
        values[scenario] += error
    certificate = certify(found, {**claims, name: (today, values)})
    assert not certificate.within
    assert certificate.absolute_at == (name, scenario)
    assert certificate.absolute == pytest.approx(error, rel=1e-6)
    assert certificate.problems[0].startswith(name)


@pytest.mark.criterion("EXA-8")
def test_what_is_no_table_is_never_certified(worked):
    found = worked[1]
    claims = claims_of(found)
    name = next(iter(claims))
    today, values = claims[name]
    for wrong in (
        {key: each for key, each in claims.items() if key != name},
        {**claims, "DOGE": (1.0, [1.0])},
        {**claims, name: (math.nan, values)},
        {**claims, name: (today, [*values[:-1], math.inf])},
        {**claims, name: (today, values[:-1])},
    ):
        assert not certify(found, wrong).within


@pytest.mark.criterion("EXA-8", "PRC-5")
@pytest.mark.parametrize("model", ["standard", "portfolio", "tail"])
@settings(max_examples=4)
@given(seeds)
def test_the_fast_engines_table_is_certified(model, seed):
    world = random_world(seed, random_models(seed), rates=True, doubts=True)
    exact, fast = table(world.inputs, model), Fast(world).margin(model).table
    values = fast.arrays.values[:, : len(fast.scenarios)]
    claims = {
        name: (float(today), [float(each) for each in row])
        for name, today, row in zip(fast.line_names, fast.arrays.today, values, strict=True)
    }
    held = replace(exact, lines={name: exact.lines[name] for name in claims})
    certificate = certify(held, claims, tolerance=1e-12)
    assert certificate.within, certificate.problems


def test_gross_is_what_floats_are_relative_to(worked):
    world, found, exact = worked
    values = (found.lines[name].v0.value * found.market.quantity(name, *row) for name, row in world.holdings.items())
    assert float(exact.gross) == pytest.approx(float(sum(map(abs, values))))
    assert isinstance(exact.equity, Interval)
