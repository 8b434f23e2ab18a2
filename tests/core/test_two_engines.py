"""What two engines' numbers say together, and what becomes of accounts on which they differ."""

import pytest
from fold_driver import ALICE, BOB, POOR, START
from voting import below, cast, liquidating, market, move_to, status_of, totals, version_of

from holdfast.core.agreement import differ, tolerance, word_on_account, word_on_withdrawal
from holdfast.core.snapshot import fold_from, snapshot_of
from holdfast.core.state import Status
from holdfast.domain import commands as c
from holdfast.domain.commands import AccountDifference, ReportDiscrepancy, SetRules
from holdfast.domain.reasons import Reason
from holdfast.domain.votes import Verdict

BELOW, ABOVE, BAND = Verdict.BELOW, Verdict.ABOVE, Verdict.BAND
RULES = SetRules()


def breached(dollars=8_600):
    """A market where the account waits for its quorum."""
    made = market()
    move_to(made, dollars)
    assert status_of(made, POOR) is Status.BREACH_PENDING
    return made


def row_of(made, account, by=(1.0, 0.0, 0.0), **changed):
    """A report's row: the account's numbers, and the other engine's, so much higher."""
    first = totals(made, account)
    second = tuple(a + b for a, b in zip(first, by, strict=True))
    said = {"account": account, "version": version_of(made, account), "first": first, "second": second}
    return AccountDifference(**(said | changed))


def report(made, sender, *rows, engine="witness", total=None, place=-1, **changed):
    """Send a replica's report about a remembered mark; its outcome."""
    mark = made.fold.machine.registry.marks[place]
    said = {"replica": sender, "position": mark.position, "price_id": mark.price_id, "engine": engine}
    said |= {"total": len(rows) if total is None else total, "accounts": rows} | changed
    return made.one(made.replicas[sender], ReportDiscrepancy(**said))


@pytest.mark.criterion("QRM-19")
@pytest.mark.parametrize(
    ("maintenance", "by_a", "by_b", "word"),
    [
        (1_000.0, -5.0, -4.99, BELOW),
        (1_000.0, -5.0, -0.011, BAND),
        (1_000.0, -0.005, -0.02, BAND),
        (1_000.0, -5.0, 0.012, ABOVE),
        (0.0, -0.02, -0.02, BELOW),
    ],
)
def test_worked_verdicts(maintenance, by_a, by_b, word):
    allowed = tolerance(RULES, maintenance)
    assert allowed == pytest.approx(0.011 if maintenance else 0.01, abs=1e-15)
    # 0 as margin, so that equity less margin is the stated number to the last bit.
    assert word_on_account((by_a, 0.0), (by_b, 0.0), allowed) is word


@pytest.mark.criterion("QRM-19")
def test_the_tolerance_knows_no_negative_margin():
    assert tolerance(RULES, -1e12) == 0.01


@pytest.mark.criterion("QRM-20")
def test_worked_words_on_withdrawals():
    assert word_on_withdrawal((5.0, 5.0), (4.99, 5.0), 0.011) is ABOVE
    assert word_on_withdrawal((5.0, 5.0), (4.98, 5.0), 0.011) is BAND
    assert word_on_withdrawal((4.9999, 5.0), (6.0, 5.0), 0.011) is BAND


@pytest.mark.criterion("QRM-21")
def test_numbers_differ_beyond_the_tolerance_only():
    assert not differ((1.0, 2.0, 3.0), (1.01, 2.0, 3.0), 0.011)
    assert differ((1.0, 2.0, 3.0), (1.0, 2.0, 3.012), 0.011)


@pytest.mark.criterion("QRM-19")
@pytest.mark.parametrize("word", [ABOVE, BAND])
def test_a_verdict_that_its_numbers_do_not_give_is_ignored(word):
    made = breached()
    said = (POOR, version_of(made, POOR), word)
    outcome = cast(made, 0, said, figures=(0.0, 100.0))
    assert (outcome.reason, outcome.limit) == (Reason.ACCEPTED, 1)
    assert status_of(made, POOR) is Status.BREACH_PENDING
    for first, second in (((0.0, 100.0), (100.0, 100.0)), ((100.0, 100.0), (0.0, 100.0)), ((0.0, 0.0), (0.0, 0.0))):
        assert cast(made, 0, below(made), figures=first, second=second).limit == 1
    assert made.fold.machine.registry.ballots == {}


@pytest.mark.criterion("QRM-3", "QRM-19")
def test_one_engine_above_freezes_and_no_majority_thaws():
    made = breached()
    cast(made, 0, below(made))
    above = (POOR, version_of(made, POOR), ABOVE)
    assert cast(made, 1, above, figures=(0.0, 100.0), second=(200.0, 100.0)).limit == 0
    assert status_of(made, POOR) is Status.FROZEN
    assert cast(made, 0, below(made)).made == cast(made, 2, below(made)).made == 0
    assert status_of(made, POOR) is Status.FROZEN


@pytest.mark.criterion("QRM-3")
def test_a_band_takes_back_what_was_said_before():
    made = breached()
    cast(made, 0, below(made))
    cast(made, 0, (POOR, version_of(made, POOR), BAND))
    assert made.fold.machine.registry.ballots == {}
    assert cast(made, 1, below(made)).made == 0
    assert cast(made, 0, below(made)).made == 1


@pytest.mark.criterion("QRM-21", "QRM-22")
def test_a_majority_that_sees_a_difference_makes_a_free_account_reduce_only():
    made = breached()
    assert report(made, 0, row_of(made, ALICE)).made == 0
    assert status_of(made, ALICE) is Status.HEALTHY
    assert report(made, 2, row_of(made, ALICE)).made == 1
    assert status_of(made, ALICE) is Status.FROZEN
    said = made.fold.machine.registry.discrepancies
    assert sorted(said[ALICE]) == [0, 2]
    assert said[ALICE][0].second[0] == said[ALICE][0].first[0] + 1.0
    text = made.fold.machine.registry.alarms[-1].text
    assert f"account {ALICE} the most" in text
    assert "the witness engine differs on 1 accounts" in text
    made.operate(c.ReleaseAccount(ALICE))
    assert (status_of(made, ALICE), made.fold.machine.registry.discrepancies) == (Status.RESTRICTED, {})


@pytest.mark.criterion("QRM-22")
def test_what_was_said_of_another_mark_or_engine_or_version_is_no_majority():
    made = breached()
    report(made, 0, row_of(made, ALICE))
    assert report(made, 1, row_of(made, ALICE), engine="exact").made == 0
    move_to(made, 8_590, clock=2)
    assert report(made, 1, row_of(made, ALICE)).made == 0
    made.operate(c.Deposit(ALICE, 0, 1))
    assert report(made, 2, row_of(made, ALICE)).made == 0
    assert status_of(made, ALICE) is Status.HEALTHY


@pytest.mark.criterion("QRM-22")
def test_one_word_stops_what_cannot_be_taken_back():
    made = breached()
    cast(made, 0, below(made))
    assert report(made, 1, row_of(made, POOR, (-1.0, 0.0, 0.0))).made == 0
    assert status_of(made, POOR) is Status.BREACH_PENDING
    assert report(made, 1, row_of(made, POOR, (10_000.0, 0.0, 0.0)), engine="exact").made == 1
    assert status_of(made, POOR) is Status.FROZEN
    assert made.fold.machine.registry.ballots == {}

    made = liquidating()
    assert report(made, 2, row_of(made, POOR, (10_000.0, 0.0, 0.0)), engine="exact").made == 1
    assert status_of(made, POOR) is Status.FROZEN
    stage = made.one(made.replicas[0], c.Liquidate(POOR, version_of(made, POOR), ()))
    assert stage.reason is Reason.NOT_LIQUIDATING


@pytest.mark.criterion("QRM-21")
def test_rows_that_say_nothing_are_ignored():
    made = breached()
    rows = (
        row_of(made, 2),
        row_of(made, ALICE, (0.001, 0.0, 0.0)),
        row_of(made, BOB, version=version_of(made, BOB) + 1),
        AccountDifference(999, 1, (1.0, 0.0, 0.0), (9.0, 0.0, 0.0)),
    )
    outcome = report(made, 0, *sorted(rows, key=lambda row: row.account))
    assert (outcome.reason, outcome.made, outcome.limit) == (Reason.ACCEPTED, 0, 4)
    assert made.fold.machine.registry.discrepancies == {}


@pytest.mark.criterion("QRM-21")
def test_reports_that_are_refused():
    made = breached()
    one = row_of(made, ALICE)
    assert report(made, 0, one, replica=1).reason is Reason.REPLICA_UNKNOWN
    assert report(made, 0, one, replica=9).reason is Reason.REPLICA_UNKNOWN
    assert report(made, 0, one, price_id=99).reason is Reason.VOTE_MISMATCH
    nan = AccountDifference(ALICE, 1, (1.0, 0.0, 0.0), (float("nan"), 0.0, 0.0))
    for rows, changed in (
        ((one,), {"engine": "third"}),
        ((), {}),
        ((one, one), {}),
        ((row_of(made, BOB), one), {}) if BOB > ALICE else ((one, row_of(made, BOB)), {}),
        ((one,), {"total": 0}),
        ((nan,), {}),
    ):
        assert report(made, 0, *rows, **changed).reason is Reason.VALUE_INVALID
    assert made.one(made.client, ReportDiscrepancy(0, 0, 0, "witness", 1, (one,))).reason is Reason.SESSION_ROLE


@pytest.mark.criterion("QRM-21", "STR-13")
def test_what_was_said_is_state_and_forgotten_with_its_mark():
    made = breached()
    report(made, 0, row_of(made, ALICE))
    again = fold_from(snapshot_of(made.fold))
    assert again.root() == made.fold.root()
    assert again.machine.registry.discrepancies == made.fold.machine.registry.discrepancies
    for clock in range(2, 70):
        move_to(made, 8_600 + clock, clock=clock)
    assert made.fold.time == START + 69 * 10**9
    report(made, 1, row_of(made, BOB))
    assert sorted(made.fold.machine.registry.discrepancies) == [BOB]


@pytest.mark.criterion("CMD-1")
@pytest.mark.parametrize("number", [2**63, 2**64 - 1, -(2**63)])
def test_no_number_of_a_command_is_too_large_for_its_outcome(number):
    made = breached()
    lease = made.one(made.replicas[0], c.TakeLease("decider", number, 10**9))
    assert lease.reason is Reason.REPLICA_UNKNOWN
    assert lease.limit == min(number, 2**63 - 1)
    assert report(made, 0, row_of(made, ALICE), replica=number).reason is Reason.REPLICA_UNKNOWN
    assert report(made, 0, row_of(made, ALICE), position=abs(number) - 1).limit <= 2**63 - 1
