"""Votes: the bytes of one replica's signed word about a mark, version 1.

Theory of operation. A vote is a header of 112 bytes, `count` rows of 64 bytes, and a signature over all of it. The
header says which log and state the replica speaks of: the position, H there, and the state root. A row says what both
engines found for one account at risk, or for one withdrawal. No compiler pads the rows.

One content has one encoding: what is reserved is 0, numbers that are absent are 0, there is no −0, and the rows stand
in ascending order, so that two replicas that agree write the same rows and a row cannot stand twice.

What lives here: the layout, its limits, encoding, strict decoding, signing, and a text for people. What may not: what a
quorum is, whether a verdict follows from its numbers (that needs the tolerance), or which key belongs to a replica.
Normative: `specs/votes.md`.
"""

import enum
import struct
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from holdfast.domain.errors import invariant
from holdfast.domain.frames import FRAME_LENGTH_MAXIMUM, HEADER_LENGTH, RECORD_LENGTH
from holdfast.domain.signatures import SIGNATURE_LENGTH, is_signature, is_usable_key, sign
from holdfast.domain.wire import (
    HASH_LENGTH,
    SIGNED_64_MAXIMUM,
    SIGNED_64_MINIMUM,
    UNSIGNED_32_MAXIMUM,
    UNSIGNED_64_MAXIMUM,
    WireError,
    as_bytes,
    check_integer,
    check_length,
    check_octets,
    expect,
)

MAGIC = b"HFVT"
FORMAT = 1
VOTE_HEADER_LENGTH = 112
ROW_LENGTH = 64
ROWS_MAXIMUM = 16_000
"""Rows of a vote: with its envelope it fits in a frame of its own. Accounts beyond them wait for the next mark."""
VOTE_LENGTH_MAXIMUM = VOTE_HEADER_LENGTH + ROWS_MAXIMUM * ROW_LENGTH + SIGNATURE_LENGTH

FLAG_WITHOUT_B: Final = 1
"""The second engine had no result: its numbers are 0."""
FLAG_WITHDRAWAL: Final = 2
"""The row is about a withdrawal, whose number stands in `account`."""
UNSIGNED = bytes(SIGNATURE_LENGTH)
"""What stands for the signature of a vote that is not signed yet. No key that may sign accepts it."""

_HEADER = struct.Struct("<4sHHIIQ32s32sQqII")
_FLAGS_ALL = FLAG_WITHOUT_B | FLAG_WITHDRAWAL
_ENVELOPE_MAXIMUM = 1_024
"""Bytes that the command around a vote may take."""
_FIELDS = (
    ("account", "<u4", 0),
    ("verdict", "<u1", 4),
    ("flags", "<u1", 5),
    ("reserved", "<u2", 6),
    ("account_version", "<u8", 8),
    ("a_equity", "<f8", 16),
    ("a_maintenance", "<f8", 24),
    ("b_equity", "<f8", 32),
    ("b_maintenance", "<f8", 40),
    ("spare", "<u8", 48),
    ("spare_last", "<u8", 56),
)
_A_NUMBERS = ("a_equity", "a_maintenance")
_B_NUMBERS = ("b_equity", "b_maintenance")
ROW: np.dtype[np.void] = np.dtype([(name, kind) for name, kind, _ in _FIELDS], align=True)
"""The layout of a row as a NumPy structured type."""


class Verdict(enum.IntEnum):
    """What a replica found of x = equity − maintenance, with tolerance t. Append-only."""

    BELOW = 1
    ABOVE = 2
    BAND = 3


invariant(_HEADER.size == VOTE_HEADER_LENGTH, "the header has the length that the page states")
invariant(ROW.itemsize == ROW_LENGTH, f"a row has {ROW.itemsize} bytes instead of {ROW_LENGTH}")
invariant(
    ROW.fields is not None and all(ROW.fields[name][1] == offset for name, _, offset in _FIELDS),
    "a compiler's padding moved a field of the row",
)
invariant(
    HEADER_LENGTH + RECORD_LENGTH + _ENVELOPE_MAXIMUM + VOTE_LENGTH_MAXIMUM <= FRAME_LENGTH_MAXIMUM,
    "the largest vote does not fit in a frame",
)


class VoteError(WireError):
    """Bytes that are no vote of the key, or content that no vote can carry."""

    form = "vote"


@dataclass(frozen=True, slots=True, eq=False)
class Vote:
    """A decoded vote.

    Attributes:
        replica: Number of the replica, whose key signs.
        logic_version: Version of the logic that folded.
        position: Log position of the last frame that was folded, after which the replica speaks.
        chain_hash: H at that position, 32 bytes.
        state_root: State root there, 32 bytes.
        price_id: The frozen prices that the numbers were computed with.
        time: Logical time, ns.
        rows: Read-only flat array of type ROW, ascending.
        signature: Ed25519, 64 bytes; UNSIGNED before signing.
    """

    replica: int
    logic_version: int
    position: int
    chain_hash: bytes
    state_root: bytes
    price_id: int
    time: int
    rows: npt.NDArray[np.void]
    signature: bytes = UNSIGNED


def vote_statement(vote: Vote) -> bytes:
    """The bytes that are signed: header and rows.

    Raises:
        VoteError: The content breaks a rule that `decode_vote` would refuse it for.
    """
    for field, value in (("replica", vote.replica), ("logic_version", vote.logic_version)):
        check_integer(VoteError, field, value, 0, UNSIGNED_32_MAXIMUM)
    for field, value in (("position", vote.position), ("price_id", vote.price_id)):
        check_integer(VoteError, field, value, 0, UNSIGNED_64_MAXIMUM)
    check_integer(VoteError, "time", vote.time, SIGNED_64_MINIMUM, SIGNED_64_MAXIMUM)
    for field, octets in (("chain_hash", vote.chain_hash), ("state_root", vote.state_root)):
        check_octets(VoteError, field, octets, HASH_LENGTH)
    rows = vote.rows
    if not isinstance(rows, np.ndarray) or rows.dtype != ROW or rows.ndim != 1:
        raise VoteError("rows", f"a {type(rows).__name__}", "a flat array of type ROW")
    _check_count(len(rows))
    _check_rows(rows)
    numbers = (vote.replica, vote.logic_version, vote.position, vote.chain_hash, vote.state_root)
    return _HEADER.pack(MAGIC, FORMAT, 0, *numbers, vote.price_id, vote.time, len(rows), 0) + rows.tobytes()


def encode_vote(vote: Vote) -> bytes:
    """The bytes of a vote with the signature that it has; errors as `vote_statement`."""
    check_octets(VoteError, "signature", vote.signature, SIGNATURE_LENGTH)
    return vote_statement(vote) + vote.signature


def sign_vote(vote: Vote, private_key: bytes) -> bytes:
    """The bytes of a vote, signed anew.

    Args:
        vote: Its signature is not looked at.
        private_key: Ed25519 seed, 32 bytes.

    Raises:
        VoteError: As `vote_statement`.
        InputError: The key has another length.
    """
    return encode_vote(replace(vote, signature=sign(private_key, vote_statement(vote))))


def decode_vote(data: bytes | bytearray | memoryview) -> Vote:
    """Read a vote without checking who signed it, for people and to learn whose key is needed.

    Raises:
        VoteError: The first rule that is broken, in the order of VOT-7.
    """
    data = as_bytes(VoteError, data)
    check_length(VoteError, len(data), VOTE_HEADER_LENGTH + SIGNATURE_LENGTH, VOTE_LENGTH_MAXIMUM)
    magic, version, reserved, *numbers, count, reserved_last = _HEADER.unpack_from(data)
    expect(VoteError, "magic", magic, MAGIC)
    expect(VoteError, "format", version, FORMAT)
    expect(VoteError, "reserved", reserved, 0)
    _check_count(count)
    expect(VoteError, "reserved_last", reserved_last, 0)
    end = VOTE_HEADER_LENGTH + count * ROW_LENGTH
    if len(data) != end + SIGNATURE_LENGTH:
        raise VoteError("length", f"{len(data)} bytes", f"{end + SIGNATURE_LENGTH} with {count} rows")
    rows = np.frombuffer(data, ROW, count, VOTE_HEADER_LENGTH) if count else np.empty(0, ROW)
    rows.flags.writeable = False
    _check_rows(rows)
    replica, logic_version, position, chain_hash, state_root, price_id, time = numbers
    signature = data[end:]
    return Vote(replica, logic_version, position, chain_hash, state_root, price_id, time, rows, signature)


def verify_vote(data: bytes | bytearray | memoryview, public_key: bytes) -> Vote:
    """Read a vote that the holder of a key signed.

    Args:
        data: The whole vote and nothing else.
        public_key: Ed25519, 32 bytes; that of the replica which the vote names is the caller's to find.

    Raises:
        VoteError: The first rule that is broken, in the order of VOT-7; the signature last.
    """
    data = as_bytes(VoteError, data)
    vote = decode_vote(data)
    if not is_usable_key(public_key):
        raise VoteError("public_key", repr(public_key), "32 bytes, canonical, not of small order")
    if not is_signature(public_key, data[:-SIGNATURE_LENGTH], vote.signature):
        raise VoteError(
            "signature", vote.signature.hex(), f"one of the key {public_key.hex()} over the bytes before it"
        )
    return vote


def describe(vote: Vote, *, rows_maximum: int = 64) -> str:
    """A vote as lines of text for people: the header, then a line for each of the first rows.

    Args:
        vote: What `decode_vote` or `verify_vote` returned.
        rows_maximum: How many rows to show; how many are left out is said.
    """
    lines = [
        f"vote of replica {vote.replica} after position {vote.position}, format {FORMAT}: {len(vote.rows)} rows, "
        f"logic {vote.logic_version}, price {vote.price_id}, time {vote.time}",
        f"  H {vote.chain_hash.hex()}",
        f"  state root {vote.state_root.hex()}",
    ]
    lines += [_line(index, row) for index, row in enumerate(vote.rows[:rows_maximum])]
    left_out = len(vote.rows) - rows_maximum
    if left_out > 0:
        lines.append(f"  … and {left_out} more")
    return "\n".join([*lines, f"  signature {vote.signature.hex()}"])


def _line(index: int, row: Any) -> str:
    flags = int(row["flags"])
    what = "withdrawal" if flags & FLAG_WITHDRAWAL else "account"
    verdict = Verdict(int(row["verdict"])).name
    text = f"  [{index}] {what} {row['account']} version {row['account_version']} {verdict}"
    text += f" A equity {row['a_equity']} maintenance {row['a_maintenance']}"
    if flags & FLAG_WITHOUT_B:
        return f"{text} B absent"
    return f"{text} B equity {row['b_equity']} maintenance {row['b_maintenance']}"


def _check_count(count: int) -> None:
    if count > ROWS_MAXIMUM:
        raise VoteError("count", f"{count} rows", f"at most {ROWS_MAXIMUM}")


def _check_rows(rows: npt.NDArray[np.void]) -> None:
    """Refuse rows that break VOT-4 to VOT-6; the first in the order of the checks, then of the rows."""
    verdict, flags = rows["verdict"], rows["flags"]
    is_verdict = (verdict >= min(Verdict)) & (verdict <= max(Verdict))
    _refuse_first(~is_verdict, rows, "verdict", f"a verdict from {min(Verdict)} to {max(Verdict)}")
    _refuse_first(flags > _FLAGS_ALL, rows, "flags", f"flags from 0 to {_FLAGS_ALL}")
    _refuse_first(rows["reserved"] != 0, rows, "reserved", "0")
    for field in _A_NUMBERS + _B_NUMBERS:
        _refuse_first(~np.isfinite(rows[field]), rows, field, "a finite number")
        _refuse_first((rows[field] == 0) & np.signbit(rows[field]), rows, field, "0, as there is no −0")
    for field in _B_NUMBERS:
        is_absent = (flags & FLAG_WITHOUT_B) != 0
        _refuse_first(is_absent & (rows[field] != 0), rows, field, "0, as B is absent")
    for field in ("spare", "spare_last"):
        _refuse_first(rows[field] != 0, rows, field, "0")
    keys = ((flags & FLAG_WITHDRAWAL) != 0).astype(np.uint64) << np.uint64(32) | rows["account"].astype(np.uint64)
    is_late = np.zeros(len(rows), np.bool_)
    is_late[1:] = keys[1:] <= keys[:-1]
    _refuse_first(is_late, rows, "account", "more than in the row before; accounts stand first, then withdrawals")


def _refuse_first(wrong: npt.NDArray[np.bool_], rows: npt.NDArray[np.void], field: str, expected: str) -> None:
    if wrong.any():
        at = int(wrong.argmax())
        raise VoteError(f"rows[{at}].{field}", rows[at][field].item(), expected)
