"""Leases: the bytes that say which replica holds a role, and how long, version 1.

What lives here: the layout, encoding, strict decoding, and a text for people. What may not: who gets a role, or what
time it is. Normative: `specs/votes.md`.
"""

import struct
from dataclasses import dataclass

from holdfast.domain.errors import invariant
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
    check_seal,
    expect,
    read_text,
    sealed,
    text_bytes,
)

MAGIC = b"HFLS"
FORMAT = 1
LEASE_HEADER_LENGTH = 40
ROLE_LENGTH_MAXIMUM = 64
"""Bytes of a role's text: a name such as `orders:deribit`, and no prose."""

_HEADER = struct.Struct("<4sHHIIQqq")
_LENGTH_MINIMUM = LEASE_HEADER_LENGTH + 1 + HASH_LENGTH
_LENGTH_MAXIMUM = LEASE_HEADER_LENGTH + ROLE_LENGTH_MAXIMUM + HASH_LENGTH

invariant(_HEADER.size == LEASE_HEADER_LENGTH, "the header has the length that the page states")


class LeaseError(WireError):
    """Bytes that are no lease, or content that no lease can carry."""

    form = "lease"


@dataclass(frozen=True, slots=True)
class Lease:
    """A role held by one replica for a span of logical time.

    Attributes:
        lease_id: Number of the lease; the effects of its holder derive their own from it.
        role: Which role, 1 to 64 bytes of UTF-8.
        holder: Number of the replica.
        start: Logical time from which it is held, ns.
        end: Logical time at which it is held no more, ns; later than `start`.
    """

    lease_id: int
    role: str
    holder: int
    start: int
    end: int


def encode_lease(lease: Lease) -> bytes:
    """The bytes of a lease.

    Raises:
        LeaseError: The content breaks a rule that `decode_lease` would refuse it for.
    """
    check_integer(LeaseError, "holder", lease.holder, 0, UNSIGNED_32_MAXIMUM)
    check_integer(LeaseError, "lease_id", lease.lease_id, 0, UNSIGNED_64_MAXIMUM)
    for field, value in (("start", lease.start), ("end", lease.end)):
        check_integer(LeaseError, field, value, SIGNED_64_MINIMUM, SIGNED_64_MAXIMUM)
    _check_span(lease.start, lease.end)
    role = text_bytes(LeaseError, "role", lease.role, 1, ROLE_LENGTH_MAXIMUM)
    head = _HEADER.pack(MAGIC, FORMAT, len(role), lease.holder, 0, lease.lease_id, lease.start, lease.end)
    return sealed(head + role)


def decode_lease(data: bytes | bytearray | memoryview) -> Lease:
    """Read a lease, refusing everything that `encode_lease` does not write.

    Raises:
        LeaseError: The first rule that is broken, in the order of VOT-11.
    """
    data = as_bytes(LeaseError, data)
    check_length(LeaseError, len(data), _LENGTH_MINIMUM, _LENGTH_MAXIMUM)
    magic, version, role_length, holder, reserved, lease_id, start, end = _HEADER.unpack_from(data)
    expect(LeaseError, "magic", magic, MAGIC)
    expect(LeaseError, "format", version, FORMAT)
    expect(LeaseError, "role_length", role_length, len(data) - LEASE_HEADER_LENGTH - HASH_LENGTH)
    check_seal(LeaseError, data)
    expect(LeaseError, "reserved", reserved, 0)
    _check_span(start, end)
    role = read_text(LeaseError, "role", data[LEASE_HEADER_LENGTH:-HASH_LENGTH], 1, ROLE_LENGTH_MAXIMUM)
    return Lease(lease_id, role, holder, start, end)


def describe(lease: Lease) -> str:
    """A lease as a line of text for people."""
    return (
        f"lease {lease.lease_id}, format {FORMAT}: {lease.role!r} held by replica {lease.holder} "
        f"from {lease.start} until {lease.end}, {lease.end - lease.start} ns"
    )


def _check_span(start: int, end: int) -> None:
    if end <= start:
        raise LeaseError("end", end, f"later than the start, {start}")
