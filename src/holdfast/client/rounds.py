"""Which replica is written to, since when, and when it is given up. No clock, no I/O.

One round is everything that is sent to one replica over one connection. A round ends when the replica is silent for too
long, is not there, or turns something away; the next one goes to the replica that comes first in the order of
preference among those that were not tried since something last succeeded. When all were tried, they are tried again,
with growing patience and growing pauses. A replica that is silent but says that it serves gets more time: then it is
the log that is slow, and another replica could not do more. What may not live here: batches.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

PAUSE_S, PAUSE_MAXIMUM_S = 0.05, 1.0
"""Before all replicas are tried again that turned something away; doubled each time."""
STUMBLE_S: Final = 0.005
"""Before everything is sent again to a replica that met it out of order; doubled each time."""
STUMBLES_MAXIMUM: Final = 3
"""Then another replica is tried."""
HOME_S: Final = 2.0
"""Before the preferred replica is looked at again."""


class Pace(NamedTuple):
    """How long a replica is waited for.

    Attributes:
        attempt_s: For an answer, where there are other replicas.
        patience_s: For an answer of a replica that says it serves, or where there is no other.
        growth_maximum: How many times as long at most, after all replicas were tried in vain.
    """

    attempt_s: float = 0.4
    patience_s: float = 2.0
    growth_maximum: int = 4


Head = tuple[int, float] | None
"""Round in which the first open batch was sent last, and when; None where there is no such batch."""


class Rounds:
    """The rounds of one line.

    Attributes:
        number: Of the round.
    """

    def __init__(self, replicas: Sequence[str], pace: Pace, now: float) -> None:
        self.number = 0
        self._replicas = tuple(replicas)
        self._pace = pace
        self._target = 0
        self._begins_at = now
        self._heard_at = now
        self._tried: set[int] = set()
        self._cycle = 0
        self._stumbles = 0
        self._busy_until = [now] * len(replicas)
        self._serves = False
        self._is_probed = False
        self._home_at = now
        self._goes_home = False

    @property
    def replica(self) -> str:
        """Name of the replica of this round."""
        return self._replicas[self._target]

    @property
    def path(self) -> int:
        """Which connection this round takes: another one than the round before."""
        return self.number % 2

    @property
    def takes_more(self) -> bool:
        """Whether new batches may join the round."""
        return not self._goes_home

    def begun(self, now: float) -> bool:
        """Whether the round may send."""
        return now >= self._begins_at

    def turn(self, now: float, head: Head, *, idle: bool) -> list[str]:
        """Give up a silent replica; whom to probe."""
        if idle:
            self._rest(now)
        if self._goes_home and head is None:
            self._tried.clear()
            self._begin(0, now)
        if head is not None and head[0] == self.number and now >= self._gives_up_at(head):
            self._next(now, instant=False)
        probes = []
        if head is not None and self._is_suspicious(now, head):
            self._is_probed = True
            probes.append(self.replica)
        if self._target and not idle and now >= self._home_at and not self._goes_home:
            self._home_at = now + HOME_S
            probes.append(self._replicas[0])
        return probes

    def next_at(self, head: Head) -> float:
        """When `turn` may have something to do, or the round begins."""
        if head is None:
            return float("inf")
        if head[0] != self.number:
            return self._begins_at
        times = [self._gives_up_at(head)]
        if not self._is_probed and len(self._replicas) > 1:
            times.append(self._suspected_at(head))
        return min(times)

    def progress(self, now: float) -> None:
        """Something succeeded."""
        self._heard_at = now
        self._cycle = self._stumbles = 0
        self._tried.clear()
        self._is_probed = self._serves = False

    def busy(self, now: float, retry_after_s: float) -> None:
        """The replica has as much to do as it takes."""
        self._busy_until[self._target] = now + retry_after_s
        self._next(now, instant=True)

    def away(self, now: float) -> None:
        """The replica is not there, or takes no writes."""
        self._next(now, instant=True)

    def again(self, now: float) -> None:
        """The same replica is to get everything again, over the other connection."""
        self._begin(self._target, now)

    def stumble(self, now: float) -> None:
        """The replica met something out of its order."""
        self._stumbles += 1
        if self._stumbles % STUMBLES_MAXIMUM:
            self._begin(self._target, now + STUMBLE_S * 2**self._stumbles)
        else:
            self._next(now, instant=True)

    def probed(self, replica: str, now: float, *, serving: bool) -> None:
        """A replica said whether it takes writes, or was not there."""
        if replica == self.replica:
            self._serves = self._is_probed and serving
            if self._is_probed and not serving:
                self._next(now, instant=True)
        elif replica == self._replicas[0]:
            self._goes_home = serving

    def hurry(self, now: float) -> None:
        """Begin the round now if it has not begun."""
        self._begins_at = min(self._begins_at, now)

    def _rest(self, now: float) -> None:
        """Nothing is under way: what comes next is not to wait for what failed before."""
        self._begins_at = min(self._begins_at, max(now, self._busy_until[self._target]))
        self._cycle = self._stumbles = 0
        self._tried.clear()

    def _allowed_s(self) -> float:
        is_patient = self._serves or len(self._replicas) == 1
        base = self._pace.patience_s if is_patient else self._pace.attempt_s
        return base * min(1 << self._cycle, self._pace.growth_maximum)

    def _gives_up_at(self, head: tuple[int, float]) -> float:
        return max(head[1], self._heard_at) + self._allowed_s()

    def _suspected_at(self, head: tuple[int, float]) -> float:
        return max(head[1], self._heard_at) + self._pace.attempt_s / 2

    def _is_suspicious(self, now: float, head: tuple[int, float]) -> bool:
        is_probed = self._is_probed or len(self._replicas) == 1 or head[0] != self.number
        return not is_probed and now >= self._suspected_at(head)

    def _next(self, now: float, *, instant: bool) -> None:
        """Begin a round at another replica."""
        self._tried.add(self._target)
        left = [n for n in range(len(self._replicas)) if n not in self._tried]
        pause_s = 0.0
        if not left:
            if instant:
                pause_s = min(PAUSE_S * 2**self._cycle, PAUSE_MAXIMUM_S)
            self._cycle = min(self._cycle + 1, 16)
            self._tried.clear()
            left = [n for n in range(len(self._replicas)) if n != self._target] or [self._target]
        target = min(left, key=lambda n: (max(self._busy_until[n], now), n))
        if self._target == 0:
            self._home_at = now + HOME_S
        self._stumbles = 0
        self._begin(target, max(now + pause_s, self._busy_until[target]))

    def _begin(self, target: int, when: float) -> None:
        self.number += 1
        self._target, self._begins_at = target, when
        self._is_probed = self._serves = self._goes_home = False
