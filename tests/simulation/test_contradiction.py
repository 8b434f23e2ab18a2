"""A node that is told that its message stands where it folded another frame knows that there are two histories."""

import pytest

from holdfast.core.fold import Fold
from holdfast.replica.names import AccountNames
from holdfast.replica.node.entrance import opening_frame
from holdfast.replica.node.node import Identity, Node, Settings
from holdfast.simulation.genesis import KEYS, genesis


class Told:
    """A node that has folded the beginning, and its first message."""

    def __init__(self):
        self.node = Node(Identity("engine-a", "engine-a", KEYS[0], "life"), Settings(), Fold(), AccountNames())
        for position, frame in enumerate(genesis().frames):
            self.node.deliver(position, frame, "", 0.0)
        self.end = len(genesis().frames)
        self.send()

    def send(self):
        self.node.turn(0.0, 1)
        (self.message,) = self.node.messages(0.0)
        return self

    def deliver(self):
        self.node.deliver(self.end, self.message.frame, self.message.id, 0.0)
        self.end += 1
        return self

    def answer(self, position):
        self.node.published(self.message.id, 0.0, position=position)
        return self.node.halted


@pytest.mark.criterion("SIM-13")
def test_an_opening_at_a_position_that_was_folded_halts():
    assert "another frame was folded" in Told().answer(3)


@pytest.mark.criterion("SIM-13")
def test_a_frame_at_a_position_that_was_folded_halts():
    assert "another frame was folded" in Told().deliver().send().answer(5)


@pytest.mark.criterion("SIM-13")
def test_a_frame_that_is_yet_to_be_folded_or_was_met_does_not():
    told = Told()
    assert not told.answer(told.end)
    assert not told.deliver().answer(told.end - 1)
    assert not told.send().answer(told.end)
    assert not told.deliver().answer(told.end - 1)


@pytest.mark.criterion("SIM-13")
def test_no_two_processes_open_their_gateways_with_the_same_bytes():
    fold = Fold()
    assert opening_frame(fold, "engine-a-1.0.0") != opening_frame(fold, "engine-b-1.0.0")
