"""The models of what surrounds nodes do what their page says."""

import pytest

from holdfast.core.state import NONE
from holdfast.replica.node.outbox import Message
from holdfast.simulation.broker import Broker
from holdfast.simulation.disk import Disk
from holdfast.simulation.engine import Clock
from holdfast.simulation.following import Following
from holdfast.simulation.genesis import START
from holdfast.simulation.scheduler import Scheduler, Violation
from holdfast.simulation.weather import BROKER, Weather

SECOND = 10**9


class World:
    """A broker and one sender."""

    def __init__(self, seed=1):
        self.scheduler, self.weather = Scheduler(seed), Weather()
        self.broker = Broker(self.scheduler, self.weather, [])
        self.answers = []

    def publish(self, name, frame=b"frame", wait_s=1.5):
        self.broker.publish("node", Message(name, frame), lambda *answer: self.answers.append((name, *answer)))
        self.scheduler.run(self.scheduler.now + wait_s)
        return self

    def follow(self, start=0, known=None):
        self.delivered, self.faults = [], []
        return Following(
            self.scheduler,
            self.weather,
            self.broker,
            "node",
            start=start,
            known=known,
            deliver=lambda position, frame, _: self.delivered.append((position, frame)),
            fault=self.faults.append,
        )


@pytest.mark.criterion("SIM-3")
def test_ids_are_known_for_two_minutes_of_the_brokers_clock():
    world = World().publish("x.1.0").publish("x.2.0").publish("x.1.0")
    world.broker.jump(130.0)
    world.publish("x.1.0")
    assert world.answers == [("x.1.0", 0, False), ("x.2.0", 1, False), ("x.1.0", 0, True), ("x.1.0", 2, False)]


@pytest.mark.criterion("SIM-3", "SIM-4")
def test_a_lost_message_and_a_lost_answer_look_the_same_to_the_sender():
    world = World()
    world.weather.lost_publish = 1.0
    world.publish("x.1.0")
    world.weather.lost_publish, world.weather.lost_acknowledgement = 0.0, 1.0
    world.publish("x.2.0")
    assert world.answers == [("x.1.0", NONE, False), ("x.2.0", NONE, False)]
    assert [message.id for message in world.broker.messages] == ["x.2.0"]


@pytest.mark.criterion("SIM-4")
def test_a_late_message_is_stored_after_those_that_were_sent_after_it():
    world = World(seed=5)
    world.weather.late = 1.0
    world.publish("x.1.0", wait_s=0.0)
    world.weather.late = 0.0
    world.publish("x.2.0", wait_s=7.0)
    assert [message.id for message in world.broker.messages] == ["x.2.0", "x.1.0"]


@pytest.mark.criterion("SIM-3")
def test_messages_of_one_sender_arrive_in_their_order():
    world = World()
    names = [f"x.{number}.0" for number in range(50)]
    for name in names:
        world.publish(name, wait_s=0.0)
    world.scheduler.run(1.0)
    assert [message.id for message in world.broker.messages] == names


@pytest.mark.criterion("SIM-4")
def test_without_a_leader_messages_are_refused_lost_or_kept():
    world = World()
    world.broker.elect(5.0)
    for number in range(400):
        world.publish(f"x.{number}.0", wait_s=0.0)
    world.scheduler.run(0.5)
    refused = len(world.answers)
    assert not world.broker.messages
    world.scheduler.run(10.0)
    assert {answer[1] for answer in world.answers} == {NONE}
    assert 160 < refused < 240
    assert 70 < len(world.broker.messages) < 130


@pytest.mark.criterion("SIM-5")
def test_what_is_forgotten_may_be_stored_anew():
    world = World().publish("x.1.0").publish("x.2.0").publish("x.3.0")
    world.broker.forget(2)
    world.publish("x.3.0")
    assert [message.id for message in world.broker.messages] == ["x.1.0", "x.3.0"]
    assert world.answers[-1] == ("x.3.0", 1, False)


@pytest.mark.criterion("SIM-6")
def test_frames_are_delivered_in_order_once_and_not_while_the_link_is_cut():
    world = World()
    world.follow()
    world.publish("x.1.0", b"one")
    world.weather.cut([("node", BROKER)])
    world.broker.publish("another", Message("y.1.0", b"two"), lambda *_: None)
    world.scheduler.run(world.scheduler.now + 2.0)
    assert world.delivered == [(0, b"one")]
    world.weather.mend([("node", BROKER)])
    world.scheduler.run(world.scheduler.now + 2.0)
    assert world.delivered == [(0, b"one"), (1, b"two")]
    assert not world.faults


@pytest.mark.criterion("SIM-6")
def test_a_stalled_node_gets_everything_later():
    world = World()
    world.weather.stall("node", 5.0)
    world.follow()
    world.publish("x.1.0", b"one")
    assert world.delivered == []
    world.scheduler.run(6.0)
    assert world.delivered == [(0, b"one")]


@pytest.mark.criterion("SIM-6")
def test_a_log_that_is_shorter_than_what_was_delivered_is_a_fault_after_three_rounds():
    world = World().publish("x.1.0").publish("x.2.0")
    world.follow()
    world.scheduler.run(world.scheduler.now + 0.5)
    began = world.scheduler.now
    world.broker.forget(1)
    world.scheduler.run(began + 2.4)
    assert not world.faults
    world.scheduler.run(began + 3.6)
    assert len(world.faults) == 1
    assert "ends at 1" in world.faults[0]


@pytest.mark.criterion("SIM-6")
def test_another_frame_at_a_known_position_is_a_fault_before_anything_is_delivered():
    world = World().publish("x.1.0", b"one").publish("x.2.0", b"two")
    world.follow()
    world.scheduler.run(world.scheduler.now + 0.5)
    world.broker.forget(1)
    world.publish("y.1.0", b"other").publish("y.2.0", b"third")
    assert world.delivered == [(0, b"one"), (1, b"two")]
    assert world.faults == ["the stream has another frame at position 1"]


@pytest.mark.criterion("SIM-6")
def test_a_copy_that_is_not_the_logs_is_a_fault_at_the_start():
    world = World().publish("x.1.0", b"one")
    world.follow(start=1, known=b"another")
    world.scheduler.run(world.scheduler.now + 1.0)
    assert len(world.faults) == 1


@pytest.mark.criterion("SIM-1")
def test_events_happen_in_order_of_time_and_then_of_making():
    scheduler, seen = Scheduler(0), []
    scheduler.after(2.0, seen.append, "c")
    scheduler.after(1.0, seen.append, "a")
    scheduler.after(1.0, seen.append, "b")
    scheduler.after(1.5, seen.append, "never").cancel()
    assert not scheduler.run(5.0)
    assert seen == ["a", "b", "c"]
    assert scheduler.now == 5.0


@pytest.mark.criterion("SIM-8")
def test_a_run_in_circles_is_a_finding():
    scheduler = Scheduler(0)

    def again():
        scheduler.after(0.0, again)

    again()
    with pytest.raises(Violation, match="in circles"):
        scheduler.run(1.0)


@pytest.mark.criterion("SIM-7")
def test_a_clock_can_be_off_and_stand_still():
    scheduler = Scheduler(0)
    clock = Clock(scheduler)
    scheduler.run(2.0)
    clock.step(3_600.0)
    assert clock.now() == START + 3_602 * SECOND
    clock.stop()
    scheduler.run(5.0)
    assert clock.now() == START + 3_602 * SECOND
    clock.mend()
    assert clock.now() == START + 5 * SECOND


@pytest.mark.criterion("SIM-7")
def test_a_disk_loses_frames_and_bits():
    disk = Disk([b"one", b"two", b"three"])
    disk.roll_back(2)
    assert [frame for _, frame in disk.copy.read(0)] == [b"one"]
    disk.roll_back(30)
    assert disk.copy.end == 1
    disk.wipe()
    assert disk.copy.end == 0
    assert list(disk.newest_first()) == []
