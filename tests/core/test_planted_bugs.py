"""Bugs planted on purpose: each must be noticed by the pair of fold and model, and nothing may be without them.

A bug is planted from outside: a class derived from Fold that changes what the fold is given, or the state after it.
So nothing is compiled anew. All go through one scenario, a day at the venue, on which the pair agrees.
"""

from unittest import mock

import numpy as np
import pytest
from fold_driver import ALICE, BOB, BTC, CAROL, FEES, INDEX, INVERSE, LINEAR, POOR, SECOND, USD, WITHDRAWALS, hot
from stateful_model import WORLD, Disagreement
from test_stateful import beginning, new_pair, send

from holdfast.core import machine as machines
from holdfast.core.fold import Fold
from holdfast.core.liquidation.lifecycle import MOVES, Zone
from holdfast.core.sessions import find_session
from holdfast.core.state import NONE, SYSTEM_ACCOUNTS, Account, Open, Price, Quote, Session, Status
from holdfast.domain import commands as c
from holdfast.domain.frames import RecordKind, chain_hash, decode_frame, encode_frame
from holdfast.domain.reasons import Reason
from holdfast.log.memory import MemoryLog
from holdfast.replica.embedded import EmbeddedEngine
from holdfast.stress.replay import journal


class Planted(Fold):
    """A fold whose frames are `rewritten` before they are applied and whose state is `spoilt` after."""

    def apply(self, data):
        frame, chain = decode_frame(data), self.chain
        records = frame.records.copy()
        for record in records:
            slot = int(find_session(self.machine.state, int(record["session"])))
            if slot != NONE:
                self.rewritten(record, int(self.machine.state.sessions[slot, Session.NEXT]))
        applied = super().apply(encode_frame(frame.gateway, frame.frame_number, records, bytes(frame.blob)))
        self.chain = chain_hash(chain, data)
        for record, outcome in zip(records, applied.outcomes, strict=True):
            if not outcome["repeated"]:
                self.spoilt(record, outcome)
        self.spoilt_after_all(chain)
        return applied

    def rewritten(self, record, expected):
        """Change a record, whose session expects such a number, in place."""

    def spoilt(self, record, outcome):
        """Change the state after a command."""

    def spoilt_after_all(self, chain):
        """Change the state after a frame; `chain` is H before it."""

    def row(self, account, item):
        """Amount and cost of a row, to be changed in place; zeros where there is none."""
        state = self.machine.state
        start, count = (int(n) for n in state.accounts[account, [Account.START, Account.COUNT]])
        for k in range(start, start + count):
            if state.row_item[k] == item:
                return state.ledger[k]
        return np.zeros(2, np.int64)


class DropsTheFeesLeg(Planted):
    """The collected fees are forgotten."""

    def spoilt(self, record, outcome):
        if record["kind"] == RecordKind.TRADE and outcome["reason"] == 0:
            self.row(FEES, BTC)[0] = 1


class FlipsACost(Planted):
    """The buyer's cost has the wrong sign."""

    def spoilt(self, record, outcome):
        if record["kind"] == RecordKind.TRADE and outcome["reason"] == 0:
            self.row(int(record["account"]), int(record["instrument"]))[1] *= -1


class RoundsAFeeDown(Planted):
    """The buyer pays a unit less where the fee is no whole number; FEES gets it less, so that nothing is lost."""

    def spoilt(self, record, outcome):
        if record["kind"] == RecordKind.TRADE and outcome["reason"] == 0 and record["instrument"] == INVERSE:
            self.row(int(record["account"]), BTC)[0] += 1
            self.row(FEES, BTC)[0] -= 1


class TakesEqualityAsBelow(Planted):
    """Equity equal to maintenance margin counts as below it."""

    def spoilt_after_all(self, chain):
        state = self.machine.state
        for account in range(SYSTEM_ACCOUNTS, 8):
            equity, _, maintenance = state.figures[account]
            if equity == maintenance != 0.0:
                state.accounts[account, Account.STATUS] = Status.BREACH_PENDING


class TakesAnOldQuote(Planted):
    """A quote whose sequence does not grow is taken."""

    def rewritten(self, record, expected):
        if record["kind"] == RecordKind.QUOTE:
            last = self.machine.state.quotes[record["instrument"], :, Quote.SEQUENCE].max()
            record["quantity"] = max(int(record["quantity"]), int(last) + 1)


class TakesAGap(Planted):
    """A number ahead of the next is taken as the next."""

    def rewritten(self, record, expected):
        record["number"] = min(int(record["number"]), expected)


class AppliesARepeat(Planted):
    """A number that was used is taken as the next."""

    def rewritten(self, record, expected):
        if 0 < record["number"] < expected:
            record["number"] = expected


class ForgetsWhatWasFilled(Planted):
    """A fill leaves its order as it was."""

    def spoilt(self, record, outcome):
        if record["kind"] == RecordKind.FILL and outcome["reason"] == 0:
            orders = self.machine.state.orders
            orders[(orders[:, Open.REMAINING] > 0), Open.REMAINING] += record["quantity"]


class ForgetsAVersion(Planted):
    """A trade leaves the buyer's version as it was, so that an old plan still fits."""

    def spoilt(self, record, outcome):
        if record["kind"] == RecordKind.TRADE and outcome["reason"] == 0:
            self.machine.state.accounts[record["account"], Account.VERSION] -= 1


class KeepsTheNumberOfARefusal(Planted):
    """A refused command does not use up its number, so that its repeat would be executed."""

    def spoilt(self, record, outcome):
        if outcome["reason"] >= Reason.ACCOUNT_UNKNOWN:
            slot = find_session(self.machine.state, int(record["session"]))
            self.machine.state.sessions[slot, Session.NEXT] -= 1


class ForgetsAnOutcome(Planted):
    """A kept outcome is lost, so that a repeat is told something else."""

    def spoilt_after_all(self, chain):
        self.machine.state.kept["reason"] = 0
        self.machine.state.kept["equity"] = 0


class TakesTheUpperMedian(Planted):
    """Of two quotes the higher is the price."""

    def spoilt(self, record, outcome):
        if record["kind"] == RecordKind.QUOTE and outcome["reason"] == 0:
            state, item = self.machine.state, int(record["instrument"])
            found = np.sort(state.quotes[item, :, Quote.PRICE][state.quotes[item, :, Quote.PRICE] > 0])
            state.prices[item, Price.CURRENT] = found[len(found) // 2]


class ReleasesAtOnce(Planted):
    """A withdrawal leaves to the world without a quorum."""

    def spoilt_after_all(self, chain):
        reserve = self.row(WITHDRAWALS, USD)
        self.row(WORLD, USD)[0] += reserve[0]
        reserve[0] = 0


class SkipsTheChain(Planted):
    """A frame is not in the hash chain."""

    def spoilt_after_all(self, chain):
        self.chain = chain


class ForgetsWhatChanged(Planted):
    """The root does not see that an account changed."""

    def spoilt_after_all(self, chain):
        self.machine.state.accounts[:, Account.DIRTY] = 0


PLANTED = (
    DropsTheFeesLeg, FlipsACost, RoundsAFeeDown, TakesEqualityAsBelow, TakesAnOldQuote, TakesAGap, AppliesARepeat,
    ForgetsWhatWasFilled, ForgetsAVersion, KeepsTheNumberOfARefusal, ForgetsAnOutcome, TakesTheUpperMedian,
    ReleasesAtOnce, SkipsTheChain, ForgetsWhatChanged,
)  # fmt: skip


def a_day(pair):
    """Trades, orders, repeats, quotes, money and a crash, after each of which fold and model are compared."""
    v = pair.driver

    def one(session, command, number=None):
        return send(pair, (session, number, command))[0]

    trade = hot(c.trade, ALICE, BOB, INVERSE, 7, 912_345)
    one(v.client, trade)
    number = pair.model.sessions[v.client].next - 1
    one(v.client, trade, number)
    one(v.client, trade, number + 2)
    one(v.client, hot(c.transfer, ALICE, BOB, USD, 10**15))
    one(v.client, hot(c.transfer, ALICE, BOB, USD, 10**15), number + 1)
    one(v.client, hot(c.trade, BOB, ALICE, INVERSE, 7, 954_321))
    order = one(v.client, hot(c.order, ALICE, LINEAR, 20, 1_000_000))["made"]
    one(v.client, hot(c.fill, ALICE, BOB, LINEAR, 9, 999_900, buy_order=int(order)))
    now = pair.model.time
    one(v.sources[1], hot(c.quote, BTC, INDEX + 10**9, now, 10))
    one(v.sources[1], hot(c.quote, BTC, INDEX + 2 * 10**9, now, 10))
    withdrawn = one(v.client, c.RequestWithdrawal(ALICE, USD, 10**6))["made"]
    one(v.client, c.CancelWithdrawal(int(withdrawn)))
    one(v.operator, c.Funding(LINEAR, 12_345))
    a_crash(pair, one)
    pair.check_replay(Fold())


FALLEN = 8_000 * 10**8


def a_crash(pair, one):
    """The index falls by a fifth: Carol lands on maintenance margin to the unit, and one without money below it."""
    v = pair.driver
    one(v.client, hot(c.transfer, ALICE, POOR, USD, 4_000 * 10**6))
    one(v.client, hot(c.trade, CAROL, BOB, LINEAR, 1_000, 1_000_000))
    one(v.client, hot(c.trade, POOR, BOB, LINEAR, 1_000, 1_000_000))
    then = pair.model.copy()
    then.frozen[BTC] = FALLEN
    then.renew_tables()
    equity, _, maintenance = then.margins(CAROL)
    one(v.client, c.RequestWithdrawal(CAROL, USD, round((equity - maintenance) * 10**6)))
    one(v.client, c.RequestWithdrawal(POOR, USD, 700 * 10**6))
    for n, source in enumerate(v.sources):
        one(source, hot(c.quote, BTC, FALLEN, pair.model.time, 10**4 + n))
    one(v.replicas[0], c.Tick(0, pair.model.time + SECOND))


@pytest.mark.criterion("LIQ-1")
def test_a_day_without_bugs():
    pair = new_pair()
    a_day(pair)
    equity, _, maintenance = pair.model.margins(CAROL)
    assert equity == maintenance
    assert pair.model.accounts[CAROL].status == Status.RESTRICTED
    assert pair.model.accounts[POOR].status == Status.BREACH_PENDING


@pytest.mark.parametrize("bug", PLANTED, ids=lambda bug: bug.__name__)
def test_a_planted_bug_is_noticed(bug):
    with pytest.raises(Disagreement):
        a_day(new_pair(bug))


def test_a_breach_that_is_overlooked_is_noticed():
    moves = MOVES.copy()
    moves[:, Zone.BELOW] = moves[:, Zone.THIN]
    with mock.patch.object(machines, "MOVES", moves), pytest.raises(Disagreement, match="account 7"):
        a_day(new_pair())


class AnswersFirst(EmbeddedEngine):
    """An engine that answers before its log has the frames; it would append them a little later."""

    def submit(self, frames, *, trusted=False):
        return [self._apply(frame) for frame in frames]


def told_and_found(engine_type):
    """What the comparison of a client's journal with the log finds, after an engine that died."""
    venue, frames, _ = beginning()
    log, entries = MemoryLog(), []
    with mock.patch.object(log, "close"):
        EmbeddedEngine(log).submit(frames)
        engine = engine_type(log)
        number = int(venue.session_row(venue.client)[Session.NEXT])
        for n in range(3):
            records = c.transfer(venue.client, number + n, ALICE, BOB, USD, 1 + n)
            keys = journal.hot_entries(records)
            applied = engine.submit([encode_frame(0, engine.next_frame, records, b"")])[0]
            for kind in (journal.SENT, journal.ACKNOWLEDGED):
                entry = keys.copy()
                entry["kind"] = kind
                entry["reason"], entry["command"] = applied.outcomes["reason"], applied.outcomes["command"]
                entries.append(entry)
        del engine
    return journal.compare(np.concatenate(entries), executed(log, venue.client))


def executed(log, session):
    """Every first execution of a session's hot commands in a log."""
    fold, rows = Fold(), []
    for _, data in log.read(0):
        records, outcomes = decode_frame(data).records, fold.apply(data).outcomes
        for n, outcome in enumerate(outcomes):
            if records[n]["session"] == session and records[n]["kind"] and not outcome["repeated"]:
                key = journal.hot_entries(records[n : n + 1])[0]
                said = outcome["reason"], outcome["command"]
                rows.append((key["session"], key["number"], key["digest"], *said))
    return np.array(rows, journal.EXECUTED)


def test_an_answer_before_the_commit_is_noticed():
    assert told_and_found(EmbeddedEngine) == (3, 0, 0, 0)
    assert told_and_found(AnswersFirst).lost == 3
