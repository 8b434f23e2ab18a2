"""What every log promises, what only a log with one writer promises, and the limits of what they take.

An acknowledgement is the return of `append` or `append_group`. It means that the frames have their positions for ever
and survive the death of the process (kill −9) and of the machine (power): what the adapter writes was forced to the
storage before the call returned. The memory log, which keeps nothing, promises the order alone.

An append that raises has acknowledged nothing. In a log with one writer the frames are not in it after LockedError,
ReadOnlyError and FullError, their positions are free and the log goes on. After StorageError or CorruptLogError, and
after the death of the process inside the call, the group is in the log or it is not, wholly in either case; the log
takes no more until it is opened again, which tells. In the distributed log, where others append too, the frame is in
it, or will be, or is not, after UnavailableError. A sender that repeats its command under the same session and number
is safe either way.
"""

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self

from holdfast.domain.errors import InputError, invariant
from holdfast.domain.frames import FRAME_LENGTH_MAXIMUM

GROUP_FRAMES_MAXIMUM = 4_096
"""Frames of one group. More would not be faster, as one fsync is long since shared, and would delay its first frame."""

GROUP_LENGTH_MAXIMUM = 64 << 20
"""Bytes of one group: what a commit may hold in memory, and under a second of an ordinary disk's writing."""

invariant(FRAME_LENGTH_MAXIMUM <= GROUP_LENGTH_MAXIMUM, "a group must be able to hold any one frame")


class Log(Protocol):
    """Frames at positions 0, 1, 2, … without a gap; what is there never changes and never goes away.

    Safe to share between threads of one process. A context manager that closes itself.
    """

    def append(self, frame: bytes) -> int:
        """Append one frame durably and return its position.

        Args:
            frame: 1 to FRAME_LENGTH_MAXIMUM bytes. A log does not look inside.

        Raises:
            InputError: It is not bytes, or beyond the limits.
            LogError: Nothing was acknowledged; the kind of error says whether the log goes on.
        """
        ...

    def read(self, start: int, limit: int | None = None) -> Iterator[tuple[int, bytes]]:
        """The frames from position `start` to the end that the log has at this call, or the first `limit` of them.

        Raises:
            InputError: `start` is negative or beyond the end, or `limit` is negative.
            CorruptLogError: While iterating: a frame is not the one that was appended. It is not yielded.
        """
        ...

    def follow(self, start: int, timeout_s: float | None = None) -> Iterator[tuple[int, bytes]]:
        """The frames from position `start` on, waiting for those still to come.

        Ends when the log is closed, or when no frame came for `timeout_s` seconds since the caller asked for the next;
        without a timeout it waits for ever. `start` may be the end. Errors as `read`.
        """
        ...

    @property
    def end(self) -> int:
        """The position that the next frame will get: the number of frames."""
        ...

    def hash_at(self, position: int) -> bytes:
        """H of the frames 0 to `position` (`frames.chain_hash`), 32 bytes.

        Raises:
            InputError: There is no frame at `position`.
        """
        ...

    @property
    def head_hash(self) -> bytes:
        """H of all frames; CHAIN_START while there are none."""
        ...

    def close(self) -> None:
        """Release everything; more than once is allowed. Every other call then raises ClosedError."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class GroupLog(Log, Protocol):
    """A log with one writer, which can append several frames at once and say beforehand where they will stand."""

    def append_group(self, frames: Sequence[bytes]) -> range:
        """Append frames at consecutive positions, all or none of them, in one durable commit.

        Args:
            frames: 0 to GROUP_FRAMES_MAXIMUM frames, together at most GROUP_LENGTH_MAXIMUM bytes; each as for `append`.

        Returns:
            Their positions, in their order.

        Raises:
            InputError: A frame or the group is beyond its limits.
            LogError: Nothing was acknowledged; the kind of error says whether the log goes on.
        """
        ...


def check_group(frames: Sequence[bytes]) -> None:
    """Refuse a group that no log takes.

    Raises:
        InputError: "malformed" for what is not bytes, "out-of-range" for a frame or group beyond the limits.
    """
    if len(frames) > GROUP_FRAMES_MAXIMUM:
        raise InputError("out-of-range", "frames", len(frames), f"append at most {GROUP_FRAMES_MAXIMUM} at once")
    for index, frame in enumerate(frames):
        if not isinstance(frame, bytes):
            raise InputError("malformed", f"frames[{index}]", type(frame).__name__, "give bytes")
        if not 1 <= len(frame) <= FRAME_LENGTH_MAXIMUM:
            advice = f"give 1 to {FRAME_LENGTH_MAXIMUM} bytes"
            raise InputError("out-of-range", f"frames[{index}]", f"{len(frame)} bytes", advice)
    length = sum(map(len, frames))
    if length > GROUP_LENGTH_MAXIMUM:
        advice = f"append at most {GROUP_LENGTH_MAXIMUM} bytes at once"
        raise InputError("out-of-range", "frames", f"{length} bytes", advice)


def check_start(start: int, end: int) -> None:
    """Refuse a position to read from that is negative or beyond the end."""
    if not 0 <= start <= end:
        raise InputError("out-of-range", "start", start, f"give a position from 0 to {end}, the end of the log")


def check_position(position: int, end: int) -> None:
    """Refuse a position at which there is no frame."""
    if not 0 <= position < end:
        raise InputError("out-of-range", "position", position, f"give the position of a frame; the log's end is {end}")


def stop_of_read(start: int, limit: int | None, end: int) -> int:
    """The position before which a read stops; refuses a negative limit."""
    if limit is not None and limit < 0:
        raise InputError("out-of-range", "limit", limit, "give a number of frames, or None for all")
    return end if limit is None else min(end, start + limit)
