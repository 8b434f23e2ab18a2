"""Why a margin is what it is: shares that sum to it, and what each line adds (RES-2, RES-3)."""

import math

import msgspec
import pytest
import worlds
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.domain.parameters import Charge, Collateral, HaircutTier, Measure, StandardParameters
from holdfast.domain.portfolio import Portfolio, Position, Trade
from holdfast.margin.calculation import calculate
from holdfast.margin.explain import ORDERS_LINE, attribution
from holdfast.margin.table import LineField


def holdable(portfolio, parameters):
    kept = tuple(p for p in portfolio.positions if worlds.tradable(p.instrument, parameters))
    of = tuple(o for o in portfolio.orders if worlds.tradable(o.instrument, parameters))
    return msgspec.structs.replace(portfolio, positions=kept, orders=of)


def margin_of(quantities, parameters, balances=None, market=worlds.CALM):
    positions = tuple(Position(worlds.instrument(n), q, c) for n, (q, c) in quantities.items())
    return calculate(Portfolio(balances or {}, positions), market, parameters)


def check_sum(margin):
    """Exact; but large shares of opposite sign cannot sum to a small total that is finer than their last place."""
    shares = attribution(margin)
    largest = max((abs(s.euler) for s in shares), default=0.0)
    off = abs(math.fsum(s.euler for s in shares) - margin.initial_margin)
    assert off <= (math.ulp(largest) if math.ulp(largest) > math.ulp(margin.initial_margin) else 0.0)
    return {s.name: s for s in shares}


@pytest.mark.criterion("RES-2")
@pytest.mark.parametrize("model", sorted(worlds.models()))
@settings(max_examples=60)
@given(worlds.portfolios(most=9), worlds.orders(), st.booleans(), worlds.market_names)
def test_shares_sum_to_the_initial_margin_exactly(model, portfolio, orders, with_orders, market):
    parameters = worlds.models()[model]
    portfolio = msgspec.structs.replace(portfolio, orders=orders if with_orders else ())
    margin = calculate(holdable(portfolio, parameters), worlds.MARKETS[market], parameters)
    shares = check_sum(margin)
    if with_orders and margin.figures.initial["orders"]:
        assert shares[ORDERS_LINE].euler == pytest.approx(margin.figures.initial["orders"], rel=1e-6, abs=1e-3)


@pytest.mark.criterion("RES-2")
@settings(max_examples=60)
@given(st.integers(1, 400), st.floats(0.0, 1.0), worlds.model_names)
def test_shares_of_a_hedged_account_sum_exactly_too(size, kept, model):
    """Large shares of opposite sign and a small total, where roundings weigh most."""
    parameters = worlds.models()[model]
    entry = 49_900.0
    quantities = {
        "BTC_USDC-PERPETUAL": (float(size), size * entry),
        "BTC_USDC-9JAN26": (-size * (1.0 - kept * 1e-3), -size * 50_200.0),
    }
    check_sum(margin_of(quantities, parameters, {"USDC": 1e6 + kept}))


def derivative(margin, name, h):
    """Central difference of the initial margin along a position, its cost moving along."""
    portfolio = margin.portfolio
    values = []
    for k in (1.0 + h, 1.0 - h):
        positions = tuple(
            Position(p.instrument, p.quantity * k, p.cost * k) if p.instrument.name == name else p
            for p in portfolio.positions
        )
        balances = {a: b * k if a == name else b for a, b in portfolio.balances.items()}
        values.append(calculate(Portfolio(balances, positions), margin.market, margin.parameters).initial_margin)
    return (values[0] - values[1]) / (2.0 * h)


@pytest.mark.criterion("RES-2")
@pytest.mark.parametrize(
    "model", ["portfolio", "derive-portfolio", "deribit-portfolio", "busy-tail", "derive-standard"]
)
def test_shares_are_derivatives(model):
    """Where nothing is settled in what a haircut applies to: along each position, its cost included.

    A haircut belongs to the balance, so the model is taken without haircuts here; so is its confidence charge.
    """
    parameters = msgspec.structs.replace(
        worlds.plain(worlds.models()[model]), confidence=None,
        collateral={"*": Collateral()} | {c: Collateral(underlying=c, scanned=True) for c in ("BTC", "ETH")},
    )  # fmt: skip
    margin = margin_of(
        {
            "BTC-PERPETUAL": (30_000.0, -0.55),
            "BTC_USDC-9JAN26-50000-C": (-2.0, -3_000.0),
            "BTC-26JUN26-40000-P": (1.5, 0.02),
            "ETH_USDC-PERPETUAL": (-11.0, -22_000.0),
            "BTC_USDC-26JUN26-65000-C": (-3.0, -9_000.0),
        },
        parameters,
        {"BTC": 0.75, "USDC": 10_000.0},
    )
    for name, share in check_sum(margin).items():
        assert share.euler == pytest.approx(derivative(margin, name, 1e-7), rel=2e-5, abs=0.05), name


@pytest.mark.criterion("RES-2")
def test_slopes_go_whole_to_their_position_and_haircuts_to_the_balance():
    parameters = worlds.busy_portfolio()
    quiet = msgspec.structs.replace(
        parameters, initial_factor=0.0, maintenance_factor=0.0, depeg=None, confidence=None, basis=None
    )
    margin = margin_of({"BTC_USDC-PERPETUAL": (10.0, 10.0 * 49_900.0)}, quiet, {"USDC": 250_000.0})
    shares = check_sum(margin)
    # 500,000 × (0.02 + 10 × 0.0001); 100,000 × 0.01 + 150,000 × 0.03.
    assert shares["BTC_USDC-PERPETUAL"].euler == pytest.approx(10_500.0, rel=1e-12)
    assert shares["USDC"].euler == pytest.approx(5_500.0, rel=1e-12)


@pytest.mark.criterion("RES-2")
def test_an_offset_charge_belongs_to_the_smaller_side():
    parameters = StandardParameters(
        name="offset",
        futures={"*": worlds.FutureRates(0.0, 0.0)},
        options={},
        charges=(Charge("perpetual", Measure.OFFSET, 0.01, 0.0), Charge("future", Measure.OFFSET, 0.01, 0.0)),
        collateral={"*": Collateral((HaircutTier(0.0, 0.0, 0.0),))},
    )
    quantities = {"BTC_USDC-PERPETUAL": (3.0, 149_700.0), "BTC_USDC-9JAN26": (-1.0, -50_200.0)}
    shares = check_sum(margin_of(quantities, parameters))
    assert shares["BTC_USDC-9JAN26"].euler == pytest.approx(500.0, rel=1e-12)
    assert shares["BTC_USDC-PERPETUAL"].euler == 0.0


@pytest.mark.criterion("RES-2")
def test_basis_and_maximum_loss_that_bind_are_attributed():
    parameters = worlds.busy_portfolio(1)  # one scenario that moves a little, so that the basis binds
    margin = margin_of({"BTC_USDC-26JUN26-65000-C": (-2.0, -5_000.0), "BTC_USDC-9JAN26": (1.0, 50_200.0)}, parameters)
    assert margin.binding_scenarios["BTC"].label.startswith("basis")
    assert all(s.euler > 0.0 for n, s in check_sum(margin).items() if n != "USDC")
    standard = worlds.models()["derive-standard"]
    spread = {"BTC_USDC-26JUN26-40000-P": (-5.0, 0.0), "BTC_USDC-26JUN26-50000-P": (5.0, 0.0)}
    margin = margin_of(spread, standard)
    group = margin.workings.option_groups[0]
    assert all(required < alone for required, alone in zip(group.requirement, group.isolated, strict=True))
    shares = check_sum(margin)
    for name in spread:
        share, position = shares[name], next(p for p in margin.portfolio.positions if p.instrument.name == name)
        line = margin.table.line_of_instrument[position.instrument]
        value = position.quantity * margin.table.arrays.lines[line, LineField.TODAY]
        # Nothing is paid at any price of 50,000 and above, so each share is the option's value.
        assert share.euler == pytest.approx(value, rel=1e-9)


@pytest.mark.criterion("RES-3")
@pytest.mark.parametrize("model", sorted(worlds.models()))
@settings(max_examples=20)
@given(worlds.portfolios(most=5), worlds.market_names)
def test_leave_one_out_is_a_recalculation_with_the_position_closed_at_its_mark(model, portfolio, market):
    parameters, market = worlds.models()[model], worlds.MARKETS[market]
    margin = calculate(holdable(portfolio, parameters), market, parameters)
    # The table of the account without the line must know as much about perpetuals' confidence as the one with it.
    everything = {p.instrument for p in margin.portfolio.lines()}
    for share in attribution(margin):
        position = next((p for p in margin.portfolio.lines() if p.instrument.name == share.name), None)
        if position is None:
            assert share.leave_one_out is None
            continue
        closed = margin.portfolio
        if position.quantity:
            row = margin.table.arrays.lines[margin.table.line_of_instrument[position.instrument]]
            in_asset = float(row[LineField.IN_ASSET])
            price = in_asset if row[LineField.OPTION_SIGN] else market.mark(position.instrument).price
            closed = closed.with_trades([Trade(position.instrument, -position.quantity, price)])
        without = calculate(closed, market, parameters, lines=everything)
        slack = 1e-9 * worlds.gross_value(margin.portfolio, market)
        assert share.leave_one_out == pytest.approx(margin.initial_margin - without.initial_margin, abs=slack)
