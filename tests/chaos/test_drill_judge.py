"""The drill's judge on forged logs: what is right, what is wrong, what is named; and whether it can be deceived."""

import numpy as np
import pytest
from drill_log import ForgedLog, Parrot

from holdfast.chaos.second_engine.acts import Span
from holdfast.chaos.second_engine.error import FACTOR, UNDERLYING, planted
from holdfast.chaos.second_engine.judge import Begun, Marked, Named, Stopped, Window
from holdfast.chaos.second_engine.result import BACK, IN_ALL, IN_ONE, KILLED, NO_ERROR, OUTVOTED, Act, problems_of
from holdfast.chaos.second_engine.tally import Clock, judged, marks_to, words_of
from holdfast.core import marks
from holdfast.core.state import Status
from holdfast.domain import commands as c

pytest.importorskip("nats")
NAMES = ["engine-a", "engine-b", "engine-c"]


@pytest.fixture
def log():
    return ForgedLog()


def act(log, judge, first, *, name="act", withheld=0):
    """One act from `first` to the end, each frame a second after the one before."""
    clock = Clock(0, range(log.position))
    (found,) = judged([Span(name, first, log.position)], log.frames, judge, clock, NAMES)
    return found


@pytest.mark.criterion("DRL-1")
def test_the_nearest_client_is_nearly_at_its_maintenance_margin(log):
    equity, initial, maintenance = log.figures(200).T
    assert 1.0 <= (equity / maintenance).min() < 1.01
    assert (equity < initial).any()
    assert log.fold.machine.pending() == 0 or not len(log.fold.machine.pending())
    assert ForgedLog(seed=1).venue.frames == log.venue.frames
    assert ForgedLog(seed=2).venue.frames != log.venue.frames


@pytest.mark.criterion("DRL-2")
def test_the_error_is_a_hundredth_of_bitcoins_contracts_and_goes_with_its_block(log):
    machine = log.fold.machine

    def table():
        return marks.build(machine.state, machine.registry, time=machine.marked.market.time).tables[0]

    right = table()
    with planted(lambda: True):
        wrong = table()
    hit = np.array([i is not None and i.underlying == UNDERLYING for i in right.instruments])
    assert 0 < hit.sum() < len(hit)
    for name in ("values", "today"):
        before, after = getattr(right.arrays, name), getattr(wrong.arrays, name)
        assert np.array_equal(after[hit], before[hit] * FACTOR)
        assert np.array_equal(after[~hit], before[~hit])
    perpetual = next(line for line, i in enumerate(right.instruments) if i and i.name == "BTC_USD-PERPETUAL")
    assert wrong.arrays.today[perpetual] == right.arrays.today[perpetual] * 0.99
    with planted(lambda: False):
        assert np.array_equal(table().arrays.values, right.arrays.values)
    assert np.array_equal(table().arrays.values, right.arrays.values)


@pytest.mark.criterion("DRL-4", "DRL-5", "DRL-7")
def test_without_an_error_those_below_are_begun_and_right(log):
    first = log.position
    log.fall(0.03)
    log.vote_on_roots()
    log.vote(0, Parrot())
    log.vote(1, Parrot())
    judge = log.judged()
    assert judge.marks[-1].below == tuple(one.account for one in judge.begun)
    assert judge.begun
    assert all(one.is_right and not one.without_second for one in judge.begun)
    assert judge.certified
    assert judge.strange == []
    assert judge.contradicted == []
    found = act(log, type(judge)(), first)
    assert (found.below, found.begun, found.wrong, found.withheld) == (len(judge.begun), len(judge.begun), 0, 0)
    assert found.begun_s == (log.position - 1 - first,) * 2


@pytest.mark.criterion("DRL-5", "DRL-7")
def test_one_vote_begins_nothing_and_those_below_are_withheld(log):
    first = log.position
    log.fall(0.03)
    log.vote(0, Parrot())
    found = act(log, log.judged().__class__(), first)
    assert found.begun == 0
    assert found.withheld == found.below > 0


@pytest.mark.criterion("DRL-4", "DRL-5", "DRL-7")
def test_an_error_that_the_second_engine_repeats_is_seen_as_wrong_liquidations(log):
    first = log.position
    log.is_wrong = True
    log.fall(0.002)
    log.vote_on_roots()
    log.vote(0, Parrot())
    log.vote(1, Parrot())
    judge = log.judged(Window(first, 1 << 62))
    wrong = {one.account for one in judge.begun if not one.is_right}
    right = {one.account for one in judge.begun if one.is_right}
    assert wrong == set(judge.marks[-1].by_error)
    assert right == set(judge.marks[-1].below)
    assert wrong
    assert judge.certified
    assert judge.strange == []
    for one in judge.begun:
        assert one.second == pytest.approx(one.first, rel=1e-9)


@pytest.mark.criterion("DRL-4")
def test_a_judge_that_folds_otherwise_than_the_engines_finds_their_roots_strange(log):
    log.is_wrong = True
    log.fall(0.002)
    log.vote_on_roots()
    assert log.judged().strange
    assert log.judged(Window(log.begin, 1 << 62)).strange == []


@pytest.mark.criterion("DRL-6")
@pytest.mark.parametrize("is_wrong", [False, True])
def test_without_a_second_engine_only_what_is_beyond_by_right_numbers_is_not_too_close(log, is_wrong):
    first = log.position
    log.is_wrong = is_wrong
    log.fall(0.03)
    log.vote(0)
    log.vote(1)
    windows = (Window(first, 1 << 62),) if is_wrong else ()
    judge = log.judged(*windows)
    assert judge.begun
    assert all(one.without_second for one in judge.begun)
    close = [one for one in judge.begun if not one.is_beyond]
    assert bool(close) == is_wrong
    for one in judge.begun:
        assert one.is_beyond == (one.first[0] < one.first[1] * 0.9)
    found = act(log, type(judge)(windows), first)
    assert (found.without_second, found.too_close) == (len(judge.begun), len(close))
    assert found.withheld > 0 or is_wrong


def report(log, number, accounts):
    """A replica's word that its second engine finds a dollar more equity than the first."""
    rows = []
    for account in accounts:
        equity, initial, maintenance = log.figures(account - 4)[-1].tolist()
        version = int(log.fold.machine.state.accounts[account, 5])
        rows.append(
            c.AccountDifference(account, version, (equity, initial, maintenance), (equity + 1, initial, maintenance))
        )
    mark = log.fold.machine.registry.marks[-1]
    word = c.ReportDiscrepancy(number, mark.position, mark.price_id, "witness", 7, tuple(rows))
    return log.send(log.voters[number], word)


@pytest.mark.criterion("DRL-8")
def test_reports_name_accounts_and_a_majority_freezes_them(log):
    first = log.position
    log.fall(0.002)
    report(log, 1, [8, 9])
    log.fall(0.002)
    report(log, 2, [8])
    report(log, 1, [8, 9])
    judge = log.judged()
    assert [(one.replica, one.total, one.accounts) for one in judge.reports] == [
        (1, 7, (8, 9)),
        (2, 7, (8,)),
        (1, 7, (8, 9)),
    ]
    assert [one.subject for one in judge.frozen] == [8]
    assert judge.with_status(Status.FROZEN) == (8,)
    found = act(log, type(judge)(), first)
    assert found.named_by == [
        "engine-b: its witness engine differs on 7 accounts",
        "engine-c: its witness engine differs on 7 accounts",
        "1 accounts frozen by one frame",
    ]
    assert (found.marks_to_name, found.named_s, found.accounts_named, found.frozen) == (0, 1.0, 2, 1)


@pytest.mark.criterion("DRL-8")
def test_a_report_of_which_no_row_counts_names_nothing(log):
    log.fall(0.002)
    log.fall(0.002)
    row = c.AccountDifference(8, 999, (1.0, 1.0, 1.0), (9.0, 1.0, 1.0))
    mark = log.fold.machine.registry.marks[-1]
    log.send(log.voters[0], c.ReportDiscrepancy(0, mark.position, mark.price_id, "witness", 1, (row,)))
    assert log.judged().reports == []


def marked(position):
    return Marked(position, 1, (), ())


@pytest.mark.criterion("DRL-8")
def test_marks_until_an_error_is_named():
    both = [marked(100), marked(180)]
    for frame, expected in ((120, 0), (190, 1)):
        words = words_of([Named(frame, 1, 1, 0, "witness", 3, (8,))], [], [], NAMES)
        assert marks_to(words, both) == expected
    assert marks_to([], both) is None
    stopped = words_of([], [Stopped(130, 1, 2)], [Stopped(125, 1, 8), Stopped(125, 1, 9)], NAMES)
    assert [word.text for word in stopped] == [
        "2 accounts frozen by one frame",
        "engine-c suspended: its state root is not the majority's",
    ]


@pytest.mark.criterion("DRL-5")
@pytest.mark.parametrize(
    ("first", "second", "is_right"),
    [
        ((1_499.99, 1_500.0), (1_499.99, 1_500.0), True),
        ((1_500.0, 1_500.0), (1_499.99, 1_500.0), False),
        ((1_613.0, 1_500.0), (1_613.0, 1_500.0), False),
        ((1_400.0, 1_500.0), (float("nan"), float("nan")), False),
    ],
)
def test_right_is_below_by_both(first, second, is_right):
    assert Begun(1, 8, 1, first, second, without_second=False, is_beyond=False).is_right is is_right


GOOD = Act(
    name=NO_ERROR,
    marks=1,
    below=3,
    by_error=1,
    begun=3,
    wrong=0,
    without_second=0,
    too_close=0,
    withheld=0,
    frozen=0,
    named_by=[],
    accounts_named=0,
    marks_to_name=None,
    named_s=None,
    suspended=[],
    begun_s=(0.1, 0.2),
    degraded=[],
)


@pytest.mark.criterion("DRL-10")
@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, ""),
        ({"wrong": 1}, "1 wrong"),
        ({"too_close": 2, "without_second": 3}, "2 liquidations without"),
        ({"begun": 2}, "2 liquidations of 3"),
        ({"below": 0, "begun": 0}, "0 liquidations of 0"),
        ({"frozen": 1}, "1 accounts froze"),
        ({"name": IN_ALL, "marks_to_name": 0, "frozen": 9}, ""),
        ({"name": IN_ALL, "marks_to_name": 1}, "not named"),
        ({"name": IN_ONE}, "not named"),
        ({"name": IN_ONE, "marks_to_name": 0, "by_error": 0}, "nothing was tried"),
        ({"name": OUTVOTED}, "not named"),
        ({"name": BACK, "withheld": 4}, "4 accounts still wait"),
        ({"name": KILLED, "below": 9, "withheld": 6}, ""),
    ],
)
def test_what_an_act_must_not_show(changes, problem):
    fields = {name: getattr(GOOD, name) for name in GOOD.__struct_fields__}
    found = problems_of(Act(**{**fields, **changes}))
    assert (problem in found[0] and len(found) == 1) if problem else found == []
