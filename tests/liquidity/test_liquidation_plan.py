"""The worked numbers of specs/liquidation-plan.md, and what is refused."""

import itertools
import math
import threading
from decimal import Decimal
from fractions import Fraction

import numpy as np
import plans
import pytest
from plans import A, B

from holdfast.domain.errors import InputError
from holdfast.liquidity import plan as plan_module
from holdfast.liquidity.books import Depth
from holdfast.liquidity.plan import Reduction, account_after, cheapest_plan
from holdfast.margin.account import account_of_lines
from holdfast.margin.build import build_table
from margin import worlds

TABLE = plans.two_lines()
ON_A, ON_B = plans.line_of(TABLE, A), plans.line_of(TABLE, B)


def depth(*levels):
    return Depth(np.array([q for q, _ in levels]), np.array([p for _, p in levels]))


BOOKS = {ON_A: depth((100.0, 99.0)), ON_B: depth((100.0, 49.0))}


def planned(equity, quantities=(10.0, 10.0), books=BOOKS, fee_rate=0.0, target_ratio=1.0, **others):
    account = plans.holding(TABLE, dict(zip((A, B), quantities, strict=True)), equity)
    return cheapest_plan(TABLE, account, books, fee_rate=fee_rate, target_ratio=target_ratio, **others)


@pytest.mark.criterion("LQP-6", "LQP-7")
def test_two_lines_and_two_scenarios_meet_in_one_vertex():
    plan = planned(30.0)
    assert plan.reductions == (Reduction(ON_A, -9.0), Reduction(ON_B, -8.5))
    assert (plan.cost, plan.restores, plan.surplus) == (17.5, True, 0.0)


@pytest.mark.criterion("LQP-8")
def test_a_hedge_is_kept_where_cutting_it_makes_things_worse():
    plan = planned(120.0)
    assert plan.reductions == (Reduction(ON_A, -1.579),)
    assert math.ceil(Fraction(30, 19) / Fraction(1, 10_000)) == 15_790


@pytest.mark.criterion("LQP-10")
def test_the_proportional_plan_is_dearer():
    """12/13 of both, in lots, restores and costs 240/13."""
    t = Fraction(12, 13)
    lots = Fraction(math.ceil(t * 100_000), 10_000)
    account = plans.holding(TABLE, {A: 10.0, B: 10.0}, 30.0)
    after, cost = plans.filled(TABLE, account, BOOKS, [(ON_A, -float(lots)), (ON_B, -float(lots))], 0.0)
    equity, initial = plans.initial_after(TABLE, after)
    assert equity >= initial
    assert cost == pytest.approx(240.0 / 13.0, abs=2e-4)
    assert planned(30.0).cost < cost


@pytest.mark.criterion("LQP-9")
@pytest.mark.parametrize(("lot", "taken"), [("0.5", (9.0, 8.5)), ("1", (10.0, 10.0)), ("0.17", (9.18, 8.67))])
def test_lots(lot, taken):
    """In lots of 0.17: 53 lots of A need 51 of B, which need 54 of A, and these 51 of B are enough for."""
    plan = planned(30.0, lots={ON_A: Decimal(lot), ON_B: Decimal(lot)})
    assert plan.reductions == (Reduction(ON_A, -taken[0]), Reduction(ON_B, -taken[1]))
    assert plan.restores


@pytest.mark.criterion("LQP-9", "LQP-10")
@pytest.mark.parametrize("programme", [([], False), ([np.zeros(2)], True), ([np.full(2, 10.0)], True)])
def test_a_programme_that_fails_makes_no_plan_dearer_than_the_proportional_one(monkeypatch, programme):
    """Everything is given back until nothing can be, the hedge between two turns of what it hedges."""
    monkeypatch.setattr(plan_module, "_points", lambda *_: programme)
    assert planned(30.0).cost <= 240.0 / 13.0
    assert planned(120.0).reductions == (Reduction(ON_A, -1.579),)


@pytest.mark.criterion("LQP-1")
def test_depth_and_lots_bound_a_reduction():
    """Bankrupt, so that everything the book has is wanted: 7.25 of 10 in lots of 0.1."""
    books = {ON_A: depth((4.0, 99.0), (3.25, 98.0))}
    plan = planned(-50.0, (10.0, 0.0), books, lots={ON_A: Fraction(1, 10)})
    assert plan.reductions == (Reduction(ON_A, -7.2),)
    assert (plan.restores, plan.cost) == (False, pytest.approx(4.0 + 2.0 * 3.2, rel=1e-14))


@pytest.mark.criterion("LQP-1")
def test_a_position_off_the_grid_is_closed_whole():
    plan = planned(0.4, (-0.25, 0.0), {ON_A: depth((9.0, 101.0))}, lots={ON_A: Fraction(1, 10)})
    assert plan.reductions == (Reduction(ON_A, 0.25),)
    assert plan.restores


@pytest.mark.criterion("LQP-2")
def test_the_default_target_is_a_twentieth_above_initial_margin():
    """1 unit of A, requirement 20: 20.9 is below 21, 21 is not; one lot of 0.5 leaves 10, and 10.5 is asked."""
    account = plans.holding(TABLE, {A: 1.0}, 21.0)
    assert cheapest_plan(TABLE, account, BOOKS, fee_rate=0.0).reductions == ()
    account = plans.holding(TABLE, {A: 1.0}, 20.9)
    plan = cheapest_plan(TABLE, account, BOOKS, fee_rate=0.0, lots={ON_A: Fraction(1, 2)})
    assert plan.reductions == (Reduction(ON_A, -0.5),)
    assert plan.surplus == pytest.approx(20.9 - 0.5 - 10.5, abs=1e-12)


@pytest.mark.criterion("LQP-3")
@pytest.mark.parametrize(
    ("quantity", "price", "loss", "cash"), [(2.0, 99.0, 1.099, 98.901), (-2.0, 101.0, 1.101, -101.101)]
)
def test_fills_and_fees_of_linear_contracts(quantity, price, loss, cash):
    """Equity 2.3 leaves no choice but to close both units, one at a time."""
    account = plans.holding(TABLE, {A: quantity}, 2.3)
    books = {ON_A: depth((1.5, price), (3.0, price))}
    whole = {ON_A: Decimal(1)}
    plan = cheapest_plan(TABLE, account, books, fee_rate={ON_A: 0.001}, target_ratio=1.0, lots=whole)
    assert plan.reductions == (Reduction(ON_A, -quantity),)
    assert plan.cost == pytest.approx(2.0 * loss, abs=1e-13)
    after = account_after(TABLE, account, books, plan, fee_rate=0.001)
    change = after.quantity[list(after.line).index(TABLE.line_of_asset["USDC"])] - account.quantity[-1]
    assert change == pytest.approx(2.0 * cash, abs=1e-12)
    assert after.quantity[list(after.line).index(ON_A)] == 0.0


@pytest.mark.criterion("LQP-3")
def test_an_inverse_contract_is_paid_in_its_coin():
    """Index, mark and V0 of the page: the coin that the long position owes is bought with what is left of it."""
    name = "BTC-PERPETUAL"
    market = worlds.market()
    bitcoin = market.underlyings["BTC"]
    bitcoin.marks[name] = worlds.Price(50_000.0)
    table = build_table(worlds.models()["deribit-portfolio"], market, [worlds.instrument(name)])
    line, coin = plans.line_of(table, name), table.line_of_asset["BTC"]
    assert table.arrays.today[line] == -1.0
    account = account_of_lines({coin: 2.0 + 1e-4, line: 100_000.0})
    books = {line: depth((1e6, -50_000.0 / 49_500.0))}
    plan = cheapest_plan(table, account, books, fee_rate=0.0)
    assert plan.cost == pytest.approx(-sum(r.quantity for r in plan.reductions) * (50_000.0 / 49_500.0 - 1.0), rel=1e-9)
    after = account_after(table, account, books, plan, fee_rate=0.0)
    assert after.quantity[0] == pytest.approx(2.0 + 1e-4 + plan.reductions[0].quantity / 49_500.0, rel=1e-12)


@pytest.mark.criterion("LQP-4")
def test_a_book_above_the_mark_is_no_reason_to_sell_more():
    plan = planned(120.0, books={ON_A: depth((10.0, 101.0)), ON_B: depth((10.0, 51.0))})
    before = planned(120.0)
    assert plan.cost < 0.0
    assert [r.line for r in plan.reductions] == [ON_A]
    assert 0.0 < -plan.reductions[0].quantity <= -before.reductions[0].quantity


@pytest.mark.criterion("LQP-4")
def test_the_best_levels_go_first():
    """One line, three levels: the cheap ones are used up first, and the dear one is not reached."""
    books = {ON_A: depth((1.0, 99.5), (2.0, 99.0), (20.0, 90.0)), ON_B: BOOKS[ON_B]}
    plan = planned(150.0, (10.0, 0.0), books)
    taken = -plan.reductions[0].quantity
    assert taken == pytest.approx(49.5 / 19.0, abs=1e-4)  # Equity 150 − 0.5 − (a − 1) against 200 − 20a.


@pytest.mark.criterion("LQP-11")
def test_nothing_to_do_and_nothing_possible():
    assert planned(150.0)[:3] == ((), 0.0, True)
    assert planned(30.0, books={})[:3] == ((), 0.0, False)
    assert planned(30.0, books={ON_A: depth()})[:3] == ((), 0.0, False)
    assert planned(30.0, books={ON_A: depth((0.00005, 99.0))})[:3] == ((), 0.0, False)
    assert planned(30.0, books={TABLE.line_of_asset["USDC"]: depth((1e6, 1.0))})[:3] == ((), 0.0, False)


@pytest.mark.criterion("LQP-11")
def test_where_nothing_restores_the_least_is_left_missing():
    """Only the hedge has a book, and closing it would make it worse; then only what it hedges has, two units of it."""
    assert planned(120.0, books={ON_B: BOOKS[ON_B]})[:3] == ((), 0.0, False)
    plan = planned(30.0, books={ON_A: depth((2.0, 99.0)), ON_B: BOOKS[ON_B]})
    assert (plan.reductions, plan.restores) == ((Reduction(ON_A, -2.0),), False)


@pytest.mark.criterion("LQP-12")
def test_a_plan_depends_on_nothing_but_its_inputs():
    first = planned(30.0)
    others = [planned(equity) for equity in (120.0, -5.0, 77.0)]
    results = []
    thread = threading.Thread(target=lambda: results.append(planned(30.0)))
    thread.start()
    thread.join()
    turned = {line: BOOKS[line] for line in reversed(list(BOOKS))}
    assert [first, *others] == [planned(30.0, books=turned), *map(planned, (120.0, -5.0, 77.0))]
    assert results == [first]


@pytest.mark.criterion("LQP-13")
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"fee_rate": 1.0}, "fee_rate"),
        ({"fee_rate": -0.1}, "fee_rate"),
        ({"fee_rate": math.nan}, "fee_rate"),
        ({"target_ratio": -1.0}, "target_ratio"),
        ({"target_ratio": math.inf}, "target_ratio"),
        ({"equity": math.nan}, "account"),
        ({"lots": {ON_A: Decimal(0)}}, f"lots[{A}]"),
        ({"books": {ON_A: depth((1.0, 98.0), (1.0, 99.0))}}, f"books[{A}].price"),
        ({"books": {ON_A: depth((1.0, 101.0), (1.0, 100.0))}, "quantities": (-1.0, 0.0)}, f"books[{A}].price"),
    ],
)
def test_what_a_plan_refuses(change, field):
    with pytest.raises(InputError) as refused:
        planned(**({"equity": 30.0} | change))
    assert refused.value.field == field


@pytest.mark.criterion("LQP-13")
@pytest.mark.parametrize(
    ("levels", "field"),
    [
        ([(0.0, 1.0)], "depth.quantity"),
        ([(math.nan, 1.0)], "depth"),
        ([(1.0, math.inf)], "depth"),
        ([(-1.0, 1.0)], "depth.quantity"),
    ],
)
def test_what_a_book_refuses(levels, field):
    with pytest.raises(InputError) as refused:
        depth(*levels)
    assert refused.value.field == field
    with pytest.raises(InputError, match="one quantity and one price"):
        Depth(np.ones(2), np.ones(3))


@pytest.mark.criterion("LQP-9")
def test_the_best_of_all_whole_lots_is_found_or_missed_by_less_than_a_lot_per_line():
    """Every combination of lots, tried one by one, at nine equities and three sizes of the hedge."""
    lots = {ON_A: Fraction(1), ON_B: Fraction(1)}
    for equity, hedge in itertools.product((5.0, 20.0, 30.0, 45.0, 60.0, 80.0, 100.0, 120.0, 140.0), (4.0, 7.0, 10.0)):
        account = plans.holding(TABLE, {A: 10.0, B: hedge}, equity)
        costs = []
        for a, b in itertools.product(range(11), range(int(hedge) + 1)):
            after, cost = plans.filled(TABLE, account, BOOKS, [(ON_A, -float(a)), (ON_B, -float(b))], 0.0)
            found_equity, initial = plans.initial_after(TABLE, after)
            costs += [cost] if found_equity >= initial else []
        plan = cheapest_plan(TABLE, account, BOOKS, fee_rate=0.0, target_ratio=1.0, lots=lots)
        assert plan.restores == bool(costs)
        if costs:
            assert min(costs) <= plan.cost < min(costs) + 2.0
