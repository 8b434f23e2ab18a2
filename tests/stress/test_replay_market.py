"""Volatilities, bases and sources: specs/replay-prices.md."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.domain.errors import InputError, InvariantError
from holdfast.domain.units import parse_time
from holdfast.pricing.black76 import values
from holdfast.stress.history import HOUR_NS, PriceHistory, load_window
from holdfast.stress.market import MarketPath, market_path
from holdfast.stress.sources import HONEST, LIAR, SOURCES, STALE, lies_of, pauses_of, quotes
from holdfast.stress.venue import venue_for
from holdfast.stress.volatility import BasisRule, VolatilityRule, recent_returns, variance_path
from holdfast.stress.walk import walk
from stress.windows import path_of

RULE = VolatilityRule()


@pytest.mark.criterion("RPP-8")
@pytest.mark.parametrize(
    ("hours", "move", "expected"),
    [
        (1.0, math.log(0.95), 0.88486409613421832),
        (0.25, math.log(0.95), 0.89090150342707103),
        (3.0, math.log(0.95), 0.86436574303934165),
        (1.0, 0.0, 0.55443554923510551),
        (0.0, 0.0, 0.5625),
    ],
)
def test_variance_moves(hours: float, move: float, expected: float) -> None:
    assert RULE.updated(0.5625, hours, move) == pytest.approx(expected, rel=1e-14)


@pytest.mark.criterion("RPP-8")
def test_variance_is_of_each_bars_close(history: PriceHistory) -> None:
    """A plain recomputation, bar by bar, of the variance that the first step of each bar sees."""
    bars = dataclasses.replace(history, earlier=None)
    variance, close = 0.5625, float(history.open[0])
    seen = variance_path(bars, walk(bars), RULE)[0::4]
    for bar in range(history.bars):
        jump = math.log(history.open[bar] / close)
        kept = 2.0 ** (-1.0 / 48.0)
        assert seen[bar] == pytest.approx(variance + (1.0 - kept) * jump * jump * 8760.0, rel=1e-12)
        move = math.log(history.close[bar] / close)
        variance, close = kept * variance + (1.0 - kept) * move * move * 8760.0, float(history.close[bar])


@pytest.mark.criterion("RPP-8", "RPP-11")
@settings(max_examples=10)
@given(st.integers(1, 143), st.floats(0.3, 3.0))
def test_nothing_looks_ahead(bar: int, factor: float) -> None:
    """What comes after a bar's open changes neither variance nor return up to that open."""
    history = load_window("2020-03")
    later = np.where(np.arange(history.bars) >= bar, factor, 1.0)
    moved = {name: getattr(history, name) * later for name in ("open", "high", "low", "close")}
    other = dataclasses.replace(history, **moved)
    steps, others = walk(history), walk(other)
    before = slice(0, 4 * bar)
    for take in (
        lambda h, w: variance_path(h, w, RULE),
        lambda h, w: recent_returns(h, w, 24.0),
    ):
        assert (take(history, steps)[before] == take(other, others)[before]).all()
    assert variance_path(history, steps, RULE)[-1] != variance_path(other, others, RULE)[-1] or factor == 1.0


@pytest.mark.criterion("RPP-2", "RPP-8")
def test_earlier_bars_count(history: PriceHistory) -> None:
    steps = walk(history)
    alone = dataclasses.replace(history, earlier=None)
    first = variance_path(history, steps, RULE)[0], variance_path(alone, walk(alone), RULE)[0]
    assert first[1] == 0.5625
    assert first[0] < 0.9 * first[1]
    month = load_window("2020-03", whole_month=True)
    start = int(np.flatnonzero(month.time_ns == history.time_ns[0])[0])
    assert variance_path(month, walk(month), RULE)[4 * start] == first[0]


@pytest.mark.criterion("RPP-9")
@pytest.mark.parametrize(
    ("variance", "days", "expected"),
    [
        (4.0, 7.0, 1.5053791479853078),
        (4.0, 30.0, 1.0285631323165105),
        (4.0, 90.0, 0.85311711189881266),
        (9.0, 7.0, 2.1781245527058828),
        (0.04, 1.0, 0.35),
        (100.0, 1.0, 2.5),
    ],
)
def test_term_structure(variance: float, days: float, expected: float) -> None:
    assert float(RULE.at_the_money(variance, days / 365.0)) == pytest.approx(expected, rel=1e-13)


@pytest.mark.criterion("RPP-10")
@pytest.mark.parametrize(
    ("days", "strike", "expected"),
    [
        (7.0, 8_000.0, 1.0548059381450116),
        (7.0, 12_000.0, 0.86918676258790387),
        (30.0, 10_000.0, 0.79092115249045079),
        (0.0, 8_000.0, 1.3097460831170487),
    ],
)
def test_smile(days: float, strike: float, expected: float) -> None:
    assert float(RULE.implied(1.0, days / 365.0, strike, 10_000.0)) == pytest.approx(expected, rel=1e-13)


@pytest.mark.criterion("RPP-10")
@given(st.floats(0.01, 30.0), st.floats(0.04, 400.0))
def test_no_arbitrage_between_strikes(variance: float, days: float) -> None:
    strike = np.linspace(0.2, 4.0, 400)
    call = values(1.0, strike, days / 365.0, RULE.implied(variance, days / 365.0, strike, 1.0), 1.0, True)
    assert np.diff(call).max() <= 1e-15
    assert np.diff(call, 2).min() >= -1e-14


@pytest.mark.parametrize("wrong", [{"half_life_hours": 0.0}, {"long_run": 0.2}, {"days_min": math.nan}])
def test_rule_refuses(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError):
        VolatilityRule(**wrong)


@pytest.mark.criterion("RPP-11")
@pytest.mark.parametrize(
    ("recent", "perpetual", "future"), [(-0.5, 4_975.0, 4_875.0), (-2.0, 4_950.0, 4_625.0), (1.0, 5_025.0, 5_312.5)]
)
def test_bases(recent: float, perpetual: float, future: float) -> None:
    rule = BasisRule()
    assert rule.perpetual(5_000.0, recent) == pytest.approx(perpetual, rel=1e-15)
    assert rule.future(5_000.0, recent, 0.25) == pytest.approx(future, rel=1e-15)


@pytest.mark.criterion("RPP-11")
def test_recent_return_takes_the_close_known_a_day_before(history: PriceHistory) -> None:
    found = recent_returns(history, walk(history), 24.0)
    step = 4 * 130 + 2
    assert found[step] == pytest.approx(math.log(walk(history).price[step] / history.close[105]), rel=1e-12)
    assert found[0] == pytest.approx(math.log(history.open[0] / history.earlier.close[-25]), rel=1e-12)
    alone = dataclasses.replace(history, earlier=None)
    assert recent_returns(alone, walk(alone), 24.0)[0] == 0.0


@pytest.mark.criterion("RPP-12")
def test_prices_of_a_step(path: MarketPath) -> None:
    step, venue = path.at(4 * 52 + 1), path.venue
    place = venue.index_of("BTC-27MAR20-7200-P")
    future = venue.index_of("BTC-27MAR20")
    assert step.forward[place] == step.quoted[future] == step.price[future]
    years = (parse_time("2020-03-27T08:00Z") - step.time_ns) / (365 * 86_400 * 10**9)
    volatility = float(RULE.implied(step.variance, years, 7_200.0, step.forward[place]))
    dollars = values(step.forward[place], 7_200.0, years, volatility, 1.0, False)[0]
    assert step.quoted[place] == pytest.approx(volatility, rel=1e-12)
    assert step.price[place] == pytest.approx(dollars / step.index_price, rel=1e-12)
    linear, inverse = venue.index_of("BTC_USDC-27MAR20-8000-C"), venue.index_of("BTC-27MAR20-8000-C")
    assert step.price[linear] > 10.0
    assert step.price[inverse] < 1.0
    assert step.quoted[venue.index_of("BTC-PERPETUAL")] == step.quoted[venue.index_of("BTC_USDC-PERPETUAL")]
    assert step.volatility**2 == pytest.approx(step.variance)


@pytest.mark.criterion("RPP-12")
def test_expired_contracts_have_no_numbers(path: MarketPath) -> None:
    expiry = path.venue.expiries[0]
    at = int(np.flatnonzero(path.walk.time_ns == expiry)[0])
    weekly = path.venue.expiry_ns == expiry
    assert np.isfinite(path.at(at - 1).price).all()
    for numbers in (path.at(at).quoted, path.at(at).price, path.at(path.steps - 1).forward):
        assert (np.isnan(numbers) == weekly).all()


def test_steps_outside_are_refused(path: MarketPath) -> None:
    with pytest.raises(InvariantError):
        path.at(path.steps)


@pytest.mark.criterion("RPP-13")
def test_honest_sources(path: MarketPath) -> None:
    for number, batch in zip(range(40), quotes(path), strict=False):
        step = path.at(number)
        for source in range(HONEST):
            mine = batch.source == source
            assert batch.item[mine].tolist() == list(range(len(path.venue.items)))
            error = np.abs(batch.price[mine] / step.feeds - 1.0)
            is_option = np.concatenate([[False, False], path.venue.is_option])
            assert error[~is_option].max() <= 0.0006 + 1e-12
            assert 0.0006 < error[is_option].max() <= 0.006 + 1e-12
            assert error[1] <= 0.0003 + 1e-12
            ages = step.time_ns - batch.time_ns[mine]
            assert np.unique(ages).size == 1
            assert 10**6 <= ages[0] <= 50 * 10**6


@pytest.mark.criterion("RPP-13")
def test_noise_is_of_seed_source_and_step(path: MarketPath) -> None:
    short = market_path(dataclasses.replace(path.history, **_first_bars(path.history, 6)), path.venue)
    ways = [[batch.price for batch in quotes(p, seed=s)] for p, s in ((short, 1), (short, 1), (short, 2))]
    assert all((a == b).all() for a, b in zip(ways[0], ways[1], strict=True))
    assert not any((a == b).all() for a, b in zip(ways[0], ways[2], strict=True))
    whole = [batch.price for batch, _ in zip(quotes(path), ways[0], strict=False)]
    assert all((a == b).all() for a, b in zip(whole, ways[0], strict=True))


def _first_bars(history: PriceHistory, count: int) -> dict[str, np.ndarray]:
    return {name: getattr(history, name)[:count] for name in ("time_ns", "open", "high", "low", "close")}


@pytest.mark.criterion("RPP-14")
def test_liar(path: MarketPath) -> None:
    is_option = np.concatenate([[False, False], path.venue.is_option])
    factors = {}
    for number, batch in enumerate(quotes(path)):
        mine = batch.source == LIAR
        item = batch.item[mine]
        ratio = batch.price[mine] / path.at(number).feeds[item]
        assert np.abs(ratio[is_option[item]] - 1.0).max() < 0.007
        prices = ratio[~is_option[item]]
        factors[number] = round(float(prices.mean()), 2)
        assert np.abs(prices / factors[number] - 1.0).max() < 0.0015
    at = {number: int(t) for number, t in enumerate(path.walk.time_ns.tolist())}
    hours = {number: (t // HOUR_NS % 24, t // (24 * HOUR_NS)) for number, t in at.items()}
    crash = {parse_time(f"2020-03-{day}T00:00Z") // (24 * HOUR_NS) for day in (12, 13)}
    for number, (hour, day) in hours.items():
        told = 0.7 if hour in (5, 6) else 1.3 if hour in (17, 18) else 0.5 if hour in (10, 11) and day in crash else 1.0
        assert factors[number] == told


@pytest.mark.criterion("RPP-15")
def test_stale_source(path: MarketPath) -> None:
    last = None
    for number, batch in enumerate(quotes(path)):
        mine = batch.source == STALE
        if number == 0:
            assert not mine.any()
            continue
        said = (batch.price[mine], batch.time_ns[mine])
        hour = path.walk.time_ns[number] // HOUR_NS % 24
        day = path.walk.time_ns[number] // (24 * HOUR_NS) * 24 * HOUR_NS
        crash = day in (parse_time("2020-03-12T00:00Z"), parse_time("2020-03-13T00:00Z"))
        if 9 <= hour < 15 or (crash and hour < 4):
            assert (said[0] == last[0]).all()
            assert (said[1] == last[1]).all()
        else:
            assert np.abs(batch.price[mine][0] / path.walk.price[number - 1] - 1.0) < 0.0007
            assert last is None or (said[1][0] > last[1][0])
        last = said


@pytest.mark.criterion("RPP-15")
@pytest.mark.parametrize("name", ["2020-03", "2022-11"])
def test_median_is_honest(name: str) -> None:
    path = path_of(name)
    latest: dict[int, int] = {}
    for number, batch in enumerate(quotes(path, seed=number_of(name))):
        feeds = path.at(number).feeds
        for item in (0, 1, 2, 4, 60):
            if not np.isfinite(feeds[item]):
                continue
            bound = 0.006 if item == 60 else 0.0006
            assert abs(float(np.median(batch.price[batch.item == item])) / feeds[item] - 1.0) <= bound + 1e-12
        for source in np.unique(batch.source).tolist():
            time = int(batch.time_ns[batch.source == source][0])
            assert time >= latest.get(source, 0)
            latest[source] = time
    assert len(latest) == len(SOURCES)


def number_of(name: str) -> int:
    return int(name.replace("-", ""))


def test_hours_are_stated(history: PriceHistory) -> None:
    lies, pauses = lies_of(history), pauses_of(history)
    assert len(lies) == 6 * 2 + 2
    assert len(pauses) == 6 + 2
    assert {lie.factor for lie in lies} == {0.5, 0.7, 1.3}


def test_own_prices_without_a_crash_day() -> None:
    flat = np.full(50, 100.0)
    times = parse_time("2024-01-01T00:00Z") + np.arange(50) * HOUR_NS
    history = PriceHistory("flat", "made up", HOUR_NS, times, flat, flat, flat, flat)
    path = market_path(history, venue_for(int(times[0]), history.end_ns, 100.0))
    assert {lie.factor for lie in lies_of(history)} == {0.7, 1.3}
    assert path.at(199).volatility < path.at(0).volatility == 0.75
    assert sum(len(batch.price) for batch in quotes(path)) > 50 * 4 * 4 * 85
