"""Writes the golden votes, leases, withdrawals and quarantines of tests/golden from the words of specs/votes.md.

    python tools/golden_votes.py [FOLDER]

The bytes are packed here field by field with `struct`, hashed with `hashlib` and signed by the arithmetic of RFC 8032,
5.1, written out with Python's integers; nothing of the package and no library of cryptography is imported, so that the
files are a second reading of the page. They are made once: a format's version never changes. The arithmetic is not
safe against somebody who measures its time; the keys are those that RFC 8032 publishes.
"""

import hashlib
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parents[1] / "tests" / "golden"

PRIME = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
CURVE_D = -121665 * pow(121666, -1, PRIME) % PRIME
ROOT_OF_MINUS_1 = pow(2, (PRIME - 1) // 4, PRIME)

PRIVATE_KEYS = [
    bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"),
    bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"),
    bytes.fromhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7"),
]
"""Of replicas 0, 1 and 2: tests 1 to 3 of RFC 8032, 7.1."""

BELOW, ABOVE, BAND = 1, 2, 3
ROW = "<IBBHQddddQQ"
"""account, verdict, flags, reserved, account version, A equity and maintenance, B equity and maintenance, spare."""
ROWS = [
    (4, BELOW, 0, 0, 17, 1_000.25, 1_250.5, 1_000.25, 1_250.5, 0, 0),
    (5, BAND, 0, 0, 2**64 - 1, 1e-9, 0.0, -1e-9, 0.0, 0, 0),
    (2**32 - 1, BELOW, 1, 0, 3, -2.5e9, 1.0, 0.0, 0.0, 0, 0),
    (0, ABOVE, 2, 0, 9, 5e-324, 1.7976931348623157e308, -1.7976931348623157e308, 0.1, 0, 0),
    (4, ABOVE, 3, 0, 0, 0.0, 0.0, 0.0, 0.0, 0, 0),
]
HASH = hashlib.sha256(b"hash of the golden vote").digest()
ROOT = hashlib.sha256(b"root of the golden vote").digest()
CAUSE = "exit −9 twice: out of memory"


class Point(NamedTuple):
    """A point of edwards25519 in affine coordinates."""

    x: int
    y: int


def add(p: Point, q: Point) -> Point:
    """The sum by the complete law of the curve −x² + y² = 1 + d·x²·y²."""
    product = CURVE_D * p.x * q.x * p.y * q.y % PRIME
    x = (p.x * q.y + p.y * q.x) * pow(1 + product, -1, PRIME) % PRIME
    y = (p.y * q.y + p.x * q.x) * pow(1 - product, -1, PRIME) % PRIME
    return Point(x, y)


def times(scalar: int, point: Point) -> Point:
    """The sum of `scalar` equal points, by doubling."""
    total = Point(0, 1)
    while scalar:
        if scalar & 1:
            total = add(total, point)
        point, scalar = add(point, point), scalar >> 1
    return total


def point_at(y: int, *, is_odd: bool) -> Point | None:
    """The point of a y whose x is odd or even; None where there is none."""
    square = (y * y - 1) * pow(CURVE_D * y * y + 1, -1, PRIME) % PRIME
    x = pow(square, (PRIME + 3) // 8, PRIME)
    if (x * x - square) % PRIME:
        x = x * ROOT_OF_MINUS_1 % PRIME
    if (x * x - square) % PRIME or (x == 0 and is_odd):
        return None
    return Point(PRIME - x if x % 2 != is_odd else x, y)


BASE = point_at(4 * pow(5, -1, PRIME) % PRIME, is_odd=False)


def encoded(point: Point) -> bytes:
    """y, and whether x is odd in the highest bit."""
    return (point.y | (point.x & 1) << 255).to_bytes(32, "little")


def secret_scalar(private_key: bytes) -> int:
    """The clamped first half of the key's hash."""
    low = int.from_bytes(hashlib.sha512(private_key).digest()[:32], "little")
    return low & ~7 & ~(1 << 255) | 1 << 254


def public_key(private_key: bytes) -> bytes:
    """The key that checks what the private key signs."""
    return encoded(times(secret_scalar(private_key), BASE))


def challenge(*parts: bytes) -> int:
    """The SHA-512 of R, key and message as a scalar."""
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % ORDER


def signature(private_key: bytes, message: bytes) -> bytes:
    """R and S of RFC 8032, 5.1.6."""
    nonce = challenge(hashlib.sha512(private_key).digest()[32:], message)
    r = encoded(times(nonce, BASE))
    k = challenge(r, public_key(private_key), message)
    return r + ((nonce + k * secret_scalar(private_key)) % ORDER).to_bytes(32, "little")


def vote(
    replica: int, logic: int, position: int, price_id: int, time: int, rows: Sequence[tuple[float, ...]]
) -> tuple[bytes, bytes]:
    """The signed part of a vote, and the vote."""
    head = b"HFVT" + struct.pack("<HHIIQ", 1, 0, replica, logic, position) + HASH + ROOT
    head += struct.pack("<QqII", price_id, time, len(rows), 0)
    statement = head + b"".join(struct.pack(ROW, *row) for row in rows)
    return statement, statement + signature(PRIVATE_KEYS[replica % 3], statement)


def sealed(data: bytes) -> bytes:
    """The bytes and their checksum."""
    return data + hashlib.sha256(data).digest()


def lease(lease_id: int, role: bytes, holder: int, start: int, end: int) -> bytes:
    """Header, role, checksum."""
    return sealed(b"HFLS" + struct.pack("<HHIIQqq", 1, len(role), holder, 0, lease_id, start, end) + role)


def withdrawal(
    number: int, account: int, asset: int, amount: int, state: int, requested_at: int, destination: bytes
) -> bytes:
    """Header, destination, checksum."""
    head = struct.pack("<HHQIIqB7xQ", 1, len(destination), number, account, asset, amount, state, requested_at)
    return sealed(b"HFWD" + head + destination)


def quarantine(subject: int, position: int, chain_hash: bytes, cause: bytes, replicas: Sequence[int]) -> bytes:
    """Statement, count, signatures, checksum."""
    statement = b"HFQR" + struct.pack("<HBBQ", 1, subject, 0, position) + chain_hash
    statement += struct.pack("<II", len(cause), 0) + cause
    rows = [struct.pack("<I", replica) + signature(PRIVATE_KEYS[replica], statement) for replica in replicas]
    return sealed(statement + struct.pack("<I", len(rows)) + b"".join(rows))


def golden() -> dict[str, bytes]:
    """The files by name."""
    destination = "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq · memo 7".encode()
    return {
        "vote-v1-empty.bin": vote(0, 1, 0, 0, 0, [])[1],
        "vote-v1-rows.bin": vote(1, 3, 2**64 - 1, 41, 1_584_014_400_000_000_000, ROWS)[1],
        "lease-v1.bin": lease(81, b"orders:deribit", 2, 1_584_014_400_000_000_000, 1_584_014_430_000_000_000),
        "lease-v1-extremes.bin": lease(2**64 - 1, "ü".encode() * 32, 2**32 - 1, -(2**63), 2**63 - 1),
        "withdrawal-v1.bin": withdrawal(7, 17, 0, 250_000_000, 2, 16_384 * 12 + 5, destination),
        "withdrawal-v1-extremes.bin": withdrawal(2**32 - 1, 2**32 - 1, 2**32 - 1, 2**63 - 1, 4, 2**64 - 1, b""),
        "quarantine-v1.bin": quarantine(1, 16_384 * 12 + 5, HASH, CAUSE.encode(), [0, 2]),
        "quarantine-v1-frame.bin": quarantine(2, 0, bytes(32), b"x", [1]),
    }


def main() -> None:
    """Write the files and print their digests."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in golden().items():
        (folder / name).write_bytes(data)
        print(f"{name}  {len(data)} bytes  sha256 {hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    main()
