"""Logical time and settlement averages: worked numbers of specs/time.md, and a twin of the clock."""

import pytest
from fold_driver import (
    ALICE,
    BOB,
    BTC,
    CALL,
    EXPIRY,
    FUTURE,
    INDEX,
    INVERSE,
    SECOND,
    START,
    USD,
    Driver,
    hot,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from holdfast.core.state import Counter, Price
from holdfast.domain import commands as c
from holdfast.domain.reasons import Reason

WINDOW = 1_800 * SECOND


class Clocks(Driver):
    """Replicas and nothing else."""

    def __init__(self, count=3, **rules):
        super().__init__()
        self.operator = self.open("operator")
        self.all_accepted(*((self.operator, c.DefineReplica(f"r{n}", bytes([n + 7]) * 32)) for n in range(count)))
        self.all_accepted((self.operator, c.SetRules(**rules)))
        self.replicas = [self.open("replica", n) for n in range(count)]

    def tick(self, replica, clock):
        return self.one(self.replicas[replica], c.Tick(replica, clock))


@pytest.mark.criterion("TIM-3", "TIM-5", "CMD-14")
def test_worked_clocks():
    clocks = Clocks()
    assert clocks.fold.time == 0
    ticks = ((0, 100), (1, 104), (2, 130), (0, 150), (0, 151), (1, 105), (2, 131), (0, 9_000))
    times = [100, 100, 104, 114, 124, 130, 131, 131]
    for (replica, clock), expected in zip(ticks, times, strict=True):
        outcome = clocks.tick(replica, clock * SECOND)
        assert outcome.made == clocks.fold.time == expected * SECOND


@pytest.mark.criterion("TIM-2")
def test_replica_is_live_for_eight_ticks():
    """The first two replicas fall silent; the median is theirs until they are no longer live."""
    clocks = Clocks(step_maximum=10**15)
    for replica in (0, 1, 2):
        clocks.tick(replica, 100 + replica)
    times = [clocks.tick(2, 1_000 + n).made for n in range(4, 13)]
    assert times == [101] * 5 + [101, 1_010, 1_011, 1_012]


@pytest.mark.criterion("TIM-1", "CMD-14")
def test_clocks_only_grow():
    clocks = Clocks()
    clocks.tick(0, 100)
    refused = clocks.tick(0, 100)
    assert (refused.reason, refused.limit, refused.passes) == (Reason.CLOCK_BACKWARDS, 100, 101)
    assert clocks.tick(1, 50).reason is Reason.ACCEPTED
    assert clocks.fold.time == 100
    assert clocks.tick(0, 2**62).reason is Reason.ACCEPTED
    assert clocks.fold.machine.registry.ticks == 3


def time_of(ticks, live_ticks, step):
    """TIM-2 and TIM-3 in plain Python."""
    clock, latest, now, number = {}, {}, 0, 0
    for replica, at in ticks:
        if at <= clock.get(replica, 0):
            continue
        number += 1
        clock[replica], latest[replica] = at, number
        live = sorted(clock[r] for r, tick in latest.items() if tick > number - live_ticks)
        target = live[(len(live) + 1) // 2 - 1]
        now = target if now == 0 else max(now, min(target, now + step))
    return now


@pytest.mark.criterion("TIM-1", "TIM-2", "TIM-3")
@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 60)), max_size=30), st.integers(1, 6), st.integers(1, 20))
@example([(0, 5), (1, 50), (1, 51), (1, 52)], 2, 20)
def test_time_is_that_of_the_twin(ticks, live_ticks, step):
    clocks = Clocks(4, live_ticks=live_ticks, step_maximum=step)
    times = [0]
    for number, (replica, clock) in enumerate(ticks):
        clocks.tick(replica, clock)
        times.append(clocks.fold.time)
        assert times[-1] == time_of(ticks[: number + 1], live_ticks, step)
    assert times == sorted(times)


def near_expiry(venue, before):
    """Put the venue's time `before` ns before the expiry, with quotes that stay fresh."""
    venue.operate(c.SetRules(step_maximum=10**16, age_maximum=7 * 10**16, ahead_maximum=7 * 10**16))
    venue.tick(EXPIRY - before)


def average(venue, item=FUTURE):
    return venue.state.prices[item, [Price.SETTLEMENT_SUM, Price.SETTLEMENT_COUNT]].tolist()


@pytest.mark.criterion("TIM-6", "LED-14", "CMD-16")
def test_worked_average(venue):
    near_expiry(venue, WINDOW)
    assert average(venue) == [0, 0], "the window begins after that instant"
    prices = 10_000 * 10**8, 10_100 * 10**8, 10_100 * 10**8 + 1
    for step, price in enumerate(prices):
        venue.quote(BTC, price)
        venue.tick(EXPIRY - WINDOW + step + 1)
    assert average(venue) == average(venue, CALL) == [sum(prices), 3]
    assert average(venue, INVERSE) == [0, 0]
    venue.tick(EXPIRY + 1)
    assert average(venue)[1] == 3, "after the expiry nothing is added"
    assert venue.one(venue.operator, c.Settle(FUTURE)).made == 10_066_66666667


@pytest.mark.criterion("TIM-6")
def test_average_ends_with_the_expiry(venue):
    near_expiry(venue, 1)
    venue.tick(EXPIRY)
    assert average(venue)[1] == 2
    venue.tick(EXPIRY + 1)
    assert average(venue)[1] == 2


@pytest.mark.criterion("TIM-6")
def test_ticks_that_do_not_advance_time_do_not_count(venue):
    near_expiry(venue, WINDOW - 1)
    for replica in (1, 2):
        venue.tick(venue.fold.time, replica)
    for step in range(5):
        assert venue.tick(EXPIRY - WINDOW + 2 + step).reason is Reason.ACCEPTED
    assert venue.fold.time == EXPIRY - WINDOW + 1, "the other two hold the median"
    assert average(venue) == [INDEX, 1]


@pytest.mark.criterion("TIM-6", "TIM-7", "MKS-3")
def test_contract_without_average_takes_the_first_index_after(venue):
    venue.operate(c.SetRules(step_maximum=10**16, ahead_maximum=7 * 10**16))
    venue.tick(EXPIRY + SECOND)
    assert average(venue) == [0, 0], "the index is stale"
    refused = venue.one(venue.replicas[1], c.Settle(FUTURE))
    assert (refused.reason, refused.limit) == (Reason.PRICES_STALE, 0)
    venue.quote(BTC, INDEX + 7)
    venue.tick(EXPIRY + 2 * SECOND)
    venue.quote(BTC, INDEX + 9)
    venue.tick(EXPIRY + 3 * SECOND)
    assert average(venue) == [INDEX + 7, 1]
    assert venue.one(venue.replicas[1], c.Settle(FUTURE)).made == INDEX + 7


@pytest.mark.criterion("TIM-7", "CMD-5", "CMD-11", "CMD-15")
def test_trading_ends_with_the_expiry(venue):
    near_expiry(venue, 1)
    assert venue.trade(ALICE, BOB, FUTURE, 1, 10_000_00).reason is Reason.ACCEPTED
    assert venue.order(ALICE, FUTURE, 1, 9_000_00).reason is Reason.ACCEPTED
    refused = venue.one(venue.operator, c.Settle(FUTURE))
    assert (refused.reason, refused.limit) == (Reason.TOO_EARLY, 1)
    venue.tick(EXPIRY)
    assert venue.trade(ALICE, BOB, FUTURE, 1, 10_000_00).reason is Reason.INSTRUMENT_CLOSED
    assert venue.order(ALICE, FUTURE, 1, 9_000_00).reason is Reason.INSTRUMENT_CLOSED
    fill = hot(c.fill, ALICE, BOB, FUTURE, 1, 9_000_00, buy_order=1)
    assert venue.one(venue.client, fill).reason is Reason.INSTRUMENT_CLOSED
    assert venue.trade(ALICE, BOB, INVERSE, 1, 10_000_00).reason is Reason.ACCEPTED
    assert venue.one(venue.client, hot(c.cancel, ALICE, 1)).passes == 1
    assert venue.one(venue.operator, c.Settle(FUTURE)).reason is Reason.ACCEPTED
    venue.check_conservation()


@pytest.mark.criterion("TIM-5")
def test_nothing_else_moves_time(venue):
    before = venue.fold.time
    venue.quote(BTC, INDEX, time=START + 5 * SECOND)
    venue.operate(c.Mark(BTC), c.Funding(INVERSE, 1), c.Deposit(ALICE, USD, 1))
    venue.trade(ALICE, BOB, INVERSE, 1, 10_000_00)
    venue.send()
    assert venue.fold.time == before == int(venue.state.counters[Counter.TIME])
