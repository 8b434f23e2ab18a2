"""Everything that the picture shows, as plain values; whoever finds something out writes it here.

What may not live here: finding out, and drawing.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from holdfast.chaos.demo.faults import Fault
from holdfast.chaos.demo.market import Step
from holdfast.chaos.demo.observer import Seen
from holdfast.chaos.demo.waits import NO_WAITS, Longest, Meter, Waits
from holdfast.chaos.demo.watch import Row

EVENTS_MAXIMUM: Final = 200
DUE, UNDER_WAY, DONE = "due", "under way", "done"

Listener = Callable[[float, str], None]
"""Takes an event: seconds since the beginning, and what happened."""


@dataclass
class Act:
    """A fault in the schedule.

    Attributes:
        fault: Which.
        due_s: When, seconds after the load began; not before the one before it is mended.
        state: DUE, UNDER_WAY or DONE.
        target: What it hits, once that is known.
        longest: Waits since then.
        well_after_s: When all was well again.
    """

    fault: Fault
    due_s: float
    state: str = DUE
    target: str = ""
    longest: Longest = NO_WAITS
    well_after_s: float = 0.0


@dataclass
class Scene:
    """The state of the demonstration.

    Attributes:
        began: Monotonic seconds.
        duration_s: How long the market is replayed.
        listen: Told of every event.
        now: What happens now, a sentence.
        now_since: Since when.
        load_began: When the load began; None before.
        acts: The schedule.
        servers: A row for each.
        engines: A row for each.
        degraded: What engines say is not as it should be.
        meter: Acknowledged commands.
        waits: Of clients.
        unknown: Commands of which clients were not told what became of them.
        step: Of the market.
        prices: Bitcoin's at the steps so far.
        ether: Ether's.
        seen: What the state says.
        events: What happened: seconds since the beginning, and words.
    """

    began: float
    duration_s: float
    listen: Listener | None = None
    now: str = "starting"
    now_since: float = 0.0
    load_began: float | None = None
    acts: Sequence[Act] = ()
    servers: Sequence[Row] = ()
    engines: Sequence[Row] = ()
    degraded: Sequence[str] = ()
    meter: Meter | None = None
    waits: Waits | None = None
    unknown: int = 0
    step: Step | None = None
    prices: list[float] = field(default_factory=list)
    ether: list[float] = field(default_factory=list)
    seen: Seen | None = None
    events: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=EVENTS_MAXIMUM))

    def say(self, text: str, at: float) -> None:
        """Something happened."""
        self.events.append((at - self.began, text))
        if self.listen is not None:
            self.listen(at - self.began, text)

    def turn(self, text: str, at: float) -> None:
        """Something else happens now."""
        self.now, self.now_since = text, at
        self.say(text, at)

    def left_s(self, now: float) -> float:
        """How long the market is still replayed."""
        return self.duration_s if self.load_began is None else max(0.0, self.duration_s - (now - self.load_began))

    def show(self, step: Step) -> None:
        """The market moved on."""
        if self.step is None or step.number > self.step.number:
            self.step = step
            self.prices.append(float(step.index[0]))
            self.ether.append(float(step.index[1]))


def schedule(faults: Sequence[Fault], duration_s: float, lead_s: float = 5.0, tail_s: float = 25.0) -> list[Act]:
    """When faults are due: the first after `lead_s`, the last `tail_s` before the end, the others evenly between.

    Where there is not so much time the distances shrink, to none.
    """
    room = max(0.0, duration_s - lead_s - tail_s)
    gap = room / max(1, len(faults) - 1)
    return [Act(fault, lead_s + number * gap) for number, fault in enumerate(faults)]
