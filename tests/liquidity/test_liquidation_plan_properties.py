"""Laws of liquidation plans over random accounts, books and models."""

import itertools
import math
from fractions import Fraction

import numpy as np
import plans
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from holdfast.domain.instruments import Kind, lot
from holdfast.liquidity.books import SIZE_PENALTY, Depth, sheet_of
from holdfast.liquidity.cuts import cuts_at, owners_of
from holdfast.liquidity.plan import account_after, cheapest_plan
from holdfast.margin.account import Account, account_of, account_of_lines, assets_of, figures_of, instruments_of
from holdfast.margin.build import build_table
from margin import worlds

FEE_RATE = 0.0005
LEAST_BEST = {
    "portfolio": 38,
    "standard": 38,
    "tail": 38,
    "derive-portfolio": 38,
    "busy-portfolio": 38,
    "busy-standard": 34,
}
"""How many of 40 plans must be the best of all combinations of lots: one or two fewer than are."""


@st.composite
def books(draw, table, account):
    """Books of some of the lines: one to four levels of any depth, up to 5 % beyond today's value, seldom better."""
    found = {}
    for line, quantity in zip(account.line.tolist(), account.quantity.tolist(), strict=True):
        if table.instruments[line] is None or quantity == 0.0 or draw(st.integers(0, 7)) == 0:
            continue
        today = table.arrays.today[line]
        sizes = draw(st.lists(st.sampled_from([0.01, 0.13, 0.5, 1.0, 3.0]), min_size=1, max_size=4))
        steps = np.sort(draw(st.lists(st.integers(-1, 20), min_size=len(sizes), max_size=len(sizes))))
        price = today - np.sign(quantity) * (abs(today) + 1e-3) * 0.0025 * steps
        found[line] = Depth(abs(quantity) * np.array(sizes), price)
    return found


@st.composite
def situations(draw):
    """A table, an account between bankrupt and healthy, and books."""
    parameters = worlds.models()[draw(worlds.model_names)]
    names = [i for i in worlds.INSTRUMENTS if worlds.tradable(i, parameters)]
    portfolio = draw(worlds.portfolios(names))
    market = worlds.MARKETS[draw(worlds.market_names)]
    table = build_table(parameters, market, instruments_of(portfolio), assets_of(portfolio) | {"USDC"})
    account = account_of(table, portfolio)
    account = account.with_change({table.line_of_asset["USDC"]: 0.0})
    account = plans.with_equity(table, account, draw(st.sampled_from([-0.2, 0.1, 0.4, 0.7, 0.9, 1.0, 1.2])))
    return table, account, draw(books(table, account))


def burden(table, account, on, reductions):
    """LQP-4 written once more."""
    held = dict(zip(account.line.tolist(), account.quantity.tolist(), strict=True))
    total = 0.0
    for line, change in reductions:
        left, sign, today = abs(change), math.copysign(1.0, held[line]), table.arrays.today[line]
        for size, price in zip(on[line].quantity.tolist(), on[line].price.tolist(), strict=True):
            part = min(left, size)
            total += part * (max(0.0, sign * (today - price) + FEE_RATE * abs(price)) + SIZE_PENALTY * abs(today))
            left -= part
    return total


def surplus_of(table, account, ratio=1.05):
    equity, initial = plans.initial_after(table, account)
    return equity - ratio * initial


def scale_of(table, account):
    return 1.0 + float(np.abs(account.quantity * table.arrays.today[account.line]).sum())


def everything(table, account, on, part=1.0):
    """A part of all that the books take, in lots rounded up."""
    reductions = []
    for line, quantity in zip(account.line.tolist(), account.quantity.tolist(), strict=True):
        if line not in on or quantity == 0.0:
            continue
        grid, size = Fraction(lot(table.instruments[line])), abs(quantity)
        most = math.ceil(Fraction(size) / grid - Fraction(1, 10**9))
        if on[line].quantity.sum() < size * (1.0 - 1e-9):
            most = math.floor(Fraction(on[line].quantity.sum()) / grid + Fraction(1, 10**9))
        taken = min(size, float(math.ceil(part * most) * grid))
        if taken > 0.0:
            reductions.append((line, -math.copysign(taken, quantity)))
    return reductions


@pytest.mark.criterion("LQP-1", "LQP-3", "LQP-5")
@settings(max_examples=300)
@given(situations())
def test_a_plan_keeps_its_promises(situation):
    table, account, on = situation
    plan = cheapest_plan(table, account, on, fee_rate=FEE_RATE)
    held = dict(zip(account.line.tolist(), account.quantity.tolist(), strict=True))
    lines = [r.line for r in plan.reductions]
    assert lines == sorted(set(lines))
    for line, change in plan.reductions:
        grid, size = lot(table.instruments[line]), abs(held[line])
        assert line in on
        assert change * held[line] < 0.0
        assert abs(change) <= min(size, on[line].quantity.sum() * (1.0 + 1e-9))
        assert abs(change) == size or abs(change) == float(round(abs(change) / float(grid)) * grid)
    after, cost = plans.filled(table, account, on, plan.reductions, FEE_RATE)
    scale = scale_of(table, account)
    assert plan.cost == pytest.approx(cost, abs=1e-11 * scale)
    note(f"surplus {plan.surplus}, scale {scale}")
    assert plan.surplus == pytest.approx(surplus_of(table, after), abs=1e-11 * scale)
    assert plan.restores == (plan.surplus >= 0.0)
    made = account_after(table, account, on, plan, fee_rate=FEE_RATE)
    assert plan.restores == (surplus_of(table, made) >= 0.0)


@pytest.mark.criterion("LQP-10", "LQP-11")
@settings(max_examples=200)
@given(situations(), st.integers(1, 8))
def test_no_proportional_plan_that_restores_is_lighter(situation, eighths):
    table, account, on = situation
    plan = cheapest_plan(table, account, on, fee_rate=FEE_RATE)
    scale = scale_of(table, account)
    reductions = everything(table, account, on, eighths / 8.0)
    missing = surplus_of(table, plans.filled(table, account, on, reductions, FEE_RATE)[0])
    whole = surplus_of(table, plans.filled(table, account, on, everything(table, account, on), FEE_RATE)[0])
    assert plan.surplus >= min(0.0, surplus_of(table, account), whole) - 1e-11 * scale
    if whole >= 1e-9 * scale:
        assert plan.restores
    if missing >= 1e-9 * scale and plan.restores:
        lightest = burden(table, account, on, reductions)
        assert burden(table, account, on, plan.reductions) <= lightest * (1.0 + 1e-9) + 1e-9


@pytest.mark.criterion("LQP-9")
@settings(max_examples=150)
@given(situations())
def test_no_lot_can_be_given_back(situation):
    table, account, on = situation
    plan = cheapest_plan(table, account, on, fee_rate=FEE_RATE)
    if not plan.restores:
        return
    for n, (line, change) in enumerate(plan.reductions):
        grid = lot(table.instruments[line])
        fewer = math.ceil(Fraction(abs(change)) / Fraction(grid) - Fraction(1, 10**9)) - 1
        less = list(plan.reductions)
        less[n] = (line, math.copysign(float(fewer * grid), change))
        lighter = burden(table, account, on, less) < burden(table, account, on, plan.reductions) * (1.0 - 1e-9)
        after = plans.filled(table, account, on, [r for r in less if r[1] != 0.0], FEE_RATE)[0]
        assert not lighter or surplus_of(table, after) < 1e-11 * scale_of(table, account)


@pytest.mark.criterion("LQP-12")
@settings(max_examples=50)
@given(situations())
def test_a_plan_is_the_same_again(situation):
    table, account, on = situation
    first = cheapest_plan(table, account, on, fee_rate=FEE_RATE)
    turned = dict(reversed(list(on.items())))
    assert cheapest_plan(table, account, turned, fee_rate=FEE_RATE) == first


CONVEX = ("portfolio", "busy-portfolio", "derive-portfolio", "deribit-portfolio", "tail", "busy-tail")
"""Models whose scans lie nowhere below their cuts."""
COIN_SETTLED = [i for i in worlds.INSTRUMENTS if i.inverse and i.underlying == "BTC"]


@pytest.mark.criterion("LQP-6")
@settings(max_examples=100)
@given(st.sampled_from(CONVEX), st.data())
def test_cuts_touch_the_scan_where_they_are_made_and_bound_it_elsewhere(name, data):
    parameters = worlds.models()[name]
    portfolio = data.draw(worlds.portfolios())
    table = build_table(parameters, worlds.CALM, instruments_of(portfolio), assets_of(portfolio) | {"USDC"})
    account = account_of(table, portfolio).with_change({table.line_of_asset["USDC"]: 0.0})
    lines = zip(account.line.tolist(), account.quantity.tolist(), strict=True)
    deep = {line: Depth(np.array([2.0 * abs(q)]), table.arrays.today[[line]]) for line, q in lines if q != 0.0}
    sheet = sheet_of(table, account, deep, 0.0, {})
    cuts = cuts_at(table.arrays, sheet, sheet.quantity, 1.0)
    factors = owners_of(table.arrays, sheet)
    scale = scale_of(table, account)
    assert cuts.plane == pytest.approx(cuts.other, abs=1e-4 * scale)
    for part in (1.0, *data.draw(st.lists(st.sampled_from([0.0, 0.3, 0.9]), min_size=2, max_size=2))):
        quantity = sheet.quantity.copy()
        quantity[::2] *= part
        said = [max(0.0, *-(cuts.slopes[cuts.owner == n] @ quantity), 0.0) for n in range(len(factors))]
        scan = figures_of(table, Account(sheet.line, quantity)).initial["scan"]
        assert float(factors @ said) <= scan + 1e-10 * scale
        if part == 1.0:
            assert float(factors @ said) == pytest.approx(scan, abs=1e-10 * scale)


def best_of_all(table, account, on, lots):
    """The least burden of all combinations of whole lots that restore, None if there is none."""
    held = dict(zip(account.line.tolist(), account.quantity.tolist(), strict=True))
    found = []
    for counts in itertools.product(range(9), repeat=len(on)):
        taken = zip(on, counts, strict=True)
        reductions = [(line, -math.copysign(float(n * lots[line]), held[line])) for line, n in taken if n]
        if surplus_of(table, plans.filled(table, account, on, reductions, FEE_RATE)[0]) >= 0.0:
            found.append(burden(table, account, on, reductions))
    return min(found, default=None)


@pytest.mark.criterion("LQP-6", "LQP-9")
@pytest.mark.parametrize(("name", "least"), LEAST_BEST.items())
def test_most_plans_in_coarse_lots_are_the_best_of_all(name, least):
    """Two coin-settled contracts and their coin, eight lots each: every combination is tried."""
    generator = np.random.default_rng(11)
    best = 0
    for _ in range(40):
        chosen = generator.choice(len(COIN_SETTLED), 2, replace=False)
        contracts = [COIN_SETTLED[n] for n in chosen]
        table = build_table(worlds.models()[name], worlds.CALM, contracts, ["USDC", "BTC"])
        sizes = {i: 1.0 if i.kind is Kind.OPTION else 30_000.0 for i in contracts}
        quantities = {
            table.line_of_instrument[i]: float(generator.choice([-1, 1]) * 8 * generator.integers(1, 5)) * size
            for i, size in sizes.items()
        }
        coin = {table.line_of_asset["BTC"]: float(generator.integers(0, 3)), table.line_of_asset["USDC"]: 0.0}
        account = plans.with_equity(table, account_of_lines(quantities | coin), generator.uniform(0.2, 0.9))
        lots = {line: Fraction(abs(quantity)) / 8 for line, quantity in quantities.items()}
        on = {}
        for line, quantity in sorted(quantities.items()):
            today = table.arrays.today[line]
            steps = np.cumsum(generator.uniform(0.001, 0.01, 3))
            price = today - np.sign(quantity) * (abs(today) + 1.0) * steps
            on[line] = Depth(abs(quantity) * np.array([0.3, 0.3, 0.5]), price)
        found = best_of_all(table, account, on, lots)
        plan = cheapest_plan(table, account, on, fee_rate=FEE_RATE, lots=lots)
        assert plan.restores == (found is not None)
        if found is None:
            best += 1
            continue
        mine = burden(table, account, on, plan.reductions)
        assert mine >= found * (1.0 - 1e-9)
        best += mine <= found * (1.0 + 1e-9)
    assert best >= least
