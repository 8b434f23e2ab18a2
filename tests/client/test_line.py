"""The write line step by step: numbers, rounds, refusals, sessions, as specs/client.md says."""

import numpy as np
import pytest
from small_world import commands

from holdfast.client.batches import Group
from holdfast.client.contents import BATCH_LENGTH, NamedContent, RecordsContent, cold_content, contents_of
from holdfast.client.protocol import WriteLine
from holdfast.client.results import QUEUE_LENGTH_MAXIMUM, Done, Failed, Fate, Probe, Send, Session, Settings
from holdfast.domain.commands import Deposit, OpenSession, decode_cold
from holdfast.domain.errors import InputError
from holdfast.domain.frames import RecordKind
from holdfast.domain.messages import (
    Busy,
    Found,
    Refused,
    Told,
    WriteNamed,
    Written,
    batch_of,
    decode_request,
    written_of,
)
from holdfast.domain.outcomes import OUTCOME
from holdfast.domain.reasons import Reason

SESSION = 81_923
REFUSED = Refused("malformed", "records", "cannot be used", "send something else")
ELSEWHERE = Refused("elsewhere", "replica", "halted", "ask another")


class Driver:
    """A line, and what it sends, by number of the first command."""

    def __init__(self, *, session=SESSION, replicas=("a", "b", "c"), **settings):
        given = None if session is None else Session(session)
        self.line = WriteLine(replicas, OpenSession("client"), Settings(**settings), session=given)
        self.now = 0.0
        self.probes = []

    def offer(self, *identities, group=None, named=False):
        content = NamedContent([b"{}"] * len(identities)) if named else RecordsContent(commands(identities))
        self.line.offer(content, identities, self.now, group)

    def turn(self, seconds=0.0):
        """Let time go on; what is sent then."""
        self.now += seconds
        sends = []
        for action in self.line.turn(self.now):
            if isinstance(action, Probe):
                self.probes.append(action.replica)
            else:
                sends.append(action)
        return sends

    def say(self, send, reply):
        self.line.replied(send.attempt, reply, self.now)

    def done(self, send):
        """Answer a request as a log would that takes all of it."""
        records = batch_of(decode_request(send.payload)).records
        rows = np.zeros(len(records), OUTCOME)
        rows["made"] = records["quantity"]
        self.say(send, written_of(3, rows, {}, (), every=True))

    def gap(self, send, expected):
        records = batch_of(decode_request(send.payload)).records
        rows = np.zeros(len(records), OUTCOME)
        rows["reason"], rows["limit"] = Reason.SESSION_GAP, expected
        self.say(send, written_of(3, rows, {}, (), every=True))

    def reasons(self, send, *reasons, made=0, repeated=0):
        rows = np.zeros(len(reasons), OUTCOME)
        rows["reason"], rows["made"], rows["repeated"] = reasons, made, repeated
        self.say(send, written_of(3, rows, {0: "why"}, (), every=True))

    def results(self):
        """By the identities of the batch: fate, or the outcomes' reasons and what they made."""
        found = {}
        for result in self.line.results():
            batch = result.batch
            if isinstance(result, Failed):
                found[batch.token] = result.fate
            else:
                assert isinstance(result, Done)
                found[batch.token] = [(int(o["reason"]), int(o["made"])) for o in batch.outcomes]
        return found


def numbers(send):
    records = batch_of(decode_request(send.payload)).records
    return records["session"].tolist(), records["number"].tolist(), records["kind"].tolist()


def first(send):
    return numbers(send)[1][0]


@pytest.mark.criterion("CLI-5", "CLI-12")
def test_commands_are_numbered_one_after_the_other_and_sent_in_order():
    one = Driver()
    one.offer(1, 2)
    one.offer(3)
    sends = one.turn()
    assert [numbers(send)[1] for send in sends] == [[1, 2], [3]]
    assert [send.replica for send in sends] == ["a", "a"]
    assert one.line.session == Session(SESSION, 4)
    for send in sends:
        one.done(send)
    assert one.results() == {(1, 2): [(0, 1), (0, 2)], (3,): [(0, 3)]}
    assert one.line.is_idle
    assert one.line.position == 3


def test_a_session_is_opened_when_it_is_needed():
    one = Driver(session=None)
    assert one.turn() == []
    one.offer(1)
    (opening,) = one.turn()
    batch = batch_of(decode_request(opening.payload))
    assert decode_cold(batch.blob) == OpenSession("client")
    assert numbers(opening)[:2] == ([0], [0])
    (again,) = one.turn(0.5)
    assert (again.replica, again.path, again.payload) == ("b", 1, opening.payload)
    one.reasons(opening, Reason.ACCEPTED, made=77)
    (send,) = one.turn()
    assert numbers(send)[:2] == ([77], [1])
    # The second opening was taken too: that session is not used.
    one.reasons(again, Reason.ACCEPTED, made=99)
    assert one.line.session == Session(77, 2)


@pytest.mark.parametrize("named", [False, True])
def test_a_session_that_cannot_be_opened_refuses_what_waits_for_it(named):
    one = Driver(session=None)
    one.offer(1)
    (opening,) = one.turn()
    if named:
        one.say(opening, REFUSED)
    else:
        one.reasons(opening, Reason.SOURCE_UNKNOWN)
    assert one.results() == {(1,): Fate.REFUSED}
    one.offer(2)
    assert len(one.turn()) == 1


def test_an_opening_ends_when_nothing_waits_for_it_any_more():
    one = Driver(session=None, timeout_s=1.0)
    one.offer(1)
    one.turn()
    one.turn(2.0)
    assert one.results() == {(1,): Fate.UNREACHABLE}
    assert one.line.is_idle
    one.line.open(one.now)
    assert len(one.turn()) == 1
    one.line.open(one.now)
    assert not one.line.is_idle
    one.turn(2.0)
    assert one.line.is_idle


@pytest.mark.criterion("CLI-7")
def test_silence_of_0_4_s_moves_everything_to_the_next_replica():
    one = Driver()
    one.offer(1)
    one.offer(2)
    before = one.turn()
    assert one.turn(0.199) == []
    assert one.line.next_at(one.now) == 0.2
    assert one.turn(0.001) == []
    assert one.probes == ["a"]
    assert one.line.next_at(one.now) == 0.4
    after = one.turn(0.2)
    assert [(send.replica, send.path) for send in after] == [("b", 1), ("b", 1)]
    assert [send.payload for send in after] == [send.payload for send in before]
    assert [send.replica for send in one.turn(0.4)] == ["c", "c"]
    # All were tried in vain: now each gets twice the time.
    assert [send.replica for send in one.turn(0.4)] == ["a", "a"]
    assert one.turn(0.7) == []
    assert [send.replica for send in one.turn(0.11)] == ["b", "b"]
    one.done(before[1])
    one.done(before[0])
    assert set(one.results()) == {(1,), (2,)}


@pytest.mark.criterion("CLI-7")
def test_a_silent_replica_that_serves_gets_2_s_and_one_that_does_not_gets_no_more():
    one = Driver()
    one.offer(1)
    one.turn()
    one.turn(0.2)
    one.line.probed("a", one.now, serving=True)
    assert one.turn(1.79) == []
    assert [send.replica for send in one.turn(0.02)] == ["b"]
    one.turn(0.2)
    one.line.probed("b", one.now, serving=False)
    assert [send.replica for send in one.turn()] == ["c"]
    alone = Driver(replicas=("a",))
    alone.offer(1)
    alone.turn()
    assert alone.turn(1.9) == []
    assert alone.probes == []
    assert [send.path for send in alone.turn(0.2)] == [1]


@pytest.mark.criterion("CLI-7", "CLI-3")
def test_what_reached_nobody_is_sent_on_at_once_and_is_certain():
    one = Driver(timeout_s=1.0)
    one.offer(1)
    for replica in ("a", "b", "c"):
        (send,) = one.turn()
        assert send.replica == replica
        one.line.unsent(send.attempt, one.now)
    assert one.turn() == []  # All were tried: a pause.
    assert one.turn(0.04) == []
    for _ in range(100):
        for send in one.turn(0.01):
            one.line.unsent(send.attempt, one.now)
    assert one.results() == {(1,): Fate.UNREACHABLE}
    # Its number is given to the next command.
    one.offer(2)
    assert [first(send) for send in one.turn()] == [1]


@pytest.mark.criterion("CLI-7")
def test_elsewhere_and_a_broken_connection_move_on_at_once():
    one = Driver()
    one.offer(1)
    (send,) = one.turn()
    one.say(send, ELSEWHERE)
    (send,) = one.turn()
    assert (send.replica, send.path) == ("b", 1)
    one.line.lost(send.attempt, one.now)
    (again,) = one.turn()
    assert (again.replica, again.path) == ("b", 0)
    one.done(send)  # An answer counts although its request was given up.
    assert one.results() == {(1,): [(0, 1)]}
    one.done(again)
    assert one.results() == {}


def test_an_answer_about_something_else_proves_nothing():
    one = Driver(timeout_s=1.0)
    one.offer(1)
    (send,) = one.turn()
    one.say(send, Found({}, 1, 1))
    (send,) = one.turn()
    assert send.replica == "b"
    one.say(send, Written(1, 2, bytes(128)))
    (send,) = one.turn()
    assert send.replica == "c"
    one.say(send, Told(1, ({"reason": "ACCEPTED"},)))
    one.turn(1.1)
    assert one.results() == {(1,): Fate.UNKNOWN}


@pytest.mark.criterion("CLI-8")
def test_busy_goes_to_the_next_and_waits_only_when_all_are():
    one = Driver()
    one.offer(1)
    one.offer(2)
    sends = one.turn()
    one.say(sends[0], Busy(300))
    one.gap(sends[1], 1)
    sends = one.turn()
    assert [(send.replica, first(send)) for send in sends] == [("b", 1), ("b", 2)]
    one.say(sends[0], Busy(50))
    sends = one.turn()
    assert [send.replica for send in sends] == ["c", "c"]
    one.say(sends[0], Busy(500))
    assert one.turn(0.04) == []
    assert [(send.replica, first(send)) for send in one.turn(0.02)] == [("b", 1), ("b", 2)]


@pytest.mark.criterion("CLI-7")
def test_the_preferred_replica_is_returned_to_when_it_serves():
    one = Driver()
    one.offer(1)
    (send,) = one.turn()
    one.say(send, ELSEWHERE)
    (send,) = one.turn()
    one.done(send)
    one.offer(2)
    (send,) = one.turn(1.0)
    one.done(send)
    assert one.probes == []
    one.offer(3)
    (send,) = one.turn(1.1)
    assert (send.replica, one.probes) == ("b", ["a"])
    one.line.probed("a", one.now, serving=True)
    one.offer(4)
    assert one.turn() == []  # First what is on its way is finished.
    one.done(send)
    (send,) = one.turn()
    assert (send.replica, first(send)) == ("a", 4)


@pytest.mark.criterion("CLI-4")
def test_a_refused_command_gives_its_number_back_when_all_is_certain():
    one = Driver()
    one.offer(5)
    one.offer(6)
    sends = one.turn()
    one.gap(sends[1], 1)
    one.say(sends[0], REFUSED)
    assert one.results() == {(5,): Fate.REFUSED}
    # The gap showed that 6 did nothing: it may get another number.
    (send,) = one.turn(0.01)
    assert numbers(send) == ([SESSION], [1], [RecordKind.TRADE])
    one.done(send)
    assert one.results() == {(6,): [(0, 6)]}


@pytest.mark.criterion("CLI-4", "CLI-3")
def test_a_refused_command_is_plugged_when_something_behind_it_is_open():
    one = Driver()
    one.offer(5)
    one.offer(6)
    sends = one.turn()
    one.say(sends[0], REFUSED)
    assert one.results() == {}
    plug, again = one.turn()
    assert numbers(plug) == ([SESSION], [1], [RecordKind.COLD])
    assert batch_of(decode_request(plug.payload)).blob == b"\xc1"
    assert again.payload == sends[1].payload
    one.reasons(plug, Reason.MALFORMED)
    one.done(again)
    assert one.results() == {(5,): Fate.REFUSED, (6,): [(0, 6)]}
    assert one.line.session == Session(SESSION, 3)


@pytest.mark.criterion("CLI-4")
def test_a_plug_shows_whether_an_earlier_request_was_done_after_all():
    for reason, repeated, expected in (
        (Reason.ACCEPTED, 1, [(0, 5)]),
        (Reason.BALANCE, 1, [(Reason.BALANCE, 5)]),
        (Reason.MALFORMED, 1, Fate.REFUSED),
        (Reason.ALREADY_APPLIED, 1, Fate.UNKNOWN),
    ):
        one = Driver()
        one.offer(5)
        one.turn()
        (send,) = one.turn(0.5)
        one.say(send, REFUSED)
        (plug,) = one.turn()
        one.reasons(plug, reason, made=5, repeated=repeated)
        assert one.results() == {(5,): expected}
        assert one.line.session == Session(SESSION, 2)


@pytest.mark.criterion("CLI-4")
def test_a_plug_may_come_behind_a_part_of_the_commands():
    one = Driver()
    one.offer(5, 6)
    one.turn()
    (send,) = one.turn(0.5)
    one.say(send, REFUSED)
    (plug,) = one.turn()
    one.reasons(plug, Reason.ACCEPTED, Reason.MALFORMED, made=5)
    assert one.results() == {(5, 6): [(0, 5), (Reason.MALFORMED, 0)]}


@pytest.mark.criterion("CLI-4", "CLI-5")
def test_a_plug_that_is_refused_ends_the_session():
    one = Driver()
    one.offer(5)
    one.offer(6)
    sends = one.turn()
    one.say(sends[0], REFUSED)
    plug, again = one.turn()
    one.say(plug, REFUSED)
    # 5 was refused for certain; whether 6 is on its way nobody knows.
    assert one.results() == {(5,): Fate.REFUSED, (6,): Fate.UNKNOWN}
    assert one.line.session is None
    one.done(again)
    assert one.results() == {}


@pytest.mark.criterion("MSG-10", "CLI-2")
def test_a_gap_is_no_answer_but_sends_everything_again():
    one = Driver()
    one.offer(1)
    one.offer(2)
    sends = one.turn()
    one.gap(sends[1], 1)
    assert one.results() == {}
    assert one.turn(0.005) == []
    again = one.turn(0.01)
    assert [(send.replica, first(send)) for send in again] == [("a", 1), ("a", 2)]
    one.gap(again[1], 1)
    third = one.turn(0.03)
    one.gap(third[1], 1)
    assert [send.replica for send in one.turn()] == ["b", "b"]


@pytest.mark.criterion("CLI-1")
def test_each_command_of_a_batch_is_settled_by_itself():
    one = Driver()
    one.offer(1, 2)
    (send,) = one.turn()
    (again,) = one.turn(0.5)
    one.reasons(send, Reason.SESSION_GAP, Reason.ACCEPTED, made=2)
    one.reasons(again, Reason.BALANCE, Reason.ALREADY_APPLIED, made=7, repeated=1)
    assert one.results() == {(1, 2): [(Reason.BALANCE, 7), (0, 2)]}


@pytest.mark.criterion("CLI-1")
def test_done_without_a_kept_outcome_is_said():
    one = Driver()
    one.offer(1)
    one.turn()
    (send,) = one.turn(0.5)
    one.reasons(send, Reason.ALREADY_APPLIED, repeated=1)
    assert one.results() == {(1,): [(Reason.ALREADY_APPLIED, 0)]}


@pytest.mark.criterion("CLI-5")
def test_a_log_that_expects_an_earlier_number_is_not_written_to():
    one = Driver()
    one.line.resume(Session(SESSION, 9))
    one.offer(1)
    one.offer(2)
    sends = one.turn()
    one.gap(sends[0], 7)
    found = {result.batch.token: result for result in one.line.results()}
    assert found[1,].fate is Fate.REFUSED
    assert found[1,].refused.code == "session-gap"
    assert "expects number 7 of session 81923, not 9" in found[1,].refused.problem
    assert found[2,].fate is Fate.UNKNOWN
    assert one.line.session is None
    assert one.line.is_idle


@pytest.mark.criterion("CLI-5", "CLI-3")
def test_what_an_evicted_session_certainly_did_not_do_gets_another_one():
    one = Driver()
    one.offer(1)
    one.offer(2)
    one.offer(3)
    sends = one.turn()
    one.reasons(sends[0], Reason.SESSION_UNKNOWN)
    assert one.turn() == []  # The others are waited for.
    one.reasons(sends[1], Reason.SESSION_UNKNOWN)
    one.reasons(sends[2], Reason.SESSION_UNKNOWN)
    (opening,) = one.turn()
    assert one.results() == {}
    one.reasons(opening, Reason.ACCEPTED, made=77)
    assert [numbers(send)[:2] for send in one.turn()] == [([77], [1]), ([77], [2]), ([77], [3])]


@pytest.mark.criterion("CLI-5", "CLI-3")
def test_what_an_evicted_session_may_have_done_is_unknown():
    one = Driver()
    one.offer(1)
    one.offer(2, 3)
    one.turn()
    one.turn(0.5)
    sends = one.turn(0.5)
    one.reasons(sends[0], Reason.SESSION_UNKNOWN)
    assert one.turn(0.5) == []
    one.turn()
    assert one.results() == {(1,): Fate.UNKNOWN, (2, 3): Fate.UNKNOWN}
    two = Driver()
    two.offer(1, 2)
    (send,) = two.turn()
    two.reasons(send, Reason.ACCEPTED, Reason.SESSION_UNKNOWN, made=1)
    two.turn()
    assert two.results() == {(1, 2): [(0, 1), (Reason.SESSION_UNKNOWN, 0)]}


@pytest.mark.criterion("CLI-3", "CLI-5")
def test_time_over_is_unknown_and_what_was_not_sent_goes_on_in_another_session():
    one = Driver(timeout_s=1.0, window_count=2)
    one.offer(1)
    one.offer(2)
    one.turn()
    one.turn(0.6)
    one.offer(3)
    (opening,) = one.turn(0.5)
    assert one.results() == {(1,): Fate.UNKNOWN, (2,): Fate.UNKNOWN}
    one.reasons(opening, Reason.ACCEPTED, made=77)
    (send,) = one.turn()
    assert numbers(send)[:2] == ([77], [1])


@pytest.mark.criterion("CLI-3")
def test_time_over_among_busy_replicas_is_certain():
    one = Driver(timeout_s=1.0)
    one.offer(1)
    for _ in range(60):
        for send in one.turn(0.02):
            one.say(send, Busy(10, "full"))
    (result,) = one.line.results()
    assert (result.fate, result.problem, result.retry_after_s) == (Fate.BUSY, "full", 0.01)
    assert one.line.session == Session(SESSION, 1)


def test_numbers_that_were_written_down_are_not_changed():
    one = Driver(moves=False)
    one.offer(5)
    one.offer(6)
    sends = one.turn()
    one.gap(sends[1], 1)
    one.say(sends[0], REFUSED)
    assert one.results() == {(5,): Fate.REFUSED, (6,): Fate.BUSY}


@pytest.mark.criterion("CLI-12")
def test_behind_a_failed_part_the_rest_of_a_submission_is_not_sent():
    one = Driver(window_count=1)
    group = Group()
    one.offer(1, group=group)
    one.offer(2, group=group)
    one.offer(3)
    (send,) = one.turn()
    one.say(send, REFUSED)
    (send,) = one.turn()
    assert one.results() == {(1,): Fate.REFUSED, (2,): Fate.DROPPED}
    assert first(send) == 1
    two = Driver()
    group = Group()
    two.offer(1, group=group)
    two.offer(2, group=group)
    sends = two.turn()
    two.gap(sends[1], 1)
    two.say(sends[0], REFUSED)
    assert two.results() == {(1,): Fate.REFUSED, (2,): Fate.DROPPED}


@pytest.mark.criterion("CLI-12")
def test_the_window_is_bounded_in_batches_and_bytes():
    one = Driver()
    for identity in range(1, 100):
        one.offer(identity)
    assert len(one.turn()) == 64
    two = Driver()
    for _ in range(6):
        two.offer(*range(1, 4_096))
    sends = two.turn()
    assert len(sends) == 4
    assert 4 * BATCH_LENGTH <= 1_048_576 < 5 * BATCH_LENGTH
    two.done(sends[0])
    assert len(two.turn()) == 1
    assert QUEUE_LENGTH_MAXIMUM == 64 << 20
    assert two.line.has_room(60 << 20)
    assert not two.line.has_room(64 << 20)


@pytest.mark.criterion("CLI-12", "MSG-3")
def test_records_are_cut_and_their_blobs_with_them():
    trades = commands(np.arange(8_200))
    assert [content.count for content in contents_of(trades, b"", every=True)] == [4_095, 4_095, 10]
    long = [Deposit(1, 2, n) for n in range(3)]
    records, blob = cold_content(long)
    mixed = np.concatenate([commands(np.arange(4_094)), records, commands([7])])
    parts = contents_of(mixed, blob, every=False)
    assert [part.count for part in parts] == [4_094, 4] or [part.count for part in parts] == [4_095, 3]
    found = []
    for part in parts:
        batch = batch_of(decode_request(part.payload(9, 5, -1)))
        cold = batch.records[batch.records["kind"] == RecordKind.COLD]
        found += [decode_cold(batch.blob[r["blob_offset"] : r["blob_offset"] + r["blob_length"]]) for r in cold]
        assert batch.records["number"].tolist() == list(range(5, 5 + part.count))
        assert set(batch.records["session"].tolist()) == {9}
    assert found == long
    with pytest.raises(InputError, match="one command or more"):
        cold_content([])
    wrong = commands([1])
    wrong["kind"] = 99
    with pytest.raises(InputError, match="kind"):
        contents_of(wrong, b"", every=True)


@pytest.mark.criterion("MSG-4", "MSG-7")
def test_commands_by_name_carry_the_position_that_the_client_knows():
    one = Driver()
    one.offer(1)
    (send,) = one.turn()
    one.done(send)
    one.offer(2, 3, named=True)
    (send,) = one.turn()
    assert decode_request(send.payload) == WriteNamed(SESSION, 2, b"[{},{}]", 3)
    told = {"text": "x", "position": 9, "command": 5, "equity": 1, "initial_margin": 2, "made": 4, "repeated": False}
    one.say(send, Told(9, ({"reason": "SESSION_GAP", "limit": "2", **told}, {"reason": "ACCEPTED", **told})))
    assert one.results() == {(1,): [(0, 1)]}
    (again,) = one.turn(0.1)
    assert again.payload == send.payload
    one.say(again, Told(9, ({"reason": "OF_A_LATER_VERSION", **told}, {"reason": "BALANCE", **told})))
    assert one.results() == {(2, 3): [(-1, 4), (0, 4)]}
    assert one.line.position == 9


def test_a_client_that_ends_says_what_is_unknown():
    one = Driver(window_count=1)
    one.offer(1)
    one.offer(2)
    one.turn()
    one.line.give_up()
    assert one.results() == {(1,): Fate.UNKNOWN, (2,): Fate.UNREACHABLE}
    assert one.line.is_idle


def test_a_connection_ends_a_pause():
    one = Driver(replicas=("a",))
    one.offer(1)
    (send,) = one.turn()
    one.line.unsent(send.attempt, one.now)
    assert one.turn() == []
    one.line.connected(one.now)
    assert len(one.turn()) == 1


def test_a_line_needs_a_replica():
    with pytest.raises(InputError, match="give at least one"):
        WriteLine((), OpenSession("client"))
    assert isinstance(Send(1, "a", 0, b""), tuple)
