"""Quarantines: the bytes by which replicas set aside what breaks the engine, version 1.

Theory of operation. A command or frame that kills the process again and again cannot be judged by folding it, so the
replicas say in writing that they skip it. The statement names it, the H before its frame, which says of which log and
history, and the cause. Each replica signs the same statement; the signatures are collected behind it.

What lives here: the layout, encoding, strict decoding, signing, and a text for people. What may not: how many
signatures are enough, or which key belongs to a replica. Normative: `specs/votes.md`.
"""

import enum
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace

from holdfast.domain.errors import invariant
from holdfast.domain.signatures import SIGNATURE_LENGTH, is_signature, sign
from holdfast.domain.wire import (
    HASH_LENGTH,
    UNSIGNED_32_MAXIMUM,
    UNSIGNED_64_MAXIMUM,
    WireError,
    as_bytes,
    check_integer,
    check_length,
    check_octets,
    check_seal,
    expect,
    read_text,
    sealed,
    text_bytes,
)

MAGIC = b"HFQR"
FORMAT = 1
QUARANTINE_HEADER_LENGTH = 56
CAUSE_LENGTH_MAXIMUM = 1_024
"""Bytes of a cause: a line that a person understands, and no trace of a stack."""
SIGNATURES_MAXIMUM = 64
"""Signatures under a statement; no cluster has more replicas."""

_HEADER = struct.Struct("<4sHBBQ32sII")
_COUNT = struct.Struct("<I")
_SIGNATURE = struct.Struct(f"<I{SIGNATURE_LENGTH}s")
_LENGTH_MINIMUM = QUARANTINE_HEADER_LENGTH + 1 + _COUNT.size + HASH_LENGTH
_LENGTH_MAXIMUM = _LENGTH_MINIMUM - 1 + CAUSE_LENGTH_MAXIMUM + SIGNATURES_MAXIMUM * _SIGNATURE.size

invariant(_HEADER.size == QUARANTINE_HEADER_LENGTH, "the header has the length that the page states")


class Subject(enum.IntEnum):
    """What is set aside. Append-only: a number is never reused and never changes its meaning."""

    COMMAND = 1
    FRAME = 2


class QuarantineError(WireError):
    """Bytes that are no quarantine of the keys, or content that no quarantine can carry."""

    form = "quarantine"


@dataclass(frozen=True, slots=True)
class Quarantine:
    """A statement that something is skipped, and who signed it.

    Attributes:
        subject: Whether one command or a whole frame is set aside.
        position: The command's id, or the frame's log position.
        chain_hash: H before the frame in question, 32 bytes (CHAIN_START where it is the first).
        cause: What it does to the engine, 1 to 1,024 bytes of UTF-8. All signers state the same.
        signatures: Replica and its signature of 64 bytes, ascending by replica.
    """

    subject: Subject
    position: int
    chain_hash: bytes
    cause: str
    signatures: tuple[tuple[int, bytes], ...] = ()


def quarantine_statement(quarantine: Quarantine) -> bytes:
    """The bytes that are signed: all but the signatures.

    Raises:
        QuarantineError: The content breaks a rule that `decode_quarantine` would refuse it for.
    """
    _check_subject(quarantine.subject)
    check_integer(QuarantineError, "position", quarantine.position, 0, UNSIGNED_64_MAXIMUM)
    check_octets(QuarantineError, "chain_hash", quarantine.chain_hash, HASH_LENGTH)
    cause = text_bytes(QuarantineError, "cause", quarantine.cause, 1, CAUSE_LENGTH_MAXIMUM)
    what = (quarantine.subject, 0, quarantine.position, quarantine.chain_hash)
    return _HEADER.pack(MAGIC, FORMAT, *what, len(cause), 0) + cause


def sign_quarantine(quarantine: Quarantine, replica: int, private_key: bytes) -> Quarantine:
    """The quarantine with a replica's signature added, or put in the place of its former one.

    Raises:
        QuarantineError: As `quarantine_statement`.
        InputError: The key has another length.
    """
    signatures = dict(quarantine.signatures)
    signatures[replica] = sign(private_key, quarantine_statement(quarantine))
    return replace(quarantine, signatures=tuple(sorted(signatures.items())))


def encode_quarantine(quarantine: Quarantine) -> bytes:
    """The bytes of a quarantine; errors as `quarantine_statement`."""
    statement = quarantine_statement(quarantine)
    for index, (replica, signature) in enumerate(quarantine.signatures):
        check_integer(QuarantineError, f"signatures[{index}].replica", replica, 0, UNSIGNED_32_MAXIMUM)
        check_octets(QuarantineError, f"signatures[{index}].signature", signature, SIGNATURE_LENGTH)
    _check_signatures(quarantine.signatures)
    rows = b"".join(_SIGNATURE.pack(*row) for row in quarantine.signatures)
    return sealed(statement + _COUNT.pack(len(quarantine.signatures)) + rows)


def decode_quarantine(data: bytes | bytearray | memoryview) -> Quarantine:
    """Read a quarantine without checking who signed it, for people and to learn whose keys are needed.

    Raises:
        QuarantineError: The first rule that is broken, in the order of VOT-15.
    """
    data = as_bytes(QuarantineError, data)
    check_length(QuarantineError, len(data), _LENGTH_MINIMUM, _LENGTH_MAXIMUM)
    magic, version, subject, reserved, position, chain_hash, cause_length, reserved_last = _HEADER.unpack_from(data)
    expect(QuarantineError, "magic", magic, MAGIC)
    expect(QuarantineError, "format", version, FORMAT)
    end = QUARANTINE_HEADER_LENGTH + cause_length
    count = _count_at(data, end)
    check_seal(QuarantineError, data)
    _check_subject(subject)
    expect(QuarantineError, "reserved", reserved, 0)
    expect(QuarantineError, "reserved_last", reserved_last, 0)
    cause = read_text(QuarantineError, "cause", data[QUARANTINE_HEADER_LENGTH:end], 1, CAUSE_LENGTH_MAXIMUM)
    first = end + _COUNT.size
    signatures = tuple(_SIGNATURE.iter_unpack(data[first : first + count * _SIGNATURE.size]))
    _check_signatures(signatures)
    return Quarantine(Subject(subject), position, chain_hash, cause, signatures)


def verify_quarantine(data: bytes | bytearray | memoryview, public_keys: Mapping[int, bytes]) -> Quarantine:
    """Read a quarantine, every signature of which must be right.

    Args:
        data: The whole quarantine and nothing else.
        public_keys: The key of each replica, 32 bytes, by its number.

    Raises:
        QuarantineError: The first rule that is broken, in the order of VOT-15; the signatures last.
    """
    quarantine = decode_quarantine(data)
    statement = quarantine_statement(quarantine)
    for index, (replica, signature) in enumerate(quarantine.signatures):
        if replica not in public_keys:
            raise QuarantineError(f"signatures[{index}].replica", replica, "a replica whose key is known")
        if not is_signature(public_keys[replica], statement, signature):
            expected = f"one of the key of replica {replica} over the statement"
            raise QuarantineError(f"signatures[{index}].signature", signature.hex(), expected)
    return quarantine


def describe(quarantine: Quarantine) -> str:
    """A quarantine as lines of text for people."""
    lines = [
        f"quarantine of {quarantine.subject.name} {quarantine.position}, format {FORMAT}: {quarantine.cause!r}, "
        f"{len(quarantine.signatures)} signatures",
        f"  H before its frame {quarantine.chain_hash.hex()}",
    ]
    lines += [f"  replica {replica} signature {signature.hex()}" for replica, signature in quarantine.signatures]
    return "\n".join(lines)


def _count_at(data: bytes, at: int) -> int:
    """The number of signatures, whose rows and the checksum must fill the rest of the bytes."""
    rest = len(data) - at - _COUNT.size - HASH_LENGTH
    if rest < 0:
        raise QuarantineError("cause_length", at - QUARANTINE_HEADER_LENGTH, f"no more than fits in {len(data)} bytes")
    count = int(_COUNT.unpack_from(data, at)[0])
    if rest != count * _SIGNATURE.size:
        raise QuarantineError("count", f"{count} signatures", f"as many as fill {rest} bytes, {_SIGNATURE.size} each")
    return count


def _check_subject(subject: int) -> None:
    check_integer(QuarantineError, "subject", subject, min(Subject), max(Subject))


def _check_signatures(signatures: tuple[tuple[int, bytes], ...]) -> None:
    if not 1 <= len(signatures) <= SIGNATURES_MAXIMUM:
        raise QuarantineError("count", f"{len(signatures)} signatures", f"1 to {SIGNATURES_MAXIMUM}")
    for index in range(1, len(signatures)):
        before, replica = signatures[index - 1][0], signatures[index][0]
        if replica <= before:
            raise QuarantineError(f"signatures[{index}].replica", replica, f"more than the one before, {before}")
