"""Framing: commands in, frames out, numbered, within the limits. No clock and no I/O: when to cut is the caller's.

What lives here: the gateway of a log, and a session that numbers its commands so that a retry keeps its number. What
may not: appending, folding, waiting. Normative: specs/replica.md.
"""

from typing import Any, NamedTuple

import numpy as np

from holdfast.core.state import Role
from holdfast.domain.commands import ColdCommand, cold_record, encode_cold
from holdfast.domain.errors import InputError, invariant
from holdfast.domain.frames import (
    FRAME_LENGTH_MAXIMUM,
    HEADER_LENGTH,
    RECORD,
    RECORD_LENGTH,
    RecordKind,
    Records,
    cuts,
    encode_frame,
)

FIRST_GATEWAY = 0
"""The session that every log has from the start (specs/sessions.md)."""
FRAME_LENGTH_TARGET = 256 << 10
"""Bytes from which a frame is cut: an append then costs what its bytes cost, no longer what its fsync does."""
COLD_LENGTH_MAXIMUM = FRAME_LENGTH_MAXIMUM - HEADER_LENGTH - RECORD_LENGTH
"""Bytes of a cold command that has a frame to itself."""

invariant(FRAME_LENGTH_TARGET <= FRAME_LENGTH_MAXIMUM, "a frame is cut before it is too long")


class Request(NamedTuple):
    """What somebody who has a session wants to send.

    Attributes:
        role: Of the session.
        subject: The source or replica it speaks for; 0 for the other roles.
        content: A cold command, or records of hot ones whose session and number are still to be filled in.
    """

    role: Role
    subject: int
    content: ColdCommand | Records

    @property
    def size(self) -> int:
        """How many commands."""
        return len(self.content) if isinstance(self.content, np.ndarray) else 1


class ClientSession:
    """Numbers the commands of one session. A command that is sent again keeps its number, which makes that harmless."""

    def __init__(self, id: int, next_number: int = 1) -> None:  # noqa: A002 (what the log calls it)
        """A session and the number that it expects next.

        Args:
            id: The command id of its opening.
            next_number: From 1.
        """
        if id < 0 or next_number < 1:
            raise InputError("out-of-range", "next_number", next_number, "give an id from 0 and a number from 1 on")
        self.id = id
        self._next = next_number

    @property
    def next_number(self) -> int:
        """The number that the next command will get."""
        return self._next

    def next(self) -> int:
        """The number of a new command."""
        return self.take(1).start

    def take(self, count: int) -> range:
        """The numbers of `count` new commands."""
        invariant(count >= 0, f"{count} numbers were taken")
        first = self._next
        self._next = first + count
        return range(first, self._next)


class Gateway:
    """Cuts commands into frames, in the order in which they were added."""

    def __init__(self, session: int, next_frame: int, *, length_target: int = FRAME_LENGTH_TARGET) -> None:
        """A gateway of a log.

        Args:
            session: Command id of the opening of its session; 0 for a log's first gateway.
            next_frame: The number of its next frame, from 1.
            length_target: Bytes that a frame is not to exceed unless one command alone does.
        """
        if not HEADER_LENGTH + RECORD_LENGTH <= length_target <= FRAME_LENGTH_MAXIMUM:
            advice = f"give {HEADER_LENGTH + RECORD_LENGTH} to {FRAME_LENGTH_MAXIMUM} bytes"
            raise InputError("out-of-range", "length_target", length_target, advice)
        self.session = session
        self._next_frame = next_frame
        self._target = length_target
        self._records: list[Records] = []
        self._blobs: list[bytes] = []
        self._pending = 0

    @property
    def next_frame(self) -> int:
        """The number that the next frame will get."""
        return self._next_frame

    @property
    def pending(self) -> int:
        """Commands that were added and not yet cut."""
        return self._pending

    def add(self, records: Records) -> None:
        """Add hot commands.

        Args:
            records: Flat array of type RECORD without cold ones; it is copied.

        Raises:
            InputError: It is not such an array.
        """
        if not isinstance(records, np.ndarray) or records.dtype != RECORD or records.ndim != 1:
            raise InputError("malformed", "records", None, "give a flat array of type RECORD")
        if (records["kind"] == RecordKind.COLD).any():
            raise InputError("malformed", "records", "a cold one", "add cold commands with add_cold")
        self._records.append(records.copy())
        self._pending += len(records)

    def add_batch(self, records: Records, blob: bytes) -> None:
        """Add commands whose sessions, numbers and slices are filled in, as `domain.messages.batch_of` checked them."""
        self._records.append(records)
        self._blobs.append(blob)
        self._pending += len(records)

    def add_cold(self, session: int, number: int, command: ColdCommand) -> None:
        """Add a cold command of a session under its number.

        Raises:
            InputError: It is longer than a frame of its own can hold.
        """
        blob = encode_cold(command)
        if len(blob) > COLD_LENGTH_MAXIMUM:
            advice = f"keep it within {COLD_LENGTH_MAXIMUM} bytes"
            raise InputError("out-of-range", "command", f"{len(blob)} bytes", advice)
        self._records.append(cold_record(session, number, 0, len(blob)))
        self._blobs.append(blob)
        self._pending += 1

    def add_request(self, session: ClientSession, request: Request) -> None:
        """Add what a session wants to send under its next numbers."""
        if not isinstance(request.content, np.ndarray):
            self.add_cold(session.id, session.next_number, request.content)
            session.take(1)
            return
        self.add(request.content)
        numbers = session.take(request.size)
        self._records[-1]["session"] = session.id
        self._records[-1]["number"] = np.arange(numbers.start, numbers.stop, dtype=np.uint64)

    def frames(self) -> list[bytes]:
        """Cut everything that was added into frames, and number them."""
        if not self._pending:
            return []
        records, blob = np.concatenate(self._records), b"".join(self._blobs)
        self._records, self._blobs, self._pending = [], [], 0
        starts = np.concatenate(([0], np.cumsum(records["blob_length"], dtype=np.int64)))
        pieces = cuts(starts, self._target - HEADER_LENGTH)
        return [self._frame(records[a:b], blob, starts[a : b + 1]) for a, b in pieces]

    def _frame(self, records: Records, blob: bytes, starts: np.ndarray[Any, np.dtype[np.int64]]) -> bytes:
        cold = records["kind"] == RecordKind.COLD
        records["blob_offset"] = np.where(cold, starts[:-1] - starts[0], 0)
        data = encode_frame(self.session, self._next_frame, records, blob[int(starts[0]) : int(starts[-1])])
        self._next_frame += 1
        return data
