"""The line of a gateway against a broker that loses, repeats and delays: everything counts once, and in order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.domain import commands
from holdfast.domain.frames import decode_frame
from holdfast.domain.messages import Batch
from holdfast.domain.outcomes import OUTCOME, command_id
from holdfast.domain.reasons import Reason
from holdfast.replica.node import outbox as module
from holdfast.replica.node.outbox import FLIGHTS_MAXIMUM, FULL_FLIGHTS_MAXIMUM, PACE_S, EvictedError, Outbox

SESSION = 77


def batch(size, first=1, session=5):
    records = np.concatenate([commands.trade(session, first + n, 4, 5, 1, 1, 100) for n in range(size)])
    return Batch(records, b"")


def with_cold(number):
    return Batch(*commands.cold_records([commands.OpenAccount(0, f"name {number}")], 5, number))


class Log:
    """Frames in the order in which they were stored, and the rule of the fold for a gateway's frames (SES-9)."""

    def __init__(self):
        self.position = 0
        self.expected = 1
        self.commands = []

    def take(self, frame):
        """The outcomes of a stored frame, and its position."""
        decoded = decode_frame(frame)
        outcomes = np.zeros(len(decoded.records), OUTCOME)
        position, self.position = self.position, self.position + 1
        if decoded.frame_number == self.expected:
            self.expected += 1
            self.commands += decoded.records["number"].tolist()
            outcomes["command"] = [command_id(position, n) for n in range(len(outcomes))]
            outcomes["made"] = decoded.records["number"]
        else:
            late = decoded.frame_number < self.expected
            outcomes["reason"] = Reason.FRAME_REPEATED if late else Reason.FRAME_GAP
        return decoded.frame_number, position, outcomes


def deliver(box, log, message, now=0.0):
    number, position, outcomes = log.take(message.frame)
    box.seen(number, position, outcomes, {}, now)
    return position


@pytest.mark.criterion("NOD-2")
def test_an_idle_line_sends_at_once_and_a_busy_one_when_what_is_under_way_is_gone():
    box, log = Outbox("n", SESSION), Log()
    box.offer("a", batch(1, 1))
    (first,) = box.sends(0.0)
    box.offer("b", batch(1, 2))
    box.offer("c", batch(1, 3))
    assert box.sends(PACE_S / 2) == []
    assert box.next_at(PACE_S / 2) == PACE_S
    deliver(box, log, first, PACE_S / 2)
    assert box.next_at(PACE_S / 2) == PACE_S / 2
    (second,) = box.sends(PACE_S / 2)
    assert [len(decode_frame(m.frame).records) for m in (first, second)] == [1, 2]
    assert (first.id, second.id) == ("n.1.0", "n.2.0")


@pytest.mark.criterion("NOD-2")
def test_a_log_far_away_gets_a_frame_at_every_pace_and_sixteen_are_the_most():
    box = Outbox("n", SESSION)
    for n in range(FLIGHTS_MAXIMUM):
        now = n * 2 * PACE_S
        box.offer(n, batch(1, 1 + n))
        assert box.next_at(now) == now
        assert len(box.sends(now)) == 1
    box.offer("more", batch(1, 99))
    assert box.next_at(9.0) is None
    assert box.sends(9.0) == []


@pytest.mark.criterion("NOD-2")
def test_a_full_line_does_not_wait_and_four_frames_are_the_most():
    box = Outbox("n", SESSION)
    now = 0.0
    for n in range(FULL_FLIGHTS_MAXIMUM):
        box.offer(n, batch(4_095, 1 + n * 4_095))
        assert len(box.sends(now)) == 1
    box.offer("more", batch(4_095, 99_999))
    assert box.sends(now + 1) == []
    assert box.next_at(now + 1) is None


@pytest.mark.criterion("NOD-4")
def test_a_batch_over_several_frames_is_answered_with_the_last():
    box, log = Outbox("n", SESSION), Log()
    box.offer("a", batch(10_000))
    box.offer("b", with_cold(10_001))
    messages = box.sends(0.0)
    assert len(messages) == 3
    for message in messages[:-1]:
        deliver(box, log, message)
        assert box.resolved() == []
    deliver(box, log, messages[-1])
    first, second = box.resolved()
    assert (first.token, second.token, first.position) == ("a", "b", 2)
    assert first.outcomes["made"].tolist() == list(range(1, 10_001))
    assert second.outcomes["made"].tolist() == [10_001]
    assert box.is_idle
    assert box.bytes == 0


@pytest.mark.criterion("NOD-3")
def test_a_lost_frame_goes_again_before_those_behind_it():
    box, log = Outbox("n", SESSION), Log()
    for n in range(3):
        box.offer(n, batch(4_095, 1 + 4_095 * n))
        box.sends(0.0)
    one, two, three = (m for m in _all_of(box))
    deliver(box, log, two)
    deliver(box, log, three)
    assert box.resolved() == []
    box.published(one.id, 1.0, stored=False)
    (again,) = box.sends(2.0)
    assert again.id == one.id
    deliver(box, log, again, 2.0)
    (second,) = box.sends(3.0)
    assert second.id == "n.2.1"
    deliver(box, log, second, 3.0)
    (third,) = box.sends(4.0)
    assert third.id == "n.3.1"
    deliver(box, log, third, 4.0)
    assert [r.token for r in box.resolved()] == [0, 1, 2]
    assert log.commands == list(range(1, 3 * 4_095 + 1))


@pytest.mark.criterion("NOD-3")
def test_nothing_is_sent_behind_a_lost_frame():
    box = Outbox("n", SESSION)
    for n in range(3):
        box.offer(n, batch(4_095, 1 + 4_095 * n))
        box.sends(0.0)
    for message in _all_of(box)[:2]:
        box.published(message.id, 1.0, stored=False)
    box.offer("new", batch(4_095, 99_999))
    assert [message.id for message in box.sends(9.0)] == ["n.1.0"]


def _all_of(box):
    return [module.Message(f"n.{flight.number}.0", flight.frame) for flight in box._flights.values()]


@pytest.mark.criterion("NOD-1")
def test_an_evicted_gateway_is_said():
    box = Outbox("n", SESSION)
    box.offer("a", batch(1, 1))
    box.sends(0.0)
    outcomes = np.zeros(1, OUTCOME)
    outcomes["reason"] = Reason.GATEWAY_UNKNOWN
    with pytest.raises(EvictedError):
        box.seen(1, 0, outcomes, {}, 0.0)


@pytest.mark.criterion("NOD-5")
def test_room_is_for_so_many_bytes_and_for_one_batch_always():
    box = Outbox("n", SESSION)
    assert box.has_room(100 << 20)
    box.offer("a", batch(16_000))
    assert box.has_room(module.BYTES_MAXIMUM - 16_000 * 64)
    assert not box.has_room(module.BYTES_MAXIMUM - 16_000 * 64 + 1)


class Broker:
    """Forgets messages, loses its answers, stores late; its memory of ids works."""

    def __init__(self, box, fates):
        self.box, self.log, self.fates = box, Log(), fates
        self.places, self.queue, self.late, self.unanswered = {}, [], [], []
        self.published, self.done = 0, []

    def store(self, message):
        if message.id not in self.places:
            self.places[message.id] = len(self.places)
            self.queue.append(message)
        return self.places[message.id]

    def publish(self, message, fate=None):
        fate = fate or self.fates[self.published % len(self.fates)]
        self.published += 1
        if fate == "late":
            self.late.append(message)
        position = self.store(message) if fate in ("stored", "ack lost") else None
        self.unanswered.append((message, position if fate == "stored" else None))

    def answer(self, index, now):
        if self.unanswered:
            message, position = self.unanswered.pop(index % len(self.unanswered))
            self.box.published(message.id, now, stored=position is not None)

    def pass_late(self, index, _now):
        if self.late:
            self.store(self.late.pop(index % len(self.late)))

    def deliver(self, _index, now):
        if self.queue:
            deliver(self.box, self.log, self.queue.pop(0), now)
            self.done += self.box.resolved()

    def heal(self, now):
        """Everything that is still somewhere arrives, and what is sent now is stored and answered."""
        for message in self.box.sends(now):
            self.publish(message, "stored")
        for act, left in ((self.pass_late, self.late), (self.answer, self.unanswered), (self.deliver, self.queue)):
            while left:
                act(0, now)


STEPS = st.lists(
    st.tuples(st.sampled_from(["offer", "pass_late", "answer", "deliver"]), st.integers(0, 1 << 20)), max_size=60
)
FATES = st.lists(st.sampled_from(["stored", "lost", "ack lost", "late"]), min_size=1, max_size=20)


@pytest.mark.criterion("NOD-3", "NOD-4")
@settings(deadline=None, max_examples=300)
@given(steps=STEPS, fates=FATES)
def test_everything_counts_once_and_in_order_whatever_the_broker_does(steps, fates):
    box = Outbox("n", SESSION, length_target=64 * 4)
    broker, now, offered = Broker(box, fates), 0.0, 0
    for what, value in steps:
        now += 0.01
        if what == "offer":
            box.offer(offered, batch(1 + value % 5))
            offered += 1
        else:
            getattr(broker, what)(value, now)
        for message in box.sends(now):
            broker.publish(message)
    while not box.is_idle and now < 1_000:
        now += 1.0
        broker.heal(now)
    assert box.is_idle
    assert [resolved.token for resolved in broker.done] == list(range(offered))
    assert broker.log.expected - 1 == len({name.rsplit(".", 2)[1] for name in broker.places})
