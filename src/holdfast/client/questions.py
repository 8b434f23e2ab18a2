"""Whom to ask first, and when to ask somebody else too. No clock, no I/O.

The own region comes first, then the others by the time that they took to answer lately. A region that was silent, busy
or absent is asked last for a moment. What may not live here: asking.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

from holdfast.domain.messages import Found

HEDGE_START_S, HEDGE_MINIMUM_S, HEDGE_MAXIMUM_S = 0.05, 0.005, 0.2
HEDGE_SHARE: Final = 0.95
"""Of the latest answers came sooner than the delay after which another region is asked too."""
SAMPLES, SAMPLES_MINIMUM = 128, 16
AVOIDED_S: Final = 1.0
MISSES_MAXIMUM: Final = 3
"""Questions that another region answered first because this one was silent; then it is avoided."""
_WEIGHT: Final = 0.2
"""Of the newest time in a region's average."""


class Hedge:
    """After which delay a question is put to another region too."""

    def __init__(self) -> None:
        self._times_s: deque[float] = deque(maxlen=SAMPLES)

    def note(self, time_s: float) -> None:
        """An answer took so long."""
        self._times_s.append(time_s)

    @property
    def delay_s(self) -> float:
        """The delay."""
        if len(self._times_s) < SAMPLES_MINIMUM:
            return HEDGE_START_S
        times = sorted(self._times_s)
        return min(max(times[int(HEDGE_SHARE * (len(times) - 1))], HEDGE_MINIMUM_S), HEDGE_MAXIMUM_S)


class Regions:
    """The regions that may be asked."""

    def __init__(self, regions: Sequence[str], own: str) -> None:
        """Regions of which nothing is known yet.

        Args:
            regions: Of the replicas; one that is given more than once counts once.
            own: Of the client; may be none of them.
        """
        self._own = own
        self._names = tuple(dict.fromkeys(regions))
        self._times_s: dict[str, float] = {}
        self._avoided_until: dict[str, float] = {}
        self._misses = dict.fromkeys(self._names, 0)

    def order(self, now: float) -> list[str]:
        """All regions, the one to ask first before the others."""
        return sorted(self._names, key=lambda name: self._rank(name, now))

    def _rank(self, name: str, now: float) -> tuple[bool, bool, float]:
        is_avoided = self._avoided_until.get(name, now) > now
        return is_avoided, name != self._own, self._times_s.get(name, 0.0)

    def note(self, region: str, time_s: float) -> None:
        """A region answered after so long."""
        before = self._times_s.get(region, time_s)
        self._times_s[region] = before + _WEIGHT * (time_s - before)
        self._misses[region] = 0

    def missed(self, region: str, now: float) -> None:
        """Another region's answer came first."""
        self._misses[region] += 1
        if self._misses[region] >= MISSES_MAXIMUM:
            self.avoid(region, now)

    def avoid(self, region: str, now: float) -> None:
        """A region is absent or busy."""
        self._avoided_until[region] = now + AVOIDED_S


class Floor:
    """Below which position an answer is not used: what a client saw before, it sees ever after.

    Attributes:
        seen: The highest position of answers that were used.
    """

    def __init__(self) -> None:
        self.seen = -1

    def minimum(self, at_least: int) -> int:
        """What a question that begins now asks for."""
        return max(self.seen, at_least)

    def use(self, found: Found, minimum: int) -> bool:
        """Whether an answer may be used; it then counts as seen."""
        if found.position < minimum:
            return False
        self.seen = max(self.seen, found.position)
        return True
