"""What a replica decides by itself: said once for each mark, by each replica with its own key (specs/quorum.md)."""

import math

import numpy as np
import pytest
from fold_driver import BTC, CAROL, KEYS, LINEAR, POOR, SECOND, START, USD, Driver, Venue, hot
from voting import UNIT, cast, liquidating, market, move_to, name_root, reach_checkpoint, status_of, version_of

from holdfast.core import quorum
from holdfast.core.state import Status
from holdfast.domain import commands as c
from holdfast.domain import votes as v
from holdfast.domain.reasons import Reason
from holdfast.domain.signatures import public_key_of
from holdfast.margin.presets import preset
from holdfast.replica import decisions as room
from holdfast.replica.decisions import decisions, root_vote, root_votes, votes_for


def said(commands, replica=0):
    """The rows of the one vote among commands: (number, verdict, flags, version)."""
    (vote,) = [v.verify_vote(one.vote, public_key_of(KEYS[replica])) for one in commands if isinstance(one, c.CastVote)]
    return [tuple(int(row[f]) for f in ("account", "verdict", "flags", "account_version")) for row in vote.rows]


def send(made, replica, commands):
    return made.send(*((made.replicas[replica], command) for command in commands))


@pytest.mark.criterion("QRM-16", "QRM-10")
def test_replicas_of_a_cluster_vote_once_for_each_mark():
    made = market()
    assert decisions(made.fold, 0, KEYS[0]) == []
    move_to(made, 7_000)  # Beyond the wider shortfall, so that it counts without the second engine.
    first = votes_for(made.fold, 0, KEYS[0])
    assert said(first) == [(POOR, v.Verdict.BELOW, v.FLAG_WITHOUT_B, version_of(made, POOR))]
    assert first == decisions(made.fold, 0, KEYS[0]), "a decision is a function of the state"
    send(made, 0, first)
    assert decisions(made.fold, 0, KEYS[0]) == [], "its ballot is in the state"
    assert said(votes_for(made.fold, 2, KEYS[2]), 2) == said(first)
    move_to(made, 7_000, 2)
    again = votes_for(made.fold, 0, KEYS[0])
    assert said(again) == said(first), "another mark, another word"
    send(made, 0, again)
    assert send(made, 1, votes_for(made.fold, 1, KEYS[1]))[0].made == 1
    assert status_of(made, POOR) is Status.LIQUIDATING


@pytest.mark.criterion("QRM-16")
def test_a_word_is_said_again_when_it_is_no_longer_valid():
    made = market()
    made.operate(c.SetRules(mark_interval=3_600 * SECOND, mark_threshold_ppm=10**9, step_maximum=10**12))
    move_to(made, 8_600)
    send(made, 0, votes_for(made.fold, 0, KEYS[0]))
    made.operate(c.Deposit(POOR, USD, 1))
    assert said(votes_for(made.fold, 0, KEYS[0]))[0][3] == version_of(made, POOR), "the account has another version"
    send(made, 0, votes_for(made.fold, 0, KEYS[0]))
    assert votes_for(made.fold, 0, KEYS[0]) == []
    ballot_time = made.fold.time
    made.tick(ballot_time + quorum.BALLOT_LIFE)
    assert votes_for(made.fold, 0, KEYS[0]) == []
    made.tick(ballot_time + quorum.BALLOT_LIFE + 1)
    assert len(said(votes_for(made.fold, 0, KEYS[0]))) == 1


class Alone(Driver):
    """One replica, an account that can be below its maintenance margin, and withdrawals."""

    def __init__(self):
        super().__init__()
        self.operator = self.open("operator")
        self.operate(
            c.DefineAsset("USD", 6),
            c.DefineAsset("BTC", 8),
            c.DefineInstrument("BTC_USD-PERPETUAL", "0.001", 2),
            c.DefineModel("portfolio", preset("portfolio")),
            c.DefineSource("a"),
            c.DefineReplica("x", public_key_of(KEYS[0])),
        )
        self.sources, self.replicas = [self.open("source", 0)], [self.open("replica", 0)]
        self.clock, self.sequence = 0, 0
        self.mark(10_000)
        self.operate(*(c.OpenAccount(0) for _ in range(3)))
        self.operate(c.Deposit(4, USD, 10**6 * UNIT), c.Deposit(5, USD, 10**6 * UNIT), c.Deposit(6, USD, 3_000 * UNIT))

    operate, quote = Venue.operate, Venue.quote

    def mark(self, dollars):
        self.clock += 1
        assert self.one(self.replicas[0], c.Tick(0, START + self.clock * SECOND)).reason is Reason.ACCEPTED
        self.quote(BTC, dollars * 10**8)
        self.operate(c.Mark(BTC))

    def ask(self, account, amount):
        return self.one(self.operator, c.RequestWithdrawal(account, USD, amount)).made

    def decide(self):
        """Rounds until nothing is due; the rows that were said."""
        rows = []
        for _ in range(9):
            due = decisions(self.fold, 0, KEYS[0])
            if not due:
                return rows
            rows += said(due) if isinstance(due[0], c.CastVote) else []
            assert {one.reason for one in send(self, 0, due)} == {Reason.ACCEPTED}
        pytest.fail("it goes on deciding")


@pytest.mark.criterion("QRM-16", "QRM-7", "QRM-5")
def test_a_withdrawal_is_released_after_the_next_mark():
    made = Alone()
    first, second = made.ask(4, UNIT), made.ask(5, 2 * UNIT)
    assert decisions(made.fold, 0, KEYS[0]) == []
    assert made.one(made.operator, c.CancelWithdrawal(second)).reason is Reason.ACCEPTED
    made.mark(10_000)
    flags = v.FLAG_WITHDRAWAL | v.FLAG_WITHOUT_B
    assert made.decide() == [(first, v.Verdict.ABOVE, flags, 0)]
    assert made.fold.machine.registry.withdrawals == {}
    assert made.held(3, USD) == (0, 0)
    made.check_conservation()


@pytest.mark.criterion("QRM-16", "QRM-11")
def test_a_withdrawal_waits_while_its_account_lacks_margin():
    made = Alone()
    assert made.one(made.operator, c.Deposit(6, USD, 1)).reason is Reason.ACCEPTED
    number = made.ask(6, 1)
    assert made.one(made.operator, hot(c.trade, 6, 4, 2, 1_000, 1_000_000)).reason is Reason.ACCEPTED
    made.mark(9_300)
    assert status_of(made, 6) is Status.RESTRICTED
    assert made.decide() == [], "a word against it is due only where something was said for it"
    made.mark(10_000)
    assert made.decide() == [(number, v.Verdict.ABOVE, v.FLAG_WITHDRAWAL | v.FLAG_WITHOUT_B, 0)]


@pytest.mark.criterion("QRM-16")
def test_a_word_for_a_withdrawal_is_taken_back():
    made = market()
    number = made.one(made.client, c.RequestWithdrawal(POOR, USD, UNIT)).made
    move_to(made, 10_000)
    cast(made, 1, (number, 0, v.Verdict.ABOVE), withdrawal=True)
    move_to(made, 9_300, 2)
    rows = list(room._rows_of_withdrawals(made.fold, 0, None))
    assert [(int(row[0]), int(row[1])) for row in rows] == [(number, v.Verdict.BAND)]
    assert votes_for(made.fold, 0, KEYS[0]) == [], "but several replicas say nothing without a second engine"


@pytest.mark.criterion("QRM-16")
def test_accounts_come_first_and_a_vote_is_bounded(monkeypatch):
    made = Alone()
    monkeypatch.setattr(room, "ROWS_MAXIMUM", 3)
    assert made.one(made.operator, hot(c.trade, 6, 4, 2, 1_000, 1_000_000)).reason is Reason.ACCEPTED
    numbers = [made.ask(4, UNIT) for _ in range(4)]
    made.mark(8_600)
    due = votes_for(made.fold, 0, KEYS[0])
    assert [row[0] for row in said(due)] == [6, *numbers[:2]]
    assert [row[0] for row in made.decide()] == [6, *numbers]
    assert status_of(made, 6) is Status.LIQUIDATING


@pytest.mark.criterion("QRM-16")
def test_figures_that_no_vote_can_carry_are_left_out(monkeypatch):
    made = market()
    move_to(made, 8_600)
    monkeypatch.setattr(room, "totals_on", lambda *_: (-math.inf, 0.0, 1.0))
    assert votes_for(made.fold, 0, KEYS[0]) == []


@pytest.mark.criterion("QRM-15", "RPL-15")
def test_no_stage_is_planned_while_roots_differ():
    made = liquidating()
    made.order(CAROL, LINEAR, 2_000, 860_000)
    (stage,) = decisions(made.fold, 1, KEYS[1])
    assert isinstance(stage, c.Liquidate)
    made.operate(c.SetRules(checkpoint_frames=4))
    place = reach_checkpoint(made)
    name_root(made, 0, bytes(32), place)
    assert decisions(made.fold, 1, KEYS[1]) == [stage]
    name_root(made, 1, bytes([1]) * 32, place)
    assert decisions(made.fold, 1, KEYS[1]) == []


@pytest.mark.criterion("QRM-12", "QRM-13")
def test_replicas_name_the_roots_that_they_took():
    made = market()
    made.operate(c.SetRules(checkpoint_frames=4))
    reach_checkpoint(made)
    taken = made.fold.checkpoints[-1]
    (vote,) = root_votes(made.fold, 1, KEYS[1])
    assert vote == root_vote(made.fold, 1, KEYS[1], taken)
    read = v.verify_vote(vote.vote, public_key_of(KEYS[1]))
    assert (read.position, read.chain_hash, read.state_root) == tuple(taken)
    assert (len(read.rows), read.logic_version) == (0, 1)
    assert send(made, 1, [vote])[0].made == 0
    assert root_votes(made.fold, 1, KEYS[1]) == []
    assert send(made, 2, root_votes(made.fold, 2, KEYS[2]))[0].made == 1
    assert made.fold.machine.registry.certified[-1].root == taken.root
    made.fold.checkpoints = [taken._replace(chain=bytes(32))]
    assert root_votes(made.fold, 0, KEYS[0]) == [], "of another history"


@pytest.mark.criterion("QRM-14", "QRM-16")
def test_a_suspended_replica_says_nothing():
    made = liquidating()
    move_to(made, 8_600, 2)
    made.operate(c.SetRules(checkpoint_frames=4))
    place = reach_checkpoint(made)
    for replica in range(3):
        name_root(made, replica, bytes([replica == 1]) * 32, place)
    made.order(CAROL, LINEAR, 2_000, 860_000)
    reach_checkpoint(made)
    assert room.is_suspended(made.fold, 1)
    assert not room.is_suspended(made.fold, 3)
    assert decisions(made.fold, 1, KEYS[1]) == root_votes(made.fold, 1, KEYS[1]) == []
    assert decisions(made.fold, 0, KEYS[0]) != []
    assert root_votes(made.fold, 0, KEYS[0]) != []


def test_rows_are_of_the_type_of_votes():
    found = room.Finding(9, 1, (1.5, 2.0, 2.5), (-0.0, 3.0, 3.5))
    row = np.array([room._row(7, v.Verdict.BAND, 3, 9, found)], v.ROW)[0]
    assert [row[name].item() for name in v.ROW.names] == [7, 3, 3, 0, 9, 1.5, 2.5, 0.0, 3.5, 0, 0]
    assert not np.signbit(row["b_equity"])
