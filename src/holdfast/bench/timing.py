"""Timing contenders side by side.

Rounds are interleaved, A B C A B C, so that a slow minute of a shared machine slows all of them, and ratios are taken
within rounds before their median: drift cancels.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Samples:
    """Seconds of each contender, one per round.

    Attributes:
        seconds: By contender.
    """

    seconds: dict[str, list[float]]

    def __contains__(self, name: str) -> bool:
        return name in self.seconds

    @property
    def rounds(self) -> int:
        """Rounds measured."""
        return min(len(values) for values in self.seconds.values())

    def median(self, name: str) -> float:
        """Median seconds of a contender."""
        return statistics.median(self.seconds[name])

    def shortest(self, name: str) -> float:
        """Shortest seconds of a contender."""
        return min(self.seconds[name])

    def ratio(self, name: str, to: str) -> float:
        """Median over rounds of one contender's time over another's in the same round."""
        pairs = zip(self.seconds[name], self.seconds[to], strict=True)
        return statistics.median(a / b for a, b in pairs)


def interleaved(contenders: Mapping[str, Callable[[], object]], repeat: int, *, calls: int = 1) -> Samples:
    """Time contenders in turn.

    Args:
        contenders: What to call, by name.
        repeat: Rounds, after one that warms up and is not counted.
        calls: Calls per round and contender; the seconds are per call.

    Returns:
        Seconds per call, contender and round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for n in range(repeat + 1):
        for name, call in contenders.items():
            start = time.perf_counter()
            for _ in range(calls):
                call()
            if n:
                seconds[name].append((time.perf_counter() - start) / calls)
    return Samples(seconds)
