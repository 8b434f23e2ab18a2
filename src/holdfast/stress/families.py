"""The families of a population: what each of them trades, how large, and with how much behind it.

- Leveraged retail: one perpetual, small, mostly long; one in four with high leverage.
- Directional: a perpetual or future of medium size, some with a bought option beside it.
- Hedgers: hold coins and are short against a part of them, some with a bought put.
- Basis traders: long one contract and short another of the same size; or coins against a short future.
- Option sellers: puts, strangles, or calls against coins.
- Market makers: no wishes of their own; everybody's counterparties.

What may not live here: deposits and counterparties (`population`). Shares and sizes: specs/replay-population.md.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from holdfast.stress.history import Floats
from holdfast.stress.market import Step
from holdfast.stress.requirements import Legs
from holdfast.stress.venue import BTC, USDC, Venue

Integers = NDArray[np.int64]

FAMILIES = ("market maker", "leveraged retail", "directional", "hedger", "basis trader", "option seller")
MAKER, RETAIL, DIRECTIONAL, HEDGER, BASIS, SELLER = range(len(FAMILIES))
SHARES = {RETAIL: 0.56, DIRECTIONAL: 0.20, HEDGER: 0.09, BASIS: 0.07, SELLER: 0.08}
"""Share of each family among the accounts that are no market makers; the last takes what rounding leaves."""
MODELS = ("standard", "portfolio")
STANDARD, PORTFOLIO = range(len(MODELS))
SIZE_MEDIAN = {RETAIL: 4_000.0, DIRECTIONAL: 20_000.0, HEDGER: 15_000.0, BASIS: 40_000.0, SELLER: 30_000.0}
"""Median notional, US dollars; sizes are log-normal."""
SIZE_SPREAD, SIZE_MIN, SIZE_MAX = 1.1, 200.0, 3_000_000.0
"""Standard deviation of the logarithm of sizes, and their bounds in US dollars."""
HIGH_LEVERAGE_SHARE = 0.25


class Multiples(NamedTuple):
    """Log-normal multiples of initial margin: median, standard deviation of the logarithm, least."""

    median: float
    spread: float
    least: float


HIGH_LEVERAGE = Multiples(4.5, 0.6, 1.5)
LOW_LEVERAGE = Multiples(80.0, 0.5, 15.0)
STANDARD_DIRECTIONAL = Multiples(40.0, 0.6, 4.0)
PORTFOLIO_DIRECTIONAL = Multiples(6.0, 0.5, 1.6)
BASIS_MULTIPLES = Multiples(1.7, 0.25, 1.3)
SELLER_MULTIPLES = Multiples(5.0, 0.5, 1.5)


class Wishes(NamedTuple):
    """What accounts want.

    Attributes:
        family: [accounts].
        model: [accounts].
        asset: [accounts] what they deposit.
        multiple: [accounts] deposit over rough initial margin.
        coins_value: [accounts] US dollars of coins that hedgers bring; 0 for others.
        legs: Positions, units not yet rounded to lots.
        turn: [legs] place of a leg among those of its account, from 0.
    """

    family: Integers
    model: Integers
    asset: Integers
    multiple: Floats
    coins_value: Floats
    legs: Legs
    turn: Integers


class _Draft:
    """Wishes under construction: legs in dollars, turned into units at the end."""

    def __init__(self, venue: Venue, step: Step, family: Integers, seed: int) -> None:
        size = family.size
        self.venue, self.step, self.family = venue, step, family
        self.random = np.random.default_rng([seed, 1])
        self.model = np.full(size, PORTFOLIO)
        self.asset = np.full(size, USDC)
        self.multiple = np.ones(size)
        self.coins_value = np.zeros(size)
        self.legs: list[tuple[Integers, Integers, Floats, int]] = []

    def of(self, family: int) -> Integers:
        """Accounts of a family."""
        return np.flatnonzero(self.family == family)

    def sizes(self, family: int, count: int) -> Floats:
        """US dollars."""
        drawn = SIZE_MEDIAN[family] * np.exp(SIZE_SPREAD * self.random.standard_normal(count))
        return np.clip(drawn, SIZE_MIN, SIZE_MAX)

    def multiples(self, rule: Multiples, count: int) -> Floats:
        drawn = rule.median * np.exp(rule.spread * self.random.standard_normal(count))
        return np.maximum(drawn, rule.least)

    def chance(self, share: float, count: int) -> NDArray[np.bool_]:
        chosen: NDArray[np.bool_] = self.random.random(count) < share
        return chosen

    def sides(self, long_share: float, count: int) -> Floats:
        return np.where(self.chance(long_share, count), 1.0, -1.0)

    def pick(self, names: tuple[int, ...] | Integers, count: int) -> Integers:
        return np.asarray(names)[self.random.integers(0, len(names), count)]

    def add(self, accounts: Integers, instrument: Integers, dollars: Floats, turn: int) -> None:
        """A leg of each account: signed notional at the index, US dollars."""
        self.legs.append((accounts, instrument, dollars, turn))

    def finished(self) -> Wishes:
        account, instrument, dollars = (np.concatenate([leg[i] for leg in self.legs]) for i in range(3))
        turn = np.concatenate([np.full(leg[0].size, leg[3]) for leg in self.legs])
        in_dollars = self.venue.inverse & ~self.venue.is_option
        units = dollars / np.where(in_dollars, 1.0, self.step.index_price)[instrument]
        legs = Legs(account, instrument, units)
        return Wishes(self.family, self.model, self.asset, self.multiple, self.coins_value, legs, turn)


def wishes_of(venue: Venue, step: Step, accounts: int, makers: int, seed: int) -> Wishes:
    """The wishes of a population, market makers first; arguments as of `population.population`."""
    draft = _Draft(venue, step, _families(accounts, makers, seed), seed)
    for family in (_retail, _directional, _hedgers, _basis_traders, _option_sellers):
        family(draft)
    return draft.finished()


def _families(accounts: int, makers: int, seed: int) -> Integers:
    others = accounts - makers
    counts = [int(share * others) for share in SHARES.values()]
    counts[-1] += others - sum(counts)
    drawn = np.random.default_rng([seed, 0]).permutation(np.repeat(np.array(list(SHARES)), counts))
    return np.concatenate([np.full(makers, MAKER), drawn])


def _retail(draft: _Draft) -> None:
    """One perpetual: inverse with coins behind it (6 in 10), or linear with USDC; 66 in 100 long."""
    accounts = draft.of(RETAIL)
    count = accounts.size
    is_inverse = draft.chance(0.6, count)
    draft.model[accounts] = STANDARD
    draft.asset[accounts] = np.where(is_inverse, BTC, USDC)
    is_high = draft.chance(HIGH_LEVERAGE_SHARE, count)
    high, low = draft.multiples(HIGH_LEVERAGE, count), draft.multiples(LOW_LEVERAGE, count)
    draft.multiple[accounts] = np.where(is_high, high, low)
    perpetual = np.where(is_inverse, *(draft.venue.index_of(n) for n in ("BTC-PERPETUAL", "BTC_USDC-PERPETUAL")))
    draft.add(accounts, perpetual, draft.sizes(RETAIL, count) * draft.sides(0.66, count), 0)


def _directional(draft: _Draft) -> None:
    """A perpetual or future, 66 in 100 long; 4 in 10 buy an option on the same view beside it."""
    accounts = draft.of(DIRECTIONAL)
    count = accounts.size
    is_standard = draft.chance(0.7, count)
    draft.model[accounts] = np.where(is_standard, STANDARD, PORTFOLIO)
    draft.asset[accounts] = np.where(draft.chance(0.5, count), BTC, USDC)
    standard, scanned = (draft.multiples(rule, count) for rule in (STANDARD_DIRECTIONAL, PORTFOLIO_DIRECTIONAL))
    draft.multiple[accounts] = np.where(is_standard, standard, scanned)
    size, side = draft.sizes(DIRECTIONAL, count), draft.sides(0.66, count)
    draft.add(accounts, draft.pick(np.flatnonzero(~draft.venue.is_option), count), size * side, 0)
    buys = np.flatnonzero(draft.chance(0.4, count))
    option = _option(draft, np.abs(draft.random.normal(0.0, 0.12, buys.size)), side[buys] > 0.0)
    draft.add(accounts[buys], option, 0.5 * size[buys], 1)


def _hedgers(draft: _Draft) -> None:
    """Coins, and short 40 to 100 % of them in the inverse perpetual or a future; 3 in 10 buy a put."""
    accounts = draft.of(HEDGER)
    count = accounts.size
    draft.model[accounts] = np.where(draft.chance(0.4, count), STANDARD, PORTFOLIO)
    draft.asset[accounts] = BTC
    coins = draft.sizes(HEDGER, count)
    draft.coins_value[accounts] = coins
    venue = draft.venue
    instrument = draft.pick(np.flatnonzero(venue.inverse & ~venue.is_option), count)
    draft.add(accounts, instrument, -coins * draft.random.uniform(0.4, 1.0, count), 0)
    buys = np.flatnonzero(draft.chance(0.3, count))
    option = _option(draft, draft.random.uniform(0.05, 0.3, buys.size), np.zeros(buys.size, bool))
    draft.add(accounts[buys], option, 0.5 * coins[buys], 1)


def _basis_traders(draft: _Draft) -> None:
    """Coins against a short future (4 in 10), or a linear perpetual against a future (long 35 in 100); no weekly."""
    accounts = draft.of(BASIS)
    count = accounts.size
    is_carry = draft.chance(0.4, count)
    size = draft.sizes(BASIS, count)
    draft.asset[accounts] = np.where(is_carry, BTC, USDC)
    draft.multiple[accounts] = draft.multiples(BASIS_MULTIPLES, count)
    venue = draft.venue
    # The weekly future would leave the other leg alone when it settles.
    future = draft.pick(np.flatnonzero(~venue.is_option & np.isin(venue.expiry_ns, venue.expiries[1:])), count)
    side = np.where(is_carry, -1.0, draft.sides(0.35, count))
    draft.add(accounts, future, size * side, 0)
    pairs = np.flatnonzero(~is_carry)
    other = np.full(pairs.size, venue.index_of("BTC_USDC-PERPETUAL"))
    draft.add(accounts[pairs], other, -size[pairs] * side[pairs], 1)


def _option_sellers(draft: _Draft) -> None:
    """Short puts (45 in 100), strangles (35), or calls against coins (20), 5 to 30 % out of the money."""
    accounts = draft.of(SELLER)
    count = accounts.size
    kind = draft.random.random(count)
    is_put, is_call = kind < 0.80, kind >= 0.45
    draft.asset[accounts] = np.where((kind >= 0.80) | draft.chance(0.5, count), BTC, USDC)
    draft.multiple[accounts] = draft.multiples(SELLER_MULTIPLES, count)
    size = draft.sizes(SELLER, count)
    for chosen, calls, turn in ((is_put, False, 0), (is_call, True, 1)):
        sold = np.flatnonzero(chosen)
        option = _option(draft, draft.random.uniform(0.05, 0.3, sold.size), np.full(sold.size, calls))
        draft.add(accounts[sold], option, -size[sold], turn)


def _option(draft: _Draft, distance: Floats, is_call: NDArray[np.bool_]) -> Integers:
    """[accounts] an option: a random expiry and settlement, the strike nearest to a distance out of the money.

    Args:
        draft: What it is for.
        distance: [accounts] as a fraction of the index.
        is_call: [accounts].
    """
    venue = draft.venue
    series = venue.expiry_ns + venue.settlement
    choices = np.unique(series[venue.is_option])
    chosen = draft.pick(choices, distance.size)
    target = draft.step.index_price * np.where(is_call, 1.0 + distance, 1.0 - distance)
    result = np.empty(distance.size, np.int64)
    for one in choices.tolist():
        for call in (False, True):
            ladder = np.flatnonzero(venue.is_option & (series == one) & (venue.is_call == call))
            rows = np.flatnonzero((chosen == one) & (is_call == call))
            result[rows] = ladder[np.abs(venue.strike[ladder] - target[rows, None]).argmin(axis=1)]
    return result
