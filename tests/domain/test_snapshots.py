"""Snapshots against golden files packed by another program, and strictness against every kind of damage."""

import hashlib
import re
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import golden_snapshots
from holdfast.domain.snapshots import (
    BYTES,
    TYPES,
    SnapshotError,
    SnapshotHeader,
    decode_snapshot,
    describe,
    encode_snapshot,
)

GOLDEN = Path(__file__).parents[1] / "golden"
FILES = {file.name[:-4]: file.read_bytes() for file in sorted(GOLDEN.glob("snapshot-v1-*.bin"))}
PARTS = FILES["snapshot-v1-parts"]
HEADER = SnapshotHeader(3, 2**64 - 1, golden_snapshots.HASH, golden_snapshots.ROOT)
ZERO = SnapshotHeader(1, 0, bytes(32), bytes(32))
GIBIBYTES_16 = 17_179_869_184


def sealed(data):
    return data + hashlib.sha256(data).digest()


def altered(data, at, layout, value):
    """A snapshot with another value at a byte, its checksum made right again."""
    changed = bytearray(data)
    struct.pack_into(layout, changed, at, value)
    return sealed(bytes(changed[:-32]))


def part(stream, *, name=b"x", kind=b"bytes", shape=None, raw=None, reserved=0, compressed=None):
    """A part whose header may lie about its stream."""
    raw = len(zlib.decompress(stream)) if raw is None else raw
    shape = (raw,) if shape is None else shape
    compressed = len(stream) if compressed is None else compressed
    head = struct.pack("<HHHHQQ", len(name), len(kind), len(shape), reserved, raw, compressed)
    return head + b"".join(struct.pack("<Q", size) for size in shape) + name + kind + stream


def snapshot(*parts, count=None):
    count = len(parts) if count is None else count
    return sealed(b"HFSN" + struct.pack("<HHIIQ", 1, 0, 1, count, 0) + bytes(64) + b"".join(parts))


def same(content, expected):
    if isinstance(expected, bytes):
        return content == expected
    is_alike = content.dtype == expected.dtype and content.shape == expected.shape
    return is_alike and content.tobytes() == expected.tobytes()


def test_golden_files():
    assert {f"{name}.bin": data for name, data in FILES.items()} == golden_snapshots.golden()


@pytest.mark.criterion("SNP-7")
def test_what_the_page_prints():
    page = (Path(__file__).parents[2] / "specs" / "snapshots.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z0-9-]+)\.bin` \| (\d+) \| `([0-9a-f]{64})` \|$", page, re.MULTILINE)
    assert {name: (int(length), digest) for name, length, digest in rows} == {
        name: (len(data), data[-32:].hex()) for name, data in FILES.items()
    }
    printed = ["".join(block.split()) for block in re.findall(r"```\n(.*?)```", page, re.DOTALL)]
    assert printed[0] == FILES["snapshot-v1-empty"].hex()
    assert PARTS[88:].hex().startswith(printed[1])


@pytest.mark.criterion("SNP-1", "SNP-2", "SNP-3", "SNP-7")
def test_golden_snapshots_are_read():
    empty = decode_snapshot(FILES["snapshot-v1-empty"])
    assert (empty.header, dict(empty.parts)) == (ZERO, {})
    assert empty.checksum == FILES["snapshot-v1-empty"][-32:]
    read = decode_snapshot(PARTS)
    assert read.header == HEADER
    assert list(read.parts) == [name.decode() for name, *_ in golden_snapshots.PARTS]
    for name, kind, shape, data in golden_snapshots.PARTS:
        content = read.parts[name.decode()]
        if kind == b"bytes":
            assert content == data
        else:
            assert (content.dtype.str, content.shape, content.tobytes()) == (kind.decode(), shape, data)
            assert not content.flags.writeable
    assert read.parts["flags"].tolist() == [[False, True], [True, False]]
    assert read.parts["prices"].tolist() == [[[-(2**63), -1]], [[0, 2**63 - 1]]]


@pytest.mark.criterion("SNP-1", "SNP-2", "SNP-5")
def test_the_writer_lays_out_what_the_page_says(monkeypatch):
    monkeypatch.setattr(zlib, "compress", lambda raw, level: golden_snapshots.stored(bytes(raw)) if level == 1 else b"")
    parts = decode_snapshot(PARTS).parts
    assert encode_snapshot(HEADER, dict(reversed(parts.items()))) == PARTS
    assert encode_snapshot(ZERO, {}) == FILES["snapshot-v1-empty"]


names = st.from_regex(r"[a-z0-9][a-z0-9._/-]{0,9}", fullmatch=True)
arrays = st.sampled_from([kind for kind in TYPES if kind != BYTES]).flatmap(
    lambda kind: hnp.arrays(np.dtype(kind), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)


@pytest.mark.criterion("SNP-3", "SNP-4", "SNP-5")
@given(st.dictionaries(names, st.one_of(arrays, st.binary(max_size=50)), max_size=5), st.integers(0, 2**64 - 1))
def test_round_trip(parts, position):
    header = replace(HEADER, position=position)
    data = encode_snapshot(header, parts)
    for given_as in (data, bytearray(data), memoryview(data)):
        read = decode_snapshot(given_as)
        assert read.header == header
        assert list(read.parts) == sorted(parts)
        assert all(same(read.parts[name], content) for name, content in parts.items())
    assert encode_snapshot(header, read.parts) == data
    assert len(describe(read).splitlines()) == 3 + len(parts)


@pytest.mark.criterion("SNP-3")
def test_memory_order_does_not_matter():
    table = np.arange(24, dtype=np.int64).reshape(2, 3, 4)
    for view in (table.T, table[:, ::2], table[::-1], np.asfortranarray(table)):
        assert same(decode_snapshot(encode_snapshot(ZERO, {"a": view})).parts["a"], view)
    assert encode_snapshot(ZERO, {"a": np.asfortranarray(table)}) == encode_snapshot(ZERO, {"a": table})


@pytest.mark.criterion("SNP-6")
@pytest.mark.parametrize("name", sorted(FILES))
def test_every_byte_counts(name):
    data = FILES[name]
    for at in range(len(data)):
        for flip in (1, 0x80, 0xFF):
            with pytest.raises(SnapshotError) as caught:
                decode_snapshot(data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :])
            assert caught.value.field == ("magic" if at < 4 else "format" if at < 6 else "checksum")
        with pytest.raises(SnapshotError):
            decode_snapshot(data[:at])
    with pytest.raises(SnapshotError, match="checksum"):
        decode_snapshot(data + b"\0")


@pytest.mark.criterion("SNP-1", "SNP-2", "SNP-6")
@pytest.mark.parametrize(
    ("at", "layout", "value", "field"),
    [
        (0, "4s", b"HFSO", "magic"),
        (4, "<H", 2, "format"),
        (6, "<H", 1, "reserved"),
        (12, "<I", 4_097, "count"),
        (12, "<I", 8, "length"),
        (12, "<I", 10, "parts[9]"),
        (88 + 6, "<H", 1, "parts[0].reserved"),
        (88 + 4, "<H", 5, "parts[0].dimensions"),
        (88 + 16, "<Q", 2**64 - 1, "parts[0].length"),
        (88, "<H", 0, "parts[0].name"),
        (88, "<H", 65_535, "parts[0].length"),
        (88 + 32, "<B", ord("A"), "parts[0].name"),
        (88 + 32, "<B", ord("/"), "parts[0].name"),
        (88 + 32, "<B", 0xE9, "parts[0].name"),
        (88 + 47, "3s", b"|V1", "parts[0].type"),
        (88 + 47, "3s", b">u1", "parts[0].type"),
        (88 + 24, "<Q", 2, "parts[0].raw_length"),
        (88 + 8, "<Q", 4, "parts[0].raw_length"),
        (88 + 24, "<Q", 2**64 - 1, "parts[0].shape"),
        (88 + 50, "<B", 0, "parts[0].content"),
        (88 + 61, "<B", 0, "parts[0].content"),
        (88 + 32, "<B", ord("b"), "parts[1].name"),
    ],
)
def test_each_rule_that_is_broken_is_named(at, layout, value, field):
    with pytest.raises(SnapshotError) as caught:
        decode_snapshot(altered(PARTS, at, layout, value))
    assert caught.value.field == field
    assert re.fullmatch(rf"snapshot: {re.escape(field)} is .+, expected .+", str(caught.value), re.DOTALL)


TEXT = zlib.compress(b"some text")


@pytest.mark.criterion("SNP-3", "SNP-4", "SNP-6")
@pytest.mark.parametrize(
    ("data", "field"),
    [
        (snapshot(part(TEXT, raw=8)), "parts[0].content"),
        (snapshot(part(TEXT, raw=10)), "parts[0].content"),
        (snapshot(part(TEXT, raw=0)), "parts[0].content"),
        (snapshot(part(TEXT + b"\0", raw=9)), "parts[0].content"),
        (snapshot(part(TEXT + TEXT, raw=9)), "parts[0].content"),
        (snapshot(part(TEXT[:-1], raw=9)), "parts[0].content"),
        (snapshot(part(TEXT[2:-4], raw=9)), "parts[0].content"),
        (snapshot(part(b"", raw=0)), "parts[0].content"),
        (snapshot(part(TEXT, kind=b"|b1")), "parts[0].content"),
        (snapshot(part(TEXT, shape=())), "parts[0].dimensions"),
        (snapshot(part(TEXT, shape=(3, 3))), "parts[0].dimensions"),
        (snapshot(part(TEXT, kind=b"<u2")), "parts[0].raw_length"),
        (snapshot(part(TEXT, kind=b"|u1", shape=(0, 2**63), raw=0)), "parts[0].shape"),
        (snapshot(part(TEXT, kind=b"|u1", shape=(2**33, 2**33), raw=0)), "parts[0].shape"),
        (snapshot(part(TEXT, name=b"x" * 65)), "parts[0].name"),
        (snapshot(part(TEXT), part(TEXT)), "parts[1].name"),
        (snapshot(part(TEXT, name=b"x0"), part(TEXT)), "parts[1].name"),
        (snapshot(part(TEXT), count=2), "parts[1]"),
        (snapshot(part(TEXT), part(TEXT, name=b"y"), count=1), "length"),
        (snapshot(part(TEXT) + b"\0"), "length"),
        (snapshot(part(TEXT, compressed=len(TEXT) + 1)), "parts[0].length"),
        (snapshot(part(TEXT, compressed=len(TEXT) - 1)), "length"),
    ],
)
def test_parts_that_lie(data, field):
    with pytest.raises(SnapshotError) as caught:
        decode_snapshot(data)
    assert caught.value.field == field


@pytest.mark.criterion("SNP-4")
def test_little_cannot_become_much(monkeypatch):
    bomb = zlib.compress(bytes(10_000_000), 9)
    honest = snapshot(part(bomb))
    assert len(honest) < 12_000
    assert len(decode_snapshot(honest).parts["x"]) == 10_000_000
    streams = []
    monkeypatch.setattr(zlib, "decompressobj", lambda: streams.append(1))
    for data, field in [
        (honest, "parts.raw_length"),
        (snapshot(part(bomb, raw=len(bomb) * 1_032 + 1)), "parts[0].raw_length"),
        (snapshot(part(bomb, raw=GIBIBYTES_16 + 1)), "parts[0].shape"),
        (snapshot(part(bomb), part(bomb, name=b"y")), "parts.raw_length"),
    ]:
        with pytest.raises(SnapshotError) as caught:
            decode_snapshot(data, raw_length_maximum=9_999_999)
        assert caught.value.field == field
    assert not streams


@pytest.mark.criterion("SNP-4")
def test_no_more_is_unpacked_than_announced(monkeypatch):
    limits = []

    class Stream:
        def __init__(self):
            self.stream = real()

        def decompress(self, data, limit):
            limits.append(limit)
            return self.stream.decompress(data, limit)

    real = zlib.decompressobj
    monkeypatch.setattr(zlib, "decompressobj", Stream)
    with pytest.raises(SnapshotError, match="a stream of more, expected a zlib stream of 5 bytes"):
        decode_snapshot(snapshot(part(zlib.compress(bytes(10_000_000)), raw=5)))
    assert limits == [6]


@pytest.mark.criterion("SNP-2", "SNP-3", "SNP-6")
@pytest.mark.parametrize(
    ("header", "parts", "field"),
    [
        (replace(ZERO, logic_version=2**32), {}, "logic_version"),
        (replace(ZERO, position=-1), {}, "position"),
        (replace(ZERO, chain_hash=bytes(31)), {}, "chain_hash"),
        (replace(ZERO, state_root="0" * 32), {}, "state_root"),
        (ZERO, {"": b""}, "parts"),
        (ZERO, {"A": b""}, "parts"),
        (ZERO, {"a b": b""}, "parts"),
        (ZERO, {"x" * 65: b""}, "parts"),
        (ZERO, {"x\n": b""}, "parts"),
        (ZERO, {1: b""}, "parts"),
        (ZERO, {"a": b"", "x": np.zeros(1, ">i8")}, "parts[1].type"),
        (ZERO, {"x": np.zeros(1, "<i8, <i8")}, "parts[0].type"),
        (ZERO, {"x": np.array([None])}, "parts[0].type"),
        (ZERO, {"x": np.zeros(1, np.complex128)}, "parts[0].type"),
        (ZERO, {"x": "text"}, "parts[0].type"),
        (ZERO, {"x": [1, 2]}, "parts[0].type"),
        (ZERO, {"x": np.zeros((1, 1, 1, 1, 1))}, "parts[0].dimensions"),
        (ZERO, {"x": np.zeros((0, 2**40))}, "parts[0].shape"),
        (ZERO, {"x": np.broadcast_to(np.zeros(1), (GIBIBYTES_16,))}, "parts.raw_length"),
        (ZERO, {f"x{n}": b"" for n in range(4_097)}, "count"),
    ],
)
def test_writing_refuses_what_reading_would(header, parts, field):
    with pytest.raises(SnapshotError) as caught:
        encode_snapshot(header, parts)
    assert caught.value.field == field


@pytest.mark.criterion("SNP-6")
@given(st.data())
def test_any_damage_under_a_right_checksum(data):
    damaged = bytearray(PARTS[:-32])
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = decode_snapshot(sealed(bytes(damaged)))
    except SnapshotError:
        return
    again = decode_snapshot(encode_snapshot(read.header, read.parts))
    assert again.header == read.header
    assert all(same(again.parts[name], content) for name, content in read.parts.items())


@pytest.mark.criterion("SNP-6")
@given(st.binary(max_size=300), st.integers(0, 3))
def test_any_bytes(data, count):
    head = b"HFSN" + struct.pack("<HHIIQ", 1, 0, 1, count, 0) + bytes(64)
    for probe in (data, sealed(head + data)):
        try:
            decode_snapshot(probe)
        except SnapshotError:
            continue
        assert probe == FILES["snapshot-v1-empty"]


@pytest.mark.criterion("SNP-6")
@pytest.mark.parametrize("data", [None, "HFSN", 120, [0] * 120])
def test_what_is_not_bytes(data):
    with pytest.raises(SnapshotError, match=r"length is a .+, expected bytes"):
        decode_snapshot(data)


@pytest.mark.criterion("SNP-8")
def test_description():
    text = describe(decode_snapshot(PARTS)).splitlines()
    assert text[0] == (
        f"snapshot after position 18446744073709551615, format 1: 9 parts, logic 3, checksum {PARTS[-32:].hex()}"
    )
    assert text[1:3] == [f"  H {golden_snapshots.HASH.hex()}", f"  state root {golden_snapshots.ROOT.hex()}"]
    assert text[3] == "  accounts/status |u1 3, 3 bytes"
    assert text[8:10] == ["  prices <i8 2 × 1 × 2, 32 bytes", "  scalar <f4 one value, 4 bytes"]
