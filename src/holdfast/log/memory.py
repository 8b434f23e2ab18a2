"""The log in memory: for tests, notebooks and back-tests. It is gone with the process."""

import threading
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from holdfast.domain.frames import CHAIN_START, chain_hash
from holdfast.log.errors import ClosedError
from holdfast.log.protocol import check_group, check_position, check_start, stop_of_read


class MemoryLog:
    """A `GroupLog` that keeps its frames in a list."""

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self._hashes: list[bytes] = []
        self._closed = False
        self._changed = threading.Condition()

    def append(self, frame: bytes) -> int:
        """See `Log`."""
        return self.append_group((frame,))[0]

    def append_group(self, frames: Sequence[bytes]) -> range:
        """See `GroupLog`."""
        check_group(frames)
        with self._changed:
            self._check_open()
            head = self.head_hash
            hashes = [head := chain_hash(head, frame) for frame in frames]
            start = len(self._frames)
            self._hashes += hashes
            self._frames += frames
            self._changed.notify_all()
        return range(start, start + len(frames))

    def read(self, start: int, limit: int | None = None) -> Iterator[tuple[int, bytes]]:
        """See `Log`."""
        end = self.end
        check_start(start, end)
        return self._read(start, stop_of_read(start, limit, end))

    def _read(self, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
        for position in range(start, stop):
            self._check_open()
            yield position, self._frames[position]

    def follow(self, start: int, timeout_s: float | None = None) -> Iterator[tuple[int, bytes]]:
        """See `Log`."""
        check_start(start, self.end)
        return self._follow(start, timeout_s)

    def _follow(self, position: int, timeout_s: float | None) -> Iterator[tuple[int, bytes]]:
        while self._wait_for(position, timeout_s):
            yield position, self._frames[position]
            position += 1

    def _wait_for(self, position: int, timeout_s: float | None) -> bool:
        """Whether there is a frame at `position`, waiting for it up to the timeout or the closing."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while not self._closed and len(self._frames) <= position:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return False
                self._changed.wait(left)
            return not self._closed

    @property
    def end(self) -> int:
        """See `Log`."""
        self._check_open()
        return len(self._frames)

    def hash_at(self, position: int) -> bytes:
        """See `Log`."""
        check_position(position, self.end)
        return self._hashes[position]

    @property
    def head_hash(self) -> bytes:
        """See `Log`."""
        self._check_open()
        return self._hashes[-1] if self._hashes else CHAIN_START

    def close(self) -> None:
        """See `Log`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("memory log", "was closed", "make a new one")
