"""Logical time: what replicas' clocks say in the log (specs/time.md).

What lives here: replicas, their clocks, and what they are suspended from. What may not: what a tick then causes.
"""

from dataclasses import dataclass

from holdfast.witness.rules import Rules


@dataclass
class Replica:
    """One configured replica.

    Attributes:
        name: Of the replica.
        region: Where it is, empty where not named.
        clock: Its latest, ns.
        ticked: Number of its latest tick, 0 before the first.
        suspended: Whether it takes no part (QRM-14).
    """

    name: str
    region: str = ""
    clock: int = 0
    ticked: int = 0
    suspended: bool = False


class Clock:
    """Logical time and the replicas that it comes from."""

    def __init__(self) -> None:
        self.now = 0
        self.ticks = 0
        self.replicas: list[Replica] = []

    def define(self, name: str, region: str) -> None:
        """A new replica, or another region of a known one."""
        for replica in self.replicas:
            if replica.name == name:
                replica.region = region
                return
        self.replicas.append(Replica(name, region))

    def tick(self, number: int, clock: int, rules: Rules) -> int:
        """Take a replica's clock and return logical time before it (TIM-1 to TIM-3)."""
        before = self.now
        self.ticks += 1
        replica = self.replicas[number]
        replica.clock, replica.ticked = clock, self.ticks
        live = [r for r in self.replicas if r.ticked > self.ticks - rules.live_ticks and r.ticked and not r.suspended]
        if live:
            target = lower_median([r.clock for r in live])
            first = self.ticks == 1
            self.now = target if first else max(before, min(target, before + rules.step_maximum))
        return before


def lower_median(values: list[int]) -> int:
    """Of k in ascending order number ⌈k / 2⌉."""
    return sorted(values)[(len(values) - 1) // 2]
