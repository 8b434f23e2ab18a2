"""The venue, its accounts and what they do: specs/replay-population.md."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.domain.errors import InputError
from holdfast.domain.instruments import lot
from holdfast.domain.names import parse_instrument
from holdfast.domain.units import format_time, parse_time
from holdfast.stress import flow as flows
from holdfast.stress.families import (
    BASIS,
    DIRECTIONAL,
    FAMILIES,
    HEDGER,
    MAKER,
    MODELS,
    PORTFOLIO,
    RETAIL,
    SELLER,
    SHARES,
    STANDARD,
)
from holdfast.stress.flow import CancelOrder, FlowRule, MakeTrade, PlaceOrder, flow
from holdfast.stress.history import load_window, windows
from holdfast.stress.market import MarketPath
from holdfast.stress.population import Population, population
from holdfast.stress.requirements import Legs, notional, scan_requirement, standard_requirement
from holdfast.stress.venue import BTC, USDC, Venue, expiries_for, strikes, venue_for
from stress.sweeping import margins
from stress.windows import path_of

DAY_NS = 86_400 * 10**9


@pytest.mark.criterion("RPV-1")
def test_expiries() -> None:
    for whole, expected in ((False, ("03-13", "03-27", "06-26")), (True, ("03-06", "04-24", "06-26"))):
        window = load_window("2020-03", whole_month=whole)
        found = expiries_for(int(window.time_ns[0]), window.end_ns)
        assert [format_time(t) for t in found] == [f"2020-{day}T08:00:00Z" for day in expected]


@pytest.mark.criterion("RPV-1")
@given(st.integers(0, 3_000), st.integers(0, 86_399), st.integers(1, 400))
def test_at_most_one_expiry_is_inside(day: int, second: int, days: int) -> None:
    start = parse_time("2017-01-01T00:00Z") + day * DAY_NS + second * 10**9
    end = start + days * DAY_NS
    weekly, monthly, quarterly = expiries_for(start, end)
    assert start + 3 * DAY_NS <= weekly < start + 10 * DAY_NS
    assert end + 3 * DAY_NS <= monthly
    assert monthly + 20 * DAY_NS <= quarterly
    for expiry in (weekly, monthly, quarterly):
        assert (expiry // DAY_NS + 4) % 7 == 5
        assert expiry % DAY_NS == 8 * 3600 * 10**9
    assert format_time(monthly)[5:7] != format_time(monthly + 7 * DAY_NS)[5:7]
    assert format_time(quarterly)[5:7] in {"03", "06", "09", "12"}


@pytest.mark.criterion("RPV-2")
def test_venue(path: MarketPath) -> None:
    venue = path.venue
    assert venue.instruments[:5] == ("BTC-PERPETUAL", "BTC_USDC-PERPETUAL", "BTC-13MAR20", "BTC-27MAR20", "BTC-26JUN20")
    assert len(venue.instruments) == len(set(venue.instruments)) == 85
    assert venue.items == ("BTC", "USDC", *venue.instruments)
    assert all(parse_instrument(name).name == name for name in venue.instruments)
    weekly = [5600, 6000, 6400, 6800, 7200, 7600, 8000, 8400, 8800, 9200, 9600, 10000]
    ladder = {f"BTC-13MAR20-{strike}-{side}" for strike in weekly for side in "CP"}
    ladder |= {f"BTC_USDC-27MAR20-{strike}-{side}" for strike in (5600, 6800, 8000, 9600) for side in "CP"}
    named = {n for n in venue.instruments if n.startswith(("BTC-13MAR20-", "BTC_USDC-27MAR20-"))}
    assert named == ladder


@pytest.mark.criterion("RPV-2")
@given(st.floats(0.01, 1e7))
def test_strikes_have_names(price: float) -> None:
    venue = venue_for(parse_time("2024-01-01T00:00Z"), parse_time("2024-01-05T00:00Z"), price)
    assert len(set(venue.instruments)) == 85
    assert strikes(price, (1.0,))[0] == pytest.approx(price, rel=1.0 / 79.0)


@pytest.mark.criterion("RPV-2")
def test_terms_are_those_of_the_names(path: MarketPath) -> None:
    venue = path.venue
    for place, name in enumerate(venue.instruments):
        contract = parse_instrument(name)
        assert venue.settlement[place] == (BTC if contract.inverse else USDC)
        assert venue.lot[place] == float(lot(contract))
        assert venue.strike[place] == (contract.strike or 0.0)
        assert venue.expiry_ns[place] == (contract.expiry or np.iinfo(np.int64).max)
        forward = parse_instrument(venue.instruments[venue.future[place]])
        assert forward.expiry == contract.expiry
    assert venue.years(venue.expiries[0] - 365 * DAY_NS)[venue.index_of("BTC-13MAR20")] == 1.0
    assert venue.years(0)[0] == 0.0


def test_venue_refuses() -> None:
    with pytest.raises(InputError, match="end after the start"):
        venue_for(5, 5, 100.0)


@pytest.mark.criterion("RPV-3")
def test_families(people: Population) -> None:
    others = people.accounts - people.makers
    assert (people.family[: people.makers] == MAKER).all()
    for family, share in SHARES.items():
        assert (people.family == family).sum() == pytest.approx(share * others, abs=5)
    on_standard = {
        family: (people.model[people.family == family] == STANDARD).mean() for family in range(len(FAMILIES))
    }
    assert on_standard == {
        MAKER: 0.0,
        RETAIL: 1.0,
        DIRECTIONAL: pytest.approx(0.7, abs=0.07),
        HEDGER: pytest.approx(0.4, abs=0.12),
        BASIS: 0.0,
        SELLER: 0.0,
    }
    assert MODELS == ("standard", "portfolio")


@pytest.mark.criterion("RPV-4")
def test_sizes(path: MarketPath) -> None:
    people = population(path, accounts=10_000)
    step, trades = path.at(0), people.trades
    size = np.abs(trades.lots) * (path.venue.lot * notional(path.venue, step))[trades.instrument]
    _, first = np.unique(trades.account, return_index=True)
    family = people.family[trades.account[first]]
    assert np.median(size[first][family == RETAIL]) == pytest.approx(4_000.0, rel=0.08)
    assert np.median(size[first][family == BASIS]) == pytest.approx(40_000.0, rel=0.2)
    assert np.log(size[first][family == RETAIL]).std() == pytest.approx(1.1, rel=0.06)
    assert size.max() < 3_000_000.0 * 1.01


@pytest.mark.criterion("RPV-5")
def test_what_families_trade(people: Population) -> None:
    venue, trades = people.venue, people.trades
    family = people.family[trades.account]
    names = np.array(venue.instruments)[trades.instrument]
    assert set(names[family == RETAIL]) == {"BTC-PERPETUAL", "BTC_USDC-PERPETUAL"}
    assert (trades.lots[family == RETAIL] > 0).mean() == pytest.approx(0.66, abs=0.05)
    sold = trades.lots[(family == SELLER)]
    assert (sold < 0).all()
    assert venue.is_option[trades.instrument[family == SELLER]].all()
    hedged = family == HEDGER
    assert (trades.lots[hedged & ~venue.is_option[trades.instrument]] < 0).all()
    bought = trades.instrument[hedged & venue.is_option[trades.instrument]]
    assert not venue.is_call[bought].any()
    options = venue.is_option[trades.instrument] & (family == DIRECTIONAL)
    assert (trades.lots[options] > 0).all()
    assert not np.isin(names[family == BASIS], ["BTC-13MAR20", "BTC-PERPETUAL"]).any()


@pytest.mark.criterion("RPV-5")
def test_hedges_and_basis_trades_offset(path: MarketPath, people: Population) -> None:
    step = path.at(0)
    dollars = people.positions() * people.venue.lot * notional(people.venue, step)
    futures = np.where(people.venue.is_option, 0.0, dollars).sum(axis=1)
    coins = people.deposits[:, BTC] / 1e8 * step.index_price
    hedgers, basis = people.family == HEDGER, people.family == BASIS
    covered = -futures[hedgers] / coins[hedgers]
    assert covered.min() > 0.2
    assert covered.max() < 1.05
    pairs = basis & (people.deposits[:, USDC] > 0)
    assert np.abs(futures[pairs]).max() < 12.0
    carry = basis & (people.deposits[:, BTC] > 0)
    assert (futures[carry] < 0.0).all()


@pytest.mark.criterion("RPV-6")
@settings(max_examples=8)
@given(st.integers(100, 900), st.integers(0, 10**6), st.integers(1, 10))
def test_positions_sum_to_zero(accounts: int, seed: int, makers: int) -> None:
    people = population(path_of("2022-11"), accounts=accounts, seed=seed, makers=makers)
    assert people.accounts == accounts
    assert not people.positions().sum(axis=0).any()
    assert (people.trades.lots != 0).all()
    assert (people.trades.maker < makers).all()
    assert (people.trades.account >= makers).all()
    assert set(people.trades.account.tolist()) == set(range(makers, accounts))
    assert people.open_interest().sum() > 0.0


@pytest.mark.criterion("RPV-6")
def test_first_legs_come_first(people: Population) -> None:
    seen: set[int] = set()
    turns = []
    for account in people.trades.account.tolist():
        turns.append(account in seen)
        seen.add(account)
    first_second = turns.index(True)
    assert not any(turns[:first_second])
    assert sum(turns[first_second:]) > 0.9 * len(turns[first_second:])


def test_population_is_of_its_seed(path: MarketPath) -> None:
    one, same, other = (population(path, accounts=500, seed=seed) for seed in (7, 7, 8))
    for name in ("family", "model", "deposits", "insurance", "requirement"):
        assert (getattr(one, name) == getattr(same, name)).all()
    assert all((a == b).all() for a, b in zip(one.trades, same.trades, strict=True))
    assert one.trades.lots.size != other.trades.lots.size or (one.deposits != other.deposits).any()


def test_rows_are_readable(people: Population) -> None:
    rows = list(people.rows())
    assert len(rows) == people.accounts
    assert rows[0][:2] == ("market maker", "portfolio")
    assert set(rows[0][2]) == {"BTC", "USDC"}
    assert all(units > 0 for _, _, deposits in rows for units in deposits.values())


@pytest.mark.parametrize("wrong", [{"accounts": 99}, {"accounts": 200, "makers": 21}, {"makers": 0}])
def test_population_refuses(path: MarketPath, wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match=next(iter(reversed(wrong)))):
        population(path, **wrong)


@pytest.fixture
def round_venue(monkeypatch: pytest.MonkeyPatch) -> tuple[MarketPath, Venue]:
    """A market at 10,000 dollars whose futures are at the index."""
    path = path_of("2020-03")
    step = path.at(0)
    future = ~path.venue.is_option
    flat = step._replace(
        index_price=10_000.0,
        quoted=np.where(future, 10_000.0, step.quoted),
        price=np.where(future, 10_000.0, step.price),
        forward=np.full(future.size, 10_000.0),
    )
    return path, flat


@pytest.mark.criterion("RPV-7")
def test_rough_requirement(round_venue: tuple[MarketPath, object]) -> None:
    path, step = round_venue
    linear, inverse = path.venue.index_of("BTC_USDC-PERPETUAL"), path.venue.index_of("BTC-PERPETUAL")
    legs = Legs(np.array([0, 1]), np.array([linear, inverse]), np.array([1.0, -10_000.0]))
    assert standard_requirement(path.venue, step, legs).tolist() == [500.0, 500.0]
    assert scan_requirement(path, step, legs, 2) == pytest.approx([2_600.0, 2_600.0])
    hedged = Legs(np.array([0, 0]), np.array([linear, inverse]), np.array([1.0, -10_000.0]))
    assert scan_requirement(path, step, hedged, 1) == pytest.approx([400.0])


@pytest.mark.criterion("RPV-7")
def test_rough_requirement_of_options(round_venue: tuple[MarketPath, object]) -> None:
    path, step = round_venue
    venue = path.venue
    put, call = venue.index_of("BTC-13MAR20-9200-P"), venue.index_of("BTC-13MAR20-9600-C")
    legs = Legs(np.array([0, 1, 2]), np.array([put, call, put]), np.array([-1.0, -1.0, 2.0]))
    worth = 2.0 * step.price[put] * 10_000.0
    assert standard_requirement(venue, step, legs) == pytest.approx([1_200.0, 2_000.0, worth])
    near = Legs(np.array([0]), np.array([venue.index_of("BTC-13MAR20-9600-P")]), np.array([-1.0]))
    assert standard_requirement(venue, step, near) == pytest.approx([1_600.0])
    short, _, long = scan_requirement(path, step, legs, 3)
    assert 900.0 * 1.2 < short < 3_000.0
    assert 0.0 < long < 1.3 * worth


@pytest.mark.criterion("RPV-8")
def test_deposits(path: MarketPath, people: Population) -> None:
    dollars = people.deposits * np.array([path.at(0).index_price / 1e8, 1e-6])
    retail = people.family == RETAIL
    credit = np.where(people.deposits[:, BTC] > 0, 0.80, 0.98)
    multiple = (dollars.sum(axis=1) * credit / people.requirement)[retail]
    assert multiple.min() >= 1.5 - 1e-6
    assert (multiple < 15.0).mean() == pytest.approx(0.25, abs=0.05)
    assert np.median(multiple[multiple > 15.0]) == pytest.approx(80.0, rel=0.1)
    scanned = (people.model == PORTFOLIO) & (people.deposits[:, BTC] > 0) & (people.family != MAKER)
    assert ((dollars[:, BTC] * 0.98 / people.requirement)[scanned & (people.family != HEDGER)] >= 2.0 - 1e-6).all()
    makers = dollars[: people.makers]
    assert makers[:, BTC] / makers.sum(axis=1) == pytest.approx([0.25] * people.makers, rel=1e-6)
    size = (
        np.abs(people.trades.lots) * (people.venue.lot * notional(people.venue, path.at(0)))[people.trades.instrument]
    )
    futures = size[~people.venue.is_option[people.trades.instrument]].sum()
    assert people.insurance.tolist() == [0, pytest.approx(0.004 * futures * 1e6, rel=1e-9)]


@pytest.mark.criterion("RPV-9")
@pytest.mark.parametrize("name", windows())
def test_a_crash_liquidates_a_realistic_share(name: str) -> None:
    path = path_of(name)
    people = population(path)
    equity, initial, _ = margins(path, people, 0).T
    assert (equity >= initial).all()
    below, low = np.zeros(people.accounts, bool), int(path.walk.price.argmin())
    for number in sorted({*range(0, path.steps, 48), *range(low - 16, low + 1, 4)}):
        equity, _, maintenance = margins(path, people, number).T
        below |= equity < maintenance
    share = below.mean()
    assert 0.05 <= share <= 0.20
    assert not below[: people.makers].any()
    if name == "2020-03":
        assert 0.12 <= share <= 0.15


@pytest.mark.criterion("RPV-9")
def test_first_legs_are_covered(path: MarketPath) -> None:
    people = population(path)
    trades = people.trades
    _, first = np.unique(trades.account, return_index=True)
    lots = np.zeros((people.accounts, len(path.venue.instruments)), np.int64)
    np.add.at(lots, (trades.account[first], trades.instrument[first]), trades.lots[first])
    equity, initial, _ = margins(path, people, 0, lots).T
    assert (equity >= initial).all()


def _commands(path: MarketPath, people: Population, steps: range, **given: object) -> dict[int, list[flows.Command]]:
    return {n: c for n, c in zip(range(steps.stop), flow(path, people, **given), strict=False) if n in steps}


@pytest.mark.criterion("RPV-10")
def test_makers_quotes(path: MarketPath, people: Population) -> None:
    step = path.at(8)
    placed = [
        c for c in _commands(path, people, range(8, 9))[8] if isinstance(c, PlaceOrder) and c.account < people.makers
    ]
    future = path.venue.index_of("BTC-27MAR20")
    mine = [c for c in placed if c.instrument == future]
    stress = max(step.volatility / 0.75, 1.0 / 1.5)
    assert len(mine) == 4 * 2 * 3
    price = float(step.price[future])
    distances = {round((price - c.price) / price / stress, 9) for c in mine if c.lots > 0}
    assert distances == {0.0005, 0.003, 0.01}
    assert sum(c.lots for c in mine) == 0
    interest = people.open_interest()[future] / path.venue.lot[future]
    depth = sum(c.lots for c in mine if c.lots > 0)
    assert 0.095 * interest / stress - 12 <= depth <= 0.095 * interest / stress
    options = [c for c in placed if path.venue.is_option[c.instrument]]
    assert all(c.price > 0.0 for c in placed)
    assert {c.instrument for c in options} == set(np.flatnonzero(path.venue.is_option).tolist())
    for order in options:
        inverse = path.venue.inverse[order.instrument]
        least = max(0.05 * float(step.price[order.instrument]), 0.0005 if inverse else 0.0005 * step.index_price)
        distance = (float(step.price[order.instrument]) - order.price) * (1 if order.lots > 0 else -1)
        assert distance == pytest.approx(least * stress, rel=1e-9)
        assert abs(order.lots) >= 1


@pytest.mark.criterion("RPV-10")
def test_depth_thins_and_spreads_widen_with_volatility(path: MarketPath, people: Population) -> None:
    calm, wild = 0, int(path.variance.argmax())
    future, found = path.venue.index_of("BTC_USDC-PERPETUAL"), []
    commands = _commands(path, people, range(wild + 1))
    for number in (calm, wild):
        bids = [c for c in commands[number] if isinstance(c, PlaceOrder) and c.account < people.makers and c.lots > 0]
        mine = [c for c in bids if c.instrument == future]
        price = float(path.at(number).price[future])
        found.append((sum(c.lots for c in mine), max(c.price for c in mine) / price))
    (deep, near), (thin, far) = found
    assert thin < deep / 4
    assert far < near < 1.0


@pytest.mark.criterion("RPV-10", "RPV-11")
def test_every_cancellation_names_an_open_order(path: MarketPath, people: Population) -> None:
    resting: dict[int, PlaceOrder] = {}
    for number, commands in enumerate(flow(path, people)):
        alive = path.venue.is_alive(int(path.walk.time_ns[number]))
        for command in commands:
            if isinstance(command, CancelOrder):
                order = resting.pop(command.reference)
                assert alive[order.instrument]
            elif isinstance(command, PlaceOrder):
                assert command.reference not in resting
                assert alive[command.instrument]
                resting[command.reference] = command
            assert isinstance(command, CancelOrder) or (command.lots != 0 and np.isfinite(command.price))
        resting = {n: o for n, o in resting.items() if alive[o.instrument]}
        assert len(resting) < 700


@pytest.mark.criterion("RPV-11")
def test_others_trade_a_little(path: MarketPath, people: Population) -> None:
    rule = FlowRule(orders_per_account=0.002)
    commands = _commands(path, people, range(400), rule=rule)
    trades = [(n, c) for n, cs in commands.items() for c in cs if isinstance(c, MakeTrade)]
    orders = [
        (n, c) for n, cs in commands.items() for c in cs if isinstance(c, PlaceOrder) and c.account >= people.makers
    ]
    assert (len(trades) + len(orders)) / 400 == pytest.approx(0.002 * people.accounts, rel=0.1)
    assert 0.8 < len(trades) / len(orders) < 1.6
    for number, trade in trades:
        assert trade.maker < people.makers <= trade.account
        assert trade.price == path.at(number).price[trade.instrument]
        assert people.family[trade.account] in (RETAIL, DIRECTIONAL)
    number, order = orders[50]
    price, stress = float(path.at(number).price[order.instrument]), rule.stress(path.at(number).volatility)
    assert order.price == pytest.approx(price * (1.0 + np.sign(order.lots) * 0.01 * stress), rel=1e-12)
    assert CancelOrder(order.reference) in commands[number + 1]


def test_flow_is_of_its_seed(path: MarketPath, people: Population) -> None:
    one, same, other = (_commands(path, people, range(30), seed=seed) for seed in (1, 1, 2))
    assert one == same != other
