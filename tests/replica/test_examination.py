"""What a node has its exact engine examine, and what follows from the answers."""

from fractions import Fraction

import msgspec
import numpy as np
import pytest
from nodes import KEYS
from test_comparison import BREACH, sent
from two_engines import MAKER, PERPETUAL, USD, WEAK, TwoEngines

from holdfast.core.fold import Fold
from holdfast.core.state import Account, Counter, Status
from holdfast.domain import commands as c
from holdfast.domain.commands import ReportDiscrepancy
from holdfast.margin.presets import preset
from holdfast.replica.names import AccountNames
from holdfast.replica.node.comparison import Comparison
from holdfast.replica.node.examination import (
    ACCOUNTS_FIRST,
    ACCOUNTS_MAXIMUM,
    REPORT_MAXIMUM,
    SAMPLE_IDLE,
    Examination,
)
from holdfast.replica.node.node import Identity, Node, Settings
from holdfast.replica.witnessing.messages import Examined, array_of, values_of
from holdfast.replica.witnessing.third import _doubles, examined, holdings_of
from holdfast.witness.exact import Interval

pytestmark = pytest.mark.criterion("NOD-23")


class ThreeEngines(TwoEngines):
    """The first node has an exact engine, too; its answers can be held back and its questions changed."""

    def __init__(self):
        super().__init__(3)
        identity, settings = Identity("r0", "region0", KEYS[0], "boot0"), Settings(0.25, 0.0)
        self.exact = Examination()
        self.nodes[0] = Node(identity, settings, Fold(), AccountNames(), Comparison(), examination=self.exact)
        self.nodes[0].comparison.started()
        self.exact.started()
        self.questions, self.waits = [], False
        self.asked = lambda one: one
        self.seconds_per_account = None
        self.frozen_after = {}

    def deliver(self):
        super().deliver()
        status = self.nodes[0].fold.machine.state.accounts[:, Account.STATUS]
        for account in np.flatnonzero(status == int(Status.FROZEN)).tolist():
            self.frozen_after.setdefault(account, len(self.questions))
        for question in self.exact.messages():
            self.questions.append(question)
            if not self.waits:
                self.exact.answered(self.answer(self.asked(question)))

    def answer(self, question):
        found = examined(question)
        if self.seconds_per_account is not None:
            seconds = self.seconds_per_account * len(values_of(found.bounds))
            found = msgspec.structs.replace(found, accounts_seconds=seconds)
        return found

    def crowd(self, count):
        """As many more accounts as WEAK; their numbers."""
        first = int(self.nodes[0].fold.machine.state.counters[Counter.ACCOUNTS])
        numbers = list(range(first, first + count))
        self.operate(*(c.OpenAccount(0, f"weak{number}") for number in numbers))
        self.operate(*(c.Deposit(number, USD, 3_000 * 10**6) for number in numbers))
        for place, number in enumerate(numbers):
            self.trade(c.trade(self.client, 3 + place, number, MAKER, PERPETUAL, 1_000, 1_000_000))
        self.step(30)
        return numbers

    def pending(self):
        """Accounts that wait, by number."""
        status = self.nodes[0].fold.machine.state.accounts[:, Account.STATUS]
        return np.flatnonzero(status == int(Status.BREACH_PENDING)).tolist()


def accounts_of(question):
    return [one.account for one in holdings_of(question)]


def richer_by(dollars):
    """A question whose accounts have so much more cash than the first engine's."""

    def changed(question):
        rows = values_of(question.holdings.rows).copy()
        rows[rows[:, 0] == USD, 1] += dollars * 10**6
        return msgspec.structs.replace(
            question, holdings=msgspec.structs.replace(question.holdings, rows=array_of(rows))
        )

    return changed


def test_accounts_and_tables_are_examined_at_marks():
    world = ThreeEngines().venue()
    world.price(9_500)
    world.wait(1)
    assert world.exact.accounts > 0
    assert world.exact.values > 20
    assert world.exact.ulps <= 2.0
    assert not world.exact.problems
    assert not sent(world, ReportDiscrepancy)
    assert {account for question in world.questions for account in accounts_of(question)} == {WEAK, MAKER}


def test_an_account_that_waits_for_its_quorum_is_examined():
    world = ThreeEngines().venue()
    world.silent |= {0, 1, 2}
    world.price(BREACH)
    world.wait(2)
    assert world.status() is Status.BREACH_PENDING
    question = next(one for one in world.questions if WEAK in accounts_of(one)[:1])
    orders = [(order.item, order.amount, order.price) for one in holdings_of(question) for order in one.orders]
    assert orders in ([], [("BTC_USD-PERPETUAL", 1_000, 850_000)])


@pytest.mark.criterion("QRM-22")
def test_what_lies_outside_the_exact_bounds_stops_a_liquidation():
    world = ThreeEngines().venue()

    world.silent |= {0, 1, 2}
    world.asked = richer_by(500)
    world.price(BREACH)
    world.wait(2)
    assert world.status() is Status.FROZEN
    report = next(command for _, command in sent(world, ReportDiscrepancy) if command.engine == "exact")
    assert (report.replica, [row.account for row in report.accounts][:1]) == (0, [WEAK])
    assert not sent(world, c.Liquidate)


def test_a_wrong_value_of_a_table_is_named():
    world = ThreeEngines().venue()

    def wrong(question):
        values = dict(question.values)
        changed = values_of(values["BTC_USD-PERPETUAL"]).copy()
        changed[3] *= 1 + 1e-9
        return msgspec.structs.replace(question, values={**values, "BTC_USD-PERPETUAL": array_of(changed)})

    world.asked = wrong
    world.price(9_500)
    world.wait(1)
    assert any("BTC_USD-PERPETUAL" in problem for problem in world.exact.problems)
    assert any("the exact engine of r0 objects" in text for text in world.nodes[0].degraded())


def test_one_question_is_under_way_at_a_time():
    world = ThreeEngines().venue()
    world.waits = True
    before = len(world.questions)
    for dollars in (9_500, 9_400, 9_300):
        world.price(dollars)
    world.wait(3)
    assert len(world.questions) <= before + 1
    world.exact.ended("it was killed")
    world.price(9_200)
    assert len(world.questions) <= before + 1


def test_a_breach_of_many_is_examined_completely_the_lowest_numbers_first():
    world = ThreeEngines().venue()
    crowd = world.crowd(9)
    world.seconds_per_account = 2.5
    world.price(9_900)
    world.wait(1)
    world.silent |= {0, 1, 2}
    begun = len(world.questions)
    world.price(BREACH)
    world.wait(2)
    assert world.pending() == [WEAK, *crowd]
    asked = [accounts_of(one) for one in world.questions[begun:]]
    assert all(len(one) <= 3 for one in asked[:5])
    assert [account for one in asked[:5] for account in one[:2]] == [WEAK, *crowd]
    assert all(len(one) > 3 for one in asked[5:])
    assert world.exact.accounts == sum(len(accounts_of(one)) for one in world.questions)
    assert not sent(world, ReportDiscrepancy)


def test_those_that_are_being_liquidated_come_before_those_that_wait():
    world = ThreeEngines().venue()
    crowd = world.crowd(4)
    world.silent |= {0, 1, 2}
    world.waits = True
    world.price(BREACH)
    world.step(5)
    state = world.nodes[0].fold.machine.state
    state.accounts[crowd[1:3], Account.STATUS] = int(Status.LIQUIDATING)
    waiting = world.exact._waiting(state).tolist()
    assert waiting == [crowd[1], crowd[2], WEAK, crowd[0], crowd[3]]


def test_an_account_that_changed_is_examined_again_behind_those_that_never_were():
    world = ThreeEngines().venue()
    crowd = world.crowd(3)
    world.silent |= {0, 1, 2}
    world.price(BREACH)
    world.step(20)
    state = world.nodes[0].fold.machine.state
    assert world.pending() == [WEAK, *crowd]
    assert world.exact._waiting(state).tolist() == []
    begun = len(world.questions)
    world.operate(c.Deposit(crowd[1], USD, 1))
    world.price(BREACH - 1)
    assert [accounts_of(one)[0] for one in world.questions[begun:]][:1] == [crowd[1]]
    world.step(20)
    assert world.exact._waiting(state).tolist() == []
    world.exact._seen[WEAK] -= 1
    world.exact._seen[crowd[2]] = -1
    assert world.exact._waiting(state).tolist() == [crowd[2], WEAK]


def test_an_account_that_was_let_go_is_examined_at_its_next_breach():
    world = ThreeEngines().venue()
    world.silent |= {0, 1, 2}
    world.price(BREACH)
    world.step(5)
    world.price(9_900)
    world.step(5)
    assert world.status() is Status.HEALTHY
    begun = len(world.questions)
    world.price(BREACH)
    world.step(5)
    assert accounts_of(world.questions[begun])[0] == WEAK


def test_questions_hold_what_is_worked_out_in_some_seconds():
    world = ThreeEngines().venue()
    assert world.exact._size in range(1, ACCOUNTS_MAXIMUM + 1)
    for seconds, size in ((2.5, 2), (60.0, 1), (1e-9, ACCOUNTS_MAXIMUM), (0.01, 500)):
        world.seconds_per_account = seconds
        world.price(9_900)
        world.step(5)
        assert world.exact._size == size
    assert Examination()._size == ACCOUNTS_FIRST


def test_a_sample_goes_round_and_is_larger_when_nothing_waits():
    world = ThreeEngines().venue()
    crowd = world.crowd(2 * SAMPLE_IDLE)
    clients = [WEAK, MAKER, *crowd]
    begun = len(world.questions)
    for _ in range(4):
        world.price(9_900)
        world.step(5)
    asked = [accounts_of(one) for one in world.questions[begun:]]
    assert all(len(one) == SAMPLE_IDLE for one in asked)
    seen = [account for one in asked for account in one]
    place = clients.index(seen[0])
    assert seen == [clients[(place + n) % len(clients)] for n in range(len(seen))]


def test_a_wrong_table_stops_accounts_before_the_last_is_examined():
    world = ThreeEngines().venue()
    crowd = world.crowd(7)
    world.seconds_per_account = 2.5
    world.price(9_900)
    world.wait(1)
    world.silent |= {0, 1, 2}
    world.asked = richer_by(500)
    world.price(BREACH)
    world.wait(3)
    assert sorted(world.frozen_after) == [WEAK, *crowd]
    assert world.frozen_after[WEAK] < world.frozen_after[crowd[-1]]
    assert not sent(world, c.Liquidate)


def test_every_model_is_certified_at_a_mark_when_time_is_left():
    world = ThreeEngines().venue()
    world.operate(c.DefineModel("standard", preset("standard")))
    begun = len(world.questions)
    world.price(9_900)
    world.step(20)
    certified = [one.certified for one in world.questions[begun:]]
    assert sorted(certified[-2:]) == ["portfolio", "standard"]
    assert not world.exact.problems
    world.waits, before = True, len(world.questions)
    world.price(9_800)
    world.price(9_700)
    world.step(20)
    assert len(world.questions) == before + 1


def test_nothing_is_asked_of_a_mark_whose_market_changed():
    world = ThreeEngines().venue()
    world.waits = True
    world.price(9_900)
    world.operate(c.DefineAsset("ETH", 9))
    begun = len(world.questions)
    world.exact.answered(world.answer(world.questions[-1]))
    world.operate(c.OpenAccount(0, "late"))
    assert len(world.questions) == begun
    world.waits = False
    world.price(9_800)
    assert len(world.questions) > begun
    assert not world.exact.problems


def test_the_next_question_follows_an_answer_without_a_mark():
    world = ThreeEngines().venue()
    world.waits = True
    world.price(9_900)
    begun, marks = len(world.questions), len(world.nodes[0].fold.machine.registry.marks)
    world.exact.answered(world.answer(world.questions[-1]))
    world.operate(c.OpenAccount(0, "late"))
    assert len(world.questions) == begun + 1
    assert len(world.nodes[0].fold.machine.registry.marks) == marks


def test_what_cannot_be_worked_out_is_said_and_does_not_come_back():
    world = ThreeEngines().venue()
    world.silent |= {0, 1, 2}

    def broken(question):
        return msgspec.structs.replace(question, items=["X", *question.items[1:]])

    world.asked = broken
    world.price(BREACH)
    world.step(20)
    assert any(f"account {WEAK} cannot be worked out" in problem for problem in world.exact.problems)
    assert world.exact._waiting(world.nodes[0].fold.machine.state).tolist() == []
    assert not sent(world, ReportDiscrepancy)


def test_bounds_are_doubles_around_the_exact_ones():
    for numerator, denominator in ((1, 3), (2, 3), (-1, 3), (10**30 + 1, 7), (62_500, 1), (0, 1)):
        exactly = Fraction(numerator, denominator)
        low, high = _doubles(Interval(exactly, exactly))
        assert Fraction(low) <= exactly <= Fraction(high)
        assert high <= np.nextafter(low, np.inf)
        assert (low == high) == (exactly == Fraction(float(exactly)))


def test_a_number_that_is_none_is_said_and_not_reported():
    world = ThreeEngines().venue()
    world.waits = True
    world.price(9_900)
    asked, question = world.exact._asked, world.questions[-1]
    world.exact._asked = asked._replace(figures=np.full_like(asked.figures, np.nan))
    world.exact.answered(world.answer(question))
    assert any("no finite numbers" in problem for problem in world.exact.problems)
    assert world.exact.report(world.nodes[0].fold, 0) is None


def test_no_report_holds_more_accounts_than_the_log_takes():
    world = ThreeEngines().venue()
    world.waits = True
    world.price(9_900)
    asked, count = world.exact._asked, REPORT_MAXIMUM + 3
    numbers = np.arange(count)[::-1].copy()
    bounds = np.zeros((count, 3, 2))
    asked = asked._replace(accounts=numbers, versions=numbers, figures=np.full((count, 3), 7.0), acted_on=0)
    world.exact._asked = asked
    answer = Examined(asked.ticket, array_of(bounds), 0, 0.0, (), 1.0, 1.0)
    world.exact.answered(answer)
    reports = [world.exact.report(world.nodes[0].fold, 0) for _ in range(3)]
    assert [len(one.accounts) for one in reports[:2]] == [REPORT_MAXIMUM, 3]
    assert [one.total for one in reports[:2]] == [count, count]
    assert [row.account for row in reports[0].accounts] == list(range(3, count))
    assert reports[2] is None


def test_orders_of_many_accounts_stay_with_their_accounts():
    world = ThreeEngines().venue()
    crowd = world.crowd(4)
    number = 7
    for account, limits in (
        (crowd[0], (700_000, 710_000, 720_000)),
        (crowd[2], (650_000,)),
        (crowd[3], (640_000, 630_000)),
    ):
        for limit in limits:
            world.trade(c.order(world.client, number, account, PERPETUAL, 10, limit))
            number += 1
    begun = len(world.questions)
    world.price(9_900)
    held = {one.account: sorted(order.price for order in one.orders) for one in holdings_of(world.questions[begun])}
    assert held[crowd[0]] == [700_000, 710_000, 720_000]
    assert held[crowd[1]] == []
    assert held[crowd[2]] == [650_000]
    assert held[crowd[3]] == [630_000, 640_000]
    assert held[MAKER] == [850_000]
