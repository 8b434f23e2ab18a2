"""Messages between clients and nodes: bytes written by hand, every kind of damage, and round trips."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.domain import messages
from holdfast.domain.commands import Mark, cold_record, encode_cold, trade
from holdfast.domain.errors import InputError
from holdfast.domain.frames import RECORD
from holdfast.domain.messages import (
    WRITE_LENGTH_MAXIMUM,
    Busy,
    Found,
    Read,
    Refused,
    Told,
    Write,
    WriteNamed,
    Written,
    batch_of,
    decode_reply,
    decode_request,
    encode_message,
    outcomes_of,
    write_of,
    written_of,
)
from holdfast.domain.outcomes import OUTCOME
from holdfast.domain.reasons import Reason

MARK = encode_cold(Mark(1))


def text(value):
    """A short MessagePack text, by hand."""
    data = value.encode()
    return bytes([0xA0 | len(data)]) + data if len(data) < 32 else b"\xd9" + bytes([len(data)]) + data


def outcomes(*reasons, repeated=()):
    rows = np.zeros(len(reasons), OUTCOME)
    rows["reason"], rows["made"] = reasons, np.arange(1, len(reasons) + 1)
    rows["repeated"][list(repeated)] = 1
    return rows


@pytest.mark.criterion("MSG-2", "MSG-9")
def test_busy_has_the_bytes_of_the_page():
    head = "82 a4 74797065 a4 62757379 ae 72657472795f61667465725f6d73 14"
    assert encode_message(Busy(20)) == bytes.fromhex(head.replace(" ", ""))
    whole = "83" + head[2:] + "a7 70726f626c656d a4 66756c6c"
    assert encode_message(Busy(20, "full")) == bytes.fromhex(whole.replace(" ", ""))


@pytest.mark.criterion("MSG-3", "MSG-4", "MSG-5", "MSG-6", "MSG-7", "MSG-8", "MSG-9")
@pytest.mark.parametrize(
    ("message", "parts"),
    [
        (Write(b"r", b"b", False), [text("write"), text("records"), b"\xc4\x01r", text("blob"), b"\xc4\x01b",
                                    text("every"), b"\xc2"]),
        (Write(b"r"), [text("write"), text("records"), b"\xc4\x01r"]),
        (WriteNamed(1, 2, b"[]"), [text("write-named"), text("session"), b"\x01", text("number"), b"\x02",
                                   text("commands"), b"\xc4\x02[]"]),
        (WriteNamed(1, 2, b"[]", 5), [text("write-named"), text("session"), b"\x01", text("number"), b"\x02",
                                      text("commands"), b"\xc4\x02[]", text("minimum_position"), b"\x05"]),
        (Read("margin", {"account": "al"}, 3, 4, 5), [text("read"), text("what"), text("margin"),
                                                      text("arguments"), b"\x81", text("account"), text("al"),
                                                      text("minimum_position"), b"\x03", text("staleness_ms"),
                                                      b"\x04", text("wait_ms"), b"\x05"]),
        (Read("root"), [text("read"), text("what"), text("root")]),
        (Written(7, 2, b"", b"", {1: b"x"}, ("d",)), [text("written"), text("position"), b"\x07", text("count"),
                                                      b"\x02", text("outcomes"), b"\xc4\x00", text("details"),
                                                      b"\x81\x01", b"\xc4\x01x", text("degraded"), b"\x91",
                                                      text("d")]),
        (Told(7, ({"made": 1},)), [text("told"), text("position"), b"\x07", text("outcomes"), b"\x91\x81", text("made"),
                                   b"\x01"]),
        (Found({"a": 1}, -1, 9, "r"), [text("found"), text("content"), b"\x81", text("a"), b"\x01", text("position"),
                                       b"\xff", text("time"), b"\x09", text("replica"), text("r")]),
        (Refused("c", "f", "p", "a"), [text("refused"), text("code"), text("c"), text("field"), text("f"),
                                       text("problem"), text("p"), text("advice"), text("a")]),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_messages_have_the_bytes_that_were_written_by_hand(message, parts):
    fields = sum(1 for name in message.__struct_fields__ if text(name) in parts)
    data = bytes([0x80 | fields + 1]) + text("type") + b"".join(parts)
    assert encode_message(message) == data
    decode = decode_request if isinstance(message, Write | WriteNamed | Read) else decode_reply
    assert decode(data) == message


@pytest.mark.criterion("MSG-2")
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80",
        encode_message(Busy(1)),
        encode_message(Read("root")) + b"\x00",
        encode_message(Read("root"))[:-1],
        msgspec.msgpack.encode({"type": "write"}),
        msgspec.msgpack.encode({"type": "wrote", "records": b""}),
        msgspec.msgpack.encode({"type": "write", "records": b"", "else": 1}),
        msgspec.msgpack.encode({"type": "write", "records": 1}),
        msgspec.msgpack.encode({"type": "read", "what": "root", "minimum_position": "5"}),
        msgspec.msgpack.encode(["read", "root"]),
        b"\x91" * 5_000,
    ],
)
def test_what_is_no_request_is_malformed(data):
    with pytest.raises(InputError) as caught:
        decode_request(data)
    assert (caught.value.code, caught.value.field) == ("malformed", "request")


@pytest.mark.criterion("MSG-2")
def test_fields_may_come_in_any_order():
    swapped = {"wait_ms": 1, "what": "root", "type": "read"}
    assert decode_request(msgspec.msgpack.encode(swapped)) == Read("root", wait_ms=1)


@pytest.mark.criterion("MSG-2")
@given(st.binary(max_size=200))
def test_any_bytes_are_a_reply_or_malformed(data):
    try:
        reply = decode_reply(data)
    except InputError:
        return
    assert decode_reply(encode_message(reply)) == reply


@pytest.mark.criterion("MSG-3")
def test_a_batch_is_what_a_frame_can_carry():
    records = np.concatenate([trade(5, 1, 4, 6, 2, 10, 7), cold_record(5, 2, 0, len(MARK))])
    batch = batch_of(write_of(records, MARK))
    assert batch.records.tolist() == records.tolist()
    assert batch.blob == MARK
    assert len(encode_message(write_of(records))) < 200
    most = WRITE_LENGTH_MAXIMUM // 64
    assert WRITE_LENGTH_MAXIMUM == 1_048_512
    assert len(batch_of(write_of(np.repeat(trade(5, 1, 4, 6, 2, 10, 7), most))).records) == most


@pytest.mark.criterion("MSG-3")
@pytest.mark.parametrize(
    ("write", "field"),
    [
        (Write(b""), "records"),
        (Write(bytes(63)), "records"),
        (Write(bytes(64)), "records[0].blob_length"),
        (Write(bytes(WRITE_LENGTH_MAXIMUM + 64)), "records"),
        (write_of(trade(1, 1, 1, 1, 1, 1, 1), b"x"), "blob_length"),
        (write_of(cold_record(1, 1, 1, 2), b"xyz"), "records[0].blob_offset"),
        (write_of(cold_record(1, 1, 0, 2), b"xyz"), "blob_length"),
        (Write(b"\x63" + bytes(63)), "records[0].kind"),
    ],
)
def test_a_batch_that_no_frame_could_carry_is_refused(write, field):
    with pytest.raises(InputError) as caught:
        batch_of(write)
    assert caught.value.field == field


@pytest.mark.criterion("MSG-6")
def test_only_outcomes_that_say_something_are_given():
    rows = outcomes(0, Reason.BALANCE, 0)
    written = written_of(7, rows, {1: {"why": "so"}}, ("x",), every=False)
    assert written.places == bytes.fromhex("01000000")
    assert len(written.outcomes) == 64
    assert msgspec.msgpack.decode(written.details[1]) == {"why": "so"}
    given_rows, places = outcomes_of(decode_reply(encode_message(written)))
    assert places.tolist() == [1]
    assert given_rows.tolist() == rows[1:2].tolist()
    repeated = written_of(7, outcomes(0, 0, repeated=[0]), {}, (), every=False)
    assert outcomes_of(repeated)[1].tolist() == [0]
    silent = written_of(7, outcomes(0, 0), {}, (), every=False)
    assert (silent.outcomes, silent.places, silent.count) == (b"", b"", 2)
    assert len(outcomes_of(silent)[0]) == 0


@pytest.mark.criterion("MSG-6")
def test_every_outcome_is_given_where_it_is_wanted():
    rows = outcomes(0, Reason.BALANCE, 0)
    given_rows, places = outcomes_of(written_of(7, rows, {}, (), every=True))
    assert given_rows.tolist() == rows.tolist()
    assert np.arange(9)[places].tolist() == [0, 1, 2]


@pytest.mark.criterion("MSG-6")
@pytest.mark.parametrize(
    "written",
    [
        Written(1, 2, bytes(63)),
        Written(1, 2, bytes(64)),
        Written(1, 2, bytes(192)),
        Written(1, 2, bytes(64), bytes(3)),
        Written(1, 2, bytes(64), bytes(8)),
        Written(1, 2, bytes(64), b"\x02\x00\x00\x00"),
    ],
)
def test_a_reply_that_contradicts_itself_is_malformed(written):
    with pytest.raises(InputError, match="ask another replica"):
        outcomes_of(written)


@pytest.mark.criterion("MSG-6")
@given(st.lists(st.sampled_from([0, 0, 1, 3, 301]), min_size=1, max_size=50), st.booleans())
def test_outcomes_come_back(reasons, every):
    rows = outcomes(*reasons)
    written = decode_reply(encode_message(written_of(3, rows, {}, (), every=every)))
    back = np.zeros(len(rows), OUTCOME)
    given_rows, places = outcomes_of(written)
    back[places] = given_rows
    assert back["reason"].tolist() == reasons
    assert written.count == len(rows)


def test_the_limit_of_a_write_is_a_frame_less_its_header():
    assert messages.WRITE_LENGTH_MAXIMUM + 64 == 1 << 20
    assert RECORD.itemsize == 64
