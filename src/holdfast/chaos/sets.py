"""Which faults a run has: the short set in its order, or a long one by chance. What may not live here: faults."""

import random
import time
from collections.abc import Iterator, Sequence
from typing import Final

from holdfast.chaos import disks, faults
from holdfast.chaos.faults import Fault

SHORT: Final[tuple[Fault, ...]] = (
    faults.engine_killed,
    faults.engine_stopped,
    faults.log_leader_killed,
    faults.region_cut_off_one_way,
    faults.everything_killed,
    faults.rolling_restart,
)
"""For every change: minutes."""
LONG: Final[tuple[Fault, ...]] = (
    faults.engine_killed,
    faults.engine_stopped,
    faults.server_killed,
    faults.log_leader_killed,
    faults.log_leader_stopped,
    faults.region_cut_off,
    faults.region_cut_off_one_way,
    faults.all_regions_cut_off,
    faults.region_frozen,
    faults.connections_cut,
    faults.links_slow,
    faults.two_engines_dead,
    faults.everything_killed,
    faults.rolling_restart,
    faults.leader_steps_down,
    disks.engine_disk_full,
    disks.server_disk_full,
    disks.server_rolled_back,
    disks.clock_an_hour_off,
    disks.engine_replaced,
)
"""All of them."""
BY_NAME: Final = {fault.__name__: fault for fault in LONG}


def long_set(seed: int, minutes: float, chosen: Sequence[Fault] = LONG) -> Iterator[Fault]:
    """Faults by chance until so much time has passed: each once in every round, in an order of its own."""
    chance, deadline = random.Random(seed), time.monotonic() + 60 * minutes  # noqa: S311 (a choice of faults)
    while True:
        for fault in chance.sample(chosen, len(chosen)):
            if time.monotonic() > deadline:
                return
            yield fault
