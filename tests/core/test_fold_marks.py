"""Quotes, prices and marks: worked numbers of specs/marks.md, and a twin of the median."""

import numpy as np
import pytest
from fold_driver import (
    ALICE,
    BOB,
    BTC,
    CALL,
    ETH,
    EXPIRY,
    FUTURE,
    INDEX,
    INVERSE,
    LINEAR,
    PUT,
    SECOND,
    START,
    USD,
    USDC,
    hot,
    venue,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core import machine as machines
from holdfast.core import marks
from holdfast.core.state import NONE, Account, Item, Price, Status
from holdfast.domain import commands as c
from holdfast.domain.errors import InputError
from holdfast.domain.reasons import Reason

UNIT = 10**8


def price(venue, item=BTC):
    return int(venue.state.prices[item, Price.CURRENT])


def quoted(venue, prices, *, item=ETH):
    """Quote an item by as many sources, in dollars."""
    for source, one in enumerate(prices):
        assert venue.quote(item, one * UNIT, source=source).reason is Reason.ACCEPTED


@pytest.mark.criterion("MKS-2", "MKS-3")
@pytest.mark.parametrize(
    ("prices", "minimum", "median", "remain"),
    [
        ((9_990, 10_000, 10_700), 2, 9_990, 2),
        ((10_000, 10_400), 2, 10_000, 2),
        ((10_000, 10_500), 2, 10_000, 2),
        ((10_000, 10_501), 2, 0, 1),
        ((9_990,), 1, 9_990, 1),
        ((9_990,), 2, 0, 1),
        ((3, 1, 2), 1, 2, 1),
    ],
)
def test_worked_medians(venue, prices, minimum, median, remain):
    venue.operate(c.SetRules(sources_minimum=minimum))
    quoted(venue, prices)
    assert price(venue, ETH) == median * UNIT
    assert venue.state.prices[ETH, Price.FRESH] == remain


def median_of(quotes, now, age, minimum, outlier, last):
    """MKS-2 in plain Python: the price, and how many remain."""
    fresh = sorted(p for p, time in quotes if time >= now - age)
    if not fresh:
        return last, 0
    middle = fresh[(len(fresh) - 1) // 2]
    kept = [p for p in fresh if float(abs(p - middle)) * 1e6 <= float(middle) * float(outlier)]
    return (kept[(len(kept) - 1) // 2] if len(kept) >= minimum else last), len(kept)


@pytest.mark.criterion("MKS-2", "MKS-3", "TIM-4")
@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(9_000, 11_000), st.integers(0, 9)), max_size=8),
    st.integers(1, 3),
    st.integers(1, 100_000),
    st.integers(1, 12),
    st.integers(1, 9),
)
def test_price_is_that_of_the_twin(quotes, minimum, outlier, age, later):
    new = venue()
    new.operate(c.SetRules(sources_minimum=minimum, outlier_ppm=outlier, age_maximum=age, ahead_maximum=20))
    latest, last = {}, 0
    for source, dollars, offset in quotes:
        outcome = new.quote(ETH, dollars * UNIT, source=source, time=START + offset)
        expected = Reason.QUOTE_OLD if offset + START < latest.get(source, (0, 0))[1] else Reason.ACCEPTED
        assert outcome.reason is expected
        if outcome.reason is Reason.ACCEPTED:
            latest[source] = dollars * UNIT, START + offset
            last, _ = median_of(latest.values(), START, age, minimum, outlier, last)
            assert price(new, ETH) == last
    new.tick(START + later)
    last, remain = median_of(latest.values(), START + later, age, minimum, outlier, last)
    assert (price(new, ETH), int(new.state.prices[ETH, Price.FRESH])) == (last, remain)


@pytest.mark.criterion("MKS-1")
def test_sources_and_items_each_have_their_own_sequence(venue):
    assert venue.quote(ETH, 1, source=1, sequence=5).reason is Reason.ACCEPTED
    assert venue.quote(ETH, 1, source=1, sequence=5).reason is Reason.QUOTE_OLD
    assert venue.quote(ETH, 1, source=2, sequence=1).reason is Reason.ACCEPTED
    assert venue.quote(INVERSE, 1, source=1, sequence=1).reason is Reason.ACCEPTED
    assert venue.quote(ETH, 1, source=1, sequence=6, time=START - 1).reason is Reason.QUOTE_OLD
    assert venue.quote(ETH, 1, source=1, sequence=6, time=START).reason is Reason.ACCEPTED, "the same instant"
    assert venue.quote(ETH, 1, source=1, sequence=7, time=START + 5 * SECOND).reason is Reason.ACCEPTED
    assert venue.quote(ETH, 1, source=1, sequence=8, time=START + 5 * SECOND + 1).reason is Reason.QUOTE_FUTURE


@pytest.mark.criterion("MKS-1", "TIM-5")
def test_before_the_first_tick_there_are_no_quotes(driver):
    operator = driver.open("operator")
    driver.all_accepted((operator, c.DefineAsset("BTC", 8)), (operator, c.DefineSource("a")))
    source = driver.open("source")
    assert driver.one(source, hot(c.quote, 0, 1, START, 1)).reason is Reason.QUOTE_FUTURE
    assert driver.fold.time == 0


@pytest.mark.criterion("MKS-3", "MKS-5", "CMD-14")
def test_stale_prices_are_not_marked(venue):
    for step in range(1, 7):
        venue.tick(START + step * 10 * SECOND)
    id_before = venue.fold.price_id
    assert venue.one(venue.operator, c.Mark(BTC)).reason is Reason.ACCEPTED
    venue.tick(START + 60 * SECOND + 1)
    refused = venue.one(venue.operator, c.Mark(BTC))
    assert (refused.reason, refused.limit, refused.passes) == (Reason.PRICES_STALE, 0, 1)
    venue.tick(START + 62 * SECOND)
    assert venue.fold.price_id == id_before + 1
    assert price(venue) == INDEX, "the last price stands"


@pytest.mark.criterion("MKS-4", "MKS-8")
def test_stale_contract_falls_back_to_the_index(venue):
    venue.quote(INVERSE, 10_100_00)
    venue.quote(FUTURE, 10_200_00)
    venue.operate(c.Mark(BTC))
    marked = venue.state.prices[:, Price.MARKED]
    assert marked[[INVERSE, FUTURE, LINEAR, CALL]].tolist() == [10_100_00, 10_200_00, 0, 800_000]
    market = venue.fold.machine.marked.market.underlyings["BTC"]
    assert {market.marks[n].price for n in market.marks} == {10_100.0, 10_200.0, 10_000.0}
    assert market.expiries[EXPIRY].forward == 10_200.0
    for step in range(1, 8):
        venue.tick(START + step * 10 * SECOND)
        venue.quote(BTC, 10_010 * UNIT)
    venue.operate(c.Mark(BTC))
    marked = venue.state.prices[:, Price.MARKED]
    assert marked[[BTC, INVERSE, FUTURE, LINEAR, CALL]].tolist() == [10_010 * UNIT, 0, 0, 0, 800_000]
    market = venue.fold.machine.marked.market.underlyings["BTC"]
    assert {market.marks[n].price for n in market.marks} == {10_010.0}
    assert market.expiries[EXPIRY].forward == 10_010.0
    assert set(market.volatilities.values()) == {0.8}


@pytest.mark.criterion("MKS-8")
def test_forward_is_that_of_the_last_future_of_an_expiry(venue):
    future = venue.operate(c.DefineInstrument("BTC_USD-25SEP20", "0.001", 2))[0].made
    venue.quote(FUTURE, 10_200_00)
    venue.quote(future, 10_300_00)
    venue.operate(c.Mark(BTC))
    assert venue.fold.machine.marked.market.underlyings["BTC"].expiries[EXPIRY].forward == 10_300.0


@pytest.mark.criterion("MKS-4")
def test_mark_of_one_asset_leaves_the_others(venue):
    venue.quote(USDC, 99_000_000)
    venue.quote(BTC, 10_010 * UNIT)
    before = venue.fold.price_id
    assert venue.one(venue.replicas[1], c.Mark(USDC)).made == before + 1
    assert venue.state.prices[[BTC, USDC], Price.MARKED].tolist() == [INDEX, 99_000_000]
    assert venue.one(venue.operator, c.Mark(BTC)).made == before + 2
    assert venue.state.prices[[BTC, USDC], Price.MARKED].tolist() == [10_010 * UNIT, 99_000_000]


@pytest.mark.criterion("MKS-6")
def test_worked_threshold(venue):
    before = venue.fold.price_id
    venue.quote(BTC, 10_050 * UNIT)
    assert venue.fold.price_id == before
    venue.quote(BTC, 10_050 * UNIT + 1)
    assert venue.fold.price_id == before + 1
    assert venue.state.prices[BTC, Price.MARKED] == 10_050 * UNIT + 1
    venue.quote(INVERSE, 20_000_00)
    venue.quote(CALL, 2_000_000)
    assert venue.fold.price_id == before + 1


@pytest.mark.criterion("MKS-6", "MKS-7")
def test_threshold_marks_before_the_next_record(venue):
    """The same trade passes before the fall and is refused after it, within one frame."""
    trade = hot(c.trade, BOB, ALICE, LINEAR, 80_000, 10_000_00)
    probe = venue.clone()
    assert probe.one(probe.client, trade).reason is Reason.ACCEPTED
    fall = hot(c.quote, BTC, 6_000 * UNIT, START, 10**6)
    outcomes = venue.send((venue.sources[0], fall), (venue.client, trade))
    assert [o.reason for o in outcomes] == [Reason.ACCEPTED, Reason.INITIAL_MARGIN]


@pytest.mark.criterion("MKS-6")
def test_marks_at_intervals(venue):
    venue.operate(c.SetRules(mark_interval=3 * SECOND, mark_threshold_ppm=10**9))
    ids, place = [venue.fold.price_id], []
    assert START % (3 * SECOND) == SECOND
    for step in (1, 1.5, 2, 3, 4.9, 5, 11):
        venue.tick(START + int(step * SECOND))
        ids.append(venue.fold.price_id)
        place.append(ids[-1] - ids[-2])
    assert place == [0, 0, 1, 0, 0, 1, 1]
    assert venue.fold.machine.events[-1].items == (BTC, USDC), "ETH has no price"


@pytest.mark.criterion("MKS-6", "TIM-3")
def test_dollar_is_not_marked_at_intervals(venue):
    venue.quote(USD, UNIT)
    before = venue.fold.price_id
    venue.tick(START + SECOND)
    assert venue.fold.price_id == before + 1
    assert venue.state.prices[USD, Price.MARKED] == 0


@pytest.mark.criterion("MKS-7", "STA-5")
def test_mark_moves_accounts_between_statuses(venue):
    assert venue.trade(BOB, ALICE, LINEAR, 80_000, 10_000_00).reason is Reason.ACCEPTED
    seen = []
    for dollars in (10_000, 9_000, 8_000, 9_000, 10_000):
        venue.quote(BTC, dollars * UNIT)
        venue.operate(c.Mark(BTC))
        seen.append(Status(int(venue.state.accounts[BOB, Account.STATUS])))
        equity, initial, maintenance = venue.state.figures[BOB]
        expected = Status.HEALTHY if equity >= initial else Status.RESTRICTED
        assert seen[-1] is (Status.BREACH_PENDING if equity < maintenance else expected)
    assert seen[0] is seen[4] is Status.HEALTHY
    assert Status.BREACH_PENDING in seen


@pytest.mark.criterion("MKS-7")
def test_only_exposed_accounts_are_looked_at(venue):
    venue.quote(USDC, 99_000_000)
    venue.quote(BTC, 10_010 * UNIT)
    machine = venue.fold.machine
    for item, expected in ((USDC, 0), (BTC, 3)):
        assert venue.one(venue.operator, c.Mark(item)).reason is Reason.ACCEPTED
        assert machine.events[-1].looked == expected, "the outside world, Alice and Bob have bitcoins"


@pytest.mark.criterion("MKS-7")
def test_bit_of_an_asset_is_its_number_modulo_62(venue):
    for n in range(60):
        venue.operate(c.DefineAsset(f"A{n}", 2))
    assert venue.state.items[[BTC, BTC + 62], Item.MASK].tolist() == [2, 2]
    assert venue.state.items[INVERSE, Item.MASK] == 2
    assert venue.state.items[LINEAR, Item.MASK] == 3


@pytest.mark.criterion("MKS-5", "STA-7", "CMD-14")
def test_mark_that_cannot_be_built_is_undone(venue, monkeypatch):
    venue.quote(BTC, 10_010 * UNIT)
    before = venue.canonical()

    def fails(*_arguments):
        raise InputError("missing-field", "futures[BTC]", None, "add it")

    monkeypatch.setattr(machines.marks, "build", fails)
    refused = venue.one(venue.operator, c.Mark(BTC))
    assert (refused.reason, refused.limit, refused.passes) == (Reason.TABLE_IMPOSSIBLE, 0, 0)
    assert "futures[BTC]" in refused.detail
    after = venue.canonical()
    assert "futures[BTC]" in after["registry"].alarms[-1].text
    del before["registry"], after["registry"]
    assert after == before


@pytest.mark.criterion("MKS-5", "MKS-6")
def test_one_asset_s_trouble_does_not_hold_up_the_others(venue, monkeypatch):
    venue.quote(BTC, 10_010 * UNIT)
    venue.quote(USDC, 99_000_000)
    build = marks.build

    def fails(state, *others):
        if state.prices[BTC, Price.MARKED] != INDEX:
            raise InputError("missing-field", "futures[BTC]", None, "add it")
        return build(state, *others)

    monkeypatch.setattr(machines.marks, "build", fails)
    before = venue.fold.price_id
    venue.tick(START + SECOND)
    assert venue.state.prices[[BTC, USDC], Price.MARKED].tolist() == [INDEX, 99_000_000]
    assert venue.fold.price_id == before + 1
    assert [alarm.site for alarm in venue.fold.machine.registry.alarms] == [f"mark of item {BTC}"]


@pytest.mark.criterion("MKS-10", "LED-3")
def test_what_has_no_price_has_no_line(venue):
    lines = venue.state.lines
    assert set(lines[:, ETH].tolist()) == {NONE}
    assert (lines[:2, :ETH] >= 0).all()
    assert sorted(lines[0, :ETH].tolist()) == list(range(ETH))
    option = venue.operate(c.DefineInstrument("BTC-25SEP20-12000-C", "0.1", 4))[0].made
    perpetual = venue.operate(c.DefineInstrument("ETH-PERPETUAL", "1", 2))[0].made
    linear = venue.operate(c.DefineInstrument("BTC_USDC-PERPETUAL", "0.001", 2))[0].made
    assert [int(venue.state.lines[0, item]) >= 0 for item in (option, perpetual, linear)] == [False, False, True]
    venue.quote(option, 700_000)
    assert venue.trade(ALICE, BOB, option, 1, 500).reason is Reason.NO_PRICE, "quoted, not yet frozen"
    venue.operate(c.Mark(BTC))
    assert venue.trade(ALICE, BOB, option, 1, 500).reason is Reason.ACCEPTED
    assert venue.one(venue.operator, c.Deposit(ALICE, ETH, 1)).reason is Reason.NO_PRICE
    venue.quote(ETH, 400 * UNIT)
    venue.operate(c.Mark(ETH))
    assert venue.one(venue.operator, c.Deposit(ALICE, ETH, 1)).reason is Reason.ACCEPTED
    assert venue.trade(ALICE, BOB, perpetual, 1, 400_00).reason is Reason.ACCEPTED


@pytest.mark.criterion("MKS-11", "MKS-10")
def test_new_lines_leave_holdings_and_price_id(venue):
    for item, cost in ((INVERSE, 10_000_00), (CALL, 500), (PUT, 300)):
        assert venue.trade(ALICE, BOB, item, 10, cost).reason is Reason.ACCEPTED
    before, price_id = venue.rows(ALICE), venue.fold.price_id
    lines = venue.state.lines[0, :ETH].copy()
    venue.operate(c.DefineInstrument("BTC-18SEP20", "10", 2))
    assert venue.rows(ALICE) == before
    assert venue.fold.price_id == price_id
    assert (venue.state.lines[0, :ETH] != lines).any()
    start, count = (int(v) for v in venue.state.accounts[ALICE, [Account.START, Account.COUNT]])
    own = venue.state.row_line[start : start + count]
    assert (np.diff(own) > 0).all()
    assert own.tolist() == venue.state.lines[0, venue.state.row_item[start : start + count]].tolist()


@pytest.mark.criterion("MKS-8", "MKS-5", "LED-13")
def test_asset_without_contracts_is_an_underlying_too(venue):
    """A coin whose last contract was settled goes on as collateral, and marks go on."""
    venue.quote(ETH, 400 * UNIT)
    venue.operate(c.Mark(ETH))
    future = venue.operate(c.DefineInstrument("ETH-25SEP20", "1", 2), c.Deposit(ALICE, ETH, 10**9))[0].made
    venue.state.counters[0] = EXPIRY
    venue.state.prices[future, [Price.SETTLEMENT_SUM, Price.SETTLEMENT_COUNT]] = 400 * UNIT, 1
    assert venue.one(venue.operator, c.Settle(future)).reason is Reason.ACCEPTED
    assert venue.one(venue.operator, c.Mark(ETH)).reason is Reason.ACCEPTED
    assert venue.one(venue.operator, c.Deposit(ALICE, ETH, 1)).reason is Reason.ACCEPTED
    assert venue.fold.machine.marked.market.underlyings["ETH"].index.price == 400.0


@pytest.mark.criterion("MKS-9")
def test_time_of_tables_waits_for_settlement(venue):
    machine = venue.fold.machine
    assert marks.market_of(venue.state, machine.registry).time == START
    venue.state.counters[0] = EXPIRY + SECOND
    assert marks.market_of(venue.state, machine.registry).time == EXPIRY
    venue.state.items[:, Item.OPEN] = venue.state.items[:, Item.EXPIRY] == 0
    assert marks.market_of(venue.state, machine.registry).time == EXPIRY + SECOND
