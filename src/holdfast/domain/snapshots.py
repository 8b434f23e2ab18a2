"""Snapshots: the bytes of a whole state at one position of the log, version 1.

Theory of operation. A snapshot is a header that says which state it is (position, H, state root), then parts, each a
named array or byte string behind its own header, compressed, and a SHA-256 over all of it. A reader checks that hash
first, walks over all headers of parts before it unpacks the first one, and unpacks no more than a header announced,
which limits bound: a small file cannot fill the memory.

One content has one order: the parts are sorted by name. It has not one encoding, as libraries compress differently;
what two replicas compare is the state root and never a snapshot's bytes.

What lives here: the container. What may not: what a part means, and files. Normative: `specs/snapshots.md`.
"""

import hashlib
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from holdfast.domain.errors import invariant
from holdfast.domain.wire import (
    HASH_LENGTH,
    UNSIGNED_32_MAXIMUM,
    UNSIGNED_64_MAXIMUM,
    WireError,
    as_bytes,
    check_integer,
    check_octets,
    check_seal,
    expect,
)

MAGIC = b"HFSN"
FORMAT = 1
SNAPSHOT_HEADER_LENGTH = 88
PART_HEADER_LENGTH = 24
PARTS_MAXIMUM = 4_096
NAME_LENGTH_MAXIMUM = 64
DIMENSIONS_MAXIMUM = 4
RAW_LENGTH_MAXIMUM = 16 << 30
"""Bytes of all parts together before compression, unless a reader allows less: sixteen times a state of a million
accounts of twenty positions. A reader allocates no more, whatever a snapshot says."""
BYTES = "bytes"
"""What stands for the type of a part that is a byte string."""
TYPES = ("|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f4", "<f8", BYTES)
"""Types of a part, as NumPy writes them: fixed bytes on every machine, and nothing that needs a further description."""

_HEADER = struct.Struct("<4sHHIIQ32s32s")
_PART = struct.Struct("<HHHHQQ")
_DIMENSION = struct.Struct("<Q")
_COMPRESSION_LEVEL = 1
"""The fastest: numbers of a state compress about as well with it, and a snapshot must not hold up the fold."""
_EXPANSION_MAXIMUM = 1_032
"""Bytes that one byte of a deflate stream can stand for at most (258 bytes for two bits)."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._/-]*", re.ASCII)

PartContent: TypeAlias = npt.NDArray[Any] | bytes

invariant(_HEADER.size == SNAPSHOT_HEADER_LENGTH, "the header has the length that the page states")
invariant(_PART.size == PART_HEADER_LENGTH, "the header of a part has the length that the page states")


class SnapshotError(WireError):
    """Bytes that are no snapshot, or content that no snapshot can carry."""

    form = "snapshot"


@dataclass(frozen=True, slots=True)
class SnapshotHeader:
    """Which state a snapshot holds.

    Attributes:
        logic_version: Version of the logic that holds from the next command on.
        position: Log position of the last frame that was folded; the frames 0 to `position` are in the state.
        chain_hash: H at that position, 32 bytes.
        state_root: State root there, 32 bytes.
    """

    logic_version: int
    position: int
    chain_hash: bytes
    state_root: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """A decoded snapshot.

    Attributes:
        header: Which state it holds.
        parts: Read-only arrays and byte strings by name, ascending.
        checksum: SHA-256 over everything before it, 32 bytes.
    """

    header: SnapshotHeader
    parts: Mapping[str, PartContent]
    checksum: bytes


class _PartHeader(NamedTuple):
    """What stands before a part's compressed bytes, and where those are."""

    field: str
    name: str
    kind: str
    shape: tuple[int, ...]
    raw_length: int
    start: int
    end: int


def encode_snapshot(header: SnapshotHeader, parts: Mapping[str, npt.NDArray[Any] | bytes]) -> bytes:
    """The bytes of a snapshot.

    Args:
        header: Which state it holds.
        parts: Arrays of a type of TYPES with at most DIMENSIONS_MAXIMUM dimensions, in any memory order, and byte
            strings. Names are 1 to 64 of `a–z`, `0–9`, `.`, `_`, `/` and `-`, beginning with a letter or digit.

    Raises:
        SnapshotError: The content breaks a rule that `decode_snapshot` would refuse it for.
    """
    check_integer(SnapshotError, "logic_version", header.logic_version, 0, UNSIGNED_32_MAXIMUM)
    check_integer(SnapshotError, "position", header.position, 0, UNSIGNED_64_MAXIMUM)
    check_octets(SnapshotError, "chain_hash", header.chain_hash, HASH_LENGTH)
    check_octets(SnapshotError, "state_root", header.state_root, HASH_LENGTH)
    _check_count(len(parts))
    for name in parts:
        _check_name("parts", name)
    names = sorted(parts)
    _check_raw_length("parts", sum(_raw_length(parts[name]) for name in names), RAW_LENGTH_MAXIMUM)
    numbers = (header.logic_version, len(parts), header.position, header.chain_hash, header.state_root)
    chunks = [_HEADER.pack(MAGIC, FORMAT, 0, *numbers)]
    for index, name in enumerate(names):
        chunks += _encoded_part(f"parts[{index}]", name, parts[name])
    checksum = hashlib.sha256()
    for chunk in chunks:
        checksum.update(chunk)
    return b"".join([*chunks, checksum.digest()])


def decode_snapshot(data: bytes | bytearray | memoryview, *, raw_length_maximum: int = RAW_LENGTH_MAXIMUM) -> Snapshot:
    """Read a snapshot, refusing what is torn, changed or larger than allowed.

    Whether the state is the one of its root is not checked here: that takes the fold's own trees.

    Args:
        data: The whole snapshot and nothing else.
        raw_length_maximum: Bytes that all parts together may unpack to.

    Raises:
        SnapshotError: The first rule that is broken, in the order of SNP-6.
    """
    data = as_bytes(SnapshotError, data)
    if len(data) < SNAPSHOT_HEADER_LENGTH + HASH_LENGTH:
        raise SnapshotError("length", f"{len(data)} bytes", f"at least {SNAPSHOT_HEADER_LENGTH + HASH_LENGTH}")
    magic, version, reserved, logic_version, count, position, chain_hash, state_root = _HEADER.unpack_from(data)
    expect(SnapshotError, "magic", magic, MAGIC)
    expect(SnapshotError, "format", version, FORMAT)
    check_seal(SnapshotError, data)
    expect(SnapshotError, "reserved", reserved, 0)
    _check_count(count)
    headers = _part_headers(data, count)
    _check_raw_length("parts", sum(part.raw_length for part in headers), raw_length_maximum)
    view = memoryview(data)
    parts = {part.name: _content(part, view[part.start : part.end]) for part in headers}
    header = SnapshotHeader(logic_version, position, chain_hash, state_root)
    return Snapshot(header, parts, data[-HASH_LENGTH:])


def describe(snapshot: Snapshot) -> str:
    """A snapshot as lines of text for people: the header, then a line for each part."""
    header = snapshot.header
    lines = [
        f"snapshot after position {header.position}, format {FORMAT}: {len(snapshot.parts)} parts, "
        f"logic {header.logic_version}, checksum {snapshot.checksum.hex()}",
        f"  H {header.chain_hash.hex()}",
        f"  state root {header.state_root.hex()}",
    ]
    for name, content in snapshot.parts.items():
        kind, shape = _kind_and_shape(content)
        text = " × ".join(map(str, shape)) if shape else "one value"
        lines.append(f"  {name} {kind} {text}, {_raw_length(content)} bytes")
    return "\n".join(lines)


def _encoded_part(field: str, name: str, content: PartContent) -> list[bytes]:
    kind, shape = _kind_and_shape(content)
    if kind not in TYPES:
        raise SnapshotError(f"{field}.type", kind, f"one of {', '.join(TYPES)}")
    if len(shape) > DIMENSIONS_MAXIMUM:
        raise SnapshotError(f"{field}.dimensions", len(shape), f"at most {DIMENSIONS_MAXIMUM}")
    _check_shape(field, kind, shape)
    raw = content if isinstance(content, bytes) else np.ascontiguousarray(content).reshape(-1).view(np.uint8).data
    compressed = zlib.compress(raw, _COMPRESSION_LEVEL)
    text, kind_text = name.encode("ascii"), kind.encode("ascii")
    head = _PART.pack(len(text), len(kind_text), len(shape), 0, memoryview(raw).nbytes, len(compressed))
    return [head, b"".join(map(_DIMENSION.pack, shape)), text, kind_text, compressed]


def _kind_and_shape(content: object) -> tuple[str, tuple[int, ...]]:
    if isinstance(content, bytes):
        return BYTES, (len(content),)
    if isinstance(content, np.ndarray):
        return content.dtype.str, content.shape
    return type(content).__name__, ()


def _raw_length(content: object) -> int:
    if isinstance(content, np.ndarray):
        return int(content.nbytes)
    return len(content) if isinstance(content, bytes) else 0


def _part_headers(data: bytes, count: int) -> list[_PartHeader]:
    """All headers of parts, which with the parts fill the bytes up to the checksum, in ascending order of name."""
    headers: list[_PartHeader] = []
    at, end = SNAPSHOT_HEADER_LENGTH, len(data) - HASH_LENGTH
    for index in range(count):
        part = _part_header(f"parts[{index}]", data, at, end)
        if headers and part.name <= headers[-1].name:
            raise SnapshotError(f"{part.field}.name", repr(part.name), f"one that sorts behind {headers[-1].name!r}")
        headers.append(part)
        at = part.end
    if at != end:
        raise SnapshotError("length", f"{len(data)} bytes", f"{at + HASH_LENGTH} with {count} parts")
    return headers


def _part_header(field: str, data: bytes, at: int, end: int) -> _PartHeader:
    if end - at < PART_HEADER_LENGTH:
        raise SnapshotError(field, f"{end - at} bytes", f"at least {PART_HEADER_LENGTH}")
    name_length, kind_length, dimensions, reserved, raw_length, compressed_length = _PART.unpack_from(data, at)
    expect(SnapshotError, f"{field}.reserved", reserved, 0)
    if dimensions > DIMENSIONS_MAXIMUM:
        raise SnapshotError(f"{field}.dimensions", dimensions, f"at most {DIMENSIONS_MAXIMUM}")
    shape_at = at + PART_HEADER_LENGTH
    name_at = shape_at + dimensions * _DIMENSION.size
    kind_at = name_at + name_length
    start = kind_at + kind_length
    if compressed_length > end - start:
        raise SnapshotError(f"{field}.length", f"{start - at + compressed_length} bytes", f"at most {end - at}")
    name = data[name_at:kind_at].decode("latin-1")
    _check_name(f"{field}.name", name)
    kind = data[kind_at:start].decode("latin-1")
    if kind not in TYPES:
        raise SnapshotError(f"{field}.type", repr(kind), f"one of {', '.join(TYPES)}")
    shape = tuple(_DIMENSION.unpack_from(data, shape_at + k * _DIMENSION.size)[0] for k in range(dimensions))
    _check_part_length(field, kind, shape, raw_length, compressed_length)
    return _PartHeader(field, name, kind, shape, raw_length, start, start + compressed_length)


def _check_part_length(field: str, kind: str, shape: tuple[int, ...], raw_length: int, compressed_length: int) -> None:
    if kind == BYTES and len(shape) != 1:
        raise SnapshotError(f"{field}.dimensions", len(shape), "1, as the part is a byte string")
    _check_shape(field, kind, shape)
    expected = prod(shape) * _item_length(kind)
    if raw_length != expected:
        raise SnapshotError(f"{field}.raw_length", f"{raw_length} bytes", f"{expected} for {kind} of shape {shape}")
    if raw_length > compressed_length * _EXPANSION_MAXIMUM:
        bound = compressed_length * _EXPANSION_MAXIMUM
        raise SnapshotError(
            f"{field}.raw_length", f"{raw_length} bytes", f"at most {bound}, which so few can unpack to"
        )


def _check_shape(field: str, kind: str, shape: tuple[int, ...]) -> None:
    # A 0 among the dimensions must not let the others grow beyond what an array can have.
    if prod(max(1, size) for size in shape) * _item_length(kind) > RAW_LENGTH_MAXIMUM:
        raise SnapshotError(f"{field}.shape", shape, f"at most {RAW_LENGTH_MAXIMUM} bytes, each 0 counted as 1")


def _item_length(kind: str) -> int:
    return 1 if kind == BYTES else np.dtype(kind).itemsize


def _content(part: _PartHeader, compressed: memoryview) -> PartContent:
    raw = _unpacked(part, compressed)
    if part.kind == BYTES:
        return raw
    array = np.frombuffer(raw, np.uint8) if part.kind == "|b1" else np.frombuffer(raw, part.kind)
    if part.kind == "|b1":
        if (array > 1).any():
            raise SnapshotError(f"{part.field}.content", int(array[(array > 1).argmax()]), "truth values of 0 and 1")
        array = array.view(np.bool_)
    return array.reshape(part.shape)


def _unpacked(part: _PartHeader, compressed: memoryview) -> bytes:
    stream = zlib.decompressobj()
    field, expected = f"{part.field}.content", f"a zlib stream of {part.raw_length} bytes"
    try:
        # One byte more than announced shows that there is more; 0 would mean without a limit.
        raw = stream.decompress(compressed, part.raw_length + 1)
    except zlib.error as error:
        raise SnapshotError(field, f"no zlib stream ({error})", expected) from None
    if len(raw) != part.raw_length:
        beyond = "more" if len(raw) > part.raw_length else f"{len(raw)} bytes"
        raise SnapshotError(field, f"a stream of {beyond}", expected)
    if not stream.eof or stream.unused_data or stream.unconsumed_tail:
        raise SnapshotError(field, "a stream that ends elsewhere", f"{expected}, its end at the part's end")
    return raw


def _check_count(count: int) -> None:
    if count > PARTS_MAXIMUM:
        raise SnapshotError("count", f"{count} parts", f"at most {PARTS_MAXIMUM}")


def _check_name(field: str, name: object) -> None:
    if not isinstance(name, str) or len(name) > NAME_LENGTH_MAXIMUM or not _NAME.fullmatch(name):
        raise SnapshotError(field, repr(name), f"a name of 1 to {NAME_LENGTH_MAXIMUM} of a–z, 0–9 and . _ / -")


def _check_raw_length(field: str, length: int, maximum: int) -> None:
    if length > maximum:
        raise SnapshotError(f"{field}.raw_length", f"{length} bytes", f"at most {maximum} for all parts together")
