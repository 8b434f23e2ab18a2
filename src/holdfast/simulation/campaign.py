"""Many seeds and what they found; with bugs planted, and which were found. What may not live here: a run."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from holdfast.simulation.bugs import BUGS, planted
from holdfast.simulation.run import Result, simulate

Progress = Callable[[str, float], None]
"""Told what is at work and which share of all is done."""


class Campaign(NamedTuple):
    """What seeds led to.

    Attributes:
        first: The first seed.
        seeds: How many, one after the other.
        failed: The results of those that broke a law.
        counts: What happened how often in all runs together.
        kinds: In how many runs each kind of fault was planned.
        seconds: Simulated, together.
        trace: SHA-256 of all traces, hexadecimal.
    """

    first: int
    seeds: int
    failed: tuple[Result, ...]
    counts: dict[str, int]
    kinds: dict[str, int]
    seconds: float
    trace: str


class Found(NamedTuple):
    """How often a planted bug was found.

    Attributes:
        name: Of the bug.
        what: The code does wrongly then.
        seeds: That were tried.
        found: How many of them broke a law.
        first: The first of these; −1 for none.
        laws: How many broke which law.
    """

    name: str
    what: str
    seeds: int
    found: int
    first: int
    laws: dict[str, int]


def run(seeds: range, *, bug: str = "", progress: Progress | None = None) -> Campaign:
    """Run seeds, with a bug planted where one is named."""
    digest = hashlib.sha256()
    failed: list[Result] = []
    counts: dict[str, int] = {}
    kinds: dict[str, int] = {}
    seconds = 0.0
    with planted(bug):
        for done, seed in enumerate(seeds):
            if progress is not None:
                progress(f"seed {seed}, {len(failed)} failed", done / len(seeds))
            result = simulate(seed)
            digest.update(bytes.fromhex(result.trace))
            seconds += result.seconds
            _add(counts, result.counts.items())
            _add(kinds, ((kind, 1) for kind in result.kinds))
            if result.law:
                failed.append(result)
    return Campaign(seeds.start, len(seeds), tuple(failed), counts, kinds, seconds, digest.hexdigest())


def power(seeds: range, *, names: Sequence[str] = (), progress: Progress | None = None) -> list[Found]:
    """Plant one bug after the other and run all seeds with each."""
    out = []
    wanted = names or tuple(BUGS)
    for place, name in enumerate(wanted):

        def tell(what: str, share: float, *, name: str = name, place: int = place) -> None:
            if progress is not None:
                progress(f"{name}: {what}", (place + share) / len(wanted))

        failed = run(seeds, bug=name, progress=tell).failed
        laws: dict[str, int] = {}
        _add(laws, ((result.law, 1) for result in failed))
        first = failed[0].seed if failed else -1
        out.append(Found(name, BUGS[name].what, len(seeds), len(failed), first, laws))
    return out


def rerun_command(seed: int, bug: str = "") -> str:
    """What somebody types to see a run again."""
    return f"holdfast sim --seeds 1 --from {seed}" + (f" --bug {bug}" if bug else "") + f" --trace trace-{seed}.txt"


def _add(totals: dict[str, int], parts: Iterable[tuple[str, int]]) -> None:
    for name, count in parts:
        totals[name] = totals.get(name, 0) + count
