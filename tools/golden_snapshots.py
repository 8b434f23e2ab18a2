"""Writes the golden snapshots of tests/golden from the words of specs/snapshots.md.

    python tools/golden_snapshots.py [FOLDER]

The bytes are packed here field by field with `struct`; nothing of the package is imported, so that the files are a
second reading of the page. The zlib streams are written by hand from stored blocks (RFC 1951, 3.2.4), so that they are
the same whatever library is installed. They are made once: a snapshot of format 1 never changes.
"""

import hashlib
import struct
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "tests" / "golden"

HASH = hashlib.sha256(b"hash of the golden snapshot").digest()
ROOT = hashlib.sha256(b"root of the golden snapshot").digest()

Part = tuple[bytes, bytes, tuple[int, ...], bytes]
"""Name, type, shape, content."""

PARTS: list[Part] = [
    (b"accounts/status", b"|u1", (3,), bytes([0, 1, 5])),
    (b"accounts/version", b"<u8", (3,), struct.pack("<3Q", 1, 2, 2**64 - 1)),
    (b"cold", b"bytes", (5,), b"\x85text"),
    (b"empty", b"bytes", (0,), b""),
    (b"flags", b"|b1", (2, 2), bytes([0, 1, 1, 0])),
    (b"prices", b"<i8", (2, 1, 2), struct.pack("<4q", -(2**63), -1, 0, 2**63 - 1)),
    (b"scalar", b"<f4", (), struct.pack("<f", 0.5)),
    (b"table", b"<f8", (2, 3), struct.pack("<6d", 0.1, -0.0, float("inf"), float("nan"), 5e-324, 1e308)),
    (b"zero", b"<i2", (0, 4), b""),
]


def stored(data: bytes) -> bytes:
    """A zlib stream of one stored block."""
    block = b"\x01" + struct.pack("<HH", len(data), len(data) ^ 0xFFFF) + data
    return b"\x78\x01" + block + struct.pack(">I", zlib.adler32(data))


def part(name: bytes, kind: bytes, shape: Sequence[int], data: bytes) -> bytes:
    """Header, shape, name, type, compressed bytes."""
    compressed = stored(data)
    head = struct.pack("<HHHHQQ", len(name), len(kind), len(shape), 0, len(data), len(compressed))
    return head + b"".join(struct.pack("<Q", size) for size in shape) + name + kind + compressed


def snapshot(logic: int, position: int, chain_hash: bytes, root: bytes, parts: Sequence[Part]) -> bytes:
    """Header, parts, checksum."""
    head = b"HFSN" + struct.pack("<HHIIQ", 1, 0, logic, len(parts), position) + chain_hash + root
    data = head + b"".join(part(*content) for content in parts)
    return data + hashlib.sha256(data).digest()


def golden() -> dict[str, bytes]:
    """The files by name."""
    return {
        "snapshot-v1-empty.bin": snapshot(1, 0, bytes(32), bytes(32), []),
        "snapshot-v1-parts.bin": snapshot(3, 2**64 - 1, HASH, ROOT, PARTS),
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
