"""How long clients waited: the longest time without an acknowledgement or an answer around each fault.

A gap is the longest time between two acknowledgements one after the other of one client, of which at least a part lies
in the fault's window. What may not live here: what is right or wrong.
"""

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from holdfast.chaos.history import NEVER, Fate, History


class Window(NamedTuple):
    """When a fault was there.

    Attributes:
        fault: Its name.
        regions: That were hit.
        began_at: Before it struck, ns.
        ended_at: When the cluster was well again and every client had an acknowledgement, ns.
        proofs: That it was really there.
        problem: What did not become well in time; empty where everything did.
    """

    fault: str
    regions: tuple[str, ...]
    began_at: int
    ended_at: int
    proofs: tuple[str, ...]
    problem: str = ""


class Gap(NamedTuple):
    """What a fault cost, seconds; −1 where there was no such client.

    Attributes:
        window: The fault.
        hit: For clients of the regions that were hit.
        others: For the others.
        reads: Without an answer to a question that takes any age, for all clients.
        silent: Questions that were not answered, those that limit the age included.
        unknown: Commands whose fate clients do not know.
    """

    window: Window
    hit: float
    others: float
    reads: float
    silent: int
    unknown: int


def longest(times: Sequence[int], began_at: int, ended_at: int) -> float:
    """The longest time between two of some ascending times that touches a span, seconds."""
    first, last = bisect_left(times, began_at) - 1, bisect_right(times, ended_at)
    marks = [began_at if first < 0 else times[first], *times[first + 1 : last]]
    marks.append(ended_at if last >= len(times) else times[last])
    return max((later - sooner for sooner, later in itertools.pairwise(marks)), default=0) / 1e9


def gaps(history: History, regions: dict[str, str], windows: Sequence[Window]) -> list[Gap]:
    """What each fault cost.

    Args:
        history: Of all clients.
        regions: By client, where it is.
        windows: The faults.
    """
    acknowledged: dict[str, list[int]] = {client: [] for client in regions}
    answered: dict[str, list[int]] = {client: [] for client in regions}
    for command in history.commands:
        if command.fate is Fate.OK:
            acknowledged[command.client].append(command.ended_at)
    for question in history.questions:
        if question.answered_at != NEVER and question.staleness_ms < 0:
            answered[question.client].append(question.answered_at)
    for times in (*acknowledged.values(), *answered.values()):
        times.sort()
    return [_gap(window, history, regions, acknowledged, answered) for window in windows]


def _gap(
    window: Window,
    history: History,
    regions: dict[str, str],
    acknowledged: dict[str, list[int]],
    answered: dict[str, list[int]],
) -> Gap:
    span = window.began_at, window.ended_at
    writes = {client: longest(times, *span) for client, times in acknowledged.items()}
    hit = [gap for client, gap in writes.items() if regions[client] in window.regions]
    others = [gap for client, gap in writes.items() if regions[client] not in window.regions]
    silent = [q for q in history.questions if q.answered_at == NEVER and span[0] <= q.asked_at <= span[1]]
    unknown = [c for c in history.commands if c.fate is Fate.UNKNOWN and span[0] <= c.invoked_at <= span[1]]
    reads = max((longest(times, *span) for times in answered.values()), default=-1.0)
    return Gap(window, max(hit, default=-1.0), max(others, default=-1.0), reads, len(silent), len(unknown))
