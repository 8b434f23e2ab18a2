"""Laws that hold whatever the numbers: order, splitting, scale, more scenarios, each scenario, one set of bits."""

import msgspec
import numpy as np
import pytest
import worlds
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from holdfast.domain.instruments import Kind
from holdfast.domain.parameters import (
    Collateral,
    HaircutTier,
    OptionRates,
    PortfolioParameters,
    Scenario,
    StandardParameters,
    TailParameters,
    VolatilityRange,
    VolatilityShock,
)
from holdfast.domain.portfolio import Portfolio, Position
from holdfast.margin import kernel
from holdfast.margin.account import account_of, figures_of
from holdfast.margin.build import build_table
from holdfast.margin.calculation import calculate
from holdfast.margin.table import MARGIN_FIELDS
from holdfast.margin.twin import workings_of

COUNTS = (1, 7, 8, 9, 31, 32, 33, 40, 65)
"""Numbers of scenarios around the widths of registers."""


def holdable(portfolio, parameters):
    kept = tuple(p for p in portfolio.positions if worlds.tradable(p.instrument, parameters))
    return msgspec.structs.replace(portfolio, positions=kept)


def scaled(portfolio, k):
    return Portfolio(
        {a: k * b for a, b in portfolio.balances.items()},
        tuple(Position(p.instrument, k * p.quantity, k * p.cost) for p in portfolio.positions),
    )


def shuffled(portfolio, randomness):
    positions, balances = list(portfolio.positions), list(portfolio.balances.items())
    orders = list(portfolio.orders)
    for items in (positions, balances, orders):
        randomness.shuffle(items)
    return Portfolio(dict(balances), tuple(positions), tuple(orders))


@pytest.mark.criterion("TAB-12", "CON-7")
@settings(max_examples=150)
@given(worlds.portfolios(), worlds.orders(), worlds.model_names, worlds.market_names, st.randoms())
def test_the_order_of_what_is_given_changes_no_bit(portfolio, orders, model, market, randomness):
    parameters, market = worlds.models()[model], worlds.MARKETS[market]
    portfolio = holdable(portfolio, parameters)
    orders = tuple(o for o in orders if worlds.tradable(o.instrument, parameters))
    portfolio = msgspec.structs.replace(portfolio, orders=orders)
    one, other = (calculate(p, market, parameters) for p in (portfolio, shuffled(portfolio, randomness)))
    assert one.figures == other.figures


@pytest.mark.criterion("TAB-12", "CON-7", "TAB-3")
@given(st.permutations(worlds.INSTRUMENTS), st.permutations(("BTC", "ETH", "USD", "USDC")), worlds.model_names)
@settings(max_examples=10)
def test_the_table_does_not_depend_on_the_order_of_lines_given(instruments, assets, model):
    parameters = worlds.models()[model]
    one = build_table(parameters, worlds.CALM, worlds.INSTRUMENTS, ("BTC", "ETH", "USD", "USDC"))
    other = build_table(parameters, worlds.CALM, [*instruments, *instruments[:3]], assets)
    assert one.line_names == other.line_names
    assert one.groups == other.groups
    for a, b in zip(one.arrays, other.arrays, strict=True):
        assert a.tobytes() == b.tobytes()


@pytest.mark.criterion("CON-7")
@settings(max_examples=40)
@given(worlds.portfolios(), st.randoms())
def test_the_order_of_scenarios_changes_no_bit(portfolio, randomness):
    scan = worlds.busy_portfolio(33)
    scenarios = list(scan.scenarios)
    randomness.shuffle(scenarios)
    tail = worlds.busy_tail()
    order = list(range(tail.scenario_count))
    randomness.shuffle(order)
    moved = {u: tuple(moves[s] for s in order) for u, moves in tail.moves.items()}
    for one, other in (
        (scan, msgspec.structs.replace(scan, scenarios=tuple(scenarios))),
        (tail, msgspec.structs.replace(tail, moves=moved)),
    ):
        assert calculate(portfolio, worlds.CALM, one).figures == calculate(portfolio, worlds.CALM, other).figures


def sub_additive(parameters):
    """The model without what TAB-13 leaves out, and without the charges on offsets and the option rules noted below."""
    changed = worlds.plain(parameters)
    if isinstance(changed, StandardParameters):
        options = {u: msgspec.structs.replace(r, maximum_loss=False) for u, r in changed.options.items()}
        changed = msgspec.structs.replace(changed, options=options)
    confidence = changed.confidence
    if confidence is not None:
        confidence = msgspec.structs.replace(confidence, options_with_perpetual=False)
    charges = tuple(c for c in changed.charges if c.measure != "offset")
    return msgspec.structs.replace(changed, confidence=confidence, charges=charges)


@pytest.mark.criterion("TAB-13")
@settings(max_examples=200)
@given(st.data(), worlds.portfolios(), worlds.model_names, worlds.market_names)
def test_splitting_an_account_never_lowers_its_requirement(data, portfolio, model, market):
    parameters, market = sub_additive(worlds.models()[model]), worlds.MARKETS[market]
    whole = holdable(portfolio, parameters)
    table = build_table(parameters, market, {p.instrument for p in whole.positions}, whole.balances)
    eighths = st.integers(-4, 12).map(lambda n: n / 8.0)
    account = account_of(table, whole)
    shares = [data.draw(eighths) for _ in account.line]
    one = type(account)(account.line, account.quantity * np.array(shares))
    other = type(account)(account.line, account.quantity - one.quantity)
    together, first, second = (figures_of(table, a) for a in (account, one, other))
    slack = 3e-9 * worlds.gross_value(whole, market)
    assert first.initial_margin + second.initial_margin >= together.initial_margin - slack
    assert first.maintenance_margin + second.maintenance_margin >= together.maintenance_margin - slack


@pytest.mark.criterion("TAB-13")
def test_what_splitting_can_lower_is_what_the_law_leaves_out():
    """A box whose maximum loss binds and a short put whose isolated requirement binds need less apart than together."""
    parameters = StandardParameters(
        name="maximum loss",
        futures={},
        options={"*": OptionRates(0.15, 0.1, 0.075, 0.075, 0.075, maximum_loss=True)},
        collateral={"*": Collateral()},
    )
    names = {"BTC_USDC-26JUN26-40000-C": -1.0, "BTC_USDC-26JUN26-40000-P": 1.0}
    names |= {"BTC_USDC-26JUN26-65000-C": 1.0, "BTC_USDC-26JUN26-65000-P": -1.0}
    box = Portfolio({}, tuple(Position(worlds.instrument(n), -q, 0.0) for n, q in names.items()))
    put = Portfolio({}, (Position(worlds.instrument("BTC_USDC-26JUN26-50000-P"), -1.0, 0.0),))
    apart = sum(calculate(p, worlds.CALM, parameters).initial_margin for p in (box, put))
    assert calculate(box.merge(put), worlds.CALM, parameters).initial_margin > apart + 10_000.0


@pytest.mark.criterion("TAB-14")
@settings(max_examples=100)
@given(worlds.portfolios(), worlds.model_names, worlds.market_names, st.sampled_from([0.125, 0.7, 3.0, 8.0]))
def test_a_larger_account_needs_as_much_more(portfolio, model, market, k):
    parameters, market = worlds.plain(worlds.models()[model]), worlds.MARKETS[market]
    portfolio = holdable(portfolio, parameters)
    one = calculate(portfolio, market, parameters)
    more = calculate(scaled(portfolio, k), market, parameters)
    slack = 1e-9 * (1.0 + k) * worlds.gross_value(portfolio, market)
    assert more.initial_margin == pytest.approx(k * one.initial_margin, abs=slack)
    assert more.maintenance_margin == pytest.approx(k * one.maintenance_margin, abs=slack)
    assert more.equity == pytest.approx(k * one.equity, abs=slack)


added_scenarios = st.builds(
    Scenario, st.floats(0.3, 3.0), st.sampled_from(list(VolatilityShock)), st.sampled_from([0.3, 1.0])
)


@pytest.mark.criterion("TAB-15")
@settings(max_examples=60)
@given(worlds.portfolios(), added_scenarios, st.sampled_from(COUNTS))
def test_another_scenario_never_lowers_the_requirement(portfolio, scenario, count):
    parameters = worlds.busy_portfolio(count)
    more = msgspec.structs.replace(parameters, scenarios=(*parameters.scenarios, scenario))
    one, other = (calculate(portfolio, worlds.CALM, p) for p in (parameters, more))
    assert other.initial_margin >= one.initial_margin
    assert other.maintenance_margin >= one.maintenance_margin


@pytest.mark.criterion("TAB-16")
@settings(max_examples=80)
@given(worlds.portfolios(), st.sampled_from(["portfolio", "busy-portfolio", "derive-portfolio", "deribit-portfolio"]))
def test_the_requirement_covers_each_single_scenario(portfolio, model):
    parameters = worlds.models()[model]
    margin = calculate(portfolio, worlds.CALM, parameters)
    for scan in margin.workings.scans:
        results = margin.scenario_results(margin.table.underlyings[scan.underlying])
        assert len(results) == len(parameters.scenarios)
        assert scan.requirement >= max(0.0, *(-r for r in results))
        assert scan.requirement >= -scan.basis
    factor = margin.table.arrays.model[0]
    worst = sum(max(0.0, *(-r for r in margin.scenario_results(u)), -margin.basis_result(u)) for u in ("BTC", "ETH"))
    assert margin.figures.initial["scan"] == pytest.approx(factor * worst, rel=1e-14)


@pytest.mark.criterion("TAB-16", "TAIL-4")
@settings(max_examples=40)
@given(worlds.portfolios())
def test_the_tail_requirement_lies_between_joint_and_standalone(portfolio):
    tail = worlds.busy_tail()
    scan = {}
    for cap in (0.0, 0.7, 1.0):
        margin = calculate(portfolio, worlds.CALM, msgspec.structs.replace(tail, offset_cap=cap))
        scan[cap] = margin.figures.initial["scan"] / tail.initial_factor
    slack = 1e-9 * worlds.gross_value(portfolio, worlds.CALM)
    assert scan[1.0] <= scan[0.7] + slack
    assert scan[0.7] <= scan[0.0] + slack
    assert scan[0.7] == pytest.approx(0.3 * scan[0.0] + 0.7 * scan[1.0], abs=slack)


# One set of bits.


def bits(values):
    return np.asarray(values, np.float64).tobytes()


@pytest.mark.criterion("TAB-17", "CON-5")
@settings(max_examples=120)
@given(worlds.portfolios(most=12), worlds.model_names, worlds.market_names)
def test_kernel_and_twin_give_the_same_bits(portfolio, model, market):
    check_twin(worlds.models()[model], worlds.MARKETS[market], portfolio)


@pytest.mark.criterion("TAB-17", "CON-5")
@settings(max_examples=60)
@given(worlds.portfolios(most=12), st.sampled_from(COUNTS))
def test_kernel_and_twin_give_the_same_bits_for_every_number_of_scenarios(portfolio, count):
    check_twin(worlds.busy_portfolio(count), worlds.CALM, portfolio)
    moves = {u: m[: max(count, 2)] for u, m in worlds.moves().items()}
    tail = msgspec.structs.replace(worlds.busy_tail(), moves=moves, confidence_level=0.4)
    check_twin(tail, worlds.CALM, portfolio)


def check_twin(parameters, market, portfolio):
    portfolio = holdable(portfolio, parameters)
    margin = calculate(portfolio, market, parameters)
    kernel_row, twin_row = (
        [f.equity, *f.initial.values(), *f.maintenance.values()] for f in (margin.figures, margin.workings.figures)
    )
    assert bits(kernel_row) == bits(twin_row)
    assert not any(np.signbit(v) for v in kernel_row[1:])
    assert not (kernel_row[0] == 0.0 and np.signbit(kernel_row[0]))
    arrays, account = margin.table.arrays, margin.account
    equity = 0.0
    for line, quantity in zip(account.line.tolist(), account.quantity.tolist(), strict=True):
        equity += quantity * float(arrays.lines[line, 0])
    assert equity == margin.equity


@pytest.mark.criterion("TAB-17")
@pytest.mark.parametrize("model", sorted(worlds.models()))
@settings(max_examples=10)
@given(st.lists(worlds.portfolios(), max_size=6))
def test_a_sweep_gives_each_account_the_bits_it_has_alone(model, portfolios):
    parameters = worlds.models()[model]
    table = build_table(
        parameters,
        worlds.CALM,
        [i for i in worlds.INSTRUMENTS if worlds.tradable(i, parameters)],
        ("BTC", "ETH", "USD", "USDC"),
    )
    accounts = [account_of(table, holdable(p, parameters)) for p in portfolios]
    pointer = np.cumsum([0, *(len(a.line) for a in accounts)]).astype(np.int64)
    line = np.concatenate([np.zeros(0, np.int32), *(a.line for a in accounts)])
    quantity = np.concatenate([np.zeros(0), *(a.quantity for a in accounts)])
    out, scan = np.full((len(accounts), 3), np.nan), np.full(len(accounts), np.nan)
    kernel.sweep(table.arrays, pointer, line, quantity, out)
    kernel.sweep_scan(table.arrays, pointer, line, quantity, scan)
    row = np.full(MARGIN_FIELDS, np.nan)
    for n, account in enumerate(accounts):
        alone = figures_of(table, account)
        assert bits(out[n]) == bits([alone.equity, alone.initial_margin, alone.maintenance_margin])
        workings = workings_of(table.arrays, account)
        assert bits(out[n]) == bits(
            [workings.figures.equity, workings.figures.initial_margin, workings.figures.maintenance_margin]
        )
        kernel.account(table.arrays, line, quantity, pointer[n], pointer[n + 1], row)
        assert bits(row[0]) == bits(alone.equity)
        if not isinstance(parameters, StandardParameters):
            assert scan[n] * parameters.maintenance_factor == alone.maintenance["scan"]


@pytest.mark.criterion("TAB-7", "TAB-17")
@settings(max_examples=40)
@given(worlds.portfolios(most=3), st.sampled_from(worlds.INSTRUMENTS), worlds.model_names)
def test_a_position_of_quantity_zero_changes_nothing(portfolio, of, model):
    parameters = worlds.models()[model]
    portfolio = holdable(portfolio, parameters)
    assume(worlds.tradable(of, parameters) and of not in {p.instrument for p in portfolio.positions})
    empty = Portfolio(portfolio.balances, (*portfolio.positions, Position(of, 0.0, 0.0)))
    one, other = (calculate(p, worlds.CALM, parameters) for p in (portfolio, empty))
    assert one.figures == other.figures
    table = build_table(parameters, worlds.CALM, {of, *(p.instrument for p in portfolio.positions)}, portfolio.balances)
    account = account_of(table, portfolio)
    line = table.line_of_instrument[of]
    held, with_zero = figures_of(table, account), figures_of(table, account.with_change({line: 0.0}))
    assert with_zero == held


@pytest.mark.parametrize("count", COUNTS)
def test_padding_repeats_the_last_scenario_and_names_stay_unpadded(count):
    table = build_table(worlds.busy_portfolio(count), worlds.CALM, worlds.INSTRUMENTS)
    width = table.arrays.values.shape[1]
    assert len(table.scenarios) == count
    assert width % 8 == 0
    assert count <= width < count + 8
    last = table.arrays.values[:, count - 1 : count]
    assert (table.arrays.values[:, count:] == last).all()
    assert (table.arrays.multipliers[:, :, count:] == table.arrays.multipliers[:, :, count - 1 : count]).all()


def test_padding_takes_no_part_in_a_shortfall():
    """Nine scenarios, the worst one last: padding repeats it seven times, the mean of the worst two sees it once."""
    moves = (0.1, 0.05, 0.0, 0.02, -0.04, 0.01, 0.03, 0.02, -0.3)
    parameters = TailParameters(
        name="nine", confidence_level=1.0 - 2.0 / 9.0 - 1e-12, moves={"BTC": moves}, collateral={"*": Collateral()}
    )
    held = Portfolio({"USD": 0.0}, (Position(worlds.instrument("BTC_USDC-PERPETUAL"), 1.0, 49_900.0),))
    margin = calculate(held, worlds.CALM, parameters)
    assert margin.figures.initial["scan"] == pytest.approx(49_900.0 * (0.3 + 0.04) / 2.0, rel=1e-9)


def test_a_scan_of_one_scenario_that_gains_needs_nothing():
    parameters = PortfolioParameters(
        name="one",
        scenarios=(Scenario(1.2),),
        volatility=VolatilityRange(0.0, 0.0, 0.0, 0.0),
        collateral={"*": Collateral((HaircutTier(0.0, 0.0, 0.0),))},
    )
    of = worlds.instrument("BTC_USDC-PERPETUAL")
    assert of.kind is Kind.PERPETUAL
    for quantity, required in ((1.0, 0.0), (-1.0, 0.2 * 49_900.0)):
        held = Portfolio({}, (Position(of, quantity, quantity * 49_900.0),))
        margin = calculate(held, worlds.CALM, parameters)
        assert margin.initial_margin == pytest.approx(required, rel=1e-12)
