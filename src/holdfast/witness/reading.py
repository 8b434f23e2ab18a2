"""Frames: the bytes of one append to the log, as arrays (specs/frames.md).

What lives here: where each field of a frame stands. What may not: what a command means. The log has accepted a frame
before it comes here, so this checks what keeps the reading inside the bytes and that the bytes are what was sent.
"""

import hashlib
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from holdfast.domain.errors import InputError

HEADER_LENGTH = 64
RECORD_LENGTH = 64
COLD, TRADE, ORDER, CANCEL, FILL, TRANSFER, QUOTE = range(7)

RECORD = np.dtype(
    {
        "names": [
            "kind", "account", "other", "item", "session", "number", "quantity", "price", "time", "offset", "length",
        ],
        "formats": ["u1", "<u4", "<u4", "<u4", "<u8", "<u8", "<i8", "<i8", "<i8", "<u4", "<u4"],
        "offsets": [0, 4, 8, 12, 16, 24, 32, 40, 48, 56, 60],
        "itemsize": RECORD_LENGTH,
    }
)  # fmt: skip
"""FRM-2, without the flags and what is reserved."""


class Frame(NamedTuple):
    """One append.

    Attributes:
        gateway: Id of the session that sent it.
        number: Of the frame, per gateway.
        records: Array of type RECORD, one per command.
        blob: Bytes of the cold commands.
    """

    gateway: int
    number: int
    records: npt.NDArray[np.void]
    blob: bytes

    def kind_of(self, index: int) -> str:
        """The tag of a cold command, empty where its bytes are no map with one."""
        try:
            return str(self.cold(index).get("type", ""))
        except (InputError, msgspec.DecodeError):
            return ""

    def cold(self, index: int) -> dict[str, Any]:
        """The cold command of a record as a map.

        Raises:
            InputError: code "malformed": the bytes are no map.
        """
        record = self.records[index]
        start = int(record["offset"])
        command = msgspec.msgpack.decode(self.blob[start : start + int(record["length"])])
        if not isinstance(command, dict):
            raise InputError("malformed", f"records[{index}]", type(command).__name__, "write a map")
        return command


def read_frame(data: bytes) -> Frame:
    """Read a frame.

    Raises:
        InputError: code "malformed": the bytes are no frame of version 1.
    """
    if len(data) < HEADER_LENGTH or data[:4] != b"HFFR" or data[4:6] != b"\x01\x00":
        raise InputError("malformed", "frame", bytes(data[:8]), "give the bytes of a frame of format 1")
    count, blob_length = (int.from_bytes(data[place : place + 4], "little") for place in (24, 28))
    end = HEADER_LENGTH + RECORD_LENGTH * count
    if len(data) != end + blob_length:
        raise InputError("malformed", "frame.length", len(data), f"give all {end + blob_length} bytes")
    if hashlib.sha256(data[:32] + data[HEADER_LENGTH:]).digest() != data[32:64]:
        raise InputError("malformed", "frame.checksum", data[32:40].hex(), "read the frame again from the log")
    records = np.frombuffer(data, RECORD, count, HEADER_LENGTH)
    gateway, number = (int.from_bytes(data[place : place + 8], "little") for place in (8, 16))
    return Frame(gateway, number, records, bytes(data[end:]))
