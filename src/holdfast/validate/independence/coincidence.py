"""How often a mutant of each engine fail together, and how often they agree on the same wrong figures.

A mutant *fails* on an account where its figures are further from its unchanged engine's than the tolerance. Two fail
*together* where both fail on one account, and *alike* where they then agree within the tolerance: only that escapes a
comparison. If failures were independent, mutants that fail on a and b of n accounts would fail together on a·b ÷ n; the
usual statistic is z = (found − expected) ÷ √Σ n·p·(1 − p), p = a·b ÷ n² (J. C. Knight and N. G. Leveson, "An
experimental evaluation of the assumption of independence in multiversion programming", IEEE Transactions on Software
Engineering 12, 1986). What may not live here: choosing and running mutants.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from holdfast.validate.independence.bank import Figures
from holdfast.validate.independence.judge import Flags, Truth, allowed, gaps, would_liquidate


class Failing(NamedTuple):
    """A mutant that gave figures: those, and [accounts] where it fails."""

    figures: Figures
    fails: Flags


class Together(NamedTuple):
    """Failures of two mutants, one of each engine.

    Attributes:
        inputs: Accounts.
        first: Where A's fails.
        second: Where B's fails.
        together: Where both fail.
        alike: Where both fail and agree within the tolerance.
        wrong_quorum: Accounts that both together would have liquidated wrongly.
        wrong_agreed: Of them, those on which they agree within the tolerance too.
        escapes: Whether both fail somewhere and nothing differs anywhere by more than the tolerance.
    """

    inputs: int
    first: int
    second: int
    together: int
    alike: int
    wrong_quorum: int
    wrong_agreed: int
    escapes: bool

    @property
    def expected(self) -> float:
        """How many would fail together if failures were independent."""
        return self.first * self.second / self.inputs


class Coincidence(NamedTuple):
    """Sums over pairs.

    Attributes:
        pairs: How many.
        inputs: Accounts times pairs: the total.
        together: Coincident failures.
        expected: What independence would give.
        z: By how many standard deviations the first exceeds the second.
        alike: Coincident failures with the same wrong figures.
        rate: alike ÷ inputs.
        share_alike: alike ÷ together.
        escaping: Pairs that no comparison on the bank would find.
        wrong_quorum: Accounts liquidated wrongly by both together.
        wrong_agreed: Of them, those on which both agree within the tolerance too.
    """

    pairs: int
    inputs: int
    together: int
    expected: float
    z: float
    alike: int
    rate: float
    share_alike: float
    escaping: int
    wrong_quorum: int
    wrong_agreed: int


def failing(figures: Figures, own: Figures, truth: Truth) -> Failing:
    """Where a mutant fails.

    Args:
        figures: The mutant's.
        own: Those of its engine unchanged.
        truth: Both engines unchanged.
    """
    return Failing(figures, gaps(figures, own) > allowed(truth.first, truth.rules))


def together(first: Failing, second: Failing, truth: Truth) -> Together:
    """What two mutants do together."""
    near = gaps(first.figures, second.figures) <= allowed(first.figures, truth.rules)
    both = first.fails & second.fails
    wrong = would_liquidate(first.figures, second.figures, truth.rules) & ~truth.below if both.any() else both
    return Together(
        len(both),
        int(first.fails.sum()),
        int(second.fails.sum()),
        int(both.sum()),
        int((both & near).sum()),
        int(wrong.sum()),
        int((wrong & near).sum()),
        bool((first.fails.any() or second.fails.any()) and near.all()),
    )


def every_pair(firsts: Sequence[Failing], seconds: Sequence[Failing], truth: Truth) -> list[Together]:
    """Every mutant of A with every one of B."""
    return [together(first, second, truth) for first in firsts for second in seconds]


def summed(found: Iterable[Together]) -> Coincidence:
    """The sums over pairs of which both fail somewhere."""
    rows = [row for row in found if row.first and row.second]
    inputs, coincident, alike = (
        sum(values) for values in ([r.inputs for r in rows], [r.together for r in rows], [r.alike for r in rows])
    )
    expected = math.fsum(row.expected for row in rows)
    shares = [row.expected / row.inputs for row in rows]
    variance = math.fsum(row.inputs * p * (1.0 - p) for row, p in zip(rows, shares, strict=True))
    return Coincidence(
        pairs=len(rows),
        inputs=inputs,
        together=coincident,
        expected=expected,
        z=(coincident - expected) / math.sqrt(variance) if variance > 0.0 else 0.0,
        alike=alike,
        rate=alike / inputs if inputs else 0.0,
        share_alike=alike / coincident if coincident else 0.0,
        escaping=sum(row.escapes for row in rows),
        wrong_quorum=sum(row.wrong_quorum for row in rows),
        wrong_agreed=sum(row.wrong_agreed for row in rows),
    )
