"""What the benchmarks work on: made-up venues, the same on every machine."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from holdfast.margin.build import runs_of
from holdfast.margin.table import (
    Arrays,
    AssetField,
    Floats,
    GroupField,
    Integers,
    LineField,
    LineTag,
    ModelField,
    Multiplier,
    TierField,
    UnderlyingField,
    cache_aligned,
)

INSTRUMENTS, UNDERLYINGS, GROUPS_PER_UNDERLYING, SCENARIOS = 1_200, 4, 8, 32
MEAN_POSITIONS = 20
INITIAL_FACTOR = 1.3
SEED = 1


class Population(NamedTuple):
    """Accounts as the kernel sweeps them.

    Attributes:
        pointer: [accounts + 1] first position of each.
        line: [positions] ascending within each account.
        quantity: [positions].
    """

    pointer: NDArray[np.int64]
    line: Integers
    quantity: Floats

    @property
    def accounts(self) -> int:
        """How many there are."""
        return len(self.pointer) - 1


def population(accounts: int) -> Population:
    """Accounts with a Poisson number of positions, mean 20 and at least 1, of independent normal quantities."""
    random = np.random.default_rng(SEED)
    counts = random.poisson(MEAN_POSITIONS, accounts).clip(1)
    # Sorting one integer per position, in place, keeps the peak of memory low.
    key = np.repeat(np.arange(accounts), counts)
    key *= INSTRUMENTS
    key += random.integers(0, INSTRUMENTS, key.size)
    key.sort()
    key %= INSTRUMENTS
    line = key.astype(np.int32)
    del key
    return Population(np.concatenate([[0], counts.cumsum()]), line, random.standard_normal(line.size))


def arrays_of_venue(*, with_multipliers: bool) -> Arrays:
    """A risk table of random numbers: 1,200 lines in 4 × 8 groups, 32 scenarios, worst reduction, one asset."""
    random = np.random.default_rng(SEED)
    groups = UNDERLYINGS * GROUPS_PER_UNDERLYING
    group = (np.arange(INSTRUMENTS) * groups // INSTRUMENTS).astype(np.int32)
    underlying = (group // GROUPS_PER_UNDERLYING).astype(np.int32)
    today = 100.0 * random.standard_normal(INSTRUMENTS)
    values = today[:, None] + random.standard_normal((INSTRUMENTS, SCENARIOS))
    multipliers = np.ones((groups, len(Multiplier), SCENARIOS))
    if with_multipliers:
        multipliers = random.uniform(0.9, 1.1, multipliers.shape)
    lines = np.zeros((INSTRUMENTS, len(LineField)))
    lines[:, LineField.TODAY] = lines[:, LineField.IN_ASSET] = today
    tags = np.zeros((INSTRUMENTS, len(LineTag)), np.int32, order="F")
    tags[:, LineTag.GROUP], tags[:, LineTag.UNDERLYING] = group, underlying
    tags[:, LineTag.RUN] = runs_of(group, underlying, multipliers)
    model = np.zeros(len(ModelField))
    model[ModelField.INITIAL_FACTOR], model[ModelField.MAINTENANCE_FACTOR] = INITIAL_FACTOR, 1.0
    model[ModelField.SCENARIOS] = SCENARIOS
    assets = np.zeros((1, AssetField.FIRST_TIER + len(TierField)))
    assets[0, AssetField.PRICE] = 1.0
    return Arrays(
        values=cache_aligned(values),
        basis=np.zeros((INSTRUMENTS, 0)),
        multipliers=cache_aligned(multipliers),
        lines=lines,
        tags=tags,
        group_ends=_ends(group, groups),
        underlying_ends=_ends(underlying, UNDERLYINGS),
        groups=np.zeros((groups, len(GroupField))),
        underlyings=np.zeros((UNDERLYINGS, len(UnderlyingField))),
        assets=assets,
        model=model,
        today=today,
    )


def _ends(tag: Integers, count: int) -> Integers:
    return np.searchsorted(tag, np.arange(count), side="right").astype(np.int32)
