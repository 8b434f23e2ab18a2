"""The compiled entries of the kernel: what each gives is what the others give, and shortcuts change no bit."""

import msgspec
import numba
import numpy as np
import pytest
import worlds
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.domain.market import Price
from holdfast.domain.parameters import (
    BasisContingency,
    Charge,
    Collateral,
    HaircutTier,
    Measure,
    PortfolioParameters,
    Scenario,
    VolatilityRange,
    VolatilityShock,
)
from holdfast.domain.portfolio import Order, Portfolio
from holdfast.margin import kernel, presets
from holdfast.margin.account import Account, account_of
from holdfast.margin.build import build_table
from holdfast.margin.fields import mark_shortcuts
from holdfast.margin.order_box import order_room
from holdfast.margin.orders import fill_effects, orders_bound, orders_requirement
from holdfast.margin.table import LineTag, ModelField
from holdfast.margin.twin import workings_of

ASSETS = ("BTC", "ETH", "USD", "USDC")
SHORTCUTS = [f for f in ModelField if f.name.startswith("HAS_")]


def table_of(parameters, market=worlds.CALM):
    return build_table(parameters, market, [i for i in worlds.INSTRUMENTS if worlds.tradable(i, parameters)], ASSETS)


def books(table, count, seed, most=20):
    """Accounts in one pool, with gaps between them: start, count, line, quantity."""
    generator = np.random.default_rng(seed)
    start, counts, lines, quantities = [], [], [], []
    for _ in range(count):
        lines.append(np.full(generator.integers(0, 3), -1, np.int32))
        start.append(sum(map(len, lines)))
        held = np.sort(generator.choice(len(table.line_names), generator.integers(0, most), replace=False))
        counts.append(len(held))
        lines.append(held.astype(np.int32))
    line = np.concatenate(lines)
    quantities = np.round(generator.standard_normal(len(line)) * 4.0, 1) * generator.choice([1.0, 1.0, 0.0], len(line))
    return np.array(start, np.int64), np.array(counts, np.int32), line, quantities


def swept(arrays, start, count, line, quantity):
    """What `account` says of each account, [n, 3], equity and sums from left to right."""
    out, row = np.empty((len(start), 3)), np.empty(19)
    for n, (begin, size) in enumerate(zip(start.tolist(), count.tolist(), strict=True)):
        kernel.account(arrays, line, quantity, begin, begin + size, row)
        out[n] = row[0], kernel.total.py_func(row, kernel.INITIAL), kernel.total.py_func(row, kernel.MAINTENANCE)
    return out


@numba.njit(error_model="numpy")
def totals_one_by_one(arrays, start, count, line, quantity, room, out):
    """A compiled caller with its own room, as the fold is one."""
    for n in range(len(start)):
        out[n, 0], out[n, 1], out[n, 2] = kernel.account_totals(
            arrays, line, quantity, start[n], start[n] + count[n], room
        )


@pytest.mark.criterion("TAB-9", "TAB-17")
@pytest.mark.parametrize("model", ["portfolio", "busy-portfolio", "busy-standard", "busy-tail"])
def test_every_entry_gives_the_same_bits(model):
    table = table_of(worlds.models()[model])
    start, count, line, quantity = books(table, 60, seed=3)
    expected = swept(table.arrays, start, count, line, quantity)
    room = kernel.workspace(30, 9, 400)
    assert kernel.fits(room, table.arrays)
    for part in room.runs, room.balances, *room.tail:
        part[...] = -77  # what an account before left behind
    out = np.full((60, 3), np.nan)
    totals_one_by_one(table.arrays, start, count, line, quantity, room, out)
    assert out.tobytes() == expected.tobytes()


def test_a_workspace_that_is_too_small_says_so():
    table = table_of(worlds.busy_tail())
    assets, scenarios = len(table.arrays.assets), table.arrays.values.shape[1]
    assert kernel.fits(kernel.workspace(1, assets, scenarios), table.arrays)
    assert not kernel.fits(kernel.workspace(1, assets, scenarios - 1), table.arrays)
    assert not kernel.fits(kernel.workspace(1, 8, scenarios), table.arrays._replace(assets=np.zeros((9, 6))))


@pytest.mark.criterion("TAB-17")
@pytest.mark.parametrize("market", sorted(worlds.MARKETS))
@pytest.mark.parametrize("model", sorted(worlds.models()))
def test_shortcuts_change_no_bit(model, market):
    table = table_of(worlds.models()[model], worlds.MARKETS[market])
    book = books(table, 40, seed=5)
    slow = table.arrays.model.copy()
    slow[SHORTCUTS] = 1.0
    slow[ModelField.VALUES_ALIKE] = 0.0
    expected = swept(table.arrays._replace(model=slow), *book)
    assert swept(table.arrays, *book).tobytes() == expected.tobytes()


@pytest.mark.criterion("CHG-8")
def test_shortcuts_follow_what_a_table_has():
    table = table_of(presets.portfolio())
    arrays, model = table.arrays, table.arrays.model
    assert [f.name for f in SHORTCUTS if model[f]] == ["HAS_NET_STRIKE", "HAS_CONFIDENCE"]
    assert model[ModelField.VALUES_ALIKE] == 1.0
    arrays.multipliers[0, 1, 3] += 0.5
    arrays.underlyings[0, 1] = 0.1
    arrays.groups[:] = 0.0
    arrays.lines[:, 14] = 1.0  # every line sure of itself; a perpetual at 0.5 still lends its confidence to options
    mark_shortcuts(model, arrays.multipliers, arrays.lines, arrays.groups, arrays.underlyings)
    assert [f.name for f in SHORTCUTS if model[f]] == ["HAS_OFFSET", "HAS_CONFIDENCE"]
    assert model[ModelField.VALUES_ALIKE] == 0.0


def scan_of(count, **others):
    moves = tuple(Scenario(round(0.75 + 0.5 * n / count, 6), VolatilityShock.NONE) for n in range(count))
    return PortfolioParameters(
        name="plain",
        scenarios=moves,
        volatility=VolatilityRange(0.0, 0.0, 0.0, 0.0),
        collateral=worlds.COINS | {"*": Collateral()},
        **others,
    )


@pytest.mark.criterion("TAB-4", "TAB-5", "TAB-17")
@pytest.mark.parametrize("count", [5, 32, 40, 64])
def test_basis_where_all_groups_are_one_run(count):
    """The scan sums whole underlyings, the basis contingency still goes group by group."""
    table = table_of(scan_of(count, basis=BasisContingency(1.4, 0.5, 1.5, 1.0, futures=True)))
    assert (table.arrays.tags[:, LineTag.RUN] < 0).all()
    assert_twin_agrees(table, books(table, 80, seed=9))


def assert_twin_agrees(table, book):
    start, count, line, quantity = book
    expected, decided = swept(table.arrays, *book), False
    for n, (begin, size) in enumerate(zip(start.tolist(), count.tolist(), strict=True)):
        held = slice(begin, begin + size)
        workings = workings_of(table.arrays, Account(line[held], quantity[held]))
        figures = workings.figures
        assert expected[n].tolist() == [figures.equity, figures.initial_margin, figures.maintenance_margin]
        decided |= any(scan.basis < min(0.0, *scan.results) for scan in workings.scans)
    assert decided or not table.arrays.basis.size


@pytest.mark.criterion("COL-1", "COL-2", "TAB-17")
@pytest.mark.parametrize("extra", [3, 5, 20])
def test_more_assets_than_a_register_has_lanes(extra):
    names = tuple(f"COIN{n:02d}" for n in range(extra))
    market = msgspec.structs.replace(
        worlds.CALM, assets=worlds.CALM.assets | {a: Price(1.0 + n) for n, a in enumerate(names)}
    )
    rules = {a: Collateral((HaircutTier(0.0, 0.01 * n, 0.005 * n),), 0.1) for n, a in enumerate(names)}
    parameters = msgspec.structs.replace(worlds.busy_portfolio(), collateral=worlds.busy_portfolio().collateral | rules)
    table = build_table(parameters, market, worlds.INSTRUMENTS, (*ASSETS, *names))
    assert len(table.assets) == 4 + extra
    book = books(table, 40, seed=2, most=40)
    start, count, line, quantity = book
    expected = swept(table.arrays, *book)
    for n, (begin, size) in enumerate(zip(start.tolist(), count.tolist(), strict=True)):
        figures = workings_of(table.arrays, Account(line[begin : begin + size], quantity[begin : begin + size]))
        assert expected[n, 1] == figures.figures.initial_margin
        assert expected[n, 2] == figures.figures.maintenance_margin


@pytest.mark.criterion("CHG-4", "CHG-5")
def test_net_short_options_are_charged_strike_by_strike_and_expiry_by_expiry():
    """S = 2,000. Short 3 calls and long 1 put at 1,800; short 1 put at 2,600: 2 and 1 short; the expiry 3 short."""
    charges = (
        Charge("option", Measure.NET_SHORT_PER_STRIKE, 0.005, 0.004),
        Charge("option", Measure.NET_SHORT_PER_EXPIRY, 0.01, 0.001),
    )
    table = table_of(scan_of(4, charges=charges))
    held = {"ETH-9JAN26-1800-C": -3.0, "ETH-9JAN26-1800-P": 1.0, "ETH-9JAN26-2600-P": -1.0}
    lines = sorted((table.line_of_instrument[worlds.instrument(n)], q) for n, q in held.items())
    row = np.empty(19)
    kernel.account(table.arrays, np.array([n for n, _ in lines], np.int32), np.array([q for _, q in lines]), 0, 3, row)
    netted = 3  # Component.NETTED
    assert row[kernel.INITIAL + netted] == pytest.approx(2 * 10.0 + 10.0 + 3 * 20.0, rel=1e-15)
    assert row[kernel.MAINTENANCE + netted] == pytest.approx(2 * 8.0 + 8.0 + 3 * 2.0, rel=1e-15)


@pytest.mark.criterion("CON-7", "ORD-9")
@settings(max_examples=60)
@given(st.data(), worlds.portfolios(most=5), worlds.orders(most=12), worlds.model_names)
def test_orders_in_any_order_add_the_same_bits(data, portfolio, orders, model):
    parameters = worlds.models()[model]
    orders = [o for o in orders if worlds.tradable(o.instrument, parameters)]
    positions = tuple(p for p in portfolio.positions if worlds.tradable(p.instrument, parameters))
    table = table_of(parameters)
    account = account_of(table, Portfolio(portfolio.balances, positions))
    shuffled = data.draw(st.permutations(orders))
    one, other = (orders_requirement(table, account, some, 10.0) for some in (orders, shuffled))
    assert one == other


def test_the_room_of_orders_keeps_nothing_from_one_account_to_the_next():
    table = table_of(worlds.busy_standard())
    start, count, line, quantity = books(table, 30, seed=8)
    generator = np.random.default_rng(4)
    room = order_room(25, 40, len(table.assets), table.arrays.values.shape[1])
    known = [i for i in table.instruments if i is not None]
    for n in range(30):
        picked = [known[k] for k in generator.choice(len(known), generator.integers(1, 40))]
        waiting = tuple(
            Order(i, float(generator.integers(-3, 4)), worlds.mark_in_asset(i, worlds.CALM)) for i in picked
        )
        effects = np.array([(*fill_effects(table, o), o.quantity) for o in waiting])
        args = (effects[:, 0].astype(np.int32), effects[:, 1].astype(np.int32), *effects[:, [4, 2, 3]].T.copy())
        begin, end = int(start[n]), int(start[n] + count[n])
        bound = orders_bound(table.arrays, line, quantity, begin, end, *args, room)
        held = Account(line[begin:end], quantity[begin:end])
        traded = any(o.quantity != 0.0 for o in waiting)
        assert orders_requirement(table, held, waiting, 0.0) == (max(0.0, bound) if traded else 0.0)
