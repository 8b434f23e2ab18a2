"""Simulated time: events in one order, randomness from one seed, and a trace that says what happened.

What may not live here: what the events do.
"""

import hashlib
import heapq
import itertools
import random
from collections.abc import Callable
from typing import Any, Final

from holdfast.domain.errors import invariant

EVENTS_MAXIMUM: Final = 60_000
"""Of one run; usual ones have under 10,000."""


class Violation(Exception):  # noqa: N818 (it is a finding, not an error of the program)
    """What must hold did not.

    Attributes:
        law: Which, in one word or two; the same for all findings of one kind.
    """

    def __init__(self, law: str, problem: str) -> None:
        super().__init__(f"{law}: {problem}")
        self.law = law


class Event:
    """Something that will happen, unless it is cancelled."""

    __slots__ = ("action", "arguments")

    def __init__(self, action: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
        self.action, self.arguments = action, arguments

    def cancel(self) -> None:
        """Let it not happen."""
        self.action, self.arguments = None, ()


class Scheduler:
    """Events in the order of their times, and of their making where times are equal.

    Attributes:
        now: Simulated seconds since the start.
        random: The only source of randomness.
        lines: The trace, if it is kept.
        counts: What happened how often, by name.
    """

    def __init__(self, seed: int, *, keep_trace: bool = False) -> None:
        self.now = 0.0
        self.random = random.Random(seed)  # noqa: S311 (it is to be predictable)
        self.lines: list[str] | None = [] if keep_trace else None
        self.counts: dict[str, int] = {}
        self._heap: list[tuple[float, int, Event]] = []
        self._counter = itertools.count()
        self._digest = hashlib.sha256()

    def after(self, delay_s: float, action: Callable[..., None], *arguments: Any) -> Event:
        """Have something happen later."""
        invariant(delay_s >= 0.0, f"an event lies {delay_s} s ahead")
        event = Event(action, arguments)
        heapq.heappush(self._heap, (self.now + delay_s, next(self._counter), event))
        return event

    def run(self, until_s: float, over: Callable[[], bool] | None = None) -> bool:
        """Let happen what is due until a time, or until something is over; whether it is."""
        while self._heap and self._heap[0][0] <= until_s:
            self.now, number, event = heapq.heappop(self._heap)
            if number > EVENTS_MAXIMUM:
                raise Violation("liveness", f"{EVENTS_MAXIMUM} events in {self.now:.1f} s: somebody runs in circles")
            if event.action is None:
                continue
            event.action(*event.arguments)
            if over is not None and over():
                return True
        self.now = max(self.now, until_s)
        return over is not None and over()

    def note(self, who: str, what: str) -> None:
        """Write a line of the trace."""
        line = f"{self.now:10.6f} {who} {what}"
        self._digest.update(line.encode() + b"\n")
        if self.lines is not None:
            self.lines.append(line)

    def count(self, what: str, by: int = 1) -> None:
        """Count something that happened."""
        self.counts[what] = self.counts.get(what, 0) + by

    @property
    def digest(self) -> str:
        """SHA-256 of the trace so far, hexadecimal."""
        return self._digest.hexdigest()

    def chance(self, probability: float) -> bool:
        """Whether something happens that does so this often; nothing is drawn where it never does."""
        return probability > 0.0 and self.random.random() < probability

    def between(self, least: float, most: float) -> float:
        """A number drawn evenly."""
        return least + (most - least) * self.random.random()
