"""A client's journal: every call before it is made, and what became of it before that is used for anything.

Each entry is a line of JSON. Entries are forced to disk in groups: while one group is being forced the next one
collects. Times are of the machine's monotonic clock, which all processes share, so that entries of several clients can
be put in order. What lives here: the entries, writing, reading. What may not: what they mean together (`history`).
"""

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

Said: TypeAlias = tuple[int, int, int, int, int, int, int]
"""What a hot command says: kind, account, other, instrument, quantity, price, time. No two commands say the same."""


class _Entry(msgspec.Struct, frozen=True, array_like=True):
    """What all entries have.

    Attributes:
        at: When, monotonic nanoseconds.
        id: Of the call, in order of this client's calls.
    """

    at: int
    id: int


class Invoked(_Entry, frozen=True, tag="invoke"):
    """A command is about to be sent."""

    said: Said


class Acknowledged(_Entry, frozen=True, tag="ok"):
    """A command was reported as done.

    Attributes:
        session: Under which.
        number: Of the session.
        reason: Of the outcome, a number of `domain.reasons.Reason`.
        command: The command's id, which says its place in the log; 0 where the outcome is not kept any more.
        halted: Whether the answer said that a replica does not acknowledge.
    """

    session: int
    number: int
    reason: int
    command: int
    halted: bool = False


class Failed(_Entry, frozen=True, tag="fail"):
    """A command was reported as certainly not done."""

    problem: str


class Unknown(_Entry, frozen=True, tag="unknown"):
    """A command may have been done, or may be later."""

    session: int
    number: int
    problem: str


class Asked(_Entry, frozen=True, tag="ask"):
    """A question is about to be put.

    Attributes:
        what: See `domain.messages.Read`.
        arguments: Of the question.
        minimum: Position that the answer must reflect, −1 for any.
        staleness_ms: How old the answer may be, −1 for any.
    """

    what: str
    arguments: dict[str, Any]
    minimum: int
    staleness_ms: int


class Answered(_Entry, frozen=True, tag="answer"):
    """A question was answered.

    Attributes:
        position: That the answer reflects.
        time: Logical time there.
        replica: Who answered.
        content: Of the answer.
    """

    position: int
    time: int
    replica: str
    content: Any


class Unanswered(_Entry, frozen=True, tag="silence"):
    """A question was not answered."""

    problem: str


Entry: TypeAlias = Invoked | Acknowledged | Failed | Unknown | Asked | Answered | Unanswered

_DECODER = msgspec.json.Decoder(Entry)


def encode(content: Any) -> bytes:
    """JSON in which equal contents are equal bytes."""
    return msgspec.json.encode(content, order="sorted")


class Journal:
    """A file that entries are appended to."""

    def __init__(self, path: Path) -> None:
        """Open or make the file; to be used in one event loop, in which `run` runs."""
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._buffer = bytearray()
        self._waiters: list[asyncio.Future[None]] = []
        self._came = asyncio.Event()

    def put(self, entry: Entry) -> None:
        """Append an entry; it is on disk when the next `force` returns."""
        self._buffer += encode(entry) + b"\n"
        self._came.set()

    async def force(self) -> None:
        """Wait until everything that was put before is on disk. Who waited first goes on first."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._came.set()
        await waiter

    async def run(self) -> None:
        """Write what comes, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._came.wait()
            self._came.clear()
            data, waiters = bytes(self._buffer), self._waiters
            self._buffer.clear()
            self._waiters = []
            await loop.run_in_executor(None, self._write, data)
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def _write(self, data: bytes) -> None:
        if data:
            os.write(self._file, data)
            os.fdatasync(self._file)

    def close(self) -> None:
        """Write the rest."""
        self._write(bytes(self._buffer))
        os.close(self._file)


def now() -> int:
    """The time of entries."""
    return time.monotonic_ns()


def read_journal(path: Path) -> Iterator[Entry]:
    """The entries of a file in their order. A last line without an end was being written when its process died."""
    for line in path.read_bytes().split(b"\n")[:-1]:
        yield _DECODER.decode(line)
