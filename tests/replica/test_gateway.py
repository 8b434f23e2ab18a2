"""Framing: what is added comes out in order, numbered, within the limits."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.domain import commands
from holdfast.domain.errors import InputError
from holdfast.domain.frames import FRAME_LENGTH_MAXIMUM, RECORDS_MAXIMUM, decode_frame
from holdfast.replica.gateway import COLD_LENGTH_MAXIMUM, ClientSession, Gateway

TRADE = commands.trade(5, 1, 4, 5, 2, 10, 789_500)
TARGET = 262_144


@pytest.mark.criterion("RPL-1")
def test_ten_thousand_trades_are_three_frames():
    gateway = Gateway(0, 7)
    gateway.add(np.repeat(TRADE, 10_000))
    frames = [decode_frame(frame) for frame in gateway.frames()]
    assert [len(frame.records) for frame in frames] == [4_095, 4_095, 1_810]
    assert [frame.frame_number for frame in frames] == [7, 8, 9]
    assert gateway.next_frame == 10
    assert gateway.pending == 0
    assert gateway.frames() == []


@pytest.mark.criterion("RPL-1")
def test_records_are_limited_too():
    gateway = Gateway(0, 1, length_target=FRAME_LENGTH_MAXIMUM)
    gateway.add(np.repeat(TRADE, 20_000))
    lengths = [len(decode_frame(frame).records) for frame in gateway.frames()]
    assert lengths == [16_383, 3_617]
    assert max(lengths) <= RECORDS_MAXIMUM


@pytest.mark.criterion("RPL-1")
def test_a_long_command_has_a_frame_to_itself_and_a_longer_one_is_refused():
    gateway = Gateway(0, 1)
    gateway.add(TRADE)
    long = commands.OpenAccount(0, "n" * 300_000)
    gateway.add_cold(5, 2, long)
    gateway.add(TRADE)
    with pytest.raises(InputError, match="keep it within 1048448 bytes"):
        gateway.add_cold(5, 3, commands.OpenAccount(0, "n" * COLD_LENGTH_MAXIMUM))
    assert gateway.pending == 3
    frames = [decode_frame(frame) for frame in gateway.frames()]
    assert [len(frame.records) for frame in frames] == [1, 1, 1]
    assert commands.decode_cold(frames[1].cold(0)) == long


@pytest.mark.criterion("RPL-1", "RPL-2")
@given(
    st.lists(st.one_of(st.integers(1, 2_000), st.text("abc", max_size=3_000)), max_size=60), st.integers(1_024, 9_000)
)
def test_whatever_is_added_comes_out_in_order(added, target):
    gateway, number, expected = Gateway(3, 1, length_target=target), 0, []
    for one in added:
        if isinstance(one, str):
            number += 1
            gateway.add_cold(9, number, commands.OpenAccount(0, one))
            expected.append((number, one))
        else:
            gateway.add(np.repeat(TRADE, one % 50))
            expected += [(1, None)] * (one % 50)
    frames = gateway.frames()
    found = []
    for place, data in enumerate(frames):
        frame = decode_frame(data)
        assert (frame.gateway, frame.frame_number) == (3, place + 1)
        assert len(data) <= target or len(frame.records) == 1
        for index, record in enumerate(frame.records):
            name = commands.decode_cold(frame.cold(index)).name if record["kind"] == 0 else None
            found.append((int(record["number"]), name))
    assert found == expected
    for data, following in itertools.pairwise(frames):
        first = decode_frame(following).records[0]
        assert len(data) + 64 + int(first["blob_length"]) > target


def test_added_records_are_copied():
    records = TRADE.copy()
    gateway = Gateway(0, 1)
    gateway.add(records)
    records["price"] = 1
    assert decode_frame(gateway.frames()[0]).records[0]["price"] == 789_500


@pytest.mark.parametrize("records", [None, TRADE[0], np.zeros(2), commands.cold_record(1, 1, 0, 5)])
def test_what_is_no_hot_command_is_refused(records):
    gateway = Gateway(0, 1)
    with pytest.raises(InputError):
        gateway.add(records)
    assert gateway.pending == 0


@pytest.mark.criterion("RPL-3")
def test_a_session_numbers_from_where_it_is():
    session = ClientSession(16_385, 5)
    assert [session.next(), session.next()] == [5, 6]
    assert session.take(3) == range(7, 10)
    assert session.next_number == 10
    with pytest.raises(InputError):
        ClientSession(1, 0)
