"""What a node has its exact engine examine, and what follows from the answers."""

import msgspec
import pytest
from nodes import KEYS
from test_comparison import BREACH, sent
from two_engines import MAKER, WEAK, TwoEngines

from holdfast.core.fold import Fold
from holdfast.core.state import Status
from holdfast.domain import commands as c
from holdfast.domain.commands import ReportDiscrepancy
from holdfast.replica.names import AccountNames
from holdfast.replica.node.comparison import Comparison
from holdfast.replica.node.examination import Examination
from holdfast.replica.node.node import Identity, Node, Settings
from holdfast.replica.witnessing.messages import array_of, values_of
from holdfast.replica.witnessing.third import examined

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

    def deliver(self):
        super().deliver()
        for question in self.exact.messages():
            self.questions.append(question)
            if not self.waits:
                self.exact.answered(examined(self.asked(question)))


def test_accounts_and_tables_are_examined_at_marks():
    world = ThreeEngines().venue()
    world.price(9_500)
    world.wait(1)
    assert world.exact.accounts > 0
    assert world.exact.values > 20
    assert world.exact.ulps <= 2.0
    assert not world.exact.problems
    assert not sent(world, ReportDiscrepancy)
    assert {one.account for question in world.questions for one in question.accounts} == {WEAK, MAKER}


def test_an_account_that_waits_for_its_quorum_is_examined():
    world = ThreeEngines().venue()
    world.silent |= {0, 1, 2}
    world.price(BREACH)
    world.wait(2)
    assert world.status() is Status.BREACH_PENDING
    assert WEAK in {one.account for one in world.questions[-1].accounts}
    assert [order for one in world.questions[-1].accounts for order in one.orders] in (
        [],
        [("BTC_USD-PERPETUAL", 1_000, 850_000)],
    )


@pytest.mark.criterion("QRM-22")
def test_what_lies_outside_the_exact_bounds_stops_a_liquidation():
    world = ThreeEngines().venue()

    def richer(question):
        accounts = [
            msgspec.structs.replace(one, holdings={**one.holdings, "USD": (one.holdings["USD"][0] + 500 * 10**6, 0)})
            for one in question.accounts
        ]
        return msgspec.structs.replace(question, accounts=accounts)

    world.silent |= {0, 1, 2}
    world.asked = richer
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
