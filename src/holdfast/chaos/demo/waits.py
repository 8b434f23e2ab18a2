"""How many commands are acknowledged, and how long clients wait for the next acknowledgement or answer.

A wait is the time between two answers to one client, or since its last one. No clock: times are the caller's, monotonic
seconds. What may not live here: clients.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

HISTORY_S: Final = 60
"""Whole seconds that the meter remembers."""
QUIET_S, PAUSE_MAXIMUM_S = 1.0, 0.75
"""A client is served if it was answered for so long without a longer pause."""


class Longest(NamedTuple):
    """Longest waits since a fault, seconds; None where there is no such client.

    Attributes:
        hit: Of clients of the replica that was hit.
        others: Of all other clients, for acknowledgements.
        reads: Of all clients, for answers to questions.
    """

    hit: float | None
    others: float | None
    reads: float | None


NO_WAITS: Final = Longest(None, None, None)


class Meter:
    """Counts by the second."""

    def __init__(self, began: float) -> None:
        self._began = began
        self._counts: dict[int, int] = {}
        self.total = 0

    def note(self, count: int, now: float) -> None:
        """So many were acknowledged."""
        self.total += count
        second = int(now - self._began)
        self._counts[second] = self._counts.get(second, 0) + count
        self._counts.pop(second - HISTORY_S - 1, None)

    def history(self, now: float) -> list[int]:
        """Counts of the latest whole seconds, the newest last; fewer than HISTORY_S at the beginning."""
        last = int(now - self._began)
        return [self._counts.get(second, 0) for second in range(max(0, last - HISTORY_S), last)]

    def rate(self, now: float) -> float:
        """Per second, over the latest three whole seconds."""
        latest = self.history(now)[-3:]
        return sum(latest) / len(latest) if latest else 0.0


class _Line:
    """Answers of one kind to one client."""

    def __init__(self, now: float) -> None:
        self.last = now
        self.longest = 0.0
        self.recent: deque[float] = deque(maxlen=256)

    def note(self, now: float) -> None:
        self.longest = max(self.longest, now - self.last)
        self.last = now
        self.recent.append(now)

    def wait(self, now: float) -> float:
        return max(self.longest, now - self.last)

    def is_served(self, now: float) -> bool:
        since = now - QUIET_S
        times = [since, *(at for at in self.recent if at > since), now]
        return len(times) > 2 and max(b - a for a, b in pairwise(times)) < PAUSE_MAXIMUM_S


class Waits:
    """The waits of the clients of all regions since the last fault."""

    def __init__(self, regions: Sequence[str], now: float) -> None:
        """Nothing was hit yet.

        Args:
            regions: One client is near each.
            now: When they began.
        """
        self._writes = {region: _Line(now) for region in regions}
        self._reads = {region: _Line(now) for region in regions}
        self._hit: frozenset[str] = frozenset()

    def begin(self, hit: Iterable[str]) -> None:
        """A fault begins: count anew. What a client waited for already counts.

        Args:
            hit: Regions whose replica it hits.
        """
        self._hit = frozenset(hit)
        for line in (*self._writes.values(), *self._reads.values()):
            line.longest = 0.0

    def acknowledged(self, region: str, now: float) -> None:
        """A client near a region was told what became of commands."""
        self._writes[region].note(now)

    def answered(self, region: str, now: float) -> None:
        """A question of a client near a region was answered."""
        self._reads[region].note(now)

    def longest(self, now: float) -> Longest:
        """The longest waits since the last fault."""
        writes = {region: line.wait(now) for region, line in self._writes.items()}
        hit = [wait for region, wait in writes.items() if region in self._hit]
        others = [wait for region, wait in writes.items() if region not in self._hit]
        reads = [line.wait(now) for line in self._reads.values()]
        return Longest(max(hit, default=None), max(others, default=None), max(reads, default=None))

    def are_served(self, now: float) -> bool:
        """Whether all clients are being answered, writes and reads, without a long pause."""
        return all(line.is_served(now) for line in (*self._writes.values(), *self._reads.values()))
