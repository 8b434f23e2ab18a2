"""Frames: the bytes of one append to the log, version 1.

Theory of operation. A frame is a header of 64 bytes, then `count` records of 64 bytes, then a blob. A hot command
(trade, order, cancel, fill, transfer, quote) is wholly in its record, so that thousands of them become one structured
array without a Python call per command. A cold command is a record of kind COLD whose slice of the blob is its bytes.
No compiler pads the records: every field lies on a multiple of its own size, and the import checks the offsets.

One content has one encoding: what is reserved is 0, hot records name no slice, the slices of the cold ones tile the
blob from its first byte to its last. So nothing can hide in a frame, and two encoders cannot differ.

What lives here: the layout, its limits, encoding, strict decoding, the hash chain over frames, and a text for people.
What may not: what a command means, which fields a kind uses, sessions, or the order of frames of a gateway. Normative:
`specs/frames.md`.
"""

import enum
import hashlib
import struct
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from holdfast.domain.errors import HoldfastError, InputError, invariant

MAGIC = b"HFFR"
FORMAT = 1
HEADER_LENGTH = 64
RECORD_LENGTH = 64
"""Bytes. A cache line: one record is one memory access of the loop that applies it."""

FRAME_LENGTH_MAXIMUM = 1 << 20
"""Bytes of a frame. A broker's message is limited to a mebibyte unless it is told otherwise, and larger messages only
add delay: at 256 KiB the cost of an append is already that of its bytes and no longer that of its fsync."""

RECORDS_MAXIMUM = 16_384
"""Records of a frame: how large whoever folds frames makes the arrays that have an element per record (outcomes, undo
journal). As FRAME_LENGTH_MAXIMUM counts the header too, a frame reaches one record less; the round number is what
arrays are sized by."""

HASH_LENGTH = 32
"""Bytes of a SHA-256."""
CHAIN_START = bytes(HASH_LENGTH)
"""H before the first frame of a log."""

_HEADER = struct.Struct("<4sHHQQII")
_CHECKED_HEADER_LENGTH = _HEADER.size
"""The checksum covers these bytes of the header and everything after the header; the checksum itself is between."""
_UNSIGNED_32_MAXIMUM = (1 << 32) - 1
_UNSIGNED_64_MAXIMUM = (1 << 64) - 1

_FIELDS = (
    ("kind", "<u1", 0),
    ("flags", "<u1", 1),
    ("reserved", "<u2", 2),
    ("account", "<u4", 4),
    ("other", "<u4", 8),
    ("instrument", "<u4", 12),
    ("session", "<u8", 16),
    ("number", "<u8", 24),
    ("quantity", "<i8", 32),
    ("price", "<i8", 40),
    ("time", "<i8", 48),
    ("blob_offset", "<u4", 56),
    ("blob_length", "<u4", 60),
)
RECORD: np.dtype[np.void] = np.dtype([(name, kind) for name, kind, _ in _FIELDS], align=True)
"""The layout of a record as a NumPy structured type."""

Records: TypeAlias = npt.NDArray[np.void]
"""A flat array of type RECORD."""


class RecordKind(enum.IntEnum):
    """What a record commands. Append-only: a number is never reused and never changes its meaning."""

    COLD = 0
    TRADE = 1
    ORDER = 2
    CANCEL = 3
    FILL = 4
    TRANSFER = 5
    QUOTE = 6


_KIND_MAXIMUM, _COLD = int(max(RecordKind)), int(RecordKind.COLD)
_FEW = 16
"""Records up to which a frame is checked without arrays."""
_CHECKED_FIELDS = struct.Struct("<BxH52xII")
"""Kind, reserved, blob_offset and blob_length of a record."""

invariant(_CHECKED_FIELDS.size == RECORD_LENGTH, "the checked fields lie in a whole record")
invariant(HEADER_LENGTH == _CHECKED_HEADER_LENGTH + HASH_LENGTH, "header and checksum fill the header")
invariant(RECORD.itemsize == RECORD_LENGTH, f"a record has {RECORD.itemsize} bytes instead of {RECORD_LENGTH}")
invariant(
    RECORD.fields is not None and all(RECORD.fields[name][1] == offset for name, _, offset in _FIELDS),
    "a compiler's padding moved a field of the record",
)
invariant(
    HEADER_LENGTH + (RECORDS_MAXIMUM - 1) * RECORD_LENGTH <= FRAME_LENGTH_MAXIMUM,
    "the limit of records is beyond what a frame can hold",
)
invariant(FRAME_LENGTH_MAXIMUM <= _UNSIGNED_32_MAXIMUM, "an offset in the blob may not fit its field")
invariant([kind.value for kind in RecordKind] == list(range(len(RecordKind))), "kinds are numbered without a gap")


class FrameError(HoldfastError, ValueError):
    """Bytes that are no frame, or content that no frame can carry.

    Attributes:
        field: Where: a field of the header, `records[7].kind`, or `length` for the whole.
        value: What stands there.
        expected: What may stand there.
    """

    def __init__(self, field: str, value: object, expected: str) -> None:
        self.field = field
        self.value = value
        self.expected = expected
        super().__init__(field, value, expected)

    def __str__(self) -> str:
        return f"frame: {self.field} is {self.value}, expected {self.expected}"


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A decoded frame.

    Attributes:
        gateway: Id of the gateway's session; 0 for the first gateway of a new log.
        frame_number: Number of the frame among those of its gateway, from 1.
        records: Read-only array of type RECORD, a view into the bytes that were decoded.
        blob: Bytes of the cold commands, a view too.
        checksum: SHA-256 over header and content, 32 bytes.
    """

    gateway: int
    frame_number: int
    records: Records
    blob: memoryview
    checksum: bytes

    def cold(self, index: int) -> bytes:
        """The bytes of the cold command in record `index`.

        Raises:
            InputError: There is no such record, or it is not cold.
        """
        if not 0 <= index < len(self.records) or self.records[index]["kind"] != RecordKind.COLD:
            raise InputError("out-of-range", "index", index, "give the index of a record of kind COLD")
        start = int(self.records[index]["blob_offset"])
        return bytes(self.blob[start : start + int(self.records[index]["blob_length"])])


def encode_frame(gateway: int, frame_number: int, records: Records, blob: bytes = b"") -> bytes:
    """The bytes of a frame.

    Args:
        gateway: Id of the gateway's session, 0 to 2**64 − 1.
        frame_number: Number of the frame among those of its gateway, 1 to 2**64 − 1.
        records: Flat array of type RECORD, contiguous or not; may be empty.
        blob: The cold commands one after the other, as the cold records say.

    Raises:
        FrameError: The content breaks a rule that `decode_frame` would refuse it for.
    """
    _check_integer("gateway", gateway, 0)
    _check_integer("frame_number", frame_number, 1)
    if not isinstance(records, np.ndarray) or records.dtype != RECORD or records.ndim != 1:
        raise FrameError("records", _shape(records), "a flat array of type RECORD")
    if not isinstance(blob, bytes):
        raise FrameError("blob", f"a {type(blob).__name__}", "bytes")
    check_content(records, len(blob))
    head = _HEADER.pack(MAGIC, FORMAT, 0, gateway, frame_number, len(records), len(blob))
    content = records.tobytes() + blob
    return b"".join((head, _checksum(head, content), content))


def cuts(starts: npt.NDArray[np.int64], limit: int) -> list[tuple[int, int]]:
    """Where to cut records into pieces that a frame can carry: first record of each and the one after its last.

    Args:
        starts: [records + 1] first byte of each record's slice, and the end of the last.
        limit: Bytes of records and slices that a piece is not to exceed unless one record alone does.
    """
    # ends[k]: bytes of all records before k and their slices.
    ends = np.arange(len(starts)) * RECORD_LENGTH + starts
    found, begin = [], 0
    while begin < len(starts) - 1:
        end = int(np.searchsorted(ends, int(ends[begin]) + limit, side="right")) - 1
        end = min(max(end, begin + 1), begin + RECORDS_MAXIMUM)
        found.append((begin, end))
        begin = end
    return found


def check_content(records: Records, blob_length: int) -> None:
    """Refuse records that no frame can carry, together with a blob of so many bytes; raises FrameError."""
    _check_count(len(records))
    _check_length(HEADER_LENGTH + len(records) * RECORD_LENGTH + blob_length)
    _check_records(records, blob_length)


def decode_frame(data: bytes | bytearray | memoryview) -> Frame:
    """Read a frame, refusing everything that `encode_frame` does not write.

    Nothing is copied: the records are a view of `data`. A buffer that is not `bytes` is copied first, so that nobody
    can change a frame after it was checked. Takes time in proportion to the length, whatever the bytes.

    Args:
        data: The whole frame and nothing else.

    Raises:
        FrameError: The first rule that is broken, in the order of FRM-6.
    """
    data = _as_bytes(data)
    _check_length(len(data))
    magic, version, reserved, gateway, frame_number, count, blob_length = _HEADER.unpack_from(data)
    _expect("magic", magic, MAGIC)
    _expect("format", version, FORMAT)
    _expect("reserved", reserved, 0)
    _check_integer("frame_number", frame_number, 1)
    _check_count(count)
    blob_start = HEADER_LENGTH + count * RECORD_LENGTH
    if len(data) != blob_start + blob_length:
        expected = f"{blob_start + blob_length}: the header, {count} records and {blob_length} bytes of blob"
        raise FrameError("length", f"{len(data)} bytes", expected)
    view = memoryview(data)
    checksum = data[_CHECKED_HEADER_LENGTH:HEADER_LENGTH]
    computed = _checksum(view[:_CHECKED_HEADER_LENGTH], view[HEADER_LENGTH:])
    if checksum != computed:
        raise FrameError(
            "checksum", checksum.hex(), f"{computed.hex()}; the bytes were changed after they were written"
        )
    records = np.frombuffer(data, RECORD, count, HEADER_LENGTH) if count else np.empty(0, RECORD)
    records.flags.writeable = False
    _check_records(records, blob_length)
    return Frame(gateway, frame_number, records, view[blob_start:], checksum)


def chain_hash(previous: bytes, frame: bytes) -> bytes:
    """H(n) = SHA-256(H(n−1) ‖ frame n), which fixes all frames up to n.

    Args:
        previous: H of the frame before, 32 bytes; CHAIN_START before the first.
        frame: The whole frame.

    Raises:
        FrameError: `previous` is not 32 bytes long.
    """
    if len(previous) != HASH_LENGTH:
        raise FrameError("previous", f"{len(previous)} bytes", f"a hash of {HASH_LENGTH} bytes")
    state = hashlib.sha256(previous)
    state.update(frame)
    return state.digest()


def describe(frame: Frame, *, records_maximum: int = 64) -> str:
    """A frame as lines of text for people: the header, then a line for each of the first records.

    Args:
        frame: What `decode_frame` returned.
        records_maximum: How many records to show; how many are left out is said.
    """
    lines = [
        f"frame {frame.frame_number} of gateway {frame.gateway}, format {FORMAT}: {len(frame.records)} records, "
        f"{len(frame.blob)} bytes of cold commands, checksum {frame.checksum.hex()}"
    ]
    lines += [_line(index, record) for index, record in enumerate(frame.records[:records_maximum])]
    left_out = len(frame.records) - records_maximum
    if left_out > 0:
        lines.append(f"  … and {left_out} more")
    return "\n".join(lines)


def _line(index: int, record: Any) -> str:
    kind = RecordKind(int(record["kind"]))
    text = f"  [{index}] {kind.name} session {record['session']} number {record['number']}"
    if record["flags"]:
        text += f" flags 0x{int(record['flags']):02x}"
    names = ("account", "other", "instrument", "quantity", "price", "time")
    # A cold command says everything in its bytes, so a field of its record is worth showing only where it is set.
    shown = [name for name in names if kind is not RecordKind.COLD or record[name]]
    text += "".join(f" {name} {record[name]}" for name in shown)
    if kind is RecordKind.COLD:
        text += f" blob {record['blob_offset']}+{record['blob_length']}"
    return text


def _checksum(head: bytes | memoryview, content: bytes | memoryview) -> bytes:
    state = hashlib.sha256(head)
    state.update(content)
    return state.digest()


def _as_bytes(data: object) -> bytes:
    if isinstance(data, bytes):
        return data
    if isinstance(data, bytearray | memoryview):
        return bytes(data)
    raise FrameError("length", f"a {type(data).__name__}", "bytes")


def _shape(records: object) -> str:
    if isinstance(records, np.ndarray):
        return f"an array of {records.ndim} dimensions and type {records.dtype}"
    return f"a {type(records).__name__}"


def _expect(field: str, value: object, expected: object) -> None:
    if value != expected:
        raise FrameError(field, repr(value), repr(expected))


def _check_integer(field: str, value: int, minimum: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= _UNSIGNED_64_MAXIMUM:
        raise FrameError(field, repr(value), f"a whole number from {minimum} to 2**64 − 1")


def _check_count(count: int) -> None:
    if count > RECORDS_MAXIMUM:
        raise FrameError(
            "count", f"{count} records", f"at most {RECORDS_MAXIMUM}; split the commands over several frames"
        )


def _check_length(length: int) -> None:
    if not HEADER_LENGTH <= length <= FRAME_LENGTH_MAXIMUM:
        raise FrameError("length", f"{length} bytes", f"{HEADER_LENGTH} to {FRAME_LENGTH_MAXIMUM}")


def _check_records(records: Records, blob_length: int) -> None:
    """Refuse records that break FRM-4 or FRM-5; the first in the order of the checks, then of the records."""
    if len(records) <= _FEW and _are_sound(records, blob_length):
        return
    kind = records["kind"]
    _refuse_first(kind > _KIND_MAXIMUM, records, "kind", f"a kind from 0 to {_KIND_MAXIMUM}")
    _refuse_first(records["reserved"] != 0, records, "reserved", "0")
    hot = kind != RecordKind.COLD
    for field in ("blob_offset", "blob_length"):
        _refuse_first(hot & (records[field] != 0), records, field, "0, as the record is hot")
    _check_slices(records, np.flatnonzero(~hot), blob_length)


def _are_sound(records: Records, blob_length: int) -> bool:
    """Whether few records break nothing: one by one, as an operation on arrays costs more than several records."""
    end = 0
    for kind, reserved, offset, length in _CHECKED_FIELDS.iter_unpack(records.tobytes()):
        is_slice = offset == end and length > 0 if kind == _COLD else offset == length == 0
        if kind > _KIND_MAXIMUM or reserved or not is_slice:
            return False
        end += length
    return end == blob_length


def _check_slices(records: Records, cold: npt.NDArray[np.intp], blob_length: int) -> None:
    """Refuse cold records whose slices do not tile the blob, in their order."""
    lengths = records["blob_length"][cold].astype(np.int64)
    ends = np.cumsum(lengths)
    wrong = lengths == 0
    if wrong.any():
        raise FrameError(f"records[{cold[wrong.argmax()]}].blob_length", 0, "at least 1, as the record is cold")
    wrong = records["blob_offset"][cold] != ends - lengths
    if wrong.any():
        at = int(wrong.argmax())
        expected = f"{ends[at] - lengths[at]}, the end of the slice before"
        raise FrameError(f"records[{cold[at]}].blob_offset", int(records[cold[at]]["blob_offset"]), expected)
    used = int(ends[-1]) if len(ends) else 0
    if used != blob_length:
        raise FrameError("blob_length", blob_length, f"{used}, what the cold records use")


def _refuse_first(wrong: npt.NDArray[np.bool_], records: Records, field: str, expected: str) -> None:
    if wrong.any():
        at = int(wrong.argmax())
        raise FrameError(f"records[{at}].{field}", int(records[at][field]), expected)
