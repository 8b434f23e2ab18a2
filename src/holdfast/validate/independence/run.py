"""The whole measurement: the bank, mutants of both engines, pairs that are alike, noise.

Theory of operation. Both unchanged engines go over the bank first, each in a trial of its own as its mutants will; the
first one, read as plain Python, must give the compiled kernel's bits, and both must agree within the tolerance. Then
mutants of A and B are tried in turn, then pairs, then noise. Where time runs out the rest is left out and said so.

What may not live here: what any part means (`judge`, `coincidence`, `noise`), and words for people (`report`).
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

import numpy as np

from holdfast.domain.errors import InputError, invariant
from holdfast.validate.independence import bank as banks
from holdfast.validate.independence import choice, coincidence, judge, noise, trial
from holdfast.validate.independence.bank import SCENES, Figures, Scene
from holdfast.validate.independence.choice import Pair, Reach
from holdfast.validate.independence.coincidence import Coincidence, Failing, Together
from holdfast.validate.independence.engines import ENGINES, FIRST, SECOND, Codes, Engine, source_of
from holdfast.validate.independence.judge import Judgement, Truth
from holdfast.validate.independence.mutation import Place, mutated
from holdfast.validate.independence.noise import Noisy
from holdfast.validate.independence.trial import Trial

MUTANTS_MAXIMUM = 2_000
MINUTES_MAXIMUM = 24 * 60.0
PAIRS_PER_MUTANT = 0.4
"""Pairs that are tried for each mutant of one engine."""
_AGREE_LEAST = 1e-3
"""Unchanged engines agree at least so closely, in tolerances: then what a mutant does is the mutant's doing."""

Progress = Callable[[str, float], None]


class Mutant(NamedTuple):
    """A mutant and what became of it."""

    engine: str
    place: Place
    judgement: Judgement


class AlikePair(NamedTuple):
    """A pair that is alike, what became of each on its own, and of both together where both gave figures."""

    pair: Pair
    first: Judgement
    second: Judgement
    together: Together | None


class Inputs(NamedTuple):
    """What the bank holds.

    Attributes:
        situations: Their names, in order.
        accounts: How many.
        kinds: How many accounts of each kind.
        below: How many are below maintenance margin by A unchanged.
        near: How many are no further from it than the tolerance.
        with_orders: How many have open orders.
        agreement: The largest difference of the unchanged engines, in tolerances.
    """

    situations: tuple[str, ...]
    accounts: int
    kinds: dict[str, int]
    below: int
    near: int
    with_orders: int
    agreement: float


class Measurement(NamedTuple):
    """Everything that was measured.

    Attributes:
        seed: Of everything drawn.
        wanted: Mutants of each engine that were asked for.
        minutes: Limit of time.
        inputs: The bank.
        reaches: Places of A and of B.
        mutants: In the order in which they were tried.
        pairs: Those that are alike.
        every_pair: All mutants of A with all of B.
        alike: The pairs that are alike, summed.
        noise: By size.
        seconds: How long it took.
        is_complete: Whether time sufficed for all that was asked for.
    """

    seed: int
    wanted: int
    minutes: float
    inputs: Inputs
    reaches: tuple[Reach, Reach]
    mutants: tuple[Mutant, ...]
    pairs: tuple[AlikePair, ...]
    every_pair: Coincidence
    alike: Coincidence
    noise: tuple[Noisy, ...]
    seconds: float
    is_complete: bool

    @property
    def wrong_quorum(self) -> int:
        """Accounts that one engine's error, or noise, would have had liquidated wrongly by the verdicts of both."""
        return sum(one.judgement.wrong_quorum for one in self.mutants) + sum(one.wrong_quorum for one in self.noise)


class Bench:
    """The bank with both unchanged engines, and trials of mutants on it."""

    def __init__(self, seed: int, scenes: Sequence[Scene], draws: int, until: float) -> None:
        self.bank = banks.make(seed, scenes, draws)
        self.codes = Codes()
        self.until = until
        self.own = {engine.letter: self._unchanged(engine) for engine in ENGINES}
        rules = self.bank[0].fold.machine.registry.rules
        self.truth = Truth(self.own[FIRST.letter], self.own[SECOND.letter], rules)

    def _unchanged(self, engine: Engine) -> Figures:
        found = trial.attempt(engine, self.bank, self.codes)
        invariant(not found.problem, f"engine {engine.letter} does not run over the bank: {found.problem}")
        assert found.figures is not None
        return found.figures

    def reach(self, engine: Engine) -> Reach:
        """The places of an engine that the bank reaches."""
        return choice.reach(engine, trial.reached(engine, self.bank, self.codes))

    def attempt(self, engine: Engine, place: Place) -> Trial:
        """A trial of one mutant."""
        tree = mutated(source_of(place.module), place)
        return trial.attempt(engine, self.bank, self.codes, (place.module, tree))

    def judged(self, engine: Engine, found: Trial) -> Judgement:
        """Its judgement."""
        return judge.judged(found, engine.letter, self.truth)

    def failing(self, engine: Engine, found: Trial) -> Failing | None:
        """Where it fails; None where it gave no figures."""
        if found.figures is None or found.problem:
            return None
        return coincidence.failing(found.figures, self.own[engine.letter], self.truth)

    def has_time(self) -> bool:
        """Whether another trial may begin."""
        return time.monotonic() < self.until


def measure(
    seed: int = 0,
    mutants: int = 100,
    minutes: float = 9.0,
    *,
    scenes: Sequence[Scene] = SCENES,
    draws: int = banks.DRAWS,
    progress: Progress = lambda _what, _share: None,
) -> Measurement:
    """Measure how independent the two engines are.

    Args:
        seed: Of the bank, the mutants and the noise.
        mutants: How many of each engine.
        minutes: How long it may take; what does not fit is left out.
        scenes: Markets of the bank.
        draws: Situations of each.
        progress: Called with what is being done and how much is.

    Raises:
        InputError: A number is out of range.
    """
    _check(seed, mutants, minutes)
    began = time.monotonic()
    progress("the bank of inputs", 0.0)
    bench = Bench(seed, scenes, draws, began + 60.0 * minutes)
    inputs = _inputs(bench)
    reaches = bench.reach(FIRST), bench.reach(SECOND)
    tried, failings = _try_mutants(bench, reaches, mutants, seed, progress)
    wanted_pairs = max(1, round(PAIRS_PER_MUTANT * mutants))
    pairs = _try_pairs(bench, reaches, wanted_pairs, seed, progress)
    progress("noise", 0.99)
    noisy = tuple(noise.measure(bench.bank, bench.truth, size, seed) for size in noise.SIZES)
    every = coincidence.every_pair(*failings, bench.truth)
    return Measurement(
        seed=seed,
        wanted=mutants,
        minutes=minutes,
        inputs=inputs,
        reaches=reaches,
        mutants=tuple(tried),
        pairs=tuple(pairs),
        every_pair=coincidence.summed(every),
        alike=coincidence.summed(one.together for one in pairs if one.together is not None),
        noise=noisy,
        seconds=time.monotonic() - began,
        is_complete=bench.has_time(),
    )


def _check(seed: int, mutants: int, minutes: float) -> None:
    if seed < 0:
        raise InputError("out-of-range", "seed", seed, "give a number from 0 on")
    if not 1 <= mutants <= MUTANTS_MAXIMUM:
        raise InputError("out-of-range", "mutants", mutants, f"give a number from 1 to {MUTANTS_MAXIMUM:,}")
    if not 0.0 < minutes <= MINUTES_MAXIMUM:
        raise InputError("out-of-range", "minutes", minutes, f"give minutes above 0, at most {MINUTES_MAXIMUM:g}")


def _inputs(bench: Bench) -> Inputs:
    """What the bank holds; and the two things that must be so before anything is planted."""
    truth, bank = bench.truth, bench.bank
    compiled = np.concatenate([banks.figures(situation) for situation in bank])
    invariant(np.array_equal(compiled, truth.first), "the first engine read as plain Python gives other bits")
    away = judge.gaps(truth.first, truth.second) / judge.allowed(truth.first, truth.rules)
    invariant(bool((away < _AGREE_LEAST).all()), f"the unchanged engines differ by {away.max():.3g} tolerances")
    near = np.abs(truth.first[:, 0] - truth.first[:, 2]) <= judge.allowed(truth.first, truth.rules)
    return Inputs(
        tuple(situation.name for situation in bank),
        len(truth.first),
        dict(Counter(kind for situation in bank for kind in situation.kinds)),
        int(truth.below.sum()),
        int(near.sum()),
        sum(situation.with_orders for situation in bank),
        float(away.max()),
    )


def _try_mutants(
    bench: Bench, reaches: tuple[Reach, Reach], count: int, seed: int, progress: Progress
) -> tuple[list[Mutant], tuple[list[Failing], list[Failing]]]:
    """Mutants of A and B in turn; and where those that gave figures fail."""
    queues = [
        choice.drawn(reach.places, count, Random(f"{seed} mutants {engine.letter}"))  # noqa: S311
        for engine, reach in zip(ENGINES, reaches, strict=True)
    ]
    tried: list[Mutant] = []
    failings: tuple[list[Failing], list[Failing]] = ([], [])
    for n in range(count):
        for side, engine in enumerate(ENGINES):
            if n >= len(queues[side]) or not bench.has_time():
                continue
            progress(f"mutants of {engine.letter}", 0.7 * (n / count))
            found = bench.attempt(engine, queues[side][n])
            tried.append(Mutant(engine.letter, queues[side][n], bench.judged(engine, found)))
            failing = bench.failing(engine, found)
            if failing is not None:
                failings[side].append(failing)
    return tried, failings


def _try_pairs(
    bench: Bench, reaches: tuple[Reach, Reach], count: int, seed: int, progress: Progress
) -> list[AlikePair]:
    chosen = choice.pairs(reaches[0].places, reaches[1].places, count, Random(f"{seed} pairs"))  # noqa: S311
    found = []
    for n, pair in enumerate(chosen):
        if not bench.has_time():
            break
        progress("pairs that are alike", 0.7 + 0.28 * n / count)
        trials = [bench.attempt(engine, place) for engine, place in zip(ENGINES, pair[:2], strict=True)]
        first, second = (bench.judged(engine, one) for engine, one in zip(ENGINES, trials, strict=True))
        sides = [bench.failing(engine, one) for engine, one in zip(ENGINES, trials, strict=True)]
        both = coincidence.together(sides[0], sides[1], bench.truth) if sides[0] and sides[1] else None
        found.append(AlikePair(pair, first, second, both))
    return found
