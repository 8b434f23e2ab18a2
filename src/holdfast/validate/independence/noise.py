"""Noise on the first engine's table: what wrong numbers of a given size do, when nothing else is wrong.

Every value of a table, V[i, s] and V[i, 0], is multiplied by 1 + ε·u with u drawn evenly from −1 to 1, and the compiled
kernel works out the figures. What may not live here: what a difference means (`judge`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from holdfast.core.margins import figures_of, tables_of
from holdfast.margin.table import Arrays, LineField, ModelField, cache_aligned
from holdfast.validate.independence.bank import Figures, Situation
from holdfast.validate.independence.judge import Flags, Truth, allowed, gaps, is_below, would_liquidate

SIZES = (1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4)
"""ε, relative."""
DRAWS = 5
"""Draws of noise for each size."""


class Noisy(NamedTuple):
    """What noise of one size did, over all draws.

    Attributes:
        size: ε.
        inputs: Accounts times draws.
        moved: Whose figures moved from those without noise by more than the tolerance.
        detected: Whose figures differ from B's by more than the tolerance.
        missed: Moved and not detected.
        wrong_alone: That A alone would have liquidated wrongly.
        wrong_quorum: That the verdicts of both would have.
        held_back: Below by both without noise, and not by both with it.
        largest: The largest move, in tolerances.
    """

    size: float
    inputs: int
    moved: int
    detected: int
    missed: int
    wrong_alone: int
    wrong_quorum: int
    held_back: int
    largest: float

    @property
    def share_detected(self) -> float:
        """Of all inputs."""
        return self.detected / self.inputs


def with_noise(arrays: Arrays, size: float, generator: np.random.Generator) -> Arrays:
    """A table with noise on its values; padding repeats the last scenario, as in a table without."""
    scenarios = int(arrays.model[ModelField.SCENARIOS])
    values = arrays.values * (1.0 + size * generator.uniform(-1.0, 1.0, arrays.values.shape))
    if scenarios:
        values[:, scenarios:] = values[:, scenarios - 1 : scenarios]
    basis = arrays.basis * (1.0 + size * generator.uniform(-1.0, 1.0, arrays.basis.shape))
    basis[:, 2:] = basis[:, 1:2] if basis.shape[1] else basis[:, 2:]
    lines, factor = arrays.lines.copy(), 1.0 + size * generator.uniform(-1.0, 1.0, len(arrays.lines))
    lines[:, LineField.TODAY] *= factor
    lines[:, LineField.IN_ASSET] *= factor
    return arrays._replace(
        values=cache_aligned(values),
        basis=cache_aligned(basis),
        lines=cache_aligned(lines),
        today=lines[:, LineField.TODAY].copy(),
    )


def measure(bank: Sequence[Situation], truth: Truth, size: float, seed: int) -> Noisy:
    """What noise of one size does to the bank.

    Args:
        bank: The inputs.
        truth: Both engines without noise.
        size: ε.
        seed: Of the draws.
    """
    draws = [_figures(bank, size, seed, draw) for draw in range(DRAWS)]
    due = would_liquidate(truth.first, truth.second, truth.rules)
    rows = [_judged(size, figures, truth, due) for figures in draws]
    return Noisy(
        size,
        sum(row.inputs for row in rows),
        sum(row.moved for row in rows),
        sum(row.detected for row in rows),
        sum(row.missed for row in rows),
        sum(row.wrong_alone for row in rows),
        sum(row.wrong_quorum for row in rows),
        sum(row.held_back for row in rows),
        max(row.largest for row in rows),
    )


def _figures(bank: Sequence[Situation], size: float, seed: int, draw: int) -> Figures:
    # The place of a size among SIZES would change with the list; its own digits do not.
    generator = np.random.default_rng([seed, draw, round(size * 1e12)])
    return np.concatenate([_noisy_figures(situation, size, generator) for situation in bank])


def _noisy_figures(situation: Situation, size: float, generator: np.random.Generator) -> Figures:
    machine = situation.fold.machine
    noisy = [with_noise(table.arrays, size, generator) for table in machine.marked.tables]
    places = [noisy[n if n < len(noisy) else 0] for n in range(len(machine.marked.arrays.models))]
    tables = tables_of(tuple(places), len(machine.registry.items))
    found: Figures = figures_of(machine.state, tables, situation.accounts)
    return found


def _judged(size: float, figures: Figures, truth: Truth, due: Flags) -> Noisy:
    """What one draw did."""
    moves = gaps(figures, truth.first) / allowed(truth.first, truth.rules)
    moved = moves > 1.0
    detected = gaps(figures, truth.second) > allowed(figures, truth.rules)
    liquidated = would_liquidate(figures, truth.second, truth.rules)
    return Noisy(
        size=size,
        inputs=len(figures),
        moved=int(moved.sum()),
        detected=int(detected.sum()),
        missed=int((moved & ~detected).sum()),
        wrong_alone=int((is_below(figures) & ~truth.below).sum()),
        wrong_quorum=int((liquidated & ~truth.below).sum()),
        held_back=int((due & ~liquidated).sum()),
        largest=float(moves.max()),
    )
