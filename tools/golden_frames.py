"""Writes the golden frames of tests/golden from the words of specs/frames.md.

    python tools/golden_frames.py [FOLDER]

The bytes are packed here field by field with `struct` and hashed with `hashlib`; nothing of the package is imported, so
that the files are a second reading of the page. They are made once: a frame of format 1 never changes.
"""

import hashlib
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "tests" / "golden"

COLD, TRADE, ORDER, CANCEL, FILL, TRANSFER, QUOTE = range(7)
RECORD = "<BBHIIIQQqqqII"
"""kind, flags, reserved, account, other, instrument, session, number, quantity, price, time, blob offset and length."""

HOT = [
    (TRADE, 0, 0, 17, 42, 3, 5, 1, 250_000_000, 7_912_450, 1_584_014_400_000_000_000, 0, 0),
    (TRADE, 1, 0, 42, 17, 3, 5, 2, -1, -1, 0, 0, 0),
    (ORDER, 3, 0, 17, 0, 3, 6, 1, 100, 5_000, 1_584_014_400_000_000_001, 0, 0),
    (CANCEL, 0, 0, 17, 0, 3, 6, 2, 0, 0, 0, 0, 0),
    (FILL, 0, 0, 17, 42, 3, 5, 3, 40, 4_999, 1_584_014_400_000_000_002, 0, 0),
    (TRANSFER, 0, 0, 1, 2, 0, 7, 1, 70_000_000_000_000_000, 0, 0, 0, 0),
    (QUOTE, 0, 0, 0, 0, 9, 8, 1, 0, 2**63 - 1, 2**63 - 1, 0, 0),
    (QUOTE, 255, 0, 2**32 - 1, 2**32 - 1, 2**32 - 1, 2**64 - 1, 2**64 - 1, -(2**63), -(2**63), -(2**63), 0, 0),
]
BLOBS = [b'{"type":"define-asset","name":"BTC"}', b"\x00", bytes(range(256))]
COLDS = [
    (COLD, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 36),
    (TRANSFER, 0, 0, 1, 2, 0, 7, 2, 5, 0, 0, 0, 0),
    (COLD, 0, 0, 0, 0, 0, 4, 2, 0, 0, 0, 36, 1),
    (COLD, 0, 0, 0, 0, 0, 4, 3, 0, 0, 0, 37, 256),
]


def frame(gateway: int, frame_number: int, records: Sequence[tuple[int, ...]], blob: bytes = b"") -> bytes:
    """Header, checksum, records, blob."""
    content = b"".join(struct.pack(RECORD, *record) for record in records) + blob
    head = b"HFFR" + struct.pack("<HHQQII", 1, 0, gateway, frame_number, len(records), len(blob))
    return head + hashlib.sha256(head + content).digest() + content


def golden() -> dict[str, bytes]:
    """The files by name."""
    return {
        "frame-v1-empty.bin": frame(0, 1, []),
        "frame-v1-hot.bin": frame(12, 7, HOT),
        "frame-v1-cold.bin": frame(2**64 - 1, 2**64 - 1, COLDS, b"".join(BLOBS)),
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
