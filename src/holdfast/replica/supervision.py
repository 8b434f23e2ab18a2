"""What an engine remembers of its own deaths, so that a frame that kills it is set aside after two of them.

An opening that dies while it replays leaves a note behind. The next opening goes carefully: it writes down each
position before it folds the frame there. So a note that names a position says which frame killed the process, and how
often. After two deaths the replica signs a quarantine of that frame and goes on without it (specs/quorum.md). What
may not live here: folding, and judging whether a quarantine stands.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from holdfast.domain.commands import QuarantineCommand, decode_cold
from holdfast.domain.errors import HoldfastError
from holdfast.domain.frames import RecordKind, decode_frame
from holdfast.domain.quarantines import Quarantine, Subject, encode_quarantine, sign_quarantine
from holdfast.log.protocol import Log

NOTE_NAME = "opening.json"
DEATHS_MAXIMUM = 2
UNKNOWN = -1
QUARANTINE_TAG = b"quarantine"
"""What the bytes of every quarantine command contain; frames without it need no closer look."""


class Note(msgspec.Struct, frozen=True):
    """A note of an opening under way.

    Attributes:
        position: Of the frame that is being folded; UNKNOWN where no position was written down.
        deaths: How many openings died there.
    """

    position: int = UNKNOWN
    deaths: int = 0


class Opening:
    """One opening's notes. Without a folder nothing is remembered."""

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else folder / NOTE_NAME
        self._before = self._read()
        self._write(Note() if self._before is None else self._before)

    @property
    def is_careful(self) -> bool:
        """Whether the opening before this one died."""
        return self._before is not None

    def at(self, position: int) -> bool:
        """Note that a frame is about to be folded; whether it has killed too often already."""
        before = self._before or Note()
        deaths = before.deaths if before.position == position else 0
        if deaths >= DEATHS_MAXIMUM:
            return True
        self._write(Note(position, deaths + 1))
        return False

    def done(self) -> None:
        """Forget: the opening did not die."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _read(self) -> Note | None:
        if self._path is None or not self._path.exists():
            return None
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Note)
        except msgspec.DecodeError:
            return Note()  # Torn by the death that it was to tell of.

    def _write(self, note: Note) -> None:
        # Not forced to disk: it is about deaths of the process, which loses nothing that was written.
        if self._path is not None:
            self._path.write_bytes(msgspec.json.encode(note))


def quarantine_of(position: int, chain: bytes, replica: int, key: bytes) -> bytes:
    """A quarantine of the frame at a position, signed by one replica."""
    cause = f"the process died {DEATHS_MAXIMUM} times while it folded this frame"
    return encode_quarantine(sign_quarantine(Quarantine(Subject.FRAME, position, chain, cause), replica, key))


def quarantines(log: Log, start: int) -> Iterator[bytes]:
    """The quarantines that a log holds from a position on, read before anything is folded."""
    for _, data in log.read(start):
        if QUARANTINE_TAG in data:
            frame = decode_frame(data)
            for index in np.flatnonzero(frame.records["kind"] == RecordKind.COLD).tolist():
                content = frame.cold(index)
                if QUARANTINE_TAG in content:
                    with contextlib.suppress(HoldfastError):
                        command = decode_cold(content)
                        if isinstance(command, QuarantineCommand):
                            yield command.quarantine
