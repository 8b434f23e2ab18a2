"""Frames against golden files packed by another program, and strictness against every kind of damage."""

import hashlib
import re
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import golden_frames
from holdfast.domain.errors import InputError
from holdfast.domain.frames import (
    CHAIN_START,
    FRAME_LENGTH_MAXIMUM,
    RECORD,
    RECORDS_MAXIMUM,
    FrameError,
    RecordKind,
    chain_hash,
    decode_frame,
    describe,
    encode_frame,
)

GOLDEN = Path(__file__).parents[1] / "golden"
FILES = {file.name: file.read_bytes() for file in sorted(GOLDEN.glob("frame-v1-*.bin"))}


def records_of(rows):
    return np.array(rows, RECORD)


def sealed(data):
    """The bytes with the checksum that belongs to them."""
    return data[:32] + hashlib.sha256(data[:32] + data[64:]).digest() + data[64:]


def altered(data, at, layout, value):
    """The frame with another value at a byte, its checksum made right again."""
    changed = bytearray(data)
    struct.pack_into(layout, changed, at, value)
    return sealed(bytes(changed))


@st.composite
def contents(draw):
    """Gateway, number, records and blob of a frame, cold and hot records mixed."""
    cold = draw(st.lists(st.one_of(st.none(), st.binary(min_size=1, max_size=20)), max_size=12))
    records = draw(hnp.arrays(RECORD, len(cold), elements=hnp.from_dtype(RECORD)))
    offset = 0
    for record, slice_ in zip(records, cold, strict=True):
        record["kind"] = draw(st.integers(1, 6)) if slice_ is None else 0
        record["reserved"] = 0
        record["blob_offset"] = 0 if slice_ is None else offset
        record["blob_length"] = 0 if slice_ is None else len(slice_)
        offset += len(slice_ or b"")
    numbers = st.integers(0, 2**64 - 1)
    return draw(numbers), draw(numbers.filter(bool)), records, b"".join(s for s in cold if s), cold


@pytest.mark.criterion("FRM-1", "FRM-2", "FRM-3", "FRM-8")
def test_golden_files():
    assert sorted(FILES) == ["frame-v1-cold.bin", "frame-v1-empty.bin", "frame-v1-hot.bin"]
    assert golden_frames.golden() == FILES
    assert encode_frame(0, 1, records_of([])) == FILES["frame-v1-empty.bin"]
    assert encode_frame(12, 7, records_of(golden_frames.HOT)) == FILES["frame-v1-hot.bin"]
    largest, blob = 2**64 - 1, b"".join(golden_frames.BLOBS)
    assert encode_frame(largest, largest, records_of(golden_frames.COLDS), blob) == FILES["frame-v1-cold.bin"]


@pytest.mark.criterion("FRM-1", "FRM-8")
def test_empty_frame_as_the_page_prints_it():
    assert FILES["frame-v1-empty.bin"].hex() == (
        "48464652" "0100" "0000" "0000000000000000" "0100000000000000" "00000000" "00000000"
        "aac6699b2854a2d430fdb1e9a9f36d2e127418032bea2c4440f6c535830076ca"
    )  # fmt: skip


@pytest.mark.criterion("FRM-2", "FRM-3", "FRM-5")
def test_golden_files_are_read():
    hot = decode_frame(FILES["frame-v1-hot.bin"])
    assert (hot.gateway, hot.frame_number, len(hot.blob)) == (12, 7, 0)
    assert hot.records.tolist() == golden_frames.HOT
    cold = decode_frame(FILES["frame-v1-cold.bin"])
    assert (cold.gateway, cold.frame_number) == (2**64 - 1, 2**64 - 1)
    assert cold.records.tolist() == golden_frames.COLDS
    assert [cold.cold(index) for index in (0, 2, 3)] == golden_frames.BLOBS
    assert cold.checksum == FILES["frame-v1-cold.bin"][32:64]
    for index in (-1, 1, 4):
        with pytest.raises(InputError, match="COLD"):
            cold.cold(index)


@pytest.mark.criterion("FRM-3")
def test_kinds_keep_their_numbers():
    names = ["COLD", "TRADE", "ORDER", "CANCEL", "FILL", "TRANSFER", "QUOTE"]
    assert {kind.name: kind.value for kind in RecordKind} == dict(zip(names, range(7), strict=True))


@pytest.mark.criterion("FRM-2")
def test_layout_of_a_record():
    assert RECORD.itemsize == 64
    assert {name: RECORD.fields[name][1] for name in RECORD.names} == {
        "kind": 0, "flags": 1, "reserved": 2, "account": 4, "other": 8, "instrument": 12, "session": 16, "number": 24,
        "quantity": 32, "price": 40, "time": 48, "blob_offset": 56, "blob_length": 60,
    }  # fmt: skip
    assert sys.byteorder != "little" or all(RECORD.fields[name][0].isnative for name in RECORD.names)


@pytest.mark.criterion("FRM-5", "FRM-6")
@given(contents())
def test_round_trip(content):
    gateway, number, records, blob, cold = content
    data = encode_frame(gateway, number, records, blob)
    frame = decode_frame(data)
    assert (frame.gateway, frame.frame_number, bytes(frame.blob)) == (gateway, number, blob)
    assert frame.records.tobytes() == records.tobytes()
    assert [frame.cold(i) for i, slice_ in enumerate(cold) if slice_ is not None] == [s for s in cold if s is not None]
    assert encode_frame(gateway, number, np.repeat(frame.records, 2)[::2], blob) == data
    assert len(describe(frame).splitlines()) == 1 + len(records)


@pytest.mark.criterion("FRM-5")
def test_a_decoded_frame_is_a_read_only_view():
    data = FILES["frame-v1-hot.bin"]
    frame = decode_frame(data)
    assert np.shares_memory(frame.records, np.frombuffer(data, np.uint8))
    with pytest.raises(ValueError, match="read-only"):
        frame.records["price"][0] = 1
    with pytest.raises(TypeError, match="read-only"):
        frame.blob[:0] = b""
    changing = bytearray(data)
    of_changing = decode_frame(changing)
    changing[64:] = bytes(len(data) - 64)
    assert of_changing.records.tolist() == golden_frames.HOT
    assert decode_frame(memoryview(data)).checksum == frame.checksum


@pytest.mark.criterion("FRM-6")
@pytest.mark.parametrize(
    ("name", "at", "layout", "value", "field"),
    [
        ("empty", 0, "4s", b"HFFS", "magic"),
        ("empty", 4, "<H", 0, "format"),
        ("empty", 4, "<H", 2, "format"),
        ("empty", 6, "<H", 1, "reserved"),
        ("empty", 16, "<Q", 0, "frame_number"),
        ("hot", 24, "<I", 16_385, "count"),
        ("hot", 24, "<I", 2**32 - 1, "count"),
        ("hot", 24, "<I", 7, "length"),
        ("hot", 24, "<I", 9, "length"),
        ("hot", 28, "<I", 1, "length"),
        ("hot", 28, "<I", 2**32 - 1, "length"),
        ("hot", 64, "<B", 7, "records[0].kind"),
        ("hot", 64 + 64 * 7, "<B", 255, "records[7].kind"),
        ("hot", 64 + 64 * 2 + 2, "<H", 256, "records[2].reserved"),
        ("hot", 64 + 64 * 3 + 56, "<I", 1, "records[3].blob_offset"),
        ("hot", 64 + 64 * 3 + 60, "<I", 1, "records[3].blob_length"),
        ("hot", 64, "<B", 0, "records[0].blob_length"),
        ("cold", 64 + 56, "<I", 1, "records[0].blob_offset"),
        ("cold", 64 + 60, "<I", 0, "records[0].blob_length"),
        ("cold", 64 + 60, "<I", 35, "records[2].blob_offset"),
        ("cold", 64 + 60, "<I", 2**32 - 1, "records[2].blob_offset"),
        ("cold", 64 + 64 * 2 + 56, "<I", 35, "records[2].blob_offset"),
        ("cold", 64 + 64 * 3 + 60, "<I", 255, "blob_length"),
        ("cold", 64 + 64 * 3 + 60, "<I", 257, "blob_length"),
        ("cold", 64 + 64 * 3 + 60, "<I", 2**32 - 1, "blob_length"),
    ],
)
def test_each_rule_that_is_broken_is_named(name, at, layout, value, field):
    with pytest.raises(FrameError) as caught:
        decode_frame(altered(FILES[f"frame-v1-{name}.bin"], at, layout, value))
    assert caught.value.field == field
    assert re.fullmatch(rf"frame: {re.escape(field)} is .+, expected .+", str(caught.value))


@pytest.mark.criterion("FRM-6")
def test_records_are_refused_in_the_stated_order():
    rows = [list(row) for row in golden_frames.HOT]
    rows[5][0], rows[1][2], rows[0][11] = 9, 1, 1
    fields = []
    for mend in ((5, 0, 1), (1, 2, 0), (0, 11, 0)):
        with pytest.raises(FrameError) as caught:
            encode_frame(0, 1, records_of([tuple(row) for row in rows]))
        fields.append(caught.value.field)
        rows[mend[0]][mend[1]] = mend[2]
    assert fields == ["records[5].kind", "records[1].reserved", "records[0].blob_offset"]
    encode_frame(0, 1, records_of([tuple(row) for row in rows]))


@pytest.mark.criterion("FRM-1", "FRM-6")
@pytest.mark.parametrize("name", sorted(FILES))
def test_every_bit_counts(name):
    data = FILES[name]
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FrameError):
            decode_frame(bytes(changed))
    for length in range(len(data)):
        with pytest.raises(FrameError):
            decode_frame(data[:length])
    with pytest.raises(FrameError, match="length"):
        decode_frame(data + b"\0")


@pytest.mark.criterion("FRM-6")
@given(st.binary(max_size=400), st.booleans())
def test_any_bytes(data, is_headed):
    # Beside plain noise: a right beginning and a right checksum, so that the noise reaches the later checks.
    data = sealed((b"HFFR\x01\0\0\0" + data).ljust(64, b"\0")) if is_headed else data
    try:
        frame = decode_frame(data)
    except FrameError:
        return
    assert encode_frame(frame.gateway, frame.frame_number, frame.records, bytes(frame.blob)) == data


@pytest.mark.criterion("FRM-6")
@given(contents(), st.data())
def test_any_damage_under_a_right_checksum(content, data):
    gateway, number, records, blob, _ = content
    damaged = bytearray(encode_frame(gateway, number, records, blob))
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    damaged = sealed(bytes(damaged))
    try:
        frame = decode_frame(damaged)
    except FrameError:
        return
    assert encode_frame(frame.gateway, frame.frame_number, frame.records, bytes(frame.blob)) == damaged


@pytest.mark.criterion("FRM-4")
def test_limits():
    assert (FRAME_LENGTH_MAXIMUM, RECORDS_MAXIMUM) == (1_048_576, 16_384)
    trades = np.zeros(RECORDS_MAXIMUM + 1, RECORD)
    trades["kind"] = RecordKind.TRADE
    largest = encode_frame(0, 1, trades[: RECORDS_MAXIMUM - 1])
    assert len(largest) == FRAME_LENGTH_MAXIMUM
    assert len(decode_frame(largest).records) == 16_383
    with pytest.raises(FrameError, match="length is 1048640 bytes, expected 64 to 1048576"):
        encode_frame(0, 1, trades[:RECORDS_MAXIMUM])
    with pytest.raises(FrameError, match="count is 16385 records, expected at most 16384"):
        encode_frame(0, 1, trades)
    cold = records_of([(0,) * 12 + (FRAME_LENGTH_MAXIMUM - 128,)])
    assert len(encode_frame(0, 1, cold, bytes(FRAME_LENGTH_MAXIMUM - 128))) == FRAME_LENGTH_MAXIMUM
    with pytest.raises(FrameError, match="length"):
        decode_frame(largest + b"\0")


@pytest.mark.criterion("FRM-6")
@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ((-1, 1, records_of([])), "gateway"),
        ((2**64, 1, records_of([])), "gateway"),
        ((0, 0, records_of([])), "frame_number"),
        ((0, 2**64, records_of([])), "frame_number"),
        ((0, True, records_of([])), "frame_number"),
        ((0, 1.0, records_of([])), "frame_number"),
        ((0, 1, []), "records"),
        ((0, 1, np.zeros((1, 1), RECORD)), "records"),
        ((0, 1, np.zeros(64, np.uint8)), "records"),
        ((0, 1, records_of([]), "text"), "blob"),
        ((0, 1, records_of([]), b"x"), "blob_length"),
    ],
)
def test_encoding_refuses_what_decoding_would(arguments, field):
    with pytest.raises(FrameError) as caught:
        encode_frame(*arguments)
    assert caught.value.field == field


@pytest.mark.criterion("FRM-6")
@pytest.mark.parametrize("data", [None, "HFFR", 64, [0] * 64])
def test_what_is_not_bytes(data):
    with pytest.raises(FrameError, match="bytes"):
        decode_frame(data)


@pytest.mark.criterion("FRM-7")
def test_chain():
    heads = [CHAIN_START]
    for name in ("empty", "hot", "cold"):
        heads.append(chain_hash(heads[-1], FILES[f"frame-v1-{name}.bin"]))
    assert [head.hex() for head in heads] == [
        "0" * 64,
        "35f711b2ab64318fd611f9f0ea4486b338bf08d5bbfea798c72d73f347f67f47",
        "56ba9b8eea9c84d4a99d54ba720dce0cabc2923ea51b4b6b9445dda9250d7ccd",
        "72615e4a59811d58906ff6813d68afaebe1a5a324544b61f7b49f964828f19e9",
    ]
    with pytest.raises(FrameError, match="31 bytes"):
        chain_hash(bytes(31), b"")


@pytest.mark.criterion("FRM-9")
def test_description():
    text = describe(decode_frame(FILES["frame-v1-cold.bin"])).splitlines()
    assert text[0].startswith(
        "frame 18446744073709551615 of gateway 18446744073709551615, format 1: 4 records, 293 bytes"
    )
    assert text[1] == "  [0] COLD session 4 number 1 blob 0+36"
    assert text[2] == "  [1] TRANSFER session 7 number 2 account 1 other 2 instrument 0 quantity 5 price 0 time 0"
    shortened = describe(decode_frame(FILES["frame-v1-hot.bin"]), records_maximum=2).splitlines()
    assert shortened[2].startswith("  [1] TRADE session 5 number 2 flags 0x01 account 42 other 17")
    assert shortened[3:] == ["  … and 6 more"]
