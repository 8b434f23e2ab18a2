"""What a mutant's figures mean, by the rules on which accounts are judged (QRM-19, QRM-21).

Tolerance and verdicts are those of the fold itself (`core.agreement`). What may not live here: running mutants.
"""

import enum
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from holdfast.core.agreement import tolerance, word_on_account
from holdfast.domain.commands import SetRules
from holdfast.domain.votes import Verdict
from holdfast.validate.independence.bank import Figures
from holdfast.validate.independence.trial import Trial

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


class Outcome(enum.StrEnum):
    """What became of a mutant."""

    MASKED = "masked"
    SILENT = "silently agreed"
    DETECTED = "detected"
    CRASHED = "crashed"


class Truth(NamedTuple):
    """The figures of both engines unchanged, and the rules.

    Attributes:
        first: [accounts, 3] by A.
        second: [accounts, 3] by B.
        rules: Whose tolerance counts.
    """

    first: Figures
    second: Figures
    rules: SetRules

    @property
    def below(self) -> Flags:
        """[accounts] whether equity is below maintenance margin by A (TAB-10)."""
        return is_below(self.first)


class Judgement(NamedTuple):
    """What became of one mutant.

    Attributes:
        outcome: Its class.
        changed: Accounts whose figures are not the unchanged engine's, to the bit.
        differing: Accounts whose figures are further from the other engine's than the tolerance.
        largest: The largest difference from the other engine, in tolerances.
        wrong_alone: Accounts that this engine alone would have liquidated wrongly.
        wrong_quorum: Accounts that the verdicts of both would have liquidated wrongly.
        held_back: Accounts below by both unchanged engines whose liquidation the changed one holds back.
        problem: Why it crashed.
    """

    outcome: Outcome
    changed: int = 0
    differing: int = 0
    largest: float = 0.0
    wrong_alone: int = 0
    wrong_quorum: int = 0
    held_back: int = 0
    problem: str = ""


def is_below(figures: Figures) -> Flags:
    """[accounts] whether equity is below maintenance margin; equality is safe."""
    return figures[:, 0] < figures[:, 2]


def allowed(first: Figures, rules: SetRules) -> Floats:
    """[accounts] the tolerance (QRM-19), by the first engine's maintenance margins."""
    return np.array([tolerance(rules, margin) for margin in first[:, 2].tolist()])


def gaps(one: Figures, other: Figures) -> Floats:
    """[accounts] the largest difference of the three figures."""
    found: Floats = np.abs(one - other).max(axis=1)
    return found


def words(first: Figures, second: Figures, rules: SetRules) -> Sequence[Verdict]:
    """What a replica says of each account from both engines' figures."""
    rows = zip(first[:, [0, 2]].tolist(), second[:, [0, 2]].tolist(), allowed(first, rules).tolist(), strict=True)
    return [word_on_account((a[0], a[1]), (b[0], b[1]), near) for a, b, near in rows]


def would_liquidate(first: Figures, second: Figures, rules: SetRules) -> Flags:
    """[accounts] whether the verdict of both is BELOW."""
    return np.array([word is Verdict.BELOW for word in words(first, second, rules)], bool)


def judged(trial: Trial, letter: str, truth: Truth) -> Judgement:
    """The judgement of one mutant against the other engine unchanged.

    Args:
        trial: Of the mutant.
        letter: Which engine it is of, A or B.
        truth: Both engines unchanged.
    """
    if trial.figures is None or trial.problem:
        return Judgement(Outcome.CRASHED, problem=trial.problem)
    is_first = letter == "A"
    own = truth.first if is_first else truth.second
    first, second = (trial.figures, truth.second) if is_first else (truth.first, trial.figures)
    changed = (trial.figures != own).any(axis=1)
    away = gaps(first, second) / allowed(first, truth.rules)
    liquidated = would_liquidate(first, second, truth.rules)
    due = would_liquidate(truth.first, truth.second, truth.rules)
    outcome = Outcome.DETECTED if (away > 1.0).any() else Outcome.SILENT if changed.any() else Outcome.MASKED
    return Judgement(
        outcome=outcome,
        changed=int(changed.sum()),
        differing=int((away > 1.0).sum()),
        largest=float(away.max()),
        wrong_alone=int((is_below(trial.figures) & ~truth.below).sum()),
        wrong_quorum=int((liquidated & ~truth.below).sum()),
        held_back=int((due & ~liquidated).sum()),
    )
