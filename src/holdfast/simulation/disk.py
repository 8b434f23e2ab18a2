"""What survives a node's process: its copy of the log, its snapshots; and the store that all nodes share.

The copy is a real `MemoryLog`, the snapshots are real bytes. What may not live here: when disks fail (`faults`).
"""

from collections.abc import Iterator
from typing import Final

from holdfast.log.memory import MemoryLog
from holdfast.replica.node.joining import Candidate

SNAPSHOTS_KEPT: Final = 3


class Disk:
    """The folder of one node.

    Attributes:
        copy: Of the log.
    """

    def __init__(self, frames: list[bytes]) -> None:
        self.copy = MemoryLog()
        self._snapshots: list[Candidate] = []
        if frames:
            self.copy.append_group(frames)

    def keep(self, snapshot: Candidate) -> None:
        """Write a snapshot."""
        self._snapshots = [snapshot, *self._snapshots][:SNAPSHOTS_KEPT]

    def newest_first(self) -> Iterator[Candidate]:
        """The snapshots."""
        yield from list(self._snapshots)

    def roll_back(self, frames: int) -> None:
        """Lose the newest frames of the copy; snapshots stay."""
        kept = [frame for _, frame in self.copy.read(0, max(1, self.copy.end - frames))]
        self.copy = MemoryLog()
        self.copy.append_group(kept)

    def damage(self, place: int) -> None:
        """Turn a bit of the newest snapshot around."""
        if self._snapshots:
            newest = self._snapshots[0]
            data = bytearray(newest.snapshot)
            data[place % len(data)] ^= 1
            self._snapshots[0] = newest._replace(snapshot=bytes(data))

    def wipe(self) -> None:
        """Be a new disk."""
        self.copy, self._snapshots = MemoryLog(), []


class Store:
    """The broker's object store: the newest snapshot of all."""

    def __init__(self) -> None:
        self._newest: tuple[int, Candidate] | None = None

    def put(self, position: int, snapshot: Candidate) -> None:
        """Keep a snapshot."""
        if self._newest is None or position >= self._newest[0]:
            self._newest = position, snapshot

    def newest(self) -> Iterator[Candidate]:
        """The snapshot of the highest position, if there is one."""
        if self._newest is not None:
            yield self._newest[1]
