"""The bank of inputs: situations, each a market at one instant and the accounts of three models in it.

Half of it is random, half sits where a page could be read in two ways: at and around an expiry, without time or
volatility to go, prices that equal strikes, a peg at its threshold, equity that equals maintenance margin. A situation
is a state of the first engine, and the parts of its snapshot, which the second engine starts from; so both read the
same integers, each in its own way.

What lives here: situations, and the accounts' distance from maintenance margin. What may not: how an account is filled.
Seeded: the same seed gives the same bank.
"""

from collections.abc import Mapping, Sequence
from random import Random
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from holdfast.core.fold import Fold
from holdfast.core.margins import figures_of
from holdfast.core.state import SYSTEM_ACCOUNTS, Account, Counter
from holdfast.domain.snapshots import PartContent
from holdfast.validate.independence import models
from holdfast.validate.independence.accounts import KINDS, SPOT, Filling
from holdfast.validate.independence.venue import CONTRACTS, DAY, NEAR, SECOND, START, Venue, is_option

Figures: TypeAlias = npt.NDArray[np.float64]
"""[accounts, 3]: equity, initial margin with open orders, maintenance margin, numeraire."""

_MICRO = 10**6
_EDGES = (0, 1, -1, 5_000, -5_000, 20_000, -20_000)
"""Distances of equity from maintenance margin that are tried, ledger units of a millionth: the tolerance is 10,000."""
_SHARES = (-2.0, -0.2, -0.05, -0.01, -0.001, 0.001, 0.01, 0.05, 0.2)
"""The same as shares of maintenance margin; -2 is an equity below zero."""


class Scene(NamedTuple):
    """A market that is worth trying.

    Attributes:
        name: Of the situation.
        time: Logical time, ns.
        spot: Dollar prices of the coins.
        peg: Dollar price of USDC.
        volatility: Of options, millionths, least and most.
        spread: How far marks may be from the index, a fraction; below 0 nobody quotes marks.
    """

    name: str
    time: int
    spot: Mapping[str, float]
    peg: float = 1.0
    volatility: tuple[int, int] = (400_000, 1_400_000)
    spread: float = 0.01


def _times(factor: float) -> dict[str, float]:
    return {coin: price * factor for coin, price in SPOT.items()}


SCENES = (
    Scene("calm", NEAR - 12 * DAY, _times(1.013)),
    Scene("rise", NEAR - 3 * DAY, _times(1.31)),
    Scene("crash", NEAR - 12 * DAY, _times(0.62), peg=1.002),
    Scene("thirty days", NEAR - 30 * DAY, _times(0.97)),
    Scene("settlement window", NEAR - 600 * SECOND, _times(0.99)),
    Scene("last nanosecond", NEAR - 1, SPOT, spread=0.001),
    Scene("at expiry", NEAR, SPOT, spread=0.0),
    Scene("expired, not settled", NEAR + DAY, _times(1.02)),
    Scene("prices equal strikes", NEAR - 2 * DAY, SPOT, spread=0.0),
    Scene("volatility near zero", NEAR - 12 * DAY, SPOT, volatility=(1, 30), spread=0.0),
    Scene("broken peg", NEAR - 12 * DAY, _times(0.95), peg=0.96),
    Scene("peg at its threshold", NEAR - 20 * DAY, _times(1.05), peg=models.PEG),
    Scene("no marks", NEAR - 12 * DAY, _times(1.08), spread=-1.0),
)


class Situation(NamedTuple):
    """A market and accounts in it.

    Attributes:
        name: Of the scene.
        fold: The first engine's state.
        position: Of the snapshot.
        parts: Of the snapshot.
        accounts: Their numbers, ascending.
        kinds: Of each account.
    """

    name: str
    fold: Fold
    position: int
    parts: Mapping[str, PartContent]
    accounts: npt.NDArray[np.int64]
    kinds: tuple[str, ...]

    @property
    def with_orders(self) -> int:
        """How many accounts have open orders."""
        counts = self.fold.machine.state.accounts[self.accounts, Account.ORDER_COUNT]
        return int(np.count_nonzero(counts))


DRAWS = 2
"""Situations of each scene: other parameters, other accounts."""


def make(seed: int, scenes: Sequence[Scene] = SCENES, draws: int = DRAWS) -> tuple[Situation, ...]:
    """The bank of a seed.

    Args:
        seed: Of all draws.
        scenes: Which markets.
        draws: How many situations of each.
    """
    seeds = [(scene, f"{seed} {draw} {scene.name}") for scene in scenes for draw in range(draws)]
    return tuple(_situation(scene, Random(text)) for scene, text in seeds)  # noqa: S311 (no secret hangs on it)


def figures(situation: Situation) -> Figures:
    """The accounts' figures by the first engine as it is, compiled."""
    machine = situation.fold.machine
    return figures_of(machine.state, machine.marked.arrays, situation.accounts)


def _situation(scene: Scene, random: Random) -> Situation:
    venue = Venue(models.drawn(random))
    venue.tick(max(START, scene.time))
    prices = _prices(scene, random)
    venue.price(prices)
    kinds: list[str] = []
    for model in range(len(venue.parameters)):
        for name, fill in KINDS.items():
            fill(Filling(venue, random, venue.account(model), prices))
            kinds.append(name)
    count = int(venue.fold.machine.state.counters[Counter.ACCOUNTS])
    accounts = np.arange(SYSTEM_ACCOUNTS, count, dtype=np.int64)
    _approach(venue, random, accounts)
    position, parts = venue.parts()
    return Situation(scene.name, venue.fold, position, parts, accounts, tuple(kinds))


def _prices(scene: Scene, random: Random) -> dict[str, int]:
    """Quotes by item; seven contracts in eight are quoted where any is, and every option."""
    prices = {coin: round(price * 10**8) for coin, price in scene.spot.items()}
    prices["USDC"] = round(scene.peg * 10**8)
    for name, contract in CONTRACTS.items():
        if is_option(name):
            prices[name] = random.randint(*scene.volatility)
        elif scene.spread >= 0.0 and random.random() < 0.875:
            mark = scene.spot[name[:3]] * (1.0 + random.uniform(-scene.spread, scene.spread))
            prices[name] = round(mark * contract.steps)
    return prices


def _approach(venue: Venue, random: Random, accounts: npt.NDArray[np.int64]) -> None:
    """Bring three accounts in four near their maintenance margin by dollars: to it, or to a share of it beside it."""
    machine = venue.fold.machine
    found = figures_of(machine.state, machine.marked.arrays, accounts)
    for account, (equity, _, maintenance) in zip(accounts.tolist(), found.tolist(), strict=True):
        if maintenance <= 0.0 or random.random() < 0.25:
            continue
        away = random.choice(_EDGES) if random.random() < 0.4 else maintenance * random.choice(_SHARES) * _MICRO
        venue.give(account, "USD", round((maintenance - equity) * _MICRO + away))
